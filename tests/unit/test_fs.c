/* test_fs.c: the POSIX file system behind the seam, and the helpers over any fs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/error.h"
#include "store/fs.h"
#include "tests/support/fs_faulty.h"

typedef struct home {
    const fs_t *fs;
    char directory[64];
    char path[128];
} home_t;

static int setup(void **state) {
    home_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->fs = fs_posix();
    (void) snprintf(self->directory, sizeof self->directory, "/tmp/drax-fs-XXXXXX");
    assert_non_null(mkdtemp(self->directory));
    *state = self;
    return 0;
}

static int teardown(void **state) {
    home_t *self = *state;
    assert_int_equal(self->fs->remove_tree(self->fs->self, self->directory), 0);
    free(self);
    return 0;
}

static const char *path(home_t *self, const char *name) {
    (void) snprintf(self->path, sizeof self->path, "%s/%s", self->directory, name);
    return self->path;
}

static void test_open(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, path(self, "a"), false, &file), DRAX_ENOTFOUND);
    assert_null(file);
    assert_int_equal(fs->open(fs->self, path(self, "a"), true, &file), 0);
    fs->close(&file);
    assert_null(file);
    fs->close(&file);
    assert_int_equal(fs->open(fs->self, path(self, "a"), true, &file), DRAX_EEXIST);
    struct stat status;
    assert_int_equal(stat(path(self, "a"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(fs->open(fs->self, path(self, "no/a"), true, &file), DRAX_ENOTFOUND);
    /* Nothing is followed out of the home. */
    assert_int_equal(symlink("a", path(self, "link")), 0);
    assert_int_equal(fs->open(fs->self, path(self, "link"), false, &file), DRAX_EIO);
}

static void test_read_write(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, path(self, "a"), true, &file), 0);
    char one[] = "one";
    char two[] = "two";
    struct iovec parts[] = {{one, 3}, {NULL, 0}, {two, 3}};
    assert_int_equal(fs->pwritev(file, parts, 3, 10), 0);
    assert_int_equal(fs->sync(file), 0);
    uint64_t size;
    assert_int_equal(fs->size(file, &size), 0);
    assert_int_equal(size, 16);
    char data[32];
    size_t got;
    assert_int_equal(fs->pread(file, data, sizeof data, 8, &got), 0);
    assert_int_equal(got, 8);
    assert_memory_equal(data, "\0\0onetwo", 8);
    assert_int_equal(fs->pread(file, data, sizeof data, 100, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(fs->truncate(file, 12), 0);
    assert_int_equal(fs->size(file, &size), 0);
    assert_int_equal(size, 12);
    fs->close(&file);
}

enum { FILE_BYTES = 1 << 20 };

static void file_fill(home_t *self, const char *name, uint8_t value, size_t size) {
    const fs_t *fs = self->fs;
    fs_file_t *file;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    memset(data, value, size);
    struct iovec part = {data, size};
    assert_int_equal(fs->open(fs->self, path(self, name), true, &file), 0);
    assert_int_equal(fs->pwritev(file, &part, 1, 0), 0);
    fs->close(&file);
    free(data);
}

static void file_expect(const fs_t *fs, fs_file_t *file, const uint8_t *expected, size_t size) {
    uint8_t *data = malloc(FILE_BYTES + 1);
    size_t got;
    assert_non_null(data);
    assert_int_equal(fs->pread(file, data, FILE_BYTES + 1, 0, &got), 0);
    assert_int_equal(got, size);
    assert_memory_equal(data, expected, size);
    free(data);
}

/* Appends mostly, small and large, here and there a write elsewhere or another size: always the
 * bytes that were given and no others. */
static void test_writes_in_place(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    uint8_t *model = malloc(2 * FILE_BYTES), *data = malloc(FILE_BYTES);
    assert_true(model && data);
    size_t size = 200 * 4096 + 100;
    file_fill(self, "a", 9, size);
    memset(model, 9, size);
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, path(self, "a"), false, &file), 0);
    unsigned seed = 7;
    size_t end = 0;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned kind = (unsigned) rand_r(&seed) % 100;
        size_t length = (size_t) rand_r(&seed) % (kind < 90 ? 900 : 200000);
        if (kind >= 98) {
            size = 100000 + (size_t) rand_r(&seed) % 800000;
            size_t before;
            uint64_t was;
            assert_int_equal(fs->size(file, &was), 0);
            before = (size_t) was;
            assert_int_equal(fs->truncate(file, size), 0);
            if (size > before)
                memset(model + before, 0, size - before);
        }
        if (kind % 10 == 0 || end + length > FILE_BYTES)
            end = (size_t) rand_r(&seed) % size;
        if (end + length > FILE_BYTES)
            length = FILE_BYTES - end;
        for (size_t at = 0; at < length; at++)
            data[at] = (uint8_t) (i + at);
        if (end > size)
            memset(model + size, 0, end - size);
        memcpy(model + end, data, length);
        size_t half = length / 3;
        struct iovec parts[] = {{data, half}, {NULL, 0}, {data + half, length - half}};
        assert_int_equal(fs->pwritev(file, parts, 3, end), 0);
        end += length;
        size = length && end > size ? end : size;
        if (i % 50 == 0)
            file_expect(fs, file, model, size);
    }
    assert_int_equal(fs->sync(file), 0);
    file_expect(fs, file, model, size);
    fs->close(&file);
    free(data);
    free(model);
}

