/* storage_snapshot.c: snapshots, pulled chunk by chunk through the raft actors of two nodes.
 *
 * Sending: a session is a view of the flushed state; it pins the journal behind it until it is
 * complete or has been idle for SNAPSHOT_IDLE_MS. Receiving: chunks are staged by the flusher's
 * thread into a state directory of their own. After the last one the new state takes the old one's
 * place: CURRENT is replaced (the moment of truth), the journal begins anew after the snapshot, and
 * raft starts over from there (OPEN).
 */
#include <stdlib.h>
#include <string.h>

#include "actors/storage_internal.h"

/* ---- sending ---- */

/* History in a snapshot may name any entry that the journal had when it was opened. */
uint64_t storage_snapshot_pin(const storage_actor_t *self) {
    uint64_t pin = UINT64_MAX;
    for (size_t i = 0; i < SNAPSHOT_SESSIONS; i++) {
        const snapshot_session_t *session = &self->sessions[i];
        if (session->id && session->pin < pin)
            pin = session->pin;
    }
    return pin;
}

static void session_close(storage_actor_t *self, snapshot_session_t *session) {
    state_snapshot_close(self->state, &session->snapshot);
    memset(session, 0, sizeof *session);
}

static snapshot_session_t *session_find(storage_actor_t *self, uint64_t id, uint64_t peer) {
    for (size_t i = 0; i < SNAPSHOT_SESSIONS; i++)
        if (self->sessions[i].id == id && self->sessions[i].peer == peer)
            return &self->sessions[i];
    return NULL;
}

/* Where a new session for `peer` goes: the place of its earlier one, a free one (never used, so
 * idle longest), or that of the one idle longest. */
static snapshot_session_t *session_place(storage_actor_t *self, uint64_t peer) {
    snapshot_session_t *place = &self->sessions[0];
    for (size_t i = 0; i < SNAPSHOT_SESSIONS; i++) {
        snapshot_session_t *session = &self->sessions[i];
        if (session->id && session->peer == peer)
            return session;
        if (session->used_ms < place->used_ms)
            place = session;
    }
    return place;
}

static int session_open(storage_actor_t *self, uint64_t peer, snapshot_session_t **out) {
    if (state_flushed(self->state) == 0)
        return DRAX_EAGAIN;
    snapshot_session_t *session = session_place(self, peer);
    if (session->id)
        session_close(self, session);
    history_source_t source = {self, storage_entry_find};
    int rc = state_snapshot_open(self->state, &session->snapshot);
    if (rc)
        return rc;
    state_snapshot_history(session->snapshot, &source);
    session->id = (self->options.seed + ++self->session_count) & LIMIT_INTEGER;
    session->id += !session->id;
    session->peer = peer;
    session->pin = journal_first_index(self->journal) - 1;
    *out = session;
    return 0;
}

int storage_snapshot_read(storage_actor_t *self, message_snapshot_t *out,
                          const message_snapshot_t *wanted, uint64_t now_ms) {
    snapshot_session_t *session = NULL;
    if (wanted->session == 0) {
        int rc = session_open(self, wanted->peer, &session);
        if (rc)
            return rc;
        log_info(self->log, "sending a snapshot to=%s peer=%llu index=%llu",
                 wanted->peer ? "peer" : "client", (unsigned long long) wanted->peer,
                 (unsigned long long) state_snapshot_index(session->snapshot));
    } else {
        session = session_find(self, wanted->session, wanted->peer);
        if (!session)
            return DRAX_ENOTFOUND;
    }
    session->used_ms = now_ms;
    out->session = session->id;
    out->index = state_snapshot_index(session->snapshot);
    out->snapshot_term = state_snapshot_term(session->snapshot);
    out->time_ms = state_snapshot_time_ms(session->snapshot);
    out->config = *state_snapshot_config(session->snapshot);
    return state_snapshot_read(session->snapshot, wanted->chunk, self->options.chunk_bytes,
                               &out->payload, &out->last);
}

uint64_t storage_snapshot_revision(const storage_actor_t *self, uint64_t session) {
    for (size_t i = 0; i < SNAPSHOT_SESSIONS; i++)
        if (session && self->sessions[i].id == session)
            return state_snapshot_revision(self->sessions[i].snapshot);
    return 0;
}

