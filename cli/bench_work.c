/* bench_work.c: one operation of each workload: a put, a get, one of both, or a lock taken and
 * given back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

/* Values begin anywhere in so many bytes, so that few in a block of storage are alike and none can
 * be compressed. */
#define POOL_STARTS 65536u

static int put_begin(slot_t *slot);
static int get_begin(slot_t *slot);
static int lock_begin(slot_t *slot);
static int unlock_begin(slot_t *slot);

/* Xorshift: any numbers will do, as long as they cost nothing. */
static uint64_t random_next(bench_t *self) {
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random;
}

int bench_work_open(bench_t *self) {
    self->random = bench_now_ns() | 1;
    size_t pool_size = POOL_STARTS + self->plan.value_size;
    self->key = malloc(self->plan.key_size + 1);
    self->pool = malloc(pool_size);
    self->options = drax_options_new();
    if (!self->key || !self->pool || !self->options)
        return DRAX_ERR_NO_MEMORY;
    for (size_t i = 0; i < pool_size; i++)
        self->pool[i] = (uint8_t) random_next(self);
    drax_options_stale_set(self->options, self->plan.stale);
    if (self->plan.work == BENCH_LOCK)
        drax_options_ttl_set(self->options, BENCH_LOCK_TTL_MS);
    return 0;
}

void bench_work_close(bench_t *self) {
    free(self->key);
    free(self->pool);
    drax_options_destroy(&self->options);
}

const void *bench_key(bench_t *self, uint64_t number) {
    int digits = (int) (self->plan.key_size - strlen(BENCH_DIRECTORY));
    snprintf((char *) self->key, self->plan.key_size + 1, BENCH_DIRECTORY "%0*" PRIu64, digits,
             number);
    return self->key;
}

int bench_work_begin(slot_t *slot) {
    bench_t *self = slot->bench;
    const bench_plan_t *plan = &self->plan;
    slot->key = plan->sequential ? self->begun % plan->keys : random_next(self) % plan->keys;
    slot->read = plan->work == BENCH_GET ||
                 (plan->work == BENCH_MIXED && random_next(self) % 100 < plan->reads);
    if (plan->work == BENCH_LOCK)
        return lock_begin(slot);
    return slot->read ? get_begin(slot) : put_begin(slot);
}

static drax_t *client_of(const slot_t *slot) {
    return slot->bench->lanes[slot->lane].drax;
}

/* ---- puts and gets ---- */

static void on_done(void *arg, int error, const char *detail, const drax_result_t *result) {
    slot_t *slot = arg;
    bench_t *self = slot->bench;
    (void) detail;
    (void) result;
    if (self->plan.work == BENCH_MIXED && error == 0)
        histogram_add(&self->result->parts[slot->read ? 0 : 1], bench_now_ns() - slot->start_ns);
    if (self->plan.work == BENCH_WATCH && error == 0)
        self->expected += self->plan.watchers;
    bench_ended(slot, error);
}

static int put_begin(slot_t *slot) {
    bench_t *self = slot->bench;
    uint8_t *value = self->pool + random_next(self) % POOL_STARTS;
    memcpy(value, &slot->start_ns, sizeof slot->start_ns);
    return drax_put_submit(client_of(slot), bench_key(self, slot->key), self->plan.key_size, value,
                           self->plan.value_size, NULL, on_done, slot);
}

/* A request of one key and perhaps a number. */
static int key_submit(slot_t *slot, const char *method, drax_request_kind_t kind, uint64_t number,
                      const drax_options_t *options, drax_done_fn *done) {
    drax_request_t *request = drax_request_new(method, kind);
    if (!request)
        return DRAX_ERR_NO_MEMORY;
    drax_request_key_add(request, bench_key(slot->bench, slot->key), slot->bench->plan.key_size);
    if (number != 0)
        drax_request_uint_add(request, number);
    int error = drax_request_submit(client_of(slot), request, options, done, slot);
    drax_request_destroy(&request);
    return error;
}

static int get_begin(slot_t *slot) {
    return key_submit(slot, "get", DRAX_READ, 0, slot->bench->options, on_done);
}

/* ---- locks ---- */

static void on_unlocked(void *arg, int error, const char *detail, const drax_result_t *result) {
    slot_t *slot = arg;
    (void) detail;
    (void) result;
    if (error == 0)
        histogram_add(&slot->bench->result->parts[1], bench_now_ns() - slot->part_ns);
    bench_ended(slot, error);
}

static void on_locked(void *arg, int error, const char *detail, const drax_result_t *result) {
    slot_t *slot = arg;
    (void) detail;
    if (error == 0) {
        slot->part_ns = bench_now_ns();
        histogram_add(&slot->bench->result->parts[0], slot->part_ns - slot->start_ns);
        slot->token = drax_field_uint(drax_field_find(drax_result_map(result), "token"));
        error = slot->token == 0 ? DRAX_ERR_PROTOCOL : unlock_begin(slot);
        if (error == 0)
            return;
    }
    bench_ended(slot, error);
}

static int lock_begin(slot_t *slot) {
    return key_submit(slot, "lock", DRAX_WRITE, 0, slot->bench->options, on_locked);
}

static int unlock_begin(slot_t *slot) {
    slot->bench->lanes[slot->lane].submitted = true;
    return key_submit(slot, "unlock", DRAX_WRITE, slot->token, NULL, on_unlocked);
}
