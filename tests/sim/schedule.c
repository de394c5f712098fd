/* schedule.c: draws the shape of a cluster and its faults from a seed.
 *
 * Each seed allows only some kinds of faults (swarm testing: Groce et al., 2012): a run in which
 * everything happens at once leaves no room for what only happens when something does not.
 */
#include "tests/sim/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "tests/sim/random.h"
#include "tests/sim/world.h"

#define SCHEDULE_FIRST_MS 50u
#define SCHEDULE_MIN_MS 3000u
#define SCHEDULE_MAX_MS 8000u

/* How many seeds have nodes that move, and how often. */
#define MOVES_IN_1000 150u
#define MOVES_MAX 4u
#define SCHEDULE_MOVES_STREAM 9u

typedef enum {
    AIM_LINKS, /* two sets of slots */
    AIM_SLOT,
    AIM_NONE
} aim_t;

/* How a kind of fault is drawn: ranges of what it takes. */
typedef struct draw {
    uint32_t weight;
    aim_t aim;
    uint32_t lasts_from, lasts_to; /* milliseconds */
    uint32_t value_from, value_to;
} draw_t;

static const draw_t draws[FAULT_KINDS] = {
    [FAULT_LOSS] = {4, AIM_LINKS, 100, 3000, 10, 600},
    [FAULT_DUPLICATE] = {3, AIM_LINKS, 100, 3000, 10, 500},
    [FAULT_REORDER] = {3, AIM_LINKS, 100, 3000, 10, 500},
    [FAULT_DELAY] = {3, AIM_LINKS, 100, 3000, 2, 400},
    [FAULT_PARTITION] = {8, AIM_LINKS, 50, 3500, 0, 0},
    [FAULT_ONE_WAY] = {6, AIM_LINKS, 50, 3500, 0, 0},
    [FAULT_FLAP] = {3, AIM_LINKS, 500, 3000, 20, 600},
    [FAULT_RESET] = {3, AIM_LINKS, 0, 0, 0, 0},
    [FAULT_CROSSTALK] = {3, AIM_NONE, 200, 3000, 1, 30},
    [FAULT_CLIENTS] = {3, AIM_SLOT, 0, 0, 0, 0},
    [FAULT_POWER] = {10, AIM_SLOT, 1, 2500, 0, 40},
    [FAULT_KILL_NODE] = {6, AIM_SLOT, 1, 1500, 0, 40},
    [FAULT_KILL] = {10, AIM_SLOT, 0, 0, 0, 40},
    [FAULT_PAUSE] = {6, AIM_SLOT, 5, 2500, 0, 0},
    [FAULT_STOP] = {4, AIM_SLOT, 1, 1500, 0, 0},
    [FAULT_CLOCK] = {3, AIM_SLOT, 0, 0, 1, 6000},
    [FAULT_WALL_CLOCK] = {3, AIM_SLOT, 0, 0, 1, 20000},
    [FAULT_WRITE_ERROR] = {3, AIM_SLOT, 0, 0, 1, 60},
    [FAULT_SYNC_ERROR] = {4, AIM_SLOT, 0, 0, 1, 60},
    [FAULT_STATE_ERROR] = {3, AIM_SLOT, 0, 0, 1, 6},
    [FAULT_FULL] = {4, AIM_SLOT, 100, 3000, 0, 60000},
    [FAULT_SLOW] = {4, AIM_SLOT, 100, 2500, 1, 600},
    [FAULT_FLIP] = {4, AIM_SLOT, 1, 1000, 0, 0},
    [FAULT_CUT] = {2, AIM_SLOT, 1, 1000, 0, 0},
    [FAULT_SPOIL] = {2, AIM_SLOT, 1, 1000, 0, 0},
    [FAULT_WIPE] = {3, AIM_SLOT, 1, 1000, 0, 0},
    [FAULT_ADD] = {3, AIM_NONE, 0, 0, 0, 0},
    [FAULT_REMOVE] = {3, AIM_SLOT, 0, 0, 0, 0},
    [FAULT_REPLACE] = {3, AIM_SLOT, 200, 2500, 0, 0},
    [FAULT_PROMOTE] = {1, AIM_SLOT, 0, 0, 0, 0},
    [FAULT_TRANSFER] = {4, AIM_SLOT, 0, 0, 0, 0},
    [FAULT_MOVE] = {0, AIM_SLOT, 1, 1500, 0, 0}, /* drawn apart */
};

