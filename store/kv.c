/* kv.c: passes the calls of kv.h to the store that a handle belongs to.
 *
 * Owns nothing. An iterator that could not be made is NULL, and every caller checks that.
 */
#include "store/kv_backend.h"

#include "broker/error.h"

int kv_get(kv_t *self, slice_t key, buffer_t *value) {
    buffer_reset(value);
    return self->backend->get(self, key, value);
}

int kv_write(kv_t *self, kv_batch_t *batch, bool sync) {
    return self->backend->write(self, batch, sync);
}

void kv_release(kv_t *self) {
    if (self->backend->release)
        self->backend->release(self);
}

void kv_detail(kv_t *self, char *out, size_t size) {
    out[0] = '\0';
    if (self->backend->detail)
        self->backend->detail(self, out, size);
}

void kv_close(kv_t **self) {
    if (*self)
        (*self)->backend->close(*self);
    *self = NULL;
}

kv_batch_t *kv_batch_new(kv_t *self) {
    return self->backend->batch_new(self);
}

void kv_batch_put(kv_batch_t *self, slice_t key, slice_t value) {
    self->backend->batch_put(self, key, value);
}

void kv_batch_delete(kv_batch_t *self, slice_t key) {
    self->backend->batch_delete(self, key);
}

void kv_batch_destroy(kv_batch_t **self) {
    if (*self)
        (*self)->backend->batch_destroy(*self);
    *self = NULL;
}

int kv_peek(kv_t *self, slice_t key, buffer_t *value) {
    buffer_reset(value);
    kv_iterator_t *at = kv_iterator_new(self, NULL);
    if (!at)
        return DRAX_ENOMEM;
    kv_iterator_seek(at, key);
    int rc = kv_iterator_valid(at) ? 0 : kv_iterator_error(at);
    if (rc == 0 && kv_iterator_valid(at) && kv_key_compare(kv_iterator_key(at), key) == 0) {
        slice_t found = kv_iterator_value(at);
        buffer_append(value, found.data, found.size);
        rc = value->failed ? DRAX_ENOMEM : 0;
    } else if (rc == 0) {
        rc = DRAX_ENOTFOUND;
    }
    kv_iterator_destroy(&at);
    return rc;
}

kv_snapshot_t *kv_snapshot_new(kv_t *self) {
    return self->backend->snapshot_new(self);
}

void kv_snapshot_destroy(kv_t *self, kv_snapshot_t **snapshot) {
    if (*snapshot)
        self->backend->snapshot_destroy(self, *snapshot);
    *snapshot = NULL;
}

kv_iterator_t *kv_iterator_new(kv_t *self, kv_snapshot_t *snapshot) {
    return self->backend->iterator_new(self, snapshot);
}

void kv_iterator_destroy(kv_iterator_t **self) {
    if (*self)
        (*self)->backend->iterator_destroy(*self);
    *self = NULL;
}

void kv_iterator_spare_large(kv_iterator_t *self) {
    if (self->backend->spare_large)
        self->backend->spare_large(self);
}

void kv_iterator_seek(kv_iterator_t *self, slice_t key) {
    self->backend->seek(self, key);
}

void kv_iterator_seek_before(kv_iterator_t *self, slice_t key) {
    self->backend->seek_before(self, key);
}

void kv_iterator_seek_last(kv_iterator_t *self) {
    self->backend->seek_last(self);
}

void kv_iterator_next(kv_iterator_t *self) {
    self->backend->next(self);
}

void kv_iterator_prev(kv_iterator_t *self) {
    self->backend->prev(self);
}

bool kv_iterator_valid(const kv_iterator_t *self) {
    return self->backend->valid(self);
}

slice_t kv_iterator_key(const kv_iterator_t *self) {
    return self->backend->key(self);
}

slice_t kv_iterator_value(const kv_iterator_t *self) {
    return self->backend->value(self);
}

int kv_iterator_error(const kv_iterator_t *self) {
    return self->backend->error(self);
}
