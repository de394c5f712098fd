/* test_home.c: the small files of a home come back as they were saved, and damage is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/home.h"
#include "broker/error.h"
#include "tests/support/fs_faulty.h"

static int setup(void **state) {
    fs_faulty_t *disk = fs_faulty_new(1);
    const fs_t *fs = fs_faulty_fs(disk);
    *state = disk;
    return fs->mkdir(fs->self, "home") || fs->mkdir(fs->self, "home/state");
}

static int teardown(void **state) {
    fs_faulty_destroy((fs_faulty_t **) state);
    return 0;
}

static home_identity_t identity_make(size_t members) {
    home_identity_t identity = {.cluster = (UINT64_C(1) << 53) - 1, .node = UINT32_MAX};
    identity.hint.count = members;
    for (size_t i = 0; i < members; i++) {
        member_t *member = &identity.hint.members[i];
        member->id = i + 1;
        member->role = i % 2 ? MEMBER_LEARNER : MEMBER_VOTER;
        snprintf(member->addr, sizeof member->addr, "host-%zu.example:%zu", i, 1000 + i);
        /* The longest that fits. */
        memset(member->raft_addr, 'h', 253);
        memcpy(member->raft_addr + 253, ":65535", 7);
    }
    return identity;
}

static void identity_comes_back(void **state) {
    const fs_t *fs = fs_faulty_fs(*state);
    home_identity_t loaded;
    assert_int_equal(home_identity_load(fs, "home", &loaded), DRAX_ENOTFOUND);
    for (size_t members = 0; members <= LIMIT_MEMBERS; members += LIMIT_MEMBERS / 2) {
        home_identity_t saved = identity_make(members);
        assert_int_equal(home_identity_save(fs, "home", &saved), 0);
        assert_int_equal(home_identity_load(fs, "home", &loaded), 0);
        assert_true(loaded.cluster == saved.cluster);
        assert_true(loaded.node == saved.node);
        assert_int_equal(loaded.hint.count, members);
        for (size_t i = 0; i < members; i++) {
            const member_t *a = &loaded.hint.members[i], *b = &saved.hint.members[i];
            assert_true(a->id == b->id && a->role == b->role);
            assert_string_equal(a->addr, b->addr);
            assert_string_equal(a->raft_addr, b->raft_addr);
        }
    }
}

static void current_comes_back(void **state) {
    const fs_t *fs = fs_faulty_fs(*state);
    home_current_t loaded, saved = {12345678, UINT64_MAX / 3, 7};
    assert_int_equal(home_current_load(fs, "home", &loaded), DRAX_ENOTFOUND);
    assert_int_equal(home_current_save(fs, "home", &saved), 0);
    assert_int_equal(home_current_load(fs, "home", &loaded), 0);
    assert_true(loaded.number == saved.number && loaded.index == saved.index &&
                loaded.term == saved.term);
}

static int load(const fs_t *fs, const char *path) {
    home_identity_t identity;
    home_current_t current;
    return strstr(path, "CURRENT") ? home_current_load(fs, "home", &current)
                                   : home_identity_load(fs, "home", &identity);
}

static void every_damaged_byte_is_noticed(fs_faulty_t *disk, const char *path) {
    const fs_t *fs = fs_faulty_fs(disk);
    int64_t size = fs_faulty_size(disk, path);
    assert_true(size > 0);
    for (int64_t at = 0; at < size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            fs_faulty_flip(disk, path, (uint64_t) at, (uint8_t) (1u << bit));
            assert_int_equal(load(fs, path), DRAX_ECORRUPT);
            fs_faulty_flip(disk, path, (uint64_t) at, (uint8_t) (1u << bit));
        }
    }
    assert_int_equal(load(fs, path), 0);
    fs_faulty_resize(disk, path, (uint64_t) size + 1);
    assert_int_equal(load(fs, path), DRAX_ECORRUPT);
    for (int64_t less = size - 1; less >= 0; less--) {
        fs_faulty_resize(disk, path, (uint64_t) less);
        assert_int_equal(load(fs, path), DRAX_ECORRUPT);
    }
    fs_faulty_resize(disk, path, 65536);
    assert_int_equal(load(fs, path), DRAX_ECORRUPT);
}

static void damage_is_noticed(void **state) {
    const fs_t *fs = fs_faulty_fs(*state);
    home_identity_t identity = identity_make(1);
    home_current_t current = {1, 2, 3};
    assert_int_equal(home_identity_save(fs, "home", &identity), 0);
    assert_int_equal(home_current_save(fs, "home", &current), 0);
    every_damaged_byte_is_noticed(*state, "home/identity");
    every_damaged_byte_is_noticed(*state, "home/state/CURRENT");
}

