/* block.c: blocks and batches (grammars in block.h).
 *
 * Opening walks the whole list before it gives anything out, so what block_open accepted never
 * turns out to be malformed halfway through: a block is applied whole or not at all.
 */
#include "broker/block.h"

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/unpack.h"

void block_begin(buffer_t *out, uint64_t node, uint64_t boot, uint64_t seq, uint64_t prev,
                 size_t count) {
    pack_array(out, 5);
    pack_uint(out, node);
    pack_uint(out, boot);
    pack_uint(out, seq);
    pack_uint(out, prev);
    pack_array(out, count);
}

void block_add(buffer_t *out, slice_t command) {
    pack_bin(out, command.data, command.size);
}

int block_open(block_t *out, slice_t bytes) {
    unpack_t in = unpack_begin(bytes);
    unpack_arity(&in, 5);
    out->node = unpack_uint(&in, UINT64_MAX);
    out->boot = unpack_uint(&in, UINT64_MAX);
    out->seq = unpack_uint(&in, UINT64_MAX);
    out->prev = unpack_uint(&in, UINT64_MAX);
    out->count = unpack_array(&in, LIMIT_BLOCK_COMMANDS);
    out->at = 0;
    out->rest = in.rest;
    for (size_t i = 0; i < out->count && in.code == 0; i++)
        (void) unpack_bin(&in);
    return unpack_end(&in);
}

int block_next(block_t *self, slice_t *command) {
    unpack_t in = unpack_begin(self->rest);
    if (self->at == self->count)
        return unpack_end(&in);
    *command = unpack_bin(&in);
    self->rest = in.rest;
    self->at++;
    return in.code == 0 ? 1 : in.code;
}

void batch_begin(buffer_t *out, size_t count) {
    pack_array(out, count);
}

void batch_add(buffer_t *out, uint64_t token, slice_t bytes) {
    pack_array(out, 2);
    pack_uint(out, token);
    pack_bin(out, bytes.data, bytes.size);
}

static void pair_take(unpack_t *in, uint64_t *token, slice_t *bytes) {
    unpack_arity(in, 2);
    *token = unpack_uint(in, UINT64_MAX);
    *bytes = unpack_bin(in);
}

int batch_open(batch_t *out, slice_t bytes) {
    unpack_t in = unpack_begin(bytes);
    out->count = unpack_array(&in, SIZE_MAX);
    out->at = 0;
    out->rest = in.rest;
    uint64_t token;
    slice_t each;
    for (size_t i = 0; i < out->count && in.code == 0; i++)
        pair_take(&in, &token, &each);
    return unpack_end(&in);
}

int batch_next(batch_t *self, uint64_t *token, slice_t *bytes) {
    unpack_t in = unpack_begin(self->rest);
    if (self->at == self->count)
        return unpack_end(&in);
    pair_take(&in, token, bytes);
    self->rest = in.rest;
    self->at++;
    return in.code == 0 ? 1 : in.code;
}
