/* fuzz_post.h: the post of an actor under a fuzzer: what it sends must be able to travel, and is
 * then given to a hook, which stands for the rest of the node.
 */
#ifndef DRAX_TESTS_FUZZ_POST_H
#define DRAX_TESTS_FUZZ_POST_H

#include "actors/actor.h"
#include "broker/log.h"

typedef struct fuzz_post {
    post_t post;
    log_t log; /* to nowhere */
    actor_t actor;
    uint64_t boots[ACTOR_END];
    /* Gets each message; `to` is ACTOR_NONE for a peer's. Borrowed. NULL: nobody looks. */
    void (*sent)(void *hint, actor_t to, message_t *message);
    void *hint;
} fuzz_post_t;

/* All neighbours are there, each with boot 1. */
void fuzz_post_init(fuzz_post_t *self, actor_t actor);

#endif
