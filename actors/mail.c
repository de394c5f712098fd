#include "actors/mail.h"

#include <stdlib.h>
#include <string.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/link.h"

/* HELLO is repeated this often until the neighbour has answered. */
#define MAIL_HELLO_MS 100u
/* Messages that wait for one neighbour; beyond, it counts as gone and must say HELLO anew. */
#define MAIL_WAITING_MAX 65536u

typedef struct waiting {
    message_t message;
    struct waiting *next;
} waiting_t;

typedef struct {
    link_outlet_t *outlet; /* NULL: not a neighbour of this actor */
    uint64_t boot;         /* 0: not there */
    uint64_t lost;         /* the boot it had when it was given up */
    waiting_t *first, **last;
    size_t count;
} neighbour_t;

typedef struct {
    mail_t *mail;
    uint64_t id;
    char raft_addr[LIMIT_ADDR_BYTES];
    link_outlet_t *outlet;
    bool wanted;
} peer_t;

struct mail {
    mail_options_t options;
    link_inbox_t *inbox;
    link_inbox_t *peer_inbox; /* raft alone */
    neighbour_t neighbours[ACTOR_END];
    peer_t *peers[2 * LIMIT_MEMBERS];
    size_t peer_count;
    uint64_t hello_at;
    uint64_t malformed; /* messages dropped as such */
    loop_t *loop;
    post_t post;
};

/* ---- sending ---- */

static message_t hello_make(const mail_t *self, actor_t to, bool reply) {
    return (message_t){.kind = MESSAGE_HELLO,
                       .actor = self->options.actor,
                       .from_boot = self->options.boot,
                       .to_boot = self->neighbours[to].boot,
                       .hello = {.actor = self->options.actor, .reply = reply}};
}

/* DRAX_EAGAIN: not now, perhaps for want of memory. Anything else cannot be helped by waiting. */
static int send_now(mail_t *self, actor_t to, const message_t *message) {
    int rc = link_send(self->neighbours[to].outlet, message);
    if (rc == DRAX_ENOMEM)
        return DRAX_EAGAIN;
    if (rc && rc != DRAX_EAGAIN)
        log_error(self->options.log, "cannot send kind=%s: %s", message_kind_name(message->kind),
                  error_text(rc));
    return rc;
}

static void waiting_clear(neighbour_t *neighbour) {
    while (neighbour->first) {
        waiting_t *next = neighbour->first->next;
        message_clear(&neighbour->first->message);
        free(neighbour->first);
        neighbour->first = next;
    }
    neighbour->last = &neighbour->first;
    neighbour->count = 0;
}

static bool waiting_add(neighbour_t *neighbour, message_t *message) {
    waiting_t *item = malloc(sizeof *item);
    if (!item)
        return false;
    item->message = *message;
    item->next = NULL;
    memset(message, 0, sizeof *message);
    *neighbour->last = item;
    neighbour->last = &item->next;
    neighbour->count++;
    return true;
}

/* Gives up what waits for a neighbour. It may live, so it is told to begin again with a HELLO that
 * knows no boot, before anything else that will be sent to it. */
static void neighbour_lose(mail_t *self, actor_t actor, const char *why) {
    neighbour_t *neighbour = &self->neighbours[actor];
    log_error(self->options.log, "%s: neighbour counts as gone neighbour=%s", why,
              actor_name(actor));
    waiting_clear(neighbour);
    neighbour->lost = neighbour->boot;
    neighbour->boot = 0;
    message_t hello = hello_make(self, actor, false);
    (void) waiting_add(neighbour, &hello); /* else mail_turn sends one */
}

static void waiting_push(mail_t *self, actor_t actor, message_t *message) {
    neighbour_t *neighbour = &self->neighbours[actor];
    if (neighbour->count < MAIL_WAITING_MAX && waiting_add(neighbour, message))
        return;
    message_clear(message);
    neighbour_lose(self, actor, "too much waits for it");
}

