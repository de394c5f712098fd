/* test_sim_replay.c: the reference against the product's state, with random logs: blocks that
 * count and blocks that do not, clients that repeat themselves, expiries; and reads of the past.
 * What the two agree on was written twice, from the contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "broker/block.h"
#include "store/state.h"
#include "tests/sim/array.h"
#include "tests/sim/replay.h"
#include "tests/sim/requests.h"

#define COMMANDS_MAX 8u

typedef struct bench {
    stream_t random;
    requests_t requests;
    state_t *state;
    replay_t *replay;
    uint64_t index, time_ms, boot, seq;
    uint32_t msgid;
    const char *failed; /* check that the replay found violated */
    buffer_t bytes, command;
    struct {
        slice_t key; /* static; size 0: not a new lock */
        uint64_t waiter;
    } * locks;                 /* by msgid */
    uint64_t waiters;          /* the highest number so far */
    size_t granted;            /* to those that had waited */
    payload_t *repeatable[16]; /* commands with client and seq, to be sent again */
} bench_t;

static void bench_fail(void *hint, const char *check, const char *text) {
    bench_t *self = hint;
    (void) text;
    self->failed = check;
}

static void bench_open(bench_t *self, uint64_t seed, size_t steps) {
    *self = (bench_t){.random = stream_new(seed, 1), .boot = 5, .time_ms = 1000};
    self->locks = array_new(steps * COMMANDS_MAX + 1, sizeof *self->locks);
    requests_init(&self->requests);
    self->requests.fence_in_1000 = 300;
    kv_t *kv;
    assert_int_equal(kv_memory_open(&kv), 0);
    assert_int_equal(state_open(&self->state, &kv), 0);
    self->replay = replay_new(bench_fail, self);
}

static void bench_close(bench_t *self) {
    state_close(&self->state);
    replay_free(&self->replay);
    requests_clear(&self->requests);
    buffer_free(&self->bytes);
    buffer_free(&self->command);
    free(self->locks);
    for (size_t i = 0; i < 16; i++)
        payload_unref(&self->repeatable[i]);
}

/* Gives the next entry to both. */
static void entry_feed(bench_t *self, entry_kind_t kind, state_applied_t *applied) {
    entry_t entry = {.index = ++self->index, .term = 1, .time_ms = self->time_ms, .kind = kind};
    if (kind == ENTRY_BLOCK)
        entry.payload = buffer_take(&self->bytes);
    assert_int_equal(state_apply(self->state, &entry, applied), 0);
    replay_entry(self->replay, &entry);
    assert_null(self->failed);
    assert_int_equal(replay_revision_at(self->replay, self->index), state_revision(self->state));
    assert_int_equal(model_keys(replay_model(self->replay)), state_keys(self->state));
    entry_clear(&entry);
}

/* A new write, perhaps with a session; or an old one again, under a msgid of its own. */
static void command_make(bench_t *self) {
    static const char *const clients[] = {"ann", "bob", "c", "daniela"};
    request_t request;
    rpc_error_t error;
    buffer_reset(&self->command);
    size_t place = stream_range(&self->random, 0, 16);
    if (self->repeatable[place] && stream_chance(&self->random, 200)) {
        slice_t old = payload_slice(self->repeatable[place]);
        assert_int_equal(request_decode(old, &request, &error), 0);
        request.msgid = ++self->msgid;
        if (stream_chance(&self->random, 100))
            request.value = (slice_t){(const uint8_t *) "another", 7};
        request_encode(&request, &self->command);
        return;
    }
    if (stream_chance(&self->random, 150)) {
        requests_lock(&self->requests, &self->random, ++self->msgid, &request);
        self->locks[self->msgid].key = request.key;
    } else {
        requests_write(&self->requests, &self->random, ++self->msgid, &request);
    }
    if (stream_chance(&self->random, 400)) {
        const char *client = clients[stream_range(&self->random, 0, 4)];
        request.client = (slice_t){(const uint8_t *) client, strlen(client)};
        request.seq = stream_range(&self->random, 1, 3000);
    }
    request_encode(&request, &self->command);
    if (!request.client.size)
        return;
    payload_unref(&self->repeatable[place]);
    self->repeatable[place] = payload_copy(self->command.data, self->command.size);
}

/* Some that wait do so no longer; or what became of them is asked. */
static void waits_add(bench_t *self) {
    size_t count = stream_range(&self->random, 1, 4);
    buffer_reset(&self->command);
    wait_begin(&self->command, stream_chance(&self->random, 500) ? WAIT_CANCEL : WAIT_RESUME,
               count);
    for (size_t i = 0; i < count; i++)
        wait_add(&self->command,
                 self->waiters + 2 - stream_range(&self->random, 0, 12) % (self->waiters + 2));
    block_add(&self->bytes, (slice_t){self->command.data, self->command.size});
}

