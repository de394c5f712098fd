/* test_node_lock.c: libdrax's locks, leases and transactions, of embedded nodes: one holder at a
 * time, in order, renewed while its client is driven, lost when it is not, over the loss of a
 * leader. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/embed/node_helper.h"

typedef struct {
    node_folder_t *folder;
    drax_node_options_t *options;
    drax_node_t *node;
    drax_t *store, *other; /* two clients */
} fixture_t;

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    assert_non_null(f);
    node_folder_setup((void **) &f->folder);
    f->options = node_options(f->folder, "a", NULL, NULL);
    f->node = node_up(f->folder, f->options);
    f->store = node_store(f->node);
    f->other = node_store(f->node);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_t *f = *state;
    drax_destroy(&f->store);
    drax_destroy(&f->other);
    drax_node_stop(&f->node);
    drax_node_options_destroy(&f->options);
    node_folder_teardown((void **) &f->folder);
    free(f);
    return 0;
}

static drax_lock_t *lock_new(drax_t *drax, uint64_t ttl_ms, const char *value) {
    drax_lock_t *lock;
    assert_int_equal(
        drax_lock_new(drax, "lock", 4, ttl_ms, value, value ? strlen(value) : 0, &lock), 0);
    return lock;
}

static void gone_expect(drax_t *store, const char *key) {
    assert_int_equal(drax_get(store, key, strlen(key), NULL, NULL), DRAX_ERR_KEY_NOT_FOUND);
}

static void test_one_holder(void **state) {
    fixture_t *f = *state;
    drax_lock_t *first = lock_new(f->store, 5000, "first"),
                *second = lock_new(f->other, 5000, NULL);
    assert_false(drax_lock_held(first));
    assert_int_equal(drax_lock_token(first), 0);
    assert_int_equal(drax_lock_release(first), DRAX_ERR_USAGE);
    assert_int_equal(drax_lock_take(first, DRAX_FOREVER), 0);
    assert_true(drax_lock_held(first));
    uint64_t token = drax_lock_token(first);
    assert_true(token > 0);
    assert_int_equal(drax_lock_take(first, 0), DRAX_ERR_USAGE);
    value_expect(f->other, "lock", "first");

    assert_int_equal(drax_lock_take(second, 0), DRAX_ERR_CANNOT_LOCK);
    uint64_t began_ms = clock_ms();
    assert_int_equal(drax_lock_take(second, 150), DRAX_ERR_CANNOT_LOCK);
    assert_true(clock_ms() - began_ms >= 150);
    assert_false(drax_lock_held(second));
    assert_int_equal(drax_put(f->other, "lock", 4, "x", 1, NULL, NULL), DRAX_ERR_CANNOT_LOCK);

    assert_int_equal(drax_lock_release(first), 0);
    assert_int_equal(drax_lock_take(second, 0), 0);
    assert_true(drax_lock_token(second) > token);
    value_expect(f->store, "lock", "");
    assert_int_equal(drax_lock_release(second), 0);
    gone_expect(f->store, "lock");
    assert_int_equal(drax_lock_take(first, 0), 0); /* and again */
    assert_int_equal(drax_lock_release(first), 0);
    drax_lock_destroy(&first);
    assert_null(first);
    drax_lock_destroy(&first);
    drax_lock_destroy(&second);
    drax_lock_t *lock;
    assert_int_equal(drax_lock_new(f->store, "k", 1, 0, NULL, 0, &lock), DRAX_ERR_USAGE);
    assert_null(lock);
}

/* Its holder does nothing but wait in drax_poll, for several times its ttl. */
static void on_lost(void *arg, drax_lock_t *lock) {
    atomic_uint *count = arg;
    assert_false(drax_lock_held(lock));
    (*count)++;
}

static void test_renewed_while_driven(void **state) {
    fixture_t *f = *state;
    atomic_uint lost = 0;
    drax_lock_t *lock = lock_new(f->store, 600, NULL), *other = lock_new(f->other, 600, NULL);
    drax_lock_lost_set(lock, on_lost, &lost);
    assert_int_equal(drax_lock_take(lock, 0), 0);
    for (uint64_t end_ms = clock_ms() + 2500; clock_ms() < end_ms;) {
        assert_int_equal(drax_poll(f->store, 200), 0);
        assert_true(drax_lock_held(lock));
    }
    assert_int_equal(drax_lock_take(other, 0), DRAX_ERR_CANNOT_LOCK);
    assert_int_equal(lost, 0);

    /* Not driven any more: it is over by itself, and says so before anybody else can have it. */
    uint64_t began_ms = clock_ms();
    assert_int_equal(drax_lock_take(other, DRAX_FOREVER), 0);
    assert_true(clock_ms() - began_ms < 600 + 1000);
    assert_false(drax_lock_held(lock));
    assert_int_equal(drax_poll(f->store, 1000), 1);
    assert_int_equal(lost, 1);
    assert_int_equal(drax_lock_token(lock), 0);
    assert_int_equal(drax_lock_release(lock), DRAX_ERR_LOCK_LOST);
    assert_int_equal(drax_poll(f->store, 0), 0);
    assert_int_equal(lost, 1);
    drax_lock_destroy(&lock);
    drax_lock_destroy(&other);
}

