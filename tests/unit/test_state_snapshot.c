/* test_state_snapshot.c: a snapshot makes the same state again, while the sender goes on; and
 * nothing but a whole, undamaged one does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "kv_helper.h"
#include "state_helper.h"
#include "store/state_snapshot.h"

#define CHUNKS_MAX 64
#define CHUNK_BYTES 2000u

static const char whole[] = "[0, 1, \"range\", [\"\", \"\", {\"keys_only\": true}]]";

/* A sender's state with keys, expiries, sessions, origins and a membership, flushed. */
static void sender_open(world_t *world, kv_t *kv, unsigned keys) {
    char command[128];
    state_applied_t applied;
    world_open(world, kv);
    world->time_ms = 5000;
    config_t config = {.count = 1};
    config.members[0] = (member_t){3, MEMBER_VOTER, "h:1", "h:2"};
    entry_t entry = {
        .index = 1, .term = 1, .time_ms = 5000, .kind = ENTRY_CONFIG, .config = &config};
    assert_int_equal(state_apply(world->state, &entry, &applied), 0);
    if (keys) {
        world_apply(world, "[0, 1, \"lease_grant\", [60000]]");
        world_apply(world, "[0, 1, \"lease_grant\", [90000]]");
    }
    for (unsigned i = 0; keys && i < 10; i++) {
        snprintf(command, sizeof command, "[0, 1, \"put\", [\"leased%u\", \"x\", {\"lease\": %u}]]",
                 i, i % 2 + 1);
        world_apply(world, command);
    }
    for (unsigned i = 0; i < keys; i++) {
        snprintf(
            command, sizeof command, "[0, 1, \"put\", [\"key%u\", \"x\"*%u, {\"ttl_ms\": %s%s}]]",
            i, i % 90, i % 3 ? "nil" : "60000",
            i % 4 ? "" : ", \"client\": \"c\", \"seq\": 1"); /* most are refused: used before */
        world_apply(world, command);
    }
    world_flush(world);
}

/* All chunks of a snapshot taken now; how many. */
static size_t chunks_take(world_t *world, payload_t **chunks) {
    state_snapshot_t *snapshot;
    bool last = false;
    size_t count = 0;
    assert_int_equal(state_snapshot_open(world->state, &snapshot), 0);
    assert_int_equal(state_snapshot_index(snapshot), state_flushed(world->state));
    assert_int_equal(state_snapshot_term(snapshot), 1);
    assert_int_equal(state_snapshot_time_ms(snapshot), 5000);
    assert_int_equal(state_snapshot_config(snapshot)->members[0].id, 3);
    for (; !last; count++) {
        assert_true(count < CHUNKS_MAX);
        assert_int_equal(state_snapshot_read(snapshot, count, CHUNK_BYTES, &chunks[count], &last),
                         0);
        /* What goes on meanwhile is not in it. */
        world_apply(world, "[0, 1, \"put\", [\"late\", \"v\"]]");
        world_apply(world, "[0, 1, \"delete\", [\"key5\"]]");
        world_flush(world);
    }
    state_snapshot_close(world->state, &snapshot);
    return count;
}

static void chunks_free(payload_t **chunks, size_t count) {
    for (size_t i = 0; i < count; i++)
        payload_unref(&chunks[i]);
}

static int stage(payload_t *const *chunks, size_t count, kv_t **kv) {
    state_staging_t *staging;
    int rc = state_staging_open(&staging, kv);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = state_staging_add(staging, i, payload_slice(chunks[i]), i + 1 == count);
    int finished = state_staging_finish(&staging, kv);
    assert_int_equal(finished == 0, *kv != NULL);
    return rc ? rc : finished;
}

