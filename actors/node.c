/* node.c: a node as threads of a host program.
 *
 * Owns: the locks on the home, the ZeroMQ context, the threads. Each part knows its actor alone;
 * what they share is under the lock.
 *
 * Invariants
 *  1. Nothing is told to the host with the lock held.
 *  2. The context lives as long as anybody has a reference: the host until drax_node_stop, every
 *     wait, every client. It is shut down, which ends the clients' calls, when the last part ends.
 *  3. Stopping goes gateway, raft, storage, each when the one before it has ended; after a failure
 *     all at once, as there may be nobody left to wait for.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "actors/home_claim.h"
#include "actors/node_internal.h"
#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/limits.h"
#include "broker/thread.h"

static int node_new(drax_node_t **out, const drax_node_options_t *options, char *detail,
                    size_t detail_size);
static int node_claim(drax_node_t *self, char *detail, size_t detail_size);
static void threads_start(drax_node_t *self);
static void threads_join(drax_node_t *self);
static void node_unref(void *node);

/* ---- the host's calls ---- */

int drax_node_start(drax_node_t **out, const drax_node_options_t *options, char *detail,
                    size_t detail_size) {
    char scratch[DRAX_NODE_DETAIL_BYTES];
    drax_node_t *self;
    *out = NULL;
    if (!detail || detail_size == 0) {
        detail = scratch;
        detail_size = sizeof scratch;
    }
    detail[0] = '\0';
    int error = node_new(&self, options, detail, detail_size);
    if (error == 0) {
        error = node_claim(self, detail, detail_size);
        if (error == 0) {
            threads_start(self);
            pthread_mutex_lock(&self->lock);
            for (size_t i = 0; i < NODE_PARTS; i++)
                while (self->parts[i].state == PART_MAKING)
                    pthread_cond_wait(&self->changed, &self->lock);
            error = self->error;
            self->started = error == 0;
            snprintf(detail, detail_size, "%s", self->detail);
            pthread_mutex_unlock(&self->lock);
        }
        if (error)
            drax_node_stop(&self);
        *out = self;
    }
    if (error && !detail[0])
        snprintf(detail, detail_size, "%s", drax_error_text(error));
    return error;
}

static struct timespec deadline_after(uint64_t timeout_ms) {
    const uint64_t century_ms = 100ull * 365 * 86400 * 1000;
    uint64_t at_ms = loop_now_ms() + (timeout_ms < century_ms ? timeout_ms : century_ms);
    return (struct timespec){.tv_sec = (time_t) (at_ms / 1000),
                             .tv_nsec = (long) (at_ms % 1000) * 1000000};
}

static bool node_ready(const drax_node_t *self) {
    bool ready = true;
    for (size_t i = 0; i < NODE_PARTS; i++)
        ready = ready && self->parts[i].ready;
    return ready;
}

bool node_over(const drax_node_t *self) {
    bool over = true;
    for (size_t i = 0; i < NODE_PARTS; i++)
        over = over && self->parts[i].state == PART_ENDED;
    return over;
}

/* Waits until `reached`, until the node is over or being stopped, or until the time is up. */
static int node_wait(drax_node_t *self, bool (*reached)(const drax_node_t *), uint64_t timeout_ms,
                     char *detail, size_t detail_size) {
    struct timespec deadline = deadline_after(timeout_ms);
    int rc = 0;
    pthread_mutex_lock(&self->lock);
    self->references++;
    while (!reached(self) && !node_over(self) && !self->stopping && rc == 0)
        rc = pthread_cond_timedwait(&self->changed, &self->lock, &deadline);
    int error = self->stopping    ? DRAX_ERR_CLOSED
                : node_over(self) ? self->error
                : !reached(self)  ? DRAX_ERR_TIMEOUT
                                  : 0;
    if (detail_size > 0)
        snprintf(detail, detail_size, "%s", error == self->error ? self->detail : "");
    pthread_mutex_unlock(&self->lock);
    node_unref(self);
    return error;
}

