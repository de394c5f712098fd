/* test_raft_api.c: what raft.h promises about its own calls, one core at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/error.h"
#include "tests/raft/core_helper.h"

static void test_boot_contradictions(void **state) {
    (void) state;
    config_t configs[2] = {core_config(1), core_config(1)};
    configs[1].index = 9;
    config_t twice[2] = {core_config(1), core_config(1)};
    config_t nobody = core_config(0);
    term_run_t good[] = {{4, 2}, {7, 3}}, late[] = {{4, 2}, {12, 3}}, falling[] = {{4, 3}, {7, 2}},
               elsewhere[] = {{3, 2}}, far[] = {{4, 2}, {7, UINT64_MAX}}, same[] = {{4, 2}, {4, 3}};
    const raft_boot_t base = {.term = 3,
                              .first_index = 5,
                              .last_index = 10,
                              .commit = 6,
                              .runs = good,
                              .run_count = 2,
                              .configs = configs,
                              .config_count = 2};
    raft_boot_t bad[20];
    for (size_t i = 0; i < 20; i++)
        bad[i] = base;
    bad[0].first_index = 0;
    bad[1].last_index = 3;
    bad[2].commit = 11;
    bad[3].commit = 3;
    bad[4].runs = late;
    bad[5].runs = falling;
    bad[6].runs = elsewhere;
    bad[6].run_count = 1;
    bad[7].run_count = 0;
    bad[8].last_index = 8; /* a membership beyond the log */
    bad[9].term = UINT64_MAX;
    bad[10].time_ms = UINT64_MAX;
    bad[11].last_index = UINT64_MAX - 1;
    bad[12].vote = UINT64_MAX;
    bad[13].runs = far;
    bad[14].runs = same;
    bad[15].configs = twice;
    bad[16].configs = &nobody;
    bad[16].config_count = 1;
    /* A log that was never written, but for one number. */
    bad[17] = core_empty;
    bad[17].first_index = 2;
    bad[17].last_index = bad[17].commit = 1;
    bad[18] = core_empty;
    bad[18].last_index = 1;
    bad[19] = base;
    bad[19].last_index = bad[19].commit - 1;
    for (size_t i = 0; i < 20; i++) {
        raft_t *core;
        assert_int_equal(raft_new(&core, &core_options, &bad[i], 0), DRAX_EINVAL);
        assert_null(core);
    }
    raft_t *core = core_new(&base);
    assert_int_equal(raft_commit(core), 6);
    assert_int_equal(raft_last_index(core), 10);
    assert_int_equal(raft_config(core)->index, 9);
    raft_destroy(&core);
    assert_null(core);
    raft_destroy(&core);
}

/* A snapshot of a term that the hard state does not know is a term this node must not vote in. */
static void test_boot_of_a_later_term(void **state) {
    (void) state;
    config_t config = core_config(3);
    const term_run_t runs[] = {{4, 6}};
    const raft_boot_t boot = {.term = 2,
                              .vote = 1,
                              .first_index = 5,
                              .last_index = 4,
                              .commit = 4,
                              .runs = runs,
                              .run_count = 1,
                              .configs = &config,
                              .config_count = 1};
    raft_t *core = core_new(&boot);
    raft_ready_t *ready = raft_ready(core);
    assert_true(ready->write && ready->has_hard_state);
    assert_int_equal(ready->term, 6);
    assert_int_equal(ready->vote, 0);
    raft_destroy(&core);
}

static void test_options(void **state) {
    (void) state;
    raft_options_t options = core_options;
    options.id = 0;
    raft_t *core;
    assert_int_equal(raft_new(&core, &options, &core_empty, 0), DRAX_EINVAL);
    options = core_options;
    options.election_timeout_ms = 50;
    options.heartbeat_ms = 7;
    options.cache_bytes = 1000;
    assert_int_equal(raft_new(&core, &options, &core_empty, 0), 0);
    assert_in_range(raft_deadline_ms(core), 50, 100);
    config_t config = core_config(1);
    assert_int_equal(raft_bootstrap(core, &config), 0);
    core_write(core);
    assert_int_equal(raft_deadline_ms(core), 7);
    raft_destroy(&core);
}

