/* test_clients.c: envelopes come and go unchanged, for every kind of client socket; a client that
 * is slow or gone is told apart. Real sockets on loopback. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

#include "actors/clients.h"
#include "broker/error.h"
#include "broker/limits.h"

#define WAIT_MS 10000

typedef struct {
    void *context;
    clients_t *clients;
    char endpoint[128];
} fixture_t;

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    assert_non_null(f);
    char detail[256] = "";
    f->context = zmq_ctx_new();
    assert_int_equal(clients_new(&f->clients, f->context, "127.0.0.1:*", detail, sizeof detail), 0);
    size_t size = sizeof f->endpoint;
    assert_int_equal(
        zmq_getsockopt(clients_socket(f->clients), ZMQ_LAST_ENDPOINT, f->endpoint, &size), 0);
    /* With IPv6 off it is written as it was given. */
    assert_memory_equal(f->endpoint, "tcp://127.0.0.1:", 16);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_t *f = *state;
    clients_destroy(&f->clients);
    zmq_ctx_term(f->context);
    free(f);
    return 0;
}

static void *client_open(const fixture_t *f, int type) {
    void *socket = zmq_socket(f->context, type);
    assert_non_null(socket);
    int linger = 0, timeout = WAIT_MS, correlate = 1;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout, sizeof timeout);
    if (type == ZMQ_REQ)
        zmq_setsockopt(socket, ZMQ_REQ_CORRELATE, &correlate, sizeof correlate);
    assert_int_equal(zmq_connect(socket, f->endpoint), 0);
    return socket;
}

static void frame_send(void *socket, const char *text, bool more) {
    assert_int_equal(zmq_send(socket, text, strlen(text), more ? ZMQ_SNDMORE : 0),
                     (int) strlen(text));
}

static void frame_expect(void *socket, const char *text, bool more) {
    char got[256];
    int size = zmq_recv(socket, got, sizeof got, 0);
    assert_int_equal(size, (int) strlen(text));
    assert_memory_equal(got, text, strlen(text));
    int has_more;
    size_t option = sizeof has_more;
    assert_int_equal(zmq_getsockopt(socket, ZMQ_RCVMORE, &has_more, &option), 0);
    assert_int_equal(has_more, more);
}

static int receive(fixture_t *f, envelope_t **envelope, slice_t *payload) {
    zmq_pollitem_t item = {clients_socket(f->clients), 0, ZMQ_POLLIN, 0};
    assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
    return clients_receive(f->clients, envelope, payload);
}

/* Takes one message and sends "answer" back. */
static void answer_one(fixture_t *f, const char *payload_expected) {
    envelope_t *envelope;
    slice_t payload;
    assert_int_equal(receive(f, &envelope, &payload), 0);
    assert_int_equal(payload.size, strlen(payload_expected));
    assert_memory_equal(payload.data, payload_expected, payload.size);
    assert_int_equal(clients_send(f->clients, envelope, (slice_t){(const uint8_t *) "answer", 6}),
                     0);
    free(envelope);
}

static void nothing_there(fixture_t *f) {
    envelope_t *envelope;
    slice_t payload;
    assert_int_equal(clients_receive(f->clients, &envelope, &payload), DRAX_EAGAIN);
    assert_null(envelope);
}

static void a_req_gets_its_answer(void **state) {
    fixture_t *f = *state;
    nothing_there(f);
    void *req = client_open(f, ZMQ_REQ);
    for (unsigned i = 0; i < 3; i++) { /* the correlation frame differs each time */
        frame_send(req, "question", false);
        answer_one(f, "question");
        frame_expect(req, "answer", false);
    }
    nothing_there(f);
    zmq_close(req);
}

