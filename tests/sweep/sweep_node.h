/* sweep_node.h: a storage actor with raft and gateway played to it, for sweep_storage.c.
 *
 * The log is always the same: entry `index` has one command that follows from the index, so what an
 * entry must hold and what the digest must be after it is known without having run anything.
 */
#ifndef DRAX_TESTS_SWEEP_NODE_H
#define DRAX_TESTS_SWEEP_NODE_H

#include "actors/storage_actor.h"
#include "store/state.h"
#include "tests/sweep/faults.h"

#define SWEEP_ENTRIES 64u
#define SWEEP_CHUNKS 32u
#define SWEEP_SNAPSHOT 56u /* the snapshot that is received includes the entries up to here */

/* What the processes of a sweep share. */
typedef struct sweep_shared {
    unsigned long counted;
    struct {
        bool formatted; /* OPENED said so */
        uint64_t index; /* everything up to here was acknowledged as durable */
    } said;
    uint64_t digests[SWEEP_ENTRIES + 1]; /* by applied index */
    size_t chunk_count, chunk_sizes[SWEEP_CHUNKS];
    uint8_t chunks[SWEEP_CHUNKS][2048];
} sweep_shared_t;

/* Fills in what is expected; false: it cannot be made. */
bool sweep_expect(sweep_shared_t *shared);

typedef struct sweep_node {
    const char *home;
    sweep_shared_t *shared;
    faults_hold_fn *hold; /* on but while the actor is at work */
    post_t post;
    log_t log;
    storage_actor_t *storage;
    uint64_t now_ms;
    uint64_t seq, index;                 /* of the last WRITE */
    uint64_t indexes[SWEEP_ENTRIES * 4]; /* by seq: the last entry then written */
    bool opened, staged, fetched;        /* came */
    uint64_t first_index, last_index, applied;
    int staged_code;
    uint64_t chunk_session, chunks; /* of the snapshot being sent */
    bool chunk_last;
} sweep_node_t;

void sweep_node_begin(sweep_node_t *self, const char *home, sweep_shared_t *shared,
                      faults_hold_fn *hold);
void sweep_node_end(sweep_node_t *self);

/* A part of a node's life. Both return the actor's error; `before` must have none. An answer that
 * is wrong ends the process with SIGABRT. */
typedef struct sweep_part {
    const char *name;
    int (*before)(sweep_node_t *self); /* NULL: nothing */
    int (*run)(sweep_node_t *self);
} sweep_part_t;

extern const sweep_part_t sweep_parts[]; /* ends with a name that is NULL */

/* Without faults: opens what is there and checks it against what was said. */
void sweep_node_verify(sweep_node_t *self);

#endif
