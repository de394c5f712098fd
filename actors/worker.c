#include "actors/worker.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/error.h"
#include "broker/thread.h"

typedef struct {
    worker_job_t *first, **last;
} queue_t;

struct worker {
    worker_mode_t mode;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* guarded by lock, as are the queues */
    queue_t waiting, finished;
    int fd;
};

static void queue_push(queue_t *queue, worker_job_t *job) {
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static worker_job_t *queue_pop(queue_t *queue) {
    worker_job_t *job = queue->first;
    if (job) {
        queue->first = job->next;
        if (!queue->first)
            queue->last = &queue->first;
    }
    return job;
}

static void *worker_main(void *hint) {
    worker_t *self = hint;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        worker_job_t *job = queue_pop(&self->waiting);
        if (!job) {
            if (self->stopping)
                break;
            pthread_cond_wait(&self->wake, &self->lock);
            continue;
        }
        pthread_mutex_unlock(&self->lock);
        job->run(job);
        pthread_mutex_lock(&self->lock);
        queue_push(&self->finished, job);
        (void) eventfd_write(self->fd, 1); /* cannot fail: the counter never comes near its limit */
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

int worker_new(worker_t **out, worker_mode_t mode) {
    *out = NULL;
    worker_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->mode = mode;
    self->waiting.last = &self->waiting.first;
    self->finished.last = &self->finished.first;
    self->fd = -1;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake, NULL);
    if (mode == WORKER_THREAD) {
        self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (self->fd < 0 || !thread_start(&self->thread, worker_main, self)) {
            self->mode = WORKER_INLINE;
            worker_destroy(&self);
            return DRAX_ENOMEM;
        }
    }
    *out = self;
    return 0;
}

void worker_destroy(worker_t **self_p) {
    worker_t *self = *self_p;
    if (!self)
        return;
    if (self->mode == WORKER_THREAD) {
        pthread_mutex_lock(&self->lock);
        self->stopping = true;
        pthread_cond_signal(&self->wake);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->thread, NULL);
    }
    while (worker_step(self))
        continue;
    worker_collect(self);
    if (self->fd >= 0)
        close(self->fd);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}

void worker_submit(worker_t *self, worker_job_t *job) {
    if (self->mode == WORKER_INLINE) {
        job->run(job);
        job->done(job);
        return;
    }
    pthread_mutex_lock(&self->lock);
    queue_push(&self->waiting, job);
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

bool worker_waiting(const worker_t *self) {
    return self->mode == WORKER_DEFERRED && self->waiting.first;
}

bool worker_step(worker_t *self) {
    if (!worker_waiting(self))
        return false;
    worker_job_t *job = queue_pop(&self->waiting);
    job->run(job);
    queue_push(&self->finished, job);
    return true;
}

void worker_collect(worker_t *self) {
    eventfd_t count;
    if (self->mode == WORKER_THREAD)
        (void) eventfd_read(self->fd, &count);
    for (;;) {
        pthread_mutex_lock(&self->lock);
        worker_job_t *job = queue_pop(&self->finished);
        pthread_mutex_unlock(&self->lock);
        if (!job)
            return;
        job->done(job);
    }
}

int worker_fd(const worker_t *self) {
    return self->fd;
}
