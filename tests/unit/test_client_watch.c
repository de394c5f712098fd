/* test_client_watch.c: libdrax's watches and servers that fail, answer oddly, or no longer know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "drax.h"
#include "tests/unit/gateway_fake.h"

#define PATIENCE_MS 20000

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* ---- what the server sends ---- */

static void pair_pack(buffer_t *out, const char *key, uint64_t index) {
    pack_map(out, 3);
    pack_str(out, "key");
    pack_str(out, key);
    pack_str(out, "value");
    pack_bin(out, "v", 1);
    pack_str(out, "index");
    pack_uint(out, index);
}

/* The answer to watch: number 7, `key` there when not NULL. */
static void watch_answer(buffer_t *out, uint32_t msgid, const char *key, bool more, uint64_t next) {
    answer_begin(out, msgid, 4);
    pack_str(out, "watch");
    pack_uint(out, 7);
    pack_str(out, "next");
    pack_uint(out, next);
    pack_str(out, "pairs");
    pack_array(out, key != NULL);
    if (key)
        pair_pack(out, key, next - 1);
    pack_str(out, "more");
    pack_bool(out, more);
}

static buffer_t *notification(gateway_t *self, size_t fields) {
    buffer_t *out = &self->follow[self->follow_count++];
    pack_array(out, 3);
    pack_uint(out, 2);
    pack_str(out, "event");
    pack_array(out, 1);
    pack_map(out, fields + 1);
    pack_str(out, "watch");
    pack_uint(out, 7);
    return out;
}

/* One put of revision `index`; 0: no event, only `next`. */
static void event_follow(gateway_t *self, uint64_t index, uint64_t next) {
    buffer_t *out = notification(self, 2);
    pack_str(out, "events");
    pack_array(out, index > 0);
    if (index > 0) {
        pack_map(out, 4);
        pack_str(out, "type");
        pack_str(out, "put");
        pack_str(out, "key");
        pack_str(out, "k");
        pack_str(out, "value");
        pack_bin(out, "v", 1);
        pack_str(out, "index");
        pack_uint(out, index);
    }
    pack_str(out, "next");
    pack_uint(out, next);
}

static void pairs_follow(gateway_t *self, const char *key, bool more) {
    buffer_t *out = notification(self, 2);
    pack_str(out, "pairs");
    pack_array(out, 1);
    pair_pack(out, key, 3);
    pack_str(out, "more");
    pack_bool(out, more);
}

static void compacted_follow(gateway_t *self, uint64_t compacted) {
    buffer_t *out = notification(self, 2);
    pack_str(out, "compacted");
    pack_uint(out, compacted);
    pack_str(out, "events");
    pack_array(out, 0);
}

/* ---- what the client makes of it ---- */

typedef struct {
    gateway_t *gateway;
    drax_t *drax;
    drax_watch_t *watch;
} fixture_t;

static fixture_t begin(gateway_script_fn *script, uint64_t from) {
    fixture_t f = {.gateway = gateway_start(script, 0)};
    assert_int_equal(drax_new(&f.drax, f.gateway->address), 0);
    assert_int_equal(drax_watch(f.drax, "k", 1, from, &f.watch), 0);
    return f;
}

static void end(fixture_t *f) {
    drax_watch_close(&f->watch);
    drax_destroy(&f->drax);
    assert_int_equal(f->gateway->malformed, 0);
    gateway_stop(&f->gateway);
}

static void expect(drax_watch_t *watch, drax_event_type_t type, const char *key, uint64_t index) {
    drax_event_t event;
    assert_int_equal(drax_watch_next(watch, PATIENCE_MS, &event), 0);
    assert_int_equal(event.type, type);
    assert_int_equal(event.key_size, key ? strlen(key) : 0);
    if (key)
        assert_memory_equal(event.key, key, event.key_size);
    assert_int_equal(event.index, index);
}

