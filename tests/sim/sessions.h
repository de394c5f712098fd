/* sessions.h: exactly once, as the contract and docs/STORAGE.md promise it: the answers that each
 * client has had.
 *
 * Owns: clients, the highest 1,024 seqs of each with answers and arguments, and which seqs wait for
 * a lock. Must not know: the
 * product's store.
 */
#ifndef DRAX_TESTS_SIM_SESSIONS_H
#define DRAX_TESTS_SIM_SESSIONS_H

#include "tests/sim/reply.h"

typedef struct sessions sessions_t;

sessions_t *sessions_new(void);
void sessions_free(sessions_t **self);

/* A request with client and seq comes at `time_ms`. True: it is answered already, or refused, with
 * `out`; or it waits, under the number `*waiter` (else 0). False: it is to be applied, and
 * sessions_keep or sessions_wait follows. */
bool sessions_begin(sessions_t *self, const request_t *request, uint64_t time_ms, reply_t *out,
                    uint64_t *waiter);
void sessions_wait(sessions_t *self, const request_t *request, uint64_t waiter);
/* What waits under this number, if it is of a session, has its answer. */
void sessions_settle(sessions_t *self, uint64_t waiter, uint64_t time_ms, const reply_t *answer);
void sessions_keep(sessions_t *self, const request_t *request, uint64_t time_ms,
                   const reply_t *answer);
/* After each entry of the log: the client that has been silent longest loses its lowest 64 answers
 * once it has been silent for an hour, counted in whole minutes. */
void sessions_sweep(sessions_t *self, uint64_t time_ms);

#endif