static void test_fences(void **state) {
    fixture_t *f = *state;
    drax_lock_t *lock = lock_new(f->store, 5000, NULL);
    drax_options_t *options = drax_options_new();
    assert_int_equal(drax_lock_take(lock, 0), 0);
    uint64_t token = drax_lock_token(lock);
    assert_int_equal(drax_options_fence_set(options, "lock", 4, token), 0);
    assert_int_equal(drax_put(f->store, "a", 1, "1", 1, options, NULL), 0);
    assert_int_equal(drax_put(f->store, "lock", 4, "progress", 8, options, NULL), 0);
    value_expect(f->other, "lock", "progress");
    /* Taken away: the token is its lease's number. */
    assert_int_equal(drax_lease_revoke(f->other, token, NULL, NULL), 0);
    assert_int_equal(drax_put(f->store, "a", 1, "2", 1, options, NULL), DRAX_ERR_LOCK_LOST);
    value_expect(f->other, "a", "1");
    atomic_uint lost = 0;
    drax_lock_lost_set(lock, on_lost, &lost);
    uint64_t end_ms = clock_ms() + NODE_WAIT_MS;
    while (lost == 0) {
        assert_true(drax_poll(f->store, 1000) >= 0);
        assert_true(clock_ms() < end_ms);
    }
    drax_options_destroy(&options);
    drax_lock_destroy(&lock);
}

/* ---- turns ---- */

#define CONTENDERS 6

typedef struct {
    pthread_t thread;
    drax_t *drax;
    atomic_uint *inside, *served;
    unsigned number, failed, order;
} contender_t;

static void *contend(void *hint) {
    contender_t *self = hint;
    char value[8];
    snprintf(value, sizeof value, "%u", self->number);
    drax_lock_t *lock;
    if (drax_lock_new(self->drax, "lock", 4, 5000, value, strlen(value), &lock) != 0)
        return NULL;
    self->failed += drax_lock_take(lock, DRAX_FOREVER) != 0;
    self->failed += atomic_fetch_add(self->inside, 1) != 0;
    self->order = atomic_fetch_add(self->served, 1);
    self->failed += drax_get(self->drax, "lock", 4, NULL, NULL) != 0;
    self->failed += atomic_fetch_sub(self->inside, 1) != 1;
    self->failed += drax_lock_release(lock) != 0;
    drax_lock_destroy(&lock);
    return NULL;
}

/* Threads of one client, which share it while they wait. */
static void test_turns(void **state) {
    fixture_t *f = *state;
    atomic_uint inside = 0, served = 0;
    contender_t contenders[CONTENDERS];
    drax_lock_t *lock = lock_new(f->other, 5000, NULL);
    assert_int_equal(drax_lock_take(lock, 0), 0);
    for (unsigned i = 0; i < CONTENDERS; i++) {
        contenders[i] =
            (contender_t){.drax = f->store, .inside = &inside, .served = &served, .number = i};
        assert_int_equal(pthread_create(&contenders[i].thread, NULL, contend, &contenders[i]), 0);
    }
    for (int i = 0; i < 600; i++) /* more than a client's window of writes: locks are not in it */
        value_put(f->store, "a", "b");
    assert_int_equal(served, 0);
    assert_int_equal(drax_lock_release(lock), 0);
    for (unsigned i = 0; i < CONTENDERS; i++) {
        assert_int_equal(pthread_join(contenders[i].thread, NULL), 0);
        assert_int_equal(contenders[i].failed, 0);
    }
    assert_int_equal(served, CONTENDERS);
    drax_lock_destroy(&lock);
}

/* A holder that vanishes: its lock passes on within its ttl and a second. */
static void test_a_holder_that_dies(void **state) {
    fixture_t *f = *state;
    drax_lock_t *dying = lock_new(f->store, 1000, NULL), *next = lock_new(f->other, 1000, NULL);
    assert_int_equal(drax_lock_take(dying, 0), 0);
    drax_destroy(&f->store);
    uint64_t began_ms = clock_ms();
    assert_int_equal(drax_lock_take(next, DRAX_FOREVER), 0);
    assert_true(clock_ms() - began_ms < 2000);
    drax_lock_destroy(&next);
}

