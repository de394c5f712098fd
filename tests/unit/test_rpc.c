/* test_rpc.c: every rule of the client protocol that needs no state, as tables of requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/rpc.h"
#include "text_msgpack.h"

static slice_t content(const buffer_t *buffer) {
    return (slice_t){buffer->data, buffer->size};
}

/* Decodes `text`; what `out` points to stays in `bytes`. */
static int text_decode(buffer_t *bytes, const char *text, request_t *out, rpc_error_t *error) {
    buffer_reset(bytes);
    text_msgpack(bytes, text);
    memset(error, 0, sizeof *error);
    return request_decode(content(bytes), out, error);
}

static void slice_assert(slice_t got, const char *want) {
    assert_int_equal(got.size, strlen(want));
    if (got.size)
        assert_memory_equal(got.data, want, got.size);
}

/* ---- what is accepted ---- */

static void accepted_table(void **unused) {
    (void) unused;
    static const struct {
        method_t method;
        const char *text;
    } cases[] = {
        {METHOD_PING, "[0, 5, \"ping\", []]"},
        {METHOD_PING, "[0, 5, \"ping\", [{}]]"},
        {METHOD_STATUS, "[0, 5, \"status\", []]"},
        {METHOD_STATUS, "[0, 5, \"status\", [{}]]"},
        {METHOD_MEMBER_LIST, "[0, 5, \"member_list\", []]"},
        {METHOD_MEMBER_LIST, "[0, 5, \"member_list\", [{}]]"},
        {METHOD_SNAPSHOT, "[0, 5, \"snapshot\", [0, 0]]"},
        {METHOD_SNAPSHOT, "[0, 5, \"snapshot\", [9007199254740991, 9007199254740991, {}]]"},
        {METHOD_GET, "[0, 5, \"get\", [\"k\"]]"},
        {METHOD_GET, "[0, 5, \"get\", [b\"\\x00\\xff\"]]"},
        {METHOD_GET, "[0, 5, \"get\", [\"k\"*4096]]"},
        {METHOD_GET, "[0, 5, \"get\", [\"k\", {}]]"},
        {METHOD_GET, "[0, 5, \"get\", [\"k\", {\"stale\": true}]]"},
        {METHOD_GET, "[0, 5, \"get\", [\"k\", {\"stale\": nil}]]"},
        {METHOD_EXISTS, "[0, 5, \"exists\", [\"k\", {\"stale\": false}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\"]]"},
        {METHOD_PUT, "[0, 5, \"put\", [b\"k\", b\"\"]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\"*200000]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"ttl_ms\": 1}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"ttl_ms\": 9007199254740991}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"lease\": 9007199254740991}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"ttl_ms\": 1, \"lease\": nil}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"client\": \"c\", \"seq\": 1}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"seq\": 1, \"client\": b\"c\"*32}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"client\": nil, \"seq\": nil}]]"},
        {METHOD_PUT, "[0, 5, \"put\", [\"k\", \"v\", {\"fence\": [\"lock\", 3]}]]"},
        {METHOD_DELETE, "[0, 5, \"delete\", [\"k\"]]"},
        {METHOD_DELETE, "[0, 5, \"delete\", [\"k\", {\"fence\": [b\"lock\", 3]}]]"},
        {METHOD_LIST, "[0, 5, \"list\", [\"\"]]"},
        {METHOD_LIST, "[0, 5, \"list\", [\"/\"]]"},
        {METHOD_LIST, "[0, 5, \"list\", [\"d\"*4096]]"},
        {METHOD_LIST, "[0, 5, \"list\", [\"d\", {\"limit\": 0, \"after\": \"\"}]]"},
        {METHOD_LIST, "[0, 5, \"list\", [\"d\", {\"limit\": 9007199254740991}]]"},
        {METHOD_LIST, "[0, 5, \"list\", [\"d\", {\"after\": \"d\"*4096, \"keys_only\": true}]]"},
        {METHOD_RANGE, "[0, 5, \"range\", [\"\", \"\"]]"},
        {METHOD_RANGE, "[0, 5, \"range\", [b\"a\", b\"b\"*4096, {\"reverse\": true}]]"},
        {METHOD_RANGE, "[0, 5, \"range\", [\"a\", \"b\", {\"count_only\": true, \"limit\": 3}]]"},
        {METHOD_RANGE, "[0, 5, \"range\", [\"a\", \"b\", {\"keys_only\": true, \"stale\": true}]]"},
        {METHOD_DELETE_TREE, "[0, 5, \"delete_tree\", [\"\"]]"},
        {METHOD_DELETE_TREE, "[0, 5, \"delete_tree\", [\"d/\", {\"client\": \"c\", \"seq\": 2}]]"},
        {METHOD_ATOMIC_PUT, "[0, 5, \"atomic_put\", [\"k\", \"v\", nil]]"},
        {METHOD_ATOMIC_PUT, "[0, 5, \"atomic_put\", [\"k\", \"v\", 1, {\"ttl_ms\": 9}]]"},
        {METHOD_ATOMIC_PUT, "[0, 5, \"atomic_put\", [\"k\", \"v\", 9007199254740991]]"},
        {METHOD_ATOMIC_DELETE, "[0, 5, \"atomic_delete\", [\"k\", nil]]"},
        {METHOD_ATOMIC_DELETE, "[0, 5, \"atomic_delete\", [\"k\", 7, {}]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[[\"k\", \"index\", \"=\", 0]], [], [], {}]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[[\"k\", \"version\", \">\", 9007199254740991]], [], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[[b\"k\", \"value\", \"<\", \"\"]], [], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[[\"k\", \"exists\", \"!=\", true]], [], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [[\"get\", [\"k\"]], [\"exists\", [\"k\", {}]]], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [], [[\"put\", [\"k\", \"v\", {\"ttl_ms\": 1}]]]]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [[\"delete\", [\"k\", {\"fence\": [\"l\", 1]}]]], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [[\"list\", [\"\", {\"limit\": 1}]]], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [[\"range\", [\"a\", \"\"]]], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [[\"delete_tree\", [\"\"]]], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [[\"atomic_put\", [\"k\", \"v\", nil]]], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [[\"atomic_delete\", [\"k\", 3]]], []]]"},
        {METHOD_TXN, "[0, 5, \"txn\", [[], [], [], {\"client\": \"c\", \"seq\": 1, "
                     "\"fence\": [\"l\", 1]}]]"},
        {METHOD_LEASE_GRANT, "[0, 5, \"lease_grant\", [1]]"},
        {METHOD_LEASE_GRANT,
         "[0, 5, \"lease_grant\", [9007199254740991, {\"client\": \"c\", \"seq\": 1}]]"},
        {METHOD_LEASE_KEEPALIVE, "[0, 5, \"lease_keepalive\", [1, {\"fence\": [\"l\", 1]}]]"},
        {METHOD_LEASE_GET, "[0, 5, \"lease_get\", [9007199254740991, {}]]"},
        {METHOD_LEASE_REVOKE, "[0, 5, \"lease_revoke\", [1]]"},
        {METHOD_LOCK, "[0, 5, \"lock\", [\"k\", {\"ttl_ms\": 1}]]"},
        {METHOD_LOCK, "[0, 5, \"lock\", [b\"k\", {\"ttl_ms\": 9007199254740991, \"wait_ms\": 0, "
                      "\"value\": b\"\"}]]"},
        {METHOD_LOCK, "[0, 5, \"lock\", [\"k\", {\"ttl_ms\": 1, \"wait_ms\": nil, \"value\": nil, "
                      "\"client\": \"c\", \"seq\": 1, \"fence\": [\"l\", 1]}]]"},
        {METHOD_UNLOCK, "[0, 5, \"unlock\", [\"k\", 0]]"},
        {METHOD_UNLOCK,
         "[0, 5, \"unlock\", [\"k\", 9007199254740991, {\"client\": \"c\", \"seq\": 1}]]"},
        {METHOD_LOCK_CANCEL, "[0, 5, \"lock_cancel\", [0]]"},
        {METHOD_LOCK_CANCEL, "[0, 5, \"lock_cancel\", [4294967295, {}]]"},
        {METHOD_MEMBER_ADD, "[0, 5, \"member_add\", [\"h:1\", \"h:2\"]]"},
        {METHOD_MEMBER_ADD,
         "[0, 5, \"member_add\", [\"h:1\", \"[::1]:65535\", {\"id\": 4294967295}]]"},
        {METHOD_MEMBER_ADD,
         "[0, 5, \"member_add\", [\"h:1\", \"h:2\", {\"client\": \"c\", \"seq\": 1}]]"},
        {METHOD_MEMBER_REMOVE, "[0, 5, \"member_remove\", [1]]"},
        {METHOD_MEMBER_REMOVE, "[0, 5, \"member_remove\", [1, {\"client\": \"c\", \"seq\": 1}]]"},
        {METHOD_MEMBER_PROMOTE, "[0, 5, \"member_promote\", [4294967295]]"},
        {METHOD_WATCH, "[0, 5, \"watch\", [\"k\"]]"},
        {METHOD_WATCH, "[0, 5, \"watch\", [\"k\", {\"from\": nil, \"wait_ms\": nil}]]"},
        {METHOD_WATCH, "[0, 5, \"watch\", [\"k\", {\"from\": 1, \"wait_ms\": 0}]]"},
        {METHOD_WATCH_TREE, "[0, 5, \"watch_tree\", [\"\", {\"from\": 9007199254740991}]]"},
        {METHOD_WATCH_TREE, "[0, 5, \"watch_tree\", [\"d\", {\"wait_ms\": 9007199254740991}]]"},
        {METHOD_WATCH_CANCEL, "[0, 5, \"watch_cancel\", [1]]"},
        {METHOD_LEADER_TRANSFER, "[0, 5, \"leader_transfer\", []]"},
        {METHOD_LEADER_TRANSFER, "[0, 5, \"leader_transfer\", [nil]]"},
        {METHOD_LEADER_TRANSFER, "[0, 5, \"leader_transfer\", [{}]]"},
        {METHOD_LEADER_TRANSFER, "[0, 5, \"leader_transfer\", [3]]"},
        {METHOD_LEADER_TRANSFER,
         "[0, 5, \"leader_transfer\", [nil, {\"client\": \"c\", \"seq\": 1}]]"},
    };
    buffer_t bytes = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_t request;
        rpc_error_t error;
        int rc = text_decode(&bytes, cases[i].text, &request, &error);
        if (rc != 0)
            fail_msg("%s: %s", cases[i].text, error.text);
        assert_int_equal(request.method, cases[i].method);
        assert_int_equal(request.msgid, 5);
        assert_int_equal(request.kind, RPC_REQUEST);
    }
    buffer_free(&bytes);
}

