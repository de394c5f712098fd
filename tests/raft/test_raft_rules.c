/* test_raft_rules.c: rules of the core that a scenario in words shows badly: limits in bytes,
 * answers of storage that come late or do not fit, messages that are wrong in one field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/error.h"
#include "tests/raft/core_helper.h"

/* ---- bounds in bytes ---- */

static void propose(raft_t *core, size_t size, int expected) {
    payload_t *payload = payload_new(size);
    assert_non_null(payload);
    assert_int_equal(raft_propose(core, 1, 1, payload), expected);
    payload_unref(&payload);
}

/* Only what is not committed counts, also while something always is not. */
static void test_backlog_moves_on(void **state) {
    (void) state;
    raft_t *core = core_leader(3);
    uint64_t bytes = 0;
    for (uint64_t last = raft_last_index(core); bytes < 2ull * LIMIT_UNCOMMITTED_BYTES; last++) {
        propose(core, LIMIT_APPEND_BYTES / 2, 0);
        bytes += LIMIT_APPEND_BYTES / 2;
        core_write(core);
        core_acknowledge(core, 2, last); /* all but the newest */
        assert_int_equal(raft_commit(core), last);
    }
    raft_destroy(&core);
}

/* Blocks just beyond half a mebibyte are what needs the most marks. */
static void test_backlog_is_bounded(void **state) {
    (void) state;
    raft_t *core = core_leader(3);
    const size_t size = LIMIT_APPEND_BYTES / 2 + 1;
    for (uint64_t bytes = 0; bytes <= LIMIT_UNCOMMITTED_BYTES; bytes += size) {
        propose(core, size, 0);
        core_write(core);
    }
    propose(core, 1, DRAX_EAGAIN);
    uint64_t index = 0;
    assert_int_equal(raft_member_remove(core, 3, &index), DRAX_EPENDING);
    core_acknowledge(core, 2, raft_last_index(core));
    propose(core, 1, 0);
    raft_destroy(&core);
}

static void test_inflight_bytes(void **state) {
    (void) state;
    raft_t *core = core_leader(3);
    core_acknowledge(core, 2, raft_last_index(core));
    uint64_t sent = 0, proposed = 0;
    while (proposed < 2ull * LIMIT_INFLIGHT_BYTES) {
        propose(core, LIMIT_APPEND_BYTES / 2, 0);
        proposed += LIMIT_APPEND_BYTES / 2;
        raft_ready_t *ready = raft_ready(core);
        const message_t *append = core_sent(ready, MESSAGE_APPEND, 2);
        for (size_t i = 0; append && i < append->append.entries.count; i++)
            sent += payload_size(append->append.entries.items[i].payload);
        raft_written(core, ready->write_seq);
    }
    assert_in_range(sent, LIMIT_INFLIGHT_BYTES - LIMIT_APPEND_BYTES,
                    LIMIT_INFLIGHT_BYTES + LIMIT_APPEND_BYTES);
    raft_destroy(&core);
}

static void test_inflight_count(void **state) {
    (void) state;
    raft_t *core = core_leader(3);
    core_acknowledge(core, 2, raft_last_index(core));
    unsigned sent = 0;
    for (unsigned i = 0; i < LIMIT_INFLIGHT_APPENDS + 9; i++) {
        propose(core, 1, 0);
        raft_ready_t *ready = raft_ready(core);
        sent += core_sent(ready, MESSAGE_APPEND, 2) != NULL;
        raft_written(core, ready->write_seq);
    }
    assert_int_equal(sent, LIMIT_INFLIGHT_APPENDS);
    raft_destroy(&core);
}

/* ---- what storage says ---- */

static void test_reports_out_of_range(void **state) {
    (void) state;
    raft_t *core = core_leader(3);
    propose(core, 1, 0);
    raft_written(core, UINT64_MAX); /* not even handed out yet: nothing of it is durable */
    core_acknowledge(core, 2, raft_last_index(core));
    assert_int_equal(raft_match(core, 1), CORE_LAST + 1);
    raft_compacted(core, raft_commit(core) + 2); /* what is not committed cannot be compacted */
    assert_int_equal(raft_match(core, 2), CORE_LAST + 2);
    assert_int_equal(raft_match(core, 9), 0);
    raft_destroy(&core);
    core = core_follower(3, CORE_BEGIN_MS);
    assert_int_equal(raft_match(core, 1), 0);
    raft_destroy(&core);
}

