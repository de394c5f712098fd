#include "cli/lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/options.h"

static void asked(drax_t *client, call_t *call);
static void renewed(drax_t *client, call_t *call);
static void renew(drax_lock_t *self);
static void call_forget(drax_lock_t *self);

/* ---- the program's side ---- */

int drax_lock_new(drax_t *self, const void *key, size_t key_size, uint64_t ttl_ms,
                  const void *value, size_t value_size, drax_lock_t **out) {
    *out = NULL;
    if (ttl_ms == 0 || (!key && key_size > 0) || (!value && value_size > 0))
        return DRAX_ERR_USAGE;
    drax_lock_t *lock = calloc(1, sizeof *lock);
    if (!lock)
        return DRAX_ERR_NO_MEMORY;
    int error = getrandom(&lock->id, sizeof lock->id, 0) == sizeof lock->id ? 0 : DRAX_ERR_SYSTEM;
    buffer_append(&lock->key, key, key_size);
    buffer_append(&lock->value, value, value_size);
    if (lock->key.failed || lock->value.failed)
        error = DRAX_ERR_NO_MEMORY;
    if (error != 0) {
        buffer_free(&lock->key);
        buffer_free(&lock->value);
        free(lock);
        return error;
    }
    lock->client = self;
    lock->has_value = value != NULL;
    lock->ttl_ms = ttl_ms;
    (void) pthread_mutex_lock(&self->lock);
    lock->next = self->locks;
    if (lock->next)
        lock->next->previous = lock;
    self->locks = lock;
    (void) pthread_mutex_unlock(&self->lock);
    *out = lock;
    return 0;
}

static bool settled(const drax_t *client, const void *lock) {
    (void) client;
    lock_state_t state = ((const drax_lock_t *) lock)->state;
    return state != LOCK_ASKING && state != LOCK_CONFIRMING;
}

/* Sends the request; a server that cannot be reached is waited for as long as for the lock. */
static int lock_ask(drax_lock_t *self, uint64_t wait_ms) {
    bool forever = wait_ms == DRAX_FOREVER;
    drax_options_t options = {.ttl_ms = self->ttl_ms,
                              .has_wait = !forever,
                              .wait_ms = wait_ms,
                              .has_value = self->has_value,
                              .value = {self->value.data, self->value.size}};
    const call_spec_t spec = {.method = "lock",
                              .kind = CALL_WRITE,
                              .options = &options,
                              .param_count = 1,
                              .params = {{PARAM_KEY, {self->key.data, self->key.size}, 0}},
                              .session = &self->id,
                              .session_seq = self->seq + 1,
                              .patience_ms = wait_ms};
    uint64_t spare_ms = self->client->timeout_ms;
    uint64_t until_ms = client_deadline(forever ? UINT64_MAX : wait_ms) + (forever ? 0 : spare_ms);
    int error = client_call_submit(self->client, &spec, until_ms, &self->call);
    if (error != 0)
        return error;
    self->seq++;
    self->call->settled = asked;
    self->call->arg = self;
    self->state = LOCK_ASKING;
    return 0;
}

int drax_lock_take(drax_lock_t *self, uint64_t wait_ms) {
    drax_t *client = self->client;
    (void) pthread_mutex_lock(&client->lock);
    int error = self->state == LOCK_FREE || self->state == LOCK_GONE ? lock_ask(self, wait_ms)
                                                                     : DRAX_ERR_USAGE;
    if (error == 0) {
        self->lost_due = false;
        client_drive_until(client, settled, self, UINT64_MAX);
        error = self->state == LOCK_HELD ? 0 : self->error;
        if (error != 0)
            memcpy(client->detail, self->detail, sizeof client->detail);
    }
    (void) pthread_mutex_unlock(&client->lock);
    return error;
}

int drax_lock_release(drax_lock_t *self) {
    drax_t *client = self->client;
    (void) pthread_mutex_lock(&client->lock);
    lock_state_t state = self->state;
    uint64_t token = self->token;
    if (state == LOCK_HELD || state == LOCK_GONE) {
        self->state = LOCK_FREE; /* not to be renewed any more */
        self->lost_due = false;
        call_forget(self);
    }
    (void) pthread_mutex_unlock(&client->lock);
    if (state == LOCK_GONE)
        return DRAX_ERR_LOCK_LOST;
    if (state != LOCK_HELD)
        return DRAX_ERR_USAGE;
    const call_spec_t spec = {.method = "unlock",
                              .kind = CALL_WRITE,
                              .param_count = 2,
                              .params = {{PARAM_KEY, {self->key.data, self->key.size}, 0},
                                         {PARAM_NUMBER, {NULL, 0}, token}}};
    return client_call(client, &spec, NULL);
}

bool drax_lock_held(drax_lock_t *self) {
    (void) pthread_mutex_lock(&self->client->lock);
    bool held = self->state == LOCK_HELD && client_now_ms() < self->valid_ms;
    (void) pthread_mutex_unlock(&self->client->lock);
    return held;
}

uint64_t drax_lock_token(drax_lock_t *self) {
    (void) pthread_mutex_lock(&self->client->lock);
    uint64_t token = self->state == LOCK_HELD ? self->token : 0;
    (void) pthread_mutex_unlock(&self->client->lock);
    return token;
}

void drax_lock_lost_set(drax_lock_t *self, drax_lock_lost_fn *lost, void *arg) {
    (void) pthread_mutex_lock(&self->client->lock);
    self->lost = lost;
    self->arg = arg;
    self->lost_due = lost && self->state == LOCK_GONE;
    (void) pthread_mutex_unlock(&self->client->lock);
}

