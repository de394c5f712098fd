/* fuzz_fs.c: see the header. A table of files, searched from one end to the other. */
#include "tests/fuzz/fuzz_fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"

#define PATH_BYTES 192u

typedef struct file {
    bool used;
    char path[PATH_BYTES];
    uint8_t *data; /* kept when the file goes; `capacity` bytes */
    uint64_t size, capacity;
} file_t;

struct fs_file {
    file_t *at;
};

static file_t files[FUZZ_FS_FILES];

static file_t *file_find(const char *path) {
    for (size_t i = 0; i < FUZZ_FS_FILES; i++)
        if (files[i].used && strcmp(files[i].path, path) == 0)
            return &files[i];
    return NULL;
}

static file_t *file_make(const char *path) {
    for (size_t i = 0; i < FUZZ_FS_FILES; i++) {
        if (files[i].used)
            continue;
        files[i].used = true;
        files[i].size = 0;
        (void) snprintf(files[i].path, PATH_BYTES, "%s", path);
        return &files[i];
    }
    return NULL;
}

static bool file_resize(file_t *self, uint64_t size) {
    if (size > FUZZ_FS_BYTES)
        return false;
    if (size > self->capacity) {
        uint64_t capacity = 2 * size;
        uint8_t *grown = realloc(self->data, capacity);
        if (!grown)
            abort();
        self->data = grown;
        self->capacity = capacity;
    }
    if (size > self->size)
        memset(self->data + self->size, 0, size - self->size);
    self->size = size;
    return true;
}

static int memory_open(void *self, const char *path, bool create, fs_file_t **out) {
    (void) self;
    *out = NULL;
    file_t *file = file_find(path);
    if (create && file)
        return DRAX_EEXIST;
    if (!create && !file)
        return DRAX_ENOTFOUND;
    if (create)
        file = file_make(path);
    if (!file)
        return DRAX_ENOSPC;
    *out = malloc(sizeof **out);
    if (!*out)
        return DRAX_ENOMEM;
    (*out)->at = file;
    return 0;
}

static int memory_pread(fs_file_t *file, void *data, size_t size, uint64_t offset, size_t *got) {
    const file_t *at = file->at;
    *got = 0;
    if (offset >= at->size)
        return 0;
    *got = size < at->size - offset ? size : (size_t) (at->size - offset);
    if (*got)
        memcpy(data, at->data + offset, *got);
    return 0;
}

static int memory_pwritev(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    for (int i = 0; i < count; i++) {
        uint64_t end = offset + parts[i].iov_len;
        if (end > file->at->size && !file_resize(file->at, end))
            return DRAX_ENOSPC;
        if (parts[i].iov_len)
            memcpy(file->at->data + offset, parts[i].iov_base, parts[i].iov_len);
        offset = end;
    }
    return 0;
}

static int memory_sync(fs_file_t *file) {
    (void) file;
    return 0;
}

static int memory_size(fs_file_t *file, uint64_t *out) {
    *out = file->at->size;
    return 0;
}

static int memory_truncate(fs_file_t *file, uint64_t size) {
    return file_resize(file->at, size) ? 0 : DRAX_ENOSPC;
}

static void memory_close(fs_file_t **file) {
    free(*file);
    *file = NULL;
}

static int memory_rename(void *self, const char *from, const char *to) {
    (void) self;
    file_t *file = file_find(from), *old = file_find(to);
    if (!file)
        return DRAX_ENOTFOUND;
    if (old && old != file)
        old->used = false;
    (void) snprintf(file->path, PATH_BYTES, "%s", to);
    return 0;
}

static int memory_remove(void *self, const char *path) {
    (void) self;
    file_t *file = file_find(path);
    if (!file)
        return DRAX_ENOTFOUND;
    file->used = false;
    return 0;
}

static int memory_directory(void *self, const char *path) {
    (void) self;
    (void) path;
    return 0;
}

/* What stands below `directory` in `path`; NULL: it is not below it. */
static const char *path_below(const char *path, const char *directory) {
    size_t size = strlen(directory);
    return strncmp(path, directory, size) == 0 && path[size] == '/' ? path + size + 1 : NULL;
}

static int memory_list(void *self, const char *path, int (*visit)(void *hint, const char *name),
                       void *hint) {
    (void) self;
    for (size_t i = 0; i < FUZZ_FS_FILES; i++) {
        const char *name = files[i].used ? path_below(files[i].path, path) : NULL;
        int rc = name && !strchr(name, '/') ? visit(hint, name) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static int memory_remove_tree(void *self, const char *path) {
    (void) self;
    for (size_t i = 0; i < FUZZ_FS_FILES; i++)
        if (files[i].used && path_below(files[i].path, path))
            files[i].used = false;
    return 0;
}

static int memory_space(void *self, const char *path, uint64_t *bytes) {
    (void) self;
    (void) path;
    *bytes = UINT32_MAX;
    return 0;
}

static int memory_map(void *self, const char *path, size_t size, void **out) {
    (void) self;
    file_t *file = file_find(path);
    file = file ? file : file_make(path);
    *out = NULL;
    if (!file || (size > file->size && !file_resize(file, size)))
        return DRAX_ENOSPC;
    *out = file->data;
    return 0;
}

static void memory_unmap(void *self, void *memory, size_t size) {
    (void) self;
    (void) memory;
    (void) size;
}

const fs_t *fuzz_fs_reset(void) {
    static const fs_t fs = {.open = memory_open,
                            .pread = memory_pread,
                            .pwritev = memory_pwritev,
                            .append = memory_pwritev,
                            .sync = memory_sync,
                            .size = memory_size,
                            .truncate = memory_truncate,
                            .close = memory_close,
                            .rename = memory_rename,
                            .remove = memory_remove,
                            .mkdir = memory_directory,
                            .sync_dir = memory_directory,
                            .list = memory_list,
                            .remove_tree = memory_remove_tree,
                            .map = memory_map,
                            .unmap = memory_unmap,
                            .space = memory_space};
    for (size_t i = 0; i < FUZZ_FS_FILES; i++)
        files[i].used = false;
    return &fs;
}

void fuzz_fs_put(const char *path, slice_t bytes) {
    file_t *file = file_find(path);
    if (!file)
        file = file_make(path);
    if (!file || !file_resize(file, 0) || !file_resize(file, bytes.size))
        abort(); /* the harness made too much */
    if (bytes.size)
        memcpy(file->data, bytes.data, bytes.size);
}
