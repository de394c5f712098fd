/* test_heads.c: what is kept of keys is right, or nothing is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "message_random.h"
#include "store/heads.h"

#define KEYS 1000u

static slice_t key_of(unsigned number, char text[HEADS_KEY_BYTES + 1]) {
    int digits = number % 64 ? 8 : (int) HEADS_KEY_BYTES - 1; /* a few are as long as can be */
    snprintf(text, HEADS_KEY_BYTES + 1, "k%0*u", digits, number);
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

static record_t record_of(uint64_t index) {
    return (record_t){.index = index,
                      .created = index / 2,
                      .version = index % 7,
                      .hash = ~index,
                      .due_ms = index % 10 ? 0 : index,
                      .lease = index % 11 ? 0 : index,
                      .locked = index % 22 == 0};
}

static bool record_known(const heads_t *heads, slice_t key, uint64_t index) {
    record_t found, made = record_of(index);
    if (heads_find(heads, key, &found))
        return false;
    assert_true(found.index == made.index && found.created == made.created);
    assert_true(found.version == made.version && found.hash == made.hash);
    assert_true(found.due_ms == made.due_ms && found.lease == made.lease);
    assert_true(found.locked == made.locked && !found.value.size);
    return true;
}

static void record_keep(heads_t *heads, slice_t key, uint64_t index) {
    record_t record = record_of(index);
    heads_put(heads, key, &record);
}

/* A key that was removed is not known, and one that is known is as it was put last. */
static void nothing_wrong_is_kept(void **unused) {
    (void) unused;
    heads_t heads = {.memory = NULL};
    uint64_t newest[KEYS] = {0}; /* 0: removed */
    uint64_t seed = 3;
    size_t found = 0, there = 0;
    char text[HEADS_KEY_BYTES + 1];
    for (uint64_t turn = 1; turn <= 50000; turn++) {
        unsigned number = (unsigned) (random_next(&seed) % KEYS);
        slice_t key = key_of(number, text);
        bool known = record_known(&heads, key, newest[number]);
        assert_true(!known || newest[number]);
        found += known;
        there += newest[number] != 0;
        newest[number] = turn % 10 == 2 ? 0 : turn;
        if (turn % 10 == 2)
            heads_remove(&heads, key);
        else
            record_keep(&heads, key, turn);
    }
    assert_true(found > there / 100 * 98);
    heads_free(&heads);
    assert_false(record_known(&heads, key_of(0, text), 0));
}

static void long_keys_are_not_kept(void **unused) {
    (void) unused;
    heads_t heads = {.memory = NULL};
    uint8_t bytes[HEADS_KEY_BYTES + 1] = {'k'};
    slice_t longest = {bytes, HEADS_KEY_BYTES}, longer = {bytes, sizeof bytes};
    record_t record = record_of(1), found;
    heads_put(&heads, longer, &record);
    heads_remove(&heads, longer);
    assert_int_equal(heads_find(&heads, longer, &found), DRAX_EAGAIN);
    heads_put(&heads, longest, &record);
    assert_true(record_known(&heads, longest, 1));
    heads_free(&heads);
}

/* The largest head there can be still has room. */
static void large_numbers_are_kept(void **unused) {
    (void) unused;
    heads_t heads = {.memory = NULL};
    uint8_t bytes[HEADS_KEY_BYTES] = {'k'};
    slice_t key = {bytes, sizeof bytes};
    record_t record = {.index = UINT64_MAX,
                       .created = UINT64_MAX,
                       .version = UINT64_MAX,
                       .hash = UINT64_MAX,
                       .due_ms = UINT64_MAX,
                       .lease = UINT64_MAX >> 1},
             found;
    for (unsigned i = 0; i < 100; i++) {
        bytes[1] = (uint8_t) i;
        heads_put(&heads, key, &record);
        assert_int_equal(heads_find(&heads, key, &found), 0);
        assert_true(found.index == UINT64_MAX && found.lease == UINT64_MAX >> 1);
    }
    heads_free(&heads);
}

/* As keys come the table grows, and forgets few of them over it. */
static void few_are_forgotten_while_it_grows(void **unused) {
    (void) unused;
    enum { MANY = 300000 };
    heads_t heads = {.memory = NULL};
    char text[HEADS_KEY_BYTES + 1];
    size_t known = 0;
    for (unsigned i = 0; i < MANY; i++)
        record_keep(&heads, key_of(i, text), i);
    for (unsigned i = 0; i < MANY; i++)
        known += record_known(&heads, key_of(i, text), i);
    assert_true(known > MANY / 100 * 93);
    assert_true(heads.bytes < HEADS_LEAST_BYTES / 2);
    heads_free(&heads);
}

/* Of few keys there are never more bytes than HEADS_LEAST_BYTES; what is written again and again
 * stays. */
