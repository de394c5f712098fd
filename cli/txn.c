/* txn.c: transactions, made step by step.
 *
 *   txn       = [compares, then, else]
 *   compare   = [key, target, op, operand]
 *   operation = [method, [param..., {options}?]]
 */
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "cli/client.h"
#include "cli/options.h"

typedef struct list {
    buffer_t items;
    size_t count;
} list_t;

struct drax_txn {
    list_t compares;
    list_t branches[2]; /* by drax_branch_t */
    int error;          /* the first: what could never be sent */
};

drax_txn_t *drax_txn_new(void) {
    return calloc(1, sizeof(drax_txn_t));
}

void drax_txn_destroy(drax_txn_t **self_p) {
    drax_txn_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    buffer_free(&self->compares.items);
    buffer_free(&self->branches[DRAX_THEN].items);
    buffer_free(&self->branches[DRAX_ELSE].items);
    free(self);
}

/* ---- compares ---- */

static bool bytes_good(drax_txn_t *self, slice_t bytes) {
    int error = !bytes.data && bytes.size > 0          ? DRAX_ERR_USAGE
                : bytes.size > LIMIT_REQUEST_MAX_BYTES ? DRAX_ERR_TOO_LARGE
                                                       : 0;
    if (self->error == 0)
        self->error = error;
    return self->error == 0;
}

/* Up to the operand; NULL: the transaction has an error already. */
static buffer_t *compare_begin(drax_txn_t *self, slice_t key, const char *target,
                               drax_compare_t op) {
    static const char *const names[] = {"=", "!=", "<", ">"};
    if (op < DRAX_EQUAL || op > DRAX_GREATER)
        self->error = DRAX_ERR_USAGE;
    if (!bytes_good(self, key))
        return NULL;
    buffer_t *out = &self->compares.items;
    self->compares.count++;
    pack_array(out, 4);
    pack_key(out, key.data, key.size);
    pack_str(out, target);
    pack_str(out, names[op]);
    return out;
}

void drax_txn_compare_index(drax_txn_t *self, const void *key, size_t key_size, drax_compare_t op,
                            uint64_t index) {
    buffer_t *out = compare_begin(self, (slice_t){key, key_size}, "index", op);
    if (out)
        pack_uint(out, index);
}

void drax_txn_compare_version(drax_txn_t *self, const void *key, size_t key_size, drax_compare_t op,
                              uint64_t version) {
    buffer_t *out = compare_begin(self, (slice_t){key, key_size}, "version", op);
    if (out)
        pack_uint(out, version);
}

void drax_txn_compare_value(drax_txn_t *self, const void *key, size_t key_size, drax_compare_t op,
                            const void *value, size_t value_size) {
    bool good = bytes_good(self, (slice_t){value, value_size});
    buffer_t *out = compare_begin(self, (slice_t){key, key_size}, "value", op);
    if (out && good)
        pack_bin(out, value, value_size);
}

void drax_txn_compare_exists(drax_txn_t *self, const void *key, size_t key_size, bool exists) {
    buffer_t *out = compare_begin(self, (slice_t){key, key_size}, "exists", DRAX_EQUAL);
    if (out)
        pack_bool(out, exists);
}

/* ---- operations ---- */

typedef struct operation {
    const char *method;
    size_t count;
    param_t params[CALL_PARAMS];
} operation_t;

static void operation_add(drax_txn_t *self, drax_branch_t branch, const operation_t *operation,
                          const drax_options_t *options) {
    if (branch != DRAX_THEN && branch != DRAX_ELSE)
        self->error = DRAX_ERR_USAGE;
    for (size_t i = 0; i < operation->count; i++)
        if (!bytes_good(self, operation->params[i].bytes))
            return;
    if (self->error != 0)
        return;
    list_t *list = &self->branches[branch];
    size_t option_count = options_count(options);
    list->count++;
    pack_array(&list->items, 2);
    pack_str(&list->items, operation->method);
    pack_array(&list->items, operation->count + (option_count > 0));
    for (size_t i = 0; i < operation->count; i++)
        call_param_pack(&list->items, &operation->params[i]);
    if (option_count > 0)
        pack_map(&list->items, option_count);
    options_pack(&list->items, options);
}

static void one_add(drax_txn_t *self, drax_branch_t branch, const char *method, const void *key,
                    size_t key_size, const drax_options_t *options) {
    const operation_t operation = {method, 1, {{PARAM_KEY, {key, key_size}, 0}}};
    operation_add(self, branch, &operation, options);
}

