/* test_history.c: history records: what was written is read, at little cost where the log has it,
 * and damaged ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/error.h"
#include "store/history.h"

/* Stands for an entry's payload; keys and values are found in it by their text. */
static const char log_text[] = "..key1.value1....key2.value2...key3...";
static const slice_t payload = {(const uint8_t *) log_text, sizeof log_text - 1};

/* `text` where the payload has it. */
static slice_t in_log(const char *text) {
    const char *at = strstr(log_text, text);
    assert_non_null(at);
    return (slice_t){(const uint8_t *) at, strlen(text)};
}

static slice_t elsewhere(const char *text) {
    return (slice_t){(const uint8_t *) text, strlen(text)};
}

static void change_expected(history_reader_t *reader, uint64_t revision, history_type_t type,
                            const char *key, const char *value) {
    history_change_t change;
    assert_int_equal(history_next(reader, &change), 1);
    assert_int_equal(change.revision, revision);
    assert_int_equal(change.type, type);
    assert_int_equal(change.key.size, strlen(key));
    assert_memory_equal(change.key.data, key, strlen(key));
    assert_int_equal(change.value.size, strlen(value));
    if (*value)
        assert_memory_equal(change.value.data, value, strlen(value));
}

static void end_expected(history_reader_t *reader) {
    history_change_t change;
    assert_int_equal(history_next(reader, &change), 0);
}

static void add(history_writer_t *history, uint64_t revision, history_type_t type, slice_t key,
                slice_t value) {
    history_change_t change = {revision, type, key, value};
    history_add(history, &change);
}

/* Two puts that the log has, a tree's deletion that it has not, and an expiry. */
static slice_t record_write_all(history_writer_t *history) {
    static const slice_t none = {NULL, 0};
    history_begin(history, 7, payload);
    add(history, 20, HISTORY_PUT, in_log("key1"), in_log("value1"));
    add(history, 21, HISTORY_PUT, in_log("key2"), in_log("value2"));
    add(history, 22, HISTORY_DELETE, elsewhere("tree/a"), none);
    add(history, 22, HISTORY_DELETE, elsewhere("tree/b"), none);
    add(history, 23, HISTORY_EXPIRE, in_log("key3"), none);
    add(history, 24, HISTORY_PUT, in_log("key1"), elsewhere("given")); /* before what was named */
    add(history, 25, HISTORY_PUT, elsewhere("k"), none);
    return history_end(history);
}

static void what_was_written_is_read(void **state) {
    history_writer_t history = {0};
    history_reader_t reader;
    (void) state;
    slice_t record = record_write_all(&history);
    assert_int_equal(history_open(&reader, 20, record), 0);
    assert_int_equal(reader.index, 7);
    assert_int_equal(reader.last, 25);
    assert_int_equal(reader.total, 10 + 10 + 12 + 4 + 9 + 1);
    history_payload(&reader, payload);
    change_expected(&reader, 20, HISTORY_PUT, "key1", "value1");
    change_expected(&reader, 21, HISTORY_PUT, "key2", "value2");
    change_expected(&reader, 22, HISTORY_DELETE, "tree/a", "");
    change_expected(&reader, 22, HISTORY_DELETE, "tree/b", "");
    change_expected(&reader, 23, HISTORY_EXPIRE, "key3", "");
    change_expected(&reader, 24, HISTORY_PUT, "key1", "given");
    change_expected(&reader, 25, HISTORY_PUT, "k", "");
    end_expected(&reader);
    history_writer_free(&history);
}

static void what_the_log_has_costs_little(void **state) {
    history_writer_t history = {0};
    (void) state;
    history_begin(&history, 7, payload);
    add(&history, 20, HISTORY_PUT, in_log("key1"), in_log("value1"));
    assert_int_equal(history_end(&history).size, HISTORY_HEAD_BYTES + 5);
    history_writer_free(&history);
}

static void a_record_without_entry_holds_all(void **state) {
    history_writer_t history = {0};
    history_reader_t reader;
    (void) state;
    history_begin(&history, 0, payload);
    add(&history, 20, HISTORY_PUT, in_log("key1"), in_log("value1"));
    assert_int_equal(history_open(&reader, 20, history_end(&history)), 0);
    assert_int_equal(reader.index, 0);
    change_expected(&reader, 20, HISTORY_PUT, "key1", "value1");
    end_expected(&reader);
    history_writer_free(&history);
}

