/* storage_write.c: what raft wants durable, in order, with one sync for all that came in a turn. */
#include <stdlib.h>
#include <string.h>

#include "actors/storage_internal.h"

/* ---- the tail: written, not yet applied ---- */

void tail_clear(tail_t *self) {
    for (size_t i = 0; i < self->count; i++)
        entry_clear(&self->items[(self->head + i) % self->capacity]);
    free(self->items);
    memset(self, 0, sizeof *self);
}

static void tail_truncate(tail_t *self, uint64_t from) {
    while (self->count) {
        entry_t *last = &self->items[(self->head + self->count - 1) % self->capacity];
        if (last->index < from)
            return;
        self->bytes -= entry_size(last);
        entry_clear(last);
        self->count--;
    }
}

static bool tail_grow(tail_t *self) {
    size_t capacity = self->capacity ? self->capacity * 2 : 64;
    entry_t *items = malloc(capacity * sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < self->count; i++)
        items[i] = self->items[(self->head + i) % self->capacity];
    free(self->items);
    self->items = items;
    self->capacity = capacity;
    self->head = 0;
    return true;
}

/* Takes the entry over when it continues the run and there is room; else it will be read back from
 * the journal when its turn comes. */
static void tail_push(tail_t *self, entry_t *entry) {
    if (self->count) {
        const entry_t *last = &self->items[(self->head + self->count - 1) % self->capacity];
        if (last->index + 1 != entry->index)
            return;
    }
    size_t size = entry_size(entry);
    if (self->bytes + size > STORAGE_TAIL_BYTES && self->count)
        return;
    if (self->count == self->capacity && !tail_grow(self))
        return;
    self->items[(self->head + self->count++) % self->capacity] = *entry;
    self->bytes += size;
    memset(entry, 0, sizeof *entry);
}

/* ---- the queue ---- */

void storage_writes_clear(storage_actor_t *self) {
    while (self->writes) {
        write_item_t *next = self->writes->next;
        message_clear(&self->writes->message);
        free(self->writes);
        self->writes = next;
    }
}

static void commit_raise(storage_actor_t *self, uint64_t commit) {
    if (commit > self->commit)
        self->commit = commit;
}

/* What it speaks of may still be in the queue, while the journal holds other entries at those
 * indexes. */
static void commit_receive(storage_actor_t *self, uint64_t commit) {
    if (!self->writes)
        commit_raise(self, commit);
    else if (commit > self->writes_newest->message.write.commit)
        self->writes_newest->message.write.commit = commit;
}

void storage_write_receive(storage_actor_t *self, message_t *message) {
    if (!self->opened)
        return;
    if (message->write.seq == 0) {
        commit_receive(self, message->write.commit);
        return;
    }
    write_item_t *item = message->write.seq == self->seq_received + 1 ? malloc(sizeof *item) : NULL;
    if (!item) {
        log_error(self->log,
                  "a write is missing or there is no memory for it seq=%llu received=%llu",
                  (unsigned long long) message->write.seq, (unsigned long long) self->seq_received);
        self->fatal = DRAX_EPROTO;
        return;
    }
    item->message = *message;
    item->next = NULL;
    memset(message, 0, sizeof *message);
    if (self->writes)
        self->writes_newest->next = item;
    else
        self->writes = item;
    self->writes_newest = item;
    self->seq_received++;
}

static int write_append(storage_actor_t *self, message_write_t *write) {
    entries_t *entries = &write->entries;
    uint64_t from = entries->count ? entries->items[0].index : 0;
    if (from && from <= state_applied(self->state)) {
        log_error(self->log, "raft wants applied entries gone from=%llu applied=%llu",
                  (unsigned long long) from, (unsigned long long) state_applied(self->state));
        return DRAX_EPROTO;
    }
    int rc = journal_append(self->journal, write->has_hard_state, write->term, write->vote,
                            entries->items, entries->count);
    if (rc)
        return rc;
    if (from)
        tail_truncate(&self->tail, from);
    for (size_t i = 0; i < entries->count; i++)
        tail_push(&self->tail, &entries->items[i]);
    return 0;
}

bool storage_no_space(const storage_actor_t *self) {
    return self->write_blocked || self->flush_no_space ||
           (self->journal && journal_no_space(self->journal));
}

