/* answer.h: the outside of a gateway's answer: whose it is, and whether it is a success. */
#ifndef DRAX_TESTS_SIM_ANSWER_H
#define DRAX_TESTS_SIM_ANSWER_H

#include <stdbool.h>

#include "broker/payload.h"

typedef struct answer {
    uint32_t msgid;
    bool ok;
    char code[32];  /* "" when ok */
    slice_t result; /* borrowed; msgpack, when ok */
} answer_t;

/* False: not a response. */
bool answer_read(slice_t payload, answer_t *out);

#endif
