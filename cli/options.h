/* options.h: what the client itself reads of a caller's options. NULL stands for none everywhere.
 */
#ifndef DRAX_CLI_OPTIONS_H
#define DRAX_CLI_OPTIONS_H

#include "broker/pack.h"
#include "drax.h"

struct drax_options {
    uint64_t timeout_ms; /* the client's own; 0: none */
    uint64_t ttl_ms;     /* 0: none */
    uint64_t limit;      /* 0: none */
    uint64_t from;       /* watches: 0: none */
    uint64_t lease;      /* 0: none */
    bool has_wait;
    uint64_t wait_ms;
    bool has_value;
    slice_t value;        /* lock; borrowed */
    uint64_t fence_token; /* 0: none */
    uint8_t *fence_key;   /* owned */
    size_t fence_key_size;
    bool stale, keys_only, count_only, reverse;
    uint8_t *after; /* owned; NULL: none */
    size_t after_size;
};

size_t options_count(const drax_options_t *self);             /* names that options_pack writes */
void options_pack(buffer_t *out, const drax_options_t *self); /* names and values, without a head */
uint64_t options_timeout_ms(const drax_options_t *self, uint64_t otherwise_ms);

#endif
