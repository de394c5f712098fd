/* test_raft_actor.c: the actor around the core: founding, joining, new lives of storage, proposals,
 * reads, membership, snapshots on their way. Storage, gateway and peers are played by the tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/raft_actor_internal.h"
#include "broker/error.h"
#include "fake_post.h"

#define CLUSTER 77u
#define NODE 5u
#define LEADER 3u
#define OTHER 4u

typedef struct {
    fake_post_t post;
    raft_actor_t *raft;
    log_t log;
    uint64_t now_ms;
} fixture_t;

static void log_nothing(void *hint, log_level_t level, const char *actor, const char *text) {
    (void) hint;
    (void) level;
    (void) actor;
    (void) text;
}

static int setup_with(void **state, bool join) {
    fixture_t *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    f->log = (log_t){LOG_LEVEL_DEBUG, "raft", log_nothing, NULL};
    f->now_ms = 50000;
    fake_post_init(&f->post, ACTOR_RAFT);
    raft_actor_options_t options = {.post = &f->post.post,
                                    .log = &f->log,
                                    .boot = 1,
                                    .seed = 9,
                                    .join = join,
                                    .addr = "own:1",
                                    .raft_addr = "own:2"};
    *state = f;
    return raft_actor_new(&f->raft, &options);
}

static int setup(void **state) {
    return setup_with(state, false);
}

static int setup_join(void **state) {
    return setup_with(state, true);
}

static int teardown(void **state) {
    fixture_t *f = *state;
    raft_actor_destroy(&f->raft);
    fake_post_clear(&f->post);
    free(f);
    return 0;
}

/* ---- what comes in ---- */

static void comes(fixture_t *f, actor_t from, message_t *message) {
    message->actor = from;
    message->from_boot = f->post.boots[from];
    raft_actor_ops.receive(f->raft, message, f->now_ms);
    assert_int_equal(message->kind, MESSAGE_NONE);
}

static void peer_comes(fixture_t *f, uint64_t from, message_t *message) {
    message->cluster = CLUSTER;
    message->from = from;
    message->to = NODE;
    message->from_boot = 900 + from;
    message->term = message->term ? message->term : 1;
    comes(f, ACTOR_NONE, message);
}

static void turn(fixture_t *f) {
    assert_int_equal(raft_actor_ops.turn(f->raft, f->now_ms), 0);
}

static void storage_is_there(fixture_t *f) {
    raft_actor_ops.neighbour(f->raft, ACTOR_STORAGE, f->now_ms);
}

static void opened_comes(fixture_t *f, const message_opened_t *like) {
    message_t message = {.kind = MESSAGE_OPENED, .opened = *like};
    message_opened_t *opened = &message.opened;
    if (opened->formatted && !opened->runs) {
        opened->runs = calloc(1, sizeof *opened->runs);
        opened->run_count = 1;
    }
    comes(f, ACTOR_STORAGE, &message);
}

/* As `like`, and its log is of term 1, beginning with `config`. */
static void opened_log_comes(fixture_t *f, message_opened_t like, const config_t *config) {
    like.formatted = true;
    like.cluster = CLUSTER;
    like.node = NODE;
    like.term = 1;
    like.first_index = 1;
    like.run_count = 2;
    like.runs = calloc(2, sizeof *like.runs);
    like.runs[1] = (term_run_t){1, 1};
    like.config_count = 1;
    like.configs = calloc(1, sizeof *like.configs);
    like.configs[0] = *config;
    opened_comes(f, &like);
}

static void opened_empty_comes(fixture_t *f) {
    opened_comes(f, &(message_opened_t){
                        .formatted = true, .cluster = CLUSTER, .node = NODE, .first_index = 1});
}

static void written_comes(fixture_t *f, uint64_t seq, bool no_space) {
    message_t message = {.kind = MESSAGE_WRITTEN,
                         .written = {.seq = seq, .first_index = 1, .no_space = no_space}};
    comes(f, ACTOR_STORAGE, &message);
}

static void propose_comes(fixture_t *f, actor_t from, uint64_t boot, uint64_t seq) {
    message_t message = {
        .kind = MESSAGE_PROPOSE,
        .propose = {.boot = boot, .seq = seq, .payload = payload_copy("block", 5)}};
    comes(f, from, &message);
}

static void admin_comes(fixture_t *f, admin_op_t op, uint64_t id, const char *addr,
                        const char *raft_addr) {
    message_t message = {.kind = MESSAGE_ADMIN, .admin = {.token = 31, .op = op, .id = id}};
    strcpy(message.admin.addr, addr);
    strcpy(message.admin.raft_addr, raft_addr);
    comes(f, ACTOR_GATEWAY, &message);
}

/* Writes until nothing is left to write; returns how many. */
static unsigned writes_carried_out(fixture_t *f) {
    unsigned count = 0;
    for (;;) {
        turn(f);
        message_t *write = fake_post_find(&f->post, MESSAGE_WRITE);
        while (write && write->write.seq == 0)
            write = fake_post_find(&f->post, MESSAGE_WRITE);
        if (!write)
            return count;
        count++;
        written_comes(f, write->write.seq, false);
    }
}

/* A single node that leads. */
static void leads(fixture_t *f) {
    storage_is_there(f);
    opened_empty_comes(f);
    writes_carried_out(f);
    fake_post_skip(&f->post);
    assert_true(raft_actor_ops.ready(f->raft));
}

static message_raft_status_t status_now(fixture_t *f) {
    fake_post_skip(&f->post);
    raft_actor_ops.neighbour(f->raft, ACTOR_GATEWAY, f->now_ms);
    return fake_post_expect(&f->post, MESSAGE_RAFT_STATUS)->raft_status;
}

/* ---- founding ---- */

