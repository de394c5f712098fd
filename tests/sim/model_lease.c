/* model_lease.c: leases: granted, renewed, revoked, expired, and the keys that go with them. */
#include "tests/sim/array.h"
#include "tests/sim/model_internal.h"

static model_lease_t *lease_find(const model_t *self, uint64_t id) {
    bool held = id && id <= self->lease_count && self->leases[id - 1].held;
    return held ? &self->leases[id - 1] : NULL;
}

bool model_lease_held(const model_t *self, uint64_t id) {
    return self->trusting || lease_find(self, id);
}

bool model_lease_granted(const model_t *self, uint64_t id) {
    return id && id <= self->lease_count;
}

uint64_t model_lease_ttl_ms(const model_t *self, uint64_t id) {
    const model_lease_t *lease = lease_find(self, id);
    return lease ? lease->ttl_ms : LIMIT_INTEGER;
}

static void keys_remove(model_t *self, uint64_t id, change_type_t type) {
    for (size_t i = 0; i < self->key_count; i++) {
        const version_t *version = model_now(self->keys[i]);
        if (version && version->lease == id)
            model_key_remove(self, self->keys[i], type);
    }
}

static void lease_told(uint64_t id, const model_lease_t *lease, reply_t *out) {
    out->fields = REPLY_LEASE | REPLY_TTL_MS;
    out->lease = id;
    out->ttl_ms = lease->ttl_ms;
}

uint64_t model_lease_add(model_t *self, uint64_t ttl_ms) {
    self->leases = array_room(self->leases, &self->lease_capacity, self->lease_count + 1,
                              sizeof *self->leases);
    self->leases[self->lease_count++] =
        (model_lease_t){.held = true, .ttl_ms = ttl_ms, .due_ms = self->time_ms + ttl_ms};
    return self->lease_count;
}

void model_lease_end(model_t *self, uint64_t id, change_type_t type) {
    model_lease_t *lease = lease_find(self, id);
    if (lease && lease->lock)
        model_lock_end(self, lease->lock, lease->taken, type);
    keys_remove(self, id, type);
    if (!lease)
        return;                        /* of a trusting model */
    self->leases[id - 1].held = false; /* what waited may have got one: they may have moved */
    self->ended =
        array_room(self->ended, &self->ended_capacity, self->ended_count + 1, sizeof *self->ended);
    self->ended[self->ended_count++] = id;
}

rpc_code_t model_lease_write(model_t *self, const request_t *request, reply_t *out) {
    uint64_t id = request->lease;
    if (request->method == METHOD_LEASE_GRANT)
        id = model_lease_add(self, request->ttl_ms);
    else if (!model_lease_held(self, id))
        return RPC_LEASE_NOT_FOUND;
    if (request->method == METHOD_LEASE_REVOKE) {
        model_lease_end(self, id, CHANGE_DELETE);
        out->fields = REPLY_REVISION;
        out->revision = self->revision + model_changed(self);
        return RPC_OK;
    }
    model_lease_t *lease = lease_find(self, id);
    if (!lease)
        return RPC_LEASE_NOT_FOUND;
    if (request->method == METHOD_LEASE_KEEPALIVE) {
        lease->due_ms = self->time_ms + lease->ttl_ms;
        lease->renewals++;
    }
    lease_told(id, lease, out);
    return RPC_OK;
}

void model_lease_expire(model_t *self, uint64_t id, uint64_t renewals) {
    model_lease_t *lease = lease_find(self, id);
    if (lease && lease->renewals == renewals && lease->due_ms <= self->time_ms)
        model_lease_end(self, id, CHANGE_EXPIRE);
}