int drax_node_ready_wait(drax_node_t *self, uint64_t timeout_ms) {
    return node_wait(self, node_ready, timeout_ms, NULL, 0);
}

int drax_node_end_wait(drax_node_t *self, uint64_t timeout_ms, char *detail, size_t detail_size) {
    return node_wait(self, node_over, timeout_ms, detail, detail_size);
}

void drax_node_stop(drax_node_t **self_p) {
    drax_node_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    struct timespec deadline = deadline_after(NODE_STOP_MS);
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    node_stop_next(self);
    pthread_cond_broadcast(&self->changed);
    int rc = 0;
    while (!node_over(self) && rc == 0)
        rc = pthread_cond_timedwait(&self->changed, &self->lock, &deadline);
    if (!node_over(self)) {
        self->forced = true;
        for (size_t i = 0; i < NODE_PARTS; i++)
            (void) eventfd_write(self->parts[i].stop_fd, 1);
    }
    pthread_mutex_unlock(&self->lock);
    threads_join(self);
    node_unref(self);
}

int drax_node_store(drax_node_t *self, drax_t **out) {
    *out = NULL;
    pthread_mutex_lock(&self->lock);
    self->references++;
    pthread_mutex_unlock(&self->lock);
    char endpoint[ENDPOINT_BYTES];
    life_clients_endpoint(endpoint, sizeof endpoint, NODE_INPROC);
    int error = drax_new_in(out, self->context, endpoint, node_unref, self);
    if (error)
        node_unref(self);
    return error;
}

/* ---- stopping ---- */

int node_error(int rc) {
    switch (rc) {
    case 0:
        return 0;
    case DRAX_EUSAGE:
    case DRAX_ECONFIG:
    case DRAX_EINVAL: /* an address that is none of this machine's */
        return DRAX_ERR_USAGE;
    case DRAX_EINUSE:
        return DRAX_ERR_IN_USE;
    case DRAX_ENOMEM:
        return DRAX_ERR_NO_MEMORY;
    case DRAX_EIO:
    case DRAX_ENOSPC:
    case DRAX_ECORRUPT:
        return DRAX_ERR_STORAGE;
    default:
        return DRAX_ERR_SYSTEM;
    }
}

void node_fail(drax_node_t *self, int error, const char *detail) {
    if (self->error)
        return;
    self->error = error;
    snprintf(self->detail, sizeof self->detail, "%s", detail);
    node_stop_next(self);
}

void node_stop_next(drax_node_t *self) {
    if (!self->stopping && !self->error)
        return;
    for (size_t i = NODE_PARTS; i-- > 0;) {
        part_t *part = &self->parts[i];
        if (part->state == PART_ENDED)
            continue;
        if (!part->told)
            (void) eventfd_write(part->stop_fd, 1); /* far from its limit, so it cannot fail */
        part->told = true;
        if (!self->error)
            return;
    }
}

void node_close(drax_node_t *self) {
    for (size_t i = 0; i < NODE_LOCKS; i++) {
        if (self->locks[i] >= 0)
            close(self->locks[i]);
        self->locks[i] = -1;
    }
    (void) zmq_ctx_shutdown(self->context);
}

/* ---- making and ending ---- */

static void log_pass(void *hint, log_level_t level, const char *actor, const char *text) {
    const drax_node_t *self = hint;
    if (self->log)
        self->log(self->log_hint, (drax_log_level_t) level, actor, text);
}

_Static_assert((int) LOG_LEVEL_ERROR == (int) DRAX_LOG_ERROR &&
                   (int) LOG_LEVEL_DEBUG == (int) DRAX_LOG_DEBUG,
               "levels are passed on by number");

static int sync_new(drax_node_t *self) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return DRAX_ERR_SYSTEM;
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(&self->changed, &attributes) == 0;
    (void) pthread_condattr_destroy(&attributes);
    if (!made)
        return DRAX_ERR_SYSTEM;
    if (pthread_mutex_init(&self->lock, NULL) == 0)
        return 0;
    (void) pthread_cond_destroy(&self->changed);
    return DRAX_ERR_SYSTEM;
}

