/* fuzz_import.c: any bytes as what drax-cli reads: lines to import, numbers, durations, base64.
 *
 *   input = how:u8 bytes        how chooses what they are taken for
 *
 * Properties: what is refused has a reason; base64 comes back; what is printed is one line.
 */
#include <stdlib.h>

#include "cli/format.h"
#include "cli/json.h"
#include "tests/fuzz/fuzz.h"

static void pair_check(const char *text, size_t size) {
    void *key, *value;
    size_t key_size, value_size;
    char why[256] = "";
    if (!json_pair_parse(text, size, &key, &key_size, &value, &value_size, why, sizeof why)) {
        assert(why[0] && memchr(why, '\0', sizeof why));
        return;
    }
    assert(key && value);
    json_t *json = json_from_bytes(key, key_size); /* and back */
    void *again;
    size_t again_size;
    bool same = json && json_to_bytes(json, &again, &again_size) && again_size == key_size &&
                memcmp(again, key, key_size) == 0;
    assert(same);
    json_decref(json);
    free(again);
    free(key);
    free(value);
}

static void base64_check(const char *text, size_t size) {
    size_t decoded_size;
    void *decoded = format_base64_decode(text, size, &decoded_size);
    if (!decoded)
        return;
    char *encoded = format_base64_encode(decoded, decoded_size);
    assert(encoded && strlen(encoded) == size && memcmp(encoded, text, size) == 0);
    free(encoded);
    free(decoded);
}

static void escape_check(const char *text, size_t size) {
    char *escaped = format_escaped_new(text, size);
    assert(escaped && !strpbrk(escaped, "\t\n"));
    free(escaped);
}

static void number_check(const char *text) {
    uint64_t number = 0;
    if (format_number_parse(text, &number))
        assert(number <= FORMAT_NUMBER_MAX);
    if (format_duration_parse(text, &number))
        assert(number <= FORMAT_NUMBER_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input_t in = {{data, size}};
    uint8_t how = fuzz_byte(&in);
    char text[1025];
    slice_t body = fuzz_bytes(&in, sizeof text - 1);
    if (body.size)
        memcpy(text, body.data, body.size);
    text[body.size] = '\0';
    switch (how % 4) {
    case 0:
        pair_check(text, body.size);
        break;
    case 1:
        base64_check(text, body.size);
        break;
    case 2:
        escape_check(text, body.size);
        break;
    default:
        number_check(text);
    }
    return 0;
}
