/* test_wire.c: the worked examples of docs/WIRE.md: the text and its bytes agree, and the decoders
 * take what the page says they take.
 *
 *   example = "```msgpack", one or more lines of text, "=>" and bytes in hex over some lines, "```"
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/block.h"
#include "broker/codec.h"
#include "broker/error.h"
#include "broker/rpc.h"
#include "text_msgpack.h"

#define PAGE DRAX_SOURCE_DIR "/docs/WIRE.md"
#define EXAMPLES_MIN 10
#define OPENING "```msgpack\n"

static slice_t content(const buffer_t *buffer) {
    return (slice_t){buffer->data, buffer->size};
}

static char *page_load(void) {
    FILE *file = fopen(PAGE, "r");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    assert_true(size > 0);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void hex_parse(buffer_t *out, const char *at, const char *end) {
    for (; at < end; at++) {
        unsigned byte;
        if (*at == ' ' || *at == '\n')
            continue;
        assert_int_equal(sscanf(at, "%2x", &byte), 1);
        buffer_append(out, &(uint8_t){(uint8_t) byte}, 1);
        at++;
    }
}

/* Which of the page's languages is it? Each example must be one. */
static void example_check(const char *text, slice_t bytes) {
    request_t request;
    rpc_error_t error;
    message_t message;
    block_t block;
    expire_t expire;
    config_t config;
    int request_rc = request_decode(bytes, &request, &error);
    if (strstr(text, "\"ping\", [1]")) {
        assert_int_equal(request_rc, DRAX_EPROTO);
        assert_int_equal(request.msgid, 5);
        return;
    }
    if (request_rc == 0 || request_rc == DRAX_EAGAIN || block_open(&block, bytes) == 0 ||
        expire_open(&expire, bytes) == 0 || codec_config_decode(&config, bytes) == 0)
        return;
    assert_int_equal(codec_decode(&message, bytes, NULL, 0), 0);
    assert_int_equal(message.kind, MESSAGE_VOTE_RESULT);
    message_clear(&message);
}

static void examples_are_true(void **unused) {
    (void) unused;
    char *page = page_load();
    size_t examples = 0;
    for (char *at = page; (at = strstr(at, OPENING)) != NULL; examples++) {
        at += strlen(OPENING);
        char *arrow = strstr(at, "=>"), *end = strstr(at, "```");
        assert_true(arrow && end && arrow < end);
        buffer_t want = {0}, given = {0};
        *arrow = 0;
        text_msgpack(&want, at);
        hex_parse(&given, arrow + 2, end);
        if (want.size != given.size || memcmp(want.data, given.data, want.size) != 0)
            fail_msg("the bytes of %s are wrong", at);
        example_check(at, content(&given));
        buffer_free(&want);
        buffer_free(&given);
        at = end;
    }
    assert_true(examples >= EXAMPLES_MIN);
    free(page);
}

/* The table of methods on the page names every method that there is. */
static void methods_are_listed(void **unused) {
    (void) unused;
    char *page = page_load();
    for (int i = METHOD_PING; i < METHOD_EXPIRE; i++) {
        char row[64];
        snprintf(row, sizeof row, "\n| `%s` |", method_name((method_t) i));
        if (!strstr(page, row))
            fail_msg("%s is missing", method_name((method_t) i));
    }
    for (int i = RPC_OK + 1; i < RPC_CODE_END; i++)
        if (!strstr(page, rpc_code_name((rpc_code_t) i)))
            fail_msg("%s is missing", rpc_code_name((rpc_code_t) i));
    for (int i = 1; i < MESSAGE_KIND_END; i++) {
        char name[64];
        snprintf(name, sizeof name, "%d %s", i, message_kind_name((message_kind_t) i));
        if (!strstr(name, "UNKNOWN") && !strstr(page, name))
            fail_msg("%s is missing", name);
    }
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_true),
        cmocka_unit_test(methods_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
