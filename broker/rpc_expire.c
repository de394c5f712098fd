/* rpc_expire.c: the expire command (grammar in rpc.h). Opening walks it whole, as block_open does.
 */
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/rpc.h"
#include "broker/unpack.h"

#define EXPIRE_NAME "expire"

void expire_begin(buffer_t *out, size_t count) {
    pack_array(out, 2);
    pack_str(out, EXPIRE_NAME);
    pack_array(out, count);
}

void expire_add(buffer_t *out, slice_t key, uint64_t revision) {
    pack_array(out, 2);
    pack_bin(out, key.data, key.size);
    pack_uint(out, revision);
}

void expire_add_lease(buffer_t *out, uint64_t lease, uint64_t renewals) {
    pack_array(out, 2);
    pack_uint(out, lease);
    pack_uint(out, renewals);
}

static bool bin_follows(slice_t rest) {
    item_t item;
    return unpack_item(&rest, &item) == 0 && item.type == ITEM_BIN;
}

static void item_take(unpack_t *in, expire_item_t *out) {
    *out = (expire_item_t){0};
    unpack_arity(in, 2);
    if (bin_follows(in->rest)) {
        out->key = unpack_bin(in);
        if (out->key.size == 0 || out->key.size > LIMIT_KEY_BYTES)
            unpack_fail(in);
    } else {
        out->lease = unpack_uint(in, LIMIT_INTEGER);
        if (out->lease == 0)
            unpack_fail(in);
    }
    out->mark = unpack_uint(in, LIMIT_INTEGER);
}

int expire_open(expire_t *out, slice_t command) {
    unpack_t in = unpack_begin(command);
    unpack_arity(&in, 2);
    slice_t name = unpack_str(&in);
    if (name.size != strlen(EXPIRE_NAME) || memcmp(name.data, EXPIRE_NAME, name.size) != 0)
        return DRAX_EAGAIN;
    out->count = unpack_array(&in, SIZE_MAX);
    out->at = 0;
    out->rest = in.rest;
    expire_item_t item;
    for (size_t i = 0; i < out->count && in.code == 0; i++)
        item_take(&in, &item);
    return unpack_end(&in);
}

int expire_next(expire_t *self, expire_item_t *out) {
    unpack_t in = unpack_begin(self->rest);
    if (self->at == self->count)
        return unpack_end(&in);
    item_take(&in, out);
    self->rest = in.rest;
    self->at++;
    return in.code == 0 ? 1 : in.code;
}
