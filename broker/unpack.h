/* unpack.h: reading msgpack in place: one item at a time, without allocating.
 *
 * Slices borrow from the bytes read. unpack_item is the one place that knows the encoding;
 * pack_scan (pack.h) and the reader stand on it. Like a buffer, a reader remembers its first
 * failure, so a caller reads a run of fields and checks `code` once: after a failure every call
 * gives 0, false or an empty slice and reads nothing.
 */
#ifndef DRAX_BROKER_UNPACK_H
#define DRAX_BROKER_UNPACK_H

#include "broker/pack.h"

typedef enum {
    ITEM_NIL,
    ITEM_BOOL,  /* number: 0 or 1 */
    ITEM_UINT,  /* number; any encoding of an integer that is not negative */
    ITEM_INT,   /* negative: an integer below 0 */
    ITEM_FLOAT, /* the value is not kept: nothing in Drax is a float */
    ITEM_STR,   /* bytes */
    ITEM_BIN,   /* bytes */
    ITEM_EXT,   /* bytes, without the type */
    ITEM_ARRAY, /* count items follow */
    ITEM_MAP    /* count keys and values follow */
} item_type_t;

typedef struct item {
    item_type_t type;
    uint64_t number;
    int64_t negative;
    size_t count;
    slice_t bytes;
} item_t;

/* Takes one item off the front of `rest`: a whole scalar, or the head of an array or map.
 * DRAX_EPROTO: the bytes end within a head, or a reserved byte. DRAX_ETOOLARGE: a string longer
 * than what is left, or more elements than there are bytes. `rest` is unchanged after an error. */
int unpack_item(slice_t *rest, item_t *out);

typedef struct unpack {
    slice_t rest;
    int code; /* 0, or DRAX_EPROTO: the first failure */
} unpack_t;

unpack_t unpack_begin(slice_t bytes);
/* 0 when nothing failed and all bytes were read, else DRAX_EPROTO. */
int unpack_end(const unpack_t *self);
/* Records a failure that the caller found. */
void unpack_fail(unpack_t *self);

/* Each reads one item and fails when it has another type or is out of range. */
uint64_t unpack_uint(unpack_t *self, uint64_t max);
int64_t unpack_int(unpack_t *self, int64_t min, int64_t max);
bool unpack_bool(unpack_t *self);
slice_t unpack_str(unpack_t *self);
slice_t unpack_bin(unpack_t *self);
size_t unpack_array(unpack_t *self, size_t max);
/* Reads an array's head and fails unless it has exactly `count` elements. */
void unpack_arity(unpack_t *self, size_t count);
/* Reads nil and gives true; at anything else reads nothing and gives false. */
bool unpack_nil(unpack_t *self);

#endif
