/* disk_pace.h: LevelDB's files reach the disk, and leave it, in small pieces.
 *
 * LevelDB writes a table of 8 MiB to the page cache and syncs it in one go, and removes tables and
 * logs whole. A disk is busy with either for 10 to 40 ms, in which the journal's own sync waits,
 * and every write of the cluster with it. So a thread starts the writing of what a file has grown
 * by, as background writes that the kernel lets others pass, and holds the files open, so that a
 * removed one is still there to be cut off piece by piece.
 *
 * LevelDB knows nothing of it, and nothing depends on it: a file that is not followed is written
 * and removed as LevelDB does it. What LevelDB syncs, it still syncs itself.
 *
 * Must not know: keys, tables' contents, the database.
 */
#ifndef DRAX_STORE_DISK_PACE_H
#define DRAX_STORE_DISK_PACE_H

#include <stdint.h>

#define DISK_PACE_FILES 1024u             /* followed at most */
#define DISK_PACE_MS 5                    /* between two pieces, while there are any */
#define DISK_PACE_PIECE_BYTES (1u << 20)  /* of a removed file, at a time */
#define DISK_PACE_BEGIN_BYTES (64u << 10) /* a file that has grown by less waits */

typedef struct disk_pace disk_pace_t;

/* Follows the files of the directory that end in .ldb or .log, those that are there and those to
 * come, on a thread of its own without signals. NULL where that cannot be had (memory, threads,
 * inotify instances). */
disk_pace_t *disk_pace_new(const char *directory);
/* What was removed is gone then. NULL is fine. */
void disk_pace_destroy(disk_pace_t **self_p);

/* How much was begun to be written, and cut off removed files, in bytes since the start. From any
 * thread. */
uint64_t disk_pace_written(const disk_pace_t *self);
uint64_t disk_pace_removed(const disk_pace_t *self);

#endif
