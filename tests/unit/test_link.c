/* test_link.c: messages over real sockets: round trips, lost and full connections, garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/link.h"

#define PATIENCE_MS 20000 /* for what must happen */

typedef struct {
    void *context;
    char directory[64];
    char ipc[96];
    int open; /* inboxes, outlets and raw sockets */
} fixture_t;

static int setup(void **state) {
    fixture_t *fixture = calloc(1, sizeof *fixture);
    if (!fixture)
        return -1;
    strcpy(fixture->directory, "/tmp/drax-link-XXXXXX");
    if (!mkdtemp(fixture->directory))
        return -1;
    snprintf(fixture->ipc, sizeof fixture->ipc, "ipc://%s/a.ipc", fixture->directory);
    fixture->context = zmq_ctx_new();
    *state = fixture;
    return fixture->context ? 0 : -1;
}

static int teardown(void **state) {
    fixture_t *fixture = *state;
    if (fixture->open > 0)
        return -1; /* the test failed; zmq_ctx_term would wait for ever */
    int rc = zmq_ctx_term(fixture->context);
    unlink(fixture->ipc + strlen("ipc://"));
    rc |= rmdir(fixture->directory);
    free(fixture);
    return rc;
}

static link_inbox_t *inbox_open(fixture_t *fixture, link_scope_t scope, const char *endpoint) {
    char detail[256] = "";
    link_inbox_t *inbox = NULL;
    if (link_inbox_new(&inbox, fixture->context, scope, endpoint, detail, sizeof detail) != 0)
        fail_msg("%s", detail);
    fixture->open++;
    return inbox;
}

static void inbox_close(fixture_t *fixture, link_inbox_t **inbox) {
    link_inbox_destroy(inbox);
    fixture->open--;
}

static link_outlet_t *outlet_open(fixture_t *fixture, link_scope_t scope, const char *endpoint) {
    link_outlet_t *outlet = NULL;
    assert_int_equal(link_outlet_new(&outlet, fixture->context, scope, endpoint), 0);
    fixture->open++;
    return outlet;
}

static void outlet_close(fixture_t *fixture, link_outlet_t **outlet) {
    link_outlet_destroy(outlet);
    fixture->open--;
}

static void *raw_open(fixture_t *fixture, int type) {
    int linger = 0, timeout_ms = PATIENCE_MS;
    void *raw = zmq_socket(fixture->context, type);
    assert_non_null(raw);
    fixture->open++;
    assert_int_equal(zmq_setsockopt(raw, ZMQ_LINGER, &linger, sizeof linger), 0);
    assert_int_equal(zmq_setsockopt(raw, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms), 0);
    return raw;
}

static void raw_close(fixture_t *fixture, void *raw) {
    assert_int_equal(zmq_close(raw), 0);
    fixture->open--;
}

/* Where an inbox bound to port * listens. */
static const char *inbox_endpoint(link_inbox_t *inbox, char out[ENDPOINT_BYTES]) {
    size_t size = ENDPOINT_BYTES;
    assert_int_equal(zmq_getsockopt(link_inbox_socket(inbox), ZMQ_LAST_ENDPOINT, out, &size), 0);
    return out;
}

