/* log.h: structured log lines.
 *
 *   2026-11-23T08:11:02.123Z info raft: became leader term=7 last=1204
 *
 * One line an event: time (UTC), level, actor, sentence, then key=value pairs. Bytes that are not
 * printable ASCII, and what a peer or client sent, are escaped by the caller through log_escape;
 * control characters that slip through are escaped here. A line is cut at LIMIT_LOG_LINE_BYTES. A
 * log_t is passed to who needs it; there is no global log. The sink may be the host program's own
 * function: it gets the sentence alone, without time, level and actor. Standard error may be a pipe
 * whose reader is gone: processes that log there ignore SIGPIPE.
 */
#ifndef DRAX_BROKER_LOG_H
#define DRAX_BROKER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not LOG_INFO and so on: <syslog.h>, which czmq.h brings along, has macros of these names. */
typedef enum {
    LOG_LEVEL_ERROR = 0,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
} log_level_t;

typedef void log_sink_fn(void *hint, log_level_t level, const char *actor, const char *text);

typedef struct log {
    log_level_t level;
    const char *actor; /* static storage */
    log_sink_fn *sink; /* NULL: standard error, one write(2) a line */
    void *hint;
} log_t;

int log_level_parse(const char *text); /* a log_level_t, or -1 */
const char *log_level_name(log_level_t level);

void log_write(const log_t *self, log_level_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(self, ...) log_write((self), LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(self, ...) log_write((self), LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(self, ...) log_write((self), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(self, ...) log_write((self), LOG_LEVEL_DEBUG, __VA_ARGS__)

/* `size` bytes as printable ASCII with \xHH, cut to fit; `out` is NUL-terminated. Returns `out`. */
char *log_escape(char *out, size_t out_size, const void *data, size_t size);

#endif
