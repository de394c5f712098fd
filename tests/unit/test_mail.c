/* test_mail.c: actors of one node find each other in any order, obey only the present lives of each
 * other, and get everything in order; peers' messages stay peers' messages. Real sockets: ipc below
 * a temporary directory, tcp on loopback. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "actors/mail.h"
#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/link.h"

#define PATIENCE_MS 20000

/* An actor that only remembers. */
typedef struct {
    mail_t *mail; /* NULL: not running */
    actor_t actor;
    uint64_t boot;
    unsigned neighbour_calls[ACTOR_END];
    uint64_t next; /* number that the next CLOCK must bear; counted up */
    unsigned received;
    actor_t last_actor;
    message_kind_t last_kind;
    unsigned ups, downs;
} node_actor_t;

typedef bool condition_fn(const void *hint);

typedef struct {
    void *context;
    char directory[64], before[4096];
    loop_t *loop;
    node_actor_t actors[ACTOR_END];
    log_t log;
    unsigned errors;
    condition_fn *condition;
    uint64_t give_up_ms;
} fixture_t;

static void on_neighbour(void *self, actor_t neighbour, uint64_t now_ms) {
    node_actor_t *actor = self;
    (void) now_ms;
    actor->neighbour_calls[neighbour]++;
}

static void on_receive(void *self, message_t *message, uint64_t now_ms) {
    node_actor_t *actor = self;
    (void) now_ms;
    actor->received++;
    actor->last_actor = message->actor;
    actor->last_kind = message->kind;
    if (message->kind == MESSAGE_CLOCK)
        assert_int_equal(message->clock.time_ms, actor->next++);
    message_clear(message);
}

static void on_peer_event(void *self, uint64_t peer, bool up, uint64_t now_ms) {
    node_actor_t *actor = self;
    (void) now_ms;
    assert_int_equal(peer, 2);
    actor->ups += up;
    actor->downs += !up;
}

static const actor_ops_t fake_ops = {
    .neighbour = on_neighbour, .receive = on_receive, .peer_event = on_peer_event};

static void log_count(void *hint, log_level_t level, const char *actor, const char *text) {
    fixture_t *f = hint;
    (void) actor;
    (void) text;
    f->errors += level == LOG_LEVEL_ERROR;
}

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    f->context = zmq_ctx_new();
    strcpy(f->directory, "/tmp/drax-mail-XXXXXX");
    f->log = (log_t){LOG_LEVEL_DEBUG, "mail", log_count, f};
    *state = f;
    /* ipc endpoints are relative to the home. */
    if (!getcwd(f->before, sizeof f->before) || !mkdtemp(f->directory) || chdir(f->directory))
        return -1;
    return mkdir("run", 0700);
}

static int teardown(void **state) {
    fixture_t *f = *state;
    for (size_t i = 0; i < ACTOR_END; i++)
        mail_destroy(&f->actors[i].mail);
    loop_destroy(&f->loop);
    zmq_ctx_term(f->context);
    unlink("run/storage.ipc");
    unlink("run/raft.ipc");
    unlink("run/gateway.ipc");
    int rc = rmdir("run") || chdir(f->before) || rmdir(f->directory);
    free(f);
    return rc;
}

static node_actor_t *actor_start(fixture_t *f, size_t at, const mail_options_t *more) {
    node_actor_t *actor = &f->actors[at];
    char detail[256] = "";
    actor->actor = more->actor;
    actor->boot = more->boot;
    mail_options_t options = *more;
    options.context = f->context;
    options.log = &f->log;
    options.ops = &fake_ops;
    options.self = actor;
    assert_int_equal(mail_new(&actor->mail, &options, detail, sizeof detail), 0);
    return actor;
}

static node_actor_t *start(fixture_t *f, actor_t actor, uint64_t boot) {
    return actor_start(f, (size_t) actor, &(mail_options_t){.actor = actor, .boot = boot});
}

static void stop(node_actor_t *actor) {
    mail_destroy(&actor->mail);
}

/* ---- running ---- */

