/* test_gateway_watch.c: watches and long polls of a gateway: what they hear, when, and that nothing
 * is left out, said twice or kept for those that may not hear it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/error.h"
#include "broker/past.h"
#include "broker/unpack.h"
#include "gateway_fixture.h"
#include "tests/support/memory_refused.h"
#include "text_msgpack.h"

#define EVENT(key, index)                                                                          \
    "{\"type\": \"put\", \"key\": \"" key "\", \"value\": b\"v\", \"index\": " #index "}"

/* ---- memory ---- */

static unsigned countdown; /* the allocation that fails; 0: none */
static bool armed;         /* the gateway runs, and not the post under it */

bool memory_refused(void) {
    return armed && countdown && --countdown == 0;
}

/* ---- storage, played ---- */

static void subscribe_expected(fixture_t *f, bool on) {
    for (size_t i = 0; i < 2; i++) { /* storage tells of changes, raft has them told at once */
        message_t *message = fake_post_expect(&f->post, MESSAGE_SUBSCRIBE);
        assert_int_equal(message->subscribe.on, on);
    }
}

/* Changes after `seq` up to `revision`: events as text, ended by NULL, each of `revisions[i]`. */
static void changes_come(fixture_t *f, uint64_t seq, uint64_t revision, size_t count,
                         const uint64_t *revisions, const char *const *events) {
    buffer_t batch = {0}, event = {0};
    batch_begin(&batch, count);
    for (size_t i = 0; i < count; i++) {
        buffer_reset(&event);
        text_msgpack(&event, events[i]);
        batch_add(&batch, revisions[i], (slice_t){event.data, event.size});
    }
    message_t message = {.kind = MESSAGE_CHANGES};
    message.batch.seq = seq;
    message.batch.revision = revision;
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    buffer_free(&event);
    message_comes(f, ACTOR_STORAGE, &message);
}

static void storage_is_at(fixture_t *f, uint64_t revision) {
    changes_come(f, revision, revision, 0, NULL, NULL);
}

static void change_comes(fixture_t *f, uint64_t revision, const char *event) {
    changes_come(f, revision - 1, revision, 1, &revision, &event);
}

/* A question is asked about changes from `from` on; its token. */
static uint64_t question_expected(fixture_t *f, uint64_t from, bool tree, const char *key) {
    message_t *message = fake_post_expect(&f->post, MESSAGE_HISTORY);
    batch_t batch;
    past_question_t question;
    uint64_t token;
    slice_t bytes;
    assert_int_equal(batch_open(&batch, payload_slice(message->batch.payload)), 0);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch_next(&batch, &token, &bytes), 1);
    assert_int_equal(past_question_read(&question, bytes), 0);
    assert_int_equal(question.from, from);
    assert_int_equal(question.kind, tree ? PAST_TREE : PAST_KEY);
    assert_int_equal(question.key.size, strlen(key));
    assert_memory_equal(question.key.data, key, strlen(key));
    return token;
}

static void past_comes(fixture_t *f, uint64_t token, uint64_t compacted, uint64_t next,
                       size_t count, const char *events) {
    buffer_t batch = {0}, bytes = {0}, packed = {0};
    text_msgpack(&packed, events); /* an array, whose head is one byte */
    past_answer_t answer = {compacted, next, false, count, {packed.data + 1, packed.size - 1}};
    past_answer_write(&bytes, &answer);
    batch_begin(&batch, 1);
    batch_add(&batch, token, (slice_t){bytes.data, bytes.size});
    message_t message = {.kind = MESSAGE_PAST};
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    buffer_free(&bytes);
    buffer_free(&packed);
    message_comes(f, ACTOR_STORAGE, &message);
}

/* ---- the client ---- */

/* The number that the next answer gives to a watch, which must be [1, msgid, nil, {watch, next…}].
 */
static uint64_t watch_expected(fixture_t *f, char client, uint32_t msgid, const char *rest) {
    assert_true(f->answer_at < f->answer_count);
    given_answer_t *answer = &f->answers[f->answer_at];
    slice_t bytes = {answer->bytes.data, answer->bytes.size};
    item_t item;
    for (int i = 0; i < 7; i++) /* [ 1 msgid nil { "watch" N */
        assert_int_equal(unpack_item(&bytes, &item), 0);
    char text[256];
    uint64_t watch = item.number;
    snprintf(text, sizeof text, "[1, %u, nil, {\"watch\": %llu, %s}]", msgid,
             (unsigned long long) watch, rest);
    answer_expected(f, client, text);
    return watch;
}

