/* log.c: one event, one line, one write.
 *
 * Invariants
 *   1. A line never holds a control character except the newline that ends it, whatever was
 * formatted into it: nothing that a peer or client sent can forge a second line or drive a
 * terminal.
 *   2. A line is at most LIMIT_LOG_LINE_BYTES long, newline included. That is PIPE_BUF on Linux, so
 *      the lines of the processes that share one pipe never mix.
 *   3. errno is as it was before.
 */
#include "broker/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/limits.h"

_Static_assert(LIMIT_LOG_LINE_BYTES <= PIPE_BUF, "a longer line could be torn by another process");

static const char *const level_names[] = {"error", "warning", "info", "debug"};

static void log_text_clean(char *out, size_t out_size, const char *text);
static size_t log_line_format(char *out, size_t out_size, const log_t *self, log_level_t level,
                              const char *text);
static void log_line_write(int fd, const char *line, size_t size);

void log_write(const log_t *self, log_level_t level, const char *format, ...) {
    if (level > self->level)
        return;
    int saved_errno = errno;
    char raw[LIMIT_LOG_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(raw, sizeof raw, format, arguments) < 0)
        snprintf(raw, sizeof raw, "log line could not be formatted");
    va_end(arguments);

    char text[LIMIT_LOG_LINE_BYTES];
    log_text_clean(text, sizeof text, raw);
    if (self->sink) {
        self->sink(self->hint, level, self->actor, text);
    } else {
        char line[LIMIT_LOG_LINE_BYTES];
        log_line_write(STDERR_FILENO, line, log_line_format(line, sizeof line, self, level, text));
    }
    errno = saved_errno;
}

char *log_escape(char *out, size_t out_size, const void *data, size_t size) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;
    size_t length = 0;
    for (size_t i = 0; i < size && out_size > 0; i++) {
        /* A backslash is escaped too, so that the text can be turned back into the bytes. */
        bool plain = bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '\\';
        if (length + (plain ? 1 : 4) >= out_size)
            break;
        if (plain) {
            out[length++] = (char) bytes[i];
        } else {
            out[length++] = '\\';
            out[length++] = 'x';
            out[length++] = digits[bytes[i] >> 4];
            out[length++] = digits[bytes[i] & 0x0f];
        }
    }
    if (out_size > 0)
        out[length] = '\0';
    return out;
}

int log_level_parse(const char *text) {
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
        if (strcmp(text, level_names[level]) == 0)
            return level;
    return -1;
}

const char *log_level_name(log_level_t level) {
    return level <= LOG_LEVEL_DEBUG ? level_names[level] : "unknown";
}

/* Control characters are escaped here, whether or not the caller did; bytes above ASCII stay, so
 * that paths in UTF-8 can be read. */
static void log_text_clean(char *out, size_t out_size, const char *text) {
    size_t length = 0;
    for (; *text; text++) {
        char escaped[5] = {*text, '\0'};
        if (*text == '\n')
            snprintf(escaped, sizeof escaped, "\\n");
        else if ((unsigned char) *text < 0x20 || *text == 0x7f)
            log_escape(escaped, sizeof escaped, text, 1);
        size_t size = strlen(escaped);
        if (length + size >= out_size)
            break;
        memcpy(out + length, escaped, size);
        length += size;
    }
    out[length] = '\0';
}

/* Returns the length of the line, which always ends in a newline and has no NUL. */
static size_t log_line_format(char *out, size_t out_size, const log_t *self, log_level_t level,
                              const char *text) {
    struct timespec now = {0};
    struct tm utc = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    int length =
        snprintf(out, out_size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s: %s", utc.tm_year + 1900,
                 utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                 (int) (now.tv_nsec / 1000000), log_level_name(level), self->actor, text);
    size_t size = length < 0 ? 0 : (size_t) length;
    if (size > out_size - 1)
        size = out_size - 1;
    out[size] = '\n';
    return size + 1;
}

/* One write in the usual case. When standard error is a full pipe that was made non-blocking, waits
 * a little for its reader and then gives the line up: an actor must not hang on its log. */
static void log_line_write(int fd, const char *line, size_t size) {
    int patience = 5;
    while (size > 0) {
        ssize_t written = write(fd, line, size);
        if (written >= 0) {
            line += written;
            size -= (size_t) written;
        } else if (errno == EAGAIN && patience-- > 0) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            (void) poll(&writable, 1, 20); /* whatever it says, the next write tells */
        } else if (errno != EINTR) {
            return; /* there is nowhere left to report it */
        }
    }
}
