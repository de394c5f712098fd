/* storage_apply.c: committed entries into the state; what follows from them. */
#include <stdlib.h>
#include <string.h>

#include "actors/storage_internal.h"

/* ---- apply ---- */

/* Results of an earlier life of the gateway are told too (a replay); it knows its own by their
 * boot. */
static bool from_own_gateway(const storage_actor_t *self, const state_applied_t *applied) {
    return applied->node == self->identity.node && applied->boot != 0;
}

static int result_send(storage_actor_t *self, const state_applied_t *applied) {
    message_t message = {.kind = applied->skipped ? MESSAGE_SKIPPED : MESSAGE_RESULT};
    storage_batch_stamp(self, &message);
    message.batch.boot = applied->skipped ? applied->last_boot : applied->boot;
    message.batch.seq = applied->skipped ? applied->last_seq : applied->seq;
    if (!applied->skipped) {
        message.batch.payload = payload_copy(applied->results->data, applied->results->size);
        if (!message.batch.payload)
            return DRAX_ENOMEM;
    }
    self->post->local(self->post->self, ACTOR_GATEWAY, &message);
    return 0;
}

/* To the gateway of this node, whichever of them it has. */
static int settled_send(storage_actor_t *self, const state_applied_t *applied) {
    buffer_t batch = {0};
    batch_begin(&batch, applied->settled_count);
    buffer_append(&batch, applied->settled->data, applied->settled->size);
    message_t message = {.kind = MESSAGE_SETTLED};
    storage_batch_stamp(self, &message);
    message.batch.payload = buffer_take(&batch);
    buffer_free(&batch);
    if (!message.batch.payload)
        return DRAX_ENOMEM;
    self->post->local(self->post->self, ACTOR_GATEWAY, &message);
    return 0;
}

static int entry_apply(storage_actor_t *self, const entry_t *entry, uint64_t now_ms) {
    state_applied_t applied;
    int rc = state_apply(self->state, entry, &applied);
    if (rc) {
        log_error(self->log, "apply failed index=%llu: %s", (unsigned long long) entry->index,
                  error_text(rc));
        return rc;
    }
    if (!self->dirty_ms)
        storage_dirty(self, now_ms);
    if (applied.changed) {
        rc = storage_changed(self, entry);
        if (rc)
            return rc;
    }
    if (entry->kind != ENTRY_BLOCK)
        return 0;
    if (applied.node == 0)
        self->proposing = false;
    if (from_own_gateway(self, &applied))
        rc = result_send(self, &applied);
    if (rc == 0 && applied.settled_count)
        rc = settled_send(self, &applied);
    return rc;
}

/* From the journal, for what is not in the tail (after a restart, or a tail that was full). */
static int apply_from_journal(storage_actor_t *self, uint64_t upto, size_t *budget,
                              uint64_t now_ms) {
    entries_t entries = {0};
    int rc = journal_read(self->journal, state_applied(self->state) + 1, STORAGE_APPLY_BYTES / 2,
                          &entries);
    if (rc)
        log_error(self->log, "journal read failed while applying: %s", error_text(rc));
    for (size_t i = 0; i < entries.count && rc == 0; i++) {
        if (entries.items[i].index > upto)
            break;
        size_t size = entry_size(&entries.items[i]);
        *budget -= size < *budget ? size : *budget;
        rc = entry_apply(self, &entries.items[i], now_ms);
    }
    entries_clear(&entries);
    return rc;
}

static int apply_from_tail(storage_actor_t *self, uint64_t upto, size_t *budget, uint64_t now_ms) {
    tail_t *tail = &self->tail;
    for (size_t done = 0; tail->count && *budget && done < STORAGE_APPLY_ENTRIES; done++) {
        entry_t *entry = &tail->items[tail->head];
        if (entry->index != state_applied(self->state) + 1 || entry->index > upto)
            break;
        size_t size = entry_size(entry);
        int rc = entry_apply(self, entry, now_ms);
        tail->bytes -= size;
        *budget -= size < *budget ? size : *budget;
        entry_clear(entry);
        tail->head = (tail->head + 1) % tail->capacity;
        tail->count--;
        if (rc)
            return rc;
    }
    return 0;
}

static void tail_drop_applied(storage_actor_t *self) {
    tail_t *tail = &self->tail;
    while (tail->count && tail->items[tail->head].index <= state_applied(self->state)) {
        tail->bytes -= entry_size(&tail->items[tail->head]);
        entry_clear(&tail->items[tail->head]);
        tail->head = (tail->head + 1) % tail->capacity;
        tail->count--;
    }
}

/* Where storage starts, raft may come before the gateway does, and what is applied meanwhile is the
 * answer that the gateway's clients wait for: nobody could tell it again. */
