/* model.c: writes; see model.h. */
#include "tests/sim/model_internal.h"

#include <assert.h>
#include <string.h>

#include "broker/error.h"
#include "tests/sim/array.h"

/* ---- keys ---- */

int model_compare(slice_t a, slice_t b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

size_t model_seek(const model_t *self, slice_t name) {
    size_t low = 0, high = self->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (model_compare(self->keys[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

model_key_t *model_key(const model_t *self, slice_t name) {
    size_t at = model_seek(self, name);
    bool found = at < self->key_count && model_compare(self->keys[at]->name, name) == 0;
    return found ? self->keys[at] : NULL;
}

model_key_t *model_key_make(model_t *self, slice_t name) {
    size_t at = model_seek(self, name);
    if (at < self->key_count && model_compare(self->keys[at]->name, name) == 0)
        return self->keys[at];
    model_key_t *key = array_new(1, sizeof *key + name.size);
    uint8_t *bytes = (uint8_t *) (key + 1);
    memcpy(bytes, name.data, name.size);
    key->name = (slice_t){bytes, name.size};
    key->hash = reply_hash(name);
    self->keys =
        array_room(self->keys, &self->key_capacity, self->key_count + 1, sizeof(model_key_t *));
    memmove(self->keys + at + 1, self->keys + at, (self->key_count - at) * sizeof(model_key_t *));
    self->keys[at] = key;
    self->key_count++;
    return key;
}

/* Directories: one slash at the end is dropped, "" and "/" are the whole store, and `d` holds what
 * begins with `d/`. So the keys of `d` lie from "d/" to below "d0", '0' being the byte after '/'.
 */
void model_directory(const model_t *self, slice_t directory, size_t *low, size_t *high) {
    size_t size = directory.size;
    if (size && directory.data[size - 1] == '/')
        size--;
    *low = 0;
    *high = self->key_count;
    if (!size)
        return;
    uint8_t bound[LIMIT_KEY_BYTES + 1];
    memcpy(bound, directory.data, size);
    bound[size] = '/';
    *low = model_seek(self, (slice_t){bound, size + 1});
    bound[size]++;
    *high = model_seek(self, (slice_t){bound, size + 1});
}

/* ---- versions ---- */

static uint64_t version_hash(const model_key_t *key, const version_t *version) {
    if (!version->exists)
        return 0;
    uint64_t hash = reply_pair(key->hash, version->revision, version->value_hash, version->due_ms);
    hash = reply_mix(reply_mix(hash, version->created), version->writes);
    return reply_mix(hash, version->lease << 1 | version->locked);
}

const version_t *model_now(const model_key_t *key) {
    const version_t *last = key && key->count ? &key->versions[key->count - 1] : NULL;
    return last && last->exists ? last : NULL;
}

const version_t *model_at(const model_key_t *key, uint64_t revision) {
    size_t count = key->count;
    /* Reads are mostly of the present or the recent past. */
    for (int near = 0; near < 4 && count && key->versions[count - 1].revision > revision; near++)
        count--;
    if (count && key->versions[count - 1].revision > revision) {
        size_t low = 0;
        while (low < count) {
            size_t middle = low + (count - low) / 2;
            if (key->versions[middle].revision <= revision)
                low = middle + 1;
            else
                count = middle;
        }
    }
    return count && key->versions[count - 1].exists ? &key->versions[count - 1] : NULL;
}

/* Adds what the key is from the next revision on. */
static void version_push(model_t *self, model_key_t *key, change_type_t type, version_t version) {
    const version_t *was = key->count ? &key->versions[key->count - 1] : NULL;
    self->hash -= was ? version_hash(key, was) : 0;
    self->existing += version.exists;
    self->existing -= was && was->exists;
    version.revision = self->revision + 1;
    key->versions = array_room(key->versions, &key->capacity, key->count + 1, sizeof version);
    key->versions[key->count++] = version;
    self->hash += version_hash(key, &version);
    size_t count = self->change_count + 1;
    self->changes = array_room(self->changes, &self->change_capacity, count, sizeof *self->changes);
    self->changed =
        array_room(self->changed, &self->changed_capacity, count, sizeof(model_key_t *));
    self->changes[self->change_count] = (change_t){
        .type = type, .key = key->name, .value = version.value, .revision = version.revision};
    self->changed[self->change_count++] = key;
}

static void version_pop(model_t *self) {
    model_key_t *key = self->changed[--self->change_count];
    version_t *last = &key->versions[--key->count];
    const version_t *was = key->count ? &key->versions[key->count - 1] : NULL;
    self->hash -= version_hash(key, last);
    self->hash += was ? version_hash(key, was) : 0;
    self->existing -= last->exists;
    self->existing += was && was->exists;
    payload_unref(&last->owner);
}

void model_key_put(model_t *self, model_key_t *key, const version_t *is) {
    const version_t *was = model_now(key);
    version_t version = *is;
    version.exists = true;
    version.created = was ? was->created : self->revision + 1;
    version.writes = was ? was->writes + 1 : 1;
    version.value_hash = reply_hash(is->value);
    version.owner = payload_ref(is->owner);
    version_push(self, key, CHANGE_PUT, version);
}

void model_key_remove(model_t *self, model_key_t *key, change_type_t type) {
    version_push(self, key, type, (version_t){.exists = false});
}

/* ---- revisions ---- */

bool model_revision_close(model_t *self) {
    if (!model_changed(self))
        return false;
    self->revision++;
    self->starts =
        array_room(self->starts, &self->start_capacity, self->revision + 2, sizeof *self->starts);
    self->starts[self->revision + 1] = self->change_count;
    return true;
}

void model_revision_drop(model_t *self) {
    while (model_changed(self))
        version_pop(self);
}

bool model_changed(const model_t *self) {
    return self->change_count > self->starts[self->revision + 1];
}

void model_undo(model_t *self) {
    assert(self->revision > 0);
    while (self->change_count > self->starts[self->revision])
        version_pop(self);
    self->revision--;
}

const change_t *model_changes(const model_t *self, uint64_t revision, size_t *count) {
    assert(revision >= 1 && revision <= self->revision);
    *count = self->starts[revision + 1] - self->starts[revision];
    return self->changes + self->starts[revision];
}

/* ---- the methods ---- */

static void key_put(model_t *self, const request_t *request, payload_t *owner) {
    model_key_t *key = model_key_make(self, request->key);
    const version_t *was = model_now(key);
    version_t version = {.due_ms = request->ttl_ms ? self->time_ms + request->ttl_ms : 0,
                         .ttl_ms = request->ttl_ms,
                         .lease = request->lease,
                         .value = request->value,
                         .owner = owner};
    version.locked = was && was->locked;
    if (version.locked)
        version.lease = was->lease;
    if (version.lease)
        version.ttl_ms = model_lease_ttl_ms(self, version.lease);
    model_key_put(self, key, &version);
}

/* Who deletes the key of a lock lets go of it. */
static void key_delete(model_t *self, model_key_t *key) {
    const version_t *was = model_now(key);
    uint64_t lock = was->locked ? was->lease : 0;
    model_key_remove(self, key, CHANGE_DELETE);
    if (lock)
        model_lease_end(self, lock, CHANGE_DELETE);
}

/* May all keys from *low to below *high be deleted? */
static rpc_code_t tree_check(const model_t *self, const request_t *request, size_t low,
                             size_t high) {
    for (size_t i = low; i < high; i++) {
        const version_t *version = model_now(self->keys[i]);
        if (version && version->locked && !model_lock_owned(self, request, version))
            return RPC_CANNOT_LOCK;
    }
    return RPC_OK;
}

static rpc_code_t tree_delete(model_t *self, const request_t *request, reply_t *out) {
    size_t low, high;
    uint64_t own = request->has_fence ? request->fence_token : 0, locks[2] = {0};
    model_directory(self, request->key, &low, &high);
    rpc_code_t code = tree_check(self, request, low, high);
    if (code)
        return code;
    for (size_t i = low; i < high; i++) {
        const version_t *was = model_now(self->keys[i]);
        if (!was)
            continue;
        if (was->locked)
            locks[was->lease != own] = was->lease;
        model_key_remove(self, self->keys[i], CHANGE_DELETE);
        out->deleted++;
    }
    for (size_t i = 0; i < 2; i++) /* the operation's own fence first, then its transaction's */
        if (locks[i])
            model_lease_end(self, locks[i], CHANGE_DELETE);
    return out->deleted ? RPC_OK : RPC_KEY_NOT_FOUND;
}

static rpc_code_t previous_check(const request_t *request, const version_t *was) {
    bool put = request->method == METHOD_ATOMIC_PUT;
    if (!request->has_previous && put)
        return was ? RPC_KEY_EXISTS : RPC_OK;
    if (!request->has_previous)
        return RPC_PREVIOUS_NOT_SPECIFIED;
    if (!was)
        return put ? RPC_KEY_MODIFIED : RPC_KEY_NOT_FOUND;
    return was->revision == request->previous ? RPC_OK : RPC_KEY_MODIFIED;
}

/* A key's write that succeeded made the next revision, whatever else does. */
static void written(const model_t *self, const request_t *request, unsigned fields, reply_t *out) {
    out->fields = fields | REPLY_REVISION;
    out->revision = self->revision + 1;
    if (fields & REPLY_INDEX)
        out->index = out->revision;
    if (fields & REPLY_KEY)
        out->digest =
            reply_pair(0, reply_hash(request->key), out->index, reply_hash(request->value));
}

static rpc_code_t key_write(model_t *self, const request_t *request, payload_t *owner,
                            reply_t *out) {
    model_key_t *key = model_key(self, request->key);
    const version_t *was = model_now(key);
    rpc_code_t code = model_lock_check(self, request, was);
    if (code)
        return code;
    if (request->lease && !model_lease_held(self, request->lease))
        return RPC_LEASE_NOT_FOUND;
    if (request->method == METHOD_ATOMIC_PUT || request->method == METHOD_ATOMIC_DELETE)
        code = previous_check(request, was);
    if (code)
        return code;
    if (request->method == METHOD_PUT || request->method == METHOD_ATOMIC_PUT) {
        key_put(self, request, owner);
        written(self, request,
                request->method == METHOD_PUT ? REPLY_INDEX : REPLY_KEY | REPLY_VALUE | REPLY_INDEX,
                out);
        return RPC_OK;
    }
    if (!was)
        return RPC_KEY_NOT_FOUND;
    key_delete(self, key);
    written(self, request, 0, out);
    return RPC_OK;
}

rpc_code_t model_write_do(model_t *self, const request_t *request, payload_t *owner, reply_t *out) {
    rpc_code_t code = model_fence_check(self, request);
    if (code)
        return code;
    switch (request->method) {
    case METHOD_TXN:
        return model_txn(self, request, owner, out);
    case METHOD_LEASE_GRANT:
    case METHOD_LEASE_KEEPALIVE:
    case METHOD_LEASE_REVOKE:
        return model_lease_write(self, request, out);
    case METHOD_LOCK:
        return model_lock(self, request, owner, out);
    case METHOD_UNLOCK:
        return model_unlock(self, request, out);
    case METHOD_PUT:
    case METHOD_ATOMIC_PUT:
    case METHOD_DELETE:
    case METHOD_ATOMIC_DELETE:
        return key_write(self, request, owner, out);
    case METHOD_DELETE_TREE:
        code = tree_delete(self, request, out);
        written(self, request, REPLY_DELETED, out);
        return code;
    default:
        return RPC_INVALID_ARGUMENT;
    }
}

uint64_t model_write(model_t *self, const request_t *request, payload_t *owner, uint64_t time_ms,
                     reply_t *out) {
    *out = (reply_t){0};
    model_command_begin(self, time_ms);
    rpc_code_t code = model_write_do(self, request, owner, out);
    if (code)
        *out = (reply_t){.code = code};
    out->msgid = request->msgid;
    model_revision_close(self);
    return self->waits;
}

static void key_expire(model_t *self, const expire_item_t *item, uint64_t time_ms) {
    model_key_t *key = model_key(self, item->key);
    const version_t *was = model_now(key);
    bool due = was && ((was->due_ms && was->due_ms <= time_ms) || (self->trusting && was->lease));
    if (due && was->revision == item->mark)
        model_key_remove(self, key, CHANGE_EXPIRE);
}

bool model_expire(model_t *self, const expire_t *command, uint64_t time_ms) {
    expire_t rest = *command;
    expire_item_t item;
    model_command_begin(self, time_ms);
    while (expire_next(&rest, &item) == 1) {
        if (item.lease)
            model_lease_expire(self, item.lease, item.mark);
        else
            key_expire(self, &item, time_ms);
    }
    return model_revision_close(self);
}

/* ---- life ---- */

model_t *model_new(bool trusting) {
    model_t *self = array_new(1, sizeof *self);
    self->trusting = trusting;
    self->starts = array_room(NULL, &self->start_capacity, 2, sizeof *self->starts);
    self->starts[0] = self->starts[1] = 0;
    return self;
}

void model_free(model_t **self_p) {
    model_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->key_count; i++) {
        model_key_t *key = self->keys[i];
        for (size_t v = 0; v < key->count; v++)
            payload_unref(&key->versions[v].owner);
        free(key->versions);
        free(key);
    }
    free(self->keys);
    free(self->changes);
    free(self->changed);
    free(self->starts);
    free(self->leases);
    for (size_t i = 0; i < self->waiter_count; i++)
        payload_unref(&self->waiters[i].owner);
    free(self->waiters);
    free(self->settled);
    free(self->ended);
    free(self);
    *self_p = NULL;
}

uint64_t model_revision(const model_t *self) {
    return self->revision;
}

uint64_t model_hash(const model_t *self) {
    return reply_mix(self->hash, self->revision);
}

size_t model_keys(const model_t *self) {
    return self->existing;
}
