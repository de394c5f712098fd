/* join.h: asks the nodes named by --peer, one after the other, to let this node into their cluster.
 *
 * Owns: one DEALER to one gateway at a time. Asks for as long as it takes; stops when the raft
 * actor no longer wants to join.
 */
#ifndef DRAX_ACTORS_JOIN_H
#define DRAX_ACTORS_JOIN_H

#include "actors/loop.h"
#include "actors/raft_actor.h"
#include "broker/config.h"

typedef struct join join_t;

/* `settings` and `log` are borrowed. DRAX_ENOMEM. */
int join_new(join_t **out, void *context, loop_t *loop, raft_actor_t *raft,
             const settings_t *settings, const log_t *log);
void join_destroy(join_t **self);

#endif
