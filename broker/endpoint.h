/* endpoint.h: HOST:PORT as users write it, and the endpoints that actors bind and connect.
 *
 * HOST is a name, an IPv4 address or an IPv6 address in brackets; PORT is 1 to 65535. Actors of one
 * node meet at ipc://run/ACTOR.ipc, relative to the home (a process makes the home its working
 * directory, so the length of its path does not matter), or at inproc://drax-NAME-ACTOR when embedded.
 */
#ifndef DRAX_BROKER_ENDPOINT_H
#define DRAX_BROKER_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/limits.h"
#include "broker/message.h"

#define ENDPOINT_BYTES (LIMIT_ADDR_BYTES + 16)

/* True when `text` is HOST:PORT as above and fits in LIMIT_ADDR_BYTES. */
bool address_valid(const char *text);
/* The same host with another port into `out`. DRAX_EINVAL. */
int address_with_port(char out[LIMIT_ADDR_BYTES], const char *address, unsigned port);
unsigned address_port(const char *address); /* 0 when invalid */

/* tcp://ADDRESS; for binding, a host name is left to ZeroMQ to resolve. */
void endpoint_tcp(char out[ENDPOINT_BYTES], const char *address);
void endpoint_ipc(char out[ENDPOINT_BYTES], actor_t actor);
void endpoint_inproc(char out[ENDPOINT_BYTES], const char *name, actor_t actor);

#endif
