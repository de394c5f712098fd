/* test_sim_checks.c: the checks after every step: each sees a wrong observation, under its name.
 * The actors are made up for it: structs with just what a check looks at, but a real journal and
 * state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "broker/block.h"
#include "store/journal_internal.h"
#include "tests/sim/checks_internal.h"
#include "tests/sim/requests.h"
#include "tests/support/fs_faulty.h"

#define SLOTS 3u

static const journal_options_t journal_options = {.segment_bytes = 16384, .salt = 1};

/* ---- a world of nothing but these ---- */

struct world {
    const char *violated;
    raft_t cores[SLOTS];
    struct raft_actor rafts[SLOTS];
    struct storage_actor storages[SLOTS];
    config_t config;
};

void world_fail(world_t *self, const char *check, const char *format, ...) {
    (void) format;
    if (!self->violated)
        self->violated = check;
}

bool world_failed(const world_t *self) {
    return self->violated != NULL;
}

const struct storage_actor *world_storage(const world_t *self, unsigned slot) {
    return slot < SLOTS ? &self->storages[slot] : NULL;
}

const struct raft_actor *world_raft(const world_t *self, unsigned slot) {
    return &self->rafts[slot];
}

uint64_t world_life(const world_t *self, unsigned slot, actor_t actor) {
    (void) self, (void) slot, (void) actor;
    return 1;
}

unsigned world_disk(const world_t *self, unsigned slot) {
    (void) self, (void) slot;
    return 0;
}

typedef struct bench {
    world_t world;
    checks_t *checks;
    fs_faulty_t *disk;
} bench_t;

static int bench_open(void **state) {
    bench_t *self = array_new(1, sizeof *self);
    world_t *world = &self->world;
    self->checks = checks_new(world);
    self->disk = fs_faulty_new(1);
    world->config = (config_t){.index = 1, .count = SLOTS};
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        world->config.members[slot] = (member_t){.id = slot + 1, .role = MEMBER_VOTER};
        world->cores[slot].log.configs = &world->config;
        world->cores[slot].log.config_count = 1;
        world->rafts[slot].core = &world->cores[slot];
        world->rafts[slot].cores = 1;
        term_run_t run = {0, 0};
        message_t opened = {.kind = MESSAGE_OPENED};
        opened.opened =
            (message_opened_t){.formatted = true, .node = slot + 1, .runs = &run, .run_count = 1};
        checks_sent(self->checks, slot, ACTOR_STORAGE, ACTOR_RAFT, &opened);
    }
    *state = self;
    return 0;
}

static int bench_close(void **state) {
    bench_t *self = *state;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        journal_close(&self->world.storages[slot].journal);
        state_close(&self->world.storages[slot].state);
    }
    checks_destroy(&self->checks);
    fs_faulty_destroy(&self->disk);
    free(self);
    return 0;
}

static void expect(bench_t *self, const char *check) {
    const char *violated = self->world.violated;
    if (check)
        assert_string_equal(violated ? violated : "nothing", check);
    else if (violated)
        fail_msg("%s is violated", violated);
}

/* ---- what happens in it ---- */

/* Its raft core has storage write an entry with a command in it. */
static entry_t entry_make(uint64_t index, uint64_t term, const char *value) {
    buffer_t command = {0}, block = {0};
    request_t request = {.msgid = (uint32_t) (100 * index + term),
                         .method = METHOD_PUT,
                         .key = {(const uint8_t *) "k", 1},
                         .value = {(const uint8_t *) value, strlen(value)}};
    request_encode(&request, &command);
    block_begin(&block, 9, 1, index, index - 1, 1);
    block_add(&block, (slice_t){command.data, command.size});
    entry_t entry = {.index = index, .term = term, .time_ms = index, .kind = ENTRY_BLOCK};
    entry.payload = buffer_take(&block);
    buffer_free(&command);
    buffer_free(&block);
    return entry;
}

