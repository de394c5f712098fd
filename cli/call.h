/* call.h: one call from its request to its outcome, however often it is sent.
 *
 * Owns: the encoded request, the outcome. Must not know: sockets, endpoints' order.
 *
 *   WAITING --sent--> SENT --answered--> DONE
 *      ^----retry------+
 */
#ifndef DRAX_CLI_CALL_H
#define DRAX_CLI_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/pack.h"
#include "cli/client_limits.h"
#include "cli/connection.h"
#include "drax.h"

/* How a call may be sent again when it is not known what became of it. */
typedef enum {
    CALL_READ,  /* at will */
    CALL_WRITE, /* at will, for it carries {client, seq} */
    CALL_ADMIN  /* not at all */
} call_kind_t;

typedef enum { CALL_WAITING, CALL_SENT, CALL_DONE } call_state_t;

typedef enum { PARAM_KEY, PARAM_VALUE, PARAM_TEXT, PARAM_NUMBER } param_kind_t;

typedef struct param {
    param_kind_t kind;
    slice_t bytes;   /* KEY, VALUE, TEXT; borrowed */
    uint64_t number; /* NUMBER; 0 stands for nil */
} param_t;

#define CALL_PARAMS 3

typedef struct client_id {
    uint8_t bytes[CLIENT_ID_BYTES];
} client_id_t;

/* What to ask; everything is borrowed. */
typedef struct call_spec {
    const char *method;
    call_kind_t kind;
    const drax_options_t *options; /* NULL: none */
    size_t param_count;
    param_t params[CALL_PARAMS];
    slice_t packed;             /* with data: all parameters, encoded, instead of `params` */
    const client_id_t *session; /* CALL_WRITE: not the client's own pair; NULL: that */
    uint64_t session_seq;
    uint64_t patience_ms; /* the server may take so much longer for it */
} call_spec_t;

typedef struct call call_t;
struct call {
    call_t *previous, *next; /* in one of the client's lists */
    call_kind_t kind;
    call_state_t state;
    uint32_t msgid;
    uint64_t
        seq; /* CALL_WRITE: of the client's exactly-once pair; 0: it has a session of its own */
    buffer_t request;
    uint64_t deadline_ms;
    uint64_t due_ms;        /* WAITING: not to be sent before this */
    uint64_t sent_ms;       /* SENT */
    uint64_t first_sent_ms; /* 0: never yet */
    uint64_t attempt_ms;    /* how long an answer may take */
    const connection_t *on; /* SENT: where to */
    unsigned retries;
    bool unknown;       /* an earlier attempt may have had its effect */
    int refusal;        /* UNAVAILABLE or TIMEOUT when that was the last answer, else 0 */
    drax_done_fn *done; /* NULL: a blocking call, or one of the client's own */
    /* NULL, or what takes the call over when it is DONE; with the client's lock held. */
    void (*settled)(drax_t *client, call_t *call);
    void *arg;

    int error; /* DONE, and what follows */
    drax_result_t *result;
    connection_t *answered_by; /* NULL: by none */
    uint64_t compacted;        /* DRAX_ERR_COMPACTED: the first revision still kept */
    char detail[CLIENT_DETAIL_BYTES];
};

/* A call in WAITING. DRAX_ERR_USAGE (NULL bytes with a size), DRAX_ERR_TOO_LARGE,
 * DRAX_ERR_NO_MEMORY. */
int call_new(call_t **out, const call_spec_t *spec, uint32_t msgid, const client_id_t *client,
             uint64_t seq);
/* One parameter as it stands in a request. */
void call_param_pack(buffer_t *out, const param_t *param);

/* Frees it, and the result unless that was taken. */
void call_destroy(call_t **self);

/* To DONE. Takes `result` over. `detail` may be NULL. */
void call_finish(call_t *self, int error, const char *detail, drax_result_t *result);

/* The connection it was sent on is lost: back to WAITING, or DONE when it must not be sent again.
 */
void call_lost(call_t *self, uint64_t now_ms);

/* The answer was UNAVAILABLE or TIMEOUT: WAITING for its next turn, or DONE when it must not be
 * sent again or an attempt as long as the last would not end before the deadline. */
void call_refused(call_t *self, int error, const char *detail, uint64_t now_ms);

/* The deadline passed: DONE. `detail` says what was known to be wrong; "" when nothing was. */
void call_expire(call_t *self, const char *detail);

#endif
