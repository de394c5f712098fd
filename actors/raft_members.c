/* raft_members.c: which peers this node keeps connections to, and telling its own place to those
 * who may not know it.
 *
 * A node that was away, or that joined through members which have gone since, may know no address
 * of the leader: it hears it, but its answers have no way back, so the log that would name the
 * leader never comes. Therefore a leader tells its membership to whoever does not answer it, and a
 * candidate to everybody. It only says where to connect to: what the log says is untouched.
 */
#include "actors/raft_actor_internal.h"

/* The log is behind what was told while it does not name who told it. */
static bool told_counts(const raft_actor_t *self, const config_t *config) {
    return self->told.count && !config_member(config, self->told_by);
}

void raft_members_connect(raft_actor_t *self) {
    const config_t *config = raft_config(self->core);
    if (config->index != self->latest.index) {
        self->previous = self->latest;
        self->latest = *config;
    }
    if (!told_counts(self, config))
        self->told.count = 0;
    /* Once the log names the members with this node among them, it knows better than the hint. A
     * member that a change takes out, perhaps the leader, must still hear that it has our log. */
    bool known = config_member(config, self->node) != NULL;
    const config_t *extra = self->told.count ? &self->told : known ? &self->previous : &self->hint;
    self->post->peers(self->post->self, self->node, config, extra);
}

void raft_members_receive(raft_actor_t *self, const message_t *message) {
    const config_t *config = &message->members.config;
    if (!self->core || message->cluster != self->cluster || message->to != self->node ||
        config_member(raft_config(self->core), message->from) ||
        !config_member(config, message->from))
        return;
    self->told = *config;
    self->told_by = message->from;
    raft_members_connect(self);
}

void raft_members_turn(raft_actor_t *self, uint64_t now_ms) {
    raft_role_t role = raft_role(self->core);
    if (now_ms < self->members_ms || (role != RAFT_LEADER && role != RAFT_CANDIDATE))
        return;
    self->members_ms = now_ms + RAFT_MEMBERS_MS;
    const config_t *config = raft_config(self->core);
    for (size_t i = 0; i < config->count; i++) {
        uint64_t peer = config->members[i].id;
        if (peer == self->node || !raft_peer_silent(self->core, peer))
            continue;
        message_t out = {.kind = MESSAGE_MEMBERS, .members = {.config = *config}};
        raft_actor_peer(self, peer, &out);
    }
}
