/* log.c: what the core knows of the log.
 *
 * Owns: the bounds of the log, the term of every index in it (as runs), the entries in memory and
 * the memberships that may still be needed. Must not know: roles, peers, commit rules.
 *
 * Invariants
 *  1. runs is sorted by index and by term; runs[0].index == first - 1.
 *  2. items[head .. head + count) are the entries cached .. last; cached == last - count + 1.
 *  3. Entries above `durable` are in memory.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/raft/raft_internal.h"

int array_reserve(void **items, size_t *capacity, size_t count, size_t size) {
    if (count <= *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity : 8;
    while (wanted < count)
        wanted *= 2;
    void *grown = realloc(*items, wanted * size);
    if (!grown)
        return DRAX_ENOMEM;
    *items = grown;
    *capacity = wanted;
    return 0;
}

static int boot_check(const raft_boot_t *boot) {
    if (boot->first_index == 0 || boot->last_index + 1 < boot->first_index ||
        boot->last_index > RAFT_NUMBER_MAX || boot->term > RAFT_NUMBER_MAX ||
        boot->time_ms > RAFT_NUMBER_MAX)
        return DRAX_EINVAL;
    if (boot->commit + 1 < boot->first_index || boot->commit > boot->last_index)
        return DRAX_EINVAL;
    if (boot->run_count == 0) /* only a log that was never written has nothing to say */
        return boot->first_index == 1 && boot->last_index == 0 ? 0 : DRAX_EINVAL;
    if (boot->runs[0].index != boot->first_index - 1)
        return DRAX_EINVAL;
    for (size_t i = 0; i < boot->run_count; i++) {
        if (boot->runs[i].term > RAFT_NUMBER_MAX || boot->runs[i].index > boot->last_index)
            return DRAX_EINVAL;
        if (i > 0 && (boot->runs[i].index <= boot->runs[i - 1].index ||
                      boot->runs[i].term < boot->runs[i - 1].term))
            return DRAX_EINVAL;
    }
    for (size_t i = 0; i < boot->config_count; i++) {
        const config_t *config = &boot->configs[i];
        if (!config_valid(config, config->index) || config->index > boot->last_index ||
            (i > 0 && config->index <= boot->configs[i - 1].index))
            return DRAX_EINVAL;
    }
    return 0;
}

int log_open(raft_log_t *self, const raft_boot_t *boot, uint64_t bytes_max) {
    int rc = boot_check(boot);
    if (rc)
        return rc;
    memset(self, 0, sizeof *self);
    rc = array_reserve((void **) &self->runs, &self->run_capacity, boot->run_count + 1,
                       sizeof *self->runs);
    if (rc == 0)
        rc = array_reserve((void **) &self->configs, &self->config_capacity, boot->config_count,
                           sizeof *self->configs);
    if (rc) {
        log_close(self);
        return rc;
    }
    if (boot->run_count)
        memcpy(self->runs, boot->runs, boot->run_count * sizeof *self->runs);
    self->run_count = boot->run_count;
    if (boot->run_count == 0)
        self->runs[self->run_count++] = (term_run_t){0, 0};
    if (boot->config_count)
        memcpy(self->configs, boot->configs, boot->config_count * sizeof *self->configs);
    self->config_count = boot->config_count;
    self->first = boot->first_index;
    self->last = self->offered = self->durable = boot->last_index;
    self->last_time_ms = boot->time_ms;
    self->cached = self->last + 1;
    self->bytes_max = bytes_max;
    log_configs_prune(self, boot->commit);
    return 0;
}

void log_close(raft_log_t *self) {
    for (size_t i = 0; i < self->count; i++)
        entry_clear(&self->items[self->head + i]);
    free(self->items);
    free(self->runs);
    free(self->configs);
    memset(self, 0, sizeof *self);
}

