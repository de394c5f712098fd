/* cmd_shell.c: one command after the other, over one client. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/edit.h"
#include "cli/words.h"

static int shell_run(cli_t *cli);

const command_t commands_shell[] = {
    {"shell",
     "",
     "Reads commands, with editing, history and completion of commands and keys",
     "Words are quoted as in a shell; # begins a comment. A quote that is open goes on in the next "
     "line.\n"
     "`exit` or the end of input ends it, with the exit code of the last command. The history is "
     "kept\n"
     "in DRAX_HISTORY or ~/.drax_history; an empty DRAX_HISTORY keeps none.\n",
     0,
     0,
     {{0}},
     shell_run},
    {0}};

/* Text to which lines are added until it is a whole command. */
typedef struct text {
    char *bytes;
    size_t size;
} text_t;

static bool text_add(text_t *self, const char *line) {
    size_t size = strlen(line);
    char *bytes = realloc(self->bytes, self->size + size + 1);
    if (!bytes)
        return false;
    memcpy(bytes + self->size, line, size + 1);
    self->bytes = bytes;
    self->size += size;
    return true;
}

/* What watch and lock did with signals holds no longer than they. */
static int command_run(const cli_t *shell, words_t *words) {
    cli_t cli = *shell;
    sigset_t mask;
    cli.inside = true;
    cli.argument_count = 0;
    cli.arguments = calloc(words->count + 1, sizeof *cli.arguments);
    memset(cli.given, 0, sizeof cli.given);
    memset(cli.number, 0, sizeof cli.number);
    if (!cli.arguments)
        return cli_fail(EXIT_SYSTEM, "out of memory");
    (void) sigprocmask(SIG_SETMASK, NULL, &mask);
    int code = cli_run(&cli, (int) words->count, words->list);
    (void) fflush(stdout);
    (void) sigprocmask(SIG_SETMASK, &mask, NULL);
    free(cli.arguments);
    return code;
}

/* Reads one whole command; false at the end. */
static bool command_read(edit_t *edit, text_t *text, words_t *words, int *code) {
    text->size = 0;
    const char *line = edit_line(edit, false);
    for (; line; line = edit_line(edit, true)) {
        words_result_t result =
            text_add(text, line) ? words_split(words, text->bytes) : WORDS_NO_MEMORY;
        if (result == WORDS_OK)
            return true;
        if (result == WORDS_NO_MEMORY) {
            *code = cli_fail(EXIT_SYSTEM, "out of memory");
            return false;
        }
    }
    if (text->size > 0)
        *code = cli_fail(EXIT_USAGE, "a quote is not closed");
    return false;
}

static int shell_run(cli_t *cli) {
    if (cli->inside)
        return cli_fail(EXIT_USAGE, "this is a shell already");
    edit_t *edit = edit_new(cli);
    if (!edit)
        return cli_fail(EXIT_SYSTEM, "out of memory");
    if (isatty(STDIN_FILENO))
        (void) signal(SIGINT, SIG_IGN); /* ends watch and lock, which read it; not the shell */
    text_t text = {NULL, 0};
    words_t words;
    int code = EXIT_OK;
    bool on = true;
    while (on && command_read(edit, &text, &words, &code)) {
        on = words.count == 0 ||
             (strcmp(words.list[0], "exit") != 0 && strcmp(words.list[0], "quit") != 0);
        if (on && words.count > 0) {
            edit_remember(edit, text.bytes);
            code = command_run(cli, &words);
        }
        words_free(&words);
    }
    free(text.bytes);
    edit_destroy(&edit);
    return code;
}
