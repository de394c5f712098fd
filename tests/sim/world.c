/* world.c: life of a world, its events, and what world.h offers that is not a connection. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

/* ---- time and chance ---- */

uint64_t world_now_us(const world_t *self) {
    return self->now_us;
}

stream_t world_stream(const world_t *self, uint64_t label) {
    return stream_new(self->schedule->seed, label);
}

uint64_t world_soon(world_t *self, uint64_t low_us, uint64_t high_us) {
    return self->now_us + stream_range(&self->random, low_us, high_us);
}

void world_event(world_t *self, uint64_t at_us, void (*happen)(void *hint, uint64_t argument),
                 void *hint, uint64_t argument) {
    event_t event = {.at_us = at_us > self->now_us ? at_us : self->now_us,
                     .happen = happen,
                     .hint = hint,
                     .argument = argument};
    events_add(&self->events, &event);
}

void world_event_owning(world_t *self, uint64_t at_us,
                        void (*happen)(void *hint, uint64_t argument), void (*discard)(void *hint),
                        void *hint) {
    event_t event = {.at_us = at_us > self->now_us ? at_us : self->now_us,
                     .happen = happen,
                     .discard = discard,
                     .hint = hint};
    events_add(&self->events, &event);
}

typedef struct user_timer {
    world_timer_fn *fire;
    void *hint;
} user_timer_t;

static void timer_happen(void *hint, uint64_t argument) {
    (void) argument;
    user_timer_t timer = *(user_timer_t *) hint;
    free(hint);
    timer.fire(timer.hint);
}

void world_timer(world_t *self, uint64_t at_us, world_timer_fn *fire, void *hint) {
    user_timer_t *timer = malloc(sizeof *timer);
    if (!timer)
        abort();
    *timer = (user_timer_t){fire, hint};
    world_event_owning(self, at_us, timer_happen, free, timer);
}

/* ---- white box ---- */

const struct storage_actor *world_storage(const world_t *self, unsigned slot) {
    return self->machines[slot].processes[ACTOR_STORAGE].storage;
}

const struct raft_actor *world_raft(const world_t *self, unsigned slot) {
    return self->machines[slot].processes[ACTOR_RAFT].raft;
}

const struct gateway_actor *world_gateway(const world_t *self, unsigned slot) {
    return self->machines[slot].processes[ACTOR_GATEWAY].gateway;
}

unsigned world_disk(const world_t *self, unsigned slot) {
    return self->machines[slot].disks;
}

uint64_t world_life(const world_t *self, unsigned slot, actor_t actor) {
    return self->machines[slot].processes[actor].life;
}

uint64_t world_awake_ms(const world_t *self, unsigned slot, actor_t actor) {
    const process_t *process = &self->machines[slot].processes[actor];
    uint64_t to_come_us = process->paused_us > self->now_us ? process->paused_us - self->now_us : 0;
    return (self->now_us + to_come_us - process->pauses_us) / 1000u;
}

struct checks *world_checks(const world_t *self) {
    return self->checks;
}

/* ---- telling ---- */

bool world_tracing(const world_t *self) {
    return self->options.trace != NULL;
}

void world_trace(world_t *self, const char *format, ...) {
    if (!self->options.trace || self->ending)
        return;
    va_list arguments;
    va_start(arguments, format);
    fprintf(self->options.trace, "%2llu.%06llu ", (unsigned long long) (self->now_us / 1000000u),
            (unsigned long long) (self->now_us % 1000000u));
    vfprintf(self->options.trace, format, arguments);
    fputc('\n', self->options.trace);
    va_end(arguments);
}

void world_mix(world_t *self, uint64_t fact) {
    uint64_t mixed = (self->hash ^ fact) * UINT64_C(0x9fb21c651e98df25);
    self->hash = mixed ^ mixed >> 32;
}

void world_fail(world_t *self, const char *check, const char *format, ...) {
    if (self->failed)
        return;
    self->failed = true;
    va_list arguments;
    va_start(arguments, format);
    (void) snprintf(self->check, sizeof self->check, "%s", check);
    (void) vsnprintf(self->text, sizeof self->text, format, arguments);
    va_end(arguments);
    world_trace(self, "VIOLATION %s: %s", self->check, self->text);
}

bool world_failed(const world_t *self) {
    return self->failed;
}

/* ---- life ---- */

static void world_init(world_t *self, const schedule_t *schedule, const run_options_t *options) {
    self->options = *options;
    self->schedule = schedule;
    self->random = stream_new(schedule->seed, 1);
    self->damage = stream_new(schedule->seed, 2);
    self->checks = checks_new(self);
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        machine_init(self, slot);
    network_init(self);
    machine_t *first = &self->machines[0];
    first->founds = true;
    for (unsigned slot = 0; slot < schedule->nodes; slot++)
        machine_start(&self->machines[slot], slot ? stream_range(&self->random, 1, 200000) : 0);
    users_options_t users = {.slots = WORLD_SLOTS,
                             .users = schedule->users,
                             .pause_us = schedule->pause_us,
                             .broken_on_test = options->broken_on_test};
    self->users = users_new(self, &users);
    faults_plan(self);
}

static void world_clear(world_t *self) {
    self->ending = true;
    events_clear(&self->events);
    settle_clear(self);
    users_destroy(&self->users);
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        machine_clear(&self->machines[slot]);
    checks_destroy(&self->checks);
    connections_clear(self);
    for (size_t i = 0; i < WORLD_STALE; i++)
        frames_clear(&self->stale[i].frames);
    frames_clear(&self->frames);
}

/* The process whose turn is next, of several the one with the lowest place. */
static size_t process_next(const world_t *self) {
    size_t next = 0;
    for (size_t i = 1; i < WORLD_PROCESSES; i++)
        next = self->due_us[i] < self->due_us[next] ? i : next;
    return next;
}

/* One event or one turn; at equal times the event. False: nothing will ever happen again. */
static bool world_step(world_t *self) {
    size_t next = process_next(self);
    uint64_t due_us = self->due_us[next];
    event_t event;
    if (self->events.count && self->events.items[0].at_us <= due_us) {
        (void) events_next(&self->events, &event);
        self->now_us = event.at_us;
        event.happen(event.hint, event.argument);
        return true;
    }
    if (due_us == UINT64_MAX)
        return false;
    self->now_us = due_us;
    process_turn(world_process(self, (unsigned) (next / WORLD_ACTORS),
                               (actor_t) (ACTOR_STORAGE + next % WORLD_ACTORS)));
    return true;
}

static void world_run(world_t *self) {
    while (!self->failed && !self->settled && world_step(self))
        if (++self->steps == self->options.steps_max)
            break;
}

void run(const schedule_t *schedule, const run_options_t *options, run_result_t *out) {
    world_t *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    world_init(self, schedule, options);
    world_run(self);
    *out = (run_result_t){
        .failed = self->failed, .at_us = self->now_us, .hash = self->hash, .counts = self->counts};
    memcpy(out->check, self->check, sizeof out->check);
    memcpy(out->text, self->text, sizeof out->text);
    out->counts.runs = 1;
    out->counts.steps = self->steps;
    out->counts.simulated_us = self->now_us;
    out->counts.operations = users_operations(self->users);
    history_locks_t locks = users_locks(self->users);
    out->counts.granted = locks.granted;
    out->counts.handed_on = locks.handed_on;
    out->counts.refused = locks.refused;
    out->counts.fenced = locks.fenced;
    world_clear(self);
    free(self);
}
