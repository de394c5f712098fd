/* gateway_locks.c: requests that wait for a lock.
 *
 * A lock request goes into a block as any write. When the state tells that it waits, under a
 * number, it is kept here, without the deadline that other requests have, until storage tells what
 * became of that number. Two commands of the gateway's own go into blocks for those that wait:
 * cancel, when the time is up or lock_cancel came, and resume, which asks what became of them: now
 * and then, and when storage comes anew, as what it told may have been lost with an earlier life of
 * it.
 *
 * Invariants
 *  1. Each lock request that is pending has an item, found by its connection and msgid; one that
 *     waits is found by its number too; one that has a deadline as well, by that.
 *  2. The answer to one that waits is what the state says of its number, or TIMEOUT: when there is
 *     no leader for long, when its cancel came to nothing for as long as any write has, when the
 *     node stops, and when the state does not know the number any more.
 */
#include <bsd/sys/tree.h>
#include <stdlib.h>
#include <string.h>

#include "actors/gateway_internal.h"
#include "broker/unpack.h"

typedef struct lock_item {
    RB_ENTRY(lock_item) by_request, by_waiter, by_deadline;
    account_t *account;
    uint32_t msgid;
    bool cancelled;
    bool once; /* its client can ask for it again */
    uint64_t token;
    uint64_t waiter;      /* 0: not known to wait */
    uint64_t deadline_ms; /* then it is cancelled; once it is, given up. UINT64_MAX: never */
} lock_item_t;

RB_HEAD(request_tree, lock_item);
RB_HEAD(waiter_tree, lock_item);
RB_HEAD(deadline_tree, lock_item);

/* Numbers for one of the two commands. */
typedef struct numbers {
    uint64_t *items;
    size_t count, capacity;
} numbers_t;

struct gateway_locks {
    struct request_tree requests;
    struct waiter_tree waiters;
    struct deadline_tree deadlines;
    numbers_t commands[2];  /* by wait_op_t, until there is a leader */
    uint64_t check_ms;      /* when to ask what became of them */
    uint64_t leaderless_ms; /* since when there is no leader; 0: there is one */
};

