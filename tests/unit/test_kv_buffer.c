/* test_kv_buffer.c: with many tables LevelDB gathers more before it makes the next one; readers and
 * writers notice nothing of how it comes to that.
 *
 * What it gathers is in its log, so the largest log there was tells how large its buffer is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "kv_helper.h"

#define VALUE_BYTES 50000u
#define BUFFER_BYTES (64u << 10) /* LevelDB takes no less */
#define MANY_TABLE_BYTES (256u << 10)
#define MANY_BUFFER_BYTES (1u << 20)
#define PUTS 20 /* more than MANY_TABLE_BYTES go to tables */
/* A buffer is full with one value more than fits; a log has one in front of that. */
#define LOG_MOST (BUFFER_BYTES + 2 * VALUE_BYTES)

static const kv_leveldb_sizes_t sizes = {
    .buffer = BUFFER_BYTES, .many_tables = MANY_TABLE_BYTES, .many_buffer = MANY_BUFFER_BYTES};

typedef struct fixture {
    temp_dir_t dir;
    kv_t *kv;
    unsigned count; /* of keys */
} fixture_t;

static slice_t key_of(unsigned number, char text[16]) {
    return (slice_t){(const uint8_t *) text, (size_t) snprintf(text, 16, "%08u", number)};
}

static void open_with(fixture_t *self, const fs_t *fs) {
    assert_int_equal(kv_leveldb_open_sized(&self->kv, self->dir.path, true, fs, &sizes), 0);
}

static int setup(void **state) {
    static fixture_t fixture;
    fixture = (fixture_t){.count = 0};
    temp_dir_make(&fixture.dir);
    open_with(&fixture, fs_posix());
    *state = &fixture;
    return 0;
}

static int teardown(void **state) {
    fixture_t *f = *state;
    kv_close(&f->kv);
    temp_dir_remove(&f->dir);
    return 0;
}

static int put(fixture_t *self) {
    char text[16];
    static uint8_t value[VALUE_BYTES];
    memset(value, (int) self->count % 251, sizeof value);
    kv_batch_t *batch = kv_batch_new(self->kv);
    kv_batch_put(batch, key_of(self->count, text), (slice_t){value, sizeof value});
    int rc = kv_write(self->kv, batch, true);
    kv_batch_destroy(&batch);
    self->count += rc == 0;
    return rc;
}

static void all_there_assert(fixture_t *self) {
    buffer_t value = {0};
    char text[16];
    for (unsigned i = 0; i < self->count; i++) {
        assert_int_equal(kv_get(self->kv, key_of(i, text), &value), 0);
        assert_int_equal(value.size, VALUE_BYTES);
        assert_int_equal(value.data[VALUE_BYTES - 1], i % 251);
    }
    buffer_free(&value);
}

/* 20 MB in one batch: more than STATE_BUFFER_BYTES. */
static void much_put(fixture_t *self) {
    static uint8_t value[VALUE_BYTES];
    char text[16];
    kv_batch_t *batch = kv_batch_new(self->kv);
    for (unsigned i = 0; i < 400; i++)
        kv_batch_put(batch, key_of(self->count++, text), (slice_t){value, sizeof value});
    assert_int_equal(kv_write(self->kv, batch, false), 0);
    kv_batch_destroy(&batch);
}

static uint64_t log_bytes(const fixture_t *self) {
    DIR *files = opendir(self->dir.path);
    uint64_t most = 0;
    assert_non_null(files);
    for (struct dirent *file; (file = readdir(files));) {
        struct stat found;
        if (strstr(file->d_name, ".log") && fstatat(dirfd(files), file->d_name, &found, 0) == 0 &&
            (uint64_t) found.st_size > most)
            most = (uint64_t) found.st_size;
    }
    closedir(files);
    return most;
}

