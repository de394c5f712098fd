/* test_raft_scenarios.c: plays scenarios/ *.txt and compares what the cores do with what they
 * should.
 *
 *   test_raft_scenarios [--rewrite] FILE…     --rewrite puts the output there is into the files
 *
 * A file is a list of blocks: commands, a line `----`, the output expected, an empty line. Lines
 * that begin with # are comments. `quiet COMMAND` hides what it prints. A line of output that
 * starts at the margin is an event; indented lines are what the node made of it. A `?` marks a
 * learner. The commands are the table below; messages wait in the network until `deliver` or
 * `settle`, writes until `written` or `settle`.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/raft/sim.h"

#define WORDS 16u

typedef struct text {
    char *data;
    size_t size, capacity;
} text_t;

typedef struct player {
    sim_t sim;
    text_t out;
    bool quiet;
    const char *file;
    unsigned line;
} player_t;

#define U(x) ((unsigned long long) (x))

static void text_add(text_t *self, const char *data, size_t size) {
    if (self->size + size + 1 > self->capacity) {
        self->capacity = (self->size + size + 1) * 2;
        self->data = realloc(self->data, self->capacity);
        if (!self->data)
            abort();
    }
    memcpy(self->data + self->size, data, size);
    self->size += size;
    self->data[self->size] = 0;
}

static void print(player_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print(player_t *self, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    text_add(&self->out, line, strlen(line));
    text_add(&self->out, "\n", 1);
}

static void trace(void *context, const char *line) {
    player_t *self = context;
    if (!self->quiet)
        print(self, "%s", line);
}

static void broken(void *context, const char *line) {
    player_t *self = context;
    fprintf(stderr, "%s:%u: %s\n", self->file, self->line, line);
    exit(1);
}

static uint64_t number(const char *word) {
    return word ? strtoull(word, NULL, 10) : 0;
}

static sim_node_t *running(player_t *self, const char *word) {
    sim_node_t *node = sim_node(&self->sim, number(word));
    if (!node)
        broken(self, "no such node runs");
    return node;
}

static void result(player_t *self, int rc) {
    if (rc)
        print(self, "= %s", error_text(rc));
}

/* ---- messages: `A->B KIND`, either may be left out or `*` ---- */

static bool message_matches(const message_t *message, char **words) {
    unsigned long long from, to;
    if (words[1] && sscanf(words[1], "%llu->%llu", &from, &to) == 2 &&
        (message->from != from || message->to != to))
        return false;
    return !words[1] || !words[2] || strcmp(words[2], message_kind_name(message->kind)) == 0;
}

/* Takes only what is under way now, not what that leads to. */
static void each_message(player_t *self, char **words, void (*act)(sim_t *, size_t), bool removes) {
    sim_t *sim = &self->sim;
    size_t left = sim->net_count, at = 0;
    while (left-- > 0) {
        if (!message_matches(&sim->net[at], words)) {
            at++;
            continue;
        }
        char text[512];
        sim_message_text(&sim->net[at], text, sizeof text);
        trace(self, text);
        act(sim, at);
        if (!removes)
            at++;
    }
}

static void do_deliver(player_t *self, char **words) {
    each_message(self, words, sim_deliver, true);
}

static void do_lose(player_t *self, char **words) {
    each_message(self, words, sim_lose, true);
}

static void do_duplicate(player_t *self, char **words) {
    each_message(self, words, sim_duplicate, false);
}

/* count A->B KIND: messages under way, and the entries and bytes in them */
static void do_count(player_t *self, char **words) {
    uint64_t messages = 0, entries = 0, bytes = 0;
    for (size_t i = 0; i < self->sim.net_count; i++) {
        const message_t *message = &self->sim.net[i];
        if (!message_matches(message, words))
            continue;
        messages++;
        for (size_t e = 0; message->kind == MESSAGE_APPEND && e < message->append.entries.count;
             e++) {
            entries++;
            bytes += payload_size(message->append.entries.items[e].payload);
        }
    }
    print(self, "= %llu messages, %llu entries, %llu bytes", U(messages), U(entries), U(bytes));
}

static entry_t forged_entry(uint64_t index, uint64_t term) {
    entry_t entry;
    memset(&entry, 0, sizeof entry);
    entry.index = index;
    entry.term = term;
    entry.kind = ENTRY_BLOCK;
    entry.payload = payload_copy("forged", 6);
    return entry;
}

