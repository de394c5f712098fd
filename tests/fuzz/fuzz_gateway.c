/* fuzz_gateway.c: the gateway actor, clients that send anything, and neighbours that tell anything
 * a link carries.
 *
 *   input = how:u8 step*       how & 1: raft and storage have told about the node already
 *   step  = op:u8 …            a request, a message, a client that stops reading, time and a turn
 *
 * Properties: nothing crashes; no request is answered twice, and once time has passed every one
 * that asks for an answer has got it, unless it is a watch, which may wait.
 */
#include <stdlib.h>

#include "actors/gateway_actor.h"
#include "broker/error.h"
#include "broker/rpc.h"
#include "tests/fuzz/fuzz_forge.h"
#include "tests/fuzz/fuzz_post.h"

#define STEPS_MAX 40u
#define CLIENTS 4u
#define MAX_REQUEST 2048u
#define GATEWAY_BOOT 1000u
#define END_MS 20000u /* beyond every deadline */

static const message_kind_t kinds[] = {
    MESSAGE_RESULT,      MESSAGE_RESULT,       MESSAGE_ANSWER,      MESSAGE_ANSWER,
    MESSAGE_SKIPPED,     MESSAGE_STORE_STATUS, MESSAGE_RAFT_STATUS, MESSAGE_PROPOSE_REFUSED,
    MESSAGE_READ_FAILED, MESSAGE_ADMIN_RESULT, MESSAGE_QUERY,       MESSAGE_CHANGES,
    MESSAGE_CHANGES,     MESSAGE_PAST,         MESSAGE_READ_READY};
#define KINDS (sizeof kinds / sizeof kinds[0])

typedef struct side {
    fuzz_post_t post;
    gateway_actor_t *gateway;
    uint64_t now_ms;
    uint64_t boot, seq, read_id; /* of what it sent last */
    uint64_t token;
    unsigned asked[CLIENTS], answered[CLIENTS];
    unsigned patient[CLIENTS]; /* asked for what may take as long as it takes: watches, locks */
    bool refusing[CLIENTS];
} side_t;

static int respond(void *hint, const envelope_t *envelope, slice_t response) {
    side_t *self = hint;
    unsigned client = envelope->bytes[2] % CLIENTS;
    if (self->refusing[client])
        return DRAX_EAGAIN;
    assert(response.size > 2);
    if (response.data[0] == 0x93 && response.data[1] == RPC_NOTIFICATION)
        return 0; /* of a watch */
    assert(response.data[0] == 0x94 && response.data[1] == RPC_RESPONSE);
    self->answered[client]++;
    assert(self->answered[client] <= self->asked[client]);
    return 0;
}

static void sent(void *hint, actor_t to, message_t *message) {
    side_t *self = hint;
    (void) to;
    if (message->kind == MESSAGE_PROPOSE) {
        self->boot = message->propose.boot;
        self->seq = message->propose.seq;
    } else if (message->kind == MESSAGE_READ) {
        self->read_id = message->read.read_id;
    } else if (message->kind == MESSAGE_ADMIN) {
        self->token = message->admin.token;
    }
}

static void request_step(side_t *self, fuzz_input_t *in, uint8_t op) {
    static buffer_t bytes;
    static const uint8_t frames[] = {1, 0, '?', 0, 0}; /* the routing id and REQ's empty frame */
    unsigned client = op % CLIENTS;
    buffer_reset(&bytes);
    fuzz_request(in, &bytes);
    if (op & 0x40)
        bytes.size = bytes.size * fuzz_byte(in) / 256;
    envelope_t *envelope = malloc(sizeof *envelope + sizeof frames);
    if (!envelope || bytes.failed)
        abort();
    envelope->size = sizeof frames;
    envelope->id_size = 1;
    memcpy(envelope->bytes, frames, sizeof frames);
    envelope->bytes[2] = (uint8_t) client;
    request_t request;
    rpc_error_t error;
    slice_t payload = {bytes.data, bytes.size};
    if (request_decode(payload, &request, &error) != DRAX_EAGAIN)
        self->asked[client]++;
    if (request.method == METHOD_WATCH || request.method == METHOD_WATCH_TREE ||
        request.method == METHOD_LOCK)
        self->patient[client]++;
    gateway_actor_request(self->gateway, &envelope, payload, self->now_ms);
    assert(envelope == NULL);
}