static void an_empty_home_founds_a_cluster(void **state) {
    fixture_t *f = *state;
    turn(f);
    assert_null(fake_post_next(&f->post));
    storage_is_there(f);
    fake_post_expect(&f->post, MESSAGE_OPEN);
    opened_comes(f, &(message_opened_t){0});
    message_t *format = fake_post_expect(&f->post, MESSAGE_FORMAT);
    message_format_t given = format->format;
    assert_true(given.cluster && given.node && given.node <= UINT32_MAX);
    assert_int_equal(given.hint.count, 0);
    fake_post_expect(&f->post, MESSAGE_OPEN);
    uint64_t id;
    assert_false(raft_actor_wants_join(f->raft, &id));
    opened_comes(f, &(message_opened_t){0}); /* of an OPEN before FORMAT: not another FORMAT */
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_FORMAT), 0);
    opened_comes(
        f, &(message_opened_t){
               .formatted = true, .cluster = given.cluster, .node = given.node, .first_index = 1});
    turn(f);
    message_t *write = fake_post_find(&f->post, MESSAGE_WRITE);
    assert_non_null(write);
    assert_int_equal(write->write.seq, 1);
    assert_true(write->write.has_hard_state);
    assert_int_equal(write->write.entries.count, 1);
    const entry_t *entry = &write->write.entries.items[0];
    assert_int_equal(entry->kind, ENTRY_CONFIG);
    assert_int_equal(entry->config->count, 1);
    assert_true(entry->config->members[0].id == given.node);
    assert_string_equal(entry->config->members[0].addr, "own:1");
    assert_string_equal(entry->config->members[0].raft_addr, "own:2");
    assert_false(raft_actor_ops.ready(f->raft)); /* not before it is durable */
    written_comes(f, 1, false);
    writes_carried_out(f);
    assert_true(raft_actor_ops.ready(f->raft));
    message_raft_status_t status = status_now(f);
    assert_int_equal(status.role, RAFT_LEADER);
    assert_true(status.leader == given.node && status.cluster == given.cluster);
    assert_int_equal(status.config.count, 1);
}

static void a_founded_node_starts_from_its_log(void **state) {
    fixture_t *f = *state;
    config_t config = {.index = 1, .count = 1};
    config.members[0] = (member_t){NODE, MEMBER_VOTER, "own:1", "own:2"};
    message_opened_t like = {.vote = NODE, .last_index = 9, .commit = 7, .gateway_boot = 4000};
    storage_is_there(f);
    opened_log_comes(f, like, &config);
    writes_carried_out(f);
    message_raft_status_t status = status_now(f);
    assert_int_equal(status.role, RAFT_LEADER);
    assert_int_equal(status.term, 2);
    assert_true(status.commit >= 10);
    assert_int_equal(status.gateway_boot, 4000);
}

static void contradictions_end_the_actor(void **state) {
    fixture_t *f = *state;
    storage_is_there(f);
    opened_comes(f, &(message_opened_t){.formatted = true,
                                        .cluster = CLUSTER,
                                        .node = NODE,
                                        .first_index = 1,
                                        .commit = 9}); /* committed, but not in the log */
    assert_int_equal(raft_actor_ops.turn(f->raft, f->now_ms), DRAX_EINVAL);
}

/* ---- storage comes anew ---- */

static void without_a_core_nothing_is_taken(void **state) {
    fixture_t *f = *state;
    propose_comes(f, ACTOR_GATEWAY, 1000, 1);
    message_t *refused = fake_post_expect(&f->post, MESSAGE_PROPOSE_REFUSED);
    assert_int_equal(refused->propose.code, DRAX_ENOTLEADER);
    assert_int_equal(refused->propose.boot, 1000);
    assert_int_equal(refused->propose.seq, 1);
    propose_comes(f, ACTOR_STORAGE, 0, 0); /* an expiry: nobody waits for it */
    assert_null(fake_post_next(&f->post));
    message_t message = {.kind = MESSAGE_READ, .read = {.boot = 1000, .read_id = 3}};
    comes(f, ACTOR_GATEWAY, &message);
    message_t *failed = fake_post_expect(&f->post, MESSAGE_READ_FAILED);
    assert_int_equal(failed->read.read_id, 3);
    admin_comes(f, ADMIN_REMOVE, 4, "", "");
    message_t *result = fake_post_expect(&f->post, MESSAGE_ADMIN_RESULT);
    assert_int_equal(result->admin.code, DRAX_ENOTLEADER);
    assert_int_equal(result->admin.token, 31);
}

static void a_new_storage_means_a_new_core(void **state) {
    fixture_t *f = *state;
    leads(f);
    propose_comes(f, ACTOR_GATEWAY, 1000, 1);
    turn(f);
    message_t *write = fake_post_expect(&f->post, MESSAGE_WRITE);
    assert_int_equal(write->write.entries.count, 1);
    uint64_t seq = write->write.seq;
    fake_post_skip(&f->post);
    storage_is_there(f);
    fake_post_expect(&f->post, MESSAGE_OPEN);
    assert_false(raft_actor_ops.ready(f->raft));
    written_comes(f, seq, false); /* of the earlier life: no core to hear of it */
    propose_comes(f, ACTOR_GATEWAY, 1000, 2);
    fake_post_expect(&f->post, MESSAGE_PROPOSE_REFUSED);
    opened_empty_comes(f);
    turn(f);
    write = fake_post_find(&f->post, MESSAGE_WRITE);
    assert_int_equal(write->write.seq, 1); /* counted anew */
    opened_empty_comes(f);                 /* a second answer changes nothing */
    written_comes(f, 1, false);
    writes_carried_out(f);
    assert_true(raft_actor_ops.ready(f->raft));
}

/* ---- proposals and reads of a leader ---- */

