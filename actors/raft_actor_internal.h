/* raft_actor_internal.h: the raft actor's insides, shared by its files:
 *
 *   raft_actor.c    life, turns, posting
 *   raft_start.c    identity, and a core made from what storage holds
 *   raft_receive.c  messages of this node and of peers
 *   raft_ready.c    what the core wants done, and status
 *   raft_admin.c    membership and leadership requests
 *   raft_members.c  where peers are, and telling them of it
 */
#ifndef DRAX_ACTORS_RAFT_ACTOR_INTERNAL_H
#define DRAX_ACTORS_RAFT_ACTOR_INTERNAL_H

#include "actors/raft/raft.h"
#include "actors/raft_actor.h"
#include "broker/error.h"

#define RAFT_STATUS_MS 100u
#define RAFT_MEMBERS_MS 500u
/* A connection that could not be made, for want of memory, is tried again. */
#define RAFT_CONNECT_MS 500u
#define RAFT_STOP_MS 1500u
#define RAFT_PULL_RETRY_MS 1000u
#define RAFT_ADMIN_MS 3500u
#define RAFT_ADMIN_RETRY_MS 20u
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define RAFT_ADMIN_MAX 4u /* a fuzzer reaches it, and makes the table at every execution */
#else
#define RAFT_ADMIN_MAX 64u
#endif

typedef enum { RAFT_WAITING, RAFT_JOINING, RAFT_FORMATTING, RAFT_RUNNING } raft_phase_t;

/* A membership or transfer request that this node, as leader, has taken on. */
typedef struct admin_request {
    message_admin_t admin;
    uint64_t origin; /* node it came from; 0: this node's gateway */
    uint64_t index;  /* of the entry that decides it; 0: not begun (a change is pending) */
    uint64_t deadline_ms;
} admin_request_t;

/* A snapshot on its way here. */
typedef struct pull {
    uint64_t from; /* 0: none */
    uint64_t session, chunk;
    uint64_t asked_ms;
} pull_t;

/* Who hears of read indexes: storage, where queries wait, or the gateway, where answers do. */
typedef enum { READS_PARKED, READS_HELD, READS_END } raft_reads_t;

struct raft_actor {
    raft_actor_options_t options;
    const post_t *post;
    const log_t *log;
    raft_phase_t phase;
    int fatal;       /* not 0: the turn returns it */
    uint64_t random; /* splitmix64's state */
    uint64_t cluster, node;
    config_t hint;             /* peers to reach until the log names them */
    config_t latest, previous; /* memberships, as the core had them */
    config_t told;             /* by a peer that is not where the log says; count 0: none */
    uint64_t told_by;
    uint64_t members_ms; /* when others are told again */
    uint64_t connect_ms; /* when the post is told again who they are */
    uint64_t gateway_boot;
    bool watched; /* the gateway has watches */
    raft_t *core;
    uint64_t
        cores; /* made so far: each is a life of its own to the peers, who probe its log anew */
    bool no_space;
    uint64_t status_ms; /* when the next status is due */
    uint64_t status_commit;
    message_ack_t acked; /* by storage, as the last WRITTEN of this turn says; to nobody: none */
    raft_role_t status_role;
    uint64_t reads_wanted[READS_END]; /* the gateway's last read_id; 0: all have their index */
    pull_t pull;
    admin_request_t admins[RAFT_ADMIN_MAX];
    size_t admin_count;
    bool stopping, stop_over;
    uint64_t stop_ms; /* until when a leader waits for its successor */
};

/* raft_actor.c */
uint64_t raft_actor_random(raft_actor_t *self);
void raft_actor_local(raft_actor_t *self, actor_t to, message_t *message);
/* For this core and those to come. */
void raft_actor_watched(raft_actor_t *self, bool watched);
/* As this node, in the core's term. */
void raft_actor_peer(raft_actor_t *self, uint64_t to, message_t *message);

/* raft_start.c */
/* Asks storage what it holds; the core that there was goes. */
void raft_storage_ask(raft_actor_t *self);
void raft_opened_receive(raft_actor_t *self, const message_opened_t *opened, uint64_t now_ms);

/* raft_receive.c; the caller clears the message. */
void raft_local_receive(raft_actor_t *self, message_t *message, uint64_t now_ms);
void raft_peer_receive(raft_actor_t *self, message_t *message, uint64_t now_ms);

/* raft_ready.c */
/* There is a core. */
void raft_ready_carry_out(raft_actor_t *self, uint64_t now_ms);
void raft_status_changed(raft_actor_t *self);
void raft_status_send(raft_actor_t *self); /* to the gateway */
void raft_clock_send(raft_actor_t *self);  /* to storage; nothing without a core */
/* The chunk that is next; there is a pull. */
void raft_pull_ask(raft_actor_t *self, uint64_t now_ms);

/* raft_members.c */
void raft_members_connect(raft_actor_t *self);
void raft_members_receive(raft_actor_t *self, const message_t *message);
void raft_members_turn(raft_actor_t *self, uint64_t now_ms);
/* A member, which asks for it itself, has other addresses. Leader only; it asks until it is so. */
void raft_members_move(raft_actor_t *self, const message_admin_t *admin);

/* raft_admin.c */
void raft_admin_receive(raft_actor_t *self, const message_t *message, uint64_t now_ms);
void raft_admin_result(raft_actor_t *self, const message_t *message);
void raft_admin_turn(raft_actor_t *self, uint64_t now_ms);
uint64_t raft_admin_deadline(const raft_actor_t *self, uint64_t now_ms);
void raft_admin_fail_all(raft_actor_t *self, int code);

#endif
