#include "text_msgpack.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *value_pack(buffer_t *out, const char *at);

static const char *space_skip(const char *at) {
    while (*at == ' ' || *at == '\n')
        at++;
    return at;
}

static const char *list_pack(buffer_t *out, const char *at, char last) {
    buffer_t items = {0};
    size_t count = 0;
    at = space_skip(at + 1);
    while (*at != last) {
        at = value_pack(&items, at);
        count++;
        if (last == '}') {
            assert(*at == ':');
            at = value_pack(&items, at + 1);
        }
        assert(*at == ',' || *at == last);
        if (*at == ',')
            at = space_skip(at + 1);
    }
    if (last == '}')
        pack_map(out, count);
    else
        pack_array(out, count);
    buffer_append(out, items.data, items.size);
    buffer_free(&items);
    return at + 1;
}

static void str_pack(buffer_t *out, const uint8_t *data, size_t size) {
    char head[5] = {(char) 0xdb, (char) (size >> 24), (char) (size >> 16), (char) (size >> 8),
                    (char) size};
    if (size < 32) {
        head[0] = (char) (0xa0 | size);
        buffer_append(out, head, 1);
    } else {
        buffer_append(out, head, sizeof head);
    }
    buffer_append(out, data, size);
}

static const char *string_pack(buffer_t *out, const char *at, bool bin) {
    buffer_t once = {0}, all = {0};
    for (at++; *at != '"'; at++) {
        unsigned byte = (unsigned char) *at;
        assert(byte != 0);
        if (byte == '\\') {
            int rc = sscanf(at, "\\x%2x", &byte);
            assert(rc == 1);
            (void) rc;
            at += 3;
        }
        buffer_append(&once, &(uint8_t){(uint8_t) byte}, 1);
    }
    at++;
    unsigned long times = 1;
    if (*at == '*') {
        char *end;
        times = strtoul(at + 1, &end, 10);
        at = end;
    }
    while (times-- > 0)
        buffer_append(&all, once.data, once.size);
    if (bin)
        pack_bin(out, all.data, all.size);
    else
        str_pack(out, all.data, all.size);
    buffer_free(&once);
    buffer_free(&all);
    return at;
}

static const char *number_pack(buffer_t *out, const char *at) {
    char *end;
    if (*at == '-')
        pack_int(out, strtoll(at, &end, 10));
    else
        pack_uint(out, strtoull(at, &end, 10));
    assert(end != at);
    if (*end != '.')
        return end;
    out->size--; /* a float: its value does not matter, its type does */
    buffer_append(out, "\xcb\x3f\xf0\0\0\0\0\0\0", 9);
    (void) strtod(at, &end);
    return end;
}

static const char *word_pack(buffer_t *out, const char *at) {
    static const struct {
        const char *word, *bytes;
        size_t size;
    } words[] = {
        {"nil", "\xc0", 1}, {"false", "\xc2", 1}, {"true", "\xc3", 1}, {"ext", "\xd4\x01\x02", 3}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t size = strlen(words[i].word);
        if (strncmp(at, words[i].word, size) == 0) {
            buffer_append(out, words[i].bytes, words[i].size);
            return at + size;
        }
    }
    return number_pack(out, at);
}

static const char *value_pack(buffer_t *out, const char *at) {
    at = space_skip(at);
    if (*at == '[')
        at = list_pack(out, at, ']');
    else if (*at == '{')
        at = list_pack(out, at, '}');
    else if (*at == '"')
        at = string_pack(out, at, false);
    else if (*at == 'b' && at[1] == '"')
        at = string_pack(out, at + 1, true);
    else
        at = word_pack(out, at);
    return space_skip(at);
}

void text_msgpack(buffer_t *out, const char *text) {
    for (text = space_skip(text); *text;)
        text = value_pack(out, text);
    assert(!out->failed);
}
