/* endpoint.h: HOST:PORT as users write it, and the endpoints that actors bind and connect.
 *
 * HOST is a name, an IPv4 address, an IPv6 address in brackets or * (every interface, for binding);
 * PORT is 1 to 65535. Actors of one node meet at ipc://run/ACTOR.ipc, relative to the home (a
 * process makes the home its working directory, so the length of its path does not matter), or at
 * inproc://drax-NAME-ACTOR when embedded.
 */
#ifndef DRAX_BROKER_ENDPOINT_H
#define DRAX_BROKER_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/limits.h"
#include "broker/message.h"

#define ENDPOINT_BYTES (LIMIT_ADDR_BYTES + 16)
#define ENDPOINT_NAME_BYTES 128

/* True when `text` is HOST:PORT as above and fits in LIMIT_ADDR_BYTES. */
bool address_valid(const char *text);
/* Is the host one that means every interface: *, 0.0.0.0 or [::]? Such an address can be bound, and
 * can be neither connected to nor advertised. */
bool address_wildcard(const char *address);
/* Does the host stand in brackets? Its sockets then need ZMQ_IPV6. */
bool address_ipv6(const char *address);
/* The same host with another port into `out`. DRAX_EINVAL. */
int address_with_port(char out[LIMIT_ADDR_BYTES], const char *address, unsigned port);
unsigned address_port(const char *address); /* 0 when invalid */

/* tcp://ADDRESS, to connect to; ZeroMQ resolves a host name, again at each attempt. */
void endpoint_tcp(char out[ENDPOINT_BYTES], const char *address);
/* The same, to bind: ZeroMQ binds no host names, so one is looked up here (this may block). A name
 * that cannot be resolved is left as it is: it may be that of an interface, which ZeroMQ does bind.
 */
void endpoint_tcp_bind(char out[ENDPOINT_BYTES], const char *address);
void endpoint_ipc(char out[ENDPOINT_BYTES], actor_t actor);
/* `name` is at most ENDPOINT_NAME_BYTES - 1 long. */
void endpoint_inproc(char out[ENDPOINT_BYTES], const char *name, actor_t actor);

#endif
