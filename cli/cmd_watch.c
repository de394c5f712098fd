/* cmd_watch.c: watch, which goes on until it is interrupted. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/interrupt.h"
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

typedef struct watching {
    cli_t *cli;
    drax_watch_t *watch;
    bool synced;
    bool done;
    int code;
} watching_t;

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

static void on_event(void *arg, drax_watch_t *watch, int error, const drax_event_t *event) {
    watching_t *self = arg;
    bool good = true;
    (void) watch;
    if (self->done)
        return;
    if (!event) {
        self->code =
            error == DRAX_ERR_COMPACTED
                ? cli_fail(EXIT_NOT,
                           "COMPACTED: the changes before revision %" PRIu64 " are no longer kept",
                           drax_watch_compacted(self->watch))
                : cli_fail(cli_error_exit(error), "%s: %s", drax_error_name(error),
                           drax_error_text(error));
        self->done = true;
    } else if (event->type == DRAX_EVENT_SYNCED) {
        self->synced = true;
    } else if (self->cli->output == OUTPUT_JSON) {
        good = event_json_print(event);
    } else {
        event_print(event);
    }
    if (!good || fflush(stdout) != 0) {
        self->code = good ? EXIT_IO : cli_fail(EXIT_SYSTEM, "out of memory");
        self->done = true;
    }
}

/* One round of waiting; the deadline holds until the first state is complete. */
static void round_wait(watching_t *self, int interrupt_fd, uint64_t deadline_ms) {
    struct pollfd items[] = {{.fd = interrupt_fd, .events = POLLIN},
                             {.fd = drax_fd(self->cli->drax), .events = POLLIN}};
    uint64_t now_ms = interrupt_now_ms();
    int wait_ms = self->synced ? -1 : now_ms < deadline_ms ? (int) (deadline_ms - now_ms) : 0;
    int count = poll(items, 2, wait_ms);
    if (count < 0 && errno != EINTR) {
        self->code = cli_fail(EXIT_SYSTEM, "%s", strerror(errno));
        self->done = true;
    } else if (count == 0 && !self->synced) {
        self->code = cli_fail(EXIT_UNAVAILABLE, "UNAVAILABLE: no endpoint answers");
        self->done = true;
    } else if (items[0].revents) {
        self->done = true; /* as asked */
    } else if (drax_process(self->cli->drax) < 0) {
        self->code = cli_fail(EXIT_SYSTEM, "the client cannot go on");
        self->done = true;
    }
}

static int watch_run(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    watching_t self = {.cli = cli, .code = EXIT_OK};
    int interrupt_fd = interrupt_open(0);
    if (interrupt_fd < 0 || drax_fd(cli->drax) < 0)
        return cli_fail(EXIT_SYSTEM, "no descriptor left");
    int error = cli->given[0] ? drax_watch_tree(cli->drax, key, size, cli->number[1], &self.watch)
                              : drax_watch(cli->drax, key, size, cli->number[1], &self.watch);
    if (error == 0)
        error = drax_watch_event_set(self.watch, on_event, &self);
    if (error != 0)
        self.code = cli_fail(cli_error_exit(error), "%s", drax_error_text(error));
    uint64_t deadline_ms = interrupt_now_ms() + cli->timeout_ms;
    while (error == 0 && !self.done)
        round_wait(&self, interrupt_fd, deadline_ms);
    drax_watch_close(&self.watch);
    (void) close(interrupt_fd);
    return self.code;
}
