/* expiry.c: which keys and leases are due, and the command that ends them.
 *
 * The leader's storage asks for what is due and proposes it; the command takes effect when it is
 * applied, and then only for keys that nobody wrote in between and leases that nobody renewed: a
 * key is named with its revision, a lease with how often it was renewed.
 *
 * Invariant: while dues[kind].known, first_ms is the time of the first due record of that kind, 0
 * when there is none. While it is not known, no record is before first_ms: a search begins there,
 * and does not go over those that were removed long ago.
 */
#include "store/state_internal.h"

#include "broker/block.h"
#include "broker/error.h"

int expiry_add(state_t *self, due_kind_t kind, uint64_t due_ms, const record_key_t *key) {
    due_t *due = &self->dues[kind];
    if (due_ms < due->first_ms || (due->known && due->first_ms == 0))
        due->first_ms = due_ms;
    return state_pair_set(self, record_key(key), (slice_t){NULL, 0});
}

int expiry_remove(state_t *self, due_kind_t kind, uint64_t due_ms, const record_key_t *key) {
    due_t *due = &self->dues[kind];
    if (due_ms == due->first_ms)
        due->known = false;
    return state_pair_clear(self, record_key(key));
}

/* Stands the walk at the first due record of a kind; `valid` is false when there is nothing. */
static int due_seek(const state_t *self, merge_t *walk, due_kind_t kind) {
    uint8_t from[9] = {kind == DUE_KEY ? PREFIX_DUE : PREFIX_LEASE_DUE};
    be64_write(from + 1, self->dues[kind].first_ms);
    return merge_seek(walk, (slice_t){from, sizeof from});
}

/* The due record the walk stands at: its key, or its lease; `*due_ms` 0 when it is past them. */
static int due_read(const merge_t *walk, due_kind_t kind, uint64_t *due_ms, expire_item_t *out) {
    *due_ms = 0;
    *out = (expire_item_t){0};
    if (!walk->valid)
        return 0;
    if (kind == DUE_KEY && walk->key.data[0] == PREFIX_DUE)
        return record_key_due_parse(walk->key, due_ms, &out->key);
    if (kind == DUE_LEASE && walk->key.data[0] == PREFIX_LEASE_DUE)
        return record_key_lease_due_parse(walk->key, due_ms, &out->lease);
    return 0;
}

static int due_find(state_t *self, due_kind_t kind) {
    merge_t walk;
    expire_item_t item;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = due_seek(self, &walk, kind);
    if (rc == 0)
        rc = due_read(&walk, kind, &self->dues[kind].first_ms, &item);
    merge_close(&walk);
    self->dues[kind].known = rc == 0;
    return rc;
}

int state_next_expiry(state_t *self, uint64_t *due_ms) {
    *due_ms = 0;
    for (due_kind_t kind = 0; kind < DUE_KINDS; kind++) {
        int rc = self->dues[kind].known ? 0 : due_find(self, kind);
        if (rc)
            return rc;
        uint64_t first_ms = self->dues[kind].first_ms;
        if (first_ms && (*due_ms == 0 || first_ms < *due_ms))
            *due_ms = first_ms;
    }
    return 0;
}

/* ---- the block ---- */

/* Gathers up to `max` due records of a kind into self->pairs, each as size and bytes of its key, or
 * of its lease's number. */
static int due_gather(state_t *self, due_kind_t kind, uint64_t time_ms, size_t max, size_t *count) {
    merge_t walk;
    *count = 0;
    buffer_reset(&self->pairs);
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    for (rc = due_seek(self, &walk, kind); rc == 0 && *count < max; rc = merge_next(&walk)) {
        uint64_t due_ms;
        expire_item_t item;
        rc = due_read(&walk, kind, &due_ms, &item);
        if (rc || due_ms == 0 || due_ms > time_ms)
            break;
        uint8_t size[4], number[8];
        be64_write(number, item.lease);
        slice_t bytes = kind == DUE_KEY ? item.key : (slice_t){number, sizeof number};
        be32_write(size, (uint32_t) bytes.size);
        buffer_append(&self->pairs, size, sizeof size);
        buffer_append(&self->pairs, bytes.data, bytes.size);
        ++*count;
    }
    merge_close(&walk);
    return rc == 0 && self->pairs.failed ? DRAX_ENOMEM : rc;
}

