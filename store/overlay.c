/* overlay.c: nodes that hold key and value in one piece of memory, found through a hash table, and
 * a red-black tree of those whose order somebody asked for.
 *
 * Most of what is written is only searched for by its key until it is flushed. For that no tree is
 * needed: sorting all at once, at the end, takes a tenth of the time. Walks need the order of a
 * part. So nodes wait, by the first byte of their key, until a walk comes to keys that begin with
 * it: it first puts into the tree what has come since the last one.
 *
 * Invariants
 *  1. node->value_size <= node->capacity; a tombstone has no value.
 *  2. `bytes` is the sum over all nodes in the table of what was allocated for them.
 *  3. Between begin and its end, each change adds a new node and sets the one it replaces aside, if
 * any: going back over the changes undoes them without a copy.
 *  4. The nodes in the table are those in the tree and those that wait; there are never more of
 * them than buckets.
 *  5. What overlay_sorted reads is changed by overlay_put, overlay_delete and rollback alone.
 */
#include "store/overlay.h"

#include <assert.h>
#include <bsd/sys/tree.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "store/arena.h"
#include "store/hash.h"
#include "store/overlay_sort.h"

#define BUCKETS_LEAST 64u
/* Keys may be chosen so that their hashes are alike: beyond so many the tree is asked. */
#define CHAIN_SEARCHED 8u
#define GROWING_BYTES 1024u /* larger values get no more room than they need */
#define CHANGES_KEPT 4096u  /* room for more is not kept for the next time */
#define KINDS 256u          /* first bytes of keys */
#define SORTED_LEAST 64u    /* fewer nodes go into the tree as they come */

struct overlay_node {
    union {
        RB_ENTRY(overlay_node) link; /* in the tree */
        struct {
            overlay_node_t *next;
            overlay_node_t **at; /* what points here */
        } waiting;
    };
    overlay_node_t *next; /* in its bucket */
    overlay_node_t **at;  /* what points here: a bucket, or the `next` of another */
    uint32_t hash;
    uint32_t value_size, capacity;
    uint16_t key_size;
    bool deleted;
    bool ordered;    /* it is in the tree */
    uint8_t bytes[]; /* key, then room for `capacity` bytes of value */
};

RB_HEAD(node_tree, overlay_node);

typedef struct change {
    overlay_node_t *was; /* set aside; NULL: there was none */
    overlay_node_t *is;
} change_t;

struct overlay {
    struct node_tree tree;
    overlay_node_t *waiting[KINDS]; /* for the tree */
    overlay_node_t **buckets;
    size_t bucket_count; /* a power of two */
    arena_t arena;       /* all nodes, those set aside included */
    size_t count, bytes;
    bool recording; /* between begin and its end */
    change_t *changes;
    size_t change_count, change_capacity;
};

static int node_compare(const overlay_node_t *a, const overlay_node_t *b) {
    return kv_key_compare(overlay_node_key(a), overlay_node_key(b));
}

RB_GENERATE_INTERNAL(node_tree, overlay_node, link, node_compare, static __attribute__((unused)))

/* ---- the table ---- */

static uint32_t key_hash(slice_t key) {
    return (uint32_t) XXH3_64bits(key.data, key.size);
}

static overlay_node_t **bucket_of(const overlay_t *self, uint32_t hash) {
    return &self->buckets[hash & (self->bucket_count - 1)];
}

static void bucket_add(const overlay_t *self, overlay_node_t *node) {
    node->at = bucket_of(self, node->hash);
    node->next = *node->at;
    if (node->next)
        node->next->at = &node->next;
    *node->at = node;
}

static void bucket_remove(const overlay_node_t *node) {
    *node->at = node->next;
    if (node->next)
        node->next->at = node->at;
}

