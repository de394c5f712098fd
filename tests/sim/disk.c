/* disk.c: the file system of a slot: fs_faulty with time and with faults by count; see disk.h. */
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "tests/sim/disk_internal.h"

#define DISK_CALL_US 8u

struct fs_file {
    disk_t *disk;
    fs_file_t *below;
    char path[DISK_PATH_BYTES];
};

/* ---- time and faults ---- */

void disk_wait(disk_t *self, uint64_t us) {
    self->took_us += us;
}

void disk_sync_wait(disk_t *self) {
    uint64_t half = self->options.sync_us / 2;
    uint64_t more_us = self->more_us < self->slow_us ? self->more_us : self->slow_us;
    self->slow_us -= more_us;
    disk_wait(self, half + stream_range(&self->random, 0, 2 * half + 1) + more_us);
}

int disk_call(disk_t *self, bool *stopping) {
    *stopping = false;
    disk_wait(self, DISK_CALL_US);
    if (self->detached || self->stopped)
        return DRAX_EIO;
    if (self->stop_in && --self->stop_in == 0) {
        self->stopped = *stopping = true;
        fs_faulty_stop(self->faulty, 1);
    }
    return 0;
}

bool disk_fails(disk_t *self, disk_operation_t operation) {
    if (!self->fail_in[operation] || --self->fail_in[operation])
        return false;
    self->failures++;
    return true;
}

static void files_fail(disk_t *self, disk_operation_t operation) {
    if (disk_fails(self, operation))
        fs_faulty_fail(self->faulty, 1, 1, DRAX_EIO);
}

/* ---- the calls: those that only read ---- */

static int below_ok(const disk_t *self) {
    return self->detached || self->stopped ? DRAX_EIO : 0;
}

static int disk_pread(fs_file_t *file, void *data, size_t size, uint64_t offset, size_t *got) {
    *got = 0;
    disk_wait(file->disk, 2);
    int rc = below_ok(file->disk);
    const fs_t *below = fs_faulty_fs(file->disk->faulty);
    return rc ? rc : below->pread(file->below, data, size, offset, got);
}

static int disk_size(fs_file_t *file, uint64_t *out) {
    int rc = below_ok(file->disk);
    return rc ? rc : fs_faulty_fs(file->disk->faulty)->size(file->below, out);
}

static int disk_list(void *hint, const char *path, int (*visit)(void *hint, const char *name),
                     void *visit_hint) {
    disk_t *self = hint;
    const fs_t *below = fs_faulty_fs(self->faulty);
    int rc = below_ok(self);
    return rc ? rc : below->list(below->self, path, visit, visit_hint);
}

static int disk_space(void *hint, const char *path, uint64_t *bytes) {
    disk_t *self = hint;
    const fs_t *below = fs_faulty_fs(self->faulty);
    int rc = below_ok(self);
    return rc ? rc : below->space(below->self, path, bytes);
}

/* What is stored into it takes no call, so none can fail. */
static int disk_map(void *hint, const char *path, size_t size, void **out) {
    disk_t *self = hint;
    const fs_t *below = fs_faulty_fs(self->faulty);
    *out = NULL;
    int rc = below_ok(self);
    return rc ? rc : below->map(below->self, path, size, out);
}

static void disk_unmap(void *hint, void *memory, size_t size) {
    disk_t *self = hint;
    const fs_t *below = fs_faulty_fs(self->faulty);
    below->unmap(below->self, memory, size);
}

/* ---- the calls: those that change something ---- */

static int disk_open(void *hint, const char *path, bool create, fs_file_t **out) {
    disk_t *self = hint;
    bool stopping = false;
    *out = NULL;
    int rc = create ? disk_call(self, &stopping) : below_ok(self);
    const fs_t *below = fs_faulty_fs(self->faulty);
    fs_file_t *opened = NULL;
    if (rc == 0)
        rc = below->open(below->self, path, create, &opened);
    if (rc)
        return rc;
    fs_file_t *file = calloc(1, sizeof *file);
    if (!file || strlen(path) >= sizeof file->path)
        abort();
    file->disk = self;
    file->below = opened;
    strcpy(file->path, path);
    *out = file;
    return 0;
}

static int write_begin(const fs_file_t *file) {
    bool stopping;
    int rc = disk_call(file->disk, &stopping);
    if (rc == 0)
        files_fail(file->disk, DISK_WRITE);
    return rc;
}

static int disk_pwritev(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    int rc = write_begin(file);
    return rc ? rc : fs_faulty_fs(file->disk->faulty)->pwritev(file->below, parts, count, offset);
}

static int disk_append(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    int rc = write_begin(file);
    return rc ? rc : fs_faulty_fs(file->disk->faulty)->append(file->below, parts, count, offset);
}

