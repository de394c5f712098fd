/* gateway_fixture.c: see gateway_fixture.h. */
#include "gateway_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/block.h"
#include "broker/error.h"
#include "text_msgpack.h"

static int respond(void *hint, const envelope_t *envelope, slice_t response) {
    fixture_t *f = hint;
    assert_int_equal(envelope->id_size, 1);
    char client = (char) envelope->bytes[2];
    if (client == f->refusing)
        return f->refusing_code;
    assert_true(f->answer_count < sizeof f->answers / sizeof f->answers[0]);
    given_answer_t *answer = &f->answers[f->answer_count++];
    answer->client = client;
    buffer_append(&answer->bytes, response.data, response.size);
    return 0;
}

static void log_count(void *hint, log_level_t level, const char *actor, const char *text) {
    fixture_t *f = hint;
    (void) level;
    (void) actor;
    (void) text;
    f->log_lines++;
}

int fixture_new(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    f->log = (log_t){LOG_LEVEL_WARNING, "gateway", log_count, f};
    f->now_ms = 10000;
    fake_post_init(&f->post, ACTOR_GATEWAY);
    gateway_options_t options = {.post = &f->post.post,
                                 .log = &f->log,
                                 .boot = GATEWAY_BOOT,
                                 .max_request_bytes = GATEWAY_MAX_REQUEST,
                                 .respond = respond,
                                 .hint = f};
    *state = f;
    return gateway_actor_new(&f->gateway, &options);
}

int fixture_destroy(void **state) {
    fixture_t *f = *state;
    gateway_actor_destroy(&f->gateway);
    fake_post_clear(&f->post);
    for (size_t i = 0; i < f->answer_count; i++)
        buffer_free(&f->answers[i].bytes);
    free(f);
    return 0;
}

/* ---- in ---- */

void client_sends_bytes(fixture_t *f, char client, slice_t payload) {
    envelope_t *envelope = malloc(sizeof *envelope + 5);
    assert_non_null(envelope);
    static const uint8_t frames[] = {1, 0, '?', 0, 0}; /* the routing id and REQ's empty frame */
    envelope->size = sizeof frames;
    envelope->id_size = 1;
    memcpy(envelope->bytes, frames, sizeof frames);
    envelope->bytes[2] = (uint8_t) client;
    gateway_actor_request(f->gateway, &envelope, payload, f->now_ms);
    assert_null(envelope);
}

void client_sends(fixture_t *f, char client, const char *request) {
    buffer_t bytes = {0};
    text_msgpack(&bytes, request);
    client_sends_bytes(f, client, (slice_t){bytes.data, bytes.size});
    buffer_free(&bytes);
}

void message_comes(fixture_t *f, actor_t from, message_t *message) {
    message->actor = from;
    message->from_boot = f->post.boots[from];
    gateway_actor_ops.receive(f->gateway, message, f->now_ms);
    assert_int_equal(message->kind, MESSAGE_NONE);
}

void status_comes(fixture_t *f, uint64_t leader, uint64_t term) {
    message_t message = {.kind = MESSAGE_RAFT_STATUS};
    message.raft_status.cluster = 99;
    message.raft_status.node = GATEWAY_NODE;
    message.raft_status.leader = leader;
    message.raft_status.role = leader == GATEWAY_NODE ? RAFT_LEADER : RAFT_FOLLOWER;
    message.raft_status.term = term;
    message_comes(f, ACTOR_RAFT, &message);
}

void result_comes(fixture_t *f, uint64_t seq, size_t count, const char *const *outcomes) {
    buffer_t batch = {0}, outcome = {0};
    batch_begin(&batch, count);
    for (size_t i = 0; i < count; i++) {
        buffer_reset(&outcome);
        text_msgpack(&outcome, outcomes[i]);
        batch_add(&batch, 0, (slice_t){outcome.data, outcome.size});
    }
    message_t message = {.kind = MESSAGE_RESULT};
    message.batch.boot = GATEWAY_BOOT;
    message.batch.seq = seq;
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    buffer_free(&outcome);
    message_comes(f, ACTOR_STORAGE, &message);
}

void result_comes_simple(fixture_t *f, uint64_t seq) {
    char outcome[64];
    const char *outcomes[] = {outcome};
    snprintf(outcome, sizeof outcome, "nil {\"revision\": %u}", (unsigned) seq);
    result_comes(f, seq, 1, outcomes);
}

