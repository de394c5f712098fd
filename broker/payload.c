#include "broker/payload.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct payload {
    atomic_uint refs;
    size_t size;
    const uint8_t *data;
    void (*release)(void *hint); /* NULL: the bytes follow this struct */
    void *hint;
    uint8_t bytes[];
};

payload_t *payload_new(size_t size) {
    if (size > SIZE_MAX - sizeof(payload_t))
        return NULL;
    payload_t *self = malloc(sizeof *self + size);
    if (!self)
        return NULL;
    atomic_init(&self->refs, 1);
    self->size = size;
    self->data = self->bytes;
    self->release = NULL;
    self->hint = NULL;
    return self;
}

payload_t *payload_copy(const void *data, size_t size) {
    payload_t *self = payload_new(size);
    if (self && size)
        memcpy(self->bytes, data, size);
    return self;
}

payload_t *payload_wrap(const void *data, size_t size, void (*release)(void *hint), void *hint) {
    payload_t *self = payload_new(0);
    if (!self)
        return NULL;
    self->size = size;
    self->data = data;
    self->release = release;
    self->hint = hint;
    return self;
}

payload_t *payload_ref(payload_t *self) {
    if (self) {
        unsigned before = atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
        assert(before > 0);
        (void) before;
    }
    return self;
}

void payload_unref(payload_t **self) {
    payload_t *payload = *self;
    *self = NULL;
    if (!payload)
        return;
    unsigned before = atomic_fetch_sub_explicit(&payload->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1)
        return;
    if (payload->release)
        payload->release(payload->hint);
    free(payload);
}

const uint8_t *payload_data(const payload_t *self) {
    return self ? self->data : NULL;
}

size_t payload_size(const payload_t *self) {
    return self ? self->size : 0;
}

slice_t payload_slice(const payload_t *self) {
    return (slice_t){payload_data(self), payload_size(self)};
}

uint8_t *payload_bytes(payload_t *self) {
    assert(!self->release && atomic_load_explicit(&self->refs, memory_order_relaxed) == 1);
    return self->bytes;
}
