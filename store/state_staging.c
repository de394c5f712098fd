/* state_staging.c: a snapshot's chunks into an empty kv store.
 *
 * Owns: the store while it is being filled. Trusts nothing: checksums, numbers, order, every record
 * and at the end digest and counts are checked, and a first error sticks.
 *
 * Invariants
 *  1. Each chunk is one synced batch: LevelDB may lose unsynced writes from before a synced one.
 *  2. The meta record is written last, so a store that holds less than the whole snapshot has none,
 * and state_open refuses it.
 *  3. Derived records (d, n, p, t, u, x) are made from the replicated ones; what a peer says of
 * them is refused.
 */
#include "store/state_snapshot.h"

#include <stdlib.h>

#include "broker/error.h"
#include "store/state_internal.h"

struct state_staging {
    kv_t *kv;
    int failed;
    uint64_t chunks;
    bool complete;
    meta_t meta;
    buffer_t meta_bytes;
    buffer_t last_key; /* of the pair before; empty: none */
    struct {
        uint8_t client[LIMIT_CLIENT_ID_BYTES];
        size_t client_size; /* 0: none yet */
        uint64_t floor;
        uint64_t apart[ANSWERS_PAGE]; /* of the page before: arguments of those that stand apart */
        uint64_t page;
        unsigned apart_mask;
    } session;             /* of the pair before, or one before that */
    uint64_t history_last; /* the last revision of the record before; 0: none */
    uint64_t history_lost; /* the first revision of the last record that did not come; 0: all did */
    uint64_t digest, keys, expiring, leases, locks, waiters;
    config_t config; /* of the cluster that it is to be the beginning of; count 0: it stays */
    uint64_t skip;   /* then: how much higher its revision goes on */
};

/* The record derived from a replicated one, if any, goes to the batch under `key`. */
static void derived_put(kv_batch_t *batch, const record_key_t *key) {
    kv_batch_put(batch, record_key(key), (slice_t){NULL, 0});
}

static int user_add(state_staging_t *self, kv_batch_t *batch, slice_t key, slice_t value) {
    record_t record;
    slice_t user_key;
    if (record_key_user_parse(key, &user_key) || !user_key.size ||
        user_key.size > LIMIT_KEY_BYTES || record_parse(value, &record) ||
        record.hash != record_hash(&record, key))
        return DRAX_ECORRUPT;
    self->digest += record.hash;
    self->keys++;
    if (record.due_ms) {
        record_key_t due;
        record_key_due(&due, record.due_ms, user_key);
        derived_put(batch, &due);
        self->expiring++;
    }
    if (record.lease) {
        record_key_t under;
        record_key_lease_key(&under, record.lease, user_key);
        derived_put(batch, &under);
    }
    return 0;
}

static int lease_add(state_staging_t *self, kv_batch_t *batch, slice_t key, slice_t value) {
    uint64_t id;
    lease_t lease;
    if (record_key_lease_parse(key, &id) || lease_parse(value, &lease))
        return DRAX_ECORRUPT;
    record_key_t due;
    record_key_lease_due(&due, lease.due_ms, id);
    derived_put(batch, &due);
    self->digest += record_hash_plain(key, value);
    self->leases++;
    return 0;
}

static int session_head_add(state_staging_t *self, kv_batch_t *batch, slice_t client, slice_t key,
                            slice_t value) {
    session_t session;
    if (session_parse(value, &session))
        return DRAX_ECORRUPT;
    memcpy(self->session.client, client.data, client.size);
    self->session.client_size = client.size;
    self->session.floor = session.floor;
    self->session.apart_mask = 0;
    record_key_t used;
    record_key_used(&used, session.used_ms, client);
    derived_put(batch, &used);
    self->digest += record_hash_plain(key, value);
    return 0;
}