static void fields_of_a_put(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    request_t request;
    rpc_error_t error;
    assert_int_equal(text_decode(&bytes,
                                 "[0, 4294967295, \"put\", [\"key\", b\"val\", {\"ttl_ms\": 7, "
                                 "\"client\": \"me\", \"seq\": 8, \"fence\": [\"lock\", 9]}]]",
                                 &request, &error),
                     0);
    assert_true(request.msgid == UINT32_MAX);
    slice_assert(request.key, "key");
    slice_assert(request.value, "val");
    assert_int_equal(request.ttl_ms, 7);
    assert_int_equal(request.lease, 0);
    slice_assert(request.client, "me");
    assert_int_equal(request.seq, 8);
    assert_true(request.has_fence);
    slice_assert(request.fence_key, "lock");
    assert_int_equal(request.fence_token, 9);
    assert_false(request.has_previous);

    assert_int_equal(
        text_decode(&bytes, "[0, 0, \"put\", [\"k\", \"\", {\"lease\": 6}]]", &request, &error), 0);
    assert_int_equal(request.lease, 6);
    assert_int_equal(request.ttl_ms, 0);
    assert_false(request.has_fence);
    assert_int_equal(request.client.size, 0);
    buffer_free(&bytes);
}

static void fields_of_reads(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    request_t request;
    rpc_error_t error;
    assert_int_equal(text_decode(&bytes,
                                 "[0, 1, \"range\", [\"from\", \"to\", {\"limit\": 3, \"reverse\": "
                                 "true, \"keys_only\": true, \"count_only\": true}]]",
                                 &request, &error),
                     0);
    slice_assert(request.key, "from");
    slice_assert(request.end, "to");
    assert_int_equal(request.limit, 3);
    assert_true(request.reverse && request.keys_only && request.count_only);
    assert_false(request.stale);

    assert_int_equal(text_decode(&bytes,
                                 "[0, 1, \"list\", [\"dir\", {\"after\": \"dir/a\", \"stale\": "
                                 "true, \"reverse\": nil}]]",
                                 &request, &error),
                     DRAX_EPROTO); /* list does not know reverse, not even as nil */
    assert_int_equal(text_decode(&bytes,
                                 "[0, 1, \"list\", [\"dir\", {\"after\": \"dir/a\", \"stale\": "
                                 "true, \"limit\": nil}]]",
                                 &request, &error),
                     0);
    slice_assert(request.key, "dir");
    assert_true(request.has_after && request.stale);
    slice_assert(request.after, "dir/a");
    assert_int_equal(request.limit, 0);
    assert_int_equal(
        text_decode(&bytes, "[0, 1, \"list\", [\"d\", {\"after\": nil}]]", &request, &error), 0);
    assert_false(request.has_after);
    buffer_free(&bytes);
}

