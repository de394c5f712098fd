/* loop.c: sources with news, then the turns.
 *
 * A ZeroMQ socket's descriptor is that of its mailbox: it becomes readable when a peer's thread has
 * posted something, and any call on the socket may take that away and with it the last sign that
 * there is a message. zmq_poll therefore asks every socket for its events before and after each
 * wait, at several system calls a socket. Here a socket is asked only when there is a reason:
 *
 *  1. When its descriptor is readable, its handler receives until there is nothing more. From then
 *     on every message that comes makes the descriptor readable.
 *  2. A socket that was used to send may have taken in messages by that: it is asked for its events
 *     once before the next wait.
 *  3. One that was just added may hold messages already: its handler is called.
 */
#include "actors/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "broker/error.h"

/* A turn waits no longer than this even when nobody named a deadline. */
#define LOOP_WAIT_MAX_MS 1000u

/* Descriptors that one wait tells of; the others are told of by the next. */
#define LOOP_EVENTS_MAX 32

typedef struct {
    void *socket; /* NULL: a plain descriptor */
    int fd;
    loop_fn *handler;
    void *hint;
    bool news; /* its handler is due */
    bool used; /* ask the socket before the next wait */
} loop_source_t;

typedef struct {
    loop_fn *turn;
    loop_deadline_fn *deadline;
    void *hint;
} loop_turn_t;

struct loop {
    int epoll_fd;
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
    *out = NULL;
    loop_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll_fd < 0) {
        free(self);
        return DRAX_EIO;
    }
    *out = self;
    return 0;
}

void loop_destroy(loop_t **self) {
    if (!*self)
        return;
    close((*self)->epoll_fd);
    free((*self)->sources);
    free(*self);
    *self = NULL;
}

int loop_add(loop_t *self, void *socket, int fd, loop_fn *handler, void *hint) {
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 8;
        loop_source_t *sources = realloc(self->sources, capacity * sizeof *sources);
        if (!sources)
            return DRAX_ENOMEM;
        self->sources = sources;
        self->capacity = capacity;
    }
    size_t size = sizeof fd;
    if (socket && zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0)
        return DRAX_EIO;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return errno == ENOMEM ? DRAX_ENOMEM : DRAX_EIO;
    self->sources[self->count++] = (loop_source_t){
        .socket = socket, .fd = fd, .handler = handler, .hint = hint, .news = socket != NULL};
    self->changed = true;
    return 0;
}

void loop_remove(loop_t *self, void *socket, int fd) {
    for (size_t i = 0; i < self->count; i++) {
        if (self->sources[i].socket != socket || (!socket && self->sources[i].fd != fd))
            continue;
        (void) epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, self->sources[i].fd, NULL);
        size_t after = self->count - i - 1;
        memmove(&self->sources[i], &self->sources[i + 1], after * sizeof *self->sources);
        self->count--;
        self->changed = true;
        return;
    }
}

void loop_used(loop_t *self, const void *socket) {
    for (size_t i = 0; i < self->count; i++)
        if (self->sources[i].socket == socket)
            self->sources[i].used = true;
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

/* Asks the sockets that were used; true when a handler is due, so that there is nothing to wait
 * for. A socket that cannot be asked any more (its context is gone) has its handler find out. */
static bool loop_has_news(loop_t *self) {
    bool news = false;
    for (size_t i = 0; i < self->count; i++) {
        loop_source_t *source = &self->sources[i];
        int events = 0;
        size_t size = sizeof events;
        if (source->used && !source->news)
            source->news = zmq_getsockopt(source->socket, ZMQ_EVENTS, &events, &size) != 0 ||
                           (events & ZMQ_POLLIN) != 0;
        source->used = false;
        news = news || source->news;
    }
    return news;
}

static void news_note(loop_t *self, int fd) {
    for (size_t i = 0; i < self->count; i++)
        if (self->sources[i].fd == fd)
            self->sources[i].news = true;
}

static int loop_wait(loop_t *self) {
    struct epoll_event events[LOOP_EVENTS_MAX];
    int wait_ms = loop_has_news(self) ? 0 : (int) loop_wait_ms(self);
    int ready = epoll_wait(self->epoll_fd, events, LOOP_EVENTS_MAX, wait_ms);
    if (ready < 0 && errno != EINTR)
        return DRAX_EIO;
    for (int i = 0; i < ready; i++)
        news_note(self, events[i].data.fd);
    return 0;
}

static int loop_dispatch(loop_t *self) {
    self->changed = false;
    for (size_t i = 0; i < self->count && !self->changed; i++) {
        loop_source_t *source = &self->sources[i];
        if (!source->news)
            continue;
        int fd = source->fd; /* the handler may move the sources */
        source->news = false;
        int rc = source->handler(source->hint, loop_now_ms());
        if (rc == LOOP_MORE)
            news_note(self, fd);
        else if (rc)
            return rc;
    }
    return 0;
}

int loop_run(loop_t *self) {
    for (;;) {
        int rc = loop_wait(self);
        if (rc == 0)
            rc = loop_dispatch(self);
        for (size_t i = 0; rc == 0 && i < self->turn_count; i++)
            rc = self->turns[i].turn(self->turns[i].hint, loop_now_ms());
        if (rc)
            return rc;
    }
}
