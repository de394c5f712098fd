/* step.c: what a peer message must pass before anything believes it, and who handles it.
 *
 * Nothing here trusts a peer: a message of another cluster, to another node, of an unknown sender,
 * or with numbers that cannot be, is dropped. After these checks a message may still lie, but
 * cannot break an invariant.
 *
 * Unknown senders. A member may lag behind the memberships: the leader, or a candidate that it must
 * vote for, can be a node it has not heard of (dissertation 4.1). So a leader's messages are taken
 * from any node of the cluster, and a vote is considered when the candidate's log is strictly ahead
 * of ours, where such a membership could be. A removed node's log cannot be, and gets no answer.
 */
#include <string.h>

#include "actors/raft/raft_internal.h"

static bool message_sane(const raft_t *self, const message_t *message);
static bool sender_known(raft_t *self, const message_t *message);
static bool term_accept(raft_t *self, const message_t *message);
static void term_refuse(raft_t *self, const message_t *message);
static int dispatch(raft_t *self, message_t *message);

int raft_step(raft_t *self, message_t *message) {
    int rc = 0;
    if (message_sane(self, message) && sender_known(self, message) && term_accept(self, message))
        rc = dispatch(self, message);
    message_clear(message);
    return rc;
}

static bool message_from_leader(const message_t *message) {
    return message->kind == MESSAGE_APPEND || message->kind == MESSAGE_HEARTBEAT ||
           message->kind == MESSAGE_SNAPSHOT_OFFER;
}

/* ---- form ---- */

static bool append_sane(const message_t *message) {
    const message_append_t *append = &message->append;
    if (append->prev_index > RAFT_NUMBER_MAX || append->prev_term > message->term ||
        append->time_ms > RAFT_NUMBER_MAX || append->entries.count > LIMIT_APPEND_ENTRIES)
        return false;
    uint64_t term = append->prev_term;
    for (size_t i = 0; i < append->entries.count; i++) {
        const entry_t *entry = &append->entries.items[i];
        if (entry->index != append->prev_index + 1 + i || entry->term < term || entry->term == 0 ||
            entry->term > message->term || entry->time_ms > RAFT_NUMBER_MAX)
            return false;
        if (entry->kind != ENTRY_NOOP && entry->kind != ENTRY_BLOCK && entry->kind != ENTRY_CONFIG)
            return false;
        if ((entry->kind == ENTRY_CONFIG) != (entry->config != NULL) ||
            (entry->config && !config_valid(entry->config, entry->index)) ||
            (entry->kind != ENTRY_BLOCK && entry->payload))
            return false;
        term = entry->term;
    }
    return true;
}

static bool message_sane(const raft_t *self, const message_t *message) {
    if (message->cluster != self->options.cluster || message->to != self->options.id ||
        message->from == 0 || message->from == self->options.id || message->term == 0 ||
        message->term >= RAFT_NUMBER_MAX)
        return false;
    switch (message->kind) {
    case MESSAGE_APPEND:
        return append_sane(message);
    case MESSAGE_HEARTBEAT:
        return message->heartbeat.time_ms <= RAFT_NUMBER_MAX;
    case MESSAGE_PRE_VOTE:
    case MESSAGE_VOTE:
        return message->vote.last_term <= message->term;
    case MESSAGE_FORWARD:
        return message->propose.payload != NULL;
    default:
        return true;
    }
}

/* ---- sender ---- */

static bool sender_known(raft_t *self, const message_t *message) {
    const config_t *config = log_config(&self->log);
    if (!config || config_member(config, message->from) || message->from == self->leader)
        return true; /* a leader that is being removed leads on until that is committed */
    if (message_from_leader(message))
        return true; /* of an earlier term it must be told of this one, or nobody leads here */
    if (message->kind == MESSAGE_PRE_VOTE || message->kind == MESSAGE_VOTE) {
        uint64_t last_term = log_term(&self->log, self->log.last);
        return message->vote.last_term > last_term ||
               (message->vote.last_term == last_term && message->vote.last_index > self->log.last);
    }
    /* A peer on its way out still acknowledges its removal. */
    return self->role == RAFT_LEADER && message->term == self->term &&
           peer_find(self, message->from) != NULL;
}

