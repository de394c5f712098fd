/* thread.h: threads beside an actor's own. */
#ifndef DRAX_BROKER_THREAD_H
#define DRAX_BROKER_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Starts `run(hint)` on a thread that gets no signals: those are the host's, or the actor's. The
 * caller joins it. False when there is none to be had; `*out` then means nothing. */
bool thread_start(pthread_t *out, void *(*run)(void *), void *hint);

#endif
