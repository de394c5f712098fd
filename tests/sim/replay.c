/* replay.c: see replay.h. */
#include "tests/sim/replay.h"

#include <assert.h>
#include <string.h>

#include "broker/block.h"
#include "broker/error.h"
#include "tests/sim/array.h"
#include "tests/sim/sessions.h"

/* The blocks of one node's gateways that counted last; see block.h. */
typedef struct gateway_blocks {
    uint64_t node, boot, last;
} gateway_blocks_t;

struct replay {
    replay_fail_fn *fail;
    void *fail_hint;
    model_t *model;
    sessions_t *sessions;
    uint64_t applied, time_ms;
    uint64_t *revisions; /* by index, from 0 */
    size_t revision_capacity;
    gateway_blocks_t *blocks;
    size_t block_count, block_capacity;
    replayed_t *requests; /* open addressing by msgid; index 0: free */
    size_t request_count, request_slots;
    uint64_t places;
    uint64_t *expiries;
    size_t expiry_count, expiry_capacity;
};

/* ---- what became of each request ---- */

static replayed_t *request_slot(const replay_t *self, uint32_t msgid) {
    size_t mask = self->request_slots - 1;
    size_t at = (size_t) reply_mix(1, msgid) & mask;
    while (self->requests[at].index && self->requests[at].answer.msgid != msgid)
        at = (at + 1) & mask;
    return &self->requests[at];
}

static void requests_grow(replay_t *self) {
    replayed_t *old = self->requests;
    size_t slots = self->request_slots;
    self->request_slots = slots ? slots * 2 : 1024;
    self->requests = array_new(self->request_slots, sizeof *self->requests);
    for (size_t i = 0; i < slots; i++)
        if (old[i].index)
            *request_slot(self, old[i].answer.msgid) = old[i];
    free(old);
}

static void request_note(replay_t *self, const replayed_t *replayed) {
    if (2 * (self->request_count + 1) > self->request_slots)
        requests_grow(self);
    replayed_t *slot = request_slot(self, replayed->answer.msgid);
    if (slot->index) {
        char text[160];
        snprintf(text, sizeof text, "request %u is applied at %llu and at %llu",
                 replayed->answer.msgid, (unsigned long long) slot->index,
                 (unsigned long long) replayed->index);
        self->fail(self->fail_hint, "exactly once", text);
        return;
    }
    *slot = *replayed;
    self->request_count++;
}

const replayed_t *replay_find(const replay_t *self, uint32_t msgid) {
    if (!self->request_slots)
        return NULL;
    const replayed_t *slot = request_slot(self, msgid);
    return slot->index ? slot : NULL;
}

/* ---- commands ---- */

static void expiry_apply(replay_t *self, const expire_t *expire) {
    if (!model_expire(self->model, expire, self->time_ms))
        return;
    self->expiries = array_room(self->expiries, &self->expiry_capacity, self->expiry_count + 1,
                                sizeof *self->expiries);
    self->expiries[self->expiry_count++] = model_revision(self->model);
}

static void request_apply(replay_t *self, const request_t *request, payload_t *owner) {
    replayed_t replayed = {.index = self->applied, .place = ++self->places};
    uint64_t before = model_revision(self->model);
    replayed.repeated = request->client.size &&
                        sessions_begin(self->sessions, request, self->time_ms, &replayed.answer);
    if (!replayed.repeated) {
        model_write(self->model, request, owner, self->time_ms, &replayed.answer);
        if (request->client.size)
            sessions_keep(self->sessions, request, self->time_ms, &replayed.answer);
    }
    replayed.changed = model_revision(self->model) != before;
    replayed.revision = model_revision(self->model);
    request_note(self, &replayed);
}

static void command_apply(replay_t *self, slice_t command, bool internal, payload_t *owner) {
    expire_t expire;
    request_t request;
    rpc_error_t error;
    if (internal && expire_open(&expire, command) == 0)
        expiry_apply(self, &expire);
    else if (request_decode(command, &request, &error) == 0 &&
             method_kind(request.method) == METHOD_KIND_WRITE)
        request_apply(self, &request, owner);
    else
        self->fail(self->fail_hint, "well-formed log", "a command in the log is no write request");
}

/* A block counts when it is of the node's latest gateway and follows what counted of it. */
static bool block_counts(replay_t *self, const block_t *block) {
    if (!block->node)
        return true;
    gateway_blocks_t *blocks = NULL;
    for (size_t i = 0; i < self->block_count; i++)
        if (self->blocks[i].node == block->node)
            blocks = &self->blocks[i];
    if (!blocks) {
        self->blocks = array_room(self->blocks, &self->block_capacity, self->block_count + 1,
                                  sizeof *self->blocks);
        blocks = &self->blocks[self->block_count++];
        *blocks = (gateway_blocks_t){.node = block->node};
    }
    if (block->boot < blocks->boot)
        return false;
    uint64_t last = block->boot == blocks->boot ? blocks->last : 0;
    if (block->prev > last || block->seq <= last)
        return false;
    blocks->boot = block->boot;
    blocks->last = block->seq;
    return true;
}

static void block_apply(replay_t *self, const entry_t *entry) {
    block_t block;
    slice_t command;
    if (block_open(&block, payload_slice(entry->payload))) {
        self->fail(self->fail_hint, "well-formed log", "an entry holds no block");
        return;
    }
    if (!block_counts(self, &block))
        return;
    while (block_next(&block, &command) == 1)
        command_apply(self, command, block.node == 0, entry->payload);
}

void replay_entry(replay_t *self, const entry_t *entry) {
    assert(entry->index == self->applied + 1);
    self->applied = entry->index;
    if (entry->time_ms < self->time_ms)
        self->fail(self->fail_hint, "cluster time", "an entry's stamp is below the one before it");
    else
        self->time_ms = entry->time_ms;
    if (entry->kind == ENTRY_BLOCK)
        block_apply(self, entry);
    sessions_sweep(self->sessions, self->time_ms);
    self->revisions = array_room(self->revisions, &self->revision_capacity, self->applied + 1,
                                 sizeof *self->revisions);
    self->revisions[self->applied] = model_revision(self->model);
}

/* ---- life ---- */

replay_t *replay_new(replay_fail_fn *fail, void *hint) {
    replay_t *self = array_new(1, sizeof *self);
    self->fail = fail;
    self->fail_hint = hint;
    self->model = model_new(false);
    self->sessions = sessions_new();
    self->revisions = array_room(NULL, &self->revision_capacity, 1, sizeof *self->revisions);
    self->revisions[0] = 0;
    return self;
}

void replay_free(replay_t **self_p) {
    replay_t *self = *self_p;
    if (!self)
        return;
    model_free(&self->model);
    sessions_free(&self->sessions);
    free(self->revisions);
    free(self->blocks);
    free(self->requests);
    free(self->expiries);
    free(self);
    *self_p = NULL;
}

uint64_t replay_applied(const replay_t *self) {
    return self->applied;
}

uint64_t replay_time_ms(const replay_t *self) {
    return self->time_ms;
}

const model_t *replay_model(const replay_t *self) {
    return self->model;
}

uint64_t replay_revision_at(const replay_t *self, uint64_t index) {
    assert(index <= self->applied);
    return self->revisions[index];
}

const uint64_t *replay_expiries(const replay_t *self, size_t *count) {
    *count = self->expiry_count;
    return self->expiries;
}
