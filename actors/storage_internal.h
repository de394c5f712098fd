/* storage_internal.h: the storage actor's insides, shared by its files:
 *
 *   storage_actor.c     life, messages, turns
 *   storage_home.c      opening and making what the home holds, and telling raft of it
 *   storage_write.c     the write queue, the journal, segments ahead, compaction
 *   storage_apply.c     committed entries into the state, results, expiry, flushing
 *   storage_query.c     reads, parked until they are safe
 *   storage_snapshot.c  snapshots, sent and received
 *   storage_backup.c    snapshots for clients
 *   storage_watch.c     changes, present and past, for the gateway's watches
 *   storage_view.c      first pairs that do not fit in one answer
 */
#ifndef DRAX_ACTORS_STORAGE_INTERNAL_H
#define DRAX_ACTORS_STORAGE_INTERNAL_H

#include "actors/home.h"
#include "actors/storage_actor.h"
#include "broker/block.h"
#include "broker/error.h"
#include "broker/past.h"
#include "store/commit_note.h"
#include "store/journal.h"
#include "store/state.h"

/* Committed work done in one turn, so that a turn stays short. */
#define STORAGE_APPLY_BYTES (2u << 20)
#define STORAGE_APPLY_ENTRIES 256u
#define STORAGE_ANSWER_BYTES (4u << 20)
/* Past changes: for one question at most so much of the log is read, so far ahead; and so many
 * questions are answered in a turn. */
#define STORAGE_SCAN_BYTES (1u << 20)
#define STORAGE_READ_AHEAD_BYTES (256u << 10)
#define STORAGE_QUESTIONS 16u
/* History copied out of a log that is too long, with one flush. */
#define STORAGE_SETTLE_BYTES (4u << 20)
/* Watches whose first pairs are being read in pages; others wait. */
#define STORAGE_VIEWS 16u
/* Entries kept in memory between their write and their apply. */
#define STORAGE_TAIL_BYTES (32u << 20)
/* A read whose index never came is forgotten; its gateway has given up long before. */
#define STORAGE_QUERY_MS 10000u
#define STORAGE_RETRY_MS 250u
/* So much later raft hears of a write that was acknowledged from here. */
#define STORAGE_WRITTEN_MS 5u
/* The gateway is waited for with the first entries, and the results in them, after an OPEN. */
#define STORAGE_GATEWAY_MS 500u
#define STORAGE_EXPIRE_RETRY_MS 500u
#define STORAGE_CLOCK_MS 1000u
#define STORAGE_STATUS_MS 100u
#define STORAGE_SETTLE_MS 3000u
/* Free space at which flushing to a disk that was full is tried again. */
#define STORAGE_ROOM_BYTES (24u << 20)

typedef struct write_item {
    message_t message; /* WRITE */
    struct write_item *next;
} write_item_t;

typedef struct query_item {
    message_t message; /* QUERY */
    batch_t cursor;
    bool begun;
    uint64_t received_ms;
    struct query_item *next;
} query_item_t;

/* Entries that were written and wait to be applied: a contiguous run. */
typedef struct tail {
    entry_t *items; /* ring of `capacity` */
    size_t capacity, head, count;
    size_t bytes;
} tail_t;

typedef struct snapshot_session {
    uint64_t id; /* 0: free */
    uint64_t peer;
    state_snapshot_t *snapshot;
    uint64_t pin; /* the journal keeps what is after it */
    uint64_t used_ms;
} snapshot_session_t;

typedef struct staging {
    bool active;
    bool busy; /* a chunk is with the worker */
    uint64_t session, next_chunk;
    uint64_t number; /* of the state directory it goes to */
    state_staging_t *state;
    kv_t *kv; /* complete, after the last chunk */
    worker_job_t job;
    message_t chunk; /* at work */
    int code;
} staging_t;

typedef struct question_item {
    payload_t *payload; /* of HISTORY */
    batch_t cursor;
    struct question_item *next;
} question_item_t;

/* A watch whose first pairs need a view of what is flushed at `applied` or later, or a client that
 * wants a snapshot of it. */
typedef struct view_wait {
    uint64_t token, applied, since_ms;
    bool backup;
    size_t prefix_size;
    uint8_t prefix[LIMIT_KEY_BYTES + 1];
    struct view_wait *next;
} view_wait_t;

typedef struct view_slot {
    uint64_t id; /* 0: free */
    state_view_t *view;
    uint64_t used_ms;
} view_slot_t;