static void event_expected(fixture_t *f, char client, uint64_t watch, const char *rest) {
    char text[1024];
    snprintf(text, sizeof text, "[2, \"event\", [{\"watch\": %llu, %s}]]",
             (unsigned long long) watch, rest);
    answer_expected(f, client, text);
}

static void watch_says(fixture_t *f, char client, const char *format, uint64_t watch) {
    char text[128];
    snprintf(text, sizeof text, format, (unsigned long long) watch);
    client_sends(f, client, text);
}

#define CREDIT(n) "[2, \"credit\", [%llu, " #n "]]"
#define CANCEL "[0, 9, \"watch_cancel\", [%llu]]"

/* Sends the request; the token of its query. */
static uint64_t query_sent(fixture_t *f, char client, const char *request) {
    client_sends(f, client, request);
    turn(f);
    message_t *query = fake_post_find(&f->post, MESSAGE_QUERY);
    assert_non_null(query);
    uint64_t token = query_token(query);
    fake_post_skip(&f->post);
    return token;
}

/* A watch that begins at `revision`, where storage is. */
static uint64_t watch_begins(fixture_t *f, char client, const char *request, uint64_t revision) {
    char outcome[160], rest[128];
    uint64_t token = query_sent(f, client, request);
    storage_is_at(f, revision);
    snprintf(rest, sizeof rest, "\"next\": %u, \"revision\": %u, \"pairs\": []",
             (unsigned) revision + 1, (unsigned) revision);
    snprintf(outcome, sizeof outcome, "nil {\"next\": %u, \"view\": 0, %s}",
             (unsigned) revision + 1, strchr(rest, ',') + 2);
    answer_comes(f, token, outcome);
    return watch_expected(f, client, 1, rest);
}

#define WATCH_K "[0, 1, \"watch\", [\"k\"]]"
#define WATCH_K_10 "[0, 1, \"watch\", [\"k\", {\"from\": 10}]]"
#define TREE_A "[0, 1, \"watch_tree\", [\"a/\"]]"
#define POLL_K_10 "[0, 1, \"watch\", [\"k\", {\"from\": 10, \"wait_ms\": 60000}]]"
#define FROM_10 "nil {\"next\": 10, \"view\": 0, \"revision\": 20, \"pairs\": []}"

/* ---- streams ---- */

static void a_stream_begins_and_ends(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', WATCH_K);
    subscribe_expected(f, true); /* before the query: no change gets lost in between */
    turn(f);
    uint64_t token = query_token(fake_post_expect(&f->post, MESSAGE_QUERY));
    storage_is_at(f, 5);
    answer_comes(f, token,
                 "nil {\"next\": 6, \"view\": 0, \"revision\": 5, \"pairs\": [{\"key\": \"k\"}]}");
    uint64_t watch =
        watch_expected(f, 'A', 1, "\"next\": 6, \"revision\": 5, \"pairs\": [{\"key\": \"k\"}]");
    change_comes(f, 6, EVENT("k", 6));
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 6) "], \"next\": 7");
    change_comes(f, 7, EVENT("other", 7));
    no_answer_expected(f);
    watch_says(f, 'B', CANCEL, watch); /* not B's */
    answer_expected(f, 'B', "[1, 9, nil, {}]");
    change_comes(f, 8, EVENT("k", 8));
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 8) "], \"next\": 9");
    watch_says(f, 'A', CANCEL, watch);
    answer_expected(f, 'A', "[1, 9, nil, {}]");
    change_comes(f, 9, EVENT("k", 9));
    watch_says(f, 'A', CREDIT(5), watch);
    no_answer_expected(f);
    watch_says(f, 'A', CANCEL, watch);
    answer_expected(f, 'A', "[1, 9, nil, {}]");
}

