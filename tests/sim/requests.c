/* requests.c: see requests.h. */
#include "tests/sim/requests.h"

#include <string.h>

#include "broker/limits.h"
#include "tests/sim/array.h"

/* ---- keys ---- */

static const char longest[LIMIT_KEY_BYTES] = {'l', 'o', 'n', 'g', '/'};

/* Directories and keys of the same names, neighbours of a directory's range in the order of bytes,
 * slashes where they are easily lost, bytes that are no text. */
static slice_t key_of(unsigned number) {
    static const slice_t keys[] = {
        {(const uint8_t *) "a", 1},
        {(const uint8_t *) "a/", 2},
        {(const uint8_t *) "a/b", 3},
        {(const uint8_t *) "a/b/c", 5},
        {(const uint8_t *) "a/c", 3},
        {(const uint8_t *) "a//", 3},
        {(const uint8_t *) "a0", 2},
        {(const uint8_t *) "a.", 2},
        {(const uint8_t *) "ab", 2},
        {(const uint8_t *) "/", 1},
        {(const uint8_t *) "//", 2},
        {(const uint8_t *) "/a", 2},
        {(const uint8_t *) "\0", 1},
        {(const uint8_t *) "\xff\xff", 2},
        {(const uint8_t *) "\xff\x00/", 3},
        {(const uint8_t *) "d\xc3\xa9/x", 5},
        {(const uint8_t *) longest, sizeof longest},
    };
    static const char numbered[] = "n/00n/01n/02n/03n/04n/05n/06n/07n/08n/09n/10n/11"
                                   "n/12n/13n/14n/15n/16n/17n/18n/19n/20n/21n/22";
    const unsigned special = sizeof keys / sizeof *keys;
    if (number < special)
        return keys[number];
    return (slice_t){(const uint8_t *) numbered + 4 * (number - special), 4};
}

static slice_t directory_of(stream_t *random) {
    static const slice_t directories[] = {
        {NULL, 0},
        {(const uint8_t *) "/", 1},
        {(const uint8_t *) "//", 2},
        {(const uint8_t *) "a", 1},
        {(const uint8_t *) "a/", 2},
        {(const uint8_t *) "a/b", 3},
        {(const uint8_t *) "n", 1},
        {(const uint8_t *) "n/", 2},
        {(const uint8_t *) "none", 4},
        {(const uint8_t *) "\xff\x00", 2},
    };
    return directories[stream_range(random, 0, sizeof directories / sizeof *directories)];
}

/* Some keys are hotter than others. */
static unsigned key_pick(stream_t *random) {
    unsigned bound = stream_chance(random, 500) ? REQUEST_KEYS : 6;
    return (unsigned) stream_range(random, 0, bound);
}

void requests_learn(requests_t *self, slice_t key, uint64_t index) {
    for (unsigned i = 0; i < REQUEST_KEYS; i++) {
        slice_t known = key_of(i);
        if (known.size == key.size && memcmp(known.data, key.data, key.size) == 0)
            self->seen[i] = index;
    }
}

void requests_init(requests_t *self) {
    *self = (requests_t){.large_in_1000 = 2, .ttl_in_1000 = 100, .fence_in_1000 = 60};
    self->scratch = array_new(1, REQUEST_VALUE_BYTES);
}

void requests_clear(requests_t *self) {
    free(self->scratch);
    buffer_free(&self->compares);
    buffer_free(&self->then);
    buffer_free(&self->otherwise);
    *self = (requests_t){0};
}

void requests_learn_lease(requests_t *self, uint64_t lease) {
    for (size_t i = 0; i < REQUEST_LEASES; i++)
        if (self->leases[i] == lease)
            return;
    self->leases[self->lease_next] = lease;
    self->lease_next = (self->lease_next + 1) % REQUEST_LEASES;
}

/* ---- right requests ---- */

/* Values tell by which request they came. */
static slice_t value_make(requests_t *self, stream_t *random, uint32_t msgid) {
    size_t size = stream_range(random, 0, 24);
    if (stream_chance(random, self->large_in_1000)) {
        size = stream_range(random, 10000, REQUEST_VALUE_BYTES);
        for (size_t i = 0; i + sizeof msgid <= size; i += 64)
            memcpy(self->scratch + i, &msgid, sizeof msgid);
    }
    memcpy(self->scratch, &msgid, sizeof msgid);
    return (slice_t){self->scratch, size};
}