static int answers_take(state_staging_t *self, slice_t client, uint64_t page, slice_t value) {
    answer_t answer;
    unsigned at, seen = 0;
    int rc;
    self->session.page = page;
    self->session.apart_mask = 0;
    while ((rc = answers_next(&value, &at, &answer)) == 1) {
        uint64_t seq = page * ANSWERS_PAGE + at;
        if (seen & 1u << at || seq == 0)
            return DRAX_ECORRUPT;
        seen |= 1u << at;
        if (seq <= self->session.floor)
            continue;
        if (answer.code == ANSWER_APART) {
            self->session.apart[at] = answer.arguments;
            self->session.apart_mask |= 1u << at;
        } else {
            self->digest += answer_hash(&answer, client, seq);
        }
    }
    return rc || !seen ? DRAX_ECORRUPT : 0;
}

static int outcome_take(state_staging_t *self, slice_t client, uint64_t seq, slice_t value) {
    unsigned at = seq % ANSWERS_PAGE;
    if (seq / ANSWERS_PAGE != self->session.page || !(self->session.apart_mask & 1u << at))
        return DRAX_ECORRUPT;
    answer_t answer = {
        .code = ANSWER_APART, .arguments = self->session.apart[at], .outcome = value};
    self->digest += answer_hash(&answer, client, seq);
    return 0;
}

/* A session comes before its answers, a page before what stands apart from it. */
static int session_add(state_staging_t *self, kv_batch_t *batch, slice_t key, slice_t value) {
    slice_t client, known = {self->session.client, self->session.client_size};
    session_part_t part;
    uint64_t number;
    if (record_key_session_parse(key, &client, &part, &number))
        return DRAX_ECORRUPT;
    if (part == SESSION_PART_HEAD)
        return session_head_add(self, batch, client, key, value);
    if (kv_key_compare(client, known) != 0)
        return DRAX_ECORRUPT;
    return part == SESSION_PART_ANSWERS ? answers_take(self, client, number, value)
                                        : outcome_take(self, client, number, value);
}

static int lock_add(state_staging_t *self, slice_t key, slice_t value) {
    uint64_t lease;
    lock_t lock;
    if (record_key_lock_parse(key, &lease) || lock_parse(value, &lock))
        return DRAX_ECORRUPT;
    self->digest += record_hash_plain(key, value);
    self->locks++;
    return 0;
}

static int waiter_take(state_staging_t *self, kv_batch_t *batch, slice_t key, slice_t value) {
    uint64_t number;
    waiter_t waiter;
    if (record_key_waiter_parse(key, &number) || waiter_parse(value, &waiter))
        return DRAX_ECORRUPT;
    self->digest += record_hash_plain(key, value);
    if (waiter.lease)
        return 0;
    waiter_derive(batch, number, &waiter);
    self->waiters++;
    return 0;
}

static int origin_add(state_staging_t *self, slice_t key, slice_t value) {
    origin_t origin;
    if (record_key_origin_parse(key, &origin.node) || origin_parse(value, &origin))
        return DRAX_ECORRUPT;
    self->digest += record_hash_plain(key, value);
    return 0;
}

/* Records follow each other without a gap, up to the snapshot's revision. */
static int history_add_pair(state_staging_t *self, kv_batch_t *batch, slice_t key, slice_t value) {
    history_reader_t reader;
    history_change_t change;
    uint64_t first;
    int rc = history_key_parse(key, &first);
    if (rc)
        return rc;
    if (!value.size) {
        self->history_lost = first;
        self->history_last = 0;
        return 0;
    }
    rc = history_open(&reader, first, value);
    if (rc || reader.index || reader.last > self->meta.revision ||
        (self->history_last && first != self->history_last + 1))
        return DRAX_ECORRUPT;
    while ((rc = history_next(&reader, &change)) == 1) {
    }
    self->history_last = reader.last;
    kv_batch_put(batch, key, value);
    return rc;
}

