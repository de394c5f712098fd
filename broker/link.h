/* link.h: the one user of raw ZeroMQ sockets among actors.
 *
 * Owns: one inbox (ROUTER, bound) and the outlets (DEALER, connected), with every socket option set
 * on purpose (link.c says why for each). Knows frames and endpoints; decodes and encodes through
 * codec.h. A send never blocks and never queues to a peer that is not connected (ZMQ_IMMEDIATE):
 * what cannot go now is dropped with DRAX_EAGAIN, because every protocol above repeats what
 * matters. Over inproc, two things differ: messages wait for a neighbour that is not there yet, and
 * once it is gone its outlets do not find its successor; actors that are threads start and stop
 * together.
 */
#ifndef DRAX_BROKER_LINK_H
#define DRAX_BROKER_LINK_H

#include "broker/codec.h"
#include "broker/message.h"

typedef struct link_inbox link_inbox_t;
typedef struct link_outlet link_outlet_t;

typedef enum { LINK_LOCAL, LINK_PEER } link_scope_t; /* ipc or inproc; tcp between nodes */

/* Binds (for tcp see endpoint_tcp_bind). `detail` gets a sentence that names the endpoint on
 * failure: DRAX_EINUSE (address in use), DRAX_EINVAL (no such address), DRAX_EIO, DRAX_ENOMEM.
 * Binding an ipc path takes it away from whoever else has bound it: a lock file must guard it. */
int link_inbox_new(link_inbox_t **out, void *context, link_scope_t scope, const char *endpoint,
                   char *detail, size_t detail_size);
void link_inbox_destroy(link_inbox_t **self);
void *link_inbox_socket(link_inbox_t *self); /* for zmq_poll */
/* The next message, or DRAX_EAGAIN when there is none. DRAX_EPROTO, DRAX_EVERSION, DRAX_ENOMEM: one
 * was malformed or had no room and is gone (count and go on). DRAX_EIO: the context is terminated.
 * On 0 the caller owns `out`, else it holds nothing. */
int link_receive(link_inbox_t *self, message_t *out);

/* Connects, in the background and again whenever the connection is lost. DRAX_EINVAL, DRAX_EIO,
 * DRAX_ENOMEM. */
int link_outlet_new(link_outlet_t **out, void *context, link_scope_t scope, const char *endpoint);
void link_outlet_destroy(link_outlet_t **self);
/* Sends at once, sharing large payloads. DRAX_EAGAIN: not connected or its queue is full; nothing
 * was sent. DRAX_ETOOLARGE (its header), DRAX_EINVAL (see codec_encode), DRAX_ENOMEM: nothing was
 * sent. 0 does not mean that it arrived: for a moment after the connection is lost, also after
 * LINK_DOWN, a message may still be taken and is then discarded. */
int link_send(link_outlet_t *self, const message_t *message);

/* Connection events of an outlet, as they were seen: poll link_outlet_monitor for input and call
 * link_outlet_event until DRAX_EAGAIN. Only outlets of LINK_PEER have a monitor (else NULL). */
typedef enum { LINK_UP, LINK_DOWN } link_event_t;
void *link_outlet_monitor(link_outlet_t *self);
int link_outlet_event(link_outlet_t *self, link_event_t *out);

#endif
