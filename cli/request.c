/* request.c: requests that a program makes itself, for any method.
 *
 * Invariant: `left[depth]` items are still to come in the array at that depth; depth 0 is the list
 * of parameters, which has no end.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "broker/pack.h"
#include "cli/client.h"

/* The payload and the list of parameters are two levels themselves. */
#define REQUEST_DEPTH (LIMIT_NESTING - 2)

struct drax_request {
    char method[CLIENT_METHOD_BYTES];
    call_kind_t kind;
    buffer_t params;
    size_t count; /* of parameters */
    size_t left[REQUEST_DEPTH + 1];
    size_t depth;
    int error; /* the first: what could never be sent */
};

drax_request_t *drax_request_new(const char *method, drax_request_kind_t kind) {
    drax_request_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->kind = kind == DRAX_READ ? CALL_READ : kind == DRAX_WRITE ? CALL_WRITE : CALL_ADMIN;
    if (strlen(method) < sizeof self->method)
        strcpy(self->method, method);
    else
        self->error = DRAX_ERR_USAGE;
    return self;
}

void drax_request_destroy(drax_request_t **self_p) {
    drax_request_t *self = *self_p;
    *self_p = NULL;
    if (self)
        buffer_free(&self->params);
    free(self);
}

static void item_begin(drax_request_t *self) {
    if (self->depth == 0)
        self->count++;
    else
        self->left[self->depth]--;
}

static void item_end(drax_request_t *self) {
    while (self->depth > 0 && self->left[self->depth] == 0)
        self->depth--; /* that was the last item of this array, which is an item itself */
}

static bool bytes_good(drax_request_t *self, const void *data, size_t size) {
    int error =
        !data && size > 0 ? DRAX_ERR_USAGE
        : size > LIMIT_REQUEST_MAX_BYTES || self->params.size + size > LIMIT_REQUEST_MAX_BYTES
            ? DRAX_ERR_TOO_LARGE
            : 0;
    if (self->error == 0)
        self->error = error;
    return self->error == 0;
}

void drax_request_key_add(drax_request_t *self, const void *key, size_t key_size) {
    item_begin(self);
    if (bytes_good(self, key, key_size))
        pack_key(&self->params, key, key_size);
    item_end(self);
}

void drax_request_value_add(drax_request_t *self, const void *value, size_t value_size) {
    item_begin(self);
    if (bytes_good(self, value, value_size))
        pack_bin(&self->params, value, value_size);
    item_end(self);
}

void drax_request_text_add(drax_request_t *self, const char *text) {
    item_begin(self);
    if (bytes_good(self, text, strlen(text)))
        pack_str(&self->params, text);
    item_end(self);
}

void drax_request_uint_add(drax_request_t *self, uint64_t number) {
    item_begin(self);
    if (bytes_good(self, NULL, 0))
        pack_uint(&self->params, number);
    item_end(self);
}

void drax_request_bool_add(drax_request_t *self, bool value) {
    item_begin(self);
    if (bytes_good(self, NULL, 0))
        pack_bool(&self->params, value);
    item_end(self);
}

void drax_request_nil_add(drax_request_t *self) {
    item_begin(self);
    if (bytes_good(self, NULL, 0))
        pack_nil(&self->params);
    item_end(self);
}

/* The next `items` lie in it. */
static void container_open(drax_request_t *self, size_t items) {
    if (items > 0 && self->depth == REQUEST_DEPTH)
        self->error = DRAX_ERR_USAGE;
    else if (items > 0)
        self->left[++self->depth] = items;
    item_end(self);
}

void drax_request_array_add(drax_request_t *self, size_t count) {
    item_begin(self);
    if (bytes_good(self, NULL, 0))
        pack_array(&self->params, count);
    container_open(self, count);
}

void drax_request_map_add(drax_request_t *self, size_t count) {
    item_begin(self);
    if (count > LIMIT_ELEMENTS)
        self->error = DRAX_ERR_TOO_LARGE;
    if (bytes_good(self, NULL, 0))
        pack_map(&self->params, count);
    container_open(self, self->error == 0 ? 2 * count : 0);
}

/* What to ask, borrowed from the request. */
static int spec_make(const drax_request_t *self, const drax_options_t *options, call_spec_t *out) {
    if (self->error != 0 || self->depth > 0)
        return self->error != 0 ? self->error : DRAX_ERR_USAGE;
    if (self->params.failed)
        return DRAX_ERR_NO_MEMORY;
    *out = (call_spec_t){.method = self->method,
                         .kind = self->kind,
                         .options = options,
                         .param_count = self->count,
                         .packed = {self->params.data, self->params.size}};
    return 0;
}

int drax_request_call(drax_t *self, const drax_request_t *request, const drax_options_t *options,
                      drax_result_t **out) {
    call_spec_t spec;
    int error = spec_make(request, options, &spec);
    if (error != 0 && out)
        *out = NULL;
    return error != 0 ? error : client_call(self, &spec, out);
}

int drax_request_submit(drax_t *self, const drax_request_t *request, const drax_options_t *options,
                        drax_done_fn *done, void *arg) {
    call_spec_t spec;
    int error = spec_make(request, options, &spec);
    return error != 0 ? error : client_submit(self, &spec, done, arg);
}
