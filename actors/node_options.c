#include "actors/node_options.h"

#include <stdlib.h>
#include <string.h>

drax_node_options_t *drax_node_options_new(void) {
    return calloc(1, sizeof(drax_node_options_t));
}

static void pair_free(const settings_pair_t *pair) {
    free((char *) (uintptr_t) pair->name);
    free((char *) (uintptr_t) pair->value);
}

void drax_node_options_destroy(drax_node_options_t **self_p) {
    drax_node_options_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++)
        pair_free(&self->pairs[i]);
    free(self->pairs);
    free(self);
}

int drax_node_options_set(drax_node_options_t *self, const char *name, const char *value) {
    settings_pair_t *pairs = realloc(self->pairs, (self->count + 1) * sizeof *pairs);
    if (!pairs)
        return DRAX_ERR_NO_MEMORY;
    self->pairs = pairs;
    settings_pair_t pair = {strdup(name), strdup(value)};
    if (!pair.name || !pair.value) {
        pair_free(&pair);
        return DRAX_ERR_NO_MEMORY;
    }
    self->pairs[self->count++] = pair;
    return 0;
}

void drax_node_options_unbound_set(drax_node_options_t *self, bool unbound) {
    self->unbound = unbound;
}

void drax_node_options_log_set(drax_node_options_t *self, drax_node_log_fn *log, void *hint) {
    self->log = log;
    self->log_hint = hint;
}

void drax_node_options_ended_set(drax_node_options_t *self, drax_node_ended_fn *ended, void *hint) {
    self->ended = ended;
    self->ended_hint = hint;
}
