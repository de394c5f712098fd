/* test_kv.c: LevelDB and the store in memory behave alike; LevelDB's failures come out as codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "kv_helper.h"
#include "message_random.h"

static slice_t slice(const char *text) {
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

static void slice_assert(slice_t got, slice_t want) {
    assert_int_equal(got.size, want.size);
    if (want.size)
        assert_memory_equal(got.data, want.data, want.size);
}

static int put(kv_t *kv, const char *key, const char *value) {
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_put(batch, slice(key), slice(value));
    int rc = kv_write(kv, batch, true);
    kv_batch_destroy(&batch);
    return rc;
}

static int get_assert(kv_t *kv, const char *key, const char *want) {
    buffer_t value = {0};
    int rc = kv_get(kv, slice(key), &value);
    if (rc == 0)
        slice_assert((slice_t){value.data, value.size}, slice(want));
    buffer_free(&value);
    return rc;
}

/* ---- the same random operations on both ---- */

#define PAIR_VIEWS 3
#define KEY_SPACE 40u

typedef struct pair {
    kv_t *stores[2];
    kv_snapshot_t *snapshots[PAIR_VIEWS][2];
    kv_iterator_t *iterators[PAIR_VIEWS][2];
    uint64_t seed;
} pair_t;

/* Keys of a few lengths, prefixes of each other among them, and the empty one's neighbours. */
static slice_t random_key(pair_t *pair, char text[16]) {
    uint64_t number = random_next(&pair->seed) % KEY_SPACE;
    int size = snprintf(text, 16, "%.*s%llu", (int) (number % 3), "\xff\x01", //
                        (unsigned long long) (number / 2));
    return (slice_t){(const uint8_t *) text, (size_t) size};
}

static void random_write(pair_t *pair) {
    kv_batch_t *batches[2];
    char key[16], value[16];
    for (int i = 0; i < 2; i++)
        batches[i] = kv_batch_new(pair->stores[i]);
    for (uint64_t n = random_next(&pair->seed) % 6; n > 0; n--) {
        slice_t at = random_key(pair, key);
        uint64_t number = random_next(&pair->seed);
        snprintf(value, sizeof value, "%llu", (unsigned long long) (number % 10000));
        for (int i = 0; i < 2; i++) {
            if (number % 3)
                kv_batch_put(batches[i], at, number % 5 ? slice(value) : (slice_t){NULL, 0});
            else
                kv_batch_delete(batches[i], at);
        }
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kv_write(pair->stores[i], batches[i], false), 0);
        kv_batch_destroy(&batches[i]);
    }
}

static void random_get(pair_t *pair) {
    char key[16];
    slice_t at = random_key(pair, key);
    buffer_t values[2] = {{0}, {0}};
    int codes[2];
    bool peek = random_next(&pair->seed) % 2;
    for (int i = 0; i < 2; i++)
        codes[i] = (peek ? kv_peek : kv_get)(pair->stores[i], at, &values[i]);
    assert_int_equal(codes[0], codes[1]);
    slice_assert((slice_t){values[0].data, values[0].size},
                 (slice_t){values[1].data, values[1].size});
    for (int i = 0; i < 2; i++)
        buffer_free(&values[i]);
}

static void view_close(pair_t *pair, size_t view) {
    for (int i = 0; i < 2; i++) {
        kv_iterator_destroy(&pair->iterators[view][i]);
        kv_snapshot_destroy(pair->stores[i], &pair->snapshots[view][i]);
    }
}

static void view_open(pair_t *pair, size_t view) {
    bool snapshot = random_next(&pair->seed) % 2;
    view_close(pair, view);
    for (int i = 0; i < 2; i++) {
        if (snapshot)
            pair->snapshots[view][i] = kv_snapshot_new(pair->stores[i]);
        pair->iterators[view][i] = kv_iterator_new(pair->stores[i], pair->snapshots[view][i]);
        assert_false(kv_iterator_valid(pair->iterators[view][i]));
    }
}

static void view_move(pair_t *pair, size_t view) {
    kv_iterator_t **both = pair->iterators[view];
    char text[16];
    slice_t key = random_key(pair, text);
    uint64_t what = random_next(&pair->seed) % 10;
    if (!both[0])
        return;
    if (what > 2 && !kv_iterator_valid(both[0]))
        return;
    for (int i = 0; i < 2; i++) {
        if (what == 0)
            kv_iterator_seek(both[i], key);
        else if (what == 1)
            kv_iterator_seek_before(both[i], key);
        else if (what == 2)
            kv_iterator_seek_last(both[i]);
        else if (what < 7)
            kv_iterator_next(both[i]);
        else
            kv_iterator_prev(both[i]);
        assert_int_equal(kv_iterator_error(both[i]), 0);
    }
    assert_int_equal(kv_iterator_valid(both[0]), kv_iterator_valid(both[1]));
    if (!kv_iterator_valid(both[0]))
        return;
    slice_assert(kv_iterator_key(both[0]), kv_iterator_key(both[1]));
    slice_assert(kv_iterator_value(both[0]), kv_iterator_value(both[1]));
}

