/* history.h: everything that users asked and were told, and the judgement of it.
 *
 * Owns: the operations, from call to return. Must not know: sockets, the world, why something is
 * asked. Time comes as an argument; a violation goes to the function given.
 *
 * Judged at once, against the reference (replay.h):
 *   answered once     an answer belongs to a request of that connection that has none yet
 *   in time           a gateway that lives and runs answers within 5 s, after the time that the
 *                     request may wait; a lock within 5 s of lock_cancel, and 10 s of its grant
 *   exact answers     what a command or a read comes to, at its place in the log
 *   real time         no answer of before something that had been told when the request was sent
 *   stale reads       of some revision that was, never going back at one life of a node
 *   refused for good  UNAVAILABLE: the write is not applied, and never will be
 * At the end
 *   order             what one connection sent is applied in that order
 *   mutual exclusion  no two holders of a lock, nothing done under the token of an earlier one
 *   linearizable      the history, with nothing known but what users saw (linear.h)
 */
#ifndef DRAX_TESTS_SIM_HISTORY_H
#define DRAX_TESTS_SIM_HISTORY_H

#include "tests/sim/linear.h"
#include "tests/sim/replay.h"

#define HISTORY_SLOTS 16u
/* What the contract allows, and what the way to the gateway and back may take. */
#define HISTORY_ANSWER_MS 5000u
#define HISTORY_WAY_MS 500u
/* How often a gateway asks what became of those that wait for locks. */
#define HISTORY_LOCK_CHECK_MS 5000u

typedef struct history history_t;

typedef enum {
    OPERATION_WAITING,
    OPERATION_ANSWERED,
    OPERATION_LOST /* the connection broke: no one knows */
} operation_state_t;

/* Where a request goes, as it is at the time. */
typedef struct station {
    uint64_t connection;
    unsigned slot;
    uint64_t memory; /* what its node told is not unsaid while this stays; 0: it may know nothing */
    uint64_t awake_ms; /* how long its gateway has run so far; 0: it is gone */
} station_t;

typedef struct operation {
    operation_state_t state;
    station_t station;
    uint64_t called, returned; /* places among all calls and returns */
    uint64_t due_ms;           /* its gateway's time from which the answer is due */
    uint64_t floor_index;      /* of a command whose answer was known when it was called */
    uint64_t floor_revision, floor_stale, floor_lease;
    request_t request;
    payload_t *payload;
    reply_t reply;
    bool wrong; /* refused whatever the store holds: as `reply` says from the start */
} operation_t;

history_t *history_new(const replay_t *replay, replay_fail_fn *fail, void *hint);
void history_free(history_t **self);

/* The msgid that the next request must carry. */
uint32_t history_msgid(const history_t *self);
/* A request is sent: a right one, or a wrong one that must be answered with `code`, under the msgid
 * `echoed` (0: the connection's oldest of that kind). `payload` is shared. */
void history_called(history_t *self, const station_t *station, payload_t *payload);
void history_called_wrong(history_t *self, const station_t *station, payload_t *payload,
                          rpc_code_t code, uint32_t echoed);
/* A payload came. Gives the operation that it answers; NULL when it answers none (which is told as
 * a violation). `station` as it is now. */
const operation_t *history_returned(history_t *self, const station_t *station, slice_t payload);
/* A connection broke, or was given up: what waits on it will not be answered. */
void history_broken(history_t *self, uint64_t connection);
/* Nothing waits longer than it may. To be called now and then for a connection that waits. */
void history_overdue(history_t *self, const station_t *station);

const operation_t *history_operation(const history_t *self, uint32_t msgid);
uint64_t history_answered(const history_t *self);

/* What was answered about locks. */
typedef struct history_locks {
    uint64_t granted, handed_on; /* in all, and to those that had waited */
    uint64_t refused;            /* CANNOT_LOCK, LOCK_LOST */
    uint64_t fenced;             /* done under a fence */
} history_locks_t;

history_locks_t history_locks(const history_t *self);

/* All is over, and the world is quiet: the judgement of the whole. */
void history_finish(history_t *self);
/* The search for a linearization was given up: the history is neither good nor bad. */
bool history_undecided(const history_t *self);

#endif
