/* test_state_history.c: the state remembers every change, once and in order, for as long as it
 * promises: after crashes and replays too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/block.h"
#include "broker/error.h"
#include "kv_helper.h"
#include "message_random.h"
#include "state_helper.h"
#include "text_msgpack.h"

#define ALL SIZE_MAX

/* All pages from `from` on, joined, as text; the number of pages. */
static size_t history_text(world_t *world, history_query_t query, buffer_t *text) {
    history_source_t source = {world, world_entry};
    history_page_t page;
    buffer_t events = {0}, all = {0}, outcome = {0};
    size_t pages = 0, count = 0;
    uint64_t revision = state_revision(world->state);
    do {
        buffer_reset(&events);
        assert_int_equal(state_history(world->state, &query, &source, &events, &page), 0);
        assert_true(page.next > query.from || page.next > revision);
        query.from = page.next;
        buffer_append(&all, events.data, events.size);
        count += page.count;
        pages++;
    } while (query.from <= revision);
    pack_nil(&outcome);
    pack_array(&outcome, count);
    buffer_append(&outcome, all.data, all.size);
    outcome_text(text, (slice_t){outcome.data, outcome.size});
    buffer_free(&events);
    buffer_free(&all);
    buffer_free(&outcome);
    return pages;
}

static void history_expected(world_t *world, const char *key, bool tree, uint64_t from,
                             const char *wanted) {
    buffer_t text = {0};
    history_query_t query = {{(const uint8_t *) key, strlen(key)}, tree, from, ALL, ALL};
    assert_int_equal(history_text(world, query, &text), 1);
    assert_string_equal((const char *) text.data, wanted);
    buffer_free(&text);
}

/* Nine commands: revisions 1 to 6. */
static void story_apply(world_t *world) {
    world->time_ms = 1000;
    world_apply(world, "[0, 1, \"put\", [\"a/x\", \"1\"]]");
    world_apply(world, "[0, 1, \"put\", [\"a/y\", \"2\", {\"ttl_ms\": 100}]]");
    world_apply(world, "[0, 1, \"atomic_put\", [\"a/x\", \"no\", 7]]"); /* refused */
    world_apply(world, "[0, 1, \"atomic_put\", [\"a/x\", \"3\", 1]]");
    world_apply(world, "[0, 1, \"put\", [\"b\", \"4\"]]");
    world_apply(world, "[0, 1, \"delete\", [\"none\"]]"); /* refused */
    assert_int_equal(world_expire(world, 2000), 1);
    world_apply(world, "[0, 1, \"put\", [\"a/z\", \"5\"]]");
    world_apply(world, "[0, 1, \"delete_tree\", [\"a\"]]");
}

#define A_1 "{type: \"put\", key: \"a/x\", value: '1', index: 1}"
#define A_2 "{type: \"put\", key: \"a/y\", value: '2', index: 2}"
#define A_3 "{type: \"put\", key: \"a/x\", value: '3', index: 3}"
#define B_4 "{type: \"put\", key: \"b\", value: '4', index: 4}"
#define A_5 "{type: \"expire\", key: \"a/y\", index: 5}"
#define A_6 "{type: \"put\", key: \"a/z\", value: '5', index: 6}"
#define A_7 "{type: \"delete\", key: \"a/x\", index: 7}, {type: \"delete\", key: \"a/z\", index: 7}"
#define STORY A_1 ", " A_2 ", " A_3 ", " B_4 ", " A_5 ", " A_6 ", " A_7

static void world_begin(world_t *world, entries_t *log) {
    kv_t *kv;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(world, kv);
    world->log = log;
}

