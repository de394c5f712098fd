/* test_log.c: the shape of a line, and that nothing written into it can break it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/limits.h"
#include "broker/log.h"

/* Standard error is a pipe for as long as a test captures it. */
typedef struct {
    int saved, reader;
} capture_t;

static capture_t capture_begin(int flags) {
    int ends[2];
    capture_t self;
    assert_int_equal(pipe2(ends, flags), 0);
    self.saved = dup(STDERR_FILENO);
    self.reader = ends[0];
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    return self;
}

/* What is in the pipe after standard error is itself again; NUL-terminated, to be freed. */
static char *capture_end(capture_t *self) {
    dup2(self->saved, STDERR_FILENO);
    close(self->saved);
    size_t size = 0, capacity = 1 << 20;
    char *text = malloc(capacity);
    assert_non_null(text);
    ssize_t got;
    while ((got = read(self->reader, text + size, capacity - size - 1)) > 0)
        size += (size_t) got;
    close(self->reader);
    text[size] = '\0';
    return text;
}

static void test_line(void **state) {
    (void) state;
    const log_t log = {.level = LOG_LEVEL_INFO, .actor = "raft"};
    capture_t capture = capture_begin(0);
    errno = EPERM;
    log_info(&log, "became leader term=%d last=%d", 7, 1204);
    int after = errno;
    log_debug(&log, "not to be seen");
    log_error(&log, "second");
    char *text = capture_end(&capture);
    assert_int_equal(after, EPERM);
    regex_t pattern;
    assert_int_equal(regcomp(&pattern,
                             "^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-"
                             "9]{3}Z info raft: "
                             "became leader term=7 last=1204\n[^ ]+Z error raft: second\n$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(regexec(&pattern, text, 0, NULL, 0), 0);
    regfree(&pattern);
    free(text);
}

static void test_control_characters(void **state) {
    (void) state;
    const log_t log = {.level = LOG_LEVEL_DEBUG, .actor = "gateway"};
    capture_t capture = capture_begin(0);
    log_warning(&log, "key=%s", "a\nforged line\r\x1b[2J\x7f\t\xc3\xa9\\");
    char *text = capture_end(&capture);
    assert_non_null(
        strstr(text, " warning gateway: key=a\\nforged line\\x0d\\x1b[2J\\x7f\\x09\xc3\xa9\\\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
}

static void test_long_line_is_cut(void **state) {
    (void) state;
    const log_t log = {.level = LOG_LEVEL_INFO, .actor = "raft"};
    char *huge = malloc(100000);
    assert_non_null(huge);
    for (int byte = 0; byte < 2; byte++) {
        memset(huge, byte ? '\n' : 'x', 99999);
        huge[99999] = '\0';
        capture_t capture = capture_begin(0);
        log_info(&log, "%s", huge);
        char *text = capture_end(&capture);
        size_t size = strlen(text);
        assert_in_range(size, LIMIT_LOG_LINE_BYTES - 50, LIMIT_LOG_LINE_BYTES);
        assert_ptr_equal(strchr(text, '\n'), text + size - 1);
        free(text);
    }
    free(huge);
}

static void test_full_pipe_does_not_block(void **state) {
    (void) state;
    const log_t log = {.level = LOG_LEVEL_INFO, .actor = "raft"};
    capture_t capture = capture_begin(O_NONBLOCK);
    char block[4096] = {0};
    memset(block, '.', sizeof block);
    while (write(STDERR_FILENO, block, sizeof block) > 0)
        ;
    log_info(&log, "lost");
    /* Room again: the log goes on. */
    assert_int_equal(read(capture.reader, block, sizeof block), sizeof block);
    log_info(&log, "kept");
    char *text = capture_end(&capture);
    assert_null(strstr(text, "lost"));
    assert_non_null(strstr(text, "info raft: kept\n"));
    free(text);
}

typedef struct {
    int calls;
    log_level_t level;
    char actor[16];
    char text[LIMIT_LOG_LINE_BYTES];
} sink_t;

static void sink_take(void *hint, log_level_t level, const char *actor, const char *text) {
    sink_t *sink = hint;
    sink->calls++;
    sink->level = level;
    snprintf(sink->actor, sizeof sink->actor, "%s", actor);
    snprintf(sink->text, sizeof sink->text, "%s", text);
}

static void test_sink(void **state) {
    (void) state;
    sink_t sink = {0};
    const log_t log = {
        .level = LOG_LEVEL_WARNING, .actor = "storage", .sink = sink_take, .hint = &sink};
    log_info(&log, "below the level");
    assert_int_equal(sink.calls, 0);
    log_warning(&log, "disk is %s", "slow\n");
    assert_int_equal(sink.calls, 1);
    assert_int_equal(sink.level, LOG_LEVEL_WARNING);
    assert_string_equal(sink.actor, "storage");
    assert_string_equal(sink.text, "disk is slow\\n");
}

static void test_escape(void **state) {
    (void) state;
    char out[16];
    assert_string_equal(log_escape(out, sizeof out, "a b~", 4), "a b~");
    assert_string_equal(log_escape(out, sizeof out, "\0\n\xff\\", 3), "\\x00\\x0a\\xff");
    assert_string_equal(log_escape(out, sizeof out, "\\x", 2), "\\x5cx");
    assert_string_equal(log_escape(out, sizeof out, NULL, 0), "");
    /* Cut at whole characters: 3 escapes are 12 bytes, the fourth does not fit. */
    assert_string_equal(log_escape(out, sizeof out, "\x01\x02\x03\x04", 4), "\\x01\\x02\\x03");
    assert_string_equal(log_escape(out, 1, "abc", 3), "");
    assert_string_equal(log_escape(out, 4, "abc", 3), "abc");
    assert_string_equal(log_escape(out, 3, "abc", 3), "ab");
    out[0] = 'z';
    assert_ptr_equal(log_escape(out, 0, "abc", 3), out);
    assert_int_equal(out[0], 'z');
}

static void test_levels(void **state) {
    (void) state;
    assert_int_equal(log_level_parse("error"), LOG_LEVEL_ERROR);
    assert_int_equal(log_level_parse("warning"), LOG_LEVEL_WARNING);
    assert_int_equal(log_level_parse("info"), LOG_LEVEL_INFO);
    assert_int_equal(log_level_parse("debug"), LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse("Info"), -1);
    assert_int_equal(log_level_parse(""), -1);
    assert_string_equal(log_level_name(LOG_LEVEL_WARNING), "warning");
}

#define WRITERS 4
#define LINES 500

static void *writer_run(void *hint) {
    const log_t log = {.level = LOG_LEVEL_INFO, .actor = "raft"};
    char filler[601];
    memset(filler, *(const char *) hint, sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    for (int i = 0; i < LINES; i++)
        log_info(&log, "%s", filler);
    return NULL;
}

static void *reader_run(void *hint) {
    FILE *stream = fdopen(*(int *) hint, "r");
    char line[8192];
    intptr_t whole = 0;
    while (stream && fgets(line, sizeof line, stream)) {
        const char *body = strstr(line, "info raft: ");
        if (!body)
            break;
        body += strlen("info raft: ");
        char set[2] = {*body, '\0'};
        if (strspn(body, set) != 600 || body[600] != '\n')
            break;
        whole++;
    }
    if (stream)
        fclose(stream);
    return (void *) whole;
}

static void test_lines_of_many_writers_stay_whole(void **state) {
    (void) state;
    pthread_t writers[WRITERS], reader;
    static const char letters[WRITERS] = "abcd";
    capture_t capture = capture_begin(0);
    pthread_create(&reader, NULL, reader_run, &capture.reader);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_create(&writers[i], NULL, writer_run, (void *) (uintptr_t) &letters[i]);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    dup2(capture.saved, STDERR_FILENO); /* the last write end: the reader sees the end */
    close(capture.saved);
    void *whole = NULL;
    pthread_join(reader, &whole);
    assert_int_equal((intptr_t) whole, WRITERS * LINES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_long_line_is_cut),
        cmocka_unit_test(test_full_pipe_does_not_block),
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_lines_of_many_writers_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
