/* users_act.c: what each kind of user does. */
#include <stdio.h>
#include <string.h>

#include "broker/error.h"
#include "tests/sim/users_internal.h"

static stream_t *chance(user_t *self) {
    return &self->users->random;
}

static uint32_t next_msgid(const user_t *self) {
    return history_msgid(self->users->history);
}

static void write_send(user_t *self, link_t *link) {
    request_t request;
    requests_write(&self->users->requests, chance(self), next_msgid(self), &request);
    link_request(link, &request, 0);
}

static void read_send(user_t *self, link_t *link, bool stale) {
    request_t request;
    requests_read(&self->users->requests, chance(self), next_msgid(self), &request);
    request.stale =
        stale && request.method != METHOD_MEMBER_LIST && request.method != METHOD_LEASE_GET;
    link_request(link, &request, 0);
}

static void local_send(user_t *self, link_t *link) {
    method_t method = stream_chance(chance(self), 500) ? METHOD_PING : METHOD_STATUS;
    link_request(link, &(request_t){.msgid = next_msgid(self), .method = method}, 0);
}

/* ---- kinds ---- */

static void mixed_act(user_t *self) {
    link_t *link = &self->links[0];
    if (self->flight_count)
        return;
    if (stream_chance(chance(self), 50))
        link_close(link);
    if (!link_open(link))
        return;
    uint64_t draw = stream_range(chance(self), 0, 100);
    if (draw < 45)
        write_send(self, link);
    else if (draw < 85)
        read_send(self, link, false);
    else if (draw < 95)
        read_send(self, link, true);
    else
        local_send(self, link);
}

static void pipeline_act(user_t *self) {
    link_t *link = &self->links[0];
    if (stream_chance(chance(self), 10))
        link_close(link);
    size_t burst = stream_range(chance(self), 1, 16);
    if (!stream_chance(chance(self), 120) || !user_room(self, burst) || !link_open(link))
        return;
    for (size_t i = 0; i < burst; i++) {
        if (stream_chance(chance(self), 850))
            write_send(self, link);
        else
            read_send(self, link, false);
    }
}

static void stale_act(user_t *self) {
    if (self->flight_count > 1)
        return;
    link_t *link = &self->links[stream_range(chance(self), 0, USER_LINKS)];
    if (stream_chance(chance(self), 20))
        link_close(link);
    if (!link_open(link))
        return;
    if (stream_chance(chance(self), 700))
        read_send(self, link, true);
    else
        local_send(self, link);
}

static void pages_act(user_t *self) {
    link_t *link = &self->links[0];
    if (self->flight_count || !link_open(link))
        return;
    request_t request = {.msgid = next_msgid(self),
                         .method = METHOD_LIST,
                         .limit = stream_range(chance(self), 1, 5),
                         .keys_only = stream_chance(chance(self), 500),
                         .stale = stream_chance(chance(self), 300)};
    request.has_after = self->after.size != 0;
    request.after = (slice_t){self->after.data, self->after.size};
    link_request(link, &request, 0);
}

static void wrong_act(user_t *self) {
    link_t *link = &self->links[0];
    if (!user_room(self, 1) || !link_open(link))
        return;
    uint64_t draw = stream_range(chance(self), 0, 4);
    if (draw < 2)
        link_wrong_request(link);
    else if (draw == 2)
        read_send(self, link, false);
    else
        write_send(self, link);
}

/* ---- exactly once ---- */

/* Sends the request of a session under a msgid of its own. */
static void session_send(user_t *self, session_request_t *session, link_t *link) {
    request_t request;
    rpc_error_t error;
    if (!user_room(self, 1) || !link_open(link))
        return;
    if (request_decode(payload_slice(session->payload), &request, &error) != 0)
        return;
    request.msgid = next_msgid(self);
    session->attempts++;
    link_request(link, &request, session->seq);
}

static void session_begin(user_t *self, session_request_t *session, const request_t *fresh) {
    buffer_t bytes = {0};
    request_t request = *fresh;
    request.client = (slice_t){(const uint8_t *) self->client, strlen(self->client)};
    request.seq = session->seq = ++self->seq;
    request_encode(&request, &bytes);
    session->payload = payload_copy(bytes.data, bytes.size);
    buffer_free(&bytes);
    session_send(self, session, &self->links[0]);
    if (stream_chance(chance(self), 700))
        session_send(self, session, &self->links[1]);
}

void user_once_send(user_t *self, const request_t *request) {
    session_request_t *session = &self->session[stream_range(chance(self), 0, USER_SEQS)];
    if (!session->seq)
        session_begin(self, session, request);
}

void user_once_again(user_t *self) {
    session_request_t *session = &self->session[stream_range(chance(self), 0, USER_SEQS)];
    if (session->seq && session->attempts < 3)
        session_send(self, session, &self->links[stream_range(chance(self), 0, USER_LINKS)]);
}

