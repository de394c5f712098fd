/* test_node_failure.c: an embedded node whose disk fails: it ends, tells, and has lost nothing; and
 * what it logs. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/embed/node_helper.h"

typedef struct {
    sem_t ended;
    int error;
    char detail[DRAX_NODE_DETAIL_BYTES];
} told_t;

static void on_end(void *hint, int error, const char *detail) {
    told_t *self = hint;
    self->error = error;
    snprintf(self->detail, sizeof self->detail, "%s", detail);
    sem_post(&self->ended);
}

/* Every write to a file beyond its first `bytes` fails with EFBIG, for this whole process. The
 * node's threads block SIGXFSZ, which it would raise elsewhere. */
static void file_limit_set(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_disk_that_fails(void **state) {
    node_folder_t *folder = *state;
    told_t told = {0};
    assert_int_equal(sem_init(&told.ended, 0, 0), 0);
    drax_node_options_t *options = node_options(folder, "a", NULL, NULL);
    drax_node_options_ended_set(options, on_end, &told);
    drax_node_t *node = node_up(folder, options);
    drax_t *store = node_store(node);
    value_put(store, "a", "before");
    file_limit_set(1);
    assert_int_equal(drax_put(store, "a", 1, "after", 5, NULL, NULL), DRAX_ERR_TIMEOUT);
    assert_int_equal(drax_node_end_wait(node, NODE_WAIT_MS, folder->detail, sizeof folder->detail),
                     DRAX_ERR_STORAGE);
    assert_int_equal(sem_wait(&told.ended), 0);
    file_limit_set(RLIM_INFINITY);
    assert_int_equal(told.error, DRAX_ERR_STORAGE);
    assert_string_equal(told.detail, folder->detail);
    assert_non_null(strstr(told.detail, "storage: cannot go on"));
    assert_int_equal(drax_node_ready_wait(node, NODE_WAIT_MS), DRAX_ERR_STORAGE);
    assert_int_equal(drax_get(store, "a", 1, NULL, NULL), DRAX_ERR_UNAVAILABLE);

    drax_node_t *other; /* the home is free again before the node is stopped */
    assert_int_equal(drax_node_start(&other, options, NULL, 0), 0);
    assert_int_equal(drax_node_ready_wait(other, NODE_WAIT_MS), 0);
    drax_node_stop(&node);
    drax_destroy(&store);
    store = node_store(other);
    drax_result_t *result;
    assert_int_equal(drax_get(store, "a", 1, NULL, &result), 0);
    size_t size;
    const char *value = drax_result_value(result, &size);
    assert_true((size == 6 && memcmp(value, "before", 6) == 0) ||
                (size == 5 && memcmp(value, "after", 5) == 0));
    drax_result_destroy(&result);
    drax_destroy(&store);
    drax_node_stop(&other);
    assert_int_equal(sem_trywait(&told.ended), -1); /* told once, and not of a stop */
    sem_destroy(&told.ended);
    drax_node_options_destroy(&options);
}

static void test_a_damaged_home_is_told(void **state) {
    node_folder_t *folder = *state;
    drax_node_options_t *options = node_options(folder, "a", NULL, NULL);
    drax_node_t *node = node_up(folder, options);
    drax_node_stop(&node);
    char path[128];
    snprintf(path, sizeof path, "%s/a/identity", folder->top);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fputs("no", file) >= 0, 1);
    fclose(file);
    assert_int_equal(drax_node_start(&node, options, folder->detail, sizeof folder->detail),
                     DRAX_ERR_STORAGE);
    assert_null(node);
    assert_non_null(strstr(folder->detail, "identity"));
    drax_node_options_destroy(&options);
}

/* ---- the log ---- */

typedef struct {
    pthread_mutex_t lock;
    unsigned lines, levels[4];
    unsigned storage, raft, gateway;
    unsigned broken; /* with a newline in it */
} log_count_t;

static void on_log(void *hint, drax_log_level_t level, const char *actor, const char *text) {
    log_count_t *self = hint;
    pthread_mutex_lock(&self->lock);
    self->lines++;
    self->levels[level]++;
    self->storage += strcmp(actor, "storage") == 0;
    self->raft += strcmp(actor, "raft") == 0;
    self->gateway += strcmp(actor, "gateway") == 0;
    self->broken += strchr(text, '\n') != NULL;
    pthread_mutex_unlock(&self->lock);
}

static void test_the_log_is_the_hosts(void **state) {
    node_folder_t *folder = *state;
    log_count_t count = {.lock = PTHREAD_MUTEX_INITIALIZER};
    drax_node_options_t *options = node_options(folder, "a", NULL, NULL);
    drax_node_options_log_set(options, on_log, &count);
    drax_node_t *node = node_up(folder, options);
    drax_node_stop(&node);
    assert_true(count.levels[DRAX_LOG_INFO] > 0);
    assert_true(count.storage > 0 && count.raft > 0);
    assert_int_equal(count.levels[DRAX_LOG_DEBUG], 0);
    assert_int_equal(count.broken, 0);

    unsigned lines = count.lines;
    assert_int_equal(drax_node_options_set(options, "log-level", "debug"), 0);
    node = node_up(folder, options);
    drax_node_stop(&node);
    assert_true(count.levels[DRAX_LOG_DEBUG] > 0 && count.gateway > 0);
    assert_true(count.lines > lines);

    lines = count.lines;
    assert_int_equal(drax_node_options_set(options, "log-level", "error"), 0);
    node = node_up(folder, options);
    drax_node_stop(&node);
    assert_int_equal(count.lines, lines);
    drax_node_options_destroy(&options);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, node_folder_setup, node_folder_teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_disk_that_fails),
        T(test_a_damaged_home_is_told),
        T(test_the_log_is_the_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
