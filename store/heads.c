/* heads.c: a hash table of buckets that never chain.
 *
 *   bucket = count:u8 marks:u8 bytes:u16 slot{count} free* head{count}
 *   slot   = tag:u8 size:u8            the head's: bits of its key's hash, and how long it is
 *   head   = key_size:u8 key header    header: as in a record
 *
 * A bucket's heads stand in the reverse order of their slots, the first one's at the end, so that a
 * search looks at a few cache lines of slots and then at a head.
 *
 * Buckets are in the order of hashes: of `count` buckets, that of a hash is hash * count / 2^32. So
 * they become more in place, by any number, from the last one down: what the last one holds belongs
 * at its own place or behind it, where all is new. `left` buckets have their heads still where
 * `count` led them; the heads of others are where `next` leads. With left = 0, count = next.
 *
 * Invariants
 *  1. The slots of a bucket are in the order in which their heads came, the oldest first; but heads
 * that came from two buckets when those became more are in order among themselves.
 *  2. A key has one head at most, in the bucket that its hash leads to.
 *  3. Buckets become more one after the other, some with each put, so that no put waits for all of
 * them, and all are done long before more are due again.
 *  4. A key that leads to a bucket without marks, while there are none for all, exists only if it
 * has a head there: whoever forgets one marks its bucket, and marks go where heads go.
 */
#include "store/heads.h"

#include <assert.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "broker/error.h"
#include "broker/limits.h"

#define BUCKET_BYTES 2048u
#define BUCKETS_STEP 64u /* there are a multiple of it: whole pages, of whatever size */
#define MOVES 2u         /* of buckets with each put, while they become more */
#define MARK_EARLIER 1u  /* something was forgotten before the reading began that goes on */
#define MARK_NOW 2u      /* … since then */
#define HEAD_LEAST (1 + 1 + 8 + 5) /* of a key of one byte; a hash and five numbers */
#define HEAD_MOST (1 + HEADS_KEY_BYTES + RECORD_HEADER_BYTES)

typedef struct slot {
    uint8_t tag, size;
} slot_t;

typedef struct bucket {
    uint8_t count, marks;
    uint16_t bytes; /* of all heads */
    slot_t slots[];
} bucket_t;

#define ROOM_BYTES (BUCKET_BYTES - sizeof(bucket_t)) /* for slots and heads */

static_assert(ROOM_BYTES / (sizeof(slot_t) + HEAD_LEAST) <= UINT8_MAX, "heads can be counted");
static_assert(HEAD_MOST <= UINT8_MAX && HEAD_MOST + sizeof(slot_t) <= ROOM_BYTES,
              "a head's size fits in its slot, and the head in a bucket");
static_assert(HEADS_BYTES % (BUCKETS_STEP * BUCKET_BYTES) == 0 && HEADS_BYTES < UINT32_MAX,
              "all can be used, and hashes are divided among them");

/* ---- one bucket ---- */

static size_t bucket_used(const bucket_t *self) {
    return self->count * sizeof(slot_t) + self->bytes;
}

static uint8_t *bucket_end(bucket_t *self) {
    return (uint8_t *) self + BUCKET_BYTES;
}

static uint8_t tag_of(uint64_t hash) {
    return (uint8_t) hash; /* the upper half led to the bucket */
}

/* The head of `key`, which stands in slot `*at`; NULL: there is none. */
static uint8_t *bucket_find(bucket_t *self, uint64_t hash, slice_t key, size_t *at) {
    uint8_t *head = bucket_end(self);
    for (size_t i = 0; i < self->count; i++) {
        head -= self->slots[i].size;
        if (self->slots[i].tag == tag_of(hash) && head[0] == key.size &&
            memcmp(head + 1, key.data, key.size) == 0) {
            *at = i;
            return head;
        }
    }
    return NULL;
}

static void bucket_remove(bucket_t *self, const uint8_t *head, size_t at) {
    size_t size = self->slots[at].size;
    uint8_t *newest = bucket_end(self) - self->bytes;
    memmove(newest + size, newest, (size_t) (head - newest));
    self->count--;
    self->bytes = (uint16_t) (self->bytes - size);
    memmove(&self->slots[at], &self->slots[at + 1], (self->count - at) * sizeof(slot_t));
}

static bool bucket_has_room(const bucket_t *self, size_t size) {
    return bucket_used(self) + sizeof(slot_t) + size <= ROOM_BYTES;
}

