/* watches.c: tables of watches: by id and by due time (trees), by key (a hash of groups).
 *
 * The hash is one pass over a key: at each slash the hash of what came so far is that of a
 * directory. So a key of many slashes costs its length, not its square.
 */
#include "actors/watches.h"

#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"

#define SLOTS_FIRST 64u
#define HASH_PRIME 0x100000001b3u

RB_HEAD(id_tree, watch);
RB_HEAD(due_tree, watch);

struct watches {
    struct id_tree by_id;
    struct due_tree by_due;
    watch_group_t **slots; /* a power of two */
    size_t slot_count, group_count;
    uint64_t hash_seed, last_id;
    size_t count, live, bytes;
};

static int id_compare(const watch_t *a, const watch_t *b) {
    return (a->id > b->id) - (a->id < b->id);
}

static int due_compare(const watch_t *a, const watch_t *b) {
    int order = (a->due_ms > b->due_ms) - (a->due_ms < b->due_ms);
    return order ? order : id_compare(a, b);
}

RB_GENERATE_INTERNAL(id_tree, watch, by_id, id_compare, static __attribute__((unused)))
RB_GENERATE_INTERNAL(due_tree, watch, by_due, due_compare, static __attribute__((unused)))

/* ---- groups ---- */

/* FNV-1a from a seed that clients do not know. */
static uint64_t hash_add(uint64_t hash, uint8_t byte) {
    return (hash ^ byte) * HASH_PRIME;
}

/* Mixes the bits at the end: slots are chosen by the low ones. */
static uint64_t hash_end(uint64_t hash, bool tree) {
    hash = hash_add(hash, tree);
    return hash ^ hash >> 32;
}

static watch_group_t *group_find(const watches_t *self, uint64_t hash, bool tree, slice_t key) {
    watch_group_t *group = self->slots[hash & (self->slot_count - 1)];
    while (group && (group->hash != hash || group->tree != tree || group->key_size != key.size ||
                     (key.size && memcmp(group->key, key.data, key.size) != 0)))
        group = group->chain;
    return group;
}

static bool slots_grow(watches_t *self) {
    size_t count = self->slot_count * 2;
    watch_group_t **slots = calloc(count, sizeof(watch_group_t *));
    if (!slots)
        return false;
    for (size_t i = 0; i < self->slot_count; i++) {
        watch_group_t *next;
        for (watch_group_t *group = self->slots[i]; group; group = next) {
            next = group->chain;
            group->chain = slots[group->hash & (count - 1)];
            slots[group->hash & (count - 1)] = group;
        }
    }
    free(self->slots);
    self->slots = slots;
    self->slot_count = count;
    return true;
}

static watch_group_t *group_make(watches_t *self, bool tree, slice_t key) {
    uint64_t hash = self->hash_seed;
    for (size_t i = 0; i < key.size; i++)
        hash = hash_add(hash, key.data[i]);
    hash = hash_end(hash, tree);
    watch_group_t *group = group_find(self, hash, tree, key);
    if (group)
        return group;
    if (self->group_count == self->slot_count && !slots_grow(self))
        return NULL;
    group = calloc(1, sizeof *group + key.size);
    if (!group)
        return NULL;
    group->hash = hash;
    group->tree = tree;
    group->key_size = key.size;
    if (key.size)
        memcpy(group->key, key.data, key.size);
    TAILQ_INIT(&group->watches);
    group->chain = self->slots[hash & (self->slot_count - 1)];
    self->slots[hash & (self->slot_count - 1)] = group;
    self->group_count++;
    return group;
}

/* A group goes with its last watch, unless it still has to give out events. */
static void group_settle(watches_t *self, watch_group_t *group) {
    if (!TAILQ_EMPTY(&group->watches) || group->is_touched)
        return;
    watch_group_t **at = &self->slots[group->hash & (self->slot_count - 1)];
    while (*at != group)
        at = &(*at)->chain;
    *at = group->chain;
    self->group_count--;
    buffer_free(&group->events);
    free(group);
}

void watches_match(watches_t *self, slice_t key, void (*visit)(void *hint, watch_group_t *group),
                   void *hint) {
    uint64_t hash = self->hash_seed;
    watch_group_t *group = group_find(self, hash_end(hash, true), true, (slice_t){key.data, 0});
    if (group)
        visit(hint, group);
    for (size_t i = 0; i < key.size; i++) {
        hash = hash_add(hash, key.data[i]);
        if (key.data[i] != '/')
            continue;
        group = group_find(self, hash_end(hash, true), true, (slice_t){key.data, i + 1});
        if (group)
            visit(hint, group);
    }
    group = group_find(self, hash_end(hash, false), false, key);
    if (group)
        visit(hint, group);
}