static void previous_pick(requests_t *self, stream_t *random, unsigned key, request_t *out) {
    uint64_t guess = stream_chance(random, 800) ? self->seen[key] : stream_range(random, 1, 50);
    out->has_previous = guess != 0 && stream_chance(random, 800);
    out->previous = out->has_previous ? guess : 0;
}

/* Keys that are hot, and some in a directory of many. */
static slice_t lock_key(unsigned number) {
    static const unsigned keys[REQUEST_LOCKS] = {2, 5, 18, 19};
    return key_of(keys[number]);
}

static uint64_t lease_pick(const requests_t *self, stream_t *random) {
    uint64_t lease = self->leases[stream_range(random, 0, REQUEST_LEASES)];
    return lease && stream_chance(random, 950) ? lease : stream_range(random, 1, 1000);
}

void requests_fence(const requests_t *self, stream_t *random, request_t *out) {
    size_t at = stream_range(random, 0, REQUEST_FENCES);
    out->has_fence = true;
    out->fence_key = lock_key(self->fences[at].lock);
    out->fence_token = self->fences[at].token;
    bool keyed = out->method == METHOD_PUT || out->method == METHOD_DELETE ||
                 out->method == METHOD_ATOMIC_PUT || out->method == METHOD_ATOMIC_DELETE;
    if (keyed && stream_chance(random, 500))
        out->key = out->fence_key;
}

/* A write of one key, or of a directory. */
static void key_write(requests_t *self, stream_t *random, uint32_t msgid, request_t *out) {
    static const struct {
        method_t method;
        unsigned share;
    } methods[] = {{METHOD_PUT, 450},
                   {METHOD_ATOMIC_PUT, 250},
                   {METHOD_DELETE, 150},
                   {METHOD_ATOMIC_DELETE, 100},
                   {METHOD_DELETE_TREE, 50}};
    unsigned key = key_pick(random);
    uint64_t draw = stream_range(random, 0, 1000);
    size_t kind = 0;
    while (draw >= methods[kind].share)
        draw -= methods[kind++].share;
    *out = (request_t){.msgid = msgid, .method = methods[kind].method, .key = key_of(key)};
    if (out->method == METHOD_ATOMIC_PUT || out->method == METHOD_ATOMIC_DELETE)
        previous_pick(self, random, key, out);
    if (out->method == METHOD_DELETE_TREE)
        out->key = directory_of(random);
    if (out->method != METHOD_PUT && out->method != METHOD_ATOMIC_PUT)
        return;
    out->value = value_make(self, random, msgid);
    if (stream_chance(random, self->ttl_in_1000))
        out->ttl_ms = stream_range(random, 1, 3000);
    else if (stream_chance(random, self->ttl_in_1000))
        out->lease = lease_pick(self, random);
}

/* Reads that a transaction may hold: with short answers, so that none is cut by its size. */
static void operation_read(stream_t *random, request_t *out) {
    *out = (request_t){.method = METHOD_GET, .key = key_of(key_pick(random))};
    uint64_t draw = stream_range(random, 0, 4);
    if (draw == 1) {
        out->method = METHOD_EXISTS;
    } else if (draw == 2) {
        *out = (request_t){.method = METHOD_LIST, .key = directory_of(random), .limit = 3};
    } else if (draw == 3) {
        *out = (request_t){.method = METHOD_RANGE, .limit = 3, .keys_only = true};
        out->reverse = stream_chance(random, 500);
    }
}

static void compare_make(requests_t *self, stream_t *random, buffer_t *out) {
    static const char *const targets[] = {"index", "version", "value", "exists"};
    static const char *const ops[] = {"=", "!=", "<", ">"};
    unsigned key = key_pick(random);
    uint64_t target = stream_range(random, 0, 4);
    slice_t name = key_of(key);
    pack_array(out, 4);
    pack_key(out, name.data, name.size);
    pack_str(out, targets[target]);
    pack_str(out, ops[stream_range(random, 0, target == 3 ? 2 : 4)]);
    if (target == 0)
        pack_uint(out, self->seen[key]);
    else if (target == 1)
        pack_uint(out, stream_range(random, 0, 3));
    else if (target == 2)
        pack_bin(out, "m", stream_range(random, 0, 2));
    else
        pack_bool(out, stream_chance(random, 500));
}

