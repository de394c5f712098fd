/* gateway_held.c: reads of a quiet gateway, whose answers wait here for their read index.
 *
 * Storage answers such a query at once, and says up to where it has applied the log; raft tells the
 * index to the gateway. That saves a hop. The answer is the right one if it was evaluated at the
 * index or later: that was after the request came, from committed entries, and everything that had
 * been acknowledged by then is in it. Otherwise the queries are asked again, with the index. Only
 * the reads of one turn are held at a time, when there are few, no others and no writes: among
 * those, larger batches are worth more than a hop, and more answers would come too early.
 *
 *   none --> asked --> answered --> index known --> compared --> given out, or asked again
 *                 +--> index known --> answered --+
 *
 * Invariant: no held answer is given out before it was compared with an index that raft named for
 * its read_id or a later one.
 */
#include "actors/gateway_internal.h"

bool gateway_held_may(const gateway_actor_t *self) {
    size_t reads = pendings_count_kind(self->pendings, PENDING_READ);
    return self->raft.leader && !self->blocks && !self->query_parks && reads == self->query_count &&
           reads <= GATEWAY_HELD_READS;
}

void gateway_held_begin(gateway_actor_t *self, payload_t *queries, size_t count) {
    gateway_held_end(self);
    self->held =
        (held_reads_t){.read_id = self->read_id, .count = count, .queries = payload_ref(queries)};
    message_t message = {.kind = MESSAGE_QUERY, .batch = {.seq = self->read_id}};
    message.batch.payload = payload_ref(queries);
    self->post->local(self->post->self, ACTOR_STORAGE, &message);
}

/* They are answered once `index` is applied, or (0) once storage has the index of their read_id. */
static void ask_again(gateway_actor_t *self, uint64_t index) {
    message_t message = {.kind = MESSAGE_QUERY, .batch = {.applied = index}};
    message.batch.read_id = index ? 0 : self->held.read_id;
    message.batch.payload = payload_ref(self->held.queries);
    self->post->local(self->post->self, ACTOR_STORAGE, &message);
    gateway_held_end(self);
}

static void compare(gateway_actor_t *self, const payload_t *answers, uint64_t applied) {
    if (applied >= self->held.index)
        gateway_answers_give(self, answers);
    else
        ask_again(self, self->held.index);
}

/* An index that is safe for a later read is safe for the earlier ones too. */
void gateway_held_ready(gateway_actor_t *self, const message_read_t *ready) {
    held_reads_t *held = &self->held;
    if (ready->boot != self->options.boot || !held->read_id || held->indexed ||
        ready->read_id < held->read_id)
        return;
    held->indexed = true;
    held->index = ready->index;
    if (held->lost) {
        ask_again(self, held->index);
    } else if (held->answers) {
        compare(self, held->answers, held->applied);
        gateway_held_end(self);
    }
}

/* Storage answers what is large in parts, each at the state of its turn. Parts are not kept, but
 * when the index is there each is compared. */
void gateway_held_answers(gateway_actor_t *self, const message_batch_t *answers) {
    held_reads_t *held = &self->held;
    batch_t batch;
    if (answers->seq != held->read_id || batch_open(&batch, payload_slice(answers->payload)) != 0)
        return; /* asked again meanwhile */
    if (held->indexed) {
        compare(self, answers->payload, answers->applied);
    } else if (batch.count == held->count && !held->answers &&
               payload_size(answers->payload) <= GATEWAY_HELD_BYTES) {
        held->answers = payload_ref(answers->payload);
        held->applied = answers->applied;
    } else {
        held->lost = true;
    }
}

void gateway_held_park(gateway_actor_t *self) {
    if (self->held.read_id && !self->held.indexed)
        ask_again(self, 0);
}

void gateway_held_end(gateway_actor_t *self) {
    payload_unref(&self->held.queries);
    payload_unref(&self->held.answers);
    self->held = (held_reads_t){0};
}
