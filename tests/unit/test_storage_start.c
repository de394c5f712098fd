/* test_storage_start.c: what a storage actor finds when it starts again after a kill or a power
 * loss, on a disk that forgets what was not synced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/storage_actor.h"
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
    return storage_actor_new(&f->storage, &options, detail, sizeof detail);
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
    storage_actor_ops.receive(f->storage, message, 0);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_format_that_is_cut_short_is_begun_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