static void stores_agree(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        temp_dir_t dir;
        temp_dir_make(&dir);
        pair_t pair = {.seed = seed};
        size_t large_bytes = seed % 2 ? 3 : STATE_LARGE_BYTES; /* values have up to 4 */
        assert_int_equal(kv_leveldb_open_sized(&pair.stores[0], dir.path, true, fs_posix(),
                                               &(kv_leveldb_sizes_t){.large = large_bytes}),
                         0);
        assert_int_equal(kv_memory_open(&pair.stores[1]), 0);
        for (int step = 0; step < 4000; step++) {
            size_t view = random_next(&pair.seed) % PAIR_VIEWS;
            uint64_t what = random_next(&pair.seed) % 20;
            if (what < 5)
                random_write(&pair);
            else if (what < 8)
                random_get(&pair);
            else if (what == 8)
                view_open(&pair, view);
            else if (what == 9 && step % 3 == 0)
                view_close(&pair, view);
            else
                view_move(&pair, view);
        }
        for (size_t view = 0; view < PAIR_VIEWS; view++)
            view_close(&pair, view);
        kv_close(&pair.stores[0]);
        kv_close(&pair.stores[1]);
        temp_dir_remove(&dir);
    }
}

static void seek_before_at_the_ends(void **unused) {
    (void) unused;
    kv_t *kv;
    assert_int_equal(kv_memory_open(&kv), 0);
    assert_int_equal(put(kv, "b", "1"), 0);
    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    kv_iterator_seek_before(at, slice("b"));
    assert_false(kv_iterator_valid(at));
    kv_iterator_seek_before(at, slice("c"));
    assert_true(kv_iterator_valid(at));
    kv_iterator_seek(at, slice("c"));
    assert_false(kv_iterator_valid(at));
    kv_iterator_destroy(&at);
    kv_close(&kv);
}

/* ---- LevelDB's own ways ---- */

static void leveldb_keeps(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv;
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), DRAX_ENOTFOUND);
    assert_null(kv);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    assert_int_equal(put(kv, "key", "value"), 0);
    kv_close(&kv);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    assert_int_equal(get_assert(kv, "key", "value"), 0);
    assert_int_equal(get_assert(kv, "ke", ""), DRAX_ENOTFOUND);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

static void leveldb_locks(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv, *second;
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    assert_int_equal(kv_leveldb_open(&second, dir.path, true), DRAX_EINUSE);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

/* Overwrites `size` bytes at `offset` of the first file whose name ends in `suffix`. */
static void file_damage(const temp_dir_t *dir, const char *suffix, off_t offset, size_t size) {
    DIR *list = opendir(dir->path);
    struct dirent *entry;
    int fd = -1;
    while (fd < 0 && (entry = readdir(list))) {
        size_t length = strlen(entry->d_name), tail = strlen(suffix);
        if (length >= tail && strcmp(entry->d_name + length - tail, suffix) == 0)
            fd = openat(dirfd(list), entry->d_name, O_RDWR);
    }
    assert_true(fd >= 0);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(pwrite(fd, "\xa5", 1, offset + (off_t) i), 1);
    close(fd);
    closedir(list);
}

static void leveldb_damage_is_found(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv;
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%03d", i);
        assert_int_equal(put(kv, key, "some value of some length"), 0);
    }
    kv_close(&kv);
    file_damage(&dir, ".log", 1000, 8); /* in the middle, not a torn tail */
    int rc = kv_leveldb_open(&kv, dir.path, false);
    assert_int_equal(rc, DRAX_ECORRUPT);
    temp_dir_remove(&dir);

    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    assert_int_equal(put(kv, "key", "value"), 0);
    kv_close(&kv);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0); /* moves the log to a table */
    kv_close(&kv);
    file_damage(&dir, ".ldb", 15, 2); /* within the value: only a checksum can tell */
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    assert_int_equal(get_assert(kv, "key", "value"), DRAX_ECORRUPT);
    buffer_t value = {0};
    assert_int_equal(kv_peek(kv, slice("key"), &value), DRAX_ECORRUPT);
    buffer_free(&value);
    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    kv_iterator_seek(at, slice("a"));
    assert_false(kv_iterator_valid(at));
    assert_int_equal(kv_iterator_error(at), DRAX_ECORRUPT);
    kv_iterator_seek_before(at, slice("z"));
    assert_false(kv_iterator_valid(at));
    assert_int_equal(kv_iterator_error(at), DRAX_ECORRUPT);
    kv_iterator_destroy(&at);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

/* Walks from where `at` stands, whose first key is `number`, in steps of `step`: how many keys come
 * until one cannot be read. */
