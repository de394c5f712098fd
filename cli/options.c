/* options.c: the options of a call. Those that were not set are not sent. */
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

drax_options_t *drax_options_new(void) {
    return calloc(1, sizeof(drax_options_t));
}

void drax_options_destroy(drax_options_t **self) {
    if (*self) {
        free((*self)->after);
        free((*self)->fence_key);
    }
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

/* Replaces bytes that are owned. */
static int bytes_set(uint8_t **to, size_t *to_size, const void *data, size_t size) {
    uint8_t *copy = NULL;
    if (size > 0) {
        copy = malloc(size);
        if (!copy)
            return DRAX_ERR_NO_MEMORY;
        memcpy(copy, data, size);
    }
    free(*to);
    *to = copy;
    *to_size = size;
    return 0;
}

int drax_options_after_set(drax_options_t *self, const void *key, size_t key_size) {
    return bytes_set(&self->after, &self->after_size, key, key_size);
}

int drax_options_fence_set(drax_options_t *self, const void *key, size_t key_size, uint64_t token) {
    int error = bytes_set(&self->fence_key, &self->fence_key_size, key, key_size);
    if (error == 0)
        self->fence_token = token;
    return error;
}

void drax_options_lease_set(drax_options_t *self, uint64_t lease) {
    self->lease = lease;
}

size_t options_count(const drax_options_t *self) {
    if (!self)
        return 0;
    const bool set[] = {self->ttl_ms != 0,      self->limit != 0, self->from != 0,
                        self->lease != 0,       self->has_wait,   self->has_value,
                        self->fence_token != 0, self->stale,      self->keys_only,
                        self->count_only,       self->reverse,    self->after != NULL};
    size_t count = 0;
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        count += set[i];
    return count;
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
    number_pack(out, "lease", self->lease);
    if (self->has_wait) {
        pack_str(out, "wait_ms");
        pack_uint(out, self->wait_ms);
    }
    if (self->has_value) {
        pack_str(out, "value");
        pack_bin(out, self->value.data, self->value.size);
    }
    if (self->fence_token != 0) {
        pack_str(out, "fence");
        pack_array(out, 2);
        pack_key(out, self->fence_key, self->fence_key_size);
        pack_uint(out, self->fence_token);
    }
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
