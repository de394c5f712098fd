/* network.c: links between nodes: what TCP under a DEALER and a ROUTER does, and its faults.
 *
 * A raft process has an outlet for each peer it was told of: a connection to the peer's address,
 * made again and again until it stands. Messages on a connection arrive in order, unless a fault
 * says otherwise; those sent while it does not stand are lost, as are those under way when it
 * breaks. A process that ends closes its connections, which the other side sees within
 * milliseconds; silence is found out by heartbeats, after a second.
 */
#include <string.h>

#include "tests/sim/world_internal.h"

#define NETWORK_SILENCE_MIN_US 1000000u
#define NETWORK_SILENCE_MAX_US 1250000u
#define NETWORK_RETRY_MIN_US 20000u
#define NETWORK_RETRY_MAX_US 500000u
/* How much later than it should a message comes that is overtaken. */
#define NETWORK_REORDER_US 30000u

static void outlet_try(void *hint, uint64_t argument);

void network_init(world_t *self) {
    for (unsigned from = 0; from < WORLD_SLOTS; from++)
        for (unsigned to = 0; to < WORLD_SLOTS; to++)
            self->links[from][to] = (link_state_t){.delay_us = self->schedule->latency_us,
                                                   .jitter_us = self->schedule->jitter_us};
}

/* ---- the codec ---- */

bool codec_roundtrip(world_t *self, message_t *message) {
    unsigned one_of = self->schedule->codec;
    if (!one_of || stream_next(&self->random) % one_of)
        return true;
    message_t decoded = {.kind = MESSAGE_NONE};
    int rc = codec_encode(&self->frames, message);
    slice_t header = {self->frames.header.data, self->frames.header.size};
    if (rc == 0)
        rc = codec_decode(&decoded, header, self->frames.payloads, self->frames.count);
    if (rc) {
        world_fail(self, "codec", "%s of a %s message", error_text(rc),
                   message_kind_name(message->kind));
        message_clear(message);
        return false;
    }
    if (message_is_peer(message->kind) && message->cluster) {
        stale_t *stale = &self->stale[self->stale_next++ % WORLD_STALE];
        frames_t spare = stale->frames;
        stale->frames = self->frames;
        stale->full = true;
        self->frames = spare;
    }
    message_clear(message);
    *message = decoded;
    return true;
}

/* ---- connections ---- */

static bool link_there(const world_t *self, unsigned a, unsigned b) {
    return a == b || (!self->links[a][b].cut && !self->links[b][a].cut);
}

static void outlet_news(machine_t *self, outlet_t *outlet, bool up) {
    letter_t *letter = letter_new(LETTER_NEWS, NULL);
    letter->peer = outlet->peer;
    letter->up = up;
    process_deliver(&self->processes[ACTOR_RAFT], letter, self->world->now_us);
}

static void outlet_plan(machine_t *self, outlet_t *outlet, uint64_t at_us) {
    uint64_t place = (uint64_t) (outlet - self->outlets);
    world_event(self->world, at_us, outlet_try, self, ++outlet->number * WORLD_OUTLETS + place);
}

static void outlet_break(machine_t *self, outlet_t *outlet) {
    outlet->up = false;
    outlet_news(self, outlet, false);
    outlet_plan(self, outlet, world_soon(self->world, NETWORK_RETRY_MIN_US, NETWORK_RETRY_MAX_US));
}

/* A connection that stands is looked at, one that does not is tried. */
static void outlet_try(void *hint, uint64_t argument) {
    machine_t *self = hint;
    world_t *world = self->world;
    outlet_t *outlet = &self->outlets[argument % WORLD_OUTLETS];
    if (!outlet->peer || argument / WORLD_OUTLETS != outlet->number)
        return;
    const process_t *other = world_process(world, outlet->slot, ACTOR_RAFT);
    bool there = other->alive && !outlet->gone && link_there(world, self->slot, outlet->slot);
    if (outlet->up) {
        if (!there || other->life != outlet->life)
            outlet_break(self, outlet);
        return;
    }
    if (there && other->paused_us <= world->now_us) {
        outlet->up = true;
        outlet->life = other->life;
        outlet_news(self, outlet, true);
        return;
    }
    outlet_plan(self, outlet, world_soon(world, NETWORK_RETRY_MIN_US, NETWORK_RETRY_MAX_US));
}

