/* fs_faulty.c: see the header. Small disks: tables are searched from one end to the other.
 *
 * A node is a file or directory without its name. Two tables give names to nodes: `seen`, what
 * calls see, and `kept`, what a power loss leaves; `pending` holds the operations that lead from
 * kept to seen.
 */
#include "tests/support/fs_faulty.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "tests/support/fs_faulty_node.h"

typedef struct name {
    char *path;
    node_t *node;
} name_t;

typedef struct table {
    name_t *items;
    size_t count, capacity;
} table_t;

typedef struct operation {
    char *from, *to; /* only `to`: create; only `from`: remove; both: rename */
    node_t *node;
} operation_t;

struct fs_faulty {
    fs_t fs;
    uint64_t random;
    table_t seen, kept;
    operation_t *pending;
    size_t pending_count, pending_capacity;
    uint64_t calls;
    uint64_t fail_from, fail_to; /* calls in [from, to) fail */
    int fail_code;
    bool failed;
    uint64_t stop_at;
    bool stopped;
    uint64_t limit;
    bool background;
};

struct fs_file {
    fs_faulty_t *disk;
    node_t *node;
};

static bool coin(fs_faulty_t *self) {
    return fs_faulty_random(&self->random) & 1;
}

static char *text_copy(const char *text) {
    return text ? checked(strdup(text)) : NULL;
}

/* ---- tables ---- */

static name_t *table_find(const table_t *self, const char *path) {
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->items[i].path, path) == 0)
            return &self->items[i];
    return NULL;
}

static void table_remove(table_t *self, const char *path) {
    name_t *name = table_find(self, path);
    if (!name)
        return;
    free(name->path);
    node_unref(name->node);
    *name = self->items[--self->count];
}

static void table_set(table_t *self, const char *path, node_t *node) {
    node_ref(node);
    table_remove(self, path);
    if (self->count == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 16;
        self->items = checked(realloc(self->items, self->capacity * sizeof *self->items));
    }
    self->items[self->count++] = (name_t){text_copy(path), node};
}

static void table_clear(table_t *self) {
    for (size_t i = 0; i < self->count; i++) {
        free(self->items[i].path);
        node_unref(self->items[i].node);
    }
    free(self->items);
    memset(self, 0, sizeof *self);
}

static bool path_below(const char *path, const char *directory) {
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

/* A renamed directory takes along what is in it. */
static void table_rename(table_t *self, const char *from, const char *to) {
    name_t *name = table_find(self, from);
    if (!name)
        return;
    node_t *node = node_ref(name->node);
    table_remove(self, from);
    table_set(self, to, node);
    node_unref(node);
    for (size_t i = 0; node->directory && i < self->count; i++) {
        char *path = self->items[i].path;
        if (!path_below(path, from))
            continue;
        size_t size = strlen(path) - strlen(from) + strlen(to) + 1;
        char *moved = checked(malloc(size));
        (void) snprintf(moved, size, "%s%s", to, path + strlen(from));
        self->items[i].path = moved;
        free(path);
    }
}

/* The length of the directory part of `path`. */
static size_t parent_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t) (slash - path) : 0;
}

static bool parent_there(const table_t *self, const char *path) {
    size_t length = parent_length(path);
    if (length == 0 || (length == 1 && path[0] == '.'))
        return true;
    char *parent = checked(strndup(path, length));
    const name_t *name = table_find(self, parent);
    free(parent);
    return name && name->node->directory;
}

/* ---- operations on names ---- */

static void operation_apply(table_t *table, const operation_t *operation) {
    if (operation->from && operation->to)
        table_rename(table, operation->from, operation->to);
    else if (operation->from)
        table_remove(table, operation->from);
    else
        table_set(table, operation->to, operation->node);
}

