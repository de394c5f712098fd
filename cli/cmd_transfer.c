/* cmd_transfer.c: import and export: JSON lines, {"key": …, "value": …} each.
 *
 * Import keeps a window of records in flight. Invariants
 *  1. Two records of one key are never in flight together, so the later line wins.
 *  2. After the first record that fails, nothing more is read; what is in flight is waited for, so
 * the line that is named is the first without an acknowledgement.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/pages.h"
#include "cli/progress.h"

#define IMPORT_WINDOW 256u
/* Without --timeout a record is tried for this long: a cluster may lose its leader and a gateway
 * meanwhile. */
#define IMPORT_TIMEOUT_MS 30000u
#define IMPORT_POLL_MS 200u

static int import_run(cli_t *cli);
static int export_run(cli_t *cli);

const command_t commands_transfer[] = {
    {"import",
     "[FILE] [--progress]",
     "Writes the keys of a file of JSON lines",
     "A line is {\"key\": ..., \"value\": ...}; a key or value that is not UTF-8 is\n"
     "{\"base64\": \"...\"}. FILE - or none is standard input. Of several lines with one key the\n"
     "last counts. If a record is not acknowledged, the first such line is named; importing\n"
     "the file again does no harm. Without --timeout each record is tried for 30 s.\n"
     "  --progress   progress on standard error even when it is not a terminal\n",
     0,
     1,
     {{"progress", FLAG_SWITCH}},
     import_run},
    {"export",
     "[DIR] [FILE] [--progress]",
     "Writes the keys under a directory, or all, to a file of JSON lines",
     "The lines are what import reads, sorted by key. FILE - or none is standard output.\n"
     "  --progress   progress on standard error even when it is not a terminal\n",
     0,
     2,
     {{"progress", FLAG_SWITCH}},
     export_run},
    {0}};

typedef struct import import_t;

/* A record in flight, or a free place (line 0). */
typedef struct record {
    import_t *import;
    uint64_t line;
    void *key; /* owned */
    size_t key_size;
} record_t;

struct import {
    drax_t *drax;
    record_t records[IMPORT_WINDOW];
    uint64_t line, acknowledged;
    uint64_t bytes_read;
    uint64_t failed_line; /* the first that failed; 0: none */
    int failed_code;      /* exit code */
    char failure[400];
    progress_t progress;
};

static void import_fail(import_t *self, uint64_t line, int code, const char *text) {
    if (self->failed_line != 0 && self->failed_line <= line)
        return;
    self->failed_line = line;
    self->failed_code = code;
    snprintf(self->failure, sizeof self->failure, "%s", text);
}

static void record_done(void *arg, int error, const char *detail, const drax_result_t *result) {
    record_t *record = arg;
    import_t *self = record->import;
    (void) result;
    if (error == 0) {
        self->acknowledged++;
    } else {
        char text[400];
        snprintf(text, sizeof text, "%s: %s", drax_error_name(error), detail);
        import_fail(self, record->line, cli_error_exit(error), text);
    }
    free(record->key);
    *record = (record_t){.import = self};
}

/* Waits for acknowledgements; false after a local failure. */
static bool import_poll(import_t *self) {
    int count = drax_poll(self->drax, IMPORT_POLL_MS);
    progress_show(&self->progress, self->acknowledged, self->bytes_read);
    if (count >= 0)
        return true;
    import_fail(self, self->line, cli_error_exit(count), drax_error_text(count));
    return false;
}

static bool key_in_flight(const import_t *self, const void *key, size_t size) {
    for (size_t i = 0; i < IMPORT_WINDOW; i++) {
        const record_t *record = &self->records[i];
        if (record->line != 0 && record->key_size == size &&
            (size == 0 || memcmp(record->key, key, size) == 0))
            return true;
    }
    return false;
}

static record_t *record_free(import_t *self) {
    for (size_t i = 0; i < IMPORT_WINDOW; i++)
        if (self->records[i].line == 0)
            return &self->records[i];
    return NULL;
}

/* Submits one record as soon as there is room for it. Takes `key` over. */
static void record_submit(import_t *self, void *key, size_t key_size, const void *value,
                          size_t value_size) {
    record_t *record = NULL;
    while (self->failed_line == 0) {
        record = key_in_flight(self, key, key_size) ? NULL : record_free(self);
        int error = DRAX_ERR_FULL;
        if (record) {
            *record = (record_t){self, self->line, key, key_size};
            error = drax_put_submit(self->drax, key, key_size, value, value_size, NULL, record_done,
                                    record);
            if (error == 0)
                return;
            *record = (record_t){.import = self};
        }
        if (error != DRAX_ERR_FULL)
            import_fail(self, self->line, cli_error_exit(error), drax_error_text(error));
        else if (!import_poll(self))
            break;
    }
    /* An earlier line failed while this one waited for room. */
    free(key);
}

