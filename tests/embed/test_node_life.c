/* test_node_life.c: an embedded node starts, serves, stops and starts again, and leaves its host as
 * it was. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/embed/node_helper.h"

static void test_serves_and_keeps(void **state) {
    node_folder_t *folder = *state;
    char addr[32];
    drax_node_options_t *options = node_options(folder, "a", NULL, addr);
    drax_node_t *node = node_up(folder, options);
    drax_t *inside = node_store(node), *outside;
    assert_int_equal(drax_new(&outside, addr), 0);
    value_put(inside, "color", "red");
    value_expect(outside, "color", "red");
    value_put(outside, "color", "blue");
    value_expect(inside, "color", "blue");
    drax_destroy(&inside);
    drax_node_stop(&node);
    assert_null(node);
    drax_node_stop(&node);

    node = node_up(folder, options);
    inside = node_store(node);
    value_expect(inside, "color", "blue");
    value_expect(outside, "color", "blue"); /* the client found the node again */
    drax_destroy(&inside);
    drax_destroy(&outside);
    drax_node_stop(&node);
    drax_node_options_destroy(&options);
    assert_null(options);
}

static void failure_expect(node_folder_t *folder, const drax_node_options_t *options, int error,
                           const char *part) {
    drax_node_t *node;
    assert_int_equal(drax_node_start(&node, options, folder->detail, sizeof folder->detail), error);
    assert_null(node);
    if (!strstr(folder->detail, part))
        print_error("'%s' is not in '%s'\n", part, folder->detail);
    assert_non_null(strstr(folder->detail, part));
    assert_int_equal(drax_node_start(&node, options, NULL, 0), error);
}

static void test_bad_options_are_told(void **state) {
    node_folder_t *folder = *state;
    drax_node_options_t *options = drax_node_options_new();
    failure_expect(folder, options, DRAX_ERR_USAGE, "home is not set");
    char home[4200];
    memset(home, 'x', sizeof home);
    memcpy(home, folder->top, strlen(folder->top));
    home[strlen(folder->top)] = '/';
    home[3901] = '\0';
    assert_int_equal(drax_node_options_set(options, "home", home), 0);
    failure_expect(folder, options, DRAX_ERR_USAGE, "longer than 3900");
    drax_node_options_destroy(&options);

    options = node_options(folder, "a", NULL, NULL);
    assert_int_equal(drax_node_options_set(options, "colour", "red"), 0);
    failure_expect(folder, options, DRAX_ERR_USAGE, "'colour'");
    drax_node_options_destroy(&options);

    options = node_options(folder, "a", NULL, NULL);
    assert_int_equal(drax_node_options_set(options, "addr", "nowhere"), 0);
    failure_expect(folder, options, DRAX_ERR_USAGE, "nowhere");
    drax_node_options_destroy(&options);

    options = node_options(folder, "a", NULL, NULL); /* an address of some other machine */
    assert_int_equal(drax_node_options_set(options, "addr", "192.0.2.1:2380"), 0);
    failure_expect(folder, options, DRAX_ERR_USAGE, "192.0.2.1:2380");
    drax_node_options_destroy(&options);
}

static bool home_has(const node_folder_t *folder, const char *home, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s/%s", folder->top, home, name);
    return access(path, F_OK) == 0;
}

static void test_a_home_or_port_in_use_is_named(void **state) {
    node_folder_t *folder = *state;
    char addr[32], other_addr[32];
    drax_node_options_t *options = node_options(folder, "a", NULL, addr);
    drax_node_options_t *same_home = node_options(folder, "a", NULL, NULL);
    drax_node_options_t *same_port = node_options(folder, "b", NULL, other_addr);
    drax_node_t *node = node_up(folder, options);
    char home[128];
    snprintf(home, sizeof home, "%s/a", folder->top);
    failure_expect(folder, same_home, DRAX_ERR_IN_USE, home);
    assert_int_equal(drax_node_options_set(same_port, "addr", addr), 0);
    failure_expect(folder, same_port, DRAX_ERR_IN_USE, addr);
    assert_false(home_has(folder, "b", "identity")); /* nothing was begun there */
    drax_t *store = node_store(node);                /* and the first one is as it was */
    value_put(store, "a", "b");
    drax_destroy(&store);
    drax_node_stop(&node);
    node = node_up(folder, same_home);
    drax_node_stop(&node);
    drax_node_options_destroy(&options);
    drax_node_options_destroy(&same_home);
    drax_node_options_destroy(&same_port);
}

