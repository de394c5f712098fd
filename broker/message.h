/* message.h: every message that actors exchange, as structs.
 *
 * Owns: the shapes and their memory. Knows no socket and no encoding (codec.h does). The raft core
 * includes this header and limits.h, nothing else of the broker.
 *
 * Three families:
 *   peer messages   raft actor to raft actor of another node, over tcp. `cluster`, `from` and `to`
 *                   are checked before anything else; `term` is the sender's term.
 *   local messages  between the raft, storage and gateway actors of one node.
 *   HELLO           opens every local link. A local message is accepted only if it carries the
 *                   receiver's current boot id in `to_boot` and comes from the `from_boot` that the
 *                   neighbour's last HELLO named; so nothing of an earlier life is ever obeyed.
 */
#ifndef DRAX_BROKER_MESSAGE_H
#define DRAX_BROKER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/limits.h"
#include "broker/payload.h"

#define MESSAGE_VERSION 1u

/* ---- members and entries ---- */

typedef enum { MEMBER_VOTER = 1, MEMBER_LEARNER = 2 } member_role_t;

typedef struct member {
    uint64_t id; /* 1 .. 2^32-1, random, never used again after removal */
    member_role_t role;
    char addr[LIMIT_ADDR_BYTES];      /* clients connect here */
    char raft_addr[LIMIT_ADDR_BYTES]; /* peers' raft actors connect here */
} member_t;

/* A membership, sorted by id. `index` is the log index of the entry that made it (0: none yet). */
typedef struct config {
    uint64_t index;
    size_t count;
    member_t members[LIMIT_MEMBERS];
} config_t;

const member_t *config_member(const config_t *self, uint64_t id); /* NULL when not in it */
size_t config_voters(const config_t *self);

typedef enum {
    ENTRY_NOOP = 0,  /* a new leader's first entry; no payload */
    ENTRY_BLOCK = 1, /* commands of one turn of one gateway, see block.h; opaque to the core */
    ENTRY_CONFIG = 2 /* a membership; `config` is set, `payload` is NULL */
} entry_kind_t;

/* One log entry. Whoever holds an entry_t owns one reference to `payload` and its own copy of
 * `config` (heap). */
typedef struct entry {
    uint64_t index;
    uint64_t term;
    uint64_t time_ms; /* cluster time, stamped by the leader that appended it; never goes back */
    entry_kind_t kind;
    payload_t *payload;
    config_t *config;
} entry_t;

/* A copy that shares the payload. DRAX_ENOMEM leaves `out` cleared. */
int entry_copy(entry_t *out, const entry_t *from);
void entry_clear(entry_t *self);
size_t entry_size(const entry_t *self); /* bytes it counts for in limits: payload and overhead */

typedef struct entries {
    entry_t *items;
    size_t count;
    size_t capacity;
} entries_t;

int entries_push(entries_t *self, const entry_t *entry); /* copies, sharing the payload */
void entries_clear(entries_t *self);                     /* frees all */

/* The first index of a run of entries that share a term; a list of these describes a whole log. */
typedef struct term_run {
    uint64_t index;
    uint64_t term;
} term_run_t;

/* ---- kinds ---- */

