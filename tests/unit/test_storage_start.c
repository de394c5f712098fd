/* test_storage_start.c: what a storage actor finds when it starts again after a kill or a power
 * loss, on a disk that forgets what was not synced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/storage_internal.h"
#include "broker/error.h"
#include "fake_post.h"
#include "tests/support/fs_faulty.h"

#define CLUSTER 77u
#define NODE 5u
#define HOME "home"

typedef struct fixture {
    fs_faulty_t *disk;
    fake_post_t post;
    storage_actor_t *storage;
    log_t log;
    uint64_t now_ms; /* of messages */
} fixture_t;

static void log_nothing(void *hint, log_level_t level, const char *actor, const char *text) {
    (void) hint;
    (void) level;
    (void) actor;
    (void) text;
}

/* Nothing was flushed: what the state has is in the journal. */
static int kv_open(void *hint, kv_t **out, const char *directory, bool create) {
    (void) hint;
    (void) directory;
    (void) create;
    return kv_memory_open(out);
}

static int start(fixture_t *f) {
    char detail[512];
    storage_options_t options = {.home = HOME,
                                 .fs = fs_faulty_fs(f->disk),
                                 .post = &f->post.post,
                                 .log = &f->log,
                                 .kv_open = kv_open,
                                 .seed = 3,
                                 .segment_bytes = 4096};
    int rc = storage_actor_new(&f->storage, &options, detail, sizeof detail);
    if (rc == 0)
        storage_actor_ops.neighbour(f->storage, ACTOR_GATEWAY, 0); /* which wants its status */
    return rc;
}

static void fixture_init(fixture_t *f, uint64_t seed) {
    *f = (fixture_t){.disk = fs_faulty_new(seed),
                     .log = {LOG_LEVEL_ERROR, "storage", log_nothing, NULL}};
    fake_post_init(&f->post, ACTOR_STORAGE);
    const fs_t *fs = fs_faulty_fs(f->disk);
    assert_int_equal(fs->mkdir(fs->self, HOME), 0);
    assert_int_equal(fs->sync_dir(fs->self, ""), 0);
    assert_int_equal(start(f), 0);
}

static void fixture_clear(fixture_t *f) {
    storage_actor_destroy(&f->storage);
    fs_faulty_destroy(&f->disk);
    fake_post_clear(&f->post);
}

static void comes(fixture_t *f, message_t *message) {
    message->actor = ACTOR_RAFT;
    message->from_boot = f->post.boots[ACTOR_RAFT];
    storage_actor_ops.receive(f->storage, message, f->now_ms);
}

static void crash(fixture_t *f, fs_crash_t how) {
    storage_actor_destroy(&f->storage);
    fs_faulty_crash(f->disk, how);
    fake_post_skip(&f->post);
}

/* ---- a new home ---- */

static void format(fixture_t *f) {
    message_t message = {.kind = MESSAGE_FORMAT, .format = {.cluster = CLUSTER, .node = NODE}};
    comes(f, &message);
}

static bool formatted(fixture_t *f) {
    message_t message = {.kind = MESSAGE_OPEN};
    comes(f, &message);
    message_t *opened = fake_post_find(&f->post, MESSAGE_OPENED);
    return opened && opened->opened.formatted;
}

/* The power is lost within every call of FORMAT, with every way in which names may be left of it:
 * the node starts, as what it was or as a new one. */
static void a_format_that_is_cut_short_is_begun_again(void **state) {
    (void) state;
    bool kept = false, lost = false;
    for (uint64_t nth = 1; nth < 80; nth++) {
        for (uint64_t seed = 1; seed <= 40; seed++) {
            fixture_t f;
            fixture_init(&f, 100 * nth + seed);
            fs_faulty_stop(f.disk, nth);
            format(&f);
            crash(&f, FS_CRASH_RANDOM);
            assert_int_equal(start(&f), 0);
            bool was = formatted(&f);
            kept = kept || was;
            lost = lost || !was;
            if (!was)
                format(&f);
            assert_true(formatted(&f));
            fixture_clear(&f);
        }
    }
    assert_true(kept && lost);
}

/* ---- what was shown before ---- */

static const message_opened_t *open_now(fixture_t *f) {
    message_t message = {.kind = MESSAGE_OPEN};
    comes(f, &message);
    message_t *opened = fake_post_find(&f->post, MESSAGE_OPENED);
    assert_non_null(opened);
    return &opened->opened;
}

static void turn_at(fixture_t *f, uint64_t now_ms) {
    assert_int_equal(storage_actor_ops.turn(f->storage, now_ms), 0);
}

/* WRITE of entries 1 to `last`, with nothing in them, committed up to `commit`. */
static void entries_come(fixture_t *f, uint64_t last, uint64_t commit) {
    message_t message = {.kind = MESSAGE_WRITE,
                         .write = {.seq = 1, .has_hard_state = true, .term = 1, .commit = commit}};
    for (uint64_t index = 1; index <= last; index++) {
        entry_t entry = {.index = index, .term = 1, .time_ms = 1, .kind = ENTRY_NOOP};
        assert_int_equal(entries_push(&message.write.entries, &entry), 0);
    }
    comes(f, &message);
    turn_at(f, 1000);
}

/* What STORE_STATUS says that it has applied; UINT64_MAX: it says nothing yet. */
static uint64_t status_now(fixture_t *f) {
    message_t *status = fake_post_find(&f->post, MESSAGE_STORE_STATUS);
    return status ? status->batch.applied : UINT64_MAX;
}

static void setup_with_entries(fixture_t *f, uint64_t seed) {
    fixture_init(f, seed);
    format(f);
    assert_true(open_now(f)->formatted);
    entries_come(f, 5, 3);
    assert_int_equal(status_now(f), 3);
}