static int condition_check(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    if (now_ms > f->give_up_ms)
        return DRAX_ETIMEDOUT;
    return f->condition(f) ? LOOP_DONE : 0;
}

static uint64_t soon(const void *hint, uint64_t now_ms) {
    (void) hint;
    return now_ms + 20;
}

/* Runs all mails (or but one) in one loop until the condition holds. */
static int run_without(fixture_t *f, const node_actor_t *paused, condition_fn *condition,
                       uint64_t patience_ms) {
    loop_destroy(&f->loop);
    assert_int_equal(loop_new(&f->loop), 0);
    f->condition = condition;
    f->give_up_ms = loop_now_ms() + patience_ms;
    for (size_t i = 0; i < ACTOR_END; i++)
        if (f->actors[i].mail && &f->actors[i] != paused)
            assert_int_equal(mail_join(f->actors[i].mail, f->loop), 0);
    loop_each_turn(f->loop, condition_check, soon, f);
    return loop_run(f->loop);
}

static void run_until(fixture_t *f, condition_fn *condition) {
    assert_int_equal(run_without(f, NULL, condition, PATIENCE_MS), LOOP_DONE);
}

static bool never(const void *hint) {
    (void) hint;
    return false;
}

/* Long enough for whatever is under way to arrive: HELLO is repeated twice. */
static void run_a_while(fixture_t *f) {
    assert_int_equal(run_without(f, NULL, never, 250), DRAX_ETIMEDOUT);
}

static bool all_know_each_other(const void *hint) {
    const fixture_t *f = hint;
    for (size_t i = 0; i < ACTOR_END; i++)
        for (actor_t other = ACTOR_STORAGE; f->actors[i].mail && other < ACTOR_END; other++) {
            const post_t *post = mail_post(f->actors[i].mail);
            uint64_t boot = f->actors[other].mail ? f->actors[other].boot : 0;
            if (other != f->actors[i].actor && boot && post->boot(post->self, other) != boot)
                return false;
        }
    return true;
}

static void clock_post(node_actor_t *from, actor_t to, uint64_t number) {
    const post_t *post = mail_post(from->mail);
    message_t message = {.kind = MESSAGE_CLOCK, .clock = {.time_ms = number}};
    post->local(post->self, to, &message);
    assert_int_equal(message.kind, MESSAGE_NONE);
}

/* ---- handshake ---- */

static void actors_meet_in_any_order(void **state) {
    fixture_t *f = *state;
    static const actor_t orders[][3] = {{ACTOR_STORAGE, ACTOR_RAFT, ACTOR_GATEWAY},
                                        {ACTOR_GATEWAY, ACTOR_RAFT, ACTOR_STORAGE},
                                        {ACTOR_RAFT, ACTOR_STORAGE, ACTOR_GATEWAY}};
    for (size_t order = 0; order < 3; order++) {
        memset(f->actors, 0, sizeof f->actors);
        for (size_t i = 0; i < 3; i++) {
            start(f, orders[order][i], 1000 * (order + 1) + i);
            run_a_while(f);
        }
        run_until(f, all_know_each_other);
        for (actor_t a = ACTOR_STORAGE; a < ACTOR_END; a++)
            for (actor_t b = ACTOR_STORAGE; b < ACTOR_END; b++)
                assert_true(a == b ? !f->actors[a].neighbour_calls[b]
                                   : f->actors[a].neighbour_calls[b] > 0);
        for (actor_t a = ACTOR_STORAGE; a < ACTOR_END; a++)
            stop(&f->actors[a]);
    }
}

static void nothing_is_sent_to_who_is_not_there(void **state) {
    fixture_t *f = *state;
    node_actor_t *raft = start(f, ACTOR_RAFT, 1);
    const post_t *post = mail_post(raft->mail);
    assert_int_equal(post->boot(post->self, ACTOR_STORAGE), 0);
    clock_post(raft, ACTOR_STORAGE, 77);
    node_actor_t *storage = start(f, ACTOR_STORAGE, 2);
    run_until(f, all_know_each_other);
    clock_post(raft, ACTOR_RAFT, 78); /* not a neighbour of itself */
    run_a_while(f);
    assert_int_equal(storage->received + raft->received, 0);
}

