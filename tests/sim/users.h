/* users.h: the simulated users: what the world asks of them.
 *
 * Owns: their connections, operations and the history of what they were answered. They act through
 * world.h alone: users_new sets their first timers.
 */
#ifndef DRAX_TESTS_SIM_USERS_H
#define DRAX_TESTS_SIM_USERS_H

#include "tests/sim/history.h"
#include "tests/sim/world.h"

typedef struct users users_t;

typedef struct users_options {
    unsigned slots;      /* gateways may be at slots 0 .. slots - 1 */
    unsigned users;      /* how many at a time */
    uint64_t pause_us;   /* about, between an answer and a user's next operation */
    bool broken_on_test; /* a check must fail: the test of replaying and shrinking */
} users_options_t;

users_t *users_new(world_t *world, const users_options_t *options);
void users_destroy(users_t **self);

/* From now on nothing new is begun; what is under way is answered or given up (6 s at the most). */
void users_stop(users_t *self);
/* After users_stop: nothing is under way any more. */
bool users_idle(const users_t *self);
/* The world is whole and quiet again: judges the history (world_fail). */
void users_finish(users_t *self);
/* What came of locks. */
history_locks_t users_locks(const users_t *self);
/* Operations answered so far. */
uint64_t users_operations(const users_t *self);

#endif
