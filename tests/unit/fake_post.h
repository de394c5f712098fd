/* fake_post.h: a post that keeps what an actor sends, for tests of one actor alone.
 *
 * Owns: the messages sent. Each goes through the codec, so that one that could not travel fails the
 * test. As with the real post, what is sent to a neighbour that is not there is dropped.
 */
#ifndef DRAX_TESTS_FAKE_POST_H
#define DRAX_TESTS_FAKE_POST_H

#include "actors/actor.h"

typedef struct fake_post {
    post_t post;
    actor_t actor;              /* whose post it is */
    uint64_t boots[ACTOR_END];  /* of the neighbours; 0: not there */
    message_t **sent;           /* in order; to peers and to neighbours */
    actor_t *to;                /* ACTOR_NONE: a peer */
    size_t count, capacity, at; /* at: the first not taken yet */
    config_t config, hint;      /* as last given to post.peers */
    unsigned peers_calls;
    bool unconnected; /* nothing leaves for a peer */
} fake_post_t;

/* All neighbours are there, with boots 101, 102 … */
void fake_post_init(fake_post_t *self, actor_t actor);
void fake_post_clear(fake_post_t *self);

/* Takes the next message that was sent; NULL: none. Borrowed until fake_post_clear. */
message_t *fake_post_next(fake_post_t *self);
/* Takes messages up to the next of `kind`; NULL: none of it. */
message_t *fake_post_find(fake_post_t *self, message_kind_t kind);
/* Takes the next message, which must be of `kind`. */
message_t *fake_post_expect(fake_post_t *self, message_kind_t kind);
/* How many of `kind` have not been taken. */
size_t fake_post_waiting(const fake_post_t *self, message_kind_t kind);
/* Takes all that is there. */
void fake_post_skip(fake_post_t *self);

#endif
