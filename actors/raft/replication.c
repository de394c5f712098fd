/* replication.c: the leader's side of replication (dissertation 3.5, 3.6, 10.2).
 *
 * Owns: what leaves for whom, and the commit index. Must not know: how the followers keep their
 * logs.
 *
 * Everything is sent from leader_flush, once a ready: so all that was proposed in one turn travels
 * in one APPEND a peer, in the same ready as the leader's own write.
 *
 * Lost messages. Nothing is repeated on a timer while a peer answers in time. When heartbeats are
 * answered but what was sent is not acknowledged for two heartbeats, the peer is probed with an
 * empty APPEND after its last acknowledged entry; its answer says where to go on.
 */
#include <assert.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

static void peer_flush(raft_t *self, progress_t *peer);
static void leaving_drop(raft_t *self);
static void offer_send(raft_t *self, progress_t *peer);

void leader_flush(raft_t *self) {
    thrifty_turn(self);
    for (size_t i = 0; i < self->peer_count; i++)
        peer_flush(self, &self->peers[i]);
    leaving_drop(self);
}

/* ---- proposals ---- */

int leader_refuses(const raft_t *self, const payload_t *payload) {
    if (payload_size(payload) > LIMIT_ENTRY_BYTES)
        return DRAX_ETOOLARGE;
    if (self->no_space)
        return DRAX_ENOSPC;
    if (self->transfer_to || backlog_bytes(&self->backlog) > LIMIT_UNCOMMITTED_BYTES)
        return DRAX_EAGAIN;
    return 0;
}

int raft_propose(raft_t *self, uint64_t boot, uint64_t seq, payload_t *payload) {
    if (self->role == RAFT_LEADER) {
        int rc = leader_refuses(self, payload);
        return rc ? rc : leader_append(self, ENTRY_BLOCK, payload, NULL);
    }
    if (self->leader == 0)
        return DRAX_ENOTLEADER;
    message_t message = message_make(self, MESSAGE_FORWARD, self->leader);
    message.propose.boot = boot;
    message.propose.seq = seq;
    message.propose.payload = payload_ref(payload);
    message_send(self, &message);
    return 0;
}

void handle_forward(raft_t *self, progress_t *peer, const message_t *message) {
    payload_t *payload = message->propose.payload;
    if (leader_refuses(self, payload) || leader_append(self, ENTRY_BLOCK, payload, NULL))
        return;
    peer_commit_want(peer, self->log.last);
}

int leader_append(raft_t *self, entry_kind_t kind, payload_t *payload, config_t *config) {
    int rc = log_reserve(&self->log, 1, config != NULL);
    if (rc)
        return rc;
    entry_t entry = {self->log.last + 1,   self->term, raft_time_ms(self), kind,
                     payload_ref(payload), config};
    if (config)
        config->index = entry.index;
    backlog_add(&self->backlog, entry.index, entry_size(&entry));
    log_append(&self->log, &entry);
    if (config)
        peers_sync(self);
    return 0;
}

/* ---- peers ---- */

const progress_t *peer_get(const raft_t *self, uint64_t id) {
    for (size_t i = 0; i < self->peer_count; i++)
        if (self->peers[i].id == id)
            return &self->peers[i];
    return NULL;
}

progress_t *peer_find(raft_t *self, uint64_t id) {
    const progress_t *peer = peer_get(self, id);
    return peer ? &self->peers[peer - self->peers] : NULL;
}

void peer_commit_want(progress_t *peer, uint64_t index) {
    if (index > peer->commit_wanted)
        peer->commit_wanted = index;
}

bool peer_lacks_commit(const raft_t *self, const progress_t *peer) {
    return self->commit > peer->commit_sent && peer->next - 1 > peer->commit_sent;
}

void peers_sync(raft_t *self) {
    const config_t *config = log_config(&self->log);
    for (size_t i = 0; i < self->peer_count; i++) {
        progress_t *peer = &self->peers[i];
        if (config_member(config, peer->id))
            peer->leaving = 0;
        else if (peer->leaving == 0)
            peer->leaving = config->index;
    }
    for (size_t i = 0; i < config->count; i++) {
        uint64_t id = config->members[i].id;
        if (id == self->options.id || peer_find(self, id))
            continue;
        assert(self->peer_count < RAFT_PROGRESS_MAX);
        progress_init(&self->peers[self->peer_count++], id, self->log.last + 1, self->now_ms);
    }
}

/* A removed peer is kept until it was told that its removal is committed, once. */
static void leaving_drop(raft_t *self) {
    size_t kept = 0;
    for (size_t i = 0; i < self->peer_count; i++) {
        progress_t *peer = &self->peers[i];
        if (peer->leaving && peer->leaving <= self->commit)
            continue;
        if (kept != i)
            self->peers[kept] = *peer;
        kept++;
    }
    self->peer_count = kept;
}

