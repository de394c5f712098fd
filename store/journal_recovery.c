/* journal_recovery.c: opens a journal: replays its records, and tells a torn tail from damage.
 *
 * Owns: the judgement. Must not know: how records are written.
 *
 * The chain is walked from the oldest segment until a place where no record continues it: the end.
 * Behind it there may be zeros, the remains of a write that the machine did not finish, or records
 * that were durable once. Disks write sectors in any order, so a whole record behind a hole proves
 * nothing by itself: both may come from one unfinished batch. But every record and header says up
 * to where all had been synced when it was made (`durable`). So all that lies behind the end is
 * searched for records that are whole:
 *
 *   one says that the end's position had been synced  ->  damage: DRAX_ECORRUPT, nothing is touched
 *   none does                                         ->  a torn tail: it is cut
 *
 * What this cannot see: damage to the last batch that was synced, while nothing was written after
 * it. Nothing on disk then tells it from a batch whose sync never returned, and it is cut as such.
 * The first record of the next append closes that gap.
 *
 * Always damage: a gap in the segments' sequence, an oldest segment younger than the one that the
 * last COMPACT or RESET needs, a SEAL whose next segment is not there, a file that is not as long
 * as its header says, a record that continues the chain but not the log.
 *
 * A file that was a segment before (journal_segment.c) holds whole records of then. They continue
 * no chain, as each segment's begins with its own header, and vouch for nothing that is still
 * needed, as what they call synced lies before the log. So they need no special treatment, but that
 * what stands behind the end of such a segment is no sign of a torn write, and an old header none
 * of damage.
 *
 * Cutting: the rest of the segment is zeroed and synced, then later segments are removed, so that
 * nothing behind the end can ever continue the chain that is written from there. What is found
 * whole but is not vouched for by a later record is written once more and synced before it counts
 * as durable: it may have been read from memory that a failed sync never brought to the disk.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/codec.h"
#include "store/journal_internal.h"

typedef struct recovery {
    journal_t *journal;
    char *detail;
    size_t detail_size;
    uint64_t *sequences; /* of the files, ascending */
    size_t count, capacity;
    uint8_t *data; /* the file being looked at, whole */
    uint64_t size, data_capacity;
    uint64_t vouched;   /* the greatest `durable` of what the chain holds */
    uint64_t evidence;  /* the greatest `durable` behind its end */
    const char *reason; /* why the chain ended; NULL: in zeros */
    bool sealed;        /* the last record taken is a SEAL */
    bool headless;      /* the chain ended before a SEAL whose next segment has no header */
    uint64_t seal_prev;
} recovery_t;

static int journal_create(journal_t *self);
static int sequences_list(recovery_t *self);
static int chain_walk(recovery_t *self, size_t *walked);
static int tail_judge(recovery_t *self, size_t walked);
static int tail_confirm(recovery_t *self);
static int corrupt(recovery_t *self, uint64_t sequence, uint64_t offset, const char *reason);
static void explain(recovery_t *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

int journal_recover(journal_t *self, char *detail, size_t detail_size) {
    recovery_t recovery = {.journal = self, .detail = detail, .detail_size = detail_size};
    size_t walked = 0;
    int rc = segments_tidy(self);
    if (rc == 0)
        rc = sequences_list(&recovery);
    if (rc == 0 && recovery.count > 0) {
        rc = chain_walk(&recovery, &walked);
        if (rc == 0 && walked > 0)
            rc = tail_judge(&recovery, walked);
        if (rc == 0 && walked > 0)
            rc = tail_confirm(&recovery);
    }
    if (rc == 0 && walked == 0)
        rc = journal_create(self);
    free(recovery.sequences);
    free(recovery.data);
    return rc;
}

/* The first segment of a new journal. */
static int journal_create(journal_t *self) {
    self->first_sequence = 1;
    int rc = segments_grow(self, 1);
    segment_t *segment = NULL;
    if (rc == 0)
        rc = segment_make(self, 1, 0, self->segment_bytes, &segment);
    if (rc != 0)
        return rc;
    self->segments[self->segment_count++] = segment;
    rc = batch_header_write(self);
    return rc == 0 ? journal_sync(self) : rc;
}

/* ---- which files there are ---- */

static int sequence_visit(void *hint, const char *name) {
    recovery_t *self = hint;
    uint64_t sequence;
    char canonical[32];
    if (sscanf(name, "%16" SCNx64, &sequence) != 1)
        return 0;
    (void) snprintf(canonical, sizeof canonical, "%016" PRIx64 ".seg", sequence);
    if (strcmp(name, canonical) != 0)
        return 0;
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 64;
        uint64_t *sequences = realloc(self->sequences, capacity * sizeof *sequences);
        if (!sequences)
            return DRAX_ENOMEM;
        self->sequences = sequences;
        self->capacity = capacity;
    }
    self->sequences[self->count++] = sequence;
    return 0;
}

