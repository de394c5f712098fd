/* test_gateway_locks.c: requests that wait for a lock, in the gateway: every one is answered once,
 * whatever is lost, and what it asks of the log is what it must. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/gateway_internal.h"
#include "gateway_fixture.h"
#include "text_msgpack.h"

#define LOCK(msgid, options) "[0, " #msgid ", \"lock\", [\"l\", {\"ttl_ms\": 900" options "}]]"
#define GRANTED "nil {\"token\": 4, \"lease\": 4, \"revision\": 9}"

static void batch_put(buffer_t *batch, uint64_t token, const char *text) {
    buffer_t bytes = {0};
    text_msgpack(&bytes, text);
    batch_add(batch, token, (slice_t){bytes.data, bytes.size});
    buffer_free(&bytes);
}

/* The result of a block with one lock request, which waits as `waiter`. */
static void waits_comes(fixture_t *f, uint64_t seq, uint64_t waiter, bool once) {
    buffer_t batch = {0};
    batch_begin(&batch, 1);
    batch_put(&batch, waiter, once ? "true" : "false");
    message_t message = {.kind = MESSAGE_RESULT};
    message.batch.boot = GATEWAY_BOOT;
    message.batch.seq = seq;
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    message_comes(f, ACTOR_STORAGE, &message);
}

static void settled_comes(fixture_t *f, uint64_t waiter, const char *outcome) {
    buffer_t batch = {0};
    batch_begin(&batch, 1);
    batch_put(&batch, waiter, outcome);
    message_t message = {.kind = MESSAGE_SETTLED};
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    message_comes(f, ACTOR_STORAGE, &message);
}

/* The next message is a block whose command number `at` is this one. */
static void command_expected(fixture_t *f, uint64_t seq, uint64_t prev, size_t count, size_t at,
                             const char *text) {
    message_t *propose = propose_expected(f, seq, prev, count);
    block_t block;
    slice_t command = {NULL, 0};
    buffer_t want = {0};
    text_msgpack(&want, text);
    assert_int_equal(block_open(&block, payload_slice(propose->propose.payload)), 0);
    for (size_t i = 0; i <= at; i++)
        assert_int_equal(block_next(&block, &command), 1);
    assert_int_equal(command.size, want.size);
    assert_memory_equal(command.data, want.data, want.size);
    buffer_free(&want);
}

/* A lock request of `client`, in block `seq`, that waits as `waiter`. */
static void lock_waits(fixture_t *f, char client, const char *request, uint64_t seq,
                       uint64_t waiter, bool once) {
    client_sends(f, client, request);
    turn(f);
    propose_expected(f, seq, seq - 1, 1);
    waits_comes(f, seq, waiter, once);
    turn(f);
    nothing_expected(f);
    no_answer_expected(f);
}

static void it_waits_longer_than_any_other_request(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ""), 1, 30, false);
    for (uint64_t seq = 2; seq < 6; seq++) { /* asked about every 5 s, for as long as it takes */
        turn_at(f, f->now_ms + GATEWAY_WAITS_CHECK_MS - 1);
        nothing_expected(f);
        turn_at(f, f->now_ms + 1);
        command_expected(f, seq, seq - 1, 1, 0, "[\"resume\", [30]]");
        result_comes_simple(f, seq);
        no_answer_expected(f);
    }
    settled_comes(f, 31, GRANTED); /* of another gateway */
    no_answer_expected(f);
    settled_comes(f, 30, GRANTED);
    answer_expected(f, 'A', "[1, 1, nil, {\"token\": 4, \"lease\": 4, \"revision\": 9}]");
    settled_comes(f, 30, GRANTED); /* told again, it is nobody's */
    turn_at(f, f->now_ms + 60000);
    nothing_expected(f);
    no_answer_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms), UINT64_MAX);
}

static void granted_at_once_it_never_waits(void **state) {
    fixture_t *f = *state;
    const char *const outcomes[] = {GRANTED};
    status_comes(f, 5, 1);
    client_sends(f, 'A', LOCK(1, ", \"wait_ms\": 100"));
    turn(f);
    propose_expected(f, 1, 0, 1);
    result_comes(f, 1, 1, outcomes);
    answer_expected(f, 'A', "[1, 1, nil, {\"token\": 4, \"lease\": 4, \"revision\": 9}]");
    turn_at(f, f->now_ms + 1000);
    nothing_expected(f);
}

