/* waiter.c: requests that wait for a lock, first come, first served.
 *
 * A waiter has a number that counts up, so the numbers under a key are its queue. Its record stays
 * while it holds the lock: then a gateway that missed the grant can still be told of it. What a
 * waiter came to is told to the gateways of all nodes (`settled`); those that have it answer it.
 *
 * Invariants
 *  1. meta.waiters is the number of records with lease 0; each has its record in the queue (kind n)
 *     and, if its request says who asks, one for the client (kind p).
 *  2. There are at most LIMIT_WAITERS of them.
 */
#include "store/state_internal.h"

#include "broker/block.h"
#include "broker/error.h"

#define WAITING_BYTES 16u

/* ---- records ---- */

int waiter_load(state_t *self, uint64_t number, waiter_t *out) {
    record_key_t key;
    found_t at;
    record_key_waiter(&key, number);
    int rc = state_lookup(self, record_key(&key), &at);
    if (rc)
        return rc;
    buffer_reset(&self->waiter);
    buffer_append(&self->waiter, at.value.data, at.value.size);
    if (self->waiter.failed)
        return DRAX_ENOMEM;
    return waiter_parse((slice_t){self->waiter.data, self->waiter.size}, out);
}

/* What is derived from a waiter, for a store of any kind. */
static void waiting_write(const waiter_t *waiter, uint64_t number, uint8_t out[WAITING_BYTES]) {
    be64_write(out, number);
    be64_write(out + 8, waiter->arguments);
}

static int derived_add(state_t *self, uint64_t number, const waiter_t *waiter) {
    record_key_t key;
    uint8_t waiting[WAITING_BYTES];
    record_key_next(&key, waiter->key, number);
    int rc = state_pair_set(self, record_key(&key), (slice_t){NULL, 0});
    if (rc || !waiter->client.size)
        return rc;
    waiting_write(waiter, number, waiting);
    record_key_waiting(&key, waiter->client, waiter->seq);
    return state_pair_set(self, record_key(&key), (slice_t){waiting, sizeof waiting});
}

static int derived_remove(state_t *self, uint64_t number, const waiter_t *waiter) {
    record_key_t key;
    record_key_next(&key, waiter->key, number);
    int rc = state_pair_clear(self, record_key(&key));
    if (rc || !waiter->client.size)
        return rc;
    record_key_waiting(&key, waiter->client, waiter->seq);
    return state_pair_clear(self, record_key(&key));
}

void waiter_derive(kv_batch_t *batch, uint64_t number, const waiter_t *waiter) {
    record_key_t key;
    uint8_t waiting[WAITING_BYTES];
    record_key_next(&key, waiter->key, number);
    kv_batch_put(batch, record_key(&key), (slice_t){NULL, 0});
    if (!waiter->client.size)
        return;
    waiting_write(waiter, number, waiting);
    record_key_waiting(&key, waiter->client, waiter->seq);
    kv_batch_put(batch, record_key(&key), (slice_t){waiting, sizeof waiting});
}

/* The record that stands in self->waiter becomes `is`; NULL: it goes. */
static int record_change(state_t *self, uint64_t number, const waiter_t *is) {
    record_key_t key;
    record_key_waiter(&key, number);
    slice_t was = {self->waiter.data, self->waiter.size};
    if (is) {
        buffer_reset(&self->record);
        waiter_write(is, &self->record);
        state_digest_swap(self, record_key(&key), was, (slice_t){NULL, 0});
        return state_record_put(self, &key, &self->record);
    }
    state_digest_swap(self, record_key(&key), was, (slice_t){NULL, 0});
    return state_pair_clear(self, record_key(&key));
}

/* ---- the queue ---- */

int waiter_add(state_t *self, const request_t *request, outcome_t *out) {
    if (self->meta.waiters >= LIMIT_WAITERS) {
        *out = (outcome_t){.code = RPC_UNAVAILABLE, .text = "too many requests wait for locks"};
        return 0;
    }
    waiter_t waiter = {.node = self->block_node,
                       .ttl_ms = request->ttl_ms,
                       .arguments = request->client.size ? session_arguments(request) : 0,
                       .seq = request->seq,
                       .has_value = request->has_value,
                       .client = request->client,
                       .key = request->key,
                       .value = request->value};
    record_key_t key;
    record_key_waiter(&key, self->meta.queued + 1);
    buffer_reset(&self->record);
    waiter_write(&waiter, &self->record);
    int rc = state_record_put(self, &key, &self->record);
    if (rc)
        return rc;
    out->waits = ++self->meta.queued;
    self->meta.waiters++;
    return derived_add(self, out->waits, &waiter);
}

