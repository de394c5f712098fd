/* progress.c: one peer's log as the leader sees it (dissertation 3.5, 10.2.1).
 *
 * Owns: match, next, and what is in flight. Must not know: messages, the log's content.
 *
 *   PROBE      one APPEND at a time, until the peer says where its log matches
 *      -> REPLICATE on success     -> SNAPSHOT when what it needs is gone
 *   REPLICATE  a pipeline of APPENDs, bounded in number and bytes; next runs ahead of match
 *      -> PROBE on a refusal, a broken connection, a restart of the peer, or silence
 *   SNAPSHOT   no APPEND; offers, until the peer holds enough
 *      -> REPLICATE when it says so
 *
 * Invariants: match < next; inflight is sorted by `last`; inflight_bytes is its sum.
 */
#include <assert.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

void progress_init(progress_t *self, uint64_t id, uint64_t next, uint64_t now_ms) {
    memset(self, 0, sizeof *self);
    self->id = id;
    self->state = PROGRESS_PROBE;
    self->next = next;
    self->heard_ms = now_ms;
    self->progress_ms = now_ms;
}

static void inflight_clear(progress_t *self) {
    self->inflight_head = 0;
    self->inflight_count = 0;
    self->inflight_bytes = 0;
}

void progress_probe(progress_t *self, bool empty) {
    if (self->state == PROGRESS_REPLICATE)
        self->next = self->match + 1;
    self->state = PROGRESS_PROBE;
    self->probe_sent = false;
    self->probe_empty = empty;
    self->sent = 0;
    self->due_ms = 0;
    inflight_clear(self);
}

void progress_snapshot(progress_t *self) {
    self->state = PROGRESS_SNAPSHOT;
    self->next = self->match + 1;
    self->due_ms = 0;
    inflight_clear(self);
}

bool progress_full(const progress_t *self) {
    return self->inflight_count == LIMIT_INFLIGHT_APPENDS ||
           self->inflight_bytes >= LIMIT_INFLIGHT_BYTES;
}

void progress_sent(progress_t *self, uint64_t last, uint64_t bytes, uint64_t now_ms) {
    assert(self->inflight_count < LIMIT_INFLIGHT_APPENDS);
    if (self->inflight_count == 0)
        self->progress_ms = now_ms;
    size_t at = (self->inflight_head + self->inflight_count++) % LIMIT_INFLIGHT_APPENDS;
    self->inflight[at] = (inflight_t){last, bytes};
    self->inflight_bytes += bytes;
}

void progress_acknowledged(progress_t *self, uint64_t index, uint64_t now_ms) {
    if (index > self->match) {
        self->match = index;
        self->progress_ms = now_ms;
    }
    if (self->next <= self->match)
        self->next = self->match + 1;
    while (self->inflight_count && self->inflight[self->inflight_head].last <= self->match) {
        self->inflight_bytes -= self->inflight[self->inflight_head].bytes;
        self->inflight_head = (self->inflight_head + 1) % LIMIT_INFLIGHT_APPENDS;
        self->inflight_count--;
    }
}
