/* placement.h: which CPU the threads of an actor's process run on.
 *
 * An actor's thread and ZeroMQ's I/O thread take turns: each message wakes one, which wakes the
 * other and waits. Left to itself the scheduler puts whoever is woken on an idle CPU, and what
 * should be a switch becomes an interrupt to a CPU that sleeps, three times a hop. So the two are
 * kept on one CPU, the gateway's on one, raft's and storage's on the next; all other threads of the
 * process (LevelDB's, the workers) stay free. A gateway with few requests goes to raft's CPU, as
 * the three then take turns too; with more there is work for two. When an actor's threads wait for
 * their CPU while others are idle, they are let go: then they have work for more than one. Whoever
 * places the threads from outside (taskset) has the last word.
 *
 * Owns: the affinity of the process's threads. Must not know what they do. Not for an embedded
 * node: the threads of a host are the host's.
 */
#ifndef DRAX_ACTORS_PLACEMENT_H
#define DRAX_ACTORS_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/message.h"

typedef struct placement placement_t;

/* Places the calling thread (the actor's; its process's first) and the I/O threads that run by now.
 * `home` names the node: its actors agree on their CPUs by it. Gives NULL where there is nothing to
 * choose (one CPU is allowed) or the kernel does not tell how long threads wait. DRAX_ENOMEM. */
int placement_new(placement_t **out, actor_t actor, const char *home);
/* Leaves the threads where they are. */
void placement_destroy(placement_t **self);
/* Looks again when it is time; to be called every turn, by the actor's thread. `load`: the requests
 * that the actor works on. */
void placement_turn(placement_t *self, size_t load, uint64_t now_ms);

/* ---- the decisions ---- */

/* Whether the gateway belongs on raft's CPU, given that it is there (`together`) or not, what it
 * works on now, and for how long that has not been much. */
bool placement_joins(bool together, size_t load, uint64_t quiet_ms);

/* Of one stretch of time, in ns. */
typedef struct placement_sample {
    uint64_t time;
    uint64_t ran, waited; /* the actor's thread and the I/O threads together: on a CPU, for one */
    uint64_t idle;        /* the CPUs that are allowed, together */
} placement_sample_t;

/* Whether the threads are to be left to the scheduler, given that they were (`free`) or not. */
bool placement_frees(bool free, const placement_sample_t *sample);

#endif
