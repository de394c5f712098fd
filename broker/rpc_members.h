/* rpc_members.h: members in the client protocol, and the one request that a node itself makes: to
 * be let into a cluster (member_add) at any active node's gateway. */
#ifndef DRAX_BROKER_RPC_MEMBERS_H
#define DRAX_BROKER_RPC_MEMBERS_H

#include "broker/message.h"
#include "broker/rpc.h"

/* [{id, addr, raft_addr, role}…], as in the results of status and member_*. */
void rpc_members(buffer_t *out, const config_t *config);

/* A whole member_add request. */
void rpc_member_add(buffer_t *out, uint32_t msgid, uint64_t id, const char *addr,
                    const char *raft_addr);

/* Its response, from a node that may be anything. 0: let in, `cluster` and `members` are set.
 * DRAX_EAGAIN: refused for now or of another request; DRAX_EINVAL: refused for good, `text` says
 * why; DRAX_EPROTO: not such a response. */
int rpc_member_added(slice_t payload, uint32_t msgid, uint64_t *cluster, config_t *members,
                     char text[160]);

#endif
