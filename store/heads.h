/* heads.h: what stands before the values of keys written lately: all that a put needs of the record
 * it replaces, without reading it.
 *
 * Owns: one place for each remainder of a key's hash, taken over by whichever key comes last; more
 * places as more keys come, up to HEADS_MOST. Must not know: layers, stores. A cache: it may forget
 * anything at any time; long keys, and those with a time to live or a lease, are not kept.
 */
#ifndef DRAX_STORE_HEADS_H
#define DRAX_STORE_HEADS_H

#include "store/record.h"

#define HEADS_KEY_BYTES 63u
#define HEADS_MOST 131072u /* places: 12 MiB */

typedef struct head head_t;

/* All zero: an empty one. */
typedef struct heads {
    head_t *places;
    size_t count; /* of places: a power of two */
    size_t taken;
} heads_t;

/* Sets all but the value of `out`; false: not known. `key` is a pair's key. */
bool heads_find(const heads_t *self, slice_t key, record_t *out);
/* Forgets what was known of the key if the record is not to be kept. */
void heads_put(heads_t *self, slice_t key, const record_t *record);
void heads_remove(heads_t *self, slice_t key);
void heads_free(heads_t *self);

#endif