static void fields_of_the_rest(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    request_t request;
    rpc_error_t error;
    assert_int_equal(
        text_decode(&bytes, "[0, 1, \"atomic_put\", [\"k\", \"v\", 12]]", &request, &error), 0);
    assert_true(request.has_previous);
    assert_int_equal(request.previous, 12);
    assert_int_equal(
        text_decode(&bytes, "[0, 1, \"atomic_delete\", [\"k\", nil]]", &request, &error), 0);
    assert_false(request.has_previous);
    assert_int_equal(text_decode(&bytes, "[0, 1, \"member_add\", [\"a:1\", \"b:2\", {\"id\": 3}]]",
                                 &request, &error),
                     0);
    slice_assert(request.addr, "a:1");
    slice_assert(request.raft_addr, "b:2");
    assert_int_equal(request.id, 3);
    assert_int_equal(text_decode(&bytes,
                                 "[0, 1, \"watch\", [\"k\", {\"from\": 7, \"wait_ms\": 0}]]",
                                 &request, &error),
                     0);
    slice_assert(request.key, "k");
    assert_int_equal(request.from, 7);
    assert_true(request.has_wait);
    assert_int_equal(request.wait_ms, 0);
    assert_int_equal(text_decode(&bytes, "[0, 1, \"watch_cancel\", [8]]", &request, &error), 0);
    assert_int_equal(request.watch, 8);
    assert_int_equal(text_decode(&bytes, "[0, 1, \"leader_transfer\", [4]]", &request, &error), 0);
    assert_int_equal(request.id, 4);
    assert_int_equal(text_decode(&bytes, "[0, 1, \"leader_transfer\", []]", &request, &error), 0);
    assert_int_equal(request.id, 0);
    buffer_free(&bytes);
}

/* Integers may come in any width, signed or not. */
static void integer_forms(void **unused) {
    (void) unused;
    static const char *const forms[] = {"\x05",
                                        "\xcc\x05",
                                        "\xcd\0\x05",
                                        "\xce\0\0\0\x05",
                                        "\xcf\0\0\0\0\0\0\0\x05",
                                        "\xd0\x05",
                                        "\xd1\0\x05",
                                        "\xd2\0\0\0\x05",
                                        "\xd3\0\0\0\0\0\0\0\x05"};
    static const size_t sizes[] = {1, 2, 3, 5, 9, 2, 3, 5, 9};
    buffer_t bytes = {0};
    for (size_t i = 0; i < 9; i++) {
        buffer_reset(&bytes);
        pack_array(&bytes, 4);
        pack_uint(&bytes, 0);
        buffer_append(&bytes, forms[i], sizes[i]);
        pack_str(&bytes, "member_remove");
        pack_array(&bytes, 1);
        buffer_append(&bytes, forms[i], sizes[i]);
        request_t request;
        rpc_error_t error;
        assert_int_equal(request_decode(content(&bytes), &request, &error), 0);
        assert_int_equal(request.msgid, 5);
        assert_int_equal(request.id, 5);
    }
    buffer_free(&bytes);
}

/* ---- what is refused ---- */

