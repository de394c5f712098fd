/* watching.h: what a watch must be told, against the reference: first what is there, then every
 * change once, in order, without a gap, over any number of connections.
 *
 * Owns: how far one watcher has come. Must not know: connections, who watches.
 */
#ifndef DRAX_TESTS_SIM_WATCHING_H
#define DRAX_TESTS_SIM_WATCHING_H

#include "tests/sim/model.h"

typedef struct watching {
    bool tree;
    slice_t key;      /* or directory; borrowed for ever */
    uint64_t next;    /* the revision to go on from; 0: not known yet */
    uint64_t watch;   /* the stream's number; 0: none */
    uint64_t credit;  /* notifications that it may still get */
    bool pairs_due;   /* of what is there, some are still to come */
    reply_t pairs;    /* so far */
    size_t delivered; /* events */
} watching_t;

/* The answer to a watch, `payload`; `poll`: it was given wait_ms. NULL, or what is wrong. */
const char *watching_answered(watching_t *self, const model_t *model, slice_t payload, bool poll);
/* A notification; it may be of another watch: then `*own` is false, and it is not looked into. */
const char *watching_notified(watching_t *self, const model_t *model, slice_t payload, bool *own);
/* The stream has ended, or its connection has. */
void watching_ended(watching_t *self);
/* Is there a change that it should hear of, and has not? */
bool watching_behind(const watching_t *self, const model_t *model);

bool watching_is_notification(slice_t payload);

#endif
