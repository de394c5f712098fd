/* drax_cli.c: the program: flags and environment to a cli_t, the command found and run, the exit
 * code.
 *
 * Owns: argument parsing, help, the mapping of errors to exit codes.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"

enum { OPTION_ENDPOINTS = 256, OPTION_TIMEOUT, OPTION_VERSION, OPTION_FLAG };

#define GLOBAL_OPTIONS                                                                             \
    {"endpoints", required_argument, NULL, OPTION_ENDPOINTS},                                      \
        {"timeout", required_argument, NULL, OPTION_TIMEOUT},                                      \
        {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {              \
        "version", no_argument, NULL, OPTION_VERSION                                               \
    }
#define GLOBAL_OPTION_COUNT 5

/* What parsing found: go on, or end with an exit code. */
typedef enum { PARSE_ON, PARSE_HELP, PARSE_VERSION, PARSE_BAD } parse_t;

static const command_t *const groups[] = {
    commands_kv,      commands_watch,    commands_lock,     commands_lease, commands_txn,
    commands_cluster, commands_transfer, commands_snapshot, commands_bench, commands_shell};
#define GROUP_COUNT (sizeof groups / sizeof *groups)

static int program_run(cli_t *cli, int argc, char **argv);
static parse_t globals_parse(cli_t *cli, int argc, char **argv);
static parse_t command_parse(cli_t *cli, int argc, char **argv);
static parse_t option_take(cli_t *cli, int option, char *const *argv);
static const command_t *command_find(const char *first, const char *second, bool *two_words);
static int help_print(const char *first, const char *second);
static int command_unknown(const char *first);
static void command_help_print(const command_t *command);
static int client_open(cli_t *cli);
static void descriptors_hold(void);
static int output_close(int code);

int main(int argc, char **argv) {
    cli_t cli = {.timeout_ms = 5000};
    descriptors_hold();
    cli.arguments = calloc((size_t) argc + 1, sizeof *cli.arguments);
    if (!cli.arguments)
        return cli_fail(EXIT_SYSTEM, "out of memory");
    int code = output_close(program_run(&cli, argc, argv));
    drax_destroy(&cli.drax);
    free(cli.arguments);
    return code;
}

static int program_run(cli_t *cli, int argc, char **argv) {
    switch (globals_parse(cli, argc, argv)) {
    case PARSE_HELP:
        return help_print(NULL, NULL);
    case PARSE_VERSION:
        printf("drax-cli %s\n", drax_version());
        return EXIT_OK;
    case PARSE_BAD:
        return EXIT_USAGE;
    case PARSE_ON:
        break;
    }
    if (optind >= argc)
        return cli_fail(EXIT_USAGE, "no command given; see drax-cli --help");
    return cli_run(cli, argc - optind, argv + optind);
}

