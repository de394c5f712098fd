/* test_raft_hostile.c: one core against peers that send anything, with memory that runs out.
 *
 *   test_raft_hostile [SEEDS [FIRST]]
 *
 * A core is fed random messages, well-formed and not, of random senders, terms and indexes near its
 * own and far off, and random events of its own side; one allocation in some tens fails. There is
 * nothing to agree on here: the core's assertions and the sanitizers judge. A failure prints its
 * seed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/raft/raft.h"
#include "broker/error.h"
#include "tests/support/memory_refused.h"

#define SEEDS_DEFAULT 2000u
#define STEPS 600u

static uint64_t random_state;
static uint64_t seed_now;
static bool memory_short; /* allocations may fail now */

static uint64_t roll(uint64_t below) {
    uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % below;
}

/* ---- memory ---- */

bool memory_refused(void) {
    return memory_short && roll(40) == 0;
}

/* ---- messages ---- */

static uint64_t number_near(uint64_t value) {
    switch (roll(8)) {
    case 0:
        return UINT64_MAX - roll(3);
    case 1:
        return roll(4);
    case 2:
        return (UINT64_C(1) << 62) - 1 + roll(3);
    default:
        return value + roll(5) - (value >= 2 ? 2 : 0);
    }
}

static void config_forge(config_t *config, uint64_t index) {
    memset(config, 0, sizeof *config);
    config->index = roll(8) ? index : number_near(index);
    config->count = roll(20) ? 1 + (size_t) roll(5) : (size_t) roll(LIMIT_MEMBERS + 1);
    for (size_t i = 0; i < config->count; i++) {
        config->members[i].id = roll(12) ? i + 1 : roll(9);
        config->members[i].role = roll(12) ? MEMBER_VOTER : (member_role_t) roll(4);
    }
}

static void entries_forge(entries_t *entries, uint64_t prev, uint64_t term) {
    for (uint64_t i = 1, count = roll(5); i <= count; i++) {
        entry_t entry;
        memset(&entry, 0, sizeof entry);
        entry.index = roll(20) ? prev + i : number_near(prev);
        entry.term = roll(10) ? term : number_near(term);
        entry.time_ms = roll(20) ? roll(100000) : number_near(0);
        entry.kind = roll(6) ? ENTRY_BLOCK : (entry_kind_t) roll(4);
        config_t config;
        if (entry.kind == ENTRY_CONFIG || roll(40) == 0) {
            config_forge(&config, entry.index);
            entry.config = &config;
        }
        entry.payload = entry.kind == ENTRY_BLOCK && roll(9) ? payload_new(roll(300)) : NULL;
        if (entry.payload)
            memset(payload_bytes(entry.payload), 'x', payload_size(entry.payload));
        if (entries_push(entries, &entry))
            abort();
        payload_unref(&entry.payload);
    }
}

static message_t message_forge(const raft_t *core) {
    message_t message;
    memset(&message, 0, sizeof message);
    uint64_t last = raft_last_index(core), term = raft_term(core);
    message.kind = (message_kind_t) (1 + roll(MESSAGE_PEER_LAST));
    message.cluster = roll(50) ? 7 : 8;
    message.from = roll(20) ? 2 + roll(2) : number_near(1);
    message.to = roll(50) ? 1 : 2;
    message.from_boot = roll(3);
    message.term = roll(10) ? term : roll(100) ? term + roll(3) - 1 : number_near(term);
    if (message.kind == MESSAGE_APPEND) {
        message.append.prev_index = roll(3) ? last : number_near(last);
        message.append.prev_term = roll(3) ? term : number_near(term);
        message.append.commit = number_near(last);
        message.append.time_ms = roll(20) ? roll(100000) : number_near(0);
        entries_forge(&message.append.entries, message.append.prev_index, message.term);
    } else if (message.kind == MESSAGE_FORWARD) {
        message.propose.payload = roll(9) ? payload_copy("forward", 7) : NULL;
    } else if (message.kind == MESSAGE_SNAPSHOT_OFFER) {
        message.snapshot.index = number_near(last);
        message.snapshot.snapshot_term = number_near(term);
    } else if (message.kind == MESSAGE_VOTE || message.kind == MESSAGE_PRE_VOTE) {
        message.vote.last_index = number_near(last);
        message.vote.last_term = number_near(term);
        message.vote.transfer = roll(2);
    } else if (message.kind == MESSAGE_PRE_VOTE_RESULT || message.kind == MESSAGE_VOTE_RESULT) {
        message.vote_result.granted = roll(4) > 0;
        if (message.kind == MESSAGE_PRE_VOTE_RESULT && roll(2))
            message.term = term + 1;
    } else {
        message.append_result.rejected = roll(3) == 0;
        message.append_result.index = number_near(last);
        message.append_result.hint_index = number_near(last);
        message.append_result.hint_term = number_near(term);
        if (message.kind == MESSAGE_HEARTBEAT)
            message.heartbeat =
                (message_heartbeat_t){number_near(last), number_near(1), roll(100000)};
        else if (message.kind == MESSAGE_HEARTBEAT_RESULT)
            message.heartbeat_result = (message_heartbeat_result_t){number_near(1), roll(2)};
    }
    return message;
}

