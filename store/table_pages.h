/* table_pages.h: the memory of LevelDB's tables, given back to the system.
 *
 * LevelDB maps its tables, and every page it has read stays with the process: hundreds of megabytes
 * for a million keys. The kernel keeps them as file cache anyway; what is used again comes back
 * with a minor fault. (Fewer open tables would also bound them, at three times the CPU a put among
 * a million keys.)
 *
 * Must not know: keys, batches.
 */
#ifndef DRAX_STORE_TABLE_PAGES_H
#define DRAX_STORE_TABLE_PAGES_H

#include <leveldb/c.h>

#define TABLE_PAGES_TABLES 1000u /* with more nothing is given back */

/* Gives back the pages of the database's tables; at worst they stay. `db`, in `directory`, must not
 * be closed meanwhile, and may have more than twice as many tables open as TABLE_PAGES_TABLES: see
 * the invariant. */
void table_pages_release(leveldb_t *db, const char *directory);

#endif
