/* link.c: sockets between actors and their frames; their options are in link_options.c.
 *
 *   inbox (ROUTER)   receives: routing-id header *payload
 *   outlet (DEALER)  sends:    header *payload
 *
 * Invariants
 *   1. Nothing here waits: each call on a socket is non-blocking, and an interrupted one is
 * repeated.
 *   2. The routing id is dropped unread, and none is ever set: a remote can neither claim a
 *      neighbour's name nor be sent anything by the inbox.
 *   3. A message is taken from its socket whole, also when it is refused, so the next one starts
 * right.
 *   4. An outlet is never read; what a remote sends into it stays within its receive queue of one.
 */
#include "broker/link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "broker/error.h"
#include "broker/link_options.h"

/* A smaller frame that was received lies in the 8 KiB buffer that ZeroMQ read it into, beside its
 * neighbours, and would keep all of that alive: it is copied. A larger one is taken over. */
#define WRAP_BYTES 8192u
/* Below this, a copy costs less than sharing the payload with ZeroMQ's I/O thread. */
#define SHARE_BYTES 1024u

struct link_inbox {
    void *socket;
    size_t header_bytes_max;
    payload_t *payloads[LIMIT_MESSAGE_FRAMES];
    size_t count; /* of payloads; 0 between calls */
};

struct link_outlet {
    void *socket;
    void *monitor; /* PAIR; NULL for LINK_LOCAL */
    bool up;       /* as reported last */
    size_t header_bytes_max;
    frames_t frames;
    zmq_msg_t *outgoing; /* the frames of the message that is being sent; reused */
    size_t count;        /* initialised ones among them; 0 between calls */
    size_t capacity;
};

static int frames_receive(link_inbox_t *self, zmq_msg_t *header);
static int frame_receive(void *socket, zmq_msg_t *frame);
static int outgoing_build(link_outlet_t *self);
static int outgoing_send(link_outlet_t *self);
static int frame_send(link_outlet_t *self, size_t index);
static int frame_copy(zmq_msg_t *out, const void *data, size_t size);
static int frame_from_payload(zmq_msg_t *out, payload_t *payload);
static int payload_from_frame(payload_t **out, zmq_msg_t *frame);
static void frame_release(void *hint);
static void payload_release(void *data, void *hint);
static int monitor_open(link_outlet_t *self, void *context);
static size_t header_bytes_max(link_scope_t scope);
static int errno_code(int error);

int link_receive(link_inbox_t *self, message_t *out) {
    zmq_msg_t header;
    zmq_msg_init(&header);
    int rc = frames_receive(self, &header);
    if (!rc) {
        slice_t slice = {zmq_msg_data(&header), zmq_msg_size(&header)};
        rc = codec_decode(out, slice, self->payloads, self->count);
    }
    while (self->count > 0)
        payload_unref(&self->payloads[--self->count]);
    zmq_msg_close(&header);
    return rc;
}

int link_send(link_outlet_t *self, const message_t *message) {
    int rc = codec_encode(&self->frames, message);
    if (!rc)
        rc = outgoing_build(self);
    if (!rc)
        rc = outgoing_send(self);
    while (self->count > 0)
        zmq_msg_close(&self->outgoing[--self->count]); /* empty where it was sent */
    frames_reset(&self->frames);
    return rc;
}

int link_inbox_new(link_inbox_t **out, void *context, link_scope_t scope, const char *endpoint,
                   char *detail, size_t detail_size) {
    *out = NULL;
    link_inbox_t *self = calloc(1, sizeof *self);
    if (!self) {
        snprintf(detail, detail_size, "%s: out of memory", endpoint);
        return DRAX_ENOMEM;
    }
    self->header_bytes_max = header_bytes_max(scope);
    self->socket = zmq_socket(context, ZMQ_ROUTER);
    if (!self->socket || link_inbox_options_set(self->socket, scope, endpoint) ||
        zmq_bind(self->socket, endpoint) != 0) {
        int error = errno;
        snprintf(detail, detail_size, "%s: cannot listen: %s", endpoint, zmq_strerror(error));
        link_inbox_destroy(&self);
        return errno_code(error);
    }
    *out = self;
    return 0;
}

void link_inbox_destroy(link_inbox_t **self) {
    link_inbox_t *inbox = *self;
    *self = NULL;
    if (!inbox)
        return;
    if (inbox->socket)
        zmq_close(inbox->socket);
    free(inbox);
}

void *link_inbox_socket(link_inbox_t *self) {
    return self->socket;
}

