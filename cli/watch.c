#include "cli/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"

static void asked(drax_t *client, call_t *call);
static void stream_lose(drax_watch_t *self);
static void watch_end(drax_watch_t *self, int error, const char *detail, uint64_t compacted);
static void cancel_note(drax_t *client, connection_t *connection, uint64_t id);
static void notes_drop(drax_t *client, const connection_t *connection);

/* ---- who streams ---- */

static drax_watch_t **bucket(drax_t *client, uint64_t id) {
    return &client->watches.streaming[id % CLIENT_WATCH_BUCKETS];
}

static drax_watch_t *watch_find(drax_t *client, const connection_t *connection, uint64_t id) {
    drax_watch_t *watch = *bucket(client, id);
    while (watch && !(watch->id == id && watch->on == connection))
        watch = watch->chain;
    return watch;
}

static void stream_begin(drax_watch_t *self, connection_t *connection, uint64_t id) {
    drax_watch_t **head = bucket(self->client, id);
    self->state = WATCH_STREAMING;
    self->on = connection;
    self->id = id;
    self->chain = *head;
    *head = self;
}

static void stream_end(drax_watch_t *self, watch_state_t next) {
    if (self->state == WATCH_STREAMING) {
        drax_watch_t **at = bucket(self->client, self->id);
        while (*at != self)
            at = &(*at)->chain;
        *at = self->chain;
    }
    self->state = next;
    self->on = NULL;
    self->unpaid = 0; /* a new stream has new credit */
    if (next == WATCH_WAITING)
        self->client->watches.waiting++;
}

/* ---- asking ---- */

void watch_add(drax_t *self, drax_watch_t *watch) {
    watch->client = self;
    watch->state = WATCH_WAITING;
    watch->next = self->watches.first;
    if (watch->next)
        watch->next->previous = watch;
    self->watches.first = watch;
    self->watches.waiting++;
}

static int watch_ask(drax_watch_t *self) {
    drax_options_t options = {.from = self->resume};
    const call_spec_t spec = {.method = self->tree ? "watch_tree" : "watch",
                              .kind = CALL_READ,
                              .options = &options,
                              .param_count = 1,
                              .params = {{PARAM_KEY, {self->key.data, self->key.size}, 0}}};
    int error = client_call_submit(self->client, &spec, client_deadline(UINT64_MAX), &self->call);
    if (error != 0)
        return error;
    self->call->settled = asked;
    self->call->arg = self;
    self->state = WATCH_ASKING;
    self->client->watches.waiting--;
    return 0;
}

void watches_ask(drax_t *self) {
    drax_watch_t *watch = self->watches.first;
    for (; watch && self->watches.waiting > 0; watch = watch->next) {
        if (watch->state != WATCH_WAITING)
            continue;
        if (self->pending_count >= CLIENT_WATCHES_ASKING)
            return;
        int error = watch_ask(watch);
        if (error != 0) {
            self->watches.waiting--;
            watch_end(watch, error, drax_error_text(error), 0);
        }
    }
}

static uint64_t result_uint(const drax_result_t *result, const char *name) {
    return drax_field_uint(drax_field_find(drax_result_map(result), name));
}

/* Takes `*result` over. False when out of memory, after which the stream has a gap. */
static bool batch_add(drax_watch_t *self, drax_result_t **result, const batch_t *like) {
    batch_t *batch = malloc(sizeof *batch);
    if (!batch)
        return false;
    *batch = *like;
    batch->result = *result;
    *result = NULL;
    if (self->batches)
        self->batches_last->next = batch;
    else
        self->batches = batch;
    self->batches_last = batch;
    watch_ready(self);
    return true;
}

static bool pairs_add(drax_watch_t *self, drax_result_t **result, bool counts) {
    const drax_field_t *map = drax_result_map(*result);
    const drax_field_t *pairs = drax_field_find(map, "pairs");
    bool completes = !drax_field_bool(drax_field_find(map, "more"));
    batch_t batch = {.items = pairs,
                     .count = drax_field_count(pairs),
                     .pairs = true,
                     .completes = completes,
                     .counts = counts,
                     .resume = completes ? self->first_next : 0};
    if (!batch_add(self, result, &batch))
        return false;
    self->synced = completes;
    if (completes)
        self->resume = self->first_next;
    return true;
}