static void trees_hear_what_is_below_them(void **state) {
    fixture_t *f = *state;
    uint64_t a = watch_begins(f, 'A', TREE_A, 5);
    uint64_t all = watch_begins(f, 'B', "[0, 1, \"watch_tree\", [\"\"]]", 5);
    uint64_t deep = watch_begins(f, 'C', "[0, 1, \"watch_tree\", [\"a/b//\"]]", 5);
    change_comes(f, 6, EVENT("a/b//c", 6));
    event_expected(f, 'C', deep, "\"events\": [" EVENT("a/b//c", 6) "], \"next\": 7");
    event_expected(f, 'A', a, "\"events\": [" EVENT("a/b//c", 6) "], \"next\": 7");
    event_expected(f, 'B', all, "\"events\": [" EVENT("a/b//c", 6) "], \"next\": 7");
    change_comes(f, 7, EVENT("ab", 7));
    event_expected(f, 'B', all, "\"events\": [" EVENT("ab", 7) "], \"next\": 8");
    change_comes(f, 8, EVENT("a", 8));
    event_expected(f, 'B', all, "\"events\": [" EVENT("a", 8) "], \"next\": 9");
    change_comes(f, 9, EVENT("a/", 9));
    event_expected(f, 'A', a, "\"events\": [" EVENT("a/", 9) "], \"next\": 10");
    event_expected(f, 'B', all, "\"events\": [" EVENT("a/", 9) "], \"next\": 10");
    no_answer_expected(f);
}

static void a_turns_changes_come_in_one_notification(void **state) {
    fixture_t *f = *state;
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 5);
    const uint64_t revisions[] = {6, 7, 8};
    const char *const events[] = {EVENT("k", 6), EVENT("x", 7), EVENT("k", 8)};
    changes_come(f, 5, 9, 3, revisions, events);
    event_expected(f, 'A', watch,
                   "\"events\": [" EVENT("k", 6) ", " EVENT("k", 8) "], \"next\": 10");
    no_answer_expected(f);
}

/* Large ones are divided, but never within a revision. */
static void notifications_end_between_revisions(void **state) {
    fixture_t *f = *state;
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 5);
    static const char large[] = "{\"type\": \"put\", \"key\": \"k\", \"value\": \"x\"*100000}";
    const uint64_t revisions[] = {6, 6, 6, 7};
    const char *const events[] = {large, large, large, EVENT("k", 7)};
    changes_come(f, 5, 7, 4, revisions, events);
    assert_int_equal(f->answer_count - f->answer_at, 2);
    assert_true(f->answers[f->answer_at].bytes.size > 300000);
    f->answer_at++;
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 7) "], \"next\": 8");
}

/* ---- credit ---- */

/* 64 changes of "k", from revision 6 on, each told to every watch there is; the answers are
 * forgotten, as the fixture has not room for so many. */
static void credit_spend(fixture_t *f) {
    size_t kept = f->answer_count, each = 0;
    for (unsigned i = 0; i < 64; i++) {
        change_comes(f, 6 + i, EVENT("k", 6));
        assert_true(f->answer_count > kept && (i == 0 || f->answer_count - kept == each));
        each = f->answer_count - kept;
        while (f->answer_count > kept) {
            given_answer_t *answer = &f->answers[--f->answer_count];
            buffer_free(&answer->bytes);
            memset(answer, 0, sizeof *answer);
        }
    }
}

static void a_watch_without_credit_keeps_its_place_alone(void **state) {
    fixture_t *f = *state;
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 5);
    credit_spend(f);
    change_comes(f, 70, EVENT("k", 70));
    change_comes(f, 71, EVENT("k", 71));
    turn(f);
    no_answer_expected(f);
    nothing_expected(f); /* and asks for nothing that it may not tell */
    watch_says(f, 'A', CREDIT(2), watch);
    turn(f);
    uint64_t token = question_expected(f, 70, false, "k");
    change_comes(f, 72, EVENT("k", 72)); /* storage may tell it, or not yet have told it */
    past_comes(f, token, 0, 72, 2, "[" EVENT("k", 70) ", " EVENT("k", 71) "]");
    event_expected(f, 'A', watch,
                   "\"events\": [" EVENT("k", 70) ", " EVENT("k", 71) "], \"next\": 72");
    turn(f);
    token = question_expected(f, 72, false, "k");
    past_comes(f, token, 0, 73, 1, "[" EVENT("k", 72) "]");
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 72) "], \"next\": 73");
    watch_says(f, 'A', CREDIT(1), watch); /* live again */
    turn(f);
    nothing_expected(f);
    change_comes(f, 73, EVENT("k", 73));
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 73) "], \"next\": 74");
    change_comes(f, 74, EVENT("k", 74));
    no_answer_expected(f);
}

