/* state_internal.h: what the parts of the state share; nobody else includes this.
 *
 *   state.c            opening, flushing, lookups, single pairs
 *   apply.c            entries, blocks and commands
 *   write.c            the methods that write keys;  txn.c   transactions
 *   changes.c          taking back what a command did
 *   lease.c            leases and the keys on them
 *   lock.c             locks;  waiter.c   requests that wait for one
 *   state_heads.c      reading in the heads of keys that were not written since the start
 *   user.c             users' keys and what follows from them: digest, counts, expiries
 *   session.c          exactly once;  answers.c   the answers kept for it
 *   state_history.c    what changed, for watches
 *   expiry.c           what is due
 *   query.c            reads;  query_watch.c   the begin of a watch;  page.c   pairs in an answer
 *   state_snapshot.c   sending what is flushed;  state_staging.c   receiving it
 *
 * Invariants besides those of state.h
 *  1. After an error in the middle of an entry the overlay is half an entry ahead: `failed` is set,
 * and nothing is applied or flushed any more.
 *  2. There is a due record for each key with due_ms and for each lease, and no other; a used
 * record for each session, and no other; no answer without its session. Each key on a lease has its
 * record under that lease, and the lease exists. The invariants of lock.c and waiter.c.
 */
#ifndef DRAX_STORE_STATE_INTERNAL_H
#define DRAX_STORE_STATE_INTERNAL_H

#include "store/heads.h"
#include "store/history.h"
#include "store/merge.h"
#include "store/meta.h"
#include "store/record.h"
#include "store/state.h"

/* What is due: keys by their ttl, and leases. */
typedef enum { DUE_KEY, DUE_LEASE, DUE_KINDS } due_kind_t;

typedef struct due {
    bool known; /* first_ms is right, 0 when none is due ever; else it is not too late */
    uint64_t first_ms;
} due_t;

struct state {
    kv_t *kv;
    overlay_t *overlay; /* never NULL */
    overlay_t *frozen;  /* NULL when all that was frozen is flushed */
    meta_t meta;        /* as of the last entry applied */
    uint64_t flushed;
    uint64_t frozen_applied; /* what `frozen` brings kv to */
    buffer_t frozen_meta;
    bool flushing; /* between freeze and thaw */
    int failed;    /* invariant 1; 0: none */

    origin_t *origins; /* all of them; the records are only for the next start */
    size_t origin_count, origin_capacity;

    due_t dues[DUE_KINDS];
    uint64_t sweep_ms; /* no session is idle before this */

    uint64_t change_revision; /* what the command being applied changes is made at */
    uint64_t keys_left;       /* that it may still go over; DRAX_ETOOLARGE after that */
    uint64_t fence_token;     /* that it carries as a whole; 0: none */
    uint64_t block_node;      /* whose gateway it came from */
    bool changing;            /* between changes_begin and its end */

    heads_t heads; /* of records in kv, unless a layer above it knows of the key */
    /* Of heads, from kv. Invariants: state_heads.c. */
    struct {
        bool going;
        uint64_t from;     /* not before so much is flushed */
        record_key_t next; /* it goes on here */
        size_t due;        /* heads that the looks into kv have paid for */
        uint64_t misses;   /* since the last one ended */
        size_t bytes;      /* that were read since memory was given back */
        bool release;      /* it is to be given back */
    } reading;
    history_writer_t history; /* of the block being applied */
    /* The head of the oldest record kept; first 0: there is none. */
    struct {
        uint64_t first, last, total;
    } oldest;
    struct {
        uint64_t first, index;
    } named; /* the oldest record that names an entry, and which; first 0: none does */
    uint64_t history_added; /* records since the last pruning */
    uint64_t keep_bytes, keep_revisions;

    buffer_t scratch;   /* the record that state_lookup found in kv */
    buffer_t outcome;   /* of the command being applied */
    buffer_t operation; /* outcome of one operation of a transaction */
    buffer_t results;   /* of the last block */
    buffer_t settled;   /* of the last entry: what requests that waited came to, by their numbers */
    size_t settled_count;
    buffer_t told;   /* one outcome for `settled` */
    buffer_t pairs;  /* of the answer being built, or keys to delete */
    buffer_t kept;   /* a value that is written again */
    buffer_t record; /* a record being built */
    buffer_t waiter; /* the record that waiter_load found */
};

/* ---- single pairs (state.c) ---- */

/* Where a key was found. `node` is its node in the active overlay, if any: for overlay_put. `value`
 * is borrowed until the next lookup or change. */
typedef struct found {
    overlay_node_t *node;
    slice_t value;
} found_t;

