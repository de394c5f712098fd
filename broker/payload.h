/* payload.h: immutable, reference-counted bytes; one copy in, none after.
 *
 * Owns: the bytes and their count. A payload may be shared between threads (ZeroMQ's I/O thread
 * releases what was sent), so the count is atomic; the bytes never change once shared.
 */
#ifndef DRAX_BROKER_PAYLOAD_H
#define DRAX_BROKER_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

typedef struct payload payload_t;

/* A borrowed run of bytes. `data` may be NULL only when `size` is 0. */
typedef struct slice {
    const uint8_t *data;
    size_t size;
} slice_t;

/* New payload of `size` uninitialised bytes, to be filled through payload_bytes() before it is
 * shared. NULL when out of memory. The caller owns one reference. */
payload_t *payload_new(size_t size);

/* New payload holding a copy of `size` bytes at `data`. NULL when out of memory. */
payload_t *payload_copy(const void *data, size_t size);

/* New payload that takes over foreign bytes: `release(hint)` is called, on any thread, when the
 * last reference goes. NULL when out of memory; the bytes then still belong to the caller. */
payload_t *payload_wrap(const void *data, size_t size, void (*release)(void *hint), void *hint);

/* One more reference to `self`, which is returned. NULL gives NULL. */
payload_t *payload_ref(payload_t *self);

/* Drops the reference at `*self` and sets it to NULL. A NULL `*self` is allowed. */
void payload_unref(payload_t **self);

const uint8_t *payload_data(const payload_t *self); /* NULL self: NULL */
size_t payload_size(const payload_t *self);         /* NULL self: 0 */
slice_t payload_slice(const payload_t *self);

/* The bytes, writable. Only for the sole owner of a payload from payload_new or payload_copy. */
uint8_t *payload_bytes(payload_t *self);

#endif
