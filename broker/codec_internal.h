/* codec_internal.h: what the files of the codec share: field readers and the table of bodies.
 *
 * Fields are written in the order in which they are read; a body's writer and reader stand next to
 * each other in the family's file.
 */
#ifndef DRAX_BROKER_CODEC_INTERNAL_H
#define DRAX_BROKER_CODEC_INTERNAL_H

#include "broker/codec.h"
#include "broker/unpack.h"

/* Indexes, terms and times: room above, so that adding to one never wraps. */
#define CODEC_INDEX_MAX ((uint64_t) 1 << 62)
#define CODEC_ID_MAX UINT32_MAX

typedef struct encoder {
    frames_t *frames;
    int code; /* 0, or the first DRAX_E... */
} encoder_t;

typedef struct decoder {
    unpack_t in;
    payload_t *const *payloads;
    size_t count;
    size_t at;      /* payload frames used so far */
    bool no_memory; /* the failure is ours, not the sender's */
} decoder_t;

/* How a kind's body is written and read; `encode` NULL: no such kind. A reader fails through
 * `decoder->in`; what it has put into the message by then is freed by message_clear. */
typedef struct body {
    void (*encode)(encoder_t *out, const message_t *message);
    void (*decode)(decoder_t *in, message_t *message);
} body_t;

body_t codec_peer_body(message_kind_t kind);
body_t codec_local_body(message_kind_t kind);

void encoder_fail(encoder_t *self, int code);
/* Adds a payload frame; NULL or an empty payload: an empty frame. */
void encoder_payload_add(encoder_t *self, payload_t *payload);
/* The next payload frame, borrowed; NULL when it is empty. Fails when there is none. */
payload_t *decoder_payload_take(decoder_t *self);
void decoder_memory_fail(decoder_t *self);

/* nil: kinds without a body. */
void codec_none_encode(encoder_t *out, const message_t *message);
void codec_none_decode(decoder_t *in, message_t *message);

void codec_entries_encode(encoder_t *out, const entries_t *entries);
/* Reads entries whose first index is `first` (0: any), contiguous, terms not falling. */
void codec_entries_decode(decoder_t *in, entries_t *entries, uint64_t first);

/* Bodies that both families use. */
void codec_propose_encode(encoder_t *out, const message_t *message);
void codec_propose_decode(decoder_t *in, message_t *message);
void codec_read_encode(encoder_t *out, const message_t *message);
void codec_read_decode(decoder_t *in, message_t *message);
void codec_snapshot_encode(encoder_t *out, const message_t *message);
void codec_snapshot_decode(decoder_t *in, message_t *message);

/* A membership within a body. */
void codec_config_pack(encoder_t *out, const config_t *config);
void codec_config_read(unpack_t *in, config_t *config);

/* Single fields. */
uint64_t codec_index_read(unpack_t *in);
uint64_t codec_id_read(unpack_t *in); /* 0 is none */
int codec_code_read(unpack_t *in);    /* 0 or a DRAX_E... */
void codec_addr_read(unpack_t *in, char out[LIMIT_ADDR_BYTES]);

#endif
