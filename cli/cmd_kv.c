/* cmd_kv.c: get, put, del, rmtree, exists, ls, cas, cad. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/pages.h"

/* More than any server takes; what is longer is refused by the client library. */
#define STDIN_BYTES_MAX ((16u << 20) + 1)

static int get_run(cli_t *cli);
static int put_run(cli_t *cli);
static int del_run(cli_t *cli);
static int rmtree_run(cli_t *cli);
static int exists_run(cli_t *cli);
static int ls_run(cli_t *cli);
static int cas_run(cli_t *cli);
static int cad_run(cli_t *cli);

const command_t commands_kv[] = {
    {"get",
     "KEY [--index]",
     "Prints the value of a key",
     "The value is printed as it is, then a newline.\n"
     "  --index   first the index of its last change, and a tab; then a tab, newline, backslash\n"
     "            or byte that is not UTF-8 in the value is written \\t, \\n, \\\\, \\xHH\n",
     1,
     1,
     {{"index", FLAG_SWITCH}},
     get_run},
    {"put",
     "KEY VALUE [--ttl DURATION] [--lease LEASE]",
     "Writes a key and prints its new index",
     "VALUE - reads standard input to its end.\n"
     "  --ttl DURATION   the key goes away this long after the write\n"
     "  --lease LEASE    the key goes with this lease (see lease grant)\n",
     2,
     2,
     {{"ttl", FLAG_DURATION}, {"lease", FLAG_NUMBER}},
     put_run},
    {"del", "KEY", "Deletes a key", "", 1, 1, {{0}}, del_run},
    {"rmtree",
     "DIR",
     "Deletes all keys under a directory and prints how many",
     "The key DIR itself stays. DIR / is the whole store.\n",
     1,
     1,
     {{0}},
     rmtree_run},
    {"exists", "KEY", "Prints true (exit 0) or false (exit 1)", "", 1, 1, {{0}}, exists_run},
    {"ls",
     "[DIR] [--keys] [--limit N]",
     "Lists the keys under a directory, or all",
     "A line is key, tab, value; in both, a tab, newline, backslash or byte that is not UTF-8\n"
     "is written \\t, \\n, \\\\, \\xHH.\n"
     "  --keys      without the values\n"
     "  --limit N   at most N keys\n",
     0,
     1,
     {{"keys", FLAG_SWITCH}, {"limit", FLAG_NUMBER}},
     ls_run},
    {"cas",
     "KEY VALUE --index N | --create",
     "Writes a key if its index is N, or if it does not exist",
     "Prints the new index. VALUE - reads standard input to its end.\n"
     "  --index N   the index that the key must have\n"
     "  --create    the key must not exist\n",
     2,
     2,
     {{"index", FLAG_NUMBER}, {"create", FLAG_SWITCH}},
     cas_run},
    {"cad",
     "KEY --index N",
     "Deletes a key if its index is N",
     "  --index N   the index that the key must have\n",
     1,
     1,
     {{"index", FLAG_NUMBER}},
     cad_run},
    {0}};

static int get_table(const drax_result_t *result) {
    table_t table;
    size_t size;
    table_begin(&table, 3);
    table_text(&table, "KEY");
    table_text(&table, "VALUE");
    table_text(&table, "INDEX");
    const void *bytes = drax_result_key(result, &size);
    table_bytes(&table, bytes, size);
    bytes = drax_result_value(result, &size);
    table_bytes(&table, bytes, size);
    table_number(&table, drax_result_index(result));
    bool ok = table_print(&table, stdout);
    table_end(&table);
    return ok ? EXIT_OK : cli_fail(EXIT_SYSTEM, "out of memory");
}

static int get_run(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    drax_result_t *result;
    int error = drax_get(cli->drax, key, size, NULL, &result);
    if (error != 0)
        return cli_call_fail(cli, error);
    int code = EXIT_OK;
    if (cli->output == OUTPUT_JSON) {
        code = cli_json_print(result);
    } else if (cli->output == OUTPUT_TABLE) {
        code = get_table(result);
    } else {
        const void *value = drax_result_value(result, &size);
        if (cli->given[0]) {
            /* A line with a tab: what is in the value must not look like one. */
            printf("%" PRIu64 "\t", drax_result_index(result));
            format_escaped(stdout, value, size);
        } else if (size > 0) {
            fwrite(value, 1, size, stdout);
        }
        fputc('\n', stdout);
    }
    drax_result_destroy(&result);
    return code;
}