/* As the newest; the oldest make room for it. */
static void bucket_add(bucket_t *self, uint8_t tag, const uint8_t *head, size_t size) {
    for (; !bucket_has_room(self, size); self->marks |= MARK_NOW)
        bucket_remove(self, bucket_end(self) - self->slots[0].size, 0);
    self->slots[self->count++] = (slot_t){tag, (uint8_t) size};
    self->bytes = (uint16_t) (self->bytes + size);
    memcpy(bucket_end(self) - self->bytes, head, size);
}

/* ---- all of them ---- */

static uint64_t hash_of(slice_t key) {
    return XXH3_64bits(key.data, key.size);
}

static bucket_t *bucket_at(const heads_t *self, size_t number) {
    return (bucket_t *) (void *) (self->memory + number * BUCKET_BYTES);
}

static size_t number_of(uint64_t hash, size_t count) {
    return (size_t) ((hash >> 32) * count >> 32);
}

static bucket_t *bucket_of(const heads_t *self, uint64_t hash) {
    size_t number = number_of(hash, self->count);
    return bucket_at(self, number < self->left ? number : number_of(hash, self->next));
}

/* All buckets that hashes of bucket `number` lead to from now on, as it had `marks`. */
static void marks_move(heads_t *self, size_t number, uint8_t marks) {
    uint64_t first = (((uint64_t) number << 32) + self->count - 1) / self->count;
    uint64_t end = (((uint64_t) (number + 1) << 32) + self->count - 1) / self->count;
    for (size_t at = number_of(first << 32, self->next);
         marks && at <= number_of((end - 1) << 32, self->next); at++)
        bucket_at(self, at)->marks |= marks;
}

/* Of the buckets left, the last one's heads go where they belong from now on. */
static void bucket_move(heads_t *self) {
    _Alignas(bucket_t) uint8_t room[BUCKET_BYTES];
    bucket_t *left = (bucket_t *) (void *) room, *at = bucket_at(self, --self->left);
    memcpy(left, at, BUCKET_BYTES);
    *at = (bucket_t){.count = 0};
    self->bytes -= bucket_used(left);
    marks_move(self, self->left, left->marks);
    const uint8_t *head = bucket_end(left);
    for (size_t i = 0; i < left->count; i++) {
        slot_t slot = left->slots[i];
        head -= slot.size;
        bucket_t *bucket = bucket_of(self, hash_of((slice_t){head + 1, head[0]}));
        self->bytes -= bucket_used(bucket);
        bucket_add(bucket, slot.tag, head, slot.size);
        self->bytes += bucket_used(bucket);
    }
    if (self->left == 0)
        self->count = self->next;
}

/* How many there may be. */
static size_t buckets_most(const heads_t *self) {
    return self->most ? self->most : HEADS_LEAST_BYTES / BUCKET_BYTES;
}

/* An eighth more buckets, or as many as there may be if that is a sixteenth: all heads move. */
static void growth_begin(heads_t *self) {
    size_t most = buckets_most(self);
    size_t next = self->count + self->count / 8 + BUCKETS_STEP;
    next = next < most ? next : most;
    next -= next % BUCKETS_STEP;
    if (next <= self->count + self->count / 16)
        return;
    uint8_t *fresh = self->memory + self->count * BUCKET_BYTES;
    if (mprotect(fresh, (next - self->count) * BUCKET_BYTES, PROT_READ | PROT_WRITE) != 0) {
        self->refused = true;
        return;
    }
    self->next = next;
    self->left = self->count;
}

/* Buckets become more, step by step, when they are five eighths full: hardly any is quite full
 * then, and hardly any head is forgotten. */
static void heads_grow(heads_t *self) {
    if (!self->left && !self->refused && self->bytes > self->count * ROOM_BYTES / 8 * 5)
        growth_begin(self);
    for (unsigned i = 0; i < MOVES && self->left; i++)
        bucket_move(self);
}

static bool keepable(slice_t key) {
    return key.size > 0 && key.size <= HEADS_KEY_BYTES;
}

int heads_find(const heads_t *self, slice_t key, record_t *out) {
    if (!keepable(key))
        return DRAX_EAGAIN;
    if (!self->memory)
        return self->marks ? DRAX_EAGAIN : DRAX_ENOTFOUND;
    uint64_t hash = hash_of(key);
    size_t at;
    bucket_t *bucket = bucket_of(self, hash);
    const uint8_t *head = bucket_find(bucket, hash, key, &at);
    if (!head)
        return self->marks | bucket->marks ? DRAX_EAGAIN : DRAX_ENOTFOUND;
    slice_t header = {head + 1 + key.size, bucket->slots[at].size - 1 - key.size};
    return record_parse(header, out) == 0 ? 0 : DRAX_EAGAIN;
}

