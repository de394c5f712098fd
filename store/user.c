/* user.c: users' keys, and all that follows from a change of one: digest, counts, due records.
 *
 * Invariants
 *  1. meta.digest, meta.keys and meta.expiring change in the same call as the key.
 *  2. A record's stored hash is right, so that taking a record out of the digest needs its header
 * alone.
 */
#include "store/state_internal.h"

#include "broker/error.h"

#define TREE_BATCH                                                                                 \
    1024u /* keys gathered before they are deleted: no change while a walk is open                 \
           */

int user_load(state_t *self, slice_t key, user_t *out) {
    record_key_user(&out->key, key);
    out->given = key;
    int rc = state_lookup(self, record_key(&out->key), &out->at);
    out->exists = rc == 0;
    if (rc == 0)
        return record_parse(out->at.value, &out->record);
    return rc == DRAX_ENOTFOUND ? 0 : rc;
}

int user_head_load(state_t *self, slice_t key, user_t *out) {
    record_key_user(&out->key, key);
    out->given = key;
    slice_t pair_key = record_key(&out->key), value = {NULL, 0};
    int rc = state_lookup_unflushed(self, pair_key, &out->at);
    if (rc == 0)
        value = out->at.value;
    if (rc == DRAX_EAGAIN) {
        rc = heads_find(&self->heads, key, &out->record);
        out->exists = rc == 0;
        if (rc != DRAX_EAGAIN)
            return 0;
        rc = kv_peek(self->kv, pair_key, &self->scratch);
        value = (slice_t){self->scratch.data, self->scratch.size};
        state_heads_missed(self, key);
    }
    out->exists = rc == 0;
    if (rc == 0)
        return record_parse(value, &out->record);
    return rc == DRAX_ENOTFOUND ? 0 : rc;
}

static slice_t user_key(const user_t *user) {
    return (slice_t){user->key.bytes + 1, user->key.size - 1};
}

static void user_changed(state_t *self, const user_t *user, history_type_t type, slice_t value) {
    history_change_t change = {self->change_revision, type,
                               user->given.size ? user->given : user_key(user), value};
    history_add(&self->history, &change);
}

/* Takes what the record counted for out of the meta. */
static int user_discount(state_t *self, const user_t *user) {
    if (!user->exists)
        return 0;
    self->meta.digest -= user->record.hash;
    self->meta.keys--;
    if (!user->record.due_ms)
        return 0;
    self->meta.expiring--;
    record_key_t due;
    record_key_due(&due, user->record.due_ms, user_key(user));
    return expiry_remove(self, DUE_KEY, user->record.due_ms, &due);
}

int user_put(state_t *self, user_t *user, slice_t value, life_t life) {
    uint64_t revision = self->meta.revision = self->change_revision;
    uint64_t lease = user->exists ? user->record.lease : 0;
    int rc = user_discount(self, user);
    if (rc == 0 && lease != life.lease)
        rc = lease_move(self, user_key(user), lease, life.lease);
    if (rc)
        return rc;
    record_t record = {
        .index = revision,
        .created = user->exists ? user->record.created : revision,
        .version = user->exists ? user->record.version + 1 : 1,
        .due_ms = life.due_ms,
        .lease = life.lease,
        .locked = life.locked,
        .value = value,
    };
    slice_t key = record_key(&user->key);
    uint8_t header[RECORD_HEADER_BYTES];
    record.hash = record_hash(&record, key);
    size_t size = record_header_write(&record, header);
    uint8_t *room = overlay_put(self->overlay, user->at.node, key, size + value.size);
    if (!room)
        return DRAX_ENOMEM;
    memcpy(room, header, size);
    if (value.size)
        memcpy(room + size, value.data, value.size);
    if (!self->changing) /* see changes_keep */
        heads_put(&self->heads, user_key(user), &record);
    user_changed(self, user, HISTORY_PUT, value);
    self->meta.digest += record.hash;
    self->meta.keys++;
    if (!life.due_ms)
        return 0;
    self->meta.expiring++;
    record_key_t due;
    record_key_due(&due, life.due_ms, user_key(user));
    return expiry_add(self, DUE_KEY, life.due_ms, &due);
}

