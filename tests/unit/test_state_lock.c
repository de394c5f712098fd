/* test_state_lock.c: locks, fences and those that wait: the rules one by one, then random ones
 * against a model, over crashes and snapshots. */
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
#define SETTLED(want) assert_string_equal(world_settled(world), want)
#define LOCK(key, options) "[0, 1, \"lock\", [\"" key "\", {\"ttl_ms\": 500" options "}]]"
#define UNLOCK(key, token) "[0, 1, \"unlock\", [\"" key "\", " #token "]]"
#define PUT(key, options) "[0, 1, \"put\", [\"" key "\", \"v\", {" options "}]]"
#define FENCE(key, token) "\"fence\": [\"" key "\", " #token "]"
#define GET(key) "[0, 1, \"get\", [\"" key "\"]]"
#define EXISTS(key) "[0, 1, \"exists\", [\"" key "\"]]"
#define TRY ", \"wait_ms\": 0"

/* A command of a gateway about waiters. */
static void wait_apply(world_t *world, wait_op_t op, uint64_t waiter) {
    char command[64];
    snprintf(command, sizeof command, "[\"%s\", [%llu]]", op == WAIT_CANCEL ? "cancel" : "resume",
             (unsigned long long) waiter);
    world_apply(world, command);
}

/* ---- holding ---- */

static void free_held_free(void **state) {
    world_t *world = *state;
    APPLY(LOCK("l", ""), "{token: 1, lease: 1, revision: 1}");
    QUERY(GET("l"), "{key: \"l\", value: '', index: 1, revision: 1, ttl_ms: 500, lease: 1}");
    APPLY(LOCK("l", TRY), "CANNOT_LOCK");
    APPLY(LOCK("m", ", \"value\": \"me\""), "{token: 2, lease: 2, revision: 2}");
    QUERY(GET("m"), "{key: \"m\", value: 'me', index: 2, revision: 2, ttl_ms: 500, lease: 2}");
    APPLY(UNLOCK("l", 2), "LOCK_LOST");
    APPLY(UNLOCK("l", 0), "LOCK_LOST");
    APPLY(UNLOCK("no", 1), "LOCK_LOST");
    APPLY(UNLOCK("l", 1), "{revision: 3}");
    APPLY(UNLOCK("l", 1), "LOCK_LOST");
    QUERY(EXISTS("l"), "{exists: false, revision: 3}");
    APPLY(LOCK("l", TRY), "{token: 3, lease: 3, revision: 4}");
    assert_int_equal(state_keys(world->state), 2);
}

static void a_plain_key_is_taken_over_and_stays(void **state) {
    world_t *world = *state;
    world_apply(world, "[0, 1, \"lease_grant\", [9000]]");
    world_apply(world, PUT("a", "\"lease\": 1"));
    world_apply(world, PUT("b", "\"ttl_ms\": 300"));
    APPLY(LOCK("a", ""), "{token: 2, lease: 2, revision: 3}");
    APPLY(LOCK("b", ", \"value\": \"mine\""), "{token: 3, lease: 3, revision: 4}");
    QUERY(GET("a"), "{key: \"a\", value: 'v', index: 3, revision: 4, ttl_ms: 500, lease: 2}");
    QUERY("[0, 1, \"lease_get\", [1]]",
          "{lease: 1, ttl_ms: 9000, granted_ms: 9000, keys: 0, revision: 4}");
    APPLY("[0, 1, \"put\", [\"a\", \"w\", {" FENCE("a", 2) "}]]", "{index: 5, revision: 5}");
    APPLY(UNLOCK("a", 2), "{revision: 6}");
    QUERY(GET("a"), "{key: \"a\", value: 'w', index: 6, revision: 6}");
    assert_int_equal(world_expire(world, 1500), 1); /* b's lock, not its old ttl */
    QUERY(GET("b"), "{key: \"b\", value: 'mine', index: 7, revision: 7}");
    APPLY(PUT("b", ""), "{index: 8, revision: 8}");
}

static void a_lock_ends_with_its_lease(void **state) {
    world_t *world = *state;
    world_apply(world, LOCK("l", ""));
    world_apply(world, PUT("other", "\"lease\": 1"));
    world->time_ms = 1400;
    APPLY("[0, 1, \"lease_keepalive\", [1]]", "{lease: 1, ttl_ms: 500}");
    assert_int_equal(world_expire(world, 1899), 0);
    assert_int_equal(world_expire(world, 1900), 1);
    assert_int_equal(state_revision(world->state), 3); /* both keys at once */
    assert_int_equal(state_keys(world->state), 0);
    APPLY(UNLOCK("l", 1), "LOCK_LOST");
    APPLY("[0, 1, \"lease_keepalive\", [1]]", "LEASE_NOT_FOUND");
    world_apply(world, LOCK("l", ""));
    world_apply(world, PUT("other", "\"lease\": 2"));
    APPLY("[0, 1, \"lease_revoke\", [2]]", "{revision: 6}");
    world_apply(world, LOCK("l", ""));
    world_apply(world, PUT("other", "\"lease\": 3"));
    APPLY(UNLOCK("l", 3), "{revision: 9}");
    assert_int_equal(state_keys(world->state), 0);
    assert_false(state_has_expiries(world->state));
}

