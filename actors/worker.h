/* worker.h: one thread for work that may stall (LevelDB writes, zero-filling a segment).
 *
 * Jobs run one after the other, in the order given; the actor collects each when it is done. Tests
 * and simulations do without the thread: a job then runs inside worker_submit, or whenever the
 * caller says so.
 */
#ifndef DRAX_ACTORS_WORKER_H
#define DRAX_ACTORS_WORKER_H

#include <stdbool.h>

typedef struct worker worker_t;

/* `run` is called on the worker's thread, `done` on the actor's, from worker_collect. A job belongs
 * to the worker from submit until `done`. */
typedef struct worker_job {
    void (*run)(struct worker_job *self);
    void (*done)(struct worker_job *self);
    struct worker_job *next; /* the worker's own */
} worker_job_t;

typedef enum {
    WORKER_INLINE,  /* worker_submit runs the job and calls `done` */
    WORKER_THREAD,  /* a thread runs it */
    WORKER_DEFERRED /* worker_step runs it */
} worker_mode_t;

int worker_new(worker_t **out, worker_mode_t mode);
/* Waits for the job at hand, runs what is queued, and collects all. */
void worker_destroy(worker_t **self);
void worker_submit(worker_t *self, worker_job_t *job);
/* Calls `done` of each finished job. */
void worker_collect(worker_t *self);
/* WORKER_DEFERRED: runs the oldest job that waits, to be collected as any. False: none waits. */
bool worker_step(worker_t *self);
bool worker_waiting(const worker_t *self); /* WORKER_DEFERRED: would it run one? */
/* Readable when there is something to collect; -1 when there is no thread. */
int worker_fd(const worker_t *self);

#endif
