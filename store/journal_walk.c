/* journal_walk.c: follows a journal's records from its oldest header to the end of their chain.
 *
 * Owns: what may stand in a log. Must not know: what lies behind the end (journal_recovery.c).
 *
 * A record counts when it continues the chain, and then it must fit the log as well: what continues
 * the chain but not the log is damage, never an end.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/codec.h"
#include "store/journal_recovery_internal.h"

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
        recovery_explain(self, "%s/%016" PRIx64 ".seg: written in another version of the format",
                         journal->directory, segment->sequence);
        return DRAX_EVERSION;
    }
    if (result == HEADER_BAD) {
        /* A journal begins with a header that is synced before anything else is written. */
        if (i == 0 && (self->count > 1 || segment->sequence != 1 ||
                       recovery_content_end(self, HEADER_BYTES) != HEADER_BYTES))
            return recovery_corrupt(self, segment->sequence, 0, "the header is damaged");
        return 1;
    }
    if (i > 0 && header.sequence < journal->first_sequence)
        return 1; /* the file of a segment that was dropped, not begun anew */
    if (header.capacity != self->size)
        return recovery_corrupt(self, segment->sequence, self->size,
                                "the file does not have the size that its header says");
    if (header.sequence != segment->sequence || header.capacity % RECORD_ALIGN != 0)
        return recovery_corrupt(self, segment->sequence, 0,
                                "the header belongs to another segment");
    const char *objection = header_objection(&header);
    if (objection)
        return recovery_corrupt(self, segment->sequence, 0, objection);
    if (i == 0) {
        header_begin(journal, &header);
    } else {
        const segment_t *before = journal_current(journal);
        if (header.prev != journal->chain || header.base != before->base + before->capacity)
            return recovery_corrupt(self, segment->sequence, 0,
                                    "the segment does not continue the one before");
        if (!header_agrees(journal, &header))
            return recovery_corrupt(self, segment->sequence, 0,
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
            return recovery_corrupt(self, segment->sequence, offset, objection);
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
    int rc = recovery_load(self, segment->sequence, &segment->file);
    if (rc == 0)
        rc = header_take(self, i, segment);
    if (rc != 0) {
        segment_destroy(journal, &segment);
        return rc;
    }
    journal->segments[journal->segment_count++] = segment;
    return records_walk(self, segment);
}

int recovery_walk(recovery_t *self, size_t *walked) {
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
        return recovery_corrupt(self, last->sequence + 1, 0, "the segment is missing");
    if (self->sealed) {
        /* The next segment never began: the chain ends before the seal. */
        last->end -= RECORD_BYTES;
        journal->chain = self->seal_prev;
        self->reason = "the next segment has no header";
        self->headless = true;
    }
    if (journal->first_sequence < self->sequences[0])
        return recovery_corrupt(self, journal->first_sequence, 0, "the segment is missing");
    return 0;
}
