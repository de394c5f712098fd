/* cmd_snapshot.c: snapshot save and restore.
 *
 *   file  = "DRAXSNAP" version:u32 frame{1,}    version 1; numbers are big endian
 *   frame = size:u32 chunk                      as the server gives them
 *
 * A file is complete when it has its name: it is written beside, and renamed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "drax_node.h"

#define HEAD "DRAXSNAP\0\0\0\1"
#define HEAD_BYTES 12
/* A snapshot is kept by the node where it was begun: it is begun again when that one goes. */
#define SAVE_TRIES 3u

static int save_run(cli_t *cli);
static int restore_run(cli_t *cli);

const command_t commands_snapshot[] = {
    {"snapshot save",
     "FILE",
     "Saves all that the cluster holds to a file",
     "Keys, their times to live, leases, locks, and the answers kept for clients, all of one\n"
     "revision, which is printed: every write acknowledged before is in it. The cluster goes on\n"
     "meanwhile. FILE is replaced when the snapshot is complete.\n",
     1,
     1,
     {{0}},
     save_run},
    {"snapshot restore",
     "FILE HOME [ADDR [RAFT-ADDR]] [--skip N]",
     "Makes the home of a new cluster's first node from a saved snapshot",
     "HOME must not hold a node yet. `draxd --home HOME --addr ADDR` then starts a cluster of one\n"
     "with all that was saved, and others join it. The addresses are draxd's, and so are the\n"
     "defaults. Its revision, which is printed, goes on 1,000,000,000 higher than the file's, so\n"
     "that no client sees it go back, even if the old cluster had gone on after the save.\n"
     "Watches that want what came before end with COMPACTED.\n"
     "  --skip N   go on N higher instead; with 0 the history in the file is kept\n",
     2,
     4,
     {{"skip", FLAG_NUMBER}},
     restore_run},
    {0}};

static int revision_print(const cli_t *cli, uint64_t revision) {
    if (cli->output == OUTPUT_JSON) {
        if (!json_line_print(stdout, json_pack("{s:I}", "revision", (json_int_t) revision)))
            return cli_fail(EXIT_SYSTEM, "out of memory");
    } else {
        printf("%" PRIu64 "\n", revision);
    }
    return EXIT_OK;
}

/* ---- save ---- */

typedef struct save {
    cli_t *cli;
    FILE *file;
    uint64_t snapshot; /* 0: to be begun */
    uint64_t chunk;    /* the next */
    uint64_t revision;
    bool complete;
} save_t;

static int chunk_call(const save_t *self, drax_result_t **out) {
    drax_request_t *request = drax_request_new("snapshot", DRAX_READ);
    *out = NULL;
    if (!request)
        return DRAX_ERR_NO_MEMORY;
    drax_request_uint_add(request, self->snapshot);
    drax_request_uint_add(request, self->chunk);
    int error = drax_request_call(self->cli->drax, request, NULL, out);
    drax_request_destroy(&request);
    return error;
}

/* False: it cannot be written; errno says why. */
static bool chunk_write(save_t *self, const drax_result_t *result) {
    size_t size;
    const drax_field_t *map = drax_result_map(result);
    const void *data = drax_field_bytes(drax_field_find(map, "data"), &size);
    const uint8_t head[4] = {(uint8_t) (size >> 24), (uint8_t) (size >> 16), (uint8_t) (size >> 8),
                             (uint8_t) size};
    self->snapshot = drax_field_uint(drax_field_find(map, "snapshot"));
    self->revision = drax_field_uint(drax_field_find(map, "revision"));
    self->complete = drax_field_bool(drax_field_find(map, "last"));
    self->chunk++;
    return fwrite(head, 1, sizeof head, self->file) == sizeof head &&
           fwrite(data, 1, size, self->file) == size;
}

/* One try. 0, or a DRAX_ERR_… of the call; DRAX_ERR_STORAGE: the file, with errno. */
static int chunks_save(save_t *self) {
    self->snapshot = self->chunk = 0;
    self->complete = false;
    rewind(self->file);
    if (ftruncate(fileno(self->file), 0) != 0 ||
        fwrite(HEAD, 1, HEAD_BYTES, self->file) != HEAD_BYTES)
        return DRAX_ERR_STORAGE;
    while (!self->complete) {
        drax_result_t *result;
        int error = chunk_call(self, &result);
        bool written = error == 0 && chunk_write(self, result);
        drax_result_destroy(&result);
        if (error != 0)
            return error;
        if (!written)
            return DRAX_ERR_STORAGE;
    }
    return fflush(self->file) == 0 && fsync(fileno(self->file)) == 0 ? 0 : DRAX_ERR_STORAGE;
}

static int file_save(save_t *self, const char *name, const char *part) {
    self->file = fopen(part, "we");
    if (!self->file)
        return cli_fail(EXIT_IO, "%s: %s", part, strerror(errno));
    int error = DRAX_ERR_INVALID_ARGUMENT;
    for (unsigned tries = 0; error == DRAX_ERR_INVALID_ARGUMENT && tries < SAVE_TRIES; tries++)
        error = chunks_save(self);
    int code = error == DRAX_ERR_STORAGE ? cli_fail(EXIT_IO, "%s: %s", part, strerror(errno))
               : error != 0              ? cli_call_fail(self->cli, error)
                                         : EXIT_OK;
    if (fclose(self->file) != 0 && code == EXIT_OK)
        code = cli_fail(EXIT_IO, "%s: %s", part, strerror(errno));
    if (code == EXIT_OK && rename(part, name) != 0)
        code = cli_fail(EXIT_IO, "%s: %s", name, strerror(errno));
    if (code != EXIT_OK)
        (void) remove(part);
    return code;
}

static int save_run(cli_t *cli) {
    static const char suffix[] = ".part";
    const char *name = cli->arguments[0];
    save_t self = {.cli = cli};
    char *part = malloc(strlen(name) + sizeof suffix);
    if (!part)
        return cli_fail(EXIT_SYSTEM, "out of memory");
    sprintf(part, "%s%s", name, suffix);
    int code = file_save(&self, name, part);
    free(part);
    return code == EXIT_OK ? revision_print(cli, self.revision) : code;
}

/* ---- restore ---- */

static int restore_exit(int error) {
    switch (error) {
    case DRAX_ERR_USAGE:
        return EXIT_USAGE;
    case DRAX_ERR_IN_USE:
        return EXIT_NOT;
    case DRAX_ERR_STORAGE:
        return EXIT_IO;
    default:
        return EXIT_SYSTEM;
    }
}

static int restore_run(cli_t *cli) {
    static const char *const names[] = {NULL, "home", "addr", "raft-addr"};
    char detail[DRAX_NODE_DETAIL_BYTES] = "";
    uint64_t skip = cli->given[0] ? cli->number[0] : DRAX_NODE_SKIP_DEFAULT, revision = 0;
    drax_node_options_t *options = drax_node_options_new();
    int error = options ? 0 : DRAX_ERR_NO_MEMORY;
    for (size_t i = 1; error == 0 && i < cli->argument_count; i++)
        error = drax_node_options_set(options, names[i], cli->arguments[i]);
    if (error == 0)
        error =
            drax_node_restore(options, cli->arguments[0], skip, &revision, detail, sizeof detail);
    drax_node_options_destroy(&options);
    if (error != 0)
        return cli_fail(restore_exit(error), "%s", detail[0] ? detail : drax_error_text(error));
    return revision_print(cli, revision);
}
