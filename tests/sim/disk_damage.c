/* disk_damage.c: what happens to a disk that no process uses; see disk.h.
 *
 * Damage is put where the journal promises to see it (docs/STORAGE.md, "What cannot be seen"):
 * before the position that the last record names as synced when it was made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/journal_record.h"
#include "tests/sim/disk_internal.h"

#define DAMAGE_JOURNAL "./journal"
#define DAMAGE_SEGMENTS 64u

typedef struct image {
    char path[DISK_PATH_BYTES];
    uint8_t *bytes;
    size_t size;
    header_t header;
} image_t;

typedef struct images {
    disk_t *disk;
    image_t items[DAMAGE_SEGMENTS]; /* by base */
    size_t count;
    uint64_t vouched; /* position */
} images_t;

static int image_visit(void *hint, const char *name) {
    images_t *self = hint;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".seg") == 0 && self->count < DAMAGE_SEGMENTS)
        (void) snprintf(self->items[self->count++].path, DISK_PATH_BYTES, "%s/%s", DAMAGE_JOURNAL,
                        name);
    return 0;
}

static bool image_load(disk_t *disk, image_t *self) {
    const fs_t *below = fs_faulty_fs(disk->faulty);
    fs_file_t *file = NULL;
    self->size = (size_t) fs_faulty_size(disk->faulty, self->path);
    self->bytes = malloc(self->size + 1);
    if (!self->bytes || below->open(below->self, self->path, false, &file) != 0)
        abort();
    size_t got = 0;
    (void) below->pread(file, self->bytes, self->size, 0, &got);
    below->close(&file);
    return got == self->size && self->size >= HEADER_BYTES &&
           header_decode(&self->header, self->bytes) == HEADER_GOOD;
}

static int image_order(const void *a, const void *b) {
    uint64_t first = ((const image_t *) a)->header.base,
             second = ((const image_t *) b)->header.base;
    return (first > second) - (first < second);
}

/* Follows the records of one segment; `vouched` is the greatest position that one speaks of. */
static void image_walk(const image_t *self, uint64_t *vouched) {
    uint64_t chain = self->header.checksum;
    for (uint64_t at = HEADER_BYTES; at + RECORD_BYTES <= self->size;) {
        record_t record;
        if (!record_head_decode(&record, self->bytes + at, self->size - at, self->header.salt) ||
            record.prev != chain || at + record_size(record.length) > self->size ||
            !record_valid(&record, self->bytes + at, self->header.salt))
            return;
        *vouched = record.durable > *vouched ? record.durable : *vouched;
        chain = record.checksum;
        at += record_size(record.length);
    }
}

static void images_load(images_t *self, disk_t *disk) {
    *self = (images_t){.disk = disk};
    const fs_t *below = fs_faulty_fs(disk->faulty);
    (void) below->list(below->self, DAMAGE_JOURNAL, image_visit, self);
    bool good = true;
    for (size_t i = 0; i < self->count; i++)
        good = image_load(disk, &self->items[i]) && good;
    qsort(self->items, self->count, sizeof self->items[0], image_order);
    for (size_t i = 0; good && i < self->count; i++)
        image_walk(&self->items[i], &self->vouched);
}

static void images_clear(images_t *self) {
    for (size_t i = 0; i < self->count; i++)
        free(self->items[i].bytes);
}

bool disk_flip(disk_t *self, stream_t *random) {
    images_t *images = malloc(sizeof *images);
    if (!images)
        abort();
    images_load(images, self);
    bool done = false;
    if (images->count) {
        const image_t *image = &images->items[stream_range(random, 0, images->count)];
        uint64_t base = image->header.base;
        uint64_t end = images->vouched > base ? images->vouched - base : 0;
        end = end < image->size ? end : image->size;
        uint64_t offset = stream_range(random, 0, end);
        uint8_t mask = (uint8_t) (1u << stream_range(random, 0, 8));
        done = end > 0;
        if (done)
            fs_faulty_flip(self->faulty, image->path, offset, mask);
    }
    images_clear(images);
    free(images);
    return done;
}

bool disk_cut(disk_t *self, stream_t *random) {
    images_t *images = malloc(sizeof *images);
    if (!images)
        abort();
    images_load(images, self);
    bool done = images->count > 0;
    if (done) {
        const image_t *image = &images->items[stream_range(random, 0, images->count)];
        fs_faulty_resize(self->faulty, image->path, stream_range(random, 0, image->size));
    }
    images_clear(images);
    free(images);
    return done;
}

bool disk_spoil(disk_t *self) {
    bool any = false;
    for (size_t i = 0; i < DISK_STORES; i++)
        if (self->stores[i].path[0])
            any = self->stores[i].spoiled = true;
    return any;
}
