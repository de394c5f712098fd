/* reply.c: see reply.h.
 *
 *   response = [1, msgid, error, result]
 *   error    = nil | [code, text] | [code, text, details]
 *   result   = nil after an error, else {name: any ...}; names that are not known are passed over
 */
#include "tests/sim/reply.h"

#include <string.h>
#include <xxhash.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/unpack.h"

uint64_t reply_hash(slice_t bytes) {
    return XXH3_64bits(bytes.data, bytes.size) | 1;
}

uint64_t reply_mix(uint64_t hash, uint64_t value) {
    uint64_t z = (hash + value) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t reply_pair(uint64_t before, uint64_t key_hash, uint64_t index, uint64_t value_hash) {
    return reply_mix(reply_mix(reply_mix(before, key_hash), index), value_hash);
}

static bool text_is(slice_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static slice_t bytes_read(unpack_t *in) {
    slice_t peek = in->rest;
    item_t item;
    if (unpack_item(&peek, &item) == 0 && item.type == ITEM_STR)
        return unpack_str(in);
    return unpack_bin(in);
}

static void any_skip(unpack_t *in) {
    size_t used = 0;
    if (in->code || pack_scan(in->rest, LIMIT_NESTING, LIMIT_ELEMENTS, &used)) {
        unpack_fail(in);
        return;
    }
    in->rest = (slice_t){in->rest.data + used, in->rest.size - used};
}

static size_t map_read(unpack_t *in) {
    item_t item;
    if (in->code == 0 && unpack_item(&in->rest, &item) == 0 && item.type == ITEM_MAP)
        return item.count;
    unpack_fail(in);
    return 0;
}

static void pair_read(unpack_t *in, reply_t *out) {
    slice_t key = {0}, value = {0};
    uint64_t index = 0;
    bool valued = false;
    size_t count = map_read(in);
    for (size_t i = 0; i < count && in->code == 0; i++) {
        slice_t name = unpack_str(in);
        if (text_is(name, "key")) {
            key = bytes_read(in);
        } else if (text_is(name, "value")) {
            value = unpack_bin(in);
            valued = true;
        } else if (text_is(name, "index")) {
            index = unpack_uint(in, LIMIT_INTEGER);
        } else {
            any_skip(in);
        }
    }
    out->digest = reply_pair(out->digest, reply_hash(key), index, valued ? reply_hash(value) : 0);
    out->pairs++;
    out->bytes += key.size + value.size;
    out->last = key;
}

static void pairs_read(unpack_t *in, reply_t *out) {
    size_t count = unpack_array(in, LIMIT_ELEMENTS * 64u);
    for (size_t i = 0; i < count && in->code == 0; i++)
        pair_read(in, out);
}

int reply_pairs(slice_t pairs, reply_t *out) {
    unpack_t in = unpack_begin(pairs);
    pairs_read(&in, out);
    return unpack_end(&in);
}

static const struct {
    const char *name;
    unsigned field;
    size_t offset;
} numbers[] = {
    {"revision", REPLY_REVISION, offsetof(reply_t, revision)},
    {"index", REPLY_INDEX, offsetof(reply_t, index)},
    {"deleted", REPLY_DELETED, offsetof(reply_t, deleted)},
    {"count", REPLY_COUNT, offsetof(reply_t, count)},
    {"ttl_ms", REPLY_TTL_MS, offsetof(reply_t, ttl_ms)},
    {"lease", REPLY_LEASE, offsetof(reply_t, lease)},
    {"node", REPLY_NODE, offsetof(reply_t, node)},
    {"id", REPLY_ID, offsetof(reply_t, id)},
    {"keys", REPLY_KEYS, offsetof(reply_t, keys)},
    {"granted_ms", REPLY_GRANTED_MS, offsetof(reply_t, granted_ms)},
    {"token", REPLY_TOKEN, offsetof(reply_t, token)},
};

static bool number_read(unpack_t *in, slice_t name, reply_t *out) {
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!text_is(name, numbers[i].name))
            continue;
        out->fields |= numbers[i].field;
        *(uint64_t *) (void *) ((char *) out + numbers[i].offset) = unpack_uint(in, LIMIT_INTEGER);
        return true;
    }
    return false;
}

uint64_t reply_result(uint64_t before, const reply_t *result) {
    uint64_t hash = reply_mix(before, result->fields);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].field != REPLY_TTL_MS)
            hash = reply_mix(hash, *(const uint64_t *) (const void *) ((const char *) result +
                                                                       numbers[i].offset));
    hash = reply_mix(hash, (uint64_t) result->exists << 1 | result->more);
    return reply_mix(reply_mix(hash, result->pairs), result->digest);
}

