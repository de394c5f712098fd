/* raft_receive.c: messages of this node's other actors, and of peers, to whom in here they are for.
 *
 * Owns nothing. Must not know: how connections are made, and that there are turns.
 *
 * What a peer sends may be anything: it counts only from a node that the log, or who let this one
 * in, or a member knows (peer_known), and is dropped in silence otherwise.
 */
#include "actors/raft_actor_internal.h"

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
        raft_status_send(self);
    }
}

static void staged(raft_actor_t *self, const message_snapshot_t *staged, uint64_t now_ms) {
    if (staged->last && staged->code == 0) {
        raft_storage_ask(self); /* the log begins anew after the snapshot */
        return;
    }
    if (!self->pull.from || staged->session != self->pull.session)
        return;
    if (staged->code) {
        self->pull = (pull_t){0}; /* the leader offers again */
    } else if (staged->chunk == self->pull.chunk) {
        self->pull.chunk++;
        raft_pull_ask(self, now_ms);
    }
}

void raft_local_receive(raft_actor_t *self, message_t *message, uint64_t now_ms) {
    switch (message->kind) {
    case MESSAGE_OPENED:
        raft_opened_receive(self, &message->opened, now_ms);
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
    case MESSAGE_SUBSCRIBE:
        raft_actor_watched(self, message->subscribe.on);
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

void raft_peer_receive(raft_actor_t *self, message_t *message, uint64_t now_ms) {
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
