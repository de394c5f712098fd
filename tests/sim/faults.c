/* faults.c: carries out the schedule: each fault at its time, its end, and at last the healing.
 *
 * What the links do is worked out anew from all faults that last whenever one begins or ends, so
 * that overlapping faults need no order. A fault that makes no sense at its time (nobody at the
 * slot, a disk that the cluster cannot do without) is passed over, and not counted.
 */
#include <string.h>

#include "tests/sim/world_internal.h"

#define FAULTS_MEMBERS_MAX 7u
#define FAULTS_FORMED_STEP_US 20000u
#define FAULTS_FORMED_MAX_US 6000000u

/* ---- targets ---- */

/* The machine a fault strikes; NULL: no node is there. */
static machine_t *machine_of(world_t *self, uint32_t target) {
    unsigned slot = target == SCHEDULE_LEADER ? operator_leader(self) : target;
    if (slot >= WORLD_SLOTS || !self->machines[slot].inhabited)
        return NULL;
    return &self->machines[slot];
}

static uint32_t mask_of(world_t *self, uint32_t target) {
    unsigned leader = operator_leader(self);
    if (!(target & SCHEDULE_LEADER_BIT))
        return target;
    return (target & ~SCHEDULE_LEADER_BIT) | (leader < WORLD_SLOTS ? 1u << leader : 0);
}

/* ---- links ---- */

static void link_apply(world_t *self, const fault_t *fault, const lasting_t *lasting, unsigned from,
                       unsigned to) {
    link_state_t *link = &self->links[from][to];
    switch (fault->kind) {
    case FAULT_LOSS:
        link->loss = fault->value;
        break;
    case FAULT_DUPLICATE:
        link->duplicate = fault->value;
        break;
    case FAULT_REORDER:
        link->reorder = fault->value;
        break;
    case FAULT_DELAY:
        link->delay_us = fault->value * 500u;
        link->jitter_us = fault->value * 500u;
        break;
    case FAULT_PARTITION:
    case FAULT_ONE_WAY:
        link->cut = true;
        break;
    case FAULT_FLAP:
        link->cut = link->cut || lasting->flapped;
        break;
    default:
        break;
    }
}

static bool both_ways(fault_kind_t kind) {
    return kind != FAULT_ONE_WAY && kind != FAULT_LOSS;
}

static void links_compute(world_t *self) {
    for (unsigned from = 0; from < WORLD_SLOTS; from++) {
        for (unsigned to = 0; to < WORLD_SLOTS; to++) {
            uint64_t last_us = self->links[from][to].last_us;
            self->links[from][to] = (link_state_t){.delay_us = self->schedule->latency_us,
                                                   .jitter_us = self->schedule->jitter_us,
                                                   .last_us = last_us};
            for (size_t i = 0; i < self->schedule->count; i++) {
                const fault_t *fault = &self->schedule->faults[i];
                const lasting_t *lasting = &self->lasting[i];
                bool there = (lasting->target >> from & 1) && (lasting->other >> to & 1);
                bool back = (lasting->target >> to & 1) && (lasting->other >> from & 1);
                if (lasting->active && (there || (back && both_ways(fault->kind))))
                    link_apply(self, fault, lasting, from, to);
            }
        }
    }
    network_changed(self);
}

static void flap(void *hint, uint64_t at) {
    world_t *self = hint;
    lasting_t *lasting = &self->lasting[at];
    if (!lasting->active)
        return;
    lasting->flapped = !lasting->flapped;
    links_compute(self);
    world_event(self, self->now_us + 1000u * self->schedule->faults[at].value, flap, self, at);
}

static void crosstalk(void *hint, uint64_t at) {
    world_t *self = hint;
    if (!self->lasting[at].active)
        return;
    network_crosstalk(self);
    world_event(self, self->now_us + 1000u * self->schedule->faults[at].value, crosstalk, self, at);
}

static bool reset(world_t *self, uint32_t target, uint32_t other) {
    for (unsigned a = 0; a < WORLD_SLOTS; a++)
        for (unsigned b = 0; b < WORLD_SLOTS; b++)
            if ((target >> a & 1) && (other >> b & 1) && a != b)
                network_reset(self, a, b);
    return true;
}

static bool link_begin(world_t *self, size_t at) {
    const fault_t *fault = &self->schedule->faults[at];
    lasting_t *lasting = &self->lasting[at];
    lasting->target = mask_of(self, fault->target);
    lasting->other = mask_of(self, fault->other);
    if (fault->kind == FAULT_RESET)
        return reset(self, lasting->target, lasting->other);
    if (fault->kind == FAULT_FLAP)
        world_event(self, self->now_us, flap, self, at);
    else if (fault->kind == FAULT_CROSSTALK)
        world_event(self, self->now_us, crosstalk, self, at);
    lasting->active = true;
    links_compute(self);
    return true;
}

