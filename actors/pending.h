/* pending.h: requests that are not answered yet, and what each connection has open.
 *
 * Owns: a table of requests, found by token in constant time, and the connections' accounts: how
 * many requests and bytes each has open, and answers it has not taken. A connection's account lasts
 * as long as it has anything open. Everything is bounded (limits.h).
 */
#ifndef DRAX_ACTORS_PENDING_H
#define DRAX_ACTORS_PENDING_H

#include <bsd/sys/queue.h>

#include "actors/clients.h"
#include "broker/rpc.h"

typedef struct unsent {
    envelope_t *envelope;
    payload_t *response;
    struct unsent *next;
} unsent_t;

typedef struct account {
    uint32_t requests;
    size_t bytes;
    unsent_t *unsent, **unsent_last;
    size_t unsent_bytes;
    struct account *unsent_next; /* the list of accounts with unsent answers */
    bool listed;
    bool overflowed; /* answers were dropped since the list was last empty */
    /* Reads that wait for their turn (admission.h): tokens queue[queue_head .. queue_count). */
    uint64_t *queue;
    size_t queue_head, queue_count, queue_capacity;
    struct account *waiting_next;
    bool waits;                 /* in admission's list */
    uint32_t reading;           /* reads that are with storage */
    uint32_t window;            /* how many may be; 0: none answered yet */
    size_t answer_bytes;        /* their answers' average size */
    LIST_HEAD(, watch) watches; /* watches.h */
    uint32_t watch_count;
    bool gone; /* the client is: its watches are to be forgotten */
    struct account *gone_next;
    uint32_t id_size;
    uint8_t id[];
} account_t;

/* LOCAL: ping and status, while the gateway does not know its node yet. */
typedef enum {
    PENDING_FREE,
    PENDING_READ,
    PENDING_STALE,
    PENDING_WRITE,
    PENDING_ADMIN,
    PENDING_LOCAL
} pending_kind_t;

typedef struct pending {
    pending_kind_t kind;
    bool reading; /* it is with storage */
    uint32_t generation;
    uint32_t msgid;
    method_t method;
    envelope_t *envelope;
    account_t *account;
    struct lock_item *lock; /* gateway_locks.c; NULL: it is no lock request */
    payload_t *request;     /* reads: to ask again when storage comes anew */
    size_t bytes;
    uint64_t deadline_ms;
    uint32_t older, newer; /* list by age, of all but writes; index + 1, 0 = none */
} pending_t;

typedef struct pendings pendings_t;

/* `seed` makes tokens of another life of the gateway unlikely to be taken for ours. DRAX_ENOMEM. */
int pendings_new(pendings_t **out, uint64_t seed);
void pendings_destroy(pendings_t **self);

/* Opens a request, taking `*envelope` over and sharing `request` (may be NULL). `*token` names it.
 * DRAX_EAGAIN: over a limit, DRAX_ENOMEM; the envelope then stays the caller's. */
int pendings_open(pendings_t *self, envelope_t **envelope, pending_kind_t kind,
                  const request_t *request, payload_t *bytes, size_t size, uint64_t deadline_ms,
                  uint64_t *token);
/* NULL: no such request (answered already). */
pending_t *pendings_find(pendings_t *self, uint64_t token);
uint64_t pendings_token(const pendings_t *self, const pending_t *pending);
/* Forgets it, but gives its envelope and account to the caller, who must end with account_settle.
 */
void pendings_close(pendings_t *self, pending_t *pending, envelope_t **envelope,
                    account_t **account);

/* The oldest read or admin request, and the next newer one; NULL: none. */
pending_t *pendings_oldest(pendings_t *self);
pending_t *pendings_newer(pendings_t *self, const pending_t *pending);
size_t pendings_count(const pendings_t *self);
/* It is with storage from now on; and how many are. */
void pendings_reading_begin(pendings_t *self, pending_t *pending);
size_t pendings_count_reading(const pendings_t *self);
size_t pendings_count_kind(const pendings_t *self, pending_kind_t kind);

/* The account of an envelope's connection, made if need be; NULL: too many, or no memory. For
 * answers to messages that were never opened; end with account_settle. */
account_t *pendings_account(pendings_t *self, const envelope_t *envelope);

/* Keeps an answer that the client did not take (both taken over). DRAX_ETOOLARGE: too much waits
 * for it, or for all; the answer is dropped, and `overflowed` set. */
int account_keep(pendings_t *self, account_t *account, envelope_t **envelope, payload_t **response);
/* Frees an account with nothing open. */
void account_settle(pendings_t *self, account_t *account);
/* Accounts with unsent answers: a list linked by unsent_next. */
account_t *pendings_unsent(pendings_t *self);
/* Drops the first unsent answer of an account; takes the account off the list when it was the last.
 */
void account_sent(pendings_t *self, account_t *account);

#endif
