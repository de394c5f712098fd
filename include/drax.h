/* drax.h: the client of a Drax cluster.
 *
 *     drax_t *drax;
 *     drax_result_t *result;
 *     if (drax_new(&drax, "127.0.0.1:2380,127.0.0.1:2480") == 0 &&
 *         drax_put(drax, "a/b", 3, "hello", 5, NULL, &result) == 0) {
 *         printf("%" PRIu64 "\n", drax_result_index(result));
 *         drax_result_destroy(&result);
 *     }
 *     drax_destroy(&drax);
 *
 * Conventions
 *  1. Functions that can fail return 0, or a negative DRAX_ERR_… code.
 *  2. Keys, directories and values are bytes with a size; a NULL pointer is allowed when the size
 * is 0. Nothing needs to end in NUL. Arguments are copied or sent before the call returns.
 *  3. `drax_result_t **out` gives: the caller owns what is stored there and ends it with
 *     drax_result_destroy. `out` may be NULL when the result is of no interest. After an error *out
 * is NULL. Pointers read from a result live as long as the result.
 *  4. `const drax_options_t *` borrows; NULL means no options. An option that the method does not
 *     know is refused by the server with DRAX_ERR_INVALID_ARGUMENT.
 *  5. Times are in milliseconds and end in _ms. Revisions, indexes and ids are below 2^53.
 *  6. Every call has a deadline (drax_timeout_set, drax_options_timeout_set). Until then reads are
 *     asked again, on any endpoint, after a lost connection or an answer UNAVAILABLE or TIMEOUT.
 *     Writes carry a client id and a counter, so the server applies each one once however often
 *     it is sent, and are sent again in the same way. Changes of the membership and leadership are
 * sent again only after UNAVAILABLE, which says that nothing was done.
 *  7. A client may be used by several threads at once, which share its connection: calls of one do
 *     not wait for those of another. A client does not survive fork(). Nothing here prints, exits,
 * aborts or touches signals.
 */
#ifndef DRAX_H
#define DRAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRAX_API __attribute__((visibility("default")))

/* ---- errors ---- */

enum {
    /* Local: the request was not sent, or its answer is of no use. */
    DRAX_ERR_NO_MEMORY = -1, /* out of memory */
    DRAX_ERR_USAGE = -2,     /* an argument that could never be right, such as a bad endpoint */
    DRAX_ERR_PROTOCOL = -3,  /* what came back is not an answer of this protocol */
    DRAX_ERR_FULL = -4,      /* too many calls in flight: drax_poll, then submit again */
    DRAX_ERR_CLOSED = -5,    /* the client was destroyed before the call completed */
    DRAX_ERR_SYSTEM = -6,    /* no socket, descriptor or randomness to be had */
    DRAX_ERR_IN_USE = -7,    /* drax_node.h: a port or home is another's */
    DRAX_ERR_STORAGE = -8,   /* drax_node.h: the disk failed, or what it holds is damaged */

    /* The store's answer; trying again gives the same. */
    DRAX_ERR_KEY_NOT_FOUND = -101,
    DRAX_ERR_KEY_EXISTS = -102,
    DRAX_ERR_KEY_MODIFIED = -103,
    DRAX_ERR_PREVIOUS_NOT_SPECIFIED = -104,
    DRAX_ERR_CANNOT_LOCK = -105,
    DRAX_ERR_LOCK_LOST = -106,
    DRAX_ERR_LEASE_NOT_FOUND = -107,
    DRAX_ERR_COMPACTED = -108,

    /* The request is at fault. */
    DRAX_ERR_INVALID_ARGUMENT = -109,
    DRAX_ERR_UNKNOWN_METHOD = -110,
    DRAX_ERR_TOO_LARGE = -111,
    DRAX_ERR_PERMISSION_DENIED = -112,

    /* The deadline passed. UNAVAILABLE: no endpoint could be reached, or there is no leader,
     * majority or space; a write was not applied and never will be. TIMEOUT: the outcome of a write
     * is unknown. */
    DRAX_ERR_UNAVAILABLE = -113,
    DRAX_ERR_TIMEOUT = -114
};

/* A short English text for a code above, "ok" for 0, "unknown error" for any other. Static storage.
 */
DRAX_API const char *drax_error_text(int error);

/* The protocol's word for a code above ("KEY_NOT_FOUND"), "OK" for 0, "UNKNOWN" for any other.
 * Static storage. */
DRAX_API const char *drax_error_name(int error);

