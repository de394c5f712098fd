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
 *           | "s" client seq:u64 -> answer its answer to one request
 *           | "t" due_ms:u64 key -> ""     derived: keys by when they are due
 *           | "u" used_ms:u64 client -> "" derived: sessions by their last use
 *           | "w" waiter:u64 -> waiter     a request that waits for a lock, or was granted it
 *           | "x" lease:u64 key -> ""      derived: keys by their lease
 *   client  = length:u8 byte{length}
 *   user    = index:u64 created:u64 version:u64 due_ms:u64 lease:u64 hash:u64 value
 *   lease   = ttl_ms:u64 due_ms:u64 renewals:u64 keys:u64 lock:u8
 *   lock    = waiter:u64 taken:u8 key
 *   waiter  = lease:u64 revision:u64 node:u64 ttl_ms:u64 arguments:u64 seq:u64 has_value:u8
 *             client key_size:u16 key value
 *   origin  = boot:u64 last:u64
 *   session = used_ms:u64 count:u64 low:u64 high:u64 floor:u64
 *   answer  = arguments:u64 code:u8 index:u64 revision:u64 number:u64
 *           | arguments:u64 255:u8 outcome     of a method whose answer the request does not tell
 *
 * g, k, l, o, s and w are the replicated state: the digest is the sum of their hashes, and a
 * snapshot carries them alone. The others follow from them. A user's `lease` has bit 63 set while
 * the key is a lock that is held, and then names the lock's lease, which is also its token.
 *
 *   hash of k  = XXH3(value, seed XXH3(first 40 bytes of the record, seed XXH3(pair key)))
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
void record_key_answer(record_key_t *out, slice_t client, uint64_t seq);
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
int record_key_origin_parse(slice_t key, uint64_t *node);
/* The key of a session (`*seq` 0) or of an answer. */
int record_key_session_parse(slice_t key, slice_t *client, uint64_t *seq);
int record_key_lease_parse(slice_t key, uint64_t *lease);
int record_key_lock_parse(slice_t key, uint64_t *lease);
int record_key_waiter_parse(slice_t key, uint64_t *waiter);
int record_key_next_parse(slice_t key, slice_t *user_key, uint64_t *waiter);
int record_key_lease_key_parse(slice_t key, uint64_t *lease, slice_t *user_key);
int record_key_due_parse(slice_t key, uint64_t *due_ms, slice_t *user_key);
int record_key_lease_due_parse(slice_t key, uint64_t *due_ms, uint64_t *lease);
int record_key_used_parse(slice_t key, uint64_t *used_ms, slice_t *client);

/* ---- records ---- */

#define RECORD_HEADER_BYTES 48u

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
/* Sets self->hash, for the pair key `key`, and writes RECORD_HEADER_BYTES and the value to `out`.
 */
void record_write(record_t *self, slice_t key, uint8_t *out);
uint64_t record_hash(const record_t *self, slice_t key);

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

#define ANSWER_BYTES 33u
#define ANSWER_WHOLE_BYTES 9u /* and the outcome */
#define ANSWER_WHOLE 255u

/* What a request came to, without what the request itself tells. */
typedef struct answer {
    uint64_t arguments; /* hash of the request's arguments */
    uint8_t code;       /* rpc_code_t, or ANSWER_WHOLE */
    uint64_t index, revision, number;
    slice_t outcome; /* ANSWER_WHOLE: the answer's bytes */
} answer_t;

int answer_parse(slice_t bytes, answer_t *out); /* `outcome` borrows */
size_t answer_size(const answer_t *self);
void answer_write(const answer_t *self, uint8_t *out); /* answer_size bytes */

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
