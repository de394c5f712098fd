/* node_options.h: what a host program set for its nodes. */
#ifndef DRAX_ACTORS_NODE_OPTIONS_H
#define DRAX_ACTORS_NODE_OPTIONS_H

#include "broker/config.h"
#include "drax_node.h"

struct drax_node_options {
    settings_pair_t *pairs; /* their texts are owned */
    size_t count;
    bool unbound;
    drax_node_log_fn *log; /* NULL: none */
    void *log_hint;
    drax_node_ended_fn *ended; /* NULL: none */
    void *ended_hint;
};

#endif
