/* overlay_sort.h: many nodes of an overlay put in order at once. */
#ifndef DRAX_STORE_OVERLAY_SORT_H
#define DRAX_STORE_OVERLAY_SORT_H

#include "store/overlay.h"

/* Sorts by the nodes' keys, which differ. */
void overlay_sort(overlay_sorted_t *nodes, size_t count);

#endif
