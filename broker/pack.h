/* pack.h: msgpack for everyone else: a growing buffer, writers, and the bounded pre-scan.
 *
 * pack.c is the only user of msgpack-c; unpack.h reads. Writers remember the first failure in the
 * buffer (`failed`), so a caller checks once, at the end.
 */
#ifndef DRAX_BROKER_PACK_H
#define DRAX_BROKER_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/payload.h"

typedef struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed; /* an allocation failed; the content is not to be used */
} buffer_t;

void buffer_reset(buffer_t *self); /* empties, keeps the memory, forgets a failure */
void buffer_free(buffer_t *self);
void buffer_append(buffer_t *self, const void *data, size_t size);
/* Appends `size` bytes that the caller fills, and returns them; NULL when that failed, or for 0. */
uint8_t *buffer_extend(buffer_t *self, size_t size);
/* Gives the content away as a payload (the buffer is left empty). NULL when failed or no memory. */
payload_t *buffer_take(buffer_t *self);

void pack_array(buffer_t *self, size_t count);
void pack_map(buffer_t *self, size_t count);
void pack_nil(buffer_t *self);
void pack_bool(buffer_t *self, bool value);
void pack_uint(buffer_t *self, uint64_t value);
void pack_int(buffer_t *self, int64_t value);
void pack_str(buffer_t *self, const char *text); /* NUL-terminated */
void pack_bin(buffer_t *self, const void *data, size_t size);
/* As the contract gives keys back: str when valid UTF-8, else bin. */
void pack_key(buffer_t *self, const void *data, size_t size);

bool utf8_valid(const uint8_t *data, size_t size);

/* Walks one msgpack value at the start of `bytes` without allocating: DRAX_EPROTO when it is
 * truncated or uses a reserved byte, DRAX_ETOOLARGE when it nests deeper than `depth` or declares
 * more than `elements` in all, or a length that does not fit in the bytes at hand. `*used` is its
 * size. */
int pack_scan(slice_t bytes, size_t depth, size_t elements, size_t *used);

#endif
