/* test_sim_linear.c: the linearizability checker against histories known to be good or bad: small
 * ones by hand, small random ones against an exhaustive search, long ones with and without an
 * injected violation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/sim/array.h"
#include "tests/sim/linear.h"
#include "tests/sim/requests.h"

typedef struct book {
    linear_op_t *ops;
    size_t count, capacity;
    uint64_t clock;
} book_t;

static linear_op_t *book_add(book_t *self, const request_t *request) {
    buffer_t bytes = {0};
    rpc_error_t error;
    request_encode(request, &bytes);
    self->ops = array_room(self->ops, &self->capacity, self->count + 1, sizeof *self->ops);
    linear_op_t *op = &self->ops[self->count++];
    *op = (linear_op_t){.called = ++self->clock, .returned = LINEAR_OPEN};
    op->owner = payload_copy(bytes.data, bytes.size);
    assert_int_equal(request_decode(payload_slice(op->owner), &op->request, &error), 0);
    buffer_free(&bytes);
    return op;
}

static void book_clear(book_t *self) {
    for (size_t i = 0; i < self->count; i++)
        payload_unref(&self->ops[i].owner);
    free(self->ops);
    *self = (book_t){0};
}

static bool book_check(const book_t *self, linear_result_t *result) {
    linear_check(self->ops, self->count, NULL, result);
    return result->linearizable;
}

/* ---- by hand ---- */

static slice_t text(const char *bytes) {
    return (slice_t){(const uint8_t *) bytes, strlen(bytes)};
}

static size_t put_call(book_t *self, const char *key, const char *value) {
    book_add(self, &(request_t){.method = METHOD_PUT, .key = text(key), .value = text(value)});
    return self->count - 1;
}

static size_t read_call(book_t *self, method_t method, const char *key) {
    book_add(self, &(request_t){.method = method, .key = text(key)});
    return self->count - 1;
}

static void put_return(book_t *self, size_t op, uint64_t revision) {
    self->ops[op].returned = ++self->clock;
    self->ops[op].reply =
        (reply_t){.fields = REPLY_INDEX | REPLY_REVISION, .index = revision, .revision = revision};
}

static void get_return(book_t *self, size_t op, const char *value, uint64_t index,
                       uint64_t revision) {
    linear_op_t *get = &self->ops[op];
    get->returned = ++self->clock;
    get->reply = (reply_t){.fields = REPLY_KEY | REPLY_VALUE | REPLY_INDEX | REPLY_REVISION,
                           .index = index,
                           .revision = revision};
    get->reply.digest = reply_pair(0, reply_hash(get->request.key), index, reply_hash(text(value)));
}

static void refused_return(book_t *self, size_t op, rpc_code_t code) {
    self->ops[op].returned = ++self->clock;
    self->ops[op].reply = (reply_t){.code = code};
}

static void book_expect(book_t *self, bool linearizable) {
    linear_result_t result;
    assert_int_equal(book_check(self, &result), linearizable);
    book_clear(self);
}

static void test_one_after_the_other(void **state) {
    (void) state;
    book_t book = {0};
    size_t op = put_call(&book, "k", "v");
    put_return(&book, op, 1);
    op = read_call(&book, METHOD_GET, "k");
    get_return(&book, op, "v", 1, 1);
    book_expect(&book, true);
}

static void test_stale_read(void **state) {
    (void) state;
    book_t book = {0};
    size_t op = put_call(&book, "k", "old");
    put_return(&book, op, 1);
    op = put_call(&book, "k", "new");
    put_return(&book, op, 2);
    op = read_call(&book, METHOD_GET, "k");
    get_return(&book, op, "old", 1, 1);
    book_expect(&book, false);
}

/* The same, but the write was still under way: then either may be read. */
static void test_read_beside_a_write(void **state) {
    (void) state;
    book_t book = {0};
    size_t first = put_call(&book, "k", "old");
    put_return(&book, first, 1);
    size_t second = put_call(&book, "k", "new");
    size_t a = read_call(&book, METHOD_GET, "k"), b = read_call(&book, METHOD_GET, "k");
    get_return(&book, a, "new", 2, 2);
    get_return(&book, b, "old", 1, 1);
    put_return(&book, second, 2);
    book_expect(&book, true);
}

