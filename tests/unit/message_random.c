#include "message_random.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_BITS 62u

uint64_t random_next(uint64_t *seed) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t random_number(uint64_t *seed, unsigned bits) {
    unsigned width = (unsigned) (random_next(seed) % (bits + 1));
    return width == 0 ? 0 : random_next(seed) >> (64 - width);
}

static uint64_t any(uint64_t *seed) {
    return random_number(seed, 64);
}

static uint64_t index_any(uint64_t *seed) {
    return random_number(seed, INDEX_BITS);
}

static uint64_t id_any(uint64_t *seed) {
    return random_number(seed, 32);
}

static bool flag(uint64_t *seed) {
    return random_next(seed) % 2 == 0;
}

static int code_any(uint64_t *seed) {
    return -(int) (random_next(seed) % 19);
}

payload_t *random_payload(uint64_t *seed, size_t min, size_t max) {
    size_t size = min + (size_t) (random_next(seed) % (max - min + 1));
    if (size == 0)
        return NULL;
    payload_t *payload = payload_new(size);
    assert(payload);
    for (size_t i = 0; i < size; i++)
        payload_bytes(payload)[i] = (uint8_t) random_next(seed);
    return payload;
}

static void addr_random(char out[LIMIT_ADDR_BYTES], uint64_t *seed) {
    size_t size = (size_t) (random_next(seed) % LIMIT_ADDR_BYTES);
    memset(out, 0, LIMIT_ADDR_BYTES);
    for (size_t i = 0; i < size; i++)
        out[i] = (char) ('!' + random_next(seed) % 90);
}

void config_random(config_t *out, uint64_t *seed) {
    memset(out, 0, sizeof *out);
    out->index = index_any(seed);
    out->count = (size_t) (random_next(seed) % (LIMIT_MEMBERS + 1));
    uint64_t id = 0;
    for (size_t i = 0; i < out->count; i++) {
        member_t *member = &out->members[i];
        id += 1 + random_number(seed, 27);
        member->id = id;
        member->role = flag(seed) ? MEMBER_VOTER : MEMBER_LEARNER;
        addr_random(member->addr, seed);
        addr_random(member->raft_addr, seed);
    }
}

static void entries_random(entries_t *out, uint64_t first, uint64_t *seed) {
    size_t count = (size_t) (random_next(seed) % 6);
    uint64_t term = random_number(seed, 20);
    for (size_t i = 0; i < count; i++) {
        config_t config;
        entry_t entry = {.index = first + i, .term = term, .time_ms = index_any(seed)};
        entry.kind = (entry_kind_t) (random_next(seed) % 3);
        if (entry.kind == ENTRY_BLOCK)
            entry.payload = random_payload(seed, 1, 300);
        if (entry.kind == ENTRY_CONFIG) {
            do
                config_random(&config, seed);
            while (config.count == 0);
            entry.config = &config;
        }
        int rc = entries_push(out, &entry);
        assert(rc == 0);
        (void) rc;
        payload_unref(&entry.payload);
        term += random_next(seed) % 2;
    }
}

static void opened_random(message_opened_t *out, uint64_t *seed) {
    out->formatted = flag(seed);
    out->cluster = any(seed);
    out->node = id_any(seed);
    out->term = index_any(seed);
    out->vote = id_any(seed);
    out->first_index = index_any(seed);
    out->last_index = index_any(seed);
    out->commit = index_any(seed);
    out->time_ms = index_any(seed);
    out->no_space = flag(seed);
    out->gateway_boot = any(seed);
    out->run_count = (size_t) (random_next(seed) % 5);
    if (out->run_count > 0)
        out->runs = calloc(out->run_count, sizeof *out->runs);
    for (size_t i = 0; i < out->run_count; i++)
        out->runs[i] = (term_run_t){index_any(seed), index_any(seed)};
    out->config_count = (size_t) (random_next(seed) % 4);
    if (out->config_count > 0)
        out->configs = calloc(out->config_count, sizeof *out->configs);
    for (size_t i = 0; i < out->config_count; i++)
        config_random(&out->configs[i], seed);
    config_random(&out->hint, seed);
}

