/* checks.h: what must hold at every step: the hooks that the world calls, and the checks behind.
 *
 * Owns: what it remembers of every node's past. Looks into the actors (world.h, white box), never
 * changes them. A violation is told with world_fail.
 *
 * Each hook is called with the world in the state right after what it names. `slot` says where.
 */
#ifndef DRAX_TESTS_SIM_CHECKS_H
#define DRAX_TESTS_SIM_CHECKS_H

#include "tests/sim/world.h"

typedef struct checks checks_t;

checks_t *checks_new(world_t *world);
void checks_destroy(checks_t **self);

/* `actor` has been started, or has ended (it is gone already). */
void checks_started(checks_t *self, unsigned slot, actor_t actor);
void checks_ended(checks_t *self, unsigned slot, actor_t actor);
/* The disk was replaced by an empty one. */
void checks_wiped(checks_t *self, unsigned slot);
/* The machine lost its power. */
void checks_power_lost(checks_t *self, unsigned slot);
/* A turn of `actor` is over (messages received, turn taken) and it goes on living. */
void checks_turn(checks_t *self, unsigned slot, actor_t actor);
/* `actor` sends `message` to `to` of its node, or (`to` ACTOR_NONE) to the peer message->to. It
 * has not left yet: of what it speaks must be true at this moment. Called within the turn. */
void checks_sent(checks_t *self, unsigned slot, actor_t actor, actor_t to,
                 const message_t *message);
/* The file at `path` of the disk has been synced, without an error. Called within the turn or a
 * worker's job. */
void checks_synced(checks_t *self, unsigned slot, const char *path);
/* What the committed log so far must come to. */
const struct replay *checks_replay(const checks_t *self);

/* What a node told is not unsaid until this changes: its disk was replaced, or it gave up waiting
 * for a majority after a power loss (docs/ARCHITECTURE.md, "Fairness and starting"). Never 0. */
uint64_t checks_memory(const checks_t *self, unsigned slot);

/* The run is over, the world is whole and quiet. */
void checks_finish(checks_t *self);

#endif
