/* read_index.c: linearizable reads without writing to the log (dissertation 6.4).
 *
 * Owns: the reads that wait at the leader. Must not know: what is read.
 *
 * A read waits until the leader has committed in its own term, so that its commit index covers all
 * that was acknowledged before it. Then reads_flush gives it an index and a new heartbeat round,
 * shared by all reads of that ready; when a majority has answered that round, no other leader can
 * have been in office when the read came, and the index is safe. It is what was told of commitment:
 * storage may have acted on commit_durable before this core hears of it. This node's reads wait in
 * storage until it has; a follower's wait here, as an index is told to it as committed.
 */
#include <string.h>

#include "actors/raft/raft_internal.h"

static int read_add(raft_t *self, uint64_t from, uint64_t boot, uint64_t read_id) {
    for (size_t i = self->read_count; i-- > 0 && self->reads[i].round == 0;) {
        pending_read_t *read = &self->reads[i];
        if (read->from != from || read->boot != boot)
            continue;
        if (read_id > read->read_id)
            read->read_id = read_id; /* a later read stands for those before it */
        return 0;
    }
    if (self->read_count == LIMIT_READS_PENDING)
        return DRAX_EAGAIN;
    int rc = array_reserve((void **) &self->reads, &self->read_capacity, self->read_count + 1,
                           sizeof *self->reads);
    if (rc == 0)
        self->reads[self->read_count++] = (pending_read_t){from, boot, read_id, 0, 0};
    return rc;
}

int raft_read(raft_t *self, uint64_t boot, uint64_t read_id) {
    if (self->role == RAFT_LEADER)
        return read_add(self, 0, boot, read_id);
    if (self->leader == 0)
        return DRAX_ENOTLEADER;
    message_t message = message_make(self, MESSAGE_READ_INDEX, self->leader);
    message.read.boot = boot;
    message.read.read_id = read_id;
    message_send(self, &message);
    return 0;
}

void handle_read_index(raft_t *self, const message_t *message) {
    (void) read_add(self, message->from, message->read.boot, message->read.read_id);
}

void reads_flush(raft_t *self) {
    bool waiting = self->read_count && self->reads[self->read_count - 1].round == 0;
    if (waiting && self->commit >= self->term_start) {
        uint64_t index = commit_reportable(self);
        self->round++;
        for (size_t i = self->read_count; i-- > 0 && self->reads[i].round == 0;) {
            self->reads[i].round = self->round;
            self->reads[i].index = index;
            progress_t *peer = self->reads[i].from ? peer_find(self, self->reads[i].from) : NULL;
            if (peer && peer->next <= index)
                peer_commit_want(peer, index); /* it answers only once it has applied so far */
        }
        heartbeats_send(self);
    }
    reads_release(self); /* at once when this is the only voter */
}

static uint64_t round_of(const progress_t *peer) {
    return peer->round;
}

static void read_answer(raft_t *self, const pending_read_t *read) {
    if (read->from == 0) {
        (void) read_states_push(&self->reads_safe, read->boot, read->read_id, read->index);
        return;
    }
    message_t message = message_make(self, MESSAGE_READ_INDEX_RESULT, read->from);
    message.read.boot = read->boot;
    message.read.read_id = read->read_id;
    message.read.index = read->index;
    message_send(self, &message);
}

void reads_release(raft_t *self) {
    if (self->read_count == 0)
        return;
    uint64_t round = quorum_value(self, self->round, round_of);
    size_t done = 0;
    while (done < self->read_count && self->reads[done].round != 0 &&
           self->reads[done].round <= round &&
           (self->reads[done].from == 0 || self->reads[done].index <= self->commit))
        read_answer(self, &self->reads[done++]);
    self->read_count -= done;
    if (done)
        memmove(self->reads, self->reads + done, self->read_count * sizeof *self->reads);
}

void reads_fail(raft_t *self) {
    for (size_t i = 0; i < self->read_count; i++)
        if (self->reads[i].from == 0)
            (void) read_states_push(&self->reads_failed, self->reads[i].boot,
                                    self->reads[i].read_id, 0);
    self->read_count = 0;
}

void handle_read_index_result(raft_t *self, const message_t *message) {
    if (self->role != RAFT_FOLLOWER || message->from != self->leader)
        return;
    (void) read_states_push(&self->reads_safe, message->read.boot, message->read.read_id,
                            message->read.index);
    follower_commit_learn(self, message->read.index);
}