/* Takes out the records up to the last one that is lost. */
static int history_trim(state_staging_t *self, kv_batch_t *batch) {
    uint8_t key[HISTORY_KEY_BYTES];
    history_key(key, 0);
    kv_iterator_t *at = self->history_lost ? kv_iterator_new(self->kv, NULL) : NULL;
    if (!at)
        return self->history_lost ? DRAX_ENOMEM : 0;
    int rc = 0;
    uint64_t first;
    for (kv_iterator_seek(at, (slice_t){key, sizeof key});
         rc == 0 && kv_iterator_valid(at) && kv_iterator_key(at).data[0] == PREFIX_HISTORY;
         kv_iterator_next(at)) {
        rc = history_key_parse(kv_iterator_key(at), &first);
        if (rc || first > self->history_lost)
            break;
        kv_batch_delete(batch, kv_iterator_key(at));
    }
    if (rc == 0)
        rc = kv_iterator_error(at);
    kv_iterator_destroy(&at);
    return rc;
}

static int meta_add(state_staging_t *self, slice_t value) {
    buffer_append(&self->meta_bytes, value.data, value.size);
    if (self->meta_bytes.failed)
        return DRAX_ENOMEM;
    return meta_decode(&self->meta, value);
}

static int pair_take(state_staging_t *self, kv_batch_t *batch, slice_t key, slice_t value) {
    if (!self->meta_bytes.size) /* the very first pair */
        return key.size == 1 && key.data[0] == PREFIX_META ? meta_add(self, value) : DRAX_ECORRUPT;
    slice_t before = {self->last_key.data, self->last_key.size};
    if (key.size == 0 || kv_key_compare(key, before) <= 0)
        return DRAX_ECORRUPT;
    int rc = DRAX_ECORRUPT;
    if (key.data[0] == PREFIX_HISTORY)
        rc = history_add_pair(self, batch, key, value);
    else if (key.data[0] == PREFIX_USER)
        rc = user_add(self, batch, key, value);
    else if (key.data[0] == PREFIX_LOCK)
        rc = lock_add(self, key, value);
    else if (key.data[0] == PREFIX_WAITER)
        rc = waiter_take(self, batch, key, value);
    else if (key.data[0] == PREFIX_LEASE)
        rc = lease_add(self, batch, key, value);
    else if (key.data[0] == PREFIX_ORIGIN)
        rc = origin_add(self, key, value);
    else if (key.data[0] == PREFIX_SESSION)
        rc = session_add(self, batch, key, value);
    if (rc)
        return rc;
    if (key.data[0] != PREFIX_HISTORY)
        kv_batch_put(batch, key, value);
    buffer_reset(&self->last_key);
    buffer_append(&self->last_key, key.data, key.size);
    return self->last_key.failed ? DRAX_ENOMEM : 0;
}

static int head_check(uint64_t chunk, slice_t bytes, bool last) {
    if (bytes.size < CHUNK_HEAD_BYTES || be64_read(bytes.data) != chunk_checksum(bytes))
        return DRAX_ECORRUPT;
    if (be64_read(bytes.data + 8) != chunk || bytes.data[CHUNK_HEAD_BYTES - 1] != last)
        return DRAX_ECORRUPT;
    return 0;
}

static int pairs_take(state_staging_t *self, kv_batch_t *batch, slice_t rest) {
    int rc = 0;
    while (rc == 0 && rest.size) {
        if (rest.size < 8)
            return DRAX_ECORRUPT;
        size_t key_size = be32_read(rest.data), value_size = be32_read(rest.data + 4);
        const uint8_t *at = rest.data + 8;
        rest = (slice_t){at, rest.size - 8};
        if (key_size > rest.size || value_size > rest.size - key_size)
            return DRAX_ECORRUPT;
        rc = pair_take(self, batch, (slice_t){at, key_size}, (slice_t){at + key_size, value_size});
        rest = (slice_t){at + key_size + value_size, rest.size - key_size - value_size};
    }
    return rc;
}