static void waiting_flush(mail_t *self, actor_t actor) {
    neighbour_t *neighbour = &self->neighbours[actor];
    while (neighbour->first) {
        waiting_t *item = neighbour->first;
        if (send_now(self, actor, &item->message) == DRAX_EAGAIN)
            return;
        neighbour->first = item->next;
        if (!neighbour->first)
            neighbour->last = &neighbour->first;
        neighbour->count--;
        message_clear(&item->message);
        free(item);
    }
}

static void post_local(void *hint, actor_t to, message_t *message) {
    mail_t *self = hint;
    neighbour_t *neighbour = &self->neighbours[to];
    if (!neighbour->outlet || !neighbour->boot) {
        message_clear(message);
        return;
    }
    message->actor = self->options.actor;
    message->from_boot = self->options.boot;
    message->to_boot = neighbour->boot;
    if (neighbour->first || send_now(self, to, message) == DRAX_EAGAIN) {
        waiting_push(self, to, message);
        return;
    }
    message_clear(message);
}

static bool post_peer(void *hint, message_t *message) {
    mail_t *self = hint;
    bool sent = false;
    for (size_t i = 0; i < self->peer_count; i++) {
        if (self->peers[i]->id == message->to) {
            sent = link_send(self->peers[i]->outlet, message) == 0;
            break;
        }
    }
    message_clear(message);
    return sent;
}

static uint64_t post_boot(void *hint, actor_t neighbour) {
    mail_t *self = hint;
    return self->neighbours[neighbour].boot;
}

/* A HELLO that asks is repeated until it is answered. The answer goes before all that follows it,
 * so it waits with that while the outlet is still connecting to the neighbour's new life. */
static void hello_send(mail_t *self, actor_t to, bool reply) {
    neighbour_t *neighbour = &self->neighbours[to];
    message_t message = hello_make(self, to, reply);
    if (reply && (neighbour->first || send_now(self, to, &message) == DRAX_EAGAIN))
        waiting_push(self, to, &message);
    else if (!reply)
        (void) link_send(neighbour->outlet, &message);
}

/* ---- peers ---- */

static int peer_monitor_read(void *hint, uint64_t now_ms) {
    peer_t *peer = hint;
    mail_t *self = peer->mail;
    link_event_t event;
    while (link_outlet_event(peer->outlet, &event) == 0)
        if (self->options.ops->peer_event)
            self->options.ops->peer_event(self->options.self, peer->id, event == LINK_UP, now_ms);
    return 0;
}

static void peer_close(mail_t *self, size_t at) {
    peer_t *peer = self->peers[at];
    if (self->loop)
        loop_remove(self->loop, link_outlet_monitor(peer->outlet), -1);
    link_outlet_destroy(&peer->outlet);
    free(peer);
    self->peers[at] = self->peers[--self->peer_count];
}

static void peer_watch(mail_t *self, peer_t *peer) {
    void *monitor = link_outlet_monitor(peer->outlet);
    if (self->loop && monitor)
        (void) loop_add(self->loop, monitor, -1, peer_monitor_read, peer);
}

static void peer_open(mail_t *self, const member_t *member) {
    if (self->peer_count == sizeof self->peers / sizeof self->peers[0])
        return;
    peer_t *peer = calloc(1, sizeof *peer);
    if (!peer)
        return;
    peer->mail = self;
    peer->id = member->id;
    peer->wanted = true;
    memcpy(peer->raft_addr, member->raft_addr, sizeof peer->raft_addr);
    char endpoint[ENDPOINT_BYTES];
    endpoint_tcp(endpoint, member->raft_addr);
    if (link_outlet_new(&peer->outlet, self->options.context, LINK_PEER, endpoint) != 0) {
        log_error(self->options.log, "cannot connect to peer id=%llu addr=%s",
                  (unsigned long long) member->id, member->raft_addr);
        free(peer);
        return;
    }
    self->peers[self->peer_count++] = peer;
    peer_watch(self, peer);
}

static bool peer_is_wanted(const mail_t *self, uint64_t id) {
    for (size_t i = 0; i < self->peer_count; i++)
        if (self->peers[i]->id == id && self->peers[i]->wanted)
            return true;
    return false;
}