/* The answer to watch or watch_tree. */
static void asked(drax_t *client, call_t *call) {
    drax_watch_t *self = call->arg;
    uint64_t id = result_uint(call->result, "watch");
    if (!self) { /* closed meanwhile */
        if (call->error == 0)
            cancel_note(client, call->answered_by, id);
    } else {
        self->call = NULL;
        uint64_t next = result_uint(call->result, "next");
        if (call->error != 0) {
            watch_end(self, call->error, call->detail, call->compacted);
        } else if (next == 0 || id == 0) {
            watch_end(self, DRAX_ERR_PROTOCOL, "a watch without its number or next", 0);
        } else {
            stream_begin(self, call->answered_by, id);
            self->heard_ms = client_now_ms();
            self->first_next = next;
            if (self->synced)
                self->resume = next;
            else if (!pairs_add(self, &call->result, false))
                watch_end(self, DRAX_ERR_NO_MEMORY, NULL, 0);
        }
    }
    call_destroy(&call);
}

/* ---- what comes ---- */

static bool events_add(drax_watch_t *self, drax_result_t **result) {
    const drax_field_t *events = drax_field_find(drax_result_map(*result), "events");
    batch_t batch = {.items = events,
                     .count = drax_field_count(events),
                     .counts = true,
                     .resume = result_uint(*result, "next")};
    if (batch.resume > self->resume)
        self->resume = batch.resume;
    if (batch.count > 0)
        return batch_add(self, result, &batch);
    if (!self->batches) /* all before it has been read */
        self->given = self->resume;
    return true;
}

void watches_receive(drax_t *self, connection_t *connection, answer_t *answer, uint64_t now_ms) {
    const drax_field_t *map = drax_result_map(answer->result);
    drax_watch_t *watch = watch_find(self, connection, result_uint(answer->result, "watch"));
    uint64_t compacted = drax_field_uint(drax_field_find(map, "compacted"));
    bool kept = true;
    if (!watch) {
        drax_result_destroy(&answer->result);
        return;
    }
    watch->heard_ms = now_ms;
    if (compacted > 0 && watch->resume == 0)
        stream_lose(watch); /* too slow for its first state, which begins anew */
    else if (compacted > 0)
        watch_end(watch, DRAX_ERR_COMPACTED, NULL, compacted);
    else if (drax_field_find(map, "pairs"))
        kept = watch->synced || pairs_add(watch, &answer->result, true);
    else
        kept = events_add(watch, &answer->result);
    drax_result_destroy(&answer->result);
    if (!kept)
        watch_end(watch, DRAX_ERR_NO_MEMORY, NULL, 0);
}

static void batch_free(batch_t *batch) {
    drax_result_destroy(&batch->result);
    free(batch);
}

/* The first state begins anew: what was received of it is not to be read twice, but for what has
 * been read already. */
static void first_state_forget(drax_watch_t *self) {
    batch_t *read = self->batches; /* the reader may hold it */
    if (!read)
        return;
    while (read->next) {
        batch_t *next = read->next->next;
        batch_free(read->next);
        read->next = next;
    }
    self->batches_last = read;
    read->count = read->at;
}

static void stream_lose(drax_watch_t *self) {
    stream_end(self, WATCH_WAITING);
    for (batch_t *batch = self->batches; batch; batch = batch->next)
        batch->counts = false;
    if (!self->synced)
        first_state_forget(self);
}

void watches_lost(drax_t *self, const connection_t *connection) {
    for (drax_watch_t *watch = self->watches.first; watch; watch = watch->next)
        if (watch->state == WATCH_STREAMING && watch->on == connection)
            stream_lose(watch);
    notes_drop(self, connection);
}

connection_t *watches_mute(drax_t *self, uint64_t now_ms) {
    if (now_ms < self->watches.check_ms)
        return NULL;
    self->watches.check_ms = now_ms + CLIENT_WATCH_CHECK_MS;
    for (drax_watch_t *watch = self->watches.first; watch; watch = watch->next)
        if (watch->state == WATCH_STREAMING && now_ms >= watch->heard_ms + CLIENT_WATCH_MUTE_MS)
            return watch->on;
    return NULL;
}