/* No leader is heard, so nobody says what is committed: it was noted. */
static void a_killed_one_knows_what_it_had_shown(void **state) {
    (void) state;
    fixture_t f;
    setup_with_entries(&f, 1);
    crash(&f, FS_CRASH_KEEP);
    assert_int_equal(start(&f), 0);
    turn_at(&f, 1000);
    turn_at(&f, 9000); /* raft has not come yet, and nothing could be applied */
    assert_int_equal(status_now(&f), UINT64_MAX);
    const message_opened_t *opened = open_now(&f);
    assert_int_equal(opened->commit, 3);
    assert_int_equal(opened->last_index, 5);
    turn_at(&f, 9001);
    assert_int_equal(status_now(&f), 3);
    fixture_clear(&f);
}

/* It waits for the rest as well, as long as there may be a leader who says that it is committed. */
static void what_is_not_noted_is_waited_for(void **state) {
    (void) state;
    fixture_t f;
    setup_with_entries(&f, 1);
    crash(&f, FS_CRASH_KEEP);
    assert_int_equal(start(&f), 0);
    (void) open_now(&f);
    turn_at(&f, 1000);
    turn_at(&f, 3999);
    assert_int_equal(status_now(&f), UINT64_MAX);
    turn_at(&f, 4000);
    assert_int_equal(status_now(&f), 3);
    fixture_clear(&f);
}

/* After a power loss there may be an earlier note, or none, never one of what was not committed. */
static void a_power_loss_takes_back_notes_alone(void **state) {
    (void) state;
    unsigned kept = 0, lost = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        fixture_t f;
        setup_with_entries(&f, seed);
        crash(&f, FS_CRASH_RANDOM);
        assert_int_equal(start(&f), 0);
        const message_opened_t *opened = open_now(&f);
        assert_int_equal(opened->last_index, 5);
        assert_true(opened->commit <= 3);
        kept += opened->commit == 3;
        lost += opened->commit < 3;
        turn_at(&f, 1000);
        turn_at(&f, 4000);
        assert_int_not_equal(status_now(&f), UINT64_MAX);
        fixture_clear(&f);
    }
    assert_true(kept && lost);
}

/* ---- whose clients wait ---- */

/* A block of this node's gateway, one command, as entry 6, committed. */
static void block_comes(fixture_t *f) {
    static const uint8_t command[] = {0xc1};
    buffer_t block = {0};
    block_begin(&block, NODE, 9, 1, 0, 1);
    block_add(&block, (slice_t){command, sizeof command});
    message_t message = {
        .kind = MESSAGE_WRITE,
        .write = {.seq = 1, .has_hard_state = true, .term = 2, .commit = 6, .time_ms = 1}};
    entry_t entry = {.index = 6, .term = 2, .time_ms = 1, .kind = ENTRY_BLOCK};
    entry.payload = buffer_take(&block);
    buffer_free(&block);
    assert_non_null(entry.payload);
    assert_int_equal(entries_push(&message.write.entries, &entry), 0);
    payload_unref(&entry.payload);
    comes(f, &message);
}

static void restart_without_gateway(fixture_t *f) {
    setup_with_entries(f, 1);
    crash(f, FS_CRASH_KEEP);
    f->post.boots[ACTOR_GATEWAY] = 0;
    assert_int_equal(start(f), 0);
    f->now_ms = 1000;
    (void) open_now(f);
    block_comes(f);
    turn_at(f, 1000);
}

static message_t *result_at(fixture_t *f, uint64_t now_ms) {
    f->post.boots[ACTOR_GATEWAY] = 104;
    storage_actor_ops.neighbour(f->storage, ACTOR_GATEWAY, now_ms);
    turn_at(f, now_ms);
    return fake_post_find(&f->post, MESSAGE_RESULT);
}

static void a_result_waits_for_its_gateway(void **state) {
    (void) state;
    fixture_t f;
    restart_without_gateway(&f);
    turn_at(&f, 1499);
    const message_t *result = result_at(&f, 1499);
    assert_non_null(result);
    assert_int_equal(result->batch.seq, 1);
    fixture_clear(&f);
}

static void but_not_for_long(void **state) {
    (void) state;
    fixture_t f;
    restart_without_gateway(&f);
    assert_int_equal(storage_actor_ops.deadline(f.storage, 1000), 1000 + STORAGE_GATEWAY_MS);
    turn_at(&f, 1000 + STORAGE_GATEWAY_MS);
    assert_null(result_at(&f, 1000 + STORAGE_GATEWAY_MS)); /* it was applied, and nobody there */
    fixture_clear(&f);
}

/* A full disk, on which the file cannot be made. */
static void without_a_note_it_serves_all_the_same(void **state) {
    (void) state;
    fixture_t f;
    setup_with_entries(&f, 1);
    crash(&f, FS_CRASH_KEEP);
    const fs_t *fs = fs_faulty_fs(f.disk);
    assert_int_equal(fs->remove(fs->self, HOME "/commit"), 0);
    fs_faulty_limit(f.disk, 1);
    assert_int_equal(start(&f), 0);
    assert_int_equal(open_now(&f)->commit, 0);
    turn_at(&f, 1000);
    turn_at(&f, 4000);
    assert_int_equal(status_now(&f), 0);
    fixture_clear(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_format_that_is_cut_short_is_begun_again),
        cmocka_unit_test(a_killed_one_knows_what_it_had_shown),
        cmocka_unit_test(what_is_not_noted_is_waited_for),
        cmocka_unit_test(a_power_loss_takes_back_notes_alone),
        cmocka_unit_test(without_a_note_it_serves_all_the_same),
        cmocka_unit_test(a_result_waits_for_its_gateway),
        cmocka_unit_test(but_not_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
