/* users_watch.c: users who watch: a stream on the first link, questions that wait on the second.
 * Both go on where they were, at any node, after anything. */
#include "tests/sim/checks.h"
#include "tests/sim/users_internal.h"

#define STREAM 0u
#define POLL 1u
#define CREDIT_LOW 16u
#define CREDIT_MORE 48u

static const model_t *model_of(const user_t *self) {
    return replay_model(checks_replay(world_checks(self->users->world)));
}

static void watch_judge(user_t *self, unsigned which, const char *wrong) {
    const link_t *link = &self->links[which];
    if (wrong)
        world_fail(self->users->world, "watch completeness", "a watch at slot %u, next %llu: %s",
                   link->slot, (unsigned long long) self->watching[which].next, wrong);
}

static bool asks(const user_t *self, const link_t *link) {
    for (size_t i = 0; i < self->flight_count; i++)
        if (self->flights[i].link == link)
            return true;
    return false;
}

static void watch_send(user_t *self, unsigned which) {
    stream_t *random = &self->users->random;
    watching_t *watching = &self->watching[which];
    if (stream_chance(random, 50))
        watching->next = 0; /* anew, with what is there */
    request_t request = {.msgid = history_msgid(self->users->history),
                         .method = watching->tree ? METHOD_WATCH_TREE : METHOD_WATCH,
                         .key = watching->key,
                         .from = watching->next};
    if (which == POLL)
        request.wait_ms = stream_range(random, 1, 2000);
    link_request(&self->links[which], &request, 0);
}

static void credit_send(user_t *self) {
    buffer_t bytes = {0};
    watching_t *watching = &self->watching[STREAM];
    pack_array(&bytes, 3);
    pack_uint(&bytes, RPC_NOTIFICATION);
    pack_str(&bytes, "credit");
    pack_array(&bytes, 2);
    pack_uint(&bytes, watching->watch);
    pack_uint(&bytes, CREDIT_MORE);
    watching->credit += CREDIT_MORE;
    world_send(self->users->world, self->links[STREAM].connection,
               (slice_t){bytes.data, bytes.size});
    buffer_free(&bytes);
}

static void cancel_send(user_t *self) {
    link_request(&self->links[STREAM],
                 &(request_t){.msgid = history_msgid(self->users->history),
                              .method = METHOD_WATCH_CANCEL,
                              .watch = self->watching[STREAM].watch},
                 0);
}

void user_watch_act(user_t *self) {
    stream_t *random = &self->users->random;
    watching_t *stream = &self->watching[STREAM];
    for (unsigned which = STREAM; which <= POLL; which++) {
        link_t *link = &self->links[which];
        if (stream_chance(random, 20))
            link_close(link);
        if (asks(self, link) || self->watching[which].watch || !link_open(link))
            continue;
        watch_send(self, which);
    }
    if (!stream->watch || asks(self, &self->links[STREAM]))
        return;
    if (stream->credit < CREDIT_LOW && stream_chance(random, 300))
        credit_send(self);
    else if (stream_chance(random, 10))
        cancel_send(self);
}

void user_watch_answered(user_t *self, const flight_t *flight, const operation_t *operation,
                         slice_t payload) {
    unsigned which = flight->link == &self->links[STREAM] ? STREAM : POLL;
    if (!operation) {
        watching_ended(&self->watching[which]);
    } else if (operation->request.method == METHOD_WATCH_CANCEL) {
        watching_ended(&self->watching[which]);
    } else {
        watch_judge(
            self, which,
            watching_answered(&self->watching[which], model_of(self), payload, which == POLL));
    }
}

void user_watch_notified(user_t *self, const link_t *link, slice_t payload) {
    bool own;
    unsigned which = link == &self->links[STREAM] ? STREAM : POLL;
    watching_t *watching = &self->watching[which];
    const char *wrong = watching_notified(watching, model_of(self), payload, &own);
    if (!wrong && !own)
        wrong = "a notification of a watch that is no more";
    watch_judge(self, which, wrong);
}

void user_watch_broken(user_t *self, const link_t *link) {
    watching_ended(&self->watching[link == &self->links[STREAM] ? STREAM : POLL]);
}

bool user_watch_idle(const user_t *self) {
    return !watching_behind(&self->watching[STREAM], model_of(self));
}

void user_watch_init(user_t *self) {
    static const slice_t keys[] = {{(const uint8_t *) "a", 1},
                                   {(const uint8_t *) "", 0},
                                   {(const uint8_t *) "n/", 2},
                                   {(const uint8_t *) "a/b", 3}};
    for (unsigned which = STREAM; which <= POLL; which++) {
        uint64_t draw = stream_range(&self->users->random, 0, 8);
        self->watching[which] = (watching_t){.tree = draw < 4, .key = keys[draw % 4]};
        if (draw == 5)
            self->watching[which].key = keys[0]; /* no key is empty */
    }
}