/* What the gateway's watches want. */
typedef struct storage_watch {
    bool subscribed;
    uint64_t told;    /* the revision up to which CHANGES went out */
    buffer_t changes; /* since then: batch elements */
    size_t count;
    question_item_t *questions, **questions_last;
    entries_t run;   /* of the journal, read ahead */
    buffer_t events; /* of the answer being made */
    view_wait_t *waits, **waits_last;
    view_slot_t views[STORAGE_VIEWS];
    uint64_t view_count;
} storage_watch_t;

struct storage_actor {
    storage_options_t options;
    const post_t *post;
    const log_t *log;
    char home[LIMIT_PATH_BYTES];
    int fatal;       /* not 0: the turn returns it */
    uint64_t now_ms; /* of the last event, for the workers' completions */

    bool formatted;
    home_identity_t identity;
    home_current_t current;
    journal_t *journal;
    commit_note_t *note; /* NULL: it could not be made */
    state_t *state;

    bool opened; /* raft sent OPEN */
    uint64_t opened_ms;
    write_item_t *writes, *writes_newest; /* newest: undefined while there are none */
    uint64_t seq_received, seq_durable;
    message_ack_t acked;                 /* the last that left since WRITTEN was sent */
    uint64_t connected, connected_index; /* to this leader, as the membership of then names it */
    uint64_t commit;
    uint64_t
        settle_index;   /* the journal's end at the start: what may have been applied before it */
    uint64_t settle_ms; /* or until then, when there is no leader; 0: settled */
    uint64_t settle_floor; /* but not before this was applied: it was noted */
    bool write_blocked;    /* the first write found no room */
    uint64_t retry_ms;
    bool written_changed; /* raft is to hear at once: of a write, first_index or no_space */
    uint64_t written_ms;  /* or until then; 0: of nothing */
    tail_t tail;

    uint64_t clock_ms, clock_at_ms; /* cluster time, and when it was told; 0: never */
    bool leader;
    bool proposing; /* an expiry or clock block is under way */
    uint64_t proposed_ms;

    query_item_t *queries, **queries_last;
    uint64_t ready_id, ready_index;
    bool busy; /* more to do at once */

    worker_t *flusher, *reserver;
    worker_job_t flush_job, reserve_job;
    bool flushing;
    int flush_code;
    uint64_t dirty_ms;       /* when the overlay got its first change; 0: clean */
    uint64_t frozen_ms;      /* when the last flush began */
    bool flush_first;        /* none began for long before dirty_ms */
    uint64_t release_ms;     /* when memory is given back; 0: not until a flush */
    uint64_t flush_retry_ms; /* when what failed is tried again; 0: nothing did */
    bool flush_no_space;
    journal_reserve_t *reserve;
    uint64_t reserve_retry_ms;

    storage_watch_t watch;

    snapshot_session_t sessions[SNAPSHOT_SESSIONS];
    uint64_t session_count;
    staging_t staging;
    bool install_due;

    uint64_t status_ms;                    /* when STORE_STATUS is due */
    uint64_t status_applied, status_first; /* as last told */
    bool stopping;
    buffer_t scratch, outcome;
};

/* storage_write.c */
void storage_write_receive(storage_actor_t *self, message_t *message);
int storage_write_turn(storage_actor_t *self, uint64_t now_ms);
void storage_writes_clear(storage_actor_t *self);
void storage_fetch(storage_actor_t *self, const message_t *message);
void storage_written_send(storage_actor_t *self);
void storage_reserve_turn(storage_actor_t *self, uint64_t now_ms);
int storage_compact(storage_actor_t *self);
int storage_history_settle(storage_actor_t *self);
bool storage_no_space(const storage_actor_t *self);

void tail_clear(tail_t *self);

/* storage_apply.c */
int storage_apply_turn(storage_actor_t *self, uint64_t now_ms);
/* Until when apply waits for a gateway that is not there; 0: it does not. */
uint64_t storage_gateway_awaited_ms(const storage_actor_t *self, uint64_t now_ms);
void storage_expire_turn(storage_actor_t *self, uint64_t now_ms);
void storage_flush_turn(storage_actor_t *self, uint64_t now_ms);
/* How large the overlay becomes before it is flushed: larger when there are many keys, so that a
 * flush meets more in each table that LevelDB then merges it with. */