/* The run that `index` belongs to; index >= runs[0].index. */
static size_t run_find(const raft_log_t *self, uint64_t index) {
    size_t low = 0, high = self->run_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (self->runs[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint64_t log_term(const raft_log_t *self, uint64_t index) {
    if (index + 1 < self->first || index > self->last)
        return 0;
    return self->runs[run_find(self, index)].term;
}

uint64_t log_find_term(const raft_log_t *self, uint64_t index, uint64_t term) {
    if (index > self->last)
        index = self->last;
    if (index < self->first)
        return self->first - 1;
    size_t run = run_find(self, index);
    while (run > 0 && self->runs[run].term > term) {
        index = self->runs[run].index - 1;
        run--;
    }
    return index;
}

int log_reserve(raft_log_t *self, size_t count, size_t configs) {
    /* Moved only when at least as much was dropped as is left, so that an append costs no more than
     * a constant in the long run. */
    if (self->head && self->head >= self->count &&
        self->head + self->count + count > self->capacity) {
        memmove(self->items, self->items + self->head, self->count * sizeof *self->items);
        self->head = 0;
    }
    int rc = array_reserve((void **) &self->items, &self->capacity,
                           self->head + self->count + count, sizeof *self->items);
    if (rc == 0)
        rc = array_reserve((void **) &self->runs, &self->run_capacity, self->run_count + count,
                           sizeof *self->runs);
    if (rc == 0)
        rc = array_reserve((void **) &self->configs, &self->config_capacity,
                           self->config_count + configs, sizeof *self->configs);
    return rc;
}

void log_append(raft_log_t *self, entry_t *entry) {
    assert(entry->index == self->last + 1);
    assert(self->head + self->count < self->capacity);
    if (self->runs[self->run_count - 1].term != entry->term) {
        assert(self->run_count < self->run_capacity);
        self->runs[self->run_count++] = (term_run_t){entry->index, entry->term};
    }
    if (entry->config) {
        assert(self->config_count < self->config_capacity);
        self->configs[self->config_count++] = *entry->config;
    }
    self->bytes += entry_size(entry);
    self->items[self->head + self->count++] = *entry;
    self->last = entry->index;
    if (entry->time_ms > self->last_time_ms)
        self->last_time_ms = entry->time_ms;
    memset(entry, 0, sizeof *entry);
}

void log_truncate(raft_log_t *self, uint64_t from) {
    assert(from >= self->first && from <= self->last);
    while (self->count && self->items[self->head + self->count - 1].index >= from) {
        entry_t *entry = &self->items[self->head + --self->count];
        self->bytes -= entry_size(entry);
        entry_clear(entry);
    }
    self->last = from - 1;
    if (self->cached > self->last + 1)
        self->cached = self->last + 1;
    while (self->run_count > 1 && self->runs[self->run_count - 1].index > self->last)
        self->run_count--;
    while (self->config_count && self->configs[self->config_count - 1].index > self->last)
        self->config_count--;
    if (self->offered > self->last)
        self->offered = self->last;
    if (self->durable > self->last)
        self->durable = self->last;
}

int log_slice(const raft_log_t *self, uint64_t from, uint64_t max_bytes, size_t max_count,
              entries_t *out) {
    assert(from >= self->cached && from <= self->last);
    uint64_t bytes = 0;
    for (uint64_t index = from; index <= self->last && out->count < max_count; index++) {
        const entry_t *entry = &self->items[self->head + (size_t) (index - self->cached)];
        bytes += entry_size(entry);
        if (out->count && bytes > max_bytes)
            break;
        int rc = entries_push(out, entry);
        if (rc) {
            entries_clear(out);
            return rc;
        }
    }
    return 0;
}

static void front_drop(raft_log_t *self) {
    entry_t *entry = &self->items[self->head];
    self->bytes -= entry_size(entry);
    entry_clear(entry);
    self->head++;
    self->count--;
    self->cached++;
    if (self->count == 0)
        self->head = 0;
}

void log_evict(raft_log_t *self) {
    while (self->count && self->bytes > self->bytes_max && self->cached <= self->durable)
        front_drop(self);
}

void log_compact(raft_log_t *self, uint64_t first) {
    if (first <= self->first || first > self->durable + 1)
        return;
    size_t run = run_find(self, first - 1);
    term_run_t before = {first - 1, self->runs[run].term};
    memmove(self->runs, self->runs + run, (self->run_count - run) * sizeof *self->runs);
    self->run_count -= run;
    self->runs[0] = before;
    self->first = first;
    while (self->count && self->cached < first)
        front_drop(self);
}

const config_t *log_config(const raft_log_t *self) {
    return self->config_count ? &self->configs[self->config_count - 1] : NULL;
}

void log_configs_prune(raft_log_t *self, uint64_t commit) {
    size_t keep = 0;
    while (keep + 1 < self->config_count && self->configs[keep + 1].index <= commit)
        keep++;
    if (keep == 0)
        return;
    memmove(self->configs, self->configs + keep,
            (self->config_count - keep) * sizeof *self->configs);
    self->config_count -= keep;
}
