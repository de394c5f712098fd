/* state.h: the replicated state machine over an ordered store.
 *
 * Owns: keys, time-to-live, blocks' origins, client sessions, the membership as applied, revision
 * and applied index; the overlay that holds what is not yet flushed. Must not know: clocks,
 * randomness, settings, sockets, the journal. What an entry does depends on the log alone.
 *
 * Invariants
 *  1. The kv store only ever changes by one synced batch that holds a whole overlay and its applied
 * index, so what is on disk is the state exactly at kv's applied index; replaying the journal from
 * there gives the rest.
 *  2. Reads see overlay, then frozen overlay (being flushed), then kv.
 *  3. digest is the sum over all records of a 64-bit hash of (key, record): order-independent, kept
 * at every change, equal on all nodes at equal applied index.
 *
 * Errors: DRAX_EIO, DRAX_ECORRUPT from the kv store mean that the state cannot go on: the process
 * ends.
 */
#ifndef DRAX_STORE_STATE_H
#define DRAX_STORE_STATE_H

#include "broker/message.h"
#include "broker/rpc.h"
#include "store/history.h"
#include "store/kv.h"

typedef struct state state_t;

/* The state in `kv` (taken over, closed by state_close); an empty one is a new state.
 * DRAX_ECORRUPT, DRAX_EIO, DRAX_ENOMEM; on failure `kv` is closed. */
int state_open(state_t **out, kv_t **kv);
void state_close(state_t **self); /* does not flush */

/* What applying an entry tells. `results`: one outcome (rpc.h) for each command of a block that was
 * applied, in order, as a batch payload with token 0 (block.h); borrowed until the next apply. NULL
 * for other entries and for a block that was skipped. A request that waits has its number as token,
 * and one byte, true (msgpack) when its client can ask for it again. */
typedef struct state_applied {
    uint64_t node, boot, seq; /* the block's origin; 0 for others */
    bool skipped;             /* the block did not count: `last_seq` is the last one that did */
    uint64_t last_seq;
    uint64_t
        last_boot; /* the greatest boot of that node's gateways so far, this block's included */
    const buffer_t *results;
    bool changed; /* keys: state_changes tells which */
    /* What requests that waited came to, of whatever gateways: elements of a batch, as many as
     * settled_count, each with the waiter's number as its token; no bytes: not known any more. */
    const buffer_t *settled;
    size_t settled_count;
} state_applied_t;

/* Applies `entry`, whose index must be applied + 1 (else DRAX_EINVAL). After any other error the
 * state is half an entry ahead and refuses everything but state_close: start again from what is
 * flushed. Malformed commands get an INVALID_ARGUMENT outcome; a malformed block is skipped; both
 * the same on every node. */
int state_apply(state_t *self, const entry_t *entry, state_applied_t *out);

/* Answers a read request (method kind READ) from the present state, as outcome bytes appended to
 * `out`. `time_ms` is cluster time now, for ttl_ms in the answer. DRAX_ETOOLARGE: a watch
 * whose pairs do not fit in its answer, or a snapshot; it needs a view, and nothing was appended.
 */
int state_query(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out);

/* What the last entry applied changed, to be read with history_next until the next apply; `entry`
 * is that entry. Only when it did (state_applied_t's `changed`). */
int state_changes(const state_t *self, const entry_t *entry, history_reader_t *out);

/* Expiry. When is the first key due (cluster time; 0: none)? */
int state_next_expiry(state_t *self, uint64_t *due_ms);
/* Appends to `out` a block (node, boot, seq, prev 0) with an EXPIRE command for up to EXPIRY_BATCH
 * keys that are due at `time_ms`, each with its revision; `count` is how many. */
int state_expire_block(state_t *self, uint64_t time_ms, buffer_t *out, size_t *count);
/* A block with an EXPIRE command of no keys: only its stamp matters (keeps cluster time in the
 * log). */
int state_clock_block(state_t *self, buffer_t *out);

/* Flush, in three steps so that the slow one may run on another thread: freeze (DRAX_EAGAIN when
 * one is under way or there is nothing new), write (touches only the frozen overlay and kv), thaw.
 * thaw returns `write_code`; after a failed write the frozen overlay stays, and the next freeze
 * tries the same again. Never close the state between freeze and thaw. */
int state_freeze(state_t *self);
int state_flush_write(state_t *self);
int state_thaw(state_t *self, int write_code);
/* Memory that reads and flushes left behind goes back to the system. Touches only kv, so it may run
 * on another thread, in place of a flush. */
void state_release(state_t *self);
/* Is it to be done soon, as much was read? Says so once. Not thread-safe. */
bool state_release_due(state_t *self);
size_t state_overlay_bytes(const state_t *self); /* not yet frozen */
/* A sentence on the last DRAX_ECORRUPT, as kv_detail. */
void state_detail(state_t *self, char *out, size_t size);

uint64_t state_applied(const state_t *self);
uint64_t state_applied_term(const state_t *self);
uint64_t state_flushed(const state_t *self); /* applied index on disk */
uint64_t state_revision(const state_t *self);
/* The log index that made `revision` or a little before it, for the retention rule; 0: unknown. */
uint64_t state_index_of_revision(const state_t *self, uint64_t revision);
uint64_t state_digest(const state_t *self);
uint64_t state_time_ms(const state_t *self); /* stamp of the last applied entry */
uint64_t state_keys(const state_t *self);
bool state_has_expiries(const state_t *self);
const config_t *state_config(const state_t *self);
/* The last boot of a gateway of `node` that proposed a block; 0: none. */
uint64_t state_gateway_boot(const state_t *self, uint64_t node);

