/* config_flags.c: draxd's command line, and the texts about it.
 *
 * The caller's argv stays as it is: getopt_long is told to keep the order.
 */
#include "broker/config_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/error.h"
#include "broker/log.h"

/* What getopt_long returns: a setting_t from FLAG_FIRST on, then the flags that are not settings.
 * Above all characters, which mean short flags; there are none. */
enum {
    FLAG_WORD = 1, /* getopt_long's code for a word that is no flag */
    FLAG_FIRST = 256,
    FLAG_CONFIG = FLAG_FIRST + SETTING_COUNT,
    FLAG_READY_FD,
    FLAG_HELP,
    FLAG_VERSION
};

static int flag_take(loading_t *self, int flag, const char *value);
static int flag_unknown(loading_t *self, int flag, const char *text);
static int ready_fd_set(loading_t *self, const char *value);
static int command_set(loading_t *self, const char *word, bool *has_command);

int flags_read(loading_t *self, int argc, char *const *argv) {
    struct option options[SETTING_COUNT + 5] = {{0}};
    size_t count = 0;
    for (setting_t setting = 0; setting < SETTING_COUNT; setting++)
        options[count++] = (struct option){setting_name(setting), required_argument, NULL,
                                           FLAG_FIRST + (int) setting};
    options[count++] = (struct option){"config", required_argument, NULL, FLAG_CONFIG};
    options[count++] = (struct option){"ready-fd", required_argument, NULL, FLAG_READY_FD};
    options[count++] = (struct option){"help", no_argument, NULL, FLAG_HELP};
    options[count++] = (struct option){"version", no_argument, NULL, FLAG_VERSION};

    bool has_command = false;
    opterr = 0; /* the detail line says it */
    optind = 0; /* starts anew, also after an earlier call */
    int rc = 0, flag;
    while (!rc && (flag = getopt_long(argc, argv, "-:", options, NULL)) != -1) {
        if (flag == FLAG_WORD)
            rc = command_set(self, optarg, &has_command);
        else if (flag == '?' || flag == ':')
            rc = flag_unknown(self, flag, argv[optind - 1]);
        else
            rc = flag_take(self, flag, optarg);
        if (flag == FLAG_HELP || flag == FLAG_VERSION)
            return rc;
    }
    for (int i = optind; !rc && i < argc; i++) /* after -- */
        rc = command_set(self, argv[i], &has_command);
    return rc;
}

const char *settings_help(void) {
    return "Usage: draxd [run|storage|raft|gateway] [FLAG]...\n"
           "Run a node of a Drax cluster, or one of its actors.\n"
           "\n"
           "Commands:\n"
           "  run       start a node: its storage, raft and gateway actors, kept alive (default)\n"
           "  storage   the storage actor alone: raft log and state\n"
           "  raft      the raft actor alone: consensus with the peers\n"
           "  gateway   the gateway actor alone: clients\n"
           "\n"
           "Flags, each with its environment variable and default:\n"
           "  --home DIR                  DRAX_HOME            all state of the node\n"
           "                                (/var/lib/drax as root, else ~/.local/share/drax)\n"
           "  --addr HOST:PORT            DRAX_ADDR            where clients connect\n"
           "                                (127.0.0.1:2380)\n"
           "  --raft-addr HOST:PORT       DRAX_RAFT_ADDR       where peers connect\n"
           "                                (host of --addr, its port + 1)\n"
           "  --advertise HOST:PORT       DRAX_ADVERTISE       what clients are told to connect "
           "to\n"
           "                                (--addr)\n"
           "  --raft-advertise HOST:PORT  DRAX_RAFT_ADVERTISE  what peers are told to connect to\n"
           "                                (--raft-addr)\n"
           "  --peer HOST:PORT[,...]      DRAX_PEER            --addr of nodes of the cluster to\n"
           "                                join (none: a new cluster); may be repeated\n"
           "  --config FILE               DRAX_CONFIG          ZPL file with the same names "
           "(none)\n"
           "  --max-request BYTES         DRAX_MAX_REQUEST     largest request (1572864)\n"
           "  --log-level LEVEL           DRAX_LOG_LEVEL       error, warning, info or debug "
           "(info)\n"
           "  --ready-fd N                                     write a newline to descriptor N\n"
           "                                and close it when ready\n"
           "  --help                      print this text and exit\n"
           "  --version                   print the version and exit\n"
           "\n"
           "A flag overrides its environment variable, which overrides the file.\n"
           "Exit status: 0 stopped as asked; 64 a bad flag; 69 a port or the home is in use;\n"
           "78 a bad environment variable or configuration file.\n";
}

const char *settings_version(void) {
    return "draxd (Drax) " DRAX_VERSION "\n";
}

static int flag_take(loading_t *self, int flag, const char *value) {
    char where[64];
    switch (flag) {
    case FLAG_HELP:
        self->settings->command = SETTINGS_HELP;
        return 0;
    case FLAG_VERSION:
        self->settings->command = SETTINGS_VERSION;
        return 0;
    case FLAG_READY_FD:
        return ready_fd_set(self, value);
    case FLAG_CONFIG:
        if (!setting_printable(value))
            return loading_fail(self, DRAX_EUSAGE, "--config: expected the path of a file");
        self->config = value;
        return 0;
    default:
        snprintf(where, sizeof where, "--%s", setting_name((setting_t) (flag - FLAG_FIRST)));
        return setting_store(self, (setting_t) (flag - FLAG_FIRST), ORIGIN_FLAG, where, value);
    }
}

/* `text` is the word that getopt_long stopped after. */
static int flag_unknown(loading_t *self, int flag, const char *text) {
    char shown[128];
    log_escape(shown, sizeof shown, text, strlen(text));
    if (flag == ':')
        return loading_fail(self, DRAX_EUSAGE, "%s: expected a value", shown);
    if (optopt >= FLAG_FIRST)
        return loading_fail(self, DRAX_EUSAGE, "%s: expected no value", shown);
    return loading_fail(self, DRAX_EUSAGE, "unknown flag '%s'", shown);
}

static int ready_fd_set(loading_t *self, const char *value) {
    char *end = NULL;
    errno = 0;
    long fd = strtol(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end || errno || fd < 3 || fd > INT_MAX ||
        fcntl((int) fd, F_GETFD) < 0) {
        char shown[64];
        return loading_fail(self, DRAX_EUSAGE,
                            "--ready-fd: expected an open descriptor from 3 on, not '%s'",
                            log_escape(shown, sizeof shown, value, strlen(value)));
    }
    self->settings->ready_fd = (int) fd;
    return 0;
}

static int command_set(loading_t *self, const char *word, bool *has_command) {
    static const struct {
        const char *word;
        settings_command_t command;
    } commands[] = {{"run", SETTINGS_RUN},
                    {"storage", SETTINGS_STORAGE},
                    {"raft", SETTINGS_RAFT},
                    {"gateway", SETTINGS_GATEWAY}};
    char shown[64];
    log_escape(shown, sizeof shown, word, strlen(word));
    if (*has_command)
        return loading_fail(self, DRAX_EUSAGE, "surplus word '%s'", shown);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(word, commands[i].word) != 0)
            continue;
        self->settings->command = commands[i].command;
        *has_command = true;
        return 0;
    }
    return loading_fail(self, DRAX_EUSAGE,
                        "unknown command '%s': expected run, storage, raft or gateway", shown);
}
