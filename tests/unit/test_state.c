/* test_state.c: the rules of the methods, one by one, as a user of the contract would read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "broker/block.h"
#include "broker/error.h"
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

/* ---- single keys ---- */

static void put_get_delete(void **state) {
    world_t *world = *state;
    QUERY("[0, 1, \"get\", [\"a\"]]", "KEY_NOT_FOUND");
    QUERY("[0, 1, \"exists\", [\"a\"]]", "{exists: false, revision: 0}");
    APPLY("[0, 1, \"put\", [\"a\", \"one\"]]", "{index: 1, revision: 1}");
    QUERY("[0, 1, \"get\", [\"a\"]]", "{key: \"a\", value: 'one', index: 1, revision: 1}");
    APPLY("[0, 1, \"put\", [\"b\", b\"\\x00\\xff\"]]", "{index: 2, revision: 2}");
    QUERY("[0, 1, \"get\", [b\"b\"]]", "{key: \"b\", value: '\\x00\\xff', index: 2, revision: 2}");
    APPLY("[0, 1, \"put\", [\"a\", \"\"]]", "{index: 3, revision: 3}");
    QUERY("[0, 1, \"get\", [\"a\"]]", "{key: \"a\", value: '', index: 3, revision: 3}");
    QUERY("[0, 1, \"exists\", [\"a\"]]", "{exists: true, revision: 3}");
    assert_int_equal(state_keys(world->state), 2);
    APPLY("[0, 1, \"delete\", [\"a\"]]", "{revision: 4}");
    APPLY("[0, 1, \"delete\", [\"a\"]]", "KEY_NOT_FOUND");
    QUERY("[0, 1, \"get\", [\"a\"]]", "KEY_NOT_FOUND");
    assert_int_equal(state_revision(world->state), 4);
    assert_int_equal(state_keys(world->state), 1);
    APPLY("[0, 1, \"put\", [\"\\xff\", \"v\"]]", "{index: 5, revision: 5}");
    QUERY("[0, 1, \"get\", [\"\\xff\"]]", "{key: '\\xff', value: 'v', index: 5, revision: 5}");
}

static void atomic_put_rules(void **state) {
    world_t *world = *state;
    APPLY("[0, 1, \"atomic_put\", [\"k\", \"v\", 7]]", "KEY_MODIFIED"); /* gone, or never there */
    APPLY("[0, 1, \"atomic_put\", [\"k\", \"v\", nil]]",
          "{key: \"k\", value: 'v', index: 1, revision: 1}");
    APPLY("[0, 1, \"atomic_put\", [\"k\", \"w\", nil]]", "KEY_EXISTS");
    APPLY("[0, 1, \"atomic_put\", [\"k\", \"w\", 2]]", "KEY_MODIFIED");
    APPLY("[0, 1, \"atomic_put\", [\"k\", \"w\", 1]]",
          "{key: \"k\", value: 'w', index: 2, revision: 2}");
    APPLY("[0, 1, \"atomic_put\", [\"k\", \"x\", 1]]", "KEY_MODIFIED");
    QUERY("[0, 1, \"get\", [\"k\"]]", "{key: \"k\", value: 'w', index: 2, revision: 2}");
}

static void atomic_delete_rules(void **state) {
    world_t *world = *state;
    APPLY("[0, 1, \"atomic_delete\", [\"k\", nil]]", "PREVIOUS_NOT_SPECIFIED");
    APPLY("[0, 1, \"atomic_delete\", [\"k\", 1]]", "KEY_NOT_FOUND");
    APPLY("[0, 1, \"put\", [\"k\", \"v\"]]", "{index: 1, revision: 1}");
    APPLY("[0, 1, \"atomic_delete\", [\"k\", 9]]", "KEY_MODIFIED");
    APPLY("[0, 1, \"atomic_delete\", [\"k\", nil]]", "PREVIOUS_NOT_SPECIFIED");
    APPLY("[0, 1, \"atomic_delete\", [\"k\", 1]]", "{revision: 2}");
    QUERY("[0, 1, \"get\", [\"k\"]]", "KEY_NOT_FOUND");
}

