/* journal_log.c: the log that the records make: which entries are live, where, of which terms;
 * reading.
 *
 * Owns: segments' live ranges and points, the runs of terms, last_index. Must not know: how records
 * get to the disk. Used alike by recovery, which replays records, and by the writer, after its
 * writes succeeded.
 *
 * Finding an entry: the last point at or before it, then forward from record to record. A
 * superseded entry never stands between, because the first entry after a truncation always has a
 * point of its own and reading jumps to every point it reaches.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/codec.h"
#include "broker/error.h"
#include "store/journal_internal.h"

#define READ_PIECE_MIN_BYTES (64u << 10)

/* A run of bytes of one segment, held in the journal's window. */
typedef struct reader {
    journal_t *journal;
    const segment_t *segment;
    uint64_t start;
    size_t size;
    size_t piece;
    uint64_t next; /* offset after the record read last */
} reader_t;

static int reader_find(reader_t *self, uint64_t index, record_t *record, const uint8_t **bytes);
static int entry_read(const record_t *record, const uint8_t *body, entries_t *out);

int journal_read(journal_t *self, uint64_t from, uint64_t max_bytes, entries_t *out) {
    if (from < journal_first_index(self))
        return DRAX_ECOMPACTED;
    if (from > self->last_index)
        return DRAX_ENOTFOUND;
    size_t piece = max_bytes > JOURNAL_PIECE_BYTES ? JOURNAL_PIECE_BYTES : (size_t) max_bytes;
    reader_t reader = {
        .journal = self,
        .piece = piece > READ_PIECE_MIN_BYTES ? piece : READ_PIECE_MIN_BYTES,
    };
    uint64_t used = 0;
    int rc = 0;
    for (uint64_t index = from; rc == 0 && index <= self->last_index; index++) {
        record_t record;
        const uint8_t *bytes;
        rc = reader_find(&reader, index, &record, &bytes);
        if (rc != 0)
            break;
        used += record_size(record.length);
        if (index > from && used > max_bytes)
            break;
        rc = entry_read(&record, bytes + RECORD_BYTES, out);
    }
    if (self->window_capacity > JOURNAL_PIECE_BYTES) {
        free(self->window);
        self->window = NULL;
        self->window_capacity = 0;
    }
    return rc;
}

int log_time_at(journal_t *self, uint64_t index, uint64_t *time_ms) {
    *time_ms = 0;
    if (index < journal_first_index(self))
        return 0;
    reader_t reader = {.journal = self, .piece = READ_PIECE_MIN_BYTES};
    record_t record;
    const uint8_t *bytes;
    int rc = reader_find(&reader, index, &record, &bytes);
    if (rc == 0)
        *time_ms = record.time_ms;
    return rc;
}

static int entry_read(const record_t *record, const uint8_t *body, entries_t *out) {
    entry_t entry = {
        .index = record->index,
        .term = record->term,
        .time_ms = record->time_ms,
        .kind = (entry_kind_t) record->entry_kind,
    };
    int rc = 0;
    if (entry.kind == ENTRY_CONFIG) {
        entry.config = calloc(1, sizeof *entry.config);
        if (!entry.config)
            return DRAX_ENOMEM;
        if (codec_config_decode(entry.config, (slice_t){body, record->length}) != 0)
            rc = DRAX_ECORRUPT;
    } else if (entry.kind == ENTRY_BLOCK || record->length > 0) {
        entry.payload = payload_copy(body, record->length);
        if (!entry.payload)
            rc = DRAX_ENOMEM;
    }
    if (rc == 0)
        rc = entries_push(out, &entry);
    entry_clear(&entry);
    return rc;
}

/* ---- finding ---- */

static bool segment_live(const segment_t *segment) {
    return segment->first <= segment->last;
}

/* The segment of a live entry. */
static segment_t *segment_of(const journal_t *self, uint64_t index) {
    size_t i = self->segment_count - 1;
    while (!segment_live(self->segments[i]) || self->segments[i]->first > index) {
        assert(i > 0);
        i--;
    }
    assert(index <= self->segments[i]->last);
    return self->segments[i];
}

