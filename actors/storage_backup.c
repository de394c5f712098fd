/* storage_backup.c: snapshots for clients: the state, and all of it, chunk by chunk.
 *
 *   snapshot(0, 0)     waits for a flush of what is applied, as a first page does (storage_view.c)
 *   snapshot(id, N)    chunk N of it, or the one before once more
 *
 * The chunks are those that peers get, of a session whose receiver is no peer: a node serves one
 * client's snapshot at a time, and a new one ends the one before.
 */
#include "actors/storage_internal.h"

#define BACKUP_PEER 0u

static void chunk_pack(buffer_t *out, const message_snapshot_t *chunk, uint64_t revision) {
    slice_t bytes = payload_slice(chunk->payload);
    rpc_success(out);
    pack_map(out, 5);
    pack_str(out, "snapshot");
    pack_uint(out, chunk->session);
    pack_str(out, "chunk");
    pack_uint(out, chunk->chunk);
    pack_str(out, "data");
    pack_bin(out, bytes.data, bytes.size);
    pack_str(out, "last");
    pack_bool(out, chunk->last);
    pack_str(out, "revision");
    pack_uint(out, revision);
}

int storage_backup_answer(storage_actor_t *self, const request_t *request, uint64_t now_ms,
                          buffer_t *out) {
    message_snapshot_t wanted = {
        .session = request->snapshot, .peer = BACKUP_PEER, .chunk = request->chunk};
    message_snapshot_t found = {.chunk = request->chunk};
    int rc = DRAX_EINVAL;
    if (request->snapshot || request->chunk == 0)
        rc = storage_snapshot_read(self, &found, &wanted, now_ms);
    switch (rc) {
    case 0:
        chunk_pack(out, &found, storage_snapshot_revision(self, found.session));
        payload_unref(&found.payload);
        return 0;
    case DRAX_ENOTFOUND:
        rpc_failure(out, RPC_INVALID_ARGUMENT,
                    "no such snapshot; it was begun at another node, or is no longer kept");
        return 0;
    case DRAX_EINVAL:
        rpc_failure(out, RPC_INVALID_ARGUMENT, "the chunks of a snapshot come in order, from 0");
        return 0;
    case DRAX_ENOMEM:
    case DRAX_EAGAIN:
        rpc_failure(out, RPC_UNAVAILABLE, error_text(rc));
        return 0;
    default:
        return rc;
    }
}
