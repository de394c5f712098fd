/* histogram.h: how often which value came: log-linear buckets in a fixed space.
 *
 * Values below 128 have a bucket each; above, every power of two is divided into 64 buckets, so a
 * value is known to 1/64 of itself. The last bucket takes all that is larger. Adding costs the
 * same whatever came before. Knows nothing of what is counted: units are the caller's. */
#ifndef DRAX_CLI_HISTOGRAM_H
#define DRAX_CLI_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_SHARE_BITS 6 /* a power of two has 2^6 buckets */
#define HISTOGRAM_VALUE_BITS 44
#define HISTOGRAM_BUCKETS                                                                          \
    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_SHARE_BITS + 1) << HISTOGRAM_SHARE_BITS)

/* All zero: empty. */
typedef struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum; /* of the values as they came; wraps around beyond 2^64 */
    uint64_t max; /* as it came; 0: none */
} histogram_t;

void histogram_add(histogram_t *self, uint64_t value);

/* Adds all of `other`. */
void histogram_merge(histogram_t *self, const histogram_t *other);

/* The value that `share` (0 to 1) of all values do not exceed: the largest of its bucket, and never
 * more than the largest that came. 0 when there is none. */
uint64_t histogram_quantile(const histogram_t *self, double share);

/* How many values lie in buckets that end at or below `bound`. */
uint64_t histogram_count_to(const histogram_t *self, uint64_t bound);

double histogram_mean(const histogram_t *self); /* 0 when there is none */

/* The largest value that bucket `at` takes. */
uint64_t histogram_bucket_end(size_t at);

#endif
