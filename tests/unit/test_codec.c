/* test_codec.c: every kind of message survives the wire, and nothing else gets through it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/codec.h"
#include "broker/error.h"
#include "message_random.h"

#define ROUNDS 60
#define HEADER_FIELDS 10

static slice_t content(const buffer_t *buffer) {
    return (slice_t){buffer->data, buffer->size};
}

/* A copy of exactly its own size, so that the sanitizer sees a read beyond the end. */
static int exact_decode(message_t *out, slice_t header, payload_t *const *payloads, size_t count) {
    uint8_t *copy = malloc(header.size ? header.size : 1);
    assert_non_null(copy);
    if (header.size)
        memcpy(copy, header.data, header.size);
    int rc = codec_decode(out, (slice_t){copy, header.size}, payloads, count);
    free(copy);
    return rc;
}

static void cleared_assert(const message_t *message) {
    static const message_t zero;
    assert_memory_equal(message, &zero, sizeof zero);
}

static void every_kind_round_trips(void **unused) {
    (void) unused;
    frames_t frames = {0};
    size_t kinds = 0;
    for (int kind = 0; kind < MESSAGE_KIND_END; kind++) {
        if (!message_kind_exists((message_kind_t) kind))
            continue;
        kinds++;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            uint64_t seed = (uint64_t) kind << 32 | round;
            message_t sent, got;
            message_random(&sent, (message_kind_t) kind, &seed);
            assert_int_equal(codec_encode(&frames, &sent), 0);
            assert_int_equal(
                exact_decode(&got, content(&frames.header), frames.payloads, frames.count), 0);
            if (!message_equal(&sent, &got))
                fail_msg("%s of round %u differs", message_kind_name((message_kind_t) kind),
                         (unsigned) round);
            message_clear(&sent);
            message_clear(&got);
        }
    }
    assert_int_equal(kinds, 44);
    frames_clear(&frames);
}

static void unknown_kinds_refused(void **unused) {
    (void) unused;
    frames_t frames = {0};
    for (int kind = -1; kind <= MESSAGE_KIND_END + 1; kind++) {
        if (message_kind_exists((message_kind_t) kind))
            continue;
        message_t message = {.kind = (message_kind_t) kind};
        assert_int_equal(codec_encode(&frames, &message), DRAX_EINVAL);
        assert_int_equal(frames.header.size, 0);

        buffer_t header = {0};
        pack_array(&header, HEADER_FIELDS);
        pack_uint(&header, MESSAGE_VERSION);
        pack_int(&header, kind);
        for (int i = 0; i < 7; i++)
            pack_uint(&header, 0);
        pack_nil(&header);
        assert_int_equal(codec_decode(&message, content(&header), NULL, 0), DRAX_EPROTO);
        cleared_assert(&message);
        buffer_free(&header);
    }
    frames_clear(&frames);
}

/* The references in the frames outlive the message. */
static void frames_outlive_message(void **unused) {
    (void) unused;
    frames_t frames = {0};
    message_t message = {.kind = MESSAGE_PROPOSE};
    message.propose.payload = payload_copy("block", 5);
    assert_int_equal(codec_encode(&frames, &message), 0);
    message_clear(&message);
    assert_int_equal(frames.count, 1);
    assert_memory_equal(payload_data(frames.payloads[0]), "block", 5);
    frames_reset(&frames);
    assert_int_equal(frames.count, 0);
    frames_clear(&frames);
}

static void other_version_refused(void **unused) {
    (void) unused;
    message_t message;
    static const uint8_t bare[] = {0x91, MESSAGE_VERSION + 1};
    assert_int_equal(codec_decode(&message, (slice_t){bare, sizeof bare}, NULL, 0), DRAX_EVERSION);
    cleared_assert(&message);
    static const uint8_t negative[] = {0x91, 0xff};
    assert_int_equal(codec_decode(&message, (slice_t){negative, 2}, NULL, 0), DRAX_EPROTO);
    assert_int_equal(codec_decode(&message, (slice_t){NULL, 0}, NULL, 0), DRAX_EPROTO);
}

