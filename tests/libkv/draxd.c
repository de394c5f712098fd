#include "tests/libkv/draxd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void draxd_place(draxd_t *self, const node_folder_t *folder, const char *name) {
    *self = (draxd_t){0};
    snprintf(self->home, sizeof self->home, "%s/%s", folder->top, name);
    snprintf(self->log, sizeof self->log, "%s.log", self->home);
    snprintf(self->addr, sizeof self->addr, "127.0.0.1:%u", port_free());
    snprintf(self->raft_addr, sizeof self->raft_addr, "127.0.0.1:%u", port_free());
}

/* In the child. */
static void draxd_exec(const draxd_t *self, const char *peer) {
    const char *argv[] = {"draxd",    "--home",      self->home,      "--addr",
                          self->addr, "--raft-addr", self->raft_addr, peer ? "--peer" : NULL,
                          peer,       NULL};
    int log = open(self->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && log >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execv(DRAXD_PATH, (char *const *) (uintptr_t) argv);
    _exit(127);
}

void draxd_start(draxd_t *self, const char *peer) {
    self->pid = fork();
    assert_true(self->pid >= 0);
    if (self->pid == 0)
        draxd_exec(self, peer);
    drax_t *drax;
    assert_int_equal(drax_new(&drax, self->addr), 0);
    assert_int_equal(drax_timeout_set(drax, NODE_WAIT_MS), 0);
    assert_int_equal(drax_exists(drax, "x", 1, NULL, NULL), 0);
    drax_destroy(&drax);
}

static int status_wait(draxd_t *self) {
    int status;
    assert_int_equal(waitpid(self->pid, &status, 0), self->pid);
    self->pid = 0;
    return status;
}

void draxd_kill(draxd_t *self) {
    assert_int_equal(kill(self->pid, SIGKILL), 0);
    (void) status_wait(self);
}

static void log_expect_clean(const draxd_t *self) {
    FILE *log = fopen(self->log, "r");
    assert_non_null(log);
    for (char line[4096]; fgets(line, sizeof line, log);) {
        bool report = strstr(line, "Sanitizer") || strstr(line, "runtime error:");
        if (report)
            print_error("%s: %s", self->log, line);
        assert_false(report);
    }
    assert_int_equal(fclose(log), 0);
}

void draxd_stop(draxd_t *self) {
    if (self->pid > 0) {
        assert_int_equal(kill(self->pid, SIGTERM), 0);
        int status = status_wait(self);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    log_expect_clean(self);
}