static message_t append_make(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term) {
    message_t append = core_message(MESSAGE_APPEND, from, term);
    append.append.prev_index = prev;
    append.append.prev_term = prev_term;
    return append;
}

/* Entries that a newer leader replaces before they were even handed out for writing. */
static void test_truncated_before_written(void **state) {
    (void) state;
    raft_t *core = core_follower(3, CORE_BEGIN_MS);
    for (uint64_t term = 2; term <= 3; term++) {
        message_t append = append_make(term, term, CORE_LAST, 1);
        entry_t entry = core_entry(CORE_LAST + 1, term);
        core_push(&append, &entry);
        core_step(core, append);
    }
    raft_ready_t *ready = raft_ready(core);
    assert_int_equal(ready->entries->count, 1);
    assert_int_equal(ready->entries->items[0].term, 3);
    raft_written(core, ready->write_seq);
    const message_t *answer = core_sent(raft_ready(core), MESSAGE_APPEND_RESULT, 3);
    assert_int_equal(answer->append_result.index, CORE_LAST + 1);
    raft_destroy(&core);
}

/* What equals one leader's log need not equal the next one's: nothing of it is committed before
 * that one has compared it, whatever commit index it speaks of. */
static void test_verified_ends_with_the_term(void **state) {
    (void) state;
    raft_t *core = core_follower(3, CORE_BEGIN_MS);
    message_t append = append_make(2, 2, CORE_LAST, 1);
    for (uint64_t index = CORE_LAST + 1; index <= CORE_LAST + 4; index++) {
        entry_t entry = core_entry(index, 2);
        core_push(&append, &entry);
    }
    core_step(core, append);
    core_write(core);
    message_t probe = append_make(3, 3, CORE_LAST, 1);
    probe.append.commit = CORE_LAST + 3;
    core_step(core, probe);
    assert_int_equal(raft_commit(core), CORE_LAST);
    raft_destroy(&core);
}

/* A leader that contradicts itself within its term: what was acknowledged is spoken of no more. */
static void test_leader_contradicts_itself(void **state) {
    (void) state;
    raft_t *core = core_follower(3, CORE_BEGIN_MS);
    for (uint64_t term = 2; term >= 1; term--) {
        message_t append = append_make(2, 2, CORE_LAST, 1);
        entry_t entry = core_entry(CORE_LAST + 1, term);
        core_push(&append, &entry);
        core_step(core, append);
        core_write(core);
    }
    assert_int_equal(raft_commit(core), 1);
    assert_int_equal(raft_last_index(core), CORE_LAST + 1);
    raft_destroy(&core);
}

/* A node that joins has nothing but what it was sent, and that may be cut off again. */
static void test_membership_cut_to_none(void **state) {
    (void) state;
    raft_t *core = core_new(&core_empty);
    message_t append = append_make(2, 2, 0, 0);
    entry_t entry = core_entry(1, 2);
    entry.kind = ENTRY_CONFIG;
    entry.config = malloc(sizeof *entry.config);
    *entry.config = core_config(3);
    core_push(&append, &entry);
    core_step(core, append);
    core_write(core);
    assert_int_equal(raft_config(core)->count, 3);
    append = append_make(3, 3, 0, 0);
    entry = core_entry(1, 3);
    core_push(&append, &entry);
    core_step(core, append);
    assert_int_equal(raft_config(core)->count, 0);
    assert_int_equal(raft_role(core), RAFT_LEARNER);
    raft_destroy(&core);
}

/* ---- entries from disk ---- */

/* A leader that wants entries 2 .. for peer 2, which refused what it was sent. */
static raft_t *leader_fetching(raft_fetch_t *fetch) {
    raft_t *core = core_leader(3);
    core_refuse(core, 2, CORE_LAST, 1);
    core_write(core);
    core_acknowledge(core, 2, 1);
    raft_ready_t *ready = raft_ready(core);
    assert_int_equal(ready->fetch_count, 1);
    *fetch = ready->fetches[0];
    assert_int_equal(fetch->peer, 2);
    assert_int_equal(fetch->from, 2);
    return core;
}

