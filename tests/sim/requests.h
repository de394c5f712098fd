/* requests.h: random requests of every method, right and wrong ones.
 *
 * Owns: the keys that users fight over, and which index of each was seen last (so that compare and
 * swap succeeds now and then). Must not know: who sends them, and where.
 */
#ifndef DRAX_TESTS_SIM_REQUESTS_H
#define DRAX_TESTS_SIM_REQUESTS_H

#include "broker/rpc.h"
#include "tests/sim/random.h"

#define REQUEST_KEYS 40u
#define REQUEST_LEASES 6u
#define REQUEST_LOCKS 4u                 /* keys that are locked now and then */
#define REQUEST_FENCES 4u                /* tokens that are remembered */
#define REQUEST_VALUE_BYTES (256u << 10) /* the largest value made */

typedef struct requests {
    unsigned large_in_1000; /* values of some ten to some hundred kilobytes */
    unsigned ttl_in_1000;
    unsigned fence_in_1000;
    uint64_t seen[REQUEST_KEYS];
    uint64_t leases[REQUEST_LEASES]; /* granted last; 0: none */
    size_t lease_next;
    struct {
        unsigned lock;
        uint64_t token;       /* 0: none */
    } fences[REQUEST_FENCES]; /* granted last */
    size_t fence_next;
    buffer_t compares, then, otherwise; /* of the last transaction */
    uint8_t *scratch;                   /* a large value */
} requests_t;

void requests_init(requests_t *self);
void requests_clear(requests_t *self);

/* Fills `out`; slices borrow from `self` or static storage until the next call. */
void requests_write(requests_t *self, stream_t *random, uint32_t msgid, request_t *out);
void requests_read(requests_t *self, stream_t *random, uint32_t msgid, request_t *out);
/* An answer told that `key` was changed at `index`. */
void requests_learn(requests_t *self, slice_t key, uint64_t index);

/* A lock request for some lock, or an unlock with some token that was granted lately. */
void requests_lock(requests_t *self, stream_t *random, uint32_t msgid, request_t *out);
/* Gives a request the fence of some lock that was granted lately; a write of one key may become one
 * of the lock's. */
void requests_fence(const requests_t *self, stream_t *random, request_t *out);
/* An answer told that `key` was granted under `token`. */
void requests_learn_lock(requests_t *self, slice_t key, uint64_t token);

/* An answer told of a lease. */
void requests_learn_lease(requests_t *self, uint64_t lease);

/* The payload of a request. */
void request_encode(const request_t *request, buffer_t *out);

/* `method, params` of it, as in the list of a transaction. */
void request_call_encode(const request_t *request, buffer_t *out);

/* A payload that is refused, whatever the store holds, and how: `*echoed` is the msgid that the
 * answer must carry. RPC_OK: it must not be answered at all. */
rpc_code_t requests_wrong(stream_t *random, uint32_t msgid, buffer_t *out, uint32_t *echoed);

#endif
