/* test_watches.c: the tables of watches: which of them a key concerns, what is due first, and how
 * many there may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/watches.h"
#include "broker/limits.h"

#define SEED 1000u

typedef struct {
    pendings_t *pendings;
    watches_t *watches;
} fixture_t;

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    *state = f;
    int rc = pendings_new(&f->pendings, SEED);
    return rc ? rc : watches_new(&f->watches, SEED);
}

static int teardown(void **state) {
    fixture_t *f = *state;
    watches_destroy(&f->watches);
    pendings_destroy(&f->pendings);
    free(f);
    return 0;
}

/* Of the connection called `client`, with an envelope of `more` bytes besides its name. */
static envelope_t *envelope_make(uint16_t client, size_t more) {
    envelope_t *envelope = calloc(1, sizeof *envelope + 4 + more);
    assert_non_null(envelope);
    envelope->size = (uint32_t) (4 + more);
    envelope->id_size = 2;
    envelope->bytes[0] = 2;
    memcpy(envelope->bytes + 2, &client, 2);
    return envelope;
}

static watch_t *open_of(fixture_t *f, uint16_t client, bool tree, const char *key, size_t more) {
    envelope_t *envelope = envelope_make(client, more);
    account_t *account = pendings_account(f->pendings, envelope);
    assert_non_null(account);
    watch_spec_t spec = {
        .tree = tree, .key = {(const uint8_t *) key, strlen(key)}, .credit = 1, .due_ms = 100};
    watch_t *watch = watches_open(f->watches, &spec, account, &envelope);
    assert_int_equal(envelope == NULL, watch != NULL);
    free(envelope);
    return watch;
}

static void text_add(void *hint, watch_group_t *group) {
    char *text = hint;
    size_t at = strlen(text);
    snprintf(text + at, 256 - at, "%c%.*s ", group->tree ? '*' : '=', (int) group->key_size,
             (const char *) group->key);
}

static void match_expected(fixture_t *f, const char *key, const char *wanted) {
    char text[256] = "";
    watches_match(f->watches, (slice_t){(const uint8_t *) key, strlen(key)}, text_add, text);
    assert_string_equal(text, wanted);
}

static void a_key_concerns_itself_and_what_is_above_it(void **state) {
    fixture_t *f = *state;
    static const char *const keys[] = {"a", "a/b", "a/b/", "ab"};
    static const char *const trees[] = {"", "a/", "a/b/", "a//", "b/"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_non_null(open_of(f, 1, false, keys[i], 0));
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++)
        assert_non_null(open_of(f, 1, true, trees[i], 0));
    match_expected(f, "a", "* =a ");
    match_expected(f, "a/b", "* *a/ =a/b ");
    match_expected(f, "a/b/", "* *a/ *a/b/ =a/b/ ");
    match_expected(f, "a/b/c", "* *a/ *a/b/ ");
    match_expected(f, "a//c", "* *a/ *a// ");
    match_expected(f, "ab", "* =ab ");
    match_expected(f, "/a", "* ");
}

/* The table grows; a group stays as long as one of its watches does. */
static void groups_go_with_their_last_watch(void **state) {
    fixture_t *f = *state;
    watch_t *watches[600];
    char key[16];
    for (int i = 0; i < 600; i++) {
        snprintf(key, sizeof key, "k%d", i / 2);
        watches[i] = open_of(f, 1, false, key, 0);
        assert_non_null(watches[i]);
    }
    for (int i = 0; i < 600; i += 2)
        watches_close(f->watches, watches[i]);
    match_expected(f, "k0", "=k0 ");
    match_expected(f, "k299", "=k299 ");
    for (int i = 1; i < 600; i += 2)
        watches_close(f->watches, watches[i]);
    match_expected(f, "k0", "");
    match_expected(f, "k299", "");
    assert_int_equal(watches_count(f->watches), 0);
    assert_null(watches_first_due(f->watches));
}

static void what_is_due_first_comes_first(void **state) {
    fixture_t *f = *state;
    watch_t *one = open_of(f, 1, false, "k", 0), *other = open_of(f, 1, false, "k", 0);
    assert_ptr_equal(watches_first_due(f->watches), one); /* equal: by age */
    watches_due_set(f->watches, one, 300);
    assert_ptr_equal(watches_first_due(f->watches), other);
    watches_due_set(f->watches, other, 301);
    assert_ptr_equal(watches_first_due(f->watches), one);
    assert_ptr_equal(watches_find(f->watches, other->id), other);
    assert_ptr_equal(watches_first(f->watches), one);
    assert_ptr_equal(watches_next(f->watches, one), other);
    assert_null(watches_find(f->watches, other->id + 1));
    assert_int_equal(watches_count_behind(f->watches), 2);
    watches_state_set(f->watches, one, WATCH_LIVE);
    watches_state_set(f->watches, one, WATCH_LIVE);
    assert_int_equal(watches_count_behind(f->watches), 1);
    assert_int_equal(one->group->live, 1);
    watches_close(f->watches, one);
    assert_int_equal(other->group->live, 0);
    assert_int_equal(watches_count_behind(f->watches), 1);
}

static void a_connection_has_so_many(void **state) {
    fixture_t *f = *state;
    watch_t *last = NULL;
    for (unsigned i = 0; i < LIMIT_CLIENT_WATCHES; i++)
        assert_non_null(last = open_of(f, 1, false, "k", 0));
    assert_null(open_of(f, 1, false, "k", 0));
    assert_non_null(open_of(f, 2, false, "k", 0));
    watches_close(f->watches, last);
    assert_non_null(open_of(f, 1, false, "k", 0));
}

static void a_gateway_has_so_many(void **state) {
    fixture_t *f = *state;
    for (unsigned i = 0; i < LIMIT_GATEWAY_WATCHES; i++)
        assert_non_null(open_of(f, (uint16_t) (1 + i / LIMIT_CLIENT_WATCHES), false, "k", 0));
    assert_null(open_of(f, 9, false, "k", 0));
}

/* Large envelopes and keys count. */
static void watches_have_so_much_memory(void **state) {
    fixture_t *f = *state;
    char key[LIMIT_KEY_BYTES + 1];
    memset(key, 'k', LIMIT_KEY_BYTES);
    key[LIMIT_KEY_BYTES] = '\0';
    unsigned count = 0;
    while (open_of(f, 1, false, key, 4000))
        count++;
    assert_true(count >= LIMIT_GATEWAY_WATCH_BYTES / 8800);
    assert_true(count <= LIMIT_GATEWAY_WATCH_BYTES / 8000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_key_concerns_itself_and_what_is_above_it),
        TEST(groups_go_with_their_last_watch),
        TEST(what_is_due_first_comes_first),
        TEST(a_connection_has_so_many),
        TEST(a_gateway_has_so_many),
        TEST(watches_have_so_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
