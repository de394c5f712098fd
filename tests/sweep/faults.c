/* faults.c: a shim for LD_PRELOAD that makes the n-th call of one kind fail.
 *
 *   DRAX_FAULT = CALL:NTH:ERROR[:TIMES]   malloc, write, sync, open, rename; a number; ENOMEM, EIO,
 *                                         ENOSPC, EMFILE; 1, or 0 for all from then on
 *   DRAX_FAULT_BELOW = PATH               files elsewhere (sockets, eventfds, /proc) are left alone
 *   DRAX_FAULT_OBJECT = TEXT              allocations count when their caller lies in the object
 *                                         whose path ends so; default: the program itself
 *
 * Only own code is refused memory: libzmq and LevelDB are C++ that ends the process on a failed
 * allocation, which says nothing about Drax. Files are counted for all, LevelDB included.
 *
 * Owns: the count. Async-signal-safe it is not, and need not be. libfiu (Debian) does much of this,
 * but can neither fail the n-th call nor tell callers or paths apart.
 */
#include "tests/sweep/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct {
    fault_call_t call;
    unsigned long nth, times; /* nth 0: nothing fails */
    int error;
    const char *below;  /* NULL: any file */
    const char *object; /* NULL: the program */
    uintptr_t low, high;
    atomic_ulong counted;
    atomic_bool held;
} plan;

/* The next definition of a call: libc's, or the sanitizer's on the way there. */
#define REAL(name) ((__typeof__(&name)) real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/* ---- deciding ---- */

static bool due(fault_call_t call) {
    if (call != plan.call || atomic_load(&plan.held))
        return false;
    unsigned long at = atomic_fetch_add(&plan.counted, 1) + 1;
    if (!plan.nth || at < plan.nth || (plan.times && at >= plan.nth + plan.times))
        return false;
    errno = plan.error;
    return true;
}

static bool path_meant(const char *path) {
    return !plan.below || strncmp(path, plan.below, strlen(plan.below)) == 0;
}

/* A path as it was given, made absolute. */
static bool name_meant(const char *path) {
    char cwd[4096], whole[8192];
    if (!plan.below || path[0] == '/')
        return path_meant(path);
    if (!getcwd(cwd, sizeof cwd))
        return false;
    (void) snprintf(whole, sizeof whole, "%s/%s", cwd, path);
    return path_meant(whole);
}

static bool fd_meant(int fd) {
    char link[64], path[4096];
    if (!plan.below)
        return true;
    (void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    return path_meant(path);
}

static bool caller_meant(const void *caller) {
    return (uintptr_t) caller >= plan.low && (uintptr_t) caller < plan.high;
}

/* ---- configuration ---- */

static int object_visit(struct dl_phdr_info *info, size_t size, void *hint) {
    (void) size;
    (void) hint;
    size_t length = strlen(info->dlpi_name), wanted = plan.object ? strlen(plan.object) : 0;
    bool match = plan.object ? length >= wanted &&
                                   strcmp(info->dlpi_name + length - wanted, plan.object) == 0
                             : length == 0;
    if (!match)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_X))
            continue;
        plan.low = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        plan.high = plan.low + info->dlpi_phdr[i].p_memsz;
    }
    return 1;
}