static void what_concerns_it_not_needs_no_credit(void **state) {
    fixture_t *f = *state;
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 5);
    for (unsigned i = 0; i < 40; i++)
        change_comes(f, 6 + i, EVENT("other", 6));
    turn_at(f, f->now_ms + 10000);
    event_expected(f, 'A', watch, "\"events\": [], \"next\": 46");
    turn_at(f, f->now_ms + 9999);
    no_answer_expected(f);
    turn_at(f, f->now_ms + 1);
    event_expected(f, 'A', watch, "\"events\": [], \"next\": 46");
}

static void a_client_that_does_not_read_falls_behind(void **state) {
    fixture_t *f = *state;
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 5);
    f->refusing = 'A';
    f->refusing_code = DRAX_EAGAIN;
    change_comes(f, 6, EVENT("k", 6)); /* is kept, as an answer would be */
    change_comes(f, 7, EVENT("k", 7));
    change_comes(f, 8, EVENT("k", 8));
    turn_at(f, f->now_ms + 20000);
    turn(f);
    no_answer_expected(f);
    nothing_expected(f);
    f->refusing = 0;
    turn(f);
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 6) "], \"next\": 7");
    uint64_t token = question_expected(f, 7, false, "k");
    past_comes(f, token, 0, 9, 2, "[" EVENT("k", 7) ", " EVENT("k", 8) "]");
    event_expected(f, 'A', watch,
                   "\"events\": [" EVENT("k", 7) ", " EVENT("k", 8) "], \"next\": 9");
    no_answer_expected(f);
}

static void a_client_that_is_gone_frees_its_watches(void **state) {
    fixture_t *f = *state;
    watch_begins(f, 'A', WATCH_K, 5);
    watch_begins(f, 'A', TREE_A, 5);
    f->refusing = 'A';
    f->refusing_code = DRAX_ENOTFOUND;
    turn_at(f, f->now_ms + 10000); /* the idle notification finds out */
    f->refusing = 0;
    change_comes(f, 6, EVENT("k", 6));
    change_comes(f, 7, EVENT("a/b", 7));
    no_answer_expected(f);
    fake_post_skip(&f->post);
    turn_at(f, f->now_ms + 6000); /* nobody watches: storage need not tell */
    subscribe_expected(f, false);
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 9);
    change_comes(f, 10, EVENT("k", 10));
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 10) "], \"next\": 11");
}

/* ---- the past ---- */

static void from_the_past_to_the_present(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', WATCH_K_10);
    storage_is_at(f, 20);
    answer_comes(f, query, FROM_10);
    uint64_t watch = watch_expected(f, 'A', 1, "\"next\": 10, \"revision\": 20, \"pairs\": []");
    turn(f);
    uint64_t token = question_expected(f, 10, false, "k");
    change_comes(f, 21, EVENT("k", 21)); /* not its turn yet */
    no_answer_expected(f);
    past_comes(f, token, 0, 15, 1, "[" EVENT("k", 12) "]"); /* a short answer */
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 12) "], \"next\": 15");
    turn(f);
    token = question_expected(f, 15, false, "k");
    past_comes(f, token, 0, 18, 0, "[]"); /* nothing for it so far */
    no_answer_expected(f);
    turn(f);
    token = question_expected(f, 18, false, "k");
    past_comes(f, token, 0, 22, 1, "[" EVENT("k", 21) "]");
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 21) "], \"next\": 22");
    change_comes(f, 22, EVENT("k", 22));
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 22) "], \"next\": 23");
    turn(f);
    nothing_expected(f);
}

static void from_a_revision_to_come(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', WATCH_K_10);
    storage_is_at(f, 7);
    answer_comes(f, query, "nil {\"next\": 10, \"view\": 0, \"revision\": 7, \"pairs\": []}");
    uint64_t watch = watch_expected(f, 'A', 1, "\"next\": 10, \"revision\": 7, \"pairs\": []");
    turn(f);
    nothing_expected(f);
    change_comes(f, 8, EVENT("k", 8));
    no_answer_expected(f);
    turn_at(f, f->now_ms + 10000);
    event_expected(f, 'A', watch, "\"events\": [], \"next\": 10");
    const uint64_t revisions[] = {9, 10};
    const char *const events[] = {EVENT("k", 9), EVENT("k", 10)};
    changes_come(f, 8, 10, 2, revisions, events); /* begins before it */
    no_answer_expected(f);
    turn(f);
    uint64_t token = question_expected(f, 10, false, "k");
    past_comes(f, token, 0, 11, 1, "[" EVENT("k", 10) "]");
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 10) "], \"next\": 11");
    change_comes(f, 11, EVENT("k", 11));
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 11) "], \"next\": 12");
}

