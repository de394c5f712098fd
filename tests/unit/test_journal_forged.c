/* test_journal_forged.c: journals with one thing in them that no journal writes, its checksums
 * right: refused with the place and the reason, never believed.
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

#define SEGMENT_1 "j/0000000000000001.seg"
#define SEGMENT_2 "j/0000000000000002.seg"
#define IMPOSSIBLE (((uint64_t) 1 << 62) + 1)

/* ---- forging ---- */

static void bytes_read(bench_t *self, const char *path, uint64_t offset, void *out, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *) out)[i] = fs_faulty_byte(self->disk, path, offset + i);
}

static void bytes_write(bench_t *self, const char *path, uint64_t offset, void *data, size_t size) {
    const fs_t *fs = fs_faulty_fs(self->disk);
    fs_file_t *file;
    assert_int_equal(fs->open(fs->self, path, false, &file), 0);
    struct iovec part = {.iov_base = data, .iov_len = size};
    assert_int_equal(fs->pwritev(file, &part, 1, offset), 0);
    assert_int_equal(fs->sync(file), 0);
    fs->close(&file);
}

static header_t header_of(bench_t *self, const char *path) {
    uint8_t bytes[HEADER_BYTES];
    header_t header;
    bytes_read(self, path, 0, bytes, sizeof bytes);
    assert_int_equal(header_decode(&header, bytes), HEADER_GOOD);
    return header;
}

static void header_forge(bench_t *self, const char *path, header_t header) {
    uint8_t bytes[HEADER_BYTES];
    header_encode(bytes, &header);
    bytes_write(self, path, 0, bytes, sizeof bytes);
}

/* Where the chain of a segment ends, and its last checksum. */
static uint64_t chain_end(bench_t *self, const char *path, uint64_t *chain) {
    uint64_t offset = HEADER_BYTES;
    *chain = header_of(self, path).checksum;
    for (;;) {
        uint8_t head[RECORD_BYTES];
        record_t record;
        if (offset + RECORD_BYTES > SEGMENT)
            return offset;
        bytes_read(self, path, offset, head, sizeof head);
        if (!record_head_decode(&record, head, SEGMENT - offset, SALT))
            return offset;
        *chain = record.checksum;
        offset += record_size(record.length);
    }
}

/* Puts a record at the end of the chain, continuing it. */
static uint64_t record_forge(bench_t *self, record_t record, const uint8_t *body) {
    uint8_t bytes[SEGMENT] = {0};
    uint64_t offset = chain_end(self, SEGMENT_1, &record.prev);
    record_encode(bytes, &record, body, SALT);
    if (record.length > 0)
        memcpy(bytes + RECORD_BYTES, body, record.length);
    bytes_write(self, SEGMENT_1, offset, bytes, (size_t) record_size(record.length));
    return offset;
}

/* A closed journal with `count` entries of term 1. */
static void closed(bench_t *self, uint64_t count) {
    bench_begin(self, 3);
    assert_int_equal(bench_open(self), 0);
    assert_int_equal(bench_append(self, true, 1, count, 1), 0);
    assert_int_equal(bench_sync(self), 0);
    journal_close(&self->journal);
}

static void refused(bench_t *self, const char *path, const char *reason) {
    assert_int_equal(bench_open(self), DRAX_ECORRUPT);
    assert_null(self->journal);
    if (!strstr(self->detail, path) || !strstr(self->detail, reason))
        fail_msg("\"%s\" does not say \"%s\" of %s", self->detail, reason, path);
    /* Whoever does not want the sentence gets the code alone. */
    const journal_options_t options = {.segment_bytes = SEGMENT, .salt = SALT};
    assert_int_equal(journal_open(&self->journal, fs_faulty_fs(self->disk), "j", &options, NULL, 0),
                     DRAX_ECORRUPT);
    bench_end(self);
}

/* ---- records ---- */

