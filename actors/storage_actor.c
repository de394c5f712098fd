/* storage_actor.c: the storage actor's life, messages and turns.
 *
 * Owns: the order of the work in a turn, when the next one is due, and how the actor ends. Must not
 * know: how any of that work is done (storage_internal.h has the map).
 */
#include "actors/storage_actor.h"

#include <stdio.h>
#include <stdlib.h>

#include "actors/storage_internal.h"

/* ---- messages and turns ---- */

static void storage_receive(void *hint, message_t *message, uint64_t now_ms) {
    storage_actor_t *self = hint;
    self->now_ms = now_ms;
    switch (message->kind) {
    case MESSAGE_OPEN:
        storage_open_receive(self);
        break;
    case MESSAGE_FORMAT:
        if (!self->formatted)
            self->fatal = storage_format(self, &message->format);
        break;
    case MESSAGE_WRITE:
        storage_write_receive(self, message);
        break;
    case MESSAGE_FETCH:
        storage_fetch(self, message);
        break;
    case MESSAGE_READ_READY:
        storage_read_ready(self, message);
        break;
    case MESSAGE_CLOCK:
        self->clock_ms = message->clock.time_ms;
        self->clock_at_ms = now_ms;
        self->leader = message->clock.leader;
        break;
    case MESSAGE_QUERY:
        storage_query_receive(self, message, now_ms);
        break;
    case MESSAGE_SUBSCRIBE:
        storage_subscribe(self, message->subscribe.on);
        break;
    case MESSAGE_HISTORY:
        storage_history_receive(self, message);
        break;
    case MESSAGE_SNAPSHOT_FETCH:
        storage_snapshot_fetch(self, message, now_ms);
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        storage_snapshot_chunk(self, message);
        break;
    default:
        log_warning(self->log, "unexpected message kind=%s", message_kind_name(message->kind));
    }
    message_clear(message);
}

static void storage_neighbour(void *hint, actor_t neighbour, uint64_t now_ms) {
    storage_actor_t *self = hint;
    if (neighbour == ACTOR_RAFT) {
        self->opened = false;
        self->leader = false;
        storage_writes_clear(self);
    } else if (neighbour == ACTOR_GATEWAY) {
        storage_queries_clear(self);
        storage_watch_clear(self);
        self->status_ms = now_ms;
        self->status_applied = UINT64_MAX; /* tell it at once */
    }
}

bool storage_settled(const storage_actor_t *self) {
    return !self->settle_ms;
}

static void settle_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->settle_ms)
        return;
    if (self->settle_ms == UINT64_MAX)
        self->settle_ms = now_ms + STORAGE_SETTLE_MS;
    uint64_t last =
        journal_last_index(self->journal); /* a new leader may have cut the journal's end */
    uint64_t wanted = self->settle_index < last ? self->settle_index : last;
    uint64_t applied = state_applied(self->state);
    if (applied >= wanted || (applied >= self->settle_floor && now_ms >= self->settle_ms))
        self->settle_ms = 0;
}

static bool status_news(const storage_actor_t *self) {
    uint64_t applied = self->state ? state_applied(self->state) : 0;
    uint64_t first = self->state ? state_history_first(self->state) : 1;
    return self->status_applied != applied || self->status_first != first;
}

static void status_turn(storage_actor_t *self, uint64_t now_ms) {
    if (now_ms < self->status_ms || !storage_settled(self) || !status_news(self))
        return;
    self->status_ms = now_ms + STORAGE_STATUS_MS;
    self->status_applied = self->state ? state_applied(self->state) : 0;
    self->status_first = self->state ? state_history_first(self->state) : 1;
    message_t message = {.kind = MESSAGE_STORE_STATUS};
    storage_batch_stamp(self, &message);
    message.batch.seq = self->status_first;
    self->post->local(self->post->self, ACTOR_GATEWAY, &message);
}

static int turn(storage_actor_t *self, uint64_t now_ms) {
    self->now_ms = now_ms;
    self->busy = false;
    if (self->fatal)
        return self->fatal;
    /* What can be answered does not wait for the disk; others work on it meanwhile. */
    int rc = self->writes ? storage_query_turn(self, now_ms) : 0;
    if (rc == 0)
        rc = storage_snapshot_turn(self, now_ms);
    if (rc == 0)
        rc = storage_write_turn(self, now_ms);
    if (rc == 0)
        rc = storage_apply_turn(self, now_ms);
    if (rc == 0)
        rc = storage_changes_turn(self);
    settle_turn(self, now_ms);
    if (rc == 0)
        rc = storage_query_turn(self, now_ms);
    if (rc == 0)
        rc = storage_history_turn(self, now_ms);
    if (rc == 0 && self->state)
        rc = storage_view_turn(self, now_ms);
    if (rc)
        return rc;
    storage_expire_turn(self, now_ms);
    storage_flush_turn(self, now_ms);
    storage_reserve_turn(self, now_ms);
    if (self->written_changed || (self->written_ms && now_ms >= self->written_ms))
        storage_written_send(self);
    status_turn(self, now_ms);
    return self->fatal;
}