/* 0, DRAX_ENOTFOUND (`node` is set all the same), or an error of the kv store. */
int state_lookup(state_t *self, slice_t key, found_t *out);
/* The same without the kv store. DRAX_EAGAIN: only that one would know. */
int state_lookup_unflushed(state_t *self, slice_t key, found_t *out);
int state_pair_put(state_t *self, const found_t *at, slice_t key, slice_t value);
int state_pair_delete(state_t *self, const found_t *at, slice_t key);
/* The same for pairs of which nothing is known. */
int state_pair_set(state_t *self, slice_t key, slice_t value);
int state_pair_clear(state_t *self, slice_t key);
/* What a record of any replicated kind but k counts for in the digest changes; size 0: there is
 * none. */
void state_digest_swap(state_t *self, slice_t key, slice_t was, slice_t is);
/* Writes a record of such a kind, new in the digest. */
int state_record_put(state_t *self, const record_key_t *key, const buffer_t *record);
int state_walk(state_t *self, merge_t *out); /* merge_open over the whole state */

/* The origin of `node`, or NULL; borrowed until the next one is added. */
origin_t *state_origin(const state_t *self, uint64_t node);
origin_t *state_origin_add(state_t *self, const origin_t *origin); /* NULL: out of memory */

/* ---- heads (state_heads.c) ---- */

void state_heads_open(state_t *self);
/* What was applied so far is about to be flushed: the overlay is empty, the frozen one is not. */
void state_heads_freeze(state_t *self);
/* The user's key had to be looked for in kv. */
void state_heads_missed(state_t *self, slice_t key);
/* Between two entries: reads in what is due. */
void state_heads_turn(state_t *self);

/* ---- users' keys (user.c) ---- */

typedef struct user {
    record_key_t key; /* with its prefix */
    slice_t given;    /* the key as it was asked for, borrowed: where history finds it */
    found_t at;
    bool exists;
    record_t record; /* when it exists */
} user_t;

/* `key` is as the client gave it. 0 (see `exists`), or an error. */
int user_load(state_t *self, slice_t key, user_t *out);
/* The same, but `record.value` may be missing. */
int user_head_load(state_t *self, slice_t key, user_t *out);
/* How long a key lives: until due_ms, as long as a lease, or for ever (both 0). */
typedef struct life {
    uint64_t due_ms, lease;
    bool locked; /* the lease is that of a lock, and this its key */
} life_t;

/* Writes the key at change_revision, which becomes the state's; its lease, if any, must exist. The
 * user is void after this, as after a delete. `value` must not be borrowed from the state. */
int user_put(state_t *self, user_t *user, slice_t value, life_t life);
/* `type`: HISTORY_DELETE or HISTORY_EXPIRE. */
int user_delete(state_t *self, user_t *user, history_type_t type);
/* Deletes all keys that begin with `prefix`, locked ones only if their lease is one of `tokens`:
 * DRAX_EINUSE at another one, with a part of the tree gone. */
typedef struct tree {
    slice_t prefix;
    uint64_t tokens[2]; /* 0: none */
    uint64_t deleted;   /* how many */
    bool unlocked[2];   /* the locked key of that token was among them */
} tree_t;

int user_delete_tree(state_t *self, tree_t *tree);

/* ---- what a command came to (write.c) ---- */

typedef struct outcome {
    rpc_code_t code;
    const char *text;         /* static; NULL: the usual one of the code */
    uint64_t index, revision; /* index: of a key, or a lease's number */
    uint64_t number;          /* of keys deleted, or ttl_ms */
    uint64_t waits;           /* a waiter's number: there is no outcome yet */
    bool written; /* its bytes stand in self->outcome already; `code` counts all the same */
} outcome_t;

void outcome_write(const outcome_t *self, const request_t *request, buffer_t *out);

/* What holds for every write: the lock of its fence must be held. 0 with *code, or an error. */
int write_guard(state_t *self, const request_t *request, rpc_code_t *code);
/* put, delete, delete_tree, atomic_put, atomic_delete. */
int write_apply(state_t *self, const request_t *request, outcome_t *out);

/* ---- taking back (changes.c) ---- */

typedef struct savepoint {
    uint64_t revision, digest, keys, expiring, leases, granted, locks, waiters;
    due_t dues[DUE_KINDS];
    size_t settled_size, settled_count;
    history_mark_t history;
} savepoint_t;

/* What is changed from here on is kept or undone by one of the other two. Not while `changing`. */
savepoint_t changes_begin(state_t *self);
void changes_keep(state_t *self);
void changes_undo(state_t *self, const savepoint_t *before);

/* ---- transactions (txn.c) ---- */

int txn_apply(state_t *self, const request_t *request, outcome_t *out);

/* ---- reads (query.c) ---- */

/* As state_query; DRAX_ETOOLARGE when it goes over more than keys_left keys. */
int query_answer(state_t *self, const request_t *request, uint64_t time_ms, buffer_t *out);
/* ---- history (state_history.c) ---- */

/* user_put and user_delete add to the history of the block being applied (`self->history`); who
 * takes changes back must history_rewind it as well. */
/* The block's record into the overlay. */
int history_store(state_t *self);
/* After opening: what is kept. */
int history_load(state_t *self);
/* Before a flush: forgets what is older than it has to be, a bounded number of records. */
int history_prune(state_t *self);