typedef enum {
    MESSAGE_NONE = 0,
    /* peer: raft <-> raft */
    MESSAGE_PRE_VOTE = 1,
    MESSAGE_PRE_VOTE_RESULT,
    MESSAGE_VOTE,
    MESSAGE_VOTE_RESULT,
    MESSAGE_APPEND,
    MESSAGE_APPEND_RESULT,
    MESSAGE_HEARTBEAT,
    MESSAGE_HEARTBEAT_RESULT,
    MESSAGE_TIMEOUT_NOW,
    MESSAGE_FORWARD,           /* a block for the leader; `propose` */
    MESSAGE_READ_INDEX,        /* `read`: a follower asks the leader */
    MESSAGE_READ_INDEX_RESULT, /* `read` */
    MESSAGE_SNAPSHOT_OFFER,    /* `snapshot`: fetch one from me; your log is gone here */
    MESSAGE_SNAPSHOT_FETCH,    /* `snapshot`: follower asks for a chunk; also raft -> storage */
    MESSAGE_SNAPSHOT_CHUNK,    /* `snapshot`; also storage -> raft and raft -> storage */
    MESSAGE_ADMIN,             /* `admin`; also gateway -> raft */
    MESSAGE_ADMIN_RESULT,      /* `admin`; also raft -> gateway */
    MESSAGE_MEMBERS,           /* `members`: for who may not know where the sender is */
    MESSAGE_PEER_LAST = 31,

    /* local: any <-> any */
    MESSAGE_HELLO = 32,
    /* raft -> storage */
    MESSAGE_OPEN,       /* no body: tell me what you hold */
    MESSAGE_FORMAT,     /* `format` */
    MESSAGE_WRITE,      /* `write` */
    MESSAGE_FETCH,      /* `fetch` */
    MESSAGE_READ_READY, /* `read`; also raft -> gateway */
    MESSAGE_CLOCK,      /* `clock` */
    /* storage -> raft */
    MESSAGE_OPENED,          /* `opened` */
    MESSAGE_WRITTEN,         /* `written` */
    MESSAGE_FETCHED,         /* `fetch` */
    MESSAGE_SNAPSHOT_STAGED, /* `snapshot`: chunk taken, or (last) all installed */
    /* gateway -> raft, storage -> raft (expiries, boot and seq 0) */
    MESSAGE_PROPOSE, /* `propose` */
    MESSAGE_READ,    /* `read`: everything up to read_id wants a read index */
    /* raft -> gateway */
    MESSAGE_PROPOSE_REFUSED, /* `propose`: not appended, and not sent on; safe to drop */
    MESSAGE_READ_FAILED,     /* `read` */
    MESSAGE_RAFT_STATUS,     /* `raft_status` */
    /* gateway -> storage */
    MESSAGE_QUERY, /* `batch`: requests with tokens */
    /* storage -> gateway */
    MESSAGE_ANSWER,       /* `batch`: answers with tokens */
    MESSAGE_RESULT,       /* `batch`: one answer a command of block `seq` */
    MESSAGE_SKIPPED,      /* `batch`: block(s) came out of order; resend after `seq` */
    MESSAGE_STORE_STATUS, /* `batch` without payload */
    /* gateway -> storage, for watches (past.h) */
    MESSAGE_SUBSCRIBE, /* `subscribe` */
    MESSAGE_HISTORY,   /* `batch`: questions about past changes, with tokens */
    /* storage -> gateway */
    MESSAGE_CHANGES, /* `batch`: a turn's changes, each with its revision as its token */
    MESSAGE_PAST,    /* `batch`: answers to HISTORY */
    MESSAGE_SETTLED, /* `batch`: what requests that waited for a lock came to, by number */
    MESSAGE_KIND_END
} message_kind_t;

typedef enum {
    ACTOR_NONE = 0,
    ACTOR_SUPERVISOR,
    ACTOR_STORAGE,
    ACTOR_RAFT,
    ACTOR_GATEWAY,
    ACTOR_END
} actor_t;

typedef enum {
    RAFT_FOLLOWER = 0,
    RAFT_CANDIDATE, /* also while it gathers pre-votes */
    RAFT_LEADER,
    RAFT_LEARNER /* not a voter in its own latest configuration */
} raft_role_t;

const char *message_kind_name(message_kind_t kind);
const char *actor_name(actor_t actor);
const char *raft_role_name(raft_role_t role); /* the contract's: leader, follower, … */

/* ---- bodies ---- */

/* PRE_VOTE, VOTE (dissertation 3.4, 9.6). In a PRE_VOTE, message.term is the term the candidate
 * would take. `transfer`: the leader asked for this election, so leases do not forbid it. */
typedef struct {
    uint64_t last_index, last_term;
    bool transfer;
} message_vote_t;

/* PRE_VOTE_RESULT (term: as asked when granted, else the voter's own), VOTE_RESULT. */
typedef struct {
    bool granted;
} message_vote_result_t;

/* APPEND (dissertation 3.5): entries follow (prev_index, prev_term). */
typedef struct {
    uint64_t prev_index, prev_term;
    uint64_t commit;
    uint64_t time_ms; /* the leader's cluster time now */
    entries_t entries;
} message_append_t;

/* APPEND_RESULT. Success: the follower's durable log matches up to `index`. Reject: `index` is the
 * refused prev_index, `hint_index`/`hint_term` where the leader should probe next. */
typedef struct {
    bool rejected;
    uint64_t index;
    uint64_t hint_index, hint_term;
} message_append_result_t;

/* HEARTBEAT: `commit` is capped at what the peer is known to hold. `round` numbers the leader's
 * heartbeat rounds for ReadIndex (dissertation 6.4) and is echoed. */