/* ---- sending ---- */

/* Sends what follows prev = next - 1. `entries` is taken over, and may be empty. */
static void append_send(raft_t *self, progress_t *peer, entries_t *entries) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < entries->count; i++)
        bytes += entry_size(&entries->items[i]);
    uint64_t prev = peer->next - 1, last = prev + entries->count;
    message_t message = message_make(self, MESSAGE_APPEND, peer->id);
    message.append.prev_index = prev;
    message.append.prev_term = log_term(&self->log, prev);
    message.append.commit = self->commit;
    message.append.time_ms = raft_time_ms(self);
    message.append.entries = *entries;
    memset(entries, 0, sizeof *entries);
    message_send(self, &message);
    if (bytes)
        progress_sent(peer, last, bytes, self->now_ms);
    if (peer->state == PROGRESS_PROBE) {
        peer->probe_sent = true;
        peer->probed_ms = self->now_ms;
        peer->sent = last;
    } else {
        peer->next = last + 1;
    }
    peer->commit_sent = self->commit < last ? self->commit : last;
}

static void probe_send(raft_t *self, progress_t *peer) {
    entries_t entries = {0};
    /* Without memory, or with nothing in memory to send, an empty probe does as well. */
    if (!peer->probe_empty && peer->next >= self->log.cached && peer->next <= self->log.last)
        (void) log_slice(&self->log, peer->next, LIMIT_APPEND_BYTES, LIMIT_APPEND_ENTRIES,
                         &entries);
    append_send(self, peer, &entries);
}

static void fetch_ask(raft_t *self, progress_t *peer) {
    if (peer->fetching || self->now_ms < peer->fetch_retry_ms)
        return;
    peer->fetching = true;
    self->fetches[self->fetch_count++] = (raft_fetch_t){peer->id, peer->next, LIMIT_APPEND_BYTES};
}

static void pipeline_send(raft_t *self, progress_t *peer) {
    if (thrifty_waits(self, peer))
        return;
    bool sent = false;
    while (peer->next <= self->log.last && !progress_full(peer)) {
        if (peer->fetching || peer->next < self->log.cached) {
            fetch_ask(self, peer);
            break;
        }
        entries_t entries = {0};
        if (log_slice(&self->log, peer->next, LIMIT_APPEND_BYTES, LIMIT_APPEND_ENTRIES, &entries))
            break;
        append_send(self, peer, &entries);
        sent = true;
    }
    if (!sent && peer_lacks_commit(self, peer)) {
        entries_t none = {0};
        append_send(self, peer, &none);
    }
}

static void peer_flush(raft_t *self, progress_t *peer) {
    if (peer->leaving && peer->leaving <= self->commit)
        peer_commit_want(peer, self->commit);
    if (peer->state != PROGRESS_SNAPSHOT && peer->next < self->log.first) {
        /* What was lost may be the acknowledgement alone: ask before sending everything. */
        if (peer->state == PROGRESS_PROBE && peer->probe_empty)
            peer->next = self->log.first;
        else
            progress_snapshot(peer);
    }
    if (peer->state == PROGRESS_REPLICATE)
        pipeline_send(self, peer);
    else if (peer->state == PROGRESS_PROBE && !peer->probe_sent)
        probe_send(self, peer);
    else if (peer->state == PROGRESS_SNAPSHOT && peer->offered_ms == 0)
        offer_send(self, peer);
}

static void offer_send(raft_t *self, progress_t *peer) {
    message_t message = message_make(self, MESSAGE_SNAPSHOT_OFFER, peer->id);
    message.snapshot.index = self->log.first - 1;
    message.snapshot.snapshot_term = log_term(&self->log, self->log.first - 1);
    message.snapshot.time_ms = raft_time_ms(self);
    message.snapshot.config = *log_config(&self->log);
    message_send(self, &message);
    peer->offered_ms = self->now_ms ? self->now_ms : 1;
}

/* The entries come from disk and go out as they are; they do not enter the memory. */
void raft_fetched(raft_t *self, uint64_t peer_id, int code, entries_t *entries) {
    progress_t *peer = self->role == RAFT_LEADER ? peer_find(self, peer_id) : NULL;
    if (!peer || !peer->fetching) {
        entries_clear(entries);
        return;
    }
    peer->fetching = false;
    if (code == DRAX_ECOMPACTED && peer->state != PROGRESS_SNAPSHOT) {
        progress_snapshot(peer);
    } else if (code || entries->count == 0) {
        peer->fetch_retry_ms = self->now_ms + self->options.heartbeat_ms;
    } else {
        while (entries->count > LIMIT_APPEND_ENTRIES)
            entry_clear(&entries->items[--entries->count]);
        bool fits = peer->state == PROGRESS_REPLICATE; /* nothing was sent since it was asked */
        for (size_t i = 0; fits && i < entries->count; i++)
            fits = entries->items[i].index == peer->next + i &&
                   entries->items[i].term == log_term(&self->log, peer->next + i);
        if (fits && peer->next >= self->log.first)
            append_send(self, peer, entries);
    }
    entries_clear(entries);
}

