/* words.h: a line taken apart as a shell does, without variables, patterns or substitutions. */
#ifndef DRAX_CLI_WORDS_H
#define DRAX_CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct words {
    char **list; /* each owned and ended by NUL; the list ends with NULL */
    size_t count;
} words_t;

typedef enum { WORDS_OK, WORDS_OPEN, WORDS_NO_MEMORY } words_result_t;

/* Words are separated by blanks. '...' is taken as it is; in "..." a backslash is special before "
 * and itself; elsewhere before any character. A word that begins with # begins a comment. OPEN: a
 * quote or backslash at the end is not complete. `out` is to be ended by words_free only after OK.
 */
words_result_t words_split(words_t *out, const char *line);
void words_free(words_t *self);

#endif
