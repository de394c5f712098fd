/* home_restore.h: a home made from a snapshot that was saved to a file, for the first node of
 * another cluster. */
#ifndef DRAX_ACTORS_HOME_RESTORE_H
#define DRAX_ACTORS_HOME_RESTORE_H

#include "broker/config.h"

/* `settings` names the home, which must hold no node, and where the node will be; the revision goes
 * on `skip` higher than the file's, which `revision` gets. After an error the home holds no node,
 * and `detail` gets a sentence when it was empty. DRAX_EIO; DRAX_ECORRUPT, DRAX_EVERSION: the file.
 * DRAX_EINUSE: the home. DRAX_EINVAL: `skip` is too large. DRAX_ENOSPC, DRAX_ENOMEM. */
int home_restore(const settings_t *settings, const char *file, uint64_t skip, uint64_t *revision,
                 char *detail, size_t detail_size);

#endif
