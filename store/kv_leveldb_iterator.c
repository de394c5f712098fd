/* kv_leveldb_iterator.c: iterators over the database, which show large values in place of their
 * references.
 *
 * Owns: LevelDB's iterator, the view that keeps large values alive as long as it may come to them,
 * and the large value it stands at. Must not know: batches.
 *
 * Invariants
 *  1. The view is opened before LevelDB's iterator and closed after it, so that no file goes which
 * that can still lead to.
 *  2. After an error it is not valid any more. LevelDB's own goes on behind a block or a table that
 * it cannot read, as if the keys there did not exist, or as older tables have them.
 */
#include <stdlib.h>

#include "broker/error.h"
#include "store/kv_leveldb_internal.h"

typedef struct iterator {
    kv_iterator_t kv;
    kv_leveldb_t *store;
    leveldb_readoptions_t *options;
    leveldb_iterator_t *at;
    large_view_t view;
    bool spares_large;
    bool is_large;  /* the value of the pair it stands at is in `large` */
    buffer_t large; /* the last large value */
    int failed;     /* why a move or that value could not be read; the iterator is invalid then */
} iterator_t;

static const kv_backend_t iterator_backend;

kv_iterator_t *kv_leveldb_iterator_new(kv_t *kv, kv_snapshot_t *snapshot) {
    kv_leveldb_t *self = (kv_leveldb_t *) kv;
    iterator_t *iterator = calloc(1, sizeof *iterator);
    if (!iterator)
        return NULL;
    iterator->kv.backend = &iterator_backend;
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

static void iterator_destroy(kv_iterator_t *kv) {
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
    return kv_leveldb_error(text);
}

/* After each move: a reference's place is taken by what it stands for. */
static void iterator_settle(iterator_t *self) {
    self->is_large = false;
    self->failed = database_error(self);
    if (self->failed || !leveldb_iter_valid(self->at))
        return;
    slice_t key, record;
    record.data = (const uint8_t *) leveldb_iter_value(self->at, &record.size);
    if (!large_reference_is(record))
        return;
    key.data = (const uint8_t *) leveldb_iter_key(self->at, &key.size);
    buffer_reset(&self->large);
    self->is_large = true;
    if (!self->spares_large)
        self->failed = large_read(self->store->large, key, record, &self->large);
}

static void iterator_spare_large(kv_iterator_t *kv) {
    ((iterator_t *) kv)->spares_large = true;
}

static void iterator_seek(kv_iterator_t *kv, slice_t key) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_seek(self->at, kv_leveldb_chars(key), key.size);
    iterator_settle(self);
}

static void iterator_seek_before(kv_iterator_t *kv, slice_t key) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_seek(self->at, kv_leveldb_chars(key), key.size);
    if (leveldb_iter_valid(self->at))
        leveldb_iter_prev(self->at);
    else if (database_error(self) == 0)
        leveldb_iter_seek_to_last(self->at);
    iterator_settle(self);
}

static void iterator_seek_last(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_seek_to_last(self->at);
    iterator_settle(self);
}

static void iterator_next(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_next(self->at);
    iterator_settle(self);
}

static void iterator_prev(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    leveldb_iter_prev(self->at);
    iterator_settle(self);
}

static bool iterator_valid(const kv_iterator_t *kv) {
    const iterator_t *self = (const iterator_t *) kv;
    return !self->failed && leveldb_iter_valid(self->at);
}

static slice_t iterator_key(const kv_iterator_t *kv) {
    slice_t key = {NULL, 0};
    key.data = (const uint8_t *) leveldb_iter_key(((const iterator_t *) kv)->at, &key.size);
    return key;
}

static slice_t iterator_value(const kv_iterator_t *kv) {
    const iterator_t *self = (const iterator_t *) kv;
    if (self->is_large)
        return (slice_t){self->large.data, self->large.size};
    slice_t value = {NULL, 0};
    value.data = (const uint8_t *) leveldb_iter_value(self->at, &value.size);
    return value;
}

static int iterator_error(const kv_iterator_t *kv) {
    return ((const iterator_t *) kv)->failed;
}

/* The part of the backend that iterators need. */
static const kv_backend_t iterator_backend = {
    .iterator_destroy = iterator_destroy,
    .spare_large = iterator_spare_large,
    .seek = iterator_seek,
    .seek_before = iterator_seek_before,
    .seek_last = iterator_seek_last,
    .next = iterator_next,
    .prev = iterator_prev,
    .valid = iterator_valid,
    .key = iterator_key,
    .value = iterator_value,
    .error = iterator_error,
};