/* A seq that was answered already, with other arguments: refused. */
static void seq_misuse(user_t *self, uint64_t seq) {
    request_t request;
    for (size_t i = 0; i < USER_SEQS; i++)
        if (self->session[i].seq == seq)
            return;
    if (!user_room(self, 1) || !link_open(&self->links[0]))
        return;
    requests_write(&self->users->requests, chance(self), next_msgid(self), &request);
    request.client = (slice_t){(const uint8_t *) self->client, strlen(self->client)};
    request.seq = seq;
    link_request(&self->links[0], &request, 0);
}

static void once_act(user_t *self) {
    for (size_t i = 0; i < USER_LINKS; i++)
        if (stream_chance(chance(self), 20))
            link_close(&self->links[i]);
    session_request_t *session = &self->session[stream_range(chance(self), 0, USER_SEQS)];
    link_t *link = &self->links[stream_range(chance(self), 0, USER_LINKS)];
    request_t request;
    if (!session->seq) {
        requests_write(&self->users->requests, chance(self), next_msgid(self), &request);
        session_begin(self, session, &request);
    } else if (!session->attempts || stream_chance(chance(self), 100)) {
        session_send(self, session, link);
    }
    if (self->seq && stream_chance(chance(self), 30))
        seq_misuse(self, stream_range(chance(self), 1, self->seq));
}

static void session_answered(user_t *self, const flight_t *flight, const operation_t *operation) {
    for (size_t i = 0; i < USER_SEQS; i++) {
        session_request_t *session = &self->session[i];
        if (session->seq != flight->seq)
            continue;
        session->attempts--;
        bool known = operation && operation->reply.code != RPC_TIMEOUT &&
                     operation->reply.code != RPC_UNAVAILABLE;
        if (!known)
            return;
        payload_unref(&session->payload);
        *session = (session_request_t){0};
        return;
    }
}

/* ---- all ---- */

void user_act(user_t *self) {
    switch (self->kind) {
    case USER_PIPELINE:
        pipeline_act(self);
        break;
    case USER_ONCE:
        once_act(self);
        break;
    case USER_STALE:
        stale_act(self);
        break;
    case USER_PAGES:
        pages_act(self);
        break;
    case USER_WRONG:
        wrong_act(self);
        break;
    case USER_WATCH:
        user_watch_act(self);
        break;
    case USER_LOCK:
        user_lock_act(self);
        break;
    default:
        mixed_act(self);
    }
}

void user_answered(user_t *self, const flight_t *flight, const operation_t *operation,
                   slice_t payload) {
    if (self->kind == USER_WATCH)
        user_watch_answered(self, flight, operation, payload);
    if (self->kind == USER_LOCK)
        user_lock_answered(self, operation);
    if (flight->seq)
        session_answered(self, flight, operation);
    if (self->kind != USER_PAGES || !operation)
        return;
    buffer_reset(&self->after);
    if (operation->reply.more)
        buffer_append(&self->after, operation->reply.last.data, operation->reply.last.size);
}

void user_notified(user_t *self, const link_t *link, slice_t payload) {
    if (self->kind == USER_WATCH)
        user_watch_notified(self, link, payload);
    else
        world_fail(self->users->world, "answered once", "slot %u notifies whom nobody asked to",
                   link->slot);
}

void user_broken(user_t *self, const link_t *link) {
    if (self->kind == USER_WATCH)
        user_watch_broken(self, link);
}

bool user_idle(const user_t *self) {
    return self->kind != USER_WATCH || user_watch_idle(self);
}

/* A run has few users, so each draws what it is; the first one changes something in any case. */
static user_kind_t kind_pick(stream_t *random, unsigned number) {
    static const struct {
        user_kind_t kind;
        unsigned share;
    } kinds[] = {{USER_MIXED, 350}, {USER_ONCE, 200}, {USER_LOCK, 200}, {USER_PIPELINE, 50},
                 {USER_WATCH, 120}, {USER_STALE, 30}, {USER_PAGES, 20}, {USER_WRONG, 30}};
    uint64_t draw = stream_range(random, 0, number ? 1000 : 800);
    size_t kind = 0;
    while (draw >= kinds[kind].share)
        draw -= kinds[kind++].share;
    return kinds[kind].kind;
}

void user_init(user_t *self, unsigned number) {
    self->number = number;
    self->kind = kind_pick(chance(self), number);
    snprintf(self->client, sizeof self->client, "user-%u", number);
    user_watch_init(self);
}

void user_clear(user_t *self) {
    for (size_t i = 0; i < USER_SEQS; i++)
        payload_unref(&self->session[i].payload);
    buffer_free(&self->after);
}
