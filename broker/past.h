/* past.h: what gateway and storage say to each other about changes of keys.
 *
 *   HISTORY: batch of [token, question]      question = [tree, key, from]          key = bin
 *   PAST:    batch of [token, answer]        answer = [compacted, next, [event ...]]
 *   CHANGES: batch of [revision, event]      event = {type, key, value?, index}, as clients get it
 *
 * `tree`: all keys that begin with `key`. `compacted` is 0, or the first revision still kept, when
 * `from` is before it; `next` the first revision that was not looked at: an answer may be short.
 */
#ifndef DRAX_BROKER_PAST_H
#define DRAX_BROKER_PAST_H

#include "broker/pack.h"

typedef struct past_question {
    bool tree;
    slice_t key;
    uint64_t from;
} past_question_t;

void past_question_write(buffer_t *out, const past_question_t *question);
/* DRAX_EPROTO. Slices borrow from `bytes`; so below. */
int past_question_read(past_question_t *out, slice_t bytes);

typedef struct past_answer {
    uint64_t compacted, next;
    size_t count;
    slice_t events; /* `count` of them, one behind the other */
} past_answer_t;

void past_answer_write(buffer_t *out, const past_answer_t *answer);
int past_answer_read(past_answer_t *out, slice_t bytes);

/* The key of an event. */
int event_key(slice_t event, slice_t *key);

#endif
