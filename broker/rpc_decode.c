/* rpc_decode.c: a client's payload to a request_t, by the rules of the contract.
 *
 *   payload = request | response | notification
 *   request = [0, msgid, method, [positional..., {options}?]]
 *   response = [1, any, any, any]              ignored
 *   notification = [2, "credit", [watch, n]]    any other is ignored
 *
 * Invariants
 *  1. The outcome depends on the bytes alone, so every node decodes a command in the log alike.
 *  2. Nothing is allocated; slices point into the payload.
 *  3. The pre-scan has accepted the whole payload before anything but the msgid is looked at.
 */
#include <stdio.h>
#include <string.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/limits.h"
#include "broker/rpc_internal.h"
#include "broker/unpack.h"

#define ID_MAX UINT32_MAX
#define REFUSED_NAME_BYTES 40u
#define CREDIT_NAME "credit"

static int head_decode(slice_t *rest, size_t *arity, request_t *out);
static int notification_decode(slice_t rest, size_t arity, request_t *out, rpc_error_t *error);
static int positional_decode(slice_t *rest, param_t param, request_t *out, rpc_error_t *error);
static int options_decode(slice_t *rest, size_t count, request_t *out, rpc_error_t *error);
static int option_decode(unsigned option, slice_t *rest, request_t *out, const char **wanted);
static int options_check(const request_t *out, rpc_error_t *error);

static int refuse(rpc_error_t *error, rpc_code_t code, const char *text) {
    error->code = code;
    snprintf(error->text, sizeof error->text, "%s", text);
    return DRAX_EPROTO;
}

int rpc_invalid(rpc_error_t *error, const char *text) {
    return refuse(error, RPC_INVALID_ARGUMENT, text);
}

/* As rpc_invalid(), with the offending name where it can be shown. */
static int name_refuse(rpc_error_t *error, rpc_code_t code, const char *text, slice_t name) {
    bool printable = name.size > 0 && name.size <= REFUSED_NAME_BYTES;
    for (size_t i = 0; printable && i < name.size; i++)
        printable = name.data[i] > ' ' && name.data[i] <= '~';
    error->code = code;
    if (printable)
        snprintf(error->text, sizeof error->text, "%s: %.*s", text, (int) name.size,
                 (const char *) name.data);
    else
        snprintf(error->text, sizeof error->text, "%s", text);
    return DRAX_EPROTO;
}

int request_decode(slice_t payload, request_t *out, rpc_error_t *error) {
    memset(out, 0, sizeof *out);
    slice_t rest = payload;
    size_t arity, used;
    /* The msgid is read first: it is echoed even when what follows it is damaged. */
    int head = head_decode(&rest, &arity, out);
    int rc = pack_scan(payload, LIMIT_NESTING, LIMIT_ELEMENTS, &used);
    if (rc == DRAX_ETOOLARGE)
        return rpc_invalid(error, "the message nests too deep, or declares more than it holds");
    if (rc != 0)
        return rpc_invalid(error, "the payload is not a MessagePack message");
    if (used != payload.size)
        return rpc_invalid(error, "bytes follow the message");
    if (head != 0)
        return rpc_invalid(error, "not a MessagePack-RPC message");
    if (out->kind == RPC_NOTIFICATION)
        return notification_decode(rest, arity, out, error);
    if (arity != 4)
        return rpc_invalid(error, "a request and a response have four elements");
    if (out->kind == RPC_RESPONSE)
        return DRAX_EAGAIN;
    return rpc_call_decode(&rest, out, error);
}

/* Reads [kind, and the msgid of a request; leaves `rest` behind what it read. */
static int head_decode(slice_t *rest, size_t *arity, request_t *out) {
    item_t item;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_ARRAY)
        return DRAX_EPROTO;
    *arity = item.count;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_UINT || item.number > RPC_NOTIFICATION)
        return DRAX_EPROTO;
    out->kind = (rpc_kind_t) item.number;
    if (out->kind != RPC_REQUEST)
        return 0;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_UINT || item.number > UINT32_MAX)
        return DRAX_EPROTO;
    out->msgid = (uint32_t) item.number;
    return 0;
}

