/* codec.c: messages to frames and back: the header, and which body a kind has.
 *
 *   message = header-frame payload-frame*
 *   header  = [version, kind, actor, from_boot, to_boot, cluster, from, to, term, body]
 *   body    = nil, or an array whose fields depend on the kind: codec_peer.c, codec_local.c
 *
 * Payload frames follow in the order in which the body mentions them; none may be left over.
 *
 * Invariants
 *  1. The version is looked at before anything else, so that a later version may change all the
 * rest.
 *  2. Whatever the bytes, a decoder returns 0 with a message that is whole, or an error with
 * nothing.
 *  3. A message that keeps to the rules of message.h comes back equal.
 */
#include "broker/codec.h"

#include <stdlib.h>
#include <string.h>

#include "broker/codec_internal.h"
#include "broker/error.h"

#define HEADER_ARITY 10u

static body_t body_find(message_kind_t kind) {
    return message_is_peer(kind) ? codec_peer_body(kind) : codec_local_body(kind);
}

int codec_encode(frames_t *out, const message_t *message) {
    frames_reset(out);
    body_t body = body_find(message->kind);
    if (!body.encode)
        return DRAX_EINVAL;
    encoder_t encoder = {.frames = out};
    buffer_t *header = &out->header;
    pack_array(header, HEADER_ARITY);
    pack_uint(header, MESSAGE_VERSION);
    pack_uint(header, message->kind);
    pack_uint(header, message->actor);
    pack_uint(header, message->from_boot);
    pack_uint(header, message->to_boot);
    pack_uint(header, message->cluster);
    pack_uint(header, message->from);
    pack_uint(header, message->to);
    pack_uint(header, message->term);
    body.encode(&encoder, message);
    if (header->failed)
        encoder_fail(&encoder, DRAX_ENOMEM);
    if (encoder.code != 0)
        frames_reset(out);
    return encoder.code;
}

/* Reads the header up to the body. DRAX_EVERSION; any other failure is in the reader. */
static int header_decode(unpack_t *in, message_t *out) {
    size_t arity = unpack_array(in, SIZE_MAX);
    uint64_t version = unpack_uint(in, UINT64_MAX);
    if (in->code == 0 && version != MESSAGE_VERSION)
        return DRAX_EVERSION;
    if (arity != HEADER_ARITY)
        unpack_fail(in);
    uint64_t kind = unpack_uint(in, MESSAGE_KIND_END - 1);
    uint64_t actor = unpack_uint(in, ACTOR_END - 1);
    out->from_boot = unpack_uint(in, UINT64_MAX);
    out->to_boot = unpack_uint(in, UINT64_MAX);
    out->cluster = unpack_uint(in, UINT64_MAX);
    out->from = codec_id_read(in);
    out->to = codec_id_read(in);
    out->term = codec_index_read(in);
    out->actor = (actor_t) actor;
    out->kind = (message_kind_t) kind;
    return 0;
}

int codec_decode(message_t *out, slice_t header, payload_t *const *payloads, size_t count) {
    memset(out, 0, sizeof *out);
    decoder_t in = {.in = unpack_begin(header), .payloads = payloads, .count = count};
    int rc = header_decode(&in.in, out);
    if (rc == 0) {
        body_t body = body_find(out->kind);
        if (body.decode && in.in.code == 0)
            body.decode(&in, out);
        else
            unpack_fail(&in.in);
        if (in.at != in.count)
            unpack_fail(&in.in);
        rc = in.no_memory ? DRAX_ENOMEM : unpack_end(&in.in);
    }
    if (rc != 0)
        message_clear(out);
    return rc;
}

void frames_reset(frames_t *self) {
    for (size_t i = 0; i < self->count; i++)
        payload_unref(&self->payloads[i]);
    self->count = 0;
    buffer_reset(&self->header);
}

void frames_clear(frames_t *self) {
    frames_reset(self);
    free(self->payloads);
    buffer_free(&self->header);
    memset(self, 0, sizeof *self);
}

void encoder_fail(encoder_t *self, int code) {
    if (self->code == 0)
        self->code = code;
}

void encoder_payload_add(encoder_t *self, payload_t *payload) {
    frames_t *frames = self->frames;
    if (frames->count == frames->capacity) {
        size_t capacity = frames->capacity ? frames->capacity * 2 : 4;
        payload_t **grown = realloc(frames->payloads, capacity * sizeof(payload_t *));
        if (!grown) {
            encoder_fail(self, DRAX_ENOMEM);
            return;
        }
        frames->payloads = grown;
        frames->capacity = capacity;
    }
    frames->payloads[frames->count++] = payload_size(payload) > 0 ? payload_ref(payload) : NULL;
}

payload_t *decoder_payload_take(decoder_t *self) {
    if (self->at == self->count) {
        unpack_fail(&self->in);
        return NULL;
    }
    payload_t *payload = self->payloads[self->at++];
    return payload_size(payload) > 0 ? payload : NULL;
}

void decoder_memory_fail(decoder_t *self) {
    self->no_memory = true;
    unpack_fail(&self->in);
}

void codec_none_encode(encoder_t *out, const message_t *message) {
    (void) message;
    pack_nil(&out->frames->header);
}

void codec_none_decode(decoder_t *in, message_t *message) {
    (void) message;
    if (!unpack_nil(&in->in))
        unpack_fail(&in->in);
}
