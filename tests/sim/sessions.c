/* sessions.c: see sessions.h. */
#include "tests/sim/sessions.h"

#include <string.h>

#include "tests/sim/array.h"

#define MINUTE_MS 60000u
#define SILENT_MS 3600000u
#define KEPT_ANSWERS 1024u
#define SWEPT_ANSWERS 64u

typedef struct kept {
    uint64_t seq;
    uint64_t arguments;
    reply_t answer;
} kept_t;

typedef struct client {
    uint8_t name[LIMIT_CLIENT_ID_BYTES];
    size_t name_size;
    uint64_t used_ms;
    uint64_t floor; /* the highest seq whose answer was forgotten */
    kept_t *kept;   /* sorted by seq */
    size_t count, capacity;
} client_t;

/* A request that waits for a lock. */
typedef struct waiting {
    uint64_t waiter;
    uint8_t name[LIMIT_CLIENT_ID_BYTES];
    size_t name_size;
    uint64_t seq, arguments;
} waiting_t;

struct sessions {
    client_t
        *clients; /* shorter names first, then by bytes: who goes first of equally silent ones */
    size_t count, capacity;
    waiting_t *waiting;
    size_t waiting_count, waiting_capacity;
    uint64_t sweep_ms; /* nobody is silent for long before this */
};

sessions_t *sessions_new(void) {
    return array_new(1, sizeof(sessions_t));
}

void sessions_free(sessions_t **self_p) {
    sessions_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++)
        free(self->clients[i].kept);
    free(self->clients);
    free(self->waiting);
    free(self);
    *self_p = NULL;
}

static int name_compare(const client_t *client, slice_t name) {
    if (client->name_size != name.size)
        return client->name_size < name.size ? -1 : 1;
    return memcmp(client->name, name.data, name.size);
}

/* The client's place, or where it belongs. */
static size_t client_seek(const sessions_t *self, slice_t name, bool *found) {
    size_t at = 0;
    while (at < self->count && name_compare(&self->clients[at], name) < 0)
        at++;
    *found = at < self->count && name_compare(&self->clients[at], name) == 0;
    return at;
}

static client_t *client_make(sessions_t *self, slice_t name) {
    bool found;
    size_t at = client_seek(self, name, &found);
    if (found)
        return &self->clients[at];
    self->clients =
        array_room(self->clients, &self->capacity, self->count + 1, sizeof *self->clients);
    memmove(self->clients + at + 1, self->clients + at, (self->count - at) * sizeof *self->clients);
    self->count++;
    self->clients[at] = (client_t){.name_size = name.size};
    memcpy(self->clients[at].name, name.data, name.size);
    return &self->clients[at];
}

static size_t kept_seek(const client_t *client, uint64_t seq) {
    size_t at = client->count;
    while (at && client->kept[at - 1].seq >= seq)
        at--;
    return at;
}

/* All that makes two requests the same request. */
static uint64_t arguments_hash(const request_t *request) {
    const uint64_t numbers[] = {request->method,
                                request->has_previous,
                                request->previous,
                                request->ttl_ms,
                                request->lease,
                                request->has_fence,
                                request->has_fence ? request->fence_token : 0,
                                request->has_value,
                                request->has_wait,
                                request->wait_ms,
                                request->token};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        hash = reply_mix(hash, numbers[i]);
    hash = reply_mix(hash, reply_hash(request->key));
    hash = reply_mix(hash, reply_hash(request->value));
    hash = reply_mix(hash, reply_hash(request->compares));
    hash = reply_mix(hash, reply_hash(request->then));
    hash = reply_mix(hash, reply_hash(request->otherwise));
    return reply_mix(hash, reply_hash(request->fence_key));
}

static void client_use(sessions_t *self, client_t *client, uint64_t time_ms) {
    client->used_ms = time_ms - time_ms % MINUTE_MS;
    uint64_t silent_ms = client->used_ms + MINUTE_MS + SILENT_MS;
    if (silent_ms < self->sweep_ms)
        self->sweep_ms = silent_ms;
}

/* Does a request with this client and seq wait? Then it is joined, or refused. */
static bool waiting_join(const sessions_t *self, const request_t *request, reply_t *out,
                         uint64_t *waiter) {
    for (size_t i = 0; i < self->waiting_count; i++) {
        const waiting_t *waiting = &self->waiting[i];
        if (waiting->seq != request->seq || waiting->name_size != request->client.size ||
            memcmp(waiting->name, request->client.data, waiting->name_size) != 0)
            continue;
        if (waiting->arguments == arguments_hash(request))
            *waiter = waiting->waiter;
        else
            *out = (reply_t){.msgid = request->msgid, .code = RPC_INVALID_ARGUMENT};
        return true;
    }
    return false;
}

