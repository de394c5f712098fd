/* test_state_replay.c: the same random log on states that flush, crash and reopen at different
 * times gives the same state, which is that of a plain array; and no failure of the store below
 * goes unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/block.h"
#include "broker/error.h"
#include "kv_helper.h"
#include "message_random.h"
#include "state_helper.h"
#include "store/record.h"
#include "text_msgpack.h"

#define KEYS 30
#define REPEATS 8
#define LEASES 4
#define ENTRIES 1500
#define COMMAND_BYTES 256

/* ---- the model: an array of what is there ---- */

typedef struct model_key {
    char name[8];
    bool there;
    unsigned value;
    uint64_t index, due_ms;
    uint64_t lease; /* 0: none */
} model_key_t;

typedef struct model_lease {
    uint64_t id; /* 0: never granted */
    bool there;
    uint64_t ttl_ms, due_ms;
} model_lease_t;

typedef struct model {
    model_key_t keys[KEYS]; /* sorted by name */
    model_lease_t leases[LEASES];
    uint64_t granted;
    uint64_t revision;
} model_t;

static int name_compare(const void *a, const void *b) {
    return strcmp(((const model_key_t *) a)->name, ((const model_key_t *) b)->name);
}

/* Keys a .. f, each with four below it: "a", "a/0" … */
static void model_init(model_t *self) {
    memset(self, 0, sizeof *self);
    for (int i = 0; i < KEYS; i++) {
        if (i % 5 == 0)
            snprintf(self->keys[i].name, sizeof self->keys[i].name, "%c", 'a' + i / 5);
        else
            snprintf(self->keys[i].name, sizeof self->keys[i].name, "%c/%d", 'a' + i / 5, i % 5);
    }
    qsort(self->keys, KEYS, sizeof *self->keys, name_compare);
}

static void model_put(model_t *self, model_key_t *key, unsigned value, uint64_t due_ms) {
    *key = (model_key_t){.there = true,
                         .value = value,
                         .index = ++self->revision,
                         .due_ms = due_ms,
                         .name = {key->name[0], key->name[1], key->name[2]}};
}

static void model_tree(model_t *self, char directory) {
    bool any = false;
    for (int i = 0; i < KEYS; i++) {
        model_key_t *key = &self->keys[i];
        if (!key->there || key->name[0] != directory || key->name[1] != '/')
            continue;
        key->there = false;
        any = true;
    }
    self->revision += any;
}

static bool model_lease_end(model_t *self, model_lease_t *lease) {
    bool any = false;
    lease->there = false;
    for (int i = 0; i < KEYS; i++) {
        model_key_t *key = &self->keys[i];
        if (!key->there || key->lease != lease->id)
            continue;
        key->there = false;
        any = true;
    }
    return any;
}

static void model_expire(model_t *self, uint64_t time_ms) {
    bool any = false;
    for (int i = 0; i < LEASES; i++)
        if (self->leases[i].there && self->leases[i].due_ms <= time_ms)
            any |= model_lease_end(self, &self->leases[i]);
    for (int i = 0; i < KEYS; i++) {
        model_key_t *key = &self->keys[i];
        if (!key->there || !key->due_ms || key->due_ms > time_ms)
            continue;
        key->there = false;
        any = true;
    }
    self->revision += any;
}

static void model_text(const model_t *self, char *out, size_t size) {
    size_t at = (size_t) snprintf(out, size, "{pairs: ["), count = 0;
    for (int i = 0; i < KEYS; i++) {
        const model_key_t *key = &self->keys[i];
        if (!key->there)
            continue;
        at += (size_t) snprintf(out + at, size - at, "%s{key: \"%s\", value: '%u', index: %llu}",
                                count++ ? ", " : "", key->name, key->value,
                                (unsigned long long) key->index);
    }
    snprintf(out + at, size - at, "], count: %zu, more: false, revision: %llu}", count,
             (unsigned long long) self->revision);
}

/* ---- a random log ---- */

typedef struct replay {
    entries_t entries;
    uint64_t results[ENTRIES], digests[ENTRIES]; /* after each entry, on the state never closed */
    model_t model;
    uint64_t seed, time_ms, block_seq, client_seq;
    char repeats[REPEATS][COMMAND_BYTES]; /* commands with client and seq, to be sent again */
} replay_t;