uint64_t storage_gateway_awaited_ms(const storage_actor_t *self, uint64_t now_ms) {
    uint64_t until_ms = self->opened_ms + STORAGE_GATEWAY_MS;
    bool awaited =
        self->opened && !self->post->boot(self->post->self, ACTOR_GATEWAY) && now_ms < until_ms;
    return awaited ? until_ms : 0;
}

int storage_apply_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->opened || self->install_due || storage_gateway_awaited_ms(self, now_ms))
        return 0;
    uint64_t last = journal_last_index(self->journal);
    uint64_t upto = self->commit < last ? self->commit : last;
    size_t budget = STORAGE_APPLY_BYTES;
    if (self->note)
        commit_note_put(self->note, upto); /* before anybody can see what it comes to */
    while (budget && state_applied(self->state) < upto) {
        /* The overlay is bounded: apply waits for the flush when it cannot keep up. */
        if (self->flushing && state_overlay_bytes(self->state) > STATE_OVERLAY_MAX_BYTES)
            return 0;
        uint64_t before = state_applied(self->state);
        tail_drop_applied(self);
        bool in_tail = self->tail.count && self->tail.items[self->tail.head].index == before + 1;
        int rc = in_tail ? apply_from_tail(self, upto, &budget, now_ms)
                         : apply_from_journal(self, upto, &budget, now_ms);
        if (rc)
            return rc;
        if (state_applied(self->state) == before)
            break;
        if (in_tail)
            break; /* one portion a turn */
    }
    if (state_applied(self->state) < upto)
        self->busy = true;
    return 0;
}

/* ---- time ---- */

uint64_t storage_time_ms(const storage_actor_t *self, uint64_t now_ms) {
    uint64_t stamped = self->state ? state_time_ms(self->state) : 0;
    uint64_t told = self->clock_at_ms ? self->clock_ms + (now_ms - self->clock_at_ms) : 0;
    return told > stamped ? told : stamped;
}

static void block_propose(storage_actor_t *self, uint64_t now_ms) {
    message_t message = {.kind = MESSAGE_PROPOSE};
    message.propose.payload = buffer_take(&self->scratch);
    if (!message.propose.payload)
        return; /* tried again when it is still due */
    self->proposing = true;
    self->proposed_ms = now_ms;
    self->post->local(self->post->self, ACTOR_RAFT, &message);
}

void storage_expire_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->opened || !self->leader || !self->clock_at_ms || !state_has_expiries(self->state))
        return;
    if (self->proposing && now_ms < self->proposed_ms + STORAGE_EXPIRE_RETRY_MS)
        return;
    uint64_t time_ms = storage_time_ms(self, now_ms);
    uint64_t due_ms = 0;
    size_t count = 0;
    buffer_reset(&self->scratch);
    int rc = state_next_expiry(self->state, &due_ms);
    if (rc == 0 && due_ms && due_ms + EXPIRY_SLACK_MS <= time_ms)
        rc = state_expire_block(self->state, time_ms - EXPIRY_SLACK_MS, &self->scratch, &count);
    else if (rc == 0 && time_ms >= state_time_ms(self->state) + STORAGE_CLOCK_MS) {
        /* Nothing was logged for a while: a stamp, or a restart would lose the time that passed. */
        rc = state_clock_block(self->state, &self->scratch);
        count = 1;
    }
    if (rc) {
        log_error(self->log, "cannot read expiries: %s", error_text(rc));
        self->fatal = rc;
        return;
    }
    if (count)
        block_propose(self, now_ms);
}

/* ---- flush ---- */

static storage_actor_t *flush_job_owner(worker_job_t *job) {
    return (storage_actor_t *) (void *) ((char *) job - offsetof(storage_actor_t, flush_job));
}

static void flush_run(worker_job_t *job) {
    storage_actor_t *self = flush_job_owner(job);
    self->flush_code = state_flush_write(self->state);
}

