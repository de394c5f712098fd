/* fuzz_request.c: any bytes as a client's payload, as a block, a batch, an expire command and what
 * is said of the past.
 *
 * Properties: nothing crashes or reads beyond the bytes; a refusal has a code and a text; what
 * opens can be read to its end; no payload is both a request and an expire command.
 */
#include "broker/block.h"
#include "broker/error.h"
#include "broker/past.h"
#include "broker/rpc.h"
#include "tests/fuzz/fuzz.h"

/* What was accepted can be read again to its end. */
static void txn_check(const request_t *request) {
    const slice_t operations[] = {request->then, request->otherwise};
    txn_list_t list;
    compare_t compare;
    request_t operation;
    int rc = txn_list_open(&list, request->compares);
    assert(rc == 0);
    while ((rc = txn_compare_next(&list, &compare)) == 1)
        assert(compare.key.size > 0);
    assert(rc == 0);
    for (int i = 0; i < 2; i++) {
        rc = txn_list_open(&list, operations[i]);
        assert(rc == 0);
        while ((rc = txn_operation_next(&list, &operation)) == 1)
            assert(operation.method != METHOD_TXN && operation.client.size == 0);
        assert(rc == 0);
    }
}

static int request_check(slice_t bytes) {
    request_t request;
    rpc_error_t error = {.code = RPC_OK};
    int rc = request_decode(bytes, &request, &error);
    assert(rc == 0 || rc == DRAX_EAGAIN || rc == DRAX_EPROTO);
    if (rc == 0)
        assert(request.method > METHOD_UNKNOWN && request.method < METHOD_EXPIRE);
    if (rc == 0 && request.method == METHOD_TXN)
        txn_check(&request);
    if (rc == DRAX_EPROTO)
        assert(error.code == RPC_INVALID_ARGUMENT || error.code == RPC_UNKNOWN_METHOD);
    if (rc == DRAX_EPROTO)
        assert(utf8_valid((const uint8_t *) error.text, strlen(error.text)));
    return rc;
}

static void block_check(slice_t bytes) {
    block_t block;
    slice_t command;
    if (block_open(&block, bytes) != 0)
        return;
    for (size_t i = 0; i < block.count; i++) {
        int rc = block_next(&block, &command);
        assert(rc == 1);
    }
    int rc = block_next(&block, &command);
    assert(rc == 0);
}

static void batch_check(slice_t bytes) {
    batch_t batch;
    uint64_t token;
    slice_t each;
    if (batch_open(&batch, bytes) != 0)
        return;
    for (size_t i = 0; i < batch.count; i++) {
        int rc = batch_next(&batch, &token, &each);
        assert(rc == 1);
    }
    int rc = batch_next(&batch, &token, &each);
    assert(rc == 0);
}

static int expire_check(slice_t bytes) {
    expire_t expire;
    expire_item_t item;
    int opened = expire_open(&expire, bytes);
    if (opened != 0)
        return opened;
    for (size_t i = 0; i < expire.count; i++) {
        int rc = expire_next(&expire, &item);
        assert(rc == 1 && (item.key.size > 0) == (item.lease == 0));
    }
    int rc = expire_next(&expire, &item);
    assert(rc == 0);
    return 0;
}

static void past_check(slice_t bytes) {
    past_question_t question;
    past_answer_t answer;
    slice_t key;
    (void) past_question_read(&question, bytes);
    (void) event_key(bytes, &key);
    if (past_answer_read(&answer, bytes) != 0)
        return;
    assert(answer.events.data >= bytes.data &&
           answer.events.data + answer.events.size <= bytes.data + bytes.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice_t bytes = {data, size};
    int request = request_check(bytes);
    int expire = expire_check(bytes);
    assert(request == DRAX_EPROTO || expire != 0);
    block_check(bytes);
    batch_check(bytes);
    past_check(bytes);
    return 0;
}
