#include "cli/words.h"

#include <stdlib.h>
#include <string.h>

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Reads what is quoted, `at` being after the opening quote; NULL: it does not end. */
static const char *quoted_take(const char *at, char quote, char *out, size_t *size) {
    for (; *at && *at != quote; at++) {
        bool escape = quote == '"' && *at == '\\' && (at[1] == '"' || at[1] == '\\');
        at += escape;
        out[(*size)++] = *at;
    }
    return *at ? at + 1 : NULL;
}

/* Reads one word into `out`, which has room for the rest of the line; NULL: it is not complete. */
static const char *word_take(const char *at, char *out) {
    size_t size = 0;
    while (at && *at && !blank(*at)) {
        if (*at == '\'' || *at == '"') {
            at = quoted_take(at + 1, *at, out, &size);
        } else if (*at == '\\') {
            at = at[1] ? at + 1 : NULL;
            if (at)
                out[size++] = *at++;
        } else {
            out[size++] = *at++;
        }
    }
    out[size] = '\0';
    return at;
}

static bool word_add(words_t *self, const char *word) {
    char **list = realloc(self->list, (self->count + 2) * sizeof *list);
    if (!list)
        return false;
    self->list = list;
    list[self->count] = strdup(word);
    if (!list[self->count])
        return false;
    list[++self->count] = NULL;
    return true;
}

words_result_t words_split(words_t *out, const char *line) {
    *out = (words_t){NULL, 0};
    words_result_t result = WORDS_OK;
    char *word = malloc(strlen(line) + 1);
    if (!word)
        return WORDS_NO_MEMORY;
    while (result == WORDS_OK) {
        while (blank(*line))
            line++;
        if (*line == '\0' || *line == '#')
            break;
        line = word_take(line, word);
        if (!line)
            result = WORDS_OPEN;
        else if (!word_add(out, word))
            result = WORDS_NO_MEMORY;
    }
    free(word);
    if (result != WORDS_OK)
        words_free(out);
    return result;
}

void words_free(words_t *self) {
    for (size_t i = 0; i < self->count; i++)
        free(self->list[i]);
    free(self->list);
    *self = (words_t){NULL, 0};
}
