/* record.h: the layout of keys and records in the ordered store.
 *
 * Owns: bytes of keys and records, and their hashes. Knows nothing of overlays, stores or rules.
 *
 *   store   = pair*                        all numbers are big-endian
 *   pair    = "d" due_ms:u64 lease:u64 -> "" derived: leases by when they are due
 *           | "g" lease:u64 -> lock        a lock that is held, by its lease
 *           | "k" key -> user              a user's key
 *           | "l" lease:u64 -> lease       a lease
 *           | "m" -> meta                  see meta.h
 *           | "n" size:u16 key waiter:u64 -> "" derived: who is next for a lock
 *           | "o" node:u64 -> origin       blocks of a node's gateway
 *           | "p" client seq:u64 -> waiter:u64 arguments:u64 derived: a client's requests that wait
 *           | "s" client -> session        exactly once: a client
 *           | "s" client page:u64 -> answers   its answers to the requests of a page
 *           | "s" client page:u64 at:u8 -> outcome   one that stands apart
 *           | "t" due_ms:u64 key -> ""     derived: keys by when they are due
 *           | "u" used_ms:u64 client -> "" derived: sessions by their last use
 *           | "w" waiter:u64 -> waiter     a request that waits for a lock, or was granted it
 *           | "x" lease:u64 key -> ""      derived: keys by their lease
 *   client  = length:u8 byte{length}
 *   user    = hash:u64 index:varint created:varint version:varint due_ms:varint life:varint value
 *   lease   = ttl_ms:u64 due_ms:u64 renewals:u64 keys:u64 lock:u8
 *   lock    = waiter:u64 taken:u8 key
 *   waiter  = lease:u64 revision:u64 node:u64 ttl_ms:u64 arguments:u64 seq:u64 has_value:u8
 *             client key_size:u16 key value
 *   origin  = boot:u64 last:u64
 *   session = used_ms:u64 count:u64 low:u64 high:u64 floor:u64
 *   answers = answer*                      at most one for each `at`
 *   answer  = at:u8 code:u8 arguments:u64 index:varint revision:varint number:varint
 *           | at:u8 255:u8 arguments:u64   its outcome stands apart
 *
 * A varint has 7 bits a byte, lowest first (varint.h). `life` is lease * 2, and 1 more while the
 * key is a lock that is held; then it names the lock's lease, which is also its token. The request
 * `seq` is in page seq / ANSWERS_PAGE, at seq % ANSWERS_PAGE; those up to the session's floor stand
 * in a page until all of it goes, and do not count.
 *
 * g, k, l, o, s and w are the replicated state: the digest is the sum of their hashes, and a
 * snapshot carries them alone. The others follow from them. Numbers are hashed as u64, one after
 * the other, and a whole page counts as the sum of its answers.
 *
 *   hash of k         = XXH3(value, seed XXH3(index created version due_ms lease, seed XXH3(pair
 *                       key))), bit 63 of lease set for a lock
 *   hash of an answer = XXH3(outcome, seed XXH3(arguments code:u8 index revision number, seed
 *                       XXH3("s" client seq:u64)))
 *   hash of the others = XXH3(record, seed XXH3(pair key))
 */
#ifndef DRAX_STORE_RECORD_H
#define DRAX_STORE_RECORD_H

#include "broker/limits.h"
#include "broker/pack.h"
#include "store/kv.h"

#define PREFIX_LEASE_DUE 'd'
#define PREFIX_LOCK 'g'
#define PREFIX_USER 'k'
#define PREFIX_LEASE 'l'
#define PREFIX_META 'm'
#define PREFIX_NEXT 'n'
#define PREFIX_ORIGIN 'o'
#define PREFIX_WAITING 'p'
#define PREFIX_SESSION 's'
#define PREFIX_DUE 't'
#define PREFIX_USED 'u'
#define PREFIX_WAITER 'w'
#define PREFIX_LEASE_KEY 'x'

/* ---- keys ---- */

#define RECORD_KEY_BYTES (1 + 2 + 8 + LIMIT_KEY_BYTES + 1)

/* A key of the store being built. */
typedef struct record_key {
    size_t size;
    uint8_t bytes[RECORD_KEY_BYTES];
} record_key_t;

slice_t record_key(const record_key_t *self);

/* Builders; the parts must be within the limits of the contract (a directory's prefix, one byte
 * longer than a key, fits as well). */
void record_key_user(record_key_t *out, slice_t key);
void record_key_origin(record_key_t *out, uint64_t node);
void record_key_session(record_key_t *out, slice_t client);
void record_key_answers(record_key_t *out, slice_t client, uint64_t page);
void record_key_outcome(record_key_t *out, slice_t client, uint64_t seq);
void record_key_lease(record_key_t *out, uint64_t lease);
void record_key_lock(record_key_t *out, uint64_t lease);
void record_key_waiter(record_key_t *out, uint64_t waiter);
void record_key_next(record_key_t *out, slice_t key, uint64_t waiter);
void record_key_waiting(record_key_t *out, slice_t client, uint64_t seq);
void record_key_lease_key(record_key_t *out, uint64_t lease, slice_t key);
void record_key_due(record_key_t *out, uint64_t due_ms, slice_t key);
void record_key_lease_due(record_key_t *out, uint64_t due_ms, uint64_t lease);
void record_key_used(record_key_t *out, uint64_t used_ms, slice_t client);

