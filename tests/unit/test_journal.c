/* test_journal.c: the journal on a healthy disk: what was appended is there, after a restart too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/error.h"
#include "store/journal.h"
#include "store/journal_internal.h"
#include "tests/support/fs_faulty.h"
#include "tests/unit/journal_model.h"

#define SEGMENT 4096u
#define ALIKE_BYTES 936u /* four records and a header are a block */

typedef struct bench {
    fs_faulty_t *disk;
    journal_t *journal;
    model_t model;
    uint64_t segment_bytes;
    char detail[512];
} bench_t;

static void bench_open(bench_t *self) {
    const journal_options_t options = {.segment_bytes = self->segment_bytes, .salt = 99};
    int rc = journal_open(&self->journal, fs_faulty_fs(self->disk), "j", &options, self->detail,
                          sizeof self->detail);
    if (rc != 0)
        fail_msg("open: %s: %s", error_text(rc), self->detail);
}

static void bench_reopen(bench_t *self) {
    journal_close(&self->journal);
    bench_open(self);
    assert_string_equal(self->detail, "");
    assert_true(model_match(&self->model, self->model.count - 1, self->journal) >= 0);
}

static int setup(void **state) {
    bench_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->segment_bytes = SEGMENT;
    self->disk = fs_faulty_new(1);
    const fs_t *fs = fs_faulty_fs(self->disk);
    assert_int_equal(fs->mkdir(fs->self, "j"), 0);
    model_init(&self->model);
    bench_open(self);
    *state = self;
    return 0;
}

static int teardown(void **state) {
    bench_t *self = *state;
    journal_close(&self->journal);
    fs_faulty_destroy(&self->disk);
    model_free(&self->model);
    free(self);
    return 0;
}

/* Appends entries first .. last of `term`, as one batch. */
static void append(bench_t *self, uint64_t first, uint64_t last, uint64_t term) {
    entries_t entries = {0};
    for (uint64_t index = first; index <= last; index++) {
        entry_t entry = model_entry(index, term);
        assert_int_equal(entries_push(&entries, &entry), 0);
        entry_clear(&entry);
        model_append(&self->model, index, term);
    }
    assert_int_equal(journal_append(self->journal, false, 0, 0, entries.items, entries.count), 0);
    entries_clear(&entries);
}

static void check(bench_t *self) {
    assert_true(model_match(&self->model, self->model.count - 1, self->journal) >= 0);
}

static void test_new(void **state) {
    bench_t *self = *state;
    assert_int_equal(journal_first_index(self->journal), 1);
    assert_int_equal(journal_last_index(self->journal), 0);
    assert_int_equal(journal_term_at(self->journal, 1), 0);
    assert_int_equal(journal_term(self->journal), 0);
    assert_int_equal(journal_time_ms(self->journal), 0);
    assert_int_equal(journal_term_at(self->journal, 0), 0);
    assert_int_equal(journal_bytes_from(self->journal, 1), 0);
    size_t count;
    const term_run_t *runs = journal_runs(self->journal, &count);
    assert_int_equal(count, 1);
    assert_int_equal(runs[0].index, 0);
    entries_t entries = {0};
    assert_int_equal(journal_read(self->journal, 0, 1, &entries), DRAX_ECOMPACTED);
    assert_int_equal(journal_read(self->journal, 1, 1, &entries), DRAX_ENOTFOUND);
    assert_int_equal(journal_append(self->journal, false, 0, 0, NULL, 0), 0);
    bench_reopen(self);
}

static void test_hard_state(void **state) {
    bench_t *self = *state;
    model_hard_state(&self->model, 7, 42);
    assert_int_equal(journal_append(self->journal, true, 7, 42, NULL, 0), 0);
    check(self);
    assert_int_equal(journal_sync(self->journal), 0);
    bench_reopen(self);
    model_hard_state(&self->model, 8, 0);
    assert_int_equal(journal_append(self->journal, true, 8, 0, NULL, 0), 0);
    bench_reopen(self);
}

