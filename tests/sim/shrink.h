/* shrink.h: makes the schedule of a run that fails smaller, for as long as the same check fails. */
#ifndef DRAX_TESTS_SIM_SHRINK_H
#define DRAX_TESTS_SIM_SHRINK_H

#include "tests/sim/run.h"

/* Leaves out faults, then users and time, until nothing more can go or `runs_max` runs were made.
 * `schedule` fails with `check`; it is changed in place. Returns the number of runs. */
unsigned shrink(schedule_t *schedule, const run_options_t *options, const char *check,
                unsigned runs_max);

#endif