static uint32_t between(stream_t *random, uint32_t from, uint32_t to) {
    return (uint32_t) stream_range(random, from, (uint64_t) to + 1);
}

/* Small values are as likely as large ones: the logarithm is about even. */
static uint32_t skewed(stream_t *random, uint32_t from, uint32_t to) {
    uint32_t span = to - from;
    unsigned bits = 0;
    while (bits < 31 && span >> bits)
        bits++;
    uint32_t drawn = between(random, 0, (1u << between(random, 0, bits)) - 1);
    return from + (drawn < span ? drawn : span);
}

/* ---- crowds ---- */

/* Some faults only do harm when they follow each other closely: a good part of the seeds has many
 * of a few kinds that go together. */
#define CROWD_KINDS 8u
#define CROWD_IN_1000 500u
#define CROWD_KIND_IN_1000 750u

static const fault_kind_t crowds[][CROWD_KINDS] = {
    {FAULT_PARTITION, FAULT_ONE_WAY, FAULT_FLAP, FAULT_LOSS, FAULT_RESET, FAULT_PAUSE, FAULT_KILL,
     FAULT_TRANSFER},
    {FAULT_POWER, FAULT_KILL, FAULT_KILL_NODE, FAULT_WRITE_ERROR, FAULT_SYNC_ERROR, FAULT_FULL,
     FAULT_SLOW, FAULT_PARTITION},
    {FAULT_ADD, FAULT_REMOVE, FAULT_REPLACE, FAULT_TRANSFER, FAULT_PARTITION, FAULT_ONE_WAY,
     FAULT_KILL, FAULT_POWER},
    {FAULT_WIPE, FAULT_FLIP, FAULT_POWER, FAULT_KILL, FAULT_PARTITION, FAULT_TRANSFER, FAULT_SLOW,
     FAULT_REPLACE},
};

static void crowd_draw(stream_t *random, uint32_t *weights) {
    const fault_kind_t *crowd = crowds[stream_range(random, 0, sizeof crowds / sizeof crowds[0])];
    memset(weights, 0, FAULT_KINDS * sizeof *weights);
    for (size_t i = 0; i < CROWD_KINDS; i++)
        if (stream_chance(random, CROWD_KIND_IN_1000))
            weights[crowd[i]] = draws[crowd[i]].weight;
}

/* ---- the shape ---- */

static void shape_draw(schedule_t *self, stream_t *random, uint32_t nodes) {
    static const uint32_t sizes[] = {1, 3, 3, 3, 3, 3, 5, 5, 7};
    self->nodes = nodes ? nodes : sizes[stream_range(random, 0, sizeof sizes / sizeof sizes[0])];
    self->formed = stream_chance(random, 700);
    self->ends_ms = between(random, SCHEDULE_MIN_MS, SCHEDULE_MAX_MS);
    self->segment_bytes = between(random, 4, 12) * 1024;
    self->keep_bytes = skewed(random, 512, 32768);
    self->chunk_bytes = skewed(random, 256, 16384);
    self->users = between(random, 1, 4);
    self->pause_us = skewed(random, 40000, 800000);
    self->latency_us = skewed(random, 50, 10000);
    self->jitter_us = skewed(random, 1, 5000);
    self->sync_us = skewed(random, 50, 5000);
    self->drift = skewed(random, 0, 20000);
    self->codec = 8;
    self->keep_revisions = skewed(random, 1, 100000);
}

/* ---- faults ---- */

/* A set of slots on each side: one against all others, a split, or one against one. */
static void sides_draw(fault_t *fault, stream_t *random, uint32_t nodes) {
    uint32_t all = (1u << WORLD_SLOTS) - 1;
    uint32_t one =
        stream_chance(random, 500) ? SCHEDULE_LEADER_BIT : 1u << stream_range(random, 0, nodes);
    switch (stream_range(random, 0, 4)) {
    case 0:
        fault->target = one;
        fault->other = 1u << stream_range(random, 0, nodes);
        break;
    case 1: {
        uint32_t side = between(random, 0, all);
        fault->target = side;
        fault->other = all & ~side;
        break;
    }
    case 2: /* to the one: for faults that have a direction */
        fault->target = all;
        fault->other = one;
        break;
    default:
        fault->target = one;
        fault->other = all;
        break;
    }
}