/* Standard input to its end; NULL after saying why. The caller frees it. */
static char *input_read(size_t *size) {
    char *bytes = NULL;
    size_t capacity = 0;
    *size = 0;
    for (;;) {
        if (*size == capacity) {
            capacity = capacity ? capacity * 2 : 4096;
            char *grown = realloc(bytes, capacity);
            if (!grown) {
                cli_fail(EXIT_SYSTEM, "out of memory");
                break;
            }
            bytes = grown;
        }
        ssize_t got = read(STDIN_FILENO, bytes + *size, capacity - *size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            cli_fail(EXIT_IO, "cannot read standard input: %s", strerror(errno));
            break;
        }
        *size += (size_t) got;
        if (got == 0 || *size >= STDIN_BYTES_MAX)
            return bytes;
    }
    free(bytes);
    return NULL;
}

/* The value in argument `at`; *input is what to free afterwards. NULL after saying why. */
static const char *value_argument(const cli_t *cli, size_t at, size_t *size, char **input) {
    *input = NULL;
    const char *value = cli_argument(cli, at, size);
    if (strcmp(value, "-") == 0)
        value = *input = input_read(size);
    return value;
}

static int index_print(cli_t *cli, int error, drax_result_t **result) {
    if (error != 0)
        return cli_call_fail(cli, error);
    int code = EXIT_OK;
    if (cli->output == OUTPUT_JSON)
        code = cli_json_print(*result);
    else
        printf("%" PRIu64 "\n", drax_result_index(*result));
    drax_result_destroy(result);
    return code;
}

static int put_run(cli_t *cli) {
    size_t key_size, value_size;
    char *input;
    const char *key = cli_argument(cli, 0, &key_size);
    const char *value = value_argument(cli, 1, &value_size, &input);
    if (!value)
        return EXIT_IO;
    int code = EXIT_SYSTEM;
    drax_options_t *options = cli_options();
    if (options) {
        drax_result_t *result;
        drax_options_ttl_set(options, cli->number[0]);
        drax_options_lease_set(options, cli->number[1]);
        int error = drax_put(cli->drax, key, key_size, value, value_size, options, &result);
        code = index_print(cli, error, &result);
    }
    drax_options_destroy(&options);
    free(input);
    return code;
}

static int cas_run(cli_t *cli) {
    size_t key_size, value_size;
    char *input;
    const char *key = cli_argument(cli, 0, &key_size);
    if (cli->given[0] == cli->given[1])
        return cli_fail(EXIT_USAGE, "cas needs either --index N or --create");
    if (cli->given[0] && cli->number[0] == 0)
        return cli_fail(EXIT_USAGE,
                        "--index is 1 or more; --create is for a key that is not there");
    const char *value = value_argument(cli, 1, &value_size, &input);
    if (!value)
        return EXIT_IO;
    drax_result_t *result;
    int error =
        drax_atomic_put(cli->drax, key, key_size, value, value_size, cli->number[0], NULL, &result);
    int code = index_print(cli, error, &result);
    free(input);
    return code;
}

/* For commands that print nothing, except in JSON. */
static int silent_print(cli_t *cli, int error, drax_result_t **result) {
    if (error != 0)
        return cli_call_fail(cli, error);
    int code = cli->output == OUTPUT_JSON ? cli_json_print(*result) : EXIT_OK;
    drax_result_destroy(result);
    return code;
}

static int cad_run(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    if (!cli->given[0] || cli->number[0] == 0)
        return cli_fail(EXIT_USAGE, "cad needs --index N, 1 or more");
    drax_result_t *result;
    int error = drax_atomic_delete(cli->drax, key, size, cli->number[0], NULL, &result);
    return silent_print(cli, error, &result);
}

static int del_run(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    drax_result_t *result;
    int error = drax_delete(cli->drax, key, size, NULL, &result);
    return silent_print(cli, error, &result);
}

static int rmtree_run(cli_t *cli) {
    size_t size;
    const char *directory = cli_argument(cli, 0, &size);
    drax_result_t *result;
    int error = drax_delete_tree(cli->drax, directory, size, NULL, &result);
    if (error == 0 && cli->output != OUTPUT_JSON)
        printf("%" PRIu64 "\n", drax_result_deleted(result));
    return silent_print(cli, error, &result);
}