static void leases_and_locks_are_unknown(void **state) {
    world_t *world = *state;
    APPLY("[0, 1, \"put\", [\"k\", \"v\", {\"lease\": 1}]]", "LEASE_NOT_FOUND");
    APPLY("[0, 1, \"put\", [\"k\", \"v\", {\"fence\": [\"l\", 1]}]]", "LOCK_LOST");
    APPLY("[0, 1, \"delete_tree\", [\"\", {\"fence\": [\"l\", 1]}]]", "LOCK_LOST");
    assert_int_equal(state_revision(world->state), 0);
}

/* ---- directories ---- */

static void tree_fill(world_t *world) {
    static const char *const keys[] = {"foo", "foo/a", "foo/b/c", "foo/d", "foobar", "foo/"};
    char command[64];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"%s\", \"%zu\"]]", keys[i], i);
        world_apply(world, command);
    }
}

static void list_rules(void **state) {
    world_t *world = *state;
    QUERY("[0, 1, \"list\", [\"\"]]", "KEY_NOT_FOUND");
    QUERY("[0, 1, \"list\", [\"/\"]]", "KEY_NOT_FOUND");
    tree_fill(world);
    static const char under_foo[] =
        "{pairs: [{key: \"foo/\", index: 6}, {key: \"foo/a\", index: 2}, "
        "{key: \"foo/b/c\", index: 3}, {key: \"foo/d\", index: 4}], "
        "more: false, revision: 6}";
    QUERY("[0, 1, \"list\", [\"foo\", {\"keys_only\": true}]]", under_foo);
    QUERY("[0, 1, \"list\", [\"foo/\", {\"keys_only\": true}]]", under_foo);
    QUERY("[0, 1, \"list\", [\"foo/b\"]]",
          "{pairs: [{key: \"foo/b/c\", value: '2', index: 3}], more: false, revision: 6}");
    QUERY("[0, 1, \"list\", [\"\", {\"keys_only\": true, \"limit\": 1}]]",
          "{pairs: [{key: \"foo\", index: 1}], more: true, revision: 6}");
    QUERY("[0, 1, \"list\", [\"nothing\"]]", "KEY_NOT_FOUND");
    QUERY("[0, 1, \"list\", [\"foobar\"]]", "{pairs: [], more: false, revision: 6}");
    QUERY("[0, 1, \"list\", [\"fo\"]]", "KEY_NOT_FOUND");
}

static void list_pages(void **state) {
    world_t *world = *state;
    tree_fill(world);
    QUERY("[0, 1, \"list\", [\"foo\", {\"keys_only\": true, \"limit\": 2}]]",
          "{pairs: [{key: \"foo/\", index: 6}, {key: \"foo/a\", index: 2}], more: true, revision: "
          "6}");
    QUERY("[0, 1, \"list\", [\"foo\", {\"keys_only\": true, \"limit\": 2, \"after\": \"foo/a\"}]]",
          "{pairs: [{key: \"foo/b/c\", index: 3}, {key: \"foo/d\", index: 4}], more: false, "
          "revision: 6}");
    QUERY("[0, 1, \"list\", [\"foo\", {\"after\": \"foo/d\"}]]",
          "{pairs: [], more: false, revision: 6}");
    QUERY("[0, 1, \"list\", [\"foo\", {\"after\": \"zzz\"}]]",
          "{pairs: [], more: false, revision: 6}");
    QUERY("[0, 1, \"list\", [\"foo\", {\"keys_only\": true, \"limit\": 1, \"after\": \"a\"}]]",
          "{pairs: [{key: \"foo/\", index: 6}], more: true, revision: 6}");
    QUERY("[0, 1, \"list\", [\"foo\", {\"keys_only\": true, \"limit\": 1, \"after\": \"foo/aa\"}]]",
          "{pairs: [{key: \"foo/b/c\", index: 3}], more: true, revision: 6}");
    QUERY("[0, 1, \"list\", [\"none\", {\"after\": \"none/a\"}]]", "KEY_NOT_FOUND");
}

static size_t text_count(const char *text, const char *what) {
    size_t count = 0;
    while ((text = strstr(text, what))) {
        text++;
        count++;
    }
    return count;
}