int link_outlet_new(link_outlet_t **out, void *context, link_scope_t scope, const char *endpoint) {
    *out = NULL;
    link_outlet_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->header_bytes_max = header_bytes_max(scope);
    self->socket = zmq_socket(context, ZMQ_DEALER);
    /* The monitor is there before the first connection, so that none is missed. */
    if (!self->socket || link_outlet_options_set(self->socket, scope, endpoint) ||
        (scope == LINK_PEER && monitor_open(self, context)) ||
        zmq_connect(self->socket, endpoint) != 0) {
        int error = errno;
        link_outlet_destroy(&self);
        return errno_code(error);
    }
    *out = self;
    return 0;
}

void link_outlet_destroy(link_outlet_t **self) {
    link_outlet_t *outlet = *self;
    *self = NULL;
    if (!outlet)
        return;
    if (outlet->monitor) {
        zmq_socket_monitor(outlet->socket, NULL, 0); /* closes ZeroMQ's end first */
        zmq_close(outlet->monitor);
    }
    if (outlet->socket)
        zmq_close(outlet->socket);
    frames_clear(&outlet->frames);
    free(outlet->outgoing);
    free(outlet);
}

void *link_outlet_monitor(link_outlet_t *self) {
    return self->monitor;
}

/* An event is two frames: a 16-bit number with a 32-bit value, and the endpoint. A connection that
 * ends before its handshake is through was never up, so its end is not reported. */
int link_outlet_event(link_outlet_t *self, link_event_t *out) {
    if (!self->monitor)
        return DRAX_EAGAIN;
    for (;;) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        int rc = frame_receive(self->monitor, &frame);
        uint16_t event = 0;
        if (!rc && zmq_msg_size(&frame) >= sizeof event)
            memcpy(&event, zmq_msg_data(&frame), sizeof event);
        while (!rc && zmq_msg_more(&frame))
            rc = frame_receive(self->monitor, &frame);
        zmq_msg_close(&frame);
        if (rc)
            return rc;
        bool up = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        if (up == self->up)
            continue;
        self->up = up;
        *out = up ? LINK_UP : LINK_DOWN;
        return 0;
    }
}

/* Takes one whole message from the socket: the header, and the payloads into `self`. */
static int frames_receive(link_inbox_t *self, zmq_msg_t *header) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    int rc = frame_receive(self->socket, &frame); /* the routing id */
    if (rc) {
        zmq_msg_close(&frame);
        return rc;
    }
    bool more = zmq_msg_more(&frame);
    if (more) {
        rc = frame_receive(self->socket, header);
        more = !rc && zmq_msg_more(header);
    } else {
        rc = DRAX_EPROTO;
    }
    if (!rc && zmq_msg_size(header) > self->header_bytes_max)
        rc = DRAX_EPROTO;
    while (more) {
        int frame_rc = frame_receive(self->socket, &frame);
        more = !frame_rc && zmq_msg_more(&frame);
        if (!frame_rc && !rc && self->count + 1 == LIMIT_MESSAGE_FRAMES)
            frame_rc = DRAX_EPROTO;
        if (!frame_rc && !rc) {
            frame_rc = payload_from_frame(&self->payloads[self->count], &frame);
            self->count += !frame_rc;
        }
        if (!rc)
            rc = frame_rc;
    }
    zmq_msg_close(&frame);
    /* The frames of a message come together: if one is missing, the message is not one. */
    return rc == DRAX_EAGAIN ? DRAX_EPROTO : rc;
}

static int frame_receive(void *socket, zmq_msg_t *frame) {
    while (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) < 0)
        if (errno != EINTR)
            return errno_code(errno);
    return 0;
}

/* Makes every frame before the first is sent: a message that was begun cannot be taken back. */
static int outgoing_build(link_outlet_t *self) {
    const frames_t *frames = &self->frames;
    size_t count = frames->count + 1;
    assert(count <= LIMIT_MESSAGE_FRAMES); /* codec_encode sees to it */
    if (frames->header.size > self->header_bytes_max)
        return DRAX_ETOOLARGE;
    if (count > self->capacity) {
        zmq_msg_t *grown = realloc(self->outgoing, count * sizeof *grown); /* all are closed */
        if (!grown)
            return DRAX_ENOMEM;
        self->outgoing = grown;
        self->capacity = count;
    }
    int rc = frame_copy(&self->outgoing[0], frames->header.data, frames->header.size);
    self->count = rc ? 0 : 1;
    while (!rc && self->count < count) {
        rc = frame_from_payload(&self->outgoing[self->count], frames->payloads[self->count - 1]);
        self->count += !rc;
    }
    return rc;
}

