/* fuzz_message.c: any bytes as a message between actors.
 *
 *   input = frame-count (1 byte), size of each frame but the last (1 byte each), the frames' bytes
 *
 * Properties: nothing crashes, leaks or reads beyond the bytes; what decodes encodes again.
 */
#include "broker/codec.h"
#include "broker/error.h"
#include "tests/fuzz/fuzz.h"

#define FRAMES_MAX 8

static slice_t front_take(slice_t *rest, size_t size) {
    slice_t front = {rest->data, size < rest->size ? size : rest->size};
    rest->data += front.size;
    rest->size -= front.size;
    return front;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice_t rest = {data, size};
    slice_t counted = front_take(&rest, 1);
    size_t count = counted.size ? counted.data[0] % (FRAMES_MAX + 1) : 0;
    slice_t sizes = front_take(&rest, count);
    payload_t *payloads[FRAMES_MAX] = {NULL};
    for (size_t i = 0; i < sizes.size; i++) {
        slice_t frame = front_take(&rest, sizes.data[i]);
        payloads[i] = payload_copy(frame.data, frame.size);
    }
    message_t message;
    frames_t frames = {0};
    int rc = codec_decode(&message, rest, payloads, count);
    assert(rc == 0 || rc == DRAX_EPROTO || rc == DRAX_EVERSION);
    for (size_t i = 0; i < FRAMES_MAX; i++)
        payload_unref(&payloads[i]);
    if (rc == 0) {
        rc = codec_encode(&frames, &message);
        assert(rc == 0);
        message_clear(&message);
    }
    frames_clear(&frames);
    config_t config;
    (void) codec_config_decode(&config, (slice_t){data, size});
    return 0;
}
