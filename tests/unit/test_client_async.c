/* test_client_async.c: libdrax in a host's event loop, requests of any method, and threads that
 * share a client. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cli/client.h"
#include "tests/unit/gateway_fake.h"

#define PATIENCE_MS 20000

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

static drax_t *client(const char *endpoints, uint64_t timeout_ms) {
    drax_t *drax;
    assert_int_equal(drax_new(&drax, endpoints), 0);
    assert_int_equal(drax_timeout_set(drax, timeout_ms), 0);
    return drax;
}

/* What callbacks told; they run in whichever thread polls. */
typedef struct {
    atomic_uint ok, failed;
    atomic_int error; /* the last */
} tally_t;

static void tally_done(void *arg, int error, const char *detail, const drax_result_t *result) {
    tally_t *tally = arg;
    assert_int_equal(error == 0, result != NULL);
    assert_int_equal(error == 0, detail[0] == '\0');
    tally->ok += error == 0;
    tally->failed += error != 0;
    tally->error = error;
}

static drax_request_t *get_request(void) {
    drax_request_t *request = drax_request_new("get", DRAX_READ);
    assert_non_null(request);
    drax_request_key_add(request, "k", 1);
    return request;
}

static void get_submit(drax_t *drax, const drax_options_t *options, tally_t *tally) {
    drax_request_t *request = get_request();
    assert_int_equal(drax_request_submit(drax, request, options, tally_done, tally), 0);
    drax_request_destroy(&request);
}

static bool readable(int fd, int timeout_ms) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    int rc = poll(&item, 1, timeout_ms);
    assert_true(rc >= 0);
    return rc == 1;
}

/* A host's loop: nothing is done but what the descriptor asks for. Returns how often it did. */
static unsigned loop_until_done(drax_t *drax, int fd) {
    unsigned rounds = 0;
    while (drax_pending(drax) > 0) {
        assert_true(readable(fd, PATIENCE_MS));
        assert_true(drax_process(drax) >= 0);
        rounds++;
    }
    return rounds;
}

/* ---- a host's event loop ---- */

static void test_descriptor(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    int fd = drax_fd(drax);
    assert_true(fd >= 0);
    assert_int_equal(drax_fd(drax), fd);
    tally_t tally = {0};
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 500; i++)
            get_submit(drax, NULL, &tally);
        loop_until_done(drax, fd);
        assert_int_equal(tally.ok, 500 * round);
    }
    /* With nothing to do it falls silent; heartbeats are seen to below. */
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    while (readable(fd, 100)) {
        assert_int_equal(drax_process(drax), 0);
        assert_true(now_ms() < end_ms);
    }
    /* A blocking call in between leaves nothing behind. */
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    get_submit(drax, NULL, &tally);
    loop_until_done(drax, fd);
    assert_int_equal(tally.ok, 1501);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_descriptor_tells_the_time(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_silent, 0);
    drax_t *drax = client(gateway->address, 250);
    int fd = drax_fd(drax);
    tally_t tally = {0};
    uint64_t start_ms = now_ms();
    get_submit(drax, NULL, &tally);
    unsigned rounds = loop_until_done(drax, fd);
    assert_int_equal(tally.error, DRAX_ERR_TIMEOUT);
    assert_true(now_ms() - start_ms >= 250);
    assert_true(rounds < 50); /* it waits for the deadline, it does not spin */
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_descriptor_and_failover(void **state) {
    (void) state;
    gateway_t *dying = gateway_start(gateway_die, 0), *other = gateway_start(gateway_serve, 0);
    char endpoints[160];
    snprintf(endpoints, sizeof endpoints, "%s,%s", dying->address, other->address);
    drax_t *drax = client(endpoints, PATIENCE_MS);
    int fd = drax_fd(drax);
    tally_t tally = {0};
    for (unsigned i = 0; i < 50; i++) {
        get_submit(drax, NULL, &tally);
        assert_int_equal(drax_put_submit(drax, "k", 1, "v", 1, NULL, tally_done, &tally), 0);
    }
    loop_until_done(drax, fd);
    assert_int_equal(tally.ok, 100);
    drax_destroy(&drax);
    gateway_stop(&dying);
    gateway_stop(&other);
}

