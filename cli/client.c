/* client.c: the client's life: its endpoints, its descriptors, what is set for all calls. */
#include "cli/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "broker/endpoint.h"

#define ENDPOINTS_DEFAULT "127.0.0.1:2380"

static int endpoints_parse(drax_t *self, const char *endpoints);

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
    int system = wakeup_open(&self->wakeup);
    if (error == 0)
        error = system;
    if (error == 0 && getrandom(&self->id, sizeof self->id, 0) != sizeof self->id)
        error = DRAX_ERR_SYSTEM;
    if (error == 0 && pthread_mutex_init(&self->lock, NULL) != 0)
        error = DRAX_ERR_SYSTEM;
    if (error != 0) {
        wakeup_close(&self->wakeup);
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
    client_calls_close(client);
    for (size_t i = 0; i < client->connection_count; i++)
        connection_close(&client->connections[i]);
    while (client->own_context && zmq_ctx_term(client->context) != 0 && errno == EINTR)
        ;
    if (client->released)
        client->released(client->released_hint);
    wakeup_close(&client->wakeup);
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

uint64_t client_deadline(uint64_t timeout_ms) {
    const uint64_t century_ms = 100ull * 365 * 86400 * 1000;
    return client_now_ms() + (timeout_ms < century_ms ? timeout_ms : century_ms);
}
