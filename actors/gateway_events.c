/* gateway_events.c: what watches hear: changes as storage tells them, and past ones asked for.
 *
 * A LIVE watch has heard all changes up to `live`, the revision of the last CHANGES; its `next`
 * only counts when it lies beyond (a watch from a revision to come). One that cannot be told
 * something (no credit, or its client does not take what was sent) falls BEHIND at that revision,
 * and nothing is kept for it: when it can be told again, the changes are asked for (HISTORY), and
 * it is LIVE again once an answer (PAST) reaches `live`. So a slow watch costs nothing, and nothing
 * is left out or said twice.
 */
#include <stdlib.h>
#include <string.h>

#include "actors/gateway_internal.h"
#include "broker/limits.h"
#include "broker/past.h"

/* ---- saying it ---- */

static void named_add(buffer_t *out, const char *name, uint64_t value) {
    pack_str(out, name);
    pack_uint(out, value);
}

static void events_add(buffer_t *out, slice_t events, size_t count) {
    pack_str(out, "events");
    pack_array(out, count);
    buffer_append(out, events.data, events.size);
}

/* Begins [2, "event", [{...}]] with `fields` besides `watch`. */
static void event_begin(buffer_t *out, const watch_t *watch, size_t fields) {
    buffer_reset(out);
    pack_array(out, 3);
    pack_uint(out, RPC_NOTIFICATION);
    pack_str(out, "event");
    pack_array(out, 1);
    pack_map(out, fields + 1);
    named_add(out, "watch", watch->id);
}

/* Sends what stands in watch.note to the client of `watch`. False: it cannot be taken now. */
static bool note_send(gateway_actor_t *self, watch_t *watch) {
    buffer_t *note = &self->watch.note;
    account_t *account = watch->account;
    if (note->failed || account->gone)
        return false;
    int rc = account->unsent ? DRAX_EAGAIN
                             : self->options.respond(self->options.hint, watch->envelope,
                                                     (slice_t){note->data, note->size});
    if (rc == 0)
        return true;
    if (rc != DRAX_EAGAIN) {
        gateway_client_gone(self, account);
        return false;
    }
    payload_t *kept = payload_copy(note->data, note->size);
    envelope_t *envelope = kept ? envelope_copy(watch->envelope) : NULL;
    rc = envelope ? account_keep(self->pendings, account, &envelope, &kept) : DRAX_ENOMEM;
    payload_unref(&kept);
    return rc == 0;
}

static void poll_answer(gateway_actor_t *self, watch_t *watch, slice_t events, size_t count,
                        uint64_t next) {
    buffer_t outcome = {0};
    rpc_success(&outcome);
    pack_map(&outcome, 3);
    events_add(&outcome, events, count);
    named_add(&outcome, "next", next);
    named_add(&outcome, "revision", self->revision);
    gateway_watch_end(self, watch, &outcome);
    buffer_free(&outcome);
}

/* Tells `watch` of events, after which it goes on at `next`. A poll ends with that. False: it
 * cannot be told now, and nothing has changed. */
static bool events_tell(gateway_actor_t *self, watch_t *watch, slice_t events, size_t count,
                        uint64_t next) {
    if (watch->poll) {
        poll_answer(self, watch, events, count, next);
        return true;
    }
    if (!watch->credit || watch->account->unsent)
        return false;
    event_begin(&self->watch.note, watch, 2);
    events_add(&self->watch.note, events, count);
    named_add(&self->watch.note, "next", next);
    if (!note_send(self, watch))
        return false;
    watch->credit--;
    watch->next = next;
    watches_due_set(self->watch.table, watch, self->now_ms + LIMIT_WATCH_IDLE_MS);
    return true;
}

uint64_t gateway_watch_next(const gateway_actor_t *self, const watch_t *watch) {
    bool follows = watch->state == WATCH_LIVE && watch->next <= self->watch.live;
    return follows ? self->watch.live + 1 : watch->next;
}

