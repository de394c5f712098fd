/* test_raft_random.c: many seeds of chaos, then peace, with every safety check of sim.h on.
 *
 *   test_raft_random [SEEDS [FIRST [STEPS]]]      -v as the last argument traces
 *
 * Each seed makes a cluster of one to five and plays random events: messages lost, repeated,
 * reordered; crashes that keep a random part of the unfinished writes; one-way cuts; held writes;
 * compaction; reads, proposals, membership changes and transfers. Then the faults end, and within
 * ten seconds there must be a leader under which every member applies a new entry and answers a
 * read. A failure prints its seed, which replays it exactly.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/raft/sim.h"

#define SEEDS_DEFAULT 250u
#define STEPS_DEFAULT 1500u

typedef struct chaos {
    sim_t sim;
    uint64_t random;
    uint64_t next_id; /* a member never comes back under an old id */
    uint64_t proposed;
    bool lossy;
    unsigned weights[16]; /* of the events, see temper_choose */
    uint64_t weight_sum;
} chaos_t;

static uint64_t roll(chaos_t *self, uint64_t below) {
    uint64_t x = self->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % below;
}

static void trace_print(void *context, const char *line) {
    chaos_t *self = context;
    printf("%llu %s\n", (unsigned long long) self->sim.now_ms, line);
}

static void fail_print(void *context, const char *line) {
    chaos_t *self = context;
    fflush(stdout);
    fprintf(stderr, "seed %llu: %s\n", (unsigned long long) self->sim.seed, line);
    exit(1);
}

static sim_node_t *any_node(chaos_t *self) {
    for (unsigned tries = 0; tries < 8; tries++) {
        sim_node_t *node = sim_node(&self->sim, 1 + roll(self, SIM_NODES));
        if (node)
            return node;
    }
    return sim_leader(&self->sim);
}

/* ---- events ---- */

static void play_network(chaos_t *self) {
    sim_t *sim = &self->sim;
    for (uint64_t n = 1 + roll(self, 12); n > 0 && sim->net_count; n--) {
        size_t at = roll(self, 10) < 7 ? 0 : (size_t) roll(self, sim->net_count);
        uint64_t fate = self->lossy ? roll(self, 100) : 99;
        if (fate < 10)
            sim_lose(sim, at);
        else if (fate < 15)
            sim_duplicate(sim, at);
        else
            sim_deliver(sim, at);
    }
}

static void play_time(chaos_t *self) {
    sim_t *sim = &self->sim;
    sim->now_ms += 5 + roll(self, 30);
    if (roll(self, 60) == 0)
        sim->now_ms += roll(self, 1500);
    for (uint64_t id = 1; id <= SIM_NODES; id++)
        if (sim_node(sim, id) && roll(self, 10) < 9)
            sim_tick(sim, &sim->nodes[id]);
}

static void play_disk(chaos_t *self) {
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        sim_node_t *node = sim_node(&self->sim, id);
        if (!node)
            continue;
        if (node->write_count && !node->hold && roll(self, 3))
            sim_written(&self->sim, node, 1 + (size_t) roll(self, node->write_count));
        if (node->fetch_count && roll(self, 2))
            sim_fetched(&self->sim, node);
        if (node->pull_from && roll(self, 4) == 0)
            sim_snapshot_pull(&self->sim, node);
        if (roll(self, 200) == 0)
            node->hold = !node->hold;
        if (roll(self, 20) == 0)
            node->flushed = node->applied;
    }
}

static void play_client(chaos_t *self) {
    sim_node_t *node = any_node(self);
    if (!node)
        return;
    if (roll(self, 3) == 0) {
        (void) sim_read(&self->sim, node);
        return;
    }
    char text[200];
    memset(text, 'x', sizeof text);
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long) ++self->proposed);
    text[n] = ' ';
    text[(size_t) n + roll(self, 150)] = 0;
    (void) sim_propose(&self->sim, node, text);
}

static void play_crash(chaos_t *self) {
    sim_t *sim = &self->sim;
    uint64_t id = 1 + roll(self, SIM_NODES);
    sim_node_t *node = &sim->nodes[id];
    if (!node->formatted)
        return;
    if (!node->core) {
        sim_restart(sim, id);
    } else if (roll(self, 2)) {
        sim_crash(sim, id, (size_t) roll(self, node->write_count + 1));
        if (roll(self, 2))
            sim_restart(sim, id);
    }
}

