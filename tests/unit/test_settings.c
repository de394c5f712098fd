/* test_settings.c: contract section 1's table: every source, which one wins, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <czmq.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config.h"
#include "broker/error.h"
#include "broker/log.h"

static const char *const variables[] = {"DRAX_HOME",        "DRAX_ADDR",           "DRAX_RAFT_ADDR",
                                        "DRAX_ADVERTISE",   "DRAX_RAFT_ADVERTISE", "DRAX_PEER",
                                        "DRAX_MAX_REQUEST", "DRAX_LOG_LEVEL",      "DRAX_CONFIG"};

typedef struct {
    char directory[64];
    char file[96];
    settings_t settings;
    char detail[512];
} fixture_t;

static int setup(void **state) {
    fixture_t *fixture = calloc(1, sizeof *fixture);
    if (!fixture)
        return -1;
    strcpy(fixture->directory, "/tmp/drax-settings-XXXXXX");
    if (!mkdtemp(fixture->directory))
        return -1;
    snprintf(fixture->file, sizeof fixture->file, "%s/drax.zpl", fixture->directory);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    *state = fixture;
    return 0;
}

static int teardown(void **state) {
    fixture_t *fixture = *state;
    unlink(fixture->file);
    int rc = rmdir(fixture->directory);
    free(fixture);
    return rc;
}

static int load(fixture_t *fixture, const char *const *words) {
    char *argv[64] = {(char *) (uintptr_t) "draxd"};
    int argc = 1;
    for (; *words; words++)
        argv[argc++] = (char *) (uintptr_t) *words;
    char *before[64];
    memcpy(before, argv, sizeof argv);
    int rc = settings_load(&fixture->settings, argc, argv, fixture->detail, sizeof fixture->detail);
    assert_memory_equal(before, argv, sizeof argv); /* argv keeps its order */
    if (rc == 0)
        assert_string_equal(fixture->detail, "");
    return rc;
}
#define LOAD(...) LOAD_WORDS(__VA_ARGS__, NULL)
#define LOAD_WORDS(fixture, ...) load((fixture), (const char *const[]){__VA_ARGS__})