static void a_proposal_is_written_and_committed(void **state) {
    fixture_t *f = *state;
    leads(f);
    propose_comes(f, ACTOR_GATEWAY, 1000, 1);
    propose_comes(f, ACTOR_STORAGE, 0, 0);
    turn(f);
    message_t *write = fake_post_expect(&f->post, MESSAGE_WRITE);
    assert_int_equal(write->write.entries.count, 2);
    assert_true(write->write.leader);
    assert_int_equal(write->write.entries.items[0].kind, ENTRY_BLOCK);
    /* Nobody else is needed, so it is committed as soon as it is durable. */
    assert_int_equal(write->write.commit, write->write.entries.items[1].index);
    written_comes(f, write->write.seq, false);
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_WRITE)); /* storage knows */
    assert_int_equal(status_now(f).gateway_boot, 1000);   /* a new gateway must be above it */
}

static void read_ready_expected(fixture_t *f, actor_t to, uint64_t read_id) {
    message_t *ready = fake_post_find(&f->post, MESSAGE_READ_READY);
    assert_non_null(ready);
    assert_int_equal(f->post.to[f->post.at - 1], to);
    assert_int_equal(ready->read.read_id, read_id);
    assert_int_equal(ready->read.boot, 1000);
    assert_true(ready->read.index >= 1);
}

static void a_read_is_safe_on_a_single_node(void **state) {
    fixture_t *f = *state;
    leads(f);
    message_t message = {.kind = MESSAGE_READ, .read = {.boot = 1000, .read_id = 3}};
    comes(f, ACTOR_GATEWAY, &message);
    turn(f);
    read_ready_expected(f, ACTOR_STORAGE, 3);
    assert_null(fake_post_find(&f->post, MESSAGE_READ_READY));
    message = (message_t){.kind = MESSAGE_READ, .read = {.boot = 1000, .read_id = 4, .held = true}};
    comes(f, ACTOR_GATEWAY, &message);
    turn(f);
    read_ready_expected(f, ACTOR_GATEWAY, 4);
    assert_null(fake_post_find(&f->post, MESSAGE_READ_READY));
}

/* One index for both, which came in one turn: each of those who wait is told. */
static void a_read_index_goes_to_all_who_wait(void **state) {
    fixture_t *f = *state;
    leads(f);
    message_t held = {.kind = MESSAGE_READ, .read = {.boot = 1000, .read_id = 3, .held = true}};
    message_t parked = {.kind = MESSAGE_READ, .read = {.boot = 1000, .read_id = 4}};
    comes(f, ACTOR_GATEWAY, &held);
    comes(f, ACTOR_GATEWAY, &parked);
    turn(f);
    read_ready_expected(f, ACTOR_STORAGE, 4);
    read_ready_expected(f, ACTOR_GATEWAY, 4);
}

static void a_full_disk_refuses_proposals(void **state) {
    fixture_t *f = *state;
    leads(f);
    written_comes(f, 1, true);
    assert_true(fake_post_expect(&f->post, MESSAGE_RAFT_STATUS)->raft_status.no_space);
    propose_comes(f, ACTOR_GATEWAY, 1000, 1);
    assert_int_equal(fake_post_expect(&f->post, MESSAGE_PROPOSE_REFUSED)->propose.code,
                     DRAX_ENOSPC);
    written_comes(f, 1, false);
    assert_false(fake_post_expect(&f->post, MESSAGE_RAFT_STATUS)->raft_status.no_space);
    propose_comes(f, ACTOR_GATEWAY, 1000, 2);
    assert_null(fake_post_next(&f->post));
}

static void many_proposals_of_a_turn_are_several_writes(void **state) {
    fixture_t *f = *state;
    leads(f);
    for (uint64_t i = 1; i <= 10000; i++)
        propose_comes(f, ACTOR_GATEWAY, 1000, i);
    size_t entries = 0;
    uint64_t seq = 0, commit = 0;
    for (unsigned i = 0; i < 3; i++) {
        turn(f);
        message_t *write = fake_post_find(&f->post, MESSAGE_WRITE);
        assert_non_null(write);
        assert_true(seq == 0 || write->write.seq == seq + 1);
        seq = write->write.seq;
        entries += write->write.entries.count;
        assert_true(write->write.commit > commit);
        commit = write->write.commit; /* no more than was written so far */
        assert_true(commit < entries + 10);
        bool more = entries < 10000;
        assert_int_equal(raft_actor_ops.deadline(f->raft, f->now_ms) <= f->now_ms, more);
    }
    assert_int_equal(entries, 10000);
    assert_true(commit >= 10000);
}

/* ---- membership ---- */

static uint64_t learner_added(fixture_t *f) {
    admin_comes(f, ADMIN_ADD, 44, "new:1", "new:2");
    writes_carried_out(f);
    f->post.at = 0;
    message_t *result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_non_null(result);
    assert_int_equal(result->admin.code, 0);
    assert_int_equal(result->admin.id, 44);
    assert_int_equal(result->admin.config.count, 2);
    assert_int_equal(config_member(&result->admin.config, 44)->role, MEMBER_LEARNER);
    fake_post_skip(&f->post);
    return 44;
}

static void a_member_is_added_and_removed(void **state) {
    fixture_t *f = *state;
    leads(f);
    learner_added(f);
    assert_int_equal(f->post.config.count, 2); /* and connected to */
    admin_comes(f, ADMIN_PROMOTE, 44, "", ""); /* it has not caught up */
    turn(f);
    message_t *result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_int_equal(result->admin.code, DRAX_EINVAL);
    admin_comes(f, ADMIN_REMOVE, 44, "", "");
    size_t from = f->post.at;
    writes_carried_out(f);
    f->post.at = from;
    result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_non_null(result);
    assert_int_equal(result->admin.code, 0);
    assert_int_equal(result->admin.config.count, 1);
    admin_comes(f, ADMIN_REMOVE, NODE, "", ""); /* the last voter */
    result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_int_equal(result->admin.code, DRAX_EINVAL);
    admin_comes(f, ADMIN_REMOVE, 45, "", "");
    result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_int_equal(result->admin.code, DRAX_ENOTFOUND);
    admin_comes(f, ADMIN_TRANSFER, 0, "", "");
    turn(f);
    result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_int_equal(result->admin.code, DRAX_ENOTFOUND);
    admin_comes(f, ADMIN_TRANSFER, NODE, "", ""); /* to who leads already */
    turn(f);
    result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_non_null(result);
    assert_int_equal(result->admin.code, 0);
    assert_int_equal(result->admin.leader, NODE);
}

