/* kv_leveldb_buffer.c: how large LevelDB's write buffer is.
 *
 * A full buffer becomes a table, and four of those are merged into the levels below, whose tables
 * are written again for the few pairs in each that changed. The more tables there are, the more
 * that costs a pair, and the more a larger buffer saves, as it brings more pairs for each of them.
 * It also takes memory, which should be small where the data is. So the tables say how large it is.
 *
 * Owns: that choice. LevelDB takes it when it is opened: a database that has outgrown its buffer
 * is closed and opened again once, and readers wait meanwhile. Must not know: batches, values.
 *
 * Invariant: as long as the database is open, `buffer_bytes` never becomes less.
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/limits.h"
#include "store/kv_leveldb_internal.h"

/* Opening writes the log to a table: it is left for later where that might find the disk full. */
#define ROOM_BUFFERS 4u

void kv_leveldb_sizes_set(kv_leveldb_t *self, const kv_leveldb_sizes_t *sizes) {
    self->sizes = (kv_leveldb_sizes_t){
        .large = sizes->large ? sizes->large : STATE_LARGE_BYTES,
        .buffer = sizes->buffer ? sizes->buffer : STATE_BUFFER_BYTES,
        .many_tables = sizes->many_tables ? sizes->many_tables : STATE_MANY_TABLE_BYTES,
        .many_buffer = sizes->many_buffer ? sizes->many_buffer : STATE_MANY_BUFFER_BYTES,
    };
}

/* Of those the directory has, whether they are still needed or not; what cannot be read is none. */
static uint64_t tables_bytes(const char *directory) {
    uint64_t bytes = 0;
    DIR *files = opendir(directory);
    for (struct dirent *file; files && (file = readdir(files));) {
        const char *ending = strrchr(file->d_name, '.');
        struct stat found;
        if (ending && strcmp(ending, ".ldb") == 0 &&
            fstatat(dirfd(files), file->d_name, &found, 0) == 0)
            bytes += (uint64_t) found.st_size;
    }
    if (files)
        closedir(files);
    return bytes;
}

size_t kv_leveldb_buffer_wanted(const kv_leveldb_t *self) {
    return tables_bytes(self->directory) > self->sizes.many_tables ? self->sizes.many_buffer
                                                                   : self->sizes.buffer;
}

static bool room_enough(const kv_leveldb_t *self) {
    uint64_t room = 0;
    return self->fs.space(self->fs.self, self->directory, &room) == 0 &&
           room >= (uint64_t) ROOM_BUFFERS * self->sizes.many_buffer;
}

void kv_leveldb_buffer_fit(kv_leveldb_t *self) {
    if (self->write_failed || self->buffer_bytes >= self->sizes.many_buffer ||
        kv_leveldb_buffer_wanted(self) <= self->buffer_bytes || !room_enough(self))
        return;
    pthread_rwlock_wrlock(&self->lock);
    if (!large_viewed(self->large)) {
        leveldb_close(self->db);
        self->buffer_bytes = self->sizes.many_buffer;
        int rc = kv_leveldb_database_open(self);
        if (rc)
            rc = kv_leveldb_database_open(self);
        self->write_failed = rc != 0; /* the next write tries again, if no read ends its actor */
    }
    pthread_rwlock_unlock(&self->lock);
}
