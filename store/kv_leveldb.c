/* kv_leveldb.c: the ordered store of production, over LevelDB's C interface.
 *
 * Owns: one LevelDB database and its options, and beside it the files of large values (large.h):
 * for those LevelDB has a reference, which no caller ever sees. Must not know what the keys mean.
 *
 * Settings on purpose
 *  - paranoid_checks, verify_checksums: damage is an error, never a wrong or missing value.
 *  - No compression: values seldom shrink, records are small already, and a block that is not
 *    compressed is read where its table is mapped.
 *  - A write buffer of the size of a flush: smaller ones are compacted more often.
 *  - Tables of 8 MiB: a compaction moves much at a time (STORAGE.md).
 *  - A Bloom filter: most lookups of the state are for keys that do not exist.
 *  - A small block cache: only for tables beyond those that can be mapped.
 *  - fill_cache off in iterators: a long scan must not push the working set out.
 *
 * Invariant: after a write that failed nothing more is written to the same open database. LevelDB
 * may have left half a record in its log, and what follows such a record is lost at the next open.
 * The next write closes the database and opens it again first, which cuts the half record off; that
 * needs all iterators and snapshots closed (DRAX_EAGAIN until then). So a full disk heals by
 * itself.
 */
#include "store/kv_backend.h"

#include <assert.h>
#include <leveldb/c.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "store/large.h"
#include "store/table_pages.h"

/* In the database's directory, where LevelDB minds only names of its own. */
#define LARGE_NAME "large"
#define CACHE_BYTES (4u << 20)
#define WRITE_BUFFER_BYTES (16u << 20)
#define TABLE_BYTES (8u << 20)
#define BLOOM_BITS 10
#define OPEN_FILES (2 * TABLE_PAGES_TABLES + 10)
/* Memory is given back this often, at a flush. */
#define RELEASE_SECONDS 1

typedef struct store {
    kv_t kv;
    char *directory;
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
    large_t *large;             /* it also keeps the list of open iterators and snapshots */
} store_t;

typedef struct batch {
    kv_batch_t kv;
    store_t *store;
    leveldb_writebatch_t *ops;
    large_batch_t large;
    int failed; /* of large_changed */
} batch_ops_t;

struct kv_snapshot {
    const leveldb_snapshot_t *view;
    large_view_t large;
};

typedef struct iterator {
    kv_iterator_t kv;
    store_t *store;
    leveldb_readoptions_t *options;
    leveldb_iterator_t *at;
    large_view_t view;
    bool is_large;  /* the value of the pair it stands at is in `large` */
    buffer_t large; /* the last large value */
    int failed;     /* why that could not be read; the iterator is invalid then */
} iterator_t;

/* LevelDB tells its errors as text alone: "<class>: <context>: <strerror>". Frees the text. */
static int error_take(char *text) {
    int code = DRAX_EIO;
    if (!text)
        return 0;
    if (strstr(text, "No space left") || strstr(text, "Disk quota exceeded"))
        code = DRAX_ENOSPC;
    else if (strncmp(text, "Corruption", 10) == 0)
        code = DRAX_ECORRUPT;
    else if (strstr(text, "/LOCK: ") && (strstr(text, "Resource temporarily unavailable") ||
                                         strstr(text, "already held by process")))
        code = DRAX_EINUSE;
    else if (strstr(text, "does not exist (create_if_missing is false)"))
        code = DRAX_ENOTFOUND;
    leveldb_free(text);
    return code;
}

static const char *chars(slice_t bytes) {
    return bytes.size ? (const char *) bytes.data : "";
}

/* ---- open and close ---- */

static int record_get(void *store, slice_t key, buffer_t *record);

static int database_open(store_t *self) {
    char *text = NULL;
    self->db = leveldb_open(self->options, self->directory, &text);
    int rc = error_take(text);
    return rc ? rc : large_recover(self->large, record_get, self);
}

static void store_close(kv_t *kv) {
    store_t *self = (store_t *) kv;
    large_close(&self->large);
    if (self->db)
        leveldb_close(self->db);
    leveldb_options_destroy(self->options);
    leveldb_cache_destroy(self->cache);
    leveldb_filterpolicy_destroy(self->bloom);
    leveldb_readoptions_destroy(self->get_options);
    leveldb_writeoptions_destroy(self->write_options);
    leveldb_writeoptions_destroy(self->sync_options);
    pthread_rwlock_destroy(&self->lock);
    pthread_mutex_destroy(&self->write_lock);
    free(self->directory);
    free(self);
}

