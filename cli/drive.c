/* drive.c: calls, from their callers to the router and back.
 *
 * A thread that needs an outcome becomes the driver when there is none, and takes turns until it
 * has it; else it waits for the driver, which sees to everybody's calls. A driver that leaves hands
 * over to one of those who wait. So threads share the connection, and each other's calls go out at
 * once.
 *
 * Invariants
 *  1. Callbacks run with the lock free, from drax_poll, drax_process and drax_destroy alone.
 *  2. A write is never more than CLIENT_WRITES_AHEAD after the oldest write without an outcome, so
 * the server still knows the answer of each write that may be sent again.
 *  3. While anybody waits, there is a driver, or the first of them has been woken to become it.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/client.h"
#include "cli/lock.h"
#include "cli/options.h"
#include "cli/watch.h"

static void turn(drax_t *self, uint64_t until_ms, bool look);
static void leave(drax_t *self);
static int completed_deliver(drax_t *self);
static void call_deliver(call_t *call);

static void list_append(call_list_t *list, call_t *call) {
    call->previous = list->last;
    call->next = NULL;
    if (list->last)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
}

static void list_remove(call_list_t *list, call_t *call) {
    if (call->previous)
        call->previous->next = call->next;
    else
        list->first = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else
        list->last = call->previous;
    call->previous = call->next = NULL;
}

/* ---- callers ---- */

static bool call_done(const drax_t *self, const void *call) {
    (void) self;
    return ((const call_t *) call)->state == CALL_DONE;
}

bool client_callbacks_ready(const drax_t *self) {
    return self->completed.first || watches_ready(self) || locks_ready(self);
}

static bool callback_due(const drax_t *self, const void *what) {
    (void) what;
    bool nothing = self->submitted == 0 && self->watches.with_callback == 0 && !locks_alive(self);
    return client_callbacks_ready(self) || nothing;
}

int client_call(drax_t *self, const call_spec_t *spec, drax_result_t **out) {
    if (out)
        *out = NULL;
    uint64_t deadline_ms = client_deadline(options_timeout_ms(spec->options, self->timeout_ms));
    (void) pthread_mutex_lock(&self->lock);
    call_t *call;
    int error = client_call_submit(self, spec, deadline_ms, &call);
    if (error == 0) {
        client_drive_until(self, call_done, call, deadline_ms);
        if (call->state != CALL_DONE) { /* the driver has not come to it yet */
            call_expire(call, self->trouble);
            client_call_settle(self, call);
        }
        error = call->error;
        if (error != 0)
            memcpy(self->detail, call->detail, sizeof self->detail);
        if (out) {
            *out = call->result;
            call->result = NULL;
        }
        call_destroy(&call);
    } else {
        snprintf(self->detail, sizeof self->detail, "%s", drax_error_text(error));
    }
    (void) pthread_mutex_unlock(&self->lock);
    return error;
}

int client_submit(drax_t *self, const call_spec_t *spec, drax_done_fn *done, void *arg) {
    if (!done)
        return DRAX_ERR_USAGE;
    uint64_t deadline_ms = client_deadline(options_timeout_ms(spec->options, self->timeout_ms));
    (void) pthread_mutex_lock(&self->lock);
    call_t *call;
    int error = client_call_submit(self, spec, deadline_ms, &call);
    if (error == 0) {
        call->done = done;
        call->arg = arg;
        self->submitted++;
        if (self->driven || self->wakeup.host_fd >= 0)
            wakeup_send(&self->wakeup);
    }
    (void) pthread_mutex_unlock(&self->lock);
    return error;
}

int drax_poll(drax_t *self, uint64_t timeout_ms) {
    (void) pthread_mutex_lock(&self->lock);
    client_drive_until(self, callback_due, NULL, client_deadline(timeout_ms));
    return completed_deliver(self);
}

int drax_process(drax_t *self) {
    (void) pthread_mutex_lock(&self->lock);
    if (!self->driven) {
        self->wakeup.processing = true;
        turn(self, 0, true);
        leave(self);
        self->wakeup.processing = false;
    }
    return completed_deliver(self);
}

size_t drax_pending(drax_t *self) {
    (void) pthread_mutex_lock(&self->lock);
    size_t pending = self->submitted;
    (void) pthread_mutex_unlock(&self->lock);
    return pending;
}

/* ---- the driver, and who waits for it ---- */

static void waiter_wait(drax_t *self, const void *what, uint64_t until_ms) {
    waiter_t waiter = {.what = what, .next = self->waiters};
    pthread_condattr_t monotonic;
    const struct timespec until = {.tv_sec = (time_t) (until_ms / 1000),
                                   .tv_nsec = (long) (until_ms % 1000) * 1000000};
    /* None of these fails for such attributes. */
    (void) pthread_condattr_init(&monotonic);
    (void) pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&waiter.changed, &monotonic);
    (void) pthread_condattr_destroy(&monotonic);
    if (self->waiters)
        self->waiters->previous = &waiter;
    self->waiters = &waiter;
    wakeup_send(&self->wakeup); /* the driver has a call to send, or a deadline to know of */
    (void) pthread_cond_timedwait(&waiter.changed, &self->lock, &until);
    if (waiter.previous)
        waiter.previous->next = waiter.next;
    else
        self->waiters = waiter.next;
    if (waiter.next)
        waiter.next->previous = waiter.previous;
    (void) pthread_cond_destroy(&waiter.changed);
}