/* The first write was torn: the vote is there, the entry is not. Twice. */
static void test_bootstrap_again(void **state) {
    (void) state;
    for (uint64_t term = 1; term <= 2; term++) {
        raft_boot_t torn = core_empty;
        torn.term = term;
        torn.vote = core_options.id;
        raft_t *core = core_new(&torn);
        config_t config = core_config(1);
        assert_int_equal(raft_bootstrap(core, &config), 0);
        core_write(core);
        assert_int_equal(raft_role(core), RAFT_LEADER);
        assert_true(raft_term(core) > term);
        raft_destroy(&core);
    }
}

static void test_bootstrap_refused(void **state) {
    (void) state;
    raft_t *core = core_new(&core_empty);
    config_t other = core_config(1), two = core_config(2), learner = core_config(1);
    other.members[0].id = 2;
    learner.members[0].role = MEMBER_LEARNER;
    assert_int_equal(raft_bootstrap(core, &other), DRAX_EINVAL);
    assert_int_equal(raft_bootstrap(core, &two), DRAX_EINVAL);
    assert_int_equal(raft_bootstrap(core, &learner), DRAX_EINVAL);
    assert_int_equal(raft_role(core), RAFT_LEARNER);
    core_step(core, core_message(MESSAGE_VOTE, 2, 9)); /* another cluster's business, by its term */
    config_t late = core_config(1);
    assert_int_equal(raft_bootstrap(core, &late), DRAX_EINVAL);
    raft_destroy(&core);
    core = core_single();
    config_t config = core_config(1);
    assert_int_equal(raft_bootstrap(core, &config), DRAX_EINVAL);
    raft_destroy(&core);
}

static void test_not_leader(void **state) {
    (void) state;
    raft_t *core = core_new(&core_empty);
    uint64_t index;
    payload_t *payload = payload_copy("x", 1);
    assert_int_equal(raft_propose(core, 1, 1, payload), DRAX_ENOTLEADER);
    assert_int_equal(raft_read(core, 1, 1), DRAX_ENOTLEADER);
    assert_int_equal(raft_transfer(core, 0), DRAX_ENOTLEADER);
    assert_int_equal(raft_member_add(core, 2, "a", "b", &index), DRAX_ENOTLEADER);
    assert_int_equal(raft_member_remove(core, 2, &index), DRAX_ENOTLEADER);
    assert_int_equal(raft_member_promote(core, 2, &index), DRAX_ENOTLEADER);
    assert_int_equal(raft_member_move(core, 2, "a", "b"), DRAX_ENOTLEADER);
    payload_unref(&payload);
    raft_destroy(&core);
}

static void test_payload_is_shared_and_bounded(void **state) {
    (void) state;
    raft_t *core = core_single();
    payload_t *payload = payload_copy("x", 1);
    assert_int_equal(raft_propose(core, 1, 1, payload), 0);
    raft_ready_t *ready = raft_ready(core);
    assert_int_equal(ready->entries->count, 1);
    assert_ptr_equal(ready->entries->items[0].payload, payload);
    /* What the receiver moves out stays alive. */
    entries_t mine = *ready->entries;
    memset(ready->entries, 0, sizeof *ready->entries);
    raft_written(core, ready->write_seq);
    core_write(core);
    assert_int_equal(raft_commit(core), 3);
    raft_destroy(&core);
    assert_memory_equal(payload_data(mine.items[0].payload), "x", 1);
    entries_clear(&mine);
    payload_unref(&payload);

    core = core_single();
    payload = payload_new((size_t) LIMIT_ENTRY_BYTES + 1);
    assert_int_equal(raft_propose(core, 1, 1, payload), DRAX_ETOOLARGE);
    payload_unref(&payload);
    raft_destroy(&core);
}

