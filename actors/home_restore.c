/* home_restore.c: a home made from a snapshot that was saved to a file.
 *
 *   file  = "DRAXSNAP" version:u32 frame{1,}    version 1; numbers are big endian
 *   frame = size:u32 chunk                      a snapshot's chunks, in order (state_snapshot.c)
 *
 * Owns: the home, from the lock to the file identity, which is written last: a home without it is
 * nothing yet. What the file says is checked as what a peer sends is (state_staging.c).
 */
#include "actors/home_restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "actors/home.h"
#include "actors/home_claim.h"
#include "broker/error.h"
#include "store/journal.h"
#include "store/record.h"
#include "store/state.h"

#define MAGIC "DRAXSNAP"
#define VERSION 1u
#define HEAD_BYTES 12
/* No chunk is larger: it holds about SNAPSHOT_CHUNK_BYTES, or one pair. */
#define CHUNK_MAX_BYTES (2 * LIMIT_ENTRY_BYTES)

typedef struct restore {
    const settings_t *settings;
    const fs_t *fs;
    FILE *file;
    const char *path; /* of the file */
    int lock;
    bool begun; /* there is something to be removed again */
    uint64_t index, term, revision;
    uint64_t cluster, node;
    uint64_t skip;
    char *detail;
    size_t detail_size;
} restore_t;

static int fail(restore_t *self, int rc, const char *path, const char *what) {
    if (!self->detail[0])
        snprintf(self->detail, self->detail_size, "%.4000s: %.400s", path, what);
    return rc;
}

/* ---- the file ---- */

static int file_read(restore_t *self, void *data, size_t size) {
    if (fread(data, 1, size, self->file) == size)
        return 0;
    return ferror(self->file) ? fail(self, DRAX_EIO, self->path, strerror(errno))
                              : fail(self, DRAX_ECORRUPT, self->path, "the file ends too early");
}

static int head_read(restore_t *self) {
    uint8_t head[HEAD_BYTES];
    self->file = fopen(self->path, "re");
    if (!self->file)
        return fail(self, DRAX_EIO, self->path, strerror(errno));
    int rc = file_read(self, head, sizeof head);
    if (rc)
        return rc;
    if (memcmp(head, MAGIC, sizeof MAGIC - 1) != 0)
        return fail(self, DRAX_ECORRUPT, self->path, "not a snapshot of Drax");
    if (be32_read(head + sizeof MAGIC - 1) != VERSION)
        return fail(self, DRAX_ECORRUPT, self->path, "a snapshot of another version");
    return 0;
}

/* The next chunk, into `*room`, which grows. */
static int chunk_read(restore_t *self, uint8_t **room, slice_t *out) {
    uint8_t head[4];
    int rc = file_read(self, head, sizeof head);
    if (rc)
        return rc;
    size_t size = be32_read(head);
    if (size == 0 || size > CHUNK_MAX_BYTES)
        return fail(self, DRAX_ECORRUPT, self->path, "damaged");
    uint8_t *grown = realloc(*room, size);
    if (!grown)
        return DRAX_ENOMEM;
    *room = grown;
    *out = (slice_t){grown, size};
    return file_read(self, grown, size);
}

static int chunks_stage(restore_t *self, state_staging_t *staging) {
    uint8_t *room = NULL;
    slice_t chunk = {NULL, 0};
    bool last = false;
    int rc = 0;
    for (uint64_t number = 0; rc == 0 && !last; number++) {
        rc = chunk_read(self, &room, &chunk);
        if (rc)
            break;
        last = state_chunk_last(chunk);
        rc = state_staging_add(staging, number, chunk, last);
        if (rc == DRAX_EVERSION)
            fail(self, rc, self->path, "a snapshot of another version");
        else if (rc)
            fail(self, rc, self->path, error_text(rc));
    }
    free(room);
    if (rc == 0 && getc(self->file) != EOF)
        rc = fail(self, DRAX_ECORRUPT, self->path, "bytes follow the snapshot");
    return rc;
}

/* ---- the home ---- */

static int home_free(restore_t *self) {
    const char *home = self->settings->home;
    char path[LIMIT_PATH_BYTES];
    home_identity_t identity;
    if (strlen(home) > LIMIT_HOME_BYTES)
        return fail(self, DRAX_EINVAL, "home", "the path is too long");
    int rc = home_make(home, self->detail, self->detail_size);
    if (rc == 0)
        rc = home_lock(&self->lock, home, "lock", self->detail, self->detail_size);
    if (rc)
        return rc;
    bool used = home_identity_load(self->fs, home, &identity) != DRAX_ENOTFOUND;
    home_journal_path(path, home);
    used = used || access(path, F_OK) == 0;
    home_states_path(path, home);
    used = used || access(path, F_OK) == 0;
    return used ? fail(self, DRAX_EINUSE, home, "there is a node's data already") : 0;
}

