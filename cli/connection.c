/* connection.c: a DEALER whose every option is set on purpose, and what its monitor tells.
 *
 * To ask a ZeroMQ socket whether it has something costs system calls, so it is asked for a reason
 * only:
 *  1. Its descriptor was readable (socket_news, monitor_news): it is received from until there is
 *     nothing more, and from then on whatever comes makes the descriptor readable again.
 *  2. It was used to send, which may have taken in that sign of news unseen (socket_used): it is
 *     asked once before the next wait.
 */
#include "cli/connection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "cli/client_limits.h"

static int options_set(void *socket, const char *address);
static int monitor_open(connection_t *self, void *context);
static int descriptor_add(connection_t *self, void *socket, int *fd, bool *news);
static void descriptor_remove(connection_t *self, int *fd);
static int event_receive(void *monitor);

int connection_open(connection_t *self, void *context, int network_fd, uint64_t now_ms) {
    bool inproc = strncmp(self->address, CONNECTION_INPROC, sizeof CONNECTION_INPROC - 1) == 0;
    char endpoint[ENDPOINT_BYTES];
    if (inproc)
        snprintf(endpoint, sizeof endpoint, "%s", self->address);
    else
        endpoint_tcp(endpoint, self->address);
    self->ended = self->socket_used = false;
    self->socket_news = self->monitor_news = true; /* perhaps already */
    self->network_fd = network_fd;
    self->socket_fd = self->monitor_fd = -1;
    self->socket = zmq_socket(context, ZMQ_DEALER);
    if (!self->socket)
        return errno == ETERM ? DRAX_ENOTFOUND : DRAX_EIO;
    if (options_set(self->socket, self->address) != 0 ||
        (!inproc && monitor_open(self, context) != 0) ||
        descriptor_add(self, self->socket, &self->socket_fd, &self->socket_news) != 0 ||
        zmq_connect(self->socket, endpoint) != 0) {
        int rc = errno == ETERM ? DRAX_ENOTFOUND : DRAX_EIO;
        connection_close(self);
        return rc;
    }
    self->state = inproc ? CONNECTION_READY : CONNECTION_OPENING;
    self->opened_ms = now_ms;
    return 0;
}

void connection_fail(connection_t *self, uint64_t now_ms) {
    connection_close(self);
    unsigned shift = self->failures < 5 ? self->failures : 5;
    uint64_t pause_ms = (uint64_t) CLIENT_RECONNECT_MIN_MS << shift;
    self->retry_ms =
        now_ms + (pause_ms < CLIENT_RECONNECT_MAX_MS ? pause_ms : CLIENT_RECONNECT_MAX_MS);
    self->failures++;
}

void connection_close(connection_t *self) {
    /* Closing can only fail for what is not a socket, and both are ours. ZeroMQ closes the
     * descriptors some time later. */
    if (self->monitor) {
        descriptor_remove(self, &self->monitor_fd);
        (void) zmq_socket_monitor(self->socket, NULL, 0);
        (void) zmq_close(self->monitor);
    }
    if (self->socket) {
        descriptor_remove(self, &self->socket_fd);
        (void) zmq_close(self->socket);
    }
    self->socket = NULL;
    self->monitor = NULL;
    self->state = CONNECTION_IDLE;
}

static bool socket_readable(void *socket) {
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) != 0 || (events & ZMQ_POLLIN) != 0;
}

bool connection_readable(connection_t *self) {
    if (self->state == CONNECTION_IDLE)
        return false;
    if (self->socket_used && !self->socket_news)
        self->socket_news = socket_readable(self->socket);
    self->socket_used = false;
    return self->socket_news || (self->monitor && self->monitor_news);
}

connection_event_t connection_event(connection_t *self) {
    if (self->ended)
        return CONNECTION_DOWN;
    while (self->monitor && self->monitor_news) {
        int event = event_receive(self->monitor);
        if (event < 0) {
            self->monitor_news = false;
            return CONNECTION_QUIET;
        }
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            self->state = CONNECTION_READY;
            self->failures = 0;
            return CONNECTION_UP;
        }
        if (event != 0)
            return CONNECTION_DOWN;
    }
    return CONNECTION_QUIET;
}

