/* format.c: numbers, durations, escapes, base64 and tables. */
#include "cli/format.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Bytes of the UTF-8 sequence at the front of `at`, 0 when it is not well-formed: overlong forms,
 * surrogates and what lies beyond U+10FFFF included (Unicode, table 3-7). */
static size_t utf8_step(const uint8_t *at, size_t left) {
    uint8_t first = at[0];
    if (first < 0x80)
        return 1;
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > left)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Reads digits at *text; false when there is none, or they exceed FORMAT_NUMBER_MAX. */
static bool digits_read(const char **text, uint64_t *out) {
    const char *at = *text;
    *out = 0;
    for (; is_digit(*at); at++) {
        *out = *out * 10 + (uint64_t) (*at - '0');
        if (*out > FORMAT_NUMBER_MAX)
            return false;
    }
    bool any = at != *text;
    *text = at;
    return any;
}

bool format_number_parse(const char *text, uint64_t *out) {
    return digits_read(&text, out) && *text == '\0';
}

static uint64_t unit_ms(const char *unit) {
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"h", 3600000}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(unit, units[i].name) == 0)
            return units[i].ms;
    return 0;
}

bool format_duration_parse(const char *text, uint64_t *out_ms) {
    uint64_t whole, fraction = 0, scale = 1;
    if (!digits_read(&text, &whole))
        return false;
    if (*text == '.') {
        if (!is_digit(*++text))
            return false;
        for (; is_digit(*text); text++) {
            /* More than nine digits are below a millisecond for every unit. */
            if (scale == 1000000000)
                continue;
            fraction = fraction * 10 + (uint64_t) (*text - '0');
            scale *= 10;
        }
    }
    uint64_t unit = unit_ms(text);
    if (unit == 0 || whole > FORMAT_NUMBER_MAX / unit - 1)
        return false;
    *out_ms = whole * unit + fraction * unit / scale;
    return true;
}

void format_escaped(FILE *out, const void *data, size_t size) {
    const uint8_t *bytes = data;
    for (size_t at = 0; at < size;) {
        size_t step = utf8_step(bytes + at, size - at);
        if (step == 0)
            fprintf(out, "\\x%02x", bytes[at++]);
        else if (step == 1 && bytes[at] == '\t')
            fputs("\\t", out);
        else if (step == 1 && bytes[at] == '\n')
            fputs("\\n", out);
        else if (step == 1 && bytes[at] == '\\')
            fputs("\\\\", out);
        else
            fwrite(bytes + at, 1, step, out);
        at += step;
    }
}

char *format_escaped_new(const void *data, size_t size) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return NULL;
    const char *bytes = data;
    for (const char *nul; size && (nul = memchr(bytes, 0, size)) != NULL; bytes = nul + 1) {
        format_escaped(out, bytes, (size_t) (nul - bytes));
        fputs("\\x00", out);
        size -= (size_t) (nul + 1 - bytes);
    }
    format_escaped(out, bytes, size);
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return text;
    free(text);
    return NULL;
}

char *format_base64_encode(const void *data, size_t size) {
    const uint8_t *bytes = data;
    if (size > SIZE_MAX / 2)
        return NULL;
    char *text = malloc((size + 2) / 3 * 4 + 1);
    if (!text)
        return NULL;
    char *to = text;
    for (size_t at = 0; at < size; at += 3) {
        size_t left = size - at;
        uint32_t group = (uint32_t) bytes[at] << 16;
        group |= left > 1 ? (uint32_t) bytes[at + 1] << 8 : 0;
        group |= left > 2 ? bytes[at + 2] : 0;
        *to++ = base64_digits[group >> 18];
        *to++ = base64_digits[group >> 12 & 63];
        *to++ = left > 1 ? base64_digits[group >> 6 & 63] : '=';
        *to++ = left > 2 ? base64_digits[group & 63] : '=';
    }
    *to = '\0';
    return text;
}

static int base64_value(char c) {
    const char *digit = c ? strchr(base64_digits, c) : NULL;
    return digit ? (int) (digit - base64_digits) : -1;
}

void *format_base64_decode(const char *text, size_t size, size_t *out_size) {
    if (size % 4 != 0)
        return NULL;
    size_t padding = 0;
    while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
        padding++;
    uint8_t *bytes = malloc(size / 4 * 3 + 1);
    if (!bytes)
        return NULL;
    uint32_t group = 0;
    size_t to = 0;
    for (size_t at = 0; at < size; at++) {
        int value = at >= size - padding ? 0 : base64_value(text[at]);
        if (value < 0) {
            free(bytes);
            return NULL;
        }
        group = group << 6 | (uint32_t) value;
        if (at % 4 != 3)
            continue;
        bytes[to++] = (uint8_t) (group >> 16);
        bytes[to++] = (uint8_t) (group >> 8);
        bytes[to++] = (uint8_t) group;
    }
    to -= padding;
    /* The bits under the padding must be 0, so that each value has one spelling. */
    if (padding >= 1 && bytes[to] != 0) {
        free(bytes);
        return NULL;
    }
    *out_size = to;
    return bytes;
}

void table_begin(table_t *self, size_t columns) {
    assert(columns > 0);
    *self = (table_t){.columns = columns};
}

/* Takes `text` over. */
static void table_add(table_t *self, char *text) {
    if (text && self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : 64;
        char **cells = realloc(self->cells, capacity * sizeof *cells);
        if (cells) {
            self->cells = cells;
            self->capacity = capacity;
        }
    }
    if (!text || self->count == self->capacity) {
        self->failed = true;
        free(text);
        return;
    }
    self->cells[self->count++] = text;
}

void table_text(table_t *self, const char *text) {
    table_add(self, strdup(text));
}

void table_number(table_t *self, uint64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    table_text(self, text);
}

void table_bytes(table_t *self, const void *data, size_t size) {
    table_add(self, format_escaped_new(data, size));
}

/* Characters, taking each code point for one. */
static size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char) *text & 0xc0) != 0x80;
    return width;
}

static size_t column_width(const table_t *self, size_t column) {
    size_t widest = 0;
    for (size_t at = column; at < self->count; at += self->columns) {
        size_t width = text_width(self->cells[at]);
        if (width > widest)
            widest = width;
    }
    return widest;
}

bool table_print(const table_t *self, FILE *out) {
    size_t *widths = self->failed ? NULL : calloc(self->columns, sizeof *widths);
    if (!widths)
        return false;
    for (size_t i = 0; i < self->columns; i++)
        widths[i] = column_width(self, i);
    for (size_t at = 0; at < self->count; at++) {
        bool last = at % self->columns == self->columns - 1;
        fputs(self->cells[at], out);
        if (last)
            fputc('\n', out);
        else
            fprintf(out, "%*s",
                    (int) (widths[at % self->columns] - text_width(self->cells[at]) + 2), "");
    }
    free(widths);
    return true;
}

void table_end(table_t *self) {
    for (size_t i = 0; i < self->count; i++)
        free(self->cells[i]);
    free(self->cells);
    *self = (table_t){.columns = self->columns};
}