/* Something about one of a few leases: granted, renewed, revoked, or a key put on it. */
static void lease_random(replay_t *self, model_key_t *key, unsigned value, const char *options,
                         char out[COMMAND_BYTES]) {
    model_t *model = &self->model;
    model_lease_t *lease = &model->leases[random_next(&self->seed) % LEASES];
    uint64_t ttl_ms = random_next(&self->seed) % 600 + 1;
    uint64_t what = random_next(&self->seed) % 4;
    if (!lease->there && lease->id % 2 == 0) { /* some are used after their end */
        snprintf(out, COMMAND_BYTES, "[0, 1, \"lease_grant\", [%llu, {%s}]]",
                 (unsigned long long) ttl_ms, options);
        *lease = (model_lease_t){++model->granted, true, ttl_ms, self->time_ms + ttl_ms};
    } else if (what == 0) {
        snprintf(out, COMMAND_BYTES, "[0, 1, \"lease_keepalive\", [%llu, {%s}]]",
                 (unsigned long long) lease->id, options);
        lease->due_ms = self->time_ms + lease->ttl_ms;
    } else if (what == 1) {
        snprintf(out, COMMAND_BYTES, "[0, 1, \"lease_revoke\", [%llu, {%s}]]",
                 (unsigned long long) lease->id, options);
        model->revision += lease->there && model_lease_end(model, lease);
        lease->id += lease->id % 2; /* may be granted anew */
    } else {
        snprintf(out, COMMAND_BYTES, "[0, 1, \"put\", [\"%s\", \"%u\", {\"lease\": %llu, %s}]]",
                 key->name, value, (unsigned long long) lease->id, options);
        if (lease->there) {
            model_put(model, key, value, 0);
            key->lease = lease->id;
        }
    }
}

/* A transaction that puts two keys at one revision, and after that may be refused as a whole. */
static void txn_random(replay_t *self, model_key_t *key, unsigned value, const char *options,
                       char out[COMMAND_BYTES]) {
    model_t *model = &self->model;
    model_key_t *other = &model->keys[random_next(&self->seed) % KEYS];
    bool refused = random_next(&self->seed) % 2;
    snprintf(out, COMMAND_BYTES,
             "[0, 1, \"txn\", [[], [[\"put\", [\"%s\", \"%u\"]], [\"put\", [\"%s\", \"%u\"]], "
             "[\"%s\", [\"%s\"]]], [], {%s}]]",
             key->name, value, other->name, value + 1, refused ? "delete" : "get",
             refused ? "no" : other->name, options);
    if (refused)
        return;
    model_put(model, key, value, 0);
    model->revision--;
    model_put(model, other, value + 1, 0);
}