/* ---- fences ---- */

static void fences_on_any_write(void **state) {
    static const char *const writes[] = {
        "[0, 1, \"put\", [\"x\", \"v\", {%s}]]",
        "[0, 1, \"atomic_put\", [\"y\", \"v\", nil, {%s}]]",
        "[0, 1, \"delete\", [\"y\", {%s}]]",
        "[0, 1, \"delete_tree\", [\"t\", {%s}]]",
        "[0, 1, \"txn\", [[], [[\"put\", [\"z\", \"v\"]]], [], {%s}]]",
        "[0, 1, \"txn\", [[], [[\"put\", [\"z\", \"v\", {%s}]]], []]]",
        "[0, 1, \"lease_grant\", [100, {%s}]]",
        "[0, 1, \"lock\", [\"k\", {\"ttl_ms\": 1, %s}]]",
    };
    world_t *world = *state;
    world_apply(world, LOCK("l", ""));
    world_apply(world, PUT("t/1", ""));
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        static const char *const wrong[] = {FENCE("l", 2), FENCE("l", 0), FENCE("m", 1),
                                            FENCE("t/1", 1)};
        char command[256];
        uint64_t revision = state_revision(world->state);
        for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
            snprintf(command, sizeof command, writes[i], wrong[w]);
            APPLY(command, "LOCK_LOST");
            assert_int_equal(state_revision(world->state), revision);
        }
        snprintf(command, sizeof command, writes[i], FENCE("l", 1));
        assert_memory_equal(world_apply(world, command), "{", 1);
    }
    world_apply(world, UNLOCK("l", 1));
    APPLY(PUT("x", FENCE("l", 1)), "LOCK_LOST");
}

static void a_held_key_takes_its_fence_alone(void **state) {
    static const char *const writes[] = {
        "[0, 1, \"put\", [\"d/l\", \"v\", {%s}]]",
        "[0, 1, \"atomic_put\", [\"d/l\", \"v\", nil, {%s}]]",
        "[0, 1, \"atomic_put\", [\"d/l\", \"v\", 1, {%s}]]",
        "[0, 1, \"delete\", [\"d/l\", {%s}]]",
        "[0, 1, \"atomic_delete\", [\"d/l\", 1, {%s}]]",
        "[0, 1, \"delete_tree\", [\"d\", {%s}]]",
        "[0, 1, \"delete_tree\", [\"\", {%s}]]",
        "[0, 1, \"txn\", [[], [[\"put\", [\"d/l\", \"v\"]]], [], {%s}]]",
        "[0, 1, \"txn\", [[], [[\"put\", [\"d/a\", \"w\"]], [\"delete_tree\", [\"d\", {%s}]]], "
        "[]]]",
    };
    world_t *world = *state;
    world_apply(world, LOCK("d/l", ", \"value\": \"held\""));
    world_apply(world, LOCK("e", ""));
    world_apply(world, PUT("d/a", ""));
    world_apply(world, PUT("d/z", ""));
    world_apply(world, "nil");
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        char command[256];
        snprintf(command, sizeof command, writes[i], "\"client\": nil");
        if (strstr(command, "[[\"put\", [\"d/a\"") == NULL) {
            APPLY(command, "CANNOT_LOCK");
            snprintf(command, sizeof command, writes[i], FENCE("e", 2)); /* a good one of another */
        } else {
            snprintf(command, sizeof command, writes[i], FENCE("e", 2));
        }
        APPLY(command, "CANNOT_LOCK");
        assert_int_equal(state_revision(world->state), 4);
        QUERY("[0, 1, \"list\", [\"d\"]]",
              "{pairs: [{key: \"d/a\", value: 'v', index: 3}, {key: \"d/l\", value: 'held', index: "
              "1}, {key: \"d/z\", value: 'v', index: 4}], more: false, revision: 4}");
    }
    /* With it: the key stays locked, whatever is written. */
    APPLY(PUT("d/l", FENCE("d/l", 1)), "{index: 5, revision: 5}");
    APPLY(PUT("d/l", "\"lease\": 1, " FENCE("d/l", 1)), "{index: 6, revision: 6}");
    APPLY(PUT("d/l", "\"ttl_ms\": 1, " FENCE("d/l", 1)), "INVALID_ARGUMENT");
    APPLY(PUT("d/l", "\"lease\": 2, " FENCE("d/l", 1)), "INVALID_ARGUMENT");
    APPLY("[0, 1, \"txn\", [[], [[\"put\", [\"d/l\", \"w\"]], [\"put\", [\"b\", \"w\"]]], [], "
          "{" FENCE("d/l", 1) "}]]",
          "{succeeded: true, results: [{index: 7, revision: 7}, {index: 7, revision: 7}], "
          "revision: 7}");
    APPLY(LOCK("d/l", TRY), "CANNOT_LOCK");
    QUERY(GET("d/l"), "{key: \"d/l\", value: 'w', index: 7, revision: 7, ttl_ms: 500, lease: 1}");
    /* Trees beside it are free. */
    APPLY("[0, 1, \"delete_tree\", [\"d/l\"]]", "KEY_NOT_FOUND");
    APPLY(UNLOCK("d/l", 1), "{revision: 8}");
    QUERY(EXISTS("d/l"), "{exists: false, revision: 8}");
}