static void forge_field(message_t *message, const char *word) {
    unsigned long long a = 0, b = 0;
    if (sscanf(word, "term=%llu", &a) == 1)
        message->term = a;
    else if (sscanf(word, "cluster=%llu", &a) == 1)
        message->cluster = a;
    else if (sscanf(word, "boot=%llu", &a) == 1)
        message->from_boot = a;
    else if (sscanf(word, "last=%llu/%llu", &a, &b) == 2)
        message->vote.last_index = a, message->vote.last_term = b;
    else if (sscanf(word, "prev=%llu/%llu", &a, &b) == 2)
        message->append.prev_index = a, message->append.prev_term = b;
    else if (sscanf(word, "commit=%llu", &a) == 1 && message->kind == MESSAGE_APPEND)
        message->append.commit = a;
    else if (sscanf(word, "commit=%llu", &a) == 1)
        message->heartbeat.commit = a;
    else if (sscanf(word, "round=%llu", &a) == 1)
        message->heartbeat_result.round = a;
    else if (sscanf(word, "match=%llu", &a) == 1)
        message->append_result.index = a;
    else if (sscanf(word, "refused=%llu", &a) == 1)
        message->append_result.index = a, message->append_result.rejected = true;
    else if (sscanf(word, "hint=%llu/%llu", &a, &b) == 2)
        message->append_result.hint_index = a, message->append_result.hint_term = b;
    else if (sscanf(word, "from=%llu/%llu", &a, &b) == 2)
        message->snapshot.index = a, message->snapshot.snapshot_term = b;
    else if (sscanf(word, "index=%llu", &a) == 1)
        message->read.index = a;
    else if (strcmp(word, "granted") == 0)
        message->vote_result.granted = true;
    else if (strcmp(word, "transfer") == 0)
        message->vote.transfer = true;
    else if (sscanf(word, "entry=%llu/%llu", &a, &b) == 2) {
        entry_t entry = forged_entry(a, b);
        if (entries_push(&message->append.entries, &entry))
            abort();
        entry_clear(&entry);
    }
}

/* forge A->B KIND FIELD…: as a peer gone mad would send it */
static void do_forge(player_t *self, char **words) {
    message_t message;
    memset(&message, 0, sizeof message);
    unsigned long long from = 0, to = 0;
    sscanf(words[1], "%llu->%llu", &from, &to);
    message.cluster = SIM_CLUSTER;
    message.from = from;
    message.to = to;
    for (int kind = 1; kind < MESSAGE_PEER_LAST; kind++)
        if (strcmp(words[2], message_kind_name((message_kind_t) kind)) == 0)
            message.kind = (message_kind_t) kind;
    for (size_t i = 3; words[i]; i++)
        forge_field(&message, words[i]);
    sim_node_t *node = sim_node(&self->sim, to);
    result(self, raft_step(node->core, &message));
    sim_process(&self->sim, node);
}

/* ---- the cluster ---- */

static void do_cluster(player_t *self, char **words) {
    sim_cluster(&self->sim, (unsigned) number(words[1]));
}

static void do_bootstrap(player_t *self, char **words) {
    sim_bootstrap(&self->sim, number(words[1]));
}

static void do_join(player_t *self, char **words) {
    sim_join(&self->sim, number(words[1]));
}

static void do_thrifty(player_t *self, char **words) {
    (void) words;
    self->sim.thrifty = true;
}

static void do_cache(player_t *self, char **words) {
    self->sim.cache_bytes = number(words[1]);
}

static void do_crash(player_t *self, char **words) {
    sim_crash(&self->sim, number(words[1]), (size_t) number(words[2]));
}

static void do_restart(player_t *self, char **words) {
    sim_restart(&self->sim, number(words[1]));
}

static void do_status(player_t *self, char **words) {
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        const sim_node_t *node = &self->sim.nodes[id];
        if (!node->formatted || (words[1] && id != number(words[1])))
            continue;
        char text[512];
        sim_status_text(node, text, sizeof text);
        print(self, "%s", text);
    }
}

/* ---- time ---- */

static void do_timeout(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    uint64_t deadline_ms = raft_deadline_ms(node->core);
    uint64_t now_ms = self->sim.now_ms + node->skew_ms;
    if (deadline_ms > now_ms) /* for this node alone */
        node->skew_ms += deadline_ms - now_ms;
    sim_tick(&self->sim, node);
}

static void do_tick(player_t *self, char **words) {
    self->sim.now_ms += number(words[1]);
    for (uint64_t id = 1; id <= SIM_NODES; id++)
        if (sim_node(&self->sim, id))
            sim_tick(&self->sim, &self->sim.nodes[id]);
}

static void do_run(player_t *self, char **words) {
    sim_run(&self->sim, number(words[1]), 20);
}