/* Nothing happened for it: a stream hears where it is, without need of credit; a poll's time is up.
 */
void gateway_watch_idle(gateway_actor_t *self, watch_t *watch) {
    static const slice_t none = {NULL, 0};
    uint64_t next = gateway_watch_next(self, watch);
    if (watch->poll) {
        poll_answer(self, watch, none, 0, next);
        return;
    }
    watches_due_set(self->watch.table, watch, self->now_ms + LIMIT_WATCH_IDLE_MS);
    if (watch->account->unsent)
        return; /* it has something to read */
    event_begin(&self->watch.note, watch, 2);
    events_add(&self->watch.note, none, 0);
    named_add(&self->watch.note, "next", next);
    (void) note_send(self, watch);
}

static void compacted_tell(gateway_actor_t *self, watch_t *watch, uint64_t first) {
    buffer_t outcome = {0};
    if (watch->poll) {
        rpc_compacted(&outcome, first);
    } else {
        event_begin(&self->watch.note, watch, 2);
        named_add(&self->watch.note, "compacted", first);
        events_add(&self->watch.note, (slice_t){NULL, 0}, 0);
        (void) note_send(self, watch);
    }
    gateway_watch_end(self, watch, &outcome);
    buffer_free(&outcome);
}

/* ---- as it comes about ---- */

struct visit {
    gateway_actor_t *self;
    uint64_t revision;
    slice_t event;
};

static void watch_fall_behind(gateway_actor_t *self, watch_t *watch, uint64_t revision) {
    watches_state_set(self->watch.table, watch, WATCH_BEHIND);
    watch->next = watch->next > revision ? watch->next : revision;
    gateway_watch_ask(self, watch);
}

/* Gives a group's events to its live watches, which then go on at `next`. */
static void group_tell(gateway_actor_t *self, watch_group_t *group, uint64_t next) {
    slice_t events = {group->events.data, group->events.size};
    watch_t *later;
    for (watch_t *watch = TAILQ_FIRST(&group->watches); watch && group->event_count;
         watch = later) {
        later = TAILQ_NEXT(watch, in_group);
        if (watch->state != WATCH_LIVE || watch->next > group->event_last)
            continue;
        bool whole = watch->next <= group->event_first && !group->events.failed;
        if (!whole || !events_tell(self, watch, events, group->event_count, next))
            watch_fall_behind(self, watch, group->event_first);
    }
    buffer_reset(&group->events);
    group->event_count = 0;
}

static void group_visit(void *hint, watch_group_t *group) {
    struct visit *visit = hint;
    gateway_actor_t *self = visit->self;
    if (!group->live)
        return;
    if (!group->is_touched) {
        group->is_touched = true;
        SLIST_INSERT_HEAD(&self->watch.touched, group, touched);
    }
    if (group->event_count && group->events.size >= LIMIT_EVENTS_BYTES &&
        visit->revision != group->event_last)
        group_tell(self, group, visit->revision);
    if (!group->event_count++)
        group->event_first = visit->revision;
    group->event_last = visit->revision;
    buffer_append(&group->events, visit->event.data, visit->event.size);
}

/* Storage is at `revision`, and what lies between is not told: those that it may concern ask. */
static void live_jump(gateway_actor_t *self, uint64_t revision) {
    for (watch_t *watch = watches_first(self->watch.table); watch;
         watch = watches_next(self->watch.table, watch)) {
        watch->next = gateway_watch_next(self, watch);
        watches_state_set(self->watch.table, watch,
                          watch->next > revision && !watch->asked && !watch->queued && !watch->view
                              ? WATCH_LIVE
                              : WATCH_BEHIND);
    }
    self->watch.live = revision;
    self->watch.live_known = true;
    for (watch_t *watch = watches_first(self->watch.table); watch;
         watch = watches_next(self->watch.table, watch))
        gateway_watch_ask(self, watch);
}