static void test_member_limits(void **state) {
    (void) state;
    raft_t *core = core_single();
    uint64_t index;
    char text[LIMIT_ADDR_BYTES + 1];
    memset(text, 'x', LIMIT_ADDR_BYTES);
    text[LIMIT_ADDR_BYTES] = 0;
    assert_int_equal(raft_member_add(core, 0, "x", "y", &index), DRAX_EINVAL);
    assert_int_equal(raft_member_add(core, 2, text, "y", &index), DRAX_EINVAL);
    assert_int_equal(raft_member_add(core, 2, "x", text, &index), DRAX_EINVAL);
    assert_int_equal(raft_member_add(core, 2, "x", "a", &index), DRAX_EEXIST);
    assert_int_equal(raft_member_add(core, 2, "A", "y", &index), DRAX_EEXIST);
    /* A member already: only under its own addresses. */
    assert_int_equal(raft_member_add(core, 1, "A", "a", &index), 0);
    assert_int_equal(index, 1);
    assert_int_equal(raft_member_add(core, 1, "A", "y", &index), DRAX_EEXIST);
    assert_int_equal(raft_member_add(core, 1, "x", "a", &index), DRAX_EEXIST);
    for (uint64_t id = 2; id <= LIMIT_MEMBERS; id++) {
        char addr[] = {(char) ('A' + id), 0}, raft_addr[] = {(char) ('a' + id), 0};
        assert_int_equal(raft_member_add(core, id, addr, raft_addr, &index), 0);
        assert_int_equal(raft_member_add(core, 99, "x", "y", &index), DRAX_EPENDING);
        core_write(core);
        assert_int_equal(raft_commit(core), index);
    }
    assert_int_equal(raft_config(core)->count, LIMIT_MEMBERS);
    assert_int_equal(raft_member_add(core, 99, "x", "y", &index), DRAX_EINVAL);
    /* All learners: the single voter goes on alone, and cannot go. */
    assert_int_equal(raft_member_remove(core, 1, &index), DRAX_EINVAL);
    assert_int_equal(raft_transfer(core, 0), DRAX_ENOTFOUND);
    assert_int_equal(raft_transfer(core, 2), DRAX_ENOTFOUND);
    raft_destroy(&core);
}

static void test_member_moves(void **state) {
    (void) state;
    raft_t *core = core_single();
    uint64_t index;
    char text[LIMIT_ADDR_BYTES + 1];
    memset(text, 'x', LIMIT_ADDR_BYTES);
    text[LIMIT_ADDR_BYTES] = 0;
    assert_int_equal(raft_member_add(core, 2, "long:2380", "long:2381", &index), 0);
    assert_int_equal(raft_member_move(core, 2, "x:1", "x:2"), DRAX_EPENDING);
    core_write(core);
    uint64_t last = raft_last_index(core);
    assert_int_equal(raft_member_move(core, 3, "x:1", "x:2"), DRAX_ENOTFOUND);
    assert_int_equal(raft_member_move(core, 2, text, "x:2"), DRAX_EINVAL);
    assert_int_equal(raft_member_move(core, 2, "x:1", text), DRAX_EINVAL);
    assert_int_equal(raft_member_move(core, 2, "A", "x:2"), DRAX_EEXIST);
    assert_int_equal(raft_member_move(core, 2, "x:1", "a"), DRAX_EEXIST);
    assert_int_equal(raft_member_move(core, 2, "long:2380", "long:2381"), 0); /* it is there */
    assert_int_equal(raft_last_index(core), last);
    /* One address may stay, and the role does; nothing of a longer one is left behind. */
    assert_int_equal(raft_member_move(core, 2, "x:1", "long:2381"), 0);
    core_write(core);
    assert_int_equal(raft_commit(core), last + 1);
    member_t moved = {2, MEMBER_LEARNER, "x:1", "long:2381"};
    assert_memory_equal(config_member(raft_config(core), 2), &moved, sizeof moved);
    assert_int_equal(raft_member_move(core, 1, "y:1", "y:2"), 0); /* the leader itself */
    core_write(core);
    assert_string_equal(config_member(raft_config(core), 1)->raft_addr, "y:2");
    assert_int_equal(raft_role(core), RAFT_LEADER);
    raft_destroy(&core);
}

