#include "actors/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "actors/clients.h"
#include "actors/gateway_actor.h"
#include "actors/join.h"
#include "actors/mail.h"
#include "actors/process.h"
#include "actors/raft_actor.h"
#include "actors/storage_actor.h"
#include "broker/error.h"

/* Everything one process holds. */
typedef struct run {
    actor_t actor;
    settings_t *settings;
    const log_t *log;
    const actor_ops_t *ops;
    void *self; /* the actor: one of the next three */
    storage_actor_t *storage;
    raft_actor_t *raft;
    gateway_actor_t *gateway;
    clients_t *clients; /* gateway */
    join_t *join;       /* raft */
    void *context;
    mail_t *mail;
    loop_t *loop;
    int signal_fd;
    bool told_ready;
    uint64_t boot;
} run_t;

/* ---- the loop's sources ---- */

static int signal_read(void *hint, uint64_t now_ms) {
    run_t *self = hint;
    while (process_signal_next(self->signal_fd)) {
        process_notify("STOPPING=1");
        self->ops->stop(self->self, now_ms);
    }
    return 0;
}

static int worker_read(void *hint, uint64_t now_ms) {
    (void) now_ms;
    worker_collect(hint);
    return 0;
}

static int clients_read(void *hint, uint64_t now_ms) {
    run_t *self = hint;
    for (unsigned i = 0; i < LIMIT_TURN_MESSAGES; i++) {
        envelope_t *envelope;
        slice_t payload;
        int rc = clients_receive(self->clients, &envelope, &payload);
        if (rc == DRAX_EAGAIN)
            return 0;
        if (rc == 0)
            gateway_actor_request(self->gateway, &envelope, payload, now_ms);
    }
    return 0;
}

static int clients_respond(void *hint, const envelope_t *envelope, slice_t response) {
    run_t *self = hint;
    return clients_send(self->clients, envelope, response);
}

static int run_turn(void *hint, uint64_t now_ms) {
    run_t *self = hint;
    int rc = self->ops->turn(self->self, now_ms);
    if (rc) {
        log_error(self->log, "cannot go on: %s", error_text(rc));
        return rc;
    }
    if (!self->told_ready && self->ops->ready(self->self)) {
        self->told_ready = true;
        process_ready_fd(self->settings);
        process_notify("READY=1");
    }
    return self->ops->stopped(self->self) ? LOOP_DONE : 0;
}

static uint64_t run_deadline(const void *hint, uint64_t now_ms) {
    const run_t *self = hint;
    return self->ops->deadline(self->self, now_ms);
}

/* ---- making the actor ---- */

static int storage_make(run_t *self, char *detail, size_t detail_size) {
    storage_options_t options = {.home = ".",
                                 .fs = fs_posix(),
                                 .post = mail_post(self->mail),
                                 .log = self->log,
                                 .threaded = true,
                                 .seed = self->boot};
    int rc = storage_actor_new(&self->storage, &options, detail, detail_size);
    if (rc)
        return rc;
    self->self = self->storage;
    worker_t *flusher = storage_actor_flusher(self->storage);
    worker_t *reserver = storage_actor_reserver(self->storage);
    rc = loop_add(self->loop, NULL, worker_fd(flusher), worker_read, flusher);
    return rc ? rc : loop_add(self->loop, NULL, worker_fd(reserver), worker_read, reserver);
}

static int raft_make(run_t *self) {
    raft_actor_options_t options = {.post = mail_post(self->mail),
                                    .log = self->log,
                                    .boot = self->boot,
                                    .seed = process_random(),
                                    .join = self->settings->peer_count > 0,
                                    .addr = self->settings->advertise,
                                    .raft_addr = self->settings->raft_advertise};
    int rc = raft_actor_new(&self->raft, &options);
    self->self = self->raft;
    if (rc == 0)
        rc =
            join_new(&self->join, self->context, self->loop, self->raft, self->settings, self->log);
    return rc;
}

static int gateway_make(run_t *self, char *detail, size_t detail_size) {
    gateway_options_t options = {.post = mail_post(self->mail),
                                 .log = self->log,
                                 .boot = self->boot,
                                 .max_request_bytes = self->settings->max_request_bytes,
                                 .respond = clients_respond,
                                 .hint = self};
    int rc = clients_new(&self->clients, self->context, self->settings->addr, detail, detail_size);
    if (rc == 0)
        rc = gateway_actor_new(&self->gateway, &options);
    self->self = self->gateway;
    if (rc == 0)
        rc = loop_add(self->loop, clients_socket(self->clients), -1, clients_read, self);
    return rc;
}

static int actor_make(run_t *self, char *detail, size_t detail_size) {
    switch (self->actor) {
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

static int run_open(run_t *self, char *detail, size_t detail_size) {
    mail_options_t options = {.actor = self->actor,
                              .raft_bind =
                                  self->actor == ACTOR_RAFT ? self->settings->raft_addr : NULL,
                              .boot = self->boot,
                              .log = self->log,
                              .ops = self->ops};
    options.context = self->context = zmq_ctx_new();
    if (!self->context)
        return DRAX_ENOMEM;
    zmq_ctx_set(self->context, ZMQ_MAX_SOCKETS, 4096);
    int rc = loop_new(&self->loop);
    if (rc == 0)
        rc = mail_new(&self->mail, &options, detail, detail_size);
    if (rc == 0)
        rc = actor_make(self, detail, detail_size);
    if (rc)
        return rc;
    mail_attach(self->mail, self->self);
    rc = mail_join(self->mail, self->loop);
    if (rc == 0)
        rc = loop_add(self->loop, NULL, self->signal_fd, signal_read, self);
    if (rc == 0)
        rc = loop_each_turn(self->loop, run_turn, run_deadline, self);
    return rc;
}

static void run_close(run_t *self) {
    join_destroy(&self->join);
    storage_actor_destroy(&self->storage);
    raft_actor_destroy(&self->raft);
    gateway_actor_destroy(&self->gateway);
    clients_destroy(&self->clients);
    mail_destroy(&self->mail);
    loop_destroy(&self->loop);
    if (self->context)
        zmq_ctx_term(self->context);
}

int run_actor(actor_t actor, settings_t *settings, const log_t *log) {
    run_t self = {.actor = actor, .settings = settings, .log = log, .ops = ops_of(actor)};
    char lock[64], detail[512] = "";
    self.signal_fd = process_signals(0);
    self.boot = boot_id();
    process_files_raise();
    int code = process_home(settings, log);
    if (code)
        return code;
    snprintf(lock, sizeof lock, "run/%s.lock", actor_name(actor));
    code = process_lock(lock, settings, log);
    if (code)
        return code;
    int rc = self.signal_fd < 0 ? DRAX_EIO : run_open(&self, detail, sizeof detail);
    if (rc)
        log_error(log, "cannot start: %s", detail[0] ? detail : error_text(rc));
    if (rc == 0)
        rc = loop_run(self.loop);
    run_close(&self);
    if (rc == LOOP_DONE)
        return 0;
    return rc == DRAX_EINUSE || rc == DRAX_EINVAL ? EXIT_UNAVAILABLE : EXIT_SOFTWARE;
}