/* ---- history ---- */

/* How much is kept: so many bytes of changes or so many revisions, whichever is less. From the
 * start JOURNAL_KEEP_BYTES and JOURNAL_KEEP_REVISIONS. */
void state_history_keep(state_t *self, uint64_t bytes, uint64_t revisions);
/* The first revision whose changes are kept: revision + 1 when none are. */
uint64_t state_history_first(const state_t *self);
/* The log entry that made it: the journal must keep it and all after it. UINT64_MAX: needs none. */
uint64_t state_history_index(const state_t *self);

/* Where history finds the log: a sequential reader, as changes are read in order. */
typedef struct history_source {
    void *self;
    /* The payload of a block, borrowed until the next call. DRAX_ECOMPACTED, DRAX_EIO, … */
    int (*entry)(void *self, uint64_t index, slice_t *payload);
} history_source_t;

/* Which changes: of `key`, or, with `tree`, of all keys that begin with it. */
typedef struct history_query {
    slice_t key;
    bool tree;
    uint64_t from;     /* the first revision wanted */
    size_t bytes;      /* of packed changes: no new revision is begun beyond */
    size_t scan_bytes; /* of the log, likewise */
} history_query_t;

typedef struct history_page {
    uint64_t next; /* the first revision not looked at */
    size_t count;
} history_page_t;

/* Writes the changes, each as history_change_pack does, to `out`, which is empty; all of a revision
 * or none. DRAX_ECOMPACTED: `from` is before state_history_first. Other errors are the source's, or
 * DRAX_ECORRUPT. */
int state_history(state_t *self, const history_query_t *query, const history_source_t *source,
                  buffer_t *out, history_page_t *page);

/* Lets records that name entries up to `upto` hold what they tell themselves, about `bytes` of it,
 * oldest first: with the next flush those entries are not needed any more. */
int state_history_settle(state_t *self, uint64_t upto, size_t bytes,
                         const history_source_t *source);

/* ---- views ---- */

/* What is flushed of the keys that begin with `prefix`, to be read page by page. Open any number
 * (the caller bounds them); close all before the state, and when kv_write asks for it (kv.h).
 * DRAX_ENOTFOUND: nothing was ever flushed. */
typedef struct state_view state_view_t;
int state_view_open(state_t *self, slice_t prefix, state_view_t **out);
void state_view_close(state_t *self, state_view_t **view);
uint64_t state_view_revision(const state_view_t *self);
/* Writes the next page of pairs, as `list` gives them, to `out`, which is empty. */
int state_view_page(state_view_t *self, buffer_t *out, size_t *count, bool *more);

/* ---- snapshots ---- */

/* A view of what is flushed, to be sent in chunks. Open any number (the caller bounds them); close
 * all before the state. DRAX_ENOTFOUND: nothing was ever flushed. */
typedef struct state_snapshot state_snapshot_t;
int state_snapshot_open(state_t *self, state_snapshot_t **out);
/* Before the first chunk: history travels too, as far as `source` reaches; else none does. */
void state_snapshot_history(state_snapshot_t *self, const history_source_t *source);
/* What it includes. */
uint64_t state_snapshot_index(const state_snapshot_t *self);
uint64_t state_snapshot_term(const state_snapshot_t *self);
uint64_t state_snapshot_revision(const state_snapshot_t *self);
uint64_t state_snapshot_time_ms(const state_snapshot_t *self);
const config_t *state_snapshot_config(const state_snapshot_t *self);
/* The next chunk of about `bytes`, as a payload with a checksum; `last` when it is the last one.
 * The caller numbers chunks from 0 and may ask for the previous one again (`chunk` is the number
 * wanted; DRAX_EINVAL when it is neither the next nor the previous). */
int state_snapshot_read(state_snapshot_t *self, uint64_t chunk, size_t bytes, payload_t **out,
                        bool *last);
void state_snapshot_close(state_t *self, state_snapshot_t **snapshot);

/* Receiving: chunks go, in order, into an empty kv. DRAX_ECORRUPT: checksum, order or digest is
 * wrong; an error sticks. Until it is finished the kv is not a state: state_open refuses it. */
typedef struct state_staging state_staging_t;
int state_staging_open(state_staging_t **out, kv_t **kv); /* takes kv over */
/* Whether a chunk says that it is the last one; whatever else is in it is not looked at. */
bool state_chunk_last(slice_t chunk);
int state_staging_add(state_staging_t *self, uint64_t chunk, slice_t bytes, bool last);
/* Before it is finished: the snapshot is to be the beginning of another cluster, of `config`'s
 * members. Its revision goes on `skip` higher; unless that is 0, history begins behind it. */
void state_staging_refound(state_staging_t *self, const config_t *config, uint64_t skip);
/* What the first chunk tells; 0 before it. */
uint64_t state_staging_index(const state_staging_t *self);
uint64_t state_staging_term(const state_staging_t *self);
uint64_t state_staging_revision(const state_staging_t *self);
/* After the last chunk: checks the digest, syncs, and gives the kv back, complete. On failure the
 * kv is closed and NULL. */
int state_staging_finish(state_staging_t **self, kv_t **kv);
/* Gives the kv back as it is, to be closed and removed. */
void state_staging_abort(state_staging_t **self, kv_t **kv);

#endif
