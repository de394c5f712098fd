/* codec_local.c: bodies of the messages between the actors of one node.
 *
 *   hello       = [actor, reply]
 *   format      = [cluster, node, hint]          hint = a membership
 *   opened      = [formatted, cluster, node, term, vote, first_index, last_index, applied, time_ms,
 *                  no_space, gateway_boot, [index, term, index, term ...], [config ...], hint]
 *   write       = [seq, has_hard_state, term, vote, commit, time_ms, leader, ack, entries]
 *   written     = [seq, first_index, applied, no_space, ack]
 *   ack         = [to, boot, term, index], or nil
 *   fetch       = [peer, from, max_bytes, code]
 *   fetched     = [peer, from, max_bytes, code, entries]
 *   clock       = [time_ms, leader, term]
 *   raft_status = [cluster, node, role, leader, term, commit, no_space, gateway_boot, time_ms,
 *                  config]
 *   read        = [boot, read_id, held]
 *   subscribe   = [on]
 *   batch       = [read_id, boot, seq, revision, applied, digest, no_space]   one frame: the batch
 *
 * `batch` is the body of QUERY, HISTORY, ANSWER, RESULT, SKIPPED, STORE_STATUS, CHANGES, PAST
 * and SETTLED (SKIPPED and STORE_STATUS may have an empty frame). OPEN has no body (nil). PROPOSE,
 * PROPOSE_REFUSED, READ_READY, READ_FAILED and SNAPSHOT_STAGED have the bodies propose, read
 * and snapshot of codec_peer.c.
 */
#include <stdlib.h>

#include "broker/codec_internal.h"
#include "broker/error.h"

static void hello_encode(encoder_t *out, const message_t *message) {
    pack_array(&out->frames->header, 2);
    pack_uint(&out->frames->header, message->hello.actor);
    pack_bool(&out->frames->header, message->hello.reply);
}

static void hello_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 2);
    message->hello.actor = (actor_t) unpack_uint(&in->in, ACTOR_END - 1);
    message->hello.reply = unpack_bool(&in->in);
}

static void format_encode(encoder_t *out, const message_t *message) {
    pack_array(&out->frames->header, 3);
    pack_uint(&out->frames->header, message->format.cluster);
    pack_uint(&out->frames->header, message->format.node);
    codec_config_pack(out, &message->format.hint);
}

static void format_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 3);
    message->format.cluster = unpack_uint(&in->in, UINT64_MAX);
    message->format.node = codec_id_read(&in->in);
    codec_config_read(&in->in, &message->format.hint);
}

static void opened_encode(encoder_t *out, const message_t *message) {
    const message_opened_t *opened = &message->opened;
    buffer_t *header = &out->frames->header;
    pack_array(header, 14);
    pack_bool(header, opened->formatted);
    pack_uint(header, opened->cluster);
    pack_uint(header, opened->node);
    pack_uint(header, opened->term);
    pack_uint(header, opened->vote);
    pack_uint(header, opened->first_index);
    pack_uint(header, opened->last_index);
    pack_uint(header, opened->commit);
    pack_uint(header, opened->time_ms);
    pack_bool(header, opened->no_space);
    pack_uint(header, opened->gateway_boot);
    pack_array(header, opened->run_count * 2);
    for (size_t i = 0; i < opened->run_count; i++) {
        pack_uint(header, opened->runs[i].index);
        pack_uint(header, opened->runs[i].term);
    }
    if (opened->config_count > LIMIT_OPENED_CONFIGS)
        encoder_fail(out, DRAX_EINVAL);
    pack_array(header, opened->config_count);
    for (size_t i = 0; i < opened->config_count; i++)
        codec_config_pack(out, &opened->configs[i]);
    codec_config_pack(out, &opened->hint);
}

