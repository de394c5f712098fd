/* check_log.c: raft's logs (dissertation 3.2): election safety, leader append-only, log matching,
 * leader completeness, commitment by a majority of durable copies, state-machine safety.
 *
 * By log matching it is enough to compare one entry where all before it are meant: the same index
 * and term mean the same log up to there. Log matching itself is checked on every entry that any
 * raft core has written.
 */
#include <string.h>

#include "tests/sim/checks_internal.h"

/* ---- terms by index ---- */

uint64_t log_terms_at(const log_terms_t *self, uint64_t index) {
    bool there = index >= self->base && index <= self->last && index < self->capacity;
    return there ? self->terms[index] : 0;
}

void log_terms_set(log_terms_t *self, uint64_t index, uint64_t term) {
    self->terms = array_room(self->terms, &self->capacity, index + 1, sizeof *self->terms);
    self->terms[index] = term;
    self->last = index;
}

/* ---- log matching ---- */

static known_entry_t *known_slot(const checks_t *self, uint64_t index, uint64_t term) {
    size_t mask = self->known_slots - 1;
    size_t at = (size_t) reply_mix(term, index) & mask;
    while (self->known[at].hash &&
           (self->known[at].entry.index != index || self->known[at].entry.term != term))
        at = (at + 1) & mask;
    return &self->known[at];
}

static void known_grow(checks_t *self) {
    known_entry_t *old = self->known;
    size_t slots = self->known_slots;
    self->known_slots = slots ? slots * 2 : 1024;
    self->known = array_new(self->known_slots, sizeof *self->known);
    for (size_t i = 0; i < slots; i++)
        if (old[i].hash)
            *known_slot(self, old[i].entry.index, old[i].entry.term) = old[i];
    free(old);
}

static uint64_t known_hash(const checks_t *self, uint64_t index, uint64_t term) {
    if (index == 0)
        return 1;
    return self->known_slots ? known_slot(self, index, term)->hash : 0;
}

static uint64_t config_hash(const config_t *config) {
    uint64_t hash = config->count;
    for (size_t i = 0; i < config->count; i++) {
        const member_t *member = &config->members[i];
        hash = reply_mix(reply_mix(hash, member->id), member->role);
        hash = reply_mix(
            hash, reply_hash((slice_t){(const uint8_t *) member->addr, strlen(member->addr)}));
    }
    return hash;
}

static uint64_t entry_hash(uint64_t before, const entry_t *entry) {
    uint64_t hash = reply_mix(reply_mix(before, entry->term), entry->time_ms);
    hash = reply_mix(hash, (uint64_t) entry->kind);
    if (entry->payload)
        hash = reply_mix(hash, reply_hash(payload_slice(entry->payload)));
    if (entry->config)
        hash = reply_mix(hash, config_hash(entry->config));
    return hash | 1;
}

static void entry_check(checks_t *self, unsigned slot, const entry_t *entry, uint64_t prev_term) {
    uint64_t before = known_hash(self, entry->index - 1, prev_term);
    if (!before) {
        world_fail(self->world, "log matching", "slot %u: %llu/%llu follows one never seen of %llu",
                   slot, U(entry->index), U(entry->term), U(prev_term));
        return;
    }
    if (2 * (self->known_count + 1) > self->known_slots)
        known_grow(self);
    known_entry_t *known = known_slot(self, entry->index, entry->term);
    uint64_t hash = entry_hash(before, entry);
    if (known->hash && known->hash != hash)
        world_fail(self->world, "log matching", "slot %u holds another entry, or log, at %llu/%llu",
                   slot, U(entry->index), U(entry->term));
    if (known->hash)
        return;
    if (entry_copy(&known->entry, entry) != 0)
        abort();
    known->hash = hash;
    self->known_count++;
}

/* ---- what raft has its storage write ---- */

void check_opened(checks_t *self, unsigned slot, const message_opened_t *opened) {
    log_terms_t *view = &self->slots[slot].view;
    if (!opened->formatted)
        return;
    self->slots[slot].node = opened->node;
    view->base = opened->run_count ? opened->runs[0].index : 0;
    for (size_t i = 0; i < opened->run_count; i++) {
        uint64_t end =
            i + 1 < opened->run_count ? opened->runs[i + 1].index : opened->last_index + 1;
        for (uint64_t index = opened->runs[i].index; index < end; index++)
            log_terms_set(view, index, opened->runs[i].term);
    }
    view->last = opened->last_index;
}