static void snapshot_makes_the_same_state(void **unused) {
    (void) unused;
    temp_dir_t dirs[2];
    world_t sender, receiver;
    kv_t *kv;
    payload_t *chunks[CHUNKS_MAX];
    static char before[20000];
    uint64_t due[2];
    for (int i = 0; i < 2; i++)
        temp_dir_make(&dirs[i]);
    assert_int_equal(kv_leveldb_open(&kv, dirs[0].path, true), 0);
    sender_open(&sender, kv, 200);
    snprintf(before, sizeof before, "%s", world_query(&sender, whole));
    uint64_t digest = state_digest(sender.state), revision = state_revision(sender.state);
    uint64_t applied = state_applied(sender.state), keys = state_keys(sender.state);
    size_t count = chunks_take(&sender, chunks);
    assert_true(count > 3);
    assert_true(state_digest(sender.state) != digest);
    for (size_t i = 0; i < count; i++)
        assert_true(payload_size(chunks[i]) < CHUNK_BYTES + 300);

    assert_int_equal(kv_leveldb_open(&kv, dirs[1].path, true), 0);
    assert_int_equal(stage(chunks, count, &kv), 0);
    chunks_free(chunks, count);
    world_open(&receiver, kv);
    assert_true(state_digest(receiver.state) == digest);
    assert_int_equal(state_revision(receiver.state), revision);
    assert_int_equal(state_applied(receiver.state), applied);
    assert_int_equal(state_flushed(receiver.state), applied);
    assert_int_equal(state_keys(receiver.state), keys);
    assert_int_equal(state_gateway_boot(receiver.state, WORLD_NODE), 1);
    assert_int_equal(state_config(receiver.state)->members[0].id, 3);
    assert_string_equal(world_query(&receiver, whole), before);
    assert_int_equal(state_next_expiry(sender.state, &due[0]), 0);
    assert_int_equal(state_next_expiry(receiver.state, &due[1]), 0);
    assert_true(due[1] && due[0] == due[1]);

    /* Derived records are there too: both go on alike, over expiries and forgotten sessions. */
    receiver.seq = applied - 1;
    receiver.time_ms = 5000;
    while (state_applied(receiver.state) < state_applied(sender.state)) {
        world_apply(&receiver, "[0, 1, \"put\", [\"late\", \"v\"]]");
        world_apply(&receiver, "[0, 1, \"delete\", [\"key5\"]]");
    }
    assert_true(world_expire(&sender, 9000000) == world_expire(&receiver, 9000000));
    assert_int_equal(state_keys(receiver.state), state_keys(sender.state));
    assert_true(state_digest(receiver.state) == state_digest(sender.state));
    world_close(&sender);
    world_close(&receiver);
    for (int i = 0; i < 2; i++)
        temp_dir_remove(&dirs[i]);
}

/* Answers in full pages and in part of one, forgotten ones among them, and those that stand apart:
 * the receiver gives them again, and forgets them as the sender does. */
static void answers_travel(void **unused) {
    (void) unused;
    world_t sender, receiver;
    kv_t *kv;
    payload_t *chunks[CHUNKS_MAX];
    char command[128], first[128];
    assert_int_equal(kv_memory_open(&kv), 0);
    sender_open(&sender, kv, 0);
    for (unsigned seq = 1; seq <= SESSION_ANSWERS + 40; seq++) {
        snprintf(command, sizeof command,
                 seq % 3 ? "[0, 1, \"put\", [\"k\", \"v\", {\"client\": \"c\", \"seq\": %u}]]"
                         : "[0, 1, \"txn\", [[], [[\"put\", [\"k\", \"v\"]]], [], {\"client\": "
                           "\"c\", \"seq\": %u}]]",
                 seq);
        const char *answer = world_apply(&sender, command);
        if (seq == SESSION_ANSWERS + 35) /* 1059: of a transaction */
            snprintf(first, sizeof first, "%s", answer);
        if (seq % 100 == 0)
            world_flush(&sender);
    }
    world_flush(&sender);
    uint64_t digest = state_digest(sender.state), seq = sender.seq;
    size_t count = chunks_take(&sender, chunks);
    assert_int_equal(kv_memory_open(&kv), 0);
    assert_int_equal(stage(chunks, count, &kv), 0);
    chunks_free(chunks, count);
    world_open(&receiver, kv);
    assert_true(state_digest(receiver.state) == digest);
    receiver.seq = seq;
    receiver.time_ms = 5000;
    assert_string_equal(world_apply(&receiver,
                                    "[0, 1, \"txn\", [[], [[\"put\", [\"k\", \"v\"]]], [], "
                                    "{\"client\": \"c\", \"seq\": 1059}]]"),
                        first);
    assert_string_equal(
        world_apply(&receiver, "[0, 1, \"put\", [\"k\", \"v\", {\"client\": \"c\", \"seq\": 40}]]"),
        "INVALID_ARGUMENT");
    uint64_t before = state_digest(receiver.state);
    world_expire(&receiver, 9000000); /* one entry forgets 64 answers */
    assert_true(state_digest(receiver.state) != before);
    for (int i = 0; i < 20; i++)
        world_expire(&receiver, 9000000);
    assert_string_equal(
        world_apply(&receiver, "[0, 1, \"put\", [\"k\", \"v\", {\"client\": \"c\", \"seq\": 40}]]"),
        "{index: 1065, revision: 1065}");
    world_close(&sender);
    world_close(&receiver);
}