static int storage_turn(void *hint, uint64_t now_ms) {
    storage_actor_t *self = hint;
    char detail[LIMIT_PATH_BYTES + 128] = "";
    int rc = turn(self, now_ms);
    if (rc == DRAX_ECORRUPT && self->state)
        state_detail(self->state, detail, sizeof detail);
    if (detail[0])
        log_error(self->log, "%s", detail);
    return rc;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t storage_deadline(const void *hint, uint64_t now_ms) {
    const storage_actor_t *self = hint;
    if (self->busy)
        return now_ms;
    uint64_t at = UINT64_MAX;
    if (self->dirty_ms && !self->flushing)
        at = earlier(at, storage_flush_ms(self));
    if (self->release_ms && !self->flushing)
        at = earlier(at, self->release_ms);
    if (self->write_blocked)
        at = earlier(at, self->retry_ms);
    if (self->written_ms)
        at = earlier(at, self->written_ms);
    if (storage_gateway_awaited_ms(self, now_ms))
        at = earlier(at, storage_gateway_awaited_ms(self, now_ms));
    if (self->settle_ms)
        at = earlier(at, self->settle_ms);
    else if (self->state && status_news(self))
        at = earlier(at, self->status_ms);
    if (self->opened && self->leader && self->state && state_has_expiries(self->state))
        at = earlier(at, now_ms + 50);
    if (self->reserve_retry_ms > now_ms)
        at = earlier(at, self->reserve_retry_ms);
    return at;
}

static void storage_stop(void *hint, uint64_t now_ms) {
    storage_actor_t *self = hint;
    (void) now_ms;
    self->stopping = true;
}

/* Stopped when all that was applied is flushed, so that the next start has nothing to replay; a
 * full disk does not hold it up, as the journal has everything. */
static bool storage_stopped(const void *hint) {
    const storage_actor_t *self = hint;
    bool clean = !self->dirty_ms && !self->flushing;
    return self->stopping && (clean || self->flush_no_space) && !self->reserve;
}

static bool storage_ready(const void *hint) {
    (void) hint;
    return true; /* made is opened */
}

const actor_ops_t storage_actor_ops = {
    .neighbour = storage_neighbour,
    .receive = storage_receive,
    .turn = storage_turn,
    .deadline = storage_deadline,
    .stop = storage_stop,
    .stopped = storage_stopped,
    .ready = storage_ready,
};

/* ---- life ---- */

static int leveldb_open(void *hint, kv_t **out, const char *directory, bool create) {
    (void) hint;
    return kv_leveldb_open(out, directory, create);
}

int storage_actor_new(storage_actor_t **out, const storage_options_t *options, char *detail,
                      size_t detail_size) {
    *out = NULL;
    detail[0] = '\0';
    storage_actor_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->options = *options;
    if (!self->options.kv_open)
        self->options.kv_open = leveldb_open;
    if (!self->options.keep_bytes)
        self->options.keep_bytes = JOURNAL_KEEP_BYTES;
    if (!self->options.keep_revisions)
        self->options.keep_revisions = JOURNAL_KEEP_REVISIONS;
    if (!self->options.chunk_bytes)
        self->options.chunk_bytes = SNAPSHOT_CHUNK_BYTES;
    if (!self->options.flush_ms)
        self->options.flush_ms = STATE_FLUSH_MS;
    self->post = options->post;
    self->log = options->log;
    snprintf(self->home, sizeof self->home, "%s", options->home);
    self->queries_last = &self->queries;
    self->watch.questions_last = &self->watch.questions;
    self->watch.waits_last = &self->watch.waits;
    self->watch.view_count = options->seed & (LIMIT_INTEGER >> 1); /* not those of another life */
    self->status_first = 1;
    int rc = worker_new(&self->flusher, options->workers);
    if (rc == 0)
        rc = worker_new(&self->reserver, options->workers);
    if (rc == 0)
        rc = storage_home_open(self, detail, detail_size);
    if (rc) {
        storage_actor_destroy(&self);
        return rc;
    }
    *out = self;
    return 0;
}

void storage_actor_destroy(storage_actor_t **self_p) {
    storage_actor_t *self = *self_p;
    if (!self)
        return;
    worker_destroy(&self->flusher);
    worker_destroy(&self->reserver);
    if (self->state)
        storage_snapshots_clear(self);
    storage_writes_clear(self);
    storage_queries_clear(self);
    storage_watch_clear(self);
    tail_clear(&self->tail);
    state_close(&self->state);
    commit_note_close(&self->note);
    journal_close(&self->journal);
    buffer_free(&self->scratch);
    buffer_free(&self->outcome);
    free(self);
    *self_p = NULL;
}

worker_t *storage_actor_flusher(storage_actor_t *self) {
    return self->flusher;
}

worker_t *storage_actor_reserver(storage_actor_t *self) {
    return self->reserver;
}