/* Writes a random command and applies it to the model. */
static void command_random(replay_t *self, char out[COMMAND_BYTES]) {
    model_t *model = &self->model;
    model_key_t *key = &model->keys[random_next(&self->seed) % KEYS];
    unsigned value = (unsigned) (random_next(&self->seed) % 100000);
    unsigned ttl_ms = (unsigned) (random_next(&self->seed) % 400) + 1;
    uint64_t index = random_next(&self->seed) % 3 ? key->index : model->revision;
    bool matches = key->there && key->index == index && index;
    bool session = random_next(&self->seed) % 3 == 0;
    size_t slot = random_next(&self->seed) % REPEATS;
    char options[64] = "\"client\": nil";
    if (session && random_next(&self->seed) % 3 == 0 && self->repeats[slot][0]) {
        memcpy(out, self->repeats[slot], COMMAND_BYTES); /* changes nothing any more */
        return;
    }
    if (session)
        snprintf(options, sizeof options, "\"client\": \"c\", \"seq\": %llu",
                 (unsigned long long) self->client_seq + 1);
    self->client_seq += session;
    switch (random_next(&self->seed) % 12) {
    case 0:
    case 1:
        snprintf(out, COMMAND_BYTES, "[0, 1, \"put\", [\"%s\", \"%u\", {%s}]]", key->name, value,
                 options);
        model_put(model, key, value, 0);
        break;
    case 2:
    case 3:
        snprintf(out, COMMAND_BYTES, "[0, 1, \"put\", [\"%s\", \"%u\", {\"ttl_ms\": %u, %s}]]",
                 key->name, value, ttl_ms, options);
        model_put(model, key, value, self->time_ms + ttl_ms);
        break;
    case 4:
        snprintf(out, COMMAND_BYTES, "[0, 1, \"delete\", [\"%s\", {%s}]]", key->name, options);
        model->revision += key->there;
        key->there = false;
        break;
    case 5:
        snprintf(out, COMMAND_BYTES, "[0, 1, \"atomic_put\", [\"%s\", \"%u\", %llu, {%s}]]",
                 key->name, value, (unsigned long long) (index ? index : 1), options);
        if (matches)
            model_put(model, key, value, 0);
        break;
    case 6:
        snprintf(out, COMMAND_BYTES, "[0, 1, \"atomic_put\", [\"%s\", \"%u\", nil, {%s}]]",
                 key->name, value, options);
        if (!key->there)
            model_put(model, key, value, 0);
        break;
    case 7:
        snprintf(out, COMMAND_BYTES, "[0, 1, \"atomic_delete\", [\"%s\", %llu, {%s}]]", key->name,
                 (unsigned long long) (index ? index : 1), options);
        model->revision += matches;
        key->there = key->there && !matches;
        break;
    case 9:
    case 10:
        lease_random(self, key, value, options, out);
        break;
    case 8:
        txn_random(self, key, value, options, out);
        break;
    default:
        snprintf(out, COMMAND_BYTES, "[0, 1, \"delete_tree\", [\"%c\", {%s}]]", key->name[0],
                 options);
        model_tree(model, key->name[0]);
    }
    if (session)
        memcpy(self->repeats[slot], out, COMMAND_BYTES);
}

/* The block payload of the next entry; `leader` is asked for what is due. */
static void block_random(replay_t *self, state_t *leader, buffer_t *out) {
    uint64_t what = random_next(&self->seed) % 20;
    size_t count = random_next(&self->seed) % 5;
    buffer_t command = {0};
    char text[COMMAND_BYTES];
    buffer_reset(out);
    if (what == 0) {
        assert_int_equal(state_expire_block(leader, self->time_ms, out, &count), 0);
        model_expire(&self->model, self->time_ms);
        return;
    }
    if (what == 1) { /* comes for the second time: must not count */
        block_begin(out, 1, 1, self->block_seq, self->block_seq ? self->block_seq - 1 : 0, 1);
        text_msgpack(&command, "[0, 1, \"put\", [\"a\", \"again\"]]");
        block_add(out, (slice_t){command.data, command.size});
        buffer_free(&command);
        return;
    }
    block_begin(out, 1, 1, self->block_seq + 1, self->block_seq, count);
    self->block_seq++;
    for (size_t i = 0; i < count; i++) {
        command_random(self, text);
        buffer_reset(&command);
        text_msgpack(&command, text);
        block_add(out, (slice_t){command.data, command.size});
    }
    buffer_free(&command);
}

static void entry_random(replay_t *self, state_t *leader, entry_t *out) {
    uint64_t what = random_next(&self->seed) % 40;
    buffer_t block = {0};
    self->time_ms += random_next(&self->seed) % 50;
    if (what == 0)
        self->time_ms += 1800000; /* so that sessions fall idle now and then */
    *out = (entry_t){.index = self->entries.count + 1, .term = 1, .time_ms = self->time_ms};
    if (what == 1)
        return;
    if (what == 2) {
        out->kind = ENTRY_CONFIG;
        out->config = calloc(1, sizeof *out->config);
        config_random(out->config, &self->seed);
        return;
    }
    out->kind = ENTRY_BLOCK;
    block_random(self, leader, &block);
    out->payload = payload_copy(block.data, block.size);
    buffer_free(&block);
}

/* ---- states on that log ---- */

static uint64_t results_sum(const state_applied_t *applied) {
    uint64_t sum = applied->skipped ? 17 : 1469598103934665603ull;
    for (size_t i = 0; applied->results && i < applied->results->size; i++)
        sum = (sum ^ applied->results->data[i]) * 1099511628211ull;
    return sum;
}

static void *flush_run(void *hint) {
    return (void *) (intptr_t) state_flush_write(hint);
}

