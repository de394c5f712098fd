/* raft.c: the core's life: birth, time, what storage reports, and the ready.
 *
 * Owns: the order in which things gathered since the last ready are handed out. Must not know: the
 * rules of elections and replication; those are in the files named in raft_internal.h.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

static void ready_reset(raft_t *self);
static void ready_write(raft_t *self, raft_ready_t *ready);
static void ready_reads(raft_t *self, raft_ready_t *ready);
static bool status_moved(raft_t *self);
static void raft_check(const raft_t *self);

raft_ready_t *raft_ready(raft_t *self) {
    ready_reset(self);
    if (self->role == RAFT_LEADER) {
        reads_flush(self);
        leader_flush(self);
        transfer_flush(self);
        membership_flush(self);
    }
    follower_flush(self);

    raft_ready_t *ready = &self->ready;
    ready_write(self, ready);
    if (ready->write)
        ready->ack = follower_ack(self, self->log.offered);
    ready_reads(self, ready);
    messages_t messages = self->ready_messages;
    self->ready_messages = self->outbox;
    self->outbox = messages;
    ready->messages = self->ready_messages.items;
    ready->message_count = self->ready_messages.count;
    memcpy(self->ready_fetches, self->fetches, self->fetch_count * sizeof *self->fetches);
    ready->fetches = self->ready_fetches;
    ready->fetch_count = self->fetch_count;
    self->fetch_count = 0;
    ready->snapshot_from = self->snapshot_from;
    self->snapshot_from = 0;
    uint64_t reported = self->commit_reported;
    self->commit_reported = commit_reportable(self);
    ready->commit_durable = self->commit_reported;
    ready->commit_advanced = self->commit_reported > reported;
    ready->status_changed = status_moved(self);
    log_evict(&self->log);
    raft_check(self);
    return ready;
}

/* ---- birth and end ---- */

int raft_new(raft_t **out, const raft_options_t *options, const raft_boot_t *boot,
             uint64_t now_ms) {
    *out = NULL;
    if (options->id == 0 || boot->vote > RAFT_NUMBER_MAX)
        return DRAX_EINVAL;
    raft_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->options = *options;
    if (self->options.election_timeout_ms == 0)
        self->options.election_timeout_ms = RAFT_ELECTION_TIMEOUT_MS;
    if (self->options.heartbeat_ms == 0)
        self->options.heartbeat_ms = RAFT_HEARTBEAT_MS;
    if (self->options.cache_bytes == 0)
        self->options.cache_bytes = LIMIT_ENTRY_CACHE_BYTES;
    int rc = log_open(&self->log, boot, self->options.cache_bytes);
    if (rc) {
        free(self);
        return rc;
    }
    self->random = options->seed;
    self->now_ms = now_ms;
    self->time_base_ms = boot->time_ms;
    self->time_at_ms = now_ms;
    self->term = boot->term;
    self->vote = boot->vote;
    self->role = RAFT_FOLLOWER;
    uint64_t last_term = log_term(&self->log, self->log.last);
    if (last_term > self->term) { /* a snapshot of a term this node has not heard of otherwise */
        self->term = last_term;
        self->vote = 0;
        self->hard_dirty = true;
    }
    self->commit = self->commit_reported = boot->commit;
    self->no_space = boot->no_space;
    election_timer_reset(self);
    const config_t *config = log_config(&self->log);
    if (config && config_voters(config) == 1 && raft_voter(self, options->id))
        election_stand(self, false);
    *out = self;
    return 0;
}

void raft_destroy(raft_t **self_p) {
    raft_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    log_close(&self->log);
    messages_clear(&self->outbox);
    messages_clear(&self->ready_messages);
    held_drop(self);
    entries_clear(&self->ready_entries);
    free(self->outbox.items);
    free(self->ready_messages.items);
    free(self->held);
    free(self->writes);
    free(self->reads);
    free(self->reads_safe.items);
    free(self->reads_failed.items);
    free(self->ready_reads.items);
    free(self->ready_failed.items);
    free(self);
}

