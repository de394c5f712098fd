/* kv_memory.c: an ordered store in memory that behaves as LevelDB does, for tests and the
 * simulator.
 *
 * Owns: every version of every key, in a tree sorted by key and then by falling sequence number. A
 * view (snapshot or iterator) is a sequence number: it sees, of each key, the newest version that
 * is not above its own. Must not know what the keys mean.
 *
 * Invariants
 *  1. Sequence numbers begin at 1 and grow with each operation; all of one batch become visible at
 * once.
 *  2. Without open views each key has one version and none is a tombstone. Old versions that a view
 * may need stay until the last view is closed.
 *  3. The mutex guards the tree; the bytes of a version never change while it is in the tree.
 */
#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "store/kv_backend.h"

typedef struct version {
    RB_ENTRY(version) link;
    STAILQ_ENTRY(version) next; /* while it is in a batch */
    slice_t key, value;
    uint64_t seq;
    bool tombstone;
    uint8_t bytes[];
} version_t;

RB_HEAD(version_tree, version);
STAILQ_HEAD(version_list, version);

typedef struct store {
    kv_t kv;
    pthread_mutex_t lock;
    struct version_tree tree;
    uint64_t seq;
    size_t views;
    bool garbage; /* some version may be of no use any more */
} store_t;

typedef struct batch_list {
    kv_batch_t kv;
    struct version_list list;
    bool failed;
} batch_list_t;

struct kv_snapshot {
    uint64_t seq;
};

typedef struct iterator {
    kv_iterator_t kv;
    store_t *store;
    uint64_t seq;
    version_t *at; /* NULL: not valid */
} iterator_t;

static int version_compare(const version_t *a, const version_t *b) {
    int order = kv_key_compare(a->key, b->key);
    return order ? order : (a->seq < b->seq) - (a->seq > b->seq);
}

RB_GENERATE_INTERNAL(version_tree, version, link, version_compare, static __attribute__((unused)))

/* The first version at or after (key, seq) in the order of the tree. */
static version_t *tree_find(store_t *self, slice_t key, uint64_t seq) {
    version_t probe = {.key = key, .seq = seq};
    return RB_NFIND(version_tree, &self->tree, &probe);
}

/* What a view at `seq` sees of the first key from `at` on that it sees at all. */
static version_t *visible_forward(store_t *self, version_t *at, uint64_t seq) {
    while (at) {
        version_t *seen = tree_find(self, at->key, seq);
        if (seen && kv_key_compare(seen->key, at->key) == 0 && !seen->tombstone)
            return seen;
        at = tree_find(self, at->key, 0); /* sequence numbers begin at 1: the next key */
    }
    return NULL;
}

static version_t *visible_backward(store_t *self, version_t *at, uint64_t seq) {
    while (at) {
        version_t *seen = tree_find(self, at->key, seq);
        if (seen && kv_key_compare(seen->key, at->key) == 0 && !seen->tombstone)
            return seen;
        at = RB_PREV(version_tree, &self->tree, tree_find(self, at->key, UINT64_MAX));
    }
    return NULL;
}

/* ---- writes ---- */

/* Frees the versions of `key` that only views could want, when there are none. */
static void key_sweep(store_t *self, slice_t key) {
    version_t *newest = tree_find(self, key, UINT64_MAX);
    version_t *old = newest;
    if (!newest->tombstone)
        old = RB_NEXT(version_tree, &self->tree, newest);
    version_t *next = tree_find(self, key, 0);
    while (old != next) {
        version_t *after = RB_NEXT(version_tree, &self->tree, old);
        RB_REMOVE(version_tree, &self->tree, old);
        free(old);
        old = after;
    }
}

static int store_write(kv_t *kv, kv_batch_t *kv_batch, bool sync) {
    store_t *self = (store_t *) kv;
    batch_list_t *batch = (batch_list_t *) kv_batch;
    (void) sync; /* nothing here outlives the process */
    if (batch->failed)
        return DRAX_ENOMEM;
    pthread_mutex_lock(&self->lock);
    while (!STAILQ_EMPTY(&batch->list)) {
        version_t *version = STAILQ_FIRST(&batch->list);
        STAILQ_REMOVE_HEAD(&batch->list, next);
        version->seq = ++self->seq;
        RB_INSERT(version_tree, &self->tree, version);
        if (self->views)
            self->garbage = true;
        else
            key_sweep(self, version->key);
    }
    pthread_mutex_unlock(&self->lock);
    return 0;
}

static void batch_add(batch_list_t *self, slice_t key, slice_t value, bool tombstone) {
    version_t *version = calloc(1, sizeof *version + key.size + value.size);
    if (!version) {
        self->failed = true;
        return;
    }
    if (key.size)
        memcpy(version->bytes, key.data, key.size);
    if (value.size)
        memcpy(version->bytes + key.size, value.data, value.size);
    version->key = (slice_t){version->bytes, key.size};
    version->value = (slice_t){version->bytes + key.size, value.size};
    version->tombstone = tombstone;
    STAILQ_INSERT_TAIL(&self->list, version, next);
}

static kv_batch_t *store_batch_new(kv_t *kv) {
    batch_list_t *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->kv.backend = kv->backend;
    STAILQ_INIT(&batch->list);
    return &batch->kv;
}

static void store_batch_put(kv_batch_t *kv, slice_t key, slice_t value) {
    batch_add((batch_list_t *) kv, key, value, false);
}

