/* message_random.h: messages of any kind with random content, and their comparison. */
#ifndef DRAX_TESTS_MESSAGE_RANDOM_H
#define DRAX_TESTS_MESSAGE_RANDOM_H

#include "broker/message.h"

/* Fills `out` (owned by the caller) with content that the codec must carry. */
void message_random(message_t *out, message_kind_t kind, uint64_t *seed);
bool message_kind_exists(message_kind_t kind);
bool message_equal(const message_t *a, const message_t *b);
bool config_equal(const config_t *a, const config_t *b);
void config_random(config_t *out, uint64_t *seed);

uint64_t random_next(uint64_t *seed);
/* A number below 2^bits, small ones as likely as large ones. */
uint64_t random_number(uint64_t *seed, unsigned bits);
payload_t *random_payload(uint64_t *seed, size_t min, size_t max);

#endif
