/* cmd_txn.c: a transaction from JSON.
 *
 *   {"compares": [[key, target, op, operand], ...], "then": [[method, [param, ...]], ...], "else":
 * [...]}
 *
 * as the protocol has it: a string is text, {"base64": "..."} bytes, {...} else the options of an
 * operation. Each of the three may be left out.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"

static int txn_run(cli_t *cli);

const command_t commands_txn[] = {
    {"txn",
     "[FILE]",
     "Does one thing or another, depending on what is there, in one step",
     "FILE (or standard input) holds one object of JSON:\n"
     "  {\"compares\": [[\"k\", \"exists\", \"=\", false]],\n"
     "   \"then\": [[\"put\", [\"k\", \"v\"]]],\n"
     "   \"else\": [[\"get\", [\"k\"]]]}\n"
     "Targets are index, version, value and exists; ops are =, !=, < and >. Prints the result as "
     "JSON.\n"
     "The exit code is 1 when the compares did not hold.\n",
     0,
     1,
     {{0}},
     txn_run},
    {0}};

/* False: a kind that no request holds, such as a fraction, or no memory. */
static bool json_add(drax_request_t *request, const json_t *json) {
    void *bytes;
    size_t size, i;
    const char *name;
    json_t *item;
    switch (json_typeof(json)) {
    case JSON_STRING:
        drax_request_key_add(request, json_string_value(json), json_string_length(json));
        return true;
    case JSON_INTEGER:
        drax_request_uint_add(request, (uint64_t) json_integer_value(json));
        return json_integer_value(json) >= 0;
    case JSON_TRUE:
    case JSON_FALSE:
        drax_request_bool_add(request, json_is_true(json));
        return true;
    case JSON_NULL:
        drax_request_nil_add(request);
        return true;
    case JSON_ARRAY:
        drax_request_array_add(request, json_array_size(json));
        json_array_foreach(json, i, item) if (!json_add(request, item)) return false;
        return true;
    case JSON_OBJECT:
        if (json_object_get(json, "base64")) {
            if (!json_to_bytes(json, &bytes, &size))
                return false;
            drax_request_value_add(request, bytes, size);
            free(bytes);
            return true;
        }
        drax_request_map_add(request, json_object_size(json));
        json_object_foreach((json_t *) (uintptr_t) json, name, item) {
            drax_request_text_add(request, name);
            if (!json_add(request, item))
                return false;
        }
        return true;
    default:
        return false;
    }
}

static bool request_fill(drax_request_t *request, const json_t *txn) {
    static const char *const names[] = {"compares", "then", "else"};
    size_t found = 0;
    for (size_t i = 0; i < 3; i++) {
        const json_t *list = json_object_get(txn, names[i]);
        found += list != NULL;
        if (!list)
            drax_request_array_add(request, 0);
        else if (!json_is_array(list) || !json_add(request, list))
            return false;
    }
    return found == json_object_size(txn);
}

static json_t *txn_load(const cli_t *cli, int *code) {
    const char *name = cli->argument_count > 0 ? cli->arguments[0] : "-";
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "r");
    if (!file) {
        *code = cli_fail(EXIT_IO, "cannot read %s", name);
        return NULL;
    }
    json_error_t error;
    json_t *txn = json_loadf(file, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!txn)
        *code = ferror(file) ? cli_fail(EXIT_IO, "cannot read %s", name)
                             : cli_fail(EXIT_USAGE, "line %d: %s", error.line, error.text);
    if (!standard)
        (void) fclose(file);
    return txn;
}

static int txn_run(cli_t *cli) {
    int code = EXIT_OK;
    json_t *txn = txn_load(cli, &code);
    if (!txn)
        return code;
    drax_request_t *request = drax_request_new("txn", DRAX_WRITE);
    drax_result_t *result = NULL;
    if (!request) {
        code = cli_fail(EXIT_SYSTEM, "out of memory");
    } else if (!json_is_object(txn) || !request_fill(request, txn)) {
        code = cli_fail(EXIT_USAGE, "not a transaction; see drax-cli txn --help");
    } else {
        int error = drax_request_call(cli->drax, request, NULL, &result);
        code = error != 0 ? cli_call_fail(cli, error) : cli_json_print(result);
        if (code == EXIT_OK && !drax_result_succeeded(result))
            code = EXIT_NOT;
    }
    drax_result_destroy(&result);
    drax_request_destroy(&request);
    json_decref(txn);
    return code;
}