static entries_t entries_make(uint64_t from, uint64_t to, uint64_t term) {
    entries_t entries = {0};
    for (uint64_t index = from; index <= to; index++) {
        entry_t entry = core_entry(index, term);
        assert_int_equal(entries_push(&entries, &entry), 0);
    }
    return entries;
}

static bool fetch_asked(raft_t *core) {
    return raft_ready(core)->fetch_count == 1;
}

static void test_fetched(void **state) {
    (void) state;
    raft_fetch_t fetch;
    raft_t *core = leader_fetching(&fetch);
    assert_false(fetch_asked(core)); /* one at a time */
    entries_t entries = entries_make(2, CORE_LAST, 1);
    raft_fetched(core, 9, 0, &entries); /* nobody's */
    assert_null(entries.items);
    entries = entries_make(2, CORE_LAST, 1);
    raft_fetched(core, 2, 0, &entries);
    raft_ready_t *ready = raft_ready(core);
    const message_t *append = core_sent(ready, MESSAGE_APPEND, 2);
    assert_int_equal(append->append.prev_index, 1);
    assert_int_equal(append->append.entries.count, CORE_LAST - 1);
    entries = entries_make(2, CORE_LAST, 1);
    raft_fetched(core, 2, 0, &entries); /* nobody asked for it a second time */
    assert_null(core_sent(raft_ready(core), MESSAGE_APPEND, 2));
    raft_destroy(&core);
}