/* Appends over what a file held before: all in front and beyond the block stays as it was, what was
 * written is there, and between them stands what was there or zeros. */
static void test_appends_in_place(void **state) {
    enum { SIZE = 16 * FS_APPEND_BYTES, OLD = 0x55 };
    home_t *self = *state;
    const fs_t *fs = self->fs;
    file_fill(self, "a", OLD, SIZE);
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, path(self, "a"), false, &file), 0);
    uint8_t *model = malloc(SIZE), *found = malloc(SIZE);
    assert_true(model && found);
    memset(model, OLD, SIZE);
    unsigned seed = 7;
    for (uint64_t end = 100; end < SIZE;) {
        uint64_t size = 1 + (uint64_t) rand_r(&seed) % (2 * FS_APPEND_BYTES);
        size = size > SIZE - end ? SIZE - end : size;
        for (uint64_t i = end; i < end + size; i++)
            model[i] = (uint8_t) rand_r(&seed);
        struct iovec parts[] = {{model + end, (size_t) size / 2},
                                {model + end + size / 2, (size_t) (size - size / 2)}};
        assert_int_equal(fs->append(file, parts, 2, end), 0);
        end += size;
        size_t got;
        assert_int_equal(fs->pread(file, found, SIZE, 0, &got), 0);
        assert_int_equal(got, SIZE);
        assert_memory_equal(found, model, end);
        uint64_t block_end = (end + FS_APPEND_BYTES - 1) / FS_APPEND_BYTES * FS_APPEND_BYTES;
        for (uint64_t i = end; i < block_end; i++)
            assert_true(found[i] == OLD || found[i] == 0);
        assert_memory_equal(found + block_end, model + block_end, SIZE - block_end);
    }
    fs->close(&file);
    free(model);
    free(found);
}

/* A file that lost its name is the one that is written to all the same. */
static void test_write_after_rename(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    char other[128];
    file_fill(self, "a", 1, 8192);
    file_fill(self, "b", 2, 8192);
    fs_file_t *file, *named;
    assert_int_equal(fs->open(fs->self, path(self, "a"), false, &file), 0);
    (void) snprintf(other, sizeof other, "%s/b", self->directory);
    assert_int_equal(fs->rename(fs->self, other, path(self, "a")), 0);
    struct iovec part = {(uint8_t[]){7}, 1};
    assert_int_equal(fs->pwritev(file, &part, 1, 0), 0);
    uint8_t byte;
    size_t got;
    assert_int_equal(fs->pread(file, &byte, 1, 0, &got), 0);
    assert_int_equal(byte, 7);
    assert_int_equal(fs->open(fs->self, path(self, "a"), false, &named), 0);
    assert_int_equal(fs->pread(named, &byte, 1, 0, &got), 0);
    assert_int_equal(byte, 2);
    fs->close(&named);
    fs->close(&file);
}

