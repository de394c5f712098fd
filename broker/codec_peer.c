/* codec_peer.c: bodies of the messages between raft actors, and those that local hops share.
 *
 *   vote             = [last_index, last_term, transfer]            PRE_VOTE, VOTE
 *   vote_result      = [granted]                                    PRE_VOTE_RESULT, VOTE_RESULT
 *   append           = [prev_index, prev_term, commit, time_ms, entries]
 *   append_result    = [rejected, index, hint_index, hint_term]
 *   heartbeat        = [commit, round, time_ms]
 *   heartbeat_result = [round, watched]
 *   propose          = [boot, seq, code]                            FORWARD; one frame: the block
 *   read             = [boot, read_id, index, code]                 READ_INDEX, READ_INDEX_RESULT
 *   snapshot         = [peer, session, chunk, last, code, index, snapshot_term, time_ms, config]
 *                                                                   one frame, may be empty
 *   admin            = [token, op, id, addr, raft_addr, code, leader, config]
 *   TIMEOUT_NOW has no body (nil).
 */
#include "broker/codec_internal.h"
#include "broker/error.h"

static void vote_encode(encoder_t *out, const message_t *message) {
    buffer_t *header = &out->frames->header;
    pack_array(header, 3);
    pack_uint(header, message->vote.last_index);
    pack_uint(header, message->vote.last_term);
    pack_bool(header, message->vote.transfer);
}

static void vote_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 3);
    message->vote.last_index = codec_index_read(&in->in);
    message->vote.last_term = codec_index_read(&in->in);
    message->vote.transfer = unpack_bool(&in->in);
}

static void vote_result_encode(encoder_t *out, const message_t *message) {
    pack_array(&out->frames->header, 1);
    pack_bool(&out->frames->header, message->vote_result.granted);
}

static void vote_result_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 1);
    message->vote_result.granted = unpack_bool(&in->in);
}

static void append_encode(encoder_t *out, const message_t *message) {
    const message_append_t *append = &message->append;
    buffer_t *header = &out->frames->header;
    pack_array(header, 5);
    pack_uint(header, append->prev_index);
    pack_uint(header, append->prev_term);
    pack_uint(header, append->commit);
    pack_uint(header, append->time_ms);
    codec_entries_encode(out, &append->entries);
}

static void append_decode(decoder_t *in, message_t *message) {
    message_append_t *append = &message->append;
    unpack_arity(&in->in, 5);
    append->prev_index = codec_index_read(&in->in);
    append->prev_term = codec_index_read(&in->in);
    append->commit = codec_index_read(&in->in);
    append->time_ms = codec_index_read(&in->in);
    codec_entries_decode(in, &append->entries, append->prev_index + 1);
}

static void append_result_encode(encoder_t *out, const message_t *message) {
    const message_append_result_t *result = &message->append_result;
    buffer_t *header = &out->frames->header;
    pack_array(header, 4);
    pack_bool(header, result->rejected);
    pack_uint(header, result->index);
    pack_uint(header, result->hint_index);
    pack_uint(header, result->hint_term);
}

static void append_result_decode(decoder_t *in, message_t *message) {
    message_append_result_t *result = &message->append_result;
    unpack_arity(&in->in, 4);
    result->rejected = unpack_bool(&in->in);
    result->index = codec_index_read(&in->in);
    result->hint_index = codec_index_read(&in->in);
    result->hint_term = codec_index_read(&in->in);
}

static void heartbeat_encode(encoder_t *out, const message_t *message) {
    buffer_t *header = &out->frames->header;
    pack_array(header, 3);
    pack_uint(header, message->heartbeat.commit);
    pack_uint(header, message->heartbeat.round);
    pack_uint(header, message->heartbeat.time_ms);
}

static void heartbeat_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 3);
    message->heartbeat.commit = codec_index_read(&in->in);
    message->heartbeat.round = unpack_uint(&in->in, UINT64_MAX);
    message->heartbeat.time_ms = codec_index_read(&in->in);
}

static void heartbeat_result_encode(encoder_t *out, const message_t *message) {
    pack_array(&out->frames->header, 2);
    pack_uint(&out->frames->header, message->heartbeat_result.round);
    pack_bool(&out->frames->header, message->heartbeat_result.watched);
}

static void heartbeat_result_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 2);
    message->heartbeat_result.round = unpack_uint(&in->in, UINT64_MAX);
    message->heartbeat_result.watched = unpack_bool(&in->in);
}

/* Only a refusal may come without its block: its proposer knows which one it was. */
static bool propose_complete(const message_t *message) {
    return message->propose.payload || message->kind == MESSAGE_PROPOSE_REFUSED;
}

void codec_propose_encode(encoder_t *out, const message_t *message) {
    buffer_t *header = &out->frames->header;
    pack_array(header, 3);
    pack_uint(header, message->propose.boot);
    pack_uint(header, message->propose.seq);
    pack_int(header, message->propose.code);
    encoder_payload_add(out, message->propose.payload);
    if (!propose_complete(message))
        encoder_fail(out, DRAX_EINVAL);
}

void codec_propose_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 3);
    message->propose.boot = unpack_uint(&in->in, UINT64_MAX);
    message->propose.seq = unpack_uint(&in->in, UINT64_MAX);
    message->propose.code = codec_code_read(&in->in);
    message->propose.payload = payload_ref(decoder_payload_take(in));
    if (!propose_complete(message))
        unpack_fail(&in->in);
}

