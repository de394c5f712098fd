#include "actors/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/process.h"

#define BEAT "WATCHDOG=1"

/* Beats in the time that is allowed between two: one may be late without being missed. */
#define BEATS_A_TIMEOUT 3u

/* ---- the one that beats ---- */

watchdog_t watchdog_asked(void) {
    const char *timeout = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    char *end = NULL;
    if (!timeout || (pid && strtoll(pid, NULL, 10) != (long long) getpid()))
        return (watchdog_t){0};
    unsigned long long us = strtoull(timeout, &end, 10);
    if (end == timeout || *end)
        return (watchdog_t){0};
    uint64_t interval_ms = us / 1000u / BEATS_A_TIMEOUT;
    return (watchdog_t){.interval_ms = interval_ms ? interval_ms : 1};
}

void watchdog_turn(watchdog_t *self, uint64_t now_ms) {
    if (!self->interval_ms || now_ms < self->next_ms)
        return;
    self->next_ms = now_ms + self->interval_ms;
    process_notify(BEAT);
}

/* ---- the one that listens ---- */

int watchdog_listen(char name[WATCHDOG_NAME_BYTES]) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size =
        sizeof(sa_family_t); /* the family alone: the kernel chooses an abstract name */
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *) &address, size) == 0) {
        size = sizeof address;
        if (getsockname(fd, (struct sockaddr *) &address, &size) == 0) {
            int length = (int) (size - offsetof(struct sockaddr_un, sun_path)) - 1;
            snprintf(name, WATCHDOG_NAME_BYTES, "@%.*s", length, address.sun_path + 1);
            return fd;
        }
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* The sender, as the kernel vouches for it; 0: it does not say. */
static pid_t sender(struct msghdr *message) {
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        struct ucred credentials;
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_CREDENTIALS)
            continue;
        memcpy(&credentials, CMSG_DATA(part), sizeof credentials);
        return credentials.pid;
    }
    return 0;
}

pid_t watchdog_heard(int fd) {
    for (;;) {
        char text[64];
        union {
            char bytes[CMSG_SPACE(sizeof(struct ucred))];
            struct cmsghdr align;
        } control;
        struct iovec part = {.iov_base = text, .iov_len = sizeof text};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return 0;
        pid_t pid = sender(&message);
        if (pid > 0 && (size_t) got == strlen(BEAT) && memcmp(text, BEAT, strlen(BEAT)) == 0)
            return pid;
    }
}

int watchdog_ask(const char *name, uint64_t timeout_ms) {
    char timeout[32], pid[32];
    snprintf(timeout, sizeof timeout, "%llu", (unsigned long long) timeout_ms * 1000u);
    snprintf(pid, sizeof pid, "%lld", (long long) getpid());
    return setenv("NOTIFY_SOCKET", name, 1) || setenv("WATCHDOG_USEC", timeout, 1) ||
                   setenv("WATCHDOG_PID", pid, 1)
               ? -1
               : 0;
}
