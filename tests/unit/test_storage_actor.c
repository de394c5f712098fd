/* test_storage_actor.c: the actor that owns the disk, on a real one in a temporary home, with raft
 * and gateway played: what it acknowledges is durable, what it applies is committed, and a full
 * disk or a lost file is told apart from the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/storage_actor.h"
#include "actors/storage_internal.h"
#include "broker/block.h"
#include "broker/error.h"
#include "broker/rpc.h"
#include "fake_post.h"
#include "kv_helper.h"
#include "text_msgpack.h"

#define FLUSHED_MS (STATE_FLUSH_MS + 100u) /* by then what was applied is flushed */
#define CLUSTER 77u
#define NODE 5u
#define BOOT 1000u
#define SEGMENT_BYTES 65536u

typedef struct {
    temp_dir_t home;
    fake_post_t post;
    storage_actor_t *storage;
    log_t log;
    uint64_t now_ms;
    uint64_t seq; /* of the last WRITE of this OPEN */
    uint64_t keep_bytes, chunk_bytes;
} fixture_t;

/* Files cannot be made while set: what a journal meets first on a full disk. */
static bool disk_full;
/* As kv_faulty_new counts. */
static long kv_calls_left = -1;
static kv_t *kv_opened; /* the last */
static fs_t fs;

static int open_unless_full(void *self, const char *path, bool create, fs_file_t **out) {
    return create && disk_full ? DRAX_ENOSPC : fs_posix()->open(self, path, create, out);
}

static int kv_open(void *hint, kv_t **out, const char *directory, bool create) {
    (void) hint;
    int rc = kv_leveldb_open(out, directory, create);
    if (rc == 0)
        *out = kv_opened = kv_faulty_new(*out, &kv_calls_left, DRAX_ENOSPC);
    return rc;
}

static void log_nothing(void *hint, log_level_t level, const char *actor, const char *text) {
    (void) hint;
    (void) level;
    (void) actor;
    (void) text;
}

static int start(fixture_t *f) {
    char detail[512];
    storage_options_t options = {.home = f->home.path,
                                 .fs = &fs,
                                 .post = &f->post.post,
                                 .log = &f->log,
                                 .kv_open = kv_open,
                                 .seed = 3,
                                 .segment_bytes = SEGMENT_BYTES,
                                 .keep_bytes = f->keep_bytes,
                                 .chunk_bytes = f->chunk_bytes};
    return storage_actor_new(&f->storage, &options, detail, sizeof detail);
}

static void fixture_init(fixture_t *f) {
    fs = *fs_posix();
    fs.open = open_unless_full;
    disk_full = false;
    kv_calls_left = -1;
    temp_dir_make(&f->home);
    fake_post_init(&f->post, ACTOR_STORAGE);
    f->log = (log_t){LOG_LEVEL_ERROR, "storage", log_nothing, NULL};
    f->now_ms = 100000;
    assert_int_equal(start(f), 0);
}

static void fixture_clear(fixture_t *f) {
    disk_full = false;
    kv_calls_left = -1;
    storage_actor_destroy(&f->storage);
    fake_post_clear(&f->post);
    assert_int_equal(fs.remove_tree(fs.self, f->home.path), 0); /* it has folders */
}

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    *state = f;
    fixture_init(f);
    return 0;
}

static int teardown(void **state) {
    fixture_clear(*state);
    free(*state);
    return 0;
}

/* ---- what comes in ---- */

static void comes(fixture_t *f, actor_t from, message_t *message) {
    message->actor = from;
    message->from_boot = f->post.boots[from];
    storage_actor_ops.receive(f->storage, message, f->now_ms);
    assert_int_equal(message->kind, MESSAGE_NONE);
}

static void turn(fixture_t *f) {
    assert_int_equal(storage_actor_ops.turn(f->storage, f->now_ms), 0);
}

static void turns_until(fixture_t *f, uint64_t now_ms) {
    for (; f->now_ms < now_ms; f->now_ms += 50)
        turn(f);
    turn(f);
}

static message_opened_t *open_now(fixture_t *f) {
    message_t message = {.kind = MESSAGE_OPEN};
    f->seq = 0;
    comes(f, ACTOR_RAFT, &message);
    message_t *opened = fake_post_find(&f->post, MESSAGE_OPENED);
    assert_non_null(opened);
    return &opened->opened;
}

static message_opened_t *format(fixture_t *f) {
    message_t message = {.kind = MESSAGE_FORMAT, .format = {.cluster = CLUSTER, .node = NODE}};
    message.format.hint.count = 1;
    message.format.hint.members[0] = (member_t){9, MEMBER_VOTER, "h:1", "h:2"};
    comes(f, ACTOR_RAFT, &message);
    return open_now(f);
}

static void restart(fixture_t *f) {
    storage_actor_destroy(&f->storage);
    fake_post_skip(&f->post);
    assert_int_equal(start(f), 0);
}

/* A block of one command. */
static entry_t block_entry(uint64_t index, uint64_t term, uint64_t node, uint64_t seq,
                           uint64_t prev, const char *command) {
    buffer_t bytes = {0}, text = {0};
    text_msgpack(&text, command);
    block_begin(&bytes, node, node ? BOOT : 0, seq, prev, 1);
    block_add(&bytes, (slice_t){text.data, text.size});
    entry_t entry = {.index = index, .term = term, .time_ms = 1000 + index, .kind = ENTRY_BLOCK};
    entry.payload = buffer_take(&bytes);
    buffer_free(&bytes);
    buffer_free(&text);
    assert_non_null(entry.payload);
    return entry;
}

