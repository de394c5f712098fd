#include "actors/storage_actor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/storage_internal.h"

/* ---- opening what the home holds ---- */

static int detail_set(char *detail, size_t size, const char *what, int rc) {
    if (detail && size && !detail[0])
        snprintf(detail, size, "%s: %s", what, error_text(rc));
    return rc;
}

static int state_check(storage_actor_t *self, char *detail, size_t detail_size) {
    uint64_t applied = state_applied(self->state), term = state_applied_term(self->state);
    uint64_t last = journal_last_index(self->journal);
    bool follows = applied <= last && journal_term_at(self->journal, applied) == term;
    if (follows)
        return 0;
    if (applied == self->current.index && term == self->current.term) {
        /* A snapshot was installed, and the journal was not reset before a crash. */
        return journal_reset(self->journal, applied, term);
    }
    snprintf(detail, detail_size,
             "the journal ends at %llu (term %llu at the state's index) but the state is at %llu "
             "of term "
             "%llu: the journal has lost entries",
             (unsigned long long) last,
             (unsigned long long) journal_term_at(self->journal, applied),
             (unsigned long long) applied, (unsigned long long) term);
    return DRAX_ECORRUPT;
}

int storage_state_open(storage_actor_t *self, bool create, char *detail, size_t detail_size) {
    char path[LIMIT_PATH_BYTES];
    home_state_path(path, self->home, self->current.number);
    kv_t *kv = NULL;
    int rc = self->options.kv_open(self->options.kv_hint, &kv, path, create);
    if (rc)
        return detail_set(detail, detail_size, "cannot open the state", rc);
    rc = state_open(&self->state, &kv);
    if (rc)
        return detail_set(detail, detail_size, "cannot read the state", rc);
    state_history_keep(self->state, self->options.keep_bytes, self->options.keep_revisions);
    return 0;
}

/* What was known to be committed before this start counts at once; without the note the node serves
 * all the same. */
static void note_open(storage_actor_t *self) {
    char path[LIMIT_PATH_BYTES];
    home_commit_path(path, self->home);
    int rc = commit_note_open(&self->note, self->options.fs, path, journal_salt(self->journal));
    if (rc) {
        log_warning(self->log, "cannot keep the commit index in %s: %s", path, error_text(rc));
        return;
    }
    uint64_t noted = commit_note_index(self->note), last = journal_last_index(self->journal);
    self->settle_floor = noted < last ? noted : last;
    if (self->settle_floor > self->commit)
        self->commit = self->settle_floor;
}

struct stale_search {
    const storage_actor_t *self;
    char found[LIMIT_PATH_BYTES];
};

static int stale_visit(void *hint, const char *name) {
    struct stale_search *search = hint;
    unsigned long long number;
    char end;
    if (sscanf(name, "%8llu%c", &number, &end) != 1 || number == search->self->current.number)
        return 0;
    home_state_path(search->found, search->self->home, number);
    return 1;
}

/* Removes state directories that are not in force: staged or replaced before a crash. */
static int stale_states_remove(storage_actor_t *self) {
    const fs_t *fs = self->options.fs;
    char states[LIMIT_PATH_BYTES];
    home_states_path(states, self->home);
    for (;;) {
        struct stale_search search = {.self = self};
        int rc = fs->list(fs->self, states, stale_visit, &search);
        if (rc != 1)
            return rc;
        rc = fs->remove_tree(fs->self, search.found);
        if (rc)
            return rc;
    }
}

