/* cli.h: what the commands of drax-cli share: the parsed command line, failing, printing.
 *
 * drax-cli sees include/ only: whatever it can do, any program that links libdrax can do.
 *
 * A command is one line in the table of its file (see commands_kv and its like) and one function,
 * which returns the exit code.
 */
#ifndef DRAX_CLI_CLI_H
#define DRAX_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drax.h"

/* Exit codes: the contract's, and the values of sysexits.h for what it does not name. */
enum {
    EXIT_OK = 0,
    EXIT_NOT = 1,    /* not found, or a comparison failed */
    EXIT_USAGE = 64, /* bad command line, or bad input data */
    EXIT_UNAVAILABLE = 69,
    EXIT_SYSTEM = 71,   /* out of memory, sockets, descriptors */
    EXIT_IO = 74,       /* a file or standard output cannot be read or written */
    EXIT_TIMEOUT = 75,  /* outcome unknown */
    EXIT_PROTOCOL = 76, /* the server's answer is not understood */
    EXIT_DENIED = 77,
    EXIT_CONFIG = 78
};

typedef enum { OUTPUT_PLAIN, OUTPUT_JSON, OUTPUT_TABLE } output_t;

/* A FLAG_WAIT is a duration that may be 0. */
typedef enum { FLAG_SWITCH, FLAG_NUMBER, FLAG_DURATION, FLAG_WAIT } flag_kind_t;

#define CLI_FLAGS 16

typedef struct flag {
    const char *name; /* without the dashes; NULL ends a command's flags */
    flag_kind_t kind;
} flag_t;

typedef struct cli cli_t;

typedef struct command {
    const char *name;    /* one word or two */
    const char *usage;   /* what follows the name */
    const char *summary; /* one line */
    const char *help;    /* more lines, each ended by a newline; "" for none */
    size_t min, max;     /* positional arguments */
    flag_t flags[CLI_FLAGS];
    int (*run)(cli_t *cli);
} command_t;

struct cli {
    drax_t *drax;
    const char *endpoints; /* as given or from the environment; NULL: the default */
    uint64_t timeout_ms;
    bool timeout_given;
    output_t output;
    bool inside; /* a shell, whose client this is */
    const command_t *command;
    /* Of the command: */
    const char **arguments;
    size_t argument_count;
    bool given[CLI_FLAGS];
    uint64_t number[CLI_FLAGS]; /* a FLAG_NUMBER's, or milliseconds */
};

/* Each ends with an entry whose name is NULL. */
extern const command_t commands_kv[];
extern const command_t commands_watch[];
extern const command_t commands_lock[];
extern const command_t commands_lease[];
extern const command_t commands_txn[];
extern const command_t commands_cluster[];
extern const command_t commands_transfer[]; /* import, export */
extern const command_t commands_snapshot[];
extern const command_t commands_bench[];
extern const command_t commands_shell[];

/* The command `at`, counted from 0 over all; NULL beyond the last. */
const command_t *cli_command(size_t at);

/* Finds the command that argv begins with, reads its flags and arguments, connects, and runs it.
 * Gives the exit code. */
int cli_run(cli_t *cli, int argc, char **argv);

/* Prints `drax-cli: …` and gives `code` back. Control characters become \xHH, so it stays one line.
 */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints what made a call fail and gives the exit code for it. */
int cli_call_fail(cli_t *cli, int error);
int cli_error_exit(int error); /* that exit code */

/* elect --observe of the election at argument 0 (cmd_observe.c). */
int cli_observe(cli_t *cli);

/* Argument `at` of the command, and its size. */
const char *cli_argument(const cli_t *cli, size_t at, size_t *size);

/* A member id from argument `at`; false after saying what is wrong. */
bool cli_id(const cli_t *cli, size_t at, uint64_t *out);

/* Prints the whole result map as one line of JSON. */
int cli_json_print(const drax_result_t *result);

/* Empty options, to be ended by the caller; NULL after saying why. */
drax_options_t *cli_options(void);

#endif
