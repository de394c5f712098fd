/* storage_watch.c: changes of keys for the gateway's watches: as they come about, while it has
 * subscribed, and past ones when it asks (past.h).
 *
 * Invariant: CHANGES of one subscription follow each other without a gap; where one would be (a
 * snapshot was installed), an empty one says where storage is now.
 */
#include <stdlib.h>
#include <string.h>

#include "actors/storage_internal.h"

/* ---- as they come about ---- */

static int changes_send(storage_actor_t *self) {
    storage_watch_t *watch = &self->watch;
    buffer_t batch = {0};
    batch_begin(&batch, watch->count);
    buffer_append(&batch, watch->changes.data, watch->changes.size);
    message_t message = {.kind = MESSAGE_CHANGES};
    storage_batch_stamp(self, &message);
    message.batch.seq = watch->count ? watch->told : message.batch.revision;
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    buffer_reset(&watch->changes);
    watch->count = 0;
    watch->told = message.batch.revision;
    if (!message.batch.payload)
        return DRAX_ENOMEM;
    self->post->local(self->post->self, ACTOR_GATEWAY, &message);
    return 0;
}

void storage_subscribe(storage_actor_t *self, bool on) {
    self->watch.subscribed = on;
    self->watch.count = 0;
    buffer_reset(&self->watch.changes);
    if (on && changes_send(self))
        self->fatal = DRAX_ENOMEM;
}

int storage_changed(storage_actor_t *self, const entry_t *entry) {
    storage_watch_t *watch = &self->watch;
    history_reader_t reader;
    history_change_t change;
    if (!watch->subscribed)
        return 0;
    int rc = state_changes(self->state, entry, &reader);
    while (rc == 0 && (rc = history_next(&reader, &change)) == 1) {
        buffer_reset(&self->outcome);
        history_change_pack(&self->outcome, &change);
        batch_add(&watch->changes, change.revision,
                  (slice_t){self->outcome.data, self->outcome.size});
        watch->count++;
        rc = self->outcome.failed || watch->changes.failed ? DRAX_ENOMEM : 0;
    }
    return rc;
}

int storage_changes_turn(storage_actor_t *self) {
    return self->watch.count ? changes_send(self) : 0;
}

/* ---- past ones ---- */

void storage_history_receive(storage_actor_t *self, message_t *message) {
    question_item_t *item = calloc(1, sizeof *item);
    if (!item || batch_open(&item->cursor, payload_slice(message->batch.payload)) != 0) {
        free(item);
        self->fatal = DRAX_ENOMEM; /* an answer that never came would leave watches waiting */
        return;
    }
    item->payload = payload_ref(message->batch.payload);
    *self->watch.questions_last = item;
    self->watch.questions_last = &item->next;
}

int storage_entry_find(void *hint, uint64_t index, slice_t *payload) {
    storage_actor_t *self = hint;
    entries_t *run = &self->watch.run;
    bool here =
        run->count && index >= run->items[0].index && index - run->items[0].index < run->count;
    if (!here) {
        entries_clear(run);
        int rc = journal_read(self->journal, index, STORAGE_READ_AHEAD_BYTES, run);
        if (rc)
            return rc;
    }
    *payload = payload_slice(run->items[index - run->items[0].index].payload);
    return 0;
}

static int changes_find(storage_actor_t *self, const past_question_t *question,
                        past_answer_t *out) {
    history_page_t page = {0};
    history_source_t source = {self, storage_entry_find};
    history_query_t query = {.key = question->key,
                             .tree = question->kind == PAST_TREE,
                             .from = question->from,
                             .bytes = LIMIT_EVENTS_BYTES,
                             .scan_bytes = STORAGE_SCAN_BYTES};
    buffer_t *events = &self->watch.events;
    int rc = state_history(self->state, &query, &source, events, &page);
    if (rc == DRAX_ECOMPACTED)
        out->compacted = state_history_first(self->state);
    else if (rc)
        return rc;
    out->next = page.next;
    out->count = page.count;
    out->events = (slice_t){events->data, events->size};
    return 0;
}

/* 1: it wants no answer. */
static int question_answer(storage_actor_t *self, uint64_t token, slice_t bytes, uint64_t now_ms) {
    past_question_t question;
    past_answer_t answer = {0};
    int rc = past_question_read(&question, bytes);
    if (rc)
        return rc;
    if (question.kind == PAST_END) {
        storage_view_close(self, question.from);
        return 1;
    }
    buffer_reset(&self->watch.events);
    rc = question.kind == PAST_PAGE ? storage_view_page(self, question.from, &answer, now_ms)
                                    : changes_find(self, &question, &answer);
    if (rc)
        return rc;
    buffer_reset(&self->outcome);
    past_answer_write(&self->outcome, &answer);
    batch_add(&self->scratch, token, (slice_t){self->outcome.data, self->outcome.size});
    return self->outcome.failed || self->scratch.failed ? DRAX_ENOMEM : 0;
}

static int past_send(storage_actor_t *self, size_t count) {
    buffer_t batch = {0};
    batch_begin(&batch, count);
    buffer_append(&batch, self->scratch.data, self->scratch.size);
    message_t message = {.kind = MESSAGE_PAST};
    storage_batch_stamp(self, &message);
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    if (!message.batch.payload)
        return DRAX_ENOMEM;
    self->post->local(self->post->self, ACTOR_GATEWAY, &message);
    return 0;
}

static void question_drop(storage_actor_t *self) {
    question_item_t *item = self->watch.questions;
    self->watch.questions = item->next;
    if (!item->next)
        self->watch.questions_last = &self->watch.questions;
    payload_unref(&item->payload);
    free(item);
}

int storage_history_turn(storage_actor_t *self, uint64_t now_ms) {
    storage_watch_t *watch = &self->watch;
    size_t count = 0;
    int rc = 0;
    buffer_reset(&self->scratch);
    /* As many as fit into a turn; each costs up to STORAGE_SCAN_BYTES of reading. */
    while (self->state && watch->questions && count < STORAGE_QUESTIONS &&
           self->scratch.size < STORAGE_SCAN_BYTES) {
        uint64_t token;
        slice_t bytes;
        if (batch_next(&watch->questions->cursor, &token, &bytes) != 1) {
            question_drop(self);
            continue;
        }
        rc = question_answer(self, token, bytes, now_ms);
        if (rc < 0) {
            log_error(self->log, "cannot read the history: %s", error_text(rc));
            return rc;
        }
        count += rc == 0;
    }
    entries_clear(&watch->run);
    if (watch->questions)
        self->busy = true;
    return count ? past_send(self, count) : 0;
}

void storage_watch_clear(storage_actor_t *self) {
    self->watch.subscribed = false;
    self->watch.count = 0;
    buffer_free(&self->watch.changes);
    buffer_free(&self->watch.events);
    entries_clear(&self->watch.run);
    while (self->watch.questions)
        question_drop(self);
    storage_views_clear(self);
}