static void bytes_are_bounded(void **unused) {
    (void) unused;
    enum { MANY = 2000000, HOT = 100, TURN = 20000 };
    heads_t heads = {.memory = NULL};
    char text[HEADS_KEY_BYTES + 1];
    size_t most = 0, hot = 0, old = 0;
    for (unsigned i = 0; i < MANY; i++) {
        record_keep(&heads, key_of(i, text), i);
        assert_true(record_known(&heads, key_of(i, text), i));
        most = heads.bytes > most ? heads.bytes : most;
        if (i % TURN == 0)
            for (unsigned j = 0; j < HOT; j++)
                record_keep(&heads, key_of(j, text), j);
    }
    assert_true(most <= HEADS_LEAST_BYTES && most > HEADS_LEAST_BYTES / 8 * 7);
    for (unsigned j = 0; j < HOT; j++) {
        hot += record_known(&heads, key_of(j, text), j);
        old += record_known(&heads, key_of(HOT + j, text), HOT + j);
    }
    assert_int_equal(hot, HOT);
    assert_int_equal(old, 0);
    heads_free(&heads);
}

static size_t known_count(const heads_t *heads, unsigned keys) {
    char text[HEADS_KEY_BYTES + 1];
    size_t known = 0;
    for (unsigned i = 0; i < keys; i++)
        known += record_known(heads, key_of(i, text), i);
    return known;
}

/* Of as many keys as are expected nearly all are known; when they are far fewer, memory is given
 * back. */
static void memory_follows_the_keys(void **unused) {
    (void) unused;
    enum { MANY = 1500000 };
    heads_t heads = {.memory = NULL};
    char text[HEADS_KEY_BYTES + 1];
    heads_expect(&heads, MANY);
    for (unsigned i = 0; i < MANY; i++)
        record_keep(&heads, key_of(i, text), i);
    assert_true(heads.bytes > HEADS_LEAST_BYTES);
    heads_expect(&heads, STATE_FEW_KEYS);
    assert_non_null(heads.memory);
    heads_expect(&heads, UINT64_MAX / HEADS_BYTES_A_KEY); /* more than there can be memory for */
    assert_non_null(heads.memory);
    for (unsigned i = MANY; i < 2 * MANY; i++)
        record_keep(&heads, key_of(i, text), i);
    heads_expect(&heads, STATE_FEW_KEYS);
    assert_null(heads.memory);
    record_keep(&heads, key_of(1, text), 1);
    assert_int_equal(known_count(&heads, MANY), 1);
    heads_free(&heads);
}

/* ---- what is known of keys without a head ---- */

#define MODEL_KEYS 1000000u

typedef struct model {
    heads_t heads;
    uint64_t *newest; /* of each key; 0: it does not exist */
    uint64_t turn, seed;
} model_t;

static void model_open(model_t *self) {
    *self = (model_t){.newest = calloc(MODEL_KEYS, sizeof *self->newest), .seed = 11};
    assert_non_null(self->newest);
}

static void model_close(model_t *self) {
    heads_free(&self->heads);
    free(self->newest);
}

static void model_put(model_t *self, unsigned number) {
    char text[HEADS_KEY_BYTES + 1];
    self->newest[number] = ++self->turn;
    record_keep(&self->heads, key_of(number, text), self->turn);
}

/* Puts of `count` random keys among the first `keys`, a tenth of them deletes. */
static void model_run(model_t *self, unsigned keys, unsigned count) {
    char text[HEADS_KEY_BYTES + 1];
    for (unsigned i = 0; i < count; i++) {
        unsigned number = (unsigned) (random_next(&self->seed) % keys);
        if (i % 10) {
            model_put(self, number);
        } else {
            heads_remove(&self->heads, key_of(number, text));
            self->newest[number] = 0;
        }
    }
}

/* Nothing wrong is said of any key; of how many nothing is. */
static size_t model_unknown(const model_t *self) {
    char text[HEADS_KEY_BYTES + 1];
    size_t unknown = 0;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        record_t found;
        int rc = heads_find(&self->heads, key_of(i, text), &found);
        assert_true(rc == 0 || rc == DRAX_ENOTFOUND || rc == DRAX_EAGAIN);
        assert_false(rc == DRAX_ENOTFOUND && self->newest[i]);
        assert_false(rc == 0 && found.index != self->newest[i]);
        unknown += rc == DRAX_EAGAIN;
    }
    return unknown;
}

/* Offers all keys there are, while some are written. */
static void model_read(model_t *self, unsigned keys) {
    char text[HEADS_KEY_BYTES + 1];
    heads_reading_begin(&self->heads);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        record_t record = record_of(self->newest[i]);
        if (self->newest[i])
            heads_offer(&self->heads, key_of(i, text), &record);
        if (i % 4 == 0)
            model_run(self, keys, 1);
    }
    heads_reading_end(&self->heads);
}

/* All of few keys is known from the beginning, however the table grew. */
static void what_was_never_put_is_known(void **unused) {
    (void) unused;
    model_t model;
    model_open(&model);
    assert_int_equal(model_unknown(&model), 0);
    for (unsigned i = 0; i < MODEL_KEYS / 4; i++)
        model_put(&model, i);
    assert_true(model_unknown(&model) < MODEL_KEYS / 10);
    model_run(&model, MODEL_KEYS / 4, 100000);
    assert_true(model_unknown(&model) < MODEL_KEYS / 10);
    model_close(&model);
}

