/* raft_ready.c: carries out what the core wants done: messages, the write, read indexes, fetches,
 * and what its neighbours are told of where it is.
 *
 * Owns: the order in which a ready leaves, and the pull of a snapshot that the core asks for. Must
 * not know: why the core wants any of it.
 *
 * Invariants
 *  1. A message that speaks of what is on this disk is in a ready only once it is there: the core
 *     holds it back. So messages may leave before the write of the same ready.
 *  2. What storage has told a leader already is not told it again from here.
 */
#include <string.h>

#include "actors/raft_actor_internal.h"

/* ---- status for the neighbours ---- */

void raft_status_send(raft_actor_t *self) {
    message_t out = {.kind = MESSAGE_RAFT_STATUS};
    message_raft_status_t *status = &out.raft_status;
    status->cluster = self->cluster;
    status->node = self->node;
    status->role = RAFT_LEARNER;
    status->no_space = self->no_space;
    status->gateway_boot = self->gateway_boot;
    if (self->core) {
        status->role = raft_role(self->core);
        status->leader = raft_leader(self->core);
        status->term = raft_term(self->core);
        status->commit = raft_commit(self->core);
        status->time_ms = raft_time_ms(self->core);
        status->config = *raft_config(self->core);
        self->status_commit = status->commit;
    }
    raft_actor_local(self, ACTOR_GATEWAY, &out);
}

void raft_clock_send(raft_actor_t *self) {
    if (!self->core)
        return;
    message_t out = {.kind = MESSAGE_CLOCK,
                     .clock = {.time_ms = raft_time_ms(self->core),
                               .leader = raft_role(self->core) == RAFT_LEADER,
                               .term = raft_term(self->core)}};
    raft_actor_local(self, ACTOR_STORAGE, &out);
}

void raft_status_changed(raft_actor_t *self) {
    raft_role_t role = raft_role(self->core);
    if (role != self->status_role)
        log_info(self->log, "role=%s term=%llu leader=%llu last=%llu commit=%llu",
                 raft_role_name(role), (unsigned long long) raft_term(self->core),
                 (unsigned long long) raft_leader(self->core),
                 (unsigned long long) raft_last_index(self->core),
                 (unsigned long long) raft_commit(self->core));
    self->status_role = role;
    raft_members_connect(self);
    raft_status_send(self);
    raft_clock_send(self);
}

/* ---- what the core wants done ---- */

static void write_send(raft_actor_t *self, raft_ready_t *ready) {
    message_t out = {.kind = MESSAGE_WRITE};
    out.write.commit = ready->commit_durable;
    out.write.time_ms = raft_time_ms(self->core);
    out.write.leader = raft_role(self->core) == RAFT_LEADER;
    if (ready->write) {
        out.write.seq = ready->write_seq;
        out.write.has_hard_state = ready->has_hard_state;
        out.write.term = ready->term;
        out.write.vote = ready->vote;
        out.write.ack = ready->ack;
        out.write.entries = *ready->entries;
        memset(ready->entries, 0, sizeof *ready->entries);
    }
    raft_actor_local(self, ACTOR_STORAGE, &out);
}

static void read_ready_send(raft_actor_t *self, const raft_read_state_t *read) {
    static const actor_t to[READS_END] = {
        [READS_PARKED] = ACTOR_STORAGE, [READS_HELD] = ACTOR_GATEWAY};
    for (size_t i = 0; i < READS_END; i++) {
        if (!self->reads_wanted[i])
            continue;
        message_t out = {
            .kind = MESSAGE_READ_READY,
            .read = {.boot = read->boot, .read_id = read->read_id, .index = read->index}};
        raft_actor_local(self, to[i], &out);
        if (read->read_id >= self->reads_wanted[i])
            self->reads_wanted[i] = 0;
    }
}

static void reads_send(raft_actor_t *self, const raft_ready_t *ready) {
    for (size_t i = 0; i < ready->read_count; i++)
        read_ready_send(self, &ready->reads[i]);
    for (size_t i = 0; i < ready->read_failed_count; i++) {
        message_t out = {.kind = MESSAGE_READ_FAILED,
                         .read = {.boot = ready->reads_failed[i].boot,
                                  .read_id = ready->reads_failed[i].read_id,
                                  .code = DRAX_ENOTLEADER}};
        raft_actor_local(self, ACTOR_GATEWAY, &out);
    }
}

void raft_pull_ask(raft_actor_t *self, uint64_t now_ms) {
    message_t out = {.kind = MESSAGE_SNAPSHOT_FETCH,
                     .snapshot = {.session = self->pull.session, .chunk = self->pull.chunk}};
    self->pull.asked_ms = now_ms;
    raft_actor_peer(self, self->pull.from, &out);
}

/* Storage told the leader already, with the write that this turn heard of. A leader that asks again
 * is answered again. */
static bool ack_sent(const raft_actor_t *self, const message_t *message) {
    const message_ack_t *ack = &self->acked;
    return message->kind == MESSAGE_APPEND_RESULT && !message->append_result.rejected &&
           message->to == ack->to && message->from_boot == ack->boot &&
           message->term == ack->term && message->append_result.index == ack->index;
}

static void ready_message_send(raft_actor_t *self, message_t *message) {
    if (!ack_sent(self, message))
        (void) self->post->peer(self->post->self, message);
}

/* A majority is this node and half of the others: what is for so many goes before the own write, so
 * that their disks begin no later than the own one, and the rest after it, so that the own one does
 * not wait for them. */
static void messages_and_write_send(raft_actor_t *self, raft_ready_t *ready) {
    size_t before = raft_config(self->core)->count / 2;
    size_t at = 0;
    for (; at < ready->message_count && at < before; at++)
        ready_message_send(self, &ready->messages[at]);
    if (ready->write || ready->commit_advanced)
        write_send(self, ready);
    for (; at < ready->message_count; at++)
        ready_message_send(self, &ready->messages[at]);
    self->acked.to = 0;
}

void raft_ready_carry_out(raft_actor_t *self, uint64_t now_ms) {
    raft_ready_t *ready = raft_ready(self->core);
    messages_and_write_send(self, ready);
    reads_send(self, ready);
    for (size_t i = 0; i < ready->fetch_count; i++) {
        message_t out = {.kind = MESSAGE_FETCH,
                         .fetch = {.peer = ready->fetches[i].peer,
                                   .from = ready->fetches[i].from,
                                   .max_bytes = ready->fetches[i].max_bytes}};
        raft_actor_local(self, ACTOR_STORAGE, &out);
    }
    if (ready->snapshot_from && self->pull.from != ready->snapshot_from) {
        log_info(self->log, "this node is too far behind: pulling a snapshot from=%llu",
                 (unsigned long long) ready->snapshot_from);
        self->pull = (pull_t){.from = ready->snapshot_from};
        raft_pull_ask(self, now_ms);
    }
    if (ready->status_changed)
        raft_status_changed(self);
}
