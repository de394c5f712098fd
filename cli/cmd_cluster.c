/* cmd_cluster.c: member, leader, status. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"

/* How long `status -o table` waits for each member's own status. */
#define MEMBER_TIMEOUT_MS 1000u

static int member_list_run(cli_t *cli);
static int member_add_run(cli_t *cli);
static int member_remove_run(cli_t *cli);
static int member_promote_run(cli_t *cli);
static int leader_run(cli_t *cli);
static int leader_transfer_run(cli_t *cli);
static int status_run(cli_t *cli);

const command_t commands_cluster[] = {
    {"member list",
     "",
     "Lists the members: id, role, addr, raft_addr",
     "",
     0,
     0,
     {{0}},
     member_list_run},
    {"member add",
     "ADDR RAFT_ADDR",
     "Adds a member and prints its id",
     "ADDR and RAFT_ADDR (HOST:PORT) are what the new node advertises. A node that is started\n"
     "with --peer joins by itself and does not need this.\n",
     2,
     2,
     {{0}},
     member_add_run},
    {"member remove", "ID", "Removes a member", "", 1, 1, {{0}}, member_remove_run},
    {"member promote", "ID", "Makes a learner a voter", "", 1, 1, {{0}}, member_promote_run},
    {"leader", "", "Prints the leader: id and addr", "", 0, 0, {{0}}, leader_run},
    {"leader transfer",
     "[ID]",
     "Hands leadership over and prints the id of the new leader",
     "Without ID the leader chooses the member.\n",
     0,
     1,
     {{0}},
     leader_transfer_run},
    {"status",
     "",
     "Prints the status of the node that answers, or of all members as a table",
     "plain: a line is name, tab, value; a member is member, id, role, addr, raft_addr.\n"
     "table: a row for each member, which is asked for its own status at its advertised address.\n",
     0,
     0,
     {{0}},
     status_run},
    {0}};

static const drax_field_t *members_of(const drax_result_t *result) {
    return drax_field_find(drax_result_map(result), "members");
}

/* A field as text in a line with tabs; nothing for nil. */
static void field_print(const drax_field_t *field) {
    size_t size;
    const void *bytes;
    switch (drax_field_kind(field)) {
    case DRAX_FIELD_NIL:
        break;
    case DRAX_FIELD_BOOL:
        fputs(drax_field_bool(field) ? "true" : "false", stdout);
        break;
    case DRAX_FIELD_BYTES:
        bytes = drax_field_bytes(field, &size);
        format_escaped(stdout, bytes, size);
        break;
    case DRAX_FIELD_INTEGER:
        printf("%" PRIu64, drax_field_uint(field));
        break;
    default:
        (void) json_print(stdout, json_from_field(field));
        break;
    }
}

static void member_print(const drax_field_t *member) {
    static const char *const names[] = {"id", "role", "addr", "raft_addr"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (i > 0)
            fputc('\t', stdout);
        field_print(drax_field_find(member, names[i]));
    }
    fputc('\n', stdout);
}

static void cell_add(table_t *table, const drax_field_t *field) {
    size_t size;
    const void *bytes = drax_field_bytes(field, &size);
    if (drax_field_kind(field) == DRAX_FIELD_BYTES)
        table_bytes(table, bytes, size);
    else if (drax_field_kind(field) == DRAX_FIELD_INTEGER)
        table_number(table, drax_field_uint(field));
    else
        table_text(table, "-");
}

static int table_finish(table_t *table) {
    bool ok = table_print(table, stdout);
    table_end(table);
    return ok ? EXIT_OK : cli_fail(EXIT_SYSTEM, "out of memory");
}

static int member_table(const drax_field_t *members) {
    static const char *const head[] = {"ID", "ROLE", "ADDR", "RAFT ADDR"};
    static const char *const names[] = {"id", "role", "addr", "raft_addr"};
    table_t table;
    table_begin(&table, 4);
    for (size_t i = 0; i < 4; i++)
        table_text(&table, head[i]);
    for (size_t i = 0; i < drax_field_count(members); i++)
        for (size_t at = 0; at < 4; at++)
            cell_add(&table, drax_field_find(drax_field_at(members, i), names[at]));
    return table_finish(&table);
}

