/* journal_internal.h: what the journal's own files share. Not for anyone else.
 *
 *   journal.c           the public face: append, sync, compact, reset
 *   journal_batch.c     writes records, all or nothing, over as many segments as they need
 *   journal_recovery.c  open: tell a torn tail from damage, repair
 *   journal_walk.c      open: take what the chain holds
 *   journal_log.c       which entries live where; runs of terms; reading
 *   journal_segment.c   segment files: make, adopt the spare, remove; reservation
 *   journal_record.c    bytes
 *
 * Invariants
 *  1. segments are ascending, without gaps in sequence or position; the last one is being written.
 *  2. chain is the checksum of the last record (or header) that counts; bytes of the last segment
 *     from `end` on are zero on disk, or, if `used`, of an earlier segment, or `unclean` is set.
 *  3. Memory changes only after all writes of an operation succeeded.
 *  4. A segment's live entries are first .. last (none when first > last); over the segments they
 * are contiguous, and all live entries of a segment can be found from its points.
 */
#ifndef DRAX_STORE_JOURNAL_INTERNAL_H
#define DRAX_STORE_JOURNAL_INTERNAL_H

#include "broker/error.h"
#include "store/journal.h"
#include "store/journal_record.h"

/* An entry's place is remembered for one in this many bytes. */
#define JOURNAL_POINT_BYTES (64u << 10)
/* Zero filling and searching go in pieces of this size. */
#define JOURNAL_PIECE_BYTES (1u << 20)
/* Kept free at the end of a segment for what makes room on a full disk (COMPACT, RESET), and SEAL.
 */
#define JOURNAL_SLACK_BYTES (16u * RECORD_BYTES)
/* Indexes, terms, times and positions stay below: adding to one never wraps. */
#define JOURNAL_NUMBER_MAX ((uint64_t) 1 << 62)
/* Smaller segments are not made. */
#define JOURNAL_SEGMENT_MIN_BYTES 4096u
/* Bodies up to this size are copied next to their heads, larger ones written from where they are.
 */
#define JOURNAL_COPY_BYTES 512u

/* So many segments that are not needed any more are kept to be written over; more while entries are
 * large (so few in a segment), as several segments then become free at once. */
#define JOURNAL_USED_MAX 2u
#define JOURNAL_USED_LARGE_MAX 4u
#define JOURNAL_LARGE_ENTRIES 128u

typedef struct point {
    uint64_t index;
    uint64_t offset;
} point_t;

typedef struct segment {
    fs_file_t *file;
    uint64_t sequence;
    uint64_t base; /* position of its first byte */
    uint64_t capacity;
    uint64_t end;         /* offset after the last record that counts */
    bool dirty;           /* written since the last sync */
    bool used;            /* the file was a segment before */
    uint64_t first, last; /* live entries */
    point_t *points;      /* ascending in index and in offset */
    size_t point_count, point_capacity;
    bool point_due; /* the next entry does not follow the live ones on disk: it needs a point */
} segment_t;

struct journal {
    fs_t fs;
    char *directory;
    uint64_t segment_bytes;
    uint64_t salt;
    bool dead;

    segment_t **segments;
    size_t segment_count, segment_capacity;
    uint64_t chain;
    uint64_t durable;        /* position up to which all is synced */
    uint64_t first_sequence; /* as the last COMPACT or RESET said */
    /* A failed write may have left bytes from `end` up to unclean_end in the last segment, and
     * segment files after it up to sequence unclean_last: to be wiped before the next write. */
    bool unclean;
    uint64_t unclean_end;
    uint64_t unclean_last;

    uint64_t term, vote;
    uint64_t time_ms;
    term_run_t *runs;
    size_t run_count, run_capacity;
    uint64_t last_index;

    bool spare;     /* a prepared file waits under its own name */
    unsigned used;  /* so many earlier segments wait to be written over */
    bool reserving; /* a job is out */
    bool full;      /* the last attempt to make a segment found no space */

    uint8_t *window; /* what was read last */
    size_t window_capacity;
};

/* ---- journal_segment.c ---- */

/* True when the path of every file of the journal fits; the others rely on it. */
bool segment_directory_fits(const char *directory);
/* Path of a segment, by sequence. `out` holds LIMIT_PATH_BYTES. */
void segment_path(const journal_t *self, uint64_t sequence, char *out);
void segment_destroy(const journal_t *self, segment_t **segment);
/* Makes the file for `sequence` with `capacity` bytes, durable with its name: an earlier segment or
 * the spare, when those have the size, or a new one of zeros. Sets `full` as it goes. */
int segment_make(journal_t *self, uint64_t sequence, uint64_t base, uint64_t capacity,
                 segment_t **out);
/* Removes the file of `sequence`, durably; absent is fine. */
int segment_remove(const journal_t *self, uint64_t sequence);
/* The same for a segment that was needed, whose file may be kept to be written over. */
int segment_retire(journal_t *self, const segment_t *segment);
/* Writes zeros over [from, to) of the file. */
int segment_zero(const journal_t *self, fs_file_t *file, uint64_t from, uint64_t to);
/* Makes room for one more in the array. */
int segments_grow(journal_t *self, size_t more);
/* Removes leftovers of interrupted work and looks for a spare. At open. */
int segments_tidy(journal_t *self);

/* ---- journal_log.c ---- */

/* Room for `count` more runs, and in `segment` (may be NULL) for `count` more points, so that
 * log_apply cannot fail. */
int journal_log_reserve(journal_t *self, segment_t *segment, size_t count);
/* The record at `offset` of `segment` counts: brings log, hard state and first_sequence up to date.
 * An ENTRY must be the log's next and have its room. */
void log_apply(journal_t *self, segment_t *segment, uint64_t offset, const record_t *record);
/* The first `count` segments leave the array (their files are the caller's); the log begins after
 * them. */
void log_drop(journal_t *self, size_t count);
/* Stamp of entry `index`, at most last_index; 0 when it is before the log. */
int log_time_at(journal_t *self, uint64_t index, uint64_t *time_ms);

/* ---- journal_batch.c ---- */

/* A record to be written; `record` holds everything but prev, durable and checksum. */
typedef struct pending {
    record_t record;
    const uint8_t *body;
    size_t segment; /* 0: the last one; 1 ...: new ones, in order */
    uint64_t offset;
} pending_t;

/* Writes `count` records, without syncing, and applies them; makes the segments they need first.
 * With `slack` they may use a segment's last JOURNAL_SLACK_BYTES. All or nothing: DRAX_ENOSPC,
 * DRAX_ENOMEM. DRAX_EIO leaves the journal dead. */
int batch_write(journal_t *self, pending_t *items, size_t count, bool slack);
/* Writes the header of the last segment, which must be empty, for the log as it is. */
int batch_header_write(journal_t *self);

/* ---- journal_recovery.c ---- */

int journal_recover(journal_t *self, char *detail, size_t detail_size);

/* ---- journal.c ---- */

/* Removes the segments before first_sequence, files and all. A failure leaves the journal dead. */
int journal_drop(journal_t *self);

static inline segment_t *journal_current(const journal_t *self) {
    return self->segments[self->segment_count - 1];
}

#endif
