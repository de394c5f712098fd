/* sweep_storage.c: the storage actor on a real file system and a real LevelDB, with the n-th call
 * of every kind failing.
 *
 *   sweep_storage [RUNS]     for each part and fault that many runs, spread over all the calls
 * there are (default 40); 0: every call. Needs the shim: LD_PRELOAD
 *
 * Each run is two processes. The first plays raft and gateway to the actor and lets one call fail
 * within one part of its life; it may go on, or end with an error that it has logged, and must not
 * answer wrongly or crash. The second opens what the first left, without faults: all that had been
 * acknowledged must be there, every entry as it was written, and the state's digest that of the
 * same entries applied elsewhere.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/error.h"
#include "tests/sweep/faults.h"
#include "tests/sweep/sweep_node.h"

#define RUNS_DEFAULT 40ul
#define RUN_SECONDS 60u /* far more than any takes: one that hangs is ended by SIGALRM */
#define EXIT_ENDED 70   /* the actor said that it cannot go on */

static const struct {
    const char *name;
    fault_call_t call;
    int error;
    unsigned long times;
} faults[] = {
    {"malloc", FAULT_MALLOC, ENOMEM, 1},       {"malloc on", FAULT_MALLOC, ENOMEM, 0},
    {"write EIO", FAULT_WRITE, EIO, 1},        {"write ENOSPC on", FAULT_WRITE, ENOSPC, 0},
    {"sync EIO", FAULT_SYNC, EIO, 1},          {"open EMFILE", FAULT_OPEN, EMFILE, 1},
    {"open ENOSPC on", FAULT_OPEN, ENOSPC, 0}, {"rename EIO", FAULT_RENAME, EIO, 1},
};
#define FAULTS (sizeof faults / sizeof faults[0])

typedef struct sweep {
    faults_arm_fn *arm;
    faults_hold_fn *hold;
    faults_counted_fn *counted;
    sweep_shared_t *shared;
    char home[64];
    char log[80];
} sweep_t;

/* ---- one life ---- */

static void log_open(const sweep_t *self) {
    int log = open(self->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(1);
    alarm(RUN_SECONDS);
}

/* In a child: `part` under a fault (nth 0: none, but counted), then an orderly end. */
static void life(sweep_t *self, const sweep_part_t *part, size_t fault, unsigned long nth) {
    log_open(self);
    sweep_node_t node;
    sweep_node_begin(&node, self->home, self->shared, self->hold);
    int rc = part->before ? part->before(&node) : 0;
    if (rc)
        _exit(1); /* no fault yet */
    self->arm(faults[fault].call, nth, faults[fault].times, faults[fault].error);
    rc = part->run(&node);
    self->shared->counted = self->counted();
    self->arm(FAULT_CALLS, 0, 0, 0);
    if (rc == 0)
        sweep_node_end(&node);
    _exit(rc ? EXIT_ENDED : 0);
}

static void verify(sweep_t *self) {
    log_open(self);
    sweep_node_t node;
    sweep_node_begin(&node, self->home, self->shared, self->hold);
    sweep_node_verify(&node);
    sweep_node_end(&node);
    _exit(0);
}

static int child_wait(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- judging ---- */

static bool log_says_error(const sweep_t *self) {
    char text[8192];
    FILE *log = fopen(self->log, "r");
    size_t size = log ? fread(text, 1, sizeof text - 1, log) : 0;
    if (log)
        (void) fclose(log);
    text[size] = '\0';
    return strstr(text, " error ") != NULL;
}

static void log_show(const sweep_t *self) {
    char line[1024];
    FILE *log = fopen(self->log, "r");
    while (log && fgets(line, sizeof line, log))
        (void) fputs(line, stderr);
    if (log)
        (void) fclose(log);
}

static bool run(sweep_t *self, const sweep_part_t *part, size_t fault, unsigned long nth) {
    memset(&self->shared->said, 0, sizeof self->shared->said);
    (void) unlink(self->log);
    pid_t pid = fork();
    if (pid == 0)
        life(self, part, fault, nth);
    int first = child_wait(pid), second = 0;
    const char *what = NULL;
    if (first != 0 && first != EXIT_ENDED)
        what = "the process crashed, hung or answered wrongly";
    else if (first == EXIT_ENDED && !log_says_error(self))
        what = "it ended without a line that names the error";
    else if (first == EXIT_ENDED && nth == 0)
        what = "it ended without a fault";
    if (!what) {
        pid = fork();
        if (pid == 0)
            verify(self);
        second = child_wait(pid);
        what = second ? "what was acknowledged is not all there" : NULL;
    }
    const fs_t *fs = fs_posix();
    (void) fs->remove_tree(fs->self, self->home);
    if (!what)
        return true;
    fprintf(stderr, "%s, %s, call %lu: %s (%d, %d)\n", part->name, faults[fault].name, nth, what,
            first, second);
    log_show(self);
    return false;
}

/* All runs of one part and fault; how many, or -1 after the first that failed. */
static long column(sweep_t *self, const sweep_part_t *part, size_t fault, unsigned long runs) {
    if (!run(self, part, fault, 0))
        return -1;
    unsigned long calls = self->shared->counted, done = 0;
    unsigned long step = runs && calls > runs ? (calls + runs - 1) / runs : 1;
    /* Begins elsewhere with each fault, so that no residue is always left out. */
    for (unsigned long nth = 1 + fault % step; nth <= calls; nth += step, done++)
        if (!run(self, part, fault, nth))
            return -1;
    printf("%-16s %-16s %5lu calls, %4lu of them failed\n", part->name, faults[fault].name, calls,
           done);
    (void) fflush(stdout);
    return (long) done;
}

int main(int argc, char **argv) {
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 10) : RUNS_DEFAULT;
    sweep_t self = {.arm = (faults_arm_fn *) dlsym(RTLD_DEFAULT, "faults_arm"),
                    .hold = (faults_hold_fn *) dlsym(RTLD_DEFAULT, "faults_hold"),
                    .counted = (faults_counted_fn *) dlsym(RTLD_DEFAULT, "faults_counted")};
    if (!self.arm || !self.hold || !self.counted) {
        fprintf(stderr, "sweep_storage: the shim is not there: LD_PRELOAD\n");
        return 64;
    }
    self.shared =
        mmap(NULL, sizeof *self.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.shared == MAP_FAILED || !sweep_expect(self.shared))
        return 1;
    /* Memory, where there is some: syncing is a call that fails here, not a disk that is slow. */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void) snprintf(self.home, sizeof self.home, "%s/drax-sweep-%d", base, (int) getpid());
    (void) snprintf(self.log, sizeof self.log, "%s/drax-log-%d", base, (int) getpid());
    setenv("DRAX_FAULT_BELOW", self.home, 1);
    long total = 0, done = 0;
    for (const sweep_part_t *part = sweep_parts; part->name && done >= 0; part++)
        for (size_t fault = 0; fault < FAULTS && done >= 0; fault++) {
            done = column(&self, part, fault, runs);
            total += done;
        }
    (void) unlink(self.log);
    if (done >= 0)
        printf("%ld faults, no violation\n", total);
    return done >= 0 ? 0 : 1;
}