static void writes(bench_t *self, unsigned slot, uint64_t index, uint64_t term, const char *value) {
    entry_t entry = entry_make(index, term, value);
    message_t message = {.kind = MESSAGE_WRITE, .write = {.seq = index}};
    message.write.entries = (entries_t){.items = &entry, .count = 1};
    checks_sent(self->checks, slot, ACTOR_RAFT, ACTOR_STORAGE, &message);
    journal_t *journal = self->world.storages[slot].journal;
    if (journal)
        assert_int_equal(journal_append(journal, true, term, slot + 1, &entry, 1), 0);
    entry_clear(&entry);
}

static void storage_begin(bench_t *self, unsigned slot) {
    char directory[8] = {'j', (char) ('0' + slot), 0}, detail[200];
    struct storage_actor *storage = &self->world.storages[slot];
    const fs_t *fs = fs_faulty_fs(self->disk);
    (void) fs->mkdir(fs->self, directory);
    assert_int_equal(
        journal_open(&storage->journal, fs, directory, &journal_options, detail, sizeof detail), 0);
    checks_started(self->checks, slot, ACTOR_STORAGE);
}

static void syncs(bench_t *self, unsigned slot) {
    assert_int_equal(journal_sync(self->world.storages[slot].journal), 0);
    checks_synced(self->checks, slot, "j/0000000000000001.seg");
}

static void leads(bench_t *self, unsigned slot, uint64_t term) {
    self->world.cores[slot].role = RAFT_LEADER;
    self->world.cores[slot].term = term;
    checks_turn(self->checks, slot, ACTOR_RAFT);
}

static void commits(bench_t *self, unsigned slot, uint64_t index) {
    self->world.cores[slot].commit = index;
    checks_turn(self->checks, slot, ACTOR_RAFT);
}

/* Entry 1 of term 1 is on two disks and committed by slot 0, which leads. */
static void first_entry(bench_t *self) {
    leads(self, 0, 1);
    for (unsigned slot = 0; slot < 2; slot++) {
        storage_begin(self, slot);
        writes(self, slot, 1, 1, "v");
        syncs(self, slot);
    }
    commits(self, 0, 1);
    expect(self, NULL);
}

/* ---- logs ---- */

static void test_two_leaders(void **state) {
    bench_t *self = *state;
    leads(self, 0, 3);
    leads(self, 1, 4);
    expect(self, NULL);
    leads(self, 2, 4);
    expect(self, "election safety");
}

static void test_another_entry_at_the_same_place(void **state) {
    bench_t *self = *state;
    writes(self, 0, 1, 1, "a");
    writes(self, 1, 1, 1, "b");
    expect(self, "log matching");
}

/* Equal entries, after logs that are not. */
static void test_another_log_before_it(void **state) {
    bench_t *self = *state;
    writes(self, 0, 1, 1, "a");
    writes(self, 0, 2, 3, "c");
    writes(self, 1, 1, 2, "b");
    writes(self, 1, 2, 3, "c");
    expect(self, "log matching");
}

static void test_a_gap(void **state) {
    bench_t *self = *state;
    writes(self, 0, 2, 1, "a");
    expect(self, "log matching");
}

static void test_leader_writes_over_its_log(void **state) {
    bench_t *self = *state;
    leads(self, 0, 1);
    writes(self, 0, 1, 1, "a");
    writes(self, 0, 1, 1, "a");
    expect(self, "leader append-only");
}

static void test_leader_without_what_is_committed(void **state) {
    bench_t *self = *state;
    first_entry(self);
    leads(self, 2, 2);
    expect(self, "leader completeness");
}

static void test_committed_entry_is_replaced(void **state) {
    bench_t *self = *state;
    first_entry(self);
    writes(self, 1, 1, 2, "w");
    expect(self, "state-machine safety");
}

static void test_another_entry_is_committed(void **state) {
    bench_t *self = *state;
    first_entry(self);
    writes(self, 2, 1, 2, "w");
    expect(self, NULL); /* it may be in a log that lost */
    commits(self, 2, 1);
    expect(self, "state-machine safety");
}

/* ---- commitment ---- */

static void test_commit_of_a_minority(void **state) {
    bench_t *self = *state;
    leads(self, 0, 1);
    storage_begin(self, 0);
    writes(self, 0, 1, 1, "v");
    syncs(self, 0);
    commits(self, 0, 1);
    expect(self, "durable before committed");
}

