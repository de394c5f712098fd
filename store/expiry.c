/* expiry.c: which keys are due, and the command that deletes them.
 *
 * The leader's storage asks for what is due and proposes it; the command takes effect when it is
 * applied, and then only for keys that nobody wrote in between: each is named with its revision.
 *
 * Invariant: while due_known, due_first_ms is the first due record's time, 0 when there is none.
 */
#include "store/state_internal.h"

#include "broker/block.h"
#include "broker/error.h"

int expiry_add(state_t *self, uint64_t due_ms, slice_t user_key) {
    record_key_t key;
    record_key_due(&key, due_ms, user_key);
    if (self->due_known && (self->due_first_ms == 0 || due_ms < self->due_first_ms))
        self->due_first_ms = due_ms;
    return state_pair_set(self, record_key(&key), (slice_t){NULL, 0});
}

int expiry_remove(state_t *self, uint64_t due_ms, slice_t user_key) {
    record_key_t key;
    record_key_due(&key, due_ms, user_key);
    if (due_ms == self->due_first_ms)
        self->due_known = false;
    return state_pair_clear(self, record_key(&key));
}

/* Stands the walk at the first due record; `valid` is false when there is none. */
static int due_seek(merge_t *walk) {
    static const uint8_t first[] = {PREFIX_DUE};
    return merge_seek(walk, (slice_t){first, sizeof first});
}

/* The due record the walk stands at; 0 when it is past them. */
static int due_read(const merge_t *walk, uint64_t *due_ms, slice_t *user_key) {
    *due_ms = 0;
    if (!walk->valid || walk->key.data[0] != PREFIX_DUE)
        return 0;
    return record_key_due_parse(walk->key, due_ms, user_key);
}

int state_next_expiry(state_t *self, uint64_t *due_ms) {
    if (!self->due_known) {
        merge_t walk;
        slice_t key;
        int rc = state_walk(self, &walk);
        if (rc)
            return rc;
        rc = due_seek(&walk);
        if (rc == 0)
            rc = due_read(&walk, &self->due_first_ms, &key);
        merge_close(&walk);
        if (rc)
            return rc;
        self->due_known = true;
    }
    *due_ms = self->due_first_ms;
    return 0;
}

/* Gathers up to EXPIRY_BATCH due keys into self->pairs, each as its size and its bytes. */
static int due_gather(state_t *self, uint64_t time_ms, size_t *count) {
    merge_t walk;
    *count = 0;
    buffer_reset(&self->pairs);
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    for (rc = due_seek(&walk); rc == 0 && *count < EXPIRY_BATCH; rc = merge_next(&walk)) {
        uint64_t due_ms;
        slice_t key;
        rc = due_read(&walk, &due_ms, &key);
        if (rc || due_ms == 0 || due_ms > time_ms)
            break;
        uint8_t size[4];
        be32_write(size, (uint32_t) key.size);
        buffer_append(&self->pairs, size, sizeof size);
        buffer_append(&self->pairs, key.data, key.size);
        ++*count;
    }
    merge_close(&walk);
    return rc == 0 && self->pairs.failed ? DRAX_ENOMEM : rc;
}

/* A block of storage itself with one command. */
static int block_wrap(buffer_t *out, const buffer_t *command) {
    block_begin(out, 0, 0, 0, 0, 1);
    block_add(out, (slice_t){command->data, command->size});
    return out->failed || command->failed ? DRAX_ENOMEM : 0;
}

int state_expire_block(state_t *self, uint64_t time_ms, buffer_t *out, size_t *count) {
    int rc = due_gather(self, time_ms, count);
    if (rc)
        return rc;
    buffer_reset(&self->outcome);
    expire_begin(&self->outcome, *count);
    const uint8_t *at = self->pairs.data;
    for (size_t i = 0; i < *count; i++) {
        slice_t key = {at + 4, be32_read(at)};
        user_t user;
        rc = user_load(self, key, &user);
        if (rc == 0 && !user.exists)
            rc = DRAX_ECORRUPT; /* a due record without its key */
        if (rc)
            return rc;
        expire_add(&self->outcome, key, user.record.index);
        at += 4 + key.size;
    }
    return block_wrap(out, &self->outcome);
}

int state_clock_block(state_t *self, buffer_t *out) {
    buffer_reset(&self->outcome);
    expire_begin(&self->outcome, 0);
    return block_wrap(out, &self->outcome);
}

int expiry_apply(state_t *self, expire_t *command, outcome_t *out) {
    slice_t key;
    uint64_t index;
    while (expire_next(command, &key, &index) == 1) {
        user_t user;
        int rc = user_load(self, key, &user);
        if (rc)
            return rc;
        if (!user.exists || user.record.index != index || !user.record.due_ms ||
            user.record.due_ms > self->meta.time_ms)
            continue;
        rc = user_delete(self, &user);
        if (rc)
            return rc;
        out->deleted++;
    }
    if (out->deleted)
        self->meta.revision = self->change_revision;
    out->revision = self->meta.revision;
    return 0;
}
