/* watch_read.c: watches as programs have them: opened, read by a thread that waits or by callbacks,
 * closed.
 *
 * What an event points to lies in the first batch, which stays until the next event is asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/watch.h"

static int watch_open(drax_t *client, const void *key, size_t size, bool tree, uint64_t from,
                      drax_watch_t **out) {
    *out = NULL;
    if (!key && size > 0)
        return DRAX_ERR_USAGE;
    drax_watch_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ERR_NO_MEMORY;
    buffer_append(&self->key, key, size);
    if (self->key.failed) {
        free(self);
        return DRAX_ERR_NO_MEMORY;
    }
    self->tree = tree;
    self->resume = self->given = from;
    (void) pthread_mutex_lock(&client->lock);
    watch_add(client, self);
    if (client->driven || client->wakeup.host_fd >= 0)
        wakeup_send(&client->wakeup);
    (void) pthread_mutex_unlock(&client->lock);
    *out = self;
    return 0;
}

int drax_watch(drax_t *self, const void *key, size_t key_size, uint64_t from, drax_watch_t **out) {
    return watch_open(self, key, key_size, false, from, out);
}

int drax_watch_tree(drax_t *self, const void *directory, size_t directory_size, uint64_t from,
                    drax_watch_t **out) {
    return watch_open(self, directory, directory_size, true, from, out);
}

/* Takes it out of those with something for their callback. */
static void ready_remove(drax_watch_t *self) {
    drax_watch_t **at = &self->client->watches.ready;
    while (*at && *at != self)
        at = &(*at)->ready_next;
    if (*at)
        *at = self->ready_next;
    self->in_ready = false;
}

void drax_watch_close(drax_watch_t **self_p) {
    drax_watch_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    drax_t *client = self->client;
    (void) pthread_mutex_lock(&client->lock);
    watch_remove(self);
    if (self->in_ready)
        ready_remove(self);
    client->watches.with_callback -= self->event != NULL;
    /* Closed by its own callback: the event that this was given is still read. */
    self->closed = self->calling;
    bool free_now = !self->calling;
    (void) pthread_mutex_unlock(&client->lock);
    if (free_now)
        watch_free(self);
}

uint64_t drax_watch_from(drax_watch_t *self) {
    (void) pthread_mutex_lock(&self->client->lock);
    uint64_t from = self->given;
    const batch_t *batch = self->batches;
    if (batch && !batch->pairs && batch->at > 0 && batch->at < batch->count)
        from = drax_field_uint(drax_field_find(drax_field_at(batch->items, batch->at), "index"));
    else if (batch && batch->resume > 0 && batch->at == batch->count &&
             (!batch->completes || batch->told))
        from = batch->resume;
    (void) pthread_mutex_unlock(&self->client->lock);
    return from;
}

uint64_t drax_watch_compacted(drax_watch_t *self) {
    (void) pthread_mutex_lock(&self->client->lock);
    uint64_t compacted = self->compacted;
    (void) pthread_mutex_unlock(&self->client->lock);
    return compacted;
}

/* ---- events ---- */

static drax_event_type_t event_type(const drax_field_t *event) {
    size_t size;
    const char *type = drax_field_bytes(drax_field_find(event, "type"), &size);
    if (type && size == 6 && memcmp(type, "delete", 6) == 0)
        return DRAX_EVENT_DELETE;
    if (type && size == 6 && memcmp(type, "expire", 6) == 0)
        return DRAX_EVENT_EXPIRE;
    return DRAX_EVENT_PUT;
}

static void event_read(drax_event_t *out, const drax_field_t *item, bool pair) {
    *out = (drax_event_t){.type = pair ? DRAX_EVENT_CURRENT : event_type(item),
                          .index = drax_field_uint(drax_field_find(item, "index"))};
    out->key = drax_field_bytes(drax_field_find(item, "key"), &out->key_size);
    out->value = drax_field_bytes(drax_field_find(item, "value"), &out->value_size);
}