static void operation_add(fs_faulty_t *self, const char *from, const char *to, node_t *node) {
    if (self->pending_count == self->pending_capacity) {
        self->pending_capacity = self->pending_capacity ? self->pending_capacity * 2 : 16;
        self->pending =
            checked(realloc(self->pending, self->pending_capacity * sizeof *self->pending));
    }
    operation_t *operation = &self->pending[self->pending_count++];
    *operation = (operation_t){text_copy(from), text_copy(to), node ? node_ref(node) : NULL};
    operation_apply(&self->seen, operation);
}

static void operation_clear(operation_t *operation) {
    free(operation->from);
    free(operation->to);
    if (operation->node)
        node_unref(operation->node);
}

static bool operation_in(const operation_t *operation, const char *directory) {
    const char *path = operation->to ? operation->to : operation->from;
    size_t length = parent_length(path);
    return strlen(directory) == length && strncmp(path, directory, length) == 0;
}

/* ---- faults ---- */

static int code_set(int code) {
    errno = code == DRAX_ENOSPC ? ENOSPC : code == DRAX_ENOTFOUND ? ENOENT : EIO;
    return code;
}

/* Counts a call. 0, or the code it must fail with; `*stopping`: and the machine stops in the middle
 * of it. */
static int call_begin(fs_faulty_t *self, bool needs_space, bool *stopping) {
    *stopping = false;
    self->calls++;
    if (self->stopped)
        return code_set(DRAX_EIO);
    if (self->stop_at != 0 && self->calls >= self->stop_at) {
        self->stopped = true;
        *stopping = true;
        return code_set(DRAX_EIO);
    }
    if (self->calls < self->fail_from || self->calls >= self->fail_to)
        return 0;
    if (self->fail_code == DRAX_ENOSPC && !needs_space)
        return 0;
    self->failed = true;
    return code_set(self->fail_code);
}

/* ---- the calls ---- */

static int faulty_open(void *hint, const char *path, bool create, fs_file_t **out) {
    fs_faulty_t *self = hint;
    bool stopping;
    *out = NULL;
    int code = call_begin(self, create, &stopping);
    const name_t *name = table_find(&self->seen, path);
    if (stopping && create && !name && parent_there(&self->seen, path) && coin(self))
        operation_add(self, NULL, path, node_new(false));
    if (code != 0)
        return code;
    if (create && name)
        return DRAX_EEXIST;
    if (!create && !name)
        return code_set(DRAX_ENOTFOUND);
    if (create) {
        if (!parent_there(&self->seen, path))
            return code_set(DRAX_ENOTFOUND);
        operation_add(self, NULL, path, node_new(false));
        name = table_find(&self->seen, path);
    }
    if (name->node->directory)
        return code_set(DRAX_EIO);
    fs_file_t *file = checked(calloc(1, sizeof *file));
    file->disk = self;
    file->node = node_ref(name->node);
    *out = file;
    return 0;
}

static int faulty_pread(fs_file_t *file, void *data, size_t size, uint64_t offset, size_t *got) {
    bool stopping;
    *got = 0;
    int code = call_begin(file->disk, false, &stopping);
    if (code != 0)
        return code;
    const node_t *node = file->node;
    if (offset >= node->size)
        return 0;
    *got = size < node->size - offset ? size : (size_t) (node->size - offset);
    memcpy(data, node->data + offset, *got);
    return 0;
}

static int faulty_pwritev(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    fs_faulty_t *self = file->disk;
    bool stopping;
    int code = call_begin(self, true, &stopping);
    if (self->stopped && !stopping)
        return code;
    uint64_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    uint64_t allowed = total;
    if (code != 0)
        allowed = total ? fs_faulty_random(&self->random) % (total + 1) : 0;
    uint64_t grown = offset + allowed > file->node->size ? offset + allowed - file->node->size : 0;
    uint64_t used = fs_faulty_used(self);
    if (self->limit != 0 && grown > 0 && used + grown > self->limit) {
        uint64_t over = used >= self->limit ? grown : used + grown - self->limit;
        allowed = over < allowed ? allowed - over : 0;
        code = code != 0 ? code : code_set(DRAX_ENOSPC);
    }
    for (int i = 0; i < count && allowed > 0; i++) {
        size_t size = parts[i].iov_len < allowed ? parts[i].iov_len : (size_t) allowed;
        node_write(file->node, parts[i].iov_base, size, offset);
        offset += size;
        allowed -= size;
    }
    if (self->background && fs_faulty_random(&self->random) % 4 == 0)
        node_write_back(file->node, &self->random);
    return code;
}

