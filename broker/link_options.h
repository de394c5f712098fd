/* link_options.h: the socket options of links; link.c alone includes it. Each returns 0, or -1 with
 * errno. */
#ifndef DRAX_BROKER_LINK_OPTIONS_H
#define DRAX_BROKER_LINK_OPTIONS_H

#include "broker/link.h"

/* Before the socket is bound or connected to `endpoint`. */
int link_inbox_options_set(void *socket, link_scope_t scope, const char *endpoint);
int link_outlet_options_set(void *socket, link_scope_t scope, const char *endpoint);
/* The receiving end of an outlet's monitor. */
int link_monitor_options_set(void *socket);

#endif
