/* commit_note.h: the commit index that a node last knew, kept over the death of its process.
 *
 * The journal says what is durable, not what of it is committed; after a start that is heard from a
 * leader. A node that hears none would go back behind what it has already shown. So it notes each
 * commit index before anything is applied up to it, in a small file mapped into memory: no system
 * call, nothing is synced. What is noted is there after the process was killed; after a power loss
 * an older note is, or none.
 *
 * Owns: the file. Must not know: what is committed, and why.
 *
 * Invariants
 *  1. A note is of an index up to which this journal was durable and committed, so it can be
 *     applied at the next start, whatever else is lost.
 *  2. A note counts only with its checksum, which holds the journal's salt: neither one that was
 *     being written nor one of another journal is believed.
 */
#ifndef DRAX_STORE_COMMIT_NOTE_H
#define DRAX_STORE_COMMIT_NOTE_H

#include "store/fs.h"

typedef struct commit_note commit_note_t;

/* Opens the note at `path`, or makes it, for the journal with `salt`. What fs_t's map says;
 * DRAX_ENOMEM. */
int commit_note_open(commit_note_t **out, const fs_t *fs, const char *path, uint64_t salt);
/* The greatest index noted; 0: none. */
uint64_t commit_note_index(const commit_note_t *self);
/* Notes `index`; one that is not beyond the last is ignored. */
void commit_note_put(commit_note_t *self, uint64_t index);
void commit_note_close(commit_note_t **self);

#endif
