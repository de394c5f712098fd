/* test_raft_memory.c: the core without memory: each call, with each of its allocations failing in
 * turn, either does all it says or answers DRAX_ENOMEM and keeps nothing, so that trying again
 * works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/error.h"
#include "tests/raft/core_helper.h"
#include "tests/support/memory_refused.h"

/* ---- memory ---- */

static unsigned countdown; /* the allocation that fails; 0: none */

bool memory_refused(void) {
    return countdown && --countdown == 0;
}

/* Runs `call` with its first, second, … allocation failing until it succeeds; how often it failed.
 */
static unsigned sweep(raft_t *core, int (*call)(raft_t *core)) {
    unsigned failures = 0;
    for (unsigned nth = 1;; nth++) {
        uint64_t last = raft_last_index(core);
        countdown = nth;
        int rc = call(core);
        countdown = 0;
        if (rc == 0)
            return failures;
        assert_int_equal(rc, DRAX_ENOMEM);
        assert_int_equal(raft_last_index(core), last);
        failures++;
    }
}

static int call_bootstrap(raft_t *core) {
    config_t config = core_config(1);
    return raft_bootstrap(core, &config);
}

static int call_add(raft_t *core) {
    uint64_t index;
    return raft_member_add(core, 9, "X", "x", &index);
}

static int call_remove(raft_t *core) {
    uint64_t index;
    return raft_member_remove(core, 3, &index);
}

static int call_move(raft_t *core) {
    return raft_member_move(core, 3, "X", "x");
}

/* Node 3 under a new id: the old one goes first. */
static int call_replace(raft_t *core) {
    uint64_t index;
    int rc = raft_member_add(core, 9, "C", "c", &index);
    return rc == DRAX_EPENDING ? 0 : rc;
}

static int call_promote(raft_t *core) {
    uint64_t index;
    return raft_member_promote(core, 9, &index);
}

static int call_read(raft_t *core) {
    return raft_read(core, 1, 1);
}

static raft_t *leader_settled(void) {
    raft_t *core = core_leader(3);
    core_acknowledge(core, 2, CORE_LAST + 1);
    core_acknowledge(core, 3, CORE_LAST + 1);
    core_write(core);
    assert_int_equal(raft_commit(core), CORE_LAST + 1);
    return core;
}

static void test_new(void **state) {
    (void) state;
    raft_t *core = NULL;
    unsigned failures = 0;
    for (unsigned nth = 1; !core; nth++) {
        countdown = nth;
        int rc = raft_new(&core, &core_options, &core_empty, 0);
        countdown = 0;
        if (rc) {
            assert_int_equal(rc, DRAX_ENOMEM);
            assert_null(core);
            failures++;
        }
    }
    assert_int_equal(failures, 2); /* itself and the terms: an empty log has no memberships */
    assert_true(sweep(core, call_bootstrap) >= 2);
    core_write(core);
    assert_int_equal(raft_role(core), RAFT_LEADER);
    raft_destroy(&core);
}

static void test_changes(void **state) {
    (void) state;
    raft_t *core = leader_settled();
    payload_t *payload = payload_copy("x", 1);
    for (unsigned i = 0; i < 7; i++) /* the log's array is full, so that one more makes it grow */
        assert_int_equal(raft_propose(core, 1, 1, payload), 0);
    payload_unref(&payload);
    assert_int_equal(sweep(core, call_add), 2);
    core_write(core);
    uint64_t last = raft_last_index(core);
    for (unsigned round = 0; raft_commit(core) < last || round < 4; round++) {
        for (uint64_t peer = 2; peer <= 9; peer += peer == 3 ? 6 : 1) {
            core_acknowledge(core, peer, last);
            core_step(core, core_message(MESSAGE_HEARTBEAT_RESULT, peer, raft_term(core)));
        }
        countdown = 1; /* the leader's own promotion, for want of memory, is put off */
        raft_tick(core, raft_deadline_ms(core));
        countdown = 0;
        core_write(core);
    }
    assert_int_equal(raft_last_index(core), last);
    assert_int_equal(sweep(core, call_promote), 1);
    assert_int_equal(raft_config(core)->members[3].role, MEMBER_VOTER);
    raft_destroy(&core);

    core = leader_settled();
    assert_true(sweep(core, call_remove) >= 1);
    assert_int_equal(raft_config(core)->count, 2);
    raft_destroy(&core);

    core = leader_settled();
    assert_true(sweep(core, call_move) >= 1);
    assert_string_equal(config_member(raft_config(core), 3)->addr, "X");
    raft_destroy(&core);

    core = leader_settled();
    for (unsigned i = 0; i < 12; i++) { /* node 3 is silent */
        core_step(core, core_message(MESSAGE_HEARTBEAT_RESULT, 2, raft_term(core)));
        raft_tick(core, raft_deadline_ms(core));
        core_write(core);
    }
    assert_true(sweep(core, call_replace) >= 1);
    assert_int_equal(raft_config(core)->count, 2);
    raft_destroy(&core);
}

/* A forward that cannot be kept is a message lost. */
static void test_forward(void **state) {
    (void) state;
    raft_t *core = leader_settled();
    uint64_t last = raft_last_index(core);
    for (unsigned i = 0; i < 64; i++) { /* until the log's array has to grow */
        for (countdown = 1;; countdown = 0) {
            message_t message = core_message(MESSAGE_FORWARD, 2, raft_term(core));
            bool armed = countdown != 0;
            countdown = 0;
            message.propose.payload = payload_copy("x", 1);
            countdown = armed;
            core_step(core, message);
            if (raft_last_index(core) == last + 1)
                break;
            assert_int_equal(raft_last_index(core), last);
            assert_true(armed);
        }
        countdown = 0;
        last++;
    }
    assert_true(sweep(core, call_read) >= 1);
    raft_destroy(&core);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
