#include "actors/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* mkdir -p; each directory made is for its owner alone. */
static int directories_make(const char *path) {
    char part[LIMIT_PATH_BYTES];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return -1;
        *slash = '/';
    }
    return mkdir(part, 0700) != 0 && errno != EEXIST ? -1 : 0;
}

int process_home(const settings_t *settings, const log_t *log) {
    if (directories_make(settings->home) != 0 || chdir(settings->home) != 0 ||
        (mkdir("run", 0700) != 0 && errno != EEXIST)) {
        log_error(log, "cannot use the home %s: %s", settings->home, strerror(errno));
        return EXIT_CANTCREAT;
    }
    return 0;
}

int process_lock(const char *name, const settings_t *settings, const log_t *log) {
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        log_error(log, "cannot open the lock %s/%s: %s", settings->home, name, strerror(errno));
        return EXIT_CANTCREAT;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        log_error(log, "the home %s is in use: another process holds %s", settings->home, name);
        close(fd);
        return EXIT_UNAVAILABLE;
    }
    return 0; /* held until the process ends */
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
    (void) sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &address, size);
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

unsigned long long process_random(void) {
    unsigned long long value;
    if (getrandom(&value, sizeof value, 0) != (ssize_t) sizeof value) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        value = (unsigned long long) now.tv_nsec * 1000003u ^ (unsigned long long) now.tv_sec ^
                (unsigned long long) getpid() << 32;
    }
    return value;
}
