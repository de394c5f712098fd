/* client_limits.h: every bound of the client library. Units stand at the end of each name. */
#ifndef DRAX_CLI_CLIENT_LIMITS_H
#define DRAX_CLI_CLIENT_LIMITS_H

#define CLIENT_ENDPOINTS 16u
#define CLIENT_TIMEOUT_MS 5000u
#define CLIENT_ID_BYTES 16u
#define CLIENT_METHOD_BYTES 32u /* the name of a method, with its NUL */

/* Calls known at once; a call is found in its slot by its msgid. */
#define CLIENT_SLOTS 1024u
/* A write is refused when it would be so far ahead of the oldest write without an outcome. Servers
 * remember the last 1,024 answers of a client; within half of that no answer that may still be
 * asked for is gone. */
#define CLIENT_WRITES_AHEAD 512u

#define CLIENT_ANSWER_BYTES (32 << 20) /* a larger frame drops the connection */
#define CLIENT_ANSWER_NESTING 16u
#define CLIENT_ANSWER_ELEMENTS (4u << 20)
#define CLIENT_DETAIL_BYTES 256u
#define CLIENT_TURN_MESSAGES 1024u /* taken from one connection before anything else is done */

/* A connection that takes longer than HEDGE gets company, and is given up after CONNECT. */
#define CLIENT_HEDGE_MS 300u
#define CLIENT_CONNECT_MS 4000u
#define CLIENT_RECONNECT_MIN_MS 50u
#define CLIENT_RECONNECT_MAX_MS 1000u
#define CLIENT_HEARTBEAT_MS 500u
#define CLIENT_HEARTBEAT_TIMEOUT_MS 2000u

/* A gateway answers within 5 s; one that has not by then does not count as connected any more. */
#define CLIENT_ATTEMPT_MS 6000u
/* With less time left than this nothing is sent again: an answer that does not come in time would
 * turn a known outcome into an unknown one. */
#define CLIENT_ATTEMPT_MIN_MS 100u
/* Pause before a call that was answered UNAVAILABLE or TIMEOUT is sent again; doubles each time. */
#define CLIENT_RETRY_MIN_MS 20u
#define CLIENT_RETRY_MAX_MS 320u

/* Notifications that a server sends a new watch unasked (its own LIMIT_WATCH_CREDIT); half of it is
 * given back at a time. */
#define CLIENT_WATCH_CREDIT 64u
#define CLIENT_WATCH_BUCKETS 1024u
/* Watches that ask at the same time, so that calls find room beside them. */
#define CLIENT_WATCHES_ASKING 256u
/* A watch with nothing to say says so every 10 s; one silent for longer than MUTE is lost. */
#define CLIENT_WATCH_CHECK_MS 1000u
#define CLIENT_WATCH_MUTE_MS 25000u

#endif