void storage_snapshot_fetch(storage_actor_t *self, const message_t *message, uint64_t now_ms) {
    if (!self->opened)
        return;
    message_t out = {.kind = MESSAGE_SNAPSHOT_CHUNK};
    out.snapshot.peer = message->snapshot.peer;
    out.snapshot.chunk = message->snapshot.chunk;
    out.snapshot.code = storage_snapshot_read(self, &out.snapshot, &message->snapshot, now_ms);
    if (out.snapshot.code == DRAX_EIO || out.snapshot.code == DRAX_ECORRUPT)
        self->fatal = out.snapshot.code;
    if (out.snapshot.code) {
        out.snapshot.session = message->snapshot.session;
        log_warning(self->log, "no snapshot chunk for peer=%llu chunk=%llu: %s",
                    (unsigned long long) message->snapshot.peer,
                    (unsigned long long) message->snapshot.chunk, error_text(out.snapshot.code));
    }
    self->post->local(self->post->self, ACTOR_RAFT, &out);
}

void storage_sessions_close(storage_actor_t *self) {
    for (size_t i = 0; i < SNAPSHOT_SESSIONS; i++)
        if (self->sessions[i].id)
            session_close(self, &self->sessions[i]);
    storage_views_close(self);
}

/* ---- receiving ---- */

static void staged_send(storage_actor_t *self, uint64_t session, uint64_t chunk, bool last,
                        int code) {
    message_t out = {.kind = MESSAGE_SNAPSHOT_STAGED};
    out.snapshot.session = session;
    out.snapshot.chunk = chunk;
    out.snapshot.last = last;
    out.snapshot.code = code;
    self->post->local(self->post->self, ACTOR_RAFT, &out);
}

static void staging_drop(storage_actor_t *self) {
    staging_t *staging = &self->staging;
    if (!staging->active || staging->busy)
        return;
    if (staging->state)
        state_staging_abort(&staging->state, &staging->kv);
    kv_close(&staging->kv);
    char path[LIMIT_PATH_BYTES];
    home_state_path(path, self->home, staging->number);
    (void) self->options.fs->remove_tree(self->options.fs->self,
                                         path); /* again at the next start */
    message_clear(&staging->chunk);
    memset(staging, 0, sizeof *staging);
}

static int staging_begin(storage_actor_t *self, uint64_t session) {
    staging_drop(self);
    staging_t *staging = &self->staging;
    char path[LIMIT_PATH_BYTES];
    uint64_t number = self->current.number + 1;
    home_state_path(path, self->home, number);
    int rc = self->options.fs->remove_tree(self->options.fs->self, path);
    kv_t *kv = NULL;
    if (rc == 0)
        rc = self->options.kv_open(self->options.kv_hint, &kv, path, true);
    if (rc == 0)
        rc = state_staging_open(&staging->state, &kv);
    if (rc) {
        kv_close(&kv);
        return rc;
    }
    staging->active = true;
    staging->session = session;
    staging->number = number;
    return 0;
}

static void stage_run(worker_job_t *job) {
    staging_t *staging = (staging_t *) (void *) ((char *) job - offsetof(staging_t, job));
    message_snapshot_t *chunk = &staging->chunk.snapshot;
    staging->code =
        state_staging_add(staging->state, chunk->chunk, payload_slice(chunk->payload), chunk->last);
    if (staging->code == 0 && chunk->last)
        staging->code = state_staging_finish(&staging->state, &staging->kv);
}

static void stage_done(worker_job_t *job) {
    staging_t *staging = (staging_t *) (void *) ((char *) job - offsetof(staging_t, job));
    storage_actor_t *self =
        (storage_actor_t *) (void *) ((char *) staging - offsetof(storage_actor_t, staging));
    staging->busy = false;
    uint64_t chunk = staging->chunk.snapshot.chunk;
    if (staging->code) {
        log_error(self->log, "snapshot refused chunk=%llu: %s", (unsigned long long) chunk,
                  error_text(staging->code));
        staged_send(self, staging->session, chunk, false, staging->code);
        staging_drop(self);
        return;
    }
    staging->next_chunk = chunk + 1;
    if (staging->chunk.snapshot.last)
        self->install_due = true; /* done in the turn, when no flush is under way */
    else {
        staged_send(self, staging->session, chunk, false, 0);
        message_clear(&staging->chunk);
    }
}

/* Is the snapshot of no use: applied already, or in the log, whose later entries it would take
 * away? */
static bool superseded(const storage_actor_t *self, const message_snapshot_t *snapshot) {
    return snapshot->index <= state_applied(self->state) ||
           (snapshot->index <= journal_last_index(self->journal) &&
            journal_term_at(self->journal, snapshot->index) == snapshot->snapshot_term);
}

