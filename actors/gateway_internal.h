/* gateway_internal.h: the gateway actor's insides, shared by its files:
 *
 *   gateway_actor.c   life, requests in, messages, answers out
 *   gateway_blocks.c  writes: blocks, proposed in order until their results come
 *   gateway_reads.c   reads: queries to storage, read indexes from raft
 *   gateway_held.c    reads of a quiet gateway, whose answers wait for their read index
 *   gateway_locks.c   requests that wait for a lock
 *   gateway_local.c   ping, status and the membership methods
 *   gateway_watch.c   watches and long polls: how they begin, wait and end
 *   gateway_events.c  what they hear
 */
#ifndef DRAX_ACTORS_GATEWAY_INTERNAL_H
#define DRAX_ACTORS_GATEWAY_INTERNAL_H

#include "actors/admission.h"
#include "actors/gateway_actor.h"
#include "actors/pending.h"
#include "actors/watches.h"
#include "broker/block.h"
#include "broker/error.h"
#include "broker/message.h"

/* A block or read that got no answer is repeated after this long, and a refused one after a shorter
 * time. */
#define GATEWAY_REPEAT_MS 1000u
#define GATEWAY_READ_REPEAT_MS 250u
#define GATEWAY_REFUSED_MS 20u
/* An open block waits for more commands no longer than this; and reads for more reads. */
#define GATEWAY_GATHER_MS 20u
#define GATEWAY_GATHER_READS_MS 2u
/* Where both are asked for: a block is to hold one command for so many reads, but waits no longer
 * than this for them; and reads are to be so many times as many as storage has. */
#define GATEWAY_MIXED_SHARE 8u
#define GATEWAY_MIXED_MS 3u
#define GATEWAY_MIXED_READS 3u
/* Answers are held for so many reads, and when they are no larger in all. */
#define GATEWAY_HELD_READS 16u
#define GATEWAY_HELD_BYTES ADMISSION_BYTES
#define GATEWAY_UNSENT_RETRY_MS 5u
#define GATEWAY_STOP_MS 2000u
/* Boots are microseconds of the clock, or go on from the last in steps of up to this (17 s). */
#define GATEWAY_BOOT_STEP (1u << 24)
/* Questions about past changes that are with storage at a time. */
#define GATEWAY_QUESTIONS 32u
/* Without watches, changes are still wanted for this long: pollers come back. */
#define GATEWAY_LINGER_MS 5000u
/* What became of those that wait is asked this often, in commands of up to so many. */
#define GATEWAY_WAITS_CHECK_MS 5000u
#define GATEWAY_WAITS_COMMAND 8192u
/* After so long without a leader they are answered TIMEOUT. */
#define GATEWAY_LEADERLESS_MS 3000u
/* Of a command of the gateway's own. */
#define GATEWAY_NO_TOKEN UINT64_MAX
/* `ping` and `status` wait this long for a node that is just starting. */
#define GATEWAY_LOCAL_MS 3500u

/* One turn's writes. */
typedef struct block_item {
    uint64_t seq;       /* 0: never proposed */
    uint64_t prev;      /* as in `payload` */
    payload_t *payload; /* the block, built for its first proposal and whenever `prev` changes */
    buffer_t commands;
    uint64_t *tokens;
    size_t count, capacity;
    uint64_t deadline_ms, proposed_ms;
    unsigned exposed; /* proposals that may have reached a log */
    bool proposed;    /* since the last change of leader */
    struct block_item *next;
} block_item_t;

/* The reads of one turn, whose answers are held. */
typedef struct held_reads {
    uint64_t read_id; /* 0: there are none */
    size_t count;
    payload_t *queries; /* as QUERY carries them */
    payload_t *answers; /* as ANSWER did; NULL: not here yet */
    uint64_t applied;   /* where storage was then */
    bool lost;          /* they were not kept */
    bool indexed;       /* raft has named `index` */
    uint64_t index;
} held_reads_t;