/* More parts than one system call takes. */
static void test_many_parts(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    enum { COUNT = IOV_MAX * 2 + 7 };
    fs_file_t *file;
    uint32_t *numbers = calloc(COUNT, sizeof *numbers);
    uint32_t *read_back = calloc(COUNT, sizeof *read_back);
    struct iovec *parts = calloc(COUNT, sizeof *parts);
    assert_true(numbers && read_back && parts);
    for (uint32_t i = 0; i < COUNT; i++) {
        numbers[i] = i * 2654435761u;
        parts[i] = (struct iovec){&numbers[i], sizeof numbers[i]};
    }
    assert_int_equal(fs->open(fs->self, path(self, "a"), true, &file), 0);
    assert_int_equal(fs->pwritev(file, parts, COUNT, 0), 0);
    size_t got;
    assert_int_equal(fs->pread(file, read_back, COUNT * sizeof *read_back, 0, &got), 0);
    assert_int_equal(got, COUNT * sizeof *read_back);
    assert_memory_equal(numbers, read_back, got);
    fs->close(&file);
    free(parts);
    free(read_back);
    free(numbers);
}

/* A write that the system takes only a part of goes on, and fails when there is no more to be had.
 */
static void test_partial_write(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = before;
    small.rlim_cur = 10;
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, path(self, "a"), true, &file), 0);
    char data[16] = "0123456789abcdef";
    struct iovec parts[] = {{data, 6}, {data + 6, 10}};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = fs->pwritev(file, parts, 2, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void) signal(SIGXFSZ, handler);
    assert_int_equal(rc, DRAX_EIO);
    uint64_t size;
    assert_int_equal(fs->size(file, &size), 0);
    assert_int_equal(size, 10);
    fs->close(&file);
}

static void test_map(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    char *memory, *again;
    assert_int_equal(fs->map(fs->self, path(self, "a"), 16, (void **) &memory), 0);
    assert_memory_equal(memory, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    memcpy(memory, "noted", 5);
    char data[32];
    size_t size;
    assert_int_equal(fs_load(fs, path(self, "a"), data, sizeof data, &size), 0);
    assert_int_equal(size, 16);
    assert_memory_equal(data, "noted", 6);
    assert_int_equal(fs->map(fs->self, path(self, "a"), 24, (void **) &again), 0);
    assert_memory_equal(again, "noted", 6);
    again[0] = 'N';
    assert_int_equal(memory[0], 'N');
    fs->unmap(fs->self, memory, 16);
    fs->unmap(fs->self, again, 24);
    assert_int_equal(fs->map(fs->self, path(self, "no/a"), 16, (void **) &memory), DRAX_ENOTFOUND);
    assert_null(memory);
    assert_int_equal(symlink("a", path(self, "link")), 0);
    assert_int_equal(fs->map(fs->self, path(self, "link"), 16, (void **) &memory), DRAX_EIO);
}

/* A file that cannot have the size is not mapped: a store beyond its end would be a signal. */
static void test_map_without_room(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = before;
    small.rlim_cur = 10;
    void *memory;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = fs->map(fs->self, path(self, "a"), 16, &memory);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void) signal(SIGXFSZ, handler);
    assert_int_equal(rc, DRAX_EIO);
    assert_null(memory);
}

static int count_visit(void *hint, const char *name) {
    int *counts = hint;
    counts[0]++;
    counts[1] += strcmp(name, "b") == 0 ? 1 : 0;
    return counts[2];
}

