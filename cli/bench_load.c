/* bench_load.c: when operations begin, and what becomes of them.
 *
 *   OPENING --all lanes answer, all watches know the first state--> LOADING --time or count is
 *   over--> DRAINING --nothing is in flight, all was delivered--> over
 *
 * Invariants
 *  1. With a rate, operation n is to begin n / rate after the first, however long those before it
 *     take; what it waits for a free slot is part of its latency.
 *  2. A slot is in `idle` or its operation is in flight, never both.
 *  3. Every wait ends: operations by their deadline, deliveries a timeout after the last.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/bench.h"
#include "cli/interrupt.h"

#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u

static int bench_open(bench_t *self, const cli_t *cli);
static int bench_load(bench_t *self, const cli_t *cli, int interrupt_fd);
static void bench_close(bench_t *self);

uint64_t bench_now_ns(void) {
    struct timespec now = {0, 0};
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * NS_PER_S + (uint64_t) now.tv_nsec;
}

int bench_run(const cli_t *cli, const bench_plan_t *plan, bench_result_t *out) {
    int interrupt_fd = interrupt_open(0);
    bench_t *self = calloc(1, sizeof *self);
    if (interrupt_fd < 0 || !self) {
        free(self);
        return cli_fail(EXIT_SYSTEM, "no descriptor or memory left");
    }
    self->plan = *plan;
    self->result = out;
    int code = bench_open(self, cli);
    if (code == EXIT_OK)
        code = bench_load(self, cli, interrupt_fd);
    bench_close(self);
    free(self);
    (void) close(interrupt_fd);
    return code;
}

/* ---- opening and closing ---- */

/* The same endpoints, beginning with another one for each lane, so that all nodes have their share.
 * NULL: out of memory; the caller frees it. */
static char *endpoints_rotate(const char *endpoints, size_t lane) {
    size_t size = strlen(endpoints), count = 1;
    for (const char *at = endpoints; *at; at++)
        count += *at == ',';
    const char *first = endpoints;
    for (size_t i = 0; i < lane % count; i++)
        first = strchr(first, ',') + 1;
    char *rotated = malloc(size + 2);
    if (!rotated)
        return NULL;
    size_t tail = size - (size_t) (first - endpoints);
    memcpy(rotated, first, tail);
    rotated[tail] = ',';
    memcpy(rotated + tail + 1, endpoints, size - tail);
    rotated[size] = '\0'; /* over the comma at the end, or the one put there */
    return rotated;
}

/* A client that is connected: what that takes is no part of the figures. */
static int lane_open(lane_t *lane, void *context, const cli_t *cli, size_t at) {
    char *endpoints = cli->endpoints ? endpoints_rotate(cli->endpoints, at) : NULL;
    int error = cli->endpoints && !endpoints
                    ? DRAX_ERR_NO_MEMORY
                    : drax_new_in(&lane->drax, context, endpoints, NULL, NULL);
    free(endpoints);
    if (error == 0)
        error = drax_timeout_set(lane->drax, cli->timeout_ms);
    if (error == 0)
        error = drax_ping(lane->drax, NULL, NULL);
    if (error == 0 && drax_fd(lane->drax) < 0)
        error = DRAX_ERR_SYSTEM;
    return error;
}

static int bench_open(bench_t *self, const cli_t *cli) {
    self->slot_count = (size_t) (self->plan.clients * self->plan.pipeline);
    self->lanes = calloc(self->plan.connections, sizeof *self->lanes);
    self->slots = calloc(self->slot_count, sizeof *self->slots);
    self->idle = calloc(self->slot_count, sizeof(slot_t *));
    self->context = zmq_ctx_new();
    int error = self->lanes && self->slots && self->idle && self->context ? bench_work_open(self)
                                                                          : DRAX_ERR_NO_MEMORY;
    for (size_t i = 0; error == 0 && i < self->plan.connections; i++)
        error = lane_open(&self->lanes[i], self->context, cli, i);
    if (error == 0)
        error = bench_watch_open(self);
    if (error != 0)
        return cli_fail(cli_error_exit(error), "%s: %s", drax_error_name(error),
                        drax_error_text(error));
    for (size_t i = 0; i < self->slot_count; i++) {
        self->slots[i] = (slot_t){.bench = self, .lane = i % self->plan.connections};
        self->idle[self->idle_count++] = &self->slots[i];
    }
    return EXIT_OK;
}