static bool storage_has_100(const void *hint) {
    return ((const fixture_t *) hint)->actors[ACTOR_STORAGE].received == 100;
}

static void messages_arrive_in_order(void **state) {
    fixture_t *f = *state;
    node_actor_t *storage = start(f, ACTOR_STORAGE, 1), *raft = start(f, ACTOR_RAFT, 2);
    run_until(f, all_know_each_other);
    for (uint64_t i = 0; i < 100; i++)
        clock_post(raft, ACTOR_STORAGE, i);
    run_until(f, storage_has_100);
    assert_int_equal(storage->last_actor, ACTOR_RAFT);
}

/* ---- another life ---- */

static bool raft_known_anew(const void *hint) {
    const fixture_t *f = hint;
    return f->actors[ACTOR_STORAGE].neighbour_calls[ACTOR_RAFT] == 2 && all_know_each_other(f);
}

static void another_life_is_told_and_gets_nothing_old(void **state) {
    fixture_t *f = *state;
    node_actor_t *storage = start(f, ACTOR_STORAGE, 1), *raft = start(f, ACTOR_RAFT, 2);
    run_until(f, all_know_each_other);
    stop(raft);
    run_a_while(f);
    for (uint64_t i = 0; i < 10; i++)
        clock_post(storage, ACTOR_RAFT, 1000 + i); /* storage does not know yet: these wait */
    raft = start(f, ACTOR_RAFT, 3);
    run_until(f, raft_known_anew);
    assert_int_equal(raft->neighbour_calls[ACTOR_STORAGE], 2);
    clock_post(storage, ACTOR_RAFT, 0); /* the first that counts */
    clock_post(raft, ACTOR_STORAGE, 0);
    run_a_while(f);
    assert_int_equal(raft->received, 1);
    assert_int_equal(storage->received, 1);
    assert_int_equal(storage->neighbour_calls[ACTOR_RAFT], 2);
}

/* What someone says who claims to be raft, over a link of its own. */
static void raw_send(fixture_t *f, link_outlet_t *outlet, const message_t *message) {
    assert_int_equal(run_without(f, NULL, never, 1), DRAX_ETIMEDOUT);
    int rc;
    uint64_t until = loop_now_ms() + PATIENCE_MS;
    while ((rc = link_send(outlet, message)) == DRAX_EAGAIN && loop_now_ms() < until)
        assert_int_equal(run_without(f, NULL, never, 5), DRAX_ETIMEDOUT);
    assert_int_equal(rc, 0);
    run_a_while(f);
}

static void only_the_present_lives_count(void **state) {
    fixture_t *f = *state;
    node_actor_t *storage = start(f, ACTOR_STORAGE, 1), *raft = start(f, ACTOR_RAFT, 2);
    run_until(f, all_know_each_other);
    clock_post(raft, ACTOR_STORAGE, 0);
    run_a_while(f);
    assert_int_equal(storage->received, 1);
    link_outlet_t *outlet;
    char endpoint[ENDPOINT_BYTES];
    endpoint_ipc(endpoint, ACTOR_STORAGE);
    assert_int_equal(link_outlet_new(&outlet, f->context, LINK_LOCAL, endpoint), 0);
    message_t message = {.kind = MESSAGE_CLOCK, .actor = ACTOR_RAFT, .clock = {.time_ms = 1}};
    static const uint64_t wrong[][2] = {{3, 1}, {2, 9}, {0, 1}, {2, 0}, {0, 0}};
    for (size_t i = 0; i < 5; i++) {
        message.from_boot = wrong[i][0];
        message.to_boot = wrong[i][1];
        raw_send(f, outlet, &message);
        assert_int_equal(storage->received, 1);
    }
    message.actor = ACTOR_NONE; /* nobody's boot is 0 */
    message.from_boot = 0;
    message.to_boot = 1;
    raw_send(f, outlet, &message);
    message.actor = ACTOR_STORAGE;
    raw_send(f, outlet, &message);
    assert_int_equal(storage->received, 1);
    message.actor = ACTOR_RAFT;
    message.from_boot = 2;
    raw_send(f, outlet, &message);
    assert_int_equal(storage->received, 2);
    /* A HELLO of the same life changes nothing, unless it has forgotten whom it knew. */
    message_t hello = {.kind = MESSAGE_HELLO, .actor = ACTOR_RAFT, .from_boot = 2, .to_boot = 1};
    hello.hello.actor = ACTOR_RAFT;
    raw_send(f, outlet, &hello);
    assert_int_equal(storage->neighbour_calls[ACTOR_RAFT], 1);
    hello.to_boot = 0;
    raw_send(f, outlet, &hello);
    assert_int_equal(storage->neighbour_calls[ACTOR_RAFT], 2);
    hello.from_boot = 0; /* no boot at all */
    raw_send(f, outlet, &hello);
    assert_int_equal(storage->neighbour_calls[ACTOR_RAFT], 2);
    link_outlet_destroy(&outlet);
}