/* A holder that deletes its key lets go of the lock. */
static void deleting_it_lets_go(void **state) {
    world_t *world = *state;
    world_apply(world, LOCK("d/l", ""));
    world_apply(world, PUT("d/a", "\"lease\": 1"));
    world_apply(world, PUT("more", "\"lease\": 1"));
    APPLY(LOCK("d/l", ", \"value\": \"next\""), "waits 1");
    APPLY("[0, 1, \"delete_tree\", [\"d\", {" FENCE("d/l", 1) "}]]", "{deleted: 2, revision: 4}");
    SETTLED("1 {token: 2, lease: 2, revision: 4}; ");
    QUERY("[0, 1, \"range\", [\"\", \"\"]]",
          "{pairs: [{key: \"d/l\", value: 'next', index: 4}], count: 1, more: false, revision: 4}");
    APPLY("[0, 1, \"delete\", [\"d/l\", {" FENCE("d/l", 2) "}]]", "{revision: 5}");
    assert_int_equal(state_keys(world->state), 0);
    APPLY(UNLOCK("d/l", 2), "LOCK_LOST");
    APPLY(LOCK("d/l", TRY), "{token: 3, lease: 3, revision: 6}");
    /* In a transaction that is refused afterwards, the lock stays held and nobody is told. */
    APPLY(LOCK("d/l", ""), "waits 2");
    APPLY("[0, 1, \"txn\", [[], [[\"delete\", [\"d/l\", {" FENCE("d/l", 3) "}]], [\"delete\", "
                                                                           "[\"no\"]]], []]]",
          "KEY_NOT_FOUND");
    SETTLED("");
    APPLY(PUT("x", FENCE("d/l", 3)), "{index: 7, revision: 7}");
    APPLY(
        "[0, 1, \"txn\", [[], [[\"delete\", [\"d/l\"]], [\"put\", [\"d/l\", \"v\"]]], [], {" FENCE(
            "d/l", 3) "}]]",
        "CANNOT_LOCK"); /* by then it is the next one's */
    APPLY(UNLOCK("d/l", 3), "{revision: 8}");
    SETTLED("2 {token: 4, lease: 4, revision: 8}; ");
}

/* ---- waiting ---- */

static void first_come_first_served(void **state) {
    world_t *world = *state;
    world_apply(world, LOCK("l", ""));
    APPLY(LOCK("l", ", \"value\": \"a\""), "waits 1");
    APPLY(LOCK("l", ", \"wait_ms\": 100"), "waits 2");
    APPLY(LOCK("ll", ""), "{token: 2, lease: 2, revision: 2}"); /* another lock, another queue */
    APPLY(LOCK("ll", ""), "waits 3");
    APPLY(LOCK("l", ", \"value\": \"c\""), "waits 4");
    assert_int_equal(state_revision(world->state), 2);
    world->time_ms = 1200;
    APPLY(UNLOCK("l", 1), "{revision: 3}");
    SETTLED("1 {token: 3, lease: 3, revision: 3}; ");
    /* The lease begins with the grant. */
    QUERY(GET("l"), "{key: \"l\", value: 'a', index: 3, revision: 3, ttl_ms: 500, lease: 3}");
    wait_apply(world, WAIT_CANCEL, 2);
    SETTLED("2 CANNOT_LOCK; ");
    wait_apply(world, WAIT_CANCEL, 2);
    SETTLED("2 ; ");
    wait_apply(world, WAIT_CANCEL, 1); /* it has it already */
    SETTLED("1 {token: 3, lease: 3, revision: 3}; ");
    assert_int_equal(world_expire(world, 1700), 2);
    assert_int_equal(state_revision(world->state), 4);
    SETTLED("3 {token: 4, lease: 4, revision: 4}; 4 {token: 5, lease: 5, revision: 4}; ");
    QUERY(GET("l"), "{key: \"l\", value: 'c', index: 4, revision: 4, ttl_ms: 500, lease: 5}");
    assert_int_equal(world_expire(world, 2200), 2);
    assert_int_equal(state_keys(world->state), 0);
}

