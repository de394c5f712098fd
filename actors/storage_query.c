/* storage_query.c: reads. A linearizable one waits until raft has named an index that is safe for
 * it (READ_READY) and the state has got there; or its gateway does that, compares the index with
 * where the state was at its answer, and if need be asks again with the index. A stale one is
 * answered at once. */
#include <stdlib.h>
#include <string.h>

#include "actors/storage_internal.h"

void storage_batch_stamp(const storage_actor_t *self, message_t *message) {
    message->batch.no_space = storage_no_space(self);
    if (!self->state)
        return;
    message->batch.revision = state_revision(self->state);
    message->batch.applied = state_applied(self->state);
    message->batch.digest = state_digest(self->state);
}

static void query_free(query_item_t *item) {
    message_clear(&item->message);
    free(item);
}

void storage_queries_clear(storage_actor_t *self) {
    while (self->queries) {
        query_item_t *next = self->queries->next;
        query_free(self->queries);
        self->queries = next;
    }
    self->queries_last = &self->queries;
    self->ready_id = 0;
    self->ready_index = 0;
}

void storage_query_receive(storage_actor_t *self, message_t *message, uint64_t now_ms) {
    query_item_t *item = calloc(1, sizeof *item);
    if (!item)
        return; /* the gateway's deadline answers it */
    item->message = *message;
    item->received_ms = now_ms;
    memset(message, 0, sizeof *message);
    *self->queries_last = item;
    self->queries_last = &item->next;
}

void storage_read_ready(storage_actor_t *self, const message_t *message) {
    if (message->read.boot != self->post->boot(self->post->self, ACTOR_GATEWAY))
        return;
    /* An index that is safe for a later read is safe for the earlier ones too. */
    if (message->read.read_id > self->ready_id)
        self->ready_id = message->read.read_id;
    if (message->read.index > self->ready_index)
        self->ready_index = message->read.index;
}

static bool query_safe(const storage_actor_t *self, const query_item_t *item) {
    if (!self->state)
        return false;
    uint64_t read_id = item->message.batch.read_id;
    if (item->message.batch.applied)
        return state_applied(self->state) >= item->message.batch.applied;
    if (read_id == 0)
        return item->message.batch.seq || storage_settled(self);
    return read_id <= self->ready_id && state_applied(self->state) >= self->ready_index;
}

int storage_answer_send(storage_actor_t *self, uint64_t seq, size_t count) {
    if (!count)
        return 0;
    buffer_t batch = {0};
    batch_begin(&batch, count);
    buffer_append(&batch, self->scratch.data, self->scratch.size);
    message_t message = {.kind = MESSAGE_ANSWER, .batch = {.seq = seq}};
    storage_batch_stamp(self, &message);
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    if (!message.batch.payload)
        return DRAX_ENOMEM;
    self->post->local(self->post->self, ACTOR_GATEWAY, &message);
    return 0;
}

/* 1: it is answered later. */
static int query_answer(storage_actor_t *self, uint64_t token, slice_t bytes, uint64_t now_ms) {
    request_t request;
    rpc_error_t error;
    buffer_reset(&self->outcome);
    if (request_decode(bytes, &request, &error) != 0 ||
        method_kind(request.method) != METHOD_KIND_READ) {
        rpc_failure(&self->outcome, RPC_INVALID_ARGUMENT, "not a read");
    } else if (request.method == METHOD_SNAPSHOT && (request.snapshot || request.chunk)) {
        int rc = storage_backup_answer(self, &request, now_ms, &self->outcome);
        if (rc) {
            log_error(self->log, "cannot read a snapshot: %s", error_text(rc));
            return rc;
        }
    } else {
        int rc = state_query(self->state, &request, storage_time_ms(self, now_ms), &self->outcome);
        if (rc == DRAX_ETOOLARGE) {
            rc = storage_view_wait(self, token, &request, now_ms);
            return rc ? rc : 1;
        }
        if (rc) {
            log_error(self->log, "query failed: %s", error_text(rc));
            return rc;
        }
    }
    batch_add(&self->scratch, token, (slice_t){self->outcome.data, self->outcome.size});
    return self->outcome.failed || self->scratch.failed ? DRAX_ENOMEM : 0;
}

/* Answers what is left of one query message, as far as the budget goes. 1: there is more of it. */
static int item_answer(storage_actor_t *self, query_item_t *item, size_t *budget, uint64_t now_ms) {
    if (!item->begun) {
        item->begun = true;
        if (batch_open(&item->cursor, payload_slice(item->message.batch.payload)) != 0)
            return 0;
    }
    uint64_t seq = item->message.batch.seq;
    size_t count = 0;
    int rc = 0;
    buffer_reset(&self->scratch);
    while (rc >= 0 && self->scratch.size < *budget) {
        uint64_t token;
        slice_t bytes;
        int more = batch_next(&item->cursor, &token, &bytes);
        if (more <= 0) {
            *budget -= self->scratch.size;
            return storage_answer_send(self, seq, count);
        }
        rc = query_answer(self, token, bytes, now_ms);
        count += rc == 0;
    }
    if (rc < 0)
        return rc;
    *budget = 0;
    rc = storage_answer_send(self, seq, count);
    return rc ? rc : 1;
}

int storage_query_turn(storage_actor_t *self, uint64_t now_ms) {
    size_t budget = STORAGE_ANSWER_BYTES;
    query_item_t **at = &self->queries;
    while (*at) {
        query_item_t *item = *at;
        bool keep = !query_safe(self, item) && now_ms < item->received_ms + STORAGE_QUERY_MS;
        if (query_safe(self, item)) {
            int rc = item_answer(self, item, &budget, now_ms);
            if (rc < 0)
                return rc;
            keep = rc == 1;
        }
        if (keep) {
            at = &item->next;
        } else {
            *at = item->next;
            query_free(item);
        }
        if (!budget) {
            self->busy = true;
            break;
        }
    }
    self->queries_last = &self->queries;
    while (*self->queries_last)
        self->queries_last = &(*self->queries_last)->next;
    return 0;
}
