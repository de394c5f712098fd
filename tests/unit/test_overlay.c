/* test_overlay.c: the overlay and the merged walk, against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "broker/error.h"
#include "kv_helper.h"
#include "message_random.h"
#include "store/merge.h"

#define KEYS 50

static slice_t slice(const char *text) {
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

static slice_t key_of(size_t number, char text[16]) {
    snprintf(text, 16, "k%02zu", number);
    return slice(text);
}

static void overlay_set(overlay_t *overlay, slice_t key, slice_t value) {
    uint8_t *room = overlay_put(overlay, overlay_find(overlay, key), key, value.size);
    assert_non_null(room);
    memcpy(room, value.data, value.size);
}

static void overlay_clear(overlay_t *overlay, slice_t key) {
    assert_int_equal(overlay_delete(overlay, overlay_find(overlay, key), key), 0);
}

/* Keys that lie in one bucket are all found, however many. */
static void alike_hashes_are_told_apart(void **unused) {
    (void) unused;
    enum { ALIKE = 40, BUCKETS = 64 };
    overlay_t *overlay = overlay_new();
    char keys[ALIKE][16];
    size_t count = 0;
    for (unsigned i = 0; count < ALIKE; i++) {
        snprintf(keys[count], sizeof keys[count], "key%u", i);
        if (XXH3_64bits(keys[count], strlen(keys[count])) % BUCKETS == 0)
            count++;
    }
    for (size_t i = 0; i < count; i++)
        overlay_set(overlay, slice(keys[i]), slice(keys[i]));
    for (size_t i = 0; i < count; i++) {
        overlay_node_t *node = overlay_find(overlay, slice(keys[i]));
        assert_non_null(node);
        assert_int_equal(kv_key_compare(overlay_node_value(node), slice(keys[i])), 0);
    }
    assert_null(overlay_find(overlay, slice("key")));
    assert_int_equal(overlay_count(overlay), count);
    overlay_destroy(&overlay);
}

static void put_replace_delete(void **unused) {
    (void) unused;
    overlay_t *overlay = overlay_new();
    assert_null(overlay_find(overlay, slice("a")));
    assert_int_equal(overlay_bytes(overlay), 0);
    overlay_set(overlay, slice("a"), slice("long enough"));
    size_t bytes = overlay_bytes(overlay);
    assert_true(bytes >= 12);
    overlay_set(overlay, slice("a"), slice("short"));
    assert_int_equal(overlay_bytes(overlay), bytes); /* in its old room */
    overlay_node_t *node = overlay_find(overlay, slice("a"));
    assert_int_equal(overlay_node_value(node).size, 5);
    overlay_set(overlay, slice("a"), slice("longer than ever before"));
    assert_int_equal(overlay_bytes(overlay), bytes + 23 - 11);
    assert_int_equal(overlay_count(overlay), 1);
    overlay_clear(overlay, slice("a"));
    assert_true(overlay_node_deleted(overlay_find(overlay, slice("a"))));
    assert_int_equal(overlay_node_value(overlay_find(overlay, slice("a"))).size, 0);
    overlay_set(overlay, slice("a"), slice(""));
    assert_false(overlay_node_deleted(overlay_find(overlay, slice("a"))));
    overlay_clear(overlay, slice("b"));
    assert_true(overlay_node_deleted(overlay_find(overlay, slice("b"))));
    assert_int_equal(overlay_count(overlay), 2);
    overlay_destroy(&overlay);
    assert_null(overlay);
}

/* A key that is borrowed from the very node that is replaced. */
static void key_borrowed_from_the_node(void **unused) {
    (void) unused;
    overlay_t *overlay = overlay_new();
    overlay_set(overlay, slice("key"), slice("1"));
    overlay_node_t *node = overlay_find(overlay, slice("key"));
    uint8_t *room = overlay_put(overlay, node, overlay_node_key(node), 100);
    memset(room, 'x', 100);
    node = overlay_find(overlay, slice("key"));
    assert_non_null(node);
    assert_int_equal(overlay_node_value(node).size, 100);
    assert_int_equal(overlay_count(overlay), 1);
    overlay_destroy(&overlay);
}

typedef struct world {
    overlay_t *overlay, *frozen;
    kv_t *kv;
    int model[KEYS]; /* 0: not there, else the value */
} world_t;

