/* watches.h: the watches of a gateway, and which of them a key concerns.
 *
 * Owns: watches, found by id, by key and by when something is due for them; their memory is
 * bounded (limits.h). Must not know: messages, answers.
 *
 * Watches of the same key or the same directory form a group, so a change costs as many look-ups
 * as its key has slashes, however many watches there are.
 */
#ifndef DRAX_ACTORS_WATCHES_H
#define DRAX_ACTORS_WATCHES_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "actors/pending.h"

/* LIVE: it gets changes as they come about. BEHIND: changes from `next` on are to be asked for
 * first, when it may be told of them. */
typedef enum { WATCH_BEHIND, WATCH_LIVE } watch_state_t;

typedef struct watch_group watch_group_t;

typedef struct watch {
    uint64_t id;
    bool poll;      /* one answer, then it ends */
    uint32_t msgid; /* of the request; for the answer of a poll */
    watch_state_t state;
    bool asked, queued; /* a question about past changes is with storage; waits to go there */
    bool late;          /* a poll whose time is up: it ends when it is LIVE */
    uint64_t next;      /* no change before it is of interest; see gateway_watch.c for LIVE ones */
    uint64_t view;      /* its first pairs come from this view of storage's; 0: it has them all */
    uint64_t credit;    /* notifications that it may get */
    uint64_t due_ms;    /* when it is to hear something at the latest */
    envelope_t *envelope;
    account_t *account;
    watch_group_t *group;
    size_t bytes;
    RB_ENTRY(watch) by_id, by_due;
    TAILQ_ENTRY(watch) in_group, in_queue;
    LIST_ENTRY(watch) in_account;
} watch_t;

TAILQ_HEAD(watch_queue, watch);

struct watch_group {
    uint64_t hash;
    struct watch_group *chain; /* of the hash table */
    struct watch_queue watches;
    size_t live; /* how many of them are */
    /* Events for its live watches that were not given out yet, of revisions first .. last. */
    buffer_t events;
    size_t event_count;
    uint64_t event_first, event_last;
    SLIST_ENTRY(watch_group) touched;
    bool is_touched;
    bool tree;
    size_t key_size;
    uint8_t key[];
};

typedef struct watches watches_t;

/* `seed`: ids count from it, and hashes are mixed with it. DRAX_ENOMEM. */
int watches_new(watches_t **out, uint64_t seed);
void watches_destroy(watches_t **self);

typedef struct watch_spec {
    bool poll, tree;
    slice_t key; /* with `tree`, the prefix of the directory */
    uint32_t msgid;
    uint64_t next, view, credit, due_ms;
} watch_spec_t;

/* A new watch, BEHIND, of the connection `account`; takes `*envelope` over. NULL, and the envelope
 * stays: over a limit, or out of memory. */
watch_t *watches_open(watches_t *self, const watch_spec_t *spec, account_t *account,
                      envelope_t **envelope);
/* Ends it. The caller ends with account_settle. */
void watches_close(watches_t *self, watch_t *watch);
watch_t *watches_find(watches_t *self, uint64_t id); /* NULL: none */
size_t watches_count(const watches_t *self);
size_t watches_count_behind(const watches_t *self);
/* All of them, in the order of their ids. */
watch_t *watches_first(watches_t *self);
watch_t *watches_next(watches_t *self, watch_t *watch);

void watches_state_set(watches_t *self, watch_t *watch, watch_state_t state);
/* Changes when something is due for it. */
void watches_due_set(watches_t *self, watch_t *watch, uint64_t due_ms);
watch_t *watches_first_due(watches_t *self); /* NULL: there are none */

/* Forgets the group's events; a group without watches goes with them. */
void watches_events_given(watches_t *self, watch_group_t *group);

/* Calls `visit` for each group that a change of `key` concerns. */
void watches_match(watches_t *self, slice_t key, void (*visit)(void *hint, watch_group_t *group),
                   void *hint);

#endif
