/* cmd_lease.c: leases by hand. */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/format.h"

static int grant_run(cli_t *cli);
static int keepalive_run(cli_t *cli);
static int get_run(cli_t *cli);
static int revoke_run(cli_t *cli);

const command_t commands_lease[] = {
    {"lease grant",
     "DURATION",
     "Makes a lease that ends after a duration, and prints its number",
     "Give the number to `put --lease`: the key goes with the lease.\n",
     1,
     1,
     {{0}},
     grant_run},
    {"lease keepalive",
     "LEASE",
     "Lets a lease begin anew, and prints its duration in milliseconds",
     "",
     1,
     1,
     {{0}},
     keepalive_run},
    {"lease get",
     "LEASE",
     "Prints how many milliseconds a lease has left",
     "",
     1,
     1,
     {{0}},
     get_run},
    {"lease revoke", "LEASE", "Ends a lease, and deletes its keys", "", 1, 1, {{0}}, revoke_run},
    {0}};

typedef enum { PRINT_NOTHING, PRINT_LEASE, PRINT_TTL } print_t;

static int result_print(cli_t *cli, int error, drax_result_t **result, print_t print) {
    int code = EXIT_OK;
    if (error != 0)
        return cli_call_fail(cli, error);
    if (cli->output == OUTPUT_JSON)
        code = cli_json_print(*result);
    else if (print != PRINT_NOTHING)
        printf("%" PRIu64 "\n",
               print == PRINT_LEASE ? drax_result_lease(*result) : drax_result_ttl_ms(*result));
    drax_result_destroy(result);
    return code;
}

static int grant_run(cli_t *cli) {
    uint64_t ttl_ms;
    if (!format_duration_parse(cli->arguments[0], &ttl_ms) || ttl_ms == 0)
        return cli_fail(EXIT_USAGE, "'%s' is no duration such as 500ms, 5s, 1m or 1h",
                        cli->arguments[0]);
    drax_result_t *result;
    int error = drax_lease_grant(cli->drax, ttl_ms, NULL, &result);
    return result_print(cli, error, &result, PRINT_LEASE);
}

typedef int lease_call_fn(drax_t *drax, uint64_t lease, const drax_options_t *options,
                          drax_result_t **out);

static int lease_call(cli_t *cli, lease_call_fn *call, print_t print) {
    uint64_t lease;
    if (!format_number_parse(cli->arguments[0], &lease) || lease == 0)
        return cli_fail(EXIT_USAGE, "'%s' is no number of a lease", cli->arguments[0]);
    drax_result_t *result;
    int error = call(cli->drax, lease, NULL, &result);
    return result_print(cli, error, &result, print);
}

static int keepalive_run(cli_t *cli) {
    return lease_call(cli, drax_lease_keepalive, PRINT_TTL);
}

static int get_run(cli_t *cli) {
    return lease_call(cli, drax_lease_get, PRINT_TTL);
}

static int revoke_run(cli_t *cli) {
    return lease_call(cli, drax_lease_revoke, PRINT_NOTHING);
}