static int home_open(storage_actor_t *self, char *detail, size_t detail_size) {
    const fs_t *fs = self->options.fs;
    int rc = home_identity_load(fs, self->home, &self->identity);
    if (rc == DRAX_ENOTFOUND)
        return 0; /* a new home, or one whose making was cut short: FORMAT makes it */
    if (rc)
        return detail_set(detail, detail_size, "cannot read the file identity", rc);
    rc = home_current_load(fs, self->home, &self->current);
    if (rc)
        return detail_set(detail, detail_size, "cannot read the file state/CURRENT",
                          rc == DRAX_ENOTFOUND ? DRAX_ECORRUPT : rc);
    rc = stale_states_remove(self);
    if (rc)
        return detail_set(detail, detail_size, "cannot remove an old state", rc);
    char path[LIMIT_PATH_BYTES];
    home_journal_path(path, self->home);
    journal_options_t options = {.segment_bytes = self->options.segment_bytes,
                                 .salt = self->options.seed};
    rc = journal_open(&self->journal, fs, path, &options, detail, detail_size);
    if (rc)
        return detail_set(detail, detail_size, "cannot open the journal", rc);
    if (detail[0])
        log_warning(self->log, "journal repaired: %s", detail);
    detail[0] = '\0';
    rc = storage_state_open(self, false, detail, detail_size);
    if (rc == 0)
        rc = state_check(self, detail, detail_size);
    if (rc)
        return detail_set(detail, detail_size, "cannot open the home", rc);
    self->formatted = true;
    self->commit = state_applied(self->state);
    self->settle_index = journal_last_index(self->journal);
    self->settle_ms = UINT64_MAX; /* counted from the first turn */
    note_open(self);
    return 0;
}

/* ---- FORMAT: a new node ---- */

/* Nothing counts until `identity` is there, so a crash on the way is begun again. What is there
 * without an identity must be an unused beginning: a log with entries is never thrown away. */
static int leftovers_remove(storage_actor_t *self) {
    const fs_t *fs = self->options.fs;
    char path[LIMIT_PATH_BYTES], detail[256] = "";
    home_journal_path(path, self->home);
    int rc = fs->mkdir(fs->self, path);
    journal_t *journal = NULL;
    /* An empty one is made, only to be removed again. */
    const journal_options_t small = {.segment_bytes = 1};
    if (rc == 0)
        rc = journal_open(&journal, fs, path, &small, detail, sizeof detail);
    if (rc)
        return rc;
    bool used = journal_last_index(journal) != 0 || journal_term(journal) != 0;
    journal_close(&journal);
    if (used) {
        log_error(self->log, "the home holds a journal but the file identity is missing");
        return DRAX_ECORRUPT;
    }
    rc = fs->remove_tree(fs->self, path);
    home_states_path(path, self->home);
    return rc ? rc : fs->remove_tree(fs->self, path);
}

static int format(storage_actor_t *self, const message_format_t *format) {
    const fs_t *fs = self->options.fs;
    char path[LIMIT_PATH_BYTES], detail[256] = "";
    int rc = leftovers_remove(self);
    home_journal_path(path, self->home);
    if (rc == 0)
        rc = fs->mkdir(fs->self, path);
    journal_options_t options = {.segment_bytes = self->options.segment_bytes,
                                 .salt = self->options.seed};
    if (rc == 0)
        rc = journal_open(&self->journal, fs, path, &options, detail, sizeof detail);
    home_states_path(path, self->home);
    if (rc == 0)
        rc = fs->mkdir(fs->self, path);
    self->current = (home_current_t){.number = 1};
    if (rc == 0)
        rc = storage_state_open(self, true, detail, sizeof detail);
    if (rc == 0)
        rc = home_current_save(fs, self->home, &self->current);
    if (rc == 0)
        note_open(self);
    self->identity = (home_identity_t){format->cluster, format->node, format->hint};
    if (rc == 0)
        rc = home_identity_save(fs, self->home, &self->identity);
    if (rc) {
        log_error(self->log, "cannot format the home: %s %s", error_text(rc), detail);
        return rc;
    }
    self->formatted = true;
    log_info(self->log, "home formatted cluster=%llu node=%llu",
             (unsigned long long) format->cluster, (unsigned long long) format->node);
    return 0;
}

/* ---- OPEN ---- */

