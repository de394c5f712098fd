/* verdict_lock.c: mutual exclusion, from nothing but what users were told.
 *
 * A token grows with every grant of a lock, and every answer names a revision. So in the order of
 * revisions no grant of a key has a token that is not above all before it, and nothing that was
 * done under a token (an unlock, a write with the fence) comes after a grant with a higher one. At
 * one revision the lower token comes first: what was done under it may have handed the lock on.
 */
#include "tests/sim/array.h"
#include "tests/sim/history_internal.h"

typedef struct lock_fact {
    slice_t key;
    uint64_t revision, token;
    bool grant;
    uint32_t msgid;
} lock_fact_t;

static int fact_order(const void *a, const void *b) {
    const lock_fact_t *x = a, *y = b;
    int order = model_compare(x->key, y->key);
    if (order == 0 && x->revision != y->revision)
        return x->revision < y->revision ? -1 : 1;
    if (order == 0 && x->token != y->token)
        return x->token < y->token ? -1 : 1;
    return order ? order : y->grant - x->grant;
}

/* The same grant told twice: the answer to a request that was sent again. */
static bool same_grant(const history_t *self, const lock_fact_t *a, const lock_fact_t *b) {
    const request_t *x = &history_operation(self, a->msgid)->request;
    const request_t *y = &history_operation(self, b->msgid)->request;
    return a->grant && b->grant && a->token == b->token && a->revision == b->revision &&
           x->client.size && x->seq == y->seq && model_compare(x->client, y->client) == 0;
}

static size_t facts_add(const operation_t *operation, lock_fact_t *out) {
    const request_t *request = &operation->request;
    const reply_t *reply = &operation->reply;
    lock_fact_t fact = {.revision = reply->revision, .msgid = request->msgid};
    size_t count = 0;
    if (operation->wrong || operation->state != OPERATION_ANSWERED || reply->code)
        return 0;
    if (!(reply->fields & REPLY_REVISION))
        return 0;
    if (request->has_fence) {
        fact.key = request->fence_key;
        fact.token = request->fence_token;
        out[count++] = fact;
    }
    if (request->method != METHOD_LOCK && request->method != METHOD_UNLOCK)
        return count;
    fact.grant = request->method == METHOD_LOCK;
    fact.key = request->key;
    fact.token = fact.grant ? reply->token : request->token;
    out[count++] = fact;
    return count;
}

void exclusion_check(history_t *self) {
    lock_fact_t *facts = array_new(2 * self->count + 1, sizeof *facts);
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++)
        count += facts_add(&self->operations[i], facts + count);
    qsort(facts, count, sizeof *facts, fact_order);
    const lock_fact_t *newest = NULL;
    for (size_t i = 0; i < count; i++) {
        const lock_fact_t *fact = &facts[i];
        if (newest && model_compare(newest->key, fact->key) == 0 &&
            !same_grant(self, newest, fact) && fact->token < newest->token + fact->grant)
            history_violated(self, "mutual exclusion", history_operation(self, fact->msgid),
                             "%s under token %llu at revision %llu, after token %llu at %llu",
                             fact->grant ? "granted" : "done", U(fact->token), U(fact->revision),
                             U(newest->token), U(newest->revision));
        newest = fact;
    }
    free(facts);
}
