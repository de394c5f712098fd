#include "actors/gateway_actor.h"

#include <stdlib.h>
#include <string.h>

#include "actors/gateway_internal.h"
#include "broker/limits.h"

/* ---- answers ---- */

void gateway_respond(gateway_actor_t *self, account_t *account, envelope_t *envelope,
                     uint32_t msgid, slice_t outcome) {
    buffer_reset(&self->response);
    rpc_response(&self->response, msgid, outcome);
    if (self->response.failed) {
        free(envelope);
        return;
    }
    slice_t response = {self->response.data, self->response.size};
    /* Behind answers that wait already, so that they keep their order. */
    int rc = account && account->unsent
                 ? DRAX_EAGAIN
                 : self->options.respond(self->options.hint, envelope, response);
    if (rc == DRAX_EAGAIN && account) {
        payload_t *kept = payload_copy(response.data, response.size);
        bool told = account->overflowed;
        if (kept && account_keep(self->pendings, account, &envelope, &kept) != 0 && !told)
            log_warning(self->log, "a client does not read its answers: some are dropped");
        payload_unref(&kept);
    } else if (rc && account) {
        gateway_client_gone(self, account);
    }
    free(envelope);
}

void gateway_answer(gateway_actor_t *self, uint64_t token, slice_t outcome) {
    pending_t *pending = pendings_find(self->pendings, token);
    if (!pending)
        return;
    envelope_t *envelope;
    account_t *account;
    uint32_t msgid = pending->msgid;
    if (pending->reading)
        admission_answered(pending->account, outcome.size);
    if (pending->lock)
        gateway_lock_closed(self, pending);
    pendings_close(self->pendings, pending, &envelope, &account);
    gateway_respond(self, account, envelope, msgid, outcome);
    account_settle(self->pendings, account);
}

void gateway_forget(gateway_actor_t *self, uint64_t token) {
    pending_t *pending = pendings_find(self->pendings, token);
    envelope_t *envelope;
    account_t *account;
    if (pending->reading)
        admission_answered(pending->account, 0);
    pendings_close(self->pendings, pending, &envelope, &account);
    free(envelope);
}

void gateway_fail(gateway_actor_t *self, uint64_t token, rpc_code_t code, const char *text) {
    buffer_t outcome = {0};
    rpc_failure(&outcome, code, text);
    gateway_answer(self, token, (slice_t){outcome.data, outcome.size});
    buffer_free(&outcome);
}

/* An answer to a message that never became a pending request; takes the envelope over. */
static void answer_at_once(gateway_actor_t *self, envelope_t **envelope, uint32_t msgid,
                           const buffer_t *outcome) {
    account_t *account = pendings_account(self->pendings, *envelope);
    if (!outcome->failed) {
        gateway_respond(self, account, *envelope, msgid, (slice_t){outcome->data, outcome->size});
        *envelope = NULL;
    }
    if (account)
        account_settle(self->pendings, account);
}

static void refuse(gateway_actor_t *self, envelope_t **envelope, uint32_t msgid, rpc_code_t code,
                   const char *text) {
    buffer_t outcome = {0};
    rpc_failure(&outcome, code, text);
    answer_at_once(self, envelope, msgid, &outcome);
    buffer_free(&outcome);
}

/* Answers that a client did not take at once. */
static void unsent_turn(gateway_actor_t *self) {
    account_t *next;
    for (account_t *account = pendings_unsent(self->pendings); account; account = next) {
        next = account->unsent_next;
        while (account->unsent) {
            slice_t response = payload_slice(account->unsent->response);
            int rc = self->options.respond(self->options.hint, account->unsent->envelope, response);
            if (rc == DRAX_EAGAIN)
                break;
            if (rc)
                gateway_client_gone(self, account);
            account_sent(self->pendings, account);
        }
        if (!account->unsent)
            gateway_watches_resume(self, account);
        account_settle(self->pendings, account);
    }
}

