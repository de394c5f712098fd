/* letter.c: see the header. */
#include "tests/sim/letter.h"

#include <stdlib.h>
#include <string.h>

letter_t *letter_new(letter_kind_t kind, message_t *message) {
    size_t bytes = message ? message_bytes(message->kind) : 0;
    letter_t *self = malloc(sizeof *self + bytes);
    if (!self)
        abort();
    *self = (letter_t){.kind = kind, .message_bytes = bytes};
    if (message) {
        memcpy(self->message, message, bytes);
        memset(message, 0, bytes);
    }
    return self;
}

void letter_open(letter_t *self, message_t *out) {
    memcpy(out, self->message, self->message_bytes);
    self->message_bytes = 0;
}

void letter_destroy(letter_t **self_p) {
    letter_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    if (self->message_bytes) {
        message_t message = {.kind = MESSAGE_NONE};
        letter_open(self, &message);
        message_clear(&message);
    }
    payload_unref(&self->payload);
    free(self);
}

static bool before(const letter_t *a, const letter_t *b) {
    return a->arrive_us < b->arrive_us || (a->arrive_us == b->arrive_us && a->number < b->number);
}

void letterbox_put(letterbox_t *self, letter_t *letter) {
    if (self->count == self->capacity) {
        self->capacity = self->capacity ? 2 * self->capacity : 16;
        self->items = realloc(self->items, self->capacity * sizeof(letter_t *));
        if (!self->items)
            abort();
    }
    size_t at = self->count++;
    while (at > 0 && before(letter, self->items[(at - 1) / 2])) {
        self->items[at] = self->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    self->items[at] = letter;
}

uint64_t letterbox_at(const letterbox_t *self) {
    return self->count ? self->items[0]->arrive_us : UINT64_MAX;
}

letter_t *letterbox_take(letterbox_t *self) {
    if (self->count == 0)
        return NULL;
    letter_t *taken = self->items[0], *last = self->items[--self->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= self->count)
            break;
        if (child + 1 < self->count && before(self->items[child + 1], self->items[child]))
            child++;
        if (!before(self->items[child], last))
            break;
        self->items[at] = self->items[child];
        at = child;
    }
    if (self->count)
        self->items[at] = last;
    return taken;
}

void letterbox_clear(letterbox_t *self) {
    for (size_t i = 0; i < self->count; i++)
        letter_destroy(&self->items[i]);
    free(self->items);
    *self = (letterbox_t){0};
}
