/* merge.c: the walk of merge.h.
 *
 * Invariant between calls: every layer, and kv, stands at its first key at or beyond `key` in the
 * direction of the walk; those that stand at `key` itself are moved on together.
 */
#include "store/merge.h"

#include "broker/error.h"

/* True when `a` comes before `b` in the direction of the walk. */
static bool comes_first(const merge_t *self, slice_t a, slice_t b) {
    int order = kv_key_compare(a, b);
    return self->reverse ? order > 0 : order < 0;
}

/* Moves past `key` whoever stands at it. `key` may be borrowed from one of them, so kv, whose bytes
 * go away when it moves, is last. */
static void key_pass(merge_t *self) {
    for (int i = 0; i < MERGE_LAYERS; i++) {
        overlay_node_t *node = self->nodes[i];
        if (node && kv_key_compare(overlay_node_key(node), self->key) == 0)
            self->nodes[i] = self->reverse ? overlay_prev(node) : overlay_next(node);
    }
    if (kv_iterator_valid(self->kv) && kv_key_compare(kv_iterator_key(self->kv), self->key) == 0) {
        if (self->reverse)
            kv_iterator_prev(self->kv);
        else
            kv_iterator_next(self->kv);
    }
}

/* Finds the next pair from where all stand, skipping what was deleted. */
static int pair_find(merge_t *self) {
    for (;;) {
        bool deleted = false;
        self->valid = kv_iterator_valid(self->kv);
        if (self->valid) {
            self->key = kv_iterator_key(self->kv);
            self->value = kv_iterator_value(self->kv);
        } else {
            int rc = kv_iterator_error(self->kv);
            if (rc)
                return rc;
        }
        /* From the oldest layer to the newest, so that the newest wins among equals. */
        for (int i = MERGE_LAYERS - 1; i >= 0; i--) {
            const overlay_node_t *node = self->nodes[i];
            if (!node || (self->valid && comes_first(self, self->key, overlay_node_key(node))))
                continue;
            self->valid = true;
            self->key = overlay_node_key(node);
            self->value = overlay_node_value(node);
            deleted = overlay_node_deleted(node);
        }
        if (!self->valid || !deleted)
            return 0;
        key_pass(self);
    }
}

int merge_seek(merge_t *self, slice_t key) {
    self->reverse = false;
    for (int i = 0; i < MERGE_LAYERS; i++)
        self->nodes[i] = self->layers[i] ? overlay_seek(self->layers[i], key) : NULL;
    kv_iterator_seek(self->kv, key);
    return pair_find(self);
}

int merge_seek_before(merge_t *self, slice_t key) {
    self->reverse = true;
    for (int i = 0; i < MERGE_LAYERS; i++)
        self->nodes[i] = self->layers[i] ? overlay_seek_before(self->layers[i], key) : NULL;
    kv_iterator_seek_before(self->kv, key);
    return pair_find(self);
}

int merge_next(merge_t *self) {
    key_pass(self);
    return pair_find(self);
}

int merge_open(merge_t *self, overlay_t *overlay, overlay_t *frozen, kv_t *kv) {
    *self = (merge_t){.layers = {overlay, frozen}};
    self->kv = kv_iterator_new(kv, NULL);
    return self->kv ? 0 : DRAX_ENOMEM;
}

void merge_close(merge_t *self) {
    kv_iterator_destroy(&self->kv);
}