/* ---- client ---- */

typedef struct drax drax_t;
typedef struct drax_options drax_options_t;
typedef struct drax_result drax_result_t;
typedef struct drax_field drax_field_t;

/* The version of this library, such as "0.1.0". Static storage. */
DRAX_API const char *drax_version(void);

/* Makes a client of the nodes at `endpoints`: HOST:PORT[,…], at most 16 of them; NULL means
 * 127.0.0.1:2380. HOST is a name, an IPv4 address, or an IPv6 address in brackets. Connects with
 * the first call, so a node that is down is no error here. DRAX_ERR_USAGE (endpoints),
 * DRAX_ERR_NO_MEMORY, DRAX_ERR_SYSTEM: *out is NULL. */
DRAX_API int drax_new(drax_t **out, const char *endpoints);

/* As drax_new, in a ZeroMQ context of the caller's, so that inproc://NAME may be among the
 * endpoints: a ROUTER that serves this protocol in the same process and is bound already. When the
 * context is shut down (zmq_ctx_shutdown), calls end at once, as if their deadlines had passed.
 * `released` (may be NULL) is called with `hint` when drax_destroy has closed the client's last
 * socket; until then the context must not be terminated. After an error it is not called. */
DRAX_API int drax_new_in(drax_t **out, void *context, const char *endpoints,
                         void (*released)(void *hint), void *hint);

/* Ends the client and sets *self to NULL; a NULL *self is allowed. Calls that were submitted and
 * have not completed get their callback now, with DRAX_ERR_CLOSED: whether such a write happens is
 * unknown. No other thread may be using the client, and no callback may destroy it. */
DRAX_API void drax_destroy(drax_t **self);

/* How long each call may take that has no timeout among its options. 5000 ms at first. 0:
 * DRAX_ERR_USAGE. */
DRAX_API int drax_timeout_set(drax_t *self, uint64_t timeout_ms);

/* Copies a sentence about the last call on this client that failed into `out` (`size` bytes, always
 * ended by a NUL, cut when too long): the server's own text where there is one. "" when none failed
 * yet. With several threads it may be about another thread's call. */
DRAX_API void drax_error_detail(drax_t *self, char *out, size_t size);

/* ---- options ---- */

/* An empty set of options, which may be used for any number of calls; NULL when out of memory. The
 * caller ends it with drax_options_destroy, which allows a NULL *self. */
DRAX_API drax_options_t *drax_options_new(void);
DRAX_API void drax_options_destroy(drax_options_t **self);

/* Deadline of the call, counted from its start. 0: the client's. */
DRAX_API void drax_options_timeout_set(drax_options_t *self, uint64_t timeout_ms);
/* put, atomic_put: the key goes with this lease (drax_lease_grant). 0: with none. */
DRAX_API void drax_options_lease_set(drax_options_t *self, uint64_t lease);
/* Whatever writes: only while the lock `key` is held under `token` (drax_lock_token); else
 * DRAX_ERR_LOCK_LOST, and nothing is written. A token of 0: no such condition. The key is copied.
 * DRAX_ERR_NO_MEMORY. */
DRAX_API int drax_options_fence_set(drax_options_t *self, const void *key, size_t key_size,
                                    uint64_t token);
/* put, atomic_put: the key goes away this long after the write. 0: it stays. */
DRAX_API void drax_options_ttl_set(drax_options_t *self, uint64_t ttl_ms);
/* get, exists, list, range: true answers from what the node has, without asking the cluster. */
DRAX_API void drax_options_stale_set(drax_options_t *self, bool stale);
/* list, range: at most so many pairs; 0: as many as fit in about 1 MiB. */
DRAX_API void drax_options_limit_set(drax_options_t *self, uint64_t limit);
/* list, range: true leaves the values out. */
DRAX_API void drax_options_keys_only_set(drax_options_t *self, bool keys_only);
/* range: true gives the count and no pairs. */
DRAX_API void drax_options_count_only_set(drax_options_t *self, bool count_only);
/* range: true gives the last keys first. */
DRAX_API void drax_options_reverse_set(drax_options_t *self, bool reverse);
/* watch and watch_tree as a request: the changes from this revision on. */
DRAX_API void drax_options_from_set(drax_options_t *self, uint64_t revision);
/* list: begin after this whole key; size 0: from the start. The key is copied. DRAX_ERR_NO_MEMORY.
 */
