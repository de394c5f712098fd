/* clients.h: the gateway's side of its clients: one ROUTER socket, with every option set on
 * purpose.
 *
 * Owns: the socket. Knows frames: a message is [routing id, envelope frames…, payload]; everything
 * before the payload is kept as one envelope and goes back unchanged. Must not know what payloads
 * mean.
 */
#ifndef DRAX_ACTORS_CLIENTS_H
#define DRAX_ACTORS_CLIENTS_H

#include "broker/pack.h"

/* The frames before a payload, the routing id first:  envelope = { u16 size, bytes } */
typedef struct envelope {
    uint32_t size;    /* of bytes */
    uint32_t id_size; /* of the routing id, which begins at bytes + 2 */
    uint8_t bytes[];
} envelope_t;

envelope_t *envelope_copy(const envelope_t *envelope); /* NULL: out of memory */

typedef struct clients clients_t;

/* Binds tcp://ADDRESS; NULL: no port. `detail` gets a sentence: DRAX_EINUSE, DRAX_EINVAL, DRAX_EIO,
 * DRAX_ENOMEM. */
int clients_new(clients_t **out, void *context, const char *address, char *detail,
                size_t detail_size);
/* Binds an inproc endpoint as well, for clients in the same process. DRAX_EIO. */
int clients_bind_inproc(clients_t *self, const char *endpoint);
void clients_destroy(clients_t **self);
void *clients_socket(clients_t *self);

/* The next message. `envelope` is the caller's (free); `payload` is borrowed until the next call.
 * DRAX_EAGAIN: none. DRAX_EPROTO: one with too many or too large envelope frames was dropped.
 * DRAX_ENOMEM: dropped. */
int clients_receive(clients_t *self, envelope_t **envelope, slice_t *payload);

/* Sends one payload back. DRAX_EAGAIN: the client does not take its answers just now;
 * DRAX_ENOTFOUND: it is gone. */
int clients_send(clients_t *self, const envelope_t *envelope, slice_t payload);

#endif
