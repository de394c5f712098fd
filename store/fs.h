/* fs.h: the file-system seam under the journal and the small files of a home.
 *
 * Production uses fs_posix(); tests and the simulator give their own, to tear writes, lose what was
 * not synced, fail the n-th call or fill the disk. Paths are plain; every call returns 0 (or a
 * count) or a DRAX_E… (DRAX_EIO, DRAX_ENOSPC, DRAX_ENOTFOUND, DRAX_EEXIST, DRAX_ENOMEM) and leaves
 * errno for the log.
 */
#ifndef DRAX_STORE_FS_H
#define DRAX_STORE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define FS_APPEND_BYTES 4096u

typedef struct fs_file fs_file_t;

typedef struct fs {
    void *self;
    /* `create`: make it, DRAX_EEXIST if there is one; else open for reading and writing. */
    int (*open)(void *self, const char *path, bool create, fs_file_t **out);
    int (*pread)(fs_file_t *file, void *data, size_t size, uint64_t offset, size_t *got);
    /* Writes all of it or fails. The array may be changed. */
    int (*pwritev)(fs_file_t *file, struct iovec *parts, int count, uint64_t offset);
    /* The same where nothing counts of what the file holds behind: of that, FS_APPEND_BYTES at most
     * may become zeros, within its size. */
    int (*append)(fs_file_t *file, struct iovec *parts, int count, uint64_t offset);
    int (*sync)(fs_file_t *file); /* data, and the size if it changed */
    int (*size)(fs_file_t *file, uint64_t *out);
    int (*truncate)(fs_file_t *file, uint64_t size);
    void (*close)(fs_file_t **file);
    int (*rename)(void *self, const char *from, const char *to);
    int (*remove)(void *self, const char *path);
    int (*mkdir)(void *self, const char *path); /* mode 0700; an existing directory is fine */
    int (*sync_dir)(void *self, const char *path);
    /* Calls `visit` for each name but . and .. , in no order; stops at the first non-zero answer.
     */
    int (*list)(void *self, const char *path, int (*visit)(void *hint, const char *name),
                void *hint);
    int (*remove_tree)(void *self,
                       const char *path); /* a directory and all below; absent is fine */
    /* The first `size` bytes of the file at `path` as memory, until unmap; what the file lacks of
     * them, or all of it, is made of zeros. What is stored there is the file's, also when the
     * process is killed right after; a power loss may take it back to any earlier content. */
    int (*map)(void *self, const char *path, size_t size, void **out);
    void (*unmap)(void *self, void *memory, size_t size);
    /* Bytes that may still be written to the file system of `path`. */
    int (*space)(void *self, const char *path, uint64_t *bytes);
} fs_t;

const fs_t *fs_posix(void);

/* Helpers over any fs. */

/* Replaces `path` by `size` bytes at once: temporary file, sync, rename, sync of the directory. */
int fs_replace(const fs_t *fs, const char *directory, const char *name, const void *data,
               size_t size);
/* Reads a small file whole into `data`; DRAX_ETOOLARGE when it does not fit. */
int fs_load(const fs_t *fs, const char *path, void *data, size_t capacity, size_t *size);

#endif
