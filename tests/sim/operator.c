/* operator.c: who runs the cluster: lets nodes join (the part of actors/join.c), asks gateways for
 * changes of membership until they are done, and gives a node whose disk is damaged an empty one.
 *
 * It does what a careful operator may do, and no more: a disk is only given up when the cluster can
 * do without it, and what was given up never comes back under its old name.
 */
#include <string.h>

#include "actors/raft/raft_internal.h"
#include "broker/rpc_members.h"
#include "broker/unpack.h"
#include "tests/sim/array.h"
#include "tests/sim/world_internal.h"

#define JOIN_ANSWER_US 2000000u
#define JOIN_PAUSE_US 200000u
#define TASK_ANSWER_US 6000000u
#define TASK_PAUSE_US 100000u
#define TASK_GIVE_UP_US 20000000u
#define REFUSED_PATIENCE 2u

/* ---- joining ---- */

static void raft_wake(machine_t *machine) {
    process_t *raft = &machine->processes[ACTOR_RAFT];
    raft->deadline_us = machine->world->now_us;
    process_plan(raft);
}

static void join_end(machine_t *self, uint64_t next_us) {
    world_disconnect(self->world, self->join.connection);
    self->join.connection = 0;
    self->join.deadline_us = next_us;
}

static void join_received(void *hint, uint64_t connection, slice_t payload) {
    machine_t *self = hint;
    process_t *raft = &self->processes[ACTOR_RAFT];
    uint64_t cluster;
    config_t members;
    char text[160];
    if (connection != self->join.connection || !raft->alive)
        return;
    int rc = rpc_member_added(payload, self->join.msgid, &cluster, &members, text);
    if (rc == 0) {
        raft_actor_joined(raft->raft, cluster, &members);
        self->world->counts.joins++;
    }
    join_end(self, world_now_us(self->world) + JOIN_PAUSE_US);
    raft_wake(self);
}

static void join_broken(void *hint, uint64_t connection) {
    machine_t *self = hint;
    if (connection == self->join.connection)
        join_end(self, world_now_us(self->world) + JOIN_PAUSE_US);
    raft_wake(self);
}

static void join_ask(machine_t *self, uint64_t id) {
    world_t *world = self->world;
    join_t *join = &self->join;
    unsigned slot = join->next;
    join->next = (join->next + 1) % WORLD_SLOTS;
    join->deadline_us = world->now_us + JOIN_PAUSE_US / 4;
    listener_t listener = {self, join_received, join_broken};
    if (slot == self->slot)
        return;
    join->connection = world_connect(world, slot, &listener);
    if (!join->connection)
        return;
    buffer_t request = {0};
    rpc_member_add(&request, ++join->msgid, id, self->addr, self->raft_addr);
    world_send(world, join->connection, (slice_t){request.data, request.size});
    buffer_free(&request);
    join->deadline_us = world->now_us + JOIN_ANSWER_US;
}

void operator_join_step(process_t *raft) {
    machine_t *self = raft->machine;
    uint64_t id, now_us = self->world->now_us;
    bool wants = raft_actor_wants_join(raft->raft, &id);
    if (self->join.connection && (!wants || now_us >= self->join.deadline_us))
        join_end(self, now_us);
    if (wants && !self->join.connection && now_us >= self->join.deadline_us)
        join_ask(self, id);
}

uint64_t operator_join_deadline_us(const machine_t *self) {
    const process_t *raft = &self->processes[ACTOR_RAFT];
    uint64_t id;
    bool wants = self->join.connection || raft_actor_wants_join(raft->raft, &id);
    return wants ? self->join.deadline_us : UINT64_MAX;
}

void operator_join_forget(machine_t *self) {
    join_end(self, 0);
}

/* ---- what the operator knows of members ---- */

unsigned operator_leader(const world_t *self) {
    unsigned found = WORLD_SLOTS;
    uint64_t term = 0;
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        const raft_actor_t *raft = world_raft(self, slot);
        if (!raft || !raft->core || raft_role(raft->core) != RAFT_LEADER)
            continue;
        if (raft_term(raft->core) >= term) {
            term = raft_term(raft->core);
            found = slot;
        }
    }
    return found;
}

uint64_t operator_node_id(const world_t *self, unsigned slot) {
    return slot < WORLD_SLOTS ? self->machines[slot].node : 0;
}

