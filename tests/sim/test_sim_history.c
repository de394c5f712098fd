/* test_sim_history.c: the judgement of what users are told: each wrong observation is seen, under
 * its name, and a right one is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "broker/block.h"
#include "tests/sim/array.h"
#include "tests/sim/history.h"
#include "tests/sim/requests.h"
#include "tests/sim/watching.h"

typedef struct bench {
    replay_t *replay;
    history_t *history;
    const char *violated; /* the first violated check; NULL: none */
    uint64_t index;
    buffer_t bytes;
} bench_t;

static const station_t here = {.connection = 1, .slot = 0, .memory = 1, .awake_ms = 1000};

static void bench_fail(void *hint, const char *check, const char *text) {
    bench_t *self = hint;
    (void) text;
    if (!self->violated)
        self->violated = check;
}

static int bench_open(void **state) {
    bench_t *self = array_new(1, sizeof *self);
    self->replay = replay_new(bench_fail, self);
    self->history = history_new(self->replay, bench_fail, self);
    *state = self;
    return 0;
}

static int bench_close(void **state) {
    bench_t *self = *state;
    history_free(&self->history);
    replay_free(&self->replay);
    buffer_free(&self->bytes);
    free(self);
    return 0;
}

static void expect(bench_t *self, const char *check) {
    if (check)
        assert_string_equal(self->violated ? self->violated : "nothing", check);
    else if (self->violated)
        fail_msg("%s is violated", self->violated);
}

/* ---- asking ---- */

static slice_t text(const char *bytes) {
    return (slice_t){(const uint8_t *) bytes, strlen(bytes)};
}

static uint32_t ask(bench_t *self, const station_t *station, request_t request) {
    request.msgid = history_msgid(self->history);
    buffer_reset(&self->bytes);
    request_encode(&request, &self->bytes);
    payload_t *payload = payload_copy(self->bytes.data, self->bytes.size);
    history_called(self->history, station, payload);
    payload_unref(&payload);
    return request.msgid;
}

static uint32_t put(bench_t *self, const char *key, const char *value) {
    return ask(self, &here,
               (request_t){.method = METHOD_PUT, .key = text(key), .value = text(value)});
}

static uint32_t get(bench_t *self, const char *key, bool stale) {
    return ask(self, &here, (request_t){.method = METHOD_GET, .key = text(key), .stale = stale});
}

/* The request is committed and applied. */
static void commit(bench_t *self, uint32_t msgid) {
    buffer_t block = {0};
    const operation_t *operation = history_operation(self->history, msgid);
    self->index++;
    block_begin(&block, 7, 1, self->index, self->index - 1, 1);
    block_add(&block, payload_slice(operation->payload));
    entry_t entry = {.index = self->index, .term = 1, .time_ms = 1, .kind = ENTRY_BLOCK};
    entry.payload = buffer_take(&block);
    replay_entry(self->replay, &entry);
    entry_clear(&entry);
    buffer_free(&block);
}

/* ---- answering ---- */

static void answer(bench_t *self, const station_t *station) {
    history_returned(self->history, station, (slice_t){self->bytes.data, self->bytes.size});
}

static void number(bench_t *self, const char *name, uint64_t value) {
    pack_str(&self->bytes, name);
    pack_uint(&self->bytes, value);
}

static void success(bench_t *self, uint32_t msgid, size_t members) {
    buffer_reset(&self->bytes);
    pack_array(&self->bytes, 4);
    pack_uint(&self->bytes, RPC_RESPONSE);
    pack_uint(&self->bytes, msgid);
    pack_nil(&self->bytes);
    pack_map(&self->bytes, members);
}

static void put_answer(bench_t *self, uint32_t msgid, uint64_t revision) {
    success(self, msgid, 2);
    number(self, "index", revision);
    number(self, "revision", revision);
    answer(self, &here);
}

