/* large_file.c: the layout of a large value's file, and of the record that refers to it.
 *
 *   file      = header key value rest*        rest: of a longer value that the file held before
 *   header    = "DRAXLARG" version:u32 key_size:u32 number:u64 value_size:u64
 *               value_checksum:u64 checksum:u64                              48 bytes
 *   reference = "DRAXLARG" (2^64 - 1):u64 number:u64 value_size:u64 value_checksum:u64
 *
 * All numbers are big endian. value_checksum is the XXH3-64 of the value, seeded with the number;
 * checksum that of the header before it, seeded with the XXH3-64 of the key. So neither a file
 * under another's name nor what a file held before is ever taken for the value.
 */
#include "store/large_file.h"

#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "store/hash.h"
#include "store/kv.h"
#include "store/record.h"

#define VERSION 1u
#define HEADER_BYTES 48u
#define MAGIC_BYTES 8u
/* A reference's own beginning: no number of a record of the state is that high. */
#define MARK UINT64_MAX

static const uint8_t magic[MAGIC_BYTES] = {'D', 'R', 'A', 'X', 'L', 'A', 'R', 'G'};

/* ---- references ---- */

bool large_reference_is(slice_t record) {
    return record.size >= MAGIC_BYTES + 8 && memcmp(record.data, magic, MAGIC_BYTES) == 0 &&
           be64_read(record.data + MAGIC_BYTES) == MARK;
}

int large_reference_parse(slice_t record, large_reference_t *out) {
    if (record.size != LARGE_REFERENCE_BYTES || !large_reference_is(record))
        return DRAX_ECORRUPT;
    out->number = be64_read(record.data + 16);
    out->size = be64_read(record.data + 24);
    out->checksum = be64_read(record.data + 32);
    return 0;
}

void large_reference_encode(const large_reference_t *self, uint8_t out[LARGE_REFERENCE_BYTES]) {
    memcpy(out, magic, MAGIC_BYTES);
    be64_write(out + MAGIC_BYTES, MARK);
    be64_write(out + 16, self->number);
    be64_write(out + 24, self->size);
    be64_write(out + 32, self->checksum);
}

/* ---- files ---- */

uint64_t large_file_size(slice_t key, slice_t value) {
    return (uint64_t) HEADER_BYTES + key.size + value.size;
}

static uint64_t header_checksum(const uint8_t *header, slice_t key) {
    return XXH3_64bits_withSeed(header, HEADER_BYTES - 8, XXH3_64bits(key.data, key.size));
}

int large_file_write(const fs_t *fs, const char *path, bool create, slice_t key, slice_t value,
                     large_reference_t *reference) {
    uint8_t header[HEADER_BYTES];
    fs_file_t *file = NULL;
    reference->size = value.size;
    reference->checksum = XXH3_64bits_withSeed(value.data, value.size, reference->number);
    memcpy(header, magic, MAGIC_BYTES);
    be32_write(header + 8, VERSION);
    be32_write(header + 12, (uint32_t) key.size);
    be64_write(header + 16, reference->number);
    be64_write(header + 24, reference->size);
    be64_write(header + 32, reference->checksum);
    be64_write(header + 40, header_checksum(header, key));
    /* struct iovec has no const; a write does not change what it points to. */
    struct iovec parts[] = {
        {.iov_base = header, .iov_len = sizeof header},
        {.iov_base = (void *) (uintptr_t) key.data, .iov_len = key.size},
        {.iov_base = (void *) (uintptr_t) value.data, .iov_len = value.size},
    };
    int rc = fs->open(fs->self, path, create, &file);
    if (rc)
        return rc;
    rc = fs->pwritev(file, parts, 3, 0);
    if (rc == 0)
        rc = fs->sync(file);
    fs->close(&file);
    return rc;
}

static int damaged(const char **reason, const char *why) {
    *reason = why;
    return DRAX_ECORRUPT;
}

