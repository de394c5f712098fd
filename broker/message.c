#include "broker/message.h"

#include <stdlib.h>
#include <string.h>

#include "broker/error.h"

#define ENTRY_OVERHEAD_BYTES 64u

const member_t *config_member(const config_t *self, uint64_t id) {
    for (size_t i = 0; i < self->count; i++)
        if (self->members[i].id == id)
            return &self->members[i];
    return NULL;
}

size_t config_voters(const config_t *self) {
    size_t voters = 0;
    for (size_t i = 0; i < self->count; i++)
        voters += self->members[i].role == MEMBER_VOTER;
    return voters;
}

int entry_copy(entry_t *out, const entry_t *from) {
    config_t *config = NULL;
    if (from->config) {
        config = malloc(sizeof *config);
        if (!config) {
            memset(out, 0, sizeof *out);
            return DRAX_ENOMEM;
        }
        *config = *from->config;
    }
    *out = *from;
    out->config = config;
    payload_ref(out->payload);
    return 0;
}

void entry_clear(entry_t *self) {
    payload_unref(&self->payload);
    free(self->config);
    memset(self, 0, sizeof *self);
}

size_t entry_size(const entry_t *self) {
    return ENTRY_OVERHEAD_BYTES + payload_size(self->payload) +
           (self->config ? sizeof *self->config : 0);
}

int entries_push(entries_t *self, const entry_t *entry) {
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 4;
        entry_t *items = realloc(self->items, capacity * sizeof *items);
        if (!items)
            return DRAX_ENOMEM;
        self->items = items;
        self->capacity = capacity;
    }
    int rc = entry_copy(&self->items[self->count], entry);
    if (rc == 0)
        self->count++;
    return rc;
}

void entries_clear(entries_t *self) {
    for (size_t i = 0; i < self->count; i++)
        entry_clear(&self->items[i]);
    free(self->items);
    memset(self, 0, sizeof *self);
}

#define BODY(field) (sizeof((message_t *) NULL)->field)

static size_t body_bytes(message_kind_t kind) {
    switch (kind) {
    case MESSAGE_OPEN:
    case MESSAGE_TIMEOUT_NOW:
        return 0;
    case MESSAGE_PRE_VOTE:
    case MESSAGE_VOTE:
        return BODY(vote);
    case MESSAGE_PRE_VOTE_RESULT:
    case MESSAGE_VOTE_RESULT:
        return BODY(vote_result);
    case MESSAGE_APPEND:
        return BODY(append);
    case MESSAGE_APPEND_RESULT:
        return BODY(append_result);
    case MESSAGE_HEARTBEAT:
        return BODY(heartbeat);
    case MESSAGE_HEARTBEAT_RESULT:
        return BODY(heartbeat_result);
    case MESSAGE_PROPOSE:
    case MESSAGE_PROPOSE_REFUSED:
    case MESSAGE_FORWARD:
        return BODY(propose);
    case MESSAGE_READ_INDEX:
    case MESSAGE_READ_INDEX_RESULT:
    case MESSAGE_READ:
    case MESSAGE_READ_READY:
    case MESSAGE_READ_FAILED:
        return BODY(read);
    case MESSAGE_HELLO:
        return BODY(hello);
    case MESSAGE_WRITE:
        return BODY(write);
    case MESSAGE_WRITTEN:
        return BODY(written);
    case MESSAGE_CLOCK:
        return BODY(clock);
    case MESSAGE_FETCH:
    case MESSAGE_FETCHED:
        return BODY(fetch);
    case MESSAGE_QUERY:
    case MESSAGE_ANSWER:
    case MESSAGE_RESULT:
    case MESSAGE_SKIPPED:
    case MESSAGE_STORE_STATUS:
        return BODY(batch);
    default:
        return sizeof(message_t) - offsetof(message_t, vote);
    }
}

size_t message_bytes(message_kind_t kind) {
    return offsetof(message_t, vote) + body_bytes(kind);
}

void message_clear(message_t *self) {
    switch (self->kind) {
    case MESSAGE_APPEND:
        entries_clear(&self->append.entries);
        break;
    case MESSAGE_WRITE:
        entries_clear(&self->write.entries);
        break;
    case MESSAGE_FETCHED:
        entries_clear(&self->fetch.entries);
        break;
    case MESSAGE_PROPOSE:
    case MESSAGE_FORWARD:
    case MESSAGE_PROPOSE_REFUSED:
        payload_unref(&self->propose.payload);
        break;
    case MESSAGE_SNAPSHOT_OFFER:
    case MESSAGE_SNAPSHOT_FETCH:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_STAGED:
        payload_unref(&self->snapshot.payload);
        break;
    case MESSAGE_OPENED:
        free(self->opened.runs);
        free(self->opened.configs);
        break;
    case MESSAGE_QUERY:
    case MESSAGE_ANSWER:
    case MESSAGE_RESULT:
    case MESSAGE_SKIPPED:
    case MESSAGE_STORE_STATUS:
    case MESSAGE_HISTORY:
    case MESSAGE_CHANGES:
    case MESSAGE_PAST:
    case MESSAGE_SETTLED:
        payload_unref(&self->batch.payload);
        break;
    default:
        break;
    }
    memset(self, 0, message_bytes(self->kind));
}

