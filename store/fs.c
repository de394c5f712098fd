/* fs.c: helpers that stand on any fs: replace a small file at once, load one whole.
 *
 * Owns nothing. Invariant: after fs_replace the name holds the old bytes or the new ones, never a
 * mixture and never nothing, whatever call fails and whenever the machine stops.
 */
#include "store/fs.h"

#include <stdio.h>

#include "broker/error.h"
#include "broker/limits.h"

static int file_write(const fs_t *fs, const char *path, const void *data, size_t size);

int fs_replace(const fs_t *fs, const char *directory, const char *name, const void *data,
               size_t size) {
    char path[LIMIT_PATH_BYTES];
    char temporary[LIMIT_PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);
    int temporary_length = snprintf(temporary, sizeof temporary, "%s/%s.tmp", directory, name);
    if (length < 0 || temporary_length < 0 || (size_t) temporary_length >= sizeof temporary)
        return DRAX_EINVAL;

    /* What an earlier crash may have left. */
    int rc = fs->remove(fs->self, temporary);
    if (rc != 0 && rc != DRAX_ENOTFOUND)
        return rc;
    rc = file_write(fs, temporary, data, size);
    if (rc == 0)
        rc = fs->rename(fs->self, temporary, path);
    if (rc != 0) {
        /* Only tidiness: the next replacement removes it too. */
        (void) fs->remove(fs->self, temporary);
        return rc;
    }
    return fs->sync_dir(fs->self, directory);
}

static int file_write(const fs_t *fs, const char *path, const void *data, size_t size) {
    fs_file_t *file = NULL;
    int rc = fs->open(fs->self, path, true, &file);
    if (rc != 0)
        return rc;
    /* struct iovec has no const; a write does not change what it points to. */
    struct iovec part = {.iov_base = (void *) (uintptr_t) data, .iov_len = size};
    if (size > 0)
        rc = fs->pwritev(file, &part, 1, 0);
    if (rc == 0)
        rc = fs->sync(file);
    fs->close(&file);
    return rc;
}

int fs_load(const fs_t *fs, const char *path, void *data, size_t capacity, size_t *size) {
    *size = 0;
    fs_file_t *file = NULL;
    int rc = fs->open(fs->self, path, false, &file);
    if (rc != 0)
        return rc;
    uint64_t length = 0;
    size_t got = 0;
    rc = fs->size(file, &length);
    if (rc == 0 && length > capacity)
        rc = DRAX_ETOOLARGE;
    if (rc == 0 && length > 0)
        rc = fs->pread(file, data, (size_t) length, 0, &got);
    fs->close(&file);
    if (rc == 0)
        *size = got;
    return rc;
}
