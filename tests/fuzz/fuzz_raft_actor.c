/* fuzz_raft_actor.c: the raft actor, peers that send anything the wire carries, a gateway that asks
 * for anything, and a storage that does what it is told, late.
 *
 *   input = how:u8 step*       how: a new node, one of a cluster, or one that joins
 *   step  = op:u8 …            a message, a task of storage, a connection, time and a turn
 *
 * Properties: no message makes the actor crash or end.
 */
#include <stdlib.h>

#include "actors/raft_actor.h"
#include "broker/error.h"
#include "tests/fuzz/fuzz_forge.h"
#include "tests/fuzz/fuzz_post.h"

#define STEPS_MAX 48u
#define QUEUE 16u

static const message_kind_t peer_kinds[] = {
    MESSAGE_PRE_VOTE,       MESSAGE_PRE_VOTE_RESULT,  MESSAGE_VOTE,
    MESSAGE_VOTE_RESULT,    MESSAGE_APPEND,           MESSAGE_APPEND_RESULT,
    MESSAGE_HEARTBEAT,      MESSAGE_HEARTBEAT_RESULT, MESSAGE_TIMEOUT_NOW,
    MESSAGE_FORWARD,        MESSAGE_READ_INDEX,       MESSAGE_READ_INDEX_RESULT,
    MESSAGE_SNAPSHOT_OFFER, MESSAGE_SNAPSHOT_FETCH,   MESSAGE_SNAPSHOT_CHUNK,
    MESSAGE_ADMIN,          MESSAGE_ADMIN_RESULT,     MESSAGE_MEMBERS};
static const message_kind_t gateway_kinds[] = {MESSAGE_PROPOSE, MESSAGE_READ, MESSAGE_ADMIN,
                                               MESSAGE_QUERY};

typedef struct side {
    fuzz_post_t post;
    raft_actor_t *raft;
    uint64_t now_ms;
    uint64_t cluster, node, index, term;
    size_t count;
    message_t queue[QUEUE]; /* answers of storage, to be given later */
} side_t;

/* ---- storage ---- */

/* Takes the message over; a storage that is too slow never answers it. */
static void queue_add(side_t *self, message_t *message) {
    if (self->count < QUEUE)
        self->queue[self->count++] = *message;
    else
        message_clear(message);
}

static void opened_add(side_t *self) {
    message_t out = {.kind = MESSAGE_OPENED};
    out.opened.formatted = self->node != 0;
    out.opened.cluster = self->cluster;
    out.opened.node = self->node;
    out.opened.first_index = 1;
    if (self->node) {
        out.opened.last_index = out.opened.commit = self->index;
        out.opened.term = self->term;
        out.opened.run_count = 1;
        out.opened.runs = calloc(2, sizeof *out.opened.runs);
        if (!out.opened.runs)
            abort();
        if (self->index)
            out.opened.runs[out.opened.run_count++] = (term_run_t){1, self->term};
    }
    queue_add(self, &out);
}

static void write_take(side_t *self, const message_write_t *write) {
    const entries_t *entries = &write->entries;
    if (write->has_hard_state)
        self->term = write->term;
    if (entries->count)
        self->index = entries->items[entries->count - 1].index;
    if (write->seq)
        queue_add(self, &(message_t){.kind = MESSAGE_WRITTEN,
                                     .written = {.seq = write->seq, .first_index = 1}});
}

static void sent(void *hint, actor_t to, message_t *message) {
    side_t *self = hint;
    if (to != ACTOR_STORAGE)
        return;
    if (message->kind == MESSAGE_OPEN) {
        opened_add(self);
    } else if (message->kind == MESSAGE_FORMAT) {
        self->cluster = message->format.cluster;
        self->node = message->format.node;
    } else if (message->kind == MESSAGE_WRITE) {
        write_take(self, &message->write);
    } else if (message->kind == MESSAGE_FETCH) {
        queue_add(self, &(message_t){.kind = MESSAGE_FETCHED,
                                     .fetch = {.peer = message->fetch.peer,
                                               .from = message->fetch.from,
                                               .code = DRAX_ECOMPACTED}});
    } else if (message->kind == MESSAGE_SNAPSHOT_CHUNK) {
        message_t out = {.kind = MESSAGE_SNAPSHOT_STAGED, .snapshot = message->snapshot};
        out.snapshot.payload = NULL;
        out.snapshot.last = false;
        queue_add(self, &out);
    }
}

