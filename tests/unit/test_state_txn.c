/* test_state_txn.c: transactions: what compares mean, that operations see each other and share a
 * revision, and that a refused one leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/block.h"
#include "broker/error.h"
#include "message_random.h"
#include "state_helper.h"
#include "text_msgpack.h"

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
#define QUERY(request, want) assert_string_equal(world_query(world, request), want)
#define TXN(params) "[0, 1, \"txn\", [" params "]]"

/* ---- compares ---- */

static void compares_of_every_target(void **state) {
    world_t *world = *state;
    APPLY("[0, 1, \"put\", [\"other\", \"x\"]]", "{index: 1, revision: 1}");
    APPLY("[0, 1, \"put\", [\"k\", \"m\"]]", "{index: 2, revision: 2}");
    APPLY("[0, 1, \"put\", [\"k\", \"m\"]]", "{index: 3, revision: 3}");
    static const struct {
        const char *compare;
        bool holds;
    } cases[] = {
        {"[\"k\", \"index\", \"=\", 3]", true},
        {"[\"k\", \"index\", \"=\", 2]", false},
        {"[\"k\", \"index\", \"!=\", 2]", true},
        {"[\"k\", \"index\", \"!=\", 3]", false},
        {"[\"k\", \"index\", \"<\", 4]", true},
        {"[\"k\", \"index\", \"<\", 3]", false},
        {"[\"k\", \"index\", \">\", 2]", true},
        {"[\"k\", \"index\", \">\", 3]", false},
        {"[\"k\", \"version\", \"=\", 2]", true},
        {"[\"k\", \"version\", \">\", 1]", true},
        {"[\"k\", \"version\", \"<\", 2]", false},
        {"[\"k\", \"version\", \"!=\", 2]", false},
        {"[\"no\", \"index\", \"=\", 0]", true},
        {"[\"no\", \"index\", \"<\", 1]", true},
        {"[\"no\", \"index\", \">\", 0]", false},
        {"[\"no\", \"version\", \"=\", 0]", true},
        {"[\"no\", \"version\", \"!=\", 0]", false},
        {"[\"k\", \"value\", \"=\", \"m\"]", true},
        {"[\"k\", \"value\", \"=\", \"mm\"]", false},
        {"[\"k\", \"value\", \"<\", \"mm\"]", true},
        {"[\"k\", \"value\", \">\", \"\"]", true},
        {"[\"k\", \"value\", \">\", b\"\\xff\"]", false},
        {"[\"k\", \"value\", \"!=\", \"m\"]", false},
        {"[\"no\", \"value\", \"!=\", \"m\"]", true},
        {"[\"no\", \"value\", \"=\", \"\"]", false},
        {"[\"no\", \"value\", \"<\", \"m\"]", false},
        {"[\"no\", \"value\", \">\", \"\"]", false},
        {"[\"k\", \"exists\", \"=\", true]", true},
        {"[\"k\", \"exists\", \"=\", false]", false},
        {"[\"no\", \"exists\", \"=\", false]", true},
        {"[\"no\", \"exists\", \"!=\", false]", false},
        {"[\"no\", \"exists\", \"!=\", true]", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[256];
        snprintf(command, sizeof command, "[0, 1, \"txn\", [[%s], [], []]]", cases[i].compare);
        const char *want = cases[i].holds ? "{succeeded: true, results: [], revision: 3}"
                                          : "{succeeded: false, results: [], revision: 3}";
        if (strcmp(world_apply(world, command), want) != 0)
            fail_msg("%s: %s", cases[i].compare, (const char *) world->text.data);
    }
}

static void all_compares_must_hold(void **state) {
    world_t *world = *state;
    world_apply(world, "[0, 1, \"put\", [\"a\", \"1\"]]");
    APPLY(TXN("[[\"a\", \"index\", \"=\", 1], [\"b\", \"exists\", \"=\", false]], "
              "[[\"put\", [\"b\", \"then\"]]], [[\"put\", [\"b\", \"else\"]]]"),
          "{succeeded: true, results: [{index: 2, revision: 2}], revision: 2}");
    APPLY(TXN("[[\"a\", \"index\", \"=\", 1], [\"b\", \"exists\", \"=\", false]], "
              "[[\"put\", [\"b\", \"then\"]]], [[\"put\", [\"b\", \"else\"]]]"),
          "{succeeded: false, results: [{index: 3, revision: 3}], revision: 3}");
    QUERY("[0, 1, \"get\", [\"b\"]]", "{key: \"b\", value: 'else', index: 3, revision: 3}");
}

/* ---- operations ---- */

static void operations_see_each_other_and_share_a_revision(void **state) {
    world_t *world = *state;
    APPLY(TXN("[], [[\"exists\", [\"d/a\"]], [\"put\", [\"d/a\", \"1\"]], "
              "[\"put\", [\"d/b\", \"2\"]], [\"get\", [\"d/a\"]], [\"list\", [\"d\"]], "
              "[\"atomic_put\", [\"d/a\", \"3\", 1]], [\"delete\", [\"d/b\"]], "
              "[\"range\", [\"\", \"\", {\"keys_only\": true}]], [\"put\", [\"d/b\", \"4\"]]], []"),
          "{succeeded: true, results: [{exists: false, revision: 0}, {index: 1, revision: 1}, "
          "{index: 1, revision: 1}, {key: \"d/a\", value: '1', index: 1, revision: 1}, "
          "{pairs: [{key: \"d/a\", value: '1', index: 1}, {key: \"d/b\", value: '2', index: 1}], "
          "more: false, revision: 1}, {key: \"d/a\", value: '3', index: 1, revision: 1}, "
          "{revision: 1}, {pairs: [{key: \"d/a\", index: 1}], count: 1, more: false, "
          "revision: 1}, {index: 1, revision: 1}], revision: 1}");
    APPLY(TXN("[[\"d/a\", \"version\", \"=\", 2], [\"d/b\", \"version\", \"=\", 1]], "
              "[[\"delete_tree\", [\"d\"]], [\"exists\", [\"d/a\"]]], []"),
          "{succeeded: true, results: [{deleted: 2, revision: 2}, {exists: false, revision: 2}], "
          "revision: 2}");
    assert_int_equal(state_keys(world->state), 0);
}

static void what_changes_nothing_takes_no_revision(void **state) {
    world_t *world = *state;
    world_apply(world, "[0, 1, \"put\", [\"a\", \"1\"]]");
    APPLY(TXN("[], [], []"), "{succeeded: true, results: [], revision: 1}");
    APPLY(TXN("[], [[\"get\", [\"a\"]], [\"exists\", [\"b\"]]], []"),
          "{succeeded: true, results: [{key: \"a\", value: '1', index: 1, revision: 1}, "
          "{exists: false, revision: 1}], revision: 1}");
    assert_int_equal(state_revision(world->state), 1);
}

static void time_to_live_within(void **state) {
    world_t *world = *state;
    APPLY(TXN("[], [[\"put\", [\"a\", \"1\", {\"ttl_ms\": 50}]], [\"get\", [\"a\"]]], []"),
          "{succeeded: true, results: [{index: 1, revision: 1}, "
          "{key: \"a\", value: '1', index: 1, revision: 1, ttl_ms: 50}], revision: 1}");
    /* A refused one does not move when the next key is due, either way. */
    uint64_t due_ms;
    APPLY(TXN("[], [[\"put\", [\"a\", \"2\"]], [\"put\", [\"b\", \"2\", {\"ttl_ms\": 5}]], "
              "[\"delete\", [\"no\"]]], []"),
          "KEY_NOT_FOUND");
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    assert_int_equal(due_ms, 1050);
    assert_int_equal(world_expire(world, 1050), 1);
    assert_int_equal(state_keys(world->state), 0);
    assert_false(state_has_expiries(world->state));
}

/* ---- refusals ---- */

static void one_refusal_refuses_all(void **state) {
    static const struct {
        const char *operation, *code;
    } refusals[] = {
        {"[\"get\", [\"no\"]]", "KEY_NOT_FOUND"},
        {"[\"list\", [\"no\"]]", "KEY_NOT_FOUND"},
        {"[\"delete\", [\"no\"]]", "KEY_NOT_FOUND"},
        {"[\"delete_tree\", [\"no\"]]", "KEY_NOT_FOUND"},
        {"[\"atomic_put\", [\"a\", \"v\", nil]]", "KEY_EXISTS"},
        {"[\"atomic_put\", [\"a\", \"v\", 1]]", "KEY_MODIFIED"}, /* put just before */
        {"[\"atomic_delete\", [\"a\", nil]]", "PREVIOUS_NOT_SPECIFIED"},
        {"[\"put\", [\"z\", \"v\", {\"lease\": 99}]]", "LEASE_NOT_FOUND"},
        {"[\"put\", [\"z\", \"v\", {\"fence\": [\"l\", 1]}]]", "LOCK_LOST"},
    };
    world_t *world = *state;
    world_apply(world, "[0, 1, \"put\", [\"a\", \"1\", {\"ttl_ms\": 9000}]]");
    world_apply(world, "[0, 1, \"put\", [\"t/1\", \"1\"]]");
    world_apply(world, "[0, 1, \"put\", [\"t/2\", \"2\"]]");
    static char before[4096];
    for (int flushed = 0; flushed < 2; flushed++) {
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
            char command[512];
            snprintf(before, sizeof before, "%s",
                     world_query(world, "[0, 1, \"range\", [\"\", \"\"]]"));
            snprintf(command, sizeof command,
                     TXN("[], [[\"put\", [\"a\", \"changed\"]], [\"put\", [\"new\", \"v\", "
                         "{\"ttl_ms\": 3}]], [\"delete_tree\", [\"t\"]], %s, [\"put\", [\"y\", "
                         "\"v\"]]], []"),
                     refusals[i].operation);
            assert_string_equal(world_apply(world, command), refusals[i].code);
            QUERY("[0, 1, \"range\", [\"\", \"\"]]", before);
        }
        world_flush(world);
    }
    assert_int_equal(state_revision(world->state), 3);
    assert_int_equal(state_keys(world->state), 3);
}

