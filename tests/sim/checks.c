/* checks.c: life of the checks, and the hooks; see the header. */
#include "tests/sim/checks.h"

#include "tests/sim/checks_internal.h"

static void replay_failed(void *hint, const char *check, const char *text) {
    checks_t *self = hint;
    world_fail(self->world, check, "%s", text);
}

checks_t *checks_new(world_t *world) {
    checks_t *self = array_new(1, sizeof *self);
    self->world = world;
    self->replay = replay_new(replay_failed, self);
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        self->slots[slot].replaced_from = UINT64_MAX;
    return self;
}

void checks_destroy(checks_t **self_p) {
    checks_t *self = *self_p;
    if (!self)
        return;
    check_log_clear(self);
    check_disk_clear(self);
    replay_free(&self->replay);
    free(self->digests);
    free(self);
    *self_p = NULL;
}

const replay_t *checks_replay(const checks_t *self) {
    return self->replay;
}

void checks_started(checks_t *self, unsigned slot, actor_t actor) {
    slot_checks_t *at = &self->slots[slot];
    if (actor == ACTOR_STORAGE) {
        at->applied = 0;
        at->settled = false;
        at->settle_ms = 0;
        check_disk_started(self, slot);
    } else if (actor == ACTOR_GATEWAY) {
        at->asked_boot = 0;
        at->asked_count = 0;
    }
}

void checks_ended(checks_t *self, unsigned slot, actor_t actor) {
    if (actor == ACTOR_RAFT)
        self->slots[slot].led_term = 0;
}

void checks_wiped(checks_t *self, unsigned slot) {
    slot_checks_t *at = &self->slots[slot];
    check_disk_wiped(self, slot);
    at->node = 0;
    at->view.base = at->view.last = 0;
}

void checks_power_lost(checks_t *self, unsigned slot) {
    self->slots[slot].forgetful = true;
}

void checks_turn(checks_t *self, unsigned slot, actor_t actor) {
    if (actor == ACTOR_RAFT) {
        check_raft_turn(self, slot);
    } else if (actor == ACTOR_STORAGE) {
        check_disk_turn(self, slot);
        check_state_turn(self, slot);
    }
}

void checks_sent(checks_t *self, unsigned slot, actor_t actor, actor_t to,
                 const message_t *message) {
    (void) actor;
    if (to == ACTOR_NONE) {
        check_peer_message(self, slot, message);
        return;
    }
    switch (message->kind) {
    case MESSAGE_OPENED:
        check_opened(self, slot, &message->opened);
        break;
    case MESSAGE_WRITE:
        check_write(self, slot, &message->write);
        check_disk_write(self, slot, &message->write);
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        if (to == ACTOR_STORAGE && message->snapshot.last)
            check_disk_snapshot(self, slot);
        break;
    case MESSAGE_READ:
        check_read_asked(self, slot, &message->read);
        break;
    case MESSAGE_READ_READY:
        check_read_ready(self, slot, &message->read);
        break;
    default:
        break;
    }
}

void checks_synced(checks_t *self, unsigned slot, const char *path) {
    check_disk_synced(self, slot, path);
}

void checks_finish(checks_t *self) {
    for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
        check_state_finish(self, slot);
}