bool sessions_begin(sessions_t *self, const request_t *request, uint64_t time_ms, reply_t *out,
                    uint64_t *waiter) {
    bool found;
    *waiter = 0;
    if (waiting_join(self, request, out, waiter))
        return true;
    size_t at = client_seek(self, request->client, &found);
    if (!found)
        return false;
    client_t *client = &self->clients[at];
    size_t place = kept_seek(client, request->seq);
    if (place < client->count && client->kept[place].seq == request->seq) {
        const kept_t *kept = &client->kept[place];
        client_use(self, client, time_ms);
        *out = kept->answer;
        if (kept->arguments != arguments_hash(request))
            *out = (reply_t){.code = RPC_INVALID_ARGUMENT};
        out->msgid = request->msgid;
        return true;
    }
    bool forgotten = request->seq <= client->floor || (client->count == KEPT_ANSWERS && place == 0);
    *out = (reply_t){.msgid = request->msgid, .code = RPC_INVALID_ARGUMENT};
    return forgotten;
}

static void lowest_forget(client_t *client) {
    client->floor = client->kept[0].seq;
    client->count--;
    memmove(client->kept, client->kept + 1, client->count * sizeof *client->kept);
}

static void answer_keep(sessions_t *self, slice_t name, uint64_t time_ms, const kept_t *kept) {
    client_t *client = client_make(self, name);
    size_t place = kept_seek(client, kept->seq);
    client->kept =
        array_room(client->kept, &client->capacity, client->count + 1, sizeof *client->kept);
    memmove(client->kept + place + 1, client->kept + place,
            (client->count - place) * sizeof *client->kept);
    client->kept[place] = *kept;
    client->count++;
    if (client->count > KEPT_ANSWERS)
        lowest_forget(client);
    client_use(self, client, time_ms);
}

void sessions_keep(sessions_t *self, const request_t *request, uint64_t time_ms,
                   const reply_t *answer) {
    kept_t kept = {request->seq, arguments_hash(request), *answer};
    answer_keep(self, request->client, time_ms, &kept);
}

void sessions_wait(sessions_t *self, const request_t *request, uint64_t waiter) {
    self->waiting = array_room(self->waiting, &self->waiting_capacity, self->waiting_count + 1,
                               sizeof *self->waiting);
    waiting_t *waiting = &self->waiting[self->waiting_count++];
    *waiting = (waiting_t){.waiter = waiter,
                           .name_size = request->client.size,
                           .seq = request->seq,
                           .arguments = arguments_hash(request)};
    memcpy(waiting->name, request->client.data, request->client.size);
}

void sessions_settle(sessions_t *self, uint64_t waiter, uint64_t time_ms, const reply_t *answer) {
    size_t at = 0;
    bool found;
    while (at < self->waiting_count && self->waiting[at].waiter != waiter)
        at++;
    if (at == self->waiting_count)
        return;
    waiting_t waiting = self->waiting[at];
    self->waiting[at] = self->waiting[--self->waiting_count];
    slice_t name = {waiting.name, waiting.name_size};
    size_t place = client_seek(self, name, &found);
    kept_t kept = {waiting.seq, waiting.arguments, *answer};
    if (!found || waiting.seq > self->clients[place].floor)
        answer_keep(self, name, time_ms, &kept);
}

void sessions_sweep(sessions_t *self, uint64_t time_ms) {
    if (time_ms < self->sweep_ms)
        return;
    size_t oldest = 0;
    for (size_t i = 1; i < self->count; i++)
        if (self->clients[i].used_ms < self->clients[oldest].used_ms)
            oldest = i;
    client_t *client = self->count ? &self->clients[oldest] : NULL;
    self->sweep_ms = client ? client->used_ms + MINUTE_MS + SILENT_MS : UINT64_MAX;
    if (time_ms < self->sweep_ms)
        return;
    for (size_t i = 0; i < SWEPT_ANSWERS && client->count; i++)
        lowest_forget(client);
    if (client->count)
        return;
    free(client->kept);
    self->count--;
    memmove(client, client + 1, (self->count - oldest) * sizeof *client);
}
