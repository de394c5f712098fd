/* gateway_blocks.c: writes. See gateway_actor.h for the way they go and block.h for the rule that
 * lets a block be proposed more than once. */
#include <stdlib.h>
#include <string.h>

#include "actors/gateway_internal.h"
#include "broker/limits.h"

/* ---- building ---- */

static block_item_t *block_open_new(gateway_actor_t *self, uint64_t now_ms) {
    block_item_t *block = calloc(1, sizeof *block);
    if (!block)
        return NULL;
    block->deadline_ms = now_ms + LIMIT_REQUEST_TIMEOUT_MS;
    *self->blocks_last = block;
    self->blocks_last = &block->next;
    self->open = block;
    return block;
}

static bool token_push(block_item_t *block, uint64_t token) {
    if (block->count == block->capacity) {
        size_t capacity = block->capacity ? block->capacity * 2 : 16;
        uint64_t *tokens = realloc(block->tokens, capacity * sizeof *tokens);
        if (!tokens)
            return false;
        block->tokens = tokens;
        block->capacity = capacity;
    }
    block->tokens[block->count++] = token;
    return true;
}

void gateway_write(gateway_actor_t *self, uint64_t token, slice_t command, uint64_t now_ms) {
    block_item_t *block = self->open;
    if (block && (block->count >= LIMIT_BLOCK_COMMANDS ||
                  block->commands.size + command.size > LIMIT_BLOCK_BYTES))
        block = NULL;
    if (!block)
        block = block_open_new(self, now_ms);
    if (!block || !token_push(block, token)) {
        gateway_fail(self, token, RPC_UNAVAILABLE, "out of memory");
        return;
    }
    block_add(&block->commands, command);
}

static void block_free(block_item_t *block) {
    buffer_free(&block->commands);
    payload_unref(&block->payload);
    free(block->tokens);
    free(block);
}

/* Takes `block`, which is in the list, out of it and frees it; its requests must have been
 * answered. */
static void block_remove(gateway_actor_t *self, block_item_t *block) {
    block_item_t **at = &self->blocks;
    while (*at != block)
        at = &(*at)->next;
    *at = block->next;
    if (!*at)
        self->blocks_last = at;
    if (self->open == block)
        self->open = NULL;
    block_free(block);
}

static void block_fail(gateway_actor_t *self, block_item_t *block, rpc_code_t code,
                       const char *text) {
    for (size_t i = 0; i < block->count; i++)
        gateway_fail(self, block->tokens[i], code, text);
    block_remove(self, block);
}

/* The answer to a block that cannot be waited for any longer (invariant 2). */
static void block_give_up(gateway_actor_t *self, block_item_t *block) {
    if (block->exposed)
        block_fail(self, block, RPC_TIMEOUT, "no result in time; the write may still be applied");
    else
        block_fail(self, block, RPC_UNAVAILABLE, "no leader with a majority was reached in time");
}

/* ---- proposing ---- */

static int block_build(gateway_actor_t *self, block_item_t *block, uint64_t prev) {
    if (block->payload && block->prev == prev)
        return 0;
    payload_unref(&block->payload);
    buffer_reset(&self->scratch);
    block_begin(&self->scratch, self->raft.node, self->block_boot, block->seq, prev, block->count);
    buffer_append(&self->scratch, block->commands.data, block->commands.size);
    block->prev = prev;
    block->payload = buffer_take(&self->scratch);
    return block->payload ? 0 : DRAX_ENOMEM;
}

static bool block_propose(gateway_actor_t *self, block_item_t *block, uint64_t prev,
                          uint64_t now_ms) {
    if (block->commands.failed) {
        block_fail(self, block, RPC_UNAVAILABLE, "out of memory");
        return false;
    }
    if (!block->seq)
        block->seq = ++self->seq;
    if (block_build(self, block, prev) != 0)
        return false; /* tried again next turn */
    message_t message = {.kind = MESSAGE_PROPOSE,
                         .propose = {.boot = self->block_boot,
                                     .seq = block->seq,
                                     .payload = payload_ref(block->payload)}};
    self->post->local(self->post->self, ACTOR_RAFT, &message);
    block->proposed = true;
    block->proposed_ms = now_ms;
    block->exposed++;
    return true;
}

