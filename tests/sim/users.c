/* users.c: life of the users, their links, and what they do when they wake; see users_internal.h.
 */
#include "tests/sim/users_internal.h"

#include "actors/gateway_internal.h"
#include "tests/sim/array.h"
#include "tests/sim/checks.h"

#define USERS_LABEL 1000u
/* An operation that got no answer for this long, of true time, is given up with its connection. */
#define USERS_PATIENCE_US 8000000u
#define USERS_OVERDUE_US 1000000u

static void users_violated(void *hint, const char *check, const char *text) {
    users_t *self = hint;
    world_fail(self->world, check, "%s", text);
}

/* ---- links ---- */

static station_t station_of(const users_t *self, const link_t *link) {
    unsigned slot = link->slot;
    const struct gateway_actor *gateway = world_gateway(self->world, slot);
    bool same = gateway && world_life(self->world, slot, ACTOR_GATEWAY) == link->life;
    return (station_t){.connection = link->connection,
                       .slot = slot,
                       .memory = gateway && gateway_node_known(gateway)
                                     ? checks_memory(world_checks(self->world), slot)
                                     : 0,
                       .awake_ms = same ? world_awake_ms(self->world, slot, ACTOR_GATEWAY) : 0};
}

static flight_t *flight_find(user_t *self, uint32_t msgid) {
    for (size_t i = 0; i < self->flight_count; i++)
        if (self->flights[i].msgid == msgid)
            return &self->flights[i];
    return NULL;
}

static void flight_end(user_t *self, flight_t *flight) {
    *flight = self->flights[--self->flight_count];
}

static void link_received(void *hint, uint64_t connection, slice_t payload) {
    link_t *link = hint;
    user_t *self = link->user;
    users_t *users = self->users;
    station_t station = station_of(users, link);
    (void) connection;
    if (watching_is_notification(payload)) {
        user_notified(self, link, payload);
        return;
    }
    const operation_t *operation = history_returned(users->history, &station, payload);
    if (!operation)
        return;
    flight_t *flight = flight_find(self, operation->request.msgid);
    if (!flight)
        return;
    flight_t ended = *flight;
    flight_end(self, flight);
    if (operation->reply.fields & REPLY_INDEX)
        requests_learn(&users->requests, operation->request.key, operation->reply.index);
    if (operation->request.method == METHOD_LEASE_GRANT && operation->reply.code == RPC_OK)
        requests_learn_lease(&users->requests, operation->reply.lease);
    if (operation->reply.fields & REPLY_TOKEN)
        requests_learn_lock(&users->requests, operation->request.key, operation->reply.token);
    user_answered(self, &ended, operation, payload);
}

static void link_lost(link_t *link) {
    user_t *self = link->user;
    history_broken(self->users->history, link->connection);
    for (size_t i = self->flight_count; i-- > 0;)
        if (self->flights[i].link == link) {
            flight_t ended = self->flights[i];
            flight_end(self, &self->flights[i]);
            user_answered(self, &ended, NULL, (slice_t){0});
        }
    user_broken(self, link);
    link->connection = 0;
}

static void link_broken(void *hint, uint64_t connection) {
    (void) connection;
    link_lost(hint);
}

void link_close(link_t *self) {
    if (!self->connection)
        return;
    world_disconnect(self->user->users->world, self->connection);
    link_lost(self);
}

bool link_open(link_t *self) {
    users_t *users = self->user->users;
    if (self->connection)
        return true;
    self->slot = (unsigned) stream_range(&users->random, 0, users->options.slots);
    for (unsigned tried = 0; tried < users->options.slots; tried++) {
        if (world_gateway_up(users->world, self->slot))
            break;
        self->slot = (self->slot + 1) % users->options.slots;
    }
    listener_t listener = {self, link_received, link_broken};
    self->life = world_life(users->world, self->slot, ACTOR_GATEWAY);
    self->connection = world_connect(users->world, self->slot, &listener);
    return self->connection != 0;
}

/* ---- sending ---- */

static void link_send(link_t *link, uint32_t msgid, uint64_t seq, slice_t bytes) {
    user_t *self = link->user;
    self->flights[self->flight_count++] =
        (flight_t){msgid, seq, link, world_now_us(self->users->world), 0};
    world_send(self->users->world, link->connection, bytes);
}

void link_request(link_t *link, const request_t *request, uint64_t seq) {
    users_t *users = link->user->users;
    buffer_reset(&users->bytes);
    request_encode(request, &users->bytes);
    payload_t *payload = payload_copy(users->bytes.data, users->bytes.size);
    if (!payload)
        abort();
    station_t station = station_of(users, link);
    history_called(users->history, &station, payload);
    link_send(link, request->msgid, seq, payload_slice(payload));
    payload_unref(&payload);
}

