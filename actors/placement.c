/* placement.c: see placement.h. Every second the threads of the process are looked through and put
 * where they belong: one that LevelDB started from the actor's thread has inherited its place. */
#include "actors/placement.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/error.h"

#define PLACEMENT_LOOK_MS 1000u
/* Once let go, the threads stay so for this long: each change costs them their caches. */
#define PLACEMENT_FREE_MS 10000u
/* More requests than this at once are work for two CPUs; fewer for so long are not. */
#define PLACEMENT_LOAD 8u
#define PLACEMENT_QUIET_MS 1000u
/* As ZeroMQ names its I/O threads. */
#define IO_THREAD "ZMQbg/IO"
#define NS_PER_S 1000000000u

struct placement {
    cpu_set_t allowed;
    cpu_set_t raft, apart; /* raft's CPU, and the gateway's when it is not there */
    bool together;         /* with raft: so raft and storage always are */
    uint64_t busy_ms;      /* when there was much to do last */
    bool free;
    bool overruled; /* by somebody outside: nothing is placed any more */
    uint64_t next_ms, freed_ms;
    uint64_t seen_ms; /* when `seen` was */
    placement_sample_t seen;
};

/* Waiting for a fifth of the time or more, while a whole CPU had nothing to do: there is more work
 * than one CPU takes. It is over when they would leave most of one idle, or when nothing is idle
 * any more, so that running apart only costs wake-ups. */
bool placement_frees(bool free, const placement_sample_t *sample) {
    if (free)
        return sample->ran >= sample->time / 3 && sample->idle >= sample->time / 2;
    return sample->waited >= sample->time / 5 && sample->idle >= sample->time;
}

bool placement_joins(bool together, size_t load, uint64_t quiet_ms) {
    return load <= PLACEMENT_LOAD && (together || quiet_ms >= PLACEMENT_QUIET_MS);
}

/* ---- what the kernel tells ---- */

/* Time that the allowed CPUs were idle since the machine started; proc_stat(5). */
static uint64_t idle_ns(const placement_t *self) {
    FILE *stat = fopen("/proc/stat", "re");
    if (!stat)
        return 0;
    char line[512];
    unsigned long long ticks = 0;
    while (fgets(line, sizeof line, stat)) {
        unsigned cpu;
        unsigned long long idle, iowait;
        if (sscanf(line, "cpu%u %*u %*u %*u %llu %llu", &cpu, &idle, &iowait) == 3 &&
            cpu < CPU_SETSIZE && CPU_ISSET(cpu, &self->allowed))
            ticks += idle + iowait;
    }
    fclose(stat);
    return ticks * (NS_PER_S / (unsigned long long) sysconf(_SC_CLK_TCK));
}

/* False where the kernel does not count it (CONFIG_SCHED_INFO). */
static bool thread_times_add(const char *thread, placement_sample_t *sample) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/schedstat", thread);
    FILE *schedstat = fopen(path, "re");
    if (!schedstat)
        return false;
    unsigned long long ran = 0, waited = 0;
    bool read = fscanf(schedstat, "%llu %llu", &ran, &waited) == 2;
    fclose(schedstat);
    sample->ran += ran;
    sample->waited += waited;
    return read;
}

static bool is_io_thread(const char *thread) {
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", thread);
    FILE *comm = fopen(path, "re");
    if (!comm)
        return false;
    bool read = fgets(name, sizeof name, comm) != NULL;
    fclose(comm);
    return read && strncmp(name, IO_THREAD, sizeof IO_THREAD - 1) == 0;
}

/* ---- the threads ---- */

/* Where those that are placed belong. */
static const cpu_set_t *place(const placement_t *self) {
    if (self->free)
        return &self->allowed;
    return self->together ? &self->raft : &self->apart;
}

/* Puts every thread where it belongs and adds up the times of those that are placed; false when
 * they cannot be told. A thread that ends meanwhile does not matter. */