static void test_append_many_segments(void **state) {
    bench_t *self = *state;
    append(self, 1, 1, 1);
    append(self, 2, 60, 1); /* several segments in one batch */
    check(self);
    append(self, 61, 61, 2);
    append(self, 62, 200, 3);
    check(self);
    assert_int_equal(journal_sync(self->journal), 0);
    bench_reopen(self);
    append(self, 201, 210, 3);
    check(self);
    bench_reopen(self);
    size_t count;
    const term_run_t *runs = journal_runs(self->journal, &count);
    assert_int_equal(count, 4);
    assert_int_equal(runs[1].index, 1);
    assert_int_equal(runs[2].index, 61);
    assert_int_equal(runs[3].index, 62);
    assert_int_equal(runs[3].term, 3);
    assert_int_equal(journal_time_ms(self->journal), 210 * 10 + 3);
    uint64_t before = UINT64_MAX;
    for (uint64_t index = 1; index <= 211; index++) {
        uint64_t bytes = journal_bytes_from(self->journal, index);
        assert_true(bytes <= before);
        before = bytes;
    }
    assert_int_equal(before, 0);
}

static void test_truncate(void **state) {
    bench_t *self = *state;
    append(self, 1, 50, 1);
    append(self, 45, 60, 2);
    check(self);
    append(self, 20, 20, 3); /* back over several segments */
    check(self);
    assert_int_equal(journal_time_ms(self->journal), 20 * 10 + 3);
    append(self, 21, 40, 3);
    append(self, 40, 40, 4);
    append(self, 41, 80, 4);
    check(self);
    bench_reopen(self);
    append(self, 1, 2, 5); /* all of it */
    check(self);
    bench_reopen(self);
    assert_int_equal(journal_last_index(self->journal), 2);
}

static void test_bad_arguments(void **state) {
    bench_t *self = *state;
    append(self, 1, 5, 1);
    entry_t entry = model_entry(7, 1);
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_EINVAL);
    entry.index = 0;
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_EINVAL);
    entry_t two[2] = {entry, entry};
    two[0].index = two[1].index = 6;
    assert_int_equal(journal_append(self->journal, false, 0, 0, two, 2), DRAX_EINVAL);
    entry.index = 6;
    entry.kind = (entry_kind_t) 9;
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_EINVAL);
    entry_clear(&entry);
    /* A membership without one, one that is none, and one that is too large. */
    config_t config = {.index = 6, .count = LIMIT_MEMBERS + 1};
    entry = (entry_t){.index = 6, .term = 1, .kind = ENTRY_CONFIG};
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_EINVAL);
    entry.config = &config;
    assert_true(journal_append(self->journal, false, 0, 0, &entry, 1) != 0);
    entry.kind = ENTRY_NOOP;
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_EINVAL);
    entry = (entry_t){.index = 6, .term = 0}; /* terms do not fall */
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_EINVAL);
    entry = (entry_t){.index = 6, .term = 1, .kind = ENTRY_BLOCK};
    entry.payload = payload_new(LIMIT_ENTRY_BYTES + 1);
    assert_non_null(entry.payload);
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_ETOOLARGE);
    entry_clear(&entry);
    check(self);
    bench_reopen(self);
}

static void test_largest_entry(void **state) {
    bench_t *self = *state;
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_BLOCK};
    entry.payload = payload_new(LIMIT_ENTRY_BYTES);
    assert_non_null(entry.payload);
    memset(payload_bytes(entry.payload), 0x5a, LIMIT_ENTRY_BYTES);
    assert_int_equal(journal_append(self->journal, true, 1, 1, &entry, 1), 0);
    assert_int_equal(journal_sync(self->journal), 0);
    journal_close(&self->journal);
    bench_open(self);
    entries_t entries = {0};
    assert_int_equal(journal_read(self->journal, 1, 0, &entries), 0);
    assert_int_equal(entries.count, 1);
    assert_int_equal(payload_size(entries.items[0].payload), LIMIT_ENTRY_BYTES);
    assert_memory_equal(payload_data(entries.items[0].payload), payload_data(entry.payload),
                        LIMIT_ENTRY_BYTES);
    entries_clear(&entries);
    entry_clear(&entry);
}

static void test_read_bounds(void **state) {
    bench_t *self = *state;
    append(self, 1, 100, 1);
    entries_t entries = {0};
    assert_int_equal(journal_read(self->journal, 10, UINT64_MAX, &entries), 0);
    assert_int_equal(entries.count, 91);
    entries_clear(&entries);
    assert_int_equal(journal_read(self->journal, 10, 0, &entries), 0);
    assert_int_equal(entries.count, 1);
    assert_int_equal(entries.items[0].index, 10);
    entries_clear(&entries);
    assert_int_equal(journal_read(self->journal, 100, UINT64_MAX, &entries), 0);
    assert_int_equal(entries.count, 1);
    entries_clear(&entries);
    assert_int_equal(journal_read(self->journal, 101, 1, &entries), DRAX_ENOTFOUND);
}

