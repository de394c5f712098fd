/* drax_node.h: a node of a Drax cluster inside a program.
 *
 *     drax_node_options_t *options = drax_node_options_new();
 *     drax_node_t *node;
 *     drax_t *store;
 *     char why[DRAX_NODE_DETAIL_BYTES];
 *     drax_node_options_set(options, "home", "/var/lib/app/drax");
 *     if (drax_node_start(&node, options, why, sizeof why) == 0 &&
 *         drax_node_ready_wait(node, 10000) == 0 && drax_node_store(node, &store) == 0) {
 *         drax_put(store, "a", 1, "b", 1, NULL, NULL);
 *         drax_destroy(&store);
 *     }
 *     drax_node_stop(&node);
 *     drax_node_options_destroy(&options);
 *
 * The three actors that draxd runs as processes run as threads here; the protocol, the files and
 * what is promised are the same, and nodes in programs and draxd processes form clusters together.
 * A process may hold any number of nodes, of the same cluster or of several.
 *
 * Conventions
 *  1. Those of drax.h: 0 or a negative DRAX_ERR_… code, `T **out` gives, times in milliseconds.
 *  2. Nothing here handles or sends signals (the node's threads block all of them, and a broken
 *     connection raises none), exits, prints, reads the environment, or changes the working
 *     directory, the umask or limits. An expected failure is returned or told.
 *  3. A node does not survive fork(): the child must not use it, and must call exec or _exit.
 *  4. The first node of a process starts LevelDB's thread, which stays until the process ends.
 */
#ifndef DRAX_NODE_H
#define DRAX_NODE_H

#include "drax.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Enough for any sentence about a failure, with the path of a home in it. */
#define DRAX_NODE_DETAIL_BYTES 4608

typedef struct drax_node drax_node_t;
typedef struct drax_node_options drax_node_options_t;

/* ---- options ---- */

/* An empty set of options, which may be used for any number of nodes; NULL when out of memory. The
 * caller ends it with drax_node_options_destroy, which allows a NULL *self; a node does not need it
 * after drax_node_start. */
DRAX_API drax_node_options_t *drax_node_options_new(void);
DRAX_API void drax_node_options_destroy(drax_node_options_t **self);

/* A setting of draxd, by the name of its flag without the dashes, and its value as text; both are
 * copied. "home" must be set; a relative one is taken from the working directory at the start.
 *
 *   home            directory with all state of the node; made when it is missing
 *   addr            HOST:PORT for clients and joining nodes     127.0.0.1:2380
 *   raft-addr       HOST:PORT for peers                         host of addr, its port + 1
 *   advertise, raft-advertise   what others are told to connect to     the two above
 *   peer            addr of active nodes to join, separated by commas; may be set more than once
 *   max-request     largest request in bytes                    1572864
 *   log-level       error, warning, info or debug               info
 *
 * A name or value that is not right is told by drax_node_start. DRAX_ERR_NO_MEMORY. */
DRAX_API int drax_node_options_set(drax_node_options_t *self, const char *name, const char *value);

/* True: no port is bound, so that only drax_node_store reaches the node: a cluster of one. What
 * addr and raft-addr say is recorded all the same, and counts when the home is opened otherwise. */
DRAX_API void drax_node_options_unbound_set(drax_node_options_t *self, bool unbound);

typedef enum { DRAX_LOG_ERROR, DRAX_LOG_WARNING, DRAX_LOG_INFO, DRAX_LOG_DEBUG } drax_log_level_t;

/* Gets the node's log: `actor` is "storage", "raft" or "gateway", `text` one line of printable
 * characters without a newline; both are borrowed. Called by the node's threads, several at a time:
 * it must be thread-safe, must not wait for long, and must not call the node. */
typedef void drax_node_log_fn(void *hint, drax_log_level_t level, const char *actor,
                              const char *text);

/* NULL, as at first: no log. */
DRAX_API void drax_node_options_log_set(drax_node_options_t *self, drax_node_log_fn *log,
                                        void *hint);