static void a_taken_over_key_stays_through_all_hands(void **state) {
    world_t *world = *state;
    world_apply(world, PUT("k", ""));
    world_apply(world, LOCK("k", ""));
    APPLY(LOCK("k", ""), "waits 1");
    APPLY(LOCK("k", ", \"value\": \"last\""), "waits 2");
    APPLY(UNLOCK("k", 1), "{revision: 3}");
    QUERY(GET("k"), "{key: \"k\", value: 'v', index: 3, revision: 3, ttl_ms: 500, lease: 2}");
    APPLY(UNLOCK("k", 2), "{revision: 4}");
    APPLY(UNLOCK("k", 3), "{revision: 5}");
    QUERY(GET("k"), "{key: \"k\", value: 'last', index: 5, revision: 5}");
}

static void what_became_of_it_can_be_asked(void **state) {
    world_t *world = *state;
    world_apply(world, LOCK("l", ""));
    APPLY(LOCK("l", ""), "waits 1");
    wait_apply(world, WAIT_RESUME, 1);
    SETTLED(""); /* it waits */
    world_apply(world, UNLOCK("l", 1));
    world_apply(world, PUT("l", FENCE("l", 2)));
    for (int i = 0; i < 2; i++) {
        wait_apply(world, WAIT_RESUME, 1);
        SETTLED("1 {token: 2, lease: 2, revision: 2}; ");
        world_flush(world);
    }
    world_apply(world, UNLOCK("l", 2));
    wait_apply(world, WAIT_RESUME, 1);
    SETTLED("1 ; "); /* not known any more */
    wait_apply(world, WAIT_RESUME, 99);
    SETTLED("99 ; ");
}

static void waiters_are_bounded(void **state) {
    world_t *world = *state;
    char command[96];
    world_apply(world, LOCK("l", ""));
    world_apply(world, LOCK("m", ""));
    for (unsigned i = 0; i < LIMIT_WAITERS; i++) {
        snprintf(command, sizeof command, "[0, 1, \"lock\", [\"%c\", {\"ttl_ms\": 9}]]",
                 i % 2 ? 'l' : 'm');
        world_apply(world, command);
    }
    APPLY("[0, 1, \"lock\", [\"l\", {\"ttl_ms\": 9, \"client\": \"c\", \"seq\": 1}]]",
          "UNAVAILABLE");
    APPLY(UNLOCK("l", 1), "{revision: 3}");
    char want[32];
    snprintf(want, sizeof want, "waits %u", LIMIT_WAITERS + 1);
    APPLY("[0, 1, \"lock\", [\"l\", {\"ttl_ms\": 9, \"client\": \"c\", \"seq\": 1}]]", want);
}

/* ---- exactly once ---- */

#define ONCE(seq) ", \"client\": \"c\", \"seq\": " #seq

static void a_lock_is_granted_once(void **state) {
    world_t *world = *state;
    for (int round = 0; round < 2; round++) {
        APPLY(LOCK("l", ONCE(1)), "{token: 1, lease: 1, revision: 1}");
        APPLY(LOCK("l", TRY ONCE(2)), "CANNOT_LOCK");
        APPLY(LOCK("l", ONCE(3)), "waits 1"); /* the second time it joins itself */
        APPLY(LOCK("l", ", \"value\": \"x\"" ONCE(3)), "INVALID_ARGUMENT");
        APPLY(PUT("a", "\"client\": \"c\", \"seq\": 3"), "INVALID_ARGUMENT");
        world_flush(world);
    }
    APPLY("[0, 1, \"unlock\", [\"l\", 1, {\"client\": \"c\", \"seq\": 4}]]", "{revision: 2}");
    SETTLED("1 {token: 2, lease: 2, revision: 2}; ");
    APPLY("[0, 1, \"unlock\", [\"l\", 1, {\"client\": \"c\", \"seq\": 4}]]", "{revision: 2}");
    APPLY(LOCK("l", ONCE(3)), "{token: 2, lease: 2, revision: 2}");
    APPLY(LOCK("l", ONCE(1)), "{token: 1, lease: 1, revision: 1}");
    APPLY(UNLOCK("l", 2), "{revision: 3}");
    APPLY(LOCK("l", ONCE(3)), "{token: 2, lease: 2, revision: 2}"); /* the first answer, for ever */
    APPLY(LOCK("l", ONCE(5)), "{token: 3, lease: 3, revision: 4}");
    APPLY(LOCK("l", ONCE(6)), "waits 2");
    wait_apply(world, WAIT_CANCEL, 2);
    APPLY(LOCK("l", ONCE(6)), "CANNOT_LOCK");
}

