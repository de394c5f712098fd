/* test_journal_damage.c: journals with flipped bits, short and missing files, and torn tails made
 * by hand: refused with the place and the reason, or cut where the head of journal_recovery.c says
 * so; never silently different.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "broker/error.h"
#include "store/journal_record.h"
#include "tests/unit/journal_bench.h"

/* ---- rot ---- */

/* A small journal of several segments whose last batch is in the model's states after the first. */
static void rot_begin(bench_t *self, uint64_t *segments, uint64_t *batch_offset) {
    bench_begin(self, 5);
    assert_int_equal(bench_open(self), 0);
    assert_int_equal(bench_append(self, true, 1, 7, 1), 0);
    assert_int_equal(bench_sync(self), 0);
    assert_int_equal(bench_append(self, false, 8, 20, 1), 0);
    assert_int_equal(bench_sync(self), 0);
    assert_int_equal(bench_append(self, true, 20, 2, 2), 0);
    assert_int_equal(bench_sync(self), 0);
    char path[64];
    for (*segments = 1;; ++*segments) {
        (void) snprintf(path, sizeof path, "j/%016llx.seg", (unsigned long long) *segments + 1);
        if (fs_faulty_size(self->disk, path) < 0)
            break;
    }
    (void) snprintf(path, sizeof path, "j/%016llx.seg", (unsigned long long) *segments);
    *batch_offset = (uint64_t) fs_faulty_size(self->disk, path);
    while (*batch_offset > 0 && fs_faulty_byte(self->disk, path, *batch_offset - 1) == 0)
        --*batch_offset;
    assert_int_equal(bench_append(self, false, 22, 4, 3), 0);
    assert_int_equal(journal_sync(self->journal), 0);
    (void) snprintf(path, sizeof path, "j/%016llx.seg", (unsigned long long) *segments + 1);
    assert_int_equal(fs_faulty_size(self->disk, path), -1);
    journal_close(&self->journal);
}

/* A copy of `from`'s disk with the same model, not open. */
static void rot_copy(bench_t *self, const bench_t *from) {
    *self = *from;
    self->disk = fs_faulty_copy(from->disk, 1);
}

static void rot_refused(bench_t *self, const char *file) {
    int rc = bench_open(self);
    assert_int_equal(rc, DRAX_ECORRUPT);
    assert_null(self->journal);
    assert_non_null(strstr(self->detail, file));
    assert_non_null(strstr(self->detail, "offset"));
    fs_faulty_destroy(&self->disk);
}

static void test_flip_everywhere(void **state) {
    (void) state;
    bench_t whole;
    uint64_t segments;
    uint64_t batch_offset;
    unsigned refused = 0;
    unsigned cut = 0;
    unsigned same = 0;
    rot_begin(&whole, &segments, &batch_offset);
    assert_true(segments >= 3);
    for (uint64_t sequence = 1; sequence <= segments; sequence++) {
        char path[64];
        (void) snprintf(path, sizeof path, "j/%016llx.seg", (unsigned long long) sequence);
        uint64_t size = (uint64_t) fs_faulty_size(whole.disk, path);
        for (uint64_t offset = 0; offset < size; offset++) {
            bench_t self;
            rot_copy(&self, &whole);
            fs_faulty_flip(self.disk, path, offset,
                           (uint8_t) (1u << (offset * 5 + offset / 8) % 8));
            int rc = bench_open(&self);
            if (rc != 0) {
                assert_true(rc == DRAX_ECORRUPT);
                assert_non_null(strstr(self.detail, path));
                refused++;
            } else {
                int match = model_match(&self.model, 0, self.journal);
                if (match < 0)
                    fail_msg("%s offset %llu: silently different", path,
                             (unsigned long long) offset);
                if ((size_t) match + 1 < self.model.count) {
                    assert_int_equal(sequence, segments);
                    assert_true(offset >= batch_offset - 8);
                    assert_string_not_equal(self.detail, "");
                    cut++;
                } else {
                    same++;
                }
                journal_close(&self.journal);
            }
            fs_faulty_destroy(&self.disk);
        }
    }
    print_message("flips: %u refused, %u cut in the last batch, %u harmless\n", refused, cut, same);
    assert_true(refused > 3000 && cut > 100 && same > 100);
    bench_end(&whole);
}

