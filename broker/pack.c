/* pack.c: the growing buffer, and msgpack writers onto it.
 *
 * Owns: the buffer's memory. Writing is msgpack-c's packer with the buffer as its sink.
 *
 * Invariants
 *  1. size <= capacity; data is NULL only while capacity is 0.
 *  2. Once `failed` is set nothing more is written, until buffer_reset or buffer_free.
 */
#include "broker/pack.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FIRST_BYTES 256u
/* Below this a copy is cheaper than giving the memory away and growing a new buffer. */
#define BUFFER_COPY_BYTES 4096u

uint8_t *buffer_extend(buffer_t *self, size_t size) {
    if (self->failed || size == 0)
        return NULL;
    if (size > self->capacity - self->size) {
        size_t capacity = self->capacity ? self->capacity : BUFFER_FIRST_BYTES;
        while (capacity - self->size < size && capacity <= SIZE_MAX / 2)
            capacity *= 2;
        uint8_t *grown = capacity - self->size < size ? NULL : realloc(self->data, capacity);
        if (!grown) {
            self->failed = true;
            return NULL;
        }
        self->data = grown;
        self->capacity = capacity;
    }
    self->size += size;
    return self->data + self->size - size;
}

void buffer_append(buffer_t *self, const void *data, size_t size) {
    uint8_t *room = buffer_extend(self, size);
    if (room)
        memcpy(room, data, size);
}

void buffer_reset(buffer_t *self) {
    self->size = 0;
    self->failed = false;
}

void buffer_free(buffer_t *self) {
    free(self->data);
    memset(self, 0, sizeof *self);
}

payload_t *buffer_take(buffer_t *self) {
    payload_t *payload = NULL;
    if (!self->failed && self->size < BUFFER_COPY_BYTES) {
        payload = payload_copy(self->data, self->size);
    } else if (!self->failed) {
        /* The payload may live long: give back what it does not need. */
        uint8_t *data = realloc(self->data, self->size);
        if (data)
            self->data = data;
        payload = payload_wrap(self->data, self->size, free, self->data);
        if (payload)
            memset(self, 0, sizeof *self);
        else
            self->capacity = self->size;
    }
    buffer_reset(self);
    return payload;
}

static int packer_write(void *sink, const char *data, size_t size) {
    buffer_t *self = sink;
    buffer_append(self, data, size);
    return self->failed ? -1 : 0;
}

static msgpack_packer packer(buffer_t *self) {
    return (msgpack_packer){.data = self, .callback = packer_write};
}

/* The packer's own results are not needed: a failure can only come from packer_write, which has
 * recorded it in the buffer. */

void pack_array(buffer_t *self, size_t count) {
    msgpack_packer to = packer(self);
    (void) msgpack_pack_array(&to, count);
}

void pack_map(buffer_t *self, size_t count) {
    msgpack_packer to = packer(self);
    (void) msgpack_pack_map(&to, count);
}

void pack_nil(buffer_t *self) {
    msgpack_packer to = packer(self);
    (void) msgpack_pack_nil(&to);
}

void pack_bool(buffer_t *self, bool value) {
    msgpack_packer to = packer(self);
    (void) (value ? msgpack_pack_true(&to) : msgpack_pack_false(&to));
}

void pack_uint(buffer_t *self, uint64_t value) {
    msgpack_packer to = packer(self);
    (void) msgpack_pack_uint64(&to, value);
}

void pack_int(buffer_t *self, int64_t value) {
    msgpack_packer to = packer(self);
    (void) msgpack_pack_int64(&to, value);
}

static void text_pack(buffer_t *self, const void *data, size_t size) {
    msgpack_packer to = packer(self);
    (void) msgpack_pack_str(&to, size);
    buffer_append(self, data, size);
}

void pack_str(buffer_t *self, const char *text) {
    text_pack(self, text, strlen(text));
}

void pack_bin(buffer_t *self, const void *data, size_t size) {
    msgpack_packer to = packer(self);
    (void) msgpack_pack_bin(&to, size);
    buffer_append(self, data, size);
}

void pack_key(buffer_t *self, const void *data, size_t size) {
    if (utf8_valid(data, size))
        text_pack(self, data, size);
    else
        pack_bin(self, data, size);
}

/* Bytes of the sequence that starts at `at`, 0 when it is not well-formed. The bounds on the second
 * byte keep out overlong forms, surrogates and what lies beyond U+10FFFF (Unicode, table 3-7). */
static size_t utf8_sequence(const uint8_t *at, size_t left) {
    uint8_t first = at[0];
    if (first < 0x80)
        return 1;
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > left)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool utf8_valid(const uint8_t *data, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t step = utf8_sequence(data + at, size - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}
