#include "kv_helper.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/fs.h"
#include "store/kv_backend.h"

void temp_dir_make(temp_dir_t *out) {
    const char *base = getenv("TMPDIR");
    snprintf(out->path, sizeof out->path, "%s/drax-test-XXXXXX", base ? base : "/tmp");
    char *made = mkdtemp(out->path);
    assert(made);
    (void) made;
}

void temp_dir_remove(temp_dir_t *self) {
    int rc = fs_posix()->remove_tree(fs_posix()->self, self->path);
    assert(rc == 0);
    (void) rc;
}

typedef struct faulty {
    kv_t kv;
    kv_t *inner;
    long *calls_left;
    int code;
    unsigned releases;
} faulty_t;

typedef struct faulty_iterator {
    kv_iterator_t kv;
    faulty_t *store;
    kv_iterator_t *inner;
    int error;
} faulty_iterator_t;

static int call_count(faulty_t *self) {
    if (*self->calls_left == 0)
        return self->code;
    if (*self->calls_left > 0)
        --*self->calls_left;
    return 0;
}

static void faulty_close(kv_t *kv) {
    faulty_t *self = (faulty_t *) kv;
    kv_close(&self->inner);
    free(self);
}

static int faulty_get(kv_t *kv, slice_t key, buffer_t *value) {
    faulty_t *self = (faulty_t *) kv;
    int rc = call_count(self);
    return rc ? rc : kv_get(self->inner, key, value);
}

static kv_batch_t *faulty_batch_new(kv_t *kv) {
    return kv_batch_new(((faulty_t *) kv)->inner);
}

static int faulty_write(kv_t *kv, kv_batch_t *batch, bool sync) {
    faulty_t *self = (faulty_t *) kv;
    int rc = call_count(self);
    return rc ? rc : kv_write(self->inner, batch, sync);
}

static kv_snapshot_t *faulty_snapshot_new(kv_t *kv) {
    return kv_snapshot_new(((faulty_t *) kv)->inner);
}

static void faulty_snapshot_destroy(kv_t *kv, kv_snapshot_t *snapshot) {
    kv_snapshot_destroy(((faulty_t *) kv)->inner, &snapshot);
}

static kv_iterator_t *faulty_iterator_new(kv_t *kv, kv_snapshot_t *snapshot) {
    faulty_t *self = (faulty_t *) kv;
    faulty_iterator_t *iterator = calloc(1, sizeof *iterator);
    assert(iterator);
    iterator->kv.backend = kv->backend;
    iterator->store = self;
    iterator->inner = kv_iterator_new(self->inner, snapshot);
    return &iterator->kv;
}

static void faulty_iterator_destroy(kv_iterator_t *kv) {
    faulty_iterator_t *self = (faulty_iterator_t *) kv;
    kv_iterator_destroy(&self->inner);
    free(self);
}

static kv_iterator_t *iterator_move(kv_iterator_t *kv) {
    faulty_iterator_t *self = (faulty_iterator_t *) kv;
    self->error = call_count(self->store);
    return self->inner;
}

static void faulty_seek(kv_iterator_t *kv, slice_t key) {
    kv_iterator_seek(iterator_move(kv), key);
}

static void faulty_seek_before(kv_iterator_t *kv, slice_t key) {
    kv_iterator_seek_before(iterator_move(kv), key);
}

static void faulty_seek_last(kv_iterator_t *kv) {
    kv_iterator_seek_last(iterator_move(kv));
}

static void faulty_next(kv_iterator_t *kv) {
    kv_iterator_next(iterator_move(kv));
}

static void faulty_prev(kv_iterator_t *kv) {
    kv_iterator_prev(iterator_move(kv));
}

static bool faulty_valid(const kv_iterator_t *kv) {
    const faulty_iterator_t *self = (const faulty_iterator_t *) kv;
    return !self->error && kv_iterator_valid(self->inner);
}

static slice_t faulty_key(const kv_iterator_t *kv) {
    return kv_iterator_key(((const faulty_iterator_t *) kv)->inner);
}

static slice_t faulty_value(const kv_iterator_t *kv) {
    return kv_iterator_value(((const faulty_iterator_t *) kv)->inner);
}

static int faulty_error(const kv_iterator_t *kv) {
    const faulty_iterator_t *self = (const faulty_iterator_t *) kv;
    return self->error ? self->error : kv_iterator_error(self->inner);
}

static void faulty_release(kv_t *kv) {
    faulty_t *self = (faulty_t *) kv;
    self->releases++;
    kv_release(self->inner);
}

/* Batches and snapshots are those of the inner store, so their calls never come here. */
static const kv_backend_t faulty_backend = {
    .close = faulty_close,
    .get = faulty_get,
    .batch_new = faulty_batch_new,
    .write = faulty_write,
    .snapshot_new = faulty_snapshot_new,
    .snapshot_destroy = faulty_snapshot_destroy,
    .iterator_new = faulty_iterator_new,
    .iterator_destroy = faulty_iterator_destroy,
    .seek = faulty_seek,
    .seek_before = faulty_seek_before,
    .seek_last = faulty_seek_last,
    .next = faulty_next,
    .prev = faulty_prev,
    .valid = faulty_valid,
    .key = faulty_key,
    .value = faulty_value,
    .error = faulty_error,
    .release = faulty_release,
};

kv_t *kv_faulty_new(kv_t *inner, long *calls_left, int code) {
    faulty_t *self = calloc(1, sizeof *self);
    assert(self);
    *self =
        (faulty_t){.kv = {&faulty_backend}, .inner = inner, .calls_left = calls_left, .code = code};
    return &self->kv;
}

unsigned kv_faulty_releases(const kv_t *kv) {
    return ((const faulty_t *) kv)->releases;
}
