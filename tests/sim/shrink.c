/* shrink.c: delta debugging (Zeller, Hildebrandt, 2002) of the list of faults; see the header. */
#include "tests/sim/shrink.h"

#include <string.h>

typedef struct shrinking {
    const run_options_t *options;
    const char *check;
    unsigned runs, runs_max;
} shrinking_t;

static bool fails(shrinking_t *self, const schedule_t *schedule) {
    run_result_t result;
    if (self->runs >= self->runs_max)
        return false;
    self->runs++;
    run(schedule, self->options, &result);
    return result.failed && strcmp(result.check, self->check) == 0;
}

static bool take(shrinking_t *self, schedule_t *schedule, const schedule_t *smaller) {
    if (!fails(self, smaller))
        return false;
    *schedule = *smaller;
    return true;
}

static void faults_shrink(shrinking_t *self, schedule_t *schedule) {
    for (size_t piece = schedule->count; piece > 0; piece /= 2) {
        for (size_t at = 0; at < schedule->count && self->runs < self->runs_max;) {
            size_t end = at + piece < schedule->count ? at + piece : schedule->count;
            schedule_t smaller = *schedule;
            memmove(&smaller.faults[at], &schedule->faults[end],
                    (schedule->count - end) * sizeof smaller.faults[0]);
            smaller.count -= end - at;
            if (!take(self, schedule, &smaller))
                at = end;
        }
    }
}

static void field_shrink(shrinking_t *self, schedule_t *schedule, uint32_t *field, uint32_t least) {
    size_t offset = (size_t) ((char *) field - (char *) schedule);
    for (uint32_t part = 2; part <= 4;) {
        schedule_t smaller = *schedule;
        uint32_t *value = (uint32_t *) (void *) ((char *) &smaller + offset);
        uint32_t less = *value - (*value - least) / part;
        if (less == *value)
            return;
        *value = less;
        if (!take(self, schedule, &smaller))
            part++;
    }
}

unsigned shrink(schedule_t *schedule, const run_options_t *options, const char *check,
                unsigned runs_max) {
    shrinking_t self = {.options = options, .check = check, .runs_max = runs_max};
    faults_shrink(&self, schedule);
    uint32_t last_ms = 0;
    for (size_t i = 0; i < schedule->count; i++)
        last_ms = schedule->faults[i].at_ms > last_ms ? schedule->faults[i].at_ms : last_ms;
    field_shrink(&self, schedule, &schedule->ends_ms, last_ms + 1);
    field_shrink(&self, schedule, &schedule->users, 1);
    field_shrink(&self, schedule, &schedule->nodes, 1);
    for (size_t i = 0; i < schedule->count; i++)
        if (schedule->faults[i].lasts_ms > 1)
            field_shrink(&self, schedule, &schedule->faults[i].lasts_ms, 1);
    return self.runs;
}
