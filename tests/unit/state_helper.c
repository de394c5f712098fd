#include "state_helper.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/block.h"
#include "broker/error.h"
#include "broker/unpack.h"
#include "text_msgpack.h"

#define SHOWN_BYTES 40u

__attribute__((format(printf, 2, 3))) static void print(buffer_t *out, const char *format, ...) {
    char text[64];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert(size >= 0 && (size_t) size < sizeof text);
    buffer_append(out, text, (size_t) size);
}

static void bytes_text(buffer_t *out, slice_t bytes, char quote) {
    print(out, "%c", quote);
    for (size_t i = 0; i < bytes.size && i < SHOWN_BYTES; i++)
        print(out, bytes.data[i] >= ' ' && bytes.data[i] <= '~' ? "%c" : "\\x%02x", bytes.data[i]);
    print(out, "%s%c", bytes.size > SHOWN_BYTES ? "..." : "", quote);
}

static slice_t value_text(buffer_t *out, slice_t rest) {
    item_t item;
    int rc = unpack_item(&rest, &item);
    assert(rc == 0);
    switch (item.type) {
    case ITEM_NIL:
        print(out, "nil");
        break;
    case ITEM_BOOL:
        print(out, "%s", item.number ? "true" : "false");
        break;
    case ITEM_UINT:
        print(out, "%llu", (unsigned long long) item.number);
        break;
    case ITEM_STR:
        bytes_text(out, item.bytes, '"');
        break;
    case ITEM_BIN:
        bytes_text(out, item.bytes, '\'');
        break;
    case ITEM_ARRAY:
        print(out, "[");
        for (size_t i = 0; i < item.count; i++) {
            print(out, "%s", i ? ", " : "");
            rest = value_text(out, rest);
        }
        print(out, "]");
        break;
    case ITEM_MAP:
        print(out, "{");
        for (size_t i = 0; i < item.count; i++) {
            item_t name;
            rc = unpack_item(&rest, &name);
            assert(rc == 0 && name.type == ITEM_STR);
            print(out, "%s%.*s: ", i ? ", " : "", (int) name.bytes.size, name.bytes.data);
            rest = value_text(out, rest);
        }
        print(out, "}");
        break;
    default:
        assert(!"a type that no answer has");
    }
    return rest;
}

void outcome_text(buffer_t *out, slice_t outcome) {
    item_t error, code;
    buffer_reset(out);
    int rc = unpack_item(&outcome, &error);
    assert(rc == 0);
    if (error.type == ITEM_NIL) {
        slice_t rest = value_text(out, outcome);
        assert(rest.size == 0);
    } else {
        assert(error.type == ITEM_ARRAY && error.count == 2);
        rc = unpack_item(&outcome, &code);
        assert(rc == 0 && code.type == ITEM_STR);
        buffer_append(out, code.bytes.data, code.bytes.size);
    }
    buffer_append(out, "", 1);
}

/* What requests that waited came to: "7 {token: 3 ...}; 9 CANNOT_LOCK; ". */
static void settled_text(buffer_t *out, const state_applied_t *applied) {
    buffer_t batch = {0}, text = {0};
    batch_t at;
    uint64_t waiter;
    slice_t outcome;
    batch_begin(&batch, applied->settled_count);
    if (applied->settled)
        buffer_append(&batch, applied->settled->data, applied->settled->size);
    int rc = batch_open(&at, (slice_t){batch.data, batch.size});
    assert(rc == 0);
    buffer_reset(out);
    while ((rc = batch_next(&at, &waiter, &outcome)) == 1) {
        if (outcome.size)
            outcome_text(&text, outcome);
        print(out, "%llu ", (unsigned long long) waiter);
        if (outcome.size)
            buffer_append(out, text.data, text.size - 1);
        print(out, "; ");
    }
    assert(rc == 0);
    buffer_append(out, "", 1);
    buffer_free(&batch);
    buffer_free(&text);
}

const char *world_settled(const world_t *self) {
    return (const char *) self->settled.data;
}

void world_open(world_t *self, kv_t *kv) {
    memset(self, 0, sizeof *self);
    int rc = state_open(&self->state, &kv);
    assert(rc == 0);
    (void) rc;
}

void world_close(world_t *self) {
    state_close(&self->state);
    buffer_free(&self->bytes);
    buffer_free(&self->text);
    buffer_free(&self->settled);
}

void world_flush(world_t *self) {
    int rc = state_freeze(self->state);
    if (rc == DRAX_EAGAIN)
        return;
    assert(rc == 0);
    rc = state_thaw(self->state, state_flush_write(self->state));
    assert(rc == 0);
}

int world_block(world_t *self, const buffer_t *block, state_applied_t *out) {
    entry_t entry = {.index = state_applied(self->state) + 1,
                     .term = 1,
                     .time_ms = self->time_ms,
                     .kind = ENTRY_BLOCK,
                     .payload = payload_copy(block->data, block->size)};
    int rc = state_apply(self->state, &entry, out);
    if (self->log && rc == 0)
        rc = entries_push(self->log, &entry);
    entry_clear(&entry);
    return rc;
}

const char *world_apply(world_t *self, const char *command) {
    buffer_t block = {0};
    state_applied_t applied;
    buffer_reset(&self->bytes);
    text_msgpack(&self->bytes, command);
    block_begin(&block, WORLD_NODE, 1, self->seq + 1, self->seq, 1);
    block_add(&block, (slice_t){self->bytes.data, self->bytes.size});
    self->seq++;
    int rc = world_block(self, &block, &applied);
    assert(rc == 0 && !applied.skipped && applied.results);
    buffer_free(&block);
    batch_t batch;
    uint64_t token;
    slice_t outcome;
    rc = batch_open(&batch, (slice_t){applied.results->data, applied.results->size});
    assert(rc == 0 && batch.count == 1);
    rc = batch_next(&batch, &token, &outcome);
    assert(rc == 1);
    if (token) {
        buffer_reset(&self->text);
        print(&self->text, "waits %llu", (unsigned long long) token);
        buffer_append(&self->text, "", 1);
    } else {
        outcome_text(&self->text, outcome);
    }
    settled_text(&self->settled, &applied);
    return (const char *) self->text.data;
}

const char *world_query(world_t *self, const char *request_text) {
    request_t request;
    rpc_error_t error;
    buffer_t out = {0};
    buffer_reset(&self->bytes);
    text_msgpack(&self->bytes, request_text);
    int rc = request_decode((slice_t){self->bytes.data, self->bytes.size}, &request, &error);
    assert(rc == 0);
    rc = state_query(self->state, &request, self->time_ms, &out);
    assert(rc == 0);
    outcome_text(&self->text, (slice_t){out.data, out.size});
    buffer_free(&out);
    return (const char *) self->text.data;
}

int world_entry(void *hint, uint64_t index, slice_t *payload) {
    const world_t *world = hint;
    if (index == 0 || index > world->log->count)
        return DRAX_ENOTFOUND;
    *payload = payload_slice(world->log->items[index - 1].payload);
    return 0;
}

size_t world_expire(world_t *self, uint64_t time_ms) {
    buffer_t block = {0};
    size_t count;
    state_applied_t applied;
    int rc = state_expire_block(self->state, time_ms, &block, &count);
    assert(rc == 0);
    self->time_ms = time_ms;
    rc = world_block(self, &block, &applied);
    assert(rc == 0 && !applied.skipped);
    settled_text(&self->settled, &applied);
    buffer_free(&block);
    return count;
}
