/* cmd_watch.c: watch, which goes on until it is interrupted. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/json.h"

static int watch_run(cli_t *cli);

const command_t commands_watch[] = {
    {"watch",
     "KEY | --tree DIR [--from REV]",
     "Prints every change of a key or directory until it is interrupted",
     "A line each, as it comes: type, index, key and value, with tabs between. First what is\n"
     "there, with the type `current`; then put, delete and expire.\n"
     "  --tree      the argument is a directory: every key under it\n"
     "  --from REV  begin with the changes of this revision instead\n",
     1,
     1,
     {{"tree", FLAG_SWITCH}, {"from", FLAG_NUMBER}},
     watch_run},
    {0}};

static const char *type_name(drax_event_type_t type) {
    switch (type) {
    case DRAX_EVENT_CURRENT:
        return "current";
    case DRAX_EVENT_DELETE:
        return "delete";
    case DRAX_EVENT_EXPIRE:
        return "expire";
    default:
        return "put";
    }
}

static bool has_value(const drax_event_t *event) {
    return event->type == DRAX_EVENT_CURRENT || event->type == DRAX_EVENT_PUT;
}

static void event_print(const drax_event_t *event) {
    printf("%s\t%" PRIu64 "\t", type_name(event->type), event->index);
    format_escaped(stdout, event->key, event->key_size);
    fputc('\t', stdout);
    format_escaped(stdout, event->value, event->value_size);
    fputc('\n', stdout);
}

static bool event_json_print(const drax_event_t *event) {
    json_t *object =
        json_pack("{s:s, s:o, s:I}", "type", type_name(event->type), "key",
                  json_from_bytes(event->key, event->key_size), "index", (json_int_t) event->index);
    if (object && has_value(event) &&
        json_object_set_new(object, "value", json_from_bytes(event->value, event->value_size)) !=
            0) {
        json_decref(object);
        object = NULL;
    }
    return json_line_print(stdout, object);
}

static void watch_lost(follow_t *self, drax_watch_t *watch, int error) {
    if (error == DRAX_ERR_COMPACTED)
        follow_end(self,
                   cli_fail(EXIT_NOT,
                            "COMPACTED: the changes before revision %" PRIu64 " are no longer kept",
                            drax_watch_compacted(watch)));
    else
        follow_end(self, cli_fail(cli_error_exit(error), "%s: %s", drax_error_name(error),
                                  drax_error_text(error)));
}

/* The deadline holds until the first state is complete. */
static void on_event(void *arg, drax_watch_t *watch, int error, const drax_event_t *event) {
    follow_t *self = arg;
    bool made = true;
    if (self->done)
        return;
    if (!event) {
        watch_lost(self, watch, error);
        return;
    }
    if (event->type == DRAX_EVENT_SYNCED)
        self->answered = true;
    else if (self->cli->output == OUTPUT_JSON)
        made = event_json_print(event);
    else
        event_print(event);
    follow_printed(self, made);
}

static int watch_run(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    follow_t self;
    if (!follow_open(&self, cli))
        return self.code;
    drax_watch_t *watch = NULL;
    int error = cli->given[0] ? drax_watch_tree(cli->drax, key, size, cli->number[1], &watch)
                              : drax_watch(cli->drax, key, size, cli->number[1], &watch);
    if (error == 0)
        error = drax_watch_event_set(watch, on_event, &self);
    if (error != 0)
        follow_end(&self, cli_fail(cli_error_exit(error), "%s", drax_error_text(error)));
    follow_run(&self);
    drax_watch_close(&watch);
    follow_close(&self);
    return self.code;
}