void gateway_changes(gateway_actor_t *self, const message_batch_t *changes) {
    batch_t batch;
    struct visit visit = {.self = self};
    if (!self->watch.subscribed || batch_open(&batch, payload_slice(changes->payload)) != 0)
        return;
    if (!self->watch.live_known || changes->seq != self->watch.live)
        live_jump(self, changes->seq);
    while (batch_next(&batch, &visit.revision, &visit.event) == 1) {
        slice_t key;
        if (event_key(visit.event, &key) == 0)
            watches_match(self->watch.table, key, group_visit, &visit);
    }
    watch_group_t *group;
    while ((group = SLIST_FIRST(&self->watch.touched)) != NULL) {
        SLIST_REMOVE_HEAD(&self->watch.touched, touched);
        group_tell(self, group, changes->revision + 1);
        watches_events_given(self->watch.table, group);
    }
    self->watch.live = changes->revision;
}

/* ---- what was asked for ---- */

/* A page of first pairs. It is this watch's alone, so it is kept if it cannot be sent at once. */
static void pairs_take(gateway_actor_t *self, watch_t *watch, const past_answer_t *answer) {
    event_begin(&self->watch.note, watch, 2);
    pack_str(&self->watch.note, "pairs");
    pack_array(&self->watch.note, answer->count);
    buffer_append(&self->watch.note, answer->events.data, answer->events.size);
    pack_str(&self->watch.note, "more");
    pack_bool(&self->watch.note, answer->more);
    if (!note_send(self, watch)) {
        compacted_tell(self, watch, self->watch.live + 1); /* it has to begin anew */
        return;
    }
    watch->credit--;
    watches_due_set(self->watch.table, watch, self->now_ms + LIMIT_WATCH_IDLE_MS);
    if (!answer->more)
        watch->view = 0;
    gateway_watch_ask(self, watch);
}

static void past_take(gateway_actor_t *self, watch_t *watch, const past_answer_t *answer) {
    watch->asked = false;
    if (answer->compacted) {
        compacted_tell(self, watch, answer->compacted);
        return;
    }
    if (watch->view) {
        pairs_take(self, watch, answer);
        return;
    }
    bool poll = watch->poll;
    if (answer->count) {
        bool told = events_tell(self, watch, answer->events, answer->count, answer->next);
        if (poll || !told)
            return; /* a stream that cannot hear it asks again when it can */
    } else if (answer->next > watch->next) {
        watch->next = answer->next;
    }
    if (watch->next <= self->watch.live) {
        gateway_watch_ask(self, watch);
        return;
    }
    watches_state_set(self->watch.table, watch, WATCH_LIVE);
    if (watch->late)
        gateway_watch_idle(self, watch);
}

/* History begins at `first` now: those that wait for credit and are not reached any more end. */
void gateway_history_first(gateway_actor_t *self, uint64_t first) {
    if (first == self->watch.history_first)
        return;
    self->watch.history_first = first;
    watch_t *next;
    for (watch_t *watch = watches_first(self->watch.table);
         watch && watches_count_behind(self->watch.table); watch = next) {
        next = watches_next(self->watch.table, watch);
        if (watch->state == WATCH_BEHIND && watch->next < first)
            compacted_tell(self, watch, first);
    }
}

void gateway_past(gateway_actor_t *self, const message_batch_t *answers) {
    batch_t batch;
    uint64_t token;
    slice_t bytes;
    if (batch_open(&batch, payload_slice(answers->payload)) != 0)
        return;
    while (batch_next(&batch, &token, &bytes) == 1) {
        past_answer_t answer;
        watch_t *watch = watches_find(self->watch.table, token);
        if (self->watch.asked)
            self->watch.asked--;
        if (watch && watch->asked && past_answer_read(&answer, bytes) == 0)
            past_take(self, watch, &answer);
    }
}
