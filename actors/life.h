/* life.h: one life of one actor: its mail, the actor itself and the loop that gives it turns.
 *
 * Owns: those three. Must not know: whether it lives in a process (run.c) or in a thread of a host
 * program (node.c); who that is adds what ends it to the loop. Everything but life_new's options
 * belongs to one thread.
 */
#ifndef DRAX_ACTORS_LIFE_H
#define DRAX_ACTORS_LIFE_H

#include "actors/loop.h"
#include "broker/config.h"
#include "broker/log.h"
#include "broker/message.h"

typedef struct life life_t;

/* Everything is borrowed for as long as the life lasts. */
typedef struct life_options {
    actor_t actor;
    const settings_t *settings;
    const log_t *log;
    void *context;      /* from life_context_new */
    const char *home;   /* "." for a process that made it its working directory, else its path */
    const char *inproc; /* the name of an embedded node, for inproc; NULL: neighbours over ipc */
    bool unbound;       /* embedded: no port for clients or peers */
    /* Called once, when the actor can do its part. */
    void (*ready)(void *hint);
    void *hint;
} life_options_t;

/* Opens the disk, binds the ports, and looks for the neighbours. `detail` gets a sentence or "".
 * DRAX_EINUSE and DRAX_EINVAL (a port), DRAX_ECORRUPT, DRAX_EIO, DRAX_ENOSPC, DRAX_ENOMEM. */
int life_new(life_t **out, const life_options_t *options, char *detail, size_t detail_size);
void life_destroy(life_t **self);

/* A ZeroMQ context with room for the sockets of a node's lives; NULL: no descriptor or memory. */
void *life_context_new(void);

loop_t *life_loop(life_t *self);

/* Gives turns until the actor has stopped (0), cannot go on, or a source of the loop ends it. */
int life_run(life_t *self);

/* Asks the actor to stop in good order; from a handler of the loop. */
void life_stop(life_t *self, uint64_t now_ms);

/* How many requests its actor works on; 0 for one that does not tell. */
size_t life_load(const life_t *self);

/* Where clients in the same process connect to the gateway of the embedded node `inproc`. */
void life_clients_endpoint(char *out, size_t size, const char *inproc);

#endif
