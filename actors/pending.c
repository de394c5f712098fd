#include "actors/pending.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"

struct pendings {
    pending_t *slots;
    uint32_t *free; /* stack of slots that are free again */
    uint32_t free_count;
    uint32_t touched;        /* slots from here on were never used, nor their memory */
    uint32_t generation;     /* of a slot's first use */
    uint32_t oldest, newest; /* index + 1 */
    size_t bytes;
    size_t kinds[PENDING_LOCAL + 1];
    size_t reading;     /* of all accounts */
    zhashx_t *accounts; /* by routing id */
    account_t *unsent;
    size_t unsent_bytes; /* of all accounts */
};

/* ---- accounts ---- */

/* Accounts are their own keys: the hash reads the id in them. FNV-1a. */
static size_t account_hash(const void *key) {
    const account_t *account = key;
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < account->id_size; i++)
        hash = (hash ^ account->id[i]) * 0x100000001b3u;
    return (size_t) hash;
}

static int account_compare(const void *a, const void *b) {
    const account_t *one = a, *other = b;
    if (one->id_size != other->id_size)
        return one->id_size < other->id_size ? -1 : 1;
    return memcmp(one->id, other->id, one->id_size);
}

static account_t *account_new(const envelope_t *envelope) {
    account_t *account = calloc(1, sizeof *account + envelope->id_size);
    if (!account)
        return NULL;
    account->unsent_last = &account->unsent;
    account->id_size = envelope->id_size;
    memcpy(account->id, envelope->bytes + 2, envelope->id_size);
    return account;
}

account_t *pendings_account(pendings_t *self, const envelope_t *envelope) {
    account_t *wanted = account_new(envelope);
    if (!wanted)
        return NULL;
    account_t *found = zhashx_lookup(self->accounts, wanted);
    if (found) {
        free(wanted);
        return found;
    }
    if (zhashx_size(self->accounts) >= LIMIT_CLIENT_CONNECTIONS ||
        zhashx_insert(self->accounts, wanted, wanted) != 0) {
        free(wanted);
        return NULL;
    }
    return wanted;
}

static void unsent_free(unsent_t *item) {
    free(item->envelope);
    payload_unref(&item->response);
    free(item);
}

void account_settle(pendings_t *self, account_t *account) {
    if (account->requests || account->unsent || account->waits || account->watch_count ||
        account->gone)
        return;
    zhashx_delete(self->accounts, account);
    free(account->queue);
    free(account);
}

/* What an unsent answer costs, so that many small ones count as well. */
static size_t unsent_size(const envelope_t *envelope, const payload_t *response) {
    return payload_size(response) + envelope->size + sizeof(unsent_t) + 64;
}

int account_keep(pendings_t *self, account_t *account, envelope_t **envelope,
                 payload_t **response) {
    size_t size = unsent_size(*envelope, *response);
    unsent_t *item = NULL;
    if (account->unsent_bytes + size <= LIMIT_CLIENT_UNSENT_BYTES &&
        self->unsent_bytes + size <= LIMIT_GATEWAY_UNSENT_BYTES)
        item = malloc(sizeof *item);
    if (!item) {
        account->overflowed = true;
        free(*envelope);
        *envelope = NULL;
        payload_unref(response);
        return DRAX_ETOOLARGE;
    }
    *item = (unsent_t){*envelope, *response, NULL};
    *envelope = NULL;
    *response = NULL;
    *account->unsent_last = item;
    account->unsent_last = &item->next;
    account->unsent_bytes += size;
    self->unsent_bytes += size;
    if (!account->listed) {
        account->listed = true;
        account->unsent_next = self->unsent;
        self->unsent = account;
    }
    return 0;
}

account_t *pendings_unsent(pendings_t *self) {
    return self->unsent;
}

void account_sent(pendings_t *self, account_t *account) {
    unsent_t *item = account->unsent;
    account->unsent = item->next;
    size_t size = unsent_size(item->envelope, item->response);
    account->unsent_bytes -= size;
    self->unsent_bytes -= size;
    unsent_free(item);
    if (account->unsent)
        return;
    account->overflowed = false;
    account->unsent_last = &account->unsent;
    account->listed = false;
    account_t **at = &self->unsent;
    while (*at != account)
        at = &(*at)->unsent_next;
    *at = account->unsent_next;
}

/* ---- requests ---- */

static void age_push(pendings_t *self, uint32_t slot) {
    pending_t *pending = &self->slots[slot];
    pending->older = self->newest;
    pending->newer = 0;
    if (self->newest)
        self->slots[self->newest - 1].newer = slot + 1;
    else
        self->oldest = slot + 1;
    self->newest = slot + 1;
}

static void age_remove(pendings_t *self, const pending_t *pending) {
    if (pending->older)
        self->slots[pending->older - 1].newer = pending->newer;
    else
        self->oldest = pending->newer;
    if (pending->newer)
        self->slots[pending->newer - 1].older = pending->older;
    else
        self->newest = pending->older;
}

