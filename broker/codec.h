/* codec.h: messages to frames and back.
 *
 * A message is a header frame (msgpack, laid out in codec.c and docs/WIRE.md) and one frame for each
 * payload it carries, in order: the payload of the body, or one an entry (empty for none).
 * Decoding trusts nothing: a frame is pre-scanned (pack.h) before msgpack-c sees it, every field is
 * checked for type and range, and a malformed message is DRAX_EPROTO, never an abort.
 */
#ifndef DRAX_BROKER_CODEC_H
#define DRAX_BROKER_CODEC_H

#include "broker/message.h"
#include "broker/pack.h"

/* The frames of one message: `header` (owned by the caller's buffer, reused), then `count` payloads
 * borrowed from the message. */
typedef struct frames {
    buffer_t header;
    payload_t **payloads; /* borrowed pointers; the array itself is owned and reused */
    size_t count;
    size_t capacity;
} frames_t;

void frames_clear(frames_t *self); /* frees the memory */

/* Encodes `message` into `out`, replacing what was there. DRAX_ENOMEM. The borrowed payloads live as
 * long as `message` does. */
int codec_encode(frames_t *out, const message_t *message);

/* Decodes one message from a header and `count` payload frames; takes a reference to each payload it
 * keeps. On success the caller owns `out` (message_clear). DRAX_EPROTO, DRAX_EVERSION, DRAX_ENOMEM
 * leave `out` cleared. */
int codec_decode(message_t *out, slice_t header, payload_t *const *payloads, size_t count);

/* A membership as msgpack bytes and back: in entries on the wire, in the journal and in the state.
 * The decoder checks counts, roles, ids (distinct, sorted, not 0) and that addresses end in NUL. */
int codec_config_encode(buffer_t *out, const config_t *config);
int codec_config_decode(config_t *out, slice_t bytes);

#endif