static void entries_check(checks_t *self, unsigned slot, const entries_t *entries) {
    slot_checks_t *at = &self->slots[slot];
    if (!entries->count)
        return;
    uint64_t first = entries->items[0].index;
    const raft_t *core = world_raft(self->world, slot)->core;
    bool leads = core->role == RAFT_LEADER && core->term == at->led_term;
    if (leads && first <= at->view.last)
        world_fail(self->world, "leader append-only", "slot %u: %llu after %llu in term %llu", slot,
                   U(first), U(at->view.last), U(at->led_term));
    if (first > at->view.last + 1 || first <= at->view.base)
        world_fail(self->world, "log matching", "slot %u writes %llu, its log is %llu..%llu", slot,
                   U(first), U(at->view.base), U(at->view.last));
    uint64_t chosen = log_terms_at(&self->chosen, first);
    if (chosen && log_terms_at(&at->view, first) == chosen && entries->items[0].term != chosen)
        world_fail(self->world, "state-machine safety",
                   "slot %u writes %llu/%llu over %llu/%llu, which is committed", slot, U(first),
                   U(entries->items[0].term), U(first), U(chosen));
    for (size_t i = 0; i < entries->count && !world_failed(self->world); i++) {
        const entry_t *entry = &entries->items[i];
        uint64_t before = entry->index > 1 ? log_terms_at(&at->view, entry->index - 1) : 0;
        entry_check(self, slot, entry, before);
        log_terms_set(&at->view, entry->index, entry->term);
    }
}

/* ---- leaders ---- */

static void leader_check(checks_t *self, unsigned slot, const raft_t *core) {
    slot_checks_t *at = &self->slots[slot];
    bool leads = core->role == RAFT_LEADER;
    uint64_t term = leads ? core->term : 0;
    if (term == at->led_term)
        return;
    at->led_term = term;
    if (!leads)
        return;
    self->leaders =
        array_room(self->leaders, &self->leader_capacity, term + 1, sizeof *self->leaders);
    for (; self->leader_count <= term; self->leader_count++)
        self->leaders[self->leader_count] = 0;
    if (self->leaders[term] && self->leaders[term] != at->node)
        world_fail(self->world, "election safety", "%llu and %llu both lead in term %llu",
                   U(self->leaders[term]), U(at->node), U(term));
    self->leaders[term] = at->node;
    uint64_t last = self->chosen.last;
    if (last && last >= at->view.base &&
        log_terms_at(&at->view, last) != log_terms_at(&self->chosen, last))
        world_fail(self->world, "leader completeness",
                   "slot %u leads in term %llu without %llu/%llu", slot, U(term), U(last),
                   U(log_terms_at(&self->chosen, last)));
}

/* ---- commitment ---- */

/* `sure` has it, or will have when it counts; 0: nobody. */
static size_t holders_count(const checks_t *self, const config_t *config, uint64_t index,
                            uint64_t term, uint64_t sure) {
    size_t holders = 0;
    for (size_t i = 0; i < config->count; i++)
        holders += config->members[i].role == MEMBER_VOTER &&
                   (config->members[i].id == sure ||
                    check_disk_holds(self, config->members[i].id, index, term));
    return holders;
}

/* A membership counts from when it is in the log; but the one before it counted for what was
 * committed earlier in the same turn. */
static bool majority_holds(const checks_t *self, const raft_t *core, uint64_t index, uint64_t term,
                           uint64_t sure) {
    const raft_log_t *log = &core->log;
    for (size_t i = log->config_count; i-- > 0 && i + 2 >= log->config_count;) {
        const config_t *config = &log->configs[i];
        if (holders_count(self, config, index, term, sure) > config_voters(config) / 2)
            return true;
    }
    return false;
}

/* `index` is committed for the first time. */
static void entry_choose(checks_t *self, unsigned slot, uint64_t index) {
    uint64_t term = log_terms_at(&self->slots[slot].view, index);
    const known_entry_t *known = self->known_slots ? known_slot(self, index, term) : NULL;
    if (!term || !known || !known->hash) {
        world_fail(self->world, "log matching", "slot %u commits %llu/%llu, never seen", slot,
                   U(index), U(term));
        return;
    }
    log_terms_set(&self->chosen, index, term);
    replay_entry(self->replay, &known->entry);
}

