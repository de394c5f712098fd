/* storage_home.c: what the home holds: it is opened, made, and told to raft.
 *
 * Owns: the order in which the home's parts come into being and are opened. Must not know: what
 * happens to them afterwards.
 *
 * Invariants
 *  1. A home counts once its file `identity` is there, the last thing that is made: before that,
 * all of it is made anew. A journal that was used is never thrown away.
 *  2. State and journal that do not fit each other are refused, but for what an installed snapshot
 *     explains.
 *  3. OPENED tells nothing that is not durable, and tells it whole or not at all.
 */
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

int storage_home_open(storage_actor_t *self, char *detail, size_t detail_size) {
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

int storage_format(storage_actor_t *self, const message_format_t *format) {
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
void storage_open_receive(storage_actor_t *self) {
    storage_writes_clear(self);
    self->seq_received = self->seq_durable = 0;
    self->leader = false;
    self->opened = self->formatted;
    self->opened_ms = self->now_ms;
    if (self->formatted) {
        int rc = journal_sync(self->journal);
        if (rc) {
            self->fatal = rc;
            return;
        }
    }
    storage_opened_send(self);
}
