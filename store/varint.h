/* varint.h: numbers in as few bytes as they need: 7 bits a byte, lowest first, bit 7 set in all but
 * the last.
 */
#ifndef DRAX_STORE_VARINT_H
#define DRAX_STORE_VARINT_H

#include "broker/error.h"
#include "broker/pack.h"

#define VARINT_BYTES 10u /* that a number takes at most */

/* Returns how many bytes. */
static inline size_t varint_write(uint8_t *out, uint64_t value) {
    size_t size = 0;
    for (; value > 0x7f; value >>= 7)
        out[size++] = (uint8_t) (value | 0x80);
    out[size++] = (uint8_t) value;
    return size;
}

/* Takes a number from the front of `rest`. DRAX_ECORRUPT. */
static inline int varint_take(slice_t *rest, uint64_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < rest->size && i < VARINT_BYTES; i++) {
        uint8_t byte = rest->data[i];
        if (i == VARINT_BYTES - 1 && byte > 1)
            return DRAX_ECORRUPT; /* more than 64 bits */
        value |= (uint64_t) (byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        *rest = (slice_t){rest->data + i + 1, rest->size - i - 1};
        *out = value;
        return 0;
    }
    return DRAX_ECORRUPT;
}

#endif