/* Its client asks for more than is kept meanwhile, and is idle for an hour. */
static void what_waits_is_not_forgotten(void **state) {
    world_t *world = *state;
    char command[96];
    world_apply(world, "[0, 1, \"lock\", [\"l\", {\"ttl_ms\": 9000000}]]");
    APPLY(LOCK("l", ONCE(2000)), "waits 1");
    for (unsigned seq = 1; seq <= SESSION_ANSWERS + 10; seq++) {
        snprintf(command, sizeof command,
                 "[0, 1, \"put\", [\"k\", \"v\", {\"client\": \"c\", \"seq\": %u}]]", seq);
        world_apply(world, command);
    }
    APPLY(LOCK("l", ONCE(2000)), "waits 1");
    world->time_ms += 2 * 3600000;
    for (int i = 0; i < 20; i++)
        world_apply(world, "nil");
    APPLY(LOCK("l", ONCE(2000)), "waits 1");
    world_apply(world, UNLOCK("l", 1));
    assert_memory_equal(world_settled(world), "1 {token: 2", 11);
    assert_memory_equal(world_apply(world, LOCK("l", ONCE(2000))), "{token: 2", 9);
    /* One whose seq is below all that is kept is told, but not kept: never applied again. */
    APPLY(LOCK("l", ONCE(2001)), "waits 2");
    for (unsigned seq = 3000; seq < 3000 + SESSION_ANSWERS; seq++) {
        snprintf(command, sizeof command,
                 "[0, 1, \"put\", [\"k\", \"v\", {\"client\": \"c\", \"seq\": %u}]]", seq);
        world_apply(world, command);
    }
    world_apply(world, UNLOCK("l", 2));
    assert_memory_equal(world_settled(world), "2 {token: 3", 11);
    APPLY(LOCK("l", ONCE(2001)), "INVALID_ARGUMENT");
}

/* ---- gateways that die ---- */

static void block_of(world_t *world, uint64_t node, uint64_t boot, const char *text) {
    buffer_t command = {0}, block = {0};
    state_applied_t applied;
    text_msgpack(&command, text);
    block_begin(&block, node, boot, 1, 0, 1);
    block_add(&block, (slice_t){command.data, command.size});
    assert_int_equal(world_block(world, &block, &applied), 0);
    assert_false(applied.skipped);
    buffer_free(&command);
    buffer_free(&block);
}

static void waiters_of_a_dead_gateway_go(void **state) {
    world_t *world = *state;
    block_of(world, 7, 3, LOCK("l", ""));
    block_of(world, 8, 3, LOCK("l", ""));      /* waiter 1, of another node */
    block_of(world, 9, 3, LOCK("l", ONCE(1))); /* waiter 2, can be asked for again */
    block_of(world, 6, 3, LOCK("l", ""));      /* waiter 3 */
    block_of(world, 6, 4, PUT("x", ""));       /* node 6 has a new gateway */
    block_of(world, 9, 4, PUT("x", ""));       /* node 9 too */
    wait_apply(world, WAIT_RESUME, 3);
    SETTLED("3 ; ");
    world_apply(world, UNLOCK("l", 1));
    SETTLED("1 {token: 2, lease: 2, revision: 4}; ");
    world_apply(world, UNLOCK("l", 2));
    SETTLED("2 {token: 3, lease: 3, revision: 5}; ");
    world_apply(world, UNLOCK("l", 3));
    assert_false(state_has_expiries(world->state));
}

/* ---- random ones against a model ---- */

#define KEYS 3
#define STEPS 3000
#define MODEL_WAITERS 64
#define TTL_MS 400u

typedef struct model_waiter {
    uint64_t number;
    unsigned value; /* 0: none given */
} model_waiter_t;

typedef struct model_key {
    bool there, taken;
    unsigned value;
    uint64_t index, token, due_ms; /* token 0: not locked */
    uint64_t waiter, granted;      /* who was granted it after waiting (0: none), and when */
    model_waiter_t queue[MODEL_WAITERS];
    size_t waiting;
} model_key_t;

typedef struct model {
    model_key_t keys[KEYS];
    uint64_t revision, granted, queued, time_ms, seed;
    char answer[128], settled[1024];
} model_t;

static void tell(model_t *self, uint64_t number, const model_key_t *key) {
    size_t at = strlen(self->settled);
    snprintf(self->settled + at, sizeof self->settled - at,
             key ? "%llu {token: %llu, lease: %llu, revision: %llu}; " : "%llu CANNOT_LOCK; ",
             (unsigned long long) number, key ? (unsigned long long) key->token : 0,
             key ? (unsigned long long) key->token : 0,
             key ? (unsigned long long) key->granted : 0);
}

