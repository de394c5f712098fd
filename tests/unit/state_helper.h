/* state_helper.h: a state that is fed with commands written as text, and answers as text. */
#ifndef DRAX_TESTS_STATE_HELPER_H
#define DRAX_TESTS_STATE_HELPER_H

#include "store/state.h"

#define WORLD_NODE 1u

typedef struct world {
    state_t *state;
    uint64_t time_ms; /* stamp of the next entries */
    uint64_t seq;     /* of the last block of WORLD_NODE */
    buffer_t bytes;   /* scratch */
    buffer_t text;    /* of the last answer */
    entries_t *log;   /* when not NULL: keeps every entry applied */
    buffer_t settled; /* of the last entry */
} world_t;

void world_open(world_t *self, kv_t *kv); /* takes kv over */
void world_close(world_t *self);
/* Freeze, write, thaw; asserts that all is well. */
void world_flush(world_t *self);

/* Applies one command, in a block of WORLD_NODE; its outcome as text, until the next call: "waits
 * 3" when it waits, as number 3. */
const char *world_apply(world_t *self, const char *command);
/* What requests that waited came to in the last entry applied: "3 {token: 1, …}; 4 CANNOT_LOCK; ".
 */
const char *world_settled(const world_t *self);
/* The outcome of a read, as text, until the next call. */
const char *world_query(world_t *self, const char *request);
/* Applies a block payload as the next entry. */
int world_block(world_t *self, const buffer_t *block, state_applied_t *out);
/* A history_source_t's entry over a world's log, which must begin with entry 1. */
int world_entry(void *world, uint64_t index, slice_t *payload);
/* Takes what is due at `time_ms` through the log; how many keys were named. */
size_t world_expire(world_t *self, uint64_t time_ms);

/* Outcome bytes as text: the code alone for a refusal; a map as {name: value, …} with str as
 * "text", bin as 'bytes' (other bytes than printable ones as \xHH), and at most 40 bytes of each.
 */
void outcome_text(buffer_t *out, slice_t outcome);

#endif
