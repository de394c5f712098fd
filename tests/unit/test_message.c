/* test_message.c: payloads and their references, entries, memberships, and what a message owns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "broker/error.h"
#include "message_random.h"

#define THREADS 4
#define THREAD_ROUNDS 20000

/* ---- payloads ---- */

static void payload_holds_a_copy(void **unused) {
    (void) unused;
    char text[] = "text";
    payload_t *payload = payload_copy(text, 4);
    assert_non_null(payload);
    text[0] = 'x';
    assert_int_equal(payload_size(payload), 4);
    assert_memory_equal(payload_data(payload), "text", 4);
    slice_t slice = payload_slice(payload);
    assert_ptr_equal(slice.data, payload_data(payload));
    assert_int_equal(slice.size, 4);
    payload_unref(&payload);
    assert_null(payload);
}

static void payload_none_and_empty(void **unused) {
    (void) unused;
    payload_t *none = NULL;
    payload_unref(&none);
    assert_null(payload_ref(NULL));
    assert_null(payload_data(NULL));
    assert_int_equal(payload_size(NULL), 0);
    assert_null(payload_slice(NULL).data);
    payload_t *empty = payload_copy(NULL, 0);
    assert_non_null(empty);
    assert_int_equal(payload_size(empty), 0);
    payload_unref(&empty);
    assert_null(payload_new(SIZE_MAX));
}

static void payload_is_filled_by_its_owner(void **unused) {
    (void) unused;
    payload_t *payload = payload_new(3);
    assert_non_null(payload);
    memcpy(payload_bytes(payload), "abc", 3);
    assert_memory_equal(payload_data(payload), "abc", 3);
    payload_unref(&payload);
}

static void release_count(void *hint) {
    (*(int *) hint)++;
}

static void payload_releases_foreign_bytes_once(void **unused) {
    (void) unused;
    static const char bytes[] = "foreign";
    int released = 0;
    payload_t *first = payload_wrap(bytes, 7, release_count, &released);
    assert_non_null(first);
    assert_ptr_equal(payload_data(first), bytes);
    payload_t *second = payload_ref(first);
    assert_ptr_equal(first, second);
    payload_unref(&first);
    assert_int_equal(released, 0);
    payload_unref(&second);
    assert_int_equal(released, 1);
}

static void *references_churn(void *hint) {
    payload_t *mine = hint;
    for (int i = 0; i < THREAD_ROUNDS; i++) {
        payload_t *more = payload_ref(mine);
        payload_unref(&more);
    }
    payload_unref(&mine);
    return NULL;
}

static void payload_is_shared_by_threads(void **unused) {
    (void) unused;
    int released = 0;
    payload_t *payload = payload_wrap("x", 1, release_count, &released);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, references_churn, payload_ref(payload)),
                         0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(released, 0);
    payload_unref(&payload);
    assert_int_equal(released, 1);
}

/* ---- entries ---- */

static void entry_copy_shares_payload_and_copies_config(void **unused) {
    (void) unused;
    int released = 0;
    config_t config = {.index = 3, .count = 1};
    entry_t from = {.index = 7, .term = 2, .time_ms = 9, .kind = ENTRY_CONFIG, .config = &config};
    from.payload = payload_wrap("x", 1, release_count, &released);
    entry_t copy;
    assert_int_equal(entry_copy(&copy, &from), 0);
    assert_ptr_equal(copy.payload, from.payload);
    assert_ptr_not_equal(copy.config, &config);
    assert_int_equal(copy.config->index, 3);
    assert_int_equal(copy.index, 7);
    payload_unref(&from.payload);
    assert_int_equal(released, 0);
    entry_clear(&copy);
    assert_int_equal(released, 1);
    assert_null(copy.config);
    assert_int_equal(copy.index, 0);
    entry_clear(&copy); /* again is harmless */
}

static void entry_size_counts_what_it_holds(void **unused) {
    (void) unused;
    entry_t entry = {0};
    size_t bare = entry_size(&entry);
    assert_true(bare > 0);
    entry.payload = payload_new(1000);
    assert_int_equal(entry_size(&entry), bare + 1000);
    config_t config;
    entry.config = &config;
    assert_true(entry_size(&entry) > bare + 1000);
    payload_unref(&entry.payload);
}

