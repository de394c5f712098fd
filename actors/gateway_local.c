/* gateway_local.c: what the gateway answers by itself, and membership requests. */
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "actors/gateway_internal.h"
#include "broker/rpc_members.h"

static void pack_named(buffer_t *out, const char *name, uint64_t value) {
    pack_str(out, name);
    pack_uint(out, value);
}

static void leader_pack(buffer_t *out, uint64_t leader) {
    pack_str(out, "leader");
    if (leader)
        pack_uint(out, leader);
    else
        pack_nil(out);
}

static void status_pack(const gateway_actor_t *self, buffer_t *out) {
    const message_raft_status_t *raft = &self->raft;
    pack_map(out, 12);
    pack_named(out, "cluster", raft->cluster);
    pack_named(out, "node", raft->node);
    pack_str(out, "role");
    pack_str(out, raft_role_name(raft->role));
    leader_pack(out, raft->leader);
    pack_named(out, "term", raft->term);
    pack_named(out, "revision", self->revision);
    /* Storage may have told of more than raft has yet. */
    pack_named(out, "commit", raft->commit > self->applied ? raft->commit : self->applied);
    pack_named(out, "applied", self->applied);
    pack_str(out, "members");
    rpc_members(out, &raft->config);
    pack_str(out, "version");
    pack_str(out, DRAX_VERSION);
    pack_str(out, "no_space");
    pack_bool(out, self->no_space || raft->no_space);
    pack_str(out, "digest"); /* of the state at `applied`; all 64 bits, so as text */
    char digest[17];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long) self->digest);
    pack_str(out, digest);
}

/* A gateway that just started knows nothing, and what it said then would seem to go back: a lower
 * revision, another role. */
bool gateway_node_known(const gateway_actor_t *self) {
    return self->raft_known && self->store_known;
}

void gateway_local_turn(gateway_actor_t *self) {
    if (!gateway_node_known(self))
        return;
    pending_t *next;
    for (pending_t *pending = pendings_oldest(self->pendings);
         pending && pendings_count_kind(self->pendings, PENDING_LOCAL); pending = next) {
        next = pendings_newer(self->pendings, pending);
        if (pending->kind == PENDING_LOCAL)
            gateway_local_answer(self, pendings_token(self->pendings, pending));
    }
}

void gateway_local_answer(gateway_actor_t *self, uint64_t token) {
    buffer_t outcome = {0};
    gateway_local(self, pendings_find(self->pendings, token)->method, &outcome);
    if (outcome.failed)
        gateway_fail(self, token, RPC_UNAVAILABLE, "out of memory");
    else
        gateway_answer(self, token, (slice_t){outcome.data, outcome.size});
    buffer_free(&outcome);
}

void gateway_local(gateway_actor_t *self, method_t method, buffer_t *outcome) {
    rpc_success(outcome);
    if (method == METHOD_STATUS) {
        status_pack(self, outcome);
        return;
    }
    pack_map(outcome, 3);
    pack_str(outcome, "version");
    pack_str(outcome, DRAX_VERSION);
    pack_named(outcome, "node", self->raft.node);
    pack_named(outcome, "revision", self->revision);
}

/* ---- membership ---- */

static admin_op_t admin_op(method_t method) {
    switch (method) {
    case METHOD_MEMBER_ADD:
        return ADMIN_ADD;
    case METHOD_MEMBER_REMOVE:
        return ADMIN_REMOVE;
    case METHOD_MEMBER_PROMOTE:
        return ADMIN_PROMOTE;
    default:
        return ADMIN_TRANSFER;
    }
}

static bool text_copy(char out[LIMIT_ADDR_BYTES], slice_t text) {
    if (text.size >= LIMIT_ADDR_BYTES)
        return false;
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    return true;
}

/* The id of a member that is to be added. A repetition, at any node, must find the one it added
 * before, so that depends on client and seq alone; 0: the leader chooses. */
static uint64_t member_id(const request_t *request) {
    if (request->method != METHOD_MEMBER_ADD || request->id || !request->client.size)
        return request->id;
    uint64_t sum = XXH3_64bits_withSeed(request->client.data, request->client.size, request->seq);
    return 1 + sum % UINT32_MAX;
}

void gateway_admin(gateway_actor_t *self, uint64_t token, const request_t *request) {
    message_t message = {.kind = MESSAGE_ADMIN};
    message.admin.token = token;
    message.admin.op = admin_op(request->method);
    message.admin.id = member_id(request);
    if ((request->addr.size && !text_copy(message.admin.addr, request->addr)) ||
        (request->raft_addr.size && !text_copy(message.admin.raft_addr, request->raft_addr))) {
        gateway_fail(self, token, RPC_INVALID_ARGUMENT, "the address is too long");
        return;
    }
    if (!self->post->boot(self->post->self, ACTOR_RAFT)) {
        gateway_fail(self, token, RPC_UNAVAILABLE, "the node is starting");
        return;
    }
    self->post->local(self->post->self, ACTOR_RAFT, &message);
}

static void admin_fail(gateway_actor_t *self, uint64_t token, const message_admin_t *admin) {
    switch (admin->code) {
    case DRAX_ENOTFOUND:
        gateway_fail(self, token, RPC_INVALID_ARGUMENT,
                     admin->op == ADMIN_TRANSFER ? "no voter that could lead" : "no such member");
        break;
    case DRAX_EEXIST:
        gateway_fail(self, token, RPC_INVALID_ARGUMENT, "the address belongs to an active member");
        break;
    case DRAX_EINVAL:
        gateway_fail(
            self, token, RPC_INVALID_ARGUMENT,
            "not possible: the last voter, a full membership, or a learner that is behind");
        break;
    case DRAX_ETIMEDOUT:
        gateway_fail(self, token, RPC_TIMEOUT, "not decided in time; it may still come about");
        break;
    default:
        gateway_fail(self, token, RPC_UNAVAILABLE, error_text(admin->code));
    }
}

void gateway_admin_result(gateway_actor_t *self, const message_admin_t *admin) {
    const pending_t *pending = pendings_find(self->pendings, admin->token);
    if (!pending || pending->kind != PENDING_ADMIN)
        return;
    if (admin->code) {
        admin_fail(self, admin->token, admin);
        return;
    }
    buffer_t outcome = {0};
    rpc_success(&outcome);
    if (admin->op == ADMIN_TRANSFER) {
        pack_map(&outcome, 1);
        leader_pack(&outcome, admin->leader);
    } else {
        pack_map(&outcome, admin->op == ADMIN_ADD ? 3 : 1);
        if (admin->op == ADMIN_ADD) {
            pack_named(&outcome, "id", admin->id);
            pack_named(&outcome, "cluster", self->raft.cluster);
        }
        pack_str(&outcome, "members");
        rpc_members(&outcome, &admin->config);
    }
    if (outcome.failed)
        gateway_fail(self, admin->token, RPC_TIMEOUT, "out of memory");
    else
        gateway_answer(self, admin->token, (slice_t){outcome.data, outcome.size});
    buffer_free(&outcome);
}
