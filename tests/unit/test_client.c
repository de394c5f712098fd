/* test_client.c: libdrax through drax.h alone, against gateways whose answers the test decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

static void bytes_equal(const void *data, size_t size, const char *text) {
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
}

/* ---- scripts ---- */

static void put_answer(const request_t *request, buffer_t *out) {
    answer_begin(out, request->msgid, 2);
    pack_str(out, "index");
    pack_uint(out, request->seq);
    pack_str(out, "revision");
    pack_uint(out, request->seq + 100);
}

static void pairs_answer(const request_t *request, buffer_t *out) {
    answer_begin(out, request->msgid, 4);
    pack_str(out, "pairs");
    pack_array(out, 2);
    for (unsigned i = 0; i < 2; i++) {
        pack_map(out, 3);
        pack_str(out, "key");
        pack_key(out, i ? "d/\xff" : "d/a", 3);
        pack_str(out, "value");
        pack_bin(out, "value", i ? 0 : 5);
        pack_str(out, "index");
        pack_uint(out, 7 + i);
    }
    pack_str(out, "more");
    pack_bool(out, true);
    pack_str(out, "count");
    pack_uint(out, 9);
    pack_str(out, "revision");
    pack_uint(out, 12);
}

static gateway_action_t serve(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    switch (request->method) {
    case METHOD_PUT:
    case METHOD_ATOMIC_PUT:
        put_answer(request, out);
        break;
    case METHOD_LIST:
    case METHOD_RANGE:
        pairs_answer(request, out);
        break;
    case METHOD_GET:
        answer_begin(out, request->msgid, 5);
        pack_str(out, "key");
        pack_key(out, request->key.data, request->key.size);
        pack_str(out, "value");
        pack_bin(out, "hello", 5);
        pack_str(out, "index");
        pack_uint(out, 3);
        pack_str(out, "revision");
        pack_uint(out, 4);
        pack_str(out, "ttl_ms");
        pack_uint(out, 500);
        break;
    default:
        answer_begin(out, request->msgid, 1);
        pack_str(out, "method");
        pack_str(out, method_name(request->method));
        break;
    }
    return GATEWAY_ANSWER;
}

static gateway_action_t silent(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self, (void) request, (void) out;
    return GATEWAY_SILENT;
}

static gateway_action_t die(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self, (void) request, (void) out;
    return GATEWAY_DIE;
}

static gateway_action_t unavailable(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    answer_failure(out, request->msgid, "UNAVAILABLE", "no leader");
    return GATEWAY_ANSWER;
}

static gateway_action_t timeout(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    answer_failure(out, request->msgid, "TIMEOUT", "too slow");
    return GATEWAY_ANSWER;
}

/* Two refusals, then service. */
static gateway_action_t unavailable_twice(gateway_t *self, const request_t *request,
                                          buffer_t *out) {
    return self->count <= 2 ? unavailable(self, request, out) : serve(self, request, out);
}

static gateway_action_t timeout_once(gateway_t *self, const request_t *request, buffer_t *out) {
    return self->count <= 1 ? timeout(self, request, out) : serve(self, request, out);
}

/* ---- requests and results ---- */

static void test_put_and_get(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    drax_result_t *result;
    size_t size;
    assert_int_equal(drax_put(drax, "a\0b", 3, "v", 1, NULL, &result), 0);
    assert_int_equal(drax_result_index(result), 1);
    assert_int_equal(drax_result_revision(result), 101);
    assert_null(drax_result_value(result, &size));
    assert_int_equal(size, 0);
    drax_result_destroy(&result);
    assert_null(result);
    assert_int_equal(drax_get(drax, "k\xff", 2, NULL, &result), 0);
    const void *bytes = drax_result_key(result, &size);
    bytes_equal(bytes, size, "k\xff");
    bytes = drax_result_value(result, &size);
    bytes_equal(bytes, size, "hello");
    assert_int_equal(drax_result_ttl_ms(result), 500);
    drax_result_destroy(&result);
    assert_int_equal(drax_put(drax, "a", 1, NULL, 0, NULL, NULL), 0);
    gateway_entry_t first = gateway_entry(gateway, 0), last = gateway_entry(gateway, 2);
    assert_int_equal(first.client_size, 16);
    assert_memory_equal(first.client, last.client, 16);
    assert_int_equal(first.seq, 1);
    assert_int_equal(last.seq, 2);
    assert_int_equal(gateway_entry(gateway, 1).client_size, 0);
    assert_int_equal(gateway->malformed, 0);
    drax_destroy(&drax);
    assert_null(drax);
    gateway_stop(&gateway);
}