int raft_bootstrap(raft_t *self, const config_t *config) {
    /* A first attempt may have made its vote durable and lost the entry. */
    bool begun = self->term == 0 || self->vote == self->options.id;
    if (self->log.last != 0 || !begun || config->count != 1 ||
        config->members[0].id != self->options.id || config->members[0].role != MEMBER_VOTER)
        return DRAX_EINVAL;
    config_t *copy = malloc(sizeof *copy);
    if (!copy)
        return DRAX_ENOMEM;
    if (log_reserve(&self->log, 1, 1)) {
        free(copy);
        return DRAX_ENOMEM;
    }
    *copy = *config;
    copy->index = 1;
    entry_t entry = {1, 1, raft_time_ms(self), ENTRY_CONFIG, NULL, copy};
    log_append(&self->log, &entry);
    /* Term 1 has this voter alone: it elects itself, and leads once that and the entry are durable.
     */
    election_stand(self, false);
    return 0;
}

/* ---- time ---- */

void raft_tick(raft_t *self, uint64_t now_ms) {
    if (now_ms > self->now_ms)
        self->now_ms = now_ms;
    if (self->role == RAFT_LEADER)
        leader_tick(self);
    else
        election_tick(self);
}

uint64_t raft_deadline_ms(const raft_t *self) {
    if (self->log.offered < self->log.last)
        return self->now_ms; /* the next ready has more to write */
    if (self->role != RAFT_LEADER)
        return self->deadline_ms;
    uint64_t thrifty_ms = thrifty_deadline_ms(self);
    return thrifty_ms < self->heartbeat_due_ms ? thrifty_ms : self->heartbeat_due_ms;
}

uint64_t raft_time_ms(const raft_t *self) {
    uint64_t time_ms = self->time_base_ms + (self->now_ms - self->time_at_ms);
    if (time_ms > RAFT_NUMBER_MAX) /* learned from who told a time near it */
        time_ms = RAFT_NUMBER_MAX;
    return time_ms > self->log.last_time_ms ? time_ms : self->log.last_time_ms;
}

void raft_time_learn(raft_t *self, uint64_t time_ms) {
    if (time_ms <= raft_time_ms(self))
        return;
    self->time_base_ms = time_ms;
    self->time_at_ms = self->now_ms;
}

/* splitmix64: small, and every seed is a good one. */
uint64_t raft_random(raft_t *self, uint64_t from, uint64_t to) {
    uint64_t x = self->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return from + x % (to - from);
}

/* ---- what storage reports ---- */

void raft_written(raft_t *self, uint64_t seq) {
    if (seq > self->write_seq)
        seq = self->write_seq;
    if (seq <= self->written_seq)
        return;
    self->written_seq = seq;
    size_t done = 0;
    while (done < self->write_count && self->writes[done].seq <= seq) {
        if (self->writes[done].last > self->log.durable)
            self->log.durable = self->writes[done].last;
        done++;
    }
    self->write_count -= done;
    memmove(self->writes, self->writes + done, self->write_count * sizeof *self->writes);
    held_release(self);
    election_written(self);
    if (self->role == RAFT_LEADER)
        leader_commit_advance(self);
}

/* What is gone was applied, so it is committed: storage acts on commit_durable itself, and a leader
 * that fell before it heard of it has not counted so far. */
void raft_compacted(raft_t *self, uint64_t first_index) {
    if (first_index > self->commit + 1 && first_index <= self->log.durable + 1)
        raft_commit_to(self, first_index - 1);
    if (first_index <= self->commit + 1)
        log_compact(&self->log, first_index);
}

void raft_space(raft_t *self, bool no_space) {
    self->no_space = no_space;
}

bool raft_disk_stalled(const raft_t *self) {
    return self->write_count &&
           self->now_ms - self->writes[0].since_ms > self->options.election_timeout_ms;
}

bool raft_hard_durable(const raft_t *self) {
    return !self->hard_dirty && self->hard_seq <= self->written_seq;
}

/* ---- shared by the other files ---- */

bool raft_voter(const raft_t *self, uint64_t id) {
    const config_t *config = log_config(&self->log);
    const member_t *member = config ? config_member(config, id) : NULL;
    return member && member->role == MEMBER_VOTER;
}

void raft_truncate(raft_t *self, uint64_t from) {
    assert(from > self->commit);
    log_truncate(&self->log, from);
    for (size_t i = 0; i < self->write_count; i++)
        if (self->writes[i].last >= from)
            self->writes[i].last = from - 1;
    if (self->verified >= from)
        self->verified = from - 1;
    if (self->acked >= from)
        self->acked = from - 1;
}

void raft_commit_to(raft_t *self, uint64_t index) {
    assert(index >= self->commit && index <= self->log.last);
    self->commit = index;
    log_configs_prune(&self->log, index);
}

/* ---- the ready ---- */