static void a_dealer_gets_its_frames_back(void **state) {
    fixture_t *f = *state;
    void *dealer = client_open(f, ZMQ_DEALER);
    frame_send(dealer, "bare", false);
    answer_one(f, "bare");
    frame_expect(dealer, "answer", false);
    frame_send(dealer, "", true);
    frame_send(dealer, "", false); /* an empty payload is one */
    answer_one(f, "");
    frame_expect(dealer, "", true);
    frame_expect(dealer, "answer", false);
    frame_send(dealer, "one", true);
    frame_send(dealer, "", true);
    frame_send(dealer, "three\xff", true);
    frame_send(dealer, "payload", false);
    answer_one(f, "payload");
    frame_expect(dealer, "one", true);
    frame_expect(dealer, "", true);
    frame_expect(dealer, "three\xff", true);
    frame_expect(dealer, "answer", false);
    zmq_close(dealer);
}

static void answers_go_to_who_asked(void **state) {
    fixture_t *f = *state;
    void *one = client_open(f, ZMQ_DEALER), *other = client_open(f, ZMQ_DEALER);
    envelope_t *first, *second;
    slice_t payload;
    frame_send(one, "1", false);
    assert_int_equal(receive(f, &first, &payload), 0);
    frame_send(other, "2", false);
    assert_int_equal(receive(f, &second, &payload), 0);
    assert_int_equal(payload.data[0], '2');
    assert_int_equal(clients_send(f->clients, second, (slice_t){(const uint8_t *) "b", 1}), 0);
    assert_int_equal(clients_send(f->clients, first, (slice_t){(const uint8_t *) "a", 1}), 0);
    frame_expect(one, "a", false);
    frame_expect(other, "b", false);
    free(first);
    free(second);
    zmq_close(one);
    zmq_close(other);
}

static void frames_beyond_the_limit_are_dropped(void **state) {
    fixture_t *f = *state;
    void *dealer = client_open(f, ZMQ_DEALER);
    envelope_t *envelope;
    slice_t payload;
    /* The routing id is one of them. */
    for (unsigned i = 0; i < LIMIT_ENVELOPE_FRAMES - 1; i++)
        frame_send(dealer, "f", true);
    frame_send(dealer, "fits", false);
    answer_one(f, "fits");
    for (unsigned i = 0; i < LIMIT_ENVELOPE_FRAMES - 1; i++)
        frame_expect(dealer, "f", true);
    frame_expect(dealer, "answer", false);
    for (unsigned i = 0; i < 3 * LIMIT_ENVELOPE_FRAMES; i++)
        frame_send(dealer, "f", true);
    frame_send(dealer, "too many", false);
    assert_int_equal(receive(f, &envelope, &payload), DRAX_EPROTO);
    assert_null(envelope);
    static const char large[LIMIT_ENVELOPE_BYTES + 100];
    zmq_send(dealer, large, sizeof large, ZMQ_SNDMORE);
    frame_send(dealer, "too large", false);
    assert_int_equal(receive(f, &envelope, &payload), DRAX_EPROTO);
    static const char larger[UINT16_MAX + 2u];
    zmq_send(dealer, larger, sizeof larger, ZMQ_SNDMORE);
    frame_send(dealer, "too large", false);
    assert_int_equal(receive(f, &envelope, &payload), DRAX_EPROTO);
    /* The connection still serves. */
    frame_send(dealer, "next", false);
    answer_one(f, "next");
    frame_expect(dealer, "answer", false);
    zmq_close(dealer);
}

