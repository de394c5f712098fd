/* raft_start.c: how a node gets its identity, and a core: from nothing, or from what storage holds.
 *
 * Owns: the phases (raft_actor.h). Must not know: what a core does, or how nodes are asked to let
 * this one in (join.h).
 *
 * Invariants
 *  1. A core is made from OPENED alone, which storage tells once all of it is durable; with a new
 *     life of storage the old core goes first.
 *  2. Each core is a life of its own to the peers: it has a boot that none before it had.
 *  3. An id or a cluster is drawn only where storage says that the home is empty.
 */
#include <string.h>

#include "actors/raft_actor_internal.h"

static void core_drop(raft_actor_t *self) {
    if (!self->core)
        return;
    /* A leader that is about to forget what it is tells a successor to go ahead. */
    raft_abdicate(self->core);
    raft_ready_t *ready = raft_ready(self->core);
    for (size_t i = 0; i < ready->message_count; i++)
        (void) self->post->peer(self->post->self, &ready->messages[i]);
    raft_destroy(&self->core);
    raft_admin_fail_all(self, DRAX_ETIMEDOUT);
    self->pull = (pull_t){0};
    self->status_role = RAFT_FOLLOWER;
}

void raft_storage_ask(raft_actor_t *self) {
    core_drop(self);
    self->phase = RAFT_WAITING;
    message_t out = {.kind = MESSAGE_OPEN};
    raft_actor_local(self, ACTOR_STORAGE, &out);
}

static void format_send(raft_actor_t *self) {
    self->phase = RAFT_FORMATTING;
    message_t out = {.kind = MESSAGE_FORMAT,
                     .format = {.cluster = self->cluster, .node = self->node, .hint = self->hint}};
    raft_actor_local(self, ACTOR_STORAGE, &out);
    out = (message_t){.kind = MESSAGE_OPEN};
    raft_actor_local(self, ACTOR_STORAGE, &out);
}

static void home_is_empty(raft_actor_t *self) {
    do
        self->node = raft_actor_random(self) & UINT32_MAX;
    while (self->node == 0);
    if (self->options.join) {
        self->phase = RAFT_JOINING;
        return;
    }
    do
        self->cluster = raft_actor_random(self) & ((1ull << 53) - 1);
    while (self->cluster == 0);
    self->hint = (config_t){0};
    log_info(self->log, "founding a cluster cluster=%llu node=%llu",
             (unsigned long long) self->cluster, (unsigned long long) self->node);
    format_send(self);
}

bool raft_actor_wants_join(const raft_actor_t *self, uint64_t *id) {
    *id = self->node;
    return self->phase == RAFT_JOINING;
}

void raft_actor_joined(raft_actor_t *self, uint64_t cluster, const config_t *members) {
    if (self->phase != RAFT_JOINING)
        return;
    self->cluster = cluster;
    self->hint = *members;
    log_info(self->log, "joined a cluster cluster=%llu node=%llu", (unsigned long long) cluster,
             (unsigned long long) self->node);
    format_send(self);
}

static int core_bootstrap(raft_actor_t *self) {
    config_t config = {.count = 1};
    member_t *member = &config.members[0];
    member->id = self->node;
    member->role = MEMBER_VOTER;
    strncpy(member->addr, self->options.addr, sizeof member->addr - 1);
    strncpy(member->raft_addr, self->options.raft_addr, sizeof member->raft_addr - 1);
    return raft_bootstrap(self->core, &config);
}

void raft_opened_receive(raft_actor_t *self, const message_opened_t *opened, uint64_t now_ms) {
    if (self->phase == RAFT_RUNNING || self->phase == RAFT_JOINING)
        return;
    if (!opened->formatted) {
        if (self->phase == RAFT_WAITING)
            home_is_empty(self);
        return;
    }
    self->cluster = opened->cluster;
    self->node = opened->node;
    self->hint = opened->hint;
    self->gateway_boot = opened->gateway_boot;
    self->no_space = opened->no_space;
    raft_options_t options = {.cluster = opened->cluster,
                              .id = opened->node,
                              .boot = self->options.boot + ++self->cores,
                              .seed = raft_actor_random(self),
                              .thrifty = true};
    raft_boot_t boot = {.term = opened->term,
                        .vote = opened->vote,
                        .first_index = opened->first_index,
                        .last_index = opened->last_index,
                        .commit = opened->commit,
                        .time_ms = opened->time_ms,
                        .no_space = opened->no_space,
                        .runs = opened->runs,
                        .run_count = opened->run_count,
                        .configs = opened->configs,
                        .config_count = opened->config_count};
    int rc = raft_new(&self->core, &options, &boot, now_ms);
    if (rc == 0 && opened->last_index == 0 && self->hint.count == 0)
        rc = core_bootstrap(self);
    if (rc) {
        log_error(self->log, "cannot start from what storage holds: %s", error_text(rc));
        raft_destroy(&self->core);
        self->phase = RAFT_WAITING;
        self->fatal = rc;
        return;
    }
    raft_watched(self->core, self->watched);
    self->phase = RAFT_RUNNING;
    log_info(self->log, "running node=%llu term=%llu first=%llu last=%llu commit=%llu",
             (unsigned long long) opened->node, (unsigned long long) opened->term,
             (unsigned long long) opened->first_index, (unsigned long long) opened->last_index,
             (unsigned long long) opened->commit);
    raft_status_changed(self);
}
