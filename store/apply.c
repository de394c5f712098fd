/* apply.c: what an entry does to the state.
 *
 * Owns the rules of entries, blocks and commands; what a method does is in write.c and its
 * neighbours. Everything here depends on the entries alone: no clock, no randomness, no setting.
 *
 * Invariants
 *  1. A refusal changes nothing but the session that keeps it.
 *  2. The revision grows by one with each command that changed a key, and by nothing else.
 *  3. A block that does not count changes nothing but the applied index and the time.
 */
#include "store/state_internal.h"

#include <assert.h>

#include "broker/block.h"
#include "broker/error.h"

#define BUFFER_KEEP_BYTES (2u << 20) /* larger buffers are not kept for the next entry */

static int entry_apply(state_t *self, const entry_t *entry, state_applied_t *out);
static int block_apply(state_t *self, block_t *block);
static int command_apply(state_t *self, slice_t command, bool internal, uint64_t *waits);
static int request_serve(state_t *self, const request_t *request, outcome_t *out);

int state_apply(state_t *self, const entry_t *entry, state_applied_t *out) {
    *out = (state_applied_t){0};
    if (self->failed)
        return self->failed;
    if (entry->index != self->meta.applied + 1)
        return DRAX_EINVAL;
    meta_mark(&self->meta, entry->index);
    if (entry->time_ms > self->meta.time_ms)
        self->meta.time_ms = entry->time_ms;
    int rc = entry_apply(self, entry, out);
    if (rc == 0)
        rc = session_sweep(self);
    if (rc) {
        self->failed = rc;
        return rc;
    }
    self->meta.applied = entry->index;
    self->meta.term = entry->term;
    state_heads_turn(self);
    return 0;
}

/* Does the block count? Then its origin is brought up to it. `out` gets origin, skipped, last_…
 */
static int block_admit(state_t *self, const block_t *block, state_applied_t *out) {
    out->node = block->node;
    out->boot = block->boot;
    out->seq = block->seq;
    if (!block->node && !block->boot && !block->seq && !block->prev)
        return 0;
    origin_t *origin = state_origin(self, block->node);
    origin_t was = origin ? *origin : (origin_t){.node = block->node};
    uint64_t last = block->boot == was.boot ? was.last : 0;
    out->last_seq = last;
    out->last_boot = block->boot > was.boot ? block->boot : was.boot;
    out->skipped = !block->node || !block->boot || block->boot < was.boot || block->prev > last ||
                   block->seq <= last;
    if (out->skipped)
        return 0;
    if (was.boot && was.boot < block->boot) {
        int rc = waiters_drop(self, block->node);
        if (rc)
            return rc;
    }
    if (!origin)
        origin = state_origin_add(self, &was);
    if (!origin)
        return DRAX_ENOMEM;
    record_key_t key;
    uint8_t bytes[ORIGIN_BYTES];
    record_key_origin(&key, block->node);
    slice_t record = {bytes, sizeof bytes};
    if (was.boot) {
        origin_write(&was, bytes);
        self->meta.digest -= record_hash_plain(record_key(&key), record);
    }
    origin->boot = block->boot;
    origin->last = block->seq;
    out->last_seq = block->seq;
    origin_write(origin, bytes);
    self->meta.digest += record_hash_plain(record_key(&key), record);
    return state_pair_set(self, record_key(&key), record);
}

static void buffer_recycle(buffer_t *self) {
    if (self->capacity > BUFFER_KEEP_BYTES)
        buffer_free(self);
    else
        buffer_reset(self);
}

static int entry_apply(state_t *self, const entry_t *entry, state_applied_t *out) {
    block_t block;
    int rc;
    switch (entry->kind) {
    case ENTRY_NOOP:
        return 0;
    case ENTRY_CONFIG:
        if (entry->config) {
            self->meta.config = *entry->config;
            self->meta.config.index = entry->index;
        }
        return 0;
    case ENTRY_BLOCK:
        if (block_open(&block, payload_slice(entry->payload))) {
            out->skipped = true;
            return 0;
        }
        buffer_recycle(&self->settled);
        self->settled_count = 0;
        rc = block_admit(self, &block, out);
        if (rc || out->skipped)
            return rc;
        buffer_recycle(&self->outcome);
        buffer_recycle(&self->results);
        buffer_recycle(&self->pairs);
        buffer_recycle(&self->scratch);
        buffer_recycle(&self->history.record);
        history_begin(&self->history, entry->index, payload_slice(entry->payload));
        rc = block_apply(self, &block);
        if (rc == 0)
            rc = history_store(self);
        out->changed = self->history.now.first != 0;
        out->results = &self->results;
        out->settled = &self->settled;
        out->settled_count = self->settled_count;
        return rc;
    }
    return 0; /* an unknown kind: as the others, it moves the applied index */
}

