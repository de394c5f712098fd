/* record_lock.c: records of locks and of those that wait for them; grammar in record.h. */
#include <assert.h>

#include "broker/error.h"
#include "store/record.h"

#define LOCK_HEAD_BYTES 9u
#define WAITER_NUMBERS 6u
#define WAITER_HEAD_BYTES (8 * WAITER_NUMBERS + 1)

/* ---- keys ---- */

static void key_number(record_key_t *out, char prefix, uint64_t number) {
    out->bytes[0] = (uint8_t) prefix;
    be64_write(out->bytes + 1, number);
    out->size = 9;
}

static int key_number_parse(slice_t key, char prefix, uint64_t *number) {
    if (key.size != 9 || key.data[0] != prefix)
        return DRAX_ECORRUPT;
    *number = be64_read(key.data + 1);
    return *number ? 0 : DRAX_ECORRUPT;
}

void record_key_lock(record_key_t *out, uint64_t lease) {
    key_number(out, PREFIX_LOCK, lease);
}

int record_key_lock_parse(slice_t key, uint64_t *lease) {
    return key_number_parse(key, PREFIX_LOCK, lease);
}

void record_key_waiter(record_key_t *out, uint64_t waiter) {
    key_number(out, PREFIX_WAITER, waiter);
}

int record_key_waiter_parse(slice_t key, uint64_t *waiter) {
    return key_number_parse(key, PREFIX_WAITER, waiter);
}

void record_key_next(record_key_t *out, slice_t key, uint64_t waiter) {
    assert(key.size <= LIMIT_KEY_BYTES);
    out->bytes[0] = PREFIX_NEXT;
    out->bytes[1] = (uint8_t) (key.size >> 8);
    out->bytes[2] = (uint8_t) key.size;
    memcpy(out->bytes + 3, key.data, key.size);
    be64_write(out->bytes + 3 + key.size, waiter);
    out->size = 3 + key.size + 8;
}

int record_key_next_parse(slice_t key, slice_t *user_key, uint64_t *waiter) {
    if (key.size < 11 || key.data[0] != PREFIX_NEXT)
        return DRAX_ECORRUPT;
    size_t size = (size_t) key.data[1] << 8 | key.data[2];
    if (key.size != 11 + size)
        return DRAX_ECORRUPT;
    *user_key = (slice_t){key.data + 3, size};
    *waiter = be64_read(key.data + 3 + size);
    return 0;
}

void record_key_waiting(record_key_t *out, slice_t client, uint64_t seq) {
    record_key_answers(out, client, seq);
    out->bytes[0] = PREFIX_WAITING;
}

/* ---- records ---- */

int lock_parse(slice_t bytes, lock_t *out) {
    if (bytes.size <= LOCK_HEAD_BYTES || bytes.size > LOCK_HEAD_BYTES + LIMIT_KEY_BYTES ||
        bytes.data[8] > 1)
        return DRAX_ECORRUPT;
    *out = (lock_t){.waiter = be64_read(bytes.data),
                    .taken = bytes.data[8],
                    .key = {bytes.data + LOCK_HEAD_BYTES, bytes.size - LOCK_HEAD_BYTES}};
    return 0;
}

void lock_write(const lock_t *self, buffer_t *out) {
    uint8_t head[LOCK_HEAD_BYTES];
    be64_write(head, self->waiter);
    head[8] = self->taken;
    buffer_append(out, head, sizeof head);
    buffer_append(out, self->key.data, self->key.size);
}

/* Takes `size` bytes off the front of `rest`. */
static int part_take(slice_t *rest, size_t size, slice_t *out) {
    if (size > rest->size)
        return DRAX_ECORRUPT;
    *out = (slice_t){rest->data, size};
    *rest = (slice_t){rest->data + size, rest->size - size};
    return 0;
}

int waiter_parse(slice_t bytes, waiter_t *out) {
    slice_t head, size;
    if (part_take(&bytes, WAITER_HEAD_BYTES, &head) || head.data[48] > 1)
        return DRAX_ECORRUPT;
    *out = (waiter_t){.lease = be64_read(head.data),
                      .revision = be64_read(head.data + 8),
                      .node = be64_read(head.data + 16),
                      .ttl_ms = be64_read(head.data + 24),
                      .arguments = be64_read(head.data + 32),
                      .seq = be64_read(head.data + 40),
                      .has_value = head.data[48]};
    if (part_take(&bytes, 1, &size) || size.data[0] > LIMIT_CLIENT_ID_BYTES ||
        part_take(&bytes, size.data[0], &out->client))
        return DRAX_ECORRUPT;
    if (part_take(&bytes, 2, &size) ||
        part_take(&bytes, (size_t) size.data[0] << 8 | size.data[1], &out->key) ||
        out->key.size == 0 || out->key.size > LIMIT_KEY_BYTES)
        return DRAX_ECORRUPT;
    out->value = bytes;
    return 0;
}

void waiter_write(const waiter_t *self, buffer_t *out) {
    const uint64_t numbers[WAITER_NUMBERS] = {self->lease,  self->revision,  self->node,
                                              self->ttl_ms, self->arguments, self->seq};
    uint8_t head[WAITER_HEAD_BYTES];
    for (size_t i = 0; i < WAITER_NUMBERS; i++)
        be64_write(head + 8 * i, numbers[i]);
    head[48] = self->has_value;
    buffer_append(out, head, sizeof head);
    const uint8_t client_size = (uint8_t) self->client.size;
    const uint8_t key_size[] = {(uint8_t) (self->key.size >> 8), (uint8_t) self->key.size};
    buffer_append(out, &client_size, 1);
    buffer_append(out, self->client.data, self->client.size);
    buffer_append(out, key_size, sizeof key_size);
    buffer_append(out, self->key.data, self->key.size);
    buffer_append(out, self->value.data, self->value.size);
}