static void test_records_refused(void **state) {
    (void) state;
    const struct {
        record_t record;
        const char *reason;
    } cases[] = {
        {{.kind = RECORD_ENTRY, .index = 6, .durable = 1u << 20}, "came after it"},
        {{.kind = RECORD_ENTRY, .index = 7, .term = 1}, "does not follow"},
        {{.kind = RECORD_ENTRY, .index = 5, .term = 1}, "does not follow"},
        {{.kind = RECORD_ENTRY, .index = 6, .term = 1, .entry_kind = 9}, "unknown kind"},
        {{.kind = RECORD_ENTRY, .index = 6, .term = 0}, "an earlier term"},
        {{.kind = RECORD_ENTRY, .index = 6, .term = 1, .entry_kind = ENTRY_CONFIG}, "membership"},
        {{.kind = RECORD_ENTRY, .index = 6, .term = IMPOSSIBLE}, "impossible number"},
        {{.kind = RECORD_RESET, .index = IMPOSSIBLE}, "impossible number"},
        {{.kind = RECORD_ENTRY, .index = 6, .time_ms = IMPOSSIBLE}, "impossible number"},
        {{.kind = RECORD_TRUNCATE, .index = 6, .term = 1}, "truncation beyond"},
        {{.kind = RECORD_TRUNCATE, .index = 4, .term = 2}, "of another term"},
        /* Its end was once miscounted when the segment after it had no header. */
        {{.kind = RECORD_SEAL, .index = 2, .length = 8}, "only entries have"},
        {{.kind = RECORD_COMPACT, .index = 2}, "compaction beyond"},
        {{.kind = RECORD_SEAL, .index = 3}, "seal for another"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench_t self;
        closed(&self, 5);
        (void) record_forge(&self, cases[i].record, (const uint8_t[8]){0});
        refused(&self, SEGMENT_1, cases[i].reason);
    }
}

/* A whole record that continues another chain, and one of a kind that is not known, end the log. */
static void test_records_cut(void **state) {
    (void) state;
    bench_t self;
    closed(&self, 5);
    uint8_t bytes[RECORD_BYTES];
    record_t record = {.kind = RECORD_ENTRY, .index = 6, .term = 1};
    uint64_t offset = chain_end(&self, SEGMENT_1, &record.prev);
    record.prev++;
    record_encode(bytes, &record, NULL, SALT);
    bytes_write(&self, SEGMENT_1, offset, bytes, sizeof bytes);
    assert_int_equal(bench_open(&self), 0);
    assert_non_null(strstr(self.detail, "does not continue the one before"));
    assert_int_equal(journal_last_index(self.journal), 5);
    bench_end(&self);

    closed(&self, 5);
    (void) record_forge(&self, (record_t){.kind = RECORD_KIND_END, .index = 6, .term = 1}, NULL);
    assert_int_equal(bench_open(&self), 0);
    assert_non_null(strstr(self.detail, "not a record"));
    bench_end(&self);
}

/* Zeros where a record was that a later one says was synced. */
static void test_zeros_over_what_was_synced(void **state) {
    (void) state;
    bench_t self;
    uint64_t chain;
    closed(&self, 5);
    uint64_t offset = chain_end(&self, SEGMENT_1, &chain);
    assert_int_equal(bench_open(&self), 0);
    assert_int_equal(bench_append(&self, true, 6, 0, 2), 0);
    assert_int_equal(bench_sync(&self), 0);
    assert_int_equal(bench_append(&self, true, 6, 0, 3), 0);
    assert_int_equal(bench_sync(&self), 0);
    journal_close(&self.journal);
    uint8_t zeros[RECORD_BYTES] = {0};
    bytes_write(&self, SEGMENT_1, offset, zeros, sizeof zeros);
    refused(&self, SEGMENT_1, "reads as zeros");
}

/* The chain may end where not even a head fits any more. */
static void test_full_to_the_last_byte(void **state) {
    (void) state;
    bench_t self;
    uint64_t chain;
    closed(&self, 5);
    static const uint8_t body[SEGMENT];
    uint64_t left = SEGMENT - chain_end(&self, SEGMENT_1, &chain);
    uint32_t length = (uint32_t) (left - RECORD_BYTES - RECORD_ALIGN);
    (void) record_forge(
        &self, (record_t){.kind = RECORD_ENTRY, .index = 6, .term = 9, .length = length}, body);
    assert_int_equal(bench_open(&self), 0);
    assert_string_equal(self.detail, "");
    assert_int_equal(journal_last_index(self.journal), 6);
    assert_int_equal(journal_term_at(self.journal, 6), 9);
    bench_end(&self);
}

/* What only reading can find: a body that is no membership, a head for another place. */
static void test_found_when_read(void **state) {
    (void) state;
    static const uint8_t body[] = "no membership";
    bench_t self;
    closed(&self, 5);
    record_t sixth = {.kind = RECORD_ENTRY, .index = 6, .term = 1, .length = 13};
    record_t seventh = {.kind = RECORD_ENTRY, .index = 7, .term = 1, .length = 13};
    uint64_t chain, before = chain_end(&self, SEGMENT_1, &sixth.prev);
    (void) record_forge(&self, sixth, body);
    (void) record_forge(&self, seventh, body);
    assert_int_equal(bench_open(&self), 0);
    uint8_t bytes[RECORD_BYTES + 16];
    sixth.entry_kind = ENTRY_CONFIG;
    record_encode(bytes, &sixth, body, SALT);
    bytes_write(&self, SEGMENT_1, before, bytes, RECORD_BYTES);
    entries_t entries = {0};
    assert_int_equal(journal_read(self.journal, 1, 1u << 20, &entries), DRAX_ECORRUPT);
    entries_clear(&entries);
    assert_int_equal(journal_read(self.journal, 7, 1, &entries), 0);
    assert_memory_equal(payload_data(entries.items[0].payload), body, 13);
    entries_clear(&entries);
    /* The last entry now says that it is another: the search ends with the segment. */
    record_t record;
    uint64_t offset = chain_end(&self, SEGMENT_1, &chain) - sizeof bytes;
    bytes_read(&self, SEGMENT_1, offset, bytes, sizeof bytes);
    assert_true(record_head_decode(&record, bytes, sizeof bytes, SALT));
    record.index = 70;
    record_encode(bytes, &record, body, SALT);
    bytes_write(&self, SEGMENT_1, offset, bytes, sizeof bytes);
    assert_int_equal(journal_read(self.journal, 7, 1, &entries), DRAX_ECORRUPT);
    /* A disk that cannot be read, be it only in the middle of a large entry; a file that lost its
     * end. */
    entry_t entry = {.index = 8, .term = 1, .kind = ENTRY_BLOCK, .payload = payload_new(200000)};
    assert_non_null(entry.payload);
    memset(payload_bytes(entry.payload), 1, 200000);
    assert_int_equal(journal_append(self.journal, false, 0, 0, &entry, 1), 0);
    entry_clear(&entry);
    for (unsigned nth = 1; nth <= 2; nth++) {
        fs_faulty_fail(self.disk, nth, 1, DRAX_EIO);
        assert_int_equal(journal_read(self.journal, 8, 1, &entries), DRAX_EIO);
    }
    fs_faulty_resize(self.disk, SEGMENT_1, HEADER_BYTES + 8);
    assert_int_equal(journal_read(self.journal, 1, 1, &entries), DRAX_ECORRUPT);
    bench_end(&self);
}

/* ---- headers ---- */

static void test_headers_refused(void **state) {
    (void) state;
    bench_t self;
    closed(&self, 5);
    header_t header = header_of(&self, SEGMENT_1);
    header.sequence = 9;
    header_forge(&self, SEGMENT_1, header);
    refused(&self, SEGMENT_1, "another segment");

    closed(&self, 5); /* nothing that the journal makes has an odd size */
    header = header_of(&self, SEGMENT_1);
    header.capacity += 4;
    fs_faulty_resize(self.disk, SEGMENT_1, SEGMENT + 4);
    header_forge(&self, SEGMENT_1, header);
    refused(&self, SEGMENT_1, "another segment");

    for (unsigned field = 0; field < 2; field++) {
        closed(&self, 60);
        header = header_of(&self, SEGMENT_2);
        *(field ? &header.base : &header.prev) += 8;
        header_forge(&self, SEGMENT_2, header);
        refused(&self, SEGMENT_2, "does not continue");
    }

    /* Each of these once counted when the segments before were dropped, and not until then. */
    for (unsigned field = 0; field < 6; field++) {
        closed(&self, 60);
        header = header_of(&self, SEGMENT_2);
        uint64_t *fields[] = {&header.term,       &header.vote,      &header.first_sequence,
                              &header.last_index, &header.last_term, &header.last_time_ms};
        *fields[field] += 1;
        header_forge(&self, SEGMENT_2, header);
        refused(&self, SEGMENT_2, "does not tell of the log before it");
    }

    const struct {
        header_t change; /* added to what the header says */
        const char *reason;
    } cases[] = {
        /* It once made the opening look for a segment beyond the last one. */
        {{.first_sequence = 1}, "its own segment is not needed"},
        {{.first_sequence = UINT64_MAX}, "its own segment is not needed"},
        {{.base = IMPOSSIBLE}, "after it to be synced"},
        {{.durable = 1}, "after it to be synced"},
        {{.last_index = IMPOSSIBLE}, "an impossible log"},
        {{.last_term = IMPOSSIBLE}, "an impossible log"},
        {{.last_time_ms = IMPOSSIBLE}, "an impossible log"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        closed(&self, 5);
        header = header_of(&self, SEGMENT_1);
        header.first_sequence += cases[i].change.first_sequence;
        header.base += cases[i].change.base;
        header.durable += cases[i].change.durable;
        header.last_index += cases[i].change.last_index;
        header.last_term += cases[i].change.last_term;
        header.last_time_ms += cases[i].change.last_time_ms;
        header_forge(&self, SEGMENT_1, header);
        refused(&self, SEGMENT_1, cases[i].reason);
    }

    closed(&self, 5); /* a file shorter than any header */
    fs_faulty_resize(self.disk, SEGMENT_1, HEADER_BYTES - 1);
    refused(&self, SEGMENT_1, "too short");
}

/* Another header size is another version of the format. */
static void test_other_header_size(void **state) {
    (void) state;
    bench_t self;
    uint8_t bytes[HEADER_BYTES];
    closed(&self, 5);
    bytes_read(&self, SEGMENT_1, 0, bytes, sizeof bytes);
    bytes[12]++;
    uint64_t checksum = XXH3_64bits(bytes, HEADER_BYTES - 8);
    for (unsigned i = 0; i < 8; i++)
        bytes[HEADER_BYTES - 8 + i] = (uint8_t) (checksum >> (8 * i));
    bytes_write(&self, SEGMENT_1, 0, bytes, sizeof bytes);
    assert_int_equal(bench_open(&self), DRAX_EVERSION);
    bench_end(&self);
}

/* Without its header a first segment is one whose making was cut short, but only if it is the first
 * of all and nothing stands in it. */
static void test_no_header(void **state) {
    (void) state;
    bench_t self;
    uint8_t zeros[SEGMENT] = {0};
    bench_begin(&self, 3);
    assert_int_equal(bench_open(&self), 0);
    journal_close(&self.journal);
    bytes_write(&self, SEGMENT_1, 0, zeros, HEADER_BYTES);
    assert_int_equal(bench_open(&self), 0);
    assert_int_equal(journal_last_index(self.journal), 0);
    bench_end(&self);

    closed(&self, 5);
    bytes_write(&self, SEGMENT_1, 0, zeros, HEADER_BYTES);
    refused(&self, SEGMENT_1, "header is damaged");

    closed(&self, 5);
    bytes_write(&self, SEGMENT_1, 0, zeros, SEGMENT);
    const fs_t *fs = fs_faulty_fs(self.disk);
    assert_int_equal(fs->rename(fs->self, SEGMENT_1, SEGMENT_2), 0);
    assert_int_equal(fs->sync_dir(fs->self, "j"), 0);
    refused(&self, SEGMENT_2, "header is damaged");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_refused),
        cmocka_unit_test(test_records_cut),
        cmocka_unit_test(test_zeros_over_what_was_synced),
        cmocka_unit_test(test_full_to_the_last_byte),
        cmocka_unit_test(test_found_when_read),
        cmocka_unit_test(test_headers_refused),
        cmocka_unit_test(test_other_header_size),
        cmocka_unit_test(test_no_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
