/* bench_report.c: what a run came to, for people and for programs. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/json.h"

#define LIVE_NS 1000000000u
#define BAR_CELLS 50u

typedef struct quantile {
    const char *text, *name; /* in text, and in JSON */
    double share;
} quantile_t;

static const quantile_t quantiles[] = {
    {"p50", "p50", 0.5}, {"p90", "p90", 0.9}, {"p99", "p99", 0.99}, {"p99.9", "p999", 0.999}};
#define QUANTILES (sizeof quantiles / sizeof *quantiles)

const char *bench_work_name(bench_work_t work) {
    static const char *const names[] = {"put", "get", "mixed", "watch", "lock"};
    return names[work];
}

/* What the parts are called; NULL: there is none. */
static const char *part_name(bench_work_t work, size_t part) {
    static const char *const names[][BENCH_PARTS] = {[BENCH_MIXED] = {"reads", "writes"},
                                                     [BENCH_WATCH] = {"deliveries", NULL},
                                                     [BENCH_LOCK] = {"locking", "unlocking"}};
    return work == BENCH_PUT || work == BENCH_GET ? NULL : names[work][part];
}

static double throughput(uint64_t count, uint64_t elapsed_ns) {
    return elapsed_ns > 0 ? (double) count * 1e9 / (double) elapsed_ns : 0;
}

/* ---- text ---- */

/* Three digits and a unit. */
static void duration_print(FILE *out, uint64_t ns) {
    double value = (double) ns / 1000;
    const char *unit = "us";
    if (value >= 1e6) {
        value /= 1e6;
        unit = "s";
    } else if (value >= 1e3) {
        value /= 1e3;
        unit = "ms";
    }
    fprintf(out, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, unit);
}

static void latency_print(const char *name, const histogram_t *histogram) {
    printf("%-12s", name);
    for (size_t i = 0; i < QUANTILES; i++) {
        printf("%s ", quantiles[i].text);
        duration_print(stdout, histogram_quantile(histogram, quantiles[i].share));
        fputs("  ", stdout);
    }
    fputs("max ", stdout);
    duration_print(stdout, histogram->max);
    fputs("  mean ", stdout);
    duration_print(stdout, (uint64_t) histogram_mean(histogram));
    fputc('\n', stdout);
}

/* A row for each of 1, 2, 5, 10, … us that values lie below; to 1/64 of that, as the buckets go. */
static void histogram_print(const histogram_t *histogram) {
    static const uint64_t steps[] = {1, 2, 5};
    uint64_t below = 0, scale = 1000;
    fputc('\n', stdout);
    for (size_t i = 0; below < histogram->count; i++) {
        uint64_t bound = steps[i % 3] * scale;
        scale *= i % 3 == 2 ? 10 : 1;
        bool last = bound > UINT64_MAX / 100;
        uint64_t count = last ? histogram->count : histogram_count_to(histogram, bound);
        if (count > 0) {
            double share = (double) (count - below) / (double) histogram->count;
            unsigned cells = (unsigned) (share * BAR_CELLS + 0.5);
            fputs("up to ", stdout);
            duration_print(stdout, bound);
            printf("\t%10" PRIu64 " %6.2f%% ", count - below, share * 100);
            for (unsigned cell = 0; cell < cells; cell++)
                fputc('#', stdout);
            fputc('\n', stdout);
        }
        below = count;
    }
}

static void errors_print(const bench_result_t *result) {
    const char *separator = "errors      ";
    for (int code = 1; code < BENCH_ERRORS; code++)
        if (result->errors[code] > 0) {
            printf("%s%s %" PRIu64, separator, drax_error_name(-code), result->errors[code]);
            separator = ", ";
        }
    printf("%s\n", result->error == 0 ? "errors      none" : "");
}

static void plan_print(const bench_plan_t *plan) {
    printf("workload    %s: clients %" PRIu64 " x %" PRIu64 " in flight, connections %" PRIu64
           ", keys %" PRIu64 " of %" PRIu64 " bytes",
           bench_work_name(plan->work), plan->clients, plan->pipeline, plan->connections,
           plan->keys, plan->key_size);
    if (plan->work != BENCH_LOCK)
        printf(", values of %" PRIu64 " bytes", plan->value_size);
    if (plan->work == BENCH_MIXED)
        printf(", reads %" PRIu64 "%%", plan->reads);
    if (plan->stale)
        fputs(", stale", stdout);
    if (plan->watchers > 0)
        printf(", watchers %" PRIu64, plan->watchers);
    if (plan->rate > 0)
        printf(", rate %" PRIu64 "/s", plan->rate);
    fputc('\n', stdout);
}

static void text_report(const bench_plan_t *plan, const bench_result_t *result) {
    const histogram_t *operations = &result->operations;
    plan_print(plan);
    printf("operations  %" PRIu64 " in %.3f s%s\n", operations->count,
           (double) result->elapsed_ns / 1e9, result->interrupted ? ", interrupted" : "");
    printf("throughput  %.1f/s\n", throughput(operations->count, result->elapsed_ns));
    latency_print("latency", operations);
    for (size_t i = 0; i < BENCH_PARTS && part_name(plan->work, i); i++)
        latency_print(part_name(plan->work, i), &result->parts[i]);
    if (plan->work == BENCH_WATCH)
        printf("delivered   %" PRIu64 ", %.1f/s, missing %" PRIu64 "\n", result->parts[0].count,
               throughput(result->parts[0].count, result->elapsed_ns), result->missing);
    if (plan->rate > 0)
        printf("behind      %" PRIu64 "\n", result->behind);
    errors_print(result);
    histogram_print(plan->work == BENCH_WATCH ? &result->parts[0] : operations);
}