static int sequence_compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *) left;
    uint64_t b = *(const uint64_t *) right;
    return (a > b) - (a < b);
}

static int sequences_list(recovery_t *self) {
    journal_t *journal = self->journal;
    int rc = journal->fs.list(journal->fs.self, journal->directory, sequence_visit, self);
    if (rc != 0 || self->count == 0)
        return rc;
    qsort(self->sequences, self->count, sizeof *self->sequences, sequence_compare);
    for (size_t i = 1; i < self->count; i++)
        if (self->sequences[i] != self->sequences[i - 1] + 1)
            return corrupt(self, self->sequences[i - 1] + 1, 0, "the segment is missing");
    return segments_grow(journal, self->count);
}

/* ---- the walk ---- */

/* Opens the file of the segment and reads all of it into `data`. */
static int file_load(recovery_t *self, uint64_t sequence, fs_file_t **file) {
    journal_t *journal = self->journal;
    char path[LIMIT_PATH_BYTES];
    segment_path(journal, sequence, path);
    int rc = journal->fs.open(journal->fs.self, path, false, file);
    if (rc == 0)
        rc = journal->fs.size(*file, &self->size);
    if (rc == 0 && self->size > self->data_capacity) {
        free(self->data);
        self->data = malloc((size_t) self->size);
        self->data_capacity = self->data ? self->size : 0;
        rc = self->data ? 0 : DRAX_ENOMEM;
    }
    size_t got = 0;
    if (rc == 0)
        rc = journal->fs.pread(*file, self->data, (size_t) self->size, 0, &got);
    if (rc == 0 && (got != self->size || self->size < HEADER_BYTES))
        rc = corrupt(self, sequence, got, "the file is too short");
    return rc;
}

/* The offset after the last byte of `data` from `from` on that is not zero; `from` when all are. */
static uint64_t content_end(const recovery_t *self, uint64_t from) {
    uint64_t end = self->size;
    uint64_t word;
    while (end >= from + sizeof word) {
        memcpy(&word, self->data + end - sizeof word, sizeof word);
        if (word != 0)
            break;
        end -= sizeof word;
    }
    while (end > from && self->data[end - 1] == 0)
        end--;
    return end;
}

/* What the oldest header says the log was like before it. */
static void header_begin(journal_t *journal, const header_t *header) {
    journal->salt = header->salt;
    journal->first_sequence = header->first_sequence;
    journal->term = header->term;
    journal->vote = header->vote;
    journal->time_ms = header->last_time_ms;
    journal->last_index = header->last_index;
    journal->runs[0] = (term_run_t){header->last_index, header->last_term};
}

/* Why a header that is whole cannot be right; NULL when it can. Its sequence is checked already. */
static const char *header_objection(const header_t *header) {
    if (header->first_sequence == 0 || header->first_sequence > header->sequence)
        return "the header says that its own segment is not needed";
    if (header->base > JOURNAL_NUMBER_MAX || header->durable > header->base)
        return "the header claims what came after it to be synced";
    if (header->last_index > JOURNAL_NUMBER_MAX || header->last_term > JOURNAL_NUMBER_MAX ||
        header->last_time_ms > JOURNAL_NUMBER_MAX)
        return "the header tells of an impossible log";
    return NULL;
}

/* Does the header tell of the log as the segments before it left it? Once they are dropped, it is
 * what the log begins from. */