/* What a thread's blocking call receives for the loop is told to the loop. */
static gateway_action_t puts_are_mute(gateway_t *self, const request_t *request, buffer_t *out) {
    return request->method == METHOD_PUT ? GATEWAY_SILENT : gateway_serve(self, request, out);
}

static void *put_run(void *arg) {
    (void) drax_put(arg, "k", 1, "v", 1, NULL, NULL);
    return NULL;
}

static void test_descriptor_while_a_thread_waits(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(puts_are_mute, 0);
    drax_t *drax = client(gateway->address, 1500);
    int fd = drax_fd(drax);
    pthread_t thread;
    uint64_t start_ms = now_ms();
    assert_int_equal(pthread_create(&thread, NULL, put_run, drax), 0);
    while (gateway_count(gateway) == 0)
        assert_true(now_ms() < start_ms + PATIENCE_MS);
    tally_t tally = {0};
    for (unsigned i = 1; i <= 20; i++) {
        get_submit(drax, NULL, &tally);
        loop_until_done(drax, fd);
        assert_int_equal(tally.ok, i);
    }
    assert_true(now_ms() - start_ms < 1500); /* the thread still waits */
    assert_int_equal(pthread_join(thread, NULL), 0);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

/* What is received while callbacks are made is told to the loop as well. */
typedef struct {
    drax_t *drax;
    tally_t tally;
    bool received; /* the second request's answer came during the first one's callback */
} nested_t;

static bool answer_waits(drax_t *drax) {
    (void) pthread_mutex_lock(&drax->lock);
    bool waits = drax->completed.first != NULL;
    (void) pthread_mutex_unlock(&drax->lock);
    return waits;
}

static void nested_submit(nested_t *nested);

static void nested_done(void *arg, int error, const char *detail, const drax_result_t *result) {
    nested_t *nested = arg;
    tally_done(&nested->tally, error, detail, result);
    if (nested->tally.ok > 1)
        return;
    nested_submit(nested);
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    while (!(nested->received = answer_waits(nested->drax)))
        assert_true(now_ms() < end_ms);
}

static void nested_submit(nested_t *nested) {
    drax_request_t *request = get_request();
    assert_int_equal(drax_request_submit(nested->drax, request, NULL, nested_done, nested), 0);
    drax_request_destroy(&request);
}

static void test_descriptor_and_an_answer_during_a_callback(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(puts_are_mute, 0);
    nested_t nested = {.drax = client(gateway->address, 1500)};
    int fd = drax_fd(nested.drax);
    pthread_t thread;
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    assert_int_equal(pthread_create(&thread, NULL, put_run, nested.drax), 0);
    while (gateway_count(gateway) == 0)
        assert_true(now_ms() < end_ms);
    nested_submit(&nested); /* the thread that waits for its put receives the answers */
    while (nested.tally.ok == 0) {
        assert_true(readable(fd, PATIENCE_MS));
        assert_true(drax_process(nested.drax) >= 0);
    }
    assert_true(nested.received);
    assert_true(readable(fd, 0));
    assert_int_equal(drax_process(nested.drax), 1);
    assert_int_equal(nested.tally.ok, 2);
    assert_int_equal(pthread_join(thread, NULL), 0);
    drax_destroy(&nested.drax);
    gateway_stop(&gateway);
}

/* ---- threads ---- */

static void test_a_slow_call_holds_up_nobody(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(puts_are_mute, 0);
    drax_t *drax = client(gateway->address, 1500);
    pthread_t threads[3];
    uint64_t start_ms = now_ms();
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_run, drax), 0);
    while (gateway_count(gateway) < 3) /* one of them drives, two wait */
        assert_true(now_ms() < start_ms + PATIENCE_MS);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    assert_true(now_ms() - start_ms < 1500);
    drax_options_t *options = drax_options_new();
    drax_options_timeout_set(options, 20); /* a deadline sooner than the driver's */
    uint64_t put_ms = now_ms();
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, options, NULL), DRAX_ERR_TIMEOUT);
    assert_true(now_ms() - put_ms < 1000);
    drax_options_destroy(&options);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

/* Every answer takes a while. */
static gateway_action_t slow(gateway_t *self, const request_t *request, buffer_t *out) {
    const struct timespec pause = {.tv_nsec = 100000000};
    (void) nanosleep(&pause, NULL);
    return gateway_serve(self, request, out);
}