/* Once one reader has seen the new value, no later one may see the old one. */
static void test_read_goes_back(void **state) {
    (void) state;
    book_t book = {0};
    size_t first = put_call(&book, "k", "old");
    put_return(&book, first, 1);
    size_t second = put_call(&book, "k", "new");
    size_t a = read_call(&book, METHOD_GET, "k");
    get_return(&book, a, "new", 2, 2);
    size_t b = read_call(&book, METHOD_GET, "k");
    get_return(&book, b, "old", 1, 1);
    put_return(&book, second, 2);
    book_expect(&book, false);
}

static void test_unknown_write_may_have_happened(void **state) {
    (void) state;
    for (int seen = 0; seen < 2; seen++) {
        book_t book = {0};
        put_call(&book, "k", "perhaps");
        size_t op = read_call(&book, METHOD_GET, "k");
        if (seen)
            get_return(&book, op, "perhaps", 1, 1);
        else
            refused_return(&book, op, RPC_KEY_NOT_FOUND);
        book_expect(&book, true);
    }
}

static void test_unknown_write_does_not_unhappen(void **state) {
    (void) state;
    book_t book = {0};
    put_call(&book, "k", "perhaps");
    size_t op = read_call(&book, METHOD_GET, "k");
    get_return(&book, op, "perhaps", 1, 1);
    op = read_call(&book, METHOD_GET, "k");
    refused_return(&book, op, RPC_KEY_NOT_FOUND);
    book_expect(&book, false);
}

static void test_unknown_write_seen_before_its_call(void **state) {
    (void) state;
    book_t book = {0};
    size_t op = read_call(&book, METHOD_GET, "k");
    get_return(&book, op, "later", 1, 1);
    put_call(&book, "k", "later");
    book_expect(&book, false);
}

/* An unknown write takes effect once: revision 3 has no maker. */
static void test_unknown_write_twice(void **state) {
    (void) state;
    book_t book = {0};
    size_t op = put_call(&book, "k", "a");
    put_return(&book, op, 1);
    put_call(&book, "k", "perhaps");
    op = put_call(&book, "k", "b");
    put_return(&book, op, 4);
    book_expect(&book, false);
}

static void test_acknowledged_write_is_lost(void **state) {
    (void) state;
    book_t book = {0};
    size_t op = put_call(&book, "k", "v");
    put_return(&book, op, 1);
    op = read_call(&book, METHOD_EXISTS, "k");
    book.ops[op].returned = ++book.clock;
    book.ops[op].reply = (reply_t){.fields = REPLY_EXISTS | REPLY_REVISION, .revision = 1};
    book_expect(&book, false);
}

/* A reader missed the key before anybody asked for it to be deleted. */
static void test_effect_before_its_call(void **state) {
    (void) state;
    book_t book = {0};
    size_t op = put_call(&book, "k", "v");
    put_return(&book, op, 1);
    op = read_call(&book, METHOD_GET, "k");
    refused_return(&book, op, RPC_KEY_NOT_FOUND);
    op = read_call(&book, METHOD_DELETE, "k");
    book.ops[op].returned = ++book.clock;
    book.ops[op].reply = (reply_t){.fields = REPLY_REVISION, .revision = 2};
    book_expect(&book, false);
}

static void test_two_makers(void **state) {
    (void) state;
    book_t book = {0};
    size_t a = put_call(&book, "k", "a"), b = put_call(&book, "k", "b");
    put_return(&book, a, 1);
    put_return(&book, b, 1);
    book_expect(&book, false);
}

/* A key with a time goes by an expiry, and by nothing else. */
static void test_expiry(void **state) {
    (void) state;
    buffer_t command = {0};
    expire_begin(&command, 1);
    expire_add(&command, text("k"), 1);
    for (int expired = 0; expired < 2; expired++) {
        book_t book = {0};
        book_add(&book, &(request_t){.method = METHOD_PUT, .key = text("k"), .ttl_ms = 5});
        put_return(&book, 0, 1);
        if (expired) {
            linear_op_t *op = book_add(&book, &(request_t){.method = METHOD_GET, .key = text("k")});
            op->expiry = true;
            op->command = (slice_t){command.data, command.size};
            op->reply = (reply_t){.fields = REPLY_REVISION, .revision = 2};
        }
        size_t op = read_call(&book, METHOD_GET, "k");
        refused_return(&book, op, RPC_KEY_NOT_FOUND);
        book_expect(&book, expired);
    }
    buffer_free(&command);
}

