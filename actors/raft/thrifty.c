/* thrifty.c: whom the leader tells later (Moraru, Andersen, Kaminsky 2013, "thrifty").
 *
 * Owns: which followers a commit does not need just now, and until when what they lack may wait.
 * Must not know: how entries travel.
 *
 * A commit needs this node and half of the others. Where a wake-up costs more than what it is for,
 * every entry sent to the rest is paid for in the latency of the next one. So a new entry goes at
 * once to as many voters as a majority needs, to those that hold most of the log, which are those
 * that answered first; the others have it, and what is committed, at most RAFT_THRIFTY_MS later, in
 * one APPEND for all that came meanwhile.
 *
 * A slow follower must not be waited for while a quick one is idle: when an entry is not on a
 * majority's disks after RAFT_HEDGE_MS, everything goes to everybody, and does so for
 * RAFT_HEDGE_PAUSE_MS. By then the quicker one holds more of the log.
 *
 * Nothing waits for learners that catch up, for a peer that asked (`commit_wanted`), for one that
 * lacks more than RAFT_THRIFTY_ENTRIES, and while leadership is handed over.
 *
 * Safety is not touched: a leader may send an APPEND late, as a network may deliver it late.
 */
#include "actors/raft/raft_internal.h"

void thrifty_turn(raft_t *self) {
    thrifty_t *thrifty = &self->thrifty;
    uint64_t held = commit_reportable(self);
    if (thrifty->awaited > held && self->now_ms >= thrifty->hedge_ms) {
        thrifty->paused_ms = self->now_ms + RAFT_HEDGE_PAUSE_MS;
        thrifty->awaited = 0;
    }
    if (thrifty->awaited > held)
        return;
    thrifty->awaited = self->log.last > held ? self->log.last : 0;
    thrifty->hedge_ms = self->now_ms + RAFT_HEDGE_MS;
}

/* Whether the others make a majority without it: those before it in the order of who is asked. */
static bool spare(const raft_t *self, const progress_t *peer) {
    size_t before = 0;
    for (size_t i = 0; i < self->peer_count; i++) {
        const progress_t *other = &self->peers[i];
        bool first = other->match > peer->match || (other->match == peer->match && other < peer);
        before += first && other->state == PROGRESS_REPLICATE && raft_voter(self, other->id);
    }
    return before >= config_voters(log_config(&self->log)) / 2;
}

static bool entries_wait(const raft_t *self, const progress_t *peer) {
    return self->options.thrifty && self->now_ms >= self->thrifty.paused_ms &&
           self->transfer_to == 0 && peer->next + RAFT_THRIFTY_ENTRIES > self->log.last &&
           raft_voter(self, peer->id) && raft_voter(self, self->options.id) && spare(self, peer);
}

bool thrifty_waits(raft_t *self, progress_t *peer) {
    bool wanted = peer->commit_wanted > peer->commit_sent;
    bool entries = peer->next <= self->log.last;
    if (wanted || (entries && !entries_wait(self, peer))) {
        peer->due_ms = 0;
        return false;
    }
    if (!self->options.thrifty)
        return true; /* the next entries bring the commit index */
    if (peer->due_ms == 0)
        peer->due_ms = self->now_ms + RAFT_THRIFTY_MS;
    if (self->now_ms < peer->due_ms)
        return true;
    peer->due_ms = 0;
    return false;
}

uint64_t thrifty_deadline_ms(const raft_t *self) {
    uint64_t at = UINT64_MAX;
    bool entries = false;
    for (size_t i = 0; i < self->peer_count; i++) {
        const progress_t *peer = &self->peers[i];
        if (peer->due_ms == 0)
            continue;
        at = peer->due_ms < at ? peer->due_ms : at;
        entries |= peer->next <= self->log.last;
    }
    if (entries && self->thrifty.awaited && self->thrifty.hedge_ms < at)
        at = self->thrifty.hedge_ms;
    return at;
}
