/* page.h: a page of pairs in an answer.
 *
 * Invariant: a page holds at most about LIMIT_PAGE_BYTES of pairs, or one pair: what is built stays
 * small whatever is asked for, with or without a limit.
 */
#ifndef DRAX_STORE_PAGE_H
#define DRAX_STORE_PAGE_H

#include "store/state_internal.h"

typedef struct page {
    buffer_t *pairs; /* packed */
    size_t count;
    uint64_t limit; /* 0: none */
    bool keys_only;
    bool full; /* `more` */
} page_t;

/* An empty page, in the state's own buffer: one at a time. */
page_t page_begin(state_t *self, const request_t *request);
/* Adds a pair of the state as it is stored, or marks the page full. DRAX_ECORRUPT, DRAX_ENOMEM. */
int page_add(page_t *self, slice_t key, slice_t bytes);
/* `"pairs": [...]`, into a map that the caller has begun. */
void page_write(const page_t *self, buffer_t *out);
/* One more key is gone over. DRAX_ETOOLARGE: too many (keys_left). */
int page_key_take(state_t *state);
/* Adds what lies in the directory from where the walk stands on, until the page is full. `prefix`
 * is that of the stored keys. DRAX_ETOOLARGE as well. */
int page_fill(page_t *self, state_t *state, merge_t *walk, slice_t prefix);
bool key_prefixed(slice_t key, slice_t prefix);

#endif
