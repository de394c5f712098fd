/* process.h: what a Drax process needs from the system: its home, locks, signals, how it says that
 * it is ready. Nothing here is used by an embedded node. */
#ifndef DRAX_ACTORS_PROCESS_H
#define DRAX_ACTORS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/config.h"
#include "broker/log.h"

/* Exit codes (contract section 1); the others are sysexits(3)'s. */
#define EXIT_USAGE 64
#define EXIT_UNAVAILABLE 69
#define EXIT_SOFTWARE 70
#define EXIT_CANTCREAT 73
#define EXIT_CONFIG 78

/* Makes the home (mode 0700) and run/ in it, and makes it the working directory. 0, or an exit code
 * after a line in the log that names the path. */
int process_home(const settings_t *settings, const log_t *log);

/* Takes the lock file `name` in the home for as long as the process lives. 0, or EXIT_UNAVAILABLE
 * when another process has it, and keeps it (home_claim.h). */
int process_lock(const char *name, const settings_t *settings, const log_t *log);

/* Blocks SIGTERM, SIGINT and `more` (0: none) and gives a descriptor that reads them; -1 on
 * failure. Must come before any thread. SIGPIPE is ignored. */
int process_signals(int more);
/* The next signal read from it, 0: none. */
int process_signal_next(int fd);

/* As many descriptors as the system allows. */
void process_files_raise(void);

/* From here on the process may have `bytes` more of memory that is its own; beyond that it is
 * refused, whereupon libraries abort: one process dies, not whichever the kernel picks. */
void process_memory_limit(size_t bytes);

/* Tells the service manager (NOTIFY_SOCKET, sd_notify(3)) `state`, when there is one. Never waits
 * for it. */
void process_notify(const char *state);
/* Writes a newline to the --ready-fd and closes it, once. */
void process_ready_fd(settings_t *settings);

#endif
