/* watch_calls.c: Watch and WatchTree: what is there, then what happens to it, and nothing twice. */
#include "tests/libkv/libkv.h"

/* The next event is this one; `key` and `value` NULL: it has none. Gives its index. */
static uint64_t event_expect(drax_watch_t *watch, drax_event_type_t type, const char *key,
                             const char *value) {
    drax_event_t event;
    assert_int_equal(drax_watch_next(watch, NODE_WAIT_MS, &event), 0);
    assert_int_equal(event.type, type);
    assert_int_equal(event.key_size, key ? strlen(key) : 0);
    if (key)
        assert_memory_equal(event.key, key, event.key_size);
    assert_int_equal(event.value_size, value ? strlen(value) : 0);
    if (value)
        assert_memory_equal(event.value, value, event.value_size);
    return event.index;
}

void test_watch(void **state) {
    fixture_t *f = *state;
    drax_watch_t *watch;
    key_put(f->other, "color", "red");
    uint64_t index = pair_expect(f->other, "color", "red");
    assert_int_equal(drax_watch(f->store, "color", 5, 0, &watch), 0);
    assert_int_equal(event_expect(watch, DRAX_EVENT_CURRENT, "color", "red"), index);
    event_expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    key_put(f->other, "color", "green");
    assert_true(event_expect(watch, DRAX_EVENT_PUT, "color", "green") > index);
    place_shake(f->place);
    key_put(f->other, "colors", "of another key");
    key_put(f->other, "color/", "of another key");
    const char *const values[] = {"blue", "blue", "", "blue"};
    for (size_t i = 0; i < 4; i++) { /* also what does not change the value */
        key_put(f->other, "color", values[i]);
        index = pair_expect(f->other, "color", values[i]);
        assert_int_equal(event_expect(watch, DRAX_EVENT_PUT, "color", values[i]), index);
    }
    assert_int_equal(drax_delete(f->other, "color", 5, NULL, NULL), 0);
    event_expect(watch, DRAX_EVENT_DELETE, "color", NULL);
    drax_watch_close(&watch);
    assert_null(watch);
}

void test_watch_of_a_missing_key(void **state) {
    fixture_t *f = *state;
    drax_watch_t *watch;
    assert_int_equal(drax_watch(f->store, "color", 5, 0, &watch), 0);
    event_expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    place_shake(f->place);
    key_put(f->other, "color", "red");
    event_expect(watch, DRAX_EVENT_PUT, "color", "red");
    drax_event_t event;
    assert_int_equal(drax_watch_next(watch, 0, &event), DRAX_ERR_TIMEOUT);
    drax_watch_close(&watch);
}

void test_watch_tree(void **state) {
    fixture_t *f = *state;
    drax_watch_t *watch;
    key_put(f->other, "family/a", "1");
    key_put(f->other, "family/b", "2");
    key_put(f->other, "family/c/d", "3");
    key_put(f->other, "families/e", "of another directory");
    assert_int_equal(drax_watch_tree(f->store, "family/", 7, 0, &watch), 0);
    event_expect(watch, DRAX_EVENT_CURRENT, "family/a", "1");
    event_expect(watch, DRAX_EVENT_CURRENT, "family/b", "2");
    event_expect(watch, DRAX_EVENT_CURRENT, "family/c/d", "3");
    event_expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    place_shake(f->place);
    assert_int_equal(drax_delete(f->other, "families/e", 10, NULL, NULL), 0);
    assert_int_equal(drax_delete(f->other, "family/b", 8, NULL, NULL), 0);
    event_expect(watch, DRAX_EVENT_DELETE, "family/b", NULL);
    key_put(f->other, "family/f", "4");
    event_expect(watch, DRAX_EVENT_PUT, "family/f", "4");
    assert_int_equal(drax_delete_tree(f->other, "family/c", 8, NULL, NULL), 0);
    event_expect(watch, DRAX_EVENT_DELETE, "family/c/d", NULL);
    drax_watch_close(&watch);
}