/* ---- the core's own side ---- */

typedef struct side {
    raft_t *core;
    uint64_t now_ms;
    uint64_t written, offered, applied;
    uint64_t fetch_peer;
} side_t;

static void step(side_t *self) {
    message_t message = message_forge(self->core);
    memory_short = true;
    (void) raft_step(self->core, &message);
    memory_short = false;
}

static void own_event(side_t *self) {
    payload_t *payload = payload_copy("mine", 4);
    uint64_t index;
    memory_short = true;
    switch (roll(12)) {
    case 0:
    case 1:
        self->now_ms += roll(2) ? roll(100) : roll(2000);
        raft_tick(self->core, self->now_ms);
        break;
    case 2:
    case 3:
        if (self->written < self->offered)
            raft_written(self->core, ++self->written);
        break;
    case 4:
        (void) raft_propose(self->core, 1, 1, payload);
        break;
    case 5:
        (void) raft_read(self->core, roll(3), roll(100));
        break;
    case 6:
        (void) raft_member_remove(self->core, 1 + roll(5), &index);
        break;
    case 7:
        (void) raft_member_add(self->core, 4 + roll(20), "a:1", "a:2", &index);
        break;
    case 8:
        (void) raft_transfer(self->core, roll(5));
        break;
    case 9:
        (roll(2) ? raft_peer_down : raft_peer_up)(self->core, 1 + roll(4));
        break;
    case 10:
        if (self->fetch_peer) {
            entries_t entries = {0};
            memory_short = false;
            entries_forge(&entries, raft_match(self->core, self->fetch_peer),
                          raft_term(self->core));
            memory_short = true;
            raft_fetched(self->core, self->fetch_peer, roll(4) ? 0 : DRAX_ECOMPACTED, &entries);
            self->fetch_peer = 0;
        }
        break;
    default:
        if (self->applied > 2)
            raft_compacted(self->core, self->applied - roll(2));
        break;
    }
    memory_short = false;
    payload_unref(&payload);
}

static void carry_out(side_t *self) {
    memory_short = true;
    raft_ready_t *ready = raft_ready(self->core);
    memory_short = false;
    if (ready->write)
        self->offered = ready->write_seq;
    if (ready->fetch_count)
        self->fetch_peer = ready->fetches[0].peer;
    if (self->written == self->offered)
        self->applied = raft_commit(self->core);
}

static void seed_run(uint64_t seed) {
    random_state = seed;
    side_t self = {.now_ms = 1000};
    config_t config = {.index = 1, .count = 3};
    for (size_t i = 0; i < config.count; i++)
        config.members[i] = (member_t){.id = i + 1, .role = MEMBER_VOTER};
    term_run_t runs[] = {{0, 0}, {1, 1}, {3, 2}};
    raft_options_t options = {.cluster = 7,
                              .id = 1,
                              .boot = 9,
                              .seed = seed,
                              .cache_bytes = roll(2) ? 500 : 0,
                              .thrifty = seed % 2};
    raft_boot_t boot = {.term = 2,
                        .first_index = 1,
                        .last_index = 5,
                        .commit = 1 + roll(5),
                        .runs = runs,
                        .run_count = 3,
                        .configs = &config,
                        .config_count = 1};
    self.applied = boot.commit;
    do {
        memory_short = true;
        (void) raft_new(&self.core, &options, &boot, self.now_ms);
        memory_short = false;
    } while (!self.core);
    for (unsigned i = 0; i < STEPS; i++) {
        if (roll(3))
            step(&self);
        else
            own_event(&self);
        if (roll(2))
            carry_out(&self);
    }
    raft_destroy(&self.core);
}

static void on_abort(int signal_number) {
    (void) signal_number;
    char text[64];
    int n = snprintf(text, sizeof text, "seed %llu\n", (unsigned long long) seed_now);
    if (n > 0 && write(STDERR_FILENO, text, (size_t) n) < 0)
        _exit(2);
}

int main(int argc, char **argv) {
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : SEEDS_DEFAULT;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    signal(SIGABRT, on_abort);
    for (seed_now = first; seed_now < first + seeds; seed_now++)
        seed_run(seed_now);
    printf("%llu seeds\n", (unsigned long long) seeds);
    return 0;
}
