/* rpc_answer.c: codes, outcomes and responses; the directory rule.
 *
 *   response = [1, msgid, outcome]     outcome = error, result: two values, see rpc.h
 *   error = nil | [code, text] | [code, text, details]
 *   result = nil after an error, else a map
 */
#include <string.h>

#include "broker/limits.h"
#include "broker/rpc.h"

const char *rpc_code_name(rpc_code_t code) {
    static const char *const names[RPC_CODE_END] = {
        [RPC_OK] = "OK",
        [RPC_KEY_NOT_FOUND] = "KEY_NOT_FOUND",
        [RPC_KEY_EXISTS] = "KEY_EXISTS",
        [RPC_KEY_MODIFIED] = "KEY_MODIFIED",
        [RPC_PREVIOUS_NOT_SPECIFIED] = "PREVIOUS_NOT_SPECIFIED",
        [RPC_CANNOT_LOCK] = "CANNOT_LOCK",
        [RPC_LOCK_LOST] = "LOCK_LOST",
        [RPC_LEASE_NOT_FOUND] = "LEASE_NOT_FOUND",
        [RPC_COMPACTED] = "COMPACTED",
        [RPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [RPC_UNKNOWN_METHOD] = "UNKNOWN_METHOD",
        [RPC_TOO_LARGE] = "TOO_LARGE",
        [RPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [RPC_UNAVAILABLE] = "UNAVAILABLE",
        [RPC_TIMEOUT] = "TIMEOUT",
    };
    return (unsigned) code < RPC_CODE_END ? names[code] : "UNKNOWN";
}

void rpc_success(buffer_t *out) {
    pack_nil(out);
}

void rpc_failure(buffer_t *out, rpc_code_t code, const char *text) {
    pack_array(out, 2);
    pack_str(out, rpc_code_name(code));
    pack_str(out, text);
    pack_nil(out);
}

void rpc_compacted(buffer_t *out, uint64_t first) {
    pack_array(out, 3);
    pack_str(out, rpc_code_name(RPC_COMPACTED));
    pack_str(out, "history does not reach back that far");
    pack_map(out, 1);
    pack_str(out, "compacted");
    pack_uint(out, first);
    pack_nil(out);
}

void rpc_response(buffer_t *out, uint32_t msgid, slice_t outcome) {
    pack_array(out, 4);
    pack_uint(out, RPC_RESPONSE);
    pack_uint(out, msgid);
    buffer_append(out, outcome.data, outcome.size);
}

slice_t rpc_directory_prefix(slice_t directory, uint8_t *scratch) {
    size_t size = directory.size;
    if (size > 0 && directory.data[size - 1] == '/')
        size--;
    if (size == 0)
        return (slice_t){scratch, 0};
    memcpy(scratch, directory.data, size);
    scratch[size] = '/';
    return (slice_t){scratch, size + 1};
}
