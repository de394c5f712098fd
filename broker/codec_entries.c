/* codec_entries.c: runs of log entries.
 *
 *   entries = [[index, term, time_ms, kind] ...]   and one payload frame for each, in order:
 *             empty for a NOOP, the block for a BLOCK, a config (codec.h) for a CONFIG
 */
#include <stddef.h>

#include "broker/codec_internal.h"
#include "broker/error.h"

#define ENTRIES_MAX (LIMIT_MESSAGE_FRAMES - 1)

static void entry_payload_encode(encoder_t *out, const entry_t *entry) {
    switch (entry->kind) {
    case ENTRY_NOOP:
        encoder_payload_add(out, NULL);
        return;
    case ENTRY_BLOCK:
        if (payload_size(entry->payload) == 0)
            encoder_fail(out, DRAX_EINVAL);
        else
            encoder_payload_add(out, entry->payload);
        return;
    case ENTRY_CONFIG:
        break;
    default:
        encoder_fail(out, DRAX_EINVAL);
        return;
    }
    if (!entry->config || entry->config->count == 0) {
        encoder_fail(out, DRAX_EINVAL);
        return;
    }
    buffer_t bytes = {0};
    int rc = codec_config_encode(&bytes, entry->config);
    payload_t *payload = rc == 0 ? buffer_take(&bytes) : NULL;
    buffer_free(&bytes);
    if (payload)
        encoder_payload_add(out, payload);
    else
        encoder_fail(out, rc != 0 ? rc : DRAX_ENOMEM);
    payload_unref(&payload);
}

void codec_entries_encode(encoder_t *out, const entries_t *entries) {
    buffer_t *header = &out->frames->header;
    if (entries->count > ENTRIES_MAX)
        encoder_fail(out, DRAX_EINVAL);
    pack_array(header, entries->count);
    for (size_t i = 0; i < entries->count; i++) {
        const entry_t *entry = &entries->items[i];
        pack_array(header, 4);
        pack_uint(header, entry->index);
        pack_uint(header, entry->term);
        pack_uint(header, entry->time_ms);
        pack_uint(header, entry->kind);
        entry_payload_encode(out, entry);
    }
}

/* Attaches the next payload frame; `config` lends its memory to an entry that needs it. */
static void entry_payload_decode(decoder_t *in, uint64_t kind, entry_t *entry, config_t *config) {
    payload_t *payload = decoder_payload_take(in);
    switch (kind) {
    case ENTRY_NOOP:
        entry->kind = ENTRY_NOOP;
        if (payload)
            unpack_fail(&in->in);
        break;
    case ENTRY_BLOCK:
        entry->kind = ENTRY_BLOCK;
        entry->payload = payload;
        if (!payload)
            unpack_fail(&in->in);
        break;
    default:
        entry->kind = ENTRY_CONFIG;
        entry->config = config;
        if (codec_config_decode(config, payload_slice(payload)) != 0 || config->count == 0)
            unpack_fail(&in->in);
        break;
    }
}

void codec_entries_decode(decoder_t *in, entries_t *entries, uint64_t first) {
    size_t count = unpack_array(&in->in, ENTRIES_MAX);
    uint64_t index = first, term = 0;
    for (size_t i = 0; i < count && in->in.code == 0; i++) {
        config_t config;
        entry_t entry = {0};
        unpack_arity(&in->in, 4);
        entry.index = codec_index_read(&in->in);
        entry.term = codec_index_read(&in->in);
        entry.time_ms = codec_index_read(&in->in);
        uint64_t kind = unpack_uint(&in->in, ENTRY_CONFIG);
        entry_payload_decode(in, kind, &entry, &config);
        if (entry.index == 0 || (index != 0 && entry.index != index) || entry.term < term)
            unpack_fail(&in->in);
        if (in->in.code != 0)
            return;
        /* The copy takes its own reference to the payload, which is only borrowed here. */
        if (entries_push(entries, &entry) != 0) {
            decoder_memory_fail(in);
            return;
        }
        index = entry.index + 1;
        term = entry.term;
    }
}
