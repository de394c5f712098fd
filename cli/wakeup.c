/* wakeup.c: the client's descriptors.
 *
 *   host_fd  = epoll { network_fd, done_fd, timer_fd }      for a host's event loop
 *   network_fd = epoll { every socket and monitor, wake_fd }  for the driver
 *
 * A ZeroMQ socket's descriptor tells that something has changed, once; its event carries where its
 * connection is to learn of that (connection.c). wake_fd and done_fd are two,
 * because a driver in some thread reads the first, and must not take from the host's loop the news
 * that there is a callback to make.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/client.h"

/* That one wait tells of; the others are told of by the next. */
#define WAKEUP_EVENTS 16

static int watch_add(int epoll_fd, int fd) {
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : DRAX_ERR_SYSTEM;
}

int wakeup_open(wakeup_t *self) {
    *self = (wakeup_t){.host_fd = -1, .done_fd = -1, .timer_fd = -1, .timer_ms = UINT64_MAX};
    self->network_fd = epoll_create1(EPOLL_CLOEXEC);
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->network_fd < 0 || self->wake_fd < 0)
        return DRAX_ERR_SYSTEM;
    return watch_add(self->network_fd, self->wake_fd);
}

static void fd_close(int *fd) {
    if (*fd >= 0)
        (void) close(*fd);
    *fd = -1;
}

static void host_close(wakeup_t *self) {
    fd_close(&self->host_fd);
    fd_close(&self->done_fd);
    fd_close(&self->timer_fd);
}

void wakeup_close(wakeup_t *self) {
    host_close(self);
    fd_close(&self->network_fd);
    fd_close(&self->wake_fd);
}

void wakeup_send(wakeup_t *self) {
    if (!self->woken)
        (void) eventfd_write(self->wake_fd, 1); /* far from its limit, so it cannot fail */
    self->woken = true;
}

void wakeup_take(wakeup_t *self) {
    eventfd_t count;
    if (self->woken)
        (void) eventfd_read(self->wake_fd, &count);
    self->woken = false;
}

void wakeup_wait(const wakeup_t *self, uint64_t wait_ms) {
    struct epoll_event events[WAKEUP_EVENTS];
    /* An interrupted or failed wait is a short one: the next turn looks again. */
    const uint64_t longest_ms = 60000;
    int count = epoll_wait(self->network_fd, events, WAKEUP_EVENTS,
                           (int) (wait_ms < longest_ms ? wait_ms : longest_ms));
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr) /* a connection's */
            *(bool *) events[i].data.ptr = true;
}

/* ---- a host's event loop ---- */

static int host_open(wakeup_t *self) {
    self->host_fd = epoll_create1(EPOLL_CLOEXEC);
    self->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (self->host_fd >= 0 && self->done_fd >= 0 && self->timer_fd >= 0 &&
        watch_add(self->host_fd, self->network_fd) == 0 &&
        watch_add(self->host_fd, self->done_fd) == 0 &&
        watch_add(self->host_fd, self->timer_fd) == 0)
        return 0;
    host_close(self);
    return DRAX_ERR_SYSTEM;
}

int drax_fd(drax_t *self) {
    (void) pthread_mutex_lock(&self->lock);
    int error = 0;
    if (self->wakeup.host_fd < 0 && (error = host_open(&self->wakeup)) == 0) {
        wakeup_done_set(&self->wakeup, client_callbacks_ready(self));
        wakeup_send(&self->wakeup); /* the first drax_process sets the timer */
    }
    int fd = error == 0 ? self->wakeup.host_fd : error;
    (void) pthread_mutex_unlock(&self->lock);
    return fd;
}

void wakeup_done_set(wakeup_t *self, bool done) {
    eventfd_t count;
    if (self->host_fd < 0 || done == self->done || (done && self->processing))
        return;
    self->done = done;
    if (done)
        (void) eventfd_write(self->done_fd, 1);
    else
        (void) eventfd_read(self->done_fd, &count);
}

/* Setting it also takes back that it has expired. One that is to come sooner than necessary stays:
 * it costs the host one turn for nothing, instead of a system call in every turn. */
void wakeup_timer_set(wakeup_t *self, uint64_t next_ms, uint64_t now_ms) {
    bool sooner = self->timer_ms > now_ms && self->timer_ms <= next_ms;
    if (self->host_fd < 0 || sooner)
        return;
    self->timer_ms = next_ms;
    struct itimerspec at = {{0, 0}, {0, 0}};
    if (next_ms != UINT64_MAX)
        at.it_value = (struct timespec){.tv_sec = (time_t) (next_ms / 1000),
                                        .tv_nsec = (long) (next_ms % 1000) * 1000000 + 1};
    (void) timerfd_settime(self->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}
