/* test_pending.c: tokens, limits, ages and accounts of requests that are not answered yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/pending.h"
#include "broker/error.h"
#include "broker/limits.h"

static envelope_t *envelope_of(uint32_t client) {
    envelope_t *envelope = malloc(sizeof *envelope + 6);
    assert_non_null(envelope);
    uint16_t size = sizeof client;
    envelope->size = 6;
    envelope->id_size = sizeof client;
    memcpy(envelope->bytes, &size, 2);
    memcpy(envelope->bytes + 2, &client, sizeof client);
    return envelope;
}

/* Opens a request of `client`; 0 when it was refused (tokens of this file's tables are never 0). */
static uint64_t open_sized(pendings_t *pendings, uint32_t client, pending_kind_t kind,
                           size_t size) {
    envelope_t *envelope = envelope_of(client);
    request_t request = {.msgid = 70 + client, .method = METHOD_GET};
    uint64_t token = 0;
    int rc = pendings_open(pendings, &envelope, kind, &request, NULL, size, 500, &token);
    if (rc) {
        assert_int_equal(rc, DRAX_EAGAIN);
        assert_non_null(envelope);
        free(envelope);
        return 0;
    }
    assert_null(envelope);
    return token;
}

static uint64_t open_one(pendings_t *pendings, uint32_t client, pending_kind_t kind) {
    return open_sized(pendings, client, kind, 10);
}

static void close_one(pendings_t *pendings, uint64_t token) {
    envelope_t *envelope;
    account_t *account;
    pending_t *pending = pendings_find(pendings, token);
    assert_non_null(pending);
    pendings_close(pendings, pending, &envelope, &account);
    free(envelope);
    account_settle(pendings, account);
}

static int setup(void **state) {
    return pendings_new((pendings_t **) state, 5);
}

static int teardown(void **state) {
    pendings_destroy((pendings_t **) state);
    return 0;
}

static void a_token_names_one_request_once(void **state) {
    pendings_t *pendings = *state;
    uint64_t first = open_one(pendings, 1, PENDING_WRITE);
    pending_t *pending = pendings_find(pendings, first);
    assert_non_null(pending);
    assert_int_equal(pending->msgid, 71);
    assert_int_equal(pendings_token(pendings, pending), first);
    assert_int_equal(pendings_count(pendings), 1);
    close_one(pendings, first);
    assert_null(pendings_find(pendings, first));
    assert_int_equal(pendings_count(pendings), 0);
    /* The place is used again, the token is not. */
    uint64_t second = open_one(pendings, 1, PENDING_WRITE);
    assert_true(second != first);
    assert_int_equal(second & 0x3fffff, first & 0x3fffff);
    assert_null(pendings_find(pendings, first));
    /* What a neighbour might send. */
    assert_null(pendings_find(pendings, 0));
    assert_null(pendings_find(pendings, UINT64_MAX));
    assert_null(pendings_find(pendings, LIMIT_GATEWAY_PENDING));
    assert_true(second < UINT64_C(1) << 53);
}

static void tokens_wrap_below_2_to_the_53(void **state) {
    (void) state;
    pendings_t *pendings;
    assert_int_equal(pendings_new(&pendings, UINT64_MAX), 0);
    uint64_t first = open_one(pendings, 1, PENDING_WRITE);
    assert_true(first < UINT64_C(1) << 53);
    close_one(pendings, first);
    uint64_t second = open_one(pendings, 1, PENDING_WRITE);
    assert_true(second < UINT64_C(1) << 22); /* generation 0 again */
    assert_non_null(pendings_find(pendings, second));
    assert_null(pendings_find(pendings, first));
    pendings_destroy(&pendings);
}

static void a_client_has_a_number_of_requests(void **state) {
    pendings_t *pendings = *state;
    uint64_t token = 0;
    for (unsigned i = 0; i < LIMIT_CLIENT_PENDING; i++) {
        token = open_one(pendings, 1, PENDING_WRITE);
        assert_true(token);
    }
    assert_int_equal(open_one(pendings, 1, PENDING_WRITE), 0);
    assert_true(open_one(pendings, 2, PENDING_WRITE));
    close_one(pendings, token);
    assert_true(open_one(pendings, 1, PENDING_WRITE));
    assert_int_equal(open_one(pendings, 1, PENDING_WRITE), 0);
}