static entry_t put_entry(uint64_t index, uint64_t term, uint64_t seq, const char *value) {
    char command[128];
    snprintf(command, sizeof command, "[0, 1, \"put\", [\"k\", \"%s\"]]", value);
    return block_entry(index, term, NODE, seq, seq - 1, command);
}

/* A WRITE of one entry (taken over), or of none. */
static void write_comes(fixture_t *f, entry_t *entry, uint64_t term, uint64_t commit) {
    message_t message = {.kind = MESSAGE_WRITE};
    message.write.seq = ++f->seq;
    message.write.has_hard_state = true;
    message.write.term = term;
    message.write.vote = NODE;
    message.write.commit = commit;
    if (entry) {
        assert_int_equal(entries_push(&message.write.entries, entry), 0);
        entry_clear(entry);
    }
    comes(f, ACTOR_RAFT, &message);
}

static void put_comes(fixture_t *f, uint64_t index, uint64_t seq, const char *value,
                      uint64_t commit) {
    entry_t entry = put_entry(index, 1, seq, value);
    write_comes(f, &entry, 1, commit);
}

static void commit_comes(fixture_t *f, uint64_t commit) {
    message_t message = {.kind = MESSAGE_WRITE, .write = {.commit = commit}};
    comes(f, ACTOR_RAFT, &message);
}

static void query_of_comes(fixture_t *f, message_batch_t head, uint64_t token) {
    bool stale = !head.read_id && !head.seq && !head.applied;
    buffer_t batch = {0}, request = {0};
    text_msgpack(&request, stale ? "[0, 1, \"get\", [\"k\", {\"stale\": true}]]"
                                 : "[0, 1, \"get\", [\"k\"]]");
    batch_begin(&batch, 1);
    batch_add(&batch, token, (slice_t){request.data, request.size});
    message_t message = {.kind = MESSAGE_QUERY, .batch = head};
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    buffer_free(&request);
    comes(f, ACTOR_GATEWAY, &message);
}

static void query_comes(fixture_t *f, uint64_t read_id, uint64_t token) {
    query_of_comes(f, (message_batch_t){.read_id = read_id}, token);
}

static void read_ready_comes(fixture_t *f, uint64_t read_id, uint64_t index) {
    message_t message = {
        .kind = MESSAGE_READ_READY,
        .read = {.boot = f->post.boots[ACTOR_GATEWAY], .read_id = read_id, .index = index}};
    comes(f, ACTOR_RAFT, &message);
}

static void clock_comes(fixture_t *f, uint64_t time_ms, bool leader) {
    message_t message = {.kind = MESSAGE_CLOCK, .clock = {.time_ms = time_ms, .leader = leader}};
    comes(f, ACTOR_RAFT, &message);
}

/* ---- what must have gone out ---- */

static void written_expected(fixture_t *f, uint64_t seq) {
    message_t *written = fake_post_find(&f->post, MESSAGE_WRITTEN);
    assert_non_null(written);
    assert_int_equal(written->written.seq, seq);
}

static void result_expected(fixture_t *f, message_kind_t kind, uint64_t seq) {
    message_t *result = fake_post_find(&f->post, kind);
    assert_non_null(result);
    assert_int_equal(result->batch.boot, BOOT);
    assert_int_equal(result->batch.seq, seq);
}

static bool bytes_contain(slice_t bytes, const char *text) {
    return memmem(bytes.data, bytes.size, text, strlen(text)) != NULL;
}

/* The next ANSWER is to `token` and contains `text`. */
static void answer_expected(fixture_t *f, uint64_t token, const char *text) {
    message_t *answer = fake_post_find(&f->post, MESSAGE_ANSWER);
    assert_non_null(answer);
    batch_t batch;
    uint64_t got;
    slice_t bytes;
    assert_int_equal(batch_open(&batch, payload_slice(answer->batch.payload)), 0);
    assert_int_equal(batch_next(&batch, &got, &bytes), 1);
    assert_int_equal(got, token);
    assert_true(bytes_contain(bytes, text));
}

static void stale_value_expected(fixture_t *f, const char *text) {
    fake_post_skip(&f->post);
    query_comes(f, 0, 42);
    turn(f);
    answer_expected(f, 42, text);
}

/* ---- a new home ---- */

static void a_home_is_formatted_once(void **state) {
    fixture_t *f = *state;
    assert_false(open_now(f)->formatted);
    message_opened_t *opened = format(f);
    assert_true(opened->formatted);
    assert_int_equal(opened->cluster, CLUSTER);
    assert_int_equal(opened->node, NODE);
    assert_int_equal(opened->first_index, 1);
    assert_int_equal(opened->last_index, 0);
    assert_int_equal(opened->hint.count, 1);
    message_t message = {.kind = MESSAGE_FORMAT, .format = {.cluster = 1, .node = 2}};
    comes(f, ACTOR_RAFT, &message); /* too late */
    assert_int_equal(open_now(f)->cluster, CLUSTER);
    restart(f);
    opened = open_now(f);
    assert_true(opened->formatted);
    assert_int_equal(opened->node, NODE);
    assert_int_equal(opened->hint.count, 1);
    assert_int_equal(opened->hint.members[0].id, 9);
}

/* ---- writes ---- */

static void writes_are_answered_once_a_turn(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "a", 0);
    put_comes(f, 2, 2, "b", 0);
    write_comes(f, NULL, 4, 0);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_WRITTEN), 0);
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_WRITTEN), 1);
    written_expected(f, 3);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_RESULT), 0); /* not committed */
    restart(f);
    message_opened_t *opened = open_now(f);
    assert_int_equal(opened->last_index, 2);
    assert_int_equal(opened->term, 4);
    assert_int_equal(opened->vote, NODE);
    assert_int_equal(opened->commit, 0);
    assert_int_equal(opened->time_ms, 1002);
}

