/* meta.c: the meta record's bytes, and the marks that lead from revisions to log indexes.
 *
 * Invariant: marks rise in both revision and index, and the newest is less than
 * META_MARK_REVISIONS + one entry's changes behind the state.
 */
#include "store/meta.h"

#include <string.h>

#include "broker/codec.h"
#include "broker/error.h"
#include "store/record.h"

#define HEAD_BYTES (4 + 12 * 8)

static void number_add(buffer_t *out, uint64_t number) {
    uint8_t bytes[8];
    be64_write(bytes, number);
    buffer_append(out, bytes, sizeof bytes);
}

static void size_add(buffer_t *out, size_t size) {
    uint8_t bytes[4];
    be32_write(bytes, (uint32_t) size);
    buffer_append(out, bytes, sizeof bytes);
}

void meta_encode(const meta_t *self, buffer_t *out) {
    buffer_t config = {0};
    if (self->config.index && codec_config_encode(&config, &self->config))
        config.failed = true;
    size_add(out, META_FORMAT);
    number_add(out, self->applied);
    number_add(out, self->term);
    number_add(out, self->revision);
    number_add(out, self->time_ms);
    number_add(out, self->digest);
    number_add(out, self->keys);
    number_add(out, self->expiring);
    number_add(out, self->leases);
    number_add(out, self->granted);
    number_add(out, self->locks);
    number_add(out, self->waiters);
    number_add(out, self->queued);
    size_add(out, config.size);
    buffer_append(out, config.data, config.size);
    size_add(out, self->mark_count);
    for (size_t i = 0; i < self->mark_count; i++) {
        number_add(out, self->marks[i].revision);
        number_add(out, self->marks[i].index);
    }
    out->failed = out->failed || config.failed;
    buffer_free(&config);
}

static int marks_decode(meta_t *out, slice_t bytes) {
    if (bytes.size < 4)
        return DRAX_ECORRUPT;
    out->mark_count = be32_read(bytes.data);
    if (out->mark_count > META_MARKS || bytes.size != 4 + out->mark_count * 16)
        return DRAX_ECORRUPT;
    for (size_t i = 0; i < out->mark_count; i++) {
        const uint8_t *at = bytes.data + 4 + i * 16;
        out->marks[i] = (meta_mark_t){be64_read(at), be64_read(at + 8)};
    }
    return 0;
}

int meta_decode(meta_t *out, slice_t bytes) {
    memset(out, 0, sizeof *out);
    if (bytes.size < HEAD_BYTES + 4)
        return DRAX_ECORRUPT;
    if (be32_read(bytes.data) != META_FORMAT)
        return DRAX_EVERSION;
    uint64_t *const fields[] = {&out->applied, &out->term,  &out->revision, &out->time_ms,
                                &out->digest,  &out->keys,  &out->expiring, &out->leases,
                                &out->granted, &out->locks, &out->waiters,  &out->queued};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        *fields[i] = be64_read(bytes.data + 4 + 8 * i);
    size_t config_size = be32_read(bytes.data + HEAD_BYTES);
    slice_t rest = {bytes.data + HEAD_BYTES + 4, bytes.size - HEAD_BYTES - 4};
    if (config_size > rest.size)
        return DRAX_ECORRUPT;
    if (config_size) {
        int rc = codec_config_decode(&out->config, (slice_t){rest.data, config_size});
        if (rc)
            return rc == DRAX_ENOMEM ? rc : DRAX_ECORRUPT;
    }
    return marks_decode(out, (slice_t){rest.data + config_size, rest.size - config_size});
}

void meta_mark(meta_t *self, uint64_t index) {
    const meta_mark_t *newest = self->mark_count ? &self->marks[self->mark_count - 1] : NULL;
    if (newest && self->revision - newest->revision < META_MARK_REVISIONS)
        return;
    if (self->mark_count == META_MARKS) {
        memmove(self->marks, self->marks + 1, (META_MARKS - 1) * sizeof *self->marks);
        self->mark_count--;
    }
    self->marks[self->mark_count++] = (meta_mark_t){self->revision, index};
}

uint64_t meta_index_of_revision(const meta_t *self, uint64_t revision) {
    for (size_t i = self->mark_count; i > 0; i--)
        if (self->marks[i - 1].revision < revision)
            return self->marks[i - 1].index;
    return 0;
}