/* Readers, of a pair's key: DRAX_ECORRUPT when it is not of that kind. Slices borrow from `key`. */
int record_key_user_parse(slice_t key, slice_t *user_key);
int record_key_origin_parse(slice_t key, uint64_t *node);
typedef enum { SESSION_PART_HEAD, SESSION_PART_ANSWERS, SESSION_PART_OUTCOME } session_part_t;
/* What of a session: `*number` is the page of ANSWERS, the seq of an OUTCOME. */
int record_key_session_parse(slice_t key, slice_t *client, session_part_t *part, uint64_t *number);
int record_key_lease_parse(slice_t key, uint64_t *lease);
int record_key_lock_parse(slice_t key, uint64_t *lease);
int record_key_waiter_parse(slice_t key, uint64_t *waiter);
int record_key_next_parse(slice_t key, slice_t *user_key, uint64_t *waiter);
int record_key_lease_key_parse(slice_t key, uint64_t *lease, slice_t *user_key);
int record_key_due_parse(slice_t key, uint64_t *due_ms, slice_t *user_key);
int record_key_lease_due_parse(slice_t key, uint64_t *due_ms, uint64_t *lease);
int record_key_used_parse(slice_t key, uint64_t *used_ms, slice_t *client);

/* ---- records ---- */

#define RECORD_HEADER_BYTES 58u /* at most: what stands before the value */

typedef struct record {
    uint64_t index;   /* revision of the last change */
    uint64_t created; /* revision that made the key */
    uint64_t version; /* writes since then */
    uint64_t due_ms;  /* cluster time; 0: never */
    uint64_t lease;   /* 0: none */
    bool locked;      /* a lock that is held, by `lease` */
    uint64_t hash;
    slice_t value;
} record_t;

int record_parse(slice_t bytes, record_t *out); /* DRAX_ECORRUPT; `value` borrows */
/* For the pair key `key`. */
uint64_t record_hash(const record_t *self, slice_t key);
/* Writes what stands before the value, and returns its size. */
size_t record_header_write(const record_t *self, uint8_t out[RECORD_HEADER_BYTES]);

#define LEASE_BYTES 33u

typedef struct lease {
    uint64_t ttl_ms;   /* as granted */
    uint64_t due_ms;   /* cluster time */
    uint64_t renewals; /* so far */
    uint64_t keys;     /* that live by it */
    bool lock;         /* it is that of a lock: one of its keys, named in the lock's record */
} lease_t;

int lease_parse(slice_t bytes, lease_t *out);
void lease_write(const lease_t *self, uint8_t out[LEASE_BYTES]);

typedef struct lock {
    uint64_t waiter; /* whose request it was; 0: it was granted at once */
    bool taken;      /* a plain key stood there, and stays when the lock ends */
    slice_t key;
} lock_t;

int lock_parse(slice_t bytes, lock_t *out); /* `key` borrows */
void lock_write(const lock_t *self, buffer_t *out);

/* A request that waits for a lock. Once it has it, the record stays as long as the lock is held, so
 * that a gateway can ask what it came to. */
typedef struct waiter {
    uint64_t lease;    /* what it was granted; 0: it waits */
    uint64_t revision; /* of the grant */
    uint64_t node;     /* in whose gateway it waits */
    uint64_t ttl_ms;
    uint64_t arguments; /* exactly once: as in an answer; `client` has size 0 when there is none */
    uint64_t seq;
    bool has_value;
    slice_t client, key, value;
} waiter_t;

int waiter_parse(slice_t bytes, waiter_t *out); /* slices borrow */
void waiter_write(const waiter_t *self, buffer_t *out);

#define ORIGIN_BYTES 16u

typedef struct origin {
    uint64_t node;
    uint64_t boot;
    uint64_t last; /* seq of the last block that counted */
} origin_t;

int origin_parse(slice_t bytes, origin_t *out); /* sets boot and last */
void origin_write(const origin_t *self, uint8_t out[ORIGIN_BYTES]);

#define SESSION_BYTES 40u

typedef struct session {
    uint64_t used_ms; /* last use, in steps (session.h) */
    uint64_t count;   /* answers kept */
    uint64_t low;     /* lowest seq kept, when count > 0 */
    uint64_t high;    /* highest seq ever kept */
    uint64_t floor;   /* highest seq whose answer was dropped */
} session_t;

int session_parse(slice_t bytes, session_t *out);
void session_write(const session_t *self, uint8_t out[SESSION_BYTES]);

#define ANSWERS_PAGE 16u /* seqs in a page */
#define ANSWER_APART 255u
#define ANSWER_BYTES (10 + 3 * 10) /* in a page, at most */

/* What a request came to, without what the request itself tells. */
typedef struct answer {
    uint64_t arguments; /* hash of the request's arguments */
    uint8_t code;       /* rpc_code_t, or ANSWER_APART */
    uint64_t index, revision, number;
    slice_t outcome; /* ANSWER_APART: the answer's bytes, which are in no page */
} answer_t;

uint64_t answer_hash(const answer_t *self, slice_t client, uint64_t seq);
/* Takes the next answer of a page from the front of `page`: 1, 0 at its end, or DRAX_ECORRUPT. */
int answers_next(slice_t *page, unsigned *at, answer_t *out);
/* Writes an answer as it stands in a page, and returns its size. */
size_t answer_write(const answer_t *self, unsigned at, uint8_t out[ANSWER_BYTES]);

/* Hash of a pair of any replicated kind but k. */
uint64_t record_hash_plain(slice_t key, slice_t value);

/* ---- numbers ---- */

static inline void be64_write(uint8_t *out, uint64_t value) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t) (value >> (56 - 8 * i));
}

static inline uint64_t be64_read(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

static inline void be32_write(uint8_t *out, uint32_t value) {
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t) (value >> (24 - 8 * i));
}

static inline uint32_t be32_read(const uint8_t *bytes) {
    return (uint32_t) bytes[0] << 24 | (uint32_t) bytes[1] << 16 | (uint32_t) bytes[2] << 8 |
           bytes[3];
}

#endif
