/* arena.h: memory for many small pieces that go together.
 *
 * Owns: blocks of pages, given back to the system at once by arena_free. A piece that is given back
 * alone is kept for the next one of its size. Must not know what the pieces are.
 */
#ifndef DRAX_STORE_ARENA_H
#define DRAX_STORE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define ARENA_BLOCK_BYTES (256u << 10)
#define ARENA_STEP_BYTES 16u    /* sizes are multiples of it */
#define ARENA_PIECE_BYTES 4096u /* larger pieces are malloc's */

typedef struct arena_piece arena_piece_t;
typedef struct arena_block arena_block_t;
typedef struct arena_large arena_large_t;

/* All zero: an empty one. */
typedef struct arena {
    arena_block_t *blocks; /* the newest first: pieces come from it */
    size_t used;           /* of the newest */
    arena_large_t *large;
    arena_piece_t *spares[ARENA_PIECE_BYTES / ARENA_STEP_BYTES + 1]; /* by size */
} arena_t;

void *arena_take(arena_t *self, size_t size); /* aligned as malloc's; NULL when out of memory */
/* `size` is what was asked for. */
void arena_give(arena_t *self, void *piece, size_t size);
void arena_free(arena_t *self); /* all pieces; the arena is empty after it */

#endif