/* A node with one reference, whose parts count as ended until their threads start. */
static int node_new(drax_node_t **out, const drax_node_options_t *options, char *detail,
                    size_t detail_size) {
    static const actor_t actors[NODE_PARTS] = {ACTOR_STORAGE, ACTOR_RAFT, ACTOR_GATEWAY};
    *out = NULL;
    drax_node_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ERR_NO_MEMORY;
    int error = node_error(
        settings_from_pairs(&self->settings, options->pairs, options->count, detail, detail_size));
    if (error == 0)
        error = sync_new(self);
    if (error) {
        free(self);
        return error;
    }
    self->references = 1;
    self->unbound = options->unbound;
    self->log = options->log;
    self->log_hint = options->log_hint;
    self->ended = options->ended;
    self->ended_hint = options->ended_hint;
    for (size_t i = 0; i < NODE_LOCKS; i++)
        self->locks[i] = -1;
    for (size_t i = 0; i < NODE_PARTS; i++) {
        self->parts[i] =
            (part_t){.node = self, .actor = actors[i], .state = PART_ENDED, .stop_fd = -1};
        self->parts[i].log = (log_t){.level = (log_level_t) self->settings.log_level,
                                     .actor = actor_name(actors[i]),
                                     .sink = log_pass,
                                     .hint = self};
    }
    *out = self;
    return 0;
}

/* Makes the home this node's own, and gets what the threads need from the system. */
static int node_claim(drax_node_t *self, char *detail, size_t detail_size) {
    static const char *const names[NODE_LOCKS] = {"lock", "run/storage.lock", "run/raft.lock",
                                                  "run/gateway.lock"};
    const char *home = self->settings.home;
    if (strlen(home) > LIMIT_HOME_BYTES) {
        snprintf(detail, detail_size, "home is longer than %u bytes as an absolute path",
                 LIMIT_HOME_BYTES);
        return DRAX_ERR_USAGE;
    }
    int rc = home_make(home, detail, detail_size);
    for (size_t i = 0; rc == 0 && i < NODE_LOCKS; i++)
        rc = home_lock(&self->locks[i], home, names[i], detail, detail_size);
    if (rc)
        return node_error(rc);
    self->context = life_context_new();
    bool made = self->context != NULL;
    for (size_t i = 0; i < NODE_PARTS; i++) {
        self->parts[i].stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        made = made && self->parts[i].stop_fd >= 0;
    }
    return made ? 0 : DRAX_ERR_SYSTEM;
}

static void threads_start(drax_node_t *self) {
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < NODE_PARTS; i++)
        self->parts[i].state = PART_MAKING;
    for (size_t i = 0; i < NODE_PARTS; i++) {
        part_t *part = &self->parts[i];
        part->has_thread = thread_start(&part->thread, part_main, part);
        if (!part->has_thread) {
            part->state = PART_ENDED;
            node_fail(self, DRAX_ERR_SYSTEM, "no thread to be had");
        }
    }
    pthread_mutex_unlock(&self->lock);
}

static void threads_join(drax_node_t *self) {
    for (size_t i = 0; i < NODE_PARTS; i++) {
        if (self->parts[i].has_thread)
            pthread_join(self->parts[i].thread, NULL);
        if (self->parts[i].stop_fd >= 0)
            close(self->parts[i].stop_fd);
        self->parts[i].stop_fd = -1;
    }
    for (size_t i = 0; i < NODE_LOCKS; i++) /* where no part was there to do it */
        if (self->locks[i] >= 0)
            close(self->locks[i]);
}

/* Also what the clients call at their end. */
static void node_unref(void *node) {
    drax_node_t *self = node;
    pthread_mutex_lock(&self->lock);
    assert(self->references > 0);
    bool last = --self->references == 0;
    pthread_mutex_unlock(&self->lock);
    if (!last)
        return;
    while (self->context && zmq_ctx_term(self->context) != 0 && errno == EINTR)
        ;
    (void) pthread_cond_destroy(&self->changed);
    (void) pthread_mutex_destroy(&self->lock);
    free(self);
}