static int member_list_run(cli_t *cli) {
    drax_result_t *result;
    int error = drax_member_list(cli->drax, NULL, &result);
    if (error != 0)
        return cli_call_fail(cli, error);
    const drax_field_t *members = members_of(result);
    int code = EXIT_OK;
    if (cli->output == OUTPUT_JSON)
        code = cli_json_print(result);
    else if (cli->output == OUTPUT_TABLE)
        code = member_table(members);
    else
        for (size_t i = 0; i < drax_field_count(members); i++)
            member_print(drax_field_at(members, i));
    drax_result_destroy(&result);
    return code;
}

/* Ends a command that prints one field of its result, or nothing when `name` is NULL. */
static int field_finish(cli_t *cli, int error, drax_result_t **result, const char *name) {
    if (error != 0)
        return cli_call_fail(cli, error);
    int code = EXIT_OK;
    if (cli->output == OUTPUT_JSON) {
        code = cli_json_print(*result);
    } else if (name) {
        field_print(drax_field_find(drax_result_map(*result), name));
        fputc('\n', stdout);
    }
    drax_result_destroy(result);
    return code;
}

static int member_add_run(cli_t *cli) {
    drax_result_t *result;
    int error = drax_member_add(cli->drax, cli->arguments[0], cli->arguments[1], NULL, &result);
    return field_finish(cli, error, &result, "id");
}

static int member_remove_run(cli_t *cli) {
    drax_result_t *result;
    uint64_t id;
    if (!cli_id(cli, 0, &id))
        return EXIT_USAGE;
    int error = drax_member_remove(cli->drax, id, NULL, &result);
    return field_finish(cli, error, &result, NULL);
}

static int member_promote_run(cli_t *cli) {
    drax_result_t *result;
    uint64_t id;
    if (!cli_id(cli, 0, &id))
        return EXIT_USAGE;
    int error = drax_member_promote(cli->drax, id, NULL, &result);
    return field_finish(cli, error, &result, NULL);
}

static int leader_transfer_run(cli_t *cli) {
    drax_result_t *result;
    uint64_t id = 0;
    if (cli->argument_count > 0 && !cli_id(cli, 0, &id))
        return EXIT_USAGE;
    int error = drax_leader_transfer(cli->drax, id, NULL, &result);
    return field_finish(cli, error, &result, "leader");
}

static const drax_field_t *member_find(const drax_field_t *members, uint64_t id) {
    for (size_t i = 0; i < drax_field_count(members); i++) {
        const drax_field_t *member = drax_field_at(members, i);
        if (drax_field_uint(drax_field_find(member, "id")) == id)
            return member;
    }
    return NULL;
}

static int leader_run(cli_t *cli) {
    drax_result_t *result;
    int error = drax_status(cli->drax, NULL, &result);
    if (error != 0)
        return cli_call_fail(cli, error);
    uint64_t leader = drax_field_uint(drax_field_find(drax_result_map(result), "leader"));
    const drax_field_t *member = member_find(members_of(result), leader);
    int code = EXIT_OK;
    if (leader == 0) {
        code = cli_fail(EXIT_UNAVAILABLE, "no leader");
    } else if (cli->output == OUTPUT_JSON) {
        json_t *object =
            member ? json_from_field((member)) : json_pack("{s:I}", "id", (json_int_t) leader);
        if (!json_line_print(stdout, object))
            code = cli_fail(EXIT_SYSTEM, "out of memory");
    } else {
        printf("%" PRIu64 "\t", leader);
        field_print(drax_field_find(member, "addr"));
        fputc('\n', stdout);
    }
    drax_result_destroy(&result);
    return code;
}