void drax_txn_get(drax_txn_t *self, drax_branch_t branch, const void *key, size_t key_size) {
    one_add(self, branch, "get", key, key_size, NULL);
}

void drax_txn_exists(drax_txn_t *self, drax_branch_t branch, const void *key, size_t key_size) {
    one_add(self, branch, "exists", key, key_size, NULL);
}

void drax_txn_delete(drax_txn_t *self, drax_branch_t branch, const void *key, size_t key_size) {
    one_add(self, branch, "delete", key, key_size, NULL);
}

void drax_txn_delete_tree(drax_txn_t *self, drax_branch_t branch, const void *directory,
                          size_t directory_size) {
    one_add(self, branch, "delete_tree", directory, directory_size, NULL);
}

void drax_txn_list(drax_txn_t *self, drax_branch_t branch, const void *directory,
                   size_t directory_size, const drax_options_t *options) {
    one_add(self, branch, "list", directory, directory_size, options);
}

void drax_txn_range(drax_txn_t *self, drax_branch_t branch, const void *start, size_t start_size,
                    const void *end, size_t end_size, const drax_options_t *options) {
    const operation_t operation = {
        "range", 2, {{PARAM_KEY, {start, start_size}, 0}, {PARAM_KEY, {end, end_size}, 0}}};
    operation_add(self, branch, &operation, options);
}

void drax_txn_put(drax_txn_t *self, drax_branch_t branch, const void *key, size_t key_size,
                  const void *value, size_t value_size, const drax_options_t *options) {
    const operation_t operation = {
        "put", 2, {{PARAM_KEY, {key, key_size}, 0}, {PARAM_VALUE, {value, value_size}, 0}}};
    operation_add(self, branch, &operation, options);
}

void drax_txn_atomic_put(drax_txn_t *self, drax_branch_t branch, const void *key, size_t key_size,
                         const void *value, size_t value_size, uint64_t previous,
                         const drax_options_t *options) {
    const operation_t operation = {"atomic_put",
                                   3,
                                   {{PARAM_KEY, {key, key_size}, 0},
                                    {PARAM_VALUE, {value, value_size}, 0},
                                    {PARAM_NUMBER, {NULL, 0}, previous}}};
    operation_add(self, branch, &operation, options);
}

void drax_txn_atomic_delete(drax_txn_t *self, drax_branch_t branch, const void *key,
                            size_t key_size, uint64_t previous) {
    const operation_t operation = {
        "atomic_delete", 2, {{PARAM_KEY, {key, key_size}, 0}, {PARAM_NUMBER, {NULL, 0}, previous}}};
    operation_add(self, branch, &operation, NULL);
}

/* ---- sending ---- */

/* The parameters, to be freed by the caller in any case. */
static int params_pack(const drax_txn_t *self, buffer_t *out) {
    const list_t *lists[] = {&self->compares, &self->branches[DRAX_THEN],
                             &self->branches[DRAX_ELSE]};
    for (size_t i = 0; i < 3; i++) {
        if (lists[i]->items.failed)
            out->failed = true;
        pack_array(out, lists[i]->count);
        buffer_append(out, lists[i]->items.data, lists[i]->items.size);
    }
    return self->error != 0 ? self->error : out->failed ? DRAX_ERR_NO_MEMORY : 0;
}

static call_spec_t spec_of(const buffer_t *params, const drax_options_t *options) {
    return (call_spec_t){.method = "txn",
                         .kind = CALL_WRITE,
                         .options = options,
                         .param_count = 3,
                         .packed = {params->data, params->size}};
}

int drax_txn_call(drax_t *self, const drax_txn_t *txn, const drax_options_t *options,
                  drax_result_t **out) {
    buffer_t params = {0};
    if (out)
        *out = NULL;
    int error = params_pack(txn, &params);
    call_spec_t spec = spec_of(&params, options);
    if (error == 0)
        error = client_call(self, &spec, out);
    buffer_free(&params);
    return error;
}

int drax_txn_submit(drax_t *self, const drax_txn_t *txn, const drax_options_t *options,
                    drax_done_fn *done, void *arg) {
    buffer_t params = {0};
    int error = params_pack(txn, &params);
    call_spec_t spec = spec_of(&params, options);
    if (error == 0)
        error = client_submit(self, &spec, done, arg);
    buffer_free(&params);
    return error;
}
