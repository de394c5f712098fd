/* checks.c: see the header. */
#include "tests/sim/checks.h"

#include <stdlib.h>

#include "actors/storage_internal.h"

struct checks {
    world_t *world;
    uint64_t synced[WORLD_SLOTS];
};

checks_t *checks_new(world_t *world) {
    checks_t *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->world = world;
    return self;
}

void checks_destroy(checks_t **self) {
    free(*self);
    *self = NULL;
}

void checks_started(checks_t *self, unsigned slot, actor_t actor) {
    (void) self, (void) slot, (void) actor;
}

void checks_ended(checks_t *self, unsigned slot, actor_t actor) {
    (void) self, (void) slot, (void) actor;
}

void checks_wiped(checks_t *self, unsigned slot) {
    (void) self, (void) slot;
}

/* What is applied is in the journal. */
void checks_turn(checks_t *self, unsigned slot, actor_t actor) {
    const storage_actor_t *storage = world_storage(self->world, slot);
    if (actor != ACTOR_STORAGE || !storage->state)
        return;
    if (state_applied(storage->state) > journal_last_index(storage->journal))
        world_fail(self->world, "applied in journal", "slot %u", slot);
}

void checks_sent(checks_t *self, unsigned slot, actor_t actor, actor_t to,
                 const message_t *message) {
    (void) self, (void) slot, (void) actor, (void) to, (void) message;
}

void checks_synced(checks_t *self, unsigned slot, const char *path) {
    (void) path;
    self->synced[slot]++;
}

void checks_finish(checks_t *self) {
    (void) self;
}
