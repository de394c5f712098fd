/* gateway_fake.h: a gateway for tests of the client: a ROUTER in a thread, whose answers a script
 * decides.
 *
 * Requests are read with the server's own decoder (rpc.h), so what the client sends is checked
 * against it. */
#ifndef DRAX_TESTS_GATEWAY_FAKE_H
#define DRAX_TESTS_GATEWAY_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/limits.h"
#include "broker/rpc.h"

#define GATEWAY_LOG 4096
#define GATEWAY_FOLLOW 128

typedef enum {
    GATEWAY_ANSWER, /* send what the script wrote */
    GATEWAY_SILENT, /* send nothing */
    GATEWAY_DIE     /* close the socket, and with it every connection */
} gateway_action_t;

typedef struct gateway gateway_t;

/* Decides about one request and writes the whole payload of the answer to `out`. Runs in the
 * gateway's thread. */
typedef gateway_action_t gateway_script_fn(gateway_t *self, const request_t *request,
                                           buffer_t *out);

/* What the gateway remembers of a request. */
typedef struct gateway_entry {
    method_t method;
    uint8_t client[LIMIT_CLIENT_ID_BYTES];
    size_t client_size;
    uint64_t seq;
    uint64_t from, watch; /* watch, watch_cancel */
    char key[64];
} gateway_entry_t;

struct gateway {
    void *context, *socket, *control;
    pthread_t thread;
    char address[64]; /* HOST:PORT */
    gateway_script_fn *script;
    unsigned char *extra_frame; /* sent before the payload when not NULL: one frame of one byte */
    bool repeat;                /* sends every answer twice */
    bool refused;               /* for scripts that refuse once */
    buffer_t follow[GATEWAY_FOLLOW]; /* what a script wants sent after its answer, each a message */
    size_t follow_count;
    pthread_mutex_t lock; /* guards what follows */
    size_t count;
    gateway_entry_t log[GATEWAY_LOG];
    size_t malformed; /* requests that the decoder refused */
    uint64_t credit;  /* of all notifications `credit` */
};

/* Starts at a free port (port 0) or at this one. */
gateway_t *gateway_start(gateway_script_fn *script, unsigned port);
void gateway_stop(gateway_t **self);

size_t gateway_count(gateway_t *self);
uint64_t gateway_credit(gateway_t *self);
gateway_entry_t gateway_entry(gateway_t *self, size_t at);

/* Packs a response: success, to be followed by a map; or a whole failure. */
void answer_begin(buffer_t *out, uint32_t msgid, size_t fields);
void answer_failure(buffer_t *out, uint32_t msgid, const char *code, const char *text);

/* Scripts. Serve answers every method: a put with its seq as the index, `get` with "hello", a
 * listing with two pairs, all else with the name of the method. The others never answer, die at
 * once, or always answer UNAVAILABLE or TIMEOUT. */
gateway_script_fn gateway_serve, gateway_silent, gateway_die, gateway_unavailable, gateway_timeout;

#endif
