/* rpc_txn.c: the lists of a transaction (grammar in rpc.h): checked when the request is decoded,
 * read again when it is applied. An operation is a call as any other, without client and seq.
 */
#include <stdio.h>
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/rpc_internal.h"
#include "broker/unpack.h"

#define COMPARE_FIELDS 4u
#define OPERATION_FIELDS 2u

static bool name_is(slice_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

/* Reads a string that is one of `names`; its place among them, or -1. */
static int name_decode(slice_t *rest, const char *const *names, int count) {
    item_t item;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_STR)
        return -1;
    for (int i = 0; i < count; i++)
        if (name_is(item.bytes, names[i]))
            return i;
    return -1;
}

static bool fields_are(slice_t *rest, size_t count) {
    item_t item;
    return unpack_item(rest, &item) == 0 && item.type == ITEM_ARRAY && item.count == count;
}

/* ---- compares ---- */

static int operand_decode(slice_t *rest, compare_t *out, rpc_error_t *error) {
    if (out->target == COMPARE_VALUE)
        return rpc_bytes_decode(rest, 0, SIZE_MAX, &out->value) == 0
                   ? 0
                   : rpc_invalid(error, "a value is compared with a string");
    item_t item;
    if (unpack_item(rest, &item) != 0)
        return rpc_invalid(error, "a compare needs an operand");
    out->number = item.number;
    if (out->target == COMPARE_EXISTS)
        return item.type == ITEM_BOOL && out->op <= COMPARE_UNEQUAL
                   ? 0
                   : rpc_invalid(error, "exists is = or != true or false");
    return item.type == ITEM_UINT && item.number <= LIMIT_INTEGER
               ? 0
               : rpc_invalid(error, "index and version are compared with 0 to 2^53-1");
}

static int compare_decode(slice_t *rest, compare_t *out, rpc_error_t *error) {
    static const char *const targets[] = {"index", "version", "value", "exists"};
    static const char *const ops[] = {"=", "!=", "<", ">"};
    *out = (compare_t){0};
    if (!fields_are(rest, COMPARE_FIELDS))
        return rpc_invalid(error, "a compare is [key, target, op, operand]");
    if (rpc_bytes_decode(rest, 1, LIMIT_KEY_BYTES, &out->key) != 0)
        return rpc_invalid(error, "a key is a string of 1 to 4096 bytes");
    int target = name_decode(rest, targets, 4);
    if (target < 0)
        return rpc_invalid(error, "a compare's target is index, version, value or exists");
    int op = name_decode(rest, ops, 4);
    if (op < 0)
        return rpc_invalid(error, "a compare's op is =, !=, < or >");
    out->target = (compare_target_t) target;
    out->op = (compare_op_t) op;
    return operand_decode(rest, out, error);
}

/* ---- operations ---- */

static bool operation_allowed(method_t method) {
    switch (method) {
    case METHOD_GET:
    case METHOD_PUT:
    case METHOD_DELETE:
    case METHOD_DELETE_TREE:
    case METHOD_LIST:
    case METHOD_RANGE:
    case METHOD_EXISTS:
    case METHOD_ATOMIC_PUT:
    case METHOD_ATOMIC_DELETE:
        return true;
    default:
        return false;
    }
}

/* The method alone comes first: a transaction within a transaction is never decoded. */
static bool method_fits(slice_t rest) {
    item_t item;
    return unpack_item(&rest, &item) == 0 && item.type == ITEM_STR &&
           operation_allowed(method_find(item.bytes));
}

static int operation_decode(slice_t *rest, request_t *out, rpc_error_t *error) {
    memset(out, 0, sizeof *out);
    if (!fields_are(rest, OPERATION_FIELDS))
        return rpc_invalid(error, "an operation is [method, [parameters]]");
    if (!method_fits(*rest))
        return rpc_invalid(error, "no method that a transaction takes");
    int rc = rpc_call_decode(rest, out, error);
    if (rc == 0 && out->client.size)
        rc = rpc_invalid(error, "client and seq are options of the whole transaction");
    return rc;
}

/* ---- lists ---- */

int txn_list_open(txn_list_t *out, slice_t list) {
    item_t item;
    out->rest = list;
    if (unpack_item(&out->rest, &item) != 0 || item.type != ITEM_ARRAY)
        return DRAX_EPROTO;
    out->left = item.count;
    return 0;
}

int txn_compare_next(txn_list_t *self, compare_t *out) {
    rpc_error_t error;
    if (self->left == 0)
        return 0;
    self->left--;
    int rc = compare_decode(&self->rest, out, &error);
    return rc == 0 ? 1 : rc;
}

int txn_operation_next(txn_list_t *self, request_t *out) {
    rpc_error_t error;
    if (self->left == 0)
        return 0;
    self->left--;
    int rc = operation_decode(&self->rest, out, &error);
    return rc == 0 ? 1 : rc;
}

/* Takes the list off `rest` once all of it was read to `end`. */
static void list_take(slice_t *rest, slice_t end, slice_t *out) {
    *out = (slice_t){rest->data, rest->size - end.size};
    *rest = end;
}

int rpc_compares_decode(slice_t *rest, slice_t *out, rpc_error_t *error) {
    txn_list_t list;
    compare_t compare;
    if (txn_list_open(&list, *rest) != 0 || list.left > LIMIT_TXN_COMPARES)
        return rpc_invalid(error, "compares are an array of up to 1024");
    for (; list.left; list.left--) {
        int rc = compare_decode(&list.rest, &compare, error);
        if (rc)
            return rc;
    }
    list_take(rest, list.rest, out);
    return 0;
}

int rpc_operations_decode(slice_t *rest, slice_t *out, rpc_error_t *error) {
    txn_list_t list;
    request_t operation;
    if (txn_list_open(&list, *rest) != 0 || list.left > LIMIT_TXN_OPERATIONS)
        return rpc_invalid(error, "operations are an array of up to 1024");
    for (; list.left; list.left--) {
        int rc = operation_decode(&list.rest, &operation, error);
        if (rc)
            return rc;
    }
    list_take(rest, list.rest, out);
    return 0;
}