/* ---- random histories ---- */

typedef struct maker {
    book_t book;
    stream_t random;
    requests_t requests;
    model_t *model;
    uint64_t *floors; /* by operation: the revision that its answer cannot be below */
    size_t floor_capacity;
    uint64_t floor; /* of all that returned so far */
    struct {
        size_t op; /* + 1; 0: idle */
        bool placed;
    } clients[16];
    unsigned client_count;
    unsigned unknown_in_1000;
    bool hints; /* operations tell which revision they made */
} maker_t;

static void maker_call(maker_t *self, size_t client) {
    request_t request;
    uint32_t msgid = (uint32_t) self->book.count + 1;
    do {
        if (stream_chance(&self->random, 500))
            requests_write(&self->requests, &self->random, msgid, &request);
        else
            requests_read(&self->requests, &self->random, msgid, &request);
    } while (request.method == METHOD_MEMBER_LIST ||
             (request.method >= METHOD_LEASE_GRANT && request.method <= METHOD_LEASE_REVOKE));
    book_add(&self->book, &request);
    self->clients[client].op = self->book.count;
    self->clients[client].placed = false;
    self->floors =
        array_room(self->floors, &self->floor_capacity, self->book.count, sizeof *self->floors);
    self->floors[self->book.count - 1] = self->floor;
}

static void maker_place(maker_t *self, linear_op_t *op) {
    uint64_t revision = model_revision(self->model);
    reply_t none = {0};
    if (method_kind(op->request.method) == METHOD_KIND_WRITE)
        model_write(self->model, &op->request, op->owner, 0, &op->reply);
    else
        model_read(self->model, &op->request, revision, &none, &op->reply);
    if (op->reply.fields & REPLY_INDEX)
        requests_learn(&self->requests, op->request.key, op->reply.index);
    if (self->hints && model_revision(self->model) != revision)
        op->likely = model_revision(self->model);
}

static void maker_step(maker_t *self) {
    size_t client = stream_range(&self->random, 0, self->client_count);
    size_t number = self->clients[client].op;
    if (!number) {
        maker_call(self, client);
        return;
    }
    linear_op_t *op = &self->book.ops[number - 1];
    bool unknown = stream_chance(&self->random, self->unknown_in_1000);
    if (!self->clients[client].placed && !unknown) {
        maker_place(self, op);
        self->clients[client].placed = true;
        return;
    }
    self->clients[client].op = 0; /* it returns, or is never heard of again */
    if (unknown)
        return;
    op->returned = ++self->book.clock;
    if ((op->reply.fields & REPLY_REVISION) && op->reply.revision > self->floor)
        self->floor = op->reply.revision;
}

static void maker_run(maker_t *self, uint64_t seed, unsigned clients, size_t ops,
                      unsigned unknown_in_1000, bool hints) {
    *self = (maker_t){.random = stream_new(seed, 2),
                      .client_count = clients,
                      .unknown_in_1000 = unknown_in_1000,
                      .hints = hints};
    requests_init(&self->requests);
    self->requests.large_in_1000 = 0;
    self->model = model_new(true);
    while (self->book.count < ops)
        maker_step(self);
}

static void maker_clear(maker_t *self) {
    book_clear(&self->book);
    requests_clear(&self->requests);
    model_free(&self->model);
    free(self->floors);
}

static void test_long_good_histories(void **state) {
    (void) state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        maker_t maker;
        linear_result_t result;
        unsigned unknown = seed % 2 ? 3 : 30;
        maker_run(&maker, seed, 4 + (unsigned) seed % 12, 3000, unknown, unknown == 30);
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        if (!book_check(&maker.book, &result))
            fail_msg("seed %llu: %zu placed, %llu configurations", (unsigned long long) seed,
                     result.placed, (unsigned long long) result.configurations);
        clock_gettime(CLOCK_MONOTONIC, &to);
        if (seed <= 2)
            print_message("3000 operations, %u in 1000 unknown: %ld us, %llu configurations\n",
                          unknown,
                          (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000,
                          (unsigned long long) result.configurations);
        maker_clear(&maker);
    }
}