static void every_change_is_told(void **state) {
    world_t world;
    entries_t log = {0};
    (void) state;
    world_begin(&world, &log);
    assert_int_equal(state_history_first(world.state), 1);
    assert_int_equal(state_history_index(world.state), UINT64_MAX);
    story_apply(&world);
    assert_int_equal(state_history_first(world.state), 1);
    assert_int_equal(state_history_index(world.state), 1);
    history_expected(&world, "", true, 1, "[" STORY "]");
    history_expected(&world, "", true, 4, "[" B_4 ", " A_5 ", " A_6 ", " A_7 "]");
    history_expected(&world, "a/", true, 1,
                     "[" A_1 ", " A_2 ", " A_3 ", " A_5 ", " A_6 ", " A_7 "]");
    history_expected(&world, "a/x", false, 2,
                     "[" A_3 ", {type: \"delete\", key: \"a/x\", index: 7}]");
    history_expected(&world, "a/", false, 1, "[]");
    history_expected(&world, "a", false, 1, "[]");
    history_expected(&world, "", true, 8, "[]");
    history_expected(&world, "", true, 1000, "[]");
    world_close(&world);
    entries_clear(&log);
}

static void what_a_transaction_takes_back_is_not_told(void **state) {
    world_t world;
    entries_t log = {0};
    (void) state;
    world_begin(&world, &log);
    world_apply(&world,
                "[0, 1, \"txn\", [[], [[\"put\", [\"k\", \"1\"]], [\"delete\", [\"no\"]]], []]]");
    assert_int_equal(state_history_index(world.state), UINT64_MAX); /* no record at all */
    world_apply(
        &world,
        "[0, 1, \"txn\", [[], [[\"put\", [\"k\", \"2\"]], [\"put\", [\"l\", \"3\"]]], []]]");
    history_expected(&world, "", true, 1,
                     "[{type: \"put\", key: \"k\", value: '2', index: 1}, "
                     "{type: \"put\", key: \"l\", value: '3', index: 1}]");
    world_close(&world);
    entries_clear(&log);
}

static void pages_end_between_revisions(void **state) {
    world_t world;
    entries_t log = {0};
    buffer_t text = {0};
    (void) state;
    world_begin(&world, &log);
    story_apply(&world);
    history_query_t query = {{NULL, 0}, true, 1, 1, ALL};
    assert_int_equal(history_text(&world, query, &text), 7);
    assert_string_equal((const char *) text.data, "[" STORY "]");
    query = (history_query_t){{(const uint8_t *) "b", 1}, false, 1, ALL, 1}; /* a record a page */
    assert_int_equal(history_text(&world, query, &text), 7);
    assert_string_equal((const char *) text.data, "[" B_4 "]");
    buffer_free(&text);
    world_close(&world);
    entries_clear(&log);
}

/* A block of many commands is one record; pages may end within it. */
static void a_block_of_many_is_told_from_its_middle(void **state) {
    world_t world;
    entries_t log = {0};
    state_applied_t applied;
    buffer_t block = {0}, command = {0}, text = {0};
    (void) state;
    world_begin(&world, &log);
    block_begin(&block, WORLD_NODE, 1, 1, 0, 5);
    for (int i = 1; i <= 5; i++) {
        char line[64];
        snprintf(line, sizeof line, "[0, 1, \"put\", [\"k\", \"%d\"]]", i);
        buffer_reset(&command);
        text_msgpack(&command, line);
        block_add(&block, (slice_t){command.data, command.size});
    }
    assert_int_equal(world_block(&world, &block, &applied), 0);
    assert_true(applied.changed);
    history_expected(&world, "k", false, 4,
                     "[{type: \"put\", key: \"k\", value: '4', index: 4}, "
                     "{type: \"put\", key: \"k\", value: '5', index: 5}]");
    history_query_t query = {{NULL, 0}, true, 2, 1, ALL};
    assert_int_equal(history_text(&world, query, &text), 4);
    buffer_free(&block);
    buffer_free(&command);
    buffer_free(&text);
    world_close(&world);
    entries_clear(&log);
}