static void test_an_unbound_node_is_for_its_host_alone(void **state) {
    node_folder_t *folder = *state;
    char addr[32];
    drax_node_options_t *options = node_options(folder, "a", NULL, addr);
    drax_node_options_unbound_set(options, true);
    drax_node_t *node = node_up(folder, options);
    drax_t *store = node_store(node), *outside;
    value_put(store, "a", "b");
    value_expect(store, "a", "b");
    assert_int_equal(drax_new(&outside, addr), 0);
    assert_int_equal(drax_timeout_set(outside, 300), 0);
    assert_int_equal(drax_ping(outside, NULL, NULL), DRAX_ERR_UNAVAILABLE);
    drax_destroy(&outside);
    drax_destroy(&store);
    drax_node_stop(&node);
    drax_node_options_destroy(&options);
}

static void test_a_client_may_outlive_its_node(void **state) {
    node_folder_t *folder = *state;
    drax_node_options_t *options = node_options(folder, "a", NULL, NULL);
    drax_node_t *node = node_up(folder, options);
    drax_t *store = node_store(node), *unused = node_store(node);
    value_put(store, "a", "b");
    drax_node_stop(&node);
    uint64_t began_ms = clock_ms();
    assert_int_equal(drax_timeout_set(store, 60000), 0);
    assert_int_equal(drax_put(store, "a", 1, "c", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);
    assert_int_equal(drax_put(unused, "a", 1, "c", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);
    assert_true(clock_ms() - began_ms < 10000);
    node = node_up(folder, options); /* the home is free while they live */
    drax_node_stop(&node);
    drax_destroy(&store);
    drax_destroy(&unused);
    drax_node_options_destroy(&options);
}

/* ---- what the host has is not touched ---- */

static void test_nothing_is_left(void **state) {
    node_folder_t *folder = *state;
    drax_node_options_t *options = node_options(folder, "a", NULL, NULL);
    size_t descriptors = 0, threads = 0;
    for (int round = 0; round < 4; round++) {
        drax_node_t *node = node_up(folder, options);
        drax_t *store = node_store(node);
        value_put(store, "a", "b");
        assert_true(threads_count() > threads);
        drax_destroy(&store);
        drax_node_stop(&node);
        if (round == 0) { /* LevelDB's thread is there now, and stays */
            descriptors = descriptors_count();
            threads = threads_count();
        }
        assert_int_equal(descriptors_count(), descriptors);
        threads_expect(threads);
    }
    drax_node_options_destroy(&options);
}

/* SigBlk of /proc/self/task/NAME/status; false: that thread has just ended. */
static bool blocked_read(const char *name, unsigned long long *mask) {
    char path[300], line[128];
    snprintf(path, sizeof path, "/proc/self/task/%s/status", name);
    FILE *file = fopen(path, "r");
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        found = strncmp(line, "SigBlk:", 7) == 0;
        *mask = found ? strtoull(line + 7, NULL, 16) : 0;
    }
    if (file)
        fclose(file);
    return found;
}

static void every_thread_blocks_signals(void) {
    const unsigned long long needed = 1ull << (SIGTERM - 1) | 1ull << (SIGPIPE - 1) |
                                      1ull << (SIGUSR1 - 1) | 1ull << (SIGCHLD - 1);
    unsigned open = 0, blocked = 0;
    unsigned long long mask;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.' || !blocked_read(task->d_name, &mask))
            continue;
        blocked += (mask & needed) == needed;
        open += (mask & needed) != needed;
    }
    closedir(tasks);
    assert_int_equal(open, 1); /* this one */
    assert_true(blocked >= 3);
}

static void test_the_host_stays_as_it_was(void **state) {
    node_folder_t *folder = *state;
    char before[4096], after[4096];
    assert_non_null(getcwd(before, sizeof before));
    mode_t mask = umask(0);
    assert_int_equal(setenv("DRAX_ADDR", "not an address", 1), 0);
    drax_node_options_t *options = node_options(folder, "a", NULL, NULL);
    drax_node_t *node = node_up(folder, options);
    every_thread_blocks_signals();
    struct sigaction action;
    for (int number = 1; number < 32; number++) {
        assert_int_equal(sigaction(number, NULL, &action), 0);
        if (number == SIGPIPE || number == SIGTERM || number == SIGINT || number == SIGCHLD)
            assert_ptr_equal(action.sa_handler, SIG_DFL);
    }
    char path[128];
    struct stat home;
    snprintf(path, sizeof path, "%s/a", folder->top);
    assert_int_equal(stat(path, &home), 0);
    assert_int_equal(home.st_mode & 0777, 0700);
    drax_node_stop(&node);
    drax_node_options_destroy(&options);
    assert_int_equal(unsetenv("DRAX_ADDR"), 0);
    assert_int_equal(umask(mask), 0);
    assert_non_null(getcwd(after, sizeof after));
    assert_string_equal(before, after);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, node_folder_setup, node_folder_teardown)
    const struct CMUnitTest tests[] = {
        T(test_serves_and_keeps),
        T(test_bad_options_are_told),
        T(test_a_home_or_port_in_use_is_named),
        T(test_an_unbound_node_is_for_its_host_alone),
        T(test_a_client_may_outlive_its_node),
        T(test_nothing_is_left),
        T(test_the_host_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