static void bench_close(bench_t *self) {
    self->closing = true;
    if (self->lanes) {
        bench_watch_close(self);
        for (size_t i = 0; i < self->plan.connections; i++)
            drax_destroy(&self->lanes[i].drax);
    }
    while (self->context && zmq_ctx_term(self->context) != 0 && errno == EINTR)
        ;
    bench_work_close(self);
    free(self->lanes);
    free(self->slots);
    free(self->idle);
}

/* ---- operations ---- */

void bench_failed(bench_t *self, int error) {
    self->result->errors[-error < BENCH_ERRORS ? -error : -DRAX_ERR_PROTOCOL]++;
    if (self->result->error == 0)
        self->result->error = error;
}

void bench_ended(slot_t *slot, int error) {
    bench_t *self = slot->bench;
    if (self->closing)
        return;
    self->last_ns = bench_now_ns();
    uint64_t took_ns = self->last_ns - slot->start_ns;
    if (error == 0)
        histogram_add(&self->result->operations, took_ns);
    else
        bench_failed(self, error);
    bench_live_add(&self->live, error, took_ns);
    self->idle[(self->idle_first + self->idle_count++) % self->slot_count] = slot;
}

/* When operation `number` is to begin. */
static uint64_t start_of(const bench_t *self, uint64_t number) {
    uint64_t rate = self->plan.rate;
    return self->begin_ns + number / rate * NS_PER_S + number % rate * NS_PER_S / rate;
}

static bool counted_out(const bench_t *self) {
    return self->plan.count != 0 && self->begun == self->plan.count;
}

/* Begins what is due and finds a slot. False: a client is full, and what is in flight must end
 * first. */
static bool operations_begin(bench_t *self, uint64_t now_ns) {
    while (self->idle_count > 0 && !counted_out(self)) {
        slot_t *slot = self->idle[self->idle_first];
        slot->start_ns = self->plan.rate == 0 ? now_ns : start_of(self, self->begun);
        if (slot->start_ns > now_ns)
            return true;
        self->idle_first = (self->idle_first + 1) % self->slot_count;
        self->idle_count--;
        self->lanes[slot->lane].submitted = true;
        int error = bench_work_begin(slot);
        if (error == DRAX_ERR_FULL) {
            self->idle[(self->idle_first + self->idle_count++) % self->slot_count] = slot;
            return false;
        }
        self->begun++;
        if (error != 0)
            bench_ended(slot, error);
    }
    return true;
}

/* ---- the loop ---- */

/* Lets every client with news do its work. How many callbacks it made, or DRAX_ERR_… */
static int lanes_process(bench_t *self, const struct pollfd *items) {
    int count = 0;
    for (size_t i = 0; i < self->plan.connections; i++) {
        lane_t *lane = &self->lanes[i];
        if (!lane->submitted && !items[i].revents)
            continue;
        lane->submitted = false;
        int called = drax_process(lane->drax);
        if (called < 0)
            return called;
        count += called;
    }
    return count;
}

/* Waits until a client has news, the interrupt comes, or `until_ns` (UINT64_MAX: as long as it
 * takes). 0 or DRAX_ERR_SYSTEM. */