int user_delete(state_t *self, user_t *user, history_type_t type) {
    self->meta.revision = self->change_revision;
    int rc = user_discount(self, user);
    if (rc == 0 && user->exists && user->record.lease)
        rc = lease_move(self, user_key(user), user->record.lease, 0);
    if (rc)
        return rc;
    if (!self->changing)
        heads_remove(&self->heads, user_key(user));
    user_changed(self, user, type, (slice_t){NULL, 0});
    return state_pair_delete(self, &user->at, record_key(&user->key));
}

/* Gathers up to TREE_BATCH keys from `from` on that begin with `prefix`: each as two sizes, its
 * bytes and the header of its record. */
static int tree_gather(state_t *self, slice_t prefix, slice_t from, size_t *count) {
    merge_t walk;
    int rc = state_walk(self, &walk);
    if (rc)
        return rc;
    *count = 0;
    buffer_reset(&self->pairs);
    for (rc = merge_seek(&walk, from); rc == 0 && walk.valid && *count < TREE_BATCH;
         rc = merge_next(&walk)) {
        if (walk.key.size < prefix.size || memcmp(walk.key.data, prefix.data, prefix.size) != 0)
            break;
        record_t record;
        rc = record_parse(walk.value, &record);
        if (rc)
            break;
        size_t header_size = walk.value.size - record.value.size;
        uint8_t sizes[8];
        be32_write(sizes, (uint32_t) walk.key.size);
        be32_write(sizes + 4, (uint32_t) header_size);
        buffer_append(&self->pairs, sizes, sizeof sizes);
        buffer_append(&self->pairs, walk.key.data, walk.key.size);
        buffer_append(&self->pairs, walk.value.data, header_size);
        ++*count;
    }
    merge_close(&walk);
    return rc == 0 && self->pairs.failed ? DRAX_ENOMEM : rc;
}

/* May the tree's deletion take this key with it? */
static bool tree_takes(tree_t *tree, const record_t *record) {
    if (!record->locked)
        return true;
    for (int i = 0; i < 2; i++) {
        if (tree->tokens[i] != record->lease)
            continue;
        tree->unlocked[i] = true;
        return true;
    }
    return false;
}

/* Deletes `count` keys as tree_gather left them; `user` is left at the last one. */
static int tree_delete_gathered(state_t *self, tree_t *tree, size_t count, user_t *user) {
    const uint8_t *at = self->pairs.data;
    for (size_t i = 0; i < count; i++) {
        size_t header_size = be32_read(at + 4);
        user->key.size = be32_read(at);
        memcpy(user->key.bytes, at + 8, user->key.size);
        at += 8 + user->key.size;
        user->at.node = overlay_find(self->overlay, record_key(&user->key));
        int rc = record_parse((slice_t){at, header_size}, &user->record);
        if (rc == 0 && !tree_takes(tree, &user->record))
            rc = DRAX_EINUSE;
        if (rc == 0)
            rc = user_delete(self, user, HISTORY_DELETE);
        if (rc)
            return rc;
        at += header_size;
    }
    return 0;
}

int user_delete_tree(state_t *self, tree_t *tree) {
    record_key_t first;
    user_t user = {.exists = true};
    size_t count;
    record_key_user(&first, tree->prefix);
    user.key = first;
    do {
        int rc = tree_gather(self, record_key(&first), record_key(&user.key), &count);
        if (rc == 0 && count > self->keys_left)
            rc = DRAX_ETOOLARGE;
        if (rc == 0)
            rc = tree_delete_gathered(self, tree, count, &user);
        if (rc)
            return rc;
        self->keys_left -= count;
        tree->deleted += count;
    } while (count == TREE_BATCH);
    return 0;
}