static void propose_random(message_propose_t *out, bool payload, uint64_t *seed) {
    out->boot = any(seed);
    out->seq = any(seed);
    out->code = code_any(seed);
    out->payload = random_payload(seed, payload ? 1 : 0, 200);
}

static void read_random(message_read_t *out, uint64_t *seed) {
    out->boot = any(seed);
    out->read_id = any(seed);
    out->index = index_any(seed);
    out->code = code_any(seed);
}

static void snapshot_random(message_snapshot_t *out, uint64_t *seed) {
    out->peer = id_any(seed);
    out->session = any(seed);
    out->chunk = index_any(seed);
    out->last = flag(seed);
    out->code = code_any(seed);
    out->index = index_any(seed);
    out->snapshot_term = index_any(seed);
    out->time_ms = index_any(seed);
    config_random(&out->config, seed);
    out->payload = random_payload(seed, 0, 200);
}

static void admin_random(message_admin_t *out, uint64_t *seed) {
    out->token = any(seed);
    out->op = (admin_op_t) (ADMIN_ADD + random_next(seed) % ADMIN_MOVE);
    out->id = id_any(seed);
    addr_random(out->addr, seed);
    addr_random(out->raft_addr, seed);
    out->code = code_any(seed);
    out->leader = id_any(seed);
    config_random(&out->config, seed);
}

static void raft_status_random(message_raft_status_t *out, uint64_t *seed) {
    out->cluster = any(seed);
    out->node = id_any(seed);
    out->role = (raft_role_t) (random_next(seed) % (RAFT_LEARNER + 1));
    out->leader = id_any(seed);
    out->term = index_any(seed);
    out->commit = index_any(seed);
    out->no_space = flag(seed);
    out->gateway_boot = any(seed);
    out->time_ms = index_any(seed);
    config_random(&out->config, seed);
}

static void batch_random(message_batch_t *out, bool payload, uint64_t *seed) {
    out->read_id = any(seed);
    out->boot = any(seed);
    out->seq = any(seed);
    out->revision = index_any(seed);
    out->applied = index_any(seed);
    out->digest = any(seed);
    out->no_space = flag(seed);
    out->payload = random_payload(seed, payload ? 1 : 0, 200);
}

static void ack_random(message_ack_t *out, uint64_t *seed) {
    if (flag(seed))
        *out = (message_ack_t){1 + id_any(seed) / 2, any(seed), index_any(seed), index_any(seed)};
}

static void write_random(message_write_t *out, uint64_t *seed) {
    out->seq = any(seed);
    out->has_hard_state = flag(seed);
    out->term = index_any(seed);
    out->vote = id_any(seed);
    out->commit = index_any(seed);
    out->time_ms = index_any(seed);
    out->leader = flag(seed);
    ack_random(&out->ack, seed);
    entries_random(&out->entries, 1 + random_number(seed, 40), seed);
}

static void fetch_random(message_fetch_t *out, uint64_t *seed) {
    out->peer = id_any(seed);
    out->from = 1 + random_number(seed, 40);
    out->max_bytes = any(seed);
    out->code = code_any(seed);
}

static void append_random(message_append_t *out, uint64_t *seed) {
    out->prev_index = random_number(seed, 40);
    out->prev_term = index_any(seed);
    out->commit = index_any(seed);
    out->time_ms = index_any(seed);
    entries_random(&out->entries, out->prev_index + 1, seed);
}

