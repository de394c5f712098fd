/* config_parts.h: what the files that make up config.h share; nobody else includes it.
 *
 * config.c        the order of the sources, and defaults
 * config_value.c  the settings by name: how each is checked and stored
 * config_flags.c  the command line
 * config_file.c   the file
 */
#ifndef DRAX_BROKER_CONFIG_PARTS_H
#define DRAX_BROKER_CONFIG_PARTS_H

#include "broker/config.h"

typedef enum {
    SETTING_HOME,
    SETTING_ADDR,
    SETTING_RAFT_ADDR,
    SETTING_ADVERTISE,
    SETTING_RAFT_ADVERTISE,
    SETTING_PEER,
    SETTING_MAX_REQUEST,
    SETTING_LOG_LEVEL,
    SETTING_COUNT
} setting_t;

/* Where a value comes from; a higher one wins. */
typedef enum { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG } origin_t;

typedef struct loading {
    settings_t *settings;
    origin_t origins[SETTING_COUNT];
    const char *config; /* the value of --config, borrowed from argv; NULL when not given */
    char *detail;
    size_t detail_size;
} loading_t;

const char *setting_name(setting_t setting);        /* as in the file, and after -- */
const char *setting_environment(setting_t setting); /* DRAX_… */
int setting_find(const char *name);                 /* a setting_t, or -1 */

/* Checks `value` and stores it, unless a higher origin has been stored before; higher ones must
 * come first. `where` names the source for the detail line. DRAX_EUSAGE when `origin` is a flag,
 * else DRAX_ECONFIG. Of one origin, peers add up and of all else the last value counts. */
int setting_store(loading_t *self, setting_t setting, origin_t origin, const char *where,
                  const char *value);

/* No control characters and not empty: what every value must be. */
bool setting_printable(const char *value);

/* Fills the detail line and returns `code`. */
int loading_fail(loading_t *self, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads argv into `self`: settings with ORIGIN_FLAG, config, command, ready_fd. Stops at --help and
 * --version. 0 or DRAX_EUSAGE. */
int flags_read(loading_t *self, int argc, char *const *argv);

/* Reads the ZPL file at `path`: settings with ORIGIN_FILE. 0 or DRAX_ECONFIG. */
int file_read(loading_t *self, const char *path);

#endif