static void refused_table(void **unused) {
    (void) unused;
    /* Parameters of requests with msgid 5. */
    static const struct {
        const char *method, *params;
    } cases[] = {
        /* positional: missing, surplus, of a wrong type */
        {"ping", "[1]"},
        {"ping", "[nil]"},
        {"ping", "[{}, {}]"},
        {"status", "[\"x\"]"},
        {"member_list", "[1]"},
        {"snapshot", "[]"},
        {"snapshot", "[0]"},
        {"snapshot", "[0, -1]"},
        {"snapshot", "[nil, 0]"},
        {"snapshot", "[9007199254740992, 0]"},
        {"snapshot", "[0, 0, 0]"},
        {"get", "[]"},
        {"get", "[{}]"},
        {"get", "[{\"stale\": true}]"},
        {"get", "[nil]"},
        {"get", "[1]"},
        {"get", "[1.0]"},
        {"get", "[true]"},
        {"get", "[[\"k\"]]"},
        {"get", "[ext]"},
        {"get", "[\"k\", nil]"},
        {"get", "[\"k\", \"k\"]"},
        {"get", "[\"k\", {}, {}]"},
        {"get", "[\"k\", {}, nil]"},
        {"get", "[{}, \"k\"]"},
        {"put", "[\"k\"]"},
        {"put", "[\"k\", {}]"},
        {"put", "[\"k\", nil]"},
        {"put", "[\"k\", 5]"},
        {"put", "[\"k\", ext]"},
        {"put", "[\"k\", \"v\", \"w\"]"},
        {"put", "[\"k\", \"v\", nil]"},
        {"delete", "[]"},
        {"delete", "[\"k\", \"k\"]"},
        {"exists", "[]"},
        {"list", "[]"},
        {"list", "[nil]"},
        {"range", "[\"a\"]"},
        {"range", "[\"a\", {}]"},
        {"range", "[\"a\", nil]"},
        {"range", "[\"a\", \"b\", \"c\"]"},
        {"delete_tree", "[]"},
        {"atomic_put", "[\"k\", \"v\"]"},
        {"atomic_put", "[\"k\", \"v\", {}]"},
        {"atomic_put", "[\"k\", \"v\", \"1\"]"},
        {"atomic_delete", "[\"k\"]"},
        {"atomic_delete", "[\"k\", {}]"},
        {"txn", "[]"},
        {"txn", "[[], []]"},
        {"txn", "[[], [], {}]"},
        {"txn", "[nil, [], []]"},
        {"txn", "[[], \"\", []]"},
        {"txn", "[[], [], nil]"},
        {"txn", "[[], [], [], []]"},
        {"txn", "[[[]], [], []]"},
        {"txn", "[[\"k\"], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"=\"]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"=\", 1, 1]], [], []]"},
        {"txn", "[[[\"\", \"index\", \"=\", 1]], [], []]"},
        {"txn", "[[[1, \"index\", \"=\", 1]], [], []]"},
        {"txn", "[[[\"k\", \"Index\", \"=\", 1]], [], []]"},
        {"txn", "[[[\"k\", b\"index\", \"=\", 1]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"==\", 1]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"<=\", 1]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"=\", -1]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"=\", nil]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"=\", \"1\"]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"=\", true]], [], []]"},
        {"txn", "[[[\"k\", \"index\", \"=\", 9007199254740992]], [], []]"},
        {"txn", "[[[\"k\", \"version\", \"=\", 1.0]], [], []]"},
        {"txn", "[[[\"k\", \"value\", \"=\", 1]], [], []]"},
        {"txn", "[[[\"k\", \"value\", \"=\", nil]], [], []]"},
        {"txn", "[[[\"k\", \"exists\", \"=\", 1]], [], []]"},
        {"txn", "[[[\"k\", \"exists\", \"<\", true]], [], []]"},
        {"txn", "[[], [\"get\", [\"k\"]], []]"},
        {"txn", "[[], [[\"get\"]], []]"},
        {"txn", "[[], [[\"get\", [\"k\"], {}]], []]"},
        {"txn", "[[], [[\"get\", [\"\"]]], []]"},
        {"txn", "[[], [[\"get\", \"k\"]], []]"},
        {"txn", "[[], [], [[\"get\", []]]]"},
        {"txn", "[[], [[\"put\", [\"k\", \"v\", {\"limit\": 1}]]], []]"},
        {"txn", "[[], [[\"put\", [\"k\", \"v\", {\"client\": \"c\", \"seq\": 1}]]], []]"},
        {"txn", "[[], [[\"put\", [\"k\", \"v\", {\"ttl_ms\": 1, \"lease\": 1}]]], []]"},
        {"txn", "[[], [[\"ping\", []]], []]"},
        {"txn", "[[], [[\"member_list\", []]], []]"},
        {"txn", "[[], [[\"expire\", []]], []]"},
        {"txn", "[[], [[\"nonsense\", []]], []]"},
        {"txn", "[[], [[\"txn\", [[], [], []]]], []]"},
        {"txn", "[[], [], [], {\"ttl_ms\": 1}]"},
        {"txn", "[[], [], [], {\"client\": \"c\"}]"},
        {"lease_grant", "[]"},
        {"lease_grant", "[0]"},
        {"lease_grant", "[-1]"},
        {"lease_grant", "[1.0]"},
        {"lease_grant", "[9007199254740992]"},
        {"lease_grant", "[{\"ttl_ms\": 1}]"},
        {"lease_grant", "[1, {\"ttl_ms\": 1}]"},
        {"lease_keepalive", "[0]"},
        {"lease_keepalive", "[nil]"},
        {"lease_get", "[\"1\"]"},
        {"lease_get", "[1, {\"client\": \"c\", \"seq\": 1}]"},
        {"lease_revoke", "[1, 2]"},
        {"txn", "[[], [[\"lease_get\", [1]]], []]"},
        {"lock", "[]"},
        {"lock", "[\"k\"]"},
        {"lock", "[\"k\", {}]"},
        {"lock", "[\"k\", {\"ttl_ms\": nil}]"},
        {"lock", "[\"k\", {\"ttl_ms\": 0}]"},
        {"lock", "[\"\", {\"ttl_ms\": 1}]"},
        {"lock", "[\"k\", {\"ttl_ms\": 1, \"value\": 1}]"},
        {"lock", "[\"k\", {\"ttl_ms\": 1, \"wait_ms\": -1}]"},
        {"lock", "[\"k\", {\"ttl_ms\": 1, \"wait_ms\": \"0\"}]"},
        {"lock", "[\"k\", {\"ttl_ms\": 1, \"lease\": 1}]"},
        {"lock", "[\"k\", 1, {\"ttl_ms\": 1}]"},
        {"unlock", "[\"k\"]"},
        {"unlock", "[\"k\", nil]"},
        {"unlock", "[\"k\", \"1\"]"},
        {"unlock", "[\"k\", -1]"},
        {"unlock", "[\"k\", 1, {\"ttl_ms\": 1}]"},
        {"lock_cancel", "[]"},
        {"lock_cancel", "[4294967296]"},
        {"lock_cancel", "[\"1\"]"},
        {"lock_cancel", "[1, {\"client\": \"c\", \"seq\": 1}]"},
        {"txn", "[[], [[\"lock\", [\"k\", {\"ttl_ms\": 1}]]], []]"},
        {"member_add", "[\"a:1\"]"},
        {"member_add", "[\"a:1\", {}]"},
        {"member_add", "[1, \"a:1\"]"},
        {"member_add", "[b\"a:1\", \"a:1\"]"},
        {"member_remove", "[]"},
        {"member_remove", "[nil]"},
        {"member_remove", "[\"1\"]"},
        {"member_promote", "[]"},
        {"leader_transfer", "[1, 2]"},
        {"leader_transfer", "[\"1\"]"},
        {"leader_transfer", "[nil, nil]"},
        /* keys and directories */
        {"get", "[\"\"]"},
        {"get", "[b\"\"]"},
        {"get", "[\"k\"*4097]"},
        {"put", "[\"k\"*4097, \"v\"]"},
        {"put", "[\"\", \"v\"]"},
        {"delete", "[\"\"]"},
        {"exists", "[\"k\"*4097]"},
        {"atomic_put", "[\"\", \"v\", nil]"},
        {"atomic_delete", "[\"k\"*4097, nil]"},
        {"list", "[\"d\"*4097]"},
        {"list", "[\"d\", {\"after\": \"d\"*4097}]"},
        {"list", "[\"d\", {\"after\": 1}]"},
        {"delete_tree", "[\"d\"*4097]"},
        {"range", "[\"a\"*4097, \"b\"]"},
        {"range", "[\"a\", \"b\"*4097]"},
        /* numbers */
        {"atomic_put", "[\"k\", \"v\", 0]"},
        {"atomic_put", "[\"k\", \"v\", -1]"},
        {"atomic_put", "[\"k\", \"v\", 1.0]"},
        {"atomic_put", "[\"k\", \"v\", 9007199254740992]"},
        {"atomic_delete", "[\"k\", 0]"},
        {"put", "[\"k\", \"v\", {\"ttl_ms\": 0}]"},
        {"put", "[\"k\", \"v\", {\"ttl_ms\": -1}]"},
        {"put", "[\"k\", \"v\", {\"ttl_ms\": 1.0}]"},
        {"put", "[\"k\", \"v\", {\"ttl_ms\": \"1\"}]"},
        {"put", "[\"k\", \"v\", {\"ttl_ms\": 9007199254740992}]"},
        {"put", "[\"k\", \"v\", {\"ttl_ms\": 18446744073709551615}]"},
        {"put", "[\"k\", \"v\", {\"lease\": 0}]"},
        {"put", "[\"k\", \"v\", {\"lease\": 9007199254740992}]"},
        {"put", "[\"k\", \"v\", {\"lease\": true}]"},
        {"list", "[\"d\", {\"limit\": -1}]"},
        {"list", "[\"d\", {\"limit\": 1.0}]"},
        {"list", "[\"d\", {\"limit\": \"1\"}]"},
        {"list", "[\"d\", {\"limit\": 9007199254740992}]"},
        {"range", "[\"a\", \"b\", {\"limit\": -9}]"},
        {"member_remove", "[0]"},
        {"member_remove", "[-1]"},
        {"member_remove", "[4294967296]"},
        {"member_remove", "[1.0]"},
        {"member_promote", "[0]"},
        {"leader_transfer", "[0]"},
        {"leader_transfer", "[4294967296]"},
        {"member_add", "[\"a:1\", \"a:2\", {\"id\": 0}]"},
        {"member_add", "[\"a:1\", \"a:2\", {\"id\": 4294967296}]"},
        /* addresses */
        {"member_add", "[\"\", \"a:2\"]"},
        {"member_add", "[\"a:1\", \"a\"*256]"},
        {"member_add", "[\"a\", \"a:2\"]"},
        {"member_add", "[\"a:1\", \"a:0\"]"},
        {"member_add", "[\"a:1\", \"a:65536\"]"},
        {"member_add", "[\"*:1\", \"a:2\"]"},
        {"member_add", "[\"a:1\", \"0.0.0.0:2\"]"},
        {"member_add", "[\"a:1\", \"::1:2\"]"},
        {"member_add", "[\"a\\x00:1\", \"a:2\"]"},
        {"member_add", "[\"a:1\\x0a\", \"a:2\"]"},
        {"member_add", "[\"a:1\", \"a\\x7f:2\"]"},
        {"member_add", "[\"a\\xff:1\", \"a:2\"]"},
        /* options: unknown, of another method, twice, of a wrong type */
        {"ping", "[{\"stale\": true}]"},
        {"status", "[{\"x\": nil}]"},
        {"member_list", "[{\"stale\": true}]"},
        {"get", "[\"k\", {\"x\": 1}]"},
        {"get", "[\"k\", {\"x\": nil}]"},
        {"get", "[\"k\", {\"\": nil}]"},
        {"get", "[\"k\", {\"STALE\": true}]"},
        {"get", "[\"k\", {\"stale\\x00\": true}]"},
        {"get", "[\"k\", {b\"stale\": true}]"},
        {"get", "[\"k\", {1: true}]"},
        {"get", "[\"k\", {nil: nil}]"},
        {"get", "[\"k\", {\"stale\": true, \"stale\": true}]"},
        {"get", "[\"k\", {\"stale\": nil, \"stale\": true}]"},
        {"get", "[\"k\", {\"stale\": 1}]"},
        {"get", "[\"k\", {\"stale\": \"true\"}]"},
        {"get", "[\"k\", {\"stale\": {}}]"},
        {"get", "[\"k\", {\"keys_only\": true}]"},
        {"get", "[\"k\", {\"client\": \"c\", \"seq\": 1}]"},
        {"exists", "[\"k\", {\"ttl_ms\": 1}]"},
        {"put", "[\"k\", \"v\", {\"stale\": false}]"},
        {"put", "[\"k\", \"v\", {\"limit\": 1}]"},
        {"put", "[\"k\", \"v\", {\"id\": 1}]"},
        {"delete", "[\"k\", {\"ttl_ms\": 1}]"},
        {"delete", "[\"k\", {\"stale\": true}]"},
        {"list", "[\"d\", {\"count_only\": true}]"},
        {"list", "[\"d\", {\"reverse\": true}]"},
        {"list", "[\"d\", {\"keys_only\": 0}]"},
        {"range", "[\"a\", \"b\", {\"after\": \"a\"}]"},
        {"range", "[\"a\", \"b\", {\"reverse\": nil, \"count_only\": 1}]"},
        {"range", "[\"a\", \"b\", {\"reverse\": \"\"}]"},
        {"delete_tree", "[\"d\", {\"lease\": 1}]"},
        {"atomic_delete", "[\"k\", 1, {\"ttl_ms\": 1}]"},
        {"member_add", "[\"a:1\", \"a:2\", {\"fence\": [\"k\", 1]}]"},
        {"member_remove", "[1, {\"id\": 1}]"},
        {"leader_transfer", "[1, {\"stale\": true}]"},
        {"watch", "[]"},
        {"watch", "[\"\"]"},
        {"watch", "[\"k\", {\"from\": 0}]"},
        {"watch", "[\"k\", {\"from\": -1}]"},
        {"watch", "[\"k\", {\"from\": 9007199254740992}]"},
        {"watch", "[\"k\", {\"wait_ms\": -1}]"},
        {"watch", "[\"k\", {\"wait_ms\": true}]"},
        {"watch", "[\"k\", {\"stale\": true}]"},
        {"watch_tree", "[1]"},
        {"watch_tree", "[\"d\", \"d\"]"},
        {"watch_cancel", "[]"},
        {"watch_cancel", "[0]"},
        {"watch_cancel", "[\"1\"]"},
        {"watch_cancel", "[1, 2]"},
        {"watch_cancel", "[1, {\"from\": 1}]"},
        /* options that concern each other */
        {"put", "[\"k\", \"v\", {\"ttl_ms\": 1, \"lease\": 1}]"},
        {"atomic_put", "[\"k\", \"v\", nil, {\"lease\": 1, \"ttl_ms\": 1}]"},
        {"put", "[\"k\", \"v\", {\"client\": \"c\"}]"},
        {"put", "[\"k\", \"v\", {\"seq\": 1}]"},
        {"put", "[\"k\", \"v\", {\"client\": nil, \"seq\": 1}]"},
        {"member_remove", "[1, {\"client\": \"c\"}]"},
        {"put", "[\"k\", \"v\", {\"client\": \"\", \"seq\": 1}]"},
        {"put", "[\"k\", \"v\", {\"client\": \"c\"*33, \"seq\": 1}]"},
        {"put", "[\"k\", \"v\", {\"client\": 1, \"seq\": 1}]"},
        {"put", "[\"k\", \"v\", {\"client\": \"c\", \"seq\": 0}]"},
        {"put", "[\"k\", \"v\", {\"client\": \"c\", \"seq\": -1}]"},
        {"put", "[\"k\", \"v\", {\"client\": \"c\", \"seq\": 9007199254740992}]"},
        {"put", "[\"k\", \"v\", {\"fence\": \"k\"}]"},
        {"put", "[\"k\", \"v\", {\"fence\": []}]"},
        {"put", "[\"k\", \"v\", {\"fence\": [\"k\"]}]"},
        {"put", "[\"k\", \"v\", {\"fence\": [\"k\", 1, 1]}]"},
        {"put", "[\"k\", \"v\", {\"fence\": [\"\", 1]}]"},
        {"put", "[\"k\", \"v\", {\"fence\": [\"k\"*4097, 1]}]"},
        {"put", "[\"k\", \"v\", {\"fence\": [\"k\", -1]}]"},
        {"put", "[\"k\", \"v\", {\"fence\": [\"k\", nil]}]"},
        {"put", "[\"k\", \"v\", {\"fence\": [\"k\", 9007199254740992]}]"},
        /* parameters that are no array */
        {"ping", "nil"},
        {"ping", "{}"},
        {"get", "\"k\""},
        {"nonsense", "nil"},
    };
    buffer_t bytes = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, "[0, 5, \"%s\", %s]", cases[i].method, cases[i].params);
        request_t request;
        rpc_error_t error;
        int rc = text_decode(&bytes, text, &request, &error);
        if (rc != DRAX_EPROTO || error.code != RPC_INVALID_ARGUMENT || request.msgid != 5 ||
            error.text[0] == 0)
            fail_msg("%s: %d, %s, msgid %u", text, rc, rpc_code_name(error.code), request.msgid);
    }
    buffer_free(&bytes);
}