/* Sometimes zeros what stands behind, up to the end of the block. */
static int faulty_append(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    static const uint8_t zeros[FS_APPEND_BYTES];
    uint64_t end = offset;
    for (int i = 0; i < count; i++)
        end += parts[i].iov_len;
    int code = faulty_pwritev(file, parts, count, offset);
    uint64_t block_end = (end + FS_APPEND_BYTES - 1) / FS_APPEND_BYTES * FS_APPEND_BYTES;
    bool zeroed = end / 8 % 2 == 1; /* a coin, but the same each time */
    if (code == 0 && zeroed && end < block_end && block_end <= file->node->size)
        node_write(file->node, zeros, (size_t) (block_end - end), end);
    return code;
}

static int faulty_sync(fs_file_t *file) {
    bool stopping;
    int code = call_begin(file->disk, false, &stopping);
    if (code == 0) {
        node_settle(file->node);
    } else if (!file->disk->stopped) {
        /* The kernel forgets that these were never written. */
        node_forget(file->node);
    }
    return code;
}

static int faulty_size(fs_file_t *file, uint64_t *out) {
    bool stopping;
    int code = call_begin(file->disk, false, &stopping);
    *out = file->node->size;
    return code;
}

static int faulty_truncate(fs_file_t *file, uint64_t size) {
    bool stopping;
    int code = call_begin(file->disk, true, &stopping);
    if (code == 0)
        node_resize(file->node, size);
    return code;
}

static void faulty_close(fs_file_t **file) {
    if (!*file)
        return;
    node_unref((*file)->node);
    free(*file);
    *file = NULL;
}

static int faulty_rename(void *hint, const char *from, const char *to) {
    fs_faulty_t *self = hint;
    bool stopping;
    int code = call_begin(self, true, &stopping);
    bool possible = table_find(&self->seen, from) && parent_there(&self->seen, to);
    if (possible && (code == 0 || (stopping && coin(self))))
        operation_add(self, from, to, NULL);
    return code != 0 || possible ? code : code_set(DRAX_ENOTFOUND);
}

static int faulty_remove(void *hint, const char *path) {
    fs_faulty_t *self = hint;
    bool stopping;
    int code = call_begin(self, false, &stopping);
    bool possible = table_find(&self->seen, path) != NULL;
    if (possible && (code == 0 || (stopping && coin(self))))
        operation_add(self, path, NULL, NULL);
    return code != 0 || possible ? code : code_set(DRAX_ENOTFOUND);
}

static int faulty_mkdir(void *hint, const char *path) {
    fs_faulty_t *self = hint;
    bool stopping;
    int code = call_begin(self, true, &stopping);
    const name_t *name = table_find(&self->seen, path);
    if (code != 0)
        return code;
    if (name)
        return name->node->directory ? 0 : code_set(DRAX_EIO);
    if (!parent_there(&self->seen, path))
        return code_set(DRAX_ENOTFOUND);
    operation_add(self, NULL, path, node_new(true));
    return 0;
}

static int faulty_sync_dir(void *hint, const char *path) {
    fs_faulty_t *self = hint;
    bool stopping;
    int code = call_begin(self, false, &stopping);
    if (code != 0)
        return code;
    size_t left = 0;
    for (size_t i = 0; i < self->pending_count; i++) {
        if (!operation_in(&self->pending[i], path)) {
            self->pending[left++] = self->pending[i];
            continue;
        }
        operation_apply(&self->kept, &self->pending[i]);
        operation_clear(&self->pending[i]);
    }
    self->pending_count = left;
    return 0;
}

