/* gateway_fake.c: see gateway_fake.h. Failures in it are test failures: it asserts. */
#include "tests/unit/gateway_fake.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "broker/error.h"

#define FRAMES_MAX 8

static void *gateway_run(void *arg);

gateway_t *gateway_start(gateway_script_fn *script, unsigned port) {
    gateway_t *self = calloc(1, sizeof *self);
    assert(self);
    const int none = 0;
    char endpoint[64], control[64];
    size_t size = sizeof endpoint;
    self->script = script;
    self->context = zmq_ctx_new();
    self->socket = zmq_socket(self->context, ZMQ_ROUTER);
    zmq_setsockopt(self->socket, ZMQ_LINGER, &none, sizeof none);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", port);
    int rc = zmq_bind(self->socket, port ? endpoint : "tcp://127.0.0.1:*");
    assert(rc == 0);
    rc = zmq_getsockopt(self->socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    assert(rc == 0);
    snprintf(self->address, sizeof self->address, "%s", endpoint + strlen("tcp://"));
    snprintf(control, sizeof control, "inproc://control");
    self->control = zmq_socket(self->context, ZMQ_PAIR);
    rc = zmq_bind(self->control, control);
    assert(rc == 0);
    pthread_mutex_init(&self->lock, NULL);
    rc = pthread_create(&self->thread, NULL, gateway_run, self);
    assert(rc == 0);
    return self;
}

void gateway_stop(gateway_t **self) {
    gateway_t *gateway = *self;
    *self = NULL;
    zmq_send(gateway->control, "", 0, 0);
    pthread_join(gateway->thread, NULL);
    zmq_close(gateway->control);
    zmq_ctx_term(gateway->context);
    pthread_mutex_destroy(&gateway->lock);
    free(gateway);
}

static void request_log(gateway_t *self, const request_t *request, int decoded) {
    pthread_mutex_lock(&self->lock);
    if (decoded == DRAX_EAGAIN) { /* a notification */
        self->credit += request->credit;
        pthread_mutex_unlock(&self->lock);
        return;
    }
    if (decoded != 0)
        self->malformed++;
    assert(self->count < GATEWAY_LOG);
    gateway_entry_t *entry = &self->log[self->count++];
    entry->method = request->method;
    entry->seq = request->seq;
    entry->from = request->from;
    entry->watch = request->watch;
    entry->client_size = request->client.size;
    if (request->client.size > 0)
        memcpy(entry->client, request->client.data, request->client.size);
    size_t size =
        request->key.size < sizeof entry->key - 1 ? request->key.size : sizeof entry->key - 1;
    if (size > 0)
        memcpy(entry->key, request->key.data, size);
    pthread_mutex_unlock(&self->lock);
}

/* The envelope of a request, then the answer. */
static void answer_send(gateway_t *self, zmq_msg_t *frames, size_t count, const buffer_t *answer) {
    for (size_t i = 0; i + 1 < count; i++)
        zmq_send(self->socket, zmq_msg_data(&frames[i]), zmq_msg_size(&frames[i]), ZMQ_SNDMORE);
    if (self->extra_frame)
        zmq_send(self->socket, self->extra_frame, 1, ZMQ_SNDMORE);
    zmq_send(self->socket, answer->data, answer->size, 0);
}

/* Answers one message; false when the gateway is to die. */
static bool request_serve(gateway_t *self) {
    zmq_msg_t frames[FRAMES_MAX];
    size_t count = 0;
    bool alive = true;
    do {
        assert(count < FRAMES_MAX);
        zmq_msg_init(&frames[count]);
        if (zmq_msg_recv(&frames[count], self->socket, 0) < 0)
            return true;
    } while (zmq_msg_more(&frames[count++]));
    slice_t payload = {zmq_msg_data(&frames[count - 1]), zmq_msg_size(&frames[count - 1])};
    request_t request;
    rpc_error_t error;
    buffer_t out = {0};
    int decoded = request_decode(payload, &request, &error);
    request_log(self, &request, decoded);
    switch (decoded == 0 ? self->script(self, &request, &out) : GATEWAY_SILENT) {
    case GATEWAY_ANSWER:
        for (int times = self->repeat ? 2 : 1; times > 0; times--)
            answer_send(self, frames, count, &out);
        for (size_t i = 0; i < self->follow_count; i++)
            answer_send(self, frames, count, &self->follow[i]);
        break;
    case GATEWAY_SILENT:
        break;
    case GATEWAY_DIE:
        alive = false;
        break;
    }
    for (size_t i = 0; i < count; i++)
        zmq_msg_close(&frames[i]);
    for (size_t i = 0; i < self->follow_count; i++)
        buffer_free(&self->follow[i]);
    self->follow_count = 0;
    buffer_free(&out);
    return alive;
}

static void *gateway_run(void *arg) {
    gateway_t *self = arg;
    void *control = zmq_socket(self->context, ZMQ_PAIR);
    int rc = zmq_connect(control, "inproc://control");
    assert(rc == 0);
    bool alive = true;
    for (;;) {
        zmq_pollitem_t items[] = {{.socket = control, .events = ZMQ_POLLIN},
                                  {.socket = self->socket, .events = ZMQ_POLLIN}};
        zmq_poll(items, alive ? 2 : 1, -1);
        if (items[0].revents)
            break;
        if (alive && items[1].revents && !request_serve(self)) {
            zmq_close(self->socket);
            alive = false;
        }
    }
    if (alive)
        zmq_close(self->socket);
    zmq_close(control);
    return NULL;
}

size_t gateway_count(gateway_t *self) {
    pthread_mutex_lock(&self->lock);
    size_t count = self->count;
    pthread_mutex_unlock(&self->lock);
    return count;
}

uint64_t gateway_credit(gateway_t *self) {
    pthread_mutex_lock(&self->lock);
    uint64_t credit = self->credit;
    pthread_mutex_unlock(&self->lock);
    return credit;
}

gateway_entry_t gateway_entry(gateway_t *self, size_t at) {
    pthread_mutex_lock(&self->lock);
    assert(at < self->count);
    gateway_entry_t entry = self->log[at];
    pthread_mutex_unlock(&self->lock);
    return entry;
}

void answer_begin(buffer_t *out, uint32_t msgid, size_t fields) {
    pack_array(out, 4);
    pack_uint(out, 1);
    pack_uint(out, msgid);
    pack_nil(out);
    pack_map(out, fields);
}

void answer_failure(buffer_t *out, uint32_t msgid, const char *code, const char *text) {
    pack_array(out, 4);
    pack_uint(out, 1);
    pack_uint(out, msgid);
    pack_array(out, 2);
    pack_str(out, code);
    pack_str(out, text);
    pack_nil(out);
}

static void put_answer(const request_t *request, buffer_t *out) {
    answer_begin(out, request->msgid, 2);
    pack_str(out, "index");
    pack_uint(out, request->seq);
    pack_str(out, "revision");
    pack_uint(out, request->seq + 100);
}

static void pairs_answer(const request_t *request, buffer_t *out) {
    answer_begin(out, request->msgid, 4);
    pack_str(out, "pairs");
    pack_array(out, 2);
    for (unsigned i = 0; i < 2; i++) {
        pack_map(out, 3);
        pack_str(out, "key");
        pack_key(out, i ? "d/\xff" : "d/a", 3);
        pack_str(out, "value");
        pack_bin(out, "value", i ? 0 : 5);
        pack_str(out, "index");
        pack_uint(out, 7 + i);
    }
    pack_str(out, "more");
    pack_bool(out, true);
    pack_str(out, "count");
    pack_uint(out, 9);
    pack_str(out, "revision");
    pack_uint(out, 12);
}

gateway_action_t gateway_serve(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    switch (request->method) {
    case METHOD_PUT:
    case METHOD_ATOMIC_PUT:
        put_answer(request, out);
        break;
    case METHOD_LIST:
    case METHOD_RANGE:
        pairs_answer(request, out);
        break;
    case METHOD_GET:
        answer_begin(out, request->msgid, 5);
        pack_str(out, "key");
        pack_key(out, request->key.data, request->key.size);
        pack_str(out, "value");
        pack_bin(out, "hello", 5);
        pack_str(out, "index");
        pack_uint(out, 3);
        pack_str(out, "revision");
        pack_uint(out, 4);
        pack_str(out, "ttl_ms");
        pack_uint(out, 500);
        break;
    default:
        answer_begin(out, request->msgid, 1);
        pack_str(out, "method");
        pack_str(out, method_name(request->method));
        break;
    }
    return GATEWAY_ANSWER;
}

gateway_action_t gateway_silent(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self, (void) request, (void) out;
    return GATEWAY_SILENT;
}

gateway_action_t gateway_die(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self, (void) request, (void) out;
    return GATEWAY_DIE;
}

gateway_action_t gateway_unavailable(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    answer_failure(out, request->msgid, "UNAVAILABLE", "no leader");
    return GATEWAY_ANSWER;
}

gateway_action_t gateway_timeout(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    answer_failure(out, request->msgid, "TIMEOUT", "too slow");
    return GATEWAY_ANSWER;
}
