/* gateway_internal.h: the gateway actor's insides, shared by its files:
 *
 *   gateway_actor.c   life, requests in, messages, answers out
 *   gateway_blocks.c  writes: blocks, proposed in order until their results come
 *   gateway_reads.c   reads: queries to storage, read indexes from raft
 *   gateway_local.c   ping, status and the membership methods
 */
#ifndef DRAX_ACTORS_GATEWAY_INTERNAL_H
#define DRAX_ACTORS_GATEWAY_INTERNAL_H

#include "actors/admission.h"
#include "actors/gateway_actor.h"
#include "actors/pending.h"
#include "broker/block.h"
#include "broker/error.h"
#include "broker/message.h"

/* A block or read that got no answer is repeated after this long, and a refused one after a shorter
 * time. */
#define GATEWAY_REPEAT_MS 1000u
#define GATEWAY_READ_REPEAT_MS 250u
#define GATEWAY_REFUSED_MS 20u
#define GATEWAY_UNSENT_RETRY_MS 5u
#define GATEWAY_STOP_MS 2000u
/* `ping` and `status` wait this long for a node that is just starting. */
#define GATEWAY_LOCAL_MS 3500u

/* One turn's writes. */
typedef struct block_item {
    uint64_t seq;       /* 0: never proposed */
    uint64_t prev;      /* as in `payload` */
    payload_t *payload; /* the block, built for its first proposal and whenever `prev` changes */
    buffer_t commands;
    uint64_t *tokens;
    size_t count, capacity;
    uint64_t deadline_ms, proposed_ms;
    unsigned exposed; /* proposals that may have reached a log */
    bool proposed;    /* since the last change of leader */
    struct block_item *next;
} block_item_t;

struct gateway_actor {
    gateway_options_t options;
    const post_t *post;
    const log_t *log;
    pendings_t *pendings;
    bool stopping;
    uint64_t stop_ms;
    bool stop_over;

    message_raft_status_t raft; /* as last told */
    bool raft_known;
    bool store_known;
    uint64_t revision, applied, digest; /* as last told by storage */
    bool no_space;

    uint64_t block_boot;                 /* 0: not chosen yet */
    block_item_t *blocks, **blocks_last; /* not confirmed, in order */
    block_item_t *open;                  /* the last of them while it takes commands */
    uint64_t seq, confirmed;
    uint64_t propose_ms; /* not before, after a refusal */

    admission_t admission;           /* reads that are not with storage yet */
    uint64_t read_id;                /* of the last linearizable query */
    uint64_t asked_id, asked_ms;     /* the last read index wanted, and when */
    buffer_t queries, stale_queries; /* this turn's, as batch elements */
    size_t query_count, stale_count;
    buffer_t scratch, response;
};

/* gateway_actor.c */
void gateway_answer(gateway_actor_t *self, uint64_t token, slice_t outcome);
void gateway_fail(gateway_actor_t *self, uint64_t token, rpc_code_t code, const char *text);
void gateway_learn(gateway_actor_t *self, const message_batch_t *batch);

/* gateway_blocks.c */
void gateway_write(gateway_actor_t *self, uint64_t token, slice_t command, uint64_t now_ms);
void gateway_blocks_turn(gateway_actor_t *self, uint64_t now_ms);
void gateway_blocks_again(gateway_actor_t *self);
void gateway_result(gateway_actor_t *self, const message_batch_t *result);
void gateway_skipped(gateway_actor_t *self, const message_batch_t *skipped, uint64_t now_ms);
void gateway_refused(gateway_actor_t *self, const message_propose_t *refused, uint64_t now_ms);
uint64_t gateway_blocks_deadline(const gateway_actor_t *self);
void gateway_blocks_free(gateway_actor_t *self);

/* gateway_reads.c */
void gateway_read(gateway_actor_t *self, uint64_t token);
void gateway_reads_turn(gateway_actor_t *self, uint64_t now_ms);
void gateway_reads_again(gateway_actor_t *self);
void gateway_reads_refused(gateway_actor_t *self);
void gateway_answers(gateway_actor_t *self, const message_batch_t *answers);
uint64_t gateway_reads_deadline(const gateway_actor_t *self);

/* gateway_local.c */
void gateway_local(gateway_actor_t *self, method_t method, buffer_t *outcome);
void gateway_local_answer(gateway_actor_t *self, uint64_t token);
/* Answers those that waited, once raft and storage have told what there is to tell. */
void gateway_local_turn(gateway_actor_t *self);
bool gateway_node_known(const gateway_actor_t *self);
void gateway_admin(gateway_actor_t *self, uint64_t token, const request_t *request);
void gateway_admin_result(gateway_actor_t *self, const message_admin_t *admin);

#endif
