/* large.h: the large values of an ordered store, each in a file of its own (large_file.h).
 *
 * Owns: the directory of these files, and which key has which of them. Must not know: the store
 * that keeps the references, but that it changes by batches. It serves kv_leveldb_write.c, in this
 * order:
 *
 *   large_put      writes and syncs a value's file under a temporary name; the reference goes into
 *                  the batch
 *   large_publish  the batch's files get their names, durably; then the store writes the batch
 *   large_changed  for each pair of the batch, once that is durable: the file that the key had
 *                  before is not needed any more
 *   large_reclaim  what is not needed, and no view can see, goes, or is kept to be written over
 *
 * A file under a temporary name is never referred to; one with a name was synced whole before it
 * got it. So after a crash files without a reference are left at worst, and large_recover removes
 * them. Calls may come from several threads, but those for batches and large_recover from one at a
 * time, as large_put for the same batch.
 */
#ifndef DRAX_STORE_LARGE_H
#define DRAX_STORE_LARGE_H

#include "store/large_file.h"

typedef struct large large_t;

/* The files of one batch. All zeros at first. */
typedef struct large_batch {
    struct large_made *made;
    size_t count, capacity;
    int failed; /* the first error of large_put */
} large_batch_t;

/* Keeps alive what was referred to when it was opened. */
typedef struct large_view {
    struct large_view *previous, *next;
    uint64_t epoch;
} large_view_t;

/* For the directory at `path`, which is made with the first file. Values beyond `threshold` are
 * large. `fs` is copied. DRAX_ENOMEM, DRAX_EINVAL: the path is too long. */
int large_open(large_t **out, const fs_t *fs, const char *path, size_t threshold);
/* No view may be open. */
void large_close(large_t **self);

/* The record that the store has under `key`, into `record`, or DRAX_ENOTFOUND. */
typedef int large_lookup_fn(void *hint, slice_t key, buffer_t *record);
/* Looks which files the store refers to, and removes the others: after opening, and again when it
 * is not known whether a batch was written. No view may be open. Damaged files stay where they are.
 */
int large_recover(large_t *self, large_lookup_fn *lookup, void *hint);

/* Must the value have a file? Also when the store would take it for a reference. */
bool large_wanted(const large_t *self, slice_t value);
/* DRAX_ENOSPC, DRAX_EIO, DRAX_ENOMEM: said again by large_publish; nothing is left of the file. */
int large_put(large_t *self, large_batch_t *batch, slice_t key, slice_t value,
              uint8_t reference[LARGE_REFERENCE_BYTES]);
int large_publish(large_t *self, large_batch_t *batch);
/* Forgets the batch's files, which are the store's from here on; `removing`: it has none of them,
 * and they go. */
void large_batch_end(large_t *self, large_batch_t *batch, bool removing);

/* Are there any? Else large_changed needs not be called for pairs without a reference. */
bool large_any(const large_t *self);
/* `record`: what the batch put under `key`; size 0 when it deleted it. DRAX_ENOMEM: large_recover
 * has to be called before the next batch. */
int large_changed(large_t *self, const large_batch_t *batch, slice_t key, slice_t record);
void large_reclaim(large_t *self);

/* To be opened before the store is looked at. */
void large_view_open(large_t *self, large_view_t *view);
void large_view_close(large_t *self, large_view_t *view);
bool large_viewed(large_t *self); /* is any open? */

/* Appends the value that `record`, a reference, stands for. DRAX_ECORRUPT: it is damaged, or the
 * file is gone or another's because the key was written meanwhile; then the store has another
 * record by now, unless it is read under a view. */
int large_read(large_t *self, slice_t key, slice_t record, buffer_t *value);
/* What was wrong with the file that gave DRAX_ECORRUPT last, with its path; empty: none did. */
void large_detail(large_t *self, char *out, size_t size);

#endif
