/* worker.h: one thread for work that may stall (LevelDB writes, zero-filling a segment).
 *
 * Jobs run one after the other, in the order given; the actor collects each when it is done. With
 * `threaded` false a job runs inside worker_submit, for simulations and tests.
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

int worker_new(worker_t **out, bool threaded);
/* Waits for the job at hand, runs what is queued, and collects all. */
void worker_destroy(worker_t **self);
void worker_submit(worker_t *self, worker_job_t *job);
/* Calls `done` of each finished job. */
void worker_collect(worker_t *self);
/* Readable when there is something to collect; -1 when not threaded. */
int worker_fd(const worker_t *self);

#endif