static void the_last_entrys_changes_are_at_hand(void **state) {
    world_t world;
    entries_t log = {0};
    history_reader_t reader;
    history_change_t change;
    (void) state;
    world_begin(&world, &log);
    story_apply(&world);
    assert_int_equal(state_changes(world.state, &log.items[log.count - 1], &reader), 0);
    for (const char *key = "xz"; *key; key++) {
        assert_int_equal(history_next(&reader, &change), 1);
        assert_int_equal(change.type, HISTORY_DELETE);
        assert_int_equal(change.key.data[2], *key);
        assert_int_equal(change.revision, 7);
    }
    assert_int_equal(history_next(&reader, &change), 0);
    world_close(&world);
    entries_clear(&log);
}

static void open_again(world_t *world, const char *directory) {
    kv_t *kv;
    entries_t *log = world->log;
    uint64_t seq = world->seq, time_ms = world->time_ms;
    world_close(world);
    assert_int_equal(kv_leveldb_open(&kv, directory, false), 0);
    world_open(world, kv);
    world->seq = seq;
    world->time_ms = time_ms;
    world->log = log;
    while (state_applied(world->state) < log->count) {
        state_applied_t applied;
        const entry_t *entry = &log->items[state_applied(world->state)];
        assert_int_equal(state_apply(world->state, entry, &applied), 0);
    }
}

/* ---- without the log ---- */

/* A log of which entries up to `gone` are not there any more. */
typedef struct short_log {
    world_t *world;
    uint64_t gone;
} short_log_t;

static int short_log_entry(void *hint, uint64_t index, slice_t *payload) {
    const short_log_t *self = hint;
    assert_true(index > self->gone);
    return world_entry(self->world, index, payload);
}

static void history_text_short(world_t *world, uint64_t gone, buffer_t *text) {
    short_log_t log = {world, gone};
    history_source_t source = {&log, short_log_entry};
    history_query_t query = {{NULL, 0}, true, state_history_first(world->state), ALL, ALL};
    history_page_t page;
    buffer_t events = {0}, outcome = {0};
    assert_int_equal(state_history(world->state, &query, &source, &events, &page), 0);
    assert_int_equal(page.next, state_revision(world->state) + 1);
    pack_nil(&outcome);
    pack_array(&outcome, page.count);
    buffer_append(&outcome, events.data, events.size);
    outcome_text(text, (slice_t){outcome.data, outcome.size});
    buffer_free(&events);
    buffer_free(&outcome);
}

static void records_can_do_without_the_log(void **state) {
    (void) state;
    temp_dir_t directory;
    world_t world;
    entries_t log = {0};
    buffer_t text = {0};
    kv_t *kv;
    temp_dir_make(&directory);
    assert_int_equal(kv_leveldb_open(&kv, directory.path, true), 0);
    world_open(&world, kv);
    world.log = &log;
    story_apply(&world); /* nine entries; the third and the sixth changed nothing */
    history_source_t source = {&world, world_entry};
    assert_int_equal(state_history_settle(world.state, 5, 1, &source), 0);
    assert_int_equal(state_history_index(world.state), 2); /* one, as `bytes` says */
    assert_int_equal(state_history_settle(world.state, 5, ALL, &source), 0);
    assert_int_equal(state_history_index(world.state), 7);
    history_text_short(&world, 6, &text);
    assert_string_equal((const char *) text.data, "[" STORY "]");
    world_flush(&world);
    open_again(&world, directory.path);
    assert_int_equal(state_history_first(world.state), 1);
    assert_int_equal(state_history_index(world.state), 7);
    history_text_short(&world, 6, &text);
    assert_string_equal((const char *) text.data, "[" STORY "]");
    assert_int_equal(state_history_settle(world.state, 1000, ALL, &source), 0);
    assert_int_equal(state_history_index(world.state), UINT64_MAX);
    history_text_short(&world, 1000, &text);
    assert_string_equal((const char *) text.data, "[" STORY "]");
    world_apply(&world, "[0, 1, \"put\", [\"a/x\", \"6\"]]");
    assert_int_equal(state_history_index(world.state), 10);
    buffer_free(&text);
    world_close(&world);
    entries_clear(&log);
    temp_dir_remove(&directory);
}

