/* journal_batch.c: puts records on disk, all or nothing.
 *
 * Owns: where records go, the chain, sealing and beginning segments. Must not know: why a record is
 * written.
 *
 * A batch goes through these steps; a failure in one undoes those before it:
 *   place    every record gets a segment and an offset; segments that do not exist yet are counted
 *   make     those segments are made: this is where a full disk is found
 *   reserve  memory for what the log will learn
 *   write    one pwritev a segment; the old segment ends with SEAL, the new one begins with its
 * header apply    the log learns of the records; from here on they count
 *
 * File systems that copy on write can still be found full in the write step: then what was written
 * is wiped, at once or before the next batch, so that it can never continue the chain.
 */
#include <stdlib.h>
#include <string.h>

#include "store/journal_internal.h"

typedef struct writer {
    uint8_t *staging;
    size_t used;
    struct iovec *parts;
    int part_count;
    uint64_t chain;
    uint64_t size; /* bytes in parts */
} writer_t;

typedef struct batch {
    journal_t *journal;
    pending_t *items;
    size_t count;
    segment_t **segments; /* [0] is the journal's last, the others are new */
    uint64_t *capacities;
    size_t segment_count;
    writer_t writer;
    header_t tip; /* what a header would say after the records encoded so far */
} batch_t;

static void batch_place(batch_t *self, bool slack);
static int batch_make(batch_t *self);
static int batch_reserve(batch_t *self);
static int batch_encode_and_write(batch_t *self);
static void batch_apply(batch_t *self);
static void batch_unmake(batch_t *self);
static int journal_clean(journal_t *self);
static void tip_fill(const journal_t *self, header_t *out);

int batch_write(journal_t *self, pending_t *items, size_t count, bool slack) {
    int rc = self->unclean ? journal_clean(self) : 0;
    if (rc != 0)
        return rc;
    batch_t batch = {.journal = self, .items = items, .count = count};
    /* Each record could need a segment of its own. */
    batch.segments = calloc(count + 1, sizeof(segment_t *));
    batch.capacities = calloc(count + 1, sizeof *batch.capacities);
    if (!batch.segments || !batch.capacities)
        rc = DRAX_ENOMEM;
    if (rc == 0) {
        batch_place(&batch, slack);
        rc = batch_make(&batch);
    }
    if (rc == 0)
        rc = batch_reserve(&batch);
    if (rc == 0)
        rc = batch_encode_and_write(&batch);
    if (rc == 0)
        batch_apply(&batch);
    else if (batch.segment_count > 1)
        batch_unmake(&batch);
    if (self->unclean && !self->dead)
        /* Best effort: the next batch tries again and reports. */
        (void) journal_clean(self);
    free(batch.writer.staging);
    free(batch.writer.parts);
    free(batch.segments);
    free(batch.capacities);
    return self->dead ? DRAX_EIO : rc;
}

/* ---- place ---- */

static void batch_place(batch_t *self, bool slack) {
    segment_t *current = journal_current(self->journal);
    uint64_t keep = slack ? RECORD_BYTES : JOURNAL_SLACK_BYTES;
    uint64_t offset = current->end;
    self->segments[0] = current;
    self->capacities[0] = current->capacity;
    self->segment_count = 1;
    for (size_t i = 0; i < self->count; i++) {
        pending_t *item = &self->items[i];
        uint64_t size = record_size(item->record.length);
        if (offset + size + keep > self->capacities[self->segment_count - 1]) {
            uint64_t capacity = HEADER_BYTES + size + JOURNAL_SLACK_BYTES;
            if (capacity < self->journal->segment_bytes)
                capacity = self->journal->segment_bytes;
            self->capacities[self->segment_count++] = capacity;
            offset = HEADER_BYTES;
        }
        item->segment = self->segment_count - 1;
        item->offset = offset;
        offset += size;
    }
}

/* ---- make ---- */

