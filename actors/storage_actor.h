/* storage_actor.h: the actor that owns the disk: journal and state of one node.
 *
 * Owns: the home's files, the queue of writes, what is applied when, queries, flushing, journal
 * compaction, expiry proposals, snapshots in both directions. Must not know: terms' meaning,
 * elections, clients' envelopes.
 *
 * Invariants
 *  1. WRITTEN(seq) leaves only after everything up to write `seq` has been synced.
 *  2. An entry is applied only when it is committed and in the synced journal here, so the state on
 *     disk never is ahead of the journal (but right after a snapshot was installed, see home.h).
 *  3. After a failed write or sync nothing more is acknowledged: the turn returns the error and the
 *     process ends. A full disk is no such failure: writes wait, and raft is told (`no_space`).
 *  4. Until raft has sent OPEN to this life of the actor, and again after a snapshot was installed,
 * its WRITEs are dropped.
 */
#ifndef DRAX_ACTORS_STORAGE_ACTOR_H
#define DRAX_ACTORS_STORAGE_ACTOR_H

#include "actors/actor.h"
#include "actors/worker.h"
#include "broker/log.h"
#include "store/fs.h"
#include "store/kv.h"

typedef struct storage_actor storage_actor_t;

typedef struct storage_options {
    const char *home; /* borrowed; "." for a process that made it its working directory */
    const fs_t *fs;
    const post_t *post;
    const log_t *log;
    /* Opens the ordered store in `directory`, as kv_leveldb_open; NULL: that. */
    int (*kv_open)(void *kv_hint, kv_t **out, const char *directory, bool create);
    void *kv_hint;
    worker_mode_t workers;
    uint64_t seed; /* names snapshot sessions */
    /* 0: JOURNAL_SEGMENT_BYTES, JOURNAL_KEEP_BYTES, JOURNAL_KEEP_REVISIONS, SNAPSHOT_CHUNK_BYTES,
     * STATE_FLUSH_MS */
    uint64_t segment_bytes, keep_bytes, keep_revisions, chunk_bytes, flush_ms;
} storage_options_t;

/* Opens what the home holds; an empty home is fine. `detail` gets a sentence on failure:
 * DRAX_ECORRUPT, DRAX_EIO, DRAX_ENOSPC, DRAX_ENOMEM. */
int storage_actor_new(storage_actor_t **out, const storage_options_t *options, char *detail,
                      size_t detail_size);
void storage_actor_destroy(storage_actor_t **self);

/* For the loop: workers to watch (worker_fd, worker_collect). */
worker_t *storage_actor_flusher(storage_actor_t *self);
worker_t *storage_actor_reserver(storage_actor_t *self);

extern const actor_ops_t storage_actor_ops;

#endif
