/* codec_config.c: memberships and single fields (grammar of a membership in codec.h). */
#include <string.h>

#include "broker/codec_internal.h"
#include "broker/error.h"

#define CODE_MIN (-64)

int codec_config_encode(buffer_t *out, const config_t *config) {
    if (config->count > LIMIT_MEMBERS)
        return DRAX_EINVAL;
    pack_array(out, 2);
    pack_uint(out, config->index);
    pack_array(out, config->count);
    for (size_t i = 0; i < config->count; i++) {
        const member_t *member = &config->members[i];
        pack_array(out, 4);
        pack_uint(out, member->id);
        pack_uint(out, member->role);
        pack_str(out, member->addr);
        pack_str(out, member->raft_addr);
    }
    return out->failed ? DRAX_ENOMEM : 0;
}

int codec_config_decode(config_t *out, slice_t bytes) {
    unpack_t in = unpack_begin(bytes);
    codec_config_read(&in, out);
    return unpack_end(&in);
}

void codec_config_pack(encoder_t *out, const config_t *config) {
    int rc = codec_config_encode(&out->frames->header, config);
    if (rc != 0)
        encoder_fail(out, rc);
}

void codec_config_read(unpack_t *in, config_t *config) {
    memset(config, 0, sizeof *config);
    unpack_arity(in, 2);
    config->index = codec_index_read(in);
    config->count = unpack_array(in, LIMIT_MEMBERS);
    uint64_t before = 0;
    for (size_t i = 0; i < config->count; i++) {
        member_t *member = &config->members[i];
        unpack_arity(in, 4);
        member->id = codec_id_read(in);
        uint64_t role = unpack_uint(in, MEMBER_LEARNER);
        member->role = role == MEMBER_VOTER ? MEMBER_VOTER : MEMBER_LEARNER;
        codec_addr_read(in, member->addr);
        codec_addr_read(in, member->raft_addr);
        if (role < MEMBER_VOTER || member->id <= before)
            unpack_fail(in);
        before = member->id;
    }
    if (in->code != 0)
        memset(config, 0, sizeof *config);
}

uint64_t codec_index_read(unpack_t *in) {
    return unpack_uint(in, CODEC_INDEX_MAX);
}

uint64_t codec_id_read(unpack_t *in) {
    return unpack_uint(in, CODEC_ID_MAX);
}

int codec_code_read(unpack_t *in) {
    return (int) unpack_int(in, CODE_MIN, 0);
}

void codec_addr_read(unpack_t *in, char out[LIMIT_ADDR_BYTES]) {
    slice_t text = unpack_str(in);
    memset(out, 0, LIMIT_ADDR_BYTES);
    if (text.size == 0)
        return;
    if (text.size >= LIMIT_ADDR_BYTES || memchr(text.data, 0, text.size)) {
        unpack_fail(in);
        return;
    }
    memcpy(out, text.data, text.size);
}
