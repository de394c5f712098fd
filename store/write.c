/* write.c: the methods that write keys, and how what they came to is told.
 *
 * Invariants
 *  1. A method checks first and changes then; a refusal changes nothing.
 *  2. All that a command changes has the revision change_revision (user.c).
 */
#include "store/state_internal.h"

#include "broker/error.h"

int write_guard(state_t *self, const request_t *request, rpc_code_t *code) {
    user_t user;
    if (!request->has_fence)
        return 0;
    int rc = user_load(self, request->fence_key, &user);
    if (rc == 0 &&
        (!user.exists || !user.record.locked || user.record.lease != request->fence_token))
        *code = RPC_LOCK_LOST;
    return rc;
}

/* What a held lock's key demands of those who write it. The lock's token is its lease's number,
 * which no other lock has or had: so a fence that holds and has it is this lock's. */
static rpc_code_t lock_check(const state_t *self, const request_t *request, const user_t *user) {
    uint64_t lease = user->record.lease;
    bool fenced =
        (request->has_fence && request->fence_token == lease) || self->fence_token == lease;
    if (!fenced)
        return RPC_CANNOT_LOCK;
    if (request->ttl_ms || (request->lease && request->lease != lease))
        return RPC_INVALID_ARGUMENT;
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

/* Can the key be put on the request's lease? */
static int lease_check(state_t *self, const request_t *request, const user_t *user,
                       rpc_code_t *code) {
    lease_use_t use;
    int rc = lease_load(self, request->lease, &use);
    if (rc == DRAX_ENOTFOUND)
        *code = RPC_LEASE_NOT_FOUND;
    else if (rc == 0 && use.lease.keys >= LIMIT_LEASE_KEYS &&
             !(user->exists && user->record.lease == request->lease))
        *code = RPC_TOO_LARGE;
    return rc == DRAX_ENOTFOUND ? 0 : rc;
}

/* All that stands against the write. */
static int key_guard(state_t *self, const request_t *request, const user_t *user,
                     rpc_code_t *code) {
    if (user->exists && user->record.locked)
        *code = lock_check(self, request, user);
    if (*code)
        return 0;
    int rc = request->lease ? lease_check(self, request, user, code) : 0;
    if (rc == 0 && *code == RPC_OK)
        *code = key_check(request, user);
    return rc;
}

/* The lease of a lock whose key its holder deleted. */
static int lock_let_go(state_t *self, uint64_t lease) {
    lease_use_t use;
    int rc = lease_load(self, lease, &use);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    return lease_end(self, &use, HISTORY_DELETE);
}

static int key_put(state_t *self, const request_t *request, user_t *user) {
    life_t life = {.due_ms = request->ttl_ms ? self->meta.time_ms + request->ttl_ms : 0,
                   .lease = request->lease};
    if (user->exists && user->record.locked)
        life = (life_t){.lease = user->record.lease, .locked = true};
    return user_put(self, user, request->value, life);
}

static int key_write(state_t *self, const request_t *request, outcome_t *out) {
    user_t user;
    int rc = user_head_load(self, request->key, &user);
    if (rc)
        return rc;
    rc = key_guard(self, request, &user, &out->code);
    if (rc || out->code)
        return rc;
    if (request->method == METHOD_PUT || request->method == METHOD_ATOMIC_PUT) {
        rc = key_put(self, request, &user);
        out->index = self->change_revision;
    } else {
        uint64_t lock = user.record.locked ? user.record.lease : 0;
        rc = user_delete(self, &user, HISTORY_DELETE);
        if (rc == 0 && lock)
            rc = lock_let_go(self, lock);
    }
    out->revision = self->change_revision;
    return rc;
}

/* Deletes the tree, and lets go of the locks that went with it. */
static int tree_apply(state_t *self, tree_t *tree) {
    int rc = user_delete_tree(self, tree);
    for (int i = 0; rc == 0 && i < 2; i++)
        if (tree->unlocked[i])
            rc = lock_let_go(self, tree->tokens[i]);
    return rc;
}

static int tree_delete(state_t *self, const request_t *request, outcome_t *out) {
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    tree_t tree = {.prefix = rpc_directory_prefix(request->key, scratch)};
    tree.tokens[0] = request->has_fence ? request->fence_token : 0;
    tree.tokens[1] = self->fence_token == tree.tokens[0] ? 0 : self->fence_token;
    /* A held lock may be found on the way; a transaction takes everything back itself. */
    bool guarded = self->meta.locks > 0 && !self->changing;
    savepoint_t before = {0};
    if (guarded)
        before = changes_begin(self);
    int rc = tree_apply(self, &tree);
    if (rc == DRAX_EINUSE) {
        out->code = RPC_CANNOT_LOCK;
        if (guarded)
            changes_undo(self, &before);
        return 0;
    }
    if (rc)
        return rc;
    if (guarded)
        changes_keep(self);
    out->code = tree.deleted ? RPC_OK : RPC_KEY_NOT_FOUND;
    out->number = tree.deleted;
    out->revision = self->meta.revision;
    return 0;
}

int write_apply(state_t *self, const request_t *request, outcome_t *out) {
    int rc = write_guard(self, request, &out->code);
    if (rc || out->code)
        return rc;
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
    case RPC_CANNOT_LOCK:
        return "the lock is held";
    case RPC_INVALID_ARGUMENT:
        return "the key of a held lock lives as long as the lock";
    case RPC_LOCK_LOST:
        return "the lock is not held under this token";
    case RPC_LEASE_NOT_FOUND:
        return "there is no such lease";
    case RPC_TOO_LARGE:
        return "there are too many keys on this lease";
    default:
        return "refused";
    }
}

static void field_write(buffer_t *out, const char *name, uint64_t value) {
    pack_str(out, name);
    pack_uint(out, value);
}

void outcome_write(const outcome_t *self, const request_t *request, buffer_t *out) {
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
    case METHOD_LEASE_GRANT:
    case METHOD_LEASE_KEEPALIVE:
        pack_map(out, 2);
        field_write(out, "lease", self->index);
        field_write(out, "ttl_ms", self->number);
        return;
    case METHOD_LOCK:
        pack_map(out, 3);
        field_write(out, "token", self->index);
        field_write(out, "lease", self->index);
        break;
    case METHOD_DELETE_TREE:
        pack_map(out, 2);
        field_write(out, "deleted", self->number);
        break;
    default:
        pack_map(out, 1);
    }
    field_write(out, "revision", self->revision);
}