static void an_answer_to_an_earlier_life_is_none(void **state) {
    fixture_t *f = *state;
    node_actor_t *storage = start(f, ACTOR_STORAGE, 2);
    link_outlet_t *outlet;
    char endpoint[ENDPOINT_BYTES];
    endpoint_ipc(endpoint, ACTOR_STORAGE);
    assert_int_equal(link_outlet_new(&outlet, f->context, LINK_LOCAL, endpoint), 0);
    /* Raft, boot 3, answered storage's life 1, and that comes through to life 2. */
    message_t hello = {.kind = MESSAGE_HELLO, .actor = ACTOR_RAFT, .from_boot = 3, .to_boot = 1};
    hello.hello = (message_hello_t){.actor = ACTOR_RAFT, .reply = true};
    raw_send(f, outlet, &hello);
    link_outlet_destroy(&outlet);
    assert_int_equal(storage->neighbour_calls[ACTOR_RAFT], 0);
    start(f, ACTOR_RAFT, 3); /* would not be asked any more, and so never hear of life 2 */
    run_until(f, all_know_each_other);
    assert_true(storage->neighbour_calls[ACTOR_RAFT] > 0);
}

/* ---- a slow neighbour ---- */

#define MANY 20000u

static bool storage_has_many(const void *hint) {
    return ((const fixture_t *) hint)->actors[ACTOR_STORAGE].received == MANY;
}

static bool storage_has_some(const void *hint) {
    return ((const fixture_t *) hint)->actors[ACTOR_STORAGE].received >= 2000;
}

static void a_slow_neighbour_gets_all_in_order(void **state) {
    fixture_t *f = *state;
    node_actor_t *storage = start(f, ACTOR_STORAGE, 1), *raft = start(f, ACTOR_RAFT, 2);
    run_until(f, all_know_each_other);
    uint64_t sent = 0;
    while (sent < MANY - 100)
        clock_post(raft, ACTOR_STORAGE, sent++);
    assert_int_equal(run_without(f, storage, never, 50), DRAX_ETIMEDOUT);
    assert_int_equal(storage->received, 0);
    /* There is room again, but others wait before these. */
    assert_int_equal(run_without(f, raft, storage_has_some, PATIENCE_MS), LOOP_DONE);
    while (sent < MANY)
        clock_post(raft, ACTOR_STORAGE, sent++);
    run_until(f, storage_has_many);
    assert_int_equal(f->errors, 0);
    assert_int_equal(storage->neighbour_calls[ACTOR_RAFT], 1);
}

static bool both_begin_again(const void *hint) {
    const fixture_t *f = hint;
    return f->actors[ACTOR_STORAGE].neighbour_calls[ACTOR_RAFT] == 2 &&
           f->actors[ACTOR_RAFT].neighbour_calls[ACTOR_STORAGE] == 2;
}