static int disk_sync(fs_file_t *file) {
    disk_t *self = file->disk;
    bool stopping;
    int rc = disk_call(self, &stopping);
    if (rc)
        return rc;
    files_fail(self, DISK_SYNC);
    disk_sync_wait(self);
    rc = fs_faulty_fs(self->faulty)->sync(file->below);
    if (rc == 0)
        self->options.synced(self->options.hint, file->path);
    return rc;
}

static int disk_truncate(fs_file_t *file, uint64_t size) {
    bool stopping;
    int rc = disk_call(file->disk, &stopping);
    return rc ? rc : fs_faulty_fs(file->disk->faulty)->truncate(file->below, size);
}

static void disk_close(fs_file_t **file) {
    if (!*file)
        return;
    fs_faulty_fs((*file)->disk->faulty)->close(&(*file)->below);
    free(*file);
    *file = NULL;
}

static int disk_rename(void *hint, const char *from, const char *to) {
    disk_t *self = hint;
    bool stopping;
    int rc = disk_call(self, &stopping);
    const fs_t *below = fs_faulty_fs(self->faulty);
    return rc ? rc : below->rename(below->self, from, to);
}

static int disk_remove(void *hint, const char *path) {
    disk_t *self = hint;
    bool stopping;
    int rc = disk_call(self, &stopping);
    const fs_t *below = fs_faulty_fs(self->faulty);
    return rc ? rc : below->remove(below->self, path);
}

static int disk_mkdir(void *hint, const char *path) {
    disk_t *self = hint;
    bool stopping;
    int rc = disk_call(self, &stopping);
    const fs_t *below = fs_faulty_fs(self->faulty);
    return rc ? rc : below->mkdir(below->self, path);
}

static int disk_sync_dir(void *hint, const char *path) {
    disk_t *self = hint;
    bool stopping;
    int rc = disk_call(self, &stopping);
    if (rc)
        return rc;
    files_fail(self, DISK_SYNC);
    disk_sync_wait(self);
    const fs_t *below = fs_faulty_fs(self->faulty);
    return below->sync_dir(below->self, path);
}

static int disk_remove_tree(void *hint, const char *path) {
    disk_t *self = hint;
    bool stopping;
    int rc = disk_call(self, &stopping);
    const fs_t *below = fs_faulty_fs(self->faulty);
    return rc ? rc : below->remove_tree(below->self, path);
}

/* ---- faults ---- */

void disk_stop(disk_t *self, uint64_t nth) {
    self->stop_in = nth;
}

bool disk_stopped(const disk_t *self) {
    return self->stopped;
}

void disk_crash(disk_t *self, fs_crash_t how) {
    fs_faulty_crash(self->faulty, how);
    self->stopped = false;
    self->stop_in = 0;
    memset(self->fail_in, 0, sizeof self->fail_in);
    disk_stores_prune(self);
}

void disk_fail(disk_t *self, disk_operation_t operation, uint64_t nth) {
    self->fail_in[operation] = nth;
}

uint64_t disk_failures(const disk_t *self) {
    return self->failures;
}

void disk_fill(disk_t *self, uint64_t bytes) {
    self->filled = true;
    fs_faulty_limit(self->faulty, fs_faulty_used(self->faulty) + bytes);
}

void disk_room(disk_t *self) {
    self->filled = false;
    fs_faulty_limit(self->faulty, 0);
}

void disk_slow(disk_t *self, uint64_t more_us, uint64_t for_us) {
    self->more_us = more_us;
    self->slow_us = for_us;
}

uint64_t disk_took_us(disk_t *self) {
    uint64_t took_us = self->took_us;
    self->took_us = 0;
    return took_us;
}

void disk_detach(disk_t *self) {
    self->detached = true;
}

void disk_attach(disk_t *self) {
    self->detached = false;
}

/* ---- life ---- */

disk_t *disk_new(const disk_options_t *options) {
    disk_t *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->options = *options;
    self->random = stream_new(options->seed, 0);
    self->faulty = fs_faulty_new(options->seed);
    self->fs = (fs_t){.self = self,
                      .open = disk_open,
                      .pread = disk_pread,
                      .pwritev = disk_pwritev,
                      .append = disk_append,
                      .sync = disk_sync,
                      .size = disk_size,
                      .truncate = disk_truncate,
                      .close = disk_close,
                      .rename = disk_rename,
                      .remove = disk_remove,
                      .mkdir = disk_mkdir,
                      .sync_dir = disk_sync_dir,
                      .list = disk_list,
                      .remove_tree = disk_remove_tree,
                      .map = disk_map,
                      .unmap = disk_unmap,
                      .space = disk_space};
    return self;
}

void disk_destroy(disk_t **self) {
    if (!*self)
        return;
    disk_stores_clear(*self);
    fs_faulty_destroy(&(*self)->faulty);
    free(*self);
    *self = NULL;
}

const fs_t *disk_fs(disk_t *self) {
    return &self->fs;
}
