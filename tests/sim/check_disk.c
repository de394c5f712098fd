/* check_disk.c: what is durable on each slot, found by watching the disk's syncs and not by
 * believing the storage actor: durable before acknowledged, one vote a term, nothing durable lost.
 */
#include <stdlib.h>
#include <string.h>

#include "store/journal_internal.h"
#include "tests/sim/checks_internal.h"

/* What the journal holds becomes what is durable. Only entries that differ are looked at. */
static void durable_take(checks_t *self, unsigned slot, const journal_t *journal) {
    slot_checks_t *at = &self->slots[slot];
    log_terms_t *durable = &at->durable;
    uint64_t term = journal_term(journal), vote = journal_vote(journal);
    if (term < at->durable_term)
        world_fail(self->world, "term goes forward", "slot %u: %llu after %llu", slot, U(term),
                   U(at->durable_term));
    if (term == at->durable_term && at->durable_vote && vote != at->durable_vote)
        world_fail(self->world, "one vote a term", "slot %u votes for %llu and %llu in term %llu",
                   slot, U(at->durable_vote), U(vote), U(term));
    at->durable_term = term;
    at->durable_vote = vote;
    uint64_t first = journal_first_index(journal), last = journal_last_index(journal);
    uint64_t was = durable->last;
    durable->base = first - 1;
    durable->last = last;
    for (uint64_t index = last; index + 1 >= first; index--) {
        uint64_t now = journal_term_at(journal, index);
        if (index <= was && index < durable->capacity && durable->terms[index] == now)
            break;
        log_terms_set(durable, index, now);
        if (index == 0)
            break;
    }
    durable->last = last;
}

/* How far the segment has been synced; a new one, up to its header. */
static uint64_t *synced_of(slot_checks_t *at, uint64_t sequence) {
    at->synced = array_room(at->synced, &at->synced_capacity, sequence + 1, sizeof *at->synced);
    while (at->synced_count <= sequence)
        at->synced[at->synced_count++] = HEADER_BYTES;
    return &at->synced[sequence];
}

/* A process starts with what its predecessors made durable. */
void check_disk_started(checks_t *self, unsigned slot) {
    slot_checks_t *at = &self->slots[slot];
    const journal_t *journal = world_storage(self->world, slot)->journal;
    at->write_seq = 0;
    if (!journal)
        return;
    uint64_t upto = at->durable.last;
    if (at->replaced_from <= upto)
        upto = at->replaced_from ? at->replaced_from - 1 : 0;
    bool kept = upto <= journal_last_index(journal);
    if (kept && upto + 1 >= journal_first_index(journal) && upto >= at->durable.base)
        kept = journal_term_at(journal, upto) == log_terms_at(&at->durable, upto);
    if (!kept)
        world_fail(self->world, "durable survives",
                   "slot %u starts with %llu..%llu, without its durable entry %llu/%llu", slot,
                   U(journal_first_index(journal)), U(journal_last_index(journal)), U(upto),
                   U(log_terms_at(&at->durable, upto)));
    at->replaced_from = UINT64_MAX;
    for (size_t i = 0; i < journal->segment_count; i++)
        *synced_of(at, journal->segments[i]->sequence) = journal->segments[i]->end;
    at->synced_before = journal_current(journal)->sequence;
    durable_take(self, slot, journal);
}

void check_disk_write(checks_t *self, unsigned slot, const message_write_t *write) {
    slot_checks_t *at = &self->slots[slot];
    if (write->seq)
        at->write_seq = write->seq;
    if (write->entries.count && write->entries.items[0].index < at->replaced_from)
        at->replaced_from = write->entries.items[0].index;
}

void check_disk_snapshot(checks_t *self, unsigned slot) {
    self->slots[slot].replaced_from = 0;
}

void check_disk_turn(checks_t *self, unsigned slot) {
    slot_checks_t *at = &self->slots[slot];
    const struct storage_actor *storage = world_storage(self->world, slot);
    if (storage->seq_durable == at->write_seq && !storage->staging.active && !storage->install_due)
        at->replaced_from = UINT64_MAX;
    uint64_t flushed = storage->state ? state_flushed(storage->state) : UINT64_MAX;
    if (storage->state && journal_first_index(storage->journal) > flushed + 1)
        world_fail(self->world, "flushed before compacted",
                   "slot %u: its journal begins at %llu, its state is flushed up to %llu", slot,
                   U(journal_first_index(storage->journal)), U(flushed));
}