/* A run takes two bytes at least, so the allocation is bounded by the frame's own size. */
static void runs_decode(decoder_t *in, message_opened_t *opened) {
    size_t count = unpack_array(&in->in, SIZE_MAX);
    if (count == 0)
        return;
    if (count % 2 != 0) {
        unpack_fail(&in->in);
        return;
    }
    opened->runs = calloc(count / 2, sizeof *opened->runs);
    if (!opened->runs) {
        decoder_memory_fail(in);
        return;
    }
    opened->run_count = count / 2;
    for (size_t i = 0; i < opened->run_count; i++) {
        opened->runs[i].index = codec_index_read(&in->in);
        opened->runs[i].term = codec_index_read(&in->in);
    }
}

static void configs_decode(decoder_t *in, message_opened_t *opened) {
    size_t count = unpack_array(&in->in, LIMIT_OPENED_CONFIGS);
    if (count == 0)
        return;
    opened->configs = calloc(count, sizeof *opened->configs);
    if (!opened->configs) {
        decoder_memory_fail(in);
        return;
    }
    opened->config_count = count;
    for (size_t i = 0; i < count && in->in.code == 0; i++)
        codec_config_read(&in->in, &opened->configs[i]);
}

static void opened_decode(decoder_t *in, message_t *message) {
    message_opened_t *opened = &message->opened;
    unpack_arity(&in->in, 14);
    opened->formatted = unpack_bool(&in->in);
    opened->cluster = unpack_uint(&in->in, UINT64_MAX);
    opened->node = codec_id_read(&in->in);
    opened->term = codec_index_read(&in->in);
    opened->vote = codec_id_read(&in->in);
    opened->first_index = codec_index_read(&in->in);
    opened->last_index = codec_index_read(&in->in);
    opened->commit = codec_index_read(&in->in);
    opened->time_ms = codec_index_read(&in->in);
    opened->no_space = unpack_bool(&in->in);
    opened->gateway_boot = unpack_uint(&in->in, UINT64_MAX);
    runs_decode(in, opened);
    configs_decode(in, opened);
    codec_config_read(&in->in, &opened->hint);
}

static void ack_encode(buffer_t *header, const message_ack_t *ack) {
    if (!ack->to) {
        pack_nil(header);
        return;
    }
    pack_array(header, 4);
    pack_uint(header, ack->to);
    pack_uint(header, ack->boot);
    pack_uint(header, ack->term);
    pack_uint(header, ack->index);
}

static void ack_decode(unpack_t *in, message_ack_t *ack) {
    if (unpack_nil(in))
        return;
    unpack_arity(in, 4);
    ack->to = codec_id_read(in);
    ack->boot = unpack_uint(in, UINT64_MAX);
    ack->term = codec_index_read(in);
    ack->index = codec_index_read(in);
}

static void write_encode(encoder_t *out, const message_t *message) {
    const message_write_t *write = &message->write;
    buffer_t *header = &out->frames->header;
    pack_array(header, 9);
    pack_uint(header, write->seq);
    pack_bool(header, write->has_hard_state);
    pack_uint(header, write->term);
    pack_uint(header, write->vote);
    pack_uint(header, write->commit);
    pack_uint(header, write->time_ms);
    pack_bool(header, write->leader);
    ack_encode(header, &write->ack);
    codec_entries_encode(out, &write->entries);
}

static void write_decode(decoder_t *in, message_t *message) {
    message_write_t *write = &message->write;
    unpack_arity(&in->in, 9);
    write->seq = unpack_uint(&in->in, UINT64_MAX);
    write->has_hard_state = unpack_bool(&in->in);
    write->term = codec_index_read(&in->in);
    write->vote = codec_id_read(&in->in);
    write->commit = codec_index_read(&in->in);
    write->time_ms = codec_index_read(&in->in);
    write->leader = unpack_bool(&in->in);
    ack_decode(&in->in, &write->ack);
    codec_entries_decode(in, &write->entries, 0);
}

static void written_encode(encoder_t *out, const message_t *message) {
    buffer_t *header = &out->frames->header;
    pack_array(header, 5);
    pack_uint(header, message->written.seq);
    pack_uint(header, message->written.first_index);
    pack_uint(header, message->written.applied);
    pack_bool(header, message->written.no_space);
    ack_encode(header, &message->written.ack);
}

