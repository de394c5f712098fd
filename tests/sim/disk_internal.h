/* disk_internal.h: what disk.c (files), disk_kv.c (stores) and disk_damage.c share. */
#ifndef DRAX_TESTS_SIM_DISK_INTERNAL_H
#define DRAX_TESTS_SIM_DISK_INTERNAL_H

#include "broker/limits.h"
#include "tests/sim/disk.h"

#define DISK_PATH_BYTES 64u
#define DISK_STORES 16u

typedef struct disk_store {
    char path[DISK_PATH_BYTES]; /* "": free */
    kv_t *memory;
    size_t opened;
    size_t snapshots;
    bool spoiled;
    bool broken; /* a write failed: to be opened again before the next */
} disk_store_t;

struct disk {
    fs_t fs;
    fs_faulty_t *faulty;
    disk_options_t options;
    stream_t random;
    bool detached;
    bool stopped;
    uint64_t stop_in; /* 0: no stop is planned */
    uint64_t fail_in[DISK_OPERATIONS];
    uint64_t failures;
    bool filled;
    uint64_t took_us;
    uint64_t more_us, slow_us; /* of each sync, and what is left of it in all */
    disk_store_t stores[DISK_STORES];
};

/* A call that changes something begins. 0; DRAX_EIO without any effect (detached, or stopped
 * before); `*stopping`: the machine stops within it. */
int disk_call(disk_t *self, bool *stopping);
/* True when the `operation` at hand is to fail. */
bool disk_fails(disk_t *self, disk_operation_t operation);
void disk_wait(disk_t *self, uint64_t us);
void disk_sync_wait(disk_t *self);

/* disk_kv.c */
void disk_stores_prune(disk_t *self); /* after a crash or removal: those whose directory is gone */
void disk_stores_clear(disk_t *self);

#endif