static void a_gap_is_asked_for(void **state) {
    fixture_t *f = *state;
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 5);
    storage_is_at(f, 8); /* a snapshot was installed */
    turn(f);
    uint64_t token = question_expected(f, 6, false, "k");
    past_comes(f, token, 0, 9, 1, "[" EVENT("k", 7) "]");
    event_expected(f, 'A', watch, "\"events\": [" EVENT("k", 7) "], \"next\": 9");
}

static void (*post_local)(void *self, actor_t to, message_t *message);

static void post_unarmed(void *self, actor_t to, message_t *message) {
    bool was = armed;
    armed = false;
    post_local(self, to, message);
    armed = was;
}

/* False: the question was asked with fewer allocations. */
static bool question_without_memory(unsigned refused) {
    void *state = NULL;
    assert_int_equal(fixture_new(&state), 0);
    fixture_t *f = state;
    uint64_t query = query_sent(f, 'B', WATCH_K_10);
    (void) watch_begins(f, 'A', WATCH_K, 20);
    answer_comes(f, query, FROM_10);
    uint64_t behind = watch_expected(f, 'B', 1, "\"next\": 10, \"revision\": 20, \"pairs\": []");
    post_local = f->post.post.local;
    f->post.post.local = post_unarmed;
    countdown = refused;
    armed = true;
    turn(f);
    armed = false;
    bool was_refused = countdown == 0;
    if (was_refused && !fake_post_waiting(&f->post, MESSAGE_HISTORY)) {
        assert_true(gateway_actor_ops.deadline(f->gateway, f->now_ms) <= f->now_ms);
        turn(f);
    }
    uint64_t token = question_expected(f, 10, false, "k");
    past_comes(f, token, 0, 21, 1, "[" EVENT("k", 12) "]");
    event_expected(f, 'B', behind, "\"events\": [" EVENT("k", 12) "], \"next\": 21");
    turn(f);
    nothing_expected(f);
    fixture_destroy(&state);
    return was_refused;
}

static void a_question_that_memory_fails_is_asked_again(void **state) {
    (void) state;
    unsigned refused = 1;
    while (question_without_memory(refused))
        refused++;
    assert_true(refused > 2);
}

static void another_raft_is_told_of_watches(void **state) {
    fixture_t *f = *state;
    gateway_actor_ops.neighbour(f->gateway, ACTOR_RAFT, f->now_ms);
    nothing_expected(f);
    watch_begins(f, 'A', WATCH_K, 20);
    gateway_actor_ops.neighbour(f->gateway, ACTOR_RAFT, f->now_ms);
    assert_true(fake_post_expect(&f->post, MESSAGE_SUBSCRIBE)->subscribe.on);
    nothing_expected(f);
}

static void another_storage_is_asked_again(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'B', WATCH_K_10);
    uint64_t live = watch_begins(f, 'A', WATCH_K, 20);
    answer_comes(f, query, FROM_10);
    uint64_t behind = watch_expected(f, 'B', 1, "\"next\": 10, \"revision\": 20, \"pairs\": []");
    turn(f);
    question_expected(f, 10, false, "k"); /* its answer is lost */
    gateway_actor_ops.neighbour(f->gateway, ACTOR_STORAGE, f->now_ms);
    turn(f);
    subscribe_expected(f, true);
    nothing_expected(f);  /* it must tell first where it is */
    storage_is_at(f, 15); /* and has to apply some of its log again */
    turn(f);
    uint64_t token = question_expected(f, 10, false, "k");
    past_comes(f, token, 0, 16, 1, "[" EVENT("k", 12) "]");
    event_expected(f, 'B', behind, "\"events\": [" EVENT("k", 12) "], \"next\": 16");
    const uint64_t revisions[] = {16, 20, 21};
    const char *const events[] = {EVENT("k", 16), EVENT("k", 20), EVENT("k", 21)};
    changes_come(f, 15, 20, 2, revisions, events);
    event_expected(f, 'B', behind,
                   "\"events\": [" EVENT("k", 16) ", " EVENT("k", 20) "], \"next\": 21");
    no_answer_expected(f); /* A heard of both before */
    changes_come(f, 20, 21, 1, revisions + 2, events + 2);
    given_answer_t *first = &f->answers[f->answer_at];
    char one = first->client;
    event_expected(f, one, one == 'A' ? live : behind,
                   "\"events\": [" EVENT("k", 21) "], \"next\": 22");
    event_expected(f, one == 'A' ? 'B' : 'A', one == 'A' ? behind : live,
                   "\"events\": [" EVENT("k", 21) "], \"next\": 22");
}