/* Addresses for all of them, which cost nothing; memory for the first. */
static bool heads_open(heads_t *self) {
    if (self->memory)
        return true;
    if (self->refused)
        return false;
    void *memory = mmap(NULL, HEADS_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    self->refused = memory == MAP_FAILED;
    if (self->refused)
        return false;
    if (mprotect(memory, BUCKETS_STEP * BUCKET_BYTES, PROT_READ | PROT_WRITE) != 0) {
        (void) munmap(memory, HEADS_BYTES);
        self->refused = true;
        return false;
    }
    self->memory = memory;
    self->count = self->next = BUCKETS_STEP;
    return true;
}

void heads_expect(heads_t *self, uint64_t keys) {
    uint64_t bytes = keys > STATE_FEW_KEYS ? keys * HEADS_BYTES_A_KEY : HEADS_LEAST_BYTES;
    self->most = (bytes < HEADS_BYTES ? (size_t) bytes : HEADS_BYTES) / BUCKET_BYTES;
    if (self->next > HEADS_FAR_LESS * self->most)
        heads_free(self);
}

/* The head of the key, and how long it is. */
static size_t head_write(slice_t key, const record_t *record, uint8_t head[HEAD_MOST]) {
    head[0] = (uint8_t) key.size;
    memcpy(head + 1, key.data, key.size);
    return 1 + key.size + record_header_write(record, head + 1 + key.size);
}

/* There is memory for heads, so that a key's can be kept; else the key is forgotten. */
static bool heads_take(heads_t *self, slice_t key) {
    if (!keepable(key))
        return false;
    if (!heads_open(self)) {
        heads_doubt(self);
        return false;
    }
    heads_grow(self);
    return true;
}

void heads_put(heads_t *self, slice_t key, const record_t *record) {
    if (!heads_take(self, key))
        return;
    uint8_t head[HEAD_MOST];
    size_t size = head_write(key, record, head), at;
    uint64_t hash = hash_of(key);
    bucket_t *bucket = bucket_of(self, hash);
    size_t before = bucket_used(bucket);
    const uint8_t *was = bucket_find(bucket, hash, key, &at);
    if (was)
        bucket_remove(bucket, was, at);
    bucket_add(bucket, tag_of(hash), head, size);
    self->bytes += bucket_used(bucket) - before;
}

void heads_offer(heads_t *self, slice_t key, const record_t *record) {
    if (!heads_take(self, key))
        return;
    uint8_t head[HEAD_MOST];
    size_t at;
    uint64_t hash = hash_of(key);
    bucket_t *bucket = bucket_of(self, hash);
    if (bucket_find(bucket, hash, key, &at))
        return;
    size_t size = record ? head_write(key, record, head) : 0;
    if (!size || !bucket_has_room(bucket, size)) {
        bucket->marks |= MARK_NOW;
        return;
    }
    bucket_add(bucket, tag_of(hash), head, size);
    self->bytes += sizeof(slot_t) + size;
}

void heads_remove(heads_t *self, slice_t key) {
    if (!self->memory || !keepable(key))
        return;
    uint64_t hash = hash_of(key);
    size_t at;
    bucket_t *bucket = bucket_of(self, hash);
    const uint8_t *head = bucket_find(bucket, hash, key, &at);
    if (!head)
        return;
    size_t before = bucket_used(bucket);
    bucket_remove(bucket, head, at);
    self->bytes -= before - bucket_used(bucket);
}

/* ---- what is known of keys without a head ---- */

void heads_doubt(heads_t *self) {
    self->marks |= MARK_NOW;
}

void heads_reading_begin(heads_t *self) {
    self->marks = self->marks ? MARK_EARLIER : 0;
    for (size_t i = 0; i < self->next; i++)
        bucket_at(self, i)->marks = bucket_at(self, i)->marks ? MARK_EARLIER : 0;
}

void heads_reading_end(heads_t *self) {
    self->marks &= MARK_NOW;
    for (size_t i = 0; i < self->next; i++)
        bucket_at(self, i)->marks &= MARK_NOW;
}

bool heads_roomy(const heads_t *self) {
    return !self->refused && self->bytes < buckets_most(self) * ROOM_BYTES / 4 * 3;
}

void heads_free(heads_t *self) {
    uint8_t marks = self->marks;
    if (self->memory) {
        (void) munmap(self->memory, HEADS_BYTES); /* cannot fail: it is one whole mapping */
        marks |= MARK_NOW;
    }
    *self = (heads_t){.most = self->most, .marks = marks};
}
