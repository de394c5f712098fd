/* fuzz_fs.h: a small file system in memory, for harnesses that need a million of them a minute.
 *
 * Owns: up to FUZZ_FS_FILES files; their memory is kept from one input to the next. Nothing fails
 * but what the contract of fs.h says (no such file, it exists already) and a disk that is full.
 * Directories are not kept apart from names: a file's path is all there is. What survives a crash
 * is not modelled; tests/unit/fs_faulty.h does that.
 */
#ifndef DRAX_TESTS_FUZZ_FS_H
#define DRAX_TESTS_FUZZ_FS_H

#include "broker/payload.h"
#include "store/fs.h"

#define FUZZ_FS_FILES 32u
#define FUZZ_FS_BYTES (1u << 18) /* of one file; more is DRAX_ENOSPC */

/* The one file system; emptied. No file may be open. */
const fs_t *fuzz_fs_reset(void);
/* Makes or replaces a file. */
void fuzz_fs_put(const char *path, slice_t bytes);

#endif
