/* state.c: opening, single pairs, flushing and the plain accessors of the state.
 *
 * States of a flush
 *   idle -- freeze --> flushing -- thaw(0) --> idle
 *                          `------ thaw(error) --> held (frozen stays) -- freeze --> flushing
 * While flushing, `frozen` and `frozen_meta` are read by two threads and changed by none.
 */
#include "store/state_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"

static const uint8_t meta_key_bytes[] = {PREFIX_META};
static const slice_t meta_key = {meta_key_bytes, sizeof meta_key_bytes};

/* ---- single pairs ---- */

int state_lookup_unflushed(state_t *self, slice_t key, found_t *out) {
    out->node = overlay_find(self->overlay, key);
    overlay_node_t *node = out->node;
    if (!node && self->frozen)
        node = overlay_find(self->frozen, key);
    if (node) {
        if (overlay_node_deleted(node))
            return DRAX_ENOTFOUND;
        out->value = overlay_node_value(node);
        return 0;
    }
    return DRAX_EAGAIN;
}

int state_lookup(state_t *self, slice_t key, found_t *out) {
    int rc = state_lookup_unflushed(self, key, out);
    if (rc != DRAX_EAGAIN)
        return rc;
    rc = kv_get(self->kv, key, &self->scratch);
    if (rc == 0)
        out->value = (slice_t){self->scratch.data, self->scratch.size};
    return rc;
}

int state_pair_put(state_t *self, const found_t *at, slice_t key, slice_t value) {
    uint8_t *room = overlay_put(self->overlay, at->node, key, value.size);
    if (!room)
        return DRAX_ENOMEM;
    if (value.size)
        memcpy(room, value.data, value.size);
    return 0;
}

int state_pair_delete(state_t *self, const found_t *at, slice_t key) {
    return overlay_delete(self->overlay, at->node, key);
}

int state_pair_set(state_t *self, slice_t key, slice_t value) {
    found_t at = {.node = overlay_find(self->overlay, key)};
    return state_pair_put(self, &at, key, value);
}

int state_pair_clear(state_t *self, slice_t key) {
    found_t at = {.node = overlay_find(self->overlay, key)};
    return state_pair_delete(self, &at, key);
}

void state_digest_swap(state_t *self, slice_t key, slice_t was, slice_t is) {
    if (was.size)
        self->meta.digest -= record_hash_plain(key, was);
    if (is.size)
        self->meta.digest += record_hash_plain(key, is);
}

int state_record_put(state_t *self, const record_key_t *key, const buffer_t *record) {
    slice_t bytes = {record->data, record->size};
    if (record->failed)
        return DRAX_ENOMEM;
    state_digest_swap(self, record_key(key), (slice_t){NULL, 0}, bytes);
    return state_pair_set(self, record_key(key), bytes);
}

int state_walk(state_t *self, merge_t *out) {
    return merge_open(out, self->overlay, self->frozen, self->kv);
}

/* ---- flush ---- */

int state_freeze(state_t *self) {
    if (self->failed)
        return self->failed;
    if (self->flushing || (!self->frozen && self->meta.applied == self->flushed))
        return DRAX_EAGAIN;
    if (!self->frozen) {
        int rc = history_prune(self);
        if (rc)
            return rc;
        overlay_t *fresh = overlay_new();
        if (!fresh)
            return DRAX_ENOMEM;
        buffer_reset(&self->frozen_meta);
        meta_encode(&self->meta, &self->frozen_meta);
        if (self->frozen_meta.failed) {
            overlay_destroy(&fresh);
            return DRAX_ENOMEM;
        }
        self->frozen = self->overlay;
        self->overlay = fresh;
        self->frozen_applied = self->meta.applied;
        state_heads_freeze(self);
    }
    self->flushing = true;
    return 0;
}

int state_flush_write(state_t *self) {
    assert(self->flushing);
    overlay_sorted_t *nodes = overlay_sorted(self->frozen);
    kv_batch_t *batch = nodes ? kv_batch_new(self->kv) : NULL;
    if (!batch) {
        free(nodes);
        return DRAX_ENOMEM;
    }
    for (size_t i = 0; i < overlay_count(self->frozen); i++) {
        const overlay_node_t *node = nodes[i].node;
        if (overlay_node_deleted(node))
            kv_batch_delete(batch, overlay_node_key(node));
        else
            kv_batch_put(batch, overlay_node_key(node), overlay_node_value(node));
    }
    free(nodes);
    kv_batch_put(batch, meta_key, (slice_t){self->frozen_meta.data, self->frozen_meta.size});
    int rc = kv_write(self->kv, batch, true);
    kv_batch_destroy(&batch);
    return rc;
}

int state_thaw(state_t *self, int write_code) {
    assert(self->flushing);
    self->flushing = false;
    if (write_code)
        return write_code;
    self->flushed = self->frozen_applied;
    overlay_destroy(&self->frozen);
    return 0;
}

void state_release(state_t *self) {
    kv_release(self->kv);
}

/* ---- open and close ---- */