static void body_random(message_t *out, uint64_t *seed) {
    switch (out->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_VOTE:
        out->vote = (message_vote_t){index_any(seed), index_any(seed), flag(seed)};
        break;
    case MESSAGE_PRE_VOTE_RESULT:
    case MESSAGE_VOTE_RESULT:
        out->vote_result.granted = flag(seed);
        break;
    case MESSAGE_APPEND:
        append_random(&out->append, seed);
        break;
    case MESSAGE_APPEND_RESULT:
        out->append_result.rejected = flag(seed);
        out->append_result.index = index_any(seed);
        out->append_result.hint_index = index_any(seed);
        out->append_result.hint_term = index_any(seed);
        break;
    case MESSAGE_HEARTBEAT:
        out->heartbeat = (message_heartbeat_t){index_any(seed), any(seed), index_any(seed)};
        break;
    case MESSAGE_HEARTBEAT_RESULT:
        out->heartbeat_result = (message_heartbeat_result_t){any(seed), any(seed) & 1};
        break;
    case MESSAGE_FORWARD:
    case MESSAGE_PROPOSE:
    case MESSAGE_PROPOSE_REFUSED:
        propose_random(&out->propose, out->kind != MESSAGE_PROPOSE_REFUSED, seed);
        break;
    case MESSAGE_READ_INDEX:
    case MESSAGE_READ_INDEX_RESULT:
    case MESSAGE_READ_READY:
    case MESSAGE_READ_FAILED:
        read_random(&out->read, seed);
        break;
    case MESSAGE_READ:
        read_random(&out->read, seed);
        out->read.index = 0;
        out->read.code = 0;
        out->read.held = random_next(seed) & 1;
        break;
    case MESSAGE_SNAPSHOT_OFFER:
    case MESSAGE_SNAPSHOT_FETCH:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_STAGED:
        snapshot_random(&out->snapshot, seed);
        break;
    case MESSAGE_ADMIN:
    case MESSAGE_ADMIN_RESULT:
        admin_random(&out->admin, seed);
        break;
    case MESSAGE_MEMBERS:
        config_random(&out->members.config, seed);
        break;
    case MESSAGE_HELLO:
        out->hello.actor = (actor_t) (random_next(seed) % ACTOR_END);
        out->hello.reply = flag(seed);
        break;
    case MESSAGE_FORMAT:
        out->format.cluster = any(seed);
        out->format.node = id_any(seed);
        config_random(&out->format.hint, seed);
        break;
    case MESSAGE_OPENED:
        opened_random(&out->opened, seed);
        break;
    case MESSAGE_WRITE:
        write_random(&out->write, seed);
        break;
    case MESSAGE_WRITTEN:
        out->written.seq = any(seed);
        out->written.first_index = index_any(seed);
        out->written.applied = index_any(seed);
        out->written.no_space = flag(seed);
        ack_random(&out->written.ack, seed);
        break;
    case MESSAGE_FETCH:
    case MESSAGE_FETCHED:
        fetch_random(&out->fetch, seed);
        if (out->kind == MESSAGE_FETCHED)
            entries_random(&out->fetch.entries, out->fetch.from, seed);
        break;
    case MESSAGE_CLOCK:
        out->clock.time_ms = index_any(seed);
        out->clock.leader = flag(seed);
        out->clock.term = index_any(seed);
        break;
    case MESSAGE_RAFT_STATUS:
        raft_status_random(&out->raft_status, seed);
        break;
    case MESSAGE_QUERY:
    case MESSAGE_HISTORY:
    case MESSAGE_ANSWER:
    case MESSAGE_RESULT:
    case MESSAGE_SKIPPED:
    case MESSAGE_STORE_STATUS:
    case MESSAGE_CHANGES:
    case MESSAGE_PAST:
    case MESSAGE_SETTLED:
        batch_random(&out->batch, out->kind != MESSAGE_SKIPPED && out->kind != MESSAGE_STORE_STATUS,
                     seed);
        break;
    case MESSAGE_SUBSCRIBE:
        out->subscribe.on = flag(seed);
        break;
    default: /* TIMEOUT_NOW, OPEN */
        break;
    }
}

bool message_kind_exists(message_kind_t kind) {
    return kind != MESSAGE_NONE && strcmp(message_kind_name(kind), "UNKNOWN") != 0;
}

void message_random(message_t *out, message_kind_t kind, uint64_t *seed) {
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->actor = (actor_t) (random_next(seed) % ACTOR_END);
    out->from_boot = any(seed);
    out->to_boot = any(seed);
    out->cluster = any(seed);
    out->from = id_any(seed);
    out->to = id_any(seed);
    out->term = index_any(seed);
    body_random(out, seed);
}

