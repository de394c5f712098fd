/* random.c: splitmix64 (Steele, Lea, Flood 2014); see the header. */
#include "tests/sim/random.h"

static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

stream_t stream_new(uint64_t seed, uint64_t label) {
    return (stream_t){
        mixed(mixed(seed + 0x9e3779b97f4a7c15u) ^ mixed(label + 0x632be59bd9b4e019u))};
}

uint64_t stream_next(stream_t *self) {
    return mixed(self->state += 0x9e3779b97f4a7c15u);
}

uint64_t stream_range(stream_t *self, uint64_t from, uint64_t to) {
    return from < to ? from + stream_next(self) % (to - from) : from;
}

bool stream_chance(stream_t *self, unsigned in_1000) {
    return stream_next(self) % 1000 < in_1000;
}
