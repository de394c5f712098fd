/* fs_direct.h: small writes to a file that has its size already, past the page cache.
 *
 * Such a write and its sync are two commands to the disk and nothing else, where a page in the
 * cache is looked for by the sync, written by another thread and waited for: half of the time of a
 * small synced write. Not everything can be written so; the caller writes the rest as usual, to
 * another descriptor of the same file, and reads from there.
 */
#ifndef DRAX_STORE_FS_DIRECT_H
#define DRAX_STORE_FS_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* More at once goes the usual way. */
#define FS_DIRECT_BYTES (128u << 10)

typedef struct fs_direct fs_direct_t;

/* For the file at `path`, which is open as `fd`, too: that stays the caller's. It opens its own at
 * the first write. NULL: out of memory. */
fs_direct_t *fs_direct_new(const char *path, int fd);
void fs_direct_destroy(fs_direct_t **self);

/* Writes all parts to `offset` on. *done false: nothing was written, the caller is to do it. 0, or
 * -1 with errno. `append`: what the last block holds behind them becomes zeros, so that it need not
 * be read. */
int fs_direct_write(fs_direct_t *self, const struct iovec *parts, int count, uint64_t offset,
                    bool append, bool *done);
/* The file was written or cut through the other descriptor. */
void fs_direct_changed(fs_direct_t *self);

#endif
