/* process.c: an actor's life and its turns, as actors/life.c and actors/loop.c give them.
 *
 * A turn takes all letters that have arrived (up to LIMIT_TURN_MESSAGES), then lets the actor work,
 * all at one point of time; what it sends leaves when the disk calls before it are over, and until
 * the turn's end nothing more is received. So a slow sync holds up the process and nobody else.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

#define PROCESS_TURN_MIN_US 3u
#define PROCESS_TURN_MAX_US 25u
#define PROCESS_WAIT_MAX_MS 1000u /* as the loop's */
#define PROCESS_HOME "."
#define PROCESS_FLUSH_MS 300u /* more flushes to crash in than in production */

process_t *world_process(const world_t *self, unsigned slot, actor_t actor) {
    return (process_t *) &self->machines[slot].processes[actor];
}

/* ---- planning ---- */

void process_plan(process_t *self) {
    if (!self->alive)
        return;
    uint64_t at_us = letterbox_at(&self->letters);
    if (self->deadline_us < at_us)
        at_us = self->deadline_us;
    if (self->busy_us > at_us)
        at_us = self->busy_us;
    if (self->paused_us > at_us)
        at_us = self->paused_us;
    if (self->world->now_us > at_us)
        at_us = self->world->now_us;
    if (at_us < *self->due_us)
        *self->due_us = at_us;
}

void process_pause(process_t *self, uint64_t until_us) {
    uint64_t now_us = self->world->now_us;
    if (self->paused_us >= until_us)
        return;
    self->pauses_us += until_us - (self->paused_us > now_us ? self->paused_us : now_us);
    self->paused_us = until_us;
}

void process_resume(process_t *self) {
    uint64_t now_us = self->world->now_us;
    if (self->paused_us > now_us)
        self->pauses_us -= self->paused_us - now_us;
    self->paused_us = 0;
}

void process_deliver(process_t *self, letter_t *letter, uint64_t arrive_us) {
    if (!self->alive) {
        letter_destroy(&letter);
        return;
    }
    letter->arrive_us = arrive_us;
    letter->number = ++self->world->letters;
    letterbox_put(&self->letters, letter);
    process_plan(self);
}

/* ---- storage's workers ---- */

static worker_t *worker_of(process_t *self, unsigned which) {
    return which ? storage_actor_reserver(self->storage) : storage_actor_flusher(self->storage);
}

static void job_collect(void *hint, uint64_t argument) {
    process_t *self = hint;
    if (!self->alive || argument / 2 != self->life)
        return;
    self->job_planned[argument % 2] = false;
    self->deadline_us = self->world->now_us; /* the loop wakes up for it */
    worker_collect(worker_of(self, argument % 2));
    process_plan(self);
}

static void job_run(void *hint, uint64_t argument) {
    process_t *self = hint;
    if (!self->alive || argument / 2 != self->life)
        return;
    (void) disk_took_us(self->machine->disk);
    (void) worker_step(worker_of(self, argument % 2));
    uint64_t took_us = disk_took_us(self->machine->disk);
    if (machine_stopped_within(self->machine))
        return;
    world_event(self->world, world_soon(self->world, took_us + 1, took_us + 50), job_collect, self,
                argument);
}

static void jobs_plan(process_t *self) {
    for (unsigned which = 0; which < 2; which++) {
        if (self->job_planned[which] || !worker_waiting(worker_of(self, which)))
            continue;
        self->job_planned[which] = true;
        world_event(self->world, world_soon(self->world, 20, 400), job_run, self,
                    2 * self->life + which);
    }
}

/* ---- a turn ---- */

static void message_trace(process_t *self, const message_t *message) {
    char text[256];
    if (!world_tracing(self->world))
        return;
    message_text(message, text, sizeof text);
    const char *from = message->actor == ACTOR_NONE ? "peer" : actor_name(message->actor);
    world_trace(self->world, "n%u %s <- %s: %s", self->machine->slot, actor_name(self->actor), from,
                text);
}

static void letter_receive(process_t *self, letter_t *letter, uint64_t now_ms) {
    world_t *world = self->world;
    message_t *message = &world->message;
    switch (letter->kind) {
    case LETTER_CLIENT:
        connection_receive(self, letter, now_ms);
        break;
    case LETTER_NEWS:
        self->ops->peer_event(self->self, letter->peer, letter->up, now_ms);
        break;
    case LETTER_PEER:
        letter_open(letter, message);
        world->counts.messages++;
        message->actor = ACTOR_NONE; /* whatever it says, it is no actor of this node */
        message_trace(self, message);
        self->ops->receive(self->self, message, now_ms);
        break;
    case LETTER_LOCAL:
        letter_open(letter, message);
        world->counts.messages++;
        message_trace(self, message);
        local_receive(self, message, now_ms);
        break;
    }
}