/* ---- injected violations ---- */

static bool returned_ok(const linear_op_t *op, method_kind_t kind) {
    if (op->returned == LINEAR_OPEN || op->reply.code != RPC_OK)
        return false;
    if (kind == METHOD_KIND_WRITE)
        return model_made_revision(&op->request, &op->reply);
    return method_kind(op->request.method) == kind;
}

/* The answer of a read is one of before something that it must have seen. */
static bool inject_stale(maker_t *maker, size_t i) {
    linear_op_t *op = &maker->book.ops[i];
    uint64_t floor = maker->floors[i];
    if (!returned_ok(op, METHOD_KIND_READ) || floor < 3)
        return false;
    uint64_t revision = stream_range(&maker->random, 0, floor);
    reply_t none = {0};
    model_read(maker->model, &op->request, revision, &none, &op->reply);
    if (op->reply.fields & REPLY_REVISION)
        return true;
    /* KEY_NOT_FOUND tells no revision: it is wrong only if there was a key all the while. */
    reply_t then;
    for (uint64_t at = floor; at <= model_revision(maker->model); at++) {
        model_read(maker->model, &op->request, at, &none, &then);
        if (then.code == RPC_KEY_NOT_FOUND)
            return false;
    }
    return true;
}

static bool inject_value(maker_t *maker, size_t i) {
    linear_op_t *op = &maker->book.ops[i];
    if (!returned_ok(op, METHOD_KIND_READ) || !op->reply.digest)
        return false;
    op->reply.digest ^= 1;
    return true;
}

/* An acknowledged write never took place. */
static bool inject_lost(maker_t *maker, size_t i) {
    linear_op_t *op = &maker->book.ops[i];
    if (!returned_ok(op, METHOD_KIND_WRITE) || op->reply.revision >= maker->floor)
        return false;
    payload_unref(&op->owner);
    maker->book.ops[i] = maker->book.ops[--maker->book.count];
    return true;
}

/* Two writes, one after the other, took place the other way round. */
static bool inject_order(maker_t *maker, size_t i) {
    linear_op_t *first = &maker->book.ops[i];
    if (!returned_ok(first, METHOD_KIND_WRITE))
        return false;
    for (size_t j = i + 1; j < maker->book.count; j++) {
        linear_op_t *second = &maker->book.ops[j];
        if (!returned_ok(second, METHOD_KIND_WRITE) || second->called < first->returned)
            continue;
        uint64_t revision = first->reply.revision;
        first->reply.revision = second->reply.revision;
        second->reply.revision = revision;
        return true;
    }
    return false;
}

static bool inject_count(maker_t *maker, size_t i) {
    linear_op_t *op = &maker->book.ops[i];
    bool counted = op->returned != LINEAR_OPEN && (op->reply.fields & REPLY_DELETED);
    op->reply.deleted += counted;
    return counted;
}

static void test_injected_violations(void **state) {
    (void) state;
    static bool (*const injections[])(maker_t *, size_t) = {inject_stale, inject_value, inject_lost,
                                                            inject_order, inject_count};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        maker_t maker;
        linear_result_t result;
        size_t kind = seed % (sizeof injections / sizeof *injections);
        maker_run(&maker, seed, 6, 400, 0, false);
        size_t at = stream_range(&maker.random, 0, maker.book.count), tried = 0;
        while (tried < maker.book.count && !injections[kind](&maker, at)) {
            at = (at + 1) % maker.book.count;
            tried++;
        }
        assert_true(tried < maker.book.count);
        if (book_check(&maker.book, &result))
            fail_msg("seed %llu: violation %zu at operation %zu is not seen",
                     (unsigned long long) seed, kind, at);
        assert_false(result.undecided);
        maker_clear(&maker);
    }
}

/* ---- against an exhaustive search ---- */

