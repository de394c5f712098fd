/* cmd_lock.c: lock and elect: hold a lock while a command runs, or until interrupted.
 *
 *   take --had--> hold --command ended, interrupted--> release
 *                   \--lost--> the command is ended, and the program with it
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/interrupt.h"

#define TTL_DEFAULT_MS 10000u
/* A command whose lock is lost gets SIGTERM, and after this SIGKILL. */
#define COMMAND_END_MS 5000u
#define EXIT_NO_COMMAND 127 /* as a shell says it */

static int lock_run(cli_t *cli);
static int elect_run(cli_t *cli);

const command_t commands_lock[] = {
    {"lock",
     "KEY [--ttl DURATION] [--wait DURATION] [-- COMMAND...]",
     "Holds a lock while a command runs",
     "Waits for its turn, runs COMMAND, and ends with its exit code. COMMAND finds the lock's key "
     "and\n"
     "token in DRAX_LOCK_KEY and DRAX_LOCK_TOKEN. Should the lock be lost meanwhile, COMMAND is "
     "ended\n"
     "and the exit code is 1. Without COMMAND the token is printed, and the lock held until "
     "SIGINT.\n"
     "  --ttl DURATION    the lock ends this long after its holder was last heard of (10s)\n"
     "  --wait DURATION   wait no longer than this, then end with 1 (no end); 0 tries once\n",
     1,
     SIZE_MAX,
     {{"ttl", FLAG_DURATION}, {"wait", FLAG_WAIT}},
     lock_run},
    {"elect",
     "KEY VALUE [--ttl DURATION] [--wait DURATION] [-- COMMAND...] | KEY --observe",
     "Stands for election, and holds office while a command runs",
     "As lock: who holds the lock KEY is elected, and VALUE stands at KEY as long as it lasts.\n"
     "SIGINT or the end of COMMAND resigns.\n"
     "  --observe         do not stand: print who is elected and every change until SIGINT, a "
     "line\n"
     "                    each: elected or vacant, index and VALUE, with tabs between\n"
     "  --ttl DURATION    the term ends this long after its holder was last heard of (10s)\n"
     "  --wait DURATION   stand no longer than this, then end with 1 (no end); 0 tries once\n",
     1,
     SIZE_MAX,
     {{"ttl", FLAG_DURATION}, {"wait", FLAG_WAIT}, {"observe", FLAG_SWITCH}},
     elect_run},
    {0}};

typedef struct holding {
    cli_t *cli;
    drax_lock_t *lock;
    int signal_fd;
    pid_t child; /* 0: none */
    bool lost, done;
    uint64_t kill_ms; /* lost: when the child has had its time */
    int code;
} holding_t;

static void on_lost(void *arg, drax_lock_t *lock) {
    holding_t *self = arg;
    (void) lock;
    self->lost = true;
    self->code = cli_fail(EXIT_NOT, "LOCK_LOST: the lock was lost");
    if (self->child == 0) {
        self->done = true;
        return;
    }
    (void) kill(self->child, SIGTERM);
    self->kill_ms = interrupt_now_ms() + COMMAND_END_MS;
}

static bool environment_set(const holding_t *self) {
    char token[32];
    snprintf(token, sizeof token, "%" PRIu64, drax_lock_token(self->lock));
    return setenv("DRAX_LOCK_KEY", self->cli->arguments[0], 1) == 0 &&
           setenv("DRAX_LOCK_TOKEN", token, 1) == 0;
}

/* The signals are ours; the command begins with none blocked. */
static int command_start(holding_t *self, const char **argv) {
    posix_spawnattr_t attributes;
    sigset_t none, interrupt;
    sigemptyset(&none);
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT); /* which a shell ignores */
    if (!environment_set(self) || posix_spawnattr_init(&attributes) != 0)
        return cli_fail(EXIT_SYSTEM, "out of memory");
    (void) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    (void) posix_spawnattr_setsigdefault(&attributes, &interrupt);
    (void) posix_spawnattr_setsigmask(&attributes, &none);
    int rc = posix_spawnp(&self->child, argv[0], NULL, &attributes,
                          (char *const *) (uintptr_t) argv, environ);
    (void) posix_spawnattr_destroy(&attributes);
    if (rc == 0)
        return EXIT_OK;
    self->child = 0;
    return cli_fail(EXIT_NO_COMMAND, "cannot run %s: %s", argv[0], strerror(rc));
}

