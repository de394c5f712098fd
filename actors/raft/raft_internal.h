/* raft_internal.h: the core's state, and what its files offer each other.
 *
 * raft.c        lifecycle, ticks, what storage tells, raft_ready
 * step.c        checks on every peer message, terms, dispatch
 * election.c    pre-vote, vote, becoming follower, candidate, leader
 * append.c      the follower's side of replication
 * replication.c the leader's side: what to send to whom, and their answers
 * commit.c      counting among the voters; the bytes that wait to be committed
 * progress.c    one peer as the leader sees it
 * thrifty.c     whom the leader tells later
 * read_index.c  linearizable reads
 * membership.c  one change at a time, automatic promotion
 * transfer.c    leadership transfer
 * log.c         term runs, the entries in memory, memberships by index
 * outbox.c      messages that may leave, and those that wait for a write
 *
 * Invariants (raft_check asserts them at every ready)
 *  1. first - 1 <= commit <= last; durable <= offered <= last.
 *  2. An entry leaves memory only when it is durable here, so what is not in memory can be fetched.
 *  3. A term or vote is durable before any vote, grant or append result of that term leaves.
 *  4. In one term, everything up to `verified` equals the leader's log; a follower's commit never
 *     passes it.
 */
#ifndef DRAX_RAFT_INTERNAL_H
#define DRAX_RAFT_INTERNAL_H

#include "actors/raft/raft.h"
#include "broker/error.h"

/* Terms, indexes and times beyond this are refused, so that arithmetic on them cannot wrap. */
#define RAFT_NUMBER_MAX (UINT64_C(1) << 62)
/* Members without this node, and those that are leaving. */
#define RAFT_PROGRESS_MAX (LIMIT_MEMBERS + 2u)
/* A snapshot offer that repeats itself is passed on again after this. */
#define RAFT_SNAPSHOT_RETRY_MS 1000u
/* After its leader's connection broke, a follower waits this long, randomly, before it stands. */
#define RAFT_PEER_DOWN_MIN_MS 10u
#define RAFT_PEER_DOWN_MAX_MS 60u
/* Heartbeat rounds in which a learner must have held the commit index before it is promoted. */
#define RAFT_PROMOTE_ROUNDS 2u

/* ---- log.c ---- */

typedef struct raft_log {
    uint64_t first, last; /* what storage holds or is about to; empty: last == first - 1 */
    uint64_t offered;     /* handed out in a ready's write */
    uint64_t durable;     /* written here */
    uint64_t last_time_ms;
    term_run_t *runs; /* runs[0] is (first - 1, its term) */
    size_t run_count, run_capacity;
    entry_t *items; /* in memory: cached .. last, from items[head] on */
    size_t head, count, capacity;
    uint64_t cached;
    uint64_t bytes, bytes_max;
    config_t *configs; /* the last committed one and all later ones, oldest first */
    size_t config_count, config_capacity;
} raft_log_t;

int log_open(raft_log_t *self, const raft_boot_t *boot, uint64_t bytes_max);
void log_close(raft_log_t *self);
/* Term of `index` in first - 1 .. last; 0 outside. */
uint64_t log_term(const raft_log_t *self, uint64_t index);
/* The greatest index <= `index` whose term is <= `term`, not below first - 1. */
uint64_t log_find_term(const raft_log_t *self, uint64_t index, uint64_t term);
/* Room for `count` entries, `configs` of them memberships, so that log_append cannot fail. */
int log_reserve(raft_log_t *self, size_t count, size_t configs);
void log_append(raft_log_t *self, entry_t *entry); /* takes it over; room must be reserved */
void log_truncate(raft_log_t *self, uint64_t from);
/* Copies entries from `from` on, which must be in memory: at least one, then up to the bounds. */
int log_slice(const raft_log_t *self, uint64_t from, uint64_t max_bytes, size_t max_count,
              entries_t *out);