static int batch_make(batch_t *self) {
    journal_t *journal = self->journal;
    int rc = segments_grow(journal, self->segment_count - 1);
    for (size_t i = 1; rc == 0 && i < self->segment_count; i++) {
        const segment_t *before = self->segments[i - 1];
        rc = segment_make(journal, before->sequence + 1, before->base + before->capacity,
                          self->capacities[i], &self->segments[i]);
        /* Whatever else goes wrong here leaves it open what the directory holds. */
        if (rc != 0 && rc != DRAX_ENOSPC && rc != DRAX_ENOMEM)
            journal->dead = true;
    }
    return rc;
}

/* The new segments do not count: their files go, the last one first. */
static void batch_unmake(batch_t *self) {
    journal_t *journal = self->journal;
    journal->unclean = true;
    journal->unclean_last = self->segments[0]->sequence + self->segment_count - 1;
    for (size_t i = 1; i < self->segment_count; i++)
        segment_destroy(journal, &self->segments[i]);
}

static int journal_clean(journal_t *self) {
    segment_t *current = journal_current(self);
    int rc = 0;
    /* Durably, so that it cannot come back; and before the segment that a SEAL in it may name is
     * removed, because a SEAL without its segment is damage. */
    if (self->unclean_end > current->end) {
        current->dirty = true;
        rc = segment_zero(self, current->file, current->end, self->unclean_end);
        if (rc == 0)
            rc = journal_sync(self);
    }
    while (rc == 0 && self->unclean_last > current->sequence) {
        rc = segment_remove(self, self->unclean_last);
        if (rc == 0)
            self->unclean_last--;
    }
    if (rc == 0) {
        self->unclean = false;
        self->unclean_end = 0;
    } else if (rc != DRAX_ENOSPC && rc != DRAX_ENOMEM) {
        self->dead = true;
    }
    return self->dead ? DRAX_EIO : rc;
}

/* ---- reserve ---- */

static int batch_reserve(batch_t *self) {
    size_t staging = 0;
    size_t per_segment = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < self->count; i++) {
        const pending_t *item = &self->items[i];
        staging += RECORD_BYTES + RECORD_ALIGN;
        staging += item->record.length <= JOURNAL_COPY_BYTES ? item->record.length : 0;
        per_segment++;
        if (i + 1 == self->count || self->items[i + 1].segment != item->segment) {
            rc = journal_log_reserve(self->journal, self->segments[item->segment], per_segment);
            per_segment = 0;
        }
    }
    /* The list of runs is the journal's: it needs room for all of them at once. */
    if (rc == 0)
        rc = journal_log_reserve(self->journal, NULL, self->count);
    if (rc != 0)
        return rc;
    staging += self->segment_count * (HEADER_BYTES + RECORD_BYTES);
    self->writer.staging = malloc(staging);
    self->writer.parts = calloc(2 * self->count + 2, sizeof *self->writer.parts);
    return self->writer.staging && self->writer.parts ? 0 : DRAX_ENOMEM;
}

/* ---- write ---- */

static void writer_part(writer_t *self, const uint8_t *data, size_t size) {
    struct iovec *last = self->part_count > 0 ? &self->parts[self->part_count - 1] : NULL;
    self->size += size;
    if (last && (const uint8_t *) last->iov_base + last->iov_len == data) {
        last->iov_len += size;
        return;
    }
    /* struct iovec has no const; writing does not change what it points to. */
    self->parts[self->part_count++] =
        (struct iovec){.iov_base = (void *) (uintptr_t) data, .iov_len = size};
}

/* `size` more bytes of staging, in the order of the file. */
static uint8_t *writer_stage(writer_t *self, size_t size) {
    uint8_t *out = self->staging + self->used;
    self->used += size;
    writer_part(self, out, size);
    return out;
}

static void writer_record(writer_t *self, const journal_t *journal, record_t *record,
                          const uint8_t *body) {
    uint8_t head[RECORD_BYTES];
    record->prev = self->chain;
    record->durable = journal->durable;
    record_encode(head, record, body, journal->salt);
    self->chain = record->checksum;
    memcpy(writer_stage(self, RECORD_BYTES), head, RECORD_BYTES);
    size_t length = record->length;
    size_t padding = (size_t) record_size(length) - RECORD_BYTES - length;
    if (length > JOURNAL_COPY_BYTES)
        writer_part(self, body, length);
    else if (length > 0)
        memcpy(writer_stage(self, length), body, length);
    if (padding > 0)
        memset(writer_stage(self, padding), 0, padding);
}

