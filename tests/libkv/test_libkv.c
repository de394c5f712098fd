/* test_libkv.c: what docker/libkv promises of its Store and Locker, call by call, asked of libdrax.
 * The argument says through what: see place.h. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/libkv/libkv.h"

static const char *where; /* the argument */
static place_t place;

uint64_t pair_expect(drax_t *store, const char *key, const char *value) {
    drax_result_t *result;
    size_t size;
    assert_int_equal(drax_get(store, key, strlen(key), NULL, &result), 0);
    const void *got = drax_result_value(result, &size);
    assert_non_null(got);
    assert_int_equal(size, strlen(value));
    assert_memory_equal(got, value, size);
    got = drax_result_key(result, &size);
    assert_int_equal(size, strlen(key));
    assert_memory_equal(got, key, size);
    uint64_t index = drax_result_index(result);
    assert_true(index > 0);
    drax_result_destroy(&result);
    return index;
}

void gone_expect(drax_t *store, const char *key) {
    drax_result_t *result;
    assert_int_equal(drax_get(store, key, strlen(key), NULL, &result), DRAX_ERR_KEY_NOT_FOUND);
    assert_null(result);
    assert_int_equal(drax_exists(store, key, strlen(key), NULL, &result), 0);
    assert_false(drax_result_exists(result));
    drax_result_destroy(&result);
}

void key_put(drax_t *store, const char *key, const char *value) {
    assert_int_equal(drax_put(store, key, strlen(key), value, strlen(value), NULL, NULL), 0);
}

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    assert_non_null(f);
    *f = (fixture_t){&place, place_client(&place), place_client(&place)};
    *state = f;
    return 0;
}

/* The store is empty again, so each test begins with an empty one. */
static int teardown(void **state) {
    fixture_t *f = *state;
    drax_destroy(&f->store);
    drax_destroy(&f->other);
    free(f);
    place_mend(&place);
    drax_t *drax = place_client(&place);
    int error = drax_delete_tree(drax, "", 0, NULL, NULL);
    drax_destroy(&drax);
    return error == 0 || error == DRAX_ERR_KEY_NOT_FOUND ? 0 : error;
}

static int group_setup(void **state) {
    (void) state;
    place_open(&place, where);
    return 0;
}

static int group_teardown(void **state) {
    (void) state;
    place_close(&place);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2 || !place_known(argv[1])) {
        fprintf(stderr, "usage: %s embedded|remote|node1|node2|node3\n", argv[0]);
        return 64;
    }
    where = argv[1];
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_missing_keys),
        T(test_put_get_exists_delete),
        T(test_keys_with_slashes_are_keys_apart),
        T(test_list),
        T(test_delete_tree),
        T(test_atomic_put),
        T(test_atomic_put_creates),
        T(test_atomic_delete),
        T(test_watch),
        T(test_watch_of_a_missing_key),
        T(test_watch_tree),
        T(test_lock_unlock_relock),
        T(test_lock_blocks_and_passes_on),
        T(test_ttl_outlives_its_client),
        T(test_close),
        T(test_election),
        T(test_election_that_ends),
    };
    return cmocka_run_group_tests_name(where, tests, group_setup, group_teardown);
}