static int faulty_list(void *hint, const char *path, int (*visit)(void *hint, const char *name),
                       void *visit_hint) {
    fs_faulty_t *self = hint;
    bool stopping;
    int code = call_begin(self, false, &stopping);
    size_t length = strlen(path);
    for (size_t i = 0; code == 0 && i < self->seen.count; i++) {
        const char *item = self->seen.items[i].path;
        if (path_below(item, path) && !strchr(item + length + 1, '/'))
            code = visit(visit_hint, item + length + 1);
    }
    return code;
}

static int faulty_remove_tree(void *hint, const char *path) {
    fs_faulty_t *self = hint;
    bool stopping;
    int code = call_begin(self, false, &stopping);
    if (code != 0)
        return code;
    for (size_t i = 0; i < self->seen.count;) {
        char *item = text_copy(self->seen.items[i].path);
        bool gone = strcmp(item, path) == 0 || path_below(item, path);
        if (gone)
            operation_add(self, item, NULL, NULL);
        free(item);
        i += gone ? 0 : 1;
    }
    return 0;
}

static int faulty_map(void *hint, const char *path, size_t size, void **out) {
    fs_faulty_t *self = hint;
    bool stopping;
    *out = NULL;
    int code = call_begin(self, true, &stopping);
    if (code != 0)
        return code;
    const name_t *name = table_find(&self->seen, path);
    uint64_t there = name ? name->node->size : 0;
    if (!name && !parent_there(&self->seen, path))
        return code_set(DRAX_ENOTFOUND);
    if (self->limit != 0 && size > there && fs_faulty_used(self) + size - there > self->limit)
        return code_set(DRAX_ENOSPC);
    if (!name)
        operation_add(self, NULL, path, node_new(false));
    node_t *node = table_find(&self->seen, path)->node;
    if (size > there)
        node_resize(node, size);
    node->mapped = true;
    *out = node->data;
    return 0;
}

/* The file stays, and with it its memory. */
static void faulty_unmap(void *hint, void *memory, size_t size) {
    (void) hint;
    (void) memory;
    (void) size;
}

static int faulty_space(void *hint, const char *path, uint64_t *bytes) {
    fs_faulty_t *self = hint;
    (void) path;
    uint64_t used = fs_faulty_used(self);
    *bytes = self->limit == 0 ? UINT64_MAX : used < self->limit ? self->limit - used : 0;
    return 0;
}

/* ---- life ---- */

fs_faulty_t *fs_faulty_new(uint64_t seed) {
    fs_faulty_t *self = checked(calloc(1, sizeof *self));
    self->random = seed;
    self->background = seed % 2 == 0;
    self->fs = (fs_t){
        .self = self,
        .open = faulty_open,
        .pread = faulty_pread,
        .pwritev = faulty_pwritev,
        .append = faulty_append,
        .sync = faulty_sync,
        .size = faulty_size,
        .truncate = faulty_truncate,
        .close = faulty_close,
        .rename = faulty_rename,
        .remove = faulty_remove,
        .mkdir = faulty_mkdir,
        .sync_dir = faulty_sync_dir,
        .list = faulty_list,
        .remove_tree = faulty_remove_tree,
        .map = faulty_map,
        .unmap = faulty_unmap,
        .space = faulty_space,
    };
    return self;
}

static void pending_clear(fs_faulty_t *self) {
    for (size_t i = 0; i < self->pending_count; i++)
        operation_clear(&self->pending[i]);
    self->pending_count = 0;
}

void fs_faulty_destroy(fs_faulty_t **self) {
    fs_faulty_t *disk = *self;
    *self = NULL;
    if (!disk)
        return;
    pending_clear(disk);
    free(disk->pending);
    table_clear(&disk->seen);
    table_clear(&disk->kept);
    free(disk);
}