static bool readable(void *socket, long timeout_ms) {
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    return zmq_poll(&item, 1, timeout_ms) == 1;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void receive(link_inbox_t *inbox, message_t *out) {
    assert_true(readable(link_inbox_socket(inbox), PATIENCE_MS));
    assert_int_equal(link_receive(inbox, out), 0);
}

static void event_wait(link_outlet_t *outlet, link_event_t expected) {
    link_event_t event;
    int64_t end = now_ms() + PATIENCE_MS;
    int rc;
    while ((rc = link_outlet_event(outlet, &event)) == DRAX_EAGAIN && now_ms() < end)
        readable(link_outlet_monitor(outlet), 1000);
    assert_int_equal(rc, 0);
    assert_int_equal(event, expected);
}

static message_t clock_message(uint64_t boot) {
    return (message_t){.kind = MESSAGE_CLOCK,
                       .actor = ACTOR_RAFT,
                       .from_boot = boot,
                       .to_boot = 1,
                       .clock = {.time_ms = 5, .term = 3}};
}

static message_t heartbeat_message(uint64_t round) {
    return (message_t){.kind = MESSAGE_HEARTBEAT,
                       .from_boot = 1,
                       .cluster = 9,
                       .from = 1,
                       .to = 2,
                       .term = 3,
                       .heartbeat = {.round = round}};
}

/* Sends until something arrives; connections come up in their own time. */
static void send_until_received(link_outlet_t *outlet, link_inbox_t *inbox,
                                const message_t *message) {
    message_t got;
    int64_t end = now_ms() + PATIENCE_MS;
    int rc;
    while ((rc = link_send(outlet, message)) == DRAX_EAGAIN && now_ms() < end)
        readable(link_inbox_socket(inbox), 5);
    assert_int_equal(rc, 0);
    receive(inbox, &got);
    assert_int_equal(got.kind, message->kind);
    message_clear(&got);
}

/* A lost connection is seen a moment later than its event, and without one on local links. */
static void send_until_refused(link_outlet_t *outlet, const message_t *message) {
    int64_t end = now_ms() + PATIENCE_MS;
    while (link_send(outlet, message) == 0 && now_ms() < end)
        zmq_poll(NULL, 0, 1);
    assert_int_equal(link_send(outlet, message), DRAX_EAGAIN);
}

/* A message with `count` entries, the sizes of which go through all ways to send and receive one.
 */
static message_t append_message(size_t count) {
    static const size_t sizes[] = {1, 63, 64, 1023, 1024, 8191, 8192, 100000};
    message_t message = {.kind = MESSAGE_APPEND,
                         .from_boot = 1,
                         .cluster = 9,
                         .from = 1,
                         .to = 2,
                         .term = 3,
                         .append = {.prev_index = 10, .prev_term = 2, .commit = 4, .time_ms = 5}};
    for (size_t i = 0; i < count; i++) {
        payload_t *payload = payload_new(sizes[i % 8]);
        assert_non_null(payload);
        memset(payload_bytes(payload), (int) (i % 251), sizes[i % 8]);
        const entry_t entry = {
            .index = 11 + i, .term = 3, .time_ms = 5, .kind = ENTRY_BLOCK, .payload = payload};
        assert_int_equal(entries_push(&message.append.entries, &entry), 0);
        payload_unref(&payload);
    }
    return message;
}

static void round_trip(fixture_t *fixture, link_scope_t scope, const char *endpoint) {
    char at[ENDPOINT_BYTES];
    link_inbox_t *inbox = inbox_open(fixture, scope, endpoint);
    link_outlet_t *outlet = outlet_open(fixture, scope, inbox_endpoint(inbox, at));
    message_t none;
    assert_int_equal(link_receive(inbox, &none), DRAX_EAGAIN);
    message_t first = clock_message(7);
    send_until_received(outlet, inbox, &first);
    static const size_t counts[] = {0, 1, 8, LIMIT_APPEND_ENTRIES};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        message_t message = append_message(counts[i]), got;
        assert_int_equal(link_send(outlet, &message), 0);
        receive(inbox, &got);
        assert_int_equal(got.kind, MESSAGE_APPEND);
        assert_int_equal(got.append.prev_index, 10);
        assert_int_equal(got.append.entries.count, counts[i]);
        for (size_t k = 0; k < counts[i]; k++) {
            const payload_t *sent = message.append.entries.items[k].payload;
            const payload_t *came = got.append.entries.items[k].payload;
            assert_int_equal(payload_size(came), payload_size(sent));
            assert_memory_equal(payload_data(came), payload_data(sent), payload_size(sent));
        }
        message_clear(&message);
        message_clear(&got);
    }
    assert_int_equal(link_receive(inbox, &none), DRAX_EAGAIN);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

static void test_round_trip_inproc(void **state) {
    round_trip(*state, LINK_LOCAL, "inproc://drax-test-raft");
}

static void test_round_trip_ipc(void **state) {
    round_trip(*state, LINK_LOCAL, ((fixture_t *) *state)->ipc);
}

static void test_round_trip_tcp(void **state) {
    round_trip(*state, LINK_PEER, "tcp://127.0.0.1:*");
}

/* A payload that is taken over outlives the inbox it came through. */
static void test_payload_outlives_inbox(void **state) {
    fixture_t *fixture = *state;
    link_inbox_t *inbox = inbox_open(fixture, LINK_LOCAL, fixture->ipc);
    link_outlet_t *outlet = outlet_open(fixture, LINK_LOCAL, fixture->ipc);
    message_t first = clock_message(7), message = append_message(8), got;
    send_until_received(outlet, inbox, &first);
    assert_int_equal(link_send(outlet, &message), 0);
    message_clear(&message);
    receive(inbox, &got);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
    const payload_t *last = got.append.entries.items[7].payload;
    assert_int_equal(payload_size(last), 100000);
    assert_int_equal(payload_data(last)[99999], 7);
    message_clear(&got);
}

static void test_receiver_comes_back(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    link_inbox_t *inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*");
    link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, inbox_endpoint(inbox, at));
    const message_t message = heartbeat_message(1), stale = heartbeat_message(2);
    message_t got;
    for (int life = 0; life < 3; life++) {
        event_wait(outlet, LINK_UP);
        /* What is reported up can be sent to at once. */
        assert_int_equal(link_send(outlet, &message), 0);
        receive(inbox, &got);
        assert_int_equal(got.heartbeat.round, 1); /* not the stale one of the life before */
        message_clear(&got);
        assert_int_equal(link_send(outlet, &stale), 0);
        inbox_close(fixture, &inbox);
        event_wait(outlet, LINK_DOWN);
        send_until_refused(outlet, &stale);
        inbox = inbox_open(fixture, LINK_PEER, at);
    }
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

static void test_neighbour_comes_back(void **state) {
    fixture_t *fixture = *state;
    const message_t message = clock_message(7);
    link_outlet_t *outlet = outlet_open(fixture, LINK_LOCAL, fixture->ipc); /* before the inbox */
    assert_null(link_outlet_monitor(outlet));
    link_event_t event;
    assert_int_equal(link_outlet_event(outlet, &event), DRAX_EAGAIN);
    assert_int_equal(link_send(outlet, &message), DRAX_EAGAIN);
    for (int life = 0; life < 3; life++) {
        link_inbox_t *inbox = inbox_open(fixture, LINK_LOCAL, fixture->ipc);
        send_until_received(outlet, inbox, &message);
        inbox_close(fixture, &inbox);
        send_until_refused(outlet, &message);
    }
    outlet_close(fixture, &outlet);
}

/* A peer that freezes without closing its connection is noticed by its missing heartbeats. */
static void test_silent_peer_goes_down(void **state) {
    fixture_t *fixture = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *) &address, size), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *) &address, &size), 0);
    char at[ENDPOINT_BYTES];
    snprintf(at, sizeof at, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, at);
    /* Connections that end before their handshake is through were never up. */
    for (int i = 0; i < 3; i++) {
        int refused = accept(listener, NULL, NULL);
        assert_true(refused >= 0);
        close(refused);
    }
    /* A ROUTER's half of a ZMTP 3.0 NULL handshake, and then not a word. */
    int connection = accept(listener, NULL, NULL);
    assert_true(connection >= 0);
    unsigned char greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    static const unsigned char ready[] = "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";
    assert_int_equal(write(connection, greeting, sizeof greeting), sizeof greeting);
    assert_int_equal(write(connection, ready, sizeof ready - 1), sizeof ready - 1);
    event_wait(outlet, LINK_UP);
    int64_t up = now_ms();
    event_wait(outlet, LINK_DOWN);
    assert_in_range(now_ms() - up, 500, 10000); /* about 1250 on an idle machine */
    outlet_close(fixture, &outlet);
    close(connection);
    close(listener);
}