/* ---- exactly once ---- */

static void answers_are_kept_whole(void **state) {
    world_t *world = *state;
    static const char once[] =
        TXN("[[\"a\", \"exists\", \"=\", false]], [[\"put\", [\"a\", \"1\"]], [\"get\", [\"a\"]]], "
            "[[\"get\", [\"a\"]]], {\"client\": \"c\", \"seq\": 1}");
    static const char refused[] =
        TXN("[], [[\"put\", [\"b\", \"1\"]], [\"delete\", [\"no\"]]], [], "
            "{\"client\": \"c\", \"seq\": 2}");
    for (int round = 0; round < 4; round++) {
        APPLY(once, "{succeeded: true, results: [{index: 1, revision: 1}, "
                    "{key: \"a\", value: '1', index: 1, revision: 1}], revision: 1}");
        APPLY(refused, "KEY_NOT_FOUND");
        if (round == 0)
            world_apply(world, "[0, 1, \"put\", [\"no\", \"now it is there\"]]");
        if (round == 1)
            world_flush(world);
        assert_int_equal(state_revision(world->state), 2);
    }
    /* The same in other bytes, and what is not the same. */
    APPLY(TXN("[[b\"a\", \"exists\", \"=\", false]], [[\"put\", [b\"a\", b\"1\", {}]], [\"get\", "
              "[\"a\", {\"stale\": nil}]]], [[\"get\", [\"a\"]]], {\"seq\": 1, \"client\": \"c\"}"),
          "{succeeded: true, results: [{index: 1, revision: 1}, "
          "{key: \"a\", value: '1', index: 1, revision: 1}], revision: 1}");
    static const char *const others[] = {
        "[[\"a\", \"exists\", \"!=\", false]], [[\"put\", [\"a\", \"1\"]], [\"get\", [\"a\"]]], "
        "[[\"get\", [\"a\"]]]",
        "[], [[\"put\", [\"a\", \"1\"]], [\"get\", [\"a\"]]], [[\"get\", [\"a\"]]]",
        "[[\"a\", \"exists\", \"=\", false]], [[\"put\", [\"a\", \"1\"]]], "
        "[[\"get\", [\"a\"]], [\"get\", [\"a\"]]]",
        "[[\"a\", \"exists\", \"=\", false]], [[\"put\", [\"a\", \"2\"]], [\"get\", [\"a\"]]], "
        "[[\"get\", [\"a\"]]]",
        "[[\"a\", \"exists\", \"=\", false]], [[\"put\", [\"a\", \"1\"]], [\"exists\", [\"a\"]]], "
        "[[\"get\", [\"a\"]]]",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char command[512];
        snprintf(command, sizeof command, "[0, 1, \"txn\", [%s, {\"client\": \"c\", \"seq\": 1}]]",
                 others[i]);
        APPLY(command, "INVALID_ARGUMENT");
    }
}

