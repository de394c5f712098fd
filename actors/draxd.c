/* draxd.c: the one binary of a node: supervisor, storage, raft or gateway (contract section 1). */
#include <stdio.h>

#include "actors/process.h"
#include "actors/run.h"
#include "actors/supervisor.h"
#include "broker/error.h"

static int text_print(const char *text) {
    return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? EXIT_SOFTWARE : 0;
}

static int command_run(settings_t *settings) {
    log_t log = {.level = (log_level_t) settings->log_level};
    switch (settings->command) {
    case SETTINGS_HELP:
        return text_print(settings_help());
    case SETTINGS_VERSION:
        return text_print(settings_version());
    case SETTINGS_STORAGE:
        log.actor = actor_name(ACTOR_STORAGE);
        return run_actor(ACTOR_STORAGE, settings, &log);
    case SETTINGS_RAFT:
        log.actor = actor_name(ACTOR_RAFT);
        return run_actor(ACTOR_RAFT, settings, &log);
    case SETTINGS_GATEWAY:
        log.actor = actor_name(ACTOR_GATEWAY);
        return run_actor(ACTOR_GATEWAY, settings, &log);
    case SETTINGS_RUN:
        break;
    }
    log.actor = actor_name(ACTOR_SUPERVISOR);
    return supervisor_run(settings, &log);
}

int main(int argc, char **argv) {
    settings_t settings;
    char detail[512] = "";
    int rc = settings_load(&settings, argc, argv, detail, sizeof detail);
    if (rc) {
        fprintf(stderr, "draxd: %s\n", detail[0] ? detail : error_text(rc));
        if (rc == DRAX_EUSAGE)
            fputs("Try 'draxd --help'.\n", stderr);
        return rc == DRAX_EUSAGE ? EXIT_USAGE : EXIT_CONFIG;
    }
    return command_run(&settings);
}
