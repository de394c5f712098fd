/* test_node_restore.c: a home made from a file of chunks, whole or damaged anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/embed/node_helper.h"

#define HEAD "DRAXSNAP\0\0\0\1"
#define HEAD_BYTES 12

typedef struct {
    node_folder_t *folder;
    drax_node_options_t *options; /* of the home that is made */
    char home[96], file[96];
    uint8_t *bytes; /* of a whole file */
    size_t size;
    uint64_t revision;
} fixture_t;

static void file_write(const fixture_t *f, const uint8_t *bytes, size_t size) {
    FILE *file = fopen(f->file, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void bytes_add(fixture_t *f, const void *data, size_t size) {
    f->bytes = realloc(f->bytes, f->size + size);
    assert_non_null(f->bytes);
    memcpy(f->bytes + f->size, data, size);
    f->size += size;
}

/* As drax-cli does. */
static void file_save(fixture_t *f, drax_t *store) {
    uint64_t snapshot = 0;
    bool last = false;
    bytes_add(f, HEAD, HEAD_BYTES);
    for (uint64_t chunk = 0; !last; chunk++) {
        drax_request_t *request = drax_request_new("snapshot", DRAX_READ);
        drax_result_t *result;
        size_t size;
        drax_request_uint_add(request, snapshot);
        drax_request_uint_add(request, chunk);
        assert_int_equal(drax_request_call(store, request, NULL, &result), 0);
        const drax_field_t *map = drax_result_map(result);
        const void *data = drax_field_bytes(drax_field_find(map, "data"), &size);
        uint8_t head[4] = {(uint8_t) (size >> 24), (uint8_t) (size >> 16), (uint8_t) (size >> 8),
                           (uint8_t) size};
        snapshot = drax_field_uint(drax_field_find(map, "snapshot"));
        last = drax_field_bool(drax_field_find(map, "last"));
        f->revision = drax_field_uint(drax_field_find(map, "revision"));
        bytes_add(f, head, sizeof head);
        bytes_add(f, data, size);
        drax_result_destroy(&result);
        drax_request_destroy(&request);
    }
}

static int setup(void **state) {
    fixture_t *f = calloc(1, sizeof *f);
    node_folder_setup((void **) &f->folder);
    drax_node_options_t *options = node_options(f->folder, "old", NULL, NULL);
    drax_node_t *node = node_up(f->folder, options);
    drax_t *store = node_store(node);
    value_put(store, "a", "1");
    value_put(store, "b", "22");
    file_save(f, store);
    drax_destroy(&store);
    drax_node_stop(&node);
    drax_node_options_destroy(&options);
    f->options = node_options(f->folder, "new", NULL, NULL);
    snprintf(f->home, sizeof f->home, "%s/new", f->folder->top);
    snprintf(f->file, sizeof f->file, "%s/file", f->folder->top);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_t *f = *state;
    drax_node_options_destroy(&f->options);
    int rc = node_folder_teardown((void **) &f->folder);
    free(f->bytes);
    free(f);
    return rc;
}

static int restore(fixture_t *f, uint64_t skip, uint64_t *revision) {
    return drax_node_restore(f->options, f->file, skip, revision, f->folder->detail,
                             sizeof f->folder->detail);
}

static bool in_home(const fixture_t *f, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->home, name);
    return access(path, F_OK) == 0;
}

static void refused(fixture_t *f) {
    assert_int_equal(restore(f, 5, NULL), DRAX_ERR_STORAGE);
    assert_string_not_equal(f->folder->detail, "");
    assert_false(in_home(f, "identity") || in_home(f, "journal") || in_home(f, "state"));
}

static void test_whole(void **state) {
    fixture_t *f = *state;
    uint64_t revision = 0;
    file_write(f, f->bytes, f->size);
    assert_int_equal(restore(f, 5, &revision), 0);
    assert_string_equal(f->folder->detail, "");
    assert_int_equal(revision, f->revision + 5);
    assert_int_equal(restore(f, 5, NULL), DRAX_ERR_IN_USE);
    drax_node_t *node = node_up(f->folder, f->options);
    assert_int_equal(restore(f, 5, NULL), DRAX_ERR_IN_USE);
    drax_t *store = node_store(node);
    value_expect(store, "a", "1");
    value_expect(store, "b", "22");
    drax_destroy(&store);
    drax_node_stop(&node);
}

static void test_cut_short(void **state) {
    fixture_t *f = *state;
    for (size_t size = 0; size < f->size; size += 1 + size / 40) {
        file_write(f, f->bytes, size);
        refused(f);
    }
    bytes_add(f, "", 1);
    file_write(f, f->bytes, f->size);
    refused(f);
}

static void test_any_byte_is_another(void **state) {
    fixture_t *f = *state;
    for (size_t at = 0; at < f->size; at += 1 + at / 40) {
        f->bytes[at] ^= 0x20;
        file_write(f, f->bytes, f->size);
        refused(f);
        f->bytes[at] ^= 0x20;
    }
    file_write(f, f->bytes, f->size);
    assert_int_equal(restore(f, 5, NULL), 0);
}

static void test_what_cannot_be(void **state) {
    fixture_t *f = *state;
    file_write(f, f->bytes, f->size);
    assert_int_equal(restore(f, UINT64_MAX, NULL), DRAX_ERR_USAGE);
    assert_int_equal(restore(f, (1ull << 53) - f->revision, NULL), DRAX_ERR_USAGE);
    drax_node_options_t *empty = drax_node_options_new();
    assert_int_equal(drax_node_restore(empty, f->file, 0, NULL, NULL, 0), DRAX_ERR_USAGE);
    drax_node_options_destroy(&empty);
    assert_int_equal(restore(f, (1ull << 53) - 1 - f->revision, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_byte_is_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
