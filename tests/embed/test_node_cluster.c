/* test_node_cluster.c: three nodes of one cluster in one process; their leader is stopped while
 * clients write. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/embed/node_helper.h"

#define WRITERS 4
#define WRITES 500

typedef struct {
    node_folder_t *folder;
    node_trio_t trio;
    drax_t *drax; /* of all nodes */
} cluster_t;

static bool leads(drax_node_t *node) {
    drax_t *store = node_store(node);
    drax_result_t *result;
    assert_int_equal(drax_status(store, NULL, &result), 0);
    size_t size;
    const char *role = drax_field_bytes(drax_field_find(drax_result_map(result), "role"), &size);
    bool leader = role && size == 6 && memcmp(role, "leader", 6) == 0;
    drax_result_destroy(&result);
    drax_destroy(&store);
    return leader;
}

static size_t leader_find(const cluster_t *self) {
    for (uint64_t end_ms = clock_ms() + NODE_WAIT_MS; clock_ms() < end_ms;)
        for (size_t i = 0; i < NODE_TRIO; i++)
            if (self->trio.nodes[i] && leads(self->trio.nodes[i]))
                return i;
    fail_msg("no node leads");
    return 0;
}

static int setup(void **state) {
    cluster_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    node_folder_setup((void **) &self->folder);
    node_trio_up(&self->trio, self->folder);
    assert_int_equal(drax_new(&self->drax, self->trio.endpoints), 0);
    *state = self;
    return 0;
}

static int teardown(void **state) {
    cluster_t *self = *state;
    drax_destroy(&self->drax);
    node_trio_down(&self->trio);
    node_folder_teardown((void **) &self->folder);
    free(self);
    return 0;
}

typedef struct {
    pthread_t thread;
    const cluster_t *cluster;
    unsigned number;
    atomic_uint *done; /* writes of all */
    unsigned failed;
} writer_t;

static void *writer_main(void *hint) {
    writer_t *self = hint;
    drax_t *drax;
    char key[32];
    self->failed += drax_new(&drax, self->cluster->trio.endpoints) != 0;
    (void) drax_timeout_set(drax, NODE_WAIT_MS);
    for (unsigned i = 0; i < WRITES; i++) {
        int size = snprintf(key, sizeof key, "w%u/%05u", self->number, i);
        self->failed += drax_put(drax, key, (size_t) size, key, (size_t) size, NULL, NULL) != 0;
        atomic_fetch_add(self->done, 1);
    }
    drax_destroy(&drax);
    return NULL;
}

static void all_written(drax_t *drax) {
    for (unsigned i = 0; i < WRITERS; i++) {
        char directory[8];
        drax_result_t *result;
        int size = snprintf(directory, sizeof directory, "w%u", i);
        assert_int_equal(drax_list(drax, directory, (size_t) size, NULL, &result), 0);
        assert_int_equal(drax_result_pair_count(result), WRITES);
        drax_result_destroy(&result);
    }
}

static void test_the_leader_is_stopped_under_load(void **state) {
    cluster_t *self = *state;
    atomic_uint done = 0;
    writer_t writers[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (writer_t){.cluster = self, .number = i, .done = &done};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
    }
    while (atomic_load(&done) < WRITERS * WRITES / 4)
        sched_yield();
    size_t leader = leader_find(self);
    drax_node_stop(&self->trio.nodes[leader]);
    unsigned at_stop = atomic_load(&done);
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
        assert_int_equal(writers[i].failed, 0);
    }
    assert_true(at_stop < WRITERS * WRITES); /* it was under load */
    size_t other = leader_find(self);
    assert_int_not_equal(other, leader);
    all_written(self->drax);

    self->trio.nodes[leader] = node_up(self->folder, self->trio.options[leader]);
    drax_t *store =
        node_store(self->trio.nodes[leader]); /* linearizable through the one that was away */
    all_written(store);
    drax_destroy(&store);
}

/* Two of three gone: writes are refused in bounded time, and the last one stops in order, too. */
static void test_without_a_majority(void **state) {
    cluster_t *self = *state;
    drax_node_stop(&self->trio.nodes[0]);
    drax_node_stop(&self->trio.nodes[1]);
    drax_t *store = node_store(self->trio.nodes[2]);
    int error = drax_put(store, "a", 1, "b", 1, NULL, NULL);
    assert_true(error == DRAX_ERR_UNAVAILABLE || error == DRAX_ERR_TIMEOUT);
    assert_int_equal(drax_status(store, NULL, NULL), 0);
    drax_destroy(&store);
    uint64_t began_ms = clock_ms();
    drax_node_stop(&self->trio.nodes[2]);
    print_message("stopped without a majority in %u ms\n", (unsigned) (clock_ms() - began_ms));
}

/* A node that waits for a cluster that is not there can be waited for, and stopped meanwhile. */
typedef struct {
    drax_node_t *node;
    int ready, end;
} waiter_t;

static void *waiter_main(void *hint) {
    waiter_t *self = hint;
    self->ready = drax_node_ready_wait(self->node, UINT64_MAX);
    return NULL;
}

static void test_waiting_for_a_cluster(void **state) {
    node_folder_t *folder = *state;
    char nobody[32];
    snprintf(nobody, sizeof nobody, "127.0.0.1:%u", port_free());
    drax_node_options_t *options = node_options(folder, "a", nobody, NULL);
    drax_node_t *node;
    assert_int_equal(drax_node_start(&node, options, NULL, 0), 0);
    assert_int_equal(drax_node_ready_wait(node, 300), DRAX_ERR_TIMEOUT);
    assert_int_equal(drax_node_end_wait(node, 0, NULL, 0), DRAX_ERR_TIMEOUT);
    waiter_t waiter = {.node = node};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, waiter_main, &waiter), 0);
    assert_int_equal(drax_node_end_wait(node, 100, NULL, 0), DRAX_ERR_TIMEOUT);
    drax_node_stop(&node);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiter.ready, DRAX_ERR_CLOSED);
    drax_node_options_destroy(&options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_leader_is_stopped_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_majority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_for_a_cluster, node_folder_setup,
                                        node_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
