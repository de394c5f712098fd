/* kv_leveldb_write.c: batches, and what has to follow one: reclaimed files, memory given back, the
 * database opened again.
 *
 * Owns: the batch's operations and its large values' files until it is written. Must not know: how
 * anything is read.
 *
 * Invariant: after a write that failed nothing more is written to the same open database. LevelDB
 * may have left half a record in its log, and what follows such a record is lost at the next open.
 * The next write closes the database and opens it again first, which cuts the half record off; that
 * needs all iterators and snapshots closed (DRAX_EAGAIN until then). So a full disk heals by
 * itself.
 */
#include <malloc.h>
#include <stdlib.h>

#include "broker/error.h"
#include "store/kv_leveldb_internal.h"
#include "store/table_pages.h"

/* Memory is given back this often, at a flush. */
#define RELEASE_SECONDS 1

typedef struct batch {
    kv_batch_t kv;
    kv_leveldb_t *store;
    leveldb_writebatch_t *ops;
    large_batch_t large;
    int failed; /* of large_changed */
} batch_ops_t;

static const kv_backend_t batch_backend;

kv_batch_t *kv_leveldb_batch_new(kv_t *kv) {
    batch_ops_t *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->kv.backend = &batch_backend;
    batch->store = (kv_leveldb_t *) kv;
    batch->ops = leveldb_writebatch_create();
    return &batch->kv;
}

static void batch_put(kv_batch_t *kv, slice_t key, slice_t value) {
    batch_ops_t *self = (batch_ops_t *) kv;
    uint8_t reference[LARGE_REFERENCE_BYTES];
    if (large_wanted(self->store->large, value)) {
        if (self->large.failed ||
            large_put(self->store->large, &self->large, key, value, reference) != 0)
            return; /* the batch will not be written */
        value = (slice_t){reference, sizeof reference};
    }
    leveldb_writebatch_put(self->ops, kv_leveldb_chars(key), key.size, kv_leveldb_chars(value),
                           value.size);
}

static void batch_delete(kv_batch_t *kv, slice_t key) {
    leveldb_writebatch_delete(((batch_ops_t *) kv)->ops, kv_leveldb_chars(key), key.size);
}

static void batch_destroy(kv_batch_t *kv) {
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

/* Pages of tables, write buffers and batches. `write_lock` is held. */
static void memory_release(kv_leveldb_t *self) {
    table_pages_release(self->db, self->directory);
    (void) malloc_trim(0);
}

/* What is due now and then. `write_lock` is held. */
static void upkeep(kv_leveldb_t *self) {
    kv_leveldb_buffer_fit(self);
    if (self->db)
        memory_release(self);
}

/* While one write follows the other. */
static void upkeep_due(kv_leveldb_t *self) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - self->released < RELEASE_SECONDS)
        return;
    self->released = now.tv_sec;
    upkeep(self);
}

void kv_leveldb_release(kv_t *kv) {
    kv_leveldb_t *self = (kv_leveldb_t *) kv;
    pthread_mutex_lock(&self->write_lock);
    if (self->db)
        upkeep(self);
    pthread_mutex_unlock(&self->write_lock);
}

static int batch_write(kv_leveldb_t *self, batch_ops_t *batch, bool sync) {
    int rc = large_publish(self->large, &batch->large);
    if (rc)
        return rc;
    /* Only a writer ever changes `db`, so `lock` is not needed here: readers must not wait behind a
     * write that stalls. */
    char *text = NULL;
    leveldb_write(self->db, sync ? self->sync_options : self->write_options, batch->ops, &text);
    rc = kv_leveldb_error(text);
    if (rc) {
        self->write_failed = true;
        large_batch_end(self->large, &batch->large, false); /* the log may have it all the same */
        return rc;
    }
    batch_settle(batch);
    return 0;
}

/* After a failed write; see the invariant. Called with the lock held for writing. */
static int database_reopen(kv_leveldb_t *self) {
    if (large_viewed(self->large))
        return DRAX_EAGAIN;
    if (self->db)
        leveldb_close(self->db);
    return kv_leveldb_database_recover(self);
}

int kv_leveldb_write(kv_t *kv, kv_batch_t *kv_batch, bool sync) {
    kv_leveldb_t *self = (kv_leveldb_t *) kv;
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
        upkeep_due(self);
    pthread_mutex_unlock(&self->write_lock);
    return rc;
}

/* The part of the backend that batches need. */
static const kv_backend_t batch_backend = {
    .batch_put = batch_put,
    .batch_delete = batch_delete,
    .batch_destroy = batch_destroy,
};
