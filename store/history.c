/* history.c: history records, written and read (grammar in history.h).
 *
 * Invariants
 *  1. What a record names of the payload lies in it in the order of the changes; anything else is
 *     copied, so a gap is never negative.
 *  2. A reader believes nothing: every size is checked against what is at hand.
 */
#include "store/history.h"

#include <string.h>

#include "broker/error.h"
#include "store/record.h"
#include "store/varint.h"

#define TYPE_MASK 3u
#define HISTORY_NEXT 4u
#define HISTORY_KEY_HERE 8u
#define HISTORY_VALUE_HERE 16u
#define HEAD_BITS (TYPE_MASK | HISTORY_NEXT | HISTORY_KEY_HERE | HISTORY_VALUE_HERE)

void history_key(uint8_t out[HISTORY_KEY_BYTES], uint64_t first) {
    out[0] = PREFIX_HISTORY;
    be64_write(out + 1, first);
}

int history_key_parse(slice_t key, uint64_t *first) {
    if (key.size != HISTORY_KEY_BYTES || key.data[0] != PREFIX_HISTORY)
        return DRAX_ECORRUPT;
    *first = be64_read(key.data + 1);
    return 0;
}

/* ---- writing ---- */

void history_begin(history_writer_t *self, uint64_t index, slice_t payload) {
    uint8_t head[HISTORY_HEAD_BYTES] = {0};
    be64_write(head, index);
    buffer_reset(&self->record);
    buffer_append(&self->record, head, sizeof head);
    self->payload = index ? payload : (slice_t){NULL, 0};
    self->now = (history_mark_t){.size = sizeof head, .total = self->now.total};
}

/* Is it in the payload, behind what was named last? Addresses are compared as numbers: `bytes` may
 * lie anywhere. */
static bool named(const history_writer_t *self, slice_t bytes) {
    uintptr_t from = (uintptr_t) self->payload.data, at = (uintptr_t) bytes.data;
    return self->payload.size && at >= from + self->now.at &&
           at + bytes.size <= from + self->payload.size;
}

static void bytes_add(history_writer_t *self, slice_t bytes, bool here) {
    uint8_t numbers[2 * VARINT_BYTES];
    size_t size = 0;
    if (!here) {
        size_t at = (size_t) (bytes.data - self->payload.data);
        size = varint_write(numbers, at - self->now.at);
        self->now.at = at + bytes.size;
    }
    size += varint_write(numbers + size, bytes.size);
    buffer_append(&self->record, numbers, size);
    if (here && bytes.size)
        buffer_append(&self->record, bytes.data, bytes.size);
}

void history_add(history_writer_t *self, const history_change_t *change) {
    bool has_value = change->type == HISTORY_PUT;
    bool key_here = !named(self, change->key);
    uint8_t head = (uint8_t) change->type;
    if (change->revision != self->now.last && self->now.last)
        head |= HISTORY_NEXT;
    if (key_here)
        head |= HISTORY_KEY_HERE;
    size_t head_at = self->record.size;
    buffer_append(&self->record, &head, 1);
    bytes_add(self, change->key, key_here);
    if (has_value) {
        bool value_here = !named(self, change->value);
        bytes_add(self, change->value, value_here);
        if (value_here && !self->record.failed)
            self->record.data[head_at] |= HISTORY_VALUE_HERE;
    }
    if (!self->now.first)
        self->now.first = change->revision;
    self->now.last = change->revision;
    self->now.total += change->key.size + (has_value ? change->value.size : 0);
    self->now.size = self->record.size;
}

void history_rewind(history_writer_t *self, const history_mark_t *mark) {
    self->now = *mark;
    if (!self->record.failed)
        self->record.size = mark->size;
}

slice_t history_end(history_writer_t *self) {
    if (self->record.failed || !self->now.first)
        return (slice_t){NULL, 0};
    be64_write(self->record.data + 8, self->now.last);
    be64_write(self->record.data + 16, self->now.total);
    return (slice_t){self->record.data, self->record.size};
}

void history_writer_free(history_writer_t *self) {
    buffer_free(&self->record);
}

/* ---- reading ---- */

int history_open(history_reader_t *out, uint64_t first, slice_t record) {
    if (record.size <= HISTORY_HEAD_BYTES)
        return DRAX_ECORRUPT;
    *out = (history_reader_t){
        .index = be64_read(record.data),
        .first = first,
        .last = be64_read(record.data + 8),
        .total = be64_read(record.data + 16),
        .rest = {record.data + HISTORY_HEAD_BYTES, record.size - HISTORY_HEAD_BYTES},
        .revision = first,
    };
    return out->last >= first ? 0 : DRAX_ECORRUPT;
}

void history_payload(history_reader_t *self, slice_t payload) {
    self->payload = payload;
}

static int take(slice_t *rest, size_t size, slice_t *out) {
    if (size > rest->size)
        return DRAX_ECORRUPT;
    *out = (slice_t){rest->data, size};
    if (size) /* there may be no bytes at all */
        *rest = (slice_t){rest->data + size, rest->size - size};
    return 0;
}

/* The payload of the reader shrinks from the front, so a gap counts from where the last one ended.
 */
static int bytes_take(history_reader_t *self, bool here, slice_t *out) {
    uint64_t gap = 0, size;
    slice_t skipped;
    if (!here && varint_take(&self->rest, &gap))
        return DRAX_ECORRUPT;
    if (varint_take(&self->rest, &size))
        return DRAX_ECORRUPT;
    slice_t *from = here ? &self->rest : &self->payload;
    int rc = take(from, gap, &skipped);
    return rc ? rc : take(from, size, out);
}

int history_next(history_reader_t *self, history_change_t *out) {
    slice_t head;
    if (!self->rest.size)
        return self->revision == self->last ? 0 : DRAX_ECORRUPT;
    if (take(&self->rest, 1, &head) || (head.data[0] & ~HEAD_BITS) ||
        (head.data[0] & TYPE_MASK) > HISTORY_EXPIRE)
        return DRAX_ECORRUPT;
    if (head.data[0] & HISTORY_NEXT)
        self->revision++;
    *out = (history_change_t){.revision = self->revision,
                              .type = (history_type_t) (head.data[0] & TYPE_MASK)};
    int rc = bytes_take(self, head.data[0] & HISTORY_KEY_HERE, &out->key);
    if (rc == 0 && out->type == HISTORY_PUT)
        rc = bytes_take(self, head.data[0] & HISTORY_VALUE_HERE, &out->value);
    return rc ? rc : 1;
}

int history_copy(history_writer_t *out, history_reader_t *in) {
    history_change_t change;
    int rc;
    history_begin(out, 0, (slice_t){NULL, 0});
    while ((rc = history_next(in, &change)) == 1)
        history_add(out, &change);
    out->now.total = in->total;
    return rc;
}

/* ---- for clients ---- */

void history_change_pack(buffer_t *out, const history_change_t *change) {
    static const char *const names[] = {
        [HISTORY_PUT] = "put", [HISTORY_DELETE] = "delete", [HISTORY_EXPIRE] = "expire"};
    pack_map(out, change->type == HISTORY_PUT ? 4 : 3);
    pack_str(out, "type");
    pack_str(out, names[change->type]);
    pack_str(out, "key");
    pack_key(out, change->key.data, change->key.size);
    if (change->type == HISTORY_PUT) {
        pack_str(out, "value");
        pack_bin(out, change->value.data, change->value.size);
    }
    pack_str(out, "index");
    pack_uint(out, change->revision);
}
