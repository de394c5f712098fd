/* heads.c: a hash table of buckets that never chain.
 *
 *   bucket = count:u16 bytes:u16 slot{count} free* head{count}
 *   slot   = tag:u8 size:u8            the head's: bits of its key's hash, and how long it is
 *   head   = key_size:u8 key header    header: as in a record
 *
 * A bucket has 896 bytes; its heads stand in the reverse order of their slots, the first one's at
 * the end, so that a search looks at one or two cache lines of slots and then at a head.
 *
 * Invariants
 *  1. The slots of a bucket are in the order in which their heads were written, the oldest first.
 *  2. A key has one head at most, in the bucket that its hash leads to.
 *  3. Buckets double one after the other (linear hashing), a few with each put, so that no put
 * waits for all of them, and all are done long before the next doubling is due.
 */
#include "store/heads.h"

#include <assert.h>
#include <sys/mman.h>
#include <xxhash.h>

#define BUCKET_BYTES 896u
#define BUCKETS_LEAST 64u
#define BUCKETS_MOST (HEADS_BYTES / BUCKET_BYTES)
#define SPLITS 2u /* with each put, while buckets double */
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
static_assert((BUCKETS_MOST & (BUCKETS_MOST - 1)) == 0, "buckets double up to the most");

/* ---- one bucket ---- */

static size_t bucket_used(const bucket_t *self) {
    return self->count * sizeof(slot_t) + self->bytes;
}

static uint8_t *bucket_end(bucket_t *self) {
    return (uint8_t *) self + BUCKET_BYTES;
}

static uint8_t tag_of(uint64_t hash) {
    return (uint8_t) (hash >> 56);
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

static bucket_t *bucket_of(const heads_t *self, uint64_t hash) {
    size_t number = hash & (self->count - 1);
    return bucket_at(self, number < self->split ? hash & (2 * self->count - 1) : number);
}

/* Divides the next bucket between itself and a new one. */
static void bucket_split(heads_t *self) {
    bucket_t *bucket = bucket_at(self, self->split);
    bucket_t *fresh = bucket_at(self, self->split + self->count);
    const uint8_t *head = bucket_end(bucket);
    size_t at = 0;
    while (at < bucket->count) {
        slot_t slot = bucket->slots[at];
        head -= slot.size;
        if (hash_of((slice_t){head + 1, head[0]}) & self->count) {
            bucket_add(fresh, slot.tag, head, slot.size);
            bucket_remove(bucket, head, at);
            head += slot.size;
        } else {
            at++;
        }
    }
    if (++self->split == self->count) {
        self->count *= 2;
        self->split = 0;
    }
}

/* Doubles the buckets, step by step, when they are three quarters full. */
static void heads_grow(heads_t *self) {
    bool due = self->split || self->bytes > self->count * ROOM_BYTES / 4 * 3;
    for (unsigned i = 0; i < SPLITS && due && self->count < BUCKETS_MOST; i++) {
        bucket_split(self);
        due = self->split;
    }
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

/* Memory is the kernel's pages: those of buckets never used are none. */
static bool heads_open(heads_t *self) {
    if (self->memory)
        return true;
    void *memory =
        mmap(NULL, HEADS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    *self = (heads_t){.memory = memory, .count = BUCKETS_LEAST};
    return true;
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
    *self = (heads_t){.memory = NULL};
}