void log_evict(raft_log_t *self);
void log_compact(raft_log_t *self, uint64_t first);
const config_t *log_config(const raft_log_t *self); /* NULL: none */
void log_configs_prune(raft_log_t *self, uint64_t commit);

/* ---- progress.c ---- */

typedef enum { PROGRESS_PROBE, PROGRESS_REPLICATE, PROGRESS_SNAPSHOT } progress_state_t;

typedef struct inflight {
    uint64_t last, bytes;
} inflight_t;

typedef struct progress {
    uint64_t id;
    uint64_t boot;    /* of the peer, 0: not heard of yet */
    uint64_t leaving; /* not 0: removed by the configuration of this index */
    progress_state_t state;
    uint64_t match, next;
    uint64_t sent;    /* probe: the last index that the probe carried */
    bool probe_sent;  /* probe: one is under way */
    bool probe_empty; /* probe: carry no entries, something may have been lost */
    bool fetching;
    uint64_t fetch_retry_ms; /* not before */
    uint64_t offered_ms;     /* the last snapshot offer; 0: none */
    uint64_t probed_ms;      /* the last probe */
    uint64_t round;          /* last heartbeat round acknowledged */
    uint64_t heard_ms;
    uint64_t progress_ms; /* when what is outstanding last moved */
    uint64_t commit_sent, commit_wanted;
    bool watched;           /* it is to hear of every commit at once */
    unsigned place;         /* in the last race; 0: it has not arrived */
    uint64_t due_ms;        /* what it lacks may wait until then; 0: nothing waits */
    uint64_t caught_target; /* the commit index when the last heartbeat left */
    unsigned caught_rounds;
    inflight_t inflight[LIMIT_INFLIGHT_APPENDS];
    size_t inflight_head, inflight_count;
    uint64_t inflight_bytes;
} progress_t;

void progress_init(progress_t *self, uint64_t id, uint64_t next, uint64_t now_ms);
void progress_probe(progress_t *self, bool empty);
void progress_snapshot(progress_t *self);
bool progress_full(const progress_t *self);
void progress_sent(progress_t *self, uint64_t last, uint64_t bytes, uint64_t now_ms);
/* The peer holds everything up to `index`. */
void progress_acknowledged(progress_t *self, uint64_t index, uint64_t now_ms);

/* ---- the core ---- */

typedef struct pending_write {
    uint64_t seq, last, since_ms;
} pending_write_t;

typedef struct held_message {
    uint64_t seq;
    message_t message;
} held_message_t;

typedef struct messages {
    message_t *items;
    size_t count, capacity;
} messages_t;

typedef struct pending_read {
    uint64_t from; /* 0: this node */
    uint64_t boot, read_id;
    uint64_t round; /* 0: no heartbeat round yet */
    uint64_t index;
} pending_read_t;

typedef struct read_states {
    raft_read_state_t *items;
    size_t count, capacity;
} read_states_t;

/* Bytes proposed in this term and not committed, in marks of about a mebibyte: any two that follow
 * each other cover at least one. Beyond LIMIT_UNCOMMITTED_BYTES come one entry and memberships. */
#define BACKLOG_MARKS (2u * ((LIMIT_UNCOMMITTED_BYTES + LIMIT_ENTRY_BYTES) >> 20) + 8u)
typedef struct backlog {
    uint64_t total; /* all bytes appended in this term */
    struct {
        uint64_t index, total;
    } marks[BACKLOG_MARKS];
    size_t head, count;
    uint64_t committed;
} backlog_t;

/* What thrifty.c remembers. */
typedef struct thrifty {
    uint64_t awaited;  /* an entry that too few had acknowledged when last looked at; 0: none */
    uint64_t hedge_ms; /* when that is too long */
    uint64_t paused_ms;
    uint64_t race;    /* the entry of the last race; 0: none yet */
    uint64_t race_ms; /* when the next one is due */
    unsigned arrived;
} thrifty_t;

typedef struct raft_seen {
    raft_role_t role;
    uint64_t term, leader, config_index;
    bool any;
} raft_seen_t;

