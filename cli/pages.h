/* pages.h: a listing of any length, page by page. */
#ifndef DRAX_CLI_PAGES_H
#define DRAX_CLI_PAGES_H

#include <stdbool.h>

#include "drax.h"

typedef struct pages {
    drax_t *drax;
    const void *directory;
    size_t directory_size;
    drax_options_t *options;
    drax_result_t *page; /* owned; NULL before the first */
    uint64_t left;       /* how many pairs may still come; 0 with `limited`: none */
    bool limited;
} pages_t;

/* `directory` is borrowed until pages_end. `limit` 0: none. DRAX_ERR_NO_MEMORY. */
int pages_begin(pages_t *self, drax_t *drax, const void *directory, size_t directory_size,
                bool keys_only, uint64_t limit);

/* The next page, borrowed until the next call; NULL after the last. An error of drax_list: on the
 * first page KEY_NOT_FOUND means that nothing is there; later, that the rest was deleted meanwhile,
 * so it is the end. */
int pages_next(pages_t *self, const drax_result_t **page);

void pages_end(pages_t *self);

#endif
