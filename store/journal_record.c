/* journal_record.c: encodes and checks the layout that journal_record.h states. Pure functions. */
#include "store/journal_record.h"
#include "store/hash.h"

#include <string.h>

#define HEAD_HASHED_BYTES 48u
#define HEAD_CHECK_OFFSET 6u

static uint64_t head_hash(const uint8_t *bytes, uint64_t prev, uint64_t salt);

static void put_u32(uint8_t *out, uint32_t value) {
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t) (value >> (8 * i));
}

static void put_u64(uint8_t *out, uint64_t value) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t) (value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *bytes) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t) bytes[i] << (8 * i);
    return value;
}

static uint64_t get_u64(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t) bytes[i] << (8 * i);
    return value;
}

void header_encode(uint8_t *out, header_t *header) {
    const uint64_t fields[] = {
        header->sequence,     header->base,           header->capacity,   header->salt,
        header->durable,      header->prev,           header->last_index, header->last_term,
        header->last_time_ms, header->first_sequence, header->term,       header->vote,
        header->used,
    };
    _Static_assert(16 + sizeof fields + 8 == HEADER_BYTES, "the header's fields fill it");
    memcpy(out, JOURNAL_MAGIC, 8);
    put_u32(out + 8, JOURNAL_VERSION);
    put_u32(out + 12, HEADER_BYTES);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        put_u64(out + 16 + 8 * i, fields[i]);
    header->checksum = XXH3_64bits(out, HEADER_BYTES - 8);
    put_u64(out + HEADER_BYTES - 8, header->checksum);
}

header_result_t header_decode(header_t *out, const uint8_t *bytes) {
    memset(out, 0, sizeof *out);
    if (memcmp(bytes, JOURNAL_MAGIC, 8) != 0)
        return HEADER_BAD;
    if (get_u64(bytes + HEADER_BYTES - 8) != XXH3_64bits(bytes, HEADER_BYTES - 8))
        return HEADER_BAD;
    if (get_u32(bytes + 8) != JOURNAL_VERSION || get_u32(bytes + 12) != HEADER_BYTES)
        return HEADER_OTHER_VERSION;
    uint64_t *const fields[] = {
        &out->sequence, &out->base,       &out->capacity,  &out->salt,         &out->durable,
        &out->prev,     &out->last_index, &out->last_term, &out->last_time_ms, &out->first_sequence,
        &out->term,     &out->vote,       &out->used,
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        *fields[i] = get_u64(bytes + 16 + 8 * i);
    out->checksum = get_u64(bytes + HEADER_BYTES - 8);
    return HEADER_GOOD;
}

void record_encode(uint8_t *out, record_t *record, const uint8_t *body, uint64_t salt) {
    put_u32(out, record->length);
    out[4] = (uint8_t) record->kind;
    out[5] = record->entry_kind;
    out[6] = 0;
    out[7] = 0;
    put_u64(out + 8, record->prev);
    put_u64(out + 16, record->durable);
    put_u64(out + 24, record->index);
    put_u64(out + 32, record->term);
    put_u64(out + 40, record->time_ms);
    uint64_t head = head_hash(out, record->prev, salt);
    out[HEAD_CHECK_OFFSET] = (uint8_t) head;
    out[HEAD_CHECK_OFFSET + 1] = (uint8_t) (head >> 8);
    record->checksum = XXH3_64bits_withSeed(body, record->length, head);
    put_u64(out + 48, record->checksum);
}

bool record_head_decode(record_t *out, const uint8_t *bytes, uint64_t available, uint64_t salt) {
    if (available < RECORD_BYTES || bytes[4] == RECORD_NONE || bytes[4] >= RECORD_KIND_END)
        return false;
    out->length = get_u32(bytes);
    if (record_size(out->length) > available)
        return false;
    out->kind = (record_kind_t) bytes[4];
    out->entry_kind = bytes[5];
    out->prev = get_u64(bytes + 8);
    out->durable = get_u64(bytes + 16);
    out->index = get_u64(bytes + 24);
    out->term = get_u64(bytes + 32);
    out->time_ms = get_u64(bytes + 40);
    out->checksum = get_u64(bytes + 48);
    uint64_t head = head_hash(bytes, out->prev, salt);
    return bytes[HEAD_CHECK_OFFSET] == (uint8_t) head &&
           bytes[HEAD_CHECK_OFFSET + 1] == (uint8_t) (head >> 8);
}

bool record_valid(const record_t *record, const uint8_t *bytes, uint64_t salt) {
    const uint8_t *body = bytes + RECORD_BYTES;
    uint64_t head = head_hash(bytes, record->prev, salt);
    if (XXH3_64bits_withSeed(body, record->length, head) != record->checksum)
        return false;
    for (uint64_t i = RECORD_BYTES + record->length; i < record_size(record->length); i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* The hash of a record's head, with head_check taken as 0. */
static uint64_t head_hash(const uint8_t *bytes, uint64_t prev, uint64_t salt) {
    uint8_t head[HEAD_HASHED_BYTES];
    memcpy(head, bytes, sizeof head);
    head[HEAD_CHECK_OFFSET] = 0;
    head[HEAD_CHECK_OFFSET + 1] = 0;
    return XXH3_64bits_withSeed(head, sizeof head, salt + prev);
}
