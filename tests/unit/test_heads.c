/* test_heads.c: what is kept of keys is right, or nothing is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "message_random.h"
#include "store/heads.h"

#define KEYS 1000u

static slice_t key_of(unsigned number, char text[80]) {
    snprintf(text, 80, "k%0*u", number % 2 ? 8 : (int) HEADS_KEY_BYTES - 1, number);
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

static record_t record_of(uint64_t index) {
    return (record_t){.index = index, .created = index / 2, .version = index % 7, .hash = ~index};
}

static bool record_known(const heads_t *heads, slice_t key, uint64_t index) {
    record_t found, made = record_of(index);
    if (!heads_find(heads, key, &found))
        return false;
    assert_true(found.index == made.index && found.created == made.created);
    assert_true(found.version == made.version && found.hash == made.hash);
    assert_true(!found.due_ms && !found.lease && !found.locked && !found.value.size);
    return true;
}

/* A key that was removed is not known, and one that is known is as it was put last. */
static void nothing_wrong_is_kept(void **unused) {
    (void) unused;
    heads_t heads = {.places = NULL};
    uint64_t newest[KEYS] = {0}; /* 0: removed */
    uint64_t seed = 3;
    size_t found = 0;
    char text[80];
    for (uint64_t turn = 1; turn <= 50000; turn++) {
        unsigned number = (unsigned) (random_next(&seed) % KEYS);
        slice_t key = key_of(number, text);
        bool known = record_known(&heads, key, newest[number]);
        assert_true(!known || newest[number]);
        found += known;
        record_t record = record_of(turn);
        newest[number] = turn;
        if (turn % 10 == 0)
            record.due_ms = turn;
        if (turn % 10 == 1)
            record.lease = turn;
        if (turn % 10 < 2)
            newest[number] = 0;
        if (turn % 10 == 2) {
            heads_remove(&heads, key);
            newest[number] = 0;
        } else {
            heads_put(&heads, key, &record);
        }
    }
    assert_true(found > 20000); /* most of them */
    heads_free(&heads);
}

static void long_keys_are_not_kept(void **unused) {
    (void) unused;
    heads_t heads = {.places = NULL};
    uint8_t bytes[HEADS_KEY_BYTES + 1] = {'k'};
    slice_t longest = {bytes, HEADS_KEY_BYTES}, longer = {bytes, sizeof bytes};
    record_t record = record_of(1), found;
    heads_put(&heads, longer, &record);
    heads_remove(&heads, longer);
    assert_false(heads_find(&heads, longer, &found));
    heads_put(&heads, longest, &record);
    assert_true(record_known(&heads, longest, 1));
    heads_free(&heads);
}

static void places_are_bounded(void **unused) {
    (void) unused;
    heads_t heads = {.places = NULL};
    char text[80];
    for (unsigned i = 0; i < 3 * HEADS_MOST; i++) {
        record_t record = record_of(i);
        heads_put(&heads, key_of(i, text), &record);
        assert_true(record_known(&heads, key_of(i, text), i));
    }
    assert_int_equal(heads.count, HEADS_MOST);
    assert_true(heads.taken <= HEADS_MOST && heads.taken > HEADS_MOST / 2);
    heads_free(&heads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_wrong_is_kept),
        cmocka_unit_test(long_keys_are_not_kept),
        cmocka_unit_test(places_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
