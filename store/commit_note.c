/* commit_note.c: see the header.
 *
 *   file = note note              each written in turn, so that one is whole at any moment
 *   note = index:u64 checksum:u64 in the machine's byte order: it does not leave the machine
 *
 * `checksum` is the XXH3-64 of the index, seeded with the journal's salt.
 */
#include "store/commit_note.h"

#include <stdlib.h>

#include "broker/error.h"
#include "store/hash.h"

#define NOTES 2u

/* As it lies in the file. Volatile: written for whoever comes after this process. */
typedef struct note {
    volatile uint64_t index, checksum;
} note_t;

struct commit_note {
    const fs_t *fs;
    note_t *notes; /* the file */
    uint64_t salt;
    uint64_t index; /* the greatest */
    unsigned next;  /* which is written next: not the one that holds `index` */
};

static uint64_t checksum_of(const commit_note_t *self, uint64_t index) {
    return XXH3_64bits_withSeed(&index, sizeof index, self->salt);
}

int commit_note_open(commit_note_t **out, const fs_t *fs, const char *path, uint64_t salt) {
    *out = NULL;
    commit_note_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    void *memory;
    int rc = fs->map(fs->self, path, NOTES * sizeof(note_t), &memory);
    if (rc) {
        free(self);
        return rc;
    }
    self->fs = fs;
    self->notes = memory;
    self->salt = salt;
    for (unsigned i = 0; i < NOTES; i++) {
        uint64_t index = self->notes[i].index;
        if (index <= self->index || self->notes[i].checksum != checksum_of(self, index))
            continue;
        self->index = index;
        self->next = (i + 1) % NOTES;
    }
    *out = self;
    return 0;
}

uint64_t commit_note_index(const commit_note_t *self) {
    return self->index;
}

void commit_note_put(commit_note_t *self, uint64_t index) {
    if (index <= self->index)
        return;
    self->index = index;
    self->notes[self->next].index = index;
    self->notes[self->next].checksum = checksum_of(self, index);
    self->next = (self->next + 1) % NOTES;
}

void commit_note_close(commit_note_t **self) {
    commit_note_t *note = *self;
    *self = NULL;
    if (!note)
        return;
    note->fs->unmap(note->fs->self, note->notes, NOTES * sizeof(note_t));
    free(note);
}
