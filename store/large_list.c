/* large_list.c: names of files, lists of files, and whose they are.
 *
 * Owns: the form of names. Must not know: when a file is needed.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/kv.h"
#include "store/large_internal.h"

static const char *const suffixes[] = {"val", "tmp", "old"};

/* ---- names ---- */

void large_path(const large_t *self, uint64_t number, large_name_t kind, char *out) {
    int length =
        snprintf(out, LIMIT_PATH_BYTES, "%s/%016" PRIx64 ".%s", self->path, number, suffixes[kind]);
    assert((unsigned) length < LIMIT_PATH_BYTES);
}

int large_rename(const large_t *self, uint64_t from, large_name_t from_kind, uint64_t to,
                 large_name_t to_kind) {
    char from_path[LIMIT_PATH_BYTES], to_path[LIMIT_PATH_BYTES];
    large_path(self, from, from_kind, from_path);
    large_path(self, to, to_kind, to_path);
    return self->fs.rename(self->fs.self, from_path, to_path);
}

void large_remove(const large_t *self, uint64_t number, large_name_t kind) {
    char path[LIMIT_PATH_BYTES];
    large_path(self, number, kind, path);
    (void) self->fs.remove(self->fs.self, path);
}

bool large_name_parse(const char *name, uint64_t *number, large_name_t *kind) {
    char whole[LARGE_NAME_BYTES];
    if (sscanf(name, "%16" SCNx64, number) != 1)
        return false;
    for (unsigned i = LARGE_VALUE; i <= LARGE_OLD; i++) {
        (void) snprintf(whole, sizeof whole, "%016" PRIx64 ".%s", *number, suffixes[i]);
        *kind = (large_name_t) i;
        if (strcmp(name, whole) == 0)
            return true;
    }
    return false;
}

/* ---- lists ---- */

bool large_list_add(large_list_t *self, const large_item_t *item) {
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 16;
        large_item_t *items = realloc(self->items, capacity * sizeof *items);
        if (!items)
            return false;
        self->items = items;
        self->capacity = capacity;
    }
    self->items[self->count++] = *item;
    return true;
}

void large_list_cut(large_list_t *self, size_t at, size_t count) {
    if (!count)
        return;
    self->count -= count;
    memmove(self->items + at, self->items + at + count, (self->count - at) * sizeof *self->items);
}

/* ---- whose they are ---- */

static slice_t owner_key(const large_owner_t *self) {
    return (slice_t){self->key, self->key_size};
}

static int owner_compare(const large_owner_t *a, const large_owner_t *b) {
    return kv_key_compare(owner_key(a), owner_key(b));
}

RB_GENERATE_INTERNAL(large_owners, large_owner, link, owner_compare, static __attribute__((unused)))

large_owner_t *large_owner_find(const large_t *self, slice_t key) {
    large_owner_t *at = RB_ROOT(&self->live);
    while (at) {
        int order = kv_key_compare(key, owner_key(at));
        if (order == 0)
            return at;
        at = order < 0 ? RB_LEFT(at, link) : RB_RIGHT(at, link);
    }
    return NULL;
}

int large_owner_set(large_t *self, slice_t key, const large_item_t *file) {
    large_owner_t *owner = large_owner_find(self, key);
    if (!owner) {
        owner = calloc(1, sizeof *owner + key.size);
        if (!owner)
            return DRAX_ENOMEM;
        owner->key_size = key.size;
        if (key.size)
            memcpy(owner->key, key.data, key.size);
        RB_INSERT(large_owners, &self->live, owner);
    }
    owner->file = *file;
    return 0;
}

void large_owner_remove(large_t *self, large_owner_t *owner) {
    RB_REMOVE(large_owners, &self->live, owner);
    free(owner);
}

void large_owners_clear(large_t *self) {
    while (!RB_EMPTY(&self->live))
        large_owner_remove(self, RB_ROOT(&self->live));
}