/* Spreads random changes over the three layers, the oldest first. */
static void world_fill(world_t *world, uint64_t *seed) {
    char key[16], value[16];
    kv_batch_t *batch = kv_batch_new(world->kv);
    for (int layer = 0; layer < 3; layer++) {
        for (size_t i = 0; i < KEYS; i++) {
            uint64_t what = random_next(seed) % 4;
            int number = (int) (random_next(seed) % 1000) + 1;
            snprintf(value, sizeof value, "%d", number);
            if (what > 1)
                continue;
            world->model[i] = what ? number : 0;
            overlay_t *overlay = layer == 1 ? world->frozen : world->overlay;
            if (layer == 0 && what)
                kv_batch_put(batch, key_of(i, key), slice(value));
            else if (layer > 0 && what)
                overlay_set(overlay, key_of(i, key), slice(value));
            else if (layer > 0)
                overlay_clear(overlay, key_of(i, key));
        }
    }
    assert_int_equal(kv_write(world->kv, batch, false), 0);
    kv_batch_destroy(&batch);
}

static void pair_assert(const merge_t *walk, size_t i, int number) {
    char key[16], value[16];
    slice_t want = key_of(i, key);
    assert_true(walk->valid);
    assert_int_equal(kv_key_compare(walk->key, want), 0);
    snprintf(value, sizeof value, "%d", number);
    assert_int_equal(kv_key_compare(walk->value, slice(value)), 0);
}

static void walks_assert(const world_t *world, size_t from) {
    char key[16];
    merge_t walk;
    assert_int_equal(merge_open(&walk, world->overlay, world->frozen, world->kv), 0);
    assert_int_equal(merge_seek(&walk, key_of(from, key)), 0);
    for (size_t i = from; i < KEYS; i++) {
        if (!world->model[i])
            continue;
        pair_assert(&walk, i, world->model[i]);
        assert_int_equal(merge_next(&walk), 0);
    }
    assert_false(walk.valid);
    assert_int_equal(merge_seek_before(&walk, key_of(from, key)), 0);
    for (size_t i = from; i > 0; i--) {
        if (!world->model[i - 1])
            continue;
        pair_assert(&walk, i - 1, world->model[i - 1]);
        assert_int_equal(merge_next(&walk), 0);
    }
    assert_false(walk.valid);
    merge_close(&walk);
}

/* What a flush does while a walk is open: kv then holds what the frozen overlay holds. */
static void frozen_flush(world_t *world) {
    kv_batch_t *batch = kv_batch_new(world->kv);
    overlay_sorted_t *nodes = overlay_sorted(world->frozen);
    assert_non_null(nodes);
    for (size_t i = 0; i < overlay_count(world->frozen); i++) {
        const overlay_node_t *node = nodes[i].node;
        if (overlay_node_deleted(node))
            kv_batch_delete(batch, overlay_node_key(node));
        else
            kv_batch_put(batch, overlay_node_key(node), overlay_node_value(node));
    }
    free(nodes);
    assert_int_equal(kv_write(world->kv, batch, false), 0);
    kv_batch_destroy(&batch);
}

static void merge_matches_model(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t random = seed;
        world_t world = {overlay_new(), overlay_new(), NULL, {0}};
        assert_int_equal(kv_memory_open(&world.kv), 0);
        world_fill(&world, &random);
        for (size_t from = 0; from <= KEYS; from += 7)
            walks_assert(&world, from);
        walks_assert(&world, KEYS);
        frozen_flush(&world);
        walks_assert(&world, KEYS / 2);
        overlay_destroy(&world.frozen);
        walks_assert(&world, KEYS / 3);
        overlay_destroy(&world.overlay);
        kv_close(&world.kv);
    }
}

static void merge_tells_errors(void **unused) {
    (void) unused;
    long calls = -1;
    char key[16];
    kv_t *kv;
    overlay_t *overlay = overlay_new();
    overlay_set(overlay, key_of(9, key), slice("9"));
    assert_int_equal(kv_memory_open(&kv), 0);
    kv = kv_faulty_new(kv, &calls, DRAX_EIO);
    kv_batch_t *batch = kv_batch_new(kv);
    for (size_t i = 0; i < 5; i++)
        kv_batch_put(batch, key_of(i, key), slice("x"));
    assert_int_equal(kv_write(kv, batch, false), 0);
    kv_batch_destroy(&batch);
    for (calls = 0; calls < 5;) {
        long allowed = calls, steps = 0;
        merge_t walk;
        assert_int_equal(merge_open(&walk, overlay, NULL, kv), 0);
        int rc = merge_seek(&walk, slice("k"));
        for (; rc == 0 && walk.valid; rc = merge_next(&walk))
            steps++;
        assert_int_equal(rc, DRAX_EIO); /* never a walk that ends early without a word */
        assert_int_equal(steps, allowed);
        merge_close(&walk);
        calls = allowed + 1;
    }
    overlay_destroy(&overlay);
    calls = -1;
    kv_close(&kv);
}

