/* lock.c: locks: keys that a lease of their own holds.
 *
 * A lock's record names its key by its lease; the key's record says that it is locked, and by which
 * lease. The lease's number is the token: it grows with every grant. A write needs to look at the
 * key's record alone to know whether it may be written.
 *
 *   free -- lock --> held -- unlock, expiry, the holder deletes the key --> free, or held by the
 * next
 *
 * Invariants
 *  1. Requests wait for a key only while it is locked.
 *  2. A lock's record, its lease and its key's `locked` come and go together.
 */
#include "store/state_internal.h"

#include "broker/error.h"

static int lock_take(state_t *self, slice_t key, const grant_t *grant, uint64_t *token);

int lock_apply(state_t *self, const request_t *request, outcome_t *out) {
    user_t user;
    int rc = write_guard(self, request, &out->code);
    if (rc || out->code)
        return rc;
    rc = user_load(self, request->key, &user);
    if (rc)
        return rc;
    if (user.exists && user.record.locked) {
        out->code = request->has_wait && request->wait_ms == 0 ? RPC_CANNOT_LOCK : RPC_OK;
        return out->code ? 0 : waiter_add(self, request, out);
    }
    grant_t grant = {.ttl_ms = request->ttl_ms,
                     .taken = user.exists,
                     .has_value = request->has_value,
                     .value = request->value};
    rc = lock_take(self, request->key, &grant, &out->index);
    out->revision = self->meta.revision;
    return rc;
}

/* ---- holding ---- */

/* Copies what the key holds, so that it can be written again. */
static int value_keep(state_t *self, const user_t *user, slice_t *out) {
    buffer_reset(&self->kept);
    if (user->exists)
        buffer_append(&self->kept, user->record.value.data, user->record.value.size);
    *out = (slice_t){self->kept.data, self->kept.size};
    return self->kept.failed ? DRAX_ENOMEM : 0;
}

/* The key, which nobody holds, is locked under a new lease, `*token`. */
static int lock_take(state_t *self, slice_t key, const grant_t *grant, uint64_t *token) {
    user_t user;
    record_key_t name;
    slice_t value = grant->value;
    int rc = lease_make(self, grant->ttl_ms, true, token);
    if (rc == 0)
        rc = user_load(self, key, &user);
    if (rc == 0 && grant->taken && !grant->has_value)
        rc = value_keep(self, &user, &value);
    if (rc)
        return rc;
    lock_t lock = {.waiter = grant->waiter, .taken = grant->taken, .key = key};
    buffer_reset(&self->record);
    lock_write(&lock, &self->record);
    record_key_lock(&name, *token);
    rc = state_record_put(self, &name, &self->record);
    if (rc)
        return rc;
    self->meta.locks++;
    return user_put(self, &user, value, (life_t){.lease = *token, .locked = true});
}

static int hand_on(state_t *self, slice_t key, bool taken, uint64_t next) {
    waiter_t waiter;
    int rc = waiter_load(self, next, &waiter);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    outcome_t outcome = {.code = RPC_OK};
    grant_t grant = {.ttl_ms = waiter.ttl_ms,
                     .taken = taken,
                     .waiter = next,
                     .has_value = waiter.has_value,
                     .value = waiter.value};
    rc = lock_take(self, key, &grant, &outcome.index);
    outcome.revision = self->meta.revision;
    return rc ? rc : waiter_settle(self, next, &waiter, &outcome);
}

/* ---- letting go ---- */

/* Takes the lock's record away; `key` gets the bytes of its key. */
static int lock_remove(state_t *self, uint64_t lease, uint8_t *key, lock_t *out) {
    record_key_t name;
    found_t at;
    record_key_lock(&name, lease);
    int rc = state_lookup(self, record_key(&name), &at);
    if (rc == 0)
        rc = lock_parse(at.value, out);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    memcpy(key, out->key.data, out->key.size);
    out->key.data = key;
    self->meta.locks--;
    state_digest_swap(self, record_key(&name), at.value, (slice_t){NULL, 0});
    return state_pair_delete(self, &at, record_key(&name));
}

int lock_end(state_t *self, uint64_t lease, history_type_t type) {
    uint8_t key[LIMIT_KEY_BYTES];
    lock_t lock;
    user_t user;
    uint64_t next = 0;
    slice_t value;
    int rc = lock_remove(self, lease, key, &lock);
    if (rc == 0 && lock.waiter)
        rc = waiter_forget(self, lock.waiter);
    if (rc == 0)
        rc = user_load(self, lock.key, &user);
    if (rc == 0)
        rc = waiter_first(self, lock.key, &next);
    if (rc)
        return rc;
    if (next)
        return hand_on(self, lock.key, lock.taken && user.exists, next);
    if (!user.exists)
        return 0; /* its holder deleted it */
    if (!lock.taken)
        return user_delete(self, &user, type);
    rc = value_keep(self, &user, &value);
    return rc ? rc : user_put(self, &user, value, (life_t){0});
}

int unlock_apply(state_t *self, const request_t *request, outcome_t *out) {
    user_t user;
    lease_use_t use;
    int rc = write_guard(self, request, &out->code);
    if (rc == 0 && out->code == RPC_OK)
        rc = user_load(self, request->key, &user);
    if (rc || out->code)
        return rc;
    if (!user.exists || !user.record.locked || user.record.lease != request->token) {
        out->code = RPC_LOCK_LOST;
        return 0;
    }
    rc = lease_load(self, request->token, &use);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    rc = lease_end(self, &use, HISTORY_DELETE);
    out->revision = self->meta.revision;
    return rc;
}
