/* changes.c: taking back what a command did, once it turns out that it must not.
 *
 * The overlay undoes its own changes (overlay.h); this is what a change of a key moves besides.
 * Heads are not touched before all is kept: nobody asks for that of a key which the overlay has.
 */
#include "store/state_internal.h"

#include <assert.h>

savepoint_t changes_begin(state_t *self) {
    assert(!self->changing);
    self->changing = true;
    overlay_begin(self->overlay);
    const meta_t *meta = &self->meta;
    return (savepoint_t){
        .revision = meta->revision,
        .digest = meta->digest,
        .keys = meta->keys,
        .expiring = meta->expiring,
        .leases = meta->leases,
        .granted = meta->granted,
        .locks = meta->locks,
        .waiters = meta->waiters,
        .dues = {self->dues[DUE_KEY], self->dues[DUE_LEASE]},
        .settled_size = self->settled.size,
        .settled_count = self->settled_count,
        .history = self->history.now,
    };
}

/* What heads are told when the change is not one of many. */
static void head_keep(state_t *self, const overlay_node_t *node) {
    slice_t key;
    record_t record;
    if (record_key_user_parse(overlay_node_key(node), &key))
        return;
    if (overlay_node_deleted(node))
        heads_remove(&self->heads, key);
    else if (record_parse(overlay_node_value(node), &record) == 0)
        heads_put(&self->heads, key, &record);
}

void changes_keep(state_t *self) {
    const overlay_node_t *node;
    for (size_t i = 0; (node = overlay_changed(self->overlay, i)); i++)
        head_keep(self, node);
    self->changing = false;
    overlay_commit(self->overlay);
}

void changes_undo(state_t *self, const savepoint_t *before) {
    self->changing = false;
    overlay_rollback(self->overlay);
    meta_t *meta = &self->meta;
    meta->revision = before->revision;
    meta->digest = before->digest;
    meta->keys = before->keys;
    meta->expiring = before->expiring;
    meta->leases = before->leases;
    meta->granted = before->granted;
    meta->locks = before->locks;
    meta->waiters = before->waiters;
    memcpy(self->dues, before->dues, sizeof self->dues);
    self->settled.size = before->settled_size;
    self->settled_count = before->settled_count;
    history_rewind(&self->history, &before->history);
}
