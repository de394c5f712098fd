/* thread.c: see thread.h. */
#include "broker/thread.h"

#include <signal.h>

bool thread_start(pthread_t *out, void *(*run)(void *), void *hint) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(out, NULL, run, hint) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}