/* ---- term (dissertation 3.3) ---- */

/* True when the message is of this node's term, once that has followed a higher one. */
static bool term_accept(raft_t *self, const message_t *message) {
    if (message->kind == MESSAGE_PRE_VOTE)
        return true; /* its term is one nobody has taken yet */
    if (message->term < self->term) {
        term_refuse(self, message);
        return false;
    }
    if (message->term == self->term)
        return true;
    if (message->kind == MESSAGE_PRE_VOTE_RESULT && message->vote_result.granted)
        return true;
    if (message->kind == MESSAGE_VOTE && !message->vote.transfer && election_in_lease(self))
        return false;
    become_follower(self, message->term, message_from_leader(message) ? message->from : 0);
    return true;
}

/* A leader or candidate of an earlier term must learn of this one, or, with pre-votes, it would
 * never: this node's own candidacies no longer spread its term. */
static void term_refuse(raft_t *self, const message_t *message) {
    message_t answer;
    if (message_from_leader(message)) {
        answer = message_make(self, MESSAGE_APPEND_RESULT, message->from);
        answer.append_result.rejected = true;
        answer.append_result.index = 0;
    } else if (message->kind == MESSAGE_VOTE) {
        answer = message_make(self, MESSAGE_VOTE_RESULT, message->from);
    } else {
        return;
    }
    message_hold(self, &answer);
}

/* ---- dispatch ---- */

static int dispatch_to_leader(raft_t *self, message_t *message) {
    progress_t *peer = self->role == RAFT_LEADER ? peer_find(self, message->from) : NULL;
    if (!peer)
        return 0;
    peer->heard_ms = self->now_ms;
    if (message->from_boot && message->from_boot != peer->boot) {
        if (peer->boot)
            progress_probe(peer, true);
        peer->boot = message->from_boot;
    }
    switch (message->kind) {
    case MESSAGE_APPEND_RESULT:
        handle_append_result(self, peer, message);
        break;
    case MESSAGE_HEARTBEAT_RESULT:
        handle_heartbeat_result(self, peer, message);
        break;
    case MESSAGE_FORWARD:
        handle_forward(self, peer, message);
        break;
    default:
        handle_read_index(self, message);
        break;
    }
    return 0;
}

static int dispatch_from_leader(raft_t *self, message_t *message) {
    /* Two leaders in one term cannot be: whoever claims it second is not believed. */
    if (self->leader && self->leader != message->from)
        return 0;
    leader_heard(self, message->from);
    if (message->kind == MESSAGE_APPEND)
        return handle_append(self, message);
    if (message->kind == MESSAGE_HEARTBEAT)
        handle_heartbeat(self, message);
    else
        handle_snapshot_offer(self, message);
    return 0;
}

static int dispatch(raft_t *self, message_t *message) {
    switch (message->kind) {
    case MESSAGE_PRE_VOTE:
        handle_pre_vote(self, message);
        return 0;
    case MESSAGE_PRE_VOTE_RESULT:
        handle_pre_vote_result(self, message);
        return 0;
    case MESSAGE_VOTE:
        handle_vote(self, message);
        return 0;
    case MESSAGE_VOTE_RESULT:
        handle_vote_result(self, message);
        return 0;
    case MESSAGE_APPEND:
    case MESSAGE_HEARTBEAT:
    case MESSAGE_SNAPSHOT_OFFER:
        return dispatch_from_leader(self, message);
    case MESSAGE_APPEND_RESULT:
    case MESSAGE_HEARTBEAT_RESULT:
    case MESSAGE_FORWARD:
    case MESSAGE_READ_INDEX:
        return dispatch_to_leader(self, message);
    case MESSAGE_READ_INDEX_RESULT:
        handle_read_index_result(self, message);
        return 0;
    case MESSAGE_TIMEOUT_NOW:
        handle_timeout_now(self, message);
        return 0;
    default:
        return 0;
    }
}