void codec_read_encode(encoder_t *out, const message_t *message) {
    buffer_t *header = &out->frames->header;
    pack_array(header, 4);
    pack_uint(header, message->read.boot);
    pack_uint(header, message->read.read_id);
    pack_uint(header, message->read.index);
    pack_int(header, message->read.code);
}

void codec_read_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 4);
    message->read.boot = unpack_uint(&in->in, UINT64_MAX);
    message->read.read_id = unpack_uint(&in->in, UINT64_MAX);
    message->read.index = codec_index_read(&in->in);
    message->read.code = codec_code_read(&in->in);
}

void codec_snapshot_encode(encoder_t *out, const message_t *message) {
    const message_snapshot_t *snapshot = &message->snapshot;
    buffer_t *header = &out->frames->header;
    pack_array(header, 9);
    pack_uint(header, snapshot->peer);
    pack_uint(header, snapshot->session);
    pack_uint(header, snapshot->chunk);
    pack_bool(header, snapshot->last);
    pack_int(header, snapshot->code);
    pack_uint(header, snapshot->index);
    pack_uint(header, snapshot->snapshot_term);
    pack_uint(header, snapshot->time_ms);
    codec_config_pack(out, &snapshot->config);
    encoder_payload_add(out, snapshot->payload);
}

void codec_snapshot_decode(decoder_t *in, message_t *message) {
    message_snapshot_t *snapshot = &message->snapshot;
    unpack_arity(&in->in, 9);
    snapshot->peer = codec_id_read(&in->in);
    snapshot->session = unpack_uint(&in->in, UINT64_MAX);
    snapshot->chunk = codec_index_read(&in->in);
    snapshot->last = unpack_bool(&in->in);
    snapshot->code = codec_code_read(&in->in);
    snapshot->index = codec_index_read(&in->in);
    snapshot->snapshot_term = codec_index_read(&in->in);
    snapshot->time_ms = codec_index_read(&in->in);
    codec_config_read(&in->in, &snapshot->config);
    snapshot->payload = payload_ref(decoder_payload_take(in));
}

static void admin_encode(encoder_t *out, const message_t *message) {
    const message_admin_t *admin = &message->admin;
    buffer_t *header = &out->frames->header;
    pack_array(header, 8);
    pack_uint(header, admin->token);
    pack_uint(header, admin->op);
    pack_uint(header, admin->id);
    pack_str(header, admin->addr);
    pack_str(header, admin->raft_addr);
    pack_int(header, admin->code);
    pack_uint(header, admin->leader);
    codec_config_pack(out, &admin->config);
}

static void admin_decode(decoder_t *in, message_t *message) {
    message_admin_t *admin = &message->admin;
    unpack_arity(&in->in, 8);
    admin->token = unpack_uint(&in->in, UINT64_MAX);
    uint64_t op = unpack_uint(&in->in, ADMIN_MOVE);
    if (op < ADMIN_ADD)
        unpack_fail(&in->in);
    admin->op = (admin_op_t) op;
    admin->id = codec_id_read(&in->in);
    codec_addr_read(&in->in, admin->addr);
    codec_addr_read(&in->in, admin->raft_addr);
    admin->code = codec_code_read(&in->in);
    admin->leader = codec_id_read(&in->in);
    codec_config_read(&in->in, &admin->config);
}

static void members_encode(encoder_t *out, const message_t *message) {
    codec_config_pack(out, &message->members.config);
}

static void members_decode(decoder_t *in, message_t *message) {
    codec_config_read(&in->in, &message->members.config);
}

body_t codec_peer_body(message_kind_t kind) {
    switch (kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_VOTE:
        return (body_t){vote_encode, vote_decode};
    case MESSAGE_PRE_VOTE_RESULT:
    case MESSAGE_VOTE_RESULT:
        return (body_t){vote_result_encode, vote_result_decode};
    case MESSAGE_APPEND:
        return (body_t){append_encode, append_decode};
    case MESSAGE_APPEND_RESULT:
        return (body_t){append_result_encode, append_result_decode};
    case MESSAGE_HEARTBEAT:
        return (body_t){heartbeat_encode, heartbeat_decode};
    case MESSAGE_HEARTBEAT_RESULT:
        return (body_t){heartbeat_result_encode, heartbeat_result_decode};
    case MESSAGE_TIMEOUT_NOW:
        return (body_t){codec_none_encode, codec_none_decode};
    case MESSAGE_FORWARD:
        return (body_t){codec_propose_encode, codec_propose_decode};
    case MESSAGE_READ_INDEX:
    case MESSAGE_READ_INDEX_RESULT:
        return (body_t){codec_read_encode, codec_read_decode};
    case MESSAGE_SNAPSHOT_OFFER:
    case MESSAGE_SNAPSHOT_FETCH:
    case MESSAGE_SNAPSHOT_CHUNK:
        return (body_t){codec_snapshot_encode, codec_snapshot_decode};
    case MESSAGE_ADMIN:
    case MESSAGE_ADMIN_RESULT:
        return (body_t){admin_encode, admin_decode};
    case MESSAGE_MEMBERS:
        return (body_t){members_encode, members_decode};
    default:
        return (body_t){NULL, NULL};
    }
}
