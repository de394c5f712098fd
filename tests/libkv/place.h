/* place.h: where the store under test is, and what is done to it meanwhile.
 *
 *   embedded            a node in this process, reached without a network
 *   remote              a draxd
 *   node1, node2, node3 a cluster of three draxd, reached through that one alone; its leader, which
 *                       is another one then, is killed (-9) once in each test
 */
#ifndef DRAX_TESTS_PLACE_H
#define DRAX_TESTS_PLACE_H

#include "tests/embed/node_helper.h"
#include "tests/libkv/draxd.h"

typedef struct {
    node_folder_t *folder;
    drax_node_options_t *options; /* embedded, with `node`; else NULL */
    drax_node_t *node;
    draxd_t draxds[NODE_TRIO];
    size_t draxd_count;
    size_t through; /* of them the one that clients are connected to */
    /* A time to live that outlasts a change of leader where there is one: a third of it may have
     * passed since the last renewal, and the change may take up to 3 s. */
    uint64_t ttl_ms;
    uint64_t late_ms; /* what a change of leader may add to any time; 0 where there is none */
} place_t;

/* False: no such place. */
bool place_known(const char *name);

/* Starts what it takes. */
void place_open(place_t *self, const char *name);
void place_close(place_t *self);

/* A client of its own, to be ended by the caller. */
drax_t *place_client(place_t *self);

/* Kills the leader and returns at once, so that what follows meets a cluster without one. Does
 * nothing where there is one node only. */
void place_shake(place_t *self);

/* Starts again what was killed, and returns when it takes part. */
void place_mend(place_t *self);

#endif
