/* fuzz_settings.c: any bytes as flags, environment, configuration file and addresses.
 *
 *   input = { line "\n" }     a line that begins with = is of the file, one with $ sets an
 *                             environment variable, any other is a flag
 *
 * Properties: settings that load are whole and within their limits; a refusal has a sentence that
 * is one printable line.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/config_parts.h"
#include "broker/endpoint.h"
#include "broker/error.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX 2048u
#define ARGUMENTS_MAX 16

typedef struct plan {
    char *argv[ARGUMENTS_MAX + 2];
    int argc;
    char file[TEXT_MAX + 1];
    size_t file_size;
    bool set[SETTING_COUNT];
} plan_t;

/* The settings have eight variables: $0 to $7 name them. */
static void environment_line(plan_t *plan, const char *line) {
    setting_t setting = (setting_t) ((unsigned) line[0] % SETTING_COUNT);
    plan->set[setting] = true;
    (void) setenv(setting_environment(setting), line[0] ? line + 1 : line, 1);
}

static void lines_take(plan_t *plan, char *text) {
    static char name[] = "draxd";
    plan->argv[plan->argc++] = name;
    for (char *line; (line = strsep(&text, "\n"));) {
        if (line[0] == '=') {
            size_t size = strlen(line);
            line[size] = '\n';
            memcpy(plan->file + plan->file_size, line + 1, size);
            plan->file_size += size;
            line[size] = '\0';
        } else if (line[0] == '$') {
            environment_line(plan, line + 1);
        } else if (plan->argc <= ARGUMENTS_MAX) {
            plan->argv[plan->argc++] = line;
        }
    }
}

static void detail_check(const char *detail) {
    assert(detail[0]);
    for (const char *at = detail; *at; at++)
        assert(isprint((unsigned char) *at));
}

static void addresses_check(const char *text) {
    char out[LIMIT_ADDR_BYTES], endpoint[ENDPOINT_BYTES];
    if (!address_valid(text))
        return;
    unsigned port = address_port(text);
    assert(port >= 1 && port <= 65535);
    (void) address_wildcard(text);
    (void) address_ipv6(text);
    endpoint_tcp(endpoint, text);
    assert(strcmp(endpoint + strlen("tcp://"), text) == 0);
    if (address_with_port(out, text, 65535) == 0)
        assert(address_valid(out) && address_port(out) == 65535);
}

static void settings_check(const settings_t *settings) {
    if (settings->command >= SETTINGS_HELP)
        return;
    assert(settings->home[0] == '/');
    assert(address_valid(settings->addr) && address_valid(settings->raft_addr));
    assert(address_valid(settings->advertise) && !address_wildcard(settings->advertise));
    assert(address_valid(settings->raft_advertise));
    assert(settings->peer_count <= SETTINGS_PEERS_MAX);
    for (size_t i = 0; i < settings->peer_count; i++)
        assert(address_valid(settings->peers[i]));
    assert(settings->max_request_bytes >= LIMIT_REQUEST_MIN_BYTES &&
           settings->max_request_bytes <= LIMIT_REQUEST_MAX_BYTES);
}

static void file_check(const plan_t *plan) {
    static int file = -1;
    static char path[64];
    if (file < 0) {
        file = memfd_create("settings", MFD_CLOEXEC);
        (void) snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    static settings_t settings;
    char detail[512] = "";
    loading_t loading = {.settings = &settings, .detail = detail, .detail_size = sizeof detail};
    if (ftruncate(file, 0) != 0 ||
        pwrite(file, plan->file, plan->file_size, 0) != (ssize_t) plan->file_size)
        abort();
    int rc = file_read(&loading, path);
    assert(rc == 0 || rc == DRAX_ECONFIG);
    if (rc)
        detail_check(detail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static plan_t plan;
    static settings_t settings;
    static char text[TEXT_MAX + 1];
    size_t used = size < TEXT_MAX ? size : TEXT_MAX;
    if (used)
        memcpy(text, data, used);
    text[used] = '\0';
    plan.argc = 0;
    plan.file_size = 0;
    addresses_check(text);
    lines_take(&plan, text);
    plan.argv[plan.argc] = NULL;
    char detail[512] = "";
    int rc = settings_load(&settings, plan.argc, plan.argv, detail, sizeof detail);
    assert(rc == 0 || rc == DRAX_EUSAGE || rc == DRAX_ECONFIG);
    rc ? detail_check(detail) : settings_check(&settings);
    if (plan.file_size)
        file_check(&plan);
    for (setting_t setting = 0; setting < SETTING_COUNT; setting++)
        if (plan.set[setting])
            (void) unsetenv(setting_environment(setting));
    memset(plan.set, 0, sizeof plan.set);
    return 0;
}