static bool leader_reachable(const gateway_actor_t *self) {
    return self->raft_known && self->raft.node && self->raft.leader &&
           self->post->boot(self->post->self, ACTOR_RAFT);
}

/* A block's boot is above any that this node's gateways are known to have used, whatever the clock
 * says. Where the clock went back, blocks of an earlier life may be on their way that nobody here
 * knows of: with a random step, no two lives take the same boot. */
static void block_boot_choose(gateway_actor_t *self) {
    if (self->block_boot)
        return;
    uint64_t floor = self->boot_floor;
    if (self->raft.gateway_boot > floor)
        floor = self->raft.gateway_boot;
    self->block_boot = self->options.boot;
    if (floor >= self->block_boot)
        self->block_boot = floor + 1 + self->options.seed % GATEWAY_BOOT_STEP;
}

/* Blocks of an earlier life came that have a greater boot, so none of this one counts any more: the
 * next ones take another. What was proposed may have counted before. */
static void block_boot_renew(gateway_actor_t *self, uint64_t above) {
    self->boot_floor = above;
    self->block_boot = 0;
    self->confirmed = 0;
    for (block_item_t *block = self->blocks, *next; block; block = next) {
        next = block->next;
        payload_unref(&block->payload);
        if (block->exposed)
            block_fail(self, block, RPC_TIMEOUT, "an earlier life of the gateway came in between");
    }
    gateway_blocks_again(self);
}

/* Commands in blocks that have left and have no result yet. */
static size_t under_way(const gateway_actor_t *self) {
    size_t count = 0;
    for (const block_item_t *block = self->blocks; block && block != self->open;
         block = block->next)
        count += block->count;
    return count;
}

/* Until when the open block waits for more commands; 0: it does not. One that is alone leaves at
 * once; others when they hold as many commands as all before them that have no result yet, which a
 * result may bring about. So the more is asked for, the more share what a block costs whatever is
 * in it, and what waits waits for less than a block is under way (Nagle's rule, RFC 896, with sizes
 * that grow). When results fail to come it leaves after GATEWAY_GATHER_MS. Few commands among many
 * reads would still make many small blocks, as a block is over sooner than a read: so it also waits
 * for a share of what is in hand, for GATEWAY_MIXED_MS. */
static uint64_t open_until(const gateway_actor_t *self) {
    uint64_t opened_ms = self->open->deadline_ms - LIMIT_REQUEST_TIMEOUT_MS;
    if (self->open->count < under_way(self))
        return opened_ms + GATEWAY_GATHER_MS;
    if (self->open->count < gateway_reads_in_hand(self) / GATEWAY_MIXED_SHARE)
        return opened_ms + GATEWAY_MIXED_MS;
    return 0;
}

bool gateway_blocks_turn(gateway_actor_t *self, uint64_t now_ms) {
    while (self->blocks && now_ms >= self->blocks->deadline_ms)
        block_give_up(self, self->blocks);
    /* The oldest has waited too long for its result: a proposal was lost on the way to the leader.
     */
    if (self->blocks && self->blocks->proposed &&
        now_ms >= self->blocks->proposed_ms + GATEWAY_REPEAT_MS)
        gateway_blocks_again(self);
    if (now_ms < self->propose_ms || !leader_reachable(self)) {
        self->open = NULL;
        return false;
    }
    block_boot_choose(self);
    uint64_t prev = self->confirmed;
    bool left = false;
    for (block_item_t *block = self->blocks, *next; block; block = next) {
        next = block->next;
        if (block == self->open) {
            if (now_ms < open_until(self))
                return left;
            self->open = NULL;
        }
        if (!block->proposed) {
            if (!block_propose(self, block, prev, now_ms))
                return left;
            left = true;
        }
        prev = block->seq;
    }
    return left;
}

