/* result.c: answers taken apart, and the fields of their results.
 *
 *   answer       = [1, msgid, error, result]
 *   error        = nil | [code, text] | [code, text, details]
 *   notification = [2, method, params]      of a watch: [2, "event", [{...}]]
 */
#include "cli/result.h"

#include <assert.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "broker/pack.h"
#include "cli/error.h"

struct drax_result {
    zmq_msg_t message; /* the bytes that the objects point into */
    msgpack_unpacked unpacked;
    const msgpack_object *map; /* the result itself */
};

static answer_kind_t answer_read(answer_t *out, const msgpack_object *answer);
static void error_read(answer_t *out, const msgpack_object *error);
static bool is_event(const msgpack_object *notification);
static bool is_bytes(const msgpack_object *object);
static bool text_equal(const msgpack_object *object, const char *text);

answer_kind_t answer_decode(answer_t *out, zmq_msg_t *message) {
    memset(out, 0, sizeof *out);
    slice_t bytes = {zmq_msg_data(message), zmq_msg_size(message)};
    size_t used = 0;
    drax_result_t *result = NULL;
    answer_kind_t kind = ANSWER_MALFORMED;
    if (pack_scan(bytes, CLIENT_ANSWER_NESTING, CLIENT_ANSWER_ELEMENTS, &used) == 0 &&
        used == bytes.size) {
        kind = ANSWER_NO_MEMORY;
        result = calloc(1, sizeof *result);
    }
    if (!result) {
        (void) zmq_msg_close(message);
        return kind;
    }
    (void) zmq_msg_init(&result->message);
    (void) zmq_msg_move(&result->message, message);
    (void) zmq_msg_close(message);
    /* A short message lies within the zmq_msg_t, so its bytes have moved with it. */
    msgpack_unpacked_init(&result->unpacked);
    size_t at = 0;
    msgpack_unpack_return rc = msgpack_unpack_next(
        &result->unpacked, zmq_msg_data(&result->message), zmq_msg_size(&result->message), &at);
    if (rc == MSGPACK_UNPACK_SUCCESS)
        kind = answer_read(out, &result->unpacked.data);
    else if (rc != MSGPACK_UNPACK_NOMEM_ERROR)
        kind = ANSWER_MALFORMED;
    if (kind == ANSWER_EVENT || (kind == ANSWER_OK && out->error == 0)) {
        const msgpack_object *items = result->unpacked.data.via.array.ptr;
        result->map = kind == ANSWER_OK ? &items[3] : items[2].via.array.ptr;
        out->result = result;
        return kind;
    }
    drax_result_destroy(&result);
    return kind;
}

