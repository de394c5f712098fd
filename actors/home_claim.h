/* home_claim.h: makes a home, and makes it this node's alone: by locks on files in it, which the
 * system drops with whoever holds them.
 *
 *   lock             the node as a whole: a supervisor, or an embedded node
 *   run/ACTOR.lock   one actor
 *
 * After the sudden death of a node its parts end one by one, actors up to a second after their
 * supervisor. Who starts it again at once finds their locks still held, so a lock is waited for.
 */
#ifndef DRAX_ACTORS_HOME_CLAIM_H
#define DRAX_ACTORS_HOME_CLAIM_H

#include <stddef.h>

/* Makes `home`, with what leads to it, and run/ in it; each directory made has mode 0700. `detail`
 * gets a sentence that names the path. DRAX_EIO. */
int home_make(const char *home, char *detail, size_t detail_size);

/* Takes the lock `name` of `home`: it is held until *fd is closed. `detail` gets a sentence that
 * names the home. DRAX_EINUSE: somebody has it, in this process or another, and kept it for
 * HOME_LOCK_WAIT_MS. DRAX_EIO. */
int home_lock(int *fd, const char *home, const char *name, char *detail, size_t detail_size);

#endif