typedef struct {
    uint64_t commit;
    uint64_t round;
    uint64_t time_ms;
} message_heartbeat_t;

typedef struct {
    uint64_t round;
    bool watched; /* somebody waits here for what is committed */
} message_heartbeat_result_t;

/* PROPOSE, FORWARD, PROPOSE_REFUSED. (boot, seq) name the block of the proposing gateway; both are
 * 0 for blocks of storage. `code` is set in PROPOSE_REFUSED alone: DRAX_ENOTLEADER (no leader
 * known), DRAX_ENOSPC, DRAX_EAGAIN (too much uncommitted). */
typedef struct {
    uint64_t boot, seq;
    int code;
    payload_t *payload;
} message_propose_t;

/* READ, READ_INDEX, READ_INDEX_RESULT, READ_READY, READ_FAILED. A gateway numbers its reads;
 * `read_id` stands for that read and all before it. `boot` is the gateway's. */
typedef struct {
    uint64_t boot;
    uint64_t read_id;
    uint64_t index; /* RESULT and READY: safe once this index is applied */
    int code;       /* FAILED */
    bool held;      /* READ: answers wait in the gateway, so it is to hear READY, not storage */
} message_read_t;

/* SNAPSHOT_*: pulled chunk by chunk. `session` names one LevelDB snapshot at the sender (0: begin a
 * new one), `chunk` counts from 0. The meta fields are set in every chunk. */
typedef struct {
    uint64_t peer; /* local hops: the node at the other end */
    uint64_t session;
    uint64_t chunk;
    bool last;
    int code;                      /* not 0: the session ended with this error; begin again */
    uint64_t index, snapshot_term; /* what the snapshot includes */
    uint64_t time_ms;              /* cluster time in it */
    config_t config;               /* membership at `index` */
    payload_t *payload;
} message_snapshot_t;

typedef enum {
    ADMIN_ADD = 1,  /* id (0: choose one), addr, raft_addr: in as a learner */
    ADMIN_REMOVE,   /* id */
    ADMIN_PROMOTE,  /* id */
    ADMIN_TRANSFER, /* id, or 0: the most up-to-date voter */
    ADMIN_MOVE      /* id, addr, raft_addr: of the node that sends it; has no result */
} admin_op_t;

/* ADMIN, ADMIN_RESULT. `token` names the request at its gateway (echoed), `origin` the node that it
 * came from. */
typedef struct {
    uint64_t token;
    admin_op_t op;
    uint64_t id;
    char addr[LIMIT_ADDR_BYTES];
    char raft_addr[LIMIT_ADDR_BYTES];
    int code; /* result: 0 or a DRAX_E… */
    uint64_t leader;
    config_t config;
} message_admin_t;

/* MEMBERS: the sender's latest membership. It says where to connect to, nothing more. */
typedef struct {
    config_t config;
} message_members_t;

typedef struct {
    actor_t actor;
    bool reply; /* an answer to a HELLO; not answered again */
} message_hello_t;

/* FORMAT: who this node is. `hint`: the members it was told of when it joined (count 0: it founds
 * the cluster), where it looks for its peers until its log names them. */
typedef struct {
    uint64_t cluster, node;
    config_t hint;
} message_format_t;

/* OPENED: all that raft needs to (re)start. */
typedef struct {
    bool formatted; /* false: the home is empty, all else 0 */
    uint64_t cluster, node;
    uint64_t term, vote;  /* hard state; vote 0 = none */
    uint64_t first_index; /* of the journal; last_index + 1 when it is empty */
    uint64_t last_index;
    uint64_t commit;  /* known to be committed: what is applied, or more; not above last_index */
    uint64_t time_ms; /* cluster time of the last entry or snapshot */
    bool no_space;
    uint64_t gateway_boot; /* last boot of this node's gateway seen in the state */
    config_t hint;         /* as FORMAT gave it */
    size_t run_count;      /* runs[0].index is first_index - 1 (0 when never compacted) */
    term_run_t *runs;
    size_t config_count; /* oldest first; configs[0] is that of the applied state */
    config_t *configs;
} message_opened_t;

/* An acknowledgement: this node's log is as that of the leader of `term`, up to `index`. */
typedef struct {
    uint64_t to;   /* the leader; 0: none */
    uint64_t boot; /* of the core that says so */
    uint64_t term;
    uint64_t index;
} message_ack_t;