/* ---- requests ---- */

/* Never early: part of the millisecond in which it came is over already. */
uint64_t gateway_wait_end(const request_t *request, uint64_t now_ms) {
    uint64_t end_ms = now_ms + (request->wait_ms != 0);
    return request->wait_ms > LIMIT_INTEGER - end_ms ? LIMIT_INTEGER : end_ms + request->wait_ms;
}

static pending_kind_t kind_of(const request_t *request) {
    switch (method_kind(request->method)) {
    case METHOD_KIND_READ:
        return request->stale ? PENDING_STALE : PENDING_READ;
    case METHOD_KIND_WRITE:
        return PENDING_WRITE;
    default:
        return PENDING_ADMIN;
    }
}

static void request_local(gateway_actor_t *self, envelope_t **envelope, const request_t *request,
                          uint64_t now_ms) {
    uint64_t token;
    bool wait = !gateway_node_known(self) && !self->stopping;
    if (wait && pendings_open(self->pendings, envelope, PENDING_LOCAL, request, NULL, 0,
                              now_ms + GATEWAY_LOCAL_MS, &token) == 0)
        return;
    buffer_t outcome = {0};
    gateway_local(self, request->method, &outcome);
    answer_at_once(self, envelope, request->msgid, &outcome);
    buffer_free(&outcome);
}

static bool is_watch(method_t method) {
    return method == METHOD_WATCH || method == METHOD_WATCH_TREE;
}

static void request_watch(gateway_actor_t *self, envelope_t **envelope, const request_t *request) {
    buffer_t outcome = {0};
    gateway_watch_cancel(self, *envelope, request);
    rpc_success(&outcome);
    pack_map(&outcome, 0);
    answer_at_once(self, envelope, request->msgid, &outcome);
    buffer_free(&outcome);
}

static void request_lock_cancel(gateway_actor_t *self, envelope_t **envelope,
                                const request_t *request) {
    account_t *account = pendings_account(self->pendings, *envelope);
    buffer_t outcome = {0};
    if (account)
        gateway_lock_cancel(self, account, request->target, self->now_ms);
    rpc_success(&outcome);
    pack_map(&outcome, 0);
    answer_at_once(self, envelope, request->msgid, &outcome);
    buffer_free(&outcome);
}

static void request_serve(gateway_actor_t *self, envelope_t **envelope, const request_t *request,
                          slice_t payload, uint64_t now_ms) {
    pending_kind_t kind = kind_of(request);
    bool read = kind == PENDING_READ || kind == PENDING_STALE;
    payload_t *kept = read ? payload_copy(payload.data, payload.size) : NULL;
    uint64_t token = 0;
    int rc = read && !kept ? DRAX_ENOMEM
                           : pendings_open(self->pendings, envelope, kind, request, kept,
                                           payload.size, now_ms + LIMIT_REQUEST_TIMEOUT_MS, &token);
    payload_unref(&kept);
    if (rc) {
        refuse(self, envelope, request->msgid, RPC_UNAVAILABLE, "too many requests are waiting");
        return;
    }
    if (is_watch(request->method))
        gateway_watch_begin(self, request);
    if (request->method == METHOD_LOCK)
        gateway_lock_begin(self, token, request, now_ms);
    if (read)
        gateway_read(self, token);
    else if (kind == PENDING_WRITE)
        gateway_write(self, token, payload, now_ms);
    else
        gateway_admin(self, token, request);
}

