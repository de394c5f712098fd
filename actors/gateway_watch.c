/* gateway_watch.c: watches and long polls: how they begin, wait and end.
 *
 * A watch begins as a read: storage answers with what is there and the revision after it
 * (query_watch.c), or checks that history reaches back to `from`. From there on it hears changes
 * (gateway_events.c). A poll is a watch that ends with its first answer.
 *
 *   request -- read --> BEHIND <--> LIVE --> end: cancel, COMPACTED, a poll's answer, client gone
 */
#include <stdlib.h>
#include <string.h>

#include "actors/gateway_internal.h"
#include "broker/limits.h"
#include "broker/past.h"
#include "broker/unpack.h"

/* ---- beginning ---- */

static bool is_poll(const request_t *request) {
    return request->has_wait;
}

/* With wait_ms and without from, the read is the whole answer. */
static bool is_read(const request_t *request) {
    return request->has_wait && !request->from;
}

static void subscribe(gateway_actor_t *self, bool on) {
    message_t message = {.kind = MESSAGE_SUBSCRIBE, .subscribe = {on}};
    self->watch.subscribed = on;
    self->watch.live_known = false;
    self->post->local(self->post->self, ACTOR_STORAGE, &message);
    gateway_watches_tell(self);
}

void gateway_watch_begin(gateway_actor_t *self, const request_t *request) {
    if (is_read(request) || self->watch.subscribed)
        return;
    subscribe(self, true);
    self->watch.unsubscribe_ms = self->now_ms + GATEWAY_LINGER_MS;
}

void gateway_watches_tell(gateway_actor_t *self) {
    message_t message = {.kind = MESSAGE_SUBSCRIBE, .subscribe = {self->watch.subscribed}};
    self->post->local(self->post->self, ACTOR_RAFT, &message);
}

/* What storage says of a watch's begin. */
typedef struct beginning {
    uint64_t next, view;
    size_t fields; /* of the map besides these two; they follow in `rest` */
    slice_t rest;
} beginning_t;

/* Reads `nil, {"next": N, "view": N, ...`. False: a refusal. */
static bool outcome_read(slice_t outcome, beginning_t *out) {
    item_t item;
    uint64_t numbers[2];
    if (unpack_item(&outcome, &item) != 0 || item.type != ITEM_NIL ||
        unpack_item(&outcome, &item) != 0 || item.type != ITEM_MAP || item.count < 2)
        return false;
    out->fields = item.count - 2;
    for (int i = 0; i < 2; i++) {
        if (unpack_item(&outcome, &item) != 0 || unpack_item(&outcome, &item) != 0 ||
            item.type != ITEM_UINT)
            return false;
        numbers[i] = item.number;
    }
    out->next = numbers[0];
    out->view = numbers[1];
    out->rest = outcome;
    return true;
}

/* The answer to a stream's request: what storage said, and which watch it is. */
static void stream_answer(buffer_t *out, const watch_t *watch, const beginning_t *beginning) {
    buffer_reset(out);
    rpc_success(out);
    pack_map(out, beginning->fields + 2);
    pack_str(out, "watch");
    pack_uint(out, watch->id);
    pack_str(out, "next");
    pack_uint(out, watch->next);
    buffer_append(out, beginning->rest.data, beginning->rest.size);
}

static watch_t *watch_open(gateway_actor_t *self, const pending_t *pending,
                           const request_t *request, const beginning_t *beginning) {
    uint8_t scratch[LIMIT_KEY_BYTES + 1];
    bool tree = request->method == METHOD_WATCH_TREE;
    watch_spec_t spec = {
        .poll = is_poll(request),
        .tree = tree,
        .key = tree ? rpc_directory_prefix(request->key, scratch) : request->key,
        .msgid = request->msgid,
        .next = beginning->next,
        .view = beginning->view,
        .credit = is_poll(request) ? 1 : LIMIT_WATCH_CREDIT,
        .due_ms = is_poll(request)
                      ? gateway_wait_end(request, pending->deadline_ms - LIMIT_REQUEST_TIMEOUT_MS)
                      : self->now_ms + LIMIT_WATCH_IDLE_MS};
    envelope_t *envelope = envelope_copy(pending->envelope);
    watch_t *watch =
        envelope ? watches_open(self->watch.table, &spec, pending->account, &envelope) : NULL;
    free(envelope);
    return watch;
}