/* Room for one more node. */
static bool buckets_grow(overlay_t *self) {
    if (self->count < self->bucket_count)
        return true;
    size_t was = self->bucket_count, count = was ? was * 2 : BUCKETS_LEAST;
    overlay_node_t **old = self->buckets, **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return false;
    self->buckets = buckets;
    self->bucket_count = count;
    for (size_t i = 0; i < was; i++)
        for (overlay_node_t *node = old[i], *next; node; node = next) {
            next = node->next;
            bucket_add(self, node);
        }
    free(old);
    return true;
}

/* ---- the order ---- */

static unsigned kind_of(slice_t key) {
    return key.size ? key.data[0] : 0;
}

static void order_add(overlay_t *self, overlay_node_t *node) {
    overlay_node_t **first = &self->waiting[kind_of(overlay_node_key(node))];
    node->ordered = false;
    node->waiting.next = *first;
    node->waiting.at = first;
    if (*first)
        (*first)->waiting.at = &node->waiting.next;
    *first = node;
}

static void order_remove(overlay_t *self, overlay_node_t *node) {
    if (node->ordered) {
        RB_REMOVE(node_tree, &self->tree, node);
        return;
    }
    *node->waiting.at = node->waiting.next;
    if (node->waiting.next)
        node->waiting.next->waiting.at = node->waiting.at;
}

static void tree_add(overlay_t *self, overlay_node_t *node) {
    node->ordered = true;
    RB_INSERT(node_tree, &self->tree, node);
}

/* All nodes of a kind into the tree. Many are sorted before: each then goes where the last one
 * went, through nodes that the processor still has at hand. */
static void kind_order(overlay_t *self, unsigned kind) {
    overlay_node_t *node = self->waiting[kind];
    size_t count = 0;
    for (overlay_node_t *at = node; at; at = at->waiting.next)
        count++;
    overlay_sorted_t *nodes = count < SORTED_LEAST ? NULL : malloc(count * sizeof *nodes);
    self->waiting[kind] = NULL;
    for (size_t i = 0; node; i++) {
        overlay_node_t *next = node->waiting.next;
        if (nodes)
            nodes[i].node = node;
        else
            tree_add(self, node);
        node = next;
    }
    if (!nodes)
        return;
    overlay_sort(nodes, count);
    for (size_t i = 0; i < count; i++)
        tree_add(self, nodes[i].node);
    free(nodes);
}

/* Down the tree by hand: RB_FIND would need a node to compare with. */
static overlay_node_t *tree_find(overlay_t *self, slice_t key) {
    kind_order(self, kind_of(key));
    overlay_node_t *node = RB_ROOT(&self->tree);
    while (node) {
        int order = kv_key_compare(key, overlay_node_key(node));
        if (order == 0)
            return node;
        node = order < 0 ? RB_LEFT(node, link) : RB_RIGHT(node, link);
    }
    return NULL;
}

overlay_sorted_t *overlay_sorted(const overlay_t *self) {
    overlay_sorted_t *nodes = malloc((self->count + 1) * sizeof *nodes);
    size_t count = 0;
    for (size_t i = 0; nodes && i < self->bucket_count; i++)
        for (overlay_node_t *node = self->buckets[i]; node; node = node->next)
            nodes[count++].node = node;
    if (nodes)
        overlay_sort(nodes, count);
    return nodes;
}

overlay_node_t *overlay_find(overlay_t *self, slice_t key) {
    if (!self->count)
        return NULL;
    uint32_t hash = key_hash(key);
    size_t searched = 0;
    for (overlay_node_t *node = *bucket_of(self, hash); node; node = node->next) {
        if (node->hash == hash && node->key_size == key.size &&
            memcmp(node->bytes, key.data, key.size) == 0)
            return node;
        if (++searched == CHAIN_SEARCHED)
            return tree_find(self, key);
    }
    return NULL;
}

/* ---- nodes ---- */

static size_t node_bytes(const overlay_node_t *self) {
    return sizeof *self + self->key_size + self->capacity;
}

