/* state_history.c: which changes the state remembers, and for how long.
 *
 * Each block that changed keys leaves one record (history.h). Records go, oldest first, once
 * keep_revisions or keep_bytes of changes came after them. They are taken out of
 * the overlay that is flushed next, and the journal is compacted only after that flush: so a record
 * never names an entry that is gone.
 *
 * Invariants
 *  1. The newest record always stays: its total is where the next one goes on.
 *  2. `oldest` is the head of the oldest record, all 0 when there is none.
 *  3. Records that hold all themselves (of a snapshot, or so that the journal can go on) are older
 *     than all that name entries.
 */
#include "store/state_internal.h"

#include "broker/error.h"

/* Records that go with one flush besides twice as many as came since the last one. */
#define PRUNE_LEAST 1024u

static void named_set(state_t *self, const history_reader_t *record) {
    self->named.first = record && record->index ? record->first : 0;
    self->named.index = record ? record->index : 0;
}

/* The record the walk stands at. DRAX_ENOTFOUND: it is past them. */
static int record_read(const merge_t *walk, history_reader_t *out) {
    uint64_t first;
    if (!walk->valid || walk->key.data[0] != PREFIX_HISTORY)
        return DRAX_ENOTFOUND;
    int rc = history_key_parse(walk->key, &first);
    return rc ? rc : history_open(out, first, walk->value);
}

/* The record that holds `revision`: the walk stands at it, downwards. */
static int record_of(merge_t *walk, uint64_t revision, history_reader_t *out) {
    uint8_t key[HISTORY_KEY_BYTES];
    history_key(key, revision + 1);
    int rc = merge_seek_before(walk, (slice_t){key, sizeof key});
    return rc ? rc : record_read(walk, out);
}

static void oldest_set(state_t *self, const history_reader_t *record) {
    self->oldest.first = record->first;
    self->oldest.last = record->last;
    self->oldest.total = record->total;
}

int history_store(state_t *self) {
    slice_t record = history_end(&self->history);
    if (self->history.record.failed)
        return DRAX_ENOMEM;
    if (!record.size)
        return 0;
    uint8_t key[HISTORY_KEY_BYTES];
    history_key(key, self->history.now.first);
    history_reader_t head;
    int rc = history_open(&head, self->history.now.first, record);
    if (rc)
        return rc;
    if (!self->oldest.first)
        oldest_set(self, &head);
    if (!self->named.first)
        named_set(self, &head);
    self->history_added++;
    return state_pair_set(self, (slice_t){key, sizeof key}, record);
}

int state_changes(const state_t *self, const entry_t *entry, history_reader_t *out) {
    slice_t record = {self->history.record.data, self->history.record.size};
    int rc = history_open(out, self->history.now.first, record);
    history_payload(out, payload_slice(entry->payload));
    return rc;
}

uint64_t state_history_first(const state_t *self) {
    return self->oldest.first ? self->oldest.first : self->meta.revision + 1;
}

uint64_t state_history_index(const state_t *self) {
    return self->named.first ? self->named.index : UINT64_MAX;
}

/* ---- what is kept ---- */

void state_history_keep(state_t *self, uint64_t bytes, uint64_t revisions) {
    self->keep_bytes = bytes;
    self->keep_revisions = revisions;
}

static int oldest_read(merge_t *walk, uint64_t from, history_reader_t *out) {
    uint8_t key[HISTORY_KEY_BYTES];
    history_key(key, from);
    int rc = merge_seek(walk, (slice_t){key, sizeof key});
    return rc ? rc : record_read(walk, out);
}

/* Finds the oldest record that names an entry, which invariant 3 lets halve. */
static int named_find(state_t *self, merge_t *walk) {
    history_reader_t record = {.index = 0};
    uint64_t low = self->oldest.first, high = self->meta.revision + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int rc = record_of(walk, middle, &record);
        if (rc)
            return rc;
        if (record.index)
            high = middle;
        else
            low = record.last + 1;
    }
    if (low > self->meta.revision)
        return 0; /* none */
    int rc = record_of(walk, low, &record);
    if (rc == 0)
        named_set(self, &record);
    return rc;
}

int history_load(state_t *self) {
    static const uint8_t end[] = {PREFIX_HISTORY + 1};
    history_reader_t record;
    merge_t walk;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = merge_seek_before(&walk, (slice_t){end, sizeof end});
    if (rc == 0)
        rc = record_read(&walk, &record);
    if (rc == 0) {
        self->history.now.total = record.total;
        rc = oldest_read(&walk, 0, &record);
    }
    if (rc == 0) {
        oldest_set(self, &record);
        rc = named_find(self, &walk);
    }
    merge_close(&walk);
    return rc == DRAX_ENOTFOUND ? 0 : rc;
}

/* Have enough changes come after the record that ends with `last` and `total`? */
static bool outlived(const state_t *self, uint64_t last, uint64_t total) {
    return last + self->keep_revisions <= self->meta.revision ||
           self->history.now.total - total >= self->keep_bytes;
}

/* Gathers the first revisions of up to `limit` records that go, and finds the oldest that stays. */
static int outlived_gather(state_t *self, uint64_t limit, uint64_t *count,
                           history_reader_t *oldest) {
    merge_t walk;
    *count = 0;
    buffer_reset(&self->pairs);
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = oldest_read(&walk, self->oldest.first, oldest);
    while (rc == 0 && *count < limit && outlived(self, oldest->last, oldest->total)) {
        uint8_t first[8];
        be64_write(first, oldest->first);
        buffer_append(&self->pairs, first, sizeof first);
        ++*count;
        rc = merge_next(&walk);
        if (rc == 0)
            rc = record_read(&walk, oldest);
    }
    merge_close(&walk);
    if (rc == DRAX_ENOTFOUND)
        return DRAX_ECORRUPT; /* invariant 1 */
    return rc == 0 && self->pairs.failed ? DRAX_ENOMEM : rc;
}

