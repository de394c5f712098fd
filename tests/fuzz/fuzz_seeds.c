/* fuzz_seeds.c: first inputs for the corpora, made of real messages.
 *
 *   fuzz_seeds DIRECTORY        writes DIRECTORY/NAME/seed-NUMBER
 *
 * The harnesses whose inputs are steps (raft, storage, …) begin from nothing: there every byte
 * means something.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "broker/block.h"
#include "broker/codec.h"
#include "store/state.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/message_random.h"
#include "tests/unit/text_msgpack.h"

static const char *const requests[] = {
    "[0, 1, \"ping\", []]",
    "[0, 2, \"get\", [\"k\", {\"stale\": true}]]",
    "[0, 3, \"put\", [\"k\", b\"v\", {\"ttl_ms\": 100, \"client\": \"c\", \"seq\": 1}]]",
    "[0, 4, \"list\", [\"d\", {\"keys_only\": true, \"limit\": 2, \"after\": \"d/a\"}]]",
    "[0, 5, \"range\", [\"a\", \"z\", {\"reverse\": true, \"count_only\": false}]]",
    "[0, 6, \"atomic_put\", [\"k\", \"v\", 3, {\"fence\": [\"l\", 7]}]]",
    "[0, 7, \"atomic_delete\", [\"k\", nil]]",
    "[0, 8, \"member_add\", [\"h:1\", \"h:2\", {\"id\": 9}]]",
    "[0, 9, \"leader_transfer\", []]",
    "[2, \"credit\", [1, 2]]",
};
static const char *const answers[] = {
    "[1, 1, nil, {\"key\": \"k\", \"value\": b\"\\x00\", \"index\": 3, \"revision\": 4}]",
    "[1, 1, nil, {\"pairs\": [{\"key\": \"a\", \"index\": 1}, {\"key\": b\"\\xff\"}], \"more\": "
    "false}]",
    "[1, 1, [\"KEY_NOT_FOUND\", \"no such key\"], nil]",
    "[1, 1, [\"COMPACTED\", \"gone\", {\"compacted\": 5}], nil]",
    "[1, 1, nil, {\"id\": 2, \"cluster\": 7, \"members\": [{\"id\": 2, \"addr\": \"h:1\", "
    "\"raft_addr\": \"h:2\", \"role\": \"voter\"}]}]",
    "[2, \"event\", [{\"watch\": 1, \"events\": [], \"next\": 5}]]",
};
static const char *const settings[] = {
    "--home\n/tmp/x\n--addr\n127.0.0.1:2380\n--peer=h:1,h:2\nstorage\n",
    "=addr = '[::1]:1' # text\n=peer = h:1\n=max-request = 2048\nrun\n",
    "$0/tmp/y\n$1*:5\n$3h:9\n--ready-fd=3\n--log-level=debug\n",
};
static const char *const homes[] = {
    "\1drax-identity 1\ncluster 7\nnode 1\nmember 2 1 h:1 h:2\nmember 3 2 h:3 [::1]:4\n",
    "\3drax-state 1\nnumber 1\nindex 2\nterm 3\n",
};
static const char *const imports[] = {
    "\4{\"key\": \"k\", \"value\": {\"base64\": \"AP8=\"}}",
    "\5AP8=",
    "\6a\tb\\c",
    "\3"
    "10.5s",
    "\7"
    "300ms",
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void seed_write(const char *top, const char *name, unsigned number, slice_t bytes) {
    char path[4096];
    (void) snprintf(path, sizeof path, "%s/%s", top, name);
    (void) mkdir(path, 0777); /* opening the file tells */
    (void) snprintf(path, sizeof path, "%s/%s/seed-%u", top, name, number);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes.data, 1, bytes.size, file) != bytes.size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void texts_write(const char *top, const char *name, const char *const *texts, size_t count) {
    for (unsigned i = 0; i < count; i++)
        seed_write(top, name, i, (slice_t){(const uint8_t *) texts[i], strlen(texts[i])});
}

static void msgpack_write(const char *top, const char *name, const char *const *texts,
                          size_t count) {
    for (unsigned i = 0; i < count; i++) {
        buffer_t bytes = {0};
        text_msgpack(&bytes, texts[i]);
        seed_write(top, name, i, (slice_t){bytes.data, bytes.size});
        buffer_free(&bytes);
    }
}