static void watch_end(drax_watch_t *self, int error, const char *detail, uint64_t compacted) {
    if (self->state == WATCH_STREAMING && error != DRAX_ERR_COMPACTED)
        cancel_note(self->client, self->on, self->id);
    stream_end(self, WATCH_ENDED);
    self->error = error;
    self->compacted = compacted;
    snprintf(self->detail, sizeof self->detail, "%s",
             detail && detail[0] ? detail : drax_error_text(error));
    watch_ready(self);
}

/* ---- what goes: credit and cancellations ---- */

/* Lost when out of memory: then the watch falls silent, and is asked for anew. */
static note_t *note_add(drax_t *client, connection_t *connection) {
    note_t *note = calloc(1, sizeof *note);
    if (!note)
        return NULL;
    note->on = connection;
    note->next = client->watches.notes; /* their order does not matter */
    client->watches.notes = note;
    if (client->driven || client->wakeup.host_fd >= 0)
        wakeup_send(&client->wakeup);
    return note;
}

/* Its answer names no call and is ignored. */
static void cancel_note(drax_t *client, connection_t *connection, uint64_t id) {
    note_t *note = note_add(client, connection);
    if (!note)
        return;
    pack_array(&note->bytes, 4);
    pack_uint(&note->bytes, 0);
    pack_uint(&note->bytes, 0);
    pack_str(&note->bytes, "watch_cancel");
    pack_array(&note->bytes, 1);
    pack_uint(&note->bytes, id);
}

static void credit_note(drax_watch_t *self) {
    note_t *note = note_add(self->client, self->on);
    if (!note)
        return;
    pack_array(&note->bytes, 3);
    pack_uint(&note->bytes, 2);
    pack_str(&note->bytes, "credit");
    pack_array(&note->bytes, 2);
    pack_uint(&note->bytes, self->id);
    pack_uint(&note->bytes, self->unpaid);
    self->unpaid = 0;
}

static void note_drop(note_t **at) {
    note_t *note = *at;
    *at = note->next;
    buffer_free(&note->bytes);
    free(note);
}

static void notes_drop(drax_t *client, const connection_t *connection) {
    for (note_t **at = &client->watches.notes; *at;) {
        if ((*at)->on == connection)
            note_drop(at);
        else
            at = &(*at)->next;
    }
}

void watches_send(drax_t *self) {
    while (self->watches.notes) {
        const note_t *note = self->watches.notes;
        slice_t bytes = {note->bytes.data, note->bytes.size};
        if (!note->bytes.failed && connection_send(note->on, bytes) != 0)
            return;
        note_drop(&self->watches.notes);
    }
}

/* ---- the reader's side ---- */

void watch_batch_drop(drax_watch_t *self) {
    batch_t *batch = self->batches;
    self->batches = batch->next;
    if (batch->resume > 0)
        self->given = batch->resume;
    if (!self->batches && self->synced)
        self->given = self->resume; /* notifications without events may have come since */
    self->unpaid += batch->counts;
    if (self->state == WATCH_STREAMING && self->unpaid >= CLIENT_WATCH_CREDIT / 2)
        credit_note(self);
    batch_free(batch);
}

void watch_remove(drax_watch_t *self) {
    drax_t *client = self->client;
    if (self->state == WATCH_STREAMING)
        cancel_note(client, self->on, self->id);
    if (self->state == WATCH_WAITING)
        client->watches.waiting--;
    if (self->call)
        self->call->arg = NULL;
    stream_end(self, WATCH_ENDED);
    if (self->previous)
        self->previous->next = self->next;
    else
        client->watches.first = self->next;
    if (self->next)
        self->next->previous = self->previous;
}

void watch_free(drax_watch_t *self) {
    while (self->batches) {
        batch_t *next = self->batches->next;
        batch_free(self->batches);
        self->batches = next;
    }
    buffer_free(&self->key);
    free(self);
}