static void *get_run(void *arg) {
    return drax_get(arg, "k", 1, NULL, NULL) == 0 ? arg : NULL;
}

/* Whoever drives leaves with its answer; one of those who still wait goes on in its place. */
static void test_the_driver_hands_over(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(slow, 0);
    drax_t *drax = client(gateway->address, PATIENCE_MS);
    pthread_t threads[5];
    uint64_t start_ms = now_ms();
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_run, drax), 0);
    for (size_t i = 0; i < 5; i++) {
        void *got;
        assert_int_equal(pthread_join(threads[i], &got), 0);
        assert_ptr_equal(got, drax);
    }
    assert_true(now_ms() - start_ms < PATIENCE_MS / 2);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

typedef struct {
    drax_t *drax;
    unsigned number, wrong;
} thread_t;

/* Blocking, submitted and polled, all at once on one client. */
static void *mixed_run(void *arg) {
    thread_t *self = arg;
    tally_t *tally = calloc(1, sizeof *tally);
    for (unsigned i = 0; i < 100; i++) {
        self->wrong += drax_put(self->drax, "k", 1, "v", 1, NULL, NULL) != 0;
        drax_request_t *request = get_request();
        int error = self->number % 2
                        ? drax_request_call(self->drax, request, NULL, NULL)
                        : drax_put_submit(self->drax, "k", 1, "v", 1, NULL, tally_done, tally);
        self->wrong += error != 0;
        drax_request_destroy(&request);
        self->wrong += drax_poll(self->drax, 0) < 0;
    }
    return tally;
}

static void test_threads_of_all_kinds(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, PATIENCE_MS);
    thread_t threads[6];
    pthread_t ids[6];
    tally_t *tallies[6];
    for (unsigned i = 0; i < 6; i++) {
        threads[i] = (thread_t){.drax = drax, .number = i};
        assert_int_equal(pthread_create(&ids[i], NULL, mixed_run, &threads[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pthread_join(ids[i], (void **) &tallies[i]), 0);
        assert_int_equal(threads[i].wrong, 0);
    }
    while (drax_pending(drax) > 0)
        assert_true(drax_poll(drax, PATIENCE_MS) >= 0);
    drax_destroy(&drax);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(tallies[i]->ok, i % 2 ? 0 : 100);
        free(tallies[i]);
    }
    assert_int_equal(gateway_count(gateway), 1200);
    assert_int_equal(gateway->malformed, 0);
    gateway_stop(&gateway);
}

/* ---- requests of any method ---- */