int cli_run(cli_t *cli, int argc, char **argv) {
    const char *endpoints = cli->endpoints;
    if (strcmp(argv[0], "help") == 0)
        return help_print(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL);
    bool two_words = false;
    cli->command = command_find(argv[0], argc > 1 ? argv[1] : "", &two_words);
    if (!cli->command && argc == 2 &&
        (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return help_print(argv[0], NULL);
    if (!cli->command)
        return command_unknown(argv[0]);
    switch (command_parse(cli, argc - two_words, argv + two_words)) {
    case PARSE_HELP:
        command_help_print(cli->command);
        return EXIT_OK;
    case PARSE_VERSION:
        printf("drax-cli %s\n", drax_version());
        return EXIT_OK;
    case PARSE_BAD:
        return EXIT_USAGE;
    case PARSE_ON:
        break;
    }
    if (cli->inside && cli->endpoints != endpoints)
        return cli_fail(EXIT_USAGE, "a shell talks to the nodes that it was started with");
    int code = cli->inside ? EXIT_OK : client_open(cli);
    if (code == EXIT_OK && drax_timeout_set(cli->drax, cli->timeout_ms) != 0)
        code = cli_fail(EXIT_USAGE, "--timeout must not be 0");
    return code == EXIT_OK ? cli->command->run(cli) : code;
}

/* The flags before the command. */
static parse_t globals_parse(cli_t *cli, int argc, char **argv) {
    static const struct option options[] = {GLOBAL_OPTIONS, {NULL, 0, NULL, 0}};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+:o:h", options, NULL)) != -1) {
        parse_t parse = option_take(cli, option, argv);
        if (parse != PARSE_ON)
            return parse;
    }
    return PARSE_ON;
}

/* The flags and arguments after the command, in any order; argv[0] is its last word. */
static parse_t command_parse(cli_t *cli, int argc, char **argv) {
    struct option options[GLOBAL_OPTION_COUNT + CLI_FLAGS + 1] = {GLOBAL_OPTIONS};
    const flag_t *flags = cli->command->flags;
    for (int i = 0; i < CLI_FLAGS && flags[i].name; i++)
        options[GLOBAL_OPTION_COUNT + i] = (struct option){
            flags[i].name, flags[i].kind == FLAG_SWITCH ? no_argument : required_argument, NULL,
            OPTION_FLAG + i};
    int option;
    optind = 0; /* begins anew */
    while ((option = getopt_long(argc, argv, "-:o:h", options, NULL)) != -1) {
        if (option == 1) {
            cli->arguments[cli->argument_count++] = optarg;
            continue;
        }
        parse_t parse = option_take(cli, option, argv);
        if (parse != PARSE_ON)
            return parse;
    }
    for (; optind < argc; optind++)
        cli->arguments[cli->argument_count++] = argv[optind];
    bool few = cli->argument_count < cli->command->min;
    if (few || cli->argument_count > cli->command->max) {
        cli_fail(EXIT_USAGE, "%s; usage: drax-cli %s%s%s",
                 few ? "an argument is missing" : "too many arguments", cli->command->name,
                 cli->command->usage[0] ? " " : "", cli->command->usage);
        return PARSE_BAD;
    }
    return PARSE_ON;
}

static parse_t output_take(cli_t *cli, const char *name) {
    static const char *const names[] = {"plain", "json", "table"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        cli->output = (output_t) i;
        return PARSE_ON;
    }
    cli_fail(EXIT_USAGE, "-o must be plain, json or table, not '%s'", name);
    return PARSE_BAD;
}

static parse_t flag_take(cli_t *cli, size_t at) {
    const flag_t *flag = &cli->command->flags[at];
    bool ok = true;
    if (flag->kind == FLAG_NUMBER)
        ok = format_number_parse(optarg, &cli->number[at]);
    else if (flag->kind == FLAG_DURATION)
        ok = format_duration_parse(optarg, &cli->number[at]) && cli->number[at] > 0;
    else if (flag->kind == FLAG_WAIT)
        ok = format_duration_parse(optarg, &cli->number[at]);
    cli->given[at] = true;
    if (ok)
        return PARSE_ON;
    cli_fail(EXIT_USAGE, "--%s needs a %s, not '%s'", flag->name,
             flag->kind == FLAG_NUMBER ? "number" : "duration such as 500ms, 5s, 1m or 1h", optarg);
    return PARSE_BAD;
}

static parse_t option_take(cli_t *cli, int option, char *const *argv) {
    if (option >= OPTION_FLAG)
        return flag_take(cli, (size_t) (option - OPTION_FLAG));
    switch (option) {
    case OPTION_ENDPOINTS:
        cli->endpoints = optarg;
        return PARSE_ON;
    case OPTION_TIMEOUT:
        cli->timeout_given = true;
        if (format_duration_parse(optarg, &cli->timeout_ms) && cli->timeout_ms > 0)
            return PARSE_ON;
        cli_fail(EXIT_USAGE, "--timeout needs a duration such as 500ms, 5s or 1m, not '%s'",
                 optarg);
        return PARSE_BAD;
    case 'o':
        return output_take(cli, optarg);
    case 'h':
        return PARSE_HELP;
    case OPTION_VERSION:
        return PARSE_VERSION;
    case ':':
        cli_fail(EXIT_USAGE, "'%s' needs a value", argv[optind - 1]);
        return PARSE_BAD;
    default:
        if (optopt > 0 && optopt < OPTION_ENDPOINTS)
            cli_fail(EXIT_USAGE, "unknown flag '-%c'; arguments that begin with - go after --",
                     optopt);
        else
            cli_fail(EXIT_USAGE, "unknown flag '%s'; arguments that begin with - go after --",
                     argv[optind - 1]);
        return PARSE_BAD;
    }
}

/* The command named by the two words, else by the first alone; NULL when there is none. */
static const command_t *command_find(const char *first, const char *second, bool *two_words) {
    const command_t *found = NULL;
    size_t size = strlen(first);
    *two_words = false;
    for (size_t i = 0; i < GROUP_COUNT; i++)
        for (const command_t *command = groups[i]; command->name; command++) {
            if (strcmp(command->name, first) == 0 && !found)
                found = command;
            if (strncmp(command->name, first, size) == 0 && command->name[size] == ' ' &&
                strcmp(command->name + size + 1, second) == 0) {
                *two_words = true;
                return command;
            }
        }
    return found;
}

/* All commands of two words that begin with `first`; false when there is none. */
static bool family_print(const char *first, FILE *out) {
    size_t size = strlen(first);
    bool any = false;
    for (size_t i = 0; i < GROUP_COUNT; i++)
        for (const command_t *command = groups[i]; command->name; command++) {
            if (strncmp(command->name, first, size) != 0 || command->name[size] != ' ')
                continue;
            any = true;
            if (out)
                fprintf(out, "drax-cli %s%s%s\n    %s.\n", command->name,
                        command->usage[0] ? " " : "", command->usage, command->summary);
        }
    return any;
}

static int command_unknown(const char *first) {
    if (family_print(first, NULL))
        return cli_fail(EXIT_USAGE, "'%s' needs a second word; see drax-cli help %s", first, first);
    return cli_fail(EXIT_USAGE, "unknown command '%s'; see drax-cli --help", first);
}

static int help_print(const char *first, const char *second) {
    bool two_words;
    if (first) {
        const command_t *command = command_find(first, second ? second : "", &two_words);
        if (command)
            command_help_print(command);
        else if (second || !family_print(first, stdout))
            return command_unknown(first);
        return EXIT_OK;
    }
    printf("Usage: drax-cli [--endpoints HOST:PORT[,...]] [--timeout 5s] [-o plain|json|table] "
           "COMMAND ...\n\nTalks to a Drax cluster.\n\nCommands:\n");
    for (size_t i = 0; i < GROUP_COUNT; i++)
        for (const command_t *command = groups[i]; command->name; command++) {
            int width = printf("  %s %s", command->name, command->usage);
            printf("%*s%s\n", width < 40 ? 40 - width : 2, "", command->summary);
        }
    printf("  help [COMMAND]%*sthis text, or that of a command\n"
           "\nFlags, before or after the command's own arguments:\n"
           "  --endpoints HOST:PORT[,...]   nodes to ask; one that does not answer is skipped\n"
           "                                (default: DRAX_ENDPOINTS, then 127.0.0.1:2380)\n"
           "  --timeout DURATION            how long to try: 500ms, 5s, 1m, 1h (default 5s)\n"
           "  -o, --output FORMAT           plain, json or table (default plain)\n"
           "  -h, --help                    this text, or that of the command\n"
           "  --version                     the version\n"
           "  --                            ends the flags: what follows are arguments\n"
           "\nExit codes: 0 ok; 1 not found or comparison failed; 64 usage; 69 unavailable;\n"
           "71 no memory or sockets; 74 file or output error; 75 timed out, outcome unknown;\n"
           "76 answer not understood; 77 denied; 78 configuration.\n",
           24, "");
    return EXIT_OK;
}

static void command_help_print(const command_t *command) {
    printf("Usage: drax-cli %s%s%s\n\n%s.\n", command->name, command->usage[0] ? " " : "",
           command->usage, command->summary);
    if (command->help[0])
        printf("\n%s", command->help);
    printf("\nSee drax-cli --help for the flags of all commands.\n");
}

static int client_open(cli_t *cli) {
    const char *environment = getenv("DRAX_ENDPOINTS");
    bool configured = !cli->endpoints && environment && environment[0];
    const char *endpoints = configured ? environment : cli->endpoints;
    cli->endpoints = endpoints;
    int error = drax_new(&cli->drax, endpoints);
    if (error == DRAX_ERR_USAGE)
        return cli_fail(configured ? EXIT_CONFIG : EXIT_USAGE,
                        "%s must be HOST:PORT[,...], not '%s'",
                        configured ? "DRAX_ENDPOINTS" : "--endpoints", endpoints);
    if (error != 0)
        return cli_fail(cli_error_exit(error), "%s", drax_error_text(error));
    return EXIT_OK;
}

const command_t *cli_command(size_t at) {
    for (size_t i = 0; i < GROUP_COUNT; i++)
        for (const command_t *command = groups[i]; command->name; command++)
            if (at-- == 0)
                return command;
    return NULL;
}

/* A closed standard descriptor would go to the next socket, and what is printed into it. Opened the
 * wrong way round, printing fails as it should. */
static void descriptors_hold(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
            return;
}

/* What could not be printed makes the command fail. */
static int output_close(int code) {
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) == 0 && !failed)
        return code;
    return cli_fail(EXIT_IO, "cannot write to standard output%s%s", errno ? ": " : "",
                    errno ? strerror(errno) : "");
}

