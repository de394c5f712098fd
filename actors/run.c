#include "actors/run.h"

#include <stdio.h>
#include <zmq.h>

#include "actors/life.h"
#include "actors/placement.h"
#include "actors/process.h"
#include "actors/watchdog.h"
#include "broker/error.h"

typedef struct run {
    settings_t *settings;
    life_t *life;
    int signal_fd;
    watchdog_t watchdog;
    placement_t *placement; /* NULL: nothing to choose */
} run_t;

static int signal_read(void *hint, uint64_t now_ms) {
    run_t *self = hint;
    while (process_signal_next(self->signal_fd)) {
        process_notify("STOPPING=1");
        life_stop(self->life, now_ms);
    }
    return 0;
}

static int beat_turn(void *hint, uint64_t now_ms) {
    run_t *self = hint;
    watchdog_turn(&self->watchdog, now_ms);
    return 0;
}

static uint64_t beat_deadline(const void *hint, uint64_t now_ms) {
    const run_t *self = hint;
    (void) now_ms;
    return self->watchdog.interval_ms ? self->watchdog.next_ms : UINT64_MAX;
}

static int placement_look(void *hint, uint64_t now_ms) {
    run_t *self = hint;
    if (self->placement)
        placement_turn(self->placement, life_load(self->life), now_ms);
    return 0;
}

static void ready(void *hint) {
    run_t *self = hint;
    process_ready_fd(self->settings);
    process_notify("READY=1");
}

static int run_life(run_t *self, actor_t actor, void *context, const log_t *log) {
    char detail[512] = "";
    life_options_t options = {.actor = actor,
                              .settings = self->settings,
                              .log = log,
                              .context = context,
                              .home = ".",
                              .ready = ready,
                              .hint = self};
    int rc = life_new(&self->life, &options, detail, sizeof detail);
    if (rc == 0)
        rc = loop_add(life_loop(self->life), NULL, self->signal_fd, signal_read, self);
    if (rc == 0)
        rc = loop_each_turn(life_loop(self->life), beat_turn, beat_deadline, self);
    if (rc == 0)
        rc = placement_new(&self->placement, actor, self->settings->home);
    if (rc == 0)
        rc = loop_each_turn(life_loop(self->life), placement_look, NULL, self);
    if (rc)
        log_error(log, "cannot start: %s", detail[0] ? detail : error_text(rc));
    if (rc == 0)
        rc = life_run(self->life);
    life_destroy(&self->life);
    placement_destroy(&self->placement);
    return rc;
}

int run_actor(actor_t actor, settings_t *settings, const log_t *log) {
    run_t self = {
        .settings = settings, .signal_fd = process_signals(0), .watchdog = watchdog_asked()};
    char lock[64];
    process_files_raise();
    process_memory_limit(actor == ACTOR_STORAGE ? LIMIT_STORAGE_BYTES : LIMIT_ACTOR_BYTES);
    int code = process_home(settings, log);
    if (code)
        return code;
    snprintf(lock, sizeof lock, "run/%s.lock", actor_name(actor));
    code = process_lock(lock, settings, log);
    if (code)
        return code;
    void *context = self.signal_fd < 0 ? NULL : life_context_new();
    if (!context) {
        log_error(log, "cannot start: no descriptor or memory left");
        return EXIT_SOFTWARE;
    }
    int rc = run_life(&self, actor, context, log);
    zmq_ctx_term(context);
    if (rc == 0)
        return 0;
    return rc == DRAX_EINUSE || rc == DRAX_EINVAL ? EXIT_UNAVAILABLE : EXIT_SOFTWARE;
}