int history_prune(state_t *self) {
    history_reader_t oldest;
    uint64_t limit = 2 * self->history_added + PRUNE_LEAST, count;
    self->history_added = 0;
    if (!self->oldest.first || !outlived(self, self->oldest.last, self->oldest.total))
        return 0;
    int rc = outlived_gather(self, limit, &count, &oldest);
    for (uint64_t i = 0; rc == 0 && i < count; i++) {
        uint8_t key[HISTORY_KEY_BYTES];
        history_key(key, be64_read(self->pairs.data + 8 * i));
        rc = state_pair_clear(self, (slice_t){key, sizeof key});
    }
    if (rc)
        return rc;
    oldest_set(self, &oldest);
    if (oldest.index)
        named_set(self, &oldest);
    return 0;
}

/* ---- without the log ---- */

/* Copies the oldest record that names an entry, with all it tells, into `copy`; *last: its last
 * revision. */
static int named_copy(state_t *self, const history_source_t *source, history_writer_t *copy,
                      uint64_t *last) {
    history_reader_t record;
    slice_t payload;
    merge_t walk;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = oldest_read(&walk, self->named.first, &record);
    if (rc == 0)
        rc = source->entry(source->self, record.index, &payload);
    if (rc == 0) {
        history_payload(&record, payload);
        rc = history_copy(copy, &record);
        *last = record.last;
    }
    merge_close(&walk);
    return rc;
}

/* Finds the oldest record from `from` on, which names an entry if there is one. */
static int named_next(state_t *self, uint64_t from) {
    history_reader_t record = {.index = 0};
    merge_t walk;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = oldest_read(&walk, from, &record);
    merge_close(&walk);
    named_set(self, rc == 0 ? &record : NULL);
    return rc == DRAX_ENOTFOUND ? 0 : rc;
}

int state_history_settle(state_t *self, uint64_t upto, size_t bytes,
                         const history_source_t *source) {
    history_writer_t copy = {0};
    size_t done = 0;
    int rc = 0;
    while (rc == 0 && self->named.first && self->named.index <= upto && done < bytes) {
        uint64_t last;
        rc = named_copy(self, source, &copy, &last);
        slice_t record = history_end(&copy);
        if (rc == 0 && copy.record.failed)
            rc = DRAX_ENOMEM;
        uint8_t key[HISTORY_KEY_BYTES];
        history_key(key, self->named.first);
        if (rc == 0)
            rc = state_pair_set(self, (slice_t){key, sizeof key}, record);
        done += record.size;
        if (rc == 0)
            rc = named_next(self, last + 1);
    }
    history_writer_free(&copy);
    return rc;
}

/* ---- reading ---- */

static bool wanted(const history_query_t *query, const history_change_t *change) {
    slice_t key = change->key;
    if (change->revision < query->from || key.size < query->key.size ||
        (!query->tree && key.size != query->key.size))
        return false;
    return !query->key.size || memcmp(key.data, query->key.data, query->key.size) == 0;
}

/* The changes of one record. 1: the page is full, and `next` is set; 0: all were looked at. */
static int record_take(history_reader_t *record, const history_query_t *query, buffer_t *out,
                       history_page_t *page) {
    history_change_t change;
    uint64_t taken = 0; /* the revision of the last change packed */
    int rc;
    while ((rc = history_next(record, &change)) == 1) {
        if (!wanted(query, &change))
            continue;
        if (out->size >= query->bytes && change.revision != taken && page->count) {
            page->next = change.revision;
            return 1;
        }
        taken = change.revision;
        history_change_pack(out, &change);
        page->count++;
    }
    page->next = record->last + 1;
    return rc ? rc : out->size >= query->bytes && page->count;
}

/* Stands the walk at the record that holds `from`, to go upwards. */
static int from_seek(merge_t *walk, uint64_t from, history_reader_t *record) {
    int rc = record_of(walk, from, record);
    return rc ? rc : oldest_read(walk, record->first, record);
}

static int records_take(merge_t *walk, const history_query_t *query, const history_source_t *source,
                        buffer_t *out, history_page_t *page) {
    history_reader_t record;
    size_t scanned = 0;
    int rc = from_seek(walk, query->from, &record);
    while (rc == 0) {
        slice_t payload = {NULL, 0};
        if (record.index)
            rc = source->entry(source->self, record.index, &payload);
        if (rc)
            return rc;
        history_payload(&record, payload);
        scanned += payload.size + record.rest.size;
        rc = record_take(&record, query, out, page);
        if (rc)
            return rc < 0 ? rc : 0;
        if (scanned >= query->scan_bytes)
            return 0;
        rc = merge_next(walk);
        if (rc == 0)
            rc = record_read(walk, &record);
    }
    return rc == DRAX_ENOTFOUND ? 0 : rc;
}

int state_history(state_t *self, const history_query_t *query, const history_source_t *source,
                  buffer_t *out, history_page_t *page) {
    *page = (history_page_t){.next = query->from};
    if (query->from > self->meta.revision)
        return 0;
    if (query->from < state_history_first(self))
        return DRAX_ECOMPACTED;
    merge_t walk;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    rc = records_take(&walk, query, source, out, page);
    merge_close(&walk);
    return rc == 0 && out->failed ? DRAX_ENOMEM : rc;
}