/* ---- JSON ---- */

static json_t *latency_json(const histogram_t *histogram) {
    json_t *object =
        json_pack("{s:I, s:I, s:I}", "count", (json_int_t) histogram->count, "mean",
                  (json_int_t) histogram_mean(histogram), "max", (json_int_t) histogram->max);
    for (size_t i = 0; i < QUANTILES; i++)
        (void) json_object_set_new(
            object, quantiles[i].name,
            json_integer((json_int_t) histogram_quantile(histogram, quantiles[i].share)));
    return object;
}

/* [[the largest value of a bucket, how many lie in it]…] */
static json_t *histogram_json(const histogram_t *histogram) {
    json_t *array = json_array();
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->buckets[i] == 0)
            continue;
        uint64_t end = histogram_bucket_end(i);
        end = end < histogram->max ? end : histogram->max;
        (void) json_array_append_new(
            array, json_pack("[I, I]", (json_int_t) end, (json_int_t) histogram->buckets[i]));
    }
    return array;
}

static json_t *errors_json(const bench_result_t *result) {
    json_t *object = json_object();
    for (int code = 1; code < BENCH_ERRORS; code++)
        if (result->errors[code] > 0)
            (void) json_object_set_new(object, drax_error_name(-code),
                                       json_integer((json_int_t) result->errors[code]));
    return object;
}

static json_t *plan_json(const bench_plan_t *plan) {
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "workload",
                     bench_work_name(plan->work), "clients", (json_int_t) plan->clients, "pipeline",
                     (json_int_t) plan->pipeline, "connections", (json_int_t) plan->connections,
                     "keys", (json_int_t) plan->keys, "key_size", (json_int_t) plan->key_size,
                     "value_size", (json_int_t) plan->value_size, "rate", (json_int_t) plan->rate,
                     "reads", (json_int_t) plan->reads, "watchers", (json_int_t) plan->watchers,
                     "stale", (int) plan->stale);
}

static int json_report(const bench_plan_t *plan, const bench_result_t *result) {
    json_t *object = plan_json(plan);
    json_t *figures = json_pack(
        "{s:I, s:I, s:f, s:I, s:I, s:b, s:o, s:o, s:o}", "elapsed_ns",
        (json_int_t) result->elapsed_ns, "operations", (json_int_t) result->operations.count,
        "throughput", throughput(result->operations.count, result->elapsed_ns), "behind",
        (json_int_t) result->behind, "missing", (json_int_t) result->missing, "interrupted",
        (int) result->interrupted, "errors", errors_json(result), "latency_ns",
        latency_json(&result->operations), "histogram_ns", histogram_json(&result->operations));
    bool good = object && figures && json_object_update(object, figures) == 0;
    json_decref(figures);
    for (size_t i = 0; i < BENCH_PARTS && part_name(plan->work, i); i++)
        good = good && json_object_set_new(object, part_name(plan->work, i),
                                           latency_json(&result->parts[i])) == 0;
    if (good && json_line_print(stdout, object))
        return EXIT_OK;
    if (!good)
        json_decref(object);
    return cli_fail(EXIT_SYSTEM, "out of memory");
}

int bench_report(const cli_t *cli, const bench_plan_t *plan, const bench_result_t *result) {
    if (cli->output == OUTPUT_JSON)
        return json_report(plan, result);
    text_report(plan, result);
    return EXIT_OK;
}

/* ---- while it runs ---- */

void bench_live_begin(bench_live_t *self, uint64_t now_ns) {
    *self = (bench_live_t){.terminal = isatty(STDERR_FILENO) == 1};
    self->start_ns = self->shown_ns = now_ns;
}

void bench_live_add(bench_live_t *self, int error, uint64_t took_ns) {
    if (!self->terminal)
        return;
    if (error == 0)
        histogram_add(&self->since, took_ns);
    else
        self->errors++;
}

uint64_t bench_live_next_ns(const bench_live_t *self) {
    return self->terminal ? self->shown_ns + LIVE_NS : UINT64_MAX;
}

void bench_live_show(bench_live_t *self, uint64_t now_ns) {
    fprintf(stderr, "\r\033[K%.0f s  %.0f/s  p50 ", (double) (now_ns - self->start_ns) / 1e9,
            throughput(self->since.count, now_ns - self->shown_ns));
    duration_print(stderr, histogram_quantile(&self->since, 0.5));
    fputs("  p99 ", stderr);
    duration_print(stderr, histogram_quantile(&self->since, 0.99));
    fprintf(stderr, "  errors %" PRIu64, self->errors);
    fflush(stderr);
    self->shown_ns = now_ns;
    self->since = (histogram_t){.count = 0};
}

void bench_live_end(bench_live_t *self) {
    if (self->terminal && self->shown_ns != self->start_ns)
        fputs("\r\033[K", stderr);
}