/* A transaction with so many compares and operations, through the decoder. */
static int txn_of(buffer_t *bytes, size_t compares, size_t then, size_t otherwise) {
    const size_t counts[] = {then, otherwise};
    request_t request;
    rpc_error_t error;
    buffer_reset(bytes);
    text_msgpack(bytes, "0 5 \"txn\"");
    buffer_t whole = {0};
    pack_array(&whole, 4);
    buffer_append(&whole, bytes->data, bytes->size);
    pack_array(&whole, 3);
    pack_array(&whole, compares);
    buffer_reset(bytes);
    text_msgpack(bytes, "[\"k\", \"index\", \"=\", 1]");
    for (size_t i = 0; i < compares; i++)
        buffer_append(&whole, bytes->data, bytes->size);
    buffer_reset(bytes);
    text_msgpack(bytes, "[\"get\", [\"k\"]]");
    for (size_t list = 0; list < 2; list++) {
        pack_array(&whole, counts[list]);
        for (size_t i = 0; i < counts[list]; i++)
            buffer_append(&whole, bytes->data, bytes->size);
    }
    int rc = request_decode(content(&whole), &request, &error);
    buffer_free(&whole);
    return rc;
}

static void txn_limits(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    const size_t compares = LIMIT_TXN_COMPARES, operations = LIMIT_TXN_OPERATIONS;
    assert_int_equal(txn_of(&bytes, compares, operations, operations), 0);
    assert_int_equal(txn_of(&bytes, compares + 1, 0, 0), DRAX_EPROTO);
    assert_int_equal(txn_of(&bytes, 0, operations + 1, 0), DRAX_EPROTO);
    assert_int_equal(txn_of(&bytes, 0, 0, operations + 1), DRAX_EPROTO);
    buffer_free(&bytes);
}

