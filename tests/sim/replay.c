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

/* A request that waits for a lock. */
typedef struct waiting {
    uint64_t waiter;
    uint32_t msgid;
    uint64_t node; /* whose gateway has it */
    bool once;     /* it can be asked for again */
} waiting_t;

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
    uint64_t node; /* whose block is applied */
    waiting_t *waiting;
    size_t waiting_count, waiting_capacity;
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

static void waiting_answer(replay_t *self, const model_settled_t *settled) {
    size_t kept = 0;
    for (size_t i = 0; i < self->waiting_count; i++) {
        if (self->waiting[i].waiter != settled->waiter) {
            self->waiting[kept++] = self->waiting[i];
            continue;
        }
        replayed_t *slot = request_slot(self, self->waiting[i].msgid);
        slot->answer = settled->answer;
        slot->answer.msgid = self->waiting[i].msgid;
        slot->answered = self->applied;
        slot->revision = model_revision(self->model);
    }
    self->waiting_count = kept;
}

/* Those that the last command settled have their answers. */
static void settled_take(replay_t *self) {
    size_t count;
    const model_settled_t *settled = model_settled(self->model, &count);
    for (size_t i = 0; i < count; i++) {
        sessions_settle(self->sessions, settled[i].waiter, self->time_ms, &settled[i].answer);
        waiting_answer(self, &settled[i]);
    }
}

static void waiting_add(replay_t *self, const request_t *request, uint64_t waiter) {
    self->waiting = array_room(self->waiting, &self->waiting_capacity, self->waiting_count + 1,
                               sizeof *self->waiting);
    self->waiting[self->waiting_count++] =
        (waiting_t){waiter, request->msgid, self->node, request->client.size != 0};
}

/* A node has a new gateway: those that waited in the one before, and cannot ask again, are gone. */
static void waiting_drop(replay_t *self, uint64_t node) {
    for (size_t i = 0; i < self->waiting_count;) {
        const waiting_t *waiting = &self->waiting[i];
        size_t before = self->waiting_count;
        if (waiting->node == node && !waiting->once) {
            model_cancel(self->model, waiting->waiter);
            settled_take(self);
        }
        i += self->waiting_count == before;
    }
}

static void expiry_apply(replay_t *self, const expire_t *expire) {
    bool changed = model_expire(self->model, expire, self->time_ms);
    settled_take(self);
    if (!changed)
        return;
    self->expiries = array_room(self->expiries, &self->expiry_capacity, self->expiry_count + 1,
                                sizeof *self->expiries);
    self->expiries[self->expiry_count++] = model_revision(self->model);
}

/* What a gateway says of those that wait. To ask what became of them changes nothing. */
static void waits_apply(replay_t *self, wait_list_t *command) {
    uint64_t waiter;
    while (command->op == WAIT_CANCEL && wait_next(command, &waiter) == 1) {
        model_cancel(self->model, waiter);
        settled_take(self);
    }
}

static void request_apply(replay_t *self, const request_t *request, payload_t *owner) {
    replayed_t replayed = {.index = self->applied, .place = ++self->places};
    uint64_t before = model_revision(self->model), waiter = 0;
    replayed.repeated =
        request->client.size &&
        sessions_begin(self->sessions, request, self->time_ms, &replayed.answer, &waiter);
    if (!replayed.repeated) {
        waiter = model_write(self->model, request, owner, self->time_ms, &replayed.answer);
        replayed.handed_back = model_handed_back(self->model);
        settled_take(self);
        if (request->client.size && waiter)
            sessions_wait(self->sessions, request, waiter);
        else if (request->client.size)
            sessions_keep(self->sessions, request, self->time_ms, &replayed.answer);
    }
    replayed.waited = waiter != 0;
    replayed.answered = waiter ? 0 : self->applied;
    replayed.answer.msgid = request->msgid;
    replayed.changed = model_revision(self->model) != before;
    replayed.revision = model_revision(self->model);
    request_note(self, &replayed);
    if (waiter)
        waiting_add(self, request, waiter);
}

static void command_apply(replay_t *self, slice_t command, bool internal, payload_t *owner) {
    expire_t expire;
    request_t request;
    rpc_error_t error;
    wait_list_t waits;
    if (internal && expire_open(&expire, command) == 0)
        expiry_apply(self, &expire);
    else if (request_decode(command, &request, &error) == 0 &&
             method_kind(request.method) == METHOD_KIND_WRITE)
        request_apply(self, &request, owner);
    else if (wait_open(&waits, command) == 0)
        waits_apply(self, &waits);
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
    if (blocks->boot && blocks->boot < block->boot)
        waiting_drop(self, block->node);
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
    self->node = block.node;
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
    free(self->waiting);
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
