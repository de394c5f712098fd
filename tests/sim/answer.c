/* answer.c: see the header. */
#include "tests/sim/answer.h"

#include <string.h>

#include "broker/unpack.h"

bool answer_read(slice_t payload, answer_t *out) {
    unpack_t in = unpack_begin(payload);
    *out = (answer_t){.ok = false};
    unpack_arity(&in, 4);
    if (unpack_uint(&in, 2) != 1)
        return false;
    out->msgid = (uint32_t) unpack_uint(&in, UINT32_MAX);
    if (unpack_nil(&in)) {
        out->ok = in.code == 0;
        out->result = in.rest;
        return out->ok;
    }
    size_t count = unpack_array(&in, 3);
    slice_t code = unpack_str(&in);
    if (in.code || count < 2 || code.size >= sizeof out->code)
        return false;
    memcpy(out->code, code.data, code.size);
    return true;
}