static void letters_drain(process_t *self, uint64_t now_ms) {
    world_t *world = self->world;
    unsigned left = LIMIT_TURN_MESSAGES;
    while (left-- && letterbox_at(&self->letters) <= world->now_us) {
        letter_t *letter = letterbox_take(&self->letters);
        world_mix(world, (uint64_t) letter->kind << 32 | letter->number);
        if (!letter->life || letter->life == self->life)
            letter_receive(self, letter, now_ms);
        letter_destroy(&letter);
    }
}

static void deadline_set(process_t *self, uint64_t now_ms) {
    uint64_t at_ms = self->ops->deadline(self->self, now_ms), hello_ms = local_deadline_ms(self);
    at_ms = hello_ms < at_ms ? hello_ms : at_ms;
    if (at_ms > now_ms + PROCESS_WAIT_MAX_MS)
        at_ms = now_ms + PROCESS_WAIT_MAX_MS;
    self->deadline_us = machine_when_us(self->machine, at_ms);
    if (self->actor == ACTOR_RAFT && operator_join_deadline_us(self->machine) < self->deadline_us)
        self->deadline_us = operator_join_deadline_us(self->machine);
}

/* What was seen to happen, for the figures. */
static void turn_count(process_t *self) {
    world_t *world = self->world;
    world->counts.turns++;
    if (!self->ready_us && self->ops->ready(self->self))
        self->ready_us = world->now_us;
    if (self->storage && self->storage->current.index != self->machine->installed) {
        self->machine->installed = self->storage->current.index;
        world->counts.snapshots += self->machine->installed != 0;
    }
}

void process_turn(process_t *self) {
    world_t *world = self->world;
    *self->due_us = UINT64_MAX;
    if (world->now_us < self->busy_us || world->now_us < self->paused_us) {
        process_plan(self);
        return;
    }
    uint64_t now_ms = machine_clock_ms(self->machine, world->now_us);
    world_mix(world, world->now_us << 8 | self->machine->slot << 4 | (unsigned) self->actor);
    (void) disk_took_us(self->machine->disk);
    self->took_us = 0;
    letters_drain(self, now_ms);
    local_turn(self, now_ms);
    int rc = self->ops->turn(self->self, now_ms);
    if (self->actor == ACTOR_STORAGE && machine_stopped_within(self->machine))
        return;
    if (rc) {
        process_end(self, error_text(rc));
        if (rc == DRAX_ECORRUPT)
            operator_refused(self->machine, false);
        machine_restart_plan(self->machine, self);
        return;
    }
    checks_turn(world->checks, self->machine->slot, self->actor);
    if (self->stopping && self->ops->stopped(self->self)) {
        process_end(self, "stopped");
        machine_stop_step(self->machine);
        return;
    }
    if (self->actor == ACTOR_RAFT) {
        operator_join_step(self);
        operator_learn(self);
    }
    if (self->actor == ACTOR_STORAGE) {
        self->took_us += disk_took_us(self->machine->disk);
        jobs_plan(self);
    }
    turn_count(self);
    self->busy_us = world_soon(world, PROCESS_TURN_MIN_US, PROCESS_TURN_MAX_US) + self->took_us;
    deadline_set(self, now_ms);
    process_plan(self);
}

/* ---- what the actor is given ---- */

static void post_local(void *hint, actor_t to, message_t *message) {
    local_send(hint, to, message);
}

static bool post_peer(void *hint, message_t *message) {
    return network_send(hint, message);
}

static void post_peers(void *hint, uint64_t own, const config_t *config, const config_t *extra) {
    process_t *self = hint;
    if (self->alive && self->actor == ACTOR_RAFT) /* storage's connections are taken for raft's */
        network_peers(self, own, config, extra);
}

static uint64_t post_boot(void *hint, actor_t neighbour) {
    const process_t *self = hint;
    return self->neighbours[neighbour].boot;
}

static void process_log(void *hint, log_level_t level, const char *actor, const char *text) {
    process_t *self = hint;
    world_trace(self->world, "n%u %s: %s: %s", self->machine->slot, actor, log_level_name(level),
                text);
}

/* ---- life ---- */

static int storage_make(process_t *self, char *detail, size_t detail_size) {
    const schedule_t *shape = self->world->schedule;
    storage_options_t options = {.home = PROCESS_HOME,
                                 .fs = disk_fs(self->machine->disk),
                                 .post = &self->post,
                                 .log = &self->log,
                                 .kv_open = disk_kv_open,
                                 .kv_hint = self->machine->disk,
                                 .workers = WORKER_DEFERRED,
                                 .seed = self->boot,
                                 .segment_bytes = shape->segment_bytes,
                                 .keep_bytes = shape->keep_bytes,
                                 .keep_revisions = shape->keep_revisions,
                                 .chunk_bytes = shape->chunk_bytes,
                                 .flush_ms = PROCESS_FLUSH_MS};
    int rc = storage_actor_new(&self->storage, &options, detail, detail_size);
    self->self = self->storage;
    return rc;
}

