/* query.c: reads of the present state (contract section 2).
 *
 * Answers with pairs are pages (page.h): small, whatever is asked for.
 */
#include "store/page.h"

#include "broker/error.h"

static int get_answer(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out);
static int exists_answer(state_t *self, const request_t *request, buffer_t *out);
static int lease_answer(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out);
static int list_answer(state_t *self, const request_t *request, buffer_t *out);
static int range_answer(state_t *self, const request_t *request, buffer_t *out);
static void members_answer(state_t *self, buffer_t *out);

int state_query(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out) {
    if (self->failed)
        return self->failed;
    self->keys_left = UINT64_MAX;
    return query_answer(self, request, time_ms, out);
}

int query_answer(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out) {
    int rc = 0;
    switch (request->method) {
    case METHOD_GET:
        rc = get_answer(self, request, time_ms, out);
        break;
    case METHOD_EXISTS:
        rc = exists_answer(self, request, out);
        break;
    case METHOD_LIST:
        rc = list_answer(self, request, out);
        break;
    case METHOD_RANGE:
        rc = range_answer(self, request, out);
        break;
    case METHOD_LEASE_GET:
        rc = lease_answer(self, request, time_ms, out);
        break;
    case METHOD_WATCH:
    case METHOD_WATCH_TREE:
        rc = watch_answer(self, request, out);
        break;
    case METHOD_MEMBER_LIST:
        members_answer(self, out);
        break;
    case METHOD_SNAPSHOT:
        return DRAX_ETOOLARGE;
    default:
        rpc_failure(out, RPC_INVALID_ARGUMENT, "not a read");
    }
    return rc == 0 && out->failed ? DRAX_ENOMEM : rc;
}

/* ---- single keys ---- */

static void revision_write(state_t *self, buffer_t *out) {
    pack_str(out, "revision");
    pack_uint(out, self->meta.revision);
}

/* What is due but not expired yet is still there: at least 1. */
static void ttl_write(uint64_t due_ms, uint64_t time_ms, buffer_t *out) {
    pack_str(out, "ttl_ms");
    pack_uint(out, due_ms > time_ms ? due_ms - time_ms : 1);
}

static int get_answer(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out) {
    user_t user;
    int rc = user_load(self, request->key, &user);
    if (rc)
        return rc;
    if (!user.exists) {
        rpc_failure(out, RPC_KEY_NOT_FOUND, "there is no such key");
        return 0;
    }
    const record_t *record = &user.record;
    rpc_success(out);
    pack_map(out, 4u + (record->due_ms != 0) + 2u * (record->lease != 0));
    pack_str(out, "key");
    pack_key(out, request->key.data, request->key.size);
    pack_str(out, "value");
    pack_bin(out, record->value.data, record->value.size);
    pack_str(out, "index");
    pack_uint(out, record->index);
    revision_write(self, out);
    if (record->due_ms)
        ttl_write(record->due_ms, time_ms, out);
    if (!record->lease)
        return 0;
    lease_use_t use;
    rc = lease_load(self, record->lease, &use);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    ttl_write(use.lease.due_ms, time_ms, out);
    pack_str(out, "lease");
    pack_uint(out, use.id);
    return 0;
}

static int lease_answer(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out) {
    lease_use_t use;
    int rc = lease_load(self, request->lease, &use);
    if (rc == DRAX_ENOTFOUND) {
        rpc_failure(out, RPC_LEASE_NOT_FOUND, "there is no such lease");
        return 0;
    }
    if (rc)
        return rc;
    rpc_success(out);
    pack_map(out, 5);
    pack_str(out, "lease");
    pack_uint(out, use.id);
    ttl_write(use.lease.due_ms, time_ms, out);
    pack_str(out, "granted_ms");
    pack_uint(out, use.lease.ttl_ms);
    pack_str(out, "keys");
    pack_uint(out, use.lease.keys);
    revision_write(self, out);
    return 0;
}

static int exists_answer(state_t *self, const request_t *request, buffer_t *out) {
    user_t user;
    int rc = user_load(self, request->key, &user);
    if (rc)
        return rc;
    rpc_success(out);
    pack_map(out, 2);
    pack_str(out, "exists");
    pack_bool(out, user.exists);
    revision_write(self, out);
    return 0;
}

