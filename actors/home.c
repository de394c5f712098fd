#include "actors/home.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "broker/endpoint.h"
#include "broker/error.h"

#define HOME_FILE_BYTES (1024u + LIMIT_MEMBERS * (2u * LIMIT_ADDR_BYTES + 64u))

/* ---- text with a checksum ---- */

/* The names beside it, which it stands for, are durable before it is: without that a power loss may
 * keep the file and lose what it names. */
static int text_save(const fs_t *fs, const char *directory, const char *name, char *text,
                     size_t size, size_t capacity) {
    unsigned long long sum = XXH3_64bits(text, size);
    int more = snprintf(text + size, capacity - size, "sum %016llx\n", sum);
    if (more < 0 || (size_t) more >= capacity - size)
        return DRAX_ETOOLARGE;
    int rc = fs->sync_dir(fs->self, directory);
    return rc ? rc : fs_replace(fs, directory, name, text, size + (size_t) more);
}

/* Loads and checks; `text` is then NUL-terminated and ends before the sum line. What was read is
 * durable on return: it may be what a save left behind whose last sync failed, and the next crash
 * would take it back from under all that is built on it. */
static int text_load(const fs_t *fs, const char *directory, const char *name, char *text,
                     size_t capacity) {
    char path[LIMIT_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    size_t size;
    int rc = fs_load(fs, path, text, capacity - 1, &size);
    if (rc == DRAX_ETOOLARGE)
        return DRAX_ECORRUPT;
    if (rc)
        return rc;
    text[size] = '\0';
    char *line = strstr(text, "\nsum ");
    if (strlen(text) != size || !line)
        return DRAX_ECORRUPT;
    char expected[32];
    unsigned long long sum = XXH3_64bits(text, (size_t) (line + 1 - text));
    snprintf(expected, sizeof expected, "sum %016llx\n", sum);
    if (strcmp(line + 1, expected) != 0)
        return DRAX_ECORRUPT;
    line[1] = '\0';
    return fs->sync_dir(fs->self, directory);
}

/* ---- identity ---- */

int home_identity_save(const fs_t *fs, const char *directory, const home_identity_t *identity) {
    char text[HOME_FILE_BYTES];
    size_t size = (size_t) snprintf(text, sizeof text,
                                    "drax-identity 1\ncluster %" PRIu64 "\nnode %" PRIu64 "\n",
                                    identity->cluster, identity->node);
    for (size_t i = 0; i < identity->hint.count; i++) {
        const member_t *member = &identity->hint.members[i];
        size += (size_t) snprintf(text + size, sizeof text - size, "member %" PRIu64 " %d %s %s\n",
                                  member->id, (int) member->role, member->addr, member->raft_addr);
    }
    return text_save(fs, directory, "identity", text, size, sizeof text);
}

static bool member_parse(const char *line, member_t *out) {
    int role;
    memset(out, 0, sizeof *out);
    if (sscanf(line, "member %" SCNu64 " %d %261s %261s", &out->id, &role, out->addr,
               out->raft_addr) != 4)
        return false;
    out->role = (member_role_t) role;
    return out->id != 0 && (role == MEMBER_VOTER || role == MEMBER_LEARNER) &&
           address_valid(out->addr) && address_valid(out->raft_addr);
}

int home_identity_load(const fs_t *fs, const char *directory, home_identity_t *out) {
    char text[HOME_FILE_BYTES];
    memset(out, 0, sizeof *out);
    int rc = text_load(fs, directory, "identity", text, sizeof text);
    if (rc)
        return rc;
    if (sscanf(text, "drax-identity 1\ncluster %" SCNu64 "\nnode %" SCNu64 "\n", &out->cluster,
               &out->node) != 2)
        return DRAX_ECORRUPT;
    for (char *line = strstr(text, "\nmember "); line; line = strstr(line + 1, "\nmember ")) {
        if (out->hint.count == LIMIT_MEMBERS ||
            !member_parse(line + 1, &out->hint.members[out->hint.count]))
            return DRAX_ECORRUPT;
        out->hint.count++;
    }
    return out->cluster && out->node ? 0 : DRAX_ECORRUPT;
}

/* ---- the state in force ---- */

int home_current_save(const fs_t *fs, const char *directory, const home_current_t *current) {
    char text[256], states[LIMIT_PATH_BYTES];
    home_states_path(states, directory);
    size_t size =
        (size_t) snprintf(text, sizeof text,
                          "drax-state 1\nnumber %" PRIu64 "\nindex %" PRIu64 "\nterm %" PRIu64 "\n",
                          current->number, current->index, current->term);
    return text_save(fs, states, "CURRENT", text, size, sizeof text);
}

int home_current_load(const fs_t *fs, const char *directory, home_current_t *out) {
    char text[256], states[LIMIT_PATH_BYTES];
    home_states_path(states, directory);
    memset(out, 0, sizeof *out);
    int rc = text_load(fs, states, "CURRENT", text, sizeof text);
    if (rc)
        return rc;
    if (sscanf(text, "drax-state 1\nnumber %" SCNu64 "\nindex %" SCNu64 "\nterm %" SCNu64 "\n",
               &out->number, &out->index, &out->term) != 3)
        return DRAX_ECORRUPT;
    return 0;
}

void home_journal_path(char out[LIMIT_PATH_BYTES], const char *directory) {
    snprintf(out, LIMIT_PATH_BYTES, "%.4000s/journal", directory);
}

void home_commit_path(char out[LIMIT_PATH_BYTES], const char *directory) {
    snprintf(out, LIMIT_PATH_BYTES, "%.4000s/commit", directory);
}

void home_states_path(char out[LIMIT_PATH_BYTES], const char *directory) {
    snprintf(out, LIMIT_PATH_BYTES, "%.4000s/state", directory);
}

void home_state_path(char out[LIMIT_PATH_BYTES], const char *directory, uint64_t number) {
    snprintf(out, LIMIT_PATH_BYTES, "%.4000s/state/%08" PRIu64, directory, number);
}