static void pages_are_cut_by_size(void **state) {
    world_t *world = *state;
    char command[128];
    for (int i = 0; i < 9; i++) {
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"d/%d\", \"x\"*%d]]", i,
                 i == 8 ? 1400000 : 300000);
        world_apply(world, command);
    }
    const char *text = world_query(world, "[0, 1, \"list\", [\"d\"]]");
    assert_int_equal(text_count(text, "key: "), 3);
    assert_non_null(strstr(text, "more: true"));
    text = world_query(world, "[0, 1, \"list\", [\"d\", {\"limit\": 8}]]");
    assert_int_equal(text_count(text, "key: "), 3);
    assert_non_null(strstr(text, "more: true"));
    text = world_query(world, "[0, 1, \"list\", [\"d\", {\"after\": \"d/7\"}]]");
    assert_int_equal(text_count(text, "key: "), 1); /* larger than a page, alone */
    assert_non_null(strstr(text, "more: false"));
    text = world_query(world, "[0, 1, \"range\", [\"d\", \"e\", {\"reverse\": true}]]");
    assert_int_equal(text_count(text, "key: "), 1);
    assert_non_null(strstr(text, "count: 9, more: true"));
    text = world_query(world, "[0, 1, \"list\", [\"d\", {\"keys_only\": true}]]");
    assert_int_equal(text_count(text, "key: "), 9);
}

static void range_rules(void **state) {
    world_t *world = *state;
    tree_fill(world);
    QUERY("[0, 1, \"range\", [\"foo\", \"foo/b\", {\"keys_only\": true}]]",
          "{pairs: [{key: \"foo\", index: 1}, {key: \"foo/\", index: 6}, {key: \"foo/a\", index: "
          "2}], "
          "count: 3, more: false, revision: 6}");
    QUERY(
        "[0, 1, \"range\", [\"foo/b\", \"\", {\"keys_only\": true, \"reverse\": true, \"limit\": "
        "2}]]",
        "{pairs: [{key: \"foobar\", index: 5}, {key: \"foo/d\", index: 4}], count: 3, more: true, "
        "revision: 6}");
    QUERY("[0, 1, \"range\", [\"\", \"\", {\"count_only\": true}]]",
          "{pairs: [], count: 6, more: false, revision: 6}");
    QUERY("[0, 1, \"range\", [\"\", \"foo/d\", {\"reverse\": true, \"limit\": 1}]]",
          "{pairs: [{key: \"foo/b/c\", value: '2', index: 3}], count: 4, more: true, revision: 6}");
    QUERY("[0, 1, \"range\", [\"z\", \"a\"]]", "{pairs: [], count: 0, more: false, revision: 6}");
    QUERY("[0, 1, \"range\", [\"foo\", \"foo\"]]",
          "{pairs: [], count: 0, more: false, revision: 6}");
}

static void delete_tree_rules(void **state) {
    world_t *world = *state;
    APPLY("[0, 1, \"delete_tree\", [\"foo\"]]", "KEY_NOT_FOUND");
    tree_fill(world);
    APPLY("[0, 1, \"delete_tree\", [\"foo/\"]]", "{deleted: 4, revision: 7}");
    QUERY("[0, 1, \"list\", [\"\", {\"keys_only\": true}]]",
          "{pairs: [{key: \"foo\", index: 1}, {key: \"foobar\", index: 5}], more: false, revision: "
          "7}");
    APPLY("[0, 1, \"delete_tree\", [\"foo\"]]", "KEY_NOT_FOUND");
    APPLY("[0, 1, \"delete_tree\", [\"\"]]", "{deleted: 2, revision: 8}");
    QUERY("[0, 1, \"list\", [\"\"]]", "KEY_NOT_FOUND");
    assert_int_equal(state_keys(world->state), 0);
}

static void delete_tree_of_many(void **state) {
    world_t *world = *state;
    char command[96];
    for (int i = 0; i < 2500; i++) {
        if (i == 1300)
            world_flush(world);
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"d/%d\", \"v\", {\"ttl_ms\": %d}]]", i,
                 i + 1);
        world_apply(world, command);
    }
    world_apply(world, "[0, 1, \"put\", [\"e\", \"v\"]]");
    APPLY("[0, 1, \"delete_tree\", [\"d\"]]", "{deleted: 2500, revision: 2502}");
    assert_int_equal(state_keys(world->state), 1);
    assert_false(state_has_expiries(world->state));
    uint64_t due_ms = 1;
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    assert_int_equal(due_ms, 0);
}

/* ---- time ---- */