void gateway_actor_request(gateway_actor_t *self, envelope_t **envelope, slice_t payload,
                           uint64_t now_ms) {
    request_t request;
    rpc_error_t error;
    int rc = request_decode(payload, &request, &error);
    self->now_ms = now_ms;
    if (rc == DRAX_EAGAIN) { /* not for an answer */
        if (request.credit)
            gateway_credit(self, *envelope, &request);
    } else if (payload.size > self->options.max_request_bytes) {
        refuse(self, envelope, request.msgid, RPC_TOO_LARGE,
               "the payload is larger than --max-request");
    } else if (rc) {
        refuse(self, envelope, request.msgid, error.code, error.text);
    } else if (method_kind(request.method) == METHOD_KIND_LOCAL) {
        request_local(self, envelope, &request, now_ms);
    } else if (method_kind(request.method) == METHOD_KIND_WATCH) {
        request_watch(self, envelope, &request);
    } else if (method_kind(request.method) == METHOD_KIND_LOCK) {
        request_lock_cancel(self, envelope, &request);
    } else if (self->stopping) {
        refuse(self, envelope, request.msgid, RPC_UNAVAILABLE, "the node is stopping");
    } else {
        request_serve(self, envelope, &request, payload, now_ms);
    }
    free(*envelope);
    *envelope = NULL;
}

/* ---- messages ---- */

void gateway_learn(gateway_actor_t *self, const message_batch_t *batch) {
    if (batch->revision > self->revision)
        self->revision = batch->revision;
    if (batch->applied >= self->applied) {
        self->applied = batch->applied;
        self->digest = batch->digest;
    }
    self->no_space = batch->no_space;
}

static void raft_status(gateway_actor_t *self, const message_raft_status_t *status) {
    bool changed = status->leader != self->raft.leader || status->term != self->raft.term;
    self->raft = *status;
    self->raft_known = true;
    if (!changed || !status->leader)
        return;
    /* A new leader may not have what was sent to the old one: the same again, in order. */
    gateway_blocks_again(self);
    self->propose_ms = 0;
    self->asked_id = 0;
}

static void gateway_receive(void *hint, message_t *message, uint64_t now_ms) {
    gateway_actor_t *self = hint;
    self->now_ms = now_ms;
    if (message->actor == ACTOR_STORAGE)
        gateway_learn(self, &message->batch);
    switch (message->kind) {
    case MESSAGE_RAFT_STATUS:
        raft_status(self, &message->raft_status);
        break;
    case MESSAGE_PROPOSE_REFUSED:
        gateway_refused(self, &message->propose, now_ms);
        break;
    case MESSAGE_READ_READY:
        gateway_held_ready(self, &message->read);
        break;
    case MESSAGE_READ_FAILED:
        gateway_reads_refused(self);
        break;
    case MESSAGE_ADMIN_RESULT:
        gateway_admin_result(self, &message->admin);
        break;
    case MESSAGE_ANSWER:
        gateway_answers(self, &message->batch);
        break;
    case MESSAGE_CHANGES:
        gateway_changes(self, &message->batch);
        break;
    case MESSAGE_PAST:
        gateway_past(self, &message->batch);
        break;
    case MESSAGE_RESULT:
        gateway_result(self, &message->batch, now_ms);
        break;
    case MESSAGE_SETTLED:
        gateway_settled(self, &message->batch);
        break;
    case MESSAGE_SKIPPED:
        gateway_skipped(self, &message->batch, now_ms);
        break;
    case MESSAGE_STORE_STATUS:
        self->store_known = true;
        gateway_history_first(self, message->batch.seq);
        break;
    default:
        log_warning(self->log, "unexpected message kind=%s", message_kind_name(message->kind));
    }
    message_clear(message);
}

static void gateway_neighbour(void *hint, actor_t neighbour, uint64_t now_ms) {
    gateway_actor_t *self = hint;
    self->now_ms = now_ms;
    if (neighbour == ACTOR_STORAGE) {
        gateway_watches_again(self);
        gateway_reads_again(self);
        gateway_locks_again(self);
    } else if (neighbour == ACTOR_RAFT) {
        self->raft.leader = 0; /* until it tells */
        self->asked_id = 0;
        gateway_held_park(self);
        gateway_blocks_again(self);
        if (self->watch.subscribed)
            gateway_watches_tell(self);
    }
}

/* ---- turns ---- */

