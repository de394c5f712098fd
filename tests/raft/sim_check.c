/* sim_check.c: the properties that must hold after every event (see sim.h). */
#include "tests/raft/sim_internal.h"

/* ---- what a node holds ---- */

uint64_t sim_durable_last(const sim_node_t *node) {
    return node->first + node->log.count - 1;
}

uint64_t sim_durable_term(const sim_node_t *node, uint64_t index) {
    if (index + 1 == node->first)
        return node->base_term;
    if (index < node->first || index > sim_durable_last(node))
        return 0;
    return node->log.items[index - node->first].term;
}

/* Term of `index` in the log as it will be once all writes are done; 0: not there. */
uint64_t sim_view_term(const sim_node_t *node, uint64_t index) {
    for (size_t i = node->write_count; i-- > 0;) {
        const entries_t *entries = &node->writes[i].entries;
        if (entries->count == 0 || entries->items[0].index > index)
            continue;
        size_t at = (size_t) (index - entries->items[0].index);
        return at < entries->count ? entries->items[at].term : 0;
    }
    return sim_durable_term(node, index);
}

/* ---- log matching ---- */

static uint64_t prefix_of(sim_t *self, uint64_t index, uint64_t term) {
    for (size_t i = self->prefix_count; i-- > 0;)
        if (self->prefixes[i].index == index && self->prefixes[i].term == term)
            return self->prefixes[i].hash;
    return 0;
}

/* Log matching: the same index and term mean the same log up to there. */
void sim_entry_check(sim_t *self, const sim_node_t *node, const entry_t *entry,
                     uint64_t prev_term) {
    uint64_t hash = prefix_of(self, entry->index - 1, prev_term);
    if (hash == 0)
        sim_violated(self, "%llu: entry %llu/%llu follows one never seen, term %llu", U(node->id),
                     U(entry->index), U(entry->term), U(prev_term));
    hash = hash * UINT64_C(0x100000001b3) + entry->term;
    hash = hash * UINT64_C(0x100000001b3) + (uint64_t) entry->kind;
    hash = hash * UINT64_C(0x100000001b3) + entry->time_ms;
    const uint8_t *bytes = payload_data(entry->payload);
    for (size_t i = 0; i < payload_size(entry->payload); i++)
        hash = hash * UINT64_C(0x100000001b3) + bytes[i];
    hash |= 1;
    uint64_t known = prefix_of(self, entry->index, entry->term);
    if (known && known != hash)
        sim_violated(self, "log matching: %llu holds another entry %llu/%llu", U(node->id),
                     U(entry->index), U(entry->term));
    if (known)
        return;
    self->prefixes = sim_grow(self->prefixes, &self->prefix_capacity, self->prefix_count + 1,
                              sizeof *self->prefixes);
    self->prefixes[self->prefix_count++] = (struct prefix){entry->index, entry->term, hash};
}

void sim_history_push(sim_t *self, uint64_t term) {
    self->history = sim_grow(self->history, &self->history_capacity, self->history_last + 2,
                             sizeof *self->history);
    self->history[++self->history_last] = term;
}

/* ---- messages, commits, leaders, reads ---- */

void sim_message_check(sim_t *self, const sim_node_t *node, const message_t *message) {
    const char *what = NULL;
    if (message->kind == MESSAGE_VOTE && (node->term < message->term || node->vote != node->id))
        what = "asks for votes before its own is durable";
    if (message->kind == MESSAGE_VOTE_RESULT && message->vote_result.granted &&
        (node->term < message->term || (node->term == message->term && node->vote != message->to)))
        what = "grants a vote that is not durable";
    if (message->kind == MESSAGE_APPEND_RESULT && !message->append_result.rejected &&
        (node->term < message->term || sim_durable_last(node) < message->append_result.index))
        what = "acknowledges what is not durable";
    if (what) {
        char text[512];
        sim_message_text(message, text, sizeof text);
        sim_violated(self, "%llu %s: %s", U(node->id), what, text);
    }
}

