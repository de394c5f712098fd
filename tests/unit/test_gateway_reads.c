/* test_gateway_reads.c: what a gateway answers without the log: reads, its own methods, membership
 * results, refusals; its limits and its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/gateway_internal.h"
#include "broker/error.h"
#include "gateway_fixture.h"
#include "text_msgpack.h"

#define GET_1 "[0, 1, \"get\", [\"k\"]]"
#define GET_2 "[0, 2, \"get\", [\"k\"]]"
#define STALE_3 "[0, 3, \"get\", [\"k\", {\"stale\": true}]]"
#define PUT_1 "[0, 1, \"put\", [\"k\", \"v\"]]"

static uint64_t query_expected(fixture_t *f, uint64_t read_id) {
    message_t *query = fake_post_expect(&f->post, MESSAGE_QUERY);
    assert_int_equal(query->batch.read_id, read_id);
    return query_token(query);
}

static void ask_expected(fixture_t *f, uint64_t read_id, bool held) {
    message_t *read = fake_post_expect(&f->post, MESSAGE_READ);
    assert_int_equal(read->read.boot, GATEWAY_BOOT);
    assert_int_equal(read->read.read_id, read_id);
    assert_int_equal(read->read.held, held);
}

/* The index is for storage, where the query waits. */
static void index_ask_expected(fixture_t *f, uint64_t read_id) {
    ask_expected(f, read_id, false);
}

/* The index is for the gateway, where the answer waits. */
static void held_ask_expected(fixture_t *f, uint64_t read_id) {
    ask_expected(f, read_id, true);
}

/* One that storage answers at once, as `read_id`. */
static uint64_t held_query_expected(fixture_t *f, uint64_t read_id) {
    message_t *query = fake_post_expect(&f->post, MESSAGE_QUERY);
    assert_int_equal(query->batch.seq, read_id);
    assert_int_equal(query->batch.read_id, 0);
    assert_int_equal(query->batch.applied, 0);
    return query_token(query);
}

/* One that storage answers when it has got to `index`. */
static uint64_t query_expected_at(fixture_t *f, uint64_t index) {
    message_t *query = fake_post_expect(&f->post, MESSAGE_QUERY);
    assert_int_equal(query->batch.seq, 0);
    assert_int_equal(query->batch.read_id, 0);
    assert_int_equal(query->batch.applied, index);
    return query_token(query);
}

/* Sends GET_1 alone, so that its answer is held; the token of its query. */
static uint64_t get_is_held(fixture_t *f, uint64_t read_id) {
    client_sends(f, 'A', GET_1);
    turn(f);
    held_ask_expected(f, read_id);
    return held_query_expected(f, read_id);
}

static void ready_comes(fixture_t *f, uint64_t boot, uint64_t read_id, uint64_t index) {
    message_t message = {.kind = MESSAGE_READ_READY,
                         .read = {.boot = boot, .read_id = read_id, .index = index}};
    message_comes(f, ACTOR_RAFT, &message);
}

static void read_refused_comes(fixture_t *f) {
    message_t message = {.kind = MESSAGE_READ_FAILED,
                         .read = {.boot = GATEWAY_BOOT, .code = DRAX_ENOTLEADER}};
    message_comes(f, ACTOR_RAFT, &message);
}

/* ---- reads ---- */

static void a_read_goes_to_storage_and_raft(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'B', PUT_1);
    client_sends(f, 'A', GET_1);
    turn(f);
    propose_expected(f, 1, 0, 1);
    index_ask_expected(f, 1); /* first, as it takes longer */
    uint64_t token = query_expected(f, 1);
    nothing_expected(f);
    turn(f);
    nothing_expected(f);
    answer_comes(f, token, "nil {\"value\": b\"v\"}");
    answer_expected(f, 'A', "[1, 1, nil, {\"value\": b\"v\"}]");
    answer_comes(f, token, "nil {\"value\": b\"v\"}");
    no_answer_expected(f); /* once */
    turn(f);
    nothing_expected(f);
}

/* ---- answers that are held (gateway_held.c) ---- */

