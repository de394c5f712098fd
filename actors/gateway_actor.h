/* gateway_actor.h: the actor that serves clients.
 *
 * Owns: requests until they are answered, the blocks they are proposed in, what is known of the
 * node for `ping` and `status`. Must not know: terms, the journal, keys; it never parses an
 * outcome.
 *
 * A write goes into the open block, which leaves with the turn or, while others are under way, when
 * it is as large as they are; blocks go to raft in order and are repeated, still in order,
 * until storage tells their results: after a change of leader, and when one was skipped (block.h
 * has the rule that makes this safe). So a change of leader costs a client time, not an unknown
 * outcome. A linearizable read goes to storage, where it waits, and to raft, which tells storage
 * from when on it is safe; or its answer waits here (gateway_held.c). Everything has a deadline of
 * LIMIT_REQUEST_TIMEOUT_MS.
 *
 * Invariants
 *  1. Every request gets exactly one answer.
 *  2. UNAVAILABLE is said of a write only if none of its proposals can have reached a log; such a
 * block is then never proposed again. Otherwise TIMEOUT.
 *  3. Pending requests, bytes and answers not taken are bounded, per connection and in all.
 */
#ifndef DRAX_ACTORS_GATEWAY_ACTOR_H
#define DRAX_ACTORS_GATEWAY_ACTOR_H

#include "actors/actor.h"
#include "actors/clients.h"
#include "broker/log.h"

typedef struct gateway_actor gateway_actor_t;

typedef struct gateway_options {
    const post_t *post;
    const log_t *log;
    uint64_t boot, seed;
    uint64_t max_request_bytes;
    /* Sends a response; as clients_send. */
    int (*respond)(void *hint, const envelope_t *envelope, slice_t response);
    void *hint;
} gateway_options_t;

int gateway_actor_new(gateway_actor_t **out, const gateway_options_t *options);
void gateway_actor_destroy(gateway_actor_t **self);

/* One message of a client; takes `*envelope` over. */
void gateway_actor_request(gateway_actor_t *self, envelope_t **envelope, slice_t payload,
                           uint64_t now_ms);

extern const actor_ops_t gateway_actor_ops;

#endif
