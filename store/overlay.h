/* overlay.h: what was changed since the last flush, as an ordered map in memory.
 *
 * Owns: nodes, each a key with its new value or a tombstone, and the count of their bytes. Knows
 * the order of keys (kv.h), not what they mean. One thread changes it, searches and walks it; once
 * nobody changes it any more (it is frozen), another may read what overlay_sorted gives.
 */
#ifndef DRAX_STORE_OVERLAY_H
#define DRAX_STORE_OVERLAY_H

#include "store/kv.h"

typedef struct overlay overlay_t;
typedef struct overlay_node overlay_node_t;

overlay_t *overlay_new(void); /* NULL when out of memory */
void overlay_destroy(overlay_t **self);
size_t overlay_bytes(const overlay_t *self); /* memory in use, about */
size_t overlay_count(const overlay_t *self);

/* The node of `key`, which may be a tombstone; NULL when the overlay says nothing about it. */
overlay_node_t *overlay_find(overlay_t *self, slice_t key);
/* Makes room for a value of `size` bytes under `key` and returns it, to be filled; NULL when out of
 * memory, and nothing has changed. `node` is what overlay_find says of `key`, so that a caller who
 * knows already does not search twice. The node, and slices into its value, are void afterwards;
 * `key` may point into it. */
uint8_t *overlay_put(overlay_t *self, overlay_node_t *node, slice_t key, size_t size);
/* The same with a tombstone. DRAX_ENOMEM. */
int overlay_delete(overlay_t *self, overlay_node_t *node, slice_t key);

/* What is changed after overlay_begin can be taken back: overlay_rollback restores every key as it
 * was, overlay_commit keeps all. One of the two ends it; until then no node is changed in place or
 * freed, so slices into values stay good. A frozen overlay must not be between the two. */
void overlay_begin(overlay_t *self);
/* What was changed since then, the oldest first, up to NULL: the last of a key's is its node now.
 */
const overlay_node_t *overlay_changed(const overlay_t *self, size_t at);
void overlay_commit(overlay_t *self);
void overlay_rollback(overlay_t *self);

slice_t overlay_node_key(const overlay_node_t *self);
slice_t overlay_node_value(const overlay_node_t *self);
bool overlay_node_deleted(const overlay_node_t *self);

/* In order, NULL at the end. A walk is complete among the keys that begin with the same byte as the
 * one sought (before a key: or with the byte before it), and may leave out others beyond them. The
 * first walk after changes takes O(log n) for each new key. */
overlay_node_t *overlay_seek(overlay_t *self, slice_t key);        /* first >= key */
overlay_node_t *overlay_seek_before(overlay_t *self, slice_t key); /* last < key */
overlay_node_t *overlay_next(overlay_node_t *node);
overlay_node_t *overlay_prev(overlay_node_t *node);

typedef struct overlay_sorted {
    uint64_t chunk; /* of the sorting */
    overlay_node_t *node;
} overlay_sorted_t;

/* All nodes in order, overlay_count of them, in memory for the caller to free. NULL: out of memory.
 */
overlay_sorted_t *overlay_sorted(const overlay_t *self);

#endif
