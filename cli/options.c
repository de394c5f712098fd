/* options.c: the options of a call. Those that were not set are not sent. */
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

drax_options_t *drax_options_new(void) {
    return calloc(1, sizeof(drax_options_t));
}

void drax_options_destroy(drax_options_t **self) {
    if (*self)
        free((*self)->after);
    free(*self);
    *self = NULL;
}

void drax_options_timeout_set(drax_options_t *self, uint64_t timeout_ms) {
    self->timeout_ms = timeout_ms;
}

void drax_options_ttl_set(drax_options_t *self, uint64_t ttl_ms) {
    self->ttl_ms = ttl_ms;
}

void drax_options_stale_set(drax_options_t *self, bool stale) {
    self->stale = stale;
}

void drax_options_limit_set(drax_options_t *self, uint64_t limit) {
    self->limit = limit;
}

void drax_options_from_set(drax_options_t *self, uint64_t revision) {
    self->from = revision;
}

void drax_options_keys_only_set(drax_options_t *self, bool keys_only) {
    self->keys_only = keys_only;
}

void drax_options_count_only_set(drax_options_t *self, bool count_only) {
    self->count_only = count_only;
}

void drax_options_reverse_set(drax_options_t *self, bool reverse) {
    self->reverse = reverse;
}

int drax_options_after_set(drax_options_t *self, const void *key, size_t key_size) {
    uint8_t *after = NULL;
    if (key_size > 0) {
        after = malloc(key_size);
        if (!after)
            return DRAX_ERR_NO_MEMORY;
        memcpy(after, key, key_size);
    }
    free(self->after);
    self->after = after;
    self->after_size = key_size;
    return 0;
}

size_t options_count(const drax_options_t *self) {
    if (!self)
        return 0;
    return (size_t) (self->ttl_ms != 0) + (self->limit != 0) + (self->from != 0) + self->stale +
           self->keys_only + self->count_only + self->reverse + (self->after != NULL);
}

static void number_pack(buffer_t *out, const char *name, uint64_t number) {
    if (number == 0)
        return;
    pack_str(out, name);
    pack_uint(out, number);
}

static void flag_pack(buffer_t *out, const char *name, bool flag) {
    if (!flag)
        return;
    pack_str(out, name);
    pack_bool(out, true);
}

void options_pack(buffer_t *out, const drax_options_t *self) {
    if (!self)
        return;
    number_pack(out, "ttl_ms", self->ttl_ms);
    number_pack(out, "limit", self->limit);
    number_pack(out, "from", self->from);
    flag_pack(out, "stale", self->stale);
    flag_pack(out, "keys_only", self->keys_only);
    flag_pack(out, "count_only", self->count_only);
    flag_pack(out, "reverse", self->reverse);
    if (self->after) {
        pack_str(out, "after");
        pack_key(out, self->after, self->after_size);
    }
}

uint64_t options_timeout_ms(const drax_options_t *self, uint64_t otherwise_ms) {
    return self && self->timeout_ms != 0 ? self->timeout_ms : otherwise_ms;
}
