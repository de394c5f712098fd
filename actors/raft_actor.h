/* raft_actor.h: the actor around the consensus core: it carries out what the core's readies say.
 *
 * Owns: the core (actors/raft/raft.h), how a node gets its identity (founding a cluster or joining
 * one), membership requests until they are decided, the pull of a snapshot. Must not know: disks,
 * clients, what blocks contain.
 *
 * States
 *   waiting     for storage's OPENED
 *   joining     an empty home and --peer: until raft_actor_joined
 *   formatting  FORMAT and OPEN are with storage
 *   running     there is a core
 * A new life of storage, or a snapshot installed there, leads back to waiting: the core is made
 * anew from what is durable, which is what a crash of this process would do as well.
 */
#ifndef DRAX_ACTORS_RAFT_ACTOR_H
#define DRAX_ACTORS_RAFT_ACTOR_H

#include "actors/actor.h"
#include "broker/log.h"

typedef struct raft_actor raft_actor_t;

typedef struct raft_actor_options {
    const post_t *post;
    const log_t *log;
    uint64_t boot, seed;
    bool join;             /* --peer was given */
    const char *addr;      /* advertised to clients; borrowed */
    const char *raft_addr; /* advertised to peers; borrowed */
} raft_actor_options_t;

int raft_actor_new(raft_actor_t **out, const raft_actor_options_t *options);
void raft_actor_destroy(raft_actor_t **self);

/* True while the node wants to be let into a cluster: someone (join.h) is to ask any active node
 * for member_add with this id and both advertised addresses, and to tell the answer. */
bool raft_actor_wants_join(const raft_actor_t *self, uint64_t *id);
/* The cluster took the node in, as `id`. `members` is where its log will come from. */
void raft_actor_joined(raft_actor_t *self, uint64_t cluster, const config_t *members);

extern const actor_ops_t raft_actor_ops;

#endif