static void get_answer_at(bench_t *self, const station_t *station, uint32_t msgid,
                          const char *value, uint64_t index, uint64_t revision) {
    success(self, msgid, 4);
    pack_str(&self->bytes, "key");
    pack_str(&self->bytes, "k");
    pack_str(&self->bytes, "value");
    pack_bin(&self->bytes, value, strlen(value));
    number(self, "index", index);
    number(self, "revision", revision);
    answer(self, station);
}

static void get_answer(bench_t *self, uint32_t msgid, const char *value, uint64_t index,
                       uint64_t revision) {
    get_answer_at(self, &here, msgid, value, index, revision);
}

static void refusal(bench_t *self, uint32_t msgid, rpc_code_t code) {
    buffer_t outcome = {0};
    rpc_failure(&outcome, code, "no");
    buffer_reset(&self->bytes);
    rpc_response(&self->bytes, msgid, (slice_t){outcome.data, outcome.size});
    buffer_free(&outcome);
    answer(self, &here);
}

/* A put that went well. */
static void put_done(bench_t *self, const char *value, uint64_t revision) {
    uint32_t msgid = put(self, "k", value);
    commit(self, msgid);
    put_answer(self, msgid, revision);
}

/* ---- tests ---- */

static void test_all_is_well(void **state) {
    bench_t *self = *state;
    put_done(self, "v", 1);
    get_answer(self, get(self, "k", false), "v", 1, 1);
    get_answer(self, get(self, "k", true), "v", 1, 1);
    refusal(self, get(self, "none", false), RPC_KEY_NOT_FOUND);
    refusal(self, put(self, "k", "w"), RPC_UNAVAILABLE);
    refusal(self, put(self, "k", "x"), RPC_TIMEOUT);
    history_finish(self->history);
    expect(self, NULL);
    assert_int_equal(history_answered(self->history), 6);
}

static void test_answered_twice(void **state) {
    bench_t *self = *state;
    put_done(self, "v", 1);
    put_answer(self, 1, 1);
    expect(self, "answered once");
}

static void test_answered_on_another_connection(void **state) {
    bench_t *self = *state;
    uint32_t msgid = put(self, "k", "v");
    commit(self, msgid);
    put_answer(self, msgid, 1);
    expect(self, NULL);
    const station_t other = {.connection = 2, .slot = 0, .memory = 1, .awake_ms = 1000};
    get_answer_at(self, &other, get(self, "k", false), "v", 1, 1);
    expect(self, "answered once");
}

static void test_never_answered(void **state) {
    bench_t *self = *state;
    put(self, "k", "v");
    history_finish(self->history);
    expect(self, "answered once");
}

static void test_broken_connections_are_not_answered(void **state) {
    bench_t *self = *state;
    put(self, "k", "v");
    history_broken(self->history, here.connection);
    history_finish(self->history);
    expect(self, NULL);
}

static void test_acknowledged_before_it_was_committed(void **state) {
    bench_t *self = *state;
    put_answer(self, put(self, "k", "v"), 1);
    expect(self, "durable before acknowledged");
}

static void test_wrong_answer_to_a_write(void **state) {
    bench_t *self = *state;
    uint32_t msgid = put(self, "k", "v");
    commit(self, msgid);
    put_answer(self, msgid, 2);
    expect(self, "exact answers");
}

static void test_wrong_value(void **state) {
    bench_t *self = *state;
    put_done(self, "v", 1);
    get_answer(self, get(self, "k", false), "w", 1, 1);
    expect(self, "exact answers");
}

static void test_revision_that_is_not_yet(void **state) {
    bench_t *self = *state;
    put_done(self, "v", 1);
    get_answer(self, get(self, "k", false), "v", 1, 2);
    expect(self, "exact answers");
}

static void test_missing_though_it_is_there(void **state) {
    bench_t *self = *state;
    put_done(self, "v", 1);
    refusal(self, get(self, "k", false), RPC_KEY_NOT_FOUND);
    expect(self, "exact answers");
}