/* What does not fit the log, or comes when it is not wanted any more, is not sent. */
static void test_fetched_does_not_fit(void **state) {
    (void) state;
    const struct {
        uint64_t from, to, term;
    } cases[] = {{3, 4, 1}, {2, 4, 2}, {2, CORE_LAST + 3, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        raft_fetch_t fetch;
        raft_t *core = leader_fetching(&fetch);
        entries_t entries = entries_make(cases[i].from, cases[i].to, cases[i].term);
        raft_fetched(core, 2, 0, &entries);
        raft_ready_t *ready = raft_ready(core);
        assert_null(core_sent(ready, MESSAGE_APPEND, 2));
        assert_int_equal(ready->fetch_count, 1);
        raft_destroy(&core);
    }
    /* Compacted meanwhile, so that what stands before them is not known any more. */
    raft_fetch_t fetch;
    raft_t *core = leader_fetching(&fetch);
    core_acknowledge(core, 3, CORE_LAST + 1);
    raft_compacted(core, 3);
    entries_t entries = entries_make(2, CORE_LAST, 1);
    raft_fetched(core, 2, 0, &entries);
    assert_null(core_sent(raft_ready(core), MESSAGE_APPEND, 2));
    raft_destroy(&core);
    /* The peer's connection broke meanwhile: it is probed first. */
    core = leader_fetching(&fetch);
    raft_peer_down(core, 2);
    entries = entries_make(2, CORE_LAST, 1);
    raft_fetched(core, 2, 0, &entries);
    const message_t *probe = core_sent(raft_ready(core), MESSAGE_APPEND, 2);
    assert_int_equal(probe->append.entries.count, 0);
    raft_destroy(&core);
}

static void test_fetch_fails(void **state) {
    (void) state;
    for (unsigned empty = 0; empty < 2; empty++) {
        raft_fetch_t fetch;
        raft_t *core = leader_fetching(&fetch);
        entries_t none = {0};
        raft_fetched(core, 2, empty ? 0 : DRAX_EIO, &none);
        assert_false(fetch_asked(core)); /* tried again, but not at once */
        message_t heard = core_message(MESSAGE_HEARTBEAT_RESULT, 2, raft_term(core));
        core_step(core, heard);
        raft_tick(core, raft_deadline_ms(core));
        assert_true(fetch_asked(core));
        raft_destroy(&core);
    }
    raft_fetch_t fetch;
    raft_t *core = leader_fetching(&fetch);
    entries_t none = {0};
    raft_fetched(core, 2, DRAX_ECOMPACTED, &none);
    assert_non_null(core_sent(raft_ready(core), MESSAGE_SNAPSHOT_OFFER, 2));
    raft_destroy(&core);
    /* The snapshot was offered already, as the core learned of the compaction first. */
    core = leader_fetching(&fetch);
    core_acknowledge(core, 3, CORE_LAST + 1);
    raft_compacted(core, CORE_LAST);
    assert_non_null(core_sent(raft_ready(core), MESSAGE_SNAPSHOT_OFFER, 2));
    raft_fetched(core, 2, DRAX_ECOMPACTED, &none);
    assert_null(core_sent(raft_ready(core), MESSAGE_SNAPSHOT_OFFER, 2));
    raft_peer_down(core, 2); /* nor does a broken connection end it; a new one repeats it */
    assert_null(core_sent(raft_ready(core), MESSAGE_SNAPSHOT_OFFER, 2));
    raft_peer_up(core, 2);
    assert_non_null(core_sent(raft_ready(core), MESSAGE_SNAPSHOT_OFFER, 2));
    raft_destroy(&core);
}

/* More than an APPEND may hold: the rest is asked for again. */
static void test_fetched_is_cut(void **state) {
    (void) state;
    config_t config = core_config(3);
    const term_run_t runs[] = {{0, 0}, {1, 1}};
    raft_boot_t boot = {.term = 1,
                        .first_index = 1,
                        .last_index = 2 * LIMIT_APPEND_ENTRIES,
                        .commit = 1,
                        .runs = runs,
                        .run_count = 2,
                        .configs = &config,
                        .config_count = 1};
    raft_t *core = core_new(&boot);
    raft_tick(core, raft_deadline_ms(core));
    message_t vote = core_message(MESSAGE_PRE_VOTE_RESULT, 2, 2);
    vote.vote_result.granted = true;
    core_step(core, vote);
    core_write(core);
    vote.kind = MESSAGE_VOTE_RESULT;
    core_step(core, vote);
    core_write(core);
    core_refuse(core, 2, boot.last_index, 1);
    core_write(core);
    core_acknowledge(core, 2, 1);
    assert_true(fetch_asked(core));
    entries_t entries = entries_make(2, 2 * LIMIT_APPEND_ENTRIES, 1);
    raft_fetched(core, 2, 0, &entries);
    raft_ready_t *ready = raft_ready(core);
    const message_t *append = core_sent(ready, MESSAGE_APPEND, 2);
    assert_int_equal(append->append.entries.count, LIMIT_APPEND_ENTRIES);
    assert_int_equal(ready->fetch_count, 1);
    assert_int_equal(ready->fetches[0].from, LIMIT_APPEND_ENTRIES + 2);
    raft_destroy(&core);
}

/* ---- peers ---- */

static void test_peer_connections(void **state) {
    (void) state;
    raft_t *core = core_leader(3);
    raft_peer_down(core, 9);
    raft_peer_up(core, 9);
    assert_int_equal(raft_role(core), RAFT_LEADER);
    raft_destroy(&core);
    core = core_follower(3, CORE_BEGIN_MS);
    uint64_t deadline = raft_deadline_ms(core);
    raft_peer_down(core, 0);
    raft_peer_down(core, 2);
    raft_peer_up(core, 2);
    assert_int_equal(raft_deadline_ms(core), deadline);
    core_step(core, append_make(2, 2, CORE_LAST, 1));
    deadline = raft_deadline_ms(core);
    raft_peer_down(core, 3); /* not the leader */
    assert_int_equal(raft_deadline_ms(core), deadline);
    raft_peer_down(core, 2);
    assert_true(raft_deadline_ms(core) < deadline);
    raft_destroy(&core);
}

/* Two removals with no ready between them, and a member whose id is not the greatest. */
static void test_changes_follow_at_once(void **state) {
    (void) state;
    raft_t *core = core_leader(4);
    uint64_t index = 0;
    for (uint64_t id = 2; id <= 4; id++)
        core_acknowledge(core, id, CORE_LAST + 1);
    assert_int_equal(raft_member_remove(core, 2, &index), 0);
    core_write(core);
    core_acknowledge(core, 3, index);
    core_acknowledge(core, 4, index);
    assert_int_equal(raft_commit(core), index);
    assert_int_equal(raft_member_remove(core, 3, &index), 0);
    /* The first was told and forgotten with the next ready, the second is still spoken to. */
    raft_ready_t *ready = raft_ready(core);
    assert_non_null(core_sent(ready, MESSAGE_APPEND, 2));
    assert_non_null(core_sent(ready, MESSAGE_APPEND, 3));
    raft_written(core, ready->write_seq);
    core_acknowledge(core, 4, index);
    core_write(core);
    assert_int_equal(raft_member_add(core, 2, "X", "x", &index), 0);
    const config_t *config = raft_config(core);
    assert_int_equal(config->count, 3);
    assert_int_equal(config->members[1].id, 2);
    assert_int_equal(config->members[1].role, MEMBER_LEARNER);
    raft_destroy(&core);
}

/* A clock may begin at 0: an offer then is an offer all the same, and not repeated at once. */
static void test_offer_at_time_zero(void **state) {
    (void) state;
    raft_t *core;
    assert_int_equal(raft_new(&core, &core_options, &core_empty, 0), 0);
    config_t config = core_config(1);
    assert_int_equal(raft_bootstrap(core, &config), 0);
    core_write(core);
    raft_compacted(core, 2);
    uint64_t index = 0;
    assert_int_equal(raft_member_add(core, 2, "X", "x", &index), 0);
    core_write(core);
    core_refuse(core, 2, index, 0);
    assert_non_null(core_sent(raft_ready(core), MESSAGE_SNAPSHOT_OFFER, 2));
    assert_null(core_sent(raft_ready(core), MESSAGE_SNAPSHOT_OFFER, 2));
    raft_destroy(&core);
}

/* A leader's word to stand is for voters whose disk works. */
static void test_timeout_now_refused(void **state) {
    (void) state;
    raft_t *core = core_new(&core_empty); /* a member of nothing yet */
    core_step(core, append_make(2, 2, 0, 0));
    core_step(core, core_message(MESSAGE_TIMEOUT_NOW, 2, 2));
    assert_int_equal(raft_term(core), 2);
    raft_destroy(&core);

    core = core_follower(3, CORE_BEGIN_MS);
    core_step(core, append_make(2, 2, CORE_LAST, 1));
    raft_ready_t *ready = raft_ready(core); /* the term, which is not written for a long time */
    assert_true(ready->write);
    for (uint64_t ms = CORE_BEGIN_MS; ms <= CORE_BEGIN_MS + RAFT_ELECTION_TIMEOUT_MS + 1;
         ms += 100) {
        raft_tick(core, ms);
        core_step(core, append_make(2, 2, CORE_LAST, 1));
    }
    raft_tick(core, CORE_BEGIN_MS + RAFT_ELECTION_TIMEOUT_MS + 1);
    core_step(core, core_message(MESSAGE_TIMEOUT_NOW, 2, 2));
    assert_int_equal(raft_term(core), 2);
    raft_written(core, ready->write_seq);
    core_step(core, core_message(MESSAGE_TIMEOUT_NOW, 2, 2));
    assert_int_equal(raft_term(core), 3);
    raft_destroy(&core);
}

/* Who was told the last term there can be begins none beyond it. */
static void test_no_term_beyond_the_last(void **state) {
    (void) state;
    const uint64_t last = (UINT64_C(1) << 62) - 1;
    raft_t *core = core_follower(1, CORE_BEGIN_MS);
    core_step(core, append_make(2, last, CORE_LAST, 1));
    core_write(core);
    core_step(core, core_message(MESSAGE_TIMEOUT_NOW, 2, last));
    for (uint64_t ms = CORE_BEGIN_MS; ms < CORE_BEGIN_MS + 10 * RAFT_ELECTION_TIMEOUT_MS;
         ms += 100) {
        raft_tick(core, ms);
        core_write(core);
        assert_int_equal(raft_term(core), last);
        assert_int_equal(raft_role(core), RAFT_FOLLOWER);
    }
    raft_destroy(&core);
}

/* ---- one field is wrong ---- */

typedef void (*spoil_t)(message_t *append);

static void spoil_time(message_t *append) {
    append->append.time_ms = UINT64_MAX;
}

static void spoil_entry_time(message_t *append) {
    append->append.entries.items[0].time_ms = UINT64_MAX;
}

static void spoil_index(message_t *append) {
    append->append.entries.items[0].index++;
}

static void spoil_term_zero(message_t *append) {
    append->append.prev_term = 0;
    append->append.entries.items[0].term = 0;
}

static void spoil_kind(message_t *append) {
    append->append.entries.items[0].kind = (entry_kind_t) 77;
}

static void spoil_payload(message_t *append) {
    append->append.entries.items[0].payload = payload_copy("x", 1);
}

static config_t *entry_config(message_t *append) {
    entry_t *entry = &append->append.entries.items[0];
    entry->kind = ENTRY_CONFIG;
    entry->config = malloc(sizeof *entry->config);
    assert_non_null(entry->config);
    *entry->config = core_config(3);
    entry->config->index = entry->index;
    return entry->config;
}

static void spoil_config_index(message_t *append) {
    entry_config(append)->index++;
}

static void spoil_config_empty(message_t *append) {
    entry_config(append)->count = 0;
}

static void spoil_config_many(message_t *append) {
    entry_config(append)->count = LIMIT_MEMBERS + 1;
}

static void spoil_config_addr(message_t *append) {
    config_t *config = entry_config(append);
    memset(config->members[1].addr, 'x', sizeof config->members[1].addr);
}

static void spoil_config_raft_addr(message_t *append) {
    config_t *config = entry_config(append);
    memset(config->members[1].raft_addr, 'x', sizeof config->members[1].raft_addr);
}

static void spoil_config_learners(message_t *append) {
    config_t *config = entry_config(append);
    for (size_t i = 0; i < config->count; i++)
        config->members[i].role = MEMBER_LEARNER;
}

static void spoil_too_many(message_t *append) {
    uint64_t index = append->append.entries.items[0].index;
    while (append->append.entries.count <= LIMIT_APPEND_ENTRIES) {
        entry_t entry = core_entry(++index, 2);
        core_push(append, &entry);
    }
}

static void test_one_field_wrong(void **state) {
    (void) state;
    const spoil_t spoils[] = {spoil_time,           spoil_entry_time,   spoil_index,
                              spoil_term_zero,      spoil_kind,         spoil_payload,
                              spoil_config_index,   spoil_config_empty, spoil_config_many,
                              spoil_config_addr,    spoil_too_many,     spoil_config_raft_addr,
                              spoil_config_learners};
    for (size_t i = 0; i <= sizeof spoils / sizeof *spoils; i++) {
        raft_t *core = core_follower(3, CORE_BEGIN_MS);
        message_t append = append_make(2, 2, CORE_LAST, 1);
        entry_t entry = core_entry(CORE_LAST + 1, 2);
        core_push(&append, &entry);
        bool whole = i == sizeof spoils / sizeof *spoils;
        if (!whole)
            spoils[i](&append);
        core_step(core, append);
        assert_int_equal(raft_last_index(core), whole ? CORE_LAST + 1 : CORE_LAST);
        assert_int_equal(raft_term(core), whole ? 2 : 1); /* nothing of it was believed */
        raft_destroy(&core);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backlog_moves_on),
        cmocka_unit_test(test_backlog_is_bounded),
        cmocka_unit_test(test_inflight_bytes),
        cmocka_unit_test(test_inflight_count),
        cmocka_unit_test(test_reports_out_of_range),
        cmocka_unit_test(test_truncated_before_written),
        cmocka_unit_test(test_verified_ends_with_the_term),
        cmocka_unit_test(test_leader_contradicts_itself),
        cmocka_unit_test(test_membership_cut_to_none),
        cmocka_unit_test(test_fetched),
        cmocka_unit_test(test_fetched_does_not_fit),
        cmocka_unit_test(test_fetch_fails),
        cmocka_unit_test(test_fetched_is_cut),
        cmocka_unit_test(test_peer_connections),
        cmocka_unit_test(test_changes_follow_at_once),
        cmocka_unit_test(test_offer_at_time_zero),
        cmocka_unit_test(test_timeout_now_refused),
        cmocka_unit_test(test_no_term_beyond_the_last),
        cmocka_unit_test(test_one_field_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
