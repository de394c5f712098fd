/* table_pages.h: the memory of LevelDB's tables, given back to the system.
 *
 * LevelDB maps its tables, and every page it has read stays with the process: hundreds of megabytes
 * for a million keys. The kernel keeps them as file cache anyway; what is used again comes back
 * with a minor fault. (Fewer open tables would also bound them, at three times the CPU a put among
 * a million keys.)
 *
 * Owns: the numbers of the tables that were there the last time. Must not know: keys, batches.
 */
#ifndef DRAX_STORE_TABLE_PAGES_H
#define DRAX_STORE_TABLE_PAGES_H

#include <leveldb/c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_PAGES_TABLES 1000u /* with more nothing is given back */

/* All zero at first. */
typedef struct table_pages {
    uint64_t *known; /* sorted */
    size_t count;
} table_pages_t;

/* Gives back the pages of the tables in `directory` that were there the last time too. At worst
 * they stay. `db` must not be closed meanwhile, and have room for more than twice as many open
 * tables as TABLE_PAGES_TABLES: see the invariant. */
void table_pages_release(table_pages_t *self, leveldb_t *db, const char *directory);
void table_pages_free(table_pages_t *self);

#endif