static void play_links(chaos_t *self) {
    sim_t *sim = &self->sim;
    uint64_t a = 1 + roll(self, SIM_NODES), b = 1 + roll(self, SIM_NODES);
    switch (roll(self, 5)) {
    case 0:
        sim->cut[a][b] = true;
        break;
    case 1:
        for (uint64_t i = 1; i <= SIM_NODES; i++)
            sim->cut[a][i] = sim->cut[i][a] = true;
        break;
    case 2:
        memset(sim->cut, 0, sizeof sim->cut);
        break;
    default:
        if (!sim_node(sim, a))
            return;
        (roll(self, 2) ? raft_peer_down : raft_peer_up)(sim->nodes[a].core, b);
        sim_process(sim, &sim->nodes[a]);
        break;
    }
}

static void play_members(chaos_t *self) {
    sim_t *sim = &self->sim;
    sim_node_t *leader = sim_leader(sim);
    if (!leader)
        return;
    uint64_t index, id = 1 + roll(self, SIM_NODES);
    size_t members = raft_config(leader->core)->count;
    char addr[32], raft_addr[32];
    switch (roll(self, 4)) {
    case 0:
        if (self->next_id > SIM_NODES || members > 6)
            return;
        id = self->next_id;
        snprintf(addr, sizeof addr, "n%llu:1", (unsigned long long) id);
        snprintf(raft_addr, sizeof raft_addr, "n%llu:2", (unsigned long long) id);
        if (raft_member_add(leader->core, id, addr, raft_addr, &index) == 0) {
            self->next_id++;
            sim_join(sim, id);
        }
        break;
    case 1:
        (void) raft_member_promote(leader->core, id, &index);
        break;
    case 2:
        if (members > 2)
            (void) raft_member_remove(leader->core, id, &index);
        break;
    default:
        (void) raft_transfer(leader->core, roll(self, 2) ? id : 0);
        break;
    }
    sim_process(sim, leader);
}

static void play_compaction(chaos_t *self) {
    sim_node_t *node = any_node(self);
    if (node && node->applied > 0)
        sim_compact(&self->sim, node, node->applied - roll(self, node->applied < 20 ? 1 : 20));
}

/* A clock that jumps: followers stand although their leader lives, or a leader goes on in the past.
 */
static void play_clock(chaos_t *self) {
    sim_t *sim = &self->sim;
    sim_node_t *leader = sim_leader(sim);
    bool others = roll(self, 2);
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        sim_node_t *node = sim_node(sim, id);
        if (!node || (others && node == leader) || (!others && roll(self, 3)))
            continue;
        node->skew_ms += 800 + roll(self, 1000);
        sim_tick(sim, node);
    }
}

/* The leader is cut off, and asked to read and write all the same. */
static void play_isolation(chaos_t *self) {
    sim_t *sim = &self->sim;
    sim_node_t *leader = sim_leader(sim);
    if (!leader)
        return;
    for (uint64_t i = 1; i <= SIM_NODES; i++)
        if (i != leader->id && roll(self, 8))
            sim->cut[leader->id][i] = sim->cut[i][leader->id] = true;
    (void) sim_propose(sim, leader, "cut off");
    (void) sim_read(sim, leader);
}

static void play_heal(chaos_t *self) {
    memset(self->sim.cut, 0, sizeof self->sim.cut);
}

typedef struct event {
    void (*play)(chaos_t *self);
    unsigned weight;
} event_t;

static const event_t events[] = {
    {play_network, 450}, {play_time, 200},    {play_disk, 180},   {play_client, 120},
    {play_crash, 12},    {play_links, 12},    {play_members, 15}, {play_compaction, 10},
    {play_clock, 5},     {play_isolation, 5}, {play_heal, 8},
};
#define EVENTS (sizeof events / sizeof *events)

/* Each seed has a temper: what is rare in one is frequent in another. */
static void temper_choose(chaos_t *self) {
    static const unsigned factors[] = {0, 1, 1, 2, 5};
    self->weight_sum = 0;
    for (size_t i = 0; i < EVENTS; i++) {
        unsigned factor = i < 4 ? 1 + (unsigned) roll(self, 2) : factors[roll(self, 5)];
        self->weights[i] = events[i].weight * factor;
        self->weight_sum += self->weights[i];
    }
}