void storage_written_send(storage_actor_t *self) {
    self->written_changed = false;
    self->written_ms = 0;
    if (!self->opened)
        return;
    message_t message = {.kind = MESSAGE_WRITTEN,
                         .written = {.seq = self->seq_durable,
                                     .first_index = journal_first_index(self->journal),
                                     .applied = state_applied(self->state),
                                     .no_space = storage_no_space(self),
                                     .ack = self->acked}};
    self->acked.to = 0;
    self->post->local(self->post->self, ACTOR_RAFT, &message);
}

/* ---- acknowledgements ---- */

/* One connection is enough: to whoever leads. */
static void leader_connect(storage_actor_t *self, uint64_t leader) {
    const config_t *config = state_config(self->state);
    if (self->connected == leader && self->connected_index == config->index)
        return;
    const member_t *member = config_member(config, leader);
    config_t members = {.count = member != NULL};
    if (member)
        members.members[0] = *member;
    self->post->peers(self->post->self, self->identity.node, &members, NULL);
    self->connected = leader;
    self->connected_index = config->index;
}

/* What was waited for is durable: the leader may know. Then raft need not hear of it at once; if
 * the leader cannot be told from here, raft does it. */
static void acknowledge(storage_actor_t *self, const message_ack_t *ack, uint64_t now_ms) {
    leader_connect(self, ack->to);
    message_t message = {.kind = MESSAGE_APPEND_RESULT,
                         .from_boot = ack->boot,
                         .cluster = self->identity.cluster,
                         .from = self->identity.node,
                         .to = ack->to,
                         .term = ack->term,
                         .append_result = {.index = ack->index}};
    if (!self->post->peer(self->post->self, &message)) {
        self->written_changed = true;
        return;
    }
    self->acked = *ack;
    if (!self->written_ms)
        self->written_ms = now_ms + STORAGE_WRITTEN_MS;
}

static void write_blocked_set(storage_actor_t *self, bool blocked) {
    if (self->write_blocked == blocked)
        return;
    self->write_blocked = blocked;
    self->written_changed = true;
    if (blocked)
        log_error(self->log, "no space left for the journal: writes wait");
    else
        log_info(self->log, "space for the journal again");
}

int storage_write_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->writes)
        write_blocked_set(self, false); /* what found no room was given up since */
    if (!self->opened || (self->write_blocked && now_ms < self->retry_ms))
        return 0;
    uint64_t appended = self->seq_durable;
    message_ack_t ack = {0};
    while (self->writes) {
        write_item_t *item = self->writes;
        int rc = write_append(self, &item->message.write);
        if (rc == DRAX_ENOSPC) {
            write_blocked_set(self, true);
            self->retry_ms = now_ms + STORAGE_RETRY_MS;
            break;
        }
        if (rc) {
            log_error(self->log, "journal append failed: %s", error_text(rc));
            return rc;
        }
        write_blocked_set(self, false);
        appended = item->message.write.seq;
        commit_raise(self, item->message.write.commit);
        self->written_changed |= item->message.write.has_hard_state; /* an answer may wait for it */
        if (item->message.write.ack.to || item->message.write.entries.count)
            ack = item->message.write.ack; /* what is replaced here is acknowledged no more */
        self->writes = item->next;
        message_clear(&item->message);
        free(item);
    }
    if (appended != self->seq_durable) {
        int rc = journal_sync(self->journal);
        if (rc) {
            log_error(self->log, "journal sync failed: %s", error_text(rc));
            return rc;
        }
        self->seq_durable = appended;
        if (ack.to)
            acknowledge(self, &ack, now_ms);
        else
            self->written_changed = true;
    }
    if (self->written_changed)
        storage_written_send(self);
    return 0;
}

/* ---- entries for a peer that is behind ---- */

void storage_fetch(storage_actor_t *self, const message_t *message) {
    if (!self->opened)
        return;
    message_t out = {.kind = MESSAGE_FETCHED,
                     .fetch = {.peer = message->fetch.peer,
                               .from = message->fetch.from,
                               .max_bytes = message->fetch.max_bytes}};
    out.fetch.code = journal_read(self->journal, message->fetch.from, message->fetch.max_bytes,
                                  &out.fetch.entries);
    while (out.fetch.entries.count > LIMIT_APPEND_ENTRIES) /* they will be one APPEND */
        entry_clear(&out.fetch.entries.items[--out.fetch.entries.count]);
    if (out.fetch.code == DRAX_ECORRUPT || out.fetch.code == DRAX_EIO) {
        log_error(self->log, "journal read failed from=%llu: %s",
                  (unsigned long long) message->fetch.from, error_text(out.fetch.code));
        self->fatal = out.fetch.code;
    }
    self->post->local(self->post->self, ACTOR_RAFT, &out);
}