static int order(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

static int request_compare(const lock_item_t *a, const lock_item_t *b) {
    int by = order((uintptr_t) a->account, (uintptr_t) b->account);
    by = by ? by : order(a->msgid, b->msgid);
    return by ? by : order(a->token, b->token);
}

static int waiter_compare(const lock_item_t *a, const lock_item_t *b) {
    int by = order(a->waiter, b->waiter);
    return by ? by : order(a->token, b->token);
}

static int deadline_compare(const lock_item_t *a, const lock_item_t *b) {
    int by = order(a->deadline_ms, b->deadline_ms);
    return by ? by : order(a->token, b->token);
}

RB_GENERATE_INTERNAL(request_tree, lock_item, by_request, request_compare,
                     static __attribute__((unused)))
RB_GENERATE_INTERNAL(waiter_tree, lock_item, by_waiter, waiter_compare,
                     static __attribute__((unused)))
RB_GENERATE_INTERNAL(deadline_tree, lock_item, by_deadline, deadline_compare,
                     static __attribute__((unused)))

/* ---- commands ---- */

static void number_push(gateway_locks_t *self, wait_op_t op, uint64_t waiter) {
    numbers_t *numbers = &self->commands[op];
    if (numbers->count == LIMIT_GATEWAY_PENDING)
        return; /* those that still wait are asked about again */
    if (numbers->count == numbers->capacity) {
        size_t capacity = numbers->capacity ? numbers->capacity * 2 : 16;
        uint64_t *items = realloc(numbers->items, capacity * sizeof *items);
        if (!items)
            return;
        numbers->items = items;
        numbers->capacity = capacity;
    }
    numbers->items[numbers->count++] = waiter;
}

static void commands_write(gateway_actor_t *self, wait_op_t op, uint64_t now_ms) {
    numbers_t *numbers = &self->locks->commands[op];
    for (size_t at = 0; at < numbers->count; at += GATEWAY_WAITS_COMMAND) {
        size_t left = numbers->count - at;
        size_t count = left < GATEWAY_WAITS_COMMAND ? left : GATEWAY_WAITS_COMMAND;
        buffer_reset(&self->scratch);
        wait_begin(&self->scratch, op, count);
        for (size_t i = 0; i < count; i++)
            wait_add(&self->scratch, numbers->items[at + i]);
        if (!self->scratch.failed)
            gateway_write(self, GATEWAY_NO_TOKEN, (slice_t){self->scratch.data, self->scratch.size},
                          now_ms);
    }
    numbers->count = 0;
}

/* ---- how they come ---- */

void gateway_lock_begin(gateway_actor_t *self, uint64_t token, const request_t *request,
                        uint64_t now_ms) {
    pending_t *pending = pendings_find(self->pendings, token);
    lock_item_t *item = calloc(1, sizeof *item);
    if (!item)
        return; /* should it have to wait, it cannot */
    item->account = pending->account;
    item->msgid = request->msgid;
    item->token = token;
    item->once = request->client.size != 0;
    item->deadline_ms = request->has_wait ? gateway_wait_end(request, now_ms) : UINT64_MAX;
    pending->lock = item;
    RB_INSERT(request_tree, &self->locks->requests, item);
}

/* Its time is over since its deadline, or now; whether it is known to wait already or not. */
static void item_cancel(gateway_locks_t *self, lock_item_t *item, uint64_t now_ms) {
    if (item->cancelled)
        return;
    if (item->waiter && item->deadline_ms != UINT64_MAX)
        RB_REMOVE(deadline_tree, &self->deadlines, item);
    item->cancelled = true;
    item->deadline_ms =
        (item->deadline_ms < now_ms ? item->deadline_ms : now_ms) + LIMIT_REQUEST_TIMEOUT_MS;
    if (!item->waiter)
        return; /* as soon as it is */
    RB_INSERT(deadline_tree, &self->deadlines, item);
    number_push(self, WAIT_CANCEL, item->waiter);
}

void gateway_lock_waits(gateway_actor_t *self, uint64_t token, uint64_t waiter, uint64_t now_ms) {
    gateway_locks_t *locks = self->locks;
    pending_t *pending = pendings_find(self->pendings, token);
    lock_item_t *item = pending ? pending->lock : NULL;
    if (!item) {
        number_push(locks, WAIT_CANCEL, waiter);
        gateway_fail(self, token, RPC_TIMEOUT, "out of memory");
        return;
    }
    if (RB_EMPTY(&locks->waiters))
        locks->check_ms = now_ms + GATEWAY_WAITS_CHECK_MS;
    item->waiter = waiter;
    RB_INSERT(waiter_tree, &locks->waiters, item);
    if (item->deadline_ms != UINT64_MAX)
        RB_INSERT(deadline_tree, &locks->deadlines, item);
    if (item->cancelled)
        number_push(locks, WAIT_CANCEL, waiter);
}

void gateway_lock_orphans(gateway_actor_t *self, batch_t *results) {
    uint64_t waiter;
    slice_t once;
    while (batch_next(results, &waiter, &once) == 1) {
        item_t item;
        if (!waiter || unpack_item(&once, &item) != 0 || item.type != ITEM_BOOL || item.number)
            continue;
        lock_item_t wanted = {.waiter = waiter};
        const lock_item_t *found = RB_NFIND(waiter_tree, &self->locks->waiters, &wanted);
        if (!found || found->waiter != waiter)
            number_push(self->locks, WAIT_CANCEL, waiter);
    }
}

/* ---- how they end ---- */

void gateway_lock_closed(gateway_actor_t *self, pending_t *pending) {
    gateway_locks_t *locks = self->locks;
    lock_item_t *item = pending->lock;
    pending->lock = NULL;
    RB_REMOVE(request_tree, &locks->requests, item);
    if (item->waiter) {
        RB_REMOVE(waiter_tree, &locks->waiters, item);
        if (item->deadline_ms != UINT64_MAX)
            RB_REMOVE(deadline_tree, &locks->deadlines, item);
    }
    free(item);
}

/* What the state says of a number goes to all requests that wait under it. */
static void waiter_answer(gateway_actor_t *self, uint64_t waiter, slice_t outcome) {
    lock_item_t wanted = {.waiter = waiter};
    lock_item_t *item = RB_NFIND(waiter_tree, &self->locks->waiters, &wanted), *next;
    for (; item && item->waiter == waiter; item = next) {
        next = RB_NEXT(waiter_tree, &self->locks->waiters, item);
        if (outcome.size)
            gateway_answer(self, item->token, outcome);
        else /* it was granted, or cancelled, and that was told while storage did not live */
            gateway_fail(self, item->token, RPC_TIMEOUT, "the lock is not waited for any more");
    }
}

void gateway_settled(gateway_actor_t *self, const message_batch_t *settled) {
    batch_t batch;
    uint64_t waiter;
    slice_t outcome;
    if (RB_EMPTY(&self->locks->waiters) || batch_open(&batch, payload_slice(settled->payload)) != 0)
        return;
    while (batch_next(&batch, &waiter, &outcome) == 1)
        waiter_answer(self, waiter, outcome);
}

void gateway_lock_cancel(gateway_actor_t *self, const account_t *account, uint32_t msgid,
                         uint64_t now_ms) {
    gateway_locks_t *locks = self->locks;
    lock_item_t wanted = {.account = (account_t *) (uintptr_t) account, .msgid = msgid};
    lock_item_t *item = RB_NFIND(request_tree, &locks->requests, &wanted);
    for (; item && item->account == account && item->msgid == msgid;
         item = RB_NEXT(request_tree, &locks->requests, item))
        item_cancel(locks, item, now_ms);
}

/* Answers all that wait without knowing what becomes of them. Those that nobody can ask for again
 * are not to have the lock. */
static void waiters_abandon(gateway_actor_t *self, const char *why) {
    gateway_locks_t *locks = self->locks;
    lock_item_t *item;
    while ((item = RB_MIN(waiter_tree, &locks->waiters)) != NULL) {
        if (!item->once)
            number_push(locks, WAIT_CANCEL, item->waiter);
        gateway_fail(self, item->token, RPC_TIMEOUT, why);
    }
}

void gateway_locks_stop(gateway_actor_t *self) {
    waiters_abandon(self, "the node is stopping; the lock may still be granted");
}

/* ---- turns ---- */

/* Asks what became of all of them. */
static void waiters_check(gateway_locks_t *self) {
    lock_item_t *item;
    uint64_t last = 0;
    RB_FOREACH(item, waiter_tree, &self->waiters) {
        if (item->waiter != last)
            number_push(self, item->cancelled ? WAIT_CANCEL : WAIT_RESUME, item->waiter);
        if (item->waiter != last && item->cancelled)
            number_push(self, WAIT_RESUME, item->waiter);
        last = item->waiter;
    }
}

static void leader_watch(gateway_actor_t *self, uint64_t now_ms) {
    gateway_locks_t *locks = self->locks;
    if (self->raft_known && self->raft.leader)
        locks->leaderless_ms = 0;
    else if (!locks->leaderless_ms)
        locks->leaderless_ms = now_ms;
    else if (now_ms >= locks->leaderless_ms + GATEWAY_LEADERLESS_MS)
        waiters_abandon(self, "there is no leader; the lock may still be granted");
}

/* The cancel, or what it came to, may have been lost. It is put into the log once more: who was
 * told nothing does not hold a lock, if it can be helped. */
static void item_give_up(gateway_actor_t *self, const lock_item_t *item) {
    number_push(self->locks, WAIT_CANCEL, item->waiter);
    gateway_fail(self, item->token, RPC_TIMEOUT, "no result in time; the lock may be granted");
}

void gateway_locks_turn(gateway_actor_t *self, uint64_t now_ms) {
    gateway_locks_t *locks = self->locks;
    lock_item_t *item;
    leader_watch(self, now_ms);
    while ((item = RB_MIN(deadline_tree, &locks->deadlines)) && item->deadline_ms <= now_ms) {
        if (item->cancelled)
            item_give_up(self, item);
        else
            item_cancel(locks, item, now_ms);
    }
    if (locks->leaderless_ms)
        return;
    if (!RB_EMPTY(&locks->waiters) && now_ms >= locks->check_ms) {
        waiters_check(locks);
        locks->check_ms = now_ms + GATEWAY_WAITS_CHECK_MS;
    }
    commands_write(self, WAIT_CANCEL, now_ms);
    commands_write(self, WAIT_RESUME, now_ms);
}

uint64_t gateway_locks_deadline(const gateway_actor_t *self) {
    const gateway_locks_t *locks = self->locks;
    if (RB_EMPTY(&locks->waiters))
        return UINT64_MAX;
    uint64_t at =
        locks->leaderless_ms ? locks->leaderless_ms + GATEWAY_LEADERLESS_MS : locks->check_ms;
    const lock_item_t *first = RB_MIN(deadline_tree, (struct deadline_tree *) &locks->deadlines);
    return first && first->deadline_ms < at ? first->deadline_ms : at;
}

void gateway_locks_again(gateway_actor_t *self) {
    self->locks->check_ms = 0;
}

/* ---- life ---- */

int gateway_locks_new(gateway_locks_t **out) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return DRAX_ENOMEM;
    RB_INIT(&(*out)->requests);
    RB_INIT(&(*out)->waiters);
    RB_INIT(&(*out)->deadlines);
    return 0;
}

void gateway_locks_destroy(gateway_locks_t **self) {
    gateway_locks_t *locks = *self;
    *self = NULL;
    if (!locks)
        return;
    lock_item_t *item;
    while ((item = RB_MIN(request_tree, &locks->requests)) != NULL) {
        RB_REMOVE(request_tree, &locks->requests, item);
        free(item);
    }
    free(locks->commands[WAIT_CANCEL].items);
    free(locks->commands[WAIT_RESUME].items);
    free(locks);
}