static size_t configs_gather(storage_actor_t *self, config_t **out) {
    uint64_t last = journal_last_index(self->journal);
    size_t count = 0;
    config_t *configs = calloc(1, sizeof *configs);
    if (!configs)
        self->fatal = DRAX_ENOMEM;
    if (configs && state_config(self->state)->count)
        configs[count++] = *state_config(self->state);
    for (uint64_t at = state_applied(self->state) + 1; configs && at <= last;) {
        entries_t entries = {0};
        int rc = journal_read(self->journal, at, STORAGE_APPLY_BYTES, &entries);
        if (rc)
            self->fatal = rc;
        for (size_t i = 0; i < entries.count && configs; i++) {
            if (entries.items[i].kind != ENTRY_CONFIG)
                continue;
            config_t *grown = realloc(configs, (count + 1) * sizeof *configs);
            if (!grown)
                self->fatal = DRAX_ENOMEM;
            else
                grown[count++] = *entries.items[i].config;
            configs = grown ? grown : configs;
        }
        at += entries.count;
        entries_clear(&entries);
        if (self->fatal)
            break;
    }
    *out = configs;
    return count;
}

static uint64_t known_committed(const storage_actor_t *self) {
    uint64_t last = journal_last_index(self->journal);
    return self->commit < last ? self->commit : last;
}

/* What cannot be told whole is not told: raft takes it for all there is. */
void storage_opened_send(storage_actor_t *self) {
    message_t out = {.kind = MESSAGE_OPENED};
    message_opened_t *opened = &out.opened;
    opened->formatted = self->formatted;
    if (self->formatted) {
        size_t run_count;
        const term_run_t *runs = journal_runs(self->journal, &run_count);
        opened->cluster = self->identity.cluster;
        opened->node = self->identity.node;
        opened->hint = self->identity.hint;
        opened->term = journal_term(self->journal);
        opened->vote = journal_vote(self->journal);
        opened->first_index = journal_first_index(self->journal);
        opened->last_index = journal_last_index(self->journal);
        opened->commit = known_committed(self);
        uint64_t stamped = journal_time_ms(self->journal);
        opened->time_ms =
            stamped > state_time_ms(self->state) ? stamped : state_time_ms(self->state);
        opened->no_space = storage_no_space(self);
        opened->gateway_boot = state_gateway_boot(self->state, self->identity.node);
        opened->runs = malloc(run_count * sizeof *opened->runs);
        if (opened->runs) {
            memcpy(opened->runs, runs, run_count * sizeof *runs);
            opened->run_count = run_count;
        } else {
            self->fatal = DRAX_ENOMEM;
        }
        opened->config_count = configs_gather(self, &opened->configs);
    }
    if (self->fatal)
        message_clear(&out);
    else
        self->post->local(self->post->self, ACTOR_RAFT, &out);
}

/* Writes that an earlier life of raft sent but that were not synced are forgotten by it as well;
 * what was appended is made durable first, so that OPENED tells nothing that a crash could take
 * back. */
static void open_receive(storage_actor_t *self) {
    storage_writes_clear(self);
    self->seq_received = self->seq_durable = 0;
    self->leader = false;
    self->opened = self->formatted;
    if (self->formatted) {
        int rc = journal_sync(self->journal);
        if (rc) {
            self->fatal = rc;
            return;
        }
    }
    storage_opened_send(self);
}

/* ---- messages and turns ---- */

static void storage_receive(void *hint, message_t *message, uint64_t now_ms) {
    storage_actor_t *self = hint;
    self->now_ms = now_ms;
    switch (message->kind) {
    case MESSAGE_OPEN:
        open_receive(self);
        break;
    case MESSAGE_FORMAT:
        if (!self->formatted)
            self->fatal = format(self, &message->format);
        break;
    case MESSAGE_WRITE:
        storage_write_receive(self, message);
        break;
    case MESSAGE_FETCH:
        storage_fetch(self, message);
        break;
    case MESSAGE_READ_READY:
        storage_read_ready(self, message);
        break;
    case MESSAGE_CLOCK:
        self->clock_ms = message->clock.time_ms;
        self->clock_at_ms = now_ms;
        self->leader = message->clock.leader;
        break;
    case MESSAGE_QUERY:
        storage_query_receive(self, message, now_ms);
        break;
    case MESSAGE_SUBSCRIBE:
        storage_subscribe(self, message->subscribe.on);
        break;
    case MESSAGE_HISTORY:
        storage_history_receive(self, message);
        break;
    case MESSAGE_SNAPSHOT_FETCH:
        storage_snapshot_fetch(self, message, now_ms);
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        storage_snapshot_chunk(self, message);
        break;
    default:
        log_warning(self->log, "unexpected message kind=%s", message_kind_name(message->kind));
    }
    message_clear(message);
}