int pendings_open(pendings_t *self, envelope_t **envelope, pending_kind_t kind,
                  const request_t *request, payload_t *bytes, size_t size, uint64_t deadline_ms,
                  uint64_t *token) {
    bool full = !self->free_count && self->touched == LIMIT_GATEWAY_PENDING;
    if (full || self->bytes + size > LIMIT_GATEWAY_PENDING_BYTES)
        return DRAX_EAGAIN;
    account_t *account = pendings_account(self, *envelope);
    if (!account)
        return DRAX_EAGAIN;
    if (account->requests >= LIMIT_CLIENT_PENDING ||
        account->bytes + size > LIMIT_CLIENT_PENDING_BYTES) {
        account_settle(self, account);
        return DRAX_EAGAIN;
    }
    bool again = self->free_count > 0;
    uint32_t slot = again ? self->free[--self->free_count] : self->touched++;
    pending_t *pending = &self->slots[slot];
    uint32_t generation = again ? pending->generation : self->generation;
    *pending = (pending_t){.kind = kind,
                           .generation = generation,
                           .msgid = request->msgid,
                           .method = request->method,
                           .envelope = *envelope,
                           .account = account,
                           .request = payload_ref(bytes),
                           .bytes = size,
                           .deadline_ms = deadline_ms};
    *envelope = NULL;
    account->requests++;
    account->bytes += size;
    self->bytes += size;
    self->kinds[kind]++;
    if (kind != PENDING_WRITE)
        age_push(self, slot);
    *token = pendings_token(self, pending);
    return 0;
}

/* A token is below 2^53, as integers are in messages: 31 bits of generation, 22 of slot. */
uint64_t pendings_token(const pendings_t *self, const pending_t *pending) {
    return ((uint64_t) pending->generation << 22) | (uint64_t) (pending - self->slots);
}

pending_t *pendings_find(pendings_t *self, uint64_t token) {
    uint64_t slot = token & ((1u << 22) - 1);
    if (slot >= LIMIT_GATEWAY_PENDING)
        return NULL;
    pending_t *pending = &self->slots[slot];
    return pending->kind != PENDING_FREE && pending->generation == token >> 22 ? pending : NULL;
}

void pendings_close(pendings_t *self, pending_t *pending, envelope_t **envelope,
                    account_t **account) {
    *envelope = pending->envelope;
    *account = pending->account;
    if (pending->kind != PENDING_WRITE)
        age_remove(self, pending);
    self->kinds[pending->kind]--;
    if (pending->reading) {
        pending->account->reading--;
        self->reading--;
    }
    self->bytes -= pending->bytes;
    pending->account->bytes -= pending->bytes;
    pending->account->requests--;
    payload_unref(&pending->request);
    pending->kind = PENDING_FREE;
    pending->generation = (pending->generation + 1) & 0x7fffffffu;
    self->free[self->free_count++] = (uint32_t) (pending - self->slots);
}

pending_t *pendings_oldest(pendings_t *self) {
    return self->oldest ? &self->slots[self->oldest - 1] : NULL;
}

pending_t *pendings_newer(pendings_t *self, const pending_t *pending) {
    return pending->newer ? &self->slots[pending->newer - 1] : NULL;
}

size_t pendings_count(const pendings_t *self) {
    return self->touched - self->free_count;
}

void pendings_reading_begin(pendings_t *self, pending_t *pending) {
    pending->reading = true;
    pending->account->reading++;
    self->reading++;
}

size_t pendings_count_reading(const pendings_t *self) {
    return self->reading;
}

size_t pendings_count_kind(const pendings_t *self, pending_kind_t kind) {
    return self->kinds[kind];
}

/* ---- life ---- */

int pendings_new(pendings_t **out, uint64_t seed) {
    *out = NULL;
    pendings_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    self->slots = calloc(LIMIT_GATEWAY_PENDING, sizeof *self->slots);
    self->free = malloc(LIMIT_GATEWAY_PENDING * sizeof *self->free);
    self->accounts = zhashx_new();
    if (!self->slots || !self->free || !self->accounts) {
        pendings_destroy(&self);
        return DRAX_ENOMEM;
    }
    zhashx_set_key_hasher(self->accounts, account_hash);
    zhashx_set_key_comparator(self->accounts, account_compare);
    zhashx_set_key_duplicator(self->accounts, NULL);
    zhashx_set_key_destructor(self->accounts, NULL);
    self->generation = (uint32_t) seed & 0x7fffffffu;
    *out = self;
    return 0;
}

void pendings_destroy(pendings_t **self_p) {
    pendings_t *self = *self_p;
    if (!self)
        return;
    for (uint32_t i = 0; i < self->touched; i++) {
        if (self->slots[i].kind == PENDING_FREE)
            continue;
        free(self->slots[i].envelope);
        payload_unref(&self->slots[i].request);
    }
    account_t *account = self->accounts ? zhashx_first(self->accounts) : NULL;
    zlistx_t *all = account ? zlistx_new() : NULL;
    for (; account; account = zhashx_next(self->accounts))
        zlistx_add_end(all, account);
    if (self->accounts)
        zhashx_destroy(&self->accounts);
    for (account = all ? zlistx_first(all) : NULL; account; account = zlistx_next(all)) {
        while (account->unsent) {
            unsent_t *next = account->unsent->next;
            unsent_free(account->unsent);
            account->unsent = next;
        }
        free(account->queue);
        free(account);
    }
    if (all)
        zlistx_destroy(&all);
    free(self->slots);
    free(self->free);
    free(self);
    *self_p = NULL;
}