static config_t config_single(const restore_t *self) {
    config_t config = {.index = self->index, .count = 1};
    member_t *member = &config.members[0];
    member->id = self->node;
    member->role = MEMBER_VOTER;
    memcpy(member->addr, self->settings->advertise, sizeof member->addr);
    memcpy(member->raft_addr, self->settings->raft_advertise, sizeof member->raft_addr);
    return config;
}

static int state_make(restore_t *self, const char *path) {
    kv_t *kv = NULL;
    state_staging_t *staging = NULL;
    int rc = kv_leveldb_open(&kv, path, true);
    if (rc == 0)
        rc = state_staging_open(&staging, &kv);
    if (rc)
        return fail(self, rc, path, error_text(rc));
    rc = chunks_stage(self, staging);
    if (rc) {
        state_staging_abort(&staging, &kv);
        kv_close(&kv);
        return rc;
    }
    self->index = state_staging_index(staging);
    self->term = state_staging_term(staging);
    self->revision = state_staging_revision(staging) + self->skip;
    config_t config = config_single(self);
    state_staging_refound(staging, &config, self->skip);
    rc = self->skip <= LIMIT_INTEGER && self->revision <= LIMIT_INTEGER
             ? state_staging_finish(&staging, &kv)
             : DRAX_EINVAL;
    if (staging)
        state_staging_abort(&staging, &kv);
    kv_close(&kv);
    if (rc == DRAX_EINVAL)
        return fail(self, DRAX_EINVAL, self->path, "its revision cannot go on so much higher");
    return rc ? fail(self, rc, self->path, error_text(rc)) : 0;
}

/* An empty log that begins after the snapshot, in its term. */
static int journal_make(restore_t *self, const char *path, uint64_t salt) {
    journal_t *journal;
    const journal_options_t options = {.salt = salt};
    char detail[256] = "";
    int rc = journal_open(&journal, self->fs, path, &options, detail, sizeof detail);
    if (rc)
        return fail(self, rc, path, detail);
    rc = journal_append(journal, true, self->term, 0, NULL, 0);
    if (rc == 0)
        rc = journal_reset(journal, self->index, self->term);
    journal_close(&journal);
    return rc ? fail(self, rc, path, error_text(rc)) : 0;
}

/* In the order of storage's FORMAT: the identity last. */
static int home_fill(restore_t *self) {
    const fs_t *fs = self->fs;
    const char *home = self->settings->home;
    char journal[LIMIT_PATH_BYTES], states[LIMIT_PATH_BYTES], state[LIMIT_PATH_BYTES];
    uint64_t random[3];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return fail(self, DRAX_EIO, home, strerror(errno));
    self->cluster = (random[0] & LIMIT_INTEGER) | 1;
    self->node = (random[1] & UINT32_MAX) | 1;
    home_journal_path(journal, home);
    home_states_path(states, home);
    home_state_path(state, home, 1);
    self->begun = true;
    int rc = fs->mkdir(fs->self, journal);
    if (rc == 0)
        rc = fs->mkdir(fs->self, states);
    if (rc == 0)
        rc = state_make(self, state);
    if (rc == 0)
        rc = journal_make(self, journal, random[2]);
    const home_current_t current = {.number = 1, .index = self->index, .term = self->term};
    const home_identity_t identity = {.cluster = self->cluster, .node = self->node};
    if (rc == 0)
        rc = home_current_save(fs, home, &current);
    if (rc == 0)
        rc = home_identity_save(fs, home, &identity);
    return rc ? fail(self, rc, home, error_text(rc)) : 0;
}

static void home_undo(restore_t *self) {
    char path[LIMIT_PATH_BYTES];
    snprintf(path, sizeof path, "%.4000s/identity", self->settings->home);
    (void) self->fs->remove(self->fs->self, path);
    home_states_path(path, self->settings->home);
    (void) self->fs->remove_tree(self->fs->self, path);
    home_journal_path(path, self->settings->home);
    (void) self->fs->remove_tree(self->fs->self, path);
}

int home_restore(const settings_t *settings, const char *file, uint64_t skip, uint64_t *revision,
                 char *detail, size_t detail_size) {
    restore_t self = {.settings = settings,
                      .fs = fs_posix(),
                      .path = file,
                      .lock = -1,
                      .skip = skip,
                      .detail = detail,
                      .detail_size = detail_size};
    int rc = head_read(&self);
    if (rc == 0)
        rc = home_free(&self);
    if (rc == 0)
        rc = home_fill(&self);
    if (rc && self.begun)
        home_undo(&self);
    *revision = self.revision;
    if (self.file)
        (void) fclose(self.file); /* it was only read */
    if (self.lock >= 0)
        (void) close(self.lock);
    return rc;
}