static void store_batch_delete(kv_batch_t *kv, slice_t key) {
    batch_add((batch_list_t *) kv, key, (slice_t){NULL, 0}, true);
}

static void store_batch_destroy(kv_batch_t *kv) {
    batch_list_t *self = (batch_list_t *) kv;
    while (!STAILQ_EMPTY(&self->list)) {
        version_t *version = STAILQ_FIRST(&self->list);
        STAILQ_REMOVE_HEAD(&self->list, next);
        free(version);
    }
    free(self);
}

/* ---- reads ---- */

static int store_get(kv_t *kv, slice_t key, buffer_t *value) {
    store_t *self = (store_t *) kv;
    pthread_mutex_lock(&self->lock);
    version_t *found = tree_find(self, key, self->seq);
    bool hit = found && !found->tombstone && kv_key_compare(found->key, key) == 0;
    if (hit)
        buffer_append(value, found->value.data, found->value.size);
    pthread_mutex_unlock(&self->lock);
    if (!hit)
        return DRAX_ENOTFOUND;
    return value->failed ? DRAX_ENOMEM : 0;
}

static uint64_t view_open(store_t *self) {
    pthread_mutex_lock(&self->lock);
    self->views++;
    uint64_t seq = self->seq;
    pthread_mutex_unlock(&self->lock);
    return seq;
}

static void view_close(store_t *self) {
    pthread_mutex_lock(&self->lock);
    self->views--;
    if (self->views == 0 && self->garbage) {
        version_t *at = RB_MIN(version_tree, &self->tree);
        while (at) {
            version_t *next = tree_find(self, at->key, 0);
            key_sweep(self, at->key);
            at = next;
        }
        self->garbage = false;
    }
    pthread_mutex_unlock(&self->lock);
}

static kv_snapshot_t *store_snapshot_new(kv_t *kv) {
    kv_snapshot_t *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot)
        snapshot->seq = view_open((store_t *) kv);
    return snapshot;
}

static void store_snapshot_destroy(kv_t *kv, kv_snapshot_t *snapshot) {
    view_close((store_t *) kv);
    free(snapshot);
}

static kv_iterator_t *store_iterator_new(kv_t *kv, kv_snapshot_t *snapshot) {
    iterator_t *iterator = calloc(1, sizeof *iterator);
    if (!iterator)
        return NULL;
    iterator->kv.backend = kv->backend;
    iterator->store = (store_t *) kv;
    iterator->seq = view_open(iterator->store);
    if (snapshot)
        iterator->seq = snapshot->seq;
    return &iterator->kv;
}

static void store_iterator_destroy(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    view_close(self->store);
    free(self);
}

static void store_seek(kv_iterator_t *kv, slice_t key) {
    iterator_t *self = (iterator_t *) kv;
    pthread_mutex_lock(&self->store->lock);
    self->at = visible_forward(self->store, tree_find(self->store, key, UINT64_MAX), self->seq);
    pthread_mutex_unlock(&self->store->lock);
}

static void store_seek_last(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    pthread_mutex_lock(&self->store->lock);
    version_t *last = RB_MAX(version_tree, &self->store->tree);
    self->at = visible_backward(self->store, last, self->seq);
    pthread_mutex_unlock(&self->store->lock);
}

static void store_seek_before(kv_iterator_t *kv, slice_t key) {
    iterator_t *self = (iterator_t *) kv;
    struct version_tree *tree = &self->store->tree;
    pthread_mutex_lock(&self->store->lock);
    version_t *from = tree_find(self->store, key, UINT64_MAX);
    version_t *before = from ? RB_PREV(version_tree, tree, from) : RB_MAX(version_tree, tree);
    self->at = visible_backward(self->store, before, self->seq);
    pthread_mutex_unlock(&self->store->lock);
}

static void store_next(kv_iterator_t *kv) {
    iterator_t *self = (iterator_t *) kv;
    pthread_mutex_lock(&self->store->lock);
    version_t *next = tree_find(self->store, self->at->key, 0);
    self->at = visible_forward(self->store, next, self->seq);
    pthread_mutex_unlock(&self->store->lock);
}

static void store_prev(kv_iterator_t *kv) {
    store_seek_before(kv, ((iterator_t *) kv)->at->key);
}

static bool store_valid(const kv_iterator_t *kv) {
    return ((const iterator_t *) kv)->at != NULL;
}

static slice_t store_key(const kv_iterator_t *kv) {
    return ((const iterator_t *) kv)->at->key;
}

static slice_t store_value(const kv_iterator_t *kv) {
    return ((const iterator_t *) kv)->at->value;
}

static int store_error(const kv_iterator_t *kv) {
    (void) kv; /* memory does not fail to be read */
    return 0;
}

static void store_close(kv_t *kv) {
    store_t *self = (store_t *) kv;
    version_t *at = RB_MIN(version_tree, &self->tree);
    while (at) {
        version_t *next = RB_NEXT(version_tree, &self->tree, at);
        RB_REMOVE(version_tree, &self->tree, at);
        free(at);
        at = next;
    }
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const kv_backend_t memory_backend = {
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
};

int kv_memory_open(kv_t **out) {
    *out = NULL;
    store_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->kv.backend = &memory_backend;
    pthread_mutex_init(&self->lock, NULL);
    RB_INIT(&self->tree);
    *out = &self->kv;
    return 0;
}