/* ---- bounds ---- */

static void big_value_put(world_t *world, const char *key) {
    char command[64];
    snprintf(command, sizeof command, "[0, 1, \"put\", [\"%s\", \"v\"*1000000]]", key);
    world_apply(world, command);
}

static void answers_are_bounded(void **state) {
    world_t *world = *state;
    big_value_put(world, "big");
    for (size_t gets = 16; gets <= 17; gets++) {
        char command[1024];
        size_t at = (size_t) snprintf(command, sizeof command,
                                      "[0, 1, \"txn\", [[], [[\"put\", [\"x\", \"\"]]");
        for (size_t i = 0; i < gets; i++)
            at += (size_t) snprintf(command + at, sizeof command - at, ", [\"get\", [\"big\"]]");
        snprintf(command + at, sizeof command - at, "], []]]");
        const char *answer = world_apply(world, command);
        if (gets == 16)
            assert_memory_equal(answer, "{succeeded: true", 16);
        else
            assert_string_equal(answer, "TOO_LARGE");
        assert_int_equal(state_revision(world->state), 2);
    }
}

/* The transactions of a block that together answer too much. */
static void blocks_answer_no_more_than_so_much(void **state) {
    world_t *world = *state;
    big_value_put(world, "big");
    buffer_t command = {0}, block = {0};
    state_applied_t applied;
    text_msgpack(&command, TXN("[], [[\"get\", [\"big\"]], [\"put\", [\"x\", \"\"]]], []"));
    const size_t count = LIMIT_BLOCK_ANSWER_BYTES / 1000000 + 5;
    block_begin(&block, WORLD_NODE, 1, world->seq + 1, world->seq, count);
    for (size_t i = 0; i < count; i++)
        block_add(&block, (slice_t){command.data, command.size});
    world->seq++;
    assert_int_equal(world_block(world, &block, &applied), 0);
    batch_t batch;
    uint64_t token;
    slice_t outcome;
    size_t refused = 0;
    assert_true(applied.results->size < LIMIT_BLOCK_ANSWER_BYTES + 1100000);
    assert_int_equal(batch_open(&batch, (slice_t){applied.results->data, applied.results->size}),
                     0);
    while (batch_next(&batch, &token, &outcome) == 1) {
        outcome_text(&world->text, outcome);
        refused += strcmp((const char *) world->text.data, "UNAVAILABLE") == 0;
    }
    assert_int_equal(refused, 4);
    assert_int_equal(state_revision(world->state), 1 + count - refused);
    buffer_free(&block);
    buffer_free(&command);
}