/* ---- machines and processes ---- */

static bool stop_within(machine_t *machine, const fault_t *fault, bool power, fs_crash_t how) {
    if (machine->down)
        return false;
    machine->stop_power = power;
    machine->stop_how = how;
    machine->stop_for_us = 1000u * fault->lasts_ms;
    if (fault->value)
        disk_stop(machine->disk, fault->value);
    else if (power)
        machine_crash(machine, how, machine->stop_for_us);
    return true;
}

static bool kill(machine_t *machine, const fault_t *fault) {
    process_t *process = &machine->processes[fault->other];
    if (!process->alive || machine->stopping)
        return false;
    if (process->actor == ACTOR_STORAGE && fault->value)
        return stop_within(machine, fault, false, FS_CRASH_KEEP);
    process_end(process, "killed");
    if (process->actor == ACTOR_STORAGE)
        disk_crash(machine->disk, FS_CRASH_KEEP);
    machine_restart_plan(machine, process);
    return true;
}

static bool pause(machine_t *machine, const fault_t *fault) {
    uint64_t until_us = machine->world->now_us + 1000u * (uint64_t) fault->lasts_ms;
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++)
        if (!fault->other || fault->other == (uint32_t) actor)
            process_pause(&machine->processes[actor], until_us);
    return !machine->down;
}

static bool damage(machine_t *machine, const fault_t *fault) {
    world_t *world = machine->world;
    if (machine->lost || !operator_may_lose(world, machine->slot))
        return false;
    machine_crash(machine, FS_CRASH_RANDOM, 1000u * fault->lasts_ms);
    bool done = fault->kind == FAULT_FLIP  ? disk_flip(machine->disk, &world->damage)
                : fault->kind == FAULT_CUT ? disk_cut(machine->disk, &world->damage)
                                           : disk_spoil(machine->disk);
    machine->lost = done;
    return done;
}

static bool machine_strike(machine_t *machine, const fault_t *fault) {
    fs_crash_t lost = fault->other ? FS_CRASH_RANDOM : FS_CRASH_LOSE;
    switch (fault->kind) {
    case FAULT_CLIENTS:
        connections_break(machine);
        return true;
    case FAULT_POWER:
        return stop_within(machine, fault, true, lost);
    case FAULT_KILL_NODE:
        return stop_within(machine, fault, true, FS_CRASH_KEEP);
    case FAULT_KILL:
        return kill(machine, fault);
    case FAULT_PAUSE:
        return pause(machine, fault);
    case FAULT_STOP:
        machine_stop(machine, 1000u * fault->lasts_ms);
        return true;
    case FAULT_CLOCK:
        machine_clock_jump(machine, fault->value);
        return true;
    case FAULT_WALL_CLOCK:
        machine->wall_us -= 1000 * (int64_t) fault->value;
        return true;
    case FAULT_FLIP:
    case FAULT_CUT:
    case FAULT_SPOIL:
        return damage(machine, fault);
    case FAULT_MOVE:
        if (!operator_may_move(machine))
            return false;
        machine_move(machine, 1000u * fault->lasts_ms);
        return true;
    case FAULT_WIPE:
        if (!operator_may_lose(machine->world, machine->slot))
            return false;
        machine_replace(machine, 1000u * fault->lasts_ms);
        return true;
    default:
        return false;
    }
}

/* ---- disks ---- */

static bool disk_strike(machine_t *machine, const fault_t *fault) {
    switch (fault->kind) {
    case FAULT_WRITE_ERROR:
        disk_fail(machine->disk, DISK_WRITE, fault->value);
        return true;
    case FAULT_SYNC_ERROR:
        disk_fail(machine->disk, DISK_SYNC, fault->value);
        return true;
    case FAULT_STATE_ERROR:
        disk_fail(machine->disk, DISK_STATE, fault->value);
        return true;
    case FAULT_FULL:
        disk_fill(machine->disk, fault->value);
        return true;
    case FAULT_SLOW:
        disk_slow(machine->disk, 1000u * fault->value, 1000u * (uint64_t) fault->lasts_ms);
        return true;
    default:
        return false;
    }
}

/* ---- membership ---- */

static size_t nodes_count(const world_t *self) {
    size_t count = 0;
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        count += self->machines[slot].inhabited;
    return count;
}

static bool add(world_t *self) {
    unsigned slot = WORLD_SLOTS;
    while (slot-- > 0)
        if (!self->machines[slot].inhabited)
            break;
    if (slot >= WORLD_SLOTS || nodes_count(self) >= FAULTS_MEMBERS_MAX)
        return false;
    machine_start(&self->machines[slot], 0);
    return true;
}