/* It was not there yet when the question was sent. */
static void test_missing_until_a_moment_ago(void **state) {
    bench_t *self = *state;
    uint32_t question = get(self, "k", false);
    put_done(self, "v", 1);
    refusal(self, question, RPC_KEY_NOT_FOUND);
    expect(self, NULL);
}

static void test_answer_from_the_past(void **state) {
    bench_t *self = *state;
    put_done(self, "old", 1);
    put_done(self, "new", 2);
    get_answer(self, get(self, "k", false), "old", 1, 1);
    expect(self, "real time");
}

static void test_stale_reads_go_back(void **state) {
    bench_t *self = *state;
    put_done(self, "old", 1);
    put_done(self, "new", 2);
    get_answer(self, get(self, "k", true), "old", 1, 1);
    expect(self, "stale reads");
}

/* What a node told that has given up knowing it since is not held against it. */
static void test_stale_reads_without_memory(void **state) {
    bench_t *self = *state;
    put_done(self, "old", 1);
    put_done(self, "new", 2);
    const station_t again = {.connection = 1, .slot = 0, .memory = 2, .awake_ms = 1000};
    uint32_t msgid =
        ask(self, &again, (request_t){.method = METHOD_GET, .key = text("k"), .stale = true});
    get_answer_at(self, &again, msgid, "old", 1, 1);
    expect(self, NULL);
}

static void test_unavailable_and_committed(void **state) {
    bench_t *self = *state;
    uint32_t msgid = put(self, "k", "v");
    commit(self, msgid);
    refusal(self, msgid, RPC_UNAVAILABLE);
    expect(self, "refused for good");
}

static void test_unavailable_and_committed_later(void **state) {
    bench_t *self = *state;
    uint32_t msgid = put(self, "k", "v");
    refusal(self, msgid, RPC_UNAVAILABLE);
    commit(self, msgid);
    expect(self, NULL);
    history_finish(self->history);
    expect(self, "refused for good");
}

static void test_late_answer(void **state) {
    bench_t *self = *state;
    uint32_t msgid = put(self, "k", "v");
    station_t later = here;
    later.awake_ms += HISTORY_ANSWER_MS;
    history_overdue(self->history, &later);
    expect(self, NULL);
    later.awake_ms += HISTORY_WAY_MS + 1;
    history_overdue(self->history, &later);
    expect(self, "answered in time");
    (void) msgid;
}

static void test_order_of_a_connection(void **state) {
    bench_t *self = *state;
    uint32_t first = put(self, "k", "a"), second = put(self, "k", "b");
    commit(self, second);
    commit(self, first);
    put_answer(self, second, 1);
    put_answer(self, first, 2);
    expect(self, NULL);
    history_finish(self->history);
    expect(self, "order");
}

/* ---- locks ---- */

static uint32_t lock(bench_t *self, const char *key, bool once) {
    return ask(
        self, &here,
        (request_t){.method = METHOD_LOCK, .key = text(key), .ttl_ms = 1000, .has_wait = once});
}

static uint32_t unlock(bench_t *self, const char *key, uint64_t token) {
    return ask(self, &here, (request_t){.method = METHOD_UNLOCK, .key = text(key), .token = token});
}

static void lock_answer(bench_t *self, uint32_t msgid, uint64_t token, uint64_t revision) {
    success(self, msgid, 3);
    number(self, "token", token);
    number(self, "lease", token);
    number(self, "revision", revision);
    answer(self, &here);
}

static void unlock_answer(bench_t *self, uint32_t msgid, uint64_t revision) {
    success(self, msgid, 1);
    number(self, "revision", revision);
    answer(self, &here);
}

