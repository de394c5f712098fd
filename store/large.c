/* large.c: which files are needed, and by whom; views and reading.
 *
 * Owns: the files of keys, those that are needed no more but may be seen, the views. Must not know:
 * how files are written. The invariants are in large_internal.h.
 */
#include "store/large.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/large_internal.h"

int large_open(large_t **out, const fs_t *fs, const char *path, size_t threshold) {
    *out = NULL;
    if (strlen(path) + 1 + LARGE_NAME_BYTES > LIMIT_PATH_BYTES)
        return DRAX_EINVAL;
    large_t *self = calloc(1, sizeof *self);
    if (self)
        self->path = strdup(path);
    if (!self || !self->path) {
        free(self);
        return DRAX_ENOMEM;
    }
    self->fs = *fs;
    self->threshold = threshold;
    self->next = 1;
    self->views.previous = self->views.next = &self->views;
    pthread_mutex_init(&self->lock, NULL);
    RB_INIT(&self->live);
    *out = self;
    return 0;
}

void large_close(large_t **self_p) {
    large_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    assert(self->views.next == &self->views);
    for (size_t i = 0; i < self->old.count; i++)
        large_remove(self, self->old.items[i].number, LARGE_OLD);
    large_owners_clear(self);
    free(self->retired.items);
    free(self->old.items);
    pthread_mutex_destroy(&self->lock);
    free(self->path);
    free(self);
}

/* ---- what is needed, and what not ---- */

bool large_any(const large_t *self) {
    return !RB_EMPTY(&self->live);
}

static int file_retire(large_t *self, large_item_t file) {
    pthread_mutex_lock(&self->lock);
    file.epoch = ++self->epoch;
    pthread_mutex_unlock(&self->lock);
    return large_list_add(&self->retired, &file) ? 0 : DRAX_ENOMEM;
}

int large_changed(large_t *self, const large_batch_t *batch, slice_t key, slice_t record) {
    large_reference_t reference;
    large_owner_t *owner = large_owner_find(self, key);
    int rc = owner ? file_retire(self, owner->file) : 0;
    if (rc == 0 && large_reference_parse(record, &reference) == 0) {
        size_t i = 0;
        while (i < batch->count && batch->made[i].file.number != reference.number)
            i++;
        assert(i < batch->count); /* large_put made all references */
        return large_owner_set(self, key, &batch->made[i].file);
    }
    if (rc == 0 && owner)
        large_owner_remove(self, owner);
    return rc;
}

/* How many of `retired` no view can see: those from before the oldest one was opened. */
static size_t unseen_count(large_t *self) {
    pthread_mutex_lock(&self->lock);
    bool seen = self->views.next != &self->views;
    uint64_t oldest = self->views.next->epoch;
    pthread_mutex_unlock(&self->lock);
    size_t count = 0;
    while (count < self->retired.count && (!seen || self->retired.items[count].epoch <= oldest))
        count++;
    return count;
}

void large_reclaim(large_t *self) {
    size_t count = unseen_count(self);
    large_item_t *files = self->retired.items;
    if (!count)
        return;
    size_t renamed = 0;
    for (size_t i = 0; i < count; i++) {
        if (large_rename(self, files[i].number, LARGE_VALUE, files[i].number, LARGE_OLD) == 0)
            files[renamed++] = files[i];
        else
            large_remove(self, files[i].number, LARGE_VALUE);
    }
    bool durable = self->fs.sync_dir(self->fs.self, self->path) == 0;
    for (size_t i = 0; i < renamed; i++) {
        if (durable)
            large_old_add(self, &files[i]);
        else
            large_remove(self, files[i].number, LARGE_OLD);
    }
    large_list_cut(&self->retired, 0, count);
}

void large_view_open(large_t *self, large_view_t *view) {
    pthread_mutex_lock(&self->lock);
    view->epoch = self->epoch;
    view->next = &self->views;
    view->previous = self->views.previous;
    view->previous->next = view;
    self->views.previous = view;
    pthread_mutex_unlock(&self->lock);
}

void large_view_close(large_t *self, large_view_t *view) {
    pthread_mutex_lock(&self->lock);
    view->previous->next = view->next;
    view->next->previous = view->previous;
    pthread_mutex_unlock(&self->lock);
}

bool large_viewed(large_t *self) {
    pthread_mutex_lock(&self->lock);
    bool viewed = self->views.next != &self->views;
    pthread_mutex_unlock(&self->lock);
    return viewed;
}

/* ---- reading ---- */

void large_detail_set(large_t *self, uint64_t number, const char *reason) {
    char path[LIMIT_PATH_BYTES];
    large_path(self, number, LARGE_VALUE, path);
    pthread_mutex_lock(&self->lock);
    (void) snprintf(self->detail, sizeof self->detail, "%s: %s", path, reason);
    pthread_mutex_unlock(&self->lock);
}

int large_read(large_t *self, slice_t key, slice_t record, buffer_t *value) {
    char path[LIMIT_PATH_BYTES];
    large_reference_t reference;
    const char *reason = "";
    int rc = large_reference_parse(record, &reference);
    if (rc)
        return rc;
    large_path(self, reference.number, LARGE_VALUE, path);
    rc = large_file_read(&self->fs, path, key, &reference, value, &reason);
    if (rc == DRAX_ECORRUPT)
        large_detail_set(self, reference.number, reason);
    return rc;
}

void large_detail(large_t *self, char *out, size_t size) {
    pthread_mutex_lock(&self->lock);
    (void) snprintf(out, size, "%s", self->detail);
    pthread_mutex_unlock(&self->lock);
}
