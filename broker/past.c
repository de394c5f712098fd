/* past.c: questions about past changes and their answers (grammar in past.h). */
#include "broker/past.h"

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/unpack.h"

void past_question_write(buffer_t *out, const past_question_t *question) {
    pack_array(out, 3);
    pack_uint(out, question->kind);
    pack_bin(out, question->key.data, question->key.size);
    pack_uint(out, question->from);
}

int past_question_read(past_question_t *out, slice_t bytes) {
    unpack_t in = unpack_begin(bytes);
    unpack_arity(&in, 3);
    out->kind = (past_kind_t) unpack_uint(&in, PAST_END);
    out->key = unpack_bin(&in);
    out->from = unpack_uint(&in, LIMIT_INTEGER);
    return unpack_end(&in);
}

void past_answer_write(buffer_t *out, const past_answer_t *answer) {
    pack_array(out, 4);
    pack_uint(out, answer->compacted);
    pack_uint(out, answer->next);
    pack_bool(out, answer->more);
    pack_array(out, answer->count);
    buffer_append(out, answer->events.data, answer->events.size);
}

int past_answer_read(past_answer_t *out, slice_t bytes) {
    unpack_t in = unpack_begin(bytes);
    unpack_arity(&in, 4);
    out->compacted = unpack_uint(&in, LIMIT_INTEGER);
    out->next = unpack_uint(&in, LIMIT_INTEGER);
    out->more = unpack_bool(&in);
    out->count = unpack_array(&in, SIZE_MAX);
    out->events = in.rest;
    return in.code;
}

int event_key(slice_t event, slice_t *key) {
    item_t item;
    int rc = unpack_item(&event, &item);
    for (int i = 0; rc == 0 && i < 4; i++) /* "type", its value, "key", its value */
        rc = unpack_item(&event, &item);
    if (rc == 0 && item.type != ITEM_STR && item.type != ITEM_BIN)
        rc = DRAX_EPROTO;
    *key = item.bytes;
    return rc;
}
