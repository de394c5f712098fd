/* letter.h: what is on its way to a process: a message, a client's payload, or news of a peer.
 *
 * Owns: the content. A message is kept with as many bytes as its kind has, not with those of the
 * largest kind.
 */
#ifndef DRAX_TESTS_SIM_LETTER_H
#define DRAX_TESTS_SIM_LETTER_H

#include "broker/message.h"

typedef enum {
    LETTER_LOCAL,  /* a message of an actor of the same node */
    LETTER_PEER,   /* a message of another node's raft actor */
    LETTER_NEWS,   /* the connection to `peer` came up or broke */
    LETTER_CLIENT, /* a payload that came over `connection` */
} letter_kind_t;

typedef struct letter {
    uint64_t arrive_us, number;
    letter_kind_t kind;
    uint64_t life; /* of the receiver that it is for; 0: whoever lives there */
    uint64_t peer, connection;
    bool up;
    payload_t *payload;
    size_t message_bytes;
    uint8_t message[];
} letter_t;

/* Takes the message over and clears it; NULL: a letter without one. */
letter_t *letter_new(letter_kind_t kind, message_t *message);
/* Moves the message out; `out` must be cleared. */
void letter_open(letter_t *self, message_t *out);
void letter_destroy(letter_t **self);

/* Letters sorted by arrival, then by number. */
typedef struct letterbox {
    letter_t **items; /* a binary heap */
    size_t count, capacity;
} letterbox_t;

void letterbox_put(letterbox_t *self, letter_t *letter);
/* When the first one arrives; UINT64_MAX: none is on its way. */
uint64_t letterbox_at(const letterbox_t *self);
letter_t *letterbox_take(letterbox_t *self);
void letterbox_clear(letterbox_t *self);

#endif