static unsigned segment_files(bench_t *self) {
    unsigned count = 0;
    char path[64];
    for (unsigned sequence = 1; sequence < 200; sequence++) {
        (void) snprintf(path, sizeof path, "j/%016x.seg", sequence);
        count += fs_faulty_size(self->disk, path) >= 0;
    }
    return count;
}

static void test_compact(void **state) {
    bench_t *self = *state;
    append(self, 1, 100, 1);
    append(self, 101, 200, 2);
    unsigned before = segment_files(self);
    assert_int_equal(journal_compact(self->journal, 0), 0);
    assert_int_equal(segment_files(self), before);
    model_compact(&self->model, 120);
    assert_int_equal(journal_compact(self->journal, 120), 0);
    assert_true(segment_files(self) < before);
    assert_true(journal_first_index(self->journal) > 60);
    check(self);
    bench_reopen(self);
    uint64_t first = journal_first_index(self->journal);
    entries_t entries = {0};
    assert_int_equal(journal_read(self->journal, first - 1, 1, &entries), DRAX_ECOMPACTED);
    assert_int_equal(journal_term_at(self->journal, first - 2), 0);
    model_compact(&self->model, 200);
    assert_int_equal(journal_compact(self->journal, 200), 0);
    assert_int_equal(segment_files(self), 1);
    check(self);
    bench_reopen(self);
    append(self, 201, 220, 2);
    bench_reopen(self);
    assert_true(journal_first_index(self->journal) > first);
}

/* What a later segment took back, an earlier one may no longer be there to hold. */
static void test_compact_after_truncate(void **state) {
    bench_t *self = *state;
    append(self, 1, 100, 1);
    append(self, 50, 120, 2);
    model_compact(&self->model, 49);
    assert_int_equal(journal_compact(self->journal, 49), 0);
    check(self);
    assert_int_equal(journal_first_index(self->journal), 50);
    bench_reopen(self);
    assert_int_equal(journal_first_index(self->journal), 50);
    assert_int_equal(journal_term_at(self->journal, 49), 1);
}

static void test_reset(void **state) {
    bench_t *self = *state;
    model_hard_state(&self->model, 3, 1);
    assert_int_equal(journal_append(self->journal, true, 3, 1, NULL, 0), 0);
    append(self, 1, 100, 1);
    model_reset(&self->model, 300, 2);
    assert_int_equal(journal_reset(self->journal, 300, 2), 0);
    check(self);
    assert_int_equal(segment_files(self), 1);
    assert_int_equal(journal_first_index(self->journal), 301);
    assert_int_equal(journal_last_index(self->journal), 300);
    assert_int_equal(journal_time_ms(self->journal), 0);
    bench_reopen(self);
    append(self, 301, 330, 3);
    bench_reopen(self);
    model_reset(&self->model, 10, 1); /* backwards, too */
    assert_int_equal(journal_reset(self->journal, 10, 1), 0);
    bench_reopen(self);
}

static void reserve(bench_t *self, int expected) {
    journal_reserve_t *job = journal_reserve_begin(self->journal);
    assert_non_null(job);
    assert_null(journal_reserve_begin(self->journal));
    journal_reserve_run(job);
    assert_int_equal(journal_reserve_end(self->journal, &job), expected);
    assert_null(job);
}

static void test_reserve(void **state) {
    bench_t *self = *state;
    reserve(self, 0);
    assert_int_equal(fs_faulty_size(self->disk, "j/spare"), SEGMENT);
    assert_null(journal_reserve_begin(self->journal));
    bench_reopen(self); /* adopted */
    assert_null(journal_reserve_begin(self->journal));
    fs_faulty_limit(self->disk, fs_faulty_used(self->disk));
    for (uint64_t term = 1; fs_faulty_size(self->disk, "j/spare") >= 0; term++) {
        model_hard_state(&self->model, term, 1);
        assert_int_equal(journal_append(self->journal, true, term, 1, NULL, 0), 0);
    }
    check(self);
    assert_false(journal_no_space(self->journal));
    reserve(self, DRAX_ENOSPC);
    assert_true(journal_no_space(self->journal));
    assert_int_equal(fs_faulty_size(self->disk, "j/spare.tmp"), -1);
    fs_faulty_limit(self->disk, 0);
    reserve(self, 0);
    assert_false(journal_no_space(self->journal));
    bench_reopen(self);
}

