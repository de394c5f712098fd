/* sweep_node.c: see the header. */
#include "tests/sweep/sweep_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/block.h"
#include "broker/error.h"
#include "broker/rpc.h"

#define NODE 1u
#define BOOT 7u
#define CLUSTER 9u
#define SEGMENT_BYTES 4096u
#define KEEP_BYTES 4096u
#define CHUNK_BYTES 1024u
#define FLUSH_MS 300u
#define VALUE_BYTES 300u
#define TURNS 200u /* more than anything takes */
#define TURN_MS 100u

/* ---- the log ---- */

static void pair_pack(buffer_t *out, const char *key, uint64_t index) {
    char value[VALUE_BYTES];
    memset(value, 'a' + (int) (index % 26), sizeof value);
    pack_str(out, key);
    pack_bin(out, value, sizeof value);
}

/* The command of entry `index`: a put, one with a ttl, one that counts once, a delete. */
static void command_pack(buffer_t *out, uint64_t index) {
    char key[16];
    (void) snprintf(key, sizeof key, "k%u", (unsigned) (index % 7));
    bool options = index % 4 == 1 || index % 4 == 2, put = index % 4 != 3;
    pack_array(out, 4);
    pack_uint(out, RPC_REQUEST);
    pack_uint(out, index);
    pack_str(out, put ? "put" : "delete");
    pack_array(out, (put ? 2u : 1u) + options);
    if (put)
        pair_pack(out, key, index);
    else
        pack_str(out, key);
    if (index % 4 == 1) {
        pack_map(out, 1);
        pack_str(out, "ttl_ms");
        pack_uint(out, 100000 + index);
    } else if (index % 4 == 2) {
        pack_map(out, 2);
        pack_str(out, "client");
        pack_str(out, "me");
        pack_str(out, "seq");
        pack_uint(out, index);
    }
}

static entry_t entry_make(uint64_t index) {
    buffer_t command = {0}, block = {0};
    command_pack(&command, index);
    block_begin(&block, NODE, BOOT, index, index - 1, 1);
    block_add(&block, (slice_t){command.data, command.size});
    entry_t entry = {.index = index, .term = 1, .time_ms = index, .kind = ENTRY_BLOCK};
    entry.payload = payload_copy(block.data, block.size);
    assert(entry.payload && !block.failed && !command.failed);
    buffer_free(&command);
    buffer_free(&block);
    return entry;
}

static bool chunks_keep(sweep_shared_t *shared, state_t *state) {
    state_snapshot_t *snapshot = NULL;
    bool last = false;
    if (state_freeze(state) || state_flush_write(state) || state_thaw(state, 0) ||
        state_snapshot_open(state, &snapshot))
        return false;
    while (!last && shared->chunk_count < SWEEP_CHUNKS) {
        payload_t *chunk = NULL;
        size_t at = shared->chunk_count++;
        if (state_snapshot_read(snapshot, at, CHUNK_BYTES, &chunk, &last))
            return false;
        shared->chunk_sizes[at] = payload_size(chunk);
        assert(payload_size(chunk) <= sizeof shared->chunks[at]);
        memcpy(shared->chunks[at], payload_data(chunk), payload_size(chunk));
        payload_unref(&chunk);
    }
    state_snapshot_close(state, &snapshot);
    return last;
}

bool sweep_expect(sweep_shared_t *shared) {
    kv_t *kv = NULL;
    state_t *state = NULL;
    if (kv_memory_open(&kv) || state_open(&state, &kv))
        return false;
    bool done = true;
    for (uint64_t index = 1; done && index <= SWEEP_ENTRIES; index++) {
        state_applied_t applied;
        entry_t entry = entry_make(index);
        done = entry.payload && state_apply(state, &entry, &applied) == 0 && !applied.skipped;
        entry_clear(&entry);
        shared->digests[index] = state_digest(state);
        if (done && index == SWEEP_SNAPSHOT)
            done = chunks_keep(shared, state);
    }
    state_close(&state);
    return done;
}