static void trailing_and_missing_frames_refused(void **unused) {
    (void) unused;
    frames_t frames = {0};
    payload_t *extra = payload_copy("x", 1);
    for (int kind = 1; kind < MESSAGE_KIND_END; kind++) {
        if (!message_kind_exists((message_kind_t) kind))
            continue;
        uint64_t seed = (uint64_t) kind;
        message_t sent, got;
        message_random(&sent, (message_kind_t) kind, &seed);
        assert_int_equal(codec_encode(&frames, &sent), 0);
        message_clear(&sent);

        payload_t **more = calloc(frames.count + 1, sizeof *more);
        assert_non_null(more);
        for (size_t i = 0; i < frames.count; i++)
            more[i] = frames.payloads[i];
        more[frames.count] = extra;
        assert_int_equal(codec_decode(&got, content(&frames.header), more, frames.count + 1),
                         DRAX_EPROTO);
        cleared_assert(&got);
        if (frames.count > 0)
            assert_int_equal(
                codec_decode(&got, content(&frames.header), frames.payloads, frames.count - 1),
                DRAX_EPROTO);
        free(more);

        buffer_append(&frames.header, "\x00", 1);
        assert_int_equal(codec_decode(&got, content(&frames.header), frames.payloads, frames.count),
                         DRAX_EPROTO);
    }
    payload_unref(&extra);
    frames_clear(&frames);
}

static void every_truncation_refused(void **unused) {
    (void) unused;
    frames_t frames = {0};
    for (int kind = 1; kind < MESSAGE_KIND_END; kind++) {
        if (!message_kind_exists((message_kind_t) kind))
            continue;
        uint64_t seed = 77 + (uint64_t) kind;
        message_t sent, got;
        message_random(&sent, (message_kind_t) kind, &seed);
        assert_int_equal(codec_encode(&frames, &sent), 0);
        message_clear(&sent);
        for (size_t size = 0; size < frames.header.size; size++) {
            assert_int_equal(exact_decode(&got, (slice_t){frames.header.data, size},
                                          frames.payloads, frames.count),
                             DRAX_EPROTO);
            cleared_assert(&got);
        }
    }
    frames_clear(&frames);
}

/* A changed byte gives an error and nothing, or a message that is whole: encoding it again works.
 */
static void mutation_check(const frames_t *frames, slice_t header, frames_t *again) {
    message_t got;
    int rc = exact_decode(&got, header, frames->payloads, frames->count);
    if (rc == 0) {
        assert_int_equal(codec_encode(again, &got), 0);
        message_clear(&got);
        return;
    }
    assert_true(rc == DRAX_EPROTO || rc == DRAX_EVERSION);
    cleared_assert(&got);
}

static void every_byte_mutated(void **unused) {
    (void) unused;
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0x90, 0x91, 0xa0, 0xc0, 0xc1, 0xc3,
                                     0xc6, 0xc9, 0xcb, 0xcf, 0xd3, 0xdb, 0xdd, 0xdf, 0xff};
    frames_t frames = {0}, again = {0};
    for (int kind = 1; kind < MESSAGE_KIND_END; kind++) {
        if (!message_kind_exists((message_kind_t) kind))
            continue;
        uint64_t seed = 1000 + (uint64_t) kind;
        message_t sent;
        message_random(&sent, (message_kind_t) kind, &seed);
        assert_int_equal(codec_encode(&frames, &sent), 0);
        message_clear(&sent);
        buffer_t *header = &frames.header;
        /* Addresses make some headers long, and their bytes all behave alike. */
        size_t step = 1 + header->size / 1500;
        for (size_t at = 0; at < header->size; at += at < 200 ? 1 : step) {
            uint8_t before = header->data[at];
            for (size_t i = 0; i < sizeof values; i++) {
                header->data[at] = values[i];
                mutation_check(&frames, content(header), &again);
            }
            header->data[at] = (uint8_t) random_next(&seed);
            mutation_check(&frames, content(header), &again);
            header->data[at] = before;
        }
    }
    frames_clear(&frames);
    frames_clear(&again);
}

/* ---- entries ---- */

static void append_make(message_t *out, entries_t entries) {
    *out = (message_t){.kind = MESSAGE_APPEND, .append = {.prev_index = 4, .entries = entries}};
}

static int append_exchange(entry_t *items, size_t count, frames_t *frames, message_t *got) {
    message_t sent;
    append_make(&sent, (entries_t){items, count, count});
    int rc = codec_encode(frames, &sent);
    return rc != 0 ? rc
                   : codec_decode(got, content(&frames->header), frames->payloads, frames->count);
}