/* ---- steps ---- */

static void give(side_t *self, actor_t from, message_t *message) {
    message->actor = from;
    raft_actor_ops.receive(self->raft, message, self->now_ms);
    assert(message->kind == MESSAGE_NONE);
}

static void storage_step(side_t *self) {
    if (!self->count)
        return;
    message_t message = self->queue[0];
    self->count--;
    memmove(self->queue, self->queue + 1, self->count * sizeof message);
    give(self, ACTOR_STORAGE, &message);
}

static void message_step(side_t *self, fuzz_input_t *in, uint8_t op, bool peer) {
    fuzz_near_t near = {.cluster = self->cluster,
                        .node = self->node,
                        .index = self->index,
                        .term = self->term,
                        .seq = 1,
                        .time_ms = self->now_ms};
    message_kind_t kind =
        peer ? peer_kinds[op % (sizeof peer_kinds / sizeof peer_kinds[0])] : gateway_kinds[op % 4];
    message_t message;
    if (fuzz_message(in, kind, &near, &message))
        give(self, peer ? ACTOR_NONE : ACTOR_GATEWAY, &message);
}

static void turn(side_t *self) {
    int rc = raft_actor_ops.turn(self->raft, self->now_ms);
    assert(rc == 0);
    (void) raft_actor_ops.deadline(self->raft, self->now_ms);
}

static void joined_step(side_t *self) {
    config_t members = {.count = 1};
    uint64_t id;
    members.members[0] = (member_t){2, MEMBER_VOTER, "h:1", "h:2"};
    if (raft_actor_wants_join(self->raft, &id))
        raft_actor_joined(self->raft, 9, &members);
}

static void step(side_t *self, fuzz_input_t *in) {
    uint8_t op = fuzz_byte(in);
    if (op < 0x60) {
        message_step(self, in, op, true);
    } else if (op < 0x80) {
        message_step(self, in, op, false);
    } else if (op < 0xa0) {
        storage_step(self);
    } else if (op < 0xe8) {
        self->now_ms += 20u * (op & 31u);
        turn(self);
    } else if (op < 0xf0) {
        raft_actor_ops.peer_event(self->raft, 2u + (op & 1u), op & 2, self->now_ms);
    } else if (op < 0xf8) {
        joined_step(self);
    } else if (op < 0xfd) {
        raft_actor_ops.neighbour(self->raft, op & 1 ? ACTOR_STORAGE : ACTOR_GATEWAY, self->now_ms);
    } else {
        raft_actor_ops.stop(self->raft, self->now_ms);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static side_t self;
    fuzz_input_t in = {{data, size}};
    uint8_t how = fuzz_byte(&in);
    memset(&self, 0, offsetof(side_t, queue)); /* the queue is large, and nothing is in it */
    self.now_ms = 1000;
    if (how & 1) { /* it was a member before */
        self.cluster = 7;
        self.node = 1;
        self.index = 5;
        self.term = 2;
    }
    fuzz_post_init(&self.post, ACTOR_RAFT);
    self.post.sent = sent;
    self.post.hint = &self;
    raft_actor_options_t options = {.post = &self.post.post,
                                    .log = &self.post.log,
                                    .boot = 1,
                                    .seed = how,
                                    .join = how & 2,
                                    .addr = "h:1",
                                    .raft_addr = "h:2"};
    if (raft_actor_new(&self.raft, &options) != 0)
        abort();
    raft_actor_ops.neighbour(self.raft, ACTOR_STORAGE, self.now_ms);
    for (unsigned i = 0; i < 3; i++)
        storage_step(&self);
    turn(&self);
    for (unsigned i = 0; i < STEPS_MAX && in.rest.size; i++)
        step(&self, &in);
    turn(&self);
    raft_actor_destroy(&self.raft);
    while (self.count)
        message_clear(&self.queue[--self.count]);
    return 0;
}
