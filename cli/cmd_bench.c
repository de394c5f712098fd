/* cmd_bench.c: bench put, get, mixed, watch and lock: flags to a plan, prefill, run, report. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/cli.h"

#define PREFILL_CLIENTS 256u

static int put_run(cli_t *cli);
static int get_run(cli_t *cli);
static int mixed_run(cli_t *cli);
static int watch_run(cli_t *cli);
static int lock_run(cli_t *cli);

#define LOAD_FLAGS                                                                                 \
    {"clients", FLAG_NUMBER}, {"pipeline", FLAG_NUMBER}, {"connections", FLAG_NUMBER},             \
        {"rate", FLAG_NUMBER}, {"duration", FLAG_DURATION}, {"count", FLAG_NUMBER}, {              \
        "key-size", FLAG_NUMBER                                                                    \
    }
#define LOAD_HELP                                                                                  \
    "  --clients N       so many at once (1)\n"                                                    \
    "  --pipeline N      operations that each client keeps in flight (1)\n"                        \
    "  --connections N   that the clients share, spread over the endpoints (1); each takes\n"      \
    "                    at most 512 operations in flight\n"                                       \
    "  --rate N          begin so many operations a second; latencies then count from the\n"       \
    "                    moment each was to begin (as fast as it goes)\n"                          \
    "  --duration D      how long operations begin (10s, or as --count says)\n"                    \
    "  --count N         how many operations\n"                                                    \
    "  --key-size N      bytes of a key (16)\n"
#define KEYS_HELP "  --keys N          keys to choose among (100000)\n"
#define VALUE_HELP "  --value-size N    bytes of a value (256)\n"
#define PREFILL_HELP "  --prefill         write every key once before\n"

const command_t commands_bench[] = {
    {"bench put",
     "[FLAG...]",
     "Measures writes under bench/",
     LOAD_HELP KEYS_HELP VALUE_HELP PREFILL_HELP,
     0,
     0,
     {LOAD_FLAGS, {"keys", FLAG_NUMBER}, {"value-size", FLAG_NUMBER}, {"prefill", FLAG_SWITCH}},
     put_run},
    {"bench get",
     "[FLAG...]",
     "Measures reads; a key that is not there is an error",
     LOAD_HELP KEYS_HELP VALUE_HELP PREFILL_HELP
     "  --stale           reads that ask one node alone\n",
     0,
     0,
     {LOAD_FLAGS,
      {"keys", FLAG_NUMBER},
      {"value-size", FLAG_NUMBER},
      {"prefill", FLAG_SWITCH},
      {"stale", FLAG_SWITCH}},
     get_run},
    {"bench mixed",
     "[FLAG...]",
     "Measures reads and writes together",
     LOAD_HELP KEYS_HELP VALUE_HELP PREFILL_HELP
     "  --reads N         reads among 100 operations (90)\n"
     "  --stale           reads that ask one node alone\n",
     0,
     0,
     {LOAD_FLAGS,
      {"keys", FLAG_NUMBER},
      {"value-size", FLAG_NUMBER},
      {"prefill", FLAG_SWITCH},
      {"stale", FLAG_SWITCH},
      {"reads", FLAG_NUMBER}},
     mixed_run},
    {"bench watch",
     "[FLAG...]",
     "Measures how soon writes of one key reach those who watch it",
     LOAD_HELP VALUE_HELP "  --watchers N      watches, spread over the connections (100)\n",
     0,
     0,
     {LOAD_FLAGS, {"value-size", FLAG_NUMBER}, {"watchers", FLAG_NUMBER}},
     watch_run},
    {"bench lock",
     "[FLAG...]",
     "Measures locks: an operation takes one and gives it back",
     LOAD_HELP KEYS_HELP,
     0,
     0,
     {LOAD_FLAGS, {"keys", FLAG_NUMBER}},
     lock_run},
    {0}};

/* ---- flags ---- */

static size_t flag_at(const cli_t *cli, const char *name) {
    size_t at = 0;
    while (at < CLI_FLAGS && cli->command->flags[at].name &&
           strcmp(cli->command->flags[at].name, name) != 0)
        at++;
    return at;
}

static bool flag_given(const cli_t *cli, const char *name) {
    size_t at = flag_at(cli, name);
    return at < CLI_FLAGS && cli->given[at];
}

/* A flag's number, or `standard` when it was not given. False after saying that it is none of
 * `least` to `most`. */
static bool flag_number(const cli_t *cli, const char *name, uint64_t standard, uint64_t least,
                        uint64_t most, uint64_t *out) {
    *out = flag_given(cli, name) ? cli->number[flag_at(cli, name)] : standard;
    if (*out >= least && *out <= most)
        return true;
    cli_fail(EXIT_USAGE, "--%s must be from %" PRIu64 " to %" PRIu64, name, least, most);
    return false;
}