static void an_answer_waits_for_its_index(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    uint64_t token = get_is_held(f, 1);
    answer_comes_held(f, 1, 40, token, "nil {}");
    ready_comes(f, GATEWAY_BOOT - 1, 1, 40); /* of an earlier gateway */
    ready_comes(f, GATEWAY_BOOT, 0, 40);     /* of earlier reads */
    no_answer_expected(f);
    ready_comes(f, GATEWAY_BOOT, 1, 40);
    answer_expected(f, 'A', "[1, 1, nil, {}]");
    ready_comes(f, GATEWAY_BOOT, 1, 40);
    no_answer_expected(f); /* once */
    nothing_expected(f);
}

static void an_index_waits_for_its_answer(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    uint64_t token = get_is_held(f, 1);
    ready_comes(f, GATEWAY_BOOT, 2, 40); /* of later reads, and so of this one */
    nothing_expected(f);
    answer_comes_held(f, 1, 40, token, "nil {}");
    answer_expected(f, 'A', "[1, 1, nil, {}]");
    nothing_expected(f);
}

static void an_answer_of_before_its_index_is_not_given(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    for (uint64_t read_id = 1; read_id <= 2; read_id++) {
        uint64_t token = get_is_held(f, read_id);
        if (read_id == 1)
            ready_comes(f, GATEWAY_BOOT, read_id, 41);
        answer_comes_held(f, read_id, 40, token, "nil {\"value\": b\"old\"}");
        if (read_id == 2)
            ready_comes(f, GATEWAY_BOOT, read_id, 41);
        no_answer_expected(f);
        assert_int_equal(query_expected_at(f, 41), token);
        answer_comes_held(f, read_id, 40, token, "nil {\"value\": b\"old\"}");
        no_answer_expected(f);
        answer_comes(f, token, "nil {\"value\": b\"new\"}");
        answer_expected(f, 'A', "[1, 1, nil, {\"value\": b\"new\"}]");
        nothing_expected(f);
    }
}

/* Storage answers a long query in parts, each at the state of its turn. */
static void parts_are_compared_and_not_kept(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'B', GET_2);
    uint64_t first = get_is_held(f, 1); /* of B's query, in the same turn */
    answer_comes_held(f, 1, 40, first, "nil {}");
    ready_comes(f, GATEWAY_BOOT, 1, 40);
    no_answer_expected(f);
    uint64_t again = query_expected_at(f, 40);
    assert_int_equal(again, first);
    answer_comes(f, first, "nil {}");
    answer_expected(f, 'B', "[1, 2, nil, {}]");
}

static void what_is_large_is_not_held(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    uint64_t token = get_is_held(f, 1);
    answer_comes_held(f, 1, 40, token, "nil {\"value\": b\"v\"*4194304}"); /* 4 MiB and its frame */
    ready_comes(f, GATEWAY_BOOT, 1, 40);
    no_answer_expected(f);
    answer_comes(f, query_expected_at(f, 40), "nil {\"value\": b\"v\"*4194304}");
    assert_int_equal(f->answer_count, ++f->answer_at);
}

static void only_few_are_held(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    for (unsigned i = 0; i < 16; i++)
        client_sends(f, 'A', GET_1);
    turn(f);
    held_ask_expected(f, 1);
    held_query_expected(f, 1);
    client_sends(f, 'A', GET_1); /* those are under way */
    turn(f);
    nothing_expected(f);
    turn_at(f, f->now_ms + GATEWAY_GATHER_READS_MS);
    index_ask_expected(f, 2);
    query_expected(f, 2);
    turn_at(f, f->now_ms + 5000);
    fake_post_skip(&f->post);
    f->answer_at = f->answer_count;
    for (unsigned i = 0; i < 17; i++)
        client_sends(f, 'A', GET_1);
    turn(f);
    index_ask_expected(f, 3);
    query_expected(f, 3);
}

/* Its first pairs may come later, and at another state than that of the turn. */
static void a_watch_is_not_held(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', "[0, 1, \"watch_tree\", [\"d\"]]");
    fake_post_expect(&f->post, MESSAGE_SUBSCRIBE); /* to storage, and to raft */
    fake_post_expect(&f->post, MESSAGE_SUBSCRIBE);
    turn(f);
    index_ask_expected(f, 1);
    query_expected(f, 1);
}