static void a_client_has_a_number_of_bytes(void **state) {
    pendings_t *pendings = *state;
    assert_int_equal(open_sized(pendings, 1, PENDING_READ, LIMIT_CLIENT_PENDING_BYTES + 1), 0);
    uint64_t token = open_sized(pendings, 1, PENDING_READ, LIMIT_CLIENT_PENDING_BYTES);
    assert_true(token);
    assert_int_equal(open_sized(pendings, 1, PENDING_READ, 1), 0);
    close_one(pendings, token);
    assert_true(open_sized(pendings, 1, PENDING_READ, 1));
}

static void all_clients_have_a_number_of_requests(void **state) {
    pendings_t *pendings = *state;
    uint64_t token = 0;
    for (unsigned i = 0; i < LIMIT_GATEWAY_PENDING; i++) {
        token = open_one(pendings, 1 + i / LIMIT_CLIENT_PENDING, PENDING_READ);
        assert_true(token);
    }
    assert_int_equal(pendings_count(pendings), LIMIT_GATEWAY_PENDING);
    assert_int_equal(open_one(pendings, 99, PENDING_READ), 0);
    close_one(pendings, token);
    assert_true(open_one(pendings, 99, PENDING_READ));
}

static void all_clients_have_a_number_of_bytes(void **state) {
    pendings_t *pendings = *state;
    unsigned clients = LIMIT_GATEWAY_PENDING_BYTES / LIMIT_CLIENT_PENDING_BYTES;
    for (unsigned i = 0; i < clients; i++)
        assert_true(open_sized(pendings, i, PENDING_READ, LIMIT_CLIENT_PENDING_BYTES));
    assert_int_equal(open_sized(pendings, 99, PENDING_READ, 1), 0);
    close_one(pendings, pendings_token(pendings, pendings_oldest(pendings)));
    assert_true(open_sized(pendings, 99, PENDING_READ, 1));
}

static void ages_are_kept_of_all_but_writes(void **state) {
    pendings_t *pendings = *state;
    assert_null(pendings_oldest(pendings));
    uint64_t tokens[4];
    open_one(pendings, 1, PENDING_WRITE);
    for (unsigned i = 0; i < 4; i++) {
        tokens[i] = open_one(pendings, i, i == 2 ? PENDING_ADMIN : PENDING_READ);
        open_one(pendings, 1, PENDING_WRITE);
    }
    assert_int_equal(pendings_count_kind(pendings, PENDING_READ), 3);
    assert_int_equal(pendings_count_kind(pendings, PENDING_ADMIN), 1);
    assert_int_equal(pendings_count_kind(pendings, PENDING_WRITE), 5);
    close_one(pendings, tokens[1]); /* from the middle */
    static const unsigned left[] = {0, 2, 3};
    pending_t *at = pendings_oldest(pendings);
    for (unsigned i = 0; i < 3; i++, at = pendings_newer(pendings, at))
        assert_int_equal(pendings_token(pendings, at), tokens[left[i]]);
    assert_null(at);
    close_one(pendings, tokens[3]); /* the newest */
    close_one(pendings, tokens[0]); /* the oldest */
    at = pendings_oldest(pendings);
    assert_int_equal(pendings_token(pendings, at), tokens[2]);
    assert_null(pendings_newer(pendings, at));
    uint64_t later = open_one(pendings, 1, PENDING_STALE);
    assert_int_equal(pendings_token(pendings, pendings_newer(pendings, at)), later);
    close_one(pendings, tokens[2]);
    close_one(pendings, later);
    assert_null(pendings_oldest(pendings));
}

/* ---- answers not taken ---- */

static account_t *account_of(pendings_t *pendings, uint32_t client) {
    envelope_t *envelope = envelope_of(client);
    account_t *account = pendings_account(pendings, envelope);
    free(envelope);
    return account;
}