/* The last point at or before `index`, which is live in `segment`. */
static const point_t *point_of(const segment_t *segment, uint64_t index) {
    size_t low = 0;
    size_t high = segment->point_count;
    assert(high > 0 && segment->points[0].index <= index);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (segment->points[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    return &segment->points[low];
}

/* Sees to it that [offset, offset + size) of the segment is in the window. */
static int reader_fill(reader_t *self, uint64_t offset, uint64_t size) {
    if (offset >= self->start && offset + size <= self->start + self->size)
        return 0;
    journal_t *journal = self->journal;
    uint64_t left = self->segment->end - offset;
    if (size > left)
        return DRAX_ECORRUPT;
    size_t wanted = (size_t) (size > self->piece ? size : self->piece);
    if (wanted > left)
        wanted = (size_t) left;
    if (wanted > journal->window_capacity) {
        uint8_t *window = realloc(journal->window, wanted);
        if (!window)
            return DRAX_ENOMEM;
        journal->window = window;
        journal->window_capacity = wanted;
    }
    size_t got = 0;
    self->size = 0;
    int rc = journal->fs.pread(self->segment->file, journal->window, wanted, offset, &got);
    if (rc != 0)
        return rc;
    if (got != wanted)
        return DRAX_ECORRUPT;
    self->start = offset;
    self->size = got;
    return 0;
}

/* One after the other, upwards. */
static int reader_find(reader_t *self, uint64_t index, record_t *record, const uint8_t **bytes) {
    journal_t *journal = self->journal;
    if (!self->segment || index > self->segment->last) {
        self->segment = segment_of(journal, index);
        self->size = 0;
        self->next = 0;
    }
    uint64_t offset = point_of(self->segment, index)->offset;
    if (offset < self->next)
        offset = self->next;
    for (;;) {
        int rc = reader_fill(self, offset, RECORD_BYTES);
        if (rc != 0)
            return rc;
        const uint8_t *head = journal->window + (offset - self->start);
        uint64_t left = self->segment->end - offset;
        if (!record_head_decode(record, head, left, journal->salt))
            return DRAX_ECORRUPT;
        uint64_t size = record_size(record->length);
        if (record->kind == RECORD_ENTRY && record->index == index) {
            rc = reader_fill(self, offset, size);
            if (rc != 0)
                return rc;
            *bytes = journal->window + (offset - self->start);
            self->next = offset + size;
            return record_valid(record, *bytes, journal->salt) ? 0 : DRAX_ECORRUPT;
        }
        offset += size;
    }
}

/* ---- changing ---- */

int journal_log_reserve(journal_t *self, segment_t *segment, size_t count) {
    if (self->run_count + count > self->run_capacity) {
        size_t capacity = (self->run_count + count) * 2;
        term_run_t *runs = realloc(self->runs, capacity * sizeof *runs);
        if (!runs)
            return DRAX_ENOMEM;
        self->runs = runs;
        self->run_capacity = capacity;
    }
    if (segment && segment->point_count + count > segment->point_capacity) {
        size_t capacity = segment->point_count + count + segment->point_capacity / 2;
        point_t *points = realloc(segment->points, capacity * sizeof *points);
        if (!points)
            return DRAX_ENOMEM;
        segment->points = points;
        segment->point_capacity = capacity;
    }
    return 0;
}

static void log_entry(journal_t *self, segment_t *segment, uint64_t offset,
                      const record_t *record) {
    assert(record->index == self->last_index + 1);
    if (!segment_live(segment)) {
        segment->first = record->index;
        segment->point_count = 0;
        segment->point_due = true;
    }
    segment->last = record->index;
    if (segment->point_due ||
        offset - segment->points[segment->point_count - 1].offset >= JOURNAL_POINT_BYTES) {
        assert(segment->point_count < segment->point_capacity);
        segment->points[segment->point_count++] = (point_t){record->index, offset};
        segment->point_due = false;
    }
    if (self->runs[self->run_count - 1].term != record->term) {
        assert(self->run_count < self->run_capacity);
        self->runs[self->run_count++] = (term_run_t){record->index, record->term};
    }
    self->last_index = record->index;
    self->time_ms = record->time_ms;
}

static void segment_clear(segment_t *segment) {
    segment->first = 1;
    segment->last = 0;
    segment->point_count = 0;
}

static void log_truncate(journal_t *self, uint64_t index, uint64_t term, uint64_t time_ms) {
    for (size_t i = self->segment_count; i-- > 0;) {
        segment_t *segment = self->segments[i];
        if (!segment_live(segment))
            continue;
        if (segment->last <= index)
            break;
        if (segment->first > index) {
            segment_clear(segment);
            continue;
        }
        segment->last = index;
        while (segment->points[segment->point_count - 1].index > index) /* the first one's is not */
            segment->point_count--;
        segment->point_due = true;
    }
    while (self->run_count > 1 && self->runs[self->run_count - 1].index > index)
        self->run_count--;
    /* The log can begin later than what a record takes back: its beginning was compacted away. */
    if (index < self->runs[0].index)
        self->runs[0] = (term_run_t){index, term};
    self->last_index = index;
    self->time_ms = time_ms;
}

static void log_reset(journal_t *self, uint64_t index, uint64_t term) {
    for (size_t i = 0; i < self->segment_count; i++)
        segment_clear(self->segments[i]);
    self->runs[0] = (term_run_t){index, term};
    self->run_count = 1;
    self->last_index = index;
    self->time_ms = 0;
}

void log_drop(journal_t *self, size_t count) {
    uint64_t index = self->runs[0].index;
    for (size_t i = 0; i < count; i++) {
        if (segment_live(self->segments[i]))
            index = self->segments[i]->last;
        segment_destroy(self, &self->segments[i]);
    }
    self->segment_count -= count;
    memmove(self->segments, self->segments + count, self->segment_count * sizeof(segment_t *));
    uint64_t term = journal_term_at(self, index);
    size_t gone = 0;
    while (gone + 1 < self->run_count && self->runs[gone + 1].index <= index)
        gone++;
    self->run_count -= gone;
    memmove(self->runs, self->runs + gone, self->run_count * sizeof *self->runs);
    self->runs[0] = (term_run_t){index, term};
}

void log_apply(journal_t *self, segment_t *segment, uint64_t offset, const record_t *record) {
    switch (record->kind) {
    case RECORD_ENTRY:
        log_entry(self, segment, offset, record);
        break;
    case RECORD_HARD_STATE:
        self->term = record->term;
        self->vote = record->index;
        break;
    case RECORD_TRUNCATE:
        log_truncate(self, record->index, record->term, record->time_ms);
        break;
    case RECORD_RESET:
        log_reset(self, record->index, record->term);
        self->first_sequence = segment->sequence;
        break;
    case RECORD_COMPACT:
        self->first_sequence = record->index;
        break;
    default:
        break;
    }
}

/* ---- asking ---- */

uint64_t journal_term_at(const journal_t *self, uint64_t index) {
    if (index < self->runs[0].index || index > self->last_index)
        return 0;
    size_t low = 0;
    size_t high = self->run_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (self->runs[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    return self->runs[low].term;
}

uint64_t journal_bytes_from(const journal_t *self, uint64_t index) {
    uint64_t bytes = 0;
    for (size_t i = self->segment_count; i-- > 0;) {
        const segment_t *segment = self->segments[i];
        if (!segment_live(segment) || segment->last < index)
            continue;
        if (index >= segment->first)
            return bytes + segment->end - point_of(segment, index)->offset;
        bytes += segment->end - segment->points[0].offset;
    }
    return bytes;
}

const term_run_t *journal_runs(const journal_t *self, size_t *count) {
    *count = self->run_count;
    return self->runs;
}

uint64_t journal_first_index(const journal_t *self) {
    return self->runs[0].index + 1;
}

uint64_t journal_last_index(const journal_t *self) {
    return self->last_index;
}

uint64_t journal_term(const journal_t *self) {
    return self->term;
}

uint64_t journal_vote(const journal_t *self) {
    return self->vote;
}

uint64_t journal_time_ms(const journal_t *self) {
    return self->time_ms;
}
