/* test_mail_memory.c: two actors of a node, one of which is refused an allocation: whatever was to
 * be sent or received with it, nothing is left out of what is said between the two.
 *
 * The story is told once for every allocation that the program itself makes in it. Raft tells
 * storage a row of numbers, from the first on whenever storage comes anew, as actors do with what
 * they have to say; storage takes them from the first on whenever raft does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "actors/mail.h"
#include "broker/error.h"
#include "tests/support/memory_refused.h"

#define PATIENCE_MS 20000u
#define NUMBERS 40u
#define PAYLOAD_BYTES 2000u
/* More than the story needs: it ends with the first run in which none was refused. */
#define ALLOCATIONS_MAX 4000u

/* ---- memory ---- */

static unsigned countdown; /* the allocation that fails; 0: none */
static bool armed;

bool memory_refused(void) {
    return armed && countdown && --countdown == 0;
}

/* ---- the two actors ---- */

typedef struct {
    void *context;
    char directory[64], before[4096];
    log_t log;
    mail_t *storage, *raft;
    uint64_t next; /* the number that storage takes next */
    payload_t *payload;
    uint64_t give_up_ms;
} fixture_t;

static void numbers_tell(void *self, actor_t neighbour, uint64_t now_ms) {
    fixture_t *f = self;
    (void) neighbour;
    (void) now_ms;
    const post_t *post = mail_post(f->raft);
    for (uint64_t i = 1; i <= NUMBERS; i++) {
        message_t message = {.kind = MESSAGE_PROPOSE,
                             .propose = {.seq = i, .payload = payload_ref(f->payload)}};
        post->local(post->self, ACTOR_STORAGE, &message);
    }
}

static void numbers_begin(void *self, actor_t neighbour, uint64_t now_ms) {
    fixture_t *f = self;
    (void) neighbour;
    (void) now_ms;
    f->next = 1;
}

static void number_take(void *self, message_t *message, uint64_t now_ms) {
    fixture_t *f = self;
    (void) now_ms;
    if (message->propose.seq == 1)
        f->next = 1; /* raft heard of storage anew, which storage need not notice */
    assert_int_equal(message->propose.seq, f->next++);
    assert_int_equal(payload_size(message->propose.payload), PAYLOAD_BYTES);
    message_clear(message);
}

static const actor_ops_t raft_ops = {.neighbour = numbers_tell};
static const actor_ops_t storage_ops = {.neighbour = numbers_begin, .receive = number_take};

static mail_t *start(fixture_t *f, actor_t actor, const actor_ops_t *ops) {
    char detail[256];
    mail_t *mail = NULL;
    mail_options_t options = {.context = f->context,
                              .actor = actor,
                              .boot = 10 + (uint64_t) actor,
                              .log = &f->log,
                              .ops = ops,
                              .self = f};
    assert_int_equal(mail_new(&mail, &options, detail, sizeof detail), 0);
    return mail;
}

static int all_told(void *hint, uint64_t now_ms) {
    fixture_t *f = hint;
    if (now_ms > f->give_up_ms)
        return DRAX_ETIMEDOUT;
    return f->next == NUMBERS + 1 ? LOOP_DONE : 0;
}

static uint64_t soon(const void *hint, uint64_t now_ms) {
    (void) hint;
    return now_ms + 20;
}

static void log_nothing(void *hint, log_level_t level, const char *actor, const char *text) {
    (void) hint;
    (void) level;
    (void) actor;
    (void) text;
}

/* False: fewer allocations were made. */
static bool story_tell(fixture_t *f, unsigned refused) {
    loop_t *loop = NULL;
    f->next = 1;
    f->storage = start(f, ACTOR_STORAGE, &storage_ops);
    f->raft = start(f, ACTOR_RAFT, &raft_ops);
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(mail_join(f->storage, loop), 0);
    assert_int_equal(mail_join(f->raft, loop), 0);
    assert_int_equal(loop_each_turn(loop, all_told, soon, f), 0);
    f->give_up_ms = loop_now_ms() + PATIENCE_MS;
    countdown = refused;
    armed = true;
    int rc = loop_run(loop);
    armed = false;
    assert_int_equal(rc, LOOP_DONE);
    loop_destroy(&loop);
    mail_destroy(&f->storage);
    mail_destroy(&f->raft);
    return countdown == 0;
}

static void nothing_is_left_out(void **state) {
    fixture_t *f = *state;
    unsigned refused = 1;
    while (story_tell(f, refused)) {
        refused++;
        assert_true(refused < ALLOCATIONS_MAX);
    }
    assert_true(refused > NUMBERS); /* each of them took memory */
}

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    *state = f;
    f->context = zmq_ctx_new();
    f->log = (log_t){LOG_LEVEL_ERROR, "mail", log_nothing, NULL};
    f->payload = payload_new(PAYLOAD_BYTES);
    strcpy(f->directory, "/tmp/drax-mail-XXXXXX");
    /* ipc endpoints are relative to the home. */
    if (!f->payload || !getcwd(f->before, sizeof f->before) || !mkdtemp(f->directory) ||
        chdir(f->directory))
        return -1;
    return mkdir("run", 0700);
}

static int teardown(void **state) {
    fixture_t *f = *state;
    payload_unref(&f->payload);
    mail_destroy(&f->storage);
    mail_destroy(&f->raft);
    zmq_ctx_term(f->context);
    unlink("run/storage.ipc");
    unlink("run/raft.ipc");
    int rc = rmdir("run") || chdir(f->before) || rmdir(f->directory);
    free(f);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_left_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