/* Everything in the overlay; all keys begin with k. */
static void overlay_text(overlay_t *overlay, char *out, size_t size) {
    size_t at = 0;
    out[0] = 0;
    for (overlay_node_t *node = overlay_seek(overlay, slice("k")); node;
         node = overlay_next(node)) {
        slice_t key = overlay_node_key(node), value = overlay_node_value(node);
        at +=
            (size_t) snprintf(out + at, size - at, "%.*s=%s%.*s;", (int) key.size, key.data,
                              overlay_node_deleted(node) ? "-" : "", (int) value.size, value.data);
    }
}

static void overlay_change(overlay_t *overlay, uint64_t *seed) {
    char key[16], value[64];
    slice_t name = key_of(random_next(seed) % KEYS, key);
    snprintf(value, sizeof value, "%0*d", (int) (random_next(seed) % 20) + 1,
             (int) (random_next(seed) % 10));
    if (random_next(seed) % 3)
        overlay_set(overlay, name, slice(value));
    else
        overlay_clear(overlay, name);
}

static void rollback_restores_all(void **unused) {
    (void) unused;
    static char before[8192], twin_text[8192], after[8192];
    uint64_t seed = 7;
    overlay_t *overlay = overlay_new(), *twin = overlay_new();
    for (int round = 0; round < 400; round++) {
        bool keep = random_next(&seed) % 2;
        uint64_t twin_seed = seed;
        size_t changes = random_next(&seed) % 30, bytes = overlay_bytes(overlay);
        random_next(&twin_seed);
        overlay_text(overlay, before, sizeof before);
        overlay_begin(overlay);
        for (size_t i = 0; i < changes; i++)
            overlay_change(overlay, &seed);
        for (size_t i = 0; keep && i < changes; i++)
            overlay_change(twin, &twin_seed);
        if (keep)
            overlay_commit(overlay);
        else
            overlay_rollback(overlay);
        overlay_text(overlay, after, sizeof after);
        overlay_text(twin, twin_text, sizeof twin_text);
        assert_string_equal(after, twin_text);
        assert_int_equal(overlay_count(overlay), overlay_count(twin));
        if (!keep) {
            assert_string_equal(after, before);
            assert_int_equal(overlay_bytes(overlay), bytes);
        }
    }
    /* What is taken back may be more than is remembered between two times. */
    overlay_text(overlay, before, sizeof before);
    overlay_begin(overlay);
    for (size_t i = 0; i < 10000; i++)
        overlay_change(overlay, &seed);
    overlay_rollback(overlay);
    overlay_text(overlay, after, sizeof after);
    assert_string_equal(after, before);
    /* Going away in the middle frees everything. */
    overlay_begin(overlay);
    for (size_t i = 0; i < 100; i++)
        overlay_change(overlay, &seed);
    overlay_destroy(&overlay);
    overlay_destroy(&twin);
}

/* ---- the order ---- */

#define WALKED 600u

typedef struct model {
    uint8_t keys[WALKED][24];
    size_t sizes[WALKED];
    bool there[WALKED], kept[WALKED]; /* kept: when a change began that may be taken back */
} model_t;

static slice_t model_key(const model_t *self, size_t i) {
    return (slice_t){self->keys[i], self->sizes[i]};
}

static int model_compare(const void *a, const void *b) {
    const uint8_t *x = a, *y = b;
    return kv_key_compare((slice_t){x + 1, x[0]}, (slice_t){y + 1, y[0]});
}

/* Different keys in order, made of few different bytes, so that many begin alike, or another. */
static void model_make(model_t *self, uint64_t *seed) {
    static const uint8_t bytes[] = {0, 0, 0, 1, 'k', 0xff};
    uint8_t made[WALKED][24];
    for (size_t i = 0; i < WALKED; i++) {
        memset(made[i], 0, sizeof made[i]);
        made[i][0] = (uint8_t) (1 + random_next(seed) % 23);
        for (size_t j = 1; j <= made[i][0]; j++)
            made[i][j] = bytes[random_next(seed) % sizeof bytes];
        for (size_t j = 0; j < i; j++)
            if (model_compare(made[i], made[j]) == 0)
                i--, j = WALKED; /* once more */
    }
    qsort(made, WALKED, sizeof made[0], model_compare);
    memset(self, 0, sizeof *self);
    for (size_t i = 0; i < WALKED; i++) {
        self->sizes[i] = made[i][0];
        memcpy(self->keys[i], made[i] + 1, made[i][0]);
    }
}