/* A node: a state that follows the log at its own pace of flushes and crashes. */
typedef struct node {
    state_t *state;
    temp_dir_t dir;
    bool flushing;
    pthread_t thread;
} node_t;

static void flush_end(node_t *self) {
    void *code = NULL;
    if (!self->flushing)
        return;
    assert_int_equal(pthread_join(self->thread, &code), 0);
    assert_int_equal(state_thaw(self->state, (int) (intptr_t) code), 0);
    self->flushing = false;
}

static void flush_begin(node_t *self) {
    if (state_freeze(self->state))
        return;
    assert_int_equal(pthread_create(&self->thread, NULL, flush_run, self->state), 0);
    self->flushing = true;
}

static void node_open(node_t *self) {
    kv_t *kv;
    assert_int_equal(kv_leveldb_open(&kv, self->dir.path, true), 0);
    assert_int_equal(state_open(&self->state, &kv), 0);
    assert_int_equal(state_applied(self->state), state_flushed(self->state));
}

/* Applies what the node is behind of the log and compares every result. */
static void node_follow(node_t *self, const replay_t *log, size_t end) {
    while (state_applied(self->state) < end) {
        size_t i = state_applied(self->state);
        state_applied_t applied;
        assert_int_equal(state_apply(self->state, &log->entries.items[i], &applied), 0);
        assert_true(results_sum(&applied) == log->results[i]);
        assert_true(state_digest(self->state) == log->digests[i]);
    }
}

static void node_step(node_t *self, replay_t *log, size_t end) {
    uint64_t what = random_next(&log->seed) % 60;
    node_follow(self, log, end);
    if (what < 6) {
        flush_end(self);
        flush_begin(self); /* and goes on applying meanwhile */
    } else if (what == 7) {
        flush_end(self);
        state_close(&self->state); /* what was not flushed is lost */
        node_open(self);
        node_follow(self, log, end);
    }
}

/* Sends the state to itself as a snapshot: staging computes digest and counts from the records. */
static void digest_check(state_t *state) {
    state_snapshot_t *snapshot;
    state_staging_t *staging;
    kv_t *kv;
    bool last = false;
    assert_int_equal(kv_memory_open(&kv), 0);
    assert_int_equal(state_staging_open(&staging, &kv), 0);
    assert_int_equal(state_snapshot_open(state, &snapshot), 0);
    for (uint64_t i = 0; !last; i++) {
        payload_t *chunk;
        assert_int_equal(state_snapshot_read(snapshot, i, 1000, &chunk, &last), 0);
        assert_int_equal(state_staging_add(staging, i, payload_slice(chunk), last), 0);
        payload_unref(&chunk);
    }
    state_snapshot_close(state, &snapshot);
    assert_int_equal(state_staging_finish(&staging, &kv), 0);
    kv_close(&kv);
}

static void same_log_same_state(void **unused) {
    (void) unused;
    static char want[8192];
    for (uint64_t seed = 1; seed <= 5; seed++) {
        replay_t *log = calloc(1, sizeof *log);
        log->seed = seed;
        model_init(&log->model);
        world_t world;
        node_t node = {0};
        kv_t *kv;
        assert_int_equal(kv_memory_open(&kv), 0);
        world_open(&world, kv);
        temp_dir_make(&node.dir);
        node_open(&node);
        for (size_t i = 0; i < ENTRIES; i++) {
            entry_t entry;
            state_applied_t applied;
            entry_random(log, world.state, &entry);
            assert_int_equal(entries_push(&log->entries, &entry), 0);
            entry_clear(&entry);
            assert_int_equal(state_apply(world.state, &log->entries.items[i], &applied), 0);
            log->results[i] = results_sum(&applied);
            log->digests[i] = state_digest(world.state);
            if (random_next(&log->seed) % 100 == 0)
                world_flush(&world);
            if (random_next(&log->seed) % 3 == 0)
                node_step(&node, log, i + 1);
            model_text(&log->model, want, sizeof want);
            if (i % 10 == 0)
                assert_string_equal(world_query(&world, "[0, 1, \"range\", [\"\", \"\"]]"), want);
        }
        flush_end(&node);
        node_follow(&node, log, ENTRIES);
        assert_int_equal(state_revision(node.state), log->model.revision);
        assert_int_equal(state_keys(node.state), state_keys(world.state));
        assert_true(config_equal(state_config(node.state), state_config(world.state)));
        assert_true(state_digest(node.state) == state_digest(world.state));
        world_close(&world);
        world = (world_t){.state = node.state};
        world_flush(&world);
        digest_check(world.state);
        assert_string_equal(world_query(&world, "[0, 1, \"range\", [\"\", \"\"]]"), want);
        world_close(&world);
        temp_dir_remove(&node.dir);
        entries_clear(&log->entries);
        free(log);
    }
}

