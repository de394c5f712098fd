/* fuzz_storage.c: the storage actor and neighbours that send anything a link carries.
 *
 *   input = how:u8 step*       how & 1: the home is formatted and opened already
 *   step  = op:u8 …            a message, or time and a turn
 *
 * Disk and ordered store are in memory. Properties: no message makes the actor crash; it may end
 * with an error (a write out of sequence); WRITTEN names no write that was not sent.
 */
#include <stdlib.h>

#include "actors/storage_actor.h"
#include "broker/error.h"
#include "store/state.h"
#include "tests/fuzz/fuzz_forge.h"
#include "tests/fuzz/fuzz_fs.h"
#include "tests/fuzz/fuzz_post.h"

#define STEPS_MAX 32u
#define SEGMENT_BYTES 4096u
#define CLUSTER 7u
#define NODE 1u
#define SNAPSHOT_INDEX 40u

static const message_kind_t kinds[] = {
    MESSAGE_WRITE,           MESSAGE_WRITE,          MESSAGE_WRITE,  MESSAGE_QUERY,
    MESSAGE_QUERY,           MESSAGE_READ_READY,     MESSAGE_CLOCK,  MESSAGE_FETCH,
    MESSAGE_SNAPSHOT_FETCH,  MESSAGE_SNAPSHOT_CHUNK, MESSAGE_OPEN,   MESSAGE_FORMAT,
    MESSAGE_SUBSCRIBE,       MESSAGE_HISTORY,        MESSAGE_OPENED, MESSAGE_WRITTEN,
    MESSAGE_SNAPSHOT_STAGED, MESSAGE_RESULT};
#define KINDS (sizeof kinds / sizeof kinds[0])

typedef struct side {
    fuzz_post_t post;
    storage_actor_t *storage;
    uint64_t now_ms;
    uint64_t sent_seq; /* of the greatest WRITE since the last OPEN */
    uint64_t index;    /* of the last entry written */
    bool ended;
} side_t;

static int kv_open(void *hint, kv_t **out, const char *directory, bool create) {
    (void) hint;
    (void) directory;
    (void) create;
    return kv_memory_open(out);
}

static void sent(void *hint, actor_t to, message_t *message) {
    side_t *self = hint;
    (void) to;
    if (message->kind == MESSAGE_WRITTEN)
        assert(message->written.seq <= self->sent_seq);
    if (message->kind == MESSAGE_OPENED)
        self->index = message->opened.last_index;
}

static void give(side_t *self, message_t *message) {
    message->actor = message->kind == MESSAGE_QUERY ? ACTOR_GATEWAY : ACTOR_RAFT;
    if (message->kind == MESSAGE_OPEN)
        self->sent_seq = 0;
    if (message->kind == MESSAGE_WRITE) {
        const entries_t *entries = &message->write.entries;
        if (message->write.seq > self->sent_seq)
            self->sent_seq = message->write.seq;
        if (entries->count)
            self->index = entries->items[entries->count - 1].index;
    }
    storage_actor_ops.receive(self->storage, message, self->now_ms);
    assert(message->kind == MESSAGE_NONE);
}

static void turn(side_t *self) {
    if (storage_actor_ops.turn(self->storage, self->now_ms) != 0)
        self->ended = true;
    (void) storage_actor_ops.deadline(self->storage, self->now_ms);
}

/* A whole snapshot of a small state, in one chunk, made once. */
static payload_t *snapshot_chunk(void) {
    static payload_t *chunk;
    kv_t *kv = NULL;
    state_t *state = NULL;
    state_snapshot_t *snapshot = NULL;
    bool last = false;
    if (chunk)
        return payload_ref(chunk);
    if (kv_memory_open(&kv) != 0 || state_open(&state, &kv) != 0)
        abort();
    for (uint64_t index = 1; index <= SNAPSHOT_INDEX; index++) {
        state_applied_t applied;
        entry_t entry = {.index = index, .term = 1, .kind = ENTRY_NOOP};
        if (state_apply(state, &entry, &applied) != 0)
            abort();
    }
    if (state_freeze(state) || state_flush_write(state) || state_thaw(state, 0) ||
        state_snapshot_open(state, &snapshot) ||
        state_snapshot_read(snapshot, 0, SNAPSHOT_CHUNK_BYTES, &chunk, &last) || !last)
        abort();
    state_snapshot_close(state, &snapshot);
    state_close(&state);
    return payload_ref(chunk);
}

static void snapshot_give(side_t *self, fuzz_input_t *in) {
    message_t message = {.kind = MESSAGE_SNAPSHOT_CHUNK};
    message.snapshot.session = fuzz_byte(in);
    message.snapshot.last = true;
    message.snapshot.index = fuzz_number(in, SNAPSHOT_INDEX);
    message.snapshot.snapshot_term = fuzz_number(in, 1);
    message.snapshot.payload = snapshot_chunk();
    if (fuzz_travel(&message))
        give(self, &message);
}

static void message_give(side_t *self, fuzz_input_t *in, uint8_t op) {
    fuzz_near_t near = {.cluster = CLUSTER,
                        .node = NODE,
                        .index = self->index,
                        .term = 1,
                        .seq = self->sent_seq,
                        .time_ms = self->now_ms};
    message_t message;
    if (fuzz_message(in, kinds[op % KINDS], &near, &message))
        give(self, &message);
}

static void step(side_t *self, fuzz_input_t *in) {
    uint8_t op = fuzz_byte(in);
    if (op < 0x60) {
        message_give(self, in, op);
    } else if (op < 0xf0) {
        self->now_ms += 4u * (op & 127u);
        turn(self);
    } else if (op < 0xf8) {
        snapshot_give(self, in);
    } else if (op < 0xfe) {
        storage_actor_ops.neighbour(self->storage, op & 1 ? ACTOR_RAFT : ACTOR_GATEWAY,
                                    self->now_ms);
    } else {
        storage_actor_ops.stop(self->storage, self->now_ms);
        (void) storage_actor_ops.stopped(self->storage);
    }
}

static void begin(side_t *self, bool formatted) {
    char detail[512];
    storage_options_t options = {.home = "h",
                                 .fs = fuzz_fs_reset(),
                                 .post = &self->post.post,
                                 .log = &self->post.log,
                                 .kv_open = kv_open,
                                 .seed = 3,
                                 .segment_bytes = SEGMENT_BYTES};
    fuzz_post_init(&self->post, ACTOR_STORAGE);
    self->post.sent = sent;
    self->post.hint = self;
    if (storage_actor_new(&self->storage, &options, detail, sizeof detail) != 0)
        abort();
    if (!formatted)
        return;
    message_t message = {.kind = MESSAGE_FORMAT, .format = {.cluster = CLUSTER, .node = NODE}};
    give(self, &message);
    message = (message_t){.kind = MESSAGE_OPEN};
    give(self, &message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input_t in = {{data, size}};
    side_t self = {.now_ms = 1000};
    begin(&self, fuzz_byte(&in) & 1);
    for (unsigned i = 0; i < STEPS_MAX && in.rest.size && !self.ended; i++)
        step(&self, &in);
    if (!self.ended)
        turn(&self);
    storage_actor_destroy(&self.storage);
    return 0;
}
