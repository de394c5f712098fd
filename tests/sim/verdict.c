/* verdict.c: the history as a whole, when all is over; see history.h. */
#include <string.h>

#include "tests/sim/array.h"
#include "tests/sim/history_internal.h"

/* ---- what was refused for good, what one connection sent in order ---- */

typedef struct last_place {
    uint64_t connection, place;
} last_place_t;

static void order_check(history_t *self) {
    size_t slots = 1;
    while (slots < 2 * self->count + 2)
        slots *= 2;
    last_place_t *last = array_new(slots, sizeof *last);
    for (size_t i = 0; i < self->count; i++) {
        const operation_t *operation = &self->operations[i];
        const replayed_t *replayed = replay_find(self->replay, operation->request.msgid);
        if (operation->wrong || !replayed)
            continue;
        uint64_t connection = operation->station.connection;
        size_t at = (size_t) reply_mix(0, connection) & (slots - 1);
        while (last[at].connection && last[at].connection != connection)
            at = (at + 1) & (slots - 1);
        if (replayed->place < last[at].place)
            history_violated(self, "order", operation,
                             "applied before what its connection sent earlier");
        last[at] = (last_place_t){connection, replayed->place};
        if (operation->reply.code == RPC_UNAVAILABLE)
            history_violated(self, "refused for good", operation,
                             "UNAVAILABLE, and then applied at %llu", U(replayed->index));
    }
    free(last);
}

/* ---- linearizability ---- */

static bool stored(rpc_code_t code) {
    return code != RPC_UNAVAILABLE && code != RPC_INVALID_ARGUMENT && code != RPC_TIMEOUT;
}

/* What leases do to the order of operations is judged by the log's order alone. */
static bool leases_only(const history_t *self, const operation_t *operation) {
    const replayed_t *replayed = replay_find(self->replay, operation->request.msgid);
    switch (operation->request.method) {
    case METHOD_LEASE_GRANT:
    case METHOD_LEASE_KEEPALIVE:
    case METHOD_LEASE_GET:
        return true;
    case METHOD_LEASE_REVOKE: /* of a lease without keys, or one that was revoked already */
        if (operation->reply.code == RPC_OK && replayed && !replayed->changed)
            return true;
        break;
    default:
        break;
    }
    return operation->reply.code == RPC_LEASE_NOT_FOUND;
}

/* Could the operation have had an effect, or tell something? */
static bool counts(const history_t *self, const operation_t *operation) {
    bool answered = operation->state == OPERATION_ANSWERED;
    method_t method = operation->request.method;
    if (operation->wrong)
        return false;
    method_kind_t kind = method_kind(method);
    if (method == METHOD_MEMBER_LIST || method == METHOD_WATCH || method == METHOD_WATCH_TREE ||
        leases_only(self, operation))
        return false;
    if (kind == METHOD_KIND_READ)
        return !operation->request.stale && answered && stored(operation->reply.code);
    return kind == METHOD_KIND_WRITE &&
           (!answered || operation->reply.code == RPC_TIMEOUT || stored(operation->reply.code));
}

static linear_op_t linear_of(const history_t *self, const operation_t *operation) {
    linear_op_t op = {.called = operation->called,
                      .returned = operation->returned,
                      .request = operation->request,
                      .owner = operation->payload,
                      .reply = operation->reply};
    if (operation->state != OPERATION_ANSWERED || operation->reply.code == RPC_TIMEOUT)
        op.returned = LINEAR_OPEN;
    const replayed_t *replayed = replay_find(self->replay, operation->request.msgid);
    if (!replayed)
        return op;
    op.waited = replayed->waited;
    op.handed_back = replayed->handed_back;
    if (replayed->changed)
        op.likely = replayed->revision;
    if (replayed->changed && model_lock_moved(replay_model(self->replay), replayed->revision))
        op.followed = replayed->revision;
    return op;
}

/* The attempts of one (client, seq) side by side, the first one first; others as they came. */
static int session_order(const void *a, const void *b) {
    const linear_op_t *x = a, *y = b;
    slice_t p = x->request.client, q = y->request.client;
    if (p.size != q.size)
        return p.size < q.size ? -1 : 1;
    int order = p.size ? memcmp(p.data, q.data, p.size) : 0;
    if (order == 0 && x->request.seq != y->request.seq)
        order = x->request.seq < y->request.seq ? -1 : 1;
    return order ? order : (x->called > y->called) - (x->called < y->called);
}

