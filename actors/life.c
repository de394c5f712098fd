#include "actors/life.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "actors/clients.h"
#include "actors/gateway_actor.h"
#include "actors/join.h"
#include "actors/mail.h"
#include "actors/raft_actor.h"
#include "actors/storage_actor.h"
#include "broker/endpoint.h"
#include "broker/error.h"

/* More than three actors and their links to LIMIT_MEMBERS peers can need. */
#define LIFE_SOCKETS_MAX 4096

struct life {
    life_options_t options;
    const actor_ops_t *ops;
    void *actor; /* one of the next three */
    storage_actor_t *storage;
    raft_actor_t *raft;
    gateway_actor_t *gateway;
    clients_t *clients; /* gateway */
    join_t *join;       /* raft */
    mail_t *mail;
    loop_t *loop;
    bool told_ready;
    uint64_t boot;
};

/* ---- the loop's sources ---- */

static int worker_read(void *hint, uint64_t now_ms) {
    (void) now_ms;
    worker_collect(hint);
    return 0;
}

static int clients_read(void *hint, uint64_t now_ms) {
    life_t *self = hint;
    for (unsigned i = 0; i < LIMIT_TURN_MESSAGES; i++) {
        envelope_t *envelope;
        slice_t payload;
        int rc = clients_receive(self->clients, &envelope, &payload);
        if (rc == DRAX_EAGAIN)
            return 0;
        if (rc == 0)
            gateway_actor_request(self->gateway, &envelope, payload, now_ms);
    }
    return LOOP_MORE;
}

static int clients_respond(void *hint, const envelope_t *envelope, slice_t response) {
    life_t *self = hint;
    loop_used(self->loop, clients_socket(self->clients));
    return clients_send(self->clients, envelope, response);
}

static int life_turn(void *hint, uint64_t now_ms) {
    life_t *self = hint;
    int rc = self->ops->turn(self->actor, now_ms);
    if (rc) {
        log_error(self->options.log, "cannot go on: %s", error_text(rc));
        return rc;
    }
    if (!self->told_ready && self->ops->ready(self->actor)) {
        self->told_ready = true;
        self->options.ready(self->options.hint);
    }
    return self->ops->stopped(self->actor) ? LOOP_DONE : 0;
}

static uint64_t life_deadline(const void *hint, uint64_t now_ms) {
    const life_t *self = hint;
    return self->ops->deadline(self->actor, now_ms);
}

/* ---- making the actor ---- */

static uint64_t random_seed(void) {
    uint64_t value;
    if (getrandom(&value, sizeof value, 0) != (ssize_t) sizeof value) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        value =
            (uint64_t) now.tv_nsec * 1000003u ^ (uint64_t) now.tv_sec ^ (uint64_t) getpid() << 32;
    }
    return value;
}

static int storage_make(life_t *self, char *detail, size_t detail_size) {
    storage_options_t options = {.home = self->options.home,
                                 .fs = fs_posix(),
                                 .post = mail_post(self->mail),
                                 .log = self->options.log,
                                 .workers = WORKER_THREAD,
                                 .seed = self->boot};
    int rc = storage_actor_new(&self->storage, &options, detail, detail_size);
    if (rc)
        return rc;
    self->actor = self->storage;
    worker_t *flusher = storage_actor_flusher(self->storage);
    worker_t *reserver = storage_actor_reserver(self->storage);
    rc = loop_add(self->loop, NULL, worker_fd(flusher), worker_read, flusher);
    return rc ? rc : loop_add(self->loop, NULL, worker_fd(reserver), worker_read, reserver);
}

static int raft_make(life_t *self) {
    const settings_t *settings = self->options.settings;
    raft_actor_options_t options = {.post = mail_post(self->mail),
                                    .log = self->options.log,
                                    .boot = self->boot,
                                    .seed = random_seed(),
                                    .join = settings->peer_count > 0,
                                    .addr = settings->advertise,
                                    .raft_addr = settings->raft_advertise};
    int rc = raft_actor_new(&self->raft, &options);
    self->actor = self->raft;
    if (rc == 0)
        rc = join_new(&self->join, self->options.context, self->loop, self->raft, settings,
                      self->options.log);
    return rc;
}

