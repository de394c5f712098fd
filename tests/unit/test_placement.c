/* test_placement.c: when threads share a CPU and when they are let go, and that the right ones are
 * moved: on this process's own threads. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "actors/placement.h"

#define S 1000000000u

static cpu_set_t all; /* what this process may use */

static void they_are_freed_when_they_wait_beside_idle_cpus(void **state) {
    (void) state;
    const struct {
        bool free;
        placement_sample_t sample;
        bool frees;
    } cases[] = {
        /* on one CPU: nothing to do, busy without waiting, waiting while nothing is idle */
        {false, {.time = S, .ran = S / 100, .waited = S / 100, .idle = 2 * S}, false},
        {false, {.time = S, .ran = S, .waited = S / 6, .idle = 3 * S}, false},
        {false, {.time = S, .ran = S / 2, .waited = S, .idle = S / 2}, false},
        /* waiting while another CPU is idle */
        {false, {.time = S, .ran = S, .waited = S / 5, .idle = S}, true},
        {false, {.time = 4ull * S, .ran = S, .waited = S, .idle = 5ull * S}, true},
        /* free: still busy and CPUs idle, nothing to do any more, nothing idle any more */
        {true, {.time = S, .ran = S, .waited = 0, .idle = S}, true},
        {true, {.time = S, .ran = S / 4, .waited = 0, .idle = S}, false},
        {true, {.time = S, .ran = S, .waited = S, .idle = S / 10}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(placement_frees(cases[i].free, &cases[i].sample), cases[i].frees);
}

static cpu_set_t affinity(pid_t thread) {
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(thread, sizeof set, &set), 0);
    return set;
}

static pid_t io_thread(void) {
    DIR *directory = opendir("/proc/self/task");
    pid_t found = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL && !found) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *comm = fopen(path, "re");
        if (comm && fgets(name, sizeof name, comm) && strcmp(name, "ZMQbg/IO/0\n") == 0)
            found = (pid_t) strtol(entry->d_name, NULL, 10);
        if (comm)
            fclose(comm);
    }
    closedir(directory);
    assert_true(found > 0);
    return found;
}

/* A context whose I/O thread runs: it gives itself its name before it carries its first message,
 * but after zmq_socket, which starts it, has returned. */
typedef struct {
    void *context, *bound, *connected;
} io_t;