static void expect_end(drax_watch_t *watch, int error) {
    drax_event_t event;
    assert_int_equal(drax_watch_next(watch, PATIENCE_MS, &event), error);
    assert_int_equal(drax_watch_next(watch, 0, &event), error);
}

static gateway_action_t hundred(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return gateway_serve(self, request, out);
    watch_answer(out, request->msgid, NULL, false, 10);
    for (uint64_t index = 10; index < 110; index++)
        event_follow(self, index, index + 1);
    event_follow(self, 0, 200);
    return GATEWAY_ANSWER;
}

/* Credit goes back for what has been read, half of what a watch has at a time. */
static void test_credit(void **state) {
    (void) state;
    fixture_t f = begin(hundred, 0);
    expect(f.watch, DRAX_EVENT_SYNCED, NULL, 0);
    for (uint64_t index = 10; index < 42; index++)
        expect(f.watch, DRAX_EVENT_PUT, "k", index);
    assert_int_equal(gateway_credit(f.gateway), 0);
    for (uint64_t index = 42; index < 110; index++)
        expect(f.watch, DRAX_EVENT_PUT, "k", index);
    drax_event_t event;
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    while (gateway_credit(f.gateway) < 96) {
        assert_int_equal(drax_watch_next(f.watch, 1, &event), DRAX_ERR_TIMEOUT);
        assert_true(now_ms() < end_ms);
    }
    assert_int_equal(gateway_credit(f.gateway), 96);
    assert_int_equal(drax_watch_from(f.watch), 200); /* told by the one without events */
    end(&f);
}

/* Closing cancels. */
static void test_close(void **state) {
    (void) state;
    fixture_t f = begin(hundred, 0);
    expect(f.watch, DRAX_EVENT_SYNCED, NULL, 0);
    drax_watch_close(&f.watch);
    assert_int_equal(drax_get(f.drax, "k", 1, NULL, NULL), 0);
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    while (gateway_count(f.gateway) < 3)
        assert_true(now_ms() < end_ms);
    bool cancelled = false;
    for (size_t i = 1; i < 3; i++) {
        gateway_entry_t entry = gateway_entry(f.gateway, i);
        cancelled = cancelled || (entry.method == METHOD_WATCH_CANCEL && entry.watch == 7);
    }
    assert_true(cancelled);
    end(&f);
}

/* Closed before it is answered: cancelled as soon as its number is known. */
static void test_close_at_once(void **state) {
    (void) state;
    fixture_t f = begin(hundred, 0);
    drax_event_t event;
    assert_int_equal(drax_watch_next(f.watch, 0, &event), DRAX_ERR_TIMEOUT);
    drax_watch_close(&f.watch);
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    bool cancelled = false;
    while (!cancelled) {
        assert_int_equal(drax_get(f.drax, "k", 1, NULL, NULL), 0);
        for (size_t i = 0; i < gateway_count(f.gateway) && !cancelled; i++)
            cancelled = gateway_entry(f.gateway, i).method == METHOD_WATCH_CANCEL;
        assert_true(now_ms() < end_ms);
    }
    end(&f);
}

static gateway_action_t compacted_at_once(gateway_t *self, const request_t *request,
                                          buffer_t *out) {
    (void) self;
    pack_array(out, 4);
    pack_uint(out, 1);
    pack_uint(out, request->msgid);
    pack_array(out, 3);
    pack_str(out, "COMPACTED");
    pack_str(out, "too long ago");
    pack_map(out, 1);
    pack_str(out, "compacted");
    pack_uint(out, 55);
    pack_nil(out);
    return GATEWAY_ANSWER;
}

static gateway_action_t compacted_later(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return gateway_serve(self, request, out);
    watch_answer(out, request->msgid, "k", false, 10);
    event_follow(self, 10, 11);
    compacted_follow(self, 66);
    return GATEWAY_ANSWER;
}

