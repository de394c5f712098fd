/* test_gateway_writes.c: blocks, proposed in order until their results come, and never an answer
 * that is not true. */
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

#define PUT_1 "[0, 1, \"put\", [\"k\", \"v\"]]"
#define PUT_2 "[0, 2, \"put\", [\"k\", \"w\"]]"
#define PUT_3 "[0, 3, \"put\", [\"k\", \"x\"]]"

/* Three blocks of one put each, all proposed; the third waits as long as it may for more. */
static void three_proposed(fixture_t *f) {
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    turn(f);
    client_sends(f, 'A', PUT_2);
    turn(f);
    client_sends(f, 'A', PUT_3);
    turn(f);
    turn_at(f, f->now_ms + GATEWAY_GATHER_MS);
    propose_expected(f, 1, 0, 1);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
}

static void a_write_waits_for_a_leader(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', PUT_1);
    turn(f);
    nothing_expected(f);
    status_comes(f, 0, 1);
    turn(f);
    nothing_expected(f);
    assert_false(gateway_actor_ops.ready(f->gateway));
    status_comes(f, 5, 1);
    assert_true(gateway_actor_ops.ready(f->gateway));
    turn(f);
    propose_expected(f, 1, 0, 1);
    nothing_expected(f);
    no_answer_expected(f);
    /* Told the same again, it proposes nothing again. */
    status_comes(f, 5, 1);
    turn(f);
    nothing_expected(f);
}

static void commands_of_one_turn_share_a_block(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    client_sends(f, 'B', PUT_2);
    client_sends(f, 'A', PUT_3);
    turn(f);
    propose_expected(f, 1, 0, 3);
    nothing_expected(f);
    const char *const outcomes[] = {"nil {\"index\": 1, \"revision\": 1}",
                                    "[\"KEY_EXISTS\", \"is there\"] nil",
                                    "nil {\"index\": 2, \"revision\": 2}"};
    result_comes(f, 1, 3, outcomes);
    answer_expected(f, 'A', "[1, 1, nil, {\"index\": 1, \"revision\": 1}]");
    answer_expected(f, 'B', "[1, 2, [\"KEY_EXISTS\", \"is there\"], nil]");
    answer_expected(f, 'A', "[1, 3, nil, {\"index\": 2, \"revision\": 2}]");
    no_answer_expected(f);
}

static void commands_gather_while_as_many_are_under_way(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    turn(f);
    propose_expected(f, 1, 0, 1);
    client_sends(f, 'A', PUT_2);
    turn(f);
    propose_expected(f, 2, 1, 1); /* as many as are under way */
    client_sends(f, 'A', PUT_3);
    turn(f);
    nothing_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms),
                     f->now_ms + GATEWAY_GATHER_MS);
    client_sends(f, 'B', PUT_3);
    turn(f);
    propose_expected(f, 3, 2, 2);
    client_sends(f, 'A', PUT_1);
    turn(f);
    nothing_expected(f);
    result_comes_simple(f, 1);
    result_comes_simple(f, 2);
    turn(f);
    nothing_expected(f); /* one against two */
    const char *const outcomes[] = {"nil {}", "nil {}"};
    result_comes(f, 3, 2, outcomes);
    turn(f);
    propose_expected(f, 4, 3, 1);
    nothing_expected(f);
}

static void commands_that_gather_leave_in_time(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    client_sends(f, 'A', PUT_2);
    turn(f);
    propose_expected(f, 1, 0, 2);
    client_sends(f, 'A', PUT_3);
    turn_at(f, f->now_ms + GATEWAY_GATHER_MS - 1);
    nothing_expected(f);
    turn_at(f, f->now_ms + GATEWAY_GATHER_MS);
    propose_expected(f, 2, 1, 1);
    nothing_expected(f);
}

/* As many reads as two commands have to be among, and more than the first of them, are in hand. */
static void two_shares_of_reads(fixture_t *f) {
    status_comes(f, 5, 1);
    for (unsigned i = 0; i < 2 * GATEWAY_MIXED_SHARE; i++)
        client_sends(f, (char) ('A' + i), "[0, 9, \"get\", [\"k\"]]");
    turn(f);
    fake_post_expect(&f->post, MESSAGE_READ);
    fake_post_expect(&f->post, MESSAGE_QUERY);
    client_sends(f, 'A', PUT_1);
    turn(f);
    nothing_expected(f);
}

static void among_reads_commands_gather(void **state) {
    fixture_t *f = *state;
    two_shares_of_reads(f);
    client_sends(f, 'B', PUT_2);
    turn(f);
    propose_expected(f, 1, 0, 2);
    nothing_expected(f);
}