DRAX_API int drax_options_after_set(drax_options_t *self, const void *key, size_t key_size);

/* ---- the store ---- */

/* Every function below may also return DRAX_ERR_INVALID_ARGUMENT, _TOO_LARGE, _PERMISSION_DENIED,
 * _UNAVAILABLE, _TIMEOUT, _PROTOCOL, _USAGE and _NO_MEMORY; one that writes also _FULL, when a
 * submitted write has been without an outcome for 512 others. Each comment names what the result
 * holds and the errors that belong to the call. */

/* key, value, index, revision; ttl_ms when it has one. Options: stale. DRAX_ERR_KEY_NOT_FOUND. */
DRAX_API int drax_get(drax_t *self, const void *key, size_t key_size, const drax_options_t *options,
                      drax_result_t **out);

/* index, revision. Options: ttl. */
DRAX_API int drax_put(drax_t *self, const void *key, size_t key_size, const void *value,
                      size_t value_size, const drax_options_t *options, drax_result_t **out);

/* revision. DRAX_ERR_KEY_NOT_FOUND. */
DRAX_API int drax_delete(drax_t *self, const void *key, size_t key_size,
                         const drax_options_t *options, drax_result_t **out);

/* exists, revision. A missing key is no error. Options: stale. */
DRAX_API int drax_exists(drax_t *self, const void *key, size_t key_size,
                         const drax_options_t *options, drax_result_t **out);

/* pairs, more, revision: every key that begins with `directory` and a slash, in the order of bytes;
 * "" and "/" are the whole store. When `more` is true, the next page comes after the last key of
 * this one. Options: keys_only, limit, after, stale. DRAX_ERR_KEY_NOT_FOUND: nothing is there. */
DRAX_API int drax_list(drax_t *self, const void *directory, size_t directory_size,
                       const drax_options_t *options, drax_result_t **out);

/* pairs, count, more, revision: start <= key < end; an empty `end` means to the last key. Options:
 * limit, reverse, keys_only, count_only, stale. */
DRAX_API int drax_range(drax_t *self, const void *start, size_t start_size, const void *end,
                        size_t end_size, const drax_options_t *options, drax_result_t **out);

/* deleted, revision: the keys that drax_list would give. DRAX_ERR_KEY_NOT_FOUND. */
DRAX_API int drax_delete_tree(drax_t *self, const void *directory, size_t directory_size,
                              const drax_options_t *options, drax_result_t **out);

/* key, value, index, revision. Writes if the key's index is `previous`; 0 creates the key. Options:
 * ttl. DRAX_ERR_KEY_EXISTS, DRAX_ERR_KEY_MODIFIED. */
DRAX_API int drax_atomic_put(drax_t *self, const void *key, size_t key_size, const void *value,
                             size_t value_size, uint64_t previous, const drax_options_t *options,
                             drax_result_t **out);

/* revision. Deletes if the key's index is `previous`. DRAX_ERR_KEY_NOT_FOUND,
 * DRAX_ERR_KEY_MODIFIED, DRAX_ERR_PREVIOUS_NOT_SPECIFIED (0). */
DRAX_API int drax_atomic_delete(drax_t *self, const void *key, size_t key_size, uint64_t previous,
                                const drax_options_t *options, drax_result_t **out);

/* ---- leases ---- */

/* A lease lives for its ttl_ms from the grant or the last keepalive on, and takes the keys that are
 * on it with it (drax_options_lease_set). Who keeps one alive does so at a third of that. */

/* lease, ttl_ms. */
DRAX_API int drax_lease_grant(drax_t *self, uint64_t ttl_ms, const drax_options_t *options,
                              drax_result_t **out);
/* lease, ttl_ms: as if granted now. DRAX_ERR_LEASE_NOT_FOUND. */
DRAX_API int drax_lease_keepalive(drax_t *self, uint64_t lease, const drax_options_t *options,
                                  drax_result_t **out);
/* lease, ttl_ms (what remains) and what else the server tells of it. DRAX_ERR_LEASE_NOT_FOUND. */
DRAX_API int drax_lease_get(drax_t *self, uint64_t lease, const drax_options_t *options,
                            drax_result_t **out);
/* revision. Its keys are deleted. DRAX_ERR_LEASE_NOT_FOUND. */
DRAX_API int drax_lease_revoke(drax_t *self, uint64_t lease, const drax_options_t *options,
                               drax_result_t **out);

/* ---- the cluster ---- */

