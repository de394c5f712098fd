/* test_loop.c: sources are served, turns come after them, and no later than they asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "actors/loop.h"
#include "broker/error.h"

typedef struct {
    loop_t *loop;
    void *context, *near, *far;
    int fd, other_fd;
    char trace[64];
    unsigned turns, end_after;
    uint64_t deadline_ms; /* relative */
} fixture_t;

static int setup(void **state) {
    static fixture_t fixture;
    fixture_t *f = &fixture;
    memset(f, 0, sizeof *f);
    *state = f;
    f->context = zmq_ctx_new();
    f->near = zmq_socket(f->context, ZMQ_PAIR);
    f->far = zmq_socket(f->context, ZMQ_PAIR);
    f->fd = eventfd(0, EFD_NONBLOCK);
    f->other_fd = eventfd(0, EFD_NONBLOCK);
    f->end_after = 1;
    f->deadline_ms = 20000;
    return zmq_bind(f->near, "inproc://loop") || zmq_connect(f->far, "inproc://loop") ||
           loop_new(&f->loop);
}

static int teardown(void **state) {
    fixture_t *f = *state;
    loop_destroy(&f->loop);
    zmq_close(f->near);
    zmq_close(f->far);
    zmq_ctx_term(f->context);
    close(f->fd);
    close(f->other_fd);
    return 0;
}

static void note(fixture_t *f, char what) {
    f->trace[strlen(f->trace)] = what;
}

static int on_socket(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    char text[8];
    assert_true(now_ms <= loop_now_ms());
    while (zmq_recv(f->near, text, sizeof text, ZMQ_DONTWAIT) >= 0)
        note(f, 's');
    return 0;
}

static int on_fd(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    eventfd_t value;
    (void) now_ms;
    assert_int_equal(eventfd_read(f->fd, &value), 0);
    note(f, 'f');
    return 0;
}

static int on_turn(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    (void) now_ms;
    note(f, 't');
    return ++f->turns == f->end_after ? LOOP_DONE : 0;
}

static int on_other_turn(void *hint, uint64_t now_ms) {
    (void) now_ms;
    note(hint, 'o');
    return 0;
}

static uint64_t deadline(const void *hint, uint64_t now_ms) {
    const fixture_t *f = hint;
    return now_ms + f->deadline_ms;
}