static void entries_must_be_in_order(void **unused) {
    (void) unused;
    frames_t frames = {0};
    message_t got;
    entry_t good[] = {{.index = 5, .term = 2}, {.index = 6, .term = 3}};
    assert_int_equal(append_exchange(good, 2, &frames, &got), 0);
    message_clear(&got);
    entry_t gap[] = {{.index = 5, .term = 2}, {.index = 7, .term = 2}};
    assert_int_equal(append_exchange(gap, 2, &frames, &got), DRAX_EPROTO);
    cleared_assert(&got);
    entry_t late[] = {{.index = 6, .term = 2}};
    assert_int_equal(append_exchange(late, 1, &frames, &got), DRAX_EPROTO);
    entry_t falling[] = {{.index = 5, .term = 3}, {.index = 6, .term = 2}};
    assert_int_equal(append_exchange(falling, 2, &frames, &got), DRAX_EPROTO);
    entry_t huge[] = {{.index = 5, .term = UINT64_MAX}};
    assert_int_equal(append_exchange(huge, 1, &frames, &got), DRAX_EPROTO);
    frames_clear(&frames);
}

static void entries_that_cannot_be_sent(void **unused) {
    (void) unused;
    frames_t frames = {0};
    message_t got;
    entry_t no_block = {.index = 5, .kind = ENTRY_BLOCK};
    assert_int_equal(append_exchange(&no_block, 1, &frames, &got), DRAX_EINVAL);
    entry_t no_config = {.index = 5, .kind = ENTRY_CONFIG};
    assert_int_equal(append_exchange(&no_config, 1, &frames, &got), DRAX_EINVAL);
    config_t config = {0};
    entry_t empty_config = {.index = 5, .kind = ENTRY_CONFIG, .config = &config};
    assert_int_equal(append_exchange(&empty_config, 1, &frames, &got), DRAX_EINVAL);
    config.count = LIMIT_MEMBERS + 1;
    assert_int_equal(append_exchange(&empty_config, 1, &frames, &got), DRAX_EINVAL);
    entry_t unknown = {.index = 5, .kind = (entry_kind_t) 3};
    assert_int_equal(append_exchange(&unknown, 1, &frames, &got), DRAX_EINVAL);
    assert_int_equal(frames.count, 0);
    frames_clear(&frames);
}

/* The frame of an entry must suit its kind. */
static void entry_frames_must_fit(void **unused) {
    (void) unused;
    frames_t frames = {0};
    message_t sent, got;
    payload_t *block = payload_copy("b", 1), *other = payload_copy("\xc0", 1);
    config_t config = {.count = 1};
    config.members[0] = (member_t){.id = 1, .role = MEMBER_VOTER};
    entry_t items[] = {
        {.index = 5, .kind = ENTRY_NOOP},
        {.index = 6, .kind = ENTRY_BLOCK, .payload = block},
        {.index = 7, .kind = ENTRY_CONFIG, .config = &config},
    };
    append_make(&sent, (entries_t){items, 3, 3});
    assert_int_equal(codec_encode(&frames, &sent), 0);
    payload_t *kept[3] = {frames.payloads[0], frames.payloads[1], frames.payloads[2]};
    assert_null(kept[0]);
    payload_t *wrong[3] = {other, NULL, other};
    for (size_t i = 0; i < 3; i++) {
        payload_t *tried[3] = {kept[0], kept[1], kept[2]};
        tried[i] = wrong[i];
        assert_int_equal(codec_decode(&got, content(&frames.header), tried, 3), DRAX_EPROTO);
        cleared_assert(&got);
    }
    assert_int_equal(codec_decode(&got, content(&frames.header), kept, 3), 0);
    assert_ptr_equal(got.append.entries.items[1].payload, block); /* shared, not copied */
    message_clear(&got);
    frames_clear(&frames);
    payload_unref(&block);
    payload_unref(&other);
}

