/* block.h: what is inside an ENTRY_BLOCK payload, and batches between gateway and storage.
 *
 *   block = [node, boot, seq, prev, [command …]]   command = bin: a client's request payload
 *   batch = [[token, bytes] …]                     bytes = bin
 *
 * (node, boot) name the gateway that proposed the block, seq numbers its blocks from 1. The state
 * applies a block only when its boot is the latest of that node and prev <= last applied seq < seq:
 * so a gateway may send a block again after a leader change, and each one counts once and in order
 * (see docs/ARCHITECTURE.md). `prev` is the block that must have counted before this one, 0 for the
 * first. A block of storage itself (expiry) has node, boot, seq and prev 0 and is always applied.
 */
#ifndef DRAX_BROKER_BLOCK_H
#define DRAX_BROKER_BLOCK_H

#include "broker/pack.h"

typedef struct block {
    uint64_t node, boot, seq, prev;
    size_t count;
    size_t at;    /* cursor of block_next */
    slice_t rest; /* what block_next has not read yet */
} block_t;

/* Building: begin, add each command, end. `count` commands must follow. */
void block_begin(buffer_t *out, uint64_t node, uint64_t boot, uint64_t seq, uint64_t prev,
                 size_t count);
void block_add(buffer_t *out, slice_t command);

/* Reading: DRAX_EPROTO when it is not a block. Slices borrow from `bytes`. */
int block_open(block_t *out, slice_t bytes);
/* 1: `command` is the next one. 0: no more. DRAX_EPROTO: malformed or trailing bytes. */
int block_next(block_t *self, slice_t *command);

typedef struct batch {
    size_t count;
    size_t at;
    slice_t rest;
} batch_t;

void batch_begin(buffer_t *out, size_t count);
void batch_add(buffer_t *out, uint64_t token, slice_t bytes);
int batch_open(batch_t *out, slice_t bytes);
int batch_next(batch_t *self, uint64_t *token, slice_t *bytes); /* as block_next */

#endif
