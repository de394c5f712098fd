/* journal_record.h: the bytes of a journal: segment headers and records.
 *
 * Owns: the layout. Knows neither files nor what a record means to the log. Internal to the
 * journal.
 *
 *   segment  = header record* rest*               exactly `capacity` bytes, preallocated
 *   header   = magic version header_size sequence base capacity salt durable prev
 *              last_index last_term last_time_ms first_sequence term vote used checksum
 *   record   = length:u32 kind:u8 entry_kind:u8 head_check:u16
 *              prev durable index term time_ms checksum body zero{0..7}
 *
 *   kind       index         term           time_ms         body
 *   ENTRY      the entry's   its term       its stamp       payload, or an encoded membership
 *   HARD_STATE vote          term           0               none
 *   TRUNCATE   new last      its term       its stamp       none   entries after `index` are gone
 *   RESET      snapshot's    its term       0               none   all entries are gone; the log
 *                                                                  begins after (index, term), and
 *                                                                  only this segment is needed
 *   COMPACT    a sequence    0              0               none   segments before it are not
 * needed SEAL       next sequence 0              0               none   the chain goes on there
 *
 * magic is 8 bytes, version and header_size 4, all other fields without a width 8, little endian.
 * Records begin at multiples of 8. rest: zeros, or, when `used` is 1 and not 0, what the file held
 * as an earlier segment.
 *
 * A position is a place in the whole journal: a segment's `base` plus the offset in it; the next
 * segment's base is this one's plus its capacity.
 *
 * checksum: XXH3-64 of the body, seeded with the XXH3-64 of the 48 bytes before the checksum
 * (head_check taken as 0), which is seeded with salt + prev. prev is the checksum of the record
 * before, or of the header for a segment's first; a header's is that of the seal before. head_check
 * is the low half-word of the head's own hash: it makes a search for records cheap on arbitrary
 * bytes.
 *
 * durable: the position up to which everything had been synced when the record was made. It is what
 * tells damage from a torn tail (journal_recovery.c).
 */
#ifndef DRAX_STORE_JOURNAL_RECORD_H
#define DRAX_STORE_JOURNAL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_MAGIC "DRAXJRNL"
#define JOURNAL_VERSION 1u
#define HEADER_BYTES 128u
#define RECORD_BYTES 56u /* without the body */
#define RECORD_ALIGN 8u

typedef enum {
    RECORD_NONE = 0, /* what zero-filled space reads as */
    RECORD_ENTRY = 1,
    RECORD_HARD_STATE,
    RECORD_TRUNCATE,
    RECORD_RESET,
    RECORD_COMPACT,
    RECORD_SEAL,
    RECORD_KIND_END
} record_kind_t;

typedef struct header {
    uint64_t sequence;
    uint64_t base;
    uint64_t capacity;
    uint64_t salt;
    uint64_t durable;
    uint64_t prev;
    uint64_t last_index, last_term, last_time_ms; /* of the log when the segment was begun */
    uint64_t first_sequence;                      /* the oldest segment that was needed then */
    uint64_t term, vote;                          /* hard state then */
    uint64_t used;                                /* 1: the file was a segment before */
    uint64_t checksum;
} header_t;

typedef struct record {
    record_kind_t kind;
    uint8_t entry_kind;
    uint32_t length; /* of the body */
    uint64_t prev;
    uint64_t durable;
    uint64_t index, term, time_ms;
    uint64_t checksum;
} record_t;

/* Bytes a record with a body of `length` takes, padding included. */
static inline uint64_t record_size(uint64_t length) {
    return RECORD_BYTES + ((length + RECORD_ALIGN - 1) & ~(uint64_t) (RECORD_ALIGN - 1));
}

/* Writes HEADER_BYTES and sets `header->checksum`. */
void header_encode(uint8_t *out, header_t *header);

typedef enum { HEADER_GOOD, HEADER_BAD, HEADER_OTHER_VERSION } header_result_t;

/* Reads HEADER_BYTES. BAD: not a header, or its checksum is wrong. */
header_result_t header_decode(header_t *out, const uint8_t *bytes);

/* Writes RECORD_BYTES for a record whose body is `length` bytes at `body`; sets `record->checksum`.
 */
void record_encode(uint8_t *out, record_t *record, const uint8_t *body, uint64_t salt);

/* Reads the head of a record at `bytes`, of which `available` are there. False when it cannot be a
 * record: kind or length impossible, head_check wrong. The body is not looked at. */
bool record_head_decode(record_t *out, const uint8_t *bytes, uint64_t available, uint64_t salt);

/* True when checksum and padding are right; `bytes` holds the whole record, whose head is `record`.
 */
bool record_valid(const record_t *record, const uint8_t *bytes, uint64_t salt);

#endif
