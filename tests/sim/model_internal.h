/* model_internal.h: what the model's files share:
 *
 *   model.c         keys, versions, revisions, undoing; the methods that write keys
 *   model_read.c    reads, as of any revision
 *   model_txn.c     transactions
 *   model_lease.c   leases
 *   model_lock.c    locks, those that wait for them, and fences
 */
#ifndef DRAX_TESTS_SIM_MODEL_INTERNAL_H
#define DRAX_TESTS_SIM_MODEL_INTERNAL_H

#include "tests/sim/model.h"

typedef struct version {
    uint64_t revision; /* of the change that made it: the key's index */
    bool exists;
    uint64_t created, writes; /* revision that made the key; writes since then */
    uint64_t due_ms, ttl_ms;  /* due_ms 0: never by itself; ttl_ms also of a lease */
    uint64_t lease;           /* 0: none */
    bool locked;              /* a lock that is held, under the token `lease` */
    slice_t value;
    uint64_t value_hash;
    payload_t *owner;
} version_t;

typedef struct model_key {
    slice_t name; /* owned */
    uint64_t hash;
    version_t *versions;
    size_t count, capacity;
} model_key_t;

/* Granted leases are numbered from 1; they stay here when they have ended. */
typedef struct model_lease {
    bool held;
    uint64_t ttl_ms, due_ms, renewals;
    model_key_t *lock; /* the lock that it holds; NULL: none */
    bool taken;        /* that lock took over a plain key */
} model_lease_t;

/* A lock request that had to wait; they are numbered from 1, and stay when they were answered. */
typedef struct model_waiter {
    bool waits;
    bool has_value;
    slice_t key, value;
    uint64_t ttl_ms;
    payload_t *owner;
} model_waiter_t;

struct model {
    bool trusting; /* every lease that a request names is there, and due */
    model_lease_t *leases;
    size_t lease_count, lease_capacity;
    model_waiter_t *waiters;
    size_t waiter_first; /* none before this place waits */
    size_t waiter_count, waiter_capacity;
    /* Of the command at hand, or the last one. */
    uint64_t time_ms;
    uint64_t waits;       /* the number under which it waits */
    uint64_t fence_token; /* a transaction's: it is that of its operations too */
    model_settled_t *settled;
    size_t settled_count, settled_capacity;
    uint64_t *ended; /* leases */
    size_t ended_count, ended_capacity;
    size_t leases_before;
    bool handed_back;   /* it was refused after it had handed on a lock */
    model_key_t **keys; /* all that ever were, sorted by bytes */
    size_t key_count, key_capacity;
    size_t existing;
    uint64_t revision;
    uint64_t hash;
    change_t *changes; /* of all revisions, in order */
    model_key_t **changed;
    size_t change_count, change_capacity, changed_capacity;
    size_t *starts; /* starts[r]: the first change of revision r */
    size_t start_capacity;
};

/* Place of the first key >= `name`. */
size_t model_seek(const model_t *self, slice_t name);
/* The key as it was at `revision`; NULL: it did not exist. */
const version_t *model_at(const model_key_t *key, uint64_t revision);
/* The keys of a directory: those from *low to below *high. */
void model_directory(const model_t *self, slice_t directory, size_t *low, size_t *high);

model_key_t *model_key_make(model_t *self, slice_t name); /* found, or made without versions */
/* Writes the key as `is` says: value (owner is shared), time, lease, locked; the rest follows. */
void model_key_put(model_t *self, model_key_t *key, const version_t *is);
void model_key_remove(model_t *self, model_key_t *key, change_type_t type);
const version_t *model_now(const model_key_t *key);
model_key_t *model_key(const model_t *self, slice_t name); /* NULL: never was */
/* Makes what was changed since the last revision the next one, if anything was. */
bool model_revision_close(model_t *self);
/* Takes back what was changed since the last revision. */
void model_revision_drop(model_t *self);
bool model_changed(const model_t *self); /* since the last revision */

/* Does what the request asks, without closing the revision, or gives the reason why not. */
rpc_code_t model_write_do(model_t *self, const request_t *request, payload_t *owner, reply_t *out);
/* As model_read, of the present with what was changed since the last revision. */
void model_read_now(const model_t *self, const request_t *request, reply_t *out);

/* model_txn.c */
rpc_code_t model_txn(model_t *self, const request_t *request, payload_t *owner, reply_t *out);

/* model_lock.c */
void model_command_begin(model_t *self, uint64_t time_ms);
/* Takes back all that the command did. */
void model_command_drop(model_t *self);
/* May the request write a key that is so now (NULL: there is none)? */
rpc_code_t model_lock_check(const model_t *self, const request_t *request,
                            const version_t *version);
/* Does it carry the fence of this lock? */
bool model_lock_owned(const model_t *self, const request_t *request, const version_t *version);
rpc_code_t model_lock(model_t *self, const request_t *request, payload_t *owner, reply_t *out);
rpc_code_t model_unlock(model_t *self, const request_t *request, reply_t *out);
void model_lock_end(model_t *self, model_key_t *key, bool taken, change_type_t type);

/* model_lease.c */
uint64_t model_lease_add(model_t *self, uint64_t ttl_ms);
/* With the lock that it holds and all its keys. */
void model_lease_end(model_t *self, uint64_t id, change_type_t type);
/* What is left at the most of a key's time that is on a lease. */
uint64_t model_lease_ttl_ms(const model_t *self, uint64_t id);
rpc_code_t model_lease_write(model_t *self, const request_t *request, reply_t *out);
void model_lease_expire(model_t *self, uint64_t id, uint64_t renewals);

#endif
