/* test_block.c: blocks, batches and expire commands: what goes in comes out, and nothing else
 * opens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/block.h"
#include "broker/error.h"
#include "broker/limits.h"
#include "broker/rpc.h"

static slice_t slice(const char *text) {
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

static slice_t content(const buffer_t *buffer) {
    return (slice_t){buffer->data, buffer->size};
}

static void slice_assert(slice_t got, const char *want) {
    assert_int_equal(got.size, strlen(want));
    if (got.size)
        assert_memory_equal(got.data, want, got.size);
}

static void block_round_trip(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    block_begin(&bytes, 7, UINT64_MAX, 3, 2, 3);
    block_add(&bytes, slice("one"));
    block_add(&bytes, slice(""));
    block_add(&bytes, slice("three"));
    assert_false(bytes.failed);

    block_t block;
    assert_int_equal(block_open(&block, content(&bytes)), 0);
    assert_int_equal(block.node, 7);
    assert_true(block.boot == UINT64_MAX);
    assert_int_equal(block.seq, 3);
    assert_int_equal(block.prev, 2);
    assert_int_equal(block.count, 3);
    static const char *const want[] = {"one", "", "three"};
    slice_t command;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(block_next(&block, &command), 1);
        slice_assert(command, want[i]);
    }
    assert_int_equal(block_next(&block, &command), 0);
    assert_int_equal(block_next(&block, &command), 0);
    buffer_free(&bytes);
}

static void block_empty(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    block_begin(&bytes, 0, 0, 0, 0, 0);
    block_t block;
    slice_t command;
    assert_int_equal(block_open(&block, content(&bytes)), 0);
    assert_int_equal(block_next(&block, &command), 0);
    buffer_free(&bytes);
}

/* Every proper prefix is refused when it is opened, not halfway through reading. */
static void block_truncated(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    block_begin(&bytes, 1, 2, 3, 4, 2);
    block_add(&bytes, slice("first"));
    block_add(&bytes, slice("second"));
    block_t block;
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(block_open(&block, (slice_t){bytes.data, size}), DRAX_EPROTO);
    buffer_append(&bytes, "\xc0", 1);
    assert_int_equal(block_open(&block, content(&bytes)), DRAX_EPROTO);
    buffer_free(&bytes);
}

static void block_of_strings_refused(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    block_begin(&bytes, 1, 1, 1, 0, 1);
    pack_str(&bytes, "a command is bin");
    block_t block;
    assert_int_equal(block_open(&block, content(&bytes)), DRAX_EPROTO);
    buffer_free(&bytes);
}

static void block_command_limit(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    block_t block;
    for (size_t count = LIMIT_BLOCK_COMMANDS; count <= LIMIT_BLOCK_COMMANDS + 1; count++) {
        buffer_reset(&bytes);
        block_begin(&bytes, 1, 1, 1, 0, count);
        for (size_t i = 0; i < count; i++)
            block_add(&bytes, slice("x"));
        int want = count <= LIMIT_BLOCK_COMMANDS ? 0 : DRAX_EPROTO;
        assert_int_equal(block_open(&block, content(&bytes)), want);
    }
    buffer_free(&bytes);
}

static void batch_round_trip(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    batch_begin(&bytes, 2);
    batch_add(&bytes, 0, slice("nil nil"));
    batch_add(&bytes, UINT64_MAX, slice(""));

    batch_t batch;
    uint64_t token;
    slice_t each;
    assert_int_equal(batch_open(&batch, content(&bytes)), 0);
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch_next(&batch, &token, &each), 1);
    assert_int_equal(token, 0);
    slice_assert(each, "nil nil");
    assert_int_equal(batch_next(&batch, &token, &each), 1);
    assert_true(token == UINT64_MAX);
    slice_assert(each, "");
    assert_int_equal(batch_next(&batch, &token, &each), 0);

    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(batch_open(&batch, (slice_t){bytes.data, size}), DRAX_EPROTO);
    buffer_append(&bytes, "\x00", 1);
    assert_int_equal(batch_open(&batch, content(&bytes)), DRAX_EPROTO);
    buffer_free(&bytes);
}