/* What a record counts goes with it: nothing is forgotten too early. */
static void copied_records_count_as_before(void **state) {
    (void) state;
    world_t world;
    entries_t log = {0};
    world_begin(&world, &log);
    history_source_t source = {&world, world_entry};
    story_apply(&world); /* its changes have 4, 4, 4, 2, 3, 4 and 6 bytes */
    state_history_keep(world.state, 22, JOURNAL_KEEP_REVISIONS);
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 2);
    assert_int_equal(state_history_settle(world.state, 1000, ALL, &source), 0);
    world_apply(&world, "[0, 1, \"put\", [\"b\", \"6\"]]");
    world_flush(&world); /* 21 after the second */
    assert_int_equal(state_history_first(world.state), 2);
    world_apply(&world, "[0, 1, \"put\", [\"b\", \"7\"]]");
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 3);
    world_close(&world);
    entries_clear(&log);
}

/* The state of a snapshot of `world`, whose log is gone up to `gone`. */
static void snapshot_take(world_t *world, uint64_t gone, world_t *out) {
    short_log_t log = {world, gone};
    history_source_t source = {&log, short_log_entry};
    state_snapshot_t *snapshot;
    state_staging_t *staging;
    kv_t *kv;
    bool last = false;
    world_flush(world);
    assert_int_equal(state_snapshot_open(world->state, &snapshot), 0);
    if (gone != ALL)
        state_snapshot_history(snapshot, &source);
    assert_int_equal(kv_memory_open(&kv), 0);
    assert_int_equal(state_staging_open(&staging, &kv), 0);
    for (uint64_t chunk = 0; !last; chunk++) {
        payload_t *payload;
        assert_int_equal(state_snapshot_read(snapshot, chunk, 200, &payload, &last), 0);
        assert_int_equal(state_staging_add(staging, chunk, payload_slice(payload), last), 0);
        payload_unref(&payload);
    }
    state_snapshot_close(world->state, &snapshot);
    assert_int_equal(state_staging_finish(&staging, &kv), 0);
    world_open(out, kv);
    out->seq = world->seq;
    out->time_ms = world->time_ms;
    out->log = world->log;
}

static void a_snapshot_carries_the_history(void **state) {
    (void) state;
    world_t world, other;
    entries_t log = {0};
    buffer_t text = {0};
    world_begin(&world, &log);
    story_apply(&world);
    snapshot_take(&world, 0, &other);
    assert_int_equal(state_history_first(other.state), 1);
    assert_int_equal(state_history_index(other.state), UINT64_MAX);
    history_text_short(&other, 1000, &text); /* it has no log at all */
    assert_string_equal((const char *) text.data, "[" STORY "]");
    world_apply(&other, "[0, 1, \"put\", [\"b\", \"6\"]]");
    history_text_short(&other, 9, &text);
    assert_string_equal((const char *) text.data,
                        "[" STORY ", {type: \"put\", key: \"b\", value: '6', index: 8}]");
    world_close(&world);
    world_close(&other);
    entries_clear(&log);
    buffer_free(&text);
}

/* Without a log nothing can be told, and that is what the receiver says. */
static void a_snapshot_without_a_log_has_no_history(void **state) {
    (void) state;
    world_t world, other;
    entries_t log = {0};
    world_begin(&world, &log);
    story_apply(&world);
    snapshot_take(&world, ALL, &other);
    assert_int_equal(state_history_first(other.state), 8);
    world_apply(&other, "[0, 1, \"put\", [\"b\", \"6\"]]");
    assert_int_equal(state_history_first(other.state), 8);
    history_expected(&other, "b", false, 8, "[{type: \"put\", key: \"b\", value: '6', index: 8}]");
    world_close(&world);
    world_close(&other);
    entries_clear(&log);
}

/* ---- crashes ---- */

