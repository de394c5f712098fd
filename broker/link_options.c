/* link_options.c: every socket option of a link, set on purpose, with its reason. */
#include "broker/link_options.h"

#include <stdint.h>
#include <string.h>
#include <zmq.h>

#include "broker/limits.h"

typedef struct {
    int name;
    int value;
} option_t;

static int options_set(void *socket, const option_t *options, size_t count);
static int common_options_set(void *socket, link_scope_t scope, const char *endpoint,
                              int64_t frame_bytes_max);

#define OPTIONS_SET(socket, options)                                                               \
    options_set((socket), (options), sizeof(options) / sizeof((options)[0]))

int link_inbox_options_set(void *socket, link_scope_t scope, const char *endpoint) {
    const option_t options[] = {
        /* For each connection; when it is full, the sender's queue fills, and then it is told. */
        {ZMQ_RCVHWM, (int) LIMIT_LINK_QUEUE},
        /* Nothing is sent on it, so nothing may wait to be sent. */
        {ZMQ_SNDHWM, 1},
        {ZMQ_LINGER, 0},
        /* Every actor of a cluster may come back at the same moment. */
        {ZMQ_BACKLOG, 128},
        /* A second connection that claims a name in use does not push out the first. Ours claim
         * none and get random names. */
        {ZMQ_ROUTER_HANDOVER, 0},
    };
    /* From another machine nothing is believed, so memory is not given for a frame that cannot be
     * right. Actors of the same node may send whole batches. */
    int64_t frame_bytes_max = scope == LINK_PEER ? (int64_t) LIMIT_PEER_FRAME_BYTES : -1;
    if (OPTIONS_SET(socket, options))
        return -1;
    return common_options_set(socket, scope, endpoint, frame_bytes_max);
}

int link_outlet_options_set(void *socket, link_scope_t scope, const char *endpoint) {
    const option_t options[] = {
        /* Beyond it, a send is refused: what is queued must not grow with the peer's silence. */
        {ZMQ_SNDHWM, (int) LIMIT_LINK_QUEUE},
        /* Nothing is received on it (invariant 4). */
        {ZMQ_RCVHWM, 1},
        /* Only to a connection that stands, and what is queued goes down with it: a peer that comes
         * back must not wade through stale messages. */
        {ZMQ_IMMEDIATE, 1},
    };
    const option_t local_options[] = {
        /* The last words of an actor (results, a hand-over) still reach its neighbours. */
        {ZMQ_LINGER, 200},
        /* A neighbour that was restarted is back within milliseconds. */
        {ZMQ_RECONNECT_IVL, 10},
        {ZMQ_RECONNECT_IVL_MAX, 100},
    };
    const option_t peer_options[] = {
        /* A peer must not hold up the end of this process; Raft repeats what matters. */
        {ZMQ_LINGER, 0},
        /* After a partition heals, or a peer is back, the link is up again within a second. */
        {ZMQ_RECONNECT_IVL, 20},
        {ZMQ_RECONNECT_IVL_MAX, 500},
        /* The kernel repeats a lost first packet after 1, 2, 4 … seconds: start anew instead. */
        {ZMQ_CONNECT_TIMEOUT, 500},
    };
    if (OPTIONS_SET(socket, options) || (scope == LINK_PEER ? OPTIONS_SET(socket, peer_options)
                                                            : OPTIONS_SET(socket, local_options)))
        return -1;
    return common_options_set(socket, scope, endpoint, LIMIT_OUTLET_FRAME_BYTES);
}

int link_monitor_options_set(void *socket) {
    const option_t options[] = {
        {ZMQ_LINGER, 0},
        /* Without bound: ZeroMQ's I/O thread waits when a monitor is full, and with it all links.
         * It gets no more than two small events for each reconnection. */
        {ZMQ_RCVHWM, 0},
    };
    return OPTIONS_SET(socket, options);
}

static int common_options_set(void *socket, link_scope_t scope, const char *endpoint,
                              int64_t frame_bytes_max) {
    const option_t options[] = {
        /* A connection that does not get through its handshake is dropped: it holds a descriptor
         * here, or keeps an outlet from trying again. */
        {ZMQ_HANDSHAKE_IVL, 2000},
        /* Only addresses in brackets are IPv6. Elsewhere it would send names to ::1 and the like
         * while their owners listen on IPv4. */
        {ZMQ_IPV6, strchr(endpoint, '[') != NULL},
    };
    const option_t peer_options[] = {
        /* A peer that vanished without a word (pulled cable, frozen machine) is noticed within 1 s,
         * at both ends; TCP alone would take minutes. */
        {ZMQ_HEARTBEAT_IVL, 250},
        {ZMQ_HEARTBEAT_TIMEOUT, 1000},
        {ZMQ_HEARTBEAT_TTL, 1000},
        /* Heartbeats do its work, sooner. */
        {ZMQ_TCP_KEEPALIVE, 0},
    };
    if (OPTIONS_SET(socket, options) || (scope == LINK_PEER && OPTIONS_SET(socket, peer_options)))
        return -1;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_bytes_max, sizeof frame_bytes_max);
}

static int options_set(void *socket, const option_t *options, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)) != 0)
            return -1;
    return 0;
}