static void test_commit_before_the_sync(void **state) {
    bench_t *self = *state;
    leads(self, 0, 1);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        storage_begin(self, slot);
        writes(self, slot, 1, 1, "v");
    }
    syncs(self, 0);
    commits(self, 0, 1);
    expect(self, "durable before committed");
}

static void test_commit_of_an_old_term(void **state) {
    bench_t *self = *state;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        storage_begin(self, slot);
        writes(self, slot, 1, 1, "v");
        syncs(self, slot);
    }
    leads(self, 0, 2);
    commits(self, 0, 1);
    expect(self, "own term committed");
}

static void test_commit_goes_back(void **state) {
    bench_t *self = *state;
    first_entry(self);
    commits(self, 0, 0);
    expect(self, "commit goes forward");
}

/* ---- disks ---- */

static void acknowledges(bench_t *self, uint64_t index, uint64_t term) {
    message_t message = {.kind = MESSAGE_APPEND_RESULT, .from = 1, .to = 2, .term = term};
    message.append_result.index = index;
    checks_sent(self->checks, 0, ACTOR_RAFT, ACTOR_NONE, &message);
}

static void test_acknowledged_before_the_sync(void **state) {
    bench_t *self = *state;
    storage_begin(self, 0);
    writes(self, 0, 1, 1, "v");
    syncs(self, 0);
    acknowledges(self, 1, 1);
    expect(self, NULL);
    writes(self, 0, 2, 1, "w");
    acknowledges(self, 2, 1);
    expect(self, "durable before acknowledged");
}

/* Another file of the journal was synced. */
static void test_sync_of_another_segment(void **state) {
    bench_t *self = *state;
    storage_begin(self, 0);
    writes(self, 0, 1, 1, "v");
    checks_synced(self->checks, 0, "j/0000000000000002.seg");
    acknowledges(self, 1, 1);
    expect(self, "durable before acknowledged");
}

static void grants(bench_t *self, uint64_t to, uint64_t term) {
    message_t message = {.kind = MESSAGE_VOTE_RESULT, .from = 1, .to = to, .term = term};
    message.vote_result.granted = true;
    checks_sent(self->checks, 0, ACTOR_RAFT, ACTOR_NONE, &message);
}

static void votes(bench_t *self, uint64_t term, uint64_t vote) {
    journal_t *journal = self->world.storages[0].journal;
    assert_int_equal(journal_append(journal, true, term, vote, NULL, 0), 0);
}

static void test_vote_before_the_sync(void **state) {
    bench_t *self = *state;
    storage_begin(self, 0);
    votes(self, 4, 2);
    syncs(self, 0);
    grants(self, 2, 4);
    expect(self, NULL);
    votes(self, 5, 3);
    grants(self, 3, 5);
    expect(self, "durable before acknowledged");
}

static void test_vote_for_another(void **state) {
    bench_t *self = *state;
    storage_begin(self, 0);
    votes(self, 4, 2);
    syncs(self, 0);
    grants(self, 3, 4);
    expect(self, "durable before acknowledged");
}

static void test_two_votes(void **state) {
    bench_t *self = *state;
    storage_begin(self, 0);
    votes(self, 4, 2);
    syncs(self, 0);
    votes(self, 4, 3);
    syncs(self, 0);
    expect(self, "one vote a term");
}

static void test_candidacy_before_the_sync(void **state) {
    bench_t *self = *state;
    message_t message = {.kind = MESSAGE_VOTE, .from = 1, .to = 2, .term = 4};
    storage_begin(self, 0);
    votes(self, 4, 1);
    checks_sent(self->checks, 0, ACTOR_RAFT, ACTOR_NONE, &message);
    expect(self, "durable before acknowledged");
}

