/* settle.c: after the faults: within a bounded time the cluster must be whole and quiet, and serve
 * at every node (the check named "liveness"); then the history is judged.
 *
 * States: waiting for the users and for all nodes to agree, then asking every gateway for a write
 * and a read, then waiting for all nodes to agree again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

#define SETTLE_LIMIT_US 15000000u
#define SETTLE_STEP_US 10000u
#define SETTLE_ASK_US 5000000u

typedef struct question {
    struct settle *settle;
    unsigned slot;
    uint64_t connection;
    bool again;    /* one of its requests was sent a second time */
    unsigned step; /* 0: the write is under way, 1: the read, 2: both are answered */
} question_t;

typedef struct settle {
    world_t *world;
    uint64_t until_us;
    bool asked;
    question_t questions[WORLD_SLOTS];
    size_t count;
} settle_t;

/* ---- does everybody agree? ---- */

/* What is missing at `slot`, "" when nothing is. */
static const char *node_missing(const world_t *self, unsigned slot, unsigned leader) {
    const storage_actor_t *storage = world_storage(self, slot);
    const raft_actor_t *raft = world_raft(self, slot);
    if (!storage || !raft || !world_gateway(self, slot))
        return "a process";
    if (!raft->core || !storage->state)
        return "a core";
    const raft_actor_t *other = world_raft(self, leader);
    const member_t *member = config_member(raft_config(other->core), raft->node);
    if (!member)
        return "its membership";
    if (member->role != MEMBER_VOTER)
        return "its promotion";
    if (storage_no_space(storage))
        return "space";
    if (world_gateway(self, slot)->blocks) /* of users that have gone: they may still delete all */
        return "the end of writes";
    if (raft_leader(raft->core) != other->node)
        return "the leader";
    if (raft_config(raft->core)->index != raft_config(other->core)->index)
        return "the membership";
    if (raft_commit(raft->core) != raft_last_index(other->core))
        return "commits";
    if (raft->no_space)
        return "the news that there is room";
    if (state_applied(storage->state) != raft_last_index(other->core))
        return "applied entries";
    return "";
}

/* A machine that asked to join under one id, failed, and was taken away leaves a member that nobody
 * is: its operator has that removed. */
static void ghosts_remove(world_t *self) {
    unsigned leader = operator_leader(self);
    if (leader == WORLD_SLOTS || operator_busy(self))
        return;
    const config_t *config = raft_config(world_raft(self, leader)->core);
    for (size_t i = 0; i < config->count; i++) {
        bool lives = false;
        for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
            const machine_t *machine = &self->machines[slot];
            if (machine->inhabited && (!world_raft(self, slot) || !world_raft(self, slot)->core))
                return; /* it may become this one */
            lives = lives || (machine->inhabited && machine->node == config->members[i].id);
        }
        if (lives)
            continue;
        operator_task(self, TASK_REMOVE, config->members[i].id, WORLD_SLOTS, 0);
        return;
    }
}

static bool agreed(const world_t *self, char *missing, size_t size) {
    unsigned leader = operator_leader(self);
    size_t nodes = 0;
    if (leader == WORLD_SLOTS || operator_busy(self)) {
        (void) snprintf(missing, size,
                        leader == WORLD_SLOTS ? "no leader" : "a change of membership");
        return false;
    }
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        const machine_t *machine = &self->machines[slot];
        if (!machine->inhabited)
            continue;
        nodes++;
        if (machine->stopping) {
            (void) snprintf(missing, size, "n%u is being stopped", slot);
            return false;
        }
        const char *lacks = node_missing(self, slot, leader);
        if (lacks[0]) {
            (void) snprintf(missing, size, "n%u (leader n%u) lacks %s", slot, leader, lacks);
            return false;
        }
    }
    size_t members = raft_config(world_raft(self, leader)->core)->count;
    if (members != nodes)
        (void) snprintf(missing, size, "%zu members but %zu nodes", members, nodes);
    return members == nodes;
}

static bool digests_equal(world_t *self) {
    const state_t *first = world_storage(self, operator_leader(self))->state;
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        if (!self->machines[slot].inhabited)
            continue;
        const state_t *state = world_storage(self, slot)->state;
        if (state_digest(state) != state_digest(first) ||
            state_revision(state) != state_revision(first)) {
            world_fail(self, "equal digest", "n%u differs from the leader at the end", slot);
            return false;
        }
    }
    world_mix(self, state_digest(first));
    world_mix(self, state_applied(first));
    return true;
}