/* version, node, revision: of the node that answers. */
DRAX_API int drax_ping(drax_t *self, const drax_options_t *options, drax_result_t **out);

/* cluster, node, role, leader, term, revision, commit, applied, members, …: of the node that
 * answers, also without a majority. */
DRAX_API int drax_status(drax_t *self, const drax_options_t *options, drax_result_t **out);

/* members, revision; a member is a map of id, addr, raft_addr, role. */
DRAX_API int drax_member_list(drax_t *self, const drax_options_t *options, drax_result_t **out);

/* id, members. The addresses (HOST:PORT, ended by NUL) are where clients and peers will find the
 * new member. */
DRAX_API int drax_member_add(drax_t *self, const char *addr, const char *raft_addr,
                             const drax_options_t *options, drax_result_t **out);

/* members. */
DRAX_API int drax_member_remove(drax_t *self, uint64_t id, const drax_options_t *options,
                                drax_result_t **out);
DRAX_API int drax_member_promote(drax_t *self, uint64_t id, const drax_options_t *options,
                                 drax_result_t **out);

/* leader. Hands leadership to member `id`; 0 lets the leader choose. */
DRAX_API int drax_leader_transfer(drax_t *self, uint64_t id, const drax_options_t *options,
                                  drax_result_t **out);

/* ---- without waiting ---- */

/* Called once for each submitted call, inside drax_poll, drax_process or drax_destroy of whichever
 * thread calls these, with no lock held: it may use the client, but not destroy it. `error` is 0 or
 * DRAX_ERR_…; `detail` ("" when ok) and `result` (NULL after an error) are borrowed and live until
 * it returns. */
typedef void drax_done_fn(void *arg, int error, const char *detail, const drax_result_t *result);

/* As drax_put, without waiting. Calls in flight may take effect in any order, so wait for one
 * before submitting another that must follow it. Not 0: `done` will not be called; DRAX_ERR_FULL
 * when the call would stand more than 512 writes behind the oldest that has not completed, or 1,024
 * calls are under way. */
DRAX_API int drax_put_submit(drax_t *self, const void *key, size_t key_size, const void *value,
                             size_t value_size, const drax_options_t *options, drax_done_fn *done,
                             void *arg);

/* A request of any method, made step by step: its name, then its parameters in order. */
typedef struct drax_request drax_request_t;

typedef enum {
    DRAX_READ,  /* changes nothing: may be sent again at will */
    DRAX_WRITE, /* is sent again with the same {client, seq}, and so applied once */
    DRAX_ONCE   /* changes something, and is not sent again when its outcome is unknown */
} drax_request_kind_t;

/* NULL when out of memory. The caller ends it with drax_request_destroy, which allows a NULL *self;
 * it may be submitted any number of times. */
DRAX_API drax_request_t *drax_request_new(const char *method, drax_request_kind_t kind);
DRAX_API void drax_request_destroy(drax_request_t **self);

/* The next parameter, copied. What is wrong with it is told when the request is sent:
 * DRAX_ERR_NO_MEMORY, DRAX_ERR_TOO_LARGE, DRAX_ERR_USAGE (NULL with a size). */
DRAX_API void drax_request_key_add(drax_request_t *self, const void *key, size_t key_size);
DRAX_API void drax_request_value_add(drax_request_t *self, const void *value, size_t value_size);
DRAX_API void drax_request_text_add(drax_request_t *self, const char *text);
DRAX_API void drax_request_uint_add(drax_request_t *self, uint64_t number);
DRAX_API void drax_request_bool_add(drax_request_t *self, bool value);
DRAX_API void drax_request_nil_add(drax_request_t *self);
/* An array, whose items are the next `count` that are added; an item may be an array. */
DRAX_API void drax_request_array_add(drax_request_t *self, size_t count);
/* A map: the next `count` pairs of a name and a value that are added. */
DRAX_API void drax_request_map_add(drax_request_t *self, size_t count);

/* Makes the call and waits. DRAX_ERR_USAGE: also for a name that is too long, an array that is not
 * complete, or arrays deeper than 6. Else as the method. */
DRAX_API int drax_request_call(drax_t *self, const drax_request_t *request,
                               const drax_options_t *options, drax_result_t **out);

/* The same without waiting, see drax_put_submit. The request is not needed after it returns. */
DRAX_API int drax_request_submit(drax_t *self, const drax_request_t *request,
                                 const drax_options_t *options, drax_done_fn *done, void *arg);