static void entry_count_limit(void **unused) {
    (void) unused;
    frames_t frames = {0};
    message_t got;
    size_t max = LIMIT_MESSAGE_FRAMES - 1;
    entry_t *items = calloc(max + 1, sizeof *items);
    assert_non_null(items);
    for (size_t i = 0; i <= max; i++)
        items[i].index = 5 + i;
    assert_int_equal(append_exchange(items, max, &frames, &got), 0);
    assert_int_equal(got.append.entries.count, max);
    message_clear(&got);
    assert_int_equal(append_exchange(items, max + 1, &frames, &got), DRAX_EINVAL);
    free(items);
    frames_clear(&frames);
}

/* A header that claims billions of elements costs nothing. */
static void declared_counts_are_not_believed(void **unused) {
    (void) unused;
    message_t got;
    static const uint8_t bombs[][6] = {
        {0xdd, 0xff, 0xff, 0xff, 0xff, 0x01},
        {0xdf, 0xff, 0xff, 0xff, 0xff, 0x01},
        {0xdb, 0xff, 0xff, 0xff, 0xff, 0x01},
    };
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(codec_decode(&got, (slice_t){bombs[i], 6}, NULL, 0), DRAX_EPROTO);
    buffer_t header = {0};
    pack_array(&header, HEADER_FIELDS);
    pack_uint(&header, MESSAGE_VERSION);
    pack_uint(&header, MESSAGE_OPENED);
    for (int i = 0; i < 7; i++)
        pack_uint(&header, 0);
    pack_array(&header, 13);
    pack_bool(&header, true);
    for (int i = 0; i < 8; i++)
        pack_uint(&header, 0);
    pack_bool(&header, false);
    pack_uint(&header, 0);
    buffer_append(&header, "\xdd\xff\xff\xff\xfe", 5);
    assert_int_equal(codec_decode(&got, content(&header), NULL, 0), DRAX_EPROTO);
    cleared_assert(&got);
    buffer_free(&header);
}

static void opened_lists_are_limited(void **unused) {
    (void) unused;
    frames_t frames = {0};
    message_t sent = {.kind = MESSAGE_OPENED}, got;
    sent.opened.configs = calloc(LIMIT_OPENED_CONFIGS + 1, sizeof *sent.opened.configs);
    assert_non_null(sent.opened.configs);
    sent.opened.config_count = LIMIT_OPENED_CONFIGS;
    assert_int_equal(codec_encode(&frames, &sent), 0);
    assert_int_equal(codec_decode(&got, content(&frames.header), NULL, 0), 0);
    assert_int_equal(got.opened.config_count, LIMIT_OPENED_CONFIGS);
    message_clear(&got);
    sent.opened.config_count++;
    assert_int_equal(codec_encode(&frames, &sent), DRAX_EINVAL);
    message_clear(&sent);
    frames_clear(&frames);
}

static void blocks_and_batches_need_a_payload(void **unused) {
    (void) unused;
    static const message_kind_t needing[] = {MESSAGE_PROPOSE, MESSAGE_FORWARD, MESSAGE_QUERY,
                                             MESSAGE_ANSWER, MESSAGE_RESULT};
    frames_t frames = {0};
    for (size_t i = 0; i < sizeof needing / sizeof *needing; i++) {
        uint64_t seed = i;
        message_t message, got;
        message_random(&message, needing[i], &seed);
        assert_int_equal(codec_encode(&frames, &message), 0);
        payload_t *none = NULL;
        assert_int_equal(codec_decode(&got, content(&frames.header), &none, 1), DRAX_EPROTO);
        message_clear(&message);
        message.kind = needing[i];
        assert_int_equal(codec_encode(&frames, &message), DRAX_EINVAL);
    }
    frames_clear(&frames);
}

/* ---- memberships ---- */

static void config_round_trips(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t state = seed;
        config_t sent, got;
        config_random(&sent, &state);
        buffer_reset(&bytes);
        assert_int_equal(codec_config_encode(&bytes, &sent), 0);
        assert_int_equal(codec_config_decode(&got, content(&bytes)), 0);
        assert_true(config_equal(&sent, &got));
        for (size_t size = 0; size < bytes.size; size += 1 + bytes.size / 300)
            assert_int_equal(codec_config_decode(&got, (slice_t){bytes.data, size}), DRAX_EPROTO);
    }
    buffer_free(&bytes);
}