void drax_lock_destroy(drax_lock_t **self_p) {
    drax_lock_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    drax_t *client = self->client;
    (void) pthread_mutex_lock(&client->lock);
    call_forget(self);
    if (self->previous)
        self->previous->next = self->next;
    else
        client->locks = self->next;
    if (self->next)
        self->next->previous = self->previous;
    (void) pthread_mutex_unlock(&client->lock);
    buffer_free(&self->key);
    buffer_free(&self->value);
    free(self);
}

/* ---- granted, renewed, lost ---- */

/* What is under way for it is of no interest any more. */
static void call_forget(drax_lock_t *self) {
    if (self->call)
        self->call->arg = NULL;
    self->call = NULL;
}

/* Not had, or not any more; while it was being taken, with the reason. */
static void lock_gone(drax_lock_t *self, int error, const char *detail) {
    bool held = self->state == LOCK_HELD;
    self->client->outcomes++;
    call_forget(self);
    self->state = held ? LOCK_GONE : LOCK_FREE;
    self->error = error;
    snprintf(self->detail, sizeof self->detail, "%s",
             detail && detail[0] ? detail : drax_error_text(error));
    if (held && self->lost) {
        self->lost_due = true;
        wakeup_done_set(&self->client->wakeup, true);
        client_waiters_tell(self->client, NULL);
    }
    client_waiters_tell(self->client, self);
}

static void asked(drax_t *client, call_t *call) {
    drax_lock_t *self = call->arg;
    (void) client;
    if (self) {
        self->call = NULL;
        if (call->error != 0) {
            lock_gone(self, call->error, call->detail);
        } else {
            self->token = drax_field_uint(drax_field_find(drax_result_map(call->result), "token"));
            self->state = LOCK_CONFIRMING;
            self->valid_ms = client_now_ms() + self->ttl_ms;
            renew(self);
        }
    }
    call_destroy(&call);
}

static void renew(drax_lock_t *self) {
    const call_spec_t spec = {.method = "lease_keepalive",
                              .kind = CALL_READ, /* again at will: it only ever prolongs */
                              .param_count = 1,
                              .params = {{PARAM_NUMBER, {NULL, 0}, self->token}}};
    uint64_t now_ms = client_now_ms();
    self->renew_ms = now_ms + self->ttl_ms / 3;
    if (client_call_submit(self->client, &spec, self->valid_ms, &self->call) != 0) {
        self->call = NULL;
        self->renew_ms = now_ms + CLIENT_RETRY_MAX_MS; /* no memory or slot just now */
        return;
    }
    self->call->settled = renewed;
    self->call->arg = self;
}

static void renewed(drax_t *client, call_t *call) {
    drax_lock_t *self = call->arg;
    (void) client;
    if (self) {
        self->call = NULL;
        bool counts = self->state == LOCK_CONFIRMING || self->state == LOCK_HELD;
        if (counts && call->error == 0) {
            /* Counted from the first sending: the server may have renewed it then. */
            self->valid_ms = call->first_sent_ms + self->ttl_ms;
            self->state = LOCK_HELD;
            client_waiters_tell(self->client, self);
        } else if (counts &&
                   (call->error == DRAX_ERR_LEASE_NOT_FOUND || self->state == LOCK_CONFIRMING)) {
            lock_gone(self, DRAX_ERR_LOCK_LOST, call->detail);
        }
    }
    call_destroy(&call);
}

void locks_turn(drax_t *self, uint64_t now_ms) {
    for (drax_lock_t *lock = self->locks; lock; lock = lock->next) {
        if (lock->state != LOCK_HELD && lock->state != LOCK_CONFIRMING)
            continue;
        if (now_ms >= lock->valid_ms)
            lock_gone(lock, DRAX_ERR_LOCK_LOST, "it could not be renewed in time");
        else if (!lock->call && now_ms >= lock->renew_ms)
            renew(lock);
    }
}

uint64_t locks_next_ms(const drax_t *self) {
    uint64_t next_ms = UINT64_MAX;
    for (const drax_lock_t *lock = self->locks; lock; lock = lock->next) {
        if (lock->state != LOCK_HELD && lock->state != LOCK_CONFIRMING)
            continue;
        uint64_t at_ms =
            lock->call || lock->valid_ms < lock->renew_ms ? lock->valid_ms : lock->renew_ms;
        next_ms = at_ms < next_ms ? at_ms : next_ms;
    }
    return next_ms;
}

/* ---- callbacks ---- */

bool locks_alive(const drax_t *self) {
    const drax_lock_t *lock = self->locks;
    while (lock && lock->state != LOCK_HELD)
        lock = lock->next;
    return lock != NULL;
}

static drax_lock_t *lost_first(const drax_t *self) {
    drax_lock_t *lock = self->locks;
    while (lock && !lock->lost_due)
        lock = lock->next;
    return lock;
}

bool locks_ready(const drax_t *self) {
    return lost_first(self) != NULL;
}

int locks_deliver(drax_t *self) {
    int count = 0;
    (void) pthread_mutex_lock(&self->lock);
    for (drax_lock_t *lock; (lock = lost_first(self)) != NULL; count++) {
        lock->lost_due = false;
        (void) pthread_mutex_unlock(&self->lock);
        lock->lost(lock->arg, lock);
        (void) pthread_mutex_lock(&self->lock);
    }
    (void) pthread_mutex_unlock(&self->lock);
    return count;
}

void locks_close(drax_t *self) {
    while (self->locks) {
        drax_lock_t *lock = self->locks;
        drax_lock_destroy(&lock);
    }
}
