/* large_recover.c: which files the store refers to, found out from the directory; the others go.
 *
 * Owns nothing beyond a call. Must not know: batches and views, of which there are none then.
 *
 * A file says whose value it is, and the record of that key in the store says whether that is still
 * so. What cannot be read stays where it is, for a human to look at.
 */
#include <stdlib.h>

#include "store/large_internal.h"

/* A directory must not change while it is listed. */
struct listing {
    large_list_t values, others[2]; /* .tmp, .old */
    uint64_t last;
};

static int name_visit(void *hint, const char *name) {
    struct listing *self = hint;
    large_item_t file = {0};
    large_name_t kind;
    if (!large_name_parse(name, &file.number, &kind))
        return 0;
    if (file.number > self->last)
        self->last = file.number;
    large_list_t *list = kind == LARGE_VALUE ? &self->values : &self->others[kind - 1];
    return large_list_add(list, &file) ? 0 : DRAX_ENOMEM;
}

/* One named file: into `live`, or away, or left for a human to look at. */
static int value_recover(large_t *self, large_item_t *file, large_lookup_fn *lookup, void *hint) {
    char path[LIMIT_PATH_BYTES];
    buffer_t key = {0}, record = {0};
    large_reference_t reference;
    const char *reason = NULL;
    large_path(self, file->number, LARGE_VALUE, path);
    int rc = large_file_key(&self->fs, path, file->number, &key, &file->size, &reason);
    if (rc == DRAX_ECORRUPT)
        large_detail_set(self, file->number, reason);
    bool whole = rc == 0;
    if (whole)
        rc = lookup(hint, (slice_t){key.data, key.size}, &record);
    bool wanted = whole && rc == 0 &&
                  large_reference_parse((slice_t){record.data, record.size}, &reference) == 0 &&
                  reference.number == file->number;
    if (wanted)
        rc = large_owner_set(self, (slice_t){key.data, key.size}, file);
    else if (whole && (rc == 0 || rc == DRAX_ENOTFOUND))
        large_remove(self, file->number, LARGE_VALUE);
    buffer_free(&key);
    buffer_free(&record);
    return rc == DRAX_ECORRUPT || rc == DRAX_ENOTFOUND ? 0 : rc;
}

int large_recover(large_t *self, large_lookup_fn *lookup, void *hint) {
    struct listing listing = {0};
    int rc = self->fs.list(self->fs.self, self->path, name_visit, &listing);
    if (rc == DRAX_ENOTFOUND)
        rc = 0;
    large_owners_clear(self);
    self->retired.count = 0;
    for (size_t i = 0; rc == 0 && i < listing.values.count; i++)
        rc = value_recover(self, &listing.values.items[i], lookup, hint);
    /* Later on these are the ones that are being written, or known. */
    for (unsigned kind = 0; rc == 0 && !self->recovered && kind < 2; kind++)
        for (size_t i = 0; i < listing.others[kind].count; i++)
            large_remove(self, listing.others[kind].items[i].number,
                         kind ? LARGE_OLD : LARGE_TEMPORARY);
    if (listing.last >= self->next)
        self->next = listing.last + 1;
    self->recovered = self->recovered || rc == 0;
    free(listing.values.items);
    free(listing.others[0].items);
    free(listing.others[1].items);
    return rc;
}