size_t storage_flush_bytes(uint64_t keys);
/* The overlay has its first change. */
void storage_dirty(storage_actor_t *self, uint64_t now_ms);
/* When what is dirty is flushed at the latest. */
uint64_t storage_flush_ms(const storage_actor_t *self);
uint64_t storage_time_ms(const storage_actor_t *self, uint64_t now_ms);

/* storage_query.c */
void storage_query_receive(storage_actor_t *self, message_t *message, uint64_t now_ms);
void storage_read_ready(storage_actor_t *self, const message_t *message);
int storage_query_turn(storage_actor_t *self, uint64_t now_ms);
void storage_queries_clear(storage_actor_t *self);
/* What stands in self->scratch, as one ANSWER with the `seq` of its query; nothing when `count` is
 * 0. */
int storage_answer_send(storage_actor_t *self, uint64_t seq, size_t count);
void storage_batch_stamp(const storage_actor_t *self, message_t *message);

/* storage_watch.c */
void storage_subscribe(storage_actor_t *self, bool on);
/* After `entry` was applied, when it changed keys. */
int storage_changed(storage_actor_t *self, const entry_t *entry);
int storage_changes_turn(storage_actor_t *self);
/* A history_source_t's entry: reads ahead in the journal. */
int storage_entry_find(void *storage, uint64_t index, slice_t *payload);
void storage_history_receive(storage_actor_t *self, message_t *message);
int storage_history_turn(storage_actor_t *self, uint64_t now_ms);
void storage_watch_clear(storage_actor_t *self);

/* storage_view.c */
/* The answer to `request`, a watch or a snapshot's begin, waits for a flush. DRAX_ENOMEM. */
int storage_view_wait(storage_actor_t *self, uint64_t token, const request_t *request,
                      uint64_t now_ms);
bool storage_view_wants_flush(const storage_actor_t *self);
int storage_view_turn(storage_actor_t *self, uint64_t now_ms);
/* The next page of a view. */
int storage_view_page(storage_actor_t *self, uint64_t id, past_answer_t *out, uint64_t now_ms);
void storage_view_close(storage_actor_t *self, uint64_t id);
void storage_views_close(storage_actor_t *self);
/* Those that wait too. */
void storage_views_clear(storage_actor_t *self);

/* storage_snapshot.c */
/* Reads a chunk of the snapshot that `wanted` names, or of a new one (session 0), whose receiver is
 * `wanted->peer`: one at a time. DRAX_ENOTFOUND: there is no such snapshot any more. DRAX_EINVAL:
 * that chunk is not next. Others: it cannot be read. */
int storage_snapshot_read(storage_actor_t *self, message_snapshot_t *out,
                          const message_snapshot_t *wanted, uint64_t now_ms);
/* The revision of the snapshot `session`; 0: there is none. */
uint64_t storage_snapshot_revision(const storage_actor_t *self, uint64_t session);
void storage_snapshot_fetch(storage_actor_t *self, const message_t *message, uint64_t now_ms);
void storage_snapshot_chunk(storage_actor_t *self, message_t *message);
int storage_snapshot_turn(storage_actor_t *self, uint64_t now_ms);
void storage_snapshots_clear(storage_actor_t *self);
/* Ends all that are being sent; their receivers begin again. */
void storage_sessions_close(storage_actor_t *self);
uint64_t storage_snapshot_pin(const storage_actor_t *self);

/* storage_backup.c */
/* Appends to `out` the outcome of a request for a chunk. Not 0: storage cannot go on. */
int storage_backup_answer(storage_actor_t *self, const request_t *request, uint64_t now_ms,
                          buffer_t *out);

/* storage_actor.c */
/* False while a node that starts again may not have applied what it had before: answers without a
 * quorum wait, so that the revision does not go back. */
bool storage_settled(const storage_actor_t *self);

/* storage_home.c */
/* Opens all that there is; an empty home stays as it is. `detail`, empty so far, gets a sentence.
 */
int storage_home_open(storage_actor_t *self, char *detail, size_t detail_size);
/* Makes the node that `format` names in a home that holds none. */
int storage_format(storage_actor_t *self, const message_format_t *format);
/* The state directory that CURRENT names; `create`: there is none yet. */
int storage_state_open(storage_actor_t *self, bool create, char *detail, size_t detail_size);
void storage_open_receive(storage_actor_t *self);
void storage_opened_send(storage_actor_t *self);

#endif
