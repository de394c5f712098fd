/* record_session.c: the records of exactly once: see record.h for the grammar. */

#include "store/hash.h"
#include "store/record.h"
#include "store/varint.h"

int session_parse(slice_t bytes, session_t *out) {
    if (bytes.size != SESSION_BYTES)
        return DRAX_ECORRUPT;
    *out = (session_t){.used_ms = be64_read(bytes.data),
                       .count = be64_read(bytes.data + 8),
                       .low = be64_read(bytes.data + 16),
                       .high = be64_read(bytes.data + 24),
                       .floor = be64_read(bytes.data + 32)};
    return 0;
}

void session_write(const session_t *self, uint8_t out[SESSION_BYTES]) {
    be64_write(out, self->used_ms);
    be64_write(out + 8, self->count);
    be64_write(out + 16, self->low);
    be64_write(out + 24, self->high);
    be64_write(out + 32, self->floor);
}

uint64_t answer_hash(const answer_t *self, slice_t client, uint64_t seq) {
    uint8_t key[2 + LIMIT_CLIENT_ID_BYTES + 8], numbers[4 * 8 + 1];
    key[0] = PREFIX_SESSION;
    key[1] = (uint8_t) client.size;
    memcpy(key + 2, client.data, client.size);
    be64_write(key + 2 + client.size, seq);
    be64_write(numbers, self->arguments);
    numbers[8] = self->code;
    be64_write(numbers + 9, self->index);
    be64_write(numbers + 17, self->revision);
    be64_write(numbers + 25, self->number);
    uint64_t hash = XXH3_64bits(key, 2 + client.size + 8);
    hash = XXH3_64bits_withSeed(numbers, sizeof numbers, hash);
    return XXH3_64bits_withSeed(self->outcome.data, self->outcome.size, hash);
}

int answers_next(slice_t *page, unsigned *at, answer_t *out) {
    if (page->size == 0)
        return 0;
    if (page->size < 10 || page->data[0] >= ANSWERS_PAGE)
        return DRAX_ECORRUPT;
    *at = page->data[0];
    *out = (answer_t){.code = page->data[1], .arguments = be64_read(page->data + 2)};
    *page = (slice_t){page->data + 10, page->size - 10};
    if (out->code == ANSWER_APART)
        return 1;
    return varint_take(page, &out->index) || varint_take(page, &out->revision) ||
                   varint_take(page, &out->number)
               ? DRAX_ECORRUPT
               : 1;
}

size_t answer_write(const answer_t *self, unsigned at, uint8_t out[ANSWER_BYTES]) {
    out[0] = (uint8_t) at;
    out[1] = self->code;
    be64_write(out + 2, self->arguments);
    size_t size = 10;
    if (self->code == ANSWER_APART)
        return size;
    size += varint_write(out + size, self->index);
    size += varint_write(out + size, self->revision);
    return size + varint_write(out + size, self->number);
}
