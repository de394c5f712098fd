#include "actors/join.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/rpc_members.h"

/* One node gets this long to answer. It may be dead; what it began is found done by the next
 * request. */
#define JOIN_ANSWER_MS 2000u
#define JOIN_PAUSE_MS 200u

struct join {
    void *context;
    loop_t *loop;
    raft_actor_t *raft;
    const settings_t *settings;
    const log_t *log;
    void *socket; /* NULL: between two attempts */
    size_t next;  /* peer to ask next */
    uint32_t msgid;
    uint64_t deadline_ms;
};

static void attempt_end(join_t *self, uint64_t next_ms) {
    if (self->socket) {
        loop_remove(self->loop, self->socket, -1);
        zmq_close(self->socket);
        self->socket = NULL;
    }
    self->deadline_ms = next_ms;
}

static int answer_read(void *hint, uint64_t now_ms) {
    join_t *self = hint;
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    int rc = DRAX_EAGAIN;
    while (rc == DRAX_EAGAIN && zmq_msg_recv(&frame, self->socket, ZMQ_DONTWAIT) >= 0) {
        if (zmq_msg_more(&frame))
            continue;
        char text[160];
        uint64_t cluster;
        config_t members;
        slice_t payload = {zmq_msg_data(&frame), zmq_msg_size(&frame)};
        rc = rpc_member_added(payload, self->msgid, &cluster, &members, text);
        if (rc == 0)
            raft_actor_joined(self->raft, cluster, &members);
        else
            log_warning(self->log, "not let into the cluster yet: %s %s", error_text(rc), text);
        if (rc == DRAX_EAGAIN)
            rc = DRAX_EINVAL; /* answered, if not as hoped: ask the next one */
    }
    zmq_msg_close(&frame);
    if (rc != DRAX_EAGAIN)
        attempt_end(self, now_ms + JOIN_PAUSE_MS);
    return 0;
}

static void *socket_open(const join_t *self, const char *address) {
    void *socket = zmq_socket(self->context, ZMQ_DEALER);
    if (!socket)
        return NULL;
    char endpoint[ENDPOINT_BYTES];
    endpoint_tcp(endpoint, address);
    int linger = 0, ipv6 = address_ipv6(address); /* else names would go to ::1 first */
    int64_t max = (int64_t) LIMIT_REQUEST_MAX_BYTES;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof ipv6);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof max);
    if (zmq_connect(socket, endpoint) == 0)
        return socket;
    zmq_close(socket);
    return NULL;
}

static void attempt_begin(join_t *self, uint64_t id, uint64_t now_ms) {
    const char *address = self->settings->peers[self->next];
    self->next = (self->next + 1) % self->settings->peer_count;
    self->deadline_ms = now_ms + JOIN_PAUSE_MS;
    self->socket = socket_open(self, address);
    if (!self->socket)
        return;
    buffer_t request = {0};
    rpc_member_add(&request, ++self->msgid, id, self->settings->advertise,
                   self->settings->raft_advertise);
    bool sent =
        !request.failed && zmq_send(self->socket, request.data, request.size, ZMQ_DONTWAIT) >= 0;
    buffer_free(&request);
    if (!sent || loop_add(self->loop, self->socket, -1, answer_read, self) != 0) {
        attempt_end(self, now_ms + JOIN_PAUSE_MS);
        return;
    }
    log_info(self->log, "asking to be let into the cluster peer=%s", address);
    self->deadline_ms = now_ms + JOIN_ANSWER_MS;
}

static int join_turn(void *hint, uint64_t now_ms) {
    join_t *self = hint;
    uint64_t id;
    bool wants = raft_actor_wants_join(self->raft, &id) && self->settings->peer_count > 0;
    if (self->socket && (!wants || now_ms >= self->deadline_ms))
        attempt_end(self, now_ms);
    if (wants && !self->socket && now_ms >= self->deadline_ms)
        attempt_begin(self, id, now_ms);
    return 0;
}

static uint64_t join_deadline(const void *hint, uint64_t now_ms) {
    const join_t *self = hint;
    uint64_t id;
    (void) now_ms;
    return self->socket || raft_actor_wants_join(self->raft, &id) ? self->deadline_ms : UINT64_MAX;
}

int join_new(join_t **out, void *context, loop_t *loop, raft_actor_t *raft,
             const settings_t *settings, const log_t *log) {
    join_t *self = calloc(1, sizeof *self);
    *out = self;
    if (!self)
        return DRAX_ENOMEM;
    self->context = context;
    self->loop = loop;
    self->raft = raft;
    self->settings = settings;
    self->log = log;
    return loop_each_turn(loop, join_turn, join_deadline, self);
}

void join_destroy(join_t **self) {
    if (!*self)
        return;
    attempt_end(*self, 0);
    free(*self);
    *self = NULL;
}
