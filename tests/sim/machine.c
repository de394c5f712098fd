/* machine.c: slots: clocks, disks, power, and the supervisor's part in the processes' lives. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/world_internal.h"

#define MACHINE_START_MIN_US 2000u
#define MACHINE_START_MAX_US 40000u
#define MACHINE_WALL_US UINT64_C(1790000000000000) /* some day in 2026 */

/* ---- clocks ---- */

static uint64_t clock_us(const machine_t *self, uint64_t at_us) {
    return self->clock_us + (at_us - self->clock_at_us) * self->clock_rate / 1000000u;
}

uint64_t machine_clock_ms(const machine_t *self, uint64_t at_us) {
    return clock_us(self, at_us) / 1000u;
}

uint64_t machine_when_us(const machine_t *self, uint64_t clock_ms) {
    if (clock_ms > UINT64_MAX / 1000u)
        return UINT64_MAX;
    uint64_t wanted_us = clock_ms * 1000u;
    if (wanted_us <= self->clock_us)
        return self->clock_at_us;
    uint64_t rate = self->clock_rate;
    return self->clock_at_us + ((wanted_us - self->clock_us) * 1000000u + rate - 1) / rate;
}

uint64_t machine_boot_id(const machine_t *self) {
    return (uint64_t) ((int64_t) clock_us(self, self->world->now_us) + self->wall_us);
}

void machine_clock_jump(machine_t *self, uint64_t ms) {
    self->clock_us = clock_us(self, self->world->now_us) + ms * 1000u;
    self->clock_at_us = self->world->now_us;
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++) {
        self->processes[actor].deadline_us = self->world->now_us;
        process_plan(&self->processes[actor]);
    }
}

/* ---- starting ---- */

static void process_begin(void *hint, uint64_t restart) {
    process_t *self = hint;
    machine_t *machine = self->machine;
    if (self->alive || restart != self->restarts || machine->down || !machine->inhabited)
        return;
    process_start(self);
}

static void process_begin_plan(process_t *self, uint64_t at_us) {
    world_event(self->world, at_us, process_begin, self, ++self->restarts);
}

static void machine_on(void *hint, uint64_t number) {
    machine_t *self = hint;
    if (number != self->downs || !self->inhabited)
        return;
    self->down = false;
    world_trace(self->world, "n%u starts", self->slot);
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++) {
        process_t *process = &self->processes[actor];
        process->backoff_ms = 0;
        process_resume(process);
        uint64_t at_us = world_soon(self->world, MACHINE_START_MIN_US, MACHINE_START_MAX_US);
        process_begin_plan(process, at_us);
    }
}

void machine_start(machine_t *self, uint64_t after_us) {
    self->inhabited = true;
    self->down = true;
    world_event(self->world, self->world->now_us + after_us, machine_on, self, ++self->downs);
}

void machine_restart_plan(machine_t *self, process_t *process) {
    world_t *world = self->world;
    world->counts.process_crashes++;
    if (self->down || self->stopping || !self->inhabited)
        return;
    bool healthy =
        process->ready_us && world->now_us >= process->ready_us + SUPERVISOR_HEALTHY_MS * 1000u;
    uint32_t backoff_ms =
        healthy || !process->backoff_ms ? SUPERVISOR_BACKOFF_MIN_MS : 2 * process->backoff_ms;
    if (backoff_ms > SUPERVISOR_BACKOFF_MAX_MS)
        backoff_ms = SUPERVISOR_BACKOFF_MAX_MS;
    process->backoff_ms = backoff_ms;
    uint64_t start_us = world_soon(world, MACHINE_START_MIN_US, MACHINE_START_MAX_US);
    process_begin_plan(process, start_us + backoff_ms * 1000u);
}

void machine_resume(machine_t *self) {
    world_t *world = self->world;
    if (self->down) {
        machine_start(self, 0);
        return;
    }
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++) {
        process_t *process = &self->processes[actor];
        process_resume(process);
        process->backoff_ms = 0;
        if (!process->alive && !self->stopping)
            process_begin_plan(process, world_soon(world, 1, MACHINE_START_MAX_US));
        process_plan(process);
    }
}

/* ---- ending ---- */

static void processes_end(machine_t *self, bool silent) {
    self->silent = silent;
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++) {
        process_end(&self->processes[actor], "killed");
        self->processes[actor].restarts++;
    }
    self->silent = false;
}

void machine_crash(machine_t *self, fs_crash_t how, uint64_t for_us) {
    self->stopping = false;
    processes_end(self, how != FS_CRASH_KEEP);
    disk_crash(self->disk, how);
    if (how != FS_CRASH_KEEP) {
        self->world->counts.power_losses++;
        checks_power_lost(self->world->checks, self->slot);
    }
    machine_start(self, for_us);
}

