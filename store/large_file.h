/* large_file.h: one large value in a file of its own, and the record that stands for it elsewhere.
 *
 * Owns nothing; paths and numbers are the caller's (large.h). A file is written once, whole, and
 * synced; whatever is wrong with it when it is read is found: its own header and checksums, and
 * those in the record.
 */
#ifndef DRAX_STORE_LARGE_FILE_H
#define DRAX_STORE_LARGE_FILE_H

#include "broker/pack.h"
#include "store/fs.h"

#define LARGE_REFERENCE_BYTES 40u

/* What stands for a value: which file has it, and how it can be told from any other. */
typedef struct large_reference {
    uint64_t number, size, checksum;
} large_reference_t;

/* Does a record begin as references do? Then it is to be taken for one. */
bool large_reference_is(slice_t record);
int large_reference_parse(slice_t record, large_reference_t *out); /* DRAX_ECORRUPT */
void large_reference_encode(const large_reference_t *self, uint8_t out[LARGE_REFERENCE_BYTES]);

/* Bytes of the file of such a value. */
uint64_t large_file_size(slice_t key, slice_t value);
/* Writes the file `reference->number` and syncs it: a new one, or over one that is there (`create`
 * false) and at least as long. Fills in the rest of `reference`. What a failure leaves is the
 * caller's to remove. */
int large_file_write(const fs_t *fs, const char *path, bool create, slice_t key, slice_t value,
                     large_reference_t *reference);
/* Whose value the file holds, by its header alone, and its size. DRAX_ECORRUPT with *reason. */
int large_file_key(const fs_t *fs, const char *path, uint64_t number, buffer_t *key, uint64_t *size,
                   const char **reason);
/* Appends the value, once all was verified. DRAX_ECORRUPT with *reason, also when there is no file.
 */
int large_file_read(const fs_t *fs, const char *path, slice_t key,
                    const large_reference_t *reference, buffer_t *value, const char **reason);

#endif
