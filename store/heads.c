/* heads.c: see heads.h.
 *
 * Invariant: a key stands in the place of its hash or nowhere; a place with key_size 0 is free.
 */
#include "store/heads.h"

#include <stdlib.h>
#include <xxhash.h>

#define HEADS_LEAST 256u

struct head {
    uint64_t index, created, version, hash;
    uint8_t key_size;
    uint8_t key[HEADS_KEY_BYTES];
};

static head_t *place_of(const heads_t *self, slice_t key) {
    return &self->places[XXH3_64bits(key.data, key.size) & (self->count - 1)];
}

static bool holds(const head_t *place, slice_t key) {
    return place->key_size == key.size && memcmp(place->key, key.data, key.size) == 0;
}

bool heads_find(const heads_t *self, slice_t key, record_t *out) {
    if (!self->count || key.size > HEADS_KEY_BYTES)
        return false;
    const head_t *place = place_of(self, key);
    if (!holds(place, key))
        return false;
    *out = (record_t){.index = place->index,
                      .created = place->created,
                      .version = place->version,
                      .hash = place->hash};
    return true;
}

/* Twice as many places; without memory for them it goes on with those it has. */
static void places_grow(heads_t *self) {
    size_t count = self->count ? self->count * 2 : HEADS_LEAST;
    heads_t grown = {.places = calloc(count, sizeof *grown.places), .count = count};
    if (!grown.places)
        return;
    for (size_t i = 0; i < self->count; i++) {
        const head_t *was = &self->places[i];
        if (!was->key_size)
            continue;
        *place_of(&grown, (slice_t){was->key, was->key_size}) = *was;
        grown.taken++; /* those of two places never meet in one */
    }
    free(self->places);
    *self = grown;
}

void heads_put(heads_t *self, slice_t key, const record_t *record) {
    if (record->due_ms || record->lease) {
        heads_remove(self, key);
        return;
    }
    if (key.size == 0 || key.size > HEADS_KEY_BYTES)
        return;
    if (self->taken >= self->count / 2 && self->count < HEADS_MOST)
        places_grow(self);
    if (!self->count)
        return;
    head_t *place = place_of(self, key);
    self->taken += !place->key_size;
    *place = (head_t){.index = record->index,
                      .created = record->created,
                      .version = record->version,
                      .hash = record->hash,
                      .key_size = (uint8_t) key.size};
    memcpy(place->key, key.data, key.size);
}

void heads_remove(heads_t *self, slice_t key) {
    if (!self->count || key.size == 0 || key.size > HEADS_KEY_BYTES)
        return;
    head_t *place = place_of(self, key);
    if (!holds(place, key))
        return;
    place->key_size = 0;
    self->taken--;
}

void heads_free(heads_t *self) {
    free(self->places);
    *self = (heads_t){.places = NULL};
}