/* It has forgotten who asked it for an index. */
static void with_a_new_raft_they_wait_at_storage(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    uint64_t token = get_is_held(f, 1);
    gateway_actor_ops.neighbour(f->gateway, ACTOR_RAFT, f->now_ms);
    assert_int_equal(query_expected(f, 1), token);
    answer_comes_held(f, 1, 40, token, "nil {}");
    status_comes(f, 5, 1);
    turn(f);
    index_ask_expected(f, 1);
    no_answer_expected(f);
    answer_comes(f, token, "nil {}");
    answer_expected(f, 'A', "[1, 1, nil, {}]");
    nothing_expected(f);
}

static void a_new_storage_is_asked_anew(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    uint64_t token = get_is_held(f, 1);
    answer_comes_held(f, 1, 40, token, "nil {}");
    gateway_actor_ops.neighbour(f->gateway, ACTOR_STORAGE, f->now_ms);
    ready_comes(f, GATEWAY_BOOT, 1, 40);
    no_answer_expected(f);
    turn(f);
    held_ask_expected(f, 2);
    assert_int_equal(held_query_expected(f, 2), token);
}

/* ---- waiting ---- */

static void a_read_without_leader_waits_at_storage(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', GET_1);
    turn(f);
    query_expected(f, 1);
    nothing_expected(f);
    status_comes(f, 5, 1);
    turn(f);
    index_ask_expected(f, 1);
    nothing_expected(f);
}

static void a_stale_read_needs_no_raft(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', STALE_3);
    turn(f);
    uint64_t token = query_expected(f, 0);
    nothing_expected(f);
    answer_comes(f, token, "nil {}");
    answer_expected(f, 'A', "[1, 3, nil, {}]");
}

static void a_read_index_is_asked_for_again(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', GET_1);
    turn(f);
    held_ask_expected(f, 1);
    held_query_expected(f, 1);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms), 10250);
    turn_at(f, 10249);
    nothing_expected(f);
    turn_at(f, 10250);
    held_ask_expected(f, 1);
    read_refused_comes(f); /* sooner, but not at once */
    turn(f);
    nothing_expected(f);
    turn_at(f, 10270);
    held_ask_expected(f, 1);
    nothing_expected(f);
}

static void reads_gather_while_as_many_are_with_storage(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1); /* so that none is held */
    client_sends(f, 'A', GET_1);
    client_sends(f, 'A', GET_2);
    turn(f);
    propose_expected(f, 1, 0, 1);
    index_ask_expected(f, 1);
    uint64_t token = query_expected(f, 1);
    result_comes_simple(f, 1);
    client_sends(f, 'B', GET_1);
    turn(f);
    nothing_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms),
                     f->now_ms + GATEWAY_GATHER_READS_MS);
    answer_comes(f, token, "nil {}"); /* as many with storage as wait */
    turn(f);
    index_ask_expected(f, 2);
    query_expected(f, 2);
    client_sends(f, 'B', GET_1);
    turn(f);
    nothing_expected(f);
    client_sends(f, 'A', GET_2);
    turn(f);
    index_ask_expected(f, 3);
    query_expected(f, 3);
    nothing_expected(f);
}

static void a_write_and_a_read_are_under_way(fixture_t *f) {
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    client_sends(f, 'A', GET_1);
    turn(f);
    propose_expected(f, 1, 0, 1);
    index_ask_expected(f, 1);
    query_expected(f, 1);
}

static void beside_writes_more_reads_gather(void **state) {
    fixture_t *f = *state;
    a_write_and_a_read_are_under_way(f);
    for (unsigned i = 1; i < GATEWAY_MIXED_READS; i++)
        client_sends(f, 'B', GET_1);
    turn(f);
    nothing_expected(f);
    client_sends(f, 'B', GET_1);
    turn(f);
    index_ask_expected(f, 2);
    query_expected(f, 2);
    nothing_expected(f);
}

static void reads_leave_with_a_block(void **state) {
    fixture_t *f = *state;
    a_write_and_a_read_are_under_way(f);
    client_sends(f, 'B', GET_1);
    client_sends(f, 'B', PUT_1);
    turn(f);
    propose_expected(f, 2, 1, 1);
    index_ask_expected(f, 2);
    query_expected(f, 2);
    nothing_expected(f);
}

