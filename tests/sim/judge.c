/* judge.c: each answer as it comes, against the reference; see history.h. */
#include "tests/sim/history_internal.h"

/* Refusals that come from the node, and not from the store. */
static bool refused_by_node(rpc_code_t code) {
    return code == RPC_UNAVAILABLE || code == RPC_TIMEOUT;
}

static void write_judge(history_t *self, operation_t *operation) {
    const reply_t *reply = &operation->reply;
    const replayed_t *replayed = replay_find(self->replay, operation->request.msgid);
    if (reply->code == RPC_TIMEOUT)
        return;
    if (reply->code == RPC_UNAVAILABLE) {
        if (replayed)
            history_violated(self, "refused for good", operation,
                             "UNAVAILABLE, and it is committed at %llu", U(replayed->index));
        return;
    }
    if (!replayed) {
        history_violated(self, "durable before acknowledged", operation,
                         "answered with %s, and not committed", rpc_code_name(reply->code));
        return;
    }
    if (!replayed->answered) {
        history_violated(self, "exact answers", operation, "%s, and it waits for the lock",
                         rpc_code_name(reply->code));
        return;
    }
    const char *differs = reply_differs(&replayed->answer, reply);
    if (differs)
        history_violated(self, "exact answers", operation, "%s is wrong at %llu: %s instead of %s",
                         differs, U(replayed->answered),
                         reply->code ? rpc_code_name(reply->code) : "done",
                         replayed->answer.code ? rpc_code_name(replayed->answer.code) : "done");
    if (!replayed->repeated && replayed->index <= operation->floor_index)
        history_violated(self, "real time", operation,
                         "committed at %llu, not after %llu, which was answered before it was sent",
                         U(replayed->index), U(operation->floor_index));
    if (replayed->answered > self->told_index)
        self->told_index = replayed->answered;
    if (reply->revision > self->told_revision)
        self->told_revision = reply->revision;
    if (reply->lease > self->told_lease)
        self->told_lease = reply->lease;
}

/* Is there a revision from `low` on at which the read comes to this answer? */
static bool read_fits(const history_t *self, const operation_t *operation, uint64_t low) {
    const model_t *model = replay_model(self->replay);
    reply_t expected;
    for (uint64_t revision = model_revision(model); revision + 1 > low; revision--) {
        model_read(model, &operation->request, revision, &operation->reply, &expected);
        if (!reply_differs(&expected, &operation->reply))
            return true;
        if (revision == 0)
            break;
    }
    return false;
}

/* A lease may end, or be renewed, without a revision: what can be said of it is little. Leases
 * are numbered in the order of their grants. */
static void lease_judge(history_t *self, const operation_t *operation) {
    const model_t *model = replay_model(self->replay);
    const reply_t *reply = &operation->reply;
    uint64_t id = operation->request.lease;
    if (reply->code == RPC_LEASE_NOT_FOUND && id <= operation->floor_lease &&
        model_lease_held(model, id))
        history_violated(self, "exact answers", operation, "lease %llu is there", U(id));
    if (reply->code == RPC_OK && (reply->lease != id || !model_lease_granted(model, id)))
        history_violated(self, "exact answers", operation, "lease %llu was never granted", U(id));
    if (reply->code == RPC_OK &&
        (reply->revision < operation->floor_revision || reply->revision > model_revision(model)))
        history_violated(self, "real time", operation, "of revision %llu", U(reply->revision));
}

static void read_judge(history_t *self, operation_t *operation) {
    const reply_t *reply = &operation->reply;
    const model_t *model = replay_model(self->replay);
    uint64_t floor = operation->request.stale ? operation->floor_stale : operation->floor_revision;
    if (!(reply->fields & REPLY_REVISION)) {
        if (!read_fits(self, operation, floor))
            history_violated(self, "exact answers", operation,
                             "%s, which is true at no revision from %llu to %llu",
                             rpc_code_name(reply->code), U(floor), U(model_revision(model)));
        return;
    }
    if (reply->revision > model_revision(model)) {
        history_violated(self, "exact answers", operation, "of revision %llu, committed is %llu",
                         U(reply->revision), U(model_revision(model)));
        return;
    }
    if (reply->revision < floor)
        history_violated(self, operation->request.stale ? "stale reads" : "real time", operation,
                         "of revision %llu, after %llu was told", U(reply->revision), U(floor));
    reply_t expected;
    model_read(model, &operation->request, reply->revision, reply, &expected);
    const char *differs = reply_differs(&expected, reply);
    if (differs)
        history_violated(self, "exact answers", operation, "%s is wrong at revision %llu", differs,
                         U(reply->revision));
    if (!operation->request.stale && reply->revision > self->told_revision)
        self->told_revision = reply->revision;
}

/* ping and status: the revision alone. */
static void local_judge(history_t *self, const operation_t *operation) {
    const reply_t *reply = &operation->reply;
    if (reply->revision < operation->floor_stale)
        history_violated(self, "stale reads", operation, "of revision %llu, after %llu was told",
                         U(reply->revision), U(operation->floor_stale));
    if (reply->revision > model_revision(replay_model(self->replay)))
        history_violated(self, "exact answers", operation, "of revision %llu, committed is %llu",
                         U(reply->revision), U(model_revision(replay_model(self->replay))));
}

/* What a node has told must not be unsaid while it lives. */
static void stale_note(history_t *self, const operation_t *operation, uint64_t memory) {
    unsigned slot = operation->station.slot;
    if (!(operation->reply.fields & REPLY_REVISION) || operation->station.memory != memory ||
        memory == 0)
        return;
    if (self->stale[slot].memory != memory)
        self->stale[slot].revision = 0;
    self->stale[slot].memory = memory;
    if (operation->reply.revision > self->stale[slot].revision)
        self->stale[slot].revision = operation->reply.revision;
}

void judge_answer(history_t *self, operation_t *operation, uint64_t memory) {
    if (operation->station.memory != memory)
        operation->floor_stale = 0;
    switch (method_kind(operation->request.method)) {
    case METHOD_KIND_WRITE:
        write_judge(self, operation);
        break;
    case METHOD_KIND_READ:
        if (refused_by_node(operation->reply.code))
            break;
        if (operation->request.method == METHOD_WATCH ||
            operation->request.method == METHOD_WATCH_TREE)
            break; /* watching.h judges what it tells */
        if (operation->request.method == METHOD_LEASE_GET)
            lease_judge(self, operation);
        else
            read_judge(self, operation);
        break;
    case METHOD_KIND_LOCAL:
        local_judge(self, operation);
        break;
    case METHOD_KIND_WATCH:
    case METHOD_KIND_LOCK:
    case METHOD_KIND_ADMIN:
        break; /* who is a member is not the store's business */
    }
    stale_note(self, operation, memory);
}
