/* fs_faulty.h: a file system in memory that fails as told and forgets as disks do.
 *
 * Owns: its files, and for each what would be there after a power loss. Knows nothing of what is
 * stored. Everything follows from the seed: the same calls give the same disk. One thread.
 *
 * What it models
 *  1. A write changes what later reads see; sectors of 512 bytes reach the disk at a sync, or, at a
 *     crash, each for itself: new, old, or torn within the sector. With an even seed
 *     some reach it without a sync, now and then, as kernels write back.
 *  2. Creating, renaming and removing are durable after sync_dir of the directory. At a crash each
 * one not synced happened or not, in order; a rename happens whole or not at all.
 *  3. A sync that fails leaves what it should have written readable but forgotten: a later sync
 * that succeeds does not bring it to the disk (as Linux does).
 *  4. A write that fails may have been done in part.
 *  5. What is stored into a mapped file is as a write that was not synced. Such a file must neither
 *     go nor grow until it is unmapped.
 */
#ifndef DRAX_TESTS_FS_FAULTY_H
#define DRAX_TESTS_FS_FAULTY_H

#include "store/fs.h"

typedef struct fs_faulty fs_faulty_t;

/* An empty disk; paths begin below "" , "." or "/". Never NULL (out of memory ends the test
 * program). */
fs_faulty_t *fs_faulty_new(uint64_t seed);
/* All files must be closed. */
void fs_faulty_destroy(fs_faulty_t **self);
/* A copy of the disk, with nothing open and no fault set. */
fs_faulty_t *fs_faulty_copy(const fs_faulty_t *self, uint64_t seed);

const fs_t *fs_faulty_fs(fs_faulty_t *self);

/* Calls so far that could have failed: all but close. */
uint64_t fs_faulty_calls(const fs_faulty_t *self);

/* The `nth` call from now (1: the next) and the `times` - 1 after it fail with `code`. DRAX_ENOSPC
 * only meets calls that can need space (write, create, rename, mkdir); others pass. 0 times: no
 * more faults. */
void fs_faulty_fail(fs_faulty_t *self, uint64_t nth, uint64_t times, int code);
/* True when a call has failed since fs_faulty_fail. */
bool fs_faulty_failed(const fs_faulty_t *self);
/* Bytes that all files together may have. 0: no limit. */
void fs_faulty_limit(fs_faulty_t *self, uint64_t bytes);
uint64_t fs_faulty_used(const fs_faulty_t *self);

/* The machine stops in the middle of the `nth` call from now: that one and all later ones give
 * DRAX_EIO until fs_faulty_crash. */
void fs_faulty_stop(fs_faulty_t *self, uint64_t nth);
bool fs_faulty_stopped(const fs_faulty_t *self);

typedef enum {
    FS_CRASH_LOSE,  /* nothing that was not synced is left */
    FS_CRASH_KEEP,  /* all of it is: what a killed process leaves behind */
    FS_CRASH_RANDOM /* each sector and each directory operation for itself */
} fs_crash_t;

/* Power loss and restart. Files must have been closed. Faults and stops are over. */
void fs_faulty_crash(fs_faulty_t *self, fs_crash_t how);

/* Damage, on disk and as read. The file must be there, the offset in it. */
void fs_faulty_flip(fs_faulty_t *self, const char *path, uint64_t offset, uint8_t mask);
void fs_faulty_resize(fs_faulty_t *self, const char *path, uint64_t size);
/* Size of a file; -1 when there is none. */
int64_t fs_faulty_size(const fs_faulty_t *self, const char *path);
/* A byte of it, as read. */
uint8_t fs_faulty_byte(const fs_faulty_t *self, const char *path, uint64_t offset);

/* The generator that the disk's own choices come from, for tests: splitmix64. */
uint64_t fs_faulty_random(uint64_t *state);

#endif