static void member_pack(buffer_t *out, int64_t id, int64_t role, const char *addr, size_t size) {
    pack_array(out, 4);
    pack_int(out, id);
    pack_int(out, role);
    pack_array(out, 0);
    out->size--; /* a string by hand, which may hold a NUL */
    uint8_t head[3] = {0xda, (uint8_t) (size >> 8), (uint8_t) size};
    buffer_append(out, head, 3);
    buffer_append(out, addr, size);
    pack_str(out, "127.0.0.1:1");
}

static void config_rules(void **unused) {
    (void) unused;
    char longest[LIMIT_ADDR_BYTES];
    memset(longest, 'a', sizeof longest);
    static const char embedded[] = "a\0b";
    const struct {
        int want;
        int64_t ids[2];
        int64_t role;
        const char *addr;
        size_t size;
    } cases[] = {
        {0, {1, 2}, MEMBER_VOTER, "a", 1},
        {0, {1, UINT32_MAX}, MEMBER_LEARNER, "a", 1},
        {0, {1, 2}, MEMBER_VOTER, longest, LIMIT_ADDR_BYTES - 1},
        {DRAX_EPROTO, {1, 2}, MEMBER_VOTER, longest, LIMIT_ADDR_BYTES},
        {DRAX_EPROTO, {1, 2}, MEMBER_VOTER, embedded, 3},
        {DRAX_EPROTO, {2, 1}, MEMBER_VOTER, "a", 1},
        {DRAX_EPROTO, {2, 2}, MEMBER_VOTER, "a", 1},
        {DRAX_EPROTO, {0, 1}, MEMBER_VOTER, "a", 1},
        {DRAX_EPROTO, {-1, 1}, MEMBER_VOTER, "a", 1},
        {DRAX_EPROTO, {1, (int64_t) UINT32_MAX + 1}, MEMBER_VOTER, "a", 1},
        {DRAX_EPROTO, {1, 2}, 0, "a", 1},
        {DRAX_EPROTO, {1, 2}, 3, "a", 1},
    };
    buffer_t bytes = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buffer_reset(&bytes);
        pack_array(&bytes, 2);
        pack_uint(&bytes, 9);
        pack_array(&bytes, 2);
        for (size_t j = 0; j < 2; j++)
            member_pack(&bytes, cases[i].ids[j], cases[i].role, cases[i].addr, cases[i].size);
        config_t config;
        int rc = codec_config_decode(&config, content(&bytes));
        if (rc != cases[i].want)
            fail_msg("case %zu: %d, not %d", i, rc, cases[i].want);
        if (rc == 0)
            assert_int_equal(config.count, 2);
    }
    buffer_free(&bytes);
}

static void config_member_limit(void **unused) {
    (void) unused;
    buffer_t bytes = {0};
    config_t config = {.count = LIMIT_MEMBERS + 1}, got;
    assert_int_equal(codec_config_encode(&bytes, &config), DRAX_EINVAL);
    for (size_t count = LIMIT_MEMBERS; count <= LIMIT_MEMBERS + 1; count++) {
        buffer_reset(&bytes);
        pack_array(&bytes, 2);
        pack_uint(&bytes, 1);
        pack_array(&bytes, count);
        for (size_t i = 0; i < count; i++)
            member_pack(&bytes, (int64_t) i + 1, MEMBER_VOTER, "a", 1);
        assert_int_equal(codec_config_decode(&got, content(&bytes)),
                         count <= LIMIT_MEMBERS ? 0 : DRAX_EPROTO);
    }
    buffer_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_round_trips),
        cmocka_unit_test(unknown_kinds_refused),
        cmocka_unit_test(frames_outlive_message),
        cmocka_unit_test(other_version_refused),
        cmocka_unit_test(trailing_and_missing_frames_refused),
        cmocka_unit_test(every_truncation_refused),
        cmocka_unit_test(every_byte_mutated),
        cmocka_unit_test(entries_must_be_in_order),
        cmocka_unit_test(entries_that_cannot_be_sent),
        cmocka_unit_test(entry_frames_must_fit),
        cmocka_unit_test(entry_count_limit),
        cmocka_unit_test(declared_counts_are_not_believed),
        cmocka_unit_test(opened_lists_are_limited),
        cmocka_unit_test(blocks_and_batches_need_a_payload),
        cmocka_unit_test(config_round_trips),
        cmocka_unit_test(config_rules),
        cmocka_unit_test(config_member_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