struct raft {
    raft_options_t options;
    uint64_t random;
    uint64_t now_ms;
    uint64_t time_base_ms, time_at_ms; /* cluster time was the first at the second */

    uint64_t term, vote;
    raft_role_t role; /* follower, candidate or leader; a learner is a follower here */
    uint64_t leader;
    uint64_t commit;
    raft_log_t log;

    /* writes */
    bool hard_dirty;
    uint64_t hard_seq; /* the last write that carried the hard state */
    uint64_t write_seq, written_seq;
    pending_write_t *writes;
    size_t write_count, write_capacity;
    bool no_space;

    /* elections */
    bool pre_vote;        /* a candidate that gathers pre-votes */
    bool transfer_vote;   /* a candidate that the old leader asked to stand */
    uint64_t stood_ms;    /* when the candidacy began */
    uint64_t deadline_ms; /* election timeout */
    uint64_t contact_ms;  /* when the leader was last heard of */
    struct {
        uint64_t id;
        bool granted;
    } votes[LIMIT_MEMBERS];
    size_t vote_count;

    /* follower */
    uint64_t verified;      /* equal to the leader's log up to here */
    uint64_t leader_commit; /* the greatest commit index the leader spoke of */
    bool ack_due;
    bool watched; /* the leader is to tell of every commit at once */
    uint64_t acked;
    uint64_t snapshot_given_ms;
    bool snapshot_given;

    /* leader */
    uint64_t term_start; /* index of the own-term no-op */
    progress_t peers[RAFT_PROGRESS_MAX];
    size_t peer_count;
    uint64_t heartbeat_due_ms;
    uint64_t round;
    pending_read_t *reads;
    size_t read_count, read_capacity;
    uint64_t transfer_to; /* 0: none */
    uint64_t transfer_deadline_ms;
    bool transfer_sent;
    backlog_t backlog;
    thrifty_t thrifty;

    /* gathered for the next ready */
    messages_t outbox;
    held_message_t *held;
    size_t held_count, held_capacity;
    read_states_t reads_safe, reads_failed;
    uint64_t snapshot_from;
    uint64_t commit_reported; /* the last ready's commit_durable */
    raft_seen_t seen;
    raft_fetch_t fetches[RAFT_PROGRESS_MAX];
    size_t fetch_count;

    /* handed out */
    raft_ready_t ready;
    messages_t ready_messages;
    entries_t ready_entries;
    read_states_t ready_reads, ready_failed;
    raft_fetch_t ready_fetches[RAFT_PROGRESS_MAX];
};

/* raft.c */
uint64_t raft_random(raft_t *self, uint64_t from, uint64_t to); /* from <= x < to */
bool raft_voter(const raft_t *self, uint64_t id);
bool raft_disk_stalled(const raft_t *self);
bool raft_hard_durable(const raft_t *self);
void raft_time_learn(raft_t *self, uint64_t time_ms);
void raft_truncate(raft_t *self, uint64_t from);
void raft_commit_to(raft_t *self, uint64_t index);
/* Grows an array of `size`-byte items so that it holds `count`. DRAX_ENOMEM leaves it as it was. */
int array_reserve(void **items, size_t *capacity, size_t count, size_t size);

/* election.c */
void election_timer_reset(raft_t *self);
void election_tick(raft_t *self);
/* Stands for pre-election, or for election where that needs nobody else or the leader asked. */
void election_stand(raft_t *self, bool transfer);
void election_written(raft_t *self);
bool election_eligible(const raft_t *self);
void become_follower(raft_t *self, uint64_t term, uint64_t leader);
bool election_log_fresh(const raft_t *self, const message_vote_t *vote);
void handle_pre_vote(raft_t *self, const message_t *message);
void handle_pre_vote_result(raft_t *self, const message_t *message);
void handle_vote(raft_t *self, const message_t *message);
void handle_vote_result(raft_t *self, const message_t *message);
bool election_in_lease(const raft_t *self);

