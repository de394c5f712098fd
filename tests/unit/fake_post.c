/* fake_post.c: see fake_post.h. */
#include "fake_post.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/codec.h"

static message_t *travel(message_t *message) {
    frames_t frames = {0};
    message_t *arrived = calloc(1, sizeof *arrived);
    assert_non_null(arrived);
    assert_int_equal(codec_encode(&frames, message), 0);
    assert_true(frames.count + 1 <= LIMIT_MESSAGE_FRAMES);
    slice_t header = {frames.header.data, frames.header.size};
    assert_int_equal(codec_decode(arrived, header, frames.payloads, frames.count), 0);
    frames_clear(&frames);
    message_clear(message);
    return arrived;
}

static void keep(fake_post_t *self, actor_t to, message_t *message) {
    if (self->count == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 16;
        self->sent = realloc(self->sent, self->capacity * sizeof(message_t *));
        self->to = realloc(self->to, self->capacity * sizeof(actor_t));
        assert_true(self->sent && self->to);
    }
    self->to[self->count] = to;
    self->sent[self->count++] = travel(message);
}

static void post_local(void *hint, actor_t to, message_t *message) {
    fake_post_t *self = hint;
    if (!self->boots[to]) {
        message_clear(message);
        return;
    }
    message->actor = self->actor;
    message->from_boot = 1;
    message->to_boot = self->boots[to];
    keep(self, to, message);
}

static bool post_peer(void *hint, message_t *message) {
    fake_post_t *self = hint;
    if (self->unconnected) {
        message_clear(message);
        return false;
    }
    message->from_boot = 1;
    keep(self, ACTOR_NONE, message);
    return true;
}

static void post_peers(void *hint, uint64_t own, const config_t *config, const config_t *extra) {
    fake_post_t *self = hint;
    (void) own;
    self->config = *config;
    self->hint = extra ? *extra : (config_t){0};
    self->peers_calls++;
}

static uint64_t post_boot(void *hint, actor_t neighbour) {
    const fake_post_t *self = hint;
    return self->boots[neighbour];
}

void fake_post_init(fake_post_t *self, actor_t actor) {
    memset(self, 0, sizeof *self);
    self->post = (post_t){self, post_local, post_peer, post_peers, post_boot};
    self->actor = actor;
    for (actor_t other = ACTOR_STORAGE; other < ACTOR_END; other++)
        self->boots[other] = 100u + (uint64_t) other;
}

void fake_post_clear(fake_post_t *self) {
    for (size_t i = 0; i < self->count; i++) {
        message_clear(self->sent[i]);
        free(self->sent[i]);
    }
    free(self->sent);
    free(self->to);
    self->sent = NULL;
    self->to = NULL;
    self->count = self->capacity = self->at = 0;
}

message_t *fake_post_next(fake_post_t *self) {
    return self->at < self->count ? self->sent[self->at++] : NULL;
}

message_t *fake_post_find(fake_post_t *self, message_kind_t kind) {
    message_t *message = fake_post_next(self);
    while (message && message->kind != kind)
        message = fake_post_next(self);
    return message;
}

message_t *fake_post_expect(fake_post_t *self, message_kind_t kind) {
    message_t *message = fake_post_next(self);
    assert_non_null(message);
    assert_string_equal(message_kind_name(message->kind), message_kind_name(kind));
    return message;
}

size_t fake_post_waiting(const fake_post_t *self, message_kind_t kind) {
    size_t count = 0;
    for (size_t i = self->at; i < self->count; i++)
        count += self->sent[i]->kind == kind;
    return count;
}

void fake_post_skip(fake_post_t *self) {
    self->at = self->count;
}
