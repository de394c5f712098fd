/* heads.h: what stands before the values of users' keys, of as many as there is room for: all that
 * a put needs of the record it replaces, without reading it.
 *
 * Owns: memory for heads, HEADS_BYTES_A_KEY for each key there is, which holds those of usual keys
 * and leaves room for all to find a place; up to STATE_FEW_KEYS only HEADS_LEAST_BYTES, and never
 * more than HEADS_BYTES; less while fewer heads are kept. When there is no room, or the system
 * gives no more memory, a head takes the place of one that was not written for long. Must not know:
 * layers, stores. A cache: it may forget anything at any time; long keys are not kept.
 */
#ifndef DRAX_STORE_HEADS_H
#define DRAX_STORE_HEADS_H

#include "store/record.h"

#define HEADS_KEY_BYTES 128u
#define HEADS_LEAST_BYTES (28u << 20)
#define HEADS_BYTES_A_KEY 60u
#define HEADS_BYTES (448u << 20)
#define HEADS_FAR_LESS 4u

/* All zero: an empty one, for few keys. */
typedef struct heads {
    uint8_t *memory; /* addresses for HEADS_BYTES; memory up to the last bucket */
    size_t most;     /* buckets there may be; 0: as for few keys */
    size_t count;    /* of buckets */
    size_t next;     /* how many they become */
    size_t left;     /* so many of `count` hold heads that have not moved yet */
    size_t bytes;    /* that buckets hold */
    bool refused;    /* no memory was given: it is not asked for again */
} heads_t;

/* How many keys there are now; to be told now and then. When heads have HEADS_FAR_LESS times as
 * much memory as they may have then, all are forgotten and it is given back. */
void heads_expect(heads_t *self, uint64_t keys);
/* Sets all but the value of `out`; false: not known. `key` is a user's. */
bool heads_find(const heads_t *self, slice_t key, record_t *out);
/* Keeps what stands before the record's value, or nothing of the key. */
void heads_put(heads_t *self, slice_t key, const record_t *record);
void heads_remove(heads_t *self, slice_t key);
void heads_free(heads_t *self);

#endif
