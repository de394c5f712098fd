/* follow.h: a command that prints what comes until it is interrupted. */
#ifndef DRAX_CLI_FOLLOW_H
#define DRAX_CLI_FOLLOW_H

#include <stdbool.h>

#include "cli/cli.h"

typedef struct follow {
    cli_t *cli;
    int interrupt_fd;
    bool answered; /* the cli's timeout holds until then */
    bool done;
    int code; /* the exit code */
} follow_t;

/* False, with the code set and told, when there is no descriptor left. */
bool follow_open(follow_t *self, cli_t *cli);
/* Makes the client's callbacks until one of them, the timeout, an error or a signal ends it. */
void follow_run(follow_t *self);
void follow_close(follow_t *self);

/* For the callbacks: ends it with `code`. */
void follow_end(follow_t *self, int code);
/* Something was printed: it is flushed. `made` false: there was no memory for it. */
void follow_printed(follow_t *self, bool made);

#endif
