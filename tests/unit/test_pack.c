/* test_pack.c: the buffer, writers, reader, pre-scan and UTF-8; writers and reader against
 * msgpack-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/unpack.h"
#include "message_random.h"

#define BYTES(text) ((slice_t){(const uint8_t *) (text), sizeof(text) - 1})

static slice_t content(const buffer_t *buffer) {
    return (slice_t){buffer->data, buffer->size};
}

/* Scans a copy of exactly its own size, so that the sanitizer sees a read beyond the end. */
static int exact_scan(slice_t bytes, size_t depth, size_t elements, size_t *used) {
    uint8_t *copy = malloc(bytes.size ? bytes.size : 1);
    assert_non_null(copy);
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    int rc = pack_scan((slice_t){copy, bytes.size}, depth, elements, used);
    free(copy);
    return rc;
}

/* ---- buffer ---- */

static void buffer_grows_and_resets(void **unused) {
    (void) unused;
    buffer_t buffer = {0};
    for (unsigned i = 0; i < 100000; i++)
        buffer_append(&buffer, &(uint8_t){(uint8_t) i}, 1);
    assert_int_equal(buffer.size, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(buffer.data[i], (uint8_t) i);
    size_t capacity = buffer.capacity;
    buffer_reset(&buffer);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer.capacity, capacity);
    buffer_free(&buffer);
    assert_null(buffer.data);
}

static void buffer_remembers_failure(void **unused) {
    (void) unused;
    buffer_t buffer = {0};
    pack_uint(&buffer, 1);
    buffer_append(&buffer, "", SIZE_MAX); /* cannot be had; nothing is read */
    assert_true(buffer.failed);
    pack_uint(&buffer, 2);
    assert_int_equal(buffer.size, 1);
    assert_null(buffer_take(&buffer));
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 0);
    buffer_free(&buffer);
}

static void buffer_take_gives_all(void **unused) {
    (void) unused;
    static const size_t sizes[] = {0, 1, 4095, 4096, 100000};
    buffer_t buffer = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *bytes = malloc(sizes[i] + 1);
        assert_non_null(bytes);
        memset(bytes, (int) i + 1, sizes[i] + 1);
        buffer_append(&buffer, bytes, sizes[i]);
        payload_t *payload = buffer_take(&buffer);
        assert_non_null(payload);
        assert_int_equal(payload_size(payload), sizes[i]);
        assert_int_equal(buffer.size, 0);
        buffer_append(&buffer, "xxxx", 4); /* must not reach the payload */
        if (sizes[i])
            assert_memory_equal(payload_data(payload), bytes, sizes[i]);
        buffer_reset(&buffer);
        payload_unref(&payload);
        free(bytes);
    }
    buffer_free(&buffer);
}

/* ---- writers ---- */

static void writers_give_the_shortest_form(void **unused) {
    (void) unused;
    buffer_t out = {0};
    pack_array(&out, 2);
    pack_map(&out, 1);
    pack_nil(&out);
    pack_bool(&out, true);
    pack_bool(&out, false);
    pack_uint(&out, 127);
    pack_uint(&out, 128);
    pack_uint(&out, UINT64_MAX);
    pack_int(&out, -1);
    pack_int(&out, -129);
    pack_int(&out, 5);
    pack_str(&out, "ab");
    pack_bin(&out, "\x00\xff", 2);
    pack_bin(&out, NULL, 0);
    static const uint8_t want[] = {0x92, 0x81, 0xc0, 0xc3, 0xc2, 0x7f, 0xcc, 0x80, 0xcf, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xd1, 0xff, 0x7f, 0x05,
                                   0xa2, 'a',  'b',  0xc4, 0x02, 0x00, 0xff, 0xc4, 0x00};
    assert_int_equal(out.size, sizeof want);
    assert_memory_equal(out.data, want, sizeof want);
    buffer_free(&out);
}

static void keys_are_str_when_utf8(void **unused) {
    (void) unused;
    buffer_t out = {0};
    pack_key(&out, "\xc3\xa9", 2);
    pack_key(&out, "\xe9", 1);
    static const uint8_t want[] = {0xa2, 0xc3, 0xa9, 0xc4, 0x01, 0xe9};
    assert_int_equal(out.size, sizeof want);
    assert_memory_equal(out.data, want, sizeof want);
    buffer_free(&out);
}

