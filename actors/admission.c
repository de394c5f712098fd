#include "actors/admission.h"

#include <stdlib.h>
#include <string.h>

#include "broker/error.h"

static void list_append(admission_t *self, account_t *account) {
    account->waiting_next = NULL;
    account->waits = true;
    if (self->last)
        self->last->waiting_next = account;
    else
        self->first = account;
    self->last = account;
}

static account_t *list_pop(admission_t *self) {
    account_t *account = self->first;
    self->first = account->waiting_next;
    if (!self->first)
        self->last = NULL;
    account->waits = false;
    return account;
}

int admission_add(admission_t *self, pending_t *pending, uint64_t token) {
    account_t *account = pending->account;
    if (account->queue_head == account->queue_count)
        account->queue_head = account->queue_count = 0;
    if (account->queue_count == account->queue_capacity) {
        size_t capacity = account->queue_capacity ? account->queue_capacity * 2 : 16;
        uint64_t *queue = realloc(account->queue, capacity * sizeof *queue);
        if (!queue)
            return DRAX_ENOMEM;
        account->queue = queue;
        account->queue_capacity = capacity;
    }
    account->queue[account->queue_count++] = token;
    if (!account->waits)
        list_append(self, account);
    return 0;
}

static bool may_read(const account_t *account) {
    uint32_t window = account->window ? account->window : ADMISSION_START;
    return account->reading < window && !account->unsent;
}

/* Takes the account's first read that was not given up meanwhile; NULL: there is none. */
static pending_t *queue_take(account_t *account, pendings_t *pendings) {
    while (account->queue_head < account->queue_count) {
        pending_t *pending = pendings_find(pendings, account->queue[account->queue_head++]);
        if (pending)
            return pending;
    }
    return NULL;
}

pending_t *admission_next(admission_t *self, pendings_t *pendings) {
    account_t *seen = NULL; /* the first that has to wait: a second look at it ends the round */
    while (self->first && self->first != seen) {
        account_t *account = list_pop(self);
        bool may = may_read(account);
        pending_t *pending = may ? queue_take(account, pendings) : NULL;
        if (account->queue_head < account->queue_count || !may)
            list_append(self, account);
        if (pending) {
            pendings_reading_begin(pendings, pending);
            return pending;
        }
        if (account->waits && !seen)
            seen = account;
        account_settle(pendings, account);
    }
    return NULL;
}

void admission_answered(account_t *account, size_t size) {
    size_t average = account->answer_bytes ? (account->answer_bytes * 7 + size) / 8 : size;
    account->answer_bytes = average;
    uint32_t window = account->window ? account->window : ADMISSION_START;
    uint32_t most = (uint32_t) (ADMISSION_BYTES / (average + 1));
    most = most > ADMISSION_MOST ? ADMISSION_MOST : most < ADMISSION_LEAST ? ADMISSION_LEAST : most;
    account->window = window + 1 < most ? window + 1 : most;
}