/* Pairs as large as they can be, among small ones: each chunk goes into a message between nodes. */
static void chunks_fit_into_messages(void **unused) {
    (void) unused;
    static const char *const commands[] = {
        "[0, 1, \"put\", [\"a\"*4096, \"v\"]]",
        "[0, 1, \"put\", [\"b\"*4096, \"v\"*16777000]]",
        "[0, 1, \"lock\", [\"c\"*4096, {\"ttl_ms\": 1}]]",
        "[0, 1, \"lock\", [\"c\"*4096, {\"ttl_ms\": 1, \"value\": \"v\"*16777000}]]",
        "[0, 1, \"put\", [\"d\"*4096, \"v\"*200000]]",
        "[0, 1, \"txn\", [[], [[\"get\", [\"b\"*4096]]], [], {\"client\": \"c\"*32, \"seq\": 1}]]",
    };
    world_t sender, receiver;
    kv_t *kv, *staged;
    state_snapshot_t *snapshot;
    state_staging_t *staging;
    payload_t *chunk;
    bool last = false;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(&sender, kv);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        world_apply(&sender, commands[i]);
    world_flush(&sender);
    assert_int_equal(kv_memory_open(&staged), 0);
    assert_int_equal(state_staging_open(&staging, &staged), 0);
    assert_int_equal(state_snapshot_open(sender.state, &snapshot), 0);
    for (uint64_t i = 0; !last; i++) {
        assert_int_equal(state_snapshot_read(snapshot, i, SNAPSHOT_CHUNK_BYTES, &chunk, &last), 0);
        assert_true(payload_size(chunk) < LIMIT_PEER_FRAME_BYTES);
        assert_int_equal(state_staging_add(staging, i, payload_slice(chunk), last), 0);
        payload_unref(&chunk);
    }
    state_snapshot_close(sender.state, &snapshot);
    assert_int_equal(state_staging_finish(&staging, &staged), 0);
    world_open(&receiver, staged);
    assert_true(state_digest(receiver.state) == state_digest(sender.state));
    world_close(&receiver);
    world_close(&sender);
}

static void chunks_come_in_order(void **unused) {
    (void) unused;
    world_t world;
    kv_t *kv;
    state_snapshot_t *snapshot;
    payload_t *first, *again, *second;
    bool last;
    assert_int_equal(kv_memory_open(&kv), 0);
    world_open(&world, kv);
    assert_int_equal(state_snapshot_open(world.state, &snapshot), DRAX_ENOTFOUND);
    world_close(&world);
    assert_int_equal(kv_memory_open(&kv), 0);
    sender_open(&world, kv, 100);
    assert_int_equal(state_snapshot_open(world.state, &snapshot), 0);
    assert_int_equal(state_snapshot_read(snapshot, 1, 1000, &first, &last), DRAX_EINVAL);
    assert_int_equal(state_snapshot_read(snapshot, 0, 1000, &first, &last), 0);
    assert_int_equal(state_snapshot_read(snapshot, 0, 1000, &again, &last), 0);
    assert_ptr_equal(first, again);
    assert_false(last);
    assert_int_equal(state_snapshot_read(snapshot, 1, 1 << 20, &second, &last), 0);
    assert_true(last);
    payload_unref(&first);
    payload_unref(&again);
    payload_unref(&second);
    assert_int_equal(state_snapshot_read(snapshot, 0, 1000, &first, &last), DRAX_EINVAL);
    assert_int_equal(state_snapshot_read(snapshot, 2, 1000, &first, &last), DRAX_EINVAL);
    assert_int_equal(state_snapshot_read(snapshot, 1, 1000, &second, &last), 0);
    assert_true(last);
    payload_unref(&second);
    state_snapshot_close(world.state, &snapshot);
    world_close(&world);
}

