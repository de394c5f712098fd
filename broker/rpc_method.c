/* rpc_method.c: the methods of the contract, and what each takes.
 *
 * Owns: the table. A method is added by an enum value in rpc.h and a line here; a new kind of
 * parameter or option also needs its reader in rpc_decode.c.
 */
#include <assert.h>
#include <string.h>

#include "broker/rpc_internal.h"

#define LOCAL METHOD_KIND_LOCAL
#define READ METHOD_KIND_READ
#define WRITE METHOD_KIND_WRITE
#define ADMIN METHOD_KIND_ADMIN
#define WATCH METHOD_KIND_WATCH
#define LOCK METHOD_KIND_LOCK

/* clang-format off */
static const method_spec_t methods[METHOD_END] = {
    [METHOD_UNKNOWN] = {"unknown", LOCAL, {PARAM_NONE}, OPTIONS_NONE},
    [METHOD_PING] = {"ping", LOCAL, {PARAM_NONE}, OPTIONS_NONE},
    [METHOD_GET] = {"get", READ, {PARAM_KEY}, OPTION_STALE},
    [METHOD_PUT] = {"put", WRITE, {PARAM_KEY, PARAM_VALUE}, OPTIONS_PUT},
    [METHOD_DELETE] = {"delete", WRITE, {PARAM_KEY}, OPTIONS_WRITE},
    [METHOD_EXISTS] = {"exists", READ, {PARAM_KEY}, OPTION_STALE},
    [METHOD_LIST] = {"list", READ, {PARAM_DIRECTORY},
        OPTION_KEYS_ONLY | OPTION_LIMIT | OPTION_AFTER | OPTION_STALE},
    [METHOD_RANGE] = {"range", READ, {PARAM_START, PARAM_END},
        OPTION_LIMIT | OPTION_REVERSE | OPTION_KEYS_ONLY | OPTION_COUNT_ONLY | OPTION_STALE},
    [METHOD_DELETE_TREE] = {"delete_tree", WRITE, {PARAM_DIRECTORY}, OPTIONS_WRITE},
    [METHOD_ATOMIC_PUT] = {"atomic_put", WRITE, {PARAM_KEY, PARAM_VALUE, PARAM_PREVIOUS},
        OPTIONS_PUT},
    [METHOD_ATOMIC_DELETE] = {"atomic_delete", WRITE, {PARAM_KEY, PARAM_PREVIOUS}, OPTIONS_WRITE},
    [METHOD_TXN] = {"txn", WRITE, {PARAM_COMPARES, PARAM_THEN, PARAM_ELSE}, OPTIONS_WRITE},
    [METHOD_LEASE_GRANT] = {"lease_grant", WRITE, {PARAM_TTL_MS}, OPTIONS_WRITE},
    [METHOD_LEASE_KEEPALIVE] = {"lease_keepalive", WRITE, {PARAM_LEASE}, OPTIONS_WRITE},
    [METHOD_LEASE_GET] = {"lease_get", READ, {PARAM_LEASE}, OPTIONS_NONE},
    [METHOD_LEASE_REVOKE] = {"lease_revoke", WRITE, {PARAM_LEASE}, OPTIONS_WRITE},
    [METHOD_LOCK] = {"lock", WRITE, {PARAM_KEY},
        OPTIONS_WRITE | OPTION_TTL_MS | OPTION_VALUE | OPTION_WAIT_MS},
    [METHOD_UNLOCK] = {"unlock", WRITE, {PARAM_KEY, PARAM_TOKEN}, OPTIONS_WRITE},
    [METHOD_LOCK_CANCEL] = {"lock_cancel", LOCK, {PARAM_MSGID}, OPTIONS_NONE},
    [METHOD_STATUS] = {"status", LOCAL, {PARAM_NONE}, OPTIONS_NONE},
    [METHOD_MEMBER_LIST] = {"member_list", READ, {PARAM_NONE}, OPTIONS_NONE},
    [METHOD_SNAPSHOT] = {"snapshot", READ, {PARAM_SNAPSHOT, PARAM_CHUNK}, OPTIONS_NONE},
    [METHOD_MEMBER_ADD] = {"member_add", ADMIN, {PARAM_ADDR, PARAM_RAFT_ADDR},
        OPTIONS_ONCE | OPTION_ID},
    [METHOD_MEMBER_REMOVE] = {"member_remove", ADMIN, {PARAM_ID}, OPTIONS_ONCE},
    [METHOD_MEMBER_PROMOTE] = {"member_promote", ADMIN, {PARAM_ID}, OPTIONS_ONCE},
    [METHOD_LEADER_TRANSFER] = {"leader_transfer", ADMIN, {PARAM_ID_OR_NIL}, OPTIONS_ONCE},
    [METHOD_WATCH] = {"watch", READ, {PARAM_KEY}, OPTIONS_WATCH},
    [METHOD_WATCH_TREE] = {"watch_tree", READ, {PARAM_DIRECTORY}, OPTIONS_WATCH},
    [METHOD_WATCH_CANCEL] = {"watch_cancel", WATCH, {PARAM_WATCH}, OPTIONS_NONE},
    [METHOD_EXPIRE] = {"expire", WRITE, {PARAM_NONE}, OPTIONS_NONE},
};

static const struct {
    const char *name;
    option_t option;
} options[] = {
    {"stale", OPTION_STALE},           {"keys_only", OPTION_KEYS_ONLY},
    {"count_only", OPTION_COUNT_ONLY}, {"reverse", OPTION_REVERSE},
    {"limit", OPTION_LIMIT},           {"after", OPTION_AFTER},
    {"ttl_ms", OPTION_TTL_MS},         {"lease", OPTION_LEASE},
    {"client", OPTION_CLIENT},         {"seq", OPTION_SEQ},
    {"fence", OPTION_FENCE},           {"id", OPTION_ID},
    {"from", OPTION_FROM},             {"wait_ms", OPTION_WAIT_MS},
    {"value", OPTION_VALUE},
};
/* clang-format on */

static bool name_is(slice_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

method_t method_find(slice_t name) {
    for (int i = METHOD_PING; i < METHOD_EXPIRE; i++)
        if (name_is(name, methods[i].name))
            return (method_t) i;
    return METHOD_UNKNOWN;
}

unsigned option_find(slice_t name) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (name_is(name, options[i].name))
            return options[i].option;
    return 0;
}

const method_spec_t *method_spec(method_t method) {
    assert(method > METHOD_UNKNOWN && method < METHOD_END);
    return &methods[method];
}

method_kind_t method_kind(method_t method) {
    return method_spec(method)->kind;
}

const char *method_name(method_t method) {
    return (unsigned) method < METHOD_END ? methods[method].name : methods[METHOD_UNKNOWN].name;
}