static void test_leftovers(void **state) {
    bench_t *self = *state;
    const fs_t *fs = fs_faulty_fs(self->disk);
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, "j/spare.tmp", true, &file), 0);
    fs->close(&file);
    assert_int_equal(fs->open(fs->self, "j/0000000000000002.tmp", true, &file), 0);
    fs->close(&file);
    assert_int_equal(fs->open(fs->self, "j/spare", true, &file), 0); /* of another size */
    fs->close(&file);
    /* Nobody's: not a segment's name, nor a half-made one's. */
    const char *const others[] = {
        "j/README",
        "j/1.seg",
        "j/0000000000000002.segment",
        "j/00000000000000AB.seg",
        "j/.tmp",
        "j/a-name-that-is-too-long-for-anything-that-this-directory-should-hold.tmp"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(fs->open(fs->self, others[i], true, &file), 0);
        fs->close(&file);
    }
    bench_reopen(self);
    assert_int_equal(fs_faulty_size(self->disk, "j/spare.tmp"), -1);
    assert_int_equal(fs_faulty_size(self->disk, "j/0000000000000002.tmp"), -1);
    assert_int_equal(fs_faulty_size(self->disk, "j/spare"), -1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(fs_faulty_size(self->disk, others[i]), 0);
}

/* A record of its own size needs a file of its own: the spare is no help, and stays. */
static void test_full_with_a_spare(void **state) {
    bench_t *self = *state;
    reserve(self, 0);
    fs_faulty_limit(self->disk, fs_faulty_used(self->disk));
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_BLOCK};
    entry.payload = payload_new(2 * SEGMENT);
    assert_non_null(entry.payload);
    memset(payload_bytes(entry.payload), 1, 2 * SEGMENT);
    assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), DRAX_ENOSPC);
    assert_false(journal_no_space(self->journal));
    entry_clear(&entry);
    check(self);
}

/* Segments no smaller than what they must hold, no directory whose files' paths would not fit. */
/* ---- segments that are written over ---- */

static unsigned used_files(bench_t *self) {
    unsigned count = 0;
    char path[32];
    for (unsigned number = 1; number < 10; number++) {
        (void) snprintf(path, sizeof path, "j/used.%u", number);
        count += fs_faulty_size(self->disk, path) == (int64_t) self->segment_bytes;
    }
    return count;
}

static void test_used_are_removed_at_the_start(void **state) {
    bench_t *self = *state;
    append(self, 1, 200, 1);
    model_compact(&self->model, 200);
    assert_int_equal(journal_compact(self->journal, 200), 0);
    assert_true(used_files(self) > 0);
    bench_reopen(self);
    assert_int_equal(used_files(self), 0);
}

/* `count` entries of one size, so that those of an earlier segment end where later ones do. */
static void append_alike(bench_t *self, uint64_t first, unsigned count) {
    entries_t entries = {0};
    for (uint64_t index = first; index < first + count; index++) {
        entry_t entry = {.index = index, .term = 1, .kind = ENTRY_BLOCK};
        entry.payload = payload_new(ALIKE_BYTES);
        assert_non_null(entry.payload);
        memset(payload_bytes(entry.payload), (int) index, ALIKE_BYTES);
        assert_int_equal(entries_push(&entries, &entry), 0);
        entry_clear(&entry);
    }
    assert_int_equal(journal_append(self->journal, false, 0, 0, entries.items, entries.count), 0);
    assert_int_equal(journal_sync(self->journal), 0);
    entries_clear(&entries);
}

