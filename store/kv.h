/* kv.h: the ordered-store seam under the state: get, iterate, batch, snapshot.
 *
 * Production uses LevelDB (kv_leveldb.c); the simulator and tests use kv_memory.c, which is tested
 * against LevelDB with the same random operations. Every call returns 0 or a DRAX_E…
 * (DRAX_ENOTFOUND, DRAX_EIO, DRAX_ECORRUPT, DRAX_ENOSPC, DRAX_ENOMEM, DRAX_EINUSE).
 */
#ifndef DRAX_STORE_KV_H
#define DRAX_STORE_KV_H

#include <stdbool.h>
#include <string.h>

#include "broker/pack.h"
#include "store/fs.h"

typedef struct kv kv_t;
typedef struct kv_iterator kv_iterator_t;
typedef struct kv_snapshot kv_snapshot_t;
typedef struct kv_batch kv_batch_t;

/* The order of keys: by bytes, a prefix before what it begins. */
static inline int kv_key_compare(slice_t a, slice_t b) {
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* Opens (and with `create` makes) the store in `directory`. paranoid_checks on. DRAX_ENOTFOUND:
 * there is none and `create` is false. */
int kv_leveldb_open(kv_t **out, const char *directory, bool create);

/* 0: as in production (limits.h). */
typedef struct kv_leveldb_sizes {
    size_t large;         /* a value beyond this has a file of its own */
    size_t buffer;        /* what LevelDB gathers before it makes a table, up to … */
    uint64_t many_tables; /* … so many bytes of tables; with more … */
    size_t many_buffer;   /* … this */
} kv_leveldb_sizes_t;

/* As kv_leveldb_open, with large values in files of `fs` (copied), and with other sizes. */
int kv_leveldb_open_sized(kv_t **out, const char *directory, bool create, const fs_t *fs,
                          const kv_leveldb_sizes_t *sizes);
int kv_memory_open(kv_t **out);

void kv_close(kv_t **self);

/* The value of `key`, appended to `value` after it was emptied. Thread-safe. */
int kv_get(kv_t *self, slice_t key, buffer_t *value);
/* The same, of a key that is about to be written. LevelDB takes gets that had to look into several
 * tables as a reason to merge these, though who writes makes that worth nothing; a peek is none. It
 * takes longer itself, most of all when there is no such key. */
int kv_peek(kv_t *self, slice_t key, buffer_t *value);

kv_batch_t *kv_batch_new(kv_t *self);
void kv_batch_put(kv_batch_t *self, slice_t key, slice_t value);
void kv_batch_delete(kv_batch_t *self, slice_t key);
void kv_batch_destroy(kv_batch_t **self);
/* Applies the batch atomically; `sync`: durable on return. May stall. Thread-safe. The batch is
 * spent, also by a failure: trying again takes a new one. DRAX_EAGAIN: the store must be opened
 * again after an earlier failure, and cannot be while iterators or snapshots are open. */
int kv_write(kv_t *self, kv_batch_t *batch, bool sync);
/* Memory that reads and writes left behind goes back to the system. Thread-safe. */
void kv_release(kv_t *self);
/* A sentence on the last DRAX_ECORRUPT, where there is more to tell; else empty. */
void kv_detail(kv_t *self, char *out, size_t size);

/* A consistent view. NULL when out of memory. */
kv_snapshot_t *kv_snapshot_new(kv_t *self);
void kv_snapshot_destroy(kv_t *self, kv_snapshot_t **snapshot);

/* Iterates `snapshot` (NULL: the present). Not positioned at first. Keys and values are borrowed
 * until the next move. kv_iterator_error must be read after the iterator became invalid. */
kv_iterator_t *kv_iterator_new(kv_t *self, kv_snapshot_t *snapshot);
void kv_iterator_destroy(kv_iterator_t **self);
/* From now on large values, which would have to be read from files of their own, are shown as empty
 * ones. */
void kv_iterator_spare_large(kv_iterator_t *self);
void kv_iterator_seek(kv_iterator_t *self, slice_t key);        /* first key >= `key` */
void kv_iterator_seek_before(kv_iterator_t *self, slice_t key); /* last key < `key` */
void kv_iterator_seek_last(kv_iterator_t *self);
void kv_iterator_next(kv_iterator_t *self);
void kv_iterator_prev(kv_iterator_t *self);
bool kv_iterator_valid(const kv_iterator_t *self);
slice_t kv_iterator_key(const kv_iterator_t *self);
slice_t kv_iterator_value(const kv_iterator_t *self);
int kv_iterator_error(const kv_iterator_t *self);

#endif
