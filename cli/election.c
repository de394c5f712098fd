/* election.c: elections: a lock for who stands, a watch for who looks on. It sees drax.h alone.
 *
 * Invariants
 *  1. The lock is there from the first campaign on, with the name and ttl_ms of the last one.
 *  2. The watch is there from the first observation on. When its history is gone it begins anew:
 *     who is elected now is all that an observer needs.
 *  3. A key and the end of the first state come in one message, so that no key before SYNCED says
 *     that nobody is elected. */
#include <stdlib.h>
#include <string.h>

#include "drax.h"

struct drax_election {
    drax_t *client;
    void *key;
    size_t key_size;
    drax_lock_t *lock; /* NULL: never stood */
    drax_election_lost_fn *lost;
    void *lost_arg;
    drax_watch_t *watch; /* NULL: never looked on */
    bool seen;           /* somebody was elected when it began */
    drax_election_leader_fn *leader;
    void *leader_arg;
};

static void lock_lost(void *arg, drax_lock_t *lock);
static int watch_open(drax_election_t *self);
static bool event_tells(drax_election_t *self, const drax_event_t *event, drax_leader_t *out);

int drax_election_new(drax_t *self, const void *key, size_t key_size, drax_election_t **out) {
    *out = NULL;
    if (!key && key_size > 0)
        return DRAX_ERR_USAGE;
    drax_election_t *election = calloc(1, sizeof *election);
    void *copy = malloc(key_size > 0 ? key_size : 1);
    if (!election || !copy) {
        free(election);
        free(copy);
        return DRAX_ERR_NO_MEMORY;
    }
    if (key_size > 0)
        memcpy(copy, key, key_size);
    *election = (drax_election_t){.client = self, .key = copy, .key_size = key_size};
    *out = election;
    return 0;
}

void drax_election_destroy(drax_election_t **self_p) {
    drax_election_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    drax_lock_destroy(&self->lock);
    drax_watch_close(&self->watch);
    free(self->key);
    free(self);
}

/* ---- to stand ---- */

int drax_election_campaign(drax_election_t *self, const void *name, size_t name_size,
                           uint64_t ttl_ms, uint64_t wait_ms) {
    if (self->lock && drax_lock_held(self->lock))
        return DRAX_ERR_USAGE;
    drax_lock_t *lock;
    int error =
        drax_lock_new(self->client, self->key, self->key_size, ttl_ms, name, name_size, &lock);
    if (error != 0)
        return error;
    drax_lock_destroy(&self->lock);
    self->lock = lock;
    if (self->lost)
        drax_lock_lost_set(lock, lock_lost, self);
    return drax_lock_take(lock, wait_ms);
}

int drax_election_resign(drax_election_t *self) {
    return self->lock ? drax_lock_release(self->lock) : DRAX_ERR_USAGE;
}

bool drax_election_elected(drax_election_t *self) {
    return self->lock && drax_lock_held(self->lock);
}

uint64_t drax_election_term(drax_election_t *self) {
    return self->lock ? drax_lock_token(self->lock) : 0;
}

int drax_election_fence(drax_election_t *self, drax_options_t *options) {
    uint64_t term = drax_election_term(self);
    if (term == 0)
        return DRAX_ERR_LOCK_LOST;
    return drax_options_fence_set(options, self->key, self->key_size, term);
}

void drax_election_lost_set(drax_election_t *self, drax_election_lost_fn *lost, void *arg) {
    self->lost = lost;
    self->lost_arg = arg;
    if (self->lock)
        drax_lock_lost_set(self->lock, lost ? lock_lost : NULL, self);
}

static void lock_lost(void *arg, drax_lock_t *lock) {
    drax_election_t *self = arg;
    (void) lock;
    self->lost(self->lost_arg, self);
}

/* ---- to look on ---- */

int drax_election_observe(drax_election_t *self, uint64_t timeout_ms, drax_leader_t *out) {
    *out = (drax_leader_t){0};
    drax_event_t event;
    int error = self->leader ? DRAX_ERR_USAGE : self->watch ? 0 : watch_open(self);
    while (error == 0) {
        error = drax_watch_next(self->watch, timeout_ms, &event);
        if (error == DRAX_ERR_COMPACTED)
            error = watch_open(self);
        else if (error == 0 && event_tells(self, &event, out))
            return 0;
    }
    return error;
}

static void on_event(void *arg, drax_watch_t *watch, int error, const drax_event_t *event) {
    drax_election_t *self = arg;
    drax_leader_t leader;
    (void) watch;
    if (!event && error == DRAX_ERR_COMPACTED)
        error = watch_open(self);
    if (event && event_tells(self, event, &leader))
        self->leader(self->leader_arg, self, 0, &leader);
    else if (!event && error != 0)
        self->leader(self->leader_arg, self, error, NULL);
}

int drax_election_leader_set(drax_election_t *self, drax_election_leader_fn *leader, void *arg) {
    if (!leader || self->leader || self->watch)
        return DRAX_ERR_USAGE;
    self->leader = leader;
    self->leader_arg = arg;
    int error = watch_open(self);
    if (error != 0)
        self->leader = NULL;
    return error;
}

static int watch_open(drax_election_t *self) {
    drax_watch_close(&self->watch);
    self->seen = false;
    int error = drax_watch(self->client, self->key, self->key_size, 0, &self->watch);
    return error == 0 && self->leader ? drax_watch_event_set(self->watch, on_event, self) : error;
}

static bool event_tells(drax_election_t *self, const drax_event_t *event, drax_leader_t *out) {
    *out = (drax_leader_t){.index = event->index};
    if (event->type == DRAX_EVENT_SYNCED)
        return !self->seen;
    out->elected = event->type == DRAX_EVENT_CURRENT || event->type == DRAX_EVENT_PUT;
    self->seen |= event->type == DRAX_EVENT_CURRENT;
    if (out->elected) {
        out->name = event->value;
        out->name_size = event->value_size;
    }
    return true;
}
