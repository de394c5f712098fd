/* election.c: who leads (dissertation 3.4, 3.6, 9.6 for pre-votes, 6.2 for the leader's lease).
 *
 * Owns: role, term, vote, and the election timer. Must not know: what leaders replicate.
 *
 *   follower --timeout--> candidate (pre-vote) --majority--> candidate (vote) --majority--> leader
 *       ^                    |  refused by a majority            | a leader, or a higher term
 *       +--------------------+-----------------------------------+------------------ leader
 *
 * Invariants
 *  1. The term never falls, and a vote never changes within one.
 *  2. A candidate counts its own vote only once that is durable.
 *  3. A pre-vote changes nothing durable, at either end.
 */
#include <assert.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

static void campaign(raft_t *self, bool transfer);
static void vote_record(raft_t *self, uint64_t id, bool granted);

void election_timer_reset(raft_t *self) {
    uint64_t timeout = self->options.election_timeout_ms;
    self->deadline_ms = self->now_ms + raft_random(self, timeout, 2 * timeout);
}

void election_tick(raft_t *self) {
    if (self->now_ms < self->deadline_ms)
        return;
    if (election_eligible(self) && !raft_disk_stalled(self))
        election_stand(self, false);
    else
        become_follower(self, self->term, 0);
}

/* A node that its own log removes may still be the only one that can lead, as long as the removal
 * is not committed: others may lack the entry, and it cannot vote for them (dissertation 4.2.2). */
bool election_eligible(const raft_t *self) {
    const raft_log_t *log = &self->log;
    if (raft_voter(self, self->options.id))
        return true;
    if (log->config_count < 2) /* else the latest is not committed: log_configs_prune */
        return false;
    const member_t *member = config_member(&log->configs[log->config_count - 2], self->options.id);
    return member && member->role == MEMBER_VOTER;
}

bool election_in_lease(const raft_t *self) {
    return self->role == RAFT_LEADER ||
           (self->leader && self->now_ms - self->contact_ms < self->options.election_timeout_ms);
}

/* ---- standing ---- */

static void candidate_begin(raft_t *self, bool pre_vote, bool transfer) {
    self->role = RAFT_CANDIDATE;
    self->leader = 0;
    self->pre_vote = pre_vote;
    self->transfer_vote = transfer;
    self->stood_ms = self->now_ms;
    self->vote_count = 0;
    self->snapshot_given = false;
    self->snapshot_from = 0;
    election_timer_reset(self);
}

static void votes_request(raft_t *self) {
    const config_t *config = log_config(&self->log);
    for (size_t i = 0; i < config->count; i++) {
        const member_t *member = &config->members[i];
        if (member->role != MEMBER_VOTER || member->id == self->options.id)
            continue;
        message_t message =
            message_make(self, self->pre_vote ? MESSAGE_PRE_VOTE : MESSAGE_VOTE, member->id);
        message.vote.last_index = self->log.last;
        message.vote.last_term = log_term(&self->log, self->log.last);
        message.vote.transfer = self->transfer_vote;
        if (self->pre_vote) {
            message.term = self->term + 1;
            message_send(self, &message);
        } else {
            message_hold(self, &message);
        }
    }
}

void election_stand(raft_t *self, bool transfer) {
    assert(self->role != RAFT_LEADER && election_eligible(self));
    if (self->term + 1 >= RAFT_NUMBER_MAX) { /* a lie led here; the next term nobody would hear */
        become_follower(self, self->term, 0);
        return;
    }
    bool alone = config_voters(log_config(&self->log)) == 1 && raft_voter(self, self->options.id);
    if (transfer || alone) {
        campaign(self, transfer);
        return;
    }
    candidate_begin(self, true, false);
    votes_request(self);
    vote_record(self, self->options.id, true);
}

/* What was verified against a leader holds for its term: another one may differ, even the same node
 * elected again. */
static void term_begin(raft_t *self, uint64_t term, uint64_t vote) {
    held_drop(self);
    self->term = term;
    self->vote = vote;
    self->hard_dirty = true;
    self->verified = 0;
    self->leader_commit = 0;
    self->acked = 0;
    self->ack_due = false;
}

static void campaign(raft_t *self, bool transfer) {
    term_begin(self, self->term + 1, self->options.id);
    candidate_begin(self, false, transfer);
    votes_request(self);
}

void election_written(raft_t *self) {
    if (self->role == RAFT_CANDIDATE && !self->pre_vote && raft_hard_durable(self))
        vote_record(self, self->options.id, true);
}

static void become_leader(raft_t *self) {
    self->role = RAFT_LEADER;
    self->leader = self->options.id;
    self->pre_vote = false;
    self->term_start = self->log.last + 1;
    self->peer_count = 0;
    self->round = 0;
    self->read_count = 0;
    self->transfer_to = 0;
    self->fetch_count = 0;
    self->heartbeat_due_ms = self->now_ms + self->options.heartbeat_ms;
    backlog_reset(&self->backlog);
    self->thrifty = (thrifty_t){0};
    peers_sync(self);
    if (leader_append(self, ENTRY_NOOP, NULL, NULL))
        become_follower(self, self->term, 0);
}

