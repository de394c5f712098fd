/* state_view.c: the keys of a directory as they were at one flush, page by page, while the state
 * goes on: the first pairs of a watch that do not fit in one answer.
 */
#include <stdlib.h>

#include "broker/error.h"
#include "store/page.h"

struct state_view {
    kv_snapshot_t *snapshot;
    kv_iterator_t *at; /* the first pair that is on no page yet */
    uint64_t revision;
    record_key_t prefix;
};

/* The meta record as the view sees it. DRAX_ENOTFOUND: nothing was ever flushed. */
static int revision_load(state_view_t *self) {
    static const uint8_t meta_key[] = {PREFIX_META};
    slice_t key = {meta_key, sizeof meta_key};
    meta_t meta;
    kv_iterator_seek(self->at, key);
    if (!kv_iterator_valid(self->at) || kv_key_compare(kv_iterator_key(self->at), key) != 0) {
        int rc = kv_iterator_error(self->at);
        return rc ? rc : DRAX_ENOTFOUND;
    }
    int rc = meta_decode(&meta, kv_iterator_value(self->at));
    self->revision = meta.revision;
    return rc;
}

int state_view_open(state_t *self, slice_t prefix, state_view_t **out) {
    *out = NULL;
    state_view_t *view = calloc(1, sizeof *view);
    if (!view)
        return DRAX_ENOMEM;
    record_key_user(&view->prefix, prefix);
    int rc = DRAX_ENOMEM;
    view->snapshot = kv_snapshot_new(self->kv);
    if (view->snapshot)
        view->at = kv_iterator_new(self->kv, view->snapshot);
    if (view->at)
        rc = revision_load(view);
    if (rc) {
        state_view_close(self, &view);
        return rc;
    }
    kv_iterator_seek(view->at, record_key(&view->prefix));
    *out = view;
    return 0;
}

void state_view_close(state_t *self, state_view_t **view) {
    state_view_t *old = *view;
    *view = NULL;
    if (!old)
        return;
    kv_iterator_destroy(&old->at);
    kv_snapshot_destroy(self->kv, &old->snapshot);
    free(old);
}

uint64_t state_view_revision(const state_view_t *self) {
    return self->revision;
}

int state_view_page(state_view_t *self, buffer_t *out, size_t *count, bool *more) {
    page_t page = {.pairs = out};
    int rc = 0;
    slice_t prefix = record_key(&self->prefix);
    while (rc == 0 && kv_iterator_valid(self->at) &&
           key_prefixed(kv_iterator_key(self->at), prefix)) {
        rc = page_add(&page, kv_iterator_key(self->at), kv_iterator_value(self->at));
        if (page.full)
            break;
        kv_iterator_next(self->at);
    }
    *count = page.count;
    *more = page.full;
    return rc ? rc : kv_iterator_error(self->at);
}
