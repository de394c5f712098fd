/* reply.h: a response of the client protocol as the checks compare it.
 *
 * Owns: nothing. Knows the contract's result maps; not how the product writes them.
 *
 * What can be long (values, pairs) is kept as a digest, so that an answer of a mebibyte is compared
 * with what the model expects by a few numbers:
 *
 *   pair digest  = mix(mix(mix(before, hash(key)), index), hash(value) or 0)    in the order given
 *   results      = mix of each result's numbers and digest
 */
#ifndef DRAX_TESTS_SIM_REPLY_H
#define DRAX_TESTS_SIM_REPLY_H

#include "broker/limits.h"
#include "broker/rpc.h"

/* Which members a result map had. */
enum {
    REPLY_KEY = 1u << 0,
    REPLY_VALUE = 1u << 1,
    REPLY_INDEX = 1u << 2,
    REPLY_REVISION = 1u << 3,
    REPLY_DELETED = 1u << 4,
    REPLY_COUNT = 1u << 5,
    REPLY_MORE = 1u << 6,
    REPLY_PAIRS = 1u << 7,
    REPLY_EXISTS = 1u << 8,
    REPLY_TTL_MS = 1u << 9,
    REPLY_LEASE = 1u << 10,
    REPLY_NODE = 1u << 11,
    REPLY_MEMBERS = 1u << 12,
    REPLY_LEADER = 1u << 13,
    REPLY_ID = 1u << 14,
    REPLY_SUCCEEDED = 1u << 15,
    REPLY_RESULTS = 1u << 16,
    REPLY_KEYS = 1u << 17,
    REPLY_GRANTED_MS = 1u << 18,
    REPLY_TOKEN = 1u << 19
};

typedef struct reply {
    uint32_t msgid;
    rpc_code_t code;
    unsigned fields;
    uint64_t revision, index, deleted, count, ttl_ms, lease, node, id, keys, granted_ms, token;
    bool exists, more, succeeded;
    size_t pairs;
    size_t bytes;    /* keys and values in `pairs`, without what encodes them */
    uint64_t digest; /* of key and value, of the pairs, or of a transaction's results */
    slice_t last;    /* key of the last pair; borrows from the payload */
} reply_t;

/* A response [1, msgid, error, result]. DRAX_EPROTO: it is none, or not as the contract says. */
int reply_parse(slice_t payload, reply_t *out);

/* What both sides of a comparison compute. `value` NULL: keys_only. */
uint64_t reply_hash(slice_t bytes);
uint64_t reply_mix(uint64_t hash, uint64_t value);
uint64_t reply_pair(uint64_t before, uint64_t key_hash, uint64_t index, uint64_t value_hash);

/* Adds pairs, an array of them, to those in `out`. */
int reply_pairs(slice_t pairs, reply_t *out);
/* A transaction's digest with one more result; without the time that remains. */
uint64_t reply_result(uint64_t before, const reply_t *result);

/* The name of the first thing in which two answers to one request differ; NULL: none. The time that
 * remains (ttl_ms) may be anything from 1 to what `expected` has; `msgid` and `last` are not
 * compared. */
const char *reply_differs(const reply_t *expected, const reply_t *got);

#endif
