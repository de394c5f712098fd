/* answers.c: the answers that a session keeps, in pages of ANSWERS_PAGE seqs.
 *
 * A client numbers its requests one after the other, so a page fills up, and goes when the last of
 * its answers is forgotten: one answer costs a part of a pair. What a transaction answered may be
 * long, so it stands in a pair of its own.
 *
 * Invariants
 *  1. There is a page for each kept answer, and none without one.
 *  2. An answer that was forgotten may still stand in its page, but not its outcome apart. It is at
 *     or below the session's floor, so nobody asks for it or adds another under its seq.
 */
#include "store/state_internal.h"

#include "broker/error.h"

/* The page's record. DRAX_ENOTFOUND. */
static int page_load(state_t *self, slice_t client, uint64_t page, record_key_t *key,
                     found_t *out) {
    record_key_answers(key, client, page);
    return state_lookup(self, record_key(key), out);
}

/* Finds the answer at `at`, without an outcome that stands apart; *above is the lowest place
 * beyond `at` that has one, ANSWERS_PAGE when none has. DRAX_ENOTFOUND, DRAX_ECORRUPT. */
static int page_find(slice_t page, unsigned at, answer_t *out, unsigned *above) {
    answer_t answer;
    unsigned place;
    int rc, found = DRAX_ENOTFOUND;
    *above = ANSWERS_PAGE;
    while ((rc = answers_next(&page, &place, &answer)) == 1) {
        if (place == at) {
            *out = answer;
            found = 0;
        } else if (place > at && place < *above) {
            *above = place;
        }
    }
    return rc ? rc : found;
}

/* The outcome that stands apart, borrowed until the next lookup. */
static int outcome_load(state_t *self, slice_t client, uint64_t seq, answer_t *answer,
                        record_key_t *key, found_t *at) {
    record_key_outcome(key, client, seq);
    int rc = state_lookup(self, record_key(key), at);
    answer->outcome = at->value;
    return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
}

int answer_find(state_t *self, slice_t client, uint64_t seq, answer_t *out) {
    record_key_t key;
    found_t at;
    unsigned above;
    int rc = page_load(self, client, seq / ANSWERS_PAGE, &key, &at);
    if (rc == 0)
        rc = page_find(at.value, seq % ANSWERS_PAGE, out, &above);
    if (rc == 0 && out->code == ANSWER_APART)
        rc = outcome_load(self, client, seq, out, &key, &at);
    return rc;
}

int answer_add(state_t *self, slice_t client, uint64_t seq, const answer_t *answer,
               uint64_t highest) {
    record_key_t key;
    found_t at = {.value = {NULL, 0}};
    uint8_t bytes[ANSWER_BYTES];
    uint64_t page = seq / ANSWERS_PAGE;
    bool fresh = page > highest / ANSWERS_PAGE; /* then it is in no layer: nothing to look for */
    record_key_answers(&key, client, page);
    if (fresh)
        at.node = overlay_find(self->overlay, record_key(&key));
    int rc = fresh ? DRAX_ENOTFOUND : state_lookup(self, record_key(&key), &at);
    if (rc && rc != DRAX_ENOTFOUND)
        return rc;
    buffer_reset(&self->record);
    if (rc == 0)
        buffer_append(&self->record, at.value.data, at.value.size);
    buffer_append(&self->record, bytes, answer_write(answer, seq % ANSWERS_PAGE, bytes));
    if (self->record.failed)
        return DRAX_ENOMEM;
    rc = state_pair_put(self, &at, record_key(&key),
                        (slice_t){self->record.data, self->record.size});
    if (rc == 0 && answer->code == ANSWER_APART) {
        record_key_outcome(&key, client, seq);
        rc = state_pair_set(self, record_key(&key), answer->outcome);
    }
    self->meta.digest += answer_hash(answer, client, seq);
    return rc;
}

static int page_lowest(slice_t page, unsigned *lowest) {
    answer_t answer;
    unsigned place;
    int rc;
    *lowest = ANSWERS_PAGE;
    while ((rc = answers_next(&page, &place, &answer)) == 1)
        *lowest = place < *lowest ? place : *lowest;
    return rc == 0 && *lowest == ANSWERS_PAGE ? DRAX_ECORRUPT : rc;
}

/* The lowest answer in the pages beyond `page`, however far; *seq 0: there is none. */
static int lowest_seek(state_t *self, slice_t client, uint64_t page, uint64_t *seq) {
    record_key_t key;
    merge_t walk;
    record_key_answers(&key, client, page + 1);
    *seq = 0;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = merge_seek(&walk, record_key(&key));
    slice_t owner;
    session_part_t part;
    if (rc == 0 && walk.valid && record_key_session_parse(walk.key, &owner, &part, &page) == 0 &&
        part == SESSION_PART_ANSWERS && kv_key_compare(owner, client) == 0) {
        unsigned lowest;
        rc = page_lowest(walk.value, &lowest);
        *seq = page * ANSWERS_PAGE + lowest;
    }
    merge_close(&walk);
    return rc;
}

/* The same: mostly it is in the very next page. */
static int lowest_find(state_t *self, slice_t client, uint64_t page, uint64_t *seq) {
    record_key_t key;
    found_t at;
    unsigned lowest;
    int rc = page_load(self, client, page + 1, &key, &at);
    if (rc == DRAX_ENOTFOUND)
        return lowest_seek(self, client, page + 1, seq);
    if (rc == 0)
        rc = page_lowest(at.value, &lowest);
    if (rc == 0)
        *seq = (page + 1) * ANSWERS_PAGE + lowest;
    return rc;
}

/* The page from which an answer was forgotten, `kept` when others are left. It is brought up into
 * the overlay then, as most likely all of them will be forgotten soon. */
static int page_leave(state_t *self, const record_key_t *key, const found_t *at, bool kept) {
    if (!kept)
        return state_pair_delete(self, at, record_key(key));
    return at->node ? 0 : state_pair_put(self, at, record_key(key), at->value);
}

int answer_drop(state_t *self, slice_t client, uint64_t seq, uint64_t *next) {
    record_key_t key;
    found_t at;
    answer_t answer;
    unsigned above;
    uint64_t page = seq / ANSWERS_PAGE;
    int rc = page_load(self, client, page, &key, &at);
    if (rc == 0)
        rc = page_find(at.value, seq % ANSWERS_PAGE, &answer, &above);
    if (rc)
        return rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc;
    rc = page_leave(self, &key, &at, above < ANSWERS_PAGE);
    if (rc == 0 && answer.code == ANSWER_APART)
        rc = outcome_load(self, client, seq, &answer, &key, &at);
    if (rc)
        return rc;
    self->meta.digest -= answer_hash(&answer, client, seq);
    if (answer.code == ANSWER_APART)
        rc = state_pair_delete(self, &at, record_key(&key));
    *next = page * ANSWERS_PAGE + above;
    return rc || above < ANSWERS_PAGE ? rc : lowest_find(self, client, page, next);
}
