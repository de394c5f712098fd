/* checks_internal.h: what the checks remember, shared by their files:
 *
 *   checks.c        life, the hooks, who calls whom
 *   check_log.c     raft's logs: one leader a term, log matching, commitment
 *   check_disk.c    what is durable where, and that nobody speaks of more
 *   check_state.c   what is applied: equal everywhere, equal to the reference
 *   check_reads.c   read indexes
 *
 * Terms used here
 *   view     a node's log as its raft core has it: what storage holds or was told to write
 *   durable  what has been synced on a slot's disk, seen from outside the journal
 *   chosen   what was committed, by anybody, first: from then on it must be so everywhere
 */
#ifndef DRAX_TESTS_SIM_CHECKS_INTERNAL_H
#define DRAX_TESTS_SIM_CHECKS_INTERNAL_H

#include "actors/raft/raft_internal.h"
#include "actors/raft_actor_internal.h"
#include "actors/storage_internal.h"
#include "tests/sim/array.h"
#include "tests/sim/checks.h"
#include "tests/sim/replay.h"

#define U(x) ((unsigned long long) (x))

/* A log from `base` on (the index before its first entry, whose term is known) to `last`; terms are
 * by index. */
typedef struct log_terms {
    uint64_t base, last;
    uint64_t *terms;
    size_t capacity;
} log_terms_t;

/* 0: outside. */
uint64_t log_terms_at(const log_terms_t *self, uint64_t index);
void log_terms_set(log_terms_t *self, uint64_t index, uint64_t term);

/* An entry that some node has had, and the log up to it as a hash. */
typedef struct known_entry {
    entry_t entry;
    uint64_t hash;
} known_entry_t;

/* READ of a gateway: what was chosen when it came. */
typedef struct asked_read {
    uint64_t read_id, chosen;
} asked_read_t;

#define READS_REMEMBERED 256u

typedef struct slot_checks {
    uint64_t node; /* its id; 0: not known yet */
    /* raft */
    log_terms_t view;
    uint64_t commit;   /* of the present core */
    uint64_t core;     /* which core that is: life of the actor and cores within it */
    uint64_t led_term; /* the term it leads in, 0 none */
    uint64_t promised; /* committed once it is durable here: others make up a majority with it */
    /* disk */
    log_terms_t durable;
    uint64_t durable_term, durable_vote;
    uint64_t *synced; /* by a segment's sequence: up to which offset it has been synced */
    size_t synced_count, synced_capacity;
    uint64_t synced_before; /* all segments before this one are synced, and complete */
    uint64_t write_seq;     /* of the last WRITE to the present storage */
    /* Entries from here on may be gone after a crash: writes that replace them are under way.
     * UINT64_MAX: none. */
    uint64_t replaced_from;
    /* state */
    uint64_t applied;   /* of the present life */
    bool settled;       /* the present life has what the one before had applied, or has given up */
    uint64_t lapses;    /* lives that gave up and could not know what had been shown */
    bool forgetful;     /* what was shown may be noted nowhere */
    uint64_t settle_ms; /* when it will, by its clock; 0: not said yet */
    /* reads */
    uint64_t asked_boot;
    uint64_t ready_id; /* reads up to this one were safe already: asking again changes nothing */
    asked_read_t asked[READS_REMEMBERED];
    size_t asked_first, asked_count;
} slot_checks_t;

/* What a node had on a disk that was taken away: it was durable when it was acknowledged. */
typedef struct ghost {
    uint64_t node;
    log_terms_t durable;
} ghost_t;

struct checks {
    world_t *world;
    replay_t *replay;
    slot_checks_t slots[WORLD_SLOTS];
    ghost_t *ghosts;
    size_t ghost_count, ghost_capacity;
    /* log matching: every entry seen, by (index, term) */
    known_entry_t *known;
    size_t known_count, known_slots;
    /* by term: the node that leads in it */
    uint64_t *leaders;
    size_t leader_capacity, leader_count;
    log_terms_t chosen;
    /* by applied index: digest of the state there; 0 none yet */
    uint64_t *digests;
    size_t digest_capacity, digest_count;
};

/* ---- check_log.c ---- */
void check_opened(checks_t *self, unsigned slot, const message_opened_t *opened);
void check_write(checks_t *self, unsigned slot, const message_write_t *write);
/* Storage has applied up to `applied`: of its own accord that may be what was promised to it. */
void check_promise_kept(checks_t *self, unsigned slot, uint64_t applied);
void check_raft_turn(checks_t *self, unsigned slot);
void check_log_clear(checks_t *self);

/* ---- check_disk.c ---- */
void check_disk_started(checks_t *self, unsigned slot);
void check_disk_write(checks_t *self, unsigned slot, const message_write_t *write);
void check_disk_snapshot(checks_t *self, unsigned slot); /* one is about to be installed */
void check_disk_synced(checks_t *self, unsigned slot, const char *path);
void check_disk_turn(checks_t *self, unsigned slot);
void check_peer_message(checks_t *self, unsigned slot, const message_t *message);
/* Has, or had, `node` everything up to (index, term) on its disk? */
bool check_disk_holds(const checks_t *self, uint64_t node, uint64_t index, uint64_t term);
void check_disk_wiped(checks_t *self, unsigned slot);
void check_disk_clear(checks_t *self);

/* ---- check_state.c ---- */
void check_state_turn(checks_t *self, unsigned slot);
void check_state_finish(checks_t *self, unsigned slot);

/* ---- check_reads.c ---- */
void check_read_asked(checks_t *self, unsigned slot, const message_read_t *read);
void check_read_ready(checks_t *self, unsigned slot, const message_read_t *read);

#endif