static void an_id_is_chosen_for_a_member_without_one(void **state) {
    fixture_t *f = *state;
    leads(f);
    admin_comes(f, ADMIN_ADD, 0, "new:1", "new:2");
    size_t from = f->post.at;
    writes_carried_out(f);
    f->post.at = from;
    message_t *result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_non_null(result);
    assert_int_equal(result->admin.code, 0);
    assert_true(result->admin.id && result->admin.id <= UINT32_MAX);
    assert_non_null(config_member(&result->admin.config, result->admin.id));
}

static void what_was_begun_when_the_core_goes_is_a_timeout(void **state) {
    fixture_t *f = *state;
    leads(f);
    admin_comes(f, ADMIN_ADD, 44, "new:1", "new:2");
    turn(f);
    fake_post_skip(&f->post);
    storage_is_there(f);
    message_t *result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_non_null(result);
    assert_int_equal(result->admin.code, DRAX_ETIMEDOUT);
}

static void a_member_may_ask_through_its_own_gateway(void **state) {
    fixture_t *f = *state;
    leads(f);
    message_t message = {.kind = MESSAGE_ADMIN,
                         .admin = {.token = 8, .op = ADMIN_REMOVE, .id = 99}};
    peer_comes(f, 44, &message); /* not a member: no answer */
    assert_null(fake_post_next(&f->post));
    learner_added(f);
    message =
        (message_t){.kind = MESSAGE_ADMIN, .admin = {.token = 8, .op = ADMIN_REMOVE, .id = 99}};
    peer_comes(f, 44, &message);
    message_t *result = fake_post_find(&f->post, MESSAGE_ADMIN_RESULT);
    assert_non_null(result);
    assert_int_equal(result->to, 44);
    assert_int_equal(result->from, NODE);
    assert_int_equal(result->cluster, CLUSTER);
    assert_int_equal(result->admin.code, DRAX_ENOTFOUND);
    assert_int_equal(result->admin.token, 8);
}

/* ---- snapshots for others ---- */

static void has_all_comes(fixture_t *f, uint64_t peer, uint64_t index) {
    message_t message = {.kind = MESSAGE_APPEND_RESULT, .append_result = {.index = index}};
    peer_comes(f, peer, &message);
}

static void the_own_write_waits_for_half_of_the_peers(void **state) {
    fixture_t *f = *state;
    leads(f);
    learner_added(f);
    has_all_comes(f, 44, 3); /* the founding membership, the leader's own entry, and 44 */
    admin_comes(f, ADMIN_ADD, 45, "newer:1", "newer:2");
    writes_carried_out(f);
    has_all_comes(f, 44, 4);
    has_all_comes(f, 45, 4);
    turn(f);
    fake_post_skip(&f->post);
    propose_comes(f, ACTOR_GATEWAY, 1000, 1);
    turn(f);
    const message_t *first = fake_post_expect(&f->post, MESSAGE_APPEND);
    assert_int_equal(fake_post_expect(&f->post, MESSAGE_WRITE)->write.entries.count, 1);
    assert_int_not_equal(fake_post_expect(&f->post, MESSAGE_APPEND)->to, first->to);
}

static void a_leader_hands_snapshots_on(void **state) {
    fixture_t *f = *state;
    leads(f);
    message_t message = {.kind = MESSAGE_SNAPSHOT_FETCH,
                         .snapshot = {.peer = 1, .session = 4, .chunk = 2}};
    peer_comes(f, 44, &message); /* a stranger */
    assert_null(fake_post_next(&f->post));
    learner_added(f);
    message = (message_t){.kind = MESSAGE_SNAPSHOT_FETCH,
                          .snapshot = {.peer = 1, .session = 4, .chunk = 2}};
    peer_comes(f, 44, &message);
    message_t *fetch = fake_post_find(&f->post, MESSAGE_SNAPSHOT_FETCH);
    assert_non_null(fetch);
    assert_int_equal(fetch->actor, ACTOR_RAFT); /* to storage */
    assert_int_equal(fetch->snapshot.peer, 44); /* as the network says, not as it claims */
    assert_int_equal(fetch->snapshot.session, 4);
    assert_int_equal(fetch->snapshot.chunk, 2);
    message = (message_t){
        .kind = MESSAGE_SNAPSHOT_CHUNK,
        .snapshot = {.peer = 44, .session = 4, .chunk = 2, .index = 1, .snapshot_term = 1}};
    message.snapshot.payload = payload_copy("bytes", 5);
    comes(f, ACTOR_STORAGE, &message);
    message_t *chunk = fake_post_find(&f->post, MESSAGE_SNAPSHOT_CHUNK);
    assert_non_null(chunk);
    assert_int_equal(chunk->to, 44);
    assert_int_equal(payload_size(chunk->snapshot.payload), 5);
}

/* ---- joining, and snapshots for this node ---- */

static config_t members_told(void) {
    config_t members = {.index = 20, .count = 3};
    members.members[0] = (member_t){LEADER, MEMBER_VOTER, "lead:1", "lead:2"};
    members.members[1] = (member_t){OTHER, MEMBER_VOTER, "other:1", "other:2"};
    members.members[2] = (member_t){NODE, MEMBER_LEARNER, "own:1", "own:2"};
    return members;
}

