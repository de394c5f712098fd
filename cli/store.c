/* store.c: the calls of drax.h, each as what it asks. */
#include <string.h>

#include "cli/client.h"

static param_t key_param(const void *key, size_t size) {
    return (param_t){PARAM_KEY, {key, size}, 0};
}

static param_t value_param(const void *value, size_t size) {
    return (param_t){PARAM_VALUE, {value, size}, 0};
}

static param_t number_param(uint64_t number) {
    return (param_t){PARAM_NUMBER, {NULL, 0}, number};
}

static param_t text_param(const char *text) {
    return (param_t){PARAM_TEXT, {(const uint8_t *) text, strlen(text)}, 0};
}

static int call0(drax_t *self, const char *method, call_kind_t kind, const drax_options_t *options,
                 drax_result_t **out) {
    const call_spec_t spec = {.method = method, .kind = kind, .options = options};
    return client_call(self, &spec, out);
}

static int call1(drax_t *self, const char *method, call_kind_t kind, param_t first,
                 const drax_options_t *options, drax_result_t **out) {
    const call_spec_t spec = {
        .method = method, .kind = kind, .options = options, .param_count = 1, .params = {first}};
    return client_call(self, &spec, out);
}

static int call2(drax_t *self, const char *method, call_kind_t kind, param_t first, param_t second,
                 const drax_options_t *options, drax_result_t **out) {
    const call_spec_t spec = {.method = method,
                              .kind = kind,
                              .options = options,
                              .param_count = 2,
                              .params = {first, second}};
    return client_call(self, &spec, out);
}

int drax_get(drax_t *self, const void *key, size_t key_size, const drax_options_t *options,
             drax_result_t **out) {
    return call1(self, "get", CALL_READ, key_param(key, key_size), options, out);
}

int drax_put(drax_t *self, const void *key, size_t key_size, const void *value, size_t value_size,
             const drax_options_t *options, drax_result_t **out) {
    return call2(self, "put", CALL_WRITE, key_param(key, key_size), value_param(value, value_size),
                 options, out);
}

int drax_delete(drax_t *self, const void *key, size_t key_size, const drax_options_t *options,
                drax_result_t **out) {
    return call1(self, "delete", CALL_WRITE, key_param(key, key_size), options, out);
}

int drax_exists(drax_t *self, const void *key, size_t key_size, const drax_options_t *options,
                drax_result_t **out) {
    return call1(self, "exists", CALL_READ, key_param(key, key_size), options, out);
}

int drax_list(drax_t *self, const void *directory, size_t directory_size,
              const drax_options_t *options, drax_result_t **out) {
    return call1(self, "list", CALL_READ, key_param(directory, directory_size), options, out);
}

int drax_range(drax_t *self, const void *start, size_t start_size, const void *end, size_t end_size,
               const drax_options_t *options, drax_result_t **out) {
    return call2(self, "range", CALL_READ, key_param(start, start_size), key_param(end, end_size),
                 options, out);
}

int drax_delete_tree(drax_t *self, const void *directory, size_t directory_size,
                     const drax_options_t *options, drax_result_t **out) {
    return call1(self, "delete_tree", CALL_WRITE, key_param(directory, directory_size), options,
                 out);
}

int drax_atomic_put(drax_t *self, const void *key, size_t key_size, const void *value,
                    size_t value_size, uint64_t previous, const drax_options_t *options,
                    drax_result_t **out) {
    const call_spec_t spec = {.method = "atomic_put",
                              .kind = CALL_WRITE,
                              .options = options,
                              .param_count = 3,
                              .params = {key_param(key, key_size), value_param(value, value_size),
                                         number_param(previous)}};
    return client_call(self, &spec, out);
}

int drax_atomic_delete(drax_t *self, const void *key, size_t key_size, uint64_t previous,
                       const drax_options_t *options, drax_result_t **out) {
    return call2(self, "atomic_delete", CALL_WRITE, key_param(key, key_size),
                 number_param(previous), options, out);
}

int drax_lease_grant(drax_t *self, uint64_t ttl_ms, const drax_options_t *options,
                     drax_result_t **out) {
    return call1(self, "lease_grant", CALL_WRITE, number_param(ttl_ms), options, out);
}

/* Again at will: it only ever prolongs. */
int drax_lease_keepalive(drax_t *self, uint64_t lease, const drax_options_t *options,
                         drax_result_t **out) {
    return call1(self, "lease_keepalive", CALL_READ, number_param(lease), options, out);
}

int drax_lease_get(drax_t *self, uint64_t lease, const drax_options_t *options,
                   drax_result_t **out) {
    return call1(self, "lease_get", CALL_READ, number_param(lease), options, out);
}

int drax_lease_revoke(drax_t *self, uint64_t lease, const drax_options_t *options,
                      drax_result_t **out) {
    return call1(self, "lease_revoke", CALL_WRITE, number_param(lease), options, out);
}

int drax_ping(drax_t *self, const drax_options_t *options, drax_result_t **out) {
    return call0(self, "ping", CALL_READ, options, out);
}

int drax_status(drax_t *self, const drax_options_t *options, drax_result_t **out) {
    return call0(self, "status", CALL_READ, options, out);
}

int drax_member_list(drax_t *self, const drax_options_t *options, drax_result_t **out) {
    return call0(self, "member_list", CALL_READ, options, out);
}

int drax_member_add(drax_t *self, const char *addr, const char *raft_addr,
                    const drax_options_t *options, drax_result_t **out) {
    return call2(self, "member_add", CALL_ADMIN, text_param(addr), text_param(raft_addr), options,
                 out);
}

int drax_member_remove(drax_t *self, uint64_t id, const drax_options_t *options,
                       drax_result_t **out) {
    return call1(self, "member_remove", CALL_ADMIN, number_param(id), options, out);
}

int drax_member_promote(drax_t *self, uint64_t id, const drax_options_t *options,
                        drax_result_t **out) {
    return call1(self, "member_promote", CALL_ADMIN, number_param(id), options, out);
}

int drax_leader_transfer(drax_t *self, uint64_t id, const drax_options_t *options,
                         drax_result_t **out) {
    return call1(self, "leader_transfer", CALL_ADMIN, number_param(id), options, out);
}

int drax_put_submit(drax_t *self, const void *key, size_t key_size, const void *value,
                    size_t value_size, const drax_options_t *options, drax_done_fn *done,
                    void *arg) {
    const call_spec_t spec = {.method = "put",
                              .kind = CALL_WRITE,
                              .options = options,
                              .param_count = 2,
                              .params = {key_param(key, key_size), value_param(value, value_size)}};
    return client_submit(self, &spec, done, arg);
}
