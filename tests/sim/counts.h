/* counts.h: what happened in a run, or in many: the figures. */
#ifndef DRAX_TESTS_SIM_COUNTS_H
#define DRAX_TESTS_SIM_COUNTS_H

#include <stdint.h>
#include <stdio.h>

#include "tests/sim/schedule.h"

/* Nothing but uint64_t. */
typedef struct counts {
    uint64_t runs, steps, simulated_us, operations;
    uint64_t messages, turns, syncs;
    uint64_t elections, snapshots, process_crashes, power_losses, restarts, refusals, wipes, moves;
    uint64_t joins, removals, transfers;
    uint64_t granted, handed_on, refused, fenced; /* history_locks_t */
    uint64_t faults[FAULT_KINDS];                 /* that took effect */
} counts_t;

void counts_add(counts_t *self, const counts_t *more);
/* A few lines; `cpu_s` is the processor time that it took. */
void counts_print(const counts_t *self, double cpu_s, FILE *out);

#endif