static void entries_grow(void **unused) {
    (void) unused;
    int released = 0;
    payload_t *payload = payload_wrap("x", 1, release_count, &released);
    entries_t entries = {0};
    for (uint64_t i = 1; i <= 1000; i++) {
        entry_t entry = {.index = i, .kind = ENTRY_BLOCK, .payload = payload};
        assert_int_equal(entries_push(&entries, &entry), 0);
    }
    payload_unref(&payload);
    assert_int_equal(entries.count, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(entries.items[i].index, i + 1);
    assert_int_equal(released, 0);
    entries_clear(&entries);
    assert_int_equal(released, 1);
    assert_int_equal(entries.count, 0);
    assert_null(entries.items);
}

/* ---- memberships ---- */

static void config_lookup(void **unused) {
    (void) unused;
    config_t config = {.count = 3};
    config.members[0] = (member_t){.id = 2, .role = MEMBER_VOTER};
    config.members[1] = (member_t){.id = 5, .role = MEMBER_LEARNER};
    config.members[2] = (member_t){.id = 9, .role = MEMBER_VOTER};
    assert_int_equal(config_voters(&config), 2);
    assert_ptr_equal(config_member(&config, 5), &config.members[1]);
    assert_null(config_member(&config, 3));
    assert_null(config_member(&config, 0));
    config.count = 2;
    assert_null(config_member(&config, 9));
    assert_int_equal(config_voters(&config), 1);
}

/* ---- messages ---- */

/* The sanitizer finds what a kind forgets to free. */
static void message_clear_frees_every_kind(void **unused) {
    (void) unused;
    static const message_t zero;
    for (int kind = 0; kind < MESSAGE_KIND_END; kind++)
        for (uint64_t round = 0; round < 20; round++) {
            uint64_t seed = round * 1000 + (uint64_t) kind;
            message_t message;
            message_random(&message, (message_kind_t) kind, &seed);
            message_clear(&message);
            assert_memory_equal(&message, &zero, sizeof zero);
            message_clear(&message);
        }
}

static void message_kinds_are_of_two_families(void **unused) {
    (void) unused;
    assert_false(message_is_peer(MESSAGE_NONE));
    assert_true(message_is_peer(MESSAGE_PRE_VOTE));
    assert_true(message_is_peer(MESSAGE_ADMIN_RESULT));
    assert_false(message_is_peer(MESSAGE_PEER_LAST));
    assert_false(message_is_peer(MESSAGE_HELLO));
    assert_false(message_is_peer(MESSAGE_STORE_STATUS));
    assert_true((int) MESSAGE_ADMIN_RESULT < (int) MESSAGE_PEER_LAST);
}

static void names(void **unused) {
    (void) unused;
    assert_string_equal(message_kind_name(MESSAGE_APPEND), "APPEND");
    assert_string_equal(message_kind_name(MESSAGE_STORE_STATUS), "STORE_STATUS");
    assert_string_equal(message_kind_name(MESSAGE_KIND_END), "UNKNOWN");
    assert_string_equal(message_kind_name((message_kind_t) -1), "UNKNOWN");
    assert_string_equal(message_kind_name((message_kind_t) 25), "UNKNOWN");
    assert_string_equal(actor_name(ACTOR_GATEWAY), "gateway");
    assert_string_equal(actor_name(ACTOR_NONE), "unknown");
    assert_string_equal(raft_role_name(RAFT_LEADER), "leader");
    assert_string_equal(raft_role_name(RAFT_CANDIDATE), "candidate");
    assert_string_equal(raft_role_name(RAFT_FOLLOWER), "follower");
    assert_string_equal(raft_role_name(RAFT_LEARNER), "learner");
    assert_string_equal(error_text(DRAX_ENOSPC), "no space left");
    assert_string_equal(error_text(-999), "unknown error");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payload_holds_a_copy),
        cmocka_unit_test(payload_none_and_empty),
        cmocka_unit_test(payload_is_filled_by_its_owner),
        cmocka_unit_test(payload_releases_foreign_bytes_once),
        cmocka_unit_test(payload_is_shared_by_threads),
        cmocka_unit_test(entry_copy_shares_payload_and_copies_config),
        cmocka_unit_test(entry_size_counts_what_it_holds),
        cmocka_unit_test(entries_grow),
        cmocka_unit_test(config_lookup),
        cmocka_unit_test(message_clear_frees_every_kind),
        cmocka_unit_test(message_kinds_are_of_two_families),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
