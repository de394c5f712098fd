/* random.h: the only source of chance in the simulator: streams of numbers that follow from a seed.
 *
 * Each purpose has a stream of its own (split from the seed by a label), so that what one part
 * draws does not move what another one gets: a schedule without one of its faults is otherwise the
 * same run.
 */
#ifndef DRAX_TESTS_SIM_RANDOM_H
#define DRAX_TESTS_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct stream {
    uint64_t state;
} stream_t;

/* The stream of `seed` for `label`: any two labels give streams that have nothing in common. */
stream_t stream_new(uint64_t seed, uint64_t label);
uint64_t stream_next(stream_t *self); /* 64 random bits */
/* from <= x < to; `from` when the range is empty. */
uint64_t stream_range(stream_t *self, uint64_t from, uint64_t to);
/* True `in_1000` times out of 1000. */
bool stream_chance(stream_t *self, unsigned in_1000);

#endif
