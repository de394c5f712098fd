/* core_helper.h: one core alone, with a test that plays its storage and its peers; for cmocka
 * tests.
 */
#ifndef DRAX_TESTS_RAFT_CORE_HELPER_H
#define DRAX_TESTS_RAFT_CORE_HELPER_H

#include "actors/raft/raft.h"

#define CORE_CLUSTER 7u
#define CORE_BEGIN_MS 1000u /* what the clock says at first */
/* The log that core_leader begins with: entry 1 is the membership, all are of term 1 and on disk.
 */
#define CORE_LAST 5u

extern const raft_options_t core_options; /* of node 1 */
extern const raft_boot_t core_empty;

/* The voters 1 .. `voters`, as entry 1 says. */
config_t core_config(unsigned voters);
raft_t *core_new(const raft_boot_t *boot);
/* Carries out writes until there are none. */
void core_write(raft_t *core);
/* The node that bootstrapped a cluster of its own; entries 1 and 2 are committed. */
raft_t *core_single(void);
/* A follower of term 1 with the log of CORE_LAST entries, `voters` voters, entry 1 applied. */
raft_t *core_follower(unsigned voters, uint64_t now_ms);
/* The same once it was elected in term 2 and has written its no-op, CORE_LAST + 1. */
raft_t *core_leader(unsigned voters);

/* A message to node 1. The peer's boot is 1. */
message_t core_message(message_kind_t kind, uint64_t from, uint64_t term);
void core_step(raft_t *core, message_t message);
/* From `peer`, in the core's term: it holds everything up to `index`, or refuses that. */
void core_acknowledge(raft_t *core, uint64_t peer, uint64_t index);
void core_refuse(raft_t *core, uint64_t peer, uint64_t index, uint64_t hint_index);
/* An entry that follows nothing in particular: no payload unless it is a block. */
entry_t core_entry(uint64_t index, uint64_t term);
/* Adds a copy of `entry` to an APPEND; clears `entry`. */
void core_push(message_t *append, entry_t *entry);

/* The first message of `kind` to `to` in a ready; NULL when there is none. */
message_t *core_sent(const raft_ready_t *ready, message_kind_t kind, uint64_t to);

#endif
