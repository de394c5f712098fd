/* atomic_calls.c: AtomicPut and AtomicDelete, with the previous index that they are given. */
#include "tests/libkv/libkv.h"

static int put_call(drax_t *store, const char *key, const char *value, uint64_t previous,
                    uint64_t *index) {
    drax_result_t *result;
    int error =
        drax_atomic_put(store, key, strlen(key), value, strlen(value), previous, NULL, &result);
    *index = drax_result_index(result);
    assert_true((error == 0) == (result != NULL));
    drax_result_destroy(&result);
    return error;
}

static int delete_call(drax_t *store, const char *key, uint64_t previous) {
    return drax_atomic_delete(store, key, strlen(key), previous, NULL, NULL);
}

void test_atomic_put(void **state) {
    fixture_t *f = *state;
    uint64_t index;
    key_put(f->store, "swap", "one");
    uint64_t first = pair_expect(f->store, "swap", "one");
    assert_int_equal(put_call(f->other, "swap", "two", 0, &index), DRAX_ERR_KEY_EXISTS);
    assert_int_equal(pair_expect(f->store, "swap", "one"), first);
    place_shake(f->place);
    assert_int_equal(put_call(f->store, "swap", "two", first, &index), 0);
    assert_true(index > first);
    assert_int_equal(pair_expect(f->other, "swap", "two"), index);

    /* Of two who read the same index, one is refused; and so is an index that never was. */
    uint64_t second = index;
    assert_int_equal(put_call(f->other, "swap", "three", first, &index), DRAX_ERR_KEY_MODIFIED);
    assert_int_equal(put_call(f->other, "swap", "three", second + 1000, &index),
                     DRAX_ERR_KEY_MODIFIED);
    assert_int_equal(pair_expect(f->store, "swap", "two"), second);
    assert_int_equal(put_call(f->other, "gone", "three", second, &index), DRAX_ERR_KEY_MODIFIED);
    gone_expect(f->store, "gone");
}

void test_atomic_put_creates(void **state) {
    fixture_t *f = *state;
    uint64_t index;
    const char *const keys[] = {"new/directory/key", "new/directory/key/"};
    for (size_t i = 0; i < 2; i++) {
        if (i == 0)
            place_shake(f->place);
        assert_int_equal(put_call(f->store, keys[i], "made", 0, &index), 0);
        assert_int_equal(pair_expect(f->other, keys[i], "made"), index);
        uint64_t refused;
        assert_int_equal(put_call(f->other, keys[i], "again", 0, &refused), DRAX_ERR_KEY_EXISTS);
        assert_int_equal(put_call(f->other, keys[i], "", index, &index), 0);
        assert_int_equal(pair_expect(f->store, keys[i], ""), index);
    }
    /* Deleted, it can be made again; its old index is of no use. */
    assert_int_equal(delete_call(f->store, keys[0], pair_expect(f->store, keys[0], "")), 0);
    assert_int_equal(put_call(f->store, keys[0], "x", index, &index), DRAX_ERR_KEY_MODIFIED);
    assert_int_equal(put_call(f->store, keys[0], "x", 0, &index), 0);
}

void test_atomic_delete(void **state) {
    fixture_t *f = *state;
    key_put(f->store, "cut", "one");
    uint64_t first = pair_expect(f->store, "cut", "one");
    key_put(f->other, "cut", "two");
    uint64_t second = pair_expect(f->store, "cut", "two");
    assert_int_equal(delete_call(f->store, "cut", first), DRAX_ERR_KEY_MODIFIED);
    assert_int_equal(delete_call(f->store, "cut", second + 1000), DRAX_ERR_KEY_MODIFIED);
    assert_int_equal(delete_call(f->store, "cut", 0), DRAX_ERR_PREVIOUS_NOT_SPECIFIED);
    place_shake(f->place);
    assert_int_equal(pair_expect(f->other, "cut", "two"), second);
    assert_int_equal(delete_call(f->store, "cut", second), 0);
    gone_expect(f->other, "cut");
    assert_int_equal(delete_call(f->store, "cut", second), DRAX_ERR_KEY_NOT_FOUND);
}
