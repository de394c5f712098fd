#include "cli/edit.h"

#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HISTORY_LINES 1000
/* Keys are looked up for so long and so many at a time; without an answer there is no completion.
 */
#define COMPLETE_MS 500u
#define COMPLETE_KEYS 200u

struct edit {
    cli_t *cli;
    EditLine *editor; /* NULL: standard input is no terminal */
    History *history;
    bool more;
    char *file; /* of the history; NULL: none */
    char *line; /* without an editor: the last one, and its room */
    size_t room;
};

static edit_t *owner(EditLine *editor) {
    edit_t *self = NULL;
    (void) el_get(editor, EL_CLIENTDATA, &self);
    return self;
}

static char *prompt(EditLine *editor) {
    static char first[] = "drax> ", more[] = "...   ";
    return owner(editor)->more ? more : first;
}

/* ---- completion ---- */

/* What all candidates that begin with `prefix` have in common, up to and with the next slash. */
typedef struct common {
    const char *prefix;
    size_t prefix_size;
    char *text;
    size_t size, count;
} common_t;

static void common_add(common_t *self, const char *text, size_t size) {
    if (size < self->prefix_size || memcmp(text, self->prefix, self->prefix_size) != 0)
        return;
    self->count++;
    if (!self->text) {
        self->text = strndup(text, size);
        self->size = self->text ? size : 0;
        return;
    }
    size_t same = 0;
    while (same < self->size && same < size && self->text[same] == text[same])
        same++;
    self->size = same;
}

static void commands_add(common_t *common) {
    for (size_t i = 0;; i++) {
        const command_t *command = cli_command(i);
        if (!command)
            return;
        common_add(common, command->name, strcspn(command->name, " "));
    }
}

static void keys_add(common_t *common, cli_t *cli) {
    drax_options_t *options = drax_options_new();
    drax_result_t *result = NULL;
    if (!options)
        return;
    drax_options_keys_only_set(options, true);
    drax_options_stale_set(options, true);
    drax_options_limit_set(options, COMPLETE_KEYS);
    drax_options_timeout_set(options, COMPLETE_MS);
    /* From the prefix on; keys beyond it are not taken. */
    const char *start = common->prefix_size > 0 ? common->prefix : "\0";
    size_t start_size = common->prefix_size > 0 ? common->prefix_size : 1;
    if (drax_range(cli->drax, start, start_size, "", 0, options, &result) == 0)
        for (size_t i = 0; i < drax_result_pair_count(result); i++) {
            size_t size;
            const char *key = drax_result_pair_key(result, i, &size);
            const char *slash = size > common->prefix_size ? memchr(key + common->prefix_size, '/',
                                                                    size - common->prefix_size)
                                                           : NULL;
            common_add(common, key, slash ? (size_t) (slash - key) + 1 : size);
        }
    drax_result_destroy(&result);
    drax_options_destroy(&options);
}

static unsigned char complete(EditLine *editor, int key) {
    edit_t *self = owner(editor);
    const LineInfo *line = el_line(editor);
    const char *word = line->cursor;
    (void) key;
    while (word > line->buffer && word[-1] != ' ')
        word--;
    common_t common = {.prefix = word, .prefix_size = (size_t) (line->cursor - word)};
    const char *before = line->buffer;
    while (before < word && *before == ' ')
        before++;
    if (before == word)
        commands_add(&common);
    else
        keys_add(&common, self->cli);
    unsigned char outcome = CC_ERROR; /* beeps */
    if (common.text && common.size > common.prefix_size) {
        common.text[common.size] = '\0';
        bool whole = common.count == 1 && common.text[common.size - 1] != '/';
        if (el_insertstr(editor, common.text + common.prefix_size) == 0 &&
            (!whole || el_insertstr(editor, " ") == 0))
            outcome = CC_REFRESH;
    }
    free(common.text);
    return outcome;
}

/* ---- life ---- */

static char *history_file(void) {
    const char *name = getenv("DRAX_HISTORY"), *home = getenv("HOME");
    char *file = NULL;
    if (name)
        return name[0] ? strdup(name) : NULL;
    return home && home[0] && asprintf(&file, "%s/.drax_history", home) > 0 ? file : NULL;
}

static bool editor_open(edit_t *self) {
    HistEvent event;
    self->editor = el_init("drax-cli", stdin, stdout, stderr);
    self->history = history_init();
    if (!self->editor || !self->history)
        return false;
    (void) el_set(self->editor, EL_CLIENTDATA, self);
    (void) el_set(self->editor, EL_PROMPT, prompt);
    (void) el_set(self->editor, EL_EDITOR, "emacs");
    (void) el_set(self->editor, EL_SIGNAL,
                  1); /* a stopped or resized terminal is set right again */
    (void) el_set(self->editor, EL_HIST, history, self->history);
    (void) el_set(self->editor, EL_ADDFN, "drax-complete", "Complete a command or key", complete);
    (void) el_set(self->editor, EL_BIND, "\t", "drax-complete", NULL);
    (void) history(self->history, &event, H_SETSIZE, HISTORY_LINES);
    (void) history(self->history, &event, H_SETUNIQUE, 1);
    self->file = history_file();
    if (self->file)
        (void) history(self->history, &event, H_LOAD,
                       self->file); /* the first time there is none */
    return true;
}

edit_t *edit_new(cli_t *cli) {
    edit_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->cli = cli;
    if (isatty(STDIN_FILENO) && !editor_open(self))
        edit_destroy(&self);
    return self;
}

void edit_destroy(edit_t **self_p) {
    edit_t *self = *self_p;
    *self_p = NULL;
    if (self->history) {
        HistEvent event;
        mode_t mask = umask(0077); /* values may be secrets */
        if (self->file)
            (void) history(self->history, &event, H_SAVE, self->file);
        (void) umask(mask);
        history_end(self->history);
    }
    if (self->editor)
        el_end(self->editor);
    free(self->file);
    free(self->line);
    free(self);
}

const char *edit_line(edit_t *self, bool more) {
    int count;
    self->more = more;
    if (self->editor)
        return el_gets(self->editor, &count);
    return getline(&self->line, &self->room, stdin) >= 0 ? self->line : NULL;
}

void edit_remember(edit_t *self, const char *command) {
    HistEvent event;
    if (self->history)
        (void) history(self->history, &event, H_ENTER, command);
}