static void when_the_time_is_up_it_is_cancelled(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ", \"wait_ms\": 100"), 1, 30, false);
    turn_at(f, f->now_ms + 100); /* perhaps 99.1 ms later */
    nothing_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms), f->now_ms + 1);
    turn_at(f, f->now_ms + 1);
    command_expected(f, 2, 1, 1, 0, "[\"cancel\", [30]]");
    no_answer_expected(f); /* a grant may come first */
    turn_at(f, f->now_ms + 500);
    nothing_expected(f);
    result_comes_simple(f, 2);
    settled_comes(f, 30, "[\"CANNOT_LOCK\", \"the lock is held\"] nil");
    error_expected(f, 'A', 1, "CANNOT_LOCK");
}

/* Its time is over before it is known to wait. */
static void time_that_is_up_early(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', LOCK(1, ", \"wait_ms\": 50"));
    turn(f);
    propose_expected(f, 1, 0, 1);
    turn_at(f, f->now_ms + 80);
    nothing_expected(f);
    waits_comes(f, 1, 30, false);
    turn(f);
    command_expected(f, 2, 1, 1, 0, "[\"cancel\", [30]]");
    settled_comes(f, 30, GRANTED); /* it came first */
    answer_expected(f, 'A', "[1, 1, nil, {\"token\": 4, \"lease\": 4, \"revision\": 9}]");
}

static void lock_cancel_takes_it_out(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ""), 1, 30, false);
    client_sends(f, 'B', "[0, 7, \"lock_cancel\", [1]]"); /* another connection */
    client_sends(f, 'A', "[0, 8, \"lock_cancel\", [2]]"); /* another request */
    answer_expected(f, 'B', "[1, 7, nil, {}]");
    answer_expected(f, 'A', "[1, 8, nil, {}]");
    turn(f);
    nothing_expected(f);
    client_sends(f, 'A', "[0, 9, \"lock_cancel\", [1]]");
    answer_expected(f, 'A', "[1, 9, nil, {}]");
    client_sends(f, 'A', "[0, 9, \"lock_cancel\", [1]]");
    answer_expected(f, 'A', "[1, 9, nil, {}]");
    turn(f);
    command_expected(f, 2, 1, 1, 0, "[\"cancel\", [30]]");
    settled_comes(f, 30, "[\"CANNOT_LOCK\", \"the lock is held\"] nil");
    error_expected(f, 'A', 1, "CANNOT_LOCK");
    /* Cancelled before it is known to wait. */
    client_sends(f, 'A', LOCK(3, ""));
    client_sends(f, 'A', "[0, 4, \"lock_cancel\", [3]]");
    answer_expected(f, 'A', "[1, 4, nil, {}]");
    result_comes_simple(f, 2);
    turn(f);
    propose_expected(f, 3, 2, 1);
    waits_comes(f, 3, 31, true);
    turn(f);
    command_expected(f, 4, 3, 1, 0, "[\"cancel\", [31]]");
}

static void a_lost_cancel_is_repeated(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ", \"wait_ms\": 100"), 1, 30, false);
    turn_at(f, f->now_ms + 101);
    command_expected(f, 2, 1, 1, 0, "[\"cancel\", [30]]");
    skipped_comes(f, 2); /* it counted, but storage died and what it told is lost */
    turn(f);
    command_expected(f, 3, 2, 2, 0, "[\"cancel\", [30]]");
    settled_comes(f, 30, ""); /* cancelled, or granted before that, and over: who knows */
    error_expected(f, 'A', 1, "TIMEOUT");
}

