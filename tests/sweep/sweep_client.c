/* sweep_client.c: libdrax with the n-th of its allocations failing, n from 1 on.
 *
 *   sweep_client        needs the shim (LD_PRELOAD), and DRAX_FAULT_OBJECT to say whose allocations
 *                       fail: the library's own, or msgpack-c's
 *
 * Each run is a process with a gateway of its own. Every call must give 0 or DRAX_ERR_NO_MEMORY;
 * then, with memory again, the same client must work; and the library must not have printed, exited
 * or aborted.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drax.h"
#include "tests/sweep/faults.h"
#include "tests/unit/gateway_fake.h"

#define CALLS_MAX 2000ul
#define RUN_SECONDS 60u
#define TIMEOUT_MS 10000u

static faults_arm_fn *arm;
static faults_counted_fn *counted;
static faults_hold_fn *hold; /* on in what is not the client's */

static bool allowed(int rc, const char *what) {
    if (rc == 0 || rc == DRAX_ERR_NO_MEMORY)
        return true;
    fprintf(stderr, "%s: %s\n", what, drax_error_text(rc));
    return false;
}

static void done(void *arg, int error, const char *detail, const drax_result_t *result) {
    bool *right = arg;
    (void) detail;
    (void) result;
    *right = *right && allowed(error, "a submitted put");
}

static bool calls_submitted(drax_t *drax) {
    bool right = true;
    for (unsigned i = 0; right && i < 3; i++)
        right = allowed(drax_put_submit(drax, "k", 1, "v", 1, NULL, done, &right), "submit");
    while (right && drax_pending(drax))
        right = drax_poll(drax, TIMEOUT_MS) >= 0;
    return right;
}

static bool calls_generic(drax_t *drax) {
    drax_result_t *result = NULL;
    drax_request_t *request = drax_request_new("get", DRAX_READ);
    if (!request)
        return true; /* no memory */
    drax_request_key_add(request, "k", 1);
    bool right = allowed(drax_request_call(drax, request, NULL, &result), "a request");
    drax_request_destroy(&request);
    drax_result_destroy(&result);
    return right;
}

static bool calls(drax_t *drax) {
    drax_result_t *result = NULL;
    bool right = allowed(drax_timeout_set(drax, TIMEOUT_MS), "timeout");
    right = right && allowed(drax_put(drax, "k", 1, "v", 1, NULL, &result), "put");
    drax_result_destroy(&result);
    right = right && allowed(drax_get(drax, "k", 1, NULL, &result), "get");
    drax_result_destroy(&result);
    drax_options_t *options = drax_options_new();
    if (options) {
        drax_options_limit_set(options, 2);
        right = right && allowed(drax_options_after_set(options, "d/a", 3), "after");
        right = right && allowed(drax_list(drax, "d", 1, options, &result), "list");
    }
    drax_options_destroy(&options);
    drax_result_destroy(&result);
    return right && calls_submitted(drax) && calls_generic(drax);
}

static bool works_again(drax_t *drax) {
    drax_result_t *result = NULL;
    int rc = drax_get(drax, "k", 1, NULL, &result);
    drax_result_destroy(&result);
    if (rc)
        fprintf(stderr, "with memory again: %s\n", drax_error_text(rc));
    return rc == 0;
}

/* In a child; the exit code: 0, or 2 when nothing failed any more. */
static void story(unsigned long nth) {
    alarm(RUN_SECONDS);
    drax_t *drax = NULL;
    gateway_t *gateway = gateway_start(gateway_serve, 0);
    arm(FAULT_MALLOC, nth, 1, ENOMEM);
    hold(false);
    bool right = allowed(drax_new(&drax, gateway->address), "new");
    right = right && (!drax || calls(drax));
    unsigned long count = counted();
    arm(FAULT_CALLS, 0, 0, 0);
    right = right && (!drax || works_again(drax));
    drax_destroy(&drax);
    gateway_stop(&gateway);
    exit(!right ? 1 : count < nth ? 2 : 0);
}

int main(void) {
    arm = (faults_arm_fn *) dlsym(RTLD_DEFAULT, "faults_arm");
    counted = (faults_counted_fn *) dlsym(RTLD_DEFAULT, "faults_counted");
    hold = (faults_hold_fn *) dlsym(RTLD_DEFAULT, "faults_hold");
    if (!arm || !counted || !hold) {
        fprintf(stderr, "sweep_client: the shim is not there: LD_PRELOAD\n");
        return 64;
    }
    for (unsigned long nth = 1; nth < CALLS_MAX; nth++) {
        FILE *said = tmpfile();
        pid_t pid = said ? fork() : -1;
        if (pid == 0) {
            if (dup2(fileno(said), STDERR_FILENO) < 0 || dup2(fileno(said), STDOUT_FILENO) < 0)
                _exit(1);
            story(nth);
        }
        int status = 1;
        bool ended = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
                     (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2);
        char text[4096];
        rewind(said);
        size_t size = fread(text, 1, sizeof text, said);
        (void) fclose(said);
        if (!ended || size) {
            fprintf(stderr, "allocation %lu: status %d: %.*s\n", nth, status, (int) size, text);
            return 1;
        }
        if (WEXITSTATUS(status) == 2) {
            printf("%lu allocations failed, one at a time: no call broke\n", nth - 1);
            return nth > 1 ? 0 : 1;
        }
    }
    return 1;
}
