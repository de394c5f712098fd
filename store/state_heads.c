/* state_heads.c: reading in the heads of keys that were not written since the start, so that a put
 * of one need not look into kv.
 *
 * Such a look takes as long as to read some twenty-five heads, one after the other. So each pays
 * for READ_A_MISS of them, as far as READ_MOST goes. All are read when a small part of the keys was
 * looked for; reading in takes a few times as long as the looks did, never more; where nothing is
 * written nothing is read; and it needs no clock.
 *
 *   none -- open, or freeze after many misses --> waiting -- flushed --> going -- the end --> none
 *
 * Invariants
 *  1. What was forgotten before a reading began is in kv when the first head is read, or was
 * written since: it begins with a freeze and waits for that flush.
 *  2. A key that a layer above kv knows of was written after it began, so its head was kept, or is
 * marked (heads.h): it is passed over.
 *  3. Only the thread that applies comes here, so that no layer moves while heads are read.
 */
#include "store/state_internal.h"

#include "broker/error.h"

#define READ_A_MISS 64u
#define READ_LEAST 256u /* an iterator takes as long as thirty heads */
#define READ_MOST 2048u /* after one entry: some two milliseconds */
#define RELEASE_BYTES (64u << 20)

static void reading_begin(state_t *self, uint64_t from) {
    heads_reading_begin(&self->heads);
    self->reading.going = true;
    self->reading.from = from;
    self->reading.due = 0;
    record_key_user(&self->reading.next, (slice_t){NULL, 0});
}

void state_heads_open(state_t *self) {
    heads_expect(&self->heads, self->meta.keys);
    if (!self->meta.keys)
        return;
    heads_doubt(&self->heads);
    reading_begin(self, self->meta.applied);
}

void state_heads_freeze(state_t *self) {
    heads_expect(&self->heads, self->meta.keys);
    if (!self->reading.going && self->reading.misses > self->meta.keys / READ_A_MISS &&
        heads_roomy(&self->heads))
        reading_begin(self, self->frozen_applied);
}

void state_heads_missed(state_t *self, slice_t key) {
    if (key.size > HEADS_KEY_BYTES) /* nothing that could be read helps it */
        return;
    self->reading.misses++;
    if (self->reading.going && self->flushed >= self->reading.from)
        self->reading.due += READ_A_MISS;
}

static void reading_end(state_t *self) {
    heads_reading_end(&self->heads);
    self->reading.going = false;
    self->reading.misses = 0;
    self->reading.release = true;
}

/* A large value's record has no head that could be read: it is shown as empty. */
static void head_read(state_t *self, slice_t pair_key, slice_t key, slice_t value) {
    record_t record;
    found_t at;
    self->reading.bytes += pair_key.size + value.size;
    if (state_lookup_unflushed(self, pair_key, &at) == DRAX_EAGAIN)
        heads_offer(&self->heads, key, record_parse(value, &record) == 0 ? &record : NULL);
}

/* Up to `count` heads, from reading.next on. What cannot be read is left to those who need it. */
static void heads_read(state_t *self, kv_iterator_t *at, size_t count) {
    kv_iterator_spare_large(at);
    kv_iterator_seek(at, record_key(&self->reading.next));
    for (; kv_iterator_valid(at); kv_iterator_next(at)) {
        slice_t pair_key = kv_iterator_key(at), key;
        if (record_key_user_parse(pair_key, &key))
            break;
        if (count-- == 0) {
            record_key_user(&self->reading.next, key);
            return;
        }
        head_read(self, pair_key, key, kv_iterator_value(at));
    }
    if (kv_iterator_error(at))
        heads_doubt(&self->heads);
    reading_end(self);
}

void state_heads_turn(state_t *self) {
    size_t due = self->reading.due;
    if (!self->reading.going || due < READ_LEAST)
        return;
    self->reading.due = 0;
    kv_iterator_t *at = kv_iterator_new(self->kv, NULL);
    if (at)
        heads_read(self, at, due < READ_MOST ? due : READ_MOST);
    kv_iterator_destroy(&at);
    if (self->reading.bytes < RELEASE_BYTES)
        return;
    self->reading.bytes = 0;
    self->reading.release = true;
}

bool state_release_due(state_t *self) {
    bool due = self->reading.release;
    self->reading.release = false;
    return due;
}
