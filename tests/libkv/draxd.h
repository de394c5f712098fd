/* draxd.h: a real draxd of a test: started, killed, ended, and its log looked at.
 *
 * Owns: the process, and the log file in the test's folder. Invariants: it ends with the thread
 * that started it at the latest (the kernel sees to it); only pids started here are signalled. */
#ifndef DRAX_TESTS_DRAXD_H
#define DRAX_TESTS_DRAXD_H

#include <sys/types.h>

#include "tests/embed/node_helper.h"

typedef struct {
    pid_t pid; /* 0: not running */
    char home[128], log[136];
    char addr[32], raft_addr[32];
} draxd_t;

/* Chooses home top/NAME and free ports. */
void draxd_place(draxd_t *self, const node_folder_t *folder, const char *name);

/* Starts it; an empty home joins `peer`, or founds a cluster when that is NULL. Returns when it
 * answers a linearizable read. */
void draxd_start(draxd_t *self, const char *peer);

/* kill -9 of its supervisor, whose actors end with it. */
void draxd_kill(draxd_t *self);

/* SIGTERM, which must end it with 0; then its log must hold no sanitizer's report. Does nothing to
 * one that is not running but look at the log. */
void draxd_stop(draxd_t *self);

#endif
