/* fields.c: the fields of a result that most callers want, by name. */
#include "drax.h"

static const drax_field_t *field(const drax_result_t *self, const char *name) {
    return drax_field_find(drax_result_map(self), name);
}

uint64_t drax_result_index(const drax_result_t *self) {
    return drax_field_uint(field(self, "index"));
}

uint64_t drax_result_revision(const drax_result_t *self) {
    return drax_field_uint(field(self, "revision"));
}

uint64_t drax_result_ttl_ms(const drax_result_t *self) {
    return drax_field_uint(field(self, "ttl_ms"));
}

uint64_t drax_result_lease(const drax_result_t *self) {
    return drax_field_uint(field(self, "lease"));
}

bool drax_result_succeeded(const drax_result_t *self) {
    return drax_field_bool(field(self, "succeeded"));
}

const void *drax_result_key(const drax_result_t *self, size_t *size) {
    return drax_field_bytes(field(self, "key"), size);
}

const void *drax_result_value(const drax_result_t *self, size_t *size) {
    return drax_field_bytes(field(self, "value"), size);
}

bool drax_result_exists(const drax_result_t *self) {
    return drax_field_bool(field(self, "exists"));
}

uint64_t drax_result_deleted(const drax_result_t *self) {
    return drax_field_uint(field(self, "deleted"));
}

uint64_t drax_result_count(const drax_result_t *self) {
    return drax_field_uint(field(self, "count"));
}

bool drax_result_more(const drax_result_t *self) {
    return drax_field_bool(field(self, "more"));
}

size_t drax_result_pair_count(const drax_result_t *self) {
    return drax_field_count(field(self, "pairs"));
}

static const drax_field_t *pair_field(const drax_result_t *self, size_t at, const char *name) {
    return drax_field_find(drax_field_at(field(self, "pairs"), at), name);
}

const void *drax_result_pair_key(const drax_result_t *self, size_t at, size_t *size) {
    return drax_field_bytes(pair_field(self, at, "key"), size);
}

const void *drax_result_pair_value(const drax_result_t *self, size_t at, size_t *size) {
    return drax_field_bytes(pair_field(self, at, "value"), size);
}

uint64_t drax_result_pair_index(const drax_result_t *self, size_t at) {
    return drax_field_uint(pair_field(self, at, "index"));
}