static void ready_reset(raft_t *self) {
    messages_clear(&self->ready_messages);
    entries_clear(&self->ready_entries);
    self->ready_reads.count = 0;
    self->ready_failed.count = 0;
    memset(&self->ready, 0, sizeof self->ready);
}

/* Without memory for it the write waits for the next ready: nothing that depends on it has left. */
static void ready_write(raft_t *self, raft_ready_t *ready) {
    raft_log_t *log = &self->log;
    ready->entries = &self->ready_entries;
    ready->term = self->term;
    ready->vote = self->vote;
    if (!self->hard_dirty && log->offered == log->last)
        return;
    if (array_reserve((void **) &self->writes, &self->write_capacity, self->write_count + 1,
                      sizeof *self->writes))
        return;
    if (log->offered < log->last &&
        log_slice(log, log->offered + 1, UINT64_MAX, LIMIT_WRITE_ENTRIES, &self->ready_entries))
        return;
    log->offered += self->ready_entries.count;
    ready->write = true;
    ready->write_seq = ++self->write_seq;
    ready->has_hard_state = self->hard_dirty;
    if (self->hard_dirty)
        self->hard_seq = self->write_seq;
    self->hard_dirty = false;
    self->writes[self->write_count++] =
        (pending_write_t){self->write_seq, log->offered, self->now_ms};
}

static void ready_reads(raft_t *self, raft_ready_t *ready) {
    read_states_t safe = self->ready_reads, failed = self->ready_failed;
    self->ready_reads = self->reads_safe;
    self->ready_failed = self->reads_failed;
    self->reads_safe = safe;
    self->reads_failed = failed;
    ready->reads = self->ready_reads.items;
    ready->read_count = self->ready_reads.count;
    ready->reads_failed = self->ready_failed.items;
    ready->read_failed_count = self->ready_failed.count;
}

static bool status_moved(raft_t *self) {
    const config_t *config = log_config(&self->log);
    raft_seen_t now = {raft_role(self), self->term, self->leader, config ? config->index : 0, true};
    raft_seen_t *seen = &self->seen;
    bool moved = !seen->any || seen->role != now.role || seen->term != now.term ||
                 seen->leader != now.leader || seen->config_index != now.config_index;
    *seen = now;
    return moved;
}

static void raft_check(const raft_t *self) {
    const raft_log_t *log = &self->log;
    assert(log->first <= self->commit + 1 && self->commit <= log->last);
    assert(log->durable <= log->offered && log->offered <= log->last);
    assert(log->cached <= log->durable + 1 && log->cached + log->count == log->last + 1);
    assert(log->runs[0].index == log->first - 1);
    assert(log->runs[log->run_count - 1].index <= log->last);
    assert(log->runs[log->run_count - 1].term <= self->term);
    assert(self->verified <= log->last);
    assert(self->role != RAFT_LEADER || self->leader == self->options.id);
    assert(self->written_seq <= self->write_seq);
}

/* ---- accessors ---- */

raft_role_t raft_role(const raft_t *self) {
    if (self->role == RAFT_FOLLOWER && !raft_voter(self, self->options.id))
        return RAFT_LEARNER;
    return self->role;
}

uint64_t raft_term(const raft_t *self) {
    return self->term;
}

uint64_t raft_vote(const raft_t *self) {
    return self->vote;
}

uint64_t raft_leader(const raft_t *self) {
    return self->leader;
}

uint64_t raft_commit(const raft_t *self) {
    return self->commit;
}

uint64_t raft_last_index(const raft_t *self) {
    return self->log.last;
}

static const config_t no_config;

const config_t *raft_config(const raft_t *self) {
    const config_t *config = log_config(&self->log);
    return config ? config : &no_config;
}

const config_t *raft_config_committed(const raft_t *self) {
    return self->log.config_count ? &self->log.configs[0] : &no_config;
}

bool raft_peer_silent(const raft_t *self, uint64_t peer) {
    if (self->role != RAFT_LEADER)
        return self->role == RAFT_CANDIDATE;
    const progress_t *progress = peer_get(self, peer);
    return progress && self->now_ms - progress->heard_ms >= self->options.election_timeout_ms;
}

uint64_t raft_match(const raft_t *self, uint64_t peer) {
    if (self->role != RAFT_LEADER)
        return 0;
    if (peer == self->options.id)
        return self->log.durable;
    const progress_t *progress = peer_get(self, peer);
    return progress ? progress->match : 0;
}