/* The same once something later vouches for the last batch: nothing may be cut any more. */
static void test_flip_vouched(void **state) {
    (void) state;
    bench_t whole;
    uint64_t segments;
    uint64_t batch_offset;
    rot_begin(&whole, &segments, &batch_offset);
    assert_int_equal(bench_open(&whole), 0);
    model_sync(&whole.model);
    assert_int_equal(bench_append(&whole, true, 25, 0, 3), 0);
    assert_int_equal(journal_sync(whole.journal), 0);
    journal_close(&whole.journal);
    char path[64];
    (void) snprintf(path, sizeof path, "j/%016llx.seg", (unsigned long long) segments);
    uint64_t end = (uint64_t) fs_faulty_size(whole.disk, path);
    while (fs_faulty_byte(whole.disk, path, end - 1) == 0)
        end--;
    /* Up to the last record, which is a hard state without a body. */
    for (uint64_t offset = batch_offset; offset < end - RECORD_BYTES; offset++) {
        bench_t self;
        rot_copy(&self, &whole);
        fs_faulty_flip(self.disk, path, offset, 0x10);
        int rc = bench_open(&self);
        if (rc == 0) /* a byte that no record holds does not exist before the end */
            fail_msg("offset %llu went unnoticed", (unsigned long long) offset);
        assert_int_equal(rc, DRAX_ECORRUPT);
        fs_faulty_destroy(&self.disk);
    }
    bench_end(&whole);
}

static void test_truncated_and_missing(void **state) {
    (void) state;
    bench_t whole;
    uint64_t segments;
    uint64_t batch_offset;
    rot_begin(&whole, &segments, &batch_offset);
    for (uint64_t sequence = 1; sequence <= segments; sequence++) {
        char path[64];
        (void) snprintf(path, sizeof path, "j/%016llx.seg", (unsigned long long) sequence);
        uint64_t capacity = (uint64_t) fs_faulty_size(whole.disk, path);
        const uint64_t sizes[] = {0, 1, 127, 128, 1000, capacity - 8, capacity - 1, capacity + 8};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            bench_t self;
            rot_copy(&self, &whole);
            fs_faulty_resize(self.disk, path, sizes[i]);
            rot_refused(&self, path);
        }
        bench_t self;
        rot_copy(&self, &whole);
        const fs_t *fs = fs_faulty_fs(self.disk);
        assert_int_equal(fs->remove(fs->self, path), 0);
        rot_refused(&self, path);
    }
    bench_end(&whole);
}

static void test_missing_oldest_after_compact(void **state) {
    (void) state;
    bench_t whole;
    uint64_t segments;
    uint64_t batch_offset;
    rot_begin(&whole, &segments, &batch_offset);
    assert_int_equal(bench_open(&whole), 0);
    assert_int_equal(journal_compact(whole.journal, 11), 0);
    journal_close(&whole.journal);
    assert_int_equal(fs_faulty_size(whole.disk, "j/0000000000000001.seg"), -1);
    uint64_t oldest = 2;
    char path[64];
    for (;; oldest++) {
        (void) snprintf(path, sizeof path, "j/%016llx.seg", (unsigned long long) oldest);
        if (fs_faulty_size(whole.disk, path) >= 0)
            break;
    }
    assert_true(oldest < segments);
    const fs_t *fs = fs_faulty_fs(whole.disk);
    assert_int_equal(fs->remove(fs->self, path), 0);
    assert_int_equal(bench_open(&whole), DRAX_ECORRUPT);
    assert_non_null(strstr(whole.detail, path));
    bench_end(&whole);
}

/* Damage that comes while the journal is open is seen when the entry is read. */
static void test_rot_while_open(void **state) {
    (void) state;
    bench_t self;
    bench_begin(&self, 3);
    assert_int_equal(bench_open(&self), 0);
    assert_int_equal(bench_append(&self, false, 1, 4, 1), 0);
    entries_t entries = {0};
    assert_int_equal(journal_read(self.journal, 1, 10000, &entries), 0);
    assert_int_equal(entries.count, 4);
    entries_clear(&entries);
    unsigned seen = 0;
    for (uint64_t offset = HEADER_BYTES; offset < HEADER_BYTES + 4 * RECORD_BYTES; offset++) {
        fs_faulty_flip(self.disk, "j/0000000000000001.seg", offset, 4);
        int rc = journal_read(self.journal, 1, 10000, &entries);
        assert_true(rc == DRAX_ECORRUPT || rc == 0);
        seen += rc == DRAX_ECORRUPT ? 1 : 0;
        for (size_t i = 0; i < entries.count; i++)
            assert_true(model_entry_right(&entries.items[i]));
        entries_clear(&entries);
        fs_faulty_flip(self.disk, "j/0000000000000001.seg", offset, 4);
    }
    assert_true(seen >= 4 * RECORD_BYTES - 7);
    bench_end(&self);
}

/* ---- single rules ---- */

/* A record that was cut must not come back when the ones before it are written again, byte for
 * byte. */
static void test_cut_stays_cut(void **state) {
    (void) state;
    bench_t self;
    bench_begin(&self, 3);
    assert_int_equal(bench_open(&self), 0);
    assert_int_equal(bench_append(&self, false, 1, 3, 1), 0);
    journal_close(&self.journal);
    /* The first record of the batch is torn, the second and third are whole. */
    fs_faulty_flip(self.disk, "j/0000000000000001.seg", HEADER_BYTES + 20, 1);
    assert_int_equal(bench_open(&self), 0);
    assert_non_null(strstr(self.detail, "torn"));
    assert_int_equal(journal_last_index(self.journal), 0);
    assert_int_equal(bench_append(&self, false, 1, 1, 1), 0);
    journal_close(&self.journal);
    assert_int_equal(bench_open(&self), 0);
    assert_string_equal(self.detail, "");
    assert_int_equal(journal_last_index(self.journal), 1);
    bench_end(&self);
}

