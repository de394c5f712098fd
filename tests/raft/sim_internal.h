/* sim_internal.h: what the files of the simulation offer each other.
 *
 * sim.c        nodes, disks, network, and the driver's calls
 * sim_check.c  the properties that are checked after every event
 * sim_text.c   traces and texts
 */
#ifndef DRAX_TESTS_RAFT_SIM_INTERNAL_H
#define DRAX_TESTS_RAFT_SIM_INTERNAL_H

#include "tests/raft/sim.h"

#define U(x) ((unsigned long long) (x))

/* The log up to (index, term), as a hash; what log matching is checked with. */
struct prefix {
    uint64_t index, term, hash;
};

/* sim.c */
void *sim_grow(void *items, size_t *capacity, size_t count, size_t size);

/* sim_text.c */
void sim_say(sim_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_violated(sim_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* sim_check.c: term of `index` on disk, or as it will be when all writes are done; 0: not there. */
uint64_t sim_durable_term(const sim_node_t *node, uint64_t index);
uint64_t sim_view_term(const sim_node_t *node, uint64_t index);
void sim_history_push(sim_t *self, uint64_t term);
void sim_entry_check(sim_t *self, const sim_node_t *node, const entry_t *entry, uint64_t prev_term);
void sim_message_check(sim_t *self, const sim_node_t *node, const message_t *message);
void sim_commit_check(sim_t *self, const sim_node_t *node, const raft_ready_t *ready);
/* `node` goes by it that everything up to `commit` is committed. */
void sim_committed(sim_t *self, const sim_node_t *node, uint64_t commit);
void sim_leader_check(sim_t *self, sim_node_t *node);
void sim_reads_check(sim_t *self, sim_node_t *node, const raft_ready_t *ready);

#endif
