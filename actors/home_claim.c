#include "actors/home_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/error.h"
#include "broker/limits.h"

#define LOCK_STEP_MS 10u

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

/* DRAX_EIO when it does not fit. */
static int path_join(char out[LIMIT_PATH_BYTES], const char *home, const char *name) {
    int length = snprintf(out, LIMIT_PATH_BYTES, "%s/%s", home, name);
    if (length > 0 && (size_t) length < LIMIT_PATH_BYTES)
        return 0;
    errno = ENAMETOOLONG;
    return DRAX_EIO;
}

int home_make(const char *home, char *detail, size_t detail_size) {
    char run[LIMIT_PATH_BYTES];
    if (path_join(run, home, "run") == 0 && directories_make(run) == 0)
        return 0;
    snprintf(detail, detail_size, "cannot use the home %s: %s", home, strerror(errno));
    return DRAX_EIO;
}

static bool lock_wait(int fd) {
    const struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000};
    unsigned waited_ms = 0;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (waited_ms >= HOME_LOCK_WAIT_MS)
            return false;
        (void) nanosleep(&step, NULL);
        waited_ms += LOCK_STEP_MS;
    }
    return true;
}

int home_lock(int *fd, const char *home, const char *name, char *detail, size_t detail_size) {
    char path[LIMIT_PATH_BYTES];
    *fd = path_join(path, home, name) == 0 ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (*fd < 0) {
        snprintf(detail, detail_size, "cannot open the lock %s/%s: %s", home, name,
                 strerror(errno));
        return DRAX_EIO;
    }
    if (lock_wait(*fd))
        return 0;
    snprintf(detail, detail_size, "the home %s is in use: another node or process holds %s", home,
             name);
    close(*fd);
    *fd = -1;
    return DRAX_EINUSE;
}