/* `durable`: the first of them is on the disk; else the disk may still have earlier ones alone. */
static void configs_learn(machine_t *self, const config_t *configs, size_t count, bool durable) {
    size_t kept = 0;
    while (!durable && kept < self->config_count && self->configs[kept].index < configs[0].index)
        kept++;
    size_t all = kept + count;
    if (self->config_count == all && self->configs[kept].index == configs[0].index &&
        self->configs[all - 1].index == configs[count - 1].index)
        return;
    self->configs = array_room(self->configs, &self->config_capacity, all, sizeof *configs);
    memcpy(self->configs + kept, configs, count * sizeof *configs);
    self->config_count = all;
}

void operator_learn(process_t *raft) {
    machine_t *self = raft->machine;
    if (raft->raft->phase == RAFT_FORMATTING || raft->raft->phase == RAFT_RUNNING)
        self->node = raft->raft->node;
    const raft_t *core = raft->raft->core;
    if (core && raft_role(core) == RAFT_LEADER && raft_term(core) != self->led_term) {
        self->led_term = raft_term(core);
        self->world->counts.elections++;
    }
    if (core && core->log.config_count)
        configs_learn(self, core->log.configs, core->log.config_count,
                      core->log.configs[0].index <= core->log.durable);
    else if (core && raft->raft->hint.count)
        configs_learn(self, &raft->raft->hint, 1, true);
}

/* Is it a member, as far as it knows? */
static bool is_member(const machine_t *self) {
    return self->config_count &&
           config_member(&self->configs[self->config_count - 1], self->node) != NULL;
}

/* Have a majority of the voters of `config` whole disks when that of `slot` is not? Learners that
 * are lost count as well: the leader may promote them before it knows. */
static bool config_survives(const world_t *self, const config_t *config, unsigned slot) {
    size_t voters = 0, whole = 0;
    for (size_t i = 0; i < config->count; i++) {
        bool has = false;
        for (unsigned j = 0; j < WORLD_SLOTS; j++) {
            const machine_t *machine = &self->machines[j];
            has = has || (j != slot && machine->node == config->members[i].id && !machine->lost);
        }
        bool voter = config->members[i].role == MEMBER_VOTER;
        voters += voter || !has;
        whole += voter && has;
    }
    return voters == 0 || whole >= voters / 2 + 1;
}

static bool place_is_known(const world_t *self, const member_t *member) {
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        if (self->machines[slot].node == member->id)
            return strcmp(self->machines[slot].raft_addr, member->raft_addr) == 0;
    return true;
}

static bool places_are_known(const world_t *self) {
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        const machine_t *machine = &self->machines[slot];
        for (size_t i = 0; machine->inhabited && i < machine->config_count; i++)
            for (size_t j = 0; j < machine->configs[i].count; j++)
                if (!place_is_known(self, &machine->configs[i].members[j]))
                    return false;
    }
    return true;
}

bool operator_may_move(const machine_t *self) {
    return !operator_busy(self->world) && places_are_known(self->world) && !self->lost &&
           is_member(self);
}

bool operator_may_lose(const world_t *self, unsigned slot) {
    bool anyone = false;
    if (operator_busy(self) || !places_are_known(self))
        return false;
    for (unsigned i = 0; i < WORLD_SLOTS; i++) {
        const machine_t *machine = &self->machines[i];
        if (!machine->inhabited)
            continue;
        anyone = anyone || (i != slot && machine->node);
        for (size_t j = 0; j < machine->config_count; j++)
            if (!config_survives(self, &machine->configs[j], slot))
                return false;
    }
    return anyone;
}

/* ---- damaged disks ---- */

static void replace(void *hint, uint64_t number) {
    machine_t *self = hint;
    if (number == self->downs && self->inhabited)
        machine_replace(self, 0);
}

void operator_refused(machine_t *self, bool starting) {
    world_t *world = self->world;
    world->counts.refusals++;
    if (!self->lost) {
        world_fail(world, "disk refused", "n%u refuses a disk that nobody damaged", self->slot);
        return;
    }
    if (!starting || ++self->refusals >= REFUSED_PATIENCE)
        world_event(world, world_soon(world, 10000, 400000), replace, self, self->downs);
}

/* ---- changes of membership ---- */

static void task_step(void *hint, uint64_t number);