static void peers_want(mail_t *self, uint64_t own, const config_t *config) {
    for (size_t i = 0; config && i < config->count; i++) {
        const member_t *member = &config->members[i];
        bool found = member->id == own || peer_is_wanted(self, member->id);
        for (size_t j = 0; j < self->peer_count && !found; j++) {
            peer_t *peer = self->peers[j];
            if (peer->id == member->id && strcmp(peer->raft_addr, member->raft_addr) == 0)
                found = peer->wanted = true;
        }
        if (!found)
            peer_open(self, member);
    }
}

static void post_peers(void *hint, uint64_t own, const config_t *config, const config_t *extra) {
    mail_t *self = hint;
    for (size_t i = 0; i < self->peer_count; i++)
        self->peers[i]->wanted = false;
    peers_want(self, own, config);
    peers_want(self, own, extra);
    for (size_t i = self->peer_count; i-- > 0;)
        if (!self->peers[i]->wanted)
            peer_close(self, i);
}

/* ---- receiving ---- */

static void hello_receive(mail_t *self, const message_t *message, uint64_t now_ms) {
    actor_t actor = message->actor;
    neighbour_t *neighbour = &self->neighbours[actor];
    if (!neighbour->outlet || message->from_boot == 0)
        return;
    /* An answer to an earlier life, which waited for a connection: this life asks by itself. */
    if (message->to_boot && message->to_boot != self->options.boot)
        return;
    /* One that names no boot has heard nothing yet, whatever was sent to it: it starts, its
     * connection broke, or it has given this one up. */
    bool anew = neighbour->boot != message->from_boot || !message->to_boot;
    if (anew) {
        if (neighbour->boot || message->from_boot != neighbour->lost)
            waiting_clear(neighbour); /* else nothing waits but the HELLO for who was given up */
        neighbour->boot = message->from_boot;
    }
    if (!message->hello.reply)
        hello_send(self, actor, true);
    if (anew) {
        log_debug(self->options.log, "neighbour is there neighbour=%s", actor_name(actor));
        self->options.ops->neighbour(self->options.self, actor, now_ms);
    }
}

static void deliver(mail_t *self, message_t *message, bool from_peer, uint64_t now_ms) {
    bool known = (unsigned) message->actor < ACTOR_END;
    if (from_peer) {
        message->actor = ACTOR_NONE; /* whatever it says, it is no actor of this node */
        if (message_is_peer(message->kind))
            self->options.ops->receive(self->options.self, message, now_ms);
    } else if (known && message->kind == MESSAGE_HELLO) {
        hello_receive(self, message, now_ms);
    } else if (known && message->from_boot && message->to_boot == self->options.boot &&
               message->from_boot == self->neighbours[message->actor].boot) {
        self->options.ops->receive(self->options.self, message, now_ms);
    }
    message_clear(message);
}

/* Somebody's message had no room, and nobody knows whose: each may be missing it. */
static void message_lost(mail_t *self) {
    for (actor_t actor = ACTOR_NONE; actor < ACTOR_END; actor++)
        if (self->neighbours[actor].boot)
            neighbour_lose(self, actor, "no memory for a message");
}

static int inbox_drain(mail_t *self, link_inbox_t *inbox, bool from_peer, uint64_t now_ms) {
    for (unsigned i = 0; i < LIMIT_TURN_MESSAGES; i++) {
        message_t message;
        int rc = link_receive(inbox, &message);
        if (rc == DRAX_EAGAIN)
            return 0;
        if (rc == DRAX_EIO)
            return rc; /* the context is gone */
        if (rc == DRAX_ENOMEM && !from_peer)
            message_lost(self);
        else if (rc != 0 && self->malformed++ == 0)
            log_warning(self->options.log, "malformed message dropped: %s", error_text(rc));
        if (rc != 0)
            continue;
        deliver(self, &message, from_peer, now_ms);
    }
    return LOOP_MORE;
}

static int inbox_read(void *hint, uint64_t now_ms) {
    mail_t *self = hint;
    return inbox_drain(self, self->inbox, false, now_ms);
}

static int peer_inbox_read(void *hint, uint64_t now_ms) {
    mail_t *self = hint;
    return inbox_drain(self, self->peer_inbox, true, now_ms);
}

/* ---- turns ---- */