static void payload_count_down(void *hint) {
    atomic_fetch_sub((atomic_int *) hint, 1);
}

/* Sends a payload of its own each time; `alive` counts those that somebody still holds. */
static int send_counted(link_outlet_t *outlet, atomic_int *alive) {
    static const char bytes[2000];
    payload_t *payload = payload_wrap(bytes, sizeof bytes, payload_count_down, alive);
    assert_non_null(payload);
    atomic_fetch_add(alive, 1);
    message_t message = {.kind = MESSAGE_PROPOSE,
                         .actor = ACTOR_GATEWAY,
                         .from_boot = 2,
                         .to_boot = 1,
                         .propose = {.boot = 2, .seq = 1, .payload = payload}};
    int rc = link_send(outlet, &message);
    message_clear(&message);
    return rc;
}

static void test_full_queue_refuses(void **state) {
    fixture_t *fixture = *state;
    atomic_int alive = 0;
    link_inbox_t *inbox = inbox_open(fixture, LINK_LOCAL, fixture->ipc);
    link_outlet_t *outlet = outlet_open(fixture, LINK_LOCAL, fixture->ipc);
    const message_t first = clock_message(7);
    send_until_received(outlet, inbox, &first);
    /* Full for good, not only until the I/O thread has taken the next ones. */
    int sent = 0, refused = 0;
    while (refused < 100) {
        if (send_counted(outlet, &alive) == 0) {
            refused = 0;
            sent++;
        } else {
            refused++;
            zmq_poll(NULL, 0, 2);
        }
        assert_true(sent < 100000);
    }
    assert_in_range(sent, LIMIT_LINK_QUEUE, 3 * LIMIT_LINK_QUEUE);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(send_counted(outlet, &alive), DRAX_EAGAIN);
    assert_true(atomic_load(&alive) <= (int) LIMIT_LINK_QUEUE + 64);
    /* Not one of those that were taken is lost, and then there is room again. */
    message_t got;
    for (int i = 0; i < sent; i++) {
        receive(inbox, &got);
        assert_int_equal(payload_size(got.propose.payload), 2000);
        message_clear(&got);
    }
    assert_int_equal(link_receive(inbox, &got), DRAX_EAGAIN);
    send_until_received(outlet, inbox, &first);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
    assert_int_equal(zmq_ctx_term(fixture->context), 0);
    assert_int_equal(atomic_load(&alive), 0);
    fixture->context = zmq_ctx_new();
}