static void task_plan(task_t *self, uint64_t at_us) {
    world_event(self->world, at_us, task_step, self, ++self->number);
}

static void task_end(task_t *self) {
    world_disconnect(self->world, self->connection);
    uint64_t number = self->number;
    *self = (task_t){.world = self->world, .number = number + 1};
}

/* Is it no member any more, as the leader knows? */
static bool member_gone(const world_t *self, uint64_t id) {
    unsigned leader = operator_leader(self);
    return leader < WORLD_SLOTS && !config_member(raft_config(world_raft(self, leader)->core), id);
}

/* The member is out: its node has nothing to do any more. */
static void removed(task_t *self) {
    world_t *world = self->world;
    world->counts.removals++;
    if (self->slot < WORLD_SLOTS && world->machines[self->slot].node == self->id)
        machine_leave(&world->machines[self->slot]);
}

static void task_received(void *hint, uint64_t connection, slice_t payload) {
    task_t *self = hint;
    answer_t answer;
    if (connection != self->connection || !answer_read(payload, &answer) ||
        answer.msgid != self->msgid)
        return;
    bool refused = strcmp(answer.code, "INVALID_ARGUMENT") == 0;
    bool gone = refused && member_gone(self->world, self->id);
    if (self->kind == TASK_REMOVE && operator_leader(self->world) == WORLD_SLOTS)
        refused = false; /* perhaps as it is gone: to be asked again, of somebody who knows */
    if (self->kind == TASK_REMOVE && (answer.ok || gone))
        removed(self);
    if (self->kind == TASK_TRANSFER && answer.ok)
        self->world->counts.transfers++;
    if (answer.ok || refused || self->kind == TASK_TRANSFER) {
        task_end(self);
        return;
    }
    world_disconnect(self->world, self->connection);
    self->connection = 0;
    task_plan(self, self->world->now_us + TASK_PAUSE_US);
}

static void task_broken(void *hint, uint64_t connection) {
    task_t *self = hint;
    if (connection != self->connection)
        return;
    self->connection = 0;
    task_plan(self, self->world->now_us + TASK_PAUSE_US);
}

static void task_ask(task_t *self) {
    static const char *const methods[] = {[TASK_REMOVE] = "member_remove",
                                          [TASK_PROMOTE] = "member_promote",
                                          [TASK_TRANSFER] = "leader_transfer"};
    world_t *world = self->world;
    listener_t listener = {self, task_received, task_broken};
    self->connection = world_connect(world, self->next++ % WORLD_SLOTS, &listener);
    if (!self->connection) {
        task_plan(self, world->now_us + 1000);
        return;
    }
    buffer_t request = {0};
    pack_array(&request, 4);
    pack_uint(&request, 0);
    pack_uint(&request, ++self->msgid);
    pack_str(&request, methods[self->kind]);
    pack_array(&request, self->id ? 1 : 0);
    if (self->id)
        pack_uint(&request, self->id);
    world_send(world, self->connection, (slice_t){request.data, request.size});
    buffer_free(&request);
    task_plan(self, world->now_us + TASK_ANSWER_US);
}

static void task_step(void *hint, uint64_t number) {
    task_t *self = hint;
    if (number != self->number || self->kind == TASK_NONE)
        return;
    if (self->connection)
        world_disconnect(self->world, self->connection);
    self->connection = 0;
    if (self->world->now_us >= self->until_us)
        task_end(self);
    else
        task_ask(self);
}

void operator_task(world_t *self, task_kind_t kind, uint64_t id, unsigned slot, uint64_t after_us) {
    for (size_t i = 0; i < WORLD_TASKS; i++) {
        task_t *task = &self->tasks[i];
        if (task->kind != TASK_NONE)
            continue;
        uint64_t number = task->number;
        *task = (task_t){.world = self, .kind = kind, .id = id, .slot = slot, .number = number};
        task->next = (unsigned) stream_range(&self->random, 0, WORLD_SLOTS);
        task->until_us = self->now_us + TASK_GIVE_UP_US;
        task_plan(task, self->now_us + after_us);
        return;
    }
}

bool operator_busy(const world_t *self) {
    for (size_t i = 0; i < WORLD_TASKS; i++)
        if (self->tasks[i].kind == TASK_REMOVE || self->tasks[i].kind == TASK_TRANSFER)
            return true;
    return false;
}