/* ---- pages ---- */

/* Fills the page from the directory, from the first key after `after` on. `*any`: the directory
 * holds a key, on this page or before it. */
static int list_fill(state_t *self, merge_t *walk, slice_t prefix, const request_t *request,
                     page_t *page, bool *any) {
    record_key_t from;
    int rc = merge_seek(walk, prefix);
    *any = rc == 0 && walk->valid && key_prefixed(walk->key, prefix);
    if (rc || !*any)
        return rc;
    if (request->has_after) {
        record_key_user(&from, request->after);
        from.bytes[from.size++] = 0; /* the smallest key after it */
        if (kv_key_compare(record_key(&from), prefix) > 0)
            rc = merge_seek(walk, record_key(&from));
    }
    return rc ? rc : page_fill(page, self, walk, prefix);
}

static int list_answer(state_t *self, const request_t *request, buffer_t *out) {
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    slice_t directory = rpc_directory_prefix(request->key, scratch);
    record_key_t prefix;
    record_key_user(&prefix, directory);
    page_t page = page_begin(self, request);
    merge_t walk;
    bool any;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = list_fill(self, &walk, record_key(&prefix), request, &page, &any);
    merge_close(&walk);
    if (rc == 0 && !any && directory.size) {
        user_t user; /* the key that bears the directory's name */
        rc = user_load(self, (slice_t){directory.data, directory.size - 1}, &user);
        any = rc == 0 && user.exists;
    }
    if (rc)
        return rc;
    if (!any) {
        rpc_failure(out, RPC_KEY_NOT_FOUND, "there is nothing under this directory");
        return 0;
    }
    rpc_success(out);
    pack_map(out, 3);
    page_write(&page, out);
    pack_str(out, "more");
    pack_bool(out, page.full);
    revision_write(self, out);
    return 0;
}

/* Walks the whole range, upwards or downwards; the page takes what it has room for. */
static int range_fill(state_t *self, merge_t *walk, const request_t *request, page_t *page,
                      uint64_t *count) {
    record_key_t start, end;
    record_key_user(&start, request->key);
    record_key_user(&end, request->end);
    if (!request->end.size)
        end.bytes[0]++; /* past all users' keys */
    if (kv_key_compare(record_key(&start), record_key(&end)) >= 0)
        return 0;
    int rc = request->reverse ? merge_seek_before(walk, record_key(&end))
                              : merge_seek(walk, record_key(&start));
    while (rc == 0 && walk->valid) {
        bool beyond = request->reverse ? kv_key_compare(walk->key, record_key(&start)) < 0
                                       : kv_key_compare(walk->key, record_key(&end)) >= 0;
        if (beyond)
            break;
        ++*count;
        rc = page_key_take(self);
        if (rc == 0 && !request->count_only && !page->full)
            rc = page_add(page, walk->key, walk->value);
        if (rc == 0)
            rc = merge_next(walk);
    }
    return rc;
}

static int range_answer(state_t *self, const request_t *request, buffer_t *out) {
    page_t page = page_begin(self, request);
    uint64_t count = 0;
    merge_t walk;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = range_fill(self, &walk, request, &page, &count);
    merge_close(&walk);
    if (rc)
        return rc;
    rpc_success(out);
    pack_map(out, 4);
    page_write(&page, out);
    pack_str(out, "count");
    pack_uint(out, count);
    pack_str(out, "more");
    pack_bool(out, page.full);
    revision_write(self, out);
    return 0;
}

/* ---- members ---- */

static void members_answer(state_t *self, buffer_t *out) {
    const config_t *config = &self->meta.config;
    rpc_success(out);
    pack_map(out, 2);
    pack_str(out, "members");
    pack_array(out, config->count);
    for (size_t i = 0; i < config->count; i++) {
        const member_t *member = &config->members[i];
        pack_map(out, 4);
        pack_str(out, "id");
        pack_uint(out, member->id);
        pack_str(out, "addr");
        pack_str(out, member->addr);
        pack_str(out, "raft_addr");
        pack_str(out, member->raft_addr);
        pack_str(out, "role");
        pack_str(out, member->role == MEMBER_VOTER ? "voter" : "learner");
    }
    revision_write(self, out);
}
