/* raft_admin.c: membership and leadership requests, from any node's gateway to the leader and back.
 */
#include <string.h>

#include "actors/raft_actor_internal.h"

static void result_send(raft_actor_t *self, const message_admin_t *admin, uint64_t origin,
                        int code) {
    message_t out = {.kind = MESSAGE_ADMIN_RESULT, .admin = *admin};
    out.admin.code = code;
    out.admin.config = (config_t){0};
    if (self->core) {
        out.admin.leader = raft_leader(self->core);
        out.admin.config = *raft_config(self->core);
    }
    out.cluster = self->cluster;
    if (origin)
        raft_actor_peer(self, origin, &out);
    else
        raft_actor_local(self, ACTOR_GATEWAY, &out);
}

static int request_begin(raft_actor_t *self, admin_request_t *request) {
    message_admin_t *admin = &request->admin;
    switch (admin->op) {
    case ADMIN_ADD:
        return raft_member_add(self->core, admin->id, admin->addr, admin->raft_addr,
                               &request->index);
    case ADMIN_REMOVE:
        return raft_member_remove(self->core, admin->id, &request->index);
    case ADMIN_PROMOTE:
        return raft_member_promote(self->core, admin->id, &request->index);
    case ADMIN_TRANSFER:
        request->index = UINT64_MAX; /* decided by the change of leader */
        return raft_transfer(self->core, admin->id);
    case ADMIN_MOVE:
        break; /* is not kept */
    }
    return DRAX_EINVAL;
}

/* Committed, and what it was to bring about is so: leadership and term may have changed since (a
 * leader that was removed hands over at once). */
static bool request_done(const raft_actor_t *self, const admin_request_t *request) {
    const member_t *member = config_member(raft_config(self->core), request->admin.id);
    if (request->admin.op == ADMIN_TRANSFER && request->admin.id == self->node)
        return raft_role(self->core) == RAFT_LEADER;
    if (request->admin.op == ADMIN_TRANSFER)
        return request->index && raft_role(self->core) != RAFT_LEADER && raft_leader(self->core);
    if (!request->index || raft_commit(self->core) < request->index)
        return false;
    if (request->admin.op == ADMIN_REMOVE)
        return !member;
    return member && (request->admin.op == ADMIN_ADD || member->role == MEMBER_VOTER);
}

/* 1: not decided yet; else the request's code. */
static int request_progress(raft_actor_t *self, admin_request_t *request, uint64_t now_ms) {
    if (request_done(self, request))
        return 0;
    if (now_ms >= request->deadline_ms)
        return request->index ? DRAX_ETIMEDOUT : DRAX_EPENDING;
    if (request->index)
        return 1;
    int rc = request_begin(self, request);
    if (rc)
        request->index = 0;
    return rc == DRAX_EPENDING || rc == 0 ? 1 : rc;
}

void raft_admin_turn(raft_actor_t *self, uint64_t now_ms) {
    for (size_t i = 0; self->core && i < self->admin_count;) {
        admin_request_t *request = &self->admins[i];
        int rc = request_progress(self, request, now_ms);
        if (rc == 1) {
            i++;
            continue;
        }
        log_info(self->log, "membership request op=%d id=%llu: %s", (int) request->admin.op,
                 (unsigned long long) request->admin.id, error_text(rc));
        result_send(self, &request->admin, request->origin, rc);
        self->admins[i] = self->admins[--self->admin_count];
    }
}

uint64_t raft_admin_deadline(const raft_actor_t *self, uint64_t now_ms) {
    return self->admin_count ? now_ms + RAFT_ADMIN_RETRY_MS : UINT64_MAX;
}

/* What was begun may still come about. */
void raft_admin_fail_all(raft_actor_t *self, int code) {
    while (self->admin_count) {
        admin_request_t *request = &self->admins[--self->admin_count];
        result_send(self, &request->admin, request->origin, code);
    }
}

/* Who has moved may know no address of the leader, so whoever it reaches hands it on. */
static void move_receive(raft_actor_t *self, const message_t *message) {
    uint64_t leader = self->core ? raft_leader(self->core) : 0;
    message_t out = {.kind = MESSAGE_ADMIN, .admin = message->admin};
    if (leader && leader == self->node && message->actor != ACTOR_GATEWAY)
        raft_members_move(self, &message->admin);
    else if (leader && message->from == message->admin.id)
        raft_actor_peer(self, leader, &out);
}

void raft_admin_receive(raft_actor_t *self, const message_t *message, uint64_t now_ms) {
    uint64_t origin = message->actor == ACTOR_GATEWAY ? 0 : message->from;
    bool leads = self->core && raft_role(self->core) == RAFT_LEADER;
    if (message->admin.op == ADMIN_MOVE) {
        move_receive(self, message);
        return;
    }
    if (!leads) {
        uint64_t leader = self->core ? raft_leader(self->core) : 0;
        if (origin || !leader) {
            result_send(self, &message->admin, origin, DRAX_ENOTLEADER);
            return;
        }
        message_t out = {.kind = MESSAGE_ADMIN, .admin = message->admin};
        raft_actor_peer(self, leader, &out);
        return;
    }
    if (self->admin_count == RAFT_ADMIN_MAX) {
        result_send(self, &message->admin, origin, DRAX_EAGAIN);
        return;
    }
    admin_request_t *request = &self->admins[self->admin_count++];
    *request = (admin_request_t){.admin = message->admin, .origin = origin};
    request->deadline_ms = now_ms + RAFT_ADMIN_MS;
    while (request->admin.op == ADMIN_ADD && request->admin.id == 0)
        request->admin.id = raft_actor_random(self) & UINT32_MAX;
    raft_admin_turn(self, now_ms);
}

void raft_admin_result(raft_actor_t *self, const message_t *message) {
    message_t out = {.kind = MESSAGE_ADMIN_RESULT, .admin = message->admin};
    raft_actor_local(self, ACTOR_GATEWAY, &out);
}
