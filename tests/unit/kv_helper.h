/* kv_helper.h: temporary directories, and an ordered store that fails on demand. */
#ifndef DRAX_TESTS_KV_HELPER_H
#define DRAX_TESTS_KV_HELPER_H

#include "store/kv.h"

typedef struct temp_dir {
    char path[256];
} temp_dir_t;

void temp_dir_make(temp_dir_t *out);
void temp_dir_remove(temp_dir_t *self);

/* Passes everything on to `inner` (taken over) until `*calls_left` calls that can fail were made;
 * the next ones all fail with `code`. A negative *calls_left never fails. */
kv_t *kv_faulty_new(kv_t *inner, long *calls_left, int code);
/* How often such a store was to give memory back. */
unsigned kv_faulty_releases(const kv_t *kv);

#endif