static int lanes_wait(bench_t *self, struct pollfd *items, uint64_t until_ns) {
    uint64_t now_ns = bench_now_ns();
    uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec wait = {.tv_sec = (time_t) (wait_ns / NS_PER_S),
                            .tv_nsec = (long) (wait_ns % NS_PER_S)};
    int ready =
        ppoll(items, self->plan.connections + 1, until_ns == UINT64_MAX ? NULL : &wait, NULL);
    return ready < 0 && errno != EINTR ? DRAX_ERR_SYSTEM : 0;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* A first state that all watches know; until then nothing is to begin. */
static int watches_sync(bench_t *self, const cli_t *cli, struct pollfd *items) {
    uint64_t until_ns = bench_now_ns() + cli->timeout_ms * NS_PER_MS;
    int error = 0;
    while (error == 0 && self->unsynced > 0 && !self->broken) {
        if (items[self->plan.connections].revents)
            return DRAX_ERR_CLOSED;
        if (bench_now_ns() >= until_ns)
            return DRAX_ERR_UNAVAILABLE;
        int called = lanes_process(self, items);
        error = called < 0 ? called : called > 0 ? 0 : lanes_wait(self, items, until_ns);
    }
    return self->broken ? self->result->error : error;
}

/* Everything that began has ended, and is delivered or will not be any more. */
static bool drained(const bench_t *self, const cli_t *cli, uint64_t now_ns) {
    if (self->idle_count < self->slot_count)
        return false;
    uint64_t heard_ns = self->delivered_ns > self->last_ns ? self->delivered_ns : self->last_ns;
    return self->delivered >= self->expected || self->broken ||
           now_ns >= heard_ns + cli->timeout_ms * NS_PER_MS;
}

/* When there is something to do without news: the line to be drawn, the end, the next operation. */
static uint64_t wake_ns(const bench_t *self, const cli_t *cli, uint64_t end_ns, bool over,
                        bool full) {
    uint64_t until_ns = bench_live_next_ns(&self->live);
    if (over && self->idle_count == self->slot_count)
        return smaller(until_ns, bench_now_ns() + cli->timeout_ms * NS_PER_MS);
    if (over)
        return until_ns;
    if (self->plan.rate != 0 && self->idle_count > 0 && !full)
        until_ns = smaller(until_ns, start_of(self, self->begun));
    return smaller(until_ns, end_ns);
}

/* The loop, from the first operation to the last. 0 or DRAX_ERR_… */
static int operations_run(bench_t *self, const cli_t *cli, struct pollfd *items) {
    uint64_t end_ns = self->plan.duration_ms == 0
                          ? UINT64_MAX
                          : self->begin_ns + self->plan.duration_ms * NS_PER_MS;
    int error = 0;
    while (error == 0) {
        uint64_t now_ns = bench_now_ns();
        bool over = now_ns >= end_ns || counted_out(self) || self->broken;
        bool full = !over && !operations_begin(self, now_ns);
        if (over && drained(self, cli, now_ns))
            return 0;
        if (items[self->plan.connections].revents) {
            self->result->interrupted = true;
            return 0;
        }
        int called = lanes_process(self, items);
        if (now_ns >= bench_live_next_ns(&self->live))
            bench_live_show(&self->live, now_ns);
        /* After callbacks there is more to begin: only a look, no wait. */
        uint64_t until_ns = called > 0 ? 0 : wake_ns(self, cli, end_ns, over, full);
        error = called < 0 ? called : lanes_wait(self, items, until_ns);
    }
    return error;
}

/* How many operations the rate asked for until now, beyond those that began. */
static uint64_t behind_count(const bench_t *self) {
    uint64_t rate = self->plan.rate;
    uint64_t elapsed_ns = self->result->elapsed_ns;
    if (self->plan.duration_ms != 0)
        elapsed_ns = smaller(elapsed_ns, self->plan.duration_ms * NS_PER_MS);
    uint64_t asked = elapsed_ns / NS_PER_S * rate + elapsed_ns % NS_PER_S * rate / NS_PER_S;
    if (self->plan.count != 0)
        asked = smaller(asked, self->plan.count);
    return asked > self->begun ? asked - self->begun : 0;
}

static int bench_load(bench_t *self, const cli_t *cli, int interrupt_fd) {
    struct pollfd items[BENCH_CONNECTIONS + 1] = {{0}};
    bench_result_t *result = self->result;
    for (size_t i = 0; i < self->plan.connections; i++) {
        items[i] = (struct pollfd){.fd = drax_fd(self->lanes[i].drax), .events = POLLIN};
        self->lanes[i].submitted = true;
    }
    items[self->plan.connections] = (struct pollfd){.fd = interrupt_fd, .events = POLLIN};
    int error = watches_sync(self, cli, items);
    if (error == DRAX_ERR_CLOSED) {
        result->interrupted = true;
        return EXIT_OK;
    }
    self->begin_ns = self->last_ns = bench_now_ns();
    bench_live_begin(&self->live, self->begin_ns);
    if (error == 0)
        error = operations_run(self, cli, items);
    bench_live_end(&self->live);
    if (error != 0)
        return cli_fail(cli_error_exit(error), "%s: %s", drax_error_name(error),
                        drax_error_text(error));
    result->elapsed_ns = self->last_ns - self->begin_ns;
    result->behind = behind_count(self);
    result->missing = self->expected > self->delivered ? self->expected - self->delivered : 0;
    return EXIT_OK;
}
