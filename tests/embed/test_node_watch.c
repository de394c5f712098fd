/* test_node_watch.c: libdrax's watches, of embedded nodes: what is there, then every change once
 * and in order, also for who reads late and for who loses the node. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/embed/node_helper.h"

#define CHECK_MS 1000u /* a client with watches looks after them this often */

typedef struct {
    node_folder_t *folder;
    drax_node_options_t *options;
    drax_node_t *node;
    drax_t *store;
} fixture_t;

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    assert_non_null(f);
    node_folder_setup((void **) &f->folder);
    f->options = node_options(f->folder, "a", NULL, NULL);
    f->node = node_up(f->folder, f->options);
    f->store = node_store(f->node);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_t *f = *state;
    drax_destroy(&f->store);
    drax_node_stop(&f->node);
    drax_node_options_destroy(&f->options);
    node_folder_teardown((void **) &f->folder);
    free(f);
    return 0;
}

static drax_watch_t *tree_open(drax_t *drax, const char *directory, uint64_t from) {
    drax_watch_t *watch;
    assert_int_equal(drax_watch_tree(drax, directory, strlen(directory), from, &watch), 0);
    return watch;
}

static drax_watch_t *key_open(drax_t *drax, const char *key) {
    drax_watch_t *watch;
    assert_int_equal(drax_watch(drax, key, strlen(key), 0, &watch), 0);
    return watch;
}

static drax_event_t next(drax_watch_t *watch) {
    drax_event_t event = {0};
    assert_int_equal(drax_watch_next(watch, NODE_WAIT_MS, &event), 0);
    return event;
}

/* The next event is this one; `key` and `value` NULL: it has none. */
static uint64_t expect(drax_watch_t *watch, drax_event_type_t type, const char *key,
                       const char *value) {
    drax_event_t event = next(watch);
    assert_int_equal(event.type, type);
    assert_int_equal(event.key_size, key ? strlen(key) : 0);
    if (key)
        assert_memory_equal(event.key, key, event.key_size);
    assert_int_equal(event.value_size, value ? strlen(value) : 0);
    if (value)
        assert_memory_equal(event.value, value, event.value_size);
    return event.index;
}

static void quiet(drax_watch_t *watch) {
    drax_event_t event;
    assert_int_equal(drax_watch_next(watch, 0, &event), DRAX_ERR_TIMEOUT);
}

static void key_delete(drax_t *store, const char *key) {
    assert_int_equal(drax_delete(store, key, strlen(key), NULL, NULL), 0);
}

static void test_a_key(void **state) {
    fixture_t *f = *state;
    drax_watch_t *watch = key_open(f->store, "color");
    expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    quiet(watch);
    value_put(f->store, "color", "red");
    value_put(f->store, "colors", "not this one");
    value_put(f->store, "color", "");
    key_delete(f->store, "color");
    uint64_t first = expect(watch, DRAX_EVENT_PUT, "color", "red");
    uint64_t second = expect(watch, DRAX_EVENT_PUT, "color", "");
    assert_int_equal(expect(watch, DRAX_EVENT_DELETE, "color", NULL), second + 1);
    assert_int_equal(second, first + 2);

    drax_options_t *options = drax_options_new();
    drax_options_ttl_set(options, 50);
    assert_int_equal(drax_put(f->store, "color", 5, "x", 1, options, NULL), 0);
    drax_options_destroy(&options);
    expect(watch, DRAX_EVENT_PUT, "color", "x");
    expect(watch, DRAX_EVENT_EXPIRE, "color", NULL);
    drax_watch_close(&watch);
    assert_null(watch);
    drax_watch_close(&watch);

    value_put(f->store, "color", "blue");
    watch = key_open(f->store, "color");
    expect(watch, DRAX_EVENT_CURRENT, "color", "blue");
    expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    drax_watch_close(&watch);
}

static void test_a_tree_and_where_to_go_on(void **state) {
    fixture_t *f = *state;
    value_put(f->store, "d/b", "2");
    value_put(f->store, "d/a", "1");
    value_put(f->store, "da", "beside");
    drax_watch_t *watch = tree_open(f->store, "d", 0);
    assert_int_equal(drax_watch_from(watch), 0);
    expect(watch, DRAX_EVENT_CURRENT, "d/a", "1");
    expect(watch, DRAX_EVENT_CURRENT, "d/b", "2");
    assert_int_equal(drax_watch_from(watch), 0);
    expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    key_delete(f->store, "d/a");
    expect(watch, DRAX_EVENT_DELETE, "d/a", NULL);
    value_put(f->store, "d/c", "3");
    assert_int_equal(drax_delete_tree(f->store, "d", 1, NULL, NULL), 0);
    uint64_t put = expect(watch, DRAX_EVENT_PUT, "d/c", "3");
    assert_int_equal(drax_watch_from(watch), put + 1);
    uint64_t gone = expect(watch, DRAX_EVENT_DELETE, "d/b", NULL);
    assert_int_equal(drax_watch_from(watch), gone); /* half of that revision */
    assert_int_equal(expect(watch, DRAX_EVENT_DELETE, "d/c", NULL), gone);
    assert_int_equal(drax_watch_from(watch), gone + 1);
    drax_watch_close(&watch);

    watch = tree_open(f->store, "d/", put); /* another watch, from there on */
    expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    expect(watch, DRAX_EVENT_PUT, "d/c", "3");
    expect(watch, DRAX_EVENT_DELETE, "d/b", NULL);
    expect(watch, DRAX_EVENT_DELETE, "d/c", NULL);
    drax_watch_close(&watch);

    watch = key_open(f->store, ""); /* no key is empty */
    drax_event_t event;
    for (int again = 0; again < 2; again++)
        assert_int_equal(drax_watch_next(watch, NODE_WAIT_MS, &event), DRAX_ERR_INVALID_ARGUMENT);
    drax_watch_close(&watch);
}

