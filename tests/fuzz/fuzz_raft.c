/* fuzz_raft.c: one raft core and peers that send anything the wire carries.
 *
 *   input = start:u8 step*          start: how many members, and whether the log is empty
 *   step  = op:u8 …                 a message, time, or an event of the core's own side
 *
 * Properties: no assertion fails and nothing leaks; the commit index never goes back and never
 * passes the log; the term never goes back; a vote is not changed within a term.
 */
#include <stdlib.h>

#include "actors/raft/raft.h"
#include "broker/error.h"
#include "tests/fuzz/fuzz_forge.h"

#define STEPS_MAX 64u

typedef struct side {
    raft_t *core;
    uint64_t now_ms;
    uint64_t offered, written; /* write seqs */
    uint64_t fetch_peer;       /* 0: none is wanted */
    uint64_t commit, term, vote;
} side_t;

static void core_check(side_t *self) {
    uint64_t commit = raft_commit(self->core), term = raft_term(self->core);
    assert(commit >= self->commit && commit <= raft_last_index(self->core));
    assert(term >= self->term);
    assert(term > self->term || !self->vote || raft_vote(self->core) == self->vote);
    self->commit = commit;
    self->term = term;
    self->vote = raft_vote(self->core);
}

static void ready_take(side_t *self) {
    raft_ready_t *ready = raft_ready(self->core);
    for (size_t i = 0; i < ready->message_count; i++) {
        message_t message = ready->messages[i];
        memset(&ready->messages[i], 0, sizeof message);
        bool travels = fuzz_travel(&message);
        assert(travels);
        message_clear(&message);
    }
    if (ready->write) {
        assert(ready->write_seq == self->offered + 1);
        self->offered = ready->write_seq;
    }
    if (ready->fetch_count)
        self->fetch_peer = ready->fetches[0].peer;
    core_check(self);
}

static void message_step(side_t *self, fuzz_input_t *in, uint8_t op) {
    fuzz_near_t near = {.cluster = 7,
                        .node = 1,
                        .index = raft_last_index(self->core),
                        .term = self->term,
                        .seq = self->offered,
                        .time_ms = self->now_ms};
    message_kind_t kind = (message_kind_t) (1 + op % MESSAGE_SNAPSHOT_OFFER);
    message_t message;
    if (fuzz_message(in, kind, &near, &message))
        (void) raft_step(self->core, &message);
}

static void fetched_step(side_t *self, fuzz_input_t *in) {
    entries_t entries = {0};
    if (!self->fetch_peer)
        return;
    raft_fetched(self->core, self->fetch_peer, fuzz_byte(in) & 1 ? DRAX_ECOMPACTED : DRAX_EIO,
                 &entries);
    entries_clear(&entries);
    self->fetch_peer = 0;
}

static void propose_step(side_t *self, fuzz_input_t *in) {
    fuzz_near_t near = {.node = 1, .seq = self->offered};
    payload_t *payload = fuzz_block(in, &near);
    (void) raft_propose(self->core, 1, self->offered, payload);
    payload_unref(&payload);
}

static void own_step(side_t *self, fuzz_input_t *in, uint8_t op) {
    uint64_t index;
    switch (op % 10) {
    case 0:
    case 1:
        self->now_ms += 10u * fuzz_byte(in);
        raft_tick(self->core, self->now_ms);
        break;
    case 2:
        if (self->written < self->offered)
            raft_written(self->core, ++self->written);
        break;
    case 3:
        propose_step(self, in);
        break;
    case 4:
        (void) raft_read(self->core, 1, fuzz_byte(in));
        break;
    case 5:
        (void) raft_member_remove(self->core, fuzz_byte(in) % 5, &index);
        break;
    case 6:
        (void) raft_member_add(self->core, 1 + fuzz_byte(in) % 20, "a:1", "a:2", &index);
        break;
    case 7:
        (void) raft_transfer(self->core, fuzz_byte(in) % 5);
        break;
    case 8:
        (op & 128 ? raft_peer_up : raft_peer_down)(self->core, fuzz_byte(in) % 5);
        break;
    default:
        fetched_step(self, in);
    }
}

static void core_make(side_t *self, uint8_t how) {
    static const term_run_t runs[] = {{4, 2}, {5, 3}};
    config_t config = {.index = 3, .count = 1u + how % 3u};
    for (size_t i = 0; i < config.count; i++)
        config.members[i] = (member_t){i + 1, MEMBER_VOTER, "h:1", "h:2"};
    raft_options_t options = {.cluster = 7, .id = 1, .boot = 1, .seed = how, .thrifty = how & 32};
    raft_boot_t boot = {.first_index = 1, .runs = (term_run_t[]){{0, 0}}, .run_count = 1};
    bool empty = how & 64;
    if (!empty)
        boot = (raft_boot_t){.term = 3,
                             .first_index = 5,
                             .last_index = 9,
                             .commit = 6,
                             .time_ms = 100,
                             .runs = runs,
                             .run_count = 2,
                             .configs = &config,
                             .config_count = 1};
    int rc = raft_new(&self->core, &options, &boot, self->now_ms);
    assert(rc == 0);
    if (empty && how & 32) {
        config.index = 0;
        config.count = 1;
        rc = raft_bootstrap(self->core, &config);
        assert(rc == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input_t in = {{data, size}};
    side_t self = {.now_ms = 1000};
    core_make(&self, fuzz_byte(&in));
    ready_take(&self);
    for (unsigned i = 0; i < STEPS_MAX && in.rest.size; i++) {
        uint8_t op = fuzz_byte(&in);
        op & 1 ? message_step(&self, &in, op >> 1) : own_step(&self, &in, op >> 1);
        ready_take(&self);
    }
    raft_destroy(&self.core);
    return 0;
}
