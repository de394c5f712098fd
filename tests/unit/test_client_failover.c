/* test_client_failover.c: libdrax and endpoints that fail, deadlines, pipelining, threads. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "drax.h"
#include "tests/unit/gateway_fake.h"

#define DEAD "127.0.0.1:1" /* nobody listens there */

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

static drax_t *client2(const gateway_t *first, const gateway_t *second, uint64_t timeout_ms) {
    char endpoints[160];
    snprintf(endpoints, sizeof endpoints, "%s,%s", first->address, second->address);
    return client(endpoints, timeout_ms);
}

/* Two refusals, then service. */
static gateway_action_t unavailable_twice(gateway_t *self, const request_t *request,
                                          buffer_t *out) {
    return self->count <= 2 ? gateway_unavailable(self, request, out)
                            : gateway_serve(self, request, out);
}

static gateway_action_t timeout_once(gateway_t *self, const request_t *request, buffer_t *out) {
    return self->count <= 1 ? gateway_timeout(self, request, out)
                            : gateway_serve(self, request, out);
}

/* ---- endpoints that fail ---- */

static void test_dead_endpoint_is_skipped(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    char endpoints[128];
    snprintf(endpoints, sizeof endpoints, DEAD ",%s", gateway->address);
    drax_t *drax = client(endpoints, 5000);
    uint64_t start_ms = now_ms();
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    assert_true(now_ms() - start_ms < 2000);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

/* Listens, and never says a word. */
static int listener_open(char *address, size_t size) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &any, sizeof any), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &any, &length), 0);
    snprintf(address, size, "127.0.0.1:%u", ntohs(any.sin_port));
    return fd;
}

static void test_slow_endpoint(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    char address[64], endpoints[160], detail[256];
    int fd = listener_open(address, sizeof address);
    snprintf(endpoints, sizeof endpoints, "%s,%s", address, gateway->address);
    drax_t *drax = client(endpoints, 10000);
    uint64_t start_ms = now_ms();
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    assert_true(now_ms() - start_ms >= 300 && now_ms() - start_ms < 2000);
    drax_destroy(&drax);
    /* Alone, it is given up after CLIENT_CONNECT_MS. */
    drax = client(address, 4500);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);
    drax_error_detail(drax, detail, sizeof detail);
    assert_non_null(strstr(detail, "cannot connect"));
    drax_destroy(&drax);
    close(fd);
    gateway_stop(&gateway);
}

static void test_write_survives_its_gateway(void **state) {
    (void) state;
    gateway_t *first = gateway_start(gateway_die, 0), *second = gateway_start(gateway_serve, 0);
    drax_t *drax = client2(first, second, 5000);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    gateway_entry_t sent = gateway_entry(first, 0), again = gateway_entry(second, 0);
    assert_int_equal(gateway_count(second), 1);
    assert_int_equal(sent.seq, again.seq);
    assert_memory_equal(sent.client, again.client, 16);
    drax_destroy(&drax);
    gateway_stop(&first);
    gateway_stop(&second);
}

static void test_gateway_comes_back(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    unsigned port;
    assert_int_equal(sscanf(gateway->address, "127.0.0.1:%u", &port), 1);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    gateway_stop(&gateway);
    gateway = gateway_start(gateway_serve, port);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    assert_int_equal(gateway_entry(gateway, 0).seq, 2);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_refusals_are_retried(void **state) {
    (void) state;
    gateway_t *first = gateway_start(unavailable_twice, 0),
              *second = gateway_start(timeout_once, 0);
    drax_t *drax = client(first->address, 5000);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    assert_int_equal(gateway_count(first), 3);
    assert_int_equal(gateway_entry(first, 0).seq, gateway_entry(first, 2).seq);
    drax_destroy(&drax);
    drax = client(second->address, 5000);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    assert_int_equal(gateway_count(second), 2);
    drax_destroy(&drax);
    gateway_stop(&first);
    gateway_stop(&second);
}

/* The second answer to a request is nobody's, also when it is a refusal like the first. */
static void test_repeated_answers(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(unavailable_twice, 0);
    gateway->repeat = true;
    drax_t *drax = client(gateway->address, 5000);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    assert_int_equal(gateway_count(gateway), 4);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_refusal_moves_on(void **state) {
    (void) state;
    gateway_t *first = gateway_start(gateway_unavailable, 0),
              *second = gateway_start(gateway_serve, 0);
    drax_t *drax = client2(first, second, 5000);
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    assert_int_equal(gateway_count(first), 1);
    assert_int_equal(gateway_count(second), 2);
    drax_destroy(&drax);
    gateway_stop(&first);
    gateway_stop(&second);
}

/* ---- deadlines, and what is known then ---- */

static void outcome_check(const char *endpoints, int read_error, int write_error, int admin_error) {
    drax_t *drax = client(endpoints, 300);
    uint64_t start_ms = now_ms();
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), read_error);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), write_error);
    assert_int_equal(drax_member_remove(drax, 1, NULL, NULL), admin_error);
    assert_true(now_ms() - start_ms < 3 * 300 + 1500);
    drax_destroy(&drax);
}