/* A WRITE of one put whose durability `index` is to be told to the leader. */
static void put_to_acknowledge(fixture_t *f, uint64_t index, uint64_t term, uint64_t commit) {
    entry_t entry = put_entry(index, term, index, "v");
    message_t message = {
        .kind = MESSAGE_WRITE,
        .write = {.seq = ++f->seq,
                  .commit = commit,
                  .ack = {.to = NODE + 1, .boot = 77, .term = term, .index = index}}};
    assert_int_equal(entries_push(&message.write.entries, &entry), 0);
    entry_clear(&entry);
    comes(f, ACTOR_RAFT, &message);
}

static void acknowledgement_expected(fixture_t *f, uint64_t term, uint64_t index) {
    message_t *ack = fake_post_find(&f->post, MESSAGE_APPEND_RESULT);
    assert_non_null(ack);
    assert_int_equal(ack->cluster, CLUSTER);
    assert_int_equal(ack->from, NODE);
    assert_int_equal(ack->to, NODE + 1);
    assert_int_equal(ack->term, term);
    assert_false(ack->append_result.rejected);
    assert_int_equal(ack->append_result.index, index);
}

static void the_leader_is_told_at_once_and_raft_later(void **state) {
    fixture_t *f = *state;
    format(f);
    fake_post_skip(&f->post);
    put_to_acknowledge(f, 1, 1, 0);
    put_to_acknowledge(f, 2, 1, 0);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_APPEND_RESULT), 0);
    uint64_t from_ms = f->now_ms;
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_APPEND_RESULT), 1);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_WRITTEN), 0);
    acknowledgement_expected(f, 1, 2);
    assert_int_equal(storage_actor_ops.deadline(f->storage, f->now_ms),
                     from_ms + STORAGE_WRITTEN_MS);
    f->now_ms += STORAGE_WRITTEN_MS - 1;
    put_to_acknowledge(f, 3, 1, 0);
    turn(f);
    acknowledgement_expected(f, 1, 3);
    f->now_ms = from_ms + STORAGE_WRITTEN_MS;
    turn(f);
    message_t *written = fake_post_expect(&f->post, MESSAGE_WRITTEN);
    assert_int_equal(written->written.seq, 3);
    assert_int_equal(written->written.ack.to, NODE + 1);
    assert_int_equal(written->written.ack.boot, 77);
    assert_int_equal(written->written.ack.index, 3);
    write_comes(f, NULL, 4, 0); /* a vote: its answer waits for it */
    turn(f);
    assert_int_equal(fake_post_expect(&f->post, MESSAGE_WRITTEN)->written.ack.to, 0);
}

static void a_leader_that_cannot_be_told_is_left_to_raft(void **state) {
    fixture_t *f = *state;
    format(f);
    fake_post_skip(&f->post);
    f->post.unconnected = true;
    put_to_acknowledge(f, 1, 1, 0);
    turn(f);
    message_t *written = fake_post_expect(&f->post, MESSAGE_WRITTEN);
    assert_int_equal(written->written.seq, 1);
    assert_int_equal(written->written.ack.to, 0);
}

static void what_is_replaced_is_not_acknowledged(void **state) {
    fixture_t *f = *state;
    format(f);
    put_to_acknowledge(f, 1, 1, 1);
    put_to_acknowledge(f, 2, 1, 1);
    entry_t entry = put_entry(2, 2, 2, "new");
    write_comes(f, &entry, 2, 1);
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_APPEND_RESULT), 0);
    written_expected(f, 3);
}

/* The connection is to the leader alone, where the membership says that it is. */
static void the_leader_is_connected_to(void **state) {
    fixture_t *f = *state;
    format(f);
    config_t config = {.index = 1, .count = 2};
    config.members[0] = (member_t){NODE, MEMBER_VOTER, "own:1", "own:2"};
    config.members[1] = (member_t){NODE + 1, MEMBER_VOTER, "lead:1", "lead:2"};
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_CONFIG, .config = &config};
    message_t message = {.kind = MESSAGE_WRITE, .write = {.seq = ++f->seq, .commit = 1}};
    assert_int_equal(entries_push(&message.write.entries, &entry), 0);
    comes(f, ACTOR_RAFT, &message);
    turn(f);
    assert_int_equal(f->post.peers_calls, 0);
    put_to_acknowledge(f, 2, 1, 1);
    turn(f);
    put_to_acknowledge(f, 3, 1, 1);
    turn(f);
    assert_int_equal(f->post.peers_calls, 1);
    assert_int_equal(f->post.config.count, 1);
    assert_string_equal(f->post.config.members[0].raft_addr, "lead:2");
}

static void writes_before_open_are_dropped(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "a", 0);
    turn(f);
    storage_actor_ops.neighbour(f->storage, ACTOR_RAFT, f->now_ms); /* another life of raft */
    fake_post_skip(&f->post);
    put_comes(f, 2, 2, "b", 2);
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_WRITTEN), 0);
    assert_int_equal(open_now(f)->last_index, 1);
    put_comes(f, 2, 2, "b", 2); /* counted anew */
    turn(f);
    written_expected(f, 1);
}

static void a_missing_write_ends_the_process(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "a", 0);
    f->seq++;
    put_comes(f, 2, 2, "b", 0);
    assert_int_equal(storage_actor_ops.turn(f->storage, f->now_ms), DRAX_EPROTO);
}