static gateway_action_t options_check(gateway_t *self, const request_t *request, buffer_t *out) {
    bool ok = request->limit == 5 && request->keys_only && request->stale && request->has_after &&
              request->after.size == 3 && memcmp(request->after.data, "d/b", 3) == 0;
    if (request->method == METHOD_RANGE)
        ok = request->reverse && request->count_only && request->end.size == 1;
    else if (request->method == METHOD_PUT)
        ok = request->ttl_ms == 1500;
    else if (request->method == METHOD_ATOMIC_PUT)
        ok = request->has_previous == (request->previous != 0) && request->ttl_ms == 0;
    if (ok)
        return serve(self, request, out);
    answer_failure(out, request->msgid, "INVALID_ARGUMENT", "not the options of the test");
    return GATEWAY_ANSWER;
}

static void test_options(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(options_check, 0);
    drax_t *drax = client(gateway->address, 5000);
    drax_options_t *options = drax_options_new(), *range = drax_options_new(),
                   *put = drax_options_new();
    drax_result_t *result;
    drax_options_limit_set(options, 5);
    drax_options_keys_only_set(options, true);
    drax_options_stale_set(options, true);
    assert_int_equal(drax_options_after_set(options, "other", 5), 0);
    assert_int_equal(drax_options_after_set(options, "d/b", 3), 0);
    assert_int_equal(drax_list(drax, "d", 1, options, &result), 0);
    assert_int_equal(drax_result_pair_count(result), 2);
    assert_true(drax_result_more(result));
    assert_int_equal(drax_result_pair_index(result, 1), 8);
    size_t size;
    const void *bytes = drax_result_pair_key(result, 1, &size);
    bytes_equal(bytes, size, "d/\xff");
    assert_null(drax_result_pair_key(result, 2, &size));
    drax_result_destroy(&result);
    drax_options_reverse_set(range, true);
    drax_options_count_only_set(range, true);
    assert_int_equal(drax_range(drax, "a", 1, "b", 1, range, &result), 0);
    assert_int_equal(drax_result_count(result), 9);
    drax_result_destroy(&result);
    drax_options_ttl_set(put, 1500);
    assert_int_equal(drax_put(drax, "a", 1, "b", 1, put, NULL), 0);
    assert_int_equal(drax_atomic_put(drax, "a", 1, "b", 1, 0, NULL, NULL), 0);
    assert_int_equal(drax_atomic_put(drax, "a", 1, "b", 1, 9, NULL, NULL), 0);
    assert_int_equal(drax_list(drax, "d", 1, NULL, NULL), DRAX_ERR_INVALID_ARGUMENT);
    assert_int_equal(gateway->malformed, 0);
    drax_options_destroy(&options);
    drax_options_destroy(&range);
    drax_options_destroy(&put);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

/* Every call reaches its method, in a form that the server's decoder takes. */
static void test_methods(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    const method_t methods[] = {METHOD_DELETE,
                                METHOD_EXISTS,
                                METHOD_DELETE_TREE,
                                METHOD_ATOMIC_DELETE,
                                METHOD_PING,
                                METHOD_STATUS,
                                METHOD_MEMBER_LIST,
                                METHOD_MEMBER_ADD,
                                METHOD_MEMBER_REMOVE,
                                METHOD_MEMBER_PROMOTE,
                                METHOD_LEADER_TRANSFER,
                                METHOD_LEADER_TRANSFER};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        drax_result_t *result = NULL;
        int (*const calls[])(drax_t *, const drax_options_t *,
                             drax_result_t **) = {drax_ping, drax_status, drax_member_list};
        int error = i == 0    ? drax_delete(drax, "k", 1, NULL, &result)
                    : i == 1  ? drax_exists(drax, "k", 1, NULL, &result)
                    : i == 2  ? drax_delete_tree(drax, "", 0, NULL, &result)
                    : i == 3  ? drax_atomic_delete(drax, "k", 1, 4, NULL, &result)
                    : i < 7   ? calls[i - 4](drax, NULL, &result)
                    : i == 7  ? drax_member_add(drax, "a:1", "b:2", NULL, &result)
                    : i == 8  ? drax_member_remove(drax, 3, NULL, &result)
                    : i == 9  ? drax_member_promote(drax, 3, NULL, &result)
                    : i == 10 ? drax_leader_transfer(drax, 3, NULL, &result)
                              : drax_leader_transfer(drax, 0, NULL, &result);
        assert_int_equal(error, 0);
        size_t size;
        const void *name =
            drax_field_bytes(drax_field_find(drax_result_map(result), "method"), &size);
        bytes_equal(name, size, method_name(methods[i]));
        drax_result_destroy(&result);
    }
    assert_int_equal(gateway->malformed, 0);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_arguments(void **state) {
    (void) state;
    drax_t *drax;
    const char *const bad[] = {
        "",        "host", "host:", "host:0",       ":1",      "host:65536", "host:1,",
        ",host:1", "*:1",  "a b:1", "tcp://host:1", "host:1x", "::1:2380",   "[::1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(drax_new(&drax, bad[i]), DRAX_ERR_USAGE);
        assert_null(drax);
    }
    char many[17 * 8 + 1] = "";
    for (unsigned i = 0; i < 17; i++)
        strcat(many, i ? ",host:11" : "host:1");
    assert_int_equal(drax_new(&drax, many), DRAX_ERR_USAGE);
    many[strlen(many) - 8] = '\0';
    assert_int_equal(drax_new(&drax, many), 0);
    drax_destroy(&drax);
    drax = client("[::1]:1", 100);
    assert_int_equal(drax_timeout_set(drax, 0), DRAX_ERR_USAGE);
    assert_int_equal(drax_get(drax, NULL, 3, NULL, NULL), DRAX_ERR_USAGE);
    static char large[(16 << 20) + 1];
    assert_int_equal(drax_put(drax, "k", 1, large, sizeof large, NULL, NULL), DRAX_ERR_TOO_LARGE);
    assert_int_equal(drax_put_submit(drax, "k", 1, "v", 1, NULL, NULL, NULL), DRAX_ERR_USAGE);
    drax_destroy(&drax);
    drax_destroy(&drax);
    assert_string_equal(drax_error_name(DRAX_ERR_KEY_NOT_FOUND), "KEY_NOT_FOUND");
    assert_string_equal(drax_error_text(-12345), "unknown error");
}

/* ---- errors of the store ---- */

static gateway_action_t key_as_code(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    char code[64] = "";
    memcpy(code, request->key.data, request->key.size);
    answer_failure(out, request->msgid, code, "the server's sentence");
    return GATEWAY_ANSWER;
}

static void test_error_codes(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(key_as_code, 0);
    drax_t *drax = client(gateway->address, 5000);
    char detail[64];
    drax_error_detail(drax, detail, sizeof detail);
    assert_string_equal(detail, "");
    for (int error = DRAX_ERR_KEY_NOT_FOUND; error > DRAX_ERR_UNAVAILABLE; error--) {
        const char *name = drax_error_name(error);
        drax_result_t *result = (drax_result_t *) detail;
        assert_int_equal(drax_get(drax, name, strlen(name), NULL, &result), error);
        assert_null(result);
        drax_error_detail(drax, detail, sizeof detail);
        assert_string_equal(detail, "the server's sentence");
    }
    assert_int_equal(drax_get(drax, "NEWS", 4, NULL, NULL), DRAX_ERR_PROTOCOL);
    assert_int_equal(drax_get(drax, "FULL", 4, NULL, NULL), DRAX_ERR_PROTOCOL);
    drax_error_detail(drax, detail, 4);
    assert_string_equal(detail, "the");
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

/* ---- endpoints that fail ---- */

static void test_dead_endpoint_is_skipped(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(serve, 0);
    char endpoints[128];
    snprintf(endpoints, sizeof endpoints, DEAD ",%s", gateway->address);
    drax_t *drax = client(endpoints, 5000);
    uint64_t start_ms = now_ms();
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    assert_true(now_ms() - start_ms < 2000);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_write_survives_its_gateway(void **state) {
    (void) state;
    gateway_t *first = gateway_start(die, 0), *second = gateway_start(serve, 0);
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
    gateway_t *gateway = gateway_start(serve, 0);
    drax_t *drax = client(gateway->address, 5000);
    unsigned port;
    assert_int_equal(sscanf(gateway->address, "127.0.0.1:%u", &port), 1);
    assert_int_equal(drax_put(drax, "k", 1, "v", 1, NULL, NULL), 0);
    gateway_stop(&gateway);
    gateway = gateway_start(serve, port);
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

static void test_refusal_moves_on(void **state) {
    (void) state;
    gateway_t *first = gateway_start(unavailable, 0), *second = gateway_start(serve, 0);
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
    gateway_t *refuses = gateway_start(unavailable, 0), *slow = gateway_start(timeout, 0),
              *mute = gateway_start(silent, 0);
    outcome_check(DEAD, DRAX_ERR_UNAVAILABLE, DRAX_ERR_UNAVAILABLE, DRAX_ERR_UNAVAILABLE);
    outcome_check(refuses->address, DRAX_ERR_UNAVAILABLE, DRAX_ERR_UNAVAILABLE,
                  DRAX_ERR_UNAVAILABLE);
    outcome_check(slow->address, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT);
    outcome_check(mute->address, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT, DRAX_ERR_TIMEOUT);
    size_t before = gateway_count(slow);
    drax_t *drax = client(slow->address, 5000);
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
        gateway_t *first = gateway_start(die, 0), *second = gateway_start(unavailable, 0);
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
    gateway_t *gateway = gateway_start(silent, 0);
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
    gateway_t *first = gateway_start(silent, 0), *second = gateway_start(serve, 0);
    drax_t *drax = client2(first, second, 20000);
    uint64_t start_ms = now_ms();
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    uint64_t took_ms = now_ms() - start_ms;
    assert_true(took_ms >= 6000 && took_ms < 9000);
    drax_destroy(&drax);
    gateway_stop(&first);
    gateway_stop(&second);
}

/* ---- answers that are none ---- */

/* The key says what to send back. */
static gateway_action_t garbage(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    char kind = (char) request->key.data[0];
    if (kind >= 'a' && kind <= 'c')
        pack_array(out, 4);
    if (kind == 'a') { /* a result that is no map */
        pack_uint(out, 1);
        pack_uint(out, request->msgid);
        pack_nil(out);
        pack_uint(out, 5);
    } else if (kind == 'b') { /* an error that is no array */
        pack_uint(out, 1);
        pack_uint(out, request->msgid);
        pack_str(out, "UNAVAILABLE");
        pack_nil(out);
    } else if (kind == 'c') { /* a request */
        pack_uint(out, 0);
        pack_uint(out, request->msgid);
        pack_nil(out);
        pack_nil(out);
    } else if (kind == 'd') { /* more elements than bytes */
        buffer_append(out, "\xdd\xff\xff\xff\xff", 5);
    } else if (kind == 'e') { /* trailing bytes */
        answer_begin(out, request->msgid, 0);
        pack_nil(out);
    } else if (kind == 'f') { /* too deep */
        answer_begin(out, request->msgid, 1);
        pack_str(out, "x");
        for (int i = 0; i < 100; i++)
            pack_array(out, 1);
        pack_nil(out);
    } else if (kind == 'g') { /* somebody else's answer */
        answer_begin(out, request->msgid + 1, 0);
    } else if (kind == 'h') { /* a notification */
        pack_array(out, 3);
        pack_uint(out, 2);
        pack_str(out, "event");
        pack_array(out, 0);
    }
    return GATEWAY_ANSWER;
}

static void test_garbage(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(garbage, 0);
    drax_t *drax = client(gateway->address, 400);
    char detail[256];
    assert_int_equal(drax_get(drax, "a", 1, NULL, NULL), DRAX_ERR_PROTOCOL);
    assert_int_equal(drax_get(drax, "b", 1, NULL, NULL), DRAX_ERR_PROTOCOL);
    for (const char *kind = "cdefi"; *kind; kind++) {
        int error = drax_get(drax, kind, 1, NULL, NULL);
        assert_true(error == DRAX_ERR_UNAVAILABLE || error == DRAX_ERR_TIMEOUT);
        drax_error_detail(drax, detail, sizeof detail);
        assert_non_null(strstr(detail, "not an answer of Drax"));
    }
    assert_int_equal(drax_get(drax, "g", 1, NULL, NULL), DRAX_ERR_TIMEOUT);
    assert_int_equal(drax_get(drax, "h", 1, NULL, NULL), DRAX_ERR_TIMEOUT);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_envelope_is_skipped(void **state) {
    (void) state;
    unsigned char frame = 'x';
    gateway_t *gateway = gateway_start(serve, 0);
    gateway->extra_frame = &frame;
    drax_t *drax = client(gateway->address, 5000);
    assert_int_equal(drax_get(drax, "k", 1, NULL, NULL), 0);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static gateway_action_t every_kind(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    answer_begin(out, request->msgid, 6);
    pack_str(out, "nil");
    pack_nil(out);
    pack_str(out, "bool");
    pack_bool(out, true);
    pack_str(out, "minus");
    pack_int(out, -5);
    pack_str(out, "list");
    pack_array(out, 2);
    pack_uint(out, 1);
    pack_str(out, "two");
    pack_str(out, "map");
    pack_map(out, 1);
    pack_str(out, "x");
    pack_uint(out, 6);
    pack_str(out, "float");
    buffer_append(out, "\xca\x3f\x80\x00\x00", 5);
    return GATEWAY_ANSWER;
}

static void test_fields(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(every_kind, 0);
    drax_t *drax = client(gateway->address, 5000);
    drax_result_t *result;
    size_t size = 9;
    assert_int_equal(drax_status(drax, NULL, &result), 0);
    const drax_field_t *map = drax_result_map(result);
    const drax_field_kind_t kinds[] = {DRAX_FIELD_NIL,   DRAX_FIELD_BOOL, DRAX_FIELD_INTEGER,
                                       DRAX_FIELD_ARRAY, DRAX_FIELD_MAP,  DRAX_FIELD_OTHER};
    assert_int_equal(drax_field_count(map), 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(drax_field_kind(drax_field_at(map, i)), kinds[i]);
    const void *name = drax_field_bytes(drax_field_name(map, 1), &size);
    bytes_equal(name, size, "bool");
    assert_true(drax_field_bool(drax_field_at(map, 1)));
    assert_int_equal(drax_field_uint(drax_field_at(map, 2)), 0);
    const drax_field_t *list = drax_field_find(map, "list");
    assert_int_equal(drax_field_uint(drax_field_at(list, 0)), 1);
    assert_null(drax_field_at(list, 2));
    assert_null(drax_field_name(list, 0));
    assert_null(drax_field_find(list, "x"));
    assert_int_equal(drax_field_uint(drax_field_find(drax_field_find(map, "map"), "x")), 6);
    assert_null(drax_field_find(map, "other"));
    assert_int_equal(drax_field_kind(NULL), DRAX_FIELD_NIL);
    assert_null(drax_field_bytes(list, &size));
    assert_int_equal(size, 0);
    assert_int_equal(drax_result_index(NULL), 0);
    drax_result_destroy(&result);
    drax_destroy(&drax);
    gateway_stop(&gateway);
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
    return request->seq % 2 ? serve(self, request, out) : GATEWAY_SILENT;
}

static void test_pipeline_survives(void **state) {
    (void) state;
    gateway_t *first = gateway_start(die_at_100, 0), *second = gateway_start(serve, 0);
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
    return request->seq == 1 ? GATEWAY_SILENT : serve(self, request, out);
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

static void test_pipeline_end(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(serve, 0);
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
    gateway_t *gateway = gateway_start(serve, 0);
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
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_error_codes),
        cmocka_unit_test(test_dead_endpoint_is_skipped),
        cmocka_unit_test(test_write_survives_its_gateway),
        cmocka_unit_test(test_gateway_comes_back),
        cmocka_unit_test(test_refusals_are_retried),
        cmocka_unit_test(test_refusal_moves_on),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_lost_write_is_unknown),
        cmocka_unit_test(test_call_timeout),
        cmocka_unit_test(test_mute_gateway_is_left),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_envelope_is_skipped),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_pipeline_survives),
        cmocka_unit_test(test_pipeline_limits),
        cmocka_unit_test(test_pipeline_end),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