typedef struct gateway_watches {
    watches_t *table;
    bool subscribed;          /* storage is to tell changes */
    bool live_known;          /* it has told where it is */
    uint64_t live;            /* the revision up to which it told all */
    uint64_t history_first;   /* the first revision that it keeps, as last told */
    uint64_t unsubscribe_ms;  /* when there are no watches */
    struct watch_queue queue; /* of those that want to ask for past changes */
    unsigned asked;           /* questions that are with storage */
    SLIST_HEAD(, watch_group) touched;
    account_t *gone;    /* linked by gone_next */
    buffer_t questions; /* for the next HISTORY */
    size_t ended_views; /* among them */
    buffer_t note;      /* the notification being made */
} gateway_watches_t;
typedef struct gateway_locks gateway_locks_t;

struct gateway_actor {
    gateway_options_t options;
    const post_t *post;
    const log_t *log;
    uint64_t now_ms; /* of the last event */
    pendings_t *pendings;
    bool stopping;
    uint64_t stop_ms;
    bool stop_over;

    message_raft_status_t raft; /* as last told */
    bool raft_known;
    bool store_known;
    uint64_t revision, applied, digest; /* as last told by storage */
    bool no_space;

    uint64_t block_boot;                 /* 0: not chosen yet */
    uint64_t boot_floor;                 /* it must be above this */
    block_item_t *blocks, **blocks_last; /* not confirmed, in order */
    block_item_t *open;                  /* the last of them while it takes commands */
    uint64_t seq, confirmed;
    uint64_t propose_ms; /* not before, after a refusal */

    gateway_watches_t watch;
    gateway_locks_t *locks;

    admission_t admission;           /* reads that are not with storage yet */
    uint64_t read_id;                /* of the last linearizable query */
    uint64_t gather_until_ms;        /* reads wait for more; 0: none does */
    uint64_t asked_id, asked_ms;     /* the last read index wanted, and when */
    buffer_t queries, stale_queries; /* this turn's, as batch elements */
    size_t query_count, stale_count;
    bool query_parks; /* one of them is not for gateway_held_begin */
    held_reads_t held;
    buffer_t scratch, response;
};

/* gateway_actor.c */
/* Sends a response; takes the envelope over. */
void gateway_respond(gateway_actor_t *self, account_t *account, envelope_t *envelope,
                     uint32_t msgid, slice_t outcome);
/* Drops a pending request that will be answered otherwise; its account stays. */
void gateway_forget(gateway_actor_t *self, uint64_t token);
void gateway_answer(gateway_actor_t *self, uint64_t token, slice_t outcome);
void gateway_fail(gateway_actor_t *self, uint64_t token, rpc_code_t code, const char *text);
void gateway_learn(gateway_actor_t *self, const message_batch_t *batch);
/* When the wait_ms of `request` are over, which came at `now_ms`. */
uint64_t gateway_wait_end(const request_t *request, uint64_t now_ms);

/* gateway_blocks.c */
void gateway_write(gateway_actor_t *self, uint64_t token, slice_t command, uint64_t now_ms);
/* True: a block left. */
bool gateway_blocks_turn(gateway_actor_t *self, uint64_t now_ms);
void gateway_blocks_again(gateway_actor_t *self);
void gateway_result(gateway_actor_t *self, const message_batch_t *result, uint64_t now_ms);
void gateway_skipped(gateway_actor_t *self, const message_batch_t *skipped, uint64_t now_ms);
void gateway_refused(gateway_actor_t *self, const message_propose_t *refused, uint64_t now_ms);
uint64_t gateway_blocks_deadline(const gateway_actor_t *self);
void gateway_blocks_free(gateway_actor_t *self);

/* gateway_locks.c */
int gateway_locks_new(gateway_locks_t **out);
void gateway_locks_destroy(gateway_locks_t **self);
/* A lock request was opened as `token`. */
void gateway_lock_begin(gateway_actor_t *self, uint64_t token, const request_t *request,
                        uint64_t now_ms);
/* It waits, as `waiter`. */
void gateway_lock_waits(gateway_actor_t *self, uint64_t token, uint64_t waiter, uint64_t now_ms);
/* Results of a block that was given up: those that wait in it and that nobody can ask for again do
 * not wait any longer. */
void gateway_lock_orphans(gateway_actor_t *self, batch_t *results);
/* A lock request is about to be closed. */
void gateway_lock_closed(gateway_actor_t *self, pending_t *pending);
void gateway_settled(gateway_actor_t *self, const message_batch_t *settled);
/* Its client does not want it any more: answered within LIMIT_REQUEST_TIMEOUT_MS. */
void gateway_lock_cancel(gateway_actor_t *self, const account_t *account, uint32_t msgid,
                         uint64_t now_ms);
