/* linear.c: see linear.h.
 *
 * The list holds a call and a return for each operation that returned, in order. An operation may
 * be placed when its call stands before the first return in the list; placing it takes both out,
 * taking it back puts them in again. Operations that did not return stand apart, by their calls.
 */
#include "tests/sim/linear.h"

#include <assert.h>
#include <string.h>

#include "tests/sim/array.h"

#define NONE UINT32_MAX

/* A call or a return in the list. */
typedef struct event {
    uint64_t at;
    uint32_t op;
    bool is_return;
    uint32_t before, after;
} event_t;

typedef struct slot {
    uint32_t call, returned; /* its events; NONE for an operation that did not return */
    bool placed;
    bool writes;         /* its answer names the revision that it made */
    uint64_t tried_hash; /* the store at which it was last found not to fit */
} slot_t;

/* What was placed, for taking it back. */
typedef struct step {
    uint32_t op;
    bool changed; /* the store */
    bool chosen;  /* among others that may have stood here */
} step_t;

typedef struct search {
    const linear_op_t *ops;
    size_t count;
    slot_t *slots;
    event_t *events; /* [0] is the head */
    size_t event_count;
    uint32_t *makers;  /* by revision: the operation whose answer names it; NONE */
    uint64_t *written; /* by revision: hash of the key that it is known to have written; 0 */
    uint64_t newest;   /* the highest revision that an answer names */
    uint32_t *open;    /* writes of unknown outcome, in the order in which they are tried */
    size_t open_count;
    size_t left; /* that returned and are not placed */
    model_t *model;
    const model_t *reference;
    step_t *steps;
    size_t step_count, step_capacity;
    uint64_t placed_hash; /* of the set of placed operations */
    uint64_t *seen;       /* configurations that led nowhere: a hash set */
    size_t seen_count, seen_slots;
    linear_result_t *result;
} search_t;

/* ---- the list ---- */

static void event_unlink(search_t *self, uint32_t at) {
    event_t *event = &self->events[at];
    self->events[event->before].after = event->after;
    if (event->after != NONE)
        self->events[event->after].before = event->before;
}

static void event_relink(search_t *self, uint32_t at) {
    event_t *event = &self->events[at];
    self->events[event->before].after = at;
    if (event->after != NONE)
        self->events[event->after].before = at;
}

/* The place of the first return: what was called before it may be placed now. */
static uint64_t horizon(const search_t *self) {
    for (uint32_t at = self->events[0].after; at != NONE; at = self->events[at].after)
        if (self->events[at].is_return)
            return self->events[at].at;
    return LINEAR_OPEN;
}

/* ---- placing ---- */

static void place(search_t *self, uint32_t op, bool changed, bool chosen) {
    slot_t *slot = &self->slots[op];
    slot->placed = true;
    self->placed_hash += reply_mix(2, op);
    if (slot->call != NONE) {
        event_unlink(self, slot->call);
        event_unlink(self, slot->returned);
        self->left--;
    }
    self->steps =
        array_room(self->steps, &self->step_capacity, self->step_count + 1, sizeof *self->steps);
    self->steps[self->step_count++] = (step_t){op, changed, chosen};
}

static void take_back(search_t *self) {
    step_t step = self->steps[--self->step_count];
    slot_t *slot = &self->slots[step.op];
    slot->placed = false;
    slot->tried_hash = 0;
    self->placed_hash -= reply_mix(2, step.op);
    if (slot->call != NONE) {
        event_relink(self, slot->returned);
        event_relink(self, slot->call);
        self->left++;
    }
    if (step.changed)
        model_undo(self->model);
}

/* Is the key held under the token that the answer names? */
static bool grant_fits(const search_t *self, const linear_op_t *op) {
    request_t fenced = {
        .has_fence = true, .fence_key = op->request.key, .fence_token = op->reply.token};
    return model_fence_check(self->model, &fenced) == RPC_OK;
}

/* Does the answer of what changes nothing (a read, a refused write, a transaction without writes)
 * fit the store as it is? */
static bool idle_fits(search_t *self, const linear_op_t *op) {
    reply_t expected;
    if ((op->reply.fields & REPLY_REVISION) && op->reply.revision != model_revision(self->model))
        return false;
    if (method_kind(op->request.method) == METHOD_KIND_READ) {
        model_read(self->model, &op->request, model_revision(self->model), &op->reply, &expected);
        return reply_differs(&expected, &op->reply) == NULL;
    }
    if (op->waited && op->reply.code == RPC_OK)
        return grant_fits(self, op);
    uint64_t before = model_revision(self->model);
    model_write(self->model, &op->request, op->owner, 0, &expected);
    bool changed = model_revision(self->model) != before;
    if (changed)
        model_undo(self->model);
    return !changed && !reply_differs(&expected, &op->reply);
}