static void command_random(char out[128], uint64_t *seed) {
    char key[8];
    uint64_t number = random_next(seed) % 20;
    snprintf(key, sizeof key, "%c/%u", 'a' + (int) (number / 5), (unsigned) (number % 5));
    switch (random_next(seed) % 6) {
    case 0:
        snprintf(out, 128, "[0, 1, \"delete\", [\"%s\"]]", key);
        break;
    case 1:
        snprintf(out, 128, "[0, 1, \"delete_tree\", [\"%c\"]]", key[0]);
        break;
    case 2:
        snprintf(out, 128, "[0, 1, \"put\", [\"%s\", \"ttl\", {\"ttl_ms\": 30}]]", key);
        break;
    default:
        snprintf(out, 128, "[0, 1, \"put\", [\"%s\", \"%u\"]]", key,
                 (unsigned) random_next(seed) % 1000);
    }
}

/* One world crashes and replays, with a real store below; the other never does. */
static void a_replay_tells_the_same(void **state) {
    (void) state;
    temp_dir_t directory;
    world_t steady, crashing;
    entries_t steady_log = {0}, crashing_log = {0};
    buffer_t one = {0}, other = {0};
    uint64_t seed = 5;
    kv_t *kv;
    temp_dir_make(&directory);
    assert_int_equal(kv_leveldb_open(&kv, directory.path, true), 0);
    world_open(&crashing, kv);
    crashing.log = &crashing_log;
    world_begin(&steady, &steady_log);
    for (int i = 0; i < 600; i++) {
        char command[128];
        command_random(command, &seed);
        crashing.time_ms = steady.time_ms = steady.time_ms + 5;
        world_apply(&steady, command);
        world_apply(&crashing, command);
        if (i % 7 == 0)
            assert_int_equal(world_expire(&steady, steady.time_ms),
                             world_expire(&crashing, steady.time_ms));
        if (random_next(&seed) % 20 == 0)
            world_flush(&crashing);
        if (random_next(&seed) % 50 == 0)
            open_again(&crashing, directory.path);
    }
    history_query_t query = {{NULL, 0}, true, 1, ALL, ALL};
    history_text(&steady, query, &one);
    history_text(&crashing, query, &other);
    assert_true(one.size > 10000);
    assert_string_equal((const char *) one.data, (const char *) other.data);
    assert_int_equal(state_history_first(crashing.state), 1);
    assert_int_equal(state_history_index(crashing.state), state_history_index(steady.state));
    world_close(&steady);
    world_close(&crashing);
    entries_clear(&steady_log);
    entries_clear(&crashing_log);
    buffer_free(&one);
    buffer_free(&other);
    temp_dir_remove(&directory);
}

/* ---- what is kept ---- */

/* A block of `count` puts of `size` bytes. */
static void puts_apply(world_t *world, unsigned count, size_t size) {
    state_applied_t applied;
    buffer_t block = {0}, command = {0}, value = {0};
    char line[64];
    for (size_t i = 0; i < size; i++)
        buffer_append(&value, "x", 1);
    text_msgpack(&command, "[0, 1, \"put\", []]");
    command.size--; /* the empty array: two values follow */
    pack_array(&command, 2);
    snprintf(line, sizeof line, "k");
    pack_str(&command, line);
    pack_bin(&command, value.data, value.size);
    block_begin(&block, WORLD_NODE, 1, world->seq + 1, world->seq, count);
    world->seq++;
    for (unsigned i = 0; i < count; i++)
        block_add(&block, (slice_t){command.data, command.size});
    assert_int_equal(world_block(world, &block, &applied), 0);
    buffer_free(&block);
    buffer_free(&command);
    buffer_free(&value);
}

static void compacted_expected(world_t *world, uint64_t from) {
    history_query_t query = {{(const uint8_t *) "k", 1}, false, from, ALL, ALL};
    history_source_t source = {world, world_entry};
    history_page_t page;
    buffer_t out = {0};
    assert_int_equal(state_history(world->state, &query, &source, &out, &page), DRAX_ECOMPACTED);
    buffer_free(&out);
}

