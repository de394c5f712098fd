/* test_kv_large.c: large values under LevelDB: who sees which, when their files go, what is said of
 * damage, and a disk that is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "kv_helper.h"
#include "store/large_file.h"
#include "tests/support/fs_faulty.h"

#define LARGE 1000u /* beyond the threshold of these tests */
#define THRESHOLD 64u

static slice_t slice(const char *text) {
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

static kv_t *store_open(const temp_dir_t *dir, bool create) {
    kv_t *kv;
    assert_int_equal(kv_leveldb_open_sized(&kv, dir->path, create, fs_posix(),
                                           &(kv_leveldb_sizes_t){.large = THRESHOLD}),
                     0);
    return kv;
}

/* A value of `size` bytes, all `fill`. */
static int put(kv_t *kv, const char *key, char fill, size_t size) {
    uint8_t *bytes = malloc(size ? size : 1);
    memset(bytes, fill, size);
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_put(batch, slice(key), (slice_t){bytes, size});
    int rc = kv_write(kv, batch, true);
    kv_batch_destroy(&batch);
    free(bytes);
    return rc;
}

static int key_delete(kv_t *kv, const char *key) {
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_delete(batch, slice(key));
    int rc = kv_write(kv, batch, true);
    kv_batch_destroy(&batch);
    return rc;
}

static void filled_assert(slice_t value, char fill, size_t size) {
    assert_int_equal(value.size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(value.data[i], fill);
}

static int get_assert(kv_t *kv, const char *key, char fill, size_t size) {
    buffer_t value = {0};
    int rc = kv_get(kv, slice(key), &value);
    if (rc == 0)
        filled_assert((slice_t){value.data, value.size}, fill, size);
    buffer_free(&value);
    return rc;
}

/* How many files of values there are; the path of the last one. */
static size_t files_count(const temp_dir_t *dir, char *path, size_t size) {
    char large[sizeof dir->path + 8];
    snprintf(large, sizeof large, "%s/large", dir->path);
    DIR *list = opendir(large);
    const struct dirent *entry;
    size_t count = 0;
    while (list && (entry = readdir(list)))
        if (strstr(entry->d_name, ".val")) {
            count++;
            if (path)
                snprintf(path, size, "%s/%s", large, entry->d_name);
        }
    if (list)
        closedir(list);
    return count;
}

static void values_have_files(void **unused) {
    (void) unused;
    temp_dir_t dir;
    temp_dir_make(&dir);
    kv_t *kv = store_open(&dir, true);
    assert_int_equal(put(kv, "small", 's', THRESHOLD), 0);
    assert_int_equal(files_count(&dir, NULL, 0), 0);
    assert_int_equal(put(kv, "a", 'a', THRESHOLD + 1), 0);
    assert_int_equal(put(kv, "b", 'b', LARGE), 0);
    assert_int_equal(files_count(&dir, NULL, 0), 2);
    kv_close(&kv);
    kv = store_open(&dir, false);
    assert_int_equal(get_assert(kv, "small", 's', THRESHOLD), 0);
    assert_int_equal(get_assert(kv, "a", 'a', THRESHOLD + 1), 0);
    assert_int_equal(get_assert(kv, "b", 'b', LARGE), 0);
    assert_int_equal(put(kv, "a", 'x', 1), 0); /* known of from before */
    assert_int_equal(files_count(&dir, NULL, 0), 1);
    assert_int_equal(put(kv, "b", 'c', LARGE / 2), 0);
    assert_int_equal(files_count(&dir, NULL, 0), 1);
    assert_int_equal(get_assert(kv, "b", 'c', LARGE / 2), 0);
    assert_int_equal(key_delete(kv, "b"), 0);
    assert_int_equal(files_count(&dir, NULL, 0), 0);
    assert_int_equal(get_assert(kv, "a", 'x', 1), 0);
    assert_int_equal(get_assert(kv, "b", 0, 0), DRAX_ENOTFOUND);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

/* Who walks over keys alone reads no file: this one is not even there. */
static void a_walk_may_spare_large_values(void **unused) {
    (void) unused;
    temp_dir_t dir;
    char path[512];
    temp_dir_make(&dir);
    kv_t *kv = store_open(&dir, true);
    assert_int_equal(put(kv, "a", 'a', LARGE), 0);
    assert_int_equal(put(kv, "b", 'b', 3), 0);
    assert_int_equal(files_count(&dir, path, sizeof path), 1);
    assert_int_equal(unlink(path), 0);
    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    assert_non_null(at);
    kv_iterator_seek(at, slice("a"));
    assert_false(kv_iterator_valid(at));
    kv_iterator_spare_large(at);
    kv_iterator_seek(at, slice("a"));
    assert_true(kv_iterator_valid(at));
    assert_int_equal(kv_iterator_value(at).size, 0);
    kv_iterator_next(at);
    assert_true(kv_iterator_valid(at));
    filled_assert(kv_iterator_value(at), 'b', 3);
    kv_iterator_destroy(&at);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

/* A value that looks like a reference is kept as what it is. */
static void a_forged_reference_is_a_value(void **unused) {
    (void) unused;
    temp_dir_t dir;
    temp_dir_make(&dir);
    kv_t *kv = store_open(&dir, true);
    uint8_t forged[LARGE_REFERENCE_BYTES];
    large_reference_encode(&(large_reference_t){.number = 1, .size = 5, .checksum = 9}, forged);
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_put(batch, slice("key"), (slice_t){forged, sizeof forged});
    kv_batch_put(batch, slice("begin"), (slice_t){forged, 16});
    assert_int_equal(kv_write(kv, batch, true), 0);
    kv_batch_destroy(&batch);
    buffer_t value = {0};
    assert_int_equal(kv_get(kv, slice("key"), &value), 0);
    assert_int_equal(value.size, sizeof forged);
    assert_memory_equal(value.data, forged, sizeof forged);
    assert_int_equal(kv_get(kv, slice("begin"), &value), 0);
    assert_int_equal(value.size, 16);
    assert_memory_equal(value.data, forged, 16);
    buffer_free(&value);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

static void views_outlive_changes(void **unused) {
    (void) unused;
    temp_dir_t dir;
    temp_dir_make(&dir);
    kv_t *kv = store_open(&dir, true);
    assert_int_equal(put(kv, "a", 'a', LARGE), 0);
    assert_int_equal(put(kv, "b", 'b', LARGE), 0);
    kv_snapshot_t *snapshot = kv_snapshot_new(kv);
    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    assert_int_equal(put(kv, "a", 'x', LARGE), 0);
    assert_int_equal(key_delete(kv, "b"), 0);
    kv_iterator_seek(at, slice("a"));
    filled_assert(kv_iterator_value(at), 'a', LARGE);
    kv_iterator_next(at);
    filled_assert(kv_iterator_value(at), 'b', LARGE);
    kv_iterator_destroy(&at);
    assert_int_equal(put(kv, "a", 'y', LARGE), 0);
    assert_int_equal(files_count(&dir, NULL, 0), 4); /* the snapshot is older than all changes */
    at = kv_iterator_new(kv, snapshot);
    kv_iterator_seek_last(at);
    filled_assert(kv_iterator_value(at), 'b', LARGE);
    kv_iterator_prev(at);
    filled_assert(kv_iterator_value(at), 'a', LARGE);
    kv_iterator_destroy(&at);
    kv_snapshot_destroy(kv, &snapshot);
    assert_int_equal(put(kv, "other", 'o', 1), 0);
    assert_int_equal(files_count(&dir, NULL, 0), 1);
    assert_int_equal(get_assert(kv, "a", 'y', LARGE), 0);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

static void damage_assert(kv_t *kv, const char *path, const char *reason) {
    char detail[700], wanted[700];
    snprintf(wanted, sizeof wanted, "%s: %s", path, reason);
    assert_int_equal(get_assert(kv, "key", 0, 0), DRAX_ECORRUPT);
    kv_detail(kv, detail, sizeof detail);
    assert_string_equal(detail, wanted);
    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    kv_iterator_seek(at, slice("a"));
    assert_true(kv_iterator_valid(at)); /* another pair */
    kv_iterator_next(at);
    assert_false(kv_iterator_valid(at));
    assert_int_equal(kv_iterator_error(at), DRAX_ECORRUPT);
    kv_iterator_seek(at, slice("a"));
    assert_true(kv_iterator_valid(at));
    assert_int_equal(kv_iterator_error(at), 0);
    kv_iterator_destroy(&at);
}

static void damage_is_told(void **unused) {
    (void) unused;
    temp_dir_t dir;
    char path[600] = "", detail[700];
    temp_dir_make(&dir);
    kv_t *kv = store_open(&dir, true);
    assert_int_equal(put(kv, "a", 'a', 1), 0);
    assert_int_equal(put(kv, "key", 'k', LARGE), 0);
    assert_int_equal(files_count(&dir, path, sizeof path), 1);
    kv_detail(kv, detail, sizeof detail);
    assert_string_equal(detail, "");
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, LARGE), 1);
    close(fd);
    damage_assert(kv, path, "the checksum of the value is wrong");
    assert_int_equal(truncate(path, 20), 0);
    damage_assert(kv, path, "the file is too short for a header");
    assert_int_equal(unlink(path), 0);
    damage_assert(kv, path, "the file is missing");
    assert_int_equal(put(kv, "key", 'n', LARGE), 0); /* and a new value is a new value */
    assert_int_equal(get_assert(kv, "key", 'n', LARGE), 0);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

/* ---- many ---- */

static void many_need_few_descriptors(void **unused) {
    (void) unused;
    enum { MANY = 1500 };
    temp_dir_t dir;
    temp_dir_make(&dir);
    struct rlimit was, low;
    getrlimit(RLIMIT_NOFILE, &was);
    low = was;
    low.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    kv_t *kv = store_open(&dir, true);
    kv_batch_t *batch = kv_batch_new(kv);
    uint8_t bytes[THRESHOLD + 1];
    char key[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "key%05d", i);
        memset(bytes, i, sizeof bytes);
        kv_batch_put(batch, slice(key), (slice_t){bytes, sizeof bytes});
    }
    assert_int_equal(kv_write(kv, batch, true), 0);
    kv_batch_destroy(&batch);
    kv_close(&kv);
    kv = store_open(&dir, false);
    assert_int_equal(files_count(&dir, NULL, 0), MANY);
    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    kv_iterator_seek(at, slice("key"));
    for (int i = 0; i < MANY; i++, kv_iterator_next(at)) {
        assert_true(kv_iterator_valid(at));
        assert_int_equal(kv_iterator_value(at).size, sizeof bytes);
        assert_int_equal(kv_iterator_value(at).data[0], (uint8_t) i);
    }
    assert_false(kv_iterator_valid(at));
    assert_int_equal(kv_iterator_error(at), 0);
    kv_iterator_destroy(&at);
    kv_close(&kv);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    temp_dir_remove(&dir);
}

/* ---- reading while it is written ---- */

typedef struct reader {
    kv_t *kv;
    atomic_bool stop;
    int code;
    unsigned long reads;
} reader_t;

static void *reader_run(void *hint) {
    reader_t *self = hint;
    buffer_t value = {0};
    while (!atomic_load(&self->stop) && self->code == 0) {
        self->code = kv_get(self->kv, slice("key"), &value);
        for (size_t i = 1; self->code == 0 && i < value.size; i++)
            if (value.data[i] != value.data[0])
                self->code = DRAX_ECORRUPT; /* of two values */
        self->reads++;
    }
    buffer_free(&value);
    return NULL;
}

static void reads_never_meet_a_half(void **unused) {
    (void) unused;
    temp_dir_t dir;
    temp_dir_make(&dir);
    reader_t reader = {.kv = store_open(&dir, true)};
    pthread_t thread;
    assert_int_equal(put(reader.kv, "key", 'a', 4 * LARGE), 0);
    assert_int_equal(pthread_create(&thread, NULL, reader_run, &reader), 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(put(reader.kv, "key", (char) ('a' + i % 26), 4 * LARGE), 0);
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(reader.code, 0);
    assert_true(reader.reads > 0);
    kv_close(&reader.kv);
    temp_dir_remove(&dir);
}

/* ---- a full disk ---- */

static void a_full_disk_refuses_and_heals(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv;
    temp_dir_make(&dir);
    fs_faulty_t *disk = fs_faulty_new(7);
    const fs_t *fs = fs_faulty_fs(disk);
    for (char *slash = strchr(dir.path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_int_equal(fs->mkdir(fs->self, dir.path), 0);
        *slash = '/';
    }
    assert_int_equal(fs->mkdir(fs->self, dir.path), 0);
    assert_int_equal(
        kv_leveldb_open_sized(&kv, dir.path, true, fs, &(kv_leveldb_sizes_t){.large = THRESHOLD}),
        0);
    assert_int_equal(put(kv, "key", 'a', LARGE), 0);
    uint64_t used = fs_faulty_used(disk);
    fs_faulty_limit(disk, used + LARGE / 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(put(kv, "key", 'b', LARGE), DRAX_ENOSPC);
        assert_int_equal(fs_faulty_used(disk), used); /* nothing half done is left */
    }
    assert_int_equal(get_assert(kv, "key", 'a', LARGE), 0);
    kv_iterator_t *at = kv_iterator_new(kv, NULL); /* the database needs not be opened again */
    fs_faulty_limit(disk, 0);
    assert_int_equal(put(kv, "key", 'b', LARGE), 0);
    kv_iterator_destroy(&at);
    assert_int_equal(get_assert(kv, "key", 'b', LARGE), 0);
    kv_close(&kv);
    fs_faulty_destroy(&disk);
    temp_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_files),
        cmocka_unit_test(a_walk_may_spare_large_values),
        cmocka_unit_test(a_forged_reference_is_a_value),
        cmocka_unit_test(views_outlive_changes),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(many_need_few_descriptors),
        cmocka_unit_test(reads_never_meet_a_half),
        cmocka_unit_test(a_full_disk_refuses_and_heals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