/* `method, params`: the positional parameters, then perhaps a map of options. */
int rpc_call_decode(slice_t *rest, request_t *out, rpc_error_t *error) {
    item_t item;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_STR)
        return rpc_invalid(error, "the method must be a string");
    slice_t name = item.bytes;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_ARRAY)
        return rpc_invalid(error, "the parameters must be an array");
    out->method = method_find(name);
    if (out->method == METHOD_UNKNOWN)
        return name_refuse(error, RPC_UNKNOWN_METHOD, "unknown method", name);

    const method_spec_t *spec = method_spec(out->method);
    size_t left = item.count;
    for (size_t i = 0; i < METHOD_POSITIONAL_MAX && spec->positional[i] != PARAM_NONE; i++) {
        slice_t peek = *rest;
        bool optional = spec->positional[i] == PARAM_ID_OR_NIL;
        bool none = left == 0 || (unpack_item(&peek, &item) == 0 && item.type == ITEM_MAP);
        if (none && optional)
            continue;
        if (none)
            return rpc_invalid(error, "a parameter is missing");
        int rc = positional_decode(rest, spec->positional[i], out, error);
        if (rc != 0)
            return rc;
        left--;
    }
    if (left == 0)
        return options_check(out, error);
    if (left > 1 || unpack_item(rest, &item) != 0 || item.type != ITEM_MAP)
        return rpc_invalid(error, "too many parameters");
    return options_decode(rest, item.count, out, error);
}

int rpc_bytes_decode(slice_t *rest, size_t min, size_t max, slice_t *out) {
    item_t item;
    if (unpack_item(rest, &item) != 0 || (item.type != ITEM_STR && item.type != ITEM_BIN) ||
        item.bytes.size < min || item.bytes.size > max)
        return DRAX_EPROTO;
    *out = item.bytes;
    return 0;
}

static int uint_decode(slice_t *rest, uint64_t min, uint64_t max, uint64_t *out) {
    item_t item;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_UINT || item.number < min ||
        item.number > max)
        return DRAX_EPROTO;
    *out = item.number;
    return 0;
}

static int bool_decode(slice_t *rest, bool *out) {
    item_t item;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_BOOL)
        return DRAX_EPROTO;
    *out = item.number != 0;
    return 0;
}

static int notification_decode(slice_t rest, size_t arity, request_t *out, rpc_error_t *error) {
    item_t method, params;
    if (arity != 3 || unpack_item(&rest, &method) != 0 || method.type != ITEM_STR ||
        unpack_item(&rest, &params) != 0 || params.type != ITEM_ARRAY)
        return rpc_invalid(error, "a notification is [2, method, [params]]");
    bool credit = method.bytes.size == strlen(CREDIT_NAME) &&
                  memcmp(method.bytes.data, CREDIT_NAME, method.bytes.size) == 0;
    if (!credit || params.count != 2 || uint_decode(&rest, 1, LIMIT_INTEGER, &out->watch) != 0 ||
        uint_decode(&rest, 1, LIMIT_INTEGER, &out->credit) != 0)
        out->credit = 0; /* nobody waits for an answer to a notification */
    return DRAX_EAGAIN;
}

static bool nil_take(slice_t *rest) {
    slice_t peek = *rest;
    item_t item;
    if (unpack_item(&peek, &item) != 0 || item.type != ITEM_NIL)
        return false;
    *rest = peek;
    return true;
}

/* Where others can connect to: HOST:PORT, and not the wildcard. */
static int addr_decode(slice_t *rest, slice_t *out) {
    item_t item;
    char text[LIMIT_ADDR_BYTES];
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_STR || item.bytes.size >= sizeof text ||
        memchr(item.bytes.data, '\0', item.bytes.size))
        return DRAX_EPROTO;
    memcpy(text, item.bytes.data, item.bytes.size);
    text[item.bytes.size] = '\0';
    if (!address_valid(text) || address_wildcard(text))
        return DRAX_EPROTO;
    *out = item.bytes;
    return 0;
}

static int previous_decode(slice_t *rest, request_t *out) {
    if (nil_take(rest))
        return 0;
    out->has_previous = true;
    return uint_decode(rest, 1, LIMIT_INTEGER, &out->previous);
}