/* A queue has room for a whole message or for none of it, so a later frame is refused only when the
 * connection is lost in between. ZeroMQ then discards the frames before it, and those that follow
 * up to the last, which must be given to it all the same. */
static int outgoing_send(link_outlet_t *self) {
    int rc = frame_send(self, 0);
    if (rc == DRAX_EAGAIN) {
        /* ZeroMQ looks only about every millisecond whether a connection came or a queue has room
         * again, unless it is asked for its events. */
        int events = 0;
        size_t size = sizeof events;
        if (zmq_getsockopt(self->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLOUT))
            rc = frame_send(self, 0);
    }
    if (rc)
        return rc;
    for (size_t i = 1; i < self->count; i++) {
        int frame_rc = frame_send(self, i);
        if (!rc)
            rc = frame_rc;
    }
    return rc;
}

static int frame_send(link_outlet_t *self, size_t index) {
    int flags = ZMQ_DONTWAIT | (index + 1 < self->count ? ZMQ_SNDMORE : 0);
    while (zmq_msg_send(&self->outgoing[index], self->socket, flags) < 0)
        if (errno != EINTR)
            return errno_code(errno);
    return 0;
}

static int frame_copy(zmq_msg_t *out, const void *data, size_t size) {
    if (zmq_msg_init_size(out, size) != 0)
        return DRAX_ENOMEM;
    if (size > 0)
        memcpy(zmq_msg_data(out), data, size);
    return 0;
}

static int frame_from_payload(zmq_msg_t *out, payload_t *payload) {
    size_t size = payload_size(payload);
    const uint8_t *data = payload_data(payload);
    if (size < SHARE_BYTES)
        return frame_copy(out, data, size);
    payload_ref(payload);
    /* ZeroMQ takes the bytes as writable, and does not write to them. */
    if (zmq_msg_init_data(out, (void *) (uintptr_t) data, size, payload_release, payload) == 0)
        return 0;
    payload_unref(&payload);
    return DRAX_ENOMEM;
}

static int payload_from_frame(payload_t **out, zmq_msg_t *frame) {
    size_t size = zmq_msg_size(frame);
    if (size < WRAP_BYTES) {
        *out = payload_copy(zmq_msg_data(frame), size);
        return *out ? 0 : DRAX_ENOMEM;
    }
    zmq_msg_t *owned = malloc(sizeof *owned);
    if (!owned)
        return DRAX_ENOMEM;
    zmq_msg_init(owned);
    zmq_msg_move(owned, frame);
    *out = payload_wrap(zmq_msg_data(owned), size, frame_release, owned);
    if (*out)
        return 0;
    frame_release(owned);
    return DRAX_ENOMEM;
}

static void frame_release(void *hint) {
    zmq_msg_t *frame = hint;
    zmq_msg_close(frame);
    free(frame);
}

/* On ZeroMQ's I/O thread, or on the sender's when the frame was refused. */
static void payload_release(void *data, void *hint) {
    (void) data;
    payload_t *payload = hint;
    payload_unref(&payload);
}

/* -1 with errno. */
static int monitor_open(link_outlet_t *self, void *context) {
    char endpoint[96];
    struct timespec now = {0};
    const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED;
    /* The address of a live outlet is unique; the time sets it off from an earlier outlet at the
     * same address, whose monitor ZeroMQ may still be closing. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(endpoint, sizeof endpoint, "inproc://drax-monitor-%p-%lld.%ld", (void *) self,
             (long long) now.tv_sec, now.tv_nsec);
    if (zmq_socket_monitor(self->socket, endpoint, events) != 0)
        return -1;
    self->monitor = zmq_socket(context, ZMQ_PAIR);
    if (!self->monitor || link_monitor_options_set(self->monitor))
        return -1;
    return zmq_connect(self->monitor, endpoint);
}

static size_t header_bytes_max(link_scope_t scope) {
    return scope == LINK_PEER ? LIMIT_HEADER_BYTES : LIMIT_LOCAL_HEADER_BYTES;
}

static int errno_code(int error) {
    switch (error) {
    case EAGAIN:
        return DRAX_EAGAIN;
    case ENOMEM:
        return DRAX_ENOMEM;
    case EADDRINUSE:
        return DRAX_EINUSE;
    case EINVAL:
    case ENODEV:
    case EADDRNOTAVAIL:
    case EPROTONOSUPPORT:
    case ENOCOMPATPROTO:
    case ENAMETOOLONG:
    case ENOENT:
    case ENOTDIR:
        return DRAX_EINVAL;
    default: /* ETERM, EMFILE, EACCES … */
        return DRAX_EIO;
    }
}