int waiter_first(state_t *self, slice_t key, uint64_t *number) {
    record_key_t from;
    merge_t walk;
    *number = 0;
    if (!self->meta.waiters)
        return 0;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    record_key_next(&from, key, 0);
    rc = merge_seek(&walk, record_key(&from));
    slice_t name;
    uint64_t found;
    if (rc == 0 && walk.valid && record_key_next_parse(walk.key, &name, &found) == 0 &&
        kv_key_compare(name, key) == 0)
        *number = found;
    merge_close(&walk);
    return rc;
}

/* Tells the gateways; no outcome: it is not known any more. */
static int settled_add(state_t *self, uint64_t number, const outcome_t *outcome) {
    static const request_t lock = {.method = METHOD_LOCK};
    buffer_reset(&self->told);
    if (outcome)
        outcome_write(outcome, &lock, &self->told);
    batch_add(&self->settled, number, (slice_t){self->told.data, self->told.size});
    self->settled_count++;
    return self->told.failed || self->settled.failed ? DRAX_ENOMEM : 0;
}

int waiter_settle(state_t *self, uint64_t number, const waiter_t *waiter,
                  const outcome_t *outcome) {
    waiter_t granted = *waiter;
    granted.lease = outcome->index;
    granted.revision = outcome->revision;
    granted.has_value = false;
    granted.value.size = 0;
    self->meta.waiters--;
    int rc = derived_remove(self, number, waiter);
    if (rc == 0)
        rc = record_change(self, number, outcome->code ? NULL : &granted);
    if (rc == 0)
        rc = settled_add(self, number, outcome);
    if (rc == 0 && waiter->client.size)
        rc = session_settle(self, waiter, outcome);
    return rc;
}

int waiter_forget(state_t *self, uint64_t number) {
    waiter_t waiter;
    int rc = waiter_load(self, number, &waiter);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    return record_change(self, number, NULL);
}

int waiter_find(state_t *self, slice_t client, uint64_t seq, uint64_t *number,
                uint64_t *arguments) {
    record_key_t key;
    found_t at;
    if (!self->meta.waiters)
        return DRAX_ENOTFOUND;
    record_key_waiting(&key, client, seq);
    int rc = state_lookup(self, record_key(&key), &at);
    if (rc)
        return rc;
    if (at.value.size != WAITING_BYTES)
        return DRAX_ECORRUPT;
    *number = be64_read(at.value.data);
    *arguments = be64_read(at.value.data + 8);
    return 0;
}

/* ---- waiting no longer ---- */

static const outcome_t given_up = {.code = RPC_CANNOT_LOCK};

/* Gathers the numbers of those that wait in gateways of `node`, and that nobody can ask for again.
 */
static int dead_gather(state_t *self, uint64_t node) {
    static const uint8_t first[] = {PREFIX_WAITER};
    merge_t walk;
    buffer_reset(&self->pairs);
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    for (rc = merge_seek(&walk, (slice_t){first, sizeof first}); rc == 0 && walk.valid;
         rc = merge_next(&walk)) {
        uint64_t number;
        waiter_t waiter;
        uint8_t bytes[8];
        if (record_key_waiter_parse(walk.key, &number))
            break;
        rc = waiter_parse(walk.value, &waiter);
        if (rc)
            break;
        if (waiter.lease || waiter.node != node || waiter.client.size)
            continue;
        be64_write(bytes, number);
        buffer_append(&self->pairs, bytes, sizeof bytes);
    }
    merge_close(&walk);
    return rc == 0 && self->pairs.failed ? DRAX_ENOMEM : rc;
}

int waiters_drop(state_t *self, uint64_t node) {
    int rc = self->meta.waiters ? dead_gather(self, node) : 0;
    size_t size = self->meta.waiters ? self->pairs.size : 0;
    for (size_t at = 0; rc == 0 && at < size; at += 8) {
        waiter_t waiter;
        uint64_t number = be64_read(self->pairs.data + at);
        rc = waiter_load(self, number, &waiter);
        if (rc == 0)
            rc = waiter_settle(self, number, &waiter, &given_up);
    }
    return rc;
}

static int waiter_resume(state_t *self, uint64_t number, const waiter_t *waiter) {
    outcome_t outcome = {.index = waiter->lease, .revision = waiter->revision};
    return settled_add(self, number, &outcome);
}

/* Whatever the command, what became of each is told; of one that still waits there is nothing to
 * tell. */
int waits_apply(state_t *self, wait_list_t *command, outcome_t *out) {
    uint64_t number;
    while (wait_next(command, &number) == 1) {
        waiter_t waiter;
        int rc = waiter_load(self, number, &waiter);
        if (rc == DRAX_ENOTFOUND)
            rc = settled_add(self, number, NULL);
        else if (rc == 0 && waiter.lease)
            rc = waiter_resume(self, number, &waiter);
        else if (rc == 0 && command->op == WAIT_CANCEL)
            rc = waiter_settle(self, number, &waiter, &given_up);
        if (rc)
            return rc;
    }
    out->revision = self->meta.revision;
    return 0;
}