/* ---- what the actor says ---- */

static void entries_check(const entries_t *entries) {
    for (size_t i = 0; i < entries->count; i++) {
        const entry_t *got = &entries->items[i];
        entry_t wanted = entry_make(got->index);
        slice_t a = payload_slice(got->payload), b = payload_slice(wanted.payload);
        assert(got->term == 1 && a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
        entry_clear(&wanted);
    }
}

static void opened_take(sweep_node_t *self, const message_opened_t *opened) {
    self->opened = true;
    self->first_index = opened->first_index;
    self->last_index = opened->last_index;
    if (!opened->formatted)
        return;
    assert(opened->node == NODE && opened->cluster == CLUSTER);
    assert(opened->last_index >= self->shared->said.index);
    self->shared->said.formatted = true;
}

static void sent(void *hint, actor_t to, message_t *message) {
    sweep_node_t *self = hint;
    (void) to;
    self->hold(true);
    switch (message->kind) {
    case MESSAGE_OPENED:
        opened_take(self, &message->opened);
        break;
    case MESSAGE_WRITTEN:
        assert(message->written.seq <= self->seq);
        if (self->indexes[message->written.seq] > self->shared->said.index)
            self->shared->said.index = self->indexes[message->written.seq];
        break;
    case MESSAGE_STORE_STATUS:
        self->applied = message->batch.applied;
        assert(message->batch.digest == self->shared->digests[self->applied]);
        break;
    case MESSAGE_FETCHED:
        self->fetched = true;
        entries_check(&message->fetch.entries);
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        self->staged_code = message->snapshot.code;
        self->chunk_session = message->snapshot.session;
        self->chunk_last = message->snapshot.last;
        break;
    case MESSAGE_SNAPSHOT_STAGED:
        self->staged = true;
        self->staged_code = message->snapshot.code;
        if (message->snapshot.last && !message->snapshot.code)
            self->shared->said.index = SWEEP_SNAPSHOT;
        break;
    default:
        break;
    }
    message_clear(message);
    self->hold(false);
}

static bool sent_peer(void *hint, message_t *message) {
    (void) hint;
    message_clear(message);
    return false;
}

static void peers_none(void *hint, uint64_t own, const config_t *config, const config_t *extra) {
    (void) hint;
    (void) own;
    (void) config;
    (void) extra;
}

static uint64_t boot_one(void *hint, actor_t neighbour) {
    (void) hint;
    (void) neighbour;
    return 1;
}

/* ---- what it is told ---- */

static int turn(sweep_node_t *self) {
    self->now_ms += TURN_MS;
    self->hold(false);
    int rc = storage_actor_ops.turn(self->storage, self->now_ms);
    self->hold(true);
    if (rc)
        log_error(&self->log, "cannot go on: %s", error_text(rc));
    return rc;
}

static void give(sweep_node_t *self, message_t *message, actor_t from) {
    message->actor = from;
    message->from_boot = 1;
    self->hold(false);
    storage_actor_ops.receive(self->storage, message, self->now_ms);
    self->hold(true);
    message_clear(message);
}

/* All values of users are large ones, all other records are not. */
static int kv_open(void *hint, kv_t **out, const char *directory, bool create) {
    (void) hint;
    return kv_leveldb_open_sized(out, directory, create, fs_posix(),
                                 &(kv_leveldb_sizes_t){.large = VALUE_BYTES});
}

static int start(sweep_node_t *self) {
    char detail[512] = "";
    storage_options_t options = {.home = self->home,
                                 .fs = fs_posix(),
                                 .post = &self->post,
                                 .log = &self->log,
                                 .kv_open = kv_open,
                                 .seed = 3,
                                 .segment_bytes = SEGMENT_BYTES,
                                 .keep_bytes = KEEP_BYTES,
                                 .chunk_bytes = CHUNK_BYTES,
                                 .flush_ms = FLUSH_MS};
    self->hold(false);
    int rc = storage_actor_new(&self->storage, &options, detail, sizeof detail);
    self->hold(true);
    if (rc)
        log_error(&self->log, "cannot start: %s", detail[0] ? detail : error_text(rc));
    else
        storage_actor_ops.neighbour(self->storage, ACTOR_GATEWAY, self->now_ms);
    return rc;
}

static int open_node(sweep_node_t *self) {
    message_t message = {.kind = MESSAGE_OPEN};
    self->opened = false;
    self->seq = 0;
    memset(self->indexes, 0, sizeof self->indexes);
    give(self, &message, ACTOR_RAFT);
    return turn(self);
}

static int format(sweep_node_t *self) {
    message_t message = {.kind = MESSAGE_FORMAT, .format = {.cluster = CLUSTER, .node = NODE}};
    give(self, &message, ACTOR_RAFT);
    return open_node(self);
}

/* A WRITE of the entries up to `to`, all of them committed. */
static void write_give(sweep_node_t *self, uint64_t to) {
    message_t message = {.kind = MESSAGE_WRITE};
    message.write.seq = ++self->seq;
    message.write.has_hard_state = true;
    message.write.term = 1;
    message.write.vote = NODE;
    message.write.commit = to;
    while (self->index < to) {
        entry_t entry = entry_make(++self->index);
        int rc = entries_push(&message.write.entries, &entry);
        assert(rc == 0);
        entry_clear(&entry);
    }
    self->indexes[self->seq] = self->index;
    give(self, &message, ACTOR_RAFT);
}

/* Writes and applies up to `to`, two entries a turn, as far as the disk lets it. */
static int load(sweep_node_t *self, uint64_t to) {
    int rc = 0;
    while (rc == 0 && self->index < to) {
        write_give(self, self->index + 2 < to ? self->index + 2 : to);
        rc = turn(self);
    }
    for (unsigned i = 0; rc == 0 && i < 20 && self->applied < to; i++)
        rc = turn(self);
    return rc;
}

static int idle(sweep_node_t *self, unsigned turns) {
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < turns; i++)
        rc = turn(self);
    return rc;
}

