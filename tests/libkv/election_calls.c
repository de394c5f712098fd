/* election_calls.c: elections, which libdrax has beyond libkv: one is elected at a time, the others
 * follow in their order, and who looks on sees all of it. */
#include <pthread.h>

#include "tests/libkv/libkv.h"

static drax_election_t *election_new(drax_t *drax) {
    drax_election_t *election;
    assert_int_equal(drax_election_new(drax, "office", 6, &election), 0);
    return election;
}

/* The next news is this; NULL: nobody. */
static uint64_t leader_expect(drax_election_t *election, const char *name) {
    drax_leader_t leader;
    assert_int_equal(drax_election_observe(election, NODE_WAIT_MS, &leader), 0);
    assert_int_equal(leader.elected, name != NULL);
    assert_int_equal(leader.name_size, name ? strlen(name) : 0);
    if (name)
        assert_memory_equal(leader.name, name, leader.name_size);
    return leader.index;
}

typedef struct {
    pthread_t thread;
    drax_election_t *election;
    uint64_t ttl_ms;
    int error;
} candidate_t;

static void *candidate_main(void *hint) {
    candidate_t *self = hint;
    self->error = drax_election_campaign(self->election, "second", 6, self->ttl_ms, DRAX_FOREVER);
    return NULL;
}

void test_election(void **state) {
    fixture_t *f = *state;
    uint64_t ttl_ms = f->place->ttl_ms;
    drax_election_t *first = election_new(f->store), *second = election_new(f->other);
    drax_election_t *looks_on = election_new(f->store);
    drax_leader_t leader;
    assert_int_equal(leader_expect(looks_on, NULL), 0);
    assert_int_equal(drax_election_observe(looks_on, 0, &leader), DRAX_ERR_TIMEOUT);
    assert_int_equal(drax_election_resign(first), DRAX_ERR_USAGE);
    assert_int_equal(drax_election_term(first), 0);

    assert_int_equal(drax_election_campaign(first, "first", 5, ttl_ms, DRAX_FOREVER), 0);
    assert_true(drax_election_elected(first));
    uint64_t term = drax_election_term(first), index = leader_expect(looks_on, "first");
    assert_int_equal(drax_election_campaign(first, "first", 5, ttl_ms, 0), DRAX_ERR_USAGE);
    assert_int_equal(drax_election_campaign(second, "second", 6, ttl_ms, 0), DRAX_ERR_CANNOT_LOCK);
    candidate_t candidate = {.election = second, .ttl_ms = ttl_ms};
    assert_int_equal(pthread_create(&candidate.thread, NULL, candidate_main, &candidate), 0);
    assert_int_equal(drax_poll(f->store, ttl_ms / 10), 0);
    place_shake(f->place);

    drax_options_t *options = drax_options_new();
    assert_int_equal(drax_election_fence(first, options), 0);
    assert_int_equal(drax_put(f->store, "work", 4, "1", 1, options, NULL), 0);
    assert_int_equal(drax_election_resign(first), 0);
    assert_false(drax_election_elected(first));
    assert_int_equal(pthread_join(candidate.thread, NULL), 0);
    assert_int_equal(candidate.error, 0);
    assert_true(leader_expect(looks_on, "second") > index);
    assert_true(drax_election_term(second) > term);
    assert_int_equal(drax_put(f->store, "work", 4, "2", 1, options, NULL), DRAX_ERR_LOCK_LOST);
    assert_int_equal(drax_election_fence(first, options), DRAX_ERR_LOCK_LOST);
    drax_options_destroy(&options);

    drax_election_t *late = election_new(f->store); /* looks on from here */
    leader_expect(late, "second");
    assert_int_equal(drax_election_resign(second), 0);
    leader_expect(looks_on, NULL);
    leader_expect(late, NULL);
    drax_election_destroy(&late);
    drax_election_destroy(&first);
    drax_election_destroy(&second);
    drax_election_destroy(&looks_on);
    assert_null(looks_on);
}

typedef struct {
    unsigned nobody, somebody, lost;
} heard_t;

static void on_leader(void *arg, drax_election_t *election, int error,
                      const drax_leader_t *leader) {
    heard_t *self = arg;
    (void) election;
    assert_int_equal(error, 0);
    self->somebody += leader->elected;
    self->nobody += !leader->elected;
}

static void on_lost(void *arg, drax_election_t *election) {
    assert_false(drax_election_elected(election));
    ((heard_t *) arg)->lost++;
}

/* Ended by somebody else: its candidate is told, and who looks on. */
void test_election_that_ends(void **state) {
    fixture_t *f = *state;
    heard_t heard = {0};
    drax_election_t *election = election_new(f->store);
    drax_election_lost_set(election, on_lost, &heard);
    assert_int_equal(drax_election_leader_set(election, on_leader, &heard), 0);
    drax_leader_t leader;
    assert_int_equal(drax_election_observe(election, 0, &leader), DRAX_ERR_USAGE);
    while (heard.nobody == 0) /* else its first news may be the one elected */
        assert_true(drax_poll(f->store, NODE_WAIT_MS) >= 0);
    for (unsigned terms = 1; terms <= 2; terms++) {
        assert_int_equal(drax_election_campaign(election, "me", 2, f->place->ttl_ms, DRAX_FOREVER),
                         0);
        while (heard.nobody != terms || heard.somebody != terms)
            assert_true(drax_poll(f->store, NODE_WAIT_MS) >= 0);
        if (terms == 1) /* its term is its lease's number */
            assert_int_equal(drax_lease_revoke(f->other, drax_election_term(election), NULL, NULL),
                             0);
        while (heard.lost != 1)
            assert_true(drax_poll(f->store, NODE_WAIT_MS) >= 0);
    }
    assert_int_equal(drax_election_resign(election), 0);
    drax_election_destroy(&election);
}
