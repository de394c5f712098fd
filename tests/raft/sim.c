/* sim.c: nodes, disks and the network of the simulation (see sim.h). */
#include "tests/raft/sim_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than it takes to hand out all that there is to write. */
#define IDLE_TURNS 100u

void *sim_grow(void *items, size_t *capacity, size_t count, size_t size) {
    if (count <= *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 64;
    if (*capacity < count)
        *capacity = count;
    void *grown = realloc(items, *capacity * size);
    if (!grown)
        abort();
    return grown;
}

/* ---- the disk ---- */

static void entries_truncate(entries_t *entries, size_t count) {
    while (entries->count > count)
        entry_clear(&entries->items[--entries->count]);
}

static void write_clear(sim_write_t *write) {
    entries_clear(&write->entries);
}

/* One write reaches the disk. */
static void write_finish(sim_t *self, sim_node_t *node, sim_write_t *write) {
    if (write->hard) {
        if (write->term < node->term ||
            (write->term == node->term && node->vote && write->vote != node->vote))
            sim_violated(self, "%llu: hard state goes back: term %llu vote %llu after %llu, %llu",
                         U(node->id), U(write->term), U(write->vote), U(node->term), U(node->vote));
        node->term = write->term;
        node->vote = write->vote;
    }
    entries_t *entries = &write->entries;
    if (entries->count) {
        entries_truncate(&node->log, (size_t) (entries->items[0].index - node->first));
        for (size_t i = 0; i < entries->count; i++)
            if (entries_push(&node->log, &entries->items[i]))
                abort();
    }
    if (write->commit > node->may_apply) {
        sim_committed(self, node, write->commit);
        node->may_apply = write->commit;
    }
    write_clear(write);
}

static void writes_drop(sim_node_t *node, size_t count) {
    memmove(node->writes, node->writes + count, (node->write_count - count) * sizeof *node->writes);
    node->write_count -= count;
}

static void node_apply(sim_t *self, sim_node_t *node) {
    uint64_t last = sim_durable_last(node);
    uint64_t to = node->may_apply < last ? node->may_apply : last;
    while (node->applied < to) {
        uint64_t index = ++node->applied;
        if (self->history[index] != sim_durable_term(node, index))
            sim_violated(self, "state machine: %llu applies %llu/%llu, others that of term %llu",
                         U(node->id), U(index), U(sim_durable_term(node, index)),
                         U(self->history[index]));
    }
}

/* Storage may send it now. */
static void ack_check(sim_t *self, const sim_node_t *node, const message_ack_t *ack) {
    message_t message = {.kind = MESSAGE_APPEND_RESULT,
                         .to = ack->to,
                         .term = ack->term,
                         .append_result = {.index = ack->index}};
    if (ack->to)
        sim_message_check(self, node, &message);
}

void sim_written(sim_t *self, sim_node_t *node, size_t count) {
    if (count > node->write_count)
        count = node->write_count;
    if (count == 0)
        return;
    uint64_t seq = node->writes[count - 1].seq;
    for (size_t i = 0; i < count; i++)
        write_finish(self, node, &node->writes[i]);
    ack_check(self, node, &node->writes[count - 1].ack);
    writes_drop(node, count);
    node_apply(self, node);
    raft_written(node->core, seq);
    sim_process(self, node);
}

static const config_t *config_at(const sim_node_t *node, uint64_t index) {
    const config_t *config = &node->base_config;
    for (size_t i = 0; i < node->log.count && node->log.items[i].index <= index; i++)
        if (node->log.items[i].config)
            config = node->log.items[i].config;
    return config;
}

void sim_compact(sim_t *self, sim_node_t *node, uint64_t index) {
    if (index > node->applied)
        index = node->applied;
    if (index < node->first)
        return;
    node->base_config = *config_at(node, index);
    node->base_term = sim_durable_term(node, index);
    size_t drop = (size_t) (index + 1 - node->first);
    node->base_time = node->log.items[drop - 1].time_ms;
    for (size_t i = 0; i < drop; i++)
        entry_clear(&node->log.items[i]);
    memmove(node->log.items, node->log.items + drop,
            (node->log.count - drop) * sizeof *node->log.items);
    node->log.count -= drop;
    node->first = index + 1;
    if (node->flushed < index)
        node->flushed = index;
    raft_compacted(node->core, node->first);
    sim_process(self, node);
}

void sim_fetched(sim_t *self, sim_node_t *node) {
    if (node->fetch_count == 0)
        return;
    raft_fetch_t fetch = node->fetches[0];
    memmove(node->fetches, node->fetches + 1, --node->fetch_count * sizeof fetch);
    entries_t entries = {0};
    int code = fetch.from < node->first ? DRAX_ECOMPACTED : 0;
    uint64_t bytes = 0;
    for (uint64_t i = fetch.from; code == 0 && i <= sim_durable_last(node); i++) {
        const entry_t *entry = &node->log.items[i - node->first];
        bytes += entry_size(entry);
        if (entries.count && bytes > fetch.max_bytes)
            break;
        if (entries_push(&entries, entry))
            abort();
    }
    sim_say(self, "%llu: fetched %llu entries from %llu for %llu", U(node->id), U(entries.count),
            U(fetch.from), U(fetch.peer));
    raft_fetched(node->core, fetch.peer, code, &entries);
    sim_process(self, node);
}

void sim_snapshot_pull(sim_t *self, sim_node_t *node) {
    sim_node_t *donor = sim_node(self, node->pull_from);
    node->pull_from = 0;
    if (!donor || self->cut[donor->id][node->id] || self->cut[node->id][donor->id])
        return;
    /* Storage takes things in order: the term under which the pull began is written by now. */
    size_t hard = node->write_count;
    while (hard > 0 && !node->writes[hard - 1].hard)
        hard--;
    sim_written(self, node, hard);
    uint64_t index = donor->applied;
    uint64_t term = sim_durable_term(donor, index);
    /* What the log holds already is not taken again. */
    if (index <= node->applied || sim_durable_term(node, index) == term)
        return;
    node->base_config = *config_at(donor, index);
    node->base_term = term;
    node->base_time =
        index >= donor->first ? donor->log.items[index - donor->first].time_ms : donor->base_time;
    entries_clear(&node->log);
    node->first = index + 1;
    node->flushed = index;
    sim_say(self, "%llu: restored a snapshot of %llu at %llu/%llu", U(node->id), U(donor->id),
            U(index), U(term));
    sim_crash(self, node->id, 0); /* what is under way is forgotten, the core made anew */
    sim_restart(self, node->id);
}

/* ---- life ---- */

void sim_init(sim_t *self, uint64_t seed) {
    memset(self, 0, sizeof *self);
    self->seed = seed;
    self->now_ms = 1000;
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        self->nodes[id].id = id;
        self->nodes[id].first = 1;
        self->nodes[id].read_next = 1;
    }
    self->history = sim_grow(NULL, &self->history_capacity, 64, sizeof *self->history);
    self->prefixes = sim_grow(NULL, &self->prefix_capacity, 64, sizeof *self->prefixes);
    self->prefixes[self->prefix_count++] = (struct prefix){0, 0, 1};
}

