/* lock_calls.c: NewLock with Lock and Unlock, keys with a time to live, Close. */
#include <pthread.h>

#include "tests/libkv/libkv.h"

#define PASS_ON_MS 1000u /* from a release, or the end of a time to live, to the next holder */
#define EXPIRE_LATE_MS 500u

static drax_lock_t *lock_new(drax_t *drax, uint64_t ttl_ms, const char *value) {
    drax_lock_t *lock;
    assert_int_equal(drax_lock_new(drax, "lock", 4, ttl_ms, value, strlen(value), &lock), 0);
    assert_non_null(lock);
    return lock;
}

void test_lock_unlock_relock(void **state) {
    fixture_t *f = *state;
    drax_lock_t *lock = lock_new(f->store, f->place->ttl_ms, "mine");
    uint64_t token = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(drax_lock_take(lock, DRAX_FOREVER), 0);
        assert_true(drax_lock_token(lock) > token);
        token = drax_lock_token(lock);
        pair_expect(f->other, "lock", "mine");
        if (i == 1)
            place_shake(f->place);
        assert_int_equal(drax_lock_release(lock), 0);
        gone_expect(f->other, "lock");
        assert_int_equal(drax_lock_release(lock), DRAX_ERR_USAGE);
    }
    drax_lock_destroy(&lock);
}

/* One that waits for the lock in a thread of its own. */
typedef struct {
    pthread_t thread;
    drax_lock_t *lock;
    int error;
    uint64_t had_ms;
} waiter_t;

static void *waiter_main(void *hint) {
    waiter_t *self = hint;
    self->error = drax_lock_take(self->lock, DRAX_FOREVER);
    self->had_ms = clock_ms();
    return NULL;
}

static void waiter_start(waiter_t *self, drax_lock_t *lock) {
    *self = (waiter_t){.lock = lock};
    assert_int_equal(pthread_create(&self->thread, NULL, waiter_main, self), 0);
}

/* It had the lock no later than `within_ms` after `since_ms`. */
static void waiter_expect(waiter_t *self, uint64_t since_ms, uint64_t within_ms) {
    assert_int_equal(pthread_join(self->thread, NULL), 0);
    assert_int_equal(self->error, 0);
    assert_true(self->had_ms >= since_ms);
    assert_in_range(self->had_ms - since_ms, 0, within_ms);
    assert_true(drax_lock_held(self->lock));
}

/* Drives the client of a lock, which renews it, and watches over it. */
static void hold(drax_t *drax, drax_lock_t *lock, const drax_lock_t *waiting, uint64_t for_ms) {
    for (uint64_t end_ms = clock_ms() + for_ms; clock_ms() < end_ms;) {
        assert_int_equal(drax_poll(drax, 50), 0);
        assert_true(drax_lock_held(lock));
        assert_false(drax_lock_held((drax_lock_t *) (uintptr_t) waiting));
    }
}

void test_lock_blocks_and_passes_on(void **state) {
    fixture_t *f = *state;
    uint64_t ttl_ms = f->place->ttl_ms;
    drax_lock_t *first = lock_new(f->store, ttl_ms, "first");
    drax_lock_t *second = lock_new(f->other, ttl_ms, "second");
    assert_int_equal(drax_lock_take(first, 0), 0);
    assert_int_equal(drax_lock_take(second, 0), DRAX_ERR_CANNOT_LOCK);
    waiter_t waiter;
    waiter_start(&waiter, second);
    hold(f->store, first, second, ttl_ms / 10);
    place_shake(f->place);
    hold(f->store, first, second, ttl_ms + ttl_ms / 5); /* longer than unrenewed */
    pair_expect(f->store, "lock", "first");
    uint64_t at_ms = clock_ms();
    assert_int_equal(drax_lock_release(first), 0);
    waiter_expect(&waiter, at_ms, PASS_ON_MS);
    pair_expect(f->store, "lock", "second");

    /* A holder that dies is not heard of any more. */
    waiter_start(&waiter, first);
    hold(f->other, second, first, ttl_ms / 10);
    at_ms = clock_ms();
    drax_lock_destroy(&second);
    drax_destroy(&f->other);
    waiter_expect(&waiter, at_ms, ttl_ms + PASS_ON_MS);
    pair_expect(f->store, "lock", "first");
    assert_int_equal(drax_lock_release(first), 0);
    drax_lock_destroy(&first);
}

void test_ttl_outlives_its_client(void **state) {
    fixture_t *f = *state;
    uint64_t ttl_ms = 1000, end_ms = clock_ms() + ttl_ms;
    const char *const keys[] = {"first", "second/"};
    drax_options_t *options = drax_options_new();
    drax_options_ttl_set(options, ttl_ms);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(drax_put(f->other, keys[i], strlen(keys[i]), "x", 1, options, NULL), 0);
    drax_options_destroy(&options);
    uint64_t written_ms = clock_ms();
    for (size_t i = 0; i < 2; i++)
        pair_expect(f->store, keys[i], "x");
    drax_destroy(&f->other);
    place_shake(f->place);
    for (size_t i = 0; i < 2; i++) {
        while (drax_get(f->store, keys[i], strlen(keys[i]), NULL, NULL) == 0)
            assert_true(clock_ms() < written_ms + ttl_ms + EXPIRE_LATE_MS + f->place->late_ms);
        assert_true(clock_ms() >= end_ms);
        gone_expect(f->store, keys[i]);
    }
}

static void on_done(void *arg, int error, const char *detail, const drax_result_t *result) {
    (void) detail, (void) result;
    *(int *) arg = error;
}

/* A client that is closed is of no consequence to the store, or to another client. */
void test_close(void **state) {
    fixture_t *f = *state;
    int outcome = 1;
    key_put(f->other, "kept", "x");
    place_shake(f->place);
    assert_int_equal(drax_put_submit(f->other, "kept", 4, "x", 1, NULL, on_done, &outcome), 0);
    drax_destroy(&f->other);
    assert_null(f->other);
    drax_destroy(&f->other);
    assert_int_equal(outcome, DRAX_ERR_CLOSED);
    pair_expect(f->store, "kept", "x");
}