/* Places all that changes nothing and may stand here. */
static void idle_place(search_t *self) {
    uint64_t hash = model_hash(self->model) | 1;
    uint32_t at = self->events[0].after;
    while (at != NONE && !self->events[at].is_return) {
        uint32_t op = self->events[at].op;
        slot_t *slot = &self->slots[op];
        at = self->events[at].after;
        if (slot->writes || slot->tried_hash == hash)
            continue;
        slot->tried_hash = hash;
        if (!idle_fits(self, &self->ops[op]))
            continue;
        place(self, op, false, false);
        at = self->events[0].after; /* what was behind its return may stand here as well */
    }
}

/* May it grant or end the lock as it says? What else does so is known by its revision alone. */
static bool follow_fits(search_t *self, const linear_op_t *op) {
    request_t asked = op->request;
    if (model_revision(self->model) + 1 != op->followed)
        return false;
    if (op->expiry)
        return true;
    if (asked.method == METHOD_UNLOCK) {
        asked.has_fence = true;
        asked.fence_key = asked.key;
        asked.fence_token = asked.token;
    }
    return model_fence_check(self->model, &asked) == RPC_OK &&
           (asked.method != METHOD_LOCK || !model_locked(self->model, asked.key));
}

/* Applies a write that changes the store. False: it does not fit, and nothing changed. */
static bool write_place(search_t *self, uint32_t number, bool chosen) {
    const linear_op_t *op = &self->ops[number];
    uint64_t before = model_revision(self->model);
    reply_t expected;
    if (op->followed && follow_fits(self, op)) {
        model_follow(self->model, self->reference, op->followed);
        place(self, number, true, chosen);
        return true;
    }
    if (op->followed || op->waited)
        return false;
    if (op->expiry) {
        expire_t command;
        bool opened = expire_open(&command, op->command) == 0;
        if (!opened || !model_expire(self->model, &command, UINT64_MAX))
            return false;
        place(self, number, true, chosen);
        return true;
    }
    model_write(self->model, &op->request, op->owner, 0, &expected);
    if (model_revision(self->model) == before)
        return false;
    if (op->returned != LINEAR_OPEN && reply_differs(&expected, &op->reply)) {
        model_undo(self->model);
        return false;
    }
    place(self, number, true, chosen);
    return true;
}

/* ---- configurations that led nowhere ---- */

static uint64_t *seen_slot(search_t *self, uint64_t hash) {
    size_t at = (size_t) hash & (self->seen_slots - 1);
    while (self->seen[at] && self->seen[at] != hash)
        at = (at + 1) & (self->seen_slots - 1);
    return &self->seen[at];
}

/* True when the present configuration is new; it is remembered. */
static bool seen_add(search_t *self) {
    if (2 * (self->seen_count + 1) > self->seen_slots) {
        uint64_t *old = self->seen;
        size_t slots = self->seen_slots;
        self->seen_slots = slots ? slots * 2 : 1024;
        self->seen = array_new(self->seen_slots, sizeof *self->seen);
        for (size_t i = 0; i < slots; i++)
            if (old[i])
                *seen_slot(self, old[i]) = old[i];
        free(old);
    }
    uint64_t hash = reply_mix(self->placed_hash, model_hash(self->model)) | 1;
    uint64_t *slot = seen_slot(self, hash);
    if (*slot)
        return false;
    *slot = hash;
    self->seen_count++;
    return true;
}

/* ---- the search ---- */

static void progress_note(search_t *self) {
    linear_result_t *result = self->result;
    if (self->step_count < result->placed)
        return;
    result->placed = self->step_count;
    result->revision = model_revision(self->model);
    for (uint32_t at = self->events[0].after; at != NONE; at = self->events[at].after)
        if (self->events[at].is_return) {
            result->blocked = self->events[at].op;
            return;
        }
}

/* Could the operation have made the next revision, by what answers told of it? */
static bool may_have_written(const search_t *self, const linear_op_t *op) {
    uint64_t next = model_revision(self->model) + 1;
    uint64_t key = next <= self->newest ? self->written[next] : 0;
    bool put = op->request.method == METHOD_PUT || op->request.method == METHOD_ATOMIC_PUT;
    return !key || op->followed || op->request.method == METHOD_TXN ||
           (put && key == reply_hash(op->request.key));
}

/* Places an operation of unknown outcome, the first one from place `from` in `open` on that fits.
 */
static bool open_place(search_t *self, size_t from) {
    uint64_t before = horizon(self);
    for (size_t i = from; i < self->open_count; i++) {
        uint32_t op = self->open[i];
        bool may = !self->slots[op].placed && self->ops[op].called < before &&
                   may_have_written(self, &self->ops[op]);
        if (may && write_place(self, op, true))
            return true;
    }
    return false;
}

/* One step forward. False: this configuration leads no further. */
static bool forward(search_t *self) {
    idle_place(self);
    progress_note(self);
    uint64_t next = model_revision(self->model) + 1;
    uint32_t maker = next <= self->newest ? self->makers[next] : NONE;
    if (maker != NONE)
        return !self->slots[maker].placed && self->ops[maker].called < horizon(self) &&
               write_place(self, maker, false);
    self->result->undecided = ++self->result->configurations > LINEAR_CONFIGURATIONS;
    return seen_add(self) && open_place(self, 0);
}