static int block_apply(state_t *self, block_t *block) {
    slice_t command;
    int rc;
    self->block_node = block->node;
    batch_begin(&self->results, block->count);
    while ((rc = block_next(block, &command)) == 1) {
        uint64_t waits;
        buffer_reset(&self->outcome);
        rc = command_apply(self, command, block->node == 0, &waits);
        if (rc == 0 && self->outcome.failed)
            rc = DRAX_ENOMEM;
        if (rc)
            return rc;
        batch_add(&self->results, waits, (slice_t){self->outcome.data, self->outcome.size});
    }
    return rc == 0 && self->results.failed ? DRAX_ENOMEM : rc;
}

/* A command of storage itself. DRAX_EAGAIN: it is none. */
static int internal_apply(state_t *self, slice_t command, outcome_t *out) {
    expire_t expire;
    if (expire_open(&expire, command) == 0)
        return expiry_apply(self, &expire, out);
    return DRAX_EAGAIN;
}

/* What no client sends but a gateway does, or nonsense. */
static int other_apply(state_t *self, slice_t command, const rpc_error_t *error, outcome_t *out) {
    wait_list_t waits;
    if (wait_open(&waits, command) == 0)
        return waits_apply(self, &waits, out);
    rpc_failure(&self->outcome, error->code, error->text);
    out->written = true;
    return 0;
}

/* `internal`: the block is one of storage itself. Its outcome goes to self->outcome; a request that
 * waits has none yet, and `*waits` is its number. */
static int command_apply(state_t *self, slice_t command, bool internal, uint64_t *waits) {
    outcome_t outcome = {.code = RPC_OK};
    request_t request = {.method = METHOD_EXPIRE};
    rpc_error_t error = {.code = RPC_INVALID_ARGUMENT, .text = "not a command"};
    self->change_revision = self->meta.revision + 1;
    self->keys_left = UINT64_MAX;
    self->fence_token = 0;
    int rc = internal ? internal_apply(self, command, &outcome) : DRAX_EAGAIN;
    if (rc == DRAX_EAGAIN) {
        rc = request_decode(command, &request, &error);
        if (rc == 0 && method_kind(request.method) == METHOD_KIND_WRITE)
            rc = request_serve(self, &request, &outcome);
        else if (rc == 0 || rc == DRAX_EAGAIN || rc == DRAX_EPROTO)
            rc = other_apply(self, command, &error, &outcome);
    }
    *waits = outcome.waits;
    if (rc == 0 && outcome.waits)
        pack_bool(&self->outcome, request.client.size != 0);
    else if (rc == 0 && !outcome.written)
        outcome_write(&outcome, &request, &self->outcome);
    return rc;
}

static int method_apply(state_t *self, const request_t *request, outcome_t *out) {
    self->fence_token = request->has_fence ? request->fence_token : 0;
    switch (request->method) {
    case METHOD_TXN:
        return txn_apply(self, request, out);
    case METHOD_LEASE_GRANT:
    case METHOD_LEASE_KEEPALIVE:
    case METHOD_LEASE_REVOKE:
        return lease_apply(self, request, out);
    case METHOD_LOCK:
        return lock_apply(self, request, out);
    case METHOD_UNLOCK:
        return unlock_apply(self, request, out);
    default:
        return write_apply(self, request, out);
    }
}

/* Once, when the request says who asks. */
static int request_serve(state_t *self, const request_t *request, outcome_t *out) {
    session_use_t use;
    if (!request->client.size)
        return method_apply(self, request, out);
    int rc = session_begin(self, request, &use, out);
    if (rc)
        return rc < 0 ? rc : 0;
    rc = method_apply(self, request, out);
    if (rc || out->waits || out->code == RPC_UNAVAILABLE) /* not applied, or not yet */
        return rc;
    return session_end(self, &use, out);
}
