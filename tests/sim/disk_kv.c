/* disk_kv.c: the ordered stores of a disk: kv_memory, kept from one opening to the next.
 *
 * A handle passes everything on to the store in memory but opening, writing and snapshots; batches
 * and iterators are those of kv_memory itself. After a write that failed the store behaves as
 * LevelDB under kv_leveldb_write.c: the next write opens it again, and cannot while snapshots are
 * open.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "store/kv_backend.h"
#include "tests/sim/disk_internal.h"

/* A store wants this much room to write at all. */
#define STORE_ROOM_BYTES 4096u
#define STORE_OPEN_US 1500u

typedef struct handle {
    kv_t kv;
    disk_t *disk;
    disk_store_t *store;
} handle_t;

static kv_t *memory_of(kv_t *kv) {
    return ((handle_t *) kv)->store->memory;
}

static int handle_get(kv_t *kv, slice_t key, buffer_t *value) {
    const handle_t *self = (const handle_t *) kv;
    if (self->disk->detached || self->disk->stopped)
        return DRAX_EIO;
    return kv_get(self->store->memory, key, value);
}

static kv_batch_t *handle_batch_new(kv_t *kv) {
    return kv_batch_new(memory_of(kv));
}

static bool store_full(disk_t *disk) {
    uint64_t room = UINT64_MAX;
    const fs_t *below = fs_faulty_fs(disk->faulty);
    return disk->filled && below->space(below->self, "", &room) == 0 && room < STORE_ROOM_BYTES;
}

static int handle_write(kv_t *kv, kv_batch_t *batch, bool sync) {
    handle_t *self = (handle_t *) kv;
    disk_store_t *store = self->store;
    bool stopping;
    assert(sync); /* else this disk would have to know what of it is lost */
    if (store->broken && store->snapshots)
        return DRAX_EAGAIN;
    int rc = disk_call(self->disk, &stopping);
    if (rc)
        return rc;
    disk_sync_wait(self->disk);
    if (stopping) {
        if (stream_chance(&self->disk->random, 500))
            (void) kv_write(store->memory, batch, true);
        return DRAX_EIO;
    }
    store->broken = false;
    if (store_full(self->disk))
        rc = DRAX_ENOSPC;
    else if (disk_fails(self->disk, DISK_STATE))
        rc = DRAX_EIO;
    else
        return kv_write(store->memory, batch, true);
    store->broken = true;
    return rc;
}

static kv_snapshot_t *handle_snapshot_new(kv_t *kv) {
    kv_snapshot_t *snapshot = kv_snapshot_new(memory_of(kv));
    if (snapshot)
        ((handle_t *) kv)->store->snapshots++;
    return snapshot;
}

static void handle_snapshot_destroy(kv_t *kv, kv_snapshot_t *snapshot) {
    ((handle_t *) kv)->store->snapshots--;
    kv_snapshot_destroy(memory_of(kv), &snapshot);
}

static kv_iterator_t *handle_iterator_new(kv_t *kv, kv_snapshot_t *snapshot) {
    return kv_iterator_new(memory_of(kv), snapshot);
}

static void store_clear(disk_store_t *self) {
    kv_close(&self->memory);
    *self = (disk_store_t){0};
}

static void handle_close(kv_t *kv) {
    handle_t *self = (handle_t *) kv;
    self->store->opened--;
    free(self);
}

static const kv_backend_t handle_backend = {
    .close = handle_close,
    .get = handle_get,
    .batch_new = handle_batch_new,
    .write = handle_write,
    .snapshot_new = handle_snapshot_new,
    .snapshot_destroy = handle_snapshot_destroy,
    .iterator_new = handle_iterator_new,
};

/* ---- stores and directories ---- */

static int names_any(void *hint, const char *name) {
    bool *found = hint;
    *found = *found || strcmp(name, "CURRENT") == 0;
    return 0;
}

/* A store is there when its directory holds the file CURRENT, as LevelDB's does. */
static bool store_there(disk_t *self, const char *directory) {
    const fs_t *below = fs_faulty_fs(self->faulty);
    bool found = false;
    (void) below->list(below->self, directory, names_any, &found);
    return found;
}

static disk_store_t *store_find(disk_t *self, const char *directory) {
    for (size_t i = 0; i < DISK_STORES; i++)
        if (strcmp(self->stores[i].path, directory) == 0)
            return &self->stores[i];
    return NULL;
}

void disk_stores_prune(disk_t *self) {
    for (size_t i = 0; i < DISK_STORES; i++) {
        disk_store_t *store = &self->stores[i];
        if (store->path[0] && !store->opened && !store_there(self, store->path))
            store_clear(store);
        store->broken = false;
    }
}

void disk_stores_clear(disk_t *self) {
    for (size_t i = 0; i < DISK_STORES; i++)
        store_clear(&self->stores[i]);
}

/* What LevelDB makes durable when it makes a database: its own directory's content; not the
 * directory's name in the one above. */
static int store_make(disk_t *self, const char *directory) {
    char path[2 * DISK_PATH_BYTES];
    fs_file_t *file = NULL;
    int rc = self->fs.mkdir(self, directory);
    (void) snprintf(path, sizeof path, "%s/CURRENT", directory);
    if (rc == 0)
        rc = self->fs.open(self, path, true, &file);
    if (rc == 0)
        rc = self->fs.sync(file);
    self->fs.close(&file);
    if (rc == 0)
        rc = self->fs.sync_dir(self, directory);
    if (rc)
        return rc;
    disk_store_t *store = store_find(self, directory);
    if (!store)
        store = store_find(self, "");
    if (!store || store->opened || strlen(directory) >= DISK_PATH_BYTES)
        abort();
    store_clear(store);
    strcpy(store->path, directory);
    return kv_memory_open(&store->memory);
}

int disk_kv_open(void *hint, kv_t **out, const char *directory, bool create) {
    disk_t *self = hint;
    *out = NULL;
    disk_wait(self, STORE_OPEN_US);
    if (self->detached || self->stopped)
        return DRAX_EIO;
    bool there = store_there(self, directory);
    if (!there && !create)
        return DRAX_ENOTFOUND;
    int rc = there ? 0 : store_make(self, directory);
    if (rc)
        return rc;
    disk_store_t *store = store_find(self, directory);
    if (!store)
        return DRAX_ECORRUPT; /* the directory was removed, and came back with a power loss */
    if (store->spoiled)
        return DRAX_ECORRUPT;
    handle_t *handle = calloc(1, sizeof *handle);
    if (!handle)
        abort();
    *handle = (handle_t){.kv.backend = &handle_backend, .disk = self, .store = store};
    store->opened++;
    *out = &handle->kv;
    return 0;
}
