/* fuzz_forge.c: see the header. Every choice is one byte of the input. */
#include "tests/fuzz/fuzz_forge.h"

#include <stdlib.h>

#include "broker/block.h"
#include "broker/codec.h"
#include "broker/error.h"
#include "broker/past.h"
#include "broker/rpc.h"

#define ENTRIES_MAX 4u
#define VALUE_DEPTH 4u
#define NUMBER_MASK (((uint64_t) 1 << 62) - 1) /* what the codec carries */

static void must(bool done) {
    if (!done)
        abort(); /* out of memory: not what is tested here */
}

/* ---- requests ---- */

static const char *const words[] = {"a",     "a/",      "a/b",   "a/c", "b",      "dir",
                                    "dir/x", "/",       "value", "=",   "!=",     "<",
                                    "index", "version", "put",   "get", "delete", "x"};
static const char *const options[] = {"stale",   "limit",  "after", "keys_only", "count_only",
                                      "reverse", "ttl_ms", "lease", "client",    "seq",
                                      "fence",   "id",     "from",  "wait_ms",   "value"};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void options_build(fuzz_input_t *in, buffer_t *out, unsigned depth);

static void value_build(fuzz_input_t *in, buffer_t *out, unsigned depth) {
    uint8_t how = fuzz_byte(in);
    const char *word = words[how % COUNT(words)];
    slice_t bytes;
    switch (how >> 5) {
    case 0:
    case 1:
        pack_str(out, word);
        break;
    case 2:
        pack_bin(out, word, strlen(word));
        break;
    case 3:
        pack_uint(out, how & 31u);
        break;
    case 4:
        pack_uint(out, fuzz_number(in, 0));
        break;
    case 5:
        how & 1 ? pack_bool(out, how & 2) : pack_nil(out);
        break;
    case 6:
        bytes = fuzz_short(in);
        pack_bin(out, bytes.data, bytes.size);
        break;
    default:
        if (how & 1 && depth < VALUE_DEPTH) {
            options_build(in, out, depth + 1);
            break;
        }
        unsigned count = depth < VALUE_DEPTH ? (how >> 1) & 3u : 0;
        pack_array(out, count);
        for (unsigned i = 0; i < count; i++)
            value_build(in, out, depth + 1);
    }
}

static void options_build(fuzz_input_t *in, buffer_t *out, unsigned depth) {
    unsigned count = fuzz_byte(in) % 4;
    pack_map(out, count);
    for (unsigned i = 0; i < count; i++) {
        pack_str(out, options[fuzz_byte(in) % COUNT(options)]);
        value_build(in, out, depth);
    }
}

void fuzz_request(fuzz_input_t *in, buffer_t *out) {
    uint8_t how = fuzz_byte(in);
    if (how >= 0xf8) {
        slice_t any = fuzz_short(in);
        buffer_append(out, any.data, any.size);
        return;
    }
    method_t method = (method_t) (1 + how % (METHOD_END - 1));
    unsigned shape = fuzz_byte(in), count = shape & 3u;
    pack_array(out, 4);
    pack_uint(out, RPC_REQUEST);
    pack_uint(out, shape);
    pack_str(out, method_name(method));
    pack_array(out, count + (shape >> 7));
    for (unsigned i = 0; i < count; i++)
        value_build(in, out, 2);
    if (shape >> 7)
        options_build(in, out, 2);
}

/* ---- blocks and entries ---- */

static void expire_build(fuzz_input_t *in, buffer_t *out) {
    unsigned count = fuzz_byte(in) % 4;
    expire_begin(out, count);
    for (unsigned i = 0; i < count; i++) {
        const char *word = words[fuzz_byte(in) % COUNT(words)];
        expire_add(out, (slice_t){(const uint8_t *) word, strlen(word)}, fuzz_byte(in));
    }
}