static bool same_session(const linear_op_t *a, const linear_op_t *b) {
    return a->request.client.size && a->request.seq == b->request.seq &&
           a->request.client.size == b->request.client.size &&
           memcmp(a->request.client.data, b->request.client.data, a->request.client.size) == 0;
}

/* One operation for all attempts: called with the first one, answered with the first answer. */
static size_t sessions_merge(history_t *self, linear_op_t *ops, size_t count) {
    size_t merged = 0;
    qsort(ops, count, sizeof *ops, session_order);
    for (size_t i = 0; i < count; i++) {
        linear_op_t *last = merged ? &ops[merged - 1] : NULL;
        if (!last || !same_session(last, &ops[i])) {
            ops[merged++] = ops[i];
            continue;
        }
        bool both = last->returned != LINEAR_OPEN && ops[i].returned != LINEAR_OPEN;
        if (both && reply_differs(&last->reply, &ops[i].reply))
            history_violated(self, "exactly once", history_operation(self, ops[i].request.msgid),
                             "answered otherwise than the same request before");
        if (ops[i].returned < last->returned) {
            last->returned = ops[i].returned;
            last->reply = ops[i].reply;
            last->request = ops[i].request;
            last->owner = ops[i].owner;
        }
        last->likely = last->likely ? last->likely : ops[i].likely;
        last->followed = last->followed ? last->followed : ops[i].followed;
        last->waited = last->waited || ops[i].waited;
        last->handed_back = last->handed_back || ops[i].handed_back;
    }
    return merged;
}

/* Drops transactions that were refused for what they found after they had handed on a lock: to
 * whom, only the log knows. */
static size_t handed_back_drop(linear_op_t *ops, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!ops[i].handed_back)
            ops[kept++] = ops[i];
    return kept;
}

/* An expiry as the keys that it took, each at the index it had. */
static linear_op_t expiry_of(const model_t *model, uint64_t revision) {
    size_t count;
    buffer_t command = {0};
    const reply_t none = {0};
    const change_t *changes = model_changes(model, revision, &count);
    expire_begin(&command, count);
    for (size_t i = 0; i < count; i++) {
        reply_t before;
        request_t get = {.method = METHOD_GET, .key = changes[i].key};
        model_read(model, &get, revision - 1, &none, &before);
        expire_add(&command, changes[i].key, before.index);
    }
    linear_op_t op = {.returned = LINEAR_OPEN,
                      .expiry = true,
                      .owner = payload_copy(command.data, command.size),
                      .reply = {.fields = REPLY_REVISION, .revision = revision}};
    op.command = payload_slice(op.owner);
    op.followed = model_lock_moved(model, revision) ? revision : 0;
    buffer_free(&command);
    return op;
}

static void linear_judge(history_t *self) {
    size_t expiry_count, count = 0;
    const uint64_t *expiries = replay_expiries(self->replay, &expiry_count);
    linear_op_t *ops = array_new(self->count + expiry_count, sizeof *ops);
    for (size_t i = 0; i < self->count; i++)
        if (counts(self, &self->operations[i]))
            ops[count++] = linear_of(self, &self->operations[i]);
    count = handed_back_drop(ops, sessions_merge(self, ops, count));
    for (size_t i = 0; i < expiry_count; i++)
        ops[count++] = expiry_of(replay_model(self->replay), expiries[i]);
    linear_result_t result;
    linear_check(ops, count, replay_model(self->replay), &result);
    self->undecided = result.undecided;
    if (!result.linearizable && !result.undecided) {
        const linear_op_t *blocked = &ops[result.blocked];
        history_violated(self, "linearizable", history_operation(self, blocked->request.msgid),
                         "%zu of %zu operations have a place, up to revision %llu", result.placed,
                         count, U(result.revision));
    }
    for (size_t i = 0; i < count; i++)
        if (ops[i].expiry)
            payload_unref(&ops[i].owner);
    free(ops);
}

void history_finish(history_t *self) {
    for (size_t i = 0; i < self->waiting_count; i++)
        history_violated(self, "answered once", &self->operations[self->waiting[i] - 1],
                         "never answered");
    order_check(self);
    exclusion_check(self);
    linear_judge(self);
}