static int msgid_decode(slice_t *rest, uint32_t *out) {
    uint64_t number = 0;
    int rc = uint_decode(rest, 0, UINT32_MAX, &number);
    *out = (uint32_t) number;
    return rc;
}

static int positional_decode(slice_t *rest, param_t param, request_t *out, rpc_error_t *error) {
    int rc = 0;
    const char *wanted = "";
    switch (param) {
    case PARAM_KEY:
        wanted = "a key is a string of 1 to 4096 bytes";
        rc = rpc_bytes_decode(rest, 1, LIMIT_KEY_BYTES, &out->key);
        break;
    case PARAM_DIRECTORY:
        wanted = "a directory is a string of up to 4096 bytes";
        rc = rpc_bytes_decode(rest, 0, LIMIT_KEY_BYTES, &out->key);
        break;
    case PARAM_START:
    case PARAM_END:
        wanted = "the ends of a range are strings of up to 4096 bytes";
        rc = rpc_bytes_decode(rest, 0, LIMIT_KEY_BYTES, param == PARAM_END ? &out->end : &out->key);
        break;
    case PARAM_VALUE:
        wanted = "a value is a string";
        rc = rpc_bytes_decode(rest, 0, SIZE_MAX, &out->value);
        break;
    case PARAM_PREVIOUS:
        wanted = "previous is nil or an index from 1 to 2^53-1";
        rc = previous_decode(rest, out);
        break;
    case PARAM_ID:
    case PARAM_ID_OR_NIL:
        wanted = "a member's id is an integer from 1 to 2^32-1";
        if (param == PARAM_ID || !nil_take(rest))
            rc = uint_decode(rest, 1, ID_MAX, &out->id);
        break;
    case PARAM_ADDR:
    case PARAM_RAFT_ADDR:
        wanted = "an address is a string HOST:PORT that others can connect to";
        rc = addr_decode(rest, param == PARAM_ADDR ? &out->addr : &out->raft_addr);
        break;
    case PARAM_LEASE:
        wanted = "a lease is an integer from 1 to 2^53-1";
        rc = uint_decode(rest, 1, LIMIT_INTEGER, &out->lease);
        break;
    case PARAM_TTL_MS:
        wanted = "ttl_ms is an integer from 1 to 2^53-1";
        rc = uint_decode(rest, 1, LIMIT_INTEGER, &out->ttl_ms);
        break;
    case PARAM_TOKEN:
        wanted = "a token is an integer from 0 to 2^53-1";
        rc = uint_decode(rest, 0, LIMIT_INTEGER, &out->token);
        break;
    case PARAM_MSGID:
        wanted = "a msgid is an integer from 0 to 2^32-1";
        rc = msgid_decode(rest, &out->target);
        break;
    case PARAM_COMPARES:
        return rpc_compares_decode(rest, &out->compares, error);
    case PARAM_THEN:
        return rpc_operations_decode(rest, &out->then, error);
    case PARAM_ELSE:
        return rpc_operations_decode(rest, &out->otherwise, error);
    case PARAM_SNAPSHOT:
    case PARAM_CHUNK:
        wanted = "a snapshot and its chunk are integers from 0 to 2^53-1";
        rc = uint_decode(rest, 0, LIMIT_INTEGER,
                         param == PARAM_CHUNK ? &out->chunk : &out->snapshot);
        break;
    case PARAM_WATCH:
        wanted = "a watch is an integer from 1 to 2^53-1";
        rc = uint_decode(rest, 1, LIMIT_INTEGER, &out->watch);
        break;
    case PARAM_NONE:
        break;
    }
    return rc == 0 ? 0 : rpc_invalid(error, wanted);
}

static int options_decode(slice_t *rest, size_t count, request_t *out, rpc_error_t *error) {
    const method_spec_t *spec = method_spec(out->method);
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++) {
        item_t name;
        if (unpack_item(rest, &name) != 0 || name.type != ITEM_STR)
            return rpc_invalid(error, "the name of an option must be a string");
        unsigned option = option_find(name.bytes) & spec->options;
        if (option == 0)
            return name_refuse(error, RPC_INVALID_ARGUMENT, "unknown option", name.bytes);
        if (seen & option)
            return name_refuse(error, RPC_INVALID_ARGUMENT, "option given twice", name.bytes);
        seen |= option;
        if (nil_take(rest))
            continue;
        const char *wanted = "";
        if (option_decode(option, rest, out, &wanted) != 0)
            return rpc_invalid(error, wanted);
    }
    return options_check(out, error);
}