static void child_reap(holding_t *self) {
    int status;
    if (self->child == 0 || waitpid(self->child, &status, WNOHANG) != self->child)
        return;
    if (!self->lost)
        self->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    self->child = 0;
    self->done = true;
}

static void signals_read(holding_t *self) {
    struct signalfd_siginfo info;
    while (read(self->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            continue; /* looked for in any case */
        if (self->child == 0)
            self->done = true;
        else if (info.ssi_code == SI_USER) /* a terminal has told the command itself */
            (void) kill(self->child, (int) info.ssi_signo);
    }
}

static void hold(holding_t *self) {
    while (!self->done) {
        struct pollfd items[] = {{.fd = self->signal_fd, .events = POLLIN},
                                 {.fd = drax_fd(self->cli->drax), .events = POLLIN}};
        uint64_t now_ms = interrupt_now_ms();
        int wait_ms = !self->lost              ? -1
                      : now_ms < self->kill_ms ? (int) (self->kill_ms - now_ms)
                                               : 0;
        int count = poll(items, 2, wait_ms);
        if (count == 0 && self->child != 0) {
            (void) kill(self->child, SIGKILL);
            self->kill_ms = now_ms + COMMAND_END_MS;
        }
        signals_read(self);
        child_reap(self);
        (void) drax_process(self->cli->drax);
    }
}

/* `command` is what is to run; empty: nothing. */
static int lock_hold(cli_t *cli, drax_lock_t *lock, const char **command) {
    holding_t self = {.cli = cli, .lock = lock, .code = EXIT_OK};
    self.signal_fd = interrupt_open(SIGCHLD);
    if (self.signal_fd < 0 || drax_fd(cli->drax) < 0)
        return cli_fail(EXIT_SYSTEM, "no descriptor left");
    drax_lock_lost_set(lock, on_lost, &self);
    if (command[0]) {
        self.code = command_start(&self, command);
        self.done = self.code != EXIT_OK;
    } else {
        printf("%" PRIu64 "\n", drax_lock_token(lock));
        self.done = fflush(stdout) != 0;
        self.code = self.done ? EXIT_IO : EXIT_OK;
    }
    hold(&self);
    (void) close(self.signal_fd);
    if (self.lost)
        return self.code;
    int error = drax_lock_release(lock);
    if (error == DRAX_ERR_LOCK_LOST)
        return cli_call_fail(cli, error);
    return self.code; /* else it ends by itself */
}

static int take_and_hold(cli_t *cli, const char *value, size_t value_size, const char **command) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    uint64_t ttl_ms = cli->given[0] ? cli->number[0] : TTL_DEFAULT_MS;
    drax_lock_t *lock;
    int error = drax_lock_new(cli->drax, key, size, ttl_ms, value, value_size, &lock);
    if (error != 0)
        return cli_fail(cli_error_exit(error), "%s", drax_error_text(error));
    error = drax_lock_take(lock, cli->given[1] ? cli->number[1] : DRAX_FOREVER);
    int code = error != 0 ? cli_call_fail(cli, error) : lock_hold(cli, lock, command);
    drax_lock_destroy(&lock);
    return code;
}

static int lock_run(cli_t *cli) {
    return take_and_hold(cli, NULL, 0, cli->arguments + 1);
}

static int elect_run(cli_t *cli) {
    bool observe = cli->given[2];
    if (observe != (cli->argument_count == 1) || (observe && (cli->given[0] || cli->given[1])))
        return cli_fail(EXIT_USAGE, "elect takes KEY VALUE to stand, or KEY --observe alone");
    if (observe)
        return cli_observe(cli);
    size_t size;
    const char *value = cli_argument(cli, 1, &size);
    return take_and_hold(cli, value, size, cli->arguments + 2);
}
