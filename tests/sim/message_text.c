/* message_text.c: see the header. */
#include "tests/sim/message_text.h"

#include <stdio.h>

#define U(number) ((unsigned long long) (number))

static uint64_t last_index(const entries_t *entries, uint64_t before) {
    return entries->count ? entries->items[entries->count - 1].index : before;
}

static int body_text(const message_t *message, char *out, size_t size) {
    switch (message->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_VOTE:
        return snprintf(out, size, "last=%llu/%llu%s", U(message->vote.last_index),
                        U(message->vote.last_term), message->vote.transfer ? " transfer" : "");
    case MESSAGE_PRE_VOTE_RESULT:
    case MESSAGE_VOTE_RESULT:
        return snprintf(out, size, "%s", message->vote_result.granted ? "granted" : "refused");
    case MESSAGE_APPEND:
        return snprintf(out, size, "prev=%llu/%llu last=%llu commit=%llu",
                        U(message->append.prev_index), U(message->append.prev_term),
                        U(last_index(&message->append.entries, message->append.prev_index)),
                        U(message->append.commit));
    case MESSAGE_APPEND_RESULT:
        return snprintf(out, size, "%s index=%llu hint=%llu/%llu",
                        message->append_result.rejected ? "rejected" : "ok",
                        U(message->append_result.index), U(message->append_result.hint_index),
                        U(message->append_result.hint_term));
    case MESSAGE_HEARTBEAT:
        return snprintf(out, size, "round=%llu commit=%llu", U(message->heartbeat.round),
                        U(message->heartbeat.commit));
    case MESSAGE_HEARTBEAT_RESULT:
        return snprintf(out, size, "round=%llu%s", U(message->heartbeat_result.round),
                        message->heartbeat_result.watched ? " watched" : "");
    case MESSAGE_FORWARD:
    case MESSAGE_PROPOSE:
    case MESSAGE_PROPOSE_REFUSED:
        return snprintf(out, size, "boot=%llu seq=%llu code=%d", U(message->propose.boot),
                        U(message->propose.seq), message->propose.code);
    case MESSAGE_READ_INDEX:
    case MESSAGE_READ_INDEX_RESULT:
    case MESSAGE_READ:
    case MESSAGE_READ_READY:
    case MESSAGE_READ_FAILED:
        return snprintf(out, size, "read=%llu index=%llu", U(message->read.read_id),
                        U(message->read.index));
    case MESSAGE_SNAPSHOT_OFFER:
    case MESSAGE_SNAPSHOT_FETCH:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_STAGED:
        return snprintf(out, size, "chunk=%llu%s index=%llu/%llu code=%d",
                        U(message->snapshot.chunk), message->snapshot.last ? " last" : "",
                        U(message->snapshot.index), U(message->snapshot.snapshot_term),
                        message->snapshot.code);
    case MESSAGE_WRITE:
        return snprintf(out, size, "seq=%llu term=%llu vote=%llu entries=%zu last=%llu commit=%llu",
                        U(message->write.seq), U(message->write.term), U(message->write.vote),
                        message->write.entries.count, U(last_index(&message->write.entries, 0)),
                        U(message->write.commit));
    case MESSAGE_WRITTEN:
        return snprintf(out, size, "seq=%llu first=%llu applied=%llu%s", U(message->written.seq),
                        U(message->written.first_index), U(message->written.applied),
                        message->written.no_space ? " no_space" : "");
    case MESSAGE_RESULT:
    case MESSAGE_SKIPPED:
    case MESSAGE_STORE_STATUS:
        return snprintf(out, size, "boot=%llu seq=%llu revision=%llu applied=%llu",
                        U(message->batch.boot), U(message->batch.seq), U(message->batch.revision),
                        U(message->batch.applied));
    default:
        return snprintf(out, size, "%s", "");
    }
}

void message_text(const message_t *message, char *out, size_t size) {
    int used = snprintf(out, size, "%s ", message_kind_name(message->kind));
    if (message_is_peer(message->kind))
        used += snprintf(out + used, size - (size_t) used, "from=%llu to=%llu term=%llu ",
                         U(message->from), U(message->to), U(message->term));
    (void) body_text(message, out + used, size - (size_t) used);
}
