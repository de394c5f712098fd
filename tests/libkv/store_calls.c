/* store_calls.c: Put, Get, Delete, Exists, List, DeleteTree. */
#include "tests/libkv/libkv.h"

static int delete_call(drax_t *store, const char *key) {
    return drax_delete(store, key, strlen(key), NULL, NULL);
}

static int list_call(drax_t *store, const char *directory, drax_result_t **out) {
    return drax_list(store, directory, strlen(directory), NULL, out);
}

static void exists_expect(drax_t *store, const char *key) {
    drax_result_t *result;
    assert_int_equal(drax_exists(store, key, strlen(key), NULL, &result), 0);
    assert_true(drax_result_exists(result));
    drax_result_destroy(&result);
}

void test_missing_keys(void **state) {
    fixture_t *f = *state;
    drax_result_t *result;
    gone_expect(f->store, "nothing");
    place_shake(f->place);
    gone_expect(f->store, "nothing/");
    assert_int_equal(delete_call(f->store, "nothing"), DRAX_ERR_KEY_NOT_FOUND);
    assert_int_equal(list_call(f->store, "nothing", &result), DRAX_ERR_KEY_NOT_FOUND);
    assert_null(result);
    assert_int_equal(drax_delete_tree(f->store, "nothing", 7, NULL, NULL), DRAX_ERR_KEY_NOT_FOUND);
    assert_int_equal(drax_atomic_delete(f->store, "nothing", 7, 1, NULL, NULL),
                     DRAX_ERR_KEY_NOT_FOUND);
}

static const char *const slash_keys[] = {"house", "house/", "house/room/", "house/room/shelf"};
#define SLASH_KEYS (sizeof slash_keys / sizeof slash_keys[0])

void test_put_get_exists_delete(void **state) {
    fixture_t *f = *state;
    uint64_t last = 0;
    for (size_t i = 0; i < SLASH_KEYS; i++) {
        const char *key = slash_keys[i];
        key_put(f->store, key, "first");
        uint64_t index = pair_expect(f->other, key, "first");
        assert_true(index > last);
        if (i == 1)
            place_shake(f->place);
        key_put(f->other, key, "second");
        last = pair_expect(f->store, key, "second");
        assert_true(last > index);
        exists_expect(f->store, key);
        assert_int_equal(delete_call(f->store, key), 0);
        gone_expect(f->store, key);
        gone_expect(f->other, key);
        assert_int_equal(delete_call(f->other, key), DRAX_ERR_KEY_NOT_FOUND);
    }
}

void test_keys_with_slashes_are_keys_apart(void **state) {
    fixture_t *f = *state;
    for (size_t i = 0; i < SLASH_KEYS; i++)
        key_put(f->store, slash_keys[i], slash_keys[i]);
    place_shake(f->place);
    for (size_t gone = 0; gone < SLASH_KEYS; gone++) {
        for (size_t i = gone; i < SLASH_KEYS; i++)
            pair_expect(f->other, slash_keys[i], slash_keys[i]);
        assert_int_equal(delete_call(f->store, slash_keys[gone]), 0);
        gone_expect(f->other, slash_keys[gone]);
    }
}

static void pair_at_expect(const drax_result_t *result, size_t at, const char *key,
                           const char *value) {
    size_t size;
    const void *got = drax_result_pair_key(result, at, &size);
    assert_int_equal(size, strlen(key));
    assert_memory_equal(got, key, size);
    got = drax_result_pair_value(result, at, &size);
    assert_int_equal(size, strlen(value));
    assert_memory_equal(got, value, size);
    assert_true(drax_result_pair_index(result, at) > 0);
}

void test_list(void **state) {
    fixture_t *f = *state;
    drax_result_t *result;
    key_put(f->store, "list/second", "2");
    key_put(f->store, "list/first", "1");
    key_put(f->store, "list", "the directory's own");
    key_put(f->store, "listing/third", "beside it");
    place_shake(f->place);
    const char *const directories[] = {"list", "list/"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(list_call(f->store, directories[i], &result), 0);
        assert_int_equal(drax_result_pair_count(result), 2);
        pair_at_expect(result, 0, "list/first", "1");
        pair_at_expect(result, 1, "list/second", "2");
        drax_result_destroy(&result);
    }
    assert_int_equal(list_call(f->store, "li", &result), DRAX_ERR_KEY_NOT_FOUND);
    assert_null(result);
    assert_int_equal(list_call(f->store, "list/first", &result), 0); /* a key, with nothing below */
    assert_int_equal(drax_result_pair_count(result), 0);
    drax_result_destroy(&result);
    const char *const whole[] = {"", "/"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(list_call(f->other, whole[i], &result), 0);
        assert_int_equal(drax_result_pair_count(result), 4);
        drax_result_destroy(&result);
    }
}

void test_delete_tree(void **state) {
    fixture_t *f = *state;
    drax_result_t *result;
    const char *const directories[] = {"tree", "tree/"};
    key_put(f->store, "tree", "the directory's own");
    key_put(f->store, "trees", "beside it");
    for (size_t i = 0; i < 2; i++) {
        key_put(f->store, "tree/a", "1");
        key_put(f->store, "tree/b/c", "2");
        pair_expect(f->other, "tree/a", "1");
        pair_expect(f->other, "tree/b/c", "2");
        if (i == 0)
            place_shake(f->place);
        assert_int_equal(
            drax_delete_tree(f->store, directories[i], strlen(directories[i]), NULL, &result), 0);
        assert_int_equal(drax_result_deleted(result), 2);
        drax_result_destroy(&result);
        gone_expect(f->other, "tree/a");
        gone_expect(f->other, "tree/b/c");
    }
    pair_expect(f->other, "tree", "the directory's own");
    pair_expect(f->other, "trees", "beside it");
    assert_int_equal(drax_delete_tree(f->store, "tree", 4, NULL, NULL), DRAX_ERR_KEY_NOT_FOUND);
}
