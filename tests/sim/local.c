/* local.c: links between the actors of a node, with the rules of actors/mail.c: HELLO opens a link,
 * a letter is taken only between two present lives, and what is sent arrives in order.
 */
#include <string.h>

#include "tests/sim/world_internal.h"

#define LOCAL_HELLO_MS 100u
#define LOCAL_HOP_MIN_US 4u
#define LOCAL_HOP_MAX_US 60u

static void letter_send(process_t *self, actor_t to, message_t *message) {
    world_t *world = self->world;
    if (!codec_roundtrip(world, message))
        return;
    process_t *other = world_process(world, self->machine->slot, to);
    neighbour_t *neighbour = &self->neighbours[to];
    if (self->actor == ACTOR_STORAGE)
        self->took_us += disk_took_us(self->machine->disk);
    uint64_t at_us = world_soon(world, LOCAL_HOP_MIN_US, LOCAL_HOP_MAX_US) + self->took_us;
    if (at_us < neighbour->last_us)
        at_us = neighbour->last_us;
    neighbour->last_us = at_us;
    process_deliver(other, letter_new(LETTER_LOCAL, message), at_us);
}

static void hello_send(process_t *self, actor_t to, bool reply) {
    message_t message = {.kind = MESSAGE_HELLO,
                         .actor = self->actor,
                         .from_boot = self->boot,
                         .to_boot = self->neighbours[to].boot,
                         .hello = {.actor = self->actor, .reply = reply}};
    letter_send(self, to, &message);
}

void local_send(process_t *self, actor_t to, message_t *message) {
    const neighbour_t *neighbour = &self->neighbours[to];
    if (!self->alive || !neighbour->boot) {
        message_clear(message);
        return;
    }
    message->actor = self->actor;
    message->from_boot = self->boot;
    message->to_boot = neighbour->boot;
    checks_sent(self->world->checks, self->machine->slot, self->actor, to, message);
    letter_send(self, to, message);
}

static void hello_receive(process_t *self, const message_t *message, uint64_t now_ms) {
    actor_t actor = message->actor;
    neighbour_t *neighbour = &self->neighbours[actor];
    bool knows = message->to_boot == self->boot;
    bool anew = neighbour->boot != message->from_boot || (neighbour->knows && !message->to_boot);
    if (anew) {
        neighbour->boot = message->from_boot;
        neighbour->knows = false;
    }
    neighbour->knows = neighbour->knows || knows;
    if (!message->hello.reply)
        hello_send(self, actor, true);
    if (anew)
        self->ops->neighbour(self->self, actor, now_ms);
}

void local_receive(process_t *self, message_t *message, uint64_t now_ms) {
    neighbour_t *neighbour = &self->neighbours[message->actor];
    if (message->kind == MESSAGE_HELLO) {
        hello_receive(self, message, now_ms);
    } else if (message->to_boot == self->boot && message->from_boot == neighbour->boot) {
        neighbour->knows = true;
        self->ops->receive(self->self, message, now_ms);
    }
    message_clear(message);
}

void local_turn(process_t *self, uint64_t now_ms) {
    if (now_ms < self->hello_ms)
        return;
    self->hello_ms = now_ms + LOCAL_HELLO_MS;
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++)
        if (actor != self->actor && !self->neighbours[actor].boot)
            hello_send(self, actor, false);
}

uint64_t local_deadline_ms(const process_t *self) {
    for (actor_t actor = ACTOR_STORAGE; actor < ACTOR_END; actor++)
        if (actor != self->actor && !self->neighbours[actor].boot)
            return self->hello_ms;
    return UINT64_MAX;
}
