/* mail.h: an actor's post over real sockets: its inbox, the outlets to its neighbours and to its
 * peers.
 *
 * Owns: the sockets (through link.h), the boot ids of the neighbours and the HELLO handshake, what
 * waits for a slow neighbour, and the peers' connections. Must not know what messages mean.
 *
 * Invariants
 *  1. A local message reaches the actor only if it was meant for this boot and comes from the boot
 * that the neighbour's last HELLO named.
 *  2. To one boot of a neighbour, messages arrive in the order sent and none is left out. Where one
 *     is, for want of memory or room, both begin again as if the neighbour were new.
 *
 * A HELLO without the receiver's boot says that its sender has heard nothing yet; it is repeated
 * until it is answered. So the actor may be told of the same life of a neighbour more than once.
 */
#ifndef DRAX_ACTORS_MAIL_H
#define DRAX_ACTORS_MAIL_H

#include "actors/actor.h"
#include "actors/loop.h"
#include "broker/log.h"

typedef struct mail mail_t;

typedef struct mail_options {
    void *context; /* ZeroMQ's */
    actor_t actor;
    const char
        *inproc; /* name of an embedded node, or NULL: ipc relative to the working directory */
    const char *raft_bind; /* HOST:PORT to bind for peers; NULL for all but raft */
    uint64_t boot;         /* not 0 */
    const log_t *log;
    const actor_ops_t *ops;
    void *self; /* the actor; may be set later through mail_attach */
} mail_options_t;

/* Binds and begins to look for the neighbours. `detail` names what failed. DRAX_EINUSE and others.
 */
int mail_new(mail_t **out, const mail_options_t *options, char *detail, size_t detail_size);
void mail_destroy(mail_t **self);

/* The actor that gets what arrives. Must be called before the loop runs. */
void mail_attach(mail_t *self, void *actor);
const post_t *mail_post(mail_t *self);

/* Puts the mail's sockets into a loop: delivery, handshakes and retries then happen by themselves.
 */
int mail_join(mail_t *self, loop_t *loop);

#endif