static void history_first_comes(fixture_t *f, uint64_t first) {
    message_t message = {.kind = MESSAGE_STORE_STATUS, .batch = {.seq = first, .revision = 30}};
    message_comes(f, ACTOR_STORAGE, &message);
}

static void compacted_is_told(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', WATCH_K_10);
    answer_comes(f, query, "[\"COMPACTED\", \"text\", {\"compacted\": 12}] nil");
    answer_expected(f, 'A', "[1, 1, [\"COMPACTED\", \"text\", {\"compacted\": 12}], nil]");
    query = query_sent(f, 'A', WATCH_K_10);
    storage_is_at(f, 20);
    answer_comes(f, query, FROM_10);
    uint64_t watch = watch_expected(f, 'A', 1, "\"next\": 10, \"revision\": 20, \"pairs\": []");
    turn(f);
    past_comes(f, question_expected(f, 10, false, "k"), 13, 10, 0, "[]");
    event_expected(f, 'A', watch, "\"compacted\": 13, \"events\": []");
    watch_says(f, 'A', CREDIT(1), watch); /* it is no more */
    turn(f);
    nothing_expected(f);
}

static void compacted_needs_no_credit(void **state) {
    fixture_t *f = *state;
    uint64_t watch = watch_begins(f, 'A', WATCH_K, 5);
    uint64_t other = watch_begins(f, 'B', WATCH_K, 5);
    watch_says(f, 'B', CREDIT(1), other);
    credit_spend(f);
    change_comes(f, 70, EVENT("k", 70));
    event_expected(f, 'B', other, "\"events\": [" EVENT("k", 70) "], \"next\": 71");
    history_first_comes(f, 70);
    no_answer_expected(f);
    history_first_comes(f, 71);
    event_expected(f, 'A', watch, "\"compacted\": 71, \"events\": []");
    no_answer_expected(f);
}

/* ---- first pairs in pages ---- */

static void pairs_come(fixture_t *f, uint64_t watch, bool more, const char *pair) {
    buffer_t batch = {0}, bytes = {0}, packed = {0};
    text_msgpack(&packed, pair);
    past_answer_t answer = {0, 6, more, 1, {packed.data, packed.size}};
    past_answer_write(&bytes, &answer);
    batch_begin(&batch, 1);
    batch_add(&batch, watch, (slice_t){bytes.data, bytes.size});
    message_t message = {.kind = MESSAGE_PAST};
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    buffer_free(&bytes);
    buffer_free(&packed);
    message_comes(f, ACTOR_STORAGE, &message);
}

static void page_expected(fixture_t *f, uint64_t view, past_kind_t kind) {
    message_t *message = fake_post_expect(&f->post, MESSAGE_HISTORY);
    batch_t batch;
    past_question_t question;
    uint64_t token;
    slice_t bytes;
    assert_int_equal(batch_open(&batch, payload_slice(message->batch.payload)), 0);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch_next(&batch, &token, &bytes), 1);
    assert_int_equal(past_question_read(&question, bytes), 0);
    assert_int_equal(question.kind, kind);
    assert_int_equal(question.from, view);
}

#define IN_VIEW_77                                                                                 \
    "nil {\"next\": 6, \"view\": 77, \"revision\": 5, \"pairs\": [1], \"more\": true}"
#define BEGUN_77 "\"next\": 6, \"revision\": 5, \"pairs\": [1], \"more\": true"

