/* kv_leveldb.c: the ordered store of production, over LevelDB's C interface.
 *
 * Owns: one LevelDB database and its options, and beside it the files of large values (large.h):
 * for those LevelDB has a reference, which no caller ever sees. Must not know what the keys mean.
 *
 * Settings on purpose
 *  - paranoid_checks, verify_checksums: damage is an error, never a wrong or missing value.
 *  - No compression: values seldom shrink, records are small already, and a block that is not
 *    compressed is read where its table is mapped.
 *  - A write buffer of the size of a flush, and a larger one with many tables
 *    (kv_leveldb_buffer.c). A batch is never divided, so a larger flush makes do with it.
 *  - Tables of 8 MiB: a compaction moves much at a time (STORAGE.md).
 *  - A Bloom filter: most lookups of the state are for keys that do not exist.
 *  - A small block cache: only for tables beyond those that can be mapped.
 *  - fill_cache off in iterators: a long scan must not push the working set out.
 *
 * After a write that failed the database is opened again before the next one: kv_leveldb_write.c.
 */
#include "store/kv_leveldb_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "store/table_pages.h"

/* In the database's directory, where LevelDB minds only names of its own. */
#define LARGE_NAME "large"
#define CACHE_BYTES (4u << 20)
#define TABLE_BYTES (8u << 20)
#define BLOOM_BITS 10
#define OPEN_FILES (2 * TABLE_PAGES_TABLES + 10)

/* LevelDB tells its errors as text alone: "<class>: <context>: <strerror>". Frees the text. */
int kv_leveldb_error(char *text) {
    int code = DRAX_EIO;
    if (!text)
        return 0;
    if (strstr(text, "No space left") || strstr(text, "Disk quota exceeded"))
        code = DRAX_ENOSPC;
    else if (strncmp(text, "Corruption", 10) == 0)
        code = DRAX_ECORRUPT;
    else if (strstr(text, "/LOCK: ") && (strstr(text, "Resource temporarily unavailable") ||
                                         strstr(text, "already held by process")))
        code = DRAX_EINUSE;
    else if (strstr(text, "does not exist (create_if_missing is false)"))
        code = DRAX_ENOTFOUND;
    leveldb_free(text);
    return code;
}

/* ---- open and close ---- */

static int record_get(void *store, slice_t key, buffer_t *record);

int kv_leveldb_database_open(kv_leveldb_t *self) {
    char *text = NULL;
    leveldb_options_set_write_buffer_size(self->options, self->buffer_bytes);
    self->db = leveldb_open(self->options, self->directory, &text);
    return kv_leveldb_error(text);
}

int kv_leveldb_database_recover(kv_leveldb_t *self) {
    int rc = kv_leveldb_database_open(self);
    return rc ? rc : large_recover(self->large, record_get, self);
}

static void store_close(kv_t *kv) {
    kv_leveldb_t *self = (kv_leveldb_t *) kv;
    large_close(&self->large);
    if (self->db)
        leveldb_close(self->db);
    disk_pace_destroy(&self->pace);
    leveldb_options_destroy(self->options);
    leveldb_cache_destroy(self->cache);
    leveldb_filterpolicy_destroy(self->bloom);
    leveldb_readoptions_destroy(self->get_options);
    leveldb_writeoptions_destroy(self->write_options);
    leveldb_writeoptions_destroy(self->sync_options);
    pthread_rwlock_destroy(&self->lock);
    pthread_mutex_destroy(&self->write_lock);
    free(self->directory);
    free(self);
}

/* ---- reads ---- */

/* What the database has, a reference for a large value. `lock` is held. */
static int record_get(void *store, slice_t key, buffer_t *record) {
    const kv_leveldb_t *self = store;
    char *text = NULL;
    size_t size = 0;
    char *bytes =
        leveldb_get(self->db, self->get_options, kv_leveldb_chars(key), key.size, &size, &text);
    int rc = kv_leveldb_error(text);
    if (rc)
        return rc;
    if (!bytes)
        return DRAX_ENOTFOUND;
    buffer_append(record, bytes, size);
    leveldb_free(bytes);
    return record->failed ? DRAX_ENOMEM : 0;
}

/* A file that cannot be read may have gone with a write that came in between, which changed the
 * record as well. Only when the record is the same, and was before, something is wrong. */