static void message_step(side_t *self, fuzz_input_t *in, uint8_t op) {
    fuzz_near_t near = {.cluster = 7,
                        .node = 1,
                        .index = 5,
                        .term = 2,
                        .seq = op & 16 ? self->read_id : self->seq,
                        .time_ms = self->now_ms};
    message_t message;
    if (!fuzz_message(in, kinds[op % KINDS], &near, &message))
        return;
    if (op & 32 && (message.kind == MESSAGE_RESULT || message.kind == MESSAGE_SKIPPED))
        message.batch.boot = self->boot;
    if (op & 32 && message.kind == MESSAGE_READ_READY)
        message.read.boot = GATEWAY_BOOT;
    if (op & 32 && message.kind == MESSAGE_ADMIN_RESULT)
        message.admin.token = self->token;
    message.actor = op & 1 ? ACTOR_RAFT : ACTOR_STORAGE;
    gateway_actor_ops.receive(self->gateway, &message, self->now_ms);
    assert(message.kind == MESSAGE_NONE);
}

static void turn(side_t *self) {
    int rc = gateway_actor_ops.turn(self->gateway, self->now_ms);
    assert(rc == 0);
    (void) gateway_actor_ops.deadline(self->gateway, self->now_ms);
}

static void step(side_t *self, fuzz_input_t *in) {
    uint8_t op = fuzz_byte(in);
    if (op < 0x80) {
        request_step(self, in, op);
    } else if (op < 0xc0) {
        message_step(self, in, op);
    } else if (op < 0xe8) {
        self->now_ms += 10u * (op & 63u);
        turn(self);
    } else if (op < 0xf8) {
        self->refusing[op % CLIENTS] = op & 4;
    } else if (op < 0xfe) {
        gateway_actor_ops.neighbour(self->gateway, op & 1 ? ACTOR_RAFT : ACTOR_STORAGE,
                                    self->now_ms);
    } else {
        gateway_actor_ops.stop(self->gateway, self->now_ms);
        (void) gateway_actor_ops.stopped(self->gateway);
    }
}

static void node_tell(side_t *self) {
    message_t message = {.kind = MESSAGE_RAFT_STATUS, .actor = ACTOR_RAFT};
    message.raft_status.cluster = 7;
    message.raft_status.node = message.raft_status.leader = 1;
    message.raft_status.role = RAFT_LEADER;
    message.raft_status.term = 2;
    gateway_actor_ops.receive(self->gateway, &message, self->now_ms);
    message = (message_t){.kind = MESSAGE_STORE_STATUS, .actor = ACTOR_STORAGE};
    gateway_actor_ops.receive(self->gateway, &message, self->now_ms);
}

/* Time passes, everybody reads: then nobody waits any more. */
static void end(side_t *self) {
    memset(self->refusing, 0, sizeof self->refusing);
    for (unsigned i = 0; i < 4; i++) {
        self->now_ms += END_MS / 4;
        turn(self);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        assert(self->answered[i] + self->patient[i] >= self->asked[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input_t in = {{data, size}};
    uint8_t how = fuzz_byte(&in);
    side_t self = {.now_ms = 10000};
    fuzz_post_init(&self.post, ACTOR_GATEWAY);
    self.post.sent = sent;
    self.post.hint = &self;
    gateway_options_t options = {.post = &self.post.post,
                                 .log = &self.post.log,
                                 .boot = GATEWAY_BOOT,
                                 .max_request_bytes = MAX_REQUEST,
                                 .respond = respond,
                                 .hint = &self};
    if (gateway_actor_new(&self.gateway, &options) != 0)
        abort();
    if (how & 1)
        node_tell(&self);
    for (unsigned i = 0; i < STEPS_MAX && in.rest.size; i++)
        step(&self, &in);
    end(&self);
    gateway_actor_destroy(&self.gateway);
    return 0;
}
