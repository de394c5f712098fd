/* config_file.c: the configuration file, in ZPL (ZeroMQ RFC 4) without sections:
 *
 *   file    = *( line newline )
 *   line    = [ name [ "=" value ] ] [ comment ]
 *   name    = "home" / "addr" / … (the flags without their dashes)
 *   value   = quoted / text without "#", white space at both ends left out
 *   quoted  = "'" text "'" / """ text """
 *   comment = "#" text
 *
 * Reads it itself instead of through czmq's zconfig, which takes the same language: zconfig reads
 * out of bounds where a line exceeds 1024 bytes, does not say which line is at fault, and prints to
 * standard output. A test compares the two on files that both accept.
 */
#include "broker/config_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/error.h"
#include "broker/log.h"

#define SPACES " \t\r\v\f"

typedef struct {
    loading_t *loading;
    const char *path; /* escaped, for detail lines */
    unsigned line;
    bool seen[SETTING_COUNT];
} reader_t;

static int text_load(loading_t *loading, const char *path, const char *shown, char **out);
static int line_read(reader_t *self, char *line);
static int value_cut(char *text, char **out);
static int file_fail(reader_t *self, const char *problem, const char *name);

int file_read(loading_t *self, const char *path) {
    char shown[LIMIT_PATH_BYTES];
    log_escape(shown, sizeof shown, path, strlen(path));
    char *text = NULL;
    int rc = text_load(self, path, shown, &text);
    reader_t reader = {.loading = self, .path = shown};
    char *rest = text;
    while (!rc && rest) {
        char *line = strsep(&rest, "\n");
        reader.line++;
        rc = line_read(&reader, line);
    }
    free(text);
    return rc;
}

/* The whole file, NUL-terminated, in `*out`, which the caller frees also after a failure. */
static int text_load(loading_t *loading, const char *path, const char *shown, char **out) {
    struct stat status;
    /* Non-blocking: opening a pipe must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return loading_fail(loading, DRAX_ECONFIG, "%s: cannot be read: %s", shown,
                            strerror(errno));
    const char *problem = NULL;
    size_t size = 0;
    char *text = *out = malloc(LIMIT_CONFIG_BYTES + 1);
    if (!text)
        problem = "out of memory";
    else if (fstat(fd, &status) != 0)
        problem = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        problem = "not a regular file";
    while (!problem && size <= LIMIT_CONFIG_BYTES) {
        ssize_t got = read(fd, text + size, LIMIT_CONFIG_BYTES + 1 - size);
        if (got == 0)
            break;
        if (got > 0)
            size += (size_t) got;
        else if (errno != EINTR)
            problem = strerror(errno);
    }
    (void) close(fd); /* it was only read */
    if (!problem && size > LIMIT_CONFIG_BYTES)
        problem = "too large";
    if (!problem && memchr(text, '\0', size))
        problem = "not a text file";
    if (problem)
        return loading_fail(loading, DRAX_ECONFIG, "%s: cannot be read: %s", shown, problem);
    text[size] = '\0';
    return 0;
}

static int line_read(reader_t *self, char *line) {
    char *name = line + strspn(line, SPACES);
    if (*name == '\0' || *name == '#')
        return 0;
    if (name != line)
        return file_fail(self, "is indented; there are no sections", NULL);
    size_t name_size = strcspn(name, SPACES "=#");
    char *rest = name + name_size + strspn(name + name_size, SPACES);
    char *value = rest; /* empty when there is nothing but a name */
    if (*rest == '=') {
        if (value_cut(rest + 1, &value))
            return file_fail(self, "has a quote without its pair, or text after it", NULL);
    } else if (*rest == '#' || *rest == '\0') {
        *rest = '\0';
    } else {
        return file_fail(self, "is not NAME = VALUE", NULL);
    }
    name[name_size] = '\0';

    int setting = setting_find(name);
    if (setting < 0)
        return file_fail(self, "has an unknown name", name);
    if (self->seen[setting] && setting != SETTING_PEER)
        return file_fail(self, "sets again what is set above", name);
    self->seen[setting] = true;
    char where[LIMIT_PATH_BYTES + 64];
    snprintf(where, sizeof where, "%s:%u: %s", self->path, self->line, name);
    return setting_store(self->loading, (setting_t) setting, ORIGIN_FILE, where, value);
}

/* Cuts the value out of what follows the "=". */
static int value_cut(char *text, char **out) {
    text += strspn(text, SPACES);
    if (*text == '"' || *text == '\'') {
        char *end = strchr(text + 1, *text);
        if (!end)
            return DRAX_EINVAL;
        *end++ = '\0';
        *out = text + 1;
        end += strspn(end, SPACES);
        return *end == '\0' || *end == '#' ? 0 : DRAX_EINVAL;
    }
    size_t size = strcspn(text, "#");
    while (size > 0 && strchr(SPACES, text[size - 1]))
        size--;
    text[size] = '\0';
    *out = text;
    return 0;
}

static int file_fail(reader_t *self, const char *problem, const char *name) {
    char shown[96] = "";
    if (name)
        log_escape(shown, sizeof shown, name, strlen(name));
    return loading_fail(self->loading, DRAX_ECONFIG, "%s:%u: the line %s%s%s%s", self->path,
                        self->line, problem, name ? ": '" : "", shown, name ? "'" : "");
}
