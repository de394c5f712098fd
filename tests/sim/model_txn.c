/* model_txn.c: transactions: compares that must all hold, then one of two lists, all or nothing. */
#include "tests/sim/model_internal.h"

static bool holds(compare_op_t op, bool less, bool greater) {
    switch (op) {
    case COMPARE_EQUAL:
        return !less && !greater;
    case COMPARE_UNEQUAL:
        return less || greater;
    case COMPARE_LESS:
        return less;
    default:
        return greater;
    }
}

static bool number_holds(const compare_t *compare, uint64_t is) {
    return holds(compare->op, is<compare->number, is> compare->number);
}

static bool compare_holds(const model_t *self, const compare_t *compare) {
    const version_t *version = model_now(model_key(self, compare->key));
    switch (compare->target) {
    case COMPARE_EXISTS:
        return number_holds(compare, version != NULL);
    case COMPARE_INDEX:
        return number_holds(compare, version ? version->revision : 0);
    case COMPARE_VERSION:
        return number_holds(compare, version ? version->writes : 0);
    default:
        break;
    }
    if (!version)
        return compare->op == COMPARE_UNEQUAL;
    int order = model_compare(version->value, compare->value);
    return holds(compare->op, order<0, order> 0);
}

static bool compares_hold(const model_t *self, slice_t compares) {
    txn_list_t list;
    compare_t compare;
    if (txn_list_open(&list, compares) != 0)
        return false;
    while (txn_compare_next(&list, &compare) == 1)
        if (!compare_holds(self, &compare))
            return false;
    return true;
}

static rpc_code_t operation_do(model_t *self, const request_t *operation, payload_t *owner,
                               reply_t *out) {
    *out = (reply_t){0};
    if (method_kind(operation->method) == METHOD_KIND_WRITE)
        return model_write_do(self, operation, owner, out);
    model_read_now(self, operation, out);
    return out->code;
}

rpc_code_t model_txn(model_t *self, const request_t *request, payload_t *owner, reply_t *out) {
    txn_list_t list;
    request_t operation;
    bool succeeded = compares_hold(self, request->compares);
    self->fence_token = request->has_fence ? request->fence_token : 0;
    if (txn_list_open(&list, succeeded ? request->then : request->otherwise) != 0)
        return RPC_INVALID_ARGUMENT;
    while (txn_operation_next(&list, &operation) == 1) {
        reply_t result;
        rpc_code_t code = operation_do(self, &operation, owner, &result);
        if (code) {
            model_command_drop(self);
            return code;
        }
        out->digest = reply_result(out->digest, &result);
        out->pairs++;
    }
    out->fields = REPLY_SUCCEEDED | REPLY_RESULTS | REPLY_REVISION;
    out->succeeded = succeeded;
    out->revision = self->revision + model_changed(self);
    return RPC_OK;
}

/* A transaction that succeeded changed something when the list that was taken has a write: a write
 * that changes nothing is refused. */
static bool txn_made_revision(const request_t *request, const reply_t *reply) {
    txn_list_t list;
    request_t operation;
    if (txn_list_open(&list, reply->succeeded ? request->then : request->otherwise) != 0)
        return false;
    while (txn_operation_next(&list, &operation) == 1)
        if (method_kind(operation.method) == METHOD_KIND_WRITE)
            return true;
    return false;
}

bool model_made_revision(const request_t *request, const reply_t *reply) {
    if (reply->code != RPC_OK || !(reply->fields & REPLY_REVISION))
        return false;
    return request->method == METHOD_TXN ? txn_made_revision(request, reply)
                                         : method_kind(request->method) == METHOD_KIND_WRITE;
}
