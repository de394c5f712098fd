/* session.c: exactly once (contract section 2): the answers a client has had, in the state.
 *
 * A session keeps the outcomes of its highest SESSION_ANSWERS seqs. An outcome is kept without what
 * the request itself tells (key, value): a repetition must bring the same arguments, and brings
 * them again. What a transaction answered is kept whole (answers.c).
 *
 *   seq up to floor, or below a full session's lowest   refused: its answer is not known any more
 *   seq kept, same arguments                            the same answer
 *   seq kept, other arguments                           refused
 *   a request that waits (waiter.c) has this seq        joins it, or is refused likewise
 *   else                                                applied, and kept
 *
 * Invariants
 *  1. used_ms goes in steps of STEP_MS, so that the used record moves once in a step and not with
 * each request; a session is idle when SESSION_IDLE_MS have passed since the end of that step.
 *  2. While there are answers, low is the lowest; all seqs kept are above floor.
 */
#include "store/state_internal.h"

#include <assert.h>

#include "broker/error.h"
#include "store/hash.h"

#define STEP_MS 60000u
#define OTHER_REQUEST_TEXT "this client used this seq for another request"
#define HASHED_NUMBERS 7u

static uint64_t slice_hash(slice_t bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

static uint64_t numbers_hash(const uint64_t *numbers, size_t count, uint64_t seed) {
    uint8_t bytes[8 * HASHED_NUMBERS];
    assert(count <= HASHED_NUMBERS);
    for (size_t i = 0; i < count; i++)
        be64_write(bytes + 8 * i, numbers[i]);
    return slice_hash((slice_t){bytes, 8 * count}, seed);
}

static uint64_t compares_hash(slice_t list, uint64_t hash) {
    txn_list_t at;
    compare_t compare;
    txn_list_open(&at, list);
    while (txn_compare_next(&at, &compare) == 1) {
        const uint64_t numbers[] = {compare.target, compare.op, compare.number};
        hash = numbers_hash(numbers, 3, hash);
        hash = slice_hash(compare.key, hash);
        hash = slice_hash(compare.value, hash);
    }
    return hash;
}

static uint64_t arguments_hash(const request_t *request, uint64_t seed);

static uint64_t operations_hash(slice_t list, uint64_t hash) {
    txn_list_t at;
    request_t operation;
    txn_list_open(&at, list);
    const uint64_t count = at.left;
    hash = numbers_hash(&count, 1, hash);
    while (txn_operation_next(&at, &operation) == 1)
        hash = arguments_hash(&operation, hash);
    return hash;
}

/* Of what the request asks for, however it was encoded. */
static uint64_t arguments_hash(const request_t *request, uint64_t seed) {
    uint64_t flags = (uint64_t) request->has_previous | (uint64_t) request->has_fence << 1 |
                     (uint64_t) request->has_after << 2 | (uint64_t) request->keys_only << 3 |
                     (uint64_t) request->count_only << 4 | (uint64_t) request->reverse << 5 |
                     (uint64_t) request->has_value << 6 | (uint64_t) request->has_wait << 7;
    const uint64_t numbers[HASHED_NUMBERS] = {
        request->method, flags,          request->previous,    request->ttl_ms,
        request->lease,  request->limit, request->fence_token,
    };
    uint64_t hash = numbers_hash(numbers, HASHED_NUMBERS, seed);
    hash = slice_hash(request->key, hash);
    hash = slice_hash(request->end, hash);
    hash = slice_hash(request->value, hash);
    hash = slice_hash(request->fence_key, hash);
    if (request->method == METHOD_LIST)
        hash = slice_hash(request->after, hash);
    if (request->method == METHOD_LOCK || request->method == METHOD_UNLOCK)
        hash = numbers_hash((const uint64_t[]){request->token, request->wait_ms}, 2, hash);
    if (request->method != METHOD_TXN)
        return hash;
    hash = compares_hash(request->compares, hash);
    hash = operations_hash(request->then, hash);
    return operations_hash(request->otherwise, hash);
}

uint64_t session_arguments(const request_t *request) {
    return arguments_hash(request, 0);
}

/* ---- records ---- */

/* Finds the session of `client`; *exists tells whether there is one. */
static int session_load(state_t *self, slice_t client, found_t *at, session_t *out, bool *exists) {
    record_key_t key;
    record_key_session(&key, client);
    int rc = state_lookup(self, record_key(&key), at);
    *exists = rc == 0;
    if (rc == 0)
        return session_parse(at->value, out);
    *out = (session_t){0};
    return rc == DRAX_ENOTFOUND ? 0 : rc;
}

/* `was` (NULL: none) becomes `is` (NULL: none). */
static int session_save(state_t *self, slice_t client, const found_t *at, const session_t *was,
                        const session_t *is) {
    record_key_t key;
    uint8_t old[SESSION_BYTES], new[SESSION_BYTES];
    slice_t old_bytes = {old, was ? sizeof old : 0}, new_bytes = {new, is ? sizeof new : 0};
    record_key_session(&key, client);
    if (was)
        session_write(was, old);
    if (is)
        session_write(is, new);
    state_digest_swap(self, record_key(&key), old_bytes, new_bytes);
    int rc = is ? state_pair_put(self, at, record_key(&key), new_bytes)
                : state_pair_delete(self, at, record_key(&key));
    if (rc || (was && is && was->used_ms == is->used_ms))
        return rc;
    if (was) {
        record_key_used(&key, was->used_ms, client);
        rc = state_pair_clear(self, record_key(&key));
    }
    if (rc == 0 && is) {
        record_key_used(&key, is->used_ms, client);
        rc = state_pair_set(self, record_key(&key), (slice_t){NULL, 0});
        uint64_t idle_ms = is->used_ms + STEP_MS + SESSION_IDLE_MS;
        if (idle_ms < self->sweep_ms)
            self->sweep_ms = idle_ms;
    }
    return rc;
}

/* Forgets the lowest answer. */
static int lowest_drop(state_t *self, slice_t client, session_t *session) {
    uint64_t next;
    int rc = answer_drop(self, client, session->low, &next);
    if (rc)
        return rc;
    session->count--;
    session->floor = session->low;
    session->low = next;
    return (session->count == 0) == (next == 0) ? 0 : DRAX_ECORRUPT;
}

/* ---- requests ---- */

static int use_load(state_t *self, session_use_t *use) {
    use->settled_count = self->settled_count;
    return session_load(self, use->client, &use->at, &use->session, &use->exists);
}

static uint64_t time_step(const state_t *self) {
    return self->meta.time_ms - self->meta.time_ms % STEP_MS;
}

static int refuse(outcome_t *out, const char *text) {
    *out = (outcome_t){.code = RPC_INVALID_ARGUMENT, .text = text};
    return 1;
}

static void answer_repeat(state_t *self, const session_use_t *use, const answer_t *answer,
                          outcome_t *out) {
    if (answer->arguments != use->arguments) {
        refuse(out, OTHER_REQUEST_TEXT);
        return;
    }
    *out = (outcome_t){.code = (rpc_code_t) answer->code,
                       .index = answer->index,
                       .revision = answer->revision,
                       .number = answer->number};
    if (answer->code == ANSWER_APART) {
        *out = (outcome_t){.written = true};
        buffer_append(&self->outcome, answer->outcome.data, answer->outcome.size);
    }
}

/* A session that is asked for an old answer is in use, too. */
static int session_touch(state_t *self, const session_use_t *use) {
    session_t session = use->session;
    session.used_ms = time_step(self);
    if (session.used_ms == use->session.used_ms)
        return 0;
    return session_save(self, use->client, &use->at, &use->session, &session);
}

/* The same request waits: 1 with its number. */
static int waiting_join(state_t *self, const session_use_t *use, outcome_t *out) {
    uint64_t number, arguments;
    int rc = waiter_find(self, use->client, use->seq, &number, &arguments);
    if (rc)
        return rc == DRAX_ENOTFOUND ? 0 : rc;
    if (arguments != use->arguments)
        return refuse(out, OTHER_REQUEST_TEXT);
    out->waits = number;
    return 1;
}

int session_begin(state_t *self, const request_t *request, session_use_t *use, outcome_t *out) {
    *use = (session_use_t){.client = request->client, .seq = request->seq};
    use->arguments = session_arguments(request);
    int rc = waiting_join(self, use, out);
    if (rc)
        return rc;
    rc = use_load(self, use);
    if (rc || !use->exists)
        return rc;
    const session_t *session = &use->session;
    if (session->count && use->seq >= session->low && use->seq <= session->high) {
        answer_t answer;
        rc = answer_find(self, use->client, use->seq, &answer);
        if (rc == DRAX_ENOTFOUND)
            return 0;
        if (rc)
            return rc;
        answer_repeat(self, use, &answer, out);
        rc = session_touch(self, use);
        return rc ? rc : 1;
    }
    if (use->seq <= session->floor ||
        (session->count == SESSION_ANSWERS && use->seq < session->low))
        return refuse(out, "seq is older than the answers kept for this client");
    return 0;
}

/* Puts the answer among those kept. */
static int answer_keep(state_t *self, const session_use_t *use, const outcome_t *outcome) {
    answer_t answer = {.arguments = use->arguments,
                       .code = (uint8_t) outcome->code,
                       .index = outcome->index,
                       .revision = outcome->revision,
                       .number = outcome->number};
    if (outcome->written)
        answer = (answer_t){.arguments = use->arguments,
                            .code = ANSWER_APART,
                            .outcome = {self->outcome.data, self->outcome.size}};
    return answer_add(self, use->client, use->seq, &answer, use->session.high);
}

int session_end(state_t *self, session_use_t *use, const outcome_t *outcome) {
    /* What was settled meanwhile may have been a request of the same client. */
    int rc = use->settled_count == self->settled_count ? 0 : use_load(self, use);
    if (rc == 0)
        rc = answer_keep(self, use, outcome);
    if (rc)
        return rc;
    session_t session = use->session;
    session.used_ms = time_step(self);
    if (session.count == 0 || use->seq < session.low)
        session.low = use->seq;
    if (use->seq > session.high)
        session.high = use->seq;
    session.count++;
    if (session.count > SESSION_ANSWERS) {
        rc = lowest_drop(self, use->client, &session);
        if (rc)
            return rc;
    }
    return session_save(self, use->client, &use->at, use->exists ? &use->session : NULL, &session);
}

int session_settle(state_t *self, const waiter_t *waiter, const outcome_t *outcome) {
    session_use_t use = {
        .client = waiter->client, .seq = waiter->seq, .arguments = waiter->arguments};
    int rc = use_load(self, &use);
    if (rc || use.seq <= use.session.floor) /* more answers were kept meanwhile than there may be */
        return rc;
    return session_end(self, &use, outcome);
}

/* ---- forgetting ---- */

/* The client longest unused; `client` has size 0 when there is none. Its bytes go to `scratch`. */
static int oldest_find(state_t *self, uint8_t *scratch, slice_t *client, uint64_t *used_ms) {
    static const uint8_t first[] = {PREFIX_USED};
    merge_t walk;
    *client = (slice_t){scratch, 0};
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = merge_seek(&walk, (slice_t){first, sizeof first});
    if (rc == 0 && walk.valid && walk.key.data[0] == PREFIX_USED) {
        slice_t found;
        rc = record_key_used_parse(walk.key, used_ms, &found);
        if (rc == 0) {
            memcpy(scratch, found.data, found.size);
            client->size = found.size;
        }
    }
    merge_close(&walk);
    return rc;
}

int session_sweep(state_t *self) {
    if (self->meta.time_ms < self->sweep_ms)
        return 0;
    uint8_t scratch[LIMIT_CLIENT_ID_BYTES];
    slice_t client;
    uint64_t used_ms = 0;
    int rc = oldest_find(self, scratch, &client, &used_ms);
    if (rc)
        return rc;
    self->sweep_ms = client.size ? used_ms + STEP_MS + SESSION_IDLE_MS : UINT64_MAX;
    if (self->meta.time_ms < self->sweep_ms)
        return 0;
    found_t at;
    session_t was;
    bool exists;
    rc = session_load(self, client, &at, &was, &exists);
    if (rc == 0 && !exists)
        rc = DRAX_ECORRUPT; /* a used record without its session */
    session_t session = was;
    for (size_t i = 0; rc == 0 && i < SESSION_SWEEP && session.count; i++)
        rc = lowest_drop(self, client, &session);
    if (rc)
        return rc;
    return session_save(self, client, &at, &was, session.count ? &session : NULL);
}