static void do_settle(player_t *self, char **words) {
    (void) words;
    if (!sim_settle(&self->sim))
        broken(self, "the cluster does not settle");
}

static void do_elect(player_t *self, char **words) {
    do_timeout(self, words);
    do_settle(self, words);
}

/* ---- the disk ---- */

static void do_written(player_t *self, char **words) {
    sim_written(&self->sim, running(self, words[1]), words[2] ? (size_t) number(words[2]) : 1000);
}

static void do_hold(player_t *self, char **words) {
    running(self, words[1])->hold = true;
}

static void do_unhold(player_t *self, char **words) {
    running(self, words[1])->hold = false;
}

static void do_fetched(player_t *self, char **words) {
    sim_fetched(&self->sim, running(self, words[1]));
}

static void do_pull(player_t *self, char **words) {
    sim_snapshot_pull(&self->sim, running(self, words[1]));
}

static void do_compact(player_t *self, char **words) {
    sim_compact(&self->sim, running(self, words[1]), number(words[2]));
}

static void do_space(player_t *self, char **words) {
    raft_space(running(self, words[1])->core, strcmp(words[2], "full") == 0);
}

static void do_watched(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    raft_watched(node->core, strcmp(words[2], "on") == 0);
    sim_process(&self->sim, node);
}

/* ---- clients ---- */

static void do_propose(player_t *self, char **words) {
    result(self, sim_propose(&self->sim, running(self, words[1]), words[2] ? words[2] : "x"));
}

/* load N COUNT BYTES: proposals in one turn, until one is refused */
static void do_load(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    size_t size = (size_t) number(words[3]);
    uint64_t done = 0;
    int rc = 0;
    while (done < number(words[2])) {
        payload_t *payload = payload_new(size);
        if (!payload)
            abort();
        memset(payload_bytes(payload), 'x', size);
        rc = raft_propose(node->core, 1, 1, payload);
        payload_unref(&payload);
        if (rc)
            break;
        done++;
    }
    sim_process(&self->sim, node);
    print(self, "= %llu proposed%s%s", U(done), rc ? ", then: " : "", rc ? error_text(rc) : "");
}

static void do_read(player_t *self, char **words) {
    result(self, sim_read(&self->sim, running(self, words[1])));
}

/* reads N COUNT: each of a gateway of its own, in one turn, until one is refused */
static void do_reads(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    uint64_t done = 0;
    int rc = 0;
    while (done < number(words[2]) && (rc = raft_read(node->core, 100000 + done, 1)) == 0)
        done++;
    sim_process(&self->sim, node);
    print(self, "= %llu reads%s%s", U(done), rc ? ", then: " : "", rc ? error_text(rc) : "");
}

/* ---- members ---- */

static void do_add(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    char addr[32], raft_addr[32];
    const char *host = words[3] ? words[3] : words[2];
    snprintf(addr, sizeof addr, "n%s:1", host);
    snprintf(raft_addr, sizeof raft_addr, "n%s:2", host);
    uint64_t index = 0;
    result(self, raft_member_add(node->core, number(words[2]), addr, raft_addr, &index));
    sim_process(&self->sim, node);
}

static void do_remove(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    uint64_t index = 0;
    result(self, raft_member_remove(node->core, number(words[2]), &index));
    sim_process(&self->sim, node);
}

static void do_promote(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    uint64_t index = 0;
    result(self, raft_member_promote(node->core, number(words[2]), &index));
    sim_process(&self->sim, node);
}

static void do_transfer(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    result(self, raft_transfer(node->core, number(words[2])));
    sim_process(&self->sim, node);
}

/* ---- links ---- */

static void do_cut(player_t *self, char **words) {
    unsigned long long from = 0, to = 0;
    if (sscanf(words[1], "%llu->%llu", &from, &to) != 2 || from > SIM_NODES || to > SIM_NODES)
        broken(self, "cut A->B");
    self->sim.cut[from][to] = true;
}

static void do_isolate(player_t *self, char **words) {
    uint64_t id = number(words[1]);
    for (uint64_t i = 1; i <= SIM_NODES; i++)
        self->sim.cut[id][i] = self->sim.cut[i][id] = true;
}

static void do_heal(player_t *self, char **words) {
    (void) words;
    memset(self->sim.cut, 0, sizeof self->sim.cut);
}

static void do_down(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    raft_peer_down(node->core, number(words[2]));
    sim_process(&self->sim, node);
}

