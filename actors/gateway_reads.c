/* gateway_reads.c: reads. Storage gets the queries of a turn at once; a linearizable one waits
 * there until raft has confirmed leadership for its read id (or a later one) and told storage the
 * index; or its answer waits here (gateway_held.c). */
#include <string.h>

#include "actors/gateway_internal.h"

void gateway_read(gateway_actor_t *self, uint64_t token) {
    if (admission_add(&self->admission, pendings_find(self->pendings, token), token) != 0)
        gateway_fail(self, token, RPC_UNAVAILABLE, "out of memory");
}

/* Storage may answer these later than at once, and then at a state that it does not name. */
static bool parks(method_t method) {
    return method == METHOD_WATCH || method == METHOD_WATCH_TREE || method == METHOD_SNAPSHOT;
}

static void query_add(gateway_actor_t *self, const pending_t *pending) {
    bool stale = pending->kind == PENDING_STALE;
    batch_add(stale ? &self->stale_queries : &self->queries,
              pendings_token(self->pendings, pending), payload_slice(pending->request));
    if (stale) {
        self->stale_count++;
    } else {
        self->query_count++;
        self->query_parks = self->query_parks || parks(pending->method);
    }
}

static void queries_send(gateway_actor_t *self, buffer_t *queries, size_t *count, uint64_t read_id,
                         bool held) {
    if (*count && !queries->failed) {
        buffer_reset(&self->scratch);
        batch_begin(&self->scratch, *count);
        buffer_append(&self->scratch, queries->data, queries->size);
        message_t message = {.kind = MESSAGE_QUERY};
        message.batch.read_id = read_id;
        message.batch.payload = buffer_take(&self->scratch);
        if (message.batch.payload && held)
            gateway_held_begin(self, message.batch.payload, *count);
        else if (message.batch.payload)
            self->post->local(self->post->self, ACTOR_STORAGE, &message);
        message_clear(&message);
    }
    *count = 0;
    buffer_reset(queries);
}

static void index_ask(gateway_actor_t *self, bool held, uint64_t now_ms) {
    message_t message = {
        .kind = MESSAGE_READ,
        .read = {.boot = self->options.boot, .read_id = self->read_id, .held = held}};
    self->asked_id = self->read_id;
    self->asked_ms = now_ms;
    self->post->local(self->post->self, ACTOR_RAFT, &message);
}

static void reads_expire(gateway_actor_t *self, uint64_t now_ms) {
    for (pending_t *pending = pendings_oldest(self->pendings);
         pending && now_ms >= pending->deadline_ms; pending = pendings_oldest(self->pendings)) {
        uint64_t token = pendings_token(self->pendings, pending);
        if (pending->kind == PENDING_ADMIN)
            gateway_fail(self, token, RPC_TIMEOUT, "no result in time; it may still come about");
        else if (pending->kind == PENDING_LOCAL)
            gateway_local_answer(self, token);
        else
            gateway_fail(self, token, RPC_UNAVAILABLE,
                         "no leader with a majority was reached in time");
    }
}

size_t gateway_reads_in_hand(const gateway_actor_t *self) {
    return pendings_count_kind(self->pendings, PENDING_READ) +
           pendings_count_kind(self->pendings, PENDING_STALE);
}

/* Do reads wait for more of their kind? As commands do (gateway_blocks.c): until they are as many
 * as storage has, or it has answered; not longer than GATEWAY_GATHER_READS_MS, as what storage has
 * may be slow. Beside writes a round costs more, as all three nodes are busy, so they wait for
 * more; but with a block, whose way is theirs, they leave. */