static void result_read(unpack_t *in, reply_t *out);

static void results_read(unpack_t *in, reply_t *out) {
    size_t count = unpack_array(in, LIMIT_TXN_OPERATIONS);
    for (size_t i = 0; i < count && in->code == 0; i++) {
        reply_t result = {0};
        result_read(in, &result);
        out->digest = reply_result(out->digest, &result);
        out->pairs++;
    }
}

/* `key` and `value` of one key: gathered, as the digest needs them with the index. */
typedef struct single {
    slice_t key, value;
} single_t;

static void member_read(unpack_t *in, single_t *single, reply_t *out) {
    slice_t name = unpack_str(in);
    if (number_read(in, name, out))
        return;
    if (text_is(name, "key")) {
        out->fields |= REPLY_KEY;
        single->key = bytes_read(in);
    } else if (text_is(name, "value")) {
        out->fields |= REPLY_VALUE;
        single->value = unpack_bin(in);
    } else if (text_is(name, "exists")) {
        out->fields |= REPLY_EXISTS;
        out->exists = unpack_bool(in);
    } else if (text_is(name, "more")) {
        out->fields |= REPLY_MORE;
        out->more = unpack_bool(in);
    } else if (text_is(name, "succeeded")) {
        out->fields |= REPLY_SUCCEEDED;
        out->succeeded = unpack_bool(in);
    } else if (text_is(name, "results")) {
        out->fields |= REPLY_RESULTS;
        results_read(in, out);
    } else if (text_is(name, "pairs")) {
        out->fields |= REPLY_PAIRS;
        pairs_read(in, out);
    } else {
        out->fields |= text_is(name, "members") ? REPLY_MEMBERS : 0;
        out->fields |= text_is(name, "leader") ? REPLY_LEADER : 0;
        any_skip(in);
    }
}

static void result_read(unpack_t *in, reply_t *out) {
    single_t single = {0};
    size_t count = map_read(in);
    for (size_t i = 0; i < count && in->code == 0; i++)
        member_read(in, &single, out);
    if (out->fields & REPLY_KEY)
        out->digest = reply_pair(0, reply_hash(single.key), out->index, reply_hash(single.value));
}

static rpc_code_t code_read(unpack_t *in) {
    size_t count = unpack_array(in, 3);
    slice_t name = count >= 2 ? unpack_str(in) : (slice_t){0};
    unpack_str(in); /* the sentence for people */
    if (count == 3)
        any_skip(in);
    for (int code = RPC_OK + 1; code < RPC_CODE_END; code++)
        if (name.size && text_is(name, rpc_code_name((rpc_code_t) code)))
            return (rpc_code_t) code;
    unpack_fail(in);
    return RPC_OK;
}

int reply_parse(slice_t payload, reply_t *out) {
    memset(out, 0, sizeof *out);
    unpack_t in = unpack_begin(payload);
    unpack_arity(&in, 4);
    if (unpack_uint(&in, RPC_NOTIFICATION) != RPC_RESPONSE)
        unpack_fail(&in);
    out->msgid = (uint32_t) unpack_uint(&in, UINT32_MAX);
    if (unpack_nil(&in)) {
        result_read(&in, out);
    } else {
        out->code = code_read(&in);
        if (!unpack_nil(&in))
            unpack_fail(&in);
    }
    return unpack_end(&in);
}

const char *reply_differs(const reply_t *expected, const reply_t *got) {
    if (expected->code != got->code)
        return "code";
    if (expected->fields != got->fields)
        return "members of the result";
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        size_t at = numbers[i].offset;
        uint64_t a = *(const uint64_t *) (const void *) ((const char *) expected + at);
        uint64_t b = *(const uint64_t *) (const void *) ((const char *) got + at);
        bool remains = numbers[i].field == REPLY_TTL_MS && a && b >= 1 && b <= a;
        if (a != b && !remains)
            return numbers[i].name;
    }
    if (expected->exists != got->exists)
        return "exists";
    if (expected->more != got->more)
        return "more";
    if (expected->succeeded != got->succeeded)
        return "succeeded";
    if (expected->pairs != got->pairs)
        return "number of pairs or results";
    return expected->digest != got->digest ? "keys, values, indexes or results" : NULL;
}