void link_wrong_request(link_t *link) {
    users_t *users = link->user->users;
    uint32_t msgid = history_msgid(users->history), echoed;
    buffer_reset(&users->bytes);
    rpc_code_t code = requests_wrong(&users->random, msgid, &users->bytes, &echoed);
    payload_t *payload = payload_copy(users->bytes.data, users->bytes.size);
    if (!payload)
        abort();
    station_t station = station_of(users, link);
    history_called_wrong(users->history, &station, payload, code, echoed);
    if (code == RPC_OK)
        world_send(users->world, link->connection, payload_slice(payload));
    else
        link_send(link, msgid, 0, payload_slice(payload));
    payload_unref(&payload);
}

bool user_room(const user_t *self, size_t count) {
    return self->flight_count + count <= USER_FLIGHTS;
}

/* ---- waking ---- */

/* Is it of a request that may wait for a lock as long as it takes, or for some time? */
static bool lock_waits(const users_t *self, const flight_t *flight) {
    const request_t *request = &history_operation(self->history, flight->msgid)->request;
    return request->method == METHOD_LOCK && (!request->has_wait || request->wait_ms);
}

static void link_watch(link_t *self) {
    users_t *users = self->user->users;
    uint64_t now_us = world_now_us(users->world), oldest_us = now_us, impatient_us = now_us;
    for (size_t i = 0; i < self->user->flight_count; i++) {
        const flight_t *flight = &self->user->flights[i];
        if (flight->link != self)
            continue;
        if (flight->sent_us < oldest_us)
            oldest_us = flight->sent_us;
        uint64_t since_us = flight->cancelled_us ? flight->cancelled_us : flight->sent_us;
        if (since_us < impatient_us && (flight->cancelled_us || !lock_waits(users, flight)))
            impatient_us = since_us;
    }
    if (!self->connection || now_us < oldest_us + USERS_OVERDUE_US)
        return;
    station_t station = station_of(users, self);
    history_overdue(users->history, &station);
    if (now_us > impatient_us + USERS_PATIENCE_US)
        link_close(self);
}

static void user_wake(void *hint) {
    user_t *self = hint;
    users_t *users = self->users;
    for (size_t i = 0; i < USER_LINKS; i++)
        link_watch(&self->links[i]);
    if (users->stopping && !self->flight_count)
        return;
    if (!users->stopping)
        user_act(self);
    else if (self->kind == USER_LOCK)
        user_lock_stop(self);
    uint64_t pause_us = stream_range(&users->random, 1, 2 * users->options.pause_us + 2);
    world_timer(users->world, world_now_us(users->world) + pause_us, user_wake, self);
}

/* ---- life ---- */

users_t *users_new(world_t *world, const users_options_t *options) {
    users_t *self = array_new(1, sizeof *self);
    self->world = world;
    self->options = *options;
    self->random = world_stream(world, USERS_LABEL);
    self->history = history_new(checks_replay(world_checks(world)), users_violated, self);
    requests_init(&self->requests);
    self->each = array_new(options->users, sizeof *self->each);
    for (unsigned i = 0; i < options->users; i++) {
        user_t *user = &self->each[i];
        user->users = self;
        user_init(user, i);
        for (size_t link = 0; link < USER_LINKS; link++)
            user->links[link].user = user;
        world_timer(world, stream_range(&self->random, 0, 100000), user_wake, user);
    }
    return self;
}

void users_destroy(users_t **self_p) {
    users_t *self = *self_p;
    if (!self)
        return;
    for (unsigned i = 0; i < self->options.users; i++)
        user_clear(&self->each[i]);
    free(self->each);
    history_free(&self->history);
    requests_clear(&self->requests);
    buffer_free(&self->bytes);
    free(self);
    *self_p = NULL;
}

void users_stop(users_t *self) {
    self->stopping = true;
}

bool users_idle(const users_t *self) {
    for (unsigned i = 0; i < self->options.users; i++)
        if (self->each[i].flight_count || !user_idle(&self->each[i]))
            return false;
    return true;
}

void users_finish(users_t *self) {
    history_finish(self->history);
    if (self->options.broken_on_test)
        world_fail(self->world, "deliberate", "asked for");
}

uint64_t users_operations(const users_t *self) {
    return history_answered(self->history);
}

history_locks_t users_locks(const users_t *self) {
    return history_locks(self->history);
}