static void test_directories(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    assert_int_equal(fs->mkdir(fs->self, path(self, "d")), 0);
    assert_int_equal(fs->mkdir(fs->self, path(self, "d")), 0);
    struct stat status;
    assert_int_equal(stat(path(self, "d"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(fs_replace(fs, path(self, "d"), "a", "x", 1), 0);
    assert_int_equal(fs->mkdir(fs->self, path(self, "d/a")), DRAX_EIO);
    char from[128];
    (void) snprintf(from, sizeof from, "%s/d/a", self->directory);
    assert_int_equal(fs->rename(fs->self, from, path(self, "d/b")), 0);
    assert_int_equal(fs->rename(fs->self, from, path(self, "d/b")), DRAX_ENOTFOUND);
    assert_int_equal(fs->sync_dir(fs->self, path(self, "d")), 0);
    assert_int_equal(fs->sync_dir(fs->self, path(self, "no")), DRAX_ENOTFOUND);
    assert_int_equal(fs->mkdir(fs->self, path(self, "d/e")), 0);
    int counts[3] = {0};
    assert_int_equal(fs->list(fs->self, path(self, "d"), count_visit, counts), 0);
    assert_int_equal(counts[0], 2);
    assert_int_equal(counts[1], 1);
    counts[0] = 0;
    counts[2] = 7;
    assert_int_equal(fs->list(fs->self, path(self, "d"), count_visit, counts), 7);
    assert_int_equal(counts[0], 1);
    assert_int_equal(fs->list(fs->self, path(self, "no"), count_visit, counts), DRAX_ENOTFOUND);
    assert_int_equal(fs->remove(fs->self, path(self, "d/b")), 0);
    assert_int_equal(fs->remove(fs->self, path(self, "d/b")), DRAX_ENOTFOUND);
    assert_int_equal(fs->remove_tree(fs->self, path(self, "d")), 0);
    assert_int_equal(fs->remove_tree(fs->self, path(self, "d")), 0);
    assert_int_not_equal(stat(path(self, "d"), &status), 0);
}

static void test_replace_load(void **state) {
    home_t *self = *state;
    const fs_t *fs = self->fs;
    char data[8];
    size_t size;
    assert_int_equal(fs_load(fs, path(self, "f"), data, sizeof data, &size), DRAX_ENOTFOUND);
    assert_int_equal(fs_replace(fs, self->directory, "f", "12345678", 8), 0);
    assert_int_equal(fs_load(fs, path(self, "f"), data, sizeof data, &size), 0);
    assert_int_equal(size, 8);
    assert_memory_equal(data, "12345678", 8);
    assert_int_equal(fs_load(fs, path(self, "f"), data, 7, &size), DRAX_ETOOLARGE);
    assert_int_equal(fs_replace(fs, self->directory, "f", "", 0), 0);
    assert_int_equal(fs_load(fs, path(self, "f"), data, sizeof data, &size), 0);
    assert_int_equal(size, 0);
}

/* Whatever call fails, with or without a power loss at it: the old content or the new. */
static void test_replace_faults(void **state) {
    (void) state;
    static const int codes[] = {DRAX_EIO, DRAX_ENOSPC, 0};
    unsigned replaced = 0;
    for (uint64_t run = 0; run < 300; run++) {
        fs_faulty_t *disk = fs_faulty_new(run);
        const fs_t *fs = fs_faulty_fs(disk);
        assert_int_equal(fs->mkdir(fs->self, "d"), 0);
        assert_int_equal(fs->sync_dir(fs->self, ""), 0);
        assert_int_equal(fs_replace(fs, "d", "f", "old", 3), 0);
        int code = codes[run % 3];
        if (code == 0)
            fs_faulty_stop(disk, 1 + run / 3 % 9);
        else
            fs_faulty_fail(disk, 1 + run / 3 % 9, 1, code);
        int rc = fs_replace(fs, "d", "f", "brand new", 9);
        fs_faulty_crash(disk, run % 2 ? FS_CRASH_LOSE : FS_CRASH_RANDOM);
        char data[16];
        size_t size;
        assert_int_equal(fs_load(fs, "d/f", data, sizeof data, &size), 0);
        bool is_new = size == 9 && memcmp(data, "brand new", 9) == 0;
        assert_true(is_new || (rc != 0 && size == 3 && memcmp(data, "old", 3) == 0));
        replaced += is_new ? 1 : 0;
        assert_int_equal(fs_replace(fs, "d", "f", "again", 5), 0);
        fs_faulty_destroy(&disk);
    }
    assert_true(replaced > 30 && replaced < 270);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_open),
        CASE(test_read_write),
        CASE(test_many_parts),
        CASE(test_partial_write),
        CASE(test_map),
        CASE(test_map_without_room),
        CASE(test_writes_in_place),
        CASE(test_appends_in_place),
        CASE(test_write_after_rename),
        CASE(test_directories),
        CASE(test_replace_load),
        cmocka_unit_test(test_replace_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