static int mail_turn(void *hint, uint64_t now_ms) {
    mail_t *self = hint;
    bool hello = now_ms >= self->hello_at;
    if (hello)
        self->hello_at = now_ms + MAIL_HELLO_MS;
    for (actor_t actor = ACTOR_NONE; actor < ACTOR_END; actor++) {
        neighbour_t *neighbour = &self->neighbours[actor];
        if (!neighbour->outlet)
            continue;
        if (!neighbour->boot && hello && !neighbour->first)
            hello_send(self, actor, false);
        waiting_flush(self, actor);
    }
    return 0;
}

static uint64_t mail_deadline(const void *hint, uint64_t now_ms) {
    const mail_t *self = hint;
    for (actor_t actor = ACTOR_NONE; actor < ACTOR_END; actor++) {
        const neighbour_t *neighbour = &self->neighbours[actor];
        if (neighbour->first)
            return now_ms + 1;
        if (neighbour->outlet && !neighbour->boot)
            return self->hello_at;
    }
    return UINT64_MAX;
}

/* ---- life ---- */

static void endpoint_local(const mail_options_t *options, actor_t actor, char out[ENDPOINT_BYTES]) {
    if (options->inproc)
        endpoint_inproc(out, options->inproc, actor);
    else
        endpoint_ipc(out, actor);
}

static int neighbours_open(mail_t *self) {
    for (actor_t actor = ACTOR_NONE; actor < ACTOR_END; actor++) {
        self->neighbours[actor].last = &self->neighbours[actor].first;
        if (actor < ACTOR_STORAGE || actor == self->options.actor)
            continue;
        char endpoint[ENDPOINT_BYTES];
        endpoint_local(&self->options, actor, endpoint);
        int rc = link_outlet_new(&self->neighbours[actor].outlet, self->options.context, LINK_LOCAL,
                                 endpoint);
        if (rc)
            return rc;
    }
    return 0;
}

int mail_new(mail_t **out, const mail_options_t *options, char *detail, size_t detail_size) {
    *out = NULL;
    mail_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->options = *options;
    self->post = (post_t){self, post_local, post_peer, post_peers, post_boot};
    char endpoint[ENDPOINT_BYTES];
    endpoint_local(options, options->actor, endpoint);
    int rc =
        link_inbox_new(&self->inbox, options->context, LINK_LOCAL, endpoint, detail, detail_size);
    if (rc == 0 && options->raft_bind) {
        endpoint_tcp_bind(endpoint, options->raft_bind);
        rc = link_inbox_new(&self->peer_inbox, options->context, LINK_PEER, endpoint, detail,
                            detail_size);
    }
    if (rc == 0)
        rc = neighbours_open(self);
    if (rc) {
        mail_destroy(&self);
        return rc;
    }
    *out = self;
    return 0;
}

void mail_destroy(mail_t **self_p) {
    mail_t *self = *self_p;
    if (!self)
        return;
    while (self->peer_count)
        peer_close(self, self->peer_count - 1);
    for (actor_t actor = ACTOR_NONE; actor < ACTOR_END; actor++) {
        neighbour_t *neighbour = &self->neighbours[actor];
        if (neighbour->last)
            waiting_clear(neighbour);
        link_outlet_destroy(&neighbour->outlet);
    }
    link_inbox_destroy(&self->inbox);
    link_inbox_destroy(&self->peer_inbox);
    free(self);
    *self_p = NULL;
}

void mail_attach(mail_t *self, void *actor) {
    self->options.self = actor;
}

const post_t *mail_post(mail_t *self) {
    return &self->post;
}

int mail_join(mail_t *self, loop_t *loop) {
    self->loop = loop;
    int rc = loop_add(loop, link_inbox_socket(self->inbox), -1, inbox_read, self);
    if (rc == 0 && self->peer_inbox)
        rc = loop_add(loop, link_inbox_socket(self->peer_inbox), -1, peer_inbox_read, self);
    for (size_t i = 0; rc == 0 && i < self->peer_count; i++)
        peer_watch(self, self->peers[i]);
    if (rc == 0)
        rc = loop_each_turn(loop, mail_turn, mail_deadline, self);
    return rc;
}