static bool reads_gather(gateway_actor_t *self, bool block_left, uint64_t now_ms) {
    size_t reading = pendings_count_reading(self->pendings);
    size_t waiting = gateway_reads_in_hand(self) - reading;
    size_t enough = self->blocks ? reading * GATEWAY_MIXED_READS : reading;
    bool sending = self->query_count || self->stale_count; /* once more: these go along */
    if (waiting == 0 || waiting >= enough || sending || block_left)
        return false;
    if (!self->gather_until_ms)
        self->gather_until_ms = now_ms + GATEWAY_GATHER_READS_MS;
    return now_ms < self->gather_until_ms;
}

static void reads_take(gateway_actor_t *self) {
    self->gather_until_ms = 0;
    for (pending_t *pending; (pending = admission_next(&self->admission, self->pendings)) != NULL;)
        query_add(self, pending);
}

void gateway_reads_turn(gateway_actor_t *self, bool block_left, uint64_t now_ms) {
    reads_expire(self, now_ms);
    if (!reads_gather(self, block_left, now_ms))
        reads_take(self);
    if (!pendings_count_kind(self->pendings, PENDING_READ))
        gateway_held_end(self);
    bool held = gateway_held_may(self);
    if (self->query_count)
        self->read_id++;
    /* First what takes a round to the peers; the query is with storage long before it is over. */
    bool wanted = pendings_count_kind(self->pendings, PENDING_READ) > 0;
    bool again = now_ms >= self->asked_ms + GATEWAY_READ_REPEAT_MS;
    if (wanted && self->raft.leader && (self->asked_id != self->read_id || again))
        index_ask(self, held || self->held.read_id == self->read_id, now_ms);
    queries_send(self, &self->queries, &self->query_count, self->read_id, held);
    queries_send(self, &self->stale_queries, &self->stale_count, 0, false);
    self->query_parks = false;
}

/* Storage came anew: it has forgotten the queries. */
void gateway_reads_again(gateway_actor_t *self) {
    gateway_held_end(self);
    self->query_count = self->stale_count = 0;
    self->query_parks = false;
    buffer_reset(&self->queries);
    buffer_reset(&self->stale_queries);
    for (pending_t *pending = pendings_oldest(self->pendings); pending;
         pending = pendings_newer(self->pendings, pending))
        if (pending->reading)
            query_add(self, pending);
}

/* Leadership was lost, or none is known: ask again a little later, or when there is a leader. */
void gateway_reads_refused(gateway_actor_t *self) {
    if (self->asked_ms > GATEWAY_READ_REPEAT_MS)
        self->asked_ms -= GATEWAY_READ_REPEAT_MS - GATEWAY_REFUSED_MS;
}

static void answer(gateway_actor_t *self, uint64_t token, slice_t outcome) {
    const pending_t *pending = pendings_find(self->pendings, token);
    if (pending && (pending->method == METHOD_WATCH || pending->method == METHOD_WATCH_TREE))
        gateway_watch_answer(self, token, outcome);
    else
        gateway_answer(self, token, outcome);
}

void gateway_answers_give(gateway_actor_t *self, const payload_t *answers) {
    batch_t batch;
    uint64_t token;
    slice_t outcome;
    if (batch_open(&batch, payload_slice(answers)) != 0)
        return;
    while (batch_next(&batch, &token, &outcome) == 1)
        answer(self, token, outcome);
}

void gateway_answers(gateway_actor_t *self, const message_batch_t *answers) {
    if (answers->seq)
        gateway_held_answers(self, answers);
    else
        gateway_answers_give(self, answers->payload);
}

uint64_t gateway_reads_deadline(const gateway_actor_t *self) {
    const pending_t *oldest = pendings_oldest(self->pendings);
    if (!oldest)
        return UINT64_MAX;
    uint64_t again = self->asked_ms + GATEWAY_READ_REPEAT_MS;
    bool wanted = pendings_count_kind(self->pendings, PENDING_READ) > 0 && self->raft.leader;
    uint64_t at = wanted && again < oldest->deadline_ms ? again : oldest->deadline_ms;
    return self->gather_until_ms && self->gather_until_ms < at ? self->gather_until_ms : at;
}