/* A peer may have told a time near the last one that there can be. */
static void test_cluster_time_has_an_end(void **state) {
    (void) state;
    const uint64_t last_ms = UINT64_C(1) << 62;
    raft_boot_t boot = core_empty;
    boot.time_ms = last_ms - 100;
    raft_t *core = core_new(&boot);
    raft_tick(core, 1099);
    assert_int_equal(raft_time_ms(core), last_ms - 1);
    raft_tick(core, 5000);
    assert_int_equal(raft_time_ms(core), last_ms);
    raft_destroy(&core);
}

static void test_cluster_time_never_goes_back(void **state) {
    (void) state;
    raft_boot_t boot = core_empty;
    boot.time_ms = 500000;
    raft_t *core = core_new(&boot);
    config_t config = core_config(1);
    assert_int_equal(raft_bootstrap(core, &config), 0);
    core_write(core);
    assert_int_equal(raft_time_ms(core), 500000);
    raft_tick(core, 1400);
    assert_int_equal(raft_time_ms(core), 500400);
    raft_tick(core, 1300); /* a clock that goes back is not followed */
    assert_int_equal(raft_time_ms(core), 500400);
    payload_t *payload = payload_copy("x", 1);
    assert_int_equal(raft_propose(core, 1, 1, payload), 0);
    assert_int_equal(raft_ready(core)->entries->items[0].time_ms, 500400);
    payload_unref(&payload);
    raft_destroy(&core);
}

static void test_silent_peers(void **state) {
    (void) state;
    raft_t *core = core_follower(3, CORE_BEGIN_MS);
    assert_false(raft_peer_silent(core, 2)); /* a follower's peers need not know where it is */
    raft_destroy(&core);
    core = core_leader(3);
    assert_false(raft_peer_silent(core, 2)); /* it voted just now */
    assert_false(raft_peer_silent(core, 9)); /* no peer at all */
    assert_int_equal(raft_match(core, 9), 0);
    uint64_t elected_ms = raft_deadline_ms(core) - RAFT_HEARTBEAT_MS;
    raft_tick(core, elected_ms + RAFT_ELECTION_TIMEOUT_MS - 1);
    core_acknowledge(core, 2, CORE_LAST + 1);
    raft_tick(core, elected_ms + RAFT_ELECTION_TIMEOUT_MS);
    assert_false(raft_peer_silent(core, 2));
    assert_true(raft_peer_silent(core, 3));
    raft_destroy(&core);
}

static void test_same_seed_same_deadline(void **state) {
    (void) state;
    raft_t *one = core_new(&core_empty), *two = core_new(&core_empty);
    assert_int_equal(raft_deadline_ms(one), raft_deadline_ms(two));
    assert_in_range(raft_deadline_ms(one) - 1000, RAFT_ELECTION_TIMEOUT_MS,
                    2 * RAFT_ELECTION_TIMEOUT_MS);
    raft_destroy(&one);
    raft_destroy(&two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_contradictions),
        cmocka_unit_test(test_boot_of_a_later_term),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_bootstrap_again),
        cmocka_unit_test(test_bootstrap_refused),
        cmocka_unit_test(test_not_leader),
        cmocka_unit_test(test_payload_is_shared_and_bounded),
        cmocka_unit_test(test_member_limits),
        cmocka_unit_test(test_member_moves),
        cmocka_unit_test(test_cluster_time_has_an_end),
        cmocka_unit_test(test_cluster_time_never_goes_back),
        cmocka_unit_test(test_silent_peers),
        cmocka_unit_test(test_same_seed_same_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