static bool header_agrees(const journal_t *journal, const header_t *header) {
    return header->term == journal->term && header->vote == journal->vote &&
           header->first_sequence == journal->first_sequence &&
           header->last_index == journal->last_index &&
           header->last_term == journal_term_at(journal, journal->last_index) &&
           header->last_time_ms == journal->time_ms;
}

/* Takes the header in `data` as the beginning of segment number `i`. 1: there is none, the walk
 * ends. */
static int header_take(recovery_t *self, size_t i, segment_t *segment) {
    journal_t *journal = self->journal;
    header_t header;
    header_result_t result = header_decode(&header, self->data);
    if (result == HEADER_OTHER_VERSION) {
        explain(self, "%s/%016" PRIx64 ".seg: written in another version of the format",
                journal->directory, segment->sequence);
        return DRAX_EVERSION;
    }
    if (result == HEADER_BAD) {
        /* A journal begins with a header that is synced before anything else is written. */
        if (i == 0 && (self->count > 1 || segment->sequence != 1 ||
                       content_end(self, HEADER_BYTES) != HEADER_BYTES))
            return corrupt(self, segment->sequence, 0, "the header is damaged");
        return 1;
    }
    if (i > 0 && header.sequence < journal->first_sequence)
        return 1; /* the file of a segment that was dropped, not begun anew */
    if (header.capacity != self->size)
        return corrupt(self, segment->sequence, self->size,
                       "the file does not have the size that its header says");
    if (header.sequence != segment->sequence || header.capacity % RECORD_ALIGN != 0)
        return corrupt(self, segment->sequence, 0, "the header belongs to another segment");
    const char *objection = header_objection(&header);
    if (objection)
        return corrupt(self, segment->sequence, 0, objection);
    if (i == 0) {
        header_begin(journal, &header);
    } else {
        const segment_t *before = journal_current(journal);
        if (header.prev != journal->chain || header.base != before->base + before->capacity)
            return corrupt(self, segment->sequence, 0,
                           "the segment does not continue the one before");
        if (!header_agrees(journal, &header))
            return corrupt(self, segment->sequence, 0,
                           "the header does not tell of the log before it");
    }
    segment->base = header.base;
    segment->capacity = header.capacity;
    segment->end = HEADER_BYTES;
    segment->used = header.used != 0;
    journal->chain = header.checksum;
    if (header.durable > self->vouched)
        self->vouched = header.durable;
    return 0;
}

/* Why an entry cannot be the log's next one; NULL when it can. */
static const char *entry_objection(const journal_t *journal, const record_t *record,
                                   const uint8_t *body) {
    config_t config;
    if (record->index != journal->last_index + 1)
        return "the entry does not follow the one before";
    if (record->term < journal_term_at(journal, journal->last_index))
        return "the entry is of an earlier term than the one before";
    if (record->entry_kind > ENTRY_CONFIG)
        return "an entry of unknown kind";
    if (record->entry_kind == ENTRY_CONFIG &&
        codec_config_decode(&config, (slice_t){body, record->length}) != 0)
        return "a membership that cannot be read";
    return NULL;
}

/* Why a record that continues the chain cannot be right; NULL when it can. */
static const char *record_objection(const journal_t *journal, const segment_t *segment,
                                    uint64_t offset, const record_t *record, const uint8_t *body) {
    if (record->durable > segment->base + offset)
        return "the record claims what came after it to be synced";
    if (record->index > JOURNAL_NUMBER_MAX || record->term > JOURNAL_NUMBER_MAX ||
        record->time_ms > JOURNAL_NUMBER_MAX)
        return "the record holds an impossible number";
    if (record->kind != RECORD_ENTRY && record->length > 0)
        return "the record has a body, which only entries have";
    switch (record->kind) {
    case RECORD_ENTRY:
        return entry_objection(journal, record, body);
    case RECORD_TRUNCATE:
        if (record->index > journal->last_index)
            return "a truncation beyond the end";
        /* The log can begin later than what a record takes back. */
        return record->index >= journal->runs[0].index &&
                       record->term != journal_term_at(journal, record->index)
                   ? "a truncation to an entry of another term"
                   : NULL;
    case RECORD_COMPACT:
        return record->index > segment->sequence ? "a compaction beyond the end" : NULL;
    case RECORD_SEAL:
        return record->index != segment->sequence + 1 ? "a seal for another segment" : NULL;
    default:
        return NULL;
    }
}

