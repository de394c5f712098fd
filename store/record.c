/* record.c: see record.h for the grammar. Readers trust nothing: bytes on a disk may be damaged. */
#include "store/record.h"

#include <assert.h>

#include "store/hash.h"
#include "store/varint.h"

#define LOCKED_BIT (1ull << 63)

/* ---- keys ---- */

slice_t record_key(const record_key_t *self) {
    return (slice_t){self->bytes, self->size};
}

static void key_begin(record_key_t *out, char prefix) {
    out->bytes[0] = (uint8_t) prefix;
    out->size = 1;
}

static void key_add(record_key_t *out, slice_t part) {
    assert(part.size <= sizeof out->bytes - out->size);
    if (part.size)
        memcpy(out->bytes + out->size, part.data, part.size);
    out->size += part.size;
}

static void key_add_number(record_key_t *out, uint64_t number) {
    be64_write(out->bytes + out->size, number);
    out->size += 8;
}

static void key_add_client(record_key_t *out, slice_t client) {
    assert(client.size <= LIMIT_CLIENT_ID_BYTES);
    out->bytes[out->size++] = (uint8_t) client.size;
    key_add(out, client);
}

void record_key_user(record_key_t *out, slice_t key) {
    key_begin(out, PREFIX_USER);
    key_add(out, key);
}

void record_key_origin(record_key_t *out, uint64_t node) {
    key_begin(out, PREFIX_ORIGIN);
    key_add_number(out, node);
}

void record_key_session(record_key_t *out, slice_t client) {
    key_begin(out, PREFIX_SESSION);
    key_add_client(out, client);
}

void record_key_answers(record_key_t *out, slice_t client, uint64_t page) {
    record_key_session(out, client);
    key_add_number(out, page);
}

void record_key_outcome(record_key_t *out, slice_t client, uint64_t seq) {
    record_key_answers(out, client, seq / ANSWERS_PAGE);
    out->bytes[out->size++] = (uint8_t) (seq % ANSWERS_PAGE);
}

void record_key_lease(record_key_t *out, uint64_t lease) {
    key_begin(out, PREFIX_LEASE);
    key_add_number(out, lease);
}

void record_key_lease_key(record_key_t *out, uint64_t lease, slice_t key) {
    key_begin(out, PREFIX_LEASE_KEY);
    key_add_number(out, lease);
    key_add(out, key);
}

void record_key_lease_due(record_key_t *out, uint64_t due_ms, uint64_t lease) {
    key_begin(out, PREFIX_LEASE_DUE);
    key_add_number(out, due_ms);
    key_add_number(out, lease);
}

void record_key_due(record_key_t *out, uint64_t due_ms, slice_t key) {
    key_begin(out, PREFIX_DUE);
    key_add_number(out, due_ms);
    key_add(out, key);
}

void record_key_used(record_key_t *out, uint64_t used_ms, slice_t client) {
    key_begin(out, PREFIX_USED);
    key_add_number(out, used_ms);
    key_add_client(out, client);
}

int record_key_user_parse(slice_t key, slice_t *user_key) {
    if (!key.size || key.data[0] != PREFIX_USER)
        return DRAX_ECORRUPT;
    *user_key = (slice_t){key.data + 1, key.size - 1};
    return 0;
}

int record_key_origin_parse(slice_t key, uint64_t *node) {
    if (key.size != 9 || key.data[0] != PREFIX_ORIGIN)
        return DRAX_ECORRUPT;
    *node = be64_read(key.data + 1);
    return 0;
}

/* `bytes` begins with a client; *rest is what follows it. */
static int client_parse(slice_t bytes, slice_t *client, slice_t *rest) {
    if (bytes.size == 0 || bytes.data[0] == 0 || bytes.data[0] > LIMIT_CLIENT_ID_BYTES ||
        bytes.size - 1 < bytes.data[0])
        return DRAX_ECORRUPT;
    *client = (slice_t){bytes.data + 1, bytes.data[0]};
    *rest = (slice_t){client->data + client->size, bytes.size - 1 - client->size};
    return 0;
}

int record_key_session_parse(slice_t key, slice_t *client, session_part_t *part, uint64_t *number) {
    slice_t rest = {NULL, 0};
    if (key.size < 1 || key.data[0] != PREFIX_SESSION ||
        client_parse((slice_t){key.data + 1, key.size - 1}, client, &rest))
        return DRAX_ECORRUPT;
    *number = 0;
    *part = SESSION_PART_HEAD;
    if (rest.size == 0)
        return 0;
    if (rest.size < 8 || rest.size > 9)
        return DRAX_ECORRUPT;
    *number = be64_read(rest.data);
    *part = rest.size == 8 ? SESSION_PART_ANSWERS : SESSION_PART_OUTCOME;
    if (*number > UINT64_MAX / ANSWERS_PAGE || (rest.size == 9 && rest.data[8] >= ANSWERS_PAGE))
        return DRAX_ECORRUPT;
    if (rest.size == 9)
        *number = *number * ANSWERS_PAGE + rest.data[8];
    return 0;
}

