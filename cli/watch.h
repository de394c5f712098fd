/* watch.h: watches, as the driver sees them; what is read from them is in watch_read.c.
 *
 *   WAITING --asked--> ASKING --answered--> STREAMING --closed--> (gone)
 *      ^------refused----+                     |  \--compacted, a refusal for good--> ENDED
 *      ^-------------connection lost-----------+
 *
 * A watch asks with `resume`, the revision that it has received everything before, so it hears
 * every change once and in order, whatever becomes of connections and nodes. Until its first state
 * is complete it has none, and begins anew.
 *
 * What was received and not yet read waits in batches, one a message. Their number is bounded by
 * the credit that the server was given: CLIENT_WATCH_CREDIT at first, and what has been read since.
 */
#ifndef DRAX_CLI_WATCH_H
#define DRAX_CLI_WATCH_H

#include "cli/client.h"
#include "cli/result.h"

typedef enum { WATCH_WAITING, WATCH_ASKING, WATCH_STREAMING, WATCH_ENDED } watch_state_t;

/* One message of the server. */
typedef struct batch {
    struct batch *next;
    drax_result_t *result;     /* owns what `items` points into */
    const drax_field_t *items; /* pairs or events */
    size_t at, count;          /* of items */
    bool pairs;
    bool completes;  /* the first state: DRAX_EVENT_SYNCED comes after the items … */
    bool told;       /* … and has been given */
    bool counts;     /* took credit, to be given back when it has been read */
    uint64_t resume; /* what to ask with when all of it has been read; 0: nothing new */
} batch_t;

struct drax_watch {
    drax_t *client;
    drax_watch_t *previous, *next; /* of all watches of the client */
    drax_watch_t *chain;           /* STREAMING: of those with the same id modulo the buckets */
    drax_watch_t *ready_next;      /* of those with something for their callback */
    bool in_ready;
    bool tree;
    buffer_t key;
    watch_state_t state;
    call_t *call;     /* ASKING */
    connection_t *on; /* STREAMING: and its number there */
    uint64_t id;
    uint64_t heard_ms;
    uint64_t resume;     /* see above; 0: from the first state */
    uint64_t first_next; /* `resume` once the first state is complete */
    uint64_t given;      /* the same, for what has been read */
    bool synced;         /* the first state has been received whole */
    batch_t *batches, *batches_last;
    unsigned unpaid; /* batches read whose credit was not given back yet */
    int error;       /* ENDED */
    char detail[CLIENT_DETAIL_BYTES];
    uint64_t compacted;
    drax_event_fn *event; /* NULL: read by drax_watch_next */
    void *arg;
    bool calling;  /* a thread is in its callback */
    bool closed;   /* meanwhile: that thread frees it */
    bool end_told; /* its callback has been told of its end */
};

/* ---- for the router; with the lock held ---- */

/* Lets the watches that wait ask. */
void watches_ask(drax_t *self);
/* A notification came. */
void watches_receive(drax_t *self, connection_t *connection, answer_t *answer, uint64_t now_ms);
/* The connection is gone. */
void watches_lost(drax_t *self, const connection_t *connection);
/* Sends credit and cancellations. */
void watches_send(drax_t *self);
/* A connection on which a watch has been silent for too long; NULL: none. */
connection_t *watches_mute(drax_t *self, uint64_t now_ms);

/* ---- between watch.c and watch_read.c; with the lock held ---- */

void watch_add(drax_t *self, drax_watch_t *watch);
/* Takes it out of everything; a stream is cancelled. */
void watch_remove(drax_watch_t *self);
void watch_free(drax_watch_t *self);       /* after that; its batches end here */
void watch_batch_drop(drax_watch_t *self); /* the first one, read to its end */
void watch_ready(drax_watch_t *self);      /* has something new: tell who waits */

/* ---- for drive.c ---- */

/* Is there something that a callback is to get? With the lock held. */
bool watches_ready(const drax_t *self);
/* Makes callbacks, up to CLIENT_TURN_MESSAGES. With the lock free. Returns how many. */
int watches_deliver(drax_t *self);
/* For drax_destroy. */
void watches_close(drax_t *self);

#endif