/* ---- a leader that goes ---- */

static void *take_main(void *hint) {
    drax_lock_t *lock = hint;
    return drax_lock_take(lock, DRAX_FOREVER) == 0 ? lock : NULL;
}

/* The node that leads, and that holder and waiter are connected to, is stopped: the holder keeps
 * the lock, the waiter its place. */
static void test_over_the_loss_of_a_leader(void **state) {
    node_folder_t *folder = *state;
    node_trio_t trio;
    node_trio_up(&trio, folder);
    drax_t *holder, *waiter;
    assert_int_equal(drax_new(&holder, trio.endpoints), 0);
    assert_int_equal(drax_new(&waiter, trio.endpoints), 0);
    drax_lock_t *held = lock_new(holder, 8000, "holder"),
                *wanted = lock_new(waiter, 8000, "waiter");
    assert_int_equal(drax_lock_take(held, 0), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_main, wanted), 0);
    assert_int_equal(drax_poll(holder, 300), 0);
    drax_node_stop(&trio.nodes[0]);
    for (uint64_t end_ms = clock_ms() + 10000; clock_ms() < end_ms;) {
        assert_int_equal(drax_poll(holder, 500), 0);
        assert_true(drax_lock_held(held));
        assert_false(drax_lock_held(wanted));
    }
    assert_int_equal(drax_lock_release(held), 0);
    void *got;
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_ptr_equal(got, wanted);
    value_expect(holder, "lock", "waiter");
    drax_lock_destroy(&held);
    drax_lock_destroy(&wanted);
    drax_destroy(&holder);
    drax_destroy(&waiter);
    node_trio_down(&trio);
}

static void test_leases(void **state) {
    fixture_t *f = *state;
    drax_result_t *result;
    assert_int_equal(drax_lease_grant(f->store, 60000, NULL, &result), 0);
    uint64_t lease = drax_result_lease(result);
    assert_true(lease > 0);
    assert_int_equal(drax_result_ttl_ms(result), 60000);
    drax_result_destroy(&result);
    drax_options_t *options = drax_options_new();
    drax_options_lease_set(options, lease);
    assert_int_equal(drax_put(f->store, "a", 1, "1", 1, options, NULL), 0);
    assert_int_equal(drax_atomic_put(f->store, "b", 1, "2", 1, 0, options, NULL), 0);
    assert_int_equal(drax_get(f->store, "a", 1, NULL, &result), 0);
    assert_int_equal(drax_result_lease(result), lease);
    drax_result_destroy(&result);
    assert_int_equal(drax_lease_keepalive(f->store, lease, NULL, &result), 0);
    assert_int_equal(drax_result_ttl_ms(result), 60000);
    drax_result_destroy(&result);
    assert_int_equal(drax_lease_get(f->store, lease, NULL, &result), 0);
    assert_true(drax_result_ttl_ms(result) <= 60000);
    drax_result_destroy(&result);
    assert_int_equal(drax_lease_revoke(f->store, lease, NULL, NULL), 0);
    gone_expect(f->store, "a");
    gone_expect(f->store, "b");
    assert_int_equal(drax_lease_keepalive(f->store, lease, NULL, NULL), DRAX_ERR_LEASE_NOT_FOUND);
    assert_int_equal(drax_put(f->store, "a", 1, "1", 1, options, NULL), DRAX_ERR_LEASE_NOT_FOUND);
    assert_int_equal(drax_lease_grant(f->store, 0, NULL, NULL), DRAX_ERR_INVALID_ARGUMENT);
    drax_options_destroy(&options);
}

static uint64_t result_uint(const drax_result_t *result, size_t at, const char *name) {
    const drax_field_t *results = drax_field_find(drax_result_map(result), "results");
    return drax_field_uint(drax_field_find(drax_field_at(results, at), name));
}

static void on_done(void *arg, int error, const char *detail, const drax_result_t *result) {
    (void) detail;
    *(int *) arg = error == 0 && drax_result_succeeded(result) ? 1 : -1;
}