/* After a failed write; see the invariant. Called with the lock held for writing. */
static int database_reopen(store_t *self) {
    if (large_viewed(self->large))
        return DRAX_EAGAIN;
    if (self->db)
        leveldb_close(self->db);
    return database_open(self);
}

/* ---- reads ---- */

/* What the database has, a reference for a large value. `lock` is held. */
static int record_get(void *store, slice_t key, buffer_t *record) {
    const store_t *self = store;
    char *text = NULL;
    size_t size = 0;
    char *bytes = leveldb_get(self->db, self->get_options, chars(key), key.size, &size, &text);
    int rc = error_take(text);
    if (rc)
        return rc;
    if (!bytes)
        return DRAX_ENOTFOUND;
    buffer_append(record, bytes, size);
    leveldb_free(bytes);
    return record->failed ? DRAX_ENOMEM : 0;
}

/* A file that cannot be read may have gone with a write that came in between, which changed the
 * record as well. Only when the record is the same, and was before, something is wrong. */
static int value_get(const store_t *self, slice_t key, buffer_t *value) {
    uint8_t reference[LARGE_REFERENCE_BYTES] = {0};
    int found = 0;
    for (;;) {
        buffer_reset(value);
        int rc = record_get((void *) self, key, value);
        if (rc || !large_reference_is((slice_t){value->data, value->size}))
            return rc;
        if (value->size != sizeof reference)
            return DRAX_ECORRUPT;
        if (found && memcmp(reference, value->data, sizeof reference) == 0)
            return found;
        memcpy(reference, value->data, sizeof reference);
        buffer_reset(value);
        found = large_read(self->large, key, (slice_t){reference, sizeof reference}, value);
        if (found != DRAX_ECORRUPT)
            return found;
    }
}

static int store_get(kv_t *kv, slice_t key, buffer_t *value) {
    store_t *self = (store_t *) kv;
    pthread_rwlock_rdlock(&self->lock);
    int rc = self->db ? value_get(self, key, value) : DRAX_EIO;
    pthread_rwlock_unlock(&self->lock);
    return rc;
}

static kv_snapshot_t *store_snapshot_new(kv_t *kv) {
    store_t *self = (store_t *) kv;
    kv_snapshot_t *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return NULL;
    pthread_rwlock_rdlock(&self->lock);
    if (self->db) {
        large_view_open(self->large, &snapshot->large);
        snapshot->view = leveldb_create_snapshot(self->db);
    }
    pthread_rwlock_unlock(&self->lock);
    if (!snapshot->view) {
        free(snapshot);
        return NULL;
    }
    return snapshot;
}

static void store_snapshot_destroy(kv_t *kv, kv_snapshot_t *snapshot) {
    store_t *self = (store_t *) kv;
    leveldb_release_snapshot(self->db, snapshot->view);
    large_view_close(self->large, &snapshot->large);
    free(snapshot);
}

static kv_iterator_t *store_iterator_new(kv_t *kv, kv_snapshot_t *snapshot) {
    store_t *self = (store_t *) kv;
    iterator_t *iterator = calloc(1, sizeof *iterator);
    if (!iterator)
        return NULL;
    iterator->kv.backend = kv->backend;
    iterator->store = self;
    iterator->options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(iterator->options, 1);
    leveldb_readoptions_set_fill_cache(iterator->options, 0);
    if (snapshot)
        leveldb_readoptions_set_snapshot(iterator->options, snapshot->view);
    pthread_rwlock_rdlock(&self->lock);
    if (self->db) {
        large_view_open(self->large, &iterator->view);
        iterator->at = leveldb_create_iterator(self->db, iterator->options);
    }
    pthread_rwlock_unlock(&self->lock);
    if (!iterator->at) {
        leveldb_readoptions_destroy(iterator->options);
        free(iterator);
        return NULL;
    }
    return &iterator->kv;
}

static void store_iterator_destroy(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_destroy(self->at);
    large_view_close(self->store->large, &self->view);
    leveldb_readoptions_destroy(self->options);
    buffer_free(&self->large);
    free(self);
}

static int database_error(const iterator_t *self) {
    char *text = NULL;
    leveldb_iter_get_error(self->at, &text);
    return error_take(text);
}

/* After each move: a reference's place is taken by what it stands for. */
static void iterator_settle(iterator_t *self) {
    self->is_large = false;
    self->failed = 0;
    if (!leveldb_iter_valid(self->at))
        return;
    slice_t key, record;
    record.data = (const uint8_t *) leveldb_iter_value(self->at, &record.size);
    if (!large_reference_is(record))
        return;
    key.data = (const uint8_t *) leveldb_iter_key(self->at, &key.size);
    buffer_reset(&self->large);
    self->is_large = true;
    self->failed = large_read(self->store->large, key, record, &self->large);
}