static void utf8_table(void **unused) {
    (void) unused;
    static const struct {
        bool valid;
        slice_t text;
    } cases[] = {
        {true, BYTES("")},
        {true, BYTES("plain")},
        {true, BYTES("a\0b")},
        {true, BYTES("\x7f")},
        {true, BYTES("\xc2\x80")},
        {true, BYTES("\xdf\xbf")},
        {true, BYTES("\xe0\xa0\x80")},
        {true, BYTES("\xed\x9f\xbf")},
        {true, BYTES("\xee\x80\x80")},
        {true, BYTES("\xef\xbf\xbf")},
        {true, BYTES("\xf0\x90\x80\x80")},
        {true, BYTES("\xf4\x8f\xbf\xbf")},
        {false, BYTES("\x80")},             /* continuation alone */
        {false, BYTES("\xc0\x80")},         /* overlong */
        {false, BYTES("\xc1\xbf")},         /* overlong */
        {false, BYTES("\xe0\x9f\xbf")},     /* overlong */
        {false, BYTES("\xf0\x8f\xbf\xbf")}, /* overlong */
        {false, BYTES("\xed\xa0\x80")},     /* surrogate */
        {false, BYTES("\xed\xbf\xbf")},     /* surrogate */
        {false, BYTES("\xf4\x90\x80\x80")}, /* beyond U+10FFFF */
        {false, BYTES("\xf5\x80\x80\x80")},
        {false, BYTES("\xff")},
        {false, BYTES("\xc3")}, /* cut short */
        {false, BYTES("\xe2\x82")},
        {false, BYTES("\xf0\x9f\x98")},
        {false, BYTES("\xe2\x28\xa1")}, /* no continuation */
        {false, BYTES("\xe2\x82\x28")},
        {false, BYTES("ok\xc3\xa9\xff")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (utf8_valid(cases[i].text.data, cases[i].text.size) != cases[i].valid)
            fail_msg("case %zu", i);
}

/* Every scalar value, encoded by the definition, is valid; every other 3-byte start is not. */
static void utf8_every_code_point(void **unused) {
    (void) unused;
    for (uint32_t c = 0x800; c < 0x10000; c++) {
        uint8_t text[3] = {(uint8_t) (0xe0 | c >> 12), (uint8_t) (0x80 | (c >> 6 & 0x3f)),
                           (uint8_t) (0x80 | (c & 0x3f))};
        assert_int_equal(utf8_valid(text, 3), c < 0xd800 || c > 0xdfff);
    }
    for (uint32_t c = 0x10000; c < 0x200000; c += 7) {
        uint8_t text[4] = {(uint8_t) (0xf0 | c >> 18), (uint8_t) (0x80 | (c >> 12 & 0x3f)),
                           (uint8_t) (0x80 | (c >> 6 & 0x3f)), (uint8_t) (0x80 | (c & 0x3f))};
        assert_int_equal(utf8_valid(text, 4), c <= 0x10ffff);
    }
}

/* ---- reader ---- */

static void integers_in_every_width(void **unused) {
    (void) unused;
    static const struct {
        slice_t bytes;
        item_type_t type;
        uint64_t number;
        int64_t negative;
    } cases[] = {
        {BYTES("\x00"), ITEM_UINT, 0, 0},
        {BYTES("\x7f"), ITEM_UINT, 127, 0},
        {BYTES("\xcc\x05"), ITEM_UINT, 5, 0},
        {BYTES("\xcd\x01\x00"), ITEM_UINT, 256, 0},
        {BYTES("\xce\xff\xff\xff\xff"), ITEM_UINT, UINT32_MAX, 0},
        {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), ITEM_UINT, UINT64_MAX, 0},
        {BYTES("\xd0\x7f"), ITEM_UINT, 127, 0}, /* signed forms of what is not negative */
        {BYTES("\xd1\x01\x00"), ITEM_UINT, 256, 0},
        {BYTES("\xd2\x7f\xff\xff\xff"), ITEM_UINT, INT32_MAX, 0},
        {BYTES("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"), ITEM_UINT, INT64_MAX, 0},
        {BYTES("\xff"), ITEM_INT, 0, -1},
        {BYTES("\xe0"), ITEM_INT, 0, -32},
        {BYTES("\xd0\x80"), ITEM_INT, 0, -128},
        {BYTES("\xd1\x80\x00"), ITEM_INT, 0, INT16_MIN},
        {BYTES("\xd2\x80\x00\x00\x00"), ITEM_INT, 0, INT32_MIN},
        {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), ITEM_INT, 0, INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t rest = cases[i].bytes;
        item_t item;
        assert_int_equal(unpack_item(&rest, &item), 0);
        assert_int_equal(rest.size, 0);
        assert_int_equal(item.type, cases[i].type);
        assert_true(item.number == cases[i].number);
        assert_true(item.negative == cases[i].negative);
        for (size_t size = 0; size < cases[i].bytes.size; size++) {
            rest = (slice_t){cases[i].bytes.data, size};
            assert_int_equal(unpack_item(&rest, &item), DRAX_EPROTO);
            assert_int_equal(rest.size, size);
        }
    }
}

static void reader_remembers_the_first_failure(void **unused) {
    (void) unused;
    unpack_t in = unpack_begin(BYTES("\x93\x05\xa1x\xc3"));
    unpack_arity(&in, 3);
    assert_int_equal(unpack_uint(&in, 5), 5);
    assert_int_equal(in.code, 0);
    assert_int_equal(unpack_bin(&in).size, 0); /* it is a str */
    assert_int_equal(in.code, DRAX_EPROTO);
    assert_false(unpack_bool(&in));
    assert_int_equal(unpack_array(&in, 9), 0);
    assert_int_equal(unpack_end(&in), DRAX_EPROTO);
}

static void reader_checks_ranges(void **unused) {
    (void) unused;
    unpack_t in = unpack_begin(BYTES("\x06"));
    assert_int_equal(unpack_uint(&in, 5), 0);
    assert_int_equal(in.code, DRAX_EPROTO);
    in = unpack_begin(BYTES("\xfe"));
    assert_int_equal(unpack_int(&in, -2, 0), -2);
    assert_int_equal(unpack_end(&in), 0);
    in = unpack_begin(BYTES("\xfe"));
    assert_int_equal(unpack_int(&in, -1, 0), 0);
    assert_int_equal(in.code, DRAX_EPROTO);
    in = unpack_begin(BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    assert_int_equal(unpack_int(&in, INT64_MIN, INT64_MAX), 0);
    assert_int_equal(in.code, DRAX_EPROTO);
    in = unpack_begin(BYTES("\x92\x00\x00"));
    assert_int_equal(unpack_array(&in, 1), 0);
    assert_int_equal(in.code, DRAX_EPROTO);
    in = unpack_begin(BYTES("\xc0\x00"));
    assert_true(unpack_nil(&in));
    assert_false(unpack_nil(&in));
    assert_int_equal(in.code, 0);
    assert_int_equal(unpack_end(&in), DRAX_EPROTO); /* bytes are left */
}

/* ---- pre-scan ---- */

static void scan_table(void **unused) {
    (void) unused;
    static const struct {
        int want;
        slice_t bytes;
        size_t used;
    } cases[] = {
        {0, BYTES("\xc0"), 1},
        {0, BYTES("\xc0\xc0"), 1}, /* one value; what follows is the caller's concern */
        {0, BYTES("\x92\x01\xa1x"), 4},
        {0, BYTES("\x81\xa1k\x90"), 4},
        {0, BYTES("\xca\0\0\0\0"), 5},
        {0, BYTES("\xcb\0\0\0\0\0\0\0\0"), 9},
        {0, BYTES("\xd4\x01\xff"), 3}, /* fixext1 */
        {0, BYTES("\xc7\x00\x01"), 3}, /* ext8, empty */
        {0, BYTES("\xdc\0\0"), 3},
        {DRAX_EPROTO, BYTES(""), 0},
        {DRAX_EPROTO, BYTES("\xc1"), 0},
        {DRAX_EPROTO, BYTES("\x92\x01\xc1"), 0},
        {DRAX_EPROTO, BYTES("\xcd\x01"), 0},
        {DRAX_EPROTO, BYTES("\xc7\x01"), 0},
        {DRAX_EPROTO, BYTES("\xd4"), 0},
        {DRAX_EPROTO, BYTES("\xdd\0\0\0"), 0},
        {DRAX_EPROTO, BYTES("\x92\x91\x01"), 0},
        {DRAX_ETOOLARGE, BYTES("\x92\x01"), 0},
        {DRAX_ETOOLARGE, BYTES("\x81\x01"), 0},
        {DRAX_ETOOLARGE, BYTES("\xa2x"), 0},
        {DRAX_ETOOLARGE, BYTES("\xc4\x02x"), 0},
        {DRAX_ETOOLARGE, BYTES("\xd5\x01x"), 0},
        {DRAX_ETOOLARGE, BYTES("\xdd\xff\xff\xff\xff\x01"), 0},
        {DRAX_ETOOLARGE, BYTES("\xdf\xff\xff\xff\xff\x01\x01"), 0},
        {DRAX_ETOOLARGE, BYTES("\xdb\xff\xff\xff\xff\x01"), 0},
        {DRAX_ETOOLARGE, BYTES("\xc6\xff\xff\xff\xff\x01"), 0},
        {DRAX_ETOOLARGE, BYTES("\xc9\xff\xff\xff\xff\x01\x01"), 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t used = 99;
        int rc = exact_scan(cases[i].bytes, LIMIT_NESTING, LIMIT_ELEMENTS, &used);
        if (rc != cases[i].want || used != cases[i].used)
            fail_msg("case %zu: %d, %zu bytes", i, rc, used);
    }
}

static void scan_depth_limit(void **unused) {
    (void) unused;
    size_t used;
    uint8_t nested[10000];
    memset(nested, 0x91, sizeof nested);
    nested[sizeof nested - 1] = 0xc0;
    slice_t tail = {nested + sizeof nested - 1 - LIMIT_NESTING, LIMIT_NESTING + 1};
    assert_int_equal(exact_scan(tail, LIMIT_NESTING, LIMIT_ELEMENTS, &used), 0);
    tail.data--, tail.size++;
    assert_int_equal(exact_scan(tail, LIMIT_NESTING, LIMIT_ELEMENTS, &used), DRAX_ETOOLARGE);
    slice_t all = {nested, sizeof nested};
    assert_int_equal(exact_scan(all, LIMIT_NESTING, LIMIT_ELEMENTS, &used), DRAX_ETOOLARGE);
    assert_int_equal(exact_scan(BYTES("\xc0"), 0, 0, &used), 0);
    assert_int_equal(exact_scan(BYTES("\x90"), 0, 0, &used), DRAX_ETOOLARGE);
    /* Levels that end make room again. */
    assert_int_equal(exact_scan(BYTES("\x92\x91\x90\x91\x90"), 3, 100, &used), 0);
    assert_int_equal(used, 5);
}

static void scan_element_limit(void **unused) {
    (void) unused;
    size_t used;
    /* In all, not at each level: [[1, 1], {1: 1}] declares 2 + 2 + 2. */
    slice_t six = BYTES("\x92\x92\x01\x01\x81\x01\x01");
    assert_int_equal(exact_scan(six, 8, 6, &used), 0);
    assert_int_equal(exact_scan(six, 8, 5, &used), DRAX_ETOOLARGE);

    size_t count = LIMIT_ELEMENTS + 1;
    uint8_t *bytes = calloc(1, count + 5);
    assert_non_null(bytes);
    bytes[0] = 0xdd;
    bytes[2] = (uint8_t) (count >> 16);
    bytes[3] = (uint8_t) (count >> 8);
    bytes[4] = (uint8_t) count;
    slice_t all = {bytes, count + 5};
    assert_int_equal(exact_scan(all, LIMIT_NESTING, LIMIT_ELEMENTS, &used), DRAX_ETOOLARGE);
    assert_int_equal(exact_scan(all, LIMIT_NESTING, LIMIT_ELEMENTS + 1, &used), 0);
    assert_int_equal(used, all.size);
    free(bytes);
}

/* ---- against msgpack-c ---- */

static void value_random(buffer_t *out, unsigned depth, uint64_t *seed) {
    uint8_t bytes[40];
    size_t size = (size_t) (random_next(seed) % sizeof bytes);
    memset(bytes, 'k', sizeof bytes);
    uint64_t kind = random_next(seed) % (depth > 0 ? 9 : 7);
    switch (kind) {
    case 0:
        pack_nil(out);
        break;
    case 1:
        pack_bool(out, random_next(seed) % 2 != 0);
        break;
    case 2:
        pack_uint(out, random_number(seed, 64));
        break;
    case 3:
        pack_int(out, -(int64_t) random_number(seed, 63));
        break;
    case 4:
        pack_key(out, bytes, size);
        break;
    case 5:
        pack_bin(out, bytes, size);
        break;
    case 6:
        buffer_append(out, "\xca\x3f\x80\x00\x00", 5);
        break;
    default:
        if (kind == 7)
            pack_array(out, size % 5);
        else
            pack_map(out, size % 5);
        for (size_t i = 0; i < size % 5 * (kind == 7 ? 1 : 2); i++)
            value_random(out, depth - 1, seed);
        break;
    }
}

static void object_compare(slice_t *rest, const msgpack_object *want);

static void items_compare(slice_t *rest, const msgpack_object *want) {
    if (want->type == MSGPACK_OBJECT_ARRAY)
        for (uint32_t i = 0; i < want->via.array.size; i++)
            object_compare(rest, &want->via.array.ptr[i]);
    if (want->type == MSGPACK_OBJECT_MAP)
        for (uint32_t i = 0; i < want->via.map.size; i++) {
            object_compare(rest, &want->via.map.ptr[i].key);
            object_compare(rest, &want->via.map.ptr[i].val);
        }
}

static void object_compare(slice_t *rest, const msgpack_object *want) {
    item_t item;
    assert_int_equal(unpack_item(rest, &item), 0);
    switch (want->type) {
    case MSGPACK_OBJECT_NIL:
        assert_int_equal(item.type, ITEM_NIL);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        assert_int_equal(item.type, ITEM_BOOL);
        assert_int_equal(item.number, want->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        assert_int_equal(item.type, ITEM_UINT);
        assert_true(item.number == want->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        assert_int_equal(item.type, ITEM_INT);
        assert_true(item.negative == want->via.i64);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        assert_int_equal(item.type, ITEM_FLOAT);
        break;
    case MSGPACK_OBJECT_STR:
        assert_int_equal(item.type, ITEM_STR);
        assert_int_equal(item.bytes.size, want->via.str.size);
        if (item.bytes.size)
            assert_memory_equal(item.bytes.data, want->via.str.ptr, item.bytes.size);
        break;
    case MSGPACK_OBJECT_BIN:
        assert_int_equal(item.type, ITEM_BIN);
        assert_int_equal(item.bytes.size, want->via.bin.size);
        if (item.bytes.size)
            assert_memory_equal(item.bytes.data, want->via.bin.ptr, item.bytes.size);
        break;
    case MSGPACK_OBJECT_EXT:
        assert_int_equal(item.type, ITEM_EXT);
        assert_int_equal(item.bytes.size, want->via.ext.size);
        break;
    case MSGPACK_OBJECT_ARRAY:
        assert_int_equal(item.type, ITEM_ARRAY);
        assert_int_equal(item.count, want->via.array.size);
        break;
    case MSGPACK_OBJECT_MAP:
        assert_int_equal(item.type, ITEM_MAP);
        assert_int_equal(item.count, want->via.map.size);
        break;
    }
    items_compare(rest, want);
}

/* What the scan accepts, msgpack-c reads too, to the same end and to the same values. */
static bool agree(slice_t bytes) {
    size_t used, offset = 0;
    int rc = exact_scan(bytes, 16, LIMIT_ELEMENTS, &used);
    if (rc == DRAX_ETOOLARGE)
        return false;
    msgpack_zone zone;
    assert_true(msgpack_zone_init(&zone, 8192));
    msgpack_object object;
    msgpack_unpack_return got =
        msgpack_unpack((const char *) bytes.data, bytes.size, &offset, &zone, &object);
    if (rc == 0) {
        assert_true(got == MSGPACK_UNPACK_SUCCESS || got == MSGPACK_UNPACK_EXTRA_BYTES);
        assert_int_equal(offset, used);
        slice_t rest = bytes;
        object_compare(&rest, &object);
        assert_int_equal(bytes.size - rest.size, used);
    } else {
        assert_true(got != MSGPACK_UNPACK_SUCCESS && got != MSGPACK_UNPACK_EXTRA_BYTES);
    }
    msgpack_zone_destroy(&zone);
    return rc == 0;
}

static void random_values_agree(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t seed = i;
        buffer_reset(&bytes);
        value_random(&bytes, 5, &seed);
        assert_true(agree(content(&bytes)));
        /* One byte of it changed: still the same judgement, whichever it is. */
        bytes.data[random_next(&seed) % bytes.size] = (uint8_t) random_next(&seed);
        (void) agree(content(&bytes));
    }
    buffer_free(&bytes);
}

static void random_bytes_agree(void **unused) {
    (void) unused;
    uint64_t seed = 4711;
    size_t accepted = 0;
    for (size_t i = 0; i < 20000; i++) {
        uint8_t bytes[24];
        size_t size = 1 + (size_t) (random_next(&seed) % sizeof bytes);
        for (size_t j = 0; j < size; j++)
            bytes[j] = (uint8_t) random_next(&seed);
        accepted += agree((slice_t){bytes, size});
    }
    assert_true(accepted > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_grows_and_resets),
        cmocka_unit_test(buffer_remembers_failure),
        cmocka_unit_test(buffer_take_gives_all),
        cmocka_unit_test(writers_give_the_shortest_form),
        cmocka_unit_test(keys_are_str_when_utf8),
        cmocka_unit_test(utf8_table),
        cmocka_unit_test(utf8_every_code_point),
        cmocka_unit_test(integers_in_every_width),
        cmocka_unit_test(reader_remembers_the_first_failure),
        cmocka_unit_test(reader_checks_ranges),
        cmocka_unit_test(scan_table),
        cmocka_unit_test(scan_depth_limit),
        cmocka_unit_test(scan_element_limit),
        cmocka_unit_test(random_values_agree),
        cmocka_unit_test(random_bytes_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