/* Leaders come and go, none of them for long enough to put the cancel into the log. */
static void a_cancel_without_result_is_timeout(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ", \"wait_ms\": 100"), 1, 30, false);
    lock_waits(f, 'B', LOCK(2, ""), 2, 31, false);
    uint64_t since_ms = f->now_ms;
    turn_at(f, since_ms + 101);
    fake_post_clear(&f->post);
    client_sends(f, 'B', "[0, 3, \"lock_cancel\", [2]]");
    answer_expected(f, 'B', "[1, 3, nil, {}]");
    for (uint64_t term = 2; term < 6; term++) {
        status_comes(f, 0, term);
        turn_at(f, since_ms + term * 800);
        status_comes(f, 5, term);
    }
    turn_at(f, since_ms + 101 + LIMIT_REQUEST_TIMEOUT_MS - 1);
    no_answer_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms), f->now_ms + 1);
    fake_post_clear(&f->post);
    turn_at(f, f->now_ms + 1);
    error_expected(f, 'A', 1, "TIMEOUT");
    error_expected(f, 'B', 2, "TIMEOUT");
    command_expected(f, 5, 4, 1, 0, "[\"cancel\", [30, 31]]");
    settled_comes(f, 30, GRANTED);
    no_answer_expected(f);
}

/* The time counts from the lock_cancel, not from when the request is known to wait. */
static void a_cancel_before_it_waits_counts(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', LOCK(1, ""));
    client_sends(f, 'A', "[0, 2, \"lock_cancel\", [1]]");
    answer_expected(f, 'A', "[1, 2, nil, {}]");
    uint64_t since_ms = f->now_ms;
    turn(f);
    turn_at(f, since_ms + 3000);
    fake_post_clear(&f->post);
    waits_comes(f, 1, 30, false);
    turn(f);
    command_expected(f, 2, 1, 1, 0, "[\"cancel\", [30]]");
    turn_at(f, since_ms + LIMIT_REQUEST_TIMEOUT_MS - 1);
    no_answer_expected(f);
    turn_at(f, since_ms + LIMIT_REQUEST_TIMEOUT_MS);
    error_expected(f, 'A', 1, "TIMEOUT");
}

/* Nor from a lock_cancel that comes when its time is over. */
static void a_cancel_after_its_time_is_none(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', LOCK(1, ", \"wait_ms\": 100"));
    uint64_t since_ms = f->now_ms;
    turn(f);
    turn_at(f, since_ms + 3000);
    client_sends(f, 'A', "[0, 2, \"lock_cancel\", [1]]");
    answer_expected(f, 'A', "[1, 2, nil, {}]");
    waits_comes(f, 1, 30, false);
    turn_at(f, since_ms + 101 + LIMIT_REQUEST_TIMEOUT_MS - 1);
    no_answer_expected(f);
    turn_at(f, since_ms + 101 + LIMIT_REQUEST_TIMEOUT_MS);
    error_expected(f, 'A', 1, "TIMEOUT");
}

static void storage_that_comes_anew_is_asked_at_once(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ""), 1, 30, false);
    gateway_actor_ops.neighbour(f->gateway, ACTOR_STORAGE, f->now_ms);
    turn(f);
    command_expected(f, 2, 1, 1, 0, "[\"resume\", [30]]");
    settled_comes(f, 30, ""); /* granted, and over: not known any more */
    error_expected(f, 'A', 1, "TIMEOUT");
}

static void joined_requests_get_the_same_answer(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ", \"client\": \"c\", \"seq\": 1"), 1, 30, true);
    lock_waits(f, 'B', LOCK(2, ", \"client\": \"c\", \"seq\": 1"), 2, 30, true);
    turn_at(f, f->now_ms + GATEWAY_WAITS_CHECK_MS);
    command_expected(f, 3, 2, 1, 0, "[\"resume\", [30]]"); /* once for both */
    settled_comes(f, 30, GRANTED);
    answer_expected(f, 'A', "[1, 1, nil, {\"token\": 4, \"lease\": 4, \"revision\": 9}]");
    answer_expected(f, 'B', "[1, 2, nil, {\"token\": 4, \"lease\": 4, \"revision\": 9}]");
}

static void without_a_leader_it_is_timeout(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ""), 1, 30, false);
    lock_waits(f, 'B', LOCK(2, ", \"client\": \"c\", \"seq\": 1"), 2, 31, true);
    status_comes(f, 0, 2);
    turn(f);
    turn_at(f, f->now_ms + GATEWAY_LEADERLESS_MS - 1);
    no_answer_expected(f);
    turn_at(f, f->now_ms + 1);
    error_expected(f, 'A', 1, "TIMEOUT");
    error_expected(f, 'B', 2, "TIMEOUT");
    nothing_expected(f);
    /* Only the one that can be asked for again keeps its place. */
    status_comes(f, 5, 3);
    turn(f);
    command_expected(f, 3, 2, 1, 0, "[\"cancel\", [30]]");
}

