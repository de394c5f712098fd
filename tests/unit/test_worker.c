/* test_worker.c: jobs run in order on the worker's thread and are collected on the caller's. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "actors/worker.h"

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: jobs wait in run */
static char trace[64];

typedef struct {
    worker_job_t job; /* first, so that a job's address is its test job's */
    char name;
    pthread_t ran_on, done_on;
    bool ran, done;
} test_job_t;

static void run(worker_job_t *job) {
    test_job_t *self = (test_job_t *) job;
    pthread_mutex_lock(&gate);
    size_t at = strlen(trace);
    trace[at] = self->name;
    self->ran_on = pthread_self();
    self->ran = true;
    pthread_mutex_unlock(&gate);
}

static void done(worker_job_t *job) {
    test_job_t *self = (test_job_t *) job;
    assert_true(self->ran);
    self->done_on = pthread_self();
    self->done = true;
}

static test_job_t job_make(char name) {
    return (test_job_t){.job = {.run = run, .done = done}, .name = name};
}

static int setup(void **state) {
    (void) state;
    memset(trace, 0, sizeof trace);
    return 0;
}

static void collect_until(worker_t *worker, const test_job_t *job) {
    while (!job->done) {
        struct pollfd waiting = {worker_fd(worker), POLLIN, 0};
        assert_int_equal(poll(&waiting, 1, 10000), 1);
        worker_collect(worker);
    }
}

static void without_a_thread_a_job_is_done_at_once(void **state) {
    (void) state;
    worker_t *worker;
    assert_int_equal(worker_new(&worker, WORKER_INLINE), 0);
    assert_int_equal(worker_fd(worker), -1);
    test_job_t job = job_make('a');
    worker_submit(worker, &job.job);
    assert_true(job.done);
    worker_collect(worker);
    worker_destroy(&worker);
    assert_null(worker);
}

static void jobs_run_elsewhere_and_in_order(void **state) {
    (void) state;
    worker_t *worker;
    assert_int_equal(worker_new(&worker, WORKER_THREAD), 0);
    test_job_t jobs[] = {job_make('a'), job_make('b'), job_make('c')};
    pthread_mutex_lock(&gate);
    for (size_t i = 0; i < 3; i++)
        worker_submit(worker, &jobs[i].job);
    worker_collect(worker);
    assert_false(jobs[0].ran); /* submit and collect do not wait for jobs */
    pthread_mutex_unlock(&gate);
    collect_until(worker, &jobs[2]);
    assert_string_equal(trace, "abc");
    for (size_t i = 0; i < 3; i++) {
        assert_true(jobs[i].done);
        assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
        assert_true(pthread_equal(jobs[i].done_on, pthread_self()));
    }
    /* The descriptor is quiet once all is collected (it may have spoken for a job that was
     * collected already), and speaks again. */
    worker_collect(worker);
    struct pollfd waiting = {worker_fd(worker), POLLIN, 0};
    assert_int_equal(poll(&waiting, 1, 0), 0);
    test_job_t more = job_make('d');
    worker_submit(worker, &more.job);
    collect_until(worker, &more);
    worker_destroy(&worker);
}

static void the_end_waits_for_all(void **state) {
    (void) state;
    worker_t *worker;
    assert_int_equal(worker_new(&worker, WORKER_THREAD), 0);
    test_job_t jobs[] = {job_make('a'), job_make('b')};
    for (size_t i = 0; i < 2; i++)
        worker_submit(worker, &jobs[i].job);
    worker_destroy(&worker);
    assert_string_equal(trace, "ab");
    assert_true(jobs[0].done && jobs[1].done);
}

static void deferred_jobs_run_when_told(void **state) {
    (void) state;
    worker_t *worker;
    assert_int_equal(worker_new(&worker, WORKER_DEFERRED), 0);
    assert_int_equal(worker_fd(worker), -1);
    assert_false(worker_waiting(worker));
    assert_false(worker_step(worker));
    test_job_t jobs[] = {job_make('a'), job_make('b'), job_make('c')};
    worker_submit(worker, &jobs[0].job);
    worker_submit(worker, &jobs[1].job);
    worker_collect(worker);
    assert_true(worker_waiting(worker));
    assert_false(jobs[0].ran);
    assert_true(worker_step(worker));
    assert_true(jobs[0].ran);
    assert_false(jobs[0].done); /* until it is collected */
    worker_collect(worker);
    assert_true(jobs[0].done);
    assert_false(jobs[1].ran);
    worker_submit(worker, &jobs[2].job);
    worker_destroy(&worker); /* runs and collects the rest, as a thread would */
    assert_string_equal(trace, "abc");
    assert_true(jobs[1].done && jobs[2].done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_a_thread_a_job_is_done_at_once, setup),
        cmocka_unit_test_setup(jobs_run_elsewhere_and_in_order, setup),
        cmocka_unit_test_setup(the_end_waits_for_all, setup),
        cmocka_unit_test_setup(deferred_jobs_run_when_told, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
