/* raft.h: the consensus core, a pure and deterministic state machine.
 *
 * Owns: term, vote, role, the in-memory tail of the log, each peer's progress, pending reads and
 * the membership. Must not know: sockets, clocks, disks, random(), msgpack, what a block contains.
 * Source: Ongaro, "Consensus: Bridging Theory and Practice" (the dissertation); sections are cited
 * where a rule is implemented.
 *
 * The integrator's contract
 *  1. One thread calls. Feed any number of events (the functions below), then call raft_ready() and
 *     carry out what it holds, in any order, then go on. Nothing in a ready may be dropped except
 *     `messages`, which the network may lose anyway.
 *  2. `write` goes to storage as a WRITE with its seq; raft_written(seq) is called once it and all
 *     before it are durable. What depends on a write (votes, granted votes, append results, the
 *     leader's own match) is held inside the core until then: `messages` may always leave at once.
 *     A leader's `commit_durable` may be acted upon by storage itself, once it has come so far.
 *  3. Time is what raft_tick says, in milliseconds of a monotonic clock: tick at the start of every
 *     turn, before its messages, or what a message sets in motion is dated too early. Randomness is
 *     drawn from the seed in the options. The same events give the same readies.
 *  4. A new core starts from what storage has durably (raft_boot_t): a restart of storage or of the
 *     raft actor both mean a new core. Unwritten state is forgotten, which is what a crash does.
 *  5. Messages of another cluster, to another node, or of an unknown sender are dropped; but
 * leaders of the cluster, and candidates whose log is ahead, are heard even when unknown, as this
 * node's membership may be old (step.c). So an answer may be for a node that raft_config does not
 * name.
 *  6. A snapshot must not replace a log that holds its (index, term) already, or what was applied.
 * When one is installed, WRITEs still under way are forgotten, and the core is made anew (4).
 *
 * Cluster time: entries are stamped with it by the leader. It advances with the leader's monotonic
 * clock, starts from the greatest time known (log, leader's messages plus the time since), and
 * never goes back.
 */
#ifndef DRAX_RAFT_H
#define DRAX_RAFT_H

#include "broker/limits.h"
#include "broker/message.h"

typedef struct raft raft_t;

typedef struct raft_options {
    uint64_t cluster, id;
    uint64_t boot; /* stamped into messages as from_boot */
    uint64_t seed;
    uint32_t election_timeout_ms; /* 0: RAFT_ELECTION_TIMEOUT_MS; randomized to 1..2 times this */
    uint32_t heartbeat_ms;        /* 0: RAFT_HEARTBEAT_MS */
    uint64_t cache_bytes;         /* 0: LIMIT_ENTRY_CACHE_BYTES */
    bool thrifty;                 /* followers that no majority needs are told later */
} raft_options_t;

/* What storage holds durably (borrowed during raft_new). */
typedef struct raft_boot {
    uint64_t term, vote;
    uint64_t first_index, last_index;
    uint64_t commit; /* known to be committed */
    uint64_t time_ms;
    bool no_space;
    const term_run_t *runs; /* runs[0] is (first_index - 1, its term): the snapshot's end */
    size_t run_count;
    const config_t *configs; /* oldest first; may be empty */
    size_t config_count;
} raft_boot_t;

/* A new core as a follower, with no entries in memory: it fetches what it must send. `now_ms` is
 * the present. DRAX_ENOMEM; DRAX_EINVAL when the boot state contradicts itself. */
int raft_new(raft_t **out, const raft_options_t *options, const raft_boot_t *boot, uint64_t now_ms);
void raft_destroy(raft_t **self);

/* First node of a new cluster, on an empty log: entry 1 of term 1 is `config` (one voter, this
 * node), and the node leads once that is durable. DRAX_EINVAL when the log is not empty, or
 * a term is known in which this node did not vote for itself. */
int raft_bootstrap(raft_t *self, const config_t *config);

/* ---- events ---- */

void raft_tick(raft_t *self, uint64_t now_ms);

/* A peer message (message_is_peer, except ADMIN*, and SNAPSHOT_FETCH/CHUNK, which the actor
 * handles). Takes over what `message` owns and clears it. DRAX_ENOMEM: the message counts as lost.
 */
int raft_step(raft_t *self, message_t *message);

/* Appends a block when this node leads (the core takes its own reference to `payload`), else sends
 * it on to the leader as FORWARD. `boot` and `seq` travel with a forward. DRAX_ENOTLEADER: no
 * leader known; DRAX_ENOSPC; DRAX_EAGAIN: too much uncommitted, or a transfer is under way;
 * DRAX_ETOOLARGE: beyond LIMIT_ENTRY_BYTES; DRAX_ENOMEM. Nothing is kept after an error. */
int raft_propose(raft_t *self, uint64_t boot, uint64_t seq, payload_t *payload);

/* Wants a read index for all reads of gateway `boot` up to `read_id` (dissertation 6.4); the answer
 * comes in ready.reads, or in ready.reads_failed when leadership is lost first. A follower asks the
 * leader, once: the caller repeats itself when no answer comes. DRAX_ENOTLEADER: no leader known;
 * DRAX_EAGAIN: LIMIT_READS_PENDING wait already; DRAX_ENOMEM. */
int raft_read(raft_t *self, uint64_t boot, uint64_t read_id);

/* Storage made everything up to write `seq` durable. */
void raft_written(raft_t *self, uint64_t seq);

/* Storage's journal now begins at `first_index` (compaction). */
void raft_compacted(raft_t *self, uint64_t first_index);