static void a_client_that_does_not_read_is_said_so(void **state) {
    fixture_t *f = *state;
    void *slow = zmq_socket(f->context, ZMQ_DEALER), *other = client_open(f, ZMQ_DEALER);
    int linger = 0, one = 1, timeout = WAIT_MS;
    zmq_setsockopt(slow, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(slow, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(slow, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    assert_int_equal(zmq_connect(slow, f->endpoint), 0);
    envelope_t *envelope;
    slice_t payload;
    frame_send(slow, "question", false);
    assert_int_equal(receive(f, &envelope, &payload), 0);
    const size_t size = 1u << 20;
    uint8_t *large = calloc(1, size);
    int rc = 0, sent = 0;
    while (rc == 0 && sent < 2000) {
        rc = clients_send(f->clients, envelope, (slice_t){large, size});
        sent += rc == 0;
    }
    assert_int_equal(rc, DRAX_EAGAIN);
    frame_send(other, "question", false); /* nobody else is held up */
    answer_one(f, "question");
    frame_expect(other, "answer", false);
    /* Once it reads, it gets what was taken for it, whole, and room for more. */
    for (int i = 0; i < sent; i++)
        assert_int_equal(zmq_recv(slow, large, size, 0), (int) size);
    assert_int_equal(clients_send(f->clients, envelope, (slice_t){(const uint8_t *) "answer", 6}),
                     0);
    frame_expect(slow, "answer", false);
    free(large);
    free(envelope);
    zmq_close(slow);
    zmq_close(other);
}

static void a_client_that_is_gone_is_said_so(void **state) {
    fixture_t *f = *state;
    void *dealer = client_open(f, ZMQ_DEALER);
    envelope_t *envelope;
    slice_t payload;
    frame_send(dealer, "question", false);
    assert_int_equal(receive(f, &envelope, &payload), 0);
    zmq_close(dealer);
    int rc = 0;
    for (int waited_ms = 0; rc == 0 && waited_ms < WAIT_MS; waited_ms++) {
        zmq_pollitem_t item = {clients_socket(f->clients), 0, ZMQ_POLLIN, 0};
        zmq_poll(&item, 1, 1); /* no event of a ROUTER tells of this */
        rc = clients_send(f->clients, envelope, (slice_t){(const uint8_t *) "answer", 6});
    }
    assert_int_equal(rc, DRAX_ENOTFOUND);
    free(envelope);
}

static void an_address_in_use_is_named(void **state) {
    fixture_t *f = *state;
    clients_t *second;
    char detail[256] = "", address[128];
    strcpy(address, f->endpoint + strlen("tcp://"));
    assert_int_equal(clients_new(&second, f->context, address, detail, sizeof detail), DRAX_EINUSE);
    assert_null(second);
    assert_non_null(strstr(detail, address));
}

static void a_host_name_is_bound(void **state) {
    fixture_t *f = *state;
    clients_t *clients;
    char detail[256] = "", address[64];
    /* Another port of the loopback interface, by name: the one in use tells which are likely free.
     */
    int rc = DRAX_EINUSE;
    for (unsigned port = 20000; rc == DRAX_EINUSE && port < 20100; port++) {
        snprintf(address, sizeof address, "localhost:%u", port);
        rc = clients_new(&clients, f->context, address, detail, sizeof detail);
    }
    assert_int_equal(rc, 0);
    clients_destroy(&clients);
}

/* As in an embedded node: beside the port, or alone. */
static void clients_of_the_process_are_served(void **state) {
    fixture_t *f = *state;
    void *outside = client_open(f, ZMQ_REQ);
    assert_int_equal(clients_bind_inproc(f->clients, "inproc://beside"), 0);
    assert_int_equal(clients_bind_inproc(f->clients, "inproc://beside"), DRAX_EIO);
    strcpy(f->endpoint, "inproc://beside");
    void *inside = client_open(f, ZMQ_DEALER);
    frame_send(inside, "from inside", false);
    answer_one(f, "from inside");
    frame_expect(inside, "answer", false);
    frame_send(outside, "from outside", false);
    answer_one(f, "from outside");
    frame_expect(outside, "answer", false);
    zmq_close(outside);
    zmq_close(inside);

    clients_t *alone;
    char detail[256] = "";
    assert_int_equal(clients_new(&alone, f->context, NULL, detail, sizeof detail), 0);
    assert_int_equal(clients_bind_inproc(alone, "inproc://alone"), 0);
    clients_destroy(&alone);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_req_gets_its_answer),
        T(a_dealer_gets_its_frames_back),
        T(answers_go_to_who_asked),
        T(frames_beyond_the_limit_are_dropped),
        T(a_client_that_does_not_read_is_said_so),
        T(a_client_that_is_gone_is_said_so),
        T(an_address_in_use_is_named),
        T(a_host_name_is_bound),
        T(clients_of_the_process_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