static void joined(fixture_t *f) {
    config_t members = members_told();
    storage_is_there(f);
    opened_comes(f, &(message_opened_t){0});
    uint64_t id;
    assert_true(raft_actor_wants_join(f->raft, &id));
    assert_true(id && id <= UINT32_MAX);
    raft_actor_joined(f->raft, CLUSTER, &members);
    assert_false(raft_actor_wants_join(f->raft, &id));
    message_t *format = fake_post_find(&f->post, MESSAGE_FORMAT);
    assert_int_equal(format->format.cluster, CLUSTER);
    assert_true(format->format.node == id);
    assert_int_equal(format->format.hint.count, 3);
    fake_post_expect(&f->post, MESSAGE_OPEN);
    opened_comes(f, &(message_opened_t){.formatted = true,
                                        .cluster = CLUSTER,
                                        .node = NODE,
                                        .first_index = 1,
                                        .hint = members});
    turn(f);
}

static config_t members_in_log(void) {
    config_t config = members_told();
    config.index = 1;
    config.members[2].role = MEMBER_VOTER;
    return config;
}

/* A voter whose log names it at `addr`. */
static void follows(fixture_t *f, const char *addr) {
    joined(f);
    config_t config = members_in_log();
    strcpy(config.members[2].addr, addr);
    message_t append = {.kind = MESSAGE_APPEND};
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_CONFIG, .config = &config};
    assert_int_equal(entries_push(&append.append.entries, &entry), 0);
    peer_comes(f, LEADER, &append);
    writes_carried_out(f);
    fake_post_skip(&f->post);
    f->now_ms += 600; /* since it last looked whether somebody must be told */
    message_t heartbeat = {.kind = MESSAGE_HEARTBEAT};
    peer_comes(f, LEADER, &heartbeat);
}

static message_t *entry_comes(fixture_t *f, uint64_t index) {
    message_t append = {.kind = MESSAGE_APPEND,
                        .append = {.prev_index = index - 1, .prev_term = 1}};
    entry_t entry = {.index = index, .term = 1, .kind = ENTRY_NOOP};
    assert_int_equal(entries_push(&append.append.entries, &entry), 0);
    peer_comes(f, LEADER, &append);
    turn(f);
    return fake_post_find(&f->post, MESSAGE_WRITE);
}

/* Storage is asked to acknowledge; who heard of it from there is not told again, but answered when
 * it asks. */
static void a_write_is_acknowledged_once(void **state) {
    fixture_t *f = *state;
    follows(f, "own:1");
    turn(f);
    message_t *write = entry_comes(f, 2);
    message_ack_t ack = write->write.ack;
    assert_int_equal(ack.to, LEADER);
    assert_int_equal(ack.index, 2);
    message_t written = {.kind = MESSAGE_WRITTEN, .written = {.seq = write->write.seq, .ack = ack}};
    written.actor = ACTOR_STORAGE;
    raft_actor_ops.receive(f->raft, &written, f->now_ms);
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_APPEND_RESULT));
    message_t again = {.kind = MESSAGE_APPEND, .append = {.prev_index = 2, .prev_term = 1}};
    peer_comes(f, LEADER, &again);
    turn(f);
    assert_int_equal(fake_post_expect(&f->post, MESSAGE_APPEND_RESULT)->append_result.index, 2);
    /* Storage could not. */
    write = entry_comes(f, 3);
    written_comes(f, write->write.seq, false);
    turn(f);
    assert_int_equal(fake_post_expect(&f->post, MESSAGE_APPEND_RESULT)->append_result.index, 3);
}

static void subscribe_comes(fixture_t *f, bool on) {
    message_t message = {.kind = MESSAGE_SUBSCRIBE, .subscribe = {on}};
    comes(f, ACTOR_GATEWAY, &message);
    turn(f);
}

static void watched_told(fixture_t *f, bool watched) {
    message_t heartbeat = {.kind = MESSAGE_HEARTBEAT};
    fake_post_skip(&f->post);
    peer_comes(f, LEADER, &heartbeat);
    turn(f);
    message_t *answer = fake_post_find(&f->post, MESSAGE_HEARTBEAT_RESULT);
    assert_int_equal(answer->heartbeat_result.watched, watched);
}

/* At once when watches begin, then with each heartbeat; a new core knows, a new gateway has none.
 */
static void the_leader_hears_of_watches(void **state) {
    fixture_t *f = *state;
    follows(f, "own:1");
    turn(f);
    watched_told(f, false);
    subscribe_comes(f, true);
    assert_true(fake_post_find(&f->post, MESSAGE_HEARTBEAT_RESULT)->heartbeat_result.watched);
    watched_told(f, true);
    subscribe_comes(f, false);
    assert_null(fake_post_find(&f->post, MESSAGE_HEARTBEAT_RESULT)); /* that can wait */
    watched_told(f, false);

    subscribe_comes(f, true);
    config_t config = members_in_log();
    storage_is_there(f);
    opened_log_comes(f, (message_opened_t){.last_index = 1, .commit = 1}, &config);
    watched_told(f, true);
    raft_actor_ops.neighbour(f->raft, ACTOR_GATEWAY, f->now_ms);
    watched_told(f, false);
}

static void a_node_with_peers_asks_to_join(void **state) {
    fixture_t *f = *state;
    joined(f);
    assert_null(fake_post_find(&f->post, MESSAGE_WRITE)); /* it founds nothing */
    assert_int_equal(f->post.config.count, 0);
    assert_int_equal(f->post.hint.count, 3); /* where to look for the leader */
    assert_false(raft_actor_ops.ready(f->raft));
    raft_actor_joined(f->raft, 1234, &f->post.hint); /* told twice: too late */
    assert_null(fake_post_next(&f->post));
    f->now_ms += 10000;
    turn(f);
    assert_int_equal(status_now(f).role, RAFT_LEARNER);
}

/* ---- where the members are ---- */