static void written_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 5);
    message->written.seq = unpack_uint(&in->in, UINT64_MAX);
    message->written.first_index = codec_index_read(&in->in);
    message->written.applied = codec_index_read(&in->in);
    message->written.no_space = unpack_bool(&in->in);
    ack_decode(&in->in, &message->written.ack);
}

static void fetch_fields_encode(buffer_t *header, const message_fetch_t *fetch, size_t arity) {
    pack_array(header, arity);
    pack_uint(header, fetch->peer);
    pack_uint(header, fetch->from);
    pack_uint(header, fetch->max_bytes);
    pack_int(header, fetch->code);
}

static void fetch_fields_decode(unpack_t *in, message_fetch_t *fetch, size_t arity) {
    unpack_arity(in, arity);
    fetch->peer = codec_id_read(in);
    fetch->from = codec_index_read(in);
    fetch->max_bytes = unpack_uint(in, UINT64_MAX);
    fetch->code = codec_code_read(in);
}

static void fetch_encode(encoder_t *out, const message_t *message) {
    fetch_fields_encode(&out->frames->header, &message->fetch, 4);
}

static void fetch_decode(decoder_t *in, message_t *message) {
    fetch_fields_decode(&in->in, &message->fetch, 4);
}

static void fetched_encode(encoder_t *out, const message_t *message) {
    fetch_fields_encode(&out->frames->header, &message->fetch, 5);
    codec_entries_encode(out, &message->fetch.entries);
}

static void fetched_decode(decoder_t *in, message_t *message) {
    fetch_fields_decode(&in->in, &message->fetch, 5);
    codec_entries_decode(in, &message->fetch.entries, message->fetch.from);
}

static void clock_encode(encoder_t *out, const message_t *message) {
    buffer_t *header = &out->frames->header;
    pack_array(header, 3);
    pack_uint(header, message->clock.time_ms);
    pack_bool(header, message->clock.leader);
    pack_uint(header, message->clock.term);
}

static void clock_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 3);
    message->clock.time_ms = codec_index_read(&in->in);
    message->clock.leader = unpack_bool(&in->in);
    message->clock.term = codec_index_read(&in->in);
}

static void raft_status_encode(encoder_t *out, const message_t *message) {
    const message_raft_status_t *status = &message->raft_status;
    buffer_t *header = &out->frames->header;
    pack_array(header, 10);
    pack_uint(header, status->cluster);
    pack_uint(header, status->node);
    pack_uint(header, status->role);
    pack_uint(header, status->leader);
    pack_uint(header, status->term);
    pack_uint(header, status->commit);
    pack_bool(header, status->no_space);
    pack_uint(header, status->gateway_boot);
    pack_uint(header, status->time_ms);
    codec_config_pack(out, &status->config);
}

static void raft_status_decode(decoder_t *in, message_t *message) {
    message_raft_status_t *status = &message->raft_status;
    unpack_arity(&in->in, 10);
    status->cluster = unpack_uint(&in->in, UINT64_MAX);
    status->node = codec_id_read(&in->in);
    status->role = (raft_role_t) unpack_uint(&in->in, RAFT_LEARNER);
    status->leader = codec_id_read(&in->in);
    status->term = codec_index_read(&in->in);
    status->commit = codec_index_read(&in->in);
    status->no_space = unpack_bool(&in->in);
    status->gateway_boot = unpack_uint(&in->in, UINT64_MAX);
    status->time_ms = codec_index_read(&in->in);
    codec_config_read(&in->in, &status->config);
}

static void read_encode(encoder_t *out, const message_t *message) {
    buffer_t *header = &out->frames->header;
    pack_array(header, 3);
    pack_uint(header, message->read.boot);
    pack_uint(header, message->read.read_id);
    pack_bool(header, message->read.held);
}

static void read_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 3);
    message->read.boot = unpack_uint(&in->in, UINT64_MAX);
    message->read.read_id = unpack_uint(&in->in, UINT64_MAX);
    message->read.held = unpack_bool(&in->in);
}