static void a_neighbour_too_slow_begins_again(void **state) {
    fixture_t *f = *state;
    node_actor_t *storage = start(f, ACTOR_STORAGE, 1), *raft = start(f, ACTOR_RAFT, 2);
    run_until(f, all_know_each_other);
    const post_t *post = mail_post(raft->mail);
    uint64_t sent = 0;
    while (post->boot(post->self, ACTOR_STORAGE) && sent < 200000)
        clock_post(raft, ACTOR_STORAGE, sent++);
    assert_true(sent > 65536 && sent < 100000);
    assert_int_equal(f->errors, 1);
    assert_int_equal(storage->received, 0);
    run_until(f, both_begin_again);
    /* What was on the way came, from the first on; what waited did not. */
    assert_true(storage->received < 30000);
    storage->next = 500000;
    clock_post(raft, ACTOR_STORAGE, 500000);
    run_a_while(f);
    assert_int_equal(storage->next, 500001);
}

/* ---- peers ---- */

static void address_find(char out[64]) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &address, &size), 0);
    close(fd);
    snprintf(out, 64, "127.0.0.1:%u", ntohs(address.sin_port));
}

static bool first_is_up(const void *hint) {
    return ((const fixture_t *) hint)->actors[0].ups > 0;
}

static bool first_is_down(const void *hint) {
    return ((const fixture_t *) hint)->actors[0].downs > 0;
}

static bool second_has_one(const void *hint) {
    return ((const fixture_t *) hint)->actors[1].received > 0;
}

static config_t members_make(const char *first, const char *second) {
    config_t config = {.count = 2};
    config.members[0] = (member_t){.id = 1, .role = MEMBER_VOTER, .addr = "h:1"};
    config.members[1] = (member_t){.id = 2, .role = MEMBER_VOTER, .addr = "h:2"};
    strcpy(config.members[0].raft_addr, first);
    strcpy(config.members[1].raft_addr, second);
    return config;
}

static void peer_post(node_actor_t *from, uint64_t to) {
    const post_t *post = mail_post(from->mail);
    message_t message = {.kind = MESSAGE_TIMEOUT_NOW,
                         .actor = ACTOR_GATEWAY,
                         .cluster = 9,
                         .from = 1,
                         .to = to,
                         .term = 4};
    post->peer(post->self, &message);
    assert_int_equal(message.kind, MESSAGE_NONE);
}

static void peers_are_reached_and_stay_peers(void **state) {
    fixture_t *f = *state;
    char addresses[2][64];
    address_find(addresses[0]);
    address_find(addresses[1]);
    node_actor_t *first =
        actor_start(f, 0,
                    &(mail_options_t){
                        .actor = ACTOR_RAFT, .boot = 1, .inproc = "a", .raft_bind = addresses[0]});
    node_actor_t *second =
        actor_start(f, 1,
                    &(mail_options_t){
                        .actor = ACTOR_RAFT, .boot = 2, .inproc = "b", .raft_bind = addresses[1]});
    const post_t *post = mail_post(first->mail);
    config_t config = members_make(addresses[0], addresses[1]);
    peer_post(first, 2); /* not connected yet: lost */
    post->peers(post->self, 1, &config, NULL);
    run_until(f, first_is_up);
    peer_post(first, 3); /* nobody: lost */
    peer_post(first, 2);
    run_until(f, second_has_one);
    assert_int_equal(second->last_kind, MESSAGE_TIMEOUT_NOW);
    assert_int_equal(second->last_actor, ACTOR_NONE); /* whatever it claimed */
    /* A local message has no business at the peers' port. */
    link_outlet_t *outlet;
    char endpoint[ENDPOINT_BYTES];
    endpoint_tcp(endpoint, addresses[1]);
    assert_int_equal(link_outlet_new(&outlet, f->context, LINK_PEER, endpoint), 0);
    message_t message = {.kind = MESSAGE_CLOCK, .actor = ACTOR_RAFT, .from_boot = 2, .to_boot = 2};
    raw_send(f, outlet, &message);
    message = (message_t){.kind = MESSAGE_HELLO, .actor = ACTOR_STORAGE, .from_boot = 7};
    message.hello.actor = ACTOR_STORAGE;
    raw_send(f, outlet, &message);
    assert_int_equal(second->received, 1);
    assert_int_equal(second->neighbour_calls[ACTOR_STORAGE], 0);
    link_outlet_destroy(&outlet);
    /* The other one ends: that is noticed. */
    stop(second);
    run_until(f, first_is_down);
    /* A membership without it: no connection, and none in vain. */
    config.count = 1;
    post->peers(post->self, 1, &config, NULL);
    peer_post(first, 2);
    run_a_while(f);
}