static void ttl_rules(void **state) {
    world_t *world = *state;
    uint64_t due_ms;
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    assert_int_equal(due_ms, 0);
    world_apply(world, "[0, 1, \"put\", [\"a\", \"v\", {\"ttl_ms\": 500}]]");
    world_apply(world, "[0, 1, \"put\", [\"b\", \"v\", {\"ttl_ms\": 300}]]");
    assert_true(state_has_expiries(world->state));
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    assert_int_equal(due_ms, 1300);
    world->time_ms = 1100;
    QUERY("[0, 1, \"get\", [\"a\"]]",
          "{key: \"a\", value: 'v', index: 1, revision: 2, ttl_ms: 400}");
    world->time_ms = 1600; /* due, but the log has not said so yet */
    QUERY("[0, 1, \"get\", [\"a\"]]", "{key: \"a\", value: 'v', index: 1, revision: 2, ttl_ms: 1}");
    world->time_ms = 1200;
    world_apply(world, "[0, 1, \"put\", [\"b\", \"w\"]]"); /* clears it */
    QUERY("[0, 1, \"get\", [\"b\"]]", "{key: \"b\", value: 'w', index: 3, revision: 3}");
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    assert_int_equal(due_ms, 1500);
    assert_int_equal(world_expire(world, 1499), 0);
    QUERY("[0, 1, \"exists\", [\"a\"]]", "{exists: true, revision: 3}");
    assert_int_equal(world_expire(world, 1500), 1);
    QUERY("[0, 1, \"exists\", [\"a\"]]", "{exists: false, revision: 4}");
    assert_false(state_has_expiries(world->state));
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    assert_int_equal(due_ms, 0);
    world_apply(world, "[0, 1, \"atomic_put\", [\"c\", \"v\", nil, {\"ttl_ms\": 10}]]");
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    assert_int_equal(due_ms, 1510);
}

static void internal_block(world_t *world, const char *const *keys, const uint64_t *revisions,
                           size_t count) {
    buffer_t command = {0}, block = {0};
    state_applied_t applied;
    expire_begin(&command, count);
    for (size_t i = 0; i < count; i++)
        expire_add(&command, (slice_t){(const uint8_t *) keys[i], strlen(keys[i])}, revisions[i]);
    block_begin(&block, 0, 0, 0, 0, 1);
    block_add(&block, (slice_t){command.data, command.size});
    assert_int_equal(world_block(world, &block, &applied), 0);
    assert_false(applied.skipped);
    buffer_free(&command);
    buffer_free(&block);
}

/* A key written again between the proposal and its turn stays; so does one that is not due. */
static void expire_checks_revision_and_time(void **state) {
    world_t *world = *state;
    static const char *const keys[] = {"a", "b", "c", "d", "e"};
    static const uint64_t revisions[] = {1, 2, 3, 4, 9};
    world_apply(world, "[0, 1, \"put\", [\"a\", \"v\", {\"ttl_ms\": 100}]]");
    world_apply(world, "[0, 1, \"put\", [\"b\", \"v\", {\"ttl_ms\": 100}]]");
    world_apply(world, "[0, 1, \"put\", [\"c\", \"v\", {\"ttl_ms\": 900}]]");
    world_apply(world, "[0, 1, \"put\", [\"d\", \"v\"]]");
    world_apply(world, "[0, 1, \"put\", [\"a\", \"w\", {\"ttl_ms\": 100}]]");
    world->time_ms = 1200;
    internal_block(world, keys, revisions, 5);
    QUERY("[0, 1, \"list\", [\"\", {\"keys_only\": true}]]",
          "{pairs: [{key: \"a\", index: 5}, {key: \"c\", index: 3}, {key: \"d\", index: 4}], "
          "more: false, revision: 6}");
    internal_block(world, keys, revisions, 5); /* changes nothing: no revision */
    assert_int_equal(state_revision(world->state), 6);
}

static void expiries_share_a_revision_and_come_in_batches(void **state) {
    world_t *world = *state;
    char command[96];
    for (unsigned i = 0; i < EXPIRY_BATCH + 5; i++) {
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"%u\", \"v\", {\"ttl_ms\": 5}]]", i);
        world_apply(world, command);
        if (i == 300)
            world_flush(world);
    }
    assert_int_equal(world_expire(world, 2000), EXPIRY_BATCH);
    assert_int_equal(state_revision(world->state), EXPIRY_BATCH + 6);
    assert_int_equal(world_expire(world, 2000), 5);
    assert_int_equal(state_keys(world->state), 0);
    assert_int_equal(world_expire(world, 2000), 0);
    assert_int_equal(state_revision(world->state), EXPIRY_BATCH + 7);
}

