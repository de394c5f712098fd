/* limits.h: every bound in the system, in one place.
 *
 * Owns: the constants. Knows nothing else. Each bound has a test that reaches it.
 * Units stand at the end of each name: _MS milliseconds, _BYTES bytes, else a count.
 */
#ifndef DRAX_BROKER_LIMITS_H
#define DRAX_BROKER_LIMITS_H

/* ---- what a client may send (contract section 2) ---- */
#define LIMIT_KEY_BYTES 4096u
#define LIMIT_REQUEST_DEFAULT_BYTES 1572864u
#define LIMIT_REQUEST_MIN_BYTES 1024u          /* smallest --max-request accepted */
#define LIMIT_REQUEST_MAX_BYTES (16u << 20)    /* largest --max-request accepted */
#define LIMIT_FRAME_BYTES ((16u << 20) + 4096) /* a client's larger frame drops its connection */
#define LIMIT_NESTING 8u                       /* the payload's own array is level 1 */
#define LIMIT_ELEMENTS 65536u                  /* declared msgpack elements in one payload */
#define LIMIT_INTEGER ((1ull << 53) - 1)       /* largest integer in the client protocol */
#define LIMIT_CLIENT_ID_BYTES 32u              /* exactly-once: a client's own name */
#define LIMIT_PAGE_BYTES (1u << 20)            /* pairs in one answer, about */
#define LIMIT_LEASE_KEYS 100000u               /* keys on one lease: they go all at once */
#define LIMIT_WAITERS 65536u /* requests that wait for a lock, in the whole cluster */
#define LIMIT_TXN_COMPARES 1024u
#define LIMIT_TXN_OPERATIONS 1024u /* in each of `then` and `else` */
#define LIMIT_TXN_KEYS 100000u     /* that its lists, ranges and delete_trees go over */
#define LIMIT_TXN_ANSWER_BYTES (LIMIT_REQUEST_MAX_BYTES + (32u << 10))
#define LIMIT_ENVELOPE_FRAMES 32u /* frames before the payload */
#define LIMIT_ENVELOPE_BYTES 4096u

/* ---- what a gateway holds ---- */
#define LIMIT_CLIENT_PENDING 8192u /* requests of one connection not yet answered */
#define LIMIT_CLIENT_PENDING_BYTES (32u << 20)
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define LIMIT_GATEWAY_PENDING 32u /* reached, and made a million times a minute */
#else
#define LIMIT_GATEWAY_PENDING 65536u /* of all connections */
#endif
#define LIMIT_GATEWAY_PENDING_BYTES (256u << 20)
#define LIMIT_CLIENT_UNSENT_BYTES (32u << 20)   /* answers a connection has not taken yet */
#define LIMIT_GATEWAY_UNSENT_BYTES (256u << 20) /* of all connections */
#define LIMIT_REQUEST_TIMEOUT_MS 4500u          /* then UNAVAILABLE or TIMEOUT */
#define LIMIT_CLIENT_CONNECTIONS 65536u
#define LIMIT_CLIENT_WATCHES 16384u  /* of one connection, long polls included */
#define LIMIT_GATEWAY_WATCHES 65536u /* of all connections */
#define LIMIT_GATEWAY_WATCH_BYTES (64u << 20)
#define LIMIT_WATCH_CREDIT 64u /* notifications that a new watch may get */
#define LIMIT_EVENTS_BYTES                                                                         \
    (128u << 10)                   /* of events in one notification, about; one revision's whole */
#define LIMIT_WATCH_IDLE_MS 10000u /* a watch with nothing to say says so */

/* ---- blocks, entries, messages between actors ---- */
#define LIMIT_BLOCK_BYTES (1u << 20) /* a block is closed when it reaches this */
#define LIMIT_BLOCK_COMMANDS 4096u
#define LIMIT_BLOCK_ANSWER_BYTES (32u << 20) /* no transaction of a block begins beyond this */
#define LIMIT_ENTRY_BYTES                                                                          \
    (LIMIT_REQUEST_MAX_BYTES + (64u << 10))  /* largest journal record body                        \
                                              */
#define LIMIT_MESSAGE_FRAMES 4100u           /* header and one frame an entry */
#define LIMIT_HEADER_BYTES (1u << 20)        /* a message's first frame, between peers */
#define LIMIT_LOCAL_HEADER_BYTES (16u << 20) /* the same within a node: OPENED names every term */
#define LIMIT_PEER_FRAME_BYTES                                                                     \
    (LIMIT_ENTRY_BYTES + (64u << 10)) /* a peer's larger frame drops it */