static void a_conflicting_tail_is_replaced(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "a", 1);
    put_comes(f, 2, 2, "old", 1);
    put_comes(f, 3, 3, "older", 1);
    turn(f);
    entry_t entry = put_entry(2, 2, 2, "new");
    write_comes(f, &entry, 2, 2);
    turn(f);
    written_expected(f, 3);
    stale_value_expected(f, "new");
    message_opened_t *opened = open_now(f);
    assert_int_equal(opened->last_index, 2);
    assert_int_equal(opened->commit, 2);
    /* What is applied is not taken back. */
    entry = put_entry(2, 3, 2, "never");
    write_comes(f, &entry, 3, 2);
    assert_int_equal(storage_actor_ops.turn(f->storage, f->now_ms), DRAX_EPROTO);
}

/* ---- applying ---- */

static void what_is_committed_is_applied(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 0);
    turn(f);
    fake_post_skip(&f->post);
    commit_comes(f, 1);
    turn(f);
    result_expected(f, MESSAGE_RESULT, 1);
    put_comes(f, 2, 1, "one", 2); /* the same block again */
    turn(f);
    result_expected(f, MESSAGE_SKIPPED, 1);
    entry_t entry = block_entry(3, 1, NODE + 1, 1, 0, "[0, 1, \"put\", [\"k\", \"of another\"]]");
    write_comes(f, &entry, 1, 3);
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_RESULT)); /* not this node's to answer */
    stale_value_expected(f, "of another");
}

static void a_restart_replays_the_log(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    put_comes(f, 2, 2, "two", 1);
    turn(f);
    restart(f);
    message_opened_t *opened = open_now(f);
    assert_int_equal(opened->commit, 1); /* not flushed yet, but noted */
    assert_int_equal(opened->last_index, 2);
    commit_comes(f, 1); /* as far as raft knows */
    turn(f);
    result_expected(f, MESSAGE_RESULT, 1);
    fake_post_skip(&f->post);
    query_comes(f, 0, 42); /* stale, but entry 2 may have been seen before the restart */
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
    commit_comes(f, 2);
    turn(f);
    answer_expected(f, 42, "two");
    turns_until(f, f->now_ms + FLUSHED_MS);
    restart(f);
    opened = open_now(f);
    assert_int_equal(opened->commit, 2);
    assert_int_equal(opened->gateway_boot, BOOT);
    stale_value_expected(f, "two");
}

static void a_stale_read_does_not_wait_for_ever(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turns_until(f, f->now_ms + FLUSHED_MS);
    put_comes(f, 2, 2, "two", 1);
    turn(f);
    restart(f);
    open_now(f);
    turn(f);
    query_comes(f, 0, 42);
    turns_until(f, f->now_ms + 3100); /* there is no leader */
    answer_expected(f, 42, "one");
}

static void a_stop_flushes(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turn(f);
    storage_actor_ops.stop(f->storage, f->now_ms);
    assert_false(storage_actor_ops.stopped(f->storage));
    turn(f);
    assert_true(storage_actor_ops.stopped(f->storage));
    restart(f);
    assert_int_equal(open_now(f)->commit, 1);
}

/* ---- reads ---- */

static void a_read_waits_until_it_is_safe(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    put_comes(f, 2, 2, "two", 1);
    turn(f);
    fake_post_skip(&f->post);
    query_comes(f, 7, 70);
    query_comes(f, 8, 80);
    query_comes(f, 0, 1);
    turn(f);
    answer_expected(f, 1, "one");
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
    message_t other = {.kind = MESSAGE_READ_READY, .read = {.boot = 3, .read_id = 9, .index = 1}};
    comes(f, ACTOR_RAFT, &other); /* of an earlier gateway */
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
    read_ready_comes(f, 7, 2); /* safe from 2 on, and 1 is applied */
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
    commit_comes(f, 2);
    turn(f);
    answer_expected(f, 70, "two");
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
    read_ready_comes(f, 8, 2);
    turn(f);
    answer_expected(f, 80, "two");
    query_comes(f, 9, 90);
    storage_actor_ops.neighbour(f->storage, ACTOR_GATEWAY, f->now_ms); /* nobody waits any more */
    read_ready_comes(f, 9, 2);
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
    /* An id of the earlier gateway is not one of the new one's. */
    storage_actor_ops.neighbour(f->storage, ACTOR_GATEWAY, f->now_ms);
    query_comes(f, 1, 91);
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
}

static void what_can_be_answered_does_not_wait_for_the_disk(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turn(f);
    fake_post_skip(&f->post);
    put_comes(f, 2, 2, "two", 2);
    query_comes(f, 1, 70);
    query_comes(f, 2, 80);
    read_ready_comes(f, 1, 1);
    turn(f);
    (void) fake_post_expect(&f->post, MESSAGE_ANSWER);
    written_expected(f, 2);
    read_ready_comes(f, 2, 2);
    turn(f);
    answer_expected(f, 80, "two");
}

/* Its gateway compares: it says for which read it is, and of which state. */
static void a_read_whose_answer_is_held_does_not_wait(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    put_comes(f, 2, 2, "two", 1);
    turn(f);
    fake_post_skip(&f->post);
    query_of_comes(f, (message_batch_t){.seq = 7}, 70);
    query_of_comes(f, (message_batch_t){.applied = 2}, 80); /* asked again, with its index */
    turn(f);
    const message_t *answer = fake_post_find(&f->post, MESSAGE_ANSWER);
    assert_non_null(answer);
    assert_int_equal(answer->batch.seq, 7);
    assert_int_equal(answer->batch.applied, 1);
    assert_null(fake_post_find(&f->post, MESSAGE_ANSWER));
    commit_comes(f, 2);
    turn(f);
    answer_expected(f, 80, "two");
}