static void a_new_storage_gets_the_queries_again(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    client_sends(f, 'A', GET_1);
    client_sends(f, 'A', STALE_3);
    turn(f);
    propose_expected(f, 1, 0, 1);
    index_ask_expected(f, 1);
    uint64_t token = query_expected(f, 1);
    uint64_t stale = query_expected(f, 0);
    client_sends(f, 'B', GET_2); /* not sent yet: must not go twice */
    gateway_actor_ops.neighbour(f->gateway, ACTOR_STORAGE, f->now_ms);
    turn(f);
    index_ask_expected(f, 2); /* the new storage knows of no earlier one */
    message_t *query = fake_post_expect(&f->post, MESSAGE_QUERY);
    assert_int_equal(query->batch.read_id, 2);
    batch_t batch;
    assert_int_equal(batch_open(&batch, payload_slice(query->batch.payload)), 0);
    assert_int_equal(batch.count, 2);
    assert_int_equal(query_token(query), token);
    assert_int_equal(query_expected(f, 0), stale);
    nothing_expected(f);
    answer_comes(f, token, "nil {}");
    answer_expected(f, 'A', "[1, 1, nil, {}]");
}

static void reads_have_a_deadline(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', GET_1);
    client_sends(f, 'A', STALE_3);
    turn_at(f, 14499);
    no_answer_expected(f);
    turn_at(f, 14500);
    error_expected(f, 'A', 1, "UNAVAILABLE");
    error_expected(f, 'A', 3, "UNAVAILABLE");
    no_answer_expected(f);
}

/* ---- its own methods ---- */

/* A gateway that knows nothing yet waits a while, so that what it says does not seem to go back. */
static void ping_and_status_need_nobody(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', "[0, 8, \"ping\", []]");
    turn(f);
    no_answer_expected(f);
    turn_at(f, f->now_ms + 3500);
    answer_expected(
        f, 'A', "[1, 8, nil, {\"version\": \"" DRAX_VERSION "\", \"node\": 0, \"revision\": 0}]");
    client_sends(f, 'A', "[0, 9, \"status\", []]");
    turn_at(f, f->now_ms + 3500);
    answer_expected(
        f, 'A',
        "[1, 9, nil, {\"cluster\": 0, \"node\": 0, \"role\": \"learner\", \"leader\": nil, "
        "\"term\": 0, \"revision\": 0, \"commit\": 0, \"applied\": 0, \"members\": [], "
        "\"version\": \"" DRAX_VERSION "\", \"no_space\": false, "
        "\"digest\": \"0000000000000000\"}]");
}

static void ping_is_answered_once_the_node_is_known(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', "[0, 8, \"ping\", []]");
    status_comes(f, 5, 1);
    turn(f);
    no_answer_expected(f);
    message_t message = {.kind = MESSAGE_STORE_STATUS, .batch = {.revision = 30, .applied = 41}};
    message_comes(f, ACTOR_STORAGE, &message);
    turn(f);
    answer_expected(
        f, 'A', "[1, 8, nil, {\"version\": \"" DRAX_VERSION "\", \"node\": 7, \"revision\": 30}]");
}

/* How many queries the next message, a QUERY, holds; `token` is the first one's. */
static size_t queries_expected(fixture_t *f, uint64_t *token) {
    message_t *query = fake_post_expect(&f->post, MESSAGE_QUERY);
    batch_t batch;
    assert_int_equal(batch_open(&batch, payload_slice(query->batch.payload)), 0);
    *token = query_token(query);
    return batch.count;
}

static void connections_take_turns(void **state) {
    fixture_t *f = *state;
    for (int i = 0; i < 100; i++)
        client_sends(f, 'A', "[0, 1, \"get\", [\"k\", {\"stale\": true}]]");
    client_sends(f, 'B', "[0, 2, \"get\", [\"k\", {\"stale\": true}]]");
    uint64_t first, token;
    turn(f);
    assert_int_equal(queries_expected(f, &first), 64 + 1); /* A's first portion, and B's */
    turn(f);
    nothing_expected(f);
    answer_comes(f, first, "nil {}"); /* small: there is room for this one's place and one more */
    turn(f);
    nothing_expected(f); /* 36 wait, 64 are with storage */
    turn_at(f, f->now_ms + GATEWAY_GATHER_READS_MS);
    assert_int_equal(queries_expected(f, &token), 2);
}

