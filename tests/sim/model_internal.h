/* model_internal.h: what model.c (writes) and model_read.c (reads) share. */
#ifndef DRAX_TESTS_SIM_MODEL_INTERNAL_H
#define DRAX_TESTS_SIM_MODEL_INTERNAL_H

#include "tests/sim/model.h"

typedef struct version {
    uint64_t revision; /* of the change that made it: the key's index */
    bool exists;
    uint64_t created, writes; /* revision that made the key; writes since then */
    uint64_t due_ms, ttl_ms;  /* 0: for ever */
    slice_t value;
    uint64_t value_hash;
    payload_t *owner;
} version_t;

typedef struct model_key {
    slice_t name; /* owned */
    uint64_t hash;
    version_t *versions;
    size_t count, capacity;
} model_key_t;

struct model {
    model_key_t **keys; /* all that ever were, sorted by bytes */
    size_t key_count, key_capacity;
    size_t existing;
    uint64_t revision;
    uint64_t hash;
    change_t *changes; /* of all revisions, in order */
    model_key_t **changed;
    size_t change_count, change_capacity, changed_capacity;
    size_t *starts; /* starts[r]: the first change of revision r */
    size_t start_capacity;
};

int model_compare(slice_t a, slice_t b);
/* Place of the first key >= `name`. */
size_t model_seek(const model_t *self, slice_t name);
/* The key as it was at `revision`; NULL: it did not exist. */
const version_t *model_at(const model_key_t *key, uint64_t revision);
/* The keys of a directory: those from *low to below *high. */
void model_directory(const model_t *self, slice_t directory, size_t *low, size_t *high);

#endif