static void what_follows_the_checksum_is_damage(void **state) {
    const fs_t *fs = fs_faulty_fs(*state);
    home_current_t current = {1, 2, 3};
    assert_int_equal(home_current_save(fs, "home", &current), 0);
    uint64_t size = (uint64_t) fs_faulty_size(*state, "home/state/CURRENT");
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, "home/state/CURRENT", false, &file), 0);
    char more[] = "number 9\n";
    struct iovec part = {more, strlen(more)};
    assert_int_equal(fs->pwritev(file, &part, 1, size), 0);
    fs->close(&file);
    assert_int_equal(load(fs, "CURRENT"), DRAX_ECORRUPT);
}

/* Whenever the machine stops, there is the old file or the new one. */
static void a_save_is_all_or_nothing(void **state) {
    fs_faulty_t *disk = *state;
    const fs_t *fs = fs_faulty_fs(disk);
    home_current_t before = {1, 0, 0}, after = {2, 30, 4}, loaded;
    assert_int_equal(home_current_save(fs, "home", &before), 0);
    assert_int_equal(fs->sync_dir(fs->self, "home"), 0);
    assert_int_equal(fs->sync_dir(fs->self, "."), 0);
    for (uint64_t call = 1;; call++) {
        fs_faulty_t *copy = fs_faulty_copy(disk, call);
        const fs_t *on = fs_faulty_fs(copy);
        fs_faulty_stop(copy, call);
        int rc = home_current_save(on, "home", &after);
        fs_faulty_crash(copy, FS_CRASH_RANDOM);
        assert_int_equal(home_current_load(on, "home", &loaded), 0);
        assert_true(loaded.number == 2 || (rc != 0 && loaded.number == 1));
        fs_faulty_destroy(&copy);
        if (rc == 0)
            break;
        assert_true(call < 100);
    }
}

/* Whenever the machine stops, CURRENT names a directory that is there, though that was made just
 * before. */
static void what_a_file_names_is_durable_before_it(void **state) {
    fs_faulty_t *disk = *state;
    const fs_t *fs = fs_faulty_fs(disk);
    home_current_t before = {1, 0, 0}, after = {2, 30, 4}, loaded;
    fs_file_t *file;
    char path[LIMIT_PATH_BYTES];
    home_state_path(path, "home", 2);
    assert_int_equal(home_current_save(fs, "home", &before), 0);
    assert_int_equal(fs->sync_dir(fs->self, "home"), 0);
    assert_int_equal(fs->sync_dir(fs->self, "."), 0);
    unsigned named = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        fs_faulty_t *copy = fs_faulty_copy(disk, seed);
        const fs_t *on = fs_faulty_fs(copy);
        assert_int_equal(on->mkdir(on->self, path), 0);
        fs_faulty_stop(copy, 1 + seed % 10);
        (void) home_current_save(on, "home", &after);
        fs_faulty_crash(copy, FS_CRASH_RANDOM);
        assert_int_equal(home_current_load(on, "home", &loaded), 0);
        if (loaded.number == 2) {
            /* A directory, and so no file to open; not: nothing. */
            assert_int_equal(on->open(on->self, path, false, &file), DRAX_EIO);
            named++;
        }
        fs_faulty_destroy(&copy);
    }
    assert_true(named > 0);
}

/* The last sync of a save fails: the old file counts or the new one, but not first the one and,
 * after a crash, the other. */
static void what_was_read_stays(void **state) {
    fs_faulty_t *disk = *state;
    const fs_t *fs = fs_faulty_fs(disk);
    home_current_t loaded, first = {1, 0, 0}, second = {2, 10, 3};
    assert_int_equal(fs->sync_dir(fs->self, ""), 0);
    assert_int_equal(fs->sync_dir(fs->self, "home"), 0);
    assert_int_equal(home_current_save(fs, "home", &first), 0);
    uint64_t before = fs_faulty_calls(disk);
    assert_int_equal(home_current_save(fs, "home", &first), 0);
    fs_faulty_fail(disk, fs_faulty_calls(disk) - before, 1, DRAX_EIO);
    assert_int_equal(home_current_save(fs, "home", &second), DRAX_EIO);
    assert_int_equal(home_current_load(fs, "home", &loaded), 0);
    assert_int_equal(loaded.number, 2);
    fs_faulty_crash(disk, FS_CRASH_LOSE);
    assert_int_equal(home_current_load(fs, "home", &loaded), 0);
    assert_int_equal(loaded.number, 2);
}

static void paths_are_below_the_home(void **state) {
    (void) state;
    char path[LIMIT_PATH_BYTES];
    home_journal_path(path, "/a/b");
    assert_string_equal(path, "/a/b/journal");
    home_states_path(path, "/a/b");
    assert_string_equal(path, "/a/b/state");
    home_state_path(path, ".", 42);
    assert_string_equal(path, "./state/00000042");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(identity_comes_back),      T(current_comes_back),
        T(damage_is_noticed),        T(what_follows_the_checksum_is_damage),
        T(a_save_is_all_or_nothing), T(what_a_file_names_is_durable_before_it),
        T(paths_are_below_the_home), T(what_was_read_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
