/* events.h: what is going to happen, by simulated time; at equal times in the order it was planned.
 *
 * Owns: the queue, and what the hints of events that never happened point to, through `discard`.
 */
#ifndef DRAX_TESTS_SIM_EVENTS_H
#define DRAX_TESTS_SIM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct event {
    uint64_t at_us, number;
    void (*happen)(void *hint, uint64_t argument);
    void (*discard)(void *hint); /* NULL: nothing to free */
    void *hint;
    uint64_t argument;
} event_t;

typedef struct events {
    event_t *items; /* a binary heap */
    size_t count, capacity;
    uint64_t number;
} events_t;

/* Takes a copy; gives it its number. */
void events_add(events_t *self, const event_t *event);
/* The earliest one, taken out. False: there is none. */
bool events_next(events_t *self, event_t *out);
void events_clear(events_t *self);

#endif
