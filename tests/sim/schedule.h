/* schedule.h: everything that is decided before a run begins: the shape of the cluster and the
 * faults that will strike it, as plain items that can be printed, read back and left out.
 *
 * As text, a line each:
 *
 *   shape   = "seed" N | "nodes" N | "segment_bytes" N | ... (schedule_text.c has the names)
 *   fault   = "fault" MS KIND ["at" TARGET] ["with" OTHER] ["for" MS] ["value" N]
 *
 * TARGET is a slot, `leader` (whoever leads then), or for links a set of slots as a bit mask.
 */
#ifndef DRAX_TESTS_SIM_SCHEDULE_H
#define DRAX_TESTS_SIM_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SCHEDULE_FAULTS 64u
#define SCHEDULE_LEADER 255u           /* a target: whoever leads then */
#define SCHEDULE_LEADER_BIT (1u << 16) /* the same in a mask */

typedef enum {
    /* links: from `target` to `other`, both bit masks; `lasts_ms` */
    FAULT_LOSS,      /* value: of 1000 */
    FAULT_DUPLICATE, /* value: of 1000 */
    FAULT_REORDER,   /* value: of 1000 */
    FAULT_DELAY,     /* value: milliseconds at the most */
    FAULT_PARTITION, /* both ways */
    FAULT_ONE_WAY,   /* from target to other alone */
    FAULT_FLAP,      /* both ways, on and off every `value` ms */
    FAULT_RESET,     /* the connections between them break */
    FAULT_CROSSTALK, /* every `value` ms a message that does not belong here */
    /* machines and processes; target: a slot */
    FAULT_CLIENTS,    /* users' connections break */
    FAULT_POWER,      /* power loss within the `value`th disk call (0: now), `other`: what is lost
                       * (0 all, 1 some) of what is not synced; off for `lasts_ms` */
    FAULT_KILL_NODE,  /* all processes die within the `value`th disk call (0: now) */
    FAULT_KILL,       /* actor `other` dies; storage within the `value`th disk call (0: now) */
    FAULT_PAUSE,      /* actor `other` (0: all) gets no time for `lasts_ms` */
    FAULT_STOP,       /* SIGTERM, and started again after `lasts_ms` */
    FAULT_CLOCK,      /* the clock jumps ahead by `value` ms */
    FAULT_WALL_CLOCK, /* the wall clock goes back by `value` ms */
    /* disks; target: a slot */
    FAULT_WRITE_ERROR, /* the `value`th write fails */
    FAULT_SYNC_ERROR,  /* the `value`th sync fails */
    FAULT_STATE_ERROR, /* the `value`th write of the state fails */
    FAULT_FULL,        /* room for `value` bytes, for `lasts_ms` */
    FAULT_SLOW,        /* a sync takes `value` ms more, for `lasts_ms` */
    FAULT_FLIP,        /* power loss; a bit of the journal has changed when it comes back */
    FAULT_CUT,         /* power loss; a segment is shorter when it comes back */
    FAULT_SPOIL,       /* power loss; the state cannot be read when it comes back */
    FAULT_WIPE,        /* comes back with an empty disk */
    /* membership */
    FAULT_ADD,      /* a node at an unused slot joins */
    FAULT_REMOVE,   /* the member at slot `target` */
    FAULT_REPLACE,  /* a node joins, then the member at `target` is removed */
    FAULT_PROMOTE,  /* asked for by hand, of whatever is at `target` */
    FAULT_TRANSFER, /* leadership, to the member at `target` (WORLD_SLOTS: to any) */

    FAULT_MOVE, /* all processes die; comes back at other addresses after `lasts_ms` */
    FAULT_KINDS
} fault_kind_t;

typedef struct fault {
    uint32_t at_ms;
    fault_kind_t kind;
    uint32_t target, other, lasts_ms, value;
} fault_t;

typedef struct schedule {
    uint64_t seed;
    /* the shape */
    uint32_t nodes;   /* at the beginning */
    uint32_t formed;  /* 1: faults begin when the cluster is whole; 0: at their time */
    uint32_t ends_ms; /* the last fault is over; then the world is healed */
    uint32_t segment_bytes, keep_bytes, keep_revisions, chunk_bytes;
    uint32_t users, pause_us;
    uint32_t latency_us, jitter_us; /* between nodes */
    uint32_t sync_us;
    uint32_t drift;                  /* clocks run fast or slow by up to this many millionths */
    uint32_t codec;                  /* one of this many messages goes through the codec; 0: none */
    fault_t faults[SCHEDULE_FAULTS]; /* by time */
    size_t count;
} schedule_t;

/* Draws all of it from the seed. `nodes` 0: draws that as well. */
void schedule_draw(schedule_t *self, uint64_t seed, uint32_t nodes);
void schedule_print(const schedule_t *self, FILE *out);
/* Reads what schedule_print wrote; a shape's missing lines are what the seed gives. 0, or -1 with
 * the line in `error`. */
int schedule_read(schedule_t *self, FILE *in, char *error, size_t error_size);
const char *fault_name(fault_kind_t kind);
void fault_print(const fault_t *self, char *out, size_t size);

#endif