static unsigned slot_of(const world_t *self, const char *raft_addr) {
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        if (strcmp(self->machines[slot].raft_addr, raft_addr) == 0)
            return slot;
    return WORLD_SLOTS;
}

static bool peer_is_wanted(const machine_t *self, uint64_t id) {
    for (size_t i = 0; i < WORLD_OUTLETS; i++)
        if (self->outlets[i].peer == id && self->outlets[i].wanted)
            return true;
    return false;
}

static void peers_want(process_t *self, uint64_t own, const config_t *config) {
    machine_t *machine = self->machine;
    for (size_t i = 0; config && i < config->count; i++) {
        const member_t *member = &config->members[i];
        unsigned slot = slot_of(self->world, member->raft_addr);
        if (member->id == own || peer_is_wanted(machine, member->id))
            continue;
        outlet_t *found = NULL, *unused = NULL;
        for (size_t j = 0; j < WORLD_OUTLETS; j++) {
            outlet_t *outlet = &machine->outlets[j];
            if (outlet->peer == member->id && outlet->slot == slot && !outlet->gone)
                found = outlet;
            else if (!outlet->peer && !unused)
                unused = outlet;
        }
        if (found)
            found->wanted = true;
        if (found || slot == WORLD_SLOTS || !unused)
            continue;
        uint64_t number = unused->number;
        *unused = (outlet_t){.peer = member->id, .slot = slot, .wanted = true, .number = number};
        outlet_plan(machine, unused, world_soon(self->world, 100, 2000));
    }
}

void network_peers(process_t *self, uint64_t own, const config_t *config, const config_t *extra) {
    machine_t *machine = self->machine;
    for (size_t i = 0; i < WORLD_OUTLETS; i++)
        machine->outlets[i].wanted = false;
    peers_want(self, own, config);
    peers_want(self, own, extra);
    for (size_t i = 0; i < WORLD_OUTLETS; i++)
        if (!machine->outlets[i].wanted)
            machine->outlets[i].peer = 0;
}

void network_raft_started(machine_t *self) {
    for (size_t i = 0; i < WORLD_OUTLETS; i++)
        self->outlets[i] = (outlet_t){.number = self->outlets[i].number + 1};
}

/* The connections to a slot, from all others, are looked at after a while. */
static void outlets_look(world_t *self, unsigned slot, uint64_t low_us, uint64_t high_us) {
    for (unsigned from = 0; from < WORLD_SLOTS; from++) {
        machine_t *machine = &self->machines[from];
        for (size_t i = 0; i < WORLD_OUTLETS; i++) {
            outlet_t *outlet = &machine->outlets[i];
            if (outlet->peer && outlet->up && outlet->slot == slot)
                outlet_plan(machine, outlet, world_soon(self, low_us, high_us));
        }
    }
}

void network_raft_ended(machine_t *self) {
    for (size_t i = 0; i < WORLD_OUTLETS; i++)
        self->outlets[i] = (outlet_t){.number = self->outlets[i].number + 1};
    if (self->silent)
        outlets_look(self->world, self->slot, NETWORK_SILENCE_MIN_US, NETWORK_SILENCE_MAX_US);
    else
        outlets_look(self->world, self->slot, 200, 3000);
}

void network_moved(machine_t *self) {
    for (unsigned from = 0; from < WORLD_SLOTS; from++)
        for (size_t i = 0; i < WORLD_OUTLETS; i++) {
            outlet_t *outlet = &self->world->machines[from].outlets[i];
            if (outlet->peer && outlet->slot == self->slot)
                outlet->gone = true;
        }
}

void network_changed(world_t *self) {
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        outlets_look(self, slot, NETWORK_SILENCE_MIN_US, NETWORK_SILENCE_MAX_US);
}