static void aim_draw(fault_t *fault, stream_t *random, uint32_t nodes) {
    switch (draws[fault->kind].aim) {
    case AIM_LINKS:
        sides_draw(fault, random, nodes);
        break;
    case AIM_SLOT: /* now and then one that joined later */
        fault->target = stream_chance(random, 350)   ? SCHEDULE_LEADER
                        : stream_chance(random, 150) ? between(random, 0, WORLD_SLOTS - 1)
                                                     : (uint32_t) stream_range(random, 0, nodes);
        break;
    case AIM_NONE:
        break;
    }
}

static void other_draw(fault_t *fault, stream_t *random) {
    switch (fault->kind) {
    case FAULT_POWER:
        fault->other = between(random, 0, 1);
        break;
    case FAULT_KILL:
        fault->other = between(random, ACTOR_STORAGE, ACTOR_GATEWAY);
        break;
    case FAULT_PAUSE:
        fault->other =
            stream_chance(random, 500) ? 0 : between(random, ACTOR_STORAGE, ACTOR_GATEWAY);
        break;
    default:
        break;
    }
}

static fault_t fault_draw(stream_t *random, fault_kind_t kind, uint32_t nodes, uint32_t ends_ms) {
    const draw_t *draw = &draws[kind];
    fault_t fault = {.kind = kind, .at_ms = between(random, SCHEDULE_FIRST_MS, ends_ms - 100)};
    aim_draw(&fault, random, nodes);
    other_draw(&fault, random);
    fault.lasts_ms = skewed(random, draw->lasts_from, draw->lasts_to);
    fault.value = skewed(random, draw->value_from, draw->value_to);
    return fault;
}

static int fault_order(const void *a, const void *b) {
    const fault_t *first = a, *second = b;
    if (first->at_ms != second->at_ms)
        return first->at_ms < second->at_ms ? -1 : 1;
    return memcmp(first, second, sizeof *first); /* no padding: all fields have 4 bytes */
}

/* From a stream of their own: what seeds without a move do stays as it was. */
static void moves_draw(schedule_t *self) {
    stream_t random = stream_new(self->seed, SCHEDULE_MOVES_STREAM);
    size_t count = stream_chance(&random, MOVES_IN_1000) ? between(&random, 1, MOVES_MAX) : 0;
    while (count-- > 0)
        self->faults[self->count++] = fault_draw(&random, FAULT_MOVE, self->nodes, self->ends_ms);
}

void schedule_draw(schedule_t *self, uint64_t seed, uint32_t nodes) {
    stream_t shape = stream_new(seed, 3), random = stream_new(seed, 4);
    uint32_t weights[FAULT_KINDS], total = 0;
    memset(self, 0, sizeof *self);
    self->seed = seed;
    shape_draw(self, &shape, nodes);
    uint32_t allowed = between(&random, 100, 1000);
    for (fault_kind_t kind = 0; kind < FAULT_MOVE; kind++)
        weights[kind] = stream_chance(&random, allowed) ? draws[kind].weight : 0;
    size_t count = skewed(&random, 2, 30);
    if (stream_chance(&random, CROWD_IN_1000)) {
        crowd_draw(&random, weights);
        count = between(&random, 15, 45);
    }
    for (fault_kind_t kind = 0; kind < FAULT_MOVE; kind++)
        total += weights[kind];
    count = total ? count : 0;
    while (self->count < count) {
        uint32_t at = (uint32_t) stream_range(&random, 0, total);
        fault_kind_t kind = 0;
        while (at >= weights[kind])
            at -= weights[kind++];
        self->faults[self->count++] = fault_draw(&random, kind, self->nodes, self->ends_ms);
    }
    moves_draw(self);
    qsort(self->faults, self->count, sizeof self->faults[0], fault_order);
}