static void storage_neighbour(void *hint, actor_t neighbour, uint64_t now_ms) {
    storage_actor_t *self = hint;
    if (neighbour == ACTOR_RAFT) {
        self->opened = false;
        self->leader = false;
        storage_writes_clear(self);
    } else if (neighbour == ACTOR_GATEWAY) {
        storage_queries_clear(self);
        storage_watch_clear(self);
        self->status_ms = now_ms;
        self->status_applied = UINT64_MAX; /* tell it at once */
    }
}

bool storage_settled(const storage_actor_t *self) {
    return !self->settle_ms;
}

static void settle_turn(storage_actor_t *self, uint64_t now_ms) {
    if (!self->settle_ms)
        return;
    if (self->settle_ms == UINT64_MAX)
        self->settle_ms = now_ms + STORAGE_SETTLE_MS;
    uint64_t last =
        journal_last_index(self->journal); /* a new leader may have cut the journal's end */
    uint64_t wanted = self->settle_index < last ? self->settle_index : last;
    uint64_t applied = state_applied(self->state);
    if (applied >= wanted || (applied >= self->settle_floor && now_ms >= self->settle_ms))
        self->settle_ms = 0;
}

static bool status_news(const storage_actor_t *self) {
    uint64_t applied = self->state ? state_applied(self->state) : 0;
    uint64_t first = self->state ? state_history_first(self->state) : 1;
    return self->status_applied != applied || self->status_first != first;
}

static void status_turn(storage_actor_t *self, uint64_t now_ms) {
    if (now_ms < self->status_ms || !storage_settled(self) || !status_news(self))
        return;
    self->status_ms = now_ms + STORAGE_STATUS_MS;
    self->status_applied = self->state ? state_applied(self->state) : 0;
    self->status_first = self->state ? state_history_first(self->state) : 1;
    message_t message = {.kind = MESSAGE_STORE_STATUS};
    storage_batch_stamp(self, &message);
    message.batch.seq = self->status_first;
    self->post->local(self->post->self, ACTOR_GATEWAY, &message);
}

static int turn(storage_actor_t *self, uint64_t now_ms) {
    self->now_ms = now_ms;
    self->busy = false;
    if (self->fatal)
        return self->fatal;
    int rc = storage_snapshot_turn(self, now_ms);
    if (rc == 0)
        rc = storage_write_turn(self, now_ms);
    if (rc == 0)
        rc = storage_apply_turn(self, now_ms);
    if (rc == 0)
        rc = storage_changes_turn(self);
    settle_turn(self, now_ms);
    if (rc == 0)
        rc = storage_query_turn(self, now_ms);
    if (rc == 0)
        rc = storage_history_turn(self, now_ms);
    if (rc == 0 && self->state)
        rc = storage_view_turn(self, now_ms);
    if (rc)
        return rc;
    storage_expire_turn(self, now_ms);
    storage_flush_turn(self, now_ms);
    storage_reserve_turn(self, now_ms);
    if (self->written_changed || (self->written_ms && now_ms >= self->written_ms))
        storage_written_send(self);
    status_turn(self, now_ms);
    return self->fatal;
}

