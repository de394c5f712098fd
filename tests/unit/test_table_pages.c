/* test_table_pages.c: pages of tables are given back, while they are not too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "kv_helper.h"
#include "store/table_pages.h"

#define TABLE_BYTES (1u << 20)
#define OPEN_TABLES (2 * TABLE_PAGES_TABLES + 10)

typedef struct base {
    temp_dir_t dir;
    leveldb_options_t *options;
    leveldb_readoptions_t *reads;
    leveldb_writeoptions_t *writes;
    leveldb_t *db;
} base_t;

static void base_open(base_t *self) {
    char *text = NULL;
    temp_dir_make(&self->dir);
    self->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(self->options, 1);
    leveldb_options_set_write_buffer_size(self->options, TABLE_BYTES);
    leveldb_options_set_max_file_size(self->options, TABLE_BYTES);
    leveldb_options_set_compression(self->options, leveldb_no_compression);
    leveldb_options_set_max_open_files(self->options, OPEN_TABLES);
    self->reads = leveldb_readoptions_create();
    self->writes = leveldb_writeoptions_create();
    self->db = leveldb_open(self->options, self->dir.path, &text);
    assert_non_null(self->db);
}

static void base_close(base_t *self) {
    leveldb_close(self->db);
    leveldb_options_destroy(self->options);
    leveldb_readoptions_destroy(self->reads);
    leveldb_writeoptions_destroy(self->writes);
    temp_dir_remove(&self->dir);
}

static void base_put(base_t *self, uint64_t number) {
    char key[16], value[256], *text = NULL;
    int size = snprintf(key, sizeof key, "%08llu", (unsigned long long) number);
    memset(value, 'v', sizeof value);
    leveldb_put(self->db, self->writes, key, (size_t) size, value, sizeof value, &text);
    assert_null(text);
}

static void base_read_all(base_t *self) {
    leveldb_iterator_t *at = leveldb_create_iterator(self->db, self->reads);
    size_t size;
    for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at); leveldb_iter_next(at))
        assert_non_null(leveldb_iter_value(at, &size));
    leveldb_iter_destroy(at);
}

/* How much of the tables in the directory this process has in memory. */
static size_t base_resident_kb(const base_t *self) {
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[8192];
    bool here = false;
    size_t sum = 0, kb;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (strchr(line, '-')) /* where a mapping begins and ends */
            here = strstr(line, self->dir.path) && strstr(line, ".ldb\n");
        else if (here && sscanf(line, "Rss: %zu kB", &kb) == 1)
            sum += kb;
    }
    fclose(file);
    return sum;
}

static void base_fill(base_t *self) {
    for (uint64_t i = 0; i < 20000; i++)
        base_put(self, i);
    leveldb_compact_range(self->db, NULL, 0, NULL, 0);
    base_read_all(self);
}

static void pages_are_given_back(void **unused) {
    (void) unused;
    base_t base, other;
    base_open(&base);
    base_open(&other);
    base_fill(&base);
    base_fill(&other);
    size_t full = base_resident_kb(&base), others = base_resident_kb(&other);
    assert_true(full > 4000);
    table_pages_release(base.db, base.dir.path);
    assert_true(base_resident_kb(&base) < full / 10);
    assert_int_equal(base_resident_kb(&other), others);
    base_read_all(&base);
    base_close(&base);
    base_close(&other);
}

static void so_many_tables_are_too_many(void **unused) {
    (void) unused;
    base_t base;
    base_open(&base);
    for (uint64_t i = 0; i <= TABLE_PAGES_TABLES; i++) {
        size_t resident = 0;
        if (i == TABLE_PAGES_TABLES) { /* the last number of tables that is not too many */
            base_read_all(&base);
            table_pages_release(base.db, base.dir.path);
            resident = base_resident_kb(&base);
            base_read_all(&base);
            assert_true(base_resident_kb(&base) > resident);
        }
        base_put(&base, i); /* behind all others: its table is merged with none */
        leveldb_compact_range(base.db, "", 0, "", 0);
    }
    size_t resident = base_resident_kb(&base);
    table_pages_release(base.db, base.dir.path);
    assert_true(base_resident_kb(&base) >= resident);
    base_close(&base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_given_back),
        cmocka_unit_test(so_many_tables_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