const char *message_kind_name(message_kind_t kind) {
    static const char *const names[MESSAGE_KIND_END] = {
        [MESSAGE_NONE] = "NONE",
        [MESSAGE_PRE_VOTE] = "PRE_VOTE",
        [MESSAGE_PRE_VOTE_RESULT] = "PRE_VOTE_RESULT",
        [MESSAGE_VOTE] = "VOTE",
        [MESSAGE_VOTE_RESULT] = "VOTE_RESULT",
        [MESSAGE_APPEND] = "APPEND",
        [MESSAGE_APPEND_RESULT] = "APPEND_RESULT",
        [MESSAGE_HEARTBEAT] = "HEARTBEAT",
        [MESSAGE_HEARTBEAT_RESULT] = "HEARTBEAT_RESULT",
        [MESSAGE_TIMEOUT_NOW] = "TIMEOUT_NOW",
        [MESSAGE_FORWARD] = "FORWARD",
        [MESSAGE_READ_INDEX] = "READ_INDEX",
        [MESSAGE_READ_INDEX_RESULT] = "READ_INDEX_RESULT",
        [MESSAGE_SNAPSHOT_OFFER] = "SNAPSHOT_OFFER",
        [MESSAGE_SNAPSHOT_FETCH] = "SNAPSHOT_FETCH",
        [MESSAGE_SNAPSHOT_CHUNK] = "SNAPSHOT_CHUNK",
        [MESSAGE_ADMIN] = "ADMIN",
        [MESSAGE_ADMIN_RESULT] = "ADMIN_RESULT",
        [MESSAGE_MEMBERS] = "MEMBERS",
        [MESSAGE_HELLO] = "HELLO",
        [MESSAGE_OPEN] = "OPEN",
        [MESSAGE_FORMAT] = "FORMAT",
        [MESSAGE_WRITE] = "WRITE",
        [MESSAGE_FETCH] = "FETCH",
        [MESSAGE_READ_READY] = "READ_READY",
        [MESSAGE_CLOCK] = "CLOCK",
        [MESSAGE_OPENED] = "OPENED",
        [MESSAGE_WRITTEN] = "WRITTEN",
        [MESSAGE_FETCHED] = "FETCHED",
        [MESSAGE_SNAPSHOT_STAGED] = "SNAPSHOT_STAGED",
        [MESSAGE_PROPOSE] = "PROPOSE",
        [MESSAGE_READ] = "READ",
        [MESSAGE_PROPOSE_REFUSED] = "PROPOSE_REFUSED",
        [MESSAGE_READ_FAILED] = "READ_FAILED",
        [MESSAGE_RAFT_STATUS] = "RAFT_STATUS",
        [MESSAGE_QUERY] = "QUERY",
        [MESSAGE_ANSWER] = "ANSWER",
        [MESSAGE_RESULT] = "RESULT",
        [MESSAGE_SKIPPED] = "SKIPPED",
        [MESSAGE_STORE_STATUS] = "STORE_STATUS",
        [MESSAGE_SUBSCRIBE] = "SUBSCRIBE",
        [MESSAGE_HISTORY] = "HISTORY",
        [MESSAGE_CHANGES] = "CHANGES",
        [MESSAGE_PAST] = "PAST",
        [MESSAGE_SETTLED] = "SETTLED",
    };
    const char *name = (unsigned) kind < MESSAGE_KIND_END ? names[kind] : NULL;
    return name ? name : "UNKNOWN";
}

const char *actor_name(actor_t actor) {
    switch (actor) {
    case ACTOR_SUPERVISOR:
        return "supervisor";
    case ACTOR_STORAGE:
        return "storage";
    case ACTOR_RAFT:
        return "raft";
    case ACTOR_GATEWAY:
        return "gateway";
    default:
        return "unknown";
    }
}

const char *raft_role_name(raft_role_t role) {
    switch (role) {
    case RAFT_LEADER:
        return "leader";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEARNER:
        return "learner";
    default:
        return "follower";
    }
}