#define LIMIT_OUTLET_FRAME_BYTES 1024 /* what comes back on an outlet is never read */
#define LIMIT_TURN_MESSAGES 512u      /* messages an actor takes from its inbox in one turn */
#define LIMIT_LINK_QUEUE 4096u        /* messages queued on one link (HWM) */
#define LIMIT_APPEND_BYTES (1u << 20) /* entries in one APPEND, unless one alone is larger */
#define LIMIT_APPEND_ENTRIES 1024u
#define LIMIT_WRITE_ENTRIES 4096u        /* in one WRITE; a frame each, so below the frames */
#define LIMIT_INFLIGHT_BYTES (16u << 20) /* to one peer, not yet acknowledged */
#define LIMIT_INFLIGHT_APPENDS 256u
#define LIMIT_UNCOMMITTED_BYTES (128u << 20) /* the leader refuses proposals beyond */
#define LIMIT_ENTRY_CACHE_BYTES (8u << 20)   /* durable entries raft keeps in memory */
#define LIMIT_READS_PENDING 4096u            /* read-index requests of one raft actor */

/* ---- configuration and logs ---- */
#define LIMIT_CONFIG_BYTES 65536u  /* a larger configuration file is refused */
#define LIMIT_LOG_LINE_BYTES 4096u /* a longer line is cut; no more than PIPE_BUF */

/* ---- membership ---- */
#define LIMIT_MEMBERS 16u
#define LIMIT_OPENED_CONFIGS 1024u /* memberships in one OPENED */
#define LIMIT_ADDR_BYTES 262u      /* HOST:PORT with its NUL */
#define LIMIT_PATH_BYTES 4096u
#define LIMIT_HOME_BYTES 3900u /* of an embedded node, so that paths below it fit */

/* ---- raft timing ---- */
#define RAFT_ELECTION_TIMEOUT_MS 800u /* randomized to one to two times this */
#define RAFT_HEARTBEAT_MS 100u
#define RAFT_THRIFTY_MS 10u      /* so much later those hear whom no majority needs */
#define RAFT_HEDGE_MS 5u         /* but everybody at once when an entry waits so long … */
#define RAFT_HEDGE_PAUSE_MS 100u /* … and for so long from then on */
#define RAFT_RACE_MS 1000u       /* and one entry, to see who is quick */
#define RAFT_THRIFTY_ENTRIES 64u /* who lacks more catches up and does not wait */

/* ---- storage ---- */
#define JOURNAL_SEGMENT_BYTES (16u << 20)
#define JOURNAL_KEEP_BYTES (64u << 20) /* history: at least this much, or … */
#define JOURNAL_KEEP_REVISIONS 100000u /* … this many revisions, whichever is less */
#define STATE_FEW_KEYS 1050000u        /* up to so many, memory is small and the same */
#define STATE_FLUSH_MS 3000u
#define STATE_FLUSH_BYTES (16u << 20)        /* of few keys; of more … */
#define STATE_FLUSH_BYTES_A_KEY 24u          /* … so much for each, up to … */
#define STATE_FLUSH_MOST_BYTES (48u << 20)   /* … this, and as much later than STATE_FLUSH_MS */
#define STATE_RELEASE_MS 1000u               /* after a flush memory is given back */
#define STATE_OVERLAY_MAX_BYTES (64u << 20)  /* apply waits for the flush beyond this */
#define STATE_BUFFER_BYTES (16u << 20)       /* LevelDB's write buffer, up to … */
#define STATE_MANY_TABLE_BYTES (2ull << 30)  /* … so many bytes of tables; with more … */
#define STATE_MANY_BUFFER_BYTES (128u << 20) /* … this */
#define STATE_LARGE_BYTES (64u << 10)        /* a value beyond this has a file of its own */
#define STATE_SPARE_BYTES (32u << 20)        /* of such files kept to be written over */
#define SNAPSHOT_CHUNK_BYTES (256u << 10)
#define SNAPSHOT_SESSIONS 4u
#define SNAPSHOT_IDLE_MS 30000u
#define EXPIRY_SLACK_MS 100u /* expiries are proposed this long after they are due */
#define EXPIRY_BATCH 1000u   /* keys in one expiry command */

#define SESSION_ANSWERS 1024u    /* exactly once: answers kept for one client */
#define SESSION_IDLE_MS 3600000u /* a client not heard of for longer may be forgotten */
#define SESSION_SWEEP 64u        /* answers forgotten in one entry at most */

/* ---- supervision ---- */
#define SUPERVISOR_BACKOFF_MIN_MS 100u
#define SUPERVISOR_BACKOFF_MAX_MS 10000u
#define SUPERVISOR_HEALTHY_MS                                                                      \
    2000u /* a child that lived this long after it was ready starts over */
#define SUPERVISOR_STOP_MS 4500u
#define SUPERVISOR_WAIT_MS 1000u       /* its own turns are no further apart */
#define SUPERVISOR_HUNG_MS 15000u      /* a child that took no turn for so long is killed */
#define HOME_LOCK_WAIT_MS 2000u        /* for whoever holds a home, and may be about to end */
#define LIMIT_ACTOR_BYTES (1u << 30)   /* memory of one actor's process; more is refused it */
#define LIMIT_STORAGE_BYTES (3u << 29) /* of storage's, which has some for each key */

#endif
