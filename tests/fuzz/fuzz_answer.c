/* fuzz_answer.c: any bytes as what a gateway sends: to libdrax, to drax-cli, to a node that joins.
 *
 * Properties: nothing crashes; an answer that decodes can be walked to its last field and printed;
 * its sentence ends within its bounds.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/error.h"
#include "broker/rpc_members.h"
#include "cli/json.h"
#include "cli/result.h"
#include "tests/fuzz/fuzz.h"

static size_t walk(const drax_field_t *field) {
    size_t count = 1, size = 0, sum = 0;
    const uint8_t *bytes = drax_field_bytes(field, &size);
    for (size_t i = 0; i < size; i++)
        sum += bytes[i];
    (void) drax_field_bool(field);
    (void) drax_field_uint(field);
    (void) drax_field_find(field, "key");
    for (size_t i = 0; i < drax_field_count(field); i++)
        count += walk(drax_field_at(field, i)) + walk(drax_field_name(field, i));
    assert(drax_field_at(field, drax_field_count(field)) == NULL);
    return count + (sum == 0);
}

static void fields_read(const drax_result_t *result) {
    size_t size;
    (void) drax_result_index(result);
    (void) drax_result_revision(result);
    (void) drax_result_ttl_ms(result);
    (void) drax_result_key(result, &size);
    (void) drax_result_value(result, &size);
    (void) drax_result_exists(result);
    (void) drax_result_deleted(result);
    (void) drax_result_count(result);
    (void) drax_result_more(result);
    for (size_t i = 0; i <= drax_result_pair_count(result); i++) {
        (void) drax_result_pair_key(result, i, &size);
        (void) drax_result_pair_value(result, i, &size);
        (void) drax_result_pair_index(result, i);
    }
}

static void print(const drax_result_t *result) {
    static FILE *nowhere;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    /* False when memory is short, or for a member name that is not UTF-8. */
    (void) json_line_print(nowhere, json_from_field(drax_result_map(result)));
}

static void join_check(const uint8_t *data, size_t size) {
    static config_t members;
    uint64_t cluster = 0;
    char text[160] = "";
    int rc = rpc_member_added((slice_t){data, size}, 1, &cluster, &members, text);
    assert(rc == 0 || rc == DRAX_EAGAIN || rc == DRAX_EINVAL || rc == DRAX_EPROTO);
    if (rc == 0)
        assert(members.count <= LIMIT_MEMBERS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    zmq_msg_t message;
    answer_t answer;
    join_check(data, size);
    if (zmq_msg_init_size(&message, size) != 0)
        abort();
    if (size)
        memcpy(zmq_msg_data(&message), data, size);
    answer_kind_t kind = answer_decode(&answer, &message);
    assert(kind != ANSWER_NO_MEMORY);
    assert(answer.result == NULL || (kind == ANSWER_OK && answer.error == 0));
    assert(memchr(answer.detail, '\0', sizeof answer.detail));
    if (answer.result) {
        size_t fields = walk(drax_result_map(answer.result));
        assert(fields > 0);
        fields_read(answer.result);
        print(answer.result);
        drax_result_destroy(&answer.result);
    }
    return 0;
}
