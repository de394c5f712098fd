/* client.c: the client's life, and its calls: one core (submit, turn, settle), blocking calls on
 * top.
 *
 * Invariants
 *  1. Callbacks run with the lock free, from drax_poll and drax_destroy alone.
 *  2. A write is never more than CLIENT_WRITES_AHEAD after the oldest write without an outcome, so
 * the server still knows the answer of each write that may be sent again.
 */
#include "cli/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "broker/endpoint.h"
#include "cli/options.h"

#define ENDPOINTS_DEFAULT "127.0.0.1:2380"

static int endpoints_parse(drax_t *self, const char *endpoints);
static int call_submit(drax_t *self, const call_spec_t *spec, uint64_t deadline_ms, call_t **out);
static int lock_until(drax_t *self, uint64_t deadline_ms);
static void call_deliver(call_t *call);

static void list_append(call_list_t *list, call_t *call) {
    call->previous = list->last;
    call->next = NULL;
    if (list->last)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
}

static void list_remove(call_list_t *list, call_t *call) {
    if (call->previous)
        call->previous->next = call->next;
    else
        list->first = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else
        list->last = call->previous;
    call->previous = call->next = NULL;
}

int drax_new(drax_t **out, const char *endpoints) {
    *out = NULL;
    void *context = zmq_ctx_new();
    if (!context)
        return errno == ENOMEM ? DRAX_ERR_NO_MEMORY : DRAX_ERR_SYSTEM;
    int error = drax_new_in(out, context, endpoints, NULL, NULL);
    if (error == 0)
        (*out)->own_context = true;
    else
        (void) zmq_ctx_term(context); /* has no sockets, so it does not wait */
    return error;
}

int drax_new_in(drax_t **out, void *context, const char *endpoints, void (*released)(void *hint),
                void *hint) {
    *out = NULL;
    drax_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ERR_NO_MEMORY;
    self->timeout_ms = CLIENT_TIMEOUT_MS;
    self->context = context;
    self->released = released;
    self->released_hint = hint;
    int error = endpoints_parse(self, endpoints ? endpoints : ENDPOINTS_DEFAULT);
    if (error == 0 && getrandom(&self->id, sizeof self->id, 0) != sizeof self->id)
        error = DRAX_ERR_SYSTEM;
    if (error == 0 && pthread_mutex_init(&self->lock, NULL) != 0)
        error = DRAX_ERR_SYSTEM;
    if (error != 0) {
        free(self);
        return error;
    }
    *out = self;
    return 0;
}

void drax_destroy(drax_t **self) {
    drax_t *client = *self;
    *self = NULL;
    if (!client)
        return;
    while (client->pending.first) {
        call_t *call = client->pending.first;
        call_finish(call, DRAX_ERR_CLOSED, NULL, NULL);
        client_call_settle(client, call);
    }
    while (client->completed.first) {
        call_t *call = client->completed.first;
        list_remove(&client->completed, call);
        call_deliver(call);
    }
    for (size_t i = 0; i < client->connection_count; i++)
        connection_close(&client->connections[i]);
    while (client->own_context && zmq_ctx_term(client->context) != 0 && errno == EINTR)
        ;
    if (client->released)
        client->released(client->released_hint);
    (void) pthread_mutex_destroy(&client->lock);
    free(client);
}

const char *drax_version(void) {
    return DRAX_VERSION;
}

static int endpoints_parse(drax_t *self, const char *endpoints) {
    for (const char *at = endpoints;; at++) {
        size_t size = strcspn(at, ",");
        if (size >= LIMIT_ADDR_BYTES || self->connection_count == CLIENT_ENDPOINTS)
            return DRAX_ERR_USAGE;
        char *address = self->connections[self->connection_count++].address;
        memcpy(address, at, size);
        address[size] = '\0';
        bool inproc = strncmp(address, CONNECTION_INPROC, sizeof CONNECTION_INPROC - 1) == 0;
        if (!inproc && (!address_valid(address) || address[0] == '*'))
            return DRAX_ERR_USAGE;
        at += size;
        if (*at == '\0')
            return 0;
    }
}

int drax_timeout_set(drax_t *self, uint64_t timeout_ms) {
    if (timeout_ms == 0)
        return DRAX_ERR_USAGE;
    self->timeout_ms = timeout_ms;
    return 0;
}

void drax_error_detail(drax_t *self, char *out, size_t size) {
    if (size == 0)
        return;
    (void) pthread_mutex_lock(&self->lock);
    snprintf(out, size, "%s", self->detail);
    (void) pthread_mutex_unlock(&self->lock);
}