static void operations_make(requests_t *self, stream_t *random, uint32_t msgid, buffer_t *out) {
    size_t count = stream_range(random, 0, 4);
    buffer_reset(out);
    pack_array(out, count);
    for (size_t i = 0; i < count; i++) {
        request_t operation;
        bool writes = stream_chance(random, 700);
        if (writes)
            key_write(self, random, msgid, &operation);
        else
            operation_read(random, &operation);
        if (writes && stream_chance(random, 2 * self->fence_in_1000))
            requests_fence(self, random, &operation);
        pack_array(out, 2);
        request_call_encode(&operation, out);
    }
}

static void txn_make(requests_t *self, stream_t *random, uint32_t msgid, request_t *out) {
    size_t compares = stream_range(random, 0, 3);
    buffer_reset(&self->compares);
    pack_array(&self->compares, compares);
    for (size_t i = 0; i < compares; i++)
        compare_make(self, random, &self->compares);
    operations_make(self, random, msgid, &self->then);
    operations_make(self, random, msgid, &self->otherwise);
    *out = (request_t){.msgid = msgid,
                       .method = METHOD_TXN,
                       .compares = {self->compares.data, self->compares.size},
                       .then = {self->then.data, self->then.size},
                       .otherwise = {self->otherwise.data, self->otherwise.size}};
}

void requests_learn_lock(requests_t *self, slice_t key, uint64_t token) {
    for (unsigned i = 0; i < REQUEST_LOCKS; i++) {
        slice_t known = lock_key(i);
        if (known.size != key.size || memcmp(known.data, key.data, key.size) != 0)
            continue;
        self->fences[self->fence_next].lock = i;
        self->fences[self->fence_next].token = token;
        self->fence_next = (self->fence_next + 1) % REQUEST_FENCES;
    }
}

void requests_lock(requests_t *self, stream_t *random, uint32_t msgid, request_t *out) {
    *out = (request_t){.msgid = msgid,
                       .method = METHOD_LOCK,
                       .key = lock_key((unsigned) stream_range(random, 0, REQUEST_LOCKS)),
                       .ttl_ms = stream_range(random, 200, 2500),
                       .has_value = stream_chance(random, 500),
                       .has_wait = stream_chance(random, 600)};
    if (stream_chance(random, 250)) {
        size_t at = stream_range(random, 0, REQUEST_FENCES);
        *out = (request_t){.msgid = msgid,
                           .method = METHOD_UNLOCK,
                           .key = lock_key(self->fences[at].lock),
                           .token = self->fences[at].token};
        return;
    }
    if (out->has_value)
        out->value = value_make(self, random, msgid);
    if (out->has_wait && stream_chance(random, 600))
        out->wait_ms = stream_range(random, 1, 3000);
}

static void write_make(requests_t *self, stream_t *random, uint32_t msgid, request_t *out) {
    uint64_t draw = stream_range(random, 0, 1000);
    if (draw < 120) {
        txn_make(self, random, msgid, out);
    } else if (draw < 150) {
        *out = (request_t){
            .msgid = msgid, .method = METHOD_LEASE_GRANT, .ttl_ms = stream_range(random, 1, 5000)};
    } else if (draw < 190) {
        *out = (request_t){.msgid = msgid,
                           .method = stream_chance(random, 700) ? METHOD_LEASE_KEEPALIVE
                                                                : METHOD_LEASE_REVOKE,
                           .lease = lease_pick(self, random)};
    } else {
        key_write(self, random, msgid, out);
    }
}

void requests_write(requests_t *self, stream_t *random, uint32_t msgid, request_t *out) {
    write_make(self, random, msgid, out);
    if (stream_chance(random, self->fence_in_1000))
        requests_fence(self, random, out);
}

static void page_pick(stream_t *random, request_t *out) {
    out->keys_only = stream_chance(random, 200);
    if (stream_chance(random, 500))
        out->limit = stream_range(random, 0, 6);
}