static void test_atomic_operations_in_transactions(void **state) {
    fixture_t *f = *state;
    drax_txn_t *txn = drax_txn_new();
    drax_result_t *result;
    drax_txn_atomic_put(txn, DRAX_THEN, "a", 1, "1", 1, 0, NULL);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, &result), 0);
    uint64_t made = result_uint(result, 0, "index");
    assert_int_equal(made, drax_result_revision(result));
    drax_result_destroy(&result);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, NULL), DRAX_ERR_KEY_EXISTS);
    drax_txn_destroy(&txn);

    txn = drax_txn_new();
    drax_txn_atomic_put(txn, DRAX_THEN, "a", 1, "2", 1, made, NULL);
    drax_txn_atomic_put(txn, DRAX_THEN, "b", 1, "2", 1, 0, NULL);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, &result), 0);
    uint64_t changed = drax_result_revision(result);
    drax_result_destroy(&result);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, NULL), DRAX_ERR_KEY_MODIFIED);
    drax_txn_destroy(&txn);
    value_expect(f->store, "a", "2");

    txn = drax_txn_new();
    drax_txn_atomic_delete(txn, DRAX_THEN, "b", 1, made);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, NULL), DRAX_ERR_KEY_MODIFIED);
    drax_txn_destroy(&txn);
    txn = drax_txn_new();
    drax_txn_atomic_delete(txn, DRAX_THEN, "a", 1, changed);
    drax_txn_atomic_delete(txn, DRAX_THEN, "b", 1, changed);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, NULL), 0);
    drax_txn_destroy(&txn);
    gone_expect(f->store, "a");
    gone_expect(f->store, "b");
}

static void test_transactions(void **state) {
    fixture_t *f = *state;
    drax_txn_t *txn = drax_txn_new();
    drax_result_t *result;
    value_put(f->store, "d/x", "1");
    drax_txn_compare_exists(txn, "a", 1, false);
    drax_txn_compare_version(txn, "d/x", 3, DRAX_EQUAL, 1);
    drax_txn_compare_index(txn, "d/x", 3, DRAX_LESS, 1u << 30);
    drax_txn_compare_value(txn, "d/x", 3, DRAX_UNEQUAL, "2", 1);
    drax_txn_put(txn, DRAX_THEN, "a", 1, "new", 3, NULL);
    drax_txn_get(txn, DRAX_THEN, "a", 1);
    drax_txn_exists(txn, DRAX_THEN, "d/x", 3);
    drax_txn_range(txn, DRAX_THEN, "", 0, "", 0, NULL);
    drax_txn_list(txn, DRAX_ELSE, "d", 1, NULL);
    drax_txn_delete(txn, DRAX_ELSE, "a", 1);
    drax_txn_delete_tree(txn, DRAX_ELSE, "d", 1);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, &result), 0);
    assert_true(drax_result_succeeded(result));
    uint64_t revision = drax_result_revision(result);
    assert_int_equal(result_uint(result, 0, "index"), revision);
    assert_int_equal(result_uint(result, 1, "index"), revision);
    assert_int_equal(result_uint(result, 3, "count"), 2);
    drax_result_destroy(&result);
    value_expect(f->store, "a", "new");

    assert_int_equal(drax_txn_call(f->store, txn, NULL, &result), 0); /* the other branch */
    assert_false(drax_result_succeeded(result));
    assert_int_equal(drax_result_revision(result), revision + 1);
    assert_int_equal(result_uint(result, 2, "deleted"), 1);
    drax_result_destroy(&result);
    gone_expect(f->store, "a");
    gone_expect(f->store, "d/x");

    /* An operation that fails: nothing is done. */
    assert_int_equal(drax_txn_call(f->store, txn, NULL, NULL), DRAX_ERR_KEY_NOT_FOUND);
    drax_txn_destroy(&txn);
    drax_txn_destroy(&txn);

    txn = drax_txn_new();
    drax_options_t *options = drax_options_new();
    drax_options_ttl_set(options, 60000);
    drax_txn_put(txn, DRAX_THEN, "t", 1, "v", 1, options);
    int done = 0;
    assert_int_equal(drax_txn_submit(f->store, txn, NULL, on_done, &done), 0);
    while (drax_pending(f->store) > 0)
        assert_true(drax_poll(f->store, NODE_WAIT_MS) >= 0);
    assert_int_equal(done, 1);
    assert_int_equal(drax_get(f->store, "t", 1, NULL, &result), 0);
    assert_true(drax_result_ttl_ms(result) > 0);
    drax_result_destroy(&result);
    drax_txn_compare_value(txn, "t", 1, DRAX_EQUAL, NULL, 1);
    assert_int_equal(drax_txn_call(f->store, txn, NULL, &result), DRAX_ERR_USAGE);
    assert_null(result);
    drax_options_destroy(&options);
    drax_txn_destroy(&txn);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_one_holder),
        T(test_renewed_while_driven),
        T(test_fences),
        T(test_turns),
        T(test_a_holder_that_dies),
        T(test_leases),
        T(test_atomic_operations_in_transactions),
        T(test_transactions),
        cmocka_unit_test_setup_teardown(test_over_the_loss_of_a_leader, node_folder_setup,
                                        node_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
