/* model.h: the contract's store as a reference: what each method must come to.
 *
 * Owns: every key with all the versions it ever had, and the changes of every revision. Must not
 * know: the product's store (nothing is shared with store/), logs, blocks, sessions, time other
 * than what it is told. It is written for clarity and for being asked about the past: the answer to
 * a read at any revision is found without replaying.
 *
 * Invariants
 *  1. A key's versions are in the order of their revisions, none above the store's revision.
 *  2. A refused write changes nothing; a write that changed something raised the revision by one.
 *  3. model_undo leaves the model exactly as it was before the last revision.
 *
 * Values are not copied: a version shares the payload that its request came in.
 */
#ifndef DRAX_TESTS_SIM_MODEL_H
#define DRAX_TESTS_SIM_MODEL_H

#include "tests/sim/reply.h"

typedef struct model model_t;

/* `trusting`: leases are not kept; each one that a request names is there, and due when it is said
 * to be; locks are granted and end by model_follow alone. For a search that places requests in any
 * order: what leases do to the order is not seen.
 */
model_t *model_new(bool trusting);
void model_free(model_t **self);

uint64_t model_revision(const model_t *self);
/* Of all keys as they are, with their indexes and times: equal stores have equal hashes. */
uint64_t model_hash(const model_t *self);
size_t model_keys(const model_t *self); /* that exist now */

/* Applies a write at cluster time `time_ms` to the present store. `owner` holds the request's bytes
 * and is shared. `out` is the answer that the contract demands (msgid as in the request). Not 0:
 * the request waits for a lock, under this number (they count up from 1); `out` says nothing. */
uint64_t model_write(model_t *self, const request_t *request, payload_t *owner, uint64_t time_ms,
                     reply_t *out);
/* The expiry of the keys that `command` names, those that are still at the index named and due.
 * False: none was, and nothing changed. */
bool model_expire(model_t *self, const expire_t *command, uint64_t time_ms);
/* The request that waits under this number, if it does, waits no longer. */
void model_cancel(model_t *self, uint64_t waiter);

/* A request that waited, and what it came to (msgid 0). */
typedef struct model_settled {
    uint64_t waiter;
    reply_t answer;
} model_settled_t;

/* Those that the last model_write, model_expire or model_cancel settled; until the next one. */
const model_settled_t *model_settled(const model_t *self, size_t *count);

/* RPC_LOCK_LOST: the request has a fence, and that does not hold. */
rpc_code_t model_fence_check(const model_t *self, const request_t *request);
bool model_locked(const model_t *self, slice_t key);

/* Did the last write hand on a lock before it was refused, and so changed nothing? */
bool model_handed_back(const model_t *self);

/* Did `revision` (1 .. present) grant or end a lock? */
bool model_lock_moved(const model_t *self, uint64_t revision);
/* Makes the next revision what `revision`, of the same number, is in another model. */
void model_follow(model_t *self, const model_t *other, uint64_t revision);

/* Takes back the last revision (there must be one). */
void model_undo(model_t *self);

/* The answer to a read as of `revision`, which must not be above the present one. A page without a
 * limit may be cut at about a mebibyte, wherever `got` was cut, if it was cut rightly. Answers
 * without a revision of their own (KEY_NOT_FOUND) are for the caller to place. */
void model_read(const model_t *self, const request_t *request, uint64_t revision,
                const reply_t *got, reply_t *out);

int model_compare(slice_t a, slice_t b); /* the order of keys */

bool model_lease_held(const model_t *self, uint64_t id);    /* now */
bool model_lease_granted(const model_t *self, uint64_t id); /* ever */

/* Does this answer to a write tell that it made its revision? */
bool model_made_revision(const request_t *request, const reply_t *reply);

typedef enum { CHANGE_PUT, CHANGE_DELETE, CHANGE_EXPIRE } change_type_t;

typedef struct change {
    change_type_t type;
    slice_t key, value; /* borrowed; no value but with CHANGE_PUT */
    uint64_t revision;  /* the change's index */
} change_t;

/* The changes of `revision` (1 .. present), in the order they were made; borrowed until the next
 * write. */
const change_t *model_changes(const model_t *self, uint64_t revision, size_t *count);

#endif
