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

/* ---- status for the neighbours ---- */

static void status_send(raft_actor_t *self) {
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

static void clock_send(raft_actor_t *self) {
    if (!self->core)
        return;
    message_t out = {.kind = MESSAGE_CLOCK,
                     .clock = {.time_ms = raft_time_ms(self->core),
                               .leader = raft_role(self->core) == RAFT_LEADER,
                               .term = raft_term(self->core)}};
    raft_actor_local(self, ACTOR_STORAGE, &out);
}

static void status_changed(raft_actor_t *self) {
    raft_role_t role = raft_role(self->core);
    if (role != self->status_role)
        log_info(self->log, "role=%s term=%llu leader=%llu last=%llu commit=%llu",
                 raft_role_name(role), (unsigned long long) raft_term(self->core),
                 (unsigned long long) raft_leader(self->core),
                 (unsigned long long) raft_last_index(self->core),
                 (unsigned long long) raft_commit(self->core));
    self->status_role = role;
    raft_members_connect(self);
    status_send(self);
    clock_send(self);
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

static void pull_ask(raft_actor_t *self, uint64_t now_ms) {
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

static void ready_carry_out(raft_actor_t *self, uint64_t now_ms) {
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
        pull_ask(self, now_ms);
    }
    if (ready->status_changed)
        status_changed(self);
}

/* ---- identity, and a new core ---- */

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

static void storage_ask(raft_actor_t *self) {
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

static void opened_receive(raft_actor_t *self, const message_opened_t *opened, uint64_t now_ms) {
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
                              .seed = raft_actor_random(self)};
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
    self->phase = RAFT_RUNNING;
    log_info(self->log, "running node=%llu term=%llu first=%llu last=%llu commit=%llu",
             (unsigned long long) opened->node, (unsigned long long) opened->term,
             (unsigned long long) opened->first_index, (unsigned long long) opened->last_index,
             (unsigned long long) opened->commit);
    status_changed(self);
}

/* ---- messages of this node ---- */

static void propose(raft_actor_t *self, message_t *message) {
    message_propose_t *propose = &message->propose;
    int rc = DRAX_ENOTLEADER;
    bool expiry = message->actor == ACTOR_STORAGE;
    if (propose->boot > self->gateway_boot)
        self->gateway_boot = propose->boot;
    if (self->core && (!expiry || raft_role(self->core) == RAFT_LEADER))
        rc = raft_propose(self->core, propose->boot, propose->seq, propose->payload);
    if (rc == 0 || expiry)
        return;
    message_t out = {.kind = MESSAGE_PROPOSE_REFUSED,
                     .propose = {.boot = propose->boot, .seq = propose->seq, .code = rc}};
    raft_actor_local(self, ACTOR_GATEWAY, &out);
}

static void read(raft_actor_t *self, const message_read_t *read) {
    uint64_t *wanted = &self->reads_wanted[read->held ? READS_HELD : READS_PARKED];
    if (read->read_id > *wanted)
        *wanted = read->read_id;
    int rc = self->core ? raft_read(self->core, read->boot, read->read_id) : DRAX_ENOTLEADER;
    if (rc == 0)
        return;
    message_t out = {.kind = MESSAGE_READ_FAILED, .read = *read};
    out.read.code = rc;
    raft_actor_local(self, ACTOR_GATEWAY, &out);
}

static void written(raft_actor_t *self, const message_written_t *written) {
    if (!self->core)
        return;
    if (written->ack.to)
        self->acked = written->ack;
    raft_written(self->core, written->seq);
    raft_compacted(self->core, written->first_index);
    if (written->no_space != self->no_space) {
        self->no_space = written->no_space;
        raft_space(self->core, written->no_space);
        status_send(self);
    }
}

static void staged(raft_actor_t *self, const message_snapshot_t *staged, uint64_t now_ms) {
    if (staged->last && staged->code == 0) {
        storage_ask(self); /* the log begins anew after the snapshot */
        return;
    }
    if (!self->pull.from || staged->session != self->pull.session)
        return;
    if (staged->code) {
        self->pull = (pull_t){0}; /* the leader offers again */
    } else if (staged->chunk == self->pull.chunk) {
        self->pull.chunk++;
        pull_ask(self, now_ms);
    }
}

static void local_receive(raft_actor_t *self, message_t *message, uint64_t now_ms) {
    switch (message->kind) {
    case MESSAGE_OPENED:
        opened_receive(self, &message->opened, now_ms);
        break;
    case MESSAGE_WRITTEN:
        written(self, &message->written);
        break;
    case MESSAGE_FETCHED:
        if (self->core)
            raft_fetched(self->core, message->fetch.peer, message->fetch.code,
                         &message->fetch.entries);
        break;
    case MESSAGE_SNAPSHOT_CHUNK: {
        uint64_t peer = message->snapshot.peer;
        raft_actor_peer(self, peer, message);
        break;
    }
    case MESSAGE_SNAPSHOT_STAGED:
        staged(self, &message->snapshot, now_ms);
        break;
    case MESSAGE_PROPOSE:
        propose(self, message);
        break;
    case MESSAGE_READ:
        read(self, &message->read);
        break;
    case MESSAGE_ADMIN:
        raft_admin_receive(self, message, now_ms);
        break;
    default:
        log_warning(self->log, "unexpected message kind=%s", message_kind_name(message->kind));
    }
}

/* ---- messages of peers ---- */

/* A leader that was removed answers the request that did it, when it is no member any more; and the
 * leader whose snapshot the core wants may have come after all that this node has heard of. */
static bool peer_known(const raft_actor_t *self, const message_t *message) {
    return self->core && message->cluster == self->cluster && message->to == self->node &&
           (message->kind == MESSAGE_ADMIN_RESULT || message->kind == MESSAGE_MEMBERS ||
            (self->pull.from && message->from == self->pull.from) ||
            config_member(raft_config(self->core), message->from) ||
            config_member(&self->hint, message->from) || config_member(&self->told, message->from));
}

static void snapshot_chunk(raft_actor_t *self, message_t *message) {
    pull_t *pull = &self->pull;
    const message_snapshot_t *chunk = &message->snapshot;
    if (message->from != pull->from || chunk->chunk != pull->chunk)
        return;
    if (chunk->code) {
        *pull = (pull_t){0}; /* the leader offers again */
        return;
    }
    if (pull->session && chunk->session != pull->session)
        return;
    pull->session = chunk->session;
    raft_actor_local(self, ACTOR_STORAGE, message);
}

static void peer_receive(raft_actor_t *self, message_t *message, uint64_t now_ms) {
    if (!peer_known(self, message) && message->kind >= MESSAGE_SNAPSHOT_FETCH)
        return;
    switch (message->kind) {
    case MESSAGE_ADMIN:
        raft_admin_receive(self, message, now_ms);
        break;
    case MESSAGE_ADMIN_RESULT:
        raft_admin_result(self, message);
        break;
    case MESSAGE_MEMBERS:
        raft_members_receive(self, message);
        break;
    case MESSAGE_SNAPSHOT_FETCH:
        message->snapshot.peer = message->from;
        if (raft_role(self->core) == RAFT_LEADER)
            raft_actor_local(self, ACTOR_STORAGE, message);
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        snapshot_chunk(self, message);
        break;
    default:
        if (self->core)
            (void) raft_step(self->core, message); /* out of memory: as if the network lost it */
    }
}

/* ---- the actor ---- */

static void raft_receive(void *hint, message_t *message, uint64_t now_ms) {
    raft_actor_t *self = hint;
    if (self->core)
        raft_tick(self->core, now_ms);
    if (message->actor == ACTOR_NONE)
        peer_receive(self, message, now_ms);
    else
        local_receive(self, message, now_ms);
    message_clear(message);
}

static void raft_neighbour(void *hint, actor_t neighbour, uint64_t now_ms) {
    raft_actor_t *self = hint;
    (void) now_ms;
    if (neighbour == ACTOR_STORAGE && self->phase != RAFT_JOINING)
        storage_ask(self);
    if (neighbour == ACTOR_GATEWAY) {
        memset(self->reads_wanted, 0, sizeof self->reads_wanted);
        status_send(self);
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
        ready_carry_out(self, now_ms);
    }
    if (self->stopping && now_ms >= self->stop_ms)
        self->stop_over = true; /* no successor took over in time, or none is needed */
    if (self->pull.from && now_ms >= self->pull.asked_ms + RAFT_PULL_RETRY_MS)
        pull_ask(self, now_ms);
    if (self->core && now_ms >= self->status_ms) {
        self->status_ms = now_ms + RAFT_STATUS_MS;
        clock_send(self);
        raft_members_turn(self, now_ms);
        if (self->status_commit != raft_commit(self->core))
            status_send(self);
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
