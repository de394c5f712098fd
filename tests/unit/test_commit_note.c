/* test_commit_note.c: the note of the commit index: there after a kill, never more than was noted,
 * and not believed when it is damaged or of another journal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/error.h"
#include "store/commit_note.h"
#include "tests/support/fs_faulty.h"

#define SALT 7u

static int setup(void **state) {
    *state = fs_faulty_new(3);
    return 0;
}

static int teardown(void **state) {
    fs_faulty_destroy((fs_faulty_t **) state);
    return 0;
}

static uint64_t noted_with(fs_faulty_t *disk, uint64_t salt) {
    commit_note_t *note;
    assert_int_equal(commit_note_open(&note, fs_faulty_fs(disk), "note", salt), 0);
    uint64_t index = commit_note_index(note);
    commit_note_close(&note);
    assert_null(note);
    return index;
}

static uint64_t noted(fs_faulty_t *disk) {
    return noted_with(disk, SALT);
}

/* Notes all from `from` up to below `to`. */
static void puts_note(fs_faulty_t *disk, uint64_t from, uint64_t to) {
    commit_note_t *note;
    assert_int_equal(commit_note_open(&note, fs_faulty_fs(disk), "note", SALT), 0);
    for (uint64_t index = from; index < to; index++) {
        commit_note_put(note, index);
        assert_int_equal(commit_note_index(note), index);
    }
    commit_note_close(&note);
}

static void the_last_one_counts(void **state) {
    assert_int_equal(noted(*state), 0);
    puts_note(*state, 5, 6);
    assert_int_equal(noted(*state), 5);
    puts_note(*state, 6, 9);
    assert_int_equal(noted(*state), 8);
    commit_note_t *note;
    assert_int_equal(commit_note_open(&note, fs_faulty_fs(*state), "note", SALT), 0);
    commit_note_put(note, 8);
    commit_note_put(note, 3);
    assert_int_equal(commit_note_index(note), 8);
    commit_note_close(&note);
    fs_faulty_crash(*state, FS_CRASH_KEEP);
    assert_int_equal(noted(*state), 8);
    commit_note_close(&note); /* there is none any more */
}

static void one_of_another_journal_does_not(void **state) {
    puts_note(*state, 1, 9);
    assert_int_equal(noted_with(*state, SALT + 1), 0);
    assert_int_equal(noted(*state), 8);
}

/* Of the two notes the other one is left. */
static void a_damaged_one_does_not(void **state) {
    fs_faulty_t *disk = *state;
    puts_note(disk, 1, 9);
    int64_t size = fs_faulty_size(disk, "note");
    assert_int_equal(size, 32);
    for (int64_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            fs_faulty_flip(disk, "note", (uint64_t) at, (uint8_t) (1u << bit));
            uint64_t index = noted(disk);
            assert_true(index == 7 || index == 8);
            fs_faulty_flip(disk, "note", (uint64_t) at, (uint8_t) (1u << bit));
        }
    assert_int_equal(noted(disk), 8);
}

static void a_power_loss_leaves_an_earlier_one_or_none(void **state) {
    unsigned kept = 0, lost = 0;
    (void) state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        fs_faulty_t *disk = fs_faulty_new(seed);
        puts_note(disk, 1, 9);
        const fs_t *fs = fs_faulty_fs(disk);
        assert_int_equal(fs->sync_dir(fs->self, ""), 0);
        fs_faulty_crash(disk, FS_CRASH_RANDOM);
        uint64_t index = noted(disk);
        assert_true(index <= 8);
        puts_note(disk, index + 1, 21);
        fs_faulty_crash(disk, FS_CRASH_RANDOM);
        assert_true(noted(disk) <= 20);
        kept += noted(disk) == 20;
        lost += noted(disk) < 20;
        fs_faulty_destroy(&disk);
    }
    assert_true(kept && lost);
}

static void without_room_there_is_none(void **state) {
    fs_faulty_t *disk = *state;
    commit_note_t *note;
    fs_faulty_limit(disk, 1);
    assert_int_equal(commit_note_open(&note, fs_faulty_fs(disk), "note", SALT), DRAX_ENOSPC);
    assert_null(note);
    fs_faulty_limit(disk, 0);
    fs_faulty_fail(disk, 1, 1, DRAX_EIO);
    assert_int_equal(commit_note_open(&note, fs_faulty_fs(disk), "note", SALT), DRAX_EIO);
    assert_int_equal(noted(disk), 0);
}

/* On a real file: kill -9 comes before anything is closed. */
static void it_is_there_after_a_kill(void **state) {
    (void) state;
    char directory[] = "/tmp/drax-note-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    (void) snprintf(path, sizeof path, "%s/commit", directory);
    commit_note_t *note;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (commit_note_open(&note, fs_posix(), path, SALT) == 0)
            commit_note_put(note, 4711);
        (void) raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(commit_note_open(&note, fs_posix(), path, SALT), 0);
    assert_int_equal(commit_note_index(note), 4711);
    commit_note_close(&note);
    assert_int_equal(fs_posix()->remove_tree(NULL, directory), 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_last_one_counts),        T(one_of_another_journal_does_not),
        T(a_damaged_one_does_not),     T(a_power_loss_leaves_an_earlier_one_or_none),
        T(without_room_there_is_none), T(it_is_there_after_a_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