/* append.c */
void leader_heard(raft_t *self, uint64_t from);
int handle_append(raft_t *self, message_t *message);
void handle_heartbeat(raft_t *self, const message_t *message);
void handle_snapshot_offer(raft_t *self, const message_t *message);
void follower_commit_learn(raft_t *self, uint64_t leader_commit);
/* What may be told to the leader once everything up to `durable` is; to nobody, if there is nothing
 * to tell. */
message_ack_t follower_ack(const raft_t *self, uint64_t durable);
void follower_flush(raft_t *self);

/* replication.c */
progress_t *peer_find(raft_t *self, uint64_t id);
/* It is to hear that the commit index has come so far, as soon as it has. */
void peer_commit_want(progress_t *peer, uint64_t index);
/* Whether more is committed of what was sent to it than it was told. */
bool peer_lacks_commit(const raft_t *self, const progress_t *peer);
const progress_t *peer_get(const raft_t *self, uint64_t id);
void peers_sync(raft_t *self); /* as the configuration in force says */
/* Appends an entry of this term; takes over `config`, references `payload`. Nothing kept on error.
 */
int leader_append(raft_t *self, entry_kind_t kind, payload_t *payload, config_t *config);
int leader_refuses(const raft_t *self, const payload_t *payload);
void leader_tick(raft_t *self);
void leader_flush(raft_t *self);
void heartbeats_send(raft_t *self);
void handle_append_result(raft_t *self, progress_t *peer, const message_t *message);
void handle_heartbeat_result(raft_t *self, progress_t *peer, const message_t *message);
void handle_forward(raft_t *self, progress_t *peer, const message_t *message);

/* commit.c */
void leader_commit_advance(raft_t *self);
/* What is committed once this node has durably what it was given to write. */
uint64_t commit_reportable(const raft_t *self);
/* The value that a majority of the voters has reached; `own` is this node's. */
uint64_t quorum_value(const raft_t *self, uint64_t own, uint64_t (*value)(const progress_t *));
void backlog_reset(backlog_t *self);
void backlog_add(backlog_t *self, uint64_t index, uint64_t bytes);
void backlog_commit(backlog_t *self, uint64_t index);
uint64_t backlog_bytes(const backlog_t *self);

/* thrifty.c */
void thrifty_turn(raft_t *self); /* before what it says of peers is asked for, once a ready */
void thrifty_acknowledged(raft_t *self, progress_t *peer);
/* Whether nothing need be sent now: the peer lacks nothing, or what it lacks, entries or the commit
 * index, is for later. */
bool thrifty_waits(raft_t *self, progress_t *peer);
/* When something that waits is due; UINT64_MAX: nothing waits. */
uint64_t thrifty_deadline_ms(const raft_t *self);

/* read_index.c */
void reads_flush(raft_t *self);   /* gives waiting reads a round */
void reads_release(raft_t *self); /* answers those whose round a majority acknowledged */
void reads_fail(raft_t *self);
void handle_read_index(raft_t *self, const message_t *message);
void handle_read_index_result(raft_t *self, const message_t *message);

/* membership.c */
void membership_tick(raft_t *self);
void membership_flush(raft_t *self);
bool config_valid(const config_t *config, uint64_t index);

/* transfer.c */
void transfer_tick(raft_t *self);
void transfer_flush(raft_t *self);
/* The active voter that holds most of the log; NULL when there is none. */
progress_t *transfer_candidate(raft_t *self);
void handle_timeout_now(raft_t *self, const message_t *message);

/* outbox.c: a message lost for want of memory is a message lost on the network. */
message_t message_make(const raft_t *self, message_kind_t kind, uint64_t to);
void message_send(raft_t *self, message_t *message); /* takes over what it owns */
void message_hold(raft_t *self, message_t *message); /* until the hard state is durable */
void held_release(raft_t *self);
void held_drop(raft_t *self);
void messages_clear(messages_t *self);
int read_states_push(read_states_t *self, uint64_t boot, uint64_t read_id, uint64_t index);

#endif