/* ---- failures of the store below ---- */

static const char *const script[] = {
    "[0, 1, \"put\", [\"a\", \"1\", {\"client\": \"c\", \"seq\": 1}]]",
    "[0, 1, \"put\", [\"d/1\", \"2\", {\"ttl_ms\": 5}]]",
    "[0, 1, \"put\", [\"d/2\", \"3\"]]",
    "[0, 1, \"atomic_put\", [\"a\", \"4\", 1]]",
    "[0, 1, \"delete_tree\", [\"d\", {\"client\": \"c\", \"seq\": 2}]]",
    "[0, 1, \"delete\", [\"a\", {\"client\": \"e\", \"seq\": 1}]]",
};
#define SCRIPT_SIZE (sizeof script / sizeof *script)

static int script_step(world_t *world, size_t i, state_applied_t *applied) {
    buffer_t command = {0}, block = {0};
    text_msgpack(&command, script[i % SCRIPT_SIZE]);
    block_begin(&block, 0, 0, 0, 0, 1);
    block_add(&block, (slice_t){command.data, command.size});
    int rc = world_block(world, &block, applied);
    buffer_free(&command);
    buffer_free(&block);
    return rc;
}

/* Lets the n-th access fail, for every n: the apply that made it fails, and nothing goes on after.
 */
static void failed_reads_stop_the_state(void **unused) {
    (void) unused;
    bool failed = true;
    for (long allowed = 0; failed; allowed++) {
        long calls = -1;
        kv_t *kv;
        world_t world;
        state_applied_t applied;
        assert_int_equal(kv_memory_open(&kv), 0);
        world_open(&world, kv_faulty_new(kv, &calls, DRAX_ECORRUPT));
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(script_step(&world, i, &applied), 0);
        world_flush(&world);
        calls = allowed;
        int rc = 0;
        size_t i = 3;
        for (; rc == 0 && i < 3 + SCRIPT_SIZE; i++)
            rc = script_step(&world, i, &applied);
        failed = rc != 0;
        if (failed) {
            assert_int_equal(rc, DRAX_ECORRUPT);
            calls = -1;
            assert_int_equal(script_step(&world, i, &applied), DRAX_ECORRUPT);
            assert_int_equal(state_freeze(world.state), DRAX_ECORRUPT);
        } else {
            assert_true(allowed > 5);
        }
        calls = -1;
        world_close(&world);
    }
}

static void failed_queries_say_so(void **unused) {
    static const char *const queries[] = {
        "[0, 1, \"get\", [\"nothing\"]]",
        "[0, 1, \"exists\", [\"nothing\"]]",
        "[0, 1, \"list\", [\"\"]]",
        "[0, 1, \"list\", [\"nothing\"]]",
        "[0, 1, \"range\", [\"\", \"\"]]",
        "[0, 1, \"range\", [\"\", \"z\", {\"reverse\": true}]]",
        "[0, 1, \"list\", [\"d\", {\"after\": \"d/1\"}]]",
    };
    (void) unused;
    long calls = -1;
    kv_t *kv;
    world_t world;
    state_applied_t applied;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(&world, kv_faulty_new(kv, &calls, DRAX_EIO));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(script_step(&world, i, &applied), 0);
    world_flush(&world);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        int rc = DRAX_EIO;
        for (long allowed = 0; rc; allowed++) {
            request_t request;
            rpc_error_t error;
            buffer_t bytes = {0}, out = {0};
            calls = allowed;
            text_msgpack(&bytes, queries[i]);
            assert_int_equal(request_decode((slice_t){bytes.data, bytes.size}, &request, &error),
                             0);
            rc = state_query(world.state, &request, 0, &out);
            assert_true(rc == 0 ? allowed > 0 : rc == DRAX_EIO);
            buffer_free(&bytes);
            buffer_free(&out);
        }
    }
    calls = -1;
    world_close(&world);
}