payload_t *fuzz_block(fuzz_input_t *in, const fuzz_near_t *near) {
    static buffer_t block, command; /* reused: what they hold is copied out */
    uint8_t how = fuzz_byte(in);
    unsigned count = how & 3u;
    bool storage = how & 4; /* a block of storage itself */
    buffer_reset(&block);
    if (how >= 0xfc) {
        slice_t any = fuzz_short(in);
        buffer_append(&block, any.size ? any.data : &how, any.size ? any.size : 1);
    } else {
        uint64_t seq = storage ? 0 : fuzz_number(in, near->seq);
        uint64_t prev = storage ? 0 : how & 8 ? fuzz_number(in, near->seq) : seq - (seq > 0);
        block_begin(&block, storage ? 0 : near->node, storage ? 0 : 1u + (how >> 4 & 1u), seq, prev,
                    count);
        for (unsigned i = 0; i < count; i++) {
            buffer_reset(&command);
            how & 32 && i == 0 ? expire_build(in, &command) : fuzz_request(in, &command);
            block_add(&block, (slice_t){command.data, command.size});
        }
    }
    payload_t *payload = payload_copy(block.data, block.size);
    must(payload && !block.failed && !command.failed);
    return payload;
}

static void config_build(fuzz_input_t *in, const fuzz_near_t *near, config_t *out) {
    memset(out, 0, sizeof *out);
    out->index = fuzz_number(in, near->index);
    uint8_t count = fuzz_byte(in);
    out->count = count == 0xff ? LIMIT_MEMBERS : count % 5;
    for (size_t i = 0; i < out->count; i++) {
        uint8_t how = fuzz_byte(in);
        member_t *member = &out->members[i];
        member->id = i + 1 + (how >> 6);
        member->role = how & 1 ? MEMBER_LEARNER : MEMBER_VOTER;
        memcpy(member->addr, "h:1", 4);
        memcpy(member->raft_addr, "h:2", 4);
        member->raft_addr[2] = (char) ('2' + i);
    }
}

void fuzz_entry(fuzz_input_t *in, uint64_t index, uint64_t term, const fuzz_near_t *near,
                entry_t *out) {
    uint8_t how = fuzz_byte(in);
    *out = (entry_t){.index = index, .term = term};
    out->time_ms = fuzz_number(in, near->time_ms) & NUMBER_MASK;
    if (how < 0xc0) {
        out->kind = ENTRY_BLOCK;
        out->payload = fuzz_block(in, near);
    } else if (how < 0xe0) {
        out->kind = ENTRY_CONFIG;
        out->config = calloc(1, sizeof *out->config);
        must(out->config != NULL);
        config_build(in, near, out->config);
        out->config->index = index;
    }
}

static void entries_build(fuzz_input_t *in, const fuzz_near_t *near, uint64_t first,
                          entries_t *out) {
    unsigned count = fuzz_byte(in) % (ENTRIES_MAX + 1);
    uint64_t term = fuzz_number(in, near->term);
    for (unsigned i = 0; i < count; i++) {
        entry_t entry;
        term += fuzz_byte(in) >> 7;
        fuzz_entry(in, first + i, term, near, &entry);
        must(entries_push(out, &entry) == 0);
        entry_clear(&entry);
    }
}

/* ---- messages ---- */

static void event_build(fuzz_input_t *in, const fuzz_near_t *near, buffer_t *out) {
    uint8_t how = fuzz_byte(in);
    pack_map(out, 3);
    pack_str(out, "type");
    pack_str(out, how & 0x80 ? "put" : "expire");
    pack_str(out, "key");
    pack_str(out, words[how % COUNT(words)]);
    pack_str(out, "index");
    pack_uint(out, fuzz_number(in, near->index));
}

static void past_build(fuzz_input_t *in, const fuzz_near_t *near, buffer_t *out) {
    static buffer_t events;
    past_answer_t answer = {.compacted = fuzz_byte(in) % 4, .count = fuzz_byte(in) % 3};
    answer.next = fuzz_number(in, near->index);
    buffer_reset(&events);
    for (size_t i = 0; i < answer.count; i++)
        event_build(in, near, &events);
    answer.events = (slice_t){events.data, events.size};
    past_answer_write(out, &answer);
}

