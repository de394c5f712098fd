/* membership.c: adding, promoting, moving and removing members, one at a time (dissertation 4.1,
 * 4.2).
 *
 * Owns: which changes are allowed, and the leader's own initiative: promoting learners that have
 * caught up, stepping down once it is out. Must not know: how entries travel.
 *
 * Invariants
 *  1. Two successive memberships differ in one member, so their majorities overlap.
 *  2. A change is appended only when the one before it, and an entry of the leader's own term, are
 *     committed.
 *  3. A membership is in force from the moment it is in the log, and no longer when it is cut off.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

bool config_valid(const config_t *config, uint64_t index) {
    if (config->index != index || config->count == 0 || config->count > LIMIT_MEMBERS)
        return false;
    for (size_t i = 0; i < config->count; i++) {
        const member_t *member = &config->members[i];
        if (member->id == 0 || (i > 0 && member->id <= config->members[i - 1].id) ||
            (member->role != MEMBER_VOTER && member->role != MEMBER_LEARNER) ||
            memchr(member->addr, 0, sizeof member->addr) == NULL ||
            memchr(member->raft_addr, 0, sizeof member->raft_addr) == NULL)
            return false;
    }
    return config_voters(config) > 0;
}

static int change_allowed(const raft_t *self) {
    if (self->commit < self->term_start || log_config(&self->log)->index > self->commit ||
        self->transfer_to)
        return DRAX_EPENDING;
    return 0;
}

/* Takes `config`, which was made from the one in force. */
static int change_append(raft_t *self, config_t *config, uint64_t *index) {
    int rc = leader_append(self, ENTRY_CONFIG, NULL, config);
    if (rc) {
        free(config);
        return rc;
    }
    *index = self->log.last;
    return 0;
}

static config_t *config_clone(const raft_t *self) {
    config_t *config = malloc(sizeof *config);
    if (config)
        *config = *log_config(&self->log);
    return config;
}

/* What a change may be made of, for change_append. */
static int change_begin(const raft_t *self, config_t **out) {
    int rc = change_allowed(self);
    if (rc)
        return rc;
    *out = config_clone(self);
    return *out ? 0 : DRAX_ENOMEM;
}

static bool peer_heard(const raft_t *self, uint64_t id, uint64_t within_ms) {
    const progress_t *peer = peer_get(self, id);
    assert(peer);
    return self->now_ms - peer->heard_ms < within_ms;
}

/* The member other than `id` that `raft_addr` or `addr` belongs to already. */
static const member_t *address_owner(const config_t *config, uint64_t id, const char *addr,
                                     const char *raft_addr) {
    for (size_t i = 0; i < config->count; i++)
        if (config->members[i].id != id && (strcmp(config->members[i].raft_addr, raft_addr) == 0 ||
                                            strcmp(config->members[i].addr, addr) == 0))
            return &config->members[i];
    return NULL;
}

/* Both fit; the rest is zeroed, as equal members are equal byte by byte. */
static void member_place(member_t *member, const char *addr, const char *raft_addr) {
    memset(member->addr, 0, sizeof member->addr);
    memset(member->raft_addr, 0, sizeof member->raft_addr);
    memcpy(member->addr, addr, strlen(addr));
    memcpy(member->raft_addr, raft_addr, strlen(raft_addr));
}

static int member_insert(raft_t *self, uint64_t id, const char *addr, const char *raft_addr,
                         uint64_t *index) {
    config_t *config = config_clone(self);
    if (!config)
        return DRAX_ENOMEM;
    size_t at = 0;
    while (at < config->count && config->members[at].id < id)
        at++;
    memmove(&config->members[at + 1], &config->members[at],
            (config->count - at) * sizeof *config->members);
    config->count++;
    member_t *member = &config->members[at];
    memset(member, 0, sizeof *member);
    member->id = id;
    member->role = MEMBER_LEARNER;
    member_place(member, addr, raft_addr);
    return change_append(self, config, index);
}

static bool addresses_fit(const char *addr, const char *raft_addr) {
    return strlen(addr) < LIMIT_ADDR_BYTES && strlen(raft_addr) < LIMIT_ADDR_BYTES;
}

static bool member_is_at(const member_t *member, const char *addr, const char *raft_addr) {
    return strcmp(member->addr, addr) == 0 && strcmp(member->raft_addr, raft_addr) == 0;
}

