/* node_internal.h: the inside of a drax_node_t, shared by node.c (the node) and node_part.c (one
 * actor of it, in a thread).
 *
 * States of a part
 *   MAKING --made--> MADE --stopped, failed--> ENDED
 * A part that is made waits for the others before it begins, so that a node whose port is in use
 * has not touched its home. The node is over when every part has ENDED.
 */
#ifndef DRAX_ACTORS_NODE_INTERNAL_H
#define DRAX_ACTORS_NODE_INTERNAL_H

#include <pthread.h>

#include "actors/life.h"
#include "actors/node_options.h"

#define NODE_PARTS 3
#define NODE_LOCKS (NODE_PARTS + 1)
/* The name of a node among the inproc endpoints of its own context. */
#define NODE_INPROC "node"
/* A stop in good order may take so long; then the actors end where they are. */
#define NODE_STOP_MS 4500u

typedef enum { PART_MAKING, PART_MADE, PART_ENDED } part_state_t;

typedef struct part {
    drax_node_t *node;
    actor_t actor;
    log_t log;
    life_t *life; /* its thread's own */
    bool has_thread;
    pthread_t thread;
    int stop_fd;        /* eventfd */
    part_state_t state; /* under the node's lock, like the next two */
    bool ready;
    bool told; /* to stop */
} part_t;

struct drax_node {
    settings_t settings;
    bool unbound;
    drax_node_log_fn *log; /* NULL: none */
    void *log_hint;
    drax_node_ended_fn *ended; /* NULL: none */
    void *ended_hint;
    void *context;
    int locks[NODE_LOCKS];
    part_t parts[NODE_PARTS]; /* in the order of their dependence: storage, raft, gateway */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    size_t references; /* the host's, waits', clients' */
    bool started;
    bool stopping;
    bool forced; /* to end without good order */
    int error;   /* DRAX_ERR_…, of the first failure */
    char detail[DRAX_NODE_DETAIL_BYTES];
};

/* The code of drax.h for one of broker/error.h. */
int node_error(int rc);

/* With the lock held: records the first failure and ends all parts. */
void node_fail(drax_node_t *self, int error, const char *detail);
/* With the lock held: while stopping, tells the next part that is to stop; after a failure, all. */
void node_stop_next(drax_node_t *self);
/* With the lock held. */
bool node_over(const drax_node_t *self);
/* When the last part has ended: gives the home up and ends what clients wait for. */
void node_close(drax_node_t *self);

/* The thread of a part. */
void *part_main(void *part);

#endif
