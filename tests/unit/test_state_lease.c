/* test_state_lease.c: leases: numbers, renewal, keys that come and go, and the end of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/block.h"
#include "broker/error.h"
#include "kv_helper.h"
#include "message_random.h"
#include "state_helper.h"
#include "text_msgpack.h"

static int world_setup(void **state) {
    static world_t world;
    kv_t *kv;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(&world, kv);
    world.time_ms = 1000;
    *state = &world;
    return 0;
}

static int world_teardown(void **state) {
    world_close(*state);
    return 0;
}

#define APPLY(command, want) assert_string_equal(world_apply(world, command), want)
#define QUERY(request, want) assert_string_equal(world_query(world, request), want)
#define GRANT(ttl_ms) "[0, 1, \"lease_grant\", [" #ttl_ms "]]"
#define KEEPALIVE(lease) "[0, 1, \"lease_keepalive\", [" #lease "]]"
#define REVOKE(lease) "[0, 1, \"lease_revoke\", [" #lease "]]"
#define LEASE_GET(lease) "[0, 1, \"lease_get\", [" #lease "]]"
#define PUT_ON(key, lease) "[0, 1, \"put\", [\"" key "\", \"v\", {\"lease\": " #lease "}]]"
#define GET(key) "[0, 1, \"get\", [\"" key "\"]]"

static uint64_t next_expiry(world_t *world) {
    uint64_t due_ms;
    assert_int_equal(state_next_expiry(world->state, &due_ms), 0);
    return due_ms;
}

/* ---- the methods ---- */

static void granted_renewed_revoked(void **state) {
    world_t *world = *state;
    APPLY(GRANT(500), "{lease: 1, ttl_ms: 500}");
    APPLY(GRANT(700), "{lease: 2, ttl_ms: 700}");
    assert_int_equal(next_expiry(world), 1500);
    world->time_ms = 1100;
    QUERY(LEASE_GET(1), "{lease: 1, ttl_ms: 400, granted_ms: 500, keys: 0, revision: 0}");
    APPLY(KEEPALIVE(1), "{lease: 1, ttl_ms: 500}");
    QUERY(LEASE_GET(1), "{lease: 1, ttl_ms: 500, granted_ms: 500, keys: 0, revision: 0}");
    assert_int_equal(next_expiry(world), 1600);
    APPLY(REVOKE(1), "{revision: 0}"); /* it had no keys */
    assert_int_equal(next_expiry(world), 1700);
    APPLY(REVOKE(1), "LEASE_NOT_FOUND");
    APPLY(KEEPALIVE(1), "LEASE_NOT_FOUND");
    QUERY(LEASE_GET(1), "LEASE_NOT_FOUND");
    APPLY(PUT_ON("k", 1), "LEASE_NOT_FOUND");
    APPLY(PUT_ON("k", 3), "LEASE_NOT_FOUND");
    APPLY(GRANT(1), "{lease: 3, ttl_ms: 1}"); /* numbers never come again */
    APPLY("[0, 1, \"lease_grant\", [5, {\"fence\": [\"l\", 1]}]]", "LOCK_LOST");
    assert_int_equal(state_revision(world->state), 0);
}