static void writer_header(writer_t *self, const journal_t *journal, const segment_t *segment,
                          header_t *tip) {
    tip->sequence = segment->sequence;
    tip->base = segment->base;
    tip->capacity = segment->capacity;
    tip->salt = journal->salt;
    tip->used = segment->used;
    tip->durable = journal->durable;
    tip->prev = self->chain;
    header_encode(writer_stage(self, HEADER_BYTES), tip);
    self->chain = tip->checksum;
}

/* Writes out what has gathered, to `segment` from `offset` on. */
static int writer_flush(writer_t *self, journal_t *journal, segment_t *segment, uint64_t offset) {
    segment->dirty = true;
    int rc = journal->fs.append(segment->file, self->parts, self->part_count, offset);
    if (rc != 0 && rc != DRAX_ENOSPC && rc != DRAX_ENOMEM)
        journal->dead = true;
    if (segment == journal_current(journal)) {
        journal->unclean = rc != 0;
        journal->unclean_end = offset + self->size;
    }
    self->part_count = 0;
    self->used = 0;
    self->size = 0;
    return rc;
}

static void tip_step(header_t *tip, const segment_t *segment, const record_t *record) {
    switch (record->kind) {
    case RECORD_HARD_STATE:
        tip->term = record->term;
        tip->vote = record->index;
        break;
    case RECORD_COMPACT:
        tip->first_sequence = record->index;
        break;
    case RECORD_RESET:
        tip->first_sequence = segment->sequence;
        /* fall through */
    default:
        tip->last_index = record->index;
        tip->last_term = record->term;
        tip->last_time_ms = record->time_ms;
        break;
    }
}

static int batch_encode_and_write(batch_t *self) {
    journal_t *journal = self->journal;
    writer_t *writer = &self->writer;
    tip_fill(journal, &self->tip);
    writer->chain = journal->chain;
    size_t next = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < self->segment_count; i++) {
        segment_t *segment = self->segments[i];
        if (i > 0)
            writer_header(writer, journal, segment, &self->tip);
        for (; next < self->count && self->items[next].segment == i; next++) {
            writer_record(writer, journal, &self->items[next].record, self->items[next].body);
            tip_step(&self->tip, segment, &self->items[next].record);
        }
        if (i + 1 < self->segment_count) {
            record_t seal = {.kind = RECORD_SEAL, .index = segment->sequence + 1};
            writer_record(writer, journal, &seal, NULL);
        }
        rc = writer_flush(writer, journal, segment, i > 0 ? 0 : segment->end);
    }
    return rc;
}

int batch_header_write(journal_t *self) {
    segment_t *segment = journal_current(self);
    header_t header;
    uint8_t bytes[HEADER_BYTES] = {0};
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    writer_t writer = {.staging = bytes, .parts = &part, .chain = self->chain};
    tip_fill(self, &header);
    writer_header(&writer, self, segment, &header);
    int rc = writer_flush(&writer, self, segment, 0);
    if (rc == 0) {
        segment->end = HEADER_BYTES;
        self->chain = writer.chain;
    }
    return rc;
}

static void tip_fill(const journal_t *self, header_t *out) {
    *out = (header_t){
        .last_index = self->last_index,
        .last_term = self->runs[self->run_count - 1].term,
        .last_time_ms = self->time_ms,
        .first_sequence = self->first_sequence,
        .term = self->term,
        .vote = self->vote,
    };
}

static void batch_apply(batch_t *self) {
    journal_t *journal = self->journal;
    for (size_t i = 1; i < self->segment_count; i++)
        journal->segments[journal->segment_count++] = self->segments[i];
    for (size_t i = 0; i < self->count; i++) {
        const pending_t *item = &self->items[i];
        segment_t *segment = self->segments[item->segment];
        log_apply(journal, segment, item->offset, &item->record);
        segment->end = item->offset + record_size(item->record.length);
    }
    for (size_t i = 0; i + 1 < self->segment_count; i++)
        self->segments[i]->end += RECORD_BYTES; /* SEAL */
    journal->chain = self->writer.chain;
    journal->unclean_end = 0;
}
