/* fuzz_journal.c: any bytes as the files of a journal.
 *
 *   input   = how:u8 segment{1,3}
 *   raw     = size:u16 byte{size}                 the file as it is (how & 1)
 *   chained = header fields, then per record: kind, length, fields    with checksums made right, so
 *             that what is tested lies behind them; then `hits` bytes changed afterwards
 *
 * Properties: journal_open never crashes and never hangs; a journal that opens has entries that are
 * contiguous and can be read to their end, takes another one, and opens again to the same log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/error.h"
#include "store/journal_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_fs.h"

#define SEGMENT_BYTES 4096u
#define SEGMENTS_MAX 3u
#define RECORDS_MAX 24u
#define SALT 5u

/* ---- making the files ---- */

typedef struct chain {
    uint64_t base, prev;
    uint64_t index, term, time_ms; /* of the log so far */
} chain_t;

static void header_make(fuzz_input_t *in, chain_t *chain, uint64_t sequence, uint8_t *out) {
    header_t header = {.sequence = sequence,
                       .base = chain->base + (fuzz_number(in, 0) & ~7ull),
                       .capacity = SEGMENT_BYTES,
                       .salt = SALT,
                       .durable = fuzz_number(in, chain->base),
                       .prev = chain->prev,
                       .last_index = fuzz_number(in, chain->index),
                       .last_term = fuzz_number(in, chain->term),
                       .last_time_ms = chain->time_ms,
                       .first_sequence = fuzz_number(in, 1),
                       .term = fuzz_number(in, chain->term),
                       .vote = fuzz_byte(in)};
    header_encode(out, &header);
    chain->prev = header.checksum;
    if (chain->index == 0) {
        chain->index = header.last_index;
        chain->term = header.last_term;
    }
}

/* One record at `offset`; its size. */
static uint64_t record_make(fuzz_input_t *in, chain_t *chain, uint8_t *out, uint64_t offset) {
    uint8_t how = fuzz_byte(in);
    slice_t body = fuzz_bytes(in, (how >> 6) * 8u + (how & 32 ? 3u : 0u));
    record_t record = {.kind = (record_kind_t) (1 + how % (RECORD_KIND_END - 1)),
                       .length = (uint32_t) body.size,
                       .prev = chain->prev,
                       .durable = fuzz_number(in, chain->base + offset)};
    if (offset + record_size(record.length) > SEGMENT_BYTES)
        return 0;
    if (record.kind == RECORD_ENTRY)
        record.entry_kind = fuzz_byte(in) % 4;
    record.index = fuzz_number(in, chain->index + 1);
    record.term = fuzz_number(in, chain->term);
    record.time_ms = record.kind <= RECORD_TRUNCATE ? fuzz_number(in, chain->time_ms) : 0;
    if (record.kind != RECORD_HARD_STATE && record.kind < RECORD_COMPACT) {
        chain->index = record.index;
        chain->term = record.term;
        chain->time_ms = record.time_ms;
    }
    record_encode(out + offset, &record, body.data, SALT);
    if (body.size)
        memcpy(out + offset + RECORD_BYTES, body.data, body.size);
    chain->prev = record.checksum;
    return record_size(record.length);
}

static void chained_make(fuzz_input_t *in, chain_t *chain, uint64_t sequence, uint8_t *out) {
    header_make(in, chain, sequence, out);
    uint64_t offset = HEADER_BYTES, size = 1;
    unsigned count = fuzz_byte(in) % (RECORDS_MAX + 1);
    for (unsigned i = 0; i < count && size; i++) {
        size = record_make(in, chain, out, offset);
        offset += size;
    }
    chain->base += SEGMENT_BYTES;
    for (unsigned hits = fuzz_byte(in) % 4; hits; hits--)
        out[fuzz_u64(in) % SEGMENT_BYTES] ^= fuzz_byte(in);
}

static void files_make(fuzz_input_t *in) {
    uint8_t how = fuzz_byte(in);
    chain_t chain = {.time_ms = 100};
    unsigned count = 1 + (how >> 1) % SEGMENTS_MAX;
    for (unsigned i = 0; i < count; i++) {
        char path[64];
        uint8_t data[SEGMENT_BYTES] = {0};
        slice_t file = {data, sizeof data};
        (void) snprintf(path, sizeof path, "j/%016x.seg", 1 + i + (how >> 7));
        if (how & 1)
            file = fuzz_bytes(in, fuzz_byte(in) * 256u + fuzz_byte(in));
        else
            chained_make(in, &chain, 1 + i + (how >> 7), data);
        fuzz_fs_put(path, file);
    }
}

/* ---- what opens ---- */

/* Reads the log to its end; a sum of all that it says. */
static uint64_t log_read(journal_t *journal) {
    uint64_t sum = 0, term = 0, at = journal_first_index(journal);
    while (at <= journal_last_index(journal)) {
        entries_t entries = {0};
        int rc = journal_read(journal, at, 1u << 16, &entries);
        assert(rc == 0 && entries.count > 0);
        for (size_t i = 0; i < entries.count; i++) {
            const entry_t *entry = &entries.items[i];
            assert(entry->index == at && entry->term >= term);
            assert(entry->term == journal_term_at(journal, at));
            assert((entry->kind == ENTRY_CONFIG) == (entry->config != NULL));
            slice_t body = payload_slice(entry->payload);
            sum = XXH3_64bits_withSeed(body.data, body.size, sum + entry->term + entry->time_ms);
            term = entry->term;
            at++;
        }
        entries_clear(&entries);
    }
    return sum;
}

static int open_one(journal_t **out, const fs_t *fs, bool again) {
    char detail[256] = "";
    journal_options_t options = {.segment_bytes = SEGMENT_BYTES, .salt = SALT};
    int rc = journal_open(out, fs, "j", &options, detail, sizeof detail);
    assert(rc == 0 || detail[0]); /* a refusal says why */
    if (again && rc != 0) {
        (void) fprintf(stderr, "what was opened once does not open again: %s\n", detail);
        abort();
    }
    return rc;
}

static void journal_check(const fs_t *fs) {
    journal_t *journal;
    if (open_one(&journal, fs, false) != 0)
        return;
    uint64_t sum = log_read(journal), last = journal_last_index(journal);
    uint64_t term = journal_term_at(journal, last), first = journal_first_index(journal);
    entry_t entry = {.index = last + 1,
                     .term = term ? term : 1,
                     .time_ms = journal_time_ms(journal),
                     .kind = ENTRY_NOOP};
    int rc = journal_append(journal, false, 0, 0, &entry, 1);
    if (rc == 0)
        rc = journal_sync(journal);
    uint64_t longer = rc == 0 ? log_read(journal) : 0;
    uint64_t hard_term = journal_term(journal), vote = journal_vote(journal);
    journal_close(&journal);
    if (rc == 0 || rc == DRAX_ENOSPC) {
        (void) open_one(&journal, fs, true);
        assert(journal_first_index(journal) == first);
        assert(journal_last_index(journal) == last + (rc == 0));
        assert(log_read(journal) == (rc == 0 ? longer : sum));
        assert(journal_term(journal) == hard_term && journal_vote(journal) == vote);
        journal_close(&journal);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input_t in = {{data, size}};
    const fs_t *fs = fuzz_fs_reset();
    files_make(&in);
    journal_check(fs);
    return 0;
}