/* ---- fetches ---- */

static void a_fetch_holds_no_more_than_an_append(void **state) {
    fixture_t *f = *state;
    format(f);
    for (uint64_t i = 1; i <= 5000; i++)
        put_comes(f, i, i, "v", 0);
    turn(f);
    fake_post_skip(&f->post);
    message_t message = {.kind = MESSAGE_FETCH,
                         .fetch = {.peer = 8, .from = 2, .max_bytes = 1u << 20}};
    comes(f, ACTOR_RAFT, &message);
    message_t *fetched = fake_post_expect(&f->post, MESSAGE_FETCHED);
    assert_int_equal(fetched->fetch.code, 0);
    assert_int_equal(fetched->fetch.peer, 8);
    assert_int_equal(fetched->fetch.entries.count, LIMIT_APPEND_ENTRIES);
    assert_int_equal(fetched->fetch.entries.items[0].index, 2);
    message =
        (message_t){.kind = MESSAGE_FETCH, .fetch = {.peer = 8, .from = 5001, .max_bytes = 1}};
    comes(f, ACTOR_RAFT, &message);
    assert_int_equal(fake_post_expect(&f->post, MESSAGE_FETCHED)->fetch.code, DRAX_ENOTFOUND);
    turn(f);
}

/* ---- expiry ---- */

static void a_leader_proposes_what_is_due(void **state) {
    fixture_t *f = *state;
    format(f);
    entry_t entry =
        block_entry(1, 1, NODE, 1, 0, "[0, 1, \"put\", [\"k\", \"v\", {\"ttl_ms\": 5000}]]");
    write_comes(f, &entry, 1, 1); /* stamped 1001: due at 6001 */
    turn(f);
    clock_comes(f, 6150, false);
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_PROPOSE));
    clock_comes(f, 6100, true); /* due, but not for long enough; a stamp is proposed */
    turn(f);
    message_t *propose = fake_post_find(&f->post, MESSAGE_PROPOSE);
    assert_non_null(propose);
    assert_false(bytes_contain(payload_slice(propose->propose.payload), "k"));
    f->now_ms += 500;
    clock_comes(f, 6101, true);
    turn(f);
    propose = fake_post_find(&f->post, MESSAGE_PROPOSE);
    assert_non_null(propose);
    assert_int_equal(propose->propose.boot, 0);
    assert_true(bytes_contain(payload_slice(propose->propose.payload), "k"));
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_PROPOSE)); /* one at a time */
    entry = (entry_t){.index = 2, .term = 1, .time_ms = 6101, .kind = ENTRY_BLOCK};
    entry.payload = payload_ref(propose->propose.payload);
    write_comes(f, &entry, 1, 2);
    turn(f);
    stale_value_expected(f, "KEY_NOT_FOUND");
    f->now_ms += 5000;
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_PROPOSE)); /* nothing with a due time is left */
}

/* ---- a full disk ---- */

/* Needs a segment of its own. */
static entry_t large_entry(uint64_t index, uint64_t term, uint64_t seq) {
    return block_entry(index, term, NODE, seq, seq - 1,
                       "[0, 1, \"put\", [\"k\", \"large\"*20000]]");
}

static void writes_wait_for_space(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turn(f);
    fake_post_skip(&f->post);
    disk_full = true;
    entry_t entry = large_entry(2, 1, 2);
    write_comes(f, &entry, 1, 2);
    turn(f);
    message_t *written = fake_post_find(&f->post, MESSAGE_WRITTEN);
    assert_non_null(written);
    assert_true(written->written.no_space);
    assert_int_equal(written->written.seq, 1);
    stale_value_expected(f, "one"); /* reads go on */
    disk_full = false;
    fake_post_skip(&f->post);
    turns_until(f, f->now_ms + 600);
    message_t *last = NULL;
    for (message_t *at = fake_post_find(&f->post, MESSAGE_WRITTEN); at;
         at = fake_post_find(&f->post, MESSAGE_WRITTEN))
        last = at;
    assert_non_null(last);
    assert_int_equal(last->written.seq, 2);
    assert_false(last->written.no_space);
    stale_value_expected(f, "largelarge");
}

static uint64_t first_index_after(fixture_t *f, uint64_t keep_bytes) {
    f->keep_bytes = keep_bytes;
    restart(f);
    uint64_t last = open_now(f)->last_index;
    put_comes(f, last + 1, last + 1, "last", last + 1);
    turn(f);
    turns_until(f, f->now_ms + FLUSHED_MS);
    return open_now(f)->first_index;
}

static void the_journal_keeps_as_much_as_it_is_told(void **state) {
    fixture_t *f = *state;
    format(f);
    for (uint64_t i = 1; i <= 6; i++) { /* a segment each */
        entry_t entry = large_entry(i, 1, i);
        write_comes(f, &entry, 1, i);
        turn(f);
    }
    assert_int_equal(first_index_after(f, 0), 1); /* the default is far more */
    assert_int_equal(first_index_after(f, 300000), 4);
    assert_int_equal(first_index_after(f, 1), 7);
}

static void a_write_that_waits_is_given_up_with_its_raft(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turn(f);
    disk_full = true;
    entry_t entry = large_entry(2, 1, 2);
    write_comes(f, &entry, 1, 2);
    turn(f);
    assert_true(open_now(f)->no_space);
    disk_full = false;
    storage_actor_ops.neighbour(f->storage, ACTOR_RAFT, f->now_ms);
    turns_until(f, f->now_ms + 300);     /* the spare segment is made */
    assert_false(open_now(f)->no_space); /* though nothing was written */
}

