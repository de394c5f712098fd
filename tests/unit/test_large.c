/* test_large.c: files of large values on a disk that fails, forgets and stops anywhere; whatever
 * is wrong with a file is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "store/kv.h"
#include "store/large.h"
#include "tests/support/fs_faulty.h"

#define DIRECTORY "store/large"
#define THRESHOLD 100u
#define KEYS 5u
#define CHANGES 6u /* of a batch; so a key often changes twice in it */
#define VALUE_MAX 3000u

static slice_t bytes_of(const char *text) {
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

/* ---- one file ---- */

typedef struct alone {
    fs_faulty_t *disk;
    const fs_t *fs;
    large_reference_t reference;
    uint8_t value[400];
} alone_t;

static void alone_begin(alone_t *self) {
    self->disk = fs_faulty_new(1);
    self->fs = fs_faulty_fs(self->disk);
    for (size_t i = 0; i < sizeof self->value; i++)
        self->value[i] = (uint8_t) (i * 7);
    self->reference = (large_reference_t){.number = 3};
    assert_int_equal(large_file_write(self->fs, "file", true, bytes_of("key"),
                                      (slice_t){self->value, sizeof self->value}, &self->reference),
                     0);
}

static int alone_read(alone_t *self, const char *key, const char **reason) {
    buffer_t value = {0};
    buffer_append(&value, "before", 6);
    int rc = large_file_read(self->fs, "file", bytes_of(key), &self->reference, &value, reason);
    assert_int_equal(value.size, rc ? 6 : 6 + sizeof self->value);
    if (rc == 0)
        assert_memory_equal(value.data + 6, self->value, sizeof self->value);
    buffer_free(&value);
    return rc;
}

static void every_flip_is_found(void **unused) {
    (void) unused;
    alone_t alone;
    const char *reason = NULL;
    alone_begin(&alone);
    int64_t size = fs_faulty_size(alone.disk, "file");
    assert_int_equal(size, large_file_size(bytes_of("key"), (slice_t){alone.value, 400}));
    assert_int_equal(alone_read(&alone, "key", &reason), 0);
    for (int64_t at = 0; at < size; at++) {
        uint8_t mask = (uint8_t) (1u << (at % 8));
        fs_faulty_flip(alone.disk, "file", (uint64_t) at, mask);
        reason = NULL;
        assert_int_equal(alone_read(&alone, "key", &reason), DRAX_ECORRUPT);
        assert_non_null(reason);
        fs_faulty_flip(alone.disk, "file", (uint64_t) at, mask);
    }
    assert_int_equal(alone_read(&alone, "key", &reason), 0);
    fs_faulty_destroy(&alone.disk);
}

static void every_truncation_is_found(void **unused) {
    (void) unused;
    alone_t alone;
    const char *reason;
    alone_begin(&alone);
    for (int64_t size = fs_faulty_size(alone.disk, "file") - 1; size >= 0; size--) {
        fs_faulty_resize(alone.disk, "file", (uint64_t) size);
        reason = NULL;
        assert_int_equal(alone_read(&alone, "key", &reason), DRAX_ECORRUPT);
        assert_non_null(reason);
    }
    assert_int_equal(alone.fs->remove(alone.fs->self, "file"), 0);
    assert_int_equal(alone_read(&alone, "key", &reason), DRAX_ECORRUPT);
    assert_string_equal(reason, "the file is missing");
    fs_faulty_destroy(&alone.disk);
}

/* Whole, but of another key, another number, or of what the file held before. */
static void another_file_is_refused(void **unused) {
    (void) unused;
    alone_t alone;
    const char *reason = NULL;
    alone_begin(&alone);
    assert_int_equal(alone_read(&alone, "kez", &reason), DRAX_ECORRUPT);
    alone.reference.number++;
    assert_int_equal(alone_read(&alone, "key", &reason), DRAX_ECORRUPT);
    alone.reference.number--;
    alone.reference.checksum++;
    assert_int_equal(alone_read(&alone, "key", &reason), DRAX_ECORRUPT);
    alone.reference.checksum--;
    large_reference_t later = {.number = 4};
    assert_int_equal(
        large_file_write(alone.fs, "file", false, bytes_of("key"), bytes_of("short"), &later), 0);
    assert_int_equal(alone_read(&alone, "key", &reason), DRAX_ECORRUPT);
    buffer_t value = {0}; /* and the rest of the longer one does not matter to the new one */
    assert_int_equal(large_file_read(alone.fs, "file", bytes_of("key"), &later, &value, &reason),
                     0);
    assert_int_equal(value.size, 5);
    buffer_free(&value);
    fs_faulty_destroy(&alone.disk);
}

static void references_are_told_apart(void **unused) {
    (void) unused;
    uint8_t bytes[LARGE_REFERENCE_BYTES + 1] = {0};
    large_reference_t in = {7, 8, 9}, out;
    large_reference_encode(&in, bytes);
    assert_int_equal(large_reference_parse((slice_t){bytes, LARGE_REFERENCE_BYTES}, &out), 0);
    assert_memory_equal(&in, &out, sizeof in);
    assert_int_equal(large_reference_parse((slice_t){bytes, sizeof bytes}, &out), DRAX_ECORRUPT);
    assert_true(large_reference_is((slice_t){bytes, 16}));
    assert_false(large_reference_is((slice_t){bytes, 15}));
    for (size_t i = 0; i < 16; i++) {
        bytes[i] ^= 1;
        assert_false(large_reference_is((slice_t){bytes, sizeof bytes}));
        bytes[i] ^= 1;
    }
}

/* ---- a store with large values, in memory but for these ---- */

/* What the database has, or would have if the batch under way is written. */
typedef struct row {
    uint8_t record[LARGE_REFERENCE_BYTES];
    bool there, large;
    uint8_t fill; /* the value is so many bytes of that */
    size_t size;
} row_t;

typedef struct model {
    fs_faulty_t *disk;
    large_t *large;
    row_t rows[KEYS];
    large_view_t views[2];
    row_t seen[2][KEYS];
    bool open[2];
    uint64_t seed;
} model_t;

static slice_t key_of(size_t i) {
    static const char *const keys[KEYS] = {"a", "b", "cc", "ccc", ""};
    return bytes_of(keys[i]);
}

static int model_lookup(void *hint, slice_t key, buffer_t *record) {
    model_t *self = hint;
    for (size_t i = 0; i < KEYS; i++) {
        if (kv_key_compare(key_of(i), key) != 0)
            continue;
        if (!self->rows[i].there)
            return DRAX_ENOTFOUND;
        buffer_append(record, self->rows[i].record, LARGE_REFERENCE_BYTES);
        return record->failed ? DRAX_ENOMEM : 0;
    }
    return DRAX_ENOTFOUND;
}

static uint64_t pick(model_t *self, uint64_t below) {
    return fs_faulty_random(&self->seed) % below;
}

static int model_open(model_t *self) {
    assert_int_equal(large_open(&self->large, fs_faulty_fs(self->disk), DIRECTORY, THRESHOLD), 0);
    return large_recover(self->large, model_lookup, self);
}

/* One change of a batch. */
typedef struct change {
    size_t key;
    row_t row;
} change_t;

static void change_make(model_t *self, large_batch_t *batch, change_t *out) {
    static uint8_t bytes[VALUE_MAX];
    row_t *row = &out->row;
    out->key = pick(self, KEYS);
    *row = (row_t){.there = pick(self, 4) != 0, .fill = (uint8_t) pick(self, 256)};
    row->size = pick(self, 3) ? THRESHOLD + 1 + pick(self, VALUE_MAX - THRESHOLD) : 50;
    memset(bytes, row->fill, row->size);
    slice_t value = {bytes, row->size};
    row->large = row->there && large_wanted(self->large, value);
    assert_int_equal(row->large, row->there && row->size > THRESHOLD);
    if (row->large && !batch->failed)
        (void) large_put(self->large, batch, key_of(out->key), value, row->record);
}

static void change_tell(model_t *self, const large_batch_t *batch, const change_t *change) {
    slice_t record = {change->row.record, change->row.large ? LARGE_REFERENCE_BYTES : 0};
    assert_int_equal(large_changed(self->large, batch, key_of(change->key), record), 0);
}

/* One batch, as kv_leveldb_write.c does it. `database_fails`: it cannot say whether it has the
 * batch, but it has, if `written`. */
static int model_batch(model_t *self, bool database_fails, bool written) {
    large_batch_t batch = {0};
    change_t changes[CHANGES];
    size_t count = 1 + pick(self, CHANGES);
    for (size_t i = 0; i < count; i++)
        change_make(self, &batch, &changes[i]);
    int rc = large_publish(self->large, &batch);
    for (size_t i = 0; rc == 0 && (!database_fails || written) && i < count; i++)
        self->rows[changes[i].key] = changes[i].row;
    for (size_t i = 0; rc == 0 && !database_fails && i < count; i++)
        change_tell(self, &batch, &changes[i]);
    large_batch_end(self->large, &batch, rc != 0);
    if (rc == 0 && !database_fails)
        large_reclaim(self->large);
    return rc;
}

static void rows_check(model_t *self, const row_t *rows) {
    for (size_t i = 0; i < KEYS; i++) {
        if (!rows[i].large)
            continue;
        buffer_t value = {0};
        slice_t record = {rows[i].record, LARGE_REFERENCE_BYTES};
        assert_int_equal(large_read(self->large, key_of(i), record, &value), 0);
        assert_int_equal(value.size, rows[i].size);
        assert_int_equal(value.data[0], rows[i].fill);
        assert_int_equal(value.data[value.size - 1], rows[i].fill);
        buffer_free(&value);
    }
}

static int value_count(void *hint, const char *name) {
    size_t *counts = hint;
    counts[strstr(name, ".val") ? 0 : strstr(name, ".tmp") ? 1 : 2]++;
    return 0;
}

/* As many files as values, none half made, and no more to write over than are allowed. */
static void files_check(model_t *self, bool reopened) {
    size_t counts[3] = {0}, large = 0;
    const fs_t *fs = fs_faulty_fs(self->disk);
    for (size_t i = 0; i < KEYS; i++)
        large += self->rows[i].large;
    assert_int_equal(fs->list(fs->self, DIRECTORY, value_count, counts), 0);
    assert_int_equal(counts[0], large);
    assert_int_equal(counts[1], 0);
    if (reopened)
        assert_int_equal(counts[2], 0);
}

static void model_begin(model_t *self, uint64_t seed) {
    *self = (model_t){.seed = seed};
    self->disk = fs_faulty_new(seed);
    const fs_t *fs = fs_faulty_fs(self->disk);
    assert_int_equal(fs->mkdir(fs->self, "store"), 0);
    assert_int_equal(fs->sync_dir(fs->self, ""), 0);
    assert_int_equal(model_open(self), 0);
}

static void model_end(model_t *self) {
    large_close(&self->large);
    fs_faulty_destroy(&self->disk);
}

/* The machine stops at any call; what the database has when it starts again is all there. */
static void nothing_is_lost_by_a_crash(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        model_t model;
        model_begin(&model, seed);
        for (int life = 0; life < 4; life++) {
            fs_faulty_stop(model.disk, 1 + pick(&model, 60));
            while (model_batch(&model, false, true) == 0 && !fs_faulty_stopped(model.disk))
                ;
            assert_true(fs_faulty_stopped(model.disk));
            large_close(&model.large);
            fs_faulty_crash(model.disk, (fs_crash_t) pick(&model, 3));
            assert_int_equal(model_open(&model), 0);
            rows_check(&model, model.rows);
            files_check(&model, true);
        }
        model_end(&model);
    }
}