static void keys_come_and_go(void **state) {
    world_t *world = *state;
    world_apply(world, GRANT(500));
    world_apply(world, GRANT(900));
    APPLY(PUT_ON("a", 1), "{index: 1, revision: 1}");
    world->time_ms = 1200;
    QUERY(GET("a"), "{key: \"a\", value: 'v', index: 1, revision: 1, ttl_ms: 300, lease: 1}");
    APPLY(PUT_ON("a", 1), "{index: 2, revision: 2}");
    QUERY(LEASE_GET(1), "{lease: 1, ttl_ms: 300, granted_ms: 500, keys: 1, revision: 2}");
    APPLY(PUT_ON("a", 2), "{index: 3, revision: 3}");
    QUERY(GET("a"), "{key: \"a\", value: 'v', index: 3, revision: 3, ttl_ms: 700, lease: 2}");
    QUERY(LEASE_GET(1), "{lease: 1, ttl_ms: 300, granted_ms: 500, keys: 0, revision: 3}");
    APPLY("[0, 1, \"put\", [\"a\", \"w\"]]", "{index: 4, revision: 4}");
    QUERY(GET("a"), "{key: \"a\", value: 'w', index: 4, revision: 4}");
    APPLY(REVOKE(2), "{revision: 4}");
    APPLY("[0, 1, \"atomic_put\", [\"a\", \"x\", 4, {\"lease\": 1}]]",
          "{key: \"a\", value: 'x', index: 5, revision: 5}");
    APPLY("[0, 1, \"put\", [\"a\", \"y\", {\"ttl_ms\": 90000}]]", "{index: 6, revision: 6}");
    QUERY(GET("a"), "{key: \"a\", value: 'y', index: 6, revision: 6, ttl_ms: 90000}");
    APPLY(PUT_ON("d/b", 1), "{index: 7, revision: 7}");
    APPLY(PUT_ON("d/c", 1), "{index: 8, revision: 8}");
    APPLY(PUT_ON("d/d", 1), "{index: 9, revision: 9}");
    APPLY("[0, 1, \"delete\", [\"d/b\"]]", "{revision: 10}");
    APPLY("[0, 1, \"delete_tree\", [\"d\"]]", "{deleted: 2, revision: 11}");
    QUERY(LEASE_GET(1), "{lease: 1, ttl_ms: 300, granted_ms: 500, keys: 0, revision: 11}");
    APPLY(REVOKE(1), "{revision: 11}");
    QUERY("[0, 1, \"exists\", [\"a\"]]", "{exists: true, revision: 11}");
}

static void the_end_takes_all_keys_at_one_revision(void **state) {
    world_t *world = *state;
    for (int flush = 0; flush < 2; flush++) {
        world_apply(world, GRANT(500));
        world_apply(world, GRANT(500));
        char command[96];
        for (int i = 0; i < 2500; i++) {
            snprintf(command, sizeof command, "[0, 1, \"put\", [\"k%d\", \"v\", {\"lease\": %d}]]",
                     i, 1 + flush * 2 + (i == 7));
            world_apply(world, command);
            if (flush && i == 1500)
                world_flush(world);
        }
        uint64_t revision = state_revision(world->state);
        snprintf(command, sizeof command, "[0, 1, \"lease_revoke\", [%d]]", 1 + flush * 2);
        char want[32];
        snprintf(want, sizeof want, "{revision: %llu}", (unsigned long long) revision + 1);
        APPLY(command, want);
        assert_int_equal(state_keys(world->state), 1); /* k7, on the other lease */
        snprintf(command, sizeof command, "[0, 1, \"lease_revoke\", [%d]]", 2 + flush * 2);
        world_apply(world, command);
        assert_int_equal(state_keys(world->state), 0);
        assert_false(state_has_expiries(world->state));
    }
}

static void granted_once(void **state) {
    world_t *world = *state;
    static const char grant[] = "[0, 1, \"lease_grant\", [500, {\"client\": \"c\", \"seq\": 1}]]";
    static const char renew[] = "[0, 1, \"lease_keepalive\", [1, {\"client\": \"c\", \"seq\": 2}]]";
    static const char revoke[] = "[0, 1, \"lease_revoke\", [1, {\"client\": \"c\", \"seq\": 3}]]";
    for (int round = 0; round < 3; round++) {
        APPLY(grant, "{lease: 1, ttl_ms: 500}");
        APPLY(renew, "{lease: 1, ttl_ms: 500}");
        if (round == 0) {
            assert_int_equal(next_expiry(world), 1500);
            world->time_ms = 1300; /* the second time renews nothing */
            APPLY(renew, "{lease: 1, ttl_ms: 500}");
            assert_int_equal(next_expiry(world), 1500);
        }
        APPLY(revoke, "{revision: 0}");
        world_flush(world);
    }
    APPLY("[0, 1, \"lease_grant\", [501, {\"client\": \"c\", \"seq\": 1}]]", "INVALID_ARGUMENT");
}

