/* history_internal.h: what history.c (recording), judge.c (each answer) and verdict.c,
 * verdict_lock.c (the whole) share. */
#ifndef DRAX_TESTS_SIM_HISTORY_INTERNAL_H
#define DRAX_TESTS_SIM_HISTORY_INTERNAL_H

#include "tests/sim/history.h"

#define U(x) ((unsigned long long) (x))

struct history {
    const replay_t *replay;
    replay_fail_fn *fail;
    void *fail_hint;
    operation_t *operations; /* by msgid, from 1 */
    size_t count, capacity;
    uint64_t *waiting; /* msgids of what is not answered */
    size_t waiting_count, waiting_capacity;
    uint64_t places;
    uint64_t answered;
    bool undecided;
    /* The newest that any answer told. */
    uint64_t told_index, told_revision, told_lease;
    struct {
        uint64_t memory, revision;
    } stale[HISTORY_SLOTS];
};

void history_violated(history_t *self, const char *check, const operation_t *operation,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* judge.c: the answer in `operation`, just come; `memory` is its node's now. */
void judge_answer(history_t *self, operation_t *operation, uint64_t memory);

/* verdict_lock.c */
void exclusion_check(history_t *self);

#endif