void sim_clear(sim_t *self) {
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        sim_node_t *node = &self->nodes[id];
        raft_destroy(&node->core);
        for (size_t i = 0; i < node->write_count; i++)
            write_clear(&node->writes[i]);
        free(node->writes);
        entries_clear(&node->log);
    }
    for (size_t i = 0; i < self->net_count; i++)
        message_clear(&self->net[i]);
    free(self->net);
    free(self->history);
    free(self->prefixes);
}

static size_t boot_gather(const sim_node_t *node, term_run_t *runs, config_t *configs,
                          size_t *config_count) {
    size_t count = 0;
    runs[count++] = (term_run_t){node->first - 1, node->base_term};
    *config_count = 0;
    if (node->base_config.count)
        configs[(*config_count)++] = node->base_config;
    for (size_t i = 0; i < node->log.count; i++) {
        const entry_t *entry = &node->log.items[i];
        if (entry->term != runs[count - 1].term)
            runs[count++] = (term_run_t){entry->index, entry->term};
        if (entry->config)
            configs[(*config_count)++] = *entry->config;
    }
    return count;
}

void sim_restart(sim_t *self, uint64_t id) {
    sim_node_t *node = &self->nodes[id];
    term_run_t *runs = calloc(node->log.count + 1, sizeof *runs);
    config_t *configs = calloc(node->log.count + 1, sizeof *configs);
    if (!runs || !configs)
        abort();
    raft_options_t options = {.cluster = SIM_CLUSTER,
                              .id = id,
                              .boot = ++node->boot + 1000 * id,
                              .seed = self->seed * 1000003 + id * 101 + node->boot,
                              .cache_bytes = self->cache_bytes,
                              .thrifty = self->thrifty};
    raft_boot_t boot = {.term = node->term,
                        .vote = node->vote,
                        .first_index = node->first,
                        .last_index = sim_durable_last(node),
                        .commit = node->flushed,
                        .time_ms = node->log.count ? node->log.items[node->log.count - 1].time_ms
                                                   : node->base_time,
                        .no_space = node->no_space};
    boot.run_count = boot_gather(node, runs, configs, &boot.config_count);
    boot.runs = runs;
    boot.configs = configs;
    node->formatted = true;
    node->commit = node->applied = node->may_apply = node->flushed;
    node->read_next = 1;
    node->read_done = 0;
    node->read_index = 0;
    node->led_term = 0;
    int rc = raft_new(&node->core, &options, &boot, self->now_ms + node->skew_ms);
    free(runs);
    free(configs);
    if (rc)
        sim_violated(self, "%llu: raft_new: %s", U(id), error_text(rc));
    sim_process(self, node);
}

