/* overlay_sort.c: sorts by a piece of each key at a time.
 *
 * Keys lie all over the memory, and mostly begin alike. So what they have in common is passed over,
 * the next seven bytes of each are copied beside the pointer to its node, and those are sorted: a
 * comparison of two keys touches neither. Keys that are equal so far are sorted by what follows.
 *
 * A chunk has a key's next seven bytes, zeros behind its end, and then how many bytes of the key
 * are left, at most CHUNK_MORE: so a key comes before those that it begins.
 */
#include "store/overlay_sort.h"

#include <stdlib.h>

#define CHUNK_BYTES 7u
#define CHUNK_MORE (CHUNK_BYTES + 1) /* more than fit */

static uint64_t chunk_at(slice_t key, size_t depth) {
    size_t left = key.size - depth;
    uint64_t chunk = 0;
    for (size_t i = 0; i < CHUNK_BYTES; i++)
        chunk = chunk << 8 | (i < left ? key.data[depth + i] : 0);
    return chunk << 8 | (left < CHUNK_MORE ? left : CHUNK_MORE);
}

static bool chunk_is_all(uint64_t chunk) {
    return (chunk & 0xff) < CHUNK_MORE;
}

static int chunk_compare(const void *a, const void *b) {
    uint64_t x = ((const overlay_sorted_t *) a)->chunk, y = ((const overlay_sorted_t *) b)->chunk;
    return (x > y) - (x < y);
}

/* How many bytes all keys have in common, the first `depth` of which are known to be. */
static size_t common_size(const overlay_sorted_t *nodes, size_t count, size_t depth) {
    slice_t first = overlay_node_key(nodes[0].node);
    size_t common = first.size;
    for (size_t i = 1; i < count && common > depth; i++) {
        slice_t key = overlay_node_key(nodes[i].node);
        size_t size = key.size < common ? key.size : common, at = depth;
        while (at < size && key.data[at] == first.data[at])
            at++;
        common = at;
    }
    return common;
}

/* Those whose first `depth` bytes are equal. Calls itself at most once for each seven bytes of a
 * key. */
static void range_sort(overlay_sorted_t *nodes, size_t count, size_t depth) {
    depth = common_size(nodes, count, depth);
    for (size_t i = 0; i < count; i++)
        nodes[i].chunk = chunk_at(overlay_node_key(nodes[i].node), depth);
    qsort(nodes, count, sizeof *nodes, chunk_compare);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && nodes[to].chunk == nodes[from].chunk;)
            to++;
        if (to - from > 1 && !chunk_is_all(nodes[from].chunk))
            range_sort(nodes + from, to - from, depth + CHUNK_BYTES);
    }
}

void overlay_sort(overlay_sorted_t *nodes, size_t count) {
    if (count > 1)
        range_sort(nodes, count, 0);
}
