/* router.c: which endpoint a call goes to, when it is sent again, and what comes back.
 *
 * All calls go to `current`. A connection that fails, or whose node answers UNAVAILABLE or TIMEOUT,
 * moves `current` on to the next endpoint; answers to what was sent before are still taken from the
 * old one while it stands.
 *
 * Invariants
 *  1. A call is SENT on a connection that is READY; when that goes, the call is WAITING or DONE.
 *  2. Every wait ends by the earliest deadline, retry, attempt or connection timer.
 */
#include <stdio.h>
#include <string.h>

#include "broker/error.h"
#include "cli/client.h"
#include "cli/lock.h"
#include "cli/result.h"
#include "cli/watch.h"

static void network_read(drax_t *self, uint64_t now_ms);
static void answers_take(drax_t *self, connection_t *connection, uint64_t now_ms);
static const char *answer_take(drax_t *self, connection_t *connection, zmq_msg_t *message,
                               uint64_t now_ms);
static void connection_lost(drax_t *self, connection_t *connection, const char *trouble,
                            uint64_t now_ms);
static void timers_run(drax_t *self, uint64_t now_ms);
static void connections_keep(drax_t *self, uint64_t now_ms);
static void calls_end(drax_t *self);
static void calls_send(drax_t *self, uint64_t now_ms);
static uint64_t timer_next(const drax_t *self, uint64_t now_ms);
static bool network_readable(drax_t *self);

void router_turn(drax_t *self, uint64_t until_ms, bool look) {
    uint64_t now_ms = client_now_ms();
    uint64_t outcomes = self->outcomes;
    self->turned_ms = now_ms;
    wakeup_take(&self->wakeup);
    if (look)
        wakeup_wait(&self->wakeup, 0);
    network_read(self, now_ms);
    timers_run(self, now_ms);
    locks_turn(self, now_ms);
    watches_ask(self);
    connections_keep(self, now_ms);
    calls_send(self, now_ms);
    watches_send(self);
    if (self->outcomes != outcomes || network_readable(self))
        return;
    uint64_t next_ms = timer_next(self, now_ms);
    if (next_ms > until_ms)
        next_ms = until_ms;
    if (next_ms <= now_ms)
        return;
    (void) pthread_mutex_unlock(&self->lock);
    wakeup_wait(&self->wakeup, next_ms - now_ms);
    (void) pthread_mutex_lock(&self->lock);
}

uint64_t router_next_ms(drax_t *self) {
    return network_readable(self) ? 0 : timer_next(self, self->turned_ms);
}

static bool network_readable(drax_t *self) {
    bool readable = false;
    for (size_t i = 0; i < self->connection_count && !readable; i++)
        readable = connection_readable(&self->connections[i]);
    return readable;
}

static void network_read(drax_t *self, uint64_t now_ms) {
    for (size_t i = 0; i < self->connection_count; i++) {
        connection_t *connection = &self->connections[i];
        if (connection->state == CONNECTION_IDLE)
            continue;
        answers_take(self, connection, now_ms);
        if (connection->state == CONNECTION_IDLE)
            continue;
        switch (connection_event(connection)) {
        case CONNECTION_QUIET:
        case CONNECTION_UP:
            break;
        case CONNECTION_DOWN:
            connection_lost(self, connection,
                            connection->state == CONNECTION_READY ? "connection lost"
                                                                  : "cannot connect",
                            now_ms);
            break;
        }
    }
}

static void answers_take(drax_t *self, connection_t *connection, uint64_t now_ms) {
    zmq_msg_t message;
    for (size_t i = 0; i < CLIENT_TURN_MESSAGES; i++) {
        if (!connection_receive(connection, &message))
            return;
        const char *trouble = answer_take(self, connection, &message, now_ms);
        if (trouble) {
            connection_lost(self, connection, trouble, now_ms);
            return;
        }
    }
}

/* NULL, or why the connection is of no use any more. */
static const char *answer_take(drax_t *self, connection_t *connection, zmq_msg_t *message,
                               uint64_t now_ms) {
    answer_t answer;
    answer_kind_t kind = answer_decode(&answer, message);
    if (kind == ANSWER_IGNORED)
        return NULL;
    /* It may have been an answer that its call waits for, or an event that its watch would miss: on
     * a new connection both are asked for again. */
    if (kind == ANSWER_NO_MEMORY)
        return "no memory for what it sent";
    if (kind == ANSWER_MALFORMED)
        return "what it sends is not an answer of Drax";
    self->trouble[0] = '\0';
    if (kind == ANSWER_EVENT) {
        watches_receive(self, connection, &answer, now_ms);
        return NULL;
    }
    call_t *call = self->slots[answer.msgid % CLIENT_SLOTS];
    if (!call || call->msgid != answer.msgid || call->on != connection) {
        drax_result_destroy(&answer.result); /* of a call that has ended */
        return NULL;
    }
    if (answer.error == DRAX_ERR_UNAVAILABLE || answer.error == DRAX_ERR_TIMEOUT) {
        if (connection == &self->connections[self->current])
            self->current = (self->current + 1) % self->connection_count;
        call_refused(call, answer.error, answer.detail, now_ms);
    } else {
        call->answered_by = connection;
        call->compacted = answer.compacted;
        call_finish(call, answer.error, answer.detail, answer.result);
    }
    if (call->state == CALL_DONE)
        client_call_settle(self, call);
    return NULL;
}