static void io_start(io_t *self) {
    char endpoint[64], byte = 0;
    size_t size = sizeof endpoint;
    self->context = zmq_ctx_new();
    self->bound = zmq_socket(self->context, ZMQ_PAIR);
    self->connected = zmq_socket(self->context, ZMQ_PAIR);
    assert_int_equal(zmq_bind(self->bound, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(self->bound, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    assert_int_equal(zmq_connect(self->connected, endpoint), 0);
    assert_int_equal(zmq_send(self->connected, &byte, 1, 0), 1);
    assert_int_equal(zmq_recv(self->bound, &byte, 1, 0), 1);
}

static void io_end(io_t *self) {
    zmq_close(self->connected);
    zmq_close(self->bound);
    zmq_ctx_term(self->context);
}

typedef struct {
    pthread_t thread;
    int ready[2], end[2];
    pid_t id;
} helper_t;

static void *helper_main(void *hint) {
    helper_t *self = hint;
    pid_t id = gettid();
    char byte;
    assert_int_equal(write(self->ready[1], &id, sizeof id), sizeof id);
    (void) !read(self->end[0], &byte, 1);
    return NULL;
}

static void helper_start(helper_t *self) {
    assert_int_equal(pipe(self->ready), 0);
    assert_int_equal(pipe(self->end), 0);
    assert_int_equal(pthread_create(&self->thread, NULL, helper_main, self), 0);
    assert_int_equal(read(self->ready[0], &self->id, sizeof self->id), sizeof self->id);
}

static void helper_end(helper_t *self) {
    close(self->end[1]);
    pthread_join(self->thread, NULL);
    close(self->end[0]);
    close(self->ready[0]);
    close(self->ready[1]);
}

static int teardown(void **state) {
    (void) state;
    return sched_setaffinity(0, sizeof all, &all);
}

static void the_actor_and_its_io_thread_share_a_cpu(void **state) {
    (void) state;
    if (CPU_COUNT(&all) < 2)
        skip();
    io_t io_threads;
    io_start(&io_threads);
    helper_t before, after;
    helper_start(&before);
    placement_t *placement;
    assert_int_equal(placement_new(&placement, ACTOR_RAFT, "/a"), 0);
    assert_non_null(placement);
    cpu_set_t own = affinity(0), io = affinity(io_thread()), other = affinity(before.id);
    assert_int_equal(CPU_COUNT(&own), 1);
    assert_true(CPU_EQUAL(&own, &io));
    assert_true(CPU_EQUAL(&other, &all));

    helper_start(&after); /* inherits the place, which is not for it */
    other = affinity(after.id);
    assert_true(CPU_EQUAL(&other, &own));
    placement_turn(placement, 0, 5000);
    other = affinity(after.id);
    assert_true(CPU_EQUAL(&other, &all));
    own = affinity(0);
    assert_true(CPU_EQUAL(&own, &io));

    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0); /* as taskset does */
    placement_turn(placement, 0, 7000);
    placement_turn(placement, 0, 9000);
    own = affinity(0);
    assert_true(CPU_EQUAL(&own, &all));

    helper_end(&before);
    helper_end(&after);
    placement_destroy(&placement);
    assert_null(placement);
    io_end(&io_threads);
}

static cpu_set_t place_of(actor_t actor, const char *home) {
    placement_t *placement;
    assert_int_equal(placement_new(&placement, actor, home), 0);
    cpu_set_t own = affinity(0);
    placement_destroy(&placement);
    assert_int_equal(teardown(NULL), 0);
    return own;
}

static void a_nodes_actors_agree_on_their_cpus(void **state) {
    (void) state;
    if (CPU_COUNT(&all) < 2)
        skip();
    const char *homes[] = {"/var/lib/drax", "/tmp/node0", "/tmp/node1", "/tmp/node2"};
    cpu_set_t before;
    CPU_ZERO(&before);
    for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++) {
        cpu_set_t gateway = place_of(ACTOR_GATEWAY, homes[i]);
        cpu_set_t raft = place_of(ACTOR_RAFT, homes[i]);
        cpu_set_t storage = place_of(ACTOR_STORAGE, homes[i]);
        assert_false(CPU_EQUAL(&gateway, &raft));
        assert_true(CPU_EQUAL(&storage, &raft));
        if (i > 1)
            assert_false(CPU_EQUAL(&raft, &before)); /* numbered nodes spread */
        before = raft;
    }
}

static void a_quiet_gateway_goes_to_rafts_cpu(void **state) {
    (void) state;
    if (CPU_COUNT(&all) < 2)
        skip();
    assert_false(placement_joins(false, 0, 999));
    assert_true(placement_joins(false, 8, 1000));
    assert_true(placement_joins(true, 8, 0));
    assert_false(placement_joins(true, 9, 5000));
    const char *home = "/tmp/node0";
    cpu_set_t raft = place_of(ACTOR_RAFT, home), gateway = place_of(ACTOR_GATEWAY, home), now;
    placement_t *placement;
    assert_int_equal(placement_new(&placement, ACTOR_GATEWAY, home), 0);
    placement_turn(placement, 1, 5000);
    placement_turn(placement, 1, 5999);
    now = affinity(0);
    assert_true(CPU_EQUAL(&now, &gateway));
    placement_turn(placement, 1, 6000);
    now = affinity(0);
    assert_true(CPU_EQUAL(&now, &raft));
    placement_turn(placement, 100, 6001); /* at once, and for a while */
    placement_turn(placement, 1, 7000);
    now = affinity(0);
    assert_true(CPU_EQUAL(&now, &gateway));
    placement_turn(placement, 1, 7001);
    now = affinity(0);
    assert_true(CPU_EQUAL(&now, &raft));
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0); /* as taskset does */
    placement_turn(placement, 100, 7002);
    placement_turn(placement, 1, 9000);
    now = affinity(0);
    assert_true(CPU_EQUAL(&now, &all));
    placement_destroy(&placement);
}

static void with_one_cpu_there_is_nothing_to_choose(void **state) {
    (void) state;
    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    placement_t *placement;
    assert_int_equal(placement_new(&placement, ACTOR_RAFT, "/a"), 0);
    assert_null(placement);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_freed_when_they_wait_beside_idle_cpus),
        cmocka_unit_test_teardown(the_actor_and_its_io_thread_share_a_cpu, teardown),
        cmocka_unit_test_teardown(a_nodes_actors_agree_on_their_cpus, teardown),
        cmocka_unit_test_teardown(a_quiet_gateway_goes_to_rafts_cpu, teardown),
        cmocka_unit_test_teardown(with_one_cpu_there_is_nothing_to_choose, teardown),
    };
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
