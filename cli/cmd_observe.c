/* cmd_observe.c: elect --observe: who is elected, and every change, until it is interrupted. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/json.h"

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
    follow_t *self = arg;
    bool made = true;
    (void) election;
    if (self->done)
        return;
    self->answered = true;
    if (!leader) {
        follow_end(self, cli_fail(cli_error_exit(error), "%s: %s", drax_error_name(error),
                                  drax_error_text(error)));
        return;
    }
    if (self->cli->output == OUTPUT_JSON)
        made = leader_json_print(leader);
    else
        leader_print(leader);
    follow_printed(self, made);
}

int cli_observe(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    follow_t self;
    if (!follow_open(&self, cli))
        return self.code;
    drax_election_t *election;
    int error = drax_election_new(cli->drax, key, size, &election);
    if (error == 0)
        error = drax_election_leader_set(election, on_leader, &self);
    if (error != 0)
        follow_end(&self, cli_fail(cli_error_exit(error), "%s", drax_error_text(error)));
    follow_run(&self);
    drax_election_destroy(&election);
    follow_close(&self);
    return self.code;
}
