/* state_snapshot.h: what the sending and the receiving side of a snapshot share (grammar in
 * state_snapshot.c). The public functions are in state.h.
 */
#ifndef DRAX_STORE_STATE_SNAPSHOT_H
#define DRAX_STORE_STATE_SNAPSHOT_H

#include "store/record.h"

#define CHUNK_HEAD_BYTES 25u /* checksum, number, applied, last */

/* Of a chunk of at least CHUNK_HEAD_BYTES. */
uint64_t chunk_checksum(slice_t chunk);

#endif