/* A prefix, a number, and a rest that is not empty. */
static int numbered_parse(slice_t key, char prefix, uint64_t *number, slice_t *rest) {
    if (key.size < 10 || key.data[0] != prefix)
        return DRAX_ECORRUPT;
    *number = be64_read(key.data + 1);
    *rest = (slice_t){key.data + 9, key.size - 9};
    return 0;
}

int record_key_due_parse(slice_t key, uint64_t *due_ms, slice_t *user_key) {
    return numbered_parse(key, PREFIX_DUE, due_ms, user_key);
}

int record_key_lease_key_parse(slice_t key, uint64_t *lease, slice_t *user_key) {
    return numbered_parse(key, PREFIX_LEASE_KEY, lease, user_key);
}

int record_key_lease_due_parse(slice_t key, uint64_t *due_ms, uint64_t *lease) {
    slice_t rest;
    if (numbered_parse(key, PREFIX_LEASE_DUE, due_ms, &rest) || rest.size != 8)
        return DRAX_ECORRUPT;
    *lease = be64_read(rest.data);
    return 0;
}

int record_key_lease_parse(slice_t key, uint64_t *lease) {
    if (key.size != 9 || key.data[0] != PREFIX_LEASE)
        return DRAX_ECORRUPT;
    *lease = be64_read(key.data + 1);
    return *lease ? 0 : DRAX_ECORRUPT;
}

int record_key_used_parse(slice_t key, uint64_t *used_ms, slice_t *client) {
    slice_t rest = {NULL, 0};
    if (key.size < 9 || key.data[0] != PREFIX_USED ||
        client_parse((slice_t){key.data + 9, key.size - 9}, client, &rest) || rest.size)
        return DRAX_ECORRUPT;
    *used_ms = be64_read(key.data + 1);
    return 0;
}

/* ---- records ---- */

/* Reads `count` numbers from bytes of exactly `size`. */
static int numbers_parse(slice_t bytes, size_t size, uint64_t *out, size_t count) {
    if (bytes.size != size)
        return DRAX_ECORRUPT;
    for (size_t i = 0; i < count; i++)
        out[i] = be64_read(bytes.data + 8 * i);
    return 0;
}

int record_parse(slice_t bytes, record_t *out) {
    if (bytes.size < 8)
        return DRAX_ECORRUPT;
    *out = (record_t){.hash = be64_read(bytes.data)};
    slice_t rest = {bytes.data + 8, bytes.size - 8};
    uint64_t *const numbers[] = {&out->index, &out->created, &out->version, &out->due_ms,
                                 &out->lease};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (varint_take(&rest, numbers[i]))
            return DRAX_ECORRUPT;
    out->locked = out->lease & 1;
    out->lease >>= 1;
    out->value = rest;
    return 0;
}

size_t record_header_write(const record_t *self, uint8_t out[RECORD_HEADER_BYTES]) {
    be64_write(out, self->hash);
    size_t size = 8;
    size += varint_write(out + size, self->index);
    size += varint_write(out + size, self->created);
    size += varint_write(out + size, self->version);
    size += varint_write(out + size, self->due_ms);
    return size + varint_write(out + size, self->lease << 1 | self->locked);
}

uint64_t record_hash(const record_t *self, slice_t key) {
    uint8_t numbers[5 * 8];
    be64_write(numbers, self->index);
    be64_write(numbers + 8, self->created);
    be64_write(numbers + 16, self->version);
    be64_write(numbers + 24, self->due_ms);
    be64_write(numbers + 32, self->lease | (self->locked ? LOCKED_BIT : 0));
    uint64_t hash = XXH3_64bits(key.data, key.size);
    hash = XXH3_64bits_withSeed(numbers, sizeof numbers, hash);
    return XXH3_64bits_withSeed(self->value.data, self->value.size, hash);
}

uint64_t record_hash_plain(slice_t key, slice_t value) {
    return XXH3_64bits_withSeed(value.data, value.size, XXH3_64bits(key.data, key.size));
}

int lease_parse(slice_t bytes, lease_t *out) {
    uint64_t numbers[4];
    if (numbers_parse(bytes, LEASE_BYTES, numbers, 4) || bytes.data[32] > 1)
        return DRAX_ECORRUPT;
    *out = (lease_t){.ttl_ms = numbers[0],
                     .due_ms = numbers[1],
                     .renewals = numbers[2],
                     .keys = numbers[3],
                     .lock = bytes.data[32]};
    return 0;
}

void lease_write(const lease_t *self, uint8_t out[LEASE_BYTES]) {
    be64_write(out, self->ttl_ms);
    be64_write(out + 8, self->due_ms);
    be64_write(out + 16, self->renewals);
    be64_write(out + 24, self->keys);
    out[32] = self->lock;
}

int origin_parse(slice_t bytes, origin_t *out) {
    uint64_t numbers[2];
    if (numbers_parse(bytes, ORIGIN_BYTES, numbers, 2))
        return DRAX_ECORRUPT;
    out->boot = numbers[0];
    out->last = numbers[1];
    return 0;
}

void origin_write(const origin_t *self, uint8_t out[ORIGIN_BYTES]) {
    be64_write(out, self->boot);
    be64_write(out + 8, self->last);
}