/* What the lists of a decoded transaction give back. */
static void fields_of_a_txn(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    request_t request, operation;
    rpc_error_t error;
    txn_list_t list;
    compare_t compare;
    int rc = text_decode(&bytes,
                         "[0, 1, \"txn\", [[[\"a\", \"value\", \">\", \"v\"], [\"b\", \"exists\", "
                         "\"!=\", true]], [[\"put\", [\"c\", \"w\", {\"ttl_ms\": 9}]], [\"get\", "
                         "[\"d\"]]], [[\"delete\", [\"e\"]]], {\"client\": \"me\", \"seq\": 2}]]",
                         &request, &error);
    assert_int_equal(rc, 0);
    slice_assert(request.client, "me");
    assert_int_equal(txn_list_open(&list, request.compares), 0);
    assert_int_equal(list.left, 2);
    assert_int_equal(txn_compare_next(&list, &compare), 1);
    slice_assert(compare.key, "a");
    slice_assert(compare.value, "v");
    assert_int_equal(compare.target, COMPARE_VALUE);
    assert_int_equal(compare.op, COMPARE_GREATER);
    assert_int_equal(txn_compare_next(&list, &compare), 1);
    assert_int_equal(compare.target, COMPARE_EXISTS);
    assert_int_equal(compare.op, COMPARE_UNEQUAL);
    assert_int_equal(compare.number, 1);
    assert_int_equal(txn_compare_next(&list, &compare), 0);
    assert_int_equal(txn_list_open(&list, request.then), 0);
    assert_int_equal(txn_operation_next(&list, &operation), 1);
    assert_int_equal(operation.method, METHOD_PUT);
    slice_assert(operation.key, "c");
    assert_int_equal(operation.ttl_ms, 9);
    assert_int_equal(txn_operation_next(&list, &operation), 1);
    assert_int_equal(operation.method, METHOD_GET);
    assert_int_equal(operation.ttl_ms, 0);
    assert_int_equal(txn_operation_next(&list, &operation), 0);
    assert_int_equal(txn_list_open(&list, request.otherwise), 0);
    assert_int_equal(txn_operation_next(&list, &operation), 1);
    slice_assert(operation.key, "e");
    assert_int_equal(txn_operation_next(&list, &operation), 0);
    buffer_free(&bytes);
}

static void unknown_methods(void **unused) {
    (void) unused;
    static const char *const names[] = {
        "\"\"",        "\"GET\"",    "\"get \"",     "\"get\\x00\"",
        "\"unknown\"", "\"expire\"", "\"x\"*100000", "\"\\xff\\xfe\"",
    };
    buffer_t bytes = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[200];
        snprintf(text, sizeof text, "[0, 77, %s, [1, {}, nil]]", names[i]);
        request_t request;
        rpc_error_t error;
        assert_int_equal(text_decode(&bytes, text, &request, &error), DRAX_EPROTO);
        assert_int_equal(error.code, RPC_UNKNOWN_METHOD);
        assert_int_equal(request.msgid, 77);
        assert_true(utf8_valid((const uint8_t *) error.text, strlen(error.text)));
    }
    buffer_free(&bytes);
}

/* The one notification that means something; a malformed one means nothing. */
static void credit_is_told_apart(void **unused) {
    (void) unused;
    static const struct {
        uint64_t credit;
        const char *text;
    } cases[] = {
        {64, "[2, \"credit\", [5, 64]]"},     {0, "[2, \"credit\", [5, 0]]"},
        {0, "[2, \"credit\", [0, 64]]"},      {0, "[2, \"credit\", [5]]"},
        {0, "[2, \"credit\", [5, 64, {}]]"},  {0, "[2, \"credit\", [5, \"64\"]]"},
        {0, "[2, \"credits\", [5, 64]]"},     {0, "[2, \"credit\", []]"},
        {0, "[1, 5, nil, {\"credit\": 64}]"},
    };
    buffer_t bytes = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_t request;
        rpc_error_t error;
        assert_int_equal(text_decode(&bytes, cases[i].text, &request, &error), DRAX_EAGAIN);
        assert_int_equal(request.credit, cases[i].credit);
        if (request.credit)
            assert_int_equal(request.watch, 5);
    }
    buffer_free(&bytes);
}

/* ---- the envelope of the call ---- */