static void store_seek(kv_iterator_t *kv, slice_t key) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_seek(self->at, chars(key), key.size);
    iterator_settle(self);
}

static void store_seek_before(kv_iterator_t *kv, slice_t key) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_seek(self->at, chars(key), key.size);
    if (leveldb_iter_valid(self->at))
        leveldb_iter_prev(self->at);
    else if (database_error(self) == 0)
        leveldb_iter_seek_to_last(self->at);
    iterator_settle(self);
}

static void store_seek_last(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_seek_to_last(self->at);
    iterator_settle(self);
}

static void store_next(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_next(self->at);
    iterator_settle(self);
}

static void store_prev(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_prev(self->at);
    iterator_settle(self);
}

static bool store_valid(const kv_iterator_t *kv) {
    const iterator_t *self = (const iterator_t *) kv;
    return !self->failed && leveldb_iter_valid(self->at);
}

static slice_t store_key(const kv_iterator_t *kv) {
    slice_t key = {NULL, 0};
    key.data = (const uint8_t *) leveldb_iter_key(((const iterator_t *) kv)->at, &key.size);
    return key;
}

static slice_t store_value(const kv_iterator_t *kv) {
    const iterator_t *self = (const iterator_t *) kv;
    if (self->is_large)
        return (slice_t){self->large.data, self->large.size};
    slice_t value = {NULL, 0};
    value.data = (const uint8_t *) leveldb_iter_value(self->at, &value.size);
    return value;
}

static int store_error(const kv_iterator_t *kv) {
    const iterator_t *self = (const iterator_t *) kv;
    return self->failed ? self->failed : database_error(self);
}

/* ---- writes ---- */

static kv_batch_t *store_batch_new(kv_t *kv) {
    batch_ops_t *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->kv.backend = kv->backend;
    batch->store = (store_t *) kv;
    batch->ops = leveldb_writebatch_create();
    return &batch->kv;
}

static void store_batch_put(kv_batch_t *kv, slice_t key, slice_t value) {
    batch_ops_t *self = (batch_ops_t *) kv;
    uint8_t reference[LARGE_REFERENCE_BYTES];
    if (large_wanted(self->store->large, value)) {
        if (self->large.failed ||
            large_put(self->store->large, &self->large, key, value, reference) != 0)
            return; /* the batch will not be written */
        value = (slice_t){reference, sizeof reference};
    }
    leveldb_writebatch_put(self->ops, chars(key), key.size, chars(value), value.size);
}

static void store_batch_delete(kv_batch_t *kv, slice_t key) {
    leveldb_writebatch_delete(((batch_ops_t *) kv)->ops, chars(key), key.size);
}

static void store_batch_destroy(kv_batch_t *kv) {
    batch_ops_t *self = (batch_ops_t *) kv;
    large_batch_end(self->store->large, &self->large, true);
    leveldb_writebatch_destroy(self->ops);
    free(self);
}

/* A batch has the size of a flush: its memory goes before that of others is given back. */
static void batch_spend(batch_ops_t *self) {
    leveldb_writebatch_destroy(self->ops);
    self->ops = leveldb_writebatch_create();
}

static void put_settle(void *batch, const char *key, size_t key_size, const char *value,
                       size_t value_size) {
    batch_ops_t *self = batch;
    if (self->failed == 0)
        self->failed = large_changed(self->store->large, &self->large,
                                     (slice_t){(const uint8_t *) key, key_size},
                                     (slice_t){(const uint8_t *) value, value_size});
}

static void delete_settle(void *batch, const char *key, size_t key_size) {
    put_settle(batch, key, key_size, NULL, 0);
}

/* The batch is durable: what it replaced can go. Without memory to note that, the database is
 * opened again, which finds out anew what is needed. */
static void batch_settle(batch_ops_t *self) {
    large_t *large = self->store->large;
    if (self->large.count || large_any(large))
        leveldb_writebatch_iterate(self->ops, self, put_settle, delete_settle);
    large_batch_end(large, &self->large, false);
    if (self->failed)
        self->store->write_failed = true;
    else
        large_reclaim(large);
}

/* What reads and flushes left behind goes back to the system now and then. */
static void memory_release(store_t *self) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - self->released < RELEASE_SECONDS)
        return;
    self->released = now.tv_sec;
    table_pages_release(self->db, self->directory);
    (void) malloc_trim(0); /* what earlier flushes took: write buffers and batches */
}

