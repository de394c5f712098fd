#include "actors/child_exec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "actors/process.h"
#include "actors/watchdog.h"

void child_exec(const child_exec_t *self) {
    const settings_t *settings = self->settings;
    char peers[SETTINGS_PEERS_MAX * (LIMIT_ADDR_BYTES + 1)] = "";
    for (size_t i = 0; i < settings->peer_count; i++) {
        size_t used = strlen(peers);
        snprintf(peers + used, sizeof peers - used, "%s%s", i ? "," : "", settings->peers[i]);
    }
    char max_request[32], ready[16];
    snprintf(max_request, sizeof max_request, "%llu",
             (unsigned long long) settings->max_request_bytes);
    snprintf(ready, sizeof ready, "%d", self->ready_fd);
    /* Everything as flags: they win over the environment and the file. */
    const char *argv[] = {"draxd",
                          actor_name(self->actor),
                          "--home",
                          settings->home,
                          "--addr",
                          settings->addr,
                          "--raft-addr",
                          settings->raft_addr,
                          "--advertise",
                          settings->advertise,
                          "--raft-advertise",
                          settings->raft_advertise,
                          "--max-request",
                          max_request,
                          "--log-level",
                          log_level_name((log_level_t) settings->log_level),
                          "--ready-fd",
                          ready,
                          peers[0] ? "--peer" : NULL,
                          peers[0] ? peers : NULL,
                          NULL};
    static const char *const variables[] = {
        "NOTIFY_SOCKET",       "WATCHDOG_USEC",  "WATCHDOG_PID",     "DRAX_HOME",
        "DRAX_ADDR",           "DRAX_RAFT_ADDR", "DRAX_ADVERTISE",   "DRAX_PEER",
        "DRAX_RAFT_ADVERTISE", "DRAX_CONFIG",    "DRAX_MAX_REQUEST", "DRAX_LOG_LEVEL"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    if (self->beats && watchdog_ask(self->beats, SUPERVISOR_HUNG_MS) != 0)
        _exit(EXIT_SOFTWARE);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A terminal's Ctrl-C is for the supervisor, which stops its children in order. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self->parent)
        _exit(EXIT_SOFTWARE); /* the supervisor died before the line above */
    execv("/proc/self/exe", (char *const *) argv);
    _exit(EXIT_SOFTWARE);
}