static void message_forms(void **unused) {
    (void) unused;
    static const struct {
        int want;
        uint32_t msgid;
        const char *text;
    } cases[] = {
        /* kind 1 is ignored, and so are notifications but one */
        {DRAX_EAGAIN, 0, "[1, 5, nil, {}]"},
        {DRAX_EAGAIN, 0, "[1, 5, [\"TIMEOUT\", \"late\"], nil]"},
        {DRAX_EAGAIN, 0, "[1, \"x\", ext, 1.5]"},
        {DRAX_EAGAIN, 0, "[2, \"credit\", [1, 64]]"},
        {DRAX_EAGAIN, 0, "[2, \"nonsense\", []]"},
        {DRAX_EAGAIN, 0, "[2, \"get\", [\"k\"]]"},
        /* no message: msgid 0 */
        {DRAX_EPROTO, 0, ""},
        {DRAX_EPROTO, 0, "nil"},
        {DRAX_EPROTO, 0, "5"},
        {DRAX_EPROTO, 0, "\"get\""},
        {DRAX_EPROTO, 0, "b\"\""},
        {DRAX_EPROTO, 0, "ext"},
        {DRAX_EPROTO, 0, "{}"},
        {DRAX_EPROTO, 0, "{0: 5}"},
        {DRAX_EPROTO, 0, "[]"},
        {DRAX_EPROTO, 0, "[0]"},
        {DRAX_EPROTO, 0, "[1]"},
        {DRAX_EPROTO, 0, "[1, 5, nil]"},
        {DRAX_EPROTO, 0, "[1, 5, nil, nil, nil]"},
        {DRAX_EPROTO, 0, "[2]"},
        {DRAX_EPROTO, 0, "[2, \"credit\"]"},
        {DRAX_EPROTO, 0, "[2, \"credit\", nil]"},
        {DRAX_EPROTO, 0, "[2, \"credit\", {}]"},
        {DRAX_EPROTO, 0, "[2, 5, []]"},
        {DRAX_EPROTO, 0, "[2, 5, \"get\", [\"k\"]]"},
        {DRAX_EPROTO, 0, "[3, 5, \"get\", [\"k\"]]"},
        {DRAX_EPROTO, 0, "[-1, 5, \"get\", [\"k\"]]"},
        {DRAX_EPROTO, 0, "[nil, 5, \"get\", [\"k\"]]"},
        {DRAX_EPROTO, 0, "[0.0, 5, \"get\", [\"k\"]]"},
        {DRAX_EPROTO, 0, "[\"0\", 5, \"get\", [\"k\"]]"},
        {DRAX_EPROTO, 0, "[false, 5, \"get\", [\"k\"]]"},
        /* a msgid that is none */
        {DRAX_EPROTO, 0, "[0, nil, \"ping\", []]"},
        {DRAX_EPROTO, 0, "[0, -5, \"ping\", []]"},
        {DRAX_EPROTO, 0, "[0, 5.0, \"ping\", []]"},
        {DRAX_EPROTO, 0, "[0, \"5\", \"ping\", []]"},
        {DRAX_EPROTO, 0, "[0, 4294967296, \"ping\", []]"},
        /* what follows the msgid is wrong: it is echoed */
        {DRAX_EPROTO, 5, "[0, 5]"},
        {DRAX_EPROTO, 5, "[0, 5, \"ping\"]"},
        {DRAX_EPROTO, 5, "[0, 5, \"ping\", [], []]"},
        {DRAX_EPROTO, 5, "[0, 5, nil, []]"},
        {DRAX_EPROTO, 5, "[0, 5, 7, []]"},
        {DRAX_EPROTO, 5, "[0, 5, b\"ping\", []]"},
        {DRAX_EPROTO, 5, "[0, 5, ext, []]"},
        {DRAX_EPROTO, 5, "[0, 5, \"ping\", []] nil"},
        {DRAX_EPROTO, 5, "[0, 5, \"ping\", []] [0, 6, \"ping\", []]"},
        {DRAX_EPROTO, 4294967295, "[0, 4294967295, \"ping\", [1]]"},
        /* trailing bytes after what would be ignored */
        {DRAX_EPROTO, 0, "[1, 5, nil, {}] nil"},
        {DRAX_EPROTO, 0, "[2, \"credit\", []] 1"},
    };
    buffer_t bytes = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request_t request;
        rpc_error_t error;
        int rc = text_decode(&bytes, cases[i].text, &request, &error);
        if (rc != cases[i].want || request.msgid != cases[i].msgid)
            fail_msg("%s: %d, msgid %u", cases[i].text, rc, request.msgid);
        if (rc == DRAX_EPROTO)
            assert_int_equal(error.code, RPC_INVALID_ARGUMENT);
    }
    buffer_free(&bytes);
}

/* Level 8 is allowed, level 9 is not, wherever it stands; the msgid is echoed. */
static void nesting_limit(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    request_t request;
    rpc_error_t error;
    assert_int_equal(text_decode(&bytes, "[2, \"x\", [[[[[[[1]]]]]]]]", &request, &error),
                     DRAX_EAGAIN);
    assert_int_equal(text_decode(&bytes, "[2, \"x\", [[[[[[[[]]]]]]]]]", &request, &error),
                     DRAX_EPROTO);
    assert_int_equal(text_decode(&bytes, "[0, 5, \"get\", [[[[[[[{}]]]]]]]]", &request, &error),
                     DRAX_EPROTO);
    assert_int_equal(request.msgid, 5);
    assert_int_equal(error.code, RPC_INVALID_ARGUMENT);
    buffer_free(&bytes);
}

static void bombs(void **unused) {
    (void) unused;
    static const struct {
        uint32_t msgid;
        const char *bytes;
        size_t size;
    } cases[] = {
        {0, "\xdd\xff\xff\xff\xff", 5},
        {0, "\xdf\xff\xff\xff\xff", 5},
        {0, "\xdb\xff\xff\xff\xff", 5},
        {0, "\xc9\xff\xff\xff\xff\x01", 6},
        {0, "\xc1", 1},
        {5, "\x94\x00\x05\xdd\xff\xff\xff\xff", 8},
        {5, "\x94\x00\x05\xa3get\xdd\xff\xff\xff\xff", 12},
        {5, "\x94\x00\x05\xa3get\x91\xc6\xff\xff\xff\xff", 13},
        {5, "\x94\x00\x05\xa3get\x92\xa1k\xdf\xff\xff\xff\xff", 15},
        {5, "\x94\x00\x05\xc1\x90", 5},
        {5, "\x94\x00\x05\xa4pi", 6}, /* cut short after its msgid */
    };
    request_t request;
    rpc_error_t error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t payload = {(const uint8_t *) cases[i].bytes, cases[i].size};
        assert_int_equal(request_decode(payload, &request, &error), DRAX_EPROTO);
        assert_int_equal(error.code, RPC_INVALID_ARGUMENT);
        assert_int_equal(request.msgid, cases[i].msgid);
    }
    uint8_t *deep = malloc(10000);
    assert_non_null(deep);
    memset(deep, 0x91, 10000);
    assert_int_equal(request_decode((slice_t){deep, 10000}, &request, &error), DRAX_EPROTO);
    free(deep);
    /* More elements than any request has, honestly sent. */
    buffer_t bytes = {0};
    pack_array(&bytes, 3);
    pack_uint(&bytes, 2);
    pack_str(&bytes, "x");
    pack_array(&bytes, LIMIT_ELEMENTS);
    for (size_t i = 0; i < LIMIT_ELEMENTS; i++)
        pack_nil(&bytes);
    assert_int_equal(request_decode(content(&bytes), &request, &error), DRAX_EPROTO);
    buffer_free(&bytes);
}

