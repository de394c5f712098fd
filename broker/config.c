/* config.c: from flags, environment, file and defaults to one settings_t.
 *
 * The highest source is read first: flags, because they name the file and because a bad flag is
 * reported before anything else; then the environment, then the file. setting_store keeps what a
 * higher one has set.
 *
 * Invariants of settings that were loaded
 *   1. home is absolute; every address is valid.
 *   2. advertise, raft_advertise and peers can be connected to: none is a wildcard.
 *   3. addr and raft_addr differ.
 */
#include "broker/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/config_parts.h"
#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/log.h"

static loading_t loading_begin(settings_t *settings, char *detail, size_t detail_size);
static int environment_read(loading_t *self);
static int config_read(loading_t *self);
static int defaults_fill(loading_t *self);
static int home_default(loading_t *self);
static int home_make_absolute(loading_t *self);
static int advertise_default(loading_t *self);
static int loading_code(const loading_t *self, setting_t setting);

int settings_load(settings_t *out, int argc, char *const *argv, char *detail, size_t detail_size) {
    loading_t loading = loading_begin(out, detail, detail_size);
    int rc = flags_read(&loading, argc, argv);
    if (rc || out->command == SETTINGS_HELP || out->command == SETTINGS_VERSION)
        return rc;
    rc = environment_read(&loading);
    if (!rc)
        rc = config_read(&loading);
    if (!rc)
        rc = defaults_fill(&loading);
    return rc;
}

int settings_from_pairs(settings_t *out, const settings_pair_t *pairs, size_t count, char *detail,
                        size_t detail_size) {
    loading_t loading = loading_begin(out, detail, detail_size);
    for (size_t i = 0; i < count; i++) {
        char shown[64];
        int setting = setting_find(pairs[i].name);
        if (setting < 0)
            return loading_fail(
                &loading, DRAX_EUSAGE, "no setting is named '%s'",
                log_escape(shown, sizeof shown, pairs[i].name, strlen(pairs[i].name)));
        int rc = setting_store(&loading, (setting_t) setting, ORIGIN_FLAG, pairs[i].name,
                               pairs[i].value);
        if (rc)
            return rc;
    }
    /* Whoever embeds a node has a place for it; draxd's default is draxd's. */
    if (loading.origins[SETTING_HOME] == ORIGIN_DEFAULT)
        return loading_fail(&loading, DRAX_EUSAGE, "home is not set");
    return defaults_fill(&loading);
}

static loading_t loading_begin(settings_t *settings, char *detail, size_t detail_size) {
    if (detail_size > 0)
        detail[0] = '\0';
    *settings = (settings_t){.command = SETTINGS_RUN,
                             .addr = "127.0.0.1:2380",
                             .max_request_bytes = LIMIT_REQUEST_DEFAULT_BYTES,
                             .log_level = LOG_LEVEL_INFO,
                             .ready_fd = -1};
    return (loading_t){.settings = settings, .detail = detail, .detail_size = detail_size};
}

int loading_fail(loading_t *self, int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self->detail, self->detail_size, format, arguments);
    va_end(arguments);
    return code;
}

/* A variable that a flag overrides is not looked at. */
static int environment_read(loading_t *self) {
    for (setting_t setting = 0; setting < SETTING_COUNT; setting++) {
        const char *name = setting_environment(setting);
        const char *value = getenv(name);
        if (!value || self->origins[setting] == ORIGIN_FLAG)
            continue;
        if (setting == SETTING_PEER && value[0] == '\0') {
            /* How a service file says: no peers, whatever the configuration file says. */
            self->origins[setting] = ORIGIN_ENVIRONMENT;
            continue;
        }
        int rc = setting_store(self, setting, ORIGIN_ENVIRONMENT, name, value);
        if (rc)
            return rc;
    }
    return 0;
}

static int config_read(loading_t *self) {
    if (self->config)
        return file_read(self, self->config);
    const char *value = getenv("DRAX_CONFIG");
    if (!value)
        return 0;
    if (!setting_printable(value))
        return loading_fail(self, DRAX_ECONFIG, "DRAX_CONFIG: expected the path of a file");
    return file_read(self, value);
}