/* Why there is no record at `bytes` that continues the chain. */
static const char *end_reason(const journal_t *journal, const uint8_t *bytes, uint64_t left) {
    static const uint8_t zeros[RECORD_BYTES];
    record_t record;
    if (left < RECORD_BYTES || memcmp(bytes, zeros, RECORD_BYTES) == 0)
        return NULL;
    if (!record_head_decode(&record, bytes, left, journal->salt))
        return "not a record";
    if (!record_valid(&record, bytes, journal->salt))
        return "the checksum is wrong";
    return "the record does not continue the one before";
}

/* Takes the records of `segment`, whose file is in `data`. Leaves `sealed` or `reason`. */
static int records_walk(recovery_t *self, segment_t *segment) {
    journal_t *journal = self->journal;
    self->sealed = false;
    while (!self->sealed) {
        uint64_t offset = segment->end;
        const uint8_t *bytes = self->data + offset;
        uint64_t left = self->size - offset;
        record_t record;
        if (!record_head_decode(&record, bytes, left, journal->salt) ||
            record.prev != journal->chain || !record_valid(&record, bytes, journal->salt)) {
            self->reason = end_reason(journal, bytes, left);
            return 0;
        }
        const char *objection =
            record_objection(journal, segment, offset, &record, bytes + RECORD_BYTES);
        if (objection)
            return corrupt(self, segment->sequence, offset, objection);
        int rc = journal_log_reserve(journal, segment, 1);
        if (rc != 0)
            return rc;
        log_apply(journal, segment, offset, &record);
        segment->end = offset + record_size(record.length);
        journal->chain = record.checksum;
        if (record.durable > self->vouched)
            self->vouched = record.durable;
        self->sealed = record.kind == RECORD_SEAL;
        self->seal_prev = record.prev;
    }
    return 0;
}

/* Takes segment number `i` whole. 1: it has no header that counts. */
static int segment_walk(recovery_t *self, size_t i) {
    journal_t *journal = self->journal;
    segment_t *segment = calloc(1, sizeof *segment);
    if (!segment)
        return DRAX_ENOMEM;
    segment->sequence = self->sequences[i];
    segment->first = 1;
    int rc = file_load(self, segment->sequence, &segment->file);
    if (rc == 0)
        rc = header_take(self, i, segment);
    if (rc != 0) {
        segment_destroy(journal, &segment);
        return rc;
    }
    journal->segments[journal->segment_count++] = segment;
    return records_walk(self, segment);
}

static int chain_walk(recovery_t *self, size_t *walked) {
    journal_t *journal = self->journal;
    self->sealed = true;
    int rc = 0;
    for (*walked = 0; rc == 0 && self->sealed && *walked < self->count; *walked += rc == 0)
        rc = segment_walk(self, *walked);
    if (rc < 0)
        return rc;
    if (*walked == 0)
        return 0;
    segment_t *last = journal_current(journal);
    if (self->sealed && rc == 0)
        return corrupt(self, last->sequence + 1, 0, "the segment is missing");
    if (self->sealed) {
        /* The next segment never began: the chain ends before the seal. */
        last->end -= RECORD_BYTES;
        journal->chain = self->seal_prev;
        self->reason = "the next segment has no header";
        self->headless = true;
    }
    if (journal->first_sequence < self->sequences[0])
        return corrupt(self, journal->first_sequence, 0, "the segment is missing");
    return 0;
}

/* ---- the tail ---- */

/* Searches `data` from `from` on for whole records, and notes what they say was synced. */
static void evidence_search(recovery_t *self, uint64_t from) {
    uint64_t salt = self->journal->salt;
    for (uint64_t offset = from; offset + RECORD_BYTES <= self->size; offset += RECORD_ALIGN) {
        record_t record;
        const uint8_t *bytes = self->data + offset;
        if (!record_head_decode(&record, bytes, self->size - offset, salt) ||
            !record_valid(&record, bytes, salt))
            continue;
        if (record.durable > self->evidence)
            self->evidence = record.durable;
        offset += record_size(record.length) - RECORD_ALIGN;
    }
}

