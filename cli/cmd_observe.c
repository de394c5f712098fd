/* cmd_observe.c: elect --observe: who is elected, and every change, until it is interrupted. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/interrupt.h"
#include "cli/json.h"

typedef struct observing {
    cli_t *cli;
    bool answered; /* the timeout holds until then */
    bool done;
    int code;
} observing_t;

static bool leader_json_print(const drax_leader_t *leader) {
    json_t *object = json_pack("{s:b, s:I}", "elected", leader->elected ? 1 : 0, "index",
                               (json_int_t) leader->index);
    if (object && leader->elected &&
        json_object_set_new(object, "name", json_from_bytes(leader->name, leader->name_size)) !=
            0) {
        json_decref(object);
        object = NULL;
    }
    return json_line_print(stdout, object);
}

static void leader_print(const drax_leader_t *leader) {
    printf("%s\t%" PRIu64 "\t", leader->elected ? "elected" : "vacant", leader->index);
    format_escaped(stdout, leader->name, leader->name_size);
    fputc('\n', stdout);
}

static void on_leader(void *arg, drax_election_t *election, int error,
                      const drax_leader_t *leader) {
    observing_t *self = arg;
    bool good = true;
    (void) election;
    if (self->done)
        return;
    self->answered = true;
    if (!leader) {
        self->code = cli_fail(cli_error_exit(error), "%s: %s", drax_error_name(error),
                              drax_error_text(error));
        self->done = true;
        return;
    }
    if (self->cli->output == OUTPUT_JSON)
        good = leader_json_print(leader);
    else
        leader_print(leader);
    if (!good || fflush(stdout) != 0) {
        self->code = good ? EXIT_IO : cli_fail(EXIT_SYSTEM, "out of memory");
        self->done = true;
    }
}

static void round_wait(observing_t *self, int interrupt_fd, uint64_t deadline_ms) {
    struct pollfd items[] = {{.fd = interrupt_fd, .events = POLLIN},
                             {.fd = drax_fd(self->cli->drax), .events = POLLIN}};
    uint64_t now_ms = interrupt_now_ms();
    int wait_ms = self->answered ? -1 : now_ms < deadline_ms ? (int) (deadline_ms - now_ms) : 0;
    int count = poll(items, 2, wait_ms);
    if (count < 0 && errno != EINTR) {
        self->code = cli_fail(EXIT_SYSTEM, "%s", strerror(errno));
        self->done = true;
    } else if (count == 0 && !self->answered) {
        self->code = cli_fail(EXIT_UNAVAILABLE, "UNAVAILABLE: no endpoint answers");
        self->done = true;
    } else if (items[0].revents) {
        self->done = true; /* as asked */
    } else if (drax_process(self->cli->drax) < 0) {
        self->code = cli_fail(EXIT_SYSTEM, "the client cannot go on");
        self->done = true;
    }
}

int cli_observe(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    observing_t self = {.cli = cli, .code = EXIT_OK};
    drax_election_t *election;
    int interrupt_fd = interrupt_open(0);
    if (interrupt_fd < 0 || drax_fd(cli->drax) < 0)
        return cli_fail(EXIT_SYSTEM, "no descriptor left");
    int error = drax_election_new(cli->drax, key, size, &election);
    if (error == 0)
        error = drax_election_leader_set(election, on_leader, &self);
    if (error != 0)
        self.code = cli_fail(cli_error_exit(error), "%s", drax_error_text(error));
    uint64_t deadline_ms = interrupt_now_ms() + cli->timeout_ms;
    while (error == 0 && !self.done)
        round_wait(&self, interrupt_fd, deadline_ms);
    drax_election_destroy(&election);
    (void) close(interrupt_fd);
    return self.code;
}