static int chunk_add(state_staging_t *self, uint64_t chunk, slice_t bytes, bool last) {
    if (chunk != self->chunks || self->complete)
        return DRAX_ECORRUPT;
    int rc = head_check(chunk, bytes, last);
    if (rc)
        return rc;
    kv_batch_t *batch = kv_batch_new(self->kv);
    if (!batch)
        return DRAX_ENOMEM;
    slice_t pairs = {bytes.data + CHUNK_HEAD_BYTES, bytes.size - CHUNK_HEAD_BYTES};
    rc = pairs_take(self, batch, pairs);
    if (rc == 0 && be64_read(bytes.data + 16) != self->meta.applied)
        rc = DRAX_ECORRUPT; /* a chunk of another snapshot */
    if (rc == 0)
        rc = kv_write(self->kv, batch, true);
    kv_batch_destroy(&batch);
    if (rc == 0) {
        self->chunks++;
        self->complete = last;
    }
    return rc;
}

int state_staging_add(state_staging_t *self, uint64_t chunk, slice_t bytes, bool last) {
    if (!self->failed)
        self->failed = chunk_add(self, chunk, bytes, last);
    return self->failed;
}

/* What was checked becomes another cluster's; what it told of the first one's log is of no use. */
static int refound(state_staging_t *self) {
    meta_t meta = self->meta;
    meta.config = self->config;
    if (self->skip) {
        self->history_lost = meta.revision;
        meta.revision += self->skip;
        meta.mark_count = 0;
    }
    buffer_reset(&self->meta_bytes);
    meta_encode(&meta, &self->meta_bytes);
    return self->meta_bytes.failed ? DRAX_ENOMEM : 0;
}

static int staging_complete(state_staging_t *self) {
    if (self->failed)
        return self->failed;
    const meta_t *meta = &self->meta;
    if (!self->complete || self->digest != meta->digest || self->keys != meta->keys ||
        self->expiring != meta->expiring || self->leases != meta->leases ||
        self->locks != meta->locks || self->waiters != meta->waiters ||
        (self->history_last && self->history_last != meta->revision))
        return DRAX_ECORRUPT;
    if (self->config.count && refound(self))
        return DRAX_ENOMEM;
    static const uint8_t meta_key[] = {PREFIX_META};
    kv_batch_t *batch = kv_batch_new(self->kv);
    if (!batch)
        return DRAX_ENOMEM;
    kv_batch_put(batch, (slice_t){meta_key, sizeof meta_key},
                 (slice_t){self->meta_bytes.data, self->meta_bytes.size});
    int rc = history_trim(self, batch);
    if (rc == 0)
        rc = kv_write(self->kv, batch, true);
    kv_batch_destroy(&batch);
    return rc;
}

int state_staging_open(state_staging_t **out, kv_t **kv) {
    *out = NULL;
    state_staging_t *self = calloc(1, sizeof *self);
    if (!self) {
        kv_close(kv);
        return DRAX_ENOMEM;
    }
    self->kv = *kv;
    *kv = NULL;
    *out = self;
    kv_iterator_t *at = kv_iterator_new(self->kv, NULL);
    int rc = DRAX_ENOMEM;
    if (at) {
        kv_iterator_seek_last(at);
        rc = kv_iterator_valid(at) ? DRAX_EINVAL : kv_iterator_error(at);
    }
    kv_iterator_destroy(&at);
    if (rc) {
        state_staging_abort(out, kv);
        kv_close(kv);
    }
    return rc;
}

void state_staging_refound(state_staging_t *self, const config_t *config, uint64_t skip) {
    self->config = *config;
    self->skip = skip;
}

uint64_t state_staging_index(const state_staging_t *self) {
    return self->meta.applied;
}

uint64_t state_staging_term(const state_staging_t *self) {
    return self->meta.term;
}

uint64_t state_staging_revision(const state_staging_t *self) {
    return self->meta.revision;
}

int state_staging_finish(state_staging_t **self, kv_t **kv) {
    int rc = staging_complete(*self);
    state_staging_abort(self, kv);
    if (rc)
        kv_close(kv);
    return rc;
}

void state_staging_abort(state_staging_t **self, kv_t **kv) {
    state_staging_t *staging = *self;
    *self = NULL;
    *kv = NULL;
    if (!staging)
        return;
    *kv = staging->kv;
    buffer_free(&staging->meta_bytes);
    buffer_free(&staging->last_key);
    free(staging);
}
