/* json.c: results, keys and values as JSON, and back. */
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

#include "cli/format.h"

json_t *json_from_bytes(const void *data, size_t size) {
    /* jansson refuses what is not UTF-8. */
    json_t *text = json_stringn(data ? data : "", size);
    if (text)
        return text;
    char *base64 = format_base64_encode(data, size);
    json_t *object = base64 ? json_pack("{s:s}", "base64", base64) : NULL;
    free(base64);
    return object;
}

static json_t *array_from_field(const drax_field_t *field) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < drax_field_count(field); i++) {
        if (json_array_append_new(array, json_from_field(drax_field_at(field, i))) == 0)
            continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

static json_t *object_from_field(const drax_field_t *field) {
    json_t *object = json_object();
    for (size_t i = 0; object && i < drax_field_count(field); i++) {
        size_t size;
        const char *name = drax_field_bytes(drax_field_name(field, i), &size);
        json_t *value = json_from_field(drax_field_at(field, i));
        if (json_object_setn_new(object, name ? name : "", size, value) == 0)
            continue;
        json_decref(object);
        object = NULL;
    }
    return object;
}

json_t *json_from_field(const drax_field_t *field) {
    size_t size;
    const void *bytes;
    switch (drax_field_kind(field)) {
    case DRAX_FIELD_BOOL:
        return json_boolean(drax_field_bool(field));
    case DRAX_FIELD_INTEGER:
        return json_integer((json_int_t) drax_field_uint(field));
    case DRAX_FIELD_BYTES:
        bytes = drax_field_bytes(field, &size);
        return json_from_bytes(bytes, size);
    case DRAX_FIELD_ARRAY:
        return array_from_field(field);
    case DRAX_FIELD_MAP:
        return object_from_field(field);
    case DRAX_FIELD_NIL:
    case DRAX_FIELD_OTHER:
        break;
    }
    return json_null();
}

static int bytes_print(const char *data, size_t size, void *out) {
    /* A short write is remembered by the stream. */
    (void) fwrite(data, 1, size, out);
    return 0;
}

bool json_print(FILE *out, json_t *object) {
    bool ok = object && json_dump_callback(object, bytes_print, out, JSON_ENCODE_ANY) == 0;
    json_decref(object);
    return ok;
}

bool json_line_print(FILE *out, json_t *object) {
    if (!json_print(out, object))
        return false;
    fputc('\n', out);
    return true;
}

bool json_to_bytes(const json_t *json, void **out, size_t *out_size) {
    *out = NULL;
    *out_size = 0;
    if (json_is_string(json)) {
        size_t size = json_string_length(json);
        *out = malloc(size + 1);
        if (!*out)
            return false;
        memcpy(*out, json_string_value(json), size);
        *out_size = size;
        return true;
    }
    const json_t *base64 = json_object_get(json, "base64");
    if (!json_is_string(base64) || json_object_size(json) != 1)
        return false;
    *out = format_base64_decode(json_string_value(base64), json_string_length(base64), out_size);
    return *out != NULL;
}

bool json_pair_parse(const char *line, size_t size, void **key, size_t *key_size, void **value,
                     size_t *value_size, char *why, size_t why_size) {
    json_error_t error;
    *key = *value = NULL;
    json_t *pair = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    const json_t *key_json = json_object_get(pair, "key"),
                 *value_json = json_object_get(pair, "value");
    bool ok = false;
    if (!pair)
        snprintf(why, why_size, "not JSON: %s", error.text);
    else if (!key_json || !value_json || json_object_size(pair) != 2)
        snprintf(why, why_size, "not {\"key\": ..., \"value\": ...}");
    else if (!json_to_bytes(key_json, key, key_size))
        snprintf(why, why_size, "the key is neither a string nor {\"base64\": \"...\"}");
    else if (!json_to_bytes(value_json, value, value_size))
        snprintf(why, why_size, "the value is neither a string nor {\"base64\": \"...\"}");
    else
        ok = true;
    if (!ok) {
        free(*key);
        *key = NULL;
    }
    json_decref(pair);
    return ok;
}