/* The first holds it, the second waits for it, and is granted it by the unlock of the first. */
static void test_lock_handed_on(void **state) {
    bench_t *self = *state;
    uint32_t first = lock(self, "l", false), second = lock(self, "l", false);
    uint32_t third = lock(self, "l", true), end = unlock(self, "l", 1);
    commit(self, first);
    commit(self, second);
    commit(self, third);
    lock_answer(self, first, 1, 1);
    refusal(self, third, RPC_CANNOT_LOCK);
    commit(self, end);
    lock_answer(self, second, 2, 2);
    unlock_answer(self, end, 2);
    history_finish(self->history);
    expect(self, NULL);
}

static void test_granted_while_another_holds_it(void **state) {
    bench_t *self = *state;
    uint32_t first = lock(self, "l", false), second = lock(self, "l", false);
    commit(self, first);
    commit(self, second);
    lock_answer(self, first, 1, 1);
    lock_answer(self, second, 2, 2);
    expect(self, "exact answers");
}

/* Each answer alone may be what the log says; together they cannot be. */
static void test_done_under_an_old_token(void **state) {
    bench_t *self = *state;
    uint32_t first = lock(self, "l", true), end = unlock(self, "l", 1);
    uint32_t second = lock(self, "l", true);
    commit(self, first);
    commit(self, end);
    commit(self, second);
    lock_answer(self, first, 1, 1);
    unlock_answer(self, end, 2);
    lock_answer(self, second, 2, 3);
    expect(self, NULL);
    uint32_t write = ask(self, &here,
                         (request_t){.method = METHOD_PUT,
                                     .key = text("k"),
                                     .value = text("v"),
                                     .has_fence = true,
                                     .fence_key = text("l"),
                                     .fence_token = 1});
    commit(self, write);
    put_answer(self, write, 4);
    self->violated = NULL; /* that it is not what the log says is known already */
    history_finish(self->history);
    expect(self, "mutual exclusion");
}

static void test_a_token_twice(void **state) {
    bench_t *self = *state;
    uint32_t first = lock(self, "l", true), second = lock(self, "l", true);
    commit(self, first);
    commit(self, second);
    lock_answer(self, first, 1, 1);
    lock_answer(self, second, 1, 1);
    self->violated = NULL;
    history_finish(self->history);
    expect(self, "mutual exclusion");
}

/* It is granted, and its gateway does not tell it for long. */
static void test_granted_and_not_told(void **state) {
    bench_t *self = *state;
    station_t later = here;
    commit(self, lock(self, "l", false));
    later.awake_ms = 90000;
    history_overdue(self->history, &later);
    expect(self, NULL); /* from now on it is due */
    later.awake_ms += HISTORY_LOCK_CHECK_MS + HISTORY_ANSWER_MS;
    history_overdue(self->history, &later);
    expect(self, NULL);
    later.awake_ms += HISTORY_WAY_MS + 1;
    history_overdue(self->history, &later);
    expect(self, "answered in time");
}

static void test_cancelled_and_not_told(void **state) {
    bench_t *self = *state;
    station_t later = here;
    commit(self, lock(self, "l", true));
    history_broken(self->history, here.connection);
    commit(self, lock(self, "l", false));
    later.awake_ms = 90000;
    history_overdue(self->history, &later);
    uint32_t cancel = ask(self, &later, (request_t){.method = METHOD_LOCK_CANCEL, .target = 2});
    success(self, cancel, 0);
    answer(self, &later);
    later.awake_ms += HISTORY_ANSWER_MS;
    history_overdue(self->history, &later);
    expect(self, NULL);
    later.awake_ms += HISTORY_WAY_MS + 1;
    history_overdue(self->history, &later);
    expect(self, "answered in time");
}

static void test_wrong_request(void **state) {
    bench_t *self = *state;
    payload_t *payload = payload_copy("", 0);
    history_called_wrong(self->history, &here, payload, RPC_INVALID_ARGUMENT, 0);
    refusal(self, 0, RPC_INVALID_ARGUMENT);
    expect(self, NULL);
    history_called_wrong(self->history, &here, payload, RPC_INVALID_ARGUMENT, 0);
    refusal(self, 0, RPC_UNAVAILABLE);
    expect(self, "exact answers");
    payload_unref(&payload);
}