void requests_read(requests_t *self, stream_t *random, uint32_t msgid, request_t *out) {
    uint64_t draw = stream_range(random, 0, 100);
    *out = (request_t){.msgid = msgid, .method = METHOD_GET, .key = key_of(key_pick(random))};
    if (draw < 55)
        return;
    if (draw < 70) {
        out->method = METHOD_EXISTS;
    } else if (draw < 85) {
        out->method = METHOD_LIST;
        out->key = directory_of(random);
        page_pick(random, out);
        out->has_after = stream_chance(random, 300);
        if (out->has_after)
            out->after = key_of(key_pick(random));
    } else if (draw < 98) {
        out->method = METHOD_RANGE;
        out->key = stream_chance(random, 300) ? (slice_t){NULL, 0} : key_of(key_pick(random));
        out->end = stream_chance(random, 300) ? (slice_t){NULL, 0} : key_of(key_pick(random));
        page_pick(random, out);
        out->reverse = stream_chance(random, 300);
        out->count_only = stream_chance(random, 100);
    } else if (draw == 98) {
        *out = (request_t){
            .msgid = msgid, .method = METHOD_LEASE_GET, .lease = lease_pick(self, random)};
    } else {
        *out = (request_t){.msgid = msgid, .method = METHOD_MEMBER_LIST};
    }
}

/* ---- encoding ---- */

typedef struct field {
    const char *name;
    uint64_t number;
} field_t;

static void options_encode(const request_t *request, buffer_t *out) {
    const field_t flags[] = {{"stale", request->stale},
                             {"keys_only", request->keys_only},
                             {"count_only", request->count_only},
                             {"reverse", request->reverse}};
    const field_t numbers[] = {{"limit", request->limit},
                               {"ttl_ms", request->ttl_ms},
                               {"lease", request->lease},
                               {"seq", request->seq},
                               {"from", request->from}};
    const bool waits = request->has_wait || request->wait_ms;
    const size_t flag_count = sizeof flags / sizeof *flags;
    const size_t number_count = sizeof numbers / sizeof *numbers;
    size_t count = (size_t) request->has_after + (request->client.size != 0) + waits +
                   request->has_fence + request->has_value;
    for (size_t i = 0; i < flag_count; i++)
        count += flags[i].number != 0;
    for (size_t i = 0; i < number_count; i++)
        count += numbers[i].number != 0;
    if (!count)
        return;
    pack_map(out, count);
    for (size_t i = 0; i < flag_count; i++) {
        if (flags[i].number) {
            pack_str(out, flags[i].name);
            pack_bool(out, true);
        }
    }
    for (size_t i = 0; i < number_count; i++) {
        if (numbers[i].number) {
            pack_str(out, numbers[i].name);
            pack_uint(out, numbers[i].number);
        }
    }
    if (request->has_after) {
        pack_str(out, "after");
        pack_key(out, request->after.data, request->after.size);
    }
    if (waits) {
        pack_str(out, "wait_ms");
        pack_uint(out, request->wait_ms);
    }
    if (request->has_value) {
        pack_str(out, "value");
        pack_bin(out, request->value.data, request->value.size);
    }
    if (request->has_fence) {
        pack_str(out, "fence");
        pack_array(out, 2);
        pack_key(out, request->fence_key.data, request->fence_key.size);
        pack_uint(out, request->fence_token);
    }
    if (request->client.size) {
        pack_str(out, "client");
        pack_bin(out, request->client.data, request->client.size);
    }
}

/* What stands before the options: how much of each request is positional. */
static bool keyed(method_t method) {
    switch (method) {
    case METHOD_MEMBER_LIST:
    case METHOD_PING:
    case METHOD_STATUS:
    case METHOD_TXN:
    case METHOD_LEASE_GRANT:
    case METHOD_LEASE_KEEPALIVE:
    case METHOD_LEASE_REVOKE:
    case METHOD_LEASE_GET:
    case METHOD_WATCH_CANCEL:
    case METHOD_LOCK_CANCEL:
        return false;
    default:
        return true;
    }
}

static size_t lease_params_encode(const request_t *request, buffer_t *out) {
    pack_uint(out, request->method == METHOD_LEASE_GRANT ? request->ttl_ms : request->lease);
    return 1;
}

static size_t txn_params_encode(const request_t *request, buffer_t *out) {
    buffer_append(out, request->compares.data, request->compares.size);
    buffer_append(out, request->then.data, request->then.size);
    buffer_append(out, request->otherwise.data, request->otherwise.size);
    return 3;
}

