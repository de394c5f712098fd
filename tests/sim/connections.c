/* connections.c: users' connections to gateways: in order both ways, with a delay, until the
 * gateway's process ends or one of the two closes.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

#define CONNECTION_MIN_US 30u
#define CONNECTION_MAX_US 400u

/* A payload on its way to a user. */
typedef struct delivery {
    world_t *world;
    uint64_t connection;
    size_t size;
    uint8_t bytes[];
} delivery_t;

static connection_t *connection_find(const world_t *self, uint64_t id) {
    return id && id <= self->connection_count ? &self->connections[id - 1] : NULL;
}

static uint64_t connection_id(const world_t *self, const connection_t *connection) {
    return (uint64_t) (connection - self->connections) + 1;
}

bool world_gateway_up(const world_t *self, unsigned slot) {
    return slot < WORLD_SLOTS && world_process(self, slot, ACTOR_GATEWAY)->alive;
}

uint64_t world_connect(world_t *self, unsigned slot, const listener_t *listener) {
    if (!world_gateway_up(self, slot))
        return 0;
    if (self->connection_count == self->connection_capacity) {
        self->connection_capacity = self->connection_capacity ? 2 * self->connection_capacity : 64;
        self->connections =
            realloc(self->connections, self->connection_capacity * sizeof *self->connections);
        if (!self->connections)
            abort();
    }
    connection_t *connection = &self->connections[self->connection_count++];
    *connection = (connection_t){.listener = *listener,
                                 .slot = slot,
                                 .life = world_process(self, slot, ACTOR_GATEWAY)->life,
                                 .open = true};
    return connection_id(self, connection);
}

void world_disconnect(world_t *self, uint64_t id) {
    connection_t *connection = connection_find(self, id);
    if (connection)
        connection->open = false;
}

/* ---- to the gateway ---- */

void world_send(world_t *self, uint64_t id, slice_t payload) {
    connection_t *connection = connection_find(self, id);
    if (!connection || !connection->open)
        return;
    letter_t *letter = letter_new(LETTER_CLIENT, NULL);
    letter->life = connection->life;
    letter->connection = id;
    letter->payload = payload_copy(payload.data, payload.size);
    uint64_t at_us = world_soon(self, CONNECTION_MIN_US, CONNECTION_MAX_US);
    connection->to_us = at_us > connection->to_us ? at_us : connection->to_us;
    process_deliver(world_process(self, connection->slot, ACTOR_GATEWAY), letter,
                    connection->to_us);
}

/* The routing id is the connection's number, as a ROUTER would have drawn one. */
static envelope_t *envelope_make(uint64_t id) {
    envelope_t *envelope = malloc(sizeof *envelope + 2 + sizeof id);
    if (!envelope)
        abort();
    envelope->size = 2 + sizeof id;
    envelope->id_size = sizeof id;
    envelope->bytes[0] = sizeof id;
    envelope->bytes[1] = 0;
    memcpy(envelope->bytes + 2, &id, sizeof id);
    return envelope;
}

void connection_receive(process_t *gateway, letter_t *letter, uint64_t now_ms) {
    envelope_t *envelope = envelope_make(letter->connection);
    gateway_actor_request(gateway->gateway, &envelope, payload_slice(letter->payload), now_ms);
}

/* ---- to the user ---- */

static void delivery_happen(void *hint, uint64_t argument) {
    (void) argument;
    delivery_t *self = hint;
    world_t *world = self->world;
    const connection_t *connection = connection_find(world, self->connection);
    if (connection->open) {
        listener_t listener = connection->listener;
        world_mix(world, self->connection << 32 | self->size);
        listener.received(listener.hint, self->connection, (slice_t){self->bytes, self->size});
    }
    free(self);
}

int connection_respond(void *hint, const envelope_t *envelope, slice_t response) {
    process_t *gateway = hint;
    world_t *world = gateway->world;
    uint64_t id;
    memcpy(&id, envelope->bytes + 2, sizeof id);
    connection_t *connection = connection_find(world, id);
    if (!connection || !connection->open || connection->life != gateway->life || !gateway->alive)
        return DRAX_ENOTFOUND;
    delivery_t *delivery = malloc(sizeof *delivery + response.size);
    if (!delivery)
        abort();
    *delivery = (delivery_t){world, id, response.size};
    memcpy(delivery->bytes, response.data, response.size);
    uint64_t at_us = world_soon(world, CONNECTION_MIN_US, CONNECTION_MAX_US);
    connection->from_us = at_us > connection->from_us ? at_us : connection->from_us;
    world_event_owning(world, connection->from_us, delivery_happen, free, delivery);
    return 0;
}

static void connection_broken(void *hint, uint64_t id) {
    world_t *self = hint;
    connection_t *connection = connection_find(self, id);
    if (!connection->open)
        return;
    connection->open = false;
    listener_t listener = connection->listener;
    listener.broken(listener.hint, id);
}

static void connections_end(machine_t *self, bool all) {
    world_t *world = self->world;
    uint64_t life = self->processes[ACTOR_GATEWAY].life;
    for (size_t i = 0; i < world->connection_count; i++) {
        const connection_t *connection = &world->connections[i];
        bool its = connection->open && connection->slot == self->slot && connection->life == life;
        if (its && (all || stream_chance(&world->random, 500)))
            world_event(world, world_soon(world, 100, 3000), connection_broken, world, i + 1);
    }
}

void connections_gateway_ended(machine_t *self) {
    connections_end(self, true);
}

void connections_break(machine_t *self) {
    connections_end(self, false);
}

void connections_clear(world_t *self) {
    free(self->connections);
    self->connections = NULL;
    self->connection_count = self->connection_capacity = 0;
}