static void members_come(fixture_t *f, uint64_t from, const config_t *config) {
    message_t message = {.kind = MESSAGE_MEMBERS, .members = {.config = *config}};
    peer_comes(f, from, &message);
}

/* A connection that could not be made is not missing for long. */
static void the_peers_are_named_again(void **state) {
    fixture_t *f = *state;
    follows(f, "own:1");
    turn(f);
    unsigned calls = f->post.peers_calls;
    f->now_ms += RAFT_CONNECT_MS;
    turn(f);
    assert_int_equal(f->post.peers_calls, calls + 1);
    assert_int_equal(f->post.config.count, 3);
}

/* What would name the new leader is in the log, which only that leader can send. */
static void who_is_behind_is_told_where_the_leader_is(void **state) {
    fixture_t *f = *state;
    joined(f);
    config_t config = members_told();
    config.members[config.count++] = (member_t){5000, MEMBER_VOTER, "late:1", "late:2"};
    members_come(f, 6000, &config); /* it does not say where it is itself */
    assert_int_equal(f->post.hint.count, 3);
    members_come(f, 5000, &config);
    assert_int_equal(f->post.hint.count, 4);
    assert_non_null(config_member(&f->post.hint, 5000));
    turn(f);
    fake_post_skip(&f->post);
    message_t offer = {.kind = MESSAGE_SNAPSHOT_OFFER,
                       .snapshot = {.index = 100, .snapshot_term = 1}};
    peer_comes(f, 5000, &offer);
    turn(f);
    assert_non_null(fake_post_find(&f->post, MESSAGE_SNAPSHOT_FETCH));
    message_t chunk = {.kind = MESSAGE_SNAPSHOT_CHUNK, .snapshot = {.session = 7}};
    peer_comes(f, 5000, &chunk); /* and it is trusted with a snapshot */
    assert_non_null(fake_post_find(&f->post, MESSAGE_SNAPSHOT_CHUNK));
}

static void the_log_knows_better_than_who_was_told(void **state) {
    fixture_t *f = *state;
    joined(f);
    config_t config = members_told();
    config.members[config.count++] = (member_t){5000, MEMBER_VOTER, "late:1", "late:2"};
    members_come(f, 5000, &config);
    assert_non_null(config_member(&f->post.hint, 5000));
    message_t append = {.kind = MESSAGE_APPEND};
    entry_t entry = {.index = 1, .term = 1, .kind = ENTRY_CONFIG, .config = &config};
    config.index = 1;
    assert_int_equal(entries_push(&append.append.entries, &entry), 0);
    peer_comes(f, 5000, &append);
    turn(f);
    assert_int_equal(f->post.config.count, 4); /* the log has come */
    assert_null(config_member(&f->post.hint, 5000));
}

/* The log of a member that was away names one that has moved since: it hears it, and would answer
 * to where nobody is. */
static void who_has_moved_is_answered_where_it_is(void **state) {
    fixture_t *f = *state;
    follows(f, "own:1");
    config_t told = members_told();
    strcpy(told.members[0].raft_addr, "moved:2");
    strcpy(told.members[1].raft_addr, "wrong:2"); /* where others are, the log knows */
    members_come(f, LEADER, &told);
    assert_string_equal(config_member(&f->post.config, LEADER)->raft_addr, "moved:2");
    assert_string_equal(config_member(&f->post.config, OTHER)->raft_addr, "other:2");
    members_come(f, OTHER, &f->post.config); /* has nothing new of itself to tell */
    assert_string_equal(config_member(&f->post.config, LEADER)->raft_addr, "moved:2");
    told = members_told();
    members_come(f, LEADER, &told); /* an earlier one came late, or it is back */
    assert_string_equal(config_member(&f->post.config, LEADER)->raft_addr, "lead:2");
}

static void a_node_that_has_moved_asks_until_the_log_says_so(void **state) {
    fixture_t *f = *state;
    follows(f, "before:1");
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_MEMBERS), 2); /* though it has a leader */
    message_t *ask = fake_post_find(&f->post, MESSAGE_ADMIN);
    assert_non_null(ask);
    assert_int_equal(ask->to, LEADER);
    assert_int_equal(ask->admin.op, ADMIN_MOVE);
    assert_int_equal(ask->admin.id, NODE);
    assert_string_equal(ask->admin.addr, "own:1");
    assert_string_equal(ask->admin.raft_addr, "own:2");
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_ADMIN));
    f->now_ms += 10000; /* no leader is heard any more: it asks all, and tells them where it is */
    turn(f);
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_ADMIN), 2);
    message_t *members = fake_post_find(&f->post, MESSAGE_MEMBERS);
    assert_string_equal(config_member(&members->members.config, NODE)->addr, "own:1");
}

/* The leader may have died with the entry, when nobody else had it yet. */
static void a_node_that_has_moved_asks_until_that_is_committed(void **state) {
    fixture_t *f = *state;
    follows(f, "before:1");
    message_t append = {.kind = MESSAGE_APPEND, .append = {.prev_index = 1, .prev_term = 1}};
    append.append.commit = 1;
    config_t config = members_told();
    config.index = 2;
    config.members[2].role = MEMBER_VOTER;
    entry_t entry = {.index = 2, .term = 1, .kind = ENTRY_CONFIG, .config = &config};
    assert_int_equal(entries_push(&append.append.entries, &entry), 0);
    peer_comes(f, LEADER, &append);
    writes_carried_out(f);
    fake_post_skip(&f->post);
    f->now_ms += 600;
    turn(f);
    message_t *ask = fake_post_find(&f->post, MESSAGE_ADMIN);
    assert_non_null(ask);
    assert_int_equal(ask->admin.op, ADMIN_MOVE);
    message_t heartbeat = {.kind = MESSAGE_HEARTBEAT, .heartbeat = {.commit = 2}};
    peer_comes(f, LEADER, &heartbeat);
    writes_carried_out(f);
    fake_post_skip(&f->post);
    f->now_ms += 600;
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_ADMIN));
}

