/* apply.c: what an entry does to the state.
 *
 * Owns the rules of the write methods and of blocks. Everything here depends on the entries alone:
 * no clock, no randomness, no setting.
 *
 * Invariants
 *  1. A command checks first and changes then; a refusal changes nothing.
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
static int command_apply(state_t *self, slice_t command, bool internal, buffer_t *out);
static int request_apply(state_t *self, const request_t *request, outcome_t *out);
static void outcome_write(const outcome_t *self, const request_t *request, buffer_t *out);

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
    return 0;
}

/* Does the block count? Then its origin is brought up to it. `out` gets origin, skipped, last_seq.
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
    out->skipped = !block->node || !block->boot || block->boot < was.boot || block->prev > last ||
                   block->seq <= last;
    if (out->skipped)
        return 0;
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
        rc = block_admit(self, &block, out);
        if (rc || out->skipped)
            return rc;
        buffer_recycle(&self->outcome);
        buffer_recycle(&self->results);
        buffer_recycle(&self->pairs);
        buffer_recycle(&self->scratch);
        rc = block_apply(self, &block);
        out->results = &self->results;
        return rc;
    }
    return 0; /* an unknown kind: as the others, it moves the applied index */
}

static int block_apply(state_t *self, block_t *block) {
    slice_t command;
    int rc;
    batch_begin(&self->results, block->count);
    while ((rc = block_next(block, &command)) == 1) {
        buffer_reset(&self->outcome);
        rc = command_apply(self, command, block->node == 0, &self->outcome);
        if (rc == 0 && self->outcome.failed)
            rc = DRAX_ENOMEM;
        if (rc)
            return rc;
        batch_add(&self->results, 0, (slice_t){self->outcome.data, self->outcome.size});
    }
    return rc == 0 && self->results.failed ? DRAX_ENOMEM : rc;
}

/* `internal`: the block is one of storage itself. */
static int command_apply(state_t *self, slice_t command, bool internal, buffer_t *out) {
    outcome_t outcome = {.code = RPC_OK};
    request_t request = {.method = METHOD_EXPIRE};
    rpc_error_t error;
    expire_t expire;
    int rc;
    if (internal && expire_open(&expire, command) == 0) {
        rc = expiry_apply(self, &expire, &outcome);
        if (rc == 0)
            outcome_write(&outcome, &request, out);
        return rc;
    }
    rc = request_decode(command, &request, &error);
    if (rc == DRAX_EPROTO) {
        rpc_failure(out, error.code, error.text);
        return 0;
    }
    if (rc && rc != DRAX_EAGAIN)
        return rc;
    if (rc == DRAX_EAGAIN || method_kind(request.method) != METHOD_KIND_WRITE) {
        rpc_failure(out, RPC_INVALID_ARGUMENT, "not a command");
        return 0;
    }
    session_use_t use;
    rc = request.client.size ? session_begin(self, &request, &use, &outcome) : 0;
    if (rc == 0) {
        rc = request_apply(self, &request, &outcome);
        if (rc == 0 && request.client.size)
            rc = session_end(self, &use, &outcome);
    }
    if (rc >= 0)
        outcome_write(&outcome, &request, out);
    return rc < 0 ? rc : 0;
}

/* ---- the methods ---- */

/* What holds for every write: its lease must exist, its lock must be held. */
static rpc_code_t guards_check(const request_t *request) {
    if (request->has_fence)
        return RPC_LOCK_LOST;
    if (request->lease)
        return RPC_LEASE_NOT_FOUND;
    return RPC_OK;
}

/* What the method demands of the key as it is; the contract's section "Keys and reads". */
static rpc_code_t key_check(const request_t *request, const user_t *user) {
    switch (request->method) {
    case METHOD_DELETE:
        return user->exists ? RPC_OK : RPC_KEY_NOT_FOUND;
    case METHOD_ATOMIC_PUT:
        if (!request->has_previous)
            return user->exists ? RPC_KEY_EXISTS : RPC_OK;
        return user->exists && user->record.index == request->previous ? RPC_OK : RPC_KEY_MODIFIED;
    case METHOD_ATOMIC_DELETE:
        if (!request->has_previous)
            return RPC_PREVIOUS_NOT_SPECIFIED;
        if (!user->exists)
            return RPC_KEY_NOT_FOUND;
        return user->record.index == request->previous ? RPC_OK : RPC_KEY_MODIFIED;
    default:
        return RPC_OK;
    }
}

static int key_write(state_t *self, const request_t *request, outcome_t *out) {
    user_t user;
    int rc = user_load(self, request->key, &user);
    if (rc)
        return rc;
    out->code = key_check(request, &user);
    if (out->code)
        return 0;
    uint64_t revision = self->meta.revision + 1;
    if (request->method == METHOD_PUT || request->method == METHOD_ATOMIC_PUT) {
        uint64_t due_ms = request->ttl_ms ? self->meta.time_ms + request->ttl_ms : 0;
        rc = user_put(self, &user, request->value, due_ms, revision);
        out->index = revision;
    } else {
        rc = user_delete(self, &user);
    }
    self->meta.revision = revision;
    out->revision = revision;
    return rc;
}

static int tree_delete(state_t *self, const request_t *request, outcome_t *out) {
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    slice_t prefix = rpc_directory_prefix(request->key, scratch);
    int rc = user_delete_tree(self, prefix, &out->deleted);
    if (rc)
        return rc;
    if (!out->deleted) {
        out->code = RPC_KEY_NOT_FOUND;
        return 0;
    }
    out->revision = ++self->meta.revision;
    return 0;
}

static int request_apply(state_t *self, const request_t *request, outcome_t *out) {
    out->code = guards_check(request);
    if (out->code)
        return 0;
    if (request->method == METHOD_DELETE_TREE)
        return tree_delete(self, request, out);
    return key_write(self, request, out);
}

/* ---- outcomes ---- */

/* The one sentence of each refusal: an answer given again must be the first one to the byte. */
static const char *refusal_text(rpc_code_t code) {
    switch (code) {
    case RPC_KEY_NOT_FOUND:
        return "there is no such key";
    case RPC_KEY_EXISTS:
        return "the key exists already";
    case RPC_KEY_MODIFIED:
        return "the key's index is another one";
    case RPC_PREVIOUS_NOT_SPECIFIED:
        return "atomic_delete needs the index of the key";
    case RPC_LOCK_LOST:
        return "the lock is not held under this token";
    case RPC_LEASE_NOT_FOUND:
        return "there is no such lease";
    default:
        return "refused";
    }
}

static void field_write(buffer_t *out, const char *name, uint64_t value) {
    pack_str(out, name);
    pack_uint(out, value);
}

static void outcome_write(const outcome_t *self, const request_t *request, buffer_t *out) {
    if (self->code) {
        rpc_failure(out, self->code, self->text ? self->text : refusal_text(self->code));
        return;
    }
    rpc_success(out);
    switch (request->method) {
    case METHOD_ATOMIC_PUT:
        pack_map(out, 4);
        pack_str(out, "key");
        pack_key(out, request->key.data, request->key.size);
        pack_str(out, "value");
        pack_bin(out, request->value.data, request->value.size);
        field_write(out, "index", self->index);
        break;
    case METHOD_PUT:
        pack_map(out, 2);
        field_write(out, "index", self->index);
        break;
    case METHOD_DELETE_TREE:
    case METHOD_EXPIRE:
        pack_map(out, 2);
        field_write(out, "deleted", self->deleted);
        break;
    default:
        pack_map(out, 1);
    }
    field_write(out, "revision", self->revision);
}