static void model_take(model_t *self, model_key_t *key, unsigned value, uint64_t revision) {
    key->value = value ? value : key->taken ? key->value : 0;
    key->there = true;
    key->index = key->granted = revision;
    key->waiter = 0;
    key->token = ++self->granted;
    key->due_ms = self->time_ms + TTL_MS;
}

/* The lock ends at `revision`; `deleted`: its holder deleted the key. */
static void model_end(model_t *self, model_key_t *key, uint64_t revision, bool deleted) {
    key->taken = key->taken && !deleted;
    key->token = 0;
    if (key->waiting) {
        model_waiter_t next = key->queue[0];
        memmove(key->queue, key->queue + 1, --key->waiting * sizeof next);
        model_take(self, key, next.value, revision);
        key->waiter = next.number;
        tell(self, next.number, key);
    } else {
        key->there = key->taken;
        key->index = revision;
        key->taken = false;
    }
}

static const char *revision_text(model_t *self, bool changed) {
    self->revision += changed;
    snprintf(self->answer, sizeof self->answer, "{revision: %llu}",
             (unsigned long long) self->revision);
    return self->answer;
}

static void model_lock(model_t *self, model_key_t *key, unsigned value, bool wait) {
    if (!key->token) {
        key->taken = key->there;
        model_take(self, key, value, ++self->revision);
        snprintf(self->answer, sizeof self->answer, "{token: %llu, lease: %llu, revision: %llu}",
                 (unsigned long long) key->token, (unsigned long long) key->token,
                 (unsigned long long) self->revision);
    } else if (!wait || key->waiting == MODEL_WAITERS) {
        snprintf(self->answer, sizeof self->answer, "CANNOT_LOCK");
    } else {
        key->queue[key->waiting++] = (model_waiter_t){++self->queued, value};
        snprintf(self->answer, sizeof self->answer, "waits %llu",
                 (unsigned long long) self->queued);
    }
}

/* Deletes all keys, if those locked are at most the one whose token is given. */
static void model_tree(model_t *self, uint64_t token) {
    unsigned deleted = 0;
    for (int i = 0; i < KEYS; i++) {
        const model_key_t *key = &self->keys[i];
        deleted += key->there;
        if (!key->token || key->token == token)
            continue;
        snprintf(self->answer, sizeof self->answer, "CANNOT_LOCK");
        return;
    }
    if (!deleted) {
        snprintf(self->answer, sizeof self->answer, "KEY_NOT_FOUND");
        return;
    }
    self->revision++;
    for (int i = 0; i < KEYS; i++) {
        if (self->keys[i].token)
            model_end(self, &self->keys[i], self->revision, true);
        else
            self->keys[i].there = false;
    }
    snprintf(self->answer, sizeof self->answer, "{deleted: %u, revision: %llu}", deleted,
             (unsigned long long) self->revision);
}

static void model_cancel(model_t *self, uint64_t number) {
    for (int i = 0; i < KEYS; i++) {
        model_key_t *key = &self->keys[i];
        for (size_t w = 0; w < key->waiting; w++) {
            if (key->queue[w].number != number)
                continue;
            memmove(key->queue + w, key->queue + w + 1,
                    (--key->waiting - w) * sizeof key->queue[0]);
            tell(self, number, NULL);
            return;
        }
        if (number && key->token && key->waiter == number) {
            tell(self, number, key);
            return;
        }
    }
    snprintf(self->settled, sizeof self->settled, "%llu ; ", (unsigned long long) number);
}

