/* test_home_claim.c: a home is made for its owner alone, and is one node's at a time. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/home_claim.h"
#include "broker/error.h"
#include "broker/limits.h"
#include "store/fs.h"

typedef struct {
    char top[64];
    char home[128];
    char detail[LIMIT_PATH_BYTES + 128];
} fixture_t;

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->top, "/tmp/drax-claim-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    snprintf(f->home, sizeof f->home, "%s/deep/down/home", f->top);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_t *f = *state;
    const fs_t *fs = fs_posix();
    assert_int_equal(fs->remove_tree(fs->self, f->top), 0);
    free(f);
    return 0;
}

static void every_directory_is_its_owners(void **state) {
    fixture_t *f = *state;
    static const char *const parts[] = {"deep", "deep/down", "deep/down/home",
                                        "deep/down/home/run"};
    for (int again = 0; again < 2; again++)
        assert_int_equal(home_make(f->home, f->detail, sizeof f->detail), 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char path[192];
        struct stat stat_of;
        snprintf(path, sizeof path, "%s/%s", f->top, parts[i]);
        assert_int_equal(stat(path, &stat_of), 0);
        assert_true(S_ISDIR(stat_of.st_mode));
        assert_int_equal(stat_of.st_mode & 0777, 0700);
    }
}

static void a_home_that_cannot_be_is_named(void **state) {
    fixture_t *f = *state;
    char file[128], below[192];
    snprintf(file, sizeof file, "%s/file", f->top);
    int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(below, sizeof below, "%s/home", file);
    assert_int_equal(home_make(below, f->detail, sizeof f->detail), DRAX_EIO);
    assert_non_null(strstr(f->detail, below));
    assert_int_equal(home_lock(&fd, below, "lock", f->detail, sizeof f->detail), DRAX_EIO);
    assert_int_equal(fd, -1);
    char large[LIMIT_PATH_BYTES];
    memset(large, 'x', sizeof large - 1);
    large[0] = '/';
    large[sizeof large - 1] = '\0';
    assert_int_equal(home_make(large, f->detail, sizeof f->detail), DRAX_EIO);
    assert_int_equal(home_lock(&fd, large, "lock", f->detail, sizeof f->detail), DRAX_EIO);
}

/* In one process, too: a second node of a host program has another open file. */
static void a_lock_is_held_once(void **state) {
    fixture_t *f = *state;
    int first, second, other;
    assert_int_equal(home_make(f->home, f->detail, sizeof f->detail), 0);
    assert_int_equal(home_lock(&first, f->home, "lock", f->detail, sizeof f->detail), 0);
    assert_int_equal(home_lock(&second, f->home, "lock", f->detail, sizeof f->detail), DRAX_EINUSE);
    assert_int_equal(second, -1);
    assert_non_null(strstr(f->detail, f->home));
    assert_int_equal(home_lock(&other, f->home, "run/raft.lock", f->detail, sizeof f->detail), 0);
    close(first);
    assert_int_equal(home_lock(&second, f->home, "lock", f->detail, sizeof f->detail), 0);
    close(second);
    close(other);
}

/* A process that takes the lock, says so, and dies `held_ms` later. */
static pid_t holder_start(const fixture_t *f, unsigned held_ms) {
    int said[2], fd;
    char byte, detail[LIMIT_PATH_BYTES + 128];
    assert_int_equal(pipe(said), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (home_lock(&fd, f->home, "lock", detail, sizeof detail) != 0 ||
            write(said[1], "", 1) != 1)
            _exit(1);
        usleep(held_ms * 1000);
        (void) kill(getpid(), SIGKILL);
    }
    close(said[1]);
    assert_int_equal(read(said[0], &byte, 1), 1);
    close(said[0]);
    return pid;
}

static void whoever_is_about_to_die_is_waited_for(void **state) {
    fixture_t *f = *state;
    int fd, status;
    assert_int_equal(home_make(f->home, f->detail, sizeof f->detail), 0);
    pid_t pid = holder_start(f, HOME_LOCK_WAIT_MS / 5);
    assert_int_equal(home_lock(&fd, f->home, "lock", f->detail, sizeof f->detail), 0);
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(every_directory_is_its_owners),
        T(a_home_that_cannot_be_is_named),
        T(a_lock_is_held_once),
        T(whoever_is_about_to_die_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
