/* unpack.c: the msgpack encoding, read in place; and the bounded pre-scan.
 *
 * Why not msgpack-c's unpacker: it gives nothing at all for a message that is damaged after its
 * msgid, which the contract wants echoed, and it reserves memory from declared counts before it has
 * seen the elements. The scan has to know the encoding anyway; on top of it a reader is a few
 * lines, allocates nothing, and decodes a whole put in 190 ns, where msgpack_unpack into a zone
 * takes 135 ns before the first field is looked at. test_pack.c checks both against msgpack-c on
 * random values and on random bytes.
 *
 *   head = one byte, then a big-endian length or value of 0, 1, 2, 4 or 8 bytes
 *
 * Invariant: nothing is read beyond `rest`, whatever the bytes say.
 */
#include "broker/unpack.h"

#include <assert.h>

#include "broker/error.h"

#define SCAN_DEPTH_MAX 16u

/* What follows the first byte: `head` bytes that hold a value, a length or a count. */
typedef struct shape {
    item_type_t type;
    uint8_t head;
    bool sign;
    uint8_t fixed; /* fixext: the length */
} shape_t;

#define SHAPE_RESERVED 0xc1u
#define SHAPE_FIRST 0xc0u
#define SHAPE_LAST 0xdfu

static const shape_t shapes[SHAPE_LAST - SHAPE_FIRST + 1] = {
    /* c0 */ {ITEM_NIL, 0, false, 0},   {ITEM_NIL, 0, false, 0} /* reserved */,
    /* c2 */ {ITEM_BOOL, 0, false, 0},  {ITEM_BOOL, 0, false, 1},
    /* c4 */ {ITEM_BIN, 1, false, 0},   {ITEM_BIN, 2, false, 0},
    /* c6 */ {ITEM_BIN, 4, false, 0},   {ITEM_EXT, 1, false, 0},
    /* c8 */ {ITEM_EXT, 2, false, 0},   {ITEM_EXT, 4, false, 0},
    /* ca */ {ITEM_FLOAT, 4, false, 0}, {ITEM_FLOAT, 8, false, 0},
    /* cc */ {ITEM_UINT, 1, false, 0},  {ITEM_UINT, 2, false, 0},
    /* ce */ {ITEM_UINT, 4, false, 0},  {ITEM_UINT, 8, false, 0},
    /* d0 */ {ITEM_INT, 1, true, 0},    {ITEM_INT, 2, true, 0},
    /* d2 */ {ITEM_INT, 4, true, 0},    {ITEM_INT, 8, true, 0},
    /* d4 */ {ITEM_EXT, 0, false, 1},   {ITEM_EXT, 0, false, 2},
    /* d6 */ {ITEM_EXT, 0, false, 4},   {ITEM_EXT, 0, false, 8},
    /* d8 */ {ITEM_EXT, 0, false, 16},  {ITEM_STR, 1, false, 0},
    /* da */ {ITEM_STR, 2, false, 0},   {ITEM_STR, 4, false, 0},
    /* dc */ {ITEM_ARRAY, 2, false, 0}, {ITEM_ARRAY, 4, false, 0},
    /* de */ {ITEM_MAP, 2, false, 0},   {ITEM_MAP, 4, false, 0},
};

/* Completes `out` with the `size` bytes that follow its head, and steps over them. */
static int bytes_take(slice_t *at, item_t *out, uint64_t size) {
    /* An ext's type byte stands between its length and its bytes. */
    if (out->type == ITEM_EXT) {
        if (at->size == 0)
            return DRAX_EPROTO;
        at->data++, at->size--;
    }
    if (size > at->size)
        return DRAX_ETOOLARGE;
    out->bytes = (slice_t){at->data, (size_t) size};
    at->data += size;
    at->size -= (size_t) size;
    return 0;
}

/* Each element takes at least one byte, each pair of a map two. */
static int count_take(const slice_t *at, item_t *out, uint64_t count) {
    if (count > at->size / (out->type == ITEM_MAP ? 2 : 1))
        return DRAX_ETOOLARGE;
    out->count = (size_t) count;
    return 0;
}

static void int_set(item_t *out, uint64_t value, unsigned size) {
    unsigned shift = 64 - 8 * size;
    int64_t number = (int64_t) (value << shift) >> shift;
    out->type = number < 0 ? ITEM_INT : ITEM_UINT;
    out->negative = number < 0 ? number : 0;
    out->number = number < 0 ? 0 : (uint64_t) number;
}

/* An item whose first byte says all about its kind (c0 to df). */
static int shaped_take(slice_t *at, uint8_t first, item_t *out) {
    const shape_t *shape = &shapes[first - SHAPE_FIRST];
    if (first == SHAPE_RESERVED || shape->head > at->size)
        return DRAX_EPROTO;
    uint64_t value = 0;
    for (unsigned i = 0; i < shape->head; i++)
        value = value << 8 | at->data[i];
    at->data += shape->head;
    at->size -= shape->head;
    out->type = shape->type;
    switch (shape->type) {
    case ITEM_BOOL:
        out->number = shape->fixed;
        return 0;
    case ITEM_UINT:
        out->number = value;
        return 0;
    case ITEM_INT:
        int_set(out, value, shape->head);
        return 0;
    case ITEM_STR:
    case ITEM_BIN:
    case ITEM_EXT:
        return bytes_take(at, out, shape->head ? value : shape->fixed);
    case ITEM_ARRAY:
    case ITEM_MAP:
        return count_take(at, out, value);
    default:
        return 0;
    }
}