/* Looks at a segment behind the end. `written`: it is not all zeros. */
static int segment_search(recovery_t *self, uint64_t sequence, bool *written) {
    fs_file_t *file = NULL;
    header_t header;
    int rc = file_load(self, sequence, &file);
    if (file)
        self->journal->fs.close(&file);
    if (rc != 0)
        return rc;
    *written = *written || content_end(self, 0) > 0;
    if (header_decode(&header, self->data) == HEADER_GOOD && header.durable > self->evidence)
        self->evidence = header.durable;
    evidence_search(self, HEADER_BYTES);
    return 0;
}

static int tail_cut(recovery_t *self, size_t walked, uint64_t zero_to, bool written) {
    journal_t *journal = self->journal;
    segment_t *last = journal_current(journal);
    int rc = 0;
    if (zero_to > last->end) {
        rc = segment_zero(journal, last->file, last->end, zero_to);
        if (rc == 0)
            rc = journal->fs.sync(last->file);
    }
    for (size_t i = self->count; rc == 0 && i > walked; i--)
        rc = segment_remove(journal, self->sequences[i - 1]);
    if (rc == 0 && (zero_to > last->end || written) && !last->used)
        explain(self,
                "%s/%016" PRIx64 ".seg: cut a torn tail of %" PRIu64 " bytes at offset %" PRIu64
                " and %zu segments after it: %s",
                journal->directory, last->sequence, zero_to - last->end, last->end,
                self->count - walked, self->reason ? self->reason : "zeros before it");
    return rc;
}

static int tail_judge(recovery_t *self, size_t walked) {
    journal_t *journal = self->journal;
    segment_t *last = journal_current(journal);
    bool written = false;
    for (size_t i = walked; i < self->count; i++) {
        int rc = segment_search(self, self->sequences[i], &written);
        if (rc != 0)
            return rc;
    }
    if (self->count > walked) {
        /* `data` holds another file by now. */
        fs_file_t *file = NULL;
        int rc = file_load(self, last->sequence, &file);
        if (file)
            journal->fs.close(&file);
        if (rc != 0)
            return rc;
    }
    uint64_t zero_to = content_end(self, last->end);
    if (zero_to > last->end)
        evidence_search(self, last->end);
    if (self->evidence > last->base + last->end && self->headless)
        return corrupt(self, last->sequence + 1, 0, "the header is damaged");
    if (self->evidence > last->base + last->end)
        return corrupt(self, last->sequence, last->end,
                       self->reason ? self->reason : "a record that was synced reads as zeros");
    return tail_cut(self, walked, zero_to, written);
}

/* Makes what was found durable, whatever the file system did with it before. */
static int tail_confirm(recovery_t *self) {
    journal_t *journal = self->journal;
    for (size_t i = 0; i < journal->segment_count; i++) {
        segment_t *segment = journal->segments[i];
        if (segment->base + segment->end <= self->vouched)
            continue;
        uint64_t from = self->vouched > segment->base ? self->vouched - segment->base : 0;
        fs_file_t *file = NULL;
        int rc = file_load(self, segment->sequence, &file);
        if (file)
            journal->fs.close(&file);
        if (rc != 0)
            return rc;
        struct iovec part = {.iov_base = self->data + from, .iov_len = segment->end - from};
        rc = journal->fs.pwritev(segment->file, &part, 1, from);
        if (rc != 0)
            return rc;
        segment->dirty = true;
    }
    int rc = journal_sync(journal);
    return rc == 0 ? journal_drop(journal) : rc;
}

/* ---- sentences ---- */

static void explain(recovery_t *self, const char *format, ...) {
    if (self->detail_size == 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(self->detail, self->detail_size, format, arguments);
    va_end(arguments);
}

static int corrupt(recovery_t *self, uint64_t sequence, uint64_t offset, const char *reason) {
    explain(self, "%s/%016" PRIx64 ".seg: offset %" PRIu64 ": %s", self->journal->directory,
            sequence, offset, reason);
    return DRAX_ECORRUPT;
}
