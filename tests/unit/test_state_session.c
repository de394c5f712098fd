/* test_state_session.c: exactly once: repeated requests, other arguments, and what is forgotten
 * when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "state_helper.h"

#define HOUR_MS 3600000u

static int world_setup(void **state) {
    static world_t world;
    kv_t *kv;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(&world, kv);
    world.time_ms = 1000;
    *state = &world;
    return 0;
}

static int world_teardown(void **state) {
    world_close(*state);
    return 0;
}

#define APPLY(command, want) assert_string_equal(world_apply(world, command), want)

static const char *put_with(world_t *world, const char *client, unsigned long long seq) {
    static char command[128];
    snprintf(command, sizeof command,
             "[0, 1, \"put\", [\"k\", \"v\", {\"client\": \"%s\", \"seq\": %llu}]]", client, seq);
    return world_apply(world, command);
}

static void repetitions_get_the_first_answer(void **state) {
    world_t *world = *state;
    static const char put[] = "[0, 1, \"put\", [\"a\", \"v\", {\"client\": \"c\", \"seq\": 1}]]";
    static const char cas[] =
        "[0, 1, \"atomic_put\", [\"a\", \"w\", 1, {\"client\": \"c\", \"seq\": 2}]]";
    static const char refused[] =
        "[0, 1, \"atomic_put\", [\"a\", \"x\", 1, {\"client\": \"c\", \"seq\": 3}]]";
    static const char tree[] = "[0, 1, \"delete_tree\", [\"\", {\"client\": \"c\", \"seq\": 4}]]";
    static const char gone[] = "[0, 1, \"delete\", [\"a\", {\"client\": \"c\", \"seq\": 5}]]";
    for (int round = 0; round < 4; round++) {
        APPLY(put, "{index: 1, revision: 1}");
        APPLY(cas, "{key: \"a\", value: 'w', index: 2, revision: 2}");
        APPLY(refused, "KEY_MODIFIED");
        APPLY(tree, "{deleted: 1, revision: 3}");
        APPLY(gone, "KEY_NOT_FOUND");
        assert_int_equal(state_revision(world->state), 3);
        if (round == 1)
            world_flush(world); /* also when the answers are on disk alone */
    }
    /* Another msgid is the same request; another client is another one. */
    APPLY("[0, 77, \"put\", [b\"a\", \"v\", {\"client\": \"c\", \"seq\": 1}]]",
          "{index: 1, revision: 1}");
    APPLY("[0, 1, \"put\", [\"a\", \"v\", {\"client\": \"d\", \"seq\": 1}]]",
          "{index: 4, revision: 4}");
}

static void other_arguments_are_refused(void **state) {
    static const char *const others[] = {
        "[0, 1, \"put\", [\"b\", \"v\", {\"client\": \"c\", \"seq\": 1}]]",
        "[0, 1, \"put\", [\"a\", \"w\", {\"client\": \"c\", \"seq\": 1}]]",
        "[0, 1, \"put\", [\"a\", \"v\", {\"client\": \"c\", \"seq\": 1, \"ttl_ms\": 9}]]",
        "[0, 1, \"put\", [\"a\", \"v\", {\"client\": \"c\", \"seq\": 1, \"lease\": 9}]]",
        "[0, 1, \"put\", [\"a\", \"v\", {\"client\": \"c\", \"seq\": 1, \"fence\": [\"l\", 1]}]]",
        "[0, 1, \"atomic_put\", [\"a\", \"v\", nil, {\"client\": \"c\", \"seq\": 1}]]",
        "[0, 1, \"delete\", [\"a\", {\"client\": \"c\", \"seq\": 1}]]",
        "[0, 1, \"put\", [\"av\", \"\", {\"client\": \"c\", \"seq\": 1}]]",
    };
    world_t *world = *state;
    APPLY("[0, 1, \"put\", [\"a\", \"v\", {\"client\": \"c\", \"seq\": 1}]]",
          "{index: 1, revision: 1}");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        APPLY(others[i], "INVALID_ARGUMENT");
    assert_int_equal(state_revision(world->state), 1);
}

static void the_last_answers_are_kept(void **state) {
    world_t *world = *state;
    for (unsigned seq = 1; seq <= SESSION_ANSWERS; seq++) {
        put_with(world, "c", seq);
        if (seq % 300 == 0)
            world_flush(world);
    }
    assert_string_equal(put_with(world, "c", 1), "{index: 1, revision: 1}");
    put_with(world, "c", SESSION_ANSWERS + 1);
    assert_string_equal(put_with(world, "c", 1), "INVALID_ARGUMENT");
    assert_string_equal(put_with(world, "c", 2), "{index: 2, revision: 2}");
    assert_int_equal(state_revision(world->state), SESSION_ANSWERS + 1);
}