static void among_reads_commands_leave_soon(void **state) {
    fixture_t *f = *state;
    two_shares_of_reads(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms),
                     f->now_ms + GATEWAY_MIXED_MS);
    turn_at(f, f->now_ms + GATEWAY_MIXED_MS - 1);
    nothing_expected(f);
    turn_at(f, f->now_ms + 1);
    propose_expected(f, 1, 0, 1);
    nothing_expected(f);
}

static void a_block_is_closed_at_its_limit(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    for (unsigned i = 0; i < LIMIT_BLOCK_COMMANDS + 1; i++)
        client_sends(f, 'A', PUT_1);
    turn(f);
    propose_expected(f, 1, 0, LIMIT_BLOCK_COMMANDS);
    nothing_expected(f);
    turn_at(f, f->now_ms + GATEWAY_GATHER_MS);
    propose_expected(f, 2, 1, 1);
    nothing_expected(f);
}

static void a_block_is_closed_at_its_bytes(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    const char *put = "[0, 1, \"put\", [\"k\", \"v\"*4000]]"; /* 4015 bytes */
    for (unsigned i = 0; i < 300; i++)
        client_sends(f, 'A', put);
    turn(f);
    message_t *first = fake_post_expect(&f->post, MESSAGE_PROPOSE);
    assert_true(payload_size(first->propose.payload) > LIMIT_BLOCK_BYTES - 8192);
    assert_true(payload_size(first->propose.payload) < LIMIT_BLOCK_BYTES + 8192);
    turn_at(f, f->now_ms + GATEWAY_GATHER_MS);
    fake_post_expect(&f->post, MESSAGE_PROPOSE);
    nothing_expected(f);
}

static void results_answer_in_order(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    result_comes_simple(f, 1);
    result_comes_simple(f, 2);
    answer_expected(f, 'A', "[1, 1, nil, {\"revision\": 1}]");
    answer_expected(f, 'A', "[1, 2, nil, {\"revision\": 2}]");
    no_answer_expected(f);
    result_comes_simple(f, 2); /* told twice: a replay */
    no_answer_expected(f);
    result_comes_simple(f, 3);
    answer_expected(f, 'A', "[1, 3, nil, {\"revision\": 3}]");
    turn_at(f, f->now_ms + 60000);
    nothing_expected(f);
    no_answer_expected(f);
}

static void results_of_another_boot_are_not_ours(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    message_t message = {.kind = MESSAGE_RESULT};
    message.batch.boot = GATEWAY_BOOT - 1;
    message.batch.seq = 3;
    message_comes(f, ACTOR_STORAGE, &message);
    message = (message_t){.kind = MESSAGE_SKIPPED};
    message.batch.boot = GATEWAY_BOOT - 1;
    message.batch.seq = 3;
    message_comes(f, ACTOR_STORAGE, &message);
    no_answer_expected(f);
}

static void a_result_that_does_not_fit_is_a_lost_one(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    const char *const outcomes[] = {"nil {}", "nil {}"};
    result_comes(f, 1, 2, outcomes);
    error_expected(f, 'A', 1, "TIMEOUT");
    no_answer_expected(f);
    result_comes_simple(f, 2);
    answer_expected(f, 'A', "[1, 2, nil, {\"revision\": 2}]");
}

static void a_new_leader_gets_all_again(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    result_comes_simple(f, 1);
    status_comes(f, 0, 1); /* the leader is gone */
    turn(f);
    nothing_expected(f);
    status_comes(f, 6, 2);
    turn(f);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
    /* The same node, in a later term, may have lost them as well. */
    status_comes(f, 6, 3);
    turn(f);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
}

static void a_new_raft_actor_gets_all_again(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    gateway_actor_ops.neighbour(f->gateway, ACTOR_RAFT, f->now_ms);
    assert_false(gateway_actor_ops.ready(f->gateway));
    turn(f);
    nothing_expected(f);
    status_comes(f, 5, 1); /* nothing has changed but the actor's life */
    turn(f);
    propose_expected(f, 1, 0, 1);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
}

static void silence_is_answered_by_repetition(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    turn_at(f, 10999);
    nothing_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, 10999), 11000);
    turn_at(f, 11000);
    propose_expected(f, 1, 0, 1);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
}