static int exists_run(cli_t *cli) {
    size_t size;
    const char *key = cli_argument(cli, 0, &size);
    drax_result_t *result;
    int error = drax_exists(cli->drax, key, size, NULL, &result);
    if (error != 0)
        return cli_call_fail(cli, error);
    bool exists = drax_result_exists(result);
    int code = EXIT_OK;
    if (cli->output == OUTPUT_JSON)
        code = cli_json_print(result);
    else
        puts(exists ? "true" : "false");
    drax_result_destroy(&result);
    return code == EXIT_OK && !exists ? EXIT_NOT : code;
}

static void pair_print(const drax_result_t *page, size_t at, bool keys) {
    size_t size;
    const void *bytes = drax_result_pair_key(page, at, &size);
    format_escaped(stdout, bytes, size);
    if (!keys) {
        fputc('\t', stdout);
        bytes = drax_result_pair_value(page, at, &size);
        format_escaped(stdout, bytes, size);
    }
    fputc('\n', stdout);
}

static void pair_tabulate(table_t *table, const drax_result_t *page, size_t at, bool keys) {
    size_t size;
    const void *bytes = drax_result_pair_key(page, at, &size);
    table_bytes(table, bytes, size);
    if (!keys) {
        bytes = drax_result_pair_value(page, at, &size);
        table_bytes(table, bytes, size);
    }
    table_number(table, drax_result_pair_index(page, at));
}

/* Pairs as members of a JSON array, `first` being the first of the whole listing. */
static bool pairs_json_print(const drax_result_t *page, bool first) {
    const drax_field_t *pairs = drax_field_find(drax_result_map(page), "pairs");
    for (size_t i = 0; i < drax_field_count(pairs); i++) {
        json_t *pair = json_from_field(drax_field_at(pairs, i));
        if (!first || i > 0)
            fputs(", ", stdout);
        if (!json_print(stdout, pair))
            return false;
    }
    return true;
}

/* One result map over all pages: the pairs as they come, then `more` and `revision` of the last
 * page. */
static int ls_json(cli_t *cli, pages_t *pages) {
    const drax_result_t *page;
    bool more = false, first = true;
    uint64_t revision = 0;
    int error;
    while ((error = pages_next(pages, &page)) == 0 && page) {
        if (first)
            fputs("{\"pairs\": [", stdout);
        if (!pairs_json_print(page, first))
            return cli_fail(EXIT_SYSTEM, "out of memory");
        first = first && drax_result_pair_count(page) == 0;
        more = drax_result_more(page);
        revision = drax_result_revision(page);
        if (ferror(stdout))
            return EXIT_IO;
    }
    if (error != 0)
        return cli_call_fail(cli, error);
    printf("], \"more\": %s, \"revision\": %" PRIu64 "}\n", more ? "true" : "false", revision);
    return EXIT_OK;
}

static int ls_table(cli_t *cli, pages_t *pages) {
    const drax_result_t *page;
    bool keys = cli->given[0];
    int error;
    table_t table;
    table_begin(&table, keys ? 2 : 3);
    table_text(&table, "KEY");
    if (!keys)
        table_text(&table, "VALUE");
    table_text(&table, "INDEX");
    while ((error = pages_next(pages, &page)) == 0 && page)
        for (size_t i = 0; i < drax_result_pair_count(page); i++)
            pair_tabulate(&table, page, i, keys);
    int code = EXIT_OK;
    if (error != 0)
        code = cli_call_fail(cli, error);
    else if (!table_print(&table, stdout))
        code = cli_fail(EXIT_SYSTEM, "out of memory");
    table_end(&table);
    return code;
}

static int ls_plain(cli_t *cli, pages_t *pages) {
    const drax_result_t *page;
    int error;
    while ((error = pages_next(pages, &page)) == 0 && page) {
        for (size_t i = 0; i < drax_result_pair_count(page); i++)
            pair_print(page, i, cli->given[0]);
        if (ferror(stdout))
            return EXIT_IO;
    }
    return error == 0 ? EXIT_OK : cli_call_fail(cli, error);
}

static int ls_run(cli_t *cli) {
    size_t size = 0;
    const char *directory = cli->argument_count > 0 ? cli_argument(cli, 0, &size) : "";
    pages_t pages;
    int error = pages_begin(&pages, cli->drax, directory, size, cli->given[0], cli->number[1]);
    int code = error != 0                    ? cli_fail(EXIT_SYSTEM, "out of memory")
               : cli->output == OUTPUT_JSON  ? ls_json(cli, &pages)
               : cli->output == OUTPUT_TABLE ? ls_table(cli, &pages)
                                             : ls_plain(cli, &pages);
    pages_end(&pages);
    return code;
}