static void test_compacted(void **state) {
    (void) state;
    fixture_t f = begin(compacted_at_once, 3);
    expect_end(f.watch, DRAX_ERR_COMPACTED);
    assert_int_equal(drax_watch_compacted(f.watch), 55);
    assert_int_equal(gateway_entry(f.gateway, 0).from, 3);
    end(&f);
    f = begin(compacted_later, 0);
    expect(f.watch, DRAX_EVENT_CURRENT, "k", 9);
    expect(f.watch, DRAX_EVENT_SYNCED, NULL, 0);
    expect(f.watch, DRAX_EVENT_PUT, "k", 10); /* what came before is still given */
    expect_end(f.watch, DRAX_ERR_COMPACTED);
    assert_int_equal(drax_watch_compacted(f.watch), 66);
    end(&f);
}

static gateway_action_t without_number(gateway_t *self, const request_t *request, buffer_t *out) {
    (void) self;
    answer_begin(out, request->msgid, 1);
    pack_str(out, "next");
    pack_uint(out, 3);
    return GATEWAY_ANSWER;
}

/* Notifications that are none, of no watch, or not to be understood are passed over. */
static gateway_action_t odd_ones(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return gateway_serve(self, request, out);
    watch_answer(out, request->msgid, NULL, false, 10);
    buffer_t *odd = &self->follow[self->follow_count++];
    pack_array(odd, 3);
    pack_uint(odd, 2);
    pack_str(odd, "event");
    pack_array(odd, 0);
    odd = &self->follow[self->follow_count++];
    pack_array(odd, 3);
    pack_uint(odd, 2);
    pack_str(odd, "news");
    pack_array(odd, 1);
    pack_map(odd, 0);
    odd = &self->follow[self->follow_count++];
    pack_array(odd, 3);
    pack_uint(odd, 2);
    pack_str(odd, "event");
    pack_array(odd, 1);
    pack_map(odd, 1);
    pack_str(odd, "watch");
    pack_uint(odd, 8);
    notification(self, 0);
    pairs_follow(self, "late", false); /* the first state is complete: these cannot be */
    event_follow(self, 10, 11);
    return GATEWAY_ANSWER;
}

static void test_odd_servers(void **state) {
    (void) state;
    fixture_t f = begin(without_number, 0);
    expect_end(f.watch, DRAX_ERR_PROTOCOL);
    end(&f);
    f = begin(odd_ones, 0);
    expect(f.watch, DRAX_EVENT_SYNCED, NULL, 0);
    expect(f.watch, DRAX_EVENT_PUT, "k", 10);
    end(&f);
}

/* ---- resuming ---- */

static gateway_action_t three_then_dies(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return GATEWAY_DIE;
    watch_answer(out, request->msgid, NULL, false, 10);
    for (uint64_t index = 10; index < 13; index++)
        event_follow(self, index, index + 1);
    return GATEWAY_ANSWER;
}

static gateway_action_t goes_on(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return gateway_serve(self, request, out);
    watch_answer(out, request->msgid, NULL, false, request->from);
    event_follow(self, request->from, request->from + 1);
    return GATEWAY_ANSWER;
}

static void two_begin(fixture_t *f, gateway_t **second, gateway_script_fn *first_script,
                      gateway_script_fn *second_script) {
    char endpoints[160];
    f->gateway = gateway_start(first_script, 0);
    *second = gateway_start(second_script, 0);
    snprintf(endpoints, sizeof endpoints, "%s,%s", f->gateway->address, (*second)->address);
    assert_int_equal(drax_new(&f->drax, endpoints), 0);
    assert_int_equal(drax_watch(f->drax, "k", 1, 0, &f->watch), 0);
}

/* What was received but not read yet is not asked for again. */
static void test_resume(void **state) {
    (void) state;
    fixture_t f;
    gateway_t *second;
    two_begin(&f, &second, three_then_dies, goes_on);
    expect(f.watch, DRAX_EVENT_SYNCED, NULL, 0);
    expect(f.watch, DRAX_EVENT_PUT, "k", 10);
    assert_int_equal(drax_get(f.drax, "k", 1, NULL, NULL), 0); /* which the first one dies of */
    for (uint64_t index = 11; index < 14; index++)
        expect(f.watch, DRAX_EVENT_PUT, "k", index);
    assert_int_equal(gateway_entry(second, gateway_count(second) - 1).method == METHOD_WATCH ||
                         gateway_entry(second, 0).method == METHOD_WATCH,
                     1);
    for (size_t i = 0; i < gateway_count(second); i++)
        if (gateway_entry(second, i).method == METHOD_WATCH)
            assert_int_equal(gateway_entry(second, i).from, 13);
    end(&f);
    gateway_stop(&second);
}