static void test_used(void **state) {
    bench_t *self = *state;
    uint64_t last = 0;
    while (segment_files(self) < JOURNAL_USED_LARGE_MAX + 3)
        append_alike(self, ++last, 1);
    assert_int_equal(journal_compact(self->journal, last), 0);
    assert_int_equal(segment_files(self), 1);
    assert_int_equal(used_files(self), JOURNAL_USED_LARGE_MAX);
    assert_null(journal_reserve_begin(self->journal)); /* they are as good as a spare */
    fs_faulty_limit(self->disk, fs_faulty_used(self->disk));
    entry_t large = {.index = last + 1, .term = 1, .kind = ENTRY_BLOCK};
    large.payload = payload_new(2 * SEGMENT); /* needs a file of its own: the disk is found full */
    memset(payload_bytes(large.payload), 1, 2 * SEGMENT);
    assert_int_equal(journal_append(self->journal, false, 0, 0, &large, 1), DRAX_ENOSPC);
    entry_clear(&large);
    assert_false(journal_no_space(self->journal));
    while (used_files(self) > 1)
        append_alike(self, ++last, 1);
    assert_false(journal_no_space(self->journal));
    fs_faulty_fail(self->disk, 1, 1, DRAX_EIO);
    assert_int_equal(journal_used_release(self->journal), DRAX_EIO);
    assert_int_equal(used_files(self), 1);
    assert_int_equal(journal_used_release(self->journal), 0);
    assert_int_equal(used_files(self), 0);
    fs_faulty_limit(self->disk, 0);
    reserve(self, 0);
    journal_close(&self->journal);
    bench_open(self);
    assert_string_equal(self->detail, "");
    assert_int_equal(journal_last_index(self->journal), last);
}

static void segments_larger(bench_t *self, unsigned times) {
    journal_close(&self->journal);
    self->segment_bytes = times * SEGMENT;
    bench_open(self);
}

/* Where a block is full, a whole record of the segment that the file was before stands right behind
 * the last one. */
static void test_old_records_are_not_taken_for_new(void **state) {
    enum { BLOCK_RECORDS = 4 };
    bench_t *self = *state;
    segments_larger(self, 4);
    uint64_t last = 0;
    while (segment_files(self) < 3)
        append_alike(self, ++last, 1);
    unsigned segments = 3;
    assert_int_equal(journal_compact(self->journal, last), 0);
    assert_true(used_files(self) > 0);
    char path[64] = "";
    for (unsigned used = used_files(self); used_files(self) == used; segments++) {
        (void) snprintf(path, sizeof path, "j/%016x.seg", segments + 1);
        while (fs_faulty_size(self->disk, path) < 0)
            append_alike(self, ++last, 1);
    }
    append_alike(self, ++last, BLOCK_RECORDS - 1);
    last += BLOCK_RECORDS - 2;
    uint64_t end = HEADER_BYTES + BLOCK_RECORDS * record_size(ALIKE_BYTES);
    assert_int_equal(end, FS_APPEND_BYTES);
    assert_int_equal(fs_faulty_byte(self->disk, path, end) +
                         256 * fs_faulty_byte(self->disk, path, end + 1),
                     ALIKE_BYTES); /* its length */
    assert_int_equal(fs_faulty_byte(self->disk, path, end + 4), RECORD_ENTRY);
    journal_close(&self->journal);
    bench_open(self);
    assert_string_equal(self->detail, ""); /* nothing was torn */
    assert_int_equal(journal_last_index(self->journal), last);
    assert_int_equal(fs_faulty_byte(self->disk, path, end), 0);
    append_alike(self, last + 1, 1);
    journal_close(&self->journal);
    bench_open(self);
    assert_int_equal(journal_last_index(self->journal), last + 1);
}

/* Segments of many small entries become free one by one. */
static void test_few_used_files_of_small_entries(void **state) {
    bench_t *self = *state;
    segments_larger(self, 64);
    uint64_t last = 0;
    while (segment_files(self) < JOURNAL_USED_MAX + 3)
        append_alike(self, ++last, 1);
    assert_int_equal(journal_compact(self->journal, last), 0);
    assert_int_equal(segment_files(self), 1);
    assert_int_equal(used_files(self), JOURNAL_USED_MAX);
}

static void test_options(void **state) {
    bench_t *self = *state;
    journal_close(&self->journal);
    const fs_t *fs = fs_faulty_fs(self->disk);
    const journal_options_t options = {.segment_bytes = 1};
    assert_int_equal(fs->mkdir(fs->self, "k"), 0);
    assert_int_equal(journal_open(&self->journal, fs, "k", &options, NULL, 0), 0);
    assert_int_equal(fs_faulty_size(self->disk, "k/0000000000000001.seg"), 4096);
    journal_close(&self->journal);
    char path[LIMIT_PATH_BYTES];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(journal_open(&self->journal, fs, path, NULL, self->detail, 100), DRAX_EINVAL);
    assert_string_not_equal(self->detail, "");
    const journal_options_t preset = {.salt = 3};
    assert_int_equal(fs->mkdir(fs->self, "l"), 0);
    assert_int_equal(journal_open(&self->journal, fs, "l", &preset, NULL, 0), 0);
    assert_int_equal(fs_faulty_size(self->disk, "l/0000000000000001.seg"), JOURNAL_SEGMENT_BYTES);
}