static int clients_open(life_t *self, char *detail, size_t detail_size) {
    const life_options_t *options = &self->options;
    int rc = clients_new(&self->clients, options->context,
                         options->unbound ? NULL : options->settings->addr, detail, detail_size);
    if (rc || !options->inproc)
        return rc;
    char endpoint[ENDPOINT_BYTES];
    life_clients_endpoint(endpoint, sizeof endpoint, options->inproc);
    return clients_bind_inproc(self->clients, endpoint);
}

static int gateway_make(life_t *self, char *detail, size_t detail_size) {
    gateway_options_t options = {.post = mail_post(self->mail),
                                 .log = self->options.log,
                                 .boot = self->boot,
                                 .seed = random_seed(),
                                 .max_request_bytes = self->options.settings->max_request_bytes,
                                 .respond = clients_respond,
                                 .hint = self};
    int rc = clients_open(self, detail, detail_size);
    if (rc == 0)
        rc = gateway_actor_new(&self->gateway, &options);
    self->actor = self->gateway;
    if (rc == 0)
        rc = loop_add(self->loop, clients_socket(self->clients), -1, clients_read, self);
    return rc;
}

static int actor_make(life_t *self, char *detail, size_t detail_size) {
    switch (self->options.actor) {
    case ACTOR_STORAGE:
        return storage_make(self, detail, detail_size);
    case ACTOR_RAFT:
        return raft_make(self);
    default:
        return gateway_make(self, detail, detail_size);
    }
}

static const actor_ops_t *ops_of(actor_t actor) {
    switch (actor) {
    case ACTOR_STORAGE:
        return &storage_actor_ops;
    case ACTOR_RAFT:
        return &raft_actor_ops;
    default:
        return &gateway_actor_ops;
    }
}

/* ---- life ---- */

/* Grows from one life to the next, as the real-time clock does; see block_boot_choose for when it
 * does not. Below 2^53, as integers are in messages. */
static uint64_t boot_id(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t) now.tv_sec * 1000000u + (uint64_t) now.tv_nsec / 1000u;
}

static int life_open(life_t *self, char *detail, size_t detail_size) {
    const life_options_t *own = &self->options;
    bool listens = own->actor == ACTOR_RAFT && !own->unbound;
    mail_options_t options = {.context = own->context,
                              .actor = own->actor,
                              .inproc = own->inproc,
                              .raft_bind = listens ? own->settings->raft_addr : NULL,
                              .boot = self->boot,
                              .log = own->log,
                              .ops = self->ops};
    int rc = loop_new(&self->loop);
    if (rc == 0)
        rc = mail_new(&self->mail, &options, detail, detail_size);
    if (rc == 0)
        rc = actor_make(self, detail, detail_size);
    if (rc)
        return rc;
    mail_attach(self->mail, self->actor);
    rc = mail_join(self->mail, self->loop);
    return rc ? rc : loop_each_turn(self->loop, life_turn, life_deadline, self);
}

int life_new(life_t **out, const life_options_t *options, char *detail, size_t detail_size) {
    *out = NULL;
    detail[0] = '\0';
    life_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->options = *options;
    self->ops = ops_of(options->actor);
    self->boot = boot_id();
    int rc = life_open(self, detail, detail_size);
    if (rc)
        life_destroy(&self);
    *out = self;
    return rc;
}

void life_destroy(life_t **self_p) {
    life_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    join_destroy(&self->join);
    storage_actor_destroy(&self->storage);
    raft_actor_destroy(&self->raft);
    gateway_actor_destroy(&self->gateway);
    clients_destroy(&self->clients);
    mail_destroy(&self->mail);
    loop_destroy(&self->loop);
    free(self);
}

void *life_context_new(void) {
    void *context = zmq_ctx_new();
    if (context)
        (void) zmq_ctx_set(context, ZMQ_MAX_SOCKETS, LIFE_SOCKETS_MAX);
    return context;
}

loop_t *life_loop(life_t *self) {
    return self->loop;
}

int life_run(life_t *self) {
    int rc = loop_run(self->loop);
    return rc == LOOP_DONE ? 0 : rc;
}

size_t life_load(const life_t *self) {
    return self->ops->load ? self->ops->load(self->actor) : 0;
}

void life_stop(life_t *self, uint64_t now_ms) {
    self->ops->stop(self->actor, now_ms);
}

void life_clients_endpoint(char *out, size_t size, const char *inproc) {
    snprintf(out, size, "inproc://drax-%.*s-clients", ENDPOINT_NAME_BYTES - 1, inproc);
}