void sim_crash(sim_t *self, uint64_t id, size_t survivors) {
    sim_node_t *node = &self->nodes[id];
    for (size_t i = 0; i < node->write_count; i++) {
        if (i < survivors)
            write_finish(self, node, &node->writes[i]);
        else
            write_clear(&node->writes[i]);
    }
    node->write_count = 0;
    node->fetch_count = 0;
    node->pull_from = 0;
    raft_destroy(&node->core);
}

static void config_single(config_t *config, unsigned voters) {
    memset(config, 0, sizeof *config);
    config->index = 1;
    config->count = voters;
    for (unsigned i = 0; i < voters; i++) {
        member_t *member = &config->members[i];
        member->id = i + 1;
        member->role = MEMBER_VOTER;
        snprintf(member->addr, sizeof member->addr, "n%u:1", i + 1);
        snprintf(member->raft_addr, sizeof member->raft_addr, "n%u:2", i + 1);
    }
}

void sim_cluster(sim_t *self, unsigned count) {
    config_t config;
    config_single(&config, count);
    entry_t entry = {1, 1, 0, ENTRY_CONFIG, NULL, &config};
    sim_entry_check(self, &self->nodes[1], &entry, 0);
    sim_history_push(self, 1);
    for (unsigned id = 1; id <= count; id++) {
        sim_node_t *node = &self->nodes[id];
        node->term = 1;
        if (entries_push(&node->log, &entry))
            abort();
        node->flushed = 1;
        sim_restart(self, id);
    }
}

void sim_bootstrap(sim_t *self, uint64_t id) {
    sim_restart(self, id);
    config_t config;
    config_single(&config, 1);
    config.members[0].id = id;
    int rc = raft_bootstrap(self->nodes[id].core, &config);
    if (rc)
        sim_violated(self, "%llu: bootstrap: %s", U(id), error_text(rc));
    sim_process(self, &self->nodes[id]);
}

void sim_join(sim_t *self, uint64_t id) {
    sim_restart(self, id);
}

sim_node_t *sim_node(sim_t *self, uint64_t id) {
    return id >= 1 && id <= SIM_NODES && self->nodes[id].core ? &self->nodes[id] : NULL;
}

sim_node_t *sim_leader(sim_t *self) {
    sim_node_t *leader = NULL;
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        sim_node_t *node = sim_node(self, id);
        if (node && raft_role(node->core) == RAFT_LEADER &&
            (!leader || raft_term(node->core) > raft_term(leader->core)))
            leader = node;
    }
    return leader;
}

