/* supervisor.h: starts a node's three actors as processes and keeps them alive.
 *
 * Owns: the children and the lock on the home. Carries no data and uses no ZeroMQ: it forks before
 * any context exists.
 *
 *   starting --ready--> up --exit--> waiting --backoff--> starting
 *
 * A child that dies is started again after a pause that doubles from SUPERVISOR_BACKOFF_MIN_MS to
 * SUPERVISOR_BACKOFF_MAX_MS and begins anew once the child stayed up for SUPERVISOR_HEALTHY_MS.
 * A child whose loop was heard (watchdog.h) and then takes no turn for SUPERVISOR_HUNG_MS is
 * killed, which makes it one that died. Exits 64 and 78, and 69 before the node was ever ready, end
 * the node with that code. Children die with the supervisor (parent-death signal).
 */
#ifndef DRAX_ACTORS_SUPERVISOR_H
#define DRAX_ACTORS_SUPERVISOR_H

#include "broker/config.h"
#include "broker/log.h"

/* Runs in the foreground until a signal or a final failure. Returns the process's exit code. */
int supervisor_run(settings_t *settings, const log_t *log);

#endif