static void first_pairs_come_before_events(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', TREE_A);
    storage_is_at(f, 5);
    answer_comes(f, query, IN_VIEW_77);
    uint64_t watch = watch_expected(f, 'A', 1, BEGUN_77);
    turn(f);
    page_expected(f, 77, PAST_PAGE);
    change_comes(f, 6, EVENT("a/x", 6));
    no_answer_expected(f);
    pairs_come(f, watch, true, "2");
    event_expected(f, 'A', watch, "\"pairs\": [2], \"more\": true");
    turn(f);
    page_expected(f, 77, PAST_PAGE);
    storage_is_at(f, 7); /* a gap does not make it live either */
    pairs_come(f, watch, false, "3");
    event_expected(f, 'A', watch, "\"pairs\": [3], \"more\": false");
    turn(f);
    uint64_t token = question_expected(f, 6, true, "a/");
    past_comes(f, token, 0, 8, 1, "[" EVENT("a/x", 6) "]");
    event_expected(f, 'A', watch, "\"events\": [" EVENT("a/x", 6) "], \"next\": 8");
    change_comes(f, 8, EVENT("a/y", 8));
    event_expected(f, 'A', watch, "\"events\": [" EVENT("a/y", 8) "], \"next\": 9");
    watch_says(f, 'A', CANCEL, watch);
    turn(f);
    nothing_expected(f); /* storage ended the view by itself */
}

static void a_view_ends_with_its_watch(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', TREE_A);
    storage_is_at(f, 5);
    answer_comes(f, query, IN_VIEW_77);
    uint64_t watch = watch_expected(f, 'A', 1, BEGUN_77);
    turn(f);
    page_expected(f, 77, PAST_PAGE);
    watch_says(f, 'A', CANCEL, watch);
    answer_expected(f, 'A', "[1, 9, nil, {}]");
    turn(f);
    page_expected(f, 77, PAST_END);
    pairs_come(f, watch, true, "2"); /* was under way */
    no_answer_expected(f);
}

static void pages_need_credit_and_are_kept_for_a_slow_reader(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', TREE_A);
    storage_is_at(f, 5);
    answer_comes(f, query, IN_VIEW_77);
    uint64_t watch = watch_expected(f, 'A', 1, BEGUN_77);
    size_t kept = f->answer_count;
    for (unsigned i = 0; i < 64; i++) {
        turn(f);
        page_expected(f, 77, PAST_PAGE);
        pairs_come(f, watch, true, "2");
        assert_int_equal(f->answer_count, kept + 1);
        buffer_free(&f->answers[kept].bytes);
        memset(&f->answers[kept], 0, sizeof f->answers[kept]);
        f->answer_count = kept;
    }
    turn(f);
    nothing_expected(f);
    watch_says(f, 'A', CREDIT(2), watch);
    turn(f);
    page_expected(f, 77, PAST_PAGE);
    f->refusing = 'A';
    f->refusing_code = DRAX_EAGAIN;
    pairs_come(f, watch, true, "2");
    turn(f);
    nothing_expected(f);
    f->refusing = 0;
    turn(f);
    event_expected(f, 'A', watch, "\"pairs\": [2], \"more\": true");
    page_expected(f, 77, PAST_PAGE);
    past_comes(f, watch, 9, 0, 0, "[]"); /* another storage does not know the view */
    event_expected(f, 'A', watch, "\"compacted\": 9, \"events\": []");
}

/* ---- polls ---- */

static void a_poll_waits_for_a_change(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', POLL_K_10);
    storage_is_at(f, 9);
    answer_comes(f, query, "nil {\"next\": 10, \"view\": 0, \"revision\": 9, \"pairs\": []}");
    no_answer_expected(f);
    turn_at(f, f->now_ms + 59999); /* longer than other requests may take */
    change_comes(f, 10, EVENT("other", 10));
    no_answer_expected(f);
    change_comes(f, 11, EVENT("k", 11));
    answer_expected(
        f, 'A', "[1, 1, nil, {\"events\": [" EVENT("k", 11) "], \"next\": 12, \"revision\": 11}]");
    change_comes(f, 12, EVENT("k", 12));
    turn_at(f, f->now_ms + 60000);
    no_answer_expected(f);
}

static void a_polls_time_is_up(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', POLL_K_10);
    storage_is_at(f, 9);
    answer_comes(f, query, "nil {\"next\": 10, \"view\": 0, \"revision\": 9, \"pairs\": []}");
    change_comes(f, 10, EVENT("other", 10));
    turn_at(f, f->now_ms + 60000); /* perhaps 59,999.1 ms later */
    no_answer_expected(f);
    turn_at(f, f->now_ms + 1);
    answer_expected(f, 'A', "[1, 1, nil, {\"events\": [], \"next\": 11, \"revision\": 10}]");
}