int connection_send(connection_t *self, slice_t bytes) {
    int rc;
    self->socket_used = true;
    do
        rc = zmq_send(self->socket, bytes.data, bytes.size, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? DRAX_EAGAIN : 0;
}

bool connection_receive(connection_t *self, zmq_msg_t *out) {
    if (!self->socket_news)
        return false;
    (void) zmq_msg_init(out); /* cannot fail */
    for (;;) {
        if (zmq_msg_recv(out, self->socket, ZMQ_DONTWAIT) < 0) {
            if (errno == EINTR)
                continue;
            self->ended = errno == ETERM;
            self->socket_news = self->socket_used = false;
            (void) zmq_msg_close(out);
            return false;
        }
        if (!zmq_msg_more(out))
            return true;
    }
}

static int options_set(void *socket, const char *address) {
    const struct {
        int name, value;
    } options[] = {
        /* What is unsent at the end is sent again by whoever still waits for it. */
        {ZMQ_LINGER, 0},
        /* Nothing queues for a connection that does not stand. */
        {ZMQ_IMMEDIATE, 1},
        /* More than can be in flight: a send never waits for room. */
        {ZMQ_SNDHWM, 2 * (int) CLIENT_SLOTS},
        {ZMQ_RCVHWM, 2 * (int) CLIENT_SLOTS},
        {ZMQ_CONNECT_TIMEOUT, (int) CLIENT_CONNECT_MS},
        {ZMQ_HANDSHAKE_IVL, (int) CLIENT_CONNECT_MS},
        /* The router gives up a connection long before this. */
        {ZMQ_RECONNECT_IVL, 60000},
        {ZMQ_HEARTBEAT_IVL, (int) CLIENT_HEARTBEAT_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, (int) CLIENT_HEARTBEAT_TIMEOUT_MS},
        {ZMQ_HEARTBEAT_TTL, (int) CLIENT_HEARTBEAT_TIMEOUT_MS},
        /* With IPv6 on, a name that has both kinds of address would be tried on IPv6 alone. */
        {ZMQ_IPV6, address_ipv6(address)},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)) != 0)
            return DRAX_EIO;
    const int64_t frame_bytes = CLIENT_ANSWER_BYTES;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_bytes, sizeof frame_bytes) == 0 ? 0
                                                                                         : DRAX_EIO;
}

static int monitor_open(connection_t *self, void *context) {
    char name[64];
    const int none = 0;
    /* CLOSED and CONNECT_RETRIED: the attempt failed. */
    const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED |
                       ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    snprintf(name, sizeof name, "inproc://monitor-%p-%u", (void *) self, self->serial++);
    if (zmq_socket_monitor(self->socket, name, events) != 0)
        return DRAX_EIO;
    self->monitor = zmq_socket(context, ZMQ_PAIR);
    if (!self->monitor) {
        (void) zmq_socket_monitor(self->socket, NULL, 0);
        return DRAX_EIO;
    }
    if (zmq_setsockopt(self->monitor, ZMQ_LINGER, &none, sizeof none) != 0 ||
        zmq_setsockopt(self->monitor, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
        zmq_connect(self->monitor, name) != 0)
        return DRAX_EIO;
    return descriptor_add(self, self->monitor, &self->monitor_fd, &self->monitor_news);
}

static int descriptor_add(connection_t *self, void *socket, int *fd, bool *news) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = news};
    size_t size = sizeof *fd;
    if (zmq_getsockopt(socket, ZMQ_FD, fd, &size) != 0)
        return DRAX_EIO;
    return epoll_ctl(self->network_fd, EPOLL_CTL_ADD, *fd, &event) == 0 ? 0 : DRAX_EIO;
}

static void descriptor_remove(connection_t *self, int *fd) {
    if (*fd >= 0)
        (void) epoll_ctl(self->network_fd, EPOLL_CTL_DEL, *fd, NULL);
    *fd = -1;
}

/* The number of the next event, -1 when there is none. An event is two frames: the number (16 bits)
 * and its value, then an address. */
static int event_receive(void *monitor) {
    uint8_t frame[8];
    uint16_t event = 0;
    int size = zmq_recv(monitor, frame, sizeof frame, ZMQ_DONTWAIT);
    if (size < 0)
        return -1;
    if (size >= (int) sizeof event)
        memcpy(&event, frame, sizeof event);
    (void) zmq_recv(monitor, frame, sizeof frame, ZMQ_DONTWAIT); /* the address */
    return event;
}