static void a_commit_does_not_overtake_a_write_that_waits(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    put_comes(f, 2, 2, "of a leader that lost", 1);
    turn(f);
    disk_full = true;
    entry_t entry = large_entry(2, 2, 2); /* replaces it */
    write_comes(f, &entry, 2, 1);
    turn(f);
    commit_comes(f, 2); /* the others have it */
    turn(f);
    stale_value_expected(f, "one");
    disk_full = false;
    turns_until(f, f->now_ms + 600);
    stale_value_expected(f, "largelarge");
}

/* One entry applied that did not get out. */
static void flush_failed(fixture_t *f) {
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turn(f);
    fake_post_skip(&f->post);
    kv_calls_left = 0;
    f->now_ms += FLUSHED_MS;
    turn(f);
    message_t *written = fake_post_find(&f->post, MESSAGE_WRITTEN);
    assert_non_null(written);
    assert_true(written->written.no_space);
    fake_post_skip(&f->post);
}

static void space_again_expected(fixture_t *f, uint64_t applied) {
    kv_calls_left = -1;
    turns_until(f, f->now_ms + 1000);
    message_t *written = fake_post_find(&f->post, MESSAGE_WRITTEN);
    assert_non_null(written);
    assert_false(written->written.no_space);
    turns_until(f, f->now_ms + FLUSHED_MS); /* what came meanwhile */
    restart(f);
    assert_int_equal(open_now(f)->commit, applied);
}

static void a_flush_waits_for_space(void **state) {
    fixture_t *f = *state;
    flush_failed(f);
    space_again_expected(f, 1); /* by itself: nothing is written meanwhile */
}

static void what_comes_while_a_flush_waits_is_flushed_too(void **state) {
    fixture_t *f = *state;
    flush_failed(f);
    put_comes(f, 2, 2, "two", 2); /* of a leader that has space */
    turn(f);
    fake_post_skip(&f->post);
    space_again_expected(f, 2);
}

/* ---- lost files ---- */

static void remove_below(fixture_t *f, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", f->home.path, name);
    assert_int_equal(fs.remove_tree(fs.self, path), 0);
}

static void a_lost_journal_is_damage(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turn(f);
    storage_actor_ops.stop(f->storage, f->now_ms);
    turn(f);
    storage_actor_destroy(&f->storage);
    remove_below(f, "journal");
    char journal[512];
    snprintf(journal, sizeof journal, "%s/journal", f->home.path);
    assert_int_equal(fs.mkdir(fs.self, journal), 0);
    assert_int_equal(start(f), DRAX_ECORRUPT);
    assert_null(f->storage);
}

static void a_lost_state_is_damage(void **state) {
    fixture_t *f = *state;
    format(f);
    storage_actor_destroy(&f->storage);
    remove_below(f, "state/00000001");
    assert_true(start(f) != 0);
    assert_null(f->storage);
}

static void a_lost_identity_is_not_formatted_over(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 0);
    turn(f);
    storage_actor_destroy(&f->storage);
    char path[512];
    snprintf(path, sizeof path, "%s/identity", f->home.path);
    assert_int_equal(fs.remove(fs.self, path), 0);
    assert_int_equal(start(f), 0);
    assert_false(open_now(f)->formatted);
    message_t message = {.kind = MESSAGE_FORMAT, .format = {.cluster = 1, .node = 2}};
    comes(f, ACTOR_RAFT, &message);
    assert_int_equal(storage_actor_ops.turn(f->storage, f->now_ms), DRAX_ECORRUPT);
}

/* ---- snapshots ---- */

static message_t *chunk_fetched(fixture_t *from, uint64_t peer, uint64_t session, uint64_t chunk) {
    message_t message = {.kind = MESSAGE_SNAPSHOT_FETCH,
                         .snapshot = {.peer = peer, .session = session, .chunk = chunk}};
    comes(from, ACTOR_RAFT, &message);
    message_t *got = fake_post_find(&from->post, MESSAGE_SNAPSHOT_CHUNK);
    assert_non_null(got);
    return got;
}

static void chunk_given(fixture_t *to, const message_t *chunk) {
    message_t copy = *chunk;
    copy.snapshot.payload = payload_ref(chunk->snapshot.payload);
    comes(to, ACTOR_RAFT, &copy);
    turn(to);
}

static message_t *staged_expected(fixture_t *f, uint64_t chunk, bool last, int code) {
    message_t *staged = fake_post_find(&f->post, MESSAGE_SNAPSHOT_STAGED);
    assert_non_null(staged);
    assert_int_equal(staged->snapshot.code, code);
    assert_int_equal(staged->snapshot.chunk, chunk);
    assert_int_equal(staged->snapshot.last, last);
    return staged;
}

/* A source with 20 entries, flushed, of more than one chunk. */
static void source_fill(fixture_t *f) {
    format(f);
    for (uint64_t i = 1; i <= 20; i++) {
        char command[128];
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"k%u\", \"value\"*8000]]",
                 (unsigned) i);
        entry_t entry = block_entry(i, 1, NODE, i, i - 1, command);
        write_comes(f, &entry, 1, i);
    }
    put_comes(f, 21, 21, "last", 21);
    turns_until(f, f->now_ms + FLUSHED_MS);
    fake_post_skip(&f->post);
}

