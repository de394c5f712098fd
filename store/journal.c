/* journal.c: the journal's face: what may be appended, what makes it durable, what may go.
 *
 * Owns: the journal's life. The layout is in journal_record.h, the rules of opening in
 * journal_recovery.c; the map of the files is in journal_internal.h. Must not know: raft, the state
 * machine.
 *
 * States: open, and dead. A failed write or sync makes it dead at once, and nothing is written any
 * more: what the disk holds is then unknown, and only opening again can tell. A full disk is no
 * such failure.
 */
#include "store/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/codec.h"
#include "broker/error.h"
#include "store/journal_internal.h"

/* Hard state, a truncation, and the entries of one append. */
typedef struct append {
    pending_t *items;
    size_t count;
    buffer_t configs; /* encoded memberships, one after the other */
} append_t;

static int append_check(const journal_t *self, const entry_t *entries, size_t count);
static int append_truncate(append_t *append, journal_t *self, uint64_t index);
static int append_entries(append_t *append, const entry_t *entries, size_t count);

int journal_append(journal_t *self, bool hard_state, uint64_t term, uint64_t vote,
                   const entry_t *entries, size_t count) {
    if (self->dead)
        return DRAX_EIO;
    int rc = append_check(self, entries, count);
    if (rc != 0 || (!hard_state && count == 0))
        return rc;
    append_t append = {.items = calloc(count + 2, sizeof *append.items)};
    if (!append.items)
        return DRAX_ENOMEM;
    if (hard_state)
        append.items[append.count++].record =
            (record_t){.kind = RECORD_HARD_STATE, .term = term, .index = vote};
    if (count > 0 && entries[0].index <= self->last_index)
        rc = append_truncate(&append, self, entries[0].index - 1);
    if (rc == 0)
        rc = append_entries(&append, entries, count);
    if (rc == 0)
        rc = batch_write(self, append.items, append.count, false);
    buffer_free(&append.configs);
    free(append.items);
    return rc;
}

static int append_check(const journal_t *self, const entry_t *entries, size_t count) {
    if (count == 0)
        return 0;
    uint64_t first = entries[0].index;
    if (first < journal_first_index(self) || first > self->last_index + 1)
        return DRAX_EINVAL;
    uint64_t term = journal_term_at(self, first - 1);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].term < term)
            return DRAX_EINVAL; /* recovery would refuse it */
        term = entries[i].term;
        if (entries[i].index != first + i || (unsigned) entries[i].kind > ENTRY_CONFIG ||
            (entries[i].kind == ENTRY_CONFIG) != (entries[i].config != NULL))
            return DRAX_EINVAL;
        if (payload_size(entries[i].payload) > LIMIT_ENTRY_BYTES)
            return DRAX_ETOOLARGE;
    }
    return 0;
}

static int append_truncate(append_t *append, journal_t *self, uint64_t index) {
    uint64_t time_ms = 0;
    int rc = log_time_at(self, index, &time_ms);
    if (rc == DRAX_EIO)
        self->dead = true;
    append->items[append->count++].record = (record_t){
        .kind = RECORD_TRUNCATE,
        .index = index,
        .term = journal_term_at(self, index),
        .time_ms = time_ms,
    };
    return rc;
}

static int append_entries(append_t *append, const entry_t *entries, size_t count) {
    pending_t *items = append->items + append->count;
    append->count += count;
    for (size_t i = 0; i < count; i++) {
        size_t before = append->configs.size;
        int rc = 0;
        if (entries[i].config)
            rc = codec_config_encode(&append->configs, entries[i].config);
        if (rc != 0)
            return rc;
        items[i].record = (record_t){
            .kind = RECORD_ENTRY,
            .entry_kind = (uint8_t) entries[i].kind,
            .index = entries[i].index,
            .term = entries[i].term,
            .time_ms = entries[i].time_ms,
            .length = (uint32_t) (entries[i].config ? append->configs.size - before
                                                    : payload_size(entries[i].payload)),
        };
    }
    /* The buffer has stopped moving. */
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].body = payload_data(entries[i].payload);
        if (entries[i].config) {
            items[i].body = append->configs.data + used;
            used += items[i].record.length;
        }
    }
    return 0;
}