/* Header and key of an open file; `key` is emptied first. */
static int header_read(const fs_t *fs, fs_file_t *file, buffer_t *key, large_reference_t *out,
                       const char **reason) {
    uint8_t header[HEADER_BYTES];
    size_t got;
    int rc = fs->pread(file, header, sizeof header, 0, &got);
    if (rc)
        return rc;
    if (got < sizeof header)
        return damaged(reason, "the file is too short for a header");
    if (memcmp(header, magic, MAGIC_BYTES) != 0)
        return damaged(reason, "the file does not begin as a large value's");
    if (be32_read(header + 8) != VERSION)
        return damaged(reason, "the file is of another version of the format");
    size_t key_size = be32_read(header + 12);
    uint8_t *room = key_size <= UINT16_MAX ? buffer_extend(key, key_size) : NULL;
    if (key_size > UINT16_MAX)
        return damaged(reason, "the header names an impossible key");
    if (!room && key_size)
        return DRAX_ENOMEM;
    rc = key_size ? fs->pread(file, room, key_size, sizeof header, &got) : 0;
    if (rc)
        return rc;
    if (key_size && got < key_size)
        return damaged(reason, "the file ends within its key");
    if (header_checksum(header, (slice_t){key->data, key->size}) != be64_read(header + 40))
        return damaged(reason, "the checksum of the header is wrong");
    out->number = be64_read(header + 16);
    out->size = be64_read(header + 24);
    out->checksum = be64_read(header + 32);
    return 0;
}

int large_file_key(const fs_t *fs, const char *path, uint64_t number, buffer_t *key, uint64_t *size,
                   const char **reason) {
    large_reference_t found;
    fs_file_t *file = NULL;
    buffer_reset(key);
    int rc = fs->open(fs->self, path, false, &file);
    if (rc)
        return rc;
    rc = header_read(fs, file, key, &found, reason);
    if (rc == 0)
        rc = fs->size(file, size);
    fs->close(&file);
    return rc == 0 && found.number != number ? damaged(reason, "the header is that of another file")
                                             : rc;
}

/* The value itself, from behind header and key. */
static int value_read(const fs_t *fs, fs_file_t *file, slice_t key,
                      const large_reference_t *reference, buffer_t *value, const char **reason) {
    uint64_t length = 0;
    size_t got = 0, before = value->size;
    int rc = fs->size(file, &length);
    if (rc)
        return rc;
    if (length < HEADER_BYTES + key.size || length - HEADER_BYTES - key.size < reference->size)
        return damaged(reason, "the file ends within its value");
    uint8_t *room = buffer_extend(value, (size_t) reference->size);
    if (!room)
        return reference->size ? DRAX_ENOMEM : 0;
    rc = fs->pread(file, room, (size_t) reference->size, HEADER_BYTES + key.size, &got);
    if (rc == 0 && got < reference->size)
        rc = damaged(reason, "the file ends within its value");
    if (rc == 0 && XXH3_64bits_withSeed(room, got, reference->number) != reference->checksum)
        rc = damaged(reason, "the checksum of the value is wrong");
    if (rc)
        value->size = before;
    return rc;
}

int large_file_read(const fs_t *fs, const char *path, slice_t key,
                    const large_reference_t *reference, buffer_t *value, const char **reason) {
    large_reference_t found;
    fs_file_t *file = NULL;
    buffer_t own = {0};
    int rc = fs->open(fs->self, path, false, &file);
    if (rc == DRAX_ENOTFOUND)
        return damaged(reason, "the file is missing");
    if (rc)
        return rc;
    rc = header_read(fs, file, &own, &found, reason);
    if (rc == 0 && (kv_key_compare((slice_t){own.data, own.size}, key) != 0 ||
                    found.number != reference->number || found.size != reference->size ||
                    found.checksum != reference->checksum))
        rc = damaged(reason, "the header is not that of the value referred to");
    if (rc == 0)
        rc = value_read(fs, file, key, reference, value, reason);
    fs->close(&file);
    buffer_free(&own);
    return rc;
}