static void test_deadlines(void **state) {
    (void) state;
    gateway_t *refuses = gateway_start(gateway_unavailable, 0),
              *slow = gateway_start(gateway_timeout, 0), *mute = gateway_start(gateway_silent, 0);
    outcome_check(DEAD, DRAX_ERR_UNAVAILABLE, DRAX_ERR_UNAVAILABLE, DRAX_ERR_UNAVAILABLE);
    outcome_check(refuses->address, DRAX_ERR_UNAVAILABLE, DRAX_ERR_UNAVAILABLE,
                  DRAX_ERR_UNAVAILABLE);
    outcome_check(slow->address, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT);
    outcome_check(mute->address, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT);
    /* Too little time for another attempt: none is begun. */
    size_t before = gateway_count(refuses);
    drax_t *drax = client(refuses->address, 90);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);
    assert_true(gateway_count(refuses) <= before + 1);
    drax_destroy(&drax);
    before = gateway_count(slow);
    drax = client(slow->address, 5000);
    assert_int_equal(drax_member_remove(drax, 1, NULL, NULL), DRAX_ERR_TIMEOUT);
    assert_int_equal(gateway_count(slow), before + 1);
    drax_destroy(&drax);
    gateway_stop(&refuses);
    gateway_stop(&slow);
    gateway_stop(&mute);
}

/* A write whose gateway died may have happened, whatever comes after; a read has no outcome. */
static void test_lost_write_is_unknown(void **state) {
    (void) state;
    for (int i = 0; i < 3; i++) {
        gateway_t *first = gateway_start(gateway_die, 0),
                  *second = gateway_start(gateway_unavailable, 0);
        drax_t *drax = client2(first, second, 400);
        if (i == 0)
            assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), DRAX_ERR_TIMEOUT);
        else if (i == 1)
            assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);
        else
            assert_int_equal(drax_member_promote(drax, 1, NULL, NULL), DRAX_ERR_TIMEOUT);
        assert_true((gateway_count(second) == 0) == (i == 2));
        drax_destroy(&drax);
        gateway_stop(&first);
        gateway_stop(&second);
    }
}

static void test_call_timeout(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_silent, 0);
    drax_t *drax = client(gateway->address, 60000);
    drax_options_t *options = drax_options_new();
    drax_options_timeout_set(options, 100);
    uint64_t start_ms = now_ms();
    assert_int_equal(drax_get(drax, "k", 1, options, NULL), DRAX_ERR_TIMEOUT);
    assert_true(now_ms() - start_ms >= 100 && now_ms() - start_ms < 2000);
    drax_options_destroy(&options);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

/* A gateway that is connected and never answers is left after CLIENT_ATTEMPT_MS. */
static void test_mute_gateway_is_left(void **state) {
    (void) state;
    gateway_t *first = gateway_start(gateway_silent, 0), *second = gateway_start(gateway_serve, 0);
    drax_t *drax = client2(first, second, 20000);
    uint64_t start_ms = now_ms();
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    uint64_t took_ms = now_ms() - start_ms;
    assert_true(took_ms >= 6000 && took_ms < 9000);
    drax_destroy(&drax);
    gateway_stop(&first);
    gateway_stop(&second);
}

/* ---- pipelining ---- */

typedef struct tally {
    drax_t *drax;
    size_t ok, failed;
    int error;
    size_t chain; /* puts that the callback still submits itself */
} tally_t;

static void tally_done(void *arg, int error, const char *detail, const drax_result_t *result) {
    tally_t *tally = arg;
    assert_true((error == 0) == (result != NULL));
    assert_true((error == 0) == (detail[0] == '\0'));
    if (error == 0)
        tally->ok++;
    else
        tally->failed++;
    tally->error = error;
    if (tally->chain > 0) {
        tally->chain--;
        assert_int_equal(drax_put_submit(tally->drax, "k", 1, "v", 1, NULL, tally_done, tally), 0);
    }
}

/* Dies at the 100th request; half of what came before is not answered. */
static gateway_action_t die_at_100(gateway_t *self, const request_t *request, buffer_t *out) {
    if (self->count >= 100)
        return GATEWAY_DIE;
    return request->seq % 2 ? gateway_serve(self, request, out) : GATEWAY_SILENT;
}

