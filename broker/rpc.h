/* rpc.h: the client protocol's requests and answers (contract section 2).
 *
 * A request is decoded the same way in two places: by the gateway, to refuse it before it costs
 * anything, and by the state, to apply it. So a command in the log is the client's own payload, and
 * decoding depends on those bytes alone: no local setting, no clock.
 *
 * An answer travels as "outcome" bytes: the two msgpack values `error, result` of a response. The
 * gateway puts the array header, kind and msgid before them and never parses them.
 */
#ifndef DRAX_BROKER_RPC_H
#define DRAX_BROKER_RPC_H

#include "broker/pack.h"

typedef enum {
    METHOD_UNKNOWN = 0,
    METHOD_PING,
    METHOD_GET,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_EXISTS,
    METHOD_LIST,
    METHOD_RANGE,
    METHOD_DELETE_TREE,
    METHOD_ATOMIC_PUT,
    METHOD_ATOMIC_DELETE,
    METHOD_TXN,
    METHOD_LEASE_GRANT,
    METHOD_LEASE_KEEPALIVE,
    METHOD_LEASE_GET,
    METHOD_LEASE_REVOKE,
    METHOD_LOCK,
    METHOD_UNLOCK,
    METHOD_LOCK_CANCEL,
    METHOD_STATUS,
    METHOD_MEMBER_LIST,
    METHOD_SNAPSHOT,
    METHOD_MEMBER_ADD,
    METHOD_MEMBER_REMOVE,
    METHOD_MEMBER_PROMOTE,
    METHOD_LEADER_TRANSFER,
    METHOD_WATCH,
    METHOD_WATCH_TREE,
    METHOD_WATCH_CANCEL,
    METHOD_EXPIRE, /* internal (expire_open below); request_decode never gives it */
    METHOD_END
} method_t;

typedef enum {
    METHOD_KIND_LOCAL, /* answered by the gateway: ping, status */
    METHOD_KIND_READ,  /* get, exists, list, range, lease_get, member_list, snapshot; watch: its
                          begin */
    METHOD_KIND_WRITE, /* through the log */
    METHOD_KIND_ADMIN, /* membership and leadership, through the raft actor */
    METHOD_KIND_WATCH, /* about what the gateway keeps for a connection: watch_cancel */
    METHOD_KIND_LOCK   /* about a request that waits in the gateway: lock_cancel */
} method_kind_t;

method_kind_t method_kind(method_t method);
const char *method_name(method_t method);
method_t method_find(slice_t name); /* METHOD_UNKNOWN when it is none that a client may call */

typedef enum { RPC_REQUEST = 0, RPC_RESPONSE = 1, RPC_NOTIFICATION = 2 } rpc_kind_t;

/* Error codes of the contract, in its words. */
typedef enum {
    RPC_OK = 0,
    RPC_KEY_NOT_FOUND,
    RPC_KEY_EXISTS,
    RPC_KEY_MODIFIED,
    RPC_PREVIOUS_NOT_SPECIFIED,
    RPC_CANNOT_LOCK,
    RPC_LOCK_LOST,
    RPC_LEASE_NOT_FOUND,
    RPC_COMPACTED,
    RPC_INVALID_ARGUMENT,
    RPC_UNKNOWN_METHOD,
    RPC_TOO_LARGE,
    RPC_PERMISSION_DENIED,
    RPC_UNAVAILABLE,
    RPC_TIMEOUT,
    RPC_CODE_END
} rpc_code_t;

const char *rpc_code_name(rpc_code_t code);

/* One request, decoded. All slices borrow from the payload. */
typedef struct request {
    rpc_kind_t kind;
    uint32_t msgid; /* 0 where it could not be read */
    method_t method;
    slice_t key; /* key, directory, or start of a range */
    slice_t end; /* range */
    slice_t value;
    bool has_previous; /* previous was given and is not nil */
    uint64_t previous;
    bool stale, keys_only, count_only, reverse;
    uint64_t limit; /* 0: none */
    bool has_after;
    slice_t after;
    uint64_t ttl_ms; /* 0: none */
    uint64_t lease;  /* 0: none */
    slice_t client;  /* exactly once; size 0: none */
    uint64_t seq;
    bool has_fence;
    slice_t fence_key;
    uint64_t fence_token;
    uint64_t id; /* member id; 0: none */
    slice_t addr, raft_addr;
    bool has_value; /* lock */
    uint64_t token; /* unlock */
    bool has_wait;
    uint64_t wait_ms;
    uint32_t target;                   /* lock_cancel: a msgid */
    slice_t compares, then, otherwise; /* txn: each a list, checked; see below */
    uint64_t from;                     /* watch: the first revision wanted; 0: none given */
    uint64_t snapshot, chunk;          /* snapshot: which (0: a new one), and what of it */
    uint64_t watch;                    /* watch_cancel and credit: which */
    uint64_t credit;                   /* a notification's: how many more; 0: it is another one */
} request_t;