static void a_hint_counts_as_well_as_the_members(void **state) {
    fixture_t *f = *state;
    char addresses[2][64];
    address_find(addresses[0]);
    address_find(addresses[1]);
    node_actor_t *first =
        actor_start(f, 0,
                    &(mail_options_t){
                        .actor = ACTOR_RAFT, .boot = 1, .inproc = "a", .raft_bind = addresses[0]});
    actor_start(f, 1,
                &(mail_options_t){
                    .actor = ACTOR_RAFT, .boot = 2, .inproc = "b", .raft_bind = addresses[1]});
    const post_t *post = mail_post(first->mail);
    config_t none = {0}, hint = members_make(addresses[0], addresses[1]);
    post->peers(post->self, 1, &none, &hint);
    run_until(f, first_is_up);
    post->peers(post->self, 1, &hint, &hint); /* known already: the connection stays */
    run_a_while(f);
    assert_int_equal(first->ups, 1);
    assert_int_equal(first->downs, 0);
}

/* It has moved; where it was is still in the membership before. */
static void a_peer_is_where_the_members_say_not_the_hint(void **state) {
    fixture_t *f = *state;
    char addresses[3][64];
    for (size_t i = 0; i < 3; i++)
        address_find(addresses[i]);
    node_actor_t *first =
        actor_start(f, 0,
                    &(mail_options_t){
                        .actor = ACTOR_RAFT, .boot = 1, .inproc = "a", .raft_bind = addresses[0]});
    actor_start(f, 1,
                &(mail_options_t){
                    .actor = ACTOR_RAFT, .boot = 2, .inproc = "b", .raft_bind = addresses[1]});
    const post_t *post = mail_post(first->mail);
    config_t before = members_make(addresses[0], addresses[2]);
    config_t now = members_make(addresses[0], addresses[1]);
    post->peers(post->self, 1, &before, NULL);
    post->peers(post->self, 1, &now, &before);
    run_until(f, first_is_up);
    peer_post(first, 2);
    run_until(f, second_has_one);
}

static void an_address_in_use_is_said_so(void **state) {
    fixture_t *f = *state;
    char address[64], detail[256] = "";
    address_find(address);
    actor_start(
        f, 0,
        &(mail_options_t){.actor = ACTOR_RAFT, .boot = 1, .inproc = "a", .raft_bind = address});
    mail_options_t options = {.context = f->context,
                              .actor = ACTOR_RAFT,
                              .boot = 2,
                              .inproc = "b",
                              .raft_bind = address,
                              .log = &f->log,
                              .ops = &fake_ops};
    mail_t *mail;
    assert_int_equal(mail_new(&mail, &options, detail, sizeof detail), DRAX_EINUSE);
    assert_null(mail);
    assert_non_null(strstr(detail, address));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(actors_meet_in_any_order),
        T(nothing_is_sent_to_who_is_not_there),
        T(messages_arrive_in_order),
        T(another_life_is_told_and_gets_nothing_old),
        T(only_the_present_lives_count),
        T(an_answer_to_an_earlier_life_is_none),
        T(a_slow_neighbour_gets_all_in_order),
        T(a_neighbour_too_slow_begins_again),
        T(peers_are_reached_and_stay_peers),
        T(a_hint_counts_as_well_as_the_members),
        T(a_peer_is_where_the_members_say_not_the_hint),
        T(an_address_in_use_is_said_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