static void a_short_time_without_a_leader_is_nothing(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ", \"wait_ms\": 1000"), 1, 30, false);
    status_comes(f, 0, 2);
    turn(f);
    turn_at(f, f->now_ms + 2000);
    nothing_expected(f); /* its time is up, but there is nobody to tell */
    status_comes(f, 6, 3);
    turn(f);
    command_expected(f, 2, 1, 1, 0, "[\"cancel\", [30]]");
    no_answer_expected(f);
}

/* A block that was given up, and then counts after all. */
static void orphans_do_not_get_the_lock(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'C', LOCK(9, ""), 1, 29, false);
    client_sends(f, 'A', LOCK(1, ""));
    turn(f);
    propose_expected(f, 2, 1, 1);
    client_sends(f, 'B', LOCK(2, ", \"client\": \"c\", \"seq\": 1"));
    turn(f);
    propose_expected(f, 3, 2, 1);
    fake_post_clear(&f->post);
    turn_at(f, f->now_ms + LIMIT_REQUEST_TIMEOUT_MS);
    error_expected(f, 'A', 1, "TIMEOUT");
    error_expected(f, 'B', 2, "TIMEOUT");
    fake_post_clear(&f->post);
    waits_comes(f, 2, 30, false);
    waits_comes(f, 3, 31, true);
    waits_comes(f, 1, 29, false); /* told again, but it waits here */
    turn(f);
    command_expected(f, 4, 3, 1, 0, "[\"cancel\", [30]]");
}

static void a_node_that_stops_answers_them(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    lock_waits(f, 'A', LOCK(1, ""), 1, 30, false);
    gateway_actor_ops.stop(f->gateway, f->now_ms);
    error_expected(f, 'A', 1, "TIMEOUT");
    turn(f);
    command_expected(f, 2, 1, 1, 0, "[\"cancel\", [30]]");
    assert_true(gateway_actor_ops.stopped(f->gateway));
}

static void many_wait_at_once(void **state) {
    fixture_t *f = *state;
    const size_t count = 40;
    status_comes(f, 5, 1);
    for (uint64_t i = 1; i <= count; i++)
        lock_waits(f, (char) ('A' + i), LOCK(1, ", \"wait_ms\": 100000"), i, 100 + i, false);
    turn_at(f, f->now_ms + GATEWAY_WAITS_CHECK_MS);
    propose_expected(f, count + 1, count, 1);
    for (uint64_t i = 1; i <= count; i += 2)
        settled_comes(f, 100 + i, GRANTED);
    for (uint64_t i = 1; i <= count; i += 2)
        answer_expected(f, (char) ('A' + i),
                        "[1, 1, nil, {\"token\": 4, \"lease\": 4, \"revision\": 9}]");
    no_answer_expected(f);
}

int main(void) {
#define GATEWAY_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_destroy)
    const struct CMUnitTest tests[] = {
        GATEWAY_TEST(it_waits_longer_than_any_other_request),
        GATEWAY_TEST(granted_at_once_it_never_waits),
        GATEWAY_TEST(when_the_time_is_up_it_is_cancelled),
        GATEWAY_TEST(time_that_is_up_early),
        GATEWAY_TEST(lock_cancel_takes_it_out),
        GATEWAY_TEST(a_lost_cancel_is_repeated),
        GATEWAY_TEST(a_cancel_without_result_is_timeout),
        GATEWAY_TEST(a_cancel_before_it_waits_counts),
        GATEWAY_TEST(a_cancel_after_its_time_is_none),
        GATEWAY_TEST(storage_that_comes_anew_is_asked_at_once),
        GATEWAY_TEST(joined_requests_get_the_same_answer),
        GATEWAY_TEST(without_a_leader_it_is_timeout),
        GATEWAY_TEST(a_short_time_without_a_leader_is_nothing),
        GATEWAY_TEST(orphans_do_not_get_the_lock),
        GATEWAY_TEST(a_node_that_stops_answers_them),
        GATEWAY_TEST(many_wait_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
