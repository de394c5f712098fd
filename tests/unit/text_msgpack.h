/* text_msgpack.h: msgpack written as text, so that tests of the protocol can be read.
 *
 *   value = nil | true | false | integer | number with a point | string | b string | ext
 *         | [value, ...] | {value: value, ...}
 *   string = "bytes", with \xHH, and an optional *N: repeated N times
 */
#ifndef DRAX_TESTS_TEXT_MSGPACK_H
#define DRAX_TESTS_TEXT_MSGPACK_H

#include "broker/pack.h"

/* Appends the values in `text` to `out`; asserts when the text itself is wrong. */
void text_msgpack(buffer_t *out, const char *text);

#endif
