/* journal_recovery.c: opens a journal: replays its records, and tells a torn tail from damage.
 *
 * Owns: the judgement. Must not know: how records are written, and what they tell the log
 * (journal_walk.c).
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
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/journal_recovery_internal.h"

static int journal_create(journal_t *self);
static int sequences_list(recovery_t *self);
static int tail_judge(recovery_t *self, size_t walked);
static int tail_confirm(recovery_t *self);

int journal_recover(journal_t *self, char *detail, size_t detail_size) {
    recovery_t recovery = {.journal = self, .detail = detail, .detail_size = detail_size};
    size_t walked = 0;
    int rc = segments_tidy(self);
    if (rc == 0)
        rc = sequences_list(&recovery);
    if (rc == 0 && recovery.count > 0) {
        rc = recovery_walk(&recovery, &walked);
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
            return recovery_corrupt(self, self->sequences[i - 1] + 1, 0, "the segment is missing");
    return segments_grow(journal, self->count);
}

/* ---- what both halves use ---- */

int recovery_load(recovery_t *self, uint64_t sequence, fs_file_t **file) {
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
        rc = recovery_corrupt(self, sequence, got, "the file is too short");
    return rc;
}

uint64_t recovery_content_end(const recovery_t *self, uint64_t from) {
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

void recovery_explain(recovery_t *self, const char *format, ...) {
    if (self->detail_size == 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    (void) vsnprintf(self->detail, self->detail_size, format, arguments);
    va_end(arguments);
}

int recovery_corrupt(recovery_t *self, uint64_t sequence, uint64_t offset, const char *reason) {
    recovery_explain(self, "%s/%016" PRIx64 ".seg: offset %" PRIu64 ": %s",
                     self->journal->directory, sequence, offset, reason);
    return DRAX_ECORRUPT;
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
    int rc = recovery_load(self, sequence, &file);
    if (file)
        self->journal->fs.close(&file);
    if (rc != 0)
        return rc;
    *written = *written || recovery_content_end(self, 0) > 0;
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
        recovery_explain(self,
                         "%s/%016" PRIx64 ".seg: cut a torn tail of %" PRIu64
                         " bytes at offset %" PRIu64 " and %zu segments after it: %s",
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
        int rc = recovery_load(self, last->sequence, &file);
        if (file)
            journal->fs.close(&file);
        if (rc != 0)
            return rc;
    }
    uint64_t zero_to = recovery_content_end(self, last->end);
    if (zero_to > last->end)
        evidence_search(self, last->end);
    if (self->evidence > last->base + last->end && self->headless)
        return recovery_corrupt(self, last->sequence + 1, 0, "the header is damaged");
    if (self->evidence > last->base + last->end)
        return recovery_corrupt(self, last->sequence, last->end,
                                self->reason ? self->reason
                                             : "a record that was synced reads as zeros");
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
        int rc = recovery_load(self, segment->sequence, &file);
        if (file)
            journal->fs.close(&file);
        if (rc != 0)
            return rc;
        struct iovec part = {.iov_base = self->data + from, .iov_len = segment->end - from};
        rc = journal->fs.append(segment->file, &part, 1, from);
        if (rc != 0)
            return rc;
        segment->dirty = true;
    }
    int rc = journal_sync(journal);
    return rc == 0 ? journal_drop(journal) : rc;
}