static void play(chaos_t *self) {
    uint64_t what = roll(self, self->weight_sum);
    size_t i = 0;
    while (what >= self->weights[i])
        what -= self->weights[i++];
    events[i].play(self);
}

/* ---- peace ---- */

static void peace_begin(chaos_t *self) {
    sim_t *sim = &self->sim;
    memset(sim->cut, 0, sizeof sim->cut);
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        sim->nodes[id].hold = false;
        if (sim->nodes[id].formatted && !sim->nodes[id].core)
            sim_restart(sim, id);
    }
}

/* True when the members are of one mind, have applied everything, and answer reads. */
static bool peace_reached(chaos_t *self, uint64_t target) {
    sim_t *sim = &self->sim;
    sim_node_t *leader = sim_leader(sim);
    if (!leader)
        return false;
    const config_t *config = raft_config(leader->core);
    for (size_t i = 0; i < config->count; i++) {
        sim_node_t *node = sim_node(sim, config->members[i].id);
        if (!node || node->applied < target || node->applied < node->read_index ||
            raft_leader(node->core) != leader->id || config->members[i].role != MEMBER_VOTER ||
            node->read_done + 1 < node->read_next)
            return false;
    }
    return true;
}

static void peace_await(chaos_t *self, uint64_t target) {
    sim_t *sim = &self->sim;
    for (uint64_t id = 1; id <= SIM_NODES; id++)
        if (sim_node(sim, id))
            (void) sim_read(sim, &sim->nodes[id]);
    uint64_t end_ms = sim->now_ms + 20000;
    while (!peace_reached(self, target)) {
        if (sim->now_ms > end_ms)
            fail_print(self, "no peace after the faults ended");
        sim_run(sim, 20, 20);
        for (uint64_t id = 1; id <= SIM_NODES; id++)
            if (sim_node(sim, id) && sim->nodes[id].read_done + 1 < sim->nodes[id].read_next)
                (void) sim_read(sim, &sim->nodes[id]);
    }
}

static void seed_run(uint64_t seed, uint64_t steps, bool verbose) {
    static chaos_t chaos;
    chaos_t *self = &chaos;
    memset(self, 0, sizeof *self);
    sim_t *sim = &self->sim;
    sim_init(sim, seed);
    self->random = seed * 7919;
    sim->trace = verbose ? trace_print : NULL;
    sim->trace_context = self;
    sim->fail = fail_print;
    sim->cache_bytes = roll(self, 2) ? 2000 : 0;
    sim->thrifty = sim->seed % 2;
    self->lossy = roll(self, 4) > 0;
    temper_choose(self);
    unsigned count = 1 + (unsigned) roll(self, 5);
    self->next_id = count + 1;
    sim_cluster(sim, count);
    for (uint64_t i = 0; i < steps; i++)
        play(self);
    peace_begin(self);
    /* First the idle cluster must come to terms with what it has; then it takes something new. */
    peace_await(self, 0);
    (void) sim_propose(sim, sim_leader(sim), "peace");
    peace_await(self, raft_last_index(sim_leader(sim)->core));
    sim_clear(sim);
}

/* An assertion of the core has failed: the seed is still wanted. */
static uint64_t seed_now;

static void on_abort(int signal_number) {
    (void) signal_number;
    char text[64];
    int n = snprintf(text, sizeof text, "seed %llu\n", (unsigned long long) seed_now);
    if (n > 0 && write(STDERR_FILENO, text, (size_t) n) < 0)
        _exit(2);
}

int main(int argc, char **argv) {
    bool verbose = argc > 1 && strcmp(argv[argc - 1], "-v") == 0;
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : SEEDS_DEFAULT;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t steps = argc > 3 && argv[3][0] != '-' ? strtoull(argv[3], NULL, 10) : STEPS_DEFAULT;
    signal(SIGABRT, on_abort);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        seed_now = seed;
        seed_run(seed, steps, verbose);
    }
    printf("%llu seeds of %llu steps\n", (unsigned long long) seeds, (unsigned long long) steps);
    return 0;
}
