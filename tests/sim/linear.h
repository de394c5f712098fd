/* linear.h: is a history of the whole store linearizable?
 *
 * Owns: one search. Must not know: logs, nodes, how the history came about: only what clients sent
 * and were told, and when. The sequential store is model.h.
 *
 * The algorithm is Wing and Gong's ("Testing and verifying concurrent objects", 1993) with Lowe's
 * list of calls and returns and his memory of configurations seen ("Testing for linearizability",
 * 2017). It is exact: what follows shortens the search, and drops no linearization.
 *  1. The store counts revisions, and a successful write tells its own. So the operation that makes
 *     revision r + 1 is known, if any answer names it; only where none does there is a choice,
 * among the writes whose outcome is not known.
 *  2. What changes nothing (reads, refused writes) is linearized as soon as it fits: doing so
 *     earlier never takes a possibility away from another operation.
 *
 * Locks: who waited for one, and is granted it when it ends, is not seen by users before it is
 * told. So what a revision that grants or ends a lock does is taken from the reference; when, who
 * may do it and what is seen of it is judged as with all else. A grant to one who waited is an
 * operation that changes nothing and finds the lock held under its token.
 *
 * An operation whose outcome is not known may take effect at any time after its call, once, or
 * never. An expiry is an operation of that kind which names its revision.
 */
#ifndef DRAX_TESTS_SIM_LINEAR_H
#define DRAX_TESTS_SIM_LINEAR_H

#include "tests/sim/model.h"

#define LINEAR_OPEN UINT64_MAX
#define LINEAR_CONFIGURATIONS 1000000u

typedef struct linear_op {
    /* Places in one order of all calls and returns; no two are the same. `returned` LINEAR_OPEN:
     * the outcome is not known (but see `expiry`). */
    uint64_t called, returned;
    request_t request; /* borrows */
    payload_t *owner;  /* what it borrows from */
    reply_t reply;     /* when it returned */
    bool expiry;       /* `command` took effect at reply.revision, at any time after `called` */
    slice_t command;
    uint64_t followed; /* not 0: the revision it made, or would make, ended or granted a lock */
    bool handed_back;  /* not to be judged: for who gathers operations */
    bool waited;       /* a lock: granted, if at all, by what ended it for another */
    uint64_t likely;   /* unknown outcome: the revision it probably made, 0: none. Only the order in
                          which possibilities are tried depends on it */
} linear_op_t;

typedef struct linear_result {
    bool linearizable;
    bool undecided;    /* given up after LINEAR_CONFIGURATIONS */
    size_t placed;     /* operations that the longest attempt had placed */
    uint64_t revision; /* which it came to */
    size_t blocked;    /* when not: one operation that fits nowhere (its number in `ops`) */
    uint64_t configurations;
} linear_result_t;

/* Judges `count` operations on a store that begins empty. `reference`: for those that are followed;
 * NULL when there are none. */
void linear_check(const linear_op_t *ops, size_t count, const model_t *reference,
                  linear_result_t *out);

#endif
