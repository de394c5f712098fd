/* result.h: an answer of the gateway, decoded.
 *
 * Owns: the received message and the tree of msgpack objects that points into it. A drax_field_t is
 * one of these objects. Nothing that is not pre-scanned reaches msgpack-c.
 */
#ifndef DRAX_CLI_RESULT_H
#define DRAX_CLI_RESULT_H

#include <stdbool.h>
#include <zmq.h>

#include "cli/client_limits.h"
#include "drax.h"

typedef struct answer {
    uint32_t msgid;
    int error;                        /* 0, or what the answer says: DRAX_ERR_… */
    char detail[CLIENT_DETAIL_BYTES]; /* its sentence; "" when error is 0 */
    uint64_t compacted;               /* COMPACTED: its detail */
    drax_result_t *result;            /* error 0: owned */
} answer_t;

typedef enum {
    ANSWER_OK,
    ANSWER_EVENT,
    ANSWER_IGNORED,
    ANSWER_MALFORMED,
    ANSWER_NO_MEMORY
} answer_kind_t;

/* Decodes the payload in `message`, which it takes over in any case. OK: `out` is set; its error is
 * DRAX_ERR_PROTOCOL when the msgid could be read but the rest is not what an answer holds. EVENT:
 * the notification of a watch, whose map is the result. IGNORED: another notification. */
answer_kind_t answer_decode(answer_t *out, zmq_msg_t *message);

#endif