/* What the state answered equals what the replay expects. */
static void outcome_compare(bench_t *self, uint32_t msgid, slice_t outcome) {
    buffer_t response = {0};
    reply_t got;
    rpc_response(&response, msgid, outcome);
    assert_int_equal(reply_parse((slice_t){response.data, response.size}, &got), 0);
    const replayed_t *replayed = replay_find(self->replay, msgid);
    assert_non_null(replayed);
    const char *differs = reply_differs(&replayed->answer, &got);
    if (differs)
        fail_msg("request %u: %s differs", msgid, differs);
    if (got.fields == (REPLY_LEASE | REPLY_TTL_MS))
        requests_learn_lease(&self->requests, got.lease);
    if (got.fields & REPLY_TOKEN)
        requests_learn_lock(&self->requests, self->locks[msgid].key, got.token);
    buffer_free(&response);
}

/* The request waits, in both. */
static void waiting_compare(bench_t *self, uint32_t msgid, uint64_t waiter) {
    const replayed_t *replayed = replay_find(self->replay, msgid);
    assert_non_null(replayed);
    assert_true(replayed->waited);
    self->locks[msgid].waiter = waiter;
    if (waiter > self->waiters)
        self->waiters = waiter;
}

/* What those that waited were told. */
static void settled_compare(bench_t *self, const state_applied_t *applied) {
    batch_t batch = {0};
    buffer_t bytes = {0};
    uint64_t waiter;
    slice_t outcome;
    batch_begin(&bytes, applied->settled_count);
    if (applied->settled_count)
        buffer_append(&bytes, applied->settled->data, applied->settled->size);
    assert_int_equal(batch_open(&batch, (slice_t){bytes.data, bytes.size}), 0);
    while (batch_next(&batch, &waiter, &outcome) == 1)
        for (uint32_t msgid = 1; outcome.size && msgid <= self->msgid; msgid++)
            if (self->locks[msgid].waiter == waiter) {
                outcome_compare(self, msgid, outcome);
                self->granted++;
            }
    buffer_free(&bytes);
}

static void block_step(bench_t *self) {
    uint32_t first = self->msgid + 1;
    size_t count = stream_range(&self->random, 1, COMMANDS_MAX);
    bool old = stream_chance(&self->random, 50);
    if (stream_chance(&self->random, 20)) {
        self->boot++;
        self->seq = 0;
    }
    uint64_t seq = old && self->seq > 1 ? self->seq - 1 : self->seq + 1;
    uint64_t prev = stream_chance(&self->random, 30) ? seq + 3 : self->seq;
    bool waits = stream_chance(&self->random, 100);
    block_begin(&self->bytes, 7, self->boot, seq, prev, count + waits);
    for (size_t i = 0; i < count; i++) {
        command_make(self);
        block_add(&self->bytes, (slice_t){self->command.data, self->command.size});
    }
    if (waits)
        waits_add(self);
    state_applied_t applied;
    entry_feed(self, ENTRY_BLOCK, &applied);
    settled_compare(self, &applied);
    assert_int_equal(replay_find(self->replay, first) == NULL, applied.skipped);
    if (applied.skipped)
        return;
    self->seq = seq;
    batch_t batch;
    uint64_t token;
    slice_t outcome;
    assert_int_equal(batch_open(&batch, (slice_t){applied.results->data, applied.results->size}),
                     0);
    for (uint32_t msgid = first; msgid <= self->msgid && batch_next(&batch, &token, &outcome) == 1;
         msgid++) {
        if (token)
            waiting_compare(self, msgid, token);
        else
            outcome_compare(self, msgid, outcome);
    }
}

static void expiry_step(bench_t *self) {
    state_applied_t applied;
    size_t count;
    uint64_t due_ms;
    assert_int_equal(state_next_expiry(self->state, &due_ms), 0);
    if (due_ms > self->time_ms && stream_chance(&self->random, 300))
        self->time_ms = due_ms;
    assert_int_equal(state_expire_block(self->state, self->time_ms, &self->bytes, &count), 0);
    entry_feed(self, ENTRY_BLOCK, &applied);
    settled_compare(self, &applied);
}

/* A read of the state as it is; the model must give the same, and go on giving it later. */
typedef struct past_read {
    request_t request;
    payload_t *payload;
    reply_t answer;
    uint64_t revision;
} past_read_t;

static void past_compare(const bench_t *self, const past_read_t *past) {
    reply_t expected;
    model_read(replay_model(self->replay), &past->request, past->revision, &past->answer,
               &expected);
    const char *differs = reply_differs(&expected, &past->answer);
    if (differs)
        fail_msg("%s at revision %llu: %s differs", method_name(past->request.method),
                 (unsigned long long) past->revision, differs);
}

