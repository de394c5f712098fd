/* schedule_text.c: schedules as text and back; the grammar is in schedule.h. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "tests/sim/schedule.h"

static const char *const names[FAULT_KINDS] = {
    [FAULT_LOSS] = "loss",
    [FAULT_DUPLICATE] = "duplicate",
    [FAULT_REORDER] = "reorder",
    [FAULT_DELAY] = "delay",
    [FAULT_PARTITION] = "partition",
    [FAULT_ONE_WAY] = "one-way",
    [FAULT_FLAP] = "flap",
    [FAULT_RESET] = "reset",
    [FAULT_CROSSTALK] = "crosstalk",
    [FAULT_CLIENTS] = "clients",
    [FAULT_POWER] = "power",
    [FAULT_KILL_NODE] = "kill-node",
    [FAULT_KILL] = "kill",
    [FAULT_PAUSE] = "pause",
    [FAULT_STOP] = "stop",
    [FAULT_CLOCK] = "clock",
    [FAULT_WALL_CLOCK] = "wall-clock",
    [FAULT_WRITE_ERROR] = "write-error",
    [FAULT_SYNC_ERROR] = "sync-error",
    [FAULT_STATE_ERROR] = "state-error",
    [FAULT_FULL] = "full",
    [FAULT_SLOW] = "slow",
    [FAULT_FLIP] = "flip",
    [FAULT_CUT] = "cut",
    [FAULT_SPOIL] = "spoil",
    [FAULT_WIPE] = "wipe",
    [FAULT_ADD] = "add",
    [FAULT_REMOVE] = "remove",
    [FAULT_REPLACE] = "replace",
    [FAULT_PROMOTE] = "promote",
    [FAULT_TRANSFER] = "transfer",
    [FAULT_MOVE] = "move",
};

/* The shape's fields that are not the seed. */
static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    {"nodes", offsetof(schedule_t, nodes)},
    {"formed", offsetof(schedule_t, formed)},
    {"ends_ms", offsetof(schedule_t, ends_ms)},
    {"segment_bytes", offsetof(schedule_t, segment_bytes)},
    {"keep_bytes", offsetof(schedule_t, keep_bytes)},
    {"keep_revisions", offsetof(schedule_t, keep_revisions)},
    {"chunk_bytes", offsetof(schedule_t, chunk_bytes)},
    {"users", offsetof(schedule_t, users)},
    {"pause_us", offsetof(schedule_t, pause_us)},
    {"latency_us", offsetof(schedule_t, latency_us)},
    {"jitter_us", offsetof(schedule_t, jitter_us)},
    {"sync_us", offsetof(schedule_t, sync_us)},
    {"drift", offsetof(schedule_t, drift)},
    {"codec", offsetof(schedule_t, codec)},
};

#define FIELDS (sizeof fields / sizeof fields[0])

static uint32_t *field_at(const schedule_t *self, size_t field) {
    return (uint32_t *) (void *) ((char *) self + fields[field].offset);
}

const char *fault_name(fault_kind_t kind) {
    return names[kind];
}

void fault_print(const fault_t *self, char *out, size_t size) {
    char target[16];
    bool leader = self->target == SCHEDULE_LEADER && self->kind >= FAULT_CLIENTS;
    (void) snprintf(target, sizeof target, leader ? "leader" : "%" PRIu32, self->target);
    (void) snprintf(
        out, size, "fault %" PRIu32 " %s at %s with %" PRIu32 " for %" PRIu32 " value %" PRIu32,
        self->at_ms, names[self->kind], target, self->other, self->lasts_ms, self->value);
}

void schedule_print(const schedule_t *self, FILE *out) {
    char line[128];
    fprintf(out, "seed %" PRIu64 "\n", self->seed);
    for (size_t i = 0; i < FIELDS; i++)
        fprintf(out, "%s %" PRIu32 "\n", fields[i].name, *field_at(self, i));
    for (size_t i = 0; i < self->count; i++) {
        fault_print(&self->faults[i], line, sizeof line);
        fprintf(out, "%s\n", line);
    }
}

/* ---- reading ---- */

static bool fault_read(fault_t *out, const char *line) {
    char kind[32], target[32];
    memset(out, 0, sizeof *out);
    if (sscanf(line,
               "fault %" SCNu32 " %31s at %31s with %" SCNu32 " for %" SCNu32 " value %" SCNu32,
               &out->at_ms, kind, target, &out->other, &out->lasts_ms, &out->value) != 6)
        return false;
    while (out->kind < FAULT_KINDS && strcmp(names[out->kind], kind) != 0)
        out->kind++;
    if (strcmp(target, "leader") == 0)
        out->target = SCHEDULE_LEADER;
    else if (sscanf(target, "%" SCNu32, &out->target) != 1)
        return false;
    return out->kind < FAULT_KINDS;
}

static bool line_read(schedule_t *self, const char *line) {
    char name[32];
    uint64_t number;
    if (line[0] == '\n' || line[0] == '#')
        return true;
    if (strncmp(line, "fault ", 6) == 0)
        return self->count < SCHEDULE_FAULTS && fault_read(&self->faults[self->count++], line);
    if (sscanf(line, "%31s %" SCNu64, name, &number) != 2)
        return false;
    if (strcmp(name, "seed") == 0) {
        schedule_draw(self, number, 0);
        self->count = 0;
        return true;
    }
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(name, fields[i].name) != 0)
            continue;
        *field_at(self, i) = (uint32_t) number;
        return number <= UINT32_MAX;
    }
    return false;
}

int schedule_read(schedule_t *self, FILE *in, char *error, size_t error_size) {
    char line[256];
    schedule_draw(self, 0, 0);
    self->count = 0;
    while (fgets(line, sizeof line, in)) {
        if (line_read(self, line))
            continue;
        line[strcspn(line, "\n")] = '\0';
        (void) snprintf(error, error_size, "%s", line);
        return -1;
    }
    return 0;
}