void machine_stop(machine_t *self, uint64_t for_us) {
    if (self->down || self->stopping)
        return;
    self->stopping = true;
    self->stop_us = self->world->now_us + SUPERVISOR_STOP_MS * 1000u;
    self->stop_down_us = for_us;
    machine_stop_step(self);
}

static void stop_over(void *hint, uint64_t number) {
    machine_t *self = hint;
    if (self->stopping && number == self->downs)
        machine_crash(self, FS_CRASH_KEEP, self->stop_down_us);
}

/* Gateway, raft, storage, each when the one before it has gone. */
void machine_stop_step(machine_t *self) {
    world_t *world = self->world;
    for (actor_t actor = ACTOR_GATEWAY; actor >= ACTOR_STORAGE; actor--) {
        process_t *process = &self->processes[actor];
        process->restarts++;
        if (!process->alive)
            continue;
        process->stopping = true;
        self->processes[actor].ops->stop(process->self, machine_clock_ms(self, world->now_us));
        process->deadline_us = world->now_us;
        process_plan(process);
        world_event(world, self->stop_us, stop_over, self, self->downs);
        return;
    }
    self->stopping = false;
    disk_crash(self->disk, FS_CRASH_KEEP);
    machine_start(self, self->stop_down_us);
}

bool machine_stopped_within(machine_t *self) {
    if (!disk_stopped(self->disk))
        return false;
    process_t *storage = &self->processes[ACTOR_STORAGE];
    world_trace(self->world, "n%u %s in the middle of a disk call", self->slot,
                self->stop_power ? "stops" : "storage is killed");
    if (self->stop_power) {
        machine_crash(self, self->stop_how, self->stop_for_us);
        return true;
    }
    process_end(storage, "killed");
    disk_crash(self->disk, FS_CRASH_KEEP);
    machine_restart_plan(self, storage);
    return true;
}

void machine_replace(machine_t *self, uint64_t for_us) {
    self->stopping = false;
    processes_end(self, false);
    machine_wipe(self);
    machine_start(self, for_us);
}

void machine_leave(machine_t *self) {
    processes_end(self, false);
    self->inhabited = self->stopping = false;
    self->down = true;
    self->downs++;
    machine_wipe(self);
}

/* ---- disks ---- */

static void disk_synced(void *hint, const char *path) {
    machine_t *self = hint;
    self->world->counts.syncs++;
    if (!self->world->ending)
        checks_synced(self->world->checks, self->slot, path);
}

static void disk_make(machine_t *self) {
    world_t *world = self->world;
    disk_options_t options = {.seed = stream_next(&world->random),
                              .sync_us = world->schedule->sync_us,
                              .synced = disk_synced,
                              .hint = self};
    self->disk = disk_new(&options);
}

void machine_wipe(machine_t *self) {
    disk_destroy(&self->disk);
    disk_make(self);
    self->disks++;
    self->refusals = 0;
    self->lost = false;
    self->founds = false; /* its operator has it join */
    self->node = 0;
    self->config_count = 0;
    self->world->counts.wipes++;
    checks_wiped(self->world->checks, self->slot);
}

/* ---- life ---- */

static void addresses_take(machine_t *self) {
    (void) snprintf(self->addr, sizeof self->addr, "10.0.%u.%u:2380", self->moves, self->slot + 1);
    (void) snprintf(self->raft_addr, sizeof self->raft_addr, "10.0.%u.%u:2381", self->moves,
                    self->slot + 1);
}

void machine_move(machine_t *self, uint64_t for_us) {
    machine_crash(self, FS_CRASH_KEEP, for_us);
    self->moves++;
    self->world->counts.moves++;
    network_moved(self);
    addresses_take(self);
}

void machine_init(world_t *world, unsigned slot) {
    machine_t *self = &world->machines[slot];
    uint32_t drift = world->schedule->drift;
    *self = (machine_t){.world = world, .slot = slot, .down = true};
    addresses_take(self);
    self->clock_us = stream_range(&world->random, 1000000u, UINT64_C(10000000000));
    self->clock_rate =
        (uint32_t) stream_range(&world->random, 1000000u - drift, 1000000u + drift + 1);
    self->wall_us = (int64_t) (MACHINE_WALL_US + stream_range(&world->random, 0, 10000000u));
    disk_make(self);
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++) {
        uint64_t *due_us = &world->due_us[slot * WORLD_ACTORS + (actor - ACTOR_STORAGE)];
        *due_us = UINT64_MAX;
        self->processes[actor] =
            (process_t){.world = world, .machine = self, .actor = actor, .due_us = due_us};
    }
}

void machine_clear(machine_t *self) {
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++)
        process_end(&self->processes[actor], "");
    disk_destroy(&self->disk);
    free(self->configs);
}
