/* page.c: pairs into an answer, as many as a page holds. */
#include "store/page.h"

#include "broker/error.h"

page_t page_begin(state_t *self, const request_t *request) {
    buffer_reset(&self->pairs);
    return (page_t){
        .pairs = &self->pairs, .limit = request->limit, .keys_only = request->keys_only};
}

int page_add(page_t *self, slice_t key, slice_t bytes) {
    record_t record;
    if (record_parse(bytes, &record))
        return DRAX_ECORRUPT;
    size_t size = key.size + (self->keys_only ? 0 : record.value.size);
    self->full = self->full || (self->limit && self->count == self->limit) ||
                 (self->count && self->pairs->size + size > LIMIT_PAGE_BYTES);
    if (self->full)
        return 0;
    self->count++;
    pack_map(self->pairs, self->keys_only ? 2 : 3);
    pack_str(self->pairs, "key");
    pack_key(self->pairs, key.data + 1, key.size - 1); /* without the prefix of its kind */
    if (!self->keys_only) {
        pack_str(self->pairs, "value");
        pack_bin(self->pairs, record.value.data, record.value.size);
    }
    pack_str(self->pairs, "index");
    pack_uint(self->pairs, record.index);
    return self->pairs->failed ? DRAX_ENOMEM : 0;
}

void page_write(const page_t *self, buffer_t *out) {
    pack_str(out, "pairs");
    pack_array(out, self->count);
    buffer_append(out, self->pairs->data, self->pairs->size);
}

bool key_prefixed(slice_t key, slice_t prefix) {
    return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

int page_key_take(state_t *state) {
    if (state->keys_left == 0)
        return DRAX_ETOOLARGE;
    state->keys_left--;
    return 0;
}

int page_fill(page_t *self, state_t *state, merge_t *walk, slice_t prefix) {
    int rc = 0;
    while (rc == 0 && walk->valid && key_prefixed(walk->key, prefix) && !self->full) {
        rc = page_key_take(state);
        if (rc == 0)
            rc = page_add(self, walk->key, walk->value);
        if (rc == 0 && !self->full)
            rc = merge_next(walk);
    }
    return rc;
}
