/* fuzz_forge.h: requests, entries and messages made of a fuzzer's input, so that mutating a byte
 * changes a field rather than breaking the encoding.
 *
 * Messages go through the codec before a harness gets them: what cannot be on the wire never
 * reaches an actor, as in production.
 */
#ifndef DRAX_TESTS_FUZZ_FORGE_H
#define DRAX_TESTS_FUZZ_FORGE_H

#include "broker/message.h"
#include "broker/pack.h"
#include "tests/fuzz/fuzz.h"

/* What the numbers in a forged message lie near. */
typedef struct fuzz_near {
    uint64_t cluster, node;
    uint64_t index, term, seq; /* `seq`: of writes, sessions, read ids */
    uint64_t time_ms;
} fuzz_near_t;

/* Appends one request payload: mostly of the right shape, of any method, with keys of a small set
 * so that they meet again. */
void fuzz_request(fuzz_input_t *in, buffer_t *out);

/* A block of up to 4 such commands and sometimes an EXPIRE, or sometimes any bytes. Never NULL,
 * never empty: blocks on the wire are not. */
payload_t *fuzz_block(fuzz_input_t *in, const fuzz_near_t *near);

/* An entry of any kind; the caller clears it. */
void fuzz_entry(fuzz_input_t *in, uint64_t index, uint64_t term, const fuzz_near_t *near,
                entry_t *out);

/* A message of `kind` whose fields come from the input. False: none that the codec would carry. */
bool fuzz_message(fuzz_input_t *in, message_kind_t kind, const fuzz_near_t *near, message_t *out);

/* Through the codec: false (and `message` cleared) when it cannot travel. */
bool fuzz_travel(message_t *message);

#endif
