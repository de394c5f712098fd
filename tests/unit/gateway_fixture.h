/* gateway_fixture.h: a gateway actor with a fake post and fake clients, driven step by step.
 *
 * Requests, outcomes and answers are written as text (text_msgpack.h). A client is one letter.
 */
#ifndef DRAX_TESTS_GATEWAY_FIXTURE_H
#define DRAX_TESTS_GATEWAY_FIXTURE_H

#include "actors/gateway_actor.h"
#include "broker/block.h"
#include "fake_post.h"

#define GATEWAY_NODE 7u
#define GATEWAY_BOOT 1000u
#define GATEWAY_MAX_REQUEST 4096u

typedef struct given_answer {
    char client;
    buffer_t bytes;
} given_answer_t;

typedef struct fixture {
    fake_post_t post;
    gateway_actor_t *gateway;
    log_t log;
    unsigned log_lines;
    uint64_t now_ms;
    char refusing; /* this client takes no answers */
    int refusing_code;
    given_answer_t answers[64];
    size_t answer_count, answer_at;
} fixture_t;

int fixture_new(void **state);
int fixture_destroy(void **state);

/* ---- what comes in ---- */
void client_sends(fixture_t *f, char client, const char *request);
void client_sends_bytes(fixture_t *f, char client, slice_t payload);
void status_comes(fixture_t *f, uint64_t leader, uint64_t term);
void result_comes(fixture_t *f, uint64_t seq, size_t count, const char *const *outcomes);
/* One outcome, `nil, {"revision": seq}`. */
void result_comes_simple(fixture_t *f, uint64_t seq);
void skipped_comes(fixture_t *f, uint64_t last_seq);
void refused_comes(fixture_t *f, uint64_t seq, int code);
void message_comes(fixture_t *f, actor_t from, message_t *message);
void turn(fixture_t *f);
void turn_at(fixture_t *f, uint64_t now_ms);

/* ---- what must have gone out ---- */
/* The next message is a PROPOSE of this block with `count` commands; returns it. */
message_t *propose_expected(fixture_t *f, uint64_t seq, uint64_t prev, size_t count);
void nothing_expected(fixture_t *f);
/* The next answer is exactly this one. */
void answer_expected(fixture_t *f, char client, const char *response);
/* The next answer is an error with this code. */
void error_expected(fixture_t *f, char client, uint32_t msgid, const char *code);
void no_answer_expected(fixture_t *f);
/* The first token of a QUERY. */
uint64_t query_token(const message_t *query);
void answer_comes(fixture_t *f, uint64_t token, const char *outcome);
/* One that is held, of a state where `applied` was. */
void answer_comes_held(fixture_t *f, uint64_t read_id, uint64_t applied, uint64_t token,
                       const char *outcome);

#endif