static void a_snapshot_goes_from_one_to_another(void **state) {
    fixture_t *from = *state, to = {0};
    fixture_init(&to);
    source_fill(from);
    format(&to);
    put_comes(&to, 1, 1, "mine", 0); /* a tail that the snapshot replaces */
    turn(&to);
    fake_post_skip(&to.post);
    uint64_t session = 0, chunk = 0;
    for (;; chunk++) {
        message_t *got = chunk_fetched(from, 8, session, chunk);
        assert_int_equal(got->snapshot.code, 0);
        assert_int_equal(got->snapshot.peer, 8);
        assert_int_equal(got->snapshot.index, 21);
        assert_true(session == 0 || got->snapshot.session == session);
        session = got->snapshot.session;
        chunk_given(&to, got);
        staged_expected(&to, chunk, got->snapshot.last, 0);
        if (got->snapshot.last)
            break;
        chunk_given(&to, got); /* asked for twice: here already */
        staged_expected(&to, chunk, false, 0);
    }
    assert_true(chunk >= 2);
    put_comes(&to, 2, 2, "of before", 2); /* what raft wrote before it knew */
    turn(&to);
    message_opened_t *opened = open_now(&to);
    assert_int_equal(opened->commit, 21);
    assert_int_equal(opened->first_index, 22);
    assert_int_equal(opened->last_index, 21);
    assert_int_equal(opened->gateway_boot, BOOT);
    stale_value_expected(&to, "last");
    restart(&to); /* and it lasts */
    assert_int_equal(open_now(&to)->commit, 21);
    put_comes(&to, 22, 22, "after", 22);
    turn(&to);
    stale_value_expected(&to, "after");
    fixture_clear(&to);
}

/* It replaces what found no room. */
static void a_snapshot_ends_the_want_of_space(void **state) {
    fixture_t *from = *state, to = {0};
    fixture_init(&to);
    source_fill(from);
    flush_failed(&to);
    kv_calls_left = -1;
    uint64_t session = 0, chunk = 0;
    for (bool last = false; !last; chunk++) {
        message_t *got = chunk_fetched(from, 8, session, chunk);
        session = got->snapshot.session;
        last = got->snapshot.last;
        chunk_given(&to, got);
        staged_expected(&to, chunk, last, 0);
    }
    assert_false(open_now(&to)->no_space);
    fixture_clear(&to);
}

static void a_snapshot_of_what_the_log_holds_is_refused(void **state) {
    fixture_t *from = *state, to = {0};
    fixture_init(&to);
    source_fill(from);
    format(&to);
    uint64_t session = chunk_fetched(from, 8, 0, 0)->snapshot.session;
    from->post.at--;
    message_t *first = fake_post_next(&from->post);
    chunk_given(&to, first);
    staged_expected(&to, 0, false, 0);
    /* A new leader sends all of the log, and more, before the rest of the snapshot comes. */
    for (uint64_t i = 1; i <= 25; i++)
        put_comes(&to, i, i, "entry", 0);
    turn(&to);
    message_t *second = chunk_fetched(from, 8, session, 1);
    chunk_given(&to, second);
    staged_expected(&to, 1, false, DRAX_EEXIST);
    assert_int_equal(open_now(&to)->last_index, 25); /* what was acknowledged stays */
    fixture_clear(&to);
}

static void a_damaged_chunk_is_refused(void **state) {
    fixture_t *from = *state, to = {0};
    fixture_init(&to);
    source_fill(from);
    format(&to);
    message_t *got = chunk_fetched(from, 8, 0, 0);
    payload_t *whole = got->snapshot.payload;
    payload_t *damaged = payload_copy(payload_data(whole), payload_size(whole));
    payload_bytes(damaged)[payload_size(damaged) / 2] ^= 1;
    got->snapshot.payload = damaged;
    chunk_given(&to, got);
    staged_expected(&to, 0, false, DRAX_ECORRUPT);
    got->snapshot.payload = whole;
    payload_unref(&damaged);
    chunk_given(&to, got); /* from the beginning */
    staged_expected(&to, 0, false, 0);
    message_t later = {.kind = MESSAGE_SNAPSHOT_CHUNK, .snapshot = got->snapshot};
    later.snapshot.chunk = 3; /* out of order */
    chunk_given(&to, &later);
    staged_expected(&to, 3, false, DRAX_EINVAL);
    assert_int_equal(open_now(&to)->commit, 0);
    fixture_clear(&to);
}

static void chunks_are_as_large_as_told(void **state) {
    fixture_t *f = *state;
    source_fill(f);
    f->chunk_bytes = 50000;
    restart(f);
    open_now(f);
    message_t *got = chunk_fetched(f, 8, 0, 0);
    size_t size = payload_size(got->snapshot.payload);
    assert_true(size >= 40000 && size <= 50000); /* a second pair of 40000 bytes had no room */
    assert_false(got->snapshot.last);
}

static void a_peer_has_one_session(void **state) {
    fixture_t *f = *state;
    format(f);
    assert_int_equal(chunk_fetched(f, 8, 0, 0)->snapshot.code,
                     DRAX_EAGAIN); /* nothing flushed yet */
    storage_actor_destroy(&f->storage);
    fixture_clear(f);
    fixture_init(f);
    source_fill(f);
    uint64_t of_9 = chunk_fetched(f, 9, 0, 0)->snapshot.session;
    uint64_t first = chunk_fetched(f, 8, 0, 0)->snapshot.session;
    for (unsigned i = 0; i < 2 * SNAPSHOT_SESSIONS; i++) {
        uint64_t next = chunk_fetched(f, 8, 0, 0)->snapshot.session;
        assert_int_equal(chunk_fetched(f, 8, first, 1)->snapshot.code, DRAX_ENOTFOUND);
        first = next;
    }
    assert_int_equal(chunk_fetched(f, 9, of_9, 1)->snapshot.code, 0);
    assert_int_equal(chunk_fetched(f, 8, of_9, 1)->snapshot.code, DRAX_ENOTFOUND); /* not its own */
    f->now_ms += SNAPSHOT_IDLE_MS + 1;
    turn(f);
    assert_int_equal(chunk_fetched(f, 9, of_9, 2)->snapshot.code, DRAX_ENOTFOUND);
}

