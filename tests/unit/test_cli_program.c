/* test_cli_program.c: drax-cli as a program: what it prints, where, and its exit code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/gateway_fake.h"

#define OUTPUT_BYTES 8192

static char output[OUTPUT_BYTES]; /* of the last run: standard output … */
static char errors[OUTPUT_BYTES]; /* … and standard error */
static gateway_t *gateway;

static void file_take(FILE *file, char *out) {
    rewind(file);
    out[fread(out, 1, OUTPUT_BYTES - 1, file)] = '\0';
    fclose(file);
}

/* Runs `drax-cli ARGUMENTS` through a shell, with the gateway as its endpoint; arguments that name
 * the program as $DRAX_CLI themselves are the whole command. Gives the exit code. */
static int run(const char *arguments) {
    char command[1024];
    FILE *out = tmpfile(), *err = tmpfile();
    assert_non_null(out);
    assert_non_null(err);
    snprintf(command, sizeof command, "%s %s", strstr(arguments, "$DRAX_CLI") ? "" : "$DRAX_CLI",
             arguments);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (dup2(fileno(out), STDOUT_FILENO) < 0 || dup2(fileno(err), STDERR_FILENO) < 0)
            _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *) NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    file_take(out, output);
    file_take(err, errors);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void good(const char *arguments, const char *expected) {
    int code = run(arguments);
    if (code != 0)
        print_error("%s: exit %d: %s\n", arguments, code, errors);
    assert_int_equal(code, 0);
    assert_string_equal(output, expected);
}

/* Fails with this code, prints nothing, and says why in one line. */
static void bad(const char *arguments, int code) {
    int got = run(arguments);
    if (got != code)
        print_error("%s: exit %d, not %d: %s\n", arguments, got, code, errors);
    assert_int_equal(got, code);
    assert_string_equal(output, "");
    assert_int_equal(strncmp(errors, "drax-cli: ", 10), 0);
    assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1);
}

/* ---- the gateway: values are in the keys ---- */

static bool key_is(const request_t *request, const char *text) {
    return request->key.size == strlen(text) &&
           memcmp(request->key.data, text, request->key.size) == 0;
}

static void field_number(buffer_t *out, const char *name, uint64_t number) {
    pack_str(out, name);
    pack_uint(out, number);
}

static void field_bytes(buffer_t *out, const char *name, const void *data, size_t size) {
    pack_str(out, name);
    pack_key(out, data, size);
}

static void member_pack(buffer_t *out, uint64_t id, const char *addr, const char *role) {
    pack_map(out, 4);
    field_number(out, "id", id);
    field_bytes(out, "addr", addr, strlen(addr));
    field_bytes(out, "raft_addr", "r:1", 3);
    field_bytes(out, "role", role, strlen(role));
}

static void status_pack(gateway_t *self, const request_t *request, buffer_t *out) {
    answer_begin(out, request->msgid, 9);
    field_number(out, "node", 1);
    field_bytes(out, "role", "leader", 6);
    field_number(out, "leader", 1);
    field_number(out, "term", 2);
    field_number(out, "revision", 30);
    field_number(out, "commit", 40);
    field_number(out, "applied", 41);
    field_bytes(out, "version", "0.1.0", 5);
    pack_str(out, "members");
    pack_array(out, 2);
    member_pack(out, 1, self->address, "voter");
    member_pack(out, 2, "127.0.0.1:1", "learner");
}

/* Pages of two pairs: d/0 … d/4. */
static void page_pack(const request_t *request, buffer_t *out) {
    unsigned first = request->has_after ? (unsigned) (request->after.data[2] - '0') + 1 : 0;
    unsigned count = first == 4 ? 1 : 2;
    if (request->limit != 0 && request->limit < count)
        count = (unsigned) request->limit;
    answer_begin(out, request->msgid, 3);
    pack_str(out, "pairs");
    pack_array(out, count);
    for (unsigned i = first; i < first + count; i++) {
        char key[] = {'d', '/', (char) ('0' + i)};
        pack_map(out, request->keys_only ? 2 : 3);
        field_bytes(out, "key", key, 3);
        if (!request->keys_only)
            field_bytes(out, "value", i == 3 ? "\t\xff" : "v", i == 3 ? 2 : 1);
        field_number(out, "index", 10 + i);
    }
    pack_str(out, "more");
    pack_bool(out, first + count < 5);
    field_number(out, "revision", 50);
}