void storage_snapshot_chunk(storage_actor_t *self, message_t *message) {
    staging_t *staging = &self->staging;
    const message_snapshot_t *chunk = &message->snapshot;
    if (!self->opened || staging->busy || self->install_due)
        return; /* raft asks again */
    if (superseded(self, chunk)) {
        staged_send(self, chunk->session, chunk->chunk, false, DRAX_EEXIST);
        return;
    }
    int rc = 0;
    if (chunk->chunk == 0 && (!staging->active || staging->session != chunk->session))
        rc = staging_begin(self, chunk->session);
    if (rc) {
        log_error(self->log, "cannot stage a snapshot: %s", error_text(rc));
        staged_send(self, chunk->session, chunk->chunk, false, rc);
        return;
    }
    if (!staging->active || staging->session != chunk->session ||
        chunk->chunk > staging->next_chunk) {
        staged_send(self, chunk->session, chunk->chunk, false, DRAX_EINVAL);
        return;
    }
    if (chunk->chunk < staging->next_chunk) { /* asked for twice; it is here */
        staged_send(self, chunk->session, chunk->chunk, false, 0);
        return;
    }
    staging->chunk = *message;
    memset(message, 0, sizeof *message);
    staging->busy = true;
    staging->job = (worker_job_t){.run = stage_run, .done = stage_done};
    worker_submit(self->flusher, &staging->job);
}

/* The new state takes the old one's place. A crash before CURRENT is replaced leaves the old state,
 * one after it is finished by the next start (storage_home.c). */
static int install(storage_actor_t *self) {
    staging_t *staging = &self->staging;
    const message_snapshot_t *meta = &staging->chunk.snapshot;
    uint64_t old_number = self->current.number;
    home_current_t current = {staging->number, meta->index, meta->snapshot_term};
    int rc = home_current_save(self->options.fs, self->home, &current);
    if (rc)
        return rc;
    self->current = current;
    storage_sessions_close(self);
    state_close(&self->state);
    rc = state_open(&self->state, &staging->kv);
    if (rc)
        return rc;
    state_history_keep(self->state, self->options.keep_bytes, self->options.keep_revisions);
    rc = journal_reset(self->journal, meta->index, meta->snapshot_term);
    if (rc)
        return rc;
    char path[LIMIT_PATH_BYTES];
    home_state_path(path, self->home, old_number);
    (void) self->options.fs->remove_tree(self->options.fs->self,
                                         path); /* again at the next start */
    log_info(self->log, "snapshot installed index=%llu term=%llu keys=%llu",
             (unsigned long long) meta->index, (unsigned long long) meta->snapshot_term,
             (unsigned long long) state_keys(self->state));
    return 0;
}

int storage_snapshot_turn(storage_actor_t *self, uint64_t now_ms) {
    for (size_t i = 0; i < SNAPSHOT_SESSIONS; i++)
        if (self->sessions[i].id && now_ms > self->sessions[i].used_ms + SNAPSHOT_IDLE_MS)
            session_close(self, &self->sessions[i]);
    if (!self->install_due || self->flushing)
        return 0;
    if (superseded(self, &self->staging.chunk.snapshot)) { /* entries came first, of a new leader */
        self->install_due = false;
        staged_send(self, self->staging.session, self->staging.chunk.snapshot.chunk, false,
                    DRAX_EEXIST);
        staging_drop(self);
        return 0;
    }
    int rc = install(self);
    if (rc) {
        log_error(self->log, "cannot install a snapshot: %s", error_text(rc));
        return rc;
    }
    uint64_t session = self->staging.session, chunk = self->staging.chunk.snapshot.chunk;
    message_clear(&self->staging.chunk);
    memset(&self->staging, 0, sizeof self->staging);
    self->install_due = false;
    /* The log begins anew: what raft wrote before this does not fit it any more. */
    self->opened = false;
    storage_writes_clear(self);
    tail_clear(&self->tail);
    self->commit = state_applied(self->state);
    self->dirty_ms = self->flush_retry_ms = 0;
    self->flush_no_space = false; /* what found no room is replaced by what has found it */
    staged_send(self, session, chunk, true, 0);
    if (self->watch.subscribed)
        storage_subscribe(self, true); /* a gap in what it hears: it asks for what is in between */
    return 0;
}

void storage_snapshots_clear(storage_actor_t *self) {
    staging_drop(self);
    storage_sessions_close(self);
}
