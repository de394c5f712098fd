/* test_cli_histogram.c: the histogram of drax-cli bench against sorted values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/histogram.h"

static void test_empty(void **state) {
    (void) state;
    histogram_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    assert_int_equal(histogram_quantile(self, 0.5), 0);
    assert_int_equal(histogram_count_to(self, UINT64_MAX), 0);
    assert_true(histogram_mean(self) == 0);
    free(self);
}

/* Buckets follow each other without gap or overlap, and none is wider than 1/64 of its values. */
static void test_buckets(void **state) {
    (void) state;
    histogram_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    uint64_t begin = 0;
    for (size_t i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
        uint64_t end = histogram_bucket_end(i);
        assert_true(end >= begin);
        assert_true((end - begin) * 64 <= begin);
        histogram_add(self, begin);
        histogram_add(self, end);
        assert_int_equal(self->buckets[i], 2);
        begin = end + 1;
    }
    assert_int_equal(histogram_bucket_end(HISTOGRAM_BUCKETS - 1), UINT64_MAX);
    histogram_add(self, begin);
    histogram_add(self, 1ull << HISTOGRAM_VALUE_BITS);
    histogram_add(self, UINT64_MAX);
    assert_int_equal(self->buckets[HISTOGRAM_BUCKETS - 1], 3);
    assert_int_equal(self->max, UINT64_MAX);
    assert_int_equal(histogram_count_to(self, UINT64_MAX), self->count);
    free(self);
}

static void test_small_values_are_exact(void **state) {
    (void) state;
    histogram_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    for (uint64_t value = 1; value <= 100; value++)
        histogram_add(self, value);
    assert_int_equal(histogram_quantile(self, 0), 1);
    assert_int_equal(histogram_quantile(self, 0.5), 50);
    assert_int_equal(histogram_quantile(self, 0.505), 51);
    assert_int_equal(histogram_quantile(self, 0.99), 99);
    assert_int_equal(histogram_quantile(self, 0.999), 100);
    assert_int_equal(histogram_quantile(self, 1), 100);
    assert_int_equal(histogram_count_to(self, 30), 30);
    assert_int_equal(histogram_count_to(self, 0), 0);
    assert_true(histogram_mean(self) == 50.5);
    free(self);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return x < y ? -1 : x > y;
}

#define RANDOM_VALUES 20000u

static void test_random_values_against_sorted(void **state) {
    (void) state;
    histogram_t *halves = calloc(2, sizeof *halves);
    uint64_t *values = calloc(RANDOM_VALUES, sizeof *values);
    assert_true(halves && values);
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < RANDOM_VALUES; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        values[i] = (random >> 20) >> (random % 40); /* of all magnitudes */
        histogram_add(&halves[i % 2], values[i]);
    }
    histogram_merge(&halves[0], &halves[1]);
    qsort(values, RANDOM_VALUES, sizeof *values, compare);
    assert_int_equal(halves[0].count, RANDOM_VALUES);
    assert_int_equal(halves[0].max, values[RANDOM_VALUES - 1]);
    for (unsigned per_mille = 1; per_mille <= 1000; per_mille++) {
        uint64_t exact = values[RANDOM_VALUES / 1000 * per_mille - 1];
        uint64_t found = histogram_quantile(&halves[0], per_mille / 1000.0);
        assert_true(found >= exact && found - exact <= exact / 64);
    }
    free(values);
    free(halves);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_random_values_against_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