/* Sends and receives until a callback is due (of a submitted call or a watch) or `timeout_ms` have
 * passed (0: only what can be done at once), then calls back. Returns how many callbacks it made,
 * or a negative error; at once 0 when there is nothing that could call back. */
DRAX_API int drax_poll(drax_t *self, uint64_t timeout_ms);

/* For a host's own event loop: a descriptor that is readable (POLLIN, level-triggered) whenever
 * drax_process has something to do, be it that something arrived, that a time came, or that a call
 * was submitted. It is the client's, to be polled and for nothing else, until drax_destroy.
 * DRAX_ERR_SYSTEM. */
DRAX_API int drax_fd(drax_t *self);

/* Does what can be done at once, without waiting, and calls back. Returns how many calls completed,
 * or a negative error. */
DRAX_API int drax_process(drax_t *self);

/* Submitted calls whose callback has not been called yet. */
DRAX_API size_t drax_pending(drax_t *self);

/* ---- transactions ---- */

/* Compares, and what is done when all of them hold, or else: in one step, and in one revision. Each
 * operation sees those before it; if one fails, nothing is done and its error is the
 * transaction's. */
typedef struct drax_txn drax_txn_t;

typedef enum { DRAX_THEN, DRAX_ELSE } drax_branch_t;
typedef enum { DRAX_EQUAL, DRAX_UNEQUAL, DRAX_LESS, DRAX_GREATER } drax_compare_t;

/* An empty transaction, which may be sent any number of times; NULL when out of memory. The caller
 * ends it with drax_txn_destroy, which allows a NULL *self. */
DRAX_API drax_txn_t *drax_txn_new(void);
DRAX_API void drax_txn_destroy(drax_txn_t **self);

/* All bytes are copied. What is wrong is told when the transaction is sent: DRAX_ERR_USAGE,
 * DRAX_ERR_TOO_LARGE, DRAX_ERR_NO_MEMORY. The index and version (how often it was written since it
 * was made) of a missing key are 0; a compare with its value holds for DRAX_UNEQUAL alone. */
DRAX_API void drax_txn_compare_index(drax_txn_t *self, const void *key, size_t key_size,
                                     drax_compare_t op, uint64_t index);
DRAX_API void drax_txn_compare_version(drax_txn_t *self, const void *key, size_t key_size,
                                       drax_compare_t op, uint64_t version);
DRAX_API void drax_txn_compare_value(drax_txn_t *self, const void *key, size_t key_size,
                                     drax_compare_t op, const void *value, size_t value_size);
DRAX_API void drax_txn_compare_exists(drax_txn_t *self, const void *key, size_t key_size,
                                      bool exists);

/* The next operation of a branch, with the options of the call of that name. */
DRAX_API void drax_txn_get(drax_txn_t *self, drax_branch_t branch, const void *key,
                           size_t key_size);
DRAX_API void drax_txn_exists(drax_txn_t *self, drax_branch_t branch, const void *key,
                              size_t key_size);
DRAX_API void drax_txn_put(drax_txn_t *self, drax_branch_t branch, const void *key, size_t key_size,
                           const void *value, size_t value_size, const drax_options_t *options);
DRAX_API void drax_txn_delete(drax_txn_t *self, drax_branch_t branch, const void *key,
                              size_t key_size);
/* `previous` as for drax_atomic_put (0: there must be no such key) and drax_atomic_delete. */
DRAX_API void drax_txn_atomic_put(drax_txn_t *self, drax_branch_t branch, const void *key,
                                  size_t key_size, const void *value, size_t value_size,
                                  uint64_t previous, const drax_options_t *options);
DRAX_API void drax_txn_atomic_delete(drax_txn_t *self, drax_branch_t branch, const void *key,
                                     size_t key_size, uint64_t previous);
DRAX_API void drax_txn_delete_tree(drax_txn_t *self, drax_branch_t branch, const void *directory,
                                   size_t directory_size);
DRAX_API void drax_txn_list(drax_txn_t *self, drax_branch_t branch, const void *directory,
                            size_t directory_size, const drax_options_t *options);
DRAX_API void drax_txn_range(drax_txn_t *self, drax_branch_t branch, const void *start,
                             size_t start_size, const void *end, size_t end_size,
                             const drax_options_t *options);

/* succeeded, results, revision: `results` are the result maps of the operations of the branch that
 * was taken (drax_result_map, drax_field_find). Options: fence. The errors of its operations. */
