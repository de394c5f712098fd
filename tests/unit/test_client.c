/* test_client.c: libdrax through drax.h alone: requests, results, errors, and answers that are
 * none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zmq.h>

#include "drax.h"
#include "tests/unit/gateway_fake.h"

static drax_t *client(const char *endpoints, uint64_t timeout_ms) {
    drax_t *drax;
    assert_int_equal(drax_new(&drax, endpoints), 0);
    assert_int_equal(drax_timeout_set(drax, timeout_ms), 0);
    return drax;
}

static void bytes_equal(const void *data, size_t size, const char *text) {
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
}

/* ---- requests and results ---- */

static void test_put_and_get(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
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
        return gateway_serve(self, request, out);
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
    gateway_t *gateway = gateway_start(gateway_serve, 0);
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
        answer_begin(out, request->msgid + (request->key.size > 1 ? 1024 : 1), 0);
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
    assert_int_equal(drax_get(drax, "gg", 2, NULL, NULL), DRAX_ERR_TIMEOUT);
    assert_int_equal(drax_get(drax, "h", 1, NULL, NULL), DRAX_ERR_TIMEOUT);
    drax_destroy(&drax);
    gateway_stop(&gateway);
}

static void test_envelope_is_skipped(void **state) {
    (void) state;
    unsigned char frame = 'x';
    gateway_t *gateway = gateway_start(gateway_serve, 0);
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

/* ---- in a context of the caller's ---- */

static void released_count(void *hint) {
    ++*(int *) hint;
}

static void test_context_of_the_caller(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    void *context = zmq_ctx_new();
    int released = 0;
    drax_t *drax, *other;
    assert_int_equal(drax_new_in(&drax, context, "nonsense", released_count, &released),
                     DRAX_ERR_USAGE);
    assert_int_equal(released, 0);
    assert_int_equal(drax_new_in(&drax, context, gateway->address, released_count, &released), 0);
    assert_int_equal(drax_new_in(&other, context, gateway->address, NULL, NULL), 0);
    assert_int_equal(drax_put(drax, "a", 1, "b", 1, NULL, NULL), 0);
    assert_int_equal(drax_timeout_set(drax, 600000), 0);
    assert_int_equal(drax_timeout_set(other, 600000), 0);
    assert_int_equal(zmq_ctx_shutdown(context), 0);
    /* One had a connection, the other has none yet. */
    assert_int_equal(drax_put(drax, "a", 1, "b", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);
    assert_int_equal(drax_put(other, "a", 1, "b", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);
    drax_destroy(&other);
    drax_destroy(&drax);
    assert_int_equal(released, 1);
    assert_int_equal(zmq_ctx_term(context), 0);
    gateway_stop(&gateway);
}

/* A write that was sent when the context went: nobody knows. */
static void *context_shut_down(void *gateway_and_context) {
    void **both = gateway_and_context;
    while (gateway_count(both[0]) == 0)
        ;
    (void) zmq_ctx_shutdown(both[1]);
    return NULL;
}

static void test_context_that_goes_during_a_write(void **state) {
    (void) state;
    gateway_t *gateway = gateway_start(gateway_silent, 0);
    void *both[] = {gateway, zmq_ctx_new()};
    drax_t *drax;
    pthread_t thread;
    assert_int_equal(drax_new_in(&drax, both[1], gateway->address, NULL, NULL), 0);
    assert_int_equal(drax_timeout_set(drax, 600000), 0);
    assert_int_equal(pthread_create(&thread, NULL, context_shut_down, both), 0);
    assert_int_equal(drax_put(drax, "a", 1, "b", 1, NULL, NULL), DRAX_ERR_TIMEOUT);
    assert_int_equal(pthread_join(thread, NULL), 0);
    drax_destroy(&drax);
    assert_int_equal(zmq_ctx_term(both[1]), 0);
    gateway_stop(&gateway);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_error_codes),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_envelope_is_skipped),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_context_of_the_caller),
        cmocka_unit_test(test_context_that_goes_during_a_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
