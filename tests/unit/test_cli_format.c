/* test_cli_format.c: the text that drax-cli reads and writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/format.h"
#include "cli/json.h"

static void test_numbers(void **state) {
    (void) state;
    uint64_t number;
    assert_true(format_number_parse("0", &number));
    assert_int_equal(number, 0);
    assert_true(format_number_parse("9007199254740991", &number));
    assert_int_equal(number, 9007199254740991);
    const char *const bad[] = {"",
                               "-1",
                               "+1",
                               " 1",
                               "1 ",
                               "1x",
                               "0x1",
                               "1.0",
                               "ten",
                               "9007199254740992",
                               "99999999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(format_number_parse(bad[i], &number));
}

static void test_durations(void **state) {
    (void) state;
    const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"500ms", 500},          {"5s", 5000},     {"7", 7000},
                {"1m", 60000},           {"2h", 7200000},  {"0", 0},
                {"1.5s", 1500},          {"0.25", 250},    {"0.5ms", 0},
                {"1.5m", 90000},         {"0.001h", 3600}, {"1.0000000000009s", 1000},
                {"0.123456789123s", 123}};
    uint64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(format_duration_parse(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    const char *const bad[] = {"",    "s",   "-5s",  "5 s", "5sec", "5S",
                               "1.",  ".5s", "1.s",  "5d",  "1e3",  "9007199254740991h",
                               "5ss", "5s5", "1..5s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(format_duration_parse(bad[i], &ms));
}

static void escaped_is(const char *data, size_t size, const char *expected) {
    char *text = format_escaped_new(data, size);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void test_escapes(void **state) {
    (void) state;
    escaped_is("", 0, "");
    escaped_is(NULL, 0, "");
    escaped_is("\0a\0\0\xc3\0\n", 7, "\\x00a\\x00\\x00\\xc3\\x00\\n");
    escaped_is("a b\tc\nd\\e", 9, "a b\\tc\\nd\\\\e");
    escaped_is("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    escaped_is("\xff\x80z", 3, "\\xff\\x80z");
    escaped_is("a\xc3", 2, "a\\xc3");                          /* cut short */
    escaped_is("\xc0\xaf", 2, "\\xc0\\xaf");                   /* overlong */
    escaped_is("\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf");          /* overlong */
    escaped_is("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* a surrogate */
    escaped_is("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* beyond U+10FFFF */
    escaped_is("\xf5\x80\x80\x80", 4, "\\xf5\\x80\\x80\\x80");
    escaped_is("\r", 1, "\r");
}

static void test_base64(void **state) {
    (void) state;
    const char *const vectors[][2] = {/* RFC 4648, section 10 */
                                      {"", ""},
                                      {"f", "Zg=="},
                                      {"fo", "Zm8="},
                                      {"foo", "Zm9v"},
                                      {"foob", "Zm9vYg=="},
                                      {"fooba", "Zm9vYmE="},
                                      {"foobar", "Zm9vYmFy"},
                                      {"\xff\xfe\xfb", "//77"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        size_t size = strlen(vectors[i][0]), decoded_size;
        char *text = format_base64_encode(vectors[i][0], size);
        assert_string_equal(text, vectors[i][1]);
        void *bytes = format_base64_decode(text, strlen(text), &decoded_size);
        assert_non_null(bytes);
        assert_int_equal(decoded_size, size);
        assert_memory_equal(bytes, vectors[i][0], size);
        free(bytes);
        free(text);
    }
    const char *const bad[] = {"Z",    "Zg",   "Zg=",  "Zg==Zg==", "Z===", "====",
                               "Zh==", "Zm9=", "Z g=", "Zm9v\n",   "Zm-_", "=Zm9"};
    size_t size;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(format_base64_decode(bad[i], strlen(bad[i]), &size));
}

static void test_table(void **state) {
    (void) state;
    table_t table;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    table_begin(&table, 3);
    const char *const cells[] = {"ID", "NAME", "X",        "1", "\xc3\xa9t\xc3\xa9",
                                 "-",  "100",  "long name"};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        table_text(&table, cells[i]);
    table_number(&table, 7);
    for (size_t i = 0; i < 100; i++) /* it grows */
        table_bytes(&table, "\n", i % 3 == 2 ? 1 : 0);
    table_text(&table, "");
    table_text(&table, "");
    assert_true(table_print(&table, out));
    fclose(out);
    table_end(&table);
    const char *expected = "ID   NAME       X\n"
                           "1    \xc3\xa9t\xc3\xa9        -\n"
                           "100  long name  7\n"
                           "                \\n\n";
    assert_memory_equal(text, expected, strlen(expected));
    free(text);
}

static char *json_text(json_t *object) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_true(json_line_print(out, object));
    fclose(out);
    return text;
}

static void test_json_bytes(void **state) {
    (void) state;
    const struct {
        const char *data;
        size_t size;
        const char *json;
    } cases[] = {{"", 0, "\"\"\n"},
                 {NULL, 0, "\"\"\n"},
                 {"a\"\n", 3, "\"a\\\"\\n\"\n"},
                 {"a\0b", 3, "\"a\\u0000b\"\n"},
                 {"\xc3\xa9", 2, "\"\xc3\xa9\"\n"},
                 {"\xff", 1, "{\"base64\": \"/w==\"}\n"},
                 {"\xed\xa0\x80", 3, "{\"base64\": \"7aCA\"}\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = json_text(json_from_bytes(cases[i].data, cases[i].size));
        assert_string_equal(text, cases[i].json);
        json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        void *bytes;
        size_t size;
        assert_true(json_to_bytes(json, &bytes, &size));
        assert_int_equal(size, cases[i].size);
        if (size > 0)
            assert_memory_equal(bytes, cases[i].data, size);
        free(bytes);
        json_decref(json);
        free(text);
    }
    assert_false(json_line_print(stdout, NULL));
}

static void test_json_pairs(void **state) {
    (void) state;
    void *key, *value;
    size_t key_size, value_size;
    char why[100];
    const char *line = "{\"value\": {\"base64\": \"/wA=\"}, \"key\": \"a\\u0000b\"}";
    assert_true(
        json_pair_parse(line, strlen(line), &key, &key_size, &value, &value_size, why, sizeof why));
    assert_int_equal(key_size, 3);
    assert_memory_equal(key, "a\0b", 3);
    assert_int_equal(value_size, 2);
    assert_memory_equal(value, "\xff\0", 2);
    free(key);
    free(value);
    const char *const bad[] = {"",
                               "x",
                               "[]",
                               "{}",
                               "{\"key\": \"a\"}",
                               "{\"key\": \"a\", \"value\": 5}",
                               "{\"key\": null, \"value\": \"b\"}",
                               "{\"key\": \"a\", \"value\": \"b\", \"ttl_ms\": 5}",
                               "{\"key\": \"a\", \"key\": \"b\", \"value\": \"c\"}",
                               "{\"key\": \"a\", \"value\": {\"base64\": \"x\"}}",
                               "{\"key\": \"a\", \"value\": {\"base64\": \"\", \"x\": 1}}",
                               "{\"key\": \"a\", \"value\": \"\xff\"}",
                               "{\"key\": \"a\", \"value\": \"b\"} x",
                               "{\"key\": \"a\", \"value\": \"b\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why[0] = '\0';
        assert_false(json_pair_parse(bad[i], strlen(bad[i]), &key, &key_size, &value, &value_size,
                                     why, sizeof why));
        assert_true(why[0] != '\0');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_durations),
        cmocka_unit_test(test_escapes),    cmocka_unit_test(test_base64),
        cmocka_unit_test(test_table),      cmocka_unit_test(test_json_bytes),
        cmocka_unit_test(test_json_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