static void flushes_of_many_keys_are_larger(void **state) {
    (void) state;
    assert_int_equal(storage_flush_bytes(0), STATE_FLUSH_BYTES);
    assert_int_equal(storage_flush_bytes(STATE_FEW_KEYS), STATE_FLUSH_BYTES);
    assert_true(storage_flush_bytes(STATE_FEW_KEYS + 1) > STATE_FLUSH_BYTES);
    assert_true(storage_flush_bytes(2 * STATE_FEW_KEYS) > storage_flush_bytes(STATE_FEW_KEYS + 1));
    assert_int_equal(storage_flush_bytes(LIMIT_INTEGER), STATE_FLUSH_MOST_BYTES);
}

/* Nodes begin a load at the same time; the first of two flushes in the middle of what is usual, so
 * that they take turns from then on. */
static void nodes_flush_one_after_the_other(void **state) {
    fixture_t *f = *state;
    format(f);
    config_t *config = calloc(1, sizeof *config);
    assert_non_null(config);
    *config = (config_t){.index = 1, .count = 2};
    config->members[0] = (member_t){NODE + 1, MEMBER_VOTER, "other:1", "other:2"};
    config->members[1] = (member_t){NODE, MEMBER_VOTER, "own:1", "own:2"};
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_CONFIG, .config = config};
    write_comes(f, &entry, 1, 1);
    turn(f);
    assert_int_equal(storage_flush_ms(f->storage), f->now_ms + STATE_FLUSH_MS / 2);
    f->now_ms += STATE_FLUSH_MS / 2;
    turn(f); /* flushed */
    put_comes(f, 2, 1, "one", 2);
    turn(f);
    assert_int_equal(storage_flush_ms(f->storage), f->now_ms + STATE_FLUSH_MS);
    f->now_ms += STATE_FLUSH_MS;
    turn(f);
    f->now_ms += STATE_FLUSH_MS; /* without a change */
    put_comes(f, 3, 2, "two", 3);
    turn(f);
    assert_int_equal(storage_flush_ms(f->storage), f->now_ms + STATE_FLUSH_MS / 2);
}

/* When nothing has to be flushed for a while; the next flush comes all the same. */
static void memory_goes_back_after_a_flush(void **state) {
    fixture_t *f = *state;
    format(f);
    put_comes(f, 1, 1, "one", 1);
    turns_until(f, f->now_ms + FLUSHED_MS);
    assert_int_equal(kv_faulty_releases(kv_opened), 0);
    turns_until(f, f->now_ms + STATE_RELEASE_MS);
    assert_int_equal(kv_faulty_releases(kv_opened), 1);
    turns_until(f, f->now_ms + 2 * STATE_RELEASE_MS);
    assert_int_equal(kv_faulty_releases(kv_opened), 1); /* until the next flush */
    put_comes(f, 2, 2, "two", 2);
    turns_until(f, f->now_ms + FLUSHED_MS);
    turns_until(f, f->now_ms + STATE_RELEASE_MS);
    assert_int_equal(state_flushed(f->storage->state), 2);
    assert_int_equal(kv_faulty_releases(kv_opened), 2);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_home_is_formatted_once),
        T(writes_are_answered_once_a_turn),
        T(the_leader_is_told_at_once_and_raft_later),
        T(a_leader_that_cannot_be_told_is_left_to_raft),
        T(what_is_replaced_is_not_acknowledged),
        T(the_leader_is_connected_to),
        T(writes_before_open_are_dropped),
        T(a_missing_write_ends_the_process),
        T(a_conflicting_tail_is_replaced),
        T(what_is_committed_is_applied),
        T(a_restart_replays_the_log),
        T(a_stale_read_does_not_wait_for_ever),
        T(a_stop_flushes),
        T(a_read_waits_until_it_is_safe),
        T(a_read_whose_answer_is_held_does_not_wait),
        T(what_can_be_answered_does_not_wait_for_the_disk),
        T(a_fetch_holds_no_more_than_an_append),
        T(a_leader_proposes_what_is_due),
        T(writes_wait_for_space),
        T(the_journal_keeps_as_much_as_it_is_told),
        T(a_write_that_waits_is_given_up_with_its_raft),
        T(a_commit_does_not_overtake_a_write_that_waits),
        T(a_flush_waits_for_space),
        T(what_comes_while_a_flush_waits_is_flushed_too),
        T(a_lost_journal_is_damage),
        T(a_lost_state_is_damage),
        T(a_lost_identity_is_not_formatted_over),
        T(a_snapshot_goes_from_one_to_another),
        T(a_snapshot_ends_the_want_of_space),
        T(a_snapshot_of_what_the_log_holds_is_refused),
        T(a_damaged_chunk_is_refused),
        T(chunks_are_as_large_as_told),
        T(flushes_of_many_keys_are_larger),
        T(nodes_flush_one_after_the_other),
        T(memory_goes_back_after_a_flush),
        T(a_peer_has_one_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