static int keys_until_damage(kv_iterator_t *at, int number, int step) {
    int count = 0;
    for (; kv_iterator_valid(at); count++, number += step) {
        char key[16];
        snprintf(key, sizeof key, "key%03d", number);
        assert_int_equal(kv_key_compare(kv_iterator_key(at), slice(key)), 0);
        if (step > 0)
            kv_iterator_next(at);
        else
            kv_iterator_prev(at);
    }
    assert_int_equal(kv_iterator_error(at), DRAX_ECORRUPT);
    kv_iterator_destroy(&at);
    return count;
}

/* What is behind a damaged block is not taken for what follows it, nor a key in it for none. */
static void leveldb_damage_is_not_stepped_over(void **unused) {
    (void) unused;
    enum { KEYS = 100 };
    temp_dir_t dir;
    kv_t *kv;
    char key[16], text[101];
    int damaged = 0;
    memset(text, 'v', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key%03d", i);
        assert_int_equal(put(kv, key, text), 0);
    }
    kv_close(&kv);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0); /* moves the log to a table */
    kv_close(&kv);
    file_damage(&dir, ".ldb", 6000, 2); /* the second of three blocks */
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    for (int i = 0; i < KEYS; i++) {
        buffer_t value = {0};
        snprintf(key, sizeof key, "key%03d", i);
        int rc = kv_peek(kv, slice(key), &value);
        assert_true(rc == 0 || rc == DRAX_ECORRUPT);
        damaged += rc != 0;
        buffer_free(&value);
    }
    assert_in_range(damaged, 2, KEYS / 2);
    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    kv_iterator_seek(at, slice("a"));
    int before = keys_until_damage(at, 0, 1);
    at = kv_iterator_new(kv, NULL);
    kv_iterator_seek_last(at);
    int behind = keys_until_damage(at, KEYS - 1, -1);
    assert_true(before > 0 && behind > 0);
    assert_in_range(before + behind, KEYS - damaged - 1, KEYS - damaged + 1);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

static size_t tables_count(const temp_dir_t *dir) {
    DIR *list = opendir(dir->path);
    struct dirent *entry;
    size_t count = 0;
    assert_non_null(list);
    while ((entry = readdir(list)))
        count += strstr(entry->d_name, ".ldb") != NULL;
    closedir(list);
    return count;
}

/* Two tables, both to be looked into for a key: gets of it have LevelDB merge them, peeks have not.
 */
static void leveldb_minds_gets_but_no_peeks(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv;
    buffer_t value = {0};
    enum { PEEKS = 20000 };
    int gets = 0;
    temp_dir_make(&dir);
    for (int open = 0; open < 3; open++) { /* which moves the log to a table */
        assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
        if (open < 2)
            for (int i = open; i < 5; i += 2)
                assert_int_equal(put(kv, (const char *[]){"a", "b", "c", "d", "e"}[i], "value"), 0);
        if (open < 2)
            kv_close(&kv);
    }
    for (int i = 0; i < PEEKS; i++)
        assert_int_equal(kv_peek(kv, slice("c"), &value), 0);
    slice_assert((slice_t){value.data, value.size}, slice("value"));
    assert_int_equal(tables_count(&dir), 2);
    while (tables_count(&dir) == 2 && gets++ < 100 * PEEKS) /* that is done in the background */
        assert_int_equal(kv_get(kv, slice("c"), &value), 0);
    assert_true(gets < 100 * PEEKS);
    kv_close(&kv);
    buffer_free(&value);
    temp_dir_remove(&dir);
}

/* A limit on the size of files stands for a disk that is full for a while. */
static void leveldb_heals_after_failed_writes(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv;
    struct rlimit was, low;
    static char big[60000]; /* no large value: LevelDB's own write is to fail */
    memset(big, 'x', sizeof big - 1);
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    assert_int_equal(put(kv, "before", "1"), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    low = was;
    low.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_int_equal(put(kv, "big", big), DRAX_EIO);
    assert_int_equal(put(kv, "big", big), DRAX_EIO);
    assert_int_equal(get_assert(kv, "before", "1"), 0); /* reads go on */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_DFL);

    kv_iterator_t *at = kv_iterator_new(kv, NULL);
    assert_non_null(at);
    assert_int_equal(put(kv, "after", "2"), DRAX_EAGAIN); /* a view is open */
    kv_iterator_destroy(&at);
    assert_int_equal(put(kv, "after", "2"), 0);
    assert_int_equal(get_assert(kv, "before", "1"), 0);
    kv_close(&kv);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    assert_int_equal(get_assert(kv, "after", "2"), 0);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_agree),
        cmocka_unit_test(seek_before_at_the_ends),
        cmocka_unit_test(leveldb_keeps),
        cmocka_unit_test(leveldb_locks),
        cmocka_unit_test(leveldb_damage_is_found),
        cmocka_unit_test(leveldb_damage_is_not_stepped_over),
        cmocka_unit_test(leveldb_minds_gets_but_no_peeks),
        cmocka_unit_test(leveldb_heals_after_failed_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
