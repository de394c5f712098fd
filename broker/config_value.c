/* config_value.c: the settings by name, and what each takes.
 *
 * Owns the one table of names. Knows nothing of where a value comes from but its origin.
 */
#include "broker/config_parts.h"

#include <stdio.h>
#include <string.h>

#include "broker/endpoint.h"
#include "broker/error.h"
#include "broker/log.h"

/* Returns NULL, or what was expected instead of `value`. */
typedef const char *setting_check_fn(settings_t *settings, const char *value);

static const char *home_set(settings_t *settings, const char *value);
static const char *addr_set(settings_t *settings, const char *value);
static const char *raft_addr_set(settings_t *settings, const char *value);
static const char *advertise_set(settings_t *settings, const char *value);
static const char *raft_advertise_set(settings_t *settings, const char *value);
static const char *peers_add(settings_t *settings, const char *value);
static const char *max_request_set(settings_t *settings, const char *value);
static const char *log_level_set(settings_t *settings, const char *value);

static const struct {
    const char *name, *environment;
    setting_check_fn *set;
} table[SETTING_COUNT] = {
    [SETTING_HOME] = {"home", "DRAX_HOME", home_set},
    [SETTING_ADDR] = {"addr", "DRAX_ADDR", addr_set},
    [SETTING_RAFT_ADDR] = {"raft-addr", "DRAX_RAFT_ADDR", raft_addr_set},
    [SETTING_ADVERTISE] = {"advertise", "DRAX_ADVERTISE", advertise_set},
    [SETTING_RAFT_ADVERTISE] = {"raft-advertise", "DRAX_RAFT_ADVERTISE", raft_advertise_set},
    [SETTING_PEER] = {"peer", "DRAX_PEER", peers_add},
    [SETTING_MAX_REQUEST] = {"max-request", "DRAX_MAX_REQUEST", max_request_set},
    [SETTING_LOG_LEVEL] = {"log-level", "DRAX_LOG_LEVEL", log_level_set},
};

int setting_store(loading_t *self, setting_t setting, origin_t origin, const char *where,
                  const char *value) {
    settings_t ignored = {0};
    settings_t *target = self->settings;
    if (self->origins[setting] > origin)
        target = &ignored; /* still checked: a bad file is bad even where it is overridden */
    const char *expected = "printable text";
    if (setting_printable(value) || value[0] == '\0')
        expected = table[setting].set(target, value);
    if (expected) {
        char shown[128];
        return loading_fail(self, origin == ORIGIN_FLAG ? DRAX_EUSAGE : DRAX_ECONFIG,
                            "%s: expected %s, not '%s'", where, expected,
                            log_escape(shown, sizeof shown, value, strlen(value)));
    }
    if (target == self->settings)
        self->origins[setting] = origin;
    return 0;
}

const char *setting_name(setting_t setting) {
    return table[setting].name;
}

const char *setting_environment(setting_t setting) {
    return table[setting].environment;
}

int setting_find(const char *name) {
    for (int setting = 0; setting < SETTING_COUNT; setting++)
        if (strcmp(name, table[setting].name) == 0)
            return setting;
    return -1;
}

bool setting_printable(const char *value) {
    if (value[0] == '\0')
        return false;
    for (; *value; value++)
        if ((unsigned char) *value < 0x20 || *value == 0x7f)
            return false;
    return true;
}

static const char *home_set(settings_t *settings, const char *value) {
    size_t size = strlen(value);
    if (size < 1 || size >= sizeof settings->home)
        return "the path of a directory";
    memcpy(settings->home, value, size + 1);
    return NULL;
}

static const char *address_set(char out[LIMIT_ADDR_BYTES], const char *value, bool wildcard) {
    if (!address_valid(value))
        return "HOST:PORT";
    if (!wildcard && address_wildcard(value))
        return "HOST:PORT that others can connect to";
    memcpy(out, value, strlen(value) + 1); /* a valid address fits */
    return NULL;
}

static const char *addr_set(settings_t *settings, const char *value) {
    return address_set(settings->addr, value, true);
}

static const char *raft_addr_set(settings_t *settings, const char *value) {
    return address_set(settings->raft_addr, value, true);
}

static const char *advertise_set(settings_t *settings, const char *value) {
    return address_set(settings->advertise, value, false);
}

static const char *raft_advertise_set(settings_t *settings, const char *value) {
    return address_set(settings->raft_advertise, value, false);
}

/* HOST:PORT[,HOST:PORT…]; nothing may be empty. */
static const char *peers_add(settings_t *settings, const char *value) {
    static const char expected[] = "HOST:PORT[,HOST:PORT...]";
    for (;;) {
        char peer[LIMIT_ADDR_BYTES];
        size_t size = strcspn(value, ",");
        if (size >= sizeof peer)
            return expected;
        memcpy(peer, value, size);
        peer[size] = '\0';
        if (settings->peer_count == SETTINGS_PEERS_MAX)
            return "no more than 16 peers";
        if (address_set(settings->peers[settings->peer_count], peer, false))
            return expected;
        settings->peer_count++;
        if (value[size] == '\0')
            return NULL;
        value += size + 1;
    }
}

_Static_assert(SETTINGS_PEERS_MAX == 16, "a text above says so");
_Static_assert(LIMIT_REQUEST_MIN_BYTES == 1024 && LIMIT_REQUEST_MAX_BYTES == 16777216,
               "a text below says so");

static const char *max_request_set(settings_t *settings, const char *value) {
    static const char expected[] = "bytes from 1024 to 16777216";
    size_t size = strlen(value);
    if (size < 1 || size > 8 || strspn(value, "0123456789") != size)
        return expected;
    uint64_t bytes = 0;
    for (size_t i = 0; i < size; i++)
        bytes = bytes * 10 + (uint64_t) (value[i] - '0');
    if (bytes < LIMIT_REQUEST_MIN_BYTES || bytes > LIMIT_REQUEST_MAX_BYTES)
        return expected;
    settings->max_request_bytes = bytes;
    return NULL;
}

static const char *log_level_set(settings_t *settings, const char *value) {
    int level = log_level_parse(value);
    if (level < 0)
        return "error, warning, info or debug";
    settings->log_level = level;
    return NULL;
}
