#include "broker/rpc_members.h"

#include <stdio.h>
#include <string.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/unpack.h"

void rpc_members(buffer_t *out, const config_t *config) {
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
}

void rpc_member_add(buffer_t *out, uint32_t msgid, uint64_t id, const char *addr,
                    const char *raft_addr) {
    pack_array(out, 4);
    pack_uint(out, RPC_REQUEST);
    pack_uint(out, msgid);
    pack_str(out, method_name(METHOD_MEMBER_ADD));
    pack_array(out, 3);
    pack_str(out, addr);
    pack_str(out, raft_addr);
    pack_map(out, 1);
    pack_str(out, "id");
    pack_uint(out, id);
}

/* ---- the response ---- */

static bool slice_is(slice_t slice, const char *text) {
    return slice.size == strlen(text) && memcmp(slice.data, text, slice.size) == 0;
}

/* Takes one whole value off the front. */
static slice_t value_take(unpack_t *in) {
    size_t used = 0;
    if (in->code == 0 && pack_scan(in->rest, LIMIT_NESTING, LIMIT_ELEMENTS, &used) != 0)
        unpack_fail(in);
    slice_t value = {in->rest.data, in->code ? 0 : used};
    if (in->code == 0) {
        in->rest.data += used;
        in->rest.size -= used;
    }
    return value;
}

static size_t map_take(unpack_t *in) {
    item_t item;
    if (in->code == 0 && (unpack_item(&in->rest, &item) != 0 || item.type != ITEM_MAP))
        unpack_fail(in);
    return in->code ? 0 : item.count;
}

static void address_take(unpack_t *in, char out[LIMIT_ADDR_BYTES]) {
    slice_t text = unpack_str(in);
    if (in->code || text.size >= LIMIT_ADDR_BYTES) {
        unpack_fail(in);
        return;
    }
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    if (strlen(out) != text.size || !address_valid(out))
        unpack_fail(in);
}

static void member_take(unpack_t *in, member_t *out) {
    memset(out, 0, sizeof *out);
    for (size_t fields = map_take(in); fields && in->code == 0; fields--) {
        slice_t name = unpack_str(in);
        if (slice_is(name, "id"))
            out->id = unpack_uint(in, UINT32_MAX);
        else if (slice_is(name, "addr"))
            address_take(in, out->addr);
        else if (slice_is(name, "raft_addr"))
            address_take(in, out->raft_addr);
        else if (slice_is(name, "role"))
            out->role = slice_is(unpack_str(in), "voter") ? MEMBER_VOTER : MEMBER_LEARNER;
        else
            (void) value_take(in);
    }
    if (!out->id || !out->role || !out->addr[0] || !out->raft_addr[0])
        unpack_fail(in);
}

static void result_take(unpack_t *in, uint64_t *cluster, config_t *members) {
    *cluster = 0;
    memset(members, 0, sizeof *members);
    for (size_t fields = map_take(in); fields && in->code == 0; fields--) {
        slice_t name = unpack_str(in);
        if (slice_is(name, "cluster")) {
            *cluster = unpack_uint(in, LIMIT_INTEGER);
        } else if (slice_is(name, "members")) {
            members->count = unpack_array(in, LIMIT_MEMBERS);
            for (size_t i = 0; i < members->count; i++)
                member_take(in, &members->members[i]);
        } else {
            (void) value_take(in);
        }
    }
    if (!*cluster || !members->count)
        unpack_fail(in);
}

static int error_take(unpack_t *in, char text[160]) {
    item_t item;
    if (in->code || unpack_item(&in->rest, &item) != 0 || item.type != ITEM_ARRAY || item.count < 2)
        return DRAX_EPROTO;
    slice_t code = unpack_str(in);
    slice_t why = unpack_str(in);
    if (in->code)
        return DRAX_EPROTO;
    int size = (int) (why.size < 120 ? why.size : 120);
    snprintf(text, 160, "%.*s: %.*s", (int) (code.size < 32 ? code.size : 32),
             (const char *) code.data, size, (const char *) why.data);
    bool passing = slice_is(code, "UNAVAILABLE") || slice_is(code, "TIMEOUT");
    return passing ? DRAX_EAGAIN : DRAX_EINVAL;
}

int rpc_member_added(slice_t payload, uint32_t msgid, uint64_t *cluster, config_t *members,
                     char text[160]) {
    size_t used;
    text[0] = '\0';
    if (pack_scan(payload, LIMIT_NESTING, LIMIT_ELEMENTS, &used) != 0 || used != payload.size)
        return DRAX_EPROTO;
    unpack_t in = unpack_begin(payload);
    unpack_arity(&in, 4);
    uint64_t kind = unpack_uint(&in, RPC_NOTIFICATION);
    if (in.code || kind != RPC_RESPONSE || unpack_uint(&in, UINT32_MAX) != msgid)
        return DRAX_EAGAIN;
    if (!unpack_nil(&in))
        return error_take(&in, text);
    result_take(&in, cluster, members);
    return unpack_end(&in);
}