/* More than one answer holds, then more notifications than a watch has credit for. */
static void test_much_at_first(void **state) {
    fixture_t *f = *state;
    enum { KEYS = 300, SIZE = 10000 };
    char *value = malloc(SIZE), key[16];
    memset(value, 'v', SIZE);
    for (unsigned i = 0; i < KEYS; i++) {
        int size = snprintf(key, sizeof key, "big/%03u", i);
        assert_int_equal(drax_put(f->store, key, (size_t) size, value, SIZE, NULL, NULL), 0);
    }
    free(value);
    drax_watch_t *watch = tree_open(f->store, "big", 0);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "big/%03u", i);
        drax_event_t event = next(watch);
        assert_int_equal(event.type, DRAX_EVENT_CURRENT);
        assert_memory_equal(event.key, key, event.key_size);
        assert_int_equal(event.value_size, SIZE);
    }
    expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    for (unsigned i = 0; i < KEYS; i++) /* nobody reads meanwhile */
        value_put(f->store, "big/key", i % 2 ? "odd" : "even");
    uint64_t last = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t index = expect(watch, DRAX_EVENT_PUT, "big/key", i % 2 ? "odd" : "even");
        assert_true(last == 0 || index == last + 1);
        last = index;
    }
    quiet(watch);
    drax_watch_close(&watch);
}

static void test_many_watches_of_one_client(void **state) {
    fixture_t *f = *state;
    enum { WATCHES = 3000 };
    drax_watch_t **watches = calloc(WATCHES, sizeof *watches);
    char key[16];
    for (unsigned i = 0; i < WATCHES; i++) {
        snprintf(key, sizeof key, "k%u", i);
        watches[i] = key_open(f->store, key);
    }
    for (unsigned i = 0; i < WATCHES; i++)
        expect(watches[i], DRAX_EVENT_SYNCED, NULL, NULL);
    for (unsigned i = 0; i < WATCHES; i += 100) {
        snprintf(key, sizeof key, "k%u", i);
        value_put(f->store, key, "v");
        expect(watches[i], DRAX_EVENT_PUT, key, "v");
    }
    for (unsigned i = 0; i < WATCHES; i++)
        drax_watch_close(&watches[i]);
    free(watches);
    value_put(f->store, "k1", "v");
}

/* ---- callbacks in a host's loop ---- */

typedef struct {
    unsigned current, synced, puts, wrong;
    unsigned close_at; /* puts */
    int error;
    unsigned ends;
    drax_watch_t *watch;
} heard_t;

static void on_event(void *arg, drax_watch_t *watch, int error, const drax_event_t *event) {
    heard_t *self = arg;
    self->wrong += watch != self->watch;
    if (!event) {
        self->error = error;
        self->ends++;
        return;
    }
    self->current += event->type == DRAX_EVENT_CURRENT;
    self->synced += event->type == DRAX_EVENT_SYNCED;
    self->puts += event->type == DRAX_EVENT_PUT;
    if (self->close_at > 0 && self->puts == self->close_at)
        drax_watch_close(&self->watch);
    if (event->type == DRAX_EVENT_PUT) /* still there, also when it has just been closed */
        self->wrong += event->value_size != 1 || memcmp(event->value, "v", 1) != 0;
}

static void on_put(void *arg, int error, const char *detail, const drax_result_t *result) {
    (void) detail, (void) result;
    *(unsigned *) arg += error == 0;
}