int unpack_item(slice_t *rest, item_t *out) {
    slice_t at = *rest;
    *out = (item_t){.type = ITEM_UINT};
    if (at.size == 0)
        return DRAX_EPROTO;
    uint8_t first = *at.data;
    at.data++, at.size--;
    int rc = 0;
    if (first < 0x80) { /* positive fixint */
        out->number = first;
    } else if (first < 0x90) { /* fixmap */
        out->type = ITEM_MAP;
        rc = count_take(&at, out, first & 0x0fu);
    } else if (first < 0xa0) { /* fixarray */
        out->type = ITEM_ARRAY;
        rc = count_take(&at, out, first & 0x0fu);
    } else if (first < SHAPE_FIRST) { /* fixstr */
        out->type = ITEM_STR;
        rc = bytes_take(&at, out, first & 0x1fu);
    } else if (first <= SHAPE_LAST) {
        rc = shaped_take(&at, first, out);
    } else { /* negative fixint */
        out->type = ITEM_INT;
        out->negative = (int64_t) first - 256;
    }
    if (rc == 0)
        *rest = at;
    return rc;
}

int pack_scan(slice_t bytes, size_t depth, size_t elements, size_t *used) {
    assert(depth <= SCAN_DEPTH_MAX);
    uint64_t left[SCAN_DEPTH_MAX + 1]; /* elements still to come at each level */
    size_t level = 0;
    slice_t rest = bytes;
    left[0] = 1;
    *used = 0;
    for (;;) {
        while (left[level] == 0 && level > 0)
            level--;
        if (left[level] == 0)
            break;
        left[level]--;
        item_t item;
        int rc = unpack_item(&rest, &item);
        if (rc != 0)
            return rc;
        if (item.type != ITEM_ARRAY && item.type != ITEM_MAP)
            continue;
        size_t count = item.type == ITEM_MAP ? item.count * 2 : item.count;
        if (level == depth || count > elements)
            return DRAX_ETOOLARGE;
        elements -= count;
        left[++level] = count;
    }
    *used = bytes.size - rest.size;
    return 0;
}

unpack_t unpack_begin(slice_t bytes) {
    return (unpack_t){.rest = bytes, .code = 0};
}

int unpack_end(const unpack_t *self) {
    return self->code == 0 && self->rest.size == 0 ? 0 : DRAX_EPROTO;
}

void unpack_fail(unpack_t *self) {
    self->code = DRAX_EPROTO;
    self->rest = (slice_t){NULL, 0};
}

/* The next item when it is of `type`; else the reader fails and the item is empty. */
static item_t item_take(unpack_t *self, item_type_t type) {
    item_t item;
    if (self->code == 0 && unpack_item(&self->rest, &item) == 0 && item.type == type)
        return item;
    unpack_fail(self);
    return (item_t){.type = type};
}

uint64_t unpack_uint(unpack_t *self, uint64_t max) {
    uint64_t number = item_take(self, ITEM_UINT).number;
    if (number <= max)
        return number;
    unpack_fail(self);
    return 0;
}

int64_t unpack_int(unpack_t *self, int64_t min, int64_t max) {
    item_t item;
    if (self->code == 0 && unpack_item(&self->rest, &item) == 0) {
        if (item.type == ITEM_INT && item.negative >= min && item.negative <= max)
            return item.negative;
        if (item.type == ITEM_UINT && item.number <= INT64_MAX && (int64_t) item.number >= min &&
            (int64_t) item.number <= max)
            return (int64_t) item.number;
    }
    unpack_fail(self);
    return 0;
}

bool unpack_bool(unpack_t *self) {
    return item_take(self, ITEM_BOOL).number != 0;
}

slice_t unpack_str(unpack_t *self) {
    return item_take(self, ITEM_STR).bytes;
}

slice_t unpack_bin(unpack_t *self) {
    return item_take(self, ITEM_BIN).bytes;
}

size_t unpack_array(unpack_t *self, size_t max) {
    size_t count = item_take(self, ITEM_ARRAY).count;
    if (count <= max)
        return count;
    unpack_fail(self);
    return 0;
}

void unpack_arity(unpack_t *self, size_t count) {
    if (item_take(self, ITEM_ARRAY).count != count)
        unpack_fail(self);
}

bool unpack_nil(unpack_t *self) {
    if (self->code != 0 || self->rest.size == 0 || self->rest.data[0] != 0xc0)
        return false;
    self->rest.data++, self->rest.size--;
    return true;
}
