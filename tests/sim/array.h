/* array.h: arrays that grow, for the simulator: out of memory ends the program. */
#ifndef DRAX_TESTS_SIM_ARRAY_H
#define DRAX_TESTS_SIM_ARRAY_H

#include <stdio.h>
#include <stdlib.h>

/* `items` with room for `count` items of `size` bytes; the room doubles. */
static inline void *array_room(void *items, size_t *capacity, size_t count, size_t size) {
    if (count <= *capacity)
        return items;
    size_t room = *capacity ? *capacity * 2 : 16;
    while (room < count)
        room *= 2;
    items = realloc(items, room * size);
    if (!items) {
        fprintf(stderr, "out of memory\n");
        abort();
    }
    *capacity = room;
    return items;
}

static inline void *array_new(size_t count, size_t size) {
    void *items = calloc(count ? count : 1, size);
    if (!items) {
        fprintf(stderr, "out of memory\n");
        abort();
    }
    return items;
}

#endif