/* ---- watches ---- */

/* Events [first, last] of puts of "k", one a revision, and `next`. */
static const char *events(bench_t *self, watching_t *watching, uint64_t first, uint64_t last,
                          uint64_t next) {
    bool own;
    buffer_reset(&self->bytes);
    pack_array(&self->bytes, 3);
    pack_uint(&self->bytes, RPC_NOTIFICATION);
    pack_str(&self->bytes, "event");
    pack_array(&self->bytes, 1);
    pack_map(&self->bytes, 3);
    number(self, "watch", 5);
    pack_str(&self->bytes, "events");
    pack_array(&self->bytes, last + 1 - first);
    for (uint64_t index = first; index <= last; index++) {
        pack_map(&self->bytes, 4);
        pack_str(&self->bytes, "type");
        pack_str(&self->bytes, "put");
        pack_str(&self->bytes, "key");
        pack_str(&self->bytes, "k");
        pack_str(&self->bytes, "value");
        pack_bin(&self->bytes, "v", 1);
        number(self, "index", index);
    }
    number(self, "next", next);
    const char *wrong = watching_notified(watching, replay_model(self->replay),
                                          (slice_t){self->bytes.data, self->bytes.size}, &own);
    return own ? wrong : "not its own";
}

static void test_watch(void **state) {
    bench_t *self = *state;
    for (uint64_t revision = 1; revision <= 6; revision++)
        put_done(self, "v", revision);
    const watching_t begun = {.key = text("k"), .next = 2, .watch = 5, .credit = 9};
    watching_t watching = begun;
    assert_null(events(self, &watching, 2, 3, 4));
    assert_null(events(self, &watching, 4, 4, 5));
    assert_true(watching_behind(&watching, replay_model(self->replay)));
    assert_null(events(self, &watching, 5, 6, 7));
    assert_false(watching_behind(&watching, replay_model(self->replay)));
    assert_int_equal(watching.delivered, 5);

    watching = begun;
    assert_non_null(events(self, &watching, 3, 3, 4)); /* one is left out at first */
    watching = begun;
    assert_non_null(events(self, &watching, 2, 3, 5)); /* and at last */
    watching = begun;
    assert_null(events(self, &watching, 2, 3, 4));
    assert_non_null(events(self, &watching, 3, 4, 5)); /* one comes twice */
    watching = begun;
    assert_non_null(events(self, &watching, 2, 6, 8)); /* next is ahead of all */
    watching = begun;
    watching.credit = 0;
    assert_non_null(events(self, &watching, 2, 3, 4));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_is_well),
        TEST(test_answered_twice),
        TEST(test_answered_on_another_connection),
        TEST(test_never_answered),
        TEST(test_broken_connections_are_not_answered),
        TEST(test_acknowledged_before_it_was_committed),
        TEST(test_wrong_answer_to_a_write),
        TEST(test_wrong_value),
        TEST(test_revision_that_is_not_yet),
        TEST(test_missing_though_it_is_there),
        TEST(test_missing_until_a_moment_ago),
        TEST(test_answer_from_the_past),
        TEST(test_stale_reads_go_back),
        TEST(test_stale_reads_without_memory),
        TEST(test_unavailable_and_committed),
        TEST(test_unavailable_and_committed_later),
        TEST(test_late_answer),
        TEST(test_order_of_a_connection),
        TEST(test_lock_handed_on),
        TEST(test_granted_while_another_holds_it),
        TEST(test_done_under_an_old_token),
        TEST(test_a_token_twice),
        TEST(test_granted_and_not_told),
        TEST(test_cancelled_and_not_told),
        TEST(test_wrong_request),
        TEST(test_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
