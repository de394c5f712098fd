/* state_snapshot.c: the flushed state as a row of checksummed chunks.
 *
 *   snapshot = chunk{1,}         numbered from 0; chunk 0 begins with the meta record
 *   chunk    = checksum:u64 number:u64 applied:u64 last:u8 pair*
 *   pair     = key_size:u32 value_size:u32 key value    after the meta, in the order of keys
 *
 * checksum is XXH3-64 of all that follows it; `applied` is the applied index of the whole snapshot,
 * so that chunks of two snapshots never mix. Only pairs of kinds m, g, h, k, l, o, s and w travel
 * (record.h). A chunk has the size asked for at most, or one pair. A history record travels with
 * all it tells; an empty one says that history begins behind it.
 *
 * Invariant: `chunk_count` chunks were made; `previous` is the last of them, and the iterator
 * stands at the first pair that is in none.
 */
#include "store/state_snapshot.h"

#include <stdlib.h>

#include "broker/error.h"
#include "store/hash.h"
#include "store/state_internal.h"

struct state_snapshot {
    kv_snapshot_t *view;
    kv_iterator_t *at;
    meta_t meta;
    buffer_t meta_bytes;
    uint64_t chunk_count;
    payload_t *previous;
    bool previous_last;
    buffer_t chunk;          /* being built */
    history_source_t source; /* entry NULL: no history */
    history_writer_t record;
};

uint64_t chunk_checksum(slice_t chunk) {
    return XXH3_64bits(chunk.data + 8, chunk.size - 8);
}

bool state_chunk_last(slice_t chunk) {
    return chunk.size >= CHUNK_HEAD_BYTES && chunk.data[CHUNK_HEAD_BYTES - 1] == 1;
}

static void pair_add(buffer_t *out, slice_t key, slice_t value) {
    uint8_t sizes[8];
    be32_write(sizes, (uint32_t) key.size);
    be32_write(sizes + 4, (uint32_t) value.size);
    buffer_append(out, sizes, sizeof sizes);
    buffer_append(out, key.data, key.size);
    buffer_append(out, value.data, value.size);
}

/* Moves on to the next pair that travels, if the iterator does not stand at one. */
static void derived_skip(kv_iterator_t *at) {
    while (kv_iterator_valid(at)) {
        uint8_t after;
        switch (kv_iterator_key(at).data[0]) {
        case PREFIX_HISTORY:
        case PREFIX_USER:
        case PREFIX_LOCK:
        case PREFIX_LEASE:
        case PREFIX_WAITER:
        case PREFIX_ORIGIN:
        case PREFIX_SESSION:
            return;
        default:
            after = (uint8_t) (kv_iterator_key(at).data[0] + 1);
            kv_iterator_seek(at, (slice_t){&after, 1});
        }
    }
}

/* A history record travels with all it tells, as the receiver has not the log. One that cannot, or
 * is too large, becomes an empty one: history begins behind it. */
static int history_settle(state_snapshot_t *self, slice_t *value) {
    history_reader_t reader;
    uint64_t first;
    slice_t payload = {NULL, 0};
    int rc = history_key_parse(kv_iterator_key(self->at), &first);
    if (rc == 0)
        rc = history_open(&reader, first, *value);
    if (rc == 0 && reader.index)
        rc = self->source.entry ? self->source.entry(self->source.self, reader.index, &payload)
                                : DRAX_ECOMPACTED;
    if (rc == DRAX_ECOMPACTED) {
        *value = (slice_t){NULL, 0};
        return 0;
    }
    if (rc)
        return rc;
    history_payload(&reader, payload);
    rc = history_copy(&self->record, &reader);
    *value = history_end(&self->record);
    if (self->record.record.failed)
        return DRAX_ENOMEM;
    if (value->size > LIMIT_ENTRY_BYTES)
        *value = (slice_t){NULL, 0};
    return rc;
}

/* Adds pairs until there is no room for the next one; at least one. */
static int pairs_add(state_snapshot_t *self, size_t bytes) {
    bool any = false;
    for (derived_skip(self->at); kv_iterator_valid(self->at); derived_skip(self->at)) {
        slice_t key = kv_iterator_key(self->at), value = kv_iterator_value(self->at);
        int rc = key.data[0] == PREFIX_HISTORY ? history_settle(self, &value) : 0;
        if (rc)
            return rc;
        if (any && self->chunk.size + 8 + key.size + value.size > bytes)
            break;
        any = true;
        pair_add(&self->chunk, key, value);
        kv_iterator_next(self->at);
    }
    return kv_iterator_error(self->at);
}