/* More keys than there is room for: nobody knows what is missing, until there is more room and all
 * was read. */
static void what_was_forgotten_is_read_again(void **unused) {
    (void) unused;
    model_t model;
    model_open(&model);
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        model_put(&model, i);
    assert_true(model_unknown(&model) > MODEL_KEYS / 20);
    assert_false(heads_roomy(&model.heads));
    model_read(&model, MODEL_KEYS);
    assert_true(model_unknown(&model) > MODEL_KEYS / 20);
    heads_expect(&model.heads, 2 * MODEL_KEYS);
    assert_true(heads_roomy(&model.heads));
    model_run(&model, MODEL_KEYS, MODEL_KEYS / 10);
    assert_true(model_unknown(&model) > MODEL_KEYS / 50);
    model_read(&model, MODEL_KEYS);
    assert_true(model_unknown(&model) < MODEL_KEYS / 50);
    model_close(&model);
}

/* Doubts, whatever they are about, end with the next reading, but not those that came meanwhile. */
static void doubts_last_until_all_is_read(void **unused) {
    (void) unused;
    heads_t heads = {.memory = NULL};
    char text[HEADS_KEY_BYTES + 1];
    record_t record = record_of(1), found;
    slice_t absent = key_of(1, text);
    assert_int_equal(heads_find(&heads, absent, &found), DRAX_ENOTFOUND);
    heads_doubt(&heads);
    assert_int_equal(heads_find(&heads, absent, &found), DRAX_EAGAIN);
    heads_reading_begin(&heads);
    assert_int_equal(heads_find(&heads, absent, &found), DRAX_EAGAIN);
    heads_reading_end(&heads);
    assert_int_equal(heads_find(&heads, absent, &found), DRAX_ENOTFOUND);
    heads_reading_begin(&heads);
    heads_offer(&heads, absent, NULL); /* it is there, but has no head */
    heads_reading_end(&heads);
    assert_int_equal(heads_find(&heads, absent, &found), DRAX_EAGAIN);
    heads_offer(&heads, absent, &record);
    assert_true(record_known(&heads, absent, 1));
    record = record_of(2);
    heads_offer(&heads, absent, &record); /* it has one */
    assert_true(record_known(&heads, absent, 1));
    heads_free(&heads); /* all are forgotten */
    assert_int_equal(heads_find(&heads, absent, &found), DRAX_EAGAIN);
    heads_free(&heads);
}

/* Memory for `bytes` more at most, 0: for none; the limit until now. */
static struct rlimit data_limit(rlim_t bytes) {
    unsigned long pages = 0;
    struct rlimit was, limit;
    FILE *statm = fopen("/proc/self/statm", "re");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%*u %*u %*u %*u %*u %lu", &pages), 1);
    fclose(statm);
    assert_int_equal(getrlimit(RLIMIT_DATA, &was), 0);
    limit =
        (struct rlimit){bytes ? pages * (rlim_t) sysconf(_SC_PAGESIZE) + bytes : 1, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
    return was;
}

/* What there is memory for is kept, and the newest heads are known. */
static void memory_may_be_refused(void **unused) {
    (void) unused;
    enum { MANY = 300000, NEWEST = 1000 };
    heads_t heads = {.memory = NULL};
    char text[HEADS_KEY_BYTES + 1];
    size_t newest = 0;
    struct rlimit was = data_limit(4 << 20);
    for (unsigned i = 0; i < MANY; i++)
        record_keep(&heads, key_of(i, text), i);
    for (unsigned i = MANY - NEWEST; i < MANY; i++)
        newest += record_known(&heads, key_of(i, text), i);
    assert_int_equal(setrlimit(RLIMIT_DATA, &was), 0);
    assert_true(heads.refused);
    assert_true(heads.bytes > 2 << 20 && heads.bytes <= 5 << 20);
    assert_int_equal(newest, NEWEST);
    heads_free(&heads);
    was = data_limit(0);
    record_keep(&heads, key_of(1, text), 1);
    assert_int_equal(setrlimit(RLIMIT_DATA, &was), 0);
    assert_int_equal(known_count(&heads, MANY), 0);
    record_t found;
    assert_int_equal(heads_find(&heads, key_of(1, text), &found), DRAX_EAGAIN);
    heads_remove(&heads, key_of(1, text));
    heads_free(&heads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_wrong_is_kept),
        cmocka_unit_test(long_keys_are_not_kept),
        cmocka_unit_test(large_numbers_are_kept),
        cmocka_unit_test(few_are_forgotten_while_it_grows),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(memory_follows_the_keys),
        cmocka_unit_test(what_was_never_put_is_known),
        cmocka_unit_test(what_was_forgotten_is_read_again),
        cmocka_unit_test(doubts_last_until_all_is_read),
        cmocka_unit_test(memory_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
