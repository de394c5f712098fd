/* loop.h: the turns of one actor: wait for any of its sockets or its deadline, drain, take a turn.
 *
 * Owns: the epoll and which sources have news. Must not know what the sockets carry. One thread.
 */
#ifndef DRAX_ACTORS_LOOP_H
#define DRAX_ACTORS_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct loop loop_t;

/* Called when its source has news. A ZeroMQ socket's must receive until there is nothing more, or
 * return LOOP_MORE to be called again after this turn; and it may be called when there is nothing.
 * Any other code but 0 ends the loop. */
#define LOOP_MORE 2
typedef int loop_fn(void *hint, uint64_t now_ms);

int loop_new(loop_t **out);
void loop_destroy(loop_t **self);

/* Adds a ZeroMQ socket, or (with socket NULL) a file descriptor; it must be removed before it is
 * closed. DRAX_ENOMEM, DRAX_EIO. */
int loop_add(loop_t *self, void *socket, int fd, loop_fn *handler, void *hint);
void loop_remove(loop_t *self, void *socket, int fd);
/* Must be called when something else than its handler has used a ZeroMQ socket, to send on it. */
void loop_used(loop_t *self, const void *socket);

/* Called after the sources of each turn, in the order added; `deadline` (may be NULL) says when the
 * next call must be at the latest. */
typedef uint64_t loop_deadline_fn(const void *hint, uint64_t now_ms);
int loop_each_turn(loop_t *self, loop_fn *turn, loop_deadline_fn *deadline, void *hint);

/* Runs until a handler or turn returns not 0 (that code is returned; LOOP_DONE means a good end).
 */
#define LOOP_DONE 1
int loop_run(loop_t *self);

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t loop_now_ms(void);

#endif