/* WRITE: make durable, in this order: hard state, entries. entries[0].index <= last_index means:
 * truncate from there first. Then apply up to min(commit, durable): a leader's `commit` may be
 * ahead of what is durable here. */
typedef struct {
    uint64_t seq; /* counts from 1 after each OPEN; 0: tells `commit` alone, and is not answered */
    bool has_hard_state;
    uint64_t term, vote;
    uint64_t commit;
    uint64_t time_ms;
    bool leader;
    message_ack_t ack; /* to be sent as soon as this is durable */
    entries_t entries;
} message_write_t;

/* WRITTEN: everything up to `seq` is durable, and `ack` was sent. Also sent, with the last seq
 * again, when first_index or no_space changed. */
typedef struct {
    uint64_t seq;
    uint64_t first_index;
    uint64_t applied;
    bool no_space;
    message_ack_t ack; /* to nobody: none left since the last WRITTEN */
} message_written_t;

/* FETCH: entries [from, …] up to `max_bytes` (at least one). FETCHED: `code` DRAX_ECOMPACTED when
 * `from` is before the journal's first index. */
typedef struct {
    uint64_t peer;
    uint64_t from;
    uint64_t max_bytes;
    int code;
    entries_t entries;
} message_fetch_t;

typedef struct {
    uint64_t time_ms; /* cluster time now */
    bool leader;
    uint64_t term;
} message_clock_t;

typedef struct {
    uint64_t cluster, node;
    raft_role_t role;
    uint64_t leader; /* 0: unknown */
    uint64_t term, commit;
    bool no_space;
    uint64_t gateway_boot; /* a new gateway must take a boot above this */
    uint64_t time_ms;
    config_t config;
} message_raft_status_t;

/* SUBSCRIBE: from now on CHANGES, or no more. The first one tells, without changes, where storage
 * is. To raft: whether the gateway waits for what is committed. */
typedef struct {
    bool on;
} message_subscribe_t;

/* QUERY, HISTORY, ANSWER, RESULT, SKIPPED, STORE_STATUS, CHANGES, PAST. `payload` is a batch
 * (block.h). */
typedef struct {
    uint64_t read_id; /* QUERY: not 0: wait for READ_READY of this id or a later one */
    uint64_t boot;    /* RESULT: the gateway's; SKIPPED: the greatest so far */
    /* QUERY: not 0: linearizable, and to be answered at once. ANSWER: as its query, and if not 0,
     * to be held until READ_READY of this id or a later one names an index that is not above
     * `applied`. RESULT: the block; SKIPPED: the last block that counted; CHANGES: the revision
     * they follow: all changes after it up to `revision` are in them; STORE_STATUS: the first
     * revision of which history tells. */
    uint64_t seq;
    uint64_t revision; /* from storage, always */
    uint64_t applied;  /* likewise. QUERY: not 0: wait until this is applied */
    uint64_t digest;   /* of the state at `applied` */
    bool no_space;
    payload_t *payload;
} message_batch_t;

typedef struct message {
    message_kind_t kind;
    uint64_t from_boot, to_boot; /* local: see above. peer: the sender's boot, and 0 */
    actor_t actor;               /* local: the sender */
    uint64_t cluster;            /* peer messages only, these four */
    uint64_t from, to;
    uint64_t term;
    union {
        message_vote_t vote;
        message_vote_result_t vote_result;
        message_append_t append;
        message_append_result_t append_result;
        message_heartbeat_t heartbeat;
        message_heartbeat_result_t heartbeat_result;
        message_propose_t propose;
        message_read_t read;
        message_snapshot_t snapshot;
        message_admin_t admin;
        message_members_t members;
        message_hello_t hello;
        message_format_t format;
        message_opened_t opened;
        message_write_t write;
        message_written_t written;
        message_fetch_t fetch;
        message_clock_t clock;
        message_raft_status_t raft_status;
        message_batch_t batch;
        message_subscribe_t subscribe;
    };
} message_t;

/* Frees what the message owns (payloads, entries, arrays) and zeroes it, as far as its kind
 * reaches: a message begins zeroed, and keeps its kind. */
void message_clear(message_t *self);
/* Bytes of a message of this kind, from its beginning; what lies behind them is never used. Most
 * are far smaller than the largest, which hold a membership. */
size_t message_bytes(message_kind_t kind);

static inline bool message_is_peer(message_kind_t kind) {
    return kind > MESSAGE_NONE && kind < MESSAGE_PEER_LAST;
}

#endif
