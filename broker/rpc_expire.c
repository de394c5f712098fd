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

static void pair_take(unpack_t *in, slice_t *key, uint64_t *revision) {
    unpack_arity(in, 2);
    *key = unpack_bin(in);
    *revision = unpack_uint(in, LIMIT_INTEGER);
    if (key->size == 0 || key->size > LIMIT_KEY_BYTES)
        unpack_fail(in);
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
    slice_t key;
    uint64_t revision;
    for (size_t i = 0; i < out->count && in.code == 0; i++)
        pair_take(&in, &key, &revision);
    return unpack_end(&in);
}

int expire_next(expire_t *self, slice_t *key, uint64_t *revision) {
    unpack_t in = unpack_begin(self->rest);
    if (self->at == self->count)
        return unpack_end(&in);
    pair_take(&in, key, revision);
    self->rest = in.rest;
    self->at++;
    return in.code == 0 ? 1 : in.code;
}
