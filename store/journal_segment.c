/* journal_segment.c: the files of the journal: making, reserving, wiping and removing them.
 *
 * Owns: names. `<16 hex digits>.seg` is a segment, `spare` a prepared one without a name yet,
 * `used.N` one that is not needed any more, `*.tmp` one being filled. Must not know: records.
 *
 * Invariants
 *  1. A file under a segment's name or under `spare` was zero-filled to its whole size and synced
 * before it got that name, or was a segment before; and a segment's name is durable before a byte
 * is written to it.
 *  2. Segments are made in ascending order and removed from either end one by one, each step
 * durable, so a gap in the sequence is never the trace of a crash.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "store/journal_internal.h"

#define SPARE_NAME "spare"
#define USED_PREFIX "used."
#define TEMPORARY_SUFFIX ".tmp"
/* Longer names are nobody's here. */
#define NAME_BYTES 64u

struct journal_reserve {
    fs_t fs;
    char directory[LIMIT_PATH_BYTES];
    uint64_t size;
    int code;
};

static int file_zero(const fs_t *fs, fs_file_t *file, uint64_t from, uint64_t to);
static int file_prepare(const fs_t *fs, const char *path, uint64_t size);

bool segment_directory_fits(const char *directory) {
    return strlen(directory) + 1 + NAME_BYTES <= LIMIT_PATH_BYTES;
}

static void path_join(const char *directory, const char *name, char *out) {
    int length = snprintf(out, LIMIT_PATH_BYTES, "%s/%s", directory, name);
    assert((unsigned) length < LIMIT_PATH_BYTES);
}

void segment_path(const journal_t *self, uint64_t sequence, char *out) {
    char name[NAME_BYTES];
    (void) snprintf(name, sizeof name, "%016llx.seg", (unsigned long long) sequence);
    path_join(self->directory, name, out);
}

static void used_path(const journal_t *self, unsigned number, char *out) {
    char name[NAME_BYTES];
    (void) snprintf(name, sizeof name, USED_PREFIX "%u", number);
    path_join(self->directory, name, out);
}

/* Gives the file for a segment its name: an earlier segment's or the spare when it has the size,
 * else a new one. */
static int segment_place(journal_t *self, uint64_t sequence, uint64_t capacity, const char *path,
                         bool *used) {
    char from[LIMIT_PATH_BYTES];
    const fs_t *fs = &self->fs;
    bool usual = capacity == self->segment_bytes;
    *used = usual && self->used > 0;
    bool use_spare = usual && !*used && self->spare;
    int rc = 0;
    if (*used) {
        used_path(self, self->used, from);
    } else if (use_spare) {
        path_join(self->directory, SPARE_NAME, from);
    } else {
        char name[NAME_BYTES];
        (void) snprintf(name, sizeof name, "%016llx" TEMPORARY_SUFFIX,
                        (unsigned long long) sequence);
        path_join(self->directory, name, from);
        rc = file_prepare(fs, from, capacity);
        if (rc == 0 || rc == DRAX_ENOSPC)
            self->full = rc != 0;
    }
    if (rc == 0)
        rc = fs->rename(fs->self, from, path);
    if (rc == 0 && use_spare)
        self->spare = false;
    if (rc == 0 && *used)
        self->used--;
    if (rc == 0)
        rc = fs->sync_dir(fs->self, self->directory);
    return rc;
}

int segment_make(journal_t *self, uint64_t sequence, uint64_t base, uint64_t capacity,
                 segment_t **out) {
    *out = NULL;
    segment_t *segment = calloc(1, sizeof *segment);
    if (!segment)
        return DRAX_ENOMEM;
    char path[LIMIT_PATH_BYTES];
    segment_path(self, sequence, path);
    int rc = segment_place(self, sequence, capacity, path, &segment->used);
    if (rc == 0)
        rc = self->fs.open(self->fs.self, path, false, &segment->file);
    if (rc != 0) {
        free(segment);
        return rc;
    }
    segment->sequence = sequence;
    segment->base = base;
    segment->capacity = capacity;
    segment->first = 1;
    *out = segment;
    return 0;
}

void segment_destroy(const journal_t *self, segment_t **segment) {
    if (!*segment)
        return;
    if ((*segment)->file)
        self->fs.close(&(*segment)->file);
    free((*segment)->points);
    free(*segment);
    *segment = NULL;
}

int segment_remove(const journal_t *self, uint64_t sequence) {
    char path[LIMIT_PATH_BYTES];
    segment_path(self, sequence, path);
    int rc = self->fs.remove(self->fs.self, path);
    if (rc == DRAX_ENOTFOUND)
        rc = 0;
    return rc == 0 ? self->fs.sync_dir(self->fs.self, self->directory) : rc;
}

/* On a full disk its space may be what others wait for. */
static bool segment_reusable(const journal_t *self, const segment_t *segment) {
    bool large =
        segment->first <= segment->last && segment->last - segment->first < JOURNAL_LARGE_ENTRIES;
    return segment->capacity == self->segment_bytes && !self->full &&
           self->used < (large ? JOURNAL_USED_LARGE_MAX : JOURNAL_USED_MAX);
}

int segment_retire(journal_t *self, const segment_t *segment) {
    char from[LIMIT_PATH_BYTES], to[LIMIT_PATH_BYTES];
    if (!segment_reusable(self, segment))
        return segment_remove(self, segment->sequence);
    segment_path(self, segment->sequence, from);
    used_path(self, self->used + 1, to);
    int rc = self->fs.rename(self->fs.self, from, to);
    if (rc == DRAX_ENOSPC)
        return segment_remove(self, segment->sequence);
    if (rc == 0)
        self->used++;
    return rc == 0 ? self->fs.sync_dir(self->fs.self, self->directory) : rc;
}

