/* model_lock.c: locks: granted, waited for, handed on, and what they demand of writes.
 *
 * A held lock is a version of its key that is `locked`, on a lease of its own whose number is the
 * token. Those that wait stand in one list in the order in which they came; the queue of a key is
 * those of them that name it. A trusting model grants and ends no lock by itself: it follows
 * another model (model_follow), and is asked only whether a refusal is right.
 */
#include "tests/sim/array.h"
#include "tests/sim/model_internal.h"

/* What a trusting model says where it cannot know: no answer of a store. */
#define UNKNOWN RPC_UNAVAILABLE

/* ---- what locks demand ---- */

static bool held_under(const model_t *self, slice_t name, uint64_t token) {
    const version_t *version = model_now(model_key(self, name));
    return version && version->locked && version->lease == token;
}

rpc_code_t model_fence_check(const model_t *self, const request_t *request) {
    bool lost = request->has_fence && !held_under(self, request->fence_key, request->fence_token);
    return lost ? RPC_LOCK_LOST : RPC_OK;
}

bool model_locked(const model_t *self, slice_t name) {
    const version_t *version = model_now(model_key(self, name));
    return version && version->locked;
}

bool model_lock_owned(const model_t *self, const request_t *request, const version_t *version) {
    return (request->has_fence && request->fence_token == version->lease) ||
           self->fence_token == version->lease;
}

rpc_code_t model_lock_check(const model_t *self, const request_t *request,
                            const version_t *version) {
    if (!version || !version->locked)
        return RPC_OK;
    if (!model_lock_owned(self, request, version))
        return RPC_CANNOT_LOCK;
    bool moves = request->ttl_ms || (request->lease && request->lease != version->lease);
    return moves ? RPC_INVALID_ARGUMENT : RPC_OK;
}

/* ---- granting ---- */

typedef struct grant {
    uint64_t ttl_ms;
    bool taken; /* the key stood there as a plain one */
    bool has_value;
    slice_t value;
    payload_t *owner; /* of `value` */
} grant_t;

static uint64_t lock_grant(model_t *self, model_key_t *key, const grant_t *grant) {
    const version_t *was = model_now(key);
    bool keeps = grant->taken && !grant->has_value;
    version_t held = {.value = keeps ? was->value : grant->value,
                      .owner = keeps ? was->owner : grant->owner,
                      .ttl_ms = grant->ttl_ms,
                      .locked = true,
                      .lease = model_lease_add(self, grant->ttl_ms)};
    model_lease_t *lease = &self->leases[held.lease - 1];
    lease->lock = key;
    lease->taken = grant->taken;
    model_key_put(self, key, &held);
    return held.lease;
}

static void granted(const model_t *self, uint64_t token, reply_t *out) {
    *out = (reply_t){.fields = REPLY_TOKEN | REPLY_LEASE | REPLY_REVISION,
                     .token = token,
                     .lease = token,
                     .revision = self->revision + 1};
}

static uint64_t waiter_add(model_t *self, const request_t *request, payload_t *owner) {
    self->waiters = array_room(self->waiters, &self->waiter_capacity, self->waiter_count + 1,
                               sizeof *self->waiters);
    self->waiters[self->waiter_count++] = (model_waiter_t){.waits = true,
                                                           .key = request->key,
                                                           .has_value = request->has_value,
                                                           .value = request->value,
                                                           .ttl_ms = request->ttl_ms,
                                                           .owner = payload_ref(owner)};
    return self->waiter_count;
}

rpc_code_t model_lock(model_t *self, const request_t *request, payload_t *owner, reply_t *out) {
    model_key_t *key = model_key_make(self, request->key);
    const version_t *was = model_now(key);
    if (was && was->locked) {
        bool once = self->trusting || (request->has_wait && request->wait_ms == 0);
        self->waits = once ? 0 : waiter_add(self, request, owner);
        return once ? RPC_CANNOT_LOCK : RPC_OK;
    }
    if (self->trusting)
        return UNKNOWN;
    grant_t grant = {request->ttl_ms, was != NULL, request->has_value, request->value, owner};
    granted(self, lock_grant(self, key, &grant), out);
    return RPC_OK;
}

/* ---- ending ---- */