static int defaults_fill(loading_t *self) {
    settings_t *settings = self->settings;
    int rc = 0;
    if (self->origins[SETTING_HOME] == ORIGIN_DEFAULT)
        rc = home_default(self);
    if (!rc)
        rc = home_make_absolute(self);
    if (rc)
        return rc;
    if (self->origins[SETTING_RAFT_ADDR] == ORIGIN_DEFAULT &&
        address_with_port(settings->raft_addr, settings->addr, address_port(settings->addr) + 1))
        return loading_fail(self, loading_code(self, SETTING_ADDR),
                            "addr %s leaves no port above it for raft: set --raft-addr",
                            settings->addr);
    if (strcmp(settings->addr, settings->raft_addr) == 0)
        return loading_fail(self, loading_code(self, SETTING_RAFT_ADDR),
                            "addr and raft-addr are both %s: they must differ", settings->addr);
    return advertise_default(self);
}

static int home_default(loading_t *self) {
    char *home = self->settings->home;
    if (geteuid() == 0) {
        strcpy(home, "/var/lib/drax");
        return 0;
    }
    const char *user = getenv("HOME");
    if (!user || !setting_printable(user))
        return loading_fail(self, DRAX_ECONFIG, "HOME is not set: set --home");
    int length = snprintf(home, LIMIT_PATH_BYTES, "%s/.local/share/drax", user);
    if (length < 0 || (size_t) length >= LIMIT_PATH_BYTES)
        return loading_fail(self, DRAX_ECONFIG, "HOME is too long: set --home");
    return 0;
}

/* Relative to the working directory, and without looking whether it exists. */
static int home_make_absolute(loading_t *self) {
    char *home = self->settings->home;
    char path[2 * LIMIT_PATH_BYTES];
    if (home[0] == '/')
        return 0;
    if (!getcwd(path, LIMIT_PATH_BYTES))
        return loading_fail(self, loading_code(self, SETTING_HOME),
                            "home is relative and the working directory cannot be read: %s",
                            strerror(errno));
    size_t size = strlen(path);
    int length = snprintf(path + size, sizeof path - size, "%s%s", size > 1 ? "/" : "", home);
    if (length < 0 || size + (size_t) length >= LIMIT_PATH_BYTES)
        return loading_fail(self, loading_code(self, SETTING_HOME),
                            "home is longer than %u bytes as an absolute path",
                            LIMIT_PATH_BYTES - 1);
    memcpy(home, path, size + (size_t) length + 1);
    return 0;
}

/* A wildcard cannot be advertised. Where only raft-addr is one, its host is that of `advertise`:
 * both name this machine. */
static int advertise_default(loading_t *self) {
    settings_t *settings = self->settings;
    if (self->origins[SETTING_ADVERTISE] == ORIGIN_DEFAULT) {
        if (address_wildcard(settings->addr))
            return loading_fail(self, loading_code(self, SETTING_ADDR),
                                "addr %s is every interface of this machine: set --advertise to "
                                "the address that others connect to",
                                settings->addr);
        strcpy(settings->advertise, settings->addr);
    }
    if (self->origins[SETTING_RAFT_ADVERTISE] != ORIGIN_DEFAULT)
        return 0;
    if (!address_wildcard(settings->raft_addr)) {
        strcpy(settings->raft_advertise, settings->raft_addr);
        return 0;
    }
    if (address_with_port(settings->raft_advertise, settings->advertise,
                          address_port(settings->raft_addr)))
        return loading_fail(self, loading_code(self, SETTING_RAFT_ADDR),
                            "raft-addr %s is every interface of this machine: set "
                            "--raft-advertise",
                            settings->raft_addr);
    return 0;
}

/* What a setting that fits with the others badly is called: a bad flag, or a bad configuration. */
static int loading_code(const loading_t *self, setting_t setting) {
    return self->origins[setting] == ORIGIN_FLAG ? DRAX_EUSAGE : DRAX_ECONFIG;
}