static void do_up(player_t *self, char **words) {
    sim_node_t *node = running(self, words[1]);
    raft_peer_up(node->core, number(words[2]));
    sim_process(&self->sim, node);
}

/* ---- files ---- */

static const struct {
    const char *name;
    void (*act)(player_t *self, char **words);
} commands[] = {
    {"cluster", do_cluster},     {"bootstrap", do_bootstrap},
    {"join", do_join},           {"cache", do_cache},
    {"thrifty", do_thrifty},     {"watched", do_watched},
    {"crash", do_crash},         {"restart", do_restart},
    {"status", do_status},       {"timeout", do_timeout},
    {"tick", do_tick},           {"run", do_run},
    {"settle", do_settle},       {"elect", do_elect},
    {"written", do_written},     {"hold", do_hold},
    {"unhold", do_unhold},       {"fetched", do_fetched},
    {"pull", do_pull},           {"compact", do_compact},
    {"space", do_space},         {"propose", do_propose},
    {"load", do_load},           {"read", do_read},
    {"reads", do_reads},         {"add", do_add},
    {"remove", do_remove},       {"promote", do_promote},
    {"transfer", do_transfer},   {"cut", do_cut},
    {"isolate", do_isolate},     {"heal", do_heal},
    {"down", do_down},           {"up", do_up},
    {"deliver", do_deliver},     {"lose", do_lose},
    {"duplicate", do_duplicate}, {"count", do_count},
    {"forge", do_forge},
};

static void command_play(player_t *self, char *line) {
    char *words[WORDS + 1] = {0};
    size_t count = 0;
    for (char *word = strtok(line, " "); word && count < WORDS; word = strtok(NULL, " "))
        words[count++] = word;
    self->quiet = count && strcmp(words[0], "quiet") == 0;
    char **command = words + self->quiet;
    for (size_t i = 0; command[0] && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, command[0]) == 0) {
            commands[i].act(self, command);
            return;
        }
    }
    broken(self, "no such command");
}

static char *file_read(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    text_t text = {0};
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        text_add(&text, chunk, n);
    fclose(file);
    text_add(&text, "", 0);
    return text.data;
}

/* The file as it would be were all its output what the cores do now. */
static text_t file_play(player_t *self, const char *input) {
    text_t file = {0};
    bool expected = false;
    while (*input) {
        size_t size = strcspn(input, "\n");
        self->line++;
        char line[1024];
        snprintf(line, sizeof line, "%.*s", (int) size, input);
        input += size + (input[size] == '\n');
        if (expected && size)
            continue;
        expected = false;
        text_add(&file, line, strlen(line));
        text_add(&file, "\n", 1);
        if (strcmp(line, "----") == 0) {
            text_add(&file, self->out.data ? self->out.data : "", self->out.size);
            self->out.size = 0;
            expected = true;
        } else if (size && line[0] != '#') {
            command_play(self, line);
        }
    }
    return file;
}

static void difference_show(const char *path, const char *expected, const char *actual) {
    unsigned line = 1;
    while (*expected && *expected == *actual) {
        line += *expected == '\n';
        expected++;
        actual++;
    }
    while (line > 1 && expected[-1] != '\n') {
        expected--;
        actual--;
    }
    fprintf(stderr, "%s:%u: expected\n  %.*s\nbut it is\n  %.*s\n", path, line,
            (int) strcspn(expected, "\n"), expected, (int) strcspn(actual, "\n"), actual);
}

static bool scenario_run(const char *path, bool rewrite) {
    static player_t player;
    memset(&player, 0, sizeof player);
    sim_init(&player.sim, 1);
    player.sim.trace = trace;
    player.sim.trace_context = &player;
    player.sim.fail = broken;
    player.file = path;
    char *expected = file_read(path);
    if (!expected)
        broken(&player, "cannot be read");
    text_t actual = file_play(&player, expected);
    bool same = actual.data && strcmp(expected, actual.data) == 0;
    if (!same && rewrite) {
        FILE *file = fopen(path, "w");
        same = file && fwrite(actual.data, 1, actual.size, file) == actual.size;
        same = file && fclose(file) == 0 && same;
    } else if (!same) {
        difference_show(path, expected, actual.data ? actual.data : "");
    }
    sim_clear(&player.sim);
    free(player.out.data);
    free(actual.data);
    free(expected);
    return same;
}

int main(int argc, char **argv) {
    bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    int failed = 0, played = 0;
    for (int i = 1 + rewrite; i < argc; i++, played++)
        failed += !scenario_run(argv[i], rewrite);
    printf("%d scenarios, %d failed\n", played, failed);
    return failed || played == 0;
}