static void the_boot_of_blocks_is_above_all_earlier_ones(void **state) {
    fixture_t *f = *state;
    message_t message = {.kind = MESSAGE_RAFT_STATUS};
    message.raft_status.node = GATEWAY_NODE;
    message.raft_status.leader = 5;
    message.raft_status.gateway_boot = 2000;
    message_comes(f, ACTOR_RAFT, &message);
    client_sends(f, 'A', PUT_1);
    turn(f);
    assert_int_equal(propose_expected(f, 1, 0, 1)->propose.boot, 2001);
    /* Once chosen it stays, whatever raft says of it later. */
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_2);
    turn(f);
    assert_int_equal(propose_expected(f, 1, 0, 1)->propose.boot, 2001);
    assert_int_equal(propose_expected(f, 2, 1, 1)->propose.boot, 2001);
}

/* ---- refusals ---- */

static void refused_without_leader_is_proposed_again(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    refused_comes(f, 1, DRAX_ENOTLEADER);
    refused_comes(f, 2, DRAX_ENOTLEADER);
    refused_comes(f, 3, DRAX_ENOTLEADER);
    no_answer_expected(f);
    turn(f);
    nothing_expected(f); /* not at once */
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, f->now_ms), f->now_ms + 20);
    turn_at(f, f->now_ms + 20);
    propose_expected(f, 1, 0, 1);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
    no_answer_expected(f);
}

static void those_after_a_refused_one_follow_it_again(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    result_comes_simple(f, 1);
    refused_comes(f, 2, DRAX_EAGAIN); /* 3 may have been taken */
    turn_at(f, f->now_ms + 20);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
}