/* ---- segments ahead ---- */

static void reserve_run(worker_job_t *job) {
    storage_actor_t *self =
        (storage_actor_t *) (void *) ((char *) job - offsetof(storage_actor_t, reserve_job));
    journal_reserve_run(self->reserve);
}

static void reserve_done(worker_job_t *job) {
    storage_actor_t *self =
        (storage_actor_t *) (void *) ((char *) job - offsetof(storage_actor_t, reserve_job));
    bool before = storage_no_space(self);
    int rc = journal_reserve_end(self->journal, &self->reserve);
    if (rc == DRAX_ENOSPC) {
        if (!before)
            log_error(self->log,
                      "no space left for the next journal segment: new writes are refused");
        self->reserve_retry_ms = self->now_ms + STORAGE_RETRY_MS;
    } else if (rc) {
        log_error(self->log, "cannot make the next journal segment: %s", error_text(rc));
        self->fatal = rc;
    }
    if (storage_no_space(self) != before)
        self->written_changed = true;
}

void storage_reserve_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->journal || self->reserve || now_ms < self->reserve_retry_ms)
        return;
    self->reserve = journal_reserve_begin(self->journal);
    if (!self->reserve)
        return;
    self->reserve_job = (worker_job_t){.run = reserve_run, .done = reserve_done};
    worker_submit(self->reserver, &self->reserve_job);
}

/* ---- compaction ---- */

/* The greatest index with at least `keep_bytes` of entries from it on; 0: none. */
static uint64_t index_by_bytes(const storage_actor_t *self, uint64_t low, uint64_t high) {
    uint64_t found = 0;
    while (low <= high && low) {
        uint64_t middle = low + (high - low) / 2;
        if (journal_bytes_from(self->journal, middle) >= self->options.keep_bytes) {
            found = middle;
            low = middle + 1;
        } else {
            high = middle - 1;
        }
    }
    return found;
}

/* A log that is far longer than it has to be for anything but history (much was logged that changed
 * nothing) is let go: what history needs of it is copied, a part with each flush. */
int storage_history_settle(storage_actor_t *self) {
    uint64_t first = journal_first_index(self->journal);
    if (journal_bytes_from(self->journal, first) < 2 * self->options.keep_bytes)
        return 0;
    uint64_t oldest = index_by_bytes(self, first, state_flushed(self->state));
    history_source_t source = {self, storage_entry_find};
    return oldest ? state_history_settle(self->state, oldest - 1, STORAGE_SETTLE_BYTES, &source)
                  : 0;
}

/* The log reaches back `keep_revisions` or `keep_bytes`, whichever is less, and as far as history
 * needs it; nothing goes that is not in the flushed state, or that a snapshot under way needs to be
 * followed by. */
int storage_compact(storage_actor_t *self) {
    uint64_t first = journal_first_index(self->journal);
    uint64_t flushed = state_flushed(self->state);
    uint64_t revision = state_revision(self->state);
    uint64_t oldest = index_by_bytes(self, first, flushed); /* stays */
    uint64_t upto = oldest ? oldest - 1 : 0;
    uint64_t keep = self->options.keep_revisions;
    if (revision > keep) {
        uint64_t index = state_index_of_revision(self->state, revision - keep);
        upto = index > upto ? index : upto;
    }
    uint64_t pin = storage_snapshot_pin(self);
    uint64_t history = state_history_index(self->state) - 1;
    upto = upto > history ? history : upto;
    upto = upto > flushed ? flushed : upto;
    upto = upto > pin ? pin : upto;
    if (upto < first)
        return 0;
    int rc = journal_compact(self->journal, upto);
    if (rc)
        log_error(self->log, "journal compaction failed: %s", error_text(rc));
    if (journal_first_index(self->journal) != first) {
        log_debug(self->log, "journal compacted first_index=%llu",
                  (unsigned long long) journal_first_index(self->journal));
        self->written_changed = true;
    }
    return rc;
}
