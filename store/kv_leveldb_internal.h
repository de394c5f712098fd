/* kv_leveldb_internal.h: what the files of the store over LevelDB share. Not for anyone else.
 *
 *   kv_leveldb.c           open and close, single reads, snapshots
 *   kv_leveldb_buffer.c    how large the write buffer is
 *   kv_leveldb_iterator.c  iterators
 *   kv_leveldb_write.c     batches, and opening the database again after one that failed
 */
#ifndef DRAX_STORE_KV_LEVELDB_INTERNAL_H
#define DRAX_STORE_KV_LEVELDB_INTERNAL_H

#include <leveldb/c.h>
#include <pthread.h>
#include <time.h>

#include "store/disk_pace.h"
#include "store/kv_backend.h"
#include "store/large.h"

typedef struct kv_leveldb {
    kv_t kv;
    char *directory;
    fs_t fs; /* of large values, and asked for room */
    kv_leveldb_sizes_t sizes;
    size_t buffer_bytes; /* of these, what LevelDB was opened with; guarded by `write_lock` */
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *bloom;
    leveldb_readoptions_t *get_options;
    leveldb_writeoptions_t *write_options, *sync_options;
    pthread_rwlock_t lock;      /* held for writing only while the database is opened again */
    leveldb_t *db;              /* NULL when that failed; guarded by `lock` */
    pthread_mutex_t write_lock; /* one writer at a time; guards `write_failed` */
    bool write_failed;          /* so the database must be opened again */
    time_t released;            /* when memory was last given back; guarded by `write_lock` */
    disk_pace_t *pace;          /* of its files; NULL: none was to be had */
    large_t *large;             /* it also keeps the list of open iterators and snapshots */
} kv_leveldb_t;

struct kv_snapshot {
    const leveldb_snapshot_t *view;
    large_view_t large;
};

/* LevelDB takes no NULL, not for nothing either. */
static inline const char *kv_leveldb_chars(slice_t bytes) {
    return bytes.size ? (const char *) bytes.data : "";
}

/* ---- kv_leveldb.c ---- */

/* The code for what LevelDB said; 0 for NULL. Frees the text. */
int kv_leveldb_error(char *text);
/* Opens the database, with a write buffer of `buffer_bytes`. `lock` is held for writing, or nobody
 * knows the store yet. */
int kv_leveldb_database_open(kv_leveldb_t *self);
/* The same, and finds out which large values it refers to. */
int kv_leveldb_database_recover(kv_leveldb_t *self);

/* ---- kv_leveldb_buffer.c ---- */

void kv_leveldb_sizes_set(kv_leveldb_t *self, const kv_leveldb_sizes_t *sizes);
/* The write buffer that suits the tables in the directory. */
size_t kv_leveldb_buffer_wanted(const kv_leveldb_t *self);
/* Opens the database again when there are more tables than its buffer is for; not while anything is
 * viewed, or there is little room. `write_lock` is held, and the database open. */
void kv_leveldb_buffer_fit(kv_leveldb_t *self);

/* ---- kv_leveldb_iterator.c, kv_leveldb_write.c: as in kv_backend_t ---- */

kv_iterator_t *kv_leveldb_iterator_new(kv_t *kv, kv_snapshot_t *snapshot);
kv_batch_t *kv_leveldb_batch_new(kv_t *kv);
int kv_leveldb_write(kv_t *kv, kv_batch_t *kv_batch, bool sync);
void kv_leveldb_release(kv_t *kv);

#endif