/* A call fails: the batch is not written, nothing of it is left, and the next one is. */
static void a_full_disk_heals(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        model_t model;
        model_begin(&model, seed);
        for (int i = 0; i < 10; i++)
            assert_int_equal(model_batch(&model, false, true), 0);
        fs_faulty_fail(model.disk, 1 + pick(&model, 6), 1000, DRAX_ENOSPC);
        int rc;
        do
            rc = model_batch(&model, false, true);
        while (rc == 0 && !fs_faulty_failed(model.disk));
        assert_true(rc == 0 || rc == DRAX_ENOSPC);
        fs_faulty_fail(model.disk, 1, 0, 0);
        rows_check(&model, model.rows);
        files_check(&model, false);
        for (int i = 0; i < 10; i++)
            assert_int_equal(model_batch(&model, false, true), 0);
        rows_check(&model, model.rows);
        files_check(&model, false);
        model_end(&model);
    }
}

/* The database failed: only by opening it again is it known whether it has the batch. */
static void an_unknown_end_is_found_out(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        model_t model;
        model_begin(&model, seed);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(model_batch(&model, false, true), 0);
            assert_int_equal(model_batch(&model, true, pick(&model, 2)), 0);
            assert_int_equal(large_recover(model.large, model_lookup, &model), 0);
            rows_check(&model, model.rows);
            files_check(&model, false);
        }
        model_end(&model);
    }
}

