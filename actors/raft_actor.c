/* raft_actor.c: the raft actor's life and turns, and how it posts.
 *
 * Owns: when what is due is done, and how the actor ends. Must not know: what messages mean
 * (raft_receive.c) and what a ready holds (raft_ready.c).
 *
 * Invariants
 *  1. The core's clock is brought up to date before anything reaches it.
 *  2. Whatever came in, a turn follows it, which carries the core's ready out.
 */
#include "actors/raft_actor.h"

#include <stdlib.h>
#include <string.h>

#include "actors/raft_actor_internal.h"

/* splitmix64 (Steele, Lea, Flood 2014): ids and seeds, from the seed given. */
uint64_t raft_actor_random(raft_actor_t *self) {
    uint64_t z = self->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void raft_actor_local(raft_actor_t *self, actor_t to, message_t *message) {
    self->post->local(self->post->self, to, message);
}

void raft_actor_peer(raft_actor_t *self, uint64_t to, message_t *message) {
    message->cluster = self->cluster;
    message->from = self->node;
    message->to = to;
    message->actor = ACTOR_NONE;
    message->term = self->core ? raft_term(self->core) : 0;
    (void) self->post->peer(self->post->self, message);
}

void raft_actor_watched(raft_actor_t *self, bool watched) {
    self->watched = watched;
    if (self->core)
        raft_watched(self->core, watched);
}

static void raft_receive(void *hint, message_t *message, uint64_t now_ms) {
    raft_actor_t *self = hint;
    if (self->core)
        raft_tick(self->core, now_ms);
    if (message->actor == ACTOR_NONE)
        raft_peer_receive(self, message, now_ms);
    else
        raft_local_receive(self, message, now_ms);
    message_clear(message);
}

static void raft_neighbour(void *hint, actor_t neighbour, uint64_t now_ms) {
    raft_actor_t *self = hint;
    (void) now_ms;
    if (neighbour == ACTOR_STORAGE && self->phase != RAFT_JOINING)
        raft_storage_ask(self);
    if (neighbour == ACTOR_GATEWAY) {
        memset(self->reads_wanted, 0, sizeof self->reads_wanted);
        raft_actor_watched(self, false); /* until it says so */
        raft_status_send(self);
    }
}

static void raft_peer_event(void *hint, uint64_t peer, bool up, uint64_t now_ms) {
    raft_actor_t *self = hint;
    if (!self->core)
        return;
    raft_tick(self->core, now_ms);
    if (up)
        raft_peer_up(self->core, peer);
    else
        raft_peer_down(self->core, peer);
}

static int raft_turn(void *hint, uint64_t now_ms) {
    raft_actor_t *self = hint;
    if (self->fatal)
        return self->fatal;
    if (self->core) {
        raft_tick(self->core, now_ms);
        raft_admin_turn(self, now_ms);
        raft_ready_carry_out(self, now_ms);
    }
    if (self->stopping && now_ms >= self->stop_ms)
        self->stop_over = true; /* no successor took over in time, or none is needed */
    if (self->pull.from && now_ms >= self->pull.asked_ms + RAFT_PULL_RETRY_MS)
        raft_pull_ask(self, now_ms);
    if (self->core && now_ms >= self->status_ms) {
        self->status_ms = now_ms + RAFT_STATUS_MS;
        raft_clock_send(self);
        raft_members_turn(self, now_ms);
        if (self->status_commit != raft_commit(self->core))
            raft_status_send(self);
    }
    return 0;
}

static uint64_t raft_deadline(const void *hint, uint64_t now_ms) {
    const raft_actor_t *self = hint;
    if (!self->core)
        return UINT64_MAX;
    uint64_t at = raft_deadline_ms(self->core);
    uint64_t admin = raft_admin_deadline(self, now_ms);
    at = admin < at ? admin : at;
    at = self->status_ms < at ? self->status_ms : at;
    if (self->stopping && self->stop_ms < at)
        at = self->stop_ms;
    return at;
}

static void raft_stop(void *hint, uint64_t now_ms) {
    raft_actor_t *self = hint;
    if (self->stopping)
        return;
    self->stopping = true;
    self->stop_ms = now_ms;
    if (self->core && raft_role(self->core) == RAFT_LEADER && raft_transfer(self->core, 0) == 0)
        self->stop_ms = now_ms + RAFT_STOP_MS;
}

static bool raft_stopped(const void *hint) {
    const raft_actor_t *self = hint;
    bool leads = self->core && raft_role(self->core) == RAFT_LEADER;
    return self->stopping && (!leads || self->stop_over);
}

static bool raft_is_ready(const void *hint) {
    const raft_actor_t *self = hint;
    return self->core && raft_leader(self->core) != 0;
}

const actor_ops_t raft_actor_ops = {
    .neighbour = raft_neighbour,
    .receive = raft_receive,
    .peer_event = raft_peer_event,
    .turn = raft_turn,
    .deadline = raft_deadline,
    .stop = raft_stop,
    .stopped = raft_stopped,
    .ready = raft_is_ready,
};

int raft_actor_new(raft_actor_t **out, const raft_actor_options_t *options) {
    raft_actor_t *self = calloc(1, sizeof *self);
    *out = self;
    if (!self)
        return DRAX_ENOMEM;
    self->options = *options;
    self->post = options->post;
    self->log = options->log;
    self->random = options->seed;
    return 0;
}

void raft_actor_destroy(raft_actor_t **self) {
    if (!*self)
        return;
    raft_destroy(&(*self)->core);
    free(*self);
    *self = NULL;
}
