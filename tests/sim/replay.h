/* replay.h: what the committed log must come to, command by command.
 *
 * Owns: a model (model.h) fed with the log's entries in order, the blocks' origins, the clients'
 * sessions, and for every request in the log its place and the answer it must get. Must not know:
 * actors, nodes, the product's store.
 *
 * A request is known by its msgid: whoever feeds a replay gives every request that is sent a msgid
 * of its own, and so it is seen whether one was applied twice.
 *
 * Invariant: revision_at(i) never falls as i grows.
 */
#ifndef DRAX_TESTS_SIM_REPLAY_H
#define DRAX_TESTS_SIM_REPLAY_H

#include "broker/message.h"
#include "tests/sim/model.h"

typedef struct replay replay_t;

/* Called with what is wrong: a request applied twice, say. */
typedef void replay_fail_fn(void *hint, const char *check, const char *text);

replay_t *replay_new(replay_fail_fn *fail, void *hint);
void replay_free(replay_t **self);

/* The next entry of the committed log: entry->index is replay_applied + 1. */
void replay_entry(replay_t *self, const entry_t *entry);

uint64_t replay_applied(const replay_t *self);
uint64_t replay_time_ms(const replay_t *self); /* cluster time at the last entry */
const model_t *replay_model(const replay_t *self);
/* The store's revision once the entry at `index` (0 .. applied) is applied. */
uint64_t replay_revision_at(const replay_t *self, uint64_t index);

/* What became of a request. */
typedef struct replayed {
    uint64_t index;    /* of its entry; 0: it is not in the log, or its block did not count */
    uint64_t answered; /* index of the entry that gave its answer; 0: it waits for a lock */
    bool waited;       /* for a lock: its answer is not of its own entry */
    uint64_t place;    /* counts all commands that were applied */
    bool repeated;     /* answered by the session of an earlier request */
    bool changed;      /* it made a revision */
    bool handed_back;  /* a transaction: refused after it had handed on a lock */
    uint64_t revision; /* of the store after it */
    reply_t answer;
} replayed_t;

/* NULL: not applied so far. */
const replayed_t *replay_find(const replay_t *self, uint32_t msgid);

/* The revisions that expiries made. */
const uint64_t *replay_expiries(const replay_t *self, size_t *count);

#endif
