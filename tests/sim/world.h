/* world.h: the simulated world, as those see it who live in it: users, checks, the liveness test.
 *
 * A world is a number of slots (a slot is a machine: addresses, a disk, a clock), on some of which
 * a node runs: the real storage, raft and gateway actors. Everything happens in one thread, in
 * events at points of simulated time; whatever is called from here happens within one event.
 *
 * Owns: everything simulated. Must not know: what users send, what is right (checks.h does).
 *
 * Rules for who lives here
 *  1. No clock, no random(), no addresses or hash order in decisions: world_now_us, world_stream.
 *  2. Callbacks may call anything in this header; they are never called from within such a call.
 *  3. After world_fail the event at hand goes on to its end, and is the last.
 */
#ifndef DRAX_TESTS_SIM_WORLD_H
#define DRAX_TESTS_SIM_WORLD_H

#include "broker/message.h"
#include "tests/sim/random.h"

#define WORLD_SLOTS 10u /* members and spare machines */

/* Requests with msgids from here on are the world's own. */
#define WORLD_MSGIDS 0xff000000u

typedef struct world world_t;

/* ---- time and chance ---- */

/* True time since the world began, in microseconds. The nodes' clocks differ from it. */
uint64_t world_now_us(const world_t *self);
/* A new stream for `label`; labels below 1000 belong to the world. */
stream_t world_stream(const world_t *self, uint64_t label);

typedef void world_timer_fn(void *hint);
/* Calls `fire(hint)` once, at `at_us` or, if that has passed, in a next event. There is no way to
 * take it back: who does not want it any more lets it pass. */
void world_timer(world_t *self, uint64_t at_us, world_timer_fn *fire, void *hint);

/* ---- talking to gateways ---- */

/* Who holds a connection. `payload` is borrowed. */
typedef struct listener {
    void *hint;
    /* One payload of the gateway: a response or a notification. */
    void (*received)(void *hint, uint64_t connection, slice_t payload);
    /* The gateway is gone, or the network between; nothing more will come, and what was sent may
     * or may not have arrived. The id is not used again. */
    void (*broken)(void *hint, uint64_t connection);
} listener_t;

/* Is there a gateway that takes connections at this slot? What a client may find out by trying. */
bool world_gateway_up(const world_t *self, unsigned slot);
/* A connection to the gateway at `slot`, as a DEALER's: in order both ways, with a delay; every
 * connection is a client of its own to the gateway. 0: refused, nobody listens. `listener` is
 * copied. */
uint64_t world_connect(world_t *self, unsigned slot, const listener_t *listener);
/* Sends one payload (copied). After `broken` or world_disconnect: ignored. */
void world_send(world_t *self, uint64_t connection, slice_t payload);
/* No callback comes for it any more. */
void world_disconnect(world_t *self, uint64_t connection);

/* ---- white box, for checks ---- */

struct storage_actor;
struct raft_actor;
struct gateway_actor;

/* The actors that live at `slot`, NULL for one that does not. Their insides are in
 * actors/…_internal.h. Borrowed until the event ends. */
const struct storage_actor *world_storage(const world_t *self, unsigned slot);
const struct raft_actor *world_raft(const world_t *self, unsigned slot);
const struct gateway_actor *world_gateway(const world_t *self, unsigned slot);
/* How often the disk of `slot` was replaced by an empty one: a node's identity, with its slot. */
unsigned world_disk(const world_t *self, unsigned slot);
/* How often `actor` was started at `slot`. */
uint64_t world_life(const world_t *self, unsigned slot, actor_t actor);
/* How long `actor` has run at `slot` so far: true time, without what it was paused. Counts on over
 * its lives. */
uint64_t world_awake_ms(const world_t *self, unsigned slot, actor_t actor);
struct checks *world_checks(const world_t *self);

/* ---- telling ---- */

/* A line of the trace, when there is one; cheap otherwise (the arguments are not formatted). */
void world_trace(world_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Mixes a fact into the hash of this run: what must be the same on every machine. */
void world_mix(world_t *self, uint64_t fact);
/* `check` (its name; static storage) is violated. The first one counts; the run ends. */
void world_fail(world_t *self, const char *check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool world_failed(const world_t *self);

#endif
