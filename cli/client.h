/* client.h: the inside of a drax_t, shared by its parts:
 *
 *   client.c    life, endpoints, what is set for all calls
 *   drive.c     calls and their callers: who drives the network, who waits, who is called back
 *   router.c    which endpoint, when, and what comes back
 *   watch*.c    streams of changes
 *   lock.c      locks, kept alive
 *   wakeup.c    the descriptors: what the driver waits for, and what a host's event loop does
 *
 * Everything below is under the client's lock, which is held for moments only. One thread at a time
 * is the driver: it alone touches connections, and it alone waits for the network, with the lock
 * free. A call is in exactly one list: `pending` until it has an outcome, then `completed` until
 * drax_poll or drax_process calls back; a blocking call leaves when its caller takes the outcome.
 */
#ifndef DRAX_CLI_CLIENT_H
#define DRAX_CLI_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "cli/call.h"
#include "cli/client_limits.h"
#include "cli/connection.h"
#include "drax.h"

typedef struct call_list {
    call_t *first, *last;
} call_list_t;

/* A thread that waits for what the driver does; on its own stack. */
typedef struct waiter {
    pthread_cond_t changed;
    const void *what; /* a call, a watch; NULL: whatever has a callback */
    struct waiter *previous, *next;
} waiter_t;

/* See wakeup.c. -1: not there. */
typedef struct wakeup {
    int network_fd;  /* epoll: the connections and wake_fd; the driver waits for it */
    int wake_fd;     /* eventfd: ends the driver's wait */
    bool woken;      /* wake_fd has been written to and not read since */
    int host_fd;     /* epoll: network_fd and the next two; drax_fd gives it */
    int done_fd;     /* eventfd: a call has completed, and its callback is still to come */
    bool done;       /* done_fd has been written to */
    bool processing; /* the driver is drax_process, which makes the callbacks next */
    int timer_fd;
    uint64_t timer_ms; /* what it is set to; UINT64_MAX: nothing */
} wakeup_t;

/* A message of a watch to its server, on its way. */
typedef struct note {
    struct note *next;
    connection_t *on;
    buffer_t bytes;
} note_t;

/* See watch.h. */
typedef struct watches {
    drax_watch_t *first;
    size_t waiting;       /* of them: WATCH_WAITING */
    size_t with_callback; /* of them */
    drax_watch_t *streaming[CLIENT_WATCH_BUCKETS];
    drax_watch_t *ready; /* with something for their callback */
    note_t *notes;
    uint64_t check_ms; /* when silent ones are looked for next */
} watches_t;

struct drax {
    pthread_mutex_t lock;
    void *context;
    bool own_context;
    void (*released)(void *hint); /* the caller's context: NULL, or whom to tell at the end */
    void *released_hint;
    size_t connection_count;
    size_t current; /* of the connections: where calls go */
    connection_t connections[CLIENT_ENDPOINTS];
    wakeup_t wakeup;
    bool driven; /* a thread is the driver */
    waiter_t *waiters;
    client_id_t id;
    uint64_t seq;                    /* of the last write */
    uint32_t msgid;                  /* of the last call */
    atomic_uint_fast64_t timeout_ms; /* read without the lock */
    call_list_t pending;             /* in the order of submission */
    size_t pending_count;
    call_list_t completed;
    watches_t watches;
    drax_lock_t *locks;
    uint64_t turned_ms; /* when the last turn looked at the timers */
    size_t submitted;   /* calls whose callback is still to come */
    uint64_t outcomes; /* grows with all that may be waited for: a call that reaches DONE, news of a
                          watch, a lock that is gone */
    call_t *slots[CLIENT_SLOTS];       /* pending calls, by msgid */
    char trouble[CLIENT_DETAIL_BYTES]; /* what last went wrong with a connection; "" after an answer
                                        */
    char detail[CLIENT_DETAIL_BYTES];  /* of the last call that failed */
};

/* Milliseconds of a clock that only goes forward. */
uint64_t client_now_ms(void);
/* A deadline that cannot overflow: a century is as good as forever. */
uint64_t client_deadline(uint64_t timeout_ms);

/* ---- drive.c ---- */

/* Waits until `reached`, driving when nobody does, or until the time is up. What can be done at
 * once is done even without time. `what` is what client_waiters_tell will be called with. */
typedef bool client_reached_fn(const drax_t *self, const void *what);
void client_drive_until(drax_t *self, client_reached_fn *reached, const void *what,
                        uint64_t until_ms);
void client_waiters_tell(drax_t *self, const void *what);
/* Whether drax_poll or drax_process has a callback to make. With the lock held. */
bool client_callbacks_ready(const drax_t *self);

/* Puts a call among the pending. DRAX_ERR_FULL and those of call_new. */
int client_call_submit(drax_t *self, const call_spec_t *spec, uint64_t deadline_ms, call_t **out);

/* Moves a call that reached DONE out of `pending`, and wakes who waits for it. */
void client_call_settle(drax_t *self, call_t *call);

/* Makes a call, waits for its outcome, and gives its result to `out` (NULL: not wanted). */
int client_call(drax_t *self, const call_spec_t *spec, drax_result_t **out);

/* Makes a call whose `done` will be called. DRAX_ERR_FULL and those of call_new. */
int client_submit(drax_t *self, const call_spec_t *spec, drax_done_fn *done, void *arg);

/* Ends every call and calls back; for drax_destroy. */
void client_calls_close(drax_t *self);

/* ---- router.c ---- */

/* One turn of the driver: takes in what has arrived, sends what is due. When no call got its
 * outcome by that, waits for the network, with the lock free, until `until_ms` at the latest.
 * `look`: this driver has not waited before, so the network is to be looked at first: nothing is
 * sent to a connection that is known to be lost. */
void router_turn(drax_t *self, uint64_t until_ms, bool look);

/* The next time at which a turn is needed even if nothing arrives; 0: at once. */
uint64_t router_next_ms(drax_t *self);

/* ---- wakeup.c ---- */

int wakeup_open(wakeup_t *self); /* DRAX_ERR_SYSTEM; to be closed also then */
void wakeup_close(wakeup_t *self);
/* Ends the driver's wait, now or when it begins, and makes drax_fd readable. */
void wakeup_send(wakeup_t *self);
/* The driver's answer to it: what was asked for by then is seen to in this turn. */
void wakeup_take(wakeup_t *self);
/* Waits until a connection, which learns of it, or wakeup_send has something. */
void wakeup_wait(const wakeup_t *self, uint64_t wait_ms);
/* What a host's event loop is to see: that calls have completed, and when it is to look again. Both
 * do nothing without drax_fd. */
void wakeup_done_set(wakeup_t *self, bool done);
void wakeup_timer_set(wakeup_t *self, uint64_t next_ms, uint64_t now_ms);

#endif