static void status_print(const drax_result_t *status) {
    const drax_field_t *map = drax_result_map(status), *members = members_of(status);
    for (size_t i = 0; i < drax_field_count(map); i++) {
        const drax_field_t *value = drax_field_at(map, i);
        if (value == members)
            continue;
        field_print(drax_field_name(map, i));
        fputc('\t', stdout);
        field_print(value);
        fputc('\n', stdout);
    }
    for (size_t i = 0; i < drax_field_count(members); i++) {
        fputs("member\t", stdout);
        member_print(drax_field_at(members, i));
    }
}

/* The status that the node at `addr` gives of itself; NULL when it does not answer. */
static drax_result_t *member_ask(const cli_t *cli, const drax_field_t *addr) {
    size_t size;
    const char *bytes = drax_field_bytes(addr, &size);
    char *endpoint = bytes ? strndup(bytes, size) : NULL;
    drax_t *drax = NULL;
    drax_result_t *status = NULL;
    if (endpoint && drax_new(&drax, endpoint) == 0) {
        uint64_t timeout_ms =
            cli->timeout_ms < MEMBER_TIMEOUT_MS ? cli->timeout_ms : MEMBER_TIMEOUT_MS;
        /* An error leaves no status, which is what the table then says. */
        if (drax_timeout_set(drax, timeout_ms) == 0)
            (void) drax_status(drax, NULL, &status);
    }
    drax_destroy(&drax);
    free(endpoint);
    return status;
}

static bool field_is(const drax_field_t *field, const char *text) {
    size_t size;
    const char *bytes = field ? drax_field_bytes(field, &size) : NULL;
    return bytes && size == strlen(text) && memcmp(bytes, text, size) == 0;
}

static void member_row(const cli_t *cli, table_t *table, const drax_field_t *member,
                       uint64_t leader) {
    static const char *const names[] = {"term", "revision", "commit", "applied", "version"};
    const drax_field_t *id = drax_field_find(member, "id"), *addr = drax_field_find(member, "addr");
    drax_result_t *status = member_ask(cli, addr);
    const drax_field_t *map = drax_result_map(status);
    /* Somebody else may listen at that address by now. */
    bool itself = map && drax_field_uint(drax_field_find(map, "node")) == drax_field_uint(id);
    cell_add(table, id);
    cell_add(table, addr);
    if (itself)
        cell_add(table, drax_field_find(map, "role"));
    else
        table_text(table, "unreachable");
    cell_add(table, drax_field_find(member, "role"));
    /* Each knows best whether it leads; the node asked may just have started and not know yet. */
    bool leads = itself ? field_is(drax_field_find(map, "role"), "leader")
                        : leader != 0 && drax_field_uint(id) == leader;
    table_text(table, leads ? "*" : "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cell_add(table, itself ? drax_field_find(map, names[i]) : NULL);
    drax_result_destroy(&status);
}

static int status_table(const cli_t *cli, const drax_result_t *status) {
    static const char *const head[] = {"ID",   "ADDR",     "ROLE",   "MEMBER",  "LEADER",
                                       "TERM", "REVISION", "COMMIT", "APPLIED", "VERSION"};
    const size_t columns = sizeof head / sizeof *head;
    const drax_field_t *members = members_of(status);
    uint64_t leader = drax_field_uint(drax_field_find(drax_result_map(status), "leader"));
    table_t table;
    table_begin(&table, columns);
    for (size_t i = 0; i < columns; i++)
        table_text(&table, head[i]);
    for (size_t i = 0; i < drax_field_count(members); i++)
        member_row(cli, &table, drax_field_at(members, i), leader);
    return table_finish(&table);
}

static int status_run(cli_t *cli) {
    drax_result_t *status;
    int error = drax_status(cli->drax, NULL, &status);
    if (error != 0)
        return cli_call_fail(cli, error);
    int code = EXIT_OK;
    if (cli->output == OUTPUT_JSON)
        code = cli_json_print(status);
    else if (cli->output == OUTPUT_TABLE)
        code = status_table(cli, status);
    else
        status_print(status);
    drax_result_destroy(&status);
    return code;
}
