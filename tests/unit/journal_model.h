/* journal_model.h: what a journal must hold, kept in plain memory, and entries whose bytes follow
 * from (index, term), so that reading tells whether they are the right ones.
 *
 * The model keeps every state the log went through since the last sync, one a record, because a
 * crash may cut a batch anywhere between its records.
 */
#ifndef DRAX_TESTS_JOURNAL_MODEL_H
#define DRAX_TESTS_JOURNAL_MODEL_H

#include "store/journal.h"

#define MODEL_ENTRIES 512u
#define MODEL_STATES 1024u

typedef struct model_state {
    uint64_t term, vote;
    uint64_t compacted; /* entries up to here may be gone */
    uint64_t base;      /* the log certainly begins after this: the last reset */
    uint64_t last;
    uint64_t terms[MODEL_ENTRIES]; /* of entry i, and of base */
} model_state_t;

typedef struct model {
    model_state_t *states; /* [0] is what was synced, the last one is the present */
    size_t count;
} model_t;

void model_init(model_t *self);
void model_free(model_t *self);
model_state_t *model_now(model_t *self);
/* Each begins a new state. */
void model_hard_state(model_t *self, uint64_t term, uint64_t vote);
void model_append(model_t *self, uint64_t index, uint64_t term); /* truncates first when it must */
void model_compact(model_t *self, uint64_t index);
void model_reset(model_t *self, uint64_t index, uint64_t term);
/* All of it is durable. */
void model_sync(model_t *self);
/* Forgets the states after the `count` first. */
void model_forget(model_t *self, size_t count);

/* The one entry that may stand at (index, term); the caller clears it. */
entry_t model_entry(uint64_t index, uint64_t term);
/* `entry` is that one. */
bool model_entry_right(const entry_t *entry);

/* The state, `from` or later, that the journal holds: its number, or -1. Reads every entry. */
int model_match(const model_t *self, size_t from, journal_t *journal);

#endif