/* The flags that every workload has, and those that it does not know at their standard values. */
static bool plan_read(const cli_t *cli, bench_work_t work, bench_plan_t *out) {
    uint64_t in_flight = (uint64_t) BENCH_CONNECTIONS * BENCH_LANE_OPERATIONS;
    uint64_t duration_ms = flag_given(cli, "count") ? 0 : 10000;
    bool watch = work == BENCH_WATCH;
    *out = (bench_plan_t){.work = work, .stale = flag_given(cli, "stale")};
    bool good =
        flag_number(cli, "clients", 1, 1, in_flight, &out->clients) &&
        flag_number(cli, "pipeline", 1, 1, BENCH_LANE_OPERATIONS, &out->pipeline) &&
        flag_number(cli, "connections", 1, 1, BENCH_CONNECTIONS, &out->connections) &&
        flag_number(cli, "rate", 0, 0, BENCH_RATE, &out->rate) &&
        flag_number(cli, "duration", duration_ms, 0, BENCH_DURATION_MS, &out->duration_ms) &&
        flag_number(cli, "count", 0, flag_given(cli, "count"), BENCH_COUNT, &out->count) &&
        flag_number(cli, "keys", watch ? 1 : 100000, 1, BENCH_KEYS, &out->keys) &&
        flag_number(cli, "key-size", BENCH_KEY_BYTES_MIN, BENCH_KEY_BYTES_MIN, BENCH_KEY_BYTES,
                    &out->key_size) &&
        flag_number(cli, "value-size", 256, BENCH_VALUE_BYTES_MIN, BENCH_VALUE_BYTES,
                    &out->value_size) &&
        flag_number(cli, "reads", 90, 0, 100, &out->reads) &&
        flag_number(cli, "watchers", watch ? 100 : 0, watch, BENCH_WATCHERS, &out->watchers);
    if (!good)
        return false;
    /* The first connections have one operation more when the division leaves a rest. */
    uint64_t lane = (out->clients * out->pipeline + out->connections - 1) / out->connections;
    if (lane <= BENCH_LANE_OPERATIONS)
        return true;
    cli_fail(EXIT_USAGE,
             "%" PRIu64
             " operations in flight on a connection are more than %u: more --connections",
             lane, BENCH_LANE_OPERATIONS);
    return false;
}

/* ---- running ---- */

/* What failed decides; a delivery that is missing counts as well. */
static int result_code(const bench_result_t *result) {
    if (result->error != 0)
        return cli_error_exit(result->error);
    return result->missing > 0 ? EXIT_TIMEOUT : EXIT_OK;
}

/* Writes each key once. */
static int prefill(const cli_t *cli, const bench_plan_t *plan, bench_result_t *result) {
    bench_plan_t fill = *plan;
    fill.work = BENCH_PUT;
    fill.clients = PREFILL_CLIENTS;
    fill.pipeline = fill.connections = 1;
    fill.rate = fill.duration_ms = fill.watchers = 0;
    fill.count = plan->keys;
    fill.sequential = true;
    int code = bench_run(cli, &fill, result);
    if (code == EXIT_OK && result->error != 0)
        code = cli_fail(cli_error_exit(result->error), "prefill: %s: %s",
                        drax_error_name(result->error), drax_error_text(result->error));
    return code;
}

static int work_run(const cli_t *cli, bench_work_t work) {
    bench_plan_t plan;
    if (!plan_read(cli, work, &plan))
        return EXIT_USAGE;
    bench_result_t *results = calloc(2, sizeof *results);
    if (!results)
        return cli_fail(EXIT_SYSTEM, "out of memory");
    int code = flag_given(cli, "prefill") ? prefill(cli, &plan, &results[0]) : EXIT_OK;
    if (code == EXIT_OK && !results[0].interrupted) {
        code = bench_run(cli, &plan, &results[1]);
        if (code == EXIT_OK)
            code = bench_report(cli, &plan, &results[1]);
        if (code == EXIT_OK)
            code = result_code(&results[1]);
    }
    free(results);
    return code;
}

static int put_run(cli_t *cli) {
    return work_run(cli, BENCH_PUT);
}

static int get_run(cli_t *cli) {
    return work_run(cli, BENCH_GET);
}

static int mixed_run(cli_t *cli) {
    return work_run(cli, BENCH_MIXED);
}

static int watch_run(cli_t *cli) {
    return work_run(cli, BENCH_WATCH);
}

static int lock_run(cli_t *cli) {
    return work_run(cli, BENCH_LOCK);
}