/* The next event; false: there is none yet. */
static bool event_take(drax_watch_t *self, drax_event_t *out) {
    for (;;) {
        batch_t *batch = self->batches;
        if (!batch)
            return false;
        if (batch->at < batch->count) {
            event_read(out, drax_field_at(batch->items, batch->at++), batch->pairs);
            return true;
        }
        if (batch->completes && !batch->told) {
            batch->told = true;
            *out = (drax_event_t){.type = DRAX_EVENT_SYNCED};
            return true;
        }
        watch_batch_drop(self);
    }
}

static bool watch_has(const drax_watch_t *self) {
    if (self->state == WATCH_ENDED)
        return true;
    const batch_t *batch = self->batches;
    for (; batch; batch = batch->next)
        if (batch->at < batch->count || (batch->completes && !batch->told))
            return true;
    return false;
}

void watch_ready(drax_watch_t *self) {
    drax_t *client = self->client;
    client->outcomes++;
    if (!self->event) {
        client_waiters_tell(client, self);
        return;
    }
    if (self->in_ready)
        return;
    drax_watch_t **last = &client->watches.ready;
    while (*last)
        last = &(*last)->ready_next;
    *last = self;
    self->ready_next = NULL;
    self->in_ready = true;
    wakeup_done_set(&client->wakeup, true);
    client_waiters_tell(client, NULL);
}

static bool has_event(const drax_t *client, const void *hint) {
    (void) client;
    return watch_has(hint);
}

int drax_watch_next(drax_watch_t *self, uint64_t timeout_ms, drax_event_t *out) {
    drax_t *client = self->client;
    int error = 0;
    (void) pthread_mutex_lock(&client->lock);
    if (self->event)
        error = DRAX_ERR_USAGE;
    else
        client_drive_until(client, has_event, self, client_deadline(timeout_ms));
    if (error == 0 && !event_take(self, out)) {
        error = self->state == WATCH_ENDED ? self->error : DRAX_ERR_TIMEOUT;
        snprintf(client->detail, sizeof client->detail, "%s",
                 self->state == WATCH_ENDED ? self->detail : drax_error_text(error));
    }
    (void) pthread_mutex_unlock(&client->lock);
    return error;
}

/* ---- callbacks ---- */

int drax_watch_event_set(drax_watch_t *self, drax_event_fn *event, void *arg) {
    if (!event)
        return DRAX_ERR_USAGE;
    drax_t *client = self->client;
    (void) pthread_mutex_lock(&client->lock);
    client->watches.with_callback += self->event == NULL;
    self->event = event;
    self->arg = arg;
    if (watch_has(self))
        watch_ready(self);
    (void) pthread_mutex_unlock(&client->lock);
    return 0;
}

bool watches_ready(const drax_t *self) {
    return self->watches.ready != NULL;
}

/* One callback for the first watch that is not in one. With the lock held, which is free meanwhile;
 * false: there was none to make. */
static bool deliver_one(drax_t *client) {
    drax_watch_t **at = &client->watches.ready;
    while (*at && (*at)->calling)
        at = &(*at)->ready_next;
    drax_watch_t *self = *at;
    if (!self)
        return false;
    *at = self->ready_next; /* those behind it come first, then it again */
    self->in_ready = false;
    drax_event_t event;
    bool has = event_take(self, &event);
    if (!has && (self->state != WATCH_ENDED || self->end_told))
        return true;
    self->end_told = !has;
    self->calling = true;
    (void) pthread_mutex_unlock(&client->lock);
    self->event(self->arg, self, has ? 0 : self->error, has ? &event : NULL);
    (void) pthread_mutex_lock(&client->lock);
    self->calling = false;
    if (self->closed)
        watch_free(self);
    else if (watch_has(self) && !self->end_told)
        watch_ready(self);
    return true;
}

int watches_deliver(drax_t *self) {
    unsigned count = 0;
    (void) pthread_mutex_lock(&self->lock);
    while (count < CLIENT_TURN_MESSAGES && deliver_one(self))
        count++;
    (void) pthread_mutex_unlock(&self->lock);
    return (int) count;
}

void watches_close(drax_t *self) {
    while (self->watches.first) {
        drax_watch_t *watch = self->watches.first;
        drax_watch_close(&watch);
    }
    for (size_t i = 0; i < self->connection_count; i++)
        watches_lost(self, &self->connections[i]);
}
