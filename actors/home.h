/* home.h: the small files of a node's home, apart from the journal's and LevelDB's own.
 *
 *   identity        who this node is, written once
 *   journal/        segments (journal.h)
 *   commit          the commit index last known (commit_note.h)
 *   state/CURRENT   the state directory in force, and where it was installed
 *   state/NNNNNNNN/ LevelDB
 *
 *   identity = "drax-identity 1\ncluster C\nnode N\n" { "member ID ROLE ADDR RAFT_ADDR\n" } "sum
 * S\n" CURRENT  = "drax-state 1\nnumber N\nindex I\nterm T\n" "sum S\n"
 *
 * S is XXH3-64 of all before it, in hexadecimal. The members in identity are where a node that
 * joined finds its cluster until its log tells it. `index` and `term` are those of the snapshot
 * that the state was installed from (0: none): the only case in which the state may be ahead of the
 * journal.
 */
#ifndef DRAX_ACTORS_HOME_H
#define DRAX_ACTORS_HOME_H

#include "broker/message.h"
#include "store/fs.h"

typedef struct home_identity {
    uint64_t cluster, node;
    config_t hint; /* count 0: this node founded its cluster */
} home_identity_t;

typedef struct home_current {
    uint64_t number; /* the directory's name, 8 digits */
    uint64_t index, term;
} home_current_t;

/* Paths in this module are relative to `directory`, the home. DRAX_ENOTFOUND: there is none yet;
 * DRAX_ECORRUPT: it is damaged. What was loaded is durable. What is saved is durable, and so are
 * the names in the directory of the file before it: journal/ and state/ before identity,
 * state/NNNNNNNN/ before CURRENT. */
int home_identity_load(const fs_t *fs, const char *directory, home_identity_t *out);
int home_identity_save(const fs_t *fs, const char *directory, const home_identity_t *identity);
int home_current_load(const fs_t *fs, const char *directory, home_current_t *out);
int home_current_save(const fs_t *fs, const char *directory, const home_current_t *current);

/* `out` = DIRECTORY/journal, DIRECTORY/commit, DIRECTORY/state, DIRECTORY/state/NNNNNNNN. */
void home_journal_path(char out[LIMIT_PATH_BYTES], const char *directory);
void home_commit_path(char out[LIMIT_PATH_BYTES], const char *directory);
void home_states_path(char out[LIMIT_PATH_BYTES], const char *directory);
void home_state_path(char out[LIMIT_PATH_BYTES], const char *directory, uint64_t number);

#endif
