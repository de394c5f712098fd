/* users_lock.c: users who lock: some wait, with patience or without, cancel, resend, or vanish; who
 * holds a lock keeps it alive, writes with its fence, and lets go of it or forgets it. */
#include <string.h>

#include "broker/error.h"
#include "tests/sim/users_internal.h"

#define LOCKS_ASKED 3u /* at a time */

static stream_t *chance(user_t *self) {
    return &self->users->random;
}

static uint32_t next_msgid(const user_t *self) {
    return history_msgid(self->users->history);
}

static const request_t *asked(const user_t *self, const flight_t *flight) {
    return &history_operation(self->users->history, flight->msgid)->request;
}

static size_t locks_asked(const user_t *self) {
    size_t count = 0;
    for (size_t i = 0; i < self->flight_count; i++)
        count += asked(self, &self->flights[i])->method == METHOD_LOCK;
    return count;
}

static void cancel_send(user_t *self, flight_t *flight) {
    if (flight->cancelled_us || !user_room(self, 1))
        return;
    flight->cancelled_us = world_now_us(self->users->world);
    link_request(flight->link,
                 &(request_t){.msgid = next_msgid(self),
                              .method = METHOD_LOCK_CANCEL,
                              .target = flight->msgid},
                 0);
}

/* What a holder does; it may forget that it is one. */
static void hold_act(user_t *self, link_t *link) {
    uint64_t draw = stream_range(chance(self), 0, 100);
    request_t request;
    if (draw < 5) {
        self->held = (held_t){0};
        return;
    }
    if (draw < 25) {
        request = (request_t){.method = METHOD_LEASE_KEEPALIVE, .lease = self->held.token};
    } else if (draw < 40) {
        request = (request_t){.method = METHOD_UNLOCK, .token = self->held.token};
        request.key = asked(self, &(flight_t){.msgid = self->held.msgid})->key;
    } else {
        requests_write(&self->users->requests, chance(self), next_msgid(self), &request);
        bool keyed = request.method >= METHOD_PUT && request.method <= METHOD_DELETE;
        request.has_fence = stream_chance(chance(self), 800);
        request.fence_key = asked(self, &(flight_t){.msgid = self->held.msgid})->key;
        request.fence_token = self->held.token;
        if (keyed && stream_chance(chance(self), 600))
            request.key = request.fence_key;
        if (keyed && stream_chance(chance(self), 800))
            request.ttl_ms = request.lease = 0;
    }
    request.msgid = next_msgid(self);
    link_request(link, &request, 0);
    if (request.method == METHOD_UNLOCK)
        self->held = (held_t){0};
}

static void lock_send(user_t *self, link_t *link) {
    request_t request;
    requests_lock(&self->users->requests, chance(self), next_msgid(self), &request);
    if (stream_chance(chance(self), 500))
        link_request(link, &request, 0);
    else
        user_once_send(self, &request);
}

void user_lock_act(user_t *self) {
    link_t *link = &self->links[stream_range(chance(self), 0, USER_LINKS)];
    if (stream_chance(chance(self), 10))
        link_close(link);
    if (!user_room(self, 4) || !link_open(link))
        return;
    if (self->flight_count && stream_chance(chance(self), 60)) {
        flight_t *flight = &self->flights[stream_range(chance(self), 0, self->flight_count)];
        if (asked(self, flight)->method == METHOD_LOCK)
            cancel_send(self, flight);
    } else if (stream_chance(chance(self), 150)) {
        user_once_again(self);
    } else if (self->held.token) {
        hold_act(self, link);
    } else if (locks_asked(self) < LOCKS_ASKED) {
        lock_send(self, link);
    }
}

void user_lock_stop(user_t *self) {
    for (size_t i = 0; i < self->flight_count; i++)
        if (asked(self, &self->flights[i])->method == METHOD_LOCK)
            cancel_send(self, &self->flights[i]);
}

void user_lock_answered(user_t *self, const operation_t *operation) {
    if (!operation || operation->reply.code || operation->request.method != METHOD_LOCK)
        return;
    self->held = (held_t){operation->request.msgid, operation->reply.token};
}