DRAX_API int drax_txn_call(drax_t *self, const drax_txn_t *txn, const drax_options_t *options,
                           drax_result_t **out);
/* The same without waiting, see drax_put_submit. */
DRAX_API int drax_txn_submit(drax_t *self, const drax_txn_t *txn, const drax_options_t *options,
                             drax_done_fn *done, void *arg);

/* ---- watches ---- */

/* What is there, then every change, once and in order, over lost connections, changes of leader and
 * restarts of nodes. */
typedef struct drax_watch drax_watch_t;

typedef enum {
    DRAX_EVENT_CURRENT, /* a key that was there when the watch began: key, value, index */
    DRAX_EVENT_SYNCED,  /* once, after the last of these: changes follow. No key */
    DRAX_EVENT_PUT,     /* key, value, index */
    DRAX_EVENT_DELETE,  /* key, index; so for a key that ran out of time: */
    DRAX_EVENT_EXPIRE
} drax_event_type_t;

/* All borrowed from the watch, until its next event is asked for or its callback returns. `index`
 * is the revision of the change; events of one revision follow each other. */
typedef struct drax_event {
    drax_event_type_t type;
    const void *key;
    size_t key_size;
    const void *value;
    size_t value_size;
    uint64_t index;
} drax_event_t;

/* Watches a key, or a directory as drax_list has it. `from` 0: begins with what is there now; else
 * with the changes of revision `from`, and without CURRENT. Does not wait: what is wrong is told by
 * the first event. The caller ends the watch with drax_watch_close, at the latest before
 * drax_destroy, which ends those that are left. DRAX_ERR_USAGE, DRAX_ERR_NO_MEMORY: *out is NULL.
 */
DRAX_API int drax_watch(drax_t *self, const void *key, size_t key_size, uint64_t from,
                        drax_watch_t **out);
DRAX_API int drax_watch_tree(drax_t *self, const void *directory, size_t directory_size,
                             uint64_t from, drax_watch_t **out);

/* Sets *self to NULL; a NULL *self is allowed. No other thread may be using the watch; its own
 * callback may close it. */
DRAX_API void drax_watch_close(drax_watch_t **self);

/* Waits for the next event. What is not read waits at the server, or here as far as 64 messages
 * reach. When the connection is lost before SYNCED, CURRENT begins anew. One thread at a time.
 * DRAX_ERR_TIMEOUT: none yet; ask again. Any other error has ended the watch, and comes again;
 * DRAX_ERR_COMPACTED: what comes next is no longer known (see drax_watch_compacted): watch anew to
 * begin with what is there. */
DRAX_API int drax_watch_next(drax_watch_t *self, uint64_t timeout_ms, drax_event_t *out);

/* Instead of drax_watch_next: calls back from drax_poll and drax_process for each event, and with
 * `event` NULL once when an error has ended the watch. Not twice at the same time for one watch. */
typedef void drax_event_fn(void *arg, drax_watch_t *watch, int error, const drax_event_t *event);
DRAX_API int drax_watch_event_set(drax_watch_t *self, drax_event_fn *event, void *arg);

/* What to give as `from` to a new watch, perhaps of another process, so that it goes on after the
 * last event read here. Within the events of one revision it is that revision, all of which come
 * again. 0: SYNCED has not been read yet. */
DRAX_API uint64_t drax_watch_from(drax_watch_t *self);

/* After DRAX_ERR_COMPACTED: the first revision that is still known. */
DRAX_API uint64_t drax_watch_compacted(drax_watch_t *self);

/* ---- locks ---- */

/* A lock is a key, held by one client at a time and passed on in the order in which they asked. It
 * ends by itself `ttl_ms` after its holder was last heard of, so it is renewed by this client, as
 * part of any call, drax_poll or drax_process. A program that holds locks must be in one of these
 * at least every third of the ttl_ms; drax_poll waits while a lock is held. */
typedef struct drax_lock drax_lock_t;

/* No end to the waiting. */
#define DRAX_FOREVER UINT64_MAX

/* A lock that is not taken yet. `value` (may be NULL) is what the key holds while it is held; both
 * are copied. The caller ends it with drax_lock_destroy, at the latest before drax_destroy, which
 * ends those that are left. DRAX_ERR_USAGE (a ttl_ms of 0), DRAX_ERR_NO_MEMORY, DRAX_ERR_SYSTEM:
 * *out is NULL. */