static int keep(pendings_t *pendings, uint32_t client, size_t size) {
    account_t *account = account_of(pendings, client);
    assert_non_null(account);
    envelope_t *envelope = envelope_of(client);
    payload_t *response = payload_new(size);
    assert_non_null(response);
    int rc = account_keep(pendings, account, &envelope, &response);
    assert_null(envelope);
    assert_null(response);
    account_settle(pendings, account);
    return rc;
}

static void unsent_answers_are_a_queue(void **state) {
    pendings_t *pendings = *state;
    assert_null(pendings_unsent(pendings));
    assert_int_equal(keep(pendings, 1, 11), 0);
    assert_int_equal(keep(pendings, 2, 21), 0);
    assert_int_equal(keep(pendings, 1, 12), 0);
    account_t *one = account_of(pendings, 1), *other = account_of(pendings, 2);
    assert_int_equal(payload_size(one->unsent->response), 11);
    assert_true((pendings_unsent(pendings) == one && one->unsent_next == other) ||
                (pendings_unsent(pendings) == other && other->unsent_next == one));
    account_sent(pendings, one);
    assert_int_equal(payload_size(one->unsent->response), 12);
    account_sent(pendings, one);
    assert_null(one->unsent);
    assert_int_equal(one->unsent_bytes, 0);
    account_settle(pendings, one);
    assert_ptr_equal(pendings_unsent(pendings), other);
    assert_null(other->unsent_next);
    account_sent(pendings, other);
    account_settle(pendings, other);
    assert_null(pendings_unsent(pendings));
    /* And once more, on an account made anew. */
    assert_int_equal(keep(pendings, 1, 13), 0);
}

static void unsent_answers_are_bounded(void **state) {
    pendings_t *pendings = *state;
    assert_int_equal(keep(pendings, 1, LIMIT_CLIENT_UNSENT_BYTES), DRAX_ETOOLARGE);
    const size_t half = LIMIT_CLIENT_UNSENT_BYTES / 2 - 1024;
    unsigned clients = LIMIT_GATEWAY_UNSENT_BYTES / LIMIT_CLIENT_UNSENT_BYTES;
    for (unsigned i = 1; i <= clients; i++) {
        assert_int_equal(keep(pendings, i, half), 0);
        assert_int_equal(keep(pendings, i, half), 0);
        assert_int_equal(keep(pendings, i, half), DRAX_ETOOLARGE);
        assert_true(account_of(pendings, i)->overflowed);
    }
    assert_int_equal(keep(pendings, 99, half), DRAX_ETOOLARGE);
    account_t *account = account_of(pendings, 1);
    account_sent(pendings, account);
    assert_int_equal(keep(pendings, 99, half), 0);
    account_sent(pendings, account);
    assert_false(account->overflowed);
    account_settle(pendings, account);
}

static void small_unsent_answers_cost_more_than_their_bytes(void **state) {
    pendings_t *pendings = *state;
    unsigned kept = 0;
    while (kept < LIMIT_CLIENT_UNSENT_BYTES / 64 && keep(pendings, 1, 1) == 0)
        kept++;
    assert_true(kept < LIMIT_CLIENT_UNSENT_BYTES / 64);
}

static void accounts_are_bounded(void **state) {
    pendings_t *pendings = *state;
    /* Only connections with something open count, so it takes unsent answers to have so many. */
    for (uint32_t i = 0; i < LIMIT_CLIENT_CONNECTIONS; i++)
        assert_int_equal(keep(pendings, i, 1), 0);
    assert_null(account_of(pendings, LIMIT_CLIENT_CONNECTIONS));
    assert_int_equal(open_one(pendings, LIMIT_CLIENT_CONNECTIONS, PENDING_READ), 0);
    assert_true(open_one(pendings, 5, PENDING_READ));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_token_names_one_request_once),
        T(tokens_wrap_below_2_to_the_53),
        T(a_client_has_a_number_of_requests),
        T(a_client_has_a_number_of_bytes),
        T(all_clients_have_a_number_of_requests),
        T(all_clients_have_a_number_of_bytes),
        T(ages_are_kept_of_all_but_writes),
        T(unsent_answers_are_a_queue),
        T(unsent_answers_are_bounded),
        T(small_unsent_answers_cost_more_than_their_bytes),
        T(accounts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