static void test_many_segments(void **state) {
    bench_t *self = *state;
    entry_t entry = {.term = 1, .kind = ENTRY_BLOCK};
    entry.payload = payload_new(SEGMENT);
    assert_non_null(entry.payload);
    memset(payload_bytes(entry.payload), 1, SEGMENT);
    for (entry.index = 1; entry.index <= 70; entry.index++) /* a segment each */
        assert_int_equal(journal_append(self->journal, false, 0, 0, &entry, 1), 0);
    entry_clear(&entry);
    journal_close(&self->journal);
    bench_open(self);
    assert_int_equal(journal_last_index(self->journal), 70);
    assert_true(segment_files(self) > 64);
}

/* A different segment size from one start to the next, and entries beyond a point's
 * distance. */
static void test_segment_size_changes(void **state) {
    bench_t *self = *state;
    append(self, 1, 40, 1);
    self->segment_bytes = 1u << 20;
    bench_reopen(self);
    append(self, 41, 500, 1);
    check(self);
    bench_reopen(self);
    append(self, 450, 510, 2);
    check(self);
    bench_reopen(self);
    self->segment_bytes = SEGMENT;
    bench_reopen(self);
}

/* The real file system: 128 MiB open in well under a second (the bound is wide for busy machines).
 */
static void test_posix_large(void **state) {
    (void) state;
    char directory[] = "/tmp/drax-journal-XXXXXX";
    assert_non_null(mkdtemp(directory));
    const fs_t *fs = fs_posix();
    journal_t *journal;
    char detail[512];
    assert_int_equal(journal_open(&journal, fs, directory, NULL, detail, sizeof detail), 0);
    payload_t *payload = payload_new(64u << 10);
    assert_non_null(payload);
    memset(payload_bytes(payload), 0xa5, payload_size(payload));
    const uint64_t count = 2048;
    for (uint64_t index = 1; index <= count;) {
        entry_t entries[16];
        for (size_t i = 0; i < 16; i++)
            entries[i] =
                (entry_t){.index = index++, .term = 1, .kind = ENTRY_BLOCK, .payload = payload};
        assert_int_equal(journal_append(journal, false, 0, 0, entries, 16), 0);
    }
    assert_int_equal(journal_sync(journal), 0);
    payload_unref(&payload);
    journal_close(&journal);
    struct timespec from;
    struct timespec to;
    (void) clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(journal_open(&journal, fs, directory, NULL, detail, sizeof detail), 0);
    (void) clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds =
        (double) (to.tv_sec - from.tv_sec) + 1e-9 * (double) (to.tv_nsec - from.tv_nsec);
    print_message("128 MiB opened in %.3f s\n", seconds);
    assert_true(seconds < 5);
    assert_int_equal(journal_last_index(journal), count);
    entries_t entries = {0};
    assert_int_equal(journal_read(journal, 1000, 1u << 20, &entries), 0);
    assert_int_equal(entries.count, 15);
    entries_clear(&entries);
    assert_int_equal(journal_compact(journal, count), 0);
    journal_close(&journal);
    assert_int_equal(fs->remove_tree(fs->self, directory), 0);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_new),
        CASE(test_hard_state),
        CASE(test_append_many_segments),
        CASE(test_truncate),
        CASE(test_bad_arguments),
        CASE(test_largest_entry),
        CASE(test_read_bounds),
        CASE(test_compact),
        CASE(test_compact_after_truncate),
        CASE(test_reset),
        CASE(test_reserve),
        CASE(test_leftovers),
        CASE(test_full_with_a_spare),
        CASE(test_used),
        CASE(test_used_are_removed_at_the_start),
        CASE(test_old_records_are_not_taken_for_new),
        CASE(test_few_used_files_of_small_entries),
        CASE(test_options),
        CASE(test_many_segments),
        CASE(test_segment_size_changes),
        cmocka_unit_test(test_posix_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