static void test_durable_entry_is_gone(void **state) {
    bench_t *self = *state;
    storage_begin(self, 0);
    writes(self, 0, 1, 1, "v");
    syncs(self, 0);
    self->world.storages[0].seq_durable = 1;
    checks_turn(self->checks, 0, ACTOR_STORAGE);
    journal_close(&self->world.storages[0].journal);
    checks_ended(self->checks, 0, ACTOR_STORAGE);
    storage_begin(self, 0);
    expect(self, NULL);
    self->world.storages[1].journal = self->world.storages[0].journal;
    self->world.storages[0].journal = NULL;
    char detail[200];
    const fs_t *fs = fs_faulty_fs(self->disk);
    (void) fs->mkdir(fs->self, "other");
    assert_int_equal(journal_open(&self->world.storages[0].journal, fs, "other", &journal_options,
                                  detail, sizeof detail),
                     0);
    checks_started(self->checks, 0, ACTOR_STORAGE);
    expect(self, "durable survives");
}

/* ---- states ---- */

static void applies(bench_t *self, unsigned slot, uint64_t index, uint64_t term,
                    const char *value) {
    struct storage_actor *storage = &self->world.storages[slot];
    state_applied_t applied;
    if (!storage->state) {
        kv_t *kv;
        assert_int_equal(kv_memory_open(&kv), 0);
        assert_int_equal(state_open(&storage->state, &kv), 0);
    }
    entry_t entry = entry_make(index, term, value);
    assert_int_equal(state_apply(storage->state, &entry, &applied), 0);
    entry_clear(&entry);
    checks_turn(self->checks, slot, ACTOR_STORAGE);
}

static void test_applied_and_not_committed(void **state) {
    bench_t *self = *state;
    storage_begin(self, 0);
    applies(self, 0, 1, 1, "v");
    expect(self, "applied is committed");
}

static void test_states_differ(void **state) {
    bench_t *self = *state;
    first_entry(self);
    applies(self, 0, 1, 1, "v");
    expect(self, NULL);
    applies(self, 1, 1, 1, "w");
    expect(self, "equal digest");
}

static void test_store_is_not_the_reference(void **state) {
    bench_t *self = *state;
    first_entry(self);
    applies(self, 0, 1, 1, "w");
    expect(self, NULL); /* a digest alone does not tell */
    checks_finish(self->checks);
    expect(self, "nothing lost");
}

/* ---- reads ---- */

static void test_read_index_too_low(void **state) {
    bench_t *self = *state;
    first_entry(self);
    message_t asked = {.kind = MESSAGE_READ, .read = {.boot = 8, .read_id = 5}};
    message_t ready = {.kind = MESSAGE_READ_READY, .read = {.boot = 8, .read_id = 5, .index = 1}};
    checks_sent(self->checks, 2, ACTOR_GATEWAY, ACTOR_RAFT, &asked);
    checks_sent(self->checks, 2, ACTOR_RAFT, ACTOR_STORAGE, &ready);
    expect(self, NULL);
    asked.read.read_id = ready.read.read_id = 6;
    ready.read.index = 0;
    checks_sent(self->checks, 2, ACTOR_GATEWAY, ACTOR_RAFT, &asked);
    checks_sent(self->checks, 2, ACTOR_RAFT, ACTOR_STORAGE, &ready);
    expect(self, "read index");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_two_leaders),
        TEST(test_another_entry_at_the_same_place),
        TEST(test_another_log_before_it),
        TEST(test_a_gap),
        TEST(test_leader_writes_over_its_log),
        TEST(test_leader_without_what_is_committed),
        TEST(test_committed_entry_is_replaced),
        TEST(test_another_entry_is_committed),
        TEST(test_commit_of_a_minority),
        TEST(test_commit_before_the_sync),
        TEST(test_commit_of_an_old_term),
        TEST(test_commit_goes_back),
        TEST(test_acknowledged_before_the_sync),
        TEST(test_sync_of_another_segment),
        TEST(test_vote_before_the_sync),
        TEST(test_vote_for_another),
        TEST(test_two_votes),
        TEST(test_candidacy_before_the_sync),
        TEST(test_durable_entry_is_gone),
        TEST(test_applied_and_not_committed),
        TEST(test_states_differ),
        TEST(test_store_is_not_the_reference),
        TEST(test_read_index_too_low),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
