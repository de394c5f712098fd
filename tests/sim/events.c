/* events.c: see the header. */
#include "tests/sim/events.h"

#include <stdlib.h>

static bool before(const event_t *a, const event_t *b) {
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->number < b->number);
}

void events_add(events_t *self, const event_t *event) {
    if (self->count == self->capacity) {
        self->capacity = self->capacity ? 2 * self->capacity : 256;
        self->items = realloc(self->items, self->capacity * sizeof *self->items);
        if (!self->items)
            abort();
    }
    event_t added = *event;
    added.number = ++self->number;
    size_t at = self->count++;
    while (at > 0 && before(&added, &self->items[(at - 1) / 2])) {
        self->items[at] = self->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    self->items[at] = added;
}

bool events_next(events_t *self, event_t *out) {
    if (self->count == 0)
        return false;
    *out = self->items[0];
    event_t last = self->items[--self->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= self->count)
            break;
        if (child + 1 < self->count && before(&self->items[child + 1], &self->items[child]))
            child++;
        if (!before(&self->items[child], &last))
            break;
        self->items[at] = self->items[child];
        at = child;
    }
    if (self->count)
        self->items[at] = last;
    return true;
}

void events_clear(events_t *self) {
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].discard)
            self->items[i].discard(self->items[i].hint);
    free(self->items);
    *self = (events_t){0};
}
