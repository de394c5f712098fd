/* journal_model.c: see the header. */
#include "tests/unit/journal_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"

void model_init(model_t *self) {
    self->states = calloc(MODEL_STATES, sizeof *self->states);
    assert(self->states);
    self->count = 1;
}

void model_free(model_t *self) {
    free(self->states);
    self->states = NULL;
}

model_state_t *model_now(model_t *self) {
    return &self->states[self->count - 1];
}

static model_state_t *state_push(model_t *self) {
    assert(self->count < MODEL_STATES);
    self->states[self->count] = self->states[self->count - 1];
    return &self->states[self->count++];
}

void model_hard_state(model_t *self, uint64_t term, uint64_t vote) {
    model_state_t *state = state_push(self);
    state->term = term;
    state->vote = vote;
}

void model_append(model_t *self, uint64_t index, uint64_t term) {
    assert(index < MODEL_ENTRIES);
    if (index <= model_now(self)->last)
        state_push(self)->last = index - 1;
    model_state_t *state = state_push(self);
    assert(index == state->last + 1);
    state->last = index;
    state->terms[index] = term;
}

void model_compact(model_t *self, uint64_t index) {
    model_state_t *state = state_push(self);
    if (index > state->compacted)
        state->compacted = index;
}

void model_reset(model_t *self, uint64_t index, uint64_t term) {
    assert(index < MODEL_ENTRIES);
    model_state_t *state = state_push(self);
    state->base = state->last = state->compacted = index;
    state->terms[index] = term;
}

void model_sync(model_t *self) {
    self->states[0] = *model_now(self);
    self->count = 1;
}

void model_forget(model_t *self, size_t count) {
    assert(count >= 1 && count <= self->count);
    self->count = count;
}

static void config_fill(config_t *config, uint64_t index) {
    memset(config, 0, sizeof *config);
    config->index = index;
    config->count = 1 + index % 3;
    for (size_t i = 0; i < config->count; i++) {
        config->members[i].id = i + index;
        config->members[i].role = i == 0 ? MEMBER_VOTER : MEMBER_LEARNER;
        (void) snprintf(config->members[i].addr, LIMIT_ADDR_BYTES, "127.0.0.1:%u",
                        (unsigned) (2380 + i));
        (void) snprintf(config->members[i].raft_addr, LIMIT_ADDR_BYTES, "127.0.0.1:%u",
                        (unsigned) (3380 + i));
    }
}

/* Mostly small, some of more than a segment of 4096 bytes. */
static size_t payload_length(uint64_t index, uint64_t term) {
    uint64_t mixed = (index * 2654435761u + term * 40503u) >> 3;
    if (mixed % 29 == 0)
        return 5000 + (size_t) (mixed % 977);
    return (size_t) (mixed % 7 == 0 ? 600 + mixed % 700 : mixed % 120);
}

entry_t model_entry(uint64_t index, uint64_t term) {
    entry_t entry = {.index = index, .term = term, .time_ms = index * 10 + term};
    if (index % 13 == 5) {
        entry.kind = ENTRY_CONFIG;
        entry.config = calloc(1, sizeof *entry.config);
        assert(entry.config);
        config_fill(entry.config, index);
    } else if (index % 11 != 3) {
        entry.kind = ENTRY_BLOCK;
        entry.payload = payload_new(payload_length(index, term));
        assert(entry.payload);
        uint8_t *bytes = payload_bytes(entry.payload);
        for (size_t i = 0; i < payload_size(entry.payload); i++)
            bytes[i] = (uint8_t) (index * 31 + term * 7 + i);
    }
    return entry;
}

bool model_entry_right(const entry_t *entry) {
    entry_t right = model_entry(entry->index, entry->term);
    size_t size = payload_size(right.payload);
    bool same = right.kind == entry->kind && right.time_ms == entry->time_ms &&
                !right.payload == !entry->payload && size == payload_size(entry->payload) &&
                !right.config == !entry->config;
    if (same && size > 0)
        same = memcmp(payload_data(right.payload), payload_data(entry->payload), size) == 0;
    if (same && right.config)
        same = memcmp(right.config, entry->config, sizeof *right.config) == 0;
    entry_clear(&right);
    return same;
}

static bool state_match(const model_state_t *state, journal_t *journal) {
    uint64_t first = journal_first_index(journal);
    uint64_t last = journal_last_index(journal);
    if (journal_term(journal) != state->term || journal_vote(journal) != state->vote ||
        last != state->last || first <= state->base || first > state->compacted + 1)
        return false;
    for (uint64_t index = first - 1; index <= last; index++)
        if (journal_term_at(journal, index) != state->terms[index])
            return false;
    return true;
}

/* All entries can be read, a few at a time, and are the right ones. */
static bool entries_right(journal_t *journal) {
    uint64_t next = journal_first_index(journal);
    uint64_t time_ms = journal_time_ms(journal);
    while (next <= journal_last_index(journal)) {
        entries_t entries = {0};
        bool right = journal_read(journal, next, 300, &entries) == 0 && entries.count > 0;
        for (size_t i = 0; right && i < entries.count; i++, next++)
            right = entries.items[i].index == next &&
                    entries.items[i].term == journal_term_at(journal, next) &&
                    model_entry_right(&entries.items[i]) &&
                    (next < journal_last_index(journal) || entries.items[i].time_ms == time_ms);
        entries_clear(&entries);
        if (!right)
            return false;
    }
    return true;
}

int model_match(const model_t *self, size_t from, journal_t *journal) {
    if (!entries_right(journal))
        return -1;
    for (size_t i = from; i < self->count; i++)
        if (state_match(&self->states[i], journal))
            return (int) i;
    return -1;
}
