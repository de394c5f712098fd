/* fuzz_post.c: see the header. */
#include "tests/fuzz/fuzz_post.h"

#include "tests/fuzz/fuzz_forge.h"

static void deliver(fuzz_post_t *self, actor_t to, message_t *message) {
    bool travels = fuzz_travel(message);
    assert(travels);
    if (self->sent)
        self->sent(self->hint, to, message);
    message_clear(message);
}

static void post_local(void *hint, actor_t to, message_t *message) {
    fuzz_post_t *self = hint;
    message->actor = self->actor;
    deliver(self, to, message);
}

static bool post_peer(void *hint, message_t *message) {
    deliver(hint, ACTOR_NONE, message);
    return true;
}

static void post_peers(void *hint, uint64_t own, const config_t *config, const config_t *extra) {
    (void) hint;
    (void) own;
    assert(config->count <= LIMIT_MEMBERS && (!extra || extra->count <= LIMIT_MEMBERS));
}

static uint64_t post_boot(void *hint, actor_t neighbour) {
    const fuzz_post_t *self = hint;
    return self->boots[neighbour];
}

static void log_nothing(void *hint, log_level_t level, const char *actor, const char *text) {
    (void) hint;
    (void) level;
    (void) actor;
    (void) text;
}

void fuzz_post_init(fuzz_post_t *self, actor_t actor) {
    memset(self, 0, sizeof *self);
    self->post = (post_t){self, post_local, post_peer, post_peers, post_boot};
    self->log = (log_t){LOG_LEVEL_INFO, actor_name(actor), log_nothing, NULL};
    self->actor = actor;
    for (actor_t other = ACTOR_STORAGE; other < ACTOR_END; other++)
        self->boots[other] = 1;
}
