/* query_watch.c: how a watch begins: what is there now, or a place in history.
 *
 *   outcome = nil, {next, view, revision, pairs}
 *           | nil, {next, revision, pairs, more?, events}    with wait_ms and without from
 *
 * The second one is the whole answer: pairs that do not fit in a page are left out, and `more` is
 * true. The first one the gateway makes an answer of, so `next` and `view` stand where it finds
 * them; `view` is 0 here, as pairs that do not fit in a page need a view (state_view.c).
 */
#include "broker/error.h"
#include "store/page.h"

static void number_write(buffer_t *out, const char *name, uint64_t value) {
    pack_str(out, name);
    pack_uint(out, value);
}

static int key_fill(state_t *self, const request_t *request, page_t *page) {
    user_t user;
    int rc = user_load(self, request->key, &user);
    if (rc || !user.exists)
        return rc;
    return page_add(page, record_key(&user.key), user.at.value);
}

static int tree_fill(state_t *self, const request_t *request, page_t *page) {
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    record_key_t prefix;
    merge_t walk;
    record_key_user(&prefix, rpc_directory_prefix(request->key, scratch));
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = merge_seek(&walk, record_key(&prefix));
    if (rc == 0)
        rc = page_fill(page, self, &walk, record_key(&prefix));
    merge_close(&walk);
    return rc;
}

int watch_answer(state_t *self, const request_t *request, buffer_t *out) {
    if (request->from && request->from < state_history_first(self)) {
        rpc_compacted(out, state_history_first(self));
        return 0;
    }
    page_t page = page_begin(self, request);
    int rc = 0;
    if (!request->from)
        rc = request->method == METHOD_WATCH ? key_fill(self, request, &page)
                                             : tree_fill(self, request, &page);
    if (rc)
        return rc;
    bool whole = request->has_wait && !request->from;
    if (page.full && !whole)
        return DRAX_ETOOLARGE;
    rpc_success(out);
    pack_map(out, 4u + page.full);
    number_write(out, "next", request->from ? request->from : self->meta.revision + 1);
    if (!whole)
        number_write(out, "view", 0);
    number_write(out, "revision", self->meta.revision);
    page_write(&page, out);
    if (page.full) {
        pack_str(out, "more");
        pack_bool(out, true);
    }
    if (whole) {
        pack_str(out, "events");
        pack_array(out, 0);
    }
    return 0;
}
