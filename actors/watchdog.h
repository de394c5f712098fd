/* watchdog.h: how a process shows that it still takes turns, and how its supervisor hears of it.
 *
 * The form is sd_notify(3)'s: datagrams "WATCHDOG=1" to NOTIFY_SOCKET, more often than every
 * WATCHDOG_USEC, if that is set for this process (WATCHDOG_PID). So the same beats serve draxd's
 * own supervisor and a service manager that started an actor alone. Who sent one is taken from the
 * kernel, never from what it says.
 */
#ifndef DRAX_ACTORS_WATCHDOG_H
#define DRAX_ACTORS_WATCHDOG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- the one that beats ---- */

typedef struct watchdog {
    uint64_t interval_ms; /* 0: nobody asked for beats */
    uint64_t next_ms;
} watchdog_t;

/* What the environment asks for. */
watchdog_t watchdog_asked(void);
/* Beats when it is time; to be called every interval_ms at the latest. Never waits. */
void watchdog_turn(watchdog_t *self, uint64_t now_ms);

/* ---- the one that listens ---- */

#define WATCHDOG_NAME_BYTES 32

/* A socket that hears beats, without a name in the file system; `name` gets what NOTIFY_SOCKET must
 * be. -1 with errno. */
int watchdog_listen(char name[WATCHDOG_NAME_BYTES]);
/* The process of the next beat that has come; 0: none. Other datagrams are dropped. */
pid_t watchdog_heard(int fd);
/* In a child about to exec: its beats go to `name`, at least every `timeout_ms`. 0, or -1. */
int watchdog_ask(const char *name, uint64_t timeout_ms);

#endif
