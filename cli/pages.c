/* pages.c: listing page by page. Each page is linearizable by itself; the listing as a whole is not
 * a snapshot. */
#include "cli/pages.h"

int pages_begin(pages_t *self, drax_t *drax, const void *directory, size_t directory_size,
                bool keys_only, uint64_t limit) {
    *self = (pages_t){.drax = drax,
                      .directory = directory,
                      .directory_size = directory_size,
                      .left = limit,
                      .limited = limit > 0,
                      .options = drax_options_new()};
    if (!self->options)
        return DRAX_ERR_NO_MEMORY;
    drax_options_keys_only_set(self->options, keys_only);
    return 0;
}

int pages_next(pages_t *self, const drax_result_t **page) {
    *page = NULL;
    bool first = !self->page;
    if (!first) {
        size_t count = drax_result_pair_count(self->page), size;
        if (!drax_result_more(self->page) || count == 0 || (self->limited && self->left == 0))
            return 0;
        const void *last = drax_result_pair_key(self->page, count - 1, &size);
        int error = drax_options_after_set(self->options, last, size);
        if (error != 0)
            return error;
        drax_result_destroy(&self->page);
    }
    drax_options_limit_set(self->options, self->left);
    int error =
        drax_list(self->drax, self->directory, self->directory_size, self->options, &self->page);
    if (error != 0)
        return error == DRAX_ERR_KEY_NOT_FOUND && !first ? 0 : error;
    uint64_t count = drax_result_pair_count(self->page);
    self->left = self->left > count ? self->left - count : 0;
    *page = self->page;
    return 0;
}

void pages_end(pages_t *self) {
    drax_result_destroy(&self->page);
    drax_options_destroy(&self->options);
}
