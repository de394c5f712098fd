/* fs_posix.c: the file-system seam over POSIX calls.
 *
 * Owns: descriptors. Knows nothing of what is stored. Invariants: no call returns with a part of
 * its work done and 0; interrupted calls are repeated; every file is private to its owner (0600,
 * directories 0700) and closed on exec.
 */
#include "store/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "broker/error.h"
#include "store/fs_direct.h"

struct fs_file {
    int fd;
    fs_direct_t *direct; /* NULL: all goes through the page cache */
};

/* The code for the present errno. */
static int errno_code(void) {
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
        return DRAX_ENOSPC;
    case ENOENT:
        return DRAX_ENOTFOUND;
    case EEXIST:
    case ENOTEMPTY:
        return DRAX_EEXIST;
    case ENOMEM:
        return DRAX_ENOMEM;
    default:
        return DRAX_EIO;
    }
}

static int posix_open(void *self, const char *path, bool create, fs_file_t **out) {
    (void) self;
    *out = NULL;
    fs_file_t *file = malloc(sizeof *file);
    if (!file)
        return DRAX_ENOMEM;
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT | O_EXCL : 0);
    do
        file->fd = open(path, flags, 0600);
    while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        int code = errno_code();
        free(file);
        return code;
    }
    /* A new file has no size yet. */
    file->direct = create ? NULL : fs_direct_new(path, file->fd);
    *out = file;
    return 0;
}

static int posix_pread(fs_file_t *file, void *data, size_t size, uint64_t offset, size_t *got) {
    *got = 0;
    while (*got < size) {
        ssize_t count =
            pread(file->fd, (uint8_t *) data + *got, size - *got, (off_t) (offset + *got));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno_code();
        if (count == 0)
            return 0;
        *got += (size_t) count;
    }
    return 0;
}

static int cached_write(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    if (file->direct)
        fs_direct_changed(file->direct);
    while (count > 0) {
        if (parts->iov_len == 0) {
            parts++;
            count--;
            continue;
        }
        ssize_t written =
            pwritev(file->fd, parts, count < IOV_MAX ? count : IOV_MAX, (off_t) offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno_code();
        if (written == 0) {
            errno = EIO;
            return DRAX_EIO;
        }
        offset += (uint64_t) written;
        size_t left = (size_t) written;
        while (count > 0 && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            count--;
        }
        if (left > 0) {
            parts->iov_base = (uint8_t *) parts->iov_base + left;
            parts->iov_len -= left;
        }
    }
    return 0;
}

static int write_parts(fs_file_t *file, struct iovec *parts, int count, uint64_t offset,
                       bool append) {
    bool done = false;
    if (file->direct && fs_direct_write(file->direct, parts, count, offset, append, &done) != 0)
        return errno_code();
    return done ? 0 : cached_write(file, parts, count, offset);
}

static int posix_pwritev(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    return write_parts(file, parts, count, offset, false);
}

static int posix_append(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    return write_parts(file, parts, count, offset, true);
}

static int posix_sync(fs_file_t *file) {
    /* Never repeated after an error: the kernel may have dropped what it could not write. */
    return fdatasync(file->fd) == 0 ? 0 : errno_code();
}

static int posix_size(fs_file_t *file, uint64_t *out) {
    struct stat status;
    if (fstat(file->fd, &status) != 0)
        return errno_code();
    *out = (uint64_t) status.st_size;
    return 0;
}

static int posix_truncate(fs_file_t *file, uint64_t size) {
    int rc;
    if (file->direct)
        fs_direct_changed(file->direct);
    do
        rc = ftruncate(file->fd, (off_t) size);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : errno_code();
}

static void posix_close(fs_file_t **file) {
    if (!*file)
        return;
    /* What matters was synced before; an error here has no one left to be told. */
    fs_direct_destroy(&(*file)->direct);
    (void) close((*file)->fd);
    free(*file);
    *file = NULL;
}

static int posix_rename(void *self, const char *from, const char *to) {
    (void) self;
    return rename(from, to) == 0 ? 0 : errno_code();
}

static int posix_remove(void *self, const char *path) {
    (void) self;
    return unlink(path) == 0 ? 0 : errno_code();
}

static int posix_mkdir(void *self, const char *path) {
    (void) self;
    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return errno_code();
    struct stat status;
    if (stat(path, &status) != 0)
        return errno_code();
    if (S_ISDIR(status.st_mode))
        return 0;
    errno = ENOTDIR;
    return DRAX_EIO;
}

static int posix_sync_dir(void *self, const char *path) {
    (void) self;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno_code();
    int code = fsync(fd) == 0 ? 0 : errno_code();
    int kept = errno;
    (void) close(fd);
    errno = kept;
    return code;
}

static int posix_list(void *self, const char *path, int (*visit)(void *hint, const char *name),
                      void *hint) {
    (void) self;
    DIR *directory = opendir(path);
    if (!directory)
        return errno_code();
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *item = readdir(directory);
        if (!item) {
            rc = errno == 0 ? 0 : errno_code();
            break;
        }
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            rc = visit(hint, item->d_name);
    }
    int kept = errno;
    (void) closedir(directory);
    errno = kept;
    return rc;
}

static int tree_visit(const char *path, const struct stat *status, int type, struct FTW *where) {
    (void) status;
    (void) type;
    (void) where;
    return remove(path);
}

static int posix_remove_tree(void *self, const char *path) {
    (void) self;
    if (nftw(path, tree_visit, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return 0;
    return errno_code();
}

/* With blocks of its own: a store into memory has no way to say that the disk is full. */
static int file_reach(int fd, size_t size) {
    struct stat status;
    int error;
    if (fstat(fd, &status) != 0)
        return errno_code();
    if (status.st_size >= (off_t) size)
        return 0;
    do
        error = posix_fallocate(fd, 0, (off_t) size);
    while (error == EINTR);
    errno = error;
    return error ? errno_code() : 0;
}

static int posix_map(void *self, const char *path, size_t size, void **out) {
    (void) self;
    int fd;
    *out = NULL;
    do
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno_code();
    int code = file_reach(fd, size);
    if (code == 0) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
            code = errno_code();
        else
            *out = memory;
    }
    int kept = errno;
    (void) close(fd);
    errno = kept;
    return code;
}

static void posix_unmap(void *self, void *memory, size_t size) {
    (void) self;
    (void) munmap(memory, size);
}

static int posix_space(void *self, const char *path, uint64_t *bytes) {
    (void) self;
    struct statvfs status;
    if (statvfs(path, &status) != 0)
        return errno_code();
    *bytes = (uint64_t) status.f_bavail * status.f_frsize;
    return 0;
}

const fs_t *fs_posix(void) {
    static const fs_t fs = {
        .open = posix_open,
        .pread = posix_pread,
        .pwritev = posix_pwritev,
        .append = posix_append,
        .sync = posix_sync,
        .size = posix_size,
        .truncate = posix_truncate,
        .close = posix_close,
        .rename = posix_rename,
        .remove = posix_remove,
        .mkdir = posix_mkdir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
        .remove_tree = posix_remove_tree,
        .map = posix_map,
        .unmap = posix_unmap,
        .space = posix_space,
    };
    return &fs;
}
