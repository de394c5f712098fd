/* fs_direct.c: see fs_direct.h.
 *
 * Direct writes are of whole blocks from aligned memory. What a block holds around the bytes to be
 * written is written with them, as it is: from the block that was written last, where an append
 * goes on, or else read from the file. Behind an append, zeros are.
 *
 * Invariant: with `known`, `last` is what the file holds at `last_at`.
 */
#include "store/fs_direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The largest that disks ask for. */
#define BLOCK_BYTES ((size_t) 4096)

struct fs_direct {
    char *path; /* NULL: it was tried to open it */
    int fd, other;
    uint64_t size; /* of the file; 0: to be looked up */
    uint8_t *blocks;
    uint8_t *last;
    uint64_t last_at;
    bool known;
};

fs_direct_t *fs_direct_new(const char *path, int fd) {
    fs_direct_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->fd = -1;
    self->other = fd;
    self->path = strdup(path);
    if (!self->path)
        fs_direct_destroy(&self);
    return self;
}

static void direct_end(fs_direct_t *self) {
    if (self->fd >= 0)
        (void) close(self->fd);
    self->fd = -1;
    free(self->last);
    self->last = self->blocks = NULL;
    self->known = false;
}

void fs_direct_destroy(fs_direct_t **self_p) {
    fs_direct_t *self = *self_p;
    if (!self)
        return;
    direct_end(self);
    free(self->path);
    free(self);
    *self_p = NULL;
}

/* The path may name another file by now. */
static bool same_file(const fs_direct_t *self) {
    struct stat own, other;
    return fstat(self->fd, &own) == 0 && fstat(self->other, &other) == 0 &&
           own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

/* Once. */
static void direct_begin(fs_direct_t *self) {
    void *memory = NULL;
    do
        self->fd = open(self->path, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
    while (self->fd < 0 && errno == EINTR);
    free(self->path);
    self->path = NULL;
    if (self->fd >= 0 && same_file(self) &&
        posix_memalign(&memory, BLOCK_BYTES, FS_DIRECT_BYTES + 3 * BLOCK_BYTES) == 0) {
        self->last = memory;
        self->blocks = self->last + BLOCK_BYTES;
    } else {
        direct_end(self);
    }
}

void fs_direct_changed(fs_direct_t *self) {
    self->known = false;
    self->size = 0;
}

/* A file that grows by whole blocks would be longer than what was written to it. */
static bool within(fs_direct_t *self, uint64_t end) {
    struct stat status;
    if (self->size == 0 && fstat(self->other, &status) == 0)
        self->size = (uint64_t) status.st_size;
    return end <= self->size;
}

static bool block_load(const fs_direct_t *self, uint64_t at, uint8_t *out) {
    if (self->known && self->last_at == at) {
        memcpy(out, self->last, BLOCK_BYTES);
        return true;
    }
    ssize_t got;
    do
        got = pread(self->other, out, BLOCK_BYTES, (off_t) at);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t) BLOCK_BYTES;
}

/* What stands around [offset, offset + size) in its first and last block. */
static bool edges_load(const fs_direct_t *self, uint64_t offset, size_t size, uint64_t begin,
                       uint64_t end, bool append) {
    uint64_t last = end - BLOCK_BYTES;
    if (begin < offset && !block_load(self, begin, self->blocks))
        return false;
    if (append)
        memset(self->blocks + (size_t) (offset - begin) + size, 0, (size_t) (end - offset) - size);
    bool loaded = append || (begin < offset && last == begin);
    return end == offset + size || loaded ||
           block_load(self, last, self->blocks + (size_t) (last - begin));
}

static int blocks_write(const fs_direct_t *self, size_t size, uint64_t offset) {
    for (size_t done = 0; done < size;) {
        ssize_t written =
            pwrite(self->fd, self->blocks + done, size - done, (off_t) (offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            errno = written < 0 ? errno : EIO;
            return -1;
        }
        done += (size_t) written;
    }
    return 0;
}

int fs_direct_write(fs_direct_t *self, const struct iovec *parts, int count, uint64_t offset,
                    bool append, bool *done) {
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    uint64_t begin = offset - offset % BLOCK_BYTES;
    uint64_t end = (offset + size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    *done = false;
    if (size == 0 || size > FS_DIRECT_BYTES || !within(self, end))
        return 0;
    if (self->path)
        direct_begin(self);
    if (self->fd < 0 || !edges_load(self, offset, size, begin, end, append))
        return 0;
    uint8_t *at = self->blocks + (size_t) (offset - begin);
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len)
            memcpy(at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    self->known = false;
    if (blocks_write(self, (size_t) (end - begin), begin) != 0) {
        if (errno != EINVAL)
            return -1;
        direct_end(self); /* blocks are larger here, or the file system changed its mind */
        return 0;
    }
    memcpy(self->last, self->blocks + (size_t) (end - begin) - BLOCK_BYTES, BLOCK_BYTES);
    self->last_at = end - BLOCK_BYTES;
    self->known = true;
    *done = true;
    return 0;
}