static void test_message_over_the_limit_is_not_sent(void **state) {
    fixture_t *fixture = *state;
    link_inbox_t *inbox = inbox_open(fixture, LINK_LOCAL, "inproc://drax-test-limit");
    link_outlet_t *outlet = outlet_open(fixture, LINK_LOCAL, "inproc://drax-test-limit");
    message_t message = {.kind = MESSAGE_FETCHED,
                         .actor = ACTOR_STORAGE,
                         .from_boot = 1,
                         .to_boot = 1,
                         .fetch = {.peer = 2, .from = 1}};
    payload_t *payload = payload_copy("x", 1);
    for (uint64_t i = 1; i < LIMIT_MESSAGE_FRAMES; i++) {
        const entry_t entry = {.index = i, .term = 1, .kind = ENTRY_BLOCK, .payload = payload};
        assert_int_equal(entries_push(&message.fetch.entries, &entry), 0);
    }
    assert_int_equal(link_send(outlet, &message), 0);
    message_t got;
    receive(inbox, &got);
    assert_int_equal(got.fetch.entries.count, LIMIT_MESSAGE_FRAMES - 1);
    message_clear(&got);
    const entry_t entry = {
        .index = LIMIT_MESSAGE_FRAMES, .term = 1, .kind = ENTRY_BLOCK, .payload = payload};
    assert_int_equal(entries_push(&message.fetch.entries, &entry), 0);
    assert_int_equal(link_send(outlet, &message), DRAX_EINVAL);
    assert_int_equal(link_receive(inbox, &got), DRAX_EAGAIN);
    message_clear(&message);
    payload_unref(&payload);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

/* A header that is right but for its size: with one term run for each 8 bytes or so. */
static void test_header_limits(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    message_t message = {
        .kind = MESSAGE_OPENED, .actor = ACTOR_STORAGE, .from_boot = 1, .to_boot = 1};
    message.opened.run_count = LIMIT_HEADER_BYTES / 8;
    message.opened.runs = calloc(message.opened.run_count, sizeof *message.opened.runs);
    assert_non_null(message.opened.runs);
    for (size_t i = 0; i < message.opened.run_count; i++)
        message.opened.runs[i] = (term_run_t){.index = 1000000 + i, .term = 1000000 + i};
    link_inbox_t *inbox = inbox_open(fixture, LINK_LOCAL, fixture->ipc);
    link_outlet_t *outlet = outlet_open(fixture, LINK_LOCAL, fixture->ipc);
    send_until_received(outlet, inbox, &message);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);

    inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*");
    outlet = outlet_open(fixture, LINK_PEER, inbox_endpoint(inbox, at));
    event_wait(outlet, LINK_UP);
    assert_int_equal(link_send(outlet, &message), DRAX_ETOOLARGE);
    outlet_close(fixture, &outlet);
    outlet = outlet_open(fixture, LINK_LOCAL, at); /* a sender that does not keep to the limit */
    int64_t end = now_ms() + PATIENCE_MS;
    while (link_send(outlet, &message) == DRAX_EAGAIN && now_ms() < end)
        readable(link_inbox_socket(inbox), 5);
    message_t got;
    assert_true(readable(link_inbox_socket(inbox), PATIENCE_MS));
    assert_int_equal(link_receive(inbox, &got), DRAX_EPROTO);
    message_clear(&message);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

/* Each call on the raw socket makes one whole message of `count` frames of `size` bytes. */
static void garbage_send(void *raw, size_t count, size_t size) {
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    memset(bytes, 0xc1, size); /* a byte that msgpack never uses */
    for (size_t i = 0; i < count; i++)
        assert_int_equal(zmq_send(raw, bytes, size, i + 1 < count ? ZMQ_SNDMORE : 0), size);
    free(bytes);
}

static void *raw_dealer(fixture_t *fixture, const char *at) {
    void *raw = raw_open(fixture, ZMQ_DEALER);
    assert_int_equal(zmq_connect(raw, at), 0);
    return raw;
}

static void test_garbage_frames(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    link_inbox_t *inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*");
    link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, inbox_endpoint(inbox, at));
    void *raw = raw_dealer(fixture, at);
    static const size_t garbage[][2] = {{1, 0},
                                        {1, 1},
                                        {3, 0},
                                        {2, 20000},
                                        {4100, 1},
                                        {4101, 1},
                                        {9000, 9},
                                        {1, LIMIT_HEADER_BYTES},
                                        {2, LIMIT_HEADER_BYTES + 1}};
    const message_t message = heartbeat_message(1);
    event_wait(outlet, LINK_UP);
    message_t got;
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        garbage_send(raw, garbage[i][0], garbage[i][1]);
        assert_true(readable(link_inbox_socket(inbox), PATIENCE_MS));
        assert_int_equal(link_receive(inbox, &got), DRAX_EPROTO);
        assert_int_equal(link_receive(inbox, &got), DRAX_EAGAIN); /* it is gone whole */
        send_until_received(outlet, inbox, &message);
    }
    raw_close(fixture, raw);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