/* What an element of a batch of this kind is; sometimes any bytes. */
static void element_build(fuzz_input_t *in, message_kind_t kind, const fuzz_near_t *near,
                          buffer_t *out) {
    uint8_t how = fuzz_byte(in);
    const char *word = words[how % COUNT(words)];
    past_question_t question = {.key = {(const uint8_t *) word, strlen(word)},
                                .kind = (past_kind_t) (how >> 5 & 3)};
    slice_t any;
    switch (how < 0xf0 ? kind : MESSAGE_NONE) {
    case MESSAGE_QUERY:
        fuzz_request(in, out);
        break;
    case MESSAGE_HISTORY:
        question.from = fuzz_number(in, near->index);
        past_question_write(out, &question);
        break;
    case MESSAGE_PAST:
        past_build(in, near, out);
        break;
    case MESSAGE_CHANGES:
        event_build(in, near, out);
        break;
    default:
        any = fuzz_short(in);
        buffer_append(out, any.data, any.size);
    }
}

static payload_t *batch_build(fuzz_input_t *in, message_kind_t kind, const fuzz_near_t *near) {
    static buffer_t batch, element;
    unsigned count = fuzz_byte(in) % 4;
    buffer_reset(&batch);
    batch_begin(&batch, count);
    for (unsigned i = 0; i < count; i++) {
        uint64_t token = fuzz_number(in, kind == MESSAGE_CHANGES ? near->index : 1);
        buffer_reset(&element);
        element_build(in, kind, near, &element);
        batch_add(&batch, token, (slice_t){element.data, element.size});
    }
    if (fuzz_byte(in) == 0xff)
        batch.size /= 2;
    payload_t *payload = payload_copy(batch.data, batch.size);
    must(payload && !batch.failed && !element.failed);
    return payload;
}

static void snapshot_build(fuzz_input_t *in, const fuzz_near_t *near, message_snapshot_t *out) {
    out->peer = fuzz_byte(in) % 4;
    out->session = fuzz_number(in, near->seq);
    out->chunk = fuzz_byte(in) % 4;
    out->last = fuzz_byte(in) & 1;
    out->code = -(int) (fuzz_byte(in) % 4);
    out->index = fuzz_number(in, near->index);
    out->snapshot_term = fuzz_number(in, near->term);
    out->time_ms = fuzz_number(in, near->time_ms);
    config_build(in, near, &out->config);
    slice_t bytes = fuzz_short(in);
    out->payload = payload_copy(bytes.data, bytes.size);
    must(out->payload != NULL);
}

static void admin_build(fuzz_input_t *in, const fuzz_near_t *near, message_admin_t *out) {
    out->token = fuzz_number(in, 1);
    out->op = (admin_op_t) (ADMIN_ADD + fuzz_byte(in) % ADMIN_MOVE);
    out->id = fuzz_number(in, 1);
    memcpy(out->addr, "h:1", 4);
    memcpy(out->raft_addr, "h:2", 4);
    out->raft_addr[2] = (char) ('1' + fuzz_byte(in) % 8);
    out->code = -(int) (fuzz_byte(in) % 30);
    out->leader = fuzz_byte(in) % 4;
    config_build(in, near, &out->config);
}

static void opened_build(fuzz_input_t *in, const fuzz_near_t *near, message_opened_t *out) {
    out->formatted = fuzz_byte(in) & 1;
    out->cluster = near->cluster;
    out->node = near->node;
    out->term = fuzz_number(in, near->term);
    out->vote = fuzz_byte(in) % 4;
    out->first_index = fuzz_number(in, 1);
    out->last_index = fuzz_number(in, near->index);
    out->commit = fuzz_number(in, near->index);
    out->time_ms = fuzz_number(in, near->time_ms);
    out->gateway_boot = fuzz_byte(in);
    config_build(in, near, &out->hint);
    out->run_count = fuzz_byte(in) % 4;
    out->runs = calloc(out->run_count + 1, sizeof *out->runs);
    out->config_count = fuzz_byte(in) % 3;
    out->configs = calloc(out->config_count + 1, sizeof *out->configs);
    must(out->runs && out->configs);
    for (size_t i = 0; i < out->run_count; i++)
        out->runs[i] = (term_run_t){fuzz_number(in, 0), fuzz_number(in, 0)};
    for (size_t i = 0; i < out->config_count; i++)
        config_build(in, near, &out->configs[i]);
}