static int batch_write(store_t *self, batch_ops_t *batch, bool sync) {
    int rc = large_publish(self->large, &batch->large);
    if (rc)
        return rc;
    /* Only a writer ever changes `db`, so `lock` is not needed here: readers must not wait behind a
     * write that stalls. */
    char *text = NULL;
    leveldb_write(self->db, sync ? self->sync_options : self->write_options, batch->ops, &text);
    rc = error_take(text);
    if (rc) {
        self->write_failed = true;
        large_batch_end(self->large, &batch->large, false); /* the log may have it all the same */
        return rc;
    }
    batch_settle(batch);
    return 0;
}

static int store_write(kv_t *kv, kv_batch_t *kv_batch, bool sync) {
    store_t *self = (store_t *) kv;
    batch_ops_t *batch = (batch_ops_t *) kv_batch;
    int rc = 0;
    pthread_mutex_lock(&self->write_lock);
    if (self->write_failed) {
        pthread_rwlock_wrlock(&self->lock);
        rc = database_reopen(self);
        self->write_failed = rc != 0;
        pthread_rwlock_unlock(&self->lock);
    }
    if (rc == 0)
        rc = batch_write(self, batch, sync);
    batch_spend(batch);
    if (rc == 0)
        memory_release(self);
    pthread_mutex_unlock(&self->write_lock);
    return rc;
}

static void store_detail(kv_t *kv, char *out, size_t size) {
    large_detail(((store_t *) kv)->large, out, size);
}

static const kv_backend_t leveldb_backend = {
    .close = store_close,
    .get = store_get,
    .batch_new = store_batch_new,
    .batch_put = store_batch_put,
    .batch_delete = store_batch_delete,
    .batch_destroy = store_batch_destroy,
    .write = store_write,
    .snapshot_new = store_snapshot_new,
    .snapshot_destroy = store_snapshot_destroy,
    .iterator_new = store_iterator_new,
    .iterator_destroy = store_iterator_destroy,
    .seek = store_seek,
    .seek_before = store_seek_before,
    .seek_last = store_seek_last,
    .next = store_next,
    .prev = store_prev,
    .valid = store_valid,
    .key = store_key,
    .value = store_value,
    .error = store_error,
    .detail = store_detail,
};

static int large_files_open(store_t *self, const fs_t *fs, size_t large_bytes) {
    char path[LIMIT_PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/" LARGE_NAME, self->directory);
    return (unsigned) length < sizeof path ? large_open(&self->large, fs, path, large_bytes)
                                           : DRAX_EINVAL;
}

int kv_leveldb_open(kv_t **out, const char *directory, bool create) {
    return kv_leveldb_open_large(out, directory, create, fs_posix(), STATE_LARGE_BYTES);
}

int kv_leveldb_open_large(kv_t **out, const char *directory, bool create, const fs_t *fs,
                          size_t large_bytes) {
    *out = NULL;
    store_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->directory = strdup(directory);
    int rc = self->directory ? large_files_open(self, fs, large_bytes) : DRAX_ENOMEM;
    if (rc) {
        free(self->directory);
        free(self);
        return rc;
    }
    self->kv.backend = &leveldb_backend;
    pthread_rwlock_init(&self->lock, NULL);
    pthread_mutex_init(&self->write_lock, NULL);
    self->cache = leveldb_cache_create_lru(CACHE_BYTES);
    self->bloom = leveldb_filterpolicy_create_bloom(BLOOM_BITS);
    self->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(self->options, create);
    leveldb_options_set_paranoid_checks(self->options, 1);
    leveldb_options_set_cache(self->options, self->cache);
    leveldb_options_set_filter_policy(self->options, self->bloom);
    leveldb_options_set_write_buffer_size(self->options, WRITE_BUFFER_BYTES);
    leveldb_options_set_max_file_size(self->options, TABLE_BYTES);
    leveldb_options_set_compression(self->options, leveldb_no_compression);
    leveldb_options_set_max_open_files(self->options, OPEN_FILES);
    self->get_options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(self->get_options, 1);
    self->write_options = leveldb_writeoptions_create();
    self->sync_options = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(self->sync_options, 1);
    rc = database_open(self);
    if (rc) {
        store_close(&self->kv);
        return rc;
    }
    leveldb_options_set_create_if_missing(self->options, 0); /* for opening it again */
    *out = &self->kv;
    return 0;
}