int journal_sync(journal_t *self) {
    if (self->dead)
        return DRAX_EIO;
    for (size_t i = 0; i < self->segment_count; i++) {
        segment_t *segment = self->segments[i];
        if (!segment->dirty)
            continue;
        if (self->fs.sync(segment->file) != 0) {
            self->dead = true;
            return DRAX_EIO;
        }
        segment->dirty = false;
    }
    const segment_t *current = journal_current(self);
    self->durable = current->base + current->end;
    return 0;
}

/* ---- what may go ---- */

/* One record that takes part in making room, durable on return; then what it frees goes. */
static int mark_write(journal_t *self, const record_t *record) {
    pending_t item = {.record = *record};
    int rc = batch_write(self, &item, 1, true);
    if (rc == 0)
        rc = journal_sync(self);
    return rc == 0 ? journal_drop(self) : rc;
}

int journal_compact(journal_t *self, uint64_t index) {
    if (self->dead)
        return DRAX_EIO;
    size_t count = 0;
    while (count + 1 < self->segment_count &&
           (self->segments[count]->first > self->segments[count]->last ||
            self->segments[count]->last <= index))
        count++;
    if (count == 0)
        return 0;
    return mark_write(
        self, &(record_t){.kind = RECORD_COMPACT, .index = self->segments[count]->sequence});
}

int journal_reset(journal_t *self, uint64_t index, uint64_t term) {
    if (self->dead)
        return DRAX_EIO;
    return mark_write(self, &(record_t){.kind = RECORD_RESET, .index = index, .term = term});
}

int journal_drop(journal_t *self) {
    size_t count = 0;
    while (self->segments[count]->sequence < self->first_sequence) {
        if (segment_retire(self, self->segments[count]) != 0) {
            self->dead = true;
            return DRAX_EIO;
        }
        count++;
    }
    log_drop(self, count);
    return 0;
}

/* ---- life ---- */

static int journal_new(journal_t **out, const fs_t *fs, const char *directory,
                       const journal_options_t *options) {
    if (!segment_directory_fits(directory))
        return DRAX_EINVAL;
    journal_t *self = *out = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->fs = *fs;
    self->segment_bytes =
        options && options->segment_bytes ? options->segment_bytes : JOURNAL_SEGMENT_BYTES;
    if (self->segment_bytes < JOURNAL_SEGMENT_MIN_BYTES)
        self->segment_bytes = JOURNAL_SEGMENT_MIN_BYTES;
    self->segment_bytes &= ~(uint64_t) (RECORD_ALIGN - 1);
    self->salt = options ? options->salt : 0;
    self->directory = strdup(directory);
    if (!self->directory || journal_log_reserve(self, NULL, 1) != 0)
        return DRAX_ENOMEM;
    self->runs[0] = (term_run_t){0, 0};
    self->run_count = 1;
    return 0;
}

int journal_open(journal_t **out, const fs_t *fs, const char *directory,
                 const journal_options_t *options, char *detail, size_t detail_size) {
    *out = NULL;
    if (detail_size > 0)
        detail[0] = '\0';
    journal_t *self = NULL;
    int rc = journal_new(&self, fs, directory, options);
    if (rc == 0)
        rc = journal_recover(self, detail, detail_size);
    if (rc == 0) {
        *out = self;
        return 0;
    }
    if (detail_size > 0 && detail[0] == '\0')
        (void) snprintf(detail, detail_size, "%s: %s", directory, error_text(rc));
    journal_close(&self);
    return rc;
}

void journal_close(journal_t **self) {
    journal_t *journal = *self;
    *self = NULL;
    if (!journal)
        return;
    for (size_t i = 0; i < journal->segment_count; i++)
        segment_destroy(journal, &journal->segments[i]);
    free(journal->segments);
    free(journal->runs);
    free(journal->window);
    free(journal->directory);
    free(journal);
}

bool journal_dead(const journal_t *self) {
    return self->dead;
}

uint64_t journal_salt(const journal_t *self) {
    return self->salt;
}