void network_reset(world_t *self, unsigned a, unsigned b) {
    for (unsigned end = 0; end < 2; end++) {
        machine_t *machine = &self->machines[end ? b : a];
        for (size_t i = 0; i < WORLD_OUTLETS; i++) {
            outlet_t *outlet = &machine->outlets[i];
            if (outlet->peer && outlet->up && outlet->slot == (end ? a : b))
                outlet_break(machine, outlet);
        }
    }
}

/* ---- messages ---- */

static void message_copy(world_t *self, const message_t *message, message_t *out) {
    (void) codec_encode(&self->frames, message);
    slice_t header = {self->frames.header.data, self->frames.header.size};
    memset(out, 0, sizeof *out);
    if (codec_decode(out, header, self->frames.payloads, self->frames.count) != 0)
        world_fail(self, "codec", "a %s message", message_kind_name(message->kind));
}

static void message_leave(process_t *self, const outlet_t *outlet, message_t *message) {
    world_t *world = self->world;
    link_state_t *link = &world->links[self->machine->slot][outlet->slot];
    letter_t *letter = letter_new(LETTER_PEER, message);
    letter->life = outlet->life;
    uint64_t at_us = world_soon(world, link->delay_us / 2,
                                link->delay_us / 2 + link->delay_us + link->jitter_us + 1);
    if (link->reorder && stream_chance(&world->random, link->reorder)) {
        at_us += stream_range(&world->random, 0, NETWORK_REORDER_US);
    } else {
        at_us = at_us < link->last_us ? link->last_us : at_us;
        link->last_us = at_us;
    }
    process_deliver(world_process(world, outlet->slot, ACTOR_RAFT), letter, at_us);
}

static const outlet_t *outlet_of(const machine_t *self, uint64_t peer) {
    for (size_t i = 0; i < WORLD_OUTLETS; i++)
        if (self->outlets[i].peer && self->outlets[i].peer == peer)
            return &self->outlets[i];
    return NULL;
}

bool network_send(process_t *self, message_t *message) {
    world_t *world = self->world;
    const machine_t *machine = self->machine;
    const outlet_t *outlet = self->alive ? outlet_of(machine, message->to) : NULL;
    if (self->alive)
        checks_sent(world->checks, machine->slot, self->actor, ACTOR_NONE, message);
    const link_state_t *link = outlet ? &world->links[machine->slot][outlet->slot] : NULL;
    bool leaves = outlet && outlet->up;
    if (!leaves || link->cut || (link->loss && stream_chance(&world->random, link->loss))) {
        message_clear(message);
        return leaves;
    }
    if (!codec_roundtrip(world, message))
        return false;
    if (link->duplicate && stream_chance(&world->random, link->duplicate)) {
        message_t copy;
        message_copy(world, message, &copy);
        message_leave(self, outlet, &copy);
    }
    message_leave(self, outlet, message);
    return true;
}

/* As another cluster might send it, whose terms and log are its own. */
static void stranger_make(world_t *self, message_t *message, uint64_t node) {
    message->cluster ^= 1 + stream_range(&self->random, 0, 1000);
    message->term += stream_range(&self->random, 0, 4);
    message->to = node;
    if (message->kind == MESSAGE_APPEND_RESULT)
        message->append_result.index += stream_range(&self->random, 0, 20);
    for (size_t i = 0; message->kind == MESSAGE_APPEND && i < message->append.entries.count; i++)
        message->append.entries.items[i].term = message->term;
}

void network_crosstalk(world_t *self) {
    const stale_t *stale = &self->stale[stream_range(&self->random, 0, WORLD_STALE)];
    unsigned slot = (unsigned) stream_range(&self->random, 0, WORLD_SLOTS);
    if (!stale->full)
        return;
    message_t message = {.kind = MESSAGE_NONE};
    slice_t header = {stale->frames.header.data, stale->frames.header.size};
    if (codec_decode(&message, header, stale->frames.payloads, stale->frames.count) != 0)
        return;
    /* Of another cluster; or of the past, where it was sent to or elsewhere. */
    if (stream_chance(&self->random, 400))
        stranger_make(self, &message, self->machines[slot].node);
    process_deliver(world_process(self, slot, ACTOR_RAFT), letter_new(LETTER_PEER, &message),
                    self->now_us);
}