static void views_keep_what_they_see(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        model_t model;
        model_begin(&model, seed);
        for (int i = 0; i < 40; i++) {
            size_t at = pick(&model, 2);
            if (model.open[at]) {
                rows_check(&model, model.seen[at]);
                large_view_close(model.large, &model.views[at]);
            } else {
                large_view_open(model.large, &model.views[at]);
                memcpy(model.seen[at], model.rows, sizeof model.rows);
            }
            model.open[at] = !model.open[at];
            assert_int_equal(large_viewed(model.large), model.open[0] || model.open[1]);
            assert_int_equal(model_batch(&model, false, true), 0);
            for (at = 0; at < 2; at++)
                if (model.open[at])
                    rows_check(&model, model.seen[at]);
        }
        for (size_t at = 0; at < 2; at++)
            if (model.open[at])
                large_view_close(model.large, &model.views[at]);
        large_reclaim(model.large);
        files_check(&model, false);
        model_end(&model);
    }
}

/* A damaged file stays for a human, is told of with its path, and never blocks the others. */
static void damage_is_left_and_told(void **unused) {
    (void) unused;
    model_t model;
    model_begin(&model, 5);
    do
        assert_int_equal(model_batch(&model, false, true), 0);
    while (!model.rows[0].large || !model.rows[1].large);
    large_reference_t reference;
    char path[64], detail[128], wanted[128];
    slice_t record = {model.rows[0].record, LARGE_REFERENCE_BYTES};
    assert_int_equal(large_reference_parse(record, &reference), 0);
    snprintf(path, sizeof path, DIRECTORY "/%016llx.val", (unsigned long long) reference.number);
    fs_faulty_flip(model.disk, path, 9, 1);
    large_close(&model.large);
    assert_int_equal(model_open(&model), 0);
    buffer_t value = {0};
    assert_int_equal(large_read(model.large, key_of(0), record, &value), DRAX_ECORRUPT);
    large_detail(model.large, detail, sizeof detail);
    snprintf(wanted, sizeof wanted, "%s: the file is of another version of the format", path);
    assert_string_equal(detail, wanted);
    assert_true(fs_faulty_size(model.disk, path) > 0);
    record = (slice_t){model.rows[1].record, LARGE_REFERENCE_BYTES};
    assert_int_equal(large_read(model.large, key_of(1), record, &value), 0);
    buffer_free(&value);
    model_end(&model);
}