static void expire_round_trip(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    expire_begin(&bytes, 3);
    expire_add(&bytes, slice("a"), 17);
    expire_add_lease(&bytes, 300, 4);
    expire_add(&bytes, slice("b/c"), LIMIT_INTEGER);

    expire_t expire;
    expire_item_t item;
    assert_int_equal(expire_open(&expire, content(&bytes)), 0);
    assert_int_equal(expire.count, 3);
    assert_int_equal(expire_next(&expire, &item), 1);
    slice_assert(item.key, "a");
    assert_int_equal(item.lease, 0);
    assert_int_equal(item.mark, 17);
    assert_int_equal(expire_next(&expire, &item), 1);
    assert_int_equal(item.key.size, 0);
    assert_int_equal(item.lease, 300);
    assert_int_equal(item.mark, 4);
    assert_int_equal(expire_next(&expire, &item), 1);
    slice_assert(item.key, "b/c");
    assert_true(item.mark == LIMIT_INTEGER);
    assert_int_equal(expire_next(&expire, &item), 0);

    for (size_t size = 0; size < bytes.size; size++)
        assert_int_not_equal(expire_open(&expire, (slice_t){bytes.data, size}), 0);
    buffer_append(&bytes, "\x00", 1);
    assert_int_equal(expire_open(&expire, content(&bytes)), DRAX_EPROTO);
    buffer_reset(&bytes);
    expire_begin(&bytes, 1);
    expire_add_lease(&bytes, 0, 4); /* no lease has this number */
    assert_int_equal(expire_open(&expire, content(&bytes)), DRAX_EPROTO);
    buffer_free(&bytes);
}

/* The two forms of a command exclude each other: a client cannot make an expire command. */
static void expire_is_no_request(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    expire_begin(&bytes, 1);
    expire_add(&bytes, slice("a"), 17);
    request_t request;
    rpc_error_t error;
    assert_int_equal(request_decode(content(&bytes), &request, &error), DRAX_EPROTO);
    assert_int_equal(error.code, RPC_INVALID_ARGUMENT);

    buffer_reset(&bytes);
    pack_array(&bytes, 4);
    pack_uint(&bytes, 0);
    pack_uint(&bytes, 9);
    pack_str(&bytes, "expire");
    pack_array(&bytes, 0);
    expire_t expire;
    assert_int_equal(expire_open(&expire, content(&bytes)), DRAX_EAGAIN);
    assert_int_equal(request_decode(content(&bytes), &request, &error), DRAX_EPROTO);
    assert_int_equal(error.code, RPC_UNKNOWN_METHOD);
    buffer_free(&bytes);
}

static void wait_round_trip(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    for (int op = WAIT_CANCEL; op <= WAIT_RESUME; op++) {
        wait_list_t list;
        uint64_t waiter;
        request_t request;
        rpc_error_t error;
        expire_t expire;
        buffer_reset(&bytes);
        wait_begin(&bytes, (wait_op_t) op, 2);
        wait_add(&bytes, 17);
        wait_add(&bytes, LIMIT_INTEGER);
        assert_int_equal(wait_open(&list, content(&bytes)), 0);
        assert_int_equal(list.op, op);
        assert_int_equal(wait_next(&list, &waiter), 1);
        assert_int_equal(waiter, 17);
        assert_int_equal(wait_next(&list, &waiter), 1);
        assert_true(waiter == LIMIT_INTEGER);
        assert_int_equal(wait_next(&list, &waiter), 0);
        /* It is nothing that a client could send, nor another command. */
        assert_int_equal(request_decode(content(&bytes), &request, &error), DRAX_EPROTO);
        assert_int_equal(expire_open(&expire, content(&bytes)), DRAX_EAGAIN);
        for (size_t size = 0; size < bytes.size; size++)
            assert_int_not_equal(wait_open(&list, (slice_t){bytes.data, size}), 0);
        buffer_append(&bytes, "\x00", 1);
        assert_int_equal(wait_open(&list, content(&bytes)), DRAX_EPROTO);
    }
    buffer_reset(&bytes);
    expire_begin(&bytes, 0);
    wait_list_t list;
    assert_int_equal(wait_open(&list, content(&bytes)), DRAX_EAGAIN);
    buffer_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_round_trip),    cmocka_unit_test(block_empty),
        cmocka_unit_test(block_truncated),     cmocka_unit_test(block_of_strings_refused),
        cmocka_unit_test(block_command_limit), cmocka_unit_test(batch_round_trip),
        cmocka_unit_test(expire_round_trip),   cmocka_unit_test(expire_is_no_request),
        cmocka_unit_test(wait_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
