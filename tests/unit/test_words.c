/* test_words.c: lines of drax-cli's shell, taken apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/words.h"

/* The words of `line`, joined by '|'. */
static void expect(const char *line, const char *joined) {
    words_t words;
    char text[256] = "";
    assert_int_equal(words_split(&words, line), WORDS_OK);
    for (size_t i = 0; i < words.count; i++) {
        strcat(text, i ? "|" : "");
        strcat(text, words.list[i]);
    }
    assert_string_equal(text, joined);
    assert_true(words.count == 0 || words.list[words.count] == NULL);
    words_free(&words);
}

static void test_words(void **state) {
    (void) state;
    expect("", "");
    expect(" \t \n", "");
    expect("get a", "get|a");
    expect("  put\ta  b\r\n", "put|a|b");
    expect("put 'a b' \"c d\"", "put|a b|c d");
    expect("a'b'\"c\"d", "abcd");
    expect("put '' \"\"", "put||");
    expect("a\\ b \\'c \\\\", "a b|'c|\\");
    expect("'a\\n\"b' \"a\\n'b\"", "a\\n\"b|a\\n'b");
    expect("\"a\\\"b\\\\c\"", "a\"b\\c");
    expect("'two\nlines'", "two\nlines");
    expect("get a # b 'c", "get|a");
    expect("# all of it", "");
    expect("a#b '#c'", "a#b|#c");
}

static void test_open(void **state) {
    (void) state;
    static const char *const lines[] = {"'", "a 'b", "\"a", "\"a\\\"", "a\\", "a 'b' \"c"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        words_t words;
        assert_int_equal(words_split(&words, lines[i]), WORDS_OPEN);
        assert_null(words.list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_open)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
