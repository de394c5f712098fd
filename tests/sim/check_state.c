/* check_state.c: the applied state: only what is committed, equal on all nodes at equal index, and
 * what the reference makes of the same log. */
#include <string.h>

#include "tests/sim/checks_internal.h"

static void digest_check(checks_t *self, unsigned slot, uint64_t applied, uint64_t digest) {
    self->digests =
        array_room(self->digests, &self->digest_capacity, applied + 1, sizeof *self->digests);
    while (self->digest_count <= applied)
        self->digests[self->digest_count++] = 0;
    digest = digest ? digest : 1;
    if (!self->digests[applied])
        self->digests[applied] = digest;
    else if (self->digests[applied] != digest)
        world_fail(self->world, "equal digest", "slot %u has another state at %llu than others",
                   slot, U(applied));
}

/* A node that starts answers stale reads once it has applied what it had, or, when 3 s have passed,
 * what it had noted to be committed: all that it can have shown, unless the note went with a power
 * loss or could not be made.
 */
static void settle_note(slot_checks_t *at, const struct storage_actor *storage) {
    if (at->settled || !storage->state)
        return;
    at->forgetful = at->forgetful || !storage->note;
    if (!storage_settled(storage)) {
        at->settle_ms = storage->settle_ms;
        return;
    }
    uint64_t last = journal_last_index(storage->journal);
    uint64_t wanted = storage->settle_index < last ? storage->settle_index : last;
    bool waited = at->settle_ms && storage->now_ms >= at->settle_ms;
    bool behind = waited && state_applied(storage->state) < wanted;
    at->settled = true;
    at->lapses += behind && at->forgetful;
    if (!behind)
        at->forgetful = !storage->note;
}

uint64_t checks_memory(const checks_t *self, unsigned slot) {
    return (uint64_t) world_disk(self->world, slot) << 32 | (self->slots[slot].lapses + 1);
}

void check_state_turn(checks_t *self, unsigned slot) {
    slot_checks_t *at = &self->slots[slot];
    settle_note(at, world_storage(self->world, slot));
    state_t *state = world_storage(self->world, slot)->state;
    uint64_t applied = state ? state_applied(state) : 0;
    if (applied == at->applied)
        return;
    if (applied < at->applied)
        world_fail(self->world, "applied goes forward", "slot %u: %llu after %llu", slot,
                   U(applied), U(at->applied));
    at->applied = applied;
    check_promise_kept(self, slot, applied);
    if (applied > self->chosen.last) {
        world_fail(self->world, "applied is committed", "slot %u applied %llu, committed %llu",
                   slot, U(applied), U(self->chosen.last));
        return;
    }
    if (state_applied_term(state) != log_terms_at(&self->chosen, applied))
        world_fail(self->world, "state-machine safety", "slot %u applied %llu/%llu, not of %llu",
                   slot, U(applied), U(state_applied_term(state)),
                   U(log_terms_at(&self->chosen, applied)));
    if (state_revision(state) != replay_revision_at(self->replay, applied))
        world_fail(self->world, "reference", "slot %u is at revision %llu, not %llu, at %llu", slot,
                   U(state_revision(state)), U(replay_revision_at(self->replay, applied)),
                   U(applied));
    digest_check(self, slot, applied, state_digest(state));
}

/* One page of everything; the next page's start goes to `start`. False: it was the last. */
static bool page_compare(checks_t *self, unsigned slot, state_t *state, buffer_t *start) {
    request_t request = {.method = METHOD_RANGE, .key = {start->data, start->size}, .limit = 1000};
    buffer_t outcome = {0}, response = {0};
    reply_t got = {0}, expected;
    int rc = state_query(state, &request, 0, &outcome);
    rpc_response(&response, 0, (slice_t){outcome.data, outcome.size});
    if (rc == 0)
        rc = reply_parse((slice_t){response.data, response.size}, &got);
    model_read(replay_model(self->replay), &request, state_revision(state), &got, &expected);
    const char *differs = rc ? "answer" : reply_differs(&expected, &got);
    if (differs)
        world_fail(self->world, "nothing lost", "slot %u ends with another store: %s of range",
                   slot, differs);
    buffer_reset(start);
    if (got.pairs) {
        buffer_append(start, got.last.data, got.last.size);
        buffer_append(start, "", 1);
    }
    buffer_free(&outcome);
    buffer_free(&response);
    return got.more && !differs;
}

void check_state_finish(checks_t *self, unsigned slot) {
    const struct storage_actor *storage = world_storage(self->world, slot);
    if (!storage || !storage->state)
        return;
    buffer_t start = {0};
    while (page_compare(self, slot, storage->state, &start))
        continue;
    buffer_free(&start);
}