void skipped_comes(fixture_t *f, uint64_t last_seq) {
    message_t message = {.kind = MESSAGE_SKIPPED};
    message.batch.boot = GATEWAY_BOOT;
    message.batch.seq = last_seq;
    message_comes(f, ACTOR_STORAGE, &message);
}

void refused_comes(fixture_t *f, uint64_t seq, int code) {
    message_t message = {.kind = MESSAGE_PROPOSE_REFUSED,
                         .propose = {.boot = GATEWAY_BOOT, .seq = seq, .code = code}};
    message_comes(f, ACTOR_RAFT, &message);
}

void answer_comes(fixture_t *f, uint64_t token, const char *outcome) {
    answer_comes_held(f, 0, 0, token, outcome);
}

void answer_comes_held(fixture_t *f, uint64_t read_id, uint64_t applied, uint64_t token,
                       const char *outcome) {
    buffer_t batch = {0}, bytes = {0};
    text_msgpack(&bytes, outcome);
    batch_begin(&batch, 1);
    batch_add(&batch, token, (slice_t){bytes.data, bytes.size});
    message_t message = {.kind = MESSAGE_ANSWER, .batch = {.seq = read_id, .applied = applied}};
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    buffer_free(&bytes);
    message_comes(f, ACTOR_STORAGE, &message);
}

void turn(fixture_t *f) {
    assert_int_equal(gateway_actor_ops.turn(f->gateway, f->now_ms), 0);
}

void turn_at(fixture_t *f, uint64_t now_ms) {
    f->now_ms = now_ms;
    turn(f);
}

/* ---- out ---- */

message_t *propose_expected(fixture_t *f, uint64_t seq, uint64_t prev, size_t count) {
    message_t *message = fake_post_expect(&f->post, MESSAGE_PROPOSE);
    assert_int_equal(message->propose.seq, seq);
    block_t block;
    assert_int_equal(block_open(&block, payload_slice(message->propose.payload)), 0);
    assert_int_equal(block.node, GATEWAY_NODE);
    assert_int_equal(block.boot, message->propose.boot);
    assert_int_equal(block.seq, seq);
    assert_int_equal(block.prev, prev);
    assert_int_equal(block.count, count);
    slice_t command;
    int more = 1;
    for (size_t i = 0; i <= count; i++) {
        more = block_next(&block, &command);
        assert_int_equal(more, i < count);
    }
    return message;
}

void nothing_expected(fixture_t *f) {
    message_t *message = fake_post_next(&f->post);
    assert_string_equal(message ? message_kind_name(message->kind) : "", "");
}

static given_answer_t *answer_next(fixture_t *f, char client) {
    assert_true(f->answer_at < f->answer_count);
    given_answer_t *answer = &f->answers[f->answer_at++];
    assert_int_equal(answer->client, client);
    return answer;
}

void answer_expected(fixture_t *f, char client, const char *response) {
    given_answer_t *answer = answer_next(f, client);
    buffer_t wanted = {0};
    text_msgpack(&wanted, response);
    assert_int_equal(answer->bytes.size, wanted.size);
    assert_memory_equal(answer->bytes.data, wanted.data, wanted.size);
    buffer_free(&wanted);
}

void error_expected(fixture_t *f, char client, uint32_t msgid, const char *code) {
    given_answer_t *answer = answer_next(f, client);
    buffer_t wanted = {0};
    pack_array(&wanted, 4);
    pack_uint(&wanted, 1);
    pack_uint(&wanted, msgid);
    pack_array(&wanted, 2);
    pack_str(&wanted, code);
    assert_true(answer->bytes.size > wanted.size);
    assert_memory_equal(answer->bytes.data, wanted.data, wanted.size);
    buffer_free(&wanted);
}

void no_answer_expected(fixture_t *f) {
    assert_int_equal(f->answer_at, f->answer_count);
}

uint64_t query_token(const message_t *query) {
    batch_t batch;
    uint64_t token = 0;
    slice_t bytes;
    assert_int_equal(batch_open(&batch, payload_slice(query->batch.payload)), 0);
    assert_int_equal(batch_next(&batch, &token, &bytes), 1);
    return token;
}