/* Why a request was refused: a contract code and a sentence. Static or in-struct storage. */
typedef struct rpc_error {
    rpc_code_t code;
    char text[160];
} rpc_error_t;

/* Decodes one client payload: pre-scan, then every rule of the contract that needs no state: shape,
 * types, ranges, key length, unknown options, trailing bytes, ttl with lease.
 * 0: `out` is a request to serve. DRAX_EAGAIN: a message without an answer: the notification
 * `credit` when out->credit is not 0, else (kind 1, other notifications) one to ignore.
 * DRAX_EPROTO: refuse it with `error`; out->msgid is set where it could be read. */
int request_decode(slice_t payload, request_t *out, rpc_error_t *error);

/* ---- transactions (rpc_txn.c) ----
 *
 *   compares        = [[key, target, op, operand] ...]
 *   then, otherwise = [[method, [positional..., {options}?]] ...]
 *
 * request_decode has checked all of it, the parameters of each operation included, so what a list
 * of a decoded request holds can be read without looking for mistakes.
 */
typedef enum { COMPARE_INDEX, COMPARE_VERSION, COMPARE_VALUE, COMPARE_EXISTS } compare_target_t;
typedef enum { COMPARE_EQUAL, COMPARE_UNEQUAL, COMPARE_LESS, COMPARE_GREATER } compare_op_t;

typedef struct compare {
    slice_t key;
    compare_target_t target;
    compare_op_t op;
    uint64_t number; /* index, version; exists: 0 or 1 */
    slice_t value;
} compare_t;

/* A place in one of the lists; slices borrow from the request's payload. */
typedef struct txn_list {
    size_t left;
    slice_t rest;
} txn_list_t;

int txn_list_open(txn_list_t *out, slice_t list); /* DRAX_EPROTO: not an array */
/* 1: the next one. 0: no more. DRAX_EPROTO: malformed. */
int txn_compare_next(txn_list_t *self, compare_t *out);
int txn_operation_next(txn_list_t *self, request_t *out);

/* The one command that no client sends: what is due, each as storage found it then: a key with its
 * revision (index), a lease with how often it was renewed.
 *
 *   expire = ["expire", [[key, revision] | [lease, renewals] ...]]    key = bin, lease = uint
 *
 * An array that begins with a string is not a message of the client protocol: request_decode
 * refuses it, so none can come in through a gateway. The state tries expire_open first,
 * request_decode when that says DRAX_EAGAIN. `count` calls of the two adders must follow
 * expire_begin.
 */
void expire_begin(buffer_t *out, size_t count);
void expire_add(buffer_t *out, slice_t key, uint64_t revision);
void expire_add_lease(buffer_t *out, uint64_t lease, uint64_t renewals);

typedef struct expire {
    size_t count;
    size_t at;
    slice_t rest;
} expire_t;

typedef struct expire_item {
    slice_t key;    /* size 0: a lease */
    uint64_t lease; /* 0: a key */
    uint64_t mark;  /* revision or renewals */
} expire_item_t;

/* 0: an expire command, checked to its end. DRAX_EAGAIN: something else. DRAX_EPROTO: begins like
 * one and is malformed. Slices borrow from `command`. */
int expire_open(expire_t *out, slice_t command);
/* 1: the next one. 0: no more. */
int expire_next(expire_t *self, expire_item_t *out);

/* ---- requests that wait (rpc_wait.c) ----
 *
 * What a gateway itself puts into the log about requests that wait for a lock, by the numbers that
 * the state gave them:
 *
 *   wait = ["cancel" | "resume", [waiter ...]]
 *
 * cancel: they wait no longer. resume: whoever has stopped waiting is told of again. Like expire,
 * none of this can come from a client.
 */
typedef enum { WAIT_CANCEL, WAIT_RESUME } wait_op_t;

void wait_begin(buffer_t *out, wait_op_t op, size_t count);
void wait_add(buffer_t *out, uint64_t waiter);

typedef struct wait_list {
    wait_op_t op;
    size_t left;
    slice_t rest;
} wait_list_t;

int wait_open(wait_list_t *out, slice_t command); /* as expire_open */
int wait_next(wait_list_t *self, uint64_t *waiter);

/* Outcome bytes. Success writes nil for the error; the caller then packs the result map. */
void rpc_success(buffer_t *out);
void rpc_failure(buffer_t *out, rpc_code_t code, const char *text);
/* COMPACTED with its details: the first revision still kept. */
void rpc_compacted(buffer_t *out, uint64_t first);

/* A whole response: [1, msgid, outcome]. */
void rpc_response(buffer_t *out, uint32_t msgid, slice_t outcome);

/* The directory rules of the contract: the prefix that holds the keys of directory `d` ("" and "/":
 * the whole store, size 0; else d without one trailing slash, plus "/"). `scratch` has room for
 * LIMIT_KEY_BYTES + 1. */
slice_t rpc_directory_prefix(slice_t directory, uint8_t *scratch);

#endif
