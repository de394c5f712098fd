/* transfer.c: handing leadership over (dissertation 3.10).
 *
 * Owns: one transfer at a time, at the leader. While it lasts proposals are refused, so that the
 * heir can reach the end of the log; then it is told to stand at once. It gives up after an
 * election timeout.
 */
#include "actors/raft/raft_internal.h"

static bool active_voter(const raft_t *self, const progress_t *peer) {
    return raft_voter(self, peer->id) &&
           self->now_ms - peer->heard_ms < self->options.election_timeout_ms;
}

progress_t *transfer_candidate(raft_t *self) {
    progress_t *best = NULL;
    for (size_t i = 0; i < self->peer_count; i++) {
        progress_t *peer = &self->peers[i];
        if (active_voter(self, peer) && (!best || peer->match > best->match))
            best = peer;
    }
    return best;
}

int raft_transfer(raft_t *self, uint64_t id) {
    if (self->role != RAFT_LEADER)
        return DRAX_ENOTLEADER;
    if (id == self->options.id)
        return 0;
    progress_t *heir = id ? peer_find(self, id) : transfer_candidate(self);
    if (!heir || !raft_voter(self, heir->id))
        return DRAX_ENOTFOUND;
    if (self->transfer_to == heir->id)
        return 0;
    self->transfer_to = heir->id;
    self->transfer_deadline_ms = self->now_ms + self->options.election_timeout_ms;
    self->transfer_sent = false;
    return 0;
}

void raft_abdicate(raft_t *self) {
    progress_t *heir = self->role == RAFT_LEADER ? transfer_candidate(self) : NULL;
    if (!heir)
        return;
    message_t message = message_make(self, MESSAGE_TIMEOUT_NOW, heir->id);
    message_send(self, &message);
}

void transfer_tick(raft_t *self) {
    if (self->transfer_to && self->now_ms >= self->transfer_deadline_ms)
        self->transfer_to = 0;
}

void transfer_flush(raft_t *self) {
    progress_t *heir = self->transfer_to ? peer_find(self, self->transfer_to) : NULL;
    if (!heir || heir->match != self->log.last || self->transfer_sent)
        return;
    message_t message = message_make(self, MESSAGE_TIMEOUT_NOW, heir->id);
    message_send(self, &message);
    self->transfer_sent = true;
}

void handle_timeout_now(raft_t *self, const message_t *message) {
    if (self->role != RAFT_FOLLOWER || message->from != self->leader ||
        !raft_voter(self, self->options.id) || raft_disk_stalled(self))
        return;
    election_stand(self, true);
}
