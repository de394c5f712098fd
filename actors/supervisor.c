#include "actors/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/child_exec.h"
#include "actors/loop.h"
#include "actors/process.h"
#include "actors/watchdog.h"

#define CHILDREN 3

typedef struct child {
    actor_t actor;
    pid_t pid;    /* 0: not running */
    int ready_fd; /* read end; -1 once it has told, or is gone */
    bool ready;
    uint64_t ready_ms;
    uint64_t beat_ms;  /* when it was last heard to take turns; 0: not yet in this life */
    uint64_t start_ms; /* when to start it, while it is not running */
    uint32_t backoff_ms;
} child_t;

typedef struct supervisor {
    settings_t *settings;
    const log_t *log;
    child_t children[CHILDREN]; /* in the order in which they are started */
    int signal_fd;
    int beat_fd; /* hears the children's beats; -1: there is no such socket */
    char beat_name[WATCHDOG_NAME_BYTES];
    watchdog_t watchdog; /* of this process, should a service manager ask for it */
    uint64_t turn_ms;    /* when this loop last began a turn */
    bool announced;
    bool stopping;
    int exit_code;
    uint64_t kill_ms; /* while stopping: what still lives then is killed */
} supervisor_t;

/* ---- starting ---- */

static void child_start(supervisor_t *self, child_t *child, uint64_t now_ms) {
    int fds[2];
    pid_t pid = -1, parent = getpid();
    if (pipe2(fds, O_CLOEXEC) == 0) {
        pid = fork();
        if (pid == 0) {
            (void) fcntl(fds[1], F_SETFD, 0);
            child_exec(&(child_exec_t){.settings = self->settings,
                                       .actor = child->actor,
                                       .ready_fd = fds[1],
                                       .parent = parent,
                                       .beats = self->beat_fd >= 0 ? self->beat_name : NULL});
        }
        close(fds[1]);
        if (pid < 0)
            close(fds[0]);
    }
    if (pid < 0) {
        log_error(self->log, "cannot start %s: %s", actor_name(child->actor), strerror(errno));
        child->start_ms = now_ms + SUPERVISOR_BACKOFF_MAX_MS;
        return;
    }
    (void) fcntl(fds[0], F_SETFL, O_NONBLOCK);
    child->pid = pid;
    child->ready_fd = fds[0];
    child->ready = false;
    child->beat_ms = 0;
    log_debug(self->log, "started %s pid=%d", actor_name(child->actor), (int) pid);
}

/* ---- while it runs ---- */

static void announce(supervisor_t *self) {
    for (int i = 0; i < CHILDREN; i++)
        if (!self->children[i].ready)
            return;
    self->announced = true;
    /* Whoever started the node waits for this line, whatever the log level. */
    log_t always = *self->log;
    always.level = always.level < LOG_LEVEL_INFO ? LOG_LEVEL_INFO : always.level;
    log_info(&always, "ready addr=%s", self->settings->addr);
    process_ready_fd(self->settings);
    process_notify("READY=1");
}

static void child_ready_read(supervisor_t *self, child_t *child, uint64_t now_ms) {
    char byte;
    ssize_t got = read(child->ready_fd, &byte, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    close(child->ready_fd);
    child->ready_fd = -1;
    if (got != 1)
        return;
    child->ready = true;
    child->ready_ms = now_ms;
    if (!self->announced && !self->stopping)
        announce(self);
}

static void end_with(supervisor_t *self, int code, uint64_t now_ms) {
    self->stopping = true;
    self->exit_code = code;
    self->kill_ms = now_ms + SUPERVISOR_STOP_MS;
    process_notify("STOPPING=1");
}

static void child_exited(supervisor_t *self, child_t *child, int status, uint64_t now_ms) {
    bool healthy = child->ready && now_ms >= child->ready_ms + SUPERVISOR_HEALTHY_MS;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    child->pid = 0;
    child->ready = false;
    if (child->ready_fd >= 0)
        close(child->ready_fd);
    child->ready_fd = -1;
    if (self->stopping)
        return;
    if (code == EXIT_USAGE || code == EXIT_CONFIG ||
        (code == EXIT_UNAVAILABLE && !self->announced)) {
        end_with(self, code, now_ms);
        return;
    }
    child->backoff_ms =
        healthy || !child->backoff_ms ? SUPERVISOR_BACKOFF_MIN_MS : child->backoff_ms * 2;
    if (child->backoff_ms > SUPERVISOR_BACKOFF_MAX_MS)
        child->backoff_ms = SUPERVISOR_BACKOFF_MAX_MS;
    child->start_ms = now_ms + child->backoff_ms;
    if (WIFSIGNALED(status))
        log_warning(self->log, "%s was ended by signal %d; starting it again in %u ms",
                    actor_name(child->actor), WTERMSIG(status), child->backoff_ms);
    else
        log_warning(self->log, "%s ended with code %d; starting it again in %u ms",
                    actor_name(child->actor), code, child->backoff_ms);
}

static void children_reap(supervisor_t *self, uint64_t now_ms) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < CHILDREN; i++)
            if (self->children[i].pid == pid)
                child_exited(self, &self->children[i], status, now_ms);
}

/* ---- children that hang ---- */