/* Seqs with gaps, out of order: 1,024 answers are kept all the same, the lowest go first. */
static void gaps_do_not_cost_answers(void **state) {
    world_t *world = *state;
    for (unsigned i = 1; i <= SESSION_ANSWERS; i++) {
        unsigned at = (i * 7) % SESSION_ANSWERS; /* 7 and 1,024 share no factor */
        put_with(world, "c", 10 + at * 1000ull);
    }
    for (unsigned at = 0; at < SESSION_ANSWERS; at += 33)
        assert_string_not_equal(put_with(world, "c", 10 + at * 1000ull), "INVALID_ARGUMENT");
    assert_int_equal(state_revision(world->state), SESSION_ANSWERS);
    assert_string_equal(put_with(world, "c", 9), "INVALID_ARGUMENT"); /* below what is kept */
    put_with(world, "c", 500000);                                     /* in a gap: is applied */
    assert_int_equal(state_revision(world->state), SESSION_ANSWERS + 1);
    assert_string_equal(put_with(world, "c", 10), "INVALID_ARGUMENT");
    assert_string_not_equal(put_with(world, "c", 1010), "INVALID_ARGUMENT");
    put_with(world, "c", 500001);
    assert_string_equal(put_with(world, "c", 1010), "INVALID_ARGUMENT");
    assert_int_equal(state_revision(world->state), SESSION_ANSWERS + 2);
}

static void clients_are_told_apart(void **state) {
    world_t *world = *state;
    assert_string_equal(put_with(world, "a", 1), "{index: 1, revision: 1}");
    assert_string_equal(put_with(world, "a\\x00", 1), "{index: 2, revision: 2}");
    assert_string_equal(put_with(world, "a\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01", 1),
                        "{index: 3, revision: 3}");
    assert_string_equal(put_with(world, "a", 2), "{index: 4, revision: 4}");
    assert_string_equal(put_with(world, "a\\x00", 1), "{index: 2, revision: 2}");
}

static void idle_clients_are_forgotten(void **state) {
    world_t *world = *state;
    uint64_t empty = state_digest(world->state);
    for (unsigned seq = 1; seq <= 150; seq++)
        put_with(world, "idle", seq);
    put_with(world, "busy", 1);
    world->time_ms += HOUR_MS - 1;
    assert_string_equal(put_with(world, "idle", 150), "{index: 150, revision: 150}");
    assert_string_equal(put_with(world, "busy", 1), "{index: 151, revision: 151}");

    /* Both were used a moment ago; now only one is, and an hour passes. */
    world->time_ms += HOUR_MS - 60000;
    put_with(world, "busy", 1);
    world_flush(world);
    world->time_ms += 200000;
    for (int i = 0; i < 3; i++) /* 150 answers go in three entries of 64 */
        put_with(world, "busy", 1);
    assert_string_equal(put_with(world, "idle", 150), "{index: 152, revision: 152}");
    assert_string_equal(put_with(world, "busy", 1), "{index: 151, revision: 151}");

    /* When all are forgotten and no key is left, nothing is left of the clients in the digest. */
    world_apply(world, "[0, 1, \"delete_tree\", [\"\"]]");
    world->time_ms += 2 * HOUR_MS;
    for (int i = 0; i < 4; i++)
        world_apply(world, "nil");
    assert_int_equal(state_keys(world->state), 0);
    uint64_t forgotten = state_digest(world->state);
    kv_t *kv;
    world_t other;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(&other, kv);
    assert_true(state_digest(other.state) == empty);
    for (uint64_t i = 0; i < world->seq; i++)
        world_apply(&other, "nil"); /* brings its origin to the same block */
    assert_true(state_digest(other.state) == forgotten);
    world_close(&other);
}

/* While a session is being forgotten in steps, what is already gone is refused, not applied again.
 */
static void half_forgotten_sessions_are_safe(void **state) {
    world_t *world = *state;
    for (unsigned seq = 1; seq <= 100; seq++)
        put_with(world, "c", seq);
    world->time_ms += HOUR_MS + 120000;
    world_apply(world, "nil"); /* the first 64 go */
    assert_string_equal(put_with(world, "c", 64), "INVALID_ARGUMENT");
    assert_int_equal(state_revision(world->state), 100);
}

int main(void) {
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(repetitions_get_the_first_answer), WORLD_TEST(other_arguments_are_refused),
        WORLD_TEST(the_last_answers_are_kept),        WORLD_TEST(gaps_do_not_cost_answers),
        WORLD_TEST(clients_are_told_apart),           WORLD_TEST(idle_clients_are_forgotten),
        WORLD_TEST(half_forgotten_sessions_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
