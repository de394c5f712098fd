/* format.h: the text that drax-cli reads and writes: numbers, durations, escapes, base64, tables.
 * Knows nothing of clients or results. */
#ifndef DRAX_CLI_FORMAT_H
#define DRAX_CLI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FORMAT_NUMBER_MAX ((1ull << 53) - 1) /* the protocol's largest integer */

/* A decimal number without sign, up to FORMAT_NUMBER_MAX, and nothing else. */
bool format_number_parse(const char *text, uint64_t *out);

/* A duration in milliseconds: a decimal number, perhaps with a fraction, and ms, s, m or h; without
 * a unit, seconds. Up to FORMAT_NUMBER_MAX; a fraction of a millisecond is dropped. */
bool format_duration_parse(const char *text, uint64_t *out_ms);

/* Bytes as they stand in lines with tabs: \t, \n, \\, and \xHH for a byte that is not part of
 * well-formed UTF-8. Write errors stay in `out`, for ferror(). */
void format_escaped(FILE *out, const void *data, size_t size);
/* The same in memory, ended by NUL, with a NUL within it as \x00. NULL: out of memory. The caller
 * frees it. */
char *format_escaped_new(const void *data, size_t size);

/* Base64 (RFC 4648, with padding). NULL: out of memory, or not base64. The caller frees the result,
 * which for encoding ends in NUL. */
char *format_base64_encode(const void *data, size_t size);
void *format_base64_decode(const char *text, size_t size, size_t *out_size);

/* A table: cells row by row, printed in aligned columns, the first row as given. */
typedef struct table {
    size_t columns;
    char **cells; /* owned, as are the texts */
    size_t count, capacity;
    bool failed; /* out of memory; nothing will be printed */
} table_t;

void table_begin(table_t *self, size_t columns);
void table_text(table_t *self, const char *text);
void table_number(table_t *self, uint64_t number);
/* Escaped, so that a cell is one line. */
void table_bytes(table_t *self, const void *data, size_t size);
/* False when out of memory. Write errors stay in `out`. */
bool table_print(const table_t *self, FILE *out);
void table_end(table_t *self);

#endif
