/* child_exec.h: from a fork of the supervisor to an actor's process.
 *
 * Owns: what a child inherits: flags, environment, signals, its tie to the supervisor. Must not
 * know: when children are started, or what becomes of them.
 */
#ifndef DRAX_ACTORS_CHILD_EXEC_H
#define DRAX_ACTORS_CHILD_EXEC_H

#include <sys/types.h>

#include "broker/config.h"
#include "broker/message.h"

typedef struct child_exec {
    const settings_t *settings;
    actor_t actor;
    int ready_fd;      /* inherited; the child tells there that it is ready */
    pid_t parent;      /* the supervisor */
    const char *beats; /* where the child's beats go (watchdog.h); NULL: nobody listens */
} child_exec_t;

/* In the child, right after fork. */
_Noreturn void child_exec(const child_exec_t *self);

#endif