static void no_space_is_unavailable(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    refused_comes(f, 1, DRAX_ENOSPC);
    error_expected(f, 'A', 1, "UNAVAILABLE");
    no_answer_expected(f);
    /* Those behind it were sent after it; they now follow what was before it. */
    turn(f);
    propose_expected(f, 2, 0, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
}

static void no_space_is_not_said_of_what_was_exposed(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    turn(f);
    status_comes(f, 6, 2);
    turn(f);
    propose_expected(f, 1, 0, 1);
    propose_expected(f, 1, 0, 1);
    refused_comes(f, 1, DRAX_ENOSPC); /* of the second proposal; the first may be in a log */
    no_answer_expected(f);
    turn_at(f, f->now_ms + 4500);
    error_expected(f, 'A', 1, "TIMEOUT");
    no_answer_expected(f);
}

static void refusals_of_unknown_blocks_are_ignored(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    refused_comes(f, 9, DRAX_ENOSPC);
    message_t message = {.kind = MESSAGE_PROPOSE_REFUSED,
                         .propose = {.boot = GATEWAY_BOOT - 1, .seq = 1, .code = DRAX_ENOSPC}};
    message_comes(f, ACTOR_RAFT, &message);
    no_answer_expected(f);
}

/* ---- skipped ---- */

static void a_gap_is_proposed_again(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    result_comes_simple(f, 1);
    f->now_ms += 100;
    skipped_comes(f, 1); /* 3 came to the log without 2 */
    turn(f);
    propose_expected(f, 2, 1, 1);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
    /* The next block skipped for the same reason does not start it once more. */
    skipped_comes(f, 1);
    turn(f);
    nothing_expected(f);
}

static void what_counted_without_result_is_a_timeout(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    skipped_comes(f, 2); /* storage restarted after it had flushed 1 and 2 */
    error_expected(f, 'A', 1, "TIMEOUT");
    error_expected(f, 'A', 2, "TIMEOUT");
    no_answer_expected(f);
    turn_at(f, f->now_ms + 1000);
    propose_expected(f, 3, 2, 1);
    nothing_expected(f);
}

/* The clock went back, and an earlier life's block came after this one's first. */
static void a_greater_boot_of_the_past_is_gone_beyond(void **state) {
    fixture_t *f = *state;
    three_proposed(f);
    result_comes_simple(f, 1);
    answer_expected(f, 'A', "[1, 1, nil, {\"revision\": 1}]");
    message_t message = {.kind = MESSAGE_SKIPPED, .batch = {.boot = GATEWAY_BOOT + 50}};
    message_comes(f, ACTOR_STORAGE, &message);
    error_expected(f, 'A', 2, "TIMEOUT"); /* they may have counted before it */
    error_expected(f, 'A', 3, "TIMEOUT");
    client_sends(f, 'A', PUT_1);
    turn(f);
    message_t *propose = fake_post_find(&f->post, MESSAGE_PROPOSE);
    assert_non_null(propose);
    assert_int_equal(propose->propose.boot, GATEWAY_BOOT + 51);
    block_t block;
    assert_int_equal(block_open(&block, payload_slice(propose->propose.payload)), 0);
    assert_int_equal(block.boot, GATEWAY_BOOT + 51);
    assert_int_equal(block.prev, 0);
}

/* ---- deadlines ---- */

static void never_exposed_is_unavailable(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', PUT_1);
    turn_at(f, 14499);
    no_answer_expected(f);
    assert_int_equal(gateway_actor_ops.deadline(f->gateway, 14499), 14500);
    turn_at(f, 14500);
    error_expected(f, 'A', 1, "UNAVAILABLE");
    /* And never will be: a leader that comes now is told nothing. */
    status_comes(f, 5, 1);
    turn(f);
    nothing_expected(f);
    assert_true(gateway_actor_ops.deadline(f->gateway, f->now_ms) == UINT64_MAX);
}

static void refused_each_time_is_unavailable(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    for (unsigned i = 0; i < 5; i++) {
        turn_at(f, f->now_ms + 20);
        propose_expected(f, 1, 0, 1);
        refused_comes(f, 1, DRAX_EAGAIN);
    }
    turn_at(f, 14500);
    error_expected(f, 'A', 1, "UNAVAILABLE");
}

static void exposed_is_a_timeout(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    turn(f);
    propose_expected(f, 1, 0, 1);
    turn_at(f, 14500);
    error_expected(f, 'A', 1, "TIMEOUT");
    status_comes(f, 6, 2);
    turn(f);
    nothing_expected(f); /* never proposed again */
}

static void a_block_after_one_given_up_follows_the_last_that_counted(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    turn(f);
    result_comes_simple(f, 1);
    client_sends(f, 'A', PUT_2);
    turn(f);
    f->now_ms += 2000;
    client_sends(f, 'A', PUT_3);
    fake_post_skip(&f->post);
    turn_at(f, 14500); /* 2 is given up */
    answer_expected(f, 'A', "[1, 1, nil, {\"revision\": 1}]");
    error_expected(f, 'A', 2, "TIMEOUT");
    no_answer_expected(f);
    propose_expected(f, 3, 1, 1);
    nothing_expected(f);
    /* Should 2 count after all, what comes next follows that. */
    result_comes_simple(f, 2);
    no_answer_expected(f);
    client_sends(f, 'A', "[0, 4, \"put\", [\"k\", \"y\"]]");
    status_comes(f, 6, 2);
    turn(f);
    propose_expected(f, 3, 2, 1);
    propose_expected(f, 4, 3, 1);
    nothing_expected(f);
}

static void a_proposed_block_after_one_given_up_is_built_anew(void **state) {
    fixture_t *f = *state;
    status_comes(f, 5, 1);
    client_sends(f, 'A', PUT_1);
    turn(f);
    f->now_ms += 100;
    client_sends(f, 'A', PUT_2);
    turn(f);
    propose_expected(f, 1, 0, 1);
    propose_expected(f, 2, 1, 1);
    turn_at(f, 14000);
    propose_expected(f, 1, 0, 1);
    propose_expected(f, 2, 1, 1);
    turn_at(f, 14500);
    error_expected(f, 'A', 1, "TIMEOUT");
    nothing_expected(f);
    turn_at(f, 14550);
    skipped_comes(f, 0); /* 2 came to the log, 1 did not */
    turn(f);
    propose_expected(f, 2, 0, 1);
    nothing_expected(f);
    result_comes_simple(f, 2);
    answer_expected(f, 'A', "[1, 2, nil, {\"revision\": 2}]");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_destroy)
    const struct CMUnitTest tests[] = {
        T(a_write_waits_for_a_leader),
        T(commands_of_one_turn_share_a_block),
        T(commands_gather_while_as_many_are_under_way),
        T(commands_that_gather_leave_in_time),
        T(among_reads_commands_gather),
        T(among_reads_commands_leave_soon),
        T(a_block_is_closed_at_its_limit),
        T(a_block_is_closed_at_its_bytes),
        T(results_answer_in_order),
        T(results_of_another_boot_are_not_ours),
        T(a_result_that_does_not_fit_is_a_lost_one),
        T(a_new_leader_gets_all_again),
        T(a_new_raft_actor_gets_all_again),
        T(silence_is_answered_by_repetition),
        T(the_boot_of_blocks_is_above_all_earlier_ones),
        T(refused_without_leader_is_proposed_again),
        T(those_after_a_refused_one_follow_it_again),
        T(no_space_is_unavailable),
        T(no_space_is_not_said_of_what_was_exposed),
        T(refusals_of_unknown_blocks_are_ignored),
        T(a_gap_is_proposed_again),
        T(what_counted_without_result_is_a_timeout),
        T(a_greater_boot_of_the_past_is_gone_beyond),
        T(never_exposed_is_unavailable),
        T(refused_each_time_is_unavailable),
        T(exposed_is_a_timeout),
        T(a_block_after_one_given_up_follows_the_last_that_counted),
        T(a_proposed_block_after_one_given_up_is_built_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