/* Storage has come anew: what it told may be lost. */
void gateway_locks_again(gateway_actor_t *self);
void gateway_locks_stop(gateway_actor_t *self);
/* Before gateway_blocks_turn. */
void gateway_locks_turn(gateway_actor_t *self, uint64_t now_ms);
uint64_t gateway_locks_deadline(const gateway_actor_t *self);

/* gateway_reads.c */
void gateway_read(gateway_actor_t *self, uint64_t token);
size_t gateway_reads_in_hand(const gateway_actor_t *self);
/* `block_left`: in this turn, so reads that would wait for more go along. */
void gateway_reads_turn(gateway_actor_t *self, bool block_left, uint64_t now_ms);
void gateway_reads_again(gateway_actor_t *self);
void gateway_reads_refused(gateway_actor_t *self);
/* Gives out what a batch of answers holds. */
void gateway_answers_give(gateway_actor_t *self, const payload_t *answers);
void gateway_answers(gateway_actor_t *self, const message_batch_t *answers);
uint64_t gateway_reads_deadline(const gateway_actor_t *self);

/* gateway_held.c */
/* May the answers to this turn's linearizable queries be held? */
bool gateway_held_may(const gateway_actor_t *self);
/* They are, as self->read_id: `queries` (shared) goes to storage. */
void gateway_held_begin(gateway_actor_t *self, payload_t *queries, size_t count);
void gateway_held_ready(gateway_actor_t *self, const message_read_t *ready);
void gateway_held_answers(gateway_actor_t *self, const message_batch_t *answers);
/* Raft came anew, and knows of no held reads: their queries wait in storage, as others do. */
void gateway_held_park(gateway_actor_t *self);
void gateway_held_end(gateway_actor_t *self);

/* gateway_local.c */
void gateway_local(gateway_actor_t *self, method_t method, buffer_t *outcome);
void gateway_local_answer(gateway_actor_t *self, uint64_t token);
/* Answers those that waited, once raft and storage have told what there is to tell. */
void gateway_local_turn(gateway_actor_t *self);
bool gateway_node_known(const gateway_actor_t *self);
void gateway_admin(gateway_actor_t *self, uint64_t token, const request_t *request);
void gateway_admin_result(gateway_actor_t *self, const message_admin_t *admin);

/* gateway_watch.c */
/* Before the read that a watch begins with. */
void gateway_watch_begin(gateway_actor_t *self, const request_t *request);
void gateway_watch_answer(gateway_actor_t *self, uint64_t token, slice_t outcome);
void gateway_credit(gateway_actor_t *self, const envelope_t *envelope, const request_t *request);
void gateway_watch_cancel(gateway_actor_t *self, const envelope_t *envelope,
                          const request_t *request);
/* Lets a watch that is BEHIND ask for past changes, if it may be told of them. */
void gateway_watch_ask(gateway_actor_t *self, watch_t *watch);
/* Ends it; a poll is answered with `outcome`. */
void gateway_watch_end(gateway_actor_t *self, watch_t *watch, const buffer_t *outcome);
/* Its watches end at the end of the turn. */
void gateway_client_gone(gateway_actor_t *self, account_t *account);
void gateway_watches_resume(gateway_actor_t *self, account_t *account);
void gateway_watches_again(gateway_actor_t *self);
void gateway_watches_tell(gateway_actor_t *self); /* raft, whether there are any */
void gateway_watches_stop(gateway_actor_t *self);
void gateway_watches_turn(gateway_actor_t *self, uint64_t now_ms);
uint64_t gateway_watches_deadline(const gateway_actor_t *self);

/* gateway_events.c */
void gateway_changes(gateway_actor_t *self, const message_batch_t *changes);
void gateway_past(gateway_actor_t *self, const message_batch_t *answers);
void gateway_history_first(gateway_actor_t *self, uint64_t first);
/* The first revision that it has not heard of. */
uint64_t gateway_watch_next(const gateway_actor_t *self, const watch_t *watch);
void gateway_watch_idle(gateway_actor_t *self, watch_t *watch);

#endif
