/* table_pages.c: see table_pages.h.
 *
 * Invariant: pages are only ever given back of a table that cannot be unmapped meanwhile. Where it
 * was unmapped, another thread may have mapped memory of its own, and would find zeros in it. So an
 * iterator is open while it happens: LevelDB keeps all tables of the version that it reads. Those
 * are known to be in it that were there before it was opened and are there after it: a table that
 * is gone never comes back. A table is also unmapped when too many are open: that is far off
 * (LevelDB has one limit for each sixteenth of the tables). And a table that two threads open at
 * once is mapped twice for a while: such a one is left alone.
 */
#include "store/table_pages.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct tables {
    uint64_t *numbers; /* sorted */
    size_t count;
} tables_t;

typedef struct range {
    uint64_t number; /* of the table that is mapped there */
    unsigned long begin, end;
} range_t;

static int number_compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return (x > y) - (x < y);
}

static bool tables_have(const tables_t *self, uint64_t number) {
    return self->count &&
           bsearch(&number, self->numbers, self->count, sizeof number, number_compare);
}

/* The tables there are; none if they are too many. The caller frees the numbers. */
static tables_t tables_read(leveldb_t *db) {
    /* " NUMBER:SIZE[KEY .. KEY]" a line, and "--- level …" between them; keys are escaped. */
    char *text = leveldb_property_value(db, "leveldb.sstables");
    tables_t out = {.numbers = text ? malloc(TABLE_PAGES_TABLES * sizeof *out.numbers) : NULL};
    for (const char *line = text; out.numbers && line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (*line != ' ')
            continue;
        if (out.count == TABLE_PAGES_TABLES) {
            out.count = 0;
            break;
        }
        out.numbers[out.count++] = strtoull(line, NULL, 10);
    }
    leveldb_free(text);
    if (out.count)
        qsort(out.numbers, out.count, sizeof *out.numbers, number_compare);
    return out;
}

/* Which table of the directory, a real path of `size` characters, a line of /proc/self/maps tells
 * of; false: none. */
static bool range_parse(const char *line, const char *directory, size_t size, range_t *out) {
    const char *path = strchr(line, '/');
    char *end;
    if (!path || sscanf(line, "%lx-%lx r--s", &out->begin, &out->end) != 2 ||
        strncmp(path, directory, size) != 0 || path[size] != '/')
        return false;
    out->number = strtoull(path + size + 1, &end, 10);
    return strcmp(end, ".ldb\n") == 0;
}

static int range_compare(const void *a, const void *b) {
    return number_compare(&((const range_t *) a)->number, &((const range_t *) b)->number);
}

/* Where the tables of the directory are mapped that both lists name. */
static size_t ranges_read(const char *directory, const tables_t *before, const tables_t *after,
                          range_t ranges[]) {
    char line[PATH_MAX + 256], path[PATH_MAX];
    FILE *maps = realpath(directory, path) ? fopen("/proc/self/maps", "re") : NULL;
    size_t size = maps ? strlen(path) : 0, count = 0;
    range_t range;
    while (maps && count < 2 * TABLE_PAGES_TABLES && fgets(line, sizeof line, maps))
        if (range_parse(line, path, size, &range) && tables_have(before, range.number) &&
            tables_have(after, range.number))
            ranges[count++] = range;
    if (maps)
        fclose(maps);
    qsort(ranges, count, sizeof *ranges, range_compare);
    return count;
}

static void ranges_release(const range_t ranges[], size_t count) {
    for (size_t i = 0; i < count; i++) {
        bool twice = (i > 0 && ranges[i - 1].number == ranges[i].number) ||
                     (i + 1 < count && ranges[i + 1].number == ranges[i].number);
        if (!twice)
            (void) madvise((void *) ranges[i].begin, ranges[i].end - ranges[i].begin,
                           MADV_DONTNEED); /* at worst they stay */
    }
}

void table_pages_release(leveldb_t *db, const char *directory) {
    leveldb_readoptions_t *options = leveldb_readoptions_create();
    tables_t before = tables_read(db);
    leveldb_iterator_t *pin = leveldb_create_iterator(db, options);
    tables_t after = tables_read(db);
    range_t *ranges = malloc(2 * TABLE_PAGES_TABLES * sizeof *ranges);
    if (ranges)
        ranges_release(ranges, ranges_read(directory, &before, &after, ranges));
    free(ranges);
    leveldb_iter_destroy(pin);
    leveldb_readoptions_destroy(options);
    free(before.numbers);
    free(after.numbers);
}
