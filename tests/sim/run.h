/* run.h: one run of the simulator: a world from its beginning to its judgement. */
#ifndef DRAX_TESTS_SIM_RUN_H
#define DRAX_TESTS_SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/sim/counts.h"
#include "tests/sim/schedule.h"

typedef struct run_options {
    uint64_t steps_max;  /* events; 0: no limit */
    FILE *trace;         /* NULL: none */
    bool broken_on_test; /* a check fails on purpose, see users.h */
} run_options_t;

typedef struct run_result {
    bool failed;
    char check[64]; /* the violated check's name */
    char text[512]; /* and what it found */
    uint64_t at_us; /* when */
    uint64_t hash;  /* of all that happened */
    counts_t counts;
} run_result_t;

void run(const schedule_t *schedule, const run_options_t *options, run_result_t *out);

#endif