/* Every truncation is refused, and echoes the msgid once that is there; every changed byte gives an
 * answer of some kind. */
static void truncations_and_mutations(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    text_msgpack(&bytes, "[0, 70000, \"atomic_put\", [\"key\", b\"value\", 12, {\"ttl_ms\": 100, "
                         "\"client\": \"me\", \"seq\": 8, \"fence\": [\"lock\", 9]}]]");
    request_t request;
    rpc_error_t error;
    for (size_t size = 0; size < bytes.size; size++) {
        uint8_t *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy, bytes.data, size);
        assert_int_equal(request_decode((slice_t){copy, size}, &request, &error), DRAX_EPROTO);
        assert_int_equal(request.msgid, size >= 7 ? 70000 : 0);
        free(copy);
    }
    for (size_t at = 0; at < bytes.size; at++) {
        uint8_t before = bytes.data[at];
        for (unsigned value = 0; value < 256; value++) {
            bytes.data[at] = (uint8_t) value;
            int rc = request_decode(content(&bytes), &request, &error);
            assert_true(rc == 0 || rc == DRAX_EAGAIN || rc == DRAX_EPROTO);
        }
        bytes.data[at] = before;
    }
    assert_int_equal(request_decode(content(&bytes), &request, &error), 0);
    buffer_free(&bytes);
}

/* ---- methods, codes, answers ---- */

static void methods_have_kinds_and_names(void **unused) {
    (void) unused;
    for (int i = METHOD_PING; i < METHOD_EXPIRE; i++) {
        const char *name = method_name((method_t) i);
        assert_int_equal(method_find((slice_t){(const uint8_t *) name, strlen(name)}), i);
    }
    assert_int_equal(method_kind(METHOD_PING), METHOD_KIND_LOCAL);
    assert_int_equal(method_kind(METHOD_STATUS), METHOD_KIND_LOCAL);
    assert_int_equal(method_kind(METHOD_GET), METHOD_KIND_READ);
    assert_int_equal(method_kind(METHOD_MEMBER_LIST), METHOD_KIND_READ);
    assert_int_equal(method_kind(METHOD_ATOMIC_DELETE), METHOD_KIND_WRITE);
    assert_int_equal(method_kind(METHOD_DELETE_TREE), METHOD_KIND_WRITE);
    assert_int_equal(method_kind(METHOD_LEADER_TRANSFER), METHOD_KIND_ADMIN);
    assert_string_equal(method_name(METHOD_EXPIRE), "expire");
    assert_string_equal(method_name(METHOD_UNKNOWN), "unknown");
    assert_string_equal(method_name(METHOD_END), "unknown");
}

static void codes_have_names(void **unused) {
    (void) unused;
    for (int i = 0; i < RPC_CODE_END; i++)
        assert_non_null(rpc_code_name((rpc_code_t) i));
    assert_string_equal(rpc_code_name(RPC_KEY_NOT_FOUND), "KEY_NOT_FOUND");
    assert_string_equal(rpc_code_name(RPC_TIMEOUT), "TIMEOUT");
    assert_string_equal(rpc_code_name(RPC_CODE_END), "UNKNOWN");
}

static void responses(void **unused) {
    (void) unused;
    buffer_t outcome = {0}, got = {0}, want = {0};
    rpc_success(&outcome);
    pack_map(&outcome, 1);
    pack_str(&outcome, "revision");
    pack_uint(&outcome, 9);
    rpc_response(&got, 70000, content(&outcome));
    text_msgpack(&want, "[1, 70000, nil, {\"revision\": 9}]");
    assert_int_equal(got.size, want.size);
    assert_memory_equal(got.data, want.data, want.size);

    buffer_reset(&outcome);
    buffer_reset(&got);
    buffer_reset(&want);
    rpc_failure(&outcome, RPC_KEY_MODIFIED, "changed");
    rpc_response(&got, 0, content(&outcome));
    text_msgpack(&want, "[1, 0, [\"KEY_MODIFIED\", \"changed\"], nil]");
    assert_int_equal(got.size, want.size);
    assert_memory_equal(got.data, want.data, want.size);
    buffer_free(&outcome);
    buffer_free(&got);
    buffer_free(&want);
}

static void directory_prefixes(void **unused) {
    (void) unused;
    static const char *const cases[][2] = {{"", ""},      {"/", ""},       {"d", "d/"},
                                           {"d/", "d/"},  {"d//", "d//"},  {"//", "//"},
                                           {"/d", "/d/"}, {"a/b", "a/b/"}, {"a/b/", "a/b/"}};
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t directory = {(const uint8_t *) cases[i][0], strlen(cases[i][0])};
        slice_assert(rpc_directory_prefix(directory, scratch), cases[i][1]);
    }
    uint8_t longest[LIMIT_KEY_BYTES];
    memset(longest, 'd', sizeof longest);
    slice_t prefix = rpc_directory_prefix((slice_t){longest, sizeof longest}, scratch);
    assert_int_equal(prefix.size, LIMIT_KEY_BYTES + 1);
    assert_int_equal(prefix.data[LIMIT_KEY_BYTES], '/');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_table),
        cmocka_unit_test(fields_of_a_put),
        cmocka_unit_test(fields_of_reads),
        cmocka_unit_test(fields_of_the_rest),
        cmocka_unit_test(integer_forms),
        cmocka_unit_test(refused_table),
        cmocka_unit_test(txn_limits),
        cmocka_unit_test(fields_of_a_txn),
        cmocka_unit_test(unknown_methods),
        cmocka_unit_test(credit_is_told_apart),
        cmocka_unit_test(message_forms),
        cmocka_unit_test(nesting_limit),
        cmocka_unit_test(bombs),
        cmocka_unit_test(truncations_and_mutations),
        cmocka_unit_test(methods_have_kinds_and_names),
        cmocka_unit_test(codes_have_names),
        cmocka_unit_test(responses),
        cmocka_unit_test(directory_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