static void a_client_that_does_not_read_waits(void **state) {
    fixture_t *f = *state;
    f->refusing = 'A';
    f->refusing_code = DRAX_EAGAIN;
    uint64_t token;
    client_sends(f, 'A', "[0, 1, \"get\", [\"k\", {\"stale\": true}]]");
    turn(f);
    assert_int_equal(queries_expected(f, &token), 1);
    answer_comes(f, token, "nil {}");
    client_sends(f, 'A', "[0, 2, \"get\", [\"k\", {\"stale\": true}]]");
    turn(f);
    nothing_expected(f);
    f->refusing = 0;
    turn(f); /* the answer goes */
    turn(f);
    assert_int_equal(queries_expected(f, &token), 1);
}

static void status_tells_what_is_known(void **state) {
    fixture_t *f = *state;
    message_t message = {.kind = MESSAGE_RAFT_STATUS};
    message_raft_status_t *status = &message.raft_status;
    *status = (message_raft_status_t){
        .cluster = 99, .node = 7, .role = RAFT_LEADER, .leader = 7, .term = 3, .commit = 40};
    status->config.count = 1;
    status->config.members[0] = (member_t){7, MEMBER_VOTER, "h:1", "h:2"};
    message_comes(f, ACTOR_RAFT, &message);
    message = (message_t){.kind = MESSAGE_STORE_STATUS};
    message.batch.revision = 30;
    message.batch.applied = 41;
    message.batch.digest = 0xabcdef;
    message.batch.no_space = true;
    message_comes(f, ACTOR_STORAGE, &message);
    client_sends(f, 'A', "[0, 9, \"status\", []]");
    answer_expected(
        f, 'A',
        "[1, 9, nil, {\"cluster\": 99, \"node\": 7, \"role\": \"leader\", \"leader\": 7, "
        "\"term\": 3, \"revision\": 30, \"commit\": 41, \"applied\": 41, "
        "\"members\": [{\"id\": 7, \"addr\": \"h:1\", \"raft_addr\": \"h:2\", "
        "\"role\": \"voter\"}], \"version\": \"" DRAX_VERSION "\", \"no_space\": true, "
        "\"digest\": \"0000000000abcdef\"}]");
    client_sends(f, 'A', "[0, 10, \"ping\", []]");
    answer_expected(
        f, 'A', "[1, 10, nil, {\"version\": \"" DRAX_VERSION "\", \"node\": 7, \"revision\": 30}]");
}

/* Whatever storage sends names the state it speaks of, so digest and applied index always belong
 * together; a storage that starts again and is behind takes nothing back. */
static void digest_belongs_to_the_applied_index(void **state) {
    fixture_t *f = *state;
    static const struct {
        message_kind_t kind;
        uint64_t applied, digest;
        const char *told;
    } steps[] = {
        {MESSAGE_STORE_STATUS, 41, 0xa, "000000000000000a"},
        {MESSAGE_ANSWER, 42, 0xb, "000000000000000b"},
        {MESSAGE_SKIPPED, 43, 0xc, "000000000000000c"},
        {MESSAGE_STORE_STATUS, 40, 0xd, "000000000000000c"},
    };
    status_comes(f, 7, 1);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        message_t message = {.kind = steps[i].kind};
        message.batch.applied = steps[i].applied;
        message.batch.digest = steps[i].digest;
        message_comes(f, ACTOR_STORAGE, &message);
        client_sends(f, 'A', "[0, 9, \"status\", []]");
        assert_int_equal(f->answer_count, f->answer_at + 1);
        const buffer_t *answer = &f->answers[f->answer_at++].bytes;
        assert_non_null(memmem(answer->data, answer->size, steps[i].told, 16));
    }
}

/* ---- membership ---- */

static message_t *admin_expected(fixture_t *f, admin_op_t op, uint64_t id) {
    message_t *message = fake_post_expect(&f->post, MESSAGE_ADMIN);
    assert_int_equal(message->admin.op, op);
    assert_int_equal(message->admin.id, id);
    return message;
}

static void admin_result_comes(fixture_t *f, const message_t *asked, int code) {
    message_t message = {.kind = MESSAGE_ADMIN_RESULT, .admin = asked->admin};
    message.admin.code = code;
    message.admin.leader = 5;
    message.admin.config.count = 1;
    message.admin.config.members[0] = (member_t){7, MEMBER_LEARNER, "h:1", "h:2"};
    message_comes(f, ACTOR_RAFT, &message);
}

