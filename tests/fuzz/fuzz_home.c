/* fuzz_home.c: any bytes as the small files of a home: identity and state/CURRENT.
 *
 *   input = how:u8 text         how & 1: the checksum line is added; how & 2: it is CURRENT
 *
 * Properties: what loads is what a node can have, and is the same after it was saved and loaded.
 */
#include <stdio.h>
#include <xxhash.h>

#include "actors/home.h"
#include "broker/endpoint.h"
#include "broker/error.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_fs.h"

#define TEXT_MAX 2048u

static void identity_check(const fs_t *fs) {
    static home_identity_t identity, again;
    int rc = home_identity_load(fs, "h", &identity);
    assert(rc == 0 || rc == DRAX_ECORRUPT);
    if (rc)
        return;
    assert(identity.cluster && identity.node && identity.hint.count <= LIMIT_MEMBERS);
    for (size_t i = 0; i < identity.hint.count; i++)
        assert(address_valid(identity.hint.members[i].raft_addr));
    rc = home_identity_save(fs, "h", &identity);
    assert(rc == 0);
    rc = home_identity_load(fs, "h", &again);
    assert(rc == 0 && memcmp(&identity, &again, sizeof again) == 0);
}

static void current_check(const fs_t *fs) {
    home_current_t current, again;
    int rc = home_current_load(fs, "h", &current);
    assert(rc == 0 || rc == DRAX_ECORRUPT);
    if (rc)
        return;
    rc = home_current_save(fs, "h", &current);
    assert(rc == 0);
    rc = home_current_load(fs, "h", &again);
    assert(rc == 0 && memcmp(&current, &again, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[TEXT_MAX + 64];
    fuzz_input_t in = {{data, size}};
    uint8_t how = fuzz_byte(&in);
    slice_t body = fuzz_bytes(&in, TEXT_MAX);
    if (body.size)
        memcpy(text, body.data, body.size);
    size_t used = body.size;
    if (how & 1)
        used += (size_t) snprintf(text + used, sizeof text - used, "sum %016llx\n",
                                  (unsigned long long) XXH3_64bits(text, used));
    const fs_t *fs = fuzz_fs_reset();
    fuzz_fs_put(how & 2 ? "h/state/CURRENT" : "h/identity", (slice_t){(uint8_t *) text, used});
    how & 2 ? current_check(fs) : identity_check(fs);
    return 0;
}
