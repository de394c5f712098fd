#include "actors/clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/limits.h"

/* Answers that ZeroMQ queues for one client; what it does not take beyond that waits, bounded in
 * bytes, with the gateway. Small, because an answer may be a megabyte. */
#define CLIENTS_SEND_QUEUE 256
/* Requests that ZeroMQ queues for the gateway, a client. */
#define CLIENTS_RECEIVE_QUEUE 1024

struct clients {
    void *socket;
    zmq_msg_t frame; /* the last payload */
    uint8_t envelope[LIMIT_ENVELOPE_BYTES + 2 * LIMIT_ENVELOPE_FRAMES];
};

envelope_t *envelope_copy(const envelope_t *envelope) {
    size_t size = sizeof *envelope + envelope->size;
    envelope_t *copy = malloc(size);
    if (copy)
        memcpy(copy, envelope, size);
    return copy;
}

static int option_set(void *socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int options_set(void *socket, const char *address) {
    int64_t frame_max = LIMIT_FRAME_BYTES;
    int rc = 0;
    /* A client's frame beyond the limit ends its connection before the frame is read. */
    rc |= zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max);
    /* A send to a client that is gone, or that reads nothing, says so instead of dropping or
     * blocking. */
    rc |= option_set(socket, ZMQ_ROUTER_MANDATORY, 1);
    rc |= option_set(socket, ZMQ_SNDHWM, CLIENTS_SEND_QUEUE);
    rc |= option_set(socket, ZMQ_RCVHWM, CLIENTS_RECEIVE_QUEUE);
    /* Answers that are under way when the gateway stops still go out. */
    rc |= option_set(socket, ZMQ_LINGER, 500);
    /* A connection that never completes its handshake does not stay. */
    rc |= option_set(socket, ZMQ_HANDSHAKE_IVL, 10000);
    /* Hosts that vanished are noticed by TCP; ZMTP heartbeats would burden clients that know none.
     */
    rc |= option_set(socket, ZMQ_TCP_KEEPALIVE, 1);
    rc |= option_set(socket, ZMQ_TCP_KEEPALIVE_IDLE, 60);
    rc |= option_set(socket, ZMQ_TCP_KEEPALIVE_INTVL, 15);
    rc |= option_set(socket, ZMQ_TCP_KEEPALIVE_CNT, 4);
    /* Many clients that come back at once (a gateway's restart) find room to wait. */
    rc |= option_set(socket, ZMQ_BACKLOG, 1024);
    /* Both families for *; elsewhere only addresses in brackets are IPv6. */
    rc |= option_set(socket, ZMQ_IPV6, address && (address[0] == '*' || address_ipv6(address)));
    return rc ? DRAX_EIO : 0;
}

static int tcp_bind(void *socket, const char *address, char *detail, size_t detail_size) {
    char endpoint[ENDPOINT_BYTES];
    endpoint_tcp_bind(endpoint, address);
    if (zmq_bind(socket, endpoint) == 0)
        return 0;
    int rc = errno == EADDRINUSE ? DRAX_EINUSE : DRAX_EINVAL;
    snprintf(detail, detail_size, "cannot listen on %s: %s", address, zmq_strerror(errno));
    return rc;
}

int clients_new(clients_t **out, void *context, const char *address, char *detail,
                size_t detail_size) {
    *out = NULL;
    clients_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    zmq_msg_init(&self->frame);
    self->socket = zmq_socket(context, ZMQ_ROUTER);
    int rc = self->socket ? options_set(self->socket, address) : DRAX_EIO;
    if (rc)
        snprintf(detail, detail_size, "cannot make a socket for clients: %s", zmq_strerror(errno));
    else if (address)
        rc = tcp_bind(self->socket, address, detail, detail_size);
    if (rc) {
        clients_destroy(&self);
        return rc;
    }
    *out = self;
    return 0;
}

int clients_bind_inproc(clients_t *self, const char *endpoint) {
    return zmq_bind(self->socket, endpoint) == 0 ? 0 : DRAX_EIO;
}

void clients_destroy(clients_t **self_p) {
    clients_t *self = *self_p;
    if (!self)
        return;
    if (self->socket)
        zmq_close(self->socket);
    zmq_msg_close(&self->frame);
    free(self);
    *self_p = NULL;
}

void *clients_socket(clients_t *self) {
    return self->socket;
}

/* Reads to the end of the message; the payload stays in self->frame. DRAX_EPROTO: over the limits.
 */
static int frames_read(clients_t *self, uint32_t *size, uint32_t *id_size) {
    uint32_t frames = 0;
    bool over = false;
    *size = *id_size = 0;
    for (;;) {
        size_t length = zmq_msg_size(&self->frame);
        if (!zmq_msg_more(&self->frame))
            return over || frames == 0 ? DRAX_EPROTO : 0;
        over = over || frames == LIMIT_ENVELOPE_FRAMES || length > UINT16_MAX ||
               *size + 2 + length > sizeof self->envelope;
        if (!over) {
            uint16_t prefix = (uint16_t) length;
            memcpy(self->envelope + *size, &prefix, 2);
            memcpy(self->envelope + *size + 2, zmq_msg_data(&self->frame), length);
            *size += 2 + (uint32_t) length;
            if (frames++ == 0)
                *id_size = (uint32_t) length;
        }
        /* Frames of one message arrive together: this does not wait. */
        if (zmq_msg_recv(&self->frame, self->socket, 0) < 0)
            return DRAX_EPROTO;
    }
}

int clients_receive(clients_t *self, envelope_t **envelope, slice_t *payload) {
    *envelope = NULL;
    if (zmq_msg_recv(&self->frame, self->socket, ZMQ_DONTWAIT) < 0)
        return DRAX_EAGAIN;
    uint32_t size, id_size;
    int rc = frames_read(self, &size, &id_size);
    if (rc)
        return rc;
    *envelope = malloc(sizeof **envelope + size);
    if (!*envelope)
        return DRAX_ENOMEM;
    (*envelope)->size = size;
    (*envelope)->id_size = id_size;
    memcpy((*envelope)->bytes, self->envelope, size);
    *payload = (slice_t){zmq_msg_data(&self->frame), zmq_msg_size(&self->frame)};
    return 0;
}

int clients_send(clients_t *self, const envelope_t *envelope, slice_t payload) {
    for (uint32_t at = 0; at < envelope->size;) {
        uint16_t length;
        memcpy(&length, envelope->bytes + at, 2);
        int sent =
            zmq_send(self->socket, envelope->bytes + at + 2, length, ZMQ_SNDMORE | ZMQ_DONTWAIT);
        /* Only the first frame, the routing id, can be refused; the rest follows it. */
        if (sent < 0)
            return errno == EAGAIN ? DRAX_EAGAIN : DRAX_ENOTFOUND;
        at += 2u + length;
    }
    if (zmq_send(self->socket, payload.data, payload.size, ZMQ_DONTWAIT) < 0)
        return errno == EAGAIN ? DRAX_EAGAIN : DRAX_ENOTFOUND;
    return 0;
}
