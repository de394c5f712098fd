/* lease.c: leases: time that is granted, renewed and revoked, and the keys that live by it.
 *
 * A lease's number is one more than the last one's, so it is the same on every node. Granting and
 * renewing change no key and so no revision; when a lease ends, all its keys go at one revision.
 *
 * Invariants
 *  1. lease.keys is the number of records under the lease (kind x), at most LIMIT_LEASE_KEYS.
 *  2. A lease's due record moves with due_ms.
 */
#include "store/state_internal.h"

#include "broker/error.h"

#define END_BATCH                                                                                  \
    1024u /* keys gathered before they are deleted: no change while a walk is open                 \
           */

/* ---- records ---- */

int lease_load(state_t *self, uint64_t id, lease_use_t *out) {
    record_key_t key;
    out->id = id;
    record_key_lease(&key, id);
    int rc = state_lookup(self, record_key(&key), &out->at);
    return rc == 0 ? lease_parse(out->at.value, &out->lease) : rc;
}

/* `was` (NULL: none) becomes `is` (NULL: none), with all that follows. */
static int lease_save(state_t *self, const lease_use_t *use, const lease_t *was,
                      const lease_t *is) {
    uint8_t old[LEASE_BYTES], new[LEASE_BYTES];
    slice_t old_bytes = {old, was ? sizeof old : 0}, new_bytes = {new, is ? sizeof new : 0};
    record_key_t key, due;
    record_key_lease(&key, use->id);
    if (was)
        lease_write(was, old);
    if (is)
        lease_write(is, new);
    state_digest_swap(self, record_key(&key), old_bytes, new_bytes);
    int rc = is ? state_pair_put(self, &use->at, record_key(&key), new_bytes)
                : state_pair_delete(self, &use->at, record_key(&key));
    if (rc || (was && is && was->due_ms == is->due_ms))
        return rc;
    if (was) {
        record_key_lease_due(&due, was->due_ms, use->id);
        rc = expiry_remove(self, DUE_LEASE, was->due_ms, &due);
    }
    if (rc == 0 && is) {
        record_key_lease_due(&due, is->due_ms, use->id);
        rc = expiry_add(self, DUE_LEASE, is->due_ms, &due);
    }
    return rc;
}

/* ---- keys ---- */

/* One key more or less. */
static int keys_change(state_t *self, uint64_t id, bool more) {
    lease_use_t use;
    int rc = lease_load(self, id, &use);
    if (rc || (!more && use.lease.keys == 0))
        return rc == DRAX_ENOTFOUND || rc == 0 ? DRAX_ECORRUPT : rc;
    lease_t changed = use.lease;
    changed.keys = more ? changed.keys + 1 : changed.keys - 1;
    return lease_save(self, &use, &use.lease, &changed);
}

int lease_move(state_t *self, slice_t user_key, uint64_t from, uint64_t to) {
    record_key_t under;
    int rc = 0;
    if (from) {
        record_key_lease_key(&under, from, user_key);
        rc = state_pair_clear(self, record_key(&under));
        if (rc == 0)
            rc = keys_change(self, from, false);
    }
    if (rc == 0 && to) {
        record_key_lease_key(&under, to, user_key);
        rc = state_pair_set(self, record_key(&under), (slice_t){NULL, 0});
        if (rc == 0)
            rc = keys_change(self, to, true);
    }
    return rc;
}

/* Gathers up to END_BATCH keys of the lease from the record `from` on into self->pairs, each as its
 * size and its bytes; `from` then is the last of them. */
static int keys_gather(state_t *self, uint64_t id, record_key_t *from, size_t *count) {
    merge_t walk;
    *count = 0;
    buffer_reset(&self->pairs);
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    for (rc = merge_seek(&walk, record_key(from)); rc == 0 && walk.valid && *count < END_BATCH;
         rc = merge_next(&walk)) {
        uint64_t owner;
        slice_t key;
        if (record_key_lease_key_parse(walk.key, &owner, &key) || owner != id)
            break;
        uint8_t size[4];
        be32_write(size, (uint32_t) key.size);
        buffer_append(&self->pairs, size, sizeof size);
        buffer_append(&self->pairs, key.data, key.size);
        ++*count;
        record_key_lease_key(from, id, key);
    }
    merge_close(&walk);
    return rc == 0 && self->pairs.failed ? DRAX_ENOMEM : rc;
}

static int keys_delete(state_t *self, uint64_t id, history_type_t type) {
    record_key_t from;
    size_t count;
    record_key_lease_key(&from, id, (slice_t){NULL, 0});
    do {
        int rc = keys_gather(self, id, &from, &count);
        const uint8_t *at = self->pairs.data;
        for (size_t i = 0; rc == 0 && i < count; i++) {
            slice_t key = {at + 4, be32_read(at)};
            user_t user;
            rc = user_load(self, key, &user);
            if (rc == 0 && (!user.exists || user.record.lease != id))
                rc = DRAX_ECORRUPT;
            if (rc == 0)
                rc = user_delete(self, &user, type);
            at += 4 + key.size;
        }
        if (rc)
            return rc;
    } while (count == END_BATCH);
    return 0;
}

int lease_end(state_t *self, const lease_use_t *use, history_type_t type) {
    lease_use_t last;
    int rc = use->lease.lock ? lock_end(self, use->id, type) : 0;
    if (rc == 0)
        rc = keys_delete(self, use->id, type);
    if (rc == 0)
        rc = lease_load(self, use->id, &last); /* without its keys now */
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    self->meta.leases--;
    return lease_save(self, &last, &last.lease, NULL);
}

int lease_make(state_t *self, uint64_t ttl_ms, bool lock, uint64_t *id) {
    record_key_t key;
    lease_use_t use = {.id = self->meta.granted + 1};
    lease_t lease = {.ttl_ms = ttl_ms, .due_ms = self->meta.time_ms + ttl_ms, .lock = lock};
    record_key_lease(&key, use.id);
    use.at.node = overlay_find(self->overlay, record_key(&key));
    self->meta.granted++;
    self->meta.leases++;
    *id = use.id;
    return lease_save(self, &use, NULL, &lease);
}

/* ---- methods ---- */

static int lease_renew(state_t *self, const lease_use_t *use, outcome_t *out) {
    lease_t lease = use->lease;
    lease.due_ms = self->meta.time_ms + lease.ttl_ms;
    lease.renewals++;
    out->index = use->id;
    out->number = lease.ttl_ms;
    return lease_save(self, use, &use->lease, &lease);
}

int lease_apply(state_t *self, const request_t *request, outcome_t *out) {
    lease_use_t use;
    int rc = write_guard(self, request, &out->code);
    if (rc || out->code)
        return rc;
    if (request->method == METHOD_LEASE_GRANT) {
        out->number = request->ttl_ms;
        return lease_make(self, request->ttl_ms, false, &out->index);
    }
    rc = lease_load(self, request->lease, &use);
    if (rc == DRAX_ENOTFOUND) {
        out->code = RPC_LEASE_NOT_FOUND;
        return 0;
    }
    if (rc)
        return rc;
    if (request->method == METHOD_LEASE_KEEPALIVE)
        return lease_renew(self, &use, out);
    rc = lease_end(self, &use, HISTORY_DELETE);
    out->revision = self->meta.revision;
    return rc;
}