static void nothing_changed_is_no_record(void **state) {
    history_writer_t history = {0};
    (void) state;
    history_begin(&history, 7, payload);
    assert_int_equal(history_end(&history).size, 0);
    history_writer_free(&history);
}

static void what_is_taken_back_never_was(void **state) {
    history_writer_t history = {0};
    history_reader_t reader;
    (void) state;
    history_begin(&history, 7, payload);
    history_mark_t none = history.now;
    add(&history, 20, HISTORY_PUT, in_log("key2"), in_log("value2"));
    history_rewind(&history, &none);
    assert_int_equal(history_end(&history).size, 0);
    add(&history, 20, HISTORY_PUT, in_log("key1"), in_log("value1"));
    history_mark_t one = history.now;
    add(&history, 21, HISTORY_PUT, in_log("key3"), elsewhere("x"));
    history_rewind(&history, &one);
    add(&history, 21, HISTORY_DELETE, in_log("key2"), (slice_t){NULL, 0});
    assert_int_equal(history_open(&reader, 20, history_end(&history)), 0);
    assert_int_equal(reader.last, 21);
    assert_int_equal(reader.total, 14);
    history_payload(&reader, payload);
    change_expected(&reader, 20, HISTORY_PUT, "key1", "value1");
    change_expected(&reader, 21, HISTORY_DELETE, "key2", "");
    end_expected(&reader);
    history_writer_free(&history);
}

static void the_total_goes_on(void **state) {
    history_writer_t history = {0};
    history_reader_t reader;
    (void) state;
    record_write_all(&history);
    history_begin(&history, 8, payload);
    add(&history, 26, HISTORY_DELETE, in_log("key1"), (slice_t){NULL, 0});
    assert_int_equal(history_open(&reader, 26, history_end(&history)), 0);
    assert_int_equal(reader.total, 46 + 4);
    history_writer_free(&history);
}

/* Reads to the end or the first failure; the sanitizers watch what it reads. */
static int read_all(slice_t record, slice_t entry) {
    history_reader_t reader;
    history_change_t change;
    int rc = history_open(&reader, 20, record);
    if (rc)
        return rc;
    history_payload(&reader, entry);
    while ((rc = history_next(&reader, &change)) == 1) {
    }
    return rc;
}

static void damage_is_refused_or_harmless(void **state) {
    history_writer_t history = {0};
    (void) state;
    slice_t record = record_write_all(&history);
    for (size_t size = 0; size < record.size; size++) {
        uint8_t *cut = malloc(size + 1);
        assert_non_null(cut);
        memcpy(cut, record.data, size);
        assert_int_equal(read_all((slice_t){cut, size}, payload), DRAX_ECORRUPT);
        free(cut);
    }
    for (size_t at = 0; at < record.size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            history.record.data[at] ^= (uint8_t) (1u << bit);
            int rc = read_all(record, payload);
            assert_true(rc == 0 || rc == DRAX_ECORRUPT);
            history.record.data[at] ^= (uint8_t) (1u << bit);
        }
    }
    assert_int_equal(read_all(record, (slice_t){payload.data, 20}), DRAX_ECORRUPT);
    history_writer_free(&history);
}

static void changes_are_packed_for_clients(void **state) {
    static const uint8_t put[] = "\x84\xa4type\xa3put\xa3key\xa1k\xa5value\xc4\x01v\xa5index\x05";
    static const uint8_t expire[] = "\x83\xa4type\xa6"
                                    "expire\xa3key\xc4\x01\xff\xa5index\x06";
    buffer_t out = {0};
    (void) state;
    history_change_pack(&out, &(history_change_t){5, HISTORY_PUT, elsewhere("k"), elsewhere("v")});
    assert_int_equal(out.size, sizeof put - 1);
    assert_memory_equal(out.data, put, out.size);
    buffer_reset(&out);
    history_change_pack(&out, &(history_change_t){6, HISTORY_EXPIRE, elsewhere("\xff"), {NULL, 0}});
    assert_int_equal(out.size, sizeof expire - 1);
    assert_memory_equal(out.data, expire, out.size);
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(what_the_log_has_costs_little),
        cmocka_unit_test(a_record_without_entry_holds_all),
        cmocka_unit_test(nothing_changed_is_no_record),
        cmocka_unit_test(what_is_taken_back_never_was),
        cmocka_unit_test(the_total_goes_on),
        cmocka_unit_test(damage_is_refused_or_harmless),
        cmocka_unit_test(changes_are_packed_for_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
