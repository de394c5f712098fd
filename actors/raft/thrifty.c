/* thrifty.c: whom the leader tells later (Moraru, Andersen, Kaminsky 2013, "thrifty").
 *
 * Owns: which followers a commit does not need just now, and until when what they lack may wait.
 * Must not know: how entries travel.
 *
 * A commit needs this node and half of the others. Where a wake-up costs more than what it is for,
 * every entry sent to the rest is paid for in the latency of the next one. So a new entry goes at
 * once to as many voters as a majority needs, the quickest; the others have it, and what is
 * committed, at most RAFT_THRIFTY_MS later, in one APPEND for all that came meanwhile.
 *
 * Who is quick is found out by a race: an entry that goes to everybody, every RAFT_RACE_MS. Those
 * who acknowledge it first are the first until the next one.
 *
 * A slow follower must not be waited for while another is idle: when what was sent is not
 * acknowledged by enough of them after RAFT_HEDGE_MS, everything goes to everybody, and does so for
 * RAFT_HEDGE_PAUSE_MS, beginning with a race. How long this node's own disk takes is not asked.
 *
 * Nothing is kept from learners but the commit index, nor from a peer that asked
 * (`commit_wanted`), that lacks more than RAFT_THRIFTY_ENTRIES, or while leadership is handed over.
 *
 * Safety is not touched: a leader may send an APPEND late, as a network may deliver it late.
 */
#include "actors/raft/raft_internal.h"

static void race_begin(raft_t *self) {
    thrifty_t *thrifty = &self->thrifty;
    thrifty->race = self->log.last;
    thrifty->race_ms = self->now_ms + RAFT_RACE_MS;
    thrifty->arrived = 0;
    for (size_t i = 0; i < self->peer_count; i++)
        self->peers[i].place = 0;
}

void thrifty_turn(raft_t *self) {
    thrifty_t *thrifty = &self->thrifty;
    uint64_t held = commit_reportable(self);
    bool late = thrifty->awaited > held && self->now_ms >= thrifty->hedge_ms;
    bool paused = self->now_ms < thrifty->paused_ms;
    if (self->log.last > held && ((late && !paused) || self->now_ms >= thrifty->race_ms))
        race_begin(self);
    if (late)
        thrifty->paused_ms = self->now_ms + RAFT_HEDGE_PAUSE_MS;
    if (thrifty->awaited > held && !late)
        return;
    thrifty->awaited = self->log.last > held ? self->log.last : 0;
    thrifty->hedge_ms = self->now_ms + RAFT_HEDGE_MS;
}

void thrifty_acknowledged(raft_t *self, progress_t *peer) {
    if (self->thrifty.race && peer->place == 0 && peer->match >= self->thrifty.race)
        peer->place = ++self->thrifty.arrived;
}

/* Who arrived is before who did not; then who holds more of the log. */
static bool before(const progress_t *a, const progress_t *b) {
    if (a->place != b->place)
        return b->place == 0 || (a->place && a->place < b->place);
    return a->match > b->match || (a->match == b->match && a < b);
}

/* Whether those before it make a majority with this node. */
static bool spare(const raft_t *self, const progress_t *peer) {
    size_t count = 0;
    for (size_t i = 0; i < self->peer_count; i++) {
        const progress_t *other = &self->peers[i];
        count += other->state == PROGRESS_REPLICATE && raft_voter(self, other->id) &&
                 before(other, peer);
    }
    return count >= config_voters(log_config(&self->log)) / 2;
}

static bool entries_wait(const raft_t *self, const progress_t *peer) {
    return self->options.thrifty && self->now_ms >= self->thrifty.paused_ms &&
           peer->next > self->thrifty.race && self->transfer_to == 0 &&
           peer->next + RAFT_THRIFTY_ENTRIES > self->log.last && raft_voter(self, peer->id) &&
           raft_voter(self, self->options.id) && spare(self, peer);
}

bool thrifty_waits(raft_t *self, progress_t *peer) {
    bool entries = peer->next <= self->log.last;
    bool lacks = entries || peer_lacks_commit(self, peer);
    bool wanted = peer->commit_wanted > peer->commit_sent;
    bool due = peer->due_ms && self->now_ms >= peer->due_ms;
    if (!lacks || due || wanted || (entries && !entries_wait(self, peer))) {
        peer->due_ms = 0;
        return !lacks;
    }
    if (peer->due_ms == 0 && self->options.thrifty)
        peer->due_ms = self->now_ms + RAFT_THRIFTY_MS;
    return true; /* not thrifty: the next entries bring the commit index */
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