static void turn(drax_t *self, uint64_t until_ms, bool look) {
    self->driven = true;
    router_turn(self, until_ms, look);
    self->driven = false;
}

void client_drive_until(drax_t *self, client_reached_fn *reached, const void *what,
                        uint64_t until_ms) {
    bool once = true;
    while (!reached(self, what) && (once || client_now_ms() < until_ms)) {
        if (!self->driven)
            turn(self, until_ms, once); /* after that the wait of the turn before has looked */
        else
            waiter_wait(self, what, until_ms);
        once = false;
    }
    if (!self->driven)
        leave(self);
}

/* Nobody drives now: one of those who wait is to, or the host's event loop. */
static void leave(drax_t *self) {
    if (self->waiters)
        (void) pthread_cond_signal(&self->waiters->changed);
    if (self->wakeup.host_fd >= 0)
        wakeup_timer_set(&self->wakeup, router_next_ms(self), self->turned_ms);
}

void client_waiters_tell(drax_t *self, const void *what) {
    for (waiter_t *waiter = self->waiters; waiter; waiter = waiter->next)
        if (waiter->what == what)
            (void) pthread_cond_signal(&waiter->changed);
}

/* ---- calls ---- */

/* The oldest write without an outcome; NULL when there is none. */
static const call_t *write_oldest(const drax_t *self) {
    const call_t *call = self->pending.first;
    while (call && call->seq == 0)
        call = call->next;
    return call;
}

/* Puts a call among the pending; its msgid gives it a slot that no other call has. */
int client_call_submit(drax_t *self, const call_spec_t *spec, uint64_t deadline_ms, call_t **out) {
    bool counted = spec->kind == CALL_WRITE && !spec->session;
    const call_t *oldest = counted ? write_oldest(self) : NULL;
    if (self->pending_count == CLIENT_SLOTS ||
        (oldest && self->seq + 1 - oldest->seq >= CLIENT_WRITES_AHEAD))
        return DRAX_ERR_FULL;
    uint32_t msgid = self->msgid + 1;
    while (self->slots[msgid % CLIENT_SLOTS])
        msgid++;
    uint64_t seq = spec->session ? spec->session_seq : counted ? self->seq + 1 : 0;
    int error = call_new(out, spec, msgid, spec->session ? spec->session : &self->id, seq);
    if (error != 0)
        return error;
    self->msgid = msgid;
    if (counted)
        self->seq = seq;
    (*out)->deadline_ms = deadline_ms;
    self->slots[msgid % CLIENT_SLOTS] = *out;
    list_append(&self->pending, *out);
    self->pending_count++;
    return 0;
}

void client_call_settle(drax_t *self, call_t *call) {
    assert(call->state == CALL_DONE && self->slots[call->msgid % CLIENT_SLOTS] == call);
    self->slots[call->msgid % CLIENT_SLOTS] = NULL;
    list_remove(&self->pending, call);
    self->pending_count--;
    self->outcomes++;
    if (call->done) {
        list_append(&self->completed, call);
        wakeup_done_set(&self->wakeup, true);
    }
    client_waiters_tell(self, call->done ? NULL : call);
    if (call->settled)
        call->settled(self, call);
}

/* Calls back for all that has completed. Gives the lock back. */
static int completed_deliver(drax_t *self) {
    call_t *call = self->completed.first;
    self->completed = (call_list_t){NULL, NULL};
    int count = 0;
    for (const call_t *at = call; at; at = at->next) {
        if (at->error != 0)
            memcpy(self->detail, at->detail, sizeof self->detail);
        self->submitted--;
        count++;
    }
    (void) pthread_mutex_unlock(&self->lock);
    while (call) {
        call_t *next = call->next;
        call_deliver(call);
        call = next;
    }
    count += locks_deliver(self) + watches_deliver(self);
    /* Of all kinds, at the end: meanwhile another thread may have received more of any. */
    (void) pthread_mutex_lock(&self->lock);
    wakeup_done_set(&self->wakeup, client_callbacks_ready(self));
    (void) pthread_mutex_unlock(&self->lock);
    return count;
}

static void call_deliver(call_t *call) {
    call->done(call->arg, call->error, call->detail, call->result);
    call_destroy(&call);
}

void client_calls_close(drax_t *self) {
    watches_close(self);
    locks_close(self);
    while (self->pending.first) {
        call_t *call = self->pending.first;
        call_finish(call, DRAX_ERR_CLOSED, NULL, NULL);
        client_call_settle(self, call);
    }
    while (self->completed.first) {
        call_t *call = self->completed.first;
        list_remove(&self->completed, call);
        call_deliver(call);
    }
}