static void clock_block_only_stamps(void **state) {
    world_t *world = *state;
    buffer_t block = {0};
    state_applied_t applied;
    world->time_ms = 5000;
    assert_int_equal(state_clock_block(world->state, &block), 0);
    uint64_t digest = state_digest(world->state);
    assert_int_equal(world_block(world, &block, &applied), 0);
    assert_int_equal(state_time_ms(world->state), 5000);
    assert_true(state_digest(world->state) == digest);
    assert_int_equal(state_revision(world->state), 0);
    buffer_free(&block);
}

/* ---- blocks and commands that are not as they should be ---- */

static state_applied_t origin_block(world_t *world, uint64_t node, uint64_t boot, uint64_t seq,
                                    uint64_t prev) {
    buffer_t block = {0};
    state_applied_t applied;
    buffer_reset(&world->bytes);
    text_msgpack(&world->bytes, "[0, 1, \"put\", [\"k\", \"v\"]]");
    block_begin(&block, node, boot, seq, prev, 1);
    block_add(&block, (slice_t){world->bytes.data, world->bytes.size});
    assert_int_equal(world_block(world, &block, &applied), 0);
    assert_int_equal(applied.node, node);
    assert_int_equal(applied.boot, boot);
    assert_int_equal(applied.seq, seq);
    assert_int_equal(applied.skipped, applied.results == NULL);
    buffer_free(&block);
    return applied;
}

static void blocks_count_once_and_in_order(void **state) {
    static const struct {
        uint64_t node, boot, seq, prev;
        bool counts;
        uint64_t last;
    } steps[] = {
        {7, 10, 2, 1, false, 0},                          /* its predecessor is missing */
        {7, 10, 1, 0, true, 1},  {7, 10, 1, 0, false, 1}, /* again */
        {7, 10, 3, 2, false, 1}, {7, 10, 2, 1, true, 2},
        {7, 10, 5, 2, true, 5},  /* 3 and 4 were given up by the gateway */
        {7, 10, 4, 2, false, 5}, /* late */
        {8, 3, 1, 0, true, 1},   /* another node counts for itself */
        {7, 9, 6, 5, false, 0},  /* an earlier life */
        {7, 11, 2, 1, false, 0}, /* a later one begins at 0 */
        {7, 10, 6, 5, true, 6},  /* what was skipped changed nothing */
        {7, 11, 1, 0, true, 1},  {7, 10, 7, 6, false, 0},
        {7, 10, 1, 0, false, 0}, /* an earlier life whose first block could else count */
        {0, 0, 0, 0, true, 0},   {0, 0, 0, 0, true, 0},
        {0, 1, 1, 0, false, 0},  {9, 0, 1, 0, false, 0},
        {9, 1, 0, 0, false, 0},
    };
    world_t *world = *state;
    uint64_t revision = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (i % 5 == 4)
            world_flush(world);
        state_applied_t applied =
            origin_block(world, steps[i].node, steps[i].boot, steps[i].seq, steps[i].prev);
        revision += steps[i].counts;
        assert_int_equal(applied.skipped, !steps[i].counts);
        assert_int_equal(applied.last_seq, steps[i].last);
        assert_int_equal(state_revision(world->state), revision);
        assert_int_equal(state_applied(world->state), i + 1);
    }
    assert_int_equal(origin_block(world, 7, 10, 8, 7).last_boot, 11); /* skipped: what counts */
    assert_int_equal(origin_block(world, 7, 12, 8, 7).last_boot, 12);
    assert_int_equal(state_gateway_boot(world->state, 7), 11);
    assert_int_equal(state_gateway_boot(world->state, 8), 3);
    assert_int_equal(state_gateway_boot(world->state, 9), 0);
}