static bool model_alike(const model_t *self, size_t a, size_t b) {
    return self->keys[a][0] == self->keys[b][0];
}

/* From key `i` on in one direction, as far as keys begin with its first byte. */
static void walk_matches_model(const model_t *model, overlay_t *overlay, size_t i, bool up) {
    overlay_node_t *node = up ? overlay_seek(overlay, model_key(model, i))
                              : overlay_seek_before(overlay, model_key(model, i));
    for (size_t at = up ? i : i - 1; at < WALKED && model_alike(model, at, i);
         at = up ? at + 1 : at - 1) {
        if (!model->there[at])
            continue;
        assert_non_null(node);
        assert_int_equal(kv_key_compare(overlay_node_key(node), model_key(model, at)), 0);
        node = up ? overlay_next(node) : overlay_prev(node);
    }
}

static void sorted_matches_model(const model_t *model, const overlay_t *overlay) {
    overlay_sorted_t *nodes = overlay_sorted(overlay);
    size_t count = 0;
    assert_non_null(nodes);
    for (size_t i = 0; i < WALKED; i++) {
        if (!model->there[i])
            continue;
        assert_true(count < overlay_count(overlay));
        slice_t key = overlay_node_key(nodes[count++].node);
        assert_int_equal(kv_key_compare(key, model_key(model, i)), 0);
    }
    assert_int_equal(count, overlay_count(overlay));
    free(nodes);
}

/* Walks and the sorted whole are right whatever came between them. */
static void order_matches_model(void **unused) {
    (void) unused;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t random = seed;
        model_t model;
        overlay_t *overlay = overlay_new();
        model_make(&model, &random);
        for (int round = 0; round < 40; round++) {
            bool recording = random_next(&random) % 2, keep = random_next(&random) % 2;
            memcpy(model.kept, model.there, sizeof model.there);
            if (recording)
                overlay_begin(overlay);
            for (size_t changes = random_next(&random) % 400; changes; changes--) {
                size_t i = random_next(&random) % WALKED;
                overlay_set(overlay, model_key(&model, i), slice("value"));
                model.there[i] = true;
                if (random_next(&random) % 20 == 0)
                    walk_matches_model(&model, overlay, i, random_next(&random) % 2);
            }
            if (recording && keep)
                overlay_commit(overlay);
            else if (recording)
                overlay_rollback(overlay);
            if (recording && !keep)
                memcpy(model.there, model.kept, sizeof model.there);
            walk_matches_model(&model, overlay, random_next(&random) % WALKED, true);
            walk_matches_model(&model, overlay, random_next(&random) % WALKED, false);
            sorted_matches_model(&model, overlay);
        }
        overlay_destroy(&overlay);
    }
}

/* The end of all keys that begin with a byte is the next byte. */
static void walk_back_from_the_next_byte(void **unused) {
    (void) unused;
    overlay_t *overlay = overlay_new();
    overlay_set(overlay, slice("k1"), slice("1"));
    overlay_set(overlay, slice("k2"), slice("2"));
    overlay_node_t *node = overlay_seek_before(overlay, slice("l"));
    assert_non_null(node);
    assert_int_equal(kv_key_compare(overlay_node_key(node), slice("k2")), 0);
    assert_non_null(overlay_prev(node));
    overlay_destroy(&overlay);
}

/* Processor time of `count` new keys, with a walk after each. */
static double walked_puts_s(size_t count) {
    struct timespec begin, end;
    uint64_t seed = 11;
    char key[32];
    overlay_t *overlay = overlay_new();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%llu", (unsigned long long) random_next(&seed));
        overlay_set(overlay, slice(key), slice("value"));
        assert_non_null(overlay_seek(overlay, slice(key)));
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    overlay_destroy(&overlay);
    return (double) (end.tv_sec - begin.tv_sec) + (double) (end.tv_nsec - begin.tv_nsec) / 1e9;
}

/* Ten times as many puts and walks take ten times as long and a little more, not a hundred times.
 */
static void walks_between_puts_stay_cheap(void **unused) {
    (void) unused;
    double few = walked_puts_s(5000), many = walked_puts_s(50000);
    assert_true(many < 40 * few);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alike_hashes_are_told_apart),
        cmocka_unit_test(put_replace_delete),
        cmocka_unit_test(key_borrowed_from_the_node),
        cmocka_unit_test(rollback_restores_all),
        cmocka_unit_test(order_matches_model),
        cmocka_unit_test(walk_back_from_the_next_byte),
        cmocka_unit_test(walks_between_puts_stay_cheap),
        cmocka_unit_test(merge_matches_model),
        cmocka_unit_test(merge_tells_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
