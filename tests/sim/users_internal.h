/* users_internal.h: the users' insides, shared by its files:
 *
 *   users.c       life, links, requests on their way
 *   users_act.c   what each kind of user does
 *   users_watch.c users who watch
 *   users_lock.c  users who lock
 */
#ifndef DRAX_TESTS_SIM_USERS_INTERNAL_H
#define DRAX_TESTS_SIM_USERS_INTERNAL_H

#include "tests/sim/history.h"
#include "tests/sim/requests.h"
#include "tests/sim/users.h"
#include "tests/sim/watching.h"

#define USER_LINKS 2u
#define USER_FLIGHTS 64u
#define USER_SEQS 4u

typedef struct user user_t;

/* A connection to some gateway, made anew when it broke. */
typedef struct link {
    user_t *user;
    uint64_t connection; /* 0: none */
    unsigned slot;
    uint64_t life; /* of the gateway */
} link_t;

/* A request on its way. */
typedef struct flight {
    uint32_t msgid;
    uint64_t seq; /* 0: not of a session */
    link_t *link;
    uint64_t sent_us;
    uint64_t cancelled_us; /* a lock: when lock_cancel followed; 0: it did not */
} flight_t;

/* A request with client and seq, sent until it is answered for good. */
typedef struct session_request {
    uint64_t seq; /* 0: none */
    payload_t *payload;
    unsigned attempts; /* on their way */
} session_request_t;

/* A lock that a user believes to hold. */
typedef struct held {
    uint32_t msgid; /* of the request that it was granted to */
    uint64_t token; /* 0: none */
} held_t;

typedef enum {
    USER_MIXED,    /* one request at a time, of every method */
    USER_PIPELINE, /* many writes on one connection */
    USER_ONCE,     /* {client, seq}: everything twice, until it is answered */
    USER_STALE,    /* reads without a quorum */
    USER_PAGES,    /* lists and ranges, page by page */
    USER_WRONG,    /* wrong requests among right ones */
    USER_WATCH,    /* streams of events, and questions that wait for some */
    USER_LOCK,     /* locks and what is done under them */
    USER_KINDS
} user_kind_t;

struct user {
    users_t *users;
    unsigned number;
    user_kind_t kind;
    link_t links[USER_LINKS];
    flight_t flights[USER_FLIGHTS];
    size_t flight_count;
    char client[16];
    uint64_t seq;
    session_request_t session[USER_SEQS];
    held_t held;
    watching_t watching[USER_LINKS]; /* by link */
    buffer_t after;                  /* pages: the last key seen; size 0: from the beginning */
};

struct users {
    world_t *world;
    users_options_t options;
    stream_t random;
    history_t *history;
    requests_t requests;
    buffer_t bytes;
    user_t *each;
    bool stopping;
};

/* ---- users.c ---- */

/* True: it is connected. To any gateway that listens. */
bool link_open(link_t *self);
void link_close(link_t *self);
/* Sends a request whose msgid is history_msgid. `seq`: of the session. */
void link_request(link_t *link, const request_t *request, uint64_t seq);
void link_wrong_request(link_t *link);
bool user_room(const user_t *self, size_t count);

/* ---- users_act.c ---- */

/* Sends the request under a {client, seq} of its own, if there is room for one; most are sent
 * twice. */
void user_once_send(user_t *self, const request_t *request);
/* Sends some request that was sent so, and is not answered, once more. */
void user_once_again(user_t *self);

void user_init(user_t *self, unsigned number);
void user_clear(user_t *self);
/* The user wakes up, and may do something. */
void user_act(user_t *self);
/* A request ended; `operation` NULL: its connection broke. `payload`: the answer. */
void user_answered(user_t *self, const flight_t *flight, const operation_t *operation,
                   slice_t payload);
void user_notified(user_t *self, const link_t *link, slice_t payload);
void user_broken(user_t *self, const link_t *link);
/* Nothing more is to come to the user by itself. */
bool user_idle(const user_t *self);

/* ---- users_watch.c: the same, of USER_WATCH ---- */

void user_watch_init(user_t *self);
void user_watch_act(user_t *self);
void user_watch_answered(user_t *self, const flight_t *flight, const operation_t *operation,
                         slice_t payload);
void user_watch_notified(user_t *self, const link_t *link, slice_t payload);
void user_watch_broken(user_t *self, const link_t *link);
bool user_watch_idle(const user_t *self);

/* ---- users_lock.c: the same, of USER_LOCK ---- */

void user_lock_act(user_t *self);
/* Nothing new is to begin: what waits for a lock is to wait no longer. */
void user_lock_stop(user_t *self);
void user_lock_answered(user_t *self, const operation_t *operation);

#endif