uint64_t client_now_ms(void) {
    struct timespec now;
    int rc = clock_gettime(CLOCK_MONOTONIC, &now);
    assert(rc == 0);
    (void) rc;
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* A deadline that cannot overflow: a century is as good as forever. */
static uint64_t deadline_after(uint64_t timeout_ms) {
    const uint64_t century_ms = 100ull * 365 * 86400 * 1000;
    return client_now_ms() + (timeout_ms < century_ms ? timeout_ms : century_ms);
}

int client_call(drax_t *self, const call_spec_t *spec, drax_result_t **out) {
    if (out)
        *out = NULL;
    uint64_t deadline_ms = deadline_after(options_timeout_ms(spec->options, self->timeout_ms));
    int error = lock_until(self, deadline_ms);
    if (error != 0)
        return error;
    call_t *call;
    error = call_submit(self, spec, deadline_ms, &call);
    if (error == 0) {
        while (call->state != CALL_DONE)
            router_turn(self, deadline_ms);
        error = call->error;
        if (error != 0)
            memcpy(self->detail, call->detail, sizeof self->detail);
        if (out) {
            *out = call->result;
            call->result = NULL;
        }
        call_destroy(&call);
    } else {
        snprintf(self->detail, sizeof self->detail, "%s", drax_error_text(error));
    }
    (void) pthread_mutex_unlock(&self->lock);
    return error;
}

int drax_put_submit(drax_t *self, const void *key, size_t key_size, const void *value,
                    size_t value_size, const drax_options_t *options, drax_done_fn *done,
                    void *arg) {
    call_spec_t spec = {
        .method = "put",
        .kind = CALL_WRITE,
        .options = options,
        .param_count = 2,
        .params = {{PARAM_KEY, {key, key_size}, 0}, {PARAM_VALUE, {value, value_size}, 0}}};
    if (!done)
        return DRAX_ERR_USAGE;
    (void) pthread_mutex_lock(&self->lock);
    call_t *call;
    uint64_t deadline_ms = deadline_after(options_timeout_ms(options, self->timeout_ms));
    int error = call_submit(self, &spec, deadline_ms, &call);
    if (error == 0) {
        call->done = done;
        call->arg = arg;
        self->submitted++;
    }
    (void) pthread_mutex_unlock(&self->lock);
    return error;
}

int drax_poll(drax_t *self, uint64_t timeout_ms) {
    uint64_t until_ms = deadline_after(timeout_ms);
    int error = lock_until(self, until_ms);
    if (error != 0)
        return error == DRAX_ERR_UNAVAILABLE ? 0 : error;
    bool once = true; /* even without time, what has arrived is taken in */
    while (!self->completed.first && self->submitted > 0 && (once || client_now_ms() < until_ms)) {
        router_turn(self, until_ms);
        once = false;
    }
    call_t *call = self->completed.first;
    self->completed = (call_list_t){NULL, NULL};
    int count = 0;
    for (call_t *at = call; at; at = at->next) {
        if (at->error != 0)
            memcpy(self->detail, at->detail, sizeof self->detail);
        self->submitted--;
        count++;
    }
    (void) pthread_mutex_unlock(&self->lock);
    while (call) {
        call_t *next = call->next;
        call_deliver(call);
        call = next;
    }
    return count;
}

size_t drax_pending(drax_t *self) {
    (void) pthread_mutex_lock(&self->lock);
    size_t pending = self->submitted;
    (void) pthread_mutex_unlock(&self->lock);
    return pending;
}

/* The oldest write without an outcome; NULL when there is none. */
static const call_t *write_oldest(const drax_t *self) {
    const call_t *call = self->pending.first;
    while (call && call->kind != CALL_WRITE)
        call = call->next;
    return call;
}

/* Puts a call among the pending; its msgid gives it a slot that no other call has. */
static int call_submit(drax_t *self, const call_spec_t *spec, uint64_t deadline_ms, call_t **out) {
    const call_t *oldest = spec->kind == CALL_WRITE ? write_oldest(self) : NULL;
    if (oldest && self->seq + 1 - oldest->seq >= CLIENT_WRITES_AHEAD)
        return DRAX_ERR_FULL;
    /* Invariant 2 and one blocking call at a time leave slots free. */
    uint32_t msgid = self->msgid + 1;
    while (self->slots[msgid % CLIENT_SLOTS])
        msgid++;
    uint64_t seq = spec->kind == CALL_WRITE ? self->seq + 1 : 0;
    int error = call_new(out, spec, msgid, &self->id, seq);
    if (error != 0)
        return error;
    self->msgid = msgid;
    if (spec->kind == CALL_WRITE)
        self->seq = seq;
    (*out)->deadline_ms = deadline_ms;
    self->slots[msgid % CLIENT_SLOTS] = *out;
    list_append(&self->pending, *out);
    return 0;
}

void client_call_settle(drax_t *self, call_t *call) {
    assert(call->state == CALL_DONE && self->slots[call->msgid % CLIENT_SLOTS] == call);
    self->slots[call->msgid % CLIENT_SLOTS] = NULL;
    list_remove(&self->pending, call);
    self->outcomes++;
    if (call->done)
        list_append(&self->completed, call);
}

static void call_deliver(call_t *call) {
    call->done(call->arg, call->error, call->detail, call->result);
    call_destroy(&call);
}

/* 0 with the lock held. DRAX_ERR_UNAVAILABLE: others held it until the deadline, and nothing was
 * sent. */
static int lock_until(drax_t *self, uint64_t deadline_ms) {
    const struct timespec deadline = {.tv_sec = (time_t) (deadline_ms / 1000),
                                      .tv_nsec = (long) (deadline_ms % 1000) * 1000000};
    int rc = pthread_mutex_clocklock(&self->lock, CLOCK_MONOTONIC, &deadline);
    return rc == 0 ? 0 : rc == ETIMEDOUT ? DRAX_ERR_UNAVAILABLE : DRAX_ERR_SYSTEM;
}