/* Only while every disk is whole: else the cluster may be left with those that are not. */
static bool remove_member(world_t *self, machine_t *machine, uint64_t after_us) {
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        if (self->machines[slot].inhabited && self->machines[slot].lost)
            return false;
    if (!machine->node || nodes_count(self) < 2 || !operator_may_lose(self, machine->slot))
        return false;
    operator_task(self, TASK_REMOVE, machine->node, machine->slot, after_us);
    return true;
}

static bool membership_strike(world_t *self, machine_t *machine, const fault_t *fault) {
    switch (fault->kind) {
    case FAULT_ADD:
        return add(self);
    case FAULT_REMOVE:
        return machine && remove_member(self, machine, 0);
    case FAULT_REPLACE:
        return machine && add(self) && remove_member(self, machine, 1000u * fault->lasts_ms);
    case FAULT_PROMOTE:
        if (machine && machine->node)
            operator_task(self, TASK_PROMOTE, machine->node, machine->slot, 0);
        return machine && machine->node;
    case FAULT_TRANSFER:
        operator_task(self, TASK_TRANSFER, machine ? machine->node : 0, WORLD_SLOTS, 0);
        return true;
    default:
        return false;
    }
}

/* ---- the schedule ---- */

static void fault_end(void *hint, uint64_t at) {
    world_t *self = hint;
    const fault_t *fault = &self->schedule->faults[at];
    lasting_t *lasting = &self->lasting[at];
    if (lasting->active) {
        lasting->active = false;
        world_trace(self, "fault ends: %s", fault_name(fault->kind));
        if (fault->kind < FAULT_CLIENTS)
            links_compute(self);
        else if (fault->kind == FAULT_FULL)
            disk_room(self->machines[lasting->target].disk);
        else if (fault->kind == FAULT_SLOW)
            disk_slow(self->machines[lasting->target].disk, 0, 0);
    }
}

static void fault_begin(void *hint, uint64_t at) {
    world_t *self = hint;
    const fault_t *fault = &self->schedule->faults[at];
    if (self->healed)
        return;
    char text[128];
    fault_print(fault, text, sizeof text);
    world_trace(self, "%s", text);
    machine_t *machine = machine_of(self, fault->target);
    bool struck;
    if (fault->kind < FAULT_CLIENTS) {
        struck = link_begin(self, at);
    } else if (fault->kind >= FAULT_ADD && fault->kind <= FAULT_TRANSFER) {
        struck = membership_strike(self, machine, fault);
    } else if (machine && fault->kind >= FAULT_WRITE_ERROR && fault->kind <= FAULT_SLOW) {
        struck = disk_strike(machine, fault);
        self->lasting[at].active = fault->kind >= FAULT_FULL;
        self->lasting[at].target = machine->slot;
    } else {
        struck = machine && machine_strike(machine, fault);
    }
    self->counts.faults[fault->kind] += struck;
    if (self->lasting[at].active)
        world_event(self, self->now_us + 1000u * (uint64_t) fault->lasts_ms, fault_end, self, at);
}

/* All is well from here on; what is down comes up. */
void faults_heal(world_t *self) {
    self->healed = true;
    world_trace(self, "the faults are over");
    memset(self->lasting, 0, sizeof self->lasting);
    links_compute(self);
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        machine_t *machine = &self->machines[slot];
        disk_room(machine->disk);
        disk_slow(machine->disk, 0, 0);
        disk_stop(machine->disk, 0);
        for (disk_operation_t operation = 0; operation < DISK_OPERATIONS; operation++)
            disk_fail(machine->disk, operation, 0);
        if (machine->inhabited)
            machine_resume(machine);
    }
}

static void heal(void *hint, uint64_t argument) {
    (void) argument;
    faults_heal(hint);
    settle_begin(hint);
}

static bool formed(const world_t *self) {
    unsigned leader = operator_leader(self);
    return leader < WORLD_SLOTS &&
           config_voters(raft_config(world_raft(self, leader)->core)) == self->schedule->nodes;
}

/* `argument`: how long it has waited for the cluster to form. */
static void faults_start(void *hint, uint64_t argument) {
    world_t *self = hint;
    const schedule_t *schedule = self->schedule;
    if (schedule->formed && !formed(self) && argument < FAULTS_FORMED_MAX_US) {
        world_event(self, self->now_us + FAULTS_FORMED_STEP_US, faults_start, self,
                    argument + FAULTS_FORMED_STEP_US);
        return;
    }
    for (size_t i = 0; i < schedule->count; i++)
        world_event(self, self->now_us + 1000u * (uint64_t) schedule->faults[i].at_ms, fault_begin,
                    self, i);
    world_event(self, self->now_us + 1000u * (uint64_t) schedule->ends_ms, heal, self, 0);
}

void faults_plan(world_t *self) {
    world_event(self, 0, faults_start, self, 0);
}
