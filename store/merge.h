/* merge.h: one ordered walk over overlay, frozen overlay and kv store, in either direction.
 *
 * Owns: a kv iterator and two places in overlays. A key that several layers know is taken from the
 * first of them; tombstones hide what lies below. A walk is complete among the keys that begin with
 * the same byte as the one sought (overlay.h). While it is open the active overlay must not change.
 * The frozen one and kv may be merged by a flush meanwhile: the answers stay the same.
 */
#ifndef DRAX_STORE_MERGE_H
#define DRAX_STORE_MERGE_H

#include "store/overlay.h"

#define MERGE_LAYERS 2

typedef struct merge {
    overlay_t *layers[MERGE_LAYERS];     /* newest first; NULL: none */
    overlay_node_t *nodes[MERGE_LAYERS]; /* where each layer stands; NULL: at its end */
    kv_iterator_t *kv;
    bool reverse;
    bool valid;
    slice_t key, value; /* of the pair the walk stands at, when `valid` */
} merge_t;

/* DRAX_ENOMEM. The walk stands nowhere at first. */
int merge_open(merge_t *self, overlay_t *overlay, overlay_t *frozen, kv_t *kv);
void merge_close(merge_t *self);

/* Each returns 0, with `valid` telling whether there is a pair, or the error of the kv store. */
int merge_seek(merge_t *self, slice_t key);        /* upwards from the first key >= `key` */
int merge_seek_before(merge_t *self, slice_t key); /* downwards from the last key < `key` */
int merge_next(merge_t *self);                     /* one on, in the direction of the last seek */

#endif