static bool payload_equal(const payload_t *a, const payload_t *b) {
    return payload_size(a) == payload_size(b) &&
           (payload_size(a) == 0 || memcmp(payload_data(a), payload_data(b), payload_size(a)) == 0);
}

bool config_equal(const config_t *a, const config_t *b) {
    if (!a || !b)
        return a == b;
    if (a->index != b->index || a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const member_t *x = &a->members[i], *y = &b->members[i];
        if (x->id != y->id || x->role != y->role || strcmp(x->addr, y->addr) != 0 ||
            strcmp(x->raft_addr, y->raft_addr) != 0)
            return false;
    }
    return true;
}

static bool entries_equal(const entries_t *a, const entries_t *b) {
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const entry_t *x = &a->items[i], *y = &b->items[i];
        if (x->index != y->index || x->term != y->term || x->time_ms != y->time_ms ||
            x->kind != y->kind || !payload_equal(x->payload, y->payload) ||
            !config_equal(x->config, y->config))
            return false;
    }
    return true;
}

static bool opened_lists_equal(const message_opened_t *a, const message_opened_t *b) {
    if (a->run_count != b->run_count || a->config_count != b->config_count)
        return false;
    for (size_t i = 0; i < a->run_count; i++)
        if (a->runs[i].index != b->runs[i].index || a->runs[i].term != b->runs[i].term)
            return false;
    for (size_t i = 0; i < a->config_count; i++)
        if (!config_equal(&a->configs[i], &b->configs[i]))
            return false;
    return true;
}

/* Compares what `a` and `b` own, and takes it out of the copies, whose bytes are then compared. */
static bool owned_equal(message_t *a, message_t *b) {
    bool equal = true;
    switch (a->kind) {
    case MESSAGE_APPEND:
        equal = entries_equal(&a->append.entries, &b->append.entries);
        a->append.entries = b->append.entries = (entries_t){0};
        break;
    case MESSAGE_WRITE:
        equal = entries_equal(&a->write.entries, &b->write.entries);
        a->write.entries = b->write.entries = (entries_t){0};
        break;
    case MESSAGE_FETCHED:
        equal = entries_equal(&a->fetch.entries, &b->fetch.entries);
        a->fetch.entries = b->fetch.entries = (entries_t){0};
        break;
    case MESSAGE_PROPOSE:
    case MESSAGE_FORWARD:
    case MESSAGE_PROPOSE_REFUSED:
        equal = payload_equal(a->propose.payload, b->propose.payload);
        a->propose.payload = b->propose.payload = NULL;
        break;
    case MESSAGE_SNAPSHOT_OFFER:
    case MESSAGE_SNAPSHOT_FETCH:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_STAGED:
        equal = payload_equal(a->snapshot.payload, b->snapshot.payload);
        a->snapshot.payload = b->snapshot.payload = NULL;
        break;
    case MESSAGE_OPENED:
        equal = opened_lists_equal(&a->opened, &b->opened);
        a->opened.runs = b->opened.runs = NULL;
        a->opened.configs = b->opened.configs = NULL;
        break;
    case MESSAGE_QUERY:
    case MESSAGE_HISTORY:
    case MESSAGE_ANSWER:
    case MESSAGE_RESULT:
    case MESSAGE_SKIPPED:
    case MESSAGE_STORE_STATUS:
    case MESSAGE_CHANGES:
    case MESSAGE_PAST:
    case MESSAGE_SETTLED:
        equal = payload_equal(a->batch.payload, b->batch.payload);
        a->batch.payload = b->batch.payload = NULL;
        break;
    default:
        break;
    }
    return equal;
}

bool message_equal(const message_t *a, const message_t *b) {
    if (a->kind != b->kind)
        return false;
    /* Byte by byte, padding included: both began as zeroes and only fields were assigned. */
    message_t *x = malloc(sizeof *x), *y = malloc(sizeof *y);
    assert(x && y);
    memcpy(x, a, sizeof *x);
    memcpy(y, b, sizeof *y);
    bool equal = owned_equal(x, y) && memcmp(x, y, sizeof *x) == 0;
    free(x);
    free(y);
    return equal;
}
