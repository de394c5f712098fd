/* write.c: the methods that write keys, and how what they came to is told.
 *
 * Invariants
 *  1. A method checks first and changes then; a refusal changes nothing.
 *  2. All that a command changes has the revision change_revision, and the state's revision is
 *     brought to it with the first change.
 */
#include "store/state_internal.h"

#include "broker/error.h"

rpc_code_t write_guard(const request_t *request) {
    return request->has_fence ? RPC_LOCK_LOST : RPC_OK;
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

static int key_write(state_t *self, const request_t *request, outcome_t *out) {
    user_t user;
    int rc = user_load(self, request->key, &user);
    if (rc)
        return rc;
    if (request->lease)
        rc = lease_check(self, request, &user, &out->code);
    if (rc || out->code)
        return rc;
    out->code = key_check(request, &user);
    if (out->code)
        return 0;
    uint64_t revision = self->change_revision;
    if (request->method == METHOD_PUT || request->method == METHOD_ATOMIC_PUT) {
        life_t life = {.due_ms = request->ttl_ms ? self->meta.time_ms + request->ttl_ms : 0,
                       .lease = request->lease};
        rc = user_put(self, &user, request->value, life);
        out->index = revision;
    } else {
        rc = user_delete(self, &user, HISTORY_DELETE);
    }
    self->meta.revision = revision;
    out->revision = revision;
    return rc;
}

static int tree_delete(state_t *self, const request_t *request, outcome_t *out) {
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    slice_t prefix = rpc_directory_prefix(request->key, scratch);
    int rc = user_delete_tree(self, prefix, &out->number);
    if (rc)
        return rc;
    if (!out->number) {
        out->code = RPC_KEY_NOT_FOUND;
        return 0;
    }
    self->meta.revision = self->change_revision;
    out->revision = self->meta.revision;
    return 0;
}

int write_apply(state_t *self, const request_t *request, outcome_t *out) {
    out->code = write_guard(request);
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
    case METHOD_DELETE_TREE:
    case METHOD_EXPIRE:
        pack_map(out, 2);
        field_write(out, "deleted", self->number);
        break;
    default:
        pack_map(out, 1);
    }
    field_write(out, "revision", self->revision);
}