/* As many bytes as may be kept to be written over, and no more. */
static void spares_are_bounded(void **unused) {
    (void) unused;
    fs_faulty_t *disk = fs_faulty_new(2);
    const fs_t *fs = fs_faulty_fs(disk);
    assert_int_equal(fs->mkdir(fs->self, "store"), 0);
    large_t *large;
    assert_int_equal(large_open(&large, fs, DIRECTORY, THRESHOLD), 0);
    size_t size = STATE_SPARE_BYTES / 4;
    uint8_t *bytes = test_calloc(1, size);
    uint8_t reference[LARGE_REFERENCE_BYTES];
    char key[2] = "a";
    for (int deleting = 0; deleting < 2; deleting++) {
        for (key[0] = 'a'; key[0] < 'h'; key[0]++) {
            large_batch_t batch = {0};
            slice_t record = {reference, deleting ? 0 : sizeof reference};
            if (!deleting)
                assert_int_equal(
                    large_put(large, &batch, bytes_of(key), (slice_t){bytes, size}, reference), 0);
            assert_int_equal(large_publish(large, &batch), 0);
            assert_int_equal(large_changed(large, &batch, bytes_of(key), record), 0);
            large_batch_end(large, &batch, false);
            large_reclaim(large);
        }
    }
    assert_false(large_any(large));
    assert_true(fs_faulty_used(disk) <= STATE_SPARE_BYTES);
    assert_true(fs_faulty_used(disk) > STATE_SPARE_BYTES / 2);
    large_close(&large);
    assert_int_equal(fs_faulty_used(disk), 0);
    test_free(bytes);
    fs_faulty_destroy(&disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flip_is_found),         cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(another_file_is_refused),     cmocka_unit_test(references_are_told_apart),
        cmocka_unit_test(nothing_is_lost_by_a_crash),  cmocka_unit_test(a_full_disk_heals),
        cmocka_unit_test(an_unknown_end_is_found_out), cmocka_unit_test(views_keep_what_they_see),
        cmocka_unit_test(damage_is_left_and_told),     cmocka_unit_test(spares_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
