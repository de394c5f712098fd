/* raft_members.c: which peers this node keeps connections to, and telling its own place to those
 * who may not know it.
 *
 * A node that was away, or that joined through members which have gone since, may know no address
 * of the leader: it hears it, but its answers have no way back, so the log that would name the
 * leader never comes. Therefore a leader tells its membership to whoever does not answer it, and a
 * candidate to everybody. It only says where to connect to: what the log says is untouched.
 *
 * A node that was started again at other addresses asks the leader to enter them into the log,
 * until the log has them. Until then it is heard, and its answers are, as it tells where it is.
 */
#include <stdio.h>
#include <string.h>

#include "actors/raft_actor_internal.h"

/* Does it say of its teller what the log does not? */
static bool told_counts(const raft_actor_t *self, const config_t *told, uint64_t teller) {
    const member_t *known = config_member(raft_config(self->core), teller);
    const member_t *there = config_member(told, teller);
    return there && (!known || strcmp(known->raft_addr, there->raft_addr) != 0);
}

void raft_members_connect(raft_actor_t *self) {
    const config_t *config = raft_config(self->core);
    if (config->index != self->latest.index) {
        self->previous = self->latest;
        self->latest = *config;
    }
    if (!told_counts(self, &self->told, self->told_by))
        self->told.count = 0;
    /* Once the log names the members with this node among them, it knows better than the hint. A
     * member that a change takes out, perhaps the leader, must still hear that it has our log. */
    bool known = config_member(config, self->node) != NULL;
    const config_t *extra = self->told.count ? &self->told : known ? &self->previous : &self->hint;
    config_t places = *config;
    for (size_t i = 0; self->told.count && i < places.count; i++)
        if (places.members[i].id == self->told_by)
            places.members[i] = *config_member(&self->told, self->told_by);
    self->post->peers(self->post->self, self->node, &places, extra);
}

void raft_members_receive(raft_actor_t *self, const message_t *message) {
    const config_t *config = &message->members.config;
    if (!self->core || message->cluster != self->cluster || message->to != self->node ||
        message->from == self->node ||
        (message->from != self->told_by && !told_counts(self, config, message->from)))
        return;
    self->told = *config;
    self->told_by = message->from;
    raft_members_connect(self);
}

/* ---- telling ---- */

/* The members that this node goes by: a learner whose log does not reach to its own entering goes
 * by what it was told as it joined. */
static const config_t *members_known(const raft_actor_t *self) {
    const config_t *config = raft_config(self->core);
    bool entered = raft_role(self->core) != RAFT_LEARNER || config_member(config, self->node);
    return entered ? config : &self->hint;
}

/* The membership, with this node where it is now. */
static config_t members_now(const raft_actor_t *self) {
    config_t config = *members_known(self);
    for (size_t i = 0; i < config.count; i++) {
        member_t *member = &config.members[i];
        if (member->id != self->node)
            continue;
        (void) snprintf(member->addr, sizeof member->addr, "%s", self->options.addr);
        (void) snprintf(member->raft_addr, sizeof member->raft_addr, "%s", self->options.raft_addr);
    }
    return config;
}

/* Does `config` name this node at other addresses than it was started with? */
static bool named_elsewhere(const raft_actor_t *self, const config_t *config) {
    const member_t *own = config_member(config, self->node);
    return own && (strcmp(own->addr, self->options.addr) != 0 ||
                   strcmp(own->raft_addr, self->options.raft_addr) != 0);
}

/* Until the change is committed, it may be that this node alone has it in its log. */
static bool has_moved(const raft_actor_t *self) {
    return named_elsewhere(self, members_known(self)) ||
           named_elsewhere(self, raft_config_committed(self->core));
}

/* To those who may not know; one that has moved tells all, also as a learner that never stands: the
 * others may need its vote, as they may know of its promotion and it may not. */
static void members_tell(raft_actor_t *self) {
    config_t config = members_now(self);
    for (size_t i = 0; i < config.count; i++) {
        uint64_t peer = config.members[i].id;
        if (peer == self->node || (!has_moved(self) && !raft_peer_silent(self->core, peer)))
            continue;
        message_t out = {.kind = MESSAGE_MEMBERS, .members = {.config = config}};
        raft_actor_peer(self, peer, &out);
    }
}

void raft_members_move(raft_actor_t *self, const message_admin_t *admin) {
    int rc = raft_member_move(self->core, admin->id, admin->addr, admin->raft_addr);
    if (rc != DRAX_EPENDING)
        log_info(self->log, "member id=%llu moves to addr=%s raft_addr=%s: %s",
                 (unsigned long long) admin->id, admin->addr, admin->raft_addr, error_text(rc));
}

/* Asks the leader, or everybody while none is known. */
static void move_ask(raft_actor_t *self) {
    message_admin_t admin = {.op = ADMIN_MOVE, .id = self->node};
    (void) snprintf(admin.addr, sizeof admin.addr, "%s", self->options.addr);
    (void) snprintf(admin.raft_addr, sizeof admin.raft_addr, "%s", self->options.raft_addr);
    uint64_t leader = raft_leader(self->core);
    if (leader == self->node) {
        raft_members_move(self, &admin);
        return;
    }
    const config_t *config = members_known(self);
    for (size_t i = 0; i < config->count; i++) {
        uint64_t peer = config->members[i].id;
        message_t out = {.kind = MESSAGE_ADMIN, .admin = admin};
        if (peer != self->node && (!leader || peer == leader))
            raft_actor_peer(self, peer, &out);
    }
}

void raft_members_turn(raft_actor_t *self, uint64_t now_ms) {
    if (now_ms >= self->connect_ms) {
        self->connect_ms = now_ms + RAFT_CONNECT_MS;
        raft_members_connect(self);
    }
    if (now_ms < self->members_ms)
        return;
    raft_role_t role = raft_role(self->core);
    bool moved = has_moved(self);
    if (role != RAFT_LEADER && role != RAFT_CANDIDATE && !moved)
        return;
    self->members_ms = now_ms + RAFT_MEMBERS_MS;
    members_tell(self);
    if (moved)
        move_ask(self);
}
