/* fuzz_snapshot.c: the chunks of a snapshot, as a peer may send them.
 *
 *   input = how:u8 { size:u16 chunk }
 *
 * With how & 1 the checksums of chunks are made right, and their numbers; with how & 2 also the
 * hashes of records, and the digest and counts that the meta record names: so that what is tested
 * lies behind them. What is taken whole must open as a state, answer, and take another entry.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "store/meta.h"
#include "store/state.h"
#include "store/state_snapshot.h"
#include "tests/fuzz/fuzz_forge.h"

#define CHUNKS_MAX 4u
#define CHUNK_MAX_BYTES 2048u

typedef struct repair {
    uint8_t how;
    uint64_t applied; /* as chunk 0 says */
    buffer_t chunks[CHUNKS_MAX];
    size_t count;
    meta_t meta;
    bool has_meta;
    uint64_t digest, keys, expiring;
    uint64_t floor, arguments[ANSWERS_PAGE]; /* of the session, of the page */
} repair_t;

/* ---- making chunks right ---- */

static void session_repair(repair_t *self, slice_t key, slice_t bytes) {
    slice_t client;
    session_part_t part;
    session_t session;
    uint64_t number;
    answer_t answer;
    unsigned at;
    if (record_key_session_parse(key, &client, &part, &number))
        return;
    if (part == SESSION_PART_HEAD) {
        self->floor = session_parse(bytes, &session) == 0 ? session.floor : 0;
        self->digest += record_hash_plain(key, bytes);
    } else if (part == SESSION_PART_OUTCOME) {
        answer = (answer_t){.code = ANSWER_APART,
                            .arguments = self->arguments[number % ANSWERS_PAGE],
                            .outcome = bytes};
        self->digest += answer_hash(&answer, client, number);
    } else {
        while (answers_next(&bytes, &at, &answer) == 1) {
            self->arguments[at] = answer.arguments;
            if (number * ANSWERS_PAGE + at > self->floor && answer.code != ANSWER_APART)
                self->digest += answer_hash(&answer, client, number * ANSWERS_PAGE + at);
        }
    }
}

static void record_repair(repair_t *self, slice_t key, uint8_t *value, size_t size) {
    record_t record;
    slice_t bytes = {value, size};
    if (key.data[0] == PREFIX_USER && record_parse(bytes, &record) == 0) {
        be64_write(value, record_hash(&record, key));
        (void) record_parse(bytes, &record);
        self->digest += record.hash;
        self->keys++;
        self->expiring += record.due_ms != 0;
    } else if (key.data[0] == PREFIX_META && !self->has_meta) {
        self->has_meta = meta_decode(&self->meta, bytes) == 0;
    } else if (key.data[0] == PREFIX_SESSION) {
        session_repair(self, key, bytes);
    } else if (key.data[0] != PREFIX_USER) {
        self->digest += record_hash_plain(key, bytes);
    }
}

static void pairs_repair(repair_t *self, buffer_t *chunk) {
    size_t at = CHUNK_HEAD_BYTES;
    while (at + 8 <= chunk->size) {
        size_t key_size = be32_read(chunk->data + at), value_size = be32_read(chunk->data + at + 4);
        at += 8;
        if (key_size == 0 || key_size > chunk->size - at ||
            value_size > chunk->size - at - key_size)
            return;
        slice_t key = {chunk->data + at, key_size};
        record_repair(self, key, chunk->data + at + key_size, value_size);
        at += key_size + value_size;
    }
}

/* The meta record, which is of a fixed size as long as its lists are: only numbers change. */
static void meta_repair(repair_t *self) {
    buffer_t *chunk = &self->chunks[0];
    static buffer_t meta;
    self->meta.digest = self->digest;
    self->meta.keys = self->keys;
    self->meta.expiring = self->expiring;
    buffer_reset(&meta);
    meta_encode(&self->meta, &meta);
    size_t at = CHUNK_HEAD_BYTES + 8 + 1;
    if (!meta.failed && at + meta.size <= chunk->size &&
        be32_read(chunk->data + CHUNK_HEAD_BYTES + 4) == meta.size)
        memcpy(chunk->data + at, meta.data, meta.size);
    self->applied = self->meta.applied;
}