/* ---- heartbeats ---- */

void heartbeats_send(raft_t *self) {
    for (size_t i = 0; i < self->peer_count; i++) {
        progress_t *peer = &self->peers[i];
        message_t message = message_make(self, MESSAGE_HEARTBEAT, peer->id);
        uint64_t commit = self->commit < peer->match ? self->commit : peer->match;
        message.heartbeat.commit = commit;
        message.heartbeat.round = self->round;
        message.heartbeat.time_ms = raft_time_ms(self);
        message_send(self, &message);
        if (commit > peer->commit_sent)
            peer->commit_sent = commit;
    }
}

static bool quorum_active(const raft_t *self) {
    const config_t *config = log_config(&self->log);
    size_t active = 0;
    for (size_t i = 0; i < config->count; i++) {
        const member_t *member = &config->members[i];
        if (member->role != MEMBER_VOTER)
            continue;
        if (member->id == self->options.id) {
            active++;
            continue;
        }
        const progress_t *peer = peer_get(self, member->id);
        assert(peer);
        active += self->now_ms - peer->heard_ms < self->options.election_timeout_ms;
    }
    return active > config_voters(config) / 2;
}

void leader_tick(raft_t *self) {
    if (!quorum_active(self) || raft_disk_stalled(self)) {
        raft_abdicate(self);
        become_follower(self, self->term, 0);
        return;
    }
    transfer_tick(self);
    if (self->now_ms < self->heartbeat_due_ms)
        return;
    self->heartbeat_due_ms = self->now_ms + self->options.heartbeat_ms;
    self->transfer_sent = false; /* it may have been lost */
    for (size_t i = 0; i < self->peer_count; i++)
        if (self->peers[i].state == PROGRESS_SNAPSHOT)
            self->peers[i].offered_ms = 0;
    heartbeats_send(self);
    membership_tick(self);
}

void handle_heartbeat_result(raft_t *self, progress_t *peer, const message_t *message) {
    uint64_t round = message->heartbeat_result.round;
    if (round > peer->round && round <= self->round)
        peer->round = round;
    peer->watched = message->heartbeat_result.watched;
    reads_release(self);
    uint64_t patience_ms = 2 * (uint64_t) self->options.heartbeat_ms;
    if (peer->state == PROGRESS_REPLICATE && peer->inflight_count &&
        self->now_ms - peer->progress_ms > patience_ms)
        progress_probe(peer, true);
    else if (peer->state == PROGRESS_PROBE && peer->probe_sent &&
             self->now_ms - peer->probed_ms > patience_ms)
        progress_probe(peer, true);
}

/* ---- answers ---- */

static void append_refused(raft_t *self, progress_t *peer, const message_append_result_t *result) {
    if (peer->state == PROGRESS_SNAPSHOT || result->index <= peer->match)
        return;
    if (peer->state == PROGRESS_PROBE && result->index != peer->next - 1)
        return; /* of an earlier probe */
    uint64_t hint = result->hint_index;
    if (hint + 1 > self->log.first && hint <= self->log.last)
        hint = log_find_term(&self->log, hint, result->hint_term);
    uint64_t next = hint < result->index ? hint + 1 : result->index;
    progress_probe(peer, false);
    peer->next = next > peer->match ? next : peer->match + 1;
}

void handle_append_result(raft_t *self, progress_t *peer, const message_t *message) {
    const message_append_result_t *result = &message->append_result;
    if (result->index > self->log.last)
        return;
    if (result->rejected) {
        append_refused(self, peer, result);
        return;
    }
    bool found = result->index + 1 >= peer->next;
    progress_acknowledged(peer, result->index, self->now_ms);
    thrifty_acknowledged(self, peer);
    if (peer->state == PROGRESS_PROBE && found) {
        peer->state = PROGRESS_REPLICATE;
        if (peer->sent >= peer->next)
            peer->next = peer->sent + 1;
        peer->progress_ms = self->now_ms;
    } else if (peer->state == PROGRESS_SNAPSHOT && peer->match + 1 >= self->log.first) {
        peer->state = PROGRESS_REPLICATE;
        peer->offered_ms = 0;
    }
    leader_commit_advance(self);
}
