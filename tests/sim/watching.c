/* watching.c: see watching.h.
 *
 *   answer = [1, msgid, nil, told]    notification = [2, "event", [told]]
 *   told   = {watch?, pairs?, more?, events?, next?, compacted?, revision?}
 *   event  = {type, key, value?, index}
 */
#include "tests/sim/watching.h"

#include <string.h>

#include "broker/unpack.h"

#define CREDIT_AT_FIRST 64u

static bool text_is(slice_t name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

/* ---- what was told ---- */

typedef struct told {
    bool has_events, has_pairs, more;
    uint64_t watch, next, compacted;
    slice_t events; /* the array */
    reply_t pairs;  /* of `pairs` alone */
} told_t;

static slice_t any_take(unpack_t *in) {
    size_t used = 0;
    if (in->code || pack_scan(in->rest, LIMIT_NESTING, LIMIT_ELEMENTS * 64u, &used) != 0) {
        unpack_fail(in);
        return (slice_t){0};
    }
    slice_t taken = {in->rest.data, used};
    in->rest = (slice_t){in->rest.data + used, in->rest.size - used};
    return taken;
}

static size_t map_open(unpack_t *in) {
    item_t item;
    if (in->code == 0 && unpack_item(&in->rest, &item) == 0 && item.type == ITEM_MAP)
        return item.count;
    unpack_fail(in);
    return 0;
}

static slice_t key_take(unpack_t *in) {
    slice_t peek = in->rest;
    item_t item;
    bool text = in->code == 0 && unpack_item(&peek, &item) == 0 && item.type == ITEM_STR;
    return text ? unpack_str(in) : unpack_bin(in);
}

static void told_read(unpack_t *in, told_t *out) {
    size_t count = map_open(in);
    for (size_t i = 0; i < count && in->code == 0; i++) {
        slice_t name = unpack_str(in);
        if (text_is(name, "watch")) {
            out->watch = unpack_uint(in, LIMIT_INTEGER);
        } else if (text_is(name, "next")) {
            out->next = unpack_uint(in, LIMIT_INTEGER);
        } else if (text_is(name, "compacted")) {
            out->compacted = unpack_uint(in, LIMIT_INTEGER);
        } else if (text_is(name, "more")) {
            out->more = unpack_bool(in);
        } else if (text_is(name, "pairs")) {
            out->has_pairs = true;
            reply_pairs(any_take(in), &out->pairs);
        } else if (text_is(name, "events")) {
            out->has_events = true;
            out->events = any_take(in);
        } else {
            any_take(in);
        }
    }
}

/* ---- events ---- */

/* The changes that are to be told of, one after the other. */
typedef struct cursor {
    const watching_t *watching;
    const model_t *model;
    uint64_t revision, end;
    size_t at;
} cursor_t;

static bool concerns(const watching_t *self, slice_t key) {
    slice_t name = self->key;
    if (!self->tree)
        return key.size == name.size && memcmp(key.data, name.data, key.size) == 0;
    name.size -= name.size && name.data[name.size - 1] == '/';
    return name.size == 0 || (key.size > name.size && key.data[name.size] == '/' &&
                              memcmp(key.data, name.data, name.size) == 0);
}

static const change_t *cursor_next(cursor_t *self) {
    while (self->revision < self->end) {
        size_t count;
        const change_t *changes = model_changes(self->model, self->revision, &count);
        while (self->at < count) {
            const change_t *change = &changes[self->at++];
            if (concerns(self->watching, change->key))
                return change;
        }
        self->revision++;
        self->at = 0;
    }
    return NULL;
}

static bool event_is(unpack_t *in, const change_t *change) {
    static const char *const types[] = {"put", "delete", "expire"};
    slice_t type = {0}, key = {0}, value = {0};
    bool valued = false;
    uint64_t index = 0;
    size_t count = map_open(in);
    for (size_t i = 0; i < count && in->code == 0; i++) {
        slice_t name = unpack_str(in);
        if (text_is(name, "type")) {
            type = unpack_str(in);
        } else if (text_is(name, "key")) {
            key = key_take(in);
        } else if (text_is(name, "index")) {
            index = unpack_uint(in, LIMIT_INTEGER);
        } else {
            value = unpack_bin(in);
            valued = true;
        }
    }
    return in->code == 0 && text_is(type, types[change->type]) && index == change->revision &&
           key.size == change->key.size && memcmp(key.data, change->key.data, key.size) == 0 &&
           valued == (change->type == CHANGE_PUT) && value.size == change->value.size &&
           (value.size == 0 || memcmp(value.data, change->value.data, value.size) == 0);
}

static const char *events_check(watching_t *self, const model_t *model, const told_t *told) {
    if (told->next < self->next)
        return "next goes back";
    if (told->next > model_revision(model) + 1)
        return "next is ahead of what was committed";
    cursor_t cursor = {self, model, self->next, told->next, 0};
    unpack_t in = unpack_begin(told->events);
    size_t count = unpack_array(&in, LIMIT_ELEMENTS * 64u);
    for (size_t i = 0; i < count; i++) {
        const change_t *change = cursor_next(&cursor);
        if (!change)
            return "an event of nothing that changed there, or twice";
        if (!event_is(&in, change))
            return "an event that is not the next change";
    }
    if (cursor_next(&cursor))
        return "a change is left out";
    self->next = told->next;
    self->delivered += count;
    return unpack_end(&in) ? "malformed events" : NULL;
}

/* ---- first pairs ---- */

static const char *pairs_check(watching_t *self, const model_t *model) {
    reply_t expected;
    request_t request = {.method = self->tree ? METHOD_LIST : METHOD_GET, .key = self->key};
    if (self->pairs.bytes > LIMIT_PAGE_BYTES * 9 / 10)
        return NULL; /* a list of the model would end before */
    model_read(model, &request, self->next - 1, &self->pairs, &expected);
    bool none = expected.code == RPC_KEY_NOT_FOUND;
    size_t count = self->tree ? expected.pairs : 1;
    bool same = none ? self->pairs.pairs == 0
                     : self->pairs.pairs == count && self->pairs.digest == expected.digest;
    return same ? NULL : "what is there at first is not what was there";
}

/* More of the pairs; checked when they are complete. */
static const char *pairs_add(watching_t *self, const model_t *model, const told_t *told) {
    self->pairs = told->pairs;
    self->pairs_due = told->more;
    return told->more ? NULL : pairs_check(self, model);
}

/* ---- messages ---- */

bool watching_is_notification(slice_t payload) {
    return payload.size >= 2 && payload.data[0] == 0x93 && payload.data[1] == RPC_NOTIFICATION;
}

static const char *first_told(watching_t *self, const model_t *model, told_t *told, bool poll) {
    if (told->next == 0 || told->next > model_revision(model) + 1)
        return "next is missing, or ahead of what was committed";
    if (self->next == 0) {
        self->next = told->next;
        const char *wrong = poll && told->more ? NULL : pairs_add(self, model, told);
        if (wrong)
            return wrong;
    }
    self->pairs_due = self->pairs_due && !poll;
    return told->has_events ? events_check(self, model, told) : NULL;
}

const char *watching_answered(watching_t *self, const model_t *model, slice_t payload, bool poll) {
    told_t told = {0};
    unpack_t in = unpack_begin(payload);
    unpack_arity(&in, 4);
    unpack_uint(&in, RPC_NOTIFICATION);
    unpack_uint(&in, UINT32_MAX);
    if (!unpack_nil(&in)) {
        watching_ended(self); /* refused; COMPACTED: to begin anew */
        slice_t name = unpack_array(&in, 3) ? unpack_str(&in) : (slice_t){0};
        if (text_is(name, "COMPACTED"))
            self->next = 0;
        return NULL;
    }
    told_read(&in, &told);
    if (unpack_end(&in))
        return "malformed answer";
    if (!poll && !told.watch)
        return "no number of the watch";
    uint64_t asked = self->next;
    const char *wrong = first_told(self, model, &told, poll);
    if (!wrong && asked && !poll && told.next != asked)
        wrong = "it does not begin where it was told to";
    self->watch = poll ? 0 : told.watch;
    self->credit = CREDIT_AT_FIRST;
    return wrong;
}

const char *watching_notified(watching_t *self, const model_t *model, slice_t payload, bool *own) {
    told_t told = {.pairs = self->pairs};
    unpack_t in = unpack_begin(payload);
    unpack_arity(&in, 3);
    unpack_uint(&in, RPC_NOTIFICATION);
    slice_t method = unpack_str(&in);
    unpack_arity(&in, 1);
    told_read(&in, &told);
    *own = self->watch && told.watch == self->watch;
    if (unpack_end(&in) || !text_is(method, "event"))
        return "malformed notification";
    if (!*own)
        return NULL;
    if (told.compacted) {
        watching_ended(self);
        self->next = 0;
        return NULL;
    }
    if (told.has_pairs) {
        bool due = self->pairs_due;
        self->credit -= self->credit > 0;
        return due ? pairs_add(self, model, &told) : "pairs after the last of them";
    }
    if (self->pairs_due)
        return "events before the last of the pairs";
    uint64_t before = self->delivered;
    const char *wrong = events_check(self, model, &told);
    bool empty = self->delivered == before;
    if (!wrong && !empty && self->credit == 0)
        return "a notification without credit";
    self->credit -= !empty;
    return wrong;
}

void watching_ended(watching_t *self) {
    self->watch = 0;
    if (self->pairs_due)
        self->next = 0; /* what is there is known in part: from the beginning */
    self->pairs_due = false;
    self->pairs = (reply_t){0};
}

bool watching_behind(const watching_t *self, const model_t *model) {
    cursor_t cursor = {self, model, self->next, model_revision(model) + 1, 0};
    return self->watch && self->credit && (self->pairs_due || cursor_next(&cursor));
}