/* Whether watches at this node wait for what is committed: a leader then tells it of every commit
 * at once, else with the entries that follow, or a little later. */
void raft_watched(raft_t *self, bool watched);

/* Storage has (or again has) no room for new proposals. */
void raft_space(raft_t *self, bool no_space);

/* The answer to ready.fetches[…]: entries for `peer` (taken over), or DRAX_ECOMPACTED. */
void raft_fetched(raft_t *self, uint64_t peer, int code, entries_t *entries);

/* The connection to `peer` broke or came up. A follower that loses its leader's connection stands
 * for pre-election within a few tens of milliseconds rather than after the whole timeout, and no
 * longer holds others off; safe, because a pre-vote needs a majority that lost it too. A leader
 * probes a peer that came up at once. */
void raft_peer_down(raft_t *self, uint64_t peer);
void raft_peer_up(raft_t *self, uint64_t peer);

/* Membership, one change at a time (dissertation 4.1), leader only. `*index` is the entry of the
 * change: it is done when raft_commit reaches it in the same term. DRAX_ENOTLEADER; DRAX_EPENDING
 * (a change, or the own-term no-op, is not committed yet); DRAX_ENOTFOUND; DRAX_EEXIST (the address
 * belongs to a live member); DRAX_EINVAL (the last voter, too many members, a learner that has not
 * caught up). Adding an id that is a member already with the same addresses gives 0 and that
 * config's index. Adding under the raft_addr of another member that has not been heard of for an
 * election timeout removes that one first: then DRAX_EPENDING is returned, and the caller asks
 * again. */
int raft_member_add(raft_t *self, uint64_t id, const char *addr, const char *raft_addr,
                    uint64_t *index);
int raft_member_remove(raft_t *self, uint64_t id, uint64_t *index);
int raft_member_promote(raft_t *self, uint64_t id, uint64_t *index);
/* The member has other addresses from now on; 0 also when they are those that it has. Errors as
 * above; DRAX_EEXIST: one of them belongs to another member. */
int raft_member_move(raft_t *self, uint64_t id, const char *addr, const char *raft_addr);

/* Leadership transfer (dissertation 3.10) to `id`, or to the most up-to-date active voter when 0.
 * Proposals are refused (DRAX_EAGAIN) until it succeeds or an election timeout passes.
 * DRAX_ENOTLEADER, DRAX_ENOTFOUND. */
int raft_transfer(raft_t *self, uint64_t id);

/* A leader that cannot go on (its storage is gone, its disk stalls) tells the most up-to-date
 * active voter to stand at once, without waiting until that one has everything: who lacks a
 * committed entry is not elected. Does nothing on others. */
void raft_abdicate(raft_t *self);

/* Learners are promoted by the leader itself once they have caught up and stayed so. */

/* ---- what to do ---- */

typedef struct raft_read_state {
    uint64_t boot, read_id;
    uint64_t index; /* safe once applied up to this */
} raft_read_state_t;

typedef struct raft_fetch {
    uint64_t peer;
    uint64_t from;
    uint64_t max_bytes;
} raft_fetch_t;

typedef struct raft_ready {
    message_t *messages; /* to peers (`to`), borrowed: encode or move them before the next event */
    size_t message_count;
    bool write; /* `write_seq`, hard state and `entries` are to be written */
    uint64_t write_seq;
    bool has_hard_state;
    uint64_t term, vote;
    entries_t
        *entries; /* borrowed, as above; the receiver may move them out (then zero the struct) */
    /* What may be told to the leader once the write is durable. The core tells it as well, when it
     * hears of it; whoever is first will do. */
    message_ack_t ack;
    bool commit_advanced; /* commit_durable has */
    /* Committed as soon as all writes up to this ready's are durable here; at least raft_commit. */
    uint64_t commit_durable;
    raft_read_state_t *reads;
    size_t read_count;
    raft_read_state_t *reads_failed;
    size_t read_failed_count;
    raft_fetch_t *fetches;
    size_t fetch_count;
    uint64_t snapshot_from; /* not 0: pull a snapshot from this peer, the leader (once per offer) */
    bool status_changed;    /* role, term, leader or configuration */
} raft_ready_t;

/* What has gathered since the last call; valid until the next call of any function here but the
 * accessors. Empty fields mean nothing to do. `entries` are LIMIT_WRITE_ENTRIES at most: when there
 * are more, raft_deadline_ms asks for the next ready at once. */
raft_ready_t *raft_ready(raft_t *self);

/* ---- accessors ---- */

raft_role_t raft_role(const raft_t *self);
uint64_t raft_term(const raft_t *self);
uint64_t raft_vote(const raft_t *self);
uint64_t raft_leader(const raft_t *self); /* 0: unknown */
uint64_t raft_commit(const raft_t *self);
uint64_t raft_last_index(const raft_t *self);
uint64_t raft_time_ms(const raft_t *self);       /* cluster time now, as far as this node knows */
const config_t *raft_config(const raft_t *self); /* the latest in the log, in force */
/* The last one that is known to be committed; the earliest there is when none is. */
const config_t *raft_config_committed(const raft_t *self);
/* The peer's match index at the leader; 0 when unknown. */
uint64_t raft_match(const raft_t *self, uint64_t peer);
/* May `peer` not know where this node is? So for a leader that has not heard of it for an election
 * timeout, and for every peer of a candidate. */
bool raft_peer_silent(const raft_t *self, uint64_t peer);
/* When the next tick is needed at the latest, in the clock of raft_tick. */
uint64_t raft_deadline_ms(const raft_t *self);

#endif
