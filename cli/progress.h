/* progress.h: how far an import or export is, on standard error.
 *
 * On a terminal one line is redrawn; elsewhere, and only when asked for, a line is printed every
 * second. */
#ifndef DRAX_CLI_PROGRESS_H
#define DRAX_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *verb; /* "imported" */
    bool terminal, lines;
    uint64_t start_ms, shown_ms;
    uint64_t total; /* of what `done` counts; 0: unknown */
    bool drawn;     /* the terminal's line holds a bar */
} progress_t;

/* `asked`: the user wants it even without a terminal. `verb` is static. */
void progress_begin(progress_t *self, const char *verb, uint64_t total, bool asked);

/* Shows `keys` so far, and how much of the total is `done`, unless it did so just now. */
void progress_show(progress_t *self, uint64_t keys, uint64_t done);

/* Wipes the bar away, so that something else can be printed. */
void progress_wipe(progress_t *self);

/* Prints the summary: "imported N keys in S s". */
void progress_end(progress_t *self, uint64_t keys);

#endif