static void status_build(fuzz_input_t *in, const fuzz_near_t *near, message_raft_status_t *out) {
    out->cluster = near->cluster;
    out->node = near->node;
    out->role = (raft_role_t) (fuzz_byte(in) % 4);
    out->leader = fuzz_byte(in) % 4;
    out->term = fuzz_number(in, near->term);
    out->commit = fuzz_number(in, near->index);
    out->no_space = fuzz_byte(in) & 1;
    out->gateway_boot = fuzz_number(in, near->seq);
    out->time_ms = fuzz_number(in, near->time_ms);
    config_build(in, near, &out->config);
}

static void batch_message_build(fuzz_input_t *in, const fuzz_near_t *near, message_t *out) {
    out->batch.read_id = fuzz_number(in, near->seq);
    out->batch.boot = fuzz_number(in, 1);
    out->batch.seq = fuzz_number(in, near->seq);
    out->batch.revision = fuzz_number(in, near->index);
    out->batch.applied = fuzz_number(in, near->index);
    out->batch.digest = fuzz_byte(in);
    out->batch.no_space = fuzz_byte(in) & 1;
    if (out->kind != MESSAGE_STORE_STATUS)
        out->batch.payload = batch_build(in, out->kind, near);
}

static void write_build(fuzz_input_t *in, const fuzz_near_t *near, message_write_t *out) {
    uint8_t how = fuzz_byte(in);
    out->seq = how & 1 ? near->seq + 1 : fuzz_number(in, near->seq);
    out->has_hard_state = how & 2;
    out->term = fuzz_number(in, near->term);
    out->vote = how & 4 ? 1 : 0;
    out->leader = how & 8;
    out->commit = fuzz_number(in, near->index);
    out->time_ms = fuzz_number(in, near->time_ms);
    entries_build(in, near, how & 16 ? near->index + 1 : fuzz_number(in, near->index),
                  &out->entries);
}

static void vote_build(fuzz_input_t *in, const fuzz_near_t *near, message_vote_t *out) {
    out->last_index = fuzz_number(in, near->index);
    out->last_term = fuzz_number(in, near->term);
    out->transfer = fuzz_byte(in) & 1;
}

static void append_build(fuzz_input_t *in, const fuzz_near_t *near, message_append_t *out) {
    out->prev_index = fuzz_number(in, near->index);
    out->prev_term = fuzz_number(in, near->term);
    out->commit = fuzz_number(in, near->index);
    out->time_ms = fuzz_number(in, near->time_ms);
    entries_build(in, near, out->prev_index + 1, &out->entries);
}

static void peer_body_build(fuzz_input_t *in, const fuzz_near_t *near, message_t *out) {
    switch (out->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_VOTE:
        vote_build(in, near, &out->vote);
        break;
    case MESSAGE_PRE_VOTE_RESULT:
    case MESSAGE_VOTE_RESULT:
        out->vote_result.granted = fuzz_byte(in) & 1;
        break;
    case MESSAGE_APPEND:
        append_build(in, near, &out->append);
        break;
    case MESSAGE_APPEND_RESULT:
        out->append_result.rejected = fuzz_byte(in) & 1;
        out->append_result.index = fuzz_number(in, near->index);
        out->append_result.hint_index = fuzz_number(in, near->index);
        out->append_result.hint_term = fuzz_number(in, near->term);
        break;
    case MESSAGE_HEARTBEAT:
        out->heartbeat.commit = fuzz_number(in, near->index);
        out->heartbeat.round = fuzz_number(in, near->seq);
        out->heartbeat.time_ms = fuzz_number(in, near->time_ms);
        break;
    case MESSAGE_HEARTBEAT_RESULT:
        out->heartbeat_result.round = fuzz_number(in, near->seq);
        out->heartbeat_result.watched = out->heartbeat_result.round & 1;
        break;
    default:
        break;
    }
}