void gateway_blocks_again(gateway_actor_t *self) {
    for (block_item_t *block = self->blocks; block; block = block->next)
        block->proposed = false;
}

/* ---- what comes back ---- */

void gateway_result(gateway_actor_t *self, const message_batch_t *result, uint64_t now_ms) {
    block_item_t *block = self->blocks;
    while (block && block->seq != result->seq)
        block = block->next;
    if (result->boot != self->block_boot)
        return; /* of an earlier life */
    if (result->seq > self->confirmed)
        self->confirmed = result->seq;
    batch_t batch;
    uint64_t waiter;
    slice_t outcome;
    int rc = batch_open(&batch, payload_slice(result->payload));
    if (!block) { /* given up, or told for the second time */
        if (rc == 0)
            gateway_lock_orphans(self, &batch);
        return;
    }
    if (rc || batch.count != block->count) {
        log_error(self->log, "a block's results do not fit it seq=%llu",
                  (unsigned long long) block->seq);
        block_fail(self, block, RPC_TIMEOUT, "the result was lost");
        return;
    }
    for (size_t i = 0; i < block->count && batch_next(&batch, &waiter, &outcome) == 1; i++) {
        if (waiter)
            gateway_lock_waits(self, block->tokens[i], waiter, now_ms);
        else
            gateway_answer(self, block->tokens[i], outcome);
    }
    block_remove(self, block);
}

void gateway_skipped(gateway_actor_t *self, const message_batch_t *skipped, uint64_t now_ms) {
    if (self->block_boot && skipped->boot > self->block_boot)
        block_boot_renew(self, skipped->boot);
    if (skipped->boot != self->block_boot)
        return;
    if (skipped->seq > self->confirmed)
        self->confirmed = skipped->seq;
    /* It counted, but its result went with an earlier life of storage. */
    while (self->blocks && self->blocks->seq && self->blocks->seq <= skipped->seq)
        block_fail(self, self->blocks, RPC_TIMEOUT,
                   "the write was applied but its result was lost");
    gateway_locks_again(self); /* and so may be what it came to for those that wait */
    if (self->blocks && self->blocks->proposed &&
        now_ms >= self->blocks->proposed_ms + GATEWAY_REFUSED_MS * 5)
        gateway_blocks_again(self);
}

void gateway_refused(gateway_actor_t *self, const message_propose_t *refused, uint64_t now_ms) {
    block_item_t *block = self->blocks;
    while (block && block->seq != refused->seq)
        block = block->next;
    if (!block || refused->boot != self->block_boot)
        return;
    if (block->exposed)
        block->exposed--;
    /* Those after it would be skipped: they follow it, or the one before it, again. */
    for (block_item_t *later = block; later; later = later->next)
        later->proposed = false;
    if (refused->code == DRAX_ENOSPC && !block->exposed)
        block_fail(self, block, RPC_UNAVAILABLE, "no space left on the leader's disk");
    else
        self->propose_ms = now_ms + GATEWAY_REFUSED_MS;
}

uint64_t gateway_blocks_deadline(const gateway_actor_t *self) {
    const block_item_t *block = self->blocks;
    if (!block)
        return UINT64_MAX;
    uint64_t at = block->deadline_ms;
    if (block->proposed && block->proposed_ms + GATEWAY_REPEAT_MS < at)
        at = block->proposed_ms + GATEWAY_REPEAT_MS;
    for (; block && block->proposed; block = block->next)
        ;
    if (!block || !leader_reachable(self))
        return at;
    uint64_t propose_ms = self->propose_ms;
    uint64_t until_ms = block == self->open ? open_until(self) : 0;
    propose_ms = until_ms > propose_ms ? until_ms : propose_ms;
    return propose_ms < at ? propose_ms : at;
}

void gateway_blocks_free(gateway_actor_t *self) {
    while (self->blocks)
        block_remove(self, self->blocks);
}