/* ---- watches ---- */

watch_t *watches_open(watches_t *self, const watch_spec_t *spec, account_t *account,
                      envelope_t **envelope) {
    size_t bytes = sizeof(watch_t) + sizeof(watch_group_t) + spec->key.size + (*envelope)->size;
    if (account->watch_count >= LIMIT_CLIENT_WATCHES || self->count >= LIMIT_GATEWAY_WATCHES ||
        self->bytes + bytes > LIMIT_GATEWAY_WATCH_BYTES)
        return NULL;
    watch_t *watch = calloc(1, sizeof *watch);
    watch_group_t *group = watch ? group_make(self, spec->tree, spec->key) : NULL;
    if (!group) {
        free(watch);
        return NULL;
    }
    watch->id = ++self->last_id;
    watch->poll = spec->poll;
    watch->msgid = spec->msgid;
    watch->next = spec->next;
    watch->view = spec->view;
    watch->credit = spec->credit;
    watch->due_ms = spec->due_ms;
    watch->envelope = *envelope;
    *envelope = NULL;
    watch->account = account;
    watch->group = group;
    watch->bytes = bytes;
    RB_INSERT(id_tree, &self->by_id, watch);
    RB_INSERT(due_tree, &self->by_due, watch);
    TAILQ_INSERT_TAIL(&group->watches, watch, in_group);
    LIST_INSERT_HEAD(&account->watches, watch, in_account);
    account->watch_count++;
    self->count++;
    self->bytes += bytes;
    return watch;
}

void watches_close(watches_t *self, watch_t *watch) {
    watches_state_set(self, watch, WATCH_BEHIND);
    RB_REMOVE(id_tree, &self->by_id, watch);
    RB_REMOVE(due_tree, &self->by_due, watch);
    TAILQ_REMOVE(&watch->group->watches, watch, in_group);
    LIST_REMOVE(watch, in_account);
    watch->account->watch_count--;
    self->count--;
    self->bytes -= watch->bytes;
    group_settle(self, watch->group);
    free(watch->envelope);
    free(watch);
}

watch_t *watches_find(watches_t *self, uint64_t id) {
    watch_t wanted = {.id = id};
    return RB_FIND(id_tree, &self->by_id, &wanted);
}

size_t watches_count(const watches_t *self) {
    return self->count;
}

size_t watches_count_behind(const watches_t *self) {
    return self->count - self->live;
}

watch_t *watches_first(watches_t *self) {
    return RB_MIN(id_tree, &self->by_id);
}

watch_t *watches_next(watches_t *self, watch_t *watch) {
    (void) self;
    return RB_NEXT(id_tree, &self->by_id, watch);
}

void watches_state_set(watches_t *self, watch_t *watch, watch_state_t state) {
    if (watch->state == state)
        return;
    watch->state = state;
    if (state == WATCH_LIVE) {
        watch->group->live++;
        self->live++;
    } else {
        watch->group->live--;
        self->live--;
    }
}

void watches_due_set(watches_t *self, watch_t *watch, uint64_t due_ms) {
    RB_REMOVE(due_tree, &self->by_due, watch);
    watch->due_ms = due_ms;
    RB_INSERT(due_tree, &self->by_due, watch);
}

watch_t *watches_first_due(watches_t *self) {
    return RB_MIN(due_tree, &self->by_due);
}

void watches_events_given(watches_t *self, watch_group_t *group) {
    buffer_free(&group->events);
    group->event_count = 0;
    group->is_touched = false;
    group_settle(self, group);
}

/* ---- life ---- */

int watches_new(watches_t **out, uint64_t seed) {
    *out = NULL;
    watches_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->slots = calloc(SLOTS_FIRST, sizeof(watch_group_t *));
    if (!self->slots) {
        free(self);
        return DRAX_ENOMEM;
    }
    self->slot_count = SLOTS_FIRST;
    self->last_id = seed & (LIMIT_INTEGER >> 1); /* ids stay below LIMIT_INTEGER */
    self->hash_seed = (seed ^ 0xcbf29ce484222325u) * HASH_PRIME;
    RB_INIT(&self->by_id);
    RB_INIT(&self->by_due);
    *out = self;
    return 0;
}

void watches_destroy(watches_t **self_p) {
    watches_t *self = *self_p;
    if (!self)
        return;
    for (watch_t *watch; (watch = RB_MIN(id_tree, &self->by_id)) != NULL;)
        watches_close(self, watch);
    free(self->slots);
    free(self);
    *self_p = NULL;
}
