/* record.c: see record.h for the grammar. Readers trust nothing: bytes on a disk may be damaged. */
#include "store/record.h"

#include <assert.h>
#include <xxhash.h>

#include "broker/error.h"

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

void record_key_answer(record_key_t *out, slice_t client, uint64_t seq) {
    record_key_session(out, client);
    key_add_number(out, seq);
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

int record_key_session_parse(slice_t key, slice_t *client, uint64_t *seq) {
    slice_t rest = {NULL, 0};
    if (key.size < 1 || key.data[0] != PREFIX_SESSION ||
        client_parse((slice_t){key.data + 1, key.size - 1}, client, &rest))
        return DRAX_ECORRUPT;
    if (rest.size != 0 && rest.size != 8)
        return DRAX_ECORRUPT;
    *seq = rest.size ? be64_read(rest.data) : 0;
    return rest.size && *seq == 0 ? DRAX_ECORRUPT : 0;
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
    if (bytes.size < RECORD_HEADER_BYTES)
        return DRAX_ECORRUPT;
    const uint8_t *at = bytes.data;
    *out = (record_t){
        .index = be64_read(at),
        .created = be64_read(at + 8),
        .version = be64_read(at + 16),
        .due_ms = be64_read(at + 24),
        .lease = be64_read(at + 32) & ~LOCKED_BIT,
        .locked = be64_read(at + 32) & LOCKED_BIT,
        .hash = be64_read(at + 40),
        .value = {at + RECORD_HEADER_BYTES, bytes.size - RECORD_HEADER_BYTES},
    };
    return 0;
}

static void header_write(const record_t *self, uint8_t *out) {
    be64_write(out, self->index);
    be64_write(out + 8, self->created);
    be64_write(out + 16, self->version);
    be64_write(out + 24, self->due_ms);
    be64_write(out + 32, self->lease | (self->locked ? LOCKED_BIT : 0));
}

static uint64_t header_hash(const record_t *self, slice_t key, const uint8_t *header) {
    uint64_t hash = XXH3_64bits(key.data, key.size);
    hash = XXH3_64bits_withSeed(header, RECORD_HEADER_BYTES - 8, hash);
    return XXH3_64bits_withSeed(self->value.data, self->value.size, hash);
}

void record_write(record_t *self, slice_t key, uint8_t *out) {
    header_write(self, out);
    self->hash = header_hash(self, key, out);
    be64_write(out + 40, self->hash);
    if (self->value.size)
        memcpy(out + RECORD_HEADER_BYTES, self->value.data, self->value.size);
}

uint64_t record_hash(const record_t *self, slice_t key) {
    uint8_t header[RECORD_HEADER_BYTES];
    header_write(self, header);
    return header_hash(self, key, header);
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

int session_parse(slice_t bytes, session_t *out) {
    uint64_t numbers[5];
    if (numbers_parse(bytes, SESSION_BYTES, numbers, 5))
        return DRAX_ECORRUPT;
    *out = (session_t){.used_ms = numbers[0],
                       .count = numbers[1],
                       .low = numbers[2],
                       .high = numbers[3],
                       .floor = numbers[4]};
    return 0;
}

void session_write(const session_t *self, uint8_t out[SESSION_BYTES]) {
    be64_write(out, self->used_ms);
    be64_write(out + 8, self->count);
    be64_write(out + 16, self->low);
    be64_write(out + 24, self->high);
    be64_write(out + 32, self->floor);
}

int answer_parse(slice_t bytes, answer_t *out) {
    if (bytes.size < ANSWER_WHOLE_BYTES)
        return DRAX_ECORRUPT;
    *out = (answer_t){.arguments = be64_read(bytes.data), .code = bytes.data[8]};
    if (out->code == ANSWER_WHOLE) {
        out->outcome = (slice_t){bytes.data + ANSWER_WHOLE_BYTES, bytes.size - ANSWER_WHOLE_BYTES};
        return 0;
    }
    if (bytes.size != ANSWER_BYTES)
        return DRAX_ECORRUPT;
    out->index = be64_read(bytes.data + 9);
    out->revision = be64_read(bytes.data + 17);
    out->number = be64_read(bytes.data + 25);
    return 0;
}

size_t answer_size(const answer_t *self) {
    return self->code == ANSWER_WHOLE ? ANSWER_WHOLE_BYTES + self->outcome.size : ANSWER_BYTES;
}

void answer_write(const answer_t *self, uint8_t *out) {
    be64_write(out, self->arguments);
    out[8] = self->code;
    if (self->code == ANSWER_WHOLE) {
        memcpy(out + ANSWER_WHOLE_BYTES, self->outcome.data, self->outcome.size);
        return;
    }
    be64_write(out + 9, self->index);
    be64_write(out + 17, self->revision);
    be64_write(out + 25, self->number);
}
