/* connection.h: one endpoint and the connection to it, of which it always knows whether it stands.
 *
 * Owns: a DEALER and its monitor. To an inproc endpoint there is no monitor: it stands at once,
 * until the context is shut down. Must not know: requests, answers, other endpoints. A connection
 * is made once and given up at the first trouble; when to try again, and where, is the router's
 * decision, so ZeroMQ's own reconnection is never reached.
 *
 *   IDLE --open--> OPENING --CONNECTION_UP--> READY
 *     ^---------------+------connection_fail----+
 */
#ifndef DRAX_CLI_CONNECTION_H
#define DRAX_CLI_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "broker/limits.h"
#include "broker/payload.h"

typedef enum { CONNECTION_IDLE, CONNECTION_OPENING, CONNECTION_READY } connection_state_t;

#define CONNECTION_INPROC "inproc://"

typedef struct connection {
    char address[LIMIT_ADDR_BYTES]; /* HOST:PORT, or inproc://NAME */
    connection_state_t state;
    void *socket, *monitor; /* NULL when IDLE; no monitor for inproc */
    int network_fd;         /* epoll: has the two descriptors of these while they are open */
    int socket_fd, monitor_fd;
    /* Why the sockets are to be asked at all (connection.c); the first two are set by who waits. */
    bool socket_news, monitor_news, socket_used;
    bool ended;         /* the context was shut down */
    uint64_t opened_ms; /* when it left IDLE */
    uint64_t retry_ms;  /* IDLE: not to be opened before this */
    unsigned failures;  /* since it was last READY */
    unsigned serial;    /* names the monitor */
} connection_t;

/* Is there anything for connection_event or connection_receive? Must be asked before every wait for
 * network_fd, which tells only what is new. */
bool connection_readable(connection_t *self);

/* IDLE to OPENING, or at once to READY for inproc. Its descriptors are added to the epoll
 * `network_fd`; the `data.ptr` of their events is a bool, to be set when they come. DRAX_EIO: no
 * socket to be had, or ZeroMQ refuses the address; DRAX_ENOTFOUND: the context was shut down; still
 * IDLE. */
int connection_open(connection_t *self, void *context, int network_fd, uint64_t now_ms);

/* To IDLE, not to be opened again before a pause that grows with each failure in a row. */
void connection_fail(connection_t *self, uint64_t now_ms);

/* To IDLE at once; allowed in every state. */
void connection_close(connection_t *self);

typedef enum { CONNECTION_QUIET, CONNECTION_UP, CONNECTION_DOWN } connection_event_t;

/* Reads what the monitor saw. UP: it is READY now. DOWN: call connection_fail. */
connection_event_t connection_event(connection_t *self);

/* Sends one frame without waiting. DRAX_EAGAIN: not now. 0 does not mean that it arrived. */
int connection_send(connection_t *self, slice_t bytes);

/* Takes the next message; of several frames the last, which is the payload. False: there is none.
 * On true the caller closes `out`. */
bool connection_receive(connection_t *self, zmq_msg_t *out);

#endif