static int value_get(const kv_leveldb_t *self, slice_t key, buffer_t *value) {
    uint8_t reference[LARGE_REFERENCE_BYTES] = {0};
    int found = 0;
    for (;;) {
        buffer_reset(value);
        int rc = record_get((void *) self, key, value);
        if (rc || !large_reference_is((slice_t){value->data, value->size}))
            return rc;
        if (value->size != sizeof reference)
            return DRAX_ECORRUPT;
        if (found && memcmp(reference, value->data, sizeof reference) == 0)
            return found;
        memcpy(reference, value->data, sizeof reference);
        buffer_reset(value);
        found = large_read(self->large, key, (slice_t){reference, sizeof reference}, value);
        if (found != DRAX_ECORRUPT)
            return found;
    }
}

static int store_get(kv_t *kv, slice_t key, buffer_t *value) {
    kv_leveldb_t *self = (kv_leveldb_t *) kv;
    pthread_rwlock_rdlock(&self->lock);
    int rc = self->db ? value_get(self, key, value) : DRAX_EIO;
    pthread_rwlock_unlock(&self->lock);
    return rc;
}

static kv_snapshot_t *store_snapshot_new(kv_t *kv) {
    kv_leveldb_t *self = (kv_leveldb_t *) kv;
    kv_snapshot_t *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return NULL;
    pthread_rwlock_rdlock(&self->lock);
    if (self->db) {
        large_view_open(self->large, &snapshot->large);
        snapshot->view = leveldb_create_snapshot(self->db);
    }
    pthread_rwlock_unlock(&self->lock);
    if (!snapshot->view) {
        free(snapshot);
        return NULL;
    }
    return snapshot;
}

static void store_snapshot_destroy(kv_t *kv, kv_snapshot_t *snapshot) {
    kv_leveldb_t *self = (kv_leveldb_t *) kv;
    leveldb_release_snapshot(self->db, snapshot->view);
    large_view_close(self->large, &snapshot->large);
    free(snapshot);
}

static void store_detail(kv_t *kv, char *out, size_t size) {
    large_detail(((kv_leveldb_t *) kv)->large, out, size);
}

/* Batches and iterators have the rest of it themselves. */
static const kv_backend_t leveldb_backend = {
    .close = store_close,
    .get = store_get,
    .batch_new = kv_leveldb_batch_new,
    .write = kv_leveldb_write,
    .snapshot_new = store_snapshot_new,
    .snapshot_destroy = store_snapshot_destroy,
    .iterator_new = kv_leveldb_iterator_new,
    .release = kv_leveldb_release,
    .detail = store_detail,
};

static int large_files_open(kv_leveldb_t *self) {
    char path[LIMIT_PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/" LARGE_NAME, self->directory);
    return (unsigned) length < sizeof path
               ? large_open(&self->large, &self->fs, path, self->sizes.large)
               : DRAX_EINVAL;
}

static void options_make(kv_leveldb_t *self, bool create) {
    self->cache = leveldb_cache_create_lru(CACHE_BYTES);
    self->bloom = leveldb_filterpolicy_create_bloom(BLOOM_BITS);
    self->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(self->options, create);
    leveldb_options_set_paranoid_checks(self->options, 1);
    leveldb_options_set_cache(self->options, self->cache);
    leveldb_options_set_filter_policy(self->options, self->bloom);
    leveldb_options_set_max_file_size(self->options, TABLE_BYTES);
    leveldb_options_set_compression(self->options, leveldb_no_compression);
    leveldb_options_set_max_open_files(self->options, OPEN_FILES);
    self->get_options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(self->get_options, 1);
    self->write_options = leveldb_writeoptions_create();
    self->sync_options = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(self->sync_options, 1);
}

int kv_leveldb_open(kv_t **out, const char *directory, bool create) {
    return kv_leveldb_open_sized(out, directory, create, fs_posix(), &(kv_leveldb_sizes_t){0});
}

int kv_leveldb_open_sized(kv_t **out, const char *directory, bool create, const fs_t *fs,
                          const kv_leveldb_sizes_t *sizes) {
    *out = NULL;
    kv_leveldb_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->fs = *fs;
    kv_leveldb_sizes_set(self, sizes);
    self->directory = strdup(directory);
    int rc = self->directory ? large_files_open(self) : DRAX_ENOMEM;
    if (rc) {
        free(self->directory);
        free(self);
        return rc;
    }
    self->kv.backend = &leveldb_backend;
    pthread_rwlock_init(&self->lock, NULL);
    pthread_mutex_init(&self->write_lock, NULL);
    options_make(self, create);
    self->buffer_bytes = kv_leveldb_buffer_wanted(self);
    rc = kv_leveldb_database_recover(self);
    if (rc) {
        store_close(&self->kv);
        return rc;
    }
    leveldb_options_set_create_if_missing(self->options, 0); /* for opening it again */
    self->pace = disk_pace_new(directory);
    *out = &self->kv;
    return 0;
}