static void snapshot_of_an_empty_state(void **unused) {
    (void) unused;
    world_t sender, receiver;
    kv_t *kv;
    payload_t *chunks[CHUNKS_MAX];
    assert_int_equal(kv_memory_open(&kv), 0);
    sender_open(&sender, kv, 0);
    size_t count = chunks_take(&sender, chunks);
    assert_int_equal(count, 1);
    assert_int_equal(kv_memory_open(&kv), 0);
    assert_int_equal(stage(chunks, count, &kv), 0);
    chunks_free(chunks, count);
    world_open(&receiver, kv);
    assert_int_equal(state_applied(receiver.state), 1);
    world_close(&sender);
    world_close(&receiver);
}

/* ---- what must not pass ---- */

static int stage_in_memory(payload_t *const *chunks, size_t count) {
    kv_t *kv;
    assert_int_equal(kv_memory_open(&kv), 0);
    int rc = stage(chunks, count, &kv);
    kv_close(&kv);
    return rc;
}

/* A copy of the chunk with `size` bytes at `offset` changed, and a checksum that fits again. */
static payload_t *forged(const payload_t *chunk, size_t offset, uint8_t flip) {
    payload_t *copy = payload_copy(payload_data(chunk), payload_size(chunk));
    payload_bytes(copy)[offset] ^= flip;
    be64_write(payload_bytes(copy), chunk_checksum(payload_slice(copy)));
    return copy;
}

static void damage_is_refused(void **unused) {
    (void) unused;
    world_t world;
    kv_t *kv;
    payload_t *chunks[CHUNKS_MAX];
    assert_int_equal(kv_memory_open(&kv), 0);
    sender_open(&world, kv, 60);
    size_t count = chunks_take(&world, chunks);
    assert_true(count > 2);
    assert_int_equal(stage_in_memory(chunks, count), 0);
    assert_int_equal(stage_in_memory(chunks, count - 1), DRAX_ECORRUPT);
    assert_int_equal(stage_in_memory(chunks + 1, count - 1), DRAX_ECORRUPT);
    for (size_t at = 0; at < count; at++) {
        payload_t *original = chunks[at];
        slice_t bytes = payload_slice(original);
        for (size_t i = 0; i < bytes.size; i += 1 + i / 40) {
            /* Damage on the way: the checksum tells. */
            chunks[at] = payload_copy(bytes.data, bytes.size);
            payload_bytes(chunks[at])[i] ^= 0x10;
            assert_int_equal(stage_in_memory(chunks, count), DRAX_ECORRUPT);
            payload_unref(&chunks[at]);
            /* Cut short. */
            chunks[at] = payload_copy(bytes.data, i);
            assert_int_equal(stage_in_memory(chunks, count), DRAX_ECORRUPT);
            payload_unref(&chunks[at]);
        }
        /* A sender with other records than its digest says: the digest tells. Chunk 0 begins with
         * the meta, whose time and marks no digest covers. */
        for (size_t i = at ? 8 : bytes.size - 30; i < bytes.size; i += 3) {
            chunks[at] = forged(original, i, 1);
            assert_true(stage_in_memory(chunks, count) < 0);
            payload_unref(&chunks[at]);
        }
        chunks[at] = original;
    }
    payload_t *first = chunks[0];
    chunks[0] = chunks[1];
    assert_int_equal(stage_in_memory(chunks, count), DRAX_ECORRUPT);
    chunks[0] = first;
    chunks_free(chunks, count);
    world_close(&world);
}

