/* large.c: which files there are, which are needed, and by whom.
 *
 *   <16 hex digits>.val    the file of a value that the store refers to, or did
 *   <16 hex digits>.tmp    one being written
 *   <16 hex digits>.old    one that is not needed, to be written over by a later one
 *
 * Writing over a file costs half of what a new one does: it has its blocks, on disk and in memory.
 *
 * Invariants
 *  1. `live` has exactly the keys whose record in the store, as last written, is a reference.
 *  2. A file becomes .old, durably, before anything is written over it: a .val is always whole.
 *  3. `retired` is in the order of epochs. A file retired at epoch e is seen only by views that
 *     were opened before e; the list of views is in the order of epochs too.
 *  4. A number is given once, so a file is never taken for an earlier one.
 */
#include "store/large.h"

#include <assert.h>
#include <bsd/sys/tree.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "store/kv.h"

#define NAME_BYTES 24u
#define DETAIL_BYTES 256u

typedef enum { NAME_VALUE, NAME_TEMPORARY, NAME_OLD } name_kind_t;
static const char *const suffixes[] = {"val", "tmp", "old"};

typedef struct file {
    uint64_t number, size;
    uint64_t epoch; /* when it was retired */
} file_t;

typedef struct files {
    file_t *items;
    size_t count, capacity;
} files_t;

typedef struct owner {
    RB_ENTRY(owner) link;
    file_t file;
    size_t key_size;
    uint8_t key[];
} owner_t;

RB_HEAD(owner_tree, owner);

struct large_made {
    file_t file;
    bool published;
};

struct large {
    fs_t fs;
    char *path;
    size_t threshold;
    bool recovered;
    struct owner_tree live; /* this and `retired`: the one who writes batches alone */
    files_t retired;

    pthread_mutex_t lock; /* guards what follows; not held while files are written */
    bool ready;           /* the directory is there, durably */
    uint64_t next;        /* number of the next file */
    uint64_t epoch;       /* counts what was retired */
    large_view_t views;   /* the list's head, a ring */
    files_t old;
    uint64_t old_bytes;
    char detail[DETAIL_BYTES + LIMIT_PATH_BYTES];
};

static slice_t owner_key(const owner_t *self) {
    return (slice_t){self->key, self->key_size};
}

static int owner_compare(const owner_t *a, const owner_t *b) {
    return kv_key_compare(owner_key(a), owner_key(b));
}

RB_GENERATE_INTERNAL(owner_tree, owner, link, owner_compare, static __attribute__((unused)))

/* ---- names and lists ---- */

static void path_of(const large_t *self, uint64_t number, name_kind_t kind, char *out) {
    int length =
        snprintf(out, LIMIT_PATH_BYTES, "%s/%016" PRIx64 ".%s", self->path, number, suffixes[kind]);
    assert((unsigned) length < LIMIT_PATH_BYTES);
}

static int file_rename(const large_t *self, uint64_t from, name_kind_t from_kind, uint64_t to,
                       name_kind_t to_kind) {
    char from_path[LIMIT_PATH_BYTES], to_path[LIMIT_PATH_BYTES];
    path_of(self, from, from_kind, from_path);
    path_of(self, to, to_kind, to_path);
    return self->fs.rename(self->fs.self, from_path, to_path);
}

/* At worst it stays until the next opening. */
static void file_remove(const large_t *self, uint64_t number, name_kind_t kind) {
    char path[LIMIT_PATH_BYTES];
    path_of(self, number, kind, path);
    (void) self->fs.remove(self->fs.self, path);
}

static bool files_add(files_t *self, const file_t *file) {
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 16;
        file_t *items = realloc(self->items, capacity * sizeof *items);
        if (!items)
            return false;
        self->items = items;
        self->capacity = capacity;
    }
    self->items[self->count++] = *file;
    return true;
}

static void files_cut(files_t *self, size_t at, size_t count) {
    if (!count)
        return;
    self->count -= count;
    memmove(self->items + at, self->items + at + count, (self->count - at) * sizeof *self->items);
}

static owner_t *owner_find(const large_t *self, slice_t key) {
    owner_t *at = RB_ROOT(&self->live);
    while (at) {
        int order = kv_key_compare(key, owner_key(at));
        if (order == 0)
            return at;
        at = order < 0 ? RB_LEFT(at, link) : RB_RIGHT(at, link);
    }
    return NULL;
}

static int owner_set(large_t *self, slice_t key, const file_t *file) {
    owner_t *owner = owner_find(self, key);
    if (!owner) {
        owner = calloc(1, sizeof *owner + key.size);
        if (!owner)
            return DRAX_ENOMEM;
        owner->key_size = key.size;
        if (key.size)
            memcpy(owner->key, key.data, key.size);
        RB_INSERT(owner_tree, &self->live, owner);
    }
    owner->file = *file;
    return 0;
}