/* ---- parts ---- */

static int run_start(sweep_node_t *self) {
    int rc = start(self);
    return rc ? rc : format(self);
}

static int run_load(sweep_node_t *self) {
    return load(self, 24);
}

/* Flushes, and with them compaction: the history kept is a segment. */
static int run_flush(sweep_node_t *self) {
    int rc = idle(self, 6);
    if (rc == 0)
        rc = load(self, 48);
    return rc ? rc : idle(self, 6);
}

static int before_load(sweep_node_t *self) {
    return run_start(self);
}

static int before_flush(sweep_node_t *self) {
    int rc = run_start(self);
    return rc ? rc : load(self, 24);
}

static int before_send(sweep_node_t *self) {
    int rc = before_flush(self);
    return rc ? rc : idle(self, 6);
}

static int run_send(sweep_node_t *self) {
    int rc = 0;
    self->chunk_session = self->chunks = 0;
    self->chunk_last = false;
    for (unsigned i = 0; rc == 0 && i < SWEEP_CHUNKS && !self->chunk_last; i++) {
        message_t message = {.kind = MESSAGE_SNAPSHOT_FETCH};
        message.snapshot.peer = 2;
        message.snapshot.session = self->chunk_session;
        message.snapshot.chunk = self->chunks;
        give(self, &message, ACTOR_RAFT);
        rc = turn(self);
        if (self->staged_code) /* refused: begin again */
            self->chunk_session = self->chunks = 0;
        else
            self->chunks++;
    }
    return rc;
}

static int chunk_give(sweep_node_t *self, uint64_t session, size_t at) {
    message_t message = {.kind = MESSAGE_SNAPSHOT_CHUNK};
    message.snapshot.session = session;
    message.snapshot.chunk = at;
    message.snapshot.last = at + 1 == self->shared->chunk_count;
    message.snapshot.index = SWEEP_SNAPSHOT;
    message.snapshot.snapshot_term = 1;
    message.snapshot.time_ms = SWEEP_SNAPSHOT;
    message.snapshot.payload =
        payload_copy(self->shared->chunks[at], self->shared->chunk_sizes[at]);
    self->staged = false;
    self->staged_code = 0;
    give(self, &message, ACTOR_RAFT);
    int rc = turn(self);
    for (unsigned i = 0; rc == 0 && i < 20 && !self->staged; i++)
        rc = turn(self);
    return rc;
}

