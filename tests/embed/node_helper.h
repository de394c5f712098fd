/* node_helper.h: what the tests of embedded nodes share: a folder of their own, free ports, counts
 * of what the process holds. */
#ifndef DRAX_TESTS_NODE_HELPER_H
#define DRAX_TESTS_NODE_HELPER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drax_node.h"

#define NODE_WAIT_MS 30000

typedef struct {
    char top[64];
    char detail[DRAX_NODE_DETAIL_BYTES];
} node_folder_t;

/* cmocka setup and teardown: *state is a node_folder_t; the folder goes with all in it. */
int node_folder_setup(void **state);
int node_folder_teardown(void **state);

/* A TCP port of 127.0.0.1 that nobody has at this moment, and that was not given before, below the
 * kernel's range for outgoing connections: any of those could take one of that range while its node
 * is down between two lives. */
unsigned port_free(void);

/* Options for the home top/NAME, with addresses at free ports; the first goes to `addr` when that
 * is not NULL. `peer` may be NULL. The caller ends them. */
drax_node_options_t *node_options(const node_folder_t *folder, const char *name, const char *peer,
                                  char addr[32]);

/* Starts and waits until it is ready. */
drax_node_t *node_up(node_folder_t *folder, const drax_node_options_t *options);
drax_t *node_store(drax_node_t *node);

/* Waits until so many members are voters, as the node of this client tells. */
void voters_wait(drax_t *drax, size_t count);

#define NODE_TRIO 3

/* A cluster of three. */
typedef struct {
    drax_node_options_t *options[NODE_TRIO];
    drax_node_t *nodes[NODE_TRIO];
    char addrs[NODE_TRIO][32];
    char endpoints[128]; /* of all, the first first */
} node_trio_t;

/* Starts them one after the other, until all are voters. The first one leads then. */
void node_trio_up(node_trio_t *self, node_folder_t *folder);
void node_trio_down(node_trio_t *self); /* those that are NULL are down already */

void value_put(drax_t *store, const char *key, const char *value);
void value_expect(drax_t *store, const char *key, const char *value);

/* Entries of /proc/self/fd and /proc/self/task. */
size_t descriptors_count(void);
size_t threads_count(void);
/* Waits until there are no more than `count`: a thread that was joined may still be seen. */
void threads_expect(size_t count);

uint64_t clock_ms(void);

#endif