/* A random command and what it must come to. */
static void command_random(model_t *self, char *out, size_t size) {
    int number = (int) (random_next(&self->seed) % KEYS);
    model_key_t *key = &self->keys[number];
    char name = (char) ('a' + number), with[48] = "", fence[48] = "";
    unsigned value = (unsigned) (random_next(&self->seed) % 3 ? random_next(&self->seed) % 900 : 0);
    bool right = random_next(&self->seed) % 3 > 0 && key->token;
    unsigned long long token = right ? key->token : self->granted + 1;
    self->settled[0] = 0;
    if (value)
        snprintf(with, sizeof with, ", \"value\": \"%u\"", value);
    if (right)
        snprintf(fence, sizeof fence, "\"fence\": [\"%c\", %llu]", name, token);
    bool refused = key->token && !right;
    switch (random_next(&self->seed) % 9) {
    case 0:
    case 1:
    case 2: {
        bool wait = random_next(&self->seed) % 3 && key->waiting < MODEL_WAITERS;
        snprintf(out, size, "[0, 1, \"lock\", [\"%c\", {\"ttl_ms\": %u, \"wait_ms\": %s%s}]]", name,
                 TTL_MS, wait ? "nil" : "0", with);
        model_lock(self, key, value, wait);
        break;
    }
    case 3:
        snprintf(out, size, "[0, 1, \"unlock\", [\"%c\", %llu]]", name, token);
        snprintf(self->answer, sizeof self->answer, "LOCK_LOST");
        if (right) {
            revision_text(self, true);
            model_end(self, key, self->revision, false);
        }
        break;
    case 4:
        value++; /* never none */
        snprintf(out, size, "[0, 1, \"put\", [\"%c\", \"%u\", {%s}]]", name, value, fence);
        snprintf(self->answer, sizeof self->answer, "CANNOT_LOCK");
        if (refused)
            break;
        key->there = true;
        key->value = value;
        key->index = ++self->revision;
        snprintf(self->answer, sizeof self->answer, "{index: %llu, revision: %llu}",
                 (unsigned long long) key->index, (unsigned long long) key->index);
        break;
    case 5:
        snprintf(out, size, "[0, 1, \"delete\", [\"%c\", {%s}]]", name, fence);
        snprintf(self->answer, sizeof self->answer, refused ? "CANNOT_LOCK" : "KEY_NOT_FOUND");
        if (refused || !key->there)
            break;
        revision_text(self, true);
        if (key->token)
            model_end(self, key, self->revision, true);
        else
            key->there = false;
        break;
    case 6:
        snprintf(out, size, "[0, 1, \"delete_tree\", [\"\", {%s}]]", fence);
        model_tree(self, right ? key->token : 0);
        break;
    case 7:
        snprintf(out, size, "[\"cancel\", [%llu]]", (unsigned long long) self->queued);
        revision_text(self, false);
        model_cancel(self, self->queued);
        break;
    default:
        snprintf(out, size, "[0, 1, \"lease_keepalive\", [%llu]]", token);
        snprintf(self->answer, sizeof self->answer, "LEASE_NOT_FOUND");
        if (!right)
            break;
        key->due_ms = self->time_ms + TTL_MS;
        snprintf(self->answer, sizeof self->answer, "{lease: %llu, ttl_ms: %u}", token, TTL_MS);
    }
}

/* All that is due ends, in the order of time, then of leases. */
static void model_expire(model_t *self) {
    uint64_t revision = self->revision + 1;
    self->settled[0] = 0;
    for (;;) {
        model_key_t *first = NULL;
        for (int i = 0; i < KEYS; i++) {
            model_key_t *key = &self->keys[i];
            bool due = key->token && key->due_ms <= self->time_ms;
            if (due && (!first || key->due_ms < first->due_ms ||
                        (key->due_ms == first->due_ms && key->token < first->token)))
                first = key;
        }
        if (!first)
            return;
        self->revision = revision;
        model_end(self, first, revision, false);
    }
}

static void model_text(const model_t *self, char *out, size_t size) {
    size_t at = (size_t) snprintf(out, size, "{pairs: ["), count = 0;
    for (int i = 0; i < KEYS; i++) {
        const model_key_t *key = &self->keys[i];
        char value[16] = "";
        if (!key->there)
            continue;
        if (key->value)
            snprintf(value, sizeof value, "%u", key->value);
        at +=
            (size_t) snprintf(out + at, size - at, "%s{key: \"%c\", value: '%s', index: %llu}",
                              count++ ? ", " : "", 'a' + i, value, (unsigned long long) key->index);
    }
    snprintf(out + at, size - at, "], count: %zu, more: false, revision: %llu}", count,
             (unsigned long long) self->revision);
}

/* A node that follows the log behind, crashes and starts from what it flushed, and at the end takes
 * its state from a snapshot of itself. */
typedef struct follower {
    world_t world;
    temp_dir_t dir;
    entries_t log;
} follower_t;

static void log_command(follower_t *self, const world_t *leader, const char *command) {
    buffer_t bytes = {0}, block = {0};
    if (command) {
        text_msgpack(&bytes, command);
        block_begin(&block, WORLD_NODE, 1, leader->seq, leader->seq - 1, 1);
        block_add(&block, (slice_t){bytes.data, bytes.size});
    }
    entry_t entry = {.index = self->log.count + 1,
                     .term = 1,
                     .time_ms = leader->time_ms,
                     .kind = ENTRY_BLOCK,
                     .payload = payload_copy(block.data, block.size)};
    assert_int_equal(entries_push(&self->log, &entry), 0);
    entry_clear(&entry);
    buffer_free(&bytes);
    buffer_free(&block);
}

static void follower_open(follower_t *self) {
    kv_t *kv;
    assert_int_equal(kv_leveldb_open(&kv, self->dir.path, true), 0);
    assert_int_equal(state_open(&self->world.state, &kv), 0);
}