static void repair(repair_t *self) {
    if (self->how & 2) {
        for (size_t i = 0; i < self->count; i++)
            pairs_repair(self, &self->chunks[i]);
        if (self->has_meta)
            meta_repair(self);
    }
    for (size_t i = 0; (self->how & 1) && i < self->count; i++) {
        uint8_t *data = self->chunks[i].data;
        if (self->chunks[i].size < CHUNK_HEAD_BYTES)
            continue;
        be64_write(data + 8, i);
        if (self->how & 2) {
            be64_write(data + 16, self->applied);
            data[CHUNK_HEAD_BYTES - 1] = i + 1 == self->count;
        }
        be64_write(data, chunk_checksum((slice_t){data, self->chunks[i].size}));
    }
}

/* ---- what is taken ---- */

static void state_check(kv_t **kv) {
    static buffer_t scratch, answer;
    state_t *state = NULL;
    int rc = state_open(&state, kv);
    assert(rc == 0 || rc == DRAX_ECORRUPT);
    if (rc)
        return;
    uint8_t bytes[] = {0, 3, 'x'}; /* a short plan, the same for all */
    fuzz_input_t in = {{bytes, sizeof bytes}};
    fuzz_near_t near = {.node = 1, .seq = 1};
    request_t request = {.method = METHOD_RANGE};
    buffer_reset(&answer);
    rc = state_query(state, &request, state_time_ms(state), &answer);
    assert(rc == 0 || rc == DRAX_ECORRUPT);
    size_t count = 0;
    buffer_reset(&scratch);
    rc = state_expire_block(state, UINT64_MAX >> 2, &scratch, &count);
    assert(rc == 0 || rc == DRAX_ECORRUPT);
    entry_t entry;
    state_applied_t applied;
    fuzz_entry(&in, state_applied(state) + 1, state_applied_term(state), &near, &entry);
    entry.time_ms = state_time_ms(state);
    rc = state_apply(state, &entry, &applied);
    assert(rc == 0 || rc == DRAX_ECORRUPT);
    entry_clear(&entry);
    state_close(&state);
}

static void chunks_take(repair_t *self) {
    kv_t *kv = NULL;
    state_staging_t *staging = NULL;
    if (kv_memory_open(&kv) != 0 || state_staging_open(&staging, &kv) != 0)
        abort();
    int rc = 0;
    for (size_t i = 0; i < self->count && rc == 0; i++) {
        slice_t bytes = {self->chunks[i].data, self->chunks[i].size};
        rc = state_staging_add(staging, i, bytes, i + 1 == self->count);
        assert(rc == 0 || rc == DRAX_ECORRUPT || rc == DRAX_EVERSION);
    }
    rc = state_staging_finish(&staging, &kv);
    assert((rc == 0) == (kv != NULL));
    if (kv)
        state_check(&kv);
    kv_close(&kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static buffer_t chunks[CHUNKS_MAX];
    fuzz_input_t in = {{data, size}};
    repair_t self = {.how = fuzz_byte(&in)};
    while (self.count < CHUNKS_MAX && in.rest.size) {
        size_t length = (fuzz_byte(&in) * 256u + fuzz_byte(&in)) % CHUNK_MAX_BYTES;
        slice_t chunk = fuzz_bytes(&in, length);
        buffer_reset(&chunks[self.count]);
        buffer_append(&chunks[self.count], chunk.data, chunk.size);
        self.chunks[self.count] = chunks[self.count];
        self.count++;
    }
    repair(&self);
    chunks_take(&self);
    return 0;
}
