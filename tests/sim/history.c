/* history.c: recording; see history.h. */
#include <stdarg.h>
#include <string.h>

#include "broker/error.h"
#include "tests/sim/array.h"
#include "tests/sim/history_internal.h"

history_t *history_new(const replay_t *replay, replay_fail_fn *fail, void *hint) {
    history_t *self = array_new(1, sizeof *self);
    self->replay = replay;
    self->fail = fail;
    self->fail_hint = hint;
    return self;
}

void history_free(history_t **self_p) {
    history_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++)
        payload_unref(&self->operations[i].payload);
    free(self->operations);
    free(self->waiting);
    free(self);
    *self_p = NULL;
}

void history_violated(history_t *self, const char *check, const operation_t *operation,
                      const char *format, ...) {
    char text[400];
    size_t used = 0;
    if (operation)
        used = (size_t) snprintf(
            text, sizeof text, "request %u, %s at slot %u: ", operation->request.msgid,
            operation->wrong ? "a wrong one" : method_name(operation->request.method),
            operation->station.slot);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, sizeof text - used, format, args);
    va_end(args);
    self->fail(self->fail_hint, check, text);
}

uint32_t history_msgid(const history_t *self) {
    return (uint32_t) self->count + 1;
}

const operation_t *history_operation(const history_t *self, uint32_t msgid) {
    return msgid && msgid <= self->count ? &self->operations[msgid - 1] : NULL;
}

uint64_t history_answered(const history_t *self) {
    return self->answered;
}

history_locks_t history_locks(const history_t *self) {
    history_locks_t locks = {0};
    for (size_t i = 0; i < self->count; i++) {
        const operation_t *operation = &self->operations[i];
        const reply_t *reply = &operation->reply;
        if (operation->wrong || operation->state != OPERATION_ANSWERED)
            continue;
        locks.refused += reply->code == RPC_CANNOT_LOCK || reply->code == RPC_LOCK_LOST;
        locks.fenced += operation->request.has_fence && reply->code == RPC_OK;
        if (!(reply->fields & REPLY_TOKEN))
            continue;
        const replayed_t *replayed = replay_find(self->replay, operation->request.msgid);
        locks.granted++;
        locks.handed_on += replayed && replayed->waited;
    }
    return locks;
}

bool history_undecided(const history_t *self) {
    return self->undecided;
}

/* The operation that waits on `connection` for an answer under `msgid`. */
static operation_t *waiting_find(history_t *self, uint64_t connection, uint32_t msgid) {
    if (msgid) {
        operation_t *operation = msgid <= self->count ? &self->operations[msgid - 1] : NULL;
        bool waits = operation && operation->state == OPERATION_WAITING &&
                     operation->station.connection == connection &&
                     (!operation->wrong || operation->reply.msgid);
        return waits ? operation : NULL;
    }
    for (size_t i = 0; i < self->waiting_count; i++) {
        operation_t *operation = &self->operations[self->waiting[i] - 1];
        if (operation->station.connection == connection && operation->wrong &&
            !operation->reply.msgid)
            return operation;
    }
    return NULL;
}

/* ---- calls ---- */

static operation_t *operation_add(history_t *self, const station_t *station, payload_t *payload) {
    self->operations =
        array_room(self->operations, &self->capacity, self->count + 1, sizeof *self->operations);
    operation_t *operation = &self->operations[self->count++];
    *operation = (operation_t){.station = *station,
                               .called = ++self->places,
                               .returned = LINEAR_OPEN,
                               .due_ms = station->awake_ms,
                               .floor_index = self->told_index,
                               .floor_revision = self->told_revision,
                               .floor_lease = self->told_lease,
                               .payload = payload_ref(payload)};
    if (self->stale[station->slot].memory == station->memory)
        operation->floor_stale = self->stale[station->slot].revision;
    self->waiting = array_room(self->waiting, &self->waiting_capacity, self->waiting_count + 1,
                               sizeof *self->waiting);
    self->waiting[self->waiting_count++] = self->count;
    return operation;
}