/* Chunks of two snapshots of one sender do not mix. */
static void snapshots_do_not_mix(void **unused) {
    (void) unused;
    world_t world;
    kv_t *kv;
    payload_t *chunks[2][CHUNKS_MAX];
    size_t counts[2];
    assert_int_equal(kv_memory_open(&kv), 0);
    sender_open(&world, kv, 60);
    for (int i = 0; i < 2; i++)
        counts[i] = chunks_take(&world, chunks[i]);
    payload_t *first = chunks[0][0];
    chunks[0][0] = chunks[1][0];
    assert_int_equal(stage_in_memory(chunks[0], counts[0]), DRAX_ECORRUPT);
    chunks[0][0] = first;
    for (int i = 0; i < 2; i++)
        chunks_free(chunks[i], counts[i]);
    world_close(&world);
}

static void incomplete_staging_is_no_state(void **unused) {
    (void) unused;
    temp_dir_t dir;
    world_t world;
    kv_t *kv;
    state_t *state;
    state_staging_t *staging;
    payload_t *chunks[CHUNKS_MAX];
    temp_dir_make(&dir);
    assert_int_equal(kv_memory_open(&kv), 0);
    sender_open(&world, kv, 60);
    size_t count = chunks_take(&world, chunks);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, true), 0);
    assert_int_equal(state_staging_open(&staging, &kv), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(state_staging_add(staging, i, payload_slice(chunks[i]), i + 1 == count),
                         0);
    state_staging_abort(&staging, &kv);
    assert_null(staging);
    kv_close(&kv);
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    assert_int_equal(state_open(&state, &kv), DRAX_ECORRUPT);
    assert_null(state);
    assert_null(kv);
    /* Nor can another snapshot be put on top of the rest of this one. */
    assert_int_equal(kv_leveldb_open(&kv, dir.path, false), 0);
    assert_int_equal(state_staging_open(&staging, &kv), DRAX_EINVAL);
    assert_null(kv);
    chunks_free(chunks, count);
    world_close(&world);
    temp_dir_remove(&dir);
}

static void failures_are_told(void **unused) {
    (void) unused;
    world_t world;
    kv_t *kv;
    payload_t *chunks[CHUNKS_MAX];
    state_snapshot_t *snapshot;
    long calls = -1;
    bool last;
    assert_int_equal(kv_memory_open(&kv), 0);
    sender_open(&world, kv_faulty_new(kv, &calls, DRAX_EIO), 60);
    size_t count = chunks_take(&world, chunks);
    for (long allowed = 0; allowed < 40; allowed++) {
        payload_t *chunk;
        calls = allowed;
        int rc = state_snapshot_open(world.state, &snapshot);
        for (uint64_t i = 0; rc == 0; i++) {
            rc = state_snapshot_read(snapshot, i, CHUNK_BYTES, &chunk, &last);
            assert_false(rc == 0 && last); /* it has more pairs than calls */
            payload_unref(&chunk);
        }
        assert_int_equal(rc, DRAX_EIO);
        state_snapshot_close(world.state, &snapshot);
    }
    for (long allowed = 0; allowed < (long) count; allowed++) {
        long left = allowed;
        assert_int_equal(kv_memory_open(&kv), 0);
        kv = kv_faulty_new(kv, &left, DRAX_ENOSPC);
        state_staging_t *staging;
        int rc = state_staging_open(&staging, &kv);
        for (size_t i = 0; rc == 0 && i < count; i++)
            rc = state_staging_add(staging, i, payload_slice(chunks[i]), i + 1 == count);
        if (staging)
            assert_int_equal(state_staging_finish(&staging, &kv), DRAX_ENOSPC);
        assert_int_equal(rc, DRAX_ENOSPC);
        assert_null(kv);
    }
    chunks_free(chunks, count);
    calls = -1;
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshot_makes_the_same_state),
        cmocka_unit_test(chunks_come_in_order),
        cmocka_unit_test(answers_travel),
        cmocka_unit_test(chunks_fit_into_messages),
        cmocka_unit_test(snapshot_of_an_empty_state),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(snapshots_do_not_mix),
        cmocka_unit_test(incomplete_staging_is_no_state),
        cmocka_unit_test(failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