static void flush_done(worker_job_t *job) {
    storage_actor_t *self = flush_job_owner(job);
    self->flushing = false;
    int rc = state_thaw(self->state, self->flush_code);
    bool full = self->flush_code == DRAX_ENOSPC;
    if (full != self->flush_no_space) {
        self->flush_no_space = full;
        self->written_changed = true;
        if (full)
            log_error(self->log, "no space left for the state: new writes are refused");
        else
            log_info(self->log, "space for the state again");
    }
    if (self->flush_code == DRAX_EAGAIN)
        storage_sessions_close(self); /* LevelDB has to be opened again, and they hold it open */
    if (full && journal_used_release(self->journal) != 0)
        self->fatal = DRAX_EIO;
    if (full || self->flush_code == DRAX_EAGAIN) {
        self->flush_retry_ms = self->now_ms + STORAGE_RETRY_MS;
        self->dirty_ms = self->dirty_ms ? self->dirty_ms : self->now_ms; /* what did not get out */
    } else if (rc || self->flush_code) {
        log_error(self->log, "flush failed: %s",
                  error_text(self->flush_code ? self->flush_code : rc));
        self->fatal = self->flush_code ? self->flush_code : rc;
    } else {
        self->flush_retry_ms = 0;
        self->release_ms = self->now_ms + STATE_RELEASE_MS;
        /* After a failure the flush was of an older overlay: what came since is still to go. */
        if (!self->dirty_ms && state_flushed(self->state) < state_applied(self->state))
            self->dirty_ms = self->now_ms;
        if (storage_compact(self) != 0)
            self->fatal = DRAX_EIO;
    }
}

/* After a flush that found the disk full, the next try opens LevelDB again, which itself needs
 * room: a try that failed there would leave nothing to read from. */
static bool flush_has_room(storage_actor_t *self, uint64_t now_ms) {
    if (!self->flush_no_space)
        return true;
    uint64_t room = 0;
    const fs_t *fs = self->options.fs;
    int rc = fs->space(fs->self, self->home, &room);
    uint64_t wanted = STORAGE_ROOM_BYTES + 2 * (uint64_t) state_overlay_bytes(self->state);
    if (rc == 0 && room >= wanted)
        return true;
    self->flush_retry_ms = now_ms + STORAGE_RETRY_MS;
    return false;
}

size_t storage_flush_bytes(uint64_t keys) {
    uint64_t bytes = keys > STATE_FEW_KEYS ? keys * STATE_FLUSH_BYTES_A_KEY : STATE_FLUSH_BYTES;
    return bytes < STATE_FLUSH_MOST_BYTES ? (size_t) bytes : STATE_FLUSH_MOST_BYTES;
}

/* How much of a flush's usual size, and so of its time, the next one takes: of one after a pause as
 * many parts as its place among the members says, so that nodes flush one after the other. */
static uint64_t flush_part(const storage_actor_t *self, uint64_t whole) {
    const config_t *config = state_config(self->state);
    uint64_t place = 1;
    if (!self->flush_first || !config_member(config, self->identity.node))
        return whole;
    for (size_t i = 0; i < config->count; i++)
        place += config->members[i].id < self->identity.node;
    return whole * place / config->count;
}

static size_t flush_bytes(const storage_actor_t *self) {
    return (size_t) flush_part(self, storage_flush_bytes(state_keys(self->state)));
}

uint64_t storage_flush_ms(const storage_actor_t *self) {
    if (self->flush_retry_ms)
        return self->flush_retry_ms;
    return self->dirty_ms + self->options.flush_ms * flush_bytes(self) / STATE_FLUSH_BYTES;
}

void storage_dirty(storage_actor_t *self, uint64_t now_ms) {
    self->dirty_ms = now_ms;
    self->flush_first = now_ms >= self->frozen_ms + self->options.flush_ms;
}

static void release_run(worker_job_t *job) {
    state_release(flush_job_owner(job)->state);
}

static void release_done(worker_job_t *job) {
    flush_job_owner(job)->flushing = false;
}

/* In place of a flush: nothing has to be flushed yet. */
static void release_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->release_ms || now_ms < self->release_ms)
        return;
    self->release_ms = 0;
    self->flushing = true;
    self->flush_job = (worker_job_t){.run = release_run, .done = release_done};
    worker_submit(self->flusher, &self->flush_job);
}

void storage_flush_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->state || self->flushing || self->install_due || now_ms < self->flush_retry_ms)
        return;
    bool due = self->dirty_ms && (self->flush_retry_ms || now_ms >= storage_flush_ms(self) ||
                                  state_overlay_bytes(self->state) >= flush_bytes(self) ||
                                  storage_view_wants_flush(self) || self->stopping);
    if (!due) {
        if (state_release_due(self->state))
            self->release_ms = now_ms;
        release_turn(self, now_ms);
        return;
    }
    if (!flush_has_room(self, now_ms))
        return;
    int rc = storage_history_settle(self);
    if (rc == 0)
        rc = state_freeze(self->state);
    self->dirty_ms = 0;
    if (rc == DRAX_EAGAIN)
        return;
    if (rc) {
        self->fatal = rc;
        return;
    }
    self->flushing = true;
    self->frozen_ms = now_ms;
    self->release_ms = 0;
    self->flush_job = (worker_job_t){.run = flush_run, .done = flush_done};
    worker_submit(self->flusher, &self->flush_job);
}