/* The right header with one frame too many, and one more than a message may have. */
static void test_frame_limit(void **state) {
    fixture_t *fixture = *state;
    link_inbox_t *inbox = inbox_open(fixture, LINK_LOCAL, "inproc://drax-test-frames");
    void *raw = raw_dealer(fixture, "inproc://drax-test-frames");
    frames_t frames = {0};
    message_t message = append_message(1), got;
    assert_int_equal(codec_encode(&frames, &message), 0);
    for (size_t count = 1; count <= 3; count++) {
        zmq_send(raw, frames.header.data, frames.header.size, ZMQ_SNDMORE);
        garbage_send(raw, count, 1);
        assert_true(readable(link_inbox_socket(inbox), PATIENCE_MS));
        assert_int_equal(link_receive(inbox, &got), count == 1 ? 0 : DRAX_EPROTO);
        if (count == 1)
            message_clear(&got);
    }
    message_clear(&message);
    frames_clear(&frames);
    raw_close(fixture, raw);
    inbox_close(fixture, &inbox);
}

static void test_oversized_frame_drops_its_connection_alone(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    link_inbox_t *inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*");
    link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, inbox_endpoint(inbox, at));
    event_wait(outlet, LINK_UP);
    void *raw = raw_dealer(fixture, at);
    static const char name[] = "inproc://drax-test-raw-monitor";
    assert_int_equal(zmq_socket_monitor(raw, name, ZMQ_EVENT_DISCONNECTED), 0);
    void *monitor = raw_open(fixture, ZMQ_PAIR);
    assert_int_equal(zmq_connect(monitor, name), 0);
    garbage_send(raw, 1, LIMIT_PEER_FRAME_BYTES + 1);
    assert_true(readable(monitor, PATIENCE_MS));
    message_t got;
    assert_int_equal(link_receive(inbox, &got), DRAX_EAGAIN);
    const message_t message = heartbeat_message(1);
    send_until_received(outlet, inbox, &message);
    link_event_t event;
    assert_int_equal(link_outlet_event(outlet, &event), DRAX_EAGAIN); /* never went down */
    zmq_socket_monitor(raw, NULL, 0);
    raw_close(fixture, monitor);
    raw_close(fixture, raw);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