/* ---- the network ---- */

static void message_queue(sim_t *self, sim_node_t *node, message_t *message) {
    sim_message_check(self, node, message);
    char text[512];
    if (self->trace)
        sim_message_text(message, text, sizeof text);
    bool lost = message->to > SIM_NODES || self->cut[node->id][message->to];
    if (self->trace)
        sim_say(self, "  %s%s", text, lost ? " (lost)" : "");
    if (lost) {
        message_clear(message);
        return;
    }
    self->net = sim_grow(self->net, &self->net_capacity, self->net_count + 1, sizeof *self->net);
    self->net[self->net_count++] = *message;
    memset(message, 0, sizeof *message);
}

static message_t net_take(sim_t *self, size_t at) {
    message_t message = self->net[at];
    memmove(self->net + at, self->net + at + 1, (self->net_count - at - 1) * sizeof *self->net);
    self->net_count--;
    return message;
}

void sim_deliver(sim_t *self, size_t at) {
    message_t message = net_take(self, at);
    sim_node_t *node = sim_node(self, message.to);
    if (!node) {
        message_clear(&message);
        return;
    }
    if (raft_step(node->core, &message))
        sim_violated(self, "%llu: raft_step ran out of memory", U(node->id));
    sim_process(self, node);
}

void sim_lose(sim_t *self, size_t at) {
    message_t message = net_take(self, at);
    message_clear(&message);
}

void sim_duplicate(sim_t *self, size_t at) {
    message_t copy = self->net[at];
    if (copy.kind == MESSAGE_APPEND) {
        memset(&copy.append.entries, 0, sizeof copy.append.entries);
        const entries_t *from = &self->net[at].append.entries;
        for (size_t i = 0; i < from->count; i++)
            if (entries_push(&copy.append.entries, &from->items[i]))
                abort();
    } else if (copy.kind == MESSAGE_FORWARD) {
        payload_ref(copy.propose.payload);
    }
    self->net = sim_grow(self->net, &self->net_capacity, self->net_count + 1, sizeof *self->net);
    self->net[self->net_count++] = copy;
}

/* ---- after every event ---- */

static void write_take(sim_t *self, sim_node_t *node, raft_ready_t *ready) {
    entries_t *entries = ready->entries;
    char hard[64] = "", range[64] = "";
    if (ready->has_hard_state)
        snprintf(hard, sizeof hard, " term %llu vote %llu", U(ready->term), U(ready->vote));
    if (entries->count)
        snprintf(range, sizeof range, " entries %llu..%llu", U(entries->items[0].index),
                 U(entries->items[entries->count - 1].index));
    sim_say(self, "  %llu: write %llu%s%s", U(node->id), U(ready->write_seq), hard, range);
    for (size_t i = 0; i < entries->count; i++) {
        uint64_t prev = entries->items[i].index - 1;
        sim_entry_check(self, node, &entries->items[i],
                        i ? entries->items[i - 1].term : sim_view_term(node, prev));
    }
    node->writes =
        sim_grow(node->writes, &node->write_capacity, node->write_count + 1, sizeof *node->writes);
    node->writes[node->write_count++] = (sim_write_t){
        ready->write_seq, ready->has_hard_state, ready->term, ready->vote, 0, ready->ack, *entries};
    memset(entries, 0, sizeof *entries);
}

static void commit_take(sim_t *self, sim_node_t *node, const raft_ready_t *ready) {
    if (node->write_count) { /* the commit index travels behind the writes */
        node->writes[node->write_count - 1].commit = ready->commit_durable;
    } else if (ready->commit_durable > node->may_apply) {
        sim_committed(self, node, ready->commit_durable);
        node->may_apply = ready->commit_durable;
    }
    node_apply(self, node);
}