static void keys_gone_over_are_bounded(void **state) {
    world_t *world = *state;
    buffer_t block = {0}, command = {0};
    state_applied_t applied;
    for (size_t i = 0; i <= LIMIT_TXN_KEYS;) {
        size_t count = LIMIT_TXN_KEYS + 1 - i < 4096 ? LIMIT_TXN_KEYS + 1 - i : 4096;
        buffer_reset(&block);
        block_begin(&block, WORLD_NODE, 1, world->seq + 1, world->seq, count);
        for (size_t n = 0; n < count; n++, i++) {
            char text[64];
            snprintf(text, sizeof text, "[0, 1, \"put\", [\"k/%zu\", \"\"]]", i);
            buffer_reset(&command);
            text_msgpack(&command, text);
            block_add(&block, (slice_t){command.data, command.size});
        }
        world->seq++;
        assert_int_equal(world_block(world, &block, &applied), 0);
    }
    uint64_t revision = state_revision(world->state);
    static const char *const operations[] = {
        "[\"range\", [\"\", \"\", {\"count_only\": true}]]",
        "[\"delete_tree\", [\"\"]]",
        "[\"list\", [\"k\", {\"keys_only\": true}]], [\"range\", [\"\", \"k/9\", {\"count_only\": "
        "true}]]",
    };
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        char text[256];
        snprintf(text, sizeof text, "[0, 1, \"txn\", [[], [%s], []]]", operations[i]);
        APPLY(text, "TOO_LARGE");
        assert_int_equal(state_revision(world->state), revision);
        assert_int_equal(state_keys(world->state), LIMIT_TXN_KEYS + 1);
    }
    world_apply(world, "[0, 1, \"delete\", [\"k/0\"]]");
    char want[128];
    snprintf(want, sizeof want,
             "{succeeded: true, results: [{deleted: %u, revision: %llu}], revision: %llu}",
             LIMIT_TXN_KEYS, (unsigned long long) revision + 2, (unsigned long long) revision + 2);
    APPLY(TXN("[], [[\"delete_tree\", [\"k\"]]], []"), want);
    buffer_free(&block);
    buffer_free(&command);
}