static int fence_decode(slice_t *rest, request_t *out) {
    item_t item;
    if (unpack_item(rest, &item) != 0 || item.type != ITEM_ARRAY || item.count != 2)
        return DRAX_EPROTO;
    out->has_fence = true;
    int rc = rpc_bytes_decode(rest, 1, LIMIT_KEY_BYTES, &out->fence_key);
    return rc == 0 ? uint_decode(rest, 0, LIMIT_INTEGER, &out->fence_token) : rc;
}

static int option_decode(unsigned option, slice_t *rest, request_t *out, const char **wanted) {
    switch (option) {
    case OPTION_STALE:
        *wanted = "stale is true or false";
        return bool_decode(rest, &out->stale);
    case OPTION_KEYS_ONLY:
        *wanted = "keys_only is true or false";
        return bool_decode(rest, &out->keys_only);
    case OPTION_COUNT_ONLY:
        *wanted = "count_only is true or false";
        return bool_decode(rest, &out->count_only);
    case OPTION_REVERSE:
        *wanted = "reverse is true or false";
        return bool_decode(rest, &out->reverse);
    case OPTION_LIMIT:
        *wanted = "limit is an integer from 0 to 2^53-1";
        return uint_decode(rest, 0, LIMIT_INTEGER, &out->limit);
    case OPTION_AFTER:
        *wanted = "after is a string of up to 4096 bytes";
        out->has_after = true;
        return rpc_bytes_decode(rest, 0, LIMIT_KEY_BYTES, &out->after);
    case OPTION_TTL_MS:
        *wanted = "ttl_ms is an integer from 1 to 2^53-1";
        return uint_decode(rest, 1, LIMIT_INTEGER, &out->ttl_ms);
    case OPTION_LEASE:
        *wanted = "lease is an integer from 1 to 2^53-1";
        return uint_decode(rest, 1, LIMIT_INTEGER, &out->lease);
    case OPTION_CLIENT:
        *wanted = "client is a string of 1 to 32 bytes";
        return rpc_bytes_decode(rest, 1, LIMIT_CLIENT_ID_BYTES, &out->client);
    case OPTION_SEQ:
        *wanted = "seq is an integer from 1 to 2^53-1";
        return uint_decode(rest, 1, LIMIT_INTEGER, &out->seq);
    case OPTION_FENCE:
        *wanted = "fence is [key, token]";
        return fence_decode(rest, out);
    case OPTION_VALUE:
        *wanted = "a value is a string";
        out->has_value = true;
        return rpc_bytes_decode(rest, 0, SIZE_MAX, &out->value);
    case OPTION_ID:
        *wanted = "id is an integer from 1 to 2^32-1";
        return uint_decode(rest, 1, ID_MAX, &out->id);
    case OPTION_FROM:
        *wanted = "from is a revision from 1 to 2^53-1";
        return uint_decode(rest, 1, LIMIT_INTEGER, &out->from);
    case OPTION_WAIT_MS:
        *wanted = "wait_ms is an integer from 0 to 2^53-1";
        out->has_wait = true;
        return uint_decode(rest, 0, LIMIT_INTEGER, &out->wait_ms);
    default:
        return DRAX_EPROTO;
    }
}

/* Rules that concern two options, and options that must be there. */
static int options_check(const request_t *out, rpc_error_t *error) {
    if (out->ttl_ms != 0 && out->lease != 0)
        return rpc_invalid(error, "ttl_ms and lease exclude each other");
    if ((out->client.size != 0) != (out->seq != 0))
        return rpc_invalid(error, "client and seq go together");
    if (out->method == METHOD_LOCK && out->ttl_ms == 0)
        return rpc_invalid(error, "a lock needs ttl_ms");
    return 0;
}
