/* sim.h: a cluster of raft cores in one process, with a simulated network and disk.
 *
 * Owns: the nodes, what each has durably, what is written and not yet durable, the messages under
 * way, and the record of everything that was ever committed. Must not know: who drives it (a
 * scenario or the random test).
 *
 * After every event the safety properties are checked (dissertation 3.2): election safety, log
 * matching, leader completeness, state-machine safety; that only what a majority holds durably is
 * committed; that no message speaks of a term, vote or entry that is not durable; that a read index
 * covers what was committed when the read came. A violation is reported through `fail`, which ends
 * the program.
 */
#ifndef DRAX_TESTS_RAFT_SIM_H
#define DRAX_TESTS_RAFT_SIM_H

#include "actors/raft/raft.h"
#include "broker/error.h"

#define SIM_NODES 12u
#define SIM_READS 4096u
#define SIM_CLUSTER 77u

typedef struct sim_write {
    uint64_t seq;
    bool hard;
    uint64_t term, vote;
    uint64_t commit; /* what storage may apply once it has come to this write */
    message_ack_t ack;
    entries_t entries;
} sim_write_t;

typedef struct sim_node {
    uint64_t id;
    raft_t *core; /* NULL: crashed, or never started */
    uint64_t boot;
    /* durable */
    bool formatted;
    uint64_t term, vote;
    uint64_t first, base_term, base_time;
    config_t base_config; /* in force at first - 1; index 0: none */
    entries_t log;        /* first .. */
    uint64_t flushed;     /* what a restart knows to be applied */
    bool no_space;
    uint64_t skew_ms; /* its clock is ahead of the others' */
    /* volatile */
    sim_write_t *writes;
    size_t write_count, write_capacity;
    bool hold;          /* the disk takes writes and does not finish them */
    uint64_t commit;    /* as the core said last */
    uint64_t may_apply; /* as storage knows it */
    uint64_t applied;
    uint64_t pull_from; /* a snapshot is to be pulled from this node */
    raft_fetch_t fetches[SIM_NODES];
    size_t fetch_count;
    uint64_t led_term; /* the last term in which it was seen to lead */
    uint64_t read_next, read_done;
    uint64_t read_index; /* the greatest a read was given */
    uint64_t read_needs[SIM_READS];
} sim_node_t;

typedef struct sim {
    sim_node_t nodes[SIM_NODES + 1]; /* by id, from 1 */
    uint64_t seed;
    uint64_t now_ms;
    uint64_t cache_bytes;
    bool thrifty;
    message_t *net;
    size_t net_count, net_capacity;
    bool cut[SIM_NODES + 1][SIM_NODES + 1];
    /* what was committed: term by index */
    uint64_t *history;
    uint64_t history_last;
    size_t history_capacity;
    struct prefix *prefixes; /* (index, term): hash of the log up to there */
    size_t prefix_count, prefix_capacity;
    uint64_t leaders[4096];                         /* by term */
    void (*trace)(void *context, const char *line); /* may be NULL */
    void *trace_context;
    void (*fail)(void *context, const char *line);
} sim_t;

void sim_init(sim_t *self, uint64_t seed);
void sim_clear(sim_t *self);

/* Formats nodes 1 .. count as voters of a cluster whose log is its configuration, and starts them.
 */
void sim_cluster(sim_t *self, unsigned count);
/* An empty node: the first of a new cluster, or one that waits to be joined. */
void sim_bootstrap(sim_t *self, uint64_t id);
void sim_join(sim_t *self, uint64_t id);
/* Loses what is not durable; `survivors` of the unfinished writes reached the disk after all. */
void sim_crash(sim_t *self, uint64_t id, size_t survivors);
void sim_restart(sim_t *self, uint64_t id);

/* Takes and carries out the core's ready, then checks. To be called after every event. */
void sim_process(sim_t *self, sim_node_t *node);
void sim_tick(sim_t *self, sim_node_t *node);
int sim_propose(sim_t *self, sim_node_t *node, const char *text);
int sim_read(sim_t *self, sim_node_t *node);
void sim_written(sim_t *self, sim_node_t *node, size_t count);
void sim_fetched(sim_t *self, sim_node_t *node);       /* answers the oldest fetch */
void sim_snapshot_pull(sim_t *self, sim_node_t *node); /* the whole pull and install, at once */
void sim_compact(sim_t *self, sim_node_t *node, uint64_t index);
void sim_deliver(sim_t *self, size_t at);
void sim_lose(sim_t *self, size_t at);
void sim_duplicate(sim_t *self, size_t at);
/* Delivers and writes everything until nothing is left to do. False: it does not end. */
bool sim_settle(sim_t *self);
void sim_run(sim_t *self, uint64_t duration_ms, uint64_t step_ms);

sim_node_t *sim_node(sim_t *self, uint64_t id); /* NULL unless it runs */
sim_node_t *sim_leader(sim_t *self);            /* the leader of the highest term; NULL: none */
uint64_t sim_durable_last(const sim_node_t *node);
void sim_message_text(const message_t *message, char *out, size_t size);
void sim_status_text(const sim_node_t *node, char *out, size_t size);
void sim_config_text(const config_t *config, char *out, size_t size);

#endif