static void within_transactions(void **state) {
    world_t *world = *state;
    world_apply(world, GRANT(500));
    APPLY("[0, 1, \"txn\", [[], [[\"put\", [\"a\", \"v\", {\"lease\": 1}]], [\"get\", [\"a\"]]], "
          "[]]]",
          "{succeeded: true, results: [{index: 1, revision: 1}, {key: \"a\", value: 'v', index: 1, "
          "revision: 1, ttl_ms: 500, lease: 1}], revision: 1}");
    APPLY("[0, 1, \"txn\", [[], [[\"put\", [\"b\", \"v\", {\"lease\": 1}]], [\"put\", [\"a\", "
          "\"v\"]], [\"put\", [\"c\", \"v\", {\"lease\": 9}]]], []]]",
          "LEASE_NOT_FOUND");
    QUERY(LEASE_GET(1), "{lease: 1, ttl_ms: 500, granted_ms: 500, keys: 1, revision: 1}");
    APPLY(REVOKE(1), "{revision: 2}");
    assert_int_equal(state_keys(world->state), 0);
}

/* ---- expiry ---- */

static void expire_block_apply(world_t *world, const buffer_t *block) {
    state_applied_t applied;
    assert_int_equal(world_block(world, block, &applied), 0);
    assert_false(applied.skipped);
}

static void a_renewal_that_comes_first_wins(void **state) {
    world_t *world = *state;
    buffer_t block = {0};
    size_t count;
    world_apply(world, GRANT(500));
    world_apply(world, PUT_ON("a", 1));
    assert_int_equal(state_expire_block(world->state, 1500, &block, &count), 0);
    assert_int_equal(count, 1);
    world->time_ms = 1500;
    world_apply(world, KEEPALIVE(1));
    expire_block_apply(world, &block);
    QUERY(GET("a"), "{key: \"a\", value: 'v', index: 1, revision: 1, ttl_ms: 500, lease: 1}");
    /* The same block again when the lease is due, but renewed since it was made. */
    world->time_ms = 2100;
    expire_block_apply(world, &block);
    QUERY(GET("a"), "{key: \"a\", value: 'v', index: 1, revision: 1, ttl_ms: 1, lease: 1}");
    assert_int_equal(world_expire(world, 2100), 1);
    QUERY(GET("a"), "KEY_NOT_FOUND");
    assert_int_equal(state_revision(world->state), 2);
    QUERY(LEASE_GET(1), "LEASE_NOT_FOUND");
    buffer_free(&block);
}

/* One that is renewed before it is due, and one that is revoked, in blocks that name them. */
static void what_is_not_due_stays(void **state) {
    world_t *world = *state;
    buffer_t command = {0}, block = {0};
    world_apply(world, GRANT(500));
    world_apply(world, PUT_ON("a", 1));
    expire_begin(&command, 2);
    expire_add_lease(&command, 1, 0);
    expire_add_lease(&command, 77, 0);
    block_begin(&block, 0, 0, 0, 0, 1);
    block_add(&block, (slice_t){command.data, command.size});
    world->time_ms = 1499;
    expire_block_apply(world, &block);
    assert_int_equal(state_keys(world->state), 1);
    world->time_ms = 1500;
    expire_block_apply(world, &block);
    assert_int_equal(state_keys(world->state), 0);
    expire_block_apply(world, &block);
    assert_int_equal(state_revision(world->state), 2);
    buffer_free(&command);
    buffer_free(&block);
}

static void expiries_are_bounded_and_fair(void **state) {
    world_t *world = *state;
    char command[96];
    for (int i = 0; i < 600; i++) {
        world_apply(world, GRANT(10));
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"l%d\", \"v\", {\"lease\": %d}]]", i,
                 i + 1);
        world_apply(world, command);
    }
    for (int i = 0; i < 1200; i++) {
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"t%d\", \"v\", {\"ttl_ms\": 5}]]", i);
        world_apply(world, command);
    }
    /* A lease costs one, and one for each of its keys: 250 leases, 500 keys, and so on. */
    uint64_t revision = state_revision(world->state);
    assert_int_equal(world_expire(world, 2000), 750);
    assert_int_equal(world_expire(world, 2000), 750);
    assert_int_equal(world_expire(world, 2000), 300);
    assert_int_equal(world_expire(world, 2000), 0);
    assert_int_equal(state_revision(world->state), revision + 3);
    assert_int_equal(state_keys(world->state), 0);
}