static void majority_check(checks_t *self, unsigned slot, const raft_t *core, uint64_t index,
                           uint64_t sure) {
    uint64_t term = log_terms_at(&self->slots[slot].view, index);
    if (!majority_holds(self, core, index, term, sure))
        world_fail(self->world, "durable before committed",
                   "slot %u commits %llu/%llu, which no majority of voters has on disk", slot,
                   U(index), U(term));
}

/* A leader counts copies for entries of its own term only (dissertation 3.6.2). */
static void own_term_check(checks_t *self, unsigned slot, const raft_t *core, uint64_t commit) {
    uint64_t term = log_terms_at(&self->slots[slot].view, commit);
    if (commit > self->chosen.last && term != core->term)
        world_fail(self->world, "own term committed", "slot %u commits %llu/%llu in term %llu",
                   slot, U(commit), U(term), U(core->term));
}

static void commit_check(checks_t *self, unsigned slot, const raft_t *core) {
    slot_checks_t *at = &self->slots[slot];
    if (core->commit < at->commit)
        world_fail(self->world, "commit goes forward", "slot %u: %llu after %llu", slot,
                   U(core->commit), U(at->commit));
    if (core->commit == at->commit)
        return;
    at->commit = core->commit;
    own_term_check(self, slot, core, core->commit);
    while (self->chosen.last < core->commit && !world_failed(self->world)) {
        majority_check(self, slot, core, self->chosen.last + 1, 0);
        entry_choose(self, slot, self->chosen.last + 1);
    }
    uint64_t term = log_terms_at(&self->chosen, core->commit);
    if (core->commit >= at->view.base && log_terms_at(&at->view, core->commit) != term)
        world_fail(self->world, "state-machine safety",
                   "slot %u commits %llu/%llu, others have it of term %llu", slot, U(core->commit),
                   U(log_terms_at(&at->view, core->commit)), U(term));
}

/* A majority must have it as soon as this node has. */
static void promise_check(checks_t *self, unsigned slot, const message_write_t *write) {
    slot_checks_t *at = &self->slots[slot];
    const raft_t *core = world_raft(self->world, slot)->core;
    if (write->commit <= core->commit)
        return;
    own_term_check(self, slot, core, write->commit);
    for (uint64_t index = self->chosen.last + 1; index <= write->commit; index++)
        majority_check(self, slot, core, index, at->node);
    if (write->commit > at->promised)
        at->promised = write->commit;
}

void check_write(checks_t *self, unsigned slot, const message_write_t *write) {
    entries_check(self, slot, &write->entries);
    promise_check(self, slot, write);
}

void check_promise_kept(checks_t *self, unsigned slot, uint64_t applied) {
    const slot_checks_t *at = &self->slots[slot];
    uint64_t upto = applied < at->promised ? applied : at->promised;
    while (self->chosen.last < upto && !world_failed(self->world)) {
        uint64_t index = self->chosen.last + 1, term = log_terms_at(&at->view, index);
        if (!check_disk_holds(self, at->node, index, term))
            world_fail(self->world, "durable before committed",
                       "slot %u applies %llu/%llu, which it has not on disk", slot, U(index),
                       U(term));
        entry_choose(self, slot, index);
    }
}

void check_raft_turn(checks_t *self, unsigned slot) {
    const struct raft_actor *actor = world_raft(self->world, slot);
    slot_checks_t *at = &self->slots[slot];
    if (!actor->core) {
        at->led_term = 0;
        return;
    }
    uint64_t core = world_life(self->world, slot, ACTOR_RAFT) << 32 | actor->cores;
    if (core != at->core) {
        /* It may begin with what storage committed as the core before it had promised. */
        check_promise_kept(self, slot, actor->core->commit);
        at->core = core;
        at->commit = 0;
        at->led_term = 0;
        at->promised = 0;
    }
    commit_check(self, slot, actor->core);
    leader_check(self, slot, actor->core);
}

void check_log_clear(checks_t *self) {
    for (size_t i = 0; i < self->known_slots; i++)
        entry_clear(&self->known[i].entry);
    free(self->known);
    free(self->leaders);
    free(self->chosen.terms);
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        free(self->slots[slot].view.terms);
    }
}
