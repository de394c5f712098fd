/* test_disk_pace.c: files of a directory are begun to be written, and cut off once removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kv_helper.h"
#include "store/disk_pace.h"

#define FILE_BYTES (8u << 20)
/* What is begun of such a file for sure: a step in the middle of its write may leave the rest. */
#define BEGUN_BYTES (FILE_BYTES - DISK_PACE_BEGIN_BYTES)
#define PATIENCE_S 30

typedef struct place {
    temp_dir_t dir;
    disk_pace_t *pace;
} place_t;

static void place_path(const place_t *self, const char *name, char out[512]) {
    (void) snprintf(out, 512, "%s/%s", self->dir.path, name);
}

static void file_write(int fd, size_t size) {
    uint8_t *bytes = calloc(1, size);
    assert_int_equal(write(fd, bytes, size), size);
    free(bytes);
}

/* An open file of `size` bytes. */
static int file_make(const place_t *self, const char *name, size_t size) {
    char path[512];
    place_path(self, name, path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    file_write(fd, size);
    return fd;
}

static void file_remove(const place_t *self, const char *name) {
    char path[512];
    place_path(self, name, path);
    assert_int_equal(unlink(path), 0);
}

/* Until the figure is `wanted` or more. */
static uint64_t figure_wait(const place_t *self, uint64_t (*figure)(const disk_pace_t *),
                            uint64_t wanted) {
    for (time_t end = time(NULL) + PATIENCE_S; figure(self->pace) < wanted;) {
        assert_true(time(NULL) < end);
        (void) usleep(1000);
    }
    return figure(self->pace);
}

static int place_setup(void **state) {
    place_t *self = calloc(1, sizeof *self);
    temp_dir_make(&self->dir);
    *state = self;
    return 0;
}

static int place_teardown(void **state) {
    place_t *self = *state;
    disk_pace_destroy(&self->pace);
    temp_dir_remove(&self->dir);
    free(self);
    return 0;
}

static void what_grows_is_begun_once(void **state) {
    place_t *self = *state;
    self->pace = disk_pace_new(self->dir.path);
    assert_non_null(self->pace);
    int fd = file_make(self, "000007.ldb", FILE_BYTES + 100);
    (void) figure_wait(self, disk_pace_written, BEGUN_BYTES);
    file_write(fd, FILE_BYTES);
    uint64_t begun = figure_wait(self, disk_pace_written, FILE_BYTES + BEGUN_BYTES);
    assert_true(begun <= 2 * FILE_BYTES);
    (void) close(fd);
}

static void a_log_that_was_there_is_begun(void **state) {
    place_t *self = *state;
    int fd = file_make(self, "000003.log", DISK_PACE_BEGIN_BYTES);
    self->pace = disk_pace_new(self->dir.path);
    assert_int_equal(write(fd, self, sizeof *self), sizeof *self);
    (void) figure_wait(self, disk_pace_written, DISK_PACE_BEGIN_BYTES);
    (void) close(fd);
}

static void a_removed_file_is_cut_off(void **state) {
    place_t *self = *state;
    struct stat found;
    int old = file_make(self, "000005.ldb", FILE_BYTES);
    self->pace = disk_pace_new(self->dir.path);
    int new = file_make(self, "000006.log", FILE_BYTES);
    int other = file_make(self, "LOG", FILE_BYTES);
    (void) figure_wait(self, disk_pace_written, BEGUN_BYTES);
    assert_int_equal(disk_pace_removed(self->pace), 0);
    file_remove(self, "000005.ldb");
    file_remove(self, "000006.log");
    file_remove(self, "LOG");
    (void) figure_wait(self, disk_pace_removed, 2 * FILE_BYTES);
    assert_int_equal(fstat(old, &found), 0);
    assert_true(found.st_size <= DISK_PACE_PIECE_BYTES);
    assert_int_equal(fstat(new, &found), 0);
    assert_true(found.st_size <= DISK_PACE_PIECE_BYTES);
    assert_int_equal(fstat(other, &found), 0);
    assert_int_equal(found.st_size, FILE_BYTES);
    (void) close(old);
    (void) close(new);
    (void) close(other);
}

/* A file that has another name yet is not removed. */
static void only_what_has_no_name_is_cut_off(void **state) {
    place_t *self = *state;
    char from[512], to[512];
    struct stat found;
    self->pace = disk_pace_new(self->dir.path);
    int kept = file_make(self, "000008.ldb", FILE_BYTES);
    (void) figure_wait(self, disk_pace_written, BEGUN_BYTES);
    place_path(self, "000008.ldb", from);
    place_path(self, "kept", to);
    assert_int_equal(link(from, to), 0);
    file_remove(self, "000008.ldb");
    int again = file_make(self, "000009.ldb", FILE_BYTES);
    (void) figure_wait(self, disk_pace_written, 2 * BEGUN_BYTES);
    file_remove(self, "000009.ldb");
    (void) figure_wait(self, disk_pace_removed, FILE_BYTES);
    assert_int_equal(fstat(kept, &found), 0);
    assert_int_equal(found.st_size, FILE_BYTES);
    (void) close(kept);
    (void) close(again);
}

static void more_files_than_are_followed(void **state) {
    place_t *self = *state;
    char name[32];
    for (unsigned i = 0; i < DISK_PACE_FILES + 10; i++) {
        (void) snprintf(name, sizeof name, "%06u.ldb", i);
        (void) close(file_make(self, name, 1));
    }
    self->pace = disk_pace_new(self->dir.path);
    assert_non_null(self->pace);
    for (unsigned i = 0; i < DISK_PACE_FILES + 10; i++) {
        (void) snprintf(name, sizeof name, "%06u.ldb", i);
        file_remove(self, name);
    }
    (void) figure_wait(self, disk_pace_removed, DISK_PACE_FILES);
    int fd = file_make(self, "100000.ldb", FILE_BYTES);
    (void) figure_wait(self, disk_pace_written, BEGUN_BYTES);
    (void) close(fd);
}

static void without_a_directory_there_is_none(void **state) {
    place_t *self = *state;
    char path[512];
    place_path(self, "absent", path);
    assert_null(disk_pace_new(path));
    disk_pace_destroy(&self->pace);
}

int main(void) {
#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        PLACE_TEST(what_grows_is_begun_once),     PLACE_TEST(a_log_that_was_there_is_begun),
        PLACE_TEST(a_removed_file_is_cut_off),    PLACE_TEST(only_what_has_no_name_is_cut_off),
        PLACE_TEST(more_files_than_are_followed), PLACE_TEST(without_a_directory_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