static void read_pack(const request_t *request, buffer_t *out) {
    if (request->method == METHOD_EXISTS) {
        answer_begin(out, request->msgid, 1);
        pack_str(out, "exists");
        pack_bool(out, !key_is(request, "none"));
        return;
    }
    answer_begin(out, request->msgid, 3);
    field_bytes(out, "key", request->key.data, request->key.size);
    if (key_is(request, "raw"))
        field_bytes(out, "value", "a\tb\n\xff", 5);
    else
        field_bytes(out, "value", request->key.data, request->key.size);
    field_number(out, "index", 12);
}

/* Writes answer with an index that shows what was asked: the size of the value, the ttl, the
 * previous index. */
static void write_pack(const request_t *request, buffer_t *out) {
    answer_begin(out, request->msgid, 2);
    field_number(out, "index", request->value.size + request->ttl_ms + request->previous);
    field_number(out, "deleted", 3);
}

static gateway_action_t serve(gateway_t *self, const request_t *request, buffer_t *out) {
    static const char *const codes[] = {"KEY_NOT_FOUND", "KEY_EXISTS",       "KEY_MODIFIED",
                                        "TOO_LARGE",     "INVALID_ARGUMENT", "PERMISSION_DENIED",
                                        "UNAVAILABLE",   "TIMEOUT"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (key_is(request, codes[i])) {
            answer_failure(out, request->msgid, codes[i], "two\nlines");
            return GATEWAY_ANSWER;
        }
    if (key_is(request, "again") && !self->refused) {
        self->refused = true;
        answer_failure(out, request->msgid, "UNAVAILABLE", "later");
        return GATEWAY_ANSWER;
    }
    switch (request->method) {
    case METHOD_STATUS:
        status_pack(self, request, out);
        break;
    case METHOD_LIST:
        page_pack(request, out);
        break;
    case METHOD_GET:
    case METHOD_EXISTS:
        read_pack(request, out);
        break;
    case METHOD_MEMBER_ADD:
    case METHOD_LEADER_TRANSFER:
        answer_begin(out, request->msgid, 2);
        field_number(out, "id", 7);
        field_number(out, "leader", request->id ? request->id : 9);
        break;
    case METHOD_MEMBER_LIST:
        answer_begin(out, request->msgid, 1);
        pack_str(out, "members");
        pack_array(out, 1);
        member_pack(out, 1, "a:1", "voter");
        break;
    default:
        write_pack(request, out);
        break;
    }
    return GATEWAY_ANSWER;
}

static int gateway_setup(void **state) {
    (void) state;
    gateway = gateway_start(serve, 0);
    int rc = setenv("DRAX_ENDPOINTS", gateway->address, 1);
    return rc == 0 ? setenv("DRAX_CLI", DRAX_CLI, 1) : rc;
}

static int gateway_teardown(void **state) {
    (void) state;
    bool decoded = gateway->malformed == 0;
    gateway_stop(&gateway);
    return decoded ? 0 : -1;
}

static void test_reads(void **state) {
    (void) state;
    good("get k", "k\n");
    good("get --index k", "12\tk\n");
    good("get k --index", "12\tk\n");
    good("get raw --index", "12\ta\\tb\\n\\xff\n");
    good("get raw", "a\tb\n\xff\n");
    good("get -o json raw",
         "{\"key\": \"raw\", \"value\": {\"base64\": \"YQliCv8=\"}, \"index\": 12}\n");
    good("-o table get k", "KEY  VALUE  INDEX\nk    k      12\n");
    good("get -- --index", "--index\n");
    good("exists k", "true\n");
    assert_int_equal(run("exists none"), 1);
    assert_string_equal(output, "false\n");
    assert_string_equal(errors, "");
    assert_int_equal(run("exists none -o json"), 1);
    assert_string_equal(output, "{\"exists\": false}\n");
}

static void test_listings(void **state) {
    (void) state;
    good("ls", "d/0\tv\nd/1\tv\nd/2\tv\nd/3\t\\t\\xff\nd/4\tv\n");
    good("ls --keys d", "d/0\nd/1\nd/2\nd/3\nd/4\n");
    good("ls d --limit 3", "d/0\tv\nd/1\tv\nd/2\tv\n");
    good("ls --limit 2 --keys", "d/0\nd/1\n");
    good("ls --limit 1 -o json",
         "{\"pairs\": [{\"key\": \"d/0\", \"value\": \"v\", \"index\": 10}], \"more\": true, "
         "\"revision\": 50}\n");
    good("ls --keys -o json",
         "{\"pairs\": [{\"key\": \"d/0\", \"index\": 10}, {\"key\": \"d/1\", \"index\": 11}, "
         "{\"key\": \"d/2\", \"index\": 12}, {\"key\": \"d/3\", \"index\": 13}, "
         "{\"key\": \"d/4\", \"index\": 14}], \"more\": false, \"revision\": 50}\n");
    good("ls --limit 1 -o table", "KEY  VALUE  INDEX\nd/0  v      10\n");
    bad("ls KEY_NOT_FOUND", 1);
}

static void test_writes(void **state) {
    (void) state;
    good("put k four", "4\n");
    good("put k four --ttl 10s", "10004\n");
    good("put -o json k four", "{\"index\": 4, \"deleted\": 3}\n");
    good("put -- -k -v", "2\n");
    good("put k - <<'END'\n12345\nEND\n", "6\n");
    good("put k ''", "0\n");
    good("del k", "");
    good("rmtree d", "3\n");
    good("cas k v --index 40", "41\n");
    good("cas k v --create", "1\n");
    good("cad k --index 5", "");
    bad("cas k v", 64);
    bad("cas k v --create --index 1", 64);
    bad("cas k v --index 0", 64);
    bad("cad k", 64);
}

static void test_cluster(void **state) {
    (void) state;
    char expected[512];
    good("member list", "1\tvoter\ta:1\tr:1\n");
    good("member add a:1 b:2", "7\n");
    good("member remove 3", "");
    good("member promote 3", "");
    good("leader transfer", "9\n");
    good("leader transfer 5", "5\n");
    snprintf(expected, sizeof expected, "1\t%s\n", gateway->address);
    good("leader", expected);
    snprintf(expected, sizeof expected,
             "node\t1\nrole\tleader\nleader\t1\nterm\t2\nrevision\t30\ncommit\t40\napplied\t41\n"
             "version\t0.1.0\nmember\t1\tvoter\t%s\tr:1\nmember\t2\tlearner\t127.0.0.1:1\tr:1\n",
             gateway->address);
    good("status", expected);
    assert_int_equal(run("status -o table --timeout 2s"), 0);
    assert_non_null(strstr(output, "ID  ADDR"));
    assert_non_null(strstr(output, "unreachable"));
    assert_non_null(strstr(output, "  40 "));
    bad("member remove x", 64);
    bad("member remove 0", 64);
    bad("member", 64);
}

static void test_exit_codes(void **state) {
    (void) state;
    bad("get KEY_NOT_FOUND", 1);
    bad("put KEY_EXISTS v", 1);
    bad("del KEY_MODIFIED", 1);
    bad("put TOO_LARGE v", 64);
    bad("get INVALID_ARGUMENT", 64);
    bad("get PERMISSION_DENIED", 77);
    bad("get UNAVAILABLE --timeout 1s", 69);
    bad("put TIMEOUT v --timeout 1s", 75);
    bad("--endpoints 127.0.0.1:1 --timeout 1s get k", 69);
    bad("--endpoints nonsense get k", 64);
    bad("DRAX_ENDPOINTS=nonsense $DRAX_CLI get k", 78);
    good("DRAX_ENDPOINTS=nonsense $DRAX_CLI --version | cut -c1-9", "drax-cli \n");
    bad("get k >/dev/full", 74);
    bad("get k >&-", 74);
}

static void test_usage(void **state) {
    (void) state;
    bad("", 64);
    bad("nonsense", 64);
    bad("get", 64);
    bad("get a b", 64);
    bad("get a --nonsense", 64);
    bad("get a -x", 64);
    bad("get a --ttl 5s", 64);
    bad("put a b --ttl", 64);
    bad("put a b --ttl 0", 64);
    bad("put a b --ttl -5s", 64);
    bad("ls --limit x", 64);
    bad("-o xml get a", 64);
    bad("--timeout 5x get a", 64);
    bad("--timeout 0 get a", 64);
    bad("listen a", 64);
    bad("help nonsense", 64);
    assert_int_equal(run("--help"), 0);
    assert_non_null(strstr(output, "rmtree DIR"));
    assert_int_equal(run("help put"), 0);
    assert_non_null(strstr(output, "put KEY VALUE [--ttl DURATION]"));
    assert_int_equal(run("put --help"), 0);
    assert_non_null(strstr(output, "put KEY VALUE [--ttl DURATION]"));
    assert_int_equal(run("help member"), 0);
    assert_non_null(strstr(output, "member promote ID"));
}

static void test_import(void **state) {
    (void) state;
    size_t before = gateway_count(gateway);
    assert_int_equal(run("import <<'END'\n"
                         "{\"key\": \"a\", \"value\": \"1\"}\n\n"
                         "{\"key\": {\"base64\": \"/w==\"}, \"value\": \"2\"}\n"
                         "{\"key\": \"a\", \"value\": \"3\"}\nEND\n"),
                     0);
    assert_int_equal(gateway_count(gateway), before + 3);
    /* A later line with the same key waits until the first is written, which here takes two
     * attempts. */
    before = gateway_count(gateway);
    assert_int_equal(run("import <<'END'\n"
                         "{\"key\": \"again\", \"value\": \"1\"}\n"
                         "{\"key\": \"again\", \"value\": \"2\"}\nEND\n"),
                     0);
    assert_int_equal(gateway_count(gateway), before + 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(gateway_entry(gateway, before + i).seq, i == 2 ? 2 : 1);
    /* A record that is not acknowledged stops the import and names its line; a bad line as well. */
    assert_int_equal(run("import --timeout 1s - <<'END'\n"
                         "{\"key\": \"a\", \"value\": \"1\"}\n"
                         "{\"key\": \"KEY_EXISTS\", \"value\": \"2\"}\n"
                         "{\"key\": \"UNAVAILABLE\", \"value\": \"3\"}\nnonsense\nEND"),
                     1);
    assert_string_equal(errors, "drax-cli: line 2: KEY_EXISTS: two\\x0alines (1 keys imported)\n");
    assert_int_equal(run("import <<'END'\n{\"key\": \"a\", \"value\": \"1\"}\n{}\nEND"), 64);
    assert_non_null(strstr(errors, "line 2: "));
    bad("import /nonexistent/file", 74);
}

static void test_export(void **state) {
    (void) state;
    const char *lines =
        "{\"key\": \"d/0\", \"value\": \"v\"}\n{\"key\": \"d/1\", \"value\": \"v\"}\n"
        "{\"key\": \"d/2\", \"value\": \"v\"}\n"
        "{\"key\": \"d/3\", \"value\": {\"base64\": \"Cf8=\"}}\n"
        "{\"key\": \"d/4\", \"value\": \"v\"}\n";
    good("export", lines);
    assert_non_null(strstr(errors, "exported 5 keys in "));
    bad("export KEY_NOT_FOUND", 1);
    bad("export / /dev/full", 74);
    bad("export / /nonexistent/file", 74);
    char directory[] = "/tmp/drax-test-XXXXXX", command[200];
    assert_non_null(mkdtemp(directory));
    snprintf(command, sizeof command, "export d %s/out && cat %s/out", directory, directory);
    assert_int_equal(run(command), 0);
    assert_string_equal(output, lines);
    snprintf(command, sizeof command, "%s/out", directory);
    assert_int_equal(unlink(command), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),  cmocka_unit_test(test_listings),
        cmocka_unit_test(test_writes), cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_usage),  cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_import), cmocka_unit_test(test_export),
    };
    return cmocka_run_group_tests(tests, gateway_setup, gateway_teardown);
}
