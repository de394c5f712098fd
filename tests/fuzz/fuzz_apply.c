/* fuzz_apply.c: committed entries into the state machine, and reads of what they made.
 *
 *   input = how:u8 step*
 *   step  = op:u8 …        an entry, a read, expiry, a flush
 *
 * Properties: a block that counts has one outcome a command; the number of keys, the digest and the
 * revision do not depend on flushes and reads: a second state that only applies (how & 1) agrees.
 */
#include <stdlib.h>

#include "broker/block.h"
#include "broker/error.h"
#include "store/state.h"
#include "tests/fuzz/fuzz_forge.h"

#define STEPS_MAX 32u
#define NODE 1u

static state_t *state_make(void) {
    kv_t *kv = NULL;
    state_t *state = NULL;
    if (kv_memory_open(&kv) != 0 || state_open(&state, &kv) != 0)
        abort();
    return state;
}

static void results_check(const entry_t *entry, const state_applied_t *applied) {
    block_t block;
    batch_t batch;
    if (!applied->results)
        return;
    int rc = block_open(&block, payload_slice(entry->payload));
    assert(rc == 0);
    rc = batch_open(&batch, (slice_t){applied->results->data, applied->results->size});
    assert(rc == 0 && batch.count == block.count);
}

static void entry_step(state_t *first, state_t *second, fuzz_input_t *in) {
    fuzz_near_t near = {.node = NODE, .seq = state_applied(first), .time_ms = state_time_ms(first)};
    state_applied_t applied;
    entry_t entry;
    fuzz_entry(in, state_applied(first) + 1, 1, &near, &entry);
    if (entry.time_ms < near.time_ms)
        entry.time_ms = near.time_ms; /* stamps never go back */
    int rc = state_apply(first, &entry, &applied);
    assert(rc == 0);
    results_check(&entry, &applied);
    if (second)
        rc = state_apply(second, &entry, &applied);
    assert(rc == 0);
    entry_clear(&entry);
}

static void query_step(state_t *state, fuzz_input_t *in, buffer_t *scratch, buffer_t *answer) {
    request_t request;
    rpc_error_t error;
    buffer_reset(scratch);
    buffer_reset(answer);
    fuzz_request(in, scratch);
    if (request_decode((slice_t){scratch->data, scratch->size}, &request, &error) != 0 ||
        method_kind(request.method) != METHOD_KIND_READ ||
        request.method == METHOD_SNAPSHOT) /* which the storage actor answers itself */
        return;
    int rc = state_query(state, &request, state_time_ms(state) + fuzz_byte(in), answer);
    assert(rc == 0 && !answer->failed);
    size_t used = 0;
    for (size_t at = 0, i = 0; i < 2; i++, at += used) { /* error and result, and no more */
        rc = pack_scan((slice_t){answer->data + at, answer->size - at}, 16, 1u << 20, &used);
        assert(rc == 0 && (i == 0 || at + used == answer->size));
    }
}

static void expire_step(state_t *state, fuzz_input_t *in, buffer_t *scratch) {
    uint64_t due_ms = 0;
    size_t count = 0;
    buffer_reset(scratch);
    int rc = state_next_expiry(state, &due_ms);
    assert(rc == 0);
    rc = state_expire_block(state, state_time_ms(state) + fuzz_byte(in), scratch, &count);
    assert(rc == 0 && (count == 0 || due_ms > 0));
}

static void flush_step(state_t *state, bool whole) {
    int rc = state_freeze(state);
    if (rc == DRAX_EAGAIN)
        return;
    assert(rc == 0);
    rc = whole ? state_flush_write(state) : DRAX_ENOSPC;
    assert(rc == 0 || !whole);
    (void) state_thaw(state, rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static buffer_t scratch, answer;
    fuzz_input_t in = {{data, size}};
    uint8_t how = fuzz_byte(&in);
    state_t *first = state_make(), *second = how & 1 ? state_make() : NULL;
    for (unsigned i = 0; i < STEPS_MAX && in.rest.size; i++) {
        uint8_t op = fuzz_byte(&in);
        if (op < 0xa0)
            entry_step(first, second, &in);
        else if (op < 0xd0)
            query_step(first, &in, &scratch, &answer);
        else if (op < 0xe0)
            expire_step(first, &in, &scratch);
        else
            flush_step(first, op & 3);
    }
    if (second) {
        assert(state_digest(first) == state_digest(second));
        assert(state_revision(first) == state_revision(second));
        assert(state_keys(first) == state_keys(second));
    }
    state_close(&first);
    state_close(&second);
    return 0;
}