static void a_poll_finds_what_happened_before(void **state) {
    fixture_t *f = *state;
    uint64_t query =
        query_sent(f, 'A', "[0, 1, \"watch\", [\"k\", {\"from\": 10, \"wait_ms\": 0}]]");
    storage_is_at(f, 20);
    answer_comes(f, query, FROM_10);
    turn(f); /* its time is up already, but the answer is at hand */
    no_answer_expected(f);
    past_comes(f, question_expected(f, 10, false, "k"), 0, 15, 0, "[]");
    turn(f);
    past_comes(f, question_expected(f, 15, false, "k"), 0, 21, 1, "[" EVENT("k", 19) "]");
    answer_expected(
        f, 'A', "[1, 1, nil, {\"events\": [" EVENT("k", 19) "], \"next\": 21, \"revision\": 20}]");
    query = query_sent(f, 'A', "[0, 1, \"watch\", [\"k\", {\"from\": 10, \"wait_ms\": 0}]]");
    answer_comes(f, query, FROM_10);
    turn(f);
    past_comes(f, question_expected(f, 10, false, "k"), 0, 21, 0, "[]");
    answer_expected(f, 'A', "[1, 1, nil, {\"events\": [], \"next\": 21, \"revision\": 20}]");
    query = query_sent(f, 'A', "[0, 1, \"watch\", [\"k\", {\"from\": 10, \"wait_ms\": 0}]]");
    answer_comes(f, query, FROM_10);
    turn(f);
    turn_at(f, f->now_ms + 5000); /* storage does not answer */
    answer_expected(f, 'A', "[1, 1, nil, {\"events\": [], \"next\": 10, \"revision\": 20}]");
}

static void a_poll_without_from_is_a_read(void **state) {
    fixture_t *f = *state;
    client_sends(f, 'A', "[0, 1, \"watch\", [\"k\", {\"wait_ms\": 60000}]]");
    turn(f);
    uint64_t token = query_token(fake_post_expect(&f->post, MESSAGE_QUERY)); /* no SUBSCRIBE */
    answer_comes(f, token, "nil {\"next\": 6, \"pairs\": [], \"events\": []}");
    answer_expected(f, 'A', "[1, 1, nil, {\"next\": 6, \"pairs\": [], \"events\": []}]");
}

static void polls_end_when_the_node_stops(void **state) {
    fixture_t *f = *state;
    uint64_t query = query_sent(f, 'A', POLL_K_10);
    storage_is_at(f, 9);
    answer_comes(f, query, "nil {\"next\": 10, \"view\": 0, \"revision\": 9, \"pairs\": []}");
    uint64_t late = query_sent(f, 'B', POLL_K_10);
    gateway_actor_ops.stop(f->gateway, f->now_ms);
    error_expected(f, 'A', 1, "UNAVAILABLE");
    answer_comes(f, late, FROM_10);
    error_expected(f, 'B', 1, "UNAVAILABLE");
    assert_true(gateway_actor_ops.stopped(f->gateway));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_destroy)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_stream_begins_and_ends),
        TEST(trees_hear_what_is_below_them),
        TEST(a_turns_changes_come_in_one_notification),
        TEST(notifications_end_between_revisions),
        TEST(a_watch_without_credit_keeps_its_place_alone),
        TEST(what_concerns_it_not_needs_no_credit),
        TEST(a_client_that_does_not_read_falls_behind),
        TEST(a_client_that_is_gone_frees_its_watches),
        TEST(from_the_past_to_the_present),
        TEST(from_a_revision_to_come),
        TEST(a_gap_is_asked_for),
        TEST(another_raft_is_told_of_watches),
        TEST(another_storage_is_asked_again),
        cmocka_unit_test(a_question_that_memory_fails_is_asked_again),
        TEST(compacted_is_told),
        TEST(compacted_needs_no_credit),
        TEST(first_pairs_come_before_events),
        TEST(a_view_ends_with_its_watch),
        TEST(pages_need_credit_and_are_kept_for_a_slow_reader),
        TEST(a_poll_waits_for_a_change),
        TEST(a_polls_time_is_up),
        TEST(a_poll_finds_what_happened_before),
        TEST(a_poll_without_from_is_a_read),
        TEST(polls_end_when_the_node_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