static void follower_step(follower_t *self, uint64_t *seed, const state_t *leader) {
    state_applied_t applied;
    while (state_applied(self->world.state) < self->log.count) {
        const entry_t *entry = &self->log.items[state_applied(self->world.state)];
        assert_int_equal(state_apply(self->world.state, entry, &applied), 0);
    }
    assert_true(state_digest(self->world.state) == state_digest(leader));
    if (random_next(seed) % 2)
        world_flush(&self->world);
    if (random_next(seed) % 4 == 0) {
        state_close(&self->world.state);
        follower_open(self);
    }
}

static void snapshot_send(state_t *from, state_t **to) {
    state_snapshot_t *snapshot;
    state_staging_t *staging;
    kv_t *kv;
    bool last = false;
    assert_int_equal(kv_memory_open(&kv), 0);
    assert_int_equal(state_staging_open(&staging, &kv), 0);
    assert_int_equal(state_snapshot_open(from, &snapshot), 0);
    for (uint64_t i = 0; !last; i++) {
        payload_t *chunk;
        assert_int_equal(state_snapshot_read(snapshot, i, 500, &chunk, &last), 0);
        assert_int_equal(state_staging_add(staging, i, payload_slice(chunk), last), 0);
        payload_unref(&chunk);
    }
    state_snapshot_close(from, &snapshot);
    assert_int_equal(state_staging_finish(&staging, &kv), 0);
    assert_int_equal(state_open(to, &kv), 0);
}

static void expire_step(world_t *world, model_t *model, follower_t *follower) {
    buffer_t block = {0};
    size_t count;
    assert_int_equal(state_expire_block(world->state, model->time_ms, &block, &count), 0);
    model_expire(model);
    entry_t entry = {.index = follower->log.count + 1,
                     .term = 1,
                     .time_ms = model->time_ms,
                     .kind = ENTRY_BLOCK,
                     .payload = payload_copy(block.data, block.size)};
    assert_int_equal(entries_push(&follower->log, &entry), 0);
    entry_clear(&entry);
    buffer_free(&block);
    world_expire(world, model->time_ms);
    assert_string_equal(world_settled(world), model->settled);
}

static void random_ones_match_the_model(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        model_t model = {.seed = seed, .time_ms = 1000};
        world_t world;
        follower_t follower = {.world = {0}};
        kv_t *kv;
        char want[512];
        assert_int_equal(kv_memory_open(&kv), 0);
        world_open(&world, kv);
        temp_dir_make(&follower.dir);
        follower_open(&follower);
        for (int i = 0; i < STEPS; i++) {
            char command[160];
            model.time_ms += random_next(&model.seed) % 40;
            world.time_ms = model.time_ms;
            command_random(&model, command, sizeof command);
            const char *answer = world_apply(&world, command);
            if (strcmp(answer, model.answer) != 0 ||
                strcmp(world_settled(&world), model.settled) != 0)
                fail_msg("%s: %s, not %s; settled %s, not %s", command, answer, model.answer,
                         world_settled(&world), model.settled);
            log_command(&follower, &world, command);
            if (random_next(&model.seed) % 6 == 0)
                expire_step(&world, &model, &follower);
            model_text(&model, want, sizeof want);
            assert_string_equal(world_query(&world, "[0, 1, \"range\", [\"\", \"\"]]"), want);
            if (random_next(&model.seed) % 40 == 0)
                follower_step(&follower, &model.seed, world.state);
            if (random_next(&model.seed) % 60 == 0)
                world_flush(&world);
        }
        /* What the receiver of a snapshot derived serves as well: all locks end, one by one. */
        world_flush(&world);
        state_t *receiver;
        snapshot_send(world.state, &receiver);
        state_close(&world.state);
        world.state = receiver;
        while (state_has_expiries(world.state)) {
            model.time_ms += TTL_MS;
            expire_step(&world, &model, &follower);
        }
        follower_step(&follower, &model.seed, world.state);
        world_close(&world);
        world_close(&follower.world);
        entries_clear(&follower.log);
        temp_dir_remove(&follower.dir);
    }
}

int main(void) {
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(free_held_free),
        WORLD_TEST(a_plain_key_is_taken_over_and_stays),
        WORLD_TEST(a_lock_ends_with_its_lease),
        WORLD_TEST(fences_on_any_write),
        WORLD_TEST(a_held_key_takes_its_fence_alone),
        WORLD_TEST(deleting_it_lets_go),
        WORLD_TEST(first_come_first_served),
        WORLD_TEST(a_taken_over_key_stays_through_all_hands),
        WORLD_TEST(what_became_of_it_can_be_asked),
        WORLD_TEST(waiters_are_bounded),
        WORLD_TEST(a_lock_is_granted_once),
        WORLD_TEST(what_waits_is_not_forgotten),
        WORLD_TEST(waiters_of_a_dead_gateway_go),
        cmocka_unit_test(random_ones_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