static void owners_clear(large_t *self) {
    owner_t *owner;
    while ((owner = RB_ROOT(&self->live))) {
        RB_REMOVE(owner_tree, &self->live, owner);
        free(owner);
    }
}

/* ---- open and close ---- */

int large_open(large_t **out, const fs_t *fs, const char *path, size_t threshold) {
    *out = NULL;
    if (strlen(path) + 1 + NAME_BYTES > LIMIT_PATH_BYTES)
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
        file_remove(self, self->old.items[i].number, NAME_OLD);
    owners_clear(self);
    free(self->retired.items);
    free(self->old.items);
    pthread_mutex_destroy(&self->lock);
    free(self->path);
    free(self);
}

/* ---- recovery ---- */

/* A directory must not change while it is listed. */
struct listing {
    files_t values, others[2]; /* .tmp, .old */
    uint64_t last;
};

static int name_visit(void *hint, const char *name) {
    struct listing *self = hint;
    char wanted[NAME_BYTES];
    file_t file = {0};
    if (sscanf(name, "%16" SCNx64, &file.number) != 1)
        return 0;
    for (unsigned kind = NAME_VALUE; kind <= NAME_OLD; kind++) {
        (void) snprintf(wanted, sizeof wanted, "%016" PRIx64 ".%s", file.number, suffixes[kind]);
        if (strcmp(name, wanted) != 0)
            continue;
        if (file.number > self->last)
            self->last = file.number;
        files_t *list = kind == NAME_VALUE ? &self->values : &self->others[kind - 1];
        return files_add(list, &file) ? 0 : DRAX_ENOMEM;
    }
    return 0;
}

static void detail_set(large_t *self, uint64_t number, const char *reason) {
    char path[LIMIT_PATH_BYTES];
    path_of(self, number, NAME_VALUE, path);
    pthread_mutex_lock(&self->lock);
    (void) snprintf(self->detail, sizeof self->detail, "%s: %s", path, reason);
    pthread_mutex_unlock(&self->lock);
}

/* One named file: into `live`, or away, or left for a human to look at. */
static int value_recover(large_t *self, file_t *file, large_lookup_fn *lookup, void *hint) {
    char path[LIMIT_PATH_BYTES];
    buffer_t key = {0}, record = {0};
    large_reference_t reference;
    const char *reason = NULL;
    path_of(self, file->number, NAME_VALUE, path);
    int rc = large_file_key(&self->fs, path, file->number, &key, &file->size, &reason);
    if (rc == DRAX_ECORRUPT)
        detail_set(self, file->number, reason);
    bool whole = rc == 0;
    if (whole)
        rc = lookup(hint, (slice_t){key.data, key.size}, &record);
    bool wanted = whole && rc == 0 &&
                  large_reference_parse((slice_t){record.data, record.size}, &reference) == 0 &&
                  reference.number == file->number;
    if (wanted)
        rc = owner_set(self, (slice_t){key.data, key.size}, file);
    else if (whole && (rc == 0 || rc == DRAX_ENOTFOUND))
        file_remove(self, file->number, NAME_VALUE);
    buffer_free(&key);
    buffer_free(&record);
    return rc == DRAX_ECORRUPT || rc == DRAX_ENOTFOUND ? 0 : rc;
}

int large_recover(large_t *self, large_lookup_fn *lookup, void *hint) {
    struct listing listing = {0};
    int rc = self->fs.list(self->fs.self, self->path, name_visit, &listing);
    if (rc == DRAX_ENOTFOUND)
        rc = 0;
    owners_clear(self);
    self->retired.count = 0;
    for (size_t i = 0; rc == 0 && i < listing.values.count; i++)
        rc = value_recover(self, &listing.values.items[i], lookup, hint);
    /* Later on these are the ones that are being written, or known. */
    for (unsigned kind = 0; rc == 0 && !self->recovered && kind < 2; kind++)
        for (size_t i = 0; i < listing.others[kind].count; i++)
            file_remove(self, listing.others[kind].items[i].number,
                        kind ? NAME_OLD : NAME_TEMPORARY);
    if (listing.last >= self->next)
        self->next = listing.last + 1;
    self->recovered = self->recovered || rc == 0;
    free(listing.values.items);
    free(listing.others[0].items);
    free(listing.others[1].items);
    return rc;
}

/* ---- writing ---- */

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
static bool old_take(large_t *self, uint64_t size, file_t *out) {
    for (size_t i = 0; i < self->old.count; i++) {
        const file_t *file = &self->old.items[i];
        if (file->size < size || file->size / 2 > size)
            continue;
        *out = *file;
        self->old_bytes -= file->size;
        files_cut(&self->old, i, 1);
        return true;
    }
    return false;
}

