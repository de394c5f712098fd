/* fuzz.h: what the fuzzing programs share: the entry point, and an input read from its front.
 *
 * An input that ends early gives zeros and empty slices, so every input is one that a harness can
 * carry out, and cutting an input short never changes what came before the cut.
 */
#ifndef DRAX_TESTS_FUZZ_H
#define DRAX_TESTS_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "broker/payload.h"

/* libFuzzer calls this with each input; the replay program (fuzz_replay.c) with each file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct fuzz_input {
    slice_t rest;
} fuzz_input_t;

static inline slice_t fuzz_bytes(fuzz_input_t *self, size_t size) {
    slice_t front = {self->rest.data, size < self->rest.size ? size : self->rest.size};
    if (front.size) {
        self->rest.data += front.size;
        self->rest.size -= front.size;
    }
    return front;
}

static inline uint8_t fuzz_byte(fuzz_input_t *self) {
    slice_t byte = fuzz_bytes(self, 1);
    return byte.size ? byte.data[0] : 0;
}

/* `size:u8 byte{size}`. */
static inline slice_t fuzz_short(fuzz_input_t *self) {
    return fuzz_bytes(self, fuzz_byte(self));
}

static inline uint64_t fuzz_u64(fuzz_input_t *self) {
    uint64_t value = 0;
    slice_t bytes = fuzz_bytes(self, sizeof value);
    if (bytes.size)
        memcpy(&value, bytes.data, bytes.size);
    return value;
}

/* A number in one byte: close to `near`, small, or, behind 0xff, any eight bytes. */
static inline uint64_t fuzz_number(fuzz_input_t *self, uint64_t near) {
    uint8_t how = fuzz_byte(self);
    if (how < 0x80)
        return how;
    return how == 0xff ? fuzz_u64(self) : near + how - 0xc0;
}

#endif
