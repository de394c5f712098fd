/* client.h: the inside of a drax_t, shared by its two halves: client.c (calls and their callers)
 * and router.c (which endpoint, when, and what comes back).
 *
 * Everything below is under the client's lock. A call is in exactly one list: `pending` until it
 * has an outcome, then `completed` until drax_poll calls back; a blocking call leaves when its
 * caller takes the outcome.
 */
#ifndef DRAX_CLI_CLIENT_H
#define DRAX_CLI_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "cli/call.h"
#include "cli/client_limits.h"
#include "cli/connection.h"
#include "drax.h"

typedef struct call_list {
    call_t *first, *last;
} call_list_t;

struct drax {
    pthread_mutex_t lock;
    void *context;
    bool own_context;
    void (*released)(void *hint); /* the caller's context: NULL, or whom to tell at the end */
    void *released_hint;
    size_t connection_count;
    size_t current; /* of the connections: where calls go */
    connection_t connections[CLIENT_ENDPOINTS];
    client_id_t id;
    uint64_t seq;                    /* of the last write */
    uint32_t msgid;                  /* of the last call */
    atomic_uint_fast64_t timeout_ms; /* read before the lock is taken */
    call_list_t pending;             /* in the order of submission */
    call_list_t completed;
    size_t submitted;                  /* calls whose callback is still to come */
    uint64_t outcomes;                 /* grows with every call that reaches DONE */
    call_t *slots[CLIENT_SLOTS];       /* pending calls, by msgid */
    char trouble[CLIENT_DETAIL_BYTES]; /* what last went wrong with a connection; "" after an answer
                                        */
    char detail[CLIENT_DETAIL_BYTES];  /* of the last call that failed */
};

/* Milliseconds of a clock that only goes forward. */
uint64_t client_now_ms(void);

/* Moves a call that reached DONE out of `pending`: to `completed` when it was submitted. */
void client_call_settle(drax_t *self, call_t *call);

/* Makes a call, waits for its outcome, and gives its result to `out` (NULL: not wanted). */
int client_call(drax_t *self, const call_spec_t *spec, drax_result_t **out);

/* One turn: takes in what has arrived, sends what is due. When no call got its outcome by that,
 * waits for the network, until `until_ms` at the latest. */
void router_turn(drax_t *self, uint64_t until_ms);

#endif