/* Its log is still empty: it goes by what it was told as it joined. */
static void a_learner_that_moves_before_it_has_the_log_asks(void **state) {
    fixture_t *f = *state;
    config_t hint = members_told();
    strcpy(hint.members[2].raft_addr, "before:2");
    storage_is_there(f);
    opened_comes(
        f,
        &(message_opened_t){
            .formatted = true, .cluster = CLUSTER, .node = NODE, .first_index = 1, .hint = hint});
    fake_post_skip(&f->post);
    turn(f);
    message_t *members = fake_post_find(&f->post, MESSAGE_MEMBERS);
    assert_non_null(members);
    assert_int_equal(members->members.config.count, 3);
    assert_string_equal(config_member(&members->members.config, NODE)->raft_addr, "own:2");
    message_t *ask = fake_post_find(&f->post, MESSAGE_ADMIN);
    assert_non_null(ask);
    assert_int_equal(ask->admin.op, ADMIN_MOVE);
    assert_string_equal(ask->admin.raft_addr, "own:2");
}

static void a_leader_moves_who_asks(void **state) {
    fixture_t *f = *state;
    leads(f);
    learner_added(f);
    message_t ask = {.kind = MESSAGE_ADMIN, .admin = {.op = ADMIN_MOVE, .id = 44}};
    strcpy(ask.admin.addr, "new:1");
    strcpy(ask.admin.raft_addr, "new:2");
    message_t other = ask;
    peer_comes(f, 44, &ask);
    writes_carried_out(f);
    assert_string_equal(config_member(&f->post.config, 44)->raft_addr, "new:2");
    strcpy(other.admin.raft_addr, "next:2"); /* handed on by another member */
    peer_comes(f, NODE, &other);
    writes_carried_out(f);
    assert_string_equal(config_member(&f->post.config, 44)->raft_addr, "next:2");
    assert_null(fake_post_find(&f->post, MESSAGE_ADMIN_RESULT));
}

/* Who has moved may not know the leader at all. */
static void a_follower_hands_on_who_has_moved(void **state) {
    fixture_t *f = *state;
    follows(f, "own:1");
    fake_post_skip(&f->post);
    message_t ask = {.kind = MESSAGE_ADMIN, .admin = {.op = ADMIN_MOVE, .id = OTHER}};
    strcpy(ask.admin.addr, "new:1");
    strcpy(ask.admin.raft_addr, "new:2");
    message_t again = ask;
    peer_comes(f, OTHER, &ask);
    message_t *passed = fake_post_expect(&f->post, MESSAGE_ADMIN);
    assert_int_equal(passed->to, LEADER);
    assert_int_equal(passed->admin.id, OTHER);
    assert_string_equal(passed->admin.raft_addr, "new:2");
    peer_comes(f, LEADER, &again); /* once is enough: not from follower to follower */
    assert_null(fake_post_next(&f->post));
}

static void a_leader_tells_the_silent_where_it_is(void **state) {
    fixture_t *f = *state;
    leads(f);
    learner_added(f);
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_MEMBERS)); /* it may just not have answered yet */
    f->now_ms += RAFT_ELECTION_TIMEOUT_MS;
    turn(f);
    message_t *told = fake_post_find(&f->post, MESSAGE_MEMBERS);
    assert_non_null(told);
    assert_int_equal(told->to, 44);
    assert_int_equal(told->members.config.count, 2);
    fake_post_skip(&f->post);
    message_t answer = {.kind = MESSAGE_HEARTBEAT_RESULT};
    peer_comes(f, 44, &answer);
    f->now_ms += RAFT_ELECTION_TIMEOUT_MS - 1;
    turn(f);
    assert_null(fake_post_find(&f->post, MESSAGE_MEMBERS));
    f->now_ms += RAFT_ELECTION_TIMEOUT_MS;
    turn(f);
    assert_non_null(fake_post_find(&f->post, MESSAGE_MEMBERS));
}

static void offer_comes(fixture_t *f) {
    message_t message = {.kind = MESSAGE_SNAPSHOT_OFFER,
                         .snapshot = {.index = 100, .snapshot_term = 1}};
    peer_comes(f, LEADER, &message);
    turn(f);
}

static void chunk_comes(fixture_t *f, uint64_t from, uint64_t session, uint64_t chunk, int code) {
    message_t message = {.kind = MESSAGE_SNAPSHOT_CHUNK,
                         .snapshot = {.session = session, .chunk = chunk, .code = code}};
    if (!code) {
        message.snapshot.index = 100;
        message.snapshot.snapshot_term = 1;
        message.snapshot.config = members_told();
        message.snapshot.payload = payload_copy("bytes", 5);
    }
    peer_comes(f, from, &message);
}

static void staged_comes(fixture_t *f, uint64_t session, uint64_t chunk, bool last, int code) {
    message_t message = {
        .kind = MESSAGE_SNAPSHOT_STAGED,
        .snapshot = {.session = session, .chunk = chunk, .last = last, .code = code}};
    comes(f, ACTOR_STORAGE, &message);
}

static void fetch_expected(fixture_t *f, uint64_t session, uint64_t chunk) {
    message_t *fetch = fake_post_find(&f->post, MESSAGE_SNAPSHOT_FETCH);
    assert_non_null(fetch);
    assert_int_equal(fetch->to, LEADER);
    assert_int_equal(fetch->snapshot.session, session);
    assert_int_equal(fetch->snapshot.chunk, chunk);
}

