/* outbox.c: messages on their way to the next ready.
 *
 * Owns: the list of messages that may leave, and those held back until the hard state they speak
 * for is durable. Must not know: why a message is sent.
 */
#include <stdlib.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

message_t message_make(const raft_t *self, message_kind_t kind, uint64_t to) {
    message_t message;
    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.from_boot = self->options.boot;
    message.cluster = self->options.cluster;
    message.from = self->options.id;
    message.to = to;
    message.term = self->term;
    return message;
}

void message_send(raft_t *self, message_t *message) {
    messages_t *out = &self->outbox;
    if (array_reserve((void **) &out->items, &out->capacity, out->count + 1, sizeof *out->items)) {
        message_clear(message);
        return;
    }
    out->items[out->count++] = *message;
    memset(message, 0, sizeof *message);
}

void message_hold(raft_t *self, message_t *message) {
    if (raft_hard_durable(self)) {
        message_send(self, message);
        return;
    }
    if (array_reserve((void **) &self->held, &self->held_capacity, self->held_count + 1,
                      sizeof *self->held)) {
        message_clear(message);
        return;
    }
    uint64_t seq = self->hard_dirty ? self->write_seq + 1 : self->hard_seq;
    self->held[self->held_count++] = (held_message_t){seq, *message};
    memset(message, 0, sizeof *message);
}

void held_release(raft_t *self) {
    size_t released = 0;
    while (released < self->held_count && self->held[released].seq <= self->written_seq)
        message_send(self, &self->held[released++].message);
    self->held_count -= released;
    if (released)
        memmove(self->held, self->held + released, self->held_count * sizeof *self->held);
}

void held_drop(raft_t *self) {
    for (size_t i = 0; i < self->held_count; i++)
        message_clear(&self->held[i].message);
    self->held_count = 0;
}

void messages_clear(messages_t *self) {
    for (size_t i = 0; i < self->count; i++)
        message_clear(&self->items[i]);
    self->count = 0;
}

int read_states_push(read_states_t *self, uint64_t boot, uint64_t read_id, uint64_t index) {
    int rc = array_reserve((void **) &self->items, &self->capacity, self->count + 1,
                           sizeof *self->items);
    if (rc == 0)
        self->items[self->count++] = (raft_read_state_t){boot, read_id, index};
    return rc;
}