static overlay_node_t *node_new(overlay_t *self, slice_t key, size_t capacity) {
    overlay_node_t *node = arena_take(&self->arena, sizeof *node + key.size + capacity);
    if (!node)
        return NULL;
    node->key_size = (uint16_t) key.size;
    node->capacity = (uint32_t) capacity;
    node->hash = key_hash(key);
    memcpy(node->bytes, key.data, key.size);
    return node;
}

static void node_free(overlay_t *self, overlay_node_t *node) {
    arena_give(&self->arena, node, node_bytes(node));
}

static void node_add(overlay_t *self, overlay_node_t *node) {
    order_add(self, node);
    bucket_add(self, node);
    self->bytes += node_bytes(node);
    self->count++;
}

static void node_remove(overlay_t *self, overlay_node_t *node) {
    order_remove(self, node);
    bucket_remove(node);
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

/* A value that has outgrown its room will do so again: so it is copied seldom. */
static size_t capacity_for(const overlay_node_t *node, size_t size) {
    size_t twice = node && size < GROWING_BYTES ? 2 * (size_t) node->capacity : 0;
    return node && node->capacity < size && twice > size ? twice : size;
}

/* The node of `key` with room for `size` bytes of value; `node` is the one it has now, if any. */
static overlay_node_t *node_place(overlay_t *self, overlay_node_t *node, slice_t key, size_t size) {
    if (key.size > UINT16_MAX || size > UINT32_MAX)
        return NULL;
    if (!node || node->capacity < size || self->recording) {
        if (!buckets_grow(self) || (self->recording && !changes_grow(self)))
            return NULL;
        overlay_node_t *fresh = node_new(self, key, capacity_for(node, size));
        if (!fresh)
            return NULL;
        if (node)
            node_remove(self, node);
        node_add(self, fresh);
        if (self->recording)
            self->changes[self->change_count++] = (change_t){node, fresh};
        else if (node)
            node_free(self, node);
        node = fresh;
    }
    node->value_size = (uint32_t) size;
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

const overlay_node_t *overlay_changed(const overlay_t *self, size_t at) {
    return at < self->change_count ? self->changes[at].is : NULL;
}

void overlay_commit(overlay_t *self) {
    for (size_t i = 0; i < self->change_count; i++)
        if (self->changes[i].was)
            node_free(self, self->changes[i].was);
    recording_end(self);
}

void overlay_rollback(overlay_t *self) {
    for (size_t i = self->change_count; i > 0; i--) {
        const change_t *change = &self->changes[i - 1];
        node_remove(self, change->is);
        node_free(self, change->is);
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
    free(overlay->changes);
    free(overlay->buckets);
    arena_free(&overlay->arena);
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

overlay_node_t *overlay_seek(overlay_t *self, slice_t key) {
    kind_order(self, kind_of(key));
    overlay_node_t *node = RB_ROOT(&self->tree), *found = NULL;
    while (node) {
        bool at_or_after = kv_key_compare(overlay_node_key(node), key) >= 0;
        if (at_or_after)
            found = node;
        node = at_or_after ? RB_LEFT(node, link) : RB_RIGHT(node, link);
    }
    return found;
}

overlay_node_t *overlay_seek_before(overlay_t *self, slice_t key) {
    unsigned kind = kind_of(key);
    kind_order(self, kind);
    if (kind > 0)
        kind_order(self, kind - 1); /* `key` may be the end of all that begin with that byte */
    overlay_node_t *node = RB_ROOT(&self->tree), *found = NULL;
    while (node) {
        bool before = kv_key_compare(overlay_node_key(node), key) < 0;
        if (before)
            found = node;
        node = before ? RB_RIGHT(node, link) : RB_LEFT(node, link);
    }
    return found;
}

overlay_node_t *overlay_next(overlay_node_t *node) {
    return node_tree_RB_NEXT(node);
}

overlay_node_t *overlay_prev(overlay_node_t *node) {
    return node_tree_RB_PREV(node);
}