static int origins_load(state_t *self) {
    record_key_t first;
    record_key_origin(&first, 0);
    kv_iterator_t *at = kv_iterator_new(self->kv, NULL);
    if (!at)
        return DRAX_ENOMEM;
    int rc = 0;
    for (kv_iterator_seek(at, record_key(&first)); rc == 0 && kv_iterator_valid(at);
         kv_iterator_next(at)) {
        slice_t key = kv_iterator_key(at);
        if (key.data[0] != PREFIX_ORIGIN)
            break;
        origin_t origin;
        rc = record_key_origin_parse(key, &origin.node);
        if (rc == 0)
            rc = origin_parse(kv_iterator_value(at), &origin);
        if (rc == 0)
            rc = state_origin_add(self, &origin) ? 0 : DRAX_ENOMEM;
    }
    if (rc == 0)
        rc = kv_iterator_error(at);
    kv_iterator_destroy(&at);
    return rc;
}

/* A store without a meta record is a new state, but only if nothing else is in it: a snapshot that
 * was never completed looks like that. */
static int empty_check(state_t *self) {
    kv_iterator_t *at = kv_iterator_new(self->kv, NULL);
    if (!at)
        return DRAX_ENOMEM;
    kv_iterator_seek_last(at);
    int rc = kv_iterator_valid(at) ? DRAX_ECORRUPT : kv_iterator_error(at);
    kv_iterator_destroy(&at);
    return rc;
}

static int state_load(state_t *self) {
    int rc = kv_get(self->kv, meta_key, &self->scratch);
    if (rc == DRAX_ENOTFOUND)
        return empty_check(self);
    if (rc == 0)
        rc = meta_decode(&self->meta, (slice_t){self->scratch.data, self->scratch.size});
    if (rc == 0)
        rc = origins_load(self);
    if (rc == 0)
        rc = history_load(self);
    self->flushed = self->meta.applied;
    state_heads_open(self);
    return rc;
}

int state_open(state_t **out, kv_t **kv) {
    *out = NULL;
    state_t *self = calloc(1, sizeof *self);
    if (!self) {
        kv_close(kv);
        return DRAX_ENOMEM;
    }
    self->kv = *kv;
    *kv = NULL;
    state_history_keep(self, JOURNAL_KEEP_BYTES, JOURNAL_KEEP_REVISIONS);
    self->overlay = overlay_new();
    int rc = self->overlay ? state_load(self) : DRAX_ENOMEM;
    if (rc)
        state_close(&self);
    *out = self;
    return rc;
}

void state_close(state_t **self) {
    state_t *state = *self;
    *self = NULL;
    if (!state)
        return;
    assert(!state->flushing);
    overlay_destroy(&state->overlay);
    overlay_destroy(&state->frozen);
    kv_close(&state->kv);
    buffer_free(&state->frozen_meta);
    history_writer_free(&state->history);
    heads_free(&state->heads);
    buffer_free(&state->scratch);
    buffer_free(&state->outcome);
    buffer_free(&state->operation);
    buffer_free(&state->results);
    buffer_free(&state->settled);
    buffer_free(&state->kept);
    buffer_free(&state->record);
    buffer_free(&state->waiter);
    buffer_free(&state->told);
    buffer_free(&state->pairs);
    free(state->origins);
    free(state);
}

/* ---- origins ---- */

origin_t *state_origin(const state_t *self, uint64_t node) {
    for (size_t i = 0; i < self->origin_count; i++)
        if (self->origins[i].node == node)
            return &self->origins[i];
    return NULL;
}

origin_t *state_origin_add(state_t *self, const origin_t *origin) {
    if (self->origin_count == self->origin_capacity) {
        size_t capacity = self->origin_capacity ? self->origin_capacity * 2 : 8;
        origin_t *origins = realloc(self->origins, capacity * sizeof *origins);
        if (!origins)
            return NULL;
        self->origins = origins;
        self->origin_capacity = capacity;
    }
    self->origins[self->origin_count] = *origin;
    return &self->origins[self->origin_count++];
}

uint64_t state_gateway_boot(const state_t *self, uint64_t node) {
    const origin_t *origin = state_origin(self, node);
    return origin ? origin->boot : 0;
}

/* ---- accessors ---- */

void state_detail(state_t *self, char *out, size_t size) {
    kv_detail(self->kv, out, size);
}

size_t state_overlay_bytes(const state_t *self) {
    return overlay_bytes(self->overlay);
}

uint64_t state_applied(const state_t *self) {
    return self->meta.applied;
}

uint64_t state_applied_term(const state_t *self) {
    return self->meta.term;
}

uint64_t state_flushed(const state_t *self) {
    return self->flushed;
}

uint64_t state_revision(const state_t *self) {
    return self->meta.revision;
}

uint64_t state_index_of_revision(const state_t *self, uint64_t revision) {
    return meta_index_of_revision(&self->meta, revision);
}

uint64_t state_digest(const state_t *self) {
    return self->meta.digest;
}

uint64_t state_time_ms(const state_t *self) {
    return self->meta.time_ms;
}

uint64_t state_keys(const state_t *self) {
    return self->meta.keys;
}

bool state_has_expiries(const state_t *self) {
    return self->meta.expiring > 0 || self->meta.leases > 0;
}

const config_t *state_config(const state_t *self) {
    return &self->meta.config;
}