void become_follower(raft_t *self, uint64_t term, uint64_t leader) {
    assert(term >= self->term);
    if (self->role == RAFT_LEADER) {
        reads_fail(self);
        self->peer_count = 0;
        self->transfer_to = 0;
        self->fetch_count = 0;
    }
    if (leader != self->leader) {
        self->snapshot_given = false;
        self->snapshot_from = 0;
    }
    if (term > self->term)
        term_begin(self, term, 0);
    self->role = RAFT_FOLLOWER;
    self->pre_vote = false;
    self->leader = leader;
    election_timer_reset(self);
}

/* ---- counting ---- */

static void votes_tally(raft_t *self) {
    size_t voters = config_voters(log_config(&self->log));
    size_t granted = 0, refused = 0;
    for (size_t i = 0; i < self->vote_count; i++)
        *(self->votes[i].granted ? &granted : &refused) += 1;
    if (granted > voters / 2) {
        if (self->pre_vote)
            campaign(self, false);
        else
            become_leader(self);
    } else if (refused >= voters - voters / 2) { /* the rest cannot be a majority any more */
        become_follower(self, self->term, 0);
    }
}

static void vote_record(raft_t *self, uint64_t id, bool granted) {
    if (self->role != RAFT_CANDIDATE || !raft_voter(self, id))
        return;
    for (size_t i = 0; i < self->vote_count; i++)
        if (self->votes[i].id == id)
            return;
    self->votes[self->vote_count].id = id;
    self->votes[self->vote_count++].granted = granted;
    votes_tally(self);
}

void handle_pre_vote_result(raft_t *self, const message_t *message) {
    uint64_t asked = self->term + 1;
    bool granted = message->vote_result.granted;
    if (self->pre_vote && message->term == (granted ? asked : self->term))
        vote_record(self, message->from, granted);
}

void handle_vote_result(raft_t *self, const message_t *message) {
    if (!self->pre_vote)
        vote_record(self, message->from, message->vote_result.granted);
}

/* ---- voting ---- */

bool election_log_fresh(const raft_t *self, const message_vote_t *vote) {
    uint64_t last_term = log_term(&self->log, self->log.last);
    return vote->last_term > last_term ||
           (vote->last_term == last_term && vote->last_index >= self->log.last);
}

/* Two followers that lost their leader at the same moment would split the vote. While this node
 * stands itself, it lets only a longer log or, with equal ones, a greater id go before it. */
static bool pre_vote_rival(const raft_t *self, const message_t *message) {
    return self->pre_vote && self->now_ms - self->stood_ms < 2 * self->options.heartbeat_ms &&
           message->from < self->options.id && message->vote.last_index == self->log.last &&
           message->vote.last_term == log_term(&self->log, self->log.last);
}

void handle_pre_vote(raft_t *self, const message_t *message) {
    bool granted = message->term > self->term && !election_in_lease(self) &&
                   election_log_fresh(self, &message->vote) && !pre_vote_rival(self, message);
    message_t answer = message_make(self, MESSAGE_PRE_VOTE_RESULT, message->from);
    answer.vote_result.granted = granted;
    if (granted) {
        answer.term = message->term;
        message_send(self, &answer);
    } else {
        message_hold(self, &answer);
    }
}

void handle_vote(raft_t *self, const message_t *message) {
    bool free = self->vote == message->from || (self->vote == 0 && self->leader == 0);
    bool granted = free && election_log_fresh(self, &message->vote);
    if (granted && self->vote == 0) {
        self->vote = message->from;
        self->hard_dirty = true;
    }
    if (granted)
        election_timer_reset(self);
    message_t answer = message_make(self, MESSAGE_VOTE_RESULT, message->from);
    answer.vote_result.granted = granted;
    message_hold(self, &answer);
}

/* ---- connections ---- */

void raft_peer_down(raft_t *self, uint64_t peer) {
    if (self->role == RAFT_LEADER) {
        progress_t *progress = peer_find(self, peer);
        if (progress && progress->state != PROGRESS_SNAPSHOT)
            progress_probe(progress, true);
        return;
    }
    if (peer == 0 || peer != self->leader)
        return;
    become_follower(self, self->term, 0);
    self->deadline_ms =
        self->now_ms + raft_random(self, RAFT_PEER_DOWN_MIN_MS, RAFT_PEER_DOWN_MAX_MS + 1);
}

void raft_peer_up(raft_t *self, uint64_t peer) {
    progress_t *progress = self->role == RAFT_LEADER ? peer_find(self, peer) : NULL;
    if (!progress)
        return;
    if (progress->state == PROGRESS_SNAPSHOT)
        progress->offered_ms = 0;
    else
        progress_probe(progress, true);
}
