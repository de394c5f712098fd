/* bench.h: load on a cluster, and what came of it: what the files of drax-cli bench share.
 *
 *   cmd_bench.c     flags to a plan; one run after the other
 *   bench_load.c    when operations begin and end, on which connection; owns all clients
 *   bench_work.c    what one operation of each workload is
 *   bench_watch.c   those who watch
 *   bench_report.c  figures as text and JSON, and the line that is shown meanwhile
 *
 * One thread does it all, on the asynchronous calls of drax.h. Memory is bounded by the plan: it
 * does not grow with the number of operations.
 */
#ifndef DRAX_CLI_BENCH_H
#define DRAX_CLI_BENCH_H

#include "cli/cli.h"
#include "cli/histogram.h"

/* A connection keeps so many operations in flight at most: libdrax refuses writes that are further
 * ahead of the oldest. */
#define BENCH_LANE_OPERATIONS 512u
#define BENCH_CONNECTIONS 64u /* each has a few descriptors */
#define BENCH_KEYS 100000000u
#define BENCH_KEY_BYTES_MIN 16u
#define BENCH_KEY_BYTES 4096u
#define BENCH_VALUE_BYTES_MIN 8u /* a watched value tells when its write was to begin */
#define BENCH_VALUE_BYTES (16u << 20)
#define BENCH_RATE 10000000u
#define BENCH_DURATION_MS (7u * 24 * 3600 * 1000)
#define BENCH_COUNT ((1ull << 53) - 1)
#define BENCH_WATCHERS 10000u
#define BENCH_LOCK_TTL_MS 10000u
#define BENCH_ERRORS 128 /* every DRAX_ERR_… is above -128 */
#define BENCH_PARTS 2
#define BENCH_DIRECTORY "bench/" /* that all keys lie in */

typedef enum { BENCH_PUT, BENCH_GET, BENCH_MIXED, BENCH_WATCH, BENCH_LOCK } bench_work_t;

typedef struct bench_plan {
    bench_work_t work;
    uint64_t clients; /* each has `pipeline` operations in flight */
    uint64_t pipeline;
    uint64_t connections;
    uint64_t keys;
    uint64_t key_size, value_size;
    uint64_t rate;        /* operations a second begin; 0: each when one before it ends */
    uint64_t duration_ms; /* 0: until `count` have begun */
    uint64_t count;       /* 0: no bound */
    uint64_t reads;       /* BENCH_MIXED: of 100 operations */
    uint64_t watchers;
    bool stale;
    bool sequential; /* key after key, instead of any */
} bench_plan_t;

/* Times are in nanoseconds. `parts`: MIXED reads and writes; LOCK locking and unlocking; WATCH
 * deliveries, each counted from the intended start of its write. */
typedef struct bench_result {
    histogram_t operations; /* that succeeded, from the intended start to the end */
    histogram_t parts[BENCH_PARTS];
    uint64_t errors[BENCH_ERRORS]; /* at -code */
    int error;                     /* the first; 0: none */
    uint64_t elapsed_ns;           /* to the end of the last operation */
    uint64_t behind;               /* operations that the rate asked for and that did not begin */
    uint64_t missing;              /* deliveries that did not come in time */
    bool interrupted;
} bench_result_t;

/* ---- bench_load.c ---- */

/* Puts the plan's load on the cluster. `out` is zeroed by the caller. EXIT_OK: the load ran to its
 * end, whatever its operations came to; else an exit code, after saying why. */
int bench_run(const cli_t *cli, const bench_plan_t *plan, bench_result_t *out);

/* ---- bench_report.c ---- */

const char *bench_work_name(bench_work_t work);

/* The exit code for a lack of memory, else EXIT_OK. Write errors stay in stdout. */
int bench_report(const cli_t *cli, const bench_plan_t *plan, const bench_result_t *result);

/* A line on standard error, when that is a terminal. */
typedef struct bench_live {
    bool terminal;
    uint64_t start_ns, shown_ns;
    uint64_t errors;
    histogram_t since; /* what ended since the line was drawn */
} bench_live_t;

void bench_live_begin(bench_live_t *self, uint64_t now_ns);
void bench_live_add(bench_live_t *self, int error, uint64_t took_ns);
/* When the line is to be drawn next; UINT64_MAX: never. */
uint64_t bench_live_next_ns(const bench_live_t *self);
void bench_live_show(bench_live_t *self, uint64_t now_ns);
void bench_live_end(bench_live_t *self);

/* ---- between bench_load.c, bench_work.c and bench_watch.c ---- */

typedef struct bench bench_t;

/* A place for one operation in flight, on one connection. */
typedef struct slot {
    bench_t *bench;
    size_t lane;
    uint64_t start_ns; /* when it was to begin */
    uint64_t part_ns;  /* when its second part began */
    uint64_t key;
    uint64_t token; /* of the lock that it holds */
    bool read;
} slot_t;

typedef struct lane {
    drax_t *drax;   /* owned */
    bool submitted; /* something that has not been sent yet */
} lane_t;

typedef struct watcher {
    bench_t *bench;
    drax_watch_t *watch; /* owned; ended before its lane's client */
    bool synced;
} watcher_t;

struct bench {
    bench_plan_t plan;
    bench_result_t *result; /* borrowed */
    void *context;          /* owned: one, so that all lanes share a thread of ZeroMQ */
    lane_t *lanes;
    slot_t *slots;
    slot_t **idle; /* a ring of `slot_count` places */
    size_t slot_count, idle_first, idle_count;
    uint64_t begun;
    uint64_t begin_ns, last_ns;
    uint64_t random;
    uint8_t *key;  /* key_size bytes */
    uint8_t *pool; /* random bytes; a value is a part of them */
    drax_options_t *options;
    watcher_t *watchers;
    size_t unsynced; /* watchers that do not know the first state yet */
    uint64_t expected, delivered;
    uint64_t delivered_ns; /* the last */
    bool broken;           /* a watch has ended: no more will be delivered */
    bool closing;          /* what ends now is not counted */
    bench_live_t live;
};

uint64_t bench_now_ns(void);

/* The operation of `slot` has ended. */
void bench_ended(slot_t *slot, int error);
/* Counts an error. */
void bench_failed(bench_t *self, int error);

/* What all operations use; 0 or DRAX_ERR_NO_MEMORY. bench_work_close allows what is not there. */
int bench_work_open(bench_t *self);
void bench_work_close(bench_t *self);

/* Begins an operation; bench_ended is called when it ends. Not 0: it has not begun. */
int bench_work_begin(slot_t *slot);

/* The key with this number, of the plan's size, in a buffer of `self`. */
const void *bench_key(bench_t *self, uint64_t number);

/* Makes the watchers; `unsynced` is 0 when all know the first state. 0 or DRAX_ERR_… */
int bench_watch_open(bench_t *self);
void bench_watch_close(bench_t *self);

#endif