static void test_requests(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    drax_request_t *put = drax_request_new("put", DRAX_WRITE);
    drax_request_key_add(put, "key", 3);
    drax_request_value_add(put, "value", 5);
    drax_options_t *options = drax_options_new();
    drax_options_ttl_set(options, 100);
    drax_result_t *result;
    for (uint64_t seq = 1; seq <= 2; seq++) { /* a request may be sent again: as another write */
        assert_int_equal(drax_request_call(drax, put, options, &result), 0);
        assert_int_equal(drax_result_index(result), seq);
        drax_result_destroy(&result);
        assert_int_equal(gateway_entry(gateway, seq - 1).seq, seq);
        assert_string_equal(gateway_entry(gateway, seq - 1).key, "key");
    }
    drax_request_t *cas = drax_request_new("atomic_put", DRAX_WRITE);
    drax_request_key_add(cas, "key", 3);
    drax_request_value_add(cas, "", 0);
    drax_request_nil_add(cas);
    assert_int_equal(drax_request_call(drax, cas, NULL, NULL), 0);
    drax_request_t *remove = drax_request_new("member_remove", DRAX_ONCE);
    drax_request_uint_add(remove, 7);
    assert_int_equal(drax_request_call(drax, remove, NULL, NULL), 0);
    assert_int_equal(gateway_entry(gateway, 3).client_size, 0);
    assert_int_equal(gateway->malformed, 0);
    drax_request_destroy(&remove);
    drax_request_destroy(&cas);
    drax_request_destroy(&put);
    assert_null(put);
    drax_request_destroy(&put);
    drax_options_destroy(&options);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_arrays_in_requests(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    drax_request_t *txn = drax_request_new("txn", DRAX_WRITE);
    drax_request_array_add(txn, 1); /* compares */
    drax_request_array_add(txn, 4);
    drax_request_key_add(txn, "k", 1);
    drax_request_text_add(txn, "exists");
    drax_request_text_add(txn, "=");
    drax_request_bool_add(txn, false);
    drax_request_array_add(txn, 1); /* then */
    drax_request_array_add(txn, 2);
    drax_request_text_add(txn, "put");
    drax_request_array_add(txn, 2);
    drax_request_key_add(txn, "k", 1);
    assert_int_equal(drax_request_call(drax, txn, NULL, NULL), DRAX_ERR_USAGE); /* not complete */
    drax_request_value_add(txn, "v", 1);
    drax_request_array_add(txn, 0); /* else */
    assert_int_equal(drax_request_call(drax, txn, NULL, NULL), 0);
    assert_int_equal(gateway->malformed, 0);
    drax_request_destroy(&txn);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void wrong_expect(drax_t *drax, drax_request_t *request, int error) {
    drax_result_t *result = NULL;
    tally_t tally = {0};
    assert_int_equal(drax_request_call(drax, request, NULL, &result), error);
    assert_null(result);
    assert_int_equal(drax_request_submit(drax, request, NULL, tally_done, &tally), error);
    drax_request_destroy(&request);
}

static void test_requests_that_cannot_be(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, 300);
    wrong_expect(drax, drax_request_new("a_name_that_is_longer_than_any_is", DRAX_READ),
                 DRAX_ERR_USAGE);
    drax_request_t *request = drax_request_new("get", DRAX_READ);
    drax_request_key_add(request, NULL, 1);
    wrong_expect(drax, request, DRAX_ERR_USAGE);

    char *large = calloc(1, LIMIT_REQUEST_MAX_BYTES + 1);
    request = drax_request_new("put", DRAX_WRITE);
    drax_request_key_add(request, "k", 1);
    drax_request_value_add(request, large, LIMIT_REQUEST_MAX_BYTES + 1);
    drax_request_nil_add(request);
    wrong_expect(drax, request, DRAX_ERR_TOO_LARGE);
    free(large);

    request = drax_request_new("get", DRAX_READ);
    for (unsigned i = 0; i < 6; i++)
        drax_request_array_add(request, 1);
    drax_request_nil_add(request);
    /* It is sent, to a gateway that does not answer what is no request. */
    assert_int_equal(drax_request_call(drax, request, NULL, NULL), DRAX_ERR_TIMEOUT);
    drax_request_destroy(&request);
    request = drax_request_new("get", DRAX_READ);
    for (unsigned i = 0; i < 7; i++)
        drax_request_array_add(request, 1);
    drax_request_nil_add(request);
    wrong_expect(drax, request, DRAX_ERR_USAGE);
    request = get_request();
    assert_int_equal(drax_request_submit(drax, request, NULL, NULL, NULL), DRAX_ERR_USAGE);
    drax_request_destroy(&request);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_calls_under_way_are_bounded(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_silent, 0);
    drax_t *drax = client(gateway->address, PATIENCE_MS);
    tally_t tally = {0};
    for (unsigned i = 0; i < 1024; i++)
        get_submit(drax, NULL, &tally);
    drax_request_t *request = get_request();
    assert_int_equal(drax_request_submit(drax, request, NULL, tally_done, &tally), DRAX_ERR_FULL);
    assert_int_equal(drax_request_call(drax, request, NULL, NULL), DRAX_ERR_FULL);
    drax_request_destroy(&request);
    drax_destroy(&drax);
    assert_int_equal(tally.failed, 1024);
    assert_int_equal(tally.error, DRAX_ERR_CLOSED);
    gateway_stop(&gateway);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_descriptor_tells_the_time),
        cmocka_unit_test(test_descriptor_and_failover),
        cmocka_unit_test(test_descriptor_while_a_thread_waits),
        cmocka_unit_test(test_descriptor_and_an_answer_during_a_callback),
        cmocka_unit_test(test_a_slow_call_holds_up_nobody),
        cmocka_unit_test(test_the_driver_hands_over),
        cmocka_unit_test(test_threads_of_all_kinds),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_arrays_in_requests),
        cmocka_unit_test(test_requests_that_cannot_be),
        cmocka_unit_test(test_calls_under_way_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