DRAX_API int drax_lock_new(drax_t *self, const void *key, size_t key_size, uint64_t ttl_ms,
                           const void *value, size_t value_size, drax_lock_t **out);

/* Sets *self to NULL; a NULL *self is allowed. Does not release: a lock that is held ends by
 * itself. No other thread may be using it. */
DRAX_API void drax_lock_destroy(drax_lock_t **self);

/* Waits up to `wait_ms` for its turn; 0: tries once; DRAX_FOREVER. Keeps its place in the queue
 * over lost connections and changes of leader. DRAX_ERR_CANNOT_LOCK: the time is up.
 * DRAX_ERR_LOCK_LOST: it was granted, and over before that was known. DRAX_ERR_UNAVAILABLE,
 * DRAX_ERR_TIMEOUT: no server answered for the client's timeout after that; a grant that comes of
 * it ends after its ttl_ms. DRAX_ERR_USAGE: it is held. */
DRAX_API int drax_lock_take(drax_lock_t *self, uint64_t wait_ms);

/* Passes it on. DRAX_ERR_LOCK_LOST: it had been lost. DRAX_ERR_USAGE: it was not held. Any other
 * error: it ends after its ttl_ms at the latest, and is not held in any case. */
DRAX_API int drax_lock_release(drax_lock_t *self);

/* Held for certain at this moment, by what was renewed so far: nobody else can have it. */
DRAX_API bool drax_lock_held(drax_lock_t *self);

/* Grows with every grant of this key; 0: not held. Give it as drax_options_fence_set to every write
 * that must not come after the lock was lost: the moment after drax_lock_held may be long. */
DRAX_API uint64_t drax_lock_token(drax_lock_t *self);

/* Called once by drax_poll or drax_process when the lock has been lost while it was held, at the
 * latest when somebody else could have it. NULL: nobody. It may use the lock, but not destroy it.
 */
typedef void drax_lock_lost_fn(void *arg, drax_lock_t *lock);
DRAX_API void drax_lock_lost_set(drax_lock_t *self, drax_lock_lost_fn *lost, void *arg);

/* ---- elections ---- */

/* An election is a lock whose value names who holds it: to campaign is to take it, to resign is to
 * release it, to observe is to watch its key, which serves nothing else. What is said of locks
 * holds: who is elected must drive the client, and is out of office `ttl_ms` after it was last
 * heard of. One thread may campaign while another observes. */
typedef struct drax_election drax_election_t;

/* The election at this key, which is copied. The caller ends it with drax_election_destroy, before
 * drax_destroy. DRAX_ERR_USAGE, DRAX_ERR_NO_MEMORY: *out is NULL. */
DRAX_API int drax_election_new(drax_t *self, const void *key, size_t key_size,
                               drax_election_t **out);

/* Sets *self to NULL; a NULL *self is allowed. Does not resign: who is elected stays so until the
 * ttl_ms have passed. No other thread may be using it. */
DRAX_API void drax_election_destroy(drax_election_t **self);

/* Stands under `name` (copied) and waits up to `wait_ms` to be elected, in the order in which they
 * stood; 0: tries once; DRAX_FOREVER. DRAX_ERR_USAGE: is elected already, or a ttl_ms of 0. Other
 * errors as drax_lock_take. */
DRAX_API int drax_election_campaign(drax_election_t *self, const void *name, size_t name_size,
                                    uint64_t ttl_ms, uint64_t wait_ms);

/* The next one is elected. Errors as drax_lock_release. */
DRAX_API int drax_election_resign(drax_election_t *self);

/* Elected for certain at this moment: nobody else can be. */
DRAX_API bool drax_election_elected(drax_election_t *self);

/* Grows with every election at this key; 0: not elected. */
DRAX_API uint64_t drax_election_term(drax_election_t *self);

/* Makes writes with these options ones of this term: they fail with DRAX_ERR_LOCK_LOST once it is
 * over, as this does when it is over by now. DRAX_ERR_NO_MEMORY. */
DRAX_API int drax_election_fence(drax_election_t *self, drax_options_t *options);

/* Called by drax_poll or drax_process when a term ended without drax_election_resign, at the latest
 * when somebody else could be elected. NULL: nobody. It may use the election, but not destroy it or
 * campaign. */
typedef void drax_election_lost_fn(void *arg, drax_election_t *election);
DRAX_API void drax_election_lost_set(drax_election_t *self, drax_election_lost_fn *lost, void *arg);