fs_faulty_t *fs_faulty_copy(const fs_faulty_t *self, uint64_t seed) {
    fs_faulty_t *copy = fs_faulty_new(seed);
    for (size_t i = 0; i < self->seen.count; i++) {
        const node_t *from = self->seen.items[i].node;
        node_t *node = node_new(from->directory);
        if (from->size > 0)
            node_write(node, from->data, (size_t) from->size, 0);
        node_settle(node);
        table_set(&copy->seen, self->seen.items[i].path, node);
        table_set(&copy->kept, self->seen.items[i].path, node);
    }
    return copy;
}

const fs_t *fs_faulty_fs(fs_faulty_t *self) {
    return &self->fs;
}

/* ---- what the test asks for ---- */

uint64_t fs_faulty_calls(const fs_faulty_t *self) {
    return self->calls;
}

void fs_faulty_fail(fs_faulty_t *self, uint64_t nth, uint64_t times, int code) {
    self->fail_from = self->calls + nth;
    self->fail_to = times > UINT64_MAX - self->fail_from ? UINT64_MAX : self->fail_from + times;
    self->fail_code = code;
    self->failed = false;
}

bool fs_faulty_failed(const fs_faulty_t *self) {
    return self->failed;
}

void fs_faulty_limit(fs_faulty_t *self, uint64_t bytes) {
    self->limit = bytes;
}

uint64_t fs_faulty_used(const fs_faulty_t *self) {
    uint64_t used = 0;
    for (size_t i = 0; i < self->seen.count; i++)
        used += self->seen.items[i].node->size;
    return used;
}

void fs_faulty_stop(fs_faulty_t *self, uint64_t nth) {
    self->stop_at = nth ? self->calls + nth : 0;
}

bool fs_faulty_stopped(const fs_faulty_t *self) {
    return self->stopped;
}

/* Entries of directories that were themselves lost. */
static void table_prune(table_t *self) {
    for (size_t i = 0; i < self->count;) {
        if (parent_there(self, self->items[i].path)) {
            i++;
            continue;
        }
        char *path = text_copy(self->items[i].path);
        table_remove(self, path);
        free(path);
        i = 0;
    }
}

void fs_faulty_crash(fs_faulty_t *self, fs_crash_t how) {
    self->stopped = false;
    self->stop_at = 0;
    self->fail_from = self->fail_to = 0;
    /* A killed process takes nothing from what the kernel holds. */
    if (how == FS_CRASH_KEEP)
        return;
    for (size_t i = 0; i < self->pending_count; i++)
        if (how == FS_CRASH_RANDOM && coin(self))
            operation_apply(&self->kept, &self->pending[i]);
    pending_clear(self);
    table_prune(&self->kept);
    table_clear(&self->seen);
    for (size_t i = 0; i < self->kept.count; i++) {
        node_t *node = self->kept.items[i].node;
        if (node->mapped)
            node_touch(node);
        if (how == FS_CRASH_RANDOM)
            node_settle_some(node, &self->random);
        node_restart(node);
        table_set(&self->seen, self->kept.items[i].path, node);
    }
}

static node_t *node_at(const fs_faulty_t *self, const char *path) {
    const name_t *name = table_find(&self->seen, path);
    assert(name && !name->node->directory);
    return name->node;
}

void fs_faulty_flip(fs_faulty_t *self, const char *path, uint64_t offset, uint8_t mask) {
    node_t *node = node_at(self, path);
    assert(offset < node->size);
    node->data[offset] ^= mask;
    node->disk[offset] ^= mask;
}

void fs_faulty_resize(fs_faulty_t *self, const char *path, uint64_t size) {
    node_t *node = node_at(self, path);
    node_resize(node, size);
    node_settle(node);
}

int64_t fs_faulty_size(const fs_faulty_t *self, const char *path) {
    const name_t *name = table_find(&self->seen, path);
    return name ? (int64_t) name->node->size : -1;
}

uint8_t fs_faulty_byte(const fs_faulty_t *self, const char *path, uint64_t offset) {
    const node_t *node = node_at(self, path);
    assert(offset < node->size);
    return node->data[offset];
}