void sim_process(sim_t *self, sim_node_t *node) {
    raft_ready_t *ready = raft_ready(node->core);
    if (ready->status_changed) {
        char text[512];
        sim_status_text(node, text, sizeof text);
        sim_say(self, "  %s", text);
    }
    if (ready->write)
        write_take(self, node, ready);
    for (size_t i = 0; i < ready->message_count; i++)
        message_queue(self, node, &ready->messages[i]);
    sim_commit_check(self, node, ready);
    if (raft_commit(node->core) > node->commit)
        sim_say(self, "  %llu: commit %llu", U(node->id), U(raft_commit(node->core)));
    node->commit = raft_commit(node->core);
    if (ready->commit_advanced) {
        if (ready->commit_durable > raft_commit(node->core))
            sim_say(self, "  %llu: commit %llu once durable", U(node->id),
                    U(ready->commit_durable));
        commit_take(self, node, ready);
    }
    sim_leader_check(self, node);
    sim_reads_check(self, node, ready);
    for (size_t i = 0; i < ready->fetch_count; i++) {
        sim_say(self, "  %llu: fetch from %llu for %llu", U(node->id), U(ready->fetches[i].from),
                U(ready->fetches[i].peer));
        if (node->fetch_count == SIM_NODES)
            sim_violated(self, "%llu: more than one fetch a peer", U(node->id));
        node->fetches[node->fetch_count++] = ready->fetches[i];
    }
    if (ready->snapshot_from) {
        sim_say(self, "  %llu: pull a snapshot from %llu", U(node->id), U(ready->snapshot_from));
        node->pull_from = ready->snapshot_from;
    }
}

void sim_tick(sim_t *self, sim_node_t *node) {
    uint64_t now_ms = self->now_ms + node->skew_ms;
    raft_tick(node->core, now_ms);
    sim_process(self, node);
    /* An actor waits until then; with more to write it does not. */
    for (unsigned turns = 0; raft_deadline_ms(node->core) <= now_ms; turns++) {
        if (turns == IDLE_TURNS)
            sim_violated(self, "%llu has a deadline that no turn moves", U(node->id));
        sim_process(self, node);
    }
}

int sim_propose(sim_t *self, sim_node_t *node, const char *text) {
    payload_t *payload = payload_copy(text, strlen(text));
    if (!payload)
        abort();
    int rc = raft_propose(node->core, node->boot, 1, payload);
    payload_unref(&payload);
    sim_process(self, node);
    return rc;
}

int sim_read(sim_t *self, sim_node_t *node) {
    uint64_t id = node->read_next++;
    if (id < SIM_READS)
        node->read_needs[id] = self->history_last;
    int rc = raft_read(node->core, node->boot, id);
    sim_process(self, node);
    return rc;
}

static bool node_settle(sim_t *self, sim_node_t *node) {
    bool moved = false;
    if (node->write_count && !node->hold) {
        sim_say(self, "%llu: written %llu", U(node->id),
                U(node->writes[node->write_count - 1].seq));
        sim_written(self, node, node->write_count);
        moved = true;
    }
    if (node->fetch_count) {
        sim_fetched(self, node);
        moved = true;
    }
    if (node->pull_from) {
        sim_snapshot_pull(self, node);
        moved = true;
    }
    return moved;
}

bool sim_settle(sim_t *self) {
    for (unsigned turn = 0; turn < 100000; turn++) {
        bool moved = false;
        if (self->net_count) {
            char text[512];
            sim_message_text(&self->net[0], text, sizeof text);
            sim_say(self, "%s", text);
            sim_deliver(self, 0);
            moved = true;
        }
        for (uint64_t id = 1; id <= SIM_NODES && !self->net_count; id++) {
            sim_node_t *node = sim_node(self, id);
            if (node)
                moved |= node_settle(self, node);
        }
        if (!moved)
            return true;
    }
    return false;
}

void sim_run(sim_t *self, uint64_t duration_ms, uint64_t step_ms) {
    for (uint64_t past = 0; past < duration_ms; past += step_ms) {
        self->now_ms += step_ms;
        for (uint64_t id = 1; id <= SIM_NODES; id++)
            if (sim_node(self, id))
                sim_tick(self, &self->nodes[id]);
        if (!sim_settle(self))
            sim_violated(self, "the cluster does not settle");
    }
}