static int raft_make(process_t *self) {
    machine_t *machine = self->machine;
    raft_actor_options_t options = {.post = &self->post,
                                    .log = &self->log,
                                    .boot = self->boot,
                                    .seed = stream_next(&self->world->random),
                                    .join = !machine->founds,
                                    .addr = machine->addr,
                                    .raft_addr = machine->raft_addr};
    int rc = raft_actor_new(&self->raft, &options);
    self->self = self->raft;
    return rc;
}

static int gateway_make(process_t *self) {
    gateway_options_t options = {.post = &self->post,
                                 .log = &self->log,
                                 .boot = self->boot,
                                 .seed = stream_next(&self->world->random),
                                 .max_request_bytes = LIMIT_REQUEST_DEFAULT_BYTES,
                                 .respond = connection_respond,
                                 .hint = self};
    int rc = gateway_actor_new(&self->gateway, &options);
    self->self = self->gateway;
    return rc;
}

static int actor_make(process_t *self, char *detail, size_t detail_size) {
    switch (self->actor) {
    case ACTOR_STORAGE:
        return storage_make(self, detail, detail_size);
    case ACTOR_RAFT:
        return raft_make(self);
    default:
        return gateway_make(self);
    }
}

static void process_prepare(process_t *self) {
    self->life++;
    self->boot = machine_boot_id(self->machine);
    self->post = (post_t){self, post_local, post_peer, post_peers, post_boot};
    self->log = (log_t){world_tracing(self->world) ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
                        actor_name(self->actor), process_log, self};
    self->ops = self->actor == ACTOR_STORAGE ? &storage_actor_ops
                : self->actor == ACTOR_RAFT  ? &raft_actor_ops
                                             : &gateway_actor_ops;
    memset(self->neighbours, 0, sizeof self->neighbours);
    memset(self->job_planned, 0, sizeof self->job_planned);
    self->hello_ms = 0;
    self->ready_us = 0;
    self->stopping = false;
    *self->due_us = UINT64_MAX;
}

static void process_refused(process_t *self, int rc, const char *detail) {
    world_trace(self->world, "n%u storage cannot start: %s %s", self->machine->slot, error_text(rc),
                detail);
    if (machine_stopped_within(self->machine))
        return;
    if (rc == DRAX_ECORRUPT || rc == DRAX_EVERSION || rc == DRAX_ENOTFOUND)
        operator_refused(self->machine, true);
    machine_restart_plan(self->machine, self);
}

void process_start(process_t *self) {
    char detail[512] = "";
    world_t *world = self->world;
    process_prepare(self);
    (void) disk_took_us(self->machine->disk);
    int rc = actor_make(self, detail, sizeof detail);
    self->took_us = self->actor == ACTOR_STORAGE ? disk_took_us(self->machine->disk) : 0;
    if (rc) {
        process_refused(self, rc, detail);
        return;
    }
    if (self->actor == ACTOR_STORAGE && disk_stopped(self->machine->disk)) {
        self->alive = true;
        (void) machine_stopped_within(self->machine);
        return;
    }
    self->alive = true;
    self->busy_us = world->now_us + self->took_us;
    self->deadline_us = world->now_us;
    world->counts.restarts += self->life > 1;
    world_trace(world, "n%u %s starts boot=%llu", self->machine->slot, actor_name(self->actor),
                (unsigned long long) self->boot);
    if (self->actor == ACTOR_RAFT)
        network_raft_started(self->machine);
    if (self->actor == ACTOR_STORAGE)
        self->machine->refusals = 0;
    checks_started(world->checks, self->machine->slot, self->actor);
    process_plan(self);
}

void process_end(process_t *self, const char *why) {
    if (!self->alive)
        return;
    self->alive = false;
    if (!self->world->ending)
        world_trace(self->world, "n%u %s ends: %s", self->machine->slot, actor_name(self->actor),
                    why);
    disk_detach(self->machine->disk);
    storage_actor_destroy(&self->storage);
    disk_attach(self->machine->disk);
    raft_actor_destroy(&self->raft);
    gateway_actor_destroy(&self->gateway);
    self->self = NULL;
    letterbox_clear(&self->letters);
    *self->due_us = UINT64_MAX;
    if (self->world->ending)
        return;
    world_mix(self->world, 0xe0d0u | (unsigned) self->actor << 4 | self->machine->slot << 16);
    if (self->actor == ACTOR_RAFT) {
        operator_join_forget(self->machine);
        network_raft_ended(self->machine);
    }
    if (self->actor == ACTOR_GATEWAY)
        connections_gateway_ended(self->machine);
    checks_ended(self->world->checks, self->machine->slot, self->actor);
}
