/* history.h: what changed at which revision: the records that watches are fed from.
 *
 * Owns: the layout of history records. The journal holds keys and values already, so a record of a
 * block says where in the entry's payload they lie; what is not there (keys that delete_tree found)
 * it holds itself. Must not know: the journal, queries.
 *
 *   pair   = "h" first:u64 -> record          first: revision of the record's first change
 *   record = index:u64 last:u64 total:u64 change*
 *   change = head:u8 key value?               no value: delete, expire
 *   head   = type, 2 bits | HISTORY_NEXT | HISTORY_KEY_HERE | HISTORY_VALUE_HERE
 *   key, value = gap:varint size:varint       of the payload: `gap` bytes after the last one named
 *              | size:varint byte{size}       with its _HERE bit
 *
 * `index` is the log entry, 0 when the record needs none; `last` the revision of its last change;
 * `total` counts the bytes of keys and values of all changes up to the end of this record.
 * HISTORY_NEXT says that the change has the next revision, without it that of the change before. A
 * varint has 7 bits a byte, lowest first. Records are derived: equal on all nodes in what they
 * tell, not in their bytes; so they are not in the digest.
 */
#ifndef DRAX_STORE_HISTORY_H
#define DRAX_STORE_HISTORY_H

#include "store/kv.h"

#define PREFIX_HISTORY 'h'
#define HISTORY_KEY_BYTES 9u
#define HISTORY_HEAD_BYTES 24u

typedef enum { HISTORY_PUT = 0, HISTORY_DELETE = 1, HISTORY_EXPIRE = 2 } history_type_t;

typedef struct history_change {
    uint64_t revision;
    history_type_t type;
    slice_t key, value; /* value: of a put */
} history_change_t;

void history_key(uint8_t out[HISTORY_KEY_BYTES], uint64_t first);
int history_key_parse(slice_t key, uint64_t *first); /* DRAX_ECORRUPT */

/* ---- writing ---- */

/* Where a record being written stands. */
typedef struct history_mark {
    size_t size;          /* of the record */
    size_t at;            /* in the payload: behind what was named last */
    uint64_t first, last; /* revisions; 0: no change yet */
    uint64_t total;
} history_mark_t;

typedef struct history_writer {
    buffer_t record;
    slice_t payload; /* of the entry; borrowed */
    history_mark_t now;
} history_writer_t;

/* Begins a record of the entry `index`; `payload` is borrowed until the next begin. index 0: all
 * keys and values are to be held by the record. */
void history_begin(history_writer_t *self, uint64_t index, slice_t payload);
/* Revisions never fall, and grow by one at the most. What of `key` and `value` lies within the
 * payload is named, the rest copied. */
void history_add(history_writer_t *self, const history_change_t *change);
/* Takes back all that was added since `mark` was `self->now`. */
void history_rewind(history_writer_t *self, const history_mark_t *mark);
/* The record, complete: borrowed until the next begin; size 0: nothing changed. self->record.failed
 * when memory ran out. */
slice_t history_end(history_writer_t *self);
void history_writer_free(history_writer_t *self);

/* ---- reading ---- */

typedef struct history_reader {
    uint64_t index, first, last, total;
    slice_t rest, payload;
    uint64_t revision; /* of the last change read */
} history_reader_t;

/* DRAX_ECORRUPT. `record` is borrowed. */
int history_open(history_reader_t *out, uint64_t first, slice_t record);
/* The payload of the entry `index`; borrowed. Needed before history_next unless index is 0. */
void history_payload(history_reader_t *self, slice_t payload);
/* 1: `out` is the next change, borrowing from record and payload. 0: no more. DRAX_ECORRUPT: the
 * record does not fit the payload. */
int history_next(history_reader_t *self, history_change_t *out);

/* Makes a record that needs no entry of what `in` tells, all of it; `in` must not have been read.
 * DRAX_ECORRUPT. The record is history_end's. */
int history_copy(history_writer_t *out, history_reader_t *in);

/* A change as the contract gives it to clients: {type, key, value?, index}. */
void history_change_pack(buffer_t *out, const history_change_t *change);

#endif