static void test_callbacks(void **state) {
    fixture_t *f = *state;
    value_put(f->store, "d/0", "v");
    int fd = drax_fd(f->store);
    heard_t stays = {0}, leaves = {.close_at = 10}, wrong = {0};
    unsigned written = 0;
    stays.watch = tree_open(f->store, "d", 0);
    leaves.watch = tree_open(f->store, "d", 0);
    wrong.watch = key_open(f->store, "");
    assert_int_equal(drax_watch_event_set(stays.watch, NULL, NULL), DRAX_ERR_USAGE);
    assert_int_equal(drax_watch_event_set(stays.watch, on_event, &stays), 0);
    assert_int_equal(drax_watch_event_set(leaves.watch, on_event, &leaves), 0);
    assert_int_equal(drax_watch_event_set(wrong.watch, on_event, &wrong), 0);
    drax_event_t event;
    assert_int_equal(drax_watch_next(stays.watch, 0, &event), DRAX_ERR_USAGE);
    uint64_t end_ms = clock_ms() + NODE_WAIT_MS;
    unsigned submitted = 0;
    while (stays.puts < 200 || wrong.ends == 0) {
        if (stays.synced && leaves.synced && submitted < 200 && drax_pending(f->store) < 20) {
            assert_int_equal(drax_put_submit(f->store, "d/1", 3, "v", 1, NULL, on_put, &written),
                             0);
            submitted++;
        }
        struct pollfd item = {.fd = fd, .events = POLLIN};
        assert_true(poll(&item, 1, NODE_WAIT_MS) == 1);
        assert_true(drax_process(f->store) >= 0);
        assert_true(clock_ms() < end_ms);
    }
    assert_int_equal(stays.puts, 200);
    assert_int_equal(stays.current, 1);
    assert_int_equal(stays.synced, 1);
    assert_int_equal(leaves.puts, 10);
    assert_null(leaves.watch);
    assert_int_equal(wrong.ends, 1);
    assert_int_equal(wrong.error, DRAX_ERR_INVALID_ARGUMENT);
    assert_int_equal(stays.wrong + leaves.wrong + wrong.wrong, 0);
    while (drax_pending(f->store) > 0)
        assert_true(drax_poll(f->store, NODE_WAIT_MS) >= 0);
    assert_int_equal(drax_poll(f->store, 100), 0); /* waits, as there are callbacks to come */
    drax_watch_close(&stays.watch);
    drax_watch_close(&wrong.watch);
}

static void on_count(void *arg, drax_watch_t *watch, int error, const drax_event_t *event) {
    (void) watch, (void) error;
    *(unsigned *) arg += event && event->type == DRAX_EVENT_PUT;
}

/* What another client writes is told when it comes, not when a timer of this client ends. */
static void test_told_at_once(void **state) {
    fixture_t *f = *state;
    enum { ROUNDS = 20 };
    drax_t *other = node_store(f->node);
    drax_watch_t *waited = key_open(f->store, "k"), *called = key_open(other, "k");
    unsigned puts = 0;
    expect(waited, DRAX_EVENT_SYNCED, NULL, NULL);
    expect(called, DRAX_EVENT_SYNCED, NULL, NULL);
    assert_int_equal(drax_watch_event_set(called, on_count, &puts), 0);
    uint64_t began_ms = clock_ms();
    for (unsigned i = 1; i <= ROUNDS; i++) {
        value_put(other, "k", "v");
        expect(waited, DRAX_EVENT_PUT, "k", "v");
        value_put(f->store, "k", "w");
        expect(waited, DRAX_EVENT_PUT, "k", "w");
        while (puts < 2 * i)
            assert_true(drax_poll(other, NODE_WAIT_MS) >= 0);
    }
    assert_in_range(clock_ms() - began_ms, 0, ROUNDS * CHECK_MS / 4);
    drax_watch_close(&waited);
    drax_watch_close(&called);
    drax_destroy(&other);
}

/* ---- a node that goes ---- */

#define WRITES 400

typedef struct {
    const char *endpoints;
    unsigned failed;
} writer_t;

static void *writer_main(void *hint) {
    writer_t *self = hint;
    drax_t *drax;
    char value[16];
    if (drax_new(&drax, self->endpoints) != 0)
        return self;
    (void) drax_timeout_set(drax, NODE_WAIT_MS);
    for (unsigned i = 0; i < WRITES; i++) {
        int size = snprintf(value, sizeof value, "%u", i);
        self->failed += drax_put(drax, "w/k", 3, value, (size_t) size, NULL, NULL) != 0;
    }
    drax_destroy(&drax);
    return NULL;
}

static void test_over_the_loss_of_nodes(void **state) {
    node_folder_t *folder = *state;
    node_trio_t trio;
    node_trio_up(&trio, folder);
    writer_t writer = {.endpoints = trio.endpoints};
    drax_t *drax;
    assert_int_equal(drax_new(&drax, writer.endpoints), 0);
    drax_watch_t *watch = tree_open(drax, "w", 0);
    expect(watch, DRAX_EVENT_SYNCED, NULL, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, writer_main, &writer), 0);
    for (unsigned i = 0; i < WRITES; i++) {
        char value[16];
        snprintf(value, sizeof value, "%u", i);
        expect(watch, DRAX_EVENT_PUT, "w/k", value);
        if (i == WRITES / 4) /* it streams from the first node, which led as well */
            drax_node_stop(&trio.nodes[0]);
        if (i == WRITES / 2)
            trio.nodes[0] = node_up(folder, trio.options[0]);
        if (i == WRITES * 3 / 4)
            drax_node_stop(&trio.nodes[1]);
    }
    quiet(watch);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(writer.failed, 0);
    drax_watch_close(&watch);
    drax_destroy(&drax);
    node_trio_down(&trio);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_key),
        T(test_a_tree_and_where_to_go_on),
        T(test_much_at_first),
        T(test_many_watches_of_one_client),
        T(test_callbacks),
        T(test_told_at_once),
        cmocka_unit_test_setup_teardown(test_over_the_loss_of_nodes, node_folder_setup,
                                        node_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