void gateway_watch_answer(gateway_actor_t *self, uint64_t token, slice_t outcome) {
    pending_t *pending = pendings_find(self->pendings, token);
    request_t request;
    rpc_error_t error;
    beginning_t beginning;
    if (request_decode(payload_slice(pending->request), &request, &error) != 0 ||
        is_read(&request) || !outcome_read(outcome, &beginning)) {
        gateway_answer(self, token, outcome);
        return;
    }
    watch_t *watch = self->stopping ? NULL : watch_open(self, pending, &request, &beginning);
    if (!watch) {
        gateway_fail(self, token, RPC_UNAVAILABLE, "too many watches");
        return;
    }
    if (watch->poll) {
        gateway_forget(self, token);
    } else {
        stream_answer(&self->watch.note, watch, &beginning);
        if (self->watch.note.failed) {
            gateway_watch_end(self, watch, NULL);
            gateway_fail(self, token, RPC_UNAVAILABLE, "out of memory");
            return;
        }
        gateway_answer(self, token, (slice_t){self->watch.note.data, self->watch.note.size});
    }
    if (self->watch.live_known && watch->next > self->watch.live && !watch->view)
        watches_state_set(self->watch.table, watch, WATCH_LIVE);
    else
        gateway_watch_ask(self, watch);
}

/* ---- asking for past changes ---- */

void gateway_watch_ask(gateway_actor_t *self, watch_t *watch) {
    if (watch->state != WATCH_BEHIND || watch->asked || watch->queued || !watch->credit ||
        watch->account->unsent || watch->account->gone || !self->watch.live_known)
        return;
    watch->queued = true;
    TAILQ_INSERT_TAIL(&self->watch.queue, watch, in_queue);
}

/* False: there is no memory for that. */
static bool questions_send(gateway_actor_t *self, size_t count) {
    if (self->watch.questions.failed)
        return false;
    buffer_reset(&self->scratch);
    batch_begin(&self->scratch, count);
    buffer_append(&self->scratch, self->watch.questions.data, self->watch.questions.size);
    message_t message = {.kind = MESSAGE_HISTORY};
    message.batch.payload = buffer_take(&self->scratch);
    if (!message.batch.payload)
        return false;
    self->post->local(self->post->self, ACTOR_STORAGE, &message);
    return true;
}

static void question_put(gateway_actor_t *self, const watch_t *watch,
                         const past_question_t *question, buffer_t *scratch) {
    buffer_reset(scratch);
    past_question_write(scratch, question);
    batch_add(&self->watch.questions, watch->id, (slice_t){scratch->data, scratch->size});
    self->watch.questions.failed = self->watch.questions.failed || scratch->failed;
}

static void question_add(gateway_actor_t *self, const watch_t *watch, buffer_t *scratch) {
    past_question_t question = {.kind = watch->group->tree ? PAST_TREE : PAST_KEY,
                                .key = {watch->group->key, watch->group->key_size},
                                .from = watch->next};
    if (watch->view)
        question = (past_question_t){.kind = PAST_PAGE, .from = watch->view};
    question_put(self, watch, &question, scratch);
}

/* What could not be asked is asked next turn, before the others. */
static void questions_take_back(gateway_actor_t *self, watch_t *const *watches, size_t count) {
    while (count-- > 0) {
        watches[count]->asked = false;
        watches[count]->queued = true;
        self->watch.asked--;
        TAILQ_INSERT_HEAD(&self->watch.queue, watches[count], in_queue);
    }
}

/* So many questions are with storage at a time that their answers stay small in all. */
static void questions_turn(gateway_actor_t *self) {
    watch_t *watch, *asked[GATEWAY_QUESTIONS];
    size_t count = 0, ended = self->watch.ended_views;
    buffer_t bytes = {0};
    while (self->watch.live_known && self->watch.asked < GATEWAY_QUESTIONS &&
           (watch = TAILQ_FIRST(&self->watch.queue)) != NULL) {
        TAILQ_REMOVE(&self->watch.queue, watch, in_queue);
        watch->queued = false;
        question_add(self, watch, &bytes);
        watch->asked = true;
        self->watch.asked++;
        asked[count++] = watch;
    }
    buffer_free(&bytes);
    if (count + ended && !questions_send(self, count + ended))
        questions_take_back(self, asked, count);
    buffer_reset(&self->watch.questions);
    self->watch.ended_views = 0;
}

/* Storage came anew: what was asked is forgotten there, and where it is will be told. */
void gateway_watches_again(gateway_actor_t *self) {
    for (watch_t *watch = watches_first(self->watch.table); watch;
         watch = watches_next(self->watch.table, watch)) {
        watch->next = gateway_watch_next(self, watch);
        watches_state_set(self->watch.table, watch, WATCH_BEHIND);
        watch->asked = false;
    }
    bool wanted = self->watch.subscribed;
    self->watch.asked = 0;
    self->watch.ended_views = 0;
    buffer_reset(&self->watch.questions);
    self->watch.subscribed = false;
    self->watch.live_known = false;
    if (wanted)
        gateway_watch_begin(self, &(request_t){.method = METHOD_WATCH});
}

/* ---- what clients say of a watch ---- */

static watch_t *watch_of_client(gateway_actor_t *self, const envelope_t *envelope, uint64_t id) {
    watch_t *watch = watches_find(self->watch.table, id);
    bool own = watch && !watch->poll && watch->envelope->id_size == envelope->id_size &&
               memcmp(watch->envelope->bytes + 2, envelope->bytes + 2, envelope->id_size) == 0;
    return own ? watch : NULL;
}