static int made_add(large_batch_t *batch, const file_t *file) {
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
    file_t file = {.size = large_file_size(key, value)}, old;
    char path[LIMIT_PATH_BYTES];
    pthread_mutex_lock(&self->lock);
    made.number = file.number = self->next++;
    int rc = directory_make(self);
    bool over = rc == 0 && old_take(self, file.size, &old);
    pthread_mutex_unlock(&self->lock);
    path_of(self, file.number, NAME_TEMPORARY, path);
    if (over) {
        rc = file_rename(self, old.number, NAME_OLD, file.number, NAME_TEMPORARY);
        if (rc)
            file_remove(self, old.number, NAME_OLD);
        file.size = old.size;
    }
    if (rc == 0)
        rc = large_file_write(&self->fs, path, !over, key, value, &made);
    if (rc == 0)
        rc = made_add(batch, &file);
    if (rc)
        file_remove(self, file.number, NAME_TEMPORARY);
    if (rc && !batch->failed)
        batch->failed = rc;
    large_reference_encode(&made, reference);
    return rc;
}

int large_publish(large_t *self, large_batch_t *batch) {
    int rc = batch->failed;
    for (size_t i = 0; rc == 0 && i < batch->count; i++) {
        struct large_made *made = &batch->made[i];
        rc = file_rename(self, made->file.number, NAME_TEMPORARY, made->file.number, NAME_VALUE);
        made->published = rc == 0;
    }
    if (rc == 0 && batch->count)
        rc = self->fs.sync_dir(self->fs.self, self->path);
    return rc;
}

void large_batch_end(large_t *self, large_batch_t *batch, bool removing) {
    for (size_t i = 0; removing && i < batch->count; i++) {
        const struct large_made *made = &batch->made[i];
        file_remove(self, made->file.number, made->published ? NAME_VALUE : NAME_TEMPORARY);
    }
    free(batch->made);
    *batch = (large_batch_t){0};
}

/* ---- what is needed, and what not ---- */

bool large_any(const large_t *self) {
    return !RB_EMPTY(&self->live);
}

static int file_retire(large_t *self, file_t file) {
    pthread_mutex_lock(&self->lock);
    file.epoch = ++self->epoch;
    pthread_mutex_unlock(&self->lock);
    return files_add(&self->retired, &file) ? 0 : DRAX_ENOMEM;
}

int large_changed(large_t *self, const large_batch_t *batch, slice_t key, slice_t record) {
    large_reference_t reference;
    owner_t *owner = owner_find(self, key);
    int rc = owner ? file_retire(self, owner->file) : 0;
    if (rc == 0 && large_reference_parse(record, &reference) == 0) {
        size_t i = 0;
        while (i < batch->count && batch->made[i].file.number != reference.number)
            i++;
        assert(i < batch->count); /* large_put made all references */
        return owner_set(self, key, &batch->made[i].file);
    }
    if (rc == 0 && owner) {
        RB_REMOVE(owner_tree, &self->live, owner);
        free(owner);
    }
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

/* Makes room among the files to be written over; those that lie there longest go. */
static void old_trim(large_t *self, uint64_t more) {
    size_t count = 0;
    for (; count < self->old.count && self->old_bytes + more > STATE_SPARE_BYTES; count++) {
        self->old_bytes -= self->old.items[count].size;
        file_remove(self, self->old.items[count].number, NAME_OLD);
    }
    files_cut(&self->old, 0, count);
}

static void old_add(large_t *self, const file_t *file) {
    pthread_mutex_lock(&self->lock);
    old_trim(self, file->size);
    bool added = file->size <= STATE_SPARE_BYTES && files_add(&self->old, file);
    if (added)
        self->old_bytes += file->size;
    else
        file_remove(self, file->number, NAME_OLD);
    pthread_mutex_unlock(&self->lock);
}

void large_reclaim(large_t *self) {
    size_t count = unseen_count(self);
    file_t *files = self->retired.items;
    if (!count)
        return;
    size_t renamed = 0;
    for (size_t i = 0; i < count; i++) {
        if (file_rename(self, files[i].number, NAME_VALUE, files[i].number, NAME_OLD) == 0)
            files[renamed++] = files[i];
        else
            file_remove(self, files[i].number, NAME_VALUE);
    }
    bool durable = self->fs.sync_dir(self->fs.self, self->path) == 0;
    for (size_t i = 0; i < renamed; i++) {
        if (durable)
            old_add(self, &files[i]);
        else
            file_remove(self, files[i].number, NAME_OLD);
    }
    files_cut(&self->retired, 0, count);
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

int large_read(large_t *self, slice_t key, slice_t record, buffer_t *value) {
    char path[LIMIT_PATH_BYTES];
    large_reference_t reference;
    const char *reason = "";
    int rc = large_reference_parse(record, &reference);
    if (rc)
        return rc;
    path_of(self, reference.number, NAME_VALUE, path);
    rc = large_file_read(&self->fs, path, key, &reference, value, &reason);
    if (rc == DRAX_ECORRUPT)
        detail_set(self, reference.number, reason);
    return rc;
}

void large_detail(large_t *self, char *out, size_t size) {
    pthread_mutex_lock(&self->lock);
    (void) snprintf(out, size, "%s", self->detail);
    pthread_mutex_unlock(&self->lock);
}