/* What `node` wants to commit, and nobody has: an entry of its own term, each on the disks of a
 * majority, this node's own included or, with `own`, taken for granted. */
static void majority_check(sim_t *self, const sim_node_t *node, uint64_t commit, bool own) {
    if (commit > self->history_last && sim_view_term(node, commit) != raft_term(node->core))
        sim_violated(self, "%llu counts %llu/%llu of an earlier term", U(node->id), U(commit),
                     U(sim_view_term(node, commit)));
    const config_t *config = raft_config(node->core);
    for (uint64_t index = self->history_last + 1; index <= commit; index++) {
        uint64_t term = sim_view_term(node, index);
        size_t holders = 0;
        for (size_t i = 0; i < config->count; i++) {
            const sim_node_t *member = &self->nodes[config->members[i].id];
            holders += config->members[i].role == MEMBER_VOTER &&
                       ((own && member == node) || sim_durable_term(member, index) == term ||
                        member->first > index + 1);
        }
        if (holders <= config_voters(config) / 2)
            sim_violated(self, "%llu committed %llu/%llu, durable on %zu only", U(node->id),
                         U(index), U(term), holders);
    }
}

void sim_committed(sim_t *self, const sim_node_t *node, uint64_t commit) {
    for (uint64_t index = node->commit + 1; index <= commit; index++) {
        uint64_t term = sim_view_term(node, index);
        if (index > self->history_last)
            sim_history_push(self, term);
        if (index + 1 >= node->first && self->history[index] != term)
            sim_violated(self, "state machine: %llu committed %llu/%llu, others in term %llu",
                         U(node->id), U(index), U(term), U(self->history[index]));
    }
}

void sim_commit_check(sim_t *self, const sim_node_t *node, const raft_ready_t *ready) {
    majority_check(self, node, raft_commit(node->core), false);
    sim_committed(self, node, raft_commit(node->core));
    if (ready->commit_advanced) /* what was said before counted by the membership of then */
        majority_check(self, node, ready->commit_durable, true);
}

void sim_leader_check(sim_t *self, sim_node_t *node) {
    uint64_t term = raft_term(node->core);
    if (raft_role(node->core) != RAFT_LEADER || node->led_term == term)
        return;
    node->led_term = term;
    if (term >= sizeof self->leaders / sizeof *self->leaders)
        sim_violated(self, "term %llu: too many elections for this test", U(term));
    if (self->leaders[term] && self->leaders[term] != node->id)
        sim_violated(self, "election safety: %llu and %llu both lead in term %llu", U(node->id),
                     U(self->leaders[term]), U(term));
    self->leaders[term] = node->id;
    for (uint64_t index = node->first; index <= self->history_last; index++)
        if (sim_view_term(node, index) != self->history[index])
            sim_violated(self, "leader completeness: %llu leads in term %llu without %llu/%llu",
                         U(node->id), U(term), U(index), U(self->history[index]));
}

void sim_reads_check(sim_t *self, sim_node_t *node, const raft_ready_t *ready) {
    for (size_t i = 0; i < ready->read_failed_count; i++)
        sim_say(self, "  %llu: read %llu failed", U(node->id), U(ready->reads_failed[i].read_id));
    for (size_t i = 0; i < ready->read_count; i++) {
        const raft_read_state_t *read = &ready->reads[i];
        sim_say(self, "  %llu: read %llu at index %llu", U(node->id), U(read->read_id),
                U(read->index));
        if (read->boot != node->boot)
            continue;
        if (read->read_id < SIM_READS && read->index < node->read_needs[read->read_id])
            sim_violated(self, "%llu: stale read %llu at %llu, %llu was committed", U(node->id),
                         U(read->read_id), U(read->index), U(node->read_needs[read->read_id]));
        if (read->read_id > node->read_done)
            node->read_done = read->read_id;
        if (read->index > node->read_index)
            node->read_index = read->index;
    }
}