/* ---- against a twin that never sees what is refused ---- */

static void operation_random(uint64_t *seed, char *out, size_t size) {
    unsigned key = (unsigned) (random_next(seed) % 12), other = (unsigned) (random_next(seed) % 3);
    switch (random_next(seed) % 8) {
    case 0:
    case 1:
        snprintf(out, size, "[\"put\", [\"%u/%u\", \"v\"*%u]]", other, key, key * 7);
        break;
    case 2:
        snprintf(out, size, "[\"put\", [\"%u/%u\", \"t\", {\"ttl_ms\": %u}]]", other, key, key + 1);
        break;
    case 3:
        snprintf(out, size, "[\"delete\", [\"%u/%u\"]]", other, key);
        break;
    case 4:
        snprintf(out, size, "[\"atomic_put\", [\"%u/%u\", \"a\", nil]]", other, key);
        break;
    case 5:
        snprintf(out, size, "[\"delete_tree\", [\"%u\"]]", other);
        break;
    case 6:
        snprintf(out, size, "[\"get\", [\"%u/%u\"]]", other, key);
        break;
    default:
        snprintf(out, size, "[\"list\", [\"%u\"]]", other);
    }
}

static void txn_random(uint64_t *seed, char *out, size_t size) {
    size_t count = random_next(seed) % 6 + 1;
    size_t at = (size_t) snprintf(out, size, "[0, 1, \"txn\", [[], [");
    for (size_t i = 0; i < count; i++) {
        char operation[128];
        operation_random(seed, operation, sizeof operation);
        at += (size_t) snprintf(out + at, size - at, "%s%s", i ? ", " : "", operation);
    }
    snprintf(out + at, size - at, "], []]]");
}

/* Whatever is refused leaves exactly nothing: digest, counts, expiries, and every key. */
static void refused_ones_leave_nothing(void **state) {
    (void) state;
    size_t refused = 0, kept = 0;
    for (uint64_t round = 1; round <= 10; round++) {
        uint64_t seed = round;
        world_t world, twin;
        kv_t *kv;
        assert_int_equal(kv_memory_open(&kv), 0);
        world_open(&world, kv);
        assert_int_equal(kv_memory_open(&kv), 0);
        world_open(&twin, kv);
        for (int i = 0; i < 300; i++) {
            char command[1024];
            uint64_t due_ms, twin_due_ms;
            world.time_ms = twin.time_ms = 1000 + (uint64_t) i;
            txn_random(&seed, command, sizeof command);
            bool success = world_apply(&world, command)[0] == '{';
            world_apply(&twin, success ? command : "nil"); /* the same block, or an empty one */
            success ? kept++ : refused++;
            assert_true(state_digest(world.state) == state_digest(twin.state));
            assert_int_equal(state_revision(world.state), state_revision(twin.state));
            assert_int_equal(state_keys(world.state), state_keys(twin.state));
            assert_int_equal(state_next_expiry(world.state, &due_ms), 0);
            assert_int_equal(state_next_expiry(twin.state, &twin_due_ms), 0);
            assert_int_equal(due_ms, twin_due_ms);
            assert_int_equal(state_has_expiries(world.state), state_has_expiries(twin.state));
            if (random_next(&seed) % 20 == 0)
                world_flush(&world);
            if (random_next(&seed) % 10 == 0)
                assert_int_equal(world_expire(&world, world.time_ms),
                                 world_expire(&twin, twin.time_ms));
        }
        char *all = strdup(world_query(&world, "[0, 1, \"range\", [\"\", \"\"]]"));
        assert_string_equal(world_query(&twin, "[0, 1, \"range\", [\"\", \"\"]]"), all);
        free(all);
        world_close(&world);
        world_close(&twin);
    }
    assert_true(refused > 500 && kept > 500);
}

int main(void) {
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(compares_of_every_target),
        WORLD_TEST(all_compares_must_hold),
        WORLD_TEST(operations_see_each_other_and_share_a_revision),
        WORLD_TEST(what_changes_nothing_takes_no_revision),
        WORLD_TEST(time_to_live_within),
        WORLD_TEST(one_refusal_refuses_all),
        WORLD_TEST(answers_are_kept_whole),
        WORLD_TEST(answers_are_bounded),
        WORLD_TEST(blocks_answer_no_more_than_so_much),
        WORLD_TEST(keys_gone_over_are_bounded),
        WORLD_TEST(refused_ones_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