static bool threads_place(const placement_t *self, placement_sample_t *sample) {
    DIR *directory = opendir("/proc/self/task");
    if (!directory)
        return false;
    bool told = true;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        pid_t thread = (pid_t) strtol(entry->d_name, NULL, 10);
        if (thread <= 0)
            continue;
        bool placed = thread == getpid() || is_io_thread(entry->d_name);
        if (placed)
            told = thread_times_add(entry->d_name, sample) && told;
        const cpu_set_t *wanted = placed ? place(self) : &self->allowed;
        cpu_set_t present;
        if (sched_getaffinity(thread, sizeof present, &present) == 0 &&
            !CPU_EQUAL(&present, wanted))
            (void) sched_setaffinity(thread, sizeof *wanted, wanted);
    }
    closedir(directory);
    return told;
}

static bool overruled(const placement_t *self) {
    cpu_set_t present;
    return sched_getaffinity(0, sizeof present, &present) != 0 || !CPU_EQUAL(&present, place(self));
}

static void move(placement_t *self, size_t load, uint64_t now_ms) {
    placement_sample_t sample = {0};
    if (load > PLACEMENT_LOAD || self->busy_ms == 0)
        self->busy_ms = now_ms;
    bool together = placement_joins(self->together, load, now_ms - self->busy_ms);
    if (together == self->together || self->overruled)
        return;
    self->overruled = overruled(self);
    self->together = together;
    if (!self->overruled && !self->free)
        (void) threads_place(self, &sample);
}

void placement_turn(placement_t *self, size_t load, uint64_t now_ms) {
    move(self, load, now_ms);
    if (self->overruled || now_ms < self->next_ms)
        return;
    self->next_ms = now_ms + PLACEMENT_LOOK_MS;
    self->overruled = overruled(self);
    if (self->overruled)
        return;
    placement_sample_t total = {.idle = idle_ns(self)};
    if (!threads_place(self, &total))
        return;
    placement_sample_t since = {.time = (now_ms - self->seen_ms) * (NS_PER_S / 1000u),
                                .ran = total.ran - self->seen.ran,
                                .waited = total.waited - self->seen.waited,
                                .idle = total.idle - self->seen.idle};
    bool first = self->seen_ms == 0;
    self->seen = total;
    self->seen_ms = now_ms;
    if (first || (self->free && now_ms < self->freed_ms + PLACEMENT_FREE_MS))
        return;
    bool free = placement_frees(self->free, &since);
    if (free == self->free)
        return;
    self->free = free;
    self->freed_ms = now_ms;
    (void) threads_place(self, &total);
}

/* ---- life ---- */

/* The `at`-th of the CPUs in `set`, counted round. */
static size_t cpu_find(const cpu_set_t *set, uint64_t at) {
    at %= (uint64_t) CPU_COUNT(set);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, set) || at-- > 0)
        cpu++;
    return cpu;
}

/* Nodes of one machine mostly have homes that count up: a sum puts those on one CPU after the
 * other, where a hash would put three of three on the same one time in four. */
static uint64_t home_number(const char *home) {
    uint64_t sum = 0;
    for (; *home; home++)
        sum += (unsigned char) *home;
    return sum;
}

int placement_new(placement_t **out, actor_t actor, const char *home) {
    *out = NULL;
    placement_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ENOMEM;
    placement_sample_t sample = {0};
    self->free = true; /* until it is known that there is a choice, and that the kernel tells */
    if (sched_getaffinity(0, sizeof self->allowed, &self->allowed) != 0 ||
        CPU_COUNT(&self->allowed) < 2 || !threads_place(self, &sample)) {
        placement_destroy(&self);
        return 0;
    }
    self->free = false;
    uint64_t number = home_number(home);
    CPU_SET(cpu_find(&self->allowed, number), &self->apart);
    CPU_SET(cpu_find(&self->allowed, number + 1), &self->raft);
    self->together = actor != ACTOR_GATEWAY;
    (void) threads_place(self, &sample);
    *out = self;
    return 0;
}

void placement_destroy(placement_t **self) {
    free(*self);
    *self = NULL;
}