/* Adds one gathered record to the command's items; `*cost` grows by the keys it will delete. */
static int item_add(state_t *self, due_kind_t kind, slice_t bytes, size_t *cost) {
    int rc;
    if (kind == DUE_KEY) {
        user_t user;
        rc = user_load(self, bytes, &user);
        if (rc == 0 && !user.exists)
            rc = DRAX_ECORRUPT; /* a due record without its key */
        if (rc == 0)
            expire_add(&self->operation, bytes, user.record.index);
        *cost += 1;
        return rc;
    }
    lease_use_t use;
    rc = lease_load(self, be64_read(bytes.data), &use);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    expire_add_lease(&self->operation, use.id, use.lease.renewals);
    *cost += 1 + (size_t) use.lease.keys;
    return 0;
}

/* Adds what is due of a kind until the command costs `bound`; always at least one. */
static int items_add(state_t *self, due_kind_t kind, uint64_t time_ms, size_t bound, size_t *cost,
                     size_t *count) {
    size_t gathered = 0;
    int rc = due_gather(self, kind, time_ms, bound - *cost, &gathered);
    const uint8_t *at = self->pairs.data;
    for (size_t i = 0; rc == 0 && i < gathered && *cost < bound; i++) {
        slice_t bytes = {at + 4, be32_read(at)};
        rc = item_add(self, kind, bytes, cost);
        at += 4 + bytes.size;
        ++*count;
    }
    return rc;
}

/* A block of storage itself with one command. */
static int block_wrap(buffer_t *out, const buffer_t *command) {
    block_begin(out, 0, 0, 0, 0, 1);
    block_add(out, (slice_t){command->data, command->size});
    return out->failed || command->failed ? DRAX_ENOMEM : 0;
}

int state_expire_block(state_t *self, uint64_t time_ms, buffer_t *out, size_t *count) {
    size_t cost = 0;
    *count = 0;
    buffer_reset(&self->operation);
    /* Half of it for leases at first, so that neither kind keeps the other waiting. */
    int rc = items_add(self, DUE_LEASE, time_ms, EXPIRY_BATCH / 2, &cost, count);
    if (rc == 0 && cost < EXPIRY_BATCH)
        rc = items_add(self, DUE_KEY, time_ms, EXPIRY_BATCH, &cost, count);
    if (rc)
        return rc;
    buffer_reset(&self->outcome);
    expire_begin(&self->outcome, *count);
    buffer_append(&self->outcome, self->operation.data, self->operation.size);
    self->outcome.failed = self->outcome.failed || self->operation.failed;
    return block_wrap(out, &self->outcome);
}

int state_clock_block(state_t *self, buffer_t *out) {
    buffer_reset(&self->outcome);
    expire_begin(&self->outcome, 0);
    return block_wrap(out, &self->outcome);
}

/* ---- the command ---- */

static int key_expire(state_t *self, const expire_item_t *item) {
    user_t user;
    int rc = user_load(self, item->key, &user);
    if (rc)
        return rc;
    if (!user.exists || user.record.index != item->mark || !user.record.due_ms ||
        user.record.due_ms > self->meta.time_ms)
        return 0;
    return user_delete(self, &user, HISTORY_EXPIRE);
}

static int lease_expire(state_t *self, const expire_item_t *item) {
    lease_use_t use;
    int rc = lease_load(self, item->lease, &use);
    if (rc)
        return rc == DRAX_ENOTFOUND ? 0 : rc;
    if (use.lease.renewals != item->mark || use.lease.due_ms > self->meta.time_ms)
        return 0;
    return lease_end(self, &use, HISTORY_EXPIRE);
}

int expiry_apply(state_t *self, expire_t *command, outcome_t *out) {
    expire_item_t item;
    while (expire_next(command, &item) == 1) {
        int rc = item.lease ? lease_expire(self, &item) : key_expire(self, &item);
        if (rc)
            return rc;
    }
    out->revision = self->meta.revision;
    return 0;
}