static void failed_flushes_are_tried_again(void **unused) {
    (void) unused;
    long calls = -1;
    kv_t *kv;
    world_t world;
    state_applied_t applied;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(&world, kv_faulty_new(kv, &calls, DRAX_ENOSPC));
    assert_int_equal(state_freeze(world.state), DRAX_EAGAIN); /* nothing new */
    assert_int_equal(script_step(&world, 0, &applied), 0);
    assert_true(state_overlay_bytes(world.state) > 0);
    assert_int_equal(state_freeze(world.state), 0);
    assert_int_equal(state_overlay_bytes(world.state), 0);
    assert_int_equal(state_freeze(world.state), DRAX_EAGAIN); /* under way */
    calls = 0;
    assert_int_equal(state_flush_write(world.state), DRAX_ENOSPC);
    calls = -1;
    assert_int_equal(state_thaw(world.state, DRAX_ENOSPC), DRAX_ENOSPC);
    assert_int_equal(state_flushed(world.state), 0);
    assert_string_equal(world_query(&world, "[0, 1, \"exists\", [\"a\"]]"),
                        "{exists: true, revision: 1}");
    assert_int_equal(script_step(&world, 1, &applied), 0);
    world_flush(&world); /* the same again */
    assert_int_equal(state_flushed(world.state), 1);
    world_flush(&world);
    assert_int_equal(state_flushed(world.state), 2);
    assert_int_equal(state_freeze(world.state), DRAX_EAGAIN);
    world_close(&world);
}

/* Marks, membership and all the rest of the meta record come back with the next start. */
static void meta_survives(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv;
    world_t world;
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    world_open(&world, kv);
    world.time_ms = 123;
    for (int i = 0; i < 2500; i++)
        world_apply(&world, "[0, 1, \"put\", [\"k\", \"v\", {\"ttl_ms\": 77}]]");
    world_flush(&world);
    uint64_t index = state_index_of_revision(world.state, 2400);
    uint64_t digest = state_digest(world.state);
    world_close(&world);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    world_open(&world, kv);
    assert_true(index > 0 && state_index_of_revision(world.state, 2400) == index);
    assert_true(state_digest(world.state) == digest);
    assert_int_equal(state_revision(world.state), 2500);
    assert_int_equal(state_time_ms(world.state), 123);
    assert_int_equal(state_applied_term(world.state), 1);
    assert_int_equal(state_gateway_boot(world.state, WORLD_NODE), 1);
    assert_true(state_has_expiries(world.state));
    uint64_t due_ms;
    assert_int_equal(state_next_expiry(world.state, &due_ms), 0);
    assert_int_equal(due_ms, 200);
    world_close(&world);
    temp_dir_remove(&dir);
}

/* What a later version will ask for: who made a key, and how often it was written since. */
static void records_count_versions(void **unused) {
    (void) unused;
    temp_dir_t dir;
    kv_t *kv;
    world_t world;
    buffer_t bytes = {0};
    record_t record;
    temp_dir_make(&dir);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    world_open(&world, kv);
    world_apply(&world, "[0, 1, \"put\", [\"k\", \"v\"]]");
    world_apply(&world, "[0, 1, \"delete\", [\"k\"]]");
    for (int i = 0; i < 3; i++)
        world_apply(&world, "[0, 1, \"put\", [\"k\", \"v\"]]");
    world_flush(&world);
    world_close(&world);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    assert_int_equal(kv_get(kv, (slice_t){(const uint8_t *) "kk", 2}, &bytes), 0);
    assert_int_equal(record_parse((slice_t){bytes.data, bytes.size}, &record), 0);
    assert_int_equal(record.index, 5);
    assert_int_equal(record.created, 3);
    assert_int_equal(record.version, 3);
    buffer_free(&bytes);
    kv_close(&kv);
    temp_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_log_same_state),   cmocka_unit_test(failed_reads_stop_the_state),
        cmocka_unit_test(failed_queries_say_so), cmocka_unit_test(failed_flushes_are_tried_again),
        cmocka_unit_test(meta_survives),         cmocka_unit_test(records_count_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