/* Is all that the journal wrote in files that have been synced since? Only the last segment grows.
 */
static bool all_synced(slot_checks_t *at, const journal_t *journal) {
    for (size_t i = journal->segment_count; i-- > 0;) {
        const segment_t *segment = journal->segments[i];
        if (segment->sequence < at->synced_before)
            break;
        if (*synced_of(at, segment->sequence) < segment->end)
            return false;
    }
    at->synced_before = journal_current(journal)->sequence;
    return true;
}

void check_disk_synced(checks_t *self, unsigned slot, const char *path) {
    slot_checks_t *at = &self->slots[slot];
    const struct storage_actor *storage = world_storage(self->world, slot);
    const journal_t *journal = storage ? storage->journal : NULL;
    const char *name = strrchr(path, '/');
    char *end;
    uint64_t sequence = strtoull(name ? name + 1 : path, &end, 16);
    if (!journal || strcmp(end, ".seg") != 0)
        return;
    size_t i = journal->segment_count;
    while (i && journal->segments[i - 1]->sequence > sequence)
        i--;
    if (i && journal->segments[i - 1]->sequence == sequence)
        *synced_of(at, sequence) = journal->segments[i - 1]->end;
    if (all_synced(at, journal))
        durable_take(self, slot, journal);
}

static bool durable_holds(const log_terms_t *durable, uint64_t index, uint64_t term) {
    if (index > durable->last)
        return false;
    return index < durable->base || log_terms_at(durable, index) == term;
}

bool check_disk_holds(const checks_t *self, uint64_t node, uint64_t index, uint64_t term) {
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        if (self->slots[slot].node == node)
            return durable_holds(&self->slots[slot].durable, index, term);
    for (size_t i = 0; i < self->ghost_count; i++)
        if (self->ghosts[i].node == node)
            return durable_holds(&self->ghosts[i].durable, index, term);
    return false;
}

void check_disk_wiped(checks_t *self, unsigned slot) {
    slot_checks_t *at = &self->slots[slot];
    self->ghosts =
        array_room(self->ghosts, &self->ghost_capacity, self->ghost_count + 1, sizeof(ghost_t));
    self->ghosts[self->ghost_count++] = (ghost_t){at->node, at->durable};
    at->durable = (log_terms_t){0};
    at->durable_term = at->durable_vote = 0;
    at->synced_count = 0;
    at->synced_before = 0;
    at->replaced_from = UINT64_MAX;
}

void check_disk_clear(checks_t *self) {
    for (size_t i = 0; i < self->ghost_count; i++)
        free(self->ghosts[i].durable.terms);
    free(self->ghosts);
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        free(self->slots[slot].durable.terms);
        free(self->slots[slot].synced);
    }
}

void check_peer_message(checks_t *self, unsigned slot, const message_t *message) {
    const slot_checks_t *at = &self->slots[slot];
    const char *what = NULL;
    bool voted_for = at->durable_term > message->term;
    switch (message->kind) {
    case MESSAGE_VOTE:
        if (!voted_for && (at->durable_term != message->term || at->durable_vote != message->from))
            what = "asks for votes, its own is not durable";
        break;
    case MESSAGE_VOTE_RESULT:
        if (message->vote_result.granted && !voted_for &&
            (at->durable_term != message->term || at->durable_vote != message->to))
            what = "grants a vote that is not durable";
        break;
    case MESSAGE_APPEND_RESULT:
        if (!message->append_result.rejected &&
            (at->durable_term < message->term || at->durable.last < message->append_result.index))
            what = "acknowledges what is not durable";
        break;
    default:
        break;
    }
    if (what)
        world_fail(self->world, "durable before acknowledged",
                   "slot %u, durable: term %llu vote %llu last %llu: %s in term %llu", slot,
                   U(at->durable_term), U(at->durable_vote), U(at->durable.last), what,
                   U(message->term));
}