static int run_receive(sweep_node_t *self) {
    int rc = 0;
    for (uint64_t session = 1; rc == 0 && session < 4; session++) {
        self->staged_code = 0;
        for (size_t at = 0; rc == 0 && at < self->shared->chunk_count && !self->staged_code; at++)
            rc = chunk_give(self, session, at);
        if (rc == 0 && !self->staged_code)
            return open_node(self); /* raft begins anew from there */
    }
    return rc;
}

static int before_receive(sweep_node_t *self) {
    int rc = run_start(self);
    return rc ? rc : load(self, 8);
}

/* As a kill leaves it: nothing is closed, and the flush under way is not waited for. */
static int before_recovery(sweep_node_t *self) {
    pid_t pid = fork();
    if (pid == 0) {
        int rc = before_flush(self);
        if (rc == 0)
            rc = idle(self, 4);
        if (rc == 0)
            rc = load(self, 40);
        _exit(rc ? 1 : 0);
    }
    int status = 1;
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : DRAX_EIO;
}

static int run_recovery(sweep_node_t *self) {
    int rc = start(self);
    if (rc == 0)
        rc = open_node(self);
    if (rc)
        return rc;
    self->index = self->last_index;
    rc = load(self, self->last_index + 4);
    return rc ? rc : idle(self, 4);
}

const sweep_part_t sweep_parts[] = {
    {"start", NULL, run_start},
    {"load", before_load, run_load},
    {"flush", before_flush, run_flush},
    {"snapshot sent", before_send, run_send},
    {"snapshot taken", before_receive, run_receive},
    {"recovery", before_recovery, run_recovery},
    {NULL, NULL, NULL},
};

/* ---- afterwards ---- */

void sweep_node_verify(sweep_node_t *self) {
    uint64_t said = self->shared->said.index;
    bool formatted = self->shared->said.formatted;
    int rc = start(self);
    assert(rc == 0);
    rc = open_node(self);
    assert(rc == 0 && self->opened);
    if (!self->shared->said.formatted) { /* the home was never said to be made: make it now */
        assert(!formatted && said == 0);
        rc = format(self);
        assert(rc == 0 && self->shared->said.formatted);
    }
    assert(self->last_index >= said && self->last_index <= SWEEP_ENTRIES);
    self->index = self->last_index;
    for (uint64_t from = self->first_index; from <= self->last_index; from++) {
        message_t message = {.kind = MESSAGE_FETCH, .fetch = {.peer = 2, .from = from}};
        self->fetched = false;
        give(self, &message, ACTOR_RAFT);
        assert(self->fetched);
    }
    rc = load(self, self->last_index < SWEEP_ENTRIES ? self->last_index + 1 : SWEEP_ENTRIES);
    assert(rc == 0);
    for (unsigned i = 0; i < TURNS && self->applied < self->index; i++) {
        rc = turn(self);
        assert(rc == 0);
    }
    assert(self->applied == self->index); /* with the right digest: sent() has looked */
}

void sweep_node_begin(sweep_node_t *self, const char *home, sweep_shared_t *shared,
                      faults_hold_fn *hold) {
    memset(self, 0, sizeof *self);
    self->hold = hold;
    hold(true);
    self->home = home;
    self->shared = shared;
    self->post = (post_t){self, sent, sent_peer, peers_none, boot_one};
    self->log = (log_t){LOG_LEVEL_INFO, "storage", NULL, NULL};
    self->now_ms = 1000000;
    (void) mkdir(home, 0700); /* what fails here fails below */
}

void sweep_node_end(sweep_node_t *self) {
    storage_actor_destroy(&self->storage);
}
