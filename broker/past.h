/* past.h: what gateway and storage say to each other about changes of keys.
 *
 *   HISTORY: batch of [token, question]      question = [kind, key, from]          key = bin
 *   PAST:    batch of [token, answer]        answer = [compacted, next, more, [event ...]]
 *   CHANGES: batch of [revision, event]      event = {type, key, value?, index}, as clients get it
 *
 * Changes of a key, or of all keys that begin with it, from a revision on: `compacted` is 0, or the
 * first revision still kept, when `from` is before it; `next` the first revision that was not
 * looked at: an answer may be short; `more` is false.
 * The next page of the view `from` (storage_view.c): pairs instead of events, `more` when there is
 * another page, `next` as for a watch that has them all; `compacted` when the view is gone.
 * The end of a view is not answered.
 */
#ifndef DRAX_BROKER_PAST_H
#define DRAX_BROKER_PAST_H

#include "broker/pack.h"

typedef enum { PAST_KEY, PAST_TREE, PAST_PAGE, PAST_END } past_kind_t;

typedef struct past_question {
    past_kind_t kind;
    slice_t key;
    uint64_t from;
} past_question_t;

void past_question_write(buffer_t *out, const past_question_t *question);
/* DRAX_EPROTO. Slices borrow from `bytes`; so below. */
int past_question_read(past_question_t *out, slice_t bytes);

typedef struct past_answer {
    uint64_t compacted, next;
    bool more;
    size_t count;
    slice_t events; /* `count` of them, one behind the other */
} past_answer_t;

void past_answer_write(buffer_t *out, const past_answer_t *answer);
int past_answer_read(past_answer_t *out, slice_t bytes);

/* The key of an event. */
int event_key(slice_t event, slice_t *key);

#endif