/* ---- exactly once (session.c) ---- */

typedef struct session_use {
    slice_t client;
    uint64_t seq;
    uint64_t arguments;
    size_t settled_count; /* the state's when `session` was read: each may have changed it */
    bool exists;
    found_t at;
    session_t session;
} session_use_t;

/* For a request with client and seq: 1 when it is answered already, or refused, with `out`; 0 when
 * it is to be applied, and then session_end keeps its answer. */
int session_begin(state_t *self, const request_t *request, session_use_t *use, outcome_t *out);
int session_end(state_t *self, session_use_t *use, const outcome_t *outcome);
/* Hash of what the request asks for, however it was encoded. */
uint64_t session_arguments(const request_t *request);
/* Keeps the answer of a request that waited. */
int session_settle(state_t *self, const waiter_t *waiter, const outcome_t *outcome);
/* Forgets a bounded number of answers of clients that have been idle for long. */
int session_sweep(state_t *self);

/* ---- the answers of a session (answers.c) ---- */

/* `out->outcome` is borrowed until the next lookup. DRAX_ENOTFOUND: none is kept. */
int answer_find(state_t *self, slice_t client, uint64_t seq, answer_t *out);
/* Keeps an answer where none is; no higher seq than `highest` was ever kept before. */
int answer_add(state_t *self, slice_t client, uint64_t seq, const answer_t *answer,
               uint64_t highest);
/* Forgets the lowest answer, which is that of `seq`; *next is the lowest after it, 0: none. */
int answer_drop(state_t *self, slice_t client, uint64_t seq, uint64_t *next);

/* ---- leases (lease.c) ---- */

typedef struct lease_use {
    uint64_t id;
    found_t at;
    lease_t lease;
} lease_use_t;

/* 0, DRAX_ENOTFOUND, or an error. */
int lease_load(state_t *self, uint64_t id, lease_use_t *out);
/* lease_grant, lease_keepalive, lease_revoke. */
int lease_apply(state_t *self, const request_t *request, outcome_t *out);
/* A new one; `*id` is its number. */
int lease_make(state_t *self, uint64_t ttl_ms, bool lock, uint64_t *id);
/* Ends the lease, with all its keys; as `type` tells watches; a lock goes on to the
 * next. */
int lease_end(state_t *self, const lease_use_t *use, history_type_t type);
/* The key moves from one lease to another; 0: none. Those that are not 0 must exist. */
int lease_move(state_t *self, slice_t user_key, uint64_t from, uint64_t to);
/* ---- the begin of a watch (query_watch.c) ---- */

int watch_answer(state_t *self, const request_t *request, buffer_t *out);

/* ---- locks (lock.c) ---- */

typedef struct grant {
    uint64_t ttl_ms;
    uint64_t waiter; /* 0: the request did not wait */
    bool taken;      /* a plain key stands there */
    bool has_value;
    slice_t value;
} grant_t;

int lock_apply(state_t *self, const request_t *request, outcome_t *out);
int unlock_apply(state_t *self, const request_t *request, outcome_t *out);
/* Of a lock's lease that ends: its key goes on to the next waiter, stays as a plain key, or goes.
 */
int lock_end(state_t *self, uint64_t lease, history_type_t type);

/* ---- those that wait (waiter.c) ---- */

int waiter_add(state_t *self, const request_t *request, outcome_t *out);
/* Slices of `out` are good until the next waiter_load. DRAX_ENOTFOUND. */
int waiter_load(state_t *self, uint64_t number, waiter_t *out);
/* Who is next for the key; 0: nobody. */
int waiter_first(state_t *self, slice_t key, uint64_t *number);
/* It waits no longer: `waiter` is what waiter_load gave. */
int waiter_settle(state_t *self, uint64_t number, const waiter_t *waiter, const outcome_t *outcome);
/* The lock that it was granted ended. */
int waiter_forget(state_t *self, uint64_t number);
/* The request of this client and seq that waits. DRAX_ENOTFOUND. */
int waiter_find(state_t *self, slice_t client, uint64_t seq, uint64_t *number, uint64_t *arguments);
/* A new gateway of `node` has come: those of earlier ones go, unless their clients can ask for them
 * again. */
int waiters_drop(state_t *self, uint64_t node);
int waits_apply(state_t *self, wait_list_t *command, outcome_t *out);
/* The records that follow from one that waits. */
void waiter_derive(kv_batch_t *batch, uint64_t number, const waiter_t *waiter);

/* ---- expiries (expiry.c) ---- */

int expiry_add(state_t *self, due_kind_t kind, uint64_t due_ms, const record_key_t *key);
int expiry_remove(state_t *self, due_kind_t kind, uint64_t due_ms, const record_key_t *key);
/* Deletes those of the keys named that are still at their revision, and due; ends those of the
 * leases that were not renewed since, and are due. */
int expiry_apply(state_t *self, expire_t *command, outcome_t *out);

#endif
