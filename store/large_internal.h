/* large_internal.h: what the files of large.h share. Not for anyone else.
 *
 *   large.c          open and close; which files are needed, and by whom; reading
 *   large_recover.c  finds that out from the directory and the store
 *   large_write.c    new files, and those to be written over
 *   large_list.c     names of files, lists of files, whose they are
 *
 *   <16 hex digits>.val    the file of a value that the store refers to, or did
 *   <16 hex digits>.tmp    one being written
 *   <16 hex digits>.old    one that is not needed, to be written over by a later one
 *
 * Writing over a file costs half of what a new one does: it has its blocks, on disk and in memory.
 *
 * Invariants
 *  1. `live` has exactly the keys whose record in the store, as last written, is a reference.
 *  2. A file becomes .old, durably, before anything is written over it: a .val is always whole.
 *  3. `retired` is in the order of epochs. A file retired at epoch e is seen only by views that
 *     were opened before e; the list of views is in the order of epochs too.
 *  4. A number is given once, so a file is never taken for an earlier one.
 */
#ifndef DRAX_STORE_LARGE_INTERNAL_H
#define DRAX_STORE_LARGE_INTERNAL_H

#include <bsd/sys/tree.h>
#include <pthread.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "store/large.h"

#define LARGE_NAME_BYTES 24u
#define LARGE_DETAIL_BYTES 256u

typedef enum { LARGE_VALUE, LARGE_TEMPORARY, LARGE_OLD } large_name_t;

typedef struct large_item {
    uint64_t number, size;
    uint64_t epoch; /* when it was retired */
} large_item_t;

typedef struct large_list {
    large_item_t *items;
    size_t count, capacity;
} large_list_t;

typedef struct large_owner {
    RB_ENTRY(large_owner) link;
    large_item_t file;
    size_t key_size;
    uint8_t key[];
} large_owner_t;

RB_HEAD(large_owners, large_owner);

struct large_made {
    large_item_t file;
    bool published;
};

struct large {
    fs_t fs;
    char *path;
    size_t threshold;
    bool recovered;
    struct large_owners live; /* this and `retired`: the one who writes batches alone */
    large_list_t retired;

    pthread_mutex_t lock; /* guards what follows; not held while files are written */
    bool ready;           /* the directory is there, durably */
    uint64_t next;        /* number of the next file */
    uint64_t epoch;       /* counts what was retired */
    large_view_t views;   /* the list's head, a ring */
    large_list_t old;
    uint64_t old_bytes;
    char detail[LARGE_DETAIL_BYTES + LIMIT_PATH_BYTES];
};

/* ---- large_list.c ---- */

/* The path of a file into `out`, which holds LIMIT_PATH_BYTES. */
void large_path(const large_t *self, uint64_t number, large_name_t kind, char *out);
/* The file that `name` is of, and which kind it is; false: of none. */
bool large_name_parse(const char *name, uint64_t *number, large_name_t *kind);
int large_rename(const large_t *self, uint64_t from, large_name_t from_kind, uint64_t to,
                 large_name_t to_kind);
/* At worst it stays until the next opening. */
void large_remove(const large_t *self, uint64_t number, large_name_t kind);

bool large_list_add(large_list_t *self, const large_item_t *item); /* false: no memory */
void large_list_cut(large_list_t *self, size_t at, size_t count);

large_owner_t *large_owner_find(const large_t *self, slice_t key);
int large_owner_set(large_t *self, slice_t key, const large_item_t *file); /* DRAX_ENOMEM */
void large_owner_remove(large_t *self, large_owner_t *owner);
void large_owners_clear(large_t *self);

/* ---- large_write.c ---- */

/* Keeps the file, which has its name as an old one, to be written over; or removes it. */
void large_old_add(large_t *self, const large_item_t *file);

/* ---- large.c ---- */

/* For large_detail: what is wrong with the value's file `number`. */
void large_detail_set(large_t *self, uint64_t number, const char *reason);

#endif