static void a_snapshot_is_pulled_chunk_by_chunk(void **state) {
    fixture_t *f = *state;
    joined(f);
    fake_post_skip(&f->post);
    offer_comes(f);
    fetch_expected(f, 0, 0);
    chunk_comes(f, OTHER, 6, 0, 0);  /* of somebody else */
    chunk_comes(f, LEADER, 6, 1, 0); /* not the one asked for */
    assert_null(fake_post_find(&f->post, MESSAGE_SNAPSHOT_CHUNK));
    chunk_comes(f, LEADER, 6, 0, 0);
    message_t *chunk = fake_post_find(&f->post, MESSAGE_SNAPSHOT_CHUNK);
    assert_non_null(chunk);
    assert_int_equal(chunk->actor, ACTOR_RAFT);
    assert_int_equal(chunk->snapshot.session, 6);
    staged_comes(f, 6, 0, false, 0);
    fetch_expected(f, 6, 1);
    chunk_comes(f, LEADER, 7, 1, 0); /* another session */
    assert_null(fake_post_find(&f->post, MESSAGE_SNAPSHOT_CHUNK));
    f->now_ms += 999;
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_SNAPSHOT_FETCH), 0);
    f->now_ms += 1; /* no answer for a second */
    turn(f);
    fetch_expected(f, 6, 1);
    chunk_comes(f, LEADER, 6, 1, 0);
    fake_post_skip(&f->post);
    staged_comes(f, 6, 1, true, 0); /* installed: the log begins anew */
    fake_post_expect(&f->post, MESSAGE_OPEN);
    assert_false(raft_actor_ops.ready(f->raft));
    f->now_ms += 5000;
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_SNAPSHOT_FETCH), 0);
}

/* A leader that came after all that this node has heard of: its snapshot is the only way to hear
 * more.
 */
static void a_snapshot_of_an_unknown_leader_is_taken(void **state) {
    fixture_t *f = *state;
    joined(f);
    fake_post_skip(&f->post);
    message_t offer = {.kind = MESSAGE_SNAPSHOT_OFFER,
                       .snapshot = {.index = 100, .snapshot_term = 1}};
    peer_comes(f, 5000, &offer);
    turn(f);
    message_t *fetch = fake_post_find(&f->post, MESSAGE_SNAPSHOT_FETCH);
    assert_int_equal(fetch->to, 5000);
    chunk_comes(f, 5001, 6, 0, 0); /* of nobody */
    assert_null(fake_post_find(&f->post, MESSAGE_SNAPSHOT_CHUNK));
    chunk_comes(f, 5000, 6, 0, 0);
    assert_non_null(fake_post_find(&f->post, MESSAGE_SNAPSHOT_CHUNK));
}

static void a_failed_snapshot_begins_again_when_offered(void **state) {
    fixture_t *f = *state;
    joined(f);
    fake_post_skip(&f->post);
    offer_comes(f);
    fetch_expected(f, 0, 0);
    chunk_comes(f, LEADER, 6, 0, 0);
    staged_comes(f, 6, 0, false, DRAX_ECORRUPT);
    f->now_ms += 2000;
    offer_comes(f);
    fetch_expected(f, 0, 0);
    chunk_comes(f, LEADER, 0, 0, DRAX_EAGAIN); /* the leader has none to give */
    fake_post_skip(&f->post);
    f->now_ms += 1500;
    turn(f);
    assert_int_equal(fake_post_waiting(&f->post, MESSAGE_SNAPSHOT_FETCH), 0);
    offer_comes(f);
    fetch_expected(f, 0, 0);
}

/* ---- stopping ---- */

static void a_single_leader_stops_after_a_turn(void **state) {
    fixture_t *f = *state;
    leads(f);
    assert_false(raft_actor_ops.stopped(f->raft));
    raft_actor_ops.stop(f->raft, f->now_ms);
    turn(f);
    assert_true(raft_actor_ops.stopped(f->raft));
}

static void who_does_not_lead_stops_at_once(void **state) {
    fixture_t *f = *state;
    joined(f);
    raft_actor_ops.stop(f->raft, f->now_ms);
    assert_true(raft_actor_ops.stopped(f->raft));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define J(name) cmocka_unit_test_setup_teardown(name, setup_join, teardown)
    const struct CMUnitTest tests[] = {
        T(an_empty_home_founds_a_cluster),
        T(a_founded_node_starts_from_its_log),
        T(contradictions_end_the_actor),
        T(without_a_core_nothing_is_taken),
        T(a_new_storage_means_a_new_core),
        T(a_proposal_is_written_and_committed),
        T(a_read_is_safe_on_a_single_node),
        T(a_read_index_goes_to_all_who_wait),
        T(a_full_disk_refuses_proposals),
        T(many_proposals_of_a_turn_are_several_writes),
        T(a_member_is_added_and_removed),
        T(an_id_is_chosen_for_a_member_without_one),
        T(what_was_begun_when_the_core_goes_is_a_timeout),
        T(a_member_may_ask_through_its_own_gateway),
        T(the_own_write_waits_for_half_of_the_peers),
        T(a_leader_hands_snapshots_on),
        J(a_node_with_peers_asks_to_join),
        J(a_write_is_acknowledged_once),
        J(the_leader_hears_of_watches),
        J(the_peers_are_named_again),
        J(who_is_behind_is_told_where_the_leader_is),
        J(who_has_moved_is_answered_where_it_is),
        J(a_node_that_has_moved_asks_until_the_log_says_so),
        J(a_node_that_has_moved_asks_until_that_is_committed),
        J(a_learner_that_moves_before_it_has_the_log_asks),
        T(a_leader_moves_who_asks),
        J(a_follower_hands_on_who_has_moved),
        J(the_log_knows_better_than_who_was_told),
        T(a_leader_tells_the_silent_where_it_is),
        J(a_snapshot_is_pulled_chunk_by_chunk),
        J(a_snapshot_of_an_unknown_leader_is_taken),
        J(a_failed_snapshot_begins_again_when_offered),
        T(a_single_leader_stops_after_a_turn),
        J(who_does_not_lead_stops_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
