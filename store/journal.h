/* journal.h: the raft log and hard state on disk.
 *
 * Owns: the segment files of one directory. Knows fs.h and entries; not the core, not the state.
 * Layout as a grammar in journal_record.h and docs/STORAGE.md.
 *
 * Invariants
 *  1. A record counts only when every record before it in the chain does: each carries a checksum
 *     (XXH3-64) seeded with its predecessor's, across segments too.
 *  2. After an open, exactly what was durable is there, and perhaps more that was written without
 * having been synced; a torn tail is cut, damage before it is DRAX_ECORRUPT with a message that
 * names file, offset and reason. A segment that is missing or shorter than it should be is damage.
 *  3. An append that fails with DRAX_ENOSPC has written nothing that counts, and may be tried
 * again. After DRAX_EIO from an append or a sync the journal is dead (journal_dead): the process
 * must end.
 *  4. Entries are contiguous: first_index .. last_index; (first_index - 1, its term) is kept.
 */
#ifndef DRAX_STORE_JOURNAL_H
#define DRAX_STORE_JOURNAL_H

#include "broker/message.h"
#include "store/fs.h"

typedef struct journal journal_t;

typedef struct journal_options {
    uint64_t segment_bytes; /* 0: JOURNAL_SEGMENT_BYTES; a larger record gets a segment of its own
                               size */
    uint64_t salt; /* of a new journal: random in production, so that no client can make bytes that
                    * look like a record; an existing journal keeps its own */
} journal_options_t;

/* Opens the journal in `directory`, which must exist; an empty one is a new journal (first_index 1,
 * last_index 0). `detail` gets a sentence about a failure or a repair ("" when neither).
 * DRAX_ECORRUPT, DRAX_EVERSION, DRAX_EIO, DRAX_ENOSPC, DRAX_ENOMEM; DRAX_EINVAL: a directory whose
 * files would have paths beyond LIMIT_PATH_BYTES. */
int journal_open(journal_t **out, const fs_t *fs, const char *directory,
                 const journal_options_t *options, char *detail, size_t detail_size);
void journal_close(journal_t **self);

/* Appends hard state (when `hard_state`: term, vote) and then entries, without syncing. If
 * entries[0].index <= last_index, everything from there on is gone first. entries[0].index must be
 * in first_index .. last_index + 1, and terms must not fall (DRAX_EINVAL). All or nothing:
 * DRAX_ENOSPC, see invariant 3; DRAX_ETOOLARGE: a payload above LIMIT_ENTRY_BYTES. */
int journal_append(journal_t *self, bool hard_state, uint64_t term, uint64_t vote,
                   const entry_t *entries, size_t count);

/* Makes all appends durable: one fdatasync when anything was written since. DRAX_EIO: dead. */
int journal_sync(journal_t *self);

/* Reads entries from `from` on into `out` (pushed; the caller clears): at least one, then as long
 * as they fit in `max_bytes`. Entries appended but not synced are readable too. Checksums are
 * verified. DRAX_ECOMPACTED: before first_index. DRAX_ENOTFOUND: after last_index. DRAX_ECORRUPT,
 * DRAX_EIO. */
int journal_read(journal_t *self, uint64_t from, uint64_t max_bytes, entries_t *out);

/* Drops whole segments at the beginning whose entries are all <= `index`. Never the newest. Syncs
 * when there is something to drop. Errors as for journal_append. */
int journal_compact(journal_t *self, uint64_t index);

/* Forgets all entries: the log now begins after (index, term), as a snapshot says. Durable on
 * return. Hard state stays. */
int journal_reset(journal_t *self, uint64_t index, uint64_t term);

/* Space ahead. The next segment is made, zero-filled and synced before an append needs it, in three
 * steps so that the slow one may run on another thread: begin (NULL when none is needed or one is
 * under way), run (touches only the file system and the job), end (adopts the result; DRAX_ENOSPC
 * means: try again later). An append that needs a segment while none is reserved makes one itself.
 */
typedef struct journal_reserve journal_reserve_t;
journal_reserve_t *journal_reserve_begin(journal_t *self);
void journal_reserve_run(journal_reserve_t *job);
int journal_reserve_end(journal_t *self, journal_reserve_t **job);
/* True while no reserved segment is ready and the last attempt found the disk full. */
bool journal_no_space(const journal_t *self);
/* Gives up the files that are kept to be written over: others need their space. DRAX_EIO: some are
 * left. */
int journal_used_release(journal_t *self);

bool journal_dead(const journal_t *self);
uint64_t journal_salt(const journal_t *self); /* as it was made: tells it from any other */
uint64_t journal_first_index(const journal_t *self);
uint64_t journal_last_index(const journal_t *self);
uint64_t journal_term(const journal_t *self); /* hard state */
uint64_t journal_vote(const journal_t *self);
uint64_t journal_time_ms(const journal_t *self); /* of the last entry, 0 when none */
/* Bytes of entries in [index, last_index], for the retention rule; 0 when beyond. */
uint64_t journal_bytes_from(const journal_t *self, uint64_t index);
/* Term of `index` in first_index - 1 .. last_index; 0 outside. */
uint64_t journal_term_at(const journal_t *self, uint64_t index);
/* All runs of equal terms, runs[0].index == first_index - 1. Borrowed until the next append. */
const term_run_t *journal_runs(const journal_t *self, size_t *count);

#endif
