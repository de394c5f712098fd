/* commit.c: what is committed, and how much is not (dissertation 3.6.2).
 *
 * Owns: counting among the voters, and the bytes proposed in this term that wait for it. Must not
 * know: how entries travel.
 *
 * Invariant: a leader moves the commit index only to an entry of its own term that a majority of
 * the voters in force holds durably, itself counted only if it is one of them.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

static int descending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return x < y ? 1 : x > y ? -1 : 0;
}

uint64_t quorum_value(const raft_t *self, uint64_t own, uint64_t (*value)(const progress_t *)) {
    const config_t *config = log_config(&self->log);
    uint64_t values[LIMIT_MEMBERS];
    size_t count = 0;
    for (size_t i = 0; i < config->count; i++) {
        const member_t *member = &config->members[i];
        if (member->role != MEMBER_VOTER)
            continue;
        if (member->id == self->options.id) {
            values[count++] = own;
            continue;
        }
        const progress_t *peer = peer_get(self, member->id);
        assert(peer);
        values[count++] = value(peer);
    }
    assert(count > 0);
    qsort(values, count, sizeof *values, descending);
    return values[count / 2];
}

static uint64_t match_of(const progress_t *peer) {
    return peer->match;
}

/* The index that a majority holds, if this node holds `own`; only an entry of the leader's own term
 * commits by being counted, earlier ones come with it. */
static uint64_t counted(const raft_t *self, uint64_t own) {
    uint64_t index = quorum_value(self, own, match_of);
    bool commits = index > self->commit && log_term(&self->log, index) == self->term;
    return commits ? index : self->commit;
}

/* Nothing can make this untrue: the voters that are counted hold the entries, and this node, which
 * is one of them or does not count, lets no log without them win its vote. So it stays true when a
 * new membership counts otherwise. */
uint64_t commit_reportable(const raft_t *self) {
    if (self->role != RAFT_LEADER)
        return self->commit;
    uint64_t index = counted(self, self->log.offered);
    return index > self->commit_reported ? index : self->commit_reported;
}

void leader_commit_advance(raft_t *self) {
    uint64_t index = counted(self, self->log.durable);
    if (index == self->commit)
        return;
    uint64_t before = self->commit;
    raft_commit_to(self, index);
    backlog_commit(&self->backlog, index);
    const config_t *config = log_config(&self->log);
    bool membership = config->index > before && config->index <= index;
    for (size_t i = 0; i < self->peer_count; i++)
        if (membership || self->peers[i].watched)
            peer_commit_want(&self->peers[i], index);
}

/* ---- what is proposed and not committed ---- */

#define BACKLOG_MARK_BYTES (1u << 20)

void backlog_reset(backlog_t *self) {
    memset(self, 0, sizeof *self);
}

/* What the newest mark covers begins where the one before it ends. */
static uint64_t backlog_begin(const backlog_t *self) {
    if (self->count < 2)
        return self->committed;
    return self->marks[(self->head + self->count - 2) % BACKLOG_MARKS].total;
}

void backlog_add(backlog_t *self, uint64_t index, uint64_t bytes) {
    self->total += bytes;
    /* Within a mebibyte the newest mark moves on. */
    if (self->count == 0 || self->total - backlog_begin(self) >= BACKLOG_MARK_BYTES)
        self->count++;
    assert(self->count <= BACKLOG_MARKS);
    size_t at = (self->head + self->count - 1) % BACKLOG_MARKS;
    self->marks[at].index = index;
    self->marks[at].total = self->total;
}

void backlog_commit(backlog_t *self, uint64_t index) {
    while (self->count && self->marks[self->head].index <= index) {
        self->committed = self->marks[self->head].total;
        self->head = (self->head + 1) % BACKLOG_MARKS;
        self->count--;
    }
}

uint64_t backlog_bytes(const backlog_t *self) {
    return self->total - self->committed;
}