static void beats_read(supervisor_t *self, uint64_t now_ms) {
    pid_t pid;
    while (self->beat_fd >= 0 && (pid = watchdog_heard(self->beat_fd)) != 0)
        for (int i = 0; i < CHILDREN; i++)
            if (self->children[i].pid == pid)
                self->children[i].beat_ms = now_ms;
}

/* While this process itself did not run (the machine was suspended, or all of the node was stopped)
 * no child can be said to have missed a beat. */
static void own_pause_forgive(supervisor_t *self, uint64_t now_ms) {
    uint64_t pause_ms = self->turn_ms ? now_ms - self->turn_ms : 0;
    self->turn_ms = now_ms;
    if (pause_ms <= 2 * SUPERVISOR_WAIT_MS)
        return;
    for (int i = 0; i < CHILDREN; i++)
        if (self->children[i].beat_ms)
            self->children[i].beat_ms += pause_ms;
}

static void hung_kill(supervisor_t *self, uint64_t now_ms) {
    for (int i = 0; i < CHILDREN; i++) {
        child_t *child = &self->children[i];
        if (!child->pid || !child->beat_ms || now_ms < child->beat_ms + SUPERVISOR_HUNG_MS)
            continue;
        log_error(self->log, "%s has taken no turn for %u ms: killing it", actor_name(child->actor),
                  SUPERVISOR_HUNG_MS);
        (void) kill(child->pid, SIGKILL);
        child->beat_ms = 0; /* once; it is reaped when the kernel has let it go */
    }
}

/* ---- stopping: gateway, raft, storage, each when the one before it has gone ---- */

static bool stop_step(supervisor_t *self, uint64_t now_ms) {
    for (int i = CHILDREN; i-- > 0;) {
        child_t *child = &self->children[i];
        if (!child->pid)
            continue;
        (void) kill(child->pid, now_ms >= self->kill_ms ? SIGKILL : SIGTERM);
        return false;
    }
    return true;
}

/* ---- the loop ---- */

static void wait_events(supervisor_t *self, uint64_t now_ms) {
    /* Beats wake nobody: they are read once a turn. */
    struct pollfd fds[CHILDREN + 1] = {{.fd = self->signal_fd, .events = POLLIN}};
    uint64_t at = self->stopping ? now_ms + 50 : now_ms + SUPERVISOR_WAIT_MS;
    if (self->watchdog.interval_ms && self->watchdog.next_ms < at)
        at = self->watchdog.next_ms > now_ms ? self->watchdog.next_ms : now_ms;
    for (int i = 0; i < CHILDREN; i++) {
        child_t *child = &self->children[i];
        fds[i + 1] = (struct pollfd){.fd = child->ready_fd, .events = POLLIN};
        if (!child->pid && !self->stopping && child->start_ms < at)
            at = child->start_ms > now_ms ? child->start_ms : now_ms;
    }
    if (poll(fds, CHILDREN + 1, (int) (at - now_ms)) < 0)
        return;
    now_ms = loop_now_ms();
    for (int number; (number = process_signal_next(self->signal_fd)) != 0;)
        if (number != SIGCHLD && !self->stopping) {
            log_info(self->log, "stopping");
            end_with(self, 0, now_ms);
        }
    for (int i = 0; i < CHILDREN; i++)
        if (self->children[i].ready_fd >= 0 && fds[i + 1].revents)
            child_ready_read(self, &self->children[i], now_ms);
}

static int supervise(supervisor_t *self) {
    for (;;) {
        uint64_t now_ms = loop_now_ms();
        own_pause_forgive(self, now_ms);
        watchdog_turn(&self->watchdog, now_ms);
        children_reap(self, now_ms);
        beats_read(self, now_ms);
        if (self->stopping) {
            if (stop_step(self, now_ms))
                return self->exit_code;
        } else {
            hung_kill(self, now_ms);
            for (int i = 0; i < CHILDREN; i++)
                if (!self->children[i].pid && now_ms >= self->children[i].start_ms)
                    child_start(self, &self->children[i], now_ms);
        }
        wait_events(self, loop_now_ms());
    }
}

int supervisor_run(settings_t *settings, const log_t *log) {
    supervisor_t self = {.settings = settings, .log = log, .watchdog = watchdog_asked()};
    static const actor_t order[CHILDREN] = {ACTOR_STORAGE, ACTOR_RAFT, ACTOR_GATEWAY};
    for (int i = 0; i < CHILDREN; i++)
        self.children[i] = (child_t){.actor = order[i], .ready_fd = -1};
    self.signal_fd = process_signals(SIGCHLD);
    if (self.signal_fd < 0)
        return EXIT_SOFTWARE;
    if (settings->ready_fd >= 0)
        (void) fcntl(settings->ready_fd, F_SETFD, FD_CLOEXEC);
    int code = process_home(settings, log);
    if (code == 0)
        code = process_lock("lock", settings, log);
    if (code)
        return code;
    self.beat_fd = watchdog_listen(self.beat_name);
    if (self.beat_fd < 0)
        log_warning(log, "children that hang will not be noticed: %s", strerror(errno));
    code = supervise(&self);
    if (code == 0)
        log_info(log, "stopped");
    return code;
}