static void test_pipeline_survives(void **state) {
    (void) state;
    gateway_t *first = gateway_start(die_at_100, 0), *second = gateway_start(gateway_serve, 0);
    drax_t *drax = client2(first, second, 10000);
    tally_t tally = {.drax = drax};
    for (int i = 0; i < 300; i++)
        assert_int_equal(drax_put_submit(drax, "k", 1, "v", 1, NULL, tally_done, &tally), 0);
    assert_int_equal(drax_pending(drax), 300);
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0); /* a blocking call among them */
    while (drax_pending(drax) > 0)
        assert_true(drax_poll(drax, 1000) >= 0);
    assert_int_equal(tally.ok, 300);
    assert_int_equal(drax_poll(drax, 1000), 0);
    bool seen[301] = {
        false}; /* every put reached a gateway that could answer it, or was answered before */
    for (size_t i = 0; i < gateway_count(second); i++)
        seen[gateway_entry(second, i).seq] = true;
    for (size_t i = 0; i < gateway_count(first); i++)
        seen[gateway_entry(first, i).seq] |= gateway_entry(first, i).seq % 2 == 1;
    for (size_t seq = 1; seq <= 300; seq++)
        assert_true(seen[seq]);
    drax_destroy(&drax);
    gateway_stop(&first);
    gateway_stop(&second);
}

/* Never answers the first put it sees. */
static gateway_action_t first_is_mute(gateway_t *self, const request_t *request, buffer_t *out) {
    return request->seq == 1 ? GATEWAY_SILENT : gateway_serve(self, request, out);
}

static void test_pipeline_limits(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(first_is_mute, 0);
    drax_t *drax = client(gateway->address, 1000);
    tally_t tally = {.drax = drax};
    size_t submitted = 0;
    int error;
    do {
        error = drax_put_submit(drax, "k", 1, "v", 1, NULL, tally_done, &tally);
        submitted += error == 0;
        if (submitted % 100 == 0)
            assert_true(drax_poll(drax, 50) >= 0);
    } while (error == 0);
    assert_int_equal(error, DRAX_ERR_FULL);
    assert_int_equal(submitted, 512);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), DRAX_ERR_FULL);
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    while (drax_pending(drax) > 0)
        assert_true(drax_poll(drax, 1000) >= 0);
    assert_int_equal(tally.ok, 511);
    assert_int_equal(tally.failed, 1);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

/* While one call stays without an answer, more calls pass by than there are slots for their msgids.
 */
static void test_pipeline_slots(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(first_is_mute, 0);
    drax_t *drax = client(gateway->address, 60000);
    tally_t tally = {.drax = drax};
    assert_int_equal(drax_put_submit(drax, "k", 1, "v", 1, NULL, tally_done, &tally), 0);
    for (int i = 0; i < 1100; i++)
        assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    assert_int_equal(drax_pending(drax), 1);
    drax_destroy(&drax);
    assert_int_equal(tally.failed, 1);
    gateway_stop(&gateway);
}

static void test_pipeline_end(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    tally_t tally = {.drax = drax, .chain = 5};
    assert_int_equal(drax_put_submit(drax, "k", 1, "v", 1, NULL, tally_done, &tally), 0);
    while (drax_pending(drax) > 0)
        assert_true(drax_poll(drax, 1000) >= 0);
    assert_int_equal(tally.ok, 6); /* a callback may submit */
    for (int i = 0; i < 3; i++)
        assert_int_equal(drax_put_submit(drax, "k", 1, "v", 1, NULL, tally_done, &tally), 0);
    drax_destroy(&drax);
    assert_int_equal(tally.failed, 3);
    assert_int_equal(tally.error, DRAX_ERR_CLOSED);
    gateway_stop(&gateway);
}

/* ---- threads ---- */

static void *thread_run(void *arg) {
    drax_t *drax = arg;
    for (int i = 0; i < 100; i++)
        if (drax_put(drax, "k", 1, "v", 1, NULL, NULL) != 0)
            return drax;
    return NULL;
}

static void test_threads(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    drax_t *drax = client(gateway->address, 20000);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread_run, drax), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    bool seen[401] = {false};
    assert_int_equal(gateway_count(gateway), 400);
    for (size_t i = 0; i < 400; i++) {
        uint64_t seq = gateway_entry(gateway, i).seq;
        assert_true(seq >= 1 && seq <= 400 && !seen[seq]);
        seen[seq] = true;
    }
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead_endpoint_is_skipped),
        cmocka_unit_test(test_slow_endpoint),
        cmocka_unit_test(test_write_survives_its_gateway),
        cmocka_unit_test(test_gateway_comes_back),
        cmocka_unit_test(test_refusals_are_retried),
        cmocka_unit_test(test_repeated_answers),
        cmocka_unit_test(test_refusal_moves_on),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_lost_write_is_unknown),
        cmocka_unit_test(test_call_timeout),
        cmocka_unit_test(test_mute_gateway_is_left),
        cmocka_unit_test(test_pipeline_survives),
        cmocka_unit_test(test_pipeline_limits),
        cmocka_unit_test(test_pipeline_slots),
        cmocka_unit_test(test_pipeline_end),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
