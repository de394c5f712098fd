/* storage_view.c: first pairs of watches that do not fit in one answer.
 *
 * All pages of a watch must be of one revision, while the state goes on. So what is flushed is
 * looked at: the query waits for a flush that begins after it, which is made at once, and then its
 * pages come from a view of that (state_view.c), one for each question. Snapshots for clients wait
 * for their flush in the same queue (storage_backup.c).
 *
 *   query -- too large --> waits -- flushed --> view: answer with page 1, page 2 … last page
 */
#include <stdlib.h>
#include <string.h>

#include "actors/storage_internal.h"

/* A view that nobody asked about for so long is closed; its watch then ends. */
#define VIEW_IDLE_MS 600000u

/* ---- waiting for a flush ---- */

int storage_view_wait(storage_actor_t *self, uint64_t token, const request_t *request,
                      uint64_t now_ms) {
    view_wait_t *wait = calloc(1, sizeof *wait);
    if (!wait)
        return DRAX_ENOMEM;
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    slice_t prefix = rpc_directory_prefix(request->key, scratch);
    wait->token = token;
    wait->backup = request->method == METHOD_SNAPSHOT;
    wait->applied = state_applied(self->state);
    wait->since_ms = now_ms;
    wait->prefix_size = prefix.size;
    if (prefix.size)
        memcpy(wait->prefix, prefix.data, prefix.size);
    *self->watch.waits_last = wait;
    self->watch.waits_last = &wait->next;
    return 0;
}

bool storage_view_wants_flush(const storage_actor_t *self) {
    return self->watch.waits && state_flushed(self->state) < self->watch.waits->applied;
}

static view_slot_t *slot_free(storage_actor_t *self, uint64_t now_ms) {
    for (size_t i = 0; i < STORAGE_VIEWS; i++) {
        view_slot_t *slot = &self->watch.views[i];
        if (slot->id && now_ms > slot->used_ms + VIEW_IDLE_MS)
            storage_view_close(self, slot->id);
        if (!slot->id)
            return slot;
    }
    return NULL;
}

static void wait_drop(storage_actor_t *self) {
    view_wait_t *wait = self->watch.waits;
    self->watch.waits = wait->next;
    if (!wait->next)
        self->watch.waits_last = &self->watch.waits;
    free(wait);
}

/* ---- pages ---- */

static void number_pack(buffer_t *out, const char *name, uint64_t value) {
    pack_str(out, name);
    pack_uint(out, value);
}

/* As query_watch.c's, of the view's revision. */
static void first_pack(buffer_t *out, const view_slot_t *slot, const buffer_t *pairs, size_t count,
                       bool more) {
    uint64_t revision = state_view_revision(slot->view);
    rpc_success(out);
    pack_map(out, 5);
    number_pack(out, "next", revision + 1);
    number_pack(out, "view", more ? slot->id : 0);
    number_pack(out, "revision", revision);
    pack_str(out, "pairs");
    pack_array(out, count);
    buffer_append(out, pairs->data, pairs->size);
    pack_str(out, "more");
    pack_bool(out, more);
}

static int first_answer(storage_actor_t *self, view_slot_t *slot, uint64_t token, uint64_t now_ms) {
    view_wait_t *wait = self->watch.waits;
    size_t count;
    bool more;
    int rc = state_view_open(self->state, (slice_t){wait->prefix, wait->prefix_size}, &slot->view);
    if (rc)
        return rc;
    slot->id = ++self->watch.view_count;
    slot->used_ms = now_ms;
    buffer_reset(&self->watch.events);
    rc = state_view_page(slot->view, &self->watch.events, &count, &more);
    if (rc)
        return rc;
    buffer_reset(&self->outcome);
    first_pack(&self->outcome, slot, &self->watch.events, count, more);
    batch_add(&self->scratch, token, (slice_t){self->outcome.data, self->outcome.size});
    if (!more)
        storage_view_close(self, slot->id);
    return self->outcome.failed || self->scratch.failed ? DRAX_ENOMEM : 0;
}

static int backup_answer(storage_actor_t *self, uint64_t token, uint64_t now_ms) {
    const request_t begin = {.method = METHOD_SNAPSHOT};
    buffer_reset(&self->outcome);
    int rc = storage_backup_answer(self, &begin, now_ms, &self->outcome);
    batch_add(&self->scratch, token, (slice_t){self->outcome.data, self->outcome.size});
    if (rc)
        return rc;
    return self->outcome.failed || self->scratch.failed ? DRAX_ENOMEM : 0;
}

int storage_view_turn(storage_actor_t *self, uint64_t now_ms) {
    size_t count = 0;
    buffer_reset(&self->scratch);
    while (self->watch.waits && self->scratch.size < STORAGE_ANSWER_BYTES) {
        view_wait_t *wait = self->watch.waits;
        if (now_ms > wait->since_ms + STORAGE_QUERY_MS) {
            wait_drop(self); /* the gateway gave up long ago */
            continue;
        }
        view_slot_t *slot = wait->backup ? NULL : slot_free(self, now_ms);
        if ((!wait->backup && !slot) || state_flushed(self->state) < wait->applied)
            break;
        int rc = wait->backup ? backup_answer(self, wait->token, now_ms)
                              : first_answer(self, slot, wait->token, now_ms);
        if (rc) {
            log_error(self->log, "cannot open a view or snapshot: %s", error_text(rc));
            return rc;
        }
        wait_drop(self);
        count++;
    }
    return storage_answer_send(self, 0, count);
}

static view_slot_t *slot_find(storage_actor_t *self, uint64_t id) {
    for (size_t i = 0; i < STORAGE_VIEWS; i++)
        if (id && self->watch.views[i].id == id)
            return &self->watch.views[i];
    return NULL;
}

int storage_view_page(storage_actor_t *self, uint64_t id, past_answer_t *out, uint64_t now_ms) {
    view_slot_t *slot = slot_find(self, id);
    out->compacted = slot ? 0 : state_history_first(self->state);
    if (!slot)
        return 0;
    slot->used_ms = now_ms;
    buffer_t *pairs = &self->watch.events;
    int rc = state_view_page(slot->view, pairs, &out->count, &out->more);
    out->next = state_view_revision(slot->view) + 1;
    out->events = (slice_t){pairs->data, pairs->size};
    if (!out->more)
        storage_view_close(self, id);
    return rc;
}

/* ---- ending ---- */

void storage_view_close(storage_actor_t *self, uint64_t id) {
    view_slot_t *slot = slot_find(self, id);
    if (!slot)
        return;
    state_view_close(self->state, &slot->view);
    memset(slot, 0, sizeof *slot);
}

void storage_views_close(storage_actor_t *self) {
    for (size_t i = 0; i < STORAGE_VIEWS; i++)
        storage_view_close(self, self->watch.views[i].id);
}

void storage_views_clear(storage_actor_t *self) {
    storage_views_close(self);
    while (self->watch.waits)
        wait_drop(self);
}
