/* model_read.c: reads of the model, as of any revision; see model.h. */
#include "tests/sim/model_internal.h"

#include <assert.h>

/* An answer without a limit ends at about this many bytes: it may be shorter by what a pair needs
 * besides key and value, and by one pair; it is never longer. */
#define PAGE_OVERHEAD_BYTES 48u

static void get_read(const version_t *version, uint64_t key_hash, reply_t *out) {
    if (!version) {
        out->code = RPC_KEY_NOT_FOUND;
        return;
    }
    out->fields = REPLY_KEY | REPLY_VALUE | REPLY_INDEX | REPLY_REVISION;
    out->index = version->revision;
    out->digest = reply_pair(0, key_hash, version->revision, version->value_hash);
    if (version->ttl_ms) {
        out->fields |= REPLY_TTL_MS;
        out->ttl_ms = version->ttl_ms;
    }
    if (version->lease) {
        out->fields |= REPLY_LEASE;
        out->lease = version->lease;
    }
}

/* A page being read off the model, to be as long as `got` where only size decides. */
typedef struct page {
    const request_t *request;
    const reply_t *got;
    reply_t *out;
    bool full;
} page_t;

static page_t page_begin(const request_t *request, const reply_t *got, reply_t *out) {
    out->fields = REPLY_PAIRS | REPLY_MORE | REPLY_REVISION;
    return (page_t){.request = request, .got = got, .out = out};
}

/* May a page end before this pair, because of its size? The exact place depends on the encoding. */
static bool page_cut(const page_t *self, size_t size) {
    const reply_t *out = self->out;
    if (out->pairs == 0 || !self->got->more || self->got->pairs != out->pairs)
        return false;
    return out->bytes + out->pairs * PAGE_OVERHEAD_BYTES + size > LIMIT_PAGE_BYTES;
}

static void page_add(page_t *self, const model_key_t *key, const version_t *version) {
    const request_t *request = self->request;
    reply_t *out = self->out;
    size_t size = key->name.size + (request->keys_only ? 0 : version->value.size);
    self->full = self->full || (request->limit && out->pairs == request->limit) ||
                 (out->pairs && out->bytes + size > LIMIT_PAGE_BYTES) || page_cut(self, size);
    if (self->full)
        return;
    out->digest = reply_pair(out->digest, key->hash, version->revision,
                             request->keys_only ? 0 : version->value_hash);
    out->pairs++;
    out->bytes += size;
}

static void list_read(const model_t *self, const request_t *request, uint64_t revision,
                      const reply_t *got, reply_t *out) {
    size_t low, high;
    bool any = false;
    page_t page = page_begin(request, got, out);
    model_directory(self, request->key, &low, &high);
    for (size_t i = low; i < high && !page.full; i++) {
        const version_t *version = model_at(self->keys[i], revision);
        any = any || version;
        bool before = request->has_after && model_compare(self->keys[i]->name, request->after) <= 0;
        if (version && !before)
            page_add(&page, self->keys[i], version);
    }
    out->more = page.full;
    if (any)
        return;
    /* Nothing under it: an empty list if there is a key of this very name. */
    slice_t name = request->key;
    name.size -= name.size && name.data[name.size - 1] == '/';
    size_t at = name.size ? model_seek(self, name) : self->key_count;
    if (at < self->key_count && model_compare(self->keys[at]->name, name) == 0 &&
        model_at(self->keys[at], revision))
        return;
    *out = (reply_t){.msgid = out->msgid, .code = RPC_KEY_NOT_FOUND};
}

static void range_read(const model_t *self, const request_t *request, uint64_t revision,
                       const reply_t *got, reply_t *out) {
    page_t page = page_begin(request, got, out);
    size_t low = model_seek(self, request->key);
    size_t high = request->end.size ? model_seek(self, request->end) : self->key_count;
    out->fields |= REPLY_COUNT;
    for (size_t i = low; i < high; i++) {
        const model_key_t *key = self->keys[request->reverse ? high - 1 - (i - low) : i];
        const version_t *version = model_at(key, revision);
        out->count += version != NULL;
        if (version && !request->count_only)
            page_add(&page, key, version);
    }
    out->more = page.full;
}

static void read_at(const model_t *self, const request_t *request, uint64_t revision,
                    const reply_t *got, reply_t *out) {
    *out = (reply_t){.msgid = request->msgid};
    size_t at = model_seek(self, request->key);
    bool known = at < self->key_count && model_compare(self->keys[at]->name, request->key) == 0;
    const version_t *version = known ? model_at(self->keys[at], revision) : NULL;
    switch (request->method) {
    case METHOD_GET:
        get_read(version, known ? self->keys[at]->hash : 0, out);
        break;
    case METHOD_EXISTS:
        out->fields = REPLY_EXISTS | REPLY_REVISION;
        out->exists = version != NULL;
        break;
    case METHOD_LIST:
        list_read(self, request, revision, got, out);
        break;
    case METHOD_RANGE:
        range_read(self, request, revision, got, out);
        break;
    case METHOD_MEMBER_LIST:
        out->fields = REPLY_MEMBERS | REPLY_REVISION;
        break;
    default:
        out->code = RPC_INVALID_ARGUMENT;
    }
    if (out->fields & REPLY_REVISION)
        out->revision = revision;
}

void model_read(const model_t *self, const request_t *request, uint64_t revision,
                const reply_t *got, reply_t *out) {
    assert(revision <= self->revision);
    read_at(self, request, revision, got, out);
}

void model_read_now(const model_t *self, const request_t *request, reply_t *out) {
    const reply_t none = {0};
    read_at(self, request, self->revision + model_changed(self), &none, out);
}