void gateway_credit(gateway_actor_t *self, const envelope_t *envelope, const request_t *request) {
    watch_t *watch = watch_of_client(self, envelope, request->watch);
    if (!watch)
        return;
    uint64_t room = LIMIT_INTEGER - watch->credit;
    watch->credit += request->credit < room ? request->credit : room;
    gateway_watch_ask(self, watch);
}

void gateway_watch_cancel(gateway_actor_t *self, const envelope_t *envelope,
                          const request_t *request) {
    watch_t *watch = watch_of_client(self, envelope, request->watch);
    if (watch)
        gateway_watch_end(self, watch, NULL);
}

/* ---- ending ---- */

/* Storage need not keep it any longer: told with the next questions. */
static void view_end(gateway_actor_t *self, const watch_t *watch) {
    past_question_t question = {.kind = PAST_END, .from = watch->view};
    buffer_t bytes = {0};
    question_put(self, watch, &question, &bytes);
    self->watch.ended_views++;
    buffer_free(&bytes);
}

void gateway_watch_end(gateway_actor_t *self, watch_t *watch, const buffer_t *outcome) {
    account_t *account = watch->account;
    if (watch->queued)
        TAILQ_REMOVE(&self->watch.queue, watch, in_queue);
    if (watch->view)
        view_end(self, watch);
    if (watch->poll && outcome && !outcome->failed && !account->gone) {
        envelope_t *envelope = watch->envelope;
        watch->envelope = NULL;
        gateway_respond(self, account, envelope, watch->msgid,
                        (slice_t){outcome->data, outcome->size});
    }
    watches_close(self->watch.table, watch);
    account_settle(self->pendings, account);
    if (watches_count(self->watch.table) == 0)
        self->watch.unsubscribe_ms = self->now_ms + GATEWAY_LINGER_MS;
}

void gateway_client_gone(gateway_actor_t *self, account_t *account) {
    if (account->gone || !account->watch_count)
        return;
    account->gone = true;
    account->gone_next = self->watch.gone;
    self->watch.gone = account;
}

static void gone_turn(gateway_actor_t *self) {
    while (self->watch.gone) {
        account_t *account = self->watch.gone;
        self->watch.gone = account->gone_next;
        watch_t *watch;
        while ((watch = LIST_FIRST(&account->watches)) != NULL)
            gateway_watch_end(self, watch, NULL);
        account->gone = false;
        account_settle(self->pendings, account);
    }
}

/* Its client takes again what is sent. */
void gateway_watches_resume(gateway_actor_t *self, account_t *account) {
    watch_t *watch;
    LIST_FOREACH(watch, &account->watches, in_account) {
        gateway_watch_ask(self, watch);
    }
}

void gateway_watches_stop(gateway_actor_t *self) {
    buffer_t outcome = {0};
    rpc_failure(&outcome, RPC_UNAVAILABLE, "the node is stopping");
    watch_t *watch;
    while ((watch = watches_first(self->watch.table)) != NULL)
        gateway_watch_end(self, watch, &outcome);
    buffer_free(&outcome);
}

/* ---- turns ---- */

/* A poll whose time is up while it is behind hears of what there is: its answer is on the way. */
static bool due_wait(gateway_actor_t *self, watch_t *watch) {
    if (!watch->poll || watch->state == WATCH_LIVE || watch->late)
        return false;
    watch->late = true;
    watches_due_set(self->watch.table, watch, self->now_ms + LIMIT_REQUEST_TIMEOUT_MS);
    return true;
}

static void unsubscribe_turn(gateway_actor_t *self) {
    if (!self->watch.subscribed || watches_count(self->watch.table) ||
        self->now_ms < self->watch.unsubscribe_ms)
        return;
    if (pendings_count_kind(self->pendings, PENDING_READ)) { /* one of them may be a watch */
        self->watch.unsubscribe_ms = self->now_ms + GATEWAY_LINGER_MS;
        return;
    }
    subscribe(self, false);
}

void gateway_watches_turn(gateway_actor_t *self, uint64_t now_ms) {
    watch_t *watch;
    while ((watch = watches_first_due(self->watch.table)) != NULL && watch->due_ms <= now_ms)
        if (!due_wait(self, watch))
            gateway_watch_idle(self, watch);
    gone_turn(self);
    questions_turn(self);
    unsubscribe_turn(self);
}

uint64_t gateway_watches_deadline(const gateway_actor_t *self) {
    bool unasked = self->watch.live_known && self->watch.asked < GATEWAY_QUESTIONS &&
                   !TAILQ_EMPTY(&self->watch.queue);
    if (unasked)
        return self->now_ms;
    const watch_t *watch = watches_first_due(self->watch.table);
    if (watch)
        return watch->due_ms;
    return self->watch.subscribed ? self->watch.unsubscribe_ms : UINT64_MAX;
}