int raft_member_add(raft_t *self, uint64_t id, const char *addr, const char *raft_addr,
                    uint64_t *index) {
    if (self->role != RAFT_LEADER)
        return DRAX_ENOTLEADER;
    if (id == 0 || !addresses_fit(addr, raft_addr))
        return DRAX_EINVAL;
    const config_t *config = log_config(&self->log);
    const member_t *member = config_member(config, id);
    if (member) {
        *index = config->index;
        return member_is_at(member, addr, raft_addr) ? 0 : DRAX_EEXIST;
    }
    int rc = change_allowed(self);
    if (rc)
        return rc;
    const member_t *owner = address_owner(config, id, addr, raft_addr);
    if (owner) {
        if (owner->id == self->options.id ||
            peer_heard(self, owner->id, self->options.election_timeout_ms))
            return DRAX_EEXIST;
        /* A node that lost its home comes back under a new id: its old self goes first. */
        uint64_t removal = 0;
        rc = raft_member_remove(self, owner->id, &removal);
        return rc ? rc : DRAX_EPENDING;
    }
    if (config->count == LIMIT_MEMBERS)
        return DRAX_EINVAL;
    return member_insert(self, id, addr, raft_addr, index);
}

int raft_member_move(raft_t *self, uint64_t id, const char *addr, const char *raft_addr) {
    if (self->role != RAFT_LEADER)
        return DRAX_ENOTLEADER;
    if (!addresses_fit(addr, raft_addr))
        return DRAX_EINVAL;
    const member_t *member = config_member(log_config(&self->log), id);
    if (!member)
        return DRAX_ENOTFOUND;
    if (member_is_at(member, addr, raft_addr))
        return 0;
    if (address_owner(log_config(&self->log), id, addr, raft_addr))
        return DRAX_EEXIST;
    config_t *config;
    int rc = change_begin(self, &config);
    if (rc)
        return rc;
    for (size_t i = 0; i < config->count; i++)
        if (config->members[i].id == id)
            member_place(&config->members[i], addr, raft_addr);
    uint64_t index;
    return change_append(self, config, &index);
}

int raft_member_remove(raft_t *self, uint64_t id, uint64_t *index) {
    if (self->role != RAFT_LEADER)
        return DRAX_ENOTLEADER;
    const config_t *current = log_config(&self->log);
    const member_t *member = config_member(current, id);
    if (!member)
        return DRAX_ENOTFOUND;
    if (member->role == MEMBER_VOTER && config_voters(current) == 1)
        return DRAX_EINVAL;
    config_t *config;
    int rc = change_begin(self, &config);
    if (rc)
        return rc;
    size_t at = (size_t) (member - current->members);
    config->count--;
    memmove(&config->members[at], &config->members[at + 1],
            (config->count - at) * sizeof *config->members);
    memset(&config->members[config->count], 0, sizeof *config->members);
    return change_append(self, config, index);
}

static int promote(raft_t *self, uint64_t id, uint64_t *index) {
    config_t *config = config_clone(self);
    if (!config)
        return DRAX_ENOMEM;
    for (size_t i = 0; i < config->count; i++)
        if (config->members[i].id == id)
            config->members[i].role = MEMBER_VOTER;
    return change_append(self, config, index);
}

int raft_member_promote(raft_t *self, uint64_t id, uint64_t *index) {
    if (self->role != RAFT_LEADER)
        return DRAX_ENOTLEADER;
    const config_t *config = log_config(&self->log);
    const member_t *member = config_member(config, id);
    if (!member)
        return DRAX_ENOTFOUND;
    if (member->role == MEMBER_VOTER) {
        *index = config->index;
        return 0;
    }
    int rc = change_allowed(self);
    if (rc)
        return rc;
    const progress_t *peer = peer_get(self, id);
    assert(peer);
    if (peer->caught_rounds == 0)
        return DRAX_EINVAL;
    return promote(self, id, index);
}

/* With each heartbeat: has every learner come to where the commit index was at the last one? */
void membership_tick(raft_t *self) {
    const config_t *config = log_config(&self->log);
    uint64_t ready = 0;
    for (size_t i = 0; i < self->peer_count; i++) {
        progress_t *peer = &self->peers[i];
        const member_t *member = config_member(config, peer->id);
        if (!member || member->role != MEMBER_LEARNER)
            continue;
        bool caught = peer->state == PROGRESS_REPLICATE && peer->caught_target > 0 &&
                      peer->match >= peer->caught_target &&
                      peer_heard(self, peer->id, 3 * (uint64_t) self->options.heartbeat_ms);
        peer->caught_rounds = caught ? peer->caught_rounds + 1 : 0;
        peer->caught_target = self->commit;
        if (peer->caught_rounds >= RAFT_PROMOTE_ROUNDS && ready == 0)
            ready = peer->id;
    }
    uint64_t index;
    if (ready && change_allowed(self) == 0)
        (void) promote(self, ready, &index); /* without memory: tried again next time */
}

/* A leader that is no member any more goes once its removal is committed (4.2.2), after handing
 * over. */
void membership_flush(raft_t *self) {
    const config_t *config = log_config(&self->log);
    if (config->index > self->commit || config_member(config, self->options.id))
        return;
    raft_abdicate(self);
    become_follower(self, self->term, 0);
}