/* A batch over many segments, torn at its beginning, and the machine stops at each call of the
 * repair. */
static void test_cut_many_segments(void **state) {
    (void) state;
    bool reached = true;
    for (uint64_t fault = 1; reached; fault++) {
        bench_t self;
        bench_begin(&self, fault);
        assert_int_equal(bench_open(&self), 0);
        assert_int_equal(bench_append(&self, true, 1, 60, 1), 0);
        journal_close(&self.journal);
        fs_faulty_flip(self.disk, "j/0000000000000001.seg", HEADER_BYTES + 20, 1);
        assert_true(fs_faulty_size(self.disk, "j/0000000000000004.seg") > 0);
        fs_faulty_stop(self.disk, fault);
        (void) bench_open(&self);
        reached = fs_faulty_stopped(self.disk);
        journal_close(&self.journal);
        fs_faulty_crash(self.disk, FS_CRASH_RANDOM);
        bench_recover(&self, fault, fault);
        assert_int_equal(fs_faulty_size(self.disk, "j/0000000000000002.seg"), -1);
        bench_end(&self);
    }
}

/* What a restarted process has read counts as durable, so it must be: the sync that failed before
 * dropped it. */
static void test_failed_sync(void **state) {
    (void) state;
    bench_t self;
    bench_begin(&self, 3);
    assert_int_equal(bench_open(&self), 0);
    assert_int_equal(bench_append(&self, true, 1, 60, 1), 0);
    fs_faulty_fail(self.disk, 1, UINT64_MAX, DRAX_EIO);
    assert_int_equal(journal_sync(self.journal), DRAX_EIO);
    assert_true(journal_dead(self.journal));
    journal_close(&self.journal);
    fs_faulty_crash(self.disk, FS_CRASH_KEEP);
    bench_recover(&self, 3, 0);
    uint64_t last = journal_last_index(self.journal);
    assert_int_equal(last, 60);
    journal_close(&self.journal);
    fs_faulty_crash(self.disk, FS_CRASH_LOSE);
    bench_recover(&self, 3, 0);
    assert_int_equal(journal_last_index(self.journal), last);
    bench_end(&self);
}

/* A client cannot make a torn tail look like damage by sending bytes that look like a record. */
static void test_forged_record(void **state) {
    (void) state;
    bench_t self;
    bench_begin(&self, 3);
    assert_int_equal(bench_open(&self), 0);
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_BLOCK};
    entry.payload = payload_new(1000 / 8 * 8);
    assert_non_null(entry.payload);
    uint8_t *bytes = payload_bytes(entry.payload);
    memset(bytes, 0xff, payload_size(entry.payload));
    record_t record = {.kind = RECORD_HARD_STATE, .durable = 2000};
    record_encode(bytes + 64, &record, NULL, 0);
    assert_int_equal(journal_append(self.journal, false, 0, 0, &entry, 1), 0);
    entry_clear(&entry);
    journal_close(&self.journal);
    fs_faulty_flip(self.disk, "j/0000000000000001.seg", HEADER_BYTES + 20, 1);
    assert_int_equal(bench_open(&self), 0);
    assert_int_equal(journal_last_index(self.journal), 0);
    bench_end(&self);
}

static void test_other_version(void **state) {
    (void) state;
    bench_t self;
    bench_begin(&self, 3);
    assert_int_equal(bench_open(&self), 0);
    journal_close(&self.journal);
    const fs_t *fs = fs_faulty_fs(self.disk);
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, "j/0000000000000001.seg", false, &file), 0);
    header_t header = {.sequence = 1, .capacity = SEGMENT};
    uint8_t bytes[HEADER_BYTES];
    header_encode(bytes, &header);
    bytes[8]++;
    uint64_t checksum = XXH3_64bits(bytes, HEADER_BYTES - 8);
    for (unsigned i = 0; i < 8; i++)
        bytes[HEADER_BYTES - 8 + i] = (uint8_t) (checksum >> (8 * i));
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    assert_int_equal(fs->pwritev(file, &part, 1, 0), 0);
    fs->close(&file);
    assert_int_equal(bench_open(&self), DRAX_EVERSION);
    assert_non_null(strstr(self.detail, "version"));
    bench_end(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_everywhere),
        cmocka_unit_test(test_flip_vouched),
        cmocka_unit_test(test_truncated_and_missing),
        cmocka_unit_test(test_missing_oldest_after_compact),
        cmocka_unit_test(test_rot_while_open),
        cmocka_unit_test(test_cut_stays_cut),
        cmocka_unit_test(test_cut_many_segments),
        cmocka_unit_test(test_failed_sync),
        cmocka_unit_test(test_forged_record),
        cmocka_unit_test(test_other_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
