/* users.c: see the header. Each user puts and gets keys of its own, one operation at a time, at any
 * gateway. */
#include "tests/sim/users.h"

#include <stdlib.h>
#include <string.h>

#include "broker/pack.h"

#define USERS_LABEL 1000u
/* An operation that got no answer for this long is given up. */
#define USERS_PATIENCE_US 6000000u

typedef struct user {
    users_t *users;
    unsigned number;
    uint64_t connection;
    uint64_t asked_us; /* 0: nothing is under way */
} user_t;

struct users {
    world_t *world;
    users_options_t options;
    stream_t random;
    user_t *each;
    bool stopping;
    uint64_t operations;
    uint32_t msgid; /* of the last request of any: replay.h wants each to have its own */
};

static void user_wake(void *hint);

static void user_received(void *hint, uint64_t connection, slice_t payload) {
    user_t *self = hint;
    (void) connection, (void) payload;
    self->asked_us = 0;
    self->users->operations++;
}

static void user_broken(void *hint, uint64_t connection) {
    user_t *self = hint;
    (void) connection;
    self->connection = 0;
    self->asked_us = 0;
}

static void user_ask(user_t *self) {
    users_t *users = self->users;
    buffer_t request = {0};
    bool put = stream_chance(&users->random, 500);
    char key[32] = {'k', (char) ('a' + self->number), 0};
    pack_array(&request, 4);
    pack_uint(&request, 0);
    pack_uint(&request, ++users->msgid);
    pack_str(&request, put ? "put" : "get");
    pack_array(&request, put ? 2 : 1);
    pack_str(&request, key);
    if (put)
        pack_str(&request, "value");
    world_send(users->world, self->connection, (slice_t){request.data, request.size});
    buffer_free(&request);
    self->asked_us = world_now_us(users->world);
}

static void user_wake(void *hint) {
    user_t *self = hint;
    users_t *users = self->users;
    uint64_t now_us = world_now_us(users->world);
    if (self->asked_us && now_us > self->asked_us + USERS_PATIENCE_US) {
        world_disconnect(users->world, self->connection);
        user_broken(self, self->connection);
    }
    if (users->stopping && !self->asked_us)
        return;
    if (!self->connection) {
        unsigned slot = (unsigned) stream_range(&users->random, 0, users->options.slots);
        listener_t listener = {self, user_received, user_broken};
        self->connection = world_connect(users->world, slot, &listener);
    }
    if (self->connection && !self->asked_us)
        user_ask(self);
    uint64_t pause_us = stream_range(&users->random, 1, 2 * users->options.pause_us + 2);
    world_timer(users->world, now_us + pause_us, user_wake, self);
}

users_t *users_new(world_t *world, const users_options_t *options) {
    users_t *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->world = world;
    self->options = *options;
    self->random = world_stream(world, USERS_LABEL);
    self->each = calloc(options->users ? options->users : 1, sizeof *self->each);
    if (!self->each)
        abort();
    for (unsigned i = 0; i < options->users; i++) {
        self->each[i] = (user_t){.users = self, .number = i};
        world_timer(world, stream_range(&self->random, 0, 100000), user_wake, &self->each[i]);
    }
    return self;
}

void users_destroy(users_t **self) {
    if (!*self)
        return;
    free((*self)->each);
    free(*self);
    *self = NULL;
}

void users_stop(users_t *self) {
    self->stopping = true;
}

bool users_idle(const users_t *self) {
    for (unsigned i = 0; i < self->options.users; i++)
        if (self->each[i].asked_us)
            return false;
    return true;
}

void users_finish(users_t *self) {
    if (self->options.broken_on_test)
        world_fail(self->world, "deliberate", "asked for");
}

uint64_t users_operations(const users_t *self) {
    return self->operations;
}