static void sources_come_before_turns(void **state) {
    fixture_t *f = *state;
    loop_add(f->loop, f->near, -1, on_socket, f);
    loop_add(f->loop, NULL, f->fd, on_fd, f);
    loop_each_turn(f->loop, on_other_turn, NULL, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    zmq_send(f->far, "a", 1, 0);
    zmq_send(f->far, "b", 1, 0);
    eventfd_write(f->fd, 1);
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_string_equal(f->trace, "ssfot");
}

static void a_deadline_wakes_the_loop(void **state) {
    fixture_t *f = *state;
    loop_add(f->loop, NULL, f->fd, on_fd, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    f->deadline_ms = 30;
    uint64_t begun = loop_now_ms();
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_true(loop_now_ms() - begun >= 29);
    assert_true(loop_now_ms() - begun < 900); /* not the longest wait */
    f->deadline_ms = 0;
    f->turns = 0;
    f->end_after = 20;
    begun = loop_now_ms();
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_true(loop_now_ms() - begun < 900);
}

static uint64_t passed(const void *hint, uint64_t now_ms) {
    (void) hint;
    (void) now_ms;
    return 1; /* long ago */
}

static void a_deadline_that_passed_does_not_wait(void **state) {
    fixture_t *f = *state;
    loop_each_turn(f->loop, on_turn, passed, f);
    f->end_after = 30;
    uint64_t begun = loop_now_ms();
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_true(loop_now_ms() - begun < 900);
}

static int swap_sources(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    (void) now_ms;
    note(f, 'x');
    loop_remove(f->loop, NULL, f->other_fd);
    loop_add(f->loop, NULL, f->fd, on_fd, f);
    return 0;
}

static void a_handler_may_change_the_sources(void **state) {
    fixture_t *f = *state;
    loop_add(f->loop, NULL, f->other_fd, swap_sources, f);
    loop_add(f->loop, f->near, -1, on_socket, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    eventfd_write(f->fd, 1);
    eventfd_write(f->other_fd, 1); /* stays readable, but nobody looks any more */
    zmq_send(f->far, "a", 1, 0);
    f->end_after = 2;
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_string_equal(f->trace, "xtsft");
}

static int end_badly(void *hint, uint64_t now_ms) {
    (void) hint;
    (void) now_ms;
    return DRAX_EIO;
}

static void a_failure_ends_the_loop(void **state) {
    fixture_t *f = *state;
    loop_add(f->loop, NULL, f->fd, end_badly, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    eventfd_write(f->fd, 1);
    assert_int_equal(loop_run(f->loop), DRAX_EIO);
    assert_string_equal(f->trace, "");
    loop_remove(f->loop, NULL, f->fd);
    loop_each_turn(f->loop, end_badly, NULL, f);
    f->deadline_ms = 0;
    f->end_after = 5;
    assert_int_equal(loop_run(f->loop), DRAX_EIO);
    assert_string_equal(f->trace, "t");
}

static void many_sources(void **state) {
    fixture_t *f = *state;
    int fds[40];
    for (unsigned i = 0; i < 40; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK);
        assert_int_equal(loop_add(f->loop, NULL, fds[i], on_fd, f), 0);
    }
    loop_add(f->loop, f->near, -1, on_socket, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    for (unsigned i = 0; i < 40; i += 2)
        loop_remove(f->loop, NULL, fds[i]);
    zmq_send(f->far, "a", 1, 0);
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_string_equal(f->trace, "st");
    for (unsigned i = 0; i < 40; i++)
        close(fds[i]);
}

static int on_socket_once(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    char text[8];
    (void) now_ms;
    if (zmq_recv(f->near, text, sizeof text, ZMQ_DONTWAIT) < 0)
        return 0;
    note(f, 's');
    return LOOP_MORE;
}

static void a_handler_may_leave_some_for_the_next_turn(void **state) {
    fixture_t *f = *state;
    loop_add(f->loop, f->near, -1, on_socket_once, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    for (int i = 0; i < 3; i++)
        zmq_send(f->far, "a", 1, 0);
    f->end_after = 3;
    uint64_t begun = loop_now_ms();
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_true(loop_now_ms() - begun < 900);
    assert_string_equal(f->trace, "ststst");
}

/* Takes the sign that there is a message away from the descriptor, as a send may. */
static int use_socket(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    int events = 0;
    size_t size = sizeof events;
    on_fd(hint, now_ms);
    zmq_send(f->far, "a", 1, 0);
    assert_int_equal(zmq_getsockopt(f->near, ZMQ_EVENTS, &events, &size), 0);
    assert_true(events & ZMQ_POLLIN);
    loop_used(f->loop, f->near);
    return 0;
}

static void a_socket_that_was_used_is_asked(void **state) {
    fixture_t *f = *state;
    loop_add(f->loop, f->near, -1, on_socket, f);
    loop_add(f->loop, NULL, f->fd, use_socket, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    assert_int_equal(eventfd_write(f->fd, 1), 0);
    f->end_after = 2;
    uint64_t begun = loop_now_ms();
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_true(loop_now_ms() - begun < 900);
    assert_string_equal(f->trace, "ftst");
}

static void what_came_before_a_socket_was_added_is_served(void **state) {
    fixture_t *f = *state;
    int events = 0;
    size_t size = sizeof events;
    zmq_send(f->far, "a", 1, 0);
    assert_int_equal(zmq_getsockopt(f->near, ZMQ_EVENTS, &events, &size), 0);
    loop_add(f->loop, f->near, -1, on_socket, f);
    loop_each_turn(f->loop, on_turn, deadline, f);
    uint64_t begun = loop_now_ms();
    assert_int_equal(loop_run(f->loop), LOOP_DONE);
    assert_true(loop_now_ms() - begun < 900);
    assert_string_equal(f->trace, "st");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sources_come_before_turns),
        T(a_deadline_wakes_the_loop),
        T(a_deadline_that_passed_does_not_wait),
        T(a_handler_may_change_the_sources),
        T(a_failure_ends_the_loop),
        T(many_sources),
        T(a_handler_may_leave_some_for_the_next_turn),
        T(a_socket_that_was_used_is_asked),
        T(what_came_before_a_socket_was_added_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
