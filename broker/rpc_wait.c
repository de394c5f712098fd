/* rpc_wait.c: commands about requests that wait (grammar in rpc.h). */
#include <string.h>

#include "broker/error.h"
#include "broker/limits.h"
#include "broker/rpc.h"
#include "broker/unpack.h"

static const char *const names[] = {[WAIT_CANCEL] = "cancel", [WAIT_RESUME] = "resume"};

void wait_begin(buffer_t *out, wait_op_t op, size_t count) {
    pack_array(out, 2);
    pack_str(out, names[op]);
    pack_array(out, count);
}

void wait_add(buffer_t *out, uint64_t waiter) {
    pack_uint(out, waiter);
}

static bool name_is(slice_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

int wait_open(wait_list_t *out, slice_t command) {
    unpack_t in = unpack_begin(command);
    unpack_arity(&in, 2);
    slice_t name = unpack_str(&in);
    if (in.code || (!name_is(name, names[WAIT_CANCEL]) && !name_is(name, names[WAIT_RESUME])))
        return DRAX_EAGAIN;
    out->op = name_is(name, names[WAIT_CANCEL]) ? WAIT_CANCEL : WAIT_RESUME;
    out->left = unpack_array(&in, SIZE_MAX);
    out->rest = in.rest;
    for (size_t i = 0; i < out->left && in.code == 0; i++)
        unpack_uint(&in, LIMIT_INTEGER);
    return unpack_end(&in);
}

int wait_next(wait_list_t *self, uint64_t *waiter) {
    unpack_t in = unpack_begin(self->rest);
    if (self->left == 0)
        return unpack_end(&in);
    *waiter = unpack_uint(&in, LIMIT_INTEGER);
    self->rest = in.rest;
    self->left--;
    return in.code == 0 ? 1 : in.code;
}