static size_t key_params_encode(const request_t *request, buffer_t *out) {
    method_t method = request->method;
    bool valued = method == METHOD_PUT || method == METHOD_ATOMIC_PUT;
    bool compared = method == METHOD_ATOMIC_PUT || method == METHOD_ATOMIC_DELETE;
    pack_key(out, request->key.data, request->key.size);
    if (method == METHOD_RANGE)
        pack_key(out, request->end.data, request->end.size);
    if (valued)
        pack_bin(out, request->value.data, request->value.size);
    if (method == METHOD_UNLOCK)
        pack_uint(out, request->token);
    if (compared && request->has_previous)
        pack_uint(out, request->previous);
    else if (compared)
        pack_nil(out);
    bool second = method == METHOD_RANGE || method == METHOD_UNLOCK || valued;
    return (size_t) 1 + second + compared;
}

void request_call_encode(const request_t *request, buffer_t *out) {
    buffer_t params = {0}, options = {0};
    request_t rest = *request;
    size_t count = 0;
    if (request->method == METHOD_TXN) {
        count = txn_params_encode(request, &params);
    } else if (keyed(request->method)) {
        count = key_params_encode(request, &params);
    } else if (request->method == METHOD_WATCH_CANCEL) {
        pack_uint(&params, request->watch);
        count = 1;
    } else if (request->method == METHOD_LOCK_CANCEL) {
        pack_uint(&params, request->target);
        count = 1;
    } else if (request->method >= METHOD_LEASE_GRANT && request->method <= METHOD_LEASE_REVOKE) {
        count = lease_params_encode(request, &params);
        rest.ttl_ms = rest.lease = 0;
    }
    options_encode(&rest, &options);
    pack_str(out, method_name(request->method));
    pack_array(out, count + (options.size != 0));
    buffer_append(out, params.data, params.size);
    buffer_append(out, options.data, options.size);
    buffer_free(&params);
    buffer_free(&options);
}

void request_encode(const request_t *request, buffer_t *out) {
    pack_array(out, 4);
    pack_uint(out, RPC_REQUEST);
    pack_uint(out, request->msgid);
    request_call_encode(request, out);
}

/* ---- wrong ones ---- */

static void wrong_head(buffer_t *out, uint32_t msgid, const char *method, size_t params) {
    pack_array(out, 4);
    pack_uint(out, RPC_REQUEST);
    pack_uint(out, msgid);
    pack_str(out, method);
    pack_array(out, params);
}

rpc_code_t requests_wrong(stream_t *random, uint32_t msgid, buffer_t *out, uint32_t *echoed) {
    *echoed = msgid;
    switch (stream_range(random, 0, 9)) {
    case 0: /* nothing at all */
        *echoed = 0;
        return RPC_INVALID_ARGUMENT;
    case 1: /* an array that says it is endless */
        buffer_append(out, "\xdd\xff\xff\xff\xff", 5);
        *echoed = 0;
        return RPC_INVALID_ARGUMENT;
    case 2:
        wrong_head(out, msgid, "put_twice", 0);
        return RPC_UNKNOWN_METHOD;
    case 3: /* the value is missing */
        wrong_head(out, msgid, "put", 1);
        pack_str(out, "a");
        return RPC_INVALID_ARGUMENT;
    case 4: /* trailing bytes, after what would be a write */
        wrong_head(out, msgid, "put", 2);
        pack_str(out, "a");
        pack_str(out, "never");
        pack_nil(out);
        return RPC_INVALID_ARGUMENT;
    case 5:
        wrong_head(out, msgid, "delete_tree", 2);
        pack_str(out, "");
        pack_map(out, 1);
        pack_str(out, "forse");
        pack_bool(out, true);
        return RPC_INVALID_ARGUMENT;
    case 6: /* a key that is no string */
        wrong_head(out, msgid, "delete", 1);
        pack_array(out, 1);
        pack_nil(out);
        return RPC_INVALID_ARGUMENT;
    case 7: /* client without seq */
        wrong_head(out, msgid, "delete_tree", 2);
        pack_str(out, "/");
        pack_map(out, 1);
        pack_str(out, "client");
        pack_str(out, "someone");
        return RPC_INVALID_ARGUMENT;
    default: /* a notification that nobody knows is passed over */
        pack_array(out, 3);
        pack_uint(out, RPC_NOTIFICATION);
        pack_str(out, "hello");
        pack_array(out, 0);
        return RPC_OK;
    }
}