static int error_of(const char *name) {
    static const struct {
        const char *name;
        int error;
    } errors[] = {{"ENOMEM", ENOMEM}, {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EMFILE", EMFILE}};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(name, errors[i].name) == 0)
            return errors[i].error;
    return 0;
}

EXPORT void faults_arm(fault_call_t call, unsigned long nth, unsigned long times, int error);
EXPORT void faults_hold(bool held);
EXPORT unsigned long faults_counted(void);

void faults_arm(fault_call_t call, unsigned long nth, unsigned long times, int error) {
    plan.nth = 0;
    plan.call = call;
    plan.times = times;
    plan.error = error;
    plan.below = getenv("DRAX_FAULT_BELOW");
    atomic_store(&plan.counted, 0);
    plan.nth = nth;
}

void faults_hold(bool held) {
    atomic_store(&plan.held, held);
}

unsigned long faults_counted(void) {
    return atomic_load(&plan.counted);
}

__attribute__((constructor)) static void configure(void) {
    static const char *const calls[] = {"malloc", "write", "sync", "open", "rename"};
    const char *fault = getenv("DRAX_FAULT");
    char call[16] = "", error[16] = "";
    unsigned long nth = 0, times = 1;
    plan.call = FAULT_CALLS;
    plan.object = getenv("DRAX_FAULT_OBJECT");
    (void) dl_iterate_phdr(object_visit, NULL);
    if (!fault)
        return;
    if (sscanf(fault, "%15[^:]:%lu:%15[^:]:%lu", call, &nth, error, &times) < 3 || !error_of(error))
        abort();
    for (int i = 0; i < FAULT_CALLS; i++)
        if (strcmp(call, calls[i]) == 0)
            faults_arm((fault_call_t) i, nth, times, error_of(error));
}

/* ---- memory ---- */

/* Before the real ones are known, dlsym itself may want some. */
static char early[4096] __attribute__((aligned(16)));
static size_t early_used;

static void *early_take(size_t size) {
    size = (size + 15) & ~(size_t) 15;
    if (size > sizeof early - early_used)
        return NULL;
    early_used += size;
    return early + early_used - size;
}

static bool early_is(const void *memory) {
    return (const char *) memory >= early && (const char *) memory < early + sizeof early;
}

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    char *(*strdup)(const char *);
} memory;

static bool memory_ready(void) {
    static bool looking;
    if (memory.strdup)
        return true;
    if (looking)
        return false;
    looking = true;
    memory.malloc = REAL(malloc);
    memory.calloc = REAL(calloc);
    memory.realloc = REAL(realloc);
    memory.free = REAL(free);
    memory.strdup = REAL(strdup);
    return true;
}

EXPORT void *malloc(size_t size) {
    if (!memory_ready())
        return early_take(size);
    return caller_meant(__builtin_return_address(0)) && due(FAULT_MALLOC) ? NULL
                                                                          : memory.malloc(size);
}

EXPORT void *calloc(size_t count, size_t size) {
    if (!memory_ready())
        return early_take(count * size);
    if (caller_meant(__builtin_return_address(0)) && due(FAULT_MALLOC))
        return NULL;
    return memory.calloc(count, size);
}

EXPORT void *realloc(void *old, size_t size) {
    if (!memory_ready() || early_is(old))
        abort(); /* dlsym does not do that */
    if (caller_meant(__builtin_return_address(0)) && due(FAULT_MALLOC))
        return NULL;
    return memory.realloc(old, size);
}

EXPORT void free(void *old) {
    if (!early_is(old) && memory_ready())
        memory.free(old);
}

EXPORT char *strdup(const char *text) {
    if (!memory_ready())
        abort();
    if (caller_meant(__builtin_return_address(0)) && due(FAULT_MALLOC))
        return NULL;
    return memory.strdup(text);
}

/* ---- files ---- */

EXPORT ssize_t write(int fd, const void *data, size_t size) {
    if (plan.call == FAULT_WRITE && fd_meant(fd) && due(FAULT_WRITE))
        return -1;
    return REAL(write)(fd, data, size);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (plan.call == FAULT_WRITE && fd_meant(fd) && due(FAULT_WRITE))
        return -1;
    return REAL(pwrite)(fd, data, size, offset);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    if (plan.call == FAULT_WRITE && fd_meant(fd) && due(FAULT_WRITE))
        return -1;
    return REAL(pwritev)(fd, parts, count, offset);
}

EXPORT int fsync(int fd) {
    return plan.call == FAULT_SYNC && fd_meant(fd) && due(FAULT_SYNC) ? -1 : REAL(fsync)(fd);
}

EXPORT int fdatasync(int fd) {
    return plan.call == FAULT_SYNC && fd_meant(fd) && due(FAULT_SYNC) ? -1 : REAL(fdatasync)(fd);
}

static mode_t mode_take(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    EXPORT int name(const char *path, int flags, ...) {                                            \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_take(flags, arguments);                                                 \
        va_end(arguments);                                                                         \
        if (plan.call == FAULT_OPEN && name_meant(path) && due(FAULT_OPEN))                        \
            return -1;                                                                             \
        return REAL(name)(path, flags, mode);                                                      \
    }
OPEN(open)
OPEN(open64)

EXPORT int openat(int directory, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_take(flags, arguments);
    va_end(arguments);
    if (plan.call == FAULT_OPEN && name_meant(path) && due(FAULT_OPEN))
        return -1;
    return REAL(openat)(directory, path, flags, mode);
}

EXPORT int mkdir(const char *path, mode_t mode) {
    return plan.call == FAULT_OPEN && name_meant(path) && due(FAULT_OPEN) ? -1
                                                                          : REAL(mkdir)(path, mode);
}

EXPORT int rename(const char *from, const char *to) {
    return plan.call == FAULT_RENAME && name_meant(to) && due(FAULT_RENAME)
               ? -1
               : REAL(rename)(from, to);
}
