#include "actors/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "broker/error.h"

/* A turn waits no longer than this even when nobody named a deadline. */
#define LOOP_WAIT_MAX_MS 1000u

typedef struct {
    loop_fn *handler;
    void *hint;
} loop_source_t;

typedef struct {
    loop_fn *turn;
    loop_deadline_fn *deadline;
    void *hint;
} loop_turn_t;

struct loop {
    zmq_pollitem_t *items; /* items[i] belongs to sources[i] */
    loop_source_t *sources;
    size_t count, capacity;
    loop_turn_t turns[8];
    size_t turn_count;
    bool changed; /* a handler added or removed a source: start the scan again */
};

uint64_t loop_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000u + (uint64_t) now.tv_nsec / 1000000u;
}

int loop_new(loop_t **out) {
    *out = calloc(1, sizeof **out);
    return *out ? 0 : DRAX_ENOMEM;
}

void loop_destroy(loop_t **self) {
    if (!*self)
        return;
    free((*self)->items);
    free((*self)->sources);
    free(*self);
    *self = NULL;
}

int loop_add(loop_t *self, void *socket, int fd, loop_fn *handler, void *hint) {
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 8;
        zmq_pollitem_t *items = realloc(self->items, capacity * sizeof *items);
        if (!items)
            return DRAX_ENOMEM;
        self->items = items;
        loop_source_t *sources = realloc(self->sources, capacity * sizeof *sources);
        if (!sources)
            return DRAX_ENOMEM;
        self->sources = sources;
        self->capacity = capacity;
    }
    self->items[self->count] = (zmq_pollitem_t){socket, fd, ZMQ_POLLIN, 0};
    self->sources[self->count] = (loop_source_t){handler, hint};
    self->count++;
    self->changed = true;
    return 0;
}

void loop_remove(loop_t *self, void *socket, int fd) {
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i].socket != socket || (!socket && self->items[i].fd != fd))
            continue;
        size_t after = self->count - i - 1;
        memmove(&self->items[i], &self->items[i + 1], after * sizeof *self->items);
        memmove(&self->sources[i], &self->sources[i + 1], after * sizeof *self->sources);
        self->count--;
        self->changed = true;
        return;
    }
}

int loop_each_turn(loop_t *self, loop_fn *turn, loop_deadline_fn *deadline, void *hint) {
    if (self->turn_count == sizeof self->turns / sizeof self->turns[0])
        return DRAX_ENOMEM;
    self->turns[self->turn_count++] = (loop_turn_t){turn, deadline, hint};
    return 0;
}

static long loop_wait_ms(const loop_t *self) {
    uint64_t now_ms = loop_now_ms();
    uint64_t deadline = now_ms + LOOP_WAIT_MAX_MS;
    for (size_t i = 0; i < self->turn_count; i++) {
        if (!self->turns[i].deadline)
            continue;
        uint64_t at = self->turns[i].deadline(self->turns[i].hint, now_ms);
        deadline = at < deadline ? at : deadline;
    }
    return deadline > now_ms ? (long) (deadline - now_ms) : 0;
}

static int loop_dispatch(loop_t *self) {
    self->changed = false;
    for (size_t i = 0; i < self->count && !self->changed; i++) {
        if (!self->items[i].revents)
            continue;
        int rc = self->sources[i].handler(self->sources[i].hint, loop_now_ms());
        if (rc)
            return rc;
    }
    return 0;
}

int loop_run(loop_t *self) {
    for (;;) {
        int ready = zmq_poll(self->items, (int) self->count, loop_wait_ms(self));
        if (ready < 0 && errno != EINTR)
            return DRAX_EIO;
        if (ready > 0) {
            int rc = loop_dispatch(self);
            if (rc)
                return rc;
        }
        for (size_t i = 0; i < self->turn_count; i++) {
            int rc = self->turns[i].turn(self->turns[i].hint, loop_now_ms());
            if (rc)
                return rc;
        }
    }
}