static gateway_action_t half_a_state(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return GATEWAY_DIE;
    watch_answer(out, request->msgid, "a", true, 10);
    pairs_follow(self, "b", true);
    pairs_follow(self, "c", true);
    return GATEWAY_ANSWER;
}

static gateway_action_t whole_state(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return gateway_serve(self, request, out);
    watch_answer(out, request->msgid, "a", true, 20);
    pairs_follow(self, "b", true);
    pairs_follow(self, "z", false);
    event_follow(self, 20, 21);
    return GATEWAY_ANSWER;
}

/* A first state that is cut short begins anew; what was not read of it is not given. */
static void test_first_state_cut_short(void **state) {
    (void) state;
    fixture_t f;
    gateway_t *second;
    two_begin(&f, &second, half_a_state, whole_state);
    expect(f.watch, DRAX_EVENT_CURRENT, "a", 9);
    assert_int_equal(drax_get(f.drax, "k", 1, NULL, NULL), 0);
    expect(f.watch, DRAX_EVENT_CURRENT, "a", 19);
    expect(f.watch, DRAX_EVENT_CURRENT, "b", 3);
    expect(f.watch, DRAX_EVENT_CURRENT, "z", 3);
    assert_int_equal(drax_watch_from(f.watch), 0);
    expect(f.watch, DRAX_EVENT_SYNCED, NULL, 0);
    assert_int_equal(drax_watch_from(f.watch), 20);
    expect(f.watch, DRAX_EVENT_PUT, "k", 20);
    assert_int_equal(drax_watch_from(f.watch), 21);
    for (size_t i = 0; i < gateway_count(second); i++)
        assert_int_equal(gateway_entry(second, i).from, 0);
    end(&f);
    gateway_stop(&second);
}

/* The server gave up a first state whose reader was too slow. */
static gateway_action_t slow_once(gateway_t *self, const request_t *request, buffer_t *out) {
    if (request->method != METHOD_WATCH)
        return gateway_serve(self, request, out);
    if (self->refused)
        return whole_state(self, request, out);
    self->refused = true;
    watch_answer(out, request->msgid, "a", true, 10);
    compacted_follow(self, 66);
    return GATEWAY_ANSWER;
}

static void test_first_state_given_up(void **state) {
    (void) state;
    fixture_t f = begin(slow_once, 0);
    drax_event_t event = {0};
    do
        assert_int_equal(drax_watch_next(f.watch, PATIENCE_MS, &event), 0);
    while (event.index != 19); /* perhaps the first one's "a" before it */
    expect(f.watch, DRAX_EVENT_CURRENT, "b", 3);
    expect(f.watch, DRAX_EVENT_CURRENT, "z", 3);
    expect(f.watch, DRAX_EVENT_SYNCED, NULL, 0);
    end(&f);
}

/* UNAVAILABLE and the like only mean later. */
static gateway_action_t refuses_twice(gateway_t *self, const request_t *request, buffer_t *out) {
    return self->count <= 2 ? gateway_unavailable(self, request, out)
                            : whole_state(self, request, out);
}

static void test_refusals(void **state) {
    (void) state;
    fixture_t f = begin(refuses_twice, 0);
    expect(f.watch, DRAX_EVENT_CURRENT, "a", 19);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_close_at_once),
        cmocka_unit_test(test_compacted),
        cmocka_unit_test(test_odd_servers),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_first_state_cut_short),
        cmocka_unit_test(test_first_state_given_up),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
