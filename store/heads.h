/* heads.h: what stands before the values of users' keys, of as many as there is room for: all that
 * a put needs of the record it replaces, without reading it.
 *
 * Owns: memory for heads, HEADS_BYTES_A_KEY for each key there is, which holds those of usual keys
 * and leaves room for all to find a place; up to STATE_FEW_KEYS only HEADS_LEAST_BYTES, and never
 * more than HEADS_BYTES; less while fewer heads are kept. When there is no room, or the system
 * gives no more memory, a head takes the place of one that came long before. Must not know:
 * layers, stores. A cache: it may forget anything at any time; long keys are not kept.
 *
 * It marks where it forgot something: elsewhere a key without a head does not exist. Marks go with
 * a reading: of what was marked when it began, all heads that are missing are offered until it
 * ends, and what is forgotten meanwhile stays marked.
 */
#ifndef DRAX_STORE_HEADS_H
#define DRAX_STORE_HEADS_H

#include "store/record.h"

#define HEADS_KEY_BYTES 128u
#define HEADS_LEAST_BYTES (28u << 20)
#define HEADS_BYTES_A_KEY 60u
#define HEADS_BYTES (448u << 20)
#define HEADS_FAR_LESS 4u

/* All zero: an empty one, for few keys, none of which exists yet. */
typedef struct heads {
    uint8_t *memory; /* addresses for HEADS_BYTES; memory up to the last bucket */
    size_t most;     /* buckets there may be; 0: as for few keys */
    size_t count;    /* of buckets */
    size_t next;     /* how many they become */
    size_t left;     /* so many of `count` hold heads that have not moved yet */
    size_t bytes;    /* that buckets hold */
    bool refused;    /* no memory was given: it is not asked for again */
    uint8_t marks;   /* of all of them, as of a bucket (heads.c) */
} heads_t;

/* How many keys there are now; to be told now and then. When heads have HEADS_FAR_LESS times as
 * much memory as they may have then, all are forgotten and it is given back. */
void heads_expect(heads_t *self, uint64_t keys);
/* 0: sets all but the value of `out`. DRAX_ENOTFOUND: there is no such key. DRAX_EAGAIN: not known.
 * `key` is a user's. */
int heads_find(const heads_t *self, slice_t key, record_t *out);
/* Keeps what stands before the record's value, or nothing of the key. */
void heads_put(heads_t *self, slice_t key, const record_t *record);
/* The same of a key that exists for long: if it has no head yet, and there is room. NULL: a head
 * for it is not to be had. */
void heads_offer(heads_t *self, slice_t key, const record_t *record);
/* The key does not exist any more. */
void heads_remove(heads_t *self, slice_t key);
/* There may be keys that it was never told of. */
void heads_doubt(heads_t *self);
void heads_reading_begin(heads_t *self);
void heads_reading_end(heads_t *self);
/* Enough of it that a reading would make more known. */
bool heads_roomy(const heads_t *self);
void heads_free(heads_t *self);

#endif
