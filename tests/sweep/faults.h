/* faults.h: which call fails, for programs that run under the shim (faults.c) and choose as they
 * go. Found through dlsym: a program must not need the shim to link.
 */
#ifndef DRAX_TESTS_FAULTS_H
#define DRAX_TESTS_FAULTS_H

#include <stdbool.h>

typedef enum {
    FAULT_MALLOC, /* malloc, calloc, realloc, strdup: called from the object under test alone */
    FAULT_WRITE,  /* write, pwrite, pwritev */
    FAULT_SYNC,   /* fsync, fdatasync */
    FAULT_OPEN,   /* open, openat, mkdir */
    FAULT_RENAME,
    FAULT_CALLS
} fault_call_t;

/* The `nth` (1: the next) such call and the `times` - 1 after it fail with `error`. nth 0: none do.
 * Counting begins anew. */
typedef void faults_arm_fn(fault_call_t call, unsigned long nth, unsigned long times, int error);
/* While `held`, calls neither count nor fail: the program itself is at work, not what it tests. */
typedef void faults_hold_fn(bool held);
/* Calls counted since faults_arm. */
typedef unsigned long faults_counted_fn(void);

#endif
