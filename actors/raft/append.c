/* append.c: the follower's side of replication (dissertation 3.5).
 *
 * Owns: what this node has verified of the leader's log, and its answers. Must not know: peers.
 *
 * An answer speaks of durable entries only. Many APPENDs may arrive while one write is under way;
 * they are answered together: `ack_due` says that the leader waits, `verified` how far its log is
 * known to equal ours, and follower_flush tells it the part of that which is durable.
 */
#include <assert.h>

#include "actors/raft/raft_internal.h"

static void append_reject(raft_t *self, const message_t *message);
static bool entries_contradict(const raft_t *self, const message_append_t *append);
static int entries_take(raft_t *self, message_append_t *append);

void leader_heard(raft_t *self, uint64_t from) {
    if (self->role != RAFT_FOLLOWER || self->leader != from)
        become_follower(self, self->term, from);
    self->contact_ms = self->now_ms;
    election_timer_reset(self);
}

int handle_append(raft_t *self, message_t *message) {
    message_append_t *append = &message->append;
    raft_time_learn(self, append->time_ms);
    if (entries_contradict(self, append))
        return 0;
    if (append->prev_index > self->commit &&
        (append->prev_index > self->log.last ||
         log_term(&self->log, append->prev_index) != append->prev_term)) {
        append_reject(self, message);
        return 0;
    }
    uint64_t last = append->prev_index + append->entries.count;
    int rc = entries_take(self, append);
    if (rc)
        return rc;
    if (last < self->commit)
        last = self->commit; /* committed entries are in every leader's log */
    if (last > self->verified)
        self->verified = last;
    self->ack_due = true;
    follower_commit_learn(self, append->commit);
    return 0;
}

/* Against a committed entry nobody can be right: the message is dropped. */
static bool entries_contradict(const raft_t *self, const message_append_t *append) {
    const raft_log_t *log = &self->log;
    if (append->prev_index <= self->commit && append->prev_index + 1 >= log->first &&
        log_term(log, append->prev_index) != append->prev_term)
        return true;
    for (size_t i = 0; i < append->entries.count; i++) {
        const entry_t *entry = &append->entries.items[i];
        if (entry->index > self->commit)
            return false;
        if (entry->index + 1 >= log->first && log_term(log, entry->index) != entry->term)
            return true;
    }
    return false;
}

/* Appends what is new, after cutting off what conflicts. All or nothing. */
static int entries_take(raft_t *self, message_append_t *append) {
    entries_t *entries = &append->entries;
    size_t at = 0;
    while (at < entries->count &&
           (entries->items[at].index <= self->commit ||
            (entries->items[at].index <= self->log.last &&
             log_term(&self->log, entries->items[at].index) == entries->items[at].term)))
        at++;
    if (at == entries->count)
        return 0;
    size_t configs = 0;
    for (size_t i = at; i < entries->count; i++)
        configs += entries->items[i].config != NULL;
    int rc = log_reserve(&self->log, entries->count - at, configs);
    if (rc)
        return rc;
    if (entries->items[at].index <= self->log.last)
        raft_truncate(self, entries->items[at].index);
    for (; at < entries->count; at++)
        log_append(&self->log, &entries->items[at]);
    return 0;
}

/* The hint lets the leader skip a whole term with each refusal (dissertation 3.5). */
static void append_reject(raft_t *self, const message_t *message) {
    message_t answer = message_make(self, MESSAGE_APPEND_RESULT, message->from);
    uint64_t hint =
        log_find_term(&self->log, message->append.prev_index, message->append.prev_term);
    answer.append_result.rejected = true;
    answer.append_result.index = message->append.prev_index;
    answer.append_result.hint_index = hint;
    answer.append_result.hint_term = log_term(&self->log, hint);
    message_hold(self, &answer);
}

message_ack_t follower_ack(const raft_t *self, uint64_t durable) {
    uint64_t index = durable < self->verified ? durable : self->verified;
    if (!self->ack_due || !self->leader || (index < self->verified && index <= self->acked))
        return (message_ack_t){0};
    return (message_ack_t){self->leader, self->options.boot, self->term, index};
}

void follower_flush(raft_t *self) {
    message_ack_t ack = follower_ack(self, self->log.durable);
    if (!ack.to || !raft_hard_durable(self))
        return;
    message_t answer = message_make(self, MESSAGE_APPEND_RESULT, ack.to);
    answer.append_result.index = ack.index;
    message_send(self, &answer);
    self->acked = ack.index;
    self->ack_due = ack.index < self->verified;
}

void follower_commit_learn(raft_t *self, uint64_t leader_commit) {
    if (leader_commit > self->leader_commit)
        self->leader_commit = leader_commit;
    uint64_t commit = self->leader_commit < self->verified ? self->leader_commit : self->verified;
    if (commit > self->commit)
        raft_commit_to(self, commit);
}

static void heartbeat_answer(raft_t *self, uint64_t to, uint64_t round) {
    message_t answer = message_make(self, MESSAGE_HEARTBEAT_RESULT, to);
    answer.heartbeat_result.round = round;
    answer.heartbeat_result.watched = self->watched;
    message_hold(self, &answer);
}

void handle_heartbeat(raft_t *self, const message_t *message) {
    raft_time_learn(self, message->heartbeat.time_ms);
    follower_commit_learn(self, message->heartbeat.commit);
    heartbeat_answer(self, message->from, message->heartbeat.round);
}

/* Said without being asked, of no round, as the next heartbeat may be far; should it be lost, that
 * one's answer says it. */
void raft_watched(raft_t *self, bool watched) {
    bool news = watched && !self->watched;
    self->watched = watched;
    if (news && self->role == RAFT_FOLLOWER && self->leader)
        heartbeat_answer(self, self->leader, 0);
}

void handle_snapshot_offer(raft_t *self, const message_t *message) {
    uint64_t index = message->snapshot.index;
    uint64_t term = message->snapshot.snapshot_term;
    bool held = index > self->commit && term > 0 && log_term(&self->log, index) == term;
    if (held || index <= self->commit) {
        /* Not behind at all, only its answers were lost: say so, and entries will come. What a
         * snapshot includes is committed, and this log is the same up to there. */
        uint64_t verified = held ? index : self->commit;
        if (self->verified < verified)
            self->verified = verified;
        self->ack_due = true;
        follower_commit_learn(self, verified);
        return;
    }
    if (self->snapshot_given && self->now_ms - self->snapshot_given_ms < RAFT_SNAPSHOT_RETRY_MS)
        return;
    self->snapshot_given = true;
    self->snapshot_given_ms = self->now_ms;
    self->snapshot_from = message->from;
}
