/* overlay.c: a red-black tree whose nodes hold key and value in one piece of memory.
 *
 * Invariants
 *  1. node->value_size <= node->capacity; a tombstone has no value.
 *  2. `bytes` is the sum over all nodes in the tree of what was allocated for them.
 *  3. Between begin and its end, each change puts a new node in the tree and sets the one it
 * replaces aside, if any: going back over the changes undoes them without a copy.
 */
#include "store/overlay.h"

#include <assert.h>
#include <bsd/sys/tree.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"

#define CHANGES_KEPT 4096u /* room for more is not kept for the next time */

struct overlay_node {
    RB_ENTRY(overlay_node) link;
    size_t key_size, value_size, capacity;
    bool deleted;
    uint8_t bytes[]; /* key, then room for `capacity` bytes of value */
};

RB_HEAD(node_tree, overlay_node);

typedef struct change {
    overlay_node_t *was; /* set aside; NULL: there was none */
    overlay_node_t *is;
} change_t;

struct overlay {
    struct node_tree tree;
    size_t count, bytes;
    bool recording; /* between begin and its end */
    change_t *changes;
    size_t change_count, change_capacity;
};

static int node_compare(const overlay_node_t *a, const overlay_node_t *b) {
    return kv_key_compare(overlay_node_key(a), overlay_node_key(b));
}

RB_GENERATE_INTERNAL(node_tree, overlay_node, link, node_compare, static __attribute__((unused)))

/* Searches go down the tree by hand: RB_FIND would need a node to compare with. */
overlay_node_t *overlay_find(const overlay_t *self, slice_t key) {
    overlay_node_t *node = RB_ROOT(&self->tree);
    while (node) {
        int order = kv_key_compare(key, overlay_node_key(node));
        if (order == 0)
            return node;
        node = order < 0 ? RB_LEFT(node, link) : RB_RIGHT(node, link);
    }
    return NULL;
}

static size_t node_bytes(const overlay_node_t *self) {
    return sizeof *self + self->key_size + self->capacity;
}

static overlay_node_t *node_new(slice_t key, size_t capacity) {
    overlay_node_t *node = malloc(sizeof *node + key.size + capacity);
    if (!node)
        return NULL;
    node->key_size = key.size;
    node->capacity = capacity;
    memcpy(node->bytes, key.data, key.size);
    return node;
}

static void node_add(overlay_t *self, overlay_node_t *node) {
    RB_INSERT(node_tree, &self->tree, node);
    self->bytes += node_bytes(node);
    self->count++;
}

static void node_remove(overlay_t *self, overlay_node_t *node) {
    RB_REMOVE(node_tree, &self->tree, node);
    self->bytes -= node_bytes(node);
    self->count--;
}

/* Room for one more change; without it nothing may be changed. */
static bool changes_grow(overlay_t *self) {
    if (self->change_count < self->change_capacity)
        return true;
    size_t capacity = self->change_capacity ? self->change_capacity * 2 : 64;
    change_t *changes = realloc(self->changes, capacity * sizeof *changes);
    if (!changes)
        return false;
    self->changes = changes;
    self->change_capacity = capacity;
    return true;
}

/* The node of `key` with room for `size` bytes of value; `node` is the one it has now, if any. */
static overlay_node_t *node_place(overlay_t *self, overlay_node_t *node, slice_t key, size_t size) {
    if (!node || node->capacity < size || self->recording) {
        if (self->recording && !changes_grow(self))
            return NULL;
        overlay_node_t *fresh = node_new(key, size);
        if (!fresh)
            return NULL;
        if (node)
            node_remove(self, node);
        node_add(self, fresh);
        if (self->recording)
            self->changes[self->change_count++] = (change_t){node, fresh};
        else
            free(node);
        node = fresh;
    }
    node->value_size = size;
    return node;
}

uint8_t *overlay_put(overlay_t *self, overlay_node_t *node, slice_t key, size_t size) {
    node = node_place(self, node, key, size);
    if (!node)
        return NULL;
    node->deleted = false;
    return node->bytes + node->key_size;
}

int overlay_delete(overlay_t *self, overlay_node_t *node, slice_t key) {
    node = node_place(self, node, key, 0);
    if (!node)
        return DRAX_ENOMEM;
    node->deleted = true;
    return 0;
}

/* ---- taking back ---- */

void overlay_begin(overlay_t *self) {
    assert(!self->recording);
    self->recording = true;
}

static void recording_end(overlay_t *self) {
    self->recording = false;
    self->change_count = 0;
    if (self->change_capacity <= CHANGES_KEPT)
        return;
    free(self->changes);
    self->changes = NULL;
    self->change_capacity = 0;
}

void overlay_commit(overlay_t *self) {
    for (size_t i = 0; i < self->change_count; i++)
        free(self->changes[i].was);
    recording_end(self);
}

void overlay_rollback(overlay_t *self) {
    for (size_t i = self->change_count; i > 0; i--) {
        const change_t *change = &self->changes[i - 1];
        node_remove(self, change->is);
        free(change->is);
        if (change->was)
            node_add(self, change->was);
    }
    recording_end(self);
}

overlay_t *overlay_new(void) {
    overlay_t *self = calloc(1, sizeof *self);
    if (self)
        RB_INIT(&self->tree);
    return self;
}

void overlay_destroy(overlay_t **self) {
    overlay_t *overlay = *self;
    *self = NULL;
    if (!overlay)
        return;
    overlay_commit(overlay);
    free(overlay->changes);
    overlay_node_t *node, *next;
    RB_FOREACH_SAFE(node, node_tree, &overlay->tree, next) {
        RB_REMOVE(node_tree, &overlay->tree, node);
        free(node);
    }
    free(overlay);
}

size_t overlay_bytes(const overlay_t *self) {
    return self->bytes;
}

size_t overlay_count(const overlay_t *self) {
    return self->count;
}

slice_t overlay_node_key(const overlay_node_t *self) {
    return (slice_t){self->bytes, self->key_size};
}

slice_t overlay_node_value(const overlay_node_t *self) {
    return (slice_t){self->bytes + self->key_size, self->value_size};
}

bool overlay_node_deleted(const overlay_node_t *self) {
    return self->deleted;
}

overlay_node_t *overlay_seek(const overlay_t *self, slice_t key) {
    overlay_node_t *node = RB_ROOT(&self->tree), *found = NULL;
    while (node) {
        bool at_or_after = kv_key_compare(overlay_node_key(node), key) >= 0;
        if (at_or_after)
            found = node;
        node = at_or_after ? RB_LEFT(node, link) : RB_RIGHT(node, link);
    }
    return found;
}

overlay_node_t *overlay_seek_before(const overlay_t *self, slice_t key) {
    overlay_node_t *node = RB_ROOT(&self->tree), *found = NULL;
    while (node) {
        bool before = kv_key_compare(overlay_node_key(node), key) < 0;
        if (before)
            found = node;
        node = before ? RB_RIGHT(node, link) : RB_LEFT(node, link);
    }
    return found;
}

overlay_node_t *overlay_first(const overlay_t *self) {
    overlay_node_t *node = RB_ROOT(&self->tree);
    while (node && RB_LEFT(node, link))
        node = RB_LEFT(node, link);
    return node;
}

overlay_node_t *overlay_next(overlay_node_t *node) {
    return node_tree_RB_NEXT(node);
}

overlay_node_t *overlay_prev(overlay_node_t *node) {
    return node_tree_RB_PREV(node);
}