#define MEMBERS "[{\"id\": 7, \"addr\": \"h:1\", \"raft_addr\": \"h:2\", \"role\": \"learner\"}]"

static void membership_goes_to_raft(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', "[0, 1, \"member_add\", [\"h:1\", \"h:2\"]]");
    message_t *add = admin_expected(f, ADMIN_ADD, 0);
    assert_string_equal(add->admin.addr, "h:1");
    assert_string_equal(add->admin.raft_addr, "h:2");
    message_t given = *add;
    given.admin.id = 44;
    admin_result_comes(f, &given, 0);
    answer_expected(f, 'A', "[1, 1, nil, {\"id\": 44, \"cluster\": 99, \"members\": " MEMBERS "}]");
    admin_result_comes(f, &given, 0);
    no_answer_expected(f);
    client_sends(f, 'A', "[0, 2, \"member_remove\", [44]]");
    admin_result_comes(f, admin_expected(f, ADMIN_REMOVE, 44), 0);
    answer_expected(f, 'A', "[1, 2, nil, {\"members\": " MEMBERS "}]");
    client_sends(f, 'A', "[0, 3, \"member_promote\", [44]]");
    admin_result_comes(f, admin_expected(f, ADMIN_PROMOTE, 44), 0);
    answer_expected(f, 'A', "[1, 3, nil, {\"members\": " MEMBERS "}]");
    client_sends(f, 'A', "[0, 4, \"leader_transfer\", []]");
    admin_result_comes(f, admin_expected(f, ADMIN_TRANSFER, 0), 0);
    answer_expected(f, 'A', "[1, 4, nil, {\"leader\": 5}]");
    nothing_expected(f);
}

static uint64_t id_asked_for(fixture_t *f, const char *request) {
    client_sends(f, 'A', request);
    message_t *add = fake_post_find(&f->post, MESSAGE_ADMIN);
    assert_non_null(add);
    return add->admin.id;
}

/* Sent again, it finds the member that it added: whose id is that of its client and seq. */
static void a_member_is_added_once(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    uint64_t id = id_asked_for(
        f, "[0, 1, \"member_add\", [\"h:1\", \"h:2\", {\"client\": \"c\", \"seq\": 1}]]");
    assert_true(id && id <= UINT32_MAX);
    assert_true(id == id_asked_for(f, "[0, 2, \"member_add\", [\"h:1\", \"h:2\", "
                                      "{\"seq\": 1, \"client\": \"c\"}]]"));
    assert_true(id != id_asked_for(f, "[0, 3, \"member_add\", [\"h:1\", \"h:2\", "
                                      "{\"client\": \"c\", \"seq\": 2}]]"));
    assert_true(44 == id_asked_for(f, "[0, 4, \"member_add\", [\"h:1\", \"h:2\", "
                                      "{\"id\": 44, \"client\": \"c\", \"seq\": 1}]]"));
}