static void keys_on_one_lease_are_bounded(void **state) {
    world_t *world = *state;
    char command[96], want[96];
    world_apply(world, GRANT(10));
    for (unsigned i = 0; i < LIMIT_LEASE_KEYS; i++) {
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"%u\", \"v\", {\"lease\": 1}]]", i);
        world_apply(world, command);
    }
    uint64_t revision = state_revision(world->state);
    assert_int_equal(revision, LIMIT_LEASE_KEYS);
    APPLY(PUT_ON("one more", 1), "TOO_LARGE");
    snprintf(want, sizeof want, "{index: %llu, revision: %llu}", (unsigned long long) revision + 1,
             (unsigned long long) revision + 1);
    APPLY(PUT_ON("17", 1), want);
    world_apply(world, "[0, 1, \"delete\", [\"17\"]]");
    world_apply(world, PUT_ON("one more", 1));
    assert_int_equal(state_keys(world->state), LIMIT_LEASE_KEYS);
    assert_int_equal(world_expire(world, 2000), 1);
    assert_int_equal(state_revision(world->state), revision + 4);
    assert_int_equal(state_keys(world->state), 0);
}

/* ---- what is due first ---- */

#define MANY 40

/* Keys and leases with random times, renewed, rewritten and deleted: the first one due is known at
 * every moment, also after flushes and a start from disk. */
static void the_first_due_is_always_known(void **unused) {
    (void) unused;
    uint64_t seed = 3, lease_due[MANY] = {0}, key_due[MANY] = {0};
    temp_dir_t dir;
    kv_t *kv;
    world_t world;
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    world_open(&world, kv);
    world.time_ms = 1000;
    for (int i = 0; i < MANY; i++) {
        world_apply(&world, "[0, 1, \"lease_grant\", [100000]]");
        lease_due[i] = 101000;
    }
    for (int step = 0; step < 3000; step++) {
        char command[96];
        unsigned i = (unsigned) (random_next(&seed) % MANY);
        unsigned ttl_ms = (unsigned) (random_next(&seed) % 200000) + 1;
        switch (random_next(&seed) % 4) {
        case 0:
            snprintf(command, sizeof command, "[0, 1, \"lease_keepalive\", [%u]]", i + 1);
            lease_due[i] = world.time_ms + 100000;
            break;
        case 1:
            snprintf(command, sizeof command, "[0, 1, \"put\", [\"%u\", \"v\", {\"ttl_ms\": %u}]]",
                     i, ttl_ms);
            key_due[i] = world.time_ms + ttl_ms;
            break;
        case 2:
            snprintf(command, sizeof command, "[0, 1, \"put\", [\"%u\", \"v\"]]", i);
            key_due[i] = 0;
            break;
        default:
            snprintf(command, sizeof command, "[0, 1, \"delete\", [\"%u\"]]", i);
            key_due[i] = 0;
        }
        world_apply(&world, command);
        world.time_ms += random_next(&seed) % 20;
        uint64_t first_ms = UINT64_MAX;
        for (int n = 0; n < MANY; n++) {
            first_ms = lease_due[n] < first_ms ? lease_due[n] : first_ms;
            first_ms = key_due[n] && key_due[n] < first_ms ? key_due[n] : first_ms;
        }
        if (random_next(&seed) % 3 == 0)
            assert_int_equal(next_expiry(&world), first_ms);
        if (step % 50 == 0)
            world_flush(&world);
        if (step % 500 == 499) {
            world_flush(&world);
            state_close(&world.state);
            assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
            assert_int_equal(state_open(&world.state, &kv), 0);
        }
    }
    world_close(&world);
    temp_dir_remove(&dir);
}

int main(void) {
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(granted_renewed_revoked),
        WORLD_TEST(keys_come_and_go),
        WORLD_TEST(the_end_takes_all_keys_at_one_revision),
        WORLD_TEST(granted_once),
        WORLD_TEST(within_transactions),
        WORLD_TEST(a_renewal_that_comes_first_wins),
        WORLD_TEST(what_is_not_due_stays),
        WORLD_TEST(expiries_are_bounded_and_fair),
        WORLD_TEST(keys_on_one_lease_are_bounded),
        cmocka_unit_test(the_first_due_is_always_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
