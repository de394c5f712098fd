/* txn.c: transactions (contract section 2): compares, then one of two lists of operations, all of
 * them or none.
 *
 * An operation is applied as its method would be, and sees what those before it did. When one is
 * refused, the overlay and what the meta record counts go back to where they were.
 *
 * Invariants
 *  1. Either every operation succeeded and is kept, or nothing of the transaction is left, and its
 *     answer is the refusal.
 *  2. An answer has at most LIMIT_TXN_ANSWER_BYTES, and one transaction goes over at most
 *     LIMIT_TXN_KEYS keys; what a block answers is bounded through LIMIT_BLOCK_ANSWER_BYTES.
 */
#include "store/state_internal.h"

#include "broker/error.h"
#include "broker/unpack.h"

/* ---- compares ---- */

static bool order_holds(compare_op_t op, int order) {
    switch (op) {
    case COMPARE_EQUAL:
        return order == 0;
    case COMPARE_UNEQUAL:
        return order != 0;
    case COMPARE_LESS:
        return order < 0;
    default:
        return order > 0;
    }
}

static int number_order(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b;
}

static bool compare_holds(const compare_t *compare, const user_t *user) {
    switch (compare->target) {
    case COMPARE_EXISTS:
        return order_holds(compare->op, number_order(user->exists, compare->number));
    case COMPARE_INDEX:
        return order_holds(compare->op,
                           number_order(user->exists ? user->record.index : 0, compare->number));
    case COMPARE_VERSION:
        return order_holds(compare->op,
                           number_order(user->exists ? user->record.version : 0, compare->number));
    default:
        if (!user->exists)
            return compare->op == COMPARE_UNEQUAL;
        return order_holds(compare->op, kv_key_compare(user->record.value, compare->value));
    }
}

static int compares_check(state_t *self, slice_t compares, bool *hold) {
    txn_list_t list;
    compare_t compare;
    *hold = true;
    int rc = txn_list_open(&list, compares);
    if (rc)
        return rc;
    while (*hold && (rc = txn_compare_next(&list, &compare)) == 1) {
        user_t user;
        rc = user_load(self, compare.key, &user);
        if (rc)
            return rc;
        *hold = compare_holds(&compare, &user);
    }
    return rc < 0 ? rc : 0;
}

/* ---- operations ---- */

static int operation_apply(state_t *self, const request_t *operation, buffer_t *out) {
    if (method_kind(operation->method) == METHOD_KIND_READ)
        return query_answer(self, operation, self->meta.time_ms, out);
    outcome_t outcome = {.code = RPC_OK};
    int rc = write_apply(self, operation, &outcome);
    if (rc == 0)
        outcome_write(&outcome, operation, out);
    return rc;
}

/* Splits outcome bytes: true when they tell a success, with the map that it came to. */
static bool outcome_success(const buffer_t *outcome, slice_t *map) {
    item_t error;
    *map = (slice_t){outcome->data, outcome->size};
    return unpack_item(map, &error) == 0 && error.type == ITEM_NIL;
}

/* Applies one list after the other operation; `*kept` is false after a refusal, which then stands
 * in self->operation. Results go to `out`. */
static int operations_apply(state_t *self, txn_list_t *list, buffer_t *out, bool *kept) {
    request_t operation;
    int rc;
    *kept = true;
    while ((rc = txn_operation_next(list, &operation)) == 1) {
        slice_t result;
        buffer_reset(&self->operation);
        rc = operation_apply(self, &operation, &self->operation);
        if (rc == 0 && self->operation.failed)
            rc = DRAX_ENOMEM;
        if (rc == 0 && out->size + self->operation.size > LIMIT_TXN_ANSWER_BYTES)
            rc = DRAX_ETOOLARGE;
        if (rc == DRAX_ETOOLARGE) {
            buffer_reset(&self->operation);
            rpc_failure(&self->operation, RPC_TOO_LARGE,
                        "the transaction answers or goes over too much");
        } else if (rc) {
            return rc;
        }
        *kept = outcome_success(&self->operation, &result);
        if (!*kept)
            return 0;
        buffer_append(out, result.data, result.size);
    }
    return rc;
}

int txn_apply(state_t *self, const request_t *request, outcome_t *out) {
    buffer_t *answer = &self->outcome;
    txn_list_t list;
    bool hold, kept;
    if (self->results.size > LIMIT_BLOCK_ANSWER_BYTES) {
        *out = (outcome_t){.code = RPC_UNAVAILABLE, .text = "too much was asked for at once"};
        return 0;
    }
    int rc = write_guard(self, request, &out->code);
    if (rc || out->code)
        return rc;
    rc = compares_check(self, request->compares, &hold);
    if (rc == 0)
        rc = txn_list_open(&list, hold ? request->then : request->otherwise);
    if (rc)
        return rc;
    rpc_success(answer);
    pack_map(answer, 3);
    pack_str(answer, "succeeded");
    pack_bool(answer, hold);
    pack_str(answer, "results");
    pack_array(answer, list.left);
    savepoint_t before = changes_begin(self);
    self->keys_left = LIMIT_TXN_KEYS;
    rc = operations_apply(self, &list, answer, &kept);
    if (rc)
        return rc;
    if (kept) {
        changes_keep(self);
        pack_str(answer, "revision");
        pack_uint(answer, self->meta.revision);
    } else {
        changes_undo(self, &before);
        buffer_reset(answer);
        buffer_append(answer, self->operation.data, self->operation.size);
    }
    out->written = true;
    return answer->failed ? DRAX_ENOMEM : 0;
}
