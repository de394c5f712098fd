/* sim_text.c: how the simulation speaks: traces, violations, and what is on a line of them. */
#include "tests/raft/sim_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void sim_say(sim_t *self, const char *format, ...) {
    if (!self->trace)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    self->trace(self->trace_context, line);
}

void sim_violated(sim_t *self, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    self->fail(self->trace_context, line);
    abort();
}

/* ---- texts ---- */

void sim_config_text(const config_t *config, char *out, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < config->count && at < size; i++) {
        const member_t *member = &config->members[i];
        int n =
            snprintf(out + at, size - at, "%s%llu%s", i ? " " : "", (unsigned long long) member->id,
                     member->role == MEMBER_LEARNER ? "?" : "");
        at += (size_t) n;
    }
    if (config->count == 0)
        snprintf(out, size, "none");
}

void sim_message_text(const message_t *message, char *out, size_t size) {
    int n = snprintf(out, size, "%llu -> %llu %s term %llu", U(message->from), U(message->to),
                     message_kind_name(message->kind), U(message->term));
    char *to = out + n;
    size_t left = size - (size_t) n;
    switch (message->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_VOTE:
        snprintf(to, left, " last %llu/%llu%s", U(message->vote.last_index),
                 U(message->vote.last_term), message->vote.transfer ? " transfer" : "");
        break;
    case MESSAGE_PRE_VOTE_RESULT:
    case MESSAGE_VOTE_RESULT:
        snprintf(to, left, message->vote_result.granted ? " granted" : " refused");
        break;
    case MESSAGE_APPEND:
        n = snprintf(to, left, " prev %llu/%llu commit %llu", U(message->append.prev_index),
                     U(message->append.prev_term), U(message->append.commit));
        if (message->append.entries.count)
            snprintf(to + n, left - (size_t) n, " entries %llu..%llu",
                     U(message->append.entries.items[0].index),
                     U(message->append.entries.items[message->append.entries.count - 1].index));
        break;
    case MESSAGE_APPEND_RESULT:
        if (message->append_result.rejected)
            snprintf(to, left, " refused %llu hint %llu/%llu", U(message->append_result.index),
                     U(message->append_result.hint_index), U(message->append_result.hint_term));
        else
            snprintf(to, left, " match %llu", U(message->append_result.index));
        break;
    case MESSAGE_HEARTBEAT:
        snprintf(to, left, " commit %llu round %llu", U(message->heartbeat.commit),
                 U(message->heartbeat.round));
        break;
    case MESSAGE_HEARTBEAT_RESULT:
        snprintf(to, left, " round %llu%s", U(message->heartbeat_result.round),
                 message->heartbeat_result.watched ? " watched" : "");
        break;
    case MESSAGE_READ_INDEX:
        snprintf(to, left, " read %llu", U(message->read.read_id));
        break;
    case MESSAGE_READ_INDEX_RESULT:
        snprintf(to, left, " read %llu index %llu", U(message->read.read_id),
                 U(message->read.index));
        break;
    case MESSAGE_SNAPSHOT_OFFER:
        snprintf(to, left, " from %llu", U(message->snapshot.index));
        break;
    default:
        break;
    }
}

void sim_status_text(const sim_node_t *node, char *out, size_t size) {
    if (!node->core) {
        snprintf(out, size, "%llu: down", U(node->id));
        return;
    }
    char members[256];
    sim_config_text(raft_config(node->core), members, sizeof members);
    snprintf(out, size, "%llu: %s term %llu leader %llu commit %llu last %llu durable %llu {%s}",
             U(node->id), raft_role_name(raft_role(node->core)), U(raft_term(node->core)),
             U(raft_leader(node->core)), U(raft_commit(node->core)), U(raft_last_index(node->core)),
             U(sim_durable_last(node)), members);
}