static int storage_turn(void *hint, uint64_t now_ms) {
    storage_actor_t *self = hint;
    char detail[LIMIT_PATH_BYTES + 128] = "";
    int rc = turn(self, now_ms);
    if (rc == DRAX_ECORRUPT && self->state)
        state_detail(self->state, detail, sizeof detail);
    if (detail[0])
        log_error(self->log, "%s", detail);
    return rc;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t storage_deadline(const void *hint, uint64_t now_ms) {
    const storage_actor_t *self = hint;
    if (self->busy)
        return now_ms;
    uint64_t at = UINT64_MAX;
    if (self->dirty_ms && !self->flushing)
        at = earlier(at, self->flush_retry_ms ? self->flush_retry_ms
                                              : self->dirty_ms + self->options.flush_ms);
    if (self->write_blocked)
        at = earlier(at, self->retry_ms);
    if (self->written_ms)
        at = earlier(at, self->written_ms);
    if (self->settle_ms)
        at = earlier(at, self->settle_ms);
    else if (self->state && status_news(self))
        at = earlier(at, self->status_ms);
    if (self->opened && self->leader && self->state && state_has_expiries(self->state))
        at = earlier(at, now_ms + 50);
    if (self->reserve_retry_ms > now_ms)
        at = earlier(at, self->reserve_retry_ms);
    return at;
}

static void storage_stop(void *hint, uint64_t now_ms) {
    storage_actor_t *self = hint;
    (void) now_ms;
    self->stopping = true;
}

/* Stopped when all that was applied is flushed, so that the next start has nothing to replay; a
 * full disk does not hold it up, as the journal has everything. */
static bool storage_stopped(const void *hint) {
    const storage_actor_t *self = hint;
    bool clean = !self->dirty_ms && !self->flushing;
    return self->stopping && (clean || self->flush_no_space) && !self->reserve;
}

static bool storage_ready(const void *hint) {
    (void) hint;
    return true; /* made is opened */
}

const actor_ops_t storage_actor_ops = {
    .neighbour = storage_neighbour,
    .receive = storage_receive,
    .turn = storage_turn,
    .deadline = storage_deadline,
    .stop = storage_stop,
    .stopped = storage_stopped,
    .ready = storage_ready,
};

/* ---- life ---- */

static int leveldb_open(void *hint, kv_t **out, const char *directory, bool create) {
    (void) hint;
    return kv_leveldb_open(out, directory, create);
}

int storage_actor_new(storage_actor_t **out, const storage_options_t *options, char *detail,
                      size_t detail_size) {
    *out = NULL;
    detail[0] = '\0';
    storage_actor_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->options = *options;
    if (!self->options.kv_open)
        self->options.kv_open = leveldb_open;
    if (!self->options.keep_bytes)
        self->options.keep_bytes = JOURNAL_KEEP_BYTES;
    if (!self->options.keep_revisions)
        self->options.keep_revisions = JOURNAL_KEEP_REVISIONS;
    if (!self->options.chunk_bytes)
        self->options.chunk_bytes = SNAPSHOT_CHUNK_BYTES;
    if (!self->options.flush_ms)
        self->options.flush_ms = STATE_FLUSH_MS;
    self->post = options->post;
    self->log = options->log;
    snprintf(self->home, sizeof self->home, "%s", options->home);
    self->queries_last = &self->queries;
    self->watch.questions_last = &self->watch.questions;
    self->watch.waits_last = &self->watch.waits;
    self->watch.view_count = options->seed & (LIMIT_INTEGER >> 1); /* not those of another life */
    self->status_first = 1;
    int rc = worker_new(&self->flusher, options->workers);
    if (rc == 0)
        rc = worker_new(&self->reserver, options->workers);
    if (rc == 0)
        rc = home_open(self, detail, detail_size);
    if (rc) {
        storage_actor_destroy(&self);
        return rc;
    }
    *out = self;
    return 0;
}

void storage_actor_destroy(storage_actor_t **self_p) {
    storage_actor_t *self = *self_p;
    if (!self)
        return;
    worker_destroy(&self->flusher);
    worker_destroy(&self->reserver);
    if (self->state)
        storage_snapshots_clear(self);
    storage_writes_clear(self);
    storage_queries_clear(self);
    storage_watch_clear(self);
    tail_clear(&self->tail);
    state_close(&self->state);
    commit_note_close(&self->note);
    journal_close(&self->journal);
    buffer_free(&self->scratch);
    buffer_free(&self->outcome);
    free(self);
    *self_p = NULL;
}

worker_t *storage_actor_flusher(storage_actor_t *self) {
    return self->flusher;
}

worker_t *storage_actor_reserver(storage_actor_t *self) {
    return self->reserver;
}