static void settle(model_t *self, uint64_t waiter, const reply_t *answer) {
    self->waiters[waiter - 1].waits = false;
    self->settled = array_room(self->settled, &self->settled_capacity, self->settled_count + 1,
                               sizeof *self->settled);
    self->settled[self->settled_count++] = (model_settled_t){waiter, *answer};
}

/* 0: nobody waits for the key. */
static uint64_t waiter_first(const model_t *self, slice_t name) {
    for (size_t i = self->waiter_first; i < self->waiter_count; i++)
        if (self->waiters[i].waits && model_compare(self->waiters[i].key, name) == 0)
            return i + 1;
    return 0;
}

static void hand_on(model_t *self, model_key_t *key, bool taken, uint64_t next) {
    const model_waiter_t *waiter = &self->waiters[next - 1];
    grant_t grant = {waiter->ttl_ms, taken, waiter->has_value, waiter->value, waiter->owner};
    reply_t answer;
    granted(self, lock_grant(self, key, &grant), &answer);
    settle(self, next, &answer);
}

void model_lock_end(model_t *self, model_key_t *key, bool taken, change_type_t type) {
    const version_t *was = model_now(key);
    uint64_t next = waiter_first(self, key->name);
    if (next)
        hand_on(self, key, taken && was, next);
    else if (was && taken)
        model_key_put(self, key, &(version_t){.value = was->value, .owner = was->owner});
    else if (was)
        model_key_remove(self, key, type);
}

rpc_code_t model_unlock(model_t *self, const request_t *request, reply_t *out) {
    if (!held_under(self, request->key, request->token))
        return RPC_LOCK_LOST;
    if (self->trusting)
        return UNKNOWN;
    model_lease_end(self, request->token, CHANGE_DELETE);
    out->fields = REPLY_REVISION;
    out->revision = self->revision + 1;
    return RPC_OK;
}

/* ---- those that wait ---- */

void model_cancel(model_t *self, uint64_t waiter) {
    model_command_begin(self, self->time_ms);
    if (waiter && waiter <= self->waiter_count && self->waiters[waiter - 1].waits)
        settle(self, waiter, &(reply_t){.code = RPC_CANNOT_LOCK});
}

const model_settled_t *model_settled(const model_t *self, size_t *count) {
    *count = self->settled_count;
    return self->settled;
}

void model_command_begin(model_t *self, uint64_t time_ms) {
    while (self->waiter_first < self->waiter_count && !self->waiters[self->waiter_first].waits)
        self->waiter_first++;
    self->time_ms = time_ms;
    self->waits = self->fence_token = 0;
    self->settled_count = self->ended_count = 0;
    self->handed_back = false;
    self->leases_before = self->lease_count;
}

void model_command_drop(model_t *self) {
    self->handed_back = self->settled_count != 0;
    model_revision_drop(self);
    for (size_t i = 0; i < self->settled_count; i++)
        self->waiters[self->settled[i].waiter - 1].waits = true;
    for (size_t i = 0; i < self->ended_count; i++)
        self->leases[self->ended[i] - 1].held = true;
    self->lease_count = self->leases_before;
    self->settled_count = self->ended_count = 0;
}

bool model_handed_back(const model_t *self) {
    return self->handed_back;
}

/* ---- following ---- */

bool model_lock_moved(const model_t *self, uint64_t revision) {
    for (size_t i = self->starts[revision]; i < self->starts[revision + 1]; i++) {
        const version_t *is = model_at(self->changed[i], revision);
        const version_t *was = model_at(self->changed[i], revision - 1);
        uint64_t held = is && is->locked ? is->lease : 0;
        if (held != (was && was->locked ? was->lease : 0))
            return true;
    }
    return false;
}

void model_follow(model_t *self, const model_t *other, uint64_t revision) {
    for (size_t i = other->starts[revision]; i < other->starts[revision + 1]; i++) {
        const model_key_t *key = other->changed[i];
        const version_t *is = model_at(key, revision);
        change_type_t type = other->changes[i].type;
        if (type != CHANGE_PUT) /* also of a key that is made anew in the same revision */
            model_key_remove(self, model_key_make(self, key->name), type);
        else if (is)
            model_key_put(self, model_key_make(self, key->name), is);
    }
    model_revision_close(self);
}