static int gateway_turn(void *hint, uint64_t now_ms) {
    gateway_actor_t *self = hint;
    self->now_ms = now_ms;
    gateway_local_turn(self);
    gateway_locks_turn(self, now_ms);
    bool block_left = gateway_blocks_turn(self, now_ms);
    gateway_reads_turn(self, block_left, now_ms);
    unsent_turn(self);
    gateway_watches_turn(self, now_ms);
    if (self->stopping && now_ms >= self->stop_ms)
        self->stop_over = true;
    return 0;
}

static uint64_t gateway_deadline(const void *hint, uint64_t now_ms) {
    const gateway_actor_t *self = hint;
    uint64_t at = gateway_blocks_deadline(self);
    uint64_t reads = gateway_reads_deadline(self);
    at = reads < at ? reads : at;
    uint64_t watches = gateway_watches_deadline(self);
    at = watches < at ? watches : at;
    uint64_t locks = gateway_locks_deadline(self);
    at = locks < at ? locks : at;
    if (pendings_unsent(self->pendings) && now_ms + GATEWAY_UNSENT_RETRY_MS < at)
        at = now_ms + GATEWAY_UNSENT_RETRY_MS;
    if (self->stopping && self->stop_ms < at)
        at = self->stop_ms;
    return at;
}

static void gateway_stop(void *hint, uint64_t now_ms) {
    gateway_actor_t *self = hint;
    if (self->stopping)
        return;
    self->stopping = true;
    self->stop_ms = now_ms + GATEWAY_STOP_MS;
    self->now_ms = now_ms;
    gateway_watches_stop(self);
    gateway_locks_stop(self);
}

static bool gateway_stopped(const void *hint) {
    const gateway_actor_t *self = hint;
    bool drained = pendings_count(self->pendings) == 0 && !pendings_unsent(self->pendings);
    return self->stopping && (drained || self->stop_over);
}

static size_t gateway_load(const void *hint) {
    const gateway_actor_t *self = hint;
    return pendings_count(self->pendings);
}

static bool gateway_ready(const void *hint) {
    const gateway_actor_t *self = hint;
    return self->raft_known && self->raft.leader &&
           self->post->boot(self->post->self, ACTOR_STORAGE);
}

const actor_ops_t gateway_actor_ops = {
    .neighbour = gateway_neighbour,
    .receive = gateway_receive,
    .turn = gateway_turn,
    .deadline = gateway_deadline,
    .stop = gateway_stop,
    .stopped = gateway_stopped,
    .ready = gateway_ready,
    .load = gateway_load,
};

/* ---- life ---- */

int gateway_actor_new(gateway_actor_t **out, const gateway_options_t *options) {
    *out = NULL;
    gateway_actor_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->options = *options;
    self->post = options->post;
    self->log = options->log;
    self->blocks_last = &self->blocks;
    self->raft.role = RAFT_LEARNER;
    TAILQ_INIT(&self->watch.queue);
    SLIST_INIT(&self->watch.touched);
    int rc = pendings_new(&self->pendings, options->boot);
    if (rc == 0)
        rc = watches_new(&self->watch.table, options->boot);
    if (rc == 0)
        rc = gateway_locks_new(&self->locks);
    if (rc) {
        gateway_actor_destroy(&self);
        return rc;
    }
    *out = self;
    return 0;
}

void gateway_actor_destroy(gateway_actor_t **self_p) {
    gateway_actor_t *self = *self_p;
    if (!self)
        return;
    gateway_blocks_free(self);
    gateway_held_end(self);
    watches_destroy(&self->watch.table);
    buffer_free(&self->watch.questions);
    buffer_free(&self->watch.note);
    gateway_locks_destroy(&self->locks);
    pendings_destroy(&self->pendings);
    buffer_free(&self->queries);
    buffer_free(&self->stale_queries);
    buffer_free(&self->scratch);
    buffer_free(&self->response);
    free(self);
    *self_p = NULL;
}