/* The largest log while PUTS values are put. */
static uint64_t log_most(fixture_t *self) {
    uint64_t most = 0;
    for (int i = 0; i < PUTS; i++) {
        assert_int_equal(put(self), 0);
        uint64_t bytes = log_bytes(self);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* As long as somebody looks on, the store cannot be opened again. */
static void filled_while_viewed(fixture_t *self) {
    kv_iterator_t *at = kv_iterator_new(self->kv, NULL);
    assert_non_null(at);
    assert_true(log_most(self) <= LOG_MOST);
    kv_release(self->kv);
    assert_true(log_most(self) <= LOG_MOST);
    kv_iterator_destroy(&at);
}

static void many_tables_have_a_large_buffer(void **state) {
    fixture_t *f = *state;
    filled_while_viewed(f);
    kv_release(f->kv);
    assert_true(log_most(f) > MANY_BUFFER_BYTES / 2);
    all_there_assert(f);
    kv_close(&f->kv);
    open_with(f, fs_posix());
    assert_true(log_most(f) > MANY_BUFFER_BYTES / 2); /* from the start */
    all_there_assert(f);
}

/* In production nobody but the writer finds out. */
static void writes_come_to_it_by_themselves(void **state) {
    fixture_t *f = *state;
    for (int i = 0; log_most(f) <= MANY_BUFFER_BYTES / 2; i++)
        assert_true(i < 1000);
    all_there_assert(f);
}

static int no_space(void *self, const char *path, uint64_t *bytes) {
    (void) self;
    (void) path;
    *bytes = 2 * MANY_BUFFER_BYTES;
    return 0;
}

static void little_room_leaves_it_as_it_is(void **state) {
    fixture_t *f = *state;
    fs_t fs = *fs_posix();
    fs.space = no_space;
    kv_close(&f->kv);
    open_with(f, &fs);
    (void) log_most(f);
    kv_release(f->kv);
    assert_true(log_most(f) <= LOG_MOST);
}

/* A limit on the size of files: the log cannot be made a table. */
static void a_failure_on_the_way_heals(void **state) {
    fixture_t *f = *state;
    struct rlimit was, low;
    buffer_t value = {0};
    filled_while_viewed(f);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    low = was;
    low.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    kv_release(f->kv);
    assert_int_equal(kv_get(f->kv, (slice_t){(const uint8_t *) "x", 1}, &value), DRAX_EIO);
    assert_int_equal(put(f), DRAX_EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_true(log_most(f) > MANY_BUFFER_BYTES / 2);
    all_there_assert(f);
    buffer_free(&value);
}

/* A table of holes, which LevelDB removes: what counts is what is there before it opens. */
static uint64_t production_log(fixture_t *self, off_t table_bytes) {
    char path[512];
    kv_close(&self->kv);
    snprintf(path, sizeof path, "%s/9999999.ldb", self->dir.path);
    FILE *table = fopen(path, "we");
    assert_non_null(table);
    fclose(table);
    assert_int_equal(truncate(path, table_bytes), 0);
    assert_int_equal(kv_leveldb_open(&self->kv, self->dir.path, false), 0);
    assert_int_equal(access(path, F_OK), -1);
    much_put(self);
    much_put(self);
    return log_bytes(self);
}

static void production_begins_at_its_limit(void **state) {
    fixture_t *f = *state;
    uint64_t one = production_log(f, (off_t) STATE_MANY_TABLE_BYTES);
    assert_in_range(one, STATE_BUFFER_BYTES, 2 * STATE_BUFFER_BYTES);
    assert_true(production_log(f, (off_t) STATE_MANY_TABLE_BYTES + 1) > 3 * one / 2);
}

typedef struct reader {
    kv_t *kv;
    atomic_bool stop;
    int failed;
} reader_t;

static void *reader_run(void *hint) {
    reader_t *self = hint;
    buffer_t value = {0};
    char text[16];
    while (!self->stop && !self->failed) {
        self->failed = kv_get(self->kv, key_of(0, text), &value);
        if (self->failed == 0)
            self->failed = kv_peek(self->kv, key_of(0, text), &value);
    }
    buffer_free(&value);
    return NULL;
}

static void readers_notice_nothing(void **state) {
    fixture_t *f = *state;
    pthread_t thread;
    assert_int_equal(put(f), 0);
    reader_t reader = {.kv = f->kv};
    assert_int_equal(pthread_create(&thread, NULL, reader_run, &reader), 0);
    /* A reader's view may be open just then. */
    for (int i = 0; log_most(f) <= MANY_BUFFER_BYTES / 2; i++) {
        kv_release(f->kv);
        assert_true(i < 1000);
    }
    reader.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(reader.failed, 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(many_tables_have_a_large_buffer), T(writes_come_to_it_by_themselves),
        T(little_room_leaves_it_as_it_is),  T(a_failure_on_the_way_heals),
        T(production_begins_at_its_limit),  T(readers_notice_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
