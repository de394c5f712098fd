/* large_write.c: files of new values, and those of old ones that they are written over.
 *
 * Owns: the directory, the temporary files, the list of old ones. Must not know: which files are
 * needed.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/large_internal.h"

bool large_wanted(const large_t *self, slice_t value) {
    return value.size > self->threshold || large_reference_is(value);
}

static int directory_make(large_t *self) {
    if (self->ready)
        return 0;
    char parent[LIMIT_PATH_BYTES];
    (void) snprintf(parent, sizeof parent, "%s", self->path);
    char *slash = strrchr(parent, '/');
    assert(slash);
    *slash = '\0';
    int rc = self->fs.mkdir(self->fs.self, self->path);
    if (rc == 0)
        rc = self->fs.sync_dir(self->fs.self, parent);
    self->ready = rc == 0;
    return rc;
}

/* A file to be written over, for one of `size` bytes: not much longer, as the rest is waste. */
static bool old_take(large_t *self, uint64_t size, large_item_t *out) {
    for (size_t i = 0; i < self->old.count; i++) {
        const large_item_t *file = &self->old.items[i];
        if (file->size < size || file->size / 2 > size)
            continue;
        *out = *file;
        self->old_bytes -= file->size;
        large_list_cut(&self->old, i, 1);
        return true;
    }
    return false;
}

static int made_add(large_batch_t *batch, const large_item_t *file) {
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity ? batch->capacity * 2 : 16;
        struct large_made *made = realloc(batch->made, capacity * sizeof *made);
        if (!made)
            return DRAX_ENOMEM;
        batch->made = made;
        batch->capacity = capacity;
    }
    batch->made[batch->count++] = (struct large_made){.file = *file};
    return 0;
}

int large_put(large_t *self, large_batch_t *batch, slice_t key, slice_t value,
              uint8_t reference[LARGE_REFERENCE_BYTES]) {
    large_reference_t made = {0};
    large_item_t file = {.size = large_file_size(key, value)}, old;
    char path[LIMIT_PATH_BYTES];
    pthread_mutex_lock(&self->lock);
    made.number = file.number = self->next++;
    int rc = directory_make(self);
    bool over = rc == 0 && old_take(self, file.size, &old);
    pthread_mutex_unlock(&self->lock);
    large_path(self, file.number, LARGE_TEMPORARY, path);
    if (over) {
        rc = large_rename(self, old.number, LARGE_OLD, file.number, LARGE_TEMPORARY);
        if (rc)
            large_remove(self, old.number, LARGE_OLD);
        file.size = old.size;
    }
    if (rc == 0)
        rc = large_file_write(&self->fs, path, !over, key, value, &made);
    if (rc == 0)
        rc = made_add(batch, &file);
    if (rc)
        large_remove(self, file.number, LARGE_TEMPORARY);
    if (rc && !batch->failed)
        batch->failed = rc;
    large_reference_encode(&made, reference);
    return rc;
}

int large_publish(large_t *self, large_batch_t *batch) {
    int rc = batch->failed;
    for (size_t i = 0; rc == 0 && i < batch->count; i++) {
        struct large_made *made = &batch->made[i];
        rc = large_rename(self, made->file.number, LARGE_TEMPORARY, made->file.number, LARGE_VALUE);
        made->published = rc == 0;
    }
    if (rc == 0 && batch->count)
        rc = self->fs.sync_dir(self->fs.self, self->path);
    return rc;
}

void large_batch_end(large_t *self, large_batch_t *batch, bool removing) {
    for (size_t i = 0; removing && i < batch->count; i++) {
        const struct large_made *made = &batch->made[i];
        large_remove(self, made->file.number, made->published ? LARGE_VALUE : LARGE_TEMPORARY);
    }
    free(batch->made);
    *batch = (large_batch_t){0};
}

/* ---- files to be written over ---- */

/* Makes room among the files to be written over; those that lie there longest go. */
static void old_trim(large_t *self, uint64_t more) {
    size_t count = 0;
    for (; count < self->old.count && self->old_bytes + more > STATE_SPARE_BYTES; count++) {
        self->old_bytes -= self->old.items[count].size;
        large_remove(self, self->old.items[count].number, LARGE_OLD);
    }
    large_list_cut(&self->old, 0, count);
}

void large_old_add(large_t *self, const large_item_t *file) {
    pthread_mutex_lock(&self->lock);
    old_trim(self, file->size);
    bool added = file->size <= STATE_SPARE_BYTES && large_list_add(&self->old, file);
    if (added)
        self->old_bytes += file->size;
    else
        large_remove(self, file->number, LARGE_OLD);
    pthread_mutex_unlock(&self->lock);
}
