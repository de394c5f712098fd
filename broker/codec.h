/* codec.h: messages to frames and back.
 *
 * A message is a header frame (msgpack, laid out in codec.c and docs/WIRE.md) and one frame for
 * each payload it carries, in order: the payload of the body, or one an entry (empty for none).
 * Decoding trusts nothing: it reads in place (unpack.h) and never allocates by a declared count
 * without a bound, every field is checked for type and range, and a malformed message is
 * DRAX_EPROTO, never an abort.
 */
#ifndef DRAX_BROKER_CODEC_H
#define DRAX_BROKER_CODEC_H

#include "broker/message.h"
#include "broker/pack.h"

/* The frames of one message: `header`, then `count` payloads. Holds a reference to each payload, so
 * the message may be cleared before the frames are sent. Zero it before the first use; reuse keeps
 * the memory. */
typedef struct frames {
    buffer_t header;
    payload_t **payloads; /* NULL: an empty frame */
    size_t count;
    size_t capacity;
} frames_t;

void frames_reset(frames_t *self); /* drops the content, keeps the memory */
void frames_clear(frames_t *self); /* frees the memory too */

/* Encodes `message` into `out`, replacing what was there. DRAX_ENOMEM; DRAX_EINVAL when the message
 * is not one that a decoder would take (an unknown kind, a block without payload, too many members
 * or entries). `out` is empty after an error. */
int codec_encode(frames_t *out, const message_t *message);

/* Decodes one message from a header and `count` payload frames (NULL: an empty one); takes a
 * reference to each payload it keeps. On success the caller owns `out` (message_clear).
 * DRAX_EPROTO, DRAX_EVERSION, DRAX_ENOMEM leave `out` cleared. */
int codec_decode(message_t *out, slice_t header, payload_t *const *payloads, size_t count);

/* A membership as msgpack bytes and back: in entries on the wire, in the journal and in the state.
 *
 *   config = [index, [[id, role, addr, raft_addr] ...]]
 *
 * The encoder appends to `out`; DRAX_EINVAL: too many members; DRAX_ENOMEM. The decoder checks
 * counts, roles, ids (distinct, sorted, not 0) and addresses (they fit, with a NUL after them and
 * none within): DRAX_EPROTO. */
int codec_config_encode(buffer_t *out, const config_t *config);
int codec_config_decode(config_t *out, slice_t bytes);

#endif