static int chunk_build(state_snapshot_t *self, size_t bytes, bool *last) {
    uint8_t head[CHUNK_HEAD_BYTES] = {0};
    buffer_t *out = &self->chunk;
    buffer_reset(out);
    be64_write(head + 8, self->chunk_count);
    be64_write(head + 16, self->meta.applied);
    buffer_append(out, head, sizeof head);
    if (self->chunk_count == 0) {
        static const uint8_t meta_key[] = {PREFIX_META};
        pair_add(out, (slice_t){meta_key, sizeof meta_key},
                 (slice_t){self->meta_bytes.data, self->meta_bytes.size});
    }
    int rc = pairs_add(self, bytes);
    *last = !kv_iterator_valid(self->at);
    if (rc || out->failed)
        return rc ? rc : DRAX_ENOMEM;
    out->data[CHUNK_HEAD_BYTES - 1] = *last;
    be64_write(out->data, chunk_checksum((slice_t){out->data, out->size}));
    return 0;
}

int state_snapshot_read(state_snapshot_t *self, uint64_t chunk, size_t bytes, payload_t **out,
                        bool *last) {
    bool again = self->previous && chunk == self->chunk_count - 1;
    bool next = chunk == self->chunk_count && !(self->previous && self->previous_last);
    *out = NULL;
    if (!again && !next)
        return DRAX_EINVAL;
    if (next) {
        int rc = chunk_build(self, bytes, last);
        if (rc)
            return rc;
        payload_t *payload = buffer_take(&self->chunk);
        if (!payload)
            return DRAX_ENOMEM;
        payload_unref(&self->previous);
        self->previous = payload;
        self->previous_last = *last;
        self->chunk_count++;
    }
    *out = payload_ref(self->previous);
    *last = self->previous_last;
    return 0;
}

/* The meta record as the view sees it. */
static int meta_load(state_snapshot_t *self) {
    static const uint8_t meta_key[] = {PREFIX_META};
    slice_t key = {meta_key, sizeof meta_key};
    kv_iterator_seek(self->at, key);
    if (!kv_iterator_valid(self->at) || kv_key_compare(kv_iterator_key(self->at), key) != 0) {
        int rc = kv_iterator_error(self->at);
        return rc ? rc : DRAX_ENOTFOUND;
    }
    slice_t value = kv_iterator_value(self->at);
    buffer_append(&self->meta_bytes, value.data, value.size);
    if (self->meta_bytes.failed)
        return DRAX_ENOMEM;
    return meta_decode(&self->meta, value);
}

int state_snapshot_open(state_t *self, state_snapshot_t **out) {
    static const uint8_t first[] = {0};
    *out = NULL;
    state_snapshot_t *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return DRAX_ENOMEM;
    int rc = DRAX_ENOMEM;
    snapshot->view = kv_snapshot_new(self->kv);
    if (snapshot->view)
        snapshot->at = kv_iterator_new(self->kv, snapshot->view);
    if (snapshot->at)
        rc = meta_load(snapshot);
    if (rc) {
        state_snapshot_close(self, &snapshot);
        return rc;
    }
    kv_iterator_seek(snapshot->at, (slice_t){first, sizeof first});
    *out = snapshot;
    return 0;
}

void state_snapshot_history(state_snapshot_t *self, const history_source_t *source) {
    self->source = *source;
}

void state_snapshot_close(state_t *self, state_snapshot_t **snapshot) {
    state_snapshot_t *old = *snapshot;
    *snapshot = NULL;
    if (!old)
        return;
    kv_iterator_destroy(&old->at);
    kv_snapshot_destroy(self->kv, &old->view);
    payload_unref(&old->previous);
    buffer_free(&old->meta_bytes);
    buffer_free(&old->chunk);
    history_writer_free(&old->record);
    free(old);
}

uint64_t state_snapshot_index(const state_snapshot_t *self) {
    return self->meta.applied;
}

uint64_t state_snapshot_term(const state_snapshot_t *self) {
    return self->meta.term;
}

uint64_t state_snapshot_revision(const state_snapshot_t *self) {
    return self->meta.revision;
}

uint64_t state_snapshot_time_ms(const state_snapshot_t *self) {
    return self->meta.time_ms;
}

const config_t *state_snapshot_config(const state_snapshot_t *self) {
    return &self->meta.config;
}