int cli_fail(int code, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fputs("drax-cli: ", stderr);
    for (const char *at = text; *at; at++) {
        if (iscntrl((unsigned char) *at))
            fprintf(stderr, "\\x%02x", (unsigned char) *at);
        else
            fputc(*at, stderr);
    }
    fputc('\n', stderr);
    return code;
}

int cli_error_exit(int error) {
    switch (error) {
    case 0:
        return EXIT_OK;
    case DRAX_ERR_NO_MEMORY:
    case DRAX_ERR_SYSTEM:
        return EXIT_SYSTEM;
    case DRAX_ERR_USAGE:
    case DRAX_ERR_INVALID_ARGUMENT:
    case DRAX_ERR_TOO_LARGE:
        return EXIT_USAGE;
    case DRAX_ERR_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    case DRAX_ERR_TIMEOUT:
        return EXIT_TIMEOUT;
    case DRAX_ERR_PERMISSION_DENIED:
        return EXIT_DENIED;
    case DRAX_ERR_KEY_NOT_FOUND:
    case DRAX_ERR_KEY_EXISTS:
    case DRAX_ERR_KEY_MODIFIED:
    case DRAX_ERR_PREVIOUS_NOT_SPECIFIED:
    case DRAX_ERR_CANNOT_LOCK:
    case DRAX_ERR_LOCK_LOST:
    case DRAX_ERR_LEASE_NOT_FOUND:
    case DRAX_ERR_COMPACTED:
        return EXIT_NOT;
    default:
        return EXIT_PROTOCOL;
    }
}

int cli_call_fail(cli_t *cli, int error) {
    char detail[256];
    drax_error_detail(cli->drax, detail, sizeof detail);
    return cli_fail(cli_error_exit(error), "%s: %s", drax_error_name(error),
                    detail[0] ? detail : drax_error_text(error));
}

const char *cli_argument(const cli_t *cli, size_t at, size_t *size) {
    *size = strlen(cli->arguments[at]);
    return cli->arguments[at];
}

bool cli_id(const cli_t *cli, size_t at, uint64_t *out) {
    if (format_number_parse(cli->arguments[at], out) && *out > 0)
        return true;
    cli_fail(EXIT_USAGE, "'%s' is not the id of a member", cli->arguments[at]);
    return false;
}

int cli_json_print(const drax_result_t *result) {
    if (json_line_print(stdout, json_from_field(drax_result_map(result))))
        return EXIT_OK;
    return cli_fail(EXIT_SYSTEM, "out of memory");
}

drax_options_t *cli_options(void) {
    drax_options_t *options = drax_options_new();
    if (!options)
        cli_fail(EXIT_SYSTEM, "out of memory");
    return options;
}