static void read_step(bench_t *self, past_read_t *past) {
    request_t request;
    rpc_error_t error;
    buffer_t outcome = {0}, response = {0};
    do
        requests_read(&self->requests, &self->random, ++self->msgid, &request);
    while (request.method == METHOD_LEASE_GET); /* not a matter of revisions */
    buffer_reset(&self->command);
    request_encode(&request, &self->command);
    payload_unref(&past->payload);
    past->payload = payload_copy(self->command.data, self->command.size);
    assert_int_equal(request_decode(payload_slice(past->payload), &past->request, &error), 0);
    assert_int_equal(state_query(self->state, &past->request, self->time_ms, &outcome), 0);
    rpc_response(&response, request.msgid, (slice_t){outcome.data, outcome.size});
    assert_int_equal(reply_parse((slice_t){response.data, response.size}, &past->answer), 0);
    past->answer.last = (slice_t){0};
    past->revision = state_revision(self->state);
    past_compare(self, past);
    if (past->answer.fields & REPLY_INDEX)
        requests_learn(&self->requests, past->request.key, past->answer.index);
    buffer_free(&outcome);
    buffer_free(&response);
}

static void run(uint64_t seed, size_t steps, unsigned large_in_1000) {
    bench_t bench;
    past_read_t past[64] = {0};
    bench_open(&bench, seed, steps);
    bench.requests.large_in_1000 = large_in_1000;
    for (size_t i = 0; i < steps; i++) {
        bench.time_ms += stream_range(&bench.random, 0, 400);
        if (stream_chance(&bench.random, 2))
            bench.time_ms += 4000000; /* sessions grow old */
        uint64_t draw = stream_range(&bench.random, 0, 100);
        state_applied_t applied;
        if (draw < 50)
            block_step(&bench);
        else if (draw < 60)
            expiry_step(&bench);
        else if (draw < 62)
            entry_feed(&bench, ENTRY_NOOP, &applied);
        else
            read_step(&bench, &past[i % 64]);
    }
    assert_true(bench.granted > 0);
    for (size_t i = 0; i < 64; i++) {
        if (past[i].payload)
            past_compare(&bench, &past[i]);
        payload_unref(&past[i].payload);
    }
    bench_close(&bench);
}

static void test_random_logs(void **state) {
    (void) state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        run(seed, 1500, 2);
}

/* Clients with more answers than are kept. */
static void test_long_log(void **state) {
    (void) state;
    run(100, 12000, 0);
}

/* Pages that end by their size, and at a limit near it. */
static void test_large_values(void **state) {
    (void) state;
    for (uint64_t seed = 1; seed <= 2; seed++)
        run(seed, 300, 500);
}

/* Undoing leaves the model as it was, whatever the write. */
static void test_undo(void **state) {
    (void) state;
    stream_t random = stream_new(3, 1);
    requests_t requests;
    requests_init(&requests);
    model_t *model = model_new(false);
    for (uint32_t i = 1; i < 3000; i++) {
        request_t request;
        reply_t answer;
        requests_write(&requests, &random, i, &request);
        buffer_t bytes = {0};
        request_encode(&request, &bytes);
        payload_t *owner = buffer_take(&bytes);
        rpc_error_t error;
        assert_int_equal(request_decode(payload_slice(owner), &request, &error), 0);
        uint64_t hash = model_hash(model), revision = model_revision(model);
        size_t keys = model_keys(model);
        model_write(model, &request, owner, i, &answer);
        if (model_revision(model) != revision && stream_chance(&random, 500)) {
            model_undo(model);
            assert_int_equal(model_hash(model), hash);
            assert_int_equal(model_revision(model), revision);
            assert_int_equal(model_keys(model), keys);
        } else if (answer.fields & REPLY_INDEX) {
            requests_learn(&requests, request.key, answer.index);
        }
        payload_unref(&owner);
        buffer_free(&bytes);
    }
    model_free(&model);
    requests_clear(&requests);
}

/* The same request twice in the log, without a session, is an effect that occurs twice. */
static void test_request_applied_twice(void **state) {
    (void) state;
    bench_t bench;
    bench_open(&bench, 1, 2);
    for (uint64_t seq = 1; seq <= 2; seq++) {
        request_t request = {.msgid = 9,
                             .method = METHOD_PUT,
                             .key = {(const uint8_t *) "k", 1},
                             .value = {(const uint8_t *) "v", 1}};
        buffer_reset(&bench.command);
        request_encode(&request, &bench.command);
        block_begin(&bench.bytes, 7, 5, seq, seq - 1, 1);
        block_add(&bench.bytes, (slice_t){bench.command.data, bench.command.size});
        entry_t entry = {.index = seq, .term = 1, .time_ms = 1, .kind = ENTRY_BLOCK};
        entry.payload = buffer_take(&bench.bytes);
        replay_entry(bench.replay, &entry);
        entry_clear(&entry);
    }
    assert_string_equal(bench.failed, "exactly once");
    bench_close(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_logs),           cmocka_unit_test(test_long_log),
        cmocka_unit_test(test_large_values),          cmocka_unit_test(test_undo),
        cmocka_unit_test(test_request_applied_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