static void file_write(const fixture_t *fixture, const void *text, size_t size) {
    FILE *stream = fopen(fixture->file, "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(text, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

static int load_file(fixture_t *fixture, const char *text) {
    file_write(fixture, text, strlen(text));
    return LOAD(fixture, "--config", fixture->file);
}

static void assert_says(const fixture_t *fixture, const char *part) {
    if (!strstr(fixture->detail, part))
        fail_msg("'%s' does not say '%s'", fixture->detail, part);
    assert_null(strchr(fixture->detail, '\n'));
}

static void test_defaults(void **state) {
    fixture_t *fixture = *state;
    settings_t *settings = &fixture->settings;
    assert_int_equal(LOAD(fixture), 0);
    assert_int_equal(settings->command, SETTINGS_RUN);
    assert_string_equal(settings->addr, "127.0.0.1:2380");
    assert_string_equal(settings->raft_addr, "127.0.0.1:2381");
    assert_string_equal(settings->advertise, "127.0.0.1:2380");
    assert_string_equal(settings->raft_advertise, "127.0.0.1:2381");
    assert_int_equal(settings->peer_count, 0);
    assert_int_equal(settings->max_request_bytes, 1572864);
    assert_int_equal(settings->log_level, LOG_LEVEL_INFO);
    assert_int_equal(settings->ready_fd, -1);
    char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    setenv("HOME", "/home/someone", 1);
    assert_int_equal(LOAD(fixture), 0);
    assert_string_equal(settings->home,
                        geteuid() == 0 ? "/var/lib/drax" : "/home/someone/.local/share/drax");
    unsetenv("HOME");
    assert_int_equal(LOAD(fixture), geteuid() == 0 ? 0 : DRAX_ECONFIG);
    if (home)
        setenv("HOME", home, 1);
    free(home);
}

static void test_every_flag(void **state) {
    fixture_t *fixture = *state;
    settings_t *settings = &fixture->settings;
    char fd[16];
    int open_fd = dup(STDERR_FILENO);
    snprintf(fd, sizeof fd, "%d", open_fd);
    assert_int_equal(LOAD(fixture, "raft", "--home", "/h", "--addr=[::1]:1000", "--raft-addr",
                          "b:1001", "--advertise", "c:1", "--raft-advertise=d:2", "--peer", "e:3",
                          "--peer=f:4,g:5", "--max-request", "1024", "--log-level", "debug",
                          "--ready-fd", fd),
                     0);
    assert_int_equal(settings->command, SETTINGS_RAFT);
    assert_string_equal(settings->home, "/h");
    assert_string_equal(settings->addr, "[::1]:1000");
    assert_string_equal(settings->raft_addr, "b:1001");
    assert_string_equal(settings->advertise, "c:1");
    assert_string_equal(settings->raft_advertise, "d:2");
    assert_int_equal(settings->peer_count, 3);
    assert_string_equal(settings->peers[0], "e:3");
    assert_string_equal(settings->peers[1], "f:4");
    assert_string_equal(settings->peers[2], "g:5");
    assert_int_equal(settings->max_request_bytes, 1024);
    assert_int_equal(settings->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(settings->ready_fd, open_fd);
    /* The last one counts. */
    assert_int_equal(LOAD(fixture, "--addr", "a:1", "--addr", "a:2"), 0);
    assert_string_equal(settings->addr, "a:2");
    close(open_fd);
}

static void test_every_variable(void **state) {
    fixture_t *fixture = *state;
    settings_t *settings = &fixture->settings;
    setenv("DRAX_HOME", "/h", 1);
    setenv("DRAX_ADDR", "a:1000", 1);
    setenv("DRAX_RAFT_ADDR", "b:1001", 1);
    setenv("DRAX_ADVERTISE", "c:1", 1);
    setenv("DRAX_RAFT_ADVERTISE", "d:2", 1);
    setenv("DRAX_PEER", "e:3,f:4", 1);
    setenv("DRAX_MAX_REQUEST", "16777216", 1);
    setenv("DRAX_LOG_LEVEL", "error", 1);
    assert_int_equal(LOAD(fixture, "storage"), 0);
    assert_int_equal(settings->command, SETTINGS_STORAGE);
    assert_string_equal(settings->home, "/h");
    assert_string_equal(settings->addr, "a:1000");
    assert_string_equal(settings->raft_addr, "b:1001");
    assert_string_equal(settings->advertise, "c:1");
    assert_string_equal(settings->raft_advertise, "d:2");
    assert_int_equal(settings->peer_count, 2);
    assert_int_equal(settings->max_request_bytes, 16777216);
    assert_int_equal(settings->log_level, LOG_LEVEL_ERROR);
}

static void test_every_name_in_a_file(void **state) {
    fixture_t *fixture = *state;
    settings_t *settings = &fixture->settings;
    assert_int_equal(load_file(fixture, "# a node\n\nhome = '/h # h'  # quoted\naddr=a:1000\r\n"
                                        "raft-addr = \"b:1001\"\nadvertise = c:1 # comment\n"
                                        "raft-advertise = d:2\npeer = e:3,f:4\npeer = g:5\n"
                                        "max-request = 2048\n    # indented comment\n"
                                        "log-level = warning"),
                     0);
    assert_string_equal(settings->home, "/h # h");
    assert_string_equal(settings->addr, "a:1000");
    assert_string_equal(settings->raft_addr, "b:1001");
    assert_string_equal(settings->advertise, "c:1");
    assert_string_equal(settings->raft_advertise, "d:2");
    assert_int_equal(settings->peer_count, 3);
    assert_string_equal(settings->peers[2], "g:5");
    assert_int_equal(settings->max_request_bytes, 2048);
    assert_int_equal(settings->log_level, LOG_LEVEL_WARNING);
    assert_int_equal(load_file(fixture, ""), 0);
}

static void test_precedence(void **state) {
    fixture_t *fixture = *state;
    settings_t *settings = &fixture->settings;
    const char text[] = "addr = file:1\nadvertise = file:2\nraft-addr = file:3\npeer = file:4\n"
                        "log-level = error\n";
    file_write(fixture, text, strlen(text));
    setenv("DRAX_CONFIG", fixture->file, 1);
    setenv("DRAX_ADDR", "env:1", 1);
    setenv("DRAX_ADVERTISE", "env:2", 1);
    setenv("DRAX_PEER", "env:4,env:5", 1);
    setenv("DRAX_LOG_LEVEL", "nonsense", 1); /* overridden, so not looked at */
    assert_int_equal(LOAD(fixture, "--addr", "flag:1", "--peer", "flag:4", "--log-level", "debug"),
                     0);
    assert_string_equal(settings->addr, "flag:1");
    assert_string_equal(settings->advertise, "env:2");
    assert_string_equal(settings->raft_addr, "file:3");
    assert_int_equal(settings->peer_count, 1); /* lists do not mix */
    assert_string_equal(settings->peers[0], "flag:4");
    assert_int_equal(settings->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(LOAD(fixture), DRAX_ECONFIG);
    assert_says(fixture, "DRAX_LOG_LEVEL: expected error, warning, info or debug, not 'nonsense'");
    unsetenv("DRAX_LOG_LEVEL");
    assert_int_equal(LOAD(fixture), 0);
    assert_int_equal(settings->peer_count, 2);
    setenv("DRAX_PEER", "", 1); /* none, also against the file */
    assert_int_equal(LOAD(fixture), 0);
    assert_int_equal(settings->peer_count, 0);
    unsetenv("DRAX_PEER");
    assert_int_equal(LOAD(fixture), 0);
    assert_string_equal(settings->peers[0], "file:4");
    /* --config beats DRAX_CONFIG */
    setenv("DRAX_CONFIG", "/nonexistent", 1);
    assert_int_equal(LOAD(fixture, "--config", fixture->file), 0);
    assert_int_equal(LOAD(fixture), DRAX_ECONFIG);
    assert_says(fixture, "/nonexistent: cannot be read: No such file");
}

static void test_bad_flags(void **state) {
    fixture_t *fixture = *state;
    const struct {
        const char *words[4], *says;
    } bad[] = {
        {{"--nonsense"}, "unknown flag '--nonsense'"},
        {{"-x"}, "unknown flag '-x'"},
        {{"--addr"}, "--addr: expected a value"},
        {{"--help=yes"}, "--help=yes: expected no value"},
        {{"--addr", "nonsense"}, "--addr: expected HOST:PORT, not 'nonsense'"},
        {{"--addr", ""}, "--addr: "},
        {{"--addr=h:0"}, "--addr: "},
        {{"--addr=h:70000"}, "--addr: "},
        {{"--raft-addr=h"}, "--raft-addr: "},
        {{"--advertise=0.0.0.0:1"}, "--advertise: expected HOST:PORT that others"},
        {{"--raft-advertise=[::]:1"}, "--raft-advertise: "},
        {{"--peer", ""}, "--peer: "},
        {{"--peer", "a:1,,b:2"}, "--peer: expected HOST:PORT[,HOST:PORT...], not 'a:1,,b:2'"},
        {{"--peer", "a:1,"}, "--peer: "},
        {{"--peer", "*:1"}, "--peer: "},
        {{"--home", ""}, "--home: "},
        {{"--home", "/a\nb"}, "--home: expected printable text, not '/a\\x0ab'"},
        {{"--config", ""}, "--config: "},
        {{"--max-request=1023"}, "--max-request: expected bytes from 1024 to 16777216"},
        {{"--max-request=16777217"}, "--max-request: "},
        {{"--max-request=99999999999999999999"}, "--max-request: "},
        {{"--max-request=-1"}, "--max-request: "},
        {{"--max-request=1M"}, "--max-request: "},
        {{"--log-level=loud"}, "--log-level: "},
        {{"--ready-fd=2"}, "--ready-fd: "},
        {{"--ready-fd=3x"}, "--ready-fd: "},
        {{"--ready-fd=1000000"}, "--ready-fd: "},
        {{"--ready-fd= 3"}, "--ready-fd: "},
        {{"nonsense"}, "unknown command 'nonsense'"},
        {{"run", "raft"}, "surplus word 'raft'"},
        {{"--", "raft", "x"}, "surplus word 'x'"},
        {{"--addr=h:65535"}, "leaves no port above it"},
        {{"--addr=0.0.0.0:1"}, "set --advertise"},
        {{"--addr=*:1"}, "set --advertise"},
        {{"--addr=h:1", "--raft-addr=h:1"}, "must differ"},
    };
    setenv("DRAX_MAX_REQUEST", "also bad", 1); /* the flag is reported first */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *words[5] = {bad[i].words[0], bad[i].words[1], bad[i].words[2]};
        if (i >= sizeof bad / sizeof bad[0] - 4)
            unsetenv("DRAX_MAX_REQUEST"); /* these are only seen when all is put together */
        int rc = load(fixture, words);
        if (rc != DRAX_EUSAGE)
            fail_msg("%s: %d", words[0], rc);
        assert_says(fixture, bad[i].says);
    }
}

static void test_bad_variables(void **state) {
    fixture_t *fixture = *state;
    const char *const bad[][2] = {
        {"DRAX_HOME", ""},          {"DRAX_ADDR", ""},         {"DRAX_ADDR", "h"},
        {"DRAX_RAFT_ADDR", "h:"},   {"DRAX_ADVERTISE", "*:1"}, {"DRAX_RAFT_ADVERTISE", ":1"},
        {"DRAX_PEER", ","},         {"DRAX_MAX_REQUEST", "1"}, {"DRAX_MAX_REQUEST", ""},
        {"DRAX_LOG_LEVEL", "INFO"}, {"DRAX_CONFIG", ""},       {"DRAX_CONFIG", "/nonexistent"},
        {"DRAX_ADDR", "0.0.0.0:1"}, {"DRAX_ADDR", "h:65535"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv(bad[i][0], bad[i][1], 1);
        if (LOAD(fixture) != DRAX_ECONFIG)
            fail_msg("%s=%s is accepted", bad[i][0], bad[i][1]);
        assert_true(fixture->detail[0] != '\0');
        unsetenv(bad[i][0]);
    }
}

static void test_bad_files(void **state) {
    fixture_t *fixture = *state;
    const char *const bad[][2] = {
        {"addr = a:1\nadress = b:1\n", ":2: the line has an unknown name: 'adress'"},
        {"config = x\n", ":1: the line has an unknown name: 'config'"},
        {"ready-fd = 3\n", ":1: the line has an unknown name: 'ready-fd'"},
        {"\n\naddr = nonsense\n", ":3: addr: expected HOST:PORT, not 'nonsense'"},
        {"addr\n", ":1: addr: "},
        {"addr =\n", ":1: addr: "},
        {"peer =\n", ":1: peer: "},
        {"addr a:1\n", ":1: the line is not NAME = VALUE"},
        {"addr: a:1\n", ":1: the line "},
        {"= a:1\n", ":1: the line "},
        {"addr = 'a:1\n", ":1: the line has a quote"},
        {"addr = 'a:1' b\n", ":1: the line has a quote"},
        {"node\n    addr = a:1\n", ":1: the line has an unknown name: 'node'"},
        {"    addr = a:1\n", ":1: the line is indented"},
        {"addr = a:1\naddr = a:2\n", ":2: the line sets again what is set above: 'addr'"},
        {"home = /a\x1b[2J\n", ":1: home: expected printable text"},
        {"\x7f"
         "ELF\x01\x02\n",
         ":1: the line has an unknown name: '\\x7fELF"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (load_file(fixture, bad[i][0]) != DRAX_ECONFIG)
            fail_msg("accepted: %s", bad[i][0]);
        assert_says(fixture, bad[i][1]);
        assert_says(fixture, fixture->file);
    }
    /* A bad file is bad even where a flag overrides it. */
    file_write(fixture, "addr = nonsense\n", 16);
    assert_int_equal(LOAD(fixture, "--config", fixture->file, "--addr", "a:1"), DRAX_ECONFIG);
    file_write(fixture, "addr = a:1\n\0", 12);
    assert_int_equal(LOAD(fixture, "--config", fixture->file), DRAX_ECONFIG);
    assert_says(fixture, "not a text file");
    assert_int_equal(LOAD(fixture, "--config", fixture->directory), DRAX_ECONFIG);
    assert_says(fixture, "not a regular file");
    unlink(fixture->file);
    assert_int_equal(LOAD(fixture, "--config", fixture->file), DRAX_ECONFIG);
    assert_int_equal(mkfifo(fixture->file, 0600), 0); /* must not wait for a writer */
    assert_int_equal(LOAD(fixture, "--config", fixture->file), DRAX_ECONFIG);
}

static void test_file_size_limit(void **state) {
    fixture_t *fixture = *state;
    char *text = malloc(LIMIT_CONFIG_BYTES + 1);
    assert_non_null(text);
    memset(text, '#', LIMIT_CONFIG_BYTES + 1);
    file_write(fixture, text, LIMIT_CONFIG_BYTES);
    assert_int_equal(LOAD(fixture, "--config", fixture->file), 0);
    file_write(fixture, text, LIMIT_CONFIG_BYTES + 1);
    assert_int_equal(LOAD(fixture, "--config", fixture->file), DRAX_ECONFIG);
    assert_says(fixture, "too large");
    free(text);
}

static void test_peer_limit(void **state) {
    fixture_t *fixture = *state;
    char peers[256] = "a:1";
    for (int i = 1; i < SETTINGS_PEERS_MAX; i++)
        strcat(peers, ",a:1");
    assert_int_equal(LOAD(fixture, "--peer", peers), 0);
    assert_int_equal(fixture->settings.peer_count, SETTINGS_PEERS_MAX);
    assert_int_equal(LOAD(fixture, "--peer", peers, "--peer", "b:1"), DRAX_EUSAGE);
    assert_says(fixture, "no more than 16 peers");
}

static void test_advertise(void **state) {
    fixture_t *fixture = *state;
    settings_t *settings = &fixture->settings;
    assert_int_equal(LOAD(fixture, "--addr", "0.0.0.0:7000", "--advertise", "node1:80"), 0);
    assert_string_equal(settings->addr, "0.0.0.0:7000");
    assert_string_equal(settings->raft_addr, "0.0.0.0:7001");
    assert_string_equal(settings->advertise, "node1:80");
    assert_string_equal(settings->raft_advertise, "node1:7001");
    assert_int_equal(LOAD(fixture, "--addr", "node1:7000", "--raft-addr", "*:9"), 0);
    assert_string_equal(settings->advertise, "node1:7000");
    assert_string_equal(settings->raft_advertise, "node1:9");
    assert_int_equal(LOAD(fixture, "--addr", "h:7000", "--advertise", "public:1"), 0);
    assert_string_equal(settings->raft_advertise, "h:7001");
    assert_int_equal(LOAD(fixture, "--addr", "h:65534"), 0);
    assert_string_equal(settings->raft_addr, "h:65535");
}

static void test_home_is_absolute(void **state) {
    fixture_t *fixture = *state;
    char before[PATH_MAX], expected[PATH_MAX + 16];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(fixture->directory), 0);
    assert_non_null(getcwd(expected, PATH_MAX));
    strcat(expected, "/not/yet");
    assert_int_equal(LOAD(fixture, "--home", "not/yet"), 0);
    assert_string_equal(fixture->settings.home, expected);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(LOAD(fixture, "--home", "not/yet"), 0);
    assert_string_equal(fixture->settings.home, "/not/yet");
    assert_int_equal(chdir(fixture->directory), 0);
    char longest[LIMIT_PATH_BYTES + 1];
    memset(longest, 'h', sizeof longest);
    longest[LIMIT_PATH_BYTES - 1] = '\0';
    assert_int_equal(LOAD(fixture, "--home", longest), DRAX_EUSAGE);
    longest[0] = '/';
    assert_int_equal(LOAD(fixture, "--home", longest), 0);
    assert_int_equal(chdir(before), 0);
}

static void test_help_and_version(void **state) {
    fixture_t *fixture = *state;
    setenv("DRAX_ADDR", "nonsense", 1);
    assert_int_equal(LOAD(fixture, "raft", "--help"), 0);
    assert_int_equal(fixture->settings.command, SETTINGS_HELP);
    assert_int_equal(LOAD(fixture, "--version", "--nonsense"), 0);
    assert_int_equal(fixture->settings.command, SETTINGS_VERSION);
    assert_int_equal(LOAD(fixture, "--nonsense", "--version"), DRAX_EUSAGE);
    const char *const flags[] = {"--home",           "--addr",     "--raft-addr", "--advertise",
                                 "--raft-advertise", "--peer",     "--config",    "--max-request",
                                 "--log-level",      "--ready-fd", "--version",   "--help"};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        assert_non_null(strstr(settings_help(), flags[i]));
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        assert_non_null(strstr(settings_help(), variables[i]));
    assert_string_equal(settings_version(), "draxd (Drax) " DRAX_VERSION "\n");
}

/* What zconfig makes of a file is what we make of it. */
static void test_same_language_as_zconfig(void **state) {
    fixture_t *fixture = *state;
    const char *const homes[] = {"/x",      "  /x  ",  "/x # c",  "'/x'",      "\"/x # y\" # c",
                                 "/x'y",    "/x y\tz", "'/x' ",   "/x#y",      "\t/x\t",
                                 "/x = /y", "\"/x'\"", "'/\"'\r", "/x \"y\" ", "/\xc3\xa9"};
    for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++) {
        for (int form = 0; form < 2; form++) {
            char text[128];
            snprintf(text, sizeof text, form ? "# c\nhome=%s\n" : "home \t = %s", homes[i]);
            zconfig_t *root = zconfig_str_load(text);
            assert_non_null(root);
            assert_string_equal(zconfig_name(zconfig_child(root)), "home");
            int rc = load_file(fixture, text);
            if (strchr(zconfig_value(zconfig_child(root)), '\t')) {
                assert_int_equal(rc, DRAX_ECONFIG); /* a control character */
            } else {
                assert_int_equal(rc, 0);
                assert_string_equal(fixture->settings.home, zconfig_value(zconfig_child(root)));
            }
            zconfig_destroy(&root);
        }
    }
}

static size_t threads_count(void) {
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    size_t count = 0;
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

static void test_loading_starts_no_thread(void **state) {
    fixture_t *fixture = *state;
    size_t before = threads_count();
    assert_int_equal(load_file(fixture, "addr = a:1\n"), 0);
    assert_int_equal(threads_count(), before);
}

static int from_pairs(fixture_t *fixture, const settings_pair_t *pairs) {
    size_t count = 0;
    while (pairs[count].name)
        count++;
    return settings_from_pairs(&fixture->settings, pairs, count, fixture->detail,
                               sizeof fixture->detail);
}
#define PAIRS(...) ((const settings_pair_t[]){__VA_ARGS__, {NULL, NULL}})

/* A program that embeds a node: its words alone count. */
static void test_pairs(void **state) {
    fixture_t *fixture = *state;
    setenv("DRAX_ADDR", "c:3", 1);
    setenv("DRAX_CONFIG", "/nowhere", 1);
    int rc = from_pairs(
        fixture, PAIRS({"home", "/h"}, {"peer", "a:1"}, {"peer", "b:2"}, {"log-level", "debug"}));
    unsetenv("DRAX_ADDR");
    unsetenv("DRAX_CONFIG");
    assert_int_equal(rc, 0);
    assert_string_equal(fixture->settings.home, "/h");
    assert_string_equal(fixture->settings.addr, "127.0.0.1:2380");
    assert_string_equal(fixture->settings.raft_advertise, "127.0.0.1:2381");
    assert_int_equal(fixture->settings.peer_count, 2);
    assert_int_equal(fixture->settings.log_level, LOG_LEVEL_DEBUG);

    assert_int_equal(from_pairs(fixture, PAIRS({"addr", "a:1"})), DRAX_EUSAGE);
    assert_says(fixture, "home is not set");
    assert_int_equal(from_pairs(fixture, PAIRS({"home", ""})), DRAX_EUSAGE);
    assert_int_equal(from_pairs(fixture, PAIRS({"home", "/h"}, {"color", "red"})), DRAX_EUSAGE);
    assert_says(fixture, "no setting is named 'color'");
    assert_int_equal(from_pairs(fixture, PAIRS({"home", "/h"}, {"addr", "nowhere"})), DRAX_EUSAGE);
    assert_says(fixture, "addr: expected HOST:PORT, not 'nowhere'");
    assert_int_equal(from_pairs(fixture, PAIRS({"home", "/h"}, {"addr", "*:1"})), DRAX_EUSAGE);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_every_flag),
        TEST(test_every_variable),
        TEST(test_every_name_in_a_file),
        TEST(test_precedence),
        TEST(test_bad_flags),
        TEST(test_bad_variables),
        TEST(test_bad_files),
        TEST(test_file_size_limit),
        TEST(test_peer_limit),
        TEST(test_advertise),
        TEST(test_home_is_absolute),
        TEST(test_help_and_version),
        TEST(test_same_language_as_zconfig),
        TEST(test_loading_starts_no_thread),
        TEST(test_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