static answer_kind_t answer_read(answer_t *out, const msgpack_object *answer) {
    if (answer->type != MSGPACK_OBJECT_ARRAY || answer->via.array.size == 0)
        return ANSWER_MALFORMED;
    const msgpack_object *item = answer->via.array.ptr;
    if (item[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return ANSWER_MALFORMED;
    if (item[0].via.u64 == 2)
        return is_event(answer) ? ANSWER_EVENT : ANSWER_IGNORED;
    if (item[0].via.u64 != 1 || answer->via.array.size != 4 ||
        item[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER || item[1].via.u64 > UINT32_MAX)
        return ANSWER_MALFORMED;
    out->msgid = (uint32_t) item[1].via.u64;
    if (item[2].type != MSGPACK_OBJECT_NIL)
        error_read(out, &item[2]);
    else if (item[3].type != MSGPACK_OBJECT_MAP)
        out->error = DRAX_ERR_PROTOCOL;
    return ANSWER_OK;
}

static bool is_event(const msgpack_object *notification) {
    const msgpack_object *item = notification->via.array.ptr;
    return notification->via.array.size == 3 && text_equal(&item[1], "event") &&
           item[2].type == MSGPACK_OBJECT_ARRAY && item[2].via.array.size == 1 &&
           item[2].via.array.ptr[0].type == MSGPACK_OBJECT_MAP;
}

static void error_read(answer_t *out, const msgpack_object *error) {
    out->error = DRAX_ERR_PROTOCOL;
    if (error->type != MSGPACK_OBJECT_ARRAY || error->via.array.size < 2)
        return;
    const msgpack_object *code = &error->via.array.ptr[0], *text = &error->via.array.ptr[1];
    if (!is_bytes(code) || !is_bytes(text))
        return;
    out->error = error_from_name(code->via.str.ptr, code->via.str.size);
    size_t size = text->via.str.size;
    if (size >= sizeof out->detail)
        size = sizeof out->detail - 1;
    if (size > 0)
        memcpy(out->detail, text->via.str.ptr, size);
    out->detail[size] = '\0';
    if (error->via.array.size > 2)
        out->compacted = drax_field_uint(
            drax_field_find((const drax_field_t *) &error->via.array.ptr[2], "compacted"));
}

void drax_result_destroy(drax_result_t **self) {
    drax_result_t *result = *self;
    *self = NULL;
    if (!result)
        return;
    msgpack_unpacked_destroy(&result->unpacked);
    (void) zmq_msg_close(&result->message);
    free(result);
}

const drax_field_t *drax_result_map(const drax_result_t *self) {
    return self ? (const drax_field_t *) self->map : NULL;
}

/* str and bin have the same layout in msgpack-c's union; both are bytes here. */
static bool is_bytes(const msgpack_object *object) {
    static_assert(offsetof(msgpack_object, via.str.ptr) == offsetof(msgpack_object, via.bin.ptr) &&
                      offsetof(msgpack_object, via.str.size) ==
                          offsetof(msgpack_object, via.bin.size),
                  "str and bin share their layout");
    return object->type == MSGPACK_OBJECT_STR || object->type == MSGPACK_OBJECT_BIN;
}

drax_field_kind_t drax_field_kind(const drax_field_t *self) {
    const msgpack_object *object = (const msgpack_object *) self;
    if (!object)
        return DRAX_FIELD_NIL;
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return DRAX_FIELD_NIL;
    case MSGPACK_OBJECT_BOOLEAN:
        return DRAX_FIELD_BOOL;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return DRAX_FIELD_INTEGER;
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        return DRAX_FIELD_BYTES;
    case MSGPACK_OBJECT_ARRAY:
        return DRAX_FIELD_ARRAY;
    case MSGPACK_OBJECT_MAP:
        return DRAX_FIELD_MAP;
    default:
        return DRAX_FIELD_OTHER;
    }
}

bool drax_field_bool(const drax_field_t *self) {
    const msgpack_object *object = (const msgpack_object *) self;
    return object && object->type == MSGPACK_OBJECT_BOOLEAN && object->via.boolean;
}

uint64_t drax_field_uint(const drax_field_t *self) {
    const msgpack_object *object = (const msgpack_object *) self;
    return object && object->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? object->via.u64 : 0;
}

const void *drax_field_bytes(const drax_field_t *self, size_t *size) {
    const msgpack_object *object = (const msgpack_object *) self;
    bool bytes = object && is_bytes(object);
    if (size)
        *size = bytes ? object->via.bin.size : 0;
    return bytes ? object->via.bin.ptr : NULL;
}

size_t drax_field_count(const drax_field_t *self) {
    const msgpack_object *object = (const msgpack_object *) self;
    if (object && object->type == MSGPACK_OBJECT_ARRAY)
        return object->via.array.size;
    return object && object->type == MSGPACK_OBJECT_MAP ? object->via.map.size : 0;
}

const drax_field_t *drax_field_at(const drax_field_t *self, size_t at) {
    const msgpack_object *object = (const msgpack_object *) self;
    if (at >= drax_field_count(self))
        return NULL;
    return (const drax_field_t *) (object->type == MSGPACK_OBJECT_ARRAY
                                       ? &object->via.array.ptr[at]
                                       : &object->via.map.ptr[at].val);
}

const drax_field_t *drax_field_name(const drax_field_t *self, size_t at) {
    const msgpack_object *object = (const msgpack_object *) self;
    if (drax_field_kind(self) != DRAX_FIELD_MAP || at >= object->via.map.size)
        return NULL;
    return (const drax_field_t *) &object->via.map.ptr[at].key;
}

const drax_field_t *drax_field_find(const drax_field_t *self, const char *name) {
    const msgpack_object *object = (const msgpack_object *) self;
    if (drax_field_kind(self) != DRAX_FIELD_MAP)
        return NULL;
    for (size_t i = 0; i < object->via.map.size; i++)
        if (text_equal(&object->via.map.ptr[i].key, name))
            return (const drax_field_t *) &object->via.map.ptr[i].val;
    return NULL;
}

static bool text_equal(const msgpack_object *object, const char *text) {
    size_t size = strlen(text);
    return is_bytes(object) && object->via.str.size == size &&
           (size == 0 || memcmp(object->via.str.ptr, text, size) == 0);
}