static void malformed_commands_are_refused(void **state) {
    world_t *world = *state;
    APPLY("nil", "INVALID_ARGUMENT");
    APPLY("[0, 1, \"put\", [\"k\"]]", "INVALID_ARGUMENT");
    APPLY("[0, 1, \"get\", [\"k\"]]", "INVALID_ARGUMENT");
    APPLY("[0, 1, \"fly\", [\"k\"]]", "UNKNOWN_METHOD");
    APPLY("[1, 1, nil, nil]", "INVALID_ARGUMENT");
    APPLY("[\"expire\", [[b\"k\", 1]]]", "INVALID_ARGUMENT"); /* not from a gateway */
    assert_int_equal(state_revision(world->state), 0);
}

static void malformed_blocks_are_skipped(void **state) {
    world_t *world = *state;
    buffer_t block = {0};
    state_applied_t applied;
    text_msgpack(&block, "[1, 1, 1, 0, [b\"\", 3]]");
    assert_int_equal(world_block(world, &block, &applied), 0);
    assert_true(applied.skipped);
    buffer_reset(&block);
    assert_int_equal(world_block(world, &block, &applied), 0);
    assert_true(applied.skipped);
    assert_null(applied.results);
    assert_int_equal(state_applied(world->state), 2);
    assert_int_equal(state_gateway_boot(world->state, 1), 0);
    buffer_free(&block);
}

static void entries_come_in_order(void **state) {
    world_t *world = *state;
    state_applied_t applied;
    entry_t entry = {.index = 2, .term = 3, .time_ms = 7, .kind = ENTRY_NOOP};
    assert_int_equal(state_apply(world->state, &entry, &applied), DRAX_EINVAL);
    entry.index = 1;
    assert_int_equal(state_apply(world->state, &entry, &applied), 0);
    assert_int_equal(state_apply(world->state, &entry, &applied), DRAX_EINVAL);
    assert_int_equal(state_applied(world->state), 1);
    assert_int_equal(state_applied_term(world->state), 3);
    assert_int_equal(state_time_ms(world->state), 7);
}

static void config_becomes_the_membership(void **state) {
    world_t *world = *state;
    state_applied_t applied;
    config_t config = {.count = 2};
    config.members[0] = (member_t){3, MEMBER_VOTER, "h:1", "h:2"};
    config.members[1] = (member_t){5, MEMBER_LEARNER, "i:1", "i:2"};
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_CONFIG, .config = &config};
    assert_int_equal(state_apply(world->state, &entry, &applied), 0);
    assert_int_equal(state_config(world->state)->index, 1);
    QUERY("[0, 1, \"member_list\", []]",
          "{members: [{id: 3, addr: \"h:1\", raft_addr: \"h:2\", role: \"voter\"}, "
          "{id: 5, addr: \"i:1\", raft_addr: \"i:2\", role: \"learner\"}], revision: 0}");
}

/* ---- marks ---- */

static void revisions_lead_to_indexes(void **state) {
    world_t *world = *state;
    assert_int_equal(state_index_of_revision(world->state, 1), 0);
    for (int i = 0; i < 3500; i++)
        world_apply(world, "[0, 1, \"put\", [\"k\", \"v\"]]");
    for (uint64_t revision = 1; revision <= 3500; revision += 499) {
        uint64_t index = state_index_of_revision(world->state, revision);
        assert_in_range(index, 1, revision); /* here entry i made revision i */
        assert_true(revision - index < 1100);
    }
}

int main(void) {
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(put_get_delete),
        WORLD_TEST(atomic_put_rules),
        WORLD_TEST(atomic_delete_rules),
        WORLD_TEST(leases_and_locks_are_unknown),
        WORLD_TEST(list_rules),
        WORLD_TEST(list_pages),
        WORLD_TEST(pages_are_cut_by_size),
        WORLD_TEST(range_rules),
        WORLD_TEST(delete_tree_rules),
        WORLD_TEST(delete_tree_of_many),
        WORLD_TEST(ttl_rules),
        WORLD_TEST(expire_checks_revision_and_time),
        WORLD_TEST(expiries_share_a_revision_and_come_in_batches),
        WORLD_TEST(clock_block_only_stamps),
        WORLD_TEST(blocks_count_once_and_in_order),
        WORLD_TEST(malformed_commands_are_refused),
        WORLD_TEST(malformed_blocks_are_skipped),
        WORLD_TEST(entries_come_in_order),
        WORLD_TEST(config_becomes_the_membership),
        WORLD_TEST(revisions_lead_to_indexes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
