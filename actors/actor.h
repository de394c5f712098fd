/* actor.h: what an actor is, apart from how it is run.
 *
 * An actor owns its state and works in turns: it receives messages, then takes one turn, in which
 * it writes, applies and sends. It knows no socket, thread or clock: messages leave through the
 * post it was given and time arrives as an argument. So the same actor runs as a process over ipc,
 * as a thread over inproc, and in a simulation.
 */
#ifndef DRAX_ACTORS_ACTOR_H
#define DRAX_ACTORS_ACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/message.h"

/* The way out. Both sends take the message over and clear it. */
typedef struct post {
    void *self;
    /* To an actor of this node; fills in sender and boots. Delivered in order and without loss as
     * long as both live; dropped when the neighbour is not there (it says HELLO when it is). */
    void (*local)(void *self, actor_t to, message_t *message);
    /* To the raft actor of another node: `message->to`. False: it did not leave. May be lost. */
    bool (*peer)(void *self, message_t *message);
    /* From now on these are the peers: connect to each member of either that is not `own`; one that
     * is in both has the address that `config` says. */
    void (*peers)(void *self, uint64_t own, const config_t *config, const config_t *hint);
    /* The boot id of a neighbour, 0 while it is not there. */
    uint64_t (*boot)(void *self, actor_t neighbour);
} post_t;

/* What an actor answers to. `self` is the actor; `now_ms` is a monotonic clock. */
typedef struct actor_ops {
    /* A neighbour came up, or came up anew, or begins again: nothing that was sent to it before
     * counts. */
    void (*neighbour)(void *self, actor_t neighbour, uint64_t now_ms);
    /* A message; taken over. */
    void (*receive)(void *self, message_t *message, uint64_t now_ms);
    /* The connection to a peer came up or broke. NULL: no interest. */
    void (*peer_event)(void *self, uint64_t peer, bool up, uint64_t now_ms);
    /* The end of a turn: do the work, send what there is. Not 0: the actor cannot go on. */
    int (*turn)(void *self, uint64_t now_ms);
    /* When the next turn must be, at the latest. */
    uint64_t (*deadline)(const void *self, uint64_t now_ms);
    /* Asks it to stop in good order; `stopped` tells when it has. */
    void (*stop)(void *self, uint64_t now_ms);
    bool (*stopped)(const void *self);
    /* True once it can do its part. */
    bool (*ready)(const void *self);
    /* How many requests it works on. NULL: it does not tell. */
    size_t (*load)(const void *self);
} actor_ops_t;

#endif
