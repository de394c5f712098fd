/* bench_watch.c: watchers of one key, which every write of the workload changes.
 *
 * A value begins with the time at which its write was to begin. One from before the run is not
 * ours: it is what was there, or somebody else's. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

static void on_event(void *arg, drax_watch_t *watch, int error, const drax_event_t *event) {
    watcher_t *watcher = arg;
    bench_t *self = watcher->bench;
    uint64_t start_ns, now_ns = bench_now_ns();
    (void) watch;
    if (self->closing)
        return;
    if (!event) {
        bench_failed(self, error);
        self->broken = true;
        return;
    }
    if (event->type == DRAX_EVENT_SYNCED && !watcher->synced) {
        watcher->synced = true;
        self->unsynced--;
    }
    if (event->type != DRAX_EVENT_PUT || event->value_size < sizeof start_ns)
        return;
    memcpy(&start_ns, event->value, sizeof start_ns);
    if (self->begin_ns == 0 || start_ns < self->begin_ns || start_ns > now_ns)
        return;
    histogram_add(&self->result->parts[0], now_ns - start_ns);
    self->delivered++;
    self->delivered_ns = now_ns;
}

int bench_watch_open(bench_t *self) {
    size_t count = self->plan.work == BENCH_WATCH ? self->plan.watchers : 0;
    self->watchers = calloc(count + 1, sizeof *self->watchers);
    if (!self->watchers)
        return DRAX_ERR_NO_MEMORY;
    self->unsynced = count;
    for (size_t i = 0; i < count; i++) {
        watcher_t *watcher = &self->watchers[i];
        watcher->bench = self;
        int error = drax_watch(self->lanes[i % self->plan.connections].drax, bench_key(self, 0),
                               self->plan.key_size, 0, &watcher->watch);
        if (error == 0)
            error = drax_watch_event_set(watcher->watch, on_event, watcher);
        if (error != 0)
            return error;
    }
    return 0;
}

void bench_watch_close(bench_t *self) {
    for (size_t i = 0; self->watchers && self->plan.work == BENCH_WATCH && i < self->plan.watchers;
         i++)
        drax_watch_close(&self->watchers[i].watch);
    free(self->watchers);
}
