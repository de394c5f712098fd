/* sim.c: see sim.h. */
#include "tests/raft/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct prefix {
    uint64_t index, term, hash;
} prefix_t;

static void say(sim_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void violated(sim_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(sim_t *self, const char *format, ...) {
    if (!self->trace)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    self->trace(self->trace_context, line);
}

static void violated(sim_t *self, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    self->fail(self->trace_context, line);
    abort();
}

static void *grow(void *items, size_t *capacity, size_t count, size_t size) {
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

#define U(x) ((unsigned long long) (x))

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
        snprintf(to, left, " round %llu", U(message->heartbeat_result.round));
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

/* ---- the disk ---- */

uint64_t sim_durable_last(const sim_node_t *node) {
    return node->first + node->log.count - 1;
}

static uint64_t durable_term(const sim_node_t *node, uint64_t index) {
    if (index + 1 == node->first)
        return node->base_term;
    if (index < node->first || index > sim_durable_last(node))
        return 0;
    return node->log.items[index - node->first].term;
}

/* Term of `index` in the log as it will be once all writes are done; 0: not there. */
static uint64_t view_term(const sim_node_t *node, uint64_t index) {
    for (size_t i = node->write_count; i-- > 0;) {
        const entries_t *entries = &node->writes[i].entries;
        if (entries->count == 0 || entries->items[0].index > index)
            continue;
        size_t at = (size_t) (index - entries->items[0].index);
        return at < entries->count ? entries->items[at].term : 0;
    }
    return durable_term(node, index);
}

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
            violated(self, "%llu: hard state goes back: term %llu vote %llu after %llu, %llu",
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
    if (write->commit > node->may_apply)
        node->may_apply = write->commit;
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
        if (self->history[index] != durable_term(node, index))
            violated(self, "state machine: %llu applies %llu/%llu, others that of term %llu",
                     U(node->id), U(index), U(durable_term(node, index)), U(self->history[index]));
    }
}

void sim_written(sim_t *self, sim_node_t *node, size_t count) {
    if (count > node->write_count)
        count = node->write_count;
    if (count == 0)
        return;
    uint64_t seq = node->writes[count - 1].seq;
    for (size_t i = 0; i < count; i++)
        write_finish(self, node, &node->writes[i]);
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
    node->base_term = durable_term(node, index);
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
    say(self, "%llu: fetched %llu entries from %llu for %llu", U(node->id), U(entries.count),
        U(fetch.from), U(fetch.peer));
    raft_fetched(node->core, fetch.peer, code, &entries);
    sim_process(self, node);
}

/* Entries that were under way when a snapshot took the log's place, and do not fit any more. */
static void writes_unfit_drop(sim_node_t *node) {
    uint64_t last = node->first - 1;
    for (size_t i = 0; i < node->write_count; i++) {
        entries_t *entries = &node->writes[i].entries;
        if (entries->count == 0)
            continue;
        if (entries->items[0].index < node->first || entries->items[0].index > last + 1)
            entries_clear(entries);
        else
            last = entries->items[entries->count - 1].index;
    }
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
    uint64_t term = durable_term(donor, index);
    /* What the log holds already is not taken again. */
    if (index <= node->applied || durable_term(node, index) == term)
        return;
    node->base_config = *config_at(donor, index);
    node->base_term = term;
    node->base_time =
        index >= donor->first ? donor->log.items[index - donor->first].time_ms : donor->base_time;
    entries_clear(&node->log);
    node->first = index + 1;
    node->flushed = node->applied = node->may_apply = index;
    writes_unfit_drop(node);
    if (node->commit < index)
        node->commit = index;
    say(self, "%llu: restored a snapshot of %llu at %llu/%llu", U(node->id), U(donor->id), U(index),
        U(term));
    raft_restored(node->core, index, term, node->base_time, &node->base_config);
    sim_process(self, node);
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
    self->history = grow(NULL, &self->history_capacity, 64, sizeof *self->history);
    self->prefixes = grow(NULL, &self->prefix_capacity, 64, sizeof *self->prefixes);
    self->prefixes[self->prefix_count++] = (prefix_t){0, 0, 1};
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
                              .cache_bytes = self->cache_bytes};
    raft_boot_t boot = {.term = node->term,
                        .vote = node->vote,
                        .first_index = node->first,
                        .last_index = sim_durable_last(node),
                        .applied = node->flushed,
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
    node->led_term = 0;
    int rc = raft_new(&node->core, &options, &boot, self->now_ms);
    free(runs);
    free(configs);
    if (rc)
        violated(self, "%llu: raft_new: %s", U(id), error_text(rc));
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

static uint64_t prefix_of(sim_t *self, uint64_t index, uint64_t term) {
    for (size_t i = self->prefix_count; i-- > 0;)
        if (self->prefixes[i].index == index && self->prefixes[i].term == term)
            return self->prefixes[i].hash;
    return 0;
}

/* Log matching: the same index and term mean the same log up to there. */
static void entry_check(sim_t *self, const sim_node_t *node, const entry_t *entry,
                        uint64_t prev_term) {
    uint64_t hash = prefix_of(self, entry->index - 1, prev_term);
    if (hash == 0)
        violated(self, "%llu: entry %llu/%llu follows one never seen, term %llu", U(node->id),
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
        violated(self, "log matching: %llu holds another entry %llu/%llu", U(node->id),
                 U(entry->index), U(entry->term));
    if (known)
        return;
    self->prefixes = grow(self->prefixes, &self->prefix_capacity, self->prefix_count + 1,
                          sizeof *self->prefixes);
    self->prefixes[self->prefix_count++] = (prefix_t){entry->index, entry->term, hash};
}

static void history_push(sim_t *self, uint64_t term) {
    self->history =
        grow(self->history, &self->history_capacity, self->history_last + 2, sizeof *self->history);
    self->history[++self->history_last] = term;
}

void sim_cluster(sim_t *self, unsigned count) {
    config_t config;
    config_single(&config, count);
    entry_t entry = {1, 1, 0, ENTRY_CONFIG, NULL, &config};
    entry_check(self, &self->nodes[1], &entry, 0);
    history_push(self, 1);
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
        violated(self, "%llu: bootstrap: %s", U(id), error_text(rc));
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

static void message_check(sim_t *self, const sim_node_t *node, const message_t *message) {
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
        violated(self, "%llu %s: %s", U(node->id), what, text);
    }
}

static void message_queue(sim_t *self, sim_node_t *node, message_t *message) {
    message_check(self, node, message);
    char text[512];
    if (self->trace)
        sim_message_text(message, text, sizeof text);
    bool lost = message->to > SIM_NODES || self->cut[node->id][message->to];
    if (self->trace)
        say(self, "  %s%s", text, lost ? " (lost)" : "");
    if (lost) {
        message_clear(message);
        return;
    }
    self->net = grow(self->net, &self->net_capacity, self->net_count + 1, sizeof *self->net);
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
        violated(self, "%llu: raft_step ran out of memory", U(node->id));
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
    self->net = grow(self->net, &self->net_capacity, self->net_count + 1, sizeof *self->net);
    self->net[self->net_count++] = copy;
}

/* ---- after every event ---- */

static void commit_check(sim_t *self, sim_node_t *node, uint64_t commit) {
    for (uint64_t index = node->commit + 1; index <= commit; index++) {
        uint64_t term = view_term(node, index);
        if (index > self->history_last) {
            history_push(self, term);
            const config_t *config = raft_config(node->core);
            size_t holders = 0;
            for (size_t i = 0; i < config->count; i++) {
                const sim_node_t *member = &self->nodes[config->members[i].id];
                holders += config->members[i].role == MEMBER_VOTER &&
                           (durable_term(member, index) == term || member->first > index + 1);
            }
            if (holders <= config_voters(config) / 2)
                violated(self, "%llu committed %llu/%llu, durable on %zu only", U(node->id),
                         U(index), U(term), holders);
        }
        if (index + 1 >= node->first && self->history[index] != term)
            violated(self, "state machine: %llu committed %llu/%llu, others in term %llu",
                     U(node->id), U(index), U(term), U(self->history[index]));
    }
    if (commit > node->commit)
        node->commit = commit;
    if (node->write_count) /* the commit index travels behind the writes */
        node->writes[node->write_count - 1].commit = commit;
    else if (commit > node->may_apply)
        node->may_apply = commit;
    node_apply(self, node);
}

static void leader_check(sim_t *self, sim_node_t *node) {
    uint64_t term = raft_term(node->core);
    if (raft_role(node->core) != RAFT_LEADER || node->led_term == term)
        return;
    node->led_term = term;
    if (term >= sizeof self->leaders / sizeof *self->leaders)
        violated(self, "term %llu: too many elections for this test", U(term));
    if (self->leaders[term] && self->leaders[term] != node->id)
        violated(self, "election safety: %llu and %llu both lead in term %llu", U(node->id),
                 U(self->leaders[term]), U(term));
    self->leaders[term] = node->id;
    for (uint64_t index = node->first; index <= self->history_last; index++)
        if (view_term(node, index) != self->history[index])
            violated(self, "leader completeness: %llu leads in term %llu without %llu/%llu",
                     U(node->id), U(term), U(index), U(self->history[index]));
}

static void reads_check(sim_t *self, sim_node_t *node, const raft_ready_t *ready) {
    for (size_t i = 0; i < ready->read_failed_count; i++)
        say(self, "  %llu: read %llu failed", U(node->id), U(ready->reads_failed[i].read_id));
    for (size_t i = 0; i < ready->read_count; i++) {
        const raft_read_state_t *read = &ready->reads[i];
        say(self, "  %llu: read %llu at index %llu", U(node->id), U(read->read_id), U(read->index));
        if (read->boot != node->boot)
            continue;
        if (read->read_id < SIM_READS && read->index < node->read_needs[read->read_id])
            violated(self, "%llu: stale read %llu at %llu, %llu was committed", U(node->id),
                     U(read->read_id), U(read->index), U(node->read_needs[read->read_id]));
        if (read->read_id > node->read_done)
            node->read_done = read->read_id;
    }
}

static void write_take(sim_t *self, sim_node_t *node, raft_ready_t *ready) {
    entries_t *entries = ready->entries;
    char hard[64] = "", range[64] = "";
    if (ready->has_hard_state)
        snprintf(hard, sizeof hard, " term %llu vote %llu", U(ready->term), U(ready->vote));
    if (entries->count)
        snprintf(range, sizeof range, " entries %llu..%llu", U(entries->items[0].index),
                 U(entries->items[entries->count - 1].index));
    say(self, "  %llu: write %llu%s%s", U(node->id), U(ready->write_seq), hard, range);
    for (size_t i = 0; i < entries->count; i++) {
        uint64_t prev = entries->items[i].index - 1;
        entry_check(self, node, &entries->items[i],
                    i ? entries->items[i - 1].term : view_term(node, prev));
    }
    node->writes =
        grow(node->writes, &node->write_capacity, node->write_count + 1, sizeof *node->writes);
    node->writes[node->write_count++] = (sim_write_t){
        ready->write_seq, ready->has_hard_state, ready->term, ready->vote, 0, *entries};
    memset(entries, 0, sizeof *entries);
}

void sim_process(sim_t *self, sim_node_t *node) {
    raft_ready_t *ready = raft_ready(node->core);
    if (ready->status_changed) {
        char text[512];
        sim_status_text(node, text, sizeof text);
        say(self, "  %s", text);
    }
    if (ready->write)
        write_take(self, node, ready);
    for (size_t i = 0; i < ready->message_count; i++)
        message_queue(self, node, &ready->messages[i]);
    if (ready->commit_advanced) {
        say(self, "  %llu: commit %llu", U(node->id), U(ready->commit));
        commit_check(self, node, ready->commit);
    }
    leader_check(self, node);
    reads_check(self, node, ready);
    for (size_t i = 0; i < ready->fetch_count; i++) {
        say(self, "  %llu: fetch from %llu for %llu", U(node->id), U(ready->fetches[i].from),
            U(ready->fetches[i].peer));
        if (node->fetch_count == SIM_NODES)
            violated(self, "%llu: more than one fetch a peer", U(node->id));
        node->fetches[node->fetch_count++] = ready->fetches[i];
    }
    if (ready->snapshot_from) {
        say(self, "  %llu: pull a snapshot from %llu", U(node->id), U(ready->snapshot_from));
        node->pull_from = ready->snapshot_from;
    }
}

void sim_tick(sim_t *self, sim_node_t *node) {
    raft_tick(node->core, self->now_ms);
    sim_process(self, node);
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
        say(self, "%llu: written %llu", U(node->id), U(node->writes[node->write_count - 1].seq));
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
            say(self, "%s", text);
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
            violated(self, "the cluster does not settle");
    }
}
