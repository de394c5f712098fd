/* lock.h: locks, as the driver sees them.
 *
 *   FREE --take--> ASKING --granted--> CONFIRMING --renewed--> HELD --unlock--> FREE
 *     ^--refused-----+                     |                     |
 *     ^----------------gone----------------+      LOST <--gone---+
 *
 * A grant may be old when it is heard of, so a lock counts as held only once its lease was renewed
 * after that. From then on it is renewed at a third of its time to live, by whichever thread
 * drives, and counts as lost when a renewal says that it is gone, or when none was confirmed within
 * the time to live of the last one, counted from when that was sent: before anybody else can have
 * it.
 *
 * A lock asks under a client id of its own, so that one that waits for long does not hold up the
 * client's other writes (drive.c, invariant 2), and sent again keeps its place.
 */
#ifndef DRAX_CLI_LOCK_H
#define DRAX_CLI_LOCK_H

#include "cli/client.h"

typedef enum { LOCK_FREE, LOCK_ASKING, LOCK_CONFIRMING, LOCK_HELD, LOCK_GONE } lock_state_t;

struct drax_lock {
    drax_t *client;
    drax_lock_t *previous, *next; /* of all locks of the client */
    buffer_t key, value;
    bool has_value;
    uint64_t ttl_ms;
    client_id_t id;
    uint64_t seq;
    lock_state_t state;
    call_t *call; /* ASKING: for the lock; else a renewal under way, or NULL */
    uint64_t token;
    uint64_t renew_ms; /* when the next renewal is due */
    uint64_t valid_ms; /* held for certain until then */
    int error;         /* of the last attempt to take it */
    char detail[CLIENT_DETAIL_BYTES];
    drax_lock_lost_fn *lost; /* NULL: none */
    void *arg;
    bool lost_due; /* its callback is still to come */
};

/* ---- for the router; with the lock held ---- */

/* Renews what is due, and finds what is lost. */
void locks_turn(drax_t *self, uint64_t now_ms);
uint64_t locks_next_ms(const drax_t *self);

/* ---- for drive.c ---- */

bool locks_alive(const drax_t *self); /* is there one that may be lost yet? */
bool locks_ready(const drax_t *self); /* is there a callback to make? */
int locks_deliver(drax_t *self);      /* makes them, with the lock free; returns how many */
void locks_close(drax_t *self);       /* for drax_destroy */

#endif
