/* disk.h: the disk of one slot: files as fs_faulty has them, ordered stores beside them, faults by
 * count, and the time that calls take.
 *
 * Owns: what survives processes and power losses. Knows nothing of nodes.
 *
 * Rules
 *  1. An ordered store lives in a directory of the file system and comes and goes with it. Its
 *     batches are all synced; a batch is there after a crash whole or not at all.
 *  2. Between disk_detach and disk_attach nothing that is called has any effect: the process that
 *     calls is dead already and only has its memory taken down.
 *  3. After disk_stop has come true every call fails until disk_crash.
 */
#ifndef DRAX_TESTS_SIM_DISK_H
#define DRAX_TESTS_SIM_DISK_H

#include "store/fs.h"
#include "store/kv.h"
#include "tests/sim/random.h"
#include "tests/support/fs_faulty.h"

typedef struct disk disk_t;

typedef struct disk_options {
    uint64_t seed;
    uint32_t sync_us; /* what a sync takes, about */
    /* A file was synced. */
    void (*synced)(void *hint, const char *path);
    void *hint;
} disk_options_t;

disk_t *disk_new(const disk_options_t *options);
void disk_destroy(disk_t **self);

const fs_t *disk_fs(disk_t *self);
/* For storage_options_t: `hint` is the disk. */
int disk_kv_open(void *hint, kv_t **out, const char *directory, bool create);

void disk_detach(disk_t *self);
void disk_attach(disk_t *self);

/* Time that calls took since this was asked last, in microseconds. */
uint64_t disk_took_us(disk_t *self);
/* Each sync takes this much longer, all together no more than the time it lasts: the syncs of one
 * turn are all taken at its beginning. */
void disk_slow(disk_t *self, uint64_t more_us, uint64_t for_us);

/* ---- faults ---- */

/* The machine, or the process, stops within the `nth` call from now that changes something. */
void disk_stop(disk_t *self, uint64_t nth);
bool disk_stopped(const disk_t *self);
/* What a restart finds. Nothing may be open. Ends stops and errors; not that the disk is full. */
void disk_crash(disk_t *self, fs_crash_t how);

typedef enum { DISK_WRITE, DISK_SYNC, DISK_STATE, DISK_OPERATIONS } disk_operation_t;
/* The `nth` such operation from now fails once with DRAX_EIO (a write may be done in part). */
void disk_fail(disk_t *self, disk_operation_t operation, uint64_t nth);
/* How many such failures came about. */
uint64_t disk_failures(const disk_t *self);
/* No more than `bytes` beyond what is used now can be written. */
void disk_fill(disk_t *self, uint64_t bytes);
void disk_room(disk_t *self); /* as much as wanted, again */

/* ---- damage, while no process has the disk ---- */

/* Flips a bit of a journal segment, where the journal can see it: not in what was synced last, as
 * docs/STORAGE.md says. False: there was no such place. */
bool disk_flip(disk_t *self, stream_t *random);
/* Cuts off the end of a segment. */
bool disk_cut(disk_t *self, stream_t *random);
/* Makes the state's store unreadable. */
bool disk_spoil(disk_t *self);

#endif