static void connection_lost(drax_t *self, connection_t *connection, const char *trouble,
                            uint64_t now_ms) {
    snprintf(self->trouble, sizeof self->trouble, "%.200s: %s", connection->address, trouble);
    connection_fail(connection, now_ms);
    if (connection == &self->connections[self->current])
        self->current = (self->current + 1) % self->connection_count;
    watches_lost(self, connection);
    for (call_t *call = self->pending.first, *next; call; call = next) {
        next = call->next;
        if (call->on != connection)
            continue;
        call_lost(call, now_ms);
        if (call->state == CALL_DONE)
            client_call_settle(self, call);
    }
}

/* Deadlines of calls, and connections that have been silent or opening for too long. */
static void timers_run(drax_t *self, uint64_t now_ms) {
    for (call_t *call = self->pending.first, *next; call; call = next) {
        next = call->next;
        if (now_ms < call->deadline_ms)
            continue;
        call_expire(call, self->trouble);
        client_call_settle(self, call);
    }
    connection_t *mute = watches_mute(self, now_ms);
    if (mute)
        connection_lost(self, mute, "a watch fell silent", now_ms);
    for (size_t i = 0; i < self->connection_count; i++) {
        connection_t *connection = &self->connections[i];
        if (connection->state == CONNECTION_OPENING &&
            now_ms >= connection->opened_ms + CLIENT_CONNECT_MS)
            connection_lost(self, connection, "cannot connect in time", now_ms);
        if (connection->state != CONNECTION_READY)
            continue;
        const call_t *call = self->pending.first;
        while (call && !(call->on == connection && now_ms >= call->sent_ms + call->attempt_ms))
            call = call->next;
        if (call)
            connection_lost(self, connection, "no answer", now_ms);
    }
}

/* Steps on from `current` to the first connection in `state`; false when there is none. For IDLE
 * ones, only those whose pause is over count; for OPENING ones, only those that are not slow yet.
 */
static bool current_find(drax_t *self, connection_state_t state, uint64_t now_ms) {
    for (size_t i = 0; i < self->connection_count; i++) {
        size_t at = (self->current + i) % self->connection_count;
        const connection_t *connection = &self->connections[at];
        if (connection->state != state ||
            (state == CONNECTION_IDLE && now_ms < connection->retry_ms) ||
            (state == CONNECTION_OPENING && now_ms >= connection->opened_ms + CLIENT_HEDGE_MS))
            continue;
        self->current = at;
        return true;
    }
    return false;
}

/* Sees to it that `current` is READY, or will be, as long as there is something to do. */
static void connections_keep(drax_t *self, uint64_t now_ms) {
    if (!self->pending.first)
        return;
    for (size_t tries = 0; tries < self->connection_count; tries++) {
        connection_t *current = &self->connections[self->current];
        if (current->state == CONNECTION_READY ||
            (current->state == CONNECTION_OPENING && now_ms < current->opened_ms + CLIENT_HEDGE_MS))
            return;
        bool idle = current->state == CONNECTION_IDLE && now_ms >= current->retry_ms;
        if (!idle && (current_find(self, CONNECTION_READY, now_ms) ||
                      current_find(self, CONNECTION_OPENING, now_ms) ||
                      !current_find(self, CONNECTION_IDLE, now_ms)))
            return;
        current = &self->connections[self->current];
        int rc = connection_open(current, self->context, self->wakeup.network_fd, now_ms);
        if (rc == DRAX_ENOTFOUND) {
            calls_end(self);
            return;
        }
        if (rc != 0)
            connection_lost(self, current, "no socket for it", now_ms);
    }
}

/* The context was shut down: nothing can be sent or received any more. */
static void calls_end(drax_t *self) {
    while (self->pending.first) {
        call_t *call = self->pending.first;
        call_expire(call, "the ZeroMQ context was shut down");
        client_call_settle(self, call);
    }
}

/* Sends every call that is due, in the order of submission, until the connection takes no more: it
 * tells when it does. */
static void calls_send(drax_t *self, uint64_t now_ms) {
    connection_t *current = &self->connections[self->current];
    if (current->state != CONNECTION_READY)
        return;
    for (call_t *call = self->pending.first; call; call = call->next) {
        if (call->state != CALL_WAITING || now_ms < call->due_ms)
            continue;
        if (connection_send(current, (slice_t){call->request.data, call->request.size}) != 0)
            return;
        call->state = CALL_SENT;
        call->on = current;
        call->sent_ms = now_ms;
        if (call->first_sent_ms == 0)
            call->first_sent_ms = now_ms;
    }
}

static void earlier(uint64_t *next_ms, uint64_t at_ms, uint64_t now_ms) {
    if (at_ms > now_ms && at_ms < *next_ms)
        *next_ms = at_ms;
}

/* The next time after `now_ms`, a turn's, at which a timer changes something. */
static uint64_t timer_next(const drax_t *self, uint64_t now_ms) {
    uint64_t next_ms = UINT64_MAX;
    earlier(&next_ms, locks_next_ms(self), now_ms);
    if (self->watches.first)
        earlier(&next_ms, self->watches.check_ms, now_ms);
    for (const call_t *call = self->pending.first; call; call = call->next) {
        earlier(&next_ms, call->deadline_ms, now_ms);
        if (call->state == CALL_SENT)
            earlier(&next_ms, call->sent_ms + call->attempt_ms, now_ms);
        else
            earlier(&next_ms, call->due_ms, now_ms);
    }
    for (size_t i = 0; i < self->connection_count; i++) {
        const connection_t *connection = &self->connections[i];
        if (connection->state == CONNECTION_IDLE && self->pending.first)
            earlier(&next_ms, connection->retry_ms, now_ms);
        if (connection->state != CONNECTION_OPENING)
            continue;
        earlier(&next_ms, connection->opened_ms + CLIENT_HEDGE_MS, now_ms);
        earlier(&next_ms, connection->opened_ms + CLIENT_CONNECT_MS, now_ms);
    }
    return next_ms;
}