/* Told once when a node that had started ends by a failure, see drax_node_end_wait; not after
 * drax_node_stop. Called by one of the node's threads: it may tell another thread, and must not
 * call the node. */
typedef void drax_node_ended_fn(void *hint, int error, const char *detail);

DRAX_API void drax_node_options_ended_set(drax_node_options_t *self, drax_node_ended_fn *ended,
                                          void *hint);

/* ---- from a snapshot ---- */

/* Makes a home from `file`, which `drax-cli snapshot save` wrote: a node that is started there is a
 * cluster of one, which others may join, with all that the file holds: keys, times to live, leases,
 * locks, and the answers that clients may still ask for. Of the options, "home" must be missing or
 * hold no node yet, and the four addresses say where the node will be. The file is checked whole;
 * after an error the home holds no node.
 *
 * The revision goes on `skip` higher than the file's, which `revision` (may be NULL) gets: enough
 * that no client sees it go back, though the cluster had gone on after the file was written.
 * Watches from before then end with COMPACTED. With 0 the file's history is kept. `detail` as for
 * drax_node_start. DRAX_ERR_USAGE (options; a skip that is too large), DRAX_ERR_IN_USE (the home),
 * DRAX_ERR_STORAGE (the file is damaged; the disk), DRAX_ERR_SYSTEM, DRAX_ERR_NO_MEMORY. */
#define DRAX_NODE_SKIP_DEFAULT 1000000000u
DRAX_API int drax_node_restore(const drax_node_options_t *options, const char *file, uint64_t skip,
                               uint64_t *revision, char *detail, size_t detail_size);

/* ---- life ---- */

/* Makes the home when it is missing, locks it, opens it, binds the ports and starts the threads.
 * The files say what the node is; an empty home founds a cluster of one or, with "peer", joins.
 * `detail` (may be NULL with size 0) gets a sentence about a failure, else "". The node then serves
 * as soon as it can, see drax_node_ready_wait. After an error *out is NULL and nothing is left
 * running. DRAX_ERR_USAGE (options), DRAX_ERR_IN_USE (a port; or the home, and whoever has it did
 * not end within 2 s), DRAX_ERR_STORAGE, DRAX_ERR_SYSTEM, DRAX_ERR_NO_MEMORY. */
DRAX_API int drax_node_start(drax_node_t **out, const drax_node_options_t *options, char *detail,
                             size_t detail_size);

/* Waits until the node can serve: it has joined and knows a leader. DRAX_ERR_TIMEOUT: not yet. The
 * node's failure, when it has ended. DRAX_ERR_CLOSED: it is being stopped. */
DRAX_API int drax_node_ready_wait(drax_node_t *self, uint64_t timeout_ms);

/* Waits until the node has ended by itself, which it does when one of its actors cannot go on (the
 * disk failed; memory ran out): nothing that was not durable has been acknowledged then, the others
 * of the cluster go on without it, and the threads are gone. It is not started again by itself: the
 * program, which knows whether the disk is any better, may stop it and start another. Gives the
 * failure and a sentence. DRAX_ERR_TIMEOUT: it lives. DRAX_ERR_CLOSED: it is being stopped. */
DRAX_API int drax_node_end_wait(drax_node_t *self, uint64_t timeout_ms, char *detail,
                                size_t detail_size);

/* Hands leadership over, answers what is under way, flushes, closes the home, and sets *self to
 * NULL; a NULL *self is allowed. Takes up to 5 s, or as long as the disk needs for what it was
 * given. Ends every wait for the node with DRAX_ERR_CLOSED. Clients from drax_node_store may be
 * left: their calls end at once, see drax_new_in. */
DRAX_API void drax_node_stop(drax_node_t **self);

/* A client of this node, without a network between them; the caller ends it with drax_destroy,
 * before or after the node is stopped. It reaches no other node: what the node answers is
 * linearizable as anywhere, but when the node is cut off, so is this client. DRAX_ERR_NO_MEMORY,
 * DRAX_ERR_SYSTEM. */
DRAX_API int drax_node_store(drax_node_t *self, drax_t **out);

#ifdef __cplusplus
}
#endif

#endif
