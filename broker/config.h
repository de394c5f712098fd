/* config.h: what the user set: flags, environment, ZPL file, defaults (contract section 1).
 *
 * Precedence: flag, environment, file, default. A bad flag is DRAX_EUSAGE (exit 64); a bad
 * environment value, a bad or missing file, or a bad value in it is DRAX_ECONFIG (exit 78).
 * `detail` names the flag, variable or file and line, and what was expected. An environment
 * variable that a flag overrides is not looked at; the file is checked whole. An empty DRAX_PEER
 * means no peers. Loading starts no thread and no ZeroMQ context, so a process may fork after it.
 */
#ifndef DRAX_BROKER_CONFIG_H
#define DRAX_BROKER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/limits.h"
#include "broker/message.h"

#define SETTINGS_PEERS_MAX 16

typedef enum {
    SETTINGS_RUN,     /* draxd, draxd run */
    SETTINGS_STORAGE, /* draxd storage */
    SETTINGS_RAFT,
    SETTINGS_GATEWAY,
    SETTINGS_HELP,   /* --help anywhere */
    SETTINGS_VERSION /* --version anywhere */
} settings_command_t;

typedef struct settings {
    settings_command_t command;
    char home[LIMIT_PATH_BYTES]; /* absolute */
    char addr[LIMIT_ADDR_BYTES]; /* HOST:PORT, checked; so are the next three; may be a wildcard */
    char raft_addr[LIMIT_ADDR_BYTES];
    char advertise[LIMIT_ADDR_BYTES];
    char
        raft_advertise[LIMIT_ADDR_BYTES]; /* a wildcard raft-addr: advertise's host, its own port */
    char peers[SETTINGS_PEERS_MAX][LIMIT_ADDR_BYTES];
    size_t peer_count;
    uint64_t max_request_bytes;
    int log_level; /* log_level_t */
    int ready_fd;  /* -1: none */
} settings_t;

/* Reads argv, the environment and the file they name. 0, DRAX_EUSAGE, DRAX_ECONFIG. */
int settings_load(settings_t *out, int argc, char *const *argv, char *detail, size_t detail_size);

/* One setting by its name in the file and its value there, borrowed. */
typedef struct settings_pair {
    const char *name, *value;
} settings_pair_t;

/* The same for a node embedded in a program: `pairs` alone, as if they were flags, with neither
 * environment nor file. `home` must be among them. 0, DRAX_EUSAGE. */
int settings_from_pairs(settings_t *out, const settings_pair_t *pairs, size_t count, char *detail,
                        size_t detail_size);

/* Texts for --help and --version, as GNU programs print them; static storage. */
const char *settings_help(void);
const char *settings_version(void);

#endif