static void membership_refusals_have_the_contracts_codes(void **state) {
    fixture_t *f = *state;
    static const struct {
        int code;
        const char *want;
    } cases[] = {{DRAX_ENOTFOUND, "INVALID_ARGUMENT"}, {DRAX_EEXIST, "INVALID_ARGUMENT"},
                 {DRAX_EINVAL, "INVALID_ARGUMENT"},    {DRAX_ETIMEDOUT, "TIMEOUT"},
                 {DRAX_ENOTLEADER, "UNAVAILABLE"},     {DRAX_EPENDING, "UNAVAILABLE"},
                 {DRAX_EAGAIN, "UNAVAILABLE"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        client_sends(f, 'A', "[0, 2, \"member_remove\", [44]]");
        admin_result_comes(f, admin_expected(f, ADMIN_REMOVE, 44), cases[i].code);
        error_expected(f, 'A', 2, cases[i].want);
    }
}

static void membership_without_raft(void **state) {
    fixture_t *f = *state;
    f->post.boots[ACTOR_RAFT] = 0;
    client_sends(f, 'A', "[0, 2, \"member_remove\", [44]]");
    error_expected(f, 'A', 2, "UNAVAILABLE");
    f->post.boots[ACTOR_RAFT] = 1;
    client_sends(f, 'A', "[0, 3, \"member_remove\", [44]]");
    turn_at(f, 14500);
    error_expected(f, 'A', 3, "TIMEOUT"); /* asked, and unknown what came of it */
}

static void a_result_cannot_answer_another_kind(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', GET_1);
    turn(f);
    message_t message = {.kind = MESSAGE_ADMIN_RESULT};
    held_ask_expected(f, 1);
    message.admin.token = held_query_expected(f, 1);
    message.admin.op = ADMIN_REMOVE;
    message_comes(f, ACTOR_RAFT, &message);
    no_answer_expected(f);
}

/* ---- refusals and limits ---- */

static void bad_requests_are_refused(void **state) {
    fixture_t *f = *state;
    client_sends_bytes(f, 'A', (slice_t){(const uint8_t *) "", 0});
    error_expected(f, 'A', 0, "INVALID_ARGUMENT");
    client_sends_bytes(f, 'A', (slice_t){(const uint8_t *) "\xdd\xff\xff\xff\xff", 5});
    error_expected(f, 'A', 0, "INVALID_ARGUMENT");
    client_sends(f, 'A', "[0, 6, \"fly\", []]");
    error_expected(f, 'A', 6, "UNKNOWN_METHOD");
    client_sends(f, 'A', "[0, 7, \"put\", [\"k\"]]");
    error_expected(f, 'A', 7, "INVALID_ARGUMENT");
    client_sends(f, 'A', "[1, 7, nil, {}]");
    client_sends(f, 'A', "[2, \"credit\", [1, 1]]");
    client_sends(f, 'A', "[2, \"nothing\", []]");
    no_answer_expected(f);
    turn(f);
    nothing_expected(f);
}

static void a_large_payload_is_too_large(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', "[0, 6, \"put\", [\"k\", b\"v\"*4085]]"); /* 4096 + 2 bytes */
    error_expected(f, 'A', 6, "TOO_LARGE");
    client_sends(f, 'A', "[0, 6, \"put\", [\"k\", b\"v\"*4083]]"); /* 4096 */
    no_answer_expected(f);
    client_sends(f, 'A', "[0, 6, \"put\", [\"k\", b\"v\"*4084]]");
    error_expected(f, 'A', 6, "TOO_LARGE");
}

static void one_client_cannot_take_all(void **state) {
    fixture_t *f = *state;
    for (unsigned i = 0; i < LIMIT_CLIENT_PENDING; i++)
        client_sends(f, 'A', PUT_1);
    no_answer_expected(f);
    client_sends(f, 'A', "[0, 9, \"get\", [\"k\"]]");
    error_expected(f, 'A', 9, "UNAVAILABLE");
    client_sends(f, 'A', "[0, 10, \"ping\", []]");
    assert_int_equal(f->answer_count, ++f->answer_at);
    client_sends(f, 'B', "[0, 9, \"get\", [\"k\"]]");
    no_answer_expected(f);
}

/* ---- clients that do not read ---- */

static void answers_not_taken_wait_in_order(void **state) {
    fixture_t *f = *state;
    f->refusing = 'A';
    f->refusing_code = DRAX_EAGAIN;
    client_sends(f, 'A', "[0, 1, \"fly\", []]");
    client_sends(f, 'A', "[0, 2, \"fly\", []]");
    client_sends(f, 'B', "[0, 3, \"fly\", []]");
    error_expected(f, 'B', 3, "UNKNOWN_METHOD");
    turn(f);
    no_answer_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms), f->now_ms + 5);
    f->refusing = 0;
    client_sends(f, 'A', "[0, 4, \"fly\", []]"); /* would go, but others wait before it */
    no_answer_expected(f);
    turn(f);
    error_expected(f, 'A', 1, "UNKNOWN_METHOD");
    error_expected(f, 'A', 2, "UNKNOWN_METHOD");
    error_expected(f, 'A', 4, "UNKNOWN_METHOD");
    assert_true(gateway_actor_ops.deadline(f->gateway, f->now_ms) == UINT64_MAX);
}

static void answers_to_a_client_that_is_gone_are_dropped(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    f->refusing = 'A';
    f->refusing_code = DRAX_ENOTFOUND;
    client_sends(f, 'A', PUT_1);
    turn(f);
    result_comes_simple(f, 1);
    turn(f);
    assert_true(gateway_actor_ops.deadline(f->gateway, f->now_ms) == UINT64_MAX);
    no_answer_expected(f);
}