void history_called(history_t *self, const station_t *station, payload_t *payload) {
    rpc_error_t error;
    operation_t *operation = operation_add(self, station, payload);
    int rc = request_decode(payload_slice(payload), &operation->request, &error);
    if (rc || operation->request.msgid != self->count)
        history_violated(self, "well-formed request", operation, "it cannot be decoded again");
    const request_t *request = &operation->request;
    if (request->method == METHOD_LOCK && !request->has_wait)
        operation->due_ms = UINT64_MAX; /* whenever it is granted */
    else
        operation->due_ms += request->wait_ms;
    operation_t *cancelled = request->method == METHOD_LOCK_CANCEL
                                 ? waiting_find(self, station->connection, request->target)
                                 : NULL;
    if (cancelled && operation->station.awake_ms < cancelled->due_ms)
        cancelled->due_ms = operation->station.awake_ms;
}

void history_called_wrong(history_t *self, const station_t *station, payload_t *payload,
                          rpc_code_t code, uint32_t echoed) {
    operation_t *operation = operation_add(self, station, payload);
    operation->wrong = true;
    operation->request.msgid = (uint32_t) self->count;
    operation->reply = (reply_t){.msgid = echoed, .code = code};
    if (code == RPC_OK) { /* not to be answered at all */
        operation->state = OPERATION_LOST;
        self->waiting_count--;
    }
}

/* ---- returns ---- */

static void waiting_remove(history_t *self, uint64_t msgid) {
    for (size_t i = 0; i < self->waiting_count; i++)
        if (self->waiting[i] == msgid) {
            memmove(self->waiting + i, self->waiting + i + 1,
                    (self->waiting_count - i - 1) * sizeof *self->waiting);
            self->waiting_count--;
            return;
        }
}

static void time_check(history_t *self, operation_t *operation, uint64_t awake_ms) {
    const replayed_t *replayed = operation->due_ms == UINT64_MAX
                                     ? replay_find(self->replay, operation->request.msgid)
                                     : NULL;
    if (replayed && replayed->answered)
        operation->due_ms = awake_ms + HISTORY_LOCK_CHECK_MS; /* it waits no longer */
    if (awake_ms <= operation->station.awake_ms || awake_ms <= operation->due_ms)
        return;
    uint64_t waited_ms = awake_ms - operation->due_ms;
    if (waited_ms > HISTORY_ANSWER_MS + HISTORY_WAY_MS)
        history_violated(self, "answered in time", operation,
                         "%llu ms, while its gateway ran all the time", U(waited_ms));
}

const operation_t *history_returned(history_t *self, const station_t *station, slice_t payload) {
    reply_t reply;
    if (reply_parse(payload, &reply) != 0) {
        history_violated(self, "well-formed answer", NULL, "slot %u answers what is no response",
                         station->slot);
        return NULL;
    }
    operation_t *operation = waiting_find(self, station->connection, reply.msgid);
    if (!operation) {
        history_violated(self, "answered once", history_operation(self, reply.msgid),
                         "slot %u answers %u, which does not wait for an answer there",
                         station->slot, reply.msgid);
        return NULL;
    }
    operation->state = OPERATION_ANSWERED;
    operation->returned = ++self->places;
    self->answered++;
    waiting_remove(self, operation->request.msgid);
    time_check(self, operation, station->awake_ms);
    if (operation->wrong) {
        if (reply.code != operation->reply.code)
            history_violated(self, "exact answers", operation, "refused with %s instead of %s",
                             rpc_code_name(reply.code), rpc_code_name(operation->reply.code));
        return operation;
    }
    operation->reply = reply;
    judge_answer(self, operation, station->memory);
    return operation;
}

void history_broken(history_t *self, uint64_t connection) {
    size_t kept = 0;
    for (size_t i = 0; i < self->waiting_count; i++) {
        operation_t *operation = &self->operations[self->waiting[i] - 1];
        if (operation->station.connection == connection)
            operation->state = OPERATION_LOST;
        else
            self->waiting[kept++] = self->waiting[i];
    }
    self->waiting_count = kept;
}

void history_overdue(history_t *self, const station_t *station) {
    for (size_t i = 0; i < self->waiting_count; i++) {
        operation_t *operation = &self->operations[self->waiting[i] - 1];
        if (operation->station.connection == station->connection)
            time_check(self, operation, station->awake_ms);
    }
}