static void subscribe_encode(encoder_t *out, const message_t *message) {
    pack_array(&out->frames->header, 1);
    pack_bool(&out->frames->header, message->subscribe.on);
}

static void subscribe_decode(decoder_t *in, message_t *message) {
    unpack_arity(&in->in, 1);
    message->subscribe.on = unpack_bool(&in->in);
}

static bool batch_complete(const message_t *message) {
    return message->batch.payload || message->kind == MESSAGE_SKIPPED ||
           message->kind == MESSAGE_STORE_STATUS;
}

static void batch_encode(encoder_t *out, const message_t *message) {
    const message_batch_t *batch = &message->batch;
    buffer_t *header = &out->frames->header;
    pack_array(header, 7);
    pack_uint(header, batch->read_id);
    pack_uint(header, batch->boot);
    pack_uint(header, batch->seq);
    pack_uint(header, batch->revision);
    pack_uint(header, batch->applied);
    pack_uint(header, batch->digest);
    pack_bool(header, batch->no_space);
    encoder_payload_add(out, batch->payload);
    if (!batch_complete(message))
        encoder_fail(out, DRAX_EINVAL);
}

static void batch_decode(decoder_t *in, message_t *message) {
    message_batch_t *batch = &message->batch;
    unpack_arity(&in->in, 7);
    batch->read_id = unpack_uint(&in->in, UINT64_MAX);
    batch->boot = unpack_uint(&in->in, UINT64_MAX);
    batch->seq = unpack_uint(&in->in, UINT64_MAX);
    batch->revision = codec_index_read(&in->in);
    batch->applied = codec_index_read(&in->in);
    batch->digest = unpack_uint(&in->in, UINT64_MAX);
    batch->no_space = unpack_bool(&in->in);
    batch->payload = payload_ref(decoder_payload_take(in));
    if (!batch_complete(message))
        unpack_fail(&in->in);
}

body_t codec_local_body(message_kind_t kind) {
    switch (kind) {
    case MESSAGE_HELLO:
        return (body_t){hello_encode, hello_decode};
    case MESSAGE_OPEN:
        return (body_t){codec_none_encode, codec_none_decode};
    case MESSAGE_FORMAT:
        return (body_t){format_encode, format_decode};
    case MESSAGE_OPENED:
        return (body_t){opened_encode, opened_decode};
    case MESSAGE_WRITE:
        return (body_t){write_encode, write_decode};
    case MESSAGE_WRITTEN:
        return (body_t){written_encode, written_decode};
    case MESSAGE_FETCH:
        return (body_t){fetch_encode, fetch_decode};
    case MESSAGE_FETCHED:
        return (body_t){fetched_encode, fetched_decode};
    case MESSAGE_CLOCK:
        return (body_t){clock_encode, clock_decode};
    case MESSAGE_RAFT_STATUS:
        return (body_t){raft_status_encode, raft_status_decode};
    case MESSAGE_PROPOSE:
    case MESSAGE_PROPOSE_REFUSED:
        return (body_t){codec_propose_encode, codec_propose_decode};
    case MESSAGE_READ:
        return (body_t){read_encode, read_decode};
    case MESSAGE_READ_READY:
    case MESSAGE_READ_FAILED:
        return (body_t){codec_read_encode, codec_read_decode};
    case MESSAGE_SNAPSHOT_STAGED:
        return (body_t){codec_snapshot_encode, codec_snapshot_decode};
    case MESSAGE_SUBSCRIBE:
        return (body_t){subscribe_encode, subscribe_decode};
    case MESSAGE_QUERY:
    case MESSAGE_HISTORY:
    case MESSAGE_CHANGES:
    case MESSAGE_PAST:
    case MESSAGE_ANSWER:
    case MESSAGE_RESULT:
    case MESSAGE_SKIPPED:
    case MESSAGE_STORE_STATUS:
    case MESSAGE_SETTLED:
        return (body_t){batch_encode, batch_decode};
    default:
        return (body_t){NULL, NULL};
    }
}