static void body_build(fuzz_input_t *in, const fuzz_near_t *near, message_t *out) {
    switch (out->kind) {
    case MESSAGE_FORWARD:
    case MESSAGE_PROPOSE:
    case MESSAGE_PROPOSE_REFUSED:
        out->propose.boot = fuzz_number(in, 1);
        out->propose.seq = fuzz_number(in, near->seq);
        if (out->kind == MESSAGE_PROPOSE_REFUSED)
            out->propose.code = -(int) (fuzz_byte(in) % 30);
        else
            out->propose.payload = fuzz_block(in, near);
        break;
    case MESSAGE_READ_INDEX:
    case MESSAGE_READ_INDEX_RESULT:
    case MESSAGE_READ:
    case MESSAGE_READ_READY:
    case MESSAGE_READ_FAILED:
        out->read.boot = fuzz_number(in, 1);
        out->read.read_id = fuzz_number(in, near->seq);
        out->read.index = fuzz_number(in, near->index);
        out->read.held = out->kind == MESSAGE_READ && out->read.index & 1;
        out->read.code = out->kind == MESSAGE_READ_FAILED ? -(int) (fuzz_byte(in) % 30) : 0;
        break;
    case MESSAGE_SNAPSHOT_OFFER:
    case MESSAGE_SNAPSHOT_FETCH:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_STAGED:
        snapshot_build(in, near, &out->snapshot);
        break;
    case MESSAGE_ADMIN:
    case MESSAGE_ADMIN_RESULT:
        admin_build(in, near, &out->admin);
        break;
    case MESSAGE_FORMAT:
        out->format.cluster = near->cluster;
        out->format.node = near->node;
        config_build(in, near, &out->format.hint);
        break;
    case MESSAGE_WRITE:
        write_build(in, near, &out->write);
        break;
    case MESSAGE_FETCH:
    case MESSAGE_FETCHED:
        out->fetch.peer = fuzz_byte(in) % 4;
        out->fetch.from = fuzz_number(in, near->index);
        out->fetch.max_bytes = fuzz_number(in, 0);
        if (out->kind == MESSAGE_FETCHED)
            entries_build(in, near, out->fetch.from, &out->fetch.entries);
        break;
    case MESSAGE_CLOCK:
        out->clock.time_ms = fuzz_number(in, near->time_ms);
        out->clock.leader = fuzz_byte(in) & 1;
        out->clock.term = fuzz_number(in, near->term);
        break;
    case MESSAGE_OPENED:
        opened_build(in, near, &out->opened);
        break;
    case MESSAGE_WRITTEN:
        out->written.seq = fuzz_number(in, near->seq);
        out->written.first_index = fuzz_number(in, 1);
        out->written.applied = fuzz_number(in, near->index);
        out->written.no_space = fuzz_byte(in) & 1;
        out->written.ack.to = fuzz_byte(in) % 4;
        out->written.ack.boot = near->seq;
        out->written.ack.term = fuzz_number(in, near->term);
        out->written.ack.index = fuzz_number(in, near->index);
        break;
    case MESSAGE_MEMBERS:
        config_build(in, near, &out->members.config);
        break;
    case MESSAGE_SUBSCRIBE:
        out->subscribe.on = fuzz_byte(in) & 1;
        break;
    case MESSAGE_RAFT_STATUS:
        status_build(in, near, &out->raft_status);
        break;
    case MESSAGE_QUERY:
    case MESSAGE_ANSWER:
    case MESSAGE_RESULT:
    case MESSAGE_SKIPPED:
    case MESSAGE_STORE_STATUS:
    case MESSAGE_HISTORY:
    case MESSAGE_CHANGES:
    case MESSAGE_PAST:
        batch_message_build(in, near, out);
        break;
    default:
        peer_body_build(in, near, out);
    }
}

bool fuzz_travel(message_t *message) {
    static frames_t frames;
    bool travels = codec_encode(&frames, message) == 0;
    message_clear(message);
    if (!travels)
        return false;
    slice_t header = {frames.header.data, frames.header.size};
    int rc = codec_decode(message, header, frames.payloads, frames.count);
    frames_reset(&frames);
    return rc == 0;
}

bool fuzz_message(fuzz_input_t *in, message_kind_t kind, const fuzz_near_t *near, message_t *out) {
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->from_boot = 1;
    if (message_is_peer(kind)) {
        uint8_t how = fuzz_byte(in);
        out->from_boot = 1u + (how >> 5 & 1u);
        out->cluster = near->cluster + (how >> 7);
        out->from = 2u + (how & 3u);
        out->to = near->node;
        out->term = fuzz_number(in, near->term);
    }
    body_build(in, near, out);
    return fuzz_travel(out);
}