static void test_plain_tcp_garbage(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    link_inbox_t *inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*");
    link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, inbox_endpoint(inbox, at));
    event_wait(outlet, LINK_UP);
    static const char *const texts[] = {"GET / HTTP/1.1\r\n\r\n", "\xff", "\x01\x02\x03\x04\x05",
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x03 NULL"};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port =
                                      htons((uint16_t) address_port(at + strlen("tcp://")))};
    const message_t message = heartbeat_message(1);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(connection, (struct sockaddr *) &address, sizeof address), 0);
        size_t size = strlen(texts[i]);
        assert_int_equal(send(connection, texts[i], size, MSG_NOSIGNAL), size);
        send_until_received(outlet, inbox, &message);
        close(connection);
    }
    message_t got;
    assert_int_equal(link_receive(inbox, &got), DRAX_EAGAIN);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

/* What a remote sends back into an outlet is neither read nor piled up. */
static void test_outlet_ignores_input(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES], id[256], header[4096];
    size_t size = sizeof at;
    void *router = raw_open(fixture, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, at, &size), 0);
    link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, at);
    event_wait(outlet, LINK_UP);
    const message_t message = heartbeat_message(1);
    assert_int_equal(link_send(outlet, &message), 0);
    assert_true(readable(router, PATIENCE_MS));
    int id_size = zmq_recv(router, id, sizeof id, 0);
    assert_true(id_size > 0 && zmq_recv(router, header, sizeof header, 0) > 0);
    for (int i = 0; i < 100; i++) {
        zmq_send(router, id, (size_t) id_size, ZMQ_SNDMORE | ZMQ_DONTWAIT);
        zmq_send(router, "x", 1, ZMQ_DONTWAIT);
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(link_send(outlet, &message), 0);
        assert_true(readable(router, PATIENCE_MS));
        assert_true(zmq_recv(router, id, sizeof id, 0) > 0);
        assert_true(zmq_recv(router, header, sizeof header, 0) > 0);
    }
    outlet_close(fixture, &outlet);
    raw_close(fixture, router);
}

