/* core_helper.c: see the header. */
#include "tests/raft/core_helper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/error.h"

const raft_options_t core_options = {.cluster = CORE_CLUSTER, .id = 1, .boot = 5, .seed = 3};
const raft_boot_t core_empty = {.first_index = 1};

config_t core_config(unsigned voters) {
    config_t config = {.index = 1, .count = voters};
    for (unsigned i = 0; i < voters; i++) {
        config.members[i].id = i + 1;
        config.members[i].role = MEMBER_VOTER;
        config.members[i].raft_addr[0] = (char) ('a' + i);
        config.members[i].addr[0] = (char) ('A' + i);
    }
    return config;
}

raft_t *core_new(const raft_boot_t *boot) {
    raft_t *core;
    assert_int_equal(raft_new(&core, &core_options, boot, CORE_BEGIN_MS), 0);
    return core;
}

void core_write(raft_t *core) {
    for (raft_ready_t *ready = raft_ready(core); ready->write; ready = raft_ready(core))
        raft_written(core, ready->write_seq);
}

raft_t *core_single(void) {
    raft_t *core = core_new(&core_empty);
    config_t config = core_config(1);
    assert_int_equal(raft_bootstrap(core, &config), 0);
    core_write(core);
    assert_int_equal(raft_role(core), RAFT_LEADER);
    return core;
}

raft_t *core_follower(unsigned voters, uint64_t now_ms) {
    config_t config = core_config(voters);
    const term_run_t runs[] = {{0, 0}, {1, 1}};
    const raft_boot_t boot = {.term = 1,
                              .first_index = 1,
                              .last_index = CORE_LAST,
                              .commit = 1,
                              .runs = runs,
                              .run_count = 2,
                              .configs = &config,
                              .config_count = 1};
    raft_t *core;
    assert_int_equal(raft_new(&core, &core_options, &boot, now_ms), 0);
    return core;
}

raft_t *core_leader(unsigned voters) {
    raft_t *core = core_follower(voters, CORE_BEGIN_MS);
    raft_tick(core, raft_deadline_ms(core));
    const message_kind_t steps[] = {MESSAGE_PRE_VOTE_RESULT, MESSAGE_VOTE_RESULT};
    for (size_t i = 0; i < 2; i++) {
        core_write(core);
        for (unsigned id = 2; id <= voters / 2 + 1; id++) {
            message_t message = core_message(steps[i], id, 2);
            message.vote_result.granted = true;
            core_step(core, message);
        }
    }
    core_write(core);
    assert_int_equal(raft_role(core), RAFT_LEADER);
    assert_int_equal(raft_last_index(core), CORE_LAST + 1);
    return core;
}

message_t core_message(message_kind_t kind, uint64_t from, uint64_t term) {
    message_t message;
    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.cluster = CORE_CLUSTER;
    message.from = from;
    message.from_boot = 1;
    message.to = core_options.id;
    message.term = term;
    return message;
}

void core_step(raft_t *core, message_t message) {
    assert_int_equal(raft_step(core, &message), 0);
}

void core_acknowledge(raft_t *core, uint64_t peer, uint64_t index) {
    message_t message = core_message(MESSAGE_APPEND_RESULT, peer, raft_term(core));
    message.append_result.index = index;
    core_step(core, message);
}

void core_refuse(raft_t *core, uint64_t peer, uint64_t index, uint64_t hint_index) {
    message_t message = core_message(MESSAGE_APPEND_RESULT, peer, raft_term(core));
    message.append_result.rejected = true;
    message.append_result.index = index;
    message.append_result.hint_index = hint_index;
    message.append_result.hint_term = 1;
    core_step(core, message);
}

entry_t core_entry(uint64_t index, uint64_t term) {
    return (entry_t){.index = index, .term = term, .kind = ENTRY_NOOP};
}

void core_push(message_t *append, entry_t *entry) {
    assert_int_equal(entries_push(&append->append.entries, entry), 0);
    entry_clear(entry);
}

message_t *core_sent(const raft_ready_t *ready, message_kind_t kind, uint64_t to) {
    for (size_t i = 0; i < ready->message_count; i++)
        if (ready->messages[i].kind == kind && ready->messages[i].to == to)
            return &ready->messages[i];
    return NULL;
}