int journal_used_release(journal_t *self) {
    char path[LIMIT_PATH_BYTES];
    int rc = 0;
    while (rc == 0 && self->used > 0) {
        used_path(self, self->used, path);
        rc = self->fs.remove(self->fs.self, path);
        if (rc == 0)
            self->used--;
    }
    return rc;
}

int segment_zero(const journal_t *self, fs_file_t *file, uint64_t from, uint64_t to) {
    return file_zero(&self->fs, file, from, to);
}

int segments_grow(journal_t *self, size_t more) {
    size_t wanted = self->segment_count + more;
    if (wanted <= self->segment_capacity)
        return 0;
    size_t capacity = self->segment_capacity ? self->segment_capacity * 2 : 16;
    if (capacity < wanted)
        capacity = wanted;
    segment_t **segments = realloc(self->segments, capacity * sizeof(segment_t *));
    if (!segments)
        return DRAX_ENOMEM;
    self->segments = segments;
    self->segment_capacity = capacity;
    return 0;
}

/* ---- leftovers ---- */

/* Finds one half-made or used file at a time: a directory must not change while it is listed. */
static int leftover_visit(void *hint, const char *name) {
    char *found = hint;
    size_t length = strlen(name);
    size_t suffix = strlen(TEMPORARY_SUFFIX), prefix = strlen(USED_PREFIX);
    bool temporary = length > suffix && length < NAME_BYTES &&
                     strcmp(name + length - suffix, TEMPORARY_SUFFIX) == 0;
    bool used = length == prefix + 1 && strncmp(name, USED_PREFIX, prefix) == 0;
    if (!temporary && !used)
        return 0;
    memcpy(found, name, length + 1);
    return 1;
}

static int spare_tidy(journal_t *self) {
    char path[LIMIT_PATH_BYTES];
    path_join(self->directory, SPARE_NAME, path);
    fs_file_t *file = NULL;
    int rc = self->fs.open(self->fs.self, path, false, &file);
    if (rc == DRAX_ENOTFOUND)
        return 0;
    if (rc != 0)
        return rc;
    uint64_t size = 0;
    rc = self->fs.size(file, &size);
    self->fs.close(&file);
    if (rc != 0)
        return rc;
    self->spare = size == self->segment_bytes;
    return self->spare ? 0 : self->fs.remove(self->fs.self, path);
}

int segments_tidy(journal_t *self) {
    for (;;) {
        char name[NAME_BYTES];
        int rc = self->fs.list(self->fs.self, self->directory, leftover_visit, name);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return spare_tidy(self);
        char path[LIMIT_PATH_BYTES];
        path_join(self->directory, name, path);
        rc = self->fs.remove(self->fs.self, path);
        if (rc != 0)
            return rc;
    }
}

/* ---- reservation ---- */

journal_reserve_t *journal_reserve_begin(journal_t *self) {
    if (self->spare || self->used > 0 || self->reserving || self->dead)
        return NULL;
    journal_reserve_t *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->fs = self->fs;
    job->size = self->segment_bytes;
    memcpy(job->directory, self->directory, strlen(self->directory) + 1);
    self->reserving = true;
    return job;
}

void journal_reserve_run(journal_reserve_t *job) {
    char from[LIMIT_PATH_BYTES];
    char to[LIMIT_PATH_BYTES];
    path_join(job->directory, SPARE_NAME TEMPORARY_SUFFIX, from);
    path_join(job->directory, SPARE_NAME, to);
    job->code = file_prepare(&job->fs, from, job->size);
    if (job->code == 0)
        job->code = job->fs.rename(job->fs.self, from, to);
    if (job->code == 0)
        job->code = job->fs.sync_dir(job->fs.self, job->directory);
}

int journal_reserve_end(journal_t *self, journal_reserve_t **job) {
    int code = (*job)->code;
    free(*job);
    *job = NULL;
    self->reserving = false;
    if (code == 0)
        self->spare = true;
    if (code == 0 || code == DRAX_ENOSPC)
        self->full = code != 0;
    return code;
}

bool journal_no_space(const journal_t *self) {
    return self->full && !self->spare && self->used == 0;
}

/* ---- files ---- */

/* A new file of `size` zeros at `path`, synced; nothing is left behind after a failure, if the file
 * system lets us. */
static int file_prepare(const fs_t *fs, const char *path, uint64_t size) {
    fs_file_t *file = NULL;
    int rc = fs->remove(fs->self, path);
    if (rc != 0 && rc != DRAX_ENOTFOUND)
        return rc;
    rc = fs->open(fs->self, path, true, &file);
    if (rc != 0)
        return rc;
    rc = file_zero(fs, file, 0, size);
    if (rc == 0)
        rc = fs->sync(file);
    fs->close(&file);
    if (rc != 0)
        (void) fs->remove(fs->self, path);
    return rc;
}

static int file_zero(const fs_t *fs, fs_file_t *file, uint64_t from, uint64_t to) {
    assert(from < to);
    size_t piece = to - from < JOURNAL_PIECE_BYTES ? (size_t) (to - from) : JOURNAL_PIECE_BYTES;
    uint8_t *zeros = calloc(1, piece);
    if (!zeros)
        return DRAX_ENOMEM;
    int rc = 0;
    while (rc == 0 && from < to) {
        size_t size = to - from < piece ? (size_t) (to - from) : piece;
        struct iovec part = {.iov_base = zeros, .iov_len = size};
        rc = fs->pwritev(file, &part, 1, from);
        from += size;
    }
    free(zeros);
    return rc;
}
