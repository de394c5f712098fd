/* histogram.c: log-linear buckets.
 *
 *   value < 2^(S+1):  bucket = value
 *   else:             bucket = shift * 2^S + (value >> shift), with shift so that
 *                     2^S <= value >> shift < 2^(S+1)              (S: HISTOGRAM_SHARE_BITS)
 */
#include "cli/histogram.h"

#define SHARE (1u << HISTOGRAM_SHARE_BITS)

static size_t bucket_of(uint64_t value) {
    if (value >> HISTOGRAM_VALUE_BITS)
        return HISTOGRAM_BUCKETS - 1;
    if (value < 2 * SHARE)
        return (size_t) value;
    unsigned shift = 63u - (unsigned) __builtin_clzll(value) - HISTOGRAM_SHARE_BITS;
    return shift * SHARE + (size_t) (value >> shift);
}

void histogram_add(histogram_t *self, uint64_t value) {
    self->buckets[bucket_of(value)]++;
    self->count++;
    self->sum += value;
    if (value > self->max)
        self->max = value;
}

void histogram_merge(histogram_t *self, const histogram_t *other) {
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        self->buckets[i] += other->buckets[i];
    self->count += other->count;
    self->sum += other->sum;
    if (other->max > self->max)
        self->max = other->max;
}

uint64_t histogram_bucket_end(size_t at) {
    if (at == HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX;
    if (at < 2 * SHARE)
        return at;
    uint64_t shift = at / SHARE - 1;
    return ((at % SHARE + SHARE + 1) << shift) - 1;
}

uint64_t histogram_quantile(const histogram_t *self, double share) {
    /* A product that comes out a trace above a whole number means that number. */
    double wanted = share * (double) self->count * (1 - 1e-12);
    uint64_t rank = (uint64_t) wanted;
    if ((double) rank < wanted || rank == 0)
        rank++;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += self->buckets[i];
        uint64_t end = histogram_bucket_end(i);
        if (seen >= rank)
            return end < self->max ? end : self->max;
    }
    return self->max;
}

uint64_t histogram_count_to(const histogram_t *self, uint64_t bound) {
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && histogram_bucket_end(i) <= bound; i++)
        seen += self->buckets[i];
    return seen;
}

double histogram_mean(const histogram_t *self) {
    return self->count > 0 ? (double) self->sum / (double) self->count : 0;
}
