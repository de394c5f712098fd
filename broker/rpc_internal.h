/* rpc_internal.h: what each method takes, between rpc_method.c (the table) and rpc_decode.c. */
#ifndef DRAX_BROKER_RPC_INTERNAL_H
#define DRAX_BROKER_RPC_INTERNAL_H

#include "broker/rpc.h"

#define METHOD_POSITIONAL_MAX 3

typedef enum {
    PARAM_NONE = 0,
    PARAM_KEY,       /* 1 to LIMIT_KEY_BYTES bytes */
    PARAM_DIRECTORY, /* up to LIMIT_KEY_BYTES bytes, may be empty; so may the next two */
    PARAM_START,
    PARAM_END,
    PARAM_VALUE,
    PARAM_PREVIOUS, /* nil, or an index of 1 or more */
    PARAM_ID,
    PARAM_ID_OR_NIL, /* may also be left out */
    PARAM_ADDR,
    PARAM_RAFT_ADDR,
    PARAM_LEASE,
    PARAM_TTL_MS,
    PARAM_TOKEN,
    PARAM_MSGID,
    PARAM_COMPARES,
    PARAM_THEN,
    PARAM_ELSE,
    PARAM_SNAPSHOT,
    PARAM_CHUNK,
    PARAM_WATCH
} param_t;

typedef enum {
    OPTION_STALE = 1 << 0,
    OPTION_KEYS_ONLY = 1 << 1,
    OPTION_COUNT_ONLY = 1 << 2,
    OPTION_REVERSE = 1 << 3,
    OPTION_LIMIT = 1 << 4,
    OPTION_AFTER = 1 << 5,
    OPTION_TTL_MS = 1 << 6,
    OPTION_LEASE = 1 << 7,
    OPTION_CLIENT = 1 << 8,
    OPTION_SEQ = 1 << 9,
    OPTION_FENCE = 1 << 10,
    OPTION_ID = 1 << 11,
    OPTION_FROM = 1 << 12,
    OPTION_WAIT_MS = 1 << 13,
    OPTION_VALUE = 1 << 14,
    OPTIONS_NONE = 0,
    OPTIONS_WATCH = OPTION_FROM | OPTION_WAIT_MS,
    OPTIONS_ONCE = OPTION_CLIENT | OPTION_SEQ,
    OPTIONS_WRITE = OPTIONS_ONCE | OPTION_FENCE,
    OPTIONS_PUT = OPTIONS_WRITE | OPTION_TTL_MS | OPTION_LEASE
} option_t;

typedef struct method_spec {
    const char *name;
    method_kind_t kind;
    param_t positional[METHOD_POSITIONAL_MAX]; /* in order, then PARAM_NONE */
    unsigned options;                          /* option_t bits */
} method_spec_t;

const method_spec_t *
method_spec(method_t method); /* `method` must be one of the enum, not UNKNOWN */
/* Reads `method, params` at the front of `rest`. DRAX_EPROTO with `error`. */
int rpc_call_decode(slice_t *rest, request_t *out, rpc_error_t *error);
/* Reads a str or bin of `min` to `max` bytes. DRAX_EPROTO. */
int rpc_bytes_decode(slice_t *rest, size_t min, size_t max, slice_t *out);
/* INVALID_ARGUMENT with `text`; returns DRAX_EPROTO. */
int rpc_invalid(rpc_error_t *error, const char *text);
/* Reads a list of compares, or of operations, and checks each; *out is the list with its head. */
int rpc_compares_decode(slice_t *rest, slice_t *out, rpc_error_t *error);
int rpc_operations_decode(slice_t *rest, slice_t *out, rpc_error_t *error);

/* The bit of the option called `name`; 0 when there is none. */
unsigned option_find(slice_t name);

#endif