/* Who is elected: nobody, or the one of that name. The bytes are borrowed until the next
 * observation or the callback's return. `index` is the revision of the change; 0: nobody was
 * elected when the observation began. */
typedef struct drax_leader {
    bool elected;
    const void *name;
    size_t name_size;
    uint64_t index;
} drax_leader_t;

/* Waits: the first call for who is elected now, each further one for the next change. A candidate
 * that follows another at once is told without a time of nobody between them. DRAX_ERR_TIMEOUT:
 * none yet. DRAX_ERR_USAGE: it has a callback. Other errors end the observation, and come again.
 * One thread at a time. */
DRAX_API int drax_election_observe(drax_election_t *self, uint64_t timeout_ms, drax_leader_t *out);

/* Instead: calls back from drax_poll and drax_process for each of these, and with `leader` NULL
 * once when an error has ended the observation. It must not destroy the election. DRAX_ERR_USAGE:
 * has been observed already, or no callback. */
typedef void drax_election_leader_fn(void *arg, drax_election_t *election, int error,
                                     const drax_leader_t *leader);
DRAX_API int drax_election_leader_set(drax_election_t *self, drax_election_leader_fn *leader,
                                      void *arg);

/* ---- results ---- */

/* Ends a result and sets *self to NULL; a NULL *self is allowed. */
DRAX_API void drax_result_destroy(drax_result_t **self);

/* The fields that most callers want. All allow a NULL `self`; a field that is not there is 0,
 * false, or NULL with size 0. `size` may be NULL. Bytes are not ended by NUL. */
DRAX_API uint64_t drax_result_index(const drax_result_t *self);
DRAX_API uint64_t drax_result_revision(const drax_result_t *self);
DRAX_API uint64_t drax_result_ttl_ms(const drax_result_t *self);
DRAX_API uint64_t drax_result_lease(const drax_result_t *self);
DRAX_API bool drax_result_succeeded(const drax_result_t *self); /* of a txn: its compares held */
DRAX_API const void *drax_result_key(const drax_result_t *self, size_t *size);
DRAX_API const void *drax_result_value(const drax_result_t *self, size_t *size);
DRAX_API bool drax_result_exists(const drax_result_t *self);
DRAX_API uint64_t drax_result_deleted(const drax_result_t *self);
DRAX_API uint64_t drax_result_count(const drax_result_t *self);
DRAX_API bool drax_result_more(const drax_result_t *self);
DRAX_API size_t drax_result_pair_count(const drax_result_t *self);
DRAX_API const void *drax_result_pair_key(const drax_result_t *self, size_t at, size_t *size);
DRAX_API const void *drax_result_pair_value(const drax_result_t *self, size_t at, size_t *size);
DRAX_API uint64_t drax_result_pair_index(const drax_result_t *self, size_t at);

/* Any field of an answer, also one that this library does not know. Fields are borrowed from their
 * result. */
typedef enum {
    DRAX_FIELD_NIL,
    DRAX_FIELD_BOOL,
    DRAX_FIELD_INTEGER,
    DRAX_FIELD_BYTES,
    DRAX_FIELD_ARRAY,
    DRAX_FIELD_MAP,
    DRAX_FIELD_OTHER
} drax_field_kind_t;

/* The result map itself; NULL for a NULL `self`. */
DRAX_API const drax_field_t *drax_result_map(const drax_result_t *self);

/* All of these allow a NULL field, which is NIL. Asked for what it is not, a field gives 0, false
 * or NULL. */
DRAX_API drax_field_kind_t drax_field_kind(const drax_field_t *self);
DRAX_API bool drax_field_bool(const drax_field_t *self);
DRAX_API uint64_t drax_field_uint(const drax_field_t *self); /* 0 for a negative integer */
DRAX_API const void *drax_field_bytes(const drax_field_t *self, size_t *size);
DRAX_API size_t drax_field_count(const drax_field_t *self); /* items of an array or map */
/* Item `at`, counted from 0, of an array, or the value of that item of a map; NULL beyond the end.
 */
DRAX_API const drax_field_t *drax_field_at(const drax_field_t *self, size_t at);
/* The name of item `at` of a map; NULL beyond the end. */
DRAX_API const drax_field_t *drax_field_name(const drax_field_t *self, size_t at);
/* The value of the item with this name (ended by NUL) of a map; NULL when it is not there. */
DRAX_API const drax_field_t *drax_field_find(const drax_field_t *self, const char *name);

#ifdef __cplusplus
}
#endif

#endif
