/* counts.c: the figures of runs, added up and told. */
#include <inttypes.h>

#include "tests/sim/counts.h"

#define COUNTS_FIELDS (sizeof(counts_t) / sizeof(uint64_t))

void counts_add(counts_t *self, const counts_t *more) {
    uint64_t *to = (uint64_t *) self; /* all fields are uint64_t */
    const uint64_t *from = (const uint64_t *) more;
    for (size_t i = 0; i < COUNTS_FIELDS; i++)
        to[i] += from[i];
}

static void faults_print(const counts_t *self, FILE *out) {
    uint64_t all = 0;
    for (fault_kind_t kind = 0; kind < FAULT_KINDS; kind++)
        all += self->faults[kind];
    fprintf(out, "faults %" PRIu64 ":", all);
    for (fault_kind_t kind = 0; kind < FAULT_KINDS; kind++)
        if (self->faults[kind])
            fprintf(out, " %s %" PRIu64, fault_name(kind), self->faults[kind]);
    fputc('\n', out);
}

void counts_print(const counts_t *self, double cpu_s, FILE *out) {
    double simulated_s = (double) self->simulated_us / 1e6;
    fprintf(
        out,
        "%" PRIu64
        " seeds, %.2f simulated hours in %.1f s of one core: %.0f times faster than real time\n",
        self->runs, simulated_s / 3600, cpu_s, cpu_s > 0 ? simulated_s / cpu_s : 0);
    fprintf(out,
            "%" PRIu64 " operations, %" PRIu64 " messages, %" PRIu64 " turns, %" PRIu64
            " syncs, %" PRIu64 " events\n",
            self->operations, self->messages, self->turns, self->syncs, self->steps);
    fprintf(out,
            "%" PRIu64 " elections, %" PRIu64 " snapshots installed, %" PRIu64
            " processes ended badly, %" PRIu64 " power losses, %" PRIu64 " restarts\n",
            self->elections, self->snapshots, self->process_crashes, self->power_losses,
            self->restarts);
    fprintf(out,
            "%" PRIu64 " joins, %" PRIu64 " removals, %" PRIu64 " transfers, %" PRIu64
            " damaged disks refused, %" PRIu64 " disks wiped, %" PRIu64 " nodes moved\n",
            self->joins, self->removals, self->transfers, self->refusals, self->wipes, self->moves);
    fprintf(out,
            "%" PRIu64 " locks granted, %" PRIu64 " of them to who had waited, %" PRIu64
            " refused, %" PRIu64 " requests done under a fence\n",
            self->granted, self->handed_on, self->refused, self->fenced);
    faults_print(self, out);
}
