/* heads.h: what stands before the values of users' keys, of as many as there is room for: all that
 * a put needs of the record it replaces, without reading it.
 *
 * Owns: HEADS_BYTES at most, and less while fewer heads are kept. When there is no room, a head
 * takes the place of one that was not written for long. Must not know: layers, stores. A cache: it
 * may forget anything at any time; long keys are not kept.
 */
#ifndef DRAX_STORE_HEADS_H
#define DRAX_STORE_HEADS_H

#include "store/record.h"

#define HEADS_KEY_BYTES 128u
#define HEADS_BYTES (28u << 20)

/* All zero: an empty one. */
typedef struct heads {
    uint8_t *memory; /* of HEADS_BYTES, touched as far as there are buckets */
    size_t count;    /* of buckets, but for those new since the last doubling: a power of two */
    size_t split;    /* so many of them are divided already */
    size_t bytes;    /* that buckets hold */
} heads_t;

/* Sets all but the value of `out`; false: not known. `key` is a user's. */
bool heads_find(const heads_t *self, slice_t key, record_t *out);
/* Keeps what stands before the record's value, or nothing of the key. */
void heads_put(heads_t *self, slice_t key, const record_t *record);
void heads_remove(heads_t *self, slice_t key);
void heads_free(heads_t *self);

#endif
