/* kv_backend.h: what an ordered store implements to stand under kv.h.
 *
 * Only kv.c, the implementations and tests that put a faulty store in between include this. Each
 * handle begins with a pointer to its backend, so that kv.c can pass a call on without knowing
 * whose it is.
 */
#ifndef DRAX_STORE_KV_BACKEND_H
#define DRAX_STORE_KV_BACKEND_H

#include "store/kv.h"

typedef struct kv_backend {
    void (*close)(kv_t *self);
    int (*get)(kv_t *self, slice_t key, buffer_t *value); /* `value` is empty already */
    kv_batch_t *(*batch_new)(kv_t *self);
    void (*batch_put)(kv_batch_t *self, slice_t key, slice_t value);
    void (*batch_delete)(kv_batch_t *self, slice_t key);
    void (*batch_destroy)(kv_batch_t *self);
    int (*write)(kv_t *self, kv_batch_t *batch, bool sync);
    kv_snapshot_t *(*snapshot_new)(kv_t *self);
    void (*snapshot_destroy)(kv_t *self, kv_snapshot_t *snapshot);
    kv_iterator_t *(*iterator_new)(kv_t *self, kv_snapshot_t *snapshot);
    void (*iterator_destroy)(kv_iterator_t *self);
    void (*spare_large)(kv_iterator_t *self); /* NULL: none are read from elsewhere */
    void (*seek)(kv_iterator_t *self, slice_t key);
    void (*seek_before)(kv_iterator_t *self, slice_t key);
    void (*seek_last)(kv_iterator_t *self);
    void (*next)(kv_iterator_t *self);
    void (*prev)(kv_iterator_t *self);
    bool (*valid)(const kv_iterator_t *self);
    slice_t (*key)(const kv_iterator_t *self);
    slice_t (*value)(const kv_iterator_t *self);
    int (*error)(const kv_iterator_t *self);
    void (*release)(kv_t *self);                        /* NULL: nothing is left behind */
    void (*detail)(kv_t *self, char *out, size_t size); /* NULL: there is none */
} kv_backend_t;

struct kv {
    const kv_backend_t *backend;
};

struct kv_batch {
    const kv_backend_t *backend;
};

struct kv_iterator {
    const kv_backend_t *backend;
};

#endif
