/* edit.h: lines from a terminal, with editing, history and completion (libedit); from anything else
 * as they come. */
#ifndef DRAX_CLI_EDIT_H
#define DRAX_CLI_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"

typedef struct edit edit_t;

/* `cli` is borrowed: keys are completed from its store. NULL: out of memory. */
edit_t *edit_new(cli_t *cli);
/* Keeps the history, if there is a file for it. */
void edit_destroy(edit_t **self);

/* The next line, borrowed until the next call; NULL: the end. `more`: it goes on a line that was
 * not complete. */
const char *edit_line(edit_t *self, bool more);
/* Remembers a whole command. */
void edit_remember(edit_t *self, const char *command);

#endif
