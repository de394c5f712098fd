/* drax_sim.c: the simulator's command line; docs/TESTING.md tells how to use it. */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/run.h"
#include "tests/sim/shrink.h"

#define SIM_TRACE_LINES 60u /* of a failure */
#define SIM_SHRINK_RUNS 400u
#define SIM_MEMORY_BYTES (256 << 20)
#define SIM_LARGE_BYTES (1 << 20)

typedef struct sim {
    uint64_t first, count;
    uint32_t nodes;
    uint64_t steps_max;
    const char *replay;
    const char *save; /* where a failing schedule goes */
    bool trace, no_shrink, broken_on_test, twice;
} sim_t;

static const char usage[] =
    "usage: drax_sim [--seed N | --seeds FIRST COUNT | --replay FILE] [options]\n"
    "  --nodes N     clusters of N nodes; else 1, 3, 5 or 7 by the seed\n"
    "  --steps M     ends each run after M events\n"
    "  --trace       prints what happens\n"
    "  --twice       runs each seed twice and compares the hashes\n"
    "  --no-shrink   does not make the schedule of a failure smaller\n"
    "  --save FILE   writes the schedule of a failure there\n"
    "  --break       makes a check fail on purpose\n";

static double cpu_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* whatever else this machine does */
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* ---- a failure ---- */

/* The last lines of the trace: the run once more, with one. */
static void trace_end_print(const schedule_t *schedule, const run_options_t *options) {
    char *text = NULL;
    size_t size = 0;
    run_options_t traced = *options;
    run_result_t result;
    traced.trace = open_memstream(&text, &size);
    if (!traced.trace)
        abort();
    run(schedule, &traced, &result);
    fclose(traced.trace);
    unsigned lines = 0;
    char *at = text + size;
    while (at > text && lines <= SIM_TRACE_LINES)
        lines += *--at == '\n';
    fputs(at > text ? at + 1 : text, stdout);
    free(text);
}

static void failure_save(const sim_t *self, const schedule_t *schedule) {
    FILE *out = self->save ? fopen(self->save, "w") : NULL;
    if (!out)
        return;
    schedule_print(schedule, out);
    fclose(out);
}

static void failure_tell(const sim_t *self, const schedule_t *schedule,
                         const run_options_t *options, const run_result_t *result) {
    schedule_t smaller = *schedule;
    printf("FAILED seed %" PRIu64 ": %s: %s (at %.6f s)\n", schedule->seed, result->check,
           result->text, (double) result->at_us / 1e6);
    if (!self->no_shrink) {
        unsigned runs = shrink(&smaller, options, result->check, SIM_SHRINK_RUNS);
        printf("shrunk from %zu faults to %zu in %u runs\n", schedule->count, smaller.count, runs);
    }
    printf("---- the last of the trace ----\n");
    trace_end_print(&smaller, options);
    printf("---- the schedule: drax_sim --trace --replay FILE plays it again ----\n");
    schedule_print(&smaller, stdout);
    printf("---- the whole seed again: drax_sim --trace --seed %" PRIu64 " ----\n", schedule->seed);
    failure_save(self, &smaller);
}

/* ---- runs ---- */

/* False: a check failed. */
static bool schedule_run(const sim_t *self, const schedule_t *schedule, counts_t *counts,
                         bool tell_hash) {
    run_options_t options = {.steps_max = self->steps_max,
                             .trace = self->trace ? stdout : NULL,
                             .broken_on_test = self->broken_on_test};
    run_result_t result, again;
    run(schedule, &options, &result);
    counts_add(counts, &result.counts);
    options.trace = NULL;
    if (self->twice) {
        run(schedule, &options, &again);
        if (again.hash != result.hash) {
            printf("FAILED seed %" PRIu64 ": a second run differs\n", schedule->seed);
            return false;
        }
    }
    if (tell_hash)
        printf("seed %" PRIu64 " hash %016" PRIx64 "\n", schedule->seed, result.hash);
    if (result.failed)
        failure_tell(self, schedule, &options, &result);
    return !result.failed;
}

/* The seed of an assertion that fails: there is no way on from there. */
static uint64_t seed_now;

static void on_abort(int signal_number) {
    (void) signal_number;
    char text[64];
    int size = snprintf(text, sizeof text, "FAILED seed %" PRIu64 " by an assertion\n", seed_now);
    if (size > 0 && write(STDERR_FILENO, text, (size_t) size) < 0)
        _exit(2);
}

static bool seeds_run(const sim_t *self) {
    counts_t counts = {0};
    uint64_t failures = 0;
    double begin_s = cpu_s();
    for (uint64_t i = 0; i < self->count; i++) {
        schedule_t schedule;
        seed_now = self->first + i;
        schedule_draw(&schedule, seed_now, self->nodes);
        failures += !schedule_run(self, &schedule, &counts, self->count == 1);
        fflush(stdout);
    }
    counts_print(&counts, cpu_s() - begin_s, stdout);
    if (failures)
        printf("%" PRIu64 " seeds FAILED\n", failures);
    return failures == 0;
}

static bool replay_run(const sim_t *self) {
    counts_t counts = {0};
    schedule_t schedule;
    char error[256];
    FILE *in = fopen(self->replay, "r");
    if (!in) {
        perror(self->replay);
        exit(64);
    }
    int rc = schedule_read(&schedule, in, error, sizeof error);
    fclose(in);
    if (rc) {
        fprintf(stderr, "%s: not a line of a schedule: %s\n", self->replay, error);
        exit(64);
    }
    return schedule_run(self, &schedule, &counts, true);
}

/* ---- options ---- */

static uint64_t number_of(const char *text) {
    char *end;
    uint64_t number = text ? strtoull(text, &end, 10) : 0;
    if (!text || *end || end == text) {
        fputs(usage, stderr);
        exit(64);
    }
    return number;
}

static void options_read(sim_t *self, int argc, char **argv) {
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'S'},
        {"nodes", required_argument, NULL, 'n'},
        {"steps", required_argument, NULL, 'm'},
        {"replay", required_argument, NULL, 'r'},
        {"save", required_argument, NULL, 'f'},
        {"trace", no_argument, NULL, 't'},
        {"twice", no_argument, NULL, '2'},
        {"no-shrink", no_argument, NULL, 'N'},
        {"break", no_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
        case 'S':
            self->first = number_of(optarg);
            self->count = option == 's' ? 1 : number_of(optind < argc ? argv[optind++] : NULL);
            break;
        case 'n':
            self->nodes = (uint32_t) number_of(optarg);
            break;
        case 'm':
            self->steps_max = number_of(optarg);
            break;
        case 'r':
            self->replay = optarg;
            break;
        case 'f':
            self->save = optarg;
            break;
        case 't':
            self->trace = true;
            break;
        case '2':
            self->twice = true;
            break;
        case 'N':
            self->no_shrink = true;
            break;
        case 'b':
            self->broken_on_test = true;
            break;
        default:
            fputs(usage, stderr);
            exit(64);
        }
    }
}

int main(int argc, char **argv) {
    sim_t self = {.first = 1, .count = 100};
    options_read(&self, argc, argv);
    (void) signal(SIGABRT, on_abort);
    /* Worlds come and go: their memory is kept for the next one; what is large and hardly touched
     * is not cleared by hand. */
    (void) mallopt(M_MMAP_THRESHOLD, SIM_LARGE_BYTES);
    (void) mallopt(M_TRIM_THRESHOLD, SIM_MEMORY_BYTES);
    bool good = self.replay ? replay_run(&self) : seeds_run(&self);
    return good ? 0 : 1;
}