static void answers_not_taken_are_bounded_and_told_once(void **state) {
    fixture_t *f = *state;
    f->refusing = 'A';
    f->refusing_code = DRAX_EAGAIN;
    /* Each answer keeps its whole envelope and a response of some tens of bytes. */
    buffer_t huge = {0};
    text_msgpack(&huge, "nil b\"x\"*1000000");
    status_comes(f, 5, 1);
    for (unsigned i = 0; i < 40; i++)
        client_sends(f, 'A', GET_1);
    turn(f);
    batch_t batch;
    uint64_t token;
    slice_t bytes;
    message_t *query = fake_post_find(&f->post, MESSAGE_QUERY);
    assert_int_equal(batch_open(&batch, payload_slice(query->batch.payload)), 0);
    assert_int_equal(batch.count, 40);
    while (batch_next(&batch, &token, &bytes) == 1)
        answer_comes(f, token, "nil b\"x\"*1000000");
    buffer_free(&huge);
    assert_int_equal(f->log_lines, 1);
    f->refusing = 0;
    turn(f);
    assert_int_equal(f->answer_count, LIMIT_CLIENT_UNSENT_BYTES / 1000013);
}

/* ---- stopping ---- */

static void a_gateway_that_stops_finishes_what_it_has(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    turn(f);
    gateway_actor_ops.stop(f->gateway, f->now_ms);
    assert_false(gateway_actor_ops.stopped(f->gateway));
    client_sends(f, 'A', "[0, 2, \"get\", [\"k\"]]");
    error_expected(f, 'A', 2, "UNAVAILABLE");
    client_sends(f, 'A', "[0, 3, \"ping\", []]");
    assert_int_equal(f->answer_count, ++f->answer_at);
    turn(f);
    assert_false(gateway_actor_ops.stopped(f->gateway));
    result_comes_simple(f, 1);
    answer_expected(f, 'A', "[1, 1, nil, {\"revision\": 1}]");
    assert_true(gateway_actor_ops.stopped(f->gateway));
}

static void a_gateway_that_stops_does_not_wait_for_ever(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', PUT_1);
    gateway_actor_ops.stop(f->gateway, f->now_ms);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms), f->now_ms + 2000);
    turn_at(f, f->now_ms + 1999);
    assert_false(gateway_actor_ops.stopped(f->gateway));
    turn_at(f, f->now_ms + 1);
    assert_true(gateway_actor_ops.stopped(f->gateway));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_destroy)
    const struct CMUnitTest tests[] = {
        T(a_read_goes_to_storage_and_raft),
        T(an_answer_waits_for_its_index),
        T(an_index_waits_for_its_answer),
        T(an_answer_of_before_its_index_is_not_given),
        T(parts_are_compared_and_not_kept),
        T(what_is_large_is_not_held),
        T(only_few_are_held),
        T(a_watch_is_not_held),
        T(with_a_new_raft_they_wait_at_storage),
        T(a_new_storage_is_asked_anew),
        T(a_read_without_leader_waits_at_storage),
        T(a_stale_read_needs_no_raft),
        T(a_read_index_is_asked_for_again),
        T(reads_gather_while_as_many_are_with_storage),
        T(beside_writes_more_reads_gather),
        T(reads_leave_with_a_block),
        T(a_new_storage_gets_the_queries_again),
        T(reads_have_a_deadline),
        T(ping_and_status_need_nobody),
        T(ping_is_answered_once_the_node_is_known),
        T(status_tells_what_is_known),
        T(digest_belongs_to_the_applied_index),
        T(connections_take_turns),
        T(a_client_that_does_not_read_waits),
        T(membership_goes_to_raft),
        T(a_member_is_added_once),
        T(membership_refusals_have_the_contracts_codes),
        T(membership_without_raft),
        T(a_result_cannot_answer_another_kind),
        T(bad_requests_are_refused),
        T(a_large_payload_is_too_large),
        T(one_client_cannot_take_all),
        T(answers_not_taken_wait_in_order),
        T(answers_to_a_client_that_is_gone_are_dropped),
        T(answers_not_taken_are_bounded_and_told_once),
        T(a_gateway_that_stops_finishes_what_it_has),
        T(a_gateway_that_stops_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