/* As fuzz_message.c reads them; those with payloads too long for a size of one byte are left out.
 */
static void messages_write(const char *top) {
    uint64_t random = 1;
    for (message_kind_t kind = 1; kind < MESSAGE_KIND_END; kind++) {
        message_t message;
        frames_t frames = {0};
        buffer_t out = {0};
        if (!message_kind_exists(kind))
            continue;
        message_random(&message, kind, &random);
        bool fits = codec_encode(&frames, &message) == 0 && frames.count < 8;
        uint8_t count = (uint8_t) frames.count;
        buffer_append(&out, &count, 1);
        for (size_t i = 0; fits && i < frames.count; i++) {
            uint8_t size = (uint8_t) payload_size(frames.payloads[i]);
            fits = payload_size(frames.payloads[i]) <= UINT8_MAX;
            buffer_append(&out, &size, 1);
        }
        for (size_t i = 0; fits && i < frames.count; i++)
            buffer_append(&out, payload_data(frames.payloads[i]), payload_size(frames.payloads[i]));
        buffer_append(&out, frames.header.data, frames.header.size);
        if (fits && !out.failed)
            seed_write(top, "message", kind, (slice_t){out.data, out.size});
        buffer_free(&out);
        frames_clear(&frames);
        message_clear(&message);
    }
}

/* ---- a snapshot ---- */

static void command_apply(state_t *state, const char *text) {
    uint64_t seq = state_applied(state) + 1;
    buffer_t command = {0}, block = {0};
    state_applied_t applied;
    text_msgpack(&command, text);
    block_begin(&block, 1, 1, seq, seq - 1, 1);
    block_add(&block, (slice_t){command.data, command.size});
    entry_t entry = {.index = seq, .term = 1, .time_ms = 1000, .kind = ENTRY_BLOCK};
    entry.payload = buffer_take(&block);
    if (!entry.payload || state_apply(state, &entry, &applied) != 0)
        exit(1);
    entry_clear(&entry);
    buffer_free(&command);
    buffer_free(&block);
}

static void snapshot_write(const char *top) {
    kv_t *kv = NULL;
    state_t *state = NULL;
    state_snapshot_t *snapshot = NULL;
    buffer_t out = {0};
    bool last = false;
    if (kv_memory_open(&kv) != 0 || state_open(&state, &kv) != 0)
        exit(1);
    command_apply(state, "[0, 1, \"put\", [\"a\", \"1\"]]");
    command_apply(state, "[0, 1, \"put\", [\"b\", \"2\", {\"ttl_ms\": 100}]]");
    command_apply(state, "[0, 1, \"put\", [\"c\", \"3\", {\"client\": \"me\", \"seq\": 1}]]");
    command_apply(state, "[0, 1, \"lease_grant\", [1000]]");
    command_apply(state, "[0, 1, \"lock\", [\"l\", {\"ttl_ms\": 100, \"wait_ms\": 0}]]");
    if (state_freeze(state) || state_flush_write(state) || state_thaw(state, 0) ||
        state_snapshot_open(state, &snapshot))
        exit(1);
    buffer_append(&out, (uint8_t[]){3}, 1);
    for (uint64_t chunk = 0; !last; chunk++) {
        payload_t *payload = NULL;
        if (state_snapshot_read(snapshot, chunk, 120, &payload, &last) != 0)
            exit(1);
        size_t size = payload_size(payload);
        buffer_append(&out, (uint8_t[]){(uint8_t) (size >> 8), (uint8_t) size}, 2);
        buffer_append(&out, payload_data(payload), size);
        payload_unref(&payload);
    }
    seed_write(top, "snapshot", 0, (slice_t){out.data, out.size});
    buffer_free(&out);
    state_snapshot_close(state, &snapshot);
    state_close(&state);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        (void) fprintf(stderr, "usage: fuzz_seeds DIRECTORY\n");
        return 64;
    }
    msgpack_write(argv[1], "request", requests, COUNT(requests));
    msgpack_write(argv[1], "answer", answers, COUNT(answers));
    texts_write(argv[1], "settings", settings, COUNT(settings));
    texts_write(argv[1], "home", homes, COUNT(homes));
    texts_write(argv[1], "import", imports, COUNT(imports));
    messages_write(argv[1]);
    snapshot_write(argv[1]);
    return 0;
}