/* Goes back to the last choice that has an alternative, and takes that. False: there is none. */
static bool backward(search_t *self) {
    while (self->step_count) {
        step_t step = self->steps[self->step_count - 1];
        take_back(self);
        if (!step.chosen)
            continue;
        size_t at = 0;
        while (self->open[at] != step.op)
            at++;
        if (open_place(self, at + 1))
            return true;
    }
    return false;
}

/* ---- setting up ---- */

static int event_order(const void *a, const void *b) {
    uint64_t x = ((const event_t *) a)->at, y = ((const event_t *) b)->at;
    return (x > y) - (x < y);
}

static void events_build(search_t *self) {
    self->events = array_new(2 * self->count + 1, sizeof *self->events);
    size_t count = 1;
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->ops[i].returned == LINEAR_OPEN)
            continue;
        self->events[count++] = (event_t){.at = self->ops[i].called, .op = i};
        self->events[count++] = (event_t){.at = self->ops[i].returned, .op = i, .is_return = true};
        self->left++;
    }
    self->event_count = count;
    qsort(self->events + 1, count - 1, sizeof *self->events, event_order);
    for (uint32_t at = 0; at < count; at++) {
        event_t *event = &self->events[at];
        event->before = at ? at - 1 : 0;
        event->after = at + 1 < count ? at + 1 : NONE;
        if (at && event->is_return)
            self->slots[event->op].returned = at;
        else if (at)
            self->slots[event->op].call = at;
    }
}

/* An index of a key is the revision that wrote it: what answers show, and what a compare and swap
 * that succeeded has found. */
static void written_build(search_t *self) {
    self->written = array_new(self->newest + 2, sizeof *self->written);
    for (size_t i = 0; i < self->count; i++) {
        const linear_op_t *op = &self->ops[i];
        if (op->returned == LINEAR_OPEN || op->reply.code)
            continue;
        uint64_t key = reply_hash(op->request.key);
        if ((op->reply.fields & REPLY_INDEX) && op->reply.index <= self->newest)
            self->written[op->reply.index] = key;
        if (op->request.has_previous && op->request.previous <= self->newest)
            self->written[op->request.previous] = key;
    }
}

/* Two operations that claim to have made the same revision: no order can please both. */
static bool makers_build(search_t *self) {
    for (size_t i = 0; i < self->count; i++) {
        const linear_op_t *op = &self->ops[i];
        bool known = op->expiry || op->returned != LINEAR_OPEN;
        if (known && (op->reply.fields & REPLY_REVISION) && op->reply.revision > self->newest)
            self->newest = op->reply.revision;
        self->slots[i].writes = op->expiry || (op->returned != LINEAR_OPEN && !op->waited &&
                                               model_made_revision(&op->request, &op->reply));
    }
    self->makers = array_new(self->newest + 2, sizeof *self->makers);
    memset(self->makers, 0xff, (self->newest + 2) * sizeof *self->makers);
    for (uint32_t i = 0; i < self->count; i++) {
        if (!self->slots[i].writes)
            continue;
        uint32_t *maker = &self->makers[self->ops[i].reply.revision];
        if (*maker != NONE) {
            self->result->blocked = i;
            return false;
        }
        *maker = i;
    }
    return true;
}

static int open_order(const void *a, const void *b, void *hint) {
    const linear_op_t *ops = hint;
    const linear_op_t *x = &ops[*(const uint32_t *) a], *y = &ops[*(const uint32_t *) b];
    if (x->likely != y->likely)
        return x->likely - 1 < y->likely - 1 ? -1 : 1; /* 0 comes last */
    return (x->called > y->called) - (x->called < y->called);
}

static void open_build(search_t *self) {
    self->open = array_new(self->count, sizeof *self->open);
    for (uint32_t i = 0; i < self->count; i++) {
        const linear_op_t *op = &self->ops[i];
        if (op->returned == LINEAR_OPEN && !op->expiry &&
            method_kind(op->request.method) == METHOD_KIND_WRITE)
            self->open[self->open_count++] = i;
    }
    qsort_r(self->open, self->open_count, sizeof *self->open, open_order, (void *) self->ops);
}

static bool search_run(search_t *self) {
    while (self->left && !self->result->undecided)
        if (!forward(self) && self->left && !backward(self))
            return false;
    return self->left == 0;
}

void linear_check(const linear_op_t *ops, size_t count, const model_t *reference,
                  linear_result_t *out) {
    search_t self = {.ops = ops, .count = count, .reference = reference, .result = out};
    *out = (linear_result_t){0};
    self.slots = array_new(count, sizeof *self.slots);
    for (size_t i = 0; i < count; i++)
        self.slots[i] = (slot_t){.call = NONE, .returned = NONE};
    self.model = model_new(true);
    events_build(&self);
    open_build(&self);
    bool possible = makers_build(&self);
    written_build(&self);
    out->linearizable = possible && search_run(&self);
    model_free(&self.model);
    free(self.slots);
    free(self.events);
    free(self.makers);
    free(self.written);
    free(self.open);
    free(self.steps);
    free(self.seen);
}