static void test_bind_errors(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES], detail[256];
    link_inbox_t *inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*"), *second;
    inbox_endpoint(inbox, at);
    assert_int_equal(
        link_inbox_new(&second, fixture->context, LINK_PEER, at, detail, sizeof detail),
        DRAX_EINUSE);
    assert_null(second);
    assert_non_null(strstr(detail, at));
    assert_non_null(strstr(detail, "in use"));
    static const char *const bad[] = {"tcp://192.0.2.1:7000", "tcp://nonsense", "smoke://x",
                                      "ipc:///nonexistent/directory/a.ipc"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(
            link_inbox_new(&second, fixture->context, LINK_PEER, bad[i], detail, sizeof detail),
            DRAX_EINVAL);
        assert_null(second);
        assert_non_null(strstr(detail, bad[i]));
    }
    link_outlet_t *outlet = NULL;
    assert_int_equal(link_outlet_new(&outlet, fixture->context, LINK_PEER, "smoke://x"),
                     DRAX_EINVAL);
    assert_null(outlet);
    inbox_close(fixture, &inbox);
    link_inbox_destroy(&inbox); /* nothing there any more */
}

static void test_ipv6(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    link_inbox_t *inbox = NULL;
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int bound = bind(probe, (struct sockaddr *) &loopback, sizeof loopback);
    close(probe);
    if (bound != 0)
        skip(); /* a machine without IPv6 */
    inbox = inbox_open(fixture, LINK_PEER, "tcp://[::1]:*");
    link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, inbox_endpoint(inbox, at));
    event_wait(outlet, LINK_UP);
    const message_t message = heartbeat_message(1);
    send_until_received(outlet, inbox, &message);
    outlet_close(fixture, &outlet);
    inbox_close(fixture, &inbox);
}

/* Also right after a refusal, when ZeroMQ by itself would not look for the new connection yet. */
static void test_what_is_up_takes_messages(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    const message_t message = heartbeat_message(1);
    link_inbox_t *inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*");
    inbox_endpoint(inbox, at);
    for (int i = 0; i < 20; i++) {
        link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, at);
        link_event_t event;
        int64_t end = now_ms() + PATIENCE_MS;
        do
            link_send(outlet, &message);
        while (link_outlet_event(outlet, &event) == DRAX_EAGAIN && now_ms() < end);
        assert_int_equal(event, LINK_UP);
        assert_int_equal(link_send(outlet, &message), 0);
        outlet_close(fixture, &outlet);
    }
    inbox_close(fixture, &inbox);
}

/* Outlets come and go with members; their monitors must not get in each other's way. */
static void test_many_outlets(void **state) {
    fixture_t *fixture = *state;
    char at[ENDPOINT_BYTES];
    link_inbox_t *inbox = inbox_open(fixture, LINK_PEER, "tcp://127.0.0.1:*");
    inbox_endpoint(inbox, at);
    for (int i = 0; i < 100; i++) {
        link_outlet_t *outlet = outlet_open(fixture, LINK_PEER, at);
        if (i % 10 == 0)
            event_wait(outlet, LINK_UP);
        outlet_close(fixture, &outlet);
        assert_null(outlet);
    }
    inbox_close(fixture, &inbox);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip_inproc),
        TEST(test_round_trip_ipc),
        TEST(test_round_trip_tcp),
        TEST(test_payload_outlives_inbox),
        TEST(test_receiver_comes_back),
        TEST(test_neighbour_comes_back),
        TEST(test_silent_peer_goes_down),
        TEST(test_full_queue_refuses),
        TEST(test_message_over_the_limit_is_not_sent),
        TEST(test_header_limits),
        TEST(test_garbage_frames),
        TEST(test_frame_limit),
        TEST(test_oversized_frame_drops_its_connection_alone),
        TEST(test_plain_tcp_garbage),
        TEST(test_outlet_ignores_input),
        TEST(test_bind_errors),
        TEST(test_ipv6),
        TEST(test_what_is_up_takes_messages),
        TEST(test_many_outlets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