/* ---- does everybody serve? ---- */

static void question_send(question_t *self, bool write) {
    char key[32], value[32];
    buffer_t request = {0};
    (void) snprintf(key, sizeof key, "settle/%u", self->slot);
    (void) snprintf(value, sizeof value, "value of %u", self->slot);
    pack_array(&request, 4);
    pack_uint(&request, 0);
    pack_uint(&request, WORLD_MSGIDS + 4 * self->slot + (write ? 0 : 2) + (self->again ? 1 : 0));
    pack_str(&request, write ? "put" : "get");
    pack_array(&request, write ? 2 : 1);
    pack_str(&request, key);
    if (write)
        pack_str(&request, value);
    world_send(self->settle->world, self->connection, (slice_t){request.data, request.size});
    buffer_free(&request);
}

static void question_received(void *hint, uint64_t connection, slice_t payload) {
    question_t *self = hint;
    world_t *world = self->settle->world;
    answer_t answer;
    char value[32];
    (void) connection;
    if (!answer_read(payload, &answer))
        return;
    if (!answer.ok && strcmp(answer.code, "TIMEOUT") == 0 && !self->again) {
        self->again = true; /* its outcome is unknown, which may be so once */
        question_send(self, self->step == 0);
        return;
    }
    if (!answer.ok) {
        world_fail(world, "liveness", "n%u answers a %s with %s though all is well", self->slot,
                   self->step ? "read" : "write", answer.code);
        return;
    }
    int size = snprintf(value, sizeof value, "value of %u", self->slot);
    if (self->step && !memmem(answer.result.data, answer.result.size, value, (size_t) size))
        world_fail(world, "liveness", "n%u does not read what was written", self->slot);
    if (self->step++ == 0)
        question_send(self, false);
}

static void question_broken(void *hint, uint64_t connection) {
    question_t *self = hint;
    (void) connection;
    world_fail(self->settle->world, "liveness", "the gateway of n%u ended", self->slot);
}

static void questions_ask(settle_t *self) {
    world_t *world = self->world;
    self->asked = true;
    self->until_us = world->now_us + SETTLE_ASK_US;
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
        if (!world->machines[slot].inhabited)
            continue;
        question_t *question = &self->questions[self->count++];
        *question = (question_t){.settle = self, .slot = slot};
        listener_t listener = {question, question_received, question_broken};
        question->connection = world_connect(world, slot, &listener);
        question_send(question, true);
    }
}

static bool questions_answered(const settle_t *self) {
    for (size_t i = 0; i < self->count; i++)
        if (self->questions[i].step < 2)
            return false;
    return true;
}

/* ---- the steps ---- */

static void settle_judge(settle_t *self) {
    world_t *world = self->world;
    users_finish(world->users);
    checks_finish(world->checks);
    world->settled = true;
}

static void settle_step(void *hint, uint64_t argument) {
    settle_t *self = hint;
    world_t *world = self->world;
    char missing[128] = "the users";
    (void) argument;
    ghosts_remove(world);
    bool whole = agreed(world, missing, sizeof missing) && users_idle(world->users);
    if (whole && self->asked && !questions_answered(self)) {
        whole = false;
        (void) snprintf(missing, sizeof missing, "an answer");
    }
    if (whole && !digests_equal(world))
        return;
    if (whole && self->asked) {
        settle_judge(self);
        return;
    }
    if (whole)
        questions_ask(self);
    if (world->now_us >= self->until_us) {
        world_fail(world, "liveness", "%u s after the last fault: %s", SETTLE_LIMIT_US / 1000000u,
                   missing);
        return;
    }
    world_event(world, world->now_us + SETTLE_STEP_US, settle_step, self, 0);
}

void settle_begin(world_t *self) {
    settle_t *settle = calloc(1, sizeof *settle);
    if (!settle)
        abort();
    settle->world = self;
    settle->until_us = self->now_us + SETTLE_LIMIT_US;
    self->settle = settle;
    users_stop(self->users);
    world_event(self, self->now_us + SETTLE_STEP_US, settle_step, settle, 0);
}

void settle_clear(world_t *self) {
    free(self->settle);
    self->settle = NULL;
}
