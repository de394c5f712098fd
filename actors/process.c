#include "actors/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/home_claim.h"
#include "broker/error.h"

int process_home(const settings_t *settings, const log_t *log) {
    char detail[LIMIT_PATH_BYTES + 128];
    if (home_make(settings->home, detail, sizeof detail) != 0) {
        log_error(log, "%s", detail);
        return EXIT_CANTCREAT;
    }
    if (chdir(settings->home) != 0) {
        log_error(log, "cannot use the home %s: %s", settings->home, strerror(errno));
        return EXIT_CANTCREAT;
    }
    return 0;
}

int process_lock(const char *name, const settings_t *settings, const log_t *log) {
    char detail[LIMIT_PATH_BYTES + 128];
    int fd; /* held until the process ends */
    int rc = home_lock(&fd, settings->home, name, detail, sizeof detail);
    if (rc)
        log_error(log, "%s", detail);
    return rc == 0 ? 0 : rc == DRAX_EINUSE ? EXIT_UNAVAILABLE : EXIT_CANTCREAT;
}

int process_signals(int more) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (more)
        sigaddset(&set, more);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int process_signal_next(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == sizeof info ? (int) info.ssi_signo : 0;
}

void process_files_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit); /* what there is must do then */
    }
}

/* What RLIMIT_DATA counts, in bytes; 0 when it cannot be told. */
static rlim_t data_bytes(void) {
    unsigned long long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm)
        return 0;
    /* size, resident, shared, text, library, data; proc(5) */
    if (fscanf(statm, "%*u %*u %*u %*u %*u %llu", &pages) != 1)
        pages = 0;
    fclose(statm);
    return (rlim_t) pages * (rlim_t) sysconf(_SC_PAGESIZE);
}

void process_memory_limit(size_t bytes) {
    struct rlimit limit;
    rlim_t used = data_bytes(); /* a sanitizer has terabytes of address space already */
    if (!used || getrlimit(RLIMIT_DATA, &limit) != 0)
        return;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > used + bytes) {
        limit.rlim_cur = used + bytes;
        (void) setrlimit(RLIMIT_DATA, &limit); /* without it, the machine's memory is the limit */
    }
}

void process_notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    if (!length || length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length);
    (void) sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                  (struct sockaddr *) &address, size);
    close(fd);
}

void process_ready_fd(settings_t *settings) {
    if (settings->ready_fd < 0)
        return;
    ssize_t written = write(settings->ready_fd, "\n", 1);
    (void) written; /* whoever waited may be gone */
    close(settings->ready_fd);
    settings->ready_fd = -1;
}
