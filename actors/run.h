/* run.h: one actor as a process: context, mail, actor and loop, until a signal or a failure ends
 * it. */
#ifndef DRAX_ACTORS_RUN_H
#define DRAX_ACTORS_RUN_H

#include "broker/config.h"
#include "broker/log.h"
#include "broker/message.h"

/* Runs the actor in the foreground. Returns the process's exit code. */
int run_actor(actor_t actor, settings_t *settings, const log_t *log);

#endif