static void history_reaches_back_100000_revisions(void **state) {
    world_t world;
    entries_t log = {0};
    (void) state;
    world_begin(&world, &log);
    for (unsigned i = 0; i < JOURNAL_KEEP_REVISIONS / 100 + 1; i++)
        puts_apply(&world, 100, 1);
    assert_int_equal(state_history_first(world.state), 1);
    world_flush(&world); /* the first block has exactly so many after it */
    assert_int_equal(state_history_first(world.state), 101);
    assert_int_equal(state_history_index(world.state), 2);
    compacted_expected(&world, 100);
    puts_apply(&world, 99, 1); /* the next one: one too few */
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 101);
    puts_apply(&world, 1, 1);
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 201);
    buffer_t text = {0};
    history_query_t query = {{(const uint8_t *) "none", 4}, false, 201, ALL, ALL};
    history_text(&world, query, &text);
    buffer_free(&text);
    world_close(&world);
    entries_clear(&log);
}

static void history_reaches_back_64_mib(void **state) {
    world_t world;
    entries_t log = {0};
    (void) state;
    world_begin(&world, &log);
    const unsigned count = JOURNAL_KEEP_BYTES >> 20;
    for (unsigned i = 0; i < count; i++)
        puts_apply(&world, 1, (1u << 20) - 1); /* with its key a MiB */
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 1);
    puts_apply(&world, 1, (1u << 20) - 2); /* a byte too little after the first */
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 1);
    puts_apply(&world, 1, 1);
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 2);
    compacted_expected(&world, 1);
    world_close(&world);
    entries_clear(&log);
}

/* So many small records cannot all go with one flush. */
static void forgetting_takes_turns(void **state) {
    world_t world;
    entries_t log = {0};
    (void) state;
    world_begin(&world, &log);
    for (unsigned i = 0; i < 3000; i++)
        puts_apply(&world, 1, 1);
    world_flush(&world);
    for (unsigned i = 0; i < JOURNAL_KEEP_REVISIONS / 4000; i++)
        puts_apply(&world, 4000, 1);
    uint64_t before = state_history_first(world.state);
    for (int i = 0; i < 3; i++) {
        world_flush(&world);
        uint64_t first = state_history_first(world.state);
        assert_true(first > before && first <= 3001);
        assert_true(first - before < 1200);
        compacted_expected(&world, first - 1);
        before = first;
        puts_apply(&world, 1, 1);
    }
    assert_int_equal(before, 3001);
    world_close(&world);
    entries_clear(&log);
}

static void what_is_kept_is_known_after_a_start(void **state) {
    (void) state;
    temp_dir_t directory;
    world_t world;
    entries_t log = {0};
    kv_t *kv;
    temp_dir_make(&directory);
    assert_int_equal(kv_leveldb_open(&kv, directory.path, true), 0);
    world_open(&world, kv);
    world.log = &log;
    for (unsigned i = 0; i < 102; i++)
        puts_apply(&world, 1000, 1);
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 2001);
    open_again(&world, directory.path);
    assert_int_equal(state_history_first(world.state), 2001);
    assert_int_equal(state_history_index(world.state), 3);
    puts_apply(&world, 1000, 1); /* the total goes on: nothing is forgotten too early */
    world_flush(&world);
    assert_int_equal(state_history_first(world.state), 3001);
    world_close(&world);
    entries_clear(&log);
    temp_dir_remove(&directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_is_told),
        cmocka_unit_test(what_a_transaction_takes_back_is_not_told),
        cmocka_unit_test(pages_end_between_revisions),
        cmocka_unit_test(a_block_of_many_is_told_from_its_middle),
        cmocka_unit_test(the_last_entrys_changes_are_at_hand),
        cmocka_unit_test(records_can_do_without_the_log),
        cmocka_unit_test(copied_records_count_as_before),
        cmocka_unit_test(a_snapshot_carries_the_history),
        cmocka_unit_test(a_snapshot_without_a_log_has_no_history),
        cmocka_unit_test(a_replay_tells_the_same),
        cmocka_unit_test(history_reaches_back_100000_revisions),
        cmocka_unit_test(history_reaches_back_64_mib),
        cmocka_unit_test(forgetting_takes_turns),
        cmocka_unit_test(what_is_kept_is_known_after_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