typedef struct naive {
    const book_t *book;
    bool placed[16];
    model_t *model;
} naive_t;

static bool naive_fits(naive_t *self, const linear_op_t *op, bool *changed) {
    uint64_t revision = model_revision(self->model);
    reply_t expected;
    if (method_kind(op->request.method) == METHOD_KIND_WRITE)
        model_write(self->model, &op->request, op->owner, 0, &expected);
    else
        model_read(self->model, &op->request, revision, &op->reply, &expected);
    *changed = model_revision(self->model) != revision;
    return op->returned == LINEAR_OPEN || !reply_differs(&expected, &op->reply);
}

/* Every order that the times allow is tried. */
static bool naive_search(naive_t *self) {
    const book_t *book = self->book;
    uint64_t horizon = LINEAR_OPEN;
    for (size_t i = 0; i < book->count; i++)
        if (!self->placed[i] && book->ops[i].returned < horizon)
            horizon = book->ops[i].returned;
    if (horizon == LINEAR_OPEN)
        return true;
    for (size_t i = 0; i < book->count; i++) {
        bool changed;
        if (self->placed[i] || book->ops[i].called > horizon)
            continue;
        bool fits = naive_fits(self, &book->ops[i], &changed);
        self->placed[i] = true;
        bool found = fits && naive_search(self);
        self->placed[i] = false;
        if (changed)
            model_undo(self->model);
        if (found)
            return true;
    }
    return false;
}

/* Changes answers a little, so that about half of the histories become impossible. */
static void answers_shake(maker_t *maker) {
    linear_op_t *op = &maker->book.ops[stream_range(&maker->random, 0, maker->book.count)];
    const linear_op_t *other = &maker->book.ops[stream_range(&maker->random, 0, maker->book.count)];
    if (op->returned == LINEAR_OPEN)
        return;
    switch (stream_range(&maker->random, 0, 5)) {
    case 0:
        op->reply.revision += op->reply.fields & REPLY_REVISION ? 1 : 0;
        op->reply.index += op->reply.fields & REPLY_INDEX ? 1 : 0;
        break;
    case 1:
        op->returned = LINEAR_OPEN;
        break;
    case 2:
        if (other->returned != LINEAR_OPEN && other->request.method == op->request.method)
            op->reply = other->reply;
        break;
    case 3: /* it was asked and answered after all others */
        op->called = ++maker->book.clock;
        op->returned = ++maker->book.clock;
        break;
    default:
        if (op->reply.code == RPC_KEY_NOT_FOUND)
            op->reply = (reply_t){.code = RPC_KEY_MODIFIED};
    }
}

static void test_against_every_order(void **state) {
    (void) state;
    unsigned verdicts[2] = {0};
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        maker_t maker;
        linear_result_t result;
        maker_run(&maker, seed, 3 + (unsigned) seed % 3, 4 + seed % 4, 150, seed % 2);
        for (uint64_t i = 0; i < seed % 4; i++)
            answers_shake(&maker);
        naive_t naive = {.book = &maker.book, .model = model_new(true)};
        bool expected = naive_search(&naive);
        verdicts[expected]++;
        if (book_check(&maker.book, &result) != expected)
            fail_msg("seed %llu: %s by trying every order", (unsigned long long) seed,
                     expected ? "linearizable" : "not linearizable");
        model_free(&naive.model);
        maker_clear(&maker);
    }
    assert_true(verdicts[0] > 300 && verdicts[1] > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_stale_read),
        cmocka_unit_test(test_read_beside_a_write),
        cmocka_unit_test(test_read_goes_back),
        cmocka_unit_test(test_unknown_write_may_have_happened),
        cmocka_unit_test(test_unknown_write_does_not_unhappen),
        cmocka_unit_test(test_unknown_write_seen_before_its_call),
        cmocka_unit_test(test_unknown_write_twice),
        cmocka_unit_test(test_acknowledged_write_is_lost),
        cmocka_unit_test(test_effect_before_its_call),
        cmocka_unit_test(test_two_makers),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_long_good_histories),
        cmocka_unit_test(test_injected_violations),
        cmocka_unit_test(test_against_every_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