static void import_line(import_t *self, const char *line, size_t size) {
    void *key, *value;
    size_t key_size, value_size;
    char why[200];
    if (!json_pair_parse(line, size, &key, &key_size, &value, &value_size, why, sizeof why)) {
        import_fail(self, self->line, EXIT_USAGE, why);
        return;
    }
    record_submit(self, key, key_size, value, value_size);
    free(value);
    /* What is already answered is taken in without waiting, so that the window is always well
     * filled. */
    if (self->line % 32 == 0 && self->failed_line == 0) {
        int count = drax_poll(self->drax, 0);
        if (count < 0)
            import_fail(self, self->line, cli_error_exit(count), drax_error_text(count));
        progress_show(&self->progress, self->acknowledged, self->bytes_read);
    }
}

static void import_lines(import_t *self, FILE *file) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    errno = 0;
    while (self->failed_line == 0 && (size = getline(&line, &capacity, file)) >= 0) {
        self->line++;
        self->bytes_read += (uint64_t) size;
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
            size--;
        if (size > 0)
            import_line(self, line, (size_t) size);
        errno = 0;
    }
    if (self->failed_line == 0 && !feof(file))
        import_fail(self, self->line + 1, EXIT_IO, strerror(errno));
    free(line);
}

static uint64_t file_bytes(FILE *file) {
    struct stat info;
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode))
        return 0;
    return (uint64_t) info.st_size;
}

static int import_run(cli_t *cli) {
    const char *name = cli->argument_count > 0 ? cli->arguments[0] : "-";
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
    if (!file)
        return cli_fail(EXIT_IO, "%s: %s", name, strerror(errno));
    int code = EXIT_SYSTEM;
    import_t *self = calloc(1, sizeof *self);
    if (!self || (!cli->timeout_given && drax_timeout_set(cli->drax, IMPORT_TIMEOUT_MS) != 0)) {
        cli_fail(EXIT_SYSTEM, "out of memory");
    } else {
        self->drax = cli->drax;
        progress_begin(&self->progress, "imported", file_bytes(file), cli->given[0]);
        import_lines(self, file);
        while (drax_pending(self->drax) > 0 && import_poll(self))
            ;
        code = self->failed_code;
        progress_wipe(&self->progress);
        if (self->failed_line != 0)
            cli_fail(code, "line %" PRIu64 ": %s (%" PRIu64 " keys imported)", self->failed_line,
                     self->failure, self->acknowledged);
        else
            progress_end(&self->progress, self->acknowledged);
    }
    /* Calls that are still pending refer to the records. */
    drax_destroy(&cli->drax);
    free(self);
    if (file != stdin)
        (void) fclose(file); /* only read from */
    return code;
}

static bool pair_export(FILE *file, const drax_result_t *page, size_t at) {
    size_t key_size, value_size;
    const void *key = drax_result_pair_key(page, at, &key_size);
    const void *value = drax_result_pair_value(page, at, &value_size);
    return json_line_print(file, json_pack("{s:o, s:o}", "key", json_from_bytes(key, key_size),
                                           "value", json_from_bytes(value, value_size)));
}

/* Exports all pages; the exit code. */
static int export_pages(cli_t *cli, pages_t *pages, FILE *file, const char *name) {
    const drax_result_t *page;
    progress_t progress;
    uint64_t keys = 0;
    int error;
    progress_begin(&progress, "exported", 0, cli->given[0]);
    while ((error = pages_next(pages, &page)) == 0 && page) {
        for (size_t i = 0; i < drax_result_pair_count(page); i++, keys++)
            if (!pair_export(file, page, i)) {
                progress_wipe(&progress);
                return cli_fail(EXIT_SYSTEM, "out of memory");
            }
        if (ferror(file))
            break;
        progress_show(&progress, keys, 0);
    }
    /* An empty store has an empty export; a directory that is not there is an error. */
    bool whole = pages->directory_size == 0 ||
                 (pages->directory_size == 1 && memcmp(pages->directory, "/", 1) == 0);
    if (error == DRAX_ERR_KEY_NOT_FOUND && whole)
        error = 0;
    progress_wipe(&progress);
    if (error != 0)
        return cli_call_fail(cli, error);
    errno = 0;
    if (fflush(file) != 0 || ferror(file))
        return cli_fail(EXIT_IO, "cannot write %s%s%s", name, errno ? ": " : "",
                        errno ? strerror(errno) : "");
    progress_end(&progress, keys);
    return EXIT_OK;
}

static int export_run(cli_t *cli) {
    size_t size = 0;
    const char *directory = cli->argument_count > 0 ? cli_argument(cli, 0, &size) : "";
    const char *name = cli->argument_count > 1 ? cli->arguments[1] : "-";
    bool output = strcmp(name, "-") == 0;
    FILE *file = output ? stdout : fopen(name, "w");
    if (!file)
        return cli_fail(EXIT_IO, "%s: %s", name, strerror(errno));
    pages_t pages;
    int error = pages_begin(&pages, cli->drax, directory, size, false, 0);
    int code = error == 0 ? export_pages(cli, &pages, file, output ? "standard output" : name)
                          : cli_fail(EXIT_SYSTEM, "out of memory");
    pages_end(&pages);
    if (!output && fclose(file) != 0 && code == EXIT_OK)
        code = cli_fail(EXIT_IO, "cannot write %s: %s", name, strerror(errno));
    return code;
}
