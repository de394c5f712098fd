/* meta.h: what the state knows about itself, one record that every flush writes.
 *
 *   meta   = format:u32 applied:u64 term:u64 revision:u64 time_ms:u64 digest:u64 keys:u64
 *            expiring:u64 leases:u64 granted:u64 locks:u64 waiters:u64 queued:u64 config_size:u32
 *            config mark_count:u32 mark*
 *   config = a membership as codec_config_encode writes it; empty: none yet
 *   mark   = revision:u64 index:u64    changes after `revision` are in entries from `index` on
 */
#ifndef DRAX_STORE_META_H
#define DRAX_STORE_META_H

#include "broker/message.h"
#include "broker/pack.h"

#define META_FORMAT 3u
#define META_MARKS 128u
#define META_MARK_REVISIONS 1000u /* marks reach back further than JOURNAL_KEEP_REVISIONS */

typedef struct meta_mark {
    uint64_t revision, index;
} meta_mark_t;

typedef struct meta {
    uint64_t applied, term;
    uint64_t revision;
    uint64_t time_ms;
    uint64_t digest;
    uint64_t keys;
    uint64_t expiring; /* keys with a time to live */
    uint64_t leases;   /* there are */
    uint64_t granted;  /* the last lease's number */
    uint64_t locks;    /* that are held */
    uint64_t waiters;  /* that wait for one */
    uint64_t queued;   /* the last waiter's number */
    config_t config;
    size_t mark_count; /* oldest first */
    meta_mark_t marks[META_MARKS];
} meta_t;

void meta_encode(const meta_t *self, buffer_t *out); /* appends; out->failed when out of memory */
int meta_decode(meta_t *out, slice_t bytes);         /* DRAX_ECORRUPT, DRAX_EVERSION */

/* Before the entry `index` is applied: notes where the journal stands, now and then. */
void meta_mark(meta_t *self, uint64_t index);
/* An entry at or before the one that made `revision`; 0: not known any more. */
uint64_t meta_index_of_revision(const meta_t *self, uint64_t revision);

#endif
