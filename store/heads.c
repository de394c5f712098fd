/* heads.c: a hash table of buckets that never chain.
 *
 *   bucket = count:u16 bytes:u16 slot{count} free* head{count}
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
 *  1. The slots of a bucket are in the order in which their heads were written, the oldest first;
 * but heads that came from two buckets when those became more are in order among themselves.
 *  2. A key has one head at most, in the bucket that its hash leads to.
 *  3. Buckets become more one after the other, some with each put, so that no put waits for all of
 * them, and all are done long before more are due again.
 */
#include "store/heads.h"

#include <assert.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "broker/limits.h"

#define BUCKET_BYTES 2048u
#define BUCKETS_STEP 64u /* there are a multiple of it: whole pages, of whatever size */
#define MOVES 2u         /* of buckets with each put, while they become more */
#define HEAD_MOST (1 + HEADS_KEY_BYTES + RECORD_HEADER_BYTES)

typedef struct slot {
    uint8_t tag, size;
} slot_t;

typedef struct bucket {
    uint16_t count, bytes; /* bytes: of all heads */
    slot_t slots[];
} bucket_t;

#define ROOM_BYTES (BUCKET_BYTES - sizeof(bucket_t)) /* for slots and heads */

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

/* As the newest; the oldest make room for it. */
static void bucket_add(bucket_t *self, uint8_t tag, const uint8_t *head, size_t size) {
    while (bucket_used(self) + sizeof(slot_t) + size > ROOM_BYTES)
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

/* Of the buckets left, the last one's heads go where they belong from now on. */
static void bucket_move(heads_t *self) {
    _Alignas(bucket_t) uint8_t room[BUCKET_BYTES];
    bucket_t *left = (bucket_t *) (void *) room, *at = bucket_at(self, --self->left);
    memcpy(left, at, BUCKET_BYTES);
    *at = (bucket_t){.count = 0};
    self->bytes -= bucket_used(left);
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

/* An eighth more buckets, or as many as there may be if that is a sixteenth: all heads move. */
static void growth_begin(heads_t *self) {
    size_t most = self->most ? self->most : HEADS_LEAST_BYTES / BUCKET_BYTES;
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

/* Buckets become more, step by step, when they are three quarters full: few are quite full then,
 * and few heads are forgotten. */
static void heads_grow(heads_t *self) {
    if (!self->left && !self->refused && self->bytes > self->count * ROOM_BYTES / 4 * 3)
        growth_begin(self);
    for (unsigned i = 0; i < MOVES && self->left; i++)
        bucket_move(self);
}

static bool keepable(slice_t key) {
    return key.size > 0 && key.size <= HEADS_KEY_BYTES;
}

bool heads_find(const heads_t *self, slice_t key, record_t *out) {
    if (!self->memory || !keepable(key))
        return false;
    uint64_t hash = hash_of(key);
    size_t at;
    bucket_t *bucket = bucket_of(self, hash);
    const uint8_t *head = bucket_find(bucket, hash, key, &at);
    if (!head)
        return false;
    slice_t header = {head + 1 + key.size, bucket->slots[at].size - 1 - key.size};
    return record_parse(header, out) == 0;
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

void heads_put(heads_t *self, slice_t key, const record_t *record) {
    if (!keepable(key) || !heads_open(self))
        return;
    heads_grow(self);
    uint8_t head[HEAD_MOST];
    head[0] = (uint8_t) key.size;
    memcpy(head + 1, key.data, key.size);
    size_t size = 1 + key.size + record_header_write(record, head + 1 + key.size);
    uint64_t hash = hash_of(key);
    size_t at;
    bucket_t *bucket = bucket_of(self, hash);
    size_t before = bucket_used(bucket);
    const uint8_t *was = bucket_find(bucket, hash, key, &at);
    if (was)
        bucket_remove(bucket, was, at);
    bucket_add(bucket, tag_of(hash), head, size);
    self->bytes += bucket_used(bucket) - before;
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

void heads_free(heads_t *self) {
    if (self->memory)
        (void) munmap(self->memory, HEADS_BYTES); /* cannot fail: it is one whole mapping */
    *self = (heads_t){.most = self->most};
}
